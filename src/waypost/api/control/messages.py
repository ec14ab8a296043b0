"""Messages: send one or many, list, get, resend, cancel."""

from collections.abc import Awaitable
from functools import partial
from typing import Annotated, Any

import msgspec
import structlog
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from msgspec import Meta

from waypost.api.control.admission import admit
from waypost.api.control.auditing import message_log
from waypost.api.control.calls import BODY_BYTES, NAMES, Call, check_query, permit, read_json, read_key
from waypost.api.control.message_view import Message, MessageDetail, message_detail_view, message_view
from waypost.api.edge.asgi import HttpScope, Receive, Send, answer, json_headers, read_body, refuse
from waypost.api.paging import After, Limit, Page, before, made_from, page, scan
from waypost.api.problems import unexpected_error
from waypost.clock import now_us
from waypost.domain.events.segment import message_key
from waypost.domain.messaging.message import Status
from waypost.domain.messaging.request import MessageRequest
from waypost.domain.values.ids import internal
from waypost.domain.values.times import parse_time
from waypost.engine.accounts.workspaces import Keyring
from waypost.engine.messaging.acceptance import MOST, BatchLine, MessageAccepted, Refusal
from waypost.engine.messaging.recording import Log
from waypost.engine.process import Engine
from waypost.engine.runtime import idempotency
from waypost.engine.runtime.idempotency import Answer, IdempotencyKey
from waypost.errors import Conflict, Error, Invalid, NotFound, TooLarge
from waypost.storage.database import Tx

#: The largest body of a batch, in bytes.
BATCH_BYTES = 8_000_000

log = structlog.get_logger()


class MessageBatch(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A batch of messages; each is accepted or rejected on its own."""

    messages: Annotated[list[MessageRequest], Meta(min_length=1, max_length=MOST)]
    #: Values for fields that a message does not set.
    defaults: MessageRequest | None = None
    throttle: (
        Annotated[float, Meta(gt=0, le=100_000, description="Maximum number of messages of this batch per second.")]
        | None
    ) = None
    skip_duplicates: Annotated[
        bool, Meta(description="Send the same content to the same address only once, and skip the duplicates.")
    ] = True


class _RawBatch(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A MessageBatch whose messages are not decoded yet, so that each can be rejected on its own."""

    messages: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MOST)]
    defaults: MessageRequest | None = None
    throttle: Annotated[float, Meta(gt=0, le=100_000)] | None = None
    skip_duplicates: bool = True


class MessageBatchAccepted(msgspec.Struct, omit_defaults=True):
    """The result of each message of a batch, in the order of the request."""

    data: list[BatchLine]
    accepted: int
    rejected: int
    throttle_id: str | None = None


@post("/v1/messages", summary="Send a message", status_code=202, opt={"body": MessageRequest, **NAMES})
async def send_message(call: NamedDependency[Call]) -> Response[MessageAccepted]:
    """Queues a message to an address or a profile, with a template or with its own content."""
    # `MessageRoute` serves this path without the framework; this handler documents it, and a test compares the two.
    request, key = await call.body(MessageRequest), await call.idempotency_key()
    return call.respond(await accept_message(call.engine, call.workspace_id, request, key, call.now, call.message_log))


@post(
    "/v1/messages/batch",
    summary="Send a batch of messages",
    status_code=202,
    request_max_body_size=BATCH_BYTES,
    opt={"body": MessageBatch, **NAMES},
)
async def send_message_batch(call: NamedDependency[Call]) -> Response[MessageBatchAccepted]:
    """Queues up to 1000 messages, each accepted or rejected on its own; `data` has one result per message, in order."""
    batch, requests = await _read_batch(call)
    if batch.defaults is not None:
        common = {name: value for name, value in msgspec.structs.asdict(batch.defaults).items() if value is not None}
        requests = [_with(one, common) if isinstance(one, MessageRequest) else one for one in requests]
    key = await call.idempotency_key()
    submitted = call.engine.messages.submit_many(
        call.workspace_id,
        requests,
        key,
        call.now,
        per_second=batch.throttle,
        skip_duplicates=batch.skip_duplicates,
        log=call.message_log,
    )
    return call.respond(await _first_response(call.engine, call.workspace_id, key, submitted))


async def _read_batch(call: Call) -> tuple[MessageBatch | _RawBatch, list[MessageRequest | Refusal]]:
    """Return a batch and its messages; a message that is not valid is a Refusal."""
    try:
        batch = await call.body(MessageBatch)
        return batch, [*batch.messages]
    except Invalid as error:
        if error.code != "invalid_body":
            raise
    # A number that is too large refuses its message only.
    items = await call.body(_RawBatch, unchecked=frozenset({"messages"}))
    requests: list[MessageRequest | Refusal] = []
    for raw in items.messages:
        try:
            requests.append(read_json(bytes(raw), MessageRequest))
        except Invalid as error:
            requests.append(Refusal(error.code, error.detail))
    return items, requests


