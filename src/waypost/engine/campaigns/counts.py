"""The counts of campaigns, kept in the transactions of what they count."""

from collections.abc import Iterable

from waypost.clock import HOUR, SECOND
from waypost.engine.runtime.unit import COUNT_ROWS, Unit
from waypost.storage.database import Tx


class StatusCount:
    """Counts the recipients of an occurrence in a unit of work."""

    def __init__(self, unit: Unit, occurrence_id: int) -> None:
        self._unit = unit
        self._id = occurrence_id

    def add(self, status: str, reason: str | None, code: int | None, variant: str | None, n: int = 1) -> None:
        """Add to how many recipients have a status now, with its reason; of failures, with their code."""
        key = status_key(status, reason)
        self._add("status", key, code if status == "failed" else None, variant, 0, n)

    def happened(self, kind: str, key: str, code: int | None, variant: str | None, n: int = 1) -> None:
        """Add to how often something happened in this hour."""
        self._add(kind, key, code, variant, self._unit.now // HOUR * HOUR // SECOND, n)

    def _add(self, kind: str, key: str, code: int | None, variant: str | None, hour: int, n: int) -> None:
        row = (self._id, kind, key, code or 0, variant or "", hour, self._unit.node % COUNT_ROWS)
        self._unit.counters.add("campaign_counts.add", row, n)


def status_key(status: str, reason: str | None) -> str:
    """Return how a status is counted: those that are held or skipped by their reason."""
    return f"{status}:{reason}" if reason and status in ("held", "skipped") else status


async def count_statuses(
    tx: Tx, occurrences: Iterable[int], *, with_reasons: bool = False
) -> dict[int, dict[str, int]]:
    """Return how many recipients of each occurrence have each status; reasons follow a colon if they are asked for."""
    found: dict[int, dict[str, int]] = {}
    for occurrence_id, key, n in await tx.rows("campaign_counts.statuses", ids=list(occurrences)):
        name = key if with_reasons else key.partition(":")[0]
        counts = found.setdefault(occurrence_id, {})
        counts[name] = counts.get(name, 0) + n
    return found


async def count_done(tx: Tx, audiences: dict[int, int]) -> dict[int, int]:
    """Return how many recipients of occurrences are sent, failed or skipped, out of these audiences."""
    statuses = await count_statuses(tx, audiences) if audiences else {}
    return {
        id_: audience - sum(statuses.get(id_, {}).get(name, 0) for name in ("waiting", "queued", "held"))
        for id_, audience in audiences.items()
    }
