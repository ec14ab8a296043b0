"""The HTTP/1.1 server connection of the sink, which can also send faulty responses."""

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
from waypost.sink.faulty_response import Ending, Response, problem

log = logging.getLogger(__name__)

LARGEST_BODY = 64 * 1024 * 1024
LARGEST_HEAD = 256 * 1024
#: The most requests of one connection that wait for a slow response; then reading pauses.
WAITING = 16
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
#: SO_LINGER on, with a timeout of 0: closing sends a reset.
LINGER_RESET = struct.pack("ii", 1, 0)


class Request(msgspec.Struct, frozen=True, gc=False):
    """One received request."""

    method: str
    url: bytes
    #: Alternating names and values of the headers, one per line.
    head: bytes
    webhook_id: bytes
    body: bytes


class Connection(asyncio.Protocol):
    """One connection; responses are sent in the order of the requests."""

    def __init__(self, respond: Callable[[Request], Response], open_connections: set["Connection"]) -> None:
        self._respond = respond
        self._open = open_connections
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[tuple[Response, bool, bool]] = deque()
        self._busy = False
        self._closing = False
        self._ignoring = False
        self._paused = False
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self.on_message_begin()

    def abort(self) -> None:
        """Close the connection immediately."""
        self._transport.abort()

    # Called by the event loop.

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
        self._pause_or_resume()

    def resume_writing(self) -> None:
        self._writable.set()
        self._pause_or_resume()

    def data_received(self, data: bytes) -> None:
        if self._closing or self._ignoring:
            return
        try:
            self._parser.feed_data(data)
            if self._in_head:
                self._head_size += len(data)
                if self._head_size > LARGEST_HEAD:
                    self._refuse(TooLarge(f"URL and headers may have at most {LARGEST_HEAD} bytes."))
        except httptools.HttpParserUpgrade:
            # The client wants another protocol; the request itself already has an HTTP response.
            self._finish()
        except httptools.HttpParserCallbackError as error:
            if isinstance(error.__context__, Error):
                self._refuse(error.__context__)
            else:
                log.exception("sink request failed", extra={"action": "sink_request_failed"})
                self.abort()
        except httptools.HttpParserError as error:
            self._refuse(Invalid(f"The request is not valid HTTP: {error}.", code="not_http"))

    # Called by the parser.

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
        # The length is compared first, because that is cheaper than lower().
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
            raise TooLarge(f"A body may have at most {LARGEST_BODY} bytes.")
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
        # HTTP/1.0 keeps a connection only if the response has `Connection: keep-alive`; the sink does not send it.
        last = not parser.should_keep_alive() or parser.get_http_version() == "1.0"
        if self._busy:
            self._waiting.append((answer, method == "HEAD", last))
            self._pause_or_resume()
        elif answer.whole is not None and not answer.delay and method != "HEAD":
            self._write(answer.whole)
            if last or answer.ending is not Ending.KEEP:
                self._end(answer.ending, last)
        else:
            self._busy = True
            self._start(answer, method == "HEAD", last)

    # Responses.

    def _start(self, answer: Response, head_only: bool, last: bool) -> None:
        """Start a response that may have delays."""
        if answer.pieces is None and not answer.head_pause and not answer.body_pause:
            # A timer takes a third of the time of a task.
            if answer.delay:
                self._timer = self._loop.call_later(answer.delay, self._send_whole, answer, head_only, last)
            else:
                self._send_whole(answer, head_only, last)
        else:
            self._task = self._loop.create_task(self._send(answer, head_only, last))

    def _send_whole(self, answer: Response, head_only: bool, last: bool) -> None:
        sent = answer.head if head_only else answer.head + answer.body
        if sent:
            self._write(sent)
        self._end(answer.ending, last)

    async def _send(self, answer: Response, head_only: bool, last: bool) -> None:
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
            # Let other connections proceed while a fast client reads a huge body.
            await asyncio.sleep(0)
            return
        for at in range(len(piece)):
            await asyncio.sleep(pause)
            self._write(piece[at : at + 1])
            await self._writable.wait()

    def _end(self, ending: Ending, last: bool) -> None:
        """Finish a response: start the next one, close the connection, or do nothing more."""
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
            # Through the event loop, so that a long queue of responses does not recurse.
            self._loop.call_soon(self._next)
        else:
            self._busy = False
            if self._paused:
                self._pause_or_resume()

    def _next(self) -> None:
        if not self._closing and self._waiting:
            answer, head_only, last = self._waiting.popleft()
            self._pause_or_resume()
            self._start(answer, head_only, last)

    def _finish(self) -> None:
        """Close the connection after the waiting responses."""
        self._ignoring = True
        if not self._busy:
            self._end(Ending.CLOSE, True)
        else:
            self._waiting.append((Response(ending=Ending.CLOSE), False, True))

    def _refuse(self, error: Error) -> None:
        """Send an error after the waiting responses, and close the connection."""
        self._ignoring = True
        if self._busy:
            self._waiting.append((problem(error, Ending.CLOSE), False, True))
            return
        self._write(problem(error, Ending.CLOSE).whole or b"")
        self._end(Ending.CLOSE, True)

    def _pause_or_resume(self) -> None:
        """Pause reading while too many responses wait, and resume it afterwards."""
        if self._closing:
            return
        enough = len(self._waiting) >= WAITING or not self._writable.is_set()
        if enough and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        elif not enough and self._paused:
            self._paused = False
            self._transport.resume_reading()
