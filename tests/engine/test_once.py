"""Requests that must be sent at most once, and whether a failed one may have been sent."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.engine.conftest import LOOPBACK, eventually, listening, send_all
from tests.engine.mailserver import make_certificate
from waypost.domain.values.egress_guard import parse_networks
from waypost.engine.net.outbound import Outbound
from waypost.engine.net.request import READ_BODY, Request, Response

BODY = b'{"to":"+15550100","text":"hello"}'


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    """A client that may reach IPv4 loopback."""
    client = Outbound(parse_networks(LOOPBACK))
    yield client
    await client.stop()


async def fetch(
    outbound: Outbound, url: str, body: bytes = BODY, timeout_ms: int = 5000, **changes: object
) -> Response:
    """Return the response to one request."""
    request = Request(url, body, ["content-type: application/json"], timeout_ms, **changes)  # type: ignore[arg-type]
    response, _ = await asyncio.wait_for(outbound.fetch(request), 20)
    return response


class Provider:
    """A server that stores requests, and responds, closes or stays silent as configured."""

    def __init__(self) -> None:
        self.arrived: list[tuple[str, bytes]] = []
        self.heads: list[dict[str, str]] = []
        self.connections = 0
        self.open: set[asyncio.StreamWriter] = set()
        #: For the next requests: respond, close, reset or hang; afterwards respond.
        self.plan: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open.add(writer)
        try:
            while not reader.at_eof():
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                line, *lines = head.split("\r\n")
                fields = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in lines)}
                self.heads.append(fields)
                self.arrived.append((line, await reader.readexactly(int(fields.get("content-length", "0")))))
                step = self.plan.pop(0) if self.plan else "answer"
                if step == "hang":
                    await asyncio.get_running_loop().create_future()
                if step == "reset":
                    _reset(writer)
                if step != "answer":
                    return
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self.open.discard(writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection with RST instead of FIN."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.mark.parametrize("step", ["close", "reset"])
@pytest.mark.parametrize(("method", "body"), [("POST", BODY), ("POST", b"x" * 200_000), ("PUT", BODY), ("GET", b"")])
@pytest.mark.parametrize("once", [True, False])
async def test_a_request_that_a_used_connection_swallowed(outbound, step, method, body, once):
    provider = Provider()
    async with listening(provider.serve) as port:
        url = f"http://127.0.0.1:{port}/"
        assert (await fetch(outbound, url, body, method=method, once=once)).status == 200
        provider.plan = [step]
        response = await fetch(outbound, url, body, method=method, once=once)
        arrived = [entry for entry in provider.arrived if entry == (f"{method} / HTTP/1.1", body)]
        assert len(arrived) == len(provider.arrived)
        if once:
            # It arrived once, and its result is unknown.
            assert len(arrived) == 2
            assert response.status is None
            assert response.sent
            assert (response.error or "").startswith(("connection_lost: ", "empty_answer: ")), response.error
        else:
            # libcurl repeated it by itself.
            assert len(arrived) == 3
            assert response.status == 200
        # The same handle works for the next request.
        assert (await fetch(outbound, url, body, method=method, once=once)).status == 200


async def test_what_may_be_sent_once_is_sent_without_questions(outbound):
    provider = Provider()
    async with listening(provider.serve) as port:
        for body in (b"", b"a", BODY, bytes(65_536), bytes(65_537), bytes(3_000_000)):
            for once in (True, False, True):
                response = await fetch(outbound, f"http://127.0.0.1:{port}/", body, once=once)
                assert (response.status, response.body, response.error, response.sent) == (200, b"ok", None, True)
    # No `Expect: 100-continue`, no chunks: only the body and its length, whatever the handle sent before.
    assert [len(body) for _, body in provider.arrived] == [
        size for size in (0, 1, len(BODY), 65_536, 65_537, 3_000_000) for _ in range(3)
    ]
    assert not [head for head in provider.heads[::3] if "expect" in head or "transfer-encoding" in head]
    assert {head["content-type"] for head in provider.heads} == {"application/json"}


async def test_connections_are_used_again_for_requests_that_are_sent_once(outbound):
    provider = Provider()
    async with listening(provider.serve) as port:
        request = Request(f"http://127.0.0.1:{port}/", BODY, [], 5000, once=True)
        answers = await send_all(outbound, [request] * 1000, at_once=10)
        assert [answer.status for answer in answers] == [200] * 1000
        assert len(provider.arrived) == 1000
        assert provider.connections <= 10


@pytest.mark.parametrize("pause", ["none", "seen"])
async def test_a_connection_that_was_closed_while_idle_costs_nothing(outbound, pause):
    provider = Provider()
    async with listening(provider.serve) as port:
        for number in range(1, 20):
            response = await fetch(outbound, f"http://127.0.0.1:{port}/", once=True)
            assert (response.status, response.error) == (200, None)
            assert len(provider.arrived) == number
            for writer in list(provider.open):
                writer.close()
            if pause == "seen":
                await eventually(lambda: not provider.open)
            else:
                # The end of the connection is sent before the next request.
                await asyncio.sleep(0)


@pytest.mark.parametrize("once", [True, False])
async def test_a_private_connection_that_was_closed_while_idle_costs_nothing(tmp_path, monkeypatch, once):
    context = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    client = Outbound(parse_networks(LOOPBACK))
    provider = Provider()
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0, ssl=context)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    try:
        for number in range(1, 30):
            response = await fetch(client, url, once=once)
            assert (response.status, response.error) == (200, None)
            assert len(provider.arrived) == number
            if number % 3:
                for writer in list(provider.open):
                    writer.close() if number % 3 == 1 else writer.transport.abort()
                await eventually(lambda: not provider.open)
        # Two were closed for each that was reused.
        assert provider.connections == 20
        for step in ("close", "reset"):
            provider.plan = [step]
            response = await fetch(client, url, once=once)
            arrived = len(provider.arrived)
            # Otherwise libcurl repeats it after some TLS errors, and not after others.
            assert response.sent
            assert response.status is None or not once
            assert (await fetch(client, url, once=once)).status == 200
            assert len(provider.arrived) == arrived + 1
    finally:
        await client.stop()
        server.close()
        await server.wait_closed()


async def test_a_repeated_request_that_finds_nobody_was_sent_all_the_same(outbound):
    # The first try arrives on a reused connection; libcurl's own second try cannot connect.
    arrived = 0
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    listener.setblocking(False)
    loop = asyncio.get_running_loop()

    async def serve() -> None:
        nonlocal arrived
        connection, _ = await loop.sock_accept(listener)
        listener.close()
        for answer in (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b""):
            got = b""
            while not got.endswith(BODY):
                got += await loop.sock_recv(connection, 65_536)
            arrived += 1
            await loop.sock_sendall(connection, answer)
        connection.close()

    task = asyncio.create_task(serve())
    assert (await fetch(outbound, url)).status == 200
    response = await fetch(outbound, url)
    await task
    assert (response.status, arrived) == (None, 2)
    assert (response.error or "").startswith("connect: "), response.error
    assert response.sent


@contextlib.contextmanager
def deaf() -> Iterator[int]:
    """Return a port whose backlog is full, so that no client can connect."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    waiting = []
    for _ in range(4):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(listener.getsockname())
        waiting.append(client)
    try:
        yield listener.getsockname()[1]
    finally:
        for client in waiting:
            client.close()
        listener.close()


