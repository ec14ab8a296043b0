"""Bare receivers in a process of their own: a mail server and an HTTP provider that take everything and keep nothing.

`python -m bench.sinks smtp|http` prints its port, and at the end how many messages it took. They speak only as much of
the protocol as Waypost needs, so that they cost little beside the program that is measured.
"""

import argparse
import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import uvloop

ROOT = Path(__file__).parents[1]
REPLIES = {b"EHLO": b"250-bench\r\n250 PIPELINING\r\n", b"DATA": b"354 go on\r\n", b"QUIT": b"221 bye\r\n"}
END = b"\r\n.\r\n"


@dataclass(slots=True)
class Taken:
    """How many messages a sink took."""

    count: int = 0


class MailSink(asyncio.Protocol):
    """A mail server's side of one connection."""

    def __init__(self, taken: Taken) -> None:
        self._taken = taken
        self._data = b""
        self._in_mail = False
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        self._transport.write(b"220 bench\r\n")

    def data_received(self, data: bytes) -> None:
        data = self._data + data
        replies = []
        while True:
            end = data.find(END if self._in_mail else b"\r\n")
            if end < 0:
                break
            if self._in_mail:
                self._in_mail = False
                self._taken.count += 1
                replies.append(b"250 taken\r\n")
                data = data[end + len(END) :]
                continue
            word = data[:4].upper()
            self._in_mail = word == b"DATA"
            replies.append(REPLIES.get(word, b"250 ok\r\n"))
            data = data[end + 2 :]
        self._data = data
        if replies and self._transport is not None:
            self._transport.write(b"".join(replies))


class HttpSink(asyncio.Protocol):
    """A provider's side of one keep-alive connection: every request is taken and given an id."""

    def __init__(self, taken: Taken) -> None:
        self._taken = taken
        self._data = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].partition(b"\r\n")[0]) if at >= 0 else 0
            if len(self._data) < end + 4 + length:
                return
            self._data = self._data[end + 4 + length :]
            self._taken.count += 1
            body = b'{"id":"bench-%d"}' % self._taken.count
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            assert self._transport is not None
            self._transport.write(head + body)


KINDS = {"smtp": MailSink, "http": HttpSink}


async def serve(kind: str) -> None:
    """Take everything until SIGTERM."""
    taken, stopped = Taken(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    server = await loop.create_server(lambda: KINDS[kind](taken), "127.0.0.1", 0, backlog=1024)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await stopped.wait()
    print(json.dumps({"taken": taken.count}), flush=True)


class Sink:
    """A sink at work."""

    def __init__(self, kind: str) -> None:
        self._process = subprocess.Popen([sys.executable, "-m", "bench.sinks", kind], cwd=ROOT, stdout=subprocess.PIPE)
        self.pid = self._process.pid
        self.port = int(self._line()["port"])

    def stop(self) -> int:
        """End it; return how many messages it took."""
        self._process.terminate()
        taken = int(self._line()["taken"])
        self._process.wait(10)
        return taken

    def _line(self) -> dict[str, int]:
        assert self._process.stdout is not None
        line: dict[str, int] = json.loads(self._process.stdout.readline())
        return line

    def kill(self) -> None:
        """End it without asking."""
        self._process.kill()
        self._process.wait(10)
        if self._process.stdout is not None:
            self._process.stdout.close()


@contextmanager
def bare_sink(kind: str) -> Iterator[Sink]:
    """A sink of this kind in a process of its own."""
    sink = Sink(kind)
    try:
        yield sink
    finally:
        sink.kill()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.sinks", description=__doc__)
    parser.add_argument("kind", choices=sorted(KINDS))
    uvloop.run(serve(parser.parse_args().kind))