async def accept_message(
    engine: Engine,
    workspace_id: int,
    request: MessageRequest,
    key: IdempotencyKey | None,
    now: int,
    log: Log | None = None,
) -> Answer:
    """Accept one message and return the response."""
    submitted = engine.messages.submit_one(workspace_id, request, key, now, log)
    return await _first_response(engine, workspace_id, key, submitted)


async def _first_response(
    engine: Engine, workspace_id: int, key: IdempotencyKey | None, submitted: Awaitable[Answer]
) -> Answer:
    """Return the response to a request for messages.

    A repeat of an accepted request gets the first response, even if it would be rejected now: after an error, the
    client would send the message another way, and the person would get it twice.
    """
    try:
        return await submitted
    except (Invalid, NotFound, Conflict):
        known = await idempotency.stored_response(engine.database, engine.encryption, workspace_id, key)
        if known is None:
            raise
        return known


class MessageRoute:
    """`POST /v1/messages` as raw ASGI: gives the responses of `send_message` without the cost of the framework."""

    PATH = "/v1/messages"

    def __init__(self, engine: Engine, keyring: Keyring) -> None:
        self._engine = engine
        self._keyring = keyring

    async def __call__(self, scope: HttpScope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            found = await self._accept(scope, receive)
            await answer(send, found.status, json_headers(len(found.body)), found.body)
        except Error as error:
            await refuse(send, error, b"")
        except Exception as error:
            log.error("request failed", action="request_failed", path=self.PATH, exc_info=error)
            await refuse(send, unexpected_error(), b"")

    async def _accept(self, scope: HttpScope, receive: Receive) -> Answer:
        authorization = key = None
        length = b"0"
        for name, value in scope["headers"]:
            if name == b"authorization":
                authorization = value.decode("latin-1")
            elif name == b"idempotency-key":
                key = value.decode("latin-1")
            elif name == b"content-length":
                length = value
        log_ = None
        caller = self._keyring.remember(authorization) if authorization else None
        if caller is None:
            admitted = await admit(self._engine, self._keyring, scope)
            admitted.require("messages.send", now_us())
            caller = admitted.caller
            if caller.user_id:
                log_ = message_log(self._engine.ids, admitted, "send_message", self.PATH)
        else:
            caller.require("messages.send")
        query = scope["query_string"]
        check_query(query, frozenset())
        now = now_us()
        try:
            if int(length) > BODY_BYTES:
                raise TooLarge
            body = await read_body(receive, b"", BODY_BYTES)
        except TooLarge as error:
            raise too_large(self.PATH) from error
        request = read_json(body, MessageRequest)
        idempotency_key = None if key is None else read_key(key, self.PATH, query, body)
        return await accept_message(self._engine, caller.workspace_id, request, idempotency_key, now, log_)


def too_large(path: str) -> TooLarge:
    """Return the error for a body that is too large for a route of the control API."""
    limit = BATCH_BYTES if path.endswith("/batch") else BODY_BYTES
    return TooLarge(f"The body of a request to {path} may have at most {limit} bytes. Send less data.")


def _with(one: MessageRequest, common: dict[str, Any]) -> MessageRequest:
    return msgspec.structs.replace(one, **{name: value for name, value in common.items() if getattr(one, name) is None})


StatusFilter = Annotated[
    str | None,
    QueryParameter(
        name="status",
        pattern="^(queued|held|sending|sent|delivered|failed|skipped|unknown)$",
        description="Return only messages with this status.",
    ),
]
ChannelFilter = Annotated[
    str | None,
    QueryParameter(name="channel", pattern="^(sms|email|event)$", description="Return only messages of this channel."),
]
ConnectionFilter = Annotated[
    str | None, QueryParameter(name="connection_id", description="Return only messages of this connection.")
]
ProfileFilter = Annotated[
    str | None, QueryParameter(name="profile_id", description="Return only messages to this profile.")
]
AddressFilter = Annotated[
    str | None,
    QueryParameter(
        name="to", max_length=320, description="Return only messages to this address, spelled as in `to` of a message."
    ),
]


CampaignFilter = Annotated[
    str | None,
    QueryParameter(name="campaign", max_length=200, description="Return only messages of the campaign with this name."),
]
CodeFilter = Annotated[
    int, QueryParameter(name="code", ge=0, le=99_999, description="Return only failures with this code; 0 for all.")
]
ProviderIdFilter = Annotated[
    str | None,
    QueryParameter(
        name="provider_message_id", max_length=500, description="Return only the message that its provider knows so."
    ),
]
_TIME = {"format": "date-time"}
Since = Annotated[
    str | None,
    QueryParameter(
        name="since", schema_extra=_TIME, description="Return only messages accepted at or after this time."
    ),
]
Until = Annotated[
    str | None,
    QueryParameter(name="until", schema_extra=_TIME, description="Return only messages accepted before this time."),
]


@get("/v1/messages", summary="List messages")
async def list_messages(
    call: NamedDependency[Call],
    status: StatusFilter = None,
    channel: ChannelFilter = None,
    connection_id: ConnectionFilter = None,
    profile_id: ProfileFilter = None,
    to: AddressFilter = None,
    campaign: CampaignFilter = None,
    code: CodeFilter = 0,
    provider_message_id: ProviderIdFilter = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    after: After = None,
) -> Page[Message]:
    """Returns messages, newest first. With a filter, a page can be short or empty; continue until `next` is null."""
    for name, text in (("to", to), ("campaign", campaign), ("provider_message_id", provider_message_id)):
        if text is not None and "\0" in text:
            raise Invalid(f"`{name}` cannot contain the character U+0000. Remove it.", code="invalid_parameter")
    first = before("messages", after)
    if until is not None:
        first = min(first, made_from(parse_time(until)))
    place = {"workspace_id": call.workspace_id, "since": 0 if since is None else made_from(parse_time(since))}
    filters = {
        "status": status or "",
        "channel": channel or "",
        "connection_id": internal("con", connection_id) if connection_id else 0,
        "profile_id": internal("pro", profile_id) if profile_id else 0,
        "address": to or "",
        "campaign": campaign or "",
        "code": code,
    }

    async def work(tx: Tx) -> Page[Message]:
        if provider_message_id:
            known = {
                "provider_key": message_key(call.workspace_id, provider_message_id),
                "provider_message_id": provider_message_id,
            }
            rows = await tx.records("messages.of_provider", n=limit + 1, before=first, **place, **filters, **known)
            return page("messages", rows, limit, message_view, lambda row: int(row["id"]))
        if not any(filters.values()):
            rows = await tx.records("messages.list", n=limit + 1, before=first, **place)
            return page("messages", rows, limit, message_view, lambda row: int(row["id"]))
        if status == Status.UNKNOWN and not any(value for name, value in filters.items() if name != "status"):
            # An operator must review these however old they are: they have their own index.
            rows = await tx.records("messages.list_unknown", n=limit + 1, before=first, **place)
            return page("messages", rows, limit, message_view, lambda row: int(row["id"]))
        return await scan(
            "messages",
            limit,
            first,
            partial(tx.records, "messages.stretch", **place, **filters),
            partial(tx.row, "messages.stretch_end", **place),
            message_view,
            lambda row: int(row["id"]),
        )

    return await call.read(work)


@get("/v1/messages/{id:str}", summary="Get a message")
async def get_message(call: NamedDependency[Call], id: FromPath[str]) -> MessageDetail:
    """Returns a message with its content and history."""
    return await call.read(_find, call.workspace_id, internal("msg", id))


@post("/v1/messages/{id:str}/resend", summary="Resend a message", status_code=202)
async def resend_message(call: NamedDependency[Call], id: FromPath[str]) -> Response[MessageAccepted]:
    """Queues a failed or unknown message again. The person may get an unknown message twice."""
    engine = call.engine
    return call.respond(
        await engine.messages.repeat(
            call.workspace_id, internal("msg", id), await call.idempotency_key(), call.message_log
        )
    )


@post("/v1/messages/{id:str}/cancel", summary="Cancel a message", status_code=200)
async def cancel_message(call: NamedDependency[Call], id: FromPath[str]) -> Response[MessageAccepted]:
    """Cancels a message that is not sent yet; its status becomes skipped."""
    engine = call.engine
    return call.respond(
        await engine.messages.cancel(
            call.workspace_id, internal("msg", id), await call.idempotency_key(), call.message_log
        )
    )


async def _find(tx: Tx, workspace_id: int, id_: int) -> MessageDetail:
    records = await tx.records("messages.get", workspace_id=workspace_id, id=id_)
    if not records:
        raise NotFound(
            "No message with this id exists in this workspace. Messages are deleted after the retention period."
        )
    clicks = await tx.row("click_counts.of_message", message_id=id_) or (0, 0)
    opens = await tx.row("open_counts.of_message", message_id=id_) or (0, 0)
    occurrence_id = records[0]["occurrence_id"]
    campaign = None if occurrence_id is None else await tx.row("occurrences.campaign", id=occurrence_id)
    return message_detail_view(
        records[0], (clicks[0], clicks[1]), (opens[0], opens[1]), campaign_id=campaign[0] if campaign else None
    )


ROUTES = permit(
    "messages",
    [send_message, send_message_batch, list_messages, get_message, resend_message, cancel_message],
    write="messages.send",
)
