"""What is due, per destination: a lane with limits of its own for every endpoint, so that a slow one slows nobody."""

import itertools
import resource
import time
from collections import deque
from collections.abc import Callable, Iterable

from waypost.clock import now_us
from waypost.domain.values.ids import public
from waypost.domain.values.retry import retry_after
from waypost.domain.webhooks.delivery import LONGEST_ASKED, SLOW_DOWN, AttemptOutcome, judge
from waypost.domain.webhooks.endpoint import Endpoint, request_headers
from waypost.engine.net.outbound import Outbound
from waypost.engine.net.request import Request, Response
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

#: Deliveries, and bytes of their bodies, that all lanes hold together. A quarter is for endpoints that answer.
TOTAL_ROOM = 20_000
TOTAL_BYTES = 64 * 1024 * 1024
#: From this share of the room on, lanes in trouble give back what they hold.
PRESSURE = 0.25
#: What endpoints that have not answered yet may have of the room and of the slots.
NEW_SHARE = 0.75
#: Sockets that all lanes together hold, as a multiple of the slots, where the process may open so many.
SOCKETS = 4
#: How many lanes without a slot are looked at when a request ends.
LOOKED_AT = 32
#: The longest pause after an answer that asks for less traffic, when it does not say how long.
LONGEST_PAUSE = 60.0
#: How often lanes are looked at for silence.
SWEEP_S = SICK_SILENCE_S / 2


class Room:
    """How much one batch may leave in memory, asked lane by lane; what is taken is counted against it."""

    __slots__ = ("_bytes", "_dispatcher", "_lanes", "_left", "_new_bytes", "_new_left")

    def __init__(self, dispatcher: "Dispatcher") -> None:
        self._dispatcher = dispatcher
        self._left, self._bytes = dispatcher.total_room(Health.WELL)
        self._new_left, self._new_bytes = dispatcher.total_room(Health.NEW)
        #: By endpoint, how many more it may hold, and whether it is known to answer.
        self._lanes: dict[int, list[int]] = {}

    def take(self, endpoint_id: int, size: int) -> bool:
        """Whether one more delivery of this endpoint fits. Once one did not, none that comes later does."""
        found = self._lanes.get(endpoint_id)
        if found is None:
            found = self._lanes[endpoint_id] = list(self._dispatcher.room(endpoint_id))
        if found[0] <= 0:
            return False
        well = bool(found[1])
        left, size_left = (self._left, self._bytes) if well else (self._new_left, self._new_bytes)
        if left <= 0 or size_left <= 0:
            found[0] = 0
            return False
        found[0] -= 1
        self._left -= 1
        self._bytes -= size
        if not well:
            self._new_left -= 1
            self._new_bytes -= size
        return True


