"""What is known of the addresses that messages go to, how many messages came to what, and what nobody could read."""

import base64
from typing import Annotated, Any

import msgspec
from litestar import Response, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from msgspec import Meta

from waypost.api.control.calls import NAMES, Call
from waypost.api.paging import After, Limit, Page, before, cursor, page, position
from waypost.clock import HOUR, SECOND, iso
from waypost.domain.events.segment import normal_email, normal_phone, parse_time
from waypost.domain.messaging.receipt import CLOCKS_DIFFER
from waypost.domain.values.ids import public
from waypost.errors import Conflict, Invalid, NotFound
from waypost.storage.database import Row, Tx

#: The hours that one question about counts may cover.
MOST_HOURS = 24 * 92

Channel = Annotated[str, Meta(pattern="^(sms|email|event)$")]
Address = Annotated[str, Meta(min_length=1, max_length=320)]
ChannelQuery = Annotated[str, QueryParameter(name="channel", pattern="^(sms|email|event)$")]
AddressQuery = Annotated[str, QueryParameter(name="address", min_length=1, max_length=320)]


class NewSuppression(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An address that must not be written to."""

    channel: Channel
    address: Address
    reason: Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{0,63}$")] = "manual"
    detail: Annotated[str, Meta(max_length=500)] | None = None


class Suppression(msgspec.Struct, kw_only=True):
    """An address that is not written to, and why."""

    channel: str
    address: str
    reason: str
    #: The connection whose provider said so; null when it was entered by hand.
    connection_id: str | None
    detail: str | None
    created_at: str


class NewConsent(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a person said about being written to."""

    channel: Channel
    address: Address
    state: Annotated[str, Meta(pattern="^(opted_in|opted_out)$")]
    source: Annotated[str, Meta(max_length=64)] = "api"


class Consent(msgspec.Struct, kw_only=True):
    """What a person said about being written to, and where."""

    channel: str
    address: str
    state: str
    source: str
    changed_at: str


class HourCount(msgspec.Struct, kw_only=True):
    """How many messages came to stand so within an hour."""

    hour: str
    connection_id: str
    campaign: str | None
    template_id: str | None
    status: str
    code: int | None
    count: int


class Quarantined(msgspec.Struct, kw_only=True):
    """Something a provider said that nobody could read, kept for a person to look at."""

    id: str
    connection_id: str
    reason: str
    #: As text where it is text, else in base64.
    body: str
    encoding: str
    created_at: str


@get("/v1/suppressions", summary="List suppressions")
async def list_suppressions(call: NamedDependency[Call], limit: Limit = 50, after: After = None) -> Page[Suppression]:
    """By channel and address."""
    channel, address = position("suppressions", after, "", "")

    async def work(tx: Tx) -> list[Row]:
        return await tx.rows(
            "suppressions.list", workspace_id=call.workspace_id, channel=channel, address=address, n=limit + 1
        )

    rows = await call.read(work)
    following = cursor("suppressions", rows[limit - 1][0], rows[limit - 1][1]) if len(rows) > limit else None
    return Page([_suppression(row) for row in rows[:limit]], following)


@post("/v1/suppressions", summary="Suppress an address", status_code=201, opt={"body": NewSuppression})
async def add_suppression(call: NamedDependency[Call]) -> Response[Suppression]:
    """Nothing is sent to it from now on; what is queued is skipped. One that is suppressed already stays as it is."""
    given = await call.body(NewSuppression)
    address = _normal(given.channel, given.address)
    detail = None if given.detail is None else _words(given.detail, "detail")

    async def work(tx: Tx) -> Suppression:
        row = (call.workspace_id, given.channel, address, given.reason, None, detail, call.now)
        await tx.insert("suppressions.add", [row])
        found = await tx.row("suppressions.get", workspace_id=call.workspace_id, channel=given.channel, address=address)
        return _suppression(found or ())

    return await call.perform(201, work)


@delete("/v1/suppressions", summary="Lift a suppression", status_code=204, opt=NAMES)
async def remove_suppression(call: NamedDependency[Call], channel: ChannelQuery, address: AddressQuery) -> None:
    """The address may be written to again."""

    async def work(tx: Tx) -> int:
        return await tx.run(
            "suppressions.remove", workspace_id=call.workspace_id, channel=channel, address=_normal(channel, address)
        )

    if not await call.engine.database.transact(work):
        raise NotFound("This address is not suppressed.")


@get("/v1/consents", summary="What a person said about being written to", opt=NAMES)
async def get_consent(call: NamedDependency[Call], channel: ChannelQuery, address: AddressQuery) -> Consent:
    """The last word of whoever has this address."""

    async def work(tx: Tx) -> Row | None:
        return await tx.row(
            "consents.get", workspace_id=call.workspace_id, channel=channel, address=_normal(channel, address)
        )

    found = await call.read(work)
    if found is None:
        raise NotFound("Nothing is known of what this person wants.")
    return _consent(found)


@put("/v1/consents", summary="Note what a person said about being written to", opt={"body": NewConsent})
async def set_consent(call: NamedDependency[Call]) -> Response[Consent]:
    """It is the word of now and replaces any earlier one; a STOP that comes in after it takes it back."""
    given = await call.body(NewConsent)
    address = _normal(given.channel, given.address)
    source = _words(given.source, "source")

    async def work(tx: Tx) -> Consent:
        key = {"workspace_id": call.workspace_id, "channel": given.channel, "address": address}
        latest = call.now + CLOCKS_DIFFER
        written = await tx.run("consents.put", **key, state=given.state, source=source, now=call.now, latest=latest)
        if not written:
            raise Conflict(
                f"{address} opted out after this request was made. To opt it in all the same, send the request again"
                " after a minute.",
                code="opted_out_later",
            )
        return _consent(await tx.row("consents.get", **key) or ())

    return await call.perform(200, work)


_HOURS = {"format": "date-time"}
SinceHour = Annotated[
    str | None, QueryParameter(name="since", schema_extra=_HOURS, description="From this hour on; a day ago.")
]
UntilHour = Annotated[str | None, QueryParameter(name="until", schema_extra=_HOURS, description="Before this hour.")]


@get("/v1/message-counts", summary="Count messages by the hour")
async def count_messages(
    call: NamedDependency[Call], since: SinceHour = None, until: UntilHour = None
) -> Page[HourCount]:
    """How many came to each status in each hour, by connection, campaign, template and code; none for trial."""
    last = parse_time(until) if until is not None else call.now + HOUR
    first = parse_time(since) if since is not None else call.now - 24 * HOUR
    if last - first > MOST_HOURS * HOUR:
        raise Invalid(f"Ask for at most {MOST_HOURS} hours at a time.", code="invalid_period")

    async def work(tx: Tx) -> list[Row]:
        return await tx.rows(
            "message_counts.list",
            workspace_id=call.workspace_id,
            since=first // HOUR * HOUR // SECOND,
            until=-(-last // SECOND),
        )

    return Page([_count(row) for row in await call.read(work)])


@get("/v1/quarantine", summary="List what providers said and nobody could read")
async def list_quarantine(call: NamedDependency[Call], limit: Limit = 50, after: After = None) -> Page[Quarantined]:
    """The newest first."""

    async def work(tx: Tx) -> list[dict[str, Any]]:
        return await tx.records(
            "quarantine.list", workspace_id=call.workspace_id, before=before("quarantine", after), n=limit + 1
        )

    return page("quarantine", await call.read(work), limit, _quarantined, lambda row: int(row["id"]))


def _normal(channel: str, address: str) -> str:
    found = {"sms": normal_phone, "email": normal_email}.get(channel, str.strip)(address)
    if not found or "\0" in found:
        raise Invalid(f"{address[:80]!r} cannot be an address for {channel}.", code="invalid_address", field="address")
    return found


def _words(text: str, field: str) -> str:
    if "\0" in text:
        raise Invalid("Text cannot contain the character U+0000.", code="invalid_text", field=field)
    return text


def _suppression(row: Row) -> Suppression:
    channel, address, reason, connection_id, detail, created_at = row
    return Suppression(
        channel=channel,
        address=address,
        reason=reason,
        connection_id=None if connection_id is None else public("con", connection_id),
        detail=detail,
        created_at=iso(created_at),
    )


def _consent(row: Row) -> Consent:
    channel, address, state, source, changed_at = row
    return Consent(channel=channel, address=address, state=state, source=source, changed_at=iso(changed_at))


def _count(row: Row) -> HourCount:
    hour, connection_id, campaign, template_id, status, code, count = row
    return HourCount(
        hour=iso(hour * SECOND),
        connection_id=public("con", connection_id),
        campaign=campaign or None,
        template_id=public("tpl", template_id) if template_id else None,
        status=status,
        code=code or None,
        count=count,
    )


def _quarantined(row: dict[str, Any]) -> Quarantined:
    body = bytes(row["body"])
    try:
        text, encoding = body.decode(), "text"
    except UnicodeDecodeError:
        text, encoding = base64.b64encode(body).decode(), "base64"
    return Quarantined(
        id=public("rec", row["id"]),
        connection_id=public("con", row["connection_id"]),
        reason=row["reason"],
        body=text,
        encoding=encoding,
        created_at=iso(row["created_at"]),
    )


ROUTES = [
    list_suppressions,
    add_suppression,
    remove_suppression,
    get_consent,
    set_consent,
    count_messages,
    list_quarantine,
]
