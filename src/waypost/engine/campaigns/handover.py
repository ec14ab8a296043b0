"""Hand the recipients of campaigns to the senders: claim a part, render each person's message, record them together."""

from typing import Any

import msgspec
import structlog

from waypost.clock import SECOND, Ids, now_us
from waypost.domain.campaigns.campaign import CampaignAction, CampaignState
from waypost.domain.providers.connection import Connection
from waypost.domain.templates.template import CompiledTemplate
from waypost.domain.values.ids import internal, public
from waypost.engine.accounts.notices import stopped_notice
from waypost.engine.audience.recipients import (
    Recipients,
    load_recipients,
)
from waypost.engine.campaigns.campaigns import (
    MESSAGE_CHANNELS,
    act,
    add_throttle,
    read_campaign,
    spread,
    template_number,
)
from waypost.engine.campaigns.counts import StatusCount, count_statuses
from waypost.engine.campaigns.occurrences import OpenOccurrence, load_open
from waypost.engine.campaigns.render_process import RenderProcess
from waypost.engine.campaigns.rendering import Handed, RenderJob
from waypost.engine.campaigns.winner import choose_winner
from waypost.engine.messaging.recording import MessageBatch, record_messages
from waypost.engine.messaging.senders import SenderRegistry
from waypost.engine.messaging.transitions import Transitions
from waypost.engine.providers.registry import ConnectionRegistry
from waypost.engine.runtime.encryption import Encryption
from waypost.engine.runtime.idempotency import Answer
from waypost.engine.runtime.recorder import Recorder
from waypost.engine.runtime.scheduler import POLL_S, Alarm
from waypost.engine.runtime.unit import Unit
from waypost.engine.templates.templates import Templates
from waypost.engine.tracking.mail import MailTracker, NewUrl
from waypost.engine.tracking.settings import TrackingRegistry
from waypost.errors import NotFound
from waypost.storage.database import Database, Row, Tx

log = structlog.get_logger()

#: Messages of one occurrence that wait to be sent: seconds of a throttle's rate, or a number without a throttle. People
#: are rendered when their turn comes, and a pause has little to hold back.
AHEAD_S = 5
AHEAD = 4_000
_NO_ANSWER = Answer(202, b"")

_encode = msgspec.json.Encoder().encode


class Part(msgspec.Struct):
    """Recipients of an occurrence whose turn has come, claimed by this process."""

    due_at: int
    first_id: int
    last_id: int
    recipients: int


