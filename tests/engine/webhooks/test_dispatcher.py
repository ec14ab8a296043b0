"""Lanes: how many deliveries each holds, what it waits for, and what it releases."""

import itertools
import time
from collections.abc import AsyncIterator
from email.utils import formatdate
from typing import Any

import msgspec
import pytest

from tests.engine.conftest import LOOPBACK, SECRET, Outside, eventually
from waypost.domain.values.egress_guard import parse_networks
from waypost.domain.webhooks.delivery import AttemptOutcome
from waypost.domain.webhooks.endpoint import Endpoint, Secret
from waypost.engine.net.outbound import Outbound
from waypost.engine.webhooks import dispatcher as module
from waypost.engine.webhooks import lane as lane_module
from waypost.engine.webhooks import room as room_module
from waypost.engine.webhooks.dispatcher import Dispatcher
from waypost.engine.webhooks.lane import (
    LANE_ROOM,
    NEW_ROOM,
    RETRY_ROOM,
    SICK_FAILURES,
    SICK_ROOM,
    Attempt,
    Health,
    Task,
)
from waypost.engine.webhooks.room import PRESSURE, TOTAL_ROOM
from waypost.engine.webhooks.slots import STARTS


class Lanes:
    """A dispatcher, and the items that it reports."""

    def __init__(self, max_in_flight: int, first_pause: float) -> None:
        self.outbound = Outbound(parse_networks(LOOPBACK))
        self.attempts: list[Attempt] = []
        self.released: list[tuple[int, int]] = []
        #: The most requests that were in progress at once, by endpoint, and in total.
        self.most: dict[int, int] = {}
        self.most_together = 0
        self.dispatcher = Dispatcher(
            self.outbound,
            report=self._report,
            release=self.released.extend,
            max_in_flight=max_in_flight,
            first_pause=first_pause,
        )

    def _report(self, attempt: Attempt) -> None:
        lanes = self.dispatcher._lanes
        for id_, lane in lanes.items():
            # The request that has just ended was in progress until now.
            self.most[id_] = max(self.most.get(id_, 0), lane.in_flight + (id_ == attempt.endpoint_id))
        self.most_together = max(self.most_together, self.dispatcher.in_flight + 1)
        self.attempts.append(attempt)

    def offer(self, endpoint: Endpoint, count: int, body: bytes = b"{}") -> None:
        start = len(self.attempts) + self.dispatcher.held + 1
        self.dispatcher.offer([Task(endpoint, start + number, body, 0, 0) for number in range(count)])

    def of(self, endpoint: Endpoint) -> list[Attempt]:
        return [attempt for attempt in self.attempts if attempt.endpoint_id == endpoint.id]

    async def ended(self, endpoint: Endpoint, count: int, within: float = 20) -> list[Attempt]:
        await eventually(lambda: len(self.of(endpoint)) >= count, within)
        return self.of(endpoint)


@pytest.fixture
async def lanes() -> AsyncIterator[Lanes]:
    made = Lanes(1000, 0.05)
    yield made
    await made.outbound.stop()


@pytest.fixture
async def narrow() -> AsyncIterator[Lanes]:
    """Lanes that share 100 slots."""
    made = Lanes(100, 0.05)
    yield made
    await made.outbound.stop()


def endpoint(url: str, id_: int = 1, **changes: Any) -> Endpoint:
    values: dict[str, Any] = {
        "id": id_,
        "workspace_id": 1,
        "url": url,
        "event_types": ("*",),
        "filter": None,
        "headers": (),
        "rate_limit": None,
        "concurrency": 64,
        "timeout_ms": 5000,
        "format": "standard",
        "secrets": (Secret(SECRET),),
        "version": 1,
    }
    return Endpoint(**(values | changes))


@pytest.mark.parametrize("concurrency", [1, 5])
async def test_concurrency_is_never_exceeded(lanes: Lanes, outside: Outside, concurrency):
    receiver = endpoint(outside.hook("concurrency", delay=0.005), concurrency=concurrency)
    for _ in range(4):
        lanes.offer(receiver, 20)
    await lanes.ended(receiver, 80)
    assert lanes.most[1] == concurrency


