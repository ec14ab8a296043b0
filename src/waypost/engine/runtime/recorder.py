"""One batch, one transaction: every area records its entries and reacts to the events that follow."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from waypost.clock import Ids, now_us
from waypost.engine.runtime.journal import Batch, Journal, settle_futures
from waypost.engine.runtime.unit import Area, NotHeld, Unit
from waypost.errors import Conflict, Error, Unavailable
from waypost.storage.database import Database, Tx

log = structlog.get_logger()

T = TypeVar("T")

#: Seconds before results are recorded again after the database was unavailable.
PAUSE_S = 0.5
#: Tries to record results at a shutdown while the database is unavailable.
LAST_TRIES = 8
#: How often a batch is tried again because another process wrote the same rows.
CONFLICTS = 20
#: The longest pause before a retry, times the number of conflicts so far.
CONFLICT_PAUSE_S = 0.005
#: Turns of the event loop between two batches.
YIELDS = 8
#: Rounds of reactions in one transaction: areas react to events, then to the events that those reactions emit, and so
#: on. Events after the last round are recorded with the batch, and `react_deferred` lets the areas react to them.
ROUNDS = 4
#: Deferred events that one transaction reacts to.
DEFERRED = 200


class Recorder:
    """Takes batches from the journal and lets the areas record each one in a transaction."""

    def __init__(self, database: Database, journal: Journal, ids: Ids, areas: Sequence[Area]) -> None:
        self._database = database
        self._journal = journal
        self._ids = ids
        self._areas = areas
        #: Wakes the job that reacts to deferred events.
        self.wake_deferred: Callable[[], None] = lambda: None
        self.events = 0
        self.repeats = 0
        self.batches = 0
        #: How often results could not be recorded since the journal was closed.
        self._late = 0

    async def run(self) -> None:
        """Record batches until the journal is closed and empty."""
        while batch := await self._journal.next_batch():
            try:
                await self.record(batch)
            except Exception as error:
                # Fail the callers of this batch and go on with the next one.
                log.exception("the recorder could not handle a batch", action="batch_unhandled")
                settle_futures(batch, Unavailable(f"The request could not be stored ({type(error).__name__}). Retry."))
            # Let the callers run and new requests arrive first: the next batch is larger for it.
            for _ in range(YIELDS):
                await asyncio.sleep(0)

    async def record(self, batch: Batch) -> None:
        """Record one batch and settle the futures of its callers."""
        verify_held, conflicts = False, 0
        while True:
            try:
                unit = await self._database.transact(self._apply, batch, now_us(), verify_held)
                break
            except NotHeld as error:
                if verify_held:
                    # The same transaction verified what is held, so a retry would fail again.
                    log.exception("a batch could not be settled", action="batch_failed")
                    await self._split(batch, error)
                    return
                verify_held = True
            except Unavailable as error:
                await self._fail(batch, error)
                return
            except Conflict:
                # Another process has just recorded the same message or profile; the retry reads it.
                conflicts += 1
                if conflicts > CONFLICTS:
                    busy = Unavailable("Another request for the same data is in progress. Retry.", code="busy")
                    await self._split(batch, busy)
                    return
                await _pause(conflicts)
            except Exception as error:
                log.exception("a batch could not be recorded", action="batch_failed")
                await self._split(batch, error)
                return
        self.batches += 1
        settle_futures(batch, None)
        self._hand_on(unit)

    async def perform(self, work: Callable[[Tx, Unit], Awaitable[T]]) -> T:
        """Run `work(tx, unit)` in a transaction of its own; the areas react to the events that it emits."""
        conflicts = 0
        while True:
            try:
                result, unit = await self._database.transact(self._apart, work, now_us())
                break
            except Conflict as error:
                conflicts += 1
                if error.code != "taken" or conflicts > CONFLICTS:
                    raise
                await _pause(conflicts)
        self._hand_on(unit)
        return result

    async def react_deferred(self) -> int:
        """Let the areas react to some of the deferred events; return how many."""
        if not await self._database.read(_any_deferred):
            return 0
        return await self.perform(self._take_deferred)

    def _hand_on(self, unit: Unit) -> None:
        self.events += unit.recorded
        self.repeats += unit.repeats
        for area in self._areas:
            try:
                area.committed(unit)
            except Exception:
                # The database has the work that was not handed on; the polling jobs find it.
                log.exception("an area failed after a commit", action="handover_failed", area=type(area).__name__)
        if unit.deferred:
            self.wake_deferred()

    async def _fail(self, batch: Batch, error: Error) -> None:
        """Fail the callers of a batch while the database is unavailable, and queue its reported items again."""
        settle_futures(batch, error)
        if not batch.reported:
            return
        self._late += self._journal.closed
        if self._late > LAST_TRIES:
            # A shutdown does not wait forever: results that were not recorded count as unknown.
            log.warning(
                "results were not recorded", action="results_dropped", results=len(batch.reported), error=error.detail
            )
            return
        self._journal.put_back(batch.reported)
        await asyncio.sleep(PAUSE_S)

    async def _split(self, batch: Batch, error: Exception) -> None:
        """Record each part of a batch alone, because one item cannot be recorded: the others succeed."""
        parts = [Batch([group]) for group in batch.groups] + [Batch([], [item]) for item in batch.reported]
        if len(parts) > 1:
            for part in parts:
                await self.record(part)
            return
        for area in self._areas:
            for item in batch.reported:
                if type(item) in area.takes:
                    area.given_up(item)
        log.error("an item cannot be recorded", action="record_failed", error=str(error), reported=len(batch.reported))
        settle_futures(
            batch, error if isinstance(error, Error) else Unavailable("The request could not be stored. Retry.")
        )

    async def orphan(self, tx: Tx, nodes: list[int] | None) -> None:
        """Release what these nodes held; None stands for every node but this one."""
        for area in self._areas:
            await area.orphan(tx, nodes)

    async def _apply(self, tx: Tx, batch: Batch, now: int, verify_held: bool) -> Unit:
        unit = Unit(self._ids, now, verify_held=verify_held)
        items = batch.by_type()
        for area in self._areas:
            if area.takes & items.keys():
                await area.record(tx, {kind: items.pop(kind) for kind in area.takes if kind in items}, unit)
        if items:
            raise TypeError(f"no area records {', '.join(kind.__name__ for kind in items)}")
        await self._react(tx, unit)
        return unit

    async def _apart(self, tx: Tx, work: Callable[[Tx, Unit], Awaitable[T]], now: int) -> tuple[T, Unit]:
        unit = Unit(self._ids, now)
        result = await work(tx, unit)
        await self._react(tx, unit)
        return result, unit

    async def _react(self, tx: Tx, unit: Unit) -> None:
        """Record the events of a unit and let the areas react, round by round; then write its counters."""
        for _ in range(ROUNDS):
            events = await unit.record_events(tx)
            if not events and not unit.needs_reaction:
                break
            unit.needs_reaction = False
            for area in self._areas:
                await area.react(tx, events, unit)
        else:
            await unit.defer_events(tx)
        await unit.counters.write(tx)

    async def _take_deferred(self, tx: Tx, unit: Unit) -> int:
        events = await unit.take_deferred(tx, DEFERRED)
        if events:
            for area in self._areas:
                await area.react(tx, events, unit)
        return len(events)


async def _pause(conflicts: int) -> None:
    await asyncio.sleep(random.uniform(0, CONFLICT_PAUSE_S * conflicts))  # noqa: S311 no secret


async def _any_deferred(tx: Tx) -> bool:
    return await tx.row("deferred.any") is not None
