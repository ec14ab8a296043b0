"""Open live feeds: pages that are told of events and ask for the latest ones; what they cost, how fresh they are."""

import asyncio
import base64
import json
import time

from bench import load
from bench.measurements import Plan, Row, Section, Verdict
from bench.process import cpu_seconds
from bench.targets import Target, ours

FEEDS = 1000
#: How fresh the feeds of 1,000 people are.
FRESH_S = 5.0
PATIENCE_S = 30.0


class Page:
    """An open page with a live feed; remembers when it last saw the latest events."""

    def __init__(self) -> None:
        self.seen = 0
        self.last = 0.0
        self.opened = asyncio.Event()

    async def follow(self, target: Target) -> None:
        """Read the stream until it is cancelled, and ask for the latest events whenever it says that there are some."""
        reader, writer = await asyncio.open_connection("127.0.0.1", target.program.port)
        asking = await asyncio.open_connection("127.0.0.1", target.program.port)
        writer.write(request(target, "/v1/stream"))
        try:
            answer = await reader.readuntil(b"\r\n")
            if b" 200 " not in answer:
                raise RuntimeError(f"the stream was answered {answer!r}")
            self.opened.set()
            while piece := await reader.read(65536):
                if b"event: changed" in piece:
                    told = time.perf_counter()
                    asking[1].write(request(target, "/v1/events?limit=50"))
                    await answer_of(asking[0])
                    self.seen += 1
                    self.last = told
            raise RuntimeError("the stream was closed")
        finally:
            writer.close()
            asking[1].close()


def request(target: Target, path: str) -> bytes:
    """Return a request for a path."""
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {target.api_key}\r\n\r\n".encode()


async def answer_of(reader: asyncio.StreamReader) -> None:
    """Read an answer; raise RuntimeError unless it is one of success."""
    answer = b""
    while not (status := load.complete(answer)):
        piece = await reader.read(1 << 20)
        if not piece:
            raise RuntimeError("the connection was closed before the answer")
        answer += piece
    if status >= 300:
        raise RuntimeError(f"the answer is {answer[:300]!r}")


async def send_events(target: Target, rate: float, seconds: float) -> None:
    """Send events at a rate, one after another on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", target.program.port)
    token = base64.b64encode(f"{target.write_key}:".encode()).decode()
    began = time.perf_counter()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        body = json.dumps(
            {"userId": f"user-{number % load.USERS}", "event": "Order Shipped", "properties": {"n": number}}
        )
        writer.write(
            f"POST /v1/track HTTP/1.1\r\nHost: bench\r\nAuthorization: Basic {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        await answer_of(reader)
    writer.close()


async def measure(target: Target, count: int, plan: Plan) -> Row:
    """Return the CPU of the server while events come in and so many live feeds are open."""
    pages = [Page() for _ in range(count)]
    tasks = [asyncio.create_task(page.follow(target)) for page in pages]
    try:
        async with asyncio.timeout(PATIENCE_S):
            for page in pages:
                await page.opened.wait()
        before, began = cpu_seconds(target.pid), time.perf_counter()
        await send_events(target, plan.rate, plan.seconds)
        ended = time.perf_counter()
        spent = cpu_seconds(target.pid) - before
        while any(page.last < ended for page in pages):
            if time.perf_counter() > ended + PATIENCE_S:
                raise RuntimeError("some pages were not told of the last events")
            await asyncio.sleep(0.01)
        last = max([ended, *(page.last for page in pages)])
        failed = [task for task in tasks if task.done()]
        if failed:
            failed[0].result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return {
        "feeds": float(count),
        "cores": spent / (ended - began),
        "seen each": sum(page.seen for page in pages) / count if count else 0.0,
        "last seen after s": last - ended,
    }


async def feeds(plan: Plan) -> Section:
    """Live feeds beside the same events without any."""
    section = Section(title=f"feeds: {plan.rate:.0f} events/s for {plan.seconds:.0f} s, SQLite, default settings")
    for _ in range(plan.rounds):
        for count in (0, FEEDS):
            async with ours([], core=plan.program_core) as target:
                section.rows.append(await measure(target, count, plan))
    cores = {count: min(float(r["cores"]) for r in section.rows if r["feeds"] == count) for count in (0, FEEDS)}
    late = min(float(r["last seen after s"]) for r in section.rows if r["feeds"] == FEEDS)
    section.verdicts = [
        Verdict(claim=f"cores for {FEEDS} live feeds", value=cores[FEEDS] - cores[0], limit=1.0),
        Verdict(claim="s until the last feed shows an event", value=late, limit=FRESH_S),
    ]
    return section
