"""Short links redirect to what was sent and to nothing else, whatever the store does; every click is recorded."""

import asyncio
import re
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.api.calling import Keys, eventually, ok, refused, serve
from tests.api.edge.test_http_protocol import LONG, serving
from waypost.clock import DAY, now_us
from waypost.domain.tracking.tokens import ALPHABET, BITS, to_token
from waypost.domain.values.ids import internal, public
from waypost.engine.process import Engine
from waypost.engine.tracking.links import LinkTarget, NewLink, add_links, new_links
from waypost.errors import Unavailable
from waypost.storage.database import Tx

URL = "https://shop.example/spring?a=%20b&c=;d#e"
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Mobile Safari/604.1"


class Door:
    """The app of an engine, as browsers see it, and what it recorded."""

    def __init__(self, engine: Engine, keys: Keys, client: httpx.AsyncClient) -> None:
        self.engine = engine
        self.workspace_id = keys.workspace_id
        self.client = client

    async def link(self, url: str = URL, *, days: int = 400, at: int | None = None, **target: Any) -> NewLink:
        wanted = LinkTarget(workspace_id=self.workspace_id, url=url, **target)
        (made,) = new_links([wanted], now_us() if at is None else at, days)
        await self.engine.database.transact(add_links, [made])
        return made

    async def follow(self, link: NewLink | str, method: str = "GET", **headers: str) -> httpx.Response:
        token = link if isinstance(link, str) else to_token(link.id)
        sent = {"user-agent": PHONE} | {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.request(method, f"/c/{token}", headers=sent)

    async def clicks(self) -> list[dict[str, Any]]:
        found = await ok(self.client.get("/v1/events?type=message.clicked&limit=100"))
        return [event["data"] for event in reversed(found["data"])]


@pytest.fixture
async def door(engine: Engine, keys: Keys) -> AsyncIterator[Door]:
    transport = httpx.ASGITransport(app=serve(engine), client=("198.51.100.7", 4321))
    headers = {"authorization": f"Bearer {keys.manage}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://waypost", headers=headers) as client:
        yield Door(engine, keys, client)


async def test_a_link_redirects_to_exactly_what_was_stored(door: Door):
    link = await door.link()
    answer = await door.follow(link)
    assert (answer.status_code, answer.content) == (302, b"")
    assert answer.headers["location"] == URL
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    (click,) = await door.clicks()
    assert (click["url"], click["link_id"]) == (URL, public("lnk", link.id))
    assert (click["ip"], click["user_agent"], click["device"], click["machine"]) == (
        "198.51.100.7",
        PHONE,
        "phone",
        False,
    )


async def test_nothing_that_the_visitor_sends_comes_back(door: Door):
    link = await door.link()
    token = to_token(link.id)
    for path in (f"/c/{token}?url=https://evil.example", f"/c/{token}?{URL}#x"):
        answer = await door.client.get(path, headers={"host": "evil.example", "x-forwarded-host": "evil.example"})
        assert (answer.status_code, answer.headers["location"]) == (302, URL)
        assert "evil" not in str(answer.headers) + answer.text
    for path in ("/c/<script>alert(1)</script>", "/c/evil.example"):
        answer = await door.client.get(path)
        assert answer.status_code == 404
        assert "evil" not in answer.text
        assert "<script>" not in answer.text


async def test_other_tokens_get_a_friendly_page_and_are_all_alike(door: Door):
    token = to_token((await door.link()).id)
    swapped = token[:-1] + ALPHABET[ALPHABET.index(token[-1]) - 1]
    pages = set()
    for other in (
        token[:-1], token + "0", swapped, "", "0", "000000000", "zzzzzzzzz", to_token((1 << BITS) - 1),
        token + "/", "/" + token, token + "%20", "%00", "é" * 9, "a" * 5000, token + "%2f..",
    ):  # fmt: skip
        answer = await door.follow(other)
        assert (answer.status_code, other) == (404, other)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        pages.add(answer.text)
    assert len(pages) == 1
    (page,) = pages
    assert "This link does not exist" in page
    # The page shows its style although nothing else may load.
    assert re.search(r"style-src 'sha256-[\w+/]+='", (await door.follow("0")).headers["content-security-policy"])
    assert await door.clicks() == []


async def test_an_expired_link_says_so(door: Door):
    link = await door.link(at=now_us() - 3 * DAY, days=2)
    answer = await door.follow(link)
    assert answer.status_code == 410
    assert "This link has expired" in answer.text
    assert "location" not in answer.headers
    assert await door.clicks() == []


async def test_a_head_is_answered_alike_and_flagged(door: Door):
    link = await door.link()
    answer = await door.follow(link, "HEAD")
    assert (answer.status_code, answer.headers["location"], answer.content) == (302, URL, b"")
    await door.follow(link, sec_purpose="prefetch;prerender")
    await door.follow(link, purpose="preview")
    await door.follow(link, x_moz="prefetch")
    await door.follow(link, user_agent="Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)")
    reasons = [(click["machine"], click["machine_reason"]) for click in await door.clicks()]
    assert reasons == [(True, "head"), *[(True, "prefetch")] * 3, (True, "preview")]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_other_methods_are_refused(door: Door, method: str):
    link = await door.link()
    await refused(door.follow(link, method), 405, "method_not_allowed")
    assert (await door.follow(link, method)).headers["allow"] == "GET, HEAD"


async def test_the_client_behind_a_trusted_proxy_is_known(engine: Engine, keys: Keys, door: Door):
    link = await door.link()
    await door.follow(link, x_forwarded_for="203.0.113.9")
    transport = httpx.ASGITransport(app=serve(engine), client=("127.0.0.1", 4321))
    async with httpx.AsyncClient(transport=transport, base_url="http://waypost") as proxy:
        path = f"/c/{to_token(link.id)}"
        await proxy.get(path, headers={"x-forwarded-for": "192.0.2.66, 203.0.113.9"})
        await proxy.get(path, headers=[("x-forwarded-for", "192.0.2.66"), ("x-forwarded-for", "203.0.113.10")])
        await proxy.get(path)
    found = [click["ip"] for click in await door.clicks()]
    # Who is not a trusted proxy may write anything into the header.
    assert found == ["198.51.100.7", "203.0.113.9", "203.0.113.10", "127.0.0.1"]


async def test_what_a_browser_calls_itself_is_kept_readable_and_short(door: Door):
    link = await door.link()
    path = f"/c/{to_token(link.id)}"
    await door.client.get(path, headers={b"user-agent": b"Mozilla/5.0 \xc3\xa9 \xff\x01\x7f" + b"x" * 5000})
    (click,) = await door.clicks()
    assert click["user_agent"].startswith("Mozilla/5.0 é �x")
    assert len(click["user_agent"]) <= 512


async def test_a_message_shows_its_clicks(door: Door, client: httpx.AsyncClient, sink: Any):
    config = {"url": f"{sink.url}/gateway/send", "auth": "bearer", "token": "made-up"}
    await ok(client.post("/v1/connections", json={"name": "sms", "connector": "http", "config": config}), 201)
    sent = await ok(client.post("/v1/messages", json={"channel": "sms", "to": "+12025550101", "text": "Hi"}), 202)
    link = await door.link(message_id=internal("msg", sent["id"]), at=now_us())
    await door.follow(link, "HEAD")
    await door.follow(link, "HEAD")
    await eventually(lambda: door.engine.clicks.waiting == 0)
    shown = await ok(client.get(f"/v1/messages/{sent['id']}"))
    assert (shown["clicks"], shown["machine_clicks"]) == (0, 2)
    (first, _) = await door.clicks()
    assert first["message"]["id"] == sent["id"]


class Held:
    """Holds the writer of the database, as a slow disk would."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._release = threading.Event()
        self._begun = threading.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        async def hold(_: Tx) -> None:
            self._begun.set()
            assert self._release.wait(30)

        self._task = asyncio.create_task(self._engine.database.transact(hold))
        await eventually(self._begun.is_set)

    async def __aexit__(self, *_: object) -> None:
        self._release.set()
        assert self._task is not None
        await self._task


async def test_a_slow_store_holds_up_no_redirect_and_the_click_comes_later(door: Door, engine: Engine):
    link = await door.link()
    async with Held(engine):
        began = time.monotonic()
        answers = await asyncio.gather(*(door.follow(link) for _ in range(20)))
        took = time.monotonic() - began
        assert [answer.status_code for answer in answers] == [302] * 20
        assert engine.clicks.waiting == 20
        # They wait for 50 ms; the rest is a busy machine.
        assert 0.05 <= took < 5
    await eventually(lambda: engine.clicks.waiting == 0)
    assert len(await door.clicks()) == 20


async def test_clicks_beyond_the_bound_are_redirected_and_counted_as_dropped(
    door: Door, engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    link = await door.link()
    monkeypatch.setattr(engine.clicks, "_most", 5)
    async with Held(engine):
        answers = await asyncio.gather(*(door.follow(link) for _ in range(12)))
        assert [answer.headers["location"] for answer in answers] == [URL] * 12
    await eventually(lambda: engine.clicks.waiting == 0)
    assert len(await door.clicks()) == 5
    shown = (await door.client.get("/metrics")).text
    assert "waypost_clicks_dropped_total 7.0" in shown
    assert 'waypost_clicks_total{by="person"} 5.0' in shown
    await door.follow(link)
    assert len(await door.clicks()) == 6


async def test_a_link_in_memory_redirects_without_the_store(
    door: Door, engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    known, other = await door.link(), await door.link()
    await door.follow(known)

    async def away(*_: object, **__: object) -> Any:
        raise Unavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(engine.database, "read", away)
        patch.setattr(engine.database, "transact", away)
        assert (await door.follow(known)).status_code == 302
        answer = await door.follow(other)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert (await door.follow("0")).status_code == 404
    assert (await door.follow(other)).status_code == 302
    await eventually(lambda: engine.clicks.waiting == 0)
    assert len(await door.clicks()) == 3


async def test_guessing_costs_few_queries(door: Door, engine: Engine):
    before = engine.links.reads
    answers = await asyncio.gather(*(door.follow(to_token(guess * 7919)) for guess in range(500)))
    assert {answer.status_code for answer in answers} == {404}
    assert engine.links.reads - before <= 5
    again = engine.links.reads
    await asyncio.gather(*(door.follow(to_token(guess * 7919)) for guess in range(500)))
    assert engine.links.reads == again


async def test_an_unexpected_failure_shows_nothing_of_itself(door: Door, monkeypatch: pytest.MonkeyPatch):
    link = await door.link()
    monkeypatch.setattr(door.engine.clicks, "take", None)
    answer = await door.follow(link)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "NoneType" not in answer.text


async def test_links_work_over_a_connection_that_stays_open(door: Door, engine: Engine):
    link = await door.link()
    request = b"%b /c/%b HTTP/1.1\r\nHost: s.example\r\nUser-Agent: x\r\n\r\n"
    token = to_token(link.id).encode()
    async with serving(engine, LONG) as connect:
        reader, writer = await connect()
        for method in (b"HEAD", b"GET", b"HEAD", b"GET"):
            writer.write(request % (method, token))
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            assert head.startswith(b"HTTP/1.1 302 ")
            assert b"\r\nlocation: %b\r\n" % URL.encode() in head
            assert b"\r\ncontent-length: 0\r\n" in head
        writer.write(request % (b"HEAD", b"unknown00") + request % (b"GET", b"unknown00"))
        for _ in range(2):
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            assert head.startswith(b"HTTP/1.1 404 ")
        found = re.search(rb"content-length: (\d+)", head)
        assert found is not None
        assert (await reader.readexactly(int(found[1]))).startswith(b"<!doctype html>")


async def test_the_settings_of_a_workspace(door: Door, client: httpx.AsyncClient, keys: Keys):
    emails = {"opens": True, "clicks": True, "transactional": False, "bait": False, "opt_out_text": ""}
    server = {"data_center": "global", "data_centers": {"global": "http://127.0.0.1:8080"}, "default_link_days": 400}
    default = {"base_url": "http://127.0.0.1:8080", "link_days": 400, "utm": None} | emails | server
    assert await ok(client.get("/v1/tracking")) == default
    wanted = {"base_url": "https://s.example/", "link_days": 30, "utm": {"source": "way post", "medium": "sms"}}
    wanted |= {"opens": False, "bait": True, "opt_out_text": "Reply STOP to opt out"}
    shown = wanted | {"base_url": "https://s.example", "clicks": True, "transactional": False}
    shown |= {"utm": {"source": "way post", "medium": "sms", "campaign": ""}} | server
    assert await ok(client.put("/v1/tracking", json=wanted)) == shown
    assert await ok(client.get("/v1/tracking")) == shown
    stranger = {"authorization": f"Bearer {keys.stranger}"}
    assert await ok(client.get("/v1/tracking", headers=stranger)) == default
    assert await ok(client.put("/v1/tracking", json={})) == default
    bad_urls = ["ftp://s.example", "https://a@s.example", "https://s.example?x", "https://s.example#"]
    for bad in (*bad_urls, "https://é.example", "s.example"):
        problem = await refused(client.put("/v1/tracking", json={"base_url": bad}), 400, "invalid_url")
        assert problem["field"] == "base_url"
    await refused(client.put("/v1/tracking", json={"data_center": "moon"}), 400, "unknown_data_center")
    await refused(client.put("/v1/tracking", json={"opt_out_text": "a\nb"}), 400, "invalid_text")
    await refused(client.put("/v1/tracking", json={"link_days": 0}), 400, "invalid_body")
    await refused(client.put("/v1/tracking", json={"utm": {"source": "\0"}}), 400, "invalid_text")
    assert await ok(client.get("/v1/tracking")) == default