async def test_everybody_together_stays_below_the_limit(narrow: Lanes, outside: Outside):
    receivers = [endpoint(outside.hook(f"together-{n}", delay=0.01), n, concurrency=1000) for n in range(1, 30)]
    for receiver in receivers:
        narrow.offer(receiver, 50)
    await eventually(lambda: len(narrow.attempts) == 29 * 50)
    assert 60 < narrow.most_together <= 100
    assert not narrow.dispatcher.in_flight
    assert not narrow.dispatcher.held
    assert not narrow.dispatcher.held_bytes


async def test_more_lanes_than_slots(narrow: Lanes, outside: Outside):
    receivers = [endpoint(outside.hook("many", delay=0.002), n) for n in range(1, 301)]
    for receiver in receivers:
        narrow.offer(receiver, 5)
    await eventually(lambda: len(narrow.attempts) == 1500)
    assert narrow.most_together <= 100


async def test_lanes_that_hang_leave_room_for_the_others(narrow: Lanes, outside: Outside):
    hanging = [endpoint(outside.hook("hanging"), number, concurrency=1000, timeout_ms=30_000) for number in range(2, 5)]
    for receiver in hanging:
        narrow.offer(receiver, 200)
        await narrow.ended(receiver, 200)
    outside.behave("hanging", hang=True)
    for receiver in hanging:
        narrow.offer(receiver, 500)
    # They responded before, so three of them hold three quarters of the slots. After that they have their own slots.
    await eventually(lambda: outside.count("hanging") > 680)
    assert narrow.dispatcher.in_flight < 100
    healthy = endpoint(outside.hook("healthy"), 1)
    began = time.monotonic()
    for turn in range(1, 11):
        narrow.offer(healthy, 50)
        await narrow.ended(healthy, turn * 50)
    assert time.monotonic() - began < 3
    assert not [attempt for attempt in narrow.of(healthy) if attempt.outcome is not AttemptOutcome.DELIVERED]


async def test_the_rate_limit(lanes: Lanes, outside: Outside):
    receiver = endpoint(outside.hook("rate"), rate_limit=50.0)
    began = time.monotonic()
    lanes.offer(receiver, 40)
    attempts = await lanes.ended(receiver, 40)
    assert 0.6 < time.monotonic() - began < 5
    starts = [attempt.started_at for attempt in attempts]
    for first in starts:
        # In any half second: the rate, the burst, and one for rounding.
        assert sum(first <= start < first + 500_000 for start in starts) <= 25 + 5 + 1


async def test_processes_share_limits(lanes: Lanes, outside: Outside):
    lanes.dispatcher.share = 4
    receiver = endpoint(outside.hook("share", delay=0.005), concurrency=8, rate_limit=400.0)
    began = time.monotonic()
    lanes.offer(receiver, 60)
    await lanes.ended(receiver, 60)
    assert lanes.most[1] == 2
    assert time.monotonic() - began > 0.4


async def test_a_rate_below_one_does_not_stop_a_lane_for_good(lanes: Lanes, outside: Outside):
    receiver = endpoint(outside.hook("slow-rate"), rate_limit=0.001)
    lanes.offer(receiver, 3)
    await lanes.ended(receiver, 1)
    # The owner removes the limit: no delivery waits for the rest of the quarter of an hour.
    lanes.dispatcher.configure([msgspec.structs.replace(receiver, rate_limit=None, version=2)])
    assert len(await lanes.ended(receiver, 3)) == 3


