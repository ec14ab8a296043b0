"""Create, check, change, order, enable, disable and delete connections to providers."""

import secrets
from collections.abc import Mapping
from typing import Any

import msgspec

from waypost.clock import Ids
from waypost.domain.providers.connector import Connector, check_config
from waypost.domain.providers.setup_checks import Check, Report, Result
from waypost.domain.values.masking import Masker, secret_values
from waypost.engine.net.outbound import Outbound
from waypost.engine.providers.connectors import find_connector
from waypost.engine.providers.registry import GLOBAL, absent, complete, move_connection, open_config, receipts_key_hash
from waypost.engine.providers.setup import check_setup
from waypost.engine.runtime.encryption import Encryption
from waypost.errors import Conflict, Error, Invalid, NotFound
from waypost.storage.database import Tx

#: Connections that a workspace may have.
MOST_CONNECTIONS = 200
LONGEST_NAME = 100
KEY_BYTES = 32
#: Checks whose failure would let messages be sent without receipts.
VITAL_CHECKS = frozenset({"pinpoint", "end_user_messaging"})

_encode = msgspec.json.Encoder().encode
_report = msgspec.json.Decoder(Report)


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a connection that its owner chooses."""

    name: str
    #: Every field of the connector, with decrypted secrets.
    config: dict[str, Any]
    #: None: after all others of its channel.
    position: int | None = None
    #: None, here and below: the connector's value.
    per_second: float | None = None
    concurrency: int | None = None
    validity_s: int | None = None
    data_center: str | None = None


class ConnectionRecord(Draft, frozen=True, kw_only=True):
    """A connection with its settings, its state and its last check."""

    id: int
    workspace_id: int
    #: None when its definition was deleted or cannot be read.
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
        """The connector; raises Conflict when there is none."""
        if self.connector is None:
            raise Conflict(
                f"The connector {self.connector_name!r} of this connection was deleted or cannot be read; add it again "
                "with POST /v1/connectors.",
                code="connector_missing",
            )
        return self.connector


def check_draft(draft: Draft, connector: Connector, data_centers: Mapping[str, str]) -> Draft:
    """Normalise a draft; raise Invalid for its first error."""
    name = draft.name.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise Invalid(
            f"A connection name must have 1 to {LONGEST_NAME} printable characters.",
            code="invalid_name",
            field="name",
        )
    if draft.data_center is not None and draft.data_center not in data_centers:
        raise Invalid(
            f"There is no data center {draft.data_center[:40]!r}; there are {', '.join(data_centers)}.",
            code="unknown_data_center",
            field="data_center",
        )
    return msgspec.structs.replace(draft, name=name, config=check_config(connector, draft.config))


def merge_config(record: ConnectionRecord, given: Mapping[str, Any]) -> dict[str, Any]:
    """Merge given fields into the configuration: an absent field keeps its value, null removes it."""
    return complete(record.usable, record.config) | dict(given)


def make_receipts_key() -> str:
    """Generate a receipts key that Firehose accepts."""
    return f"wpr_{secrets.token_urlsafe(KEY_BYTES)}"


async def prove(
    outbound: Outbound, connector: Connector, config: dict[str, Any], tracker_url: str, now: int
) -> Report | None:
    """Run the connector's set-up checks, which may take a minute; return the report without secrets, or None."""
    if not connector.checks:
        return None
    report = await check_setup(outbound, connector, config, tracker_url, now)
    return _redact(report, Masker(secret_values(connector, config)))


