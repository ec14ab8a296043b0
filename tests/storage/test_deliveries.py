"""Claims, releases, results and the ledger, on both databases."""

import asyncio
import json
import random
from typing import Any

import pytest

from tests.storage.conftest import Store
from waypost.errors import Conflict
from waypost.storage.database import Database, Row, Tx
from waypost.storage.postgres import Postgres

BIG = (1 << 63) - 1
ENDPOINT = 7


async def owe(tx: Tx, *deliveries: tuple[int, int, int | None]) -> None:
    """Pending deliveries: event, due time, holding node."""
    rows = [(ENDPOINT, event, "pending", 0, 0, due, node, None, None) for event, due, node in deliveries]
    await tx.insert("deliveries.insert", rows)


async def claim(tx: Tx, node: int, n: int = 100, now: int = 1000) -> list[int]:
    return [row[0] for row in await tx.rows("deliveries.claim", endpoint_id=ENDPOINT, node=node, now=now, n=n)]


async def settle(tx: Tx, node: int, *rows: tuple[int, str, int | None, str | None]) -> int:
    """Results: event, state, due time, reason."""
    return await tx.run("deliveries.settle", rows=json.dumps([(ENDPOINT, *row) for row in rows]), node=node, now=2000)


async def held(tx: Tx, node: int, *events: int) -> list[int]:
    found = await tx.row("deliveries.held", rows=json.dumps([(ENDPOINT, event) for event in events]), node=node)
    assert found is not None
    return sorted(event for _, event in json.loads(found[0]))


async def all_of(tx: Tx) -> dict[int, Row]:
    """Event → state, tries, attempts, due_at, reason, settled_at."""
    rows = await tx.rows("deliveries.list", endpoint_id=ENDPOINT, before=BIG, n=10_000)
    return {row[1]: row[2:8] for row in rows}


async def test_what_was_delivered_is_settled_where_this_process_holds_it(database: Database):
    async def work(tx: Tx) -> None:
        await owe(tx, (1, 500, 1), (2, 300, 1), (3, 300, 2), (4, 300, None), (5, 100, 1), (6, 100, 1))
        assert await settle(tx, 1, (5, "dead", None, "gone")) == 1
        pairs = json.dumps([(ENDPOINT, event) for event in (1, 2, 3, 4, 5, 7)] + [(ENDPOINT + 1, 6)])
        assert await tx.run("deliveries.settle_delivered", rows=pairs, node=1, now=2000) == 2
        assert await tx.run("deliveries.settle_delivered", rows=pairs, node=1, now=3000) == 0
        found = await all_of(tx)
        assert found[1] == found[2] == ("delivered", 1, 1, None, None, 2000)
        assert found[5] == ("dead", 1, 1, None, "gone", 2000)
        assert [found[event][0] for event in (3, 4, 6)] == ["pending"] * 3
        assert await held(tx, 1, 1, 2, 6) == [6]

    await database.transact(work)


async def test_the_longest_due_is_claimed_first_and_nothing_before_its_time(database: Database):
    async def work(tx: Tx) -> None:
        await owe(tx, (1, 500, None), (2, 300, None), (3, 300, None), (4, 1001, None), (5, 100, 9))
        assert sorted(await claim(tx, 1, n=2)) == [2, 3]
        assert await claim(tx, 1) == [1]
        assert await claim(tx, 1) == []
        assert await claim(tx, 1, now=1001) == [4]
        assert await held(tx, 1, 1, 2, 3, 4, 5, 6) == [1, 2, 3, 4]

    await database.transact(work)


async def test_a_claim_gives_back_the_tries_so_far_and_takes_only_its_endpoint(database: Database):
    async def work(tx: Tx) -> None:
        rows = [
            (ENDPOINT, 1, "pending", 2, 5, 1, None, None, None),
            (ENDPOINT + 1, 1, "pending", 0, 0, 1, None, None, None),
            (ENDPOINT, 2, "dead", 11, 11, None, None, "exhausted", 5),
        ]
        await tx.insert("deliveries.insert", rows)
        claimed = await tx.rows("deliveries.claim", endpoint_id=ENDPOINT, node=1, now=1000, n=10)
        assert claimed == [(1, 2, 5)]

    await database.transact(work)


async def test_claimers_at_once_never_get_the_same(store: Store):
    one, other = store.open(), store.open()
    await one.transact(owe, *((event, event % 10, None) for event in range(1, 501)))

    async def take_all(database: Database, node: int) -> list[int]:
        taken: list[int] = []
        while some := await database.transact(claim, node, 7):
            assert len(some) <= 7
            taken += some
        return taken

    mine, theirs, ours = await asyncio.gather(take_all(one, 1), take_all(other, 2), take_all(one, 3))
    assert sorted(mine + theirs + ours) == list(range(1, 501))


