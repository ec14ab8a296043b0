"""A link that one node made redirects at the other at once; both count its clicks."""

import os

import pytest

from tests.nodes.conftest import Pair
from tests.waiting import eventually
from waypost.clock import now_us
from waypost.domain.tracking.clicks import Visit
from waypost.engine.tracking.links import LinkTarget, add_links, new_links
from waypost.engine.tracking.settings import save_settings

pytestmark = pytest.mark.postgres


async def test_a_link_of_one_node_is_clicked_at_the_other_at_once(still: Pair):
    one, other = still.one.engine, still.other.engine
    (made,) = new_links([LinkTarget(workspace_id=1, url="https://a.example", message_id=5)], now_us(), 400)
    # A guess before the link was there would be remembered for a few seconds; of another id it does no harm.
    assert await other.links.find(made.id ^ 1) is None
    await one.database.transact(add_links, [made])
    visit = Visit(method="GET", ip="192.0.2.1", user_agent="Mozilla/5.0 (iPhone)")
    for engine in (other, one, other):
        link = await engine.links.find(made.id)
        assert link is not None
        recorded = engine.clicks.take(link, visit, now_us(), os.urandom(8).hex())
        assert recorded is not None
        await recorded
    found = await still.one.sql("SELECT sum(clicks)::bigint, sum(machine_clicks)::bigint FROM click_counts")
    assert found == [(3, 0)]
    assert await still.one.sql("SELECT count(*) FROM events WHERE type = 'message.clicked'") == [(3,)]


async def test_a_click_that_two_nodes_record_is_one(still: Pair):
    one, other = still.one.engine, still.other.engine
    (made,) = new_links([LinkTarget(workspace_id=1, url="https://a.example", message_id=5)], now_us(), 400)
    await one.database.transact(add_links, [made])
    visit, at = Visit(method="GET", ip="192.0.2.1", user_agent="Mozilla/5.0 (iPhone)"), now_us()
    for engine in (one, other):
        link = await engine.links.find(made.id)
        assert link is not None
        # As after a commit that was made and not confirmed.
        engine.clicks.take(link, visit, at, "the same")
    await eventually(lambda: one.clicks.waiting == other.clicks.waiting == 0)
    assert await still.one.sql("SELECT sum(clicks)::bigint FROM click_counts") == [(1,)]


async def test_a_tracking_domain_that_was_set_at_one_node_is_known_to_the_other(still: Pair):
    await still.one.database.transact(
        save_settings, 1, now_us(), base_url="https://s.example", data_center="global", link_days=7, utm=None
    )
    for node in still.nodes:
        await node.run("refresh")
        found = node.engine.tracking_settings.get(1)
        assert (found.base_url, found.link_days) == ("https://s.example", 7)
