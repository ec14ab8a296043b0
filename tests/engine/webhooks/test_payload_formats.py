"""Deliveries in payload formats: on both databases where formats are stored, and when one cannot be written."""

import json
from typing import Any

import pytest

from tests.domain.webhooks.test_payload_format import CLICKED, OPENED
from tests.engine.conftest import Outside, World, eventually
from waypost.clock import now_us
from waypost.domain.events.event import Event
from waypost.domain.values.ids import public
from waypost.domain.webhooks.payload_format import PayloadSource
from waypost.engine.runtime.unit import Unit
from waypost.engine.webhooks import payload_formats
from waypost.engine.webhooks.payload_formats import FormatRecord
from waypost.storage.database import Tx

TYPES = ("email.opened", "email.clicked")


async def emit(world: World, type_: str, contents: dict[str, Any], at: int = 0) -> None:
    """Record an event as an area emits it."""

    async def work(tx: Tx, unit: Unit) -> None:
        moment = at or now_us()
        unit.emit([Event(1, type_, 88001, moment, f"{type_}-{now_us()}", json.dumps(contents).encode())])

    await world.engine.recorder.perform(work)


async def create(world: World, **source: Any) -> FormatRecord:
    return await world.database.transact(
        payload_formats.create_format, world.engine.ids, 1, "mine", PayloadSource(**source), now_us()
    )


async def change(world: World, record: FormatRecord, **source: Any) -> FormatRecord:
    changed = await world.database.transact(
        payload_formats.change_format, 1, record, "mine", PayloadSource(**source), now_us()
    )
    await world.engine.endpoints.refresh([1])
    return changed


async def bodies(outside: Outside, name: str, count: int) -> list[dict[str, Any]]:
    """Return the requests to a name once there are this many."""
    await eventually(lambda: outside.count(name) >= count)
    return outside.received(name)


async def test_an_open_and_a_click_arrive_in_the_format_of_the_endpoint(world: World, outside: Outside):
    await world.endpoint(
        outside.hook("flat"), types=TYPES, format="pinpointe", signature="none", user_id="501", user_name="acme",
        secrets=world.engine.encryption.encrypt("[]"),
    )  # fmt: skip
    await emit(world, "email.opened", OPENED, 1_790_000_000_000_000)
    await emit(world, "email.clicked", CLICKED)
    found = {json.loads(one["body"])["event"]: one for one in await bodies(outside, "flat", 2)}
    opened, clicked = json.loads(found["open"]["body"]), json.loads(found["click"]["body"])
    assert (opened["time"], opened["userId"], opened["newsletterId"]) == ("1790000000", "501", "412")
    assert clicked["detail"] == {"linkid": "55", "url": "https://shop.example.test/"}
    headers = {name.lower(): value for name, value in found["click"]["headers"].items()}
    assert "webhook-signature" not in headers
    assert headers["webhook-id"].startswith("evt_")


async def test_an_endpoint_gets_no_event_that_its_format_has_no_body_for(world: World, outside: Outside):
    endpoint = await world.endpoint(outside.hook("few"), types=("*",), format="pinpointe")
    await emit(world, "email.bounced", {})
    await emit(world, "email.opened", OPENED)
    await eventually(lambda: outside.count("few") == 1)
    assert (await world.balance(endpoint)).accepted == 1


async def test_a_changed_format_is_used_from_the_next_delivery_on(world: World, outside: Outside):
    record = await create(world, body={"v": 1, "to": "{{ data.message.to }}"}, headers={"X-Mine": "{{ event.type }}"})
    used = public("fmt", record.id)
    await world.endpoint(outside.hook("mine"), types=TYPES, format=used)
    await emit(world, "email.opened", OPENED)
    (first,) = await bodies(outside, "mine", 1)
    assert json.loads(first["body"]) == {"v": 1, "to": "ines@example.test"}
    assert first["headers"]["x-mine"] == "email.opened"
    changed = await change(world, record, body={"v": 2})
    assert changed.version == 2
    await emit(world, "email.opened", OPENED)
    assert json.loads((await bodies(outside, "mine", 2))[1]["body"]) == {"v": 2}


async def test_an_event_that_cannot_be_written_is_dead_with_its_reason_and_blocks_nothing(
    world: World, outside: Outside
):
    fragile = {"a": "{% for x in data.many %}{% for y in data.many %}{% endfor %}{% endfor %}"}
    record = await create(world, body=fragile)
    endpoint = await world.endpoint(outside.hook("fragile"), format=public("fmt", record.id))
    for number in range(5):
        await emit(world, "email.opened", {"many": list(range(40 if number < 4 else 2))})
    await eventually(lambda: outside.count("fragile") == 1)

    async def four_are_dead() -> bool:
        return (await world.balance(endpoint)).dead == 4

    await eventually(four_are_dead)
    dead = [one for one in await world.deliveries(endpoint) if one["state"] == "dead"]
    assert {one["reason"] for one in dead} == {"rejected"}
    assert (await world.record(endpoint))["status"] == "enabled"
    assert "not_written: body.a, line 1" in (await world.record(endpoint))["last_error"]


async def test_an_endpoint_whose_format_is_gone_says_so_and_tries_again(world: World, outside: Outside):
    endpoint = await world.endpoint(outside.hook("gone"), format="fmt_0000000000000001")
    await emit(world, "email.opened", OPENED)

    async def tried() -> bool:
        return "format:" in str((await world.record(endpoint))["last_error"])

    await eventually(tried)
    assert outside.count("gone") == 0
    assert (await world.balance(endpoint)).pending == 1


@pytest.mark.parametrize("format_", ["standard", "pinpointe"])
async def test_the_answer_gone_disables_an_endpoint_of_any_format_of_data(world: World, outside: Outside, format_):
    endpoint = await world.endpoint(outside.hook("leaves", status=410), types=TYPES, format=format_)
    await emit(world, "email.opened", OPENED)

    async def disabled() -> bool:
        return bool((await world.record(endpoint))["disabled_reason"] == "gone")

    await eventually(disabled)
