"""Connections to providers as their owners manage them: made, checked, changed, ordered, switched, deleted."""

import secrets
from collections.abc import Mapping
from typing import Any

import msgspec

from waypost.clock import Ids
from waypost.domain.providers.connection import secret_values
from waypost.domain.providers.connector import Connector, check_config
from waypost.domain.providers.setup_checks import Check, Report, Result
from waypost.domain.values.masking import Masker
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
#: The checks of set-ups without which messages go out and nobody hears of their fate.
VITAL_CHECKS = frozenset({"pinpoint", "end_user_messaging"})

_encode = msgspec.json.Encoder().encode
_report = msgspec.json.Decoder(Report)


class ConnectionDraft(msgspec.Struct, frozen=True, kw_only=True):
    """What the owner of a connection decides about it."""

    name: str
    #: Every field of the connector, secrets in the clear.
    config: dict[str, Any]
    #: None: behind all others of its channel.
    position: int | None = None
    #: None, here and below: what the connector says.
    per_second: float | None = None
    concurrency: int | None = None
    validity_s: int | None = None
    data_center: str | None = None


class ConnectionRecord(ConnectionDraft, frozen=True, kw_only=True):
    """A connection with everything that is known of it."""

    id: int
    workspace_id: int
    #: None when its definition is gone or cannot be read any more.
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
        """The connector; Conflict when there is none."""
        if self.connector is None:
            raise Conflict(
                f"The connector {self.connector_name!r} of this connection is gone or cannot be read; add it again "
                "with POST /v1/connectors.",
                code="connector_missing",
            )
        return self.connector


