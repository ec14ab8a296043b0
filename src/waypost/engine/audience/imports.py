"""Run imports: read a part of a file, and record its rows in one transaction with the position that was reached."""

import asyncio
import time
import zlib

import msgspec
import structlog

from waypost.clock import NODES, Ids, now_us
from waypost.domain.audience.import_files import (
    MOST_UNBALANCED,
    ROW_BYTES,
    Stretch,
    clean_text,
    read_rows,
    shorten_cells,
)
from waypost.domain.audience.import_rows import ImportedPerson, RejectedRow, RowReader
from waypost.domain.audience.lists import MemberAction
from waypost.domain.audience.subscriptions import SubscriptionChange
from waypost.domain.events.event import Event
from waypost.domain.values.ids import public
from waypost.engine.accounts.audit import record_outcome
from waypost.engine.audience.changes import ProfileChanges
from waypost.engine.audience.identities import resolve_identities
from waypost.engine.audience.import_files import ImportPlan
from waypost.engine.audience.lists import ContactList, add_tags, move_members, read_list
from waypost.engine.audience.subscriptions import set_subscriptions
from waypost.engine.runtime.recorder import Recorder
from waypost.engine.runtime.scheduler import POLL_S
from waypost.engine.runtime.unit import Unit
from waypost.errors import Conflict, Error
from waypost.storage.database import Database, Row, Tx

log = structlog.get_logger()

#: Seconds of one run of the job, so that several imports take turns.
TURN_S = 5.0
#: Chunks that one transaction deletes.
CHUNKS = 20
#: After so long without a part, a file that comes in is given up (microseconds).
ABANDONED = 3_600_000_000

_encode = msgspec.json.Encoder().encode
_plan = msgspec.json.Decoder(ImportPlan)


class Overtaken(Exception):
    """Another process read the same rows, or the import was cancelled: nothing was recorded."""


class ImportRun(msgspec.Struct):
    """An import that this process reads."""

    id: int
    workspace_id: int
    plan: ImportPlan
    list_id: int | None
    source: str
    dry_run: bool
    bytes: int
    position: int
    row_number: int
    unbalanced: int
    created_at: int


class ImportTotals(msgspec.Struct):
    """What became of an import."""

    id: str
    state: str
    rows: int
    imported: int
    rejected: int
    created: int
    list_id: str | None
    source: str
    reason: str | None


class ImportFinished(msgspec.Struct):
    """The data of `import.finished`, without the ids of the event."""

    import_: ImportTotals = msgspec.field(name="import")


class FilePart(msgspec.Struct):
    """The rows of a part of a file."""

    stretch: Stretch
    people: list[ImportedPerson]
    rejected: list[RejectedRow]


