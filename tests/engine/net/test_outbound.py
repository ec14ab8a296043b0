"""The HTTP client against receivers that misbehave."""

import asyncio
import gc
import os
import resource
import socket
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.engine.conftest import LOOPBACK, Outside, eventually, listening, send_all
from waypost.domain.values.egress_guard import parse_networks
from waypost.engine.net.curl_transfer import Kind
from waypost.engine.net.outbound import Outbound
from waypost.engine.net.request import KEPT_HEADERS, READ_BODY, Request, Response
from waypost.errors import Unavailable


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    """A client that may reach IPv4 loopback."""
    client = Outbound(parse_networks(LOOPBACK))
    yield client
    await client.stop()


def post(url: str, *, timeout_ms: int = 3000, body: bytes = b"{}", method: str = "POST", keep: int = 4096) -> Request:
    """Return a request like a webhook's."""
    return Request(url, body, ["content-type: application/json", "webhook-id: x"], timeout_ms, method, keep)


async def fetch(outbound: Outbound, url: str, **changes: object) -> Response:
    """Return the response to one request."""
    response, _ = await asyncio.wait_for(outbound.fetch(post(url, **changes)), 20)  # type: ignore[arg-type]
    return response


async def read_request(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes]:
    """Read the request line, headers and body of one request."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *lines = head.split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in lines) if name}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return line, headers, body


OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


async def test_a_success_with_its_headers_and_body(outbound, outside: Outside):
    response = await fetch(outbound, outside.hook("success", body="hello", header="X-Thing: a"), body=b'{"a":1}')
    assert (response.status, response.body, response.error) == (200, b"hello", None)
    assert ("x-thing", "a") in response.headers
    assert 0 < response.duration_us < 5_000_000
    (record,) = outside.received("success")
    assert record["body"] == '{"a":1}'
    assert record["headers"]["content-type"] == "application/json"
    assert record["headers"]["user-agent"].startswith("Waypost/")


@pytest.mark.parametrize("status", [201, 204, 304, 400, 404, 410, 418, 429, 500, 503, 599, 999])
async def test_the_status_is_kept(outbound, outside: Outside, status):
    response = await fetch(outbound, outside.hook("status", status=status))
    assert (response.status, response.error) == (status, None)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(outbound, outside: Outside, status):
    target = outside.hook("redirected-to")
    response = await fetch(outbound, outside.hook("redirecting", redirect=target, status=status))
    assert (response.status, response.error) == (status, None)
    assert outside.count("redirected-to") == 0


@pytest.mark.parametrize(
    "options",
    [
        {"hang": True},
        {"delay": 20},
        {"drip_headers": 0.05},
        {"drip": 0.05, "size": 1000},
    ],
    ids=lambda options: "-".join(options),
)
async def test_the_timeout_covers_everything(outbound, outside: Outside, options):
    began = time.monotonic()
    response = await fetch(outbound, outside.hook("slow", **options), timeout_ms=300)
    assert 0.25 < time.monotonic() - began < 2
    assert response.status is None
    assert response.error == "timeout: no complete response within 0.3 s"
    assert response.seen_status == (200 if "drip" in options else None)


async def test_a_large_answer_is_read_no_further_than_allowed(outbound, outside: Outside):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for status in (200, 500):
        response = await fetch(outbound, outside.hook("huge", size=1 << 34, status=status), timeout_ms=10_000)
        assert (response.status, response.error) == (status, None)
        assert response.body == b"x" * 4096
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000


@pytest.mark.parametrize("read", [0, 1, 3])
async def test_a_request_may_read_less(outbound, outside: Outside, read):
    # The whole body would take hours.
    request = Request(outside.hook("less", size=1_000_000, drip=0.02), b"", [], 10_000, read=read)
    response, _ = await outbound.fetch(request)
    assert (response.status, response.error) == (200, None)
    assert response.body == b"x" * (read + 1)
    exact, _ = await outbound.fetch(Request(outside.hook("less", size=read), b"", [], 10_000, read=read))
    assert (exact.status, exact.error, exact.body) == (200, None, b"x" * read)
    # The handle reads as much as ever for the next request.
    response = await fetch(outbound, outside.hook("more", size=READ_BODY), keep=READ_BODY)
    assert (response.error, len(response.body)) == (None, READ_BODY)


@pytest.mark.parametrize("once", [False, True])
async def test_each_method_is_sent_as_such(outbound, once):
    seen: list[tuple[str, dict[str, str], bytes]] = []

    async def serve(reader, writer):
        while not reader.at_eof():
            seen.append(await read_request(reader))
            head = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n"
            writer.write(head if seen[-1][0].startswith("HEAD") else OK)
            await writer.drain()

    async with listening(serve) as port:
        for method, body in [("HEAD", b""), ("POST", b"a"), ("GET", b""), ("PUT", b"b"), ("GET", b"c"), ("POST", b"")]:
            request = Request(f"http://127.0.0.1:{port}/", body, [], 3000, method, once=once)
            response, _ = await outbound.fetch(request)
            # The response to a HEAD ends with its headers, whatever length they tell.
            assert (response.status, response.error) == (200, None), method
            assert response.body == (b"" if method == "HEAD" else b"ok")
    assert [(line.split()[0], body) for line, _, body in seen] == [
        ("HEAD", b""),
        ("POST", b"a"),
        ("GET", b""),
        ("PUT", b"b"),
        ("GET", b"c"),
        ("POST", b""),
    ]
    for number in (0, 2):
        assert not {"content-type", "content-length"} & seen[number][1].keys()


async def test_an_answer_of_just_the_allowed_size_is_read_whole(outbound, outside: Outside):
    response = await fetch(outbound, outside.hook("large", size=READ_BODY), keep=READ_BODY * 2)
    assert (response.status, response.error, len(response.body)) == (200, None, READ_BODY)


async def test_a_gzip_bomb_is_bounded(outbound, outside: Outside):
    await fetch(outbound, outside.hook("warm", gzip_bomb=1 << 20))
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(3):
        response = await fetch(outbound, outside.hook("bomb", gzip_bomb=1 << 30), timeout_ms=10_000)
        assert (response.status, response.error, response.body) == (200, None, bytes(4096))
    # Kilobytes; the sink, which runs in this process too, writes a megabyte at a time.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10_000


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"garbage": True}, "not_http"),
        ({"truncate": True}, "connection_lost"),
        ({"reset": True}, "connection_lost"),
        ({"close": True}, "empty_answer"),
        ({"header": "content-encoding: gzip"}, "bad_encoding"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_broken_answers_have_named_errors(outbound, outside: Outside, options, code):
    response = await fetch(outbound, outside.hook("broken", **options))
    assert response.status is None
    assert response.error is not None
    assert response.error.split(":")[0] == code


async def test_endless_headers_are_bounded(outbound):
    async def serve(reader, writer):
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"x-more: " + b"y" * 1000 + b"\r\n")
            await writer.drain()

    async with listening(serve) as port:
        response = await fetch(outbound, f"http://127.0.0.1:{port}/")
    assert response.status is None
    assert (response.error or "").startswith("connection_lost: Too large response headers")
    assert sum(len(name) + len(value) for name, value in response.headers) < KEPT_HEADERS + 2000


async def test_what_comes_before_the_answer_is_no_answer(outbound):
    async def serve(reader, writer):
        await read_request(reader)
        early = b"HTTP/1.1 103 Early Hints\r\nx-early: 1\r\n\r\n"
        writer.write(early * 3 + b"HTTP/1.1 202 Accepted\r\nx-late: 1\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()

    async with listening(serve) as port:
        response = await fetch(outbound, f"http://127.0.0.1:{port}/")
    assert (response.status, response.error) == (202, None)
    assert ("x-late", "1") in response.headers
    assert ("x-early", "1") not in response.headers


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"HTTP/1.1 200", 200),
        (b"HTTP/1.0 204 ", 204),
        (b"HTTP/1.1 299 \xe4nything 2000", 299),
        (b"HTTP/1.1 2000 OK", None),
        (b"HTTP/1.1 2000", None),
        (b"HTTP/1.1 200000000000000000000 OK", None),
        (b"HTTP/1.1 200.5 OK", None),
        (b"HTTP/1.1 200OK", None),
        (b"HTTP/1.1 20 OK", None),
        (b"HTTP/1.1 0200 OK", None),
        (b"HTTP/1.1 +200 OK", None),
    ],
)
async def test_a_status_has_three_digits(outbound, line, status):
    async def serve(reader, writer):
        await read_request(reader)
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" + line + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()

    async with listening(serve) as port:
        response = await fetch(outbound, f"http://127.0.0.1:{port}/")
    assert response.status == status
    assert (response.error is None) == (status is not None)
    if status is None:
        assert response.seen_status in (None, 20, 100)
        assert response.sent


async def test_nobody_listens(outbound):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        response = await fetch(outbound, f"http://127.0.0.1:{taken.getsockname()[1]}/")
    assert response.status is None
    assert (response.error or "").startswith("connect:")


async def test_an_unknown_host(outbound):
    response = await fetch(outbound, "http://nobody.invalid/", timeout_ms=10_000)
    assert response.status is None
    assert (response.error or "").startswith("dns:")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "file:///etc/passwd", "gopher://127.0.0.1/", "nonsense"])
async def test_other_protocols_are_refused(outbound, url):
    response = await fetch(outbound, url)
    assert response.status is None
    assert response.error is not None


async def test_a_request_that_cannot_be_sent_is_answered(outbound):
    for request in (
        Request("http://127.0.0.1/\0", b"", [], 1000),
        Request("http://127.0.0.1/", b"", ["x: \0"], 1000),
        Request("http://127.0.0.1/", b"", [], -1),
    ):
        response, _ = await asyncio.wait_for(outbound.fetch(request), 5)
        assert response.status is None
        assert response.error


class Counted:
    """A receiver that counts connections and closes them when told to."""

    def __init__(self) -> None:
        self.connections = 0
        self.requests = 0
        self.open: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open.add(writer)
        try:
            while not reader.at_eof():
                await read_request(reader)
                self.requests += 1
                writer.write(OK)
                await writer.drain()
        finally:
            self.open.discard(writer)


async def test_connections_are_used_again(outbound):
    receiver = Counted()
    async with listening(receiver.serve) as port:
        for _ in range(50):
            assert (await fetch(outbound, f"http://127.0.0.1:{port}/")).status == 200
        assert (receiver.connections, receiver.requests) == (1, 50)
        answers = await send_all(outbound, [post(f"http://127.0.0.1:{port}/")] * 2000, at_once=64)
        assert [answer.status for answer in answers] == [200] * 2000
        assert receiver.requests == 2050
        assert receiver.connections <= 65


async def test_a_connection_closed_while_idle_costs_no_attempt(outbound):
    receiver = Counted()
    async with listening(receiver.serve) as port:
        for number in range(1, 20):
            answers = await send_all(outbound, [post(f"http://127.0.0.1:{port}/")] * 10, at_once=10)
            assert [answer.status for answer in answers] == [200] * 10
            for writer in list(receiver.open):
                writer.close()
            if number % 2:
                # Otherwise the end of the connection races with the next requests, and libcurl sends again.
                await eventually(lambda: not receiver.open)
        assert receiver.requests == 190


async def test_an_idle_connection_that_speaks_out_of_turn_keeps_nobody_busy(outbound):
    receiver = Counted()
    async with listening(receiver.serve) as port:
        assert (await fetch(outbound, f"http://127.0.0.1:{port}/")).status == 200
        watched = len(outbound._watched)
        for writer in receiver.open:
            writer.write(b"HTTP/1.1 500 Smuggled\r\ncontent-length: 0\r\n\r\n")
            await writer.drain()
        await eventually(lambda: len(outbound._watched) < watched)
        # The loop does not poll it in vain from then on; libcurl itself checks connections that were idle for a second.
        assert (await fetch(outbound, f"http://127.0.0.1:{port}/")).error is None


FORBIDDEN = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f.1",
    "0177.0.0.1",
    "0.0.0.0",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::]",
    "localhost",
    "LOCALHOST.",
    "10.0.0.1",
    "169.254.169.254",
    "192.168.1.1",
    "100.64.0.1",
    "[fe80::1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    socket.gethostname(),
]


@pytest.mark.parametrize("host", FORBIDDEN)
async def test_the_address_of_the_connection_is_checked(host):
    receiver = Counted()
    guarded = Outbound(())
    try:
        async with listening(receiver.serve) as port:
            response = await fetch(guarded, f"http://{host}:{port}/")
            assert response.status is None
            assert response.error is not None
            assert response.error.split(":")[0] in ("address_forbidden", "dns"), response.error
            if host in ("127.0.0.1", "localhost", "[::1]", "169.254.169.254"):
                assert response.error.startswith("address_forbidden: ")
            assert receiver.connections == 0
    finally:
        await guarded.stop()


async def test_allow_opens_what_it_names_and_no_more():
    receiver = Counted()
    async with listening(receiver.serve) as port:
        narrow = Outbound(parse_networks("127.0.0.1, 10.0.0.0/8"))
        try:
            assert (await fetch(narrow, f"http://localhost:{port}/")).status == 200
            assert (await fetch(narrow, f"http://127.0.0.1:{port}/")).status == 200
            for host in ("127.0.0.2", "[::1]", "192.168.0.1"):
                refused = await fetch(narrow, f"http://{host}:{port}/")
                assert (refused.error or "").startswith("address_forbidden"), refused.error
        finally:
            await narrow.stop()


async def test_a_refused_address_is_not_blamed_for_what_another_did(outside: Outside):
    # The guard refuses one address of a name and allows another, which then hangs.
    client = Outbound(parse_networks("127.0.0.1"))
    try:
        refused = await fetch(client, "http://127.0.0.2:1/")
        assert (refused.error or "").startswith("address_forbidden")
        url = outside.hook("late", hang=True).replace("127.0.0.1", "localhost")
        assert (await fetch(client, url, timeout_ms=200)).error == "timeout: no complete response within 0.2 s"
    finally:
        await client.stop()


async def test_proxies_of_the_environment_are_ignored(outbound, outside: Outside, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await fetch(outbound, outside.hook("direct"))).status == 200
    assert (await fetch(outbound, outside.hook("direct").replace("127.0.0.1", "localhost"))).status == 200


async def test_the_egress_proxy_gets_everything(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("NO_PROXY", "*")
    seen: list[tuple[str, dict[str, str], bytes]] = []

    async def serve(reader, writer):
        while not reader.at_eof():
            request = await read_request(reader)
            seen.append(request)
            writer.write(b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n" if "CONNECT" in request[0] else OK)
            await writer.drain()

    async with listening(serve) as port:
        client = Outbound((), f"http://user:secret@127.0.0.1:{port}")
        try:
            # The proxy resolves names and connects to addresses; this process does neither.
            for url in ("http://receiver.invalid/a?b=c", "http://10.1.2.3/", "http://localhost:1/"):
                assert (await fetch(client, url, body=b"hello")).status == 200
            secure = await fetch(client, "https://receiver.invalid/")
        finally:
            await client.stop()
    assert [request[0] for request in seen] == [
        "POST http://receiver.invalid/a?b=c HTTP/1.1",
        "POST http://10.1.2.3/ HTTP/1.1",
        "POST http://localhost:1/ HTTP/1.1",
        "CONNECT receiver.invalid:443 HTTP/1.1",
    ]
    assert all(request[1]["proxy-authorization"] == "Basic dXNlcjpzZWNyZXQ=" for request in seen)
    assert seen[0][2] == b"hello"
    # The proxy of a tunnel does not get the headers for the receiver.
    assert "webhook-id" not in seen[3][1]
    assert secure.status is None
    assert (secure.error or "").startswith("proxy:"), secure.error


async def test_a_callback_that_raises_strands_nobody(outbound, outside: Outside):
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    answered: list[int | None] = []

    def finish(number: int, response: Response) -> None:
        answered.append(response.status)
        if len(answered) == 500:
            loop.call_soon_threadsafe(done.set)
        if number % 50 == 0:
            raise RuntimeError("a broken callback")

    def begin() -> None:
        for number in range(500):
            request = post(outside.hook("raising"), timeout_ms=30_000)
            outbound.send(request, lambda response, number=number: finish(number, response))
        raise RuntimeError("a broken job")

    outbound.run(begin)
    await asyncio.wait_for(done.wait(), 30)
    assert answered == [200] * 500
    assert (await fetch(outbound, outside.hook("raising"))).status == 200


@pytest.mark.parametrize("seed", range(3))
async def test_connections_of_all_kinds_come_and_go(outbound, outside: Outside, seed):
    # Descriptors are closed and their numbers reused, also by name look-ups, while others stay registered.
    by_name = f"http://localhost:{outside.port}/hook"
    kinds = [
        outside.hook("come-and-go"),
        outside.hook("come-and-go", close_after=True),
        f"{by_name}/come-and-go",
        f"{by_name}/come-and-go?close_after=1",
        f"http://vm:{outside.port}/hook/come-and-go?close_after=1",
        outside.hook("come-and-go", close=True),
        outside.hook("come-and-go", reset=True),
        outside.hook("come-and-go", truncate=True),
        f"http://127.0.0.{2 + seed}:{outside.port}/hook/come-and-go",
    ]
    requests = [post(kinds[number * (seed + 2) % len(kinds)], timeout_ms=20_000) for number in range(1200)]
    began = time.monotonic()
    for at_once in (1, 7, 64):
        answers = await send_all(outbound, requests[:300], at_once=at_once)
        assert len(answers) == 300
        assert not [answer.error for answer in answers if answer.error and answer.error.startswith("timeout")]
    answers = await send_all(outbound, requests, at_once=300)
    assert len(answers) == 1200
    assert not [answer.error for answer in answers if answer.error and answer.error.startswith("timeout")]
    # A request whose registration was missed would wait for its timeout.
    assert time.monotonic() - began < 20


async def test_files_opened_elsewhere_do_not_disturb(outbound, outside: Outside, tmp_path: Path):
    # Other threads open and close descriptors with the numbers of connections that libcurl closed without a callback.
    urls = [outside.hook("elsewhere"), outside.hook("elsewhere", close_after=True)]
    for round_ in range(30):
        held = [os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT) for _ in range(round_ % 5)]
        pairs = [socket.socketpair() for _ in range(round_ % 3)]
        answers = await send_all(outbound, [post(url) for url in urls] * 5, at_once=4)
        assert [answer.status for answer in answers] == [200] * 10
        for descriptor in held:
            os.close(descriptor)
        for one, other in pairs:
            one.close()
            other.close()


async def test_stopping_waits_for_nobody(outside: Outside):
    before = len(os.listdir("/proc/self/fd"))
    client = Outbound(parse_networks(LOOPBACK))
    waiting = [
        asyncio.create_task(client.fetch(post(outside.hook("stopped", hang=True), timeout_ms=60_000)))
        for _ in range(20)
    ]
    await eventually(lambda: outside.count("stopped") == 20)
    began = time.monotonic()
    await client.stop()
    assert time.monotonic() - began < 1
    # All waiting callers get an error, and so does every later one.
    for task in waiting:
        with pytest.raises(Unavailable):
            await asyncio.wait_for(task, 5)
    with pytest.raises(Unavailable):
        await asyncio.wait_for(client.fetch(post(outside.hook("stopped"))), 5)
    client.run(lambda: None)
    await client.stop()
    await eventually(lambda: len(os.listdir("/proc/self/fd")) <= before)


async def test_the_method_of_one_request_is_not_that_of_the_next(outbound, outside: Outside):
    methods = ["POST", "PATCH", "POST", "DELETE", "GET", "PUT", "POST"]
    for method in methods:
        assert (await fetch(outbound, outside.hook("methods"), method=method)).status == 200
    assert [record["method"] for record in outside.received("methods")] == methods
    # The handle is put back just after the waiting caller is called.
    await eventually(lambda: len(outbound._free[Kind.MANY]) == 1)


async def test_jobs_run_in_time(outbound):
    loop = asyncio.get_running_loop()
    ran: list[str] = []
    done = asyncio.Event()

    def begin() -> None:
        now = time.monotonic()
        outbound.call_at(now + 0.15, lambda: (ran.append("late"), loop.call_soon_threadsafe(done.set)))  # type: ignore[func-returns-value]
        outbound.call_at(now + 0.05, lambda: ran.append("early"))
        outbound.call_at(now - 1, lambda: ran.append("now"))

    began = time.monotonic()
    outbound.run(begin)
    await asyncio.wait_for(done.wait(), 5)
    assert ran == ["now", "early", "late"]
    assert 0.14 < time.monotonic() - began < 1


async def test_jobs_without_end_keep_no_response_waiting(outbound, outside: Outside):
    going_on = True

    def go_on() -> None:
        if going_on:
            outbound.run(go_on)

    outbound.run(go_on)
    try:
        response = await fetch(outbound, outside.hook("beside-jobs"))
        assert response.status == 200
    finally:
        going_on = False


async def test_no_job_is_slept_through(outbound: Outbound, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that arrives while the loop wakes up for another one leaves the loop wakeable."""
    read, ran = os.eventfd_read, threading.Event()

    def read_while_another_job_comes_in(descriptor: int) -> int:
        outbound.run(lambda: None)
        return read(descriptor)

    monkeypatch.setattr(os, "eventfd_read", read_while_another_job_comes_in)
    for _ in range(3):
        ran.clear()
        outbound.run(ran.set)
        assert ran.wait(5)
        await eventually(lambda: not outbound._jobs)
