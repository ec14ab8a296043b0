"""PostgreSQL: a pool of connections; several processes and machines may share one database."""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar

import asyncpg
import msgspec
from asyncpg.pool import PoolConnectionProxy

from waypost.errors import Conflict, Error, Invalid, Unavailable
from waypost.storage.database import (
    QueryTimeout,
    Row,
    Select,
    Tx,
    load_migrations,
    load_queries,
    number_parameters,
    refuse_unknown,
)

T = TypeVar("T")
P = ParamSpec("P")
Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

POOL_SIZE = 10
#: Seconds to connect, to wait for a free connection, and for one statement.
CONNECT_TIMEOUT_S = 5.0
ACQUIRE_TIMEOUT_S = 10.0
COMMAND_TIMEOUT_S = 30.0
#: Seconds for a query that was compiled from a condition.
SELECT_TIMEOUT_S = 60.0
#: A migration may rewrite a table.
MIGRATE_TIMEOUT_S = 3600.0
#: How often a transaction is run again after a conflict, and the longest first pause before that.
RETRIES = 5
PAUSE_S = 0.01
#: The errors of the driver for a lost connection. It raises the last one if the server ended the session between two
#: statements: the driver has read the reason, but not yet the end of the connection, and cannot start a statement.
_LOST = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, asyncpg.InternalClientError)
#: Rows per INSERT statement.
INSERT_ROWS = 10_000
#: The advisory lock of a migration ("waypost" in ASCII).
MIGRATION_LOCK = 0x776179706F7374

_encode = msgspec.json.Encoder().encode
_BULK = re.compile(r"\s*INSERT INTO (\w+) \(([^)]*)\)\s*VALUES :rows\b(.*)", re.DOTALL)

# Nothing but the name is set when a connection opens: a pooler such as PgBouncer refuses other parameters there, and
# lends a connection to another client after each transaction.
_SETTINGS = {"application_name": "waypost"}
_BEGIN_PLAIN = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL synchronous_commit = on"
# Every query of the engine finds its rows by an index. Plans are kept per connection and may be made while a table is
# still empty, where reading all of it looks cheap; these settings keep them good as the table grows. They hold for one
# transaction and go to the server with its BEGIN, in one round trip.
_BY_INDEX = "".join(
    f"; SET LOCAL {name} = off" for name in ("enable_seqscan", "enable_hashjoin", "enable_mergejoin", "jit")
)
_BEGIN = _BEGIN_PLAIN + _BY_INDEX
_BEGIN_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" + _BY_INDEX

_PLANNER = ("enable_seqscan", "enable_hashjoin", "enable_mergejoin")
_FREE = "; ".join(
    [f"SET LOCAL {name} = on" for name in _PLANNER]
    + ["SET LOCAL work_mem = '128MB'", "SET LOCAL plan_cache_mode = force_custom_plan"]
)
_NOT_FREE = "; ".join(
    [f"SET LOCAL {name} = off" for name in _PLANNER]
    + [f"SET LOCAL {name} TO DEFAULT" for name in ("work_mem", "plan_cache_mode", "statement_timeout")]
)

#: Conflicts with another transaction, and statements prepared before a migration: run the transaction again.
_AGAIN = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError, asyncpg.InvalidCachedStatementError)
#: Lost connections, no resources (a full disk is 53100), operator intervention (a shutdown is 57P01), system errors.
_AWAY_CLASSES = ("08", "53", "57", "58")
#: A read-only database, a lock that was not available, a session that was ended for idling.
_AWAY_STATES = ("25006", "55P03", "25P03", "25P04")
#: A character that the database cannot store: in UTF-8 only U+0000, written out or escaped in JSON.
_BAD_TEXT = ("22021", "22P05")


