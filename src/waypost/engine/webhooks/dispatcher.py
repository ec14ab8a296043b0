"""What is due, per destination: a lane with limits of its own for every endpoint, so that a slow one slows nobody."""

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable

import msgspec

from waypost.clock import now_us
from waypost.domain.values.ids import public
from waypost.domain.webhooks.delivery import SLOW_DOWN, AttemptOutcome, judge, retry_after
from waypost.domain.webhooks.endpoint import Endpoint, request_headers
from waypost.engine.net.outbound import Outbound
from waypost.engine.net.request import Request, Response
from waypost.engine.webhooks.holdings import Holdings

#: Deliveries that one lane holds in memory; what is beyond stays in the database until there is room.
LANE_ROOM = 1000
#: Deliveries, and bytes of their bodies, that all lanes hold together.
TOTAL_ROOM = 20_000
TOTAL_BYTES = 64 * 1024 * 1024
#: A lane with a rate limit may save up what it could have sent in this time, in seconds.
BURST_S = 0.1
#: How many lanes without a slot are looked at when a request ends.
LOOKED_AT = 32
#: The longest pause after an answer that asks for less traffic, when it does not say how long.
LONGEST_PAUSE = 60.0


class Task(msgspec.Struct):
    """A delivery that this process holds, ready to be sent."""

    endpoint: Endpoint
    event_id: int
    body: bytes
    #: Tries since it was queued, and attempts ever, before this one.
    tries: int
    attempts: int


class Attempt(msgspec.Struct):
    """One try and what it came to, for the recorder."""

    endpoint_id: int
    workspace_id: int
    event_id: int
    number: int
    tries: int
    started_at: int
    ended_at: int
    outcome: AttemptOutcome
    response: Response
    retry_after: int | None
    #: The version of the endpoint that it was made with.
    version: int


