"""Operator notifications: stored in the transaction that causes them, and mailed if a mail server is configured."""

import asyncio
import socket
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import structlog

from waypost.clock import MINUTE, now_us
from waypost.domain.messaging.message import Content
from waypost.domain.messaging.mime import build_mail, check_address, parse_sender
from waypost.domain.providers.smtp import SmtpStage
from waypost.domain.values.ids import public
from waypost.domain.values.masking import Masker
from waypost.engine.net.curl_transfer import find_authorities
from waypost.engine.net.request import Envelope, Request
from waypost.engine.net.smtp_pool import DEFAULT_PORTS, SmtpPool, Unreached
from waypost.errors import Invalid
from waypost.settings import Settings
from waypost.storage.database import Database, Row, Tx

log = structlog.get_logger()

#: The most tries to mail a notice. The first wait between two is a minute; each further one is twice as long.
TRIES = 10
#: How long a notice is reserved for the process that mails it.
LEASE = 2 * MINUTE
MAIL_TIMEOUT_MS = 60_000
LONGEST_ERROR = 500
_REASONS = {
    "exhausted": "none of 11 attempts to deliver a webhook got a 2xx response",
    "gone": "it responded with 410 Gone, which asks for no more webhooks",
}


def disabled_notice(id_: int, endpoint: dict[str, Any], reason: str, error: str, now: int) -> Row:
    """Return the row of a notice to the owner of a disabled endpoint, which says why and what to do."""
    name = public("whk", endpoint["id"])
    body = (
        f"Your webhook endpoint {name} ({endpoint['description'] or 'no description'})\n{endpoint['url']}\n"
        f"was disabled because {_REASONS.get(reason, reason)}.\n\nThe last error was:\n{error}\n\n"
        "Nothing is lost: undelivered events, and those that occur meanwhile, can be replayed.\n"
        f"When the receiver works again, enable the endpoint (POST /v1/webhooks/{name}/enable) and\n"
        f"replay the missing events (POST /v1/webhooks/{name}/replay).\n"
    )
    subject = f"Webhook endpoint {name} was disabled"
    recipient = endpoint["owner_email"]
    state = "pending" if recipient else "shown"
    return (
        id_,
        endpoint["workspace_id"],
        "endpoint_disabled",
        endpoint["id"],
        recipient,
        subject,
        body,
        state,
        0,
        now if recipient else None,
        None if recipient else "the endpoint has no owner_email",
        now,
    )


#: Why a connection was paused; in a notice, the error follows.
_CAUSES = {
    "refused": "its provider refuses it\nfor a reason that an operator must correct. The provider's error:",
    "redefined": "the new definition of its connector\nrequires a field that the connection lacks:",
    "unreadable": "the definition of its connector\nis missing or not valid. Add it again with POST /v1/connectors:",
}


def paused_notice(id_: int, connection: dict[str, Any], error: str, now: int, *, cause: str = "refused") -> Row:
    """Return the row of a notice of a paused connection, which says why and what to do. It is shown, not mailed.

    `cause` is `refused` (by its provider), `redefined` or `unreadable` (the definition of its connector).
    """
    name = public("con", connection["id"])
    body = (
        f"The connection {connection['name']!r} ({name}, {connection['connector']}) was paused because "
        f"{_CAUSES[cause]}\n{error}\n\n"
        "No message is lost: messages wait for this connection until they expire, and other connections of the\n"
        "channel send those that they can.\n"
        f"Correct the cause. Then check the connection (POST /v1/connections/{name}/check), change its\n"
        f"credentials (PATCH /v1/connections/{name}) or enable it (POST /v1/connections/{name}/enable).\n"
    )
    subject = f"The connection {connection['name']!r} was paused"
    reason = "notices of connections are shown, not mailed"
    row = (id_, connection["workspace_id"], "connection_paused", connection["id"], None, subject, body)
    return (*row, "shown", 0, None, reason, now)


def account_notice(id_: int, workspace_id: int, kind: str, recipient: str, subject: str, body: str, now: int) -> Row:
    """Return the row of a mail to a user: an invitation or a password reset. It holds a secret, and is not listed."""
    return (id_, workspace_id, kind, 0, recipient, subject, body, "pending", 0, now, None, now)


#: Why a campaign was paused by itself, and what to do.
_STOPS = {
    "no_connection": "no connection can send its messages.\n"
    "Enable one for its channel, or name another one in the campaign.",
    "unknown_template": "its template was deleted.\nName another one in the campaign.",
}


