"""Changes of one node reach the other; deleted rows leave nothing behind; accepted items are sent immediately."""

from pathlib import Path
from typing import Any

import pytest

from tests.engine.conftest import Outside, World
from tests.engine.messaging.test_sending import DENIED, Post, number
from tests.nodes.conftest import Pair, open_node
from tests.waiting import eventually
from waypost.clock import SECOND, now_us
from waypost.domain.templates.template import TemplateSource, Variant
from waypost.domain.values.ids import public
from waypost.engine.providers import connection_records
from waypost.engine.templates import templates
from waypost.engine.webhooks import endpoints

pytestmark = pytest.mark.postgres


async def change_url(world: World, endpoint_id: int, url: str) -> None:
    """Change the URL of an endpoint as its owner does."""
    await world.database.transact(_set_url, endpoint_id, url)


async def _set_url(tx: Any, endpoint_id: int, url: str) -> None:
    await tx._connection.execute("UPDATE endpoints SET url = $1, version = version + 1 WHERE id = $2", url, endpoint_id)
    await tx.run("configurations.touch", area="webhooks", workspace_id=1)


async def test_an_endpoint_that_changed_is_known_with_the_next_event_and_the_next_claim(still: Pair):
    endpoint_id = await still.endpoint("before")
    await still.other.post(1)
    await eventually(lambda: still.outside.count("before") == 1)
    await change_url(still.one, endpoint_id, still.outside.hook("after"))
    await still.other.post(3)
    await eventually(lambda: still.outside.count("after") == 3)
    await change_url(still.one, endpoint_id, still.outside.hook("last"))
    await still.one.owed(5)

    async def claimed() -> bool:
        # The first run finds that the endpoint has changed, and reloads it.
        await still.other.run("claim")
        return still.outside.count("last") == 5

    await eventually(claimed)
    assert (still.outside.count("before"), still.outside.count("after")) == (1, 3)


async def test_a_template_that_changed_is_used_at_once(still: Pair):
    one = still.one.engine
    await still.connect("http")
    variants = [[Variant(content=TemplateSource(text=text))] for text in ("old", "new")]
    made = await one.database.transact(templates.create_template, one.ids, 1, "t", "sms", variants[0], now_us())
    for text, node_post in (("old", still.other_post), ("new", still.other_post)):
        if text == "new":
            await one.database.transact(templates.change_template, 1, made, "t", variants[1], now_us())
        await node_post.send(number(1), text=None, template_id=public("tpl", made.id))
    await eventually(lambda: [sent["body"] for sent in still.post.taken("gateway")] == ["old", "new"])


async def test_a_connection_that_one_node_paused_stops_the_other_and_goes_on_when_it_is_mended(still: Pair):
    connection_id = await still.connect(config={"project_id": DENIED})
    first = await still.post.send(number(1))

    async def paused() -> bool:
        return (await still.post.account(connection_id)).status == "paused"

    await eventually(paused)
    await still.other.run("refresh")
    # The first node may have claimed the message once more before it learnt of its own pause.
    await still.post.drained()
    calls = len(still.post.calls())
    second = await still.other_post.send(number(2))
    await still.other.run("messages")
    await still.other_post.drained()
    assert len(still.post.calls()) == calls
    assert {(await still.post.look(id_))["status"] for id_ in (first, second)} == {"queued"}
    await still.post.mend(connection_id, project_id="0f1e2d3c4b5a69788796a5b4c3d2e1f0")
    await still.other.run("refresh")
    await still.other.run("messages")
    await still.post.reached(sent=2)


async def test_what_is_deleted_leaves_nothing_in_memory(still: Pair):
    ids = [await still.endpoint(f"gone-{n}", concurrency=1) for n in range(12)]
    for n in range(12):
        still.outside.behave(f"gone-{n}", delay=0.2)
    accounts = [await still.connect("http", name=f"gone-{n}", concurrency=1) for n in range(4)]
    still.post.fate("gateway", latency=0.1, receipts=False)
    for node in still.nodes:
        await node.post(30)
    for account in accounts:
        await still.post.send_many([number(n) for n in range(8)], connection_id=public("con", account))
    await eventually(lambda: all(node.engine.dispatcher.held for node in still.nodes))
    for node in still.nodes:
        node.engine.dispatcher.note_spilled(ids[0])
    for id_ in ids:
        await still.one.database.transact(endpoints.delete_webhook, 1, id_, now_us())
    for account in accounts:
        await still.one.database.transact(connection_records.delete_connection, 1, account, now_us())
    await still.both("refresh")

    async def empty() -> bool:
        await still.both("replay", 1)
        await still.both("recover", 1)
        pending = await still.one.sql("SELECT 1 FROM deliveries WHERE state = 'pending' LIMIT 1")
        return not pending and all(_is_empty(node) for node in still.nodes)

    await eventually(empty)
    assert {row[0] for row in await still.one.sql("SELECT DISTINCT status FROM messages")} <= {"failed", "sent"}
    await still.check()


def _is_empty(node: World) -> bool:
    dispatcher, sender = node.engine.dispatcher, node.engine.sender
    webhooks = (
        dispatcher._lanes,
        dispatcher._spilled,
        dispatcher.holdings,
        dispatcher.held,
        dispatcher.held_bytes,
        dispatcher._room._held_unproven,
        dispatcher._room._unproven_bytes,
        dispatcher.in_flight,
        sum(dispatcher._slots.under_way),
    )
    messages = (sender._lanes, sender._alarms, sender._again, sender._broken, sender._held, sender._calls)
    return not any(webhooks) and not any(messages) and not node.engine.connections._health


async def test_what_is_accepted_is_sent_without_any_job(still: Pair):
    endpoint_id = await still.endpoint("woken")
    await still.connect("http")
    await still.one.post(5)
    await still.post.send(number(1))
    await still.post.reached(sent=1)
    await eventually(lambda: still.outside.count("woken") == 5)
    assert still.one.engine.webhooks_due._due_at is None
    # A retry sets the alarm of the job that claims it; spilled deliveries set it to now.
    still.outside.script("woken", {"status": 500})
    await still.one.post(1)
    await eventually(lambda: still.one.engine.webhooks_due._due_at is not None)
    (due_at,) = (await still.one.sql("SELECT due_at FROM deliveries WHERE state = 'pending'"))[0]
    assert still.one.engine.webhooks_due._due_at == due_at
    assert due_at > now_us() - 20 * SECOND
    still.other.engine.dispatcher.note_spilled(endpoint_id)
    await still.other.post(1)
    assert (still.other.engine.webhooks_due._due_at or due_at) <= now_us()


async def test_what_a_node_accepts_that_does_not_send_the_other_one_sends(
    pair: Pair, postgres_url: str, tmp_path: Path, sunk: Outside
):
    await pair.endpoint("for-others")
    await pair.connect("http")
    silent = await open_node(postgres_url, tmp_path, sends=False)
    try:
        await silent.post(10)
        await Post(silent, sunk).send_many([number(n) for n in range(10)])
        await eventually(lambda: sunk.count("for-others") == 10)
        await pair.post.reached(sent=10)
        assert silent.engine.dispatcher.held == 0
        assert not silent.engine.sender._lanes
        # It has no share of the limits.
        await eventually(lambda: pair.one.engine.sender.share == pair.other.engine.sender.share == 2)
    finally:
        await silent.engine.stop()
        await silent.database.close()
