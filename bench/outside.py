"""What a user gets: `waypost serve` with its defaults and every core, beside load and receivers in other processes."""

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import apsw

from bench import load
from bench.measurements import Plan, Row, Section, Verdict, best, open_ours, paced, saturate
from bench.messaging import batches, demand, number, reach, submit
from bench.process import cpu_seconds, free_port, peak_bytes, start, stop
from bench.sinks import Sink, bare_sink
from bench.targets import LOOPBACK, Missing, Target, folder, initialise, ours, waypost

#: Messages that are accepted in a second at the very least; so long their sending is put off.
ACCEPTED_PER_SECOND = 2500
MAIL = {"channel": "email", "subject": "Your order", "html": "<p>It is on its way.</p>" * 40}
TEXT = {"channel": "sms", "text": "Your parcel is on its way. Reply STOP to opt out"}
SYNC_SOURCE = Path(__file__).with_name("slow_sync.c")
CALLBACK_CLIENTS = 16


@contextmanager
def every_core() -> Iterator[None]:
    """Let this process, and those that it starts, run on every core of the machine."""
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    try:
        yield
    finally:
        os.sched_setaffinity(0, mine)


async def unpinned(plan: Plan) -> Section:
    """Events posted singly over keep-alive connections, delivered to one endpoint with its default settings."""
    section = Section(
        title=f"unpinned: {plan.events} events singly, {plan.connections} connections, every core, SQLite"
    )
    free = replace(plan, program_core=None)
    opening = open_ours(free, name="unpinned", concurrency=None)
    with every_core():
        for _ in range(plan.rounds):
            section.rows.append(await saturate(free, opening))
        slow = await paced(free, opening)
    full = best(section.rows, "unpinned")
    tail = float(slow["p99 ms"])
    section.rows += [full, {"program": f"at {plan.rate:.0f} events/s", "accept→delivered p99 ms": tail}]
    section.verdicts = [
        Verdict(claim="events/s", value=float(full["events/s"]), limit=8000.0, at_least=True),
        Verdict(claim="CPU µs per event, all processes", value=float(full["CPU µs/event"]), limit=150.0),
        Verdict(claim=f"accept→delivered p99 ms at {plan.rate:.0f}/s", value=tail, limit=5.0),
    ]
    return section


@asynccontextmanager
async def connected(
    kind: str, name: str, settings: Mapping[str, str] | None = None
) -> AsyncIterator[tuple[Target, Sink, dict[str, Any]]]:
    """Waypost with a connection to a bare sink."""
    with every_core(), bare_sink(kind) as sink:
        async with ours([], core=None, name=name, settings=settings) as target:
            configs: dict[str, dict[str, Any]] = {
                "smtp": {"host": "127.0.0.1", "port": sink.port, "security": "none", "from_email": "shop@example.com"},
                "http": {"url": f"http://127.0.0.1:{sink.port}/send", "callback_token": "bench"},
            }
            wish = {"name": "bench", "connector": kind, "config": configs[kind]}
            made = await asyncio.to_thread(
                demand, target.program.port, "POST", "/v1/connections", wish, bearer=target.api_key
            )
            yield target, sink, made


async def send(kind: str, total: int, *, name: str, settings: Mapping[str, str] | None = None) -> Row:
    """Accept messages for a moment in the future, then send them all: the rate and the CPU time of either."""
    content, address = (MAIL, lambda n: f"person{n}@example.com") if kind == "smtp" else (TEXT, number)
    async with connected(kind, name, settings) as (target, sink, _):
        port, key = target.program.port, target.api_key
        ahead = 1 + total / ACCEPTED_PER_SECOND
        bodies = batches(
            total, {**content, "send_at": (datetime.now(UTC) + timedelta(seconds=ahead)).isoformat()}, address
        )
        due = time.monotonic() + ahead
        before, began = cpu_seconds(target.pid), time.monotonic()
        await asyncio.to_thread(submit, port, key, bodies)
        accepted, spent = time.monotonic(), cpu_seconds(target.pid) - before
        if accepted > due:
            raise RuntimeError(f"{total} messages were not accepted within {ahead:.1f} s")
        await asyncio.sleep(due - accepted)
        before, played = cpu_seconds(target.pid), cpu_seconds(sink.pid)
        sent = await reach(target, "sent", total)
        sending, playing = cpu_seconds(target.pid) - before, cpu_seconds(sink.pid) - played
        memory = peak_bytes(target.pid)
        taken = sink.stop()
        if taken != total:
            raise RuntimeError(f"the sink took {taken}, not every one of {total} once")
    return {
        "program": name,
        "accepted/s": total / (accepted - began),
        "CPU µs to accept": spent / total * 1e6,
        "sent/s": total / (sent - due),
        "CPU µs to send": sending / total * 1e6,
        "sink µs/message": playing / total * 1e6,
        "memory MB": memory / 1e6,
    }


