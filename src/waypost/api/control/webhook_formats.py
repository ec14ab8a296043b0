"""Payload formats of webhook endpoints: create, list, get, update, delete, preview."""

from typing import Annotated, Any

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import UNSET, Meta, UnsetType

from waypost.api.control.calls import KEYLESS, NAMES, Call, permit
from waypost.api.control.webhooks import mask, webhook_id
from waypost.api.paging import After, Limit, Page, before, page
from waypost.clock import iso
from waypost.domain.templates.liquid.context import UndefinedVariable
from waypost.domain.values.ids import internal, public
from waypost.domain.webhooks.endpoint import Endpoint, event_object, request_headers, webhook_body
from waypost.domain.webhooks.payload_format import (
    PayloadFormat,
    PayloadSource,
    compile_format,
    payload_values,
    write_source,
)
from waypost.engine.webhooks import endpoints, payload_formats
from waypost.engine.webhooks.payload_formats import PREFIX, FormatRecord, shipped_formats
from waypost.errors import Invalid, NotFound
from waypost.storage.database import Tx

Name = Annotated[str, Meta(description="A display name.", min_length=1, max_length=200)]
EventTypes = Annotated[
    list[Annotated[str, Meta(min_length=1)]],
    Meta(description="The exact types or globs that the body is for; all if there are none.", max_length=100),
]
Body = Annotated[
    Any, Meta(description="The body: a JSON object or list whose texts are Liquid, for every event type of the format.")
]
Bodies = Annotated[dict[str, Any], Meta(description="Instead of one body: a body for each event type.")]
ContentType = Annotated[
    str,
    Meta(
        description="`application/json`, `application/…+json` or `application/x-www-form-urlencoded`.", max_length=100
    ),
]
Headers = Annotated[dict[str, str], Meta(description="Headers that the format adds; their values are Liquid.")]

_decode = msgspec.json.Decoder(PayloadSource).decode


