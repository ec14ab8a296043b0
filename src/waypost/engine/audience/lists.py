"""Lists and their members in bulk, with the counts that are kept beside them; and the tags of profiles."""

import os
from collections.abc import Iterable, Sequence

import msgspec

from waypost.clock import Ids
from waypost.domain.audience.lists import MemberAction, MemberState, move_member
from waypost.domain.events.event import Event
from waypost.domain.values.ids import public
from waypost.engine.audience.changes import ProfileChanges
from waypost.engine.runtime.unit import COUNT_ROWS, Unit
from waypost.errors import Conflict, NotFound
from waypost.storage.database import Row, Tx

#: The most lists of a workspace.
MOST_LISTS = 5_000

_encode = msgspec.json.Encoder().encode
_states = msgspec.json.Decoder(list[tuple[int, int, MemberState]])
_tags = msgspec.json.Decoder(list[tuple[int, str, int]])


class ContactList(msgspec.Struct, frozen=True):
    """A list of a workspace."""

    id: int
    name: str
    double_opt_in: bool
    template_id: int | None
    created_at: int
    updated_at: int


class ListChanged(msgspec.Struct):
    """The data of `list.joined` and `list.left`, without the ids of the event."""

    list: dict[str, str]
    source: str


class TagChanged(msgspec.Struct):
    """The data of `profile.tagged` and `profile.untagged`, without the ids of the event."""

    tag: str


async def find_list(tx: Tx, workspace_id: int, id_: int) -> ContactList:
    """Return a list; raise NotFound if the workspace has none with this id."""
    row = await tx.row("lists.get", workspace_id=workspace_id, id=id_)
    if row is None:
        raise NotFound("No list with this id exists in this workspace; GET /v1/lists shows all.", code="unknown_list")
    return read_list(row)


def read_list(row: Row) -> ContactList:
    """Return the list in a row of the database."""
    id_, name, double_opt_in, template_id, created_at, updated_at = row
    return ContactList(id_, name, bool(double_opt_in), template_id, created_at, updated_at)


async def create_list(
    tx: Tx, ids: Ids, workspace_id: int, name: str, now: int, *, double_opt_in: bool, template_id: int | None
) -> ContactList:
    """Create a list; raise Conflict if there are too many."""
    row = await tx.row("lists.count", workspace_id=workspace_id)
    if row is not None and row[0] >= MOST_LISTS:
        raise Conflict(f"A workspace has at most {MOST_LISTS} lists. Delete one first.", code="too_many_lists")
    made = ContactList(ids.one(now), name, double_opt_in, template_id, now, now)
    await tx.insert(
        "lists.insert", [(made.id, workspace_id, made.name, int(double_opt_in), made.template_id, now, now)]
    )
    return made


async def count_members(tx: Tx, ids: Iterable[int]) -> dict[int, dict[MemberState, int]]:
    """Return how many members of lists have which state."""
    counts: dict[int, dict[MemberState, int]] = {id_: dict.fromkeys(MemberState, 0) for id_ in ids}
    for list_id, state, n in await tx.rows("list_counts.of_many", ids=list(counts)):
        counts[list_id][MemberState(state)] = n
    return counts


async def page_of_members(tx: Tx, list_id: int, state: MemberState | None, after: int, n: int) -> list[Row]:
    """Return a page of the members of a list by profile, in one state or in every one: profile, state, source, time."""
    if state is None:
        return await tx.rows("list_members.page", list_id=list_id, after=after, n=n)
    if state is MemberState.SUBSCRIBED:
        return await tx.rows("list_members.subscribed", list_id=list_id, after=after, n=n)
    return await tx.rows("list_members.in_state", list_id=list_id, state=state.value, after=after, n=n)


async def move_members(
    tx: Tx,
    unit: Unit,
    workspace_id: int,
    contact_list: ContactList,
    profiles: Sequence[int],
    action: MemberAction,
    source: str,
    *,
    fresh: frozenset[int] = frozenset(),
    events: bool = False,
) -> dict[int, MemberState | None]:
    """Move profiles on a list; return the state of each. Takes one statement of a kind for all of them.

    `fresh` profiles were created in this transaction: they cannot be members yet. `events` says whether to emit
    `list.joined` and `list.left`; without, the changes are only noted for the areas that follow people. Raises
    Conflict (`taken`) when another transaction has just added one of them: run the unit again.
    """
    list_id = contact_list.id
    people = sorted(set(profiles))
    known = await _member_states(tx, list_id, [id_ for id_ in people if id_ not in fresh])
    written: dict[bool, list[Row]] = {True: [], False: []}
    newly_pending: list[int] = []
    #: Pending before, and no longer; who confirmed keeps the link, which shows that it worked.
    answered: list[int] = []
    result: dict[int, MemberState | None] = {}
    for before in (None, *MemberState):
        group = [id_ for id_ in people if known.get(id_) is before] if known else people if before is None else []
        state = move_member(before, action, double_opt_in=contact_list.double_opt_in)
        if not group or state is None:
            continue
        result.update(dict.fromkeys(group, state))
        if state is MemberState.PENDING and (before is not state or action is MemberAction.ADD):
            newly_pending += group
        if state is before:
            continue
        if before is MemberState.PENDING and state is MemberState.UNSUBSCRIBED:
            answered += group
        text, now = state.value, unit.now
        written[before is None] += [(list_id, id_, text, source, now) for id_ in group]
        _count(unit, list_id, before, -len(group))
        _count(unit, list_id, state, len(group))
        if MemberState.SUBSCRIBED in (state, before):
            _note(
                unit,
                workspace_id,
                contact_list,
                group,
                source,
                joined=before is not MemberState.SUBSCRIBED,
                events=events,
                fresh=fresh,
            )
    await tx.insert("list_members.insert", written[True])
    await tx.insert("list_members.update", sorted(written[False]))
    await tx.insert(
        "list_confirmations.add",
        [(list_id, id_, workspace_id, unit.now, os.urandom(16).hex(), unit.now) for id_ in sorted(newly_pending)],
    )
    if answered:
        await tx.run("list_confirmations.delete", list_id=list_id, ids=answered)
    return result


