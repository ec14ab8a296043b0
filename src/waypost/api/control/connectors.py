"""Connectors: list, get, add, replace, delete."""

from typing import Annotated, Any

import msgspec
from litestar import Response, delete, get, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath
from msgspec import Meta

from waypost.api.control.calls import Call, permit
from waypost.api.control.connection_view import uses_firehose
from waypost.api.control.connections import CreateConnection, create_checked
from waypost.api.paging import Page
from waypost.clock import iso
from waypost.domain.providers.connector import Connector as ConnectorDefinition
from waypost.domain.providers.connector import Field
from waypost.engine.providers import own_connectors
from waypost.engine.providers.connectors import definitions, shipped
from waypost.engine.providers.own_connectors import Own
from waypost.errors import NotFound
from waypost.storage.database import Tx


class CreateConnector(msgspec.Struct, forbid_unknown_fields=True):
    """The definition of a connector to add or replace."""

    definition: Annotated[
        str,
        Meta(
            description="The connector definition in TOML; docs/reference/connectors.md describes every key.",
            max_length=65536,
        ),
    ]


class ConnectorField(msgspec.Struct, kw_only=True):
    """A field that a connection of this connector has in its `config`."""

    name: str
    label: str
    #: text, number, boolean or choice.
    kind: str
    secret: bool
    required: bool
    pattern: str
    choices: list[str]
    default: str | int | float | bool | None
    help: str


class Connector(msgspec.Struct, kw_only=True):
    """A connector: how Waypost talks to one kind of provider."""

    name: str
    label: str
    description: str
    #: sms, email or event.
    channel: str
    #: Whether the workspace added this connector.
    own: bool
    fields: list[ConnectorField]
    regions: list[str]
    batch_size: int
    #: Messages per second; null for no limit.
    per_second: float | None
    concurrency: int
    #: Seconds after which a message that is not sent expires.
    validity: int
    #: Whether the provider ignores a repeated message, so that an unknown result can be retried.
    idempotent: bool
    #: How callbacks of the provider are verified; null if it sends none.
    callback: str | None
    #: Where Amazon Data Firehose reports to, by the name of the data center; empty for providers of another kind.
    tracker_urls: dict[str, str]
    #: Null for built-in connectors.
    created_at: str | None
    updated_at: str | None


class ConnectorDetail(Connector, kw_only=True):
    """A connector with its definition."""

    #: TOML.
    definition: str


@get("/v1/connectors", summary="List connectors")
async def list_connectors(call: NamedDependency[Call]) -> Page[Connector]:
    """Returns the workspace's own connectors, then the built-in connectors that they do not replace, on one page."""
    own = await call.read(own_connectors.list_own, call.workspace_id)
    names = {one.connector.name for one in own}
    others = [connector for name, connector in shipped().items() if name not in names]
    return Page(
        [Connector(**_fields(call, one.connector, one)) for one in own]
        + [Connector(**_fields(call, connector, None)) for connector in others]
    )


@get("/v1/connectors/{name:str}", summary="Get a connector")
async def get_connector(call: NamedDependency[Call], name: FromPath[str]) -> ConnectorDetail:
    """Returns a connector with its definition, which can be the starting point for a connector of your own."""
    own = await call.read(own_connectors.find_own, call.workspace_id, name)
    if own is not None:
        return _detail_view(call, own)
    connector = shipped().get(name)
    if connector is None:
        raise NotFound(
            f"The connector {name[:64]!r} does not exist. GET /v1/connectors lists all connectors.",
            code="unknown_connector",
        )
    return ConnectorDetail(definition=definitions()[name], **_fields(call, connector, None))


@post(
    "/v1/connectors",
    summary="Add or replace a connector",
    opt={"body": CreateConnector},
    responses={200: ResponseSpec(None, description="The connector of the same name was replaced.")},
)
async def create_connector(call: NamedDependency[Call]) -> Response[Any]:
    """Adds a connector (201), or replaces the workspace's own connector of the same name (200).

    Its connections use the new definition immediately; a connection that lacks a field required by the new definition
    is paused until the field is given. A body with the field `connector` creates a connection instead, as
    POST /v1/connections does.
    """
    if "connector" in await call.body(dict[str, Any]):
        return await create_checked(call, await call.body(CreateConnection))
    body = await call.body(CreateConnector)
    name = own_connectors.read_definition(body.definition).name
    known = await call.read(own_connectors.find_own, call.workspace_id, name)

    async def work(tx: Tx) -> ConnectorDetail:
        engine = call.engine
        saved = await own_connectors.save_definition(
            tx, engine.ids, engine.encryption, call.workspace_id, body.definition, call.now
        )
        return _detail_view(call, saved)

    response = await call.perform(201 if known is None else 200, work)
    await call.refresh()
    return response


@delete("/v1/connectors/{name:str}", summary="Delete a connector")
async def delete_connector(call: NamedDependency[Call], name: FromPath[str]) -> None:
    """Deletes one of the workspace's own connectors. A connector that has connections cannot be deleted."""
    engine = call.engine
    await call.transact(
        own_connectors.delete_definition, engine.ids, engine.encryption, call.workspace_id, name, call.now
    )
    await call.refresh()


def _detail_view(call: Call, own: Own) -> ConnectorDetail:
    return ConnectorDetail(definition=own.definition, **_fields(call, own.connector, own))


def _fields(call: Call, connector: ConnectorDefinition, own: Own | None) -> dict[str, Any]:
    connections = call.engine.connections
    centers = connections.data_centers if uses_firehose(connector) else {}
    return {
        "name": connector.name,
        "label": connector.label,
        "description": connector.description,
        "channel": connector.channel,
        "own": own is not None,
        "fields": [_field(field) for field in connector.fields],
        "regions": list(connector.regions),
        "batch_size": connector.batch_size,
        "per_second": connector.per_second,
        "concurrency": connector.concurrency,
        "validity": connector.validity_s,
        "idempotent": connector.idempotent,
        "callback": connector.callback.verify.scheme if connector.callback else None,
        "tracker_urls": {name: connections.tracker_url(name) for name in centers},
        "created_at": iso(own.created_at) if own else None,
        "updated_at": iso(own.updated_at) if own else None,
    }


def _field(field: Field) -> ConnectorField:
    return ConnectorField(
        name=field.name,
        label=field.label,
        kind=field.kind,
        secret=field.secret,
        required=field.required and field.default is None,
        pattern=field.pattern,
        choices=list(field.choices),
        default=field.default,
        help=field.help,
    )


ROUTES = permit("connections", [create_connector, list_connectors, get_connector, delete_connector])
