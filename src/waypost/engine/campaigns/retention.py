"""Delete the recipients of campaigns past their retention; the counts stay."""

from waypost.clock import DAY, first_id
from waypost.engine.runtime.retention import STEP, delete_in_steps
from waypost.storage.database import Database, Tx

#: Days for which the recipients of an occurrence are kept: long enough to compare with the same campaign a year ago.
RECIPIENT_DAYS = 400


async def prune_campaigns(database: Database, now: int) -> int:
    """Delete the recipients of old occurrences and their clicks; return how many recipients."""
    return await delete_in_steps(database, _prune_recipients, first_id(now - RECIPIENT_DAYS * DAY))


async def _prune_recipients(tx: Tx, before: int) -> int:
    rows = await tx.rows("recipients.aged", before=before, n=STEP)
    if not rows:
        return 0
    occurrence_id, first = rows[0]
    last = max(profile_id for found, profile_id in rows if found == occurrence_id)
    await tx.run("campaign_clicks.delete", occurrence_id=occurrence_id, first_id=first, last_id=last)
    return await tx.run("recipients.delete", occurrence_id=occurrence_id, first_id=first, last_id=last)
