"""Webhook endpoints: create, list, get, change, delete, enable, disable, and their signing secrets."""

from typing import Annotated, Any

import msgspec
from litestar import Response, delete, get, patch, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import UNSET, Meta, UnsetType

from waypost.api.control.calls import SECRET, Call
from waypost.api.paging import After, Limit, Page, before, page
from waypost.clock import iso
from waypost.domain.values.ids import internal, public
from waypost.domain.values.masking import shown_part
from waypost.domain.webhooks.ledger import Balance
from waypost.domain.webhooks.signing import public_key
from waypost.engine.webhooks import deliveries, endpoints
from waypost.engine.webhooks.endpoints import Draft, WebhookRecord
from waypost.errors import Conflict
from waypost.storage.database import Tx

EventTypes = Annotated[
    list[Annotated[str, Meta(min_length=1)]],
    Meta(description="Exact types or globs, such as `event.order_shipped`, `event.*` or `*`.", min_length=1),
]
Description = Annotated[str, Meta(max_length=1000)]
#: At least one request in a thousand seconds, since a wait has to end in numbers that a clock can hold.
RateLimit = Annotated[float, Meta(description="Requests per second.", ge=0.001, le=100_000)]
Concurrency = Annotated[int, Meta(description="Requests under way at the same time.", ge=1, le=1000)]
Timeout = Annotated[
    float, Meta(description="Seconds for everything, from the name look-up to the end of the answer.", ge=0.1, le=30)
]
Headers = Annotated[dict[str, str], Meta(description="Custom headers. Their values are credentials: shown masked.")]
Filter = Annotated[dict[str, Any], Meta(description="A condition on the payload; only what passes is delivered.")]
Url = Annotated[str, Meta(min_length=1, extra_json_schema={"format": "uri"})]
OwnerEmail = Annotated[str, Meta(min_length=3, max_length=320, extra_json_schema={"format": "email"})]
Format = Annotated[str, Meta(description="Only `standard` (Standard Webhooks).", pattern="^standard$")]
Signature = Annotated[
    str, Meta(description="`v1` (HMAC-SHA256, shared secret) or `v1a` (ed25519).", pattern="^(v1|v1a)$")
]


class NewWebhook(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A webhook endpoint to be made."""

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
    signature: Signature = "v1"


class WebhookChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is to change; null takes back a filter, a rate limit or an owner."""

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


class Counts(msgspec.Struct):
    """The ledger of an endpoint: accepted = delivered + pending + dead."""

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
    format: str
    owner_email: str | None
    signature: str
    status: str
    last_error: str | None
    last_error_at: str | None
    disabled_reason: str | None
    disabled_at: str | None
    created_at: str
    updated_at: str
    counts: Counts


class WebhookCreated(Webhook, kw_only=True):
    """A new webhook endpoint with its signing secret."""

    secret: str


class Offer(msgspec.Struct):
    """What a replay of everything that was not delivered would be asked with."""

    since: str
    state: list[str]


class Undelivered(msgspec.Struct):
    """What an endpoint did not get, and how to get it."""

    dead: int
    pending: int
    disabled_at: str | None
    #: Send it to `POST …/replay`; null when nothing is known to be missing.
    replay: Offer | None


class WebhookEnabled(Webhook, kw_only=True):
    """An endpoint that was enabled, and what it missed."""

    undelivered: Undelivered
    #: The replay that was started, when one was asked for.
    replay_id: str | None


class EnableWebhook(msgspec.Struct, forbid_unknown_fields=True):
    """How an endpoint is enabled."""

    #: Start a replay of everything that was not delivered.
    replay: bool = False


class PreviousSecret(msgspec.Struct):
    """A secret that was rotated out and still signs."""

    secret: str
    expires_at: str | None


class SigningSecret(msgspec.Struct):
    """The signing secret of an endpoint."""

    secret: str
    previous: list[PreviousSecret]


class Rotation(msgspec.Struct, forbid_unknown_fields=True):
    """How a secret is rotated."""

    overlap: Annotated[
        int, Meta(description="Seconds for which the old secret signs too.", ge=0, le=endpoints.LONGEST_OVERLAP_S)
    ] = 86_400
    #: A secret of your own; made when it is not given.
    secret: str | None = None


class Rotated(msgspec.Struct):
    """The new secret, and until when the one before it signs too."""

    secret: str
    previous_expires_at: str | None


class PublicKey(msgspec.Struct):
    """What receivers verify `v1a` signatures with."""

    public_key: str


def webhook_id(text: str) -> int:
    """The endpoint that a path names."""
    return internal("whk", text)


def when(at: int | None) -> str | None:
    """A moment for the outside, or null."""
    return None if at is None else iso(at)


def mask(value: str) -> str:
    """What is shown of a header's value."""
    return value[: shown_part(value, 2)] + "…" if value else ""


def _fields(webhook: WebhookRecord, totals: Balance) -> dict[str, Any]:
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
        "owner_email": webhook.owner_email,
        "signature": webhook.signature,
        "status": webhook.status,
        "last_error": webhook.last_error,
        "last_error_at": when(webhook.last_error_at),
        "disabled_reason": webhook.disabled_reason,
        "disabled_at": when(webhook.disabled_at),
        "created_at": iso(webhook.created_at),
        "updated_at": iso(webhook.updated_at),
        "counts": Counts(totals.accepted, totals.delivered, totals.pending, totals.dead),
    }


