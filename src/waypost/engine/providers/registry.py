"""The connections that a process sends through: loaded into memory, and paused until an operator corrects them.

   ┌── refused by its provider ──▶ paused ──────────┐
   │                                 │              │
enabled ◀── corrected: enabled, ─────┘              │
 │   ▲      new credentials, a passed check         │ by its owner
 │   └──── enabled by its owner ── disabled ◀───────┤
 └──────────────────────────────────────────────────┘
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import structlog

from waypost.clock import SECOND, Ids, now_us
from waypost.domain.messaging.message import SendOutcome, Verdict
from waypost.domain.providers.connection import Connection, same_account
from waypost.domain.providers.connector import Connector
from waypost.domain.values.circuit_breaker import CircuitBreaker, note
from waypost.domain.values.ids import public
from waypost.engine.accounts.notices import paused_notice
from waypost.engine.providers.connectors import find_connector
from waypost.engine.runtime.encryption import Encryption
from waypost.errors import Error, NotFound
from waypost.storage.database import Database, Tx

log = structlog.get_logger()

#: The data center that always exists: the public URL of this server, unless the settings define another.
GLOBAL = "global"
TRACKER_PATH = "/tracking/amazon-pinpoint-events"
#: The reason of a connection that is paused because the definition of its connector is missing or not valid.
UNREADABLE = "definition_unreadable"
#: The statuses from which a connection can change to a status.
SOURCES = {
    "enabled": ("paused", "disabled"),
    "paused": ("enabled",),
    "disabled": ("enabled", "paused"),
}
#: How long look-ups of receipt keys and of unknown ids are cached, misses included.
CACHED = 5 * SECOND
#: The most keys, and the most ids, that are cached.
MOST_CACHED = 10_000
#: Firehose's own limit for access keys.
LONGEST_KEY = 4096
LONGEST_ERROR = 500

_object = msgspec.json.Decoder(dict[str, Any])


class _Snapshot(msgspec.Struct, frozen=True):
    """The connections of one workspace at one version."""

    version: int
    connections: dict[int, Connection]
    #: The enabled connections of each channel, in the order in which they are tried.
    order: dict[str, list[Connection]]


class ConnectionRegistry:
    """All connections except deleted ones, in memory. `refresh` loads the changes of other processes."""

    def __init__(self, database: Database, encryption: Encryption, data_centers: Mapping[str, str]) -> None:
        self._database = database
        self._encryption = encryption
        #: Public URLs by name of the data center.
        self.data_centers = dict(data_centers)
        self._snapshots: dict[int, _Snapshot] = {}
        self._by_number: dict[int, Connection] = {}
        #: By digest of a key: its workspace and connection, and until when they are cached.
        self._keys: dict[str, tuple[tuple[int, int] | None, int]] = {}
        #: Unknown ids, and until when they are cached.
        self._absent: dict[int, int] = {}
        #: Enabled connections without a valid connector: workspace, version and error.
        self._unreadable: dict[int, tuple[int, int, str]] = {}
        #: The circuit breakers of the connections that this process sends through.
        self._health: dict[int, CircuitBreaker] = {}

    async def refresh(self, workspaces: Iterable[int] | None = None) -> None:
        """Reload the connections of these workspaces, or of all, that have changed; a small query if none has."""
        given = None if workspaces is None else list(workspaces)
        for id_, snapshot in (await self._database.read(self._load, given)).items():
            before = self._snapshots.get(id_)
            if before is not None and before.version >= snapshot.version:
                continue
            self._snapshots[id_] = snapshot
            for gone in set(before.connections) - set(snapshot.connections) if before else ():
                self._by_number.pop(gone, None)
                self._health.pop(gone, None)
            self._by_number.update(snapshot.connections)
            self._keys.clear()
            self._absent.clear()

    async def pause_unreadable(self, ids: Ids, now: int) -> None:
        """Pause the connections without a valid connector, and notify their operators."""
        for id_, (workspace_id, version, error) in list(self._unreadable.items()):
            await self._database.transact(
                pause_connection, workspace_id, id_, version, UNREADABLE, error, ids.one(now), now, cause="unreadable"
            )
            self._unreadable.pop(id_, None)

    async def load_all(self) -> None:
        """Load the connections of all workspaces. Called at the start, so that a wrong secret key is detected then."""
        await self.refresh()

    def get(self, workspace_id: int, connection_id: int) -> Connection | None:
        """Return a loaded connection of this workspace, or None."""
        found = self._by_number.get(connection_id)
        return found if found is not None and found.workspace_id == workspace_id else None

    def by_number(self, connection_id: int) -> Connection | None:
        """Return a loaded connection of any workspace, or None."""
        return self._by_number.get(connection_id)

    def same_account(self, one: int, other: int) -> bool:
        """Return whether two connections belong to the same account at a provider, in the same workspace."""
        first, second = self._by_number.get(one), self._by_number.get(other)
        return first is not None and second is not None and same_account(first, second)

    def for_channel(self, workspace_id: int, channel: str) -> list[Connection]:
        """Return the enabled connections of a channel in the order in which they are tried. Do not modify the list."""
        snapshot = self._snapshots.get(workspace_id)
        return snapshot.order.get(channel, []) if snapshot else []

    def note(self, connection: Connection, verdicts: list[Verdict], now: int, base_s: float) -> None:
        """Record the result of a call in the circuit breaker of its connection."""
        if connection.id not in self._by_number:
            # The connection was deleted during the call.
            return
        health = self._health.setdefault(connection.id, CircuitBreaker())
        if note(health, failure_of(verdicts), now, base_s):
            log.warning(
                "calls through a connection fail repeatedly",
                action="connection_failing",
                connection=public("con", connection.id),
                reason=health.reason,
                detail=health.detail,
            )

    def health(self, connection_id: int) -> CircuitBreaker:
        """Return the circuit breaker of a connection in this process."""
        return self._health.get(connection_id) or CircuitBreaker()

    def failing(self, connection_id: int) -> bool:
        """Return whether the circuit of a connection is open, so that another one should be used if possible."""
        return self.health(connection_id).failing(now_us())

    def preferred(self, workspace_id: int, channel: str) -> list[Connection]:
        """Return the enabled connections of a channel, with failing ones at the end."""
        order = self.for_channel(workspace_id, channel)
        return sorted(order, key=lambda connection: self.failing(connection.id))

    def paused(self, workspace_id: int, channel: str) -> list[Connection]:
        """Return the paused connections of a channel in their order."""
        found = [
            connection
            for connection in self._by_number.values()
            if (connection.workspace_id, connection.channel, connection.status) == (workspace_id, channel, "paused")
        ]
        return sorted(found, key=lambda connection: (connection.position, connection.id))

    def all(self) -> list[Connection]:
        """Return the connections of all workspaces."""
        return list(self._by_number.values())

    async def find(self, workspace_id: int, connection_id: int) -> Connection:
        """Return a connection of this workspace, even one just created elsewhere; raise NotFound for an unknown id."""
        found = await self.by_id(connection_id)
        if found is None or found.workspace_id != workspace_id:
            raise no_such_connection()
        return found

    async def by_id(self, connection_id: int) -> Connection | None:
        """Return a connection of any workspace, or None. Unknown ids are cached, because clients may send any id."""
        if (found := self._by_number.get(connection_id)) is not None:
            return found
        now = now_us()
        if self._absent.get(connection_id, 0) > now:
            return None
        workspace_id = await self._database.read(_workspace_of, connection_id)
        if workspace_id is not None:
            await self.refresh([workspace_id])
        elif len(self._absent) >= MOST_CACHED:
            self._absent.clear()
        if (found := self._by_number.get(connection_id)) is None:
            self._absent[connection_id] = now + CACHED
        return found

    async def by_receipts_key(self, key: str) -> tuple[int, int] | None:
        """Return the workspace and the connection of an access key for receipts, or None."""
        if not key or len(key) > LONGEST_KEY:
            return None
        hash_, now = receipts_key_hash(key), now_us()
        known = self._keys.get(hash_)
        if known is not None and known[1] > now:
            return known[0]
        found = await self._database.read(_connection_of_key, hash_)
        if len(self._keys) >= MOST_CACHED:
            self._keys.clear()
        self._keys[hash_] = (found, now + CACHED)
        return found

    def center_url(self, data_center: str | None) -> str:
        """Return the public URL of a data center; that of the global one if it is None or no longer exists."""
        return self.data_centers.get(data_center or GLOBAL) or self.data_centers[GLOBAL]

    def tracker_url(self, data_center: str | None) -> str:
        """Return the URL to which Firehose sends the receipts of connections with this data center."""
        return self.center_url(data_center) + TRACKER_PATH

    def callback_url(self, connection: Connection) -> str:
        """Return the URL to which the provider of a connection sends receipts, except AWS."""
        return self.receipts_url(connection.id, connection.data_center)

    def receipts_url(self, connection_id: int, data_center: str | None) -> str:
        """Return the callback URL for the id and the data center of a connection."""
        return f"{self.center_url(data_center)}/receipts/{public('con', connection_id)}"

    async def _load(self, tx: Tx, workspaces: list[int] | None) -> dict[int, _Snapshot]:
        if workspaces is None:
            versions = await tx.rows("configurations.all", area="providers")
        else:
            versions = await tx.rows("configurations.versions", ids=workspaces, area="providers")
        known = self._snapshots
        stale = {id_: version for id_, version in versions if id_ not in known or known[id_].version < version}
        if not stale:
            return {}
        fresh: dict[int, dict[int, Connection]] = {id_: {} for id_ in stale}
        for record in await tx.records("connections.of_workspaces", ids=list(stale)):
            workspace_id, id_ = record["workspace_id"], record["id"]
            before = self.get(workspace_id, id_)
            # Decryption is slow, so the secrets of an unchanged connection are not decrypted again.
            if before is None or before.version != record["version"]:
                try:
                    connector = await find_connector(tx, workspace_id, record["connector"])
                except Error as error:
                    log.warning(
                        "a connection has no connector",
                        action="connection_unusable",
                        connection=public("con", id_),
                        error=error.detail,
                    )
                    if record["status"] == "enabled":
                        self._unreadable[id_] = (workspace_id, record["version"], error.detail)
                    continue
                before = _open(record, connector, self._encryption)
            fresh[workspace_id][id_] = before
        return {id_: _Snapshot(version, fresh[id_], _order(fresh[id_])) for id_, version in stale.items()}


def _order(connections: dict[int, Connection]) -> dict[str, list[Connection]]:
    found: dict[str, list[Connection]] = {}
    for connection in sorted(connections.values(), key=lambda connection: (connection.position, connection.id)):
        if connection.status == "enabled":
            found.setdefault(connection.channel, []).append(connection)
    return found


def failure_of(verdicts: list[Verdict]) -> tuple[str | None, str | None] | None:
    """Return reason and detail of a failed call, or None if it did not fail.

    A call failed if the provider certainly accepted none of its messages, or responded with 5xx: during an outage the
    rest of the queue must not become `unknown` as well. A refused number, or a missing response, is not an outage.
    """
    if not all(verdict.outcome is SendOutcome.RETRY or _is_outage(verdict) for verdict in verdicts):
        return None
    return verdicts[-1].reason, verdicts[-1].detail


def _is_outage(verdict: Verdict) -> bool:
    return verdict.outcome is SendOutcome.UNKNOWN and verdict.reason == "provider_5xx"


def receipts_key_hash(key: str) -> str:
    """Return the stored digest of an access key for receipts. The key is long and random, so a digest needs no salt."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def no_such_connection() -> NotFound:
    """Return the error for a connection that does not exist in the workspace."""
    return NotFound(
        "The connection does not exist in this workspace. GET /v1/connections lists all connections.",
        code="unknown_connection",
    )