async def test_the_window_shrinks_with_failures_and_grows_again(lanes: Lanes, outside: Outside):
    outside.behave("window", status=500)
    receiver = endpoint(outside.hook("window"), concurrency=32)
    lanes.offer(receiver, 64)
    await lanes.ended(receiver, 64)
    lane = lanes.dispatcher._lanes[1]
    assert lane.window == 1.0
    outside.behave("window", delay=0.002)
    lanes.most.clear()
    lanes.offer(receiver, 200)
    await lanes.ended(receiver, 264)
    assert lane.window == 32
    assert lanes.most[1] > 8


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_an_answer_that_asks_for_less_pauses_the_lane(lanes: Lanes, outside: Outside, status):
    name = f"pause-{status}"
    outside.script(name, {"status": status})
    receiver = endpoint(outside.hook(name), concurrency=1)
    lanes.offer(receiver, 3)
    first, second, _ = await lanes.ended(receiver, 3)
    assert first.outcome is AttemptOutcome.FAILED
    assert 45_000 <= second.started_at - first.ended_at < 2_000_000


async def test_one_burst_of_refusals_is_one_pause(lanes: Lanes, outside: Outside):
    receiver = endpoint(outside.hook("burst"), concurrency=64)
    lanes.offer(receiver, 200)
    await lanes.ended(receiver, 200)
    outside.script("burst", *[{"status": 503, "delay": 0.05}] * 64)
    lanes.offer(receiver, 65)
    await lanes.ended(receiver, 265, within=5)
    assert lanes.dispatcher._lanes[1].pause == 0.0


async def test_pauses_grow_while_refusals_go_on(lanes: Lanes, outside: Outside):
    outside.script("growing", *[{"status": 503}] * 4)
    receiver = endpoint(outside.hook("growing"), concurrency=1)
    lanes.offer(receiver, 5)
    attempts = await lanes.ended(receiver, 5)
    gaps = [later.started_at - earlier.ended_at for earlier, later in itertools.pairwise(attempts)]
    for gap, least in zip(gaps, (50_000, 100_000, 200_000, 400_000), strict=True):
        assert gap > least * 0.95


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_retry_after_pauses_the_lane(lanes: Lanes, outside: Outside, form):
    told = "1" if form == "seconds" else formatdate(time.time() + 2, usegmt=True)
    outside.script(f"retry-after-{form}", {"status": 429, "retry_after": told})
    receiver = endpoint(outside.hook(f"retry-after-{form}"), concurrency=1)
    lanes.offer(receiver, 2)
    first, second = await lanes.ended(receiver, 2)
    assert first.retry_after is not None
    assert 900_000 <= second.started_at - first.ended_at < 3_000_000


async def test_retry_after_of_other_answers_is_the_deliverys_own(lanes: Lanes, outside: Outside):
    outside.script("own", {"status": 500, "retry_after": "3600"})
    receiver = endpoint(outside.hook("own"), concurrency=1)
    lanes.offer(receiver, 2)
    first, _ = await lanes.ended(receiver, 2, within=3)
    assert first.retry_after == 3600 * 1_000_000


async def test_gone_stops_at_once_and_gives_back(lanes: Lanes, outside: Outside):
    receiver = endpoint(outside.hook("gone", status=410), concurrency=1)
    lanes.offer(receiver, 100)
    await eventually(lambda: len(lanes.released) == 99)
    assert len(lanes.attempts) == outside.count("gone") == 1
    assert lanes.attempts[0].outcome is AttemptOutcome.GONE
    lanes.offer(receiver, 5)
    await eventually(lambda: len(lanes.released) == 104)
    assert (lanes.dispatcher.held, lanes.dispatcher.held_bytes, lanes.dispatcher.in_flight) == (0, 0, 0)
    assert lanes.dispatcher.room(1)[0] == 0
    # Changed and enabled again, it continues.
    lanes.dispatcher.configure([msgspec.structs.replace(receiver, url=outside.hook("not-gone"), version=3)])
    lanes.offer(receiver, 5)
    await lanes.ended(receiver, 6)
    assert outside.count("not-gone") == 5


async def test_gone_of_what_was_before_stops_nobody(lanes: Lanes, outside: Outside):
    receiver = endpoint(outside.hook("gone-before", status=410, delay=0.3), concurrency=1)
    lanes.offer(receiver, 3)
    await eventually(lambda: outside.count("gone-before") == 1)
    lanes.dispatcher.configure([msgspec.structs.replace(receiver, url=outside.hook("moved"), version=2)])
    await lanes.ended(receiver, 3)
    assert [attempt.outcome for attempt in lanes.attempts].count(AttemptOutcome.DELIVERED) == 2
    assert [attempt.version for attempt in lanes.attempts if attempt.outcome is AttemptOutcome.GONE] == [1]


