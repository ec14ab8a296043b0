"""What people have to be told: kept in the transaction that caused it, mailed when there is a mail server."""

import asyncio
from email.message import EmailMessage
from typing import Any
from urllib.parse import unquote, urlsplit

import aiosmtplib
import structlog

from waypost.clock import MINUTE, now_us
from waypost.domain.ids import public
from waypost.settings import Settings
from waypost.storage.database import Database, Row, Tx

log = structlog.get_logger()

#: Tries to hand a notice to the mail server, each wait twice as long as the one before, from a minute on.
TRIES = 10
#: While a mail is being handed over, nobody else takes it for so long.
LEASE = 2 * MINUTE
_REASONS = {
    "exhausted": "a webhook was tried 11 times and never answered with 2xx",
    "gone": "it answered 410 Gone, which asks for no more webhooks",
}


def disabled_notice(id_: int, endpoint: dict[str, Any], reason: str, error: str, now: int) -> Row:
    """The row of a notice that tells an endpoint's owner that it was disabled, and what to do."""
    name = public("whk", endpoint["id"])
    body = (
        f"Your webhook endpoint {name} ({endpoint['description'] or 'no description'})\n{endpoint['url']}\n"
        f"was disabled because {_REASONS.get(reason, reason)}.\n\nThe last error was:\n{error}\n\n"
        "Nothing is lost: what was not delivered stays listed, with every event that came meanwhile.\n"
        f"When the receiver works again, enable the endpoint (POST /v1/webhooks/{name}/enable) and\n"
        f"replay what is missing (POST /v1/webhooks/{name}/replay).\n"
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


def paused_notice(id_: int, connection: dict[str, Any], error: str, now: int) -> Row:
    """The row of a notice that says that a connection was paused, and what to do. It is shown, not mailed."""
    name = public("con", connection["id"])
    body = (
        f"The connection {connection['name']!r} ({name}, {connection['connector']}) was paused because its provider "
        f"refuses it\nfor a reason that somebody has to mend. The provider said:\n{error}\n\n"
        "No message is lost: what waits for this connection goes on waiting for as long as it may, and other\n"
        "connections of the channel take what they can.\n"
        f"Mend the cause, then check the connection (POST /v1/connections/{name}/check), change its credentials\n"
        f"(PATCH /v1/connections/{name}) or enable it (POST /v1/connections/{name}/enable).\n"
    )
    subject = f"The connection {connection['name']!r} was paused"
    reason = "notices of connections are shown, not mailed"
    row = (id_, connection["workspace_id"], "connection_paused", connection["id"], None, subject, body)
    return (*row, "shown", 0, None, reason, now)


async def send_notices(database: Database, settings: Settings, now: int) -> int:
    """Mail what is due; gives back how many notices were handled. Without a mail server they are logged and shown."""
    rows = await database.read(_due)
    for id_, recipient, subject, body, tries in rows:
        # Those before it may have taken their time, and a lease runs from now.
        now = max(now, now_us())
        if not await database.transact(_claim, id_):
            continue
        state, error, due_at = "sent", None, None
        if not settings.smtp_url:
            state, error = "shown", "no mail server is configured (WAYPOST_SMTP_URL)"
            log.warning("notice", action="notice_shown", notice=public("ntc", id_), subject=subject)
        else:
            try:
                signed = f"{body}\n-- \nWaypost at {settings.base_url}\n"
                await send_mail(settings.smtp_url, settings.mail_from, recipient, subject, signed)
                log.info("notice mailed", action="notice_sent", notice=public("ntc", id_))
            except (aiosmtplib.SMTPException, OSError, TimeoutError, ValueError) as failure:
                error = f"{type(failure).__name__}: {failure}"[:500]
                state = "pending" if tries + 1 < TRIES else "failed"
                due_at = now + MINUTE * 2**tries if state == "pending" else None
                log.warning("notice not mailed", action="notice_failed", notice=public("ntc", id_), error=error)
        await database.transact(_settle, id_, state, due_at, error)
    return len(rows)


async def send_mail(smtp_url: str, mail_from: str, recipient: str, subject: str, body: str) -> None:
    """Hand one mail to the server of an `smtp://` or `smtps://` URL."""
    parts = urlsplit(smtp_url)
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = mail_from, recipient, subject
    message.set_content(body)
    secure = parts.scheme == "smtps"
    await asyncio.wait_for(
        aiosmtplib.send(
            message,
            hostname=parts.hostname or "localhost",
            port=parts.port or (465 if secure else 25),
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            use_tls=secure,
            timeout=20,
        ),
        60,
    )


async def _due(tx: Tx) -> list[Row]:
    return await tx.rows("notices.due", n=20)


async def _claim(tx: Tx, id_: int) -> bool:
    return await tx.run("notices.claim", id=id_, lease=LEASE) == 1


async def _settle(tx: Tx, id_: int, state: str, due_at: int | None, error: str | None) -> None:
    await tx.run("notices.settle", id=id_, state=state, due_at=due_at, error=error)
