"""Campaigns with two nodes on one database: one message a person, whoever prepares, hands over, pauses or dies."""

import asyncio
import json
from collections import Counter
from typing import Any

import msgspec
import pytest

from tests.nodes.conftest import Node, Pair
from tests.waiting import eventually
from waypost.clock import Ids, now_us
from waypost.domain.campaigns.campaign import (
    Audience,
    CampaignAction,
    Conversion,
    Definition,
    Throttle,
    VariantTest,
)
from waypost.domain.events.event import Event
from waypost.domain.events.segment import metric_type
from waypost.domain.messaging.message import Status
from waypost.domain.messaging.status import Transition
from waypost.domain.values.ids import public
from waypost.engine.audience import segments
from waypost.engine.campaigns import campaigns, handover, occurrences
from waypost.engine.campaigns.winner import choose_winner
from waypost.engine.messaging import deletions
from waypost.engine.messaging.transitions import Transitions
from waypost.engine.runtime.unit import Unit
from waypost.errors import Conflict, Invalid
from waypost.storage.database import Tx

pytestmark = pytest.mark.postgres

LIST = 77


async def people(pair: Pair, count: int) -> list[int]:
    """Put people with addresses into a list; return their ids."""
    for node in pair.nodes:
        # Messages stay queued.
        node.engine._sends = False
    ids = list(Ids(9).take(count, now_us()))

    async def work(tx: Tx) -> None:
        now = now_us()
        await tx.insert("profiles.insert", [(id_, 1, None, "{}", now, now) for id_ in ids])
        await tx.insert("identities.insert", [(1, "email", f"p{id_}@example.net", id_, now) for id_ in ids])

    await pair.one.database.transact(work)
    await pair.one.sql(
        "INSERT INTO lists (id, workspace_id, name, double_opt_in, created_at, updated_at)"
        " VALUES ($1, 1, 'l', 0, 1, 1)",
        LIST,
    )
    for id_ in ids:
        await pair.one.sql(
            "INSERT INTO list_members (list_id, profile_id, state, source, changed_at)"
            " VALUES ($1, $2, 'subscribed', 't', 1)",
            LIST,
            id_,
        )
    return ids


async def launched(pair: Pair, **settings: Any) -> int:
    """Launch a campaign to the list; return its id."""
    await pair.connect("klaviyo")
    template = await pair.one.sql(
        "INSERT INTO templates (id, workspace_id, name, channel, version, created_at, updated_at)"
        " VALUES (5, 1, 't', 'event', 1, 1, 1) RETURNING id"
    )
    variants = json.dumps([{"name": "default", "content": {"metric": "News", "properties": {"a": "{{ person.id }}"}}}])
    await pair.one.sql("INSERT INTO template_versions VALUES (5, 1, $1, 1)", variants)
    definition = Definition(
        template_id=public("tpl", template[0][0]), audience=Audience(lists=[public("lst", LIST)]), **settings
    )

    async def work(tx: Tx) -> int:
        made = await campaigns.create_campaign(tx, pair.one.engine.ids, 1, "News", "webhook", definition, now_us())
        await campaigns.act(tx, made, CampaignAction.LAUNCH, now_us())
        return made.id

    id_: int = await pair.one.database.transact(work)
    return id_


async def act(pair: Pair, id_: int, action: CampaignAction) -> None:
    async def work(tx: Tx) -> None:
        await campaigns.act(tx, await campaigns.lock_campaign(tx, 1, id_), action, now_us())

    await pair.one.database.transact(work)


async def messages(pair: Pair) -> Counter[int]:
    """Return how many messages each person has."""
    return Counter(row[0] for row in await pair.one.sql("SELECT profile_id FROM messages"))