@pytest.mark.postgres
async def test_a_claimer_skips_what_another_is_claiming(postgres_url: str):
    database = Postgres(postgres_url)
    await database.transact(owe, *((event, event, None) for event in range(1, 11)))
    claimed, go_on = asyncio.Event(), asyncio.Event()

    async def claim_and_wait(tx: Tx) -> list[int]:
        taken = await claim(tx, 1, n=4)
        claimed.set()
        await go_on.wait()
        return taken

    first = asyncio.create_task(database.transact(claim_and_wait))
    await claimed.wait()
    # The first transaction has not committed: this one neither waits for it nor claims the same rows.
    assert sorted(await database.transact(claim, 2, 4)) == [5, 6, 7, 8]
    go_on.set()
    assert sorted(await first) == [1, 2, 3, 4]
    await database.close()


async def test_only_what_the_node_holds_is_settled(database: Database):
    async def work(tx: Tx) -> None:
        await owe(tx, (1, 5, 1), (2, 5, 1), (3, 5, 2), (4, 5, None), (5, 5, 1))
        done = [(event, "delivered", None, None) for event in (1, 3, 4, 6)]
        assert await settle(tx, 1, *done, (2, "pending", 900, None), (5, "dead", None, "gone")) == 3
        assert await all_of(tx) == {
            1: ("delivered", 1, 1, None, None, 2000),
            2: ("pending", 1, 1, 900, None, 2000),
            3: ("pending", 0, 0, 5, None, None),
            4: ("pending", 0, 0, 5, None, None),
            5: ("dead", 1, 1, None, "gone", 2000),
        }
        assert await settle(tx, 1, (1, "dead", None, "exhausted")) == 0
        assert await held(tx, 1, 1, 2, 3, 4, 5) == []
        assert sorted(await claim(tx, 2)) == [2, 4]
        assert await held(tx, 2, 1, 2, 3, 4, 5) == [2, 3, 4]

    await database.transact(work)


async def test_settling_nothing_changes_nothing(database: Database):
    async def work(tx: Tx) -> None:
        await owe(tx, (1, 5, 1))
        assert await settle(tx, 1) == 0
        assert await held(tx, 1) == []

    await database.transact(work)


async def test_a_release_gives_back_only_what_the_node_holds(database: Database):
    async def work(tx: Tx) -> None:
        await owe(tx, (1, 5, 1), (2, 5, 2), (3, 5, 1))
        rows = json.dumps([(ENDPOINT, 1), (ENDPOINT, 2), (ENDPOINT, 99)])
        assert await tx.run("deliveries.release", rows=rows, node=1) == 1
        assert await claim(tx, 3) == [1]
        assert await held(tx, 1, 1, 2, 3) == [3]

    await database.transact(work)


async def test_what_dead_nodes_held_is_taken_over_and_nothing_else(database: Database):
    async def work(tx: Tx) -> None:
        await owe(tx, (1, 5, 1), (2, 5, 2), (3, 5, 3), (4, 5, 1))
        await settle(tx, 1, (4, "delivered", None, None))
        assert await tx.run("deliveries.release_all", nodes=[1, 3]) == 2
        assert sorted(await claim(tx, 9)) == [1, 3]
        assert await held(tx, 2, 2) == [2]
        assert await tx.run("deliveries.release_others") == 3

    await database.transact(work)


async def test_a_delivery_exists_once(database: Database):
    async def work(tx: Tx) -> None:
        await owe(tx, (1, 5, None))

    await database.transact(work)
    with pytest.raises(Conflict):
        await database.transact(work)


async def test_requeue_starts_over_and_keeps_the_attempts(database: Database):
    async def work(tx: Tx) -> None:
        await owe(tx, (1, 5, 1), (2, 5, 1), (3, 5, 1))
        await settle(tx, 1, (1, "dead", None, "exhausted"), (2, "delivered", None, None))
        assert await tx.run("deliveries.requeue", endpoint_id=ENDPOINT, ids=[1, 2, 3, 4], due_at=70) == 2
        assert await all_of(tx) == {
            1: ("pending", 0, 1, 70, None, None),
            2: ("pending", 0, 1, 70, None, None),
            3: ("pending", 0, 0, 5, None, None),
        }
        assert sorted(await tx.rows("deliveries.states", endpoint_id=ENDPOINT, ids=[1, 9])) == [(1, "pending")]

    await database.transact(work)


