"""The journal wakes the recorder for every reported item, whatever happened before."""

import asyncio

import pytest

from tests.waiting import eventually
from waypost.engine.runtime.journal import Journal
from waypost.errors import Unavailable


async def test_a_report_after_a_timer_that_rang_for_nothing_is_taken():
    journal = Journal(100)
    journal.report("first")
    # Taken together with a group, before the loop has started the timer of the report.
    waiting = journal.append(["entry"])
    batch = await journal.next_batch()
    assert (len(batch.groups), batch.reported) == (1, ["first"])
    next_one = asyncio.create_task(journal.next_batch())
    # The timer starts now, and expires without an item.
    await asyncio.wait_for(_rung(journal), 5)
    journal.report("second")
    assert (await asyncio.wait_for(next_one, 5)).reported == ["second"]
    waiting.cancel()


class Meanwhile:
    """An item during whose hand-over another thread reports something."""

    def __init__(self, journal: Journal, reported: str) -> None:
        self._journal = journal
        self._reported = [reported]

    def __len__(self) -> int:
        while self._reported:
            self._journal.report(self._reported.pop())
        return 1


async def test_a_report_during_a_slow_commit_is_taken_after_it():
    journal = Journal(100)
    journal._groups.append((Meanwhile(journal, "first"), asyncio.get_running_loop().create_future()))
    # Taken before the loop knows of it; its timer expires while the batch is recorded.
    assert (await journal.next_batch()).reported == ["first"]
    await asyncio.wait_for(_rung(journal), 5)
    journal.report("second")
    assert (await asyncio.wait_for(journal.next_batch(), 5)).reported == ["second"]


async def test_what_is_reported_now_does_not_linger(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("waypost.engine.runtime.journal.LINGER_S", 60)
    journal = Journal(100)
    next_one = asyncio.create_task(journal.next_batch())
    journal.report("later")
    for _ in range(3):
        await asyncio.sleep(0)
    assert not next_one.done()
    journal.report_now("now")
    assert (await asyncio.wait_for(next_one, 5)).reported == ["later", "now"]
    # It wakes nobody twice: there is no empty batch, which would end the recorder.
    next_one = asyncio.create_task(journal.next_batch())
    for _ in range(3):
        await asyncio.sleep(0)
    assert not next_one.done()
    journal.report_now("again")
    assert (await asyncio.wait_for(next_one, 5)).reported == ["again"]


async def _rung(journal: Journal) -> None:
    """Return when the timer of reports was started and has expired."""
    timer: asyncio.TimerHandle = await eventually(lambda: journal._ripening)
    await eventually(lambda: timer.when() < asyncio.get_running_loop().time())
    # It expires in this turn of the loop or in the next one.
    for _ in range(3):
        await asyncio.sleep(0)


async def test_reports_of_all_kinds_come_in_their_order():
    journal = Journal(100)
    for item in (1, "a", 2, "b"):
        journal.report(item)
    batch = await asyncio.wait_for(journal.next_batch(), 5)
    assert batch.by_type() == {int: [1, 2], str: ["a", "b"]}


async def test_what_is_put_back_comes_first():
    journal = Journal(100)
    journal.report(1)
    batch = await asyncio.wait_for(journal.next_batch(), 5)
    journal.report(2)
    journal.put_back(batch.reported)
    assert (await asyncio.wait_for(journal.next_batch(), 5)).reported == [1, 2]


async def test_after_the_end_only_what_happened_already_is_taken():
    journal = Journal(100)
    journal.close()
    with pytest.raises(Unavailable):
        journal.append(["entry"])
    journal.report(1)
    assert (await asyncio.wait_for(journal.next_batch(), 5)).reported == [1]
    assert not await asyncio.wait_for(journal.next_batch(), 5)
