"""Live feeds: what has changed, who may look, and when a feed ends."""

import asyncio
import json

import pytest

from tests.api.calling import add_user, bearer, eventually, ok, refused, serve, session_of, track
from waypost.api.edge import stream
from waypost.domain.accounts.permissions import Role
from waypost.domain.values.ids import public


class Page:
    """An open stream, as a browser reads it."""

    def __init__(self, engine, headers, query=""):
        self.status = 0
        self.topics = []
        self._closed = asyncio.Event()
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/v1/stream",
            "query_string": query.encode(),
            "client": ("192.0.2.7", 1),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
        self.task = asyncio.ensure_future(serve(engine)(scope, self._receive, self._send))

    async def _receive(self):
        await self._closed.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message):
        self.status = message.get("status", self.status)
        for line in message.get("body", b"").decode().splitlines():
            if line.startswith("data: "):
                self.topics += json.loads(line.removeprefix("data: "))["topics"]

    async def opened(self):
        assert await eventually(lambda: self.status)
        return self

    async def close(self):
        self._closed.set()
        await self.task


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(stream, "PAUSE_S", 0)


async def test_a_page_is_told_what_changed(engine, client, keys):
    page = await Page(engine, bearer(keys.read)).opened()
    await engine.live_feeds.poll()
    await track(client)
    assert await eventually(lambda: "events" in page.topics)
    await ok(client.put("/v1/sending-rules", json={"timezone": "Europe/Berlin"}))
    assert await eventually(lambda: "settings" in page.topics)
    await page.close()
    assert not engine.live_feeds._feeds


async def test_many_pages_are_told_one_after_another(engine, client, keys, monkeypatch):
    drawn = set()

    def draw(low, high):
        drawn.add((low, high))
        return low

    monkeypatch.setattr("waypost.api.edge.stream.random.uniform", draw)
    page = await Page(engine, bearer(keys.read)).opened()
    assert engine.live_feeds.spread_s == 0
    # As if 1,000 were open where 100 can be told in a second.
    monkeypatch.setattr("waypost.engine.insights.live_feeds.TELLS_PER_S", 0.1)
    await engine.live_feeds.poll()
    await track(client)
    assert await eventually(lambda: "events" in page.topics)
    # 18 s at most, 9 s in the middle, and the second that always passes: 10 s for each.
    assert drawn == {(0, 18)}
    await page.close()


async def test_another_workspace_is_told_nothing(engine, client, keys):
    page, own = Page(engine, bearer(keys.stranger)), Page(engine, bearer(keys.read))
    for one in (page, own):
        await one.opened()
    await engine.live_feeds.poll()
    await track(client)
    assert await eventually(lambda: "events" in own.topics)
    assert page.topics == []
    for one in (page, own):
        await one.close()


async def test_who_may_not_look_is_refused(engine, browser, client, keys):
    await refused(browser.get("/v1/stream"), 401, "unauthorized")
    await refused(browser.get("/v1/stream", headers=bearer(keys.ingest)), 403, "forbidden")
    await refused(client.post("/v1/stream"), 405, "method_not_allowed")


async def test_a_user_chooses_the_workspace_in_the_url(engine, keys):
    user = await add_user(engine, keys.workspace_id, Role.VIEWER)
    headers = await session_of(engine, user)
    page = await Page(engine, headers, f"workspace={public('ws', keys.workspace_id)}").opened()
    assert page.status == 200
    await page.close()
    other = await Page(engine, headers, f"workspace={public('ws', keys.workspace_id + 1)}").opened()
    assert other.status == 404
    await other.task


async def test_a_feed_ends_when_the_user_is_removed(engine, keys, monkeypatch):
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.02)
    user = await add_user(engine, keys.workspace_id, Role.VIEWER)
    page = await Page(engine, await session_of(engine, user)).opened()

    async def remove(tx):
        await tx.run("memberships.delete", user_id=user, workspace_id=keys.workspace_id)

    await engine.database.transact(remove)
    engine.sessions.forget()
    await asyncio.wait_for(page.task, 5)


async def test_feeds_end_when_the_process_stops(engine, keys):
    page = await Page(engine, bearer(keys.read)).opened()
    engine.live_feeds.close()
    await asyncio.wait_for(page.task, 5)
