"""Suppressions, message counts and quarantined receipts."""

import base64
from typing import Annotated, Any

import msgspec
from litestar import Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from msgspec import Meta

from waypost.api.control.audience.profiles import find_profile
from waypost.api.control.calls import NAMES, Call, permit
from waypost.api.paging import After, Limit, Page, before, cursor, page, position
from waypost.clock import HOUR, SECOND, iso
from waypost.domain.messaging.failure_codes import describe
from waypost.domain.values.contacts import normal_email, normal_phone
from waypost.domain.values.ids import internal, public
from waypost.domain.values.times import parse_time
from waypost.errors import Invalid, NotFound
from waypost.storage.database import Row, Tx

#: In the order of the list.
CHANNELS = ("email", "event", "sms")
#: The longest period of one request for counts, in hours.
MOST_HOURS = 24 * 92

Channel = Annotated[str, Meta(pattern="^(sms|email|event)$")]
Address = Annotated[str, Meta(min_length=1, max_length=320)]
ChannelQuery = Annotated[str, QueryParameter(name="channel", pattern="^(sms|email|event)$")]
ChannelFilter = Annotated[
    str | None,
    QueryParameter(name="channel", pattern="^(sms|email|event)$", description="Return only this channel."),
]
AddressFilter = Annotated[
    str | None,
    QueryParameter(name="address", min_length=1, max_length=320, description="Return only this address."),
]
ProfileFilter = Annotated[
    str | None, QueryParameter(name="profile_id", description="Return only addresses of this profile.")
]
AddressQuery = Annotated[str, QueryParameter(name="address", min_length=1, max_length=320)]


