"""Occurrences of campaigns: begin them when they are due, put their audiences into the ledger, and end them."""

from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import structlog

from waypost.clock import SECOND, Ids, now_us
from waypost.domain.campaigns.campaign import CampaignAction, CampaignState, Definition, share_of
from waypost.domain.campaigns.schedule import FARTHEST, SendLocal, due_time
from waypost.domain.messaging.message import Status
from waypost.domain.messaging.status import Transition
from waypost.domain.values.durations import parse_duration
from waypost.domain.values.ids import public
from waypost.domain.values.timezones import person_zone
from waypost.engine.audience.recipients import Recipient, load_recipients
from waypost.engine.campaigns.audience import among_campaign, page_of_campaign
from waypost.engine.campaigns.campaigns import act, add_throttle, read_campaign, read_definition
from waypost.engine.campaigns.counts import StatusCount, count_statuses, status_key
from waypost.engine.messaging.transitions import Transitions
from waypost.engine.runtime.recorder import Recorder
from waypost.engine.runtime.scheduler import POLL_S, Alarm
from waypost.engine.runtime.unit import Unit
from waypost.errors import Conflict
from waypost.storage.database import Database, Row, Tx

log = structlog.get_logger()

#: Profiles that one query reads, and recipients that one transaction writes.
READ = 100_000
STEP = 2_500
#: Recipients of a part: one process makes their messages at once.
PART = 500
#: Seconds of a throttle's rate that a part has at most.
PART_S = 5
#: Messages that one step of a pause or a cancellation changes.
MOVED = 1_000
#: The reason of messages that a paused campaign holds.
PAUSED = "campaign_paused"
_HELD_BY_PAUSE = status_key(Status.HELD, PAUSED)


class OpenOccurrence(msgspec.Struct, kw_only=True):
    """An occurrence that is not over, with what its campaign says."""

    id: int
    workspace_id: int
    campaign_id: int
    planned_at: int
    state: str
    cursor_id: int
    audience: int
    throttle_id: int | None
    #: The variant that won its test, if that is decided and one did.
    winner: str | None
    decided_at: int | None = None
    created_at: int = 0
    campaign_state: CampaignState
    name: str
    channel: str
    definition: Definition
    #: Of the campaign.
    version: int

    @property
    def begins_at(self) -> int:
        """When it began; later than planned if no process ran, or the campaign was paused."""
        return max(self.planned_at, self.created_at)

    @property
    def decides_at(self) -> int | None:
        """When the winner of its test is decided; None without a test. The turn of the sample comes before."""
        test = self.definition.test
        return None if test is None else self.begins_at + parse_duration(test.after, "test.after")


async def load_open(tx: Tx) -> list[OpenOccurrence]:
    """Return the occurrences that are not over, of all workspaces, oldest first."""
    return [
        OpenOccurrence(
            **record
            | {
                "definition": read_definition(record["definition"]),
                "campaign_state": CampaignState(record["campaign_state"]),
            }
        )
        for record in await tx.records("occurrences.open")
    ]


