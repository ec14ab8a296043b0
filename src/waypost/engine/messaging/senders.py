"""The senders of all workspaces: how they are stored, and the default ones in memory."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from waypost.clock import Ids
from waypost.domain.messaging.senders import MOST_SENDERS, SenderIdentity, check_sender
from waypost.engine.runtime.configurations import changed_versions
from waypost.errors import Conflict, NotFound
from waypost.storage.database import Database, Row, Tx

AREA = "senders"
EMAIL = "email"


class SenderRecord(msgspec.Struct, kw_only=True):
    """A sender as it is stored."""

    id: int
    channel: str
    address: str
    name: str
    reply_to: str
    is_default: bool
    created_at: int
    updated_at: int

    @property
    def sender(self) -> SenderIdentity:
        """Return what emails show of it."""
        return SenderIdentity(address=self.address, name=self.name, reply_to=self.reply_to)


class SenderRegistry:
    """The default senders of all workspaces; changes made elsewhere are known after the next `refresh`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._versions: dict[int, int] = {}
        self._defaults: dict[tuple[int, str], SenderIdentity] = {}

    def default(self, workspace_id: int, channel: str) -> SenderIdentity | None:
        """Return the sender of messages of a channel that name none; None if the workspace has no default."""
        return self._defaults.get((workspace_id, channel))

    async def refresh(self, workspaces: Iterable[int] | None = None) -> None:
        """Read the default senders of workspaces that changed; of all workspaces if none are given."""
        given = None if workspaces is None else list(workspaces)
        versions, rows = await self._database.read(self._load, given)
        changed = {id_ for id_, version in versions.items() if version > self._versions.get(id_, 0)}
        if not changed:
            return
        self._versions |= {id_: versions[id_] for id_ in changed}
        kept = {key: sender for key, sender in self._defaults.items() if key[0] not in changed}
        self._defaults = kept | {
            (workspace_id, channel): SenderIdentity(address=address, name=name, reply_to=reply_to)
            for workspace_id, channel, address, name, reply_to in rows
            if workspace_id in changed
        }

    async def _load(self, tx: Tx, workspaces: list[int] | None) -> tuple[dict[int, int], list[Row]]:
        versions = await changed_versions(tx, AREA, self._versions, workspaces)
        return versions, await tx.rows("senders.defaults", ids=sorted(versions)) if versions else []


async def list_senders(tx: Tx, workspace_id: int, before: int, n: int) -> list[SenderRecord]:
    """Return a page of senders, newest first."""
    return [_record(found) for found in await tx.records("senders.list", workspace_id=workspace_id, before=before, n=n)]


async def find_sender(tx: Tx, workspace_id: int, id_: int) -> SenderRecord:
    """Return a sender. Raise NotFound if it does not exist."""
    found = await tx.records("senders.get", workspace_id=workspace_id, id=id_)
    if not found:
        raise NotFound("No sender with this id exists in this workspace.")
    return _record(found[0])


async def add_sender(
    tx: Tx, ids: Ids, workspace_id: int, given: SenderIdentity, now: int, *, is_default: bool
) -> SenderRecord:
    """Store a sender of emails; the default one takes the place of the default one before."""
    sender, id_ = check_sender(given), ids.one(now)
    # First, because it locks.
    await tx.run("configurations.touch", area=AREA, workspace_id=workspace_id)
    count = await _count(tx, workspace_id, 0, sender)
    if count >= MOST_SENDERS:
        raise Conflict(f"A workspace has at most {MOST_SENDERS} senders. Delete one.", code="too_many_senders")
    if is_default:
        await tx.run("senders.no_default", workspace_id=workspace_id, channel=EMAIL)
    await tx.run(
        "senders.add",
        id=id_,
        workspace_id=workspace_id,
        channel=EMAIL,
        is_default=int(is_default),
        now=now,
        **msgspec.structs.asdict(sender),
    )
    return await find_sender(tx, workspace_id, id_)


async def change_sender(tx: Tx, workspace_id: int, id_: int, changes: Mapping[str, Any], now: int) -> SenderRecord:
    """Change what is given of a sender: its address, name and reply_to, or whether it is the default one."""
    await tx.run("configurations.touch", area=AREA, workspace_id=workspace_id)
    record = await find_sender(tx, workspace_id, id_)
    is_default = bool(changes.get("is_default", record.is_default))
    parts = {name: changes[name] for name in SenderIdentity.__struct_fields__ if name in changes}
    sender = check_sender(msgspec.structs.replace(record.sender, **parts))
    await _count(tx, workspace_id, id_, sender)
    if is_default and not record.is_default:
        await tx.run("senders.no_default", workspace_id=workspace_id, channel=record.channel)
    await tx.run(
        "senders.change",
        id=id_,
        workspace_id=workspace_id,
        is_default=int(is_default),
        now=now,
        **msgspec.structs.asdict(sender),
    )
    return await find_sender(tx, workspace_id, id_)


async def delete_sender(tx: Tx, workspace_id: int, id_: int) -> None:
    """Delete a sender. Messages and templates that name it stay as they are."""
    await tx.run("configurations.touch", area=AREA, workspace_id=workspace_id)
    if not await tx.run("senders.delete", workspace_id=workspace_id, id=id_):
        raise NotFound("No sender with this id exists in this workspace.")


async def _count(tx: Tx, workspace_id: int, id_: int, sender: SenderIdentity) -> int:
    """Return how many senders there are. Raise Conflict if another one has the same address and name."""
    row = await tx.row(
        "senders.count", workspace_id=workspace_id, id=id_, channel=EMAIL, address=sender.address, name=sender.name
    )
    total, same = row or (0, 0)
    if same:
        raise Conflict("There is a sender with this address and name already. Change that one.", code="sender_exists")
    return int(total)


def _record(found: dict[str, Any]) -> SenderRecord:
    return SenderRecord(**found | {"is_default": bool(found["is_default"])})
