"""The segment area of the recorder: keep the members of tracked segments up as events come in, and as time passes."""

from collections.abc import Callable
from typing import Any

import msgspec

from waypost.domain.events.event import Event
from waypost.engine.audience.changes import ProfileChanges
from waypost.engine.audience.segments import AREA
from waypost.engine.audience.tracked import TrackedSegments, evaluate, load_silence, load_tracked
from waypost.engine.audience.trait_indexes import advance_indexes, write_changes
from waypost.engine.runtime.recorder import Recorder
from waypost.engine.runtime.scheduler import POLL_S
from waypost.engine.runtime.unit import Unit
from waypost.storage.database import Database, Tx

#: People whom one transaction evaluates because time passed, or because a segment is new.
STEP = 500


class SegmentNotes(msgspec.Struct):
    """What a unit of work learned about segments, and which noted changes it has evaluated."""

    tracked: dict[int, TrackedSegments] = {}
    done: set[tuple[int, str]] = set()
    created: set[int] = set()
    gone: set[int] = set()


class SegmentArea:
    """Evaluates the tracked segments that an event or a change concerns."""

    takes: frozenset[type] = frozenset()

    def __init__(self) -> None:
        self._tracked: dict[int, TrackedSegments] = {}

    async def record(self, tx: Tx, items: dict[type, list[Any]], unit: Unit) -> None:
        """Do nothing: the area records no items of its own."""

    async def react(self, tx: Tx, events: list[Event], unit: Unit) -> None:
        """Evaluate the people of these events, and those whose changes were noted, for the segments concerned."""
        notes = unit.notes(SegmentNotes)
        if not events and not await self._concerned(tx, unit, notes):
            return
        changes, gone = _new_changes(unit, notes)
        workspaces = {event.workspace_id for event in events}
        owners = await _owners(tx, unit, {*changes, *gone})
        workspaces |= set(owners.values())
        for workspace_id in sorted(workspaces):
            tracked = await self._load(tx, workspace_id, notes)
            if not tracked.by_id and not tracked.indexes:
                continue
            candidates: dict[int, set[int]] = {}
            by_type = tracked.by_type
            for event in events:
                found = by_type.get(event.type)
                if found and event.workspace_id == workspace_id and event.profile_id is not None:
                    candidates.setdefault(event.profile_id, set()).update(found)
            created = set()
            for profile_id, kinds in changes.items():
                if owners.get(profile_id) != workspace_id:
                    continue
                for change in kinds:
                    if found := tracked.of_change(change):
                        candidates.setdefault(profile_id, set()).update(found)
                if "created" in kinds:
                    created.add(profile_id)
            lost = [profile_id for profile_id in gone if owners.get(profile_id) == workspace_id]
            if tracked.indexes and (changes or lost):
                await write_changes(tx, unit, workspace_id, tracked.indexes, created, lost)
            if candidates or lost:
                silence = await load_silence(tx, workspace_id, created)
                await evaluate(tx, unit, workspace_id, tracked, candidates, silence, lost)

    async def _concerned(self, tx: Tx, unit: Unit, notes: SegmentNotes) -> bool:
        """Return whether noted changes can concern a segment or an index: an import of thousands seldom does."""
        noted = unit.noted(ProfileChanges)
        if noted is None:
            return False
        if noted.gone or not noted.by_profile.keys() <= noted.workspaces.keys():
            return True
        found = [await self._load(tx, id_, notes) for id_ in sorted(set(noted.workspaces.values()))]
        return any(tracked.by_id or tracked.indexes for tracked in found)

    async def _load(self, tx: Tx, workspace_id: int, notes: SegmentNotes) -> TrackedSegments:
        """Return the tracked segments of a workspace. No change of them commits before this transaction does."""
        found = notes.tracked.get(workspace_id)
        if found is None:
            rows = await tx.rows("segments.config", ids=[workspace_id])
            if not rows:
                await tx.insert("segments.add_config", [(workspace_id, AREA, 0)])
                rows = await tx.rows("segments.config", ids=[workspace_id])
            version = rows[0][1]
            found = self._tracked.get(workspace_id)
            if found is None or found.version != version:
                found = await load_tracked(tx, workspace_id, version)
            notes.tracked[workspace_id] = found
        return found

    def committed(self, unit: Unit) -> None:
        """Remember the tracked segments that were read."""
        notes = unit.noted(SegmentNotes)
        if notes is not None:
            self._tracked |= notes.tracked

    def given_up(self, item: Any) -> None:
        """Do nothing: the area reports no items."""

    async def orphan(self, tx: Tx, nodes: list[int] | None) -> None:
        """Do nothing: nodes hold no people."""

    async def recheck(self, tx: Tx, unit: Unit) -> int:
        """Evaluate some of those for whom time alone may have changed something; return how many."""
        rows = await tx.rows("segment_rechecks.due", now=unit.now, n=STEP)
        by_workspace: dict[int, dict[int, set[int]]] = {}
        for segment_id, profile_id, workspace_id in rows:
            by_workspace.setdefault(workspace_id, {}).setdefault(profile_id, set()).add(segment_id)
        for workspace_id, candidates in sorted(by_workspace.items()):
            tracked = await self._load(tx, workspace_id, unit.notes(SegmentNotes))
            await evaluate(tx, unit, workspace_id, tracked, candidates, await load_silence(tx, workspace_id))
        orphans = [
            (segment_id, profile_id)
            for segment_id, profile_id, workspace_id in rows
            if segment_id not in unit.notes(SegmentNotes).tracked[workspace_id].by_id
        ]
        if orphans:
            await tx.run("segment_rechecks.delete", rows=msgspec.json.encode(orphans).decode())
        return len(rows)

    async def fill(self, tx: Tx, unit: Unit) -> bool:
        """Evaluate the next people for a segment that is new or was changed; return whether there may be more to do."""
        row = await tx.row("segments.unfilled")
        if row is None:
            return False
        segment_id, workspace_id, is_tracked, filled_to = row
        if not is_tracked:
            return await _clear(tx, segment_id, unit.now)
        ids = [
            one[0] for one in await tx.rows("segments.next_people", workspace_id=workspace_id, after=filled_to, n=STEP)
        ]
        tracked = await self._load(tx, workspace_id, unit.notes(SegmentNotes))
        silence = await load_silence(tx, workspace_id)
        await evaluate(tx, unit, workspace_id, tracked, {id_: {segment_id} for id_ in ids}, silence)
        await tx.run("segments.fill", id=segment_id, filled_to=ids[-1] if len(ids) == STEP else None, now=unit.now)
        return True


