"""Changes to the ledger, gathered over a transaction and written at its end."""

from waypost.storage.database import Tx

#: Rows of the ledger per endpoint, over which processes spread their counting.
COUNT_ROWS = 8


class Counts:
    """Changes to the ledger, per endpoint: accepted, delivered, pending, dead."""

    def __init__(self) -> None:
        self._changes: dict[tuple[int, int], list[int]] = {}

    def add(self, workspace_id: int, endpoint_id: int, accepted: int, delivered: int, pending: int, dead: int) -> None:
        """Note a change."""
        row = self._changes.setdefault((endpoint_id, workspace_id), [0, 0, 0, 0])
        row[0] += accepted
        row[1] += delivered
        row[2] += pending
        row[3] += dead

    def requeue(self, workspace_id: int, endpoint_id: int, *, dead: bool) -> None:
        """Note that a delivery that had ended, as dead or delivered, is pending again."""
        self.add(workspace_id, endpoint_id, 0, 0 if dead else -1, 1, -1 if dead else 0)

    async def write(self, tx: Tx, node: int) -> None:
        """Write the changes; in the order of the endpoints, so that two transactions cannot wait for each other."""
        rows = [
            (endpoint, node % COUNT_ROWS, workspace, *row)
            for (endpoint, workspace), row in sorted(self._changes.items())
        ]
        await tx.insert("counts.add", rows)
