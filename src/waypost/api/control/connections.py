"""Connections: create, list, get, change, delete, enable, disable, their order, and the key for their receipts."""

from typing import Annotated, Any

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import UNSET, Meta, UnsetType

from waypost.api.control.calls import NAMES, Call
from waypost.api.control.connection_view import ConnectionCreated, ConnectionShown, connection_id, show, show_with_key
from waypost.api.paging import After, Limit, Page, before, page
from waypost.domain.providers.connector import Connector
from waypost.domain.providers.setup_checks import Report
from waypost.engine.providers import connection_records
from waypost.engine.providers.connection_records import ConnectionRecord, Draft
from waypost.engine.providers.connectors import find_connector
from waypost.engine.runtime import idempotency
from waypost.storage.database import Tx

LONGEST_WORD = 200

Name = Annotated[
    str,
    Meta(description="For people, such as Pinpoint Promo.", min_length=1, max_length=connection_records.LONGEST_NAME),
]
Config = Annotated[
    dict[str, Any], Meta(description="The fields of the connector, as GET /v1/connectors/{name} lists them.")
]
Position = Annotated[
    int, Meta(description="Smaller ones of a channel are tried first; equal ones by age.", ge=0, le=1_000_000)
]
Rate = Annotated[
    float, Meta(description="Messages per second, if fewer than the connector allows.", ge=0.001, le=1_000_000)
]
Concurrency = Annotated[int, Meta(description="Calls under way at the same time.", ge=1, le=1000)]
Validity = Annotated[int, Meta(description="Seconds for which a message may be tried.", ge=1, le=604_800)]
DataCenter = Annotated[
    str, Meta(description="Where its receipts come in: a name of WAYPOST_DATA_CENTERS.", max_length=40)
]
SkipCheck = Annotated[
    bool, Meta(description="Store it although the set-up check fails; what it found is kept with the connection.")
]


