"""Record who changed what, in the transaction of the change; list it."""

from typing import Any

from waypost.clock import Ids
from waypost.domain.accounts.audit import differences
from waypost.domain.accounts.callers import Caller
from waypost.storage.database import Tx


async def record_change(
    tx: Tx, ids: Ids, caller: Caller, action: str, resource: str, before: Any, after: Any, ip: str, now: int
) -> None:
    """Record a change by the caller; `before` and `after` are JSON values or None."""
    old, new = differences(before, after)
    await tx.run(
        "audit.add",
        id=ids.one(now),
        workspace_id=caller.workspace_id,
        actor_kind="user" if caller.user_id else "key" if caller.key_id else "command",
        actor_id=caller.id,
        actor_name=caller.name,
        action=action,
        resource=resource,
        before=old,
        after=new,
        ip=ip,
    )


async def record_outcome(
    tx: Tx, id_: int, workspace_id: int, start: str, started: int, action: str, resource: str, after: Any
) -> None:
    """Record what became of a resource, as a change by who started it by the operation `start` after the id `started`.

    Nothing is recorded if the log does not have the start: what keys do all day is not in it.
    """
    await tx.run(
        "audit.follow",
        id=id_,
        workspace_id=workspace_id,
        start=start,
        started=started,
        action=action,
        resource=resource,
        after=differences(None, after)[1],
    )


async def list_changes(
    tx: Tx,
    workspace_id: int,
    before: int,
    n: int,
    *,
    since: int = 0,
    actor_id: int = 0,
    action: str = "",
    q: str = "",
) -> list[dict[str, Any]]:
    """Return a page of changes, newest first: since an id, by one caller, of one kind, or with a text in any field."""
    pattern = "%" + q.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%" if q else ""
    return await tx.records(
        "audit.list",
        workspace_id=workspace_id,
        before_id=before,
        n=n,
        since=since,
        actor_id=actor_id,
        action=action,
        q=pattern,
    )
