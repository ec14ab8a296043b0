"""From an event to its webhook, with every failure in between."""

import asyncio
import functools
import json
import random
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from tests.engine.conftest import SECRET, Outside, World, abandon_world, close_world, eventually, open_world
from waypost.clock import SECOND, now_us
from waypost.domain.values.ids import public
from waypost.domain.webhooks.delivery import RETRIES


def verify(outside: Outside, name: str) -> list[dict[str, Any]]:
    """Return all webhooks for a name; verify the signature of each as a receiver would."""
    records = outside.received(name)
    for record in records:
        payload = Webhook(SECRET).verify(record["body"].encode(), record["headers"])
        assert set(payload) == {"type", "timestamp", "data"}
    return records


async def test_an_event_is_delivered(world: World, outside: Outside):
    id_ = await world.endpoint(outside.hook("delivered"))
    await world.post(1, event="Order Shipped")
    await eventually(lambda: world.settled(id_))
    (record,) = verify(outside, "delivered")
    payload = json.loads(record["body"])
    assert payload["type"] == "event.order_shipped"
    assert payload["data"]["metric"] == "Order Shipped"
    assert payload["data"]["id"] == record["headers"]["webhook-id"]
    (delivery,) = await world.deliveries(id_)
    assert (delivery["state"], delivery["tries"], delivery["attempts"]) == ("delivered", 1, 1)
    (attempt,) = await world.ask("attempts.of_delivery", endpoint_id=id_, event_id=delivery["event_id"], n=10)
    assert (attempt["status"], attempt["error"], attempt["number"], attempt["body"]) == (200, None, 1, b"ok")
    await world.check_ledger()


async def test_many_events_to_many_endpoints(world: World, outside: Outside):
    ids = [await world.endpoint(outside.hook(f"many-{n}")) for n in range(5)]
    other = await world.endpoint(outside.hook("many-other"), types=("event.other",))
    elsewhere = await world.endpoint(outside.hook("many-elsewhere"), workspace=2)
    await asyncio.gather(*(world.post(40, name=f"m{turn}") for turn in range(25)))
    for n, id_ in enumerate(ids):
        balance = await eventually(functools.partial(world.settled, id_))
        assert (balance.accepted, balance.delivered) == (1000, 1000)
        assert outside.distinct(f"many-{n}") == 1000
    assert outside.count("many-other") == outside.count("many-elsewhere") == 0
    assert not (await world.balance(other)).accepted
    assert not (await world.balance(elsewhere)).accepted
    await world.check_ledger()


async def test_a_repeat_takes_effect_once(world: World, outside: Outside):
    id_ = await world.endpoint(outside.hook("repeat"))
    entries = world.entries(10)
    await asyncio.gather(*(world.engine.journal.append(list(entries)) for _ in range(5)))
    await world.engine.journal.append(entries + entries)
    assert (await eventually(lambda: world.settled(id_))).accepted == 10
    assert outside.count("repeat") == 10


async def test_a_failing_receiver_gets_eleven_tries_then_its_owner_is_told(tmp_path, outside: Outside):
    world = await open_world(tmp_path, smtp_url=f"smtp://127.0.0.1:{outside.smtp_port}", mail_from="way@post.example")
    try:
        id_ = await world.endpoint(outside.hook("failing", status=500), owner_email="owner@example.com", concurrency=64)
        await world.post(1)
        balance = await eventually(lambda: world.settled(id_))
        assert (balance.accepted, balance.dead) == (1, 1)
        records = verify(outside, "failing")
        assert len(records) == RETRIES + 1
        assert len({record["headers"]["webhook-id"] for record in records}) == 1
        (delivery,) = await world.deliveries(id_)
        assert (delivery["state"], delivery["tries"], delivery["reason"]) == ("dead", 11, "exhausted")
        attempts = await world.ask("attempts.of_delivery", endpoint_id=id_, event_id=delivery["event_id"], n=100)
        assert [attempt["number"] for attempt in attempts] == list(range(1, 12))
        ends = [attempt["started_at"] + attempt["duration_us"] for attempt in attempts]
        gaps = [attempt["started_at"] - end for attempt, end in zip(attempts[1:], ends, strict=False)]
        for number, gap in enumerate(gaps):
            # 2 ms, doubled each time, within 5 %.
            assert gap >= 2000 * 2**number * 0.95 - 1000
        endpoint = await world.record(id_)
        assert (endpoint["status"], endpoint["disabled_reason"]) == ("disabled", "exhausted")
        assert endpoint["last_error"].startswith("status_500")
        mail = await eventually(lambda: outside.received("mail"))
        (notice,) = await eventually(lambda: sent_notices(world))
        assert (notice["state"], notice["tries"], notice["recipient"]) == ("sent", 1, "owner@example.com")
        assert len(mail) == 1
        assert mail[0]["to"] == ["owner@example.com"]
        assert public("whk", id_) in mail[0]["subject"]
        assert "status_500" in mail[0]["body"]
        # Events that occur now are stored, and nothing is sent.
        await world.post(5)
        assert (await world.balance(id_)).accepted == 1
        await world.check_ledger()
    finally:
        await close_world(world)
    reopened = await open_world(tmp_path, smtp_url=f"smtp://127.0.0.1:{outside.smtp_port}")
    await eventually(lambda: reopened.engine.scheduler._tasks)
    await close_world(reopened)
    assert outside.count("mail") == 1