@pytest.mark.parametrize("once", [True, False])
async def test_nothing_was_sent_where_nobody_was_reached(outbound, once):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        refused = await fetch(outbound, f"http://127.0.0.1:{taken.getsockname()[1]}/", once=once)
    assert ((refused.error or "").split(":")[0], refused.sent) == ("connect", False)
    unknown = await fetch(outbound, "http://nobody.invalid/", once=once, timeout_ms=10_000)
    assert ((unknown.error or "").split(":")[0], unknown.sent) == ("dns", False)
    private = await fetch(outbound, "http://10.0.0.1/", once=once)
    assert ((private.error or "").split(":")[0], private.sent) == ("address_forbidden", False)
    for request in (
        Request("http://127.0.0.1/\0", b"", [], 1000, once=once),
        Request("x://", b"", [], 1000, once=once),
    ):
        response, _ = await outbound.fetch(request)
        assert response.error
        assert not response.sent
    with deaf() as port:
        late = await fetch(outbound, f"http://127.0.0.1:{port}/", once=once, timeout_ms=300)
    assert ((late.error or "").split(":")[0], late.sent) == ("timeout", False)


@pytest.mark.parametrize("once", [True, False])
async def test_nothing_was_sent_before_the_handshake_was_over(outbound, once):
    async def swallow(reader, writer):
        await reader.read(1)
        await asyncio.get_running_loop().create_future()

    async def refuse(reader, writer):
        await reader.read(10_000)
        writer.write(b"HTTP/1.1 400 Plain\r\n\r\n")
        await writer.drain()

    async def leave(reader, writer):
        await reader.read(1)

    for serve, word in ((swallow, "timeout"), (refuse, "tls"), (leave, "tls")):
        async with listening(serve) as port:
            response = await fetch(outbound, f"https://127.0.0.1:{port}/", once=once, timeout_ms=300)
        assert ((response.error or "").split(":")[0], response.sent) == (word, False), response.error


