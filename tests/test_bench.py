"""The benchmark: the bare program and the load generator agree on every event."""

import asyncio
import math
import smtplib
from functools import partial

import apsw
import pytest

from bench import load
from bench.process import ask, cpu_seconds, peak_bytes
from bench.sinks import bare_sink
from bench.targets import balanced, bare


def run(coroutine):
    with asyncio.Runner() as runner:
        return runner.run(coroutine)


def test_every_event_posted_to_the_bare_program_is_stored_and_delivered():
    async def post():
        async with load.receivers() as receivers, bare(receivers.ports[0], core=None) as target:
            post = partial(load.run, receivers, port=target.program.port, write_key=target.write_key)
            fast = await post(total=300, connections=8)
            paced = await post(total=40, connections=4, rate=200.0)
            await balanced(target, 340)
            assert cpu_seconds(target.pid) > 0
            assert peak_bytes(target.pid) > 10_000_000
            with apsw.Connection(str(target.data / "bare.db"), flags=apsw.SQLITE_OPEN_READONLY) as database:
                tables = "(select count(*) from events), (select count(*) from jobs), (select count(*) from attempts)"
                rows = list(database.execute(f"select {tables}"))
        return fast, paced, rows

    fast, paced, rows = run(post())
    assert rows == [(340, 0, 340)]
    for marks, total in (fast, 300), (paced, 40):
        assert marks.accepted == total
        assert marks.arrived == [total]
        assert marks.repeated == marks.refused == 0
        assert all(not math.isnan(moment) for moment in marks.delivered[0])
        assert len(load.spent(marks.answered, marks.delivered)) == total
    # 40 events at 200 a second have 39 gaps of 5 ms between them.
    assert paced.posted[39] - paced.posted[0] == pytest.approx(0.195)


def test_a_post_that_the_program_refuses_stops_the_run():
    async def post():
        async with load.receivers() as receivers, bare(receivers.ports[0], core=None) as target:
            # The bare program has no batches and responds with 404.
            await load.run(receivers, total=10, batch=5, connections=1, port=target.program.port, write_key="k")

    with pytest.raises(RuntimeError, match="requests failed, the first: 404"):
        run(post())


def test_the_bare_program_answers_what_it_cannot_read_with_400():
    async def post():
        async with load.receivers() as receivers, bare(receivers.ports[0], core=None) as target:
            return await asyncio.to_thread(ask, target.program.port, "POST", "/v1/track", {"event": "x"})

    status, content = run(post())
    assert status == 400
    assert "userId" in content["detail"]


def test_a_receiver_that_hangs_takes_the_request_and_never_answers():
    async def post():
        async with load.receivers(2, hanging=[0]) as receivers:
            reader, writer = await asyncio.open_connection("127.0.0.1", receivers.ports[0])
            request = b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
            writer.write(request)
            answer = asyncio.create_task(reader.read(1))
            # Another receiver of the same loop responds to several requests meanwhile.
            healthy, to_healthy = await asyncio.open_connection("127.0.0.1", receivers.ports[1])
            for _ in range(5):
                to_healthy.write(request)
                assert await healthy.readexactly(len(load.OK)) == load.OK
            answered = answer.done()
            answer.cancel()
            writer.close()
            to_healthy.close()
            return answered

    assert run(post()) is False


def test_the_bare_mail_server_takes_every_mail_of_a_connection():
    with bare_sink("smtp") as sink:
        with smtplib.SMTP("127.0.0.1", sink.port, timeout=10) as client:
            for text in ("one", "two\r\n..\r\nthree", "x" * 100_000):
                client.sendmail("a@example.com", ["b@example.com"], f"Subject: x\r\n\r\n{text}\r\n")
        assert sink.stop() == 3


def test_the_bare_provider_gives_every_request_an_id():
    with bare_sink("http") as sink:
        ids = [ask(sink.port, "POST", "/send", {"text": "x" * size})[1]["id"] for size in (1, 200_000)]
        assert ids == ["bench-1", "bench-2"]
        assert sink.stop() == 2


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([1.0], 0.99, 1.0), ([1.0, 2.0, 3.0, 4.0], 0.5, 2.0), ([float(n) for n in range(1, 101)], 0.99, 99.0)],
)
def test_quantile_is_the_nearest_rank(values, share, expected):
    assert load.quantile(values, share) == expected


def test_letters_of_every_size_announce_their_length():
    marks = load.Marks(total=10)
    for batch, count in (1, 1), (5, 5), (5, 3):
        request = load.Letters(marks, "127.0.0.1:1", "key", batch=batch).write(7, count)
        head, _, body = request.partition(b"\r\n\r\n")
        assert b"Content-Length: %d" % len(body) in head
        assert body.count(marks.prefix) == count
        assert 330 <= len(body) / count <= 500
