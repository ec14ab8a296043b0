"""The bare program for redirects: look up a URL in memory, commit the click to SQLite in groups, answer 302."""

import argparse
import asyncio
import json
import queue
import socket
import threading
import time
from pathlib import Path

import apsw

from bench.bare import Message, Receive, Send, answer, listen, run, run_uvicorn

Click = tuple[int, str, int, str]


class ClickWriter(threading.Thread):
    """The one thread that writes: everything that came during a commit is the next one."""

    def __init__(self, file: Path, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(name="writer")
        self._loop = loop
        self._queue: queue.SimpleQueue[tuple[Click, asyncio.Future[None]] | None] = queue.SimpleQueue()
        self._database = apsw.Connection(str(file))
        self._database.execute("pragma journal_mode=wal")
        self._database.execute("pragma synchronous=full")
        self._database.execute("create table clicks (link integer, agent text, at integer, ip text)")

    def store(self, click: Click) -> "asyncio.Future[None]":
        """Return a future that is done once the click is on disk."""
        future = self._loop.create_future()
        self._queue.put((click, future))
        return future

    def stop(self) -> None:
        """Commit what is left and end."""
        self._queue.put(None)

    def run(self) -> None:
        going = True
        while going:
            group = [self._queue.get()]
            while not self._queue.empty() and len(group) < 200:
                group.append(self._queue.get())
            going = None not in group
            found = [item for item in group if item is not None]
            if not found:
                continue
            places = ",".join(["(?,?,?,?)"] * len(found))
            with self._database:
                self._database.execute(
                    f"insert into clicks values {places}",  # noqa: S608 question marks only
                    [value for click, _ in found for value in click],
                )
            self._loop.call_soon_threadsafe(settle, [future for _, future in found])


def settle(futures: "list[asyncio.Future[None]]") -> None:
    """Let the requests of a group go on."""
    for future in futures:
        if not future.done():
            future.set_result(None)


class Redirects:
    """The raw ASGI application."""

    def __init__(self, links: dict[str, bytes], writer: ClickWriter) -> None:
        self._links = links
        self._writer = writer

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = scope["path"]
        url = self._links.get(path)
        if url is None:
            await answer(send, 200 if path == "/readyz" else 404, {})
            return
        agent = next((value for name, value in scope["headers"] if name == b"user-agent"), b"")
        await self._writer.store((hash(path), agent.decode("latin-1"), time.time_ns() // 1000, scope["client"][0]))
        await send(
            {"type": "http.response.start", "status": 302, "headers": [(b"location", url), (b"content-length", b"0")]}
        )
        await send({"type": "http.response.body", "body": b""})


async def serve(file: Path, listener: socket.socket, links: dict[str, bytes]) -> None:
    """Serve until SIGTERM."""
    writer = ClickWriter(file, asyncio.get_running_loop())
    writer.start()
    await run_uvicorn(Redirects(links, writer), listener)
    writer.stop()
    await asyncio.to_thread(writer.join)


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m bench.bare_redirect", description=__doc__)
    parser.add_argument("--links", type=Path, required=True, help="a JSON object of paths with their URLs")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    links = {path: url.encode() for path, url in json.loads(options.links.read_text()).items()}
    run(serve(options.links.with_name("clicks.db"), listen(options.port), links))


if __name__ == "__main__":
    main()
