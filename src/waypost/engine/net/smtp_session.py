"""One SMTP session: greeting, TLS, login, and then one mail after another."""

import asyncio
import contextlib
import re
import socket
import ssl
from base64 import b64encode
from collections import deque
from functools import cache
from typing import cast

from waypost.domain.providers.smtp import (
    CLOSING,
    Offer,
    Replies,
    Reply,
    Stage,
    allowed_in_command,
    mail_command,
    plain_login,
    read_offer,
    recipient_command,
    stuffed,
)
from waypost.engine.net.request import Envelope

_READY = (354,)
_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})+\Z")


class Ended(Exception):
    """The session has ended. The text is `code: words`, as in the errors of responses."""


class Refused(Exception):
    """The server refused a command; `reply` is its reply."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.code)
        self.reply = reply


class SmtpSession(asyncio.Protocol):
    """An SMTP session. It is over after Ended; after Refused, and after a mail, another mail can be sent."""

    def __init__(self) -> None:
        self.stage = Stage.CONNECT
        #: Mails that were begun.
        self.mails = 0
        #: When it was last used, by the loop's clock.
        self.idle_since = 0.0
        #: Whether the server may have received the end of the last mail.
        self.sent = False
        self._transport: asyncio.Transport | None = None
        self._offer = Offer()
        self._replies = Replies()
        self._replied: deque[Reply] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._wanted = 0
        self._lost: str | None = None
        #: A mail was begun and not ended: RSET must come first.
        self._begun = False
        #: The name that EHLO gives.
        self._name = ""

    @property
    def usable(self) -> bool:
        """Whether another mail can be sent: the connection is open and no unread reply waits."""
        return self._lost is None and not self._replied and not self._replies.unfinished

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop, again after STARTTLS."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        try:
            self._replied += self._replies.take(data)
        except ValueError as error:
            self._end(f"not_smtp: {error}")
            return
        if self._waiter is not None and len(self._replied) >= self._wanted:
            self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the loop."""
        self._end(f"connection_lost: {error}" if error else "connection_lost: the server closed the connection")

    def abort(self) -> None:
        """Close the connection without QUIT."""
        self._end("connection_lost: the session was aborted")

    def leave(self) -> None:
        """Send QUIT and close the connection."""
        if self._transport is not None and self._lost is None:
            self._transport.write(b"QUIT\r\n")
            self._lost = "connection_lost: the session has ended"
            self._transport.close()

    async def begin(
        self, connection: socket.socket, host: str, envelope: Envelope, secure: ssl.SSLContext | None, *, at_once: bool
    ) -> None:
        """Greet the server, start TLS and log in; `at_once` means TLS from the start.

        Raises Ended or Refused when that fails.
        """
        loop = asyncio.get_running_loop()
        self._name = _own_name() or _literal(connection)
        if at_once:
            self.stage = Stage.TLS
        try:
            await loop.create_connection(
                lambda: self,
                sock=connection,
                ssl=secure if at_once else None,
                server_hostname=host if at_once else None,
            )
        except OSError as error:
            raise Ended(f"{'tls' if at_once else 'connect'}: {error}") from None
        self.stage = Stage.CONNECT
        _expect(await self._reply(), 220)
        await self._hello()
        if secure is not None and not at_once and await self._turn_to_tls(host, envelope, secure):
            await self._hello()
        if envelope.username:
            await self._log_in(envelope)

    async def send(self, envelope: Envelope, mail: bytes) -> Reply:
        """Send a mail; return the reply with which the server accepted it.

        Raises Refused when the server refused it, so that no recipient gets it. Raises Ended when the session ended:
        `sent` says whether the server may have accepted the mail.
        """
        self.stage = Stage.SENDER
        self.sent = False
        self.mails += 1
        data = stuffed(mail)
        commands = self._opening(envelope, len(mail))
        # With several recipients DATA must wait: if the server refused one, the others would get an empty mail.
        ahead = self._offer.pipelining and len(envelope.recipients) == 1
        if ahead:
            self._write(b"".join(commands) + b"DATA\r\n")
        for place, command in enumerate(commands):
            if not ahead:
                self._write(command)
            reply = await self._reply(1 if not ahead else len(commands) + 1 - place)
            if command.startswith(b"RSET"):
                _expect(reply, 250)
                self._begun = False
            elif place == len(commands) - len(envelope.recipients) - 1:
                await self._must(reply, ahead, (250,), len(commands) - place)
                self._begun = True
                self.stage = Stage.RECIPIENT
            else:
                await self._must(reply, ahead, (250, 251, 252), len(commands) - place)
        self.stage = Stage.DATA
        if not ahead:
            self._write(b"DATA\r\n")
        await self._must(await self._reply(), False, _READY, 0)
        self.stage = Stage.MESSAGE
        transport = self._on()
        self.sent = True
        transport.write(data)
        reply = await self._reply()
        # Whatever the reply, no mail is in progress any more.
        self._begun = False
        _expect(reply, 250)
        return reply

    async def check_sender(self, envelope: Envelope) -> Reply:
        """Ask whether the server accepts mails from this sender; send none."""
        self.stage = Stage.SENDER
        self._write(mail_command(envelope.sender, 0, Offer(), utf8=False))
        reply = await self._reply()
        _expect(reply, 250)
        self._begun = True
        return reply

    def _opening(self, envelope: Envelope, size: int) -> list[bytes]:
        """Return the commands before DATA; raise Ended when an address cannot be sent to this server."""
        addresses = (envelope.sender, *envelope.recipients)
        if not envelope.recipients or not all(allowed_in_command(address) for address in addresses):
            raise Ended("not_sent: an address cannot stand in a command")
        utf8 = not all(address.isascii() for address in addresses)
        if utf8 and not self._offer.utf8:
            raise Ended("no_utf8: the server accepts only ASCII addresses")
        return [
            *([b"RSET\r\n"] if self._begun else []),
            mail_command(envelope.sender, size, self._offer, utf8=utf8),
            *(recipient_command(address) for address in envelope.recipients),
        ]

    async def _hello(self) -> None:
        self.stage = Stage.HELLO
        reply = await self._say(f"EHLO {self._name}\r\n".encode())
        _expect(reply, 250)
        self._offer = read_offer(reply)

    async def _turn_to_tls(self, host: str, envelope: Envelope, secure: ssl.SSLContext) -> bool:
        """Start TLS; return whether the session uses it."""
        self.stage = Stage.TLS
        if not self._offer.starttls:
            if envelope.tls == "opportunistic" and not envelope.username:
                return False
            raise Ended("tls_missing: the server offers no STARTTLS")
        _expect(await self._say(b"STARTTLS\r\n"), 220)
        if not self.usable:
            # A man in the middle injected a reply that would be read as if it came over TLS.
            raise Ended("not_smtp: the server sent data between STARTTLS and TLS")
        try:
            transport = await asyncio.get_running_loop().start_tls(self._on(), self, secure, server_hostname=host)
        except OSError as error:
            raise Ended(f"tls: {error}") from None
        if transport is None:
            raise Ended("connection_lost: the server closed the connection")
        self._transport = transport
        return True

    async def _log_in(self, envelope: Envelope) -> None:
        self.stage = Stage.LOGIN
        offered = self._offer.logins
        if "PLAIN" in offered:
            reply = await self._say(plain_login(envelope.username, envelope.password))
        elif "LOGIN" in offered:
            reply = await self._say(b"AUTH LOGIN\r\n")
            for text in (envelope.username, envelope.password):
                _expect(reply, 334)
                reply = await self._say(b64encode(text.encode()) + b"\r\n")
        else:
            named = ", ".join(sorted(offered)) or "nothing"
            raise Ended(f"login_missing: the server offers no AUTH PLAIN or LOGIN but {named}"[:500])
        _expect(reply, 235)

    async def _must(self, reply: Reply, ahead: bool, codes: tuple[int, ...], following: int) -> None:
        """Continue after one of these codes; otherwise read the replies to pipelined commands, and raise Refused."""
        if reply.code in codes:
            return
        if reply.code == CLOSING or (reply.code < 400 and not ahead):
            self.abort()
        elif ahead:
            last = reply
            with contextlib.suppress(Ended):
                for _ in range(following):
                    last = await self._reply()
            if last.code in _READY:
                # The server waits for mail data. Anything sent now, even nothing, could count as a mail.
                self.abort()
        raise Refused(reply)

    async def _say(self, command: bytes) -> Reply:
        self._write(command)
        return await self._reply()

    def _write(self, data: bytes) -> None:
        self._on().write(data)

    def _on(self) -> asyncio.Transport:
        if self._lost is not None:
            raise Ended(self._lost)
        if self._transport is None:
            raise Ended("connect: there is no connection")
        return self._transport

    async def _reply(self, at_once: int = 1) -> Reply:
        """Return the next reply, once `at_once` replies have arrived: fewer wake-ups when several are expected."""
        if len(self._replied) < at_once and self._lost is None:
            self._wanted = at_once
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if not self._replied:
            raise Ended(self._lost or "connection_lost: there is no reply")
        return self._replied.popleft()

    def _end(self, reason: str) -> None:
        if self._lost is None:
            self._lost = reason
        self._wake()
        if self._transport is not None:
            self._transport.abort()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _expect(reply: Reply, code: int) -> None:
    if reply.code != code:
        raise Refused(reply)


@cache
def _own_name() -> str:
    """Return the host name if it is fully qualified, else ""."""
    name = socket.gethostname()
    return name if _NAME.match(name) else ""


def _literal(connection: socket.socket) -> str:
    """Return the local address as an EHLO literal (RFC 5321, 4.1.3)."""
    address = str(connection.getsockname()[0]).partition("%")[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"
