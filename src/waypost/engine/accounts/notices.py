"""Operator notifications: stored in the transaction that causes them, mailed when a mail server is configured."""

import asyncio
import socket
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
import structlog

from waypost.clock import MINUTE, now_us
from waypost.domain.messaging.message import Content
from waypost.domain.messaging.mime import build_mail, check_address, parse_sender
from waypost.domain.providers.smtp import Stage
from waypost.domain.values.ids import public
from waypost.engine.net.curl_transfer import find_authorities
from waypost.engine.net.request import Envelope, Request
from waypost.engine.net.smtp_pool import DEFAULT_PORTS, SmtpPool, Unreached
from waypost.errors import Invalid
from waypost.settings import Settings
from waypost.storage.database import Database, Row, Tx, columns

log = structlog.get_logger()

#: How often a notice is tried. The first retry comes after a minute; each later wait is twice as long.
TRIES = 10
#: How long a notice stays reserved for the process that mails it.
LEASE = 2 * MINUTE
MAIL_TIMEOUT_MS = 60_000
LONGEST_ERROR = 500
_REASONS = {
    "exhausted": "a webhook was tried 11 times and never answered with 2xx",
    "gone": "it answered 410 Gone, which asks for no more webhooks",
}


class Notice(msgspec.Struct, kw_only=True):
    """A row of `notices`."""

    id: int
    workspace_id: int
    kind: str
    #: The id of what the notice is about.
    about: int
    recipient: str | None = None
    subject: str
    body: str
    #: `pending`, `sent`, `failed`, or `shown`: visible in the API and not mailed.
    state: str = "shown"
    tries: int = 0
    due_at: int | None = None
    error: str | None = None
    created_at: int


async def add_notices(tx: Tx, notices: list[Notice]) -> None:
    """Store notices; those that are pending are mailed by `send_notices`."""
    await tx.insert("notices.add", [columns("notices.add")(notice) for notice in notices])


def disabled_notice(id_: int, endpoint: dict[str, Any], reason: str, error: str, now: int) -> Notice:
    """Return the notice that tells an endpoint's owner that the endpoint was disabled, and what to do."""
    name = public("whk", endpoint["id"])
    body = (
        f"Your webhook endpoint {name} ({endpoint['description'] or 'no description'})\n{endpoint['url']}\n"
        f"was disabled because {_REASONS.get(reason, reason)}.\n\nThe last error was:\n{error}\n\n"
        "No event is lost: undelivered events stay listed, and so does every event that arrives while it is disabled.\n"
        f"When the receiver works again, enable the endpoint (POST /v1/webhooks/{name}/enable) and\n"
        f"replay what is missing (POST /v1/webhooks/{name}/replay).\n"
    )
    recipient = endpoint["owner_email"]
    return Notice(
        id=id_,
        workspace_id=endpoint["workspace_id"],
        kind="endpoint_disabled",
        about=endpoint["id"],
        recipient=recipient,
        subject=f"Webhook endpoint {name} was disabled",
        body=body,
        state="pending" if recipient else "shown",
        due_at=now if recipient else None,
        error=None if recipient else "the endpoint has no owner_email",
        created_at=now,
    )


def paused_notice(id_: int, connection: dict[str, Any], error: str, now: int, *, redefined: bool = False) -> Notice:
    """Return the notice that says that a connection was paused, and what to do. It is shown and not mailed.

    `redefined`: a new definition of its connector is the cause, not its provider.
    """
    name = public("con", connection["id"])
    cause = (
        f"the new definition of its connector\nneeds a field that the connection does not have:\n{error}\n\n"
        if redefined
        else f"its provider refuses it\nfor a reason that an operator must fix. The provider said:\n{error}\n\n"
    )
    body = (
        f"The connection {connection['name']!r} ({name}, {connection['connector']}) was paused because {cause}"
        "No message is lost: messages queued for this connection wait until they expire, and other connections\n"
        "of the channel send those that they can.\n"
        f"Fix the cause, then check the connection (POST /v1/connections/{name}/check), change its credentials\n"
        f"(PATCH /v1/connections/{name}) or enable it (POST /v1/connections/{name}/enable).\n"
    )
    return Notice(
        id=id_,
        workspace_id=connection["workspace_id"],
        kind="connection_paused",
        about=connection["id"],
        subject=f"The connection {connection['name']!r} was paused",
        body=body,
        error="notices of connections are shown, not mailed",
        created_at=now,
    )


