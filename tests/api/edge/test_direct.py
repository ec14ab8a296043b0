"""Events that are accepted without ASGI: the client must not see a difference."""

import asyncio
import contextlib

import pytest

from tests.api.calling import eventually
from tests.api.edge.test_http_protocol import EVENT, LONG, SHORT, ask, post, problem_of, serving
from waypost.api.edge.ingest import DirectEvents
from waypost.errors import Unavailable

#: A header that makes a request go through ASGI.
ROUND = b"Content-Encoding: identity\r\n"
CLOSE = b"Connection: close\r\n"


async def read_answer(reader: asyncio.StreamReader) -> tuple[list[bytes], bytes]:
    """Return the lines of a head, without the date, and the body."""
    lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
    length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
    return [line for line in lines if not line.startswith(b"date:")], await reader.readexactly(length)


@contextlib.asynccontextmanager
async def taking(engine, keys, limits=LONG):
    """A server that has the key cached; with the entries that reach its journal directly and through ASGI."""
    async with serving(engine, limits) as connect:
        reader, writer = await connect()
        writer.write(post(keys, EVENT))
        await read_answer(reader)
        yield connect, reader, writer


async def test_both_ways_give_the_same_answer(engine, keys, monkeypatch):
    taken: list[bool] = []
    take = DirectEvents.take

    def watched(route, *request):
        future = take(route, *request)
        taken.append(future is not None)
        return future

    monkeypatch.setattr(DirectEvents, "take", watched)
    async with taking(engine, keys) as (_, reader, writer):
        answers = []
        for headers in (ROUND, b"", b"", CLOSE):
            writer.write(post(keys, EVENT, headers))
            answers.append(await read_answer(reader))
        assert answers[0] == answers[1] == answers[2]
        assert answers[3] == ([*answers[0][0][:-2], b"connection: close", b"", b""], answers[0][1])
        assert await reader.read() == b""
    # The first request caches the key.
    assert taken == [False, True, True, True]
    assert engine.recorder.events == 5


async def test_requests_in_one_piece_are_answered_in_their_order(engine, keys):
    bad = post(keys, b'{"userId": "ada"}')
    async with taking(engine, keys) as (_, reader, writer):
        writer.write(post(keys, EVENT) + bad + post(keys, EVENT) + post(keys, EVENT, ROUND) + post(keys, EVENT, CLOSE))
        statuses = [(await read_answer(reader))[0][0][9:12] for _ in range(5)]
        assert statuses == [b"200", b"400", b"200", b"200", b"200"]
        assert await reader.read() == b""
    assert engine.recorder.events == 5


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (b'{"userId": "ada"}', 400, "missing_event"),
        (b"[", 400, "invalid_event"),
        (b'{"userId": "ada", "event": "Seen", "properties": {"a": "%b"}}' % (b"b" * 33_000), 413, "too_large"),
    ],
)
async def test_what_is_wrong_is_told_as_ever(engine, keys, request_, status, code):
    async with taking(engine, keys) as (connect, *_):
        assert problem_of(await ask(connect, post(keys, request_, CLOSE))) == (status, code)
        stranger = post(keys, EVENT, CLOSE).replace(keys.ingest.encode(), b"wp_unknown")
        assert problem_of(await ask(connect, stranger)) == (401, "unauthorized")
        reader_only = post(keys, EVENT, CLOSE).replace(keys.ingest.encode(), keys.read.encode())
        for _ in range(2):
            assert problem_of(await ask(connect, reader_only))[0] == 403


async def test_nothing_is_confirmed_that_was_not_kept(engine, keys, monkeypatch):
    async def away(*_args, **_kwargs):
        raise Unavailable("The disk is full.")

    async with taking(engine, keys) as (connect, reader, writer):
        before = engine.recorder.events
        with monkeypatch.context() as context:
            context.setattr(engine.database, "transact", away)
            writer.write(post(keys, EVENT) + post(keys, EVENT))
            for _ in range(2):
                head, body = await read_answer(reader)
                assert head[0].startswith(b"HTTP/1.1 503 ")
                assert any(line.startswith(b"retry-after:") for line in head)
                assert b"access-control-allow-origin: *" in head
                assert b"The disk is full." in body
            assert problem_of(await ask(connect, post(keys, EVENT, CLOSE)))[0] == 503
        assert engine.recorder.events == before
        writer.write(post(keys, EVENT))
        assert (await read_answer(reader))[0][0] == b"HTTP/1.1 200 OK"


async def test_a_body_that_stops_coming_is_cut_off(engine, keys):
    async with taking(engine, keys, SHORT) as (connect, *_):
        assert problem_of(await ask(connect, post(keys, EVENT)[:-5])) == (408, "request_timeout")
        idle = await ask(connect, post(keys, EVENT))
        assert idle.count(b"HTTP/1.1 200 ") == 1


async def test_who_closes_its_side_gets_the_answer_and_who_leaves_costs_nothing(engine, keys):
    async with taking(engine, keys) as (connect, reader, writer):
        assert (await ask(connect, post(keys, EVENT), end=True)).startswith(b"HTTP/1.1 200 ")
        before = engine.recorder.events
        _, leaving = await connect()
        leaving.write(post(keys, EVENT))
        leaving.transport.abort()
        _, leaving = await connect()
        leaving.write(post(keys, EVENT))
        await leaving.drain()
        writer.write(post(keys, EVENT))
        assert (await read_answer(reader))[0][0] == b"HTTP/1.1 200 OK"

        async def kept() -> bool:
            return bool(engine.recorder.events >= before + 2)

        await eventually(kept)


async def test_a_body_in_many_pieces_is_one_body(engine, keys):
    async with taking(engine, keys) as (_, reader, writer):
        for byte in post(keys, EVENT):
            writer.write(bytes([byte]))
            await writer.drain()
        assert (await read_answer(reader))[0][0] == b"HTTP/1.1 200 OK"
    assert engine.recorder.events == 2