class PostgresTx:
    """A transaction on one connection. Every call is one round trip."""

    dialect = "postgres"

    def __init__(self, connection: Connection, queries: "_Queries") -> None:
        self._connection = connection
        self._queries = queries

    async def row(self, query: str, **values: Any) -> Row | None:
        """Return the first row, or None."""
        text, names = self._queries.translated(query)
        found = await self._connection.fetchrow(text, *[values[name] for name in names])
        return None if found is None else tuple(found)

    async def rows(self, query: str, **values: Any) -> list[Row]:
        """Return all rows."""
        text, names = self._queries.translated(query)
        return [tuple(row) for row in await self._connection.fetch(text, *[values[name] for name in names])]

    async def records(self, query: str, **values: Any) -> list[dict[str, Any]]:
        """Return all rows as dictionaries by column name."""
        text, names = self._queries.translated(query)
        return [dict(row) for row in await self._connection.fetch(text, *[values[name] for name in names])]

    async def run(self, query: str, **values: Any) -> int:
        """Run a statement; return how many rows it changed."""
        text, names = self._queries.translated(query)
        status = await self._connection.execute(text, *[values[name] for name in names])
        word, _, count = status.rpartition(" ")
        return int(count) if word.startswith(("INSERT", "UPDATE", "DELETE")) else 0

    async def insert(self, query: str, rows: Sequence[Row]) -> None:
        """Insert all rows in one statement, which takes one array per column; other statements take them as JSON."""
        if not rows:
            return
        if not self._queries.texts[query].startswith("INSERT"):
            await self.run(query, rows=_encode(rows).decode())
            return
        text = await self._queries.bulk(self._connection, query)
        for start in range(0, len(rows), INSERT_ROWS):
            await self._connection.execute(text, *zip(*rows[start : start + INSERT_ROWS], strict=True))

    async def select(self, select: Select, *, timeout_s: float | None = None) -> list[Row]:
        """Return all rows of a compiled query; raise QueryTimeout if it takes longer than `timeout_s`.

        It reads much of whole tables, so the planner is free for it, and has the memory for sets of many ids.
        """
        text, names = number_parameters(select.text)
        limit = int((timeout_s or SELECT_TIMEOUT_S) * 1000)
        await self._connection.execute(f"{_FREE}; SET LOCAL statement_timeout = {limit}")
        try:
            rows = await self._connection.fetch(
                text, *[select.values[name] for name in names], timeout=SELECT_TIMEOUT_S + 5
            )
        except asyncpg.QueryCanceledError as error:
            raise QueryTimeout from error
        await self._connection.execute(_NOT_FREE)
        return [tuple(row) for row in rows]


class _Queries:
    """The named queries in PostgreSQL's form: `$1` for the first parameter, arrays for many rows."""

    def __init__(self) -> None:
        self.texts = load_queries("postgres")
        self._translated: dict[str, tuple[str, list[str]]] = {}
        self._bulk: dict[str, str] = {}

    def translated(self, query: str) -> tuple[str, list[str]]:
        """Return a query's text and the names of its parameters in order."""
        found = self._translated.get(query)
        if found is None:
            found = self._translated[query] = number_parameters(self.texts[query])
        return found

    async def bulk(self, connection: Connection, query: str) -> str:
        """Return the text of an INSERT of `:rows` with the types of its columns, which are read once."""
        found = self._bulk.get(query)
        if found is None:
            parts = _BULK.fullmatch(self.texts[query])
            if parts is None:
                raise ValueError(f"the query {query!r} is not an INSERT of :rows")
            table, columns, rest = parts[1], [name.strip() for name in parts[2].split(",")], parts[3]
            types = {row[0]: row[1] for row in await connection.fetch(_COLUMN_TYPES, table)}
            arrays = ", ".join(f"${position}::{types[name]}[]" for position, name in enumerate(columns, 1))
            found = f"INSERT INTO {table} ({parts[2]}) SELECT * FROM unnest({arrays}){rest}"  # noqa: S608 no user input
            self._bulk[query] = found
        return found

    def forget(self) -> None:
        """Forget the types of columns after a change of the schema."""
        self._bulk.clear()


_COLUMN_TYPES = """
    SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute
    WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped
"""
_APPLIED = "SELECT name FROM migrations"


