"""Redirects without ASGI: the visitor sees no difference, and every click is recorded as ever."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.api.calling import Keys, eventually
from tests.api.edge.test_direct import CLOSE, read_answer
from tests.api.edge.test_http_protocol import LONG, SHORT, Talk, ask, problem_of, serving
from tests.api.edge.test_tracking import URL, Held
from waypost.api.edge.http_protocol import LimitedProtocol, Limits
from waypost.api.edge.tracking import ClickRoute
from waypost.api.edge.visits import WAIT_S, ShortWaits
from waypost.clock import DAY, now_us
from waypost.domain.tracking.tokens import to_token
from waypost.engine.process import Engine
from waypost.engine.tracking.links import LinkTarget, add_links, new_links

#: What makes a request go through ASGI.
ROUND = b"?x"
REDIRECTED = b"HTTP/1.1 302 Found"


async def link(engine: Engine, keys: Keys, url: str = URL, *, at: int | None = None) -> bytes:
    """Return the path of a link that is in memory."""
    target = LinkTarget(workspace_id=keys.workspace_id, url=url)
    (made,) = new_links([target], now_us() if at is None else at, 2)
    await engine.database.transact(add_links, [made])
    assert await engine.links.find(made.id)
    return b"/c/" + to_token(made.id).encode()


def follow(path: bytes, headers: bytes = b"", *, method: bytes = b"GET") -> bytes:
    """Return a request as bytes."""
    return b"%b %b HTTP/1.1\r\nHost: s.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux)\r\n%b\r\n" % (
        method,
        path,
        headers,
    )


async def read_head(reader: asyncio.StreamReader) -> list[bytes]:
    """Return the lines of a head, without the date."""
    lines = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).split(b"\r\n")
    return [line for line in lines if not line.startswith(b"date:")]


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each request that reached the route directly, whether it was taken."""
    found: list[bool] = []
    take = ClickRoute.take

    def watched(route: ClickRoute, request: Any) -> Any:
        found.append(False)
        response = take(route, request)
        found[-1] = response is not None
        return response

    monkeypatch.setattr(ClickRoute, "take", watched)
    return found


@contextlib.asynccontextmanager
async def talking(engine: Engine, limits: Limits = LONG) -> AsyncIterator[tuple[Callable[[], Any], Talk]]:
    async with serving(engine, limits) as connect:
        yield connect, await connect()


async def clicks(engine: Engine, count: int) -> None:
    """Return when exactly this many clicks are recorded and none waits."""
    await eventually(lambda: engine.clicks.waiting == 0)
    assert engine.tracking.clicks + engine.tracking.machine_clicks == count


async def test_both_ways_give_the_same_response(engine: Engine, keys: Keys, taken: list[bool]):
    path, old = await link(engine, keys), await link(engine, keys, at=now_us() - 3 * DAY)
    async with talking(engine) as (_, (reader, writer)):
        for target, status, body in ((path, b"302", b""), (old, b"410", b"This link has expired")):
            for method in (b"GET", b"HEAD"):
                answers: list[tuple[list[bytes], bytes]] = []
                for query in (ROUND, b"", b""):
                    writer.write(follow(target + query, method=method))
                    whole = (await read_head(reader), b"") if method == b"HEAD" else await read_answer(reader)
                    answers.append(whole)
                assert answers[0] == answers[1] == answers[2]
                assert answers[0][0][0][9:12] == status
                assert body in answers[0][1] or method == b"HEAD"
        assert taken == [False, True, True] * 4
        writer.write(follow(path))
        head = await read_head(reader)
        assert b"location: " + URL.encode() in head
        assert b"x-robots-tag: noindex, nofollow" in head
        assert b"x-content-type-options: nosniff" in head
        writer.write(follow(path, CLOSE))
        assert await read_head(reader) == [*head[:-2], b"connection: close", b"", b""]
        assert await reader.read() == b""
    await clicks(engine, 8)
    assert engine.tracking.machine_clicks == 3


async def test_what_is_recorded_is_the_same(engine: Engine, keys: Keys, client: Any, taken: list[bool]):
    path = await link(engine, keys)
    forwarded = b"X-Forwarded-For: 203.0.113.9\r\n"
    async with talking(engine) as (_, (reader, writer)):
        for query in (ROUND, b""):
            for request in (
                follow(path + query, forwarded),
                follow(path + query, b"Sec-Purpose: prefetch\r\n"),
                follow(path + query, method=b"HEAD"),
            ):
                writer.write(request)
                assert (await read_head(reader))[0] == REDIRECTED
    await clicks(engine, 6)
    events = (await client.get("/v1/events?type=message.clicked")).json()["data"]
    found = [event["data"] for event in reversed(events)]
    assert found[:3] == found[3:]
    assert [one.get("machine_reason") for one in found[:3]] == [None, "prefetch", "head"]
    # This machine is a trusted proxy.
    assert [one["ip"] for one in found[:3]] == ["203.0.113.9", "127.0.0.1", "127.0.0.1"]
    assert found[0]["user_agent"] == "Mozilla/5.0 (X11; Linux)"
    assert taken == [False] * 3 + [True] * 3