async def test_a_lane_that_is_gone_gives_back(lanes: Lanes, outside: Outside):
    receiver = endpoint(outside.hook("disabled", delay=0.2), concurrency=1)
    lanes.offer(receiver, 10)
    await eventually(lambda: outside.count("disabled") == 1)
    lanes.dispatcher.configure([], [receiver.id])
    await eventually(lambda: len(lanes.released) == 9)
    # The requests in progress are finished.
    await lanes.ended(receiver, 1)
    assert outside.count("disabled") == 1


async def test_what_is_queued_goes_to_the_new_url(lanes: Lanes, outside: Outside):
    receiver = endpoint(outside.hook("old", delay=0.2), concurrency=1)
    lanes.offer(receiver, 5)
    await eventually(lambda: outside.count("old") == 1)
    lanes.dispatcher.configure([msgspec.structs.replace(receiver, url=outside.hook("new"), version=2)])
    # An older version, which another process read earlier, changes nothing.
    lanes.dispatcher.configure([receiver])
    lanes.offer(receiver, 2)
    await lanes.ended(receiver, 7)
    assert (outside.count("old"), outside.count("new")) == (1, 6)


async def test_draining_gives_back_everything(lanes: Lanes, outside: Outside):
    receiver = endpoint(outside.hook("draining", delay=0.1), concurrency=3)
    paused = endpoint(outside.hook("draining-paused", status=503), 2, concurrency=1)
    lanes.offer(receiver, 50)
    lanes.offer(paused, 20)
    await eventually(lambda: outside.count("draining") == 3 and lanes.of(paused))
    lanes.dispatcher.drain()
    lanes.offer(receiver, 10)
    await eventually(lambda: len(lanes.released) + len(lanes.attempts) + lanes.dispatcher.in_flight == 80)
    await eventually(lambda: not lanes.dispatcher.in_flight)
    assert len(lanes.released) + len(lanes.attempts) == 80
    assert lanes.dispatcher.held == 0
    assert lanes.dispatcher.room(1)[0] == lanes.dispatcher.claim_room(1) == 0


async def test_requests_that_cannot_be_sent_are_failed_attempts(lanes: Lanes):
    # A whole queue of them, at once: none is lost, and the stack does not overflow.
    for number, broken in enumerate(
        (
            endpoint("http://127.0.0.1/\0"),
            endpoint("http://127.0.0.1/", headers=("x: \0",)),
            endpoint("x", secrets=(Secret("bad"),)),
        )
    ):
        broken = msgspec.structs.replace(broken, id=number + 1)
        lanes.offer(broken, 1000)
        attempts = await lanes.ended(broken, 1000)
        assert len(attempts) == 1000
        assert all((attempt.response.error or "").startswith("not_sent: ") for attempt in attempts)
    assert (lanes.dispatcher.held, lanes.dispatcher.in_flight) == (0, 0)


async def test_room_is_bounded_per_lane_and_together(lanes: Lanes, outside: Outside, monkeypatch):
    dispatcher = lanes.dispatcher
    assert dispatcher.room(1) == (NEW_ROOM, False)
    assert dispatcher.claim_room(1) == NEW_ROOM
    receiver = endpoint(outside.hook("room"), concurrency=1)
    lanes.offer(receiver, 1)
    await lanes.ended(receiver, 1)
    # The endpoint responds, so its lane may hold many deliveries.
    assert dispatcher.room(1) == (LANE_ROOM, True)
    outside.behave("room", hang=True)
    lanes.offer(receiver, 601, body=bytes(1000))
    await eventually(lambda: dispatcher.held == 600)
    assert dispatcher.held_bytes == 600_000
    assert dispatcher.room(1) == (LANE_ROOM - 600, True)
    # A claim waits until it is worth a transaction, but retries are claimed beside new deliveries.
    assert dispatcher.claim_room(1) == RETRY_ROOM
    dispatcher.note_spilled(1)
    assert dispatcher.room(1)[0] == dispatcher.claim_room(1) == 0
    dispatcher.clear_spilled(1, dispatcher.spill_mark())
    monkeypatch.setattr(room_module, "TOTAL_BYTES", 600_000)
    assert not dispatcher.batch_room().take(1, 1)
    assert not dispatcher.batch_room().take(2, 1)
    assert dispatcher.claim_room(2) == 0
    dispatcher.forget()
    await eventually(lambda: len(lanes.released) == 600)
    assert (dispatcher.held_bytes, dispatcher._room._unproven_bytes, dispatcher._room._held_unproven) == (0, 0, 0)


