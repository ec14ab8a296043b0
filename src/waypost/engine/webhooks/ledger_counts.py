"""Count accepted, delivered, pending and dead deliveries per endpoint."""

from waypost.engine.runtime.unit import COUNT_ROWS, Counters


def count_deliveries(
    counters: Counters,
    node: int,
    workspace_id: int,
    endpoint_id: int,
    *,
    accepted: int = 0,
    delivered: int = 0,
    pending: int = 0,
    dead: int = 0,
) -> None:
    """Add to the ledger of an endpoint."""
    counters.add("counts.add", (endpoint_id, node % COUNT_ROWS, workspace_id), accepted, delivered, pending, dead)


def count_requeued(counters: Counters, node: int, workspace_id: int, endpoint_id: int, *, was_dead: bool) -> None:
    """Count a dead or delivered delivery as pending again."""
    count_deliveries(
        counters,
        node,
        workspace_id,
        endpoint_id,
        delivered=0 if was_dead else -1,
        pending=1,
        dead=-1 if was_dead else 0,
    )
