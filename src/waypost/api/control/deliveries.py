"""Deliveries, their attempts, and test events."""

import base64
from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from msgspec import UNSET, UnsetType

from waypost.api.control.calls import Call, permit
from waypost.api.control.webhooks import mask, webhook_id, when
from waypost.api.paging import After, Limit, Page, before, cursor, page, position, scan
from waypost.clock import iso
from waypost.domain.events.event_types import EventType
from waypost.domain.values.ids import internal_pair, public, public_pair
from waypost.domain.webhooks.delivery import State
from waypost.domain.webhooks.payload_format import PayloadFormat
from waypost.engine.webhooks import deliveries, endpoints, payload_formats, probe
from waypost.errors import NotFound
from waypost.storage.database import Row, Tx

#: Attempts returned with a delivery.
MOST_ATTEMPTS = 200

_pairs = msgspec.json.Decoder(list[tuple[str, str]])
StateFilter = Annotated[
    str | None,
    QueryParameter(
        name="state", pattern="^(pending|delivered|dead)$", description="Return only deliveries in this state."
    ),
]


class Attempt(msgspec.Struct, kw_only=True):
    """One attempt of a delivery."""

    id: str
    delivery_id: str
    event_id: str
    number: int
    started_at: str
    duration_ms: float
    status: int | None
    headers: dict[str, str]
    #: The first 4 KB of the response if they are text; otherwise null, and `body_base64` has them.
    body: str | None
    body_base64: str | UnsetType = UNSET
    error: str | None


class Delivery(msgspec.Struct, kw_only=True):
    """The delivery of one event to one webhook endpoint."""

    id: str
    webhook_id: str
    event_id: str
    type: str | None
    state: str
    #: Attempts since the delivery was last queued, and attempts in total.
    tries: int
    attempt_count: int
    #: Null for a delivery that waits for another one.
    next_attempt_at: str | None
    #: The event whose delivery must end first: the endpoint gets the events of a subject in order.
    waits_for: str | None
    reason: str | None
    settled_at: str | None


class DeliveryDetail(Delivery, kw_only=True):
    """A delivery with its attempts, oldest first."""

    attempts: list[Attempt]


class SendTestEvent(msgspec.Struct, forbid_unknown_fields=True):
    """The event type of a test event."""

    #: By default the first event type of the endpoint.
    event_type: str | None = None


class TestEventRequest(msgspec.Struct):
    """The request that was sent; the values of custom headers are masked."""

    method: Literal["POST"]
    url: str
    headers: dict[str, str]
    body: str


class TestEventResponse(msgspec.Struct):
    """The response of the endpoint."""

    status: int
    headers: dict[str, str]
    body: str | None
    body_base64: str | UnsetType = UNSET


class TestEventResult(msgspec.Struct):
    """The result of a test event."""

    request: TestEventRequest
    response: TestEventResponse | None
    error: str | None
    #: When each phase ended, in milliseconds since the start.
    timings: dict[str, float]


def readable(body: bytes) -> dict[str, Any]:
    """Return a body as text if it is UTF-8, otherwise in base64."""
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError as error:
        # A body that was cut within a character is still text.
        if len(body) - error.start < 4 and error.reason == "unexpected end of data":
            return {"body": body[: error.start].decode()}
        return {"body": None, "body_base64": base64.b64encode(body).decode()}


def joined(headers: list[tuple[str, str]]) -> dict[str, str]:
    """Return headers by name; repeated headers are joined with commas."""
    found: dict[str, str] = {}
    for name, value in headers:
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _attempt(row: Row) -> Attempt:
    endpoint_id, id_, event_id, number, started_at, duration_us, status, headers, body, error = row
    return Attempt(
        id=public("att", id_),
        delivery_id=public_pair("dlv", endpoint_id, event_id),
        event_id=public("evt", event_id),
        number=number,
        started_at=iso(started_at),
        duration_ms=duration_us / 1000,
        status=status,
        headers=joined(_pairs.decode(headers)),
        error=error,
        **readable(bytes(body)),
    )


def _fields(row: Row) -> dict[str, Any]:
    endpoint_id, event_id, state, tries, attempts, due_at, reason, settled_at, type_, waits_for = row
    return {
        "id": public_pair("dlv", endpoint_id, event_id),
        "webhook_id": public("whk", endpoint_id),
        "event_id": public("evt", event_id),
        "type": type_,
        "state": state,
        "tries": tries,
        "attempt_count": attempts,
        "next_attempt_at": when(due_at) if waits_for is None else None,
        "waits_for": None if waits_for is None else public("evt", waits_for),
        "reason": reason,
        "settled_at": None if state == State.PENDING else when(settled_at),
    }


@get("/v1/webhooks/{id:str}/attempts", summary="List the attempts of a webhook endpoint")
async def list_webhook_attempts(
    call: NamedDependency[Call], id: FromPath[str], limit: Limit = 50, after: After = None
) -> Page[Attempt]:
    """Returns attempts, newest first."""

    async def work(tx: Tx) -> list[Row]:
        webhook = await endpoints.find_webhook(tx, call.engine.encryption, call.workspace_id, webhook_id(id))
        return await tx.rows("attempts.list", endpoint_id=webhook.id, before=before("attempts", after), n=limit + 1)

    return page("attempts", await call.read(work), limit, _attempt, lambda row: int(row[1]))


