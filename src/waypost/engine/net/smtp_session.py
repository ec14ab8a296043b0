"""One session with a mail server: greeting, TLS, login, and then one mail after another."""

import asyncio
import re
import socket
import ssl
from base64 import b64encode
from collections import deque
from collections.abc import Callable
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

_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})+\Z")
#: The stage of each command, and the replies that accept it. END is the end of the mail's data.
_STEPS = {
    "RSET": (SmtpStage.SENDER, (250,)),
    "MAIL": (SmtpStage.SENDER, (250,)),
    "RCPT": (SmtpStage.RECIPIENT, (250, 251, 252)),
    "DATA": (SmtpStage.DATA, (354,)),
    "END": (SmtpStage.MESSAGE, (250,)),
}


class Ended(Exception):
    """The session cannot continue. The text is `code: words`, as the errors of responses are."""


class Refused(Exception):
    """The server refused a command; `reply` is its reply."""

    def __init__(self, reply: SmtpReply) -> None:
        super().__init__(reply.code)
        self.reply = reply


class Mail:
    """A mail for a server, and how far it came. `done` is called once, when its outcome is known."""

    __slots__ = (
        "ahead",
        "awaited",
        "body",
        "canonical",
        "deadline",
        "done",
        "envelope",
        "error",
        "fresh",
        "future",
        "overlapped",
        "reply",
        "sent",
        "stage",
        "timeout_s",
        "unsent",
        "used",
    )

    def __init__(
        self, envelope: Envelope, body: bytes, timeout_s: float, done: Callable[["Mail"], None], canonical: bool = False
    ) -> None:
        self.envelope = envelope
        self.body = body
        #: Whether every line of the body ends in CRLF, and nothing else is a line end.
        self.canonical = canonical
        self.timeout_s = timeout_s
        self.done = done
        #: Whether it needs a new session.
        self.fresh = False
        self.restart()

    def restart(self) -> None:
        """Forget how far it came."""
        #: What the caller waits for; `done` resolves it.
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        #: The outcome: the reply that accepted or refused it, or why there is none.
        self.reply: SmtpReply | None = None
        self.error: str | None = None
        self.stage = SmtpStage.CONNECT
        #: Whether the server may have received the end of its data, and so may have accepted it.
        self.sent = False
        #: The commands that await a reply, and those that are not sent yet.
        self.awaited: deque[str] = deque()
        self.unsent: deque[tuple[str, bytes]] = deque()
        #: Whether its commands are sent without waiting for each reply (RFC 2920).
        self.ahead = False
        #: Whether they were sent together with the data of the mail before it.
        self.overlapped = False
        #: Whether the session had sent another mail before.
        self.used = False
        #: By the clock of the event loop.
        self.deadline = 0.0


