"""Read bounces from the mailboxes of connections, and delete what was recorded."""

import asyncio
import imaplib
import socket
import ssl
import time

import structlog

from waypost.clock import SECOND, now_us
from waypost.domain.messaging.bounces import read_report
from waypost.domain.messaging.message import Receipt
from waypost.domain.messaging.receipt import Quarantined
from waypost.domain.providers.connection import Connection
from waypost.domain.values.ids import public
from waypost.engine.net.imap import STEP_S, ImapMailbox
from waypost.engine.net.outbound import Outbound
from waypost.engine.net.smtp_pool import Unreached
from waypost.engine.providers.provider_client import ProviderClient
from waypost.engine.providers.registry import ConnectionRegistry
from waypost.engine.runtime.journal import Journal
from waypost.errors import Error
from waypost.storage.database import Database, Tx

log = structlog.get_logger()

#: Seconds between two looks for mailboxes that are due, and between two readings of one.
LOOK_S, PAUSE_S = 5.0, 60.0
#: Seconds for which a process claims a mailbox, and after which it stops reading it, a step and a commit before that.
CLAIM_S, LONGEST_S = 300.0, 120.0
#: Mailboxes that are read at the same time, and mails that are taken at once.
AT_ONCE, MAILS = 4, 50


class BounceMailboxes:
    """Reads the mailboxes of all connections that name one; each is read by one process at a time."""

    def __init__(
        self,
        database: Database,
        connections: ConnectionRegistry,
        client: ProviderClient,
        outbound: Outbound,
        journal: Journal,
        pause_s: float = PAUSE_S,
    ) -> None:
        self._database = database
        self._connections = connections
        self._client = client
        self._outbound = outbound
        self._journal = journal
        self._pause_s = pause_s

    async def poll(self) -> float:
        """Read the mailboxes that are due; return the seconds until the next look."""
        named = {one.id: one for one in self._connections.all() if one.config.get("imap_host")}
        if not named:
            return LOOK_S
        now = now_us()
        waiting = await self._database.read(_waiting, list(named), now)
        due = [one for id_, one in sorted(named.items()) if id_ not in waiting]
        await asyncio.gather(*(self._read(one) for one in due[:AT_ONCE]))
        return 0.0 if len(due) > AT_ONCE else min(LOOK_S, self._pause_s)

    async def _read(self, connection: Connection) -> None:
        """Read a mailbox, unless another process does."""
        until = now_us() + round(CLAIM_S * SECOND)
        if not await self._database.transact(_claim, connection.id, now_us(), until):
            return
        try:
            await self._take_all(connection)
        except (OSError, imaplib.IMAP4.error, Unreached, ValueError, Error) as error:
            log.warning(
                "a mailbox for bounces cannot be read",
                action="mailbox_unreadable",
                connection=public("con", connection.id),
                error=str(error)[:300],
            )
        await self._database.transact(_release, connection.id, until, now_us() + round(self._pause_s * SECOND))

    async def _take_all(self, connection: Connection) -> None:
        config = connection.config
        host = str(config["imap_host"])
        shown = f"[{host}]" if ":" in host else host
        end = time.monotonic() + LONGEST_S
        raw = await self._outbound.connect(f"http://{shown}:{int(config['imap_port'])}/", round(STEP_S * 1000))
        secure = None if config["imap_security"] == "none" else self._outbound.make_context()
        mailbox: ImapMailbox | None = None
        try:
            mailbox = await asyncio.to_thread(_open, raw, host, secure, config)
            while time.monotonic() < end:
                mails = await asyncio.to_thread(mailbox.oldest, MAILS)
                if not mails:
                    break
                await self._record(connection, [mail for _, mail in mails])
                # Only now: what was not recorded is read again.
                await asyncio.to_thread(mailbox.delete, [uid for uid, _ in mails])
            await asyncio.to_thread(mailbox.close)
        finally:
            # Also ends a call that blocks its thread, if this job is stopped.
            if mailbox is not None:
                mailbox.abort()
            raw.close()

    async def _record(self, connection: Connection, mails: list[bytes]) -> None:
        """Record what mails say; return when it is durable."""
        tokens = self._client.bounces
        if tokens is None:
            raise Unreached("not_ready: the process is starting")
        found: list[Receipt | Quarantined] = []
        for mail in mails:
            place = connection.workspace_id, connection.id
            found += await asyncio.to_thread(read_report, mail, tokens, *place, now_us(), trusted=False)
        if receipts := [one for one in found if isinstance(one, Receipt)]:
            await self._journal.append(receipts)
        if broken := [one for one in found if isinstance(one, Quarantined)]:
            await self._journal.append(broken)
            log.warning("receipts not readable", action="receipts_quarantined", count=len(broken))


def _open(raw: socket.socket, host: str, secure: ssl.SSLContext | None, config: dict[str, object]) -> ImapMailbox:
    mailbox = ImapMailbox(raw, host, secure)
    try:
        mailbox.select(str(config["imap_user"]), str(config["imap_password"]), str(config["imap_folder"]))
    except BaseException:
        mailbox.abort()
        raise
    return mailbox


async def _waiting(tx: Tx, ids: list[int], now: int) -> set[int]:
    return {row[0] for row in await tx.rows("bounce_mailboxes.waiting", ids=ids, now=now)}


async def _claim(tx: Tx, connection_id: int, now: int, until: int) -> bool:
    return await tx.run("bounce_mailboxes.claim", connection_id=connection_id, now=now, until=until) == 1


async def _release(tx: Tx, connection_id: int, until: int, due_at: int) -> None:
    await tx.run("bounce_mailboxes.release", connection_id=connection_id, until=until, due_at=due_at)