class Lane:
    """The queue to one endpoint, and how fast it may be worked through."""

    __slots__ = (
        "endpoint",
        "in_flight",
        "pause",
        "paused_until",
        "queue",
        "stopped",
        "tokens",
        "tokens_at",
        "waiting",
        "window",
    )

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.queue: deque[Task] = deque()
        self.in_flight = 0
        #: How many may be under way now: shrinks with failures, grows with successes, up to the endpoint's concurrency.
        self.window = float(endpoint.concurrency)
        self.pause = 0.0
        self.paused_until = 0.0
        self.tokens = 1.0
        self.tokens_at = 0.0
        self.stopped = False
        #: The ticket with which it waits for its time or for a slot; 0 when it does not wait.
        self.waiting = 0


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
        self._first_pause = first_pause
        self._lanes: dict[int, Lane] = {}
        #: Lanes that wait for a slot, each with its ticket.
        self._crowd: deque[tuple[Lane, int]] = deque()
        self._tickets = itertools.count(1)
        #: Endpoints of which some deliveries had to stay in the database.
        self._spilled: set[int] = set()
        self._draining = False
        #: What was offered and is not settled or released yet. The event loop's own.
        self.holdings = Holdings()
        self.held = 0
        self.held_bytes = 0
        self.in_flight = 0
        #: How many processes send for the same endpoints; each takes its share of their limits.
        self.share = 1

    # These may be called from any thread. They read plain numbers and tolerate that they are a moment old.

    def room(self, endpoint_id: int) -> int:
        """How many more deliveries this endpoint's lane can take now."""
        if self._draining or self.held >= TOTAL_ROOM or self.held_bytes >= TOTAL_BYTES:
            return 0
        if endpoint_id in self._spilled:
            return 0
        lane = self._lanes.get(endpoint_id)
        if lane is None:
            return LANE_ROOM
        return 0 if lane.stopped else max(LANE_ROOM - len(lane.queue), 0)

    def total_room(self) -> tuple[int, int]:
        """How many more deliveries, and bytes of their bodies, all lanes together can take now."""
        return TOTAL_ROOM - self.held, TOTAL_BYTES - self.held_bytes

    def claim_room(self, endpoint_id: int) -> int:
        """How many deliveries may be claimed from the database for this endpoint now."""
        if self._draining or self.held >= TOTAL_ROOM or self.held_bytes >= TOTAL_BYTES:
            return 0
        lane = self._lanes.get(endpoint_id)
        if lane is None:
            return LANE_ROOM
        # Half empty first: claims are worth their transaction only in numbers.
        room = LANE_ROOM - len(lane.queue)
        return room if room >= LANE_ROOM // 2 and lane.paused_until <= time.monotonic() else 0

    def note_spilled(self, endpoint_id: int, spilled: bool) -> None:
        """Whether some of what the endpoint is owed is in the database only: then later events go there too."""
        if spilled:
            self._spilled.add(endpoint_id)
        else:
            self._spilled.discard(endpoint_id)

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
            self.held += 1
            self.held_bytes += len(task.body)
            touched[endpoint.id] = lane
        for lane in touched.values():
            if lane.stopped or self._draining:
                self._give_back(lane)
            else:
                self._pump(lane)

    def _configure(self, endpoints: list[Endpoint], gone: list[int]) -> None:
        for endpoint in endpoints:
            lane = self._lanes.get(endpoint.id)
            if lane is not None and endpoint.version > lane.endpoint.version:
                self._change(lane, endpoint)
                self._pump(lane)
        for endpoint_id in gone:
            lane = self._lanes.get(endpoint_id)
            if lane is not None:
                lane.stopped = True
                self._give_back(lane)
                if not lane.in_flight:
                    del self._lanes[endpoint_id]

    def _change(self, lane: Lane, endpoint: Endpoint) -> None:
        lane.endpoint = endpoint
        lane.stopped = False
        # It may wait for what no longer holds: its old ticket is worth nothing now.
        lane.waiting = 0
        lane.pause, lane.paused_until = 0.0, 0.0
        lane.window = float(endpoint.concurrency)

    def _give_back_all(self) -> None:
        for lane in self._lanes.values():
            self._give_back(lane)

    def _give_back(self, lane: Lane) -> None:
        if not lane.queue:
            return
        back = [(task.endpoint.id, task.event_id) for task in lane.queue]
        self.held -= len(back)
        self.held_bytes -= sum(len(task.body) for task in lane.queue)
        lane.queue.clear()
        self._release(back)

    def _pump(self, lane: Lane) -> None:
        """Start as many of a lane's deliveries as its limits allow."""
        while lane.queue and not lane.stopped and not self._draining:
            if lane.in_flight >= max(1, int(lane.window) // self.share) or lane.waiting:
                return
            if lane.in_flight >= self._max_in_flight - self.in_flight:
                # Nobody holds more of the slots for everybody than are free: one lane that hangs holds half of them,
                # two hold a third each, and there is always room for another one.
                self._queue_up(lane)
                return
            now = time.monotonic()
            wait = self._wait(lane, now)
            if wait > 0:
                self._wait_until(lane, now + wait)
                return
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
        self._crowd.append((lane, lane.waiting))

    def _serve_crowd(self) -> None:
        """Let lanes that wait for a slot have their turn, one after the other."""
        refused = 0
        while self._crowd and self.in_flight < self._max_in_flight and refused < LOOKED_AT:
            waiting = len(self._crowd)
            self._resume(*self._crowd.popleft())
            # One that queues up again holds enough: the end of one of its own requests brings its next turn.
            refused += len(self._crowd) == waiting

    def _wait(self, lane: Lane, now: float) -> float:
        """How long the lane has to wait before its next request; takes a token when it need not."""
        if lane.paused_until > now:
            return lane.paused_until - now
        limit = lane.endpoint.rate_limit
        if limit is None:
            return 0.0
        rate = limit / self.share
        lane.tokens = min(lane.tokens + (now - lane.tokens_at) * rate, max(rate * BURST_S, 1.0))
        lane.tokens_at = now
        if lane.tokens < 1.0:
            return (1.0 - lane.tokens) / rate
        lane.tokens -= 1.0
        return 0.0

    def _start(self, lane: Lane, task: Task) -> None:
        endpoint = lane.endpoint
        self.held -= 1
        self.held_bytes -= len(task.body)
        started_at = now_us()
        lane.in_flight += 1
        self.in_flight += 1
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
        outcome = judge(response.status)
        asked: int | None = None
        ended_at = started_at + response.duration_us
        if outcome is AttemptOutcome.DELIVERED:
            lane.pause = 0.0
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
        if not self._crowd:
            self._pump(lane)
            return
        if lane.queue and not lane.waiting:
            self._queue_up(lane)
        self._serve_crowd()

    def _slow_down(self, lane: Lane, outcome: AttemptOutcome, response: Response, asked: int | None) -> None:
        # A receiver in trouble gets one request at a time before it gets a thousand, and holds few of our slots.
        lane.window = max(lane.window / 2, 1.0)
        if outcome is AttemptOutcome.GONE:
            lane.stopped = True
            self._give_back(lane)
        elif response.status in SLOW_DOWN:
            now = time.monotonic()
            if now - response.duration_us / 1_000_000 >= lane.paused_until:
                # What was under way when the pause began says nothing about whether the pause was long enough.
                lane.pause = min(max(lane.pause * 2, self._first_pause), LONGEST_PAUSE)
            wait = max(lane.pause, (asked or 0) / 1_000_000)
            lane.paused_until = max(lane.paused_until, now + wait)