def _new_changes(unit: Unit, notes: SegmentNotes) -> tuple[dict[int, set[str]], set[int]]:
    """Return the noted changes that were not evaluated yet, by profile, and the profiles that were merged away."""
    noted = unit.noted(ProfileChanges)
    if noted is None:
        return {}, set()
    changes: dict[int, set[str]] = {}
    for profile_id, kinds in noted.by_profile.items():
        for change in kinds:
            if (profile_id, change) not in notes.done:
                notes.done.add((profile_id, change))
                changes.setdefault(profile_id, set()).add(change)
    for profile_id in noted.created.keys() - notes.created:
        changes.setdefault(profile_id, set()).add("created")
    notes.created |= noted.created.keys()
    gone = noted.gone - notes.gone
    notes.gone |= gone
    return changes, gone


async def _owners(tx: Tx, unit: Unit, people: set[int]) -> dict[int, int]:
    """Return the workspaces of people whose changes were noted."""
    noted = unit.noted(ProfileChanges)
    if noted is None:
        return {}
    known = noted.workspaces
    unknown = sorted(people - known.keys())
    rows = await tx.rows("segments.workspaces", ids=unknown) if unknown else []
    return {id_: known[id_] for id_ in people & known.keys()} | {row[0]: row[1] for row in rows}


async def _clear(tx: Tx, segment_id: int, now: int) -> bool:
    """Delete some members of a segment that is not tracked any more."""
    deleted = await tx.run("segment_members.clear", id=segment_id, n=STEP)
    deleted += await tx.run("segment_rechecks.clear", id=segment_id, n=STEP)
    if not deleted:
        await tx.run("segments.fill", id=segment_id, filled_to=None, now=now)
    return True


async def follow_segments(database: Database, recorder: Recorder, area: SegmentArea, now: Callable[[], int]) -> float:
    """Do what is due for tracked segments and indexes of traits; return the seconds until it is to be done again."""
    while await database.read(_is_due, now()):
        if await recorder.perform(area.recheck) < STEP:
            break
    filled = await database.read(_is_unfilled) and await recorder.perform(area.fill)
    indexed = await advance_indexes(database, now)
    return 0.0 if filled or indexed else POLL_S


async def _is_due(tx: Tx, now: int) -> bool:
    row = await tx.row("segment_rechecks.next")
    return row is not None and row[0] is not None and row[0] <= now


async def _is_unfilled(tx: Tx) -> bool:
    return await tx.row("segments.any_unfilled") is not None
