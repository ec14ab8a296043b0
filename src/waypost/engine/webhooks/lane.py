"""The queue to one endpoint: how much of it may wait in memory, and how much of it may be under way."""

from collections import deque
from enum import IntEnum

import msgspec

from waypost.domain.webhooks.delivery import AttemptOutcome
from waypost.domain.webhooks.endpoint import Endpoint
from waypost.engine.net.request import Response

#: Deliveries that a lane holds in memory when its endpoint answers; before it has answered; and when it is in trouble.
#: What is beyond stays in the database until there is room.
LANE_ROOM, NEW_ROOM, SICK_ROOM = 1000, 200, 4
#: Retries that a lane takes from the database although it is full of what is fresh.
RETRY_ROOM = 50
#: A lane with a rate limit holds what it can send in this time, in seconds.
AHEAD_S = 2.0
#: Requests under way to an endpoint that has not answered yet: each success allows one more.
FIRST_WINDOW = 1.0
#: Failures in a row, and seconds without any answer, after which an endpoint is in trouble.
SICK_FAILURES = 3
SICK_SILENCE_S = 0.5
#: Seconds after which a lane without work is forgotten.
IDLE_S = 600.0
#: A lane with a rate limit may save up what it could have sent in this time, in seconds.
BURST_S = 0.1


class Task(msgspec.Struct):
    """A delivery that this process holds, ready to be sent."""

    endpoint: Endpoint
    event_id: int
    body: bytes
    #: Tries since it was queued, and attempts ever, before this one.
    tries: int
    attempts: int


class Attempt(msgspec.Struct):
    """One try and its result, for the recorder."""

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


class Health(IntEnum):
    """What is known of an endpoint; it decides how much of memory and of the slots its lane may have.

    new ──2xx──▶ well ──3 failures in a row, or silence──▶ sick ──2xx──▶ well
     └──3 failures in a row, or silence──▶ sick
    """

    NEW = 0  #: It has not answered since this process started, or since it was changed.
    WELL = 1  #: It takes what it is sent.
    SICK = 2  #: It fails or hangs.


class Lane:
    """The queue to one endpoint, and how fast it may be worked through."""

    __slots__ = (
        "endpoint",
        "failures",
        "gone",
        "health",
        "heard_at",
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
        #: How many of the queue were tried before.
        self.retries = 0
        self.in_flight = 0
        #: How many may be under way now: shrinks with failures, grows with successes, up to the endpoint's concurrency.
        self.window = FIRST_WINDOW
        self.health = Health.NEW
        self.failures = 0
        #: When it answered last, or when it was first asked after a rest; monotonic seconds.
        self.heard_at = 0.0
        self.pause = 0.0
        self.paused_until = 0.0
        self.tokens = 1.0
        self.tokens_at = 0.0
        self.stopped = False
        #: Its endpoint is disabled or deleted.
        self.gone = False
        #: The ticket with which it waits for its time or for a slot; 0 when it does not wait.
        self.waiting = 0

    def capacity(self) -> int:
        """How many deliveries it may hold in memory."""
        if self.health is Health.SICK:
            return SICK_ROOM
        limit = self.endpoint.rate_limit
        most = LANE_ROOM if self.health is Health.WELL else NEW_ROOM
        return most if limit is None else min(most, max(int(limit * AHEAD_S), SICK_ROOM))

    def wait(self, now: float, share: int) -> float:
        """Seconds that it has to wait before its next request; takes a token when it need not."""
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
        """Whether nothing was asked of it for so long that it can be forgotten."""
        return not self.in_flight and not self.queue and not self.stopped and now - self.heard_at > IDLE_S

    def silent(self, now: float) -> bool:
        """Whether requests are under way and none of them was answered for too long."""
        return self.in_flight > 0 and now - self.heard_at > SICK_SILENCE_S
