"""Sending rules in a running engine: messages are held overnight, also across a restart, and sent in the morning."""

from pathlib import Path
from typing import Any

import pytest

from tests.engine.conftest import Outside, close_world, open_world
from tests.engine.messaging.test_sending import Post, kill_world, number, told
from tests.engine.messaging.test_sending import post as post
from tests.engine.messaging.test_sending import sunk as sunk
from tests.storage.test_sending_rules import REAL, at, set_rules
from tests.waiting import eventually
from waypost.clock import HOUR, MINUTE, now_us
from waypost.domain.messaging.quiet_hours import QuietWindow
from waypost.domain.messaging.sending_rules import QuietHours, SendingRules

#: The time zone of the numbers of the sink, by their prefix.
ZONE = "America/New_York"
#: From ten in the evening to eight in the morning.
NIGHT = QuietWindow(22 * 60, 8 * 60)


class MovableClock:
    """A clock that goes on, and that the test sets."""

    def __init__(self) -> None:
        self.ahead = 0

    def __call__(self) -> int:
        return REAL() + self.ahead * 1000

    def set(self, when: int) -> None:
        """Set the clock to this time."""
        self.ahead = when - REAL() // 1000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> MovableClock:
    made = MovableClock()
    monkeypatch.setattr("time.time_ns", made)
    made.set(at("2027-01-11T23:00", ZONE))
    return made


async def quiet(post: Post, **changes: Any) -> None:
    values: dict[str, Any] = {"channel": "sms", "window": NIGHT} | changes
    rule = QuietHours(**values)
    await set_rules(post.engine, SendingRules(quiet_hours=(rule,)))


async def test_a_promotional_text_waits_for_the_morning(clock: MovableClock, post: Post):
    await post.connect()
    await quiet(post)
    wait = await post.send(number(1), purpose="promotional")
    passes = await post.send(number(2))
    await post.came_to(passes, "sent", "delivered")
    record = await post.came_to(wait, "held")
    assert record["reason"] == "quiet_hours"
    morning = at("2027-01-12T08:00", ZONE)
    assert morning <= record["due_at"] < morning + 15 * MINUTE
    # What is left of its validity is what it had.
    validity = record["expires_at"] - record["due_at"]
    assert abs(validity - (await post.look(passes))["expires_at"] + now_us()) < MINUTE
    clock.set(morning - MINUTE)
    await post.turns()
    assert (await post.look(wait))["status"] == "held"
    clock.set(record["due_at"] + 1)
    record = await post.came_to(wait, "sent", "delivered")
    assert told(record)[:4] == ["queued", "held", "queued", "sending"]
    assert [sent["address"] for sent in post.taken()] == [number(2), number(1)]


@pytest.mark.parametrize("killed", [False, True])
async def test_what_is_held_survives_the_end_of_the_process(
    clock: MovableClock, tmp_path: Path, sunk: Outside, killed: bool
):
    world = await open_world(tmp_path, retry_base=0.8)
    post = Post(world, sunk)
    await post.connect()
    await quiet(post)
    ids = [await post.send(number(n), purpose="promotional") for n in range(5)]
    for id_ in ids:
        await post.came_to(id_, "held")
    await (kill_world if killed else close_world)(world)
    clock.set(at("2027-01-12T08:15", ZONE))
    world = await open_world(tmp_path, retry_base=0.8)
    post = Post(world, sunk)
    await post.reached(sent=5)
    assert sorted(sent["address"] for sent in post.taken()) == sorted(number(n) for n in range(5))
    await close_world(world)


async def test_the_rules_are_asked_again_when_a_message_is_due(clock: MovableClock, post: Post):
    await post.connect()
    await quiet(post, jitter=0)
    id_ = await post.send(number(1), purpose="promotional")
    await post.came_to(id_, "held")
    # Meanwhile the night was made longer.
    await quiet(post, jitter=0, window=QuietWindow(22 * 60, 9 * 60))
    clock.set(at("2027-01-12T08:00", ZONE))

    async def held_again() -> bool:
        return bool((await post.look(id_))["due_at"] == at("2027-01-12T09:00", ZONE))

    await eventually(held_again)
    assert (await post.look(id_))["status"] == "held"
    # And then there was none any more.
    await set_rules(post.engine, SendingRules())
    clock.set(at("2027-01-12T09:00", ZONE))
    await post.came_to(id_, "sent", "delivered")


async def test_a_message_that_is_held_too_long_fails(clock: MovableClock, post: Post):
    await post.connect()
    await quiet(post, max_hold=2 * HOUR)
    id_ = await post.send(number(1), purpose="promotional")
    record = await post.came_to(id_, "held")
    held_at = record["held_at"]
    assert record["due_at"] == held_at + 2 * HOUR
    clock.set(record["due_at"])
    record = await post.came_to(id_, "failed")
    assert (record["code"], record["reason"]) == (2016, "quiet_hours")
    assert not post.taken()


async def test_a_held_message_can_be_cancelled(clock: MovableClock, post: Post):
    await post.connect()
    await quiet(post)
    id_ = await post.send(number(1), purpose="promotional")
    await post.came_to(id_, "held")
    await post.engine.messages.cancel(1, id_)
    clock.set(at("2027-01-12T08:15", ZONE))
    await post.turns()
    record = await post.look(id_)
    assert (record["status"], record["reason"]) == ("skipped", "cancelled")


async def test_a_clock_that_was_ahead_holds_nothing_for_long(clock: MovableClock, post: Post):
    await post.connect()
    await quiet(post)
    # The clock says it is the night after.
    clock.set(at("2027-01-12T23:00", ZONE))
    id_ = await post.send(number(1), purpose="promotional")
    await post.came_to(id_, "held")
    clock.set(at("2027-01-12T12:00", ZONE))
    await post.engine._check_clock()
    await post.came_to(id_, "sent", "delivered")
