"""Connections: create, list, get, update, delete, enable, disable, order, and rotate the receipts key."""

from typing import Annotated, Any

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import UNSET, Meta, UnsetType

from waypost.api.control.calls import NAMES, Call, permit
from waypost.api.control.connection_view import (
    Connection,
    ConnectionCreated,
    connection_id,
    connection_view,
    created_view,
)
from waypost.api.paging import After, Limit, Page, before, page
from waypost.domain.providers.connector import Connector
from waypost.domain.providers.setup_checks import Report
from waypost.engine.providers import connection_records
from waypost.engine.providers.connection_records import ConnectionDraft, ConnectionRecord
from waypost.engine.providers.connectors import find_connector
from waypost.engine.runtime import idempotency
from waypost.errors import Conflict
from waypost.storage.database import Tx

LONGEST_WORD = 200

Name = Annotated[
    str,
    Meta(
        description="A display name, such as Pinpoint Promo.", min_length=1, max_length=connection_records.LONGEST_NAME
    ),
]
Config = Annotated[
    dict[str, Any],
    Meta(description="The values of the connector's fields; GET /v1/connectors/{name} lists the fields."),
]
Position = Annotated[
    int,
    Meta(
        description="Connections of a channel are tried in ascending order of position, then by age.",
        ge=0,
        le=1_000_000,
    ),
]
Rate = Annotated[
    float, Meta(description="Messages per second, to lower the limit of the connector.", ge=0.001, le=1_000_000)
]
Concurrency = Annotated[int, Meta(description="Maximum number of concurrent calls to the provider.", ge=1, le=1000)]
Validity = Annotated[int, Meta(description="Seconds after which a message that is not sent expires.", ge=1, le=604_800)]
DataCenter = Annotated[
    str,
    Meta(description="The data center that receives the receipts: a name from WAYPOST_DATA_CENTERS.", max_length=40),
]
SkipCheck = Annotated[
    bool,
    Meta(description="Store the connection even if the set-up check fails. The result is stored with the connection."),
]


