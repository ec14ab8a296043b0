"""Keep indexes of the traits that saved segments name: begin and drop them, fill them, and write what changes."""

from collections.abc import Callable, Collection, Iterable

import msgspec

from waypost.clock import Ids
from waypost.domain.audience.conditions import Condition, TraitTest, nodes
from waypost.domain.audience.profiles import Traits
from waypost.domain.audience.trait_indexes import IndexState, Path, keys_of, paths_to_index, value_at
from waypost.engine.audience.changes import ProfileChanges
from waypost.engine.runtime.unit import Unit
from waypost.storage.database import Database, Tx

#: Profiles whose values one transaction writes, and values that one deletes.
STEP = 1000

_encode = msgspec.json.Encoder().encode
_traits = msgspec.json.Decoder(Traits)


class TraitIndex(msgspec.Struct, frozen=True):
    """An index of a trait that is kept up, whether it is complete or not."""

    id: int
    path: Path


async def load_indexes(tx: Tx, workspace_id: int) -> list[TraitIndex]:
    """Return the indexes of a workspace that are kept up."""
    rows = await tx.rows("trait_indexes.kept", workspace_id=workspace_id)
    return [TraitIndex(id_, tuple(path.split("."))) for id_, path in rows]


async def usable_indexes(tx: Tx, workspace_id: int, conditions: Iterable[Condition]) -> dict[Path, int]:
    """Return the ids of the complete indexes by path; none is read if no condition names a trait."""
    if not any(isinstance(node, TraitTest) for condition in conditions for node in nodes(condition)):
        return {}
    rows = await tx.rows("trait_indexes.complete", workspace_id=workspace_id)
    return {tuple(path.split(".")): id_ for path, id_ in rows}


async def declare_indexes(tx: Tx, ids: Ids, workspace_id: int, conditions: Iterable[Condition], now: int) -> None:
    """Begin the indexes that the conditions of all saved segments need, and drop the others.

    The caller has raised the configuration version of segments: no batch commits with an outdated list of indexes.
    """
    known = {index.path: index.id for index in await load_indexes(tx, workspace_id)}
    needed = paths_to_index(conditions, known)
    for path in known.keys() - set(needed):
        await _move(tx, known[path], IndexState.DROPPED, 0, now)
    fresh = [path for path in needed if path not in known]
    rows = [(ids.one(now), workspace_id, ".".join(path), IndexState.FILLING.value, 0, now) for path in fresh]
    await tx.insert("trait_indexes.insert", rows)


async def write_values(
    tx: Tx,
    indexes: Collection[TraitIndex],
    traits: dict[int, Traits],
    *,
    fresh: Collection[int] = (),
    gone: Iterable[int] = (),
) -> None:
    """Write the values of profiles by their traits. Those in `fresh` have none yet; those in `gone` lose theirs."""
    rows: list[tuple[int, int, str | None, float | None]] = []
    missing = [(index.id, person) for person in gone for index in indexes]
    for person, known in traits.items():
        for index in indexes:
            value = value_at(known, index.path)
            if value is not None:
                rows.append((index.id, person, *keys_of(value)))
            elif person not in fresh:
                missing.append((index.id, person))
    await tx.insert("trait_values.set", sorted(rows, key=lambda row: row[:2]))
    if missing:
        await tx.run("trait_values.delete", rows=_encode(missing).decode())


async def write_changes(
    tx: Tx,
    unit: Unit,
    workspace_id: int,
    indexes: Collection[TraitIndex],
    created: Collection[int],
    gone: Iterable[int],
) -> None:
    """Write the values of the profiles of a workspace whose traits this unit of work has changed."""
    noted = unit.notes(ProfileChanges)
    changed = [id_ for id_ in noted.traits if noted.workspaces.get(id_) == workspace_id]
    traits = {id_: noted.traits.pop(id_) for id_ in sorted(changed)}
    await write_values(tx, indexes, traits, fresh=created, gone=gone)


async def advance_indexes(database: Database, now: Callable[[], int]) -> bool:
    """Fill or empty an index by one step; return whether there may be more to do."""
    return await database.read(_is_unfinished) and await database.transact(_advance, now())


async def _is_unfinished(tx: Tx) -> bool:
    return await tx.row("trait_indexes.any_unfinished") is not None


async def _advance(tx: Tx, now: int) -> bool:
    row = await tx.row("trait_indexes.unfinished")
    if row is None:
        return False
    id_, workspace_id, path, state, filled_to = row
    if IndexState(state) is IndexState.DROPPED:
        if not await tx.run("trait_values.clear", id=id_, n=STEP):
            await tx.run("trait_indexes.delete", id=id_)
        return True
    rows = await tx.rows("segments.next_people", workspace_id=workspace_id, after=filled_to, n=STEP)
    people = [one[0] for one in rows]
    # What others change after the lock is theirs to write.
    await tx.rows("segments.lock_people", ids=people)
    found = await tx.rows("facts.people", workspace_id=workspace_id, ids=people)
    traits = {person: _traits.decode(text) for person, text in found}
    await write_values(tx, [TraitIndex(id_, tuple(path.split(".")))], traits, fresh=people)
    if len(people) < STEP:
        await _move(tx, id_, IndexState.COMPLETE, 0, now)
    else:
        await _move(tx, id_, IndexState.FILLING, people[-1], now)
    return True


async def _move(tx: Tx, id_: int, state: IndexState, filled_to: int, now: int) -> None:
    """Change the state of an index: the only place that does."""
    await tx.run("trait_indexes.move", id=id_, state=state.value, filled_to=filled_to, now=now)
