"""Every job of an engine, run by two nodes at once on its work: nothing is done twice, nothing is lost."""

import functools
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.engine.messaging.test_sending import number
from tests.engine.webhooks.test_replays import replay_of, start_replay
from tests.nodes import test_texts
from tests.nodes.conftest import Node, Pair, some_events, steps
from tests.storage.test_texts import ANN, request
from tests.waiting import eventually
from waypost.clock import DAY, HOUR, SECOND, Ids, first_id, now_us
from waypost.domain.audience.lists import MemberAction
from waypost.domain.messaging.message import Receipt, Status
from waypost.domain.texts.client import CheckLinks
from waypost.engine.audience.lists import create_list, move_members
from waypost.engine.messaging import matching
from waypost.engine.messaging.sending import Sender
from waypost.engine.messaging.transitions import MessagingNotes
from waypost.engine.providers import connection_records
from waypost.engine.runtime.recorder import DEFERRED
from waypost.engine.runtime.unit import Unit
from waypost.engine.texts.clients import open_client
from waypost.engine.webhooks import endpoints
from waypost.engine.webhooks.holdings import FORGOTTEN_S
from waypost.engine.webhooks.ordering import BLOCKED
from waypost.storage.database import Tx

pytestmark = pytest.mark.postgres

TESTS = Path(__file__).parents[1]
Case = Callable[[Pair], Awaitable[None]]
CASES: dict[str, Case] = {}
#: Jobs that other files run on two processes, and those files.
ELSEWHERE = {
    "campaigns": "nodes/test_campaigns.py",
    "hand-over": "nodes/test_campaigns.py",
    "held": "nodes/test_sending_rules.py",
    "imports": "storage/test_imports.py",
    "deletions": "storage/test_imports.py",
    "segments": "storage/test_segments.py",
    "live": "nodes/test_live.py",
    "mailboxes": "storage/test_bounce_mailboxes.py",
    "workspaces": "nodes/test_workspace_deletions.py",
}


def case(name: str) -> Callable[[Case], Case]:
    """Mark the job that a case is about."""

    def keep(function: Case) -> Case:
        CASES[name] = function
        return function

    return keep


async def test_every_job_has_a_case(still: Pair):
    assert {job.name for job in still.one.engine._jobs()} == CASES.keys() | ELSEWHERE.keys()
    assert all((TESTS / file).exists() for file in ELSEWHERE.values())


@pytest.mark.parametrize("name", ["heartbeat", "refresh", "maintain", "clock", "prune", "react", "notices", "claim",
                                  "replay", "look-back", "order", "rematch", "link-checks", "messages",
                                  "recover", "confirmations"])  # fmt: skip
async def test_two_nodes_run_a_job_at_once(still: Pair, name: str):
    await CASES[name](still)
    await still.check()


async def drained(pair: Pair) -> None:
    """Wait until nothing is in flight and all results are recorded."""
    for node in pair.nodes:
        await eventually(functools.partial(is_drained, node))


def is_drained(node: Node) -> bool:
    dispatcher, sender = node.engine.dispatcher, node.engine.sender
    idle = not dispatcher.in_flight and not dispatcher.holdings
    return idle and not sender.in_flight and not sender._lanes and not sender._held


async def history(pair: Pair) -> Counter[tuple[str, ...]]:
    """Return how many messages went through which statuses."""
    rows = [await pair.post.look(row["id"]) for row in await pair.post.all()]
    return Counter(tuple(steps(row["history"])) for row in rows)


def quiet(pair: Pair) -> None:
    """Stop both nodes from sending accepted messages by themselves."""
    for node in pair.nodes:
        node.engine.sender.follow = functools.partial(_only_record, node.engine.sender)  # type: ignore[method-assign]


def _only_record(sender: Sender, notes: MessagingNotes) -> None:
    sender.recorded(notes.results)


