"""`waypost serve` and `waypost worker`: run the engine until a signal stops it."""

import asyncio
import contextlib
import errno
import fcntl
import gc
import os
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator

import click
import structlog
import uvicorn

from waypost.api.app import build_app
from waypost.api.edge.http_protocol import Limits, limited
from waypost.cli.options import data_option, set_up_logs
from waypost.clock import now_us
from waypost.engine.accounts.account_tokens import offer_setup
from waypost.engine.net.outbound import KEPT_CONNECTIONS
from waypost.engine.process import Engine
from waypost.engine.runtime.encryption import require_secret_key
from waypost.errors import Conflict, Unavailable
from waypost.settings import Settings, load_settings
from waypost.storage.data_directory import FILE, make_private_folder, unusable
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
#: Connections that may wait to be accepted.
BACKLOG = 4096
_NO_FAMILY = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
#: The number of descriptors to assume if the process has no limit.
MOST_DESCRIPTORS = 1 << 20


class Server(uvicorn.Server):
    """uvicorn without its signal handling, which would end the process before the engine has drained."""

    def __init__(self, config: uvicorn.Config, url: str) -> None:
        super().__init__(config)
        self._url = url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and log the address."""
        for one in sockets or []:
            # Two processes may have bound one port; only one of them can listen on it.
            with _explains_failure(self.config.host, self.config.port):
                one.listen(BACKLOG)
        await super().startup(sockets)
        if self.started:
            log.info("listening", action="listening", host=self.config.host, port=self.config.port, url=self._url)

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
    # Before the engine starts, so that a server whose port is in use never claims deliveries.
    with bound(settings.host, settings.port) as sockets:
        async with running(settings, sends=role == "all") as engine:
            server = make_server(engine, settings)
            code = await engine.database.transact(offer_setup, engine.ids, now_us())
            if code is not None:
                # Not in the log, which others may read and keep.
                click.echo(
                    f"\nNo user exists. Open {settings.base_url}/ and become the owner with the code {code}\n", err=True
                )
            on_stop(lambda: stop_serving(server, engine))
            await server.serve(sockets)


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


def stop_serving(server: Server, engine: Engine) -> None:
    """Let a server stop; open live feeds would keep it for as long as they may."""
    server.should_exit = True
    engine.live_feeds.close()


@contextlib.contextmanager
def bound(host: str, port: int) -> Iterator[list[socket.socket]]:
    """Bind a socket to each address of a host, without listening; raise Unavailable if the port is in use."""
    with contextlib.ExitStack() as stack:
        sockets: list[socket.socket] = []
        with _explains_failure(host, port):
            found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            for number, (family, kind, protocol, _, address) in enumerate(dict.fromkeys(found), 1):
                try:
                    one = stack.enter_context(socket.socket(family, kind, protocol))
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    if family == socket.AF_INET6:
                        # The addresses of the other family have a socket of their own.
                        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    one.bind(address)
                except OSError as error:
                    # `localhost` may have an address of a family that this machine does not use.
                    if error.errno not in _NO_FAMILY or (number == len(found) and not sockets):
                        raise
                else:
                    sockets.append(one)
        yield sockets


@contextlib.contextmanager
def _explains_failure(host: str, port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(
            f"The server cannot listen on {host}:{port}: {error.strerror or error}. "
            "Stop the process that has the port, or choose another --host or --port.",
            code="address_unusable",
        ) from error


def make_server(engine: Engine, settings: Settings, limits: Limits | None = None) -> Server:
    """Return the HTTP server of an engine; it is not started yet."""
    limits = limits or find_limits(settings, raise_descriptors())
    app = build_app(engine)
    return Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            log_config=None,
            # At lower levels it logs every request that is not HTTP, so that any client could fill the log.
            log_level="error",
            access_log=False,
            loop="none",
            http=limited(limits, app.direct),
            ws="none",
            lifespan="off",
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=int(limits.idle_s),
            timeout_graceful_shutdown=10,
            backlog=BACKLOG,
        ),
        settings.base_url,
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
            await require_secret_key(database, settings.secret_key, settings.data_dir)
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
    file = settings.data_dir / "waypost.lock"
    make_private_folder(file.parent)
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE)
    except OSError as error:
        raise unusable(file, error) from error
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
