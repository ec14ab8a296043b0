"""One batch, one transaction: dedupe, fold, decide, enqueue, count. The only writer of consequences."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from waypost.clock import Ids, now_us
from waypost.domain.deliveries import Outcome
from waypost.domain.events import Entry
from waypost.domain.webhooks import Endpoint, event_object, webhook_body
from waypost.engine.counts import Counts
from waypost.engine.dispatcher import Dispatcher, Task
from waypost.engine.endpoints import Configuration, load_configurations
from waypost.engine.journal import Batch, Journal, settle_futures
from waypost.engine.people import resolve_people
from waypost.engine.settling import Lost, settle_attempts
from waypost.engine.vault import Vault
from waypost.errors import Conflict, Error, Unavailable
from waypost.storage.database import Database, Tx

log = structlog.get_logger()

#: How long to wait before attempts are recorded again after the store was away.
PAUSE_S = 0.5
#: How often a batch is tried again because another process was at the same.
CONFLICTS = 20
#: The longest pause before that, times the number of conflicts so far: whoever got there first needs a moment.
CONFLICT_PAUSE_S = 0.005
#: Turns of the event loop between two batches.
YIELDS = 8

_encode = msgspec.json.Encoder().encode
_keys = msgspec.json.Decoder(list[tuple[int, int, str]])


class Recorded(msgspec.Struct):
    """What a committed batch gives to the rest of the engine."""

    #: Fresh deliveries, held by this process.
    tasks: list[Task]
    #: Endpoints of which some deliveries had to stay in the database.
    spilled: set[int]
    configurations: dict[int, Configuration]
    #: Endpoints that were disabled.
    disabled: list[int]
    types: set[tuple[int, str]]
    #: When the first of the scheduled retries falls due.
    due_at: int | None
    events: int
    duplicates: int


class Recorder:
    """Takes batches from the journal, records them, and hands what follows to the dispatcher."""

    def __init__(
        self,
        database: Database,
        journal: Journal,
        dispatcher: Dispatcher,
        ids: Ids,
        vault: Vault,
        *,
        retry_base: float,
        wake_at: Callable[[int], None],
    ) -> None:
        self._database = database
        self._journal = journal
        self._dispatcher = dispatcher
        self._ids = ids
        self._vault = vault
        self._retry_base = retry_base
        self._wake_at = wake_at
        self._configurations: dict[int, Configuration] = {}
        self._types: set[tuple[int, str]] = set()
        self.events = 0
        self.duplicates = 0
        self.batches = 0
        self.attempts = dict.fromkeys(Outcome, 0)

    async def run(self) -> None:
        """Record batches until the journal is closed and empty."""
        while batch := await self._journal.next_batch():
            try:
                await self.record(batch)
            except Exception as error:
                # Whatever it was, the next batch is another one; and nobody waits in vain for this one.
                log.exception("a batch was not handled", action="batch_unhandled")
                settle_futures(batch, Unavailable(f"It could not be handled ({type(error).__name__}). Send it again."))
            # Answer first, and let in what is at the door: the next batch is the larger for it.
            for _ in range(YIELDS):
                await asyncio.sleep(0)

    async def record(self, batch: Batch) -> None:
        """Record one batch and tell everybody how it went."""
        careful, conflicts = False, 0
        while True:
            try:
                recorded = await self._database.transact(self._apply, batch, now_us(), careful)
                break
            except Lost as error:
                if careful:
                    # Looked at in the same transaction, and yet not so: nothing that another try would change.
                    log.exception("a batch could not be settled", action="batch_failed")
                    await self._split(batch, error)
                    return
                careful = True
            except Unavailable as error:
                await self._fail(batch, error)
                return
            except Conflict:
                # Another process recorded the same message or person a moment ago; this time it will be seen.
                conflicts += 1
                if conflicts > CONFLICTS:
                    await self._split(batch, Unavailable("Others record the same. Send it again.", code="busy"))
                    return
                await asyncio.sleep(random.uniform(0, CONFLICT_PAUSE_S * conflicts))  # noqa: S311 no secret
            except Exception as error:
                log.exception("a batch could not be recorded", action="batch_failed")
                await self._split(batch, error)
                return
        self.batches += 1
        self.events += recorded.events
        self.duplicates += recorded.duplicates
        for attempt in batch.attempts:
            self.attempts[attempt.outcome] += 1
        self._types |= recorded.types
        settle_futures(batch, None)
        self._adopt(recorded.configurations)
        self._dispatcher.offer(recorded.tasks)
        for endpoint_id in recorded.spilled:
            self._dispatcher.note_spilled(endpoint_id, True)
        if recorded.disabled:
            self._dispatcher.configure([], recorded.disabled)
        if recorded.due_at is not None:
            self._wake_at(recorded.due_at)

    async def refresh(self, workspaces: list[int]) -> None:
        """Read the endpoints of workspaces again where they changed, and let the lanes know."""
        self._adopt(await self._database.read(load_configurations, self._configurations, workspaces, self._vault))

    def _adopt(self, fresh: dict[int, Configuration]) -> None:
        """Go by these configurations from now on; one that was read before another one changed nothing is dropped."""
        for id_, configuration in fresh.items():
            before = self._configurations.get(id_)
            if before is not None and before.version >= configuration.version:
                continue
            self._configurations[id_] = configuration
            gone = set(before.endpoints) - set(configuration.endpoints) if before else set()
            self._dispatcher.configure(configuration.endpoints.values(), gone)

    def workspaces(self) -> list[int]:
        """The workspaces whose endpoints are known here."""
        return list(self._configurations)

    def endpoint(self, workspace_id: int, endpoint_id: int) -> Endpoint | None:
        """An enabled endpoint as last read."""
        found = self._configurations.get(workspace_id)
        return found.endpoints.get(endpoint_id) if found else None

    async def _fail(self, batch: Batch, error: Error) -> None:
        """The store is away: everybody is told, and what happened already is recorded later."""
        settle_futures(batch, error)
        if (batch.attempts or batch.released) and self._journal.closed:
            # The end does not wait for the store: what was tried and not recorded is tried again after the next start.
            log.warning("not recorded", action="attempts_dropped", attempts=len(batch.attempts), error=error.detail)
        elif batch.attempts or batch.released:
            self._journal.put_back(Batch([], batch.attempts, batch.released))
            await asyncio.sleep(PAUSE_S)

    async def _split(self, batch: Batch, error: Exception) -> None:
        """Something in the batch cannot be recorded: record its parts one by one, so that it harms only itself."""
        parts = [Batch([group], [], []) for group in batch.groups]
        parts += [Batch([], [attempt], []) for attempt in batch.attempts]
        parts += [Batch([], [], batch.released)] if batch.released else []
        if len(parts) > 1:
            for part in parts:
                await self.record(part)
            return
        log.error("this cannot be recorded", action="record_failed", error=str(error), attempts=len(batch.attempts))
        settle_futures(
            batch, error if isinstance(error, Error) else Unavailable("It could not be stored. Send it again.")
        )

    async def _apply(self, tx: Tx, batch: Batch, now: int, careful: bool) -> Recorded:
        recorded = Recorded([], set(), {}, [], set(), None, 0, 0)
        counts = Counts()
        if batch.released:
            await tx.run("deliveries.release", rows=_encode(batch.released).decode(), node=self._ids.node)
            recorded.due_at = now
        if batch.attempts:
            settlement = await settle_attempts(
                tx, batch.attempts, self._ids, now, counts, retry_base=self._retry_base, careful=careful
            )
            recorded.disabled = settlement.disabled
            recorded.due_at = now if batch.released else settlement.due_at
        entries = batch.entries
        if entries:
            fresh = await self._unknown(tx, entries)
            recorded.events = len(fresh)
            recorded.duplicates = len(entries) - len(fresh)
            if fresh:
                await self._record_events(tx, fresh, now, counts, recorded)
        await counts.write(tx, self._ids.node)
        return recorded

    async def _unknown(self, tx: Tx, entries: list[Entry]) -> list[Entry]:
        """The entries whose message was never seen; a repeat drops out, within the batch too."""
        by_key: dict[int, Entry] = {}
        fresh = []
        for entry in entries:
            first = by_key.setdefault(entry.message_key, entry)
            if first is entry:
                fresh.append(entry)
            elif (first.workspace_id, first.message_id) != (entry.workspace_id, entry.message_id):
                fresh.append(_keyless(entry))
        found = await tx.row("events.known", keys=list(by_key))
        if found is None or found[0] == "[]":
            return fresh
        seen = {key: (workspace_id, message_id) for key, workspace_id, message_id in _keys.decode(found[0])}
        kept = []
        for entry in fresh:
            before = seen.get(entry.message_key)
            if before is None:
                kept.append(entry)
            elif before != (entry.workspace_id, entry.message_id):
                kept.append(_keyless(entry))
        return kept

    async def _record_events(self, tx: Tx, entries: list[Entry], now: int, counts: Counts, recorded: Recorded) -> None:
        profile_ids = await resolve_people(tx, entries, self._ids, now)
        ids = self._ids.take(len(entries), now)
        await tx.insert(
            "events.insert",
            [
                (
                    event_id,
                    entry.workspace_id,
                    entry.message_key or None,
                    entry.message_id,
                    entry.type,
                    profile_id,
                    entry.occurred_at,
                    entry.data.decode(),
                )
                for event_id, entry, profile_id in zip(ids, entries, profile_ids, strict=True)
            ],
        )
        await self._note_types(tx, entries, now, recorded)
        workspaces = list({entry.workspace_id for entry in entries})
        recorded.configurations = await load_configurations(tx, self._configurations, workspaces, self._vault)
        configurations = self._configurations | recorded.configurations
        room: dict[int, int] = {}
        rows: list[tuple[Any, ...]] = []
        tasks = recorded.tasks
        node = self._ids.node
        total, total_bytes = self._dispatcher.total_room()
        for event_id, entry, profile_id in zip(ids, entries, profile_ids, strict=True):
            configuration = configurations.get(entry.workspace_id)
            if configuration is None or not configuration.endpoints:
                continue
            body = _Body(entry, event_id, profile_id)
            for endpoint in configuration.subscriptions.wanting(entry.type, body):
                left = room.get(endpoint.id)
                if left is None:
                    left = self._dispatcher.room(endpoint.id)
                room[endpoint.id] = left - 1
                if left > 0 and total > 0 and total_bytes > 0:
                    task = Task(endpoint, event_id, body(), 0, 0)
                    tasks.append(task)
                    total -= 1
                    total_bytes -= len(task.body)
                    rows.append((endpoint.id, event_id, "pending", 0, 0, now, node, None, None))
                else:
                    # What comes later stays behind it.
                    room[endpoint.id] = 0
                    recorded.spilled.add(endpoint.id)
                    rows.append((endpoint.id, event_id, "pending", 0, 0, now, None, None, None))
                counts.add(endpoint.workspace_id, endpoint.id, 1, 0, 1, 0)
        await tx.insert("deliveries.insert", rows)
        if recorded.spilled:
            recorded.due_at = now

    async def _note_types(self, tx: Tx, entries: list[Entry], now: int, recorded: Recorded) -> None:
        new = {
            (entry.workspace_id, entry.type): entry.metric
            for entry in entries
            if entry.metric is not None and (entry.workspace_id, entry.type) not in self._types
        }
        if new:
            await tx.insert("event_types.insert", [(*key, metric, now) for key, metric in sorted(new.items())])
            recorded.types = set(new)


class _Body:
    """A webhook's body, made when first asked for and then shared by all who want it."""

    __slots__ = ("_body", "_entry", "_event_id", "_profile_id")

    def __init__(self, entry: Entry, event_id: int, profile_id: int | None) -> None:
        self._entry, self._event_id, self._profile_id = entry, event_id, profile_id
        self._body: bytes | None = None

    def __call__(self) -> bytes:
        if self._body is None:
            entry = self._entry
            data = event_object(self._event_id, entry.message_id, self._profile_id, entry.data)
            self._body = webhook_body(entry.type, entry.occurred_at, data)
        return self._body


def _keyless(entry: Entry) -> Entry:
    """An entry whose key is another message's: kept, without protection against its own repeat (1 in 10^10)."""
    return msgspec.structs.replace(entry, message_key=0)
