"""One of two nodes deletes a workspace: the other notices, both delete its rows once, and a kill loses nothing."""

import pytest

from tests.nodes.conftest import Pair
from waypost.clock import iso, now_us
from waypost.domain.accounts import workspace_deletion
from waypost.engine.accounts.workspaces import Keyring, create_key
from waypost.engine.tracking.links import LinkTarget, add_links, new_links
from waypost.engine.workspaces import deletions
from waypost.errors import Unauthorized

pytestmark = pytest.mark.postgres


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(workspace_deletion, "GRACE", 0)


async def close(pair: Pair) -> None:
    await pair.one.database.transact(deletions.close_workspace, 1, now_us())


async def test_the_other_node_notices_with_its_next_refresh(still: Pair):
    engine = still.other.engine
    made = await still.one.database.transact(create_key, still.one.engine.ids, 1, "key", ["manage"], now_us())
    (link,) = new_links([LinkTarget(workspace_id=1, url="https://a.example")], now_us(), 400)
    await still.one.database.transact(add_links, [link])
    await still.connect()
    await still.endpoint("ok")
    keyring = Keyring(still.other.database, engine.closed)
    engine.closed.forget.append(keyring.forget)
    header = f"Bearer {made['key']}"
    assert (await keyring.find(header)).workspace_id == 1
    assert keyring.remember(header) is not None
    token = link.short_url("").rpartition("/")[2]
    assert await engine.link_finder.find(token) is not None

    await close(still)
    await still.other.run("refresh")

    assert keyring.remember(header) is None
    with pytest.raises(Unauthorized):
        await keyring.find(header)
    assert engine.link_finder.cached(token) is None
    assert await engine.link_finder.find(token) is None
    assert engine.connections.all() == []
    snapshot = engine.endpoints.snapshot(1)
    assert snapshot is not None
    assert snapshot.endpoints == {}


async def test_both_delete_and_each_row_counts_once(still: Pair, monkeypatch):
    monkeypatch.setattr(deletions, "STEP", 20)
    monkeypatch.setattr(deletions, "STEPS", 3)
    await still.endpoint("ok")
    await still.one.owed(150)
    before = (await still.one.sql("SELECT count(*) FROM events"))[0][0]
    assert before >= 150
    await close(still)
    for _ in range(60):
        await still.both("workspaces")
        if await still.one.sql("SELECT 1 FROM workspace_deletions WHERE stage = 'done'"):
            break
        # The ledger is right as long as it is there.
        await still.check()
    ((stage, deleted),) = await still.one.sql("SELECT stage, deleted FROM workspace_deletions")
    assert stage == "done"
    for table in ("events", "deliveries", "endpoints", "endpoint_counts", "profiles", "configurations"):
        assert await still.one.sql(f"SELECT count(*) FROM {table}") == [(0,)], table  # noqa: S608
    # Events, deliveries, the endpoint, its ledger, and versions of the configuration; none of them twice.
    assert 301 <= deleted <= 301 + 8 + len(deletions.AREAS) + 50


async def test_what_a_killed_node_began_the_other_ends(still: Pair, monkeypatch):
    monkeypatch.setattr(deletions, "STEP", 10)
    monkeypatch.setattr(deletions, "STEPS", 12)
    await still.endpoint("ok")
    await still.one.owed(100)
    await close(still)
    await still.one.run("workspaces")
    ((stage,),) = await still.one.sql("SELECT stage FROM workspace_deletions")
    assert stage != "done"
    left = (await still.one.sql("SELECT count(*) FROM events"))[0][0]
    await still.one.die()
    assert left > 0
    while await still.other.run("workspaces") == 0.0:
        pass
    assert await still.other.sql("SELECT stage, due_at FROM workspace_deletions") == [("done", None)]
    assert await still.other.sql("SELECT count(*) FROM events") == [(0,)]
    assert await still.other.sql("SELECT count(*) FROM deliveries") == [(0,)]


async def test_messages_that_are_not_sent_are_skipped_and_counted(still: Pair, monkeypatch):
    monkeypatch.setattr(deletions, "STEP", 4)
    monkeypatch.setattr(deletions, "STEPS", 1)
    monkeypatch.setattr(workspace_deletion, "GRACE", 3_600_000_000)
    await still.connect()
    later = iso(now_us() + 3_600_000_000)
    for number in range(10):
        await still.post.send(f"+1202200{number:04}", send_at=later)
    await close(still)
    for _ in range(4):
        await still.both("workspaces")
    await still.check()
    assert await still.one.sql("SELECT DISTINCT status, reason FROM messages") == [("skipped", "workspace_deleted")]
    # The rows are deleted when nothing can be under way any more.
    assert await still.one.sql("SELECT stage, again FROM workspace_deletions") == [("messages", 1)]
    await still.one.sql("UPDATE workspace_deletions SET due_at = 0, created_at = 0")
    for _ in range(200):
        await still.other.run("workspaces")
        if await still.one.sql("SELECT 1 FROM workspace_deletions WHERE stage = 'done'"):
            break
    assert await still.one.sql("SELECT count(*) FROM messages") == [(0,)]
    assert await still.one.sql("SELECT count(*) FROM events") == [(0,)]
