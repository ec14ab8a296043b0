"""Manage connections to providers: create, check, change, order, enable, disable, delete."""

import secrets
from collections.abc import Mapping
from typing import Any

import msgspec

from waypost.clock import Ids
from waypost.domain.providers.connection import secret_values
from waypost.domain.providers.connection_config import check_config
from waypost.domain.providers.connector import Connector
from waypost.domain.providers.setup_checks import Check, Report, Result
from waypost.domain.values.masking import Masker
from waypost.engine.net.outbound import Outbound
from waypost.engine.providers.connectors import find_connector
from waypost.engine.providers.registry import (
    GLOBAL,
    complete,
    move_connection,
    no_such_connection,
    open_config,
    receipts_key_hash,
)
from waypost.engine.providers.setup import check_setup
from waypost.engine.runtime.encryption import Encryption
from waypost.errors import Conflict, Error, Invalid, NotFound
from waypost.storage.database import Tx

#: The most connections of a workspace.
MOST_CONNECTIONS = 200
LONGEST_NAME = 100
KEY_BYTES = 32
#: The set-up checks of connectors whose receipts depend on the set-up at the provider.
RECEIPT_CHECKS = frozenset({"pinpoint", "end_user_messaging"})

_encode = msgspec.json.Encoder().encode
_report = msgspec.json.Decoder(Report)