async def test_spilling_is_noted_before_there_is_a_lane(lanes: Lanes):
    lanes.dispatcher.note_spilled(7)
    assert lanes.dispatcher.room(7)[0] == 0
    assert lanes.dispatcher.claim_room(7) == NEW_ROOM
    lanes.dispatcher.clear_spilled(7, lanes.dispatcher.spill_mark())
    assert lanes.dispatcher.room(7)[0] == NEW_ROOM


async def test_a_batch_counts_what_it_takes(lanes: Lanes, monkeypatch):
    room = lanes.dispatcher.batch_room()
    assert [room.take(1, 10) for _ in range(NEW_ROOM + 2)] == [True] * NEW_ROOM + [False] * 2
    # Endpoints that have not responded yet leave room for those that do.
    monkeypatch.setattr(room_module, "TOTAL_ROOM", 1000)
    room = lanes.dispatcher.batch_room()
    assert sum(room.take(id_, 10) for id_ in range(100) for _ in range(100)) == 750


async def test_a_lane_that_keeps_silent_gives_back_when_room_is_short(lanes: Lanes, outside: Outside, monkeypatch):
    monkeypatch.setattr(room_module, "TOTAL_ROOM", 400)
    hanging = endpoint(outside.hook("silent", hang=True), concurrency=2, timeout_ms=30_000)
    lanes.offer(hanging, 151)
    await eventually(lambda: len(lanes.released) == 150 - SICK_ROOM)
    lane = lanes.dispatcher._lanes[1]
    assert lane.health is Health.SICK
    # The first deliveries of the queue stay, and later ones stay behind those that were given back.
    assert [task.event_id for task in lane.queue] == [2, 3, 4, 5]
    assert lanes.dispatcher.room(1)[0] == 0
    assert lanes.dispatcher.in_trouble(1)
    lanes.dispatcher.clear_spilled(1, lanes.dispatcher.spill_mark())
    assert lanes.dispatcher.claim_room(1) == 0


async def test_an_endpoint_that_fails_is_in_trouble_until_it_takes_something(lanes: Lanes, outside: Outside):
    outside.script("sick", *[{"status": 500}] * SICK_FAILURES)
    receiver = endpoint(outside.hook("sick"), concurrency=1)
    lanes.offer(receiver, SICK_FAILURES)
    await lanes.ended(receiver, SICK_FAILURES)
    await eventually(lambda: lanes.dispatcher._lanes[1].health is Health.SICK)
    assert lanes.dispatcher.room(1) == (SICK_ROOM, False)
    lanes.offer(receiver, 1)
    await lanes.ended(receiver, SICK_FAILURES + 1)
    await eventually(lambda: lanes.dispatcher._lanes[1].health is Health.WELL)
    assert lanes.dispatcher.room(1) == (LANE_ROOM, True)