@pytest.mark.parametrize("once", [True, False])
async def test_what_reached_a_server_counts_as_sent(outbound, once):
    for step, word in (("hang", "timeout"), ("close", "empty_answer"), ("reset", "connection_lost")):
        provider = Provider()
        provider.plan = [step] * 3
        async with listening(provider.serve) as port:
            response = await fetch(outbound, f"http://127.0.0.1:{port}/", once=once, timeout_ms=300)
        assert ((response.error or "").split(":")[0], response.sent) == (word, True), response.error
        assert len(provider.arrived) == 1


@pytest.mark.parametrize("once", [True, False])
async def test_a_part_of_a_request_counts_as_sent(outbound, once):
    async def serve(reader, writer):
        await reader.readexactly(10)
        await asyncio.get_running_loop().create_future()

    async with listening(serve) as port:
        response = await fetch(outbound, f"http://127.0.0.1:{port}/", bytes(50_000_000), once=once, timeout_ms=500)
    assert ((response.error or "").split(":")[0], response.sent) == ("timeout", True)


@pytest.mark.parametrize(
    ("answer", "word"), [(b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n", "proxy"), (b"", "timeout")]
)
async def test_what_a_proxy_was_asked_is_no_request(answer, word):
    asked: list[bytes] = []

    async def serve(reader, writer):
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        await asyncio.get_running_loop().create_future()

    async with listening(serve) as port:
        client = Outbound((), f"http://127.0.0.1:{port}")
        try:
            response = await fetch(client, "https://provider.invalid/", once=True, timeout_ms=500)
        finally:
            await client.stop()
    assert len(asked) == 1
    assert ((response.error or "").split(":")[0], response.sent) == (word, False), response.error
    away = Outbound((), "http://127.0.0.1:1")
    try:
        response = await fetch(away, "http://provider.invalid/", once=True)
    finally:
        await away.stop()
    assert ((response.error or "").split(":")[0], response.sent) == ("proxy", False), response.error


async def test_a_whole_large_answer_can_be_kept(outbound):
    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % READ_BODY + b"x" * READ_BODY)
        await writer.drain()

    async with listening(serve) as port:
        response = await fetch(outbound, f"http://127.0.0.1:{port}/", b"", keep=READ_BODY, once=True)
    assert response.body == b"x" * READ_BODY
