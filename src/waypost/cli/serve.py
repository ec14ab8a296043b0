"""`waypost serve` and `waypost worker`: run the engine until a signal stops it."""

import asyncio
import contextlib
import fcntl
import gc
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import click
import structlog
import uvicorn

from waypost.api.app import build_app
from waypost.api.edge.http_protocol import Limits, limited
from waypost.cli.options import data_option, set_up_logs
from waypost.engine.net.outbound import KEPT_CONNECTIONS
from waypost.engine.process import Engine
from waypost.errors import Conflict, Unavailable
from waypost.settings import Settings, load_settings
from waypost.storage.database import Tx
from waypost.storage.open import open_database

log = structlog.get_logger()

#: The thread switch interval of the interpreter. With the default of 5 ms the event loop, the writer and the sender
#: wait for each other longer than a whole delivery takes.
SWITCH_S = 0.0005
#: Allocations before a garbage collection. A batch allocates thousands of objects; hardly any are in cycles.
COLLECT_AFTER = 50_000
#: Descriptors reserved for the database, its files and other internal use.
OWN_DESCRIPTORS = 256
#: The limit assumed for a process without one.
MOST_DESCRIPTORS = 1 << 20


class Server(uvicorn.Server):
    """uvicorn without its signal handling, which would end the process before the engine has drained."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no signal handlers."""
        yield


@click.command()
@data_option
@click.option("--host", help="Listen on this address. [env: WAYPOST_HOST; default: 127.0.0.1]")
@click.option("--port", type=int, help="Listen on this port. [env: WAYPOST_PORT; default: 8080]")
@click.option(
    "--role",
    type=click.Choice(["all", "edge"]),
    default="all",
    envvar="WAYPOST_ROLE",
    show_default=True,
    show_envvar=True,
    help="edge: only accept events; `waypost worker` processes on the same PostgreSQL send.",
)
async def serve(data: str | None, host: str | None, port: int | None, role: str) -> None:
    """Serve the API, record events, and send webhooks and messages."""
    settings = load_settings(data=data, host=host, port=port)
    if role == "edge" and not settings.database_url:
        raise Conflict("--role edge requires PostgreSQL. Set WAYPOST_DATABASE_URL.", code="needs_postgres")
    set_up_logs(settings)
    tune()
    async with running(settings, sends=role == "all") as engine:
        server = make_server(engine, settings)
        on_stop(lambda: setattr(server, "should_exit", True))
        log.info("listening", action="listening", host=settings.host, port=settings.port, url=settings.base_url)
        await server.serve()
        if not server.started:
            raise Unavailable(
                f"The server cannot listen on {settings.host}:{settings.port}. Check that the port is free, or choose "
                "another --port."
            )


@click.command()
@data_option
async def worker(data: str | None) -> None:
    """Send webhooks and messages and run scheduled jobs, without serving the API. Requires PostgreSQL."""
    settings = load_settings(data=data)
    set_up_logs(settings)
    if not settings.database_url:
        raise Conflict(
            "`waypost worker` requires the PostgreSQL database of `waypost serve`. Set WAYPOST_DATABASE_URL.",
            code="needs_postgres",
        )
    tune()
    async with running(settings):
        stop = asyncio.Event()
        on_stop(stop.set)
        await stop.wait()


def make_server(engine: Engine, settings: Settings, limits: Limits | None = None) -> Server:
    """Return the HTTP server of an engine; it is not started yet."""
    limits = limits or find_limits(settings, raise_descriptors())
    return Server(
        uvicorn.Config(
            build_app(engine),
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            loop="none",
            http=limited(limits),
            ws="none",
            lifespan="off",
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=int(limits.idle_s),
            timeout_graceful_shutdown=10,
            backlog=4096,
        )
    )


def raise_descriptors() -> int:
    """Raise the limit of file descriptors to the maximum allowed, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


def find_limits(settings: Settings, descriptors: int) -> Limits:
    """Return the limits for clients; they leave descriptors for the database and for outbound requests."""
    own = min(descriptors // 2, settings.max_in_flight + KEPT_CONNECTIONS + OWN_DESCRIPTORS)
    most = min(settings.max_connections, descriptors - own)
    return Limits(connections=most, per_address=max(1, most * 3 // 4))


def tune() -> None:
    """Tune the interpreter for one busy event loop and two busy threads."""
    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 20, 20)


def on_stop(act: Callable[[], object]) -> None:
    """Call `act` on SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, act)


@contextlib.asynccontextmanager
async def running(settings: Settings, *, sends: bool = True) -> AsyncIterator[Engine]:
    """Run an engine on its database; drain and close both afterwards."""
    with alone(settings):
        database = open_database(settings)
        try:
            for name in await database.migrate():
                log.info("migrated", action="migrated", migration=name)
            engine = Engine(database, settings, sends=sends)
            await engine.start()
            if not await database.read(_has_workspace):
                log.warning("no workspace exists: run `waypost init`", action="no_workspace")
            try:
                yield engine
            finally:
                await engine.stop()
        finally:
            await database.close()


@contextlib.contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """Lock the data directory: two processes on one SQLite file would send the same deliveries."""
    if settings.database_url:
        yield
        return
    file = Path(settings.data) / "waypost.lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(
                f"Another process already serves {settings.data_dir}. Stop it, choose another --data, "
                "or use PostgreSQL for several processes.",
                code="data_in_use",
            ) from error
        yield
    finally:
        os.close(descriptor)


async def _has_workspace(tx: Tx) -> bool:
    return bool(await tx.rows("workspaces.list"))