class CreateSuppression(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An address to suppress."""

    channel: Channel
    address: Address
    reason: Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{0,63}$")] = "manual"
    detail: Annotated[str, Meta(max_length=500)] | None = None


class Suppression(msgspec.Struct, kw_only=True):
    """A suppressed address: Waypost sends no messages to it."""

    channel: str
    address: str
    reason: str
    #: The connection whose provider reported it; null if it was added through the API.
    connection_id: str | None
    detail: str | None
    created_at: str


class MessageCount(msgspec.Struct, kw_only=True):
    """How many messages reached a status within an hour."""

    hour: str
    connection_id: str
    campaign: str | None
    template_id: str | None
    status: str
    code: int | None
    #: The name of the code; null without a code, and for one that Waypost does not know.
    reason: str | None
    count: int


class QuarantinedReceipt(msgspec.Struct, kw_only=True):
    """A receipt that could not be parsed, stored for an operator to review."""

    id: str
    connection_id: str
    reason: str
    #: As text if it is UTF-8, otherwise in base64; `encoding` says which.
    body: str
    encoding: str
    created_at: str


@get("/v1/suppressions", summary="List suppressions")
async def list_suppressions(
    call: NamedDependency[Call],
    channel: ChannelFilter = None,
    address: AddressFilter = None,
    profile_id: ProfileFilter = None,
    limit: Limit = 50,
    after: After = None,
) -> Page[Suppression]:
    """Returns suppressions, ordered by channel and address; with `address`, those of this address, and with
    `profile_id` those of the email addresses and phone numbers of a person."""
    if address is not None and profile_id is not None:
        raise Invalid("Give only one of `address` and `profile_id`.", code="several_identifiers")
    place: dict[str, Any] = {"workspace_id": call.workspace_id}
    if address is not None:
        found = _read_addresses(channel, address)

        async def of_address(tx: Tx) -> list[Row]:
            return [row for one in found for row in await tx.rows("suppressions.get", **place, **one)]

        return Page([_suppression_view(row) for row in await call.read(of_address)])
    if profile_id is not None:

        async def of_profile(tx: Tx) -> list[Row]:
            profile = await find_profile(tx, call.workspace_id, internal("pro", profile_id))
            rows = await tx.rows("suppressions.of_profile", profile_id=profile["id"])
            return [row for row in rows if channel in (None, row[0])][:limit]

        return Page([_suppression_view(row) for row in await call.read(of_profile)])
    start, mark = position("suppressions", after, channel or "", "")

    async def work(tx: Tx) -> list[Row]:
        if channel is None:
            return await tx.rows("suppressions.list", **place, channel=start, address=mark, n=limit + 1)
        return await tx.rows("suppressions.of_channel", **place, channel=channel, address=mark, n=limit + 1)

    rows = await call.read(work)
    following = cursor("suppressions", rows[limit - 1][0], rows[limit - 1][1]) if len(rows) > limit else None
    return Page([_suppression_view(row) for row in rows[:limit]], following)


@post("/v1/suppressions", summary="Suppress an address", status_code=201, opt={"body": CreateSuppression})
async def create_suppression(call: NamedDependency[Call]) -> Response[Suppression]:
    """Suppresses an address: queued and later messages to it are skipped. An existing suppression is not changed."""
    given = await call.body(CreateSuppression)
    address = read_address(given.channel, given.address)
    detail = None if given.detail is None else check_text(given.detail, "detail")

    async def work(tx: Tx) -> Suppression:
        row = (call.workspace_id, given.channel, address, given.reason, None, detail, call.now)
        await tx.insert("suppressions.add", [row])
        found = await tx.row("suppressions.get", workspace_id=call.workspace_id, channel=given.channel, address=address)
        return _suppression_view(found or ())

    return await call.perform(201, work)


@delete("/v1/suppressions", summary="Delete a suppression", status_code=204, opt=NAMES)
async def delete_suppression(call: NamedDependency[Call], channel: ChannelQuery, address: AddressQuery) -> None:
    """Allows messages to an address again."""

    async def work(tx: Tx) -> int:
        return await tx.run(
            "suppressions.remove",
            workspace_id=call.workspace_id,
            channel=channel,
            address=read_address(channel, address),
        )

    if not await call.transact(work):
        raise NotFound("This address is not suppressed. GET /v1/suppressions lists suppressed addresses.")


_HOURS = {"format": "date-time"}
SinceHour = Annotated[
    str | None,
    QueryParameter(
        name="since", schema_extra=_HOURS, description="Count from this hour; by default from 24 hours ago."
    ),
]
UntilHour = Annotated[
    str | None,
    QueryParameter(
        name="until", schema_extra=_HOURS, description="Count up to this hour, exclusive; by default up to now."
    ),
]


@get("/v1/message-counts", summary="Count messages per hour", opt={"permission": "messages.read"})
async def count_messages(
    call: NamedDependency[Call], since: SinceHour = None, until: UntilHour = None
) -> Page[MessageCount]:
    """Returns how many messages reached each status per hour, by connection, campaign, template and code.

    Test messages are not counted.
    """
    last = parse_time(until) if until is not None else call.now + HOUR
    first = parse_time(since) if since is not None else call.now - 24 * HOUR
    if last - first > MOST_HOURS * HOUR:
        raise Invalid(
            f"The period is longer than {MOST_HOURS} hours. Request at most {MOST_HOURS} hours at a time.",
            code="invalid_period",
        )

    async def work(tx: Tx) -> list[Row]:
        return await tx.rows(
            "message_counts.list",
            workspace_id=call.workspace_id,
            since=first // HOUR * HOUR // SECOND,
            until=-(-last // SECOND),
        )

    return Page([_count_view(row) for row in await call.read(work)])


@get("/v1/quarantine", summary="List quarantined receipts")
async def list_quarantine(
    call: NamedDependency[Call], limit: Limit = 50, after: After = None
) -> Page[QuarantinedReceipt]:
    """Returns receipts that could not be parsed, newest first."""

    async def work(tx: Tx) -> list[dict[str, Any]]:
        return await tx.records(
            "quarantine.list", workspace_id=call.workspace_id, before=before("quarantine", after), n=limit + 1
        )

    return page("quarantine", await call.read(work), limit, _quarantined_view, lambda row: int(row["id"]))


def read_address(channel: str, address: str) -> str:
    """Return an address of a channel, normalised; raise Invalid if it is none."""
    found = {"sms": normal_phone, "email": normal_email}.get(channel, str.strip)(address)
    if not found or "\0" in found:
        raise Invalid(
            f"{address[:80]!r} is not a valid address for the channel {channel}.",
            code="invalid_address",
            field="address",
        )
    return found


def _read_addresses(channel: str | None, address: str) -> list[dict[str, str]]:
    """Return an address as each channel writes it; without a channel, those channels that it is one of."""
    if channel is not None:
        return [{"channel": channel, "address": read_address(channel, address)}]
    found = []
    for one in CHANNELS:
        try:
            found.append({"channel": one, "address": read_address(one, address)})
        except Invalid:
            continue
    if not found:
        raise Invalid(f"{address[:80]!r} is not a valid address.", code="invalid_address", field="address")
    return found


def check_text(text: str, field: str) -> str:
    """Return a text; raise Invalid if it contains U+0000, which PostgreSQL cannot store."""
    if "\0" in text:
        raise Invalid("Text cannot contain the character U+0000. Remove it.", code="invalid_text", field=field)
    return text


def _suppression_view(row: Row) -> Suppression:
    channel, address, reason, connection_id, detail, created_at = row
    return Suppression(
        channel=channel,
        address=address,
        reason=reason,
        connection_id=None if connection_id is None else public("con", connection_id),
        detail=detail,
        created_at=iso(created_at),
    )


def _count_view(row: Row) -> MessageCount:
    hour, connection_id, campaign, template_id, status, code, count = row
    known = describe(code) if code else None
    return MessageCount(
        hour=iso(hour * SECOND),
        connection_id=public("con", connection_id),
        campaign=campaign or None,
        template_id=public("tpl", template_id) if template_id else None,
        status=status,
        code=code or None,
        reason=known.name if known else None,
        count=count,
    )


def _quarantined_view(row: dict[str, Any]) -> QuarantinedReceipt:
    body = bytes(row["body"])
    try:
        text, encoding = body.decode(), "text"
    except UnicodeDecodeError:
        text, encoding = base64.b64encode(body).decode(), "base64"
    return QuarantinedReceipt(
        id=public("rec", row["id"]),
        connection_id=public("con", row["connection_id"]),
        reason=row["reason"],
        body=text,
        encoding=encoding,
        created_at=iso(row["created_at"]),
    )


ROUTES = permit(
    "people",
    [
        list_suppressions,
        create_suppression,
        delete_suppression,
        count_messages,
        list_quarantine,
    ],
)
