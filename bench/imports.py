"""Imports: rows of new people per second, with three traits and a list, and the memory that a large file takes."""

import asyncio
import time

from bench.load import receivers
from bench.measurements import MEGABYTE, Plan, Section, Verdict, yardstick
from bench.process import ask, peak_bytes
from bench.targets import ours

#: Rows per event of the plan: a million in a full run.
ROWS_PER_MESSAGE = 10


def file_of(rows: int) -> bytes:
    """A file of people whose addresses come in no order."""
    lines = (f"person{n * 7919 % 100_000_007}@example.com,Person {n},pro,{n % 90}" for n in range(rows))
    return "\n".join(["email,first_name,plan,age", *lines]).encode()


async def imports(plan: Plan) -> Section:
    """One file into a list, from the upload to the last row."""
    rows = plan.messages * ROWS_PER_MESSAGE
    section = Section(title=f"imports: {rows} new people with three traits into a list, SQLite, any core")
    async with receivers() as found, ours(found.ports, core=None) as target:
        port, key = target.program.port, target.api_key
        _, made = ask(port, "POST", "/v1/lists", {"name": "News"}, bearer=key)
        content = file_of(rows)
        before = peak_bytes(target.pid)
        started = time.perf_counter()
        status, accepted = await asyncio.to_thread(
            ask, port, "POST", f"/v1/imports?list={made['id']}", content, bearer=key
        )
        if status != 202:
            raise RuntimeError(f"POST /v1/imports answered {status}: {accepted!r}")
        uploaded = time.perf_counter()
        while True:
            _, state = await asyncio.to_thread(ask, port, "GET", f"/v1/imports/{accepted['id']}", bearer=key)
            if state["state"] != "running":
                break
            await asyncio.sleep(0.2)
        ended = time.perf_counter()
        if (state["state"], state["imported"]) != ("done", rows):
            raise RuntimeError(f"the import ended so: {state!r}")
        rate, memory = rows / (ended - started), peak_bytes(target.pid) / MEGABYTE
    section.rows.append(
        {
            "rows": rows,
            "rows/s": rate,
            "upload s": uploaded - started,
            "memory MB": memory,
            "before MB": before / MEGABYTE,
            "yardstick ms": yardstick(plan.program_core),
        }
    )
    section.verdicts = [
        Verdict(claim="rows per second", value=rate, limit=20_000.0, at_least=True),
        Verdict(claim="memory MB", value=memory, limit=300.0),
    ]
    return section
