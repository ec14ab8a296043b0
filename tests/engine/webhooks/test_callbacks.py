"""Callbacks of the text API: every status once and in order, whatever happens to the receiver or to the process."""

import itertools
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.engine.conftest import Outside, World, abandon_world, close_world, eventually, open_world
from tests.engine.messaging.test_sending import Post
from tests.engine.webhooks.klaviyo_server import KlaviyoServer, klaviyo
from tests.engine.webhooks.test_dispatcher import endpoint
from tests.engine.webhooks.test_replays import ended, start_replay
from waypost.clock import HOUR, now_us
from waypost.domain.events.event import Event
from waypost.domain.texts.client import KlaviyoCallback, WebhookCallback
from waypost.domain.values.ids import public
from waypost.engine.providers import connection_records
from waypost.engine.runtime.unit import Unit
from waypost.engine.texts import clients
from waypost.engine.texts.clients import TextClientDraft, TextClientRecord
from waypost.engine.webhooks import endpoints
from waypost.storage.database import Tx

STATUSES = ["PENDING_TO_SEND", "SENDING", "DELIVERED"]


class Desk:
    """A text client of the first workspace, whose texts come to statuses as a test says."""

    def __init__(self, world: World, record: TextClientRecord) -> None:
        self.world = world
        self.record = record
        assert record.endpoint_id is not None
        self.endpoint_id = record.endpoint_id

    async def change(self, **values: Any) -> None:
        """Change the client as the API does it."""
        owner = self.world.engine.text_client_owner
        before = {name: getattr(self.record, name) for name in TextClientDraft.__struct_fields__}

        async def work(tx: Tx) -> TextClientRecord:
            draft = owner.check(1, TextClientDraft(**before | values))
            return await owner.change(tx, self.record, draft, now_us())

        self.record = await self.world.database.transact(work)
        await self.world.engine.endpoints.refresh([1])

    async def switch(self, enabled: bool) -> None:
        """Enable or disable the endpoint as its owner does it."""
        engine = self.world.engine
        await engine.database.transact(
            endpoints.switch_webhook, engine.encryption, 1, self.endpoint_id, enabled, now_us()
        )
        await engine.endpoints.refresh([1])

    async def hasten(self) -> None:
        """Let the time pass until the retries are due."""

        async def work(tx: Tx) -> None:
            for row in await tx.records("deliveries.list", endpoint_id=self.endpoint_id, before=1 << 62, n=10_000):
                if row["state"] == "pending" and row["waits_for"] is None:
                    await tx.run(
                        "deliveries.hasten", endpoint_id=self.endpoint_id, event_id=row["event_id"], now=now_us()
                    )

        await self.world.database.transact(work)
        self.world.engine.webhooks_due.wake_at(now_us())

    async def report(self, statuses: list[tuple[str, str]]) -> None:
        """Record statuses of texts in one transaction, as the texts' area does it."""

        async def work(tx: Tx, unit: Unit) -> None:
            unit.emit([self._event(name, status) for name, status in statuses])

        await self.world.engine.recorder.perform(work)

    async def report_all(self, texts: range) -> None:
        """Let texts come to their three statuses, each in a transaction of its own."""
        for status in STATUSES:
            await self.report([(f"msg_{number}", status) for number in texts])

    def _event(self, name: str, status: str) -> Event:
        data = {
            "MessageID": name,
            "Status": status,
            "metricName": "Birthday",
            "callbackData": {"profileID": f"profile of {name}", "flow": "F"},
            "sendPurpose": "Birthday",
            "client_id": self.record.client_id,
        }
        return Event(1, "text.status", None, now_us(), f"{name}:{status}", msgspec.json.encode(data))


async def open_desk(world: World, callback: Any) -> Desk:
    """A new text client with a callback."""
    owner = world.engine.text_client_owner
    draft = owner.check(1, TextClientDraft(name="flows", callback=callback))
    record, _ = await world.database.transact(owner.create, 1, draft, now_us())
    await world.engine.endpoints.refresh([1])
    return Desk(world, record)


def by_text(outside: Outside, name: str) -> dict[str, list[str]]:
    """The statuses that were sent to a receiver, by text and in order; a retry right after its try counts once."""
    found: dict[str, list[str]] = defaultdict(list)
    for request in outside.received(name):
        data = json.loads(request["body"])["data"]
        found[data["MessageID"]].append(data["Status"])
    return {text: [status for status, _ in itertools.groupby(sent)] for text, sent in found.items()}


