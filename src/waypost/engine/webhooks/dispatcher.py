"""Send deliveries: a lane with limits of its own for each endpoint, so that a slow endpoint delays no other."""

import itertools
import time
from collections.abc import Callable, Iterable
from functools import partial

from waypost.clock import now_us
from waypost.domain.values.retry import retry_after
from waypost.domain.webhooks import klaviyo
from waypost.domain.webhooks.delivery import LONGEST_ASKED, SLOW_DOWN, AttemptOutcome, judge
from waypost.domain.webhooks.endpoint import Endpoint
from waypost.engine.net.outbound import Outbound
from waypost.engine.net.request import Response
from waypost.engine.webhooks.holdings import Holdings
from waypost.engine.webhooks.lane import (
    FIRST_WINDOW,
    NEW_ROOM,
    RETRY_ROOM,
    SICK_FAILURES,
    SICK_ROOM,
    SICK_SILENCE_S,
    Attempt,
    Health,
    Lane,
    Task,
)
from waypost.engine.webhooks.requests import FindConnection, NotReady, NotWritable, build_request
from waypost.engine.webhooks.room import BatchRoom, Room
from waypost.engine.webhooks.slots import START_S, Slots

#: Deliveries that the outbound thread takes over before it looks after its requests again.
OFFERED = 500
#: The longest pause after a response that asks for less traffic, when it does not say how long.
LONGEST_PAUSE = 60.0
#: Statuses with which a receiver says that it has no bulk requests.
NO_BULK = frozenset({404, 405, 501})
#: Seconds between two searches for endpoints that do not respond.
SWEEP_S = SICK_SILENCE_S / 2


