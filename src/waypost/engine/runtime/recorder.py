"""One batch, one transaction: dedupe, fold, decide, enqueue, count. The only writer of consequences."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
import structlog

from waypost.clock import Ids, now_us
from waypost.domain.events.segment import Entry
from waypost.domain.messaging.message_events import MessageEvent
from waypost.domain.webhooks.delivery import AttemptOutcome
from waypost.domain.webhooks.endpoint import Endpoint, event_object, webhook_body
from waypost.engine.audience.identities import resolve_identities
from waypost.engine.messaging.matching import Rematching, take_unmatched
from waypost.engine.messaging.receipts import apply_stored
from waypost.engine.messaging.recording import Desk, Effects, record_messages
from waypost.engine.messaging.transitions import Transitions
from waypost.engine.runtime.encryption import Encryption
from waypost.engine.runtime.journal import Batch, Journal, settle_futures
from waypost.engine.webhooks.attempts import NotHeld, settle_attempts
from waypost.engine.webhooks.dispatcher import Dispatcher, Task
from waypost.engine.webhooks.endpoint_snapshot import EndpointSnapshot, load_endpoints
from waypost.engine.webhooks.ledger_counts import Counts
from waypost.errors import Conflict, Error, Unavailable
from waypost.storage.database import Database, Tx

log = structlog.get_logger()

T = TypeVar("T")

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
    configurations: dict[int, EndpointSnapshot]
    #: Endpoints that were disabled.
    disabled: list[int]
    types: set[tuple[int, str]]
    #: When the first of the scheduled retries falls due.
    due_at: int | None
    events: int
    duplicates: int
    #: What followed for messages.
    effects: Effects | None = None


class Recorder:
    """Takes batches from the journal, records them, and hands what follows to the dispatcher."""

    def __init__(
        self,
        database: Database,
        journal: Journal,
        dispatcher: Dispatcher,
        ids: Ids,
        encryption: Encryption,
        *,
        retry_base: float,
        desk: Desk,
        wake_at: Callable[[int], None],
        follow: Callable[[Effects], None],
    ) -> None:
        self._database = database
        self._journal = journal
        self._dispatcher = dispatcher
        self._ids = ids
        self._vault = encryption
        self._retry_base = retry_base
        self._desk = desk
        self._wake_at = wake_at
        self._follow = follow
        self._configurations: dict[int, EndpointSnapshot] = {}
        self._types: set[tuple[int, str]] = set()
        self._rematching = Rematching()
        self.events = 0
        self.duplicates = 0
        self.batches = 0
        self.attempts = dict.fromkeys(AttemptOutcome, 0)

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
        verify_held, conflicts = False, 0
        while True:
            try:
                recorded = await self._database.transact(self._apply, batch, now_us(), verify_held)
                break
            except NotHeld as error:
                if verify_held:
                    # Looked at in the same transaction, and yet not so: nothing that another try would change.
                    log.exception("a batch could not be settled", action="batch_failed")
                    await self._split(batch, error)
                    return
                verify_held = True
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
        for attempt in batch.attempts:
            self.attempts[attempt.outcome] += 1
        settle_futures(batch, None)
        self._drop_holdings(batch)
        self._hand_on(recorded)

    async def perform(self, work: Callable[[Tx, int], Awaitable[tuple[T, Effects]]]) -> T:
        """Run `work(tx, now)` in a transaction of its own, and record with it what it says happened to messages."""
        conflicts = 0
        while True:
            try:
                result, recorded = await self._database.transact(self._apart, work, now_us())
                break
            except Conflict as error:
                conflicts += 1
                if error.code != "taken" or conflicts > CONFLICTS:
                    raise
                await asyncio.sleep(random.uniform(0, CONFLICT_PAUSE_S * conflicts))  # noqa: S311 no secret
        self._hand_on(recorded)
        return result

    async def rematch(self) -> bool:
        """Apply stored receipts whose message is known by now, a page at a time; whether there was a page."""
        page = await self._database.read(self._rematching.find, now_us())
        if page is None:
            return False

        async def write(tx: Tx, now: int) -> tuple[None, Effects]:
            effects = Effects(Transitions(self._ids.node, now))
            taken = await take_unmatched(tx, page.known)
            await apply_stored(tx, taken, effects.transitions, now, same_account=self._desk.same_account)
            await effects.transitions.write(tx)
            return None, effects

        if page.known:
            await self.perform(write)
        self._rematching.passed(page)
        return True

    def _drop_holdings(self, batch: Batch) -> None:
        if batch.attempts:
            self._dispatcher.holdings.drop((attempt.endpoint_id, attempt.event_id) for attempt in batch.attempts)
        if batch.released:
            self._dispatcher.holdings.drop(batch.released)

    def _hand_on(self, recorded: Recorded) -> None:
        """Give what a commit brought to the rest of the engine."""
        self.events += recorded.events
        self.duplicates += recorded.duplicates
        self._types |= recorded.types
        self._adopt(recorded.configurations)
        self._dispatcher.offer(recorded.tasks)
        for endpoint_id in recorded.spilled:
            self._dispatcher.note_spilled(endpoint_id, True)
        if recorded.disabled:
            self._dispatcher.configure([], recorded.disabled)
        if recorded.due_at is not None:
            self._wake_at(recorded.due_at)
        if recorded.effects is not None:
            self._follow(recorded.effects)

    async def refresh(self, workspaces: list[int]) -> None:
        """Read the endpoints of workspaces again where they changed, and let the lanes know."""
        self._adopt(await self._database.read(load_endpoints, self._configurations, workspaces, self._vault))

    def _adopt(self, fresh: dict[int, EndpointSnapshot]) -> None:
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
        # The look-back releases what can never be settled.
        self._drop_holdings(batch)
        log.error("this cannot be recorded", action="record_failed", error=str(error), attempts=len(batch.attempts))
        settle_futures(
            batch, error if isinstance(error, Error) else Unavailable("It could not be stored. Send it again.")
        )

    async def _apply(self, tx: Tx, batch: Batch, now: int, verify_held: bool) -> Recorded:
        recorded = Recorded([], set(), {}, [], set(), None, 0, 0)
        counts = Counts()
        if batch.released:
            await tx.run("deliveries.release", rows=_encode(batch.released).decode(), node=self._ids.node)
            recorded.due_at = now
        if batch.attempts:
            settlement = await settle_attempts(
                tx, batch.attempts, self._ids, now, counts, retry_base=self._retry_base, verify_held=verify_held
            )
            recorded.disabled = settlement.disabled
            recorded.due_at = now if batch.released else settlement.due_at
        entries, others = batch.sort()
        events: list[MessageEvent] = []
        if others:
            recorded.effects = await record_messages(tx, others, self._desk, now)
            events = recorded.effects.transitions.events
        fresh = await self._unknown(tx, entries) if entries else entries
        recorded.events = len(fresh)
        recorded.duplicates = len(entries) - len(fresh)
        if fresh or events:
            await self._record_events(tx, fresh, events, now, counts, recorded)
        await counts.write(tx, self._ids.node)
        return recorded

    async def _apart(
        self, tx: Tx, work: Callable[[Tx, int], Awaitable[tuple[T, Effects]]], now: int
    ) -> tuple[T, Recorded]:
        recorded = Recorded([], set(), {}, [], set(), None, 0, 0)
        result, effects = await work(tx, now)
        recorded.effects = effects
        if effects.transitions.events:
            counts = Counts()
            await self._record_events(tx, [], effects.transitions.events, now, counts, recorded)
            await counts.write(tx, self._ids.node)
        return result, recorded

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

    async def _record_events(
        self, tx: Tx, entries: list[Entry], events: list[MessageEvent], now: int, counts: Counts, recorded: Recorded
    ) -> None:
        profile_ids: list[int | None] = []
        if entries:
            profile_ids += await resolve_identities(tx, entries, self._ids, now)
            await self._note_types(tx, entries, now, recorded)
        profile_ids += [event.profile_id for event in events]
        together: list[Entry | MessageEvent] = [*entries, *events]
        ids = self._ids.take(len(events), now)
        await tx.insert(
            "events.insert",
            [
                (
                    event_id,
                    event.workspace_id,
                    event.message_key or None,
                    event.message_id,
                    event.type,
                    profile_id,
                    event.occurred_at,
                    event.data.decode(),
                )
                for event_id, event, profile_id in zip(ids, events, profile_ids, strict=True)
            ],
        )
        workspaces = list({event.workspace_id for event in events})
        recorded.configurations = await load_endpoints(tx, self._configurations, workspaces, self._vault)
        configurations = self._configurations | recorded.configurations
        room: dict[int, int] = {}
        rows: list[tuple[Any, ...]] = []
        tasks = recorded.tasks
        node = self._ids.node
        total, total_bytes = self._dispatcher.total_room()
        for event_id, event, profile_id in zip(ids, events, profile_ids, strict=True):
            configuration = configurations.get(event.workspace_id)
            if configuration is None or not configuration.endpoints:
                continue
            body = _Body(event, event_id, profile_id)
            for endpoint in configuration.subscriptions.wanting(event.type, body):
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

    __slots__ = ("_body", "_event", "_event_id", "_profile_id")

    def __init__(self, event: Entry | MessageEvent, event_id: int, profile_id: int | None) -> None:
        self._event, self._event_id, self._profile_id = event, event_id, profile_id
        self._body: bytes | None = None

    def __call__(self) -> bytes:
        if self._body is None:
            event = self._event
            data = event_object(self._event_id, event.message_id, self._profile_id, event.data)
            self._body = webhook_body(event.type, event.occurred_at, data)
        return self._body


def _keyless(entry: Entry) -> Entry:
    """An entry whose key is another message's: kept, without protection against its own repeat (1 in 10^10)."""
    return msgspec.structs.replace(entry, message_key=0)
