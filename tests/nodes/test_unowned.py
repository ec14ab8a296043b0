"""Messages that are claimed under a number that no node has are found and settled by any node that lives."""

import pytest

from tests.engine.messaging.test_sending import number
from tests.nodes.conftest import Node, Pair
from tests.nodes.test_jobs import quiet
from waypost.engine.messaging import unowned
from waypost.engine.messaging.unowned import UNOWNED_S

pytestmark = pytest.mark.postgres


class HeldClock:
    """Seconds that pass when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def watch_by(node: Node) -> HeldClock:
    """Have a node's watch go by a clock that the test holds."""
    clock = HeldClock()
    node.engine.sender._unowned._clock = clock
    return clock


async def look_for_messages(node: Node) -> None:
    """Run the job that looks, as if its last look were long ago."""
    node.engine.sender._looked_back = 0
    await node.run("recover")


async def test_a_claim_that_is_committed_after_its_process_was_evicted_is_found(still: Pair):
    """The process dies before it learns of its eviction: no other looks at its number."""
    first = await still.connect("http", name="first")
    quiet(still)
    await still.post.send_many([number(n) for n in range(30)])
    one = still.one.engine
    await still.other.unseen(one.ids.node)
    await still.other.run("heartbeat")
    connection = one.connections.by_number(first)
    assert connection is not None
    assert len((await one.sender._claim(connection, 20)).messages) == 20
    await still.one.die()
    still.one, still.post = still.other, still.other_post
    clock = watch_by(still.other)
    await look_for_messages(still.other)
    clock.now = UNOWNED_S - 1
    await look_for_messages(still.other)
    assert (await still.post.statuses()) == {"queued": 10, "sending": 20}
    clock.now = UNOWNED_S
    await look_for_messages(still.other)
    await still.other.run("recover")
    assert await still.post.statuses() == {"queued": 10, "unknown": 20}
    found = await still.other.sql("SELECT DISTINCT reason, node FROM messages WHERE status = 'unknown'")
    assert found == [("interrupted", None)]
    await still.check()


async def test_what_living_processes_send_is_left_to_them(still: Pair):
    await still.connect("http")
    quiet(still)
    await still.post.send_many([number(n) for n in range(30)])
    numbers = [node.engine.ids.node for node in still.nodes]
    nobody = next(n for n in range(1, 4000) if n not in numbers)
    for holder, start in ((numbers[0], 0), (numbers[1], 10), (nobody, 20)):
        await still.one.sql(
            "UPDATE messages SET status = 'sending', due_at = NULL, node = $1, tries = 1 WHERE id IN"
            " (SELECT id FROM messages ORDER BY id LIMIT 10 OFFSET $2)",
            holder,
            start,
        )
    clocks = [watch_by(node) for node in still.nodes]
    await still.both("recover", 1)
    for node in still.nodes:
        await look_for_messages(node)
    # A process takes the number before the time is over, and even in the last moment.
    await still.one.sql("INSERT INTO nodes SELECT $1, 'new', host, 1, started_at, seen_at FROM nodes LIMIT 1", nobody)
    for clock in clocks:
        clock.now = UNOWNED_S
    for node in still.nodes:
        await look_for_messages(node)
    assert await still.other.database.transact(unowned._orphan, [nobody, *numbers]) == 0
    found = await still.one.sql("SELECT node, count(*) FROM messages GROUP BY 1")
    assert dict(found) == {numbers[0]: 10, numbers[1]: 10, nobody: 10}
    await still.one.sql("DELETE FROM nodes WHERE id = $1", nobody)
    await still.both("recover", 1)
    for turn in (2, 3):
        for node, clock in zip(still.nodes, clocks, strict=True):
            clock.now = UNOWNED_S * turn
            await look_for_messages(node)
    await still.both("recover", 2)
    found = await still.one.sql("SELECT status, node, count(*) FROM messages GROUP BY 1, 2")
    expected = [("sending", numbers[0], 10), ("sending", numbers[1], 10), ("unknown", None, 10)]
    assert sorted(found, key=str) == sorted(expected, key=str)
    # Put back what the counts know.
    await still.one.sql(
        "UPDATE messages SET status = 'queued', due_at = status_at, node = NULL WHERE status = 'sending'"
    )
    await still.check()
