"""The endpoints of text clients in /v1/webhooks: shown and replayed there; changed through their client only."""

import json
from typing import Any

import httpx
import msgspec
import pytest

from tests.api.calling import Keys, ok, refused
from tests.waiting import eventually
from waypost.clock import now_us
from waypost.domain.events.event import Event
from waypost.engine.process import Engine
from waypost.engine.runtime.unit import Unit
from waypost.sink.thread_runner import Running
from waypost.storage.database import Tx

Client = httpx.AsyncClient


async def connect(client: Client, sink: Running) -> str:
    """A connection to Klaviyo, as the sink plays it."""
    config = {"api_key": "pk_made_up", "host": f"{sink.url}/klaviyo"}
    made = await ok(
        client.post("/v1/connections", json={"name": "tool", "connector": "klaviyo", "config": config}), 201
    )
    return str(made["id"])


async def add(client: Client, callback: Any) -> dict[str, Any]:
    """A text client with a callback."""
    made: dict[str, Any] = await ok(client.post("/v1/text-clients", json={"name": "flows", "callback": callback}), 201)
    return made


async def report(engine: Engine, keys: Keys, client_id: str, *names: str) -> None:
    """Record statuses of texts, such as `msg_1:SENDING`."""

    def event(name: str) -> Event:
        text, status = name.split(":")
        data = {
            "MessageID": text,
            "Status": status,
            "metricName": "Birthday",
            "callbackData": {"profileID": "01K"},
            "sendPurpose": "Birthday",
            "client_id": client_id,
        }
        return Event(keys.workspace_id, "text.status", None, now_us(), name, msgspec.json.encode(data))

    async def work(tx: Tx, unit: Unit) -> None:
        unit.emit([event(name) for name in names])

    await engine.recorder.perform(work)


async def test_the_endpoint_of_a_text_client_is_shown_and_not_changed(client: Client, hook: str):
    made = await add(client, {"kind": "webhook", "url": hook})
    path = f"/v1/webhooks/{made['endpoint_id']}"
    shown = await ok(client.get(path))
    assert (shown["text_client_id"], shown["ordered"], shown["format"]) == (made["id"], True, "standard")
    assert shown["url"] == hook
    other = await ok(client.post("/v1/webhooks", json={"url": hook, "event_types": ["*"]}), 201)
    assert (other["text_client_id"], other["ordered"], other["connection_id"]) == (None, False, None)
    listed = (await ok(client.get("/v1/webhooks")))["data"]
    assert [one["text_client_id"] for one in listed] == [None, made["id"]]
    for call in (client.patch(path, json={"url": hook}), client.put(path, json={}), client.delete(path)):
        problem = await refused(call, 409, "text_client_endpoint")
        assert made["id"] in problem["detail"]
        assert "'flows'" in problem["detail"]
    assert (await ok(client.get(path)))["updated_at"] == shown["updated_at"]
    # What its owner may do with any endpoint.
    assert (await ok(client.post(f"{path}/disable")))["status"] == "disabled"
    enabled = await ok(client.post(f"{path}/enable"))
    assert (enabled["status"], enabled["text_client_id"]) == ("enabled", made["id"])
    await ok(client.post(f"{path}/secret/rotate"))
    await ok(client.post(f"{path}/replay", json={"since": "2026-01-01T00:00:00Z"}), 202)
    result = await ok(client.post(f"{path}/test"))
    assert (result["response"]["status"], json.loads(result["request"]["body"])["type"]) == (200, "text.status")
    assert (await client.delete(f"/v1/text-clients/{made['id']}")).status_code == 204
    assert (await client.get(path)).status_code == 404


async def test_a_waiting_delivery_says_what_it_waits_for(client: Client, engine: Engine, keys: Keys, hook: str):
    engine.webhooks._retry_base = 80.0
    made = await add(client, {"kind": "webhook", "url": f"{hook}?status=500"})
    await report(engine, keys, made["client_id"], "msg_1:PENDING_TO_SEND", "msg_1:SENDING")
    path = f"/v1/webhooks/{made['endpoint_id']}/deliveries"

    async def tried() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await ok(client.get(path)))["data"]
        return found if found[-1]["tries"] == 1 else []

    second, first = await eventually(tried)
    assert first["next_attempt_at"] is not None
    assert first["waits_for"] is None
    assert (second["next_attempt_at"], second["waits_for"]) == (None, first["event_id"])
    assert second["state"] == "pending"
    assert (await ok(client.get(f"{path}?state=pending")))["data"] == [first, second]
    # A retry of the waiting one sends the one that it waits for.
    retried = await ok(client.post(f"/v1/deliveries/{second['id']}/retry"), 202)
    assert (retried["waits_for"], retried["attempts"]) == (first["event_id"], [])

    async def tried_again() -> bool:
        return bool((await ok(client.get(f"/v1/deliveries/{first['id']}")))["tries"] == 2)

    await eventually(tried_again)
    balance = await ok(client.get(f"/v1/webhooks/{made['endpoint_id']}"))
    assert balance["counts"] == {"accepted": 2, "delivered": 0, "pending": 2, "dead": 0}


