"""Deliveries of one subject go out in order, on both databases."""

import asyncio
import json
import random
import re
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.storage.conftest import Store
from tests.storage.test_recorder import BIG, Parts, add_workspace
from waypost.clock import Ids, first_id, now_us
from waypost.domain.events.event import Event
from waypost.domain.webhooks.delivery import AttemptOutcome
from waypost.domain.webhooks.ledger import Balance, disagreements
from waypost.engine.accounts.retention import Retention
from waypost.engine.net.request import Response
from waypost.engine.runtime.unit import Unit
from waypost.engine.webhooks import deliveries as by_hand
from waypost.engine.webhooks.claims import _claim
from waypost.engine.webhooks.lane import Attempt
from waypost.engine.webhooks.ordering import BLOCKED, STEP, StrandedSearch, release_ended
from waypost.engine.webhooks.replays import advance_replays
from waypost.engine.webhooks.retention import give_up_deleted, prune_webhooks
from waypost.storage.database import Database, Row, Tx, load_queries
from waypost.storage.postgres import Postgres

ENDPOINT = 7
STATUSES = ("PENDING_TO_SEND", "SENDING", "DELIVERED")
ANSWERS = {AttemptOutcome.DELIVERED: 200, AttemptOutcome.FAILED: 500, AttemptOutcome.REJECTED: 400}


class Post(Parts):
    """A recorder of statuses of texts, with an ordered endpoint. Deliveries are claimed and settled as a test says."""

    async def open(self) -> None:
        async def work(tx: Tx) -> None:
            await add_workspace(tx)
            await tx.run(
                "endpoints.add", id=ENDPOINT, workspace_id=1, url="http://a", description="",
                event_types='["text.status"]', filter=None, headers=self.encryption.encrypt("{}"), rate_limit=None,
                concurrency=10, timeout_ms=5000, format="standard", signature="v1", owner_email=None,
                secrets=self.encryption.encrypt("[]"), ordered=1, connection_id=None, user_id=None,
                user_name=None, now=1,
            )  # fmt: skip
            await tx.run("configurations.touch", area="webhooks", workspace_id=1)

        await self.database.transact(work)

    async def emit(self, tx: Tx, unit: Unit, *names: str) -> list[int]:
        """Record events by their message ids, such as `msg_1:SENDING`, in a transaction."""
        events = [Event(1, "text.status", None, now_us(), name, b'{"a":1}') for name in names]
        unit.emit(events)
        await self.recorder._react(tx, unit)
        return [event.id for event in events]

    async def report(self, *names: str) -> list[int]:
        """Record events in a transaction of their own."""

        async def work(tx: Tx, unit: Unit) -> list[str]:
            events = [Event(1, "text.status", None, now_us(), name, b'{"a":1}') for name in names]
            unit.emit(events)
            found.extend(events)
            return []

        found: list[Event] = []
        await self.recorder.perform(work)
        return [event.id for event in found[-len(names) :]]

    async def claim(self, n: int = 100, now: int = BLOCKED - 1) -> list[int]:
        """Claim what is due, or will be; return the events in order."""

        async def work(tx: Tx) -> list[int]:
            rows = await tx.rows("deliveries.claim", endpoint_id=ENDPOINT, node=self.ids.node, now=now, n=n)
            return sorted(row[0] for row in rows)

        return await self.database.transact(work)

    async def end(self, outcome: AttemptOutcome, *events: int, tries: int = 1) -> None:
        """Settle deliveries that were claimed."""
        await self.settle([attempt(event, outcome, tries) for event in events])

    async def rows(self) -> dict[int, dict[str, Any]]:
        """The deliveries by event."""

        async def work(tx: Tx) -> list[dict[str, Any]]:
            return await tx.records("deliveries.list", endpoint_id=ENDPOINT, before=BIG, n=10_000)

        return {row["event_id"]: row for row in await self.database.read(work)}

    async def waits(self) -> dict[int, int | None]:
        """What each pending delivery waits for."""
        return {id_: row["waits_for"] for id_, row in (await self.rows()).items() if row["state"] == "pending"}

    async def check(self) -> None:
        """Fail when the ledger does not agree with the deliveries."""

        async def work(tx: Tx) -> tuple[list[Row], list[Row]]:
            return await tx.rows("counts.by_endpoint"), await tx.rows("deliveries.counts")

        counts, rows = await self.database.read(work)
        counted = {endpoint: Balance(*map(int, numbers)) for _, endpoint, *numbers in counts}
        assert disagreements(counted, [(row[0], row[1], row[2]) for row in rows], {}) == []


def attempt(event: int, outcome: AttemptOutcome, tries: int = 1) -> Attempt:
    now = now_us()
    response = Response(ANSWERS[outcome], [], b"", None, 1)
    return Attempt(ENDPOINT, 1, event, tries, tries, now, now, outcome, response, None, 1, ordered=True)


