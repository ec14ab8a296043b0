"""The interface of a database, and the loading of named queries and migrations."""

import re
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from importlib import resources
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import msgspec

from waypost.errors import Conflict

Row = tuple[Any, ...]
T = TypeVar("T")
P = ParamSpec("P")

_HEADER = re.compile(r"^-- name: ([a-z_.]+)(?: \((sqlite|postgres)\))?$", re.MULTILINE)
_LIST = re.compile(r"\bIN @list\((\w+) (\w+)\)")
#: The database's clock in microseconds since 1970. Times that several processes compare use it, because the clocks of
#: their machines may differ.
_NOW = re.compile(r"@now\b")
_CLOCKS = {
    "sqlite": "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
    "postgres": "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)",
}
_TOKEN = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|::|:(\w+)")
_COMMENT = re.compile(r"^\s*--.*\n", re.MULTILINE)
_WORDS = {
    "sqlite": {"key": "INTEGER PRIMARY KEY NOT NULL", "bytes": "blob", "clustered": " WITHOUT ROWID"},
    "postgres": {"key": "bigint PRIMARY KEY", "bytes": "bytea", "clustered": ""},
}


class Select(msgspec.Struct):
    """A query that storage compiled from a condition, with its parameters."""

    text: str
    values: dict[str, Any]


class QueryTimeout(Exception):
    """A query took longer than it may; its transaction is over."""


class Tx(Protocol):
    """A transaction. Queries are named as in the `.sql` files."""

    dialect: str

    async def row(self, query: str, **values: Any) -> Row | None:
        """Return the first row, or None."""
        ...

    async def rows(self, query: str, **values: Any) -> list[Row]:
        """Return all rows."""
        ...

    async def records(self, query: str, **values: Any) -> list[dict[str, Any]]:
        """Return all rows as dictionaries by column name."""
        ...

    async def run(self, query: str, **values: Any) -> int:
        """Run a statement; return how many rows it changed."""
        ...

    async def insert(self, query: str, rows: Sequence[Row]) -> None:
        """Run a statement with the values `:rows` for all rows, in as few statements as possible.

        An INSERT is the same for both databases. For SQLite, an UPDATE may take its values `FROM (VALUES :rows)`; its
        version for PostgreSQL reads them as JSON.
        """
        ...

    async def select(self, select: Select, *, timeout_s: float | None = None) -> list[Row]:
        """Return all rows of a compiled query; raise QueryTimeout if it takes longer than `timeout_s`."""
        ...


class Database(Protocol):
    """A database, used from one event loop."""

    dialect: str

    async def transact(self, work: Callable[Concatenate[Tx, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(tx, …)` in one transaction, which is durable when this returns the result.

        `work` awaits nothing but the transaction. It may be run again after a conflict with another transaction.
        Raises Unavailable when the database is full, busy or away, and Conflict when a unique key exists already.
        """
        ...

    async def read(self, work: Callable[Concatenate[Tx, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(tx, …)` on a consistent snapshot of the data; it must not write."""
        ...

    async def migrate(self) -> list[str]:
        """Run the pending migrations; return their names."""
        ...

    async def pending_migrations(self) -> list[str]:
        """Return the names of the pending migrations. Raises Conflict when a newer version migrated the database."""
        ...

    async def check(self) -> None:
        """Check the integrity of the database and that every named query can be prepared; raise otherwise."""
        ...

    async def maintain(self) -> bool:
        """Do the database's own maintenance, about once a second; return whether there is more to do at once."""
        ...

    async def close(self) -> None:
        """Finish what is in progress and close the database."""
        ...


@cache
def load_queries(dialect: str) -> dict[str, str]:
    """Load all queries for one dialect; a dialect's own version takes precedence over the shared one.

    `IN @list(name type)` becomes the dialect's indexed look-up of the elements of a list parameter, and `@now` its
    expression for the database's clock.
    """
    shared: dict[str, str] = {}
    own: dict[str, str] = {}
    folder = resources.files("waypost.storage").joinpath("sql")
    rooms = [room for room in folder.iterdir() if room.is_dir() and room.name != "migrations"]
    for file in sorted((file for room in rooms for file in room.iterdir()), key=lambda file: file.name):
        parts = _HEADER.split(file.read_text("utf-8"))[1:]
        for name, only, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
            found = shared if only is None else own
            if only not in (None, dialect):
                continue
            if name in found:
                raise ValueError(f"{file.name}: the query {name!r} is defined twice")
            found[name] = _spell(_COMMENT.sub("", body).strip().rstrip(";"), dialect)
    return shared | own


def _spell(query: str, dialect: str) -> str:
    query = _NOW.sub(_CLOCKS[dialect], query)
    if dialect == "sqlite":
        return _LIST.sub(r"IN (SELECT value FROM json_each(:\1))", query)
    return _LIST.sub(r"= ANY(:\1::\2[])", query)


@cache
def load_migrations(dialect: str) -> list[tuple[str, str]]:
    """Load the names and texts of all migrations in order; a file may be for one dialect: `0002_name.sqlite.sql`."""
    folder = resources.files("waypost.storage").joinpath("sql").joinpath("migrations")
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    words = _WORDS[dialect]
    others = tuple(f".{other}.sql" for other in _WORDS if other != dialect)
    return [
        (
            file.name.removesuffix(".sql").removesuffix(f".{dialect}"),
            re.sub(r"\{(\w+)\}", lambda found: words[found[1]], _COMMENT.sub("", file.read_text("utf-8"))),
        )
        for file in files
        if not file.name.endswith(others)
    ]


def refuse_unknown(done: set[str], known: list[str]) -> None:
    """Raise Conflict for a database with unknown migrations, which a newer version ran."""
    if newer := sorted(done - set(known)):
        raise Conflict(
            f"A newer version of Waypost migrated this database: this version does not know the migrations "
            f"{', '.join(newer)}. Run the newer version, or restore a backup from before the upgrade.",
            code="database_too_new",
        )


def number_parameters(text: str) -> tuple[str, list[str]]:
    """Replace each `:name` of a query by `$n`; return the names in order. Casts and quoted text stay unchanged."""
    names: list[str] = []

    def number(found: re.Match[str]) -> str:
        name = found[1]
        if name is None:
            return found[0]
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return _TOKEN.sub(number, text), names
