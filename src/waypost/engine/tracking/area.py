"""The tracking area of the recorder: every click is an event, and clicks are counted by message and hour."""

from typing import Any

import msgspec

from waypost.clock import HOUR, SECOND
from waypost.domain.events.event import Event
from waypost.domain.events.segment import message_key
from waypost.domain.messaging.message import Status
from waypost.domain.messaging.status import HistoryEntry, MessageState
from waypost.domain.tracking.click_events import CLICKED, clicked, read_click
from waypost.domain.tracking.clicks import judge
from waypost.domain.values.address_ranges import AddressRanges
from waypost.domain.values.ids import public
from waypost.engine.runtime.unit import COUNT_ROWS, Unit
from waypost.engine.tracking.clicks import Click, ClickIntake
from waypost.storage.database import Tx

_history = msgspec.json.Decoder(list[HistoryEntry])

_COLUMNS = [name for name in MessageState.__struct_fields__ if name != "history_length"]

#: The state of a message and its history.
_Message = tuple[MessageState, list[HistoryEntry]]


class TrackingNotes(msgspec.Struct):
    """The clicks of a unit of work, and how many of them machines made."""

    clicks: list[Click] = []
    by_machines: int = 0


class TrackingArea:
    """Records clicks as events, and counts those and the ones that providers report."""

    takes: frozenset[type] = frozenset({Click})

    def __init__(self, intake: ClickIntake, datacenters: AddressRanges) -> None:
        self._intake = intake
        #: Addresses of data centers: people seldom browse from there.
        self._datacenters = datacenters
        #: Clicks that this process recorded, by people and by machines.
        self.clicks = self.machine_clicks = 0

    async def record(self, tx: Tx, items: dict[type, list[Any]], unit: Unit) -> None:
        """Record one event per click. Repeats of a click that was recorded already are dropped."""
        clicks: list[Click] = items[Click]
        notes = unit.notes(TrackingNotes)
        notes.clicks = clicks
        messages = await _load_messages(tx, clicks)
        fresh = await unit.unseen(tx, [self._event(click, messages, notes) for click in clicks])
        unit.emit(fresh)

    async def react(self, tx: Tx, events: list[Event], unit: Unit) -> None:
        """Count the clicks among the events by message and hour, those of machines apart."""
        hour = unit.now // HOUR * HOUR // SECOND
        for event in events:
            if event.type != CLICKED:
                continue
            message_id, machine = read_click(event.data)
            if message_id is not None:
                key = (message_id, hour, unit.node % COUNT_ROWS, event.workspace_id)
                unit.counters.add("click_counts.add", key, 0 if machine else 1, int(machine))

    def committed(self, unit: Unit) -> None:
        """Let the requests of recorded clicks go on."""
        notes = unit.noted(TrackingNotes)
        if notes is not None:
            self.machine_clicks += notes.by_machines
            self.clicks += len(notes.clicks) - notes.by_machines
            self._intake.recorded(notes.clicks)

    def given_up(self, item: Any) -> None:
        """Count a click that cannot be recorded as dropped."""
        self._intake.give_up(item)

    async def orphan(self, tx: Tx, nodes: list[int] | None) -> None:
        """Do nothing: nodes hold no clicks in the database."""

    def _event(self, click: Click, messages: dict[int, _Message], notes: TrackingNotes) -> Event:
        link, visit = click.link, click.visit
        state, history = messages.get(link.message_id or 0, (None, []))
        in_datacenter = bool(self._datacenters) and visit.ip in self._datacenters
        judgement = judge(visit, click.at, history, in_datacenter=in_datacenter)
        notes.by_machines += judgement.machine_reason is not None
        name = f"{public('lnk', link.id)}:{click.nonce}"
        return clicked(
            state,
            judgement,
            workspace_id=link.workspace_id,
            message_id=link.message_id,
            profile_id=link.profile_id if state is None else state.profile_id,
            link_id=link.id,
            url=link.url,
            at=click.at,
            ip=visit.ip,
            user_agent=visit.user_agent,
            event_name=name,
            key=message_key(link.workspace_id, name),
        )


async def _load_messages(tx: Tx, clicks: list[Click]) -> dict[int, _Message]:
    """Return the messages of clicks by their ids, in one query."""
    ids = sorted({click.link.message_id for click in clicks if click.link.message_id is not None})
    if not ids:
        return {}
    found: dict[int, _Message] = {}
    for record in await tx.records("clicks.messages", ids=ids):
        history = record["history"]
        values = {name: record[name] for name in _COLUMNS} | {"status": Status(record["status"])}
        state = MessageState(**values, history_length=len(history))
        found[state.id] = (state, _history.decode(f"[{history}]"))
    return found
