"""Keep sessions with mail servers open, and hand mails to them."""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from waypost.domain.providers.smtp import CLOSING, KEPT_TEXT, SmtpStage
from waypost.engine.net.request import Envelope, Request, Response
from waypost.engine.net.smtp_session import Ended, Mail, Refused, SmtpSession

#: A session that was idle for so long is ended.
IDLE_S = 30.0
#: Mails in one session; some servers accept no more.
MAILS_EACH = 500
DEFAULT_PORTS = {"smtp": 25, "smtps": 465}

#: Connects to the host and port of an `http://` URL, within so many milliseconds.
Connect = Callable[[str, int], Awaitable[socket.socket]]
#: What sessions that can replace each other have in common: URL, user, password and TLS.
_Key = tuple[str, str, str, str]


class Unreached(Exception):
    """There is no connection. The text is `code: words`, as the errors of responses are."""


class _Server:
    """The sessions with one server under one account, and the mails that wait for one."""

    def __init__(self, limit: int) -> None:
        #: How many sessions there may be; 0 for any number.
        self.limit = limit
        #: Every session, those that are being opened included.
        self.sessions: set[SmtpSession] = set()
        self.idle: list[SmtpSession] = []
        self.waiting: deque[Mail] = deque()
        #: Whether mails may overlap: some servers announce PIPELINING and fail at it.
        self.overlaps = True

    @property
    def full(self) -> bool:
        """Whether no more sessions may be opened."""
        return 0 < self.limit <= len(self.sessions)

    def find_idle(self) -> SmtpSession | None:
        """Take a session that can send a mail now, or None."""
        while self.idle:
            session = self.idle.pop()
            if session.usable:
                return session
            session.abort()
        return None

    def following(self, session: SmtpSession) -> Mail | None:
        """Take a waiting mail that may follow the present mail of a session."""
        if not self.waiting or not self.overlaps or session.mails >= MAILS_EACH:
            return None
        mail = self.waiting[0]
        if mail.fresh or len(mail.envelope.recipients) != 1:
            return None
        return self.waiting.popleft()

    def closed(self, session: SmtpSession) -> None:
        """A session has ended: let a waiting mail open another one."""
        self.sessions.discard(session)
        if session in self.idle:
            self.idle.remove(session)
        if self.waiting and not self.full:
            mail = self.waiting.popleft()
            mail.done(mail)


