"""The campaigns of emails, as the data of their events has them."""

from collections.abc import Iterable

from waypost.domain.messaging.message_events import CampaignSummary, ListSummary
from waypost.domain.values.ids import public
from waypost.storage.database import Tx


async def load_campaigns(tx: Tx, occurrences: Iterable[int]) -> dict[int, CampaignSummary]:
    """Return the campaigns of occurrences, in one query; none if there are no occurrences."""
    ids = sorted(set(occurrences))
    rows = await tx.rows("email_events.campaigns", ids=ids) if ids else []
    return {
        id_: CampaignSummary(
            public("cmp", campaign_id),
            name,
            public("occ", id_),
            None if list_name is None else ListSummary(public("lst", list_id), list_name),
        )
        for id_, campaign_id, name, list_id, list_name in rows
    }
