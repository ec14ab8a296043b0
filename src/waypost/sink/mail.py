"""The sink's SMTP server: takes every mail, keeps it, and answers as it is told."""

import asyncio
import weakref
from email import message_from_bytes
from email.errors import MessageError
from email.policy import default
from typing import Any, cast

from aiosmtpd.smtp import SMTP, Envelope, Session

from waypost.sink.behaviour import Behaviour
from waypost.sink.hooks import Hooks

LARGEST_MAIL = 32 * 1024 * 1024


class Postbox:
    """Hands the mails of SMTP connections to the receivers' records."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks

    # The name and the arguments of this method are what aiosmtpd calls.
    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Keep a mail and give the reply."""
        content = envelope.original_content or b""
        head, subject = _read(content)
        told: dict[str, Any] = {"from": envelope.mail_from, "to": list(envelope.rcpt_tos), "subject": subject}
        behaviour = self._hooks.receive_mail(head, content, told)
        if behaviour.delay:
            await asyncio.sleep(behaviour.delay)
        if behaviour.hang:
            # Until the other side goes: aiosmtpd cancels us then.
            await asyncio.get_running_loop().create_future()
        if behaviour.close and server.transport is not None:
            cast(asyncio.Transport, server.transport).abort()
        return _reply(behaviour)


def connection(hooks: Hooks, open_connections: weakref.WeakSet[SMTP]) -> SMTP:
    """The protocol for one SMTP connection on the running loop."""
    made = SMTP(
        Postbox(hooks),
        loop=asyncio.get_running_loop(),
        hostname="sink.invalid",
        ident="Waypost sink",
        enable_SMTPUTF8=True,
        data_size_limit=LARGEST_MAIL,
    )
    open_connections.add(made)
    return made


def _reply(behaviour: Behaviour) -> str:
    """The reply to a mail's data, with the enhanced code of its class (RFC 3463)."""
    text = " ".join((behaviour.body or ("Kept" if behaviour.status < 400 else "Refused, as told")).split())
    return f"{behaviour.status} {behaviour.status // 100}.0.0 {text}"


def _read(content: bytes) -> tuple[bytes, str]:
    """The headers as they are kept, names and values in turn, and the subject."""
    try:
        message = message_from_bytes(content, policy=default)
        pairs = [(name, " ".join(str(value).split())) for name, value in message.items()]
        lines = [part for pair in pairs for part in pair]
        return "\n".join(lines).encode("utf-8", "replace"), str(message.get("subject", ""))
    except (MessageError, ValueError, LookupError, IndexError, AttributeError):
        # The parser of the standard library stumbles over some malformed headers; the mail itself is kept.
        return b"", ""
