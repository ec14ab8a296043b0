"""Manage the connectors that workspaces add, which are stored as TOML."""

from typing import Any

import msgspec
import structlog

from waypost.clock import Ids
from waypost.domain.providers.connection_config import check_config
from waypost.domain.providers.connector import Connector
from waypost.domain.providers.definition import parse_own_connector
from waypost.engine.accounts.notices import paused_notice
from waypost.engine.providers.connectors import read_own, shipped
from waypost.engine.providers.registry import LONGEST_ERROR, SOURCES, UNREADABLE, complete, open_config
from waypost.engine.runtime.encryption import Encryption
from waypost.errors import Conflict, Invalid, NotFound
from waypost.storage.database import Tx

log = structlog.get_logger()

#: The reason of a connection that is paused because it lacks a field required by a new definition of its connector.
REDEFINED = "definition_changed"
#: The most connectors that a workspace can add.
MOST_CONNECTORS = 100


class Own(msgspec.Struct, frozen=True, kw_only=True):
    """A workspace's own connector."""

    connector: Connector
    definition: str
    created_at: int
    updated_at: int


def read_definition(definition: str) -> Connector:
    """Parse the definition of a connector to add; raise Invalid (code `invalid_connector`) with line and reason."""
    return parse_own_connector(definition, "the definition")


async def save_definition(
    tx: Tx, ids: Ids, encryption: Encryption, workspace_id: int, definition: str, now: int
) -> Own:
    """Add a connector, or replace the workspace's own connector of the same name; return it.

    Its connections use the new definition immediately. A connection that lacks a required field is paused; one that was
    paused for this reason and now has all fields is enabled. Raises Conflict if there are too many connectors (code
    `too_many_connectors`), or if connections exist and the channel would change (code `connector_in_use`).
    """
    connector = read_definition(definition)
    name = connector.name
    # First, so that a concurrent transaction that creates a connection is visible here, or sees the new definition.
    await tx.run("configurations.touch", area="providers", workspace_id=workspace_id)
    row = await tx.row("connectors.get", workspace_id=workspace_id, name=name)
    if row is None:
        counted = await tx.row("connectors.count", workspace_id=workspace_id)
        if counted is not None and counted[0] >= MOST_CONNECTORS:
            raise Conflict(
                f"A workspace can add at most {MOST_CONNECTORS} connectors. Delete one first.",
                code="too_many_connectors",
            )
    used = await tx.rows("connectors.connections", workspace_id=workspace_id, name=name)
    if any(channel != connector.channel for channel, _ in used):
        raise Conflict(
            f"Connections use {name!r} for the channel {used[0][0]!r}. Give this connector another name.",
            code="connector_in_use",
        )
    await tx.run("connectors.put", workspace_id=workspace_id, name=name, definition=definition, now=now)
    await _adopt(tx, ids, encryption, workspace_id, connector, now)
    await _touch(tx, workspace_id, name, now)
    return Own(connector=connector, definition=definition, created_at=row[1] if row else now, updated_at=now)


async def list_own(tx: Tx, workspace_id: int) -> list[Own]:
    """Return the workspace's own connectors by name; definitions that are not valid in this version are logged."""
    found = []
    for name, definition, created_at, updated_at in await tx.rows("connectors.list", workspace_id=workspace_id):
        try:
            connector = read_own(definition, name)
        except Invalid as error:
            log.warning(
                "a connector definition is not valid", action="connector_unreadable", name=name, error=error.detail
            )
            continue
        found.append(Own(connector=connector, definition=definition, created_at=created_at, updated_at=updated_at))
    return found


async def find_own(tx: Tx, workspace_id: int, name: str) -> Own | None:
    """Return the workspace's own connector of this name, or None."""
    row = await tx.row("connectors.get", workspace_id=workspace_id, name=name)
    if row is None:
        return None
    return Own(connector=read_own(row[0], name), definition=row[0], created_at=row[1], updated_at=row[2])


async def delete_definition(tx: Tx, ids: Ids, encryption: Encryption, workspace_id: int, name: str, now: int) -> None:
    """Delete one of the workspace's own connectors.

    Raises NotFound (code `unknown_connector`) if it does not exist, and Conflict (code `connector_in_use`) if it has
    connections, unless a built-in connector of the same name replaces it.
    """
    await tx.run("configurations.touch", area="providers", workspace_id=workspace_id)
    row = await tx.row("connectors.get", workspace_id=workspace_id, name=name)
    if row is None:
        raise NotFound(
            f"The connector {name[:64]!r} is not one of this workspace's own connectors.", code="unknown_connector"
        )
    used = await tx.rows("connectors.connections", workspace_id=workspace_id, name=name)
    if used and name not in shipped():
        count = sum(number for _, number in used)
        raise Conflict(f"{count} connections use {name!r}. Delete them first.", code="connector_in_use")
    await tx.run("connectors.delete", workspace_id=workspace_id, name=name)
    if used:
        await _adopt(tx, ids, encryption, workspace_id, shipped()[name], now)
    await _touch(tx, workspace_id, name, now)


async def _adopt(tx: Tx, ids: Ids, encryption: Encryption, workspace_id: int, connector: Connector, now: int) -> None:
    """Pause the connections that lack a required field of a new definition; enable those that now have all fields."""
    incomplete: dict[str, list[dict[str, Any]]] = {}
    complete_again: list[int] = []
    for record in await tx.records("connections.of_connector", workspace_id=workspace_id, name=connector.name):
        try:
            check_config(connector, complete(connector, open_config(record, encryption)))
        except Invalid as error:
            if record["status"] == "enabled":
                incomplete.setdefault(error.detail, []).append(record)
        else:
            if record["status"] == "paused" and record["status_reason"] in (REDEFINED, UNREADABLE):
                complete_again.append(record["id"])
    # One statement per missing field, however many connections lack it.
    for detail, records in incomplete.items():
        await _move(tx, workspace_id, [record["id"] for record in records], "paused", REDEFINED, detail, now)
        rows = [paused_notice(ids.one(now), record, detail, now, cause="redefined") for record in records]
        await tx.insert("notices.add", rows)
    if complete_again:
        await _move(tx, workspace_id, complete_again, "enabled", None, None, now)


async def _move(
    tx: Tx, workspace_id: int, ids: list[int], status: str, reason: str | None, error: str | None, now: int
) -> None:
    await tx.run(
        "connections.move_several",
        workspace_id=workspace_id,
        ids=ids,
        status=status,
        reason=reason,
        error=error and error[:LONGEST_ERROR].replace("\0", ""),
        sources=list(SOURCES[status]),
        now=now,
    )


async def _touch(tx: Tx, workspace_id: int, name: str, now: int) -> None:
    await tx.run("connectors.touch_connections", workspace_id=workspace_id, name=name, now=now)