class ConnectionDraft(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a connection."""

    name: str
    #: Every field of the connector, with secrets decrypted.
    config: dict[str, Any]
    #: None: after all others of its channel.
    position: int | None = None
    #: None, here and below: the value of the connector.
    per_second: float | None = None
    concurrency: int | None = None
    validity_s: int | None = None
    data_center: str | None = None


class ConnectionRecord(ConnectionDraft, frozen=True, kw_only=True):
    """A connection as stored, with its connector."""

    id: int
    workspace_id: int
    #: None if its definition is missing or no longer valid.
    connector: Connector | None
    connector_name: str
    channel: str
    status: str
    status_reason: str | None
    status_at: int | None
    last_error: str | None
    last_error_at: int | None
    checked_at: int | None
    report: Report | None
    version: int
    created_at: int
    updated_at: int

    @property
    def usable(self) -> Connector:
        """Return the connector; raise Conflict if there is none."""
        if self.connector is None:
            raise Conflict(
                f"The definition of the connector {self.connector_name!r} is missing or not valid. Add it again with "
                "POST /v1/connectors.",
                code="connector_missing",
            )
        return self.connector


def check_draft(draft: ConnectionDraft, connector: Connector, data_centers: Mapping[str, str]) -> ConnectionDraft:
    """Return the draft in its stored form; raise Invalid for the first field that is not valid."""
    name = draft.name.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise Invalid(
            f"The name of a connection must have 1 to {LONGEST_NAME} printable characters.",
            code="invalid_name",
            field="name",
        )
    if draft.data_center is not None and draft.data_center not in data_centers:
        raise Invalid(
            f"Unknown data center {draft.data_center[:40]!r}. Allowed are {', '.join(data_centers)}.",
            code="unknown_data_center",
            field="data_center",
        )
    return msgspec.structs.replace(draft, name=name, config=check_config(connector, draft.config))


def merge_config(connection: ConnectionRecord, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with the given fields replaced; null removes a value."""
    return complete(connection.usable, connection.config) | dict(given)


def make_receipts_key() -> str:
    """Return a new access key for receipts, in a form that Firehose accepts."""
    return f"wpr_{secrets.token_urlsafe(KEY_BYTES)}"


async def run_setup_check(
    outbound: Outbound, connector: Connector, config: dict[str, Any], tracker_url: str, now: int
) -> Report | None:
    """Run the set-up checks of a connector, which may take a minute; return None if it has none.

    The report contains no secrets.
    """
    if not connector.checks:
        return None
    report = await check_setup(outbound, connector, config, tracker_url, now)
    return _redact(report, Masker(secret_values(connector, config)))


def require_passed(connector: Connector, report: Report | None) -> None:
    """Raise Invalid, with the step that decided it, unless a connection with this report may be stored.

    The code is `setup_check_failed` if a check failed, and `setup_not_verified` if the set-up could not be verified.
    The latter applies only to connectors with RECEIPT_CHECKS; with others, the first message shows whether it works.
    """
    if report is None:
        return
    if (check := report.failure) is not None:
        number = f"Set-up code {check.setup_code}: " if check.setup_code else ""
        detail = f"{number}{check.meaning or check.detail or check.name} Nothing was stored."
        raise Invalid(detail, code="setup_check_failed", **_extra(check))
    if RECEIPT_CHECKS.intersection(connector.checks) and (check := report.unverified) is not None:
        raise Invalid(
            f"The set-up could not be verified ({check.call}: {check.detail}). It may be correct. Retry, or send "
            "`skip_check: true` to store the connection without a check. Nothing was stored.",
            code="setup_not_verified",
            **_extra(check),
        )


def _extra(check: Check) -> dict[str, Any]:
    return {
        "setup_code": check.setup_code,
        "meaning": check.meaning,
        "resolution": list(check.resolution),
        "call": check.call,
        "error": check.error,
        "found": check.detail,
    }


async def create_connection(
    tx: Tx,
    ids: Ids,
    encryption: Encryption,
    workspace_id: int,
    connector: Connector,
    draft: ConnectionDraft,
    key: str,
    report: Report | None,
    now: int,
) -> ConnectionRecord:
    """Create an enabled connection from a checked draft, and store the report with it.

    Raises Conflict (code `connector_changed`) if the connector has changed since the draft was checked.
    """
    # First, so that the second of two concurrent transactions sees the changes of the first.
    await tx.run("configurations.touch", area="providers", workspace_id=workspace_id)
    if await find_connector(tx, workspace_id, connector.name) != connector:
        raise Conflict(
            f"The definition of the connector {connector.name!r} changed while the connection was being checked. "
            "Nothing was stored. Send the request again.",
            code="connector_changed",
        )
    await check_name(tx, workspace_id, draft.name)
    position = draft.position
    if position is None:
        order = await tx.rows("connections.order", workspace_id=workspace_id, channel=connector.channel)
        position = order[-1][1] + 1 if order else 0
    id_ = ids.one(now)
    await tx.run(
        "connections.add",
        id=id_,
        workspace_id=workspace_id,
        connector=connector.name,
        channel=connector.channel,
        receipts_key_hash=receipts_key_hash(key),
        now=now,
        **_columns(msgspec.structs.replace(draft, position=position), connector, encryption),
    )
    await store_report(tx, workspace_id, id_, report, now)
    return await find_connection(tx, encryption, workspace_id, id_)


def conflicting_change() -> Conflict:
    """Return the error for an update of a connection that another request has changed during the check."""
    return Conflict(
        "Another request changed this connection while the update was being checked. Get it and update it again.",
        code="connection_changed",
    )


async def check_name(tx: Tx, workspace_id: int, name: str, own_id: int | None = None) -> None:
    """Raise Conflict if the name is in use, or if a new connection would exceed the limit."""
    names = await tx.rows("connections.names", workspace_id=workspace_id)
    if own_id is None and len(names) >= MOST_CONNECTIONS:
        raise Conflict(
            f"A workspace can have at most {MOST_CONNECTIONS} connections. Delete one first.",
            code="too_many_connections",
        )
    if any(id_ != own_id and known == name for id_, known in names):
        raise Conflict(f"A connection named {name!r} already exists. Choose another name.", code="name_taken")


async def find_connection(tx: Tx, encryption: Encryption, workspace_id: int, id_: int) -> ConnectionRecord:
    """Return a connection of a workspace; raise NotFound for any other id."""
    records = await tx.records("connections.get", workspace_id=workspace_id, id=id_)
    if not records:
        raise no_such_connection()
    return (await _read_records(tx, encryption, workspace_id, records))[0]


async def list_connections(
    tx: Tx, encryption: Encryption, workspace_id: int, before: int, n: int
) -> list[ConnectionRecord]:
    """Return a page of connections, newest first."""
    records = await tx.records("connections.list", workspace_id=workspace_id, before=before, n=n)
    return await _read_records(tx, encryption, workspace_id, records)


async def change_connection(
    tx: Tx,
    encryption: Encryption,
    connection: ConnectionRecord,
    draft: ConnectionDraft,
    report: Report | None,
    now: int,
    *,
    fixed: bool,
) -> ConnectionRecord:
    """Apply a checked draft to a connection, and return it; with `fixed`, a paused connection is enabled."""
    await tx.run("configurations.touch", area="providers", workspace_id=connection.workspace_id)
    await check_name(tx, connection.workspace_id, draft.name, connection.id)
    values = _columns(draft, connection.usable, encryption)
    await tx.run("connections.change", workspace_id=connection.workspace_id, id=connection.id, now=now, **values)
    await store_report(tx, connection.workspace_id, connection.id, report, now)
    if fixed and connection.status == "paused":
        await move_connection(tx, connection.workspace_id, connection.id, "enabled", now)
    return await find_connection(tx, encryption, connection.workspace_id, connection.id)


async def store_report(tx: Tx, workspace_id: int, id_: int, report: Report | None, now: int) -> None:
    """Store the report of a set-up check, if there is one."""
    if report is not None:
        text = _encode(report).decode()
        await tx.run("connections.set_check", workspace_id=workspace_id, id=id_, report=text, now=now)


async def apply_check(
    tx: Tx, encryption: Encryption, workspace_id: int, id_: int, version: int, report: Report, now: int
) -> ConnectionRecord:
    """Store the report of a check, and enable a paused connection that passed; return the connection.

    A connection that has changed since the checked version stays as it is.
    """
    connection = await find_connection(tx, encryption, workspace_id, id_)
    if connection.version != version:
        return connection
    await store_report(tx, workspace_id, id_, report, now)
    if passed(report) and connection.status == "paused":
        await move_connection(tx, workspace_id, id_, "enabled", now, version=version)
    return await find_connection(tx, encryption, workspace_id, id_)


def passed(report: Report | None) -> bool:
    """Return whether a check passed, perhaps with warnings."""
    return report is not None and report.result in (Result.OK, Result.WARNING)


async def switch_connection(
    tx: Tx, encryption: Encryption, workspace_id: int, id_: int, enabled: bool, now: int
) -> ConnectionRecord:
    """Enable or disable a connection by request of its owner, and return it."""
    connection = await find_connection(tx, encryption, workspace_id, id_)
    if enabled:
        # Without a connector or a required field, every message would fail.
        check_config(connection.usable, connection.config)
        await move_connection(tx, workspace_id, id_, "enabled", now)
    else:
        await move_connection(tx, workspace_id, id_, "disabled", now, reason="by_owner")
    return await find_connection(tx, encryption, workspace_id, id_)


async def delete_connection(tx: Tx, workspace_id: int, id_: int, now: int) -> None:
    """Delete a connection and its secrets. Its queued messages move to other connections of the channel, or fail."""
    if not await tx.run("connections.delete", workspace_id=workspace_id, id=id_, now=now):
        raise no_such_connection()
    await tx.run("configurations.touch", area="providers", workspace_id=workspace_id)


async def rotate_receipts_key(
    tx: Tx, encryption: Encryption, workspace_id: int, id_: int, key: str, now: int
) -> ConnectionRecord:
    """Replace the access key for receipts, and return the connection; the old key becomes invalid immediately."""
    changed = await tx.run(
        "connections.set_key", workspace_id=workspace_id, id=id_, hash=receipts_key_hash(key), now=now
    )
    if not changed:
        raise no_such_connection()
    # Other processes drop their cached keys when they reload the connections.
    await tx.run("configurations.touch", area="providers", workspace_id=workspace_id)
    return await find_connection(tx, encryption, workspace_id, id_)


async def order_connections(
    tx: Tx, encryption: Encryption, workspace_id: int, channel: str, ids: list[int], now: int
) -> list[ConnectionRecord]:
    """Order the connections of a channel: the given ones first, then the others as before; return all of them."""
    await tx.run("configurations.touch", area="providers", workspace_id=workspace_id)
    present = {
        id_: position
        for id_, position in await tx.rows("connections.order", workspace_id=workspace_id, channel=channel)
    }
    if unknown := [id_ for id_ in ids if id_ not in present]:
        raise NotFound(
            f"{len(unknown)} of these ids are not {channel} connections of this workspace. GET /v1/connections lists "
            "all connections.",
            code="unknown_connection",
        )
    named = dict.fromkeys(ids)
    order = [*named, *(id_ for id_ in present if id_ not in named)]
    for position, id_ in enumerate(order):
        if present[id_] != position:
            await tx.run("connections.place", workspace_id=workspace_id, id=id_, position=position, now=now)
    return [await find_connection(tx, encryption, workspace_id, id_) for id_ in order]


async def _read_records(
    tx: Tx, encryption: Encryption, workspace_id: int, records: list[dict[str, Any]]
) -> list[ConnectionRecord]:
    connectors: dict[str, Connector | None] = {}
    for name in {record["connector"] for record in records}:
        try:
            connectors[name] = await find_connector(tx, workspace_id, name)
        except Error:
            # The connection is returned without a connector, so that its owner can correct it.
            connectors[name] = None
    return [_read_record(record, connectors[record["connector"]], encryption) for record in records]


def _read_record(record: dict[str, Any], connector: Connector | None, encryption: Encryption) -> ConnectionRecord:
    config = open_config(record, encryption)
    return ConnectionRecord(
        **{name: record[name] for name in _PLAIN},
        config=complete(connector, config) if connector is not None else {},
        connector=connector,
        connector_name=record["connector"],
        report=_read_report(record["check_report"]),
    )


_PLAIN = tuple(set(ConnectionRecord.__struct_fields__) - {"config", "connector", "connector_name", "report"})


def _read_report(text: str | None) -> Report | None:
    try:
        return None if text is None else _report.decode(text)
    except msgspec.DecodeError:
        # Written by another version of Waypost; the next check replaces it.
        return None


def _columns(draft: ConnectionDraft, connector: Connector, encryption: Encryption) -> dict[str, Any]:
    hidden = connector.secrets
    return {
        "name": draft.name,
        "config": _encode({name: value for name, value in draft.config.items() if name not in hidden}).decode(),
        "secrets": encryption.encrypt(
            _encode({name: value for name, value in draft.config.items() if name in hidden}).decode()
        ),
        "position": draft.position,
        "per_second": draft.per_second,
        "concurrency": draft.concurrency,
        "validity_s": draft.validity_s,
        "data_center": None if draft.data_center == GLOBAL else draft.data_center,
    }


def _redact(report: Report, masker: Masker) -> Report:
    """Return the report without the secrets that a provider may repeat in its texts."""

    def mask(text: str | None) -> str | None:
        return text and masker.mask(text)

    checks = tuple(
        msgspec.structs.replace(check, detail=mask(check.detail), error=mask(check.error)) for check in report.checks
    )
    return msgspec.structs.replace(report, checks=checks)