async def sent_notices(world: World, state: str = "sent") -> list[dict[str, Any]]:
    """Return the notices once all of them are in this state."""
    notices = await world.ask("notices.list", workspace_id=1, before=1 << 62, n=100)
    return notices if notices and all(notice["state"] == state for notice in notices) else []


async def move(world: World, endpoint_id: int, url: str, **changes: Any) -> None:
    """Change an endpoint's URL."""
    record = await world.record(endpoint_id)
    names = ["workspace_id", "id", "description", "event_types", "filter", "headers", "rate_limit", "concurrency"]
    names += ["timeout_ms", "format", "owner_email", "connection_id", "user_id", "user_name"]
    values = {name: record[name] for name in names} | {"url": url, "now": now_us()} | changes
    await world.change("endpoints.change", **values)


async def test_several_deliveries_that_die_together_make_one_notice(world: World, outside: Outside):
    id_ = await world.endpoint(outside.hook("dying", status=500), owner_email="owner@example.com")
    await world.post(30)

    async def disabled() -> bool:
        return bool((await world.record(id_))["status"] == "disabled")

    await eventually(disabled)
    (notice,) = await eventually(lambda: sent_notices(world, "shown"))
    assert "WAYPOST_SMTP_URL" in notice["error"]
    # Deliveries that were not exhausted stay pending, and nothing more is sent.
    await eventually(lambda: not world.engine.dispatcher.in_flight)
    balance = await world.balance(id_)
    assert balance.accepted == 30
    assert balance.dead >= 1
    assert balance.pending + balance.dead == 30
    outside.behave("dying-then-well")
    await world.change("endpoints.enable", workspace_id=1, id=id_, now=now_us())
    await move(world, id_, outside.hook("dying-then-well"))
    await world.engine.endpoints.refresh([1])
    after = await eventually(lambda: world.settled(id_))
    assert after.delivered == balance.pending
    assert after.dead == balance.dead
    await world.check_ledger()


async def test_a_mail_server_that_refuses_is_asked_again(tmp_path, outside: Outside):
    outside.ask("POST", "/forget?name=mail")
    outside.script("mail", {"status": 451})
    world = await open_world(tmp_path, smtp_url=f"smtp://127.0.0.1:{outside.smtp_port}")
    try:
        await world.endpoint(outside.hook("refused-mail", status=410), owner_email="owner@example.com")
        await world.post(1)
        await eventually(lambda: outside.count("mail") == 1)

        async def settled() -> list[dict[str, Any]]:
            return [n for n in await sent_notices(world, "pending") if n["tries"] == 1]

        (notice,) = await eventually(settled)
        assert "451" in notice["error"]
        assert 50 * SECOND < notice["due_at"] - now_us() < 70 * SECOND
    finally:
        await close_world(world)


async def test_a_receiver_that_recovers_gets_it_under_the_same_id(world: World, outside: Outside):
    id_ = await world.endpoint(outside.hook("recovers", fail_first=3))
    await world.post(20)
    balance = await eventually(lambda: world.settled(id_))
    assert (balance.delivered, balance.dead) == (20, 0)
    records = verify(outside, "recovers")
    assert len(records) == 80
    assert outside.distinct("recovers") == 20
    for delivery in await world.deliveries(id_):
        assert (delivery["tries"], delivery["attempts"]) == (4, 4)
    assert (await world.record(id_))["status"] == "enabled"
    await world.check_ledger()