async def send_notices(database: Database, settings: Settings, now: int) -> int:
    """Mail the notices that are due; return how many were handled. Without a mail server they are logged and shown."""
    rows = await database.read(_due)
    for id_, recipient, subject, body, tries in rows:
        # Mailing the notices before this one may have taken long, and the lease of this one starts now.
        now = max(now, now_us())
        if not await database.transact(_claim, id_):
            continue
        state, error, due_at = "sent", None, None
        if not settings.smtp_url:
            state, error = "shown", "no mail server is configured (WAYPOST_SMTP_URL)"
            log.warning("notice", action="notice_shown", notice=public("ntc", id_), subject=subject)
        else:
            text = f"{body}\n-- \nWaypost at {settings.base_url}\n"
            content = Content(sender=settings.mail_from, subject=subject, text=text)
            error = await send_mail(settings.smtp_url, recipient, content, public("ntc", id_), now)
            if error is None:
                log.info("notice mailed", action="notice_sent", notice=public("ntc", id_))
            else:
                state = "pending" if tries + 1 < TRIES else "failed"
                due_at = now + MINUTE * 2**tries if state == "pending" else None
                log.warning("notice not mailed", action="notice_failed", notice=public("ntc", id_), error=error)
        await database.transact(_settle, id_, state, due_at, error)
    return len(rows)


async def send_mail(smtp_url: str, recipient: str, content: Content, name: str, now: int) -> str | None:
    """Send one mail through the server of an `smtp://` or `smtps://` URL; return why it was refused, or None.

    The operator chose the server: it may have any address, and it is reached without the proxy. `name` is the local
    part of the Message-ID.
    """
    smtp_pool = SmtpPool(_connect, find_authorities())
    try:
        request = _mail_request(smtp_url, recipient, content, name, now)
        response, _ = await smtp_pool.send(request)
    except (Invalid, ValueError) as error:
        return str(error)[:LONGEST_ERROR]
    finally:
        smtp_pool.close()
    if response.status == 250 and response.stage == Stage.MESSAGE:
        return None
    words = f"{response.status} {response.body.decode('utf-8', 'replace')}" if response.status else response.error
    return f"{response.stage}: {words}"[:LONGEST_ERROR]


def _mail_request(smtp_url: str, recipient: str, content: Content, name: str, now: int) -> Request:
    parts = urlsplit(smtp_url)
    host = parts.hostname or "localhost"
    url = f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{parts.port or DEFAULT_PORTS[parts.scheme]}"
    sender = parse_sender(content.sender)[1]
    to = check_address(recipient)
    message_id = f"{name}@{sender.rpartition('@')[2]}"
    mail = build_mail(content, to=to, sender=content.sender, message_id=message_id, now=now)
    username, password = unquote(parts.username or ""), unquote(parts.password or "")
    # A password is never sent without TLS; a notice without a password may be.
    tls = "required" if username else "opportunistic"
    return Request(url, mail, [], MAIL_TIMEOUT_MS, envelope=Envelope(sender, (to,), username, password, tls))


async def _connect(url: str, timeout_ms: int) -> socket.socket:
    """Connect to the host and port of a URL; raise Unreached when no address accepts the connection."""
    loop, parts = asyncio.get_running_loop(), urlsplit(url)
    try:
        found = await loop.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Unreached(f"dns: {error}") from error
    reason: OSError | None = None
    for family, kind, protocol, _, address in found:
        connection = socket.socket(family, kind, protocol)
        connection.setblocking(False)
        try:
            async with asyncio.timeout(timeout_ms / 1000 / len(found)):
                await loop.sock_connect(connection, address)
        except OSError as error:  # TimeoutError is one
            connection.close()
            reason = error
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise Unreached(f"connect: {reason or 'the name has no address'}")


async def _due(tx: Tx) -> list[Row]:
    return await tx.rows("notices.due", n=20)


async def _claim(tx: Tx, id_: int) -> bool:
    return await tx.run("notices.claim", id=id_, lease=LEASE) == 1


async def _settle(tx: Tx, id_: int, state: str, due_at: int | None, error: str | None) -> None:
    await tx.run("notices.settle", id=id_, state=state, due_at=due_at, error=error)
