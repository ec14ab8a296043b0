"""Connections as the engine uses them: read once, kept in memory, and paused when somebody has to mend them.

   ┌── refused by its provider ──▶ paused ──────────┐
   │                                 │              │
enabled ◀── mended: enabled, ────────┘              │
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

#: The data center that is always there: this server's public URL, unless the setting says another.
GLOBAL = "global"
TRACKER_PATH = "/tracking/amazon-pinpoint-events"
#: Why a connection is paused whose connector is gone or cannot be read.
UNREADABLE = "definition_unreadable"
#: From where a connection may come to a status.
SOURCES = {
    "enabled": ("paused", "disabled"),
    "paused": ("enabled",),
    "disabled": ("enabled", "paused"),
}
#: For so long it is remembered whose a key for receipts is, or that it is nobody's; likewise ids that are not there.
REMEMBERED = 5 * SECOND
#: Keys and ids that are remembered at most.
MOST_REMEMBERED = 10_000
#: Firehose's own limit for access keys.
LONGEST_KEY = 4096
LONGEST_ERROR = 500

_object = msgspec.json.Decoder(dict[str, Any])


class _Snapshot(msgspec.Struct, frozen=True):
    """The connections of one workspace at one version."""

    version: int
    connections: dict[int, Connection]
    #: The enabled ones of each channel, in the order in which they are tried.
    order: dict[str, list[Connection]]


class ConnectionRegistry:
    """All connections but deleted ones, in memory; what changes elsewhere is known after the next `refresh`."""

    def __init__(self, database: Database, encryption: Encryption, data_centers: Mapping[str, str]) -> None:
        self._database = database
        self._encryption = encryption
        #: Public URLs by name of the data center.
        self.data_centers = dict(data_centers)
        self._snapshots: dict[int, _Snapshot] = {}
        self._by_number: dict[int, Connection] = {}
        #: By digest of a key: whose it is, and until when that is believed.
        self._keys: dict[str, tuple[tuple[int, int] | None, int]] = {}
        #: Ids that are nobody's, and until when that is believed.
        self._absent: dict[int, int] = {}
        #: Enabled connections whose connector cannot be read: their workspace and version, and why.
        self._unreadable: dict[int, tuple[int, int, str]] = {}
        #: How those fare that this process sends through.
        self._health: dict[int, CircuitBreaker] = {}

    async def refresh(self, workspaces: Iterable[int] | None = None) -> None:
        """Read again the connections of workspaces that changed, of all workspaces when none are given.

        One small query when nothing changed.
        """
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
        """Pause the connections whose connector cannot be read, and say so to whoever runs them."""
        for id_, (workspace_id, version, words) in list(self._unreadable.items()):
            await self._database.transact(
                pause_connection, workspace_id, id_, version, UNREADABLE, words, ids.one(now), now, cause="unreadable"
            )
            self._unreadable.pop(id_, None)

    async def load_all(self) -> None:
        """Read the connections of every workspace; at the start, so that a wrong secret key is found out then."""
        await self.refresh()

    def get(self, workspace_id: int, connection_id: int) -> Connection | None:
        """A connection of this workspace."""
        found = self._by_number.get(connection_id)
        return found if found is not None and found.workspace_id == workspace_id else None

    def by_number(self, connection_id: int) -> Connection | None:
        """A connection of any workspace."""
        return self._by_number.get(connection_id)

    def same_account(self, one: int, other: int) -> bool:
        """Whether two connections belong to the same account at a provider, in the same workspace."""
        first, second = self._by_number.get(one), self._by_number.get(other)
        return first is not None and second is not None and same_account(first, second)

    def for_channel(self, workspace_id: int, channel: str) -> list[Connection]:
        """The enabled connections of a channel in the order in which they are tried; not to be changed."""
        snapshot = self._snapshots.get(workspace_id)
        return snapshot.order.get(channel, []) if snapshot else []

    def note(self, connection: Connection, verdicts: list[Verdict], now: int, base_s: float) -> None:
        """Take note of what a call came to; a connection that takes nothing, again and again, is spared for a while."""
        if connection.id not in self._by_number:
            # It was deleted while the call was under way: nothing is sent through it any more.
            return
        health = self._health.setdefault(connection.id, CircuitBreaker())
        if note(health, failure_of(verdicts), now, base_s):
            log.warning(
                "a connection takes nothing",
                action="connection_failing",
                connection=public("con", connection.id),
                reason=health.reason,
                detail=health.detail,
            )

    def health(self, connection_id: int) -> CircuitBreaker:
        """How a connection fares, as far as this process has seen."""
        return self._health.get(connection_id) or CircuitBreaker()

    def failing(self, connection_id: int) -> bool:
        """Whether a connection took nothing lately, so that another one should be used where there is one."""
        return self.health(connection_id).failing(now_us())

    def preferred(self, workspace_id: int, channel: str) -> list[Connection]:
        """The enabled connections of a channel, those that fail last."""
        order = self.for_channel(workspace_id, channel)
        return sorted(order, key=lambda connection: self.failing(connection.id))

    def paused(self, workspace_id: int, channel: str) -> list[Connection]:
        """The connections of a channel that somebody has to mend, in their order."""
        found = [
            connection
            for connection in self._by_number.values()
            if (connection.workspace_id, connection.channel, connection.status) == (workspace_id, channel, "paused")
        ]
        return sorted(found, key=lambda connection: (connection.position, connection.id))

    def all(self) -> list[Connection]:
        """Every connection of every workspace."""
        return list(self._by_number.values())

    async def find(self, workspace_id: int, connection_id: int) -> Connection:
        """A connection of this workspace, even one that was made a moment ago elsewhere; NotFound for any other."""
        found = await self.by_id(connection_id)
        if found is None or found.workspace_id != workspace_id:
            raise absent()
        return found

    async def by_id(self, connection_id: int) -> Connection | None:
        """A connection of any workspace; strangers may ask for ids that never were."""
        if (found := self._by_number.get(connection_id)) is not None:
            return found
        now = now_us()
        if self._absent.get(connection_id, 0) > now:
            return None
        workspace_id = await self._database.read(_workspace_of, connection_id)
        if workspace_id is not None:
            await self.refresh([workspace_id])
        elif len(self._absent) >= MOST_REMEMBERED:
            self._absent.clear()
        if (found := self._by_number.get(connection_id)) is None:
            self._absent[connection_id] = now + REMEMBERED
        return found

    async def by_receipts_key(self, key: str) -> tuple[int, int] | None:
        """The workspace and the connection that a key for receipts belongs to."""
        if not key or len(key) > LONGEST_KEY:
            return None
        hash_, now = receipts_key_hash(key), now_us()
        known = self._keys.get(hash_)
        if known is not None and known[1] > now:
            return known[0]
        found = await self._database.read(_holder_of, hash_)
        if len(self._keys) >= MOST_REMEMBERED:
            self._keys.clear()
        self._keys[hash_] = (found, now + REMEMBERED)
        return found

    def center_url(self, data_center: str | None) -> str:
        """The public URL of a data center; of the global one where none is named, or one that is not there any more."""
        return self.data_centers.get(data_center or GLOBAL) or self.data_centers[GLOBAL]

    def tracker_url(self, data_center: str | None) -> str:
        """Where Firehose sends the receipts of connections with this data center."""
        return self.center_url(data_center) + TRACKER_PATH

    def callback_url(self, connection: Connection) -> str:
        """Where a connection's provider sends its receipts, unless it is AWS."""
        return self.receipts_url(connection.id, connection.data_center)

    def receipts_url(self, connection_id: int, data_center: str | None) -> str:
        """The same for a connection by its id."""
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
            # Opening secrets is slow; a connection that did not change is not opened again.
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
    """Why a call failed, as reason and detail; None when it did not.

    It failed when all of its messages were surely not taken, or the provider answered with an error of its own (5xx):
    in an outage the rest of the queue must not become `unknown` as well. A provider that refuses a number, or does not
    answer, is there.
    """
    if not all(verdict.outcome is SendOutcome.RETRY or _is_outage(verdict) for verdict in verdicts):
        return None
    return verdicts[-1].reason, verdicts[-1].detail


