"""Link checks against real servers, good and hostile."""

import asyncio
import collections
import contextlib
import socket
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.engine.conftest import LOOPBACK, eventually, listening
from tests.engine.mailserver import make_certificate
from waypost.clock import MINUTE, SECOND
from waypost.domain.tracking.link_verdict import REASONS
from waypost.domain.values.egress_guard import parse_networks
from waypost.engine.net.outbound import Outbound
from waypost.engine.net.request import ERRORS
from waypost.engine.tracking.link_checks import MOST_REDIRECTS, LinkChecker
from waypost.errors import Unavailable

ALLOW = parse_networks(LOOPBACK)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
NOW = 1_790_000_000 * SECOND

Page = Callable[[str, dict[str, str], asyncio.StreamWriter], Awaitable[None]]


def respond(status: int = 200, body: bytes = b"hello", **headers: str) -> bytes:
    """A response; `content_length` and others can be given."""
    told = {"content-length": str(len(body))} | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in told.items() if value), "", ""]
    return "\r\n".join(lines).encode("utf-8") + body


class Site:
    """A server with a response for each path: bytes, or one per method, or a function that writes."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes | dict[str, bytes] | Page] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.port = 0
        self.sent = 0

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def methods(self, path: str) -> list[str]:
        """The methods of the requests for a path."""
        return [method for method, asked, _ in self.requests if asked == path]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof():
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            line, *lines = head.split("\r\n")
            method, path, _ = line.split(" ")
            headers = {
                name.lower(): value.strip() for name, _, value in (text.partition(":") for text in lines) if name
            }
            self.requests.append((method, path, headers))
            page = self.pages.get(path.partition("?")[0], respond(404, b""))
            if callable(page):
                await page(method, headers, writer)
                continue
            told = page.get(method, respond(405, b"")) if isinstance(page, dict) else page
            writer.write(told.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if method == "HEAD" else told)
            await writer.drain()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    async with listening(made.serve) as port:
        made.port = port
        yield made


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    client = Outbound(ALLOW)
    yield client
    await client.stop()


@pytest.fixture
def checker(outbound: Outbound) -> LinkChecker:
    return LinkChecker(outbound, ALLOW)


async def forever(writer: asyncio.StreamWriter, piece: bytes) -> None:
    """Write until the other side closes."""
    with contextlib.suppress(ConnectionError):
        while not writer.is_closing():
            writer.write(piece)
            await writer.drain()


async def until_closed(writer: asyncio.StreamWriter) -> None:
    """Say nothing until the other side closes."""
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_a_page_that_works_takes_one_head_request(site, checker):
    site.pages["/"] = respond(content_length="1000000")
    verdict = await checker.check(site.url("/"), "page")
    assert (verdict.ok, verdict.reason, verdict.detail) == (True, "", "")
    assert site.methods("/") == ["HEAD"]


@pytest.mark.parametrize("status", [404, 410, 500, 503, 304, 300, 302])
async def test_other_statuses_are_reasons(site, checker, status):
    site.pages["/x"] = respond(status, b"")
    verdict = await checker.check(site.url("/x"), "page")
    assert (verdict.ok, verdict.reason) == (False, f"status_{status}")
    # The GET decides, since servers refuse HEAD in many ways.
    assert site.methods("/x") == ["HEAD", "GET"]


@pytest.mark.parametrize("status", [400, 403, 404, 405, 501, 500])
async def test_get_decides_when_head_is_refused(site, checker, status):
    site.pages["/x"] = {"HEAD": respond(status, b""), "GET": respond()}
    assert (await checker.check(site.url("/x"), "page")).ok
    assert site.methods("/x") == ["HEAD", "GET"]
    headers = site.requests[-1][2]
    assert (headers["range"], headers["accept-encoding"]) == ("bytes=0-1023", "identity")
    # A GET without a body has no headers of one.
    assert not {"content-length", "content-type", "transfer-encoding"} & headers.keys()


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 2000 X\r\n\r\n"])
async def test_get_decides_when_head_breaks_the_server(site, checker, answer):
    async def page(method, headers, writer):
        writer.write(respond() if method == "GET" else answer)
        await writer.drain()
        if method == "HEAD":
            writer.close()

    site.pages["/x"] = page
    assert (await checker.check(site.url("/x"), "page")).ok


async def test_an_empty_file_has_no_range(site, checker):
    async def page(method, headers, writer):
        writer.write(respond(405, b"") if method == "HEAD" else respond(416 if "range" in headers else 200, b""))

    site.pages["/x"] = page
    assert (await checker.check(site.url("/x"), "page")).ok
    assert site.methods("/x") == ["HEAD", "GET", "GET"]
    site.pages["/y"] = {"GET": respond(416, b"")}
    assert (await checker.check(site.url("/y"), "page")).reason == "status_416"


async def test_redirects_are_followed(site, checker):
    site.pages |= {
        "/a": respond(301, b"", location="/b?x=1"),
        "/b": respond(302, b"", location="c/d"),
        "/c/d": respond(307, b"", location=site.url("/caf\u00e9 1", "localhost")),
        "/caf%C3%A9%201": respond(),
    }
    assert (await checker.check(site.url("/a"), "page")).ok
    assert [path for _, path, _ in site.requests] == ["/a", "/b?x=1", "/c/d", "/caf%C3%A9%201"]


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_five_redirects_and_no_more(site, checker, method):
    for number in range(1, 10):
        page = respond(308, b"", location=f"/{number - 1}")
        site.pages[f"/{number}"] = page if method == "HEAD" else {"GET": page}
    site.pages["/0"] = respond()
    assert (await checker.check(site.url(f"/{MOST_REDIRECTS}"), "page")).ok
    verdict = await checker.check(site.url(f"/{MOST_REDIRECTS + 1}"), "page")
    assert verdict.reason == "too_many_redirects"


async def test_a_loop_ends(site, checker):
    site.pages |= {"/a": respond(302, b"", location="/b"), "/b": respond(302, b"", location="/a")}
    assert (await checker.check(site.url("/a"), "page")).reason == "too_many_redirects"
    assert len(site.requests) == MOST_REDIRECTS + 1


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("http://10.0.0.1/", "address_forbidden"),
        ("http://169.254.169.254/latest/meta-data", "address_forbidden"),
        ("http://[::1]/", "address_forbidden"),
        ("//192.168.1.1", "address_forbidden"),
        ("http://2130706433.:1/", "connect"),
        ("http://user:secret@127.0.0.1/", "invalid_url"),
        ("ftp://127.0.0.1/", "invalid_url"),
        ("file:///etc/passwd", "invalid_url"),
        ("javascript:alert(1)", "invalid_url"),
        ("http://127.0.0.1:99999/", "invalid_url"),
        ("http://[broken", "invalid_url"),
        ("http://nobody.invalid/", "dns"),
    ],
)
async def test_each_redirect_is_guarded(site, checker, target, reason):
    site.pages["/x"] = respond(302, b"", location=target)
    verdict = await checker.check(site.url("/x"), "page")
    assert verdict.reason == reason
    assert len(site.requests) == 1


async def test_the_address_that_a_name_resolves_to_is_guarded(site):
    # Its names are not resolved by the check of the URL: the connection is refused.
    client = Outbound(parse_networks("127.0.0.2"))
    try:
        checker = LinkChecker(client, ALLOW)
        assert (await checker.check(site.url("/"), "page")).reason == "address_forbidden"
        site.pages["/x"] = respond(302, b"", location=site.url("/y", "localhost"))
        verdict = await checker.check(site.url("/x", "127.0.0.2"), "page")
        assert verdict.reason in ("address_forbidden", "connect")
        assert not site.requests
    finally:
        await client.stop()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "invalid_url"),
        ("click.example.com", "invalid_url"),
        ("mailto:a@example.com", "invalid_url"),
        ("http://", "invalid_url"),
        ("http://a b.example/", "invalid_url"),
        ("http://example.com/a b", "invalid_url"),
        ("http://user@127.0.0.1/", "invalid_url"),
        ("http://127.0.0.1:0/", "invalid_url"),
        ("http://ex..ample/", "invalid_url"),
        ("http://127.0.0.1/" + "x" * 3000, "invalid_url"),
        ("http://10.0.0.1/", "address_forbidden"),
        ("http://0x7f.1.1.1.1/", "invalid_url"),
        ("http://[fe80::1]/", "address_forbidden"),
        ("http://nobody.invalid/", "dns"),
        ("http://b\u00fccher.invalid/", "dns"),
    ],
)
async def test_urls_that_cannot_work(checker, url, reason):
    verdict = await checker.check(url, "page")
    assert (verdict.ok, verdict.reason) == (False, reason)
    assert verdict.detail


async def test_a_host_that_refuses_connections(checker):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        verdict = await checker.check(f"http://127.0.0.1:{taken.getsockname()[1]}/", "page")
    assert verdict.reason == "connect"


async def test_the_certificate_is_checked(site, tmp_path, monkeypatch):
    site.pages["/"] = respond()
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0, ssl=make_certificate(tmp_path))
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    stranger = Outbound(ALLOW)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    acquaintance = Outbound(ALLOW)
    try:
        assert (await LinkChecker(stranger, ALLOW).check(url, "page")).reason == "tls"
        assert (await LinkChecker(acquaintance, ALLOW).check(url, "page")).ok
    finally:
        await stranger.stop()
        await acquaintance.stop()
        server.close()
        await server.wait_closed()


async def silent(method, headers, writer):
    await until_closed(writer)


async def slow_head(method, headers, writer):
    writer.write(b"HTTP/1.1 200 X\r\ncontent-")
    await until_closed(writer)


async def only_headers(method, headers, writer):
    writer.write(respond(405, b"") if method == "HEAD" else respond(200, b"", content_length="10"))
    if method == "GET":
        await until_closed(writer)


async def redirects_once(method, headers, writer):
    writer.write(respond(302, b"", location="/silent"))


@pytest.mark.parametrize("page", [silent, slow_head, only_headers, redirects_once])
async def test_the_time_covers_everything(site, outbound, page):
    site.pages |= {"/x": page, "/silent": silent}
    checker = LinkChecker(outbound, ALLOW, timeout_s=0.4)
    began = time.monotonic()
    verdict = await checker.check(site.url("/x"), "page")
    assert time.monotonic() - began < 2
    assert verdict.reason == "timeout"
    assert verdict.detail == "The URL did not respond within 0.4 s, redirects included."


async def resets(method, headers, writer):
    writer.transport.abort()


async def large_headers(method, headers, writer):
    writer.write(b"HTTP/1.1 200 X\r\n")
    await forever(writer, b"x: " + b"y" * 10_000 + b"\r\n")


@pytest.mark.parametrize(
    ("page", "reasons"),
    [(resets, {"connection_lost", "empty_answer"}), (large_headers, {"connection_lost"})],
)
async def test_broken_responses(site, checker, page, reasons):
    site.pages["/x"] = page
    assert (await checker.check(site.url("/x"), "page")).reason in reasons


async def test_a_slow_body_does_not_matter_for_a_page(site, checker):
    async def page(method, headers, writer):
        writer.write(respond(405, b"") if method == "HEAD" else respond(200, b"x", content_length="100"))
        if method == "GET":
            await until_closed(writer)

    site.pages["/x"] = page
    assert (await checker.check(site.url("/x"), "page")).ok


@pytest.mark.parametrize("kind", ["page", "image"])
async def test_an_endless_body_is_not_read(site, checker, kind):
    sent = 0
    ended = asyncio.Event()

    async def page(method, headers, writer):
        nonlocal sent
        if method == "HEAD":
            writer.write(respond(405, b""))
            return
        writer.write(b"HTTP/1.1 200 X\r\ncontent-type: image/png\r\n\r\n" + PNG)
        with contextlib.suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(bytes(4096))
                sent += 4096
                await writer.drain()
        ended.set()

    site.pages["/x"] = page
    assert (await checker.check(site.url("/x"), kind)).ok
    await asyncio.wait_for(ended.wait(), 10)
    # What the sockets of both sides hold; nothing of it was read.
    assert sent < 20_000_000


async def test_a_gzip_bomb_is_not_expanded(site, checker):
    deflate = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = deflate.compress(bytes(100_000_000)) + deflate.flush()
    site.pages["/x"] = {"GET": respond(200, bomb, content_encoding="gzip", content_type="image/png")}
    assert (await checker.check(site.url("/x"), "page")).ok
    assert (await checker.check(site.url("/x"), "image")).reason == "not_an_image"


async def test_an_image_is_looked_at(site, checker):
    site.pages |= {
        "/good.png": respond(206, PNG, content_type="image/png", content_range=f"bytes 0-1023/{len(PNG)}"),
        "/moved.png": respond(302, b"", location="/good.png"),
        "/lie.png": respond(200, b"<html>", content_type="image/png"),
        "/page": respond(200, PNG, content_type="text/html"),
        "/huge.png": respond(206, PNG, content_type="image/png", content_range="bytes 0-1023/6000000"),
        "/new.webp": respond(200, b"RIFF", content_type="image/webp"),
    }
    found = {path: (await checker.check(site.url(path), "image")).reason for path in [*site.pages, "/none.png"]}
    assert found == {
        "/good.png": "",
        "/moved.png": "",
        "/lie.png": "not_an_image",
        "/page": "not_an_image",
        "/huge.png": "image_too_large",
        "/new.webp": "image_unsupported",
        "/none.png": "status_404",
    }
    # One request each: only the bytes of a file show that it is an image.
    assert all(
        methods == ["GET"]
        for methods in ([m for m, p, _ in site.requests if p == path] for path in ("/lie.png", "/page"))
    )


async def test_a_page_and_an_image_are_different_questions(site, checker):
    site.pages["/x"] = respond()
    assert (await checker.check(site.url("/x"), "page")).ok
    assert not (await checker.check(site.url("/x"), "image")).ok
    assert checker.peek(site.url("/x"), "page").ok
    assert not checker.peek(site.url("/x"), "image").ok


class Held:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


async def test_verdicts_are_cached_for_their_time(site, outbound):
    clock = Held()
    checker = LinkChecker(outbound, ALLOW, fresh_s=3600, failed_fresh_s=60, now=clock)
    site.pages["/good"] = respond()
    good, bad = site.url("/good"), site.url("/bad")
    assert checker.peek(good, "page") is None
    first = await checker.check(good, "page")
    assert first.checked_at == NOW
    assert not (await checker.check(bad, "page")).ok
    asked = len(site.requests)

    clock.now += MINUTE - 1
    known = checker.peek(bad, "page")
    assert known is not None
    assert known.reason == "status_404"
    assert not (await checker.check(bad, "page")).ok
    assert len(site.requests) == asked

    clock.now += 1
    site.pages["/bad"] = respond()
    assert checker.peek(bad, "page") is None
    assert (await checker.check(bad, "page")).ok
    assert (await checker.check(good, "page")) == first

    clock.now = NOW + 3600 * SECOND - 1
    del site.pages["/good"]
    assert checker.peek(good, "page") == first
    clock.now += 1
    assert checker.peek(good, "page") is None
    assert (await checker.check(good, "page")).reason == "status_404"
    # A clock that is set back does not keep a verdict for ever.
    clock.now = NOW - 1
    assert checker.peek(good, "page") is None


async def test_an_invalid_url_is_cached_too(checker):
    assert (await checker.check("nonsense", "page")).reason == "invalid_url"
    kept = checker.peek("nonsense", "page")
    assert kept is not None
    assert kept.reason == "invalid_url"


async def test_the_cache_is_bounded(site, outbound):
    site.pages["/x"] = respond()
    checker = LinkChecker(outbound, ALLOW, cached=10)
    for number in range(30):
        await checker.check(site.url(f"/x?{number}"), "page")
        # What is used stays.
        assert checker.peek(site.url("/x?0"), "page") is not None
    assert len(checker._cache) == 10
    await checker.check("http://127.0.0.1/" + "x" * 100_000, "page")
    assert max(len(url) for url, _ in checker._cache) < 100


async def test_spellings_of_one_url_share_a_check(site, checker):
    site.pages["/x"] = respond()
    for url in (site.url("/x"), site.url("/x#top"), site.url("/x").upper().replace("/X", "/x"), site.url("/x#end")):
        assert (await checker.check(url, "page")).ok
        assert checker.peek(url, "page").ok
    assert site.methods("/x") == ["HEAD"]


async def test_two_hundred_callers_make_one_request(site, checker):
    opened = asyncio.Event()

    async def page(method, headers, writer):
        await opened.wait()
        writer.write(respond(200, b""))

    site.pages["/x"] = page
    callers = [asyncio.create_task(checker.check(site.url("/x"), "page")) for _ in range(200)]
    await eventually(lambda: site.requests)
    # The first one started the check; it and half of the others go away.
    for caller in callers[:100]:
        caller.cancel()
    opened.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results[:100])
    assert all(not isinstance(result, BaseException) and result.ok for result in results[100:])
    assert site.methods("/x") == ["HEAD"]
    assert not checker._running


async def test_a_check_that_nobody_waits_for_ends(site, checker):
    opened = asyncio.Event()

    async def page(method, headers, writer):
        await opened.wait()
        writer.write(respond(200, b""))

    site.pages["/x"] = page
    caller = asyncio.create_task(checker.check(site.url("/x"), "page"))
    await eventually(lambda: site.requests)
    caller.cancel()
    opened.set()
    await eventually(lambda: checker.peek(site.url("/x"), "page"))
    assert not checker._running


class Gauge:
    """A page that counts how many requests wait for it, and lets them go when told to."""

    def __init__(self) -> None:
        self.waiting = 0
        self.most: collections.Counter[str] = collections.Counter()
        self.opened = asyncio.Event()

    async def __call__(self, method: str, headers: dict[str, str], writer: asyncio.StreamWriter) -> None:
        self.waiting += 1
        self.most["all"] = max(self.most["all"], self.waiting)
        await self.opened.wait()
        self.waiting -= 1
        writer.write(respond(200, b""))


async def test_requests_to_one_host_are_limited_and_others_go_on(site, outbound):
    gauge = Gauge()
    site.pages |= {"/slow": gauge, "/fast": respond()}
    checker = LinkChecker(outbound, ALLOW, per_host=3, at_once=4, timeout_s=10)
    slow = [asyncio.create_task(checker.check(site.url(f"/slow?{n}"), "page")) for n in range(20)]
    await eventually(lambda: gauge.waiting == 3)
    # To the checker another name is another host.
    for number in range(5):
        assert (await checker.check(site.url(f"/fast?{number}", "localhost"), "page")).ok
    assert gauge.most["all"] == 3
    gauge.opened.set()
    assert all(verdict.ok for verdict in await asyncio.gather(*slow))
    assert gauge.most["all"] == 3
    assert not checker._slots._hosts


async def test_requests_are_limited_in_all(site, outbound):
    gauge = Gauge()
    site.pages["/slow"] = gauge
    checker = LinkChecker(outbound, ALLOW, per_host=3, at_once=4, timeout_s=10)
    hosts = ["127.0.0.1", "localhost", "127.0.0.1.", "LOCALHOST."]
    tasks = [asyncio.create_task(checker.check(site.url(f"/slow?{n}", hosts[n % 4]), "page")) for n in range(20)]
    await eventually(lambda: gauge.waiting == 4)
    gauge.opened.set()
    assert all(verdict.ok for verdict in await asyncio.gather(*tasks))
    assert gauge.most["all"] == 4


async def test_who_gets_no_turn_is_told_so(site, outbound):
    gauge = Gauge()
    site.pages["/slow"] = gauge
    checker = LinkChecker(outbound, ALLOW, per_host=1, at_once=4, most_running=3, timeout_s=0.5)
    tasks = [asyncio.create_task(checker.check(site.url(f"/slow?{n}"), "page")) for n in range(4)]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    gauge.opened.set()
    # One had its turn and no response; two waited in vain; one was too many.
    assert [getattr(result, "reason", None) or getattr(result, "code", None) for result in results] == [
        "timeout",
        "link_checks_busy",
        "link_checks_busy",
        "link_checks_busy",
    ]
    assert all(isinstance(result, Unavailable) for result in results[1:])
    # What was not checked is not cached.
    assert checker.peek(site.url("/slow?1"), "page") is None
    assert not checker._slots._hosts


async def test_a_link_that_waited_for_others_is_not_called_dead(site, outbound):
    """It gives up its turn before the page in front of it runs out of time, and is not asked with what is left."""
    gauge = Gauge()
    site.pages |= {"/slow": gauge, "/fast": respond()}
    checker = LinkChecker(outbound, ALLOW, per_host=1, timeout_s=1.0)
    slow = asyncio.create_task(checker.check(site.url("/slow"), "page"))
    await eventually(lambda: gauge.waiting == 1)
    with pytest.raises(Unavailable) as refused:
        await checker.check(site.url("/fast"), "page")
    assert refused.value.code == "link_checks_busy"
    assert not slow.done()
    assert not any(request.startswith("/fast") for request in map(str, site.requests))
    gauge.opened.set()
    assert (await slow).ok
    assert (await checker.check(site.url("/fast"), "page")).ok


async def test_a_server_that_stops_says_so(site):
    client = Outbound(ALLOW)
    checker = LinkChecker(client, ALLOW)
    site.pages["/x"] = silent
    task = asyncio.create_task(checker.check(site.url("/x"), "page"))
    await eventually(lambda: site.requests)
    await client.stop()
    with pytest.raises(Unavailable):
        await task


def test_every_error_of_the_client_is_a_reason():
    assert set(ERRORS.values()) <= REASONS.keys()
