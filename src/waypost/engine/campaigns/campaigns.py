"""Store campaigns and move them from state to state."""

from collections.abc import Iterable
from typing import Any

import msgspec

from waypost.clock import SECOND, Ids
from waypost.domain.campaigns.campaign import (
    CampaignAction,
    CampaignState,
    CampaignTracking,
    Definition,
    check_change,
    check_definition,
    move,
    share_of,
)
from waypost.domain.campaigns.launch import Lacking, incomplete
from waypost.domain.campaigns.schedule import check_schedule, first_time, next_time
from waypost.domain.values.ids import internal
from waypost.engine.campaigns.audience import find_unknown
from waypost.engine.tracking.mail import Look
from waypost.engine.tracking.settings import UtmParameters
from waypost.errors import Conflict, NotFound
from waypost.storage.database import Tx

#: The configuration area of campaigns: processes learn of goals by its version.
AREA = "campaigns"
#: The most campaigns of a workspace.
MOST_CAMPAIGNS = 10_000
#: The channel of the messages of a campaign: a webhook campaign sends events to a marketing tool or another system.
MESSAGE_CHANNELS = {"email": "email", "sms": "sms", "webhook": "event"}

_encode = msgspec.json.Encoder().encode
_definition = msgspec.json.Decoder(Definition)


class Campaign(msgspec.Struct, kw_only=True):
    """A campaign as it is stored."""

    id: int
    workspace_id: int
    name: str
    channel: str
    state: CampaignState
    definition: Definition
    next_at: int | None
    version: int
    launched_at: int | None
    ended_at: int | None
    reason: str | None
    created_at: int
    updated_at: int

    @property
    def message_channel(self) -> str:
        """The channel of its messages."""
        return MESSAGE_CHANNELS[self.channel]


class Occurrence(msgspec.Struct, kw_only=True):
    """One sending of a campaign."""

    id: int
    planned_at: int
    state: str
    audience: int
    throttle_id: int | None
    winner: str | None
    decided_at: int | None
    ended_at: int | None


def campaign_look(name: str, definition: Definition) -> Look:
    """Return how the messages of a campaign are tracked, and what they say of unsubscribing."""
    lists = definition.audience.numbers("lists")
    tracking = definition.tracking or CampaignTracking()
    return Look(
        purpose=definition.purpose,
        campaign=name,
        list_id=lists[0] if len(lists) == 1 else 0,
        utm=None if definition.utm is None else UtmParameters(**msgspec.structs.asdict(definition.utm)),
        opens=tracking.opens,
        clicks=tracking.clicks,
    )


async def create_campaign(
    tx: Tx, ids: Ids, workspace_id: int, name: str, channel: str, definition: Definition, now: int
) -> Campaign:
    """Create a draft; raise Invalid, with `field`, for what no campaign can have."""
    check_definition(definition, channel)
    row = await tx.row("campaigns.count", workspace_id=workspace_id)
    if row and row[0] >= MOST_CAMPAIGNS:
        raise Conflict(
            f"This workspace has {MOST_CAMPAIGNS} campaigns; delete some of them first.", code="too_many_campaigns"
        )
    id_ = ids.one(now)
    await tx.run(
        "campaigns.add",
        id=id_,
        workspace_id=workspace_id,
        name=name,
        channel=channel,
        definition=_encode(definition).decode(),
        now=now,
    )
    return await find_campaign(tx, workspace_id, id_)


async def find_campaign(tx: Tx, workspace_id: int, id_: int) -> Campaign:
    """Return a campaign; raise NotFound if there is none."""
    records = await tx.records("campaigns.get", workspace_id=workspace_id, id=id_)
    if not records:
        raise NotFound("There is no such campaign in this workspace; GET /v1/campaigns lists them.")
    return read_campaign(records[0])


async def lock_campaign(tx: Tx, workspace_id: int, id_: int) -> Campaign:
    """Return a campaign that is going to change, locked; raise NotFound if there is none."""
    records = await tx.records("campaigns.lock", id=id_)
    if not records or records[0]["workspace_id"] != workspace_id:
        raise NotFound("There is no such campaign in this workspace; GET /v1/campaigns lists them.")
    return read_campaign(records[0])


async def list_campaigns(tx: Tx, workspace_id: int, state: str, before: int, n: int) -> list[Campaign]:
    """Return a page of campaigns, newest first; `state` is empty for all."""
    rows = await tx.records("campaigns.list", workspace_id=workspace_id, state=state, before=before, n=n)
    return [read_campaign(row) for row in rows]


async def list_occurrences(tx: Tx, campaign_id: int, n: int) -> list[Occurrence]:
    """Return the occurrences of a campaign, newest first."""
    names = Occurrence.__struct_fields__
    rows = await tx.records("occurrences.of_campaign", campaign_id=campaign_id, n=n)
    return [Occurrence(**{name: row[name] for name in names}) for row in rows]


async def latest_occurrences(tx: Tx, campaigns: Iterable[int], n: int) -> dict[int, list[Occurrence]]:
    """Return up to `n` occurrences of each of these campaigns, newest first, with one query."""
    names = Occurrence.__struct_fields__
    found: dict[int, list[Occurrence]] = {id_: [] for id_ in campaigns}
    for row in await tx.records("occurrences.of_campaigns", ids=list(found), n=n) if found else ():
        found[row["campaign_id"]].append(Occurrence(**{name: row[name] for name in names}))
    return found