class Occurrences:
    """Advances the occurrences of all campaigns; any number of processes may do so at once."""

    def __init__(
        self,
        database: Database,
        recorder: Recorder,
        ids: Ids,
        zone_of: Callable[[int], ZoneInfo],
        alarm: Alarm,
        wake_handover: Callable[[], None],
    ) -> None:
        self._database = database
        self._recorder = recorder
        self._ids = ids
        #: Returns the zone of a workspace.
        self._zone_of = zone_of
        self._alarm = alarm
        #: Called when recipients wait for their turn.
        self._wake_handover = wake_handover

    async def advance(self) -> float:
        """Begin what is due, prepare, pause, cancel and end what is open; return the seconds until the next run."""
        self._alarm.clear()
        now = now_us()
        busy = False
        for (campaign_id,) in await self._database.read(_due, now):
            busy = await self._begin(campaign_id) or busy
        occurrences, counts = await self._database.read(_load_open_and_counts)
        for one in occurrences:
            statuses = counts.get(one.id, {})
            if one.campaign_state is CampaignState.CANCELLED:
                busy = await self._cancel(one) or busy
            elif one.campaign_state is CampaignState.PAUSED:
                if _any_waits(statuses):
                    busy = await self._hold(one) or busy
            elif one.campaign_state is CampaignState.LIVE:
                if statuses.get(_HELD_BY_PAUSE, 0) > 0:
                    busy = await self._move_messages(one, Status.HELD, _queued, reason=PAUSED) or busy
                if one.state == "preparing":
                    busy = await self._prepare(one) or busy
                elif _is_over(statuses):
                    busy = await self._end(one) or busy
        if busy:
            return 0.0
        following = await self._database.read(_next_due)
        return POLL_S if following is None else min(max((following - now_us()) / SECOND, 0.005), POLL_S)

    async def _begin(self, campaign_id: int) -> bool:
        """Begin the next occurrence of a campaign, unless another process has; return whether it began."""

        async def work(tx: Tx) -> bool:
            records = await tx.records("campaigns.lock", id=campaign_id)
            if not records:
                return False
            campaign, now = read_campaign(records[0]), now_us()
            if campaign.next_at is None or campaign.next_at > now:
                return False
            if campaign.state not in (CampaignState.SCHEDULED, CampaignState.LIVE):
                return False
            id_ = self._ids.one(now)
            definition = campaign.definition
            rate = definition.rate
            lists = definition.audience.numbers("lists")
            only = len(lists) == 1 and not definition.audience.segments and not definition.audience.profiles
            if rate is not None:
                await add_throttle(tx, campaign.workspace_id, campaign.id, rate, now)
                # Earlier occurrences may have had another one.
                await tx.run("buckets.set_rate", id=campaign.id, per_second=rate)
            await tx.run(
                "occurrences.add",
                id=id_,
                workspace_id=campaign.workspace_id,
                campaign_id=campaign.id,
                planned_at=campaign.next_at,
                list_id=lists[0] if only else None,
                throttle_id=campaign.id if rate is not None else None,
                now=now,
            )
            await act(tx, campaign, CampaignAction.BEGIN, now)
            return True

        try:
            return await self._database.transact(work)
        except Conflict:
            # Another process began it.
            return False

    async def _prepare(self, one: OpenOccurrence) -> bool:
        """Put the next people of the audience into the ledger; return whether there may be more."""
        now = now_us()
        audience, exclude = one.definition.audience, one.definition.exclude

        async def read(tx: Tx) -> tuple[list[int], frozenset[int]]:
            ids = await page_of_campaign(tx, one.workspace_id, audience, one.cursor_id, READ, now)
            without = await among_campaign(tx, one.workspace_id, exclude, ids[0], ids[-1], now) if ids else frozenset()
            return ids, without

        ids, without = await self._database.read(read)
        cursor = one.cursor_id
        for start in range(0, len(ids), STEP):
            step = ids[start : start + STEP]
            people = {}
            if isinstance(one.definition.schedule, SendLocal):
                people = (await self._database.read(load_recipients, one.workspace_id, step, [])).people
            rows, parts, counted = self._plan(one, step, without, people, now)
            if not await self._database.transact(_write_step, one, cursor, step[-1], "preparing", rows, parts, counted):
                # Another process prepares it, or the campaign was paused.
                return False
            cursor = step[-1]
            self._wake_handover()
        if len(ids) < READ:
            await self._database.transact(_write_step, one, cursor, cursor, "sending", [], [], {})
            log.info("an audience is complete", action="campaign_prepared", occurrence=public("occ", one.id))
        return True

    def _plan(
        self,
        one: OpenOccurrence,
        ids: list[int],
        without: frozenset[int],
        people: dict[int, Recipient],
        now: int,
    ) -> tuple[list[Row], list[Row], dict[tuple[str, str], int]]:
        """Return the rows of the ledger for these people, the parts, and how many have which status and variant."""
        definition, test = one.definition, one.definition.test
        begins_at = one.begins_at if not isinstance(definition.schedule, SendLocal) else now
        decision = one.decides_at
        rows: list[Row] = []
        counted: dict[tuple[str, str], int] = {}
        turns: dict[int, list[int]] = {}
        for id_ in ids:
            status, reason = "waiting", None
            due_at: int | None = begins_at
            if id_ in without:
                status, reason = "skipped", "excluded"
            elif definition.holdout and share_of(one.campaign_id, "holdout", id_) < definition.holdout:
                status = "holdout"
            else:
                if people and (person := people.get(id_)) is not None:
                    zone = person_zone(
                        person.traits.get("timezone"), person.identifiers.get("phone"), self._zone_of(one.workspace_id)
                    )
                    due_at = due_time(definition.schedule, zone, begins_at, now)
                if due_at is None:
                    status, reason = "skipped", "time_passed"
                elif test is not None and decision is not None and share_of(one.id, "sample", id_) >= test.sample:
                    due_at = max(due_at, decision)
            rows.append((one.id, id_, status, reason, None, None, None, due_at or begins_at))
            key = (status if reason is None else f"{status}:{reason}", "")
            counted[key] = counted.get(key, 0) + 1
            if status == "waiting":
                turns.setdefault(due_at or begins_at, []).append(id_)
        rate = definition.rate
        # With a throttle, a part is a few seconds of it: people are rendered shortly before their turn.
        size = PART if rate is None else min(max(int(rate * PART_S), 1), PART)
        parts = [
            (one.id, due_at, chunk[0], chunk[-1], len(chunk), None)
            for due_at, members in sorted(turns.items())
            for chunk in (members[start : start + size] for start in range(0, len(members), size))
        ]
        return rows, parts, counted

    async def _end(self, one: OpenOccurrence) -> bool:
        """End an occurrence whose recipients are all done, and its campaign if it was the last one that was open."""

        async def work(tx: Tx) -> bool:
            records = await tx.records("campaigns.lock", id=one.campaign_id)
            if not await tx.run("occurrences.end", id=one.id, state="done", now=now_us()) or not records:
                return False
            campaign = read_campaign(records[0])
            others = await tx.row("occurrences.count_open", campaign_id=one.campaign_id)
            if campaign.state is CampaignState.LIVE and campaign.next_at is None and others == (0,):
                await act(tx, campaign, CampaignAction.FINISH, now_us())
            return True

        return await self._database.transact(work)

    async def _cancel(self, one: OpenOccurrence) -> bool:
        """Skip the people of a cancelled occurrence who have not got it; return whether there may be more to do."""
        if await self._move_messages(one, Status.QUEUED, _skipped):
            return True
        if await self._move_messages(one, Status.HELD, _skipped):
            return True

        async def work(tx: Tx, unit: Unit) -> bool:
            await tx.run("occurrence_parts.delete_all", occurrence_id=one.id)
            ids = [row[0] for row in await tx.rows("recipients.waiting", occurrence_id=one.id, n=STEP)]
            if not ids:
                # A message that a provider is being given may come back to the queue: it is skipped then.
                statuses = (await count_statuses(tx, [one.id])).get(one.id, {})
                if not statuses.get("queued", 0) and not statuses.get("held", 0):
                    await tx.run("occurrences.end", id=one.id, state="cancelled", now=unit.now)
                return False
            n = await tx.run("recipients.skip", occurrence_id=one.id, ids=ids, reason="cancelled")
            counts = StatusCount(unit, one.id)
            counts.add("waiting", None, None, "", -n)
            counts.add("skipped", "cancelled", None, "", n)
            return True

        return await self._recorder.perform(work)

    async def _hold(self, one: OpenOccurrence) -> bool:
        """Hold the messages of a paused campaign, also those that sending rules hold: they would be queued again."""
        queued = await self._move_messages(one, Status.QUEUED, _held)
        return await self._move_messages(one, Status.HELD, _held, besides=PAUSED) or queued

    async def _move_messages(
        self,
        one: OpenOccurrence,
        status: Status,
        change: Callable[[int], Transition],
        *,
        reason: str = "",
        besides: str = "",
    ) -> bool:
        """Change the messages of recipients with a status and reason, some at a time; return whether there were any."""

        async def work(tx: Tx, unit: Unit) -> bool:
            place = {"occurrence_id": one.id, "status": status.value, "reason": reason, "besides": besides}
            ids = [row[0] for row in await tx.rows("recipients.messages", **place, n=MOVED)]
            transitions = Transitions(unit)
            await transitions.load(tx, ids)
            states = [state for id_ in ids if (state := transitions.states.get(id_)) and state.status is status]
            if change is _queued:
                # The pause does not count against the time in which they may be tried.
                later = [(state.id, state.expires_at + max(unit.now - state.status_at, 0)) for state in states]
                await tx.insert("recipients.prolong", later)
            for state in states:
                transitions.apply(state, change(unit.now))
            await transitions.write(tx)
            return bool(states)

        return await self._recorder.perform(work)