async def test_giving_up_goes_step_by_step(database: Database):
    async def work(tx: Tx) -> None:
        await owe(tx, *((event, 5, event % 2 or None) for event in range(1, 8)))
        values: dict[str, Any] = {"endpoint_id": ENDPOINT, "reason": "endpoint_deleted", "now": 9, "n": 5}
        assert [await tx.run("deliveries.give_up", **values) for _ in range(3)] == [5, 2, 0]
        assert set((await all_of(tx)).values()) == {("dead", 0, 0, None, "endpoint_deleted", 9)}

    await database.transact(work)


async def test_counts_add_up_over_transactions_and_rows_of_one(database: Database):
    async def add(tx: Tx, *rows: tuple[int, ...]) -> None:
        await tx.insert("counts.add", rows)

    await database.transact(add, (1, 0, 5, 3, 0, 3, 0), (2, 0, 5, 1, 0, 1, 0), (3, 1, 6, 9, 9, 0, 0))
    await database.transact(add, (1, 0, 5, 0, 2, -3, 1), (1, 1, 5, 10, 0, 10, 0))

    async def look(tx: Tx) -> tuple[list[Row], list[Row], list[Row]]:
        return (
            await tx.rows("counts.of_workspace_by_endpoint", workspace_id=5),
            await tx.rows("counts.of_endpoints", workspace_id=5, ids=[1, 3]),
            await tx.rows("counts.by_endpoint"),
        )

    mine, some, every = await database.read(look)
    assert mine == [(1, 13, 2, 10, 1), (2, 1, 0, 1, 0)]
    assert some == [(1, 13, 2, 10, 1)]
    assert every == [(5, 1, 13, 2, 10, 1), (5, 2, 1, 0, 1, 0), (6, 3, 9, 9, 0, 0)]
    assert all(type(value) is int for row in [*mine, *some, *every] for value in row)
    assert await database.read(lambda tx: tx.row("deliveries.count_dead", endpoint_id=1)) == (1, 10)


async def test_merged_profiles_are_followed_and_their_identifiers_moved(database: Database):
    async def work(tx: Tx) -> None:
        rows = [(1, None), (2, None), (3, 2), (4, 3)]
        await tx.insert("profiles.insert", [(id_, 1, into, "{}", 0, 0) for id_, into in rows])
        await tx.insert(
            "identities.insert", [(1, "user_id", "u1", 1, 5), (1, "email", "e2", 2, 5), (1, "anonymous_id", "a2", 2, 6)]
        )
        # Profile 2 is merged into profile 1.
        await tx.insert("profiles.update", [(2, 1, 1, "{}", 0, 1)])
        assert await tx.run("profiles.follow", ids=[2]) == 1
        assert await tx.run("identities.move", ids=[2]) == 2
        assert await tx.rows("profiles.merged_into_many", ids=[1]) == [(1, 2), (1, 3)]
        assert await tx.rows("identities.of_many", ids=[1, 2]) == [
            (1, "anonymous_id", "a2"),
            (1, "email", "e2"),
            (1, "user_id", "u1"),
        ]
        loaded = sorted(await tx.rows("profiles.load", ids=[1, 2]))
        assert [(row[0], row[4], bool(row[5])) for row in loaded] == [(1, None, True), (2, 1, False)]

    await database.transact(work)


async def test_identities_are_found_by_their_whole_key(database: Database):
    async def work(tx: Tx) -> Any:
        strange = 'a"b\\c é🚀 \x7f'
        await tx.insert("identities.insert", [(1, "user_id", strange, 10, 5), (2, "user_id", strange, 20, 5)])
        wanted = [(1, "user_id", strange), (1, "email", strange), (2, "user_id", "other")]
        found = await tx.row("identities.find", wanted=json.dumps(wanted))
        assert found is not None
        return json.loads(found[0])

    assert await database.transact(work) == [[1, "user_id", 'a"b\\c é🚀 \x7f', 10, 5]]


LISTS: dict[str, dict[str, Any]] = {
    "events.list": {"workspace_id": 1, "since": 0},
    "events.of_profile": {"profile_id": 3},
    "deliveries.list_dead": {"endpoint_id": ENDPOINT},
    "attempts.list": {"endpoint_id": ENDPOINT},
    "profiles.list": {"workspace_id": 1},
}