class Postgres:
    """A database that several processes may share. Every commit is durable (`synchronous_commit=on`)."""

    dialect = "postgres"

    def __init__(self, url: str, *, pool_size: int = POOL_SIZE) -> None:
        self._url = url
        self._pool_size = pool_size
        self._queries = _Queries()
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._closed = False

    async def transact(self, work: Callable[Concatenate[Tx, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(tx, …)` in one durable transaction; run it again after a conflict with another transaction."""
        pause = PAUSE_S
        for left in range(RETRIES, -1, -1):
            try:
                return await self._in_transaction(_BEGIN, work, *args, **kwargs)
            except _AGAIN as error:
                if not left:
                    detail = "The database is busy with conflicting writes. Nothing was stored; retry."
                    raise Unavailable(detail, code="busy") from error
            await asyncio.sleep(random.uniform(0, pause))  # noqa: S311 a pause needs no secrecy
            pause *= 2
        raise AssertionError("the last round returns or raises")

    async def read(self, work: Callable[Concatenate[Tx, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(tx, …)` on a consistent snapshot of the data."""
        try:
            return await self._in_transaction(_BEGIN_READ, work, *args, **kwargs)
        except asyncpg.InvalidCachedStatementError:
            return await self._in_transaction(_BEGIN_READ, work, *args, **kwargs)

    async def migrate(self) -> list[str]:
        """Run the pending migrations in one transaction, under a lock that one process at a time holds.

        They may read whole tables, so the planner is left alone.
        """

        async def work(tx: Tx, connection: Connection) -> list[str]:
            wait = MIGRATE_TIMEOUT_S
            await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATION_LOCK, timeout=wait)
            await connection.execute("CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY NOT NULL)")
            done = {row[0] for row in await connection.fetch(_APPLIED)}
            known = load_migrations("postgres")
            refuse_unknown(done, [name for name, _ in known])
            fresh = [(name, text) for name, text in known if name not in done]
            for name, text in fresh:
                await connection.execute(text, timeout=wait)
                await connection.execute("INSERT INTO migrations (name) VALUES ($1)", name)
            return [name for name, _ in fresh]

        done = await self._with_connection(_BEGIN_PLAIN, work)
        self._queries.forget()
        return done

    async def pending_migrations(self) -> list[str]:
        """Return the names of the pending migrations."""

        async def work(tx: Tx, connection: Connection) -> list[str]:
            exists = await connection.fetchval("SELECT to_regclass('migrations') IS NOT NULL")
            done = {row[0] for row in await connection.fetch(_APPLIED)} if exists else set()
            known = [name for name, _ in load_migrations("postgres")]
            refuse_unknown(done, known)
            return [name for name in known if name not in done]

        return await self._with_connection(_BEGIN_READ, work)

    async def check(self) -> None:
        """Check that the encoding is UTF8 and that every named query can be prepared."""

        async def work(tx: Tx, connection: Connection) -> list[str]:
            encoding = await connection.fetchval("SHOW server_encoding")
            if encoding != "UTF8":
                raise Unavailable(f"The database's encoding is {encoding}; it must be UTF8.", code="wrong_encoding")
            broken = []
            for name, text in sorted(self._queries.texts.items()):
                await connection.execute("SAVEPOINT one")
                try:
                    bulk = _BULK.fullmatch(text) is not None
                    ready = await self._queries.bulk(connection, name) if bulk else number_parameters(text)[0]
                    await connection.prepare(ready)
                except (asyncpg.PostgresError, KeyError) as error:
                    if _ours(error, connection, False) is not None:
                        raise
                    broken.append(f"{name}: {error}")
                    await connection.execute("ROLLBACK TO one")
            return broken

        if broken := await self._with_connection(_BEGIN_READ, work):
            raise Unavailable(f"These queries cannot be prepared: {'; '.join(broken)}", code="broken_queries")

    async def maintain(self) -> bool:
        """Do nothing: PostgreSQL maintains itself."""
        return False

    async def close(self) -> None:
        """Finish what is in progress and close all connections."""
        self._closed = True
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                await asyncio.wait_for(pool.close(), COMMAND_TIMEOUT_S)
            except TimeoutError:
                pool.terminate()

    async def _in_transaction(
        self, begin: str, work: Callable[Concatenate[Tx, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        async def only_tx(tx: Tx, connection: Connection) -> T:
            return await work(tx, *args, **kwargs)

        return await self._with_connection(begin, only_tx)

    async def _with_connection(self, begin: str, work: Callable[[Tx, Connection], Awaitable[T]]) -> T:
        pool = self._open_pool()
        connection = await self._acquire(pool)
        committing = False
        try:
            await connection.execute(begin)
            result = await work(PostgresTx(connection, self._queries), connection)
            # If the work ignored a failed statement, COMMIT rolls the transaction back without an error.
            committing = begin is not _BEGIN_READ
            if await connection.execute("COMMIT") != "COMMIT":
                raise RuntimeError("a transaction ignored that one of its statements failed")
        except Exception as error:
            failure = _ours(error, connection, committing)
            await _abandon(connection, lost=isinstance(failure, Unavailable) and failure is not error)
            if failure is None or failure is error:
                raise
            raise failure from error
        except BaseException:
            # Cancelled: close the connection, and the server rolls back.
            if not _is_gone(connection):
                connection.terminate()
            raise
        finally:
            await _release(pool, connection)
        return result

    def _open_pool(self) -> "asyncpg.Pool[asyncpg.Record]":
        if self._closed:
            raise Unavailable("The database is closed.")
        if self._pool is None:
            # The pool connects on demand, so that it recovers when the database comes back. It keeps its connections,
            # because preparing the statements again is expensive.
            self._pool = asyncpg.create_pool(
                self._url,
                min_size=0,
                max_size=self._pool_size,
                max_queries=1 << 31,
                max_inactive_connection_lifetime=300.0,
                reset=_keep_as_is,
                timeout=CONNECT_TIMEOUT_S,
                command_timeout=COMMAND_TIMEOUT_S,
                statement_cache_size=1000,
                max_cached_statement_lifetime=0,
                server_settings=_SETTINGS,
            )
        return self._pool

    async def _acquire(self, pool: "asyncpg.Pool[asyncpg.Record]") -> Connection:
        try:
            # The minimum size is 0, so this does not wait for a connection.
            await pool
            return await pool.acquire(timeout=ACQUIRE_TIMEOUT_S)
        except asyncpg.exceptions.ClientConfigurationError as error:
            raise Invalid(f"The setting database_url is not valid: {error}", code="invalid_setting") from error
        except _LOST as error:
            reason = str(error) or type(error).__name__
            raise Unavailable(f"The database cannot be reached ({reason}). Nothing was stored; retry.") from error


async def _keep_as_is(connection: Any) -> None:
    """Reset nothing: transactions leave nothing on a connection that needs a round trip."""


async def _abandon(connection: Connection, *, lost: bool) -> None:
    """Roll back; close a connection on which that may not work, so that the server rolls back."""
    if _is_gone(connection):
        return
    if lost:
        connection.terminate()
    elif connection.is_in_transaction():
        try:
            await connection.execute("ROLLBACK", timeout=CONNECT_TIMEOUT_S)
        except _LOST:
            if not _is_gone(connection):
                connection.terminate()


def _is_gone(connection: Connection) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        # The pool has taken back a lost connection.
        return True


async def _release(pool: "asyncpg.Pool[asyncpg.Record]", connection: Connection) -> None:
    try:
        await pool.release(connection)
    except _LOST:
        # The pool replaces this connection; what was committed is durable.
        return


def _ours(error: Exception, connection: Connection, committing: bool) -> Error | None:
    """Translate a driver's error into one of `waypost.errors`; None for a mistake in the program."""
    if isinstance(error, Error):
        return error
    if isinstance(error, asyncpg.UniqueViolationError):
        return Conflict(f"A row with this key exists already ({error.constraint_name}).", code="taken")
    state = error.sqlstate if isinstance(error, asyncpg.PostgresError) else None
    state = state or ""
    away = state[:2] in _AWAY_CLASSES or state in _AWAY_STATES
    away = away or isinstance(error, OSError | TimeoutError | asyncpg.InternalClientError)
    if away or (isinstance(error, asyncpg.InterfaceError) and _is_gone(connection)):
        reason = str(error) or f"no response within {COMMAND_TIMEOUT_S:g} s"
        if committing:
            return Unavailable(
                f"The connection to the database was lost during a commit ({reason}). The data may have been stored. "
                "Retry with the same message id or Idempotency-Key."
            )
        return Unavailable(f"The database is not available ({reason}). Nothing was stored; retry.")
    if state in _BAD_TEXT:
        return Invalid("Text cannot contain the character U+0000.", code="invalid_text")
    return None