async def mail_bare(plan: Plan) -> Section:
    """Mails over SMTP to a bare mail server."""
    return await _sent("smtp", "mails", plan, rate=3200.0)


async def sms_bare(plan: Plan) -> Section:
    """Texts through the HTTP connector to a bare HTTP server."""
    return await _sent("http", "texts", plan, rate=3200.0)


async def _sent(kind: str, what: str, plan: Plan, *, rate: float) -> Section:
    total = plan.messages // 5
    section = Section(title=f"{what}: {total} to a bare sink ({kind}), every core, SQLite")
    for _ in range(max(plan.rounds - 1, 1)):
        section.rows.append(await send(kind, total, name="ours"))
    fastest = max(float(row["sent/s"]) for row in section.rows)
    least = min(float(row["CPU µs to send"]) for row in section.rows)
    section.verdicts = [
        Verdict(claim=f"{what}/s after acceptance", value=fastest, limit=rate, at_least=True),
        Verdict(claim="CPU µs to send one, all processes", value=least, limit=200.0),
    ]
    return section


async def callbacks(plan: Plan) -> Section:
    """Callbacks of a provider, one message each, over keep-alive connections."""
    total = plan.messages // 5
    section = Section(title=f"callbacks: {total}, one message each, {CALLBACK_CLIENTS} connections, every core, SQLite")
    async with connected("http", "ours") as (target, _, made):
        port, key = target.program.port, target.api_key
        ids = await asyncio.to_thread(submit, port, key, batches(total, TEXT, number))
        await reach(target, "sent", total)
        path = "/" + made["callback_url"].partition("://")[2].partition("/")[2]
        path += ("&" if "?" in path else "?") + "token=bench"
        before, began = cpu_seconds(target.pid), time.monotonic()
        await asyncio.gather(*(_call_back(port, path, ids[n::CALLBACK_CLIENTS]) for n in range(CALLBACK_CLIENTS)))
        answered = time.monotonic()
        await reach(target, "delivered", total)
        rate = total / (answered - began)
        spent = (cpu_seconds(target.pid) - before) / total * 1e6
    section.rows.append({"program": "ours", "callbacks/s": rate, "CPU µs/callback": spent})
    section.verdicts = [Verdict(claim="callbacks/s applied", value=rate, limit=2000.0, at_least=True)]
    return section


async def _call_back(port: int, path: str, ids: list[str]) -> None:
    """Report these messages delivered on one connection; every callback has to be taken."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for id_ in ids:
        body = b'{"reference":"%b","status":"delivered"}' % id_.encode()
        head = b"POST %b HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        writer.write(head % (path.encode(), len(body)) + body)
        answer = b""
        while not (status := load.complete(answer)):
            piece = await reader.read(65536)
            if not piece:
                raise RuntimeError("the connection was closed before the answer")
            answer += piece
        if not 200 <= status < 300:
            raise RuntimeError(f"a callback was answered {answer[:500]!r}")
    writer.close()


@contextmanager
def slow_disk() -> Iterator[Path]:
    """A library that makes every sync as slow as BENCH_SYNC_US says, for LD_PRELOAD."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise Missing("a C compiler is not there, and a slow disk is simulated by a small library")
    with folder() as path:
        library = path / "slow_sync.so"
        command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(SYNC_SOURCE), "-ldl"]
        subprocess.run(command, check=True, capture_output=True)
        yield library


async def slow_sync(plan: Plan) -> Section:
    """The same work on a disk whose sync takes 2 ms, beside one that takes 0.2 ms."""
    section = Section(title="slow-sync: the disk's sync takes 2 ms instead of 0.2, every core, SQLite")
    free = replace(plan, program_core=None)
    total = plan.messages // 5
    rates: dict[str, dict[int, float]] = {"events": {}, "mails": {}, "texts": {}}
    with slow_disk() as library:
        for micros in 200, 2000:
            settings = {"LD_PRELOAD": str(library), "BENCH_SYNC_US": str(micros)}
            name = f"sync {micros / 1000:g} ms"
            with every_core():
                opening = open_ours(free, name=f"events, {name}", settings=settings, concurrency=None)
                row = await saturate(free, opening)
            rates["events"][micros] = float(row["events/s"])
            section.rows.append({key: row[key] for key in ("program", "events/s", "CPU µs/event")})
            for what, kind in ("mails", "smtp"), ("texts", "http"):
                row = await send(kind, total, name=f"{what}, {name}", settings=settings)
                rates[what][micros] = float(row["sent/s"])
                section.rows.append({key: row[key] for key in ("program", "accepted/s", "sent/s", "CPU µs to send")})
    section.verdicts = [
        Verdict(claim=f"{what}: rate at 2 ms / rate at 0.2 ms", value=rate[2000] / rate[200], limit=0.75, at_least=True)
        for what, rate in rates.items()
    ]
    return section


