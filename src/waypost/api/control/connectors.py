"""Connectors: what kinds of providers there are, and those that a workspace adds itself."""

from typing import Annotated, Any

import msgspec
from litestar import Response, delete, get, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath
from msgspec import Meta

from waypost.api.control.calls import Call
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
    """A connector to be added, or to take the place of the workspace's own one of the same name."""

    definition: Annotated[str, Meta(description="TOML; docs/reference/connectors.md has every key.", max_length=65536)]


class ConnectorField(msgspec.Struct, kw_only=True):
    """One thing that a connection has to say about the account."""

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
    """A kind of provider."""

    name: str
    label: str
    description: str
    #: sms, email or event.
    channel: str
    #: Whether the workspace added it.
    own: bool
    fields: list[ConnectorField]
    regions: list[str]
    batch_size: int
    #: Messages per second; null for no limit.
    per_second: float | None
    concurrency: int
    #: For how many seconds a message may be tried.
    validity: int
    #: Repeating a message whose fate is unknown does no harm.
    idempotent: bool
    #: How what the provider says later is verified; null when it says nothing.
    callback: str | None
    #: Null for those that come with Waypost.
    created_at: str | None
    updated_at: str | None


class ConnectorDetail(Connector, kw_only=True):
    """A kind of provider with its definition."""

    #: TOML.
    definition: str


@get("/v1/connectors", summary="List connectors")
async def list_connectors(call: NamedDependency[Call]) -> Page[Connector]:
    """Those that the workspace added, then those that come with Waypost and are not replaced; all on one page."""
    own = await call.read(own_connectors.list_own, call.workspace_id)
    names = {one.connector.name for one in own}
    others = [connector for name, connector in shipped().items() if name not in names]
    return Page(
        [Connector(**_fields(one.connector, one)) for one in own]
        + [Connector(**_fields(connector, None)) for connector in others]
    )


@get("/v1/connectors/{name:str}", summary="Get a connector")
async def get_connector(call: NamedDependency[Call], name: FromPath[str]) -> ConnectorDetail:
    """A connector with its definition, which is a good start for one of your own."""
    own = await call.read(own_connectors.find_own, call.workspace_id, name)
    if own is not None:
        return _detail_view(own)
    connector = shipped().get(name)
    if connector is None:
        raise NotFound(
            f"There is no connector {name[:64]!r}; GET /v1/connectors lists those there are.", code="unknown_connector"
        )
    return ConnectorDetail(definition=definitions()[name], **_fields(connector, None))


@post(
    "/v1/connectors",
    summary="Add or replace a connector",
    opt={"body": CreateConnector},
    responses={200: ResponseSpec(None, description="It took the place of the one of the same name.")},
)
async def create_connector(call: NamedDependency[Call]) -> Response[Any]:
    """Adds a connector (201), or replaces the workspace's own one of the same name (200).

    Connections that are made with it use the new definition at once; one that lacks something that it needs is paused
    until that is given. A body that names a `connector` instead makes a
    connection, as POST /v1/connections does.
    """
    if "connector" in await call.body(dict[str, Any]):
        return await create_checked(call, await call.body(CreateConnection))
    asked = await call.body(CreateConnector)
    name = own_connectors.read_definition(asked.definition).name
    known = await call.read(own_connectors.find_own, call.workspace_id, name)

    async def work(tx: Tx) -> ConnectorDetail:
        engine = call.engine
        saved = await own_connectors.save_definition(
            tx, engine.ids, engine.encryption, call.workspace_id, asked.definition, call.now
        )
        return _detail_view(saved)

    response = await call.perform(201 if known is None else 200, work)
    await call.refresh()
    return response


@delete("/v1/connectors/{name:str}", summary="Delete a connector")
async def delete_connector(call: NamedDependency[Call], name: FromPath[str]) -> None:
    """Only one that the workspace added, and not while connections are made with it."""
    engine = call.engine
    await engine.database.transact(
        own_connectors.delete_definition, engine.ids, engine.encryption, call.workspace_id, name, call.now
    )
    await call.refresh()


def _detail_view(own: Own) -> ConnectorDetail:
    return ConnectorDetail(definition=own.definition, **_fields(own.connector, own))


def _fields(connector: ConnectorDefinition, own: Own | None) -> dict[str, Any]:
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


ROUTES = [create_connector, list_connectors, get_connector, delete_connector]