async def test_a_new_link_is_taken_once_it_is_in_memory(engine: Engine, keys: Keys, taken: list[bool]):
    path = await link(engine, keys)
    engine.links._found.clear()
    async with talking(engine) as (_, (reader, writer)):
        for _ in range(3):
            writer.write(follow(path))
            assert (await read_head(reader))[0] == REDIRECTED
    assert taken == [False, True, True]
    await clicks(engine, 3)


async def test_requests_in_one_piece_are_answered_in_their_order(engine: Engine, keys: Keys, taken: list[bool]):
    paths = [await link(engine, keys, f"https://shop.example/{number}") for number in range(4)]
    old = await link(engine, keys, at=now_us() - 3 * DAY)
    parts = [follow(old), *map(follow, paths[:2]), follow(old), follow(b"/c/unknown00"), *map(follow, paths[2:])]
    async with talking(engine) as (_, (reader, writer)):
        writer.write(b"".join(parts) + follow(old, CLOSE) + follow(paths[0]))
        found = [await read_answer(reader) for _ in range(8)]
        assert [head[0][9:12] for head, _ in found] == [
            b"410", b"302", b"302", b"410", b"404", b"302", b"302", b"410",
        ]  # fmt: skip
        locations = [line for head, _ in found for line in head if line.startswith(b"location:")]
        assert locations == [b"location: https://shop.example/%d" % number for number in range(4)]
        # What follows the request that closes the connection is not served.
        assert await reader.read() == b""
    # Those behind a click that is not recorded yet wait their turn in the pipeline.
    assert taken == [True, True]
    await clicks(engine, 4)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (b"\r\n", (400, "invalid_host")),
        (b"Host: a\r\nHost: a\r\n\r\n", (400, "invalid_host")),
        (b"Host: a\r\nx: " + b"y" * 66_000 + b"\r\n\r\n", (431, "head_too_large")),
        (b"Host: a\r\n" + b"x: y\r\n" * 120 + b"\r\n", (431, "head_too_large")),
        (b"Host : a\r\n\r\n", (400, "invalid_http")),
    ],
)
async def test_a_bad_head_is_refused(engine: Engine, keys: Keys, lines: bytes, expected: tuple[int, str]):
    path = await link(engine, keys)
    async with serving(engine, LONG) as connect:
        for method in (b"GET", b"HEAD"):
            assert problem_of(await ask(connect, b"%b %b HTTP/1.1\r\n%b" % (method, path, lines))) == expected
    await clicks(engine, 0)


async def test_what_is_rare_goes_through_asgi(engine: Engine, keys: Keys, taken: list[bool]):
    path = await link(engine, keys)
    async with serving(engine, LONG) as connect:
        for request in (
            b"GET %b HTTP/1.0\r\n\r\n" % path,
            follow(b"http://s.example" + path, CLOSE),
            follow(path.replace(b"/c/", b"/%63/"), CLOSE),
            follow(path, CLOSE + b"Content-Length: 3\r\n") + b"abc",
            follow(path, CLOSE + b"Transfer-Encoding: chunked\r\n") + b"0\r\n\r\n",
            follow(path, CLOSE + b"Upgrade: websocket\r\n").replace(b": close", b": close, upgrade"),
        ):
            assert (await ask(connect, request)).startswith(REDIRECTED)
        assert problem_of(await ask(connect, follow(path, CLOSE, method=b"DELETE"))) == (405, "method_not_allowed")
    assert taken == []
    await clicks(engine, 6)


async def test_an_unfinished_or_idle_client_is_cut_off(engine: Engine, keys: Keys):
    path = await link(engine, keys)
    async with serving(engine, SHORT) as connect:
        assert problem_of(await ask(connect, follow(path)[:-2])) == (408, "request_timeout")
        assert (await ask(connect, follow(path))).count(REDIRECTED) == 1


