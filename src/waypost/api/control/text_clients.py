"""Clients of the text-message API: create, list, get, change, rotate and delete them."""

from typing import Annotated, Any

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import UNSET, Meta, UnsetType

from waypost.api.control.calls import NAMES, Call, permit
from waypost.api.paging import After, Limit, Page, before, page
from waypost.clock import iso
from waypost.domain.texts.client import (
    DEFAULT_METRIC,
    LARGEST_MATCHES,
    LARGEST_RATE,
    LONGEST_OVERLAP_S,
    MOST_MATCHES,
    RATE_LIMIT,
    Callback,
    CheckLinks,
)
from waypost.domain.values.ids import internal, public
from waypost.engine.texts import clients
from waypost.engine.texts.clients import TextClientDraft, TextClientRecord
from waypost.storage.database import Tx

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Rate = Annotated[float, Meta(gt=0, le=LARGEST_RATE, description="Texts per second; more are answered with 429.")]
Checks = Annotated[
    CheckLinks,
    Meta(description="`now` refuses a text with a link that does not work, `later` fails it, `never` sends it."),
]
Utm = Annotated[
    dict[str, str],
    Meta(description="Query parameters that links get if they lack them. `{sendPurpose}` is the text's. `{}`: none."),
]
Metric = Annotated[str, Meta(min_length=1, max_length=127, description="The metric of texts without a `metricName`.")]
Matches = Annotated[int, Meta(ge=1, le=LARGEST_MATCHES, description="How many numbers one email may lead to.")]


