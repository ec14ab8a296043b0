"""Campaigns: create, list, get, change, delete; launch, pause, resume, cancel."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from msgspec import UNSET, Meta, UnsetType

from waypost.api.control.calls import NAMES, Call, permit
from waypost.api.paging import After, Limit, Page, before, page
from waypost.clock import iso, iso_or_none
from waypost.domain.campaigns.campaign import (
    LONGEST_NAME,
    PAUSED_FIELDS,
    Audience,
    CampaignAction,
    CampaignState,
    CampaignTracking,
    CampaignUtm,
    Conversion,
    Definition,
    Throttle,
    VariantTest,
    check_definition,
)
from waypost.domain.campaigns.launch import Lacking, incomplete
from waypost.domain.campaigns.schedule import Schedule, SendNow
from waypost.domain.messaging.request import LONGEST_VALIDITY_S, read_campaign
from waypost.domain.values.ids import internal, public
from waypost.engine.campaigns import campaigns
from waypost.engine.campaigns.counts import count_done
from waypost.engine.campaigns.launch import find_missing
from waypost.storage.database import Tx

#: The occurrences that the view of a campaign shows.
SHOWN = 20

Name = Annotated[str, Meta(min_length=1, max_length=LONGEST_NAME)]
Channel = Annotated[
    Literal["email", "sms", "webhook"],
    Meta(
        description="`webhook` sends a payload per person to another system through a connection for events.",
    ),
]
Purpose = Literal["transactional", "promotional"]
Validity = Annotated[int, Meta(ge=5, le=LONGEST_VALIDITY_S, description="Seconds for which a message may be tried.")]
Holdout = Annotated[
    float, Meta(ge=0, le=0.9, description="The share of the audience that gets nothing, to measure the difference.")
]


class CreateCampaign(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The settings of a new campaign. It may be incomplete until it is launched."""

    name: Name
    channel: Channel
    template_id: str | None = None
    audience: Audience = msgspec.field(default_factory=Audience)
    exclude: Audience = msgspec.field(default_factory=Audience)
    schedule: Schedule = msgspec.field(default_factory=SendNow)
    throttle: Throttle | None = None
    purpose: Purpose = "promotional"
    connection_id: str | None = None
    variables: dict[str, Any] = {}
    validity: Validity | None = None
    conversion: Conversion | None = None
    holdout: Holdout = 0.0
    test: VariantTest | None = None
    utm: CampaignUtm | None = None
    tracking: CampaignTracking | None = None


