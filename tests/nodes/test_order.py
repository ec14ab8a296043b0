"""Two nodes report and deliver the statuses of the same texts: in order, and neither waits for the other."""

import asyncio
import json
from collections import defaultdict

import asyncpg
import pytest

from tests.nodes.conftest import Node, Pair
from tests.waiting import eventually
from waypost.clock import now_us
from waypost.domain.events.event import Event
from waypost.engine.runtime.unit import Unit
from waypost.storage.database import Tx

pytestmark = pytest.mark.postgres

STATUSES = [f"status {number}" for number in range(6)]


async def report(node: Node, texts: list[int], status: str) -> None:
    """Record a status of texts as one transaction of a node."""

    async def work(tx: Tx, unit: Unit) -> None:
        unit.emit(
            [
                Event(1, "event.thing_done", None, now_us(), f"t{text}:{status}", json.dumps({"text": text}).encode())
                for text in texts
            ]
        )

    await node.engine.recorder.perform(work)


def sent(pair: Pair, name: str) -> dict[int, list[str]]:
    """The statuses of each text in the order of their requests."""
    found: dict[int, list[str]] = defaultdict(list)
    for request in pair.outside.received(name):
        data = json.loads(request["body"])["data"]
        found[data["text"]].append(data["message_id"].partition(":")[2])
    return found


async def test_statuses_that_two_nodes_record_at_once_go_out_in_order(pair: Pair, monkeypatch: pytest.MonkeyPatch):
    """Each node reports on texts whose earlier statuses the other one is settling, without a deadlock."""
    deadlocks: list[BaseException] = []
    begin = asyncpg.DeadlockDetectedError.__init__

    def count(self: BaseException, *args: object) -> None:
        deadlocks.append(self)
        begin(self, *args)

    monkeypatch.setattr(asyncpg.DeadlockDetectedError, "__init__", count)
    endpoint_id = await pair.endpoint("together", ordered=1)
    texts = list(range(60))

    async def walk(node: Node, other: Node, part: list[int]) -> None:
        for number, status in enumerate(STATUSES):
            await report((node, other)[number % 2], part, status)

    # Each text is reported by the two nodes in turn.
    walks = [walk(*(pair.nodes if n % 2 else pair.nodes[::-1]), texts[n::6]) for n in range(6)]
    await asyncio.gather(*walks)
    await eventually(lambda: pair.one.settled(endpoint_id), 60)
    assert sent(pair, "together") == {text: STATUSES for text in texts}
    assert deadlocks == []
    await pair.check()


async def test_the_next_node_goes_on_in_order_after_one_died(pair: Pair):
    endpoint_id = await pair.endpoint("left", ordered=1, concurrency=2)
    pair.outside.behave("left", delay=0.05)
    texts = list(range(20))
    for status in STATUSES[:3]:
        await report(pair.one, texts, status)
    await eventually(lambda: pair.outside.count("left") >= 5)
    number = pair.one.engine.ids.node
    await pair.one.die()
    await pair.other.unseen(number)
    await report(pair.other, texts, STATUSES[3])
    pair.outside.behave("left")
    await eventually(lambda: pair.other.settled(endpoint_id), 60)
    for statuses in sent(pair, "left").values():
        # What was under way at the death is sent again.
        assert [one for one, before in zip(statuses, [None, *statuses], strict=False) if one != before] == STATUSES[:4]
    await pair.other.check_ledger()
