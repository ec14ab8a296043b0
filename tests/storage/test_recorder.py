"""The recorder on both databases: once, in any order, and with several processes."""

import asyncio
import itertools
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from waypost.clock import Ids, now_us
from waypost.domain.audience.profiles import current
from waypost.domain.events.event import Event
from waypost.domain.events.segment import Entry, SegmentMessage, message_key, read_entry
from waypost.domain.values.egress_guard import parse_networks
from waypost.domain.webhooks.delivery import AttemptOutcome
from waypost.engine.audience.area import AudienceArea
from waypost.engine.events.area import EventArea
from waypost.engine.net.outbound import Outbound
from waypost.engine.net.request import Response
from waypost.engine.runtime.encryption import Encryption
from waypost.engine.runtime.journal import Batch, Journal
from waypost.engine.runtime.recorder import ROUNDS, Recorder
from waypost.engine.runtime.unit import Unit
from waypost.engine.webhooks import claims
from waypost.engine.webhooks.area import WebhookArea
from waypost.engine.webhooks.attempts import Released
from waypost.engine.webhooks.dispatcher import Dispatcher
from waypost.engine.webhooks.endpoint_snapshot import EndpointRegistry
from waypost.engine.webhooks.lane import Attempt
from waypost.storage.database import Database, Row, Tx
from waypost.storage.postgres import Postgres

BIG = (1 << 63) - 1
START = 1_700_000_000_000_000
SECOND = 1_000_000
HOUR = 3600 * SECOND


class Parts:
    """A recorder with its areas. Nothing is sent: deliveries stay in the database."""

    def __init__(self, database: Database, node: int = 1) -> None:
        self.database = database
        self.ids = Ids(node)
        self.encryption = Encryption([b"k" * 32])
        self.outbound = Outbound(parse_networks(""))
        self.journal = Journal(100_000)
        self.dispatcher = Dispatcher(
            self.outbound, report=self.journal.report, release=self._release, max_in_flight=10, first_pause=1.0
        )
        self.dispatcher.drain()
        self.endpoints = EndpointRegistry(database, self.encryption, self.dispatcher.configure)
        self.webhooks = WebhookArea(self.dispatcher, self.endpoints, retry_base=80.0, wake_at=lambda due_at: None)
        self.recorder = Recorder(database, self.journal, self.ids, [AudienceArea(), EventArea(), self.webhooks])

    def retry_base(self, seconds: float) -> None:
        self.webhooks._retry_base = seconds

    def _release(self, deliveries: list[tuple[int, int]]) -> None:
        self.journal.report(Released(deliveries), linger=False)

    async def send(self, entries: list[Entry]) -> None:
        """Record entries as one batch."""
        accepted = self.journal.append(entries)
        await self.recorder.record(await self.journal.next_batch())
        await accepted

    async def settle(self, attempts: list[Attempt], released: list[tuple[int, int]] | None = None) -> None:
        """Record the results of deliveries."""
        await self.recorder.record(Batch([], [*attempts, *([Released(released)] if released else [])]))


@pytest.fixture
async def make_parts() -> AsyncIterator[Callable[..., Parts]]:
    """Creates recorders on databases, each with its own node."""
    made: list[Parts] = []

    def make(database: Database) -> Parts:
        made.append(Parts(database, len(made) + 1))
        return made[-1]

    yield make
    for parts in made:
        await parts.outbound.stop()


@pytest.fixture
async def parts(database: Database, make_parts: Callable[..., Parts]) -> Parts:
    """A recorder on a fresh database."""
    return make_parts(database)


def entry(message_id: str, at: int = 0, workspace_id: int = 1, **fields: Any) -> Entry:
    """Return an entry as the edge appends it, `at` seconds after the start."""
    values: dict[str, Any] = {"type": "track", "message_id": message_id, **fields}
    if values["type"] == "track":
        values.setdefault("event", "Order Shipped")
    for name in ("traits", "context"):
        if name in values:
            values[name] = msgspec.Raw(json.dumps(values[name]).encode())
    message = SegmentMessage(**values, timestamp=(START + at * SECOND) / 1_000_000)
    return read_entry(message, None, workspace_id, START + 3600 * SECOND, "none")