@case("heartbeat")
async def beat(pair: Pair) -> None:
    endpoint_id = await pair.endpoint("beat")
    await pair.connect()
    quiet(pair)
    await pair.post.send_many([number(n) for n in range(4)])
    numbers = [node.engine.ids.node for node in pair.nodes]
    dead = next(n for n in range(1, 4000) if n not in numbers)
    held = await pair.one.emit(40)
    await pair.one.sql("INSERT INTO nodes SELECT $1, 'dead', host, 1, started_at, seen_at FROM nodes LIMIT 1", dead)
    await pair.one.sql("UPDATE deliveries SET node = $1 WHERE event_id = ANY($2)", dead, held[:30])
    await pair.one.sql("UPDATE messages SET status = 'sending', due_at = NULL, node = $1, tries = 1", dead)
    await pair.one.unseen(dead)
    await pair.both("heartbeat", 4)
    assert [node.engine.ids.node for node in pair.nodes] == numbers
    assert sorted(row[0] for row in await pair.one.sql("SELECT id FROM nodes")) == sorted(numbers)
    assert [node.engine.dispatcher.share for node in pair.nodes] == [2, 2]
    assert [node.engine.sender.share for node in pair.nodes] == [2, 2]
    found = await pair.one.sql("SELECT node, count(*) FROM deliveries WHERE endpoint_id = $1 GROUP BY 1", endpoint_id)
    assert dict(found) == {None: 30, numbers[0]: 10}
    assert await pair.one.sql("SELECT DISTINCT node FROM messages") == [(0,)]
    # Restore the rows of the counts, for the check of every case.
    await pair.one.sql("UPDATE messages SET status = 'queued', due_at = status_at, node = NULL, tries = 0")


@case("refresh")
async def refresh(pair: Pair) -> None:
    one, other = (node.engine for node in pair.nodes)
    kept, gone = await pair.endpoint("kept"), await pair.endpoint("gone")
    connection_id = await pair.connect()
    await pair.one.change("endpoints.delete", workspace_id=1, id=gone, now=now_us())
    await pair.one.database.transact(
        connection_records.switch_connection, one.encryption, 1, connection_id, False, now_us()
    )
    await pair.both("refresh")
    for engine in (one, other):
        snapshot = engine.endpoints.snapshot(1)
        assert snapshot is not None
        assert set(snapshot.endpoints) == {kept}
        found = engine.connections.by_number(connection_id)
        assert found is not None
        assert found.status == "disabled"


@case("maintain")
async def maintain(pair: Pair) -> None:
    await pair.endpoint("maintained")
    await pair.one.emit(10)
    # PostgreSQL maintains itself: there is nothing to do on either node.
    await pair.both("maintain")
    assert await pair.one.database.maintain() is False


@case("clock")
async def clock(pair: Pair) -> None:
    endpoint_id = await pair.endpoint("clock")
    owed = await pair.one.owed(300)
    far, now = now_us() + 30 * DAY, now_us()
    near = now + int(0.5 * SECOND)
    await pair.one.sql("UPDATE deliveries SET due_at = $1, tries = 1 WHERE event_id = ANY($2)", far, owed[:200])
    await pair.one.sql("UPDATE deliveries SET due_at = $1, tries = 1 WHERE event_id = ANY($2)", near, owed[200:])
    await pair.both("clock")
    rows = await pair.one.deliveries(endpoint_id)
    assert len(rows) == 300
    assert all(row["due_at"] < now + HOUR and row["tries"] == 1 for row in rows)
    # Correctly scheduled retries stay unchanged.
    assert sum(row["due_at"] == near for row in rows) == 100


@case("prune")
async def prune(pair: Pair) -> None:
    endpoint_id = await pair.endpoint("pruned")
    await pair.connect()
    quiet(pair)
    old = await pair.one.emit(1200, at=now_us() - 200 * DAY)
    await pair.one.sql(
        "UPDATE deliveries SET state = 'delivered', due_at = NULL, node = NULL WHERE event_id = ANY($1)", old[:700]
    )
    await pair.one.sql(
        "UPDATE endpoint_counts SET delivered = delivered + 700, pending = pending - 700 WHERE endpoint_id = $1",
        endpoint_id,
    )
    fresh = await pair.one.owed(50)
    await pair.post.send_many([number(n) for n in range(20)])
    await pair.both("prune", 2)
    rows = await pair.one.deliveries(endpoint_id)
    assert sorted(row["event_id"] for row in rows) == fresh
    balance = await pair.one.balance(endpoint_id)
    # The ledger keeps its counts: expired deliveries are dead, and nothing is counted twice.
    assert (balance.accepted, balance.delivered, balance.pending, balance.dead) == (1250, 700, 50, 500)
    assert len(await pair.post.all()) == 20
    before = first_id(now_us() - 100 * DAY)
    assert await pair.one.sql("SELECT count(*) FROM events WHERE id < $1", before) == [(0,)]


