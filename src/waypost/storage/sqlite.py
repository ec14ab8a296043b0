"""SQLite: one writer thread that commits durably, a few readers, and a checkpoint thread of its own."""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import apsw
import msgspec

from waypost.domain.audience.comparisons import fold, instant, number
from waypost.errors import Conflict, Unavailable
from waypost.storage.data_directory import make_private_file, make_private_folder
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

READERS = 3
#: Rows per INSERT statement: as many large ones as fit, then small ones, then one for the rest. So SQLite prepares few
#: different statements, and most batches need only one.
LARGE_INSERT, SMALL_INSERT = 256, 64
#: Events per step of the late indexes: a step blocks the writer for about ten milliseconds at most.
LATE_STEP = 2000
#: The keys of events that are not in the late indexes yet. Only the writer's connection fills this table.
_TAIL = "CREATE TEMP TABLE tail_keys (message_key INTEGER PRIMARY KEY NOT NULL, event_id bigint NOT NULL)"
_TAIL_TRIGGER = """
CREATE TEMP TRIGGER IF NOT EXISTS tail_insert AFTER INSERT ON main.events WHEN new.message_key IS NOT NULL BEGIN
    INSERT INTO tail_keys (message_key, event_id) VALUES (new.message_key, new.id);
END
"""
#: The pages of the write-ahead log at which it is copied into the database.
CHECKPOINT_PAGES = 2000

_AWAY = (
    apsw.FullError,
    apsw.IOError,
    apsw.BusyError,
    apsw.LockedError,
    apsw.CantOpenError,
    apsw.ReadOnlyError,
    apsw.NoMemError,
    apsw.CorruptError,
    apsw.NotADBError,
)
#: A unique key exists already; only mistakes in the program violate other constraints.
_TAKEN = (apsw.SQLITE_CONSTRAINT_UNIQUE, apsw.SQLITE_CONSTRAINT_PRIMARYKEY, apsw.SQLITE_CONSTRAINT_ROWID)
# SQLite counts every allocation under a lock, and Waypost does not read the count. It can be switched off only before
# the first use.
apsw.shutdown()
apsw.config(apsw.SQLITE_CONFIG_MEMSTATUS, False)
apsw.initialize()

#: What compiled conditions need and SQLite lacks.
_FUNCTIONS: dict[str, Callable[..., Any]] = {"waypost_fold": fold, "waypost_number": number, "waypost_instant": instant}

_encode = msgspec.json.Encoder().encode
_Job = tuple[Callable[[apsw.Connection], Any], asyncio.AbstractEventLoop, "asyncio.Future[Any]"]


@lru_cache(maxsize=2000)
def _insert_text(text: str, columns: int, rows: int) -> str:
    one = "(" + ",".join("?" * columns) + ")"
    return text.replace(":rows", ",".join([one] * rows))


class SQLiteTx:
    """A transaction on one connection. Its methods never suspend, so a coroutine that uses it runs in one step."""

    dialect = "sqlite"

    def __init__(self, connection: apsw.Connection, queries: dict[str, str]) -> None:
        self._connection = connection
        self._queries = queries

    def _run(self, query: str, values: dict[str, Any]) -> apsw.Cursor:
        bound = {
            name: _encode(value).decode() if type(value) in (list, tuple) else value for name, value in values.items()
        }
        return self._connection.execute(self._queries[query], bound)

    async def row(self, query: str, **values: Any) -> Row | None:
        """Return the first row, or None."""
        cursor = self._run(query, values)
        found = cursor.fetchone()
        cursor.close()
        return found

    async def rows(self, query: str, **values: Any) -> list[Row]:
        """Return all rows."""
        return self._run(query, values).fetchall()

    async def records(self, query: str, **values: Any) -> list[dict[str, Any]]:
        """Return all rows as dictionaries by column name."""
        cursor = self._run(query, values)
        try:
            names = [column[0] for column in cursor.get_description()]
        except apsw.ExecutionCompleteError:
            return []
        return [dict(zip(names, row, strict=True)) for row in cursor]

    async def run(self, query: str, **values: Any) -> int:
        """Run a statement; return how many rows it changed."""
        self._run(query, values).close()
        # Counts the changes of the statement, not those of triggers.
        return self._connection.changes()

    async def insert(self, query: str, rows: Sequence[Row]) -> None:
        """Insert all rows in as few statements as possible: each one releases the interpreter lock once."""
        if not rows:
            return
        start, total = 0, len(rows)
        while start < total:
            left = total - start
            size = LARGE_INSERT if left >= LARGE_INSERT else SMALL_INSERT if left >= SMALL_INSERT else left
            values = list(chain.from_iterable(rows[start : start + size] if size < total else rows))
            self._connection.execute(_insert_text(self._queries[query], len(rows[0]), size), values)
            start += size

    async def select(self, select: Select, *, timeout_s: float | None = None) -> list[Row]:
        """Return all rows of a compiled query; raise QueryTimeout if it takes longer than `timeout_s`."""
        bound = {
            name: _encode(value).decode() if type(value) is list else value for name, value in select.values.items()
        }
        if timeout_s is None:
            return self._connection.execute(select.text, bound).fetchall()
        timer = threading.Timer(timeout_s, self._connection.interrupt)
        timer.start()
        try:
            return self._connection.execute(select.text, bound).fetchall()
        except apsw.InterruptError as error:
            raise QueryTimeout from error
        finally:
            timer.cancel()


