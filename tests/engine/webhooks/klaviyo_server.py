"""Klaviyo as far as callbacks need it: Create Event and Bulk Create Events, each event kept once."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from tests.engine.conftest import listening
from waypost.clock import now_us
from waypost.domain.webhooks.klaviyo import EVENTS, JOBS
from waypost.sink.providers.klaviyo_events import fault_of_event, fault_of_job

Event = dict[str, Any]


class KlaviyoServer:
    """Keeps what comes, and answers as a test says."""

    def __init__(self) -> None:
        self.port = 0
        #: The path and the number of events of each request.
        self.calls: list[tuple[str, int]] = []
        #: The headers of each request, names in lower case.
        self.headers: list[dict[str, str]] = []
        #: The attributes of the events that were accepted, in order, by their `unique_id`.
        self.kept: dict[str, Event] = {}
        #: How often events were accepted that were kept already.
        self.repeats = 0
        #: Decides about a request with so many events: a status other than 202 refuses it.
        self.answer: Callable[[str, list[Event]], int] = lambda path, events: 202

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def statuses(self) -> dict[str, list[str]]:
        """The statuses of each text in the order in which they came."""
        found: dict[str, list[str]] = {}
        for event in self.kept.values():
            properties = event["properties"]
            found.setdefault(properties["MessageID"], []).append(properties["Status"])
        return found

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await self._serve(reader, writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            path = head[0].split(" ")[1]
            lines = dict(line.split(": ", 1) for line in head[1:] if line)
            headers = {name.lower(): value for name, value in lines.items()}
            given = json.loads(await reader.readexactly(int(headers["content-length"])))
            events = list(_events(path, given))
            self.calls.append((path, len(events)))
            self.headers.append(headers)
            status = self.answer(path, events)
            if status == 202:
                for event in events:
                    self.repeats += event["unique_id"] in self.kept
                    self.kept.setdefault(event["unique_id"], event)
            writer.write(b"HTTP/1.1 %d Said\r\ncontent-length: 0\r\n\r\n" % status)
            await writer.drain()


def _events(path: str, given: Any) -> list[Event]:
    """The attributes of the events in a body, each checked as Klaviyo does."""
    if path == EVENTS:
        assert fault_of_event(given, now_us()) is None
        return [given["data"]["attributes"]]
    assert path == JOBS
    assert fault_of_job(given, now_us()) is None
    return [
        event["attributes"] | {"profile": group["attributes"]["profile"]}
        for group in given["data"]["attributes"]["events-bulk-create"]["data"]
        for event in group["attributes"]["events"]["data"]
    ]


@contextlib.asynccontextmanager
async def klaviyo() -> AsyncIterator[KlaviyoServer]:
    """Klaviyo on a free port."""
    server = KlaviyoServer()
    async with listening(server.serve) as server.port:
        yield server
