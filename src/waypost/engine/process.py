"""Build the engine, start its loops, and stop them without losing anything."""

import asyncio
import time

import structlog

from waypost.clock import Ids
from waypost.domain.values.egress_guard import parse_networks
from waypost.engine.messaging.acceptance import Messages
from waypost.engine.messaging.recording import Desk, Effects
from waypost.engine.messaging.sending import Sender
from waypost.engine.net.outbound import Outbound
from waypost.engine.providers.provider_client import ProviderClient
from waypost.engine.providers.registry import ConnectionRegistry
from waypost.engine.runtime import nodes
from waypost.engine.runtime.encryption import Encryption, open_encryption
from waypost.engine.runtime.journal import Journal
from waypost.engine.runtime.recorder import Recorder
from waypost.engine.runtime.scheduler import Scheduler
from waypost.engine.templates.templates import Templates
from waypost.engine.webhooks.dispatcher import Dispatcher
from waypost.errors import Unavailable
from waypost.settings import Settings
from waypost.storage.database import Database, Tx

log = structlog.get_logger()

#: How long requests under way may take to end at a shutdown, beyond the longest timeout of an endpoint.
DRAIN_S = 35.0


class Engine:
    """Everything that happens in one process, over one database."""

    def __init__(self, database: Database, settings: Settings, *, sends: bool = True) -> None:
        self.database = database
        self.settings = settings
        self.networks = parse_networks(settings.allow_private)
        self.encryption: Encryption = open_encryption(settings.secret_key, settings.data_dir)
        self.ids = Ids(nodes.COMMAND_LINE)
        self.node = nodes.Node(database, self.ids, sends=sends)
        self.outbound = Outbound(self.networks, settings.egress_proxy)
        self.journal = Journal(settings.max_waiting)
        self.dispatcher = Dispatcher(
            self.outbound,
            report=self.journal.report,
            release=self.journal.release,
            max_in_flight=settings.max_in_flight,
            # In proportion to the retries, so that tests and demos that shrink those are not held up by pauses.
            first_pause=settings.retry_base / 80,
        )
        self.connections = ConnectionRegistry(database, self.encryption, settings.data_center_urls)
        self.templates = Templates(database)
        self.wire = ProviderClient(self.outbound, self.connections.callback_url)
        self.scheduler = Scheduler(database, self.dispatcher, self.ids, settings, self.node)
        # In proportion to the retries of webhooks, as above: a second unless tests and demos shrink those.
        connections, retry_s = self.connections, settings.retry_base / 80
        desk = Desk(
            self.ids, self.encryption, retry_s, connections.for_channel, connections.failing, connections.same_account
        )
        self.recorder = Recorder(
            database,
            self.journal,
            self.dispatcher,
            self.ids,
            self.encryption,
            retry_base=settings.retry_base,
            desk=desk,
            wake_at=self.scheduler.wake_at,
            follow=self._follow,
        )
        self.sender = Sender(database, connections, self.wire, self.journal, self.recorder, self.ids, retry_s)
        self.messages = Messages(
            database, self.journal, self.recorder, self.ids, self.connections, self.templates, self.encryption
        )
        self._sends = sends
        self._recording: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Join the database and start the loops; Unavailable when its schema is not this version's."""
        if pending := await self.database.pending_migrations():
            raise Unavailable(f"The database lacks migrations: {', '.join(pending)}. Run `waypost migrate`.")
        # Read at the start, not at the first event: a wrong secret key has to be found out before anything is accepted.
        workspaces = await self.database.read(_workspaces)
        await self.recorder.refresh(workspaces)
        await self.connections.refresh(workspaces)
        await self.node.join()
        if not self._sends:
            self.dispatcher.drain()
        self._recording = asyncio.create_task(self.recorder.run(), name="recorder")
        self.scheduler.start(self.recorder, self.connections, self.sender if self._sends else None)
        log.info("engine started", action="engine_started", node=self.ids.node, database=self.database.dialect)

    def _follow(self, effects: Effects) -> None:
        if self._sends:
            self.sender.follow(effects)

    @property
    def running(self) -> bool:
        """Whether what is accepted now will be recorded."""
        return self._recording is not None and not self._recording.done()

    async def stop(self) -> None:
        """Finish what is under way, give back what is not, and let go. Nothing that was accepted depends on it."""
        await self.scheduler.stop()
        self.dispatcher.drain()
        end = time.monotonic() + DRAIN_S
        await self.sender.stop(DRAIN_S)
        while self.dispatcher.in_flight and time.monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.02)  # the count falls on another thread, which tells no event loop
        await self.outbound.stop()
        self.journal.close()
        if self._recording is not None:
            await self._recording
        try:
            await self.node.leave()
        except Unavailable as error:
            # Whoever starts next takes over what is still held.
            log.warning("could not say goodbye", action="leave_failed", error=error.detail)
        log.info("engine stopped", action="engine_stopped")


async def _workspaces(tx: Tx) -> list[int]:
    return [row[0] for row in await tx.rows("workspaces.list")]