async def test_who_closes_its_side_is_answered_and_who_leaves_is_recorded(engine: Engine, keys: Keys):
    path, old = await link(engine, keys), await link(engine, keys, at=now_us() - 3 * DAY)
    async with serving(engine, LONG) as connect:
        assert (await ask(connect, follow(path), end=True)).startswith(REDIRECTED)
        assert (await ask(connect, follow(path) * 2, end=True)).count(REDIRECTED) == 2
        assert b"This link has expired" in await ask(connect, follow(old), end=True)
        async with Held(engine):
            _, leaving = await connect()
            leaving.write(follow(path))
            await eventually(lambda: engine.clicks.waiting == 1)
            leaving.transport.abort()
    await clicks(engine, 4)


async def test_who_does_not_read_fills_no_memory_and_is_cut_off(
    engine: Engine, keys: Keys, monkeypatch: pytest.MonkeyPatch
):
    old = await link(engine, keys, at=now_us() - 3 * DAY)
    paused: list[bool] = []
    send = LimitedProtocol._send_direct

    def watched(protocol: LimitedProtocol, *response: Any) -> None:
        paused.append(protocol.flow.write_paused)
        send(protocol, *response)

    monkeypatch.setattr(LimitedProtocol, "_send_direct", watched)
    async with talking(engine, Limits(unread_s=0.2)) as (_, (_, writer)):
        writer.transport.pause_reading()  # type: ignore[attr-defined]

        async def write_on() -> None:
            while True:
                writer.write(follow(old) * 100)
                await writer.drain()

        with pytest.raises(ConnectionError):
            await asyncio.wait_for(write_on(), 20)
    # Once the client is behind, its requests wait in the pipeline.
    assert paused
    assert not any(paused)


async def test_a_slow_store_holds_up_no_redirect(engine: Engine, keys: Keys, taken: list[bool]):
    path = await link(engine, keys)
    async with talking(engine) as (connect, (reader, writer)):
        async with Held(engine):
            began = time.monotonic()
            others = [ask(connect, follow(path, CLOSE)) for _ in range(10)]
            assert all(answer.startswith(REDIRECTED) for answer in await asyncio.gather(*others))
            assert WAIT_S <= time.monotonic() - began < 5
            writer.write(follow(path))
            assert (await read_head(reader))[0] == REDIRECTED
            assert engine.clicks.waiting == 11
        await clicks(engine, 11)
    assert taken == [True] * 11


async def test_clicks_beyond_the_bound_are_redirected(
    engine: Engine, keys: Keys, taken: list[bool], monkeypatch: pytest.MonkeyPatch
):
    path = await link(engine, keys)
    monkeypatch.setattr(engine.clicks, "_most", 0)
    async with talking(engine) as (_, (reader, writer)):
        writer.write(follow(path) * 3)
        for _ in range(3):
            assert (await read_head(reader))[0] == REDIRECTED
    # None waits for anything, so none waits for another.
    assert taken == [True] * 3
    assert engine.clicks.dropped == 3


async def test_an_unexpected_failure_is_told_and_the_connection_goes_on(
    engine: Engine, keys: Keys, monkeypatch: pytest.MonkeyPatch
):
    path = await link(engine, keys)
    async with talking(engine) as (_, (reader, writer)):
        with monkeypatch.context() as patch:
            patch.setattr(engine.clicks, "take", None)
            writer.write(follow(path))
            head, body = await read_answer(reader)
            assert head[0].startswith(b"HTTP/1.1 500 ")
            assert b"NoneType" not in body
        writer.write(follow(path))
        assert (await read_head(reader))[0] == REDIRECTED


async def test_a_click_whose_wait_fails_is_redirected(engine: Engine, keys: Keys, monkeypatch: pytest.MonkeyPatch):
    path = await link(engine, keys)
    waits: list[asyncio.Future[None]] = []
    monkeypatch.setattr(ShortWaits, "add", lambda _, wait: waits.append(wait))
    async with talking(engine) as (_, (reader, writer)), Held(engine):
        writer.write(follow(path))
        (wait,) = await eventually(lambda: waits)
        wait.set_exception(OSError("away"))
        assert (await read_head(reader))[0] == REDIRECTED


async def test_waits_end_in_their_order_and_not_early():
    loop = asyncio.get_running_loop()
    waits = ShortWaits(0.02)
    began = loop.time()
    first, done, cancelled, last = (loop.create_future() for _ in range(4))
    for wait in (first, done, cancelled):
        waits.add(wait)
    done.set_result(None)
    cancelled.cancel()
    await asyncio.wait_for(first, 5)
    assert loop.time() - began >= 0.019
    assert not waits._waits
    again = loop.time()
    waits.add(last)
    await asyncio.wait_for(last, 5)
    assert loop.time() - again >= 0.019
    # No timer is left behind.
    assert not waits._armed