@case("react")
async def react(pair: Pair) -> None:
    endpoint_id = await pair.endpoint("deferred")

    async def defer(tx: Tx, unit: Unit) -> None:
        unit.emit(some_events(DEFERRED * 3 + 7))
        await unit.defer_events(tx)

    await pair.one.engine.recorder.perform(defer)
    await pair.both("react", 5)
    assert await pair.one.sql("SELECT count(*) FROM deferred_events") == [(0,)]
    # The dispatchers hold some, the others wait to be claimed.
    await pair.both("claim", 20)
    await eventually(lambda: pair.one.settled(endpoint_id))
    await drained(pair)
    balance = await pair.one.balance(endpoint_id)
    assert (balance.accepted, balance.delivered) == (DEFERRED * 3 + 7, DEFERRED * 3 + 7)
    assert pair.outside.count("deferred") == pair.outside.distinct("deferred") == balance.accepted


@case("notices")
async def notices(pair: Pair) -> None:
    ids = pair.one.engine.ids
    rows = [
        (ids.one(now_us()), 1, "endpoint_disabled", 1, f"o{n}@example.com", "S", "B", "pending", 0, now_us(), None, 0)
        for n in range(30)
    ]

    async def add(tx: Tx) -> None:
        await tx.insert("notices.add", rows)

    await pair.one.database.transact(add)
    await pair.both("notices", 4)
    assert await pair.one.sql("SELECT DISTINCT state, tries FROM notices") == [("sent", 1)]
    assert Counter(sent["address"] for sent in pair.post.taken("smtp")) == {f"o{n}@example.com": 1 for n in range(30)}


@case("claim")
async def claim(pair: Pair) -> None:
    names = ["claim-a", "claim-b"]
    endpoint_ids = [await pair.endpoint(name) for name in names]
    await pair.one.owed(700)

    async def turn() -> bool:
        await pair.both("claim", 1)
        return all([await pair.one.settled(id_) for id_ in endpoint_ids])

    await eventually(turn)
    await drained(pair)
    for name, id_ in zip(names, endpoint_ids, strict=True):
        balance = await pair.one.balance(id_)
        assert (balance.accepted, balance.delivered) == (700, 700)
        assert pair.outside.count(name) == pair.outside.distinct(name) == 700
    attempts = await pair.one.sql("SELECT id & 4095, count(*) FROM attempts GROUP BY 1")
    # Both claimed some.
    assert len(attempts) == 2
    assert sum(count for _, count in attempts) == 1400


@case("replay")
async def replay(pair: Pair) -> None:
    endpoint_id, gone = await pair.endpoint("replayed"), await pair.endpoint("replay-gone")
    await pair.one.owed(700)
    await pair.one.sql("UPDATE deliveries SET state = 'dead', due_at = NULL WHERE endpoint_id = $1", endpoint_id)
    await pair.one.sql("UPDATE endpoint_counts SET dead = 700, pending = 0 WHERE endpoint_id = $1", endpoint_id)
    await pair.one.database.transact(endpoints.delete_webhook, 1, gone, now_us())
    replays = [await start_replay(pair.one, endpoint_id, ("dead",)) for _ in range(2)]
    await pair.both("replay", 12)
    found = [await replay_of(pair.one, id_) for id_ in replays]
    # Two replays of the same events queue each delivery once.
    assert {row["state"] for row in found} == {"done"}
    assert sum(row["queued"] for row in found) == 700
    balance = await pair.one.balance(endpoint_id)
    assert (balance.accepted, balance.pending, balance.dead) == (700, 700, 0)
    balance = await pair.one.balance(gone)
    assert (balance.accepted, balance.pending, balance.dead) == (700, 0, 700)


