"""Campaigns as an area of the recorder: what became of their messages, what people did, and who reached the goal."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from waypost.domain.campaigns.engagement import ENGAGEMENTS, Engagement, read_engagement
from waypost.domain.events.event import Event
from waypost.domain.messaging.message import Status
from waypost.engine.campaigns.counts import StatusCount
from waypost.engine.campaigns.goals import GoalRegistry
from waypost.engine.messaging.transitions import MessagingNotes, RecipientMoved
from waypost.engine.runtime.unit import Unit
from waypost.storage.database import Row, Tx

_encode = msgspec.json.Encoder().encode
_clicks = msgspec.json.Decoder(list[tuple[int, int, str]])

#: By status: what a recipient has. One whose message is being sent is queued: only what is certain is shown.
_SHOWN = {status: "queued" if status is Status.SENDING else status.value for status in Status}
_OVER = frozenset({Status.SENT, Status.DELIVERED})
#: Those who can reach the goal: who got it, or may have got it, and who was to get nothing.
_CONVERTING = frozenset({"sent", "delivered", "unknown", "holdout"})
_OPEN = frozenset({Status.QUEUED, Status.HELD, Status.SENDING, Status.UNKNOWN})


class CampaignNotes(msgspec.Struct):
    """What a unit of work leaves for the jobs of campaigns."""

    #: Whether messages left the queue, so that there is room for more.
    room: bool = False


class Doings(msgspec.Struct, array_like=True):
    """What a recipient has done so far: when first."""

    occurrence_id: int
    profile_id: int
    variant: str | None
    opened_at: int | None
    clicked_at: int | None
    converted_at: int | None
    status: str
    due_at: int
    changed: bool = False

    @property
    def key(self) -> tuple[int, int]:
        """Occurrence and profile."""
        return self.occurrence_id, self.profile_id


_recipients = msgspec.json.Decoder(list[Doings])


class CampaignArea:
    """Keeps the ledger and the counts of campaigns up to date in the transactions of what happens."""

    takes: frozenset[type] = frozenset()

    def __init__(self, goals: GoalRegistry, wake: Callable[[], None]) -> None:
        self._goals = goals
        #: Called after a commit that made room for more messages.
        self._wake = wake

    async def record(self, tx: Tx, items: dict[type, list[Any]], unit: Unit) -> None:
        """Do nothing: campaigns have no items of their own."""

    async def react(self, tx: Tx, events: list[Event], unit: Unit) -> None:
        """Write what became of messages and what people did since the last call."""
        notes = unit.noted(MessagingNotes)
        if notes is not None and notes.recipients:
            moved, notes.recipients[:] = list(notes.recipients), []
            await _move(tx, moved, unit)
        found = [one for event in events if event.type in ENGAGEMENTS and (one := read_engagement(event)) is not None]
        goals = self._goals.of(events)
        if found or goals:
            await _engage(tx, found, goals, unit)

    def committed(self, unit: Unit) -> None:
        """Wake the job that hands over messages when some left the queue."""
        notes = unit.noted(CampaignNotes)
        if notes is not None and notes.room:
            self._wake()

    def given_up(self, item: Any) -> None:
        """Do nothing: campaigns report no items."""

    async def orphan(self, tx: Tx, nodes: list[int] | None) -> None:
        """Release the parts that evicted nodes were handing over; None stands for every node."""
        if nodes is None:
            await tx.run("occurrence_parts.orphan_all")
        else:
            await tx.run("occurrence_parts.orphan", nodes=nodes)


async def _move(tx: Tx, moved: list[RecipientMoved], unit: Unit) -> None:
    """Set the statuses of recipients, and count them."""
    rows: dict[tuple[int, int], Row] = {}
    for one in moved:
        status, reason, code = one.after
        after = _SHOWN[status]
        kept = reason if after in ("held", "skipped", "failed") else None
        key = (one.occurrence_id, one.recipient_id)
        rows[key] = (*key, after, kept, code)
    # Most messages of a batch move alike.
    alike = Counter((one.occurrence_id, one.variant, one.before, one.after) for one in moved)
    for (occurrence_id, variant, (was, was_reason, was_code), (status, reason, code)), n in alike.items():
        counts = StatusCount(unit, occurrence_id)
        before, after = _SHOWN[was], _SHOWN[status]
        counts.add(before, was_reason, was_code, variant, -n)
        counts.add(after, reason, code, variant, n)
        if status in _OVER and was in _OPEN:
            counts.happened("sent", "", None, variant, n)
        if status is Status.DELIVERED and was is not Status.DELIVERED:
            counts.happened("delivered", "", None, variant, n)
        if status is Status.FAILED and was is not Status.FAILED:
            counts.happened("failed", "", code, variant, n)
        if before == "queued" and after != "queued":
            unit.notes(CampaignNotes).room = True
    await tx.insert("recipients.move", [rows[key] for key in sorted(rows)])


async def _engage(tx: Tx, found: list[Engagement], goals: list[tuple[int, int, int, int]], unit: Unit) -> None:
    """Count what people did with messages, and who reached a goal; the first of a person is counted as unique."""
    keys = {(one.occurrence_id, one.profile_id) for one in found if one.profile_id is not None}
    rows_of = await _rows_of_people(tx, {profile_id for _, profile_id, _, _ in goals})
    keys |= {(occurrence_id, id_) for occurrence_id, profile_id, _, _ in goals for id_ in rows_of[profile_id]}
    row = await tx.row("recipients.engaged", keys=_encode(sorted(keys)).decode()) if keys else None
    people = {one.key: one for one in _recipients.decode(row[0] if row else "[]")}
    await _count_links(tx, found, people, unit)
    for one in found:
        counts = StatusCount(unit, one.occurrence_id)
        person = people.get((one.occurrence_id, one.profile_id or 0))
        variant = one.variant
        if one.kind in ("opened", "clicked"):
            counts.happened(f"{one.kind}_machine" if one.machine else one.kind, "", None, variant)
            if person is None or one.machine:
                continue
            if one.kind == "opened" and person.opened_at is None:
                person.opened_at, person.changed = one.at, True
                counts.happened("opened_unique", "", None, variant)
            if one.kind == "clicked" and person.clicked_at is None:
                person.clicked_at, person.changed = one.at, True
                counts.happened("clicked_unique", "", None, variant)
        else:
            counts.happened(one.kind, "", None, variant)
    for occurrence_id, profile_id, at, within in goals:
        found_rows = [people[key] for id_ in rows_of[profile_id] if (key := (occurrence_id, id_)) in people]
        reached = [row for row in found_rows if row.status in _CONVERTING and row.due_at <= at <= row.due_at + within]
        if not reached or any(row.converted_at is not None for row in found_rows):
            continue
        person = reached[0]
        person.converted_at, person.changed = at, True
        group = "holdout" if person.status == "holdout" else ""
        StatusCount(unit, occurrence_id).happened("converted", group, None, person.variant)
    await tx.insert(
        "recipients.engage",
        [
            (*key, person.opened_at, person.clicked_at, person.converted_at)
            for key, person in sorted(people.items())
            if person.changed
        ],
    )


async def _rows_of_people(tx: Tx, profiles: set[int]) -> dict[int, list[int]]:
    """Return under which profiles people may be in ledgers: their own one first, then those merged into it."""
    found = {id_: [id_] for id_ in profiles}
    for into, id_ in await tx.rows("profiles.merged_into_many", ids=sorted(profiles)) if profiles else ():
        found[into].append(id_)
    return found


async def _count_links(tx: Tx, found: list[Engagement], people: dict[tuple[int, int], Doings], unit: Unit) -> None:
    """Count clicks by link; the first click of a person on a link is unique."""
    clicks = [one for one in found if one.kind == "clicked" and one.link]
    if not clicks:
        return
    keys = sorted(
        {
            (one.occurrence_id, one.profile_id, one.link)
            for one in clicks
            if (one.occurrence_id, one.profile_id) in people and one.profile_id is not None and not one.machine
        }
    )
    row = await tx.row("campaign_clicks.known", keys=_encode(keys).decode()) if keys else None
    known = set(_clicks.decode(row[0] if row else "[]"))
    new: dict[tuple[int, int, str], int] = {}
    for one in clicks:
        counts = StatusCount(unit, one.occurrence_id)
        counts.happened("link_machine" if one.machine else "link", one.link, None, one.variant)
        key = (one.occurrence_id, one.profile_id or 0, one.link)
        if not one.machine and key in keys and key not in known:
            known.add(key)
            new[key] = one.at
            counts.happened("link_unique", one.link, None, one.variant)
    await tx.insert("campaign_clicks.add", [(*key, at) for key, at in sorted(new.items())])
