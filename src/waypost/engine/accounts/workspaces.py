"""Create workspaces; create, find, list and delete API keys."""

import base64
import os
import time
from typing import Any

import msgspec

from waypost.clock import Ids
from waypost.domain.accounts.api_keys import KEY_BYTES, Caller, Scope, check_scopes, key_hash, key_hint, make_key
from waypost.domain.values.ids import public
from waypost.errors import Conflict, NotFound, Unauthorized
from waypost.storage.database import Database, Tx

#: Seconds for which a key that was found is cached.
TRUST_S = 5.0
_KEPT = 10_000
_scopes = msgspec.json.Decoder(list[str])
_encode = msgspec.json.Encoder().encode


class Keyring:
    """Finds the caller of an API key.

    The database is queried by digest, and known headers are cached in a dictionary whose hash has a random seed in
    every process: the time of neither look-up reveals anything about a key.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._by_header: dict[str, tuple[float, Caller]] = {}

    def remember(self, header: str) -> Caller | None:
        """Return the cached caller of an Authorization header, or None."""
        found = self._by_header.get(header)
        return found[1] if found is not None and found[0] > time.monotonic() else None

    async def find(self, header: str | None, fallback: str | None = None) -> Caller:
        """Return the caller of an Authorization header, or of the key `fallback`; else raise Unauthorized."""
        key = read_authorization(header) if header else fallback
        if not key:
            raise Unauthorized
        row = await self._database.read(_find, key_hash(key))
        if row is None:
            raise Unauthorized("This API key does not exist; it may have been deleted.")
        caller = Caller(row[0], row[1], frozenset(_scopes.decode(row[2])))
        if header:
            if len(self._by_header) >= _KEPT:
                self._by_header.clear()
            self._by_header[header] = (time.monotonic() + TRUST_S, caller)
        return caller

    def forget(self) -> None:
        """Clear the cache, because a key was deleted."""
        self._by_header.clear()


async def key_name(tx: Tx, caller: Caller) -> str:
    """Return the name of the API key of a caller."""
    row = await tx.row("keys.name", id=caller.key_id)
    return row[0] if row else ""


def read_authorization(header: str) -> str | None:
    """Return the key in an Authorization header: a bearer token, or the user (else the password) of basic."""
    scheme, _, rest = header.partition(" ")
    rest = rest.strip()
    if scheme.lower() == "bearer":
        return rest or None
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(rest, validate=True).decode().partition(":")
        except ValueError:
            return None
        return user or password or None
    return None


async def create_workspace(tx: Tx, ids: Ids, name: str, now: int) -> dict[str, str]:
    """Create a workspace with an API key and a write key, whose texts are returned only here."""
    row = await tx.row("workspaces.next_id")
    workspace_id = row[0] if row else 1
    await tx.run("workspaces.add", id=workspace_id, name=name, now=now)
    api_key = await create_key(tx, ids, workspace_id, "first API key", [scope.value for scope in Scope], now)
    write_key = await create_key(tx, ids, workspace_id, "first write key", [Scope.INGEST.value], now)
    return {"workspace": public("ws", workspace_id), "api_key": api_key["key"], "write_key": write_key["key"]}


async def require_workspace(tx: Tx, workspace_id: int) -> None:
    """Raise NotFound unless the workspace exists."""
    if await tx.row("workspaces.get", id=workspace_id) is None:
        raise NotFound(
            f"The workspace {public('ws', workspace_id)} does not exist. `waypost workspaces list` lists all of them.",
            code="no_such_workspace",
        )


async def create_key(tx: Tx, ids: Ids, workspace_id: int, name: str, scopes: list[str], now: int) -> dict[str, Any]:
    """Create a key; its text is returned only here, and stored only as a digest.

    Raises NotFound when the workspace does not exist: the data sent with such a key could never be read.
    """
    scopes = check_scopes(scopes)
    await require_workspace(tx, workspace_id)
    key = make_key(os.urandom(KEY_BYTES), write=scopes == [Scope.INGEST.value])
    key_id = ids.one(now)
    await tx.run(
        "keys.add",
        id=key_id,
        workspace_id=workspace_id,
        name=name,
        scopes=_encode(scopes).decode(),
        hash=key_hash(key),
        hint=key_hint(key),
        now=now,
    )
    return {"id": key_id, "name": name, "scopes": scopes, "key": key, "hint": key_hint(key), "created_at": now}


async def list_keys(tx: Tx, workspace_id: int, before: int, n: int) -> list[dict[str, Any]]:
    """Return a page of keys, newest first, without their texts."""
    rows = await tx.records("keys.list", workspace_id=workspace_id, before=before, n=n)
    return [row | {"scopes": _scopes.decode(row["scopes"])} for row in rows]


async def delete_key(tx: Tx, workspace_id: int, key_id: int) -> None:
    """Delete a key; raise Conflict for the last one that may manage the workspace."""
    left = await tx.row("keys.count_managers", workspace_id=workspace_id, id=key_id)
    if left is not None and left[0] == 0:
        raise Conflict("This is the last key that may manage the workspace; create another one first.", code="last_key")
    if not await tx.run("keys.delete", workspace_id=workspace_id, id=key_id):
        raise NotFound("The key does not exist in this workspace.")


async def _find(tx: Tx, digest: str) -> tuple[Any, ...] | None:
    return await tx.row("keys.find", hash=digest)
