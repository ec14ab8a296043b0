"""Mail servers: conversations with them are kept and used again, as connections of HTTP are."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import msgspec

from waypost.domain.providers.smtp import CLOSING, KEPT_TEXT, SmtpReply, SmtpStage
from waypost.engine.net.request import Envelope, Request, Response
from waypost.engine.net.smtp_session import Ended, Refused, SmtpSession

#: A conversation that nobody used for so long is ended.
IDLE_S = 30.0
#: After so many mails a new conversation is begun: some servers take no more in one.
MAILS_EACH = 500
DEFAULT_PORTS = {"smtp": 25, "smtps": 465}

#: How to make a connection: to the host and port of an `http://` URL, within so many milliseconds.
Connect = Callable[[str, int], Awaitable[socket.socket]]
#: What has to be the same for a conversation to be used again.
_Key = tuple[str, Envelope]


class Unreached(Exception):
    """There is no connection. The text is `word: words`, as the errors of responses are."""


class SmtpPool:
    """Hands mails to servers. For use on one event loop."""

    def __init__(self, connect: Connect, authorities: str) -> None:
        self._connect = connect
        self._authorities = authorities
        self._contexts: dict[bool, ssl.SSLContext] = {}
        self._idle: dict[_Key, list[SmtpSession]] = {}
        self._busy: set[SmtpSession] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        self._closed = False

    async def send(self, request: Request) -> tuple[Response, dict[str, float]]:
        """Hand one mail over; the response, and when what was done, in milliseconds since the start."""
        return await self._converse(request, fresh=False, check=False)

    async def check(self, request: Request) -> Response:
        """How far a new conversation comes, up to the sender of the mail, which is not sent."""
        return (await self._converse(request, fresh=True, check=True))[0]

    def close(self) -> None:
        """Break off every conversation. Whoever waits for one gets to know how far it came."""
        self._closed = True
        for submission in [*self._busy, *(one for several in self._idle.values() for one in several)]:
            submission.abort()
        self._idle.clear()
        if self._sweeping is not None:
            self._sweeping.cancel()

    async def _converse(self, request: Request, *, fresh: bool, check: bool) -> tuple[Response, dict[str, float]]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        timings: dict[str, float] = {}
        response: Response | None = None
        while response is None:
            left = request.timeout_ms / 1000 - (loop.time() - began)
            response = await self._try(loop, request, began, left, timings, fresh=fresh, check=check)
            # One that was used before may have been given up by its server; a new one says more.
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
        """What comes of one conversation; None when it was an old one, and over before it was told anything."""
        envelope = request.envelope
        if envelope is None:
            raise ValueError("this request is no mail")
        key = (request.url, msgspec.structs.replace(envelope, sender="", recipients=()))
        submission = None if fresh else self._take(key)
        used = submission is not None
        submission = submission or SmtpSession()
        self._busy.add(submission)
        keep = False
        try:
            async with asyncio.timeout(left):
                if not used:
                    await self._begin(submission, request, envelope, timings, began)
                if check:
                    return _answer(submission, await submission.check_sender(envelope), None)
                reply = await submission.send(envelope, request.body)
                keep = True
                return _answer(submission, reply, None)
        except Refused as refused:
            if used and refused.reply.code == CLOSING and submission.stage is SmtpStage.SENDER and not self._closed:
                return None
            keep = not check and submission.mails > 0 and refused.reply.code != CLOSING
            return _answer(submission, refused.reply, None)
        except TimeoutError:
            words = f"timeout: no reply within {request.timeout_ms / 1000:g} s"
            return _answer(submission, None, words)
        except (Ended, Unreached) as ended:
            words = str(ended)
            if used and not submission.sent and not self._closed and words.startswith(("connection_lost", "not_smtp")):
                return None
            keep = words.startswith(("not_sent", "no_utf8"))
            return _answer(submission, None, words)
        finally:
            self._busy.discard(submission)
            if keep and submission.usable and submission.mails < MAILS_EACH and not self._closed:
                self._put_back(loop, key, submission)
            elif keep or check:
                submission.leave()
            else:
                submission.abort()

    async def _begin(
        self, submission: SmtpSession, request: Request, envelope: Envelope, timings: dict[str, float], began: float
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
        await submission.begin(connection, host, envelope, secure, at_once=at_once)
        timings["ready"] = round((loop.time() - began) * 1000, 3)

    def _context(self, envelope: Envelope) -> ssl.SSLContext:
        # Where TLS is a bonus, whoever could forge a certificate could as well take the offer of TLS away.
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
            submission = waiting.pop()
            if submission.usable:
                return submission
            submission.abort()
        return None

    def _put_back(self, loop: asyncio.AbstractEventLoop, key: _Key, submission: SmtpSession) -> None:
        submission.idle_since = loop.time()
        self._idle.setdefault(key, []).append(submission)
        if self._sweeping is None:
            self._sweeping = loop.call_later(IDLE_S / 2, self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """End the conversations that nobody has needed for a while."""
        self._sweeping = None
        before = loop.time() - IDLE_S
        for key, waiting in list(self._idle.items()):
            for submission in waiting:
                if submission.idle_since <= before or not submission.usable:
                    submission.leave()
            self._idle[key] = [one for one in waiting if one.idle_since > before and one.usable]
            if not self._idle[key]:
                del self._idle[key]
        if self._idle:
            self._sweeping = loop.call_later(IDLE_S / 2, self._sweep, loop)


def _answer(submission: SmtpSession, reply: SmtpReply | None, error: str | None) -> Response:
    return Response(
        status=reply.code if reply else None,
        headers=[],
        body=reply.text.encode()[:KEPT_TEXT] if reply else b"",
        error=error,
        duration_us=0,
        sent=submission.sent,
        stage=submission.stage,
    )
