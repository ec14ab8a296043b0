"""The webhook area of the recorder: write deliveries for events, and settle them by their attempts."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from waypost.domain.events.event import Event
from waypost.domain.webhooks.delivery import AttemptOutcome
from waypost.domain.webhooks.endpoint import event_object, webhook_body
from waypost.engine.runtime.unit import Unit
from waypost.engine.webhooks.attempts import Released, release_deliveries, settle_attempts
from waypost.engine.webhooks.claims import release_held
from waypost.engine.webhooks.dispatcher import Dispatcher
from waypost.engine.webhooks.endpoint_snapshot import EndpointRegistry, EndpointSnapshot
from waypost.engine.webhooks.lane import Attempt, Task
from waypost.engine.webhooks.ledger_counts import count_deliveries
from waypost.engine.webhooks.ordering import BLOCKED, OrderedDelivery, Pair, find_predecessors, ordered_delivery
from waypost.engine.webhooks.room import BatchRoom
from waypost.storage.database import Tx


class WebhookNotes(msgspec.Struct):
    """What a unit of work passes to the dispatcher after the commit."""

    #: New deliveries that this process holds.
    tasks: list[Task] = []
    #: Endpoints that have deliveries in the database only.
    spilled: set[int] = set()
    snapshots: dict[int, EndpointSnapshot] = {}
    #: Endpoints that were disabled.
    disabled: list[int] = []
    attempts: list[Attempt] = []
    released: list[Released] = []
    #: Deliveries that another transaction was changing when others were recorded that wait for them.
    unsure: list[Pair] = []
    #: When the first retry or notice is due.
    due_at: int | None = None

    def wake_at(self, due_at: int) -> None:
        """Note that something is due at this time."""
        if self.due_at is None or due_at < self.due_at:
            self.due_at = due_at


class WebhookArea:
    """Writes deliveries for events, settles attempts, and passes new deliveries to the dispatcher."""

    takes: frozenset[type] = frozenset({Attempt, Released})

    def __init__(
        self, dispatcher: Dispatcher, endpoints: EndpointRegistry, *, retry_base: float, wake_at: Callable[[int], None]
    ) -> None:
        self._dispatcher = dispatcher
        self._endpoints = endpoints
        self._retry_base = retry_base
        self._wake_at = wake_at
        self.attempts = dict.fromkeys(AttemptOutcome, 0)
        #: Deliveries that others wait for and that may have ended meanwhile; the job `order` takes them.
        self.unsure: set[Pair] = set()
        #: Wakes that job.
        self.wake_order: Callable[[], None] = lambda: None

    async def record(self, tx: Tx, items: dict[type, list[Any]], unit: Unit) -> None:
        """Release deliveries that were not tried, and settle those that were."""
        notes = unit.notes(WebhookNotes)
        if released := items.get(Released):
            notes.released = released
            await release_deliveries(tx, released, unit)
            notes.wake_at(unit.now)
        if attempts := items.get(Attempt):
            notes.attempts = attempts
            settlement = await settle_attempts(tx, attempts, unit, retry_base=self._retry_base)
            notes.disabled = settlement.disabled
            if settlement.due_at is not None:
                notes.wake_at(settlement.due_at)

    async def react(self, tx: Tx, events: list[Event], unit: Unit) -> None:
        """Write a delivery for each endpoint subscribed to an event; hold as many as the lanes have room for."""
        notes = unit.notes(WebhookNotes)
        workspaces = list({event.workspace_id for event in events})
        notes.snapshots |= await self._endpoints.load_changed(tx, workspaces)
        room = self._dispatcher.batch_room()
        rows: list[tuple[Any, ...]] = []
        ordered: list[OrderedDelivery] = []
        #: How many deliveries of each workspace and endpoint.
        accepted: dict[tuple[int, int], int] = {}
        now, node = unit.now, unit.node
        for event in events:
            snapshot = notes.snapshots.get(event.workspace_id) or self._endpoints.snapshot(event.workspace_id)
            if snapshot is None or not snapshot.endpoints:
                continue
            body = _Body(event)
            for endpoint in snapshot.subscriptions.wanting(event.type, body):
                if endpoint.ordered:
                    ordered.append(ordered_delivery(endpoint, event.id, event.message_id, body()))
                elif room.take(endpoint.id, len(event.data)):
                    notes.tasks.append(Task(endpoint, event.id, body(), 0, 0))
                    rows.append((endpoint.id, event.id, "pending", 0, 0, now, node, None, None))
                else:
                    notes.spilled.add(endpoint.id)
                    rows.append((endpoint.id, event.id, "pending", 0, 0, now, None, None, None))
                key = endpoint.workspace_id, endpoint.id
                accepted[key] = accepted.get(key, 0) + 1
        for (workspace_id, endpoint_id), count in accepted.items():
            count_deliveries(unit.counters, node, workspace_id, endpoint_id, accepted=count, pending=count)
        await tx.insert("deliveries.insert", rows)
        if ordered:
            await self._write_ordered(tx, ordered, room, unit, notes)
        if not all(self._dispatcher.in_trouble(id_) for id_ in notes.spilled):
            notes.wake_at(unit.now)

    async def _write_ordered(
        self, tx: Tx, deliveries: list[OrderedDelivery], room: BatchRoom, unit: Unit, notes: WebhookNotes
    ) -> None:
        """Write deliveries to ordered endpoints; those that wait for another one stay in the database."""
        notes.unsure += await find_predecessors(tx, deliveries)
        rows: list[tuple[Any, ...]] = []
        for one in deliveries:
            endpoint, due_at, node = one.endpoint, unit.now, None
            if one.waits_for is not None:
                due_at = BLOCKED
            elif room.take(endpoint.id, len(one.body)):
                notes.tasks.append(Task(endpoint, one.event_id, one.body, 0, 0))
                node = unit.node
            else:
                notes.spilled.add(endpoint.id)
            rows.append(
                (endpoint.id, one.event_id, "pending", 0, 0, due_at, node, None, None, one.subject, one.waits_for)
            )
        await tx.insert("deliveries.insert_ordered", rows)

    def committed(self, unit: Unit) -> None:
        """Pass new deliveries and changed endpoints to the dispatcher."""
        notes = unit.noted(WebhookNotes)
        if notes is None:
            return
        for attempt in notes.attempts:
            self.attempts[attempt.outcome] += 1
        self._dispatcher.holdings.drop([(attempt.endpoint_id, attempt.event_id) for attempt in notes.attempts])
        self._drop_holdings(notes.released)
        self._endpoints.adopt(notes.snapshots)
        self._dispatcher.offer(notes.tasks)
        for endpoint_id in notes.spilled:
            self._dispatcher.note_spilled(endpoint_id)
        if notes.disabled:
            self._dispatcher.configure([], notes.disabled)
        if notes.due_at is not None:
            self._wake_at(notes.due_at)
        if notes.unsure:
            self.unsure.update(notes.unsure)
            self.wake_order()

    def given_up(self, item: Any) -> None:
        """Drop the delivery; the look-back releases it later."""
        self._drop_holdings([item])

    async def orphan(self, tx: Tx, nodes: list[int] | None) -> None:
        """Release the deliveries that these nodes held, so that others can claim them."""
        await release_held(tx, nodes)

    def _drop_holdings(self, items: Sequence[Attempt | Released]) -> None:
        for item in items:
            if isinstance(item, Released):
                self._dispatcher.holdings.drop(item.deliveries)
            else:
                self._dispatcher.holdings.drop([(item.endpoint_id, item.event_id)])


class _Body:
    """The body of a webhook, built on first use and shared by all endpoints."""

    __slots__ = ("_body", "_event")

    def __init__(self, event: Event) -> None:
        self._event = event
        self._body: bytes | None = None

    def __call__(self) -> bytes:
        if self._body is None:
            event = self._event
            data = event_object(event.id, event.message_id, event.profile_id, event.data)
            self._body = webhook_body(event.type, event.occurred_at, data)
        return self._body
