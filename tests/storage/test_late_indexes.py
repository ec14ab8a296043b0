"""The late indexes of SQLite: queries return the same as with up-to-date ones, also after a crash."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from waypost.storage.database import Row, Tx
from waypost.storage.sqlite import SQLite

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("events"), st.integers(1, 5)),
        st.just(("tend", 0)),
        st.just(("reopen", 0)),
        st.just(("forget", 3)),
        st.just(("past", 1)),
    ),
    max_size=25,
)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SQLite]:
    database = SQLite(tmp_path / "waypost.db")
    await database.migrate()
    yield database
    await database.close()


def event(number: int) -> Row:
    """Return an event of one of three profiles and two types, with a random key."""
    type_ = f"event.{number % 2}"
    return (number, 1, (number * 7919) % 10_007 - 5_000, f"m-{number}", type_, number % 3, number, "{}")


async def add(tx: Tx, rows: list[Row]) -> None:
    await tx.insert("events.insert", rows)


async def delete(tx: Tx, ids: list[int]) -> int:
    return await tx.run("events.delete", ids=ids)


async def known(tx: Tx, keys: list[int]) -> str:
    row = await tx.row("events.known", keys=keys)
    assert row is not None
    return str(row[0])


async def history(tx: Tx, profile_id: int, n: int) -> list[int]:
    return [row[0] for row in await tx.rows("events.of_profile", profile_id=profile_id, before=1 << 62, n=n)]


async def typed(tx: Tx, type_: str, n: int) -> list[int]:
    values = {"workspace_id": 1, "type": type_, "since": 0, "before": 1 << 62, "n": n}
    return [row[0] for row in await tx.rows("events.of_type", **values)]


async def dangling(tx: Tx) -> int:
    """Return how many entries of the late indexes lead to no event."""
    rows = tx._connection.execute(  # type: ignore[attr-defined]
        """SELECT count(*) FROM (SELECT event_id FROM type_events UNION ALL SELECT event_id FROM profile_events
               UNION ALL SELECT event_id FROM message_keys UNION ALL SELECT event_id FROM type_times)
           WHERE event_id NOT IN (SELECT id FROM events)"""
    )
    return int(rows.fetchone()[0])


async def check(database: SQLite, there: set[int], gone: set[int]) -> None:
    """Check that exactly these events are known, in their histories and among those of their types."""
    for number in there:
        assert f'"m-{number}"' in await database.transact(known, [event(number)[2]])
    assert await database.transact(known, [event(number)[2] for number in gone - there]) == "[]"
    for profile_id in range(3):
        mine = sorted((number for number in there if number % 3 == profile_id), reverse=True)
        assert await database.read(history, profile_id, 1000) == mine
        assert await database.read(history, profile_id, 2) == mine[:2]
    assert await database.read(dangling) == 0
    for remainder in range(2):
        alike = sorted((number for number in there if number % 2 == remainder), reverse=True)
        assert await database.read(typed, f"event.{remainder}", 1000) == alike
        assert await database.read(typed, f"event.{remainder}", 2) == alike[:2]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
async def test_in_any_order_of_events_steps_and_crashes(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    path = tmp_path_factory.mktemp("late") / "waypost.db"
    database = SQLite(path)
    await database.migrate()
    there: set[int] = set()
    gone: set[int] = set()
    abandoned = []
    newest, oldest = 1000, 1000
    for step, count in steps:
        if step == "events":
            rows = [event(number) for number in range(newest + 1, newest + 1 + count)]
            newest += count
            await database.transact(add, rows)
            there |= {row[0] for row in rows}
        elif step == "past":
            oldest -= 1
            await database.transact(add, [event(oldest)])
            there.add(oldest)
        elif step == "forget":
            ids = sorted(there)[:count]
            assert await database.transact(delete, ids) == len(ids)
            there -= set(ids)
            gone |= set(ids)
        elif step == "tend":
            assert await database.maintain() is False
        else:
            # As after a crash: another process opens the file without a clean shutdown.
            abandoned.append(database)
            database = SQLite(path)
    await check(database, there, gone)
    for old in [*abandoned, database]:
        await old.close()


async def test_a_large_tail_takes_several_steps(database: SQLite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waypost.storage.sqlite.LATE_STEP", 10)
    await database.transact(add, [event(number) for number in range(1, 36)])
    steps = 1
    while await database.maintain():
        steps += 1
        await check(database, set(range(1, 36)), set())
    assert steps == 4
    await check(database, set(range(1, 36)), set())


async def test_an_event_that_was_rolled_back_is_not_known(database: SQLite) -> None:
    async def fail(tx: Tx) -> None:
        await add(tx, [event(1)])
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        await database.transact(fail)
    await check(database, set(), {1})