class Handover:
    """Makes the messages of recipients whose turn has come. Any number of processes do so at once."""

    def __init__(
        self,
        database: Database,
        recorder: Recorder,
        ids: Ids,
        connections: ConnectionRegistry,
        templates: Templates,
        encryption: Encryption,
        tracker: MailTracker,
        tracking: TrackingRegistry,
        senders: SenderRegistry,
        alarm: Alarm,
    ) -> None:
        self._database = database
        self._recorder = recorder
        self._ids = ids
        self._connections = connections
        self._templates = templates
        self._encryption = encryption
        self._tracker = tracker
        self._tracking = tracking
        self._senders = senders
        self._alarm = alarm
        self.renderer = RenderProcess(tracker)
        #: The node whose parts this process released when it started to use its number.
        self._node: int | None = None

    async def run(self) -> float:
        """Hand over one part of every occurrence that has room; return the seconds until the next run."""
        self._alarm.clear()
        if self._node != self._ids.node:
            # A claim whose commit was not confirmed, or one of a run that failed.
            await self._database.transact(_release, self._ids.node)
            self._node = self._ids.node
        now = now_us()
        due = await self._database.read(_due, now)
        if not due:
            return await self._pause(now)
        busy = False
        try:
            for one in await self._database.read(load_open):
                if one.id in due and one.campaign_state is CampaignState.LIVE:
                    busy = await self._hand_over(one) or busy
        except BaseException:
            # What was claimed is released by the next run.
            self._node = None
            raise
        return 0.0 if busy else POLL_S / 20

    async def _pause(self, now: int) -> float:
        following = await self._database.read(_next, now)
        return POLL_S if following is None else min(max((following - now_us()) / SECOND, 0.005), POLL_S)

    async def _hand_over(self, one: OpenOccurrence) -> bool:
        """Hand over one part of an occurrence; return whether there was one, and room for it."""
        rate = one.definition.rate
        waiting = (await self._database.read(count_statuses, [one.id])).get(one.id, {}).get("queued", 0)
        if waiting > (AHEAD if rate is None else min(rate * AHEAD_S, AHEAD)):
            return False
        connection = self._connection(one)
        if connection is None:
            # Another process may have just made it, and this one has not read it yet.
            await self._connections.refresh([one.workspace_id])
            connection = self._connection(one)
        if connection is None:
            await self._stop(one, "no_connection")
            return False
        try:
            template = await self._templates.get(one.workspace_id, template_number(one.definition) or 0)
        except NotFound:
            await self._stop(one, "unknown_template")
            return False
        rows = await self._database.transact(_claim, one, self._ids.node, now_us())
        if not rows:
            return False
        part = Part(*rows[0])
        handed, urls = await self._make(one, part, template, connection, waiting)
        if await self._recorder.perform(lambda tx, unit: self._record(tx, unit, one, part, handed, urls)):
            self._tracker.stored(urls)
        return True

    def _connection(self, one: OpenOccurrence) -> Connection | None:
        known = self._connections
        named = one.definition.connection_id
        if named is not None:
            found = known.get(one.workspace_id, internal("con", named))
            return found if found is not None and found.status != "disabled" else None
        channel = MESSAGE_CHANNELS[one.channel]
        order = known.preferred(one.workspace_id, channel) or known.paused(one.workspace_id, channel)
        return order[0] if order else None

    async def _make(
        self, one: OpenOccurrence, part: Part, template: CompiledTemplate, connection: Connection, waiting: int
    ) -> tuple[list[Handed], list[NewUrl]]:
        """Return what becomes of the recipients of a part, and the URLs to store; nothing is recorded yet."""
        ids, people, present = await self._database.read(_load, one, part)
        winner = await self._winner(one, part)
        now = now_us()
        job = RenderJob(
            one=one,
            connection_id=connection.id,
            validity_s=connection.validity_s,
            organization=people.organization,
            sender=self._senders.default(one.workspace_id, MESSAGE_CHANNELS[one.channel]),
            tracking=self._tracking.get(one.workspace_id),
            now=now,
            winner=winner,
            people=[],
        )
        handed: list[Handed] = []
        for profile_id, message_id in zip(ids, self._ids.take(len(ids), now), strict=True):
            person = people.people.get(profile_id)
            if person is None:
                handed.append(Handed(profile_id, reason="profile_deleted"))
            elif person.id != profile_id and person.id in present:
                handed.append(Handed(profile_id, reason="merged"))
            else:
                job.people.append((profile_id, message_id, person))
        rendered = await self.renderer.render(job, template)
        rate, made = one.definition.rate, 0
        start = spread(now, waiting, rate)
        for result in rendered.handed:
            if result.message is not None:
                result.message.due_at = spread(start, made, rate)
                result.message.expires_at += result.message.due_at
                made += 1
        return handed + rendered.handed, rendered.urls

    async def _winner(self, one: OpenOccurrence, part: Part) -> str | None:
        """Return the variant that the people of a part get because it won the test; None for their own ones."""
        if not self._decides(one, part):
            return None
        return await self._database.transact(choose_winner, one) if one.decided_at is None else one.winner

    def _decides(self, one: OpenOccurrence, part: Part) -> bool:
        """Return whether the people of a part get the variant that won the test."""
        return one.decides_at is not None and part.due_at >= one.decides_at

    async def _record(
        self,
        tx: Tx,
        unit: Unit,
        one: OpenOccurrence,
        part: Part,
        handed: list[Handed],
        urls: list[NewUrl],
    ) -> bool:
        """Record the messages of a part and what became of its recipients; return False if it is not ours any more."""
        held = await tx.row("campaigns.hold", id=one.campaign_id)
        if held is None or held[0] != CampaignState.LIVE:
            await tx.run("occurrence_parts.release", node=unit.node)
            return False
        place = {"occurrence_id": one.id, "due_at": part.due_at, "first_id": part.first_id, "node": unit.node}
        if not await tx.run("occurrence_parts.delete", **place):
            # This process was evicted, and another one hands the part over.
            return False
        transitions = Transitions(unit)
        messages = [result.message for result in handed if result.message is not None]
        if messages:
            links = [link for result in handed for link in result.links]
            batch = MessageBatch(
                workspace_id=one.workspace_id, messages=messages, key=None, answer=_NO_ANSWER, urls=urls, links=links
            )
            await record_messages(tx, [batch], transitions, self._encryption)
        await transitions.write(tx)
        counts = StatusCount(unit, one.id)
        counts.add("waiting", None, None, "", -len(handed))
        rows: list[Row] = []
        for result in handed:
            status = "skipped" if result.message is None else "queued"
            message_id = None if result.message is None else result.message.id
            counts.add(status, result.reason, None, result.variant)
            rows.append((one.id, result.profile_id, status, result.reason, result.variant, message_id, unit.now))
        await tx.insert("recipients.hand_over", rows)
        return True

    async def _stop(self, one: OpenOccurrence, reason: str) -> None:
        """Pause a campaign that cannot go on until somebody repairs something."""

        async def work(tx: Tx) -> None:
            records, now = await tx.records("campaigns.lock", id=one.campaign_id), now_us()
            if records and records[0]["state"] == CampaignState.LIVE:
                await act(tx, read_campaign(records[0]), CampaignAction.PAUSE, now, reason=reason)
                notice = stopped_notice(self._ids.one(now), one.workspace_id, one.campaign_id, one.name, reason, now)
                await tx.insert("notices.add", [notice])

        log.warning(
            "a campaign cannot send", action="campaign_paused", campaign=public("cmp", one.campaign_id), reason=reason
        )
        await self._database.transact(work)