@pytest.fixture
async def post(database: Database) -> AsyncIterator[Post]:
    made = Post(database)
    await made.open()
    yield made
    await made.outbound.stop()


async def test_each_status_waits_for_the_one_before_it(post: Post):
    one, other, two = await post.report("a:1", "b:1", "a:2")
    (three,) = await post.report("a:3")
    assert await post.waits() == {one: None, other: None, two: one, three: two}
    assert {row["due_at"] for id_, row in (await post.rows()).items() if id_ in (two, three)} == {BLOCKED}
    assert await post.claim() == [one, other]
    assert await post.claim() == []
    await post.end(AttemptOutcome.DELIVERED, one, other)
    assert await post.claim() == [two]
    # It fails, and is still in front of the next one.
    await post.end(AttemptOutcome.FAILED, two)
    assert await post.claim() == [two]
    await post.end(AttemptOutcome.REJECTED, two)
    assert (await post.rows())[two]["reason"] == "rejected"
    assert await post.claim() == [three]
    await post.end(AttemptOutcome.DELIVERED, three)
    assert await post.waits() == {}
    await post.check()


async def test_a_rejected_delivery_is_told_and_does_not_count_against_the_endpoint(post: Post):
    (one,) = await post.report("a:1")
    await post.claim()
    await post.end(AttemptOutcome.REJECTED, one)

    async def work(tx: Tx) -> dict[str, Any]:
        return (await tx.records("endpoints.by_ids", ids=[ENDPOINT]))[0]

    endpoint = await post.database.read(work)
    assert endpoint["last_error"].startswith("status_400: ")
    assert (endpoint["failing_since"], endpoint["status"]) == (None, "enabled")


async def test_the_last_one_is_the_end_of_the_chain_and_not_the_largest_id(post: Post):
    """The clock of another process may be behind, and its ids smaller."""
    (first,) = await post.report("a:1")

    async def slow(tx: Tx) -> list[int]:
        unit = Unit(Ids(9), now_us() - 60_000_000)
        return await post.emit(tx, unit, "a:2")

    (second,) = await post.database.transact(slow)
    assert second < first
    (third,) = await post.report("a:3")
    assert await post.waits() == {first: None, second: first, third: second}


async def test_a_retry_by_a_user_of_a_waiting_delivery_hastens_the_first_one(post: Post):
    one, two = await post.report("a:1", "a:2")
    await post.claim()
    await post.end(AttemptOutcome.FAILED, one)
    now = now_us()
    assert (await post.rows())[one]["due_at"] > now
    await post.database.transact(by_hand.retry, 1, ENDPOINT, two, 1, now)
    assert await post.waits() == {one: None, two: one}
    assert await post.claim(now=now) == [one]


async def test_a_retry_by_a_user_of_a_dead_delivery_goes_in_front_of_later_ones(post: Post):
    one, two, three = await post.report("a:1", "a:2", "a:3")
    await post.claim()
    await post.end(AttemptOutcome.REJECTED, one)
    assert await post.waits() == {two: None, three: two}
    now = now_us()
    await post.database.transact(by_hand.retry, 1, ENDPOINT, one, 1, now)
    assert await post.waits() == {one: None, two: one, three: two}
    assert await post.claim() == [one]
    await post.end(AttemptOutcome.DELIVERED, one)
    # The next one is under way: it is not called back.
    assert await post.claim() == [two]
    await post.database.transact(by_hand.retry, 1, ENDPOINT, one, 1, now)
    assert await post.waits() == {one: two, two: None, three: one}
    await post.end(AttemptOutcome.DELIVERED, two)
    assert await post.claim() == [one]
    await post.check()


async def test_a_replay_keeps_the_order(post: Post):
    ids = await post.report("a:1", "a:2", "a:3", "b:1", "b:2")
    for _ in range(3):
        await post.end(AttemptOutcome.REJECTED, *await post.claim())
    assert await post.waits() == {}

    async def replay(tx: Tx) -> None:
        await tx.run(
            "replays.add", id=1, workspace_id=1, endpoint_id=ENDPOINT, since=0, until=now_us() + 10_000_000,
            states='["dead","missed"]', types="[]", cursor_id=0, now=now_us(),
        )  # fmt: skip
        # One of them is missed: it came while the endpoint was disabled.
        await tx.run("deliveries.delete", endpoint_id=ENDPOINT, ids=[ids[1]])
        await tx.insert("counts.add", [(ENDPOINT, 1, 1, -1, 0, 0, -1)])
        await advance_replays(tx, 1, now_us())

    await post.database.transact(replay)
    assert await post.waits() == dict(zip(ids, [None, ids[0], ids[1], None, ids[3]], strict=True))
    sent = []
    while some := await post.claim():
        sent += some
        await post.end(AttemptOutcome.DELIVERED, *some)
    assert sorted(sent) == sorted(ids)
    assert [id_ for id_ in sent if id_ in ids[:3]] == ids[:3]
    await post.check()


