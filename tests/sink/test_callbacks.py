"""Callbacks: keep-alive connections, retries and counts."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.waiting import eventually
from waypost.sink import callbacks as posts_module
from waypost.sink.callbacks import Attempt, Callback, CallbackSender, backoff

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Server:
    """A receiver whose responses are given byte by byte."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.connections = 0
        self.open = 0
        self.most = 0
        self.answer: Callable[[int, asyncio.StreamWriter], Awaitable[None]] = self.say(OK)
        self.url = ""
        self.talks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def say(self, *answers: bytes) -> Callable[[int, asyncio.StreamWriter], Awaitable[None]]:
        """Send the n-th of these for the n-th request, and the last one for all others; keep connections open."""

        async def answer(number: int, writer: asyncio.StreamWriter) -> None:
            chosen = answers[min(number, len(answers)) - 1]
            if chosen:
                writer.write(chosen)
            if not chosen or b"connection: close" in chosen:
                writer.close()

        return answer

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.talks[task] = writer
        self.connections += 1
        self.open += 1
        self.most = max(self.most, self.open)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
                headers = dict(line.split(": ", 1) for line in lines)
                body = await reader.readexactly(int(headers["content-length"]))
                self.requests.append((first, headers, body))
                await self.answer(len(self.requests), writer)
                await writer.drain()
        self.open -= 1
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def stop(self) -> None:
        for writer in self.talks.values():
            writer.transport.abort()
        if self.talks:
            await asyncio.wait(self.talks)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    listening = await asyncio.start_server(made.talk, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    yield made
    listening.close()
    await made.stop()


@pytest.fixture
async def callbacks() -> AsyncIterator[CallbackSender]:
    made = CallbackSender(connections=4)
    yield made
    made.close()
    await asyncio.sleep(0)


async def settled(callbacks: CallbackSender, sender: str = "s") -> None:
    """Wait until nothing is pending."""
    await eventually(lambda: not callbacks.counts(sender).pending)


def told(callbacks: CallbackSender) -> tuple[int, int, int, int]:
    counts = callbacks.counts("s")
    return counts.sent, counts.failed, counts.attempts, counts.dropped


async def test_a_post_comes_as_it_was_given(callbacks, server):
    results: list[Attempt] = []
    url = f"{server.url}/a/b%20c?d=e&f="
    callbacks.send(
        Callback(sender="s", url=url, headers=[("X-A", "1"), ("X-B", "two")], body=b"hi", on_attempt=results.append)
    )
    await settled(callbacks)
    ((first, headers, body),) = server.requests
    assert (first, body) == ("POST /a/b%20c?d=e&f= HTTP/1.1", b"hi")
    assert headers == {"host": server.url[7:], "X-A": "1", "X-B": "two", "content-length": "2"}
    (attempt,) = results
    assert (attempt.number, attempt.status, attempt.body, attempt.accepted) == (1, 200, b"ok", True)
    assert attempt.headers == {"content-length": "2"}
    assert told(callbacks) == (1, 0, 1, 0)


async def test_connections_are_few_and_kept(callbacks, server):
    for n in range(200):
        callbacks.send(Callback(sender="s", url=server.url, body=b"%d" % n))
    await settled(callbacks)
    assert sorted(int(body) for _, _, body in server.requests) == list(range(200))
    assert server.most <= 4
    assert server.connections <= 4


@pytest.mark.parametrize("bad", [b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", b"garbage\r\n\r\n", b""])
async def test_what_fails_is_tried_again(callbacks, server, bad):
    server.answer = server.say(bad, bad, OK)
    callbacks.send(Callback(sender="s", url=server.url, body=b"x", attempts=5, retry_base=0.001))
    await settled(callbacks)
    assert told(callbacks) == (1, 0, 3, 0)
    assert [body for _, _, body in server.requests] == [b"x"] * 3


async def test_tries_end(callbacks, server):
    server.answer = server.say(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n")
    results: list[Attempt] = []
    callbacks.send(Callback(sender="s", url=server.url, attempts=3, retry_base=0.001, on_attempt=results.append))
    await settled(callbacks)
    assert told(callbacks) == (0, 1, 3, 0)
    assert [(attempt.number, attempt.accepted) for attempt in results] == [(1, False), (2, False), (3, False)]


async def test_a_post_can_be_given_up_or_be_choosy(callbacks, server):
    callbacks.send(Callback(sender="s", url=server.url, attempts=9, accept=lambda status, body, headers: None))
    await settled(callbacks)
    assert told(callbacks) == (0, 1, 1, 0)
    seen: list[tuple[int, bytes, str]] = []

    def accept(status: int, body: bytes, headers: posts_module.Headers) -> bool:
        seen.append((status, body, headers["content-length"]))
        return len(seen) == 2

    callbacks.send(Callback(sender="s", url=server.url, attempts=9, retry_base=0.001, accept=accept))
    await settled(callbacks)
    assert seen == [(200, b"ok", "2")] * 2


async def test_a_kept_connection_that_has_died_costs_no_try(callbacks, server):
    callbacks.send(Callback(sender="s", url=server.url))
    await settled(callbacks)
    # The server reads the next request and drops it, as one that closes idle connections.
    server.answer = server.say(OK, b"", OK)
    callbacks.send(Callback(sender="s", url=server.url))
    await settled(callbacks)
    assert told(callbacks) == (2, 0, 2, 0)
    assert server.connections == 2


async def test_a_closing_server_is_no_trouble(callbacks, server):
    server.answer = server.say(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
    for _ in range(20):
        callbacks.send(Callback(sender="s", url=server.url))
    await settled(callbacks)
    assert told(callbacks) == (20, 0, 20, 0)


async def test_bodies_may_be_chunked_or_end_with_the_connection(callbacks, server):
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n"
    endless = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nok"
    early = b"HTTP/1.1 100 Continue\r\n\r\n" + OK
    server.answer = server.say(chunked, endless, early)
    results: list[Attempt] = []
    for _ in range(3):
        callbacks.send(Callback(sender="s", url=server.url, on_attempt=results.append))
        await settled(callbacks)
    assert [(attempt.status, attempt.body) for attempt in results] == [(200, b"ok")] * 3
    assert results[0].headers == {"transfer-encoding": "chunked"}


async def test_an_answer_that_does_not_come_or_does_not_end_fails(callbacks, server, monkeypatch):
    async def nothing(number: int, writer: asyncio.StreamWriter) -> None:
        return

    server.answer = nothing
    results: list[Attempt] = []
    callbacks.send(Callback(sender="s", url=server.url, timeout=0.05, on_attempt=results.append))
    await settled(callbacks)
    monkeypatch.setattr(posts_module, "LARGEST_ANSWER", 10)
    server.answer = server.say(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n" + b"x" * 100)
    callbacks.send(Callback(sender="s", url=server.url, on_attempt=results.append))
    await settled(callbacks)
    assert [attempt.error for attempt in results] == ["no response within the timeout", "the response is too large"]
    assert told(callbacks) == (0, 2, 2, 0)


async def test_nobody_there_is_a_failed_try_for_each(callbacks, server):
    listening = await asyncio.start_server(server.talk, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    listening.close()
    for _ in range(10):
        callbacks.send(Callback(sender="s", url=f"http://127.0.0.1:{port}/", attempts=2, retry_base=0.001))
    await settled(callbacks)
    assert told(callbacks) == (0, 10, 20, 0)


@pytest.mark.parametrize(
    "url", ["ftp://a/", "http:///x", "nonsense", "http://a:99999/", "http://a/\r\nX: 1", "http://a/ b"]
)
async def test_what_is_no_url_is_dropped(callbacks, url):
    results: list[Attempt] = []
    callbacks.send(Callback(sender="s", url=url, on_attempt=results.append))
    assert told(callbacks) == (0, 0, 0, 1)
    assert results[0].accepted is None


async def test_what_waits_is_bounded(callbacks, monkeypatch):
    monkeypatch.setattr(posts_module, "LARGEST_BACKLOG", 100)
    for _ in range(5):
        callbacks.send(Callback(sender="s", url="http://127.0.0.1:9/", body=b"x" * 30, delay=1000))
    assert (callbacks.counts("s").pending, callbacks.counts("s").dropped) == (3, 2)


async def test_a_delay_is_kept(callbacks, server):
    start = asyncio.get_running_loop().time()
    callbacks.send(Callback(sender="s", url=server.url, delay=0.1))
    await settled(callbacks)
    assert asyncio.get_running_loop().time() - start >= 0.09


@given(st.integers(1, 400), st.floats(0.001, 10), st.floats(0, 1))
def test_backoff_doubles_up_to_two_minutes_for_a_second(tries, base, dice):
    wait = backoff(tries, base, dice)
    middle = base * min(2.0 ** (tries - 1), 120)
    assert 0.85 * middle - 1e-9 <= wait <= 1.15 * middle + 1e-9
