"""The lane of an endpoint: its queue in memory, its limits and its health."""

from collections import deque
from enum import IntEnum

import msgspec

from waypost.domain.webhooks.delivery import AttemptOutcome
from waypost.domain.webhooks.endpoint import Endpoint
from waypost.engine.net.request import Response

#: Deliveries that a lane may hold in memory when its endpoint is well, new or sick. The others stay in the database
#: until there is room.
LANE_ROOM, NEW_ROOM, SICK_ROOM = 1000, 200, 4
#: Retries that a lane claims although new deliveries fill it.
RETRY_ROOM = 50
#: A lane with a rate limit holds the deliveries that it can send in this time, in seconds.
AHEAD_S = 2.0
#: Concurrent requests to an endpoint that has not answered yet; each success allows one more.
FIRST_WINDOW = 1.0
#: Consecutive failures, and seconds without a response, after which an endpoint is sick.
SICK_FAILURES = 3
SICK_SILENCE_S = 0.5
#: Seconds after which a lane without work is removed.
IDLE_S = 600.0
#: The burst of a lane with a rate limit: what it could have sent in this time, in seconds.
BURST_S = 0.1


class Task(msgspec.Struct):
    """A delivery that this process holds, ready to be sent."""

    endpoint: Endpoint
    event_id: int
    body: bytes
    #: Tries since it was last queued, and attempts in all, before this one.
    tries: int
    attempts: int
    #: Whether it must be the only one of its request: a request for several was refused.
    alone: bool = False


class Attempt(msgspec.Struct):
    """One attempt and its result, for the recorder."""

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
    #: The version of the endpoint that the attempt used.
    version: int
    #: Whether the endpoint gets the events of a subject in order.
    ordered: bool = False


class Health(IntEnum):
    """The health of an endpoint; it decides how much memory and how many slots its lane may use.

    new ──2xx──▶ well ──3 consecutive failures, or no response──▶ sick ──2xx──▶ well
     └──3 consecutive failures, or no response──▶ sick
    """

    NEW = 0  #: It has not answered since this process started or since it changed.
    WELL = 1  #: It answers with 2xx.
    SICK = 2  #: It fails or does not respond.


class Lane:
    """The queue of one endpoint, and how fast its deliveries may be sent."""

    __slots__ = (
        "answered_at",
        "endpoint",
        "failures",
        "gone",
        "health",
        "in_flight",
        "pause",
        "paused_until",
        "queue",
        "retries",
        "stopped",
        "tokens",
        "tokens_at",
        "waiting",
        "window",
    )

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.queue: deque[Task] = deque()
        #: How many deliveries in the queue are retries.
        self.retries = 0
        self.in_flight = 0
        #: Concurrent requests allowed now: a failure shrinks it, a success grows it, up to the endpoint's concurrency.
        self.window = FIRST_WINDOW
        self.health = Health.NEW
        self.failures = 0
        #: When the endpoint last answered, or when the first request after an idle time started; monotonic seconds.
        self.answered_at = 0.0
        self.pause = 0.0
        self.paused_until = 0.0
        self.tokens = 1.0
        self.tokens_at = 0.0
        self.stopped = False
        #: Whether its endpoint is disabled or deleted.
        self.gone = False
        #: The ticket with which the lane waits for a time or a slot; 0 when it does not wait.
        self.waiting = 0

    def capacity(self) -> int:
        """Return how many deliveries the lane may hold in memory."""
        if self.health is Health.SICK:
            return SICK_ROOM
        limit = self.endpoint.rate_limit
        most = LANE_ROOM if self.health is Health.WELL else NEW_ROOM
        # A format that takes several at once sends more deliveries than requests.
        return most if limit is None or self.endpoint.takes_several else min(most, max(int(limit * AHEAD_S), SICK_ROOM))

    def wait(self, now: float, share: int) -> float:
        """Return the seconds until the next request may start; take a token when that is 0."""
        if self.paused_until > now:
            return self.paused_until - now
        limit = self.endpoint.rate_limit
        if limit is None:
            return 0.0
        rate = limit / share
        self.tokens = min(self.tokens + (now - self.tokens_at) * rate, max(rate * BURST_S, 1.0))
        self.tokens_at = now
        if self.tokens < 1.0:
            return (1.0 - self.tokens) / rate
        self.tokens -= 1.0
        return 0.0

    def idle(self, now: float) -> bool:
        """Whether the lane has had no work for so long that it can be removed."""
        return not self.in_flight and not self.queue and not self.stopped and now - self.answered_at > IDLE_S

    def silent(self, now: float) -> bool:
        """Whether requests are in progress and the endpoint has not answered for too long."""
        return self.in_flight > 0 and now - self.answered_at > SICK_SILENCE_S