class CreateTextClient(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The settings of a new text client."""

    name: Name
    #: Where the statuses of its texts go.
    callback: Callback | None = None
    rate_limit: Rate = RATE_LIMIT
    check_links: Checks = CheckLinks.NOW
    utm: Utm | None = None
    #: The connection that sends its texts; without one, the order of the channel decides.
    connection_id: str | None = None
    default_metric: Metric = DEFAULT_METRIC
    max_matches: Matches = MOST_MATCHES


class ChangeTextClient(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The settings to change; the others stay."""

    name: Name | UnsetType = UNSET
    callback: Callback | UnsetType | None = UNSET
    rate_limit: Rate | UnsetType = UNSET
    check_links: Checks | UnsetType = UNSET
    utm: Utm | UnsetType | None = UNSET
    connection_id: str | UnsetType | None = UNSET
    default_metric: Metric | UnsetType = UNSET
    max_matches: Matches | UnsetType = UNSET


class RotateTextClient(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How long the previous secret stays valid."""

    overlap_s: Annotated[int, Meta(ge=0, le=LONGEST_OVERLAP_S, description="In seconds.")] = 86_400


class TextClient(msgspec.Struct, kw_only=True):
    """A client of the text-message API, without its secret."""

    id: str
    name: str
    #: What the client sends as `X-Client-ID`.
    client_id: str
    callback: Callback | None
    #: The webhook endpoint of the callback; its deliveries and its ledger are under this id.
    endpoint_id: str | None
    rate_limit: float
    check_links: CheckLinks
    utm: dict[str, str] | None
    connection_id: str | None
    default_metric: str
    max_matches: int
    #: How many secrets are valid: two or more after a rotation with overlap.
    secrets: int
    created_at: str
    updated_at: str


class TextClientCreated(TextClient, kw_only=True):
    """A text client with its secret, which is shown only once."""

    #: What the client sends as `X-Client-Secret`.
    client_secret: str


def _fields(record: TextClientRecord, now: int) -> dict[str, Any]:
    return {
        "id": public("tcl", record.id),
        "name": record.name,
        "client_id": record.client_id,
        "callback": record.callback,
        "endpoint_id": None if record.endpoint_id is None else public("whk", record.endpoint_id),
        "rate_limit": record.rate_limit,
        "check_links": record.check_links,
        "utm": record.utm,
        "connection_id": None if record.connection_id is None else public("con", record.connection_id),
        "default_metric": record.default_metric,
        "max_matches": record.max_matches,
        "secrets": sum(until is None or until > now for _, until in record.secrets),
        "created_at": iso(record.created_at),
        "updated_at": iso(record.updated_at),
    }


@post("/v1/text-clients", summary="Create a text client", opt={"body": CreateTextClient, **NAMES})
async def create_text_client(call: NamedDependency[Call]) -> Response[TextClientCreated]:
    """Creates a client of the text-message API and returns its secret, which is shown only in this response."""
    body = await call.body(CreateTextClient)
    owner = call.engine.text_client_owner
    fields = msgspec.structs.asdict(body)
    draft = owner.check(
        call.workspace_id, TextClientDraft(**fields | {"connection_id": _connection(body.connection_id)})
    )

    async def work(tx: Tx) -> TextClientCreated:
        record, secret = await owner.create(tx, call.workspace_id, draft, call.now)
        return TextClientCreated(client_secret=secret, **_fields(record, call.now))

    response = await call.perform(201, work)
    await _refresh(call)
    return response


@get("/v1/text-clients", summary="List text clients")
async def list_text_clients(call: NamedDependency[Call], limit: Limit = 50, after: After = None) -> Page[TextClient]:
    """Returns the text clients of the workspace, newest first."""
    records = await call.read(clients.list_clients, call.workspace_id, before("text-clients", after), limit + 1)
    return page(
        "text-clients", records, limit, lambda record: TextClient(**_fields(record, call.now)), lambda record: record.id
    )


@get("/v1/text-clients/{id:str}", summary="Get a text client")
async def get_text_client(call: NamedDependency[Call], id: FromPath[str]) -> TextClient:
    """Returns a text client, without its secret."""
    return TextClient(**_fields(await call.read(clients.find_client, call.workspace_id, internal("tcl", id)), call.now))


@patch("/v1/text-clients/{id:str}", summary="Change a text client", opt={"body": ChangeTextClient, **NAMES})
async def change_text_client(call: NamedDependency[Call], id: FromPath[str]) -> TextClient:
    """Changes the settings of a text client. Other processes use them after at most two seconds."""
    body = await call.body(ChangeTextClient)
    changes = {name: value for name, value in msgspec.structs.asdict(body).items() if value is not UNSET}
    if "connection_id" in changes:
        changes["connection_id"] = _connection(changes["connection_id"])

    update = call.engine.text_client_owner.update
    record = await call.transact(update, call.workspace_id, internal("tcl", id), changes, call.now)
    await _refresh(call)
    return TextClient(**_fields(record, call.now))


@post(
    "/v1/text-clients/{id:str}/rotate",
    summary="Rotate the secret of a text client",
    status_code=200,
    opt={"body": RotateTextClient},
)
async def rotate_text_client(call: NamedDependency[Call], id: FromPath[str]) -> Response[TextClientCreated]:
    """Gives a text client a new secret, which is shown only in this response. The previous one overlaps with it."""
    body = await call.body(RotateTextClient)
    id_ = internal("tcl", id)

    async def work(tx: Tx) -> TextClientCreated:
        record, secret = await clients.rotate_secret(tx, call.workspace_id, id_, body.overlap_s, call.now)
        return TextClientCreated(client_secret=secret, **_fields(record, call.now))

    response = await call.perform(200, work)
    call.engine.text_clients.forget()
    return response


@delete("/v1/text-clients/{id:str}", summary="Delete a text client")
async def delete_text_client(call: NamedDependency[Call], id: FromPath[str]) -> None:
    """Deletes a text client and the endpoint of its callback. Texts that wait to be sent are still sent."""
    await call.transact(clients.delete_client, call.workspace_id, internal("tcl", id), call.now)
    await _refresh(call)


async def _refresh(call: Call) -> None:
    """Use the changed client and the endpoint of its callback in this process at once."""
    await call.refresh()
    call.engine.text_clients.forget()


def _connection(text: str | None) -> int | None:
    return None if text is None else internal("con", text)


ROUTES = permit(
    "settings",
    [
        create_text_client,
        list_text_clients,
        get_text_client,
        change_text_client,
        rotate_text_client,
        delete_text_client,
    ],
)