def in_order(texts: range) -> dict[str, list[str]]:
    return {f"msg_{number}": STATUSES for number in texts}


async def connect(world: World, outside: Outside, server: KlaviyoServer, **changes: Any) -> int:
    """A new connection to Klaviyo."""
    return await Post(world, outside).connect("klaviyo", config={"host": server.url, "api_key": "pk_test"}, **changes)


async def disconnect(world: World, connection_id: int) -> None:
    await world.database.transact(connection_records.delete_connection, 1, connection_id, now_us())
    await world.engine.connections.refresh([1])


async def test_a_webhook_gets_the_statuses_of_each_text_in_order(world: World, outside: Outside):
    desk = await open_desk(world, WebhookCallback(url=outside.hook("ordered", delay=0.002)))
    await desk.report([(f"msg_{number}", status) for number in range(30) for status in STATUSES])
    await desk.report_all(range(30, 60))
    balance = await eventually(lambda: world.settled(desk.endpoint_id))
    assert (balance.accepted, balance.delivered) == (180, 180)
    assert by_text(outside, "ordered") == in_order(range(60))
    assert outside.count("ordered") == 180
    await world.check_ledger()


async def test_the_order_is_kept_when_some_of_them_fail(world: World, outside: Outside):
    desk = await open_desk(world, WebhookCallback(url=outside.hook("flaky", fail_rate=0.4, seed=7)))
    await desk.report_all(range(40))
    await eventually(lambda: world.settled(desk.endpoint_id), 60)
    assert by_text(outside, "flaky") == in_order(range(40))
    await world.check_ledger()


async def test_one_that_is_given_up_lets_the_next_one_go(world: World, outside: Outside):
    desk = await open_desk(world, WebhookCallback(url=outside.hook("given-up")))
    outside.script("given-up", *[{"status": 500}] * 11)
    await desk.report([("msg_1", status) for status in STATUSES])

    async def given_up() -> bool:
        return (await world.balance(desk.endpoint_id)).dead == 1

    await eventually(given_up)
    # An endpoint that used up the tries of a delivery is disabled; the others wait until it is enabled.
    await desk.switch(True)
    world.engine.webhooks_due.wake_at(now_us())
    balance = await eventually(lambda: world.settled(desk.endpoint_id))
    assert (balance.delivered, balance.dead) == (2, 1)
    assert by_text(outside, "given-up") == {"msg_1": STATUSES}
    assert outside.count("given-up") == 13
    await world.check_ledger()


async def test_a_receiver_that_is_away_for_an_hour_misses_nothing(world: World, outside: Outside, monkeypatch):
    """The clock of the retries stands still meanwhile: they are due when the receiver is back."""
    outside.behave("away", status=500)
    desk = await open_desk(world, WebhookCallback(url=outside.hook("away")))
    monkeypatch.setattr(world.engine.webhooks, "_retry_base", HOUR / 1_000_000)
    await desk.report_all(range(50))

    async def all_wait() -> bool:
        rows = await world.deliveries(desk.endpoint_id)
        return len(rows) == 150 and sum(row["tries"] == 1 for row in rows) == 50

    await eventually(all_wait)
    rows = await world.deliveries(desk.endpoint_id)
    assert sum(row["waits_for"] is not None for row in rows) == 100
    outside.behave("away")

    await desk.hasten()
    await eventually(lambda: world.settled(desk.endpoint_id))
    assert by_text(outside, "away") == in_order(range(50))
    assert outside.count("away") == 200
    await world.check_ledger()


async def test_a_process_that_is_killed_repeats_some_and_loses_none(tmp_path: Path, outside: Outside):
    world = await open_world(tmp_path)
    desk = await open_desk(world, WebhookCallback(url=outside.hook("killed", delay=0.01)))
    for start in itertools.count(step=20):
        await desk.report_all(range(start, start + 20))
        if start == 80:
            break
        await eventually(lambda start=start: outside.count("killed") > start)  # type: ignore[misc]
        await abandon_world(world)
        world = await open_world(tmp_path)
        desk = Desk(world, desk.record)
    await eventually(lambda: world.settled(desk.endpoint_id))
    assert by_text(outside, "killed") == in_order(range(100))
    await world.check_ledger()
    await close_world(world)


