"""The slots of requests in progress, which all lanes share, and the lanes that wait for one."""

import itertools
import resource
from collections import deque
from collections.abc import Callable

from waypost.engine.webhooks.lane import Health, Lane
from waypost.engine.webhooks.room import NEW_SHARE

#: Sockets that all lanes together hold, as a multiple of the slots, where the process may open so many.
SOCKETS = 4
#: Requests that lanes not known to answer may start, together, in START_S seconds. A new connection costs this thread
#: as much as five deliveries; those of a thousand endpoints that time out at once would hold up everyone else.
STARTS, START_S = 8, 0.004
#: How many waiting lanes in a row may find no slot before the others wait for the end of another request.
LOOKED_AT = 32


class Slots:
    """Counts the requests in progress by the health of their lanes, and lets lanes wait in turn."""

    def __init__(self, most: int) -> None:
        self._most = most
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most_sockets = max(most, min(SOCKETS * most, descriptors // 2))
        self.in_flight = 0
        #: How many of STARTS are left until `renew_starts`.
        self._starts_left = STARTS
        #: By health. Requests of sick lanes cost a descriptor and little else, so they have slots of their own.
        self.under_way = [0, 0, 0]
        #: Lanes that wait, each with its ticket, by the health that they had when they began to wait.
        self._waiting: tuple[deque[tuple[Lane, int]], ...] = (deque(), deque(), deque())
        self._tickets = itertools.count(1)

    def take(self, lane: Lane) -> bool:
        """Count a request that a lane starts; return whether `renew_starts` must be called after START_S."""
        lane.in_flight += 1
        self.in_flight += 1
        self.under_way[lane.health] += 1
        if lane.health is Health.WELL:
            return False
        self._starts_left -= 1
        return self._starts_left == STARTS - 1

    def renew_starts(self) -> None:
        """Allow lanes that are not known to answer STARTS requests again."""
        self._starts_left = STARTS

    def give_back(self, lane: Lane) -> None:
        """Count a request of a lane that ended."""
        lane.in_flight -= 1
        self.in_flight -= 1
        self.under_way[lane.health] -= 1

    def count_again(self, lane: Lane, before: Health) -> None:
        """Count the requests of a lane where they belong now that its health has changed."""
        self.under_way[before] -= lane.in_flight
        self.under_way[lane.health] += lane.in_flight

    def free(self, health: Health) -> int:
        """Return how many more requests lanes of this health may start."""
        new, well, sick = self.under_way
        most = self._most
        if health is not Health.WELL and self._starts_left <= 0:
            return 0
        if health is Health.SICK:
            # However many endpoints hang, each gets one request at a time, to find out whether it has recovered.
            return max(most - sick, int(self.in_flight < self._most_sockets))
        free = most - new - well
        if health is Health.NEW:
            # Endpoints that hang keep a descriptor each after they are found out.
            free = min(free, max(int(most * NEW_SHARE), 1) - new, self._most_sockets - self.in_flight)
        return free

    def ticket(self) -> int:
        """Return a ticket for a lane that waits for a time or a slot."""
        return next(self._tickets)

    @property
    def contended(self) -> bool:
        """Whether any lane waits for a slot."""
        new, well, sick = self._waiting
        return bool(new or well or sick)

    def queue_up(self, lane: Lane) -> None:
        """Let a lane wait for a slot among the lanes of its health."""
        lane.waiting = self.ticket()
        self._waiting[lane.health].append((lane, lane.waiting))

    def serve(self, resume: Callable[[Lane, int], None]) -> None:
        """Let waiting lanes start requests, in the order in which they began to wait."""
        for health, waiting in zip(Health, self._waiting, strict=True):
            refused = 0
            while waiting and refused < LOOKED_AT and self.free(health) > 0:
                before = len(waiting)
                resume(*waiting.popleft())
                # A lane that queues up again holds enough slots: the end of one of its own requests is its next turn.
                refused += len(waiting) == before
