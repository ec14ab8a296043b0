"""Live feeds with two nodes on one database: pages of both are told what one of them has recorded."""

import pytest

pytestmark = pytest.mark.postgres


async def test_pages_of_both_nodes_are_told(pair):
    feeds = [node.engine.live_feeds.open(1) for node in pair.nodes]
    for node in pair.nodes:
        await node.run("live")
    await pair.one.emit(1)
    for node, feed in zip(pair.nodes, feeds, strict=True):
        await node.run("live")
        assert "events" in await feed.wait(5)
        node.engine.live_feeds.leave(1, feed)
        await node.run("live")
        assert not node.engine.live_feeds._states
