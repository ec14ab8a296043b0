"""Estimate whom a campaign would reach: its audience without those who would be skipped, by reason."""

import time
from typing import Any

import msgspec

from waypost.domain.campaigns.campaign import share_of
from waypost.domain.messaging.status import skip_reason
from waypost.engine.audience.recipients import find_address, load_recipients
from waypost.engine.campaigns.audience import among_campaign, page_of_campaign
from waypost.engine.campaigns.campaigns import Campaign
from waypost.storage.database import Database, Tx

#: People whose addresses are looked at in one query, and ids that one query counts.
STEP = 2_000
READ = 50_000
#: Seconds after which the rest is estimated from those that were looked at.
PATIENCE_S = 3.0

_encode = msgspec.json.Encoder().encode
_states = msgspec.json.Decoder(list[tuple[int, str, str, str | None, str | None]])


class Estimate(msgspec.Struct):
    """How many people a campaign would reach now."""

    audience: int
    reach: int
    #: How many would be skipped, by reason.
    excluded: dict[str, int]
    #: Whether the reasons were counted for a part of the audience only.
    approximate: bool


async def estimate_reach(database: Database, campaign: Campaign, now: int) -> Estimate:
    """Count the audience, and why people in it would be skipped; of a large one, for as many as time allows."""
    began = time.monotonic()
    audience, looked_at, after, looked_after = 0, 0, 0, 0
    reasons: dict[str, int] = {}
    while ids := await database.read(
        page_of_campaign, campaign.workspace_id, campaign.definition.audience, after, READ, now
    ):
        for start in range(0, len(ids), STEP):
            if time.monotonic() - began > PATIENCE_S and looked_at:
                break
            step = ids[start : start + STEP]
            for reason, n in (await database.read(_classify, campaign, step, now)).items():
                reasons[reason] = reasons.get(reason, 0) + n
            looked_at += len(step)
            looked_after = step[-1]
        audience += len(ids)
        after = ids[-1]
    approximate = looked_after < after
    if approximate:
        reasons = {reason: round(n * audience / looked_at) for reason, n in reasons.items()}
    return Estimate(audience, audience - sum(reasons.values()), reasons, approximate)


async def _classify(tx: Tx, campaign: Campaign, ids: list[int], now: int) -> dict[str, int]:
    """Return how many of these people would be skipped, by reason."""
    definition, channel = campaign.definition, campaign.message_channel
    without = await among_campaign(tx, campaign.workspace_id, definition.exclude, ids[0], ids[-1], now)
    people = (await load_recipients(tx, campaign.workspace_id, ids, [])).people
    reasons: dict[str, int] = {}
    places: list[tuple[int, str, str]] = []

    def skip(reason: str) -> None:
        reasons[reason] = reasons.get(reason, 0) + 1

    for id_ in ids:
        person = people.get(id_)
        if id_ in without:
            skip("excluded")
        elif definition.holdout and share_of(campaign.id, "holdout", id_) < definition.holdout:
            skip("holdout")
        elif person is None:
            skip("profile_deleted")
        else:
            address, reason = find_address(channel, None, person)
            if reason is not None:
                skip(reason)
            else:
                places.append((campaign.workspace_id, channel, address))
    row: tuple[Any, ...] | None = None
    if places:
        row = await tx.row("addresses.standing", addresses=_encode(sorted(set(places))).decode())
    known = {
        (ws, ch, address): (suppressed, state)
        for ws, ch, address, suppressed, state in _states.decode(row[0] if row else "[]")
    }
    for place in places:
        if (found := known.get(place)) is not None and (why := skip_reason(channel, definition.purpose, *found)):
            skip(why)
    return reasons
