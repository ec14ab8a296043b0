"""The lane of a connection: the messages that are claimed for it, divided into calls."""

import asyncio
from collections import deque

from waypost.domain.messaging.message import Outgoing

#: Messages are claimed ahead of their calls, so that transactions carry many of them and no call waits for one: what
#: leaves at the present pace while this many claims are made, within these limits in seconds and messages.
AHEAD_CLAIMS = 4
LEAST_AHEAD_S, MOST_AHEAD_S = 0.1, 0.5
MOST_AHEAD = 2000


class ConnectionLane:
    """The claimed messages of one connection that wait for a call, and the calls under way."""

    def __init__(self, now: float) -> None:
        #: Claimed messages that no call has taken yet, by call.
        self.waiting: deque[list[Outgoing]] = deque()
        self.claimed = 0
        self.calls: set[asyncio.Task[None]] = set()
        #: Wakes the task that claims: enough room for a claim that is worth a transaction.
        self.freed = asyncio.Event()
        #: How many messages may wait here at most for a claim to be worth its transaction.
        self.low_water = 0
        #: The tries since `_since`, and how many that is a second.
        self._tries = 0
        self._since = now
        self._rate = 0.0
        #: How long claims take lately, in seconds.
        self._claim_s = 0.0

    def note_tries(self, count: int) -> None:
        """Count tries to send messages."""
        self._tries += count

    def note_claim(self, seconds: float) -> None:
        """Note how long a claim took."""
        self._claim_s += (seconds - self._claim_s) / 4

    def ahead(self, now: float) -> int:
        """Return how many messages may wait claimed; none at a slow provider. `now` is in seconds, by any clock.

        They are `sending` already, so after a kill it is unknown whether they were sent.
        """
        if now - self._since >= LEAST_AHEAD_S:
            self._rate = self._tries / (now - self._since)
            self._tries, self._since = 0, now
        seconds = min(max(AHEAD_CLAIMS * self._claim_s, LEAST_AHEAD_S), MOST_AHEAD_S)
        return min(int(self._rate * seconds), MOST_AHEAD)


def divide(messages: list[Outgoing], size: int) -> list[list[Outgoing]]:
    """Divide messages into calls of up to `size`. No address occurs twice in a call: providers answer by address."""
    if size == 1:
        return [[message] for message in messages]
    parts: list[list[Outgoing]] = []
    taken: list[set[str]] = []
    #: By address, the first part without it, so that a frequent address costs no search.
    first: dict[str, int] = {}
    for message in messages:
        position = first.get(message.address, 0)
        while position < len(parts) and (len(parts[position]) >= size or message.address in taken[position]):
            position += 1
        if position == len(parts):
            parts.append([])
            taken.append(set())
        parts[position].append(message)
        taken[position].add(message.address)
        first[message.address] = position + 1
    return parts
