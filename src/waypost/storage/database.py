"""What the rest of Waypost asks of a database, whichever it is."""

import re
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from importlib import resources
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from waypost.errors import Conflict

Row = tuple[Any, ...]
T = TypeVar("T")
P = ParamSpec("P")

_HEADER = re.compile(r"^-- name: ([a-z_.]+)(?: \((sqlite|postgres)\))?$", re.MULTILINE)
_LIST = re.compile(r"\bIN @list\((\w+) (\w+)\)")
#: The database's own clock in microseconds since 1970. What several processes compare goes by it: the clocks of their
#: machines may differ by hours.
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


class Tx(Protocol):
    """A transaction. Queries go by the names they have in the `.sql` files."""

    async def row(self, query: str, **values: Any) -> Row | None:
        """The first row, or None."""
        ...

    async def rows(self, query: str, **values: Any) -> list[Row]:
        """All rows."""
        ...

    async def records(self, query: str, **values: Any) -> list[dict[str, Any]]:
        """All rows, by column name."""
        ...

    async def run(self, query: str, **values: Any) -> int:
        """Run a statement; gives back how many rows it changed."""
        ...

    async def insert(self, query: str, rows: Sequence[Row]) -> None:
        """Run a statement whose values are the word `:rows`, for all rows in as few statements as can be.

        An INSERT is the same for both databases. For SQLite, an UPDATE may take its values `FROM (VALUES :rows)`; its
        version for PostgreSQL reads them as JSON.
        """
        ...


class Database(Protocol):
    """A store. It serves one event loop."""

    dialect: str

    async def transact(self, work: Callable[Concatenate[Tx, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(tx, …)` in one transaction that is durable when this gives back its result.

        `work` awaits nothing but the transaction. It may be run again when another process got in its way.
        Raises Unavailable when the store is full, busy or away, and Conflict where a unique key is taken.
        """
        ...

    async def read(self, work: Callable[Concatenate[Tx, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(tx, …)` on one unchanging view of the data; it must not write."""
        ...

    async def migrate(self) -> list[str]:
        """Bring the schema up to date; gives back the names of the migrations that were run."""
        ...

    async def pending_migrations(self) -> list[str]:
        """The names of the migrations that have not been run. Raises Conflict when a newer version has been here."""
        ...

    async def check(self) -> None:
        """Prove the store sound: integrity, and every named query can be prepared. Raises when it is not."""
        ...

    async def maintain(self) -> bool:
        """Do the store's own housekeeping, about once a second; whether there is more to do right away."""
        ...

    async def close(self) -> None:
        """Finish what is under way and let go."""
        ...


@cache
def load_queries(dialect: str) -> dict[str, str]:
    """All queries for one dialect; a dialect's own version wins over the shared one.

    `IN @list(name type)` becomes the dialect's way to ask for the elements of a list parameter by an index, and `@now`
    its way to read the database's clock.
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
    """The names and texts of all migrations, in order; a file may be for one dialect: `0002_name.sqlite.sql`."""
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
    """Refuse a database with migrations that this version does not know: it belongs to a newer one."""
    if newer := sorted(done - set(known)):
        raise Conflict(
            f"The database was made by a newer version of Waypost: this version does not know the migrations "
            f"{', '.join(newer)}. Run the newer version, or restore a backup from before the upgrade.",
            code="database_too_new",
        )


def number_parameters(text: str) -> tuple[str, list[str]]:
    """A query with `$n` for each `:name`, and the names in order; casts and quoted text are left alone."""
    names: list[str] = []

    def number(found: re.Match[str]) -> str:
        name = found[1]
        if name is None:
            return found[0]
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return _TOKEN.sub(number, text), names
