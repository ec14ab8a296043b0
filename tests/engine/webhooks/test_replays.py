"""Replays queue missing events, and retention deletes old rows."""

import json
from typing import Any

import pytest

from tests.engine.conftest import Outside, World, abandon_world, close_world, eventually, open_world
from waypost.clock import DAY, Ids, now_us
from waypost.engine.accounts.retention import Retention
from waypost.engine.events.retention import prune_events
from waypost.engine.webhooks.replays import BACKLOG
from waypost.engine.webhooks.retention import prune_webhooks


async def start_replay(world: World, endpoint_id: int, states: tuple[str, ...], types: tuple[str, ...] = ()) -> int:
    """Start a replay of all events; return its id."""
    now = now_us()
    id_ = world.engine.ids.one(now)
    await world.change(
        "replays.add",
        id=id_,
        workspace_id=1,
        endpoint_id=endpoint_id,
        since=0,
        until=now + DAY,
        states=json.dumps(states),
        types=json.dumps(types),
        cursor_id=0,
        now=now,
    )
    return id_


async def replay_of(world: World, id_: int) -> dict[str, Any]:
    """Return the row of a replay."""
    return (await world.ask("replays.get", workspace_id=1, id=id_))[0]


async def ended(world: World, id_: int) -> dict[str, Any] | None:
    """Return the row of a replay once it has ended."""
    replay = await replay_of(world, id_)
    return replay if replay["state"] != "running" else None


async def kill(world: World, outside: Outside, name: str, count: int) -> int:
    """Return an enabled endpoint with this many dead deliveries; the sink forgets the requests for them."""
    outside.behave(name, status=500)
    id_ = await world.endpoint(outside.hook(name))
    await world.post(count)

    async def all_dead() -> bool:
        balance = await world.balance(id_)
        if balance.pending and (await world.record(id_))["status"] == "disabled":
            await world.change("endpoints.enable", workspace_id=1, id=id_, now=now_us())
            await world.engine.endpoints.refresh([1])
        return balance.dead == count

    await eventually(all_dead)
    await eventually(lambda: not world.engine.dispatcher.in_flight)
    await world.change("endpoints.enable", workspace_id=1, id=id_, now=now_us())
    await world.engine.endpoints.refresh([1])
    outside.behave(name)
    outside.ask("POST", f"/forget?name={name}")
    return id_


async def test_dead_deliveries_come_back(world: World, outside: Outside):
    id_ = await kill(world, outside, "dead", 20)
    replay = await ended_later(world, id_, ("dead",))
    assert (replay["state"], replay["queued"]) == ("done", 20)
    balance = await eventually(lambda: world.settled(id_))
    assert (balance.accepted, balance.delivered, balance.dead) == (20, 20, 0)
    assert outside.distinct("dead") == 20
    for delivery in await world.deliveries(id_):
        assert (delivery["tries"], delivery["attempts"] > 11) == (1, True)
    await world.check_ledger()


async def ended_later(world: World, endpoint_id: int, states: tuple[str, ...]) -> dict[str, Any]:
    """Start a replay; return its row once it has ended."""
    id_ = await start_replay(world, endpoint_id, states)
    found: dict[str, Any] = await eventually(lambda: ended(world, id_))
    return found


async def test_missed_events_are_queued_once(world: World, outside: Outside):
    await world.post(1200, name="before")
    id_ = await world.endpoint(outside.hook("missed"))
    await world.post(10, name="after")
    await eventually(lambda: world.settled(id_))
    replay = await ended_later(world, id_, ("dead", "missed"))
    assert (replay["seen"], replay["queued"]) == (1210, 1200)
    again = await ended_later(world, id_, ("dead", "missed"))
    assert again["queued"] == 0
    balance = await eventually(lambda: world.settled(id_))
    assert (balance.accepted, balance.delivered) == (1210, 1210)
    assert outside.count("missed") == outside.distinct("missed") == 1210
    await world.check_ledger()


async def test_delivered_ones_are_sent_again_on_request(world: World, outside: Outside):
    id_ = await world.endpoint(outside.hook("again"))
    await world.post(30)
    await eventually(lambda: world.settled(id_))
    replay = await ended_later(world, id_, ("delivered",))
    assert replay["queued"] == 30
    await eventually(lambda: outside.count("again") == 60)
    balance = await eventually(lambda: world.settled(id_))
    assert (balance.accepted, balance.delivered) == (30, 30)
    assert outside.distinct("again") == 30
    await world.check_ledger()


async def test_only_what_the_endpoint_and_the_replay_name(world: World, outside: Outside):
    for event in ("Order Shipped", "Order Paid", "Cart Left"):
        await world.post(10, event=event)
    id_ = await world.endpoint(outside.hook("types"), types=("event.order_*",))
    number = await start_replay(world, id_, ("missed",), ("event.order_paid", "event.cart_*"))
    replay = await eventually(lambda: ended(world, number))
    assert (replay["seen"], replay["queued"]) == (30, 10)
    await eventually(lambda: world.settled(id_))
    assert {json.loads(record["body"])["type"] for record in outside.received("types")} == {"event.order_paid"}


