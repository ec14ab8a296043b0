"""What time makes due: retries, replays, notices, leases of dead processes, retention."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from waypost.clock import HOUR, SECOND, Ids, now_us
from waypost.domain.webhooks.delivery import State
from waypost.domain.webhooks.endpoint import Endpoint, event_object, webhook_body
from waypost.engine.accounts.notices import send_notices
from waypost.engine.messaging.sending import Sender
from waypost.engine.providers.registry import ConnectionRegistry
from waypost.engine.runtime import nodes
from waypost.engine.runtime.recorder import Recorder
from waypost.engine.runtime.retention import give_up_deleted, prune
from waypost.engine.webhooks.dispatcher import Dispatcher, Task
from waypost.engine.webhooks.holdings import LOOK_BACK_S, LookBack
from waypost.engine.webhooks.ledger_counts import Counts
from waypost.engine.webhooks.replays import advance_replays
from waypost.errors import Error
from waypost.settings import Settings
from waypost.storage.database import Database, Row, Tx

log = structlog.get_logger()
_encode = msgspec.json.Encoder().encode

#: How often the database is asked even if nothing is known to be due: another process may have queued something.
POLL_S = 1.0
#: How often everything past its time is deleted.
PRUNE_S = HOUR / SECOND / 4


class Scheduler:
    """Runs the chores of one process, each in its own loop, each able to fail without the others."""

    def __init__(
        self, database: Database, dispatcher: Dispatcher, ids: Ids, settings: Settings, node: "nodes.Node"
    ) -> None:
        self._database = database
        self._dispatcher = dispatcher
        self._ids = ids
        self._settings = settings
        self._node = node
        self._recorder: Recorder | None = None
        self._connections: ConnectionRegistry | None = None
        self._sender: Sender | None = None
        self._look_back = LookBack(database, ids, dispatcher.holdings)
        self._due_at: int | None = None
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, recorder: Recorder, connections: ConnectionRegistry, sender: Sender | None) -> None:
        """Start the loops; without a sender, this process sends nothing."""
        self._recorder, self._connections, self._sender = recorder, connections, sender
        jobs: list[tuple[str, Callable[[], Awaitable[float]]]] = [
            ("claim", self._claim_due),
            ("replay", self._replay),
            ("notice", self._notices),
            ("heartbeat", self._heartbeat),
            ("look_back", self._release_forgotten),
            ("refresh", self._refresh),
            ("rematch", self._rematch),
            ("tend", self._maintain),
            ("prune", self._prune),
        ]
        if sender is not None:
            jobs += [("messages", sender.poll_due), ("tidy", sender.recover)]
        self._tasks = [asyncio.create_task(self._repeat(name, job), name=f"clock-{name}") for name, job in jobs]

    async def stop(self) -> None:
        """End the loops; a transaction under way is finished by the store."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def wake_at(self, due_at: int) -> None:
        """Something falls due at this moment."""
        if self._due_at is None or due_at < self._due_at:
            self._due_at = due_at
            self._wake.set()

    async def _repeat(self, name: str, job: Callable[[], Awaitable[float]]) -> None:
        """Run a chore again and again; it says how many seconds to wait."""
        while True:
            try:
                wait = await job()
            except Error as error:
                log.warning("chore failed", action="chore_failed", job=name, error=error.detail)
                wait = POLL_S
            except Exception:
                log.exception("chore failed", action="chore_failed", job=name)
                wait = POLL_S
            if name == "claim":
                await self._sleep_until_due(wait)
            else:
                await asyncio.sleep(wait)

    async def _sleep_until_due(self, wait: float) -> None:
        end = time.monotonic() + wait
        while (left := end - time.monotonic()) > 0:
            if self._due_at is not None:
                left = min(left, (self._due_at - now_us()) / SECOND)
                if left <= 0:
                    return
            self._wake.clear()
            # Not `wait_for`: Python 3.11's may swallow the cancellation that ends this loop.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._wake.wait()

    async def _claim_due(self) -> float:
        """Hold what is due for every endpoint whose lane has room, and hand it to the dispatcher."""
        self._due_at = None
        now = now_us()
        wait = POLL_S
        for endpoint_id, workspace_id, due_at in await self._database.read(_due_endpoints):
            if due_at is None:
                self._dispatcher.note_spilled(endpoint_id, False)
                continue
            if due_at > now:
                self._dispatcher.note_spilled(endpoint_id, False)
                self.wake_at(due_at)
                continue
            room = self._dispatcher.claim_room(endpoint_id)
            if room == 0:
                # The lane is full or pauses; it is asked again soon.
                wait = min(wait, 0.05)
                continue
            endpoint = await self._endpoint(workspace_id, endpoint_id)
            if endpoint is None:
                continue
            tasks = await self._database.transact(_claim, endpoint, room, self._ids.node, now)
            if tasks is None:
                # It was changed a moment ago.
                if self._recorder is not None:
                    await self._recorder.refresh([workspace_id])
                wait = min(wait, 0.01)
                continue
            self._dispatcher.offer(tasks)
            self._dispatcher.note_spilled(endpoint_id, len(tasks) >= room)
            if len(tasks) >= room:
                wait = min(wait, 0.01)
        return wait

    async def _endpoint(self, workspace_id: int, endpoint_id: int) -> Endpoint | None:
        if self._recorder is None:
            return None
        endpoint = self._recorder.endpoint(workspace_id, endpoint_id)
        if endpoint is None:
            await self._recorder.refresh([workspace_id])
            endpoint = self._recorder.endpoint(workspace_id, endpoint_id)
        return endpoint

    async def _replay(self) -> float:
        now = now_us()
        busy = await self._database.transact(advance_replays, self._ids.node, now)
        gave_up = await self._database.transact(give_up_deleted, self._ids.node, now)
        if busy:
            self.wake_at(now)
        return 0.02 if busy or gave_up else POLL_S

    async def _notices(self) -> float:
        handled = await send_notices(self._database, self._settings, now_us())
        return 0.0 if handled >= 20 else POLL_S

    async def _heartbeat(self) -> float:
        number = self._ids.node
        await self._node.beat()
        if self._ids.node != number:
            # What this process held under its old number is held by others now.
            self._dispatcher.forget()
        self._dispatcher.share = await self._node.count_live()
        if self._sender is not None:
            self._sender.share = self._dispatcher.share
        if await self._node.evict_expired():
            self.wake_at(now_us())
        return nodes.BEAT_S

    async def _release_forgotten(self) -> float:
        if await self._look_back.look():
            self.wake_at(now_us())
        return LOOK_BACK_S

    async def _refresh(self) -> float:
        if self._recorder is not None:
            await self._recorder.refresh(self._recorder.workspaces())
        if self._connections is not None:
            await self._connections.refresh()
        return POLL_S

    async def _rematch(self) -> float:
        busy = self._recorder is not None and await self._recorder.rematch()
        return 0.0 if busy else POLL_S

    async def _maintain(self) -> float:
        return 0.0 if await self._database.maintain() else POLL_S

    async def _prune(self) -> float:
        settings = self._settings
        gone = await prune(self._database, self._ids.node, now_us(), settings.event_days, settings.attempt_days)
        if gone:
            log.info("deleted what was past its time", action="pruned", rows=gone)
        return PRUNE_S