def _is_outage(verdict: Verdict) -> bool:
    return verdict.outcome is SendOutcome.UNKNOWN and verdict.reason == "provider_5xx"


def receipts_key_hash(key: str) -> str:
    """What is kept of a key for receipts. It is random and long, so a plain digest cannot be turned back."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def absent() -> NotFound:
    """The error for a connection that is not there, or is somebody else's."""
    return NotFound(
        "There is no such connection in this workspace; GET /v1/connections lists those there are.",
        code="unknown_connection",
    )


def open_config(record: dict[str, Any], encryption: Encryption) -> dict[str, Any]:
    """The fields in a row of `connections`, secrets in the clear."""
    return _object.decode(record["config"]) | _object.decode(encryption.decrypt(record["secrets"]))


def complete(connector: Connector, given: Mapping[str, Any]) -> dict[str, Any]:
    """Every field of a connector with what is given for it; a definition may have got fields since that was checked."""
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
        # The connector's limit is what providers grant at first; whoever was granted more says so.
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
    """Bring a connection to a status; whether it came to it now.

    With a version, only the connection at that version moves.
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
    words: str,
    notice_id: int,
    now: int,
    *,
    cause: str = "refused",
) -> bool:
    """Pause a connection that cannot be sent through, and say so to whoever runs it; whether it was enabled until now.

    Does nothing when it was changed since the version that was sent with: it may be mended already.
    """
    words = words[:LONGEST_ERROR].replace("\0", "")
    moved = await move_connection(
        tx, workspace_id, id_, "paused", now, reason=reason[:64], error=words, version=version
    )
    if moved:
        records = await tx.records("connections.get", workspace_id=workspace_id, id=id_)
        await tx.insert("notices.add", [paused_notice(notice_id, records[0], words, now, cause=cause)])
    return moved


async def _workspace_of(tx: Tx, connection_id: int) -> int | None:
    row = await tx.row("connections.workspace", id=connection_id)
    return None if row is None else int(row[0])


async def _holder_of(tx: Tx, hash_: str) -> tuple[int, int] | None:
    row = await tx.row("connections.by_key", hash=hash_)
    return None if row is None else (int(row[0]), int(row[1]))