async def _show(tx: Tx, webhook: WebhookRecord) -> Webhook:
    totals = await endpoints.count_deliveries(tx, webhook.workspace_id, [webhook.id])
    return Webhook(**_fields(webhook, totals[webhook.id]))


@post("/v1/webhooks", summary="Create a webhook endpoint", opt={"body": NewWebhook})
async def create_webhook(call: NamedDependency[Call]) -> Response[WebhookCreated]:
    """Makes an endpoint and answers with its signing secret."""
    asked = await call.body(NewWebhook)
    engine = call.engine
    draft = endpoints.check_draft(
        Draft(
            url=asked.url,
            event_types=tuple(asked.event_types),
            description=asked.description,
            headers=asked.headers,
            filter=asked.filter,
            rate_limit=asked.rate_limit,
            concurrency=asked.concurrency,
            timeout_ms=round(asked.timeout * 1000),
            format=asked.format,
            owner_email=asked.owner_email,
        ),
        engine.networks,
    )
    secret = endpoints.make_secret(asked.signature, None)

    async def work(tx: Tx) -> WebhookCreated:
        webhook = await endpoints.create_webhook(
            tx, engine.ids, engine.encryption, call.workspace_id, draft, asked.signature, secret, call.now
        )
        return WebhookCreated(secret=secret, **_fields(webhook, Balance()))

    response = await call.perform(201, work)
    await call.refresh()
    return response


@get("/v1/webhooks", summary="List webhook endpoints")
async def list_webhooks(call: NamedDependency[Call], limit: Limit = 50, after: After = None) -> Page[Webhook]:
    """The newest first."""

    async def work(tx: Tx) -> Page[Webhook]:
        found = await endpoints.list_webhooks(
            tx, call.engine.encryption, call.workspace_id, before("webhooks", after), limit + 1
        )
        totals = await endpoints.count_deliveries(tx, call.workspace_id, [webhook.id for webhook in found])
        return page(
            "webhooks",
            found,
            limit,
            lambda webhook: Webhook(**_fields(webhook, totals[webhook.id])),
            lambda webhook: webhook.id,
        )

    return await call.read(work)


@get("/v1/webhooks/{id:str}", summary="Get a webhook endpoint")
async def get_webhook(call: NamedDependency[Call], id: FromPath[str]) -> Webhook:
    """Everything about an endpoint but its secret."""

    async def work(tx: Tx) -> Webhook:
        return await _show(
            tx, await endpoints.find_webhook(tx, call.engine.encryption, call.workspace_id, webhook_id(id))
        )

    return await call.read(work)


async def _change(call: Call, id: str) -> Response[Webhook]:
    asked = await call.body(WebhookChange)
    engine = call.engine
    given = {name: value for name, value in msgspec.structs.asdict(asked).items() if value is not UNSET}
    if "timeout" in given:
        given["timeout_ms"] = round(given.pop("timeout") * 1000)
    if "event_types" in given:
        given["event_types"] = tuple(given["event_types"])

    async def work(tx: Tx) -> Webhook:
        webhook = await endpoints.find_webhook(tx, engine.encryption, call.workspace_id, webhook_id(id))
        if "headers" in given:
            # Whoever sends back what was shown to them means the value behind the mask.
            given["headers"] = {
                name: known if (known := webhook.headers.get(name)) is not None and value == mask(known) else value
                for name, value in given["headers"].items()
            }
        draft = endpoints.check_draft(
            Draft(**{name: given.get(name, getattr(webhook, name)) for name in Draft.__struct_fields__}),
            engine.networks,
        )
        return await _show(tx, await endpoints.change_webhook(tx, engine.encryption, webhook, draft, call.now))

    response = await call.perform(200, work)
    await call.refresh()
    return response


@patch("/v1/webhooks/{id:str}", summary="Change a webhook endpoint", opt={"body": WebhookChange})
async def change_webhook(call: NamedDependency[Call], id: FromPath[str]) -> Response[Webhook]:
    """Only the fields that are given change."""
    return await _change(call, id)


@put("/v1/webhooks/{id:str}", summary="Change a webhook endpoint (as PATCH does)", opt={"body": WebhookChange})
async def put_webhook(call: NamedDependency[Call], id: FromPath[str]) -> Response[Webhook]:
    """Only the fields that are given change."""
    return await _change(call, id)