def stopped_notice(id_: int, workspace_id: int, campaign_id: int, name: str, reason: str, now: int) -> Row:
    """Return the row of a notice of a campaign that paused itself, which says why and what to do. It is shown only."""
    public_id = public("cmp", campaign_id)
    body = (
        f"The campaign {name!r} ({public_id}) was paused because {_STOPS[reason]}\n\n"
        f"Nobody is lost: it goes on where it stopped when you resume it (POST /v1/campaigns/{public_id}/resume).\n"
    )
    row = (id_, workspace_id, "campaign_paused", campaign_id, None, f"The campaign {name!r} was paused", body)
    return (*row, "shown", 0, None, "notices of campaigns are shown, not mailed", now)


async def send_notices(database: Database, settings: Settings, now: int) -> int:
    """Mail due notices; return how many were handled. Without a mail server they are logged and shown."""
    rows = await database.read(_due)
    for id_, recipient, subject, body, tries in rows:
        # The notices before it may have taken long, and a lease starts now.
        now = max(now, now_us())
        if not await database.transact(_claim, id_):
            continue
        state, error, due_at = "sent", None, None
        if not settings.smtp_url:
            state, error = "shown", "no mail server is configured (WAYPOST_SMTP_URL)"
            log.warning("notice", action="notice_shown", notice=public("ntc", id_), subject=subject)
        else:
            error = await send_own_mail(settings, recipient, subject, body, public("ntc", id_), now)
            if error is None:
                log.info("notice mailed", action="notice_sent", notice=public("ntc", id_))
            else:
                state = "pending" if tries + 1 < TRIES else "failed"
                due_at = now + MINUTE * 2**tries if state == "pending" else None
                log.warning("notice not mailed", action="notice_failed", notice=public("ntc", id_), error=error)
        await database.transact(_settle, id_, state, due_at, error)
    return len(rows)


async def send_own_mail(settings: Settings, recipient: str, subject: str, body: str, name: str, now: int) -> str | None:
    """Mail a text of this server through its own mail server; return why it was not accepted, or None."""
    text = f"{body}\n-- \nWaypost at {settings.base_url}\n"
    content = Content(sender=settings.mail_from, subject=subject, text=text)
    return await send_mail(settings.smtp_url, recipient, content, name, now)


async def send_mail(smtp_url: str, recipient: str, content: Content, name: str, now: int) -> str | None:
    """Send one email through the server of an `smtp://` or `smtps://` URL; return why it was not accepted, or None.

    The operator chose the server: it may have any address, and is not reached through the egress proxy. `name` is the
    start of the Message-ID.
    """
    try:
        parts = urlsplit(smtp_url)
        port = parts.port or DEFAULT_PORTS[parts.scheme]
    except ValueError:
        # The error may quote a part of the password.
        return "smtp_url is no valid URL; write characters such as @ and / in a password as %40 and %2F"
    masker = Masker([unquote(parts.password)] if parts.password else [])
    pool = SmtpPool(_connect, find_authorities())
    try:
        request = _mail_request(parts, port, recipient, content, name, now)
        response, _ = await pool.send(request)
    except (Invalid, ValueError) as error:
        return masker.mask(str(error))[:LONGEST_ERROR]
    finally:
        pool.close()
    if response.status == 250 and response.stage == SmtpStage.MESSAGE:
        return None
    reply = f"{response.status} {response.body.decode('utf-8', 'replace')}" if response.status else response.error
    return masker.mask(f"{response.stage}: {reply}")[:LONGEST_ERROR]


def _mail_request(parts: SplitResult, port: int, recipient: str, content: Content, name: str, now: int) -> Request:
    host = parts.hostname or "localhost"
    url = f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}"
    sender = parse_sender(content.sender)[1]
    to = check_address(recipient)
    message_id = f"{name}@{sender.rpartition('@')[2]}"
    mail = build_mail(content, to=to, sender=content.sender, message_id=message_id, now=now)
    username, password = unquote(parts.username or ""), unquote(parts.password or "")
    # A password is never sent without TLS; a notice may be.
    tls = "required" if username else "opportunistic"
    return Request(url, mail, [], MAIL_TIMEOUT_MS, envelope=Envelope(sender, (to,), username, password, tls))


async def _connect(url: str, timeout_ms: int) -> socket.socket:
    """Connect to the host and port of a URL; raise Unreached if this fails."""
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