async def change_campaign(tx: Tx, campaign: Campaign, name: str, definition: Definition, now: int) -> Campaign:
    """Change a locked campaign. Raise Conflict for what cannot change any more, Invalid for what is not valid."""
    before = msgspec.structs.asdict(campaign.definition)
    changed = {field for field, value in msgspec.structs.asdict(definition).items() if value != before[field]}
    begun = bool(await list_occurrences(tx, campaign.id, 1))
    if changed or name != campaign.name:
        check_change(campaign.state, changed, begun=begun)
    check_definition(definition, campaign.channel)
    if changed & {"audience", "exclude"} and campaign.state is not CampaignState.DRAFT:
        await _hold_audience(tx, campaign.workspace_id, definition)
    next_at = campaign.next_at
    if "schedule" in changed and campaign.state in (CampaignState.SCHEDULED, CampaignState.PAUSED):
        check_schedule(definition.schedule, now)
        next_at = first_time(definition.schedule, now)
    await tx.run(
        "campaigns.change",
        id=campaign.id,
        name=name,
        definition=_encode(definition).decode(),
        next_at=next_at,
        now=now,
    )
    if "throttle" in changed:
        await _throttle_anew(tx, campaign, definition, now)
    await tx.run("configurations.touch", area=AREA, workspace_id=campaign.workspace_id)
    return await find_campaign(tx, campaign.workspace_id, campaign.id)


async def _hold_audience(tx: Tx, workspace_id: int, definition: Definition) -> None:
    """Raise Invalid if a list or segment of a launched campaign does not exist: it may have just been deleted."""
    if unknown := await find_unknown(tx, workspace_id, definition, hold=True):
        raise incomplete([Lacking("unknown_audience", field, detail) for field, detail in unknown])


async def _throttle_anew(tx: Tx, campaign: Campaign, definition: Definition, now: int) -> None:
    """Give the open occurrences of a campaign the rate that it has now."""
    rate = definition.rate
    for one in await list_occurrences(tx, campaign.id, 10):
        if one.ended_at is not None:
            continue
        if one.throttle_id is None and rate is not None:
            await add_throttle(tx, campaign.workspace_id, campaign.id, rate, now)
            await tx.run("occurrences.set_throttle", id=one.id, throttle_id=campaign.id)
            await tx.run("buckets.set_rate", id=campaign.id, per_second=rate)
        elif one.throttle_id is not None:
            # Without a limit, the bucket stays for the messages that name it.
            await tx.run("buckets.set_rate", id=one.throttle_id, per_second=rate or 1_000_000.0)


async def add_throttle(tx: Tx, workspace_id: int, campaign_id: int, rate: float, now: int) -> None:
    """Add the bucket that limits the rate of a campaign, of all its occurrences together, on all processes."""
    await tx.insert("buckets.add", [(campaign_id, workspace_id, rate, 1.0, now)])


async def act(tx: Tx, campaign: Campaign, action: CampaignAction, now: int, *, reason: str | None = None) -> Campaign:
    """Move a locked campaign by an action of a user or of the clock; return it. Raise Conflict if it cannot."""
    begun = bool(await list_occurrences(tx, campaign.id, 1))
    state = move(campaign.state, action, begun=begun)
    next_at, launched_at, ended_at = campaign.next_at, campaign.launched_at, campaign.ended_at
    if action is CampaignAction.LAUNCH:
        check_schedule(campaign.definition.schedule, now)
        await _hold_audience(tx, campaign.workspace_id, campaign.definition)
        launched_at = now
        next_at = first_time(campaign.definition.schedule, now)
    elif action is CampaignAction.BEGIN:
        next_at = next_time(campaign.definition.schedule, max(campaign.next_at or now, now), launched_at or now)
    elif action in (CampaignAction.UNSCHEDULE, CampaignAction.CANCEL, CampaignAction.FINISH):
        next_at = None
    if state in (CampaignState.FINISHED, CampaignState.CANCELLED):
        ended_at = now
    await tx.run(
        "campaigns.move",
        id=campaign.id,
        state=state.value,
        next_at=next_at,
        launched_at=launched_at,
        ended_at=ended_at,
        reason=reason,
        now=now,
    )
    await tx.run("configurations.touch", area=AREA, workspace_id=campaign.workspace_id)
    return msgspec.structs.replace(
        campaign,
        state=state,
        next_at=next_at,
        launched_at=launched_at,
        ended_at=ended_at,
        reason=reason,
        updated_at=now,
    )


async def delete_campaign(tx: Tx, workspace_id: int, id_: int, now: int) -> None:
    """Delete a campaign that does not send; what it sent stays. Raise Conflict for one that sends."""
    campaign = await lock_campaign(tx, workspace_id, id_)
    if campaign.state not in (CampaignState.DRAFT, CampaignState.FINISHED, CampaignState.CANCELLED):
        raise Conflict(
            f"The campaign is {campaign.state.value}; cancel it before you delete it.", code="campaign_state"
        )
    await tx.run("campaigns.delete", id=id_, now=now)


def read_campaign(record: dict[str, Any]) -> Campaign:
    """Return the campaign of a row."""
    values = {name: record[name] for name in Campaign.__struct_fields__}
    return Campaign(
        **values | {"definition": _definition.decode(record["definition"]), "state": CampaignState(record["state"])}
    )


def read_definition(text: str) -> Definition:
    """Return a definition as it is stored."""
    return _definition.decode(text)


def template_number(definition: Definition) -> int | None:
    """Return the internal id of the template; None for none."""
    return None if definition.template_id is None else internal("tpl", definition.template_id)


def variant_share(campaign: Campaign, profile_id: int | None) -> float:
    """Return the number in [0, 1) that picks the variant of a person; 0 for nobody."""
    return 0.0 if profile_id is None else share_of(campaign.id, "variant", profile_id)


def spread(start: int, position: int, rate: float | None) -> int:
    """Return when the message at a position is due, at a rate per second; at once without one."""
    return start if rate is None else start + int(position / rate * SECOND)
