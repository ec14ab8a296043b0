"""Shared by the commands: options, logging, and opening the database."""

import logging
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import click
import structlog

from waypost.engine.runtime.encryption import Encryption, open_encryption, require_secret_key
from waypost.settings import Settings, load_settings
from waypost.storage.database import Database
from waypost.storage.open import open_database

F = TypeVar("F", bound=Callable[..., Any])


def data_option(command: F) -> F:
    """Add the option `--data`."""
    return click.option("--data", metavar="DIR", help="The data directory. [env: WAYPOST_DATA; default: ./data]")(
        command
    )


def json_option(command: F) -> F:
    """Add the option `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


@asynccontextmanager
async def opened(data: str | None) -> AsyncIterator[tuple[Database, Settings]]:
    """Open and migrate the database of a data directory, and close it afterwards."""
    settings = load_settings(data=data)
    database = open_database(settings)
    try:
        await database.migrate()
        yield database, settings
    finally:
        await database.close()


async def open_secrets(database: Database, settings: Settings) -> Encryption:
    """Return the encryption of a database; create the key in the data directory if nothing is encrypted yet."""
    await require_secret_key(database, settings.secret_key, settings.data_dir)
    return open_encryption(settings.secret_key, settings.data_dir)


def set_up_logs(settings: Settings) -> None:
    """Configure structured logs on standard error: one line per event, with its `action`."""
    colours = sys.stderr.isatty()
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        # The default tracebacks print local variables, which contain personal data and secrets.
        else structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback)
    )
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if settings.log_format == "json":
        processors.append(structlog.processors.format_exc_info)
    level = getattr(logging, settings.log_level.upper())
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