class SmtpSession(asyncio.Protocol):
    """A session. It is opened by `begin`; then `start` sends mails, one at a time.

    With PIPELINING, the commands of the next mail follow the data of the present one in the same write, which RFC 2920
    (3.1) allows: so a mail takes one round trip instead of two. `following` provides that mail, which has one
    recipient, or None; `free` is called when the session has nothing to send, and `closed` when it has ended.
    """

    def __init__(
        self,
        following: Callable[["SmtpSession"], Mail | None] = lambda _: None,
        free: Callable[["SmtpSession"], None] = lambda _: None,
        closed: Callable[["SmtpSession"], None] = lambda _: None,
    ) -> None:
        self._following = following
        self._free = free
        self._closed = closed
        #: How far `begin` and `check_sender` came.
        self.stage = SmtpStage.CONNECT
        #: How many mails were begun.
        self.mails = 0
        #: When it became free, by the clock of the event loop.
        self.idle_since = 0.0
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._offer = SmtpCapabilities()
        self._replies = SmtpReplyParser()
        #: Replies to `_say`, and unsolicited ones.
        self._unread: deque[SmtpReply] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._lost: str | None = None
        #: The mails whose replies are awaited: the present one, and one that overlaps it.
        self._mails: deque[Mail] = deque()
        #: Whether a mail was begun and not ended: the server must reset before the next one.
        self._begun = False
        self._timer: asyncio.TimerHandle | None = None
        #: The name of this side in EHLO.
        self._name = ""

    @property
    def usable(self) -> bool:
        """Whether another mail can be started: the server is there and has sent nothing unasked."""
        return self._lost is None and not self._unread and not self._replies.unfinished

    @property
    def busy(self) -> bool:
        """Whether a mail is under way."""
        return bool(self._mails)

    def sends(self, mail: Mail) -> bool:
        """Whether this mail is under way here."""
        return mail in self._mails

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; the loop calls this again after STARTTLS."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Take the replies in these bytes."""
        try:
            replies = self._replies.take(data)
        except ValueError as error:
            self._end(f"not_smtp: {error}")
            return
        was_busy = bool(self._mails)
        for reply in replies:
            if self._mails:
                self._advance(self._mails[0], reply)
            else:
                self._unread.append(reply)
        if self._waiter is not None and self._unread:
            self._wake()
        if was_busy and not self._mails and self._lost is None:
            self._free(self)

    def connection_lost(self, error: Exception | None) -> None:
        """End the session; the loop calls this."""
        self._end(f"connection_lost: {error}" if error else "connection_lost: the server closed the connection")

    def abort(self) -> None:
        """Close the connection at once."""
        self._end("connection_lost: the session was aborted")

    def leave(self) -> None:
        """Send QUIT and close the connection."""
        if self._transport is not None and self._lost is None:
            self._transport.write(b"QUIT\r\n")
            self._lost = "connection_lost: the session is over"
            self._transport.close()
            self._stop_timer()
            self._closed(self)

    async def begin(
        self, connection: socket.socket, host: str, envelope: Envelope, secure: ssl.SSLContext | None, *, at_once: bool
    ) -> None:
        """Open the session: greeting, EHLO, TLS and login. `at_once`: the server speaks TLS from the start.

        Raise Ended or Refused when that fails.
        """
        self._name = _own_name() or _literal(connection)
        if at_once:
            self.stage = SmtpStage.TLS
        try:
            await self._loop.create_connection(
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

    def start(self, mail: Mail) -> None:
        """Send a mail. The session must be open, usable and not busy."""
        if not self._prepare(mail):
            mail.done(mail)
            return
        self._take(mail)
        self._write_next(mail)

    async def check_sender(self, envelope: Envelope) -> SmtpReply:
        """Return the server's reply to a sender that it accepts, and send no mail. Raise Refused or Ended."""
        self.stage = SmtpStage.SENDER
        reply = await self._say(mail_command(envelope.sender, 0, SmtpCapabilities(), utf8=False))
        _expect(reply, 250)
        self._begun = True
        return reply

    def _prepare(self, mail: Mail) -> bool:
        """Make the commands of a mail; return False when the server cannot be sent them, with `mail.error` set."""
        envelope = mail.envelope
        mail.stage = SmtpStage.SENDER
        mail.used = self.mails > 0
        self.mails += 1
        addresses = (envelope.sender, *envelope.recipients)
        if not envelope.recipients or not all(is_allowed_in_command(address) for address in addresses):
            mail.error = "not_sent: an address cannot stand in a command"
            return False
        utf8 = not all(address.isascii() for address in addresses)
        if utf8 and not self._offer.utf8:
            mail.error = "no_utf8: the server takes no addresses beyond ASCII"
            return False
        if self._begun:
            mail.unsent.append(("RSET", b"RSET\r\n"))
        mail.unsent.append(("MAIL", mail_command(envelope.sender, len(mail.body), self._offer, utf8=utf8)))
        mail.unsent += [("RCPT", recipient_command(address)) for address in envelope.recipients]
        mail.unsent.append(("DATA", b"DATA\r\n"))
        # The server may refuse one address and accept another: then DATA must wait, or those would get an empty mail.
        mail.ahead = self._offer.pipelining and len(envelope.recipients) == 1
        return True

    def _take(self, mail: Mail) -> None:
        self._mails.append(mail)
        mail.deadline = self._loop.time() + mail.timeout_s
        if self._timer is None:
            self._timer = self._loop.call_at(mail.deadline, self._check_deadline)

    def _commands(self, mail: Mail) -> bytes:
        """Return the commands of a mail that may be sent now."""
        if mail.ahead:
            mail.awaited += [step for step, _ in mail.unsent]
            commands = b"".join([command for _, command in mail.unsent])
            mail.unsent.clear()
            return commands
        step, command = mail.unsent.popleft()
        mail.awaited.append(step)
        return command

    def _write_next(self, mail: Mail) -> None:
        commands = self._commands(mail)
        if self._transport is not None:
            self._transport.write(commands)

    def _advance(self, mail: Mail, reply: SmtpReply) -> None:
        """Go on with a mail after the reply to its oldest command."""
        step = mail.awaited.popleft()
        accepting = _STEPS[step][1]
        if mail.reply is not None:
            # It was refused, and this is the reply to a command that was sent ahead.
            if step == "DATA" and reply.code in accepting:
                # The server waits for a mail that must not be sent; any byte, even none, could become one.
                self.abort()
            elif not mail.awaited:
                self._finish(mail)
            return
        if step == "END":
            # Whatever the reply, the server has no mail under way any more.
            self._begun = False
            mail.reply = reply
            self._finish(mail)
        elif reply.code not in accepting:
            mail.reply = reply
            if reply.code == CLOSING or (reply.code < 400 and not mail.awaited):
                self.abort()
            elif not mail.awaited:
                self._finish(mail)
        elif step == "DATA":
            self._send_data(mail)
        else:
            self._begun = step != "RSET"
            if mail.unsent:
                self._write_next(mail)
            mail.stage = _STEPS[mail.awaited[0]][0]

    def _send_data(self, mail: Mail) -> None:
        """Send the data of a mail and, in the same write, the commands of the next one."""
        mail.stage = SmtpStage.MESSAGE
        mail.sent = True
        mail.awaited.append("END")
        data = dot_stuff(mail.body, canonical=mail.canonical)
        # The data ends this mail, so the next one needs no reset.
        self._begun = False
        while self._offer.pipelining and (following := self._following(self)) is not None:
            if self._prepare(following):
                following.overlapped = True
                self._take(following)
                data += self._commands(following)
                break
            following.done(following)
        self._begun = True
        if self._transport is not None:
            self._transport.write(data)

    def _finish(self, mail: Mail) -> None:
        self._mails.popleft()
        mail.done(mail)

    def _check_deadline(self) -> None:
        self._timer = None
        if not self._mails:
            return
        # Mails end in the order of their starts, so the first one has the earliest deadline.
        mail = self._mails[0]
        if self._loop.time() < mail.deadline:
            self._timer = self._loop.call_at(mail.deadline, self._check_deadline)
        else:
            self._end(f"timeout: no reply within {mail.timeout_s:g} s")

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _hello(self) -> None:
        self.stage = SmtpStage.HELLO
        reply = await self._say(f"EHLO {self._name}\r\n".encode())
        _expect(reply, 250)
        self._offer = read_capabilities(reply)

    async def _turn_to_tls(self, host: str, envelope: Envelope, secure: ssl.SSLContext) -> bool:
        """Return whether the session is encrypted from now on."""
        self.stage = SmtpStage.TLS
        if not self._offer.starttls:
            if envelope.tls == "opportunistic" and not envelope.username:
                return False
            raise Ended("tls_missing: the server offers no STARTTLS")
        _expect(await self._say(b"STARTTLS\r\n"), 220)
        if not self.usable:
            # An attacker injected replies, which would be read as if they came over TLS.
            raise Ended("not_smtp: the server spoke between STARTTLS and TLS")
        try:
            transport = await self._loop.start_tls(self._on(), self, secure, server_hostname=host)
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

    async def _say(self, command: bytes) -> SmtpReply:
        self._on().write(command)
        return await self._reply()

    def _on(self) -> asyncio.Transport:
        if self._lost is not None:
            raise Ended(self._lost)
        if self._transport is None:
            raise Ended("connect: there is no connection")
        return self._transport

    async def _reply(self) -> SmtpReply:
        """Return the next reply. Raise Ended when there is none."""
        if not self._unread and self._lost is None:
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if not self._unread:
            raise Ended(self._lost or "connection_lost: there is no reply")
        return self._unread.popleft()

    def _end(self, reason: str) -> None:
        """End the session, and with it the mails that are under way."""
        ended = self._lost is None
        if ended:
            self._lost = reason
        self._wake()
        self._stop_timer()
        if self._transport is not None:
            self._transport.abort()
        while self._mails:
            mail = self._mails[0]
            if mail.reply is None:
                mail.error = reason
            self._finish(mail)
        if ended:
            self._closed(self)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _expect(reply: SmtpReply, code: int) -> None:
    if reply.code != code:
        raise Refused(reply)


@cache
def _own_name() -> str:
    """Return the name of this machine if it is one that others could look up, else ""."""
    name = socket.gethostname()
    return name if _NAME.match(name) else ""


def _literal(connection: socket.socket) -> str:
    """Return the address of this side as EHLO takes it in place of a name (RFC 5321, 4.1.3)."""
    address = str(connection.getsockname()[0]).partition("%")[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"
