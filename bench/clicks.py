"""Redirects of links and pixels of emails: the rate beside the bare program, the time of one, and their events."""

import asyncio
import json
import os
import secrets
import sys
import time
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import apsw

from bench import load
from bench.measurements import Plan, Row, Section, Verdict
from bench.process import Program, cpu_seconds, free_port, start
from bench.targets import ROOT, ended, folder, ours
from waypost.domain.tracking.mail_tokens import OPEN_PATH, MailTokens
from waypost.domain.tracking.tokens import KEY_BYTES, PATH, make_keys, to_key, to_token
from waypost.engine.runtime.encryption import open_encryption

LINKS = 1000
YEAR_US = 365 * 24 * 3600 * 1_000_000
REQUEST = (
    b"GET %b HTTP/1.1\r\nHost: s.example\r\nUser-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) "
    b"AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1\r\nAccept: */*\r\n\r\n"
)
COUNT = "SELECT count(*) FROM events WHERE type = ?"


def make_links() -> dict[str, str]:
    """Return paths of short links with their URLs."""
    keys = make_keys(secrets.token_bytes(KEY_BYTES * LINKS))
    return {PATH + to_token(key): f"https://shop.example/spring?utm_source=bench&n={key}" for key in keys}


def store_links(file: Path, links: dict[str, str]) -> None:
    """Put links into the database of a running server."""
    database = apsw.Connection(str(file))
    database.set_busy_timeout(10_000)
    now = time.time_ns() // 1000
    with database:
        for path, url in links.items():
            key = to_key(path.removeprefix(PATH))
            database.execute("INSERT INTO links VALUES (?, 1, ?, NULL, ?, ?, ?)", (key, key, url, now, now + YEAR_US))
    database.close()


def make_pixels(data: Path) -> list[str]:
    """Return paths of pixels, with the key of a running server."""
    database = apsw.Connection(str(data / "waypost.db"))
    database.set_busy_timeout(10_000)
    secret = database.execute("SELECT secret FROM signing_keys").get
    database.close()
    tokens = MailTokens(b64decode(open_encryption("", data).decrypt(str(secret))))
    return [OPEN_PATH + tokens.open_token(1, number + 1) for number in range(LINKS)]


async def follow(port: int, paths: list[str], times: list[float], rate: float | None = None, status: int = 302) -> None:
    """Follow links, or load pixels, one after another on one connection; with a rate, each at its moment."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = time.perf_counter()
    for number, path in enumerate(paths):
        if rate is not None:
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        sent = time.perf_counter()
        writer.write(REQUEST % path.encode())
        head = b""
        while not (given := load.complete(head)):
            piece = await reader.read(65536)
            if not piece:
                raise RuntimeError("the connection was closed before the answer")
            head += piece
        times.append(time.perf_counter() - sent)
        if given != status:
            raise RuntimeError(f"a link or a pixel was answered {head[:300]!r}")
    writer.close()


async def measure(name: str, program: Program, paths: list[str], plan: Plan, status: int = 302) -> Row:
    """Return the answers per second with many connections, and the time of one at a fixed rate."""
    total, clients = plan.events, plan.connections
    await follow(program.port, paths, [], status=status)
    before, began = cpu_seconds(program.process.pid), time.perf_counter()
    times: list[float] = []
    await asyncio.gather(
        *(
            follow(program.port, [paths[(n * 7 + c) % LINKS] for n in range(total // clients)], times, status=status)
            for c in range(clients)
        )
    )
    wall, spent = time.perf_counter() - began, cpu_seconds(program.process.pid) - before
    paced: list[float] = []
    count = int(plan.rate * plan.seconds)
    await follow(program.port, [paths[n % LINKS] for n in range(count)], paced, plan.rate, status)
    paced.sort()
    return {
        "program": name,
        "redirects/s": len(times) / wall,
        "CPU µs/redirect": spent / len(times) * 1e6,
        "p50 ms": load.quantile(paced, 0.5) * 1000,
        "p99 ms": load.quantile(paced, 0.99) * 1000,
        "followed": LINKS + len(times) + count,
    }


@asynccontextmanager
async def bare_redirects(links: dict[str, str], core: int | None) -> AsyncIterator[Program]:
    """The bare program with these links."""
    port = free_port()
    with folder() as data:
        file = data / "links.json"
        file.write_text(json.dumps(links))
        arguments = [sys.executable, "-m", "bench.bare_redirect", "--links", str(file), "--port", str(port)]
        environment = {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])}
        program = await asyncio.to_thread(
            start, arguments, port=port, log=data / "log", core=core, environment=environment
        )
        async with ended(program):
            yield program


async def clicks(plan: Plan) -> Section:
    """Redirects of short links, each a durable event: ours beside the bare program."""
    section = Section(title=f"clicks: {plan.events} redirects, {plan.connections} connections, SQLite, one core")
    for _ in range(plan.rounds):
        links = make_links()
        async with bare_redirects(links, plan.program_core) as program:
            section.rows.append(await measure("bare", program, list(links), plan))
        async with ours([], core=plan.program_core) as target:
            await asyncio.to_thread(store_links, target.data / "waypost.db", links)
            row = await measure("ours", target.program, list(links), plan)
            section.rows.append(row)
            await asyncio.to_thread(check_events, target.data / "waypost.db", "message.clicked", int(row["followed"]))
            paths = await asyncio.to_thread(make_pixels, target.data)
            row = await measure("ours, pixels", target.program, paths, plan, 200)
            section.rows.append(row)
            await asyncio.to_thread(check_events, target.data / "waypost.db", "email.opened", int(row["followed"]))
    rate = {
        name: max(float(r["redirects/s"]) for r in section.rows if r["program"] == name)
        for name in ("bare", "ours", "ours, pixels")
    }
    quickest = min(float(row["p50 ms"]) for row in section.rows if row["program"] == "ours")
    section.verdicts = [
        Verdict(
            claim="rate of ours / rate of the bare program", value=rate["ours"] / rate["bare"], limit=0.5, at_least=True
        ),
        Verdict(
            claim="rate of pixels / rate of the bare program",
            value=rate["ours, pixels"] / rate["bare"],
            limit=0.5,
            at_least=True,
        ),
        Verdict(claim=f"p50 ms at {plan.rate:.0f}/s", value=quickest, limit=1.0),
    ]
    return section


def check_events(file: Path, kind: str, expected: int, patience: float = 30.0) -> None:
    """Raise unless every redirect or open is an event, soon."""
    database = apsw.Connection(str(file))
    deadline = time.monotonic() + patience
    while (found := database.execute(COUNT, (kind,)).get) != expected:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{found} events {kind} of {expected}")
        time.sleep(0.05)
    database.close()
