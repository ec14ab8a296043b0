"""Delete people: at once what leads to them, then step by step what was recorded about them.

Events, messages, links and the rows of campaigns' ledgers stay without the person, so that counts stay right. A part of
the program that keeps rows about people adds its statement to `storage/sql/audience/deletions.sql`, and its name below.
"""

from functools import partial
from typing import Any

import msgspec
import structlog

from waypost.clock import MINUTE, now_us
from waypost.domain.audience.deletions import DeletionStage, next_stage
from waypost.domain.events.event import Event
from waypost.domain.messaging.message import Status
from waypost.domain.messaging.status import Transition
from waypost.domain.values.ids import internal, public
from waypost.engine.audience.changes import ProfileChanges
from waypost.engine.messaging.transitions import Transitions
from waypost.engine.runtime.recorder import Recorder
from waypost.engine.runtime.scheduler import POLL_S
from waypost.engine.runtime.unit import COUNT_ROWS, Unit
from waypost.errors import NotFound
from waypost.storage.database import Database, Tx

log = structlog.get_logger()

#: Statements that take the ids of profiles (`ids`) and run in the transaction of the request.
AT_ONCE = (
    "deletions.delete_identities",
    "deletions.delete_tags",
    "deletions.delete_members",
    "deletions.delete_confirmations",
    "deletions.delete_segment_members",
    "deletions.delete_segment_rechecks",
    "deletions.delete_trait_values",
    "deletions.delete_profiles",
)
#: Statements that take addresses (`keys`: workspace, channel, address) and run there too.
OF_ADDRESSES = ("deletions.delete_subscriptions", "deletions.strip_subscriptions", "deletions.delete_history")
#: Statements that take the ids of messages (`ids`) and run as the messages are found.
OF_MESSAGES = ("deletions.strip_messages", "deletions.strip_contents", "deletions.strip_texts")
#: Statements that take the ids of events (`ids`).
OF_EVENTS = ("deletions.forget_times", "deletions.strip_events")
#: Rows of ledgers, events, messages or links that one transaction searches.
STEP = 1000
MESSAGE_STEP = LINK_STEP = 5000
#: Deletions of one run of the job.
DELETIONS = 20
#: After so long (microseconds), what was under way during the first search is recorded.
GRACE = MINUTE
#: What is still under way then is looked for again, ever less often, up to so many times as long afterwards.
MOST_GRACES = 60

_CHANNELS = {"phone": "sms", "email": "email"}
_NEWEST = (1 << 63) - 1
_encode = msgspec.json.Encoder().encode


class _MessageId(msgspec.Struct):
    id: str = ""


class _About(msgspec.Struct):
    message: _MessageId | None = None
    message_id: str | None = None


class ProfileDeleted(msgspec.Struct):
    """The data of `profile.deleted`, without the ids of the event: what other systems delete too."""

    deleted_profile_id: str


_about = msgspec.json.Decoder(_About)


class Deletion(msgspec.Struct):
    """A deletion under way."""

    profile_id: int
    workspace_id: int
    stage: DeletionStage
    cursor_id: int
    passes: int
    messages: bool
    unfinished: bool
    created_at: int


async def delete_profile(tx: Tx, unit: Unit, workspace_id: int, profile_id: int) -> None:
    """Delete a profile with those merged into it; `advance_deletions` does the rest.

    Raise NotFound if there is none.
    """
    ids = [row[0] for row in await tx.rows("deletions.profiles", workspace_id=workspace_id, id=profile_id)]
    ids = [row[0] for row in await tx.rows("deletions.lock", ids=ids)]
    if not ids:
        raise NotFound("No profile with this id exists in this workspace.")
    addresses = [
        (workspace_id, _CHANNELS[kind], value) for kind, value in await tx.rows("deletions.addresses", ids=ids)
    ]
    node = unit.node % COUNT_ROWS
    for list_id, state, n in await tx.rows("deletions.members", ids=ids):
        unit.counters.add("list_counts.add", (list_id, state, node), -n)
    for workspace, tag, n in await tx.rows("deletions.tags", ids=ids):
        unit.counters.add("tag_counts.add", (workspace, tag, node), -n)
    if addresses:
        keys = _encode(addresses).decode()
        for query in OF_ADDRESSES:
            await tx.run(query, keys=keys)
    sent = [*map(str, ids), *(f"{channel}:{address}" for _, channel, address in addresses)]
    await tx.run("deletions.delete_sends", workspace_id=workspace_id, people=sent)
    for query in AT_ONCE:
        await tx.run(query, ids=ids)
    await tx.insert(
        "deletions.add",
        [(id_, workspace_id, DeletionStage.EVENTS.value, _NEWEST, 0, 0, 0, unit.now, unit.now) for id_ in ids],
    )
    unit.notes(ProfileChanges).add_all(ids, "deleted")
    name = public("pro", profile_id)
    data = _encode(ProfileDeleted(name))
    unit.emit([Event(workspace_id, "profile.deleted", None, unit.now, f"{name}:deleted", data)])


