"""The bare program: only the wire work of the main path, as quick as we can write it with the libraries Waypost uses.

An event comes in by `POST /v1/track`, is committed to SQLite (`synchronous=FULL`, in groups), answered with 200,
posted with a Standard Webhooks signature to one fixed URL, and the attempt is recorded. There is no key, no
deduplication, no profile, no filter, no retry and no list: whatever Waypost does beyond this, it is measured against.

Three threads: the event loop takes requests, the writer commits, the courier posts. What arrived while the last
commit ran is the next group.
"""

import argparse
import asyncio
import gc
import json
import secrets
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from itertools import count
from pathlib import Path
from typing import Any

import apsw
import msgspec
import uvicorn
import uvloop

from bench.courier import Courier
from bench.writer import Event, Writer

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Track(msgspec.Struct, rename="camel", gc=False):
    """What of a Segment track call is looked at."""

    user_id: str
    event: str
    message_id: str
    properties: msgspec.Raw


START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"16")],
}
BODY = {"type": "http.response.body", "body": b'{"success":true}'}


class Application:
    """The raw ASGI application: the hot route first, then the two that the driver asks."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._ids = count(writer.first_id)
        self._decode = msgspec.json.Decoder(Track).decode

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = scope["path"]
        if path != "/v1/track":
            await self._tell(path, send)
            return
        message = await receive()
        body: bytes = message["body"]
        while message.get("more_body"):
            message = await receive()
            body += message["body"]
        try:
            track = self._decode(body)
        except msgspec.MsgspecError as error:
            await answer(send, 400, {"detail": str(error)})
            return
        event = Event(next(self._ids), track.message_id, track.user_id, track.event, time.time_ns() // 1000, body)
        try:
            await self._writer.store(event)
        except apsw.Error as error:
            await answer(send, 503, {"detail": str(error)})
            return
        await send(START)
        await send(BODY)

    async def _tell(self, path: str, send: Send) -> None:
        if path == "/readyz":
            await answer(send, 200, {"status": "ready"})
        elif path == "/stats":
            await answer(send, 200, {"accepted": self._writer.accepted, "delivered": self._writer.delivered})
        else:
            await answer(send, 404, {"detail": "not found"})


async def answer(send: Send, status: int, content: dict[str, Any]) -> None:
    """Answer with this JSON."""
    body = json.dumps(content).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def run_uvicorn(application: Any, listener: socket.socket) -> None:
    """Serve until SIGTERM."""
    # Plain settings for speed: no log line per request, no wrapper for proxies, no header we did not write ourselves.
    server = uvicorn.Server(
        uvicorn.Config(
            application,
            http="httptools",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
        )
    )
    await server.serve(sockets=[listener])


def listen(port: int) -> socket.socket:
    """Return a socket that is bound to the port, or to any free one if it is 0."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    return listener


def run(serving: Coroutine[Any, Any, None]) -> None:
    """Run a bare program until it has ended."""
    # uvicorn takes the signals while it serves and raises them again when it has ended; then they have done their work.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What lives for good is not looked at again, and a request's objects seldom form cycles: collect rarely.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serving)


async def serve(data: Path, listener: socket.socket, url: str, secret: bytes) -> None:
    """Serve until SIGTERM; then post and record everything that was accepted."""
    courier = Courier(url, secret, lambda attempts: writer.record(attempts))
    writer = Writer(data / "bare.db", asyncio.get_running_loop(), courier.send)
    writer.start()
    courier.start()
    await run_uvicorn(Application(writer), listener)
    courier.stop()
    await asyncio.to_thread(courier.join)
    writer.stop()
    await asyncio.to_thread(writer.join)


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m bench.bare", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="directory of the database")
    parser.add_argument("--port", type=int, default=0, help="0 takes any free port, which is printed")
    parser.add_argument("--url", required=True, help="where every event is posted to")
    options = parser.parse_args()
    options.data.mkdir(parents=True, exist_ok=True)
    listener = listen(options.port)
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    run(serve(options.data, listener, options.url, secrets.token_bytes(24)))


if __name__ == "__main__":
    main()