async def test_the_statuses_of_a_disabled_endpoint_are_replayed_in_order(world: World, outside: Outside):
    outside.behave("replayed", status=500)
    desk = await open_desk(world, WebhookCallback(url=outside.hook("replayed")))
    await desk.report([(f"msg_{number}", "PENDING_TO_SEND") for number in range(20)])

    async def disabled() -> bool:
        return bool((await world.record(desk.endpoint_id))["status"] == "disabled")

    await eventually(disabled)
    await desk.report([(f"msg_{number}", status) for number in range(20) for status in STATUSES[1:]])
    outside.behave("replayed")
    await desk.switch(True)
    replay = await start_replay(world, desk.endpoint_id, ("dead", "missed"))
    await eventually(lambda: ended(world, replay))
    await eventually(lambda: world.settled(desk.endpoint_id))
    assert by_text(outside, "replayed") == in_order(range(20))
    await world.check_ledger()


async def test_klaviyo_gets_every_status_once_and_in_order(world: World, outside: Outside):
    async with klaviyo() as server:
        connection_id = await connect(world, outside, server)
        desk = await open_desk(world, KlaviyoCallback(connection_id=public("con", connection_id)))
        failures = itertools.cycle([202, 202, 500, 202, 429])
        server.answer = lambda path, events: next(failures)
        await desk.report_all(range(100))
        await eventually(lambda: world.settled(desk.endpoint_id), 60)
        assert server.statuses() == in_order(range(100))
        assert {event["profile"]["data"]["id"] for event in server.kept.values()} == {
            f"profile of msg_{number}" for number in range(100)
        }
        assert any(count > 1 for _, count in server.calls)
        await world.check_ledger()


async def test_a_callback_without_its_connection_says_so_and_recovers(world: World, outside: Outside):
    async with klaviyo() as server:
        first = await connect(world, outside, server)
        desk = await open_desk(world, KlaviyoCallback(connection_id=public("con", first)))
        await disconnect(world, first)
        world.engine.webhooks._retry_base = 80.0
        await desk.report_all(range(3))
        await eventually(lambda: error_of(world, desk))
        assert (await error_of(world, desk)).startswith("connection: ")
        # It is the same endpoint afterwards: what waits goes to where the callback is now.
        second = await connect(world, outside, server)
        await desk.change(callback=KlaviyoCallback(connection_id=public("con", second)))
        assert desk.record.endpoint_id == desk.endpoint_id
        await desk.hasten()
        await eventually(lambda: world.settled(desk.endpoint_id))
        assert server.statuses() == in_order(range(3))


async def error_of(world: World, desk: Desk) -> str:
    return (await world.record(desk.endpoint_id))["last_error"] or ""


async def test_an_endpoint_that_was_disabled_by_its_failures_is_enabled_by_a_new_callback(
    world: World, outside: Outside
):
    desk = await open_desk(world, WebhookCallback(url=outside.hook("gone", status=410)))
    await desk.report([("msg_1", "PENDING_TO_SEND")])

    async def disabled() -> bool:
        return bool((await world.record(desk.endpoint_id))["status"] == "disabled")

    await eventually(disabled)
    await desk.change(callback=WebhookCallback(url=outside.hook("here")))
    await desk.report([("msg_2", "PENDING_TO_SEND")])
    await eventually(lambda: by_text(outside, "here") == {"msg_2": ["PENDING_TO_SEND"]})
    # Its owner's own decision stays.
    await desk.switch(False)
    await desk.change(callback=WebhookCallback(url=outside.hook("elsewhere")), name="renamed")
    record = await world.record(desk.endpoint_id)
    assert (record["status"], record["description"]) == ("disabled", "Statuses of the texts of renamed")


async def test_a_callback_that_is_removed_ends_what_waits(world: World, outside: Outside):
    desk = await open_desk(world, WebhookCallback(url=outside.hook("removed", status=500)))
    world.engine.webhooks._retry_base = 80.0
    await desk.report_all(range(5))
    await desk.change(callback=None)
    assert desk.record.endpoint_id is None
    balance = await eventually(lambda: world.settled(desk.endpoint_id))
    assert (balance.accepted, balance.dead) == (15, 15)
    await world.check_ledger()


async def test_endpoints_of_text_clients_are_known(world: World, outside: Outside):
    desk = await open_desk(world, WebhookCallback(url=outside.hook("known")))
    other = await world.endpoint(outside.hook("other"))
    found = await world.database.read(clients.owners_of, 1, [desk.endpoint_id, other])
    assert found == {desk.endpoint_id: (desk.record.id, "flows")}


@pytest.mark.parametrize("format_", ["standard", "klaviyo"])
def test_only_marketing_tools_take_several(format_):
    assert endpoint("http://a", format=format_).takes_several is (format_ == "klaviyo")