async def advance_deletions(database: Database, recorder: Recorder) -> float:
    """Search some more for what is recorded about deleted people; return the seconds until the next run."""
    due = await database.read(_due)
    for profile_id in due:
        while await recorder.perform(partial(_advance, profile_id)):
            pass
    return 0.0 if len(due) == DELETIONS else POLL_S


async def _due(tx: Tx) -> list[int]:
    return [row[0] for row in await tx.rows("deletions.due", now=now_us(), n=DELETIONS)]


async def _advance(profile_id: int, tx: Tx, unit: Unit) -> bool:
    """Search one step; return whether there is more to do at once."""
    row = await tx.row("deletions.load", profile_id=profile_id, now=unit.now)
    if row is None:
        return False
    deletion = Deletion(row[0], row[1], DeletionStage(row[2]), row[3], row[4], bool(row[5]), bool(row[6]), row[7])
    if deletion.stage is DeletionStage.EVENTS:
        more = deletion.cursor_id == _NEWEST and await _strip_recipients(tx, unit, deletion)
        more = more or await _strip_events(tx, unit, deletion)
    elif deletion.stage is DeletionStage.MESSAGES:
        more = await _strip_old_messages(tx, unit, deletion)
    else:
        more = await _strip_links(tx, deletion)
        # They are searched again only for messages that are found later.
        deletion.messages = more
    due_at: int | None = unit.now
    if not more:
        before = deletion.stage
        deletion.stage = next_stage(before, deletion.passes, messages=deletion.messages, unfinished=deletion.unfinished)
        deletion.cursor_id = _NEWEST if deletion.stage is DeletionStage.EVENTS else 0
        if deletion.stage is DeletionStage.EVENTS:
            deletion.passes += 1
            deletion.unfinished = False
            due_at = unit.now + GRACE * min(deletion.passes, MOST_GRACES)
        elif deletion.stage is DeletionStage.DONE:
            due_at = None
    await tx.run(
        "deletions.advance",
        profile_id=profile_id,
        stage=deletion.stage.value,
        cursor_id=deletion.cursor_id,
        passes=deletion.passes,
        messages=int(deletion.messages),
        unfinished=int(deletion.unfinished),
        due_at=due_at,
        ended_at=None if due_at is not None else unit.now,
    )
    return due_at is not None and due_at <= unit.now


async def _strip_old_messages(tx: Tx, unit: Unit, deletion: Deletion) -> bool:
    """Skip or strip some of the messages that have outlived their events; return whether there may be more.

    They were to be sent long after they were accepted, or were held for long. Events, which lead to all others, are
    deleted from the oldest one on.
    """
    rows = await old_messages(tx, deletion.workspace_id, deletion.cursor_id)
    if found := [id_ for id_, profile_id in rows if profile_id == deletion.profile_id]:
        deletion.messages = True
        sending = await _strip_messages(tx, unit, found)
        deletion.unfinished = deletion.unfinished or bool(sending)
    if rows:
        deletion.cursor_id = rows[-1][0]
    return len(rows) == MESSAGE_STEP


async def old_messages(tx: Tx, workspace_id: int, after: int) -> list[tuple[int, int | None]]:
    """Return the next messages that are older than all events of a workspace, and whose they are."""
    oldest = await tx.rows("events.oldest_of_workspace", workspace_id=workspace_id, before=_NEWEST, n=1)
    before = oldest[0][0] if oldest else _NEWEST
    rows = await tx.rows("messages.owners", workspace_id=workspace_id, after=after, before=before, n=MESSAGE_STEP)
    return [(id_, profile_id) for id_, profile_id in rows]