@case("look-back")
async def look_back(pair: Pair) -> None:
    endpoint_id = await pair.endpoint("forgotten")
    numbers = [node.engine.ids.node for node in pair.nodes]
    nobody = next(n for n in range(1, 4000) if n not in numbers)
    ids = await pair.one.emit(90)
    for holder, part in zip((*numbers, nobody), (ids[:30], ids[30:60], ids[60:]), strict=True):
        await pair.one.sql("UPDATE deliveries SET node = $1 WHERE event_id = ANY($2)", holder, part)
    # The dispatchers work on the first ten of each node, and do not know the others.
    for node, part in zip(pair.nodes, (ids[:10], ids[30:40]), strict=True):
        node.engine.dispatcher.holdings.take((endpoint_id, id_) for id_ in part)
        node.engine._look_back._clock = lambda: 0.0
    await pair.both("look-back", 2)
    assert await pair.one.sql("SELECT count(*) FROM deliveries WHERE node IS NULL") == [(0,)]
    for node in pair.nodes:
        node.engine._look_back._clock = lambda: FORGOTTEN_S
    await pair.both("look-back", 2)
    free = await pair.one.sql("SELECT event_id FROM deliveries WHERE node IS NULL ORDER BY 1")
    assert [row[0] for row in free] == [*ids[10:30], *ids[40:]]
    for node, part in zip(pair.nodes, (ids[:10], ids[30:40]), strict=True):
        node.engine.dispatcher.holdings.drop((endpoint_id, id_) for id_ in part)


@case("order")
async def order(pair: Pair) -> None:
    endpoint_id = await pair.endpoint("in-order", ordered=1)
    first = await pair.one.emit(20)
    # The first ten were being settled when others were recorded that wait for them; the others are pending still.
    await pair.one.sql(
        "INSERT INTO deliveries SELECT endpoint_id, -event_id, 'pending', 0, 0, $1, NULL, NULL, NULL, subject, "
        "event_id FROM deliveries", BLOCKED,
    )  # fmt: skip
    await pair.one.sql("UPDATE deliveries SET state = 'delivered', due_at = NULL WHERE event_id = ANY($1)", first[:10])
    for node in pair.nodes:
        node.engine.webhooks.unsure.update((endpoint_id, id_) for id_ in first)
    await pair.both("order")
    assert not pair.one.engine.webhooks.unsure
    free = await pair.one.sql("SELECT -event_id FROM deliveries WHERE event_id < 0 AND waits_for IS NULL ORDER BY 1")
    assert [row[0] for row in free] == first[:10]
    await pair.one.sql("DELETE FROM deliveries WHERE event_id < 0")
    await pair.one.sql("UPDATE endpoint_counts SET delivered = delivered + 10, pending = pending - 10")


@case("rematch")
async def rematch(pair: Pair) -> None:
    connection_id = await pair.connect()
    pair.post.fate(receipts=False)
    await pair.post.send_many([number(n) for n in range(60)])
    await pair.post.reached(sent=60)
    await drained(pair)
    ids = Ids(pair.one.engine.ids.node)
    old = now_us() - (matching.AGES[0] + 1) * SECOND
    receipts = [
        Receipt(
            workspace_id=1,
            connection_id=connection_id,
            occurred_at=now_us(),
            status=Status.DELIVERED,
            provider_message_id=row["provider_message_id"],
        )
        for row in await pair.post.all()
    ]

    async def add(tx: Tx) -> None:
        await tx.insert("unmatched.add", [matching.unmatched_row(ids, receipt, old) for receipt in receipts])

    await pair.one.database.transact(add)
    await pair.both("rematch", 4)
    assert await history(pair) == {("queued", "sending", "sent", "delivered"): 60}
    assert await pair.one.sql("SELECT count(*) FROM unmatched_receipts") == [(0,)]