class Importer:
    """Reads the files of imports, one after another, and shares the time between them."""

    def __init__(self, database: Database, recorder: Recorder, ids: Ids) -> None:
        self._database = database
        self._recorder = recorder
        self._ids = ids
        #: The import that was read last, so that another one is next.
        self._last = 0

    async def run(self) -> float:
        """Read imports for a while; return the seconds until the next run."""
        found = await self._database.read(_any_free, self._ids.node)
        if not found:
            await self._delete_files()
            return POLL_S
        later = [id_ for id_ in found if id_ > self._last]
        self._last = (later or found)[0]
        await self._read(self._last)
        return 0.0

    async def _read(self, import_id: int) -> None:
        """Read one import for a while, or to its end."""
        run = await self._database.transact(_claim, import_id, self._ids.node)
        if run is None:
            return
        lists = await self._database.read(_lists_of, run.workspace_id)
        names = {one.name: one.id for one in sorted(lists.values(), key=lambda one: -one.id)}
        names |= {public("lst", id_): id_ for id_ in lists}
        reader = RowReader(run.plan.columns, run.plan.mapping, names, run.workspace_id)
        if run.list_id is not None and run.list_id not in lists:
            await self._end(run, "failed", "list_deleted", "The list was deleted.")
            return
        end = time.monotonic() + TURN_S
        ahead = asyncio.create_task(self._prepare(run, reader, run.position, run.row_number))
        try:
            while time.monotonic() < end:
                part = await ahead
                # The next rows are read while these are recorded.
                position, number = run.position + part.stretch.consumed, part.stretch.number
                ahead = asyncio.create_task(self._prepare(run, reader, position, number))
                if await self._record_next(run, part, lists):
                    return
                if run.position != position:
                    ahead.cancel()
                    ahead = asyncio.create_task(self._prepare(run, reader, run.position, run.row_number))
        except Overtaken:
            return
        except Error as error:
            if error.code in ("unavailable", "busy"):
                raise
            await self._end(run, "failed", error.code, error.detail)
        finally:
            ahead.cancel()

    async def _prepare(self, run: ImportRun, reader: RowReader, position: int, number: int) -> FilePart:
        """Read the rows at a position, in a thread: they take many milliseconds."""
        chunks = await self._database.read(_chunks, run.id, position)
        return await asyncio.to_thread(_read_part, run, reader, chunks, position, number, now_us())

    async def _record_next(self, run: ImportRun, part: FilePart, lists: dict[int, ContactList]) -> bool:
        """Record rows and the position after them in one transaction; return whether the import has ended."""
        try:
            await self._recorder.perform(lambda tx, unit: _record(tx, unit, run, part, lists))
        except Conflict as error:
            # Another process has just merged profiles; the same rows are read again.
            if error.code == "conflict":
                return False
            raise
        stretch = part.stretch
        run.position += stretch.consumed
        run.row_number = stretch.number
        run.unbalanced += stretch.unbalanced
        if run.unbalanced > MOST_UNBALANCED:
            detail = f"More than {MOST_UNBALANCED} rows have a quotation mark that is never closed."
            await self._end(run, "failed", "unbalanced_quotes", detail)
        elif stretch.too_long and not stretch.consumed:
            detail = f"Row {run.row_number + 1} has more than {ROW_BYTES} bytes without an end."
            await self._end(run, "failed", "row_too_long", detail)
        elif run.position >= run.bytes:
            await self._end(run, "done", None, None)
        else:
            return False
        return True

    async def _end(self, run: ImportRun, state: str, reason: str | None, detail: str | None) -> None:
        async def work(tx: Tx, unit: Unit) -> None:
            await end_import(tx, unit, run.id, state, reason, detail)

        await self._recorder.perform(work)
        log.info("an import has ended", action="import_ended", id=public("imp", run.id), state=state, reason=reason)

    async def _delete_files(self) -> None:
        """Delete the files of imports that have ended, and those that stopped coming in."""
        before = now_us() - ABANDONED
        if await self._database.read(_any_left, before):
            await self._database.transact(_delete_left, before)


async def end_import(
    tx: Tx, unit: Unit, import_id: int, state: str, reason: str | None = None, detail: str | None = None
) -> bool:
    """End a running import, the only way to do so, and emit `import.finished`; return whether it was running."""
    if not await tx.run("imports.end", id=import_id, state=state, reason=reason, detail=detail, now=unit.now):
        return False
    row = await tx.row("imports.totals", id=import_id)
    if row is not None:
        workspace_id, rows, imported, rejected, created, list_id, source, dry_run = row
        list_name = public("lst", list_id) if list_id is not None else None
        totals = ImportTotals(
            public("imp", import_id), state, rows, imported, rejected, created, list_name, source, reason
        )
        if state != "cancelled":
            # Who cancels an import is in the audit log by that.
            resource, after = f"/v1/imports/{totals.id}", msgspec.to_builtins(totals)
            await record_outcome(
                tx, unit.ids.one(unit.now), workspace_id, "start_import", import_id, "finish_import", resource, after
            )
        if not dry_run:
            data = _encode(ImportFinished(totals))
            unit.emit([Event(workspace_id, "import.finished", None, unit.now, f"{totals.id}:finished", data)])
    return True


def _read_part(run: ImportRun, reader: RowReader, chunks: list[Row], position: int, number: int, now: int) -> FilePart:
    """Return the rows at a position. The second chunk completes the last row of the first."""
    parts = [zlib.decompress(content) for _, content in chunks]
    start = position - (chunks[0][0] if chunks else position)
    part, layout = b"".join(parts)[start:], run.plan.layout
    final = position + len(part) >= run.bytes
    end = part.find(b"\n", len(parts[0]) - start) + 1 if parts else 0
    stretch = read_rows(part[:end], layout, number, final=False) if end else None
    if stretch is None or not stretch.consumed:
        stretch = read_rows(part, layout, number, final=final)
    people: list[ImportedPerson] = []
    rejected: list[RejectedRow] = []
    for row in stretch.rows:
        found = reader.read(row, now)
        if type(found) is ImportedPerson:
            people.append(found)
        elif isinstance(found, RejectedRow):
            rejected.append(found)
    # The cells are not needed any more; most of the memory of a part is theirs.
    stretch.rows = []
    return FilePart(stretch, people, rejected)


