"""Subscriptions on both stores: set in bulk, the latest counts, every change once in the history."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.storage.conftest import Store
from tests.storage.test_migrations import empty
from waypost.clock import SECOND, Ids, now_us
from waypost.domain.audience.subscriptions import SubscriptionChange, SubscriptionState
from waypost.engine.audience.subscriptions import ChangeResult, load_states, load_subscriptions, set_subscriptions
from waypost.engine.runtime.journal import Journal
from waypost.engine.runtime.recorder import Recorder
from waypost.engine.runtime.unit import Unit
from waypost.storage import postgres as postgres_store
from waypost.storage import sqlite as sqlite_store
from waypost.storage.database import Database, Row, Tx, load_migrations

ON, OFF = SubscriptionState.SUBSCRIBED, SubscriptionState.UNSUBSCRIBED
FIRST, OTHER = "+12025550101", "+12025550102"


def change(state: SubscriptionState, at: int | None, address: str = FIRST, **more: Any) -> SubscriptionChange:
    values: dict[str, Any] = {"workspace_id": 1, "channel": "sms", "source": "form"} | more
    return SubscriptionChange(address=address, state=state, changed_at=at, **values)


class Register:
    """A recorder over a database, and what is known there."""

    def __init__(self, database: Database, node: int = 1) -> None:
        self.database = database
        self.recorder = Recorder(database, Journal(100), Ids(node), [])

    async def set(self, *changes: SubscriptionChange) -> list[ChangeResult]:
        async def work(tx: Tx, unit: Unit) -> list[ChangeResult]:
            return await set_subscriptions(tx, list(changes), unit)

        return await self.recorder.perform(work)

    async def known(self, address: str = FIRST) -> tuple[str, str, int] | None:
        key = (1, "sms", address)
        found = (await self.database.read(load_subscriptions, [key])).get(key)
        return (found.state.value, found.source, found.changed_at) if found else None

    async def history(self, address: str = FIRST) -> list[tuple[str, int, int]]:
        """State, time and whether it counted, the latest first."""

        async def work(tx: Tx) -> list[Row]:
            return await tx.rows(
                "subscription_history.list",
                workspace_id=1,
                channel="sms",
                address=address,
                changed_at=(1 << 63) - 1,
                change_key=0,
                n=1000,
            )

        return [(row[2], row[4], row[6]) for row in await self.database.read(work)]

    async def events(self) -> list[dict[str, Any]]:
        async def work(tx: Tx) -> list[Row]:
            return await tx.rows("events.list", workspace_id=1, before=1 << 62, since=0, n=1000)

        rows = list(reversed(await self.database.read(work)))
        assert {row[2] for row in rows} <= {"subscription.changed"}
        return [json.loads(row[5]) | {"profile_id": row[3]} for row in rows]


class Counted:
    """A transaction that notes the names of its queries."""

    def __init__(self, tx: Tx, asked: list[str]) -> None:
        self._tx = tx
        self._asked = asked

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._tx, name)

        def call(query: str, *given: Any, **values: Any) -> Any:
            self._asked.append(query)
            return method(query, *given, **values)

        return call


@pytest.fixture
async def register(database: Database) -> Register:
    return Register(database)


async def test_the_latest_statement_counts_within_and_across_batches(register: Register):
    now = now_us()
    results = await register.set(
        change(ON, now - 3), change(OFF, now - 1), change(ON, now - 2), change(OFF, now - 9, OTHER)
    )
    assert [result.effective for result in results] == [True, True, False, True]
    assert [result.subscription.state for result in results] == [ON, OFF, OFF, OFF]
    assert await register.known() == ("unsubscribed", "form", now - 1)
    (late,) = await register.set(change(ON, now - 4))
    assert (late.effective, late.subscription.changed_at) == (False, now - 1)
    (tie,) = await register.set(change(ON, now - 1))
    assert not tie.effective
    (again,) = await register.set(change(ON, now, source="api"))
    assert again.effective
    assert await register.known() == ("subscribed", "api", now)
    assert sorted(await register.history()) == [
        ("subscribed", now - 4, 0),
        ("subscribed", now - 3, 1),
        ("subscribed", now - 2, 0),
        ("subscribed", now - 1, 0),
        ("subscribed", now, 1),
        ("unsubscribed", now - 1, 1),
    ]


async def test_a_repeat_adds_no_history_and_a_new_proof_does(register: Register):
    now = now_us()
    said = change(ON, now, proof='{"ip":"192.0.2.1"}', cause="msg_1")
    for batch in ([said, said], [said], [change(OFF, now - 1), said]):
        await register.set(*batch)
    assert await register.history() == [("subscribed", now, 1), ("unsubscribed", now - 1, 0)]
    await register.set(change(ON, now, proof='{"ip":"192.0.2.2"}'))
    assert len(await register.history()) == 3
    assert len(await register.events()) == 1


async def test_the_history_has_the_proof_and_the_cause(register: Register):
    await register.set(change(OFF, 7, source="keyword", proof='{"keyword":"STOP"}', cause="con_1:i-1"))

    async def work(tx: Tx) -> list[dict[str, Any]]:
        place = {"workspace_id": 1, "channel": "sms", "address": FIRST}
        return await tx.records("subscription_history.list", **place, changed_at=8, change_key=0, n=1)

    (line,) = await register.database.read(work)
    assert (line["source"], line["proof"], line["cause"]) == ("keyword", '{"keyword":"STOP"}', "con_1:i-1")
    assert line["recorded_at"] > 7


async def test_an_event_tells_of_a_new_state_and_of_nothing_else(register: Register):
    now = now_us()

    async def person(tx: Tx) -> None:
        await tx.insert("identities.insert", [(1, "phone", FIRST, 77, now), (2, "phone", OTHER, 78, now)])

    await register.database.transact(person)
    await register.set(change(ON, now - 5), change(ON, now - 4), change(OFF, now - 3), change(ON, now - 6))
    await register.set(change(OFF, now - 2), change(OFF, now - 2, OTHER))
    told = [(e["address"], e["state"], e["before"], e["profile_id"]) for e in await register.events()]
    assert told == [
        (FIRST, "subscribed", None, 77),
        (FIRST, "unsubscribed", "subscribed", 77),
        (OTHER, "unsubscribed", None, None),
    ]


async def test_states_are_loaded_for_many_with_one_query(register: Register):
    now = now_us()
    keys = [f"+1202{2_000_000 + n}" for n in range(1000)]
    await register.set(*(change(ON if n % 2 else OFF, now, key) for n, key in enumerate(keys)))
    wanted = [(1, "sms", key) for key in keys] + [(2, "sms", keys[0]), (1, "email", keys[0]), (1, "sms", FIRST)]
    asked: list[str] = []

    async def work(tx: Tx) -> dict[Any, SubscriptionState]:
        counted: Any = Counted(tx, asked)
        return await load_states(counted, wanted)

    found = await register.database.read(work)
    assert found == {(1, "sms", key): ON if n % 2 else OFF for n, key in enumerate(keys)}
    assert asked == ["subscriptions.states"]
    assert await register.database.read(load_states, []) == {}


async def test_many_changes_take_one_statement_of_a_kind(register: Register):
    now, asked = now_us(), list[str]()

    async def work(tx: Tx, unit: Unit) -> None:
        counted: Any = Counted(tx, asked)
        changes = [change(ON, now, f"+1202{2_000_000 + n}") for n in range(3000)]
        await set_subscriptions(counted, [*changes, change(OFF, now)], unit)

    await register.set(change(ON, now - 1))
    await register.recorder.perform(work)
    assert sorted(asked) == [
        "identities.find",
        "subscription_history.add",
        "subscriptions.insert",
        "subscriptions.lock",
        "subscriptions.update",
    ]
    assert await register.known() == ("unsubscribed", "form", now)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    said=st.lists(st.tuples(st.integers(-2, 0), st.sampled_from(SubscriptionState)), min_size=1, max_size=5),
    data=st.data(),
)
async def test_any_order_and_any_batches_lead_to_the_same(register: Register, said: Any, data: Any):
    base, ends, histories = now_us() - SECOND, [], []
    for _ in range(2):
        address = f"+1202{register.recorder._ids.one(now_us()) % 10_000_000:07}"
        left = [change(state, base + at, address) for at, state in data.draw(st.permutations(said))]
        while left:
            size = data.draw(st.integers(1, len(left)))
            await register.set(*left[:size])
            left = left[size:]
        ends.append(await register.known(address))
        histories.append({(state, at) for state, at, _ in await register.history(address)})
    assert ends[0] == ends[1]
    assert histories[0] == histories[1] == {(state.value, base + at) for at, state in said}


async def test_processes_that_set_the_same_addresses_at_once_leave_one_history(store: Store):
    """On SQLite one writer after the other; on PostgreSQL transactions that meet at new and at known rows."""
    first, second = Register(store.open()), Register(store.open(), 2)
    now = now_us()
    addresses = [f"+1202{2_000_000 + n}" for n in range(40)]
    rounds = [
        [change(OFF if (n + turn) % 2 else ON, now - 10 + turn, address) for n, address in enumerate(addresses)]
        for turn in range(10)
    ]

    async def all_of(register: Register, batches: Sequence[list[SubscriptionChange]]) -> None:
        for batch in batches:
            await register.set(*batch)

    # One goes forward, the other backward, and both meet the same changes.
    await asyncio.gather(
        all_of(first, rounds), all_of(second, [batch[::-1] for batch in reversed(rounds)]), all_of(first, rounds[5:])
    )
    for n, address in enumerate(addresses):
        assert await first.known(address) == (("unsubscribed" if (n + 9) % 2 else "subscribed"), "form", now - 1)
        history = await first.history(address)
        assert [at for _, at, _ in history] == [now - 10 + turn for turn in reversed(range(10))]
        assert history[0][2] == 1
    told: dict[str, list[dict[str, Any]]] = {address: [] for address in addresses}
    for event in await first.events():
        told[event["address"]].append(event)
    # Each address changed from nothing to one state once, and from then on only from one state to the other.
    for events in told.values():
        assert [event["before"] for event in events].count(None) == 1
        assert all(event["before"] != event["state"] for event in events)
        on = sum(event["state"] == "subscribed" for event in events)
        assert abs(len(events) - 2 * on) <= 1


async def test_consents_of_earlier_versions_become_subscriptions(place: Store, monkeypatch: pytest.MonkeyPatch):
    database = place.open()
    await database.transact(empty)
    every = load_migrations(database.dialect)
    earlier = [pair for pair in every if pair[0] < "0020"]
    for module in (sqlite_store, postgres_store):
        monkeypatch.setattr(module, "load_migrations", lambda dialect: earlier)
    await database.migrate()

    async def consents(tx: Tx) -> None:
        insert = (
            "INSERT INTO consents VALUES (1, 'sms', '+12025550101', 'opted_in', 'web form', 1790000000000000),"
            " (1, 'email', 'ada@example.com', 'opted_out', 'provider', 1790000000000001)"
        )
        done = tx._connection.execute(insert)  # type: ignore[attr-defined]
        if place.dialect == "postgres":
            await done

    await database.transact(consents)
    for module in (sqlite_store, postgres_store):
        monkeypatch.setattr(module, "load_migrations", lambda dialect: every)
    assert "0020_subscriptions" in await database.migrate()
    keys = [(1, "sms", FIRST), (1, "email", "ada@example.com")]
    found = await database.read(load_subscriptions, keys)
    said = [(found[key].state.value, found[key].source, found[key].changed_at, found[key].proof) for key in keys]
    assert said == [
        ("subscribed", "web form", 1790000000000000, "{}"),
        ("unsubscribed", "provider", 1790000000000001, "{}"),
    ]
    assert await Register(database).history() == [("subscribed", 1790000000000000, 1)]
    await place.close()