def open_config(record: dict[str, Any], encryption: Encryption) -> dict[str, Any]:
    """Return the configuration in a row of `connections`, with secrets decrypted."""
    return _object.decode(record["config"]) | _object.decode(encryption.decrypt(record["secrets"]))


def complete(connector: Connector, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value of every field of a connector; its definition may have got new fields since the last check."""
    empty: dict[str, Any] = {"text": "", "choice": "", "boolean": False, "number": None}
    return {
        field.name: given[field.name]
        if field.name in given
        else empty[field.kind]
        if field.default is None
        else field.default
        for field in connector.fields
    }


def _open(record: dict[str, Any], connector: Connector, encryption: Encryption) -> Connection:
    return Connection(
        id=record["id"],
        workspace_id=record["workspace_id"],
        name=record["name"],
        connector=connector,
        config=complete(connector, open_config(record, encryption)),
        status=record["status"],
        position=record["position"],
        # The connector has the initial limit of the provider; a connection can have a higher one.
        per_second=record["per_second"] or connector.per_second,
        concurrency=record["concurrency"] or connector.concurrency,
        validity_s=record["validity_s"] or connector.validity_s,
        data_center=record["data_center"] or "",
        version=record["version"],
    )


async def move_connection(
    tx: Tx,
    workspace_id: int,
    id_: int,
    status: str,
    now: int,
    *,
    reason: str | None = None,
    error: str | None = None,
    version: int | None = None,
) -> bool:
    """Change the status of a connection; return whether it changed.

    With a version, change it only if the connection still has that version.
    """
    moved = await tx.run(
        "connections.move",
        workspace_id=workspace_id,
        id=id_,
        status=status,
        reason=reason,
        error=error,
        version=version,
        sources=list(SOURCES[status]),
        now=now,
    )
    if moved:
        await tx.run("configurations.touch", area="providers", workspace_id=workspace_id)
    return moved == 1


async def pause_connection(
    tx: Tx,
    workspace_id: int,
    id_: int,
    version: int,
    reason: str,
    detail: str,
    notice_id: int,
    now: int,
    *,
    cause: str = "refused",
) -> bool:
    """Pause a connection that cannot send, and notify its operators; return whether it was enabled before.

    A connection that has changed since this version is not paused: it may be corrected already.
    """
    detail = detail[:LONGEST_ERROR].replace("\0", "")
    moved = await move_connection(
        tx, workspace_id, id_, "paused", now, reason=reason[:64], error=detail, version=version
    )
    if moved:
        records = await tx.records("connections.get", workspace_id=workspace_id, id=id_)
        await tx.insert("notices.add", [paused_notice(notice_id, records[0], detail, now, cause=cause)])
    return moved


async def _workspace_of(tx: Tx, connection_id: int) -> int | None:
    row = await tx.row("connections.workspace", id=connection_id)
    return None if row is None else int(row[0])


async def _connection_of_key(tx: Tx, hash_: str) -> tuple[int, int] | None:
    row = await tx.row("connections.by_key", hash=hash_)
    return None if row is None else (int(row[0]), int(row[1]))