class WebhookFormatContent(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a payload format consists of."""

    event_types: EventTypes | UnsetType = UNSET
    body: Body | UnsetType = UNSET
    bodies: Bodies | UnsetType = UNSET
    content_type: ContentType | UnsetType = UNSET
    headers: Headers | UnsetType = UNSET


class CreateWebhookFormat(WebhookFormatContent, forbid_unknown_fields=True, kw_only=True):
    """The parameters of a new payload format."""

    name: Name


class UpdateWebhookFormat(WebhookFormatContent, forbid_unknown_fields=True, kw_only=True):
    """The fields to update. A `body` replaces `bodies`, and the other way round."""

    name: Name | UnsetType = UNSET


class PreviewWebhookFormat(WebhookFormatContent, forbid_unknown_fields=True, kw_only=True):
    """A format, or the content of one that is not saved, and the event to write in it."""

    format: Annotated[str | None, Meta(description="The format: its id, or the name of a shipped one.")] = None
    event_id: Annotated[str, Meta(description="The id of a recorded event.")]
    webhook_id: Annotated[
        str | None, Meta(description="The endpoint that the request would go to, for its headers and its user.")
    ] = None


class WebhookFormat(msgspec.Struct, kw_only=True):
    """A payload format of webhook endpoints."""

    #: `fmt_…`, or the name of a format that is shipped with Waypost.
    id: str
    name: str
    #: Whether it is shipped with Waypost: such a format can be copied, and not changed.
    shipped: bool
    #: The event types that it has a body for; all if there are none.
    event_types: list[str]
    #: Null for a format with `bodies`.
    body: Any
    bodies: dict[str, Any] | None
    content_type: str
    headers: dict[str, str]
    version: int
    created_at: str | None
    updated_at: str | None


class WebhookFormatSaved(WebhookFormat, kw_only=True):
    """A payload format as it was saved."""

    #: The variables that it outputs and that the examples of its event types do not have; they are empty.
    undefined: list[UndefinedVariable]


class WebhookFormatPreview(msgspec.Struct, kw_only=True):
    """The request that an event becomes."""

    #: Without the signature, which differs with each attempt.
    headers: dict[str, str]
    body: str
    #: The variables that the format outputs and that the event does not have; they are empty.
    undefined: list[UndefinedVariable]


def _source(given: WebhookFormatContent, was: PayloadSource | None = None) -> PayloadSource:
    """Return the source of a request, or of a format after an update."""
    changes: dict[str, Any] = {
        name: value for name in PayloadSource.__struct_fields__ if (value := getattr(given, name)) is not UNSET
    }
    if "event_types" in changes:
        changes["event_types"] = tuple(changes["event_types"])
    if was is None:
        return PayloadSource(**changes)
    if "body" in changes and "bodies" not in changes:
        changes["bodies"] = {}
    elif "bodies" in changes and "body" not in changes:
        changes |= {"body": UNSET, "event_types": changes.get("event_types", ())}
    return msgspec.structs.replace(was, **changes)


def _fields(id_: str, name: str, source: PayloadSource, record: FormatRecord | None) -> dict[str, Any]:
    return {
        "id": id_,
        "name": name,
        "shipped": record is None,
        "event_types": list(source.event_types or source.bodies),
        "body": None if source.body is UNSET else source.body,
        "bodies": source.bodies or None,
        "content_type": source.content_type,
        "headers": source.headers,
        "version": 1 if record is None else record.version,
        "created_at": None if record is None else iso(record.created_at),
        "updated_at": None if record is None else iso(record.updated_at),
    }


def _own(record: FormatRecord) -> dict[str, Any]:
    return _fields(public(PREFIX, record.id), record.name, record.source, record)


def _shipped(name: str) -> WebhookFormat:
    return WebhookFormat(**_fields(name, name.capitalize(), _decode(shipped_formats()[name]), None))


def _number(text: str) -> int:
    if text in shipped_formats():
        raise Invalid(
            f"The format {text} is shipped with Waypost and cannot be changed. Copy it: POST its bodies under a name.",
            code="shipped_format",
        )
    return internal(PREFIX, text)


def _check(call: Call, source: PayloadSource) -> list[UndefinedVariable]:
    return payload_formats.check_source(source, _endpoint(call), call.now)


def _endpoint(call: Call, webhook: endpoints.WebhookRecord | None = None) -> Endpoint:
    """Return the endpoint of a preview: the given one, or one without headers of its own. It does not sign."""
    return Endpoint(
        id=webhook.id if webhook else 0,
        workspace_id=call.workspace_id,
        url="",
        event_types=(),
        filter=None,
        headers=tuple(f"{name}: {mask(value)}" for name, value in webhook.headers.items()) if webhook else (),
        rate_limit=None,
        concurrency=1,
        timeout_ms=1,
        format="",
        secrets=(),
        version=0,
        user_id=webhook.user_id if webhook else str(call.caller.id),
        user_name=webhook.user_name if webhook else "",
    )


@post("/v1/webhook-formats", summary="Create a webhook format", opt={"body": CreateWebhookFormat})
async def create_webhook_format(call: NamedDependency[Call]) -> Response[WebhookFormatSaved]:
    """Creates a payload format. It is checked; an error names the field, line and column."""
    body = await call.body(CreateWebhookFormat)
    source = _source(body)
    undefined = _check(call, source)

    async def work(tx: Tx) -> WebhookFormatSaved:
        record = await payload_formats.create_format(
            tx, call.engine.ids, call.workspace_id, _name(body.name), source, call.now
        )
        return WebhookFormatSaved(undefined=undefined, **_own(record))

    return await call.perform(201, work)


@get("/v1/webhook-formats", summary="List webhook formats")
async def list_webhook_formats(
    call: NamedDependency[Call], limit: Limit = 50, after: After = None
) -> Page[WebhookFormat]:
    """Returns the payload formats of the workspace, newest first, and after the last one those that are shipped."""
    start = before("webhook_formats", after)
    found = await call.read(payload_formats.list_formats, call.workspace_id, start, limit + 1)
    listed = page("webhook_formats", found, limit, lambda one: WebhookFormat(**_own(one)), lambda one: one.id)
    if listed.next is None:
        listed.data += [_shipped(name) for name in shipped_formats()]
    return listed


@get("/v1/webhook-formats/{id:str}", summary="Get a webhook format")
async def get_webhook_format(call: NamedDependency[Call], id: FromPath[str]) -> WebhookFormat:
    """Returns a payload format, also one that is shipped."""
    if id in shipped_formats():
        return _shipped(id)
    return WebhookFormat(**_own(await call.read(payload_formats.find_format, call.workspace_id, internal(PREFIX, id))))


@patch(
    "/v1/webhook-formats/{id:str}",
    summary="Update a webhook format",
    opt={"body": UpdateWebhookFormat, "statuses": {"409"}},
)
async def update_webhook_format(call: NamedDependency[Call], id: FromPath[str]) -> Response[WebhookFormatSaved]:
    """Updates the given fields. Endpoints that use the format get the new one with their next delivery."""
    body = await call.body(UpdateWebhookFormat)
    number = _number(id)

    async def work(tx: Tx) -> WebhookFormatSaved:
        was = await payload_formats.find_format(tx, call.workspace_id, number)
        source = _source(body, was.source)
        undefined = _check(call, source)
        name = was.name if body.name is UNSET else _name(body.name)
        record = await payload_formats.change_format(tx, call.workspace_id, was, name, source, call.now)
        return WebhookFormatSaved(undefined=undefined, **_own(record))

    response = await call.perform(200, work)
    await call.refresh()
    return response


@delete("/v1/webhook-formats/{id:str}", summary="Delete a webhook format", opt={"statuses": {"409"}})
async def delete_webhook_format(call: NamedDependency[Call], id: FromPath[str]) -> None:
    """Deletes a payload format that no endpoint uses."""
    await call.transact(payload_formats.delete_format, call.workspace_id, _number(id), call.now)


@post(
    "/v1/webhook-formats/preview",
    status_code=200,
    summary="Preview a webhook format",
    opt={"body": PreviewWebhookFormat, **KEYLESS, **NAMES},
)
async def preview_webhook_format(call: NamedDependency[Call]) -> WebhookFormatPreview:
    """Writes a recorded event in a format, and lists undefined variables. Nothing is sent."""
    body = await call.body(PreviewWebhookFormat)
    source = _source(body)
    if (body.format is None) == (source == PayloadSource()):
        raise Invalid("Name a format, or give the content of one: body or bodies.", code="invalid_format")
    event_id = internal("evt", body.event_id)

    async def work(tx: Tx) -> tuple[PayloadFormat, Endpoint, bytes]:
        compiled = None
        if body.format is not None:
            compiled = await payload_formats.find_payload(tx, call.workspace_id, body.format)
            if compiled is None:
                raise Invalid(
                    f"The format {body.format} is no data. GET /v1/events/{{id}} shows an event as it is sent in it.",
                    code="unknown_format",
                    field="format",
                )
        webhook = None
        if body.webhook_id is not None:
            webhook = await endpoints.find_webhook(
                tx, call.engine.encryption, call.workspace_id, webhook_id(body.webhook_id)
            )
        row = await tx.row("events.get", workspace_id=call.workspace_id, id=event_id)
        if row is None:
            raise NotFound("There is no such event in this workspace; it may have been deleted.")
        _, message_id, type_, profile_id, occurred_at, data = row
        event = webhook_body(type_, occurred_at, event_object(event_id, message_id, profile_id, data.encode()))
        return compiled or compile_format(write_source(source)), _endpoint(call, webhook), event

    compiled, endpoint, event = await call.read(work)
    values = payload_values(event, endpoint)
    payload = compiled.render(values)
    lines = request_headers(
        endpoint, public("evt", event_id), payload.body, call.now, payload.content_type, payload.headers
    )
    pairs = [line.split(": ", 1) for line in lines]
    return WebhookFormatPreview(
        headers={name: value for name, value in pairs},
        body=payload.body.decode(),
        undefined=compiled.undefined(values),
    )


def _name(given: str) -> str:
    name = given.strip()
    if not name or "\0" in name:
        raise Invalid("A name has at least one character, and none is U+0000.", code="invalid_name", field="name")
    return name


ROUTES = permit(
    "webhooks",
    [
        create_webhook_format,
        list_webhook_formats,
        get_webhook_format,
        update_webhook_format,
        delete_webhook_format,
        preview_webhook_format,
    ],
)