class ChangeCampaign(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The settings to change; the others stay. What may change depends on the state."""

    name: Name | UnsetType = UNSET
    template_id: str | UnsetType | None = UNSET
    audience: Audience | UnsetType = UNSET
    exclude: Audience | UnsetType = UNSET
    schedule: Schedule | UnsetType = UNSET
    throttle: Throttle | UnsetType | None = UNSET
    purpose: Purpose | UnsetType = UNSET
    connection_id: str | UnsetType | None = UNSET
    variables: dict[str, Any] | UnsetType = UNSET
    validity: Validity | UnsetType | None = UNSET
    conversion: Conversion | UnsetType | None = UNSET
    holdout: Holdout | UnsetType = UNSET
    test: VariantTest | UnsetType | None = UNSET
    utm: CampaignUtm | UnsetType | None = UNSET
    tracking: CampaignTracking | UnsetType | None = UNSET


class Progress(msgspec.Struct):
    """How far a campaign is."""

    #: The recipients so far: it grows while the audience is being decided.
    audience: int
    #: Those whose message is sent, failed or skipped.
    done: int


class Occurrence(msgspec.Struct, kw_only=True):
    """One sending of a campaign."""

    id: str
    planned_at: str
    #: `preparing` its audience, `sending`, `done` or `cancelled`.
    state: str
    progress: Progress
    #: The variant that won the test; None if none did.
    winner: str | None
    #: When that was decided.
    decided_at: str | None
    ended_at: str | None


class Campaign(msgspec.Struct, kw_only=True):
    """A campaign, with its progress."""

    id: str
    name: str
    channel: str
    state: CampaignState
    #: Why it was paused by itself: `no_connection` or `unknown_template`.
    reason: str | None
    template_id: str | None
    audience: Audience
    exclude: Audience
    schedule: Schedule
    throttle: Throttle | None
    purpose: str
    connection_id: str | None
    variables: dict[str, Any]
    validity: int | None
    conversion: Conversion | None
    holdout: float
    test: VariantTest | None
    utm: CampaignUtm | None
    tracking: CampaignTracking | None
    version: int
    progress: Progress
    #: When the next occurrence begins.
    next_at: str | None
    #: The latest ones first.
    occurrences: list[Occurrence]
    launched_at: str | None
    ended_at: str | None
    created_at: str
    updated_at: str


StateFilter = Annotated[
    str | None,
    QueryParameter(
        name="state",
        pattern="^(draft|scheduled|live|paused|finished|cancelled)$",
        description="Return only campaigns in this state.",
    ),
]


@post("/v1/campaigns", summary="Create a campaign", opt={"body": CreateCampaign, **NAMES})
async def create_campaign(call: NamedDependency[Call]) -> Response[Campaign]:
    """Creates a draft. Nothing is sent before it is launched."""
    body = await call.body(CreateCampaign)
    fields = msgspec.structs.asdict(body)
    name, channel = read_campaign(fields.pop("name")), fields.pop("channel")
    definition = Definition(**fields)

    async def work(tx: Tx) -> Campaign:
        made = await campaigns.create_campaign(
            tx, call.engine.ids, call.workspace_id, name, channel, definition, call.now
        )
        return await campaign_view(tx, made)

    return await call.perform(201, work)


@get("/v1/campaigns", summary="List campaigns")
async def list_campaigns(
    call: NamedDependency[Call], in_state: StateFilter = None, limit: Limit = 50, after: After = None
) -> Page[Campaign]:
    """Returns the campaigns of the workspace, newest first."""

    async def work(tx: Tx) -> tuple[list[campaigns.Campaign], dict[int, Campaign]]:
        first = before("campaigns", after)
        records = await campaigns.list_campaigns(tx, call.workspace_id, in_state or "", first, limit + 1)
        return records, await campaign_views(tx, records[:limit])

    records, views = await call.read(work)
    return page("campaigns", records, limit, lambda record: views[record.id], lambda record: record.id)


@get("/v1/campaigns/{id:str}", summary="Get a campaign")
async def get_campaign(call: NamedDependency[Call], id: FromPath[str]) -> Campaign:
    """Returns a campaign and how far it is."""

    async def work(tx: Tx) -> Campaign:
        return await campaign_view(tx, await campaigns.find_campaign(tx, call.workspace_id, internal("cmp", id)))

    return await call.read(work)


@patch("/v1/campaigns/{id:str}", summary="Change a campaign", opt={"body": ChangeCampaign, **NAMES})
async def change_campaign(call: NamedDependency[Call], id: FromPath[str]) -> Campaign:
    """Changes a campaign. Of a live one only the throttle can change; of a paused one, also what is not sent yet."""
    body = await call.body(ChangeCampaign)
    changes = {name: value for name, value in msgspec.structs.asdict(body).items() if value is not UNSET}
    name = changes.pop("name", None)
    await _check_complete(call, internal("cmp", id), changes)

    async def work(tx: Tx) -> Campaign:
        campaign = await campaigns.lock_campaign(tx, call.workspace_id, internal("cmp", id))
        definition = msgspec.structs.replace(campaign.definition, **changes)
        new_name = campaign.name if name is None else read_campaign(name)
        return await campaign_view(tx, await campaigns.change_campaign(tx, campaign, new_name, definition, call.now))

    changed = await call.transact(work)
    call.engine.wake_campaigns()
    return changed


@delete("/v1/campaigns/{id:str}", summary="Delete a campaign")
async def delete_campaign(call: NamedDependency[Call], id: FromPath[str]) -> None:
    """Deletes a campaign that is a draft or over. Its messages stay."""
    await call.transact(campaigns.delete_campaign, call.workspace_id, internal("cmp", id), call.now)


@post("/v1/campaigns/{id:str}/launch", summary="Launch a campaign", status_code=200)
async def launch_campaign(call: NamedDependency[Call], id: FromPath[str]) -> Response[Campaign]:
    """Sends a campaign by its schedule. If something is missing, `missing` names all of it and nothing is sent."""
    id_ = internal("cmp", id)
    campaign = await call.read(campaigns.find_campaign, call.workspace_id, id_)
    if campaign.state is CampaignState.DRAFT:
        missing = await find_lacking(call, campaign)
        if missing:
            raise incomplete(missing)
    return await _act(call, id_, CampaignAction.LAUNCH)


@post("/v1/campaigns/{id:str}/unschedule", summary="Make a scheduled campaign a draft again", status_code=200)
async def unschedule_campaign(call: NamedDependency[Call], id: FromPath[str]) -> Response[Campaign]:
    """Takes a campaign back that has not begun."""
    return await _act(call, internal("cmp", id), CampaignAction.UNSCHEDULE)


@post("/v1/campaigns/{id:str}/pause", summary="Pause a campaign", status_code=200)
async def pause_campaign(call: NamedDependency[Call], id: FromPath[str]) -> Response[Campaign]:
    """Stops a campaign until it is resumed. Messages that a provider is being given now are still sent."""
    return await _act(call, internal("cmp", id), CampaignAction.PAUSE)


@post("/v1/campaigns/{id:str}/resume", summary="Resume a campaign", status_code=200)
async def resume_campaign(call: NamedDependency[Call], id: FromPath[str]) -> Response[Campaign]:
    """Lets a paused campaign go on where it stopped."""
    return await _act(call, internal("cmp", id), CampaignAction.RESUME)


@post("/v1/campaigns/{id:str}/cancel", summary="Cancel a campaign", status_code=200)
async def cancel_campaign(call: NamedDependency[Call], id: FromPath[str]) -> Response[Campaign]:
    """Ends a campaign. Who has not got it yet does not get it, and is skipped with the reason `cancelled`."""
    return await _act(call, internal("cmp", id), CampaignAction.CANCEL)


async def find_lacking(call: Call, campaign: campaigns.Campaign) -> list[Lacking]:
    """Return everything that a campaign lacks for its launch."""
    engine = call.engine
    return await find_missing(engine.database, engine.templates, engine.connections, campaign, call.now)


async def _check_complete(call: Call, id_: int, changes: dict[str, Any]) -> None:
    """Raise Invalid if changes take something from a launched campaign that it needs.

    A new schedule is checked when it is stored, and what cannot change any more is refused then.
    """
    campaign = await call.read(campaigns.find_campaign, call.workspace_id, id_)
    if campaign.state not in (CampaignState.SCHEDULED, CampaignState.PAUSED):
        return
    begun = bool(await call.read(campaigns.list_occurrences, id_, 1))
    fields = changes.keys() & PAUSED_FIELDS if begun else changes.keys() - {"schedule"}
    campaign.definition = msgspec.structs.replace(campaign.definition, **changes)
    check_definition(campaign.definition, campaign.channel)
    missing = [one for one in await find_lacking(call, campaign) if one.field.partition(".")[0] in fields]
    if missing:
        raise incomplete(missing)


async def _act(call: Call, id_: int, action: CampaignAction) -> Response[Campaign]:
    async def work(tx: Tx) -> Campaign:
        campaign = await campaigns.lock_campaign(tx, call.workspace_id, id_)
        return await campaign_view(tx, await campaigns.act(tx, campaign, action, call.now))

    response = await call.perform(200, work)
    call.engine.wake_campaigns()
    return response


async def campaign_view(tx: Tx, campaign: campaigns.Campaign) -> Campaign:
    """Return the API view of a campaign."""
    return (await campaign_views(tx, [campaign]))[campaign.id]


async def campaign_views(tx: Tx, several: list[campaigns.Campaign]) -> dict[int, Campaign]:
    """Return the API views of campaigns by their ids, with two queries for all of them."""
    occurrences = await campaigns.latest_occurrences(tx, [campaign.id for campaign in several], SHOWN)
    done = await count_done(tx, {one.id: one.audience for listed in occurrences.values() for one in listed})
    return {campaign.id: _view(campaign, occurrences[campaign.id], done) for campaign in several}


def _view(campaign: campaigns.Campaign, occurrences: list[campaigns.Occurrence], done: dict[int, int]) -> Campaign:
    shown = [
        Occurrence(
            id=public("occ", one.id),
            planned_at=iso(one.planned_at),
            state=one.state,
            progress=Progress(one.audience, done[one.id]),
            winner=one.winner,
            decided_at=iso_or_none(one.decided_at),
            ended_at=iso_or_none(one.ended_at),
        )
        for one in occurrences
    ]
    return Campaign(
        id=public("cmp", campaign.id),
        name=campaign.name,
        channel=campaign.channel,
        state=campaign.state,
        reason=campaign.reason,
        version=campaign.version,
        # That of the latest occurrence: one before it is over.
        progress=shown[0].progress if shown else Progress(0, 0),
        next_at=iso_or_none(campaign.next_at),
        occurrences=shown,
        launched_at=iso_or_none(campaign.launched_at),
        ended_at=iso_or_none(campaign.ended_at),
        created_at=iso(campaign.created_at),
        updated_at=iso(campaign.updated_at),
        **msgspec.structs.asdict(campaign.definition),
    )


ROUTES = permit(
    "campaigns",
    [
        create_campaign,
        list_campaigns,
        get_campaign,
        change_campaign,
        delete_campaign,
        launch_campaign,
        unschedule_campaign,
        pause_campaign,
        resume_campaign,
        cancel_campaign,
    ],
)