async def statuses(pair: Pair) -> Counter[str]:
    """Return the statuses of the recipients, which the counts must agree with."""
    found = Counter(row[0] for row in await pair.one.sql("SELECT status FROM recipients"))
    counted = await pair.one.sql(
        "SELECT split_part(key, ':', 1), sum(n)::bigint FROM campaign_counts WHERE kind = 'status' GROUP BY 1"
    )
    assert {key: n for key, n in counted if n} == dict(found)
    return found


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps and parts of a few people."""
    monkeypatch.setattr(occurrences, "STEP", 20)
    monkeypatch.setattr(occurrences, "PART", 7)


@pytest.mark.usefixtures("small")
async def test_both_nodes_do_everything_at_once(still: Pair) -> None:
    ids = await people(still, 90)
    await launched(still)
    for _ in range(3):
        await still.both("campaigns", times=2)
        await still.both("hand-over", times=8)
    assert await messages(still) == Counter(ids)
    assert await statuses(still) == {"queued": 90}
    assert await still.one.sql("SELECT count(*)::bigint FROM occurrences") == [(1,)]
    assert await still.one.sql("SELECT audience, state FROM occurrences") == [(90, "sending")]


@pytest.mark.usefixtures("small")
async def test_the_part_of_a_dead_node_is_handed_over_by_the_other(still: Pair) -> None:
    ids = await people(still, 30)
    await launched(still)
    await still.one.run("campaigns")
    await still.one.run("campaigns")
    # The node dies between the claim of a part and the record of its messages.
    open_ = await still.one.database.read(occurrences.load_open)
    await still.one.database.transact(handover._claim, open_[0], still.one.engine.ids.node, now_us())
    dead = still.one.engine.ids.node
    await still.other.run("hand-over")
    for _ in range(8):
        await still.other.run("hand-over")
    assert sum((await messages(still)).values()) < 30
    await still.other.unseen(dead)
    await still.other.run("heartbeat")
    for _ in range(3):
        await still.other.run("hand-over")
    assert await messages(still) == Counter(ids)
    assert await statuses(still) == {"queued": 30}


@pytest.mark.usefixtures("small")
async def test_a_connection_that_the_other_node_has_just_made_is_used(still: Pair) -> None:
    ids = await people(still, 10)
    # Only the first node has read it.
    still.connect = still.post.connect  # type: ignore[method-assign]
    await launched(still)
    assert still.other.engine.connections.preferred(1, "event") == []
    await still.one.run("campaigns")
    await still.one.run("campaigns")
    for _ in range(3):
        await still.other.run("hand-over")
    assert await messages(still) == Counter(ids)
    assert await still.one.sql("SELECT state, reason FROM campaigns") == [("live", None)]


@pytest.mark.usefixtures("small")
async def test_a_pause_between_claim_and_record_keeps_the_people(still: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = await people(still, 10)
    id_ = await launched(still)
    await still.one.run("campaigns")
    await still.one.run("campaigns")
    node = still.other.engine._handover
    make = node._make

    async def slowly(*given: Any) -> Any:
        found = await make(*given)
        await act(still, id_, CampaignAction.PAUSE)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(node, "_make", slowly)
        await still.other.run("hand-over")
    assert not await messages(still)
    assert await statuses(still) == {"waiting": 10}
    await act(still, id_, CampaignAction.RESUME)
    await still.both("hand-over")
    assert await messages(still) == Counter(ids)


@pytest.mark.usefixtures("small")
async def test_a_pause_holds_what_is_queued_and_a_cancellation_skips_it(still: Pair) -> None:
    await people(still, 20)
    id_ = await launched(still, throttle=Throttle(per_second=1))
    await still.one.run("campaigns")
    await still.one.run("campaigns")
    await still.one.run("hand-over")
    assert await statuses(still) == {"queued": 5, "waiting": 15}
    await act(still, id_, CampaignAction.PAUSE)
    await still.both("campaigns")
    assert await statuses(still) == {"held": 5, "waiting": 15}
    # One that quiet hours held before is not queued while the campaign is paused.
    await still.one.sql("UPDATE messages SET held_at = 1 WHERE id = (SELECT min(id) FROM messages)")
    assert await still.one.run("held") > 0
    expiry = await still.one.sql("SELECT min(expires_at) FROM messages")
    await act(still, id_, CampaignAction.RESUME)
    await still.both("campaigns")
    assert await statuses(still) == {"queued": 5, "waiting": 15}
    assert await still.one.sql("SELECT min(expires_at) FROM messages") > expiry, "the pause does not count"
    await act(still, id_, CampaignAction.CANCEL)
    await still.both("campaigns", times=4)
    assert await statuses(still) == {"skipped": 20}
    assert await still.one.sql("SELECT DISTINCT status, reason FROM messages") == [("skipped", "cancelled")]
    assert await still.one.sql("SELECT state FROM occurrences") == [("cancelled",)]
    assert await still.one.sql("SELECT count(*)::bigint FROM occurrence_parts") == [(0,)]


async def order(node: Node, profile_id: int, name: str) -> None:
    """Record an order of a person on one of the nodes."""

    async def work(tx: Tx, unit: Unit) -> None:
        unit.emit([Event(1, metric_type("Order Completed"), profile_id, now_us(), name, b"{}")])

    await node.engine.recorder.perform(work)


@pytest.mark.usefixtures("small")
async def test_a_conversion_counts_once_whoever_records_it(still: Pair) -> None:
    ids = await people(still, 10)
    await launched(still, conversion=Conversion(event="Order Completed"))
    for _ in range(3):
        await still.both("campaigns", times=2)
        await still.both("hand-over", times=3)
    for node in still.nodes:
        await node.engine.goals.refresh()
    await order(still.one, ids[1], "before it was sent")
    await still.one.sql("UPDATE recipients SET status = 'sent'")

    await order(still.one, ids[0], "first")
    await order(still.other, ids[0], "second")
    # Somebody who is merged into another profile in between is still one person.
    await still.one.sql("UPDATE profiles SET merged_into = $1 WHERE id = $2", ids[2], ids[0])
    await order(still.other, ids[2], "third")
    counted = await still.one.sql("SELECT sum(n)::bigint FROM campaign_counts WHERE kind = 'converted'")
    assert counted == [(1,)]


@pytest.mark.usefixtures("small")
async def test_a_winner_is_decided_once_on_two_nodes_at_once(still: Pair) -> None:
    await people(still, 10)
    test = VariantTest(sample=0.5, winner_by="conversions", minimum=1)
    await launched(still, test=test, conversion=Conversion(event="Order Completed"))
    await still.one.run("campaigns")
    (occurrence,) = await still.one.database.read(occurrences.load_open)

    async def convert(variant: str, n: int) -> None:
        for kind in ("sent", "converted"):
            await still.one.sql(
                "INSERT INTO campaign_counts VALUES ($1, $2, '', 0, $3, 0, 0, $4)", occurrence.id, kind, variant, n
            )

    await convert("b", 5)
    decided, release = asyncio.Event(), asyncio.Event()

    async def slowly(tx: Tx) -> str | None:
        found = await choose_winner(tx, occurrence)
        decided.set()
        await release.wait()
        return found

    first = asyncio.create_task(still.one.database.transact(slowly))
    await decided.wait()
    # The other node sees an equal rate, of a name that comes first.
    await convert("a", 5)
    second = asyncio.create_task(still.other.database.transact(choose_winner, occurrence))

    async def blocked() -> bool:
        return bool(await still.one.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))

    await eventually(blocked)
    release.set()
    assert {*await asyncio.gather(first, second)} == {"b"}
    assert await still.other.database.transact(choose_winner, occurrence) == "b"
    assert await still.one.sql("SELECT winner, decided_at IS NULL FROM occurrences") == [("b", False)]


async def draft(pair: Pair) -> int:
    """Create a campaign that names no list; return its id."""

    async def work(tx: Tx) -> int:
        made = await campaigns.create_campaign(tx, pair.one.engine.ids, 1, "News", "webhook", Definition(), now_us())
        return made.id

    id_: int = await pair.one.database.transact(work)
    return id_


async def name_list(tx: Tx, id_: int, field: str) -> None:
    campaign = await campaigns.lock_campaign(tx, 1, id_)
    named: dict[str, Any] = {field: Audience(lists=[public("lst", LIST)])}
    definition = msgspec.structs.replace(campaign.definition, **named)
    await campaigns.change_campaign(tx, campaign, "News", definition, now_us())


async def launch(tx: Tx, id_: int) -> None:
    await campaigns.act(tx, await campaigns.lock_campaign(tx, 1, id_), CampaignAction.LAUNCH, now_us())


async def one_after_the_other(pair: Pair, first: Any, second: Any) -> list[Any]:
    """Begin the second transaction, on the other node, before the first one commits; return the results of both."""
    begun, release = asyncio.Event(), asyncio.Event()

    async def slowly(tx: Tx) -> None:
        await first(tx)
        begun.set()
        await release.wait()

    running = asyncio.create_task(pair.one.database.transact(slowly))
    await begun.wait()
    waiting = asyncio.create_task(pair.other.database.transact(second))

    async def blocked() -> bool:
        return bool(await pair.one.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))

    await eventually(blocked)
    release.set()
    return [*await asyncio.gather(running, waiting, return_exceptions=True)]


@pytest.mark.parametrize("field", ["audience", "exclude"])
async def test_a_list_is_not_deleted_while_a_campaign_that_names_it_is_launched(still: Pair, field: str) -> None:
    await people(still, 2)
    id_ = await draft(still)

    async def delete(tx: Tx) -> None:
        await segments.delete_list(tx, 1, LIST, now_us())

    async def name_and_launch(tx: Tx) -> None:
        await name_list(tx, id_, field)
        await launch(tx, id_)

    # Whoever comes second is refused.
    first, refused = await one_after_the_other(still, name_and_launch, delete)
    assert (first, type(refused), refused.code) == (None, Conflict, "list_in_use")
    await act(still, id_, CampaignAction.CANCEL)
    id_ = await draft(still)
    first, refused = await one_after_the_other(still, delete, name_and_launch)
    assert (first, type(refused), refused.code) == (None, Invalid, "campaign_incomplete")
    assert [(one.code, one.field) for one in refused.extra["missing"]] == [("unknown_audience", f"{field}.lists")]
    assert (await still.one.sql("SELECT state FROM campaigns WHERE id = $1", id_)) == [("draft",)]


async def sent(node: Node, ids: list[int]) -> None:
    """Record that a provider took the messages of these people."""

    async def work(tx: Tx, unit: Unit) -> None:
        rows = await tx._connection.fetch(  # type: ignore[attr-defined]
            "SELECT message_id FROM recipients WHERE profile_id = ANY($1) AND message_id IS NOT NULL", ids
        )
        transitions = Transitions(unit)
        await transitions.load(tx, [row[0] for row in rows])
        for state in transitions.states.values():
            if state.status is not Status.SKIPPED:
                transitions.apply(state, Transition(status=Status.SENT, at=unit.now))
        await transitions.write(tx)

    await node.engine.recorder.perform(work)


@pytest.mark.usefixtures("small")
async def test_people_are_deleted_while_the_nodes_send(still: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletions, "GRACE", 1)
    ids = await people(still, 60)
    await launched(still)
    await still.both("campaigns", times=2)
    await still.one.run("hand-over")

    async def delete(id_: int) -> None:
        node = still.nodes[id_ % 2]
        await node.engine.recorder.perform(lambda tx, unit: deletions.delete_profile(tx, unit, 1, id_))

    gone = ids[::3]
    await asyncio.gather(
        *(delete(id_) for id_ in gone),
        still.both("hand-over", times=8),
        sent(still.one, ids[::2]),
        sent(still.other, ids[1::2]),
    )
    await asyncio.gather(still.both("hand-over", times=8), still.both("deletions"), sent(still.other, ids[:30]))
    for _ in range(6):
        await still.both("hand-over")
        await still.both("deletions")
    found = await statuses(still)
    assert sum(found.values()) == 60
    assert not found["waiting"]
    left = {row[0] for row in await still.one.sql("SELECT profile_id FROM recipients")}
    assert left & set(ids) == set(ids) - set(gone)
    assert await still.one.sql("SELECT count(*)::bigint FROM deletions WHERE stage <> 'done'") == [(0,)]
