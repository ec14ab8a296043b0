"""Build the engine, plug its areas into the runtime, start its loops, and stop them without losing anything."""

import asyncio
import time
from functools import partial

import structlog

from waypost.clock import HOUR, SECOND, Ids, now_us
from waypost.domain.messaging.return_path import BounceTokens
from waypost.domain.tracking.mail_tokens import KEY_BYTES
from waypost.domain.values.address_ranges import read_ranges
from waypost.domain.values.egress_guard import parse_networks
from waypost.engine.accounts.closed_workspaces import ClosedWorkspaces
from waypost.engine.accounts.notices import send_notices
from waypost.engine.accounts.passkeys import PasskeyRegistry
from waypost.engine.accounts.retention import load_retention
from waypost.engine.accounts.sessions import SessionRegistry, prune_accounts
from waypost.engine.accounts.single_sign_on import SingleSignOn
from waypost.engine.audience.area import AudienceArea
from waypost.engine.audience.imports import Importer
from waypost.engine.audience.retention import prune_audience
from waypost.engine.audience.segment_area import SegmentArea, follow_segments
from waypost.engine.campaigns.area import CampaignArea
from waypost.engine.campaigns.goals import GoalRegistry
from waypost.engine.campaigns.handover import Handover
from waypost.engine.campaigns.occurrences import Occurrences
from waypost.engine.campaigns.retention import prune_campaigns
from waypost.engine.events.area import EventArea
from waypost.engine.events.metrics import MetricArea
from waypost.engine.events.retention import prune_events
from waypost.engine.insights.live_feeds import LiveFeeds
from waypost.engine.messaging.acceptance import Messages
from waypost.engine.messaging.area import MessagingArea, rematch
from waypost.engine.messaging.bounce_mailboxes import BounceMailboxes
from waypost.engine.messaging.confirmations import Confirmations, prune_confirmations
from waypost.engine.messaging.deletions import advance_deletions
from waypost.engine.messaging.held import bring_back_held, release_held
from waypost.engine.messaging.matching import Rematching
from waypost.engine.messaging.recording import Routing
from waypost.engine.messaging.retention import prune_messaging, prune_recent_sends
from waypost.engine.messaging.retries import STEP, bring_back_retries
from waypost.engine.messaging.senders import SenderRegistry
from waypost.engine.messaging.sending import Sender
from waypost.engine.messaging.sending_rules import SendingRulesRegistry
from waypost.engine.messaging.transitions import MessagingNotes
from waypost.engine.net.outbound import Outbound
from waypost.engine.providers.provider_client import ProviderClient
from waypost.engine.providers.registry import ConnectionRegistry
from waypost.engine.runtime import nodes
from waypost.engine.runtime.encryption import Encryption, open_encryption
from waypost.engine.runtime.journal import Journal
from waypost.engine.runtime.recorder import Recorder
from waypost.engine.runtime.retention import prune_idempotency
from waypost.engine.runtime.scheduler import POLL_S, Alarm, Job, Scheduler
from waypost.engine.runtime.signing_key import load_signing_key
from waypost.engine.runtime.unit import Area
from waypost.engine.templates.templates import Templates
from waypost.engine.texts.area import TextArea
from waypost.engine.texts.clients import TextClientOwner, TextClients
from waypost.engine.texts.held import check_held
from waypost.engine.texts.retention import prune_texts
from waypost.engine.texts.texts import Texts
from waypost.engine.tracking.area import TrackingArea
from waypost.engine.tracking.clicks import ClickIntake
from waypost.engine.tracking.datacenters import load_ranges
from waypost.engine.tracking.finder import LinkFinder
from waypost.engine.tracking.link_checks import LinkChecker
from waypost.engine.tracking.links import LinkCache, UrlCache, prune_links
from waypost.engine.tracking.mail import MailTracker
from waypost.engine.tracking.settings import TrackingRegistry
from waypost.engine.webhooks.area import WebhookArea
from waypost.engine.webhooks.attempts import Released
from waypost.engine.webhooks.claims import bring_back, claim_due
from waypost.engine.webhooks.dispatcher import Dispatcher
from waypost.engine.webhooks.endpoint_snapshot import EndpointRegistry
from waypost.engine.webhooks.holdings import LOOK_BACK_S, LookBack
from waypost.engine.webhooks.ordering import StrandedSearch, release_ended
from waypost.engine.webhooks.replays import advance_replays
from waypost.engine.webhooks.retention import give_up_deleted, prune_webhooks
from waypost.engine.workspaces.deletions import advance_workspaces
from waypost.errors import Unavailable
from waypost.settings import Settings
from waypost.storage.database import Database, Tx