class NewConnection(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A connection to be made."""

    name: Name
    connector: Annotated[str, Meta(max_length=LONGEST_WORD)]
    config: Config = {}
    position: Position | None = None
    per_second: Rate | None = None
    concurrency: Concurrency | None = None
    validity: Validity | None = None
    data_center: DataCenter | None = None
    skip_check: SkipCheck = False


class ConnectionChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is to change. Fields of `config` that are left out stay; null takes a value back."""

    name: Name | UnsetType = UNSET
    config: Config | UnsetType = UNSET
    position: Position | UnsetType = UNSET
    per_second: Rate | UnsetType | None = UNSET
    concurrency: Concurrency | UnsetType | None = UNSET
    validity: Validity | UnsetType | None = UNSET
    data_center: DataCenter | UnsetType | None = UNSET
    skip_check: SkipCheck = False


class ConnectionOrder(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """In which order the connections of a channel are tried."""

    channel: Annotated[str, Meta(description="`sms`, `email` or `event`.", pattern="^(sms|email|event)$")]
    connections: Annotated[
        list[str],
        Meta(
            description="Ids, the first one first; those that are not named follow as they were.",
            min_length=1,
            max_length=connection_records.MOST_CONNECTIONS,
        ),
    ]


async def make_connection(call: Call, asked: NewConnection) -> Response[ConnectionCreated]:
    """The answer to a wish for a connection: checked at its provider, then stored."""
    engine = call.engine
    repeated = await call.asked()
    # Before the check: a repeat is answered as the first time, whatever the provider says today.
    known = await idempotency.stored_response(engine.database, engine.encryption, call.workspace_id, repeated)
    if known is not None:
        return call.respond(known)
    connector = await call.read(find_connector, call.workspace_id, asked.connector)
    draft = connection_records.check_draft(
        Draft(
            name=asked.name,
            config=asked.config,
            position=asked.position,
            per_second=asked.per_second,
            concurrency=asked.concurrency,
            validity_s=asked.validity,
            data_center=asked.data_center,
        ),
        connector,
        engine.connections.data_centers,
    )
    await call.read(connection_records.check_name, call.workspace_id, draft.name)
    report = await prove(call, connector, draft, asked.skip_check)
    key = connection_records.make_receipts_key()

    async def work(tx: Tx) -> ConnectionCreated:
        account = await connection_records.create_connection(
            tx, engine.ids, engine.encryption, call.workspace_id, connector, draft, key, report, call.now
        )
        return show_with_key(engine.connections, account, key)

    response = await call.perform(201, work)
    await call.refresh()
    return response


async def prove(call: Call, connector: Connector, draft: Draft, skip: bool) -> Report | None:
    """What the provider says of a draft; Invalid when it may not be stored and that is not wanted all the same."""
    engine = call.engine
    tracker_url = engine.connections.tracker_url(draft.data_center)
    report = await connection_records.prove(engine.outbound, connector, draft.config, tracker_url, call.now)
    if not skip:
        connection_records.require(connector, report)
    return report


@post("/v1/connections", summary="Create a connection", opt={"body": NewConnection, **NAMES})
async def create_connection(call: NamedDependency[Call]) -> Response[ConnectionCreated]:
    """Checks the set-up at the provider, where the connector knows how, and answers with the key for receipts."""
    return await make_connection(call, await call.body(NewConnection))


@get("/v1/connections", summary="List connections")
async def list_connections(
    call: NamedDependency[Call], limit: Limit = 50, after: After = None
) -> Page[ConnectionShown]:
    """The newest first."""
    found = await call.read(
        connection_records.list_connections,
        call.engine.encryption,
        call.workspace_id,
        before("connections", after),
        limit + 1,
    )
    return page(
        "connections", found, limit, lambda account: show(call.engine.connections, account), lambda account: account.id
    )


@get("/v1/connections/{id:str}", summary="Get a connection")
async def get_connection(call: NamedDependency[Call], id: FromPath[str]) -> ConnectionShown:
    """Everything about a connection but its secrets."""
    found = await call.read(
        connection_records.find_connection, call.engine.encryption, call.workspace_id, connection_id(id)
    )
    return show(call.engine.connections, found)


@patch("/v1/connections/{id:str}", summary="Change a connection", opt={"body": ConnectionChange})
async def change_connection(call: NamedDependency[Call], id: FromPath[str]) -> Response[ConnectionShown]:
    """Only what is given changes. New credentials are checked first, and mend a connection that is paused."""
    asked = await call.body(ConnectionChange)
    engine = call.engine
    given = {name: value for name, value in msgspec.structs.asdict(asked).items() if value is not UNSET}
    skip, config = given.pop("skip_check"), given.pop("config", {})
    if "validity" in given:
        given["validity_s"] = given.pop("validity")

    def merge(account: ConnectionRecord) -> Draft:
        values = {name: given.get(name, getattr(account, name)) for name in Draft.__struct_fields__ if name != "config"}
        if "data_center" not in given and values["data_center"] not in engine.connections.data_centers:
            # It is no longer in the settings; that is no reason to refuse another change.
            values["data_center"] = None
        draft = Draft(config=connection_records.merge_config(account, config), **values)
        return connection_records.check_draft(draft, account.usable, engine.connections.data_centers)

    def differs(account: ConnectionRecord, draft: Draft) -> bool:
        center_url = engine.connections.center_url
        return draft.config != account.config or center_url(draft.data_center) != center_url(account.data_center)

    account = await call.read(
        connection_records.find_connection, engine.encryption, call.workspace_id, connection_id(id)
    )
    draft = merge(account)
    report, renewed = None, differs(account, draft)
    if renewed:
        report = await prove(call, account.usable, draft, skip)

    async def work(tx: Tx) -> ConnectionShown:
        present = await connection_records.find_connection(tx, engine.encryption, call.workspace_id, account.id)
        wanted = merge(present)
        if renewed and (wanted.config, wanted.data_center) != (draft.config, draft.data_center):
            raise connection_records.changed_meanwhile()
        fixed = renewed and (report is None or connection_records.passed(report))
        changed = await connection_records.change_connection(
            tx, engine.encryption, present, wanted, report, call.now, fixed=fixed
        )
        return show(engine.connections, changed)

    response = await call.perform(200, work)
    await call.refresh()
    return response


@delete("/v1/connections/{id:str}", summary="Delete a connection")
async def delete_connection(call: NamedDependency[Call], id: FromPath[str]) -> None:
    """Its secrets are deleted. What is queued goes to other connections of its channel where it may, or fails."""
    await call.engine.database.transact(
        connection_records.delete_connection, call.workspace_id, connection_id(id), call.now
    )
    await call.refresh()


async def _switch(call: Call, id: str, enabled: bool) -> Response[ConnectionShown]:
    engine = call.engine

    async def work(tx: Tx) -> ConnectionShown:
        switched = await connection_records.switch_connection(
            tx, engine.encryption, call.workspace_id, connection_id(id), enabled, call.now
        )
        return show(engine.connections, switched)

    response = await call.perform(200, work)
    await call.refresh()
    return response


@post("/v1/connections/{id:str}/enable", status_code=200, summary="Enable a connection, also one that is paused")
async def enable_connection(call: NamedDependency[Call], id: FromPath[str]) -> Response[ConnectionShown]:
    """Messages that wait for it are sent."""
    return await _switch(call, id, True)


@post("/v1/connections/{id:str}/disable", status_code=200, summary="Disable a connection")
async def disable_connection(call: NamedDependency[Call], id: FromPath[str]) -> Response[ConnectionShown]:
    """Nothing more is sent through it. What others may send goes to them; receipts are still taken."""
    return await _switch(call, id, False)


@post(
    "/v1/connections/order",
    status_code=200,
    summary="Order the connections of a channel",
    opt={"body": ConnectionOrder, **NAMES},
)
async def order_connections(call: NamedDependency[Call]) -> Response[Page[ConnectionShown]]:
    """The first that is enabled gets the messages; the next ones get those that it surely did not take."""
    asked = await call.body(ConnectionOrder)
    ids = [connection_id(id_) for id_ in asked.connections]

    async def work(tx: Tx) -> Page[ConnectionShown]:
        found = await connection_records.order_connections(
            tx, call.engine.encryption, call.workspace_id, asked.channel, ids, call.now
        )
        return Page([show(call.engine.connections, account) for account in found])

    response = await call.perform(200, work)
    await call.refresh()
    return response


@post("/v1/connections/{id:str}/rotate-receipts-key", status_code=200, summary="Make a new key for receipts")
async def rotate_receipts_key(call: NamedDependency[Call], id: FromPath[str]) -> Response[ConnectionCreated]:
    """The old key ends at once; what comes with it until the provider knows the new one is refused, and sent again."""
    engine, key = call.engine, connection_records.make_receipts_key()

    async def work(tx: Tx) -> ConnectionCreated:
        account = await connection_records.rotate_receipts_key(
            tx, engine.encryption, call.workspace_id, connection_id(id), key, call.now
        )
        return show_with_key(engine.connections, account, key)

    response = await call.perform(200, work)
    await call.refresh()
    return response


ROUTES = [
    create_connection,
    list_connections,
    order_connections,
    get_connection,
    change_connection,
    delete_connection,
    enable_connection,
    disable_connection,
    rotate_receipts_key,
]