def require(connector: Connector, report: Report | None) -> None:
    """Raise Invalid with the failed step when a connection must not be stored.

    `setup_check_failed`: the connection would not work. `setup_not_verified`: the check could not be completed; raised
    only for connectors whose receipts depend on the set-up at the provider.
    """
    if report is None:
        return
    if (check := report.failure) is not None:
        number = f"Set-up code {check.setup_code}: " if check.setup_code else ""
        detail = f"{number}{check.meaning or check.detail or check.name} Nothing was stored."
        raise Invalid(detail, code="setup_check_failed", **_extra(check))
    if VITAL_CHECKS.intersection(connector.checks) and (check := report.unverified) is not None:
        raise Invalid(
            f"The set-up could not be checked ({check.call}: {check.detail}). The set-up may still be correct. Retry, "
            "or send `skip_check: true` to store the connection as it is. Nothing was stored.",
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
    draft: Draft,
    key: str,
    report: Report | None,
    now: int,
) -> ConnectionRecord:
    """Create an enabled connection from a checked draft; store the report of the set-up check with it."""
    # First, so that of two concurrent requests the second one sees the first.
    await tx.run("configurations.touch", area="providers", workspace_id=workspace_id)
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
    await keep_report(tx, workspace_id, id_, report, now)
    return await find_connection(tx, encryption, workspace_id, id_)


def changed_meanwhile() -> Conflict:
    """Return the error for a change that was checked against an older version."""
    return Conflict(
        "Another request changed this connection while this change was being checked. Read it again and retry.",
        code="connection_changed",
    )


async def check_name(tx: Tx, workspace_id: int, name: str, own_id: int | None = None) -> None:
    """Raise Conflict when another connection has this name, or when there are too many connections."""
    names = await tx.rows("connections.names", workspace_id=workspace_id)
    if own_id is None and len(names) >= MOST_CONNECTIONS:
        raise Conflict(
            f"A workspace has at most {MOST_CONNECTIONS} connections; delete one first.", code="too_many_connections"
        )
    if any(id_ != own_id and known == name for id_, known in names):
        raise Conflict(f"A connection named {name!r} exists already; choose another name.", code="name_taken")


async def find_connection(tx: Tx, encryption: Encryption, workspace_id: int, id_: int) -> ConnectionRecord:
    """Return a connection; raise NotFound if the workspace has none with this id."""
    records = await tx.records("connections.get", workspace_id=workspace_id, id=id_)
    if not records:
        raise absent()
    return (await _open_records(tx, encryption, workspace_id, records))[0]


async def list_connections(
    tx: Tx, encryption: Encryption, workspace_id: int, before: int, n: int
) -> list[ConnectionRecord]:
    """Return a page of connections, newest first."""
    records = await tx.records("connections.list", workspace_id=workspace_id, before=before, n=n)
    return await _open_records(tx, encryption, workspace_id, records)


async def change_connection(
    tx: Tx,
    encryption: Encryption,
    record: ConnectionRecord,
    draft: Draft,
    report: Report | None,
    now: int,
    *,
    fixed: bool,
) -> ConnectionRecord:
    """Change a connection to a checked draft and return it; enable a paused one when `fixed`."""
    await tx.run("configurations.touch", area="providers", workspace_id=record.workspace_id)
    await check_name(tx, record.workspace_id, draft.name, record.id)
    values = _columns(draft, record.usable, encryption)
    await tx.run("connections.change", workspace_id=record.workspace_id, id=record.id, now=now, **values)
    await keep_report(tx, record.workspace_id, record.id, report, now)
    if fixed and record.status == "paused":
        await move_connection(tx, record.workspace_id, record.id, "enabled", now)
    return await find_connection(tx, encryption, record.workspace_id, record.id)


async def keep_report(tx: Tx, workspace_id: int, id_: int, report: Report | None, now: int) -> None:
    """Store the report of a set-up check, if there is one."""
    if report is not None:
        text = _encode(report).decode()
        await tx.run("connections.set_check", workspace_id=workspace_id, id=id_, report=text, now=now)


async def settle_check(
    tx: Tx, encryption: Encryption, workspace_id: int, id_: int, version: int, report: Report, now: int
) -> ConnectionRecord:
    """Store the report of a check and return the connection; enable a paused one that passed.

    Does nothing to a connection that changed since the version that was checked.
    """
    record = await find_connection(tx, encryption, workspace_id, id_)
    if record.version != version:
        return record
    await keep_report(tx, workspace_id, id_, report, now)
    if passed(report) and record.status == "paused":
        await move_connection(tx, workspace_id, id_, "enabled", now, version=version)
    return await find_connection(tx, encryption, workspace_id, id_)


