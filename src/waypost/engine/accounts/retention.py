"""For how long the rows of each workspace are kept: as the settings say, or for less time."""

from collections.abc import Mapping

import msgspec

from waypost.errors import Invalid
from waypost.storage.database import Tx

#: What is kept for the days of each field.
KEPT = {"event_days": "events", "attempt_days": "attempts"}


class Retention(msgspec.Struct, frozen=True):
    """For how many days events and attempts are kept."""

    event_days: int
    attempt_days: int
    #: The days of workspaces that keep events, or attempts, for less time.
    events: Mapping[int, int] = {}
    attempts: Mapping[int, int] = {}

    def events_of(self, workspace_id: int) -> int:
        """Return for how many days a workspace keeps its events."""
        return self.events.get(workspace_id, self.event_days)

    def attempts_of(self, workspace_id: int) -> int:
        """Return for how many days a workspace keeps its attempts."""
        return self.attempts.get(workspace_id, self.attempt_days)


async def load_retention(tx: Tx, event_days: int, attempt_days: int) -> Retention:
    """Return for how long all workspaces keep their rows. None keeps them for longer than the settings say."""
    rows = await tx.rows("workspaces.retention")
    return Retention(
        event_days,
        attempt_days,
        {id_: days for id_, days, _ in rows if days is not None and days < event_days},
        {id_: days for id_, _, days in rows if days is not None and days < attempt_days},
    )


def check_days(field: str, days: int | None, most: int) -> None:
    """Raise Invalid, with `field`, if a workspace may not keep for so many days what this server keeps for `most`."""
    if days is not None and days > most:
        raise Invalid(
            f"This server keeps {KEPT[field]} for {most} days (its setting {field}), and a workspace cannot keep them "
            f"for longer. Set retention.{field} to at most {most}, or to null for as long as the server.",
            code="retention_too_long",
            field=f"retention.{field}",
        )
