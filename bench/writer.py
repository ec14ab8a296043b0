"""The writer of the bare program: one thread, one connection, group commit."""

import asyncio
import contextlib
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

import apsw

# The longest group in one statement. Each length below it is a statement of its own, prepared once and kept.
GROUP = 64
SCHEMA = """
create table if not exists events (
    id integer primary key, message_id text not null, user_id text not null,
    name text not null, received_at integer not null, body blob not null
);
create table if not exists jobs (event_id integer primary key, due_at integer not null);
create table if not exists attempts (
    id integer primary key, event_id integer not null, started_at integer not null,
    duration integer not null, status integer not null
);
"""


EVENTS = "insert into events (id, message_id, user_id, name, received_at, body)"
JOBS = "insert into jobs (event_id, due_at)"
ATTEMPTS = "insert into attempts (event_id, started_at, duration, status)"
DELETE = "delete from jobs where event_id in"


class Event(NamedTuple):
    """A row of `events`."""

    id: int
    message_id: str
    user_id: str
    name: str
    received_at: int
    body: bytes


class Attempt(NamedTuple):
    """A row of `attempts`, whose id the database gives."""

    event_id: int
    started_at: int
    duration: int
    status: int


Arrival = tuple[Event, "asyncio.Future[None]"]


def report() -> None:
    """Write the exception being handled to standard error; a failing item must not stop the others."""
    traceback.print_exc(file=sys.stderr)


class Writer(threading.Thread):
    """The one thread that writes; every turn commits all that has come since the last one."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop, committed: Callable[[list[Event]], None]) -> None:
        super().__init__(name="writer")
        self.accepted = 0
        self.delivered = 0
        self._committed = committed
        self._loop = loop
        self._arrivals: deque[Arrival] = deque()
        self._attempts: deque[Attempt] = deque()
        self._wake: SimpleQueue[bool] = SimpleQueue()
        self._idle = False
        self._stopping = False
        self._statements: dict[tuple[str, int], str] = {}
        self._database = apsw.Connection(str(path), statementcachesize=1024)
        self._database.execute("pragma journal_mode=wal")
        self._database.execute("pragma synchronous=full")
        self._database.execute("pragma cache_size=-65536")
        # Fewer, longer checkpoints than the default of 1000 pages: each of them costs two more syncs.
        self._database.execute("pragma wal_autocheckpoint=4000")
        self._database.execute(SCHEMA)
        last = self._database.execute("select coalesce(max(id), 0) from events").get
        self.first_id = int(last) + 1

    def store(self, event: Event) -> "asyncio.Future[None]":
        """A future that is done once the event is on disk. Called on the event loop."""
        stored = self._loop.create_future()
        self._arrivals.append((event, stored))
        if self._idle:
            # Woken after this turn of the loop: the requests that came with this one belong to the same group.
            self._idle = False
            self._loop.call_soon(self._wake.put, True)
        return stored

    def record(self, attempts: Iterable[Attempt]) -> None:
        """Keep these attempts with the next group."""
        self._attempts.extend(attempts)
        self._stir()

    def stop(self) -> None:
        """Commit what is left and end."""
        self._stopping = True
        self._wake.put(True)

    def _stir(self) -> None:
        # Only a sleeping writer is woken. It looks at both queues once more after saying that it sleeps, so no item
        # is overlooked; one needless wake-up is the worst that two callers at once can cause.
        if self._idle:
            self._idle = False
            self._wake.put(True)

    def run(self) -> None:
        while True:
            if not self._arrivals and not self._attempts:
                if self._stopping:
                    break
                self._idle = True
                if not self._arrivals and not self._attempts:
                    self._wake.get()
                self._idle = False
            arrivals = [self._arrivals.popleft() for _ in range(len(self._arrivals))]
            attempts = [self._attempts.popleft() for _ in range(len(self._attempts))]
            if arrivals or attempts:
                self._commit(arrivals, attempts)
        self._database.close()

    def _commit(self, arrivals: list[Arrival], attempts: list[Attempt]) -> None:
        events = [event for event, _ in arrivals]
        failure: BaseException | None = None
        try:
            self._database.execute("begin immediate")
            self._insert(EVENTS, events)
            self._insert(JOBS, [(event.id, event.received_at) for event in events])
            self._insert(ATTEMPTS, attempts)
            landed = [attempt.event_id for attempt in attempts if 200 <= attempt.status < 300]
            self._remove(landed)
            self._database.execute("commit")
        except apsw.Error as error:
            report()
            failure = error
            if self._database.in_transaction:
                self._database.execute("rollback")
            self._attempts.extendleft(reversed(attempts))
        else:
            self.accepted += len(events)
            self.delivered += len(landed)
        if arrivals:
            with contextlib.suppress(RuntimeError):  # The loop has ended; nobody waits for the answer any more.
                self._loop.call_soon_threadsafe(release, [stored for _, stored in arrivals], failure)
            if failure is None:
                self._committed(events)

    def _insert(self, insert: str, rows: Sequence[tuple[Any, ...]]) -> None:
        for start in range(0, len(rows), GROUP):
            group = rows[start : start + GROUP]
            key = insert, len(group)
            statement = self._statements.get(key)
            if statement is None:
                row = f"({','.join('?' * len(group[0]))})"
                statement = self._statements[key] = f"{insert} values {','.join([row] * len(group))}"
            self._database.execute(statement, tuple(chain.from_iterable(group)))

    def _remove(self, ids: list[int]) -> None:
        for start in range(0, len(ids), GROUP):
            group = ids[start : start + GROUP]
            key = DELETE, len(group)
            statement = self._statements.get(key)
            if statement is None:
                statement = self._statements[key] = f"{DELETE} ({','.join('?' * len(group))})"
            self._database.execute(statement, tuple(group))


def release(waiting: "list[asyncio.Future[None]]", failure: BaseException | None) -> None:
    """Let every request of a group go on, each on its own: one that has gone away must not hold up the rest."""
    for stored in waiting:
        try:
            if stored.done():
                continue
            if failure is None:
                stored.set_result(None)
            else:
                stored.set_exception(failure)
        except Exception:
            report()
