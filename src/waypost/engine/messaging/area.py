"""The messaging area of the recorder: record batches, send results and receipts; each transition emits an event."""

from collections.abc import Callable
from typing import Any

from waypost.clock import now_us
from waypost.domain.events.event import Event
from waypost.domain.messaging.message import Receipt
from waypost.domain.messaging.receipt import Quarantined
from waypost.domain.messaging.status import MessageState
from waypost.engine.messaging.matching import Rematching, take_unmatched, unmatched_row
from waypost.engine.messaging.queue import orphan_sending
from waypost.engine.messaging.receipts import apply_receipts, apply_stored
from waypost.engine.messaging.recording import (
    MessageBatch,
    Routing,
    SendResult,
    record_messages,
    record_results,
    record_unreadable,
)
from waypost.engine.messaging.transitions import MessagingNotes, Transitions
from waypost.engine.runtime.encryption import Encryption
from waypost.engine.runtime.recorder import Recorder
from waypost.engine.runtime.unit import Unit
from waypost.storage.database import Database, Tx


class MessagingArea:
    """Records new messages, the results of sends, and receipts."""

    takes: frozenset[type] = frozenset({MessageBatch, SendResult, Receipt, Quarantined})

    def __init__(self, encryption: Encryption, routing: Routing, follow: Callable[[MessagingNotes], None]) -> None:
        self._encryption = encryption
        self._routing = routing
        #: Called after a commit with what is due and which connections were paused.
        self._follow = follow

    async def record(self, tx: Tx, items: dict[type, list[Any]], unit: Unit) -> None:
        """Record new messages, send results, receipts and unreadable callbacks, in this order."""
        transitions = Transitions(unit)
        if batches := items.get(MessageBatch):
            await record_messages(tx, batches, transitions, self._encryption)
        named: dict[int, list[MessageState]] = {}
        if results := items.get(SendResult):
            unit.notes(MessagingNotes).results = results
            named = await record_results(tx, results, transitions, self._routing)
        if receipts := items.get(Receipt):
            same_account = self._routing.same_account
            left = await apply_receipts(tx, receipts, transitions, same_account=same_account, named=named)
            await tx.insert("unmatched.add", [unmatched_row(unit.ids, receipt, unit.now) for receipt in left])
        await transitions.write(tx)
        if unreadable := items.get(Quarantined):
            await record_unreadable(tx, unreadable, unit)

    async def react(self, tx: Tx, events: list[Event], unit: Unit) -> None:
        """Do nothing: no event causes a message."""

    def committed(self, unit: Unit) -> None:
        """Pass what is due and which connections were paused to the sender."""
        notes = unit.noted(MessagingNotes)
        if notes is not None:
            self._follow(notes)

    def given_up(self, item: Any) -> None:
        """Do nothing: a message whose result cannot be recorded stays held, because it may have been sent."""

    async def orphan(self, tx: Tx, nodes: list[int] | None) -> None:
        """Mark the messages that these nodes were sending as orphaned; the recovery job settles them."""
        await orphan_sending(tx, nodes)


async def rematch(recorder: Recorder, database: Database, rematching: Rematching, routing: Routing) -> bool:
    """Apply one page of stored receipts whose message is known now; return whether there was a page."""
    page = await database.read(rematching.find, now_us())
    if page is None:
        return False

    async def work(tx: Tx, unit: Unit) -> None:
        transitions = Transitions(unit)
        taken = await take_unmatched(tx, page.known)
        await apply_stored(tx, taken, transitions, same_account=routing.same_account)
        await transitions.write(tx)

    if page.known:
        await recorder.perform(work)
    rematching.passed(page)
    return True
