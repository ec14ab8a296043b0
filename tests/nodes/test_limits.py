"""A limit per second holds for two nodes together, whatever their clocks say."""

from pathlib import Path

import pytest

from tests.engine.conftest import Outside
from tests.engine.messaging.test_sending import moment, number
from tests.nodes.clocks import Clock, clocks_apart
from tests.nodes.conftest import Node, Pair
from tests.nodes.test_jobs import quiet
from tests.waiting import eventually
from waypost.clock import HOUR
from waypost.domain.values.rate_limit import BURST_S
from waypost.engine.process import Engine

pytestmark = pytest.mark.postgres

RATE = 20.0
#: What a machine that is held up may catch up with between a claim and the provider.
LATE = 5


def most_above(times: list[float]) -> float:
    """By how many messages these moments exceed the rate at most, over any of the spans between them."""
    return max(j - i + 1 - RATE * (end - times[i]) for i in range(len(times)) for j, end in enumerate(times[i:], i))


def taken_at(pair: Pair) -> list[float]:
    """When the provider took each message, by the clock of the sink."""
    return sorted(moment(sent["at"]) for sent in pair.post.taken("gateway"))


async def stop(pair: Pair, clock: Clock, node: Node) -> None:
    if node is pair.other:
        await clock.run(node.engine.stop())
    else:
        await node.engine.stop()
    await node.database.close()


@pytest.mark.parametrize("skew", [-HOUR, HOUR])
async def test_the_limit_of_a_connection(postgres_url: str, tmp_path: Path, sunk: Outside, skew: int):
    async with clocks_apart(skew, postgres_url, tmp_path, sunk, retry_base=0.01) as (pair, clock):
        await pair.connect("http", per_second=RATE, concurrency=8)
        pair.post.fate("gateway", receipts=False)

        async def send(numbers: range) -> None:
            # By the clock that is behind, so that they are due for both.
            if skew > 0:
                await pair.post.send_many([number(n) for n in numbers])
            else:
                await clock.run(pair.other_post.send_many([number(n) for n in numbers]))
            await eventually(lambda: len(pair.post.taken("gateway")) == numbers.stop)

        await send(range(40))
        # The node whose clock is ahead stops; nothing that its clock said may hold the other one up.
        await stop(pair, clock, pair.other if skew > 0 else pair.one)
        await send(range(40, 80))
        times = taken_at(pair)
        assert most_above(times) <= RATE * BURST_S + LATE
        assert times[-1] - times[0] > (80 - RATE * BURST_S - LATE) / RATE


@pytest.mark.parametrize("throttled", [False, True])
async def test_a_clock_that_is_ahead_fills_no_bucket(still: Pair, monkeypatch: pytest.MonkeyPatch, throttled: bool):
    rate = 0.5
    connection_id = await still.connect("http", per_second=None if throttled else rate)
    quiet(still)
    await still.post.send_many([number(n) for n in range(5)], per_second=rate if throttled else None)
    one, other = (node.engine for node in still.nodes)
    clock = Clock(HOUR)
    monkeypatch.setattr("time.time_ns", clock.now)

    async def claim(engine: Engine) -> int:
        connection = engine.connections.by_number(connection_id)
        assert connection is not None
        return len((await engine.sender._claim(connection, 5)).messages)

    assert await claim(one) == 1
    # An hour later for this node, and at once for the database.
    assert await clock.run(claim(other)) == 0
