"""What merged profiles leave to the one that they were merged into: memberships of lists, and tags."""

import os
from collections.abc import Iterable, Mapping

from waypost.domain.audience.lists import MemberState
from waypost.engine.runtime.unit import COUNT_ROWS, Unit
from waypost.storage.database import Row, Tx


def survivors(merged: Iterable[tuple[int, int]]) -> dict[int, int]:
    """Return the profile that counts in the end for each merged one, of pairs in the order of the merges."""
    found: dict[int, int] = {}
    for gone, into in merged:
        for earlier, survivor in found.items():
            if survivor == gone:
                found[earlier] = into
        found[gone] = into
    return found


async def inherit(tx: Tx, unit: Unit, heirs: Mapping[int, int]) -> None:
    """Give the memberships and tags of merged profiles to their survivors, a few statements for all of them.

    Of two memberships of one list, the later statement counts; one that was not confirmed yet does not replace another.
    """
    ids = sorted({*heirs, *heirs.values()})
    await _inherit_lists(tx, unit, heirs, await tx.rows("list_members.of_merged", ids=ids))
    await _inherit_tags(tx, unit, heirs, await tx.rows("tags.of_merged", ids=ids))


async def _inherit_lists(tx: Tx, unit: Unit, heirs: Mapping[int, int], rows: list[Row]) -> None:
    best: dict[tuple[int, int], Row] = {}
    for row in rows:
        list_id, profile_id, state, _, _ = row
        _count(unit, list_id, state, -1)
        key = (list_id, heirs.get(profile_id, profile_id))
        if key not in best or _weight(row) > _weight(best[key]):
            best[key] = row
    pending: list[Row] = []
    written: list[Row] = []
    for (list_id, profile_id), row in sorted(best.items()):
        _, before, state, source, changed_at = row
        _count(unit, list_id, state, 1)
        if before != profile_id:
            written.append((list_id, profile_id, state, source, changed_at))
            if state == MemberState.PENDING:
                # The link that was sent names the merged profile.
                pending.append((list_id, profile_id, os.urandom(16).hex()))
    gone = sorted(heirs)
    await tx.run("list_members.delete_merged", ids=gone)
    await tx.insert("list_members.update", written)
    if pending:
        workspaces: dict[int, int] = dict(await tx.rows("lists.workspaces", ids=sorted({row[0] for row in pending})))
        await tx.insert(
            "list_confirmations.add",
            [(list_id, id_, workspaces[list_id], unit.now, token, unit.now) for list_id, id_, token in pending],
        )


def _weight(row: Row) -> tuple[bool, int, bool]:
    _, _, state, _, changed_at = row
    return state != MemberState.PENDING, changed_at, state == MemberState.UNSUBSCRIBED


def _count(unit: Unit, list_id: int, state: str, n: int) -> None:
    unit.counters.add("list_counts.add", (list_id, state, unit.node % COUNT_ROWS), n)


async def _inherit_tags(tx: Tx, unit: Unit, heirs: Mapping[int, int], rows: list[Row]) -> None:
    owned = {(tag, profile_id) for _, tag, profile_id, _ in rows if profile_id not in heirs}
    new: list[Row] = []
    for workspace_id, tag, profile_id, created_at in rows:
        if profile_id not in heirs:
            continue
        heir = heirs[profile_id]
        if (tag, heir) in owned:
            unit.counters.add("tag_counts.add", (workspace_id, tag, unit.node % COUNT_ROWS), -1)
            continue
        owned.add((tag, heir))
        new.append((workspace_id, tag, heir, created_at))
    await tx.run("tags.delete_merged", ids=sorted(heirs))
    await tx.insert("tags.inherit", sorted(new))