@pytest.mark.parametrize("dead", [1, 25, 200, 1000])
async def test_any_number_of_endpoints_that_hang_stops_nobody(lanes: Lanes, outside: Outside, dead):
    name = f"dead-{dead}"
    well = endpoint(outside.hook(f"well-{dead}"), 1)
    lanes.offer(well, 1)
    await lanes.ended(well, 1)
    for number in range(dead):
        lanes.offer(endpoint(outside.hook(name, hang=True), 10 + number, timeout_ms=60_000), 200)
    # A quarter of the slots is for endpoints that respond, even before the others are known to hang.
    lanes.offer(well, 200)
    await lanes.ended(well, 201, within=30)
    # A new endpoint gets a slot as soon as those that hang are known to.
    new = endpoint(outside.hook(f"new-{dead}"), 2)
    lanes.offer(new, 200)
    await lanes.ended(new, 200, within=30)
    under_way = lanes.dispatcher._slots.under_way
    await eventually(lambda: under_way[Health.NEW] == 0)
    assert under_way[Health.SICK] == lanes.dispatcher.in_flight >= min(dead, 700)
    # Endpoints that hang hold little of the room together.
    most = max(TOTAL_ROOM * PRESSURE, dead * (SICK_ROOM + 1))
    await eventually(lambda: lanes.dispatcher.held <= most)
    assert lanes.dispatcher._room._held_unproven == lanes.dispatcher.held


async def test_endpoints_that_do_not_answer_start_few_requests_at_once(lanes: Lanes, outside: Outside, monkeypatch):
    well = endpoint(outside.hook("well"), 1)
    lanes.offer(well, 1)
    await lanes.ended(well, 1)
    slots = lanes.dispatcher._slots
    await eventually(lambda: slots._starts_left == STARTS)
    # From now on, a test renews the starts.
    monkeypatch.setattr(module, "START_S", 3600.0)
    for number in range(3 * STARTS):
        lanes.offer(endpoint(outside.hook("hangs", hang=True), 10 + number, timeout_ms=60_000), 2)
    lanes.offer(well, 200)
    await lanes.ended(well, 201)
    assert lanes.dispatcher.in_flight == STARTS
    for turn in 2, 3, 3:
        lanes.outbound.run(lanes.dispatcher._renew_starts)
        await eventually(lambda: slots._starts_left in (0, STARTS) and lanes.dispatcher.in_flight == turn * STARTS)  # noqa: B023


async def test_a_large_offer_is_taken_over_in_parts(lanes: Lanes, outside: Outside, monkeypatch):
    monkeypatch.setattr(module, "OFFERED", 7)
    taken: list[int] = []
    take = lanes.dispatcher._take

    def count_and_take(tasks: list[Task]) -> None:
        taken.append(len(tasks))
        take(tasks)

    monkeypatch.setattr(lanes.dispatcher, "_take", count_and_take)
    receiver = endpoint(outside.hook("parts"))
    lanes.offer(receiver, 30)
    assert len({attempt.event_id for attempt in await lanes.ended(receiver, 30)}) == 30
    assert taken == [7, 7, 7, 7, 2]


async def test_a_lane_is_forgotten_when_its_endpoint_goes_while_it_is_asked(lanes: Lanes, outside: Outside):
    receiver = endpoint(outside.hook("leaves", delay=0.2), concurrency=1)
    lanes.offer(receiver, 10)
    await eventually(lambda: outside.count("leaves") == 1)
    lanes.dispatcher.note_spilled(1)
    lanes.dispatcher.configure([], [receiver.id])
    await lanes.ended(receiver, 1)
    await eventually(lambda: not lanes.dispatcher._lanes)
    assert not lanes.dispatcher._spilled


async def test_a_lane_without_work_is_forgotten(lanes: Lanes, outside: Outside, monkeypatch):
    monkeypatch.setattr(lane_module, "IDLE_S", 0.0)
    receiver = endpoint(outside.hook("idle"))
    lanes.offer(receiver, 3)
    await lanes.ended(receiver, 3)
    await eventually(lambda: not lanes.dispatcher._lanes)


async def test_what_was_spilled_while_the_database_was_asked_stays_spilled(lanes: Lanes):
    dispatcher = lanes.dispatcher
    dispatcher.note_spilled(7)
    mark = dispatcher.spill_mark()
    # A batch is committed between the query and its result: later events must not overtake it.
    dispatcher.note_spilled(7)
    dispatcher.clear_spilled(7, mark)
    assert dispatcher.room(7)[0] == 0
    dispatcher.clear_spilled(7, dispatcher.spill_mark())
    assert dispatcher.room(7)[0] == NEW_ROOM