@get("/v1/webhooks/{id:str}/deliveries", summary="List the deliveries of a webhook endpoint")
async def list_webhook_deliveries(
    call: NamedDependency[Call], id: FromPath[str], state_: StateFilter = None, limit: Limit = 50, after: After = None
) -> Page[Delivery]:
    """Returns deliveries, newest first; with `state=pending`, in the order of their next attempt."""

    async def work(tx: Tx) -> Page[Delivery]:
        webhook = await endpoints.find_webhook(tx, call.engine.encryption, call.workspace_id, webhook_id(id))
        if state_ == State.PENDING:
            return await _list_pending(tx, webhook.id, limit, after)
        name = f"deliveries.{state_ or 'all'}"
        first = before(name, after)
        if state_ != State.DELIVERED:
            query = "deliveries.list" if state_ is None else "deliveries.list_dead"
            rows = await tx.rows(query, endpoint_id=webhook.id, before=first, n=limit + 1)
            return page(name, rows, limit, _delivery, lambda row: int(row[1]))
        return await scan(
            name,
            limit,
            first,
            partial(tx.rows, "deliveries.stretch_delivered", endpoint_id=webhook.id),
            partial(tx.row, "deliveries.stretch_end", endpoint_id=webhook.id),
            _delivery,
            lambda row: int(row[1]),
        )

    return await call.read(work)


async def _list_pending(tx: Tx, endpoint_id: int, limit: int, after: str | None) -> Page[Delivery]:
    due_at, event_id = position("deliveries.pending", after, 0, 0)
    rows = await tx.rows(
        "deliveries.list_pending", endpoint_id=endpoint_id, due_at=due_at, event_id=event_id, n=limit + 1
    )
    visible = rows[:limit]
    following = cursor("deliveries.pending", visible[-1][5], visible[-1][1]) if len(rows) > limit else None
    return Page([_delivery(row) for row in visible], following)


def _delivery(row: Row) -> Delivery:
    return Delivery(**_fields(row))


async def _detail(tx: Tx, workspace_id: int, endpoint_id: int, event_id: int) -> DeliveryDetail:
    row = await tx.row("deliveries.get", workspace_id=workspace_id, endpoint_id=endpoint_id, event_id=event_id)
    if row is None:
        raise NotFound(
            "No delivery with this id exists in this workspace. Deliveries are deleted after the retention period."
        )
    attempts = await tx.rows("attempts.of_delivery", endpoint_id=endpoint_id, event_id=event_id, n=MOST_ATTEMPTS)
    return DeliveryDetail(attempts=[_attempt(attempt) for attempt in attempts], **_fields(row))


@get("/v1/deliveries/{id:str}", summary="Get a delivery with its attempts")
async def get_delivery(call: NamedDependency[Call], id: FromPath[str]) -> DeliveryDetail:
    """Returns a delivery with its attempts (status, headers and the first 4 KB of each response)."""
    endpoint_id, event_id = internal_pair("dlv", id)
    return await call.read(_detail, call.workspace_id, endpoint_id, event_id)


@post("/v1/deliveries/{id:str}/retry", status_code=202, summary="Retry a delivery")
async def retry_delivery(call: NamedDependency[Call], id: FromPath[str]) -> Response[DeliveryDetail]:
    """Makes a pending delivery due immediately, or queues a delivered or dead one again."""
    endpoint_id, event_id = internal_pair("dlv", id)
    engine = call.engine

    async def work(tx: Tx) -> DeliveryDetail:
        await deliveries.retry(tx, call.workspace_id, endpoint_id, event_id, engine.ids.node, call.now)
        return await _detail(tx, call.workspace_id, endpoint_id, event_id)

    response = await call.perform(202, work)
    engine.webhooks_due.wake_at(call.now)
    return response


@post("/v1/webhooks/{id:str}/test", status_code=200, summary="Send a test event", opt={"body": SendTestEvent})
async def test_webhook(call: NamedDependency[Call], id: FromPath[str]) -> Response[TestEventResult]:
    """Sends an example event to the endpoint, even if it is disabled. Nothing is recorded or retried."""
    body = await call.body(SendTestEvent)
    engine = call.engine

    async def choose(tx: Tx) -> tuple[endpoints.WebhookRecord, PayloadFormat | None, EventType]:
        webhook = await endpoints.find_webhook(tx, engine.encryption, call.workspace_id, webhook_id(id))
        formats = await payload_formats.load_formats(tx, [(webhook.workspace_id, webhook.format)])
        entry = await probe.choose_type(tx, webhook, body.event_type)
        return webhook, formats.get((webhook.workspace_id, webhook.format)), entry

    async def work() -> TestEventResult:
        webhook, payload, entry = await call.read(choose)
        result = await probe.send_probe(
            engine.outbound, webhook, payload, entry, call.now, engine.connections.by_number
        )
        response = result.response
        return TestEventResult(
            TestEventRequest(
                "POST",
                result.url,
                {name: mask(value) if name.lower() in result.custom else value for name, value in result.headers},
                result.body.decode(),
            ),
            None
            if response.status is None
            else TestEventResponse(response.status, joined(response.headers), **readable(response.body)),
            result.error,
            result.timings,
        )

    return await call.perform_outside(200, work)


ROUTES = permit(
    "webhooks", [list_webhook_attempts, list_webhook_deliveries, get_delivery, retry_delivery, test_webhook]
)
