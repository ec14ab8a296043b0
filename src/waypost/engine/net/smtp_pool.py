"""Send mails through SMTP sessions that are kept and reused, as HTTP connections are."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import msgspec

from waypost.domain.providers.smtp import CLOSING, KEPT_TEXT, Reply, Stage
from waypost.engine.net.request import Envelope, Request, Response
from waypost.engine.net.smtp_session import Ended, Refused, SmtpSession

#: A session that was idle for this long is ended.
IDLE_S = 30.0
#: Mails per session: some servers accept no more in one.
MAILS_EACH = 500
DEFAULT_PORTS = {"smtp": 25, "smtps": 465}

#: Connects to the host and port of an `http://` URL within a timeout in milliseconds.
Connect = Callable[[str, int], Awaitable[socket.socket]]
#: What must be equal for a session to be reused.
_Key = tuple[str, Envelope]


class Unreached(Exception):
    """No connection could be made. The text is `code: words`, as in the errors of responses."""


class SmtpPool:
    """Sends mails to servers. For use on one event loop."""

    def __init__(self, connect: Connect, authorities: str) -> None:
        self._connect = connect
        self._authorities = authorities
        self._contexts: dict[bool, ssl.SSLContext] = {}
        self._idle: dict[_Key, list[SmtpSession]] = {}
        self._busy: set[SmtpSession] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        self._closed = False

    async def send(self, request: Request) -> tuple[Response, dict[str, float]]:
        """Send one mail; return the response, and when each phase ended in milliseconds."""
        return await self._exchange(request, fresh=False, check=False)

    async def check(self, request: Request) -> Response:
        """Check a server in a new session, up to its reply to MAIL FROM; send no mail."""
        return (await self._exchange(request, fresh=True, check=True))[0]

    def close(self) -> None:
        """Abort every session; callers that wait get a response with the stage that it reached."""
        self._closed = True
        for session in [*self._busy, *(one for several in self._idle.values() for one in several)]:
            session.abort()
        self._idle.clear()
        if self._sweeping is not None:
            self._sweeping.cancel()

    async def _exchange(self, request: Request, *, fresh: bool, check: bool) -> tuple[Response, dict[str, float]]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        timings: dict[str, float] = {}
        response: Response | None = None
        while response is None:
            left = request.timeout_ms / 1000 - (loop.time() - began)
            response = await self._try(loop, request, began, left, timings, fresh=fresh, check=check)
            # The server may have ended the reused session; try a new one.
            fresh = True
        timings["total"] = round((loop.time() - began) * 1000, 3)
        response.duration_us = int((loop.time() - began) * 1_000_000)
        return response, timings

    async def _try(
        self,
        loop: asyncio.AbstractEventLoop,
        request: Request,
        began: float,
        left: float,
        timings: dict[str, float],
        *,
        fresh: bool,
        check: bool,
    ) -> Response | None:
        """Use one session; return None when it was a reused one that had ended before anything was sent."""
        envelope = request.envelope
        if envelope is None:
            raise ValueError("this request has no envelope")
        key = (request.url, msgspec.structs.replace(envelope, sender="", recipients=()))
        session = None if fresh else self._take(key)
        used = session is not None
        session = session or SmtpSession()
        self._busy.add(session)
        keep = False
        try:
            async with asyncio.timeout(left):
                if not used:
                    await self._begin(session, request, envelope, timings, began)
                if check:
                    return _answer(session, await session.check_sender(envelope), None)
                reply = await session.send(envelope, request.body)
                keep = True
                return _answer(session, reply, None)
        except Refused as refused:
            if used and refused.reply.code == CLOSING and session.stage is Stage.SENDER and not self._closed:
                return None
            keep = not check and session.mails > 0 and refused.reply.code != CLOSING
            return _answer(session, refused.reply, None)
        except TimeoutError:
            words = f"timeout: no reply within {request.timeout_ms / 1000:g} s"
            return _answer(session, None, words)
        except (Ended, Unreached) as ended:
            words = str(ended)
            if used and not session.sent and not self._closed and words.startswith(("connection_lost", "not_smtp")):
                return None
            keep = words.startswith(("not_sent", "no_utf8"))
            return _answer(session, None, words)
        finally:
            self._busy.discard(session)
            if keep and session.usable and session.mails < MAILS_EACH and not self._closed:
                self._put_back(loop, key, session)
            elif keep or check:
                session.leave()
            else:
                session.abort()

    async def _begin(
        self, session: SmtpSession, request: Request, envelope: Envelope, timings: dict[str, float], began: float
    ) -> None:
        loop = asyncio.get_running_loop()
        parts = urlsplit(request.url)
        try:
            port, host = parts.port or DEFAULT_PORTS[parts.scheme], parts.hostname
        except (KeyError, ValueError):
            host = None
        if not host:
            raise Unreached("not_sent: the URL of a mail server is smtp://host:port or smtps://host:port")
        at_once = parts.scheme == "smtps"
        secure = self._context(envelope) if at_once or envelope.tls != "none" else None
        shown = f"[{host}]" if ":" in host else host
        connection = await self._connect(f"http://{shown}:{port}/", request.timeout_ms)
        timings["connect"] = round((loop.time() - began) * 1000, 3)
        await session.begin(connection, host, envelope, secure, at_once=at_once)
        timings["ready"] = round((loop.time() - began) * 1000, 3)

    def _context(self, envelope: Envelope) -> ssl.SSLContext:
        # With opportunistic TLS, an attacker who could forge a certificate could also remove the STARTTLS offer.
        checked = envelope.tls != "opportunistic" or bool(envelope.username)
        if checked not in self._contexts:
            context = ssl.create_default_context(cafile=self._authorities)
            if not checked:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            self._contexts[checked] = context
        return self._contexts[checked]

    def _take(self, key: _Key) -> SmtpSession | None:
        waiting = self._idle.get(key)
        while waiting:
            session = waiting.pop()
            if session.usable:
                return session
            session.abort()
        return None

    def _put_back(self, loop: asyncio.AbstractEventLoop, key: _Key, session: SmtpSession) -> None:
        session.idle_since = loop.time()
        self._idle.setdefault(key, []).append(session)
        if self._sweeping is None:
            self._sweeping = loop.call_later(IDLE_S / 2, self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """End the sessions that have been idle for too long."""
        self._sweeping = None
        before = loop.time() - IDLE_S
        for key, waiting in list(self._idle.items()):
            for session in waiting:
                if session.idle_since <= before or not session.usable:
                    session.leave()
            self._idle[key] = [one for one in waiting if one.idle_since > before and one.usable]
            if not self._idle[key]:
                del self._idle[key]
        if self._idle:
            self._sweeping = loop.call_later(IDLE_S / 2, self._sweep, loop)


def _answer(session: SmtpSession, reply: Reply | None, error: str | None) -> Response:
    return Response(
        status=reply.code if reply else None,
        headers=[],
        body=reply.text.encode()[:KEPT_TEXT] if reply else b"",
        error=error,
        duration_us=0,
        sent=session.sent,
        stage=session.stage,
    )