async def test_a_deleted_endpoint_leaves_nothing_waiting(post: Post):
    await post.report("a:1", "a:2")
    await post.database.transact(_delete_endpoint)
    assert await post.database.transact(give_up_deleted, 1, now_us()) == 2
    found = await post.rows()
    assert {row["state"] for row in found.values()} == {"dead"}
    assert {row["waits_for"] for row in found.values()} == {None}
    await post.check()


async def _delete_endpoint(tx: Tx) -> None:
    await tx.run("endpoints.delete", workspace_id=1, id=ENDPOINT, now=now_us())


async def test_what_waits_for_a_delivery_that_retention_deleted_is_released(post: Post, monkeypatch):
    monkeypatch.setattr("waypost.engine.webhooks.ordering.STEP", 2)

    async def old(tx: Tx) -> list[int]:
        unit = Unit(Ids(9), now_us() - 10 * 86_400_000_000)
        return await post.emit(tx, unit, "a:1", "b:1", "c:1", "d:1")

    before = await post.database.transact(old)
    after = await post.report("a:2", "b:2", "c:2", "d:2", "d:3")
    assert list((await post.waits()).values()).count(None) == 4
    await prune_webhooks(post.database, 1, now_us(), Retention(5, 5))
    assert await post.waits() == dict(zip(after, [*before, after[3]], strict=True))
    search = StrandedSearch(post.database)
    # It reads the waiting deliveries page by page, from the start again when it is at the end.
    assert [await search.release(now_us()) for _ in range(3)] == [2, 2, 0]
    assert await post.waits() == dict(zip(after, [None, None, None, None, after[3]], strict=True))
    assert await post.claim() == after[:4]
    assert STEP > 2
    await post.check()


async def test_a_delivery_whose_event_was_deleted_releases_the_next(post: Post):
    """The event of a due delivery is gone: the claim ends the delivery, and the next one is due."""
    one, two = await post.report("a:1", "a:2")
    await post.database.transact(_delete_event, one)
    endpoint = await post.endpoints.find(1, ENDPOINT)
    assert endpoint is not None
    found = await post.database.transact(_claim, [(endpoint, 10)], post.ids.node, now_us())
    assert found == {ENDPOINT: []}
    assert await post.waits() == {two: None}
    assert await post.claim() == [two]
    await post.check()


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("of_subjects", "deliveries_by_subject"),
        ("hasten_subject", "deliveries_by_subject"),
        ("release_waiting", "deliveries_waiting"),
        ("stretch_waiting", "deliveries_waiting"),
        ("stranded", "deliveries_waiting"),
    ],
)
async def test_a_chain_is_found_by_its_index_whatever_the_endpoint_has(store: Store, query: str, index: str):
    """Also without statistics, as in a new database: the index of an endpoint leads through all its deliveries."""
    statement = str(load_queries(store.dialect)[f"deliveries.{query}"])
    values = {"subjects": "[[7,1]]", "rows": "[[7,1]]"}
    statement = re.sub(
        r"(?<!:):([a-z_]+)", lambda name: f"'{values[name[1]]}'" if name[1] in values else "1", statement
    )

    async def explain(tx: Tx) -> str:
        connection = tx._connection  # type: ignore[attr-defined]
        if store.dialect == "sqlite":
            return "\n".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}"))
        return "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {statement}"))

    plan = await store.open().transact(explain)
    assert index in plan


async def _delete_event(tx: Tx, id_: int) -> None:
    await tx.run("events.delete", ids=[id_])