@pytest.mark.parametrize("query", LISTS)
async def test_lists_are_walked_by_key_without_gap_or_repeat(database: Database, query: str):
    async def write(tx: Tx) -> None:
        await tx.insert("events.insert", [(n, 1, n, f"m{n}", "event.x", 3, n, "{}") for n in range(1, 24)])
        await tx.insert("events.insert", [(99, 2, 99, "m", "event.x", 4, 1, "{}")])
        rows = [(ENDPOINT, n, "dead", 1, 1, None, None, "gone", 1) for n in range(1, 24)]
        await tx.insert("deliveries.insert", [*rows, (ENDPOINT, 99, "pending", 0, 0, 5, None, None, None)])
        await tx.insert("attempts.insert", [(ENDPOINT, n, n, 1, n, 1, 200, "[]", b"", None) for n in range(1, 24)])
        await tx.insert("profiles.insert", [(n, 1, None, "{}", 0, 0) for n in range(1, 24)])
        await tx.insert("profiles.insert", [(99, 1, 3, "{}", 0, 0), (98, 2, None, "{}", 0, 0)])

    await database.transact(write)
    position = 1 if query.startswith(("deliveries", "attempts")) else 0
    seen: list[int] = []
    before = BIG
    while page := await database.read(lambda tx, at: tx.rows(query, **LISTS[query], before=at, n=10), before):
        seen += [row[position] for row in page]
        before = seen[-1]
    assert seen == list(range(23, 0, -1))


@pytest.mark.parametrize("indexed", [False, True])
async def test_events_of_a_merged_person_are_walked_in_order(database: Database, indexed: bool):
    chance = random.Random(7)
    owners = {n: chance.choice([1, 2, 2, 2, 3, 4, 9]) for n in range(1, 200)}

    async def write(tx: Tx) -> None:
        merged = {1: None, 2: 1, 3: 1, 4: 1, 5: 1, 9: None}
        await tx.insert("profiles.insert", [(id_, 1, into, "{}", 0, 0) for id_, into in merged.items()])
        rows = [(n, 1, n, f"m{n}", "event.x", owner, n, "{}") for n, owner in owners.items()]
        await tx.insert("events.insert", rows[:149] if indexed else rows)

    async def write_more(tx: Tx) -> None:
        await tx.insert("events.insert", [(n, 1, n, f"m{n}", "event.x", owners[n], n, "{}") for n in range(150, 200)])

    await database.transact(write)
    if indexed:
        assert not await database.maintain()
        # On SQLite, these are not in the table of keys again.
        await database.transact(write_more)
    wanted = [n for n in sorted(owners, reverse=True) if owners[n] != 9]
    for size in (1, 2, 3, 7, 1000):
        seen: list[int] = []
        before = BIG
        while page := await database.read(
            lambda tx, at, n: tx.rows("events.of_profile", profile_id=1, before=at, n=n), before, size
        ):
            assert len(page) <= size
            seen += [row[0] for row in page]
            before = seen[-1]
        assert seen == wanted


async def test_pending_is_listed_in_the_order_it_is_tried(database: Database):
    await database.transact(owe, *((event, event % 4, None) for event in range(1, 24)))
    seen: list[tuple[int, int]] = []
    due_at, event_id = 0, 0
    while True:
        values = {"endpoint_id": ENDPOINT, "due_at": due_at, "event_id": event_id, "n": 5}
        page = await database.read(lambda tx, given: tx.rows("deliveries.list_pending", **given), values)
        if not page:
            break
        seen += [(row[5], row[1]) for row in page]
        due_at, event_id = seen[-1]
    assert seen == sorted((event % 4, event) for event in range(1, 24))


async def test_endpoints_with_something_due(database: Database):
    async def work(tx: Tx) -> list[Row]:
        for id_ in (ENDPOINT, ENDPOINT + 1, ENDPOINT + 2):
            await tx.run(
                "endpoints.add", id=id_, workspace_id=1, url="http://a", description="", event_types="[]", filter=None,
                headers="", rate_limit=1.5, concurrency=1, timeout_ms=1, format="standard", signature="v1",
                owner_email=None, secrets="", ordered=0, connection_id=None, user_id=None, user_name=None, now=1,
            )  # fmt: skip
        await tx.run("endpoints.disable", workspace_id=1, id=ENDPOINT + 2, reason="gone", now=2)
        await tx.insert("counts.add", [(id_, 0, 1, 3, 0, 3, 0) for id_ in (ENDPOINT, ENDPOINT + 2)])
        await tx.insert("counts.add", [(ENDPOINT + 1, 0, 1, 3, 3, 0, 0)])
        await owe(tx, (1, 30, None), (2, 20, None), (3, 10, 4))
        return await tx.rows("endpoints.due")

    assert await database.transact(work) == [(ENDPOINT, 1, 20)]