async def _due_endpoints(tx: Tx) -> list[Row]:
    return await tx.rows("endpoints.due")


async def _claim(tx: Tx, endpoint: Endpoint, room: int, node: int, now: int) -> list[Task] | None:
    """Hold what is due, as tasks; None when the endpoint is no longer what it is known as."""
    records = await tx.records("endpoints.by_ids", ids=[endpoint.id])
    if not records or records[0]["status"] != "enabled" or records[0]["version"] != endpoint.version:
        return None
    claimed = {
        event_id: (tries, attempts)
        for event_id, tries, attempts in await tx.rows(
            "deliveries.claim", endpoint_id=endpoint.id, node=node, now=now, n=room
        )
    }
    tasks = []
    for id_, message_id, type_, profile_id, occurred_at, data in await tx.rows("events.by_ids", ids=list(claimed)):
        tries, attempts = claimed.pop(id_)
        body = webhook_body(type_, occurred_at, event_object(id_, message_id, profile_id, data.encode()))
        tasks.append(Task(endpoint, id_, body, tries, attempts))
    if claimed:
        # Their events were deleted for their age, so there is nothing to send any more.
        rows = [(endpoint.id, event_id, State.DEAD, None, "event_deleted") for event_id in claimed]
        await tx.run("deliveries.settle", rows=_encode(rows).decode(), node=node, now=now)
        counts = Counts()
        counts.add(endpoint.workspace_id, endpoint.id, 0, 0, -len(rows), len(rows))
        await counts.write(tx, node)
    tasks.sort(key=lambda task: task.event_id)
    return tasks
