"""The memory that deliveries may take: for all lanes together, and for what one batch adds to it."""

from collections.abc import Callable

from waypost.engine.webhooks.lane import Health, Lane

#: Deliveries, and bytes of their bodies, that all lanes hold together. A quarter is for endpoints that answer.
TOTAL_ROOM = 20_000
TOTAL_BYTES = 64 * 1024 * 1024
#: The share of the room that endpoints may use that have not answered yet, or that fail.
NEW_SHARE = 0.75
#: The share of the room from which on lanes in trouble give back what they hold.
PRESSURE = 0.25


class Room:
    """What all lanes hold, and how much more they may. The outbound thread changes it; any thread may read it."""

    __slots__ = ("_held_unproven", "_unproven_bytes", "held", "held_bytes")

    def __init__(self) -> None:
        self.held = 0
        self.held_bytes = 0
        #: The part of it in lanes whose endpoints are not known to answer.
        self._held_unproven = 0
        self._unproven_bytes = 0

    def left(self, health: Health) -> tuple[int, int]:
        """Return how many more deliveries, and bytes, the lanes of this health can take now."""
        left, size = TOTAL_ROOM - self.held, TOTAL_BYTES - self.held_bytes
        if health is Health.WELL:
            return left, size
        return (
            min(left, int(TOTAL_ROOM * NEW_SHARE) - self._held_unproven),
            min(size, int(TOTAL_BYTES * NEW_SHARE) - self._unproven_bytes),
        )

    @property
    def short(self) -> bool:
        """Whether lanes in trouble must give back what they hold."""
        return self.held > TOTAL_ROOM * PRESSURE or self.held_bytes > TOTAL_BYTES * PRESSURE

    def hold(self, health: Health, count: int, size: int) -> None:
        """Add deliveries that a lane of this health holds from now on; negative numbers remove them."""
        self.held += count
        self.held_bytes += size
        if health is not Health.WELL:
            self._held_unproven += count
            self._unproven_bytes += size

    def count_again(self, lane: Lane, before: Health) -> None:
        """Count what a lane holds where it belongs now that its health has changed."""
        if (before is Health.WELL) == (lane.health is Health.WELL):
            return
        sign = -1 if lane.health is Health.WELL else 1
        self._held_unproven += sign * len(lane.queue)
        self._unproven_bytes += sign * sum(len(task.body) for task in lane.queue)


class BatchRoom:
    """How many deliveries one batch may leave in memory. It counts what it grants, since lanes get it only later."""

    __slots__ = ("_bytes", "_lane_room", "_lanes", "_left", "_new_bytes", "_new_left")

    def __init__(self, room: Room, lane_room: Callable[[int], tuple[int, bool]]) -> None:
        self._left, self._bytes = room.left(Health.WELL)
        self._new_left, self._new_bytes = room.left(Health.NEW)
        #: Returns how many more deliveries an endpoint's lane can take, and whether the endpoint is known to answer.
        self._lane_room = lane_room
        self._lanes: dict[int, list[int]] = {}

    def take(self, endpoint_id: int, size: int) -> bool:
        """Whether one more delivery of this endpoint fits. Once one did not, no later one does."""
        found = self._lanes.get(endpoint_id)
        if found is None:
            found = self._lanes[endpoint_id] = list(self._lane_room(endpoint_id))
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