class Dispatcher:
    """Sends from the lanes on the outbound thread.

    The database records every delivery that the dispatcher holds, so the dispatcher may give back any of them.
    """

    def __init__(
        self,
        outbound: Outbound,
        *,
        report: Callable[[Attempt], None],
        release: Callable[[list[tuple[int, int]]], None],
        max_in_flight: int,
        first_pause: float,
        connection: FindConnection = lambda _: None,
    ) -> None:
        self._connection = connection
        self._outbound = outbound
        self._report = report
        self._release = release
        self._first_pause = first_pause
        self._lanes: dict[int, Lane] = {}
        self._room = Room()
        self._slots = Slots(max_in_flight)
        #: By endpoint, the mark of the last delivery that had to stay in the database.
        self._spilled: dict[int, int] = {}
        self._spills = itertools.count(1)
        self._draining = False
        #: Deliveries that were offered and are not settled or released yet. Only the event loop uses it.
        self.holdings = Holdings()
        self._sweeping = False
        self._sweep_at = 0.0
        #: How many processes send to the same endpoints; each uses its share of their limits.
        self.share = 1

    # Any thread may call these. They read plain numbers and tolerate that these are a moment old.

    @property
    def held(self) -> int:
        """How many deliveries wait in the lanes."""
        return self._room.held

    @property
    def held_bytes(self) -> int:
        """The bytes of the bodies of these deliveries."""
        return self._room.held_bytes

    @property
    def in_flight(self) -> int:
        """How many requests are in progress."""
        return self._slots.in_flight

    def room(self, endpoint_id: int) -> tuple[int, bool]:
        """Return how many more deliveries an endpoint's lane can take now, and whether the endpoint answers."""
        if self._draining or endpoint_id in self._spilled:
            return 0, False
        lane = self._lanes.get(endpoint_id)
        if lane is None:
            return NEW_ROOM, False
        return 0 if lane.stopped else max(lane.capacity() - len(lane.queue), 0), lane.health is Health.WELL

    def batch_room(self) -> BatchRoom:
        """Return how much one batch may leave in memory."""
        return BatchRoom(self._room, self.room)

    def claim_room(self, endpoint_id: int) -> int:
        """Return how many deliveries may be claimed from the database for an endpoint now."""
        lane = self._lanes.get(endpoint_id)
        health = Health.NEW if lane is None else lane.health
        if self._draining or min(self._room.left(health)) <= 0:
            return 0
        if lane is None:
            return NEW_ROOM
        if lane.stopped or lane.paused_until > time.monotonic():
            return 0
        capacity = lane.capacity()
        room = capacity - len(lane.queue)
        if room * 2 >= capacity:
            return room
        # A smaller claim is not worth a transaction. But where new deliveries go to memory, retries get their share.
        beside = health is not Health.SICK and endpoint_id not in self._spilled
        return max(min(RETRY_ROOM, capacity) - lane.retries, 0) if beside else 0

    def in_trouble(self, endpoint_id: int) -> bool:
        """Whether an endpoint fails or hangs."""
        lane = self._lanes.get(endpoint_id)
        return lane is not None and lane.health is Health.SICK

    def spill_mark(self) -> int:
        """Return a mark of this moment; take it before asking the database what is owed (see `clear_spilled`)."""
        return next(self._spills)

    def note_spilled(self, endpoint_id: int) -> None:
        """Note that some deliveries of an endpoint are in the database only: later ones must go there too."""
        self._spilled[endpoint_id] = next(self._spills)

    def clear_spilled(self, endpoint_id: int, mark: int) -> None:
        """Note that the database held nothing of an endpoint at a mark; what was spilled later is still there."""
        if self._spilled.get(endpoint_id, mark) <= mark:
            self._spilled.pop(endpoint_id, None)

    def offer(self, tasks: list[Task]) -> None:
        """Take over deliveries that are committed as held by this process."""
        self.holdings.take((task.endpoint.id, task.event_id) for task in tasks)
        for start in range(0, len(tasks), OFFERED):
            self._outbound.run(partial(self._take, tasks[start : start + OFFERED]))

    def configure(self, endpoints: Iterable[Endpoint], gone: Iterable[int] = ()) -> None:
        """Use changed endpoints from now on; give back what is held for those that are disabled or deleted (`gone`)."""
        changed, stopped = list(endpoints), list(gone)
        self._outbound.run(lambda: self._configure(changed, stopped))

    def forget(self) -> None:
        """Give back every delivery that is not started."""
        self._outbound.run(self._give_back_all)

    def drain(self) -> None:
        """Start no more requests, and give back every delivery that is not started."""
        self._draining = True
        self._outbound.run(self._give_back_all)

    # Everything below runs on the outbound thread.

    def _take(self, tasks: list[Task]) -> None:
        touched: dict[int, Lane] = {}
        for task in tasks:
            endpoint = task.endpoint
            lane = self._lanes.get(endpoint.id)
            if lane is None:
                lane = self._lanes[endpoint.id] = Lane(endpoint)
            elif endpoint.version > lane.endpoint.version:
                self._change(lane, endpoint)
            lane.queue.append(task)
            lane.retries += task.tries > 0
            self._room.hold(lane.health, 1, len(task.body))
            touched[endpoint.id] = lane
        for lane in touched.values():
            if lane.stopped or self._draining:
                self._give_back(lane)
            else:
                self._pump(lane)
        if not self._sweeping:
            self._sweeping = True
            self._sweep_at = time.monotonic() + SWEEP_S
            self._outbound.call_at(self._sweep_at, self._sweep)

    def _mark(self, lane: Lane, health: Health) -> None:
        """Set a lane's health; count what it holds and what it has in progress where it belongs now."""
        before, lane.health = lane.health, health
        if before is health:
            return
        self._slots.count_again(lane, before)
        self._room.count_again(lane, before)
        if lane.waiting:
            # It waits among the lanes of its former health, or for a time. Let it find out anew.
            lane.waiting = 0
            self._outbound.run(lambda: self._pump(lane))
        if health is Health.SICK:
            # Others may use its slots.
            self._slots.serve(self._resume)

    def _sweep(self) -> None:
        """Find endpoints that do not respond; when room is short, take back what lanes in trouble hold."""
        now = time.monotonic()
        # If this thread itself was held up, the endpoints may have responded.
        late = now - self._sweep_at > SWEEP_S
        for lane in list(self._lanes.values()):
            if lane.health is Health.SICK:
                continue
            if late:
                lane.answered_at = now
            if lane.paused_until - now > SICK_SILENCE_S or lane.silent(now):
                self._mark(lane, Health.SICK)
        if self._room.short:
            for lane in self._lanes.values():
                if lane.health is Health.SICK and len(lane.queue) > SICK_ROOM:
                    self._give_back(lane, SICK_ROOM)
        for lane in [lane for lane in self._lanes.values() if lane.idle(now)]:
            del self._lanes[lane.endpoint.id]
        self._sweeping = bool(self._lanes)
        if self._sweeping:
            self._sweep_at = now + SWEEP_S
            self._outbound.call_at(self._sweep_at, self._sweep)

    def _configure(self, endpoints: list[Endpoint], gone: list[int]) -> None:
        for endpoint in endpoints:
            lane = self._lanes.get(endpoint.id)
            if lane is not None and endpoint.version > lane.endpoint.version:
                self._change(lane, endpoint)
                self._pump(lane)
        for endpoint_id in gone:
            self._spilled.pop(endpoint_id, None)
            lane = self._lanes.get(endpoint_id)
            if lane is not None:
                lane.stopped = lane.gone = True
                self._give_back(lane)
                self._drop_if_gone(lane)

    def _drop_if_gone(self, lane: Lane) -> None:
        """Remove the lane of an endpoint that is gone, once none of its requests is in progress."""
        if lane.gone and not lane.in_flight and not lane.queue:
            self._lanes.pop(lane.endpoint.id, None)

    def _change(self, lane: Lane, endpoint: Endpoint) -> None:
        lane.endpoint = endpoint
        lane.stopped = lane.gone = False
        self._mark(lane, Health.NEW)
        lane.failures = 0
        lane.answered_at = time.monotonic()
        # What it waits for may no longer apply: its ticket is void.
        lane.waiting = 0
        lane.pause, lane.paused_until = 0.0, 0.0
        lane.window = FIRST_WINDOW

    def _give_back_all(self) -> None:
        for lane in self._lanes.values():
            self._give_back(lane)

    def _give_back(self, lane: Lane, keep: int = 0) -> None:
        """Release what a lane holds, except the first `keep` deliveries."""
        back: list[tuple[int, int]] = []
        size = 0
        while len(lane.queue) > keep:
            task = lane.queue.pop()
            back.append((task.endpoint.id, task.event_id))
            size += len(task.body)
            lane.retries -= task.tries > 0
        if back:
            self._room.hold(lane.health, -len(back), -size)
            if keep:
                # Later deliveries must stay in the database, behind these.
                self._spilled[lane.endpoint.id] = next(self._spills)
            self._release(back)

    def _pump(self, lane: Lane) -> None:
        """Start as many of a lane's deliveries as its limits allow."""
        while lane.queue and not lane.stopped and not self._draining:
            if lane.in_flight >= max(1, int(lane.window) // self.share) or lane.waiting:
                return
            if lane.in_flight >= self._slots.free(lane.health):
                # No lane has more slots than are free: one lane that hangs has half of them, two have a third each,
                # and there is always a slot for another lane.
                self._slots.queue_up(lane)
                return
            now = time.monotonic()
            wait = lane.wait(now, self.share)
            if wait > 0:
                self._wait_until(lane, now + wait)
                return
            if not lane.in_flight:
                lane.answered_at = now
            self._start(lane, self._next_tasks(lane))

    def _next_tasks(self, lane: Lane) -> list[Task]:
        """Take the deliveries of the next request: one, or many that wait if the format takes several."""
        tasks = [lane.queue.popleft()]
        if not lane.endpoint.takes_several or tasks[0].alone or len(lane.queue) + 1 < klaviyo.WORTH_BULK:
            return tasks
        size = len(tasks[0].body)
        while lane.queue and len(tasks) < klaviyo.MOST_EVENTS and not lane.queue[0].alone:
            size += len(lane.queue[0].body)
            if size > klaviyo.MOST_BYTES:
                break
            tasks.append(lane.queue.popleft())
        if len(tasks) > 1:
            # A bulk request counts for more against the limits of the receiver.
            lane.tokens -= klaviyo.BULK_COST - 1
        return tasks

    def _renew_starts(self) -> None:
        self._slots.renew_starts()
        self._slots.serve(self._resume)

    def _wait_until(self, lane: Lane, moment: float) -> None:
        ticket = lane.waiting = self._slots.ticket()
        self._outbound.call_at(moment, lambda: self._resume(lane, ticket))

    def _resume(self, lane: Lane, ticket: int) -> None:
        if lane.waiting == ticket:
            lane.waiting = 0
            self._pump(lane)

    def _start(self, lane: Lane, tasks: list[Task]) -> None:
        endpoint = lane.endpoint
        for task in tasks:
            self._room.hold(lane.health, -1, -len(task.body))
            lane.retries -= task.tries > 0
        started_at = now_us()
        if self._slots.take(lane):
            self._outbound.call_at(time.monotonic() + START_S, self._renew_starts)
        refused, outcome = "", AttemptOutcome.FAILED
        try:
            request = build_request(endpoint, tasks, started_at, self._connection)
            self._outbound.send(request, lambda response: self._done(lane, tasks, endpoint, started_at, response))
            return
        except NotReady as error:
            refused = str(error)
        except NotWritable as error:
            refused, outcome = str(error), AttemptOutcome.REJECTED
        except Exception as error:
            # libcurl refused to start the request.
            refused = f"not_sent: {error}"
        # That is a failed attempt. It ends later, as all others do: a whole queue of them would not fit on the stack.
        response = Response(None, [], b"", refused, 0)
        self._outbound.run(lambda: self._done(lane, tasks, endpoint, started_at, response, outcome))

    def _done(
        self,
        lane: Lane,
        tasks: list[Task],
        endpoint: Endpoint,
        started_at: int,
        response: Response,
        outcome: AttemptOutcome | None = None,
    ) -> None:
        self._slots.give_back(lane)
        outcome = outcome or judge(response.status, endpoint.format)
        requested_wait: int | None = None
        ended_at = started_at + response.duration_us
        if outcome is AttemptOutcome.DELIVERED or outcome is AttemptOutcome.REJECTED:
            lane.answered_at = time.monotonic()
            lane.pause = 0.0
            lane.failures = 0
            if lane.health is not Health.WELL:
                self._mark(lane, Health.WELL)
            if lane.window < lane.endpoint.concurrency:
                lane.window = min(lane.window + 1.0, lane.endpoint.concurrency)
        else:
            if response.headers:
                requested_wait = retry_after(dict(response.headers).get("retry-after"), ended_at)
            if endpoint.version == lane.endpoint.version:
                # The response to a request of an earlier version says nothing about the endpoint as it is now.
                self._slow_down(lane, outcome, response, requested_wait)
        if len(tasks) > 1 and (outcome is AttemptOutcome.REJECTED or response.status in NO_BULK):
            self._send_alone(lane, tasks)
        else:
            for task in tasks:
                self._report(
                    Attempt(
                        endpoint_id=task.endpoint.id,
                        workspace_id=task.endpoint.workspace_id,
                        event_id=task.event_id,
                        number=task.attempts + 1,
                        tries=task.tries + 1,
                        started_at=started_at,
                        ended_at=ended_at,
                        outcome=outcome,
                        response=response,
                        retry_after=requested_wait,
                        version=endpoint.version,
                        ordered=endpoint.ordered,
                    )
                )
        if lane.gone:
            self._drop_if_gone(lane)
        if not self._slots.contended:
            self._pump(lane)
            return
        if lane.queue and not lane.waiting:
            self._slots.queue_up(lane)
        self._slots.serve(self._resume)

    def _send_alone(self, lane: Lane, tasks: list[Task]) -> None:
        """Queue deliveries again, each for a request of its own: the receiver refused the one for all."""
        for task in reversed(tasks):
            task.alone = True
            lane.queue.appendleft(task)
            lane.retries += task.tries > 0
            self._room.hold(lane.health, 1, len(task.body))
        if lane.stopped or self._draining:
            self._give_back(lane)

    def _slow_down(self, lane: Lane, outcome: AttemptOutcome, response: Response, requested_wait: int | None) -> None:
        # Fewer requests at a time spare an endpoint in trouble, and leave slots for others.
        lane.window = max(lane.window / 2, 1.0)
        lane.failures += 1
        if lane.failures >= SICK_FAILURES and lane.health is not Health.SICK:
            self._mark(lane, Health.SICK)
        if outcome is AttemptOutcome.GONE:
            lane.stopped = True
            self._give_back(lane)
        elif response.status in SLOW_DOWN:
            now = time.monotonic()
            if now - response.duration_us / 1_000_000 >= lane.paused_until:
                # Requests that were in progress when the pause began do not tell whether it was long enough.
                lane.pause = min(max(lane.pause * 2, self._first_pause), LONGEST_PAUSE)
            wait = max(lane.pause, min(requested_wait or 0, LONGEST_ASKED) / 1_000_000)
            lane.paused_until = max(lane.paused_until, now + wait)
