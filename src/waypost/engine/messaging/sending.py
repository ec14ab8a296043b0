"""Send messages: a lane for each connection that has messages due, each at its own pace."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import msgspec
import structlog

from waypost.clock import SECOND, Ids, now_us
from waypost.domain.messaging.message import Outgoing, SendOutcome, Verdict
from waypost.domain.messaging.receipt import ID, WORDS, clean
from waypost.domain.providers.connection import Connection
from waypost.domain.values.circuit_breaker import FAILURE_THRESHOLD
from waypost.domain.values.ids import public
from waypost.engine.messaging.connection_lane import ConnectionLane, divide
from waypost.engine.messaging.queue import (
    Claim,
    claim,
    is_stuck,
    queue_unsent,
    recover_orphaned,
    recover_unacknowledged,
    reroute_queued,
)
from waypost.engine.messaging.recording import SendResult
from waypost.engine.messaging.rule_checks import RulesOf
from waypost.engine.messaging.transitions import MessagingNotes, Transitions
from waypost.engine.messaging.unowned import UnownedMessages
from waypost.engine.providers.provider_client import ProviderClient
from waypost.engine.providers.registry import ConnectionRegistry
from waypost.engine.runtime.journal import Journal
from waypost.engine.runtime.recorder import Recorder
from waypost.engine.runtime.unit import Unit
from waypost.errors import Error, Unavailable
from waypost.storage.database import Database, Tx

log = structlog.get_logger()

T = TypeVar("T")

#: How often the database is polled for what is due: another process may have queued messages.
POLL_S = 1.0
#: A lane that its rate limit holds back waits at least this long, so that its next claim takes several messages.
PACE_S = 0.05
#: Timers may fire a little early.
EARLY_S = 0.001
#: The pause after the database was unavailable.
PAUSE_S = 0.5
#: The most messages that one transaction claims, and that one step of a recovery job moves.
MOST = 1000
STEP = 500
#: A claim that was committed although the database could not confirm it: the age at which it is recovered, and how
#: often the job looks for one.
FORGOTTEN_S = 60.0
LOOK_BACK_S = 10.0


class Idle(msgspec.Struct):
    """A connection that has queued messages and does not send."""

    id: int
    workspace_id: int
    channel: str
    #: Whether it was deleted.
    gone: bool
    #: Whether its messages may go to another connection; not when only this process cannot read it.
    gives: bool


class Sender:
    """Claims due messages, connection by connection, sends them, and reports the results to the journal."""

    def __init__(
        self,
        database: Database,
        connections: ConnectionRegistry,
        client: ProviderClient,
        journal: Journal,
        recorder: Recorder,
        ids: Ids,
        retry_s: float,
        safe: Callable[[], bool] = lambda: True,
        rules_of: RulesOf = lambda _: None,
    ) -> None:
        #: Whether this process certainly holds what it claimed. While it does not, nothing of that is sent.
        self._safe = safe
        self._rules_of = rules_of
        self._database = database
        self._connections = connections
        self._client = client
        self._journal = journal
        self._recorder = recorder
        self._ids = ids
        self._retry_s = retry_s
        #: The tasks that claim messages, by connection.
        self._claiming: dict[int, asyncio.Task[None]] = {}
        self._lanes: dict[int, ConnectionLane] = {}
        #: Timers that wake lanes whose next message is due soon, and their times.
        self._alarms: dict[int, tuple[int, asyncio.TimerHandle]] = {}
        #: Connections for which messages became due while their lane was at work.
        self._again: set[int] = set()
        self._calls: set[asyncio.Task[None]] = set()
        #: Messages that this process claimed and whose results are not recorded yet.
        self._held: set[int] = set()
        self._looked_back = now_us()
        self._unowned = UnownedMessages(database)
        #: Connections that were just paused, until the registry has read them again.
        self._broken: set[int] = set()
        self._others: set[asyncio.Task[None]] = set()
        self._draining = False
        self.outcomes = dict.fromkeys(SendOutcome, 0)

    @property
    def share(self) -> int:
        """How many processes send through the same connections; each takes its share of their concurrency."""
        return self._client.share

    @share.setter
    def share(self, processes: int) -> None:
        self._client.share = processes

    def wake(self, connections: Iterable[int]) -> None:
        """Start the lanes of these connections: they have messages due."""
        for id_ in connections:
            self._again.add(id_)
            if id_ not in self._claiming and not self._draining:
                self._claiming[id_] = asyncio.create_task(self._work(id_), name=f"lane-{id_}")

    @property
    def in_flight(self) -> int:
        """How many calls are under way."""
        return len(self._calls)

    async def stop(self, within: float) -> None:
        """Start no more calls, queue again what is claimed and not sent, and wait for the calls in progress."""
        self._draining = True
        for _, alarm in self._alarms.values():
            alarm.cancel()
        end = time.monotonic() + within
        if claiming := list(self._claiming.values()):
            for lane in self._lanes.values():
                lane.freed.set()
            await asyncio.wait(claiming, timeout=within)
        await self._give_back_all()
        if self._calls:
            await asyncio.wait(self._calls, timeout=max(end - time.monotonic(), 0))
        for task in [*self._claiming.values(), *self._calls]:
            task.cancel()
        await asyncio.gather(*self._claiming.values(), *self._calls, return_exceptions=True)

    def recorded(self, results: list[SendResult]) -> None:
        """Stop holding the messages of these results, which were just committed."""
        self._held.difference_update(result.message_id for result in results)

    def follow(self, notes: MessagingNotes) -> None:
        """After a commit: send what became due, and stop using connections that were paused."""
        self.recorded(notes.results)
        for connection_id, due_at in notes.due.items():
            self._wake_at(connection_id, due_at)
        if notes.paused:
            self._broken |= notes.paused.keys()
            for id_ in notes.paused.keys() & self._lanes.keys():
                self._lanes[id_].freed.set()
            for id_ in notes.paused:
                log.warning(
                    "a provider refuses a connection", action="connection_paused", connection=public("con", id_)
                )
            task = asyncio.create_task(self._refresh(notes.paused))
            self._others.add(task)
            task.add_done_callback(self._others.discard)

    def resume(self) -> None:
        """After a heartbeat: send what waited because this process was not sure to hold it any more."""
        for connection_id, lane in list(self._lanes.items()):
            if lane.waiting:
                self._pump(connection_id, lane)
            lane.freed.set()

    def forget(self) -> None:
        """Drop what is claimed and not sent: this process was evicted, and another one has settled it."""
        for lane in self._lanes.values():
            self._held.difference_update(message.id for part in lane.waiting for message in part)
            lane.waiting.clear()
            lane.claimed = 0

    def _wake_at(self, connection_id: int, due_at: int) -> None:
        """Wake the lane of a connection at a time; the poll finds what is due after the next poll."""
        wait = (due_at - now_us()) / SECOND
        if wait <= 0:
            self.wake([connection_id])
            return
        before = self._alarms.get(connection_id)
        if wait >= POLL_S * 2 or self._draining or (before is not None and before[0] <= due_at):
            return
        if before is not None:
            before[1].cancel()
        alarm = asyncio.get_running_loop().call_later(wait + EARLY_S, self._ring, connection_id)
        self._alarms[connection_id] = (due_at, alarm)

    def _ring(self, connection_id: int) -> None:
        del self._alarms[connection_id]
        self.wake([connection_id])

    async def poll_due(self) -> float:
        """Wake the lanes that have messages due; return the seconds until the next poll."""
        now = now_us()
        soonest = now + int(POLL_S * SECOND)
        ready = []
        for id_, due_at in await self._database.read(_next_due):
            if due_at <= now:
                ready.append(id_)
            else:
                soonest = min(soonest, due_at)
        self.wake(ready)
        return max((soonest - now_us()) / SECOND, 0.005)

    async def recover(self) -> float:
        """Settle messages of ended processes, and reroute those that cannot be sent. Return the next pause."""
        repeatable = {c.id for c in self._connections.all() if c.connector.idempotent}

        busy = False
        if await self._database.read(_any_orphaned):
            busy = await self._move(lambda tx, transitions: recover_orphaned(tx, transitions, repeatable, STEP)) > 0
        if now_us() - self._looked_back > LOOK_BACK_S * SECOND:
            self._looked_back = now_us()
            await self._look_back()
        for idle in await self._database.read(_idle, {c.id for c in self._connections.all()}):
            busy = await self._reroute(idle) > 0 or busy
        return 0.02 if busy else POLL_S

    async def _look_back(self) -> None:
        """Queue again messages whose claim this process does not know of; orphan those that no process owns."""
        before = now_us() - int(FORGOTTEN_S * SECOND)
        if await self._database.read(_any_unacknowledged, self._ids.node, before, self._held):
            await self._move(
                lambda tx, transitions: recover_unacknowledged(tx, transitions, before, self._held, self._rules_of)
            )
        await self._unowned.orphan()

    async def _reroute(self, idle: Idle) -> int:
        instead = None
        if idle.gives:
            order = self._connections.preferred(idle.workspace_id, idle.channel)
            instead = next((other.id for other in order if other.id != idle.id), None)
        if not await self._database.read(is_stuck, idle.id, idle.gone, instead is not None, now_us()):
            return 0
        return await self._move(
            lambda tx, transitions: reroute_queued(tx, idle.id, idle.gone, instead, transitions, STEP)
        )

    async def _move(self, work: Callable[[Tx, Transitions], Awaitable[T]]) -> T:
        """Return the result of `work(tx, transitions)` once the transitions are durable."""

        async def write(tx: Tx, unit: Unit) -> T:
            transitions = Transitions(unit)
            result = await work(tx, transitions)
            await transitions.write(tx)
            return result

        return await self._recorder.perform(write)

    async def _work(self, connection_id: int) -> None:
        """Claim the messages of one connection, ahead of its calls, until none is due."""
        lane = self._lanes.setdefault(connection_id, ConnectionLane(time.monotonic()))
        try:
            while not self._draining:
                connection = self._usable(connection_id)
                if connection is None:
                    # When it may send again, the poll finds what is due.
                    self._again.discard(connection_id)
                    await self._give_back(lane)
                    return
                slots, size = self._client.calls(connection), connection.connector.batch_size
                ahead = lane.ahead(time.monotonic())
                health = self._connections.health(connection_id)
                if health.failures >= FAILURE_THRESHOLD:
                    await self._give_back(lane)
                    if health.failing(now_us()):
                        await self._back_off(connection, health.open_until)
                        return
                    # One message shows whether it has recovered.
                    slots, size, ahead = 1, 1, 0
                free = max(slots - len(lane.calls), 0) * size
                room = free + ahead - lane.claimed if self._safe() else 0
                # A claim is worth its transaction if it takes half of what may be claimed in all.
                worth = (min(slots * size + ahead, MOST) + 1) // 2
                if room <= 0 or room < worth:
                    lane.low_water = ahead - worth
                    lane.freed.clear()
                    await lane.freed.wait()
                    continue
                self._again.discard(connection_id)
                began = time.monotonic()
                try:
                    found = await self._claim(connection, min(room, MOST))
                except Error as error:
                    log.warning("could not claim messages", action="claim_failed", error=error.detail)
                    await asyncio.sleep(PAUSE_S)
                    continue
                lane.note_claim(time.monotonic() - began)
                self._held.update(message.id for message in found.messages)
                lane.waiting += divide(found.messages, connection.connector.batch_size)
                lane.claimed += len(found.messages)
                self._pump(connection_id, lane)
                if found.wait and found.more:
                    await asyncio.sleep(min(max(found.wait / SECOND, PACE_S), POLL_S))
                if not found.more and connection_id not in self._again:
                    if found.due_at is not None:
                        self._wake_at(connection_id, found.due_at)
                    return
        except Exception:
            log.exception("a lane failed", action="lane_failed", connection=public("con", connection_id))
            await asyncio.sleep(PAUSE_S)
        finally:
            self._claiming.pop(connection_id, None)
            self._forget_idle(connection_id, lane)
            if connection_id in self._again and not self._draining:
                self._again.discard(connection_id)
                self.wake([connection_id])

    def _usable(self, connection_id: int) -> Connection | None:
        """Return the connection, or None if no message may be sent through it."""
        connection = self._connections.by_number(connection_id)
        if connection is None or not _sends(connection) or connection_id in self._broken:
            return None
        return connection

    def _pump(self, connection_id: int, lane: ConnectionLane) -> None:
        """Start as many calls of a lane as its connection allows; queue again what may not be sent."""
        connection = self._usable(connection_id)
        if connection is None or self._draining or self._connections.failing(connection_id):
            if lane.waiting and not self._draining:
                task = asyncio.create_task(self._give_back(lane))
                self._others.add(task)
                task.add_done_callback(self._others.discard)
            return
        calls = self._client.calls(connection) if self._safe() else 0
        while lane.waiting and len(lane.calls) < calls:
            call = asyncio.create_task(self._send_parts(connection, lane, self._next_part(lane)))
            lane.calls.add(call)
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)

    def _next_part(self, lane: ConnectionLane) -> list[Outgoing]:
        part = lane.waiting.popleft()
        lane.claimed -= len(part)
        return part

    def _forget_idle(self, connection_id: int, lane: ConnectionLane) -> None:
        if not lane.calls and not lane.waiting and connection_id not in self._claiming:
            self._lanes.pop(connection_id, None)

    async def _give_back(self, lane: ConnectionLane) -> None:
        """Queue again what a lane has claimed and not sent."""
        ids = [message.id for part in lane.waiting for message in part]
        lane.waiting.clear()
        lane.claimed = 0
        if not ids:
            return
        with contextlib.suppress(Error):
            await self._move(lambda tx, transitions: queue_unsent(tx, transitions, ids, self._rules_of))
        # The look-back finds what could not be queued again, since it is no longer held.
        self._held.difference_update(ids)
        lane.freed.set()

    async def _give_back_all(self) -> None:
        for lane in list(self._lanes.values()):
            await self._give_back(lane)

    async def _back_off(self, connection: Connection, until: int) -> None:
        """Pause the lane of a failing connection, and reroute the messages that another connection may send."""
        self._again.discard(connection.id)
        self._wake_at(connection.id, until)
        order = self._connections.preferred(connection.workspace_id, connection.channel)
        if not order or self._connections.failing(order[0].id):
            return
        idle = Idle(connection.id, connection.workspace_id, connection.channel, False, True)
        try:
            while await self._reroute(idle):
                pass
        except Error as error:
            log.warning("could not reroute messages", action="reroute_failed", error=error.detail)

    async def _claim(self, connection: Connection, most: int) -> Claim:
        rules = self._rules_of(connection.workspace_id)
        return await self._move(lambda tx, transitions: claim(tx, connection, most, transitions, rules))

    async def _send_parts(self, connection: Connection, lane: ConnectionLane, part: list[Outgoing]) -> None:
        """Send what one call takes, then what the next one takes, while there is something to send."""
        task = asyncio.current_task()
        while True:
            await self._send_part(connection, lane, part)
            if (
                not lane.waiting
                or self._draining
                or not self._safe()
                or self._usable(connection.id) is not connection
                or self._connections.failing(connection.id)
                or len(lane.calls) > self._client.calls(connection)
            ):
                break
            part = self._next_part(lane)
            if lane.claimed <= lane.low_water:
                lane.freed.set()
        # The slot is free before the results are recorded.
        if task is not None:
            lane.calls.discard(task)
        self._pump(connection.id, lane)
        lane.freed.set()
        self._forget_idle(connection.id, lane)

    async def _send_part(self, connection: Connection, lane: ConnectionLane, messages: list[Outgoing]) -> None:
        """Send the messages of one call, and report the results."""
        try:
            verdicts = await self._client.send(connection, messages, now_us())
        except Exception:
            # How far it came is unknown.
            log.exception("a call failed", action="call_failed", connection=public("con", connection.id))
            verdicts = [Verdict(outcome=SendOutcome.UNKNOWN, reason="internal")] * len(messages)
        now = now_us()
        self._connections.note(connection, verdicts, now, self._retry_s)
        for message, verdict in zip(messages, verdicts, strict=True):
            self.outcomes[verdict.outcome] += 1
            self._journal.report(
                SendResult(message.id, message.tries + 1, now, _clean_verdict(verdict), connection.version)
            )
        lane.note_tries(len(messages))

    async def _refresh(self, paused: dict[int, int]) -> None:
        """Read paused connections again before their lanes use them."""
        with contextlib.suppress(Unavailable):
            await self._connections.refresh(sorted(set(paused.values())))
        self._broken -= paused.keys()


def _sends(connection: Connection) -> bool:
    return connection.status == "enabled"


async def _next_due(tx: Tx) -> list[tuple[int, int]]:
    return [(row[0], row[2]) for row in await tx.rows("messages.next_due") if row[2] is not None]


async def _any_orphaned(tx: Tx) -> bool:
    return bool(await tx.rows("messages.orphaned", n=1))


async def _any_unacknowledged(tx: Tx, node: int, before: int, held: set[int]) -> bool:
    return any(row[0] not in held for row in await tx.rows("messages.overdue", node=node, before=before))


async def _idle(tx: Tx, known: set[int]) -> list[Idle]:
    """Return connections that have queued messages and do not send, by the database: memory may be behind."""
    return [
        Idle(row[0], row[1], row[5], row[3] is not None, row[4] != "enabled")
        for row in await tx.rows("messages.next_due")
        if row[2] is not None and (row[4] != "enabled" or row[0] not in known)
    ]


def _clean_verdict(verdict: Verdict) -> Verdict:
    """Return the verdict with texts that a database accepts: cut, and without control characters."""
    texts = (verdict.provider_message_id, verdict.provider_code, verdict.detail, verdict.reason)
    if all(text is None or (len(text) <= ID and text.isprintable()) for text in texts):
        return verdict
    return msgspec.structs.replace(
        verdict,
        provider_message_id=None if verdict.provider_message_id is None else clean(verdict.provider_message_id, ID),
        provider_code=None if verdict.provider_code is None else clean(verdict.provider_code, ID),
        detail=None if verdict.detail is None else clean(verdict.detail, WORDS),
        reason=None if verdict.reason is None else clean(verdict.reason, ID),
    )
