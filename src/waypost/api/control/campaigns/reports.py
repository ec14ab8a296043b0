"""What a campaign will do and did: test, preview, estimate, overview, recipients."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, cast

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from litestar.response import Stream
from msgspec import Meta

from waypost.api.control.calls import CSV, KEYLESS, NAMES, Call, permit
from waypost.api.control.campaigns.campaigns import find_lacking
from waypost.api.paging import NEWEST, After, Limit, Page, cursor, position
from waypost.clock import iso_or_none
from waypost.domain.campaigns.campaign import Audience, CampaignState
from waypost.domain.campaigns.launch import Lacking
from waypost.domain.messaging.failure_codes import describe
from waypost.domain.messaging.keywords import with_opt_out
from waypost.domain.messaging.message import Content
from waypost.domain.messaging.request import MessageRequest
from waypost.domain.messaging.sms import SmsMeasure, measure
from waypost.domain.templates.liquid.context import UndefinedVariable
from waypost.domain.templates.template import context_of
from waypost.domain.values.csv_lines import csv_line
from waypost.domain.values.ids import internal, public
from waypost.engine.campaigns import campaigns
from waypost.engine.campaigns.audience import page_of_campaign
from waypost.engine.campaigns.estimate import estimate_reach
from waypost.engine.campaigns.overview import Overview, load_overview
from waypost.engine.messaging.acceptance import BatchLine
from waypost.engine.templates.templates import load_seen
from waypost.engine.tracking.links import sample_links
from waypost.errors import Invalid, NotFound
from waypost.storage.database import Row, Tx

#: People whom a test is sent to, at most.
MOST_TESTERS = 50
#: Recipients that one query of an export reads.
EXPORTED = 2_000
#: The columns of an export.
_EXPORT = (
    "profile_id",
    "status",
    "reason",
    "code",
    "variant",
    "message_id",
    "to",
    "opened_at",
    "clicked_at",
    "converted_at",
)


class CampaignTest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Whom to send a test to."""

    to: Annotated[list[Annotated[str, Meta(max_length=320)]], Meta(max_length=MOST_TESTERS)] = []
    #: People of the workspace, each of whom gets it as themselves.
    profile_ids: Annotated[list[str], Meta(max_length=MOST_TESTERS)] = []
    #: A segment of colleagues, at most 50 people.
    segment_id: str | None = None
    list_id: str | None = None
    #: Whose data to render for the addresses in `to`.
    profile_id: str | None = None
    variant: str | None = None


class CampaignTestSent(msgspec.Struct):
    """The messages of a test, one for each address and person."""

    data: list[BatchLine]
    accepted: int
    rejected: int


class CampaignPreviewRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Whom to render a campaign for."""

    profile_id: str | None = None
    variant: str | None = None


class CampaignPreview(msgspec.Struct, kw_only=True):
    """A campaign as a person would get it."""

    variant: str
    content: Content
    undefined: list[UndefinedVariable]
    sms: SmsMeasure | None


class ExcludedCount(msgspec.Struct):
    """How many people would be skipped for a reason."""

    reason: str
    count: int


class CampaignEstimate(msgspec.Struct):
    """How many people a campaign would reach if it began now."""

    audience: int
    reach: int
    excluded: list[ExcludedCount]
    #: Whether the reasons were counted for a part of a large audience only.
    approximate: bool
    #: What a launch would refuse, as it says it; of a draft.
    missing: list[Lacking]


class CampaignRecipient(msgspec.Struct, kw_only=True):
    """What became of one person in an occurrence of a campaign."""

    #: None for a person who was deleted.
    profile_id: str | None
    #: `waiting`, `holdout`, or the status of the message.
    status: str
    reason: str | None
    code: int | None
    #: The name of `code`.
    failure: str | None
    variant: str | None
    message_id: str | None
    to: str | None
    opened_at: str | None
    clicked_at: str | None
    converted_at: str | None


OccurrenceChoice = Annotated[
    str | None,
    QueryParameter(name="occurrence_id", description="Of this occurrence only; by default all of them together."),
]
LatestOccurrence = Annotated[
    str | None, QueryParameter(name="occurrence_id", description="Of this occurrence; by default the latest one.")
]
StatusFilter = Annotated[
    str | None,
    QueryParameter(
        name="status",
        pattern="^(waiting|holdout|queued|held|sent|delivered|failed|skipped|unknown)$",
        description="Return only recipients with this status.",
    ),
]
ReasonFilter = Annotated[
    str | None, QueryParameter(name="reason", max_length=100, description="Return only recipients with this reason.")
]
CodeFilter = Annotated[
    int, QueryParameter(name="code", ge=0, le=99_999, description="Return only failures with this code; 0 for all.")
]
FormatChoice = Annotated[
    str | None,
    QueryParameter(name="format", pattern="^(json|csv)$", description="`csv` returns all recipients as one file."),
]


@post(
    "/v1/campaigns/{id:str}/test",
    summary="Send a test of a campaign",
    status_code=202,
    opt={"body": CampaignTest, **NAMES},
)
async def test_campaign(call: NamedDependency[Call], id: FromPath[str]) -> Response[CampaignTestSent]:
    """Sends a campaign to a few addresses or colleagues now, with its headers, tracking and short links.

    Tests do not count, nobody becomes a recipient, and no sending rule holds them back.
    """
    body = await call.body(CampaignTest)
    campaign = await call.read(campaigns.find_campaign, call.workspace_id, internal("cmp", id))
    definition = campaign.definition
    if definition.template_id is None:
        raise Invalid("The campaign has no template yet.", code="no_template", field="template_id")
    common: dict[str, Any] = {
        "template_id": definition.template_id,
        "channel": campaign.message_channel,
        "connection_id": definition.connection_id,
        "variables": definition.variables or None,
        "variant": body.variant,
        "campaign": campaign.name,
        "purpose": "transactional",
        "test": True,
    }
    people = list(body.profile_ids)
    if body.segment_id is not None or body.list_id is not None:
        audience = Audience(
            segments=[body.segment_id] if body.segment_id else [], lists=[body.list_id] if body.list_id else []
        )
        found = await call.read(page_of_campaign, call.workspace_id, audience, 0, MOST_TESTERS + 1, call.now)
        if len(found) > MOST_TESTERS:
            raise Invalid(
                f"A test goes to at most {MOST_TESTERS} people; choose a smaller segment.",
                code="too_many_testers",
                field="segment_id" if body.segment_id else "list_id",
            )
        people += [public("pro", id_) for id_ in found]
    requests = [MessageRequest(to=to, profile_id=body.profile_id, **common) for to in body.to]
    requests += [MessageRequest(profile_id=profile_id, **common) for profile_id in dict.fromkeys(people)]
    if not requests:
        raise Invalid(
            "Name whom to send the test to: `to`, `profile_ids` or `segment_id`.", code="no_testers", field="to"
        )
    key = await call.idempotency_key()
    return call.respond(
        await call.engine.messages.submit_many(
            call.workspace_id,
            requests,
            key,
            call.now,
            per_second=None,
            skip_duplicates=False,
            log=call.message_log,
            look=campaigns.campaign_look(campaign.name, definition),
        )
    )


@post(
    "/v1/campaigns/{id:str}/preview",
    summary="Preview a campaign",
    status_code=200,
    opt={"body": CampaignPreviewRequest, "permission": "campaigns.read", **NAMES, **KEYLESS},
)
async def preview_campaign(call: NamedDependency[Call], id: FromPath[str]) -> CampaignPreview:
    """Returns a campaign as a person would get it, with undefined variables marked."""
    body = await call.body(CampaignPreviewRequest)
    if body.profile_id is not None:
        # What is rendered shows what is stored of the person.
        call.caller.require("people.read")
    campaign = await call.read(campaigns.find_campaign, call.workspace_id, internal("cmp", id))
    number = campaigns.template_number(campaign.definition)
    if number is None:
        raise Invalid("The campaign has no template yet.", code="no_template", field="template_id")
    template = await call.engine.templates.get(call.workspace_id, number)
    profile_id = None if body.profile_id is None else internal("pro", body.profile_id)
    seen = await call.read(load_seen, call.workspace_id, profile_id, None)
    variables = call.engine.tracker.sample(call.workspace_id) | campaign.definition.variables
    context = context_of(seen.person, {}, seen.organization, variables)
    variant = body.variant or template.pick(campaigns.variant_share(campaign, profile_id))
    rendered = template.preview(context, variant=variant, now=call.now)
    if campaign.message_channel == "sms":
        # What is measured is what is sent: with short links, the words by which to opt out, and no marks.
        sent = template.render(context, variant=variant, now=call.now) if rendered.undefined else rendered.content
        rendered.sms = measure(_as_sent(call, campaign, sent))
        rendered.content.text = _as_sent(call, campaign, rendered.content)
        rendered.content.click_url = ""
    return CampaignPreview(
        variant=rendered.variant, content=rendered.content, undefined=rendered.undefined, sms=rendered.sms
    )


def _as_sent(call: Call, campaign: campaigns.Campaign, content: Content) -> str:
    """Return a text of a campaign with samples of its short links, and the words by which to opt out."""
    look = campaigns.campaign_look(campaign.name, campaign.definition)
    settings = call.engine.tracker.settings(call.workspace_id)
    text = with_opt_out(content.text, settings.mail.opt_out_text) if look.purpose == "promotional" else content.text
    return sample_links(text, content.click_url, settings, settings.parameters(campaign.name, look.utm))


@post(
    "/v1/campaigns/{id:str}/estimate",
    summary="Estimate the reach of a campaign",
    status_code=200,
    opt={"permission": "campaigns.read", **KEYLESS},
)
async def estimate_campaign(call: NamedDependency[Call], id: FromPath[str]) -> CampaignEstimate:
    """Returns how many people a campaign would reach now, why others would be skipped, and what a draft lacks."""
    campaign = await call.read(campaigns.find_campaign, call.workspace_id, internal("cmp", id))
    found = await estimate_reach(call.engine.database, campaign, call.now)
    excluded = [ExcludedCount(reason, n) for reason, n in sorted(found.excluded.items(), key=lambda one: -one[1])]
    missing = await find_lacking(call, campaign) if campaign.state is CampaignState.DRAFT else []
    return CampaignEstimate(found.audience, found.reach, excluded, found.approximate, missing)


@get("/v1/campaigns/{id:str}/overview", summary="Get the overview of a campaign")
async def get_campaign_overview(
    call: NamedDependency[Call], id: FromPath[str], occurrence_id: OccurrenceChoice = None
) -> Overview:
    """Returns what became of the recipients: sent, failed by code, skipped by reason, opens, clicks by link."""

    async def work(tx: Tx) -> Overview:
        campaign = await campaigns.find_campaign(tx, call.workspace_id, internal("cmp", id))
        return await load_overview(tx, await _occurrences(tx, campaign, occurrence_id, all_of_them=True))

    return await call.read(work)


@get("/v1/campaigns/{id:str}/recipients", summary="List the recipients of a campaign", opt=CSV)
async def list_campaign_recipients(
    call: NamedDependency[Call],
    id: FromPath[str],
    occurrence_id: LatestOccurrence = None,
    status: StatusFilter = None,
    reason: ReasonFilter = None,
    code: CodeFilter = 0,
    format: FormatChoice = None,
    limit: Limit = 50,
    after: After = None,
) -> Response[Page[CampaignRecipient]]:
    """Returns the people of an occurrence and what became of each, with the reason."""
    if reason is not None and "\0" in reason:
        raise Invalid("`reason` cannot contain the character U+0000. Remove it.", code="invalid_parameter")
    first = int(position("recipients", after, -NEWEST)[0])
    filters = {"status": status or "", "reason": reason or "", "code": code}

    async def find(tx: Tx) -> int | None:
        campaign = await campaigns.find_campaign(tx, call.workspace_id, internal("cmp", id))
        found = await _occurrences(tx, campaign, occurrence_id, all_of_them=False)
        return found[0] if found else None

    occurrence = await call.read(find)

    async def read(tx: Tx, after_id: int, n: int) -> list[Row]:
        if occurrence is None:
            return []
        return await tx.rows("recipients.list", occurrence_id=occurrence, after=after_id, n=n, **filters)

    if format == "csv":
        file = Stream(
            _export(call, read),
            media_type="text/csv",
            headers={"content-disposition": 'attachment; filename="recipients.csv"'},
        )
        return cast(Response[Page[CampaignRecipient]], file)
    rows = await call.read(read, first, limit + 1)
    following = cursor("recipients", rows[limit - 1][0]) if len(rows) > limit else None
    return Response(Page([_recipient_view(row) for row in rows[:limit]], following))


async def _export(call: Call, read: Any) -> AsyncIterator[bytes]:
    """Yield the recipients as CSV, page by page."""
    yield csv_line(_EXPORT).encode()
    after = -NEWEST
    while True:
        rows = await call.read(read, after, EXPORTED)
        views = [_recipient_view(row) for row in rows]
        lines = [csv_line([str(getattr(view, name) or "") for name in _EXPORT]) for view in views]
        yield "".join(lines).encode()
        if len(rows) < EXPORTED:
            return
        after = rows[-1][0]


async def _occurrences(tx: Tx, campaign: campaigns.Campaign, chosen: str | None, *, all_of_them: bool) -> list[int]:
    """Return the ids of the occurrence that was chosen, or of all or the latest one."""
    known = [one.id for one in await campaigns.list_occurrences(tx, campaign.id, 1_000)]
    if chosen is None:
        return known if all_of_them else known[:1]
    id_ = internal("occ", chosen)
    if id_ not in known:
        raise NotFound("The campaign has no such occurrence.", code="unknown_occurrence")
    return [id_]


def _recipient_view(row: Row) -> CampaignRecipient:
    profile_id, status, reason, code, variant, message_id, _, opened_at, clicked_at, converted_at, address = row
    failure = describe(code) if code is not None else None
    return CampaignRecipient(
        profile_id=public("pro", profile_id) if profile_id > 0 else None,
        status=status,
        reason=reason,
        code=code,
        failure=None if failure is None else failure.name,
        variant=variant,
        message_id=None if message_id is None else public("msg", message_id),
        to=address,
        opened_at=iso_or_none(opened_at),
        clicked_at=iso_or_none(clicked_at),
        converted_at=iso_or_none(converted_at),
    )


ROUTES = permit(
    "campaigns",
    [
        test_campaign,
        preview_campaign,
        estimate_campaign,
        get_campaign_overview,
        list_campaign_recipients,
    ],
)
