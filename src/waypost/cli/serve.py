"""`waypost serve` and `waypost worker`: run the engine until told to stop."""

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

#: The interpreter hands itself from thread to thread at least this often. The default of 5 ms lets the event loop,
#: the writer and the sender wait for each other longer than a whole delivery takes.
SWITCH_S = 0.0005
#: Objects made before the collector looks for cycles. A batch makes thousands, and hardly any of them in cycles.
COLLECT_AFTER = 50_000
#: Descriptors for the database, its files and everything else of our own.
OWN_DESCRIPTORS = 256
#: What a process without a limit counts with.
MOST_DESCRIPTORS = 1 << 20


class Server(uvicorn.Server):
    """uvicorn without its own signal handling, which would end the process before the engine has drained."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to us."""
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
    help="edge: take events in and leave sending to `waypost worker` processes on the same PostgreSQL.",
)
async def serve(data: str | None, host: str | None, port: int | None, role: str) -> None:
    """Serve the API, record events and send webhooks."""
    settings = load_settings(data=data, host=host, port=port)
    if role == "edge" and not settings.database_url:
        raise Conflict(
            "An edge leaves sending to workers on the same PostgreSQL: set WAYPOST_DATABASE_URL.", code="needs_postgres"
        )
    set_up_logs(settings)
    tune()
    async with running(settings, sends=role == "all") as engine:
        server = make_server(engine, settings)
        on_stop(lambda: setattr(server, "should_exit", True))
        log.info("listening", action="listening", host=settings.host, port=settings.port, url=settings.base_url)
        await server.serve()
        if not server.started:
            raise Unavailable(f"The server could not listen on {settings.host}:{settings.port}; is the port taken?")


@click.command()
@data_option
async def worker(data: str | None) -> None:
    """Send webhooks and do what time makes due, without serving: another process on the same PostgreSQL."""
    settings = load_settings(data=data)
    set_up_logs(settings)
    if not settings.database_url:
        raise Conflict(
            "A worker shares a PostgreSQL with `waypost serve`: set WAYPOST_DATABASE_URL.", code="needs_postgres"
        )
    tune()
    async with running(settings):
        stop = asyncio.Event()
        on_stop(stop.set)
        await stop.wait()


def make_server(engine: Engine, settings: Settings, limits: Limits | None = None) -> Server:
    """The HTTP server of an engine, not started yet."""
    limits = limits or find_limits(settings, raise_descriptors())
    app = build_app(engine)
    return Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            loop="none",
            http=limited(limits, app.direct),
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
    """Let the process have as many descriptors as the system allows it, and return their number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


def find_limits(settings: Settings, descriptors: int) -> Limits:
    """The limits for clients, with descriptors kept for the database and for what the process sends."""
    own = min(descriptors // 2, settings.max_in_flight + KEPT_CONNECTIONS + OWN_DESCRIPTORS)
    most = min(settings.max_connections, descriptors - own)
    return Limits(connections=most, per_address=max(1, most * 3 // 4))


def tune() -> None:
    """Set the interpreter up for one busy loop and two busy threads."""
    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 20, 20)


def on_stop(act: Callable[[], object]) -> None:
    """Call this when the process is told to end."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, act)


@contextlib.asynccontextmanager
async def running(settings: Settings, *, sends: bool = True) -> AsyncIterator[Engine]:
    """An engine at work over its store; drained and closed afterwards."""
    with alone(settings):
        database = open_database(settings)
        try:
            for name in await database.migrate():
                log.info("migrated", action="migrated", migration=name)
            engine = Engine(database, settings, sends=sends)
            await engine.start()
            if not await database.read(_has_workspace):
                log.warning("there is no workspace yet: run `waypost init`", action="no_workspace")
            try:
                yield engine
            finally:
                await engine.stop()
        finally:
            await database.close()


@contextlib.contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """Nobody else serves this SQLite file: two would hold the same deliveries."""
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
                f"Another process serves {settings.data_dir} already. Stop it, choose another --data, "
                "or use PostgreSQL for several processes.",
                code="data_in_use",
            ) from error
        yield
    finally:
        os.close(descriptor)


async def _has_workspace(tx: Tx) -> bool:
    return bool(await tx.rows("workspaces.list"))
