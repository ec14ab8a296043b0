"""Webhook endpoints: create, list, get, update, delete, enable, disable."""

from typing import Annotated, Any

import msgspec
from litestar import Response, delete, get, patch, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import UNSET, Meta, UnsetType

from waypost.api.control.calls import Call, permit
from waypost.api.paging import After, Limit, Page, before, page
from waypost.clock import iso
from waypost.domain.values.ids import internal, public
from waypost.domain.values.masking import shown_part
from waypost.domain.webhooks.ledger import Balance
from waypost.engine.texts.clients import check_unowned, owners_of
from waypost.engine.webhooks import deliveries, endpoints
from waypost.engine.webhooks.endpoints import Draft, WebhookRecord
from waypost.storage.database import Tx

EventTypes = Annotated[
    list[Annotated[str, Meta(min_length=1)]],
    Meta(description="Exact types or globs, such as `event.order_shipped`, `event.*` or `*`.", min_length=1),
]
Description = Annotated[str, Meta(max_length=1000)]
#: At least one request per 1000 seconds, so that waiting times stay within what a clock can hold.
RateLimit = Annotated[float, Meta(description="Requests per second.", ge=0.001, le=100_000)]
Concurrency = Annotated[int, Meta(description="Maximum number of concurrent requests.", ge=1, le=1000)]
Timeout = Annotated[
    float,
    Meta(description="Seconds for a whole attempt, from the DNS lookup to the end of the response.", ge=0.1, le=30),
]
Headers = Annotated[
    dict[str, str], Meta(description="Custom headers. Their values are treated as secrets and returned masked.")
]
Filter = Annotated[dict[str, Any], Meta(description="A condition on the payload; only matching events are delivered.")]
Url = Annotated[str, Meta(min_length=1, extra_json_schema={"format": "uri"})]
OwnerEmail = Annotated[str, Meta(min_length=3, max_length=320, extra_json_schema={"format": "email"})]
Format = Annotated[
    str,
    Meta(
        description="`standard` (Standard Webhooks), a shipped format such as `pinpointe`, or the id of one of yours.",
        pattern="^[a-z0-9_]{1,40}$",
    ),
]
Signature = Annotated[
    str,
    Meta(description="`v1` (HMAC-SHA256, shared secret), `v1a` (ed25519) or `none`.", pattern="^(v1|v1a|none)$"),
]
UserId = Annotated[
    str, Meta(description="The id of the user who made the endpoint, for formats that name one.", max_length=100)
]
UserName = Annotated[
    str, Meta(description="The name of the user who made the endpoint, for formats that name one.", max_length=200)
]