async def _load(tx: Tx, one: OpenOccurrence, part: Part) -> tuple[list[int], Recipients, frozenset[int]]:
    """Return the recipients of a part, the people, and the recipients among those that they were merged into."""
    rows = await tx.rows(
        "recipients.of_part",
        occurrence_id=one.id,
        first_id=part.first_id,
        last_id=part.last_id,
        due_at=part.due_at,
    )
    ids = [row[0] for row in rows]
    people = await load_recipients(tx, one.workspace_id, ids, [])
    merged = sorted({person.id for id_, person in people.people.items() if person.id != id_})
    present = await tx.rows("recipients.present", occurrence_id=one.id, ids=merged) if merged else []
    return ids, people, frozenset(row[0] for row in present)


async def _due(tx: Tx, now: int) -> frozenset[int]:
    return frozenset(row[0] for row in await tx.rows("occurrence_parts.due", now=now))


async def _next(tx: Tx, now: int) -> int | None:
    row: tuple[Any, ...] | None = await tx.row("occurrence_parts.next", now=now)
    return row[0] if row else None


async def _claim(tx: Tx, one: OpenOccurrence, node: int, now: int) -> list[Row]:
    rate = one.definition.rate
    if one.throttle_id is not None and rate is not None:
        # Retention deletes buckets that nothing has used for days: the campaign may have been paused.
        await add_throttle(tx, one.workspace_id, one.throttle_id, rate, now)
    return await tx.rows("occurrence_parts.claim", occurrence_id=one.id, node=node, now=now)


async def _release(tx: Tx, node: int) -> int:
    return await tx.run("occurrence_parts.release", node=node)
