"""Create workspaces; create, find, list and delete API keys."""

import base64
import contextlib
import os
import time
from collections.abc import Container, Mapping
from typing import Any

import msgspec

from waypost.clock import SECOND, Ids, now_us
from waypost.domain.accounts.api_keys import KEY_BYTES, Scope, key_hash, key_hint, make_key
from waypost.domain.accounts.callers import Caller
from waypost.domain.accounts.permissions import Role, check_scopes, scope_permissions
from waypost.domain.accounts.sign_in import NOTED_EVERY
from waypost.domain.values.ids import internal, public
from waypost.engine.accounts.users import add_member
from waypost.errors import Conflict, NotFound, Unauthorized, Unavailable
from waypost.storage.database import Database, Tx

#: Seconds for which a key that was found is cached.
TRUST_S = 5.0
_KEPT = 10_000
#: The settings that `change_workspace` changes.
CHANGEABLE = ("name", "mfa", "event_days", "attempt_days")
_scopes = msgspec.json.Decoder(list[str])
_encode = msgspec.json.Encoder().encode


class Keyring:
    """Finds the caller of an API key.

    The database is queried by digest, and known headers are cached in a dictionary whose hash has a random seed in
    every process: the time of neither look-up reveals anything about a key.
    """

    def __init__(self, database: Database, closed: Container[int] = ()) -> None:
        self._database = database
        #: The workspaces that are deleted.
        self._closed = closed
        self._by_header: dict[str, tuple[float, Caller]] = {}

    def remember(self, header: str) -> Caller | None:
        """Return the cached caller of an Authorization header, or None."""
        found = self._by_header.get(header)
        if found is None or found[0] <= time.monotonic() or found[1].workspace_id in self._closed:
            return None
        return found[1]

    async def find(self, header: str | None, fallback: str | None = None, ip: str = "") -> Caller:
        """Return the caller of an Authorization header, or of the key `fallback`; else raise Unauthorized.

        The time and the IP address of the use are noted every few minutes.
        """
        key = read_authorization(header) if header else fallback
        if not key:
            raise Unauthorized
        row = await self._database.read(_find, key_hash(key))
        if row is None:
            raise Unauthorized("This API key does not exist; it may have been deleted.")
        key_id, workspace_id, scopes, name, expires_at, last_used_at = row
        now = now_us()
        if expires_at is not None and expires_at <= now:
            raise Unauthorized("This API key has expired. Use the one that replaced it, or create another one.")
        granted = _scopes.decode(scopes)
        caller = Caller(
            workspace_id=workspace_id,
            permissions=scope_permissions(granted),
            grants=", ".join(granted),
            key_id=key_id,
            name=name,
        )
        if (last_used_at or 0) < now - NOTED_EVERY:
            # A database that cannot write must not refuse the reader of an event log.
            with contextlib.suppress(Unavailable):
                await self._database.transact(_note_use, key_id, ip, now)
        if header:
            if len(self._by_header) >= _KEPT:
                self._by_header.clear()
            left_s = TRUST_S if expires_at is None else min(TRUST_S, (expires_at - now) / SECOND)
            self._by_header[header] = (time.monotonic() + left_s, caller)
        return caller

    def forget(self) -> None:
        """Clear the cache, because a key was deleted."""
        self._by_header.clear()


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
    await read_workspace(tx, workspace_id)


async def read_workspace(tx: Tx, workspace_id: int) -> dict[str, Any]:
    """Return the name and the settings of a workspace. Raise NotFound if it does not exist."""
    found = await tx.records("workspaces.get", id=workspace_id)
    if not found:
        raise no_such_workspace(workspace_id)
    return found[0]


def no_such_workspace(workspace_id: int) -> NotFound:
    """Return the error for a workspace that does not exist, or was deleted."""
    return NotFound(
        f"The workspace {public('ws', workspace_id)} does not exist. `waypost workspaces list` lists all of them.",
        code="no_such_workspace",
    )


async def create_key(
    tx: Tx, ids: Ids, workspace_id: int, name: str, scopes: list[str], now: int, expires_at: int | None = None
) -> dict[str, Any]:
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
        expires_at=expires_at,
    )
    return {
        "id": key_id,
        "name": name,
        "scopes": scopes,
        "key": key,
        "hint": key_hint(key),
        "created_at": now,
        "expires_at": expires_at,
        "last_used_at": None,
        "last_used_ip": None,
    }


async def get_key(tx: Tx, workspace_id: int, key_id: int) -> dict[str, Any]:
    """Return a key, without its text. Raise NotFound if it does not exist."""
    found = await tx.records("keys.get", workspace_id=workspace_id, id=key_id)
    if not found:
        raise NotFound("The key does not exist in this workspace.")
    return found[0] | {"scopes": _scopes.decode(found[0]["scopes"])}


async def rotate_key(tx: Tx, ids: Ids, workspace_id: int, key_id: int, overlap: int, now: int) -> dict[str, Any]:
    """Create a key with the name and scopes of another one, which ends after `overlap` microseconds; return the new."""
    old = await get_key(tx, workspace_id, key_id)
    if old["expires_at"] is not None and old["expires_at"] <= now:
        raise Conflict("The key has expired. Create another one.", code="key_expired")
    made = await create_key(tx, ids, workspace_id, old["name"], old["scopes"], now)
    await tx.run("keys.expire", workspace_id=workspace_id, id=key_id, expires_at=now + overlap)
    return made


async def list_keys(tx: Tx, workspace_id: int, before: int, n: int) -> list[dict[str, Any]]:
    """Return a page of keys, newest first, without their texts."""
    rows = await tx.records("keys.list", workspace_id=workspace_id, before=before, n=n)
    return [row | {"scopes": _scopes.decode(row["scopes"])} for row in rows]


async def delete_key(tx: Tx, workspace_id: int, key_id: int) -> None:
    """Delete a key; raise Conflict for the last way to manage the workspace: another key, or an owner."""
    left = await tx.row("keys.count_managers", workspace_id=workspace_id, id=key_id, now=now_us())
    owners = await tx.rows("memberships.owners", workspace_id=workspace_id)
    if left is not None and left[0] == 0 and not owners:
        raise Conflict("This is the last key that may manage the workspace; create another one first.", code="last_key")
    if not await tx.run("keys.delete", workspace_id=workspace_id, id=key_id):
        raise NotFound("The key does not exist in this workspace.")


async def change_workspace(tx: Tx, workspace_id: int, changes: Mapping[str, Any]) -> None:
    """Change the name, the rule about second factors, or the retention of a workspace; what is not given stays."""
    changed = {**await read_workspace(tx, workspace_id), **changes}
    await tx.run("workspaces.change", id=workspace_id, **{field: changed[field] for field in CHANGEABLE})


async def add_workspace(tx: Tx, ids: Ids, name: str, user_id: int, now: int) -> dict[str, str]:
    """Create a workspace that a user owns; return it with its keys as `create_workspace` does."""
    made = await create_workspace(tx, ids, name, now)
    await add_member(tx, user_id, internal("ws", made["workspace"]), Role.OWNER, now)
    return made


async def _note_use(tx: Tx, key_id: int, ip: str, now: int) -> None:
    await tx.run("keys.used", id=key_id, ip=ip, at=now)


async def _find(tx: Tx, digest: str) -> tuple[Any, ...] | None:
    return await tx.row("keys.find", hash=digest)