async def test_timestamps_and_signatures_are_fresh(tmp_path, outside: Outside):
    world = await open_world(tmp_path, retry_base=0.7)
    try:
        id_ = await world.endpoint(outside.hook("fresh", fail_first=1))
        await world.post(1)
        await eventually(lambda: world.settled(id_))
    finally:
        await close_world(world)
    first, second = verify(outside, "fresh")
    assert first["headers"]["webhook-id"] == second["headers"]["webhook-id"]
    assert first["body"] == second["body"]
    if first["headers"]["webhook-timestamp"] != second["headers"]["webhook-timestamp"]:
        assert first["headers"]["webhook-signature"] != second["headers"]["webhook-signature"]


async def test_retry_after_is_waited_for(world: World, outside: Outside):
    outside.script("waits", {"status": 500, "retry_after": "1"})
    id_ = await world.endpoint(outside.hook("waits"))
    await world.post(1)
    await eventually(lambda: world.settled(id_))
    (delivery,) = await world.deliveries(id_)
    first, second = await world.ask("attempts.of_delivery", endpoint_id=id_, event_id=delivery["event_id"], n=10)
    assert second["started_at"] - first["started_at"] - first["duration_us"] >= SECOND


async def test_gone_disables_at_once(world: World, outside: Outside):
    id_ = await world.endpoint(outside.hook("gone", status=410), concurrency=1, owner_email=None)
    await world.post(50)
    (notice,) = await eventually(lambda: sent_notices(world, "shown"))
    assert "410" in notice["body"]
    assert "owner_email" in notice["error"]
    endpoint = await world.record(id_)
    assert (endpoint["status"], endpoint["disabled_reason"]) == ("disabled", "gone")

    async def nothing_held() -> bool:
        return not world.engine.dispatcher.held and not world.engine.dispatcher.in_flight

    await eventually(nothing_held)
    assert outside.count("gone") == 1
    balance = await world.balance(id_)
    assert (balance.accepted, balance.dead, balance.pending) == (50, 1, 49)
    await world.check_ledger()


async def test_an_endpoint_that_its_owner_disables_is_not_called_any_more(world: World, outside: Outside):
    outside.behave("owner", delay=0.05)
    id_ = await world.endpoint(outside.hook("owner"), concurrency=1)
    await world.post(200)
    await eventually(lambda: outside.count("owner") > 1)
    await world.change("endpoints.disable", workspace_id=1, id=id_, reason="by_owner", now=now_us())
    # The recorder itself finds out at the next event, and must notify all others too.
    await world.post(1)
    await world.engine.endpoints.refresh([1])
    await eventually(lambda: not world.engine.dispatcher.in_flight and not world.engine.dispatcher.held)
    count = outside.count("owner")
    assert count < 100
    balance = await world.balance(id_)
    assert balance.accepted == 200

    async def given_back() -> bool:
        rows = await world.ask(
            "deliveries.held",
            rows=json.dumps([[id_, d["event_id"]] for d in await world.deliveries(id_)]),
            node=world.engine.ids.node,
        )
        return bool(next(iter(rows[0].values())) == "[]")

    await eventually(given_back)
    await world.change("endpoints.enable", workspace_id=1, id=id_, now=now_us())
    await world.engine.endpoints.refresh([1])
    outside.behave("owner", delay=0)
    assert (await eventually(lambda: world.settled(id_))).delivered == 200
    await world.check_ledger()


async def test_a_changed_url_takes_effect_for_what_is_queued(world: World, outside: Outside):
    id_ = await world.endpoint(outside.hook("url-old", delay=0.05), concurrency=1)
    await world.post(100)
    await eventually(lambda: outside.count("url-old") > 1)
    await move(world, id_, outside.hook("url-new"), concurrency=64)
    # Again the recorder is the first to find out.
    await world.post(1)
    assert (await eventually(lambda: world.settled(id_))).delivered == 101
    assert outside.count("url-old") < 50
    assert outside.count("url-old") + outside.count("url-new") == 101


async def test_what_finds_no_room_waits_in_the_database_in_order(world: World, outside: Outside):
    id_ = await world.endpoint(outside.hook("spill", delay=0.0), concurrency=1)
    await asyncio.gather(*(world.post(500, name=f"m{turn}") for turn in range(8)))
    assert (await eventually(lambda: world.settled(id_), 40)).delivered == 4000
    ids = [record["headers"]["webhook-id"] for record in outside.received("spill")]
    assert len(ids) == 4000
    assert ids == sorted(ids)
    await world.check_ledger()


