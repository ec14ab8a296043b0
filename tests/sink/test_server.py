"""The sink over real connections: every behaviour as a client sees it."""

import asyncio
import contextlib
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvloop

from waypost.sink import http_connection
from waypost.sink.behaviour import Behaviour
from waypost.sink.server import serve
from waypost.sink.thread_runner import Running, running


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def sink(request):
    with running(loop_factory=request.param) as found:
        yield found


@pytest.fixture
def port(sink):
    return sink.port


class Client:
    """One connection, read manually so that nothing hides the bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, method: str, target: str, body: bytes = b"", **headers: str) -> None:
        lines = [f"{method} {target} HTTP/1.1", "host: sink", f"content-length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)

    async def head(self) -> tuple[int, dict[str, str]]:
        first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        return int(first.split()[1]), {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        status, headers = await self.head()
        return status, headers, await self.reader.readexactly(int(headers.get("content-length", 0)))


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def ask(
    port: int, target: str, method: str = "POST", body: bytes = b"", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    async with connected(port) as client:
        client.send(method, target, body, **headers)
        return await client.answer()


async def told(port: int, target: str, method: str = "GET", given: Any = None) -> Any:
    status, _, body = await ask(port, target, method, b"" if given is None else json.dumps(given).encode())
    assert status == 200, body
    return json.loads(body)


async def test_a_receiver_answers_200_and_what_came_is_listed(port):
    status, _, body = await ask(port, "/hook/a?body=fine", body=b'{"x":1}', X_Thing="A, b")
    assert (status, body) == (200, b"fine")
    page = await told(port, "/received?name=a")
    (entry,) = page["data"]
    assert entry.pop("at").endswith("Z")
    assert entry == {
        "name": "a",
        "method": "POST",
        "path": "/hook/a",
        "query": "body=fine",
        "headers": {"host": "sink", "content-length": "7", "x-thing": "A, b"},
        "body": '{"x":1}',
        "number": 1,
    }
    assert (page["next"], page["count"]) == (None, 1)


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_a_receiver_takes_any_method(port, method):
    assert (await ask(port, "/hook/a?status=418", method))[0] == 418
    assert (await told(port, "/received?name=a"))["data"][0]["method"] == method


async def test_head_gets_no_body(port):
    async with connected(port) as client:
        client.send("HEAD", "/hook/a?size=100000")
        assert (await client.head())[1]["content-length"] == "100000"
        client.send("GET", "/hook/a?body=next")
        assert (await client.answer())[2] == b"next"


async def test_a_connection_is_kept_and_pipelined_answers_come_in_order(port):
    async with connected(port) as client:
        client.send("POST", "/hook/a?body=1&delay=0.05")
        client.send("POST", "/hook/a?body=2")
        client.send("POST", "/hook/a?size=200000")
        client.send("POST", "/hook/a?body=4&drip=0.001")
        client.send("POST", "/hook/a?body=5")
        bodies = [(await client.answer())[2] for _ in range(5)]
    assert bodies == [b"1", b"2", b"x" * 200_000, b"4", b"5"]


async def test_more_requests_than_may_wait_are_all_answered(port):
    async with connected(port) as client:
        for _ in range(10 * http_connection.WAITING):
            client.send("POST", "/hook/a?delay=0.001", b"x" * 20_000)
        for _ in range(10 * http_connection.WAITING):
            assert (await client.answer())[0] == 200
    assert (await told(port, "/received/count?name=a"))["count"] == 10 * http_connection.WAITING


async def test_a_chunked_body_is_put_together(port):
    async with connected(port) as client:
        client.writer.write(b"POST /hook/a HTTP/1.1\r\nhost: s\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
        client.writer.write(b"2\r\nde\r\n1\r\nf\r\n0\r\n\r\n")
        assert (await client.answer())[0] == 200
    assert (await told(port, "/received?name=a"))["data"][0]["body"] == "abcdef"


async def test_a_client_that_asks_first_is_told_to_continue(port):
    async with connected(port) as client:
        client.writer.write(b"POST /hook/a HTTP/1.1\r\nhost: s\r\ncontent-length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert (await client.head())[0] == 100
        client.writer.write(b"hi")
        assert (await client.answer())[0] == 200


@pytest.mark.parametrize("start", [b"GET /hook/a HTTP/1.0\r\n", b"GET /hook/a HTTP/1.1\r\nconnection: close\r\n"])
async def test_a_client_that_wants_the_end_gets_it(port, start):
    async with connected(port) as client:
        client.writer.write(start + b"host: s\r\n\r\n")
        assert (await client.reader.read()).endswith(b"ok")


async def test_an_upgrade_is_answered_in_http_1_and_closed(port):
    async with connected(port) as client:
        client.writer.write(b"GET /hook/a HTTP/1.1\r\nhost: s\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\nPRI * junk")
        assert (await client.reader.read()).endswith(b"ok")


@pytest.mark.parametrize("first", ["", "GET /hook/a?delay=0.01 HTTP/1.1\r\nhost: s\r\n\r\n"])
async def test_what_is_not_http_is_refused_after_what_was_owed(port, first):
    async with connected(port) as client:
        client.writer.write(first.encode() + b"\x16\x03\x01 hello\r\n\r\n")
        if first:
            assert (await client.answer())[0] == 200
        status, headers, body = await client.answer()
        assert (status, headers["content-type"]) == (400, "application/problem+json")
        assert json.loads(body)["code"] == "not_http"
        assert await client.reader.read() == b""


async def test_a_body_that_is_too_large_is_refused(port, monkeypatch):
    monkeypatch.setattr(http_connection, "LARGEST_BODY", 1000)
    assert (await ask(port, "/hook/a", body=b"x" * 1000))[0] == 200
    assert (await ask(port, "/hook/a", body=b"x" * 1001))[0] == 413


async def test_headers_that_never_end_are_refused(port, monkeypatch):
    monkeypatch.setattr(http_connection, "LARGEST_HEAD", 1000)
    async with connected(port) as client:
        client.writer.write(b"GET /hook/a HTTP/1.1\r\n" + b"x-more: and more\r\n" * 100)
        assert (await client.answer())[0] == 413


# Behaviours.


async def test_the_status_and_headers_are_as_asked(port):
    target = (
        "/hook/a?status=429&retry_after=Wed,%2021%20Oct%202026%2007:28:00%20GMT&body=%3Cp%3E&content_type=text/html"
    )
    status, headers, body = await ask(port, target + "&header=X-One:1&header=X-Two:%202")
    assert (status, body) == (429, b"<p>")
    assert headers == {
        "content-type": "text/html",
        "retry-after": "Wed, 21 Oct 2026 07:28:00 GMT",
        "content-length": "3",
        "x-one": "1",
        "x-two": "2",
    }


@pytest.mark.parametrize(("query", "status"), [("", 302), ("&status=301", 301), ("&status=307", 307)])
async def test_a_redirect_points_elsewhere(port, query, status):
    found, headers, _ = await ask(port, "/hook/a?redirect=http://other/%3Fa%3D1" + query)
    assert (found, headers["location"]) == (status, "http://other/?a=1")


async def test_an_answer_can_be_late_without_holding_others_up(port):
    loop = asyncio.get_running_loop()
    start = loop.time()
    late = asyncio.create_task(ask(port, "/hook/a?delay=0.3"))
    await ask(port, "/hook/a")
    assert not late.done()
    assert (await late)[0] == 200
    assert loop.time() - start >= 0.29


async def test_the_first_requests_of_each_webhook_id_fail(port):
    async def status(**headers: str) -> int:
        return (await ask(port, "/hook/a?fail_first=2&fail_status=503&status=201", "POST", b"", **headers))[0]

    assert [await status(webhook_id="m1") for _ in range(3)] == [503, 503, 201]
    assert [await status(Webhook_Id="m2") for _ in range(3)] == [503, 503, 201]
    assert [await status() for _ in range(4)] == [503, 503, 201, 201]
    assert await told(port, "/received/count?name=a") == {"count": 10, "distinct": 2}


async def test_a_share_of_requests_fails_the_same_way_each_time(port):
    async def statuses(name: str) -> list[int]:
        return [(await ask(port, f"/hook/{name}?fail_rate=0.5&seed=s"))[0] for _ in range(20)]

    first = await statuses("a")
    assert set(first) == {200, 500}
    assert await statuses("b") == first


async def test_a_huge_body_comes_whole_and_waits_for_a_slow_reader(port):
    async with connected(port) as client:
        client.send("GET", "/hook/a?size=30000000")
        _, headers = await client.head()
        # Meanwhile, although this client does not read, others are served.
        assert (await ask(port, "/hook/a"))[0] == 200
        assert len(await client.reader.readexactly(int(headers["content-length"]))) == 30_000_000


async def test_a_gzip_bomb_is_small_until_it_is_opened(port):
    _, headers, body = await ask(port, "/hook/a?gzip_bomb=50000000")
    assert headers["content-encoding"] == "gzip"
    assert len(body) < 100_000
    assert len(gzip.decompress(body)) == 50_000_000


@pytest.mark.parametrize("query", ["drip=0.01&size=5", "drip_headers=0.001&body=xxxxx"])
async def test_bytes_can_drip(port, query):
    loop = asyncio.get_running_loop()
    start = loop.time()
    async with connected(port) as client:
        client.send("GET", "/hook/a?" + query)
        assert (await client.answer())[2] == b"xxxxx"
    assert loop.time() - start >= 0.04


async def tasks_of(sink: Running) -> int:
    async def count() -> int:
        return len(asyncio.all_tasks())

    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(count(), sink.loop))


async def test_a_client_that_leaves_a_drip_ends_it(sink):
    idle = await tasks_of(sink)
    async with connected(sink.port) as client:
        client.send("GET", "/hook/a?drip=3600&size=2")
        await client.head()
        assert await tasks_of(sink) == idle + 1
    async with asyncio.timeout(10):
        while await tasks_of(sink) > idle:
            await ask(sink.port, "/hook/a")


async def test_a_receiver_can_hang(port):
    async with connected(port) as client:
        # Both are read at once, so the second has arrived when the first gets its response.
        client.writer.write(b"GET /hook/a HTTP/1.1\r\nhost: s\r\n\r\nGET /hook/b?hang=1 HTTP/1.1\r\nhost: s\r\n\r\n")
        await client.answer()
        assert (await told(port, "/received/count?name=b"))["count"] == 1
        client.send("GET", "/hook/a")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.reader.read(1), 0.1)


async def test_a_receiver_can_close_without_an_answer(port):
    async with connected(port) as client:
        client.send("POST", "/hook/a?close=1", b"kept all the same")
        assert await client.reader.read() == b""
    assert (await told(port, "/received?name=a"))["data"][0]["body"] == "kept all the same"


@pytest.mark.parametrize("more", ["", "&delay=0.01"])
async def test_a_receiver_can_reset_the_connection(port, more):
    async with connected(port) as client:
        client.send("POST", "/hook/a?reset=1" + more)
        with pytest.raises(ConnectionResetError):
            await client.reader.read()


@pytest.mark.parametrize("query", ["body=abc", "size=100000", "body=abc&drip=0.001"])
async def test_an_answer_can_be_cut_short(port, query):
    async with connected(port) as client:
        client.send("POST", "/hook/a?truncate=1&" + query)
        _, headers = await client.head()
        assert 0 < len(await client.reader.read()) < int(headers["content-length"])


async def test_an_answer_can_be_something_else_than_http(port):
    async with connected(port) as client:
        client.send("POST", "/hook/a?garbage=1")
        assert not (await client.reader.read()).startswith(b"HTTP/")


async def test_a_connection_can_end_after_its_answer(port):
    async with connected(port) as client:
        # In one write: data that arrive after the close would cause a reset.
        client.writer.write(
            b"GET /hook/a?close_after=1 HTTP/1.1\r\nhost: s\r\n\r\nGET /hook/a HTTP/1.1\r\nhost: s\r\n\r\n"
        )
        status, headers, _ = await client.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert await client.reader.read() == b""
    assert (await told(port, "/received/count?name=a"))["count"] == 1


# The request log.


async def test_unrecorded_requests_are_counted(port):
    for number in range(3):
        await ask(port, "/hook/a?record=0", webhook_id=f"m{number % 2}")
    assert await told(port, "/received/count?name=a") == {"count": 3, "distinct": 2}
    assert await told(port, "/received?name=a") == {"data": [], "next": None, "count": 3}


async def test_what_came_is_paged_and_found_by_id(port):
    for number in range(5):
        await ask(port, f"/hook/{'ab'[number % 2]}", body=b"%d" % number, webhook_id=f"m{number % 3}")
    page = await told(port, "/received?name=a&limit=2")
    assert ([entry["body"] for entry in page["data"]], page["count"]) == (["0", "2"], 3)
    page = await told(port, f"/received?name=a&limit=2&after={page['next']}")
    assert ([entry["body"] for entry in page["data"]], page["next"]) == (["4"], None)
    page = await told(port, "/received?id=m1")
    assert ([entry["body"] for entry in page["data"]], page["count"]) == (["1", "4"], 2)
    assert (await told(port, "/received/count"))["count"] == 5


async def test_what_came_is_forgotten_and_first_requests_fail_anew(port):
    for name in "ab":
        await ask(port, f"/hook/{name}?fail_first=1")
    assert await told(port, "/forget?name=a", "POST") == {"forgotten": True}
    assert (await told(port, "/received/count?name=a"))["count"] == 0
    assert (await ask(port, "/hook/a?fail_first=1"))[0] == 500
    assert (await ask(port, "/hook/b?fail_first=1"))[0] == 200
    await told(port, "/received", "DELETE")
    assert (await told(port, "/received"))["count"] == 0


async def test_no_more_is_kept_than_was_set():
    with running(keep=2) as sink:
        for number in range(4):
            await ask(sink.port, "/hook/a", body=b"%d" % number)
        page = await told(sink.port, "/received?name=a")
    assert ([entry["number"] for entry in page["data"]], page["count"]) == ([3, 4], 4)


# Behaviours by name.


async def test_a_behaviour_holds_until_it_is_changed_and_the_url_goes_first(port):
    await told(port, "/behaviour/a", "PUT", {"status": 500, "retry_after": "7"})
    status, headers, _ = await ask(port, "/hook/a")
    assert (status, headers["retry-after"]) == (500, "7")
    status, headers, _ = await ask(port, "/hook/a?status=503")
    assert (status, headers["retry-after"]) == (503, "7")
    assert (await ask(port, "/hook/b"))[0] == 200
    await told(port, "/behaviour/a", "PUT", {"status": 202})
    assert (await ask(port, "/hook/a"))[0] == 202
    await told(port, "/behaviour/a", "DELETE")
    assert (await ask(port, "/hook/a"))[0] == 200


async def test_a_script_says_what_the_next_requests_get(port):
    steps = [{"status": 500}, {"redirect": "/b"}, {"close": True}, {}]
    assert await told(port, "/script/a", "POST", steps) == {"name": "a", "waiting": 4}
    assert (await told(port, "/script/a", "POST", [{"status": 410}]))["waiting"] == 5
    assert (await ask(port, "/hook/b"))[0] == 200
    assert (await ask(port, "/hook/a?status=201"))[0] == 500
    assert (await ask(port, "/hook/a"))[0] == 302
    with pytest.raises(asyncio.IncompleteReadError):
        await ask(port, "/hook/a")
    assert [(await ask(port, "/hook/a?status=201"))[0] for _ in range(3)] == [201, 410, 201]
    assert (await told(port, "/received/count?name=a"))["count"] == 6


async def test_a_script_can_be_dropped(port):
    await told(port, "/script/a", "POST", [{"status": 500}])
    assert (await told(port, "/script/a", "DELETE"))["waiting"] == 0
    assert (await ask(port, "/hook/a"))[0] == 200


async def test_names_may_have_spaces_and_slashes(port):
    await told(port, "/behaviour/a%20b/c", "PUT", {"status": 201})
    assert (await ask(port, "/hook/a%20b/c"))[0] == 201
    assert (await told(port, "/received?name=a%20b/c"))["count"] == 1


@pytest.mark.parametrize(
    ("method", "target", "given"),
    [
        ("POST", "/hook/a?statsu=500", None),
        ("POST", "/hook/?status=500", None),
        ("POST", "/hook/mail", None),
        ("PUT", "/behaviour/a", {"statsu": 500}),
        ("PUT", "/behaviour/a", [1]),
        ("PUT", "/behaviour/", {}),
        ("PUT", "/behaviour/mail", {"redirect": "/"}),
        ("PUT", "/behaviour/a", None),
        ("POST", "/script/a", {"status": 500}),
        ("POST", "/script/a", [{"status": 500}, {"nope": 1}]),
        ("GET", "/received?nam=a", None),
        ("GET", "/received?limit=0", None),
        ("GET", "/received?after=x", None),
        ("GET", "/received/count?id=1", None),
        ("DELETE", "/received?name=a&name=b", None),
    ],
)
async def test_a_mistake_is_told_and_has_no_effect(port, method, target, given):
    status, headers, body = await ask(port, target, method, b"" if given is None else json.dumps(given).encode())
    assert (status, headers["content-type"]) == (400, "application/problem+json")
    problem = json.loads(body)
    assert problem["status"] == 400
    assert problem["code"].startswith("invalid")
    assert (await told(port, "/received/count"))["count"] == 0
    assert (await ask(port, "/hook/a"))[0] == 200


@pytest.mark.parametrize(("method", "target"), [("GET", "/nothing"), ("POST", "/healthz"), ("GET", "/received/x")])
async def test_there_is_nothing_else(port, method, target):
    assert (await ask(port, target, method))[0] == 404


async def test_the_front_page_names_every_option(port):
    _, headers, body = await ask(port, "/", "GET")
    assert headers["content-type"].startswith("text/plain")
    for option in Behaviour.__struct_fields__:
        assert f"{option}=" in body.decode()
    assert (await ask(port, "/healthz", "GET"))[0] == 200


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
async def test_stopping_ends_connections_that_hang(loop_factory):
    with running(loop_factory=loop_factory) as sink:
        reader, writer = await asyncio.open_connection("127.0.0.1", sink.port)
        writer.write(b"GET /hook/a HTTP/1.1\r\nhost: s\r\n\r\nGET /hook/b?hang=1 HTTP/1.1\r\nhost: s\r\n\r\n")
        await reader.readuntil(b"ok")
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", sink.port)


def test_a_port_that_is_taken_is_told():
    async def twice(port: int) -> None:
        await serve("127.0.0.1", port)

    with running() as sink, pytest.raises(OSError, match="in use"):
        asyncio.run(twice(sink.port))