class CreateConnection(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The parameters of a new connection."""

    name: Name
    connector: Annotated[str, Meta(max_length=LONGEST_WORD)]
    config: Config = {}
    position: Position | None = None
    per_second: Rate | None = None
    concurrency: Concurrency | None = None
    validity: Validity | None = None
    data_center: DataCenter | None = None
    skip_check: SkipCheck = False


class UpdateConnection(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The fields to update. Omitted fields, and omitted fields of `config`, keep their value; null removes a value."""

    name: Name | UnsetType = UNSET
    config: Config | UnsetType = UNSET
    position: Position | UnsetType = UNSET
    per_second: Rate | UnsetType | None = UNSET
    concurrency: Concurrency | UnsetType | None = UNSET
    validity: Validity | UnsetType | None = UNSET
    data_center: DataCenter | UnsetType | None = UNSET
    skip_check: SkipCheck = False


class OrderConnections(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The order in which the connections of a channel are tried."""

    channel: Annotated[str, Meta(description="`sms`, `email` or `event`.", pattern="^(sms|email|event)$")]
    connections: Annotated[
        list[str],
        Meta(
            description="Connection ids, in order. Connections that are not listed follow in their present order.",
            min_length=1,
            max_length=connection_records.MOST_CONNECTIONS,
        ),
    ]


async def create_checked(call: Call, body: CreateConnection) -> Response[ConnectionCreated]:
    """Check a new connection with its provider, store it, and return the response."""
    engine = call.engine
    key = await call.idempotency_key()
    # Before the check: a repeat gets the first response, whatever the provider responds now.
    known = await idempotency.stored_response(engine.database, engine.encryption, call.workspace_id, key)
    if known is not None:
        return call.respond(known)
    connector = await call.read(find_connector, call.workspace_id, body.connector)
    draft = connection_records.check_draft(
        ConnectionDraft(
            name=body.name,
            config=body.config,
            position=body.position,
            per_second=body.per_second,
            concurrency=body.concurrency,
            validity_s=body.validity,
            data_center=body.data_center,
        ),
        connector,
        engine.connections.data_centers,
    )
    try:
        await call.read(connection_records.check_name, call.workspace_id, draft.name)
    except Conflict:
        # The name may be that of the first request, which was stored since.
        known = await idempotency.stored_response(engine.database, engine.encryption, call.workspace_id, key)
        if known is None:
            raise
        return call.respond(known)
    report = await run_setup_check(call, connector, draft, body.skip_check)
    receipts_key = connection_records.make_receipts_key()

    async def work(tx: Tx) -> ConnectionCreated:
        connection = await connection_records.create_connection(
            tx, engine.ids, engine.encryption, call.workspace_id, connector, draft, receipts_key, report, call.now
        )
        return created_view(engine.connections, connection, receipts_key)

    response = await call.perform(201, work)
    await call.refresh()
    return response


async def run_setup_check(call: Call, connector: Connector, draft: ConnectionDraft, skip: bool) -> Report | None:
    """Run the set-up check of a draft and return the report; raise Invalid if it failed, unless `skip` is set."""
    engine = call.engine
    tracker_url = engine.connections.tracker_url(draft.data_center)
    report = await connection_records.run_setup_check(engine.outbound, connector, draft.config, tracker_url, call.now)
    if not skip:
        connection_records.require_passed(connector, report)
    return report


@post("/v1/connections", summary="Create a connection", opt={"body": CreateConnection, **NAMES})
async def create_connection(call: NamedDependency[Call]) -> Response[ConnectionCreated]:
    """Checks the set-up with the provider if the connector supports it, and returns the access key for receipts."""
    return await create_checked(call, await call.body(CreateConnection))


@get("/v1/connections", summary="List connections")
async def list_connections(call: NamedDependency[Call], limit: Limit = 50, after: After = None) -> Page[Connection]:
    """Returns connections, newest first."""
    found = await call.read(
        connection_records.list_connections,
        call.engine.encryption,
        call.workspace_id,
        before("connections", after),
        limit + 1,
    )
    return page(
        "connections",
        found,
        limit,
        lambda connection: connection_view(call.engine.connections, connection),
        lambda connection: connection.id,
    )


@get("/v1/connections/{id:str}", summary="Get a connection")
async def get_connection(call: NamedDependency[Call], id: FromPath[str]) -> Connection:
    """Returns a connection; its secrets are masked."""
    found = await call.read(
        connection_records.find_connection, call.engine.encryption, call.workspace_id, connection_id(id)
    )
    return connection_view(call.engine.connections, found)


@patch("/v1/connections/{id:str}", summary="Update a connection", opt={"body": UpdateConnection})
async def update_connection(call: NamedDependency[Call], id: FromPath[str]) -> Response[Connection]:
    """Updates the given fields. New credentials are checked first; if they are valid, a paused connection resumes."""
    body = await call.body(UpdateConnection)
    engine = call.engine
    given = {name: value for name, value in msgspec.structs.asdict(body).items() if value is not UNSET}
    skip, config = given.pop("skip_check"), given.pop("config", {})
    if "validity" in given:
        given["validity_s"] = given.pop("validity")

    def merge(connection: ConnectionRecord) -> ConnectionDraft:
        values = {
            name: given.get(name, getattr(connection, name))
            for name in ConnectionDraft.__struct_fields__
            if name != "config"
        }
        if "data_center" not in given and values["data_center"] not in engine.connections.data_centers:
            # The data center was removed from the settings: other fields can still be updated.
            values["data_center"] = None
        draft = ConnectionDraft(config=connection_records.merge_config(connection, config), **values)
        return connection_records.check_draft(draft, connection.usable, engine.connections.data_centers)

    def differs(connection: ConnectionRecord, draft: ConnectionDraft) -> bool:
        center_url = engine.connections.center_url
        return draft.config != connection.config or center_url(draft.data_center) != center_url(connection.data_center)

    connection = await call.read(
        connection_records.find_connection, engine.encryption, call.workspace_id, connection_id(id)
    )
    draft = merge(connection)
    report, renewed = None, differs(connection, draft)
    if renewed:
        report = await run_setup_check(call, connection.usable, draft, skip)

    async def work(tx: Tx) -> Connection:
        # This locks the connector's definition until the end of the transaction.
        await tx.run("configurations.touch", area="providers", workspace_id=call.workspace_id)
        present = await connection_records.find_connection(tx, engine.encryption, call.workspace_id, connection.id)
        merged = merge(present)
        if renewed and (merged.config, merged.data_center) != (draft.config, draft.data_center):
            raise connection_records.conflicting_change()
        fixed = renewed and (report is None or connection_records.passed(report))
        changed = await connection_records.change_connection(
            tx, engine.encryption, present, merged, report, call.now, fixed=fixed
        )
        return connection_view(engine.connections, changed)

    response = await call.perform(200, work)
    await call.refresh()
    return response


@delete("/v1/connections/{id:str}", summary="Delete a connection")
async def delete_connection(call: NamedDependency[Call], id: FromPath[str]) -> None:
    """Deletes a connection and its secrets. Its queued messages move to other connections of the channel, or fail."""
    await call.transact(connection_records.delete_connection, call.workspace_id, connection_id(id), call.now)
    await call.refresh()


async def _switch(call: Call, id: str, enabled: bool) -> Response[Connection]:
    engine = call.engine

    async def work(tx: Tx) -> Connection:
        switched = await connection_records.switch_connection(
            tx, engine.encryption, call.workspace_id, connection_id(id), enabled, call.now
        )
        return connection_view(engine.connections, switched)

    response = await call.perform(200, work)
    await call.refresh()
    return response


@post("/v1/connections/{id:str}/enable", status_code=200, summary="Enable a connection")
async def enable_connection(call: NamedDependency[Call], id: FromPath[str]) -> Response[Connection]:
    """Enables a disabled or paused connection. Messages that wait for it are sent."""
    return await _switch(call, id, True)


@post("/v1/connections/{id:str}/disable", status_code=200, summary="Disable a connection")
async def disable_connection(call: NamedDependency[Call], id: FromPath[str]) -> Response[Connection]:
    """Stops sending through a connection. Its messages move to other connections where possible.

    Receipts are still processed.
    """
    return await _switch(call, id, False)


@post(
    "/v1/connections/order",
    status_code=200,
    summary="Order the connections of a channel",
    opt={"body": OrderConnections, **NAMES},
)
async def order_connections(call: NamedDependency[Call]) -> Response[Page[Connection]]:
    """Sets the order. The first enabled connection gets the messages; the next ones get those it did not accept."""
    body = await call.body(OrderConnections)
    ids = [connection_id(id_) for id_ in body.connections]

    async def work(tx: Tx) -> Page[Connection]:
        found = await connection_records.order_connections(
            tx, call.engine.encryption, call.workspace_id, body.channel, ids, call.now
        )
        return Page([connection_view(call.engine.connections, connection) for connection in found])

    response = await call.perform(200, work)
    await call.refresh()
    return response


@post("/v1/connections/{id:str}/rotate-receipts-key", status_code=200, summary="Rotate the access key for receipts")
async def rotate_receipts_key(call: NamedDependency[Call], id: FromPath[str]) -> Response[ConnectionCreated]:
    """Returns a new access key. The old key becomes invalid immediately: update it at the provider.

    Receipts sent with the old key are refused, and the provider retries them.
    """
    engine, key = call.engine, connection_records.make_receipts_key()

    async def work(tx: Tx) -> ConnectionCreated:
        connection = await connection_records.rotate_receipts_key(
            tx, engine.encryption, call.workspace_id, connection_id(id), key, call.now
        )
        return created_view(engine.connections, connection, key)

    response = await call.perform(200, work)
    await call.refresh()
    return response


ROUTES = permit(
    "connections",
    [
        create_connection,
        list_connections,
        order_connections,
        get_connection,
        update_connection,
        delete_connection,
        enable_connection,
        disable_connection,
        rotate_receipts_key,
    ],
)