async def test_a_slow_receiver_slows_nobody_else(tmp_path, outside: Outside):
    world = await open_world(tmp_path, max_in_flight=100)
    try:
        slow = [
            await world.endpoint(outside.hook(f"hangs-{n}", hang=True), timeout_ms=30_000, concurrency=1000)
            for n in range(3)
        ]
        fast = await world.endpoint(outside.hook("is-fast"))
        for turn in range(10):
            await world.post(100, name=f"m{turn}")
            assert await eventually(functools.partial(world_has, world, fast, (turn + 1) * 100), within=3)
        assert (await world.balance(fast)).delivered == 1000
        await world.check_ledger()
        assert [(await world.balance(id_)).pending for id_ in slow] == [1000] * 3
    finally:
        # A normal stop would wait for the requests that hang.
        await abandon_world(world)


async def world_has(world: World, endpoint_id: int, delivered: int) -> bool:
    """Return whether this many were delivered."""
    return (await world.balance(endpoint_id)).delivered >= delivered


async def test_deliveries_of_a_deleted_endpoint_are_dead(world: World, outside: Outside):
    id_ = await world.endpoint(outside.hook("deleted", hang=True), timeout_ms=300, concurrency=2)
    await world.post(1200)
    await eventually(lambda: outside.count("deleted") >= 2)
    await world.change("endpoints.delete", workspace_id=1, id=id_, now=now_us())
    await world.engine.endpoints.refresh([1])
    balance = await eventually(lambda: world.settled(id_))
    assert (balance.accepted, balance.dead) == (1200, 1200)
    await eventually(lambda: not world.engine.dispatcher.in_flight)
    # The requests in progress ended after the rest was given up, and do not count.
    await world.check_ledger()
    assert {delivery["reason"] for delivery in await world.deliveries(id_)} <= {"endpoint_deleted"}


@pytest.mark.parametrize("seed", range(3))
async def test_the_ledger_survives_a_storm(tmp_path, outside: Outside, seed):
    dice = random.Random(seed)
    world = await open_world(tmp_path, retry_base=0.001)
    behaviours: list[dict[str, Any]] = [
        {},
        {"fail_rate": 0.3, "seed": str(seed)},
        {"fail_first": 2},
        {"fail_rate": 0.5, "fail_status": 503, "seed": str(seed)},
        {"close_after": True},
        {"reset": True},
        {"status": 429, "retry_after": "0"},
        {"fail_rate": 0.01, "fail_status": 410, "seed": str(seed)},
        {"hang": True},
    ]
    ids = [
        await world.endpoint(
            outside.hook(f"storm-{seed}-{n}", **options), timeout_ms=100, concurrency=dice.choice([1, 8, 64])
        )
        for n, options in enumerate(behaviours)
    ]
    try:
        for turn in range(15):
            await asyncio.gather(
                *(world.post(dice.randrange(1, 30), name=f"m{turn}-{n}") for n in range(dice.randrange(1, 6)))
            )
            choice = dice.choice(ids)
            what = dice.choice(["endpoints.enable", "endpoints.disable", "nothing", "nothing", "restart", "crash"])
            if what == "endpoints.enable":
                await world.change(what, workspace_id=1, id=choice, now=now_us())
            elif what == "endpoints.disable":
                await world.change(what, workspace_id=1, id=choice, now=now_us(), reason="by_owner")
            elif what in ("restart", "crash"):
                await (close_world if what == "restart" else abandon_world)(world)
                world = await open_world(tmp_path, retry_base=0.001)
            await world.check_ledger()
        for id_ in ids:
            await world.change("endpoints.enable", workspace_id=1, id=id_, now=now_us())

        async def calm() -> bool:
            # Endpoints that hang or ask for fewer requests get theirs slowly, and disabled ones get none.
            for id_ in set(ids) - {ids[6], ids[8]}:
                if (await world.balance(id_)).pending and (await world.record(id_))["status"] == "enabled":
                    return False
            return True

        await world.engine.endpoints.refresh([1])
        await eventually(calm, 60)
        await world.check_ledger()
        healthy = await world.balance(ids[0])
        assert healthy.dead == healthy.pending == 0
        assert outside.distinct(f"storm-{seed}-0") == healthy.delivered
        recovering = await world.balance(ids[2])
        assert recovering.dead == recovering.pending == 0
    finally:
        await close_world(world)
