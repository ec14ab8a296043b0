"""Two nodes that hear of the same addresses at once keep one history, and the latest statement counts on both."""

import asyncio
from typing import Any

import pytest

from tests.engine.messaging.test_sending import number
from tests.nodes.conftest import Node, Pair
from tests.storage.test_messages import receipt
from tests.waiting import eventually
from waypost.clock import SECOND, now_us
from waypost.domain.audience.subscriptions import SubscriptionChange, SubscriptionState
from waypost.engine.audience.subscriptions import ChangeResult, set_subscriptions
from waypost.engine.runtime.unit import Unit
from waypost.storage.database import Tx

pytestmark = pytest.mark.postgres

ON, OFF = SubscriptionState.SUBSCRIBED, SubscriptionState.UNSUBSCRIBED


async def say(node: Node, *changes: SubscriptionChange) -> list[ChangeResult]:
    """Set subscriptions as the API does."""

    async def work(tx: Tx, unit: Unit) -> list[ChangeResult]:
        return await set_subscriptions(tx, list(changes), unit)

    return await node.engine.recorder.perform(work)


def change(state: SubscriptionState, at: int | None, address: str, source: str = "form") -> SubscriptionChange:
    return SubscriptionChange(1, "sms", address, state, source, at)


async def test_an_address_that_both_nodes_set_at_once_has_one_history(still: Pair):
    now, address = now_us(), number(1)
    said = [change(ON if turn % 2 else OFF, now - turn, address) for turn in range(20)]
    # Each change is made by both nodes: the first ones meet at an address that nothing is known of.
    await asyncio.gather(*(say(node, one) for one in said for node in still.nodes))
    rows = await still.one.sql("SELECT state, changed_at, effective FROM subscription_history ORDER BY changed_at DESC")
    assert [row[:2] for row in rows] == [(one.state.value, one.changed_at) for one in said]
    assert rows[0][2] == 1
    assert await still.other.sql("SELECT state, changed_at FROM subscriptions") == [("unsubscribed", now)]
    told = await still.one.sql("SELECT data FROM events WHERE type = 'subscription.changed'")
    # Every event moves from one state to the other, and the last one came to what counts.
    assert len({data for (data,) in told}) == len(told)
    assert sum('"before":null' in data for (data,) in told) == 1
    ons = sum('"state":"subscribed"' in data for (data,) in told)
    first_is_on = any('"before":null' in data and '"state":"subscribed"' in data for (data,) in told)
    assert len(told) - ons == ons + (not first_is_on)


@pytest.mark.parametrize("known", [True, False])
async def test_a_node_decides_by_what_the_other_one_is_just_writing(still: Pair, known: bool):
    now, address = now_us(), number(1)
    written, released = asyncio.Event(), asyncio.Event()
    if known:
        await say(still.one, change(OFF, now - 10, address))

    async def slow(tx: Tx, unit: Unit) -> None:
        await set_subscriptions(tx, [change(ON, now, address)], unit)
        written.set()
        await released.wait()

    async def blocked() -> bool:
        return bool(await still.one.sql("SELECT 1 FROM pg_locks WHERE NOT granted"))

    first = asyncio.create_task(still.one.engine.recorder.perform(slow))
    await written.wait()
    second = asyncio.create_task(say(still.other, change(OFF, now - 5, address)))
    await eventually(blocked)
    released.set()
    await first
    (result,) = await second
    assert (result.effective, result.subscription.state) == (False, ON)
    assert await still.one.sql("SELECT state, changed_at FROM subscriptions") == [("subscribed", now)]
    rows = await still.one.sql("SELECT state, effective FROM subscription_history ORDER BY changed_at DESC LIMIT 2")
    assert rows == [("subscribed", 1), ("unsubscribed", 0)]


async def test_of_two_requests_at_once_the_opt_out_counts(still: Pair):
    now = now_us()
    for n in range(10):
        address = number(n)
        states = [OFF, ON] if n % 2 else [ON, OFF]
        await asyncio.gather(
            *(say(node, change(state, now, address)) for node, state in zip(still.nodes, states, strict=True))
        )
    assert await still.one.sql("SELECT DISTINCT state FROM subscriptions") == [("unsubscribed",)]
    assert await still.one.sql("SELECT count(*) FROM subscription_history") == [(20,)]


async def test_a_stop_that_one_node_hears_keeps_the_other_from_sending(still: Pair):
    connection_id = await still.connect("http")
    address, now = number(3), now_us() - 5 * SECOND

    def heard(text: str, at: int) -> Any:
        return receipt(
            connection_id=connection_id, kind="inbound", address=address, text=text, receipt_id=text, occurred_at=at
        )

    async def came_to(text: str) -> Any:
        id_ = await still.other_post.send(address, text=text)

        async def look() -> Any:
            found = await still.other_post.look(id_)
            return found if found["status"] in ("sent", "skipped") else None

        found = await eventually(look)
        return found["status"], found["reason"]

    assert await came_to("one") == ("sent", None)
    await still.one.engine.journal.append([heard("STOP", now)])
    assert await came_to("two") == ("skipped", "not_consented")
    await still.one.engine.journal.append([heard("START", now - 1)])
    assert await came_to("three") == ("skipped", "not_consented")
    await still.other.engine.journal.append([heard("UNSTOP", now + 1)])
    assert await came_to("four") == ("sent", None)
    assert [sent["body"] for sent in still.post.taken("gateway")] == ["one", "four"]