async def test_statuses_reach_klaviyo(client: Client, engine: Engine, keys: Keys, sink: Running):
    connection_id = await connect(client, sink)
    made = await add(client, {"kind": "klaviyo", "connection_id": connection_id})
    path = f"/v1/webhooks/{made['endpoint_id']}"
    shown = await ok(client.get(path))
    assert (shown["format"], shown["connection_id"]) == ("klaviyo", connection_id)
    assert shown["url"] == f"{sink.url}/klaviyo/api/events"
    await report(engine, keys, made["client_id"], "msg_1:PENDING_TO_SEND", "msg_1:SENDING", "msg_1:DELIVERED")

    async def all_delivered() -> bool:
        return bool((await ok(client.get(path)))["counts"]["delivered"] == 3)

    await eventually(all_delivered)


async def test_a_test_event_goes_to_klaviyo_with_a_masked_key(client: Client, sink: Running):
    connection_id = await connect(client, sink)
    made = await add(client, {"kind": "klaviyo", "connection_id": connection_id})
    path = f"/v1/webhooks/{made['endpoint_id']}/test"
    result = await ok(client.post(path))
    assert (result["response"]["status"], result["error"]) == (202, None)
    request = result["request"]
    assert request["url"] == f"{sink.url}/klaviyo/api/events"
    assert "pk_made_up" not in json.dumps(result)
    assert request["headers"]["Authorization"].endswith("…")
    assert json.loads(request["body"])["data"]["attributes"]["properties"]["Status"] == "FAILED_TO_DELIVERY"
    await refused(client.post(path, json={"event_type": "event.order_shipped"}), 400, "invalid_event_type")
    assert (await client.delete(f"/v1/connections/{connection_id}")).status_code in (200, 204)
    await refused(client.post(path), 409, "connection_missing")


@pytest.mark.parametrize("kind", ["unknown", "wrong"])
async def test_a_callback_needs_a_connection_to_klaviyo(client: Client, sink: Running, kind: str):
    connection_id = "con_0000000000000001"
    if kind == "wrong":
        config = {"url": f"{sink.url}/gateway/send", "auth": "none"}
        made = await ok(
            client.post("/v1/connections", json={"name": "sms", "connector": "http", "config": config}), 201
        )
        connection_id = made["id"]
    call = client.post(
        "/v1/text-clients", json={"name": "flows", "callback": {"kind": "klaviyo", "connection_id": connection_id}}
    )
    if kind == "wrong":
        problem = await refused(call, 400, "wrong_connector")
        assert problem["field"] == "callback"
    else:
        await refused(call, 404, "unknown_connection")


async def test_a_callback_may_become_another_kind_and_keeps_its_endpoint(client: Client, sink: Running, hook: str):
    made = await add(client, {"kind": "webhook", "url": hook})
    connection_id = await connect(client, sink)
    path = f"/v1/text-clients/{made['id']}"
    changed = await ok(client.patch(path, json={"callback": {"kind": "klaviyo", "connection_id": connection_id}}))
    assert changed["endpoint_id"] == made["endpoint_id"]
    shown = await ok(client.get(f"/v1/webhooks/{made['endpoint_id']}"))
    assert (shown["format"], shown["connection_id"], shown["rate_limit"]) == ("klaviyo", connection_id, 58.0)
    await ok(client.patch(path, json={"callback": {"kind": "webhook", "url": hook}}))
    shown = await ok(client.get(f"/v1/webhooks/{made['endpoint_id']}"))
    assert (shown["format"], shown["connection_id"], shown["rate_limit"]) == ("standard", None, None)
    removed = await ok(client.patch(path, json={"callback": None}))
    assert removed["endpoint_id"] is None
    assert (await client.get(f"/v1/webhooks/{made['endpoint_id']}")).status_code == 404