async def remove_members(
    tx: Tx, unit: Unit, workspace_id: int, contact_list: ContactList, profiles: Sequence[int], source: str
) -> int:
    """Remove profiles from a list without a trace there; return how many were members."""
    known = await _member_states(tx, contact_list.id, sorted(set(profiles)))
    if not known:
        return 0
    await tx.run("list_members.delete", list_id=contact_list.id, ids=list(known))
    await tx.run("list_confirmations.delete", list_id=contact_list.id, ids=list(known))
    for state in known.values():
        _count(unit, contact_list.id, state, -1)
    left = [id_ for id_, state in known.items() if state is MemberState.SUBSCRIBED]
    _note(unit, workspace_id, contact_list, left, source, joined=False, events=True)
    return len(known)


async def add_tags(
    tx: Tx,
    unit: Unit,
    workspace_id: int,
    tags: Iterable[tuple[int, str]],
    *,
    fresh: frozenset[int] = frozenset(),
    events: bool = False,
) -> int:
    """Tag profiles; return how many tags are new. The rest is as in `move_members`."""
    keys = sorted({(workspace_id, tag, profile_id) for profile_id, tag in tags})
    to_find = [key for key in keys if key[2] not in fresh]
    row = await tx.row("tags.known", keys=_encode(to_find).decode()) if to_find else None
    known = set(_tags.decode(row[0])) if row else set()
    new = [key for key in keys if key not in known]
    await tx.insert("tags.insert", [(*key, unit.now) for key in new])
    for _, tag, profile_id in new:
        _note_tag(unit, workspace_id, profile_id, tag, 1, events=events, noted=profile_id in fresh)
    return len(new)


async def remove_tag(tx: Tx, unit: Unit, workspace_id: int, profile_id: int, tag: str) -> bool:
    """Remove a tag from a profile; return whether it had it."""
    removed = await tx.run("tags.delete", workspace_id=workspace_id, tag=tag, profile_id=profile_id)
    if removed:
        _note_tag(unit, workspace_id, profile_id, tag, -1, events=True)
    return bool(removed)


async def _member_states(tx: Tx, list_id: int, people: Sequence[int]) -> dict[int, MemberState]:
    if not people:
        return {}
    row = await tx.row("list_members.states", keys=_encode([(list_id, id_) for id_ in people]).decode())
    return {profile_id: state for _, profile_id, state in _states.decode(row[0])} if row else {}


def _count(unit: Unit, list_id: int, state: MemberState | None, n: int) -> None:
    if state is not None:
        unit.counters.add("list_counts.add", (list_id, state.value, unit.node % COUNT_ROWS), n)


def _note(
    unit: Unit,
    workspace_id: int,
    contact_list: ContactList,
    profiles: Sequence[int],
    source: str,
    *,
    joined: bool,
    events: bool,
    fresh: frozenset[int] = frozenset(),
) -> None:
    unit.notes(ProfileChanges).add_all([id_ for id_ in profiles if id_ not in fresh], f"list:{contact_list.id}")
    if events:
        about = {"id": public("lst", contact_list.id), "name": contact_list.name}
        name = "list.joined" if joined else "list.left"
        data = _encode(ListChanged(about, source))
        cause = f"{about['id']}:{name}:{unit.now:x}:"
        unit.emit([Event(workspace_id, name, id_, unit.now, cause + public("pro", id_), data) for id_ in profiles])


def _note_tag(
    unit: Unit, workspace_id: int, profile_id: int, tag: str, n: int, *, events: bool, noted: bool = False
) -> None:
    unit.counters.add("tag_counts.add", (workspace_id, tag, unit.node % COUNT_ROWS), n)
    if not noted:
        unit.notes(ProfileChanges).add(profile_id, f"tag:{tag}")
    if events:
        name = "profile.tagged" if n > 0 else "profile.untagged"
        cause = f"{public('pro', profile_id)}:{name}:{unit.now:x}:{tag}"
        unit.emit([Event(workspace_id, name, profile_id, unit.now, cause, _encode(TagChanged(tag)))])
