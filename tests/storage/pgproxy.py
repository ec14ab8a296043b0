"""A proxy to PostgreSQL that can lose replies: a commit succeeds, and the client does not learn of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.services import PostgresServer

COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"
#: An ErrorResponse with the code 57P01, as the server sends it to a session that it ends.
FATAL = b"SFATAL\x00VFATAL\x00C57P01\x00Mterminating connection due to administrator command\x00\x00"


class Proxy:
    """Forwards connections to a server; can cut one after its COMMIT, or only announce the end of a session."""

    def __init__(self, target: str) -> None:
        self._target = target
        #: Forward the next COMMIT, and close the connection instead of forwarding the response.
        self.cut_next_commit = False
        self.cuts = 0
        #: What clients have sent, as it arrived: a driver waits for the answer before it sends the next.
        self.sent: list[bytes] = []
        self._clients: list[asyncio.StreamWriter] = []
        self._serving: set[asyncio.Task[Any] | None] = set()

    def say_fatal(self) -> None:
        """Announce the end of the session to every client, and leave the connections open."""
        for writer in self._clients:
            writer.write(b"E" + (len(FATAL) + 4).to_bytes(4, "big") + FATAL)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one client."""
        from_server, to_server = await asyncio.open_unix_connection(self._target)
        self._clients.append(writer)
        self._serving.add(asyncio.current_task())
        silent = False

        async def answers() -> None:
            while data := await from_server.read(65536):
                if silent:
                    # The server has committed.
                    writer.transport.abort()
                    return
                writer.write(data)
            writer.close()

        task = asyncio.create_task(answers())
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                self.sent.append(data)
                if self.cut_next_commit and data.endswith(COMMIT):
                    self.cut_next_commit, silent = False, True
                    self.cuts += 1
                to_server.write(data)
        self._clients.remove(writer)
        if not silent:
            task.cancel()
        await asyncio.wait([task])
        for end in (writer, to_server):
            end.close()
            with contextlib.suppress(ConnectionError):
                await end.wait_closed()
        self._serving.remove(asyncio.current_task())

    async def close(self) -> None:
        """Wait until all connections have ended."""
        while self._serving:
            await asyncio.wait([task for task in self._serving if task is not None])


@contextlib.asynccontextmanager
async def proxied(server: PostgresServer, folder: Path, url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """Run a proxy in front of a server; return the URL of the same database through it."""
    proxy = Proxy(str(server.folder / ".s.PGSQL.5432"))
    listener = await asyncio.start_unix_server(proxy.serve, str(folder / ".s.PGSQL.5432"))
    try:
        yield proxy, url.replace(str(server.folder), str(folder))
    finally:
        listener.close()
        await proxy.close()