class SQLite:
    """A database in one file. Every commit is durable (`synchronous=FULL`)."""

    dialect = "sqlite"

    def __init__(self, path: Path) -> None:
        make_private_folder(path.parent)
        make_private_file(path)
        self.path = path
        self._queries = load_queries("sqlite")
        self._writes: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._reads: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._log_pages = 0
        self._log_copied = False
        self._checkpoint_wanted = threading.Event()
        self._closing = False
        writer = self._connect()
        writer.set_wal_hook(self._note_log)
        self._load_tail(writer)
        threads = [threading.Thread(target=self._serve, args=(writer, self._writes, True), name="waypost-writer")]
        threads += [
            threading.Thread(target=self._serve, args=(self._connect(), self._reads, False), name=f"waypost-reader-{n}")
            for n in range(READERS)
        ]
        threads.append(threading.Thread(target=self._checkpoint, args=(self._connect(),), name="waypost-checkpoint"))
        self._threads = threads
        for thread in threads:
            thread.daemon = True
            thread.start()

    async def transact(self, work: Callable[Concatenate[Tx, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(tx, …)` in one durable transaction on the writer thread."""

        def job(connection: apsw.Connection) -> T:
            return self._in_transaction(connection, "BEGIN IMMEDIATE", work, *args, **kwargs)

        return await self._submit(self._writes, job)

    async def read(self, work: Callable[Concatenate[Tx, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(tx, …)` on a consistent snapshot of the data, on a reader thread."""

        def job(connection: apsw.Connection) -> T:
            return self._in_transaction(connection, "BEGIN", work, *args, **kwargs)

        return await self._submit(self._reads, job)

    async def migrate(self) -> list[str]:
        """Run the pending migrations in one transaction."""

        def job(connection: apsw.Connection) -> list[str]:
            with connection:
                done = _applied(connection)
                known = load_migrations("sqlite")
                refuse_unknown(done, [name for name, _ in known])
                fresh = [(name, text) for name, text in known if name not in done]
                for name, text in fresh:
                    connection.execute(text)
                    connection.execute("INSERT INTO migrations (name) VALUES (?)", (name,))
            self._load_tail(connection)
            return [name for name, _ in fresh]

        return await self._submit(self._writes, job)

    async def pending_migrations(self) -> list[str]:
        """Return the names of the pending migrations."""

        def job(connection: apsw.Connection) -> list[str]:
            exists = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'migrations'").fetchone()
            done = {row[0] for row in connection.execute("SELECT name FROM migrations")} if exists else set()
            known = [name for name, _ in load_migrations("sqlite")]
            refuse_unknown(done, known)
            return [name for name in known if name not in done]

        return await self._submit(self._reads, job)

    async def maintain(self) -> bool:
        """Bring the late indexes up to date; return whether there is more to do at once."""
        return await self.transact(_index_late)

    async def check(self) -> None:
        """Check the integrity of the file and that every named query can be prepared."""

        def job(connection: apsw.Connection) -> None:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()
            if found is None or found[0] != "ok":
                raise Unavailable(f"The database file is damaged: {found and found[0]}", code="damaged")
            broken = []
            for name, text in sorted(self._queries.items()):
                bulk = "VALUES :rows" in text
                ready = text.replace(":rows", "(" + ",".join(["NULL"] * _columns(text)) + ")") if bulk else text
                try:
                    connection.execute("EXPLAIN " + ready, dict.fromkeys(number_parameters(ready)[1])).close()
                except apsw.Error as error:
                    broken.append(f"{name}: {error}")
            if broken:
                raise Unavailable(f"These queries cannot be prepared: {'; '.join(broken)}", code="broken_queries")

        await self._submit(self._reads, job)

    async def close(self) -> None:
        """Finish what is queued, copy the log into the database and close the file."""
        if self._closing:
            return
        self._closing = True
        self._checkpoint_wanted.set()
        for _ in range(READERS):
            self._reads.put(None)
        self._writes.put(None)
        for thread in reversed(self._threads):
            await asyncio.to_thread(thread.join)

    async def _submit(self, jobs: "queue.SimpleQueue[_Job | None]", job: Callable[[apsw.Connection], T]) -> T:
        if self._closing:
            raise Unavailable("The database is closed.")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        jobs.put((job, loop, future))
        return await future

    def _connect(self) -> apsw.Connection:
        try:
            connection = apsw.Connection(str(self.path), statementcachesize=1000)
            connection.set_busy_timeout(10_000)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA cache_size = -32768")
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute("PRAGMA wal_autocheckpoint = 0")
            connection.execute(_TAIL)
            for name, function in _FUNCTIONS.items():
                connection.create_scalar_function(name, function, 1, deterministic=True)
        except apsw.Error as error:
            raise Unavailable(f"The database {self.path} cannot be opened: {error}") from error
        return connection

    def _load_tail(self, connection: apsw.Connection) -> None:
        """Load the keys of events that are not in the late indexes yet, once those indexes exist."""
        if connection.execute("SELECT 1 FROM main.sqlite_schema WHERE name = 'late_index'").fetchone():
            connection.execute(_TAIL_TRIGGER)
            connection.execute(self._queries["late.recall"])

    def _serve(self, connection: apsw.Connection, jobs: "queue.SimpleQueue[_Job | None]", writes: bool) -> None:
        while (item := jobs.get()) is not None:
            job, loop, future = item
            try:
                result: Any = job(connection)
                failure: BaseException | None = None
            except _AWAY as error:
                result, failure = (
                    None,
                    Unavailable(f"The database is not available ({error}). Nothing was stored; retry."),
                )
                failure.__cause__ = error
            except BaseException as error:
                # Raise the error in the caller; this thread continues.
                result, failure = None, error
            try:
                loop.call_soon_threadsafe(_resolve, future, result, failure)
            except RuntimeError:
                # The event loop of the caller is closed.
                continue
            if writes and self._log_pages > CHECKPOINT_PAGES:
                self._shrink_log(connection)
        connection.close()

    def _in_transaction(
        self,
        connection: apsw.Connection,
        begin: str,
        work: Callable[Concatenate[Tx, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        try:
            connection.execute(begin)
            result = drive(work(SQLiteTx(connection, self._queries), *args, **kwargs))
            connection.execute("COMMIT")
        except BaseException as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if isinstance(error, apsw.ConstraintError) and _extended(error) in _TAKEN:
                raise Conflict(f"A row with this key exists already ({error}).", code="taken") from error
            raise
        return result

    def _note_log(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        self._log_pages = pages
        return 0

    def _shrink_log(self, connection: apsw.Connection) -> None:
        """Let the checkpoint thread copy the log; then copy the pages added since, so that SQLite restarts the log."""
        if self._log_copied:
            self._log_copied = False
            # A full disk must not end this thread: the log stays as it is, and a later commit tries again.
            with contextlib.suppress(apsw.Error):
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            self._log_pages = 0
        else:
            self._checkpoint_wanted.set()

    def _checkpoint(self, connection: apsw.Connection) -> None:
        while not self._closing:
            self._checkpoint_wanted.wait()
            self._checkpoint_wanted.clear()
            if self._log_copied:
                continue
            try:
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
                self._log_copied = True
            except apsw.Error:
                # A full disk or a busy log: the log stays as it is, and the next commit tries again.
                continue
        connection.close()


def drive(awaitable: Awaitable[T]) -> T:
    """Run a coroutine that never suspends."""
    if not isinstance(awaitable, Coroutine):
        raise TypeError("a transaction's work must be a coroutine")
    try:
        awaitable.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    awaitable.close()
    raise RuntimeError("a transaction waited for something other than its queries")


async def _index_late(tx: Tx) -> bool:
    row = await tx.row("late.bound", n=LATE_STEP)
    if row is None or not row[1]:
        return False
    bound, count = row
    await tx.run("late.keys", bound=bound)
    await tx.run("late.history", bound=bound)
    await tx.run("late.types", bound=bound)
    await tx.run("late.times", bound=bound)
    await tx.run("late.mark", bound=bound)
    await tx.run("late.forget", bound=bound)
    return bool(count >= LATE_STEP)


def _resolve(future: "asyncio.Future[Any]", result: Any, failure: BaseException | None) -> None:
    if future.done():
        return
    if failure is None:
        future.set_result(result)
    else:
        future.set_exception(failure)


def _extended(error: apsw.Error) -> int:
    # The library documents this attribute; its types omit it.
    code: int = error.extendedresult  # type: ignore[attr-defined]
    return code


def _applied(connection: apsw.Connection) -> set[str]:
    connection.execute("CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY NOT NULL)")
    return {row[0] for row in connection.execute("SELECT name FROM migrations")}


def _columns(text: str) -> int:
    inside = text[text.index("(") + 1 : text.index(")")]
    return inside.count(",") + 1