log = structlog.get_logger()

#: Seconds that requests in flight may take at a shutdown, more than the longest timeout of an endpoint.
DRAIN_S = 35.0
#: Seconds between two searches for retries that a wrong clock scheduled too late.
CLOCK_S = 60.0
#: Seconds between two deletions of rows past their retention.
PRUNE_S = HOUR / SECOND / 4


class Engine:
    """All parts of one process: its areas, its runtime and its jobs, on one database."""

    def __init__(self, database: Database, settings: Settings, *, sends: bool = True) -> None:
        self.database = database
        self.settings = settings
        self._sends = sends
        # Pauses are proportional to the retry delays, so that tests and demos with short delays do not wait for them.
        retry_s = settings.retry_base / 80
        # Runtime and network.
        self.encryption: Encryption = open_encryption(settings.secret_key, settings.data_dir)
        self.ids = Ids(nodes.COMMAND_LINE)
        self.live_feeds = LiveFeeds(database)
        self.closed = ClosedWorkspaces(database)
        self.sessions = SessionRegistry(database, self.ids, self.encryption)
        self.passkeys = PasskeyRegistry(database, self.ids, self.encryption, self.sessions, settings.base_url)
        self.networks = parse_networks(settings.allow_private)
        self.outbound = Outbound(self.networks, settings.egress_proxy)
        self.sign_on = SingleSignOn(
            database, self.ids, self.encryption, self.sessions, self.outbound, settings.base_url
        )
        self.journal = Journal(settings.max_waiting)
        self.scheduler = Scheduler()
        self.webhooks_due, self.deferred_due, self.order_due, self.links_due = Alarm(), Alarm(), Alarm(), Alarm()
        self.held_due = Alarm()
        # Snapshots, and the clients that areas send with.
        self.dispatcher = Dispatcher(
            self.outbound,
            report=self.journal.report,
            release=lambda deliveries: self.journal.report(Released(deliveries), linger=False),
            max_in_flight=settings.max_in_flight,
            first_pause=retry_s,
            connection=lambda id_: self.connections.by_number(id_),
        )
        self.endpoints = EndpointRegistry(database, self.encryption, self.dispatcher.configure)
        self.connections = ConnectionRegistry(database, self.encryption, settings.data_center_urls)
        self.templates = Templates(database)
        self.trusted_proxies = read_ranges(settings.trusted_proxies)
        self.links, self.urls = LinkCache(database), UrlCache(database)
        self.clicks = ClickIntake(self.journal, settings.max_waiting)
        self.tracking_settings = TrackingRegistry(database, settings.data_center_urls, settings.link_days)
        self.tracker = MailTracker(self.tracking_settings, self.templates.marks)
        self.link_finder = LinkFinder(self.links, self.urls, self.tracker, self.closed)
        self.sending_rules = SendingRulesRegistry(database)
        self.senders = SenderRegistry(database)
        self.link_checker = LinkChecker(
            self.outbound,
            self.networks,
            timeout_s=settings.link_timeout,
            fresh_s=settings.link_fresh,
            failed_fresh_s=settings.link_failed_fresh,
        )
        self.client = ProviderClient(self.outbound, self.connections.callback_url)
        # Areas, in the order in which they record and react.
        self.webhooks = WebhookArea(
            self.dispatcher, self.endpoints, retry_base=settings.retry_base, wake_at=self.webhooks_due.wake_at
        )
        self._routing = Routing(
            retry_s,
            self.connections.for_channel,
            self.connections.failing,
            self.connections.same_account,
            self.sending_rules.get,
        )
        messaging = MessagingArea(self.encryption, self._routing, self._follow)
        self.tracking = TrackingArea(self.clicks, load_ranges(settings.datacenter_ranges))
        texts = TextArea(self.encryption, lambda: self.links_due.wake_at(now_us()))
        self._segments = SegmentArea()
        self.goals = GoalRegistry(database)
        self.campaigns_due, self.handover_due = Alarm(), Alarm()
        campaigns = CampaignArea(self.goals, lambda: self.handover_due.wake_at(now_us()))
        areas: list[Area] = [
            AudienceArea(),
            EventArea(),
            MetricArea(),
            self._segments,
            messaging,
            self.tracking,
            texts,
            campaigns,
            self.webhooks,
        ]
        self.recorder = Recorder(database, self.journal, self.ids, areas)
        self.node = nodes.Node(database, self.ids, self.recorder.orphan, sends=sends)
        self.imports_due, self.deletions_due, self.workspaces_due = Alarm(), Alarm(), Alarm()
        self.importer = Importer(database, self.recorder, self.ids)
        self._look_back = LookBack(database, self.ids, self.dispatcher.holdings)
        self._stranded = StrandedSearch(database)
        self.webhooks.wake_order = lambda: self.order_due.wake_at(now_us())
        self._rematching = Rematching()
        self.recorder.wake_deferred = lambda: self.deferred_due.wake_at(now_us())
        self.sender = Sender(
            database,
            self.connections,
            self.client,
            self.journal,
            self.recorder,
            self.ids,
            retry_s,
            safe=lambda: self.node.safe,
            rules_of=self.sending_rules.get,
        )
        self.mailboxes = BounceMailboxes(database, self.connections, self.client, self.outbound, self.journal)
        self.messages = Messages(
            database,
            self.journal,
            self.recorder,
            self.ids,
            self.connections,
            self.templates,
            self.encryption,
            self.tracker,
            self.senders,
        )
        self._occurrences = Occurrences(
            database,
            self.recorder,
            self.ids,
            self.sending_rules.zone,
            self.campaigns_due,
            lambda: self.handover_due.wake_at(now_us()),
        )
        self._handover = Handover(
            database,
            self.recorder,
            self.ids,
            self.connections,
            self.templates,
            self.encryption,
            self.tracker,
            self.tracking_settings,
            self.senders,
            self.handover_due,
        )
        self.confirmations = Confirmations(database, self.recorder, self.messages, settings.base_url, self.closed)
        self.text_clients = TextClients(database)
        self.closed.forget += [self.sessions.forget, self.text_clients.forget]
        self.text_client_owner = TextClientOwner(self.ids, self.encryption, self.networks, self.connections)
        self.texts = Texts(self.journal, self.connections, self.tracking_settings, self.link_checker)
        self._recording: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Register the process and start its loops; raise Unavailable if migrations are pending."""
        if pending := await self.database.pending_migrations():
            raise Unavailable(f"The database has pending migrations: {', '.join(pending)}. Run `waypost migrate`.")
        # At the start, not at the first event, so that a wrong secret key is detected before an event is accepted.
        await self._read_configurations(await self.database.read(_workspaces))
        key = await load_signing_key(self.database, self.encryption, KEY_BYTES, now_us())
        self.tracker.use(key)
        self.client.bounces = BounceTokens(key)
        await self.node.join()
        if not self._sends:
            self.dispatcher.drain()
        self._recording = asyncio.create_task(self.recorder.run(), name="recorder")
        self.scheduler.start(self._jobs())
        log.info("engine started", action="engine_started", node=self.ids.node, database=self.database.dialect)

    def _jobs(self) -> list[Job]:
        claim = partial(claim_due, self.database, self.dispatcher, self.endpoints, self.ids, self.webhooks_due)
        jobs = [
            Job("heartbeat", self.heartbeat),
            Job("refresh", self._refresh),
            Job("maintain", self._maintain),
            Job("clock", self._check_clock),
            Job("prune", self._prune),
            Job("react", self._react_deferred, self.deferred_due),
            Job("notices", self._send_notices),
            Job("claim", claim, self.webhooks_due),
            Job("replay", self._replay),
            Job("look-back", self._release_forgotten),
            Job("order", self._release_ended, self.order_due),
            Job("rematch", self._rematch),
            Job("campaigns", self._occurrences.advance, self.campaigns_due),
            Job("hand-over", self._handover.run, self.handover_due),
            Job("imports", self._import, self.imports_due),
            Job("confirmations", self.confirmations.run),
            Job("deletions", self._advance_deletions, self.deletions_due),
            Job("link-checks", self._check_held, self.links_due),
            Job("held", self._release_held, self.held_due),
            Job("segments", self._follow_segments),
            Job("live", self.live_feeds.poll),
            Job("workspaces", self._advance_workspaces, self.workspaces_due),
        ]
        if self._sends:
            jobs += [Job("messages", self.sender.poll_due), Job("recover", self.sender.recover)]
            jobs += [Job("mailboxes", self.mailboxes.poll)]
        return jobs

    async def heartbeat(self) -> float:
        """Send a heartbeat, count the live nodes, and release what dead nodes held."""
        number = self.ids.node
        await self.node.beat()
        if self.ids.node != number:
            # Other nodes hold now what this process held under its old number.
            self.dispatcher.forget()
            self.sender.forget()
        self.sender.resume()
        self.dispatcher.share = self.sender.share = await self.node.count_live()
        if await self.node.evict_expired():
            self.webhooks_due.wake_at(now_us())
        return nodes.BEAT_S

    async def _read_configurations(self, workspaces: list[int] | None = None) -> None:
        """Read what was changed elsewhere; the endpoints of these workspaces in any case."""
        await self.endpoints.refresh(workspaces)
        await self.connections.refresh()
        await self.tracking_settings.refresh()
        await self.goals.refresh()
        await self.sending_rules.refresh()
        await self.senders.refresh()
        await self.closed.refresh()

    async def _refresh(self) -> float:
        await self._read_configurations()
        await self.connections.pause_unreadable(self.ids, now_us())
        return POLL_S

    async def _maintain(self) -> float:
        return 0.0 if await self.database.maintain() else POLL_S

    async def _check_clock(self) -> float:
        # By the database's clock: to a process whose own clock is behind, every retry seems to be scheduled too late.
        now = await self.database.read(_database_clock)
        deliveries = await self.database.transact(bring_back, self.settings.retry_base, now)
        messages = await self.database.transact(bring_back_retries, now)
        await self.database.transact(bring_back_held, now)
        if deliveries or messages:
            log.warning(
                "retries were scheduled by a clock that was ahead",
                action="retries_brought_back",
                deliveries=deliveries,
                messages=messages,
            )
            self.webhooks_due.wake_at(now_us())
        return 0.0 if messages == STEP else CLOCK_S

    async def _prune(self) -> float:
        database, now, settings = self.database, now_us(), self.settings
        retention = await database.read(load_retention, settings.event_days, settings.attempt_days)
        deleted = await prune_webhooks(database, self.ids.node, now, retention)
        deleted += await prune_events(database, now, retention)
        deleted += await prune_messaging(database, now, retention)
        deleted += await prune_recent_sends(database, now)
        deleted += await prune_links(database, now)
        deleted += await prune_idempotency(database, now)
        deleted += await prune_confirmations(database, now)
        deleted += await prune_audience(database, now, retention)
        deleted += await prune_texts(database, now)
        deleted += await prune_campaigns(database, now)
        deleted += await prune_accounts(database, now)
        if deleted:
            log.info("deleted rows past their retention", action="pruned", rows=deleted)
        return PRUNE_S

    async def _react_deferred(self) -> float:
        self.deferred_due.clear()
        return 0.0 if await self.recorder.react_deferred() else POLL_S

    async def _release_forgotten(self) -> float:
        forgotten = await self._look_back.release_forgotten()
        if await self._stranded.release(now_us()) or forgotten:
            self.webhooks_due.wake_at(now_us())
        return LOOK_BACK_S

    async def _release_ended(self) -> float:
        self.order_due.clear()
        while self.webhooks.unsure:
            # One in a transaction: with several, it could wait for another process that waits for it. A failure is
            # found by the look-back.
            pair = self.webhooks.unsure.pop()
            if await self.database.transact(release_ended, pair, now_us()):
                self.webhooks_due.wake_at(now_us())
        return LOOK_BACK_S

    async def _rematch(self) -> float:
        return 0.0 if await rematch(self.recorder, self.database, self._rematching, self._routing) else POLL_S

    async def _import(self) -> float:
        self.imports_due.clear()
        return await self.importer.run()

    async def _advance_deletions(self) -> float:
        self.deletions_due.clear()
        return await advance_deletions(self.database, self.recorder)

    async def _advance_workspaces(self) -> float:
        self.workspaces_due.clear()
        return await advance_workspaces(self.database, self.recorder)

    async def _check_held(self) -> float:
        return await check_held(self.database, self.recorder, self.link_checker, self.links_due)

    async def _release_held(self) -> float:
        return await release_held(self.database, self.recorder, self.held_due)

    async def _follow_segments(self) -> float:
        return await follow_segments(self.database, self.recorder, self._segments, now_us)

    async def _send_notices(self) -> float:
        handled = await send_notices(self.database, self.settings, now_us())
        return 0.0 if handled >= 20 else POLL_S

    async def _replay(self) -> float:
        now = now_us()
        busy = await self.database.transact(advance_replays, self.ids.node, now)
        gave_up = await self.database.transact(give_up_deleted, self.ids.node, now)
        if busy:
            self.webhooks_due.wake_at(now)
        return 0.02 if busy or gave_up else POLL_S

    def _follow(self, notes: MessagingNotes) -> None:
        if notes.held_until is not None:
            self.held_due.wake_at(notes.held_until)
        if self._sends:
            self.sender.follow(notes)

    def wake_campaigns(self) -> None:
        """Advance campaigns now: one was launched, changed or stopped."""
        self.campaigns_due.wake_at(now_us())
        self.handover_due.wake_at(now_us())

    @property
    def running(self) -> bool:
        """Return whether the recorder runs, so that accepted items will be recorded."""
        return self._recording is not None and not self._recording.done()

    async def stop(self) -> None:
        """Finish requests in flight, release all other work, and stop. Durability does not depend on it."""
        self.live_feeds.close()
        await self.scheduler.stop()
        await self._handover.renderer.stop()
        self.dispatcher.drain()
        end = time.monotonic() + DRAIN_S
        await self.sender.stop(DRAIN_S)
        while self.dispatcher.in_flight and time.monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.02)  # another thread decreases the count and cannot wake the event loop
        await self.outbound.stop()
        self.journal.close()
        if self._recording is not None:
            await self._recording
        try:
            await self.node.leave()
        except Unavailable as error:
            # The next process that starts releases what this one still holds.
            log.warning("could not remove the node", action="leave_failed", error=error.detail)
        log.info("engine stopped", action="engine_stopped")


async def _database_clock(tx: Tx) -> int:
    row = await tx.row("clock.now")
    return row[0] if row else now_us()


async def _workspaces(tx: Tx) -> list[int]:
    return [row[0] for row in await tx.rows("workspaces.list")]