async def people(tx: Tx, workspace_id: int) -> dict[frozenset[tuple[str, str]], tuple[str, tuple[str, ...]]]:
    """Return all people of a workspace: identifiers → traits and their messages."""
    found = {}
    for id_, _, traits, *_ in await tx.rows("profiles.list", workspace_id=workspace_id, before=BIG, n=1000):
        identities = frozenset((row[1], row[2]) for row in await tx.rows("identities.of_many", ids=[id_]))
        messages = [row[1] for row in await tx.rows("events.of_profile", profile_id=id_, before=BIG, n=1000)]
        said = {name: tuple(value) for name, value in json.loads(traits).items()}
        assert identities not in found, "two profiles with the same identifiers"
        found[identities] = (json.dumps(current(said), sort_keys=True), tuple(sorted(messages)))
    return found


async def messages_of(tx: Tx, workspace_id: int = 1) -> Counter[str]:
    rows = await tx.rows("events.list", workspace_id=workspace_id, before=BIG, since=0, n=100_000)
    return Counter(row[1] for row in rows)


async def owed(tx: Tx) -> list[Row]:
    """Return the ledger of the first workspace: endpoint, accepted, delivered, pending, dead."""
    return await tx.rows("counts.of_workspace_by_endpoint", workspace_id=1)


async def add_workspace(tx: Tx, id_: int = 1) -> None:
    await tx.run("workspaces.add", id=id_, name="test", now=START)


async def add_endpoint(
    tx: Tx, encryption: Encryption, id_: int, workspace_id: int = 1, event_types: str = '["*"]'
) -> None:
    await tx.run(
        "endpoints.add",
        id=id_,
        workspace_id=workspace_id,
        url="http://127.0.0.1:9/",
        description="",
        event_types=event_types,
        filter=None,
        headers=encryption.encrypt("{}"),
        rate_limit=None,
        concurrency=10,
        timeout_ms=5000,
        format="standard",
        signature="hmac",
        owner_email="owner@example.com",
        secrets=encryption.encrypt('[{"text": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}]'),
        ordered=0,
        connection_id=None,
        user_id=None,
        user_name=None,
        now=START,
    )


async def test_a_message_takes_effect_once_in_a_batch_and_across_batches(parts: Parts):
    await parts.database.transact(add_workspace)
    await parts.database.transact(add_endpoint, parts.encryption, 7)
    first = entry("m1", 1, type="identify", user_id="u1", traits={"plan": "free"})
    other = entry("m2", 2, user_id="u1")
    changed = entry("m1", 9, type="identify", user_id="u9", traits={"plan": "gold"})
    await parts.send([first, other, entry("m1", 3, user_id="u1"), changed])
    await parts.send([other, changed])
    await parts.send([changed])
    assert await parts.database.read(messages_of) == {"m1": 1, "m2": 1}
    everybody = await parts.database.read(people, 1)
    assert everybody == {frozenset({("user_id", "u1")}): ('{"plan": "free"}', ("m1", "m2"))}
    assert await parts.database.read(owed) == [(7, 2, 0, 2, 0)]
    assert (parts.recorder.events, parts.recorder.repeats) == (2, 5)


async def test_the_same_message_id_in_two_workspaces_is_two_messages(parts: Parts):
    await parts.send([entry("m1", user_id="u1"), entry("m1", user_id="u1", workspace_id=2)])
    assert await parts.database.read(messages_of, 1) == {"m1": 1}
    assert await parts.database.read(messages_of, 2) == {"m1": 1}


async def test_messages_that_share_a_key_by_chance_are_both_kept(parts: Parts):
    one, other = entry("m1", user_id="u1"), entry("m2", user_id="u1")
    other.message_key = one.message_key
    await parts.send([one])
    await parts.send([other])
    assert await parts.database.read(messages_of) == {"m1": 1, "m2": 1}


async def test_merging_keeps_history(parts: Parts):
    history = [
        entry("m1", 1, anonymous_id="a1"),
        entry("m2", 2, anonymous_id="a2"),
        entry("m3", 3, type="identify", user_id="u1", anonymous_id="a1", traits={"email": "One@Example.com"}),
        entry("m4", 4, type="alias", user_id="u1", previous_id="a2"),
        entry("m5", 5, type="identify", user_id="u2", traits={"city": "Pune"}),
        entry("m6", 6, type="alias", user_id="u2", previous_id="u1"),
        entry("m7", 7, anonymous_id="a2"),
    ]
    for one in history:
        await parts.send([one])
    everybody = await parts.database.read(people, 1)
    assert list(everybody.values()) == [
        ('{"city": "Pune", "email": "One@Example.com"}', tuple(f"m{n}" for n in range(1, 8)))
    ]
    wanted = {("user_id", "u1"), ("user_id", "u2"), ("anonymous_id", "a1"), ("anonymous_id", "a2")}
    assert wanted < set(next(iter(everybody)))