class Dispatcher:
    """Lanes over the outbound thread. What it holds is owed by the database; it may forget everything at any time."""

    def __init__(
        self,
        outbound: Outbound,
        *,
        report: Callable[[Attempt], None],
        release: Callable[[list[tuple[int, int]]], None],
        max_in_flight: int,
        first_pause: float,
    ) -> None:
        self._outbound = outbound
        self._report = report
        self._release = release
        self._max_in_flight = max_in_flight
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most_sockets = max(max_in_flight, min(SOCKETS * max_in_flight, descriptors // 2))
        self._first_pause = first_pause
        self._lanes: dict[int, Lane] = {}
        #: Lanes that wait for a slot, each with its ticket, by the health they had when they began to wait.
        self._crowds: tuple[deque[tuple[Lane, int]], ...] = (deque(), deque(), deque())
        self._tickets = itertools.count(1)
        #: Endpoints of which some deliveries had to stay in the database.
        self._spilled: dict[int, int] = {}
        self._spills = itertools.count(1)
        self._draining = False
        #: What was offered and is not settled or released yet. The event loop's own.
        self.holdings = Holdings()
        self._sweeping = False
        self._sweep_at = 0.0
        self.held = 0
        self.held_bytes = 0
        #: Of these, what lanes hold that are not known to answer.
        self._held_unproven = 0
        self._bytes_unproven = 0
        self.in_flight = 0
        #: The same by the health of the lanes. Requests to endpoints in trouble cost a descriptor and little else, so
        #: they have slots of their own.
        self._under_way = [0, 0, 0]
        #: How many processes send for the same endpoints; each takes its share of their limits.
        self.share = 1

    # These may be called from any thread. They read plain numbers and tolerate that they are a moment old.

    def room(self, endpoint_id: int) -> tuple[int, bool]:
        """How many more deliveries this endpoint's lane can take now, and whether the endpoint is known to answer."""
        if self._draining or endpoint_id in self._spilled:
            return 0, False
        lane = self._lanes.get(endpoint_id)
        if lane is None:
            return NEW_ROOM, False
        return 0 if lane.stopped else max(lane.capacity() - len(lane.queue), 0), lane.health is Health.WELL

    def total_room(self, health: Health) -> tuple[int, int]:
        """How many more deliveries, and bytes of their bodies, all lanes of this health together can take now."""
        left, size = TOTAL_ROOM - self.held, TOTAL_BYTES - self.held_bytes
        if health is Health.WELL:
            return left, size
        return (
            min(left, int(TOTAL_ROOM * NEW_SHARE) - self._held_unproven),
            min(size, int(TOTAL_BYTES * NEW_SHARE) - self._bytes_unproven),
        )

    def claim_room(self, endpoint_id: int) -> int:
        """How many deliveries may be claimed from the database for this endpoint now."""
        lane = self._lanes.get(endpoint_id)
        health = Health.NEW if lane is None else lane.health
        if self._draining or min(self.total_room(health)) <= 0:
            return 0
        if lane is None:
            return NEW_ROOM
        if lane.stopped or lane.paused_until > time.monotonic():
            return 0
        capacity = lane.capacity()
        room = capacity - len(lane.queue)
        if room * 2 >= capacity:
            return room
        # Less is not worth a transaction. But where what is fresh goes straight to memory, retries get their share.
        beside = health is not Health.SICK and endpoint_id not in self._spilled
        return max(min(RETRY_ROOM, capacity) - lane.retries, 0) if beside else 0

    def in_trouble(self, endpoint_id: int) -> bool:
        """Whether an endpoint fails or hangs."""
        lane = self._lanes.get(endpoint_id)
        return lane is not None and lane.health is Health.SICK

    def spill_mark(self) -> int:
        """A mark of this moment, to be taken before the database is asked what is owed; see `clear_spilled`."""
        return next(self._spills)

    def note_spilled(self, endpoint_id: int) -> None:
        """Some of what the endpoint is owed is in the database only: later events go there too."""
        self._spilled[endpoint_id] = next(self._spills)

    def clear_spilled(self, endpoint_id: int, mark: int) -> None:
        """Nothing of the endpoint was left in the database at that mark; what was spilled since then still is there."""
        if self._spilled.get(endpoint_id, mark) <= mark:
            self._spilled.pop(endpoint_id, None)

    def offer(self, tasks: list[Task]) -> None:
        """Take over deliveries that are committed as held by this process."""
        if tasks:
            self.holdings.take((task.endpoint.id, task.event_id) for task in tasks)
            self._outbound.run(lambda: self._take(tasks))

    def configure(self, endpoints: Iterable[Endpoint], gone: Iterable[int] = ()) -> None:
        """Endpoints changed; the lanes of those that are disabled or deleted (`gone`) give back what they hold."""
        changed, stopped = list(endpoints), list(gone)
        self._outbound.run(lambda: self._configure(changed, stopped))

    def forget(self) -> None:
        """Give back what has not been started."""
        self._outbound.run(self._give_back_all)

    def drain(self) -> None:
        """Start nothing more, and give back what has not been started."""
        self._draining = True
        self._outbound.run(self._give_back_all)

    # From here on everything runs on the outbound thread.

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
            self._hold(lane, 1, len(task.body))
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

    def _hold(self, lane: Lane, count: int, size: int) -> None:
        self.held += count
        self.held_bytes += size
        if lane.health is not Health.WELL:
            self._held_unproven += count
            self._bytes_unproven += size

    def _mark(self, lane: Lane, health: Health) -> None:
        """A lane's health changed; what it has of the room and of the slots counts where it belongs now."""
        before, lane.health = lane.health, health
        if before is health:
            return
        self._under_way[before] -= lane.in_flight
        self._under_way[health] += lane.in_flight
        if (before is Health.WELL) != (health is Health.WELL):
            sign = -1 if health is Health.WELL else 1
            self._held_unproven += sign * len(lane.queue)
            self._bytes_unproven += sign * sum(len(task.body) for task in lane.queue)
        if lane.waiting:
            # It waits among the lanes of its former health, or for its time: it finds out anew.
            lane.waiting = 0
            self._outbound.run(lambda: self._pump(lane))
        if health is Health.SICK:
            # Its slots are free for others.
            self._serve_crowds()

    def _sweep(self) -> None:
        """Find lanes whose endpoints keep silent, and take back what lanes in trouble hold when room is short."""
        now = time.monotonic()
        # When this thread itself was held up, silence says nothing of the endpoints.
        late = now - self._sweep_at > SWEEP_S
        for lane in list(self._lanes.values()):
            if lane.health is Health.SICK:
                continue
            if late:
                lane.answered_at = now
            if lane.paused_until - now > SICK_SILENCE_S or lane.silent(now):
                self._mark(lane, Health.SICK)
        if self.held > TOTAL_ROOM * PRESSURE or self.held_bytes > TOTAL_BYTES * PRESSURE:
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
        """Forget the lane of an endpoint that is gone, once nothing of it is under way."""
        if lane.gone and not lane.in_flight and not lane.queue:
            self._lanes.pop(lane.endpoint.id, None)

    def _change(self, lane: Lane, endpoint: Endpoint) -> None:
        lane.endpoint = endpoint
        lane.stopped = lane.gone = False
        self._mark(lane, Health.NEW)
        lane.failures = 0
        lane.answered_at = time.monotonic()
        # It may wait for what no longer holds: its old ticket is worth nothing now.
        lane.waiting = 0
        lane.pause, lane.paused_until = 0.0, 0.0
        lane.window = FIRST_WINDOW

    def _give_back_all(self) -> None:
        for lane in self._lanes.values():
            self._give_back(lane)

    def _give_back(self, lane: Lane, keep: int = 0) -> None:
        """Give back what a lane holds, but for the first `keep`."""
        back: list[tuple[int, int]] = []
        size = 0
        while len(lane.queue) > keep:
            task = lane.queue.pop()
            back.append((task.endpoint.id, task.event_id))
            size += len(task.body)
            lane.retries -= task.tries > 0
        if back:
            self._hold(lane, -len(back), -size)
            if keep:
                # What comes later stays behind it, in the database.
                self._spilled[lane.endpoint.id] = next(self._spills)
            self._release(back)

    def _free(self, health: Health) -> int:
        """Slots that lanes of this health may take."""
        under_way, most = self._under_way, self._max_in_flight
        if health is Health.SICK:
            # However many hang, each may be asked once at a time, to find out whether it recovered.
            return max(most - under_way[Health.SICK], int(self.in_flight < self._most_sockets))
        free = most - under_way[Health.NEW] - under_way[Health.WELL]
        if health is Health.NEW:
            # Those that hang go on holding a descriptor each when they have been found out.
            free = min(free, max(int(most * NEW_SHARE), 1) - under_way[Health.NEW], self._most_sockets - self.in_flight)
        return free

    def _pump(self, lane: Lane) -> None:
        """Start as many of a lane's deliveries as its limits allow."""
        while lane.queue and not lane.stopped and not self._draining:
            if lane.in_flight >= max(1, int(lane.window) // self.share) or lane.waiting:
                return
            if lane.in_flight >= self._free(lane.health):
                # Nobody holds more of the slots for everybody than are free: one lane that hangs holds half of them,
                # two hold a third each, and there is always room for another one.
                self._queue_up(lane)
                return
            now = time.monotonic()
            wait = lane.wait(now, self.share)
            if wait > 0:
                self._wait_until(lane, now + wait)
                return
            if not lane.in_flight:
                lane.answered_at = now
            self._start(lane, lane.queue.popleft())

    def _wait_until(self, lane: Lane, moment: float) -> None:
        ticket = lane.waiting = next(self._tickets)
        self._outbound.call_at(moment, lambda: self._resume(lane, ticket))

    def _resume(self, lane: Lane, ticket: int) -> None:
        if lane.waiting == ticket:
            lane.waiting = 0
            self._pump(lane)

    def _queue_up(self, lane: Lane) -> None:
        lane.waiting = next(self._tickets)
        self._crowds[lane.health].append((lane, lane.waiting))

    def _serve_crowds(self) -> None:
        """Let lanes that wait for a slot have their turn, one after the other, those in trouble among themselves."""
        for health, crowd in zip(Health, self._crowds, strict=True):
            refused = 0
            while crowd and refused < LOOKED_AT and self._free(health) > 0:
                waiting = len(crowd)
                self._resume(*crowd.popleft())
                # One that queues up again holds enough: the end of one of its own requests brings its next turn.
                refused += len(crowd) == waiting

    def _start(self, lane: Lane, task: Task) -> None:
        endpoint = lane.endpoint
        self._hold(lane, -1, -len(task.body))
        lane.retries -= task.tries > 0
        started_at = now_us()
        lane.in_flight += 1
        self.in_flight += 1
        self._under_way[lane.health] += 1
        try:
            request = Request(
                endpoint.url,
                task.body,
                request_headers(endpoint, public("evt", task.event_id), task.body, started_at),
                endpoint.timeout_ms,
            )
            self._outbound.send(request, lambda response: self._done(lane, task, endpoint, started_at, response))
        except Exception as error:
            # A request that libcurl refuses to start is a failed attempt, not a stuck delivery. It ends later, as all
            # others do: a whole queue of them would not fit on the stack.
            refused = Response(None, [], b"", f"not_sent: {error}", 0)
            self._outbound.run(lambda: self._done(lane, task, endpoint, started_at, refused))

    def _done(self, lane: Lane, task: Task, endpoint: Endpoint, started_at: int, response: Response) -> None:
        lane.in_flight -= 1
        self.in_flight -= 1
        self._under_way[lane.health] -= 1
        outcome = judge(response.status)
        asked: int | None = None
        ended_at = started_at + response.duration_us
        if outcome is AttemptOutcome.DELIVERED:
            lane.answered_at = time.monotonic()
            lane.pause = 0.0
            lane.failures = 0
            if lane.health is not Health.WELL:
                self._mark(lane, Health.WELL)
            if lane.window < lane.endpoint.concurrency:
                lane.window = min(lane.window + 1.0, lane.endpoint.concurrency)
        else:
            asked = retry_after(dict(response.headers).get("retry-after"), ended_at) if response.headers else None
            if endpoint.version == lane.endpoint.version:
                # Otherwise it is the answer to what the endpoint was before it changed.
                self._slow_down(lane, outcome, response, asked)
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
                retry_after=asked,
                version=endpoint.version,
            )
        )
        if lane.gone:
            self._drop_if_gone(lane)
        if not any(self._crowds):
            self._pump(lane)
            return
        if lane.queue and not lane.waiting:
            self._queue_up(lane)
        self._serve_crowds()

    def _slow_down(self, lane: Lane, outcome: AttemptOutcome, response: Response, asked: int | None) -> None:
        # A receiver in trouble gets one request at a time before it gets a thousand, and holds few of our slots.
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
                # What was under way when the pause began says nothing about whether the pause was long enough.
                lane.pause = min(max(lane.pause * 2, self._first_pause), LONGEST_PAUSE)
            wait = max(lane.pause, min(asked or 0, LONGEST_ASKED) / 1_000_000)
            lane.paused_until = max(lane.paused_until, now + wait)
