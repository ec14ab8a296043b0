"""Deliveries to a marketing tool: one request each, or one for many that wait."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.domain.webhooks.test_klaviyo import body
from tests.engine.conftest import eventually
from tests.engine.webhooks.klaviyo_server import KlaviyoServer, klaviyo
from tests.engine.webhooks.test_dispatcher import Lanes, endpoint
from tests.storage.test_messages import connection
from waypost.domain.providers.connection import Connection
from waypost.domain.webhooks.delivery import AttemptOutcome
from waypost.domain.webhooks.endpoint import Endpoint
from waypost.domain.webhooks.klaviyo import EVENTS, JOBS, MOST_EVENTS, PER_SECOND, WORTH_BULK
from waypost.engine.providers.connectors import shipped
from waypost.engine.webhooks.lane import LANE_ROOM, Task

CONNECTION = 71


class Tool:
    """Klaviyo, and lanes that send to it."""

    def __init__(self, server: KlaviyoServer, lanes: Lanes) -> None:
        self.server = server
        self.lanes = lanes
        self.connections: dict[int, Connection] = {}
        self.connect()
        self.endpoint = tool()
        self.offered = 0
        lanes.dispatcher._connection = self.connections.get

    def connect(self, **changes: Any) -> None:
        config = {"api_key": "pk_test", "revision": "2026-07-15", "host": self.server.url}
        self.connections[CONNECTION] = connection(CONNECTION, connector=shipped()["klaviyo"], config=config, **changes)

    def offer(self, *bodies: bytes, tries: int = 0, on: Endpoint | None = None) -> None:
        """Offer deliveries, all at once; without bodies, one more status."""
        tasks = [Task(on or self.endpoint, self.offered + n, one, tries, tries) for n, one in enumerate(bodies, 1)]
        self.offered += len(tasks)
        self.lanes.dispatcher.offer(tasks)

    async def ended(self, count: int) -> list[Any]:
        return await self.lanes.ended(self.endpoint, count)

    async def warm(self) -> None:
        """Let one through, so that the endpoint is known to answer."""
        self.offer(status("warm"))
        await self.ended(1)


def tool(**changes: Any) -> Endpoint:
    values: dict[str, Any] = {
        "format": "klaviyo",
        "connection_id": CONNECTION,
        "ordered": True,
        "rate_limit": PER_SECOND,
    } | changes
    return endpoint("http://shown.only", **values)


def status(name: str, **fields: Any) -> bytes:
    return body("SENDING", MessageID=name, **fields)


def statuses(count: int, name: str = "msg") -> list[bytes]:
    return [status(f"{name}-{number}") for number in range(count)]


@pytest.fixture
async def at() -> AsyncIterator[Tool]:
    async with klaviyo() as server:
        lanes = Lanes(1000, 0.05)
        yield Tool(server, lanes)
        await lanes.outbound.stop()


async def test_a_few_go_one_by_one(at: Tool):
    at.offer(*statuses(WORTH_BULK - 1))
    attempts = await at.ended(WORTH_BULK - 1)
    assert {attempt.outcome for attempt in attempts} == {AttemptOutcome.DELIVERED}
    assert all(attempt.ordered for attempt in attempts)
    assert {path for path, _ in at.server.calls} == {EVENTS}
    assert len(at.server.kept) == WORTH_BULK - 1
    assert at.server.headers[0]["authorization"] == "Klaviyo-API-Key pk_test"
    assert at.server.headers[0]["revision"] == "2026-07-15"


async def test_many_that_wait_go_in_one_request(at: Tool):
    at.offer(*statuses(150))
    attempts = await at.ended(150)
    assert at.server.calls == [(JOBS, 150)]
    assert sorted(attempt.event_id for attempt in attempts) == list(range(1, 151))
    assert list(at.server.kept) == [f"msg-{number}:SENDING" for number in range(150)]
    assert not at.lanes.dispatcher.held
    assert not at.lanes.dispatcher.held_bytes
    assert not at.lanes.dispatcher.in_flight


async def test_a_request_has_no_more_events_and_bytes_than_allowed(at: Tool, monkeypatch):
    monkeypatch.setattr("waypost.engine.webhooks.dispatcher.OFFERED", 2 * MOST_EVENTS)
    at.endpoint = tool(rate_limit=None)
    at.offer(*statuses(MOST_EVENTS + 30))
    await at.ended(MOST_EVENTS + 30)
    assert at.server.calls == [(JOBS, MOST_EVENTS), (JOBS, 30)]
    monkeypatch.setattr("waypost.domain.webhooks.klaviyo.MOST_BYTES", len(status("long-10")) * 25)
    at.offer(*statuses(60, "long"))
    await at.ended(MOST_EVENTS + 90)
    assert sorted(at.server.calls[2:]) == [*[(JOBS, 25)] * 2, *[(EVENTS, 1)] * 10]


async def test_a_bulk_request_costs_more_of_the_rate(at: Tool):
    """150 bulk requests a minute are allowed: after one, the next request of any kind has to wait."""
    await at.warm()
    at.offer(*statuses(30))
    await at.ended(31)
    lane = at.lanes.dispatcher._lanes[1]
    assert lane.tokens < -10
    at.offer(status("after"))
    await eventually(lambda: lane.waiting)
    assert len(at.server.calls) == 2
    await at.ended(32)


async def test_a_lane_takes_enough_for_bulk_requests(at: Tool):
    await at.warm()
    assert at.lanes.dispatcher.claim_room(1) == LANE_ROOM
    assert at.lanes.dispatcher.room(1) == (LANE_ROOM, True)


@pytest.mark.parametrize("refusal", [400, 413, 404])
async def test_a_refused_bulk_request_is_sent_again_one_by_one(at: Tool, refusal: int):
    def answer(path: str, events: list[dict[str, Any]]) -> int:
        if path == JOBS and (refusal != 400 or any("bad" in event["unique_id"] for event in events)):
            return refusal
        return 400 if any("bad" in event["unique_id"] for event in events) else 202

    at.server.answer = answer
    at.endpoint = tool(rate_limit=None)
    at.offer(*statuses(15), status("bad"), *statuses(15, "more"), tries=3)
    attempts = {attempt.event_id: attempt for attempt in await at.ended(31)}
    assert at.server.calls == [(JOBS, 31), *[(EVENTS, 1)] * 31]
    assert {id_ for id_, one in attempts.items() if one.outcome is not AttemptOutcome.DELIVERED} == {16}
    assert attempts[16].outcome is AttemptOutcome.REJECTED
    # The request for all of them was no attempt of any.
    assert {attempt.tries for attempt in attempts.values()} == {4}
    assert len(at.server.kept) == 30
    lane = at.lanes.dispatcher._lanes[1]
    assert (lane.retries, at.lanes.dispatcher.held, at.lanes.dispatcher.held_bytes) == (0, 0, 0)


async def test_one_that_cannot_be_written_spoils_no_other(at: Tool):
    at.endpoint = tool(rate_limit=None)
    at.offer(*statuses(15), b'{"timestamp":"x","data":{}}', *statuses(15, "more"))
    attempts = {attempt.event_id: attempt for attempt in await at.ended(31)}
    assert attempts[16].outcome is AttemptOutcome.REJECTED
    assert attempts[16].response.error.startswith("not_written: ")
    assert len(at.server.kept) == 30


async def test_a_failed_bulk_request_is_an_attempt_of_each(at: Tool):
    at.server.answer = lambda path, events: 500
    at.offer(*statuses(40))
    attempts = await at.ended(40)
    assert {(attempt.outcome, attempt.response.status) for attempt in attempts} == {(AttemptOutcome.FAILED, 500)}
    assert at.server.calls == [(JOBS, 40)]


async def test_too_many_requests_pause_the_lane(at: Tool):
    at.server.answer = lambda path, events: 429
    at.offer(*statuses(40))
    attempts = await at.ended(40)
    assert {attempt.outcome for attempt in attempts} == {AttemptOutcome.FAILED}
    assert at.lanes.dispatcher._lanes[1].paused_until > 0


async def test_what_is_sent_again_alone_is_given_back_at_a_shutdown(at: Tool):
    def answer(path: str, events: list[dict[str, Any]]) -> int:
        at.lanes.dispatcher.drain()
        return 400

    at.server.answer = answer
    at.offer(*statuses(30))
    await eventually(lambda: len(at.lanes.released) == 30)
    assert at.lanes.attempts == []
    assert not at.lanes.dispatcher.held


async def test_without_its_connection_it_fails_and_with_it_it_works(at: Tool):
    kept = at.connections.pop(CONNECTION)
    at.offer(status("first"))
    (attempt,) = await at.ended(1)
    assert attempt.outcome is AttemptOutcome.FAILED
    assert attempt.response.error == "connection: the connection of this callback is gone or disabled"
    at.connect(status="disabled")
    at.offer(status("first"))
    assert (await at.ended(2))[1].outcome is AttemptOutcome.FAILED
    at.connections[CONNECTION] = kept
    at.offer(status("first"))
    assert (await at.ended(3))[2].outcome is AttemptOutcome.DELIVERED
    assert at.server.calls == [(EVENTS, 1)]