def check_draft(draft: ConnectionDraft, connector: Connector, data_centers: Mapping[str, str]) -> ConnectionDraft:
    """The draft as it is kept; Invalid with the first thing that is wrong with it."""
    name = draft.name.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise Invalid(
            f"The name of a connection has 1 to {LONGEST_NAME} characters that can be seen.",
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


def merge_config(account: ConnectionRecord, given: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with what is given put in: what is left out stays, null takes a value back."""
    return complete(account.usable, account.config) | dict(given)


def make_receipts_key() -> str:
    """A new key for receipts, as Firehose takes it."""
    return f"wpr_{secrets.token_urlsafe(KEY_BYTES)}"


async def prove(
    outbound: Outbound, connector: Connector, config: dict[str, Any], tracker_url: str, now: int
) -> Report | None:
    """What the connector's set-up checks find, without any secret; None when it has none. It may take a minute."""
    if not connector.checks:
        return None
    report = await check_setup(outbound, connector, config, tracker_url, now)
    return _redact(report, Masker(secret_values(connector, config)))


def require(connector: Connector, report: Report | None) -> None:
    """Nothing when a connection may be stored; Invalid with the step that stopped it otherwise.

    `setup_check_failed` says that it would not work, `setup_not_verified` that nobody could tell; the latter only of
    connectors whose receipts depend on what is set up at the provider. Of others the first message tells.
    """
    if report is None:
        return
    if (check := report.failure) is not None:
        number = f"Set-up code {check.setup_code}: " if check.setup_code else ""
        detail = f"{number}{check.meaning or check.detail or check.name} Nothing was stored."
        raise Invalid(detail, code="setup_check_failed", **_extra(check))
    if VITAL_CHECKS.intersection(connector.checks) and (check := report.unverified) is not None:
        raise Invalid(
            f"The set-up could not be checked ({check.call}: {check.detail}). That says nothing against it. Try again, "
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
    draft: ConnectionDraft,
    key: str,
    report: Report | None,
    now: int,
) -> ConnectionRecord:
    """A new connection, enabled, for a checked draft; what the set-up check found is kept with it.

    Conflict (code `connector_changed`) when the connector is no longer the one that the draft was checked against.
    """
    # First of all, so that of two at the same time the second one sees the first.
    await tx.run("configurations.touch", area="providers", workspace_id=workspace_id)
    if await find_connector(tx, workspace_id, connector.name) != connector:
        raise Conflict(
            f"The definition of the connector {connector.name!r} changed while the connection was being checked. "
            "Nothing was stored; send the connection again.",
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
    await keep_report(tx, workspace_id, id_, report, now)
    return await find_connection(tx, encryption, workspace_id, id_)


def changed_meanwhile() -> Conflict:
    """The error for a change that was checked against what is no longer so."""
    return Conflict(
        "Somebody changed this connection while the change was being checked; look at it and send yours again.",
        code="connection_changed",
    )


async def check_name(tx: Tx, workspace_id: int, name: str, own_id: int | None = None) -> None:
    """Nothing when a connection may have this name, and there is room for a new one; Conflict otherwise."""
    names = await tx.rows("connections.names", workspace_id=workspace_id)
    if own_id is None and len(names) >= MOST_CONNECTIONS:
        raise Conflict(
            f"A workspace has at most {MOST_CONNECTIONS} connections; delete one first.", code="too_many_connections"
        )
    if any(id_ != own_id and known == name for id_, known in names):
        raise Conflict(
            f"There is a connection named {name!r} already; people tell them apart by their names.", code="name_taken"
        )


async def find_connection(tx: Tx, encryption: Encryption, workspace_id: int, id_: int) -> ConnectionRecord:
    """A connection of a workspace; NotFound for any other."""
    records = await tx.records("connections.get", workspace_id=workspace_id, id=id_)
    if not records:
        raise absent()
    return (await _open_accounts(tx, encryption, workspace_id, records))[0]


async def list_connections(
    tx: Tx, encryption: Encryption, workspace_id: int, before: int, n: int
) -> list[ConnectionRecord]:
    """Connections, newest first."""
    records = await tx.records("connections.list", workspace_id=workspace_id, before=before, n=n)
    return await _open_accounts(tx, encryption, workspace_id, records)


async def change_connection(
    tx: Tx,
    encryption: Encryption,
    account: ConnectionRecord,
    draft: ConnectionDraft,
    report: Report | None,
    now: int,
    *,
    fixed: bool,
) -> ConnectionRecord:
    """The connection as a checked draft has it; one that is paused goes on where it is fixed."""
    await tx.run("configurations.touch", area="providers", workspace_id=account.workspace_id)
    await check_name(tx, account.workspace_id, draft.name, account.id)
    values = _columns(draft, account.usable, encryption)
    await tx.run("connections.change", workspace_id=account.workspace_id, id=account.id, now=now, **values)
    await keep_report(tx, account.workspace_id, account.id, report, now)
    if fixed and account.status == "paused":
        await move_connection(tx, account.workspace_id, account.id, "enabled", now)
    return await find_connection(tx, encryption, account.workspace_id, account.id)


async def keep_report(tx: Tx, workspace_id: int, id_: int, report: Report | None, now: int) -> None:
    """Keep what a set-up check found, if there was one."""
    if report is not None:
        text = _encode(report).decode()
        await tx.run("connections.set_check", workspace_id=workspace_id, id=id_, report=text, now=now)


async def settle_check(
    tx: Tx, encryption: Encryption, workspace_id: int, id_: int, version: int, report: Report, now: int
) -> ConnectionRecord:
    """The connection with what a check found; one that is paused and was found sound goes on.

    Does nothing to a connection that was changed since the version that was checked.
    """
    account = await find_connection(tx, encryption, workspace_id, id_)
    if account.version != version:
        return account
    await keep_report(tx, workspace_id, id_, report, now)
    if passed(report) and account.status == "paused":
        await move_connection(tx, workspace_id, id_, "enabled", now, version=version)
    return await find_connection(tx, encryption, workspace_id, id_)


def passed(report: Report | None) -> bool:
    """Whether a check found the set-up to be sound."""
    return report is not None and report.result in (Result.OK, Result.WARNING)


async def switch_connection(
    tx: Tx, encryption: Encryption, workspace_id: int, id_: int, enabled: bool, now: int
) -> ConnectionRecord:
    """The connection, enabled or disabled by its owner; nothing changes when it is so already."""
    account = await find_connection(tx, encryption, workspace_id, id_)
    if enabled:
        # Without a connector, or something that it needs, every message would fail.
        check_config(account.usable, account.config)
        await move_connection(tx, workspace_id, id_, "enabled", now)
    else:
        await move_connection(tx, workspace_id, id_, "disabled", now, reason="by_owner")
    return await find_connection(tx, encryption, workspace_id, id_)


async def delete_connection(tx: Tx, workspace_id: int, id_: int, now: int) -> None:
    """Delete a connection and its secrets; what is queued for it goes to others of its channel, or fails."""
    if not await tx.run("connections.delete", workspace_id=workspace_id, id=id_, now=now):
        raise absent()
    await tx.run("configurations.touch", area="providers", workspace_id=workspace_id)


async def rotate_receipts_key(
    tx: Tx, encryption: Encryption, workspace_id: int, id_: int, key: str, now: int
) -> ConnectionRecord:
    """The connection with a new key for receipts; the one before it ends at once."""
    changed = await tx.run(
        "connections.set_key", workspace_id=workspace_id, id=id_, hash=receipts_key_hash(key), now=now
    )
    if not changed:
        raise absent()
    # What others remember of keys is forgotten with their connections.
    await tx.run("configurations.touch", area="providers", workspace_id=workspace_id)
    return await find_connection(tx, encryption, workspace_id, id_)


async def order_connections(
    tx: Tx, encryption: Encryption, workspace_id: int, channel: str, ids: list[int], now: int
) -> list[ConnectionRecord]:
    """The connections of a channel in their new order: those named, then the others as they were."""
    await tx.run("configurations.touch", area="providers", workspace_id=workspace_id)
    present = {
        id_: position
        for id_, position in await tx.rows("connections.order", workspace_id=workspace_id, channel=channel)
    }
    if unknown := [id_ for id_ in ids if id_ not in present]:
        raise NotFound(
            f"{len(unknown)} of these are no connections for {channel} in this workspace; GET /v1/connections lists "
            "them.",
            code="unknown_connection",
        )
    named = dict.fromkeys(ids)
    order = [*named, *(id_ for id_ in present if id_ not in named)]
    for position, id_ in enumerate(order):
        if present[id_] != position:
            await tx.run("connections.place", workspace_id=workspace_id, id=id_, position=position, now=now)
    return [await find_connection(tx, encryption, workspace_id, id_) for id_ in order]


async def _open_accounts(
    tx: Tx, encryption: Encryption, workspace_id: int, records: list[dict[str, Any]]
) -> list[ConnectionRecord]:
    connectors: dict[str, Connector | None] = {}
    for name in {record["connector"] for record in records}:
        try:
            connectors[name] = await find_connector(tx, workspace_id, name)
        except Error:
            # Shown as it is, so that somebody can do something about it.
            connectors[name] = None
    return [_open_account(record, connectors[record["connector"]], encryption) for record in records]


def _open_account(record: dict[str, Any], connector: Connector | None, encryption: Encryption) -> ConnectionRecord:
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
        # Another version of Waypost wrote it; the next check says it anew.
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
    """Return the report without the secrets that a provider may repeat in its words."""

    def mask(words: str | None) -> str | None:
        return words and masker.mask(words)

    checks = tuple(
        msgspec.structs.replace(check, detail=mask(check.detail), error=mask(check.error)) for check in report.checks
    )
    return msgspec.structs.replace(report, checks=checks)