async def _strip_recipients(tx: Tx, unit: Unit, deletion: Deletion) -> bool:
    """Make some rows of ledgers and their messages anonymous; return whether there may be more rows.

    A row whose turn has not come is skipped when it comes, and one whose message is being sent leads to it: both stay
    until then.
    """
    rows = await tx.rows("deletions.recipients", profile_id=deletion.profile_id, n=STEP)
    messages = sorted(message_id for _, _, message_id in rows if message_id is not None)
    sending = await _strip_messages(tx, unit, messages) if messages else set()
    ended = [row for row in rows if row[1] != "waiting" and row[2] not in sending]
    keys = [
        (occurrence_id, deletion.profile_id, -(unit.ids.one(unit.now) if message_id is None else message_id))
        for occurrence_id, _, message_id in ended
    ]
    await _strip_ledger(tx, keys)
    deletion.messages = deletion.messages or bool(messages)
    deletion.unfinished = deletion.unfinished or len(ended) < len(rows)
    return len(rows) == STEP and bool(ended)


async def _strip_ledger(tx: Tx, keys: list[tuple[int, int, int]]) -> None:
    """Replace the person in rows of ledgers: occurrence, profile, and the negative id that takes its place."""
    await tx.insert("deletions.strip_recipients", keys)
    # Afterwards: who records a click locks the row of the ledger first.
    await tx.insert("deletions.delete_clicks", [key[:2] for key in keys])


async def _strip_events(tx: Tx, unit: Unit, deletion: Deletion) -> bool:
    """Make some events and their messages anonymous; return whether there may be more events."""
    rows = await tx.rows("deletions.events", profile_id=deletion.profile_id, before=deletion.cursor_id, n=STEP)
    found = {row[0]: message_of_event(row[1], row[2]) for row in rows}
    messages = sorted({id_ for id_ in found.values() if id_ is not None})
    sending: set[int] = set()
    if messages:
        deletion.messages = True
        sending = await _strip_messages(tx, unit, messages)
        deletion.unfinished = deletion.unfinished or bool(sending)
    # The events of a message that is being sent stay until it is sent: they lead to it.
    ids = [id_ for id_, message_id in found.items() if message_id not in sending]
    if ids:
        for query in OF_EVENTS:
            await tx.run(query, ids=ids)
        await tx.run("deletions.forget_events", profile_id=deletion.profile_id, ids=ids)
    if rows:
        deletion.cursor_id = rows[-1][0]
    return len(rows) == STEP


async def _strip_messages(tx: Tx, unit: Unit, ids: list[int]) -> set[int]:
    """Skip what is queued, and make messages anonymous; return those that are being sent now, which stay."""
    transitions = Transitions(unit)
    await transitions.load(tx, ids)
    sending = {state.id for state in transitions.states.values() if state.status is Status.SENDING}
    recipients = [
        (state.occurrence_id, state.profile_id, -state.id)
        for state in transitions.states.values()
        if state.id not in sending and state.occurrence_id is not None and state.profile_id is not None
    ]
    # Before the transitions are counted: these find the row by the id of the message.
    await _strip_ledger(tx, recipients)
    for state in transitions.states.values():
        if state.status in (Status.QUEUED, Status.HELD):
            state.profile_id, state.address, state.metadata = None, "", "{}"
            transitions.apply(state, Transition(status=Status.SKIPPED, at=unit.now, reason="profile_deleted"))
    await transitions.write(tx)
    ended = [id_ for id_ in transitions.states if id_ not in sending]
    for query in OF_MESSAGES if ended else ():
        await tx.run(query, ids=ended)
    return sending


async def _strip_links(tx: Tx, deletion: Deletion) -> bool:
    row = await tx.row("deletions.link_bound", after=deletion.cursor_id, n=LINK_STEP)
    if row is None or row[0] is None:
        return False
    await tx.run("deletions.strip_links", after=deletion.cursor_id, bound=row[0], profile_id=deletion.profile_id)
    deletion.cursor_id = row[0]
    return bool(row[1] == LINK_STEP)


def message_of_event(type_: str, data: Any) -> int | None:
    """Return the message that an event is about."""
    if type_.startswith("event."):
        return None
    try:
        about = _about.decode(data)
        name = about.message.id if about.message is not None else about.message_id
        return internal("msg", name) if name else None
    except (msgspec.DecodeError, NotFound):
        return None