def passed(report: Report | None) -> bool:
    """Whether a check found no failure."""
    return report is not None and report.result in (Result.OK, Result.WARNING)


async def switch_connection(
    tx: Tx, encryption: Encryption, workspace_id: int, id_: int, enabled: bool, now: int
) -> ConnectionRecord:
    """Enable or disable a connection for its owner and return it."""
    record = await find_connection(tx, encryption, workspace_id, id_)
    if enabled:
        # Without a connector, or with a missing field, every message would fail.
        check_config(record.usable, record.config)
        await move_connection(tx, workspace_id, id_, "enabled", now)
    else:
        await move_connection(tx, workspace_id, id_, "disabled", now, reason="by_owner")
    return await find_connection(tx, encryption, workspace_id, id_)


async def delete_connection(tx: Tx, workspace_id: int, id_: int, now: int) -> None:
    """Delete a connection and its secrets; its queued messages move to others of its channel, or fail."""
    if not await tx.run("connections.delete", workspace_id=workspace_id, id=id_, now=now):
        raise absent()
    await tx.run("configurations.touch", area="providers", workspace_id=workspace_id)


async def rotate_receipts_key(
    tx: Tx, encryption: Encryption, workspace_id: int, id_: int, key: str, now: int
) -> ConnectionRecord:
    """Give a connection a new receipts key and return it; the old key stops working at once."""
    changed = await tx.run(
        "connections.set_key", workspace_id=workspace_id, id=id_, hash=receipts_key_hash(key), now=now
    )
    if not changed:
        raise absent()
    # Other processes clear their cache of keys when they reload the connections.
    await tx.run("configurations.touch", area="providers", workspace_id=workspace_id)
    return await find_connection(tx, encryption, workspace_id, id_)


async def order_connections(
    tx: Tx, encryption: Encryption, workspace_id: int, channel: str, ids: list[int], now: int
) -> list[ConnectionRecord]:
    """Order the connections of a channel: the given ones first, then the others as they were; return them."""
    await tx.run("configurations.touch", area="providers", workspace_id=workspace_id)
    present = {
        id_: position
        for id_, position in await tx.rows("connections.order", workspace_id=workspace_id, channel=channel)
    }
    if unknown := [id_ for id_ in ids if id_ not in present]:
        raise NotFound(
            f"{len(unknown)} of these ids are not connections for {channel} in this workspace; GET /v1/connections "
            "lists them.",
            code="unknown_connection",
        )
    named = dict.fromkeys(ids)
    order = [*named, *(id_ for id_ in present if id_ not in named)]
    for position, id_ in enumerate(order):
        if present[id_] != position:
            await tx.run("connections.place", workspace_id=workspace_id, id=id_, position=position, now=now)
    return [await find_connection(tx, encryption, workspace_id, id_) for id_ in order]


async def _open_records(
    tx: Tx, encryption: Encryption, workspace_id: int, records: list[dict[str, Any]]
) -> list[ConnectionRecord]:
    connectors: dict[str, Connector | None] = {}
    for name in {record["connector"] for record in records}:
        try:
            connectors[name] = await find_connector(tx, workspace_id, name)
        except Error:
            # Return the connection without a connector, so that its owner can fix or delete it.
            connectors[name] = None
    return [_open_record(record, connectors[record["connector"]], encryption) for record in records]


def _open_record(record: dict[str, Any], connector: Connector | None, encryption: Encryption) -> ConnectionRecord:
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
        # Another version of Waypost wrote the report; the next check replaces it.
        return None


def _columns(draft: Draft, connector: Connector, encryption: Encryption) -> dict[str, Any]:
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
    """Mask secrets that a provider repeats in its responses."""

    def mask(words: str | None) -> str | None:
        return words and masker.mask(words)

    checks = tuple(
        msgspec.structs.replace(check, detail=mask(check.detail), error=mask(check.error)) for check in report.checks
    )
    return msgspec.structs.replace(report, checks=checks)