@case("link-checks")
async def link_checks(pair: Pair) -> None:
    await pair.connect()
    pair.post.fate(receipts=False)
    await test_texts.subscribe(pair, ANN)
    record, _ = await test_texts.make_client(pair, check_links=CheckLinks.LATER)
    client = open_client(record)
    pages = {"good": f"http://127.0.0.1:{pair.outside.port}/healthz", "bad": f"http://127.0.0.1:{pair.outside.port}/no"}
    texts = [request(text=f"{kind} {n}", click_url=url) for kind, url in pages.items() for n in range(30)]
    await test_texts.alternately(pair, client, texts)
    await pair.both("link-checks", 4)

    async def checked() -> bool:
        return await pair.one.sql("SELECT count(*) FROM text_link_checks") == [(0,)]

    await eventually(checked)

    async def ended() -> bool:
        return set(await pair.one.sql("SELECT DISTINCT status FROM messages")) <= {("failed",), ("sent",)}

    await eventually(ended)
    # Each text was checked once, and then sent or given up once.
    assert await history(pair) == {
        ("held", "failed"): 30,
        ("held", "queued", "sending", "sent"): 30,
    }


@case("messages")
async def messages(pair: Pair) -> None:
    for name in ("first", "second"):
        await pair.connect("http", name=name, concurrency=8)
    pair.post.fate("gateway", receipts=False)
    quiet(pair)
    await pair.post.send_many([number(n) for n in range(250)])
    await pair.both("messages", 4)

    async def turn() -> bool:
        await pair.both("messages", 1)
        return (await pair.post.statuses())["sent"] == 250

    await eventually(turn)
    await drained(pair)
    assert await history(pair) == {("queued", "sending", "sent"): 250}
    assert set(Counter(sent["address"] for sent in pair.post.taken("gateway")).values()) == {1}


@case("recover")
async def recover(pair: Pair) -> None:
    first, second = await pair.connect(name="first"), await pair.connect(name="second")
    pair.post.fate(receipts=False)
    quiet(pair)
    await pair.post.send_many([number(n) for n in range(900)])
    await pair.one.sql("UPDATE messages SET connection_id = $1", first)
    await pair.one.sql(
        "UPDATE messages SET status = 'sending', due_at = NULL, node = 0, tries = 1"
        " WHERE id IN (SELECT id FROM messages LIMIT 600)"
    )
    engine = pair.one.engine
    await engine.database.transact(connection_records.switch_connection, engine.encryption, 1, first, False, now_us())
    for node in pair.nodes:
        await node.engine.connections.refresh([1])
    await pair.both("recover", 5)
    found = await pair.one.sql("SELECT status, connection_id, reason, count(*) FROM messages GROUP BY 1, 2, 3")
    # Messages in flight are unknown, once; waiting ones wait at another connection.
    assert sorted(found) == [("queued", second, "rerouted", 300), ("unknown", first, "interrupted", 600)]
    assert await history(pair) == {("queued", "unknown"): 600, ("queued",): 300}


@case("confirmations")
async def each_new_member_is_asked_once(pair: Pair) -> None:
    quiet(pair)
    config = {"host": "127.0.0.1", "port": pair.outside.smtp_port, "security": "none", "from_email": "a@example.com"}
    await pair.connect("smtp", config=config)
    ids = list(Ids(9).take(40, now_us()))

    async def work(tx: Tx, unit: Unit) -> None:
        now = unit.now
        await tx.insert("profiles.insert", [(id_, 1, None, "{}", now, now) for id_ in ids])
        await tx.insert("identities.insert", [(1, "email", f"p{id_}@example.net", id_, now) for id_ in ids])
        made = await create_list(tx, unit.ids, 1, "News", now, double_opt_in=True, template_id=None)
        await move_members(tx, unit, 1, made, ids, MemberAction.ADD, "test")

    await pair.one.engine.recorder.perform(work)
    await pair.both("confirmations")
    rows = await pair.one.sql("SELECT profile_id FROM messages")
    assert Counter(row[0] for row in rows) == Counter(ids)