class CreateWebhook(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The parameters of a new webhook endpoint."""

    url: Url
    event_types: EventTypes
    description: Description = ""
    headers: Headers = {}
    filter: Filter | None = None
    rate_limit: RateLimit | None = None
    concurrency: Concurrency = 64
    timeout: Timeout = 5.0
    format: Format = "standard"
    owner_email: OwnerEmail | None = None
    #: By default, the number of the API key and its name.
    user_id: UserId | None = None
    user_name: UserName | None = None
    signature: Signature = "v1"


class UpdateWebhook(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The fields to update; null removes a filter, a rate limit or an owner."""

    url: Url | UnsetType = UNSET
    event_types: EventTypes | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    headers: Headers | UnsetType = UNSET
    filter: Filter | UnsetType | None = UNSET
    rate_limit: RateLimit | UnsetType | None = UNSET
    concurrency: Concurrency | UnsetType = UNSET
    timeout: Timeout | UnsetType = UNSET
    format: Format | UnsetType = UNSET
    owner_email: OwnerEmail | UnsetType | None = UNSET
    user_id: UserId | UnsetType = UNSET
    user_name: UserName | UnsetType = UNSET


class DeliveryCounts(msgspec.Struct):
    """The delivery counts of an endpoint: accepted = delivered + pending + dead."""

    accepted: int
    delivered: int
    pending: int
    dead: int


class Webhook(msgspec.Struct, kw_only=True):
    """A webhook endpoint."""

    id: str
    url: str
    event_types: list[str]
    description: str
    headers: dict[str, str]
    filter: dict[str, Any] | None
    rate_limit: float | None
    concurrency: int
    timeout: float
    #: `standard`, a shipped format, the id of one of yours, or that of the tool that a text client reports to.
    format: str
    #: The user who made it, for the formats that name one; null if nobody said who it was.
    user_id: str | None
    user_name: str | None
    #: Whether the events of one subject (a text) are delivered in order.
    ordered: bool
    #: The connection with the address and the key of the marketing tool.
    connection_id: str | None
    #: The text client whose callback this is. Such an endpoint is changed and deleted through its client only.
    text_client_id: str | None
    owner_email: str | None
    signature: str
    status: str
    last_error: str | None
    last_error_at: str | None
    disabled_reason: str | None
    disabled_at: str | None
    created_at: str
    updated_at: str
    counts: DeliveryCounts


class WebhookCreated(Webhook, kw_only=True):
    """A new webhook endpoint with its signing secret."""

    #: Null for the signature `none`.
    secret: str | None


class SuggestedReplay(msgspec.Struct):
    """The body for POST /v1/webhooks/{id}/replay that replays all undelivered events."""

    since: str
    state: list[str]


class UndeliveredSummary(msgspec.Struct):
    """The events that an endpoint did not get, and how to replay them."""

    dead: int
    pending: int
    disabled_at: str | None
    #: The body for `POST …/replay`; null if no events are missing.
    replay: SuggestedReplay | None


class WebhookEnabled(Webhook, kw_only=True):
    """An endpoint that was enabled, and the events that it missed."""

    undelivered: UndeliveredSummary
    #: The replay that was started, if one was requested.
    replay_id: str | None


class EnableWebhook(msgspec.Struct, forbid_unknown_fields=True):
    """Options for enabling an endpoint."""

    #: Start a replay of all undelivered events.
    replay: bool = False


def webhook_id(text: str) -> int:
    """Return the internal id for an endpoint id from the API."""
    return internal("whk", text)


def when(at: int | None) -> str | None:
    """Return a time in ISO 8601, or None."""
    return None if at is None else iso(at)


def mask(value: str) -> str:
    """Return the mask of a header value."""
    return value[: shown_part(value, 2)] + "…" if value else ""


def _fields(webhook: WebhookRecord, totals: Balance, client: tuple[int, str] | None = None) -> dict[str, Any]:
    return {
        "id": public("whk", webhook.id),
        "url": webhook.url,
        "event_types": list(webhook.event_types),
        "description": webhook.description,
        "headers": {name: mask(value) for name, value in webhook.headers.items()},
        "filter": webhook.filter,
        "rate_limit": webhook.rate_limit,
        "concurrency": webhook.concurrency,
        "timeout": webhook.timeout_ms / 1000,
        "format": webhook.format,
        "user_id": webhook.user_id,
        "user_name": webhook.user_name,
        "ordered": webhook.ordered,
        "connection_id": None if webhook.connection_id is None else public("con", webhook.connection_id),
        "text_client_id": None if client is None else public("tcl", client[0]),
        "owner_email": webhook.owner_email,
        "signature": webhook.signature,
        "status": webhook.status,
        "last_error": webhook.last_error,
        "last_error_at": when(webhook.last_error_at),
        "disabled_reason": webhook.disabled_reason,
        "disabled_at": when(webhook.disabled_at),
        "created_at": iso(webhook.created_at),
        "updated_at": iso(webhook.updated_at),
        "counts": DeliveryCounts(totals.accepted, totals.delivered, totals.pending, totals.dead),
    }


async def _show(tx: Tx, webhook: WebhookRecord) -> Webhook:
    totals = await endpoints.count_deliveries(tx, webhook.workspace_id, [webhook.id])
    clients = await owners_of(tx, webhook.workspace_id, [webhook.id])
    return Webhook(**_fields(webhook, totals[webhook.id], clients.get(webhook.id)))


@post("/v1/webhooks", summary="Create a webhook endpoint", opt={"body": CreateWebhook})
async def create_webhook(call: NamedDependency[Call]) -> Response[WebhookCreated]:
    """Creates an endpoint and returns it with its signing secret."""
    body = await call.body(CreateWebhook)
    engine = call.engine
    draft = endpoints.check_draft(
        Draft(
            url=body.url,
            event_types=tuple(body.event_types),
            description=body.description,
            headers=body.headers,
            filter=body.filter,
            rate_limit=body.rate_limit,
            concurrency=body.concurrency,
            timeout_ms=round(body.timeout * 1000),
            format=body.format,
            owner_email=body.owner_email,
            user_id=body.user_id,
            user_name=body.user_name,
        ),
        engine.networks,
    )
    secret = endpoints.make_secret(body.signature, None)

    async def work(tx: Tx) -> WebhookCreated:
        named = msgspec.structs.replace(
            await endpoints.check_format(tx, call.workspace_id, draft),
            user_id=str(call.caller.id) if body.user_id is None else body.user_id,
            user_name=call.caller.name if body.user_name is None else body.user_name,
        )
        webhook = await endpoints.create_webhook(
            tx, engine.ids, engine.encryption, call.workspace_id, named, body.signature, secret, call.now
        )
        return WebhookCreated(secret=secret, **_fields(webhook, Balance()))

    response = await call.perform(201, work)
    await call.refresh()
    return response


@get("/v1/webhooks", summary="List webhook endpoints")
async def list_webhooks(call: NamedDependency[Call], limit: Limit = 50, after: After = None) -> Page[Webhook]:
    """Returns webhook endpoints, newest first."""

    async def work(tx: Tx) -> Page[Webhook]:
        found = await endpoints.list_webhooks(
            tx, call.engine.encryption, call.workspace_id, before("webhooks", after), limit + 1
        )
        ids = [webhook.id for webhook in found]
        totals = await endpoints.count_deliveries(tx, call.workspace_id, ids)
        clients = await owners_of(tx, call.workspace_id, ids)
        return page(
            "webhooks",
            found,
            limit,
            lambda webhook: Webhook(**_fields(webhook, totals[webhook.id], clients.get(webhook.id))),
            lambda webhook: webhook.id,
        )

    return await call.read(work)


@get("/v1/webhooks/{id:str}", summary="Get a webhook endpoint")
async def get_webhook(call: NamedDependency[Call], id: FromPath[str]) -> Webhook:
    """Returns a webhook endpoint, without its signing secret."""

    async def work(tx: Tx) -> Webhook:
        return await _show(
            tx, await endpoints.find_webhook(tx, call.engine.encryption, call.workspace_id, webhook_id(id))
        )

    return await call.read(work)


async def _update(call: Call, id: str) -> Response[Webhook]:
    body = await call.body(UpdateWebhook)
    engine = call.engine
    given = {name: value for name, value in msgspec.structs.asdict(body).items() if value is not UNSET}
    if "timeout" in given:
        given["timeout_ms"] = round(given.pop("timeout") * 1000)
    if "event_types" in given:
        given["event_types"] = tuple(given["event_types"])

    async def work(tx: Tx) -> Webhook:
        webhook = await endpoints.find_webhook(tx, engine.encryption, call.workspace_id, webhook_id(id))
        await check_unowned(tx, call.workspace_id, webhook.id)
        if "headers" in given:
            # A client that sends back a mask means the value behind it.
            given["headers"] = {
                name: known if (known := webhook.headers.get(name)) is not None and value == mask(known) else value
                for name, value in given["headers"].items()
            }
        draft = endpoints.check_draft(
            Draft(**{name: given.get(name, getattr(webhook, name)) for name in Draft.__struct_fields__}),
            engine.networks,
        )
        draft = await endpoints.check_format(tx, call.workspace_id, draft)
        return await _show(tx, await endpoints.change_webhook(tx, engine.encryption, webhook, draft, call.now))

    response = await call.perform(200, work)
    await call.refresh()
    return response


@patch("/v1/webhooks/{id:str}", summary="Update a webhook endpoint", opt={"body": UpdateWebhook, "statuses": {"409"}})
async def update_webhook(call: NamedDependency[Call], id: FromPath[str]) -> Response[Webhook]:
    """Updates the given fields. Omitted fields keep their value."""
    return await _update(call, id)


@put(
    "/v1/webhooks/{id:str}",
    summary="Update a webhook endpoint (same as PATCH)",
    opt={"body": UpdateWebhook, "statuses": {"409"}},
)
async def put_webhook(call: NamedDependency[Call], id: FromPath[str]) -> Response[Webhook]:
    """Updates the given fields. Omitted fields keep their value."""
    return await _update(call, id)


@delete("/v1/webhooks/{id:str}", summary="Delete a webhook endpoint", opt={"statuses": {"409"}})
async def delete_webhook(call: NamedDependency[Call], id: FromPath[str]) -> None:
    """Deletes an endpoint. Its pending deliveries become dead, and its replays end."""

    async def work(tx: Tx) -> None:
        await check_unowned(tx, call.workspace_id, webhook_id(id))
        await endpoints.delete_webhook(tx, call.workspace_id, webhook_id(id), call.now)

    await call.transact(work)
    await call.refresh()


@post("/v1/webhooks/{id:str}/enable", status_code=200, summary="Enable a webhook endpoint", opt={"body": EnableWebhook})
async def enable_webhook(call: NamedDependency[Call], id: FromPath[str]) -> Response[WebhookEnabled]:
    """Resumes deliveries. The response says which events were not delivered, and how to replay them."""
    body = await call.body(EnableWebhook)
    engine = call.engine

    async def work(tx: Tx) -> WebhookEnabled:
        was = await endpoints.find_webhook(tx, engine.encryption, call.workspace_id, webhook_id(id))
        webhook = await endpoints.switch_webhook(tx, engine.encryption, call.workspace_id, was.id, True, call.now)
        totals = (await endpoints.count_deliveries(tx, call.workspace_id, [was.id]))[was.id]
        since = await deliveries.missing_since(tx, was)
        replay_id = None
        if body.replay and since is not None:
            period = deliveries.ReplayRange(since, call.now, deliveries.UNDELIVERED)
            replay_id = public("rpl", await deliveries.start_replay(tx, engine.ids, was, period, call.now))
        suggested = None if since is None else SuggestedReplay(iso(since), list(deliveries.UNDELIVERED))
        return WebhookEnabled(
            undelivered=UndeliveredSummary(totals.dead, totals.pending, when(was.disabled_at), suggested),
            replay_id=replay_id,
            **_fields(webhook, totals, (await owners_of(tx, call.workspace_id, [was.id])).get(was.id)),
        )

    response = await call.perform(200, work)
    await call.refresh()
    engine.webhooks_due.wake_at(call.now)
    return response


@post("/v1/webhooks/{id:str}/disable", status_code=200, summary="Disable a webhook endpoint")
async def disable_webhook(call: NamedDependency[Call], id: FromPath[str]) -> Response[Webhook]:
    """Stops deliveries. Pending deliveries stay pending; later events are not queued but can be replayed."""
    engine = call.engine

    async def work(tx: Tx) -> Webhook:
        return await _show(
            tx,
            await endpoints.switch_webhook(tx, engine.encryption, call.workspace_id, webhook_id(id), False, call.now),
        )

    response = await call.perform(200, work)
    await call.refresh()
    return response


ROUTES = permit(
    "webhooks",
    [
        create_webhook,
        list_webhooks,
        get_webhook,
        update_webhook,
        put_webhook,
        delete_webhook,
        enable_webhook,
        disable_webhook,
    ],
)