#: Copies of the one event and the one message that were made by the API, and a pending delivery of each event.
FILL = """
CREATE TEMP TABLE n AS
    WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {total}) SELECT n FROM n;
INSERT INTO events (id, workspace_id, message_key, message_id, type, profile_id, occurred_at, data)
    SELECT {event} + n, workspace_id, NULL, message_id || '-' || n, type, profile_id, occurred_at, data
    FROM n, (SELECT * FROM events WHERE id = {event});
UPDATE late_index SET upto = (SELECT max(id) FROM events);
DELETE FROM deliveries;
INSERT INTO deliveries (endpoint_id, event_id, state, tries, attempts, due_at)
    SELECT endpoints.id, {event} + n, 'pending', 0, 0, {now} FROM n, endpoints;
UPDATE endpoint_counts SET accepted = {total}, pending = {total}, delivered = 0, dead = 0;
INSERT INTO messages (id, workspace_id, profile_id, channel, connection_id, pinned, address, purpose, status, status_at,
        template_id, template_version, campaign, metadata, test, tries, due_at, expires_at, history, updated_at)
    SELECT {message} + n, workspace_id, profile_id, channel, connection_id, pinned, address, purpose, 'queued',
        status_at, template_id, template_version, campaign, metadata, test, 0, {now}, expires_at, history, updated_at
    FROM n, (SELECT * FROM messages WHERE id = {message});
INSERT INTO message_contents (message_id, content)
    SELECT {message} + n, content FROM n, (SELECT content FROM message_contents WHERE message_id = {message});
"""


async def ready(plan: Plan) -> Section:
    """From the start of the process to ready, with many pending deliveries and queued messages, and with none."""
    section = Section(title=f"ready: start to ready with {plan.stored} pending deliveries and as many queued messages")
    with every_core(), bare_sink("http") as sink, folder() as data:
        command, port = waypost(), free_port()
        keys = await asyncio.to_thread(initialise, command, data, LOOPBACK)
        arguments = [str(command), "serve", "--data", str(data), "--port", str(port)]
        # As from the second start of an installed program on: Python keeps the compiled modules.
        environment = {**LOOPBACK, "PYTHONDONTWRITEBYTECODE": ""}
        run = partial(start, arguments, port=port, log=data / "log", core=None, environment=environment)
        program = await asyncio.to_thread(run)
        await asyncio.to_thread(make_one_of_each, port, keys["api_key"], f"http://127.0.0.1:{sink.port}")
        await asyncio.to_thread(stop, program)
        for rows in 0, plan.stored:
            if rows:
                await asyncio.to_thread(fill, data / "waypost.db", rows)
            began = time.monotonic()
            program = await asyncio.to_thread(run, patience=120.0)
            took = time.monotonic() - began
            memory = peak_bytes(program.process.pid)
            await asyncio.to_thread(stop, program)
            section.rows.append({"pending": f"{rows:,}", "start to ready s": took, "memory MB": memory / 1e6})
    empty, full = (float(row["start to ready s"]) for row in section.rows)
    section.verdicts = [
        Verdict(claim="start to ready s", value=full, limit=1.0),
        Verdict(claim="start to ready s, more than with nothing pending", value=full - empty, limit=0.2),
    ]
    return section


def make_one_of_each(port: int, key: str, url: str) -> None:
    """Make an endpoint and a connection that lead to a URL, a message for tomorrow, and an event."""
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    demand(port, "POST", "/v1/webhooks", {"url": url, "event_types": ["*"]}, key)
    demand(port, "POST", "/v1/connections", {"name": "bench", "connector": "http", "config": {"url": url}}, key)
    demand(port, "POST", "/v1/messages", {**TEXT, "to": number(1), "send_at": tomorrow}, key)
    demand(port, "POST", "/v1/track", {"userId": "one", "event": "Order Shipped", "properties": {"total": 9.5}}, key)


def fill(file: Path, total: int) -> None:
    """Put so many pending deliveries and queued messages into a database that nobody serves."""
    database = apsw.Connection(str(file))
    database.execute("PRAGMA synchronous = off")
    event = database.execute("SELECT max(id) FROM events").get
    message = database.execute("SELECT max(id) FROM messages").get
    with database:
        database.execute(FILL.format(total=total, event=event, message=message, now=time.time_ns() // 1000))
    database.close()


OUTSIDE = {"unpinned": unpinned, "mails": mail_bare, "texts": sms_bare, "callbacks": callbacks}
SLOW = {"slow-sync": slow_sync, "ready": ready}