async def _record(tx: Tx, unit: Unit, run: ImportRun, part: FilePart, lists: dict[int, ContactList]) -> None:
    """Record rows; raise Overtaken if they are recorded already."""
    stretch, people, rejected = part.stretch, part.people, part.rejected
    floor = unit.ids.one(unit.now)
    profiles: list[int] = []
    if not run.dry_run:
        profiles = await resolve_identities(tx, [person.entry for person in people], unit)
    # Ids rise: what this process created since is new.
    node = unit.ids.node
    fresh = frozenset(id_ for id_ in profiles if id_ > floor and id_ % NODES == node)
    advanced = await tx.run(
        "imports.advance",
        id=run.id,
        before=run.position,
        position=run.position + stretch.consumed,
        row_number=stretch.number,
        rows=len(people) + len(rejected),
        imported=len(people),
        rejected=len(rejected),
        created=len(fresh),
        unbalanced=stretch.unbalanced,
        node=node,
        now=unit.now,
    )
    if not advanced:
        raise Overtaken
    await tx.insert(
        "import_errors.add",
        [
            (
                run.id,
                row.number,
                row.error.code,
                row.error.column,
                clean_text(row.error.detail),
                _encode(shorten_cells(row.cells)).decode(),
            )
            for row in rejected
        ],
    )
    if not profiles:
        return
    await _record_memberships(tx, unit, run, people, profiles, fresh, lists)
    pairs = list(zip(people, profiles, strict=True))
    changes = unit.notes(ProfileChanges)
    if tags := [(id_, tag) for person, id_ in pairs if person.tags for tag in person.tags]:
        await add_tags(tx, unit, run.workspace_id, tags, fresh=fresh)
    said: list[SubscriptionChange] = []
    for person, id_ in pairs:
        for channel, address, state in person.subscriptions:
            if id_ not in fresh:
                changes.add(id_, f"subscription:{channel}")
            said.append(SubscriptionChange(run.workspace_id, channel, address, state, run.source, run.created_at))
    await set_subscriptions(tx, said, unit)


async def _record_memberships(
    tx: Tx,
    unit: Unit,
    run: ImportRun,
    people: list[ImportedPerson],
    profiles: list[int],
    fresh: frozenset[int],
    lists: dict[int, ContactList],
) -> None:
    members: dict[int, list[int]] = {}
    if run.list_id is not None:
        members[run.list_id] = list(profiles)
    for person, id_ in zip(people, profiles, strict=True):
        for list_id in person.lists or ():
            members.setdefault(list_id, []).append(id_)
    action = MemberAction.CONFIRM if run.plan.confirmed else MemberAction.IMPORT
    for list_id, ids in sorted(members.items()):
        if list_id in lists:
            await move_members(tx, unit, run.workspace_id, lists[list_id], ids, action, run.source, fresh=fresh)


async def _any_free(tx: Tx, node: int) -> list[int]:
    return [row[0] for row in await tx.rows("imports.free", node=node)]


async def _claim(tx: Tx, import_id: int, node: int) -> ImportRun | None:
    await tx.run("imports.claim", id=import_id, node=node)
    row = await tx.row("imports.claimed", id=import_id, node=node)
    if row is None:
        return None
    id_, workspace_id, plan, list_id, source, dry_run, size, position, row_number, unbalanced, created_at = row
    return ImportRun(
        id_,
        workspace_id,
        _plan.decode(plan),
        list_id,
        source,
        bool(dry_run),
        size,
        position,
        row_number,
        unbalanced,
        created_at,
    )


async def _lists_of(tx: Tx, workspace_id: int) -> dict[int, ContactList]:
    rows = await tx.rows("lists.page", workspace_id=workspace_id, before=(1 << 63) - 1, n=1_000_000)
    return {row[0]: read_list(row) for row in rows}


async def _chunks(tx: Tx, import_id: int, position: int) -> list[Row]:
    return await tx.rows("import_chunks.at", import_id=import_id, position=position)


async def _any_left(tx: Tx, before: int) -> bool:
    left = await tx.rows("import_chunks.left")
    return bool(left or await tx.rows("imports.abandoned", before=before))


async def _delete_left(tx: Tx, before: int) -> None:
    for (import_id,) in await tx.rows("imports.abandoned", before=before):
        await tx.run("imports.delete", id=import_id)
    for (import_id,) in await tx.rows("import_chunks.left"):
        await tx.run("import_chunks.delete", import_id=import_id, n=CHUNKS)