PERSONS = ("x", "y")


@st.composite
def messages(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Return messages about two people, each with an old userId, devices and an address; they share nothing."""
    found: list[dict[str, Any]] = []
    for number in range(draw(st.integers(2, 9))):
        person = draw(st.sampled_from(PERSONS))
        device = f"{person}-device-{draw(st.integers(1, 3))}"
        user = f"{person}-{draw(st.sampled_from(['new', 'old']))}"
        fields: dict[str, Any] = draw(
            st.sampled_from(
                [
                    {"anonymous_id": device},
                    {"user_id": user},
                    {"user_id": user, "anonymous_id": device},
                    {"type": "identify", "user_id": user, "traits": {"n": number, user: number}},
                    {"type": "identify", "anonymous_id": device, "traits": {"n": number, device: number}},
                    {"type": "identify", "anonymous_id": device, "traits": {"email": f"{person}@example.com"}},
                    {"type": "identify", "user_id": user, "anonymous_id": device, "traits": {"a": [number]}},
                    {"type": "alias", "user_id": f"{person}-new", "previous_id": device},
                ]
            )
        )
        found.append({"message_id": f"m{number}", "at": draw(st.integers(0, 5)), **fields})
    for person in PERSONS:
        fields = {"type": "alias", "user_id": f"{person}-new", "previous_id": f"{person}-old"}
        found.append({"message_id": f"alias-{person}", "at": 9, **fields})
    return found


_workspaces = itertools.count(100)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=messages(), seed=st.integers(0, 1000))
async def test_any_order_gives_the_same_people(parts: Parts, messages: list[dict[str, Any]], seed: int):
    """In one batch, one by one in reverse, and shuffled in pieces."""
    chance = random.Random(seed)
    shuffled = chance.sample(messages, len(messages))
    cut = chance.randint(1, len(messages) - 1)
    ways = [[messages], [[one] for one in reversed(messages)], [shuffled[:cut], shuffled[cut:]]]
    results = []
    for batches in ways:
        workspace_id = next(_workspaces)
        for batch in batches:
            await parts.send([entry(workspace_id=workspace_id, **fields) for fields in batch])
        results.append(await parts.database.read(people, workspace_id))
    assert results[0] == results[1] == results[2]
    assert sum(len(told) for _, told in results[0].values()) == len(messages)


def crowd(count: int, seed: int) -> list[Entry]:
    """Return messages about few people with many merges, each message once."""
    chance = random.Random(seed)
    found = []
    for number in range(count):
        person = chance.randrange(6)
        device = f"p{person}-d{chance.randrange(4)}"
        fields: dict[str, Any] = chance.choice(
            [
                {"anonymous_id": device},
                {"user_id": f"p{person}"},
                {"type": "identify", "user_id": f"p{person}", "anonymous_id": device, "traits": {"n": number}},
                {"type": "identify", "anonymous_id": device, "traits": {device: number}},
                {"type": "identify", "user_id": f"p{person}", "traits": {"email": f"p{person}@example.com"}},
                {"type": "alias", "user_id": f"p{person}", "previous_id": device},
            ]
        )
        found.append(entry(f"m{number}", number, **fields))
    return found


def batches_of(entries: list[Entry], size: int) -> Iterable[list[Entry]]:
    return (entries[start : start + size] for start in range(0, len(entries), size))


@pytest.mark.postgres
@pytest.mark.parametrize("seed", range(3))
async def test_recorders_at_once_record_each_message_once(
    postgres_url: str, make_parts: Callable[..., Parts], seed: int, caplog: pytest.LogCaptureFixture
):
    databases = [Postgres(postgres_url) for _ in range(3)]
    entries = crowd(150, seed)
    await databases[0].transact(add_workspace)
    for id_ in (7, 8):
        await databases[0].transact(add_endpoint, Encryption([b"k" * 32]), id_)

    async def send_all(parts: Parts, number: int) -> None:
        mine = random.Random(number).sample(entries, len(entries))
        for batch in batches_of(mine, 10):
            await parts.send(batch)

    recorders = [make_parts(database) for database in databases]
    await asyncio.gather(*(send_all(parts, number) for number, parts in enumerate(recorders)))

    assert await databases[0].read(messages_of) == {f"m{number}": 1 for number in range(150)}
    assert sum(parts.recorder.events for parts in recorders) == 150
    assert await databases[0].read(owed) == [(7, 150, 0, 150, 0), (8, 150, 0, 150, 0)]
    # One recorder alone, in the order of the messages, resolves the same people.
    for batch in batches_of(entries, 10):
        await recorders[0].send([in_workspace(one, 2) for one in batch])
    together = await databases[0].read(people, 1)
    alone = await databases[0].read(people, 2)
    assert together == alone
    assert not [record for record in caplog.records if "could not be recorded" in record.getMessage()]
    for database in databases:
        await database.close()


def in_workspace(one: Entry, workspace_id: int) -> Entry:
    return msgspec.structs.replace(
        one, workspace_id=workspace_id, message_key=message_key(workspace_id, one.message_id)
    )


def attempt(endpoint_id: int, event_id: int, tries: int, attempts: int, outcome: AttemptOutcome) -> Attempt:
    return Attempt(
        endpoint_id=endpoint_id,
        workspace_id=1,
        event_id=event_id,
        number=attempts + 1,
        # Made with an earlier version of the endpoint, so that it disables nothing and events continue.
        version=0,
        tries=tries + 1,
        started_at=START,
        ended_at=START + 900,
        outcome=outcome,
        response=Response(200, [("a", "b")], b"\x00\xff", None, 900),
        retry_after=None,
    )


async def test_a_failed_attempt_says_why_and_all_endpoints_are_noted_at_once(parts: Parts):
    database, endpoints = parts.database, range(7, 12)
    await database.transact(add_workspace)
    for id_ in endpoints:
        await database.transact(add_endpoint, parts.encryption, id_)
    await parts.send([entry("m1", user_id="u1")])
    (event_id,) = {row[1] for row in await database.read(lambda tx: tx.rows("deliveries.list", **PAGE))}
    answers = [(500, None), (None, "timeout: nothing came"), (410, None), (302, None), (200, None)]
    attempts = []
    for id_, (status, error) in zip(endpoints, answers, strict=True):
        await database.transact(claim, id_, 1, 10)
        outcome = (
            AttemptOutcome.DELIVERED
            if status == 200
            else AttemptOutcome.GONE
            if status == 410
            else AttemptOutcome.FAILED
        )
        one = attempt(id_, event_id, 0, 0, outcome)
        attempts.append(msgspec.structs.replace(one, response=Response(status, [], b"", error, 900)))
    queries: list[str] = []

    async def watch(tx: Tx) -> None:
        # The transaction of the recorder, with its statements by name.
        rows = tx.rows

        async def noted(query: str, **values: Any) -> list[Row]:
            queries.append(query)
            return await rows(query, **values)

        tx.rows = noted  # type: ignore[method-assign]
        await parts.recorder._apply(tx, Batch([], attempts), START, False)

    await database.transact(watch)
    assert queries.count("endpoints.failed") == 1
    found = []
    for id_ in endpoints:
        rows = await database.read(_attempts, id_)
        found.append(rows[0][-1])
    assert found == ["status_500", "timeout: nothing came", "status_410", "status_302", None]
    records = await database.read(lambda tx: tx.records("endpoints.by_ids", ids=list(endpoints)))
    told = {record["id"]: (record["last_error"] or "")[:10] for record in records}
    assert told == {7: "status_500", 8: "timeout: n", 9: "status_410", 10: "status_302", 11: ""}


async def _attempts(tx: Tx, endpoint_id: int) -> list[Row]:
    return await tx.rows("attempts.list", endpoint_id=endpoint_id, before=BIG, n=9)


PAGE = {"endpoint_id": 7, "before": BIG, "n": 10}


async def claim(tx: Tx, endpoint_id: int, node: int, n: int) -> list[tuple[int, int, int]]:
    rows = await tx.rows("deliveries.claim", endpoint_id=endpoint_id, node=node, now=1 << 60, n=n)
    return [(row[0], row[1], row[2]) for row in rows]


async def ledger(tx: Tx) -> tuple[dict[int, dict[str, int]], dict[int, dict[str, int]]]:
    """Return the ledger, and the counts of the deliveries."""
    kept, raw = {}, {}
    for _, endpoint_id, accepted, delivered, pending, dead in await tx.rows("counts.by_endpoint"):
        assert accepted == delivered + pending + dead
        kept[endpoint_id] = {"delivered": delivered, "pending": pending, "dead": dead}
        raw[endpoint_id] = {"delivered": 0, "pending": 0, "dead": 0}
    for endpoint_id, state, count in await tx.rows("deliveries.counts"):
        raw[endpoint_id][state] = count
    return kept, raw


@pytest.mark.parametrize("seed", range(3))
async def test_the_ledger_is_what_the_deliveries_say(parts: Parts, seed: int):
    chance = random.Random(seed)
    await parts.database.transact(add_workspace)
    for id_, types in ((7, '["*"]'), (8, '["event.*"]'), (9, '["profile.identified"]')):
        await parts.database.transact(add_endpoint, parts.encryption, id_, 1, types)
    entries = crowd(200, seed)
    reported: list[Attempt] = []
    for batch in batches_of(entries, 20):
        await parts.send(batch)
        for endpoint_id in (7, 8, 9):
            taken = await parts.database.transact(claim, endpoint_id, parts.ids.node, chance.randrange(25))
            back = [(endpoint_id, event_id) for event_id, _, _ in taken[:2]]
            done = [
                attempt(
                    endpoint_id, event_id, chance.choice([tries, 10]), attempts, chance.choice(list(AttemptOutcome))
                )
                for event_id, tries, attempts in taken[2:]
            ]
            # Some are reported twice, as after a crash between the commit and its response.
            again = chance.sample(reported, min(2, len(reported)))
            await parts.settle([*done, *again], back)
            reported += done
        kept, raw = await parts.database.read(ledger)
        assert kept == raw
    assert sum(raw[7].values()) == 200
    assert all(sum(states[state] for states in raw.values()) for state in ("delivered", "pending", "dead"))


async def test_a_batch_of_known_people_takes_few_round_trips(parts: Parts):
    """A query costs a round trip on PostgreSQL: this many for a batch of any size, besides BEGIN and COMMIT."""
    asked: list[str] = []

    class Counting:
        dialect = "any"

        def __init__(self, tx: Tx) -> None:
            self._tx = tx

        def __getattr__(self, name: str) -> Callable[..., Any]:
            def call(query: str, *rows: Any, **values: Any) -> Any:
                if name != "insert" or rows[0]:
                    asked.append(query)
                return getattr(self._tx, name)(query, *rows, **values)

            return call

    async def count(tx: Tx, batch: Batch) -> None:
        recorded = await parts.recorder._apply(Counting(tx), batch, now_us(), False)
        assert recorded.recorded == 200

    await parts.database.transact(add_workspace)
    await parts.database.transact(add_endpoint, parts.encryption, 7)
    for round_ in range(2):
        entries = [entry(f"{round_}-{n}", user_id=f"u{n}") for n in range(200)]
        await parts.send(entries)
    batch = [entry(f"last-{n}", user_id=f"u{n}") for n in range(200)]
    await parts.database.transact(count, Batch([(batch, asyncio.get_running_loop().create_future())]))
    assert asked == [
        "events.known",
        "identities.find",
        "events.insert",
        "configurations.versions",
        "deliveries.insert",
        "counts.add",
    ]


INTERRUPTIONS = {
    # The profile is merged into another one.
    "merged": entry("m4", 3, type="alias", user_id="u1", previous_id="a2"),
    # Another person used the device later than m5.
    "taken": entry("m4", 9, user_id="u3", anonymous_id="a1"),
}


@pytest.mark.postgres
@pytest.mark.parametrize("kind", INTERRUPTIONS)
async def test_people_changed_between_a_look_and_their_lock_are_looked_up_again(
    postgres_url: str, make_parts: Callable[..., Parts], kind: str
):
    first, second = Postgres(postgres_url), Postgres(postgres_url)
    mine, theirs = make_parts(first), make_parts(second)
    before = [entry("m1", 1, user_id="u1", anonymous_id="a1"), entry("m2", 2, anonymous_id="a2")]
    before.append(entry("m3", 3, user_id="u3"))
    last = entry(
        "m5", 5, type="identify", user_id="u2", anonymous_id="a1" if kind == "taken" else "a2", traits={"n": 1}
    )
    await mine.send(before)
    apply = mine.recorder._apply
    rounds = 0

    class Interrupted:
        def __init__(self, tx: Tx) -> None:
            self._tx = tx

        def __getattr__(self, name: str) -> Any:
            return getattr(self._tx, name)

        async def rows(self, query: str, **values: Any) -> list[Row]:
            if query == "profiles.load" and rounds == 1:
                await theirs.send([INTERRUPTIONS[kind]])
            return await self._tx.rows(query, **values)

    async def apply_interrupted(tx: Tx, *rest: Any) -> Any:
        nonlocal rounds
        rounds += 1
        return await apply(Interrupted(tx), *rest)

    mine.recorder._apply = apply_interrupted  # type: ignore[method-assign, assignment]
    await mine.send([last])
    assert rounds == 2
    # As if they had arrived one after another.
    for one in (*before, INTERRUPTIONS[kind], last):
        await theirs.send([in_workspace(one, 2)])
    assert await first.read(people, 1) == await first.read(people, 2)
    await first.close()
    await second.close()


async def owe_events(parts: Parts, count: int) -> list[int]:
    """Record events with a delivery each to endpoint 7, held by this recorder; return their ids, oldest first."""
    await parts.database.transact(add_workspace)
    await parts.database.transact(add_endpoint, parts.encryption, 7)
    await parts.send([entry(f"m{number}", number, user_id="u") for number in range(count)])
    return sorted(id_ for id_, _, _ in await parts.database.transact(claim, 7, parts.ids.node, count))


def failed(event_id: int, ended_at: int, outcome: AttemptOutcome = AttemptOutcome.FAILED, version: int = 1) -> Attempt:
    answered = attempt(7, event_id, 0, 0, outcome)
    return msgspec.structs.replace(answered, ended_at=ended_at, version=version)


async def state_of(tx: Tx, id_: int = 7) -> tuple[str, str | None, int | None]:
    (record,) = await tx.records("endpoints.by_ids", ids=[id_])
    return record["status"], record["disabled_reason"], record["failing_since"]


async def test_an_endpoint_that_takes_nothing_for_a_whole_schedule_is_disabled(parts: Parts):
    # However few tries each delivery had: many are pending, and each waits for its turn.
    now = now_us()
    first, second, third = await owe_events(parts, 3)
    await parts.settle([failed(first, now - 23 * HOUR)])
    await parts.settle([failed(second, now - SECOND)])
    assert await parts.database.read(state_of) == ("enabled", None, now - 23 * HOUR)
    parts.retry_base(60.0)
    await parts.settle([failed(third, now)])
    assert (await parts.database.read(state_of))[:2] == ("disabled", "exhausted")
    notices = await parts.database.read(lambda tx: tx.rows("notices.list", workspace_id=1, before=BIG, n=10))
    assert len(notices) == 1


@pytest.mark.parametrize("together", [False, True])
async def test_a_success_begins_the_schedule_anew(parts: Parts, together: bool):
    now = now_us()
    first, second, third, fourth = await owe_events(parts, 4)
    await parts.settle([failed(first, now - 30 * HOUR)])
    taken = failed(second, now - 2 * SECOND, AttemptOutcome.DELIVERED)
    if together:
        await parts.settle([failed(third, now - SECOND), taken])
    else:
        await parts.settle([taken])
        await parts.settle([failed(third, now - SECOND)])
    assert (await parts.database.read(state_of))[0] == "enabled"
    await parts.settle([failed(fourth, now)])
    assert (await parts.database.read(state_of))[0] == "enabled"


async def test_retries_get_half_of_what_is_claimed(parts: Parts):
    ids = await owe_events(parts, 20)

    async def spread(tx: Tx) -> None:
        # The first ten are new and due longest; the others are retries and due now.
        await tx.run("deliveries.release", rows=json.dumps([(7, id_) for id_ in ids]), node=parts.ids.node)

    await parts.database.transact(spread)
    for id_ in ids[10:]:
        await parts.database.transact(retried, id_, now_us())
    await parts.endpoints.refresh([1])
    endpoint = await parts.endpoints.find(1, 7)
    assert endpoint is not None
    found = await parts.database.transact(claims._claim, [(endpoint, 6)], parts.ids.node, now_us())
    assert [task.event_id for task in found[7]] == [*ids[:3], *ids[10:13]]
    assert [task.tries for task in found[7]] == [0] * 3 + [3] * 3
    # A changed endpoint is left out: its owner may have corrected it.
    stale = msgspec.structs.replace(endpoint, version=0)
    assert await parts.database.transact(claims._claim, [(stale, 6)], parts.ids.node, now_us()) == {}


async def retried(tx: Tx, id_: int, due_at: int) -> None:
    await tx.run("deliveries.requeue", endpoint_id=7, ids=[id_], due_at=due_at)
    await tx.run("deliveries.hasten", endpoint_id=7, event_id=id_, now=due_at)
    for _ in range(3):
        await tx.rows("deliveries.claim", endpoint_id=7, node=99, now=1 << 60, n=1000)
        await tx.run("deliveries.settle", rows=json.dumps([(7, id_, "pending", due_at, None)]), node=99, now=due_at)
        await tx.run("deliveries.release_all", nodes=[99])


async def test_what_a_wrong_clock_put_off_is_brought_back(parts: Parts):
    now = now_us()
    base = 80 * SECOND
    ids = await owe_events(parts, 4)

    async def release(tx: Tx) -> None:
        await tx.run("deliveries.release", rows=json.dumps([(7, id_) for id_ in ids]), node=parts.ids.node)

    await parts.database.transact(release)
    # After three tries, the next is at most four times the base ahead, plus a Retry-After.
    right, wrong, far = now + 4 * base, now + 24 * HOUR + 4 * base, now + 9 * 24 * HOUR
    for id_, due_at in zip(ids[1:], (right, wrong, far), strict=True):
        await parts.database.transact(retried, id_, due_at)
    assert await parts.database.transact(claims.bring_back, 80.0, now) == 2
    rows = await parts.database.read(lambda tx: tx.records("deliveries.list", endpoint_id=7, before=BIG, n=10))
    due = {row["event_id"]: row["due_at"] for row in rows}
    assert [due[id_] for id_ in ids[1:]] == [right, now, now]
    assert await parts.database.transact(claims.bring_back, 80.0, now) == 0


class Echo:
    """An area that reacts to events with an event, this many times."""

    takes: frozenset[type] = frozenset()

    def __init__(self, times: int) -> None:
        self.times = times
        self.seen: list[list[str]] = []

    async def record(self, tx: Tx, items: dict[type, list[Any]], unit: Unit) -> None: ...

    async def react(self, tx: Tx, events: list[Event], unit: Unit) -> None:
        self.seen.append([event.message_id for event in events])
        for event in events:
            number = int(event.message_id.partition("-")[2] or 0) + 1
            if number <= self.times:
                unit.emit([Event(event.workspace_id, "echo.heard", None, event.occurred_at, f"echo-{number}", b"{}")])

    def committed(self, unit: Unit) -> None: ...

    def given_up(self, item: Any) -> None: ...

    async def orphan(self, tx: Tx, nodes: list[int] | None) -> None: ...


@pytest.mark.parametrize("times", [1, ROUNDS - 1, ROUNDS, ROUNDS + 3])
async def test_reactions_go_round_by_round_and_beyond_their_bound_in_later_transactions(parts: Parts, times: int):
    echo = Echo(times)
    parts.recorder._areas = [*parts.recorder._areas, echo]
    woken: list[bool] = []
    parts.recorder.wake_deferred = lambda: woken.append(True)
    await parts.database.transact(add_workspace)
    await parts.database.transact(add_endpoint, parts.encryption, 7)
    await parts.send([entry("m", user_id="u")])
    # Nothing reacts in this transaction to the events of the last round, but all are recorded.
    assert len(echo.seen) == min(times + 1, ROUNDS)
    assert bool(woken) == (times >= ROUNDS)
    while await parts.recorder.react_deferred():
        pass
    assert len(echo.seen) == times + 1
    assert sum((await parts.database.read(messages_of)).values()) == times + 1
    # Every event is delivered to the endpoint once, also those with deferred reactions.
    assert await parts.database.read(owed) == [(7, times + 1, 0, times + 1, 0)]
    assert await parts.recorder.react_deferred() == 0