async def test_a_replay_waits_while_much_is_pending_and_can_be_cancelled(world: World, outside: Outside):
    await world.post(1000, name="a")
    await world.post(1000, name="b")
    await world.post(1000, name="c")
    await world.post(1000, name="d")
    id_ = await world.endpoint(outside.hook("cancelled", delay=0.05), concurrency=1)
    number = await start_replay(world, id_, ("missed",))

    async def waits() -> bool:
        return bool((await replay_of(world, number))["queued"] >= BACKLOG)

    await eventually(waits)
    assert await world.change("replays.end", workspace_id=1, id=number, endpoint_id=-1, now=now_us()) == 1
    replay = await replay_of(world, number)
    assert replay["state"] == "cancelled"
    assert BACKLOG <= replay["queued"] < 4000
    balance = await world.balance(id_)
    assert balance.accepted == replay["queued"]
    await world.check_ledger()
    await world.change("endpoints.delete", workspace_id=1, id=id_, now=now_us())


@pytest.mark.parametrize("leave", [close_world, abandon_world])
async def test_a_replay_goes_on_after_a_restart(tmp_path, outside: Outside, leave):
    name = f"resumed-{leave.__name__}"
    world = await open_world(tmp_path)
    for turn in range(6):
        await world.post(1000, name=f"m{turn}")
    id_ = await world.endpoint(outside.hook(name), concurrency=8)
    number = await start_replay(world, id_, ("missed",))

    async def begun() -> bool:
        return bool((await replay_of(world, number))["queued"] > 0)

    await eventually(begun)
    before = await replay_of(world, number)
    await leave(world)
    assert before["state"] == "running"
    world = await open_world(tmp_path)
    try:
        replay = await eventually(lambda: ended(world, number), 40)
        assert (replay["state"], replay["queued"]) == ("done", 6000)
        balance = await eventually(lambda: world.settled(id_), 40)
        assert (balance.accepted, balance.delivered) == (6000, 6000)
        assert outside.distinct(name) == 6000
        await world.check_ledger()
    finally:
        await close_world(world)


async def back_date(world: World, days: int) -> None:
    """Make ids as if it were this many days ago, from now on."""
    world.engine.ids = world.engine.recorder._ids = PastIds(world.engine.ids.node, days)


class PastIds(Ids):
    """Ids of another day."""

    def __init__(self, node: int, days: int) -> None:
        super().__init__(node)
        self._shift = days * DAY

    def take(self, count: int, now: int) -> range:
        return super().take(count, now - self._shift)

    def one(self, now: int) -> int:
        return super().one(now - self._shift)


async def test_retention_deletes_what_is_old_and_nothing_else(world: World, outside: Outside):
    ids = world.engine.ids
    well = await world.endpoint(outside.hook("retention"))
    dying = await world.endpoint(outside.hook("retention-dying", status=500))
    await back_date(world, 100)
    await world.post(1300, name="old", event="Old Thing")
    await eventually(lambda: world.settled(well))
    await back_date(world, 40)
    await world.post(20, name="middle", event="Middle Thing")
    await eventually(lambda: world.settled(well))
    world.engine.ids = world.engine.recorder._ids = ids
    await world.post(20, name="new", event="New Thing")
    await eventually(lambda: world.settled(well))
    await world.change("endpoints.disable", workspace_id=1, id=dying, reason="by_owner", now=now_us())
    await world.engine.endpoints.refresh([1])
    await eventually(lambda: not world.engine.dispatcher.in_flight and not world.engine.dispatcher.held)
    before = {id_: await world.balance(id_) for id_ in (well, dying)}

    async def prune() -> int:
        deleted = await prune_webhooks(world.database, ids.node, now_us(), Retention(90, 30))
        return deleted + await prune_events(world.database, now_us(), Retention(90, 30))

    assert await prune() >= 3 * 1300
    events = await world.ask("events.list", workspace_id=1, before=1 << 62, since=0, n=10_000)
    assert [event["type"] for event in events] == ["event.new_thing"] * 20 + ["event.middle_thing"] * 20
    assert len(await world.deliveries(well)) == len(await world.deliveries(dying)) == 40
    attempts = await world.ask("attempts.list", endpoint_id=well, before=1 << 62, n=10_000)
    assert len(attempts) == 20
    # The ledger keeps the counts of deleted deliveries; those that were pending count as dead.
    after = {id_: await world.balance(id_) for id_ in (well, dying)}
    assert after[well] == before[well]
    assert after[dying].accepted == before[dying].accepted == 1340
    assert after[dying].pending <= 40
    assert after[dying].dead >= 1300
    await world.check_ledger()
    assert await prune() == 0


async def test_a_delivery_whose_event_is_gone_is_dead(world: World, outside: Outside):
    id_ = await world.endpoint(outside.hook("eventless", hang=True), timeout_ms=100, concurrency=1)
    await world.post(3)
    await eventually(lambda: outside.count("eventless") == 1)
    deliveries = await world.deliveries(id_)
    await world.change("events.delete", ids=[delivery["event_id"] for delivery in deliveries])
    balance = await eventually(lambda: world.settled(id_))
    assert (balance.accepted, balance.dead) == (3, 3)
    assert {delivery["reason"] for delivery in await world.deliveries(id_)} == {"event_deleted"}
    await world.check_ledger()
