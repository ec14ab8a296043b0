"""The sink's side of an HTTP/1.1 connection: fast when it behaves, and able to misbehave."""

import asyncio
import logging
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import cast

import httptools
import msgspec

from waypost.errors import Error, Invalid, TooLarge
from waypost.sink.faulty_response import Answer, Ending, problem

log = logging.getLogger(__name__)

LARGEST_BODY = 64 * 1024 * 1024
LARGEST_HEAD = 256 * 1024
#: So many requests of one connection may wait for a slow answer before no more are read.
WAITING = 16
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
#: SO_LINGER on with no time: closing sends a reset.
LINGER_RESET = struct.pack("ii", 1, 0)


class Request(msgspec.Struct, frozen=True, gc=False):
    """One request, as it came."""

    method: str
    url: bytes
    #: Names and values of the headers in turn, one a line.
    head: bytes
    webhook_id: bytes
    body: bytes


class Connection(asyncio.Protocol):
    """One connection: requests in, answers out in the same order."""

    def __init__(self, respond: Callable[[Request], Answer], open_connections: set["Connection"]) -> None:
        self._respond = respond
        self._open = open_connections
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[tuple[Answer, bool, bool]] = deque()
        self._busy = False
        self._closing = False
        self._deaf = False
        self._paused = False
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self.on_message_begin()

    def abort(self) -> None:
        """End the connection now."""
        self._transport.abort()

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._write = self._transport.write
        self._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._open.discard(self)
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()
        if self._timer is not None:
            self._timer.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()
        self._balance()

    def resume_writing(self) -> None:
        self._writable.set()
        self._balance()

    def data_received(self, data: bytes) -> None:
        if self._closing or self._deaf:
            return
        try:
            self._parser.feed_data(data)
            if self._in_head:
                self._head_size += len(data)
                if self._head_size > LARGEST_HEAD:
                    self._refuse(TooLarge(f"URL and headers may have {LARGEST_HEAD} bytes."))
        except httptools.HttpParserUpgrade:
            # What follows would be another protocol; the request itself has been answered in ours.
            self._finish()
        except httptools.HttpParserCallbackError as error:
            if isinstance(error.__context__, Error):
                self._refuse(error.__context__)
            else:
                log.exception("sink request failed", extra={"action": "sink_request_failed"})
                self.abort()
        except httptools.HttpParserError as error:
            self._refuse(Invalid(f"This is not HTTP: {error}.", code="not_http"))

    # What the parser tells.

    def on_message_begin(self) -> None:
        self._url = b""
        self._head: list[bytes] = []
        self._head_size = 0
        self._in_head = True
        self._webhook_id = b""
        self._expects = False
        self._body = b""
        self._chunks: list[bytes] | None = None
        self._body_size = 0

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head += (name, value)
        # The length is looked at first, because it is cheaper than lower case.
        length = len(name)
        if length == 10:
            if name.lower() == b"webhook-id":
                self._webhook_id = value
        elif length == 6 and name.lower() == b"expect":
            self._expects = value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._expects and not self._busy and not self._closing:
            self._write(CONTINUE)

    def on_body(self, data: bytes) -> None:
        self._body_size += len(data)
        if self._body_size > LARGEST_BODY:
            raise TooLarge(f"A body may have {LARGEST_BODY} bytes.")
        if not self._body:
            self._body = data
        elif self._chunks is None:
            self._chunks = [self._body, data]
        else:
            self._chunks.append(data)

    def on_message_complete(self) -> None:
        if self._closing:
            return
        parser = self._parser
        method = parser.get_method().decode("ascii")
        body = self._body if self._chunks is None else b"".join(self._chunks)
        answer = self._respond(Request(method, self._url, b"\n".join(self._head), self._webhook_id, body))
        # A client of HTTP/1.0 that asks to keep the connection wants to be told so; we do not, so it must end.
        last = not parser.should_keep_alive() or parser.get_http_version() == "1.0"
        if self._busy:
            self._waiting.append((answer, method == "HEAD", last))
            self._balance()
        elif answer.whole is not None and not answer.delay and method != "HEAD":
            self._write(answer.whole)
            if last or answer.ending is not Ending.KEEP:
                self._end(answer.ending, last)
        else:
            self._busy = True
            self._start(answer, method == "HEAD", last)

    # What is sent.

    def _start(self, answer: Answer, head_only: bool, last: bool) -> None:
        """Begin an answer that may take its time."""
        if answer.pieces is None and not answer.head_pause and not answer.body_pause:
            # A timer costs a third of a task.
            if answer.delay:
                self._timer = self._loop.call_later(answer.delay, self._send_whole, answer, head_only, last)
            else:
                self._send_whole(answer, head_only, last)
        else:
            self._task = self._loop.create_task(self._send(answer, head_only, last))

    def _send_whole(self, answer: Answer, head_only: bool, last: bool) -> None:
        sent = answer.head if head_only else answer.head + answer.body
        if sent:
            self._write(sent)
        self._end(answer.ending, last)

    async def _send(self, answer: Answer, head_only: bool, last: bool) -> None:
        if answer.delay:
            await asyncio.sleep(answer.delay)
        await self._send_piece(answer.head, answer.head_pause)
        if not head_only:
            for piece in answer.pieces() if answer.pieces else (answer.body,):
                await self._send_piece(piece, answer.body_pause)
        self._task = None
        self._end(answer.ending, last)

    async def _send_piece(self, piece: bytes, pause: float) -> None:
        if not pause:
            self._write(piece)
            await self._writable.wait()
            # A fast reader must not keep everyone else waiting until a huge body is through.
            await asyncio.sleep(0)
            return
        for at in range(len(piece)):
            await asyncio.sleep(pause)
            self._write(piece[at : at + 1])
            await self._writable.wait()

    def _end(self, ending: Ending, last: bool) -> None:
        """What follows an answer: the next one, the end, or nothing at all."""
        if self._closing or ending is Ending.HANG:
            return
        if ending is Ending.RESET:
            self._closing = True
            carrier: socket.socket = self._transport.get_extra_info("socket")
            carrier.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
            self._transport.abort()
        elif ending is Ending.CLOSE or last:
            self._closing = True
            self._transport.close()
        elif self._waiting:
            self._busy = True
            # Through the loop, so that a long queue of plain answers does not nest.
            self._loop.call_soon(self._next)
        else:
            self._busy = False
            if self._paused:
                self._balance()

    def _next(self) -> None:
        if not self._closing and self._waiting:
            answer, head_only, last = self._waiting.popleft()
            self._balance()
            self._start(answer, head_only, last)

    def _finish(self) -> None:
        """Close once everything that is owed has been sent."""
        self._deaf = True
        if not self._busy:
            self._end(Ending.CLOSE, True)
        else:
            self._waiting.append((Answer(ending=Ending.CLOSE), False, True))

    def _refuse(self, error: Error) -> None:
        """Say what is wrong, after everything else that is owed, and close."""
        self._deaf = True
        if self._busy:
            self._waiting.append((problem(error, Ending.CLOSE), False, True))
            return
        self._write(problem(error, Ending.CLOSE).whole or b"")
        self._end(Ending.CLOSE, True)

    def _balance(self) -> None:
        """Read on only while the other side takes its answers."""
        if self._closing:
            return
        enough = len(self._waiting) >= WAITING or not self._writable.is_set()
        if enough and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        elif not enough and self._paused:
            self._paused = False
            self._transport.resume_reading()