@delete("/v1/webhooks/{id:str}", summary="Delete a webhook endpoint")
async def delete_webhook(call: NamedDependency[Call], id: FromPath[str]) -> None:
    """What the endpoint is still owed is given up; running replays end."""
    await call.engine.database.transact(endpoints.delete_webhook, call.workspace_id, webhook_id(id), call.now)
    await call.refresh()


@post("/v1/webhooks/{id:str}/enable", status_code=200, summary="Enable an endpoint", opt={"body": EnableWebhook})
async def enable_webhook(call: NamedDependency[Call], id: FromPath[str]) -> Response[WebhookEnabled]:
    """Deliveries go on. The answer says what was not delivered meanwhile, and how to replay it."""
    asked = await call.body(EnableWebhook)
    engine = call.engine

    async def work(tx: Tx) -> WebhookEnabled:
        was = await endpoints.find_webhook(tx, engine.encryption, call.workspace_id, webhook_id(id))
        webhook = await endpoints.switch_webhook(tx, engine.encryption, call.workspace_id, was.id, True, call.now)
        totals = (await endpoints.count_deliveries(tx, call.workspace_id, [was.id]))[was.id]
        since = await deliveries.missing_since(tx, was)
        replay_id = None
        if asked.replay and since is not None:
            wanted = deliveries.ReplayRange(since, call.now, deliveries.UNDELIVERED)
            replay_id = public("rpl", await deliveries.start_replay(tx, engine.ids, was, wanted, call.now))
        offer = None if since is None else Offer(iso(since), list(deliveries.UNDELIVERED))
        return WebhookEnabled(
            undelivered=Undelivered(totals.dead, totals.pending, when(was.disabled_at), offer),
            replay_id=replay_id,
            **_fields(webhook, totals),
        )

    response = await call.perform(200, work)
    await call.refresh()
    engine.webhooks_due.wake_at(call.now)
    return response


@post("/v1/webhooks/{id:str}/disable", status_code=200, summary="Disable an endpoint")
async def disable_webhook(call: NamedDependency[Call], id: FromPath[str]) -> Response[Webhook]:
    """Nothing more is sent. What is pending stays pending; later events are not queued, and can be replayed."""
    engine = call.engine

    async def work(tx: Tx) -> Webhook:
        return await _show(
            tx,
            await endpoints.switch_webhook(tx, engine.encryption, call.workspace_id, webhook_id(id), False, call.now),
        )

    response = await call.perform(200, work)
    await call.refresh()
    return response


@get("/v1/webhooks/{id:str}/secret", summary="Get the signing secret", opt=SECRET)
async def get_secret(call: NamedDependency[Call], id: FromPath[str]) -> SigningSecret:
    """The secret, and those before it whose overlap has not ended. Needs a key that may manage."""
    webhook = await call.read(endpoints.find_webhook, call.engine.encryption, call.workspace_id, webhook_id(id))
    present, *older = webhook.secrets
    return SigningSecret(
        present.text,
        [PreviousSecret(old.text, when(old.expires_at)) for old in older if (old.expires_at or 0) > call.now],
    )


@post(
    "/v1/webhooks/{id:str}/secret/rotate", status_code=200, summary="Rotate the signing secret", opt={"body": Rotation}
)
async def rotate_secret(call: NamedDependency[Call], id: FromPath[str]) -> Response[Rotated]:
    """A new secret signs from now on; the old one signs beside it for the overlap, so that either verifies."""
    asked = await call.body(Rotation)
    engine = call.engine

    async def work(tx: Tx) -> Rotated:
        webhook = await endpoints.rotate_secret(
            tx, engine.encryption, call.workspace_id, webhook_id(id), asked.secret, asked.overlap, call.now
        )
        present, *older = webhook.secrets
        return Rotated(present.text, when(older[0].expires_at) if older else None)

    response = await call.perform(200, work)
    await call.refresh()
    return response


@get(
    "/v1/webhooks/{id:str}/public-key",
    summary="Get the public key of an endpoint with v1a signatures",
    opt={"statuses": {"409"}},
)
async def get_public_key(call: NamedDependency[Call], id: FromPath[str]) -> PublicKey:
    """What receivers verify with; an endpoint with v1 signatures has none."""
    webhook = await call.read(endpoints.find_webhook, call.engine.encryption, call.workspace_id, webhook_id(id))
    if webhook.signature != "v1a":
        raise Conflict("Only endpoints with v1a signatures have a public key.", code="no_public_key")
    return PublicKey(public_key(webhook.secrets[0].text))


ROUTES = [
    create_webhook,
    list_webhooks,
    get_webhook,
    change_webhook,
    put_webhook,
    delete_webhook,
    enable_webhook,
    disable_webhook,
    get_secret,
    rotate_secret,
    get_public_key,
]
