"""`python -m bench [names…]`: run the named measurements, or all of them, and print a table of each."""

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console
from rich.table import Table

from bench.campaigns import CAMPAIGNS
from bench.clicks import clicks
from bench.dead import dead
from bench.feeds import feeds
from bench.imports import imports
from bench.interface import interface
from bench.measurements import MEASUREMENTS as SPINE
from bench.measurements import Plan, Section, yardstick
from bench.messaging import MESSAGING
from bench.outside import OUTSIDE, SLOW
from bench.segments import segments
from bench.targets import Missing
from bench.text_callbacks import text_callbacks
from bench.texts import TEXTS

#: What a user gets comes first; then the same work on one core, beside the bare program.
MEASUREMENTS = (
    OUTSIDE
    | {"dead": dead, "feeds": feeds, "clicks": clicks, "segments": segments, "interface": interface}
    | SPINE
    | MESSAGING
    | TEXTS
    | {"text-callbacks": text_callbacks}
    | CAMPAIGNS
    | {"imports": imports}
    | SLOW
)
# The bare program alone is part of `spine`.
BY_DEFAULT = [name for name in MEASUREMENTS if name != "floor"]
SYNCS = 200
QUICK = {"rounds": 1, "events": 3000, "warm_up": 500, "seconds": 2.0, "stored": 5000, "questions": 5, "messages": 2000}


def sync_milliseconds() -> float:
    """The median time to put 4 KB on the disk that the measurements use; near nothing means it is not a real disk."""
    times = []
    with tempfile.NamedTemporaryFile(prefix="waypost-bench-") as file:
        for _ in range(SYNCS):
            start = time.perf_counter()
            os.pwrite(file.fileno(), b"x" * 4096, 0)
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - start)
    return sorted(times)[SYNCS // 2] * 1000


def machine(program_core: int | None, load_core: int | None) -> dict[str, str | float]:
    """What the figures were measured on."""
    return {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cores": os.cpu_count() or 1,
        "program on core": "any" if program_core is None else program_core,
        "load on core": "any" if load_core is None else load_core,
        "other load": os.getloadavg()[0],
        "sync of 4 KB ms": sync_milliseconds(),
        "yardstick ms": yardstick(program_core),
    }


def figure(value: object) -> str:
    """A cell of the table."""
    if not isinstance(value, float):
        return "" if value is None else str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def show(console: Console, section: Section) -> None:
    """Print the table of a measurement and how it stands to its budget."""
    table = Table(title=section.title, title_justify="left", title_style="bold")
    columns = list(dict.fromkeys(name for row in section.rows for name in row))
    for number, name in enumerate(columns):
        table.add_column(name, justify="left" if number == 0 else "right")
    for row in section.rows:
        best = str(row.get("program", "")).endswith(", best")
        table.add_row(*(figure(row.get(name)) for name in columns), style="bold" if best else None)
    console.print(table)
    for verdict in section.verdicts:
        mark = "[green]kept[/]" if verdict.kept else "[red]MISSED[/]"
        sign = "≥" if verdict.at_least else "≤"
        console.print(f"  {verdict.claim}: {figure(verdict.value)} ({sign} {figure(verdict.limit)}) {mark}")
    console.print()


def plain(section: Section) -> dict[str, Any]:
    """The section for the JSON file."""
    verdicts = [asdict(verdict) | {"kept": verdict.kept} for verdict in section.verdicts]
    return {"title": section.title, "rows": section.rows, "verdicts": verdicts}


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(MEASUREMENTS)}")
    parser.add_argument("--quick", action="store_true", help="small counts: to see that it runs, not to quote")
    parser.add_argument("--rounds", type=int, help="rounds of each program (default 3)")
    parser.add_argument("--events", type=int, help="events per round (default 30000)")
    parser.add_argument("--messages", type=int, help="messages and receipts per round (default 100000)")
    parser.add_argument("--stored", type=int, help="stored rows of million and segments (default 1000000)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures to this file")
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in MEASUREMENTS:
            parser.error(f"no measurement is called {name!r}; there are {', '.join(MEASUREMENTS)}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the measurements; 0 when all ran within their budget, 1 when one failed or missed it."""
    options = read_arguments(arguments)
    cores = sorted(os.sched_getaffinity(0))
    program_core, load_core = (cores[0], cores[1]) if len(cores) > 1 else (None, None)
    if load_core is not None:
        os.sched_setaffinity(0, {load_core})
    sizes: dict[str, Any] = dict(QUICK) if options.quick else {}
    sizes |= {
        name: value
        for name in ("rounds", "events", "messages", "stored")
        if (value := getattr(options, name)) is not None
    }
    plan = Plan(program_core=program_core, **sizes)
    console = Console(width=None if sys.stdout.isatty() else 200)
    here = machine(program_core, load_core)
    console.print(", ".join(f"{name} {figure(value)}" for name, value in here.items()))
    console.print()
    found: dict[str, Any] = {}
    right = True
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for name in options.names or BY_DEFAULT:
            try:
                section = runner.run(MEASUREMENTS[name](plan))
            except Missing as error:
                console.print(f"[bold yellow]{name} SKIPPED: {error}[/]\n")
                found[name] = {"skipped": str(error)}
                continue
            except Exception:
                console.print(f"{name} FAILED\n{traceback.format_exc()}", style="red", markup=False, highlight=False)
                found[name] = {"failed": traceback.format_exc()}
                right = False
                continue
            show(console, section)
            found[name] = plain(section)
            right = right and all(verdict.kept for verdict in section.verdicts)
    if options.json is not None:
        everything = {"machine": here, "measurements": found}
        options.json.write_text(json.dumps(everything, indent=2, ensure_ascii=False) + "\n")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