@pytest.mark.parametrize("seed", range(6))
async def test_any_interleaving_keeps_the_order_and_loses_none(store: Store, seed: int):
    """Two processes record, claim, settle and release in a random order; one is evicted, users retry."""
    dice = random.Random(seed)
    posts = [Post(store.open(), node) for node in (1, 2)]
    await posts[0].open()
    told: dict[str, list[int]] = defaultdict(list)
    name_of: dict[int, str] = {}
    ended: dict[str, list[int]] = defaultdict(list)
    held: dict[int, list[int]] = {1: [], 2: []}
    tries: dict[int, int] = defaultdict(int)

    async def record(post: Post) -> None:
        names = [f"t{dice.randrange(12)}" for _ in range(dice.randrange(1, 6))]
        ids = await post.report(*(f"{name}:{len(told[name])}-{n}-{dice.random()}" for n, name in enumerate(names)))
        for id_, name in zip(ids, names, strict=True):
            told[name].append(id_)
            name_of[id_] = name

    async def claim(post: Post, n: int = 0) -> None:
        some = await post.claim(n or dice.randrange(1, 8))
        held[post.ids.node] += some
        busy = [name_of[id_] for ids in held.values() for id_ in ids]
        assert len(busy) == len(set(busy)), "two deliveries of one subject are under way"

    async def settle(post: Post, outcomes: list[AttemptOutcome]) -> None:
        mine = held[post.ids.node]
        dice.shuffle(mine)
        some = [mine.pop() for _ in range(min(len(mine), dice.randrange(1, 6)))]
        made = []
        for id_ in some:
            tries[id_] += 1
            made.append(attempt(id_, dice.choice(outcomes), tries[id_]))
            if made[-1].outcome is not AttemptOutcome.FAILED or tries[id_] > 10:
                ended[name_of[id_]].append(id_)
        await post.settle(made)

    async def evict(post: Post) -> None:
        held[post.ids.node].clear()
        await post.database.transact(_release_all, post.ids.node)

    everything = list(AttemptOutcome)
    everything.remove(AttemptOutcome.GONE)
    for _ in range(150):
        post = dice.choice(posts)
        action = dice.choices(("record", "claim", "settle", "evict"), (3, 5, 5, 0.3))[0]
        if action == "record":
            await record(post)
        elif action == "claim":
            await claim(post)
        elif action == "settle":
            await settle(post, everything)
        else:
            await evict(post)
    while held[1] or held[2] or await posts[0].waits():
        for post in posts:
            await claim(post, 50)
            while held[post.ids.node]:
                await settle(post, [AttemptOutcome.DELIVERED])
    assert ended == told
    await posts[0].check()
    for post in posts:
        await post.outbound.stop()


async def _release_all(tx: Tx, node: int) -> None:
    await tx.run("deliveries.release_all", nodes=[node])


# SQLite has one writer: nothing happens at the same time.


@pytest.mark.postgres
async def test_a_status_recorded_while_the_one_before_it_is_settled_is_released(postgres_url: str):
    one, other = Post(Postgres(postgres_url), 1), Post(Postgres(postgres_url), 2)
    await one.open()
    (first,) = await one.report("a:1")
    await one.claim()
    settled, go_on = asyncio.Event(), asyncio.Event()

    async def settle_slowly(tx: Tx) -> None:
        unit = Unit(one.ids, now_us())
        await one.webhooks.record(tx, {Attempt: [attempt(first, AttemptOutcome.DELIVERED)]}, unit)
        await unit.counters.write(tx)
        settled.set()
        await go_on.wait()

    settling = asyncio.create_task(one.database.transact(settle_slowly))
    await settled.wait()
    # The recorder does not wait for it: a transaction that did could wait for one that waits for itself.
    (second,) = await asyncio.wait_for(other.report("a:2"), 5)
    assert await one.waits() == {first: None, second: first}
    assert other.webhooks.unsure == {(ENDPOINT, first)}
    checking = asyncio.create_task(other.database.transact(release_ended, (ENDPOINT, first), now_us()))
    go_on.set()
    await settling
    assert await checking
    assert await other.claim() == [second]
    # Nobody else changes it now: whoever settles it finds what waits for it, and nothing is unsure.
    other.webhooks.unsure.clear()
    (third,) = await one.report("a:3")
    assert not one.webhooks.unsure
    await other.end(AttemptOutcome.DELIVERED, second)
    assert await one.waits() == {third: None}
    for post in (one, other):
        await post.outbound.stop()
        await post.database.close()


@pytest.mark.postgres
async def test_whoever_settles_waits_until_what_waits_for_it_is_recorded(postgres_url: str):
    one, other = Post(Postgres(postgres_url), 1), Post(Postgres(postgres_url), 2)
    await one.open()
    (first,) = await one.report("a:1")
    await one.claim()
    recorded, go_on = asyncio.Event(), asyncio.Event()

    async def record_slowly(tx: Tx) -> list[int]:
        found = await other.emit(tx, Unit(other.ids, now_us()), "a:2")
        recorded.set()
        await go_on.wait()
        return found

    recording = asyncio.create_task(other.database.transact(record_slowly))
    await recorded.wait()
    settling = asyncio.create_task(one.end(AttemptOutcome.DELIVERED, first))
    done, _ = await asyncio.wait([settling], timeout=0.2)
    assert not done
    go_on.set()
    (second,) = await recording
    await settling
    assert await one.waits() == {second: None}
    for post in (one, other):
        await post.outbound.stop()
        await post.database.close()


def test_a_blocked_delivery_is_never_due():
    assert now_us() * 2 < BLOCKED
    assert json.loads(json.dumps(BLOCKED)) == BLOCKED < BIG
    assert first_id(now_us()) < BIG