class SmtpPool:
    """Sends mails through sessions that it keeps open. For use on one event loop."""

    def __init__(self, connect: Connect, authorities: str) -> None:
        self._connect = connect
        self._authorities = authorities
        self._contexts: dict[bool, ssl.SSLContext] = {}
        self._servers: dict[_Key, _Server] = {}
        self._checking: set[SmtpSession] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def sessions(self) -> int:
        """How many sessions there are."""
        return sum(len(server.sessions) for server in self._servers.values())

    async def send(self, request: Request) -> tuple[Response, dict[str, float]]:
        """Send one mail; return the response, and when each phase ended, in milliseconds since the start."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        envelope = _envelope(request)
        server = self._server(request, envelope)
        timings: dict[str, float] = {}
        mail = Mail(envelope, request.body, request.timeout_ms / 1000, _resolve, request.canonical)
        while True:
            await self._hand_over(server, mail, request, timings, began)
            if not self._sends_again(server, mail):
                break
            mail.restart()
        took = loop.time() - began
        timings["total"] = round(took * 1000, 3)
        return _response(mail, int(took * 1_000_000)), timings

    async def check(self, request: Request) -> Response:
        """Check in a new session whether a server accepts the sender; send no mail."""
        began = asyncio.get_running_loop().time()
        envelope = _envelope(request)
        mail = Mail(envelope, b"", request.timeout_ms / 1000, _resolve)
        session = SmtpSession()
        self._checking.add(session)
        try:
            async with asyncio.timeout(mail.timeout_s):
                await self._open(session, request, {}, began)
                mail.reply = await session.check_sender(envelope)
        except (Refused, Ended, Unreached, TimeoutError) as error:
            _note_failure(mail, error)
        finally:
            self._checking.discard(session)
            session.leave()
        mail.stage = session.stage
        return _response(mail, int((asyncio.get_running_loop().time() - began) * 1_000_000))

    def close(self) -> None:
        """Abort every session. The response to a mail in progress says how far it came."""
        self._closed = True
        for server in self._servers.values():
            for mail in server.waiting:
                mail.error = "connection_lost: the session was aborted"
                mail.done(mail)
            server.waiting.clear()
            for session in list(server.sessions):
                session.abort()
        for session in list(self._checking):
            session.abort()
        self._servers.clear()
        if self._sweeping is not None:
            self._sweeping.cancel()

    def _server(self, request: Request, envelope: Envelope) -> _Server:
        key = request.url, envelope.username, envelope.password, envelope.tls
        server = self._servers.get(key)
        if server is None:
            server = self._servers[key] = _Server(request.sessions)
        server.limit = request.sessions
        return server

    async def _hand_over(
        self, server: _Server, mail: Mail, request: Request, timings: dict[str, float], began: float
    ) -> None:
        """Give a mail to a session, and wait for its outcome, or until it may open a session of its own."""
        session = None if mail.fresh else server.find_idle()
        if session is not None:
            session.start(mail)
            self._reuse(server, session)
        elif server.full:
            server.waiting.append(mail)
        else:
            session = await self._new_session(server, mail, request, timings, began)
            if session is None:
                return
            session.start(mail)
            self._reuse(server, session)
        try:
            await mail.future
        except asyncio.CancelledError:
            if mail in server.waiting:
                server.waiting.remove(mail)
            for session in [one for one in server.sessions if one.sends(mail)]:
                session.abort()
            raise

    def _reuse(self, server: _Server, session: SmtpSession) -> None:
        """Let a session that is free send a waiting mail, or keep it for the next one."""
        while not session.busy:
            if not session.usable:
                session.abort()
                return
            if session.mails >= MAILS_EACH or self._closed or (server.waiting and server.waiting[0].fresh):
                session.leave()
                return
            if not server.waiting:
                self._keep(server, session)
                return
            session.start(server.waiting.popleft())

    async def _new_session(
        self, server: _Server, mail: Mail, request: Request, timings: dict[str, float], began: float
    ) -> SmtpSession | None:
        """Open a session for a mail; return None when that failed, with the outcome in the mail."""
        session = SmtpSession(server.following, lambda session: self._reuse(server, session), server.closed)
        server.sessions.add(session)
        try:
            async with asyncio.timeout(mail.timeout_s):
                await self._open(session, request, timings, began)
            return session
        except (Refused, Ended, Unreached, TimeoutError) as error:
            _note_failure(mail, error)
        except BaseException:
            session.abort()
            raise
        mail.stage = session.stage
        session.abort()
        return None

    def _sends_again(self, server: _Server, mail: Mail) -> bool:
        """Return whether to send a mail in another session because the failure is not about the mail.

        A server may have ended a session that was used before. And a server that announces PIPELINING without support
        for it may refuse or drop commands that overlap the mail before: it gets no more of those.
        """
        if self._closed or mail.sent:
            return False
        if mail.reply is None and mail.error is None:
            # A session has ended, so that this mail may open one.
            return True
        lost = (mail.error or "").startswith(("connection_lost", "not_smtp"))
        if mail.overlapped and mail.stage is SmtpStage.SENDER and (mail.reply is not None or mail.error is not None):
            if not lost and (mail.reply is None or mail.reply.code != CLOSING):
                server.overlaps = False
            mail.fresh = True
            return True
        closing = mail.reply is not None and mail.reply.code == CLOSING and mail.stage is SmtpStage.SENDER
        mail.fresh = mail.used and (lost or closing)
        return mail.fresh

    async def _open(self, session: SmtpSession, request: Request, timings: dict[str, float], began: float) -> None:
        loop = asyncio.get_running_loop()
        parts = urlsplit(request.url)
        try:
            port, host = parts.port or DEFAULT_PORTS[parts.scheme], parts.hostname
        except (KeyError, ValueError):
            host = None
        if not host:
            raise Unreached("not_sent: the URL of a mail server is smtp://host:port or smtps://host:port")
        envelope = _envelope(request)
        at_once = parts.scheme == "smtps"
        secure = self._context(envelope) if at_once or envelope.tls != "none" else None
        shown = f"[{host}]" if ":" in host else host
        connection = await self._connect(f"http://{shown}:{port}/", request.timeout_ms)
        timings["connect"] = round((loop.time() - began) * 1000, 3)
        await session.begin(connection, host, envelope, secure, at_once=at_once)
        timings["ready"] = round((loop.time() - began) * 1000, 3)

    def _context(self, envelope: Envelope) -> ssl.SSLContext:
        # Where TLS is optional, an attacker who can forge a certificate could as well remove the offer of TLS.
        checked = envelope.tls != "opportunistic" or bool(envelope.username)
        if checked not in self._contexts:
            context = ssl.create_default_context(cafile=self._authorities)
            if not checked:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            self._contexts[checked] = context
        return self._contexts[checked]

    def _keep(self, server: _Server, session: SmtpSession) -> None:
        loop = asyncio.get_running_loop()
        session.idle_since = loop.time()
        server.idle.append(session)
        if self._sweeping is None:
            self._sweeping = loop.call_later(IDLE_S / 2, self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """End the sessions that were idle for long, and forget servers without sessions."""
        self._sweeping = None
        before = loop.time() - IDLE_S
        for key, server in list(self._servers.items()):
            for session in list(server.idle):
                if session.idle_since <= before or not session.usable:
                    session.leave()
            if not server.sessions and not server.waiting:
                del self._servers[key]
        if self._servers:
            self._sweeping = loop.call_later(IDLE_S / 2, self._sweep, loop)


def _envelope(request: Request) -> Envelope:
    if request.envelope is None:
        raise ValueError("this request is no mail")
    return request.envelope


def _resolve(mail: Mail) -> None:
    if not mail.future.done():
        mail.future.set_result(None)


def _note_failure(mail: Mail, error: Refused | Ended | Unreached | TimeoutError) -> None:
    if isinstance(error, Refused):
        mail.reply = error.reply
    else:
        mail.error = _timed_out(mail) if isinstance(error, TimeoutError) else str(error)


def _timed_out(mail: Mail) -> str:
    return f"timeout: no reply within {mail.timeout_s:g} s"


def _response(mail: Mail, duration_us: int) -> Response:
    reply = mail.reply
    return Response(
        status=reply.code if reply else None,
        headers=[],
        body=reply.text.encode()[:KEPT_TEXT] if reply else b"",
        error=None if reply else mail.error,
        duration_us=duration_us,
        sent=mail.sent,
        stage=mail.stage,
    )