def _held(now: int) -> Transition:
    # It is due when the campaign is resumed, and not before: sending rules queue what they held when it is due.
    return Transition(status=Status.HELD, at=now, due_at=now + FARTHEST, reason=PAUSED)


def _queued(now: int) -> Transition:
    return Transition(status=Status.QUEUED, at=now, due_at=now)


def _skipped(now: int) -> Transition:
    return Transition(status=Status.SKIPPED, at=now, reason="cancelled")


async def _due(tx: Tx, now: int) -> list[Row]:
    return await tx.rows("campaigns.due", now=now, n=100)


async def _next_due(tx: Tx) -> int | None:
    row = await tx.row("campaigns.next")
    return row[0] if row else None


async def _load_open_and_counts(tx: Tx) -> tuple[list[OpenOccurrence], dict[int, dict[str, int]]]:
    """Return the occurrences that are not over, and how many recipients of each have which status and reason."""
    occurrences = await load_open(tx)
    ids = [one.id for one in occurrences]
    return occurrences, await count_statuses(tx, ids, with_reasons=True) if ids else {}


def _any_waits(statuses: dict[str, int]) -> bool:
    """Return whether messages of an occurrence wait, for another reason than that the campaign is paused."""
    return any(
        n > 0 and (key == "queued" or (key.startswith("held:") and key != _HELD_BY_PAUSE))
        for key, n in statuses.items()
    )


def _is_over(statuses: dict[str, int]) -> bool:
    """Return whether all recipients of an occurrence are done."""
    return not any(n for key, n in statuses.items() if key.partition(":")[0] in ("waiting", "queued", "held"))


async def _write_step(
    tx: Tx,
    one: OpenOccurrence,
    was: int,
    cursor_id: int,
    state: str,
    rows: list[Row],
    parts: list[Row],
    counted: dict[tuple[str, str], int],
) -> bool:
    """Write a step of the ledger; return False, having written nothing, if it is not this process's turn."""
    held = await tx.row("campaigns.hold", id=one.campaign_id)
    if held is None or held[0] != CampaignState.LIVE:
        return False
    if not await tx.run("occurrences.advance", id=one.id, was=was, cursor_id=cursor_id, added=len(rows), state=state):
        return False
    await tx.insert("recipients.add", rows)
    await tx.insert("occurrence_parts.add", parts)
    counts: list[tuple[Any, ...]] = [
        (one.id, "status", key, 0, variant, 0, 0, n) for (key, variant), n in sorted(counted.items())
    ]
    await tx.insert("campaign_counts.add", counts)
    return True
