"""The tracking area of the recorder: every click and open is an event, counted by message and hour."""

from typing import Any

import msgspec

from waypost.clock import HOUR, SECOND
from waypost.domain.events.event import Event
from waypost.domain.events.segment import message_key
from waypost.domain.messaging.message_events import CampaignSummary
from waypost.domain.messaging.status import HistoryEntry, MessageState
from waypost.domain.tracking.bursts import Burst, follow
from waypost.domain.tracking.click_events import CLICKS, EMAIL_OPENED, clicked, opened, read_click
from waypost.domain.tracking.clicks import Judgement, Visit, judge
from waypost.domain.values.address_ranges import AddressRanges
from waypost.domain.values.ids import public
from waypost.engine.runtime.unit import COUNT_ROWS, Unit
from waypost.engine.tracking.campaigns import load_campaigns
from waypost.engine.tracking.clicks import Click, ClickIntake, Open
from waypost.engine.tracking.message_states import KnownMessage, load_messages
from waypost.storage.database import Tx

_numbers = msgspec.json.Decoder(list[int])
_encode = msgspec.json.Encoder().encode

#: What counts the events of a type.
_COUNTERS = dict.fromkeys(CLICKS, "click_counts.add") | {EMAIL_OPENED: "open_counts.add"}


class TrackingNotes(msgspec.Struct):
    """The clicks of a unit of work, and how many of them machines made."""

    clicks: list[Click] = []
    opens: list[Open] = []
    by_machines: int = 0


class TrackingArea:
    """Records clicks as events, and counts those and the ones that providers report."""

    takes: frozenset[type] = frozenset({Click, Open})

    def __init__(self, intake: ClickIntake, datacenters: AddressRanges) -> None:
        self._intake = intake
        #: Addresses of data centers: people seldom browse from there.
        self._datacenters = datacenters
        #: Clicks that this process recorded, by people and by machines.
        self.clicks = self.machine_clicks = 0
        #: Opens that it recorded.
        self.opens = 0

    async def record(self, tx: Tx, items: dict[type, list[Any]], unit: Unit) -> None:
        """Record one event per click and open. Repeats of one that was recorded already are dropped."""
        clicks: list[Click] = items.get(Click, [])
        opens: list[Open] = items.get(Open, [])
        notes = unit.notes(TrackingNotes)
        notes.clicks, notes.opens = clicks, opens
        messages = await load_messages(
            tx, {click.link.message_id for click in clicks} | {opened.message_id for opened in opens}
        )
        occurrences = {state.occurrence_id for state, _ in messages.values() if state.occurrence_id is not None}
        campaigns = await load_campaigns(tx, occurrences)
        bursts = await _load_bursts(tx, clicks)
        events = [self._click_event(click, messages, campaigns, bursts, notes) for click in clicks]
        events += [self._open_event(one, messages, campaigns) for one in opens]
        if bursts:
            rows = [(id_, b.began_at, b.last_at, _encode(b.numbers).decode(), b.baited_at) for id_, b in bursts.items()]
            await tx.insert("click_bursts.set", sorted(rows))
        unit.emit(await unit.unseen(tx, events))

    async def react(self, tx: Tx, events: list[Event], unit: Unit) -> None:
        """Count the clicks and opens among the events by message and hour, those of machines apart."""
        hour = unit.now // HOUR * HOUR // SECOND
        for event in events:
            query = _COUNTERS.get(event.type)
            if query is None:
                continue
            message_id, machine = read_click(event.data)
            if message_id is not None:
                key = (message_id, hour, unit.node % COUNT_ROWS, event.workspace_id)
                unit.counters.add(query, key, 0 if machine else 1, int(machine))

    def committed(self, unit: Unit) -> None:
        """Let the requests of recorded clicks and opens go on."""
        notes = unit.noted(TrackingNotes)
        if notes is not None:
            self.machine_clicks += notes.by_machines
            self.clicks += len(notes.clicks) - notes.by_machines
            self.opens += len(notes.opens)
            self._intake.recorded(notes.clicks)
            self._intake.recorded(notes.opens)

    def given_up(self, item: Any) -> None:
        """Count a click or an open that cannot be recorded as dropped."""
        self._intake.give_up(item)

    async def orphan(self, tx: Tx, nodes: list[int] | None) -> None:
        """Do nothing: nodes hold no clicks in the database."""

    def _judge(self, visit: Visit, at: int, history: list[HistoryEntry]) -> Judgement:
        in_datacenter = bool(self._datacenters) and visit.ip in self._datacenters
        return judge(visit, at, history, in_datacenter=in_datacenter)

    def _open_event(
        self, opened_: Open, messages: dict[int, KnownMessage], campaigns: dict[int, CampaignSummary]
    ) -> Event:
        visit = opened_.visit
        state, history = _of_workspace(messages, opened_.message_id, opened_.workspace_id)
        name = f"{public('msg', opened_.message_id)}:{opened_.nonce}"
        return opened(
            state,
            self._judge(visit, opened_.at, history),
            workspace_id=opened_.workspace_id,
            message_id=opened_.message_id,
            at=opened_.at,
            ip=visit.ip,
            user_agent=visit.user_agent,
            event_name=name,
            key=message_key(opened_.workspace_id, name),
            campaign=campaigns.get(state.occurrence_id or 0) if state is not None else None,
        )

    def _click_event(
        self,
        click: Click,
        messages: dict[int, KnownMessage],
        campaigns: dict[int, CampaignSummary],
        bursts: dict[int, Burst],
        notes: TrackingNotes,
    ) -> Event:
        link, visit = click.link, click.visit
        state, history = _of_workspace(messages, link.message_id or 0, link.workspace_id)
        judgement = self._judge(visit, click.at, history)
        if link.number is not None and link.message_id is not None:
            bursts[link.message_id], reason = follow(bursts.get(link.message_id), link.number, click.at)
            if reason is not None and judgement.machine_reason is None:
                judgement = Judgement(judgement.device, reason)
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
            number=link.number,
            campaign=campaigns.get(state.occurrence_id or 0) if state is not None else None,
        )


def _of_workspace(
    messages: dict[int, KnownMessage], message_id: int, workspace_id: int
) -> tuple[MessageState | None, list[HistoryEntry]]:
    """Return a message and its history, or None for one that was deleted."""
    state, history = messages.get(message_id, (None, []))
    return (state, history) if state is not None and state.workspace_id == workspace_id else (None, [])


async def _load_bursts(tx: Tx, clicks: list[Click]) -> dict[int, Burst]:
    """Return the latest clicks on the emails of clicks, in one query."""
    ids = sorted({c.link.message_id for c in clicks if c.link.number is not None and c.link.message_id is not None})
    rows = await tx.rows("click_bursts.load", ids=ids) if ids else []
    return {id_: Burst(began, last, _numbers.decode(numbers), baited) for id_, began, last, numbers, baited in rows}
