"""One conversation with a mail server: greeting, TLS, login, and then one mail after another."""

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
    SmtpCapabilities,
    SmtpReply,
    SmtpReplyParser,
    SmtpStage,
    dot_stuff,
    is_allowed_in_command,
    mail_command,
    plain_login,
    read_capabilities,
    recipient_command,
)
from waypost.engine.net.request import Envelope

_READY = (354,)
_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})+\Z")


class Ended(Exception):
    """The conversation cannot go on. The text is `word: words`, as the errors of responses are."""


class Refused(Exception):
    """The server refused to go on; `reply` is what it said."""

    def __init__(self, reply: SmtpReply) -> None:
        super().__init__(reply.code)
        self.reply = reply


class SmtpSession(asyncio.Protocol):
    """A conversation. After Ended nothing more can be said; after Refused and after a mail another one can be sent."""

    def __init__(self) -> None:
        self.stage = SmtpStage.CONNECT
        #: Mails that were begun.
        self.mails = 0
        #: Since when nobody has used it, by the loop's clock.
        self.idle_since = 0.0
        #: Whether the end of the last mail may have reached the server.
        self.sent = False
        self._transport: asyncio.Transport | None = None
        self._offer = SmtpCapabilities()
        self._replies = SmtpReplyParser()
        self._heard: deque[SmtpReply] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._wanted = 0
        self._lost: str | None = None
        #: A mail was begun and not ended: the server has to forget about it first.
        self._begun = False
        #: How this side calls itself.
        self._name = ""

    @property
    def usable(self) -> bool:
        """Whether another mail can be sent: the server is still there and has nothing to say."""
        return self._lost is None and not self._heard and not self._replies.unfinished

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop, again after STARTTLS."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        try:
            self._heard += self._replies.take(data)
        except ValueError as error:
            self._end(f"not_smtp: {error}")
            return
        if self._waiter is not None and len(self._heard) >= self._wanted:
            self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the loop."""
        self._end(f"connection_lost: {error}" if error else "connection_lost: the server closed the connection")

    def abort(self) -> None:
        """Leave without a word."""
        self._end("connection_lost: the conversation was broken off")

    def leave(self) -> None:
        """Say goodbye and leave."""
        if self._transport is not None and self._lost is None:
            self._transport.write(b"QUIT\r\n")
            self._lost = "connection_lost: the conversation is over"
            self._transport.close()

    async def begin(
        self, connection: socket.socket, host: str, envelope: Envelope, secure: ssl.SSLContext | None, *, at_once: bool
    ) -> None:
        """Come to the point where mails can be sent; `at_once` is for servers that speak TLS from the start.

        Ended or Refused when that does not work.
        """
        loop = asyncio.get_running_loop()
        self._name = _own_name() or _literal(connection)
        if at_once:
            self.stage = SmtpStage.TLS
        try:
            await loop.create_connection(
                lambda: self,
                sock=connection,
                ssl=secure if at_once else None,
                server_hostname=host if at_once else None,
            )
        except OSError as error:
            raise Ended(f"{'tls' if at_once else 'connect'}: {error}") from None
        self.stage = SmtpStage.CONNECT
        _expect(await self._reply(), 220)
        await self._hello()
        if secure is not None and not at_once and await self._turn_to_tls(host, envelope, secure):
            await self._hello()
        if envelope.username:
            await self._log_in(envelope)

    async def send(self, envelope: Envelope, mail: bytes) -> SmtpReply:
        """Hand a mail over; what is given back is the reply that it was taken with.

        Refused when it was not: then nobody has got it. Ended when nobody knows: then `sent` tells whether it may
        have been taken.
        """
        self.stage = SmtpStage.SENDER
        self.sent = False
        self.mails += 1
        data = dot_stuff(mail)
        commands = self._opening(envelope, len(mail))
        # An address that is refused leaves others that are not: then DATA must wait, or they would get an empty mail.
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
                self.stage = SmtpStage.RECIPIENT
            else:
                await self._must(reply, ahead, (250, 251, 252), len(commands) - place)
        self.stage = SmtpStage.DATA
        if not ahead:
            self._write(b"DATA\r\n")
        await self._must(await self._reply(), False, _READY, 0)
        self.stage = SmtpStage.MESSAGE
        transport = self._on()
        self.sent = True
        transport.write(data)
        reply = await self._reply()
        # Whatever it said, there is no mail under way any more.
        self._begun = False
        _expect(reply, 250)
        return reply

    async def check_sender(self, envelope: Envelope) -> SmtpReply:
        """Ask whether mails from this sender are taken, and send none."""
        self.stage = SmtpStage.SENDER
        self._write(mail_command(envelope.sender, 0, SmtpCapabilities(), utf8=False))
        reply = await self._reply()
        _expect(reply, 250)
        self._begun = True
        return reply

    def _opening(self, envelope: Envelope, size: int) -> list[bytes]:
        """The commands before DATA; Ended when there is no way to say them to this server."""
        addresses = (envelope.sender, *envelope.recipients)
        if not envelope.recipients or not all(is_allowed_in_command(address) for address in addresses):
            raise Ended("not_sent: an address cannot stand in a command")
        utf8 = not all(address.isascii() for address in addresses)
        if utf8 and not self._offer.utf8:
            raise Ended("no_utf8: the server takes no addresses beyond ASCII")
        return [
            *([b"RSET\r\n"] if self._begun else []),
            mail_command(envelope.sender, size, self._offer, utf8=utf8),
            *(recipient_command(address) for address in envelope.recipients),
        ]

    async def _hello(self) -> None:
        self.stage = SmtpStage.HELLO
        reply = await self._say(f"EHLO {self._name}\r\n".encode())
        _expect(reply, 250)
        self._offer = read_capabilities(reply)

    async def _turn_to_tls(self, host: str, envelope: Envelope, secure: ssl.SSLContext) -> bool:
        """Whether the conversation is private from now on."""
        self.stage = SmtpStage.TLS
        if not self._offer.starttls:
            if envelope.tls == "opportunistic" and not envelope.username:
                return False
            raise Ended("tls_missing: the server offers no STARTTLS")
        _expect(await self._say(b"STARTTLS\r\n"), 220)
        if not self.usable:
            # Somebody in between has put words into its mouth, to be read as if they came over TLS.
            raise Ended("not_smtp: the server spoke between STARTTLS and TLS")
        try:
            transport = await asyncio.get_running_loop().start_tls(self._on(), self, secure, server_hostname=host)
        except OSError as error:
            raise Ended(f"tls: {error}") from None
        if transport is None:
            raise Ended("connection_lost: the server closed the connection")
        self._transport = transport
        return True

    async def _log_in(self, envelope: Envelope) -> None:
        self.stage = SmtpStage.LOGIN
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

    async def _must(self, reply: SmtpReply, ahead: bool, codes: tuple[int, ...], following: int) -> None:
        """Go on after one of these codes; otherwise hear out what was asked ahead, and give up this mail."""
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
                # It waits for a mail that nobody is to get. Whatever is said to it now, even nothing, could be one.
                self.abort()
        raise Refused(reply)

    async def _say(self, command: bytes) -> SmtpReply:
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

    async def _reply(self, at_once: int = 1) -> SmtpReply:
        """The next reply, once so many are there: fewer pauses where several are awaited. All count when it is over."""
        if len(self._heard) < at_once and self._lost is None:
            self._wanted = at_once
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if not self._heard:
            raise Ended(self._lost or "connection_lost: there is no reply")
        return self._heard.popleft()

    def _end(self, reason: str) -> None:
        if self._lost is None:
            self._lost = reason
        self._wake()
        if self._transport is not None:
            self._transport.abort()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _expect(reply: SmtpReply, code: int) -> None:
    if reply.code != code:
        raise Refused(reply)


@cache
def _own_name() -> str:
    """The name of this machine, where it has one that others could look up; "" where it has not."""
    name = socket.gethostname()
    return name if _NAME.match(name) else ""


def _literal(connection: socket.socket) -> str:
    """The address of this side, as it stands in an EHLO for want of a name (RFC 5321, 4.1.3)."""
    address = str(connection.getsockname()[0]).partition("%")[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"
