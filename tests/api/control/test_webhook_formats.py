"""Payload formats by the API: create, list, get, update, delete, preview, and their use by endpoints."""

import json
from typing import Any

import pytest

from tests.api.calling import eventually, make_webhook, ok, refused, track

BODY = {"kind": "order", "who": "{{ data.user_id }}", "total": "{{ data.properties.total }}"}
PATH = "/v1/webhook-formats"


async def make_format(client: Any, **fields: Any) -> Any:
    return await ok(client.post(PATH, json={"name": "Mine"} | (fields or {"body": BODY})), 201)


async def one_event(client: Any) -> str:
    """Return the id of a recorded event."""
    await track(client)
    await eventually(lambda: ok(client.get("/v1/events")))

    async def found() -> Any:
        events = (await ok(client.get("/v1/events")))["data"]
        return events[0]["id"] if events else None

    return str(await eventually(found))


async def test_a_format_is_created_shown_changed_and_deleted(client):
    made = await make_format(client, body=BODY, event_types=["event.*"], headers={"X-A": "1"})
    assert (made["version"], made["shipped"], made["undefined"]) == (1, False, [])
    shown = await ok(client.get(f"{PATH}/{made['id']}"))
    assert shown == {name: value for name, value in made.items() if name != "undefined"}
    changed = await ok(client.patch(f"{PATH}/{made['id']}", json={"name": "Other"}))
    assert (changed["name"], changed["version"], changed["body"]) == ("Other", 1, BODY)
    changed = await ok(client.patch(f"{PATH}/{made['id']}", json={"bodies": {"event.a": {}}}))
    assert (changed["version"], changed["body"], changed["event_types"]) == (2, None, ["event.a"])
    changed = await ok(client.patch(f"{PATH}/{made['id']}", json={"body": [1]}))
    assert (changed["version"], changed["bodies"], changed["event_types"]) == (3, None, [])
    assert (await client.delete(f"{PATH}/{made['id']}")).status_code == 204
    await refused(client.get(f"{PATH}/{made['id']}"), 404, "not_found")
    await refused(client.delete(f"{PATH}/{made['id']}"), 404, "not_found")


async def test_the_list_ends_with_the_shipped_formats(client):
    names = [(await make_format(client))["id"] for _ in range(3)]
    first = await ok(client.get(f"{PATH}?limit=2"))
    assert [one["id"] for one in first["data"]] == [names[2], names[1]]
    rest = await ok(client.get(f"{PATH}?limit=2&after={first['next']}"))
    assert [one["id"] for one in rest["data"]] == [names[0], "pinpointe"]
    assert rest["next"] is None


async def test_a_shipped_format_can_be_copied_and_not_changed(client):
    shipped = await ok(client.get(f"{PATH}/pinpointe"))
    assert (shipped["shipped"], shipped["event_types"]) == (True, ["email.opened", "email.clicked"])
    await refused(client.patch(f"{PATH}/pinpointe", json={"name": "x"}), 400, "shipped_format")
    await refused(client.delete(f"{PATH}/pinpointe"), 400, "shipped_format")
    bodies = shipped["bodies"]
    for body in bodies.values():
        body["emailaddress"] = body.pop("email")
    copy = await make_format(client, bodies=bodies)
    webhook = await make_webhook(client, "https://example.com/", format=copy["id"])
    assert webhook["event_types"] == ["email.opened", "email.clicked"]


async def test_what_is_wrong_is_refused_and_named(client):
    problem = await refused(
        client.post(PATH, json={"name": "x", "body": {"a": {"b": "{{ x }}"}}}), 400, "invalid_template"
    )
    assert (problem["field"], problem["line"], problem["column"]) == ("body.a.b", 1, 4)
    await refused(client.post(PATH, json={"name": "x"}), 400, "invalid_format")
    await refused(client.post(PATH, json={"name": " ", "body": {}}), 400, "invalid_name")
    await refused(client.post(PATH, json={"name": "x", "body": {}, "colour": 1}), 400, "invalid_body")
    made = await make_format(client)
    await refused(client.patch(f"{PATH}/{made['id']}", json={"body": "x"}), 400, "invalid_format")
    assert (await ok(client.get(f"{PATH}/{made['id']}")))["body"] == BODY


async def test_variables_that_no_event_of_a_known_type_has_are_listed(client):
    made = await make_format(client, bodies={"message.sent": {"a": "{{ data.message.to }}{{ data.mesage.to }}"}})
    assert made["undefined"] == [{"name": "data.mesage.to", "field": "bodies.message.sent.a", "line": 1, "column": 25}]


async def test_a_format_in_use_is_not_deleted_nor_narrowed(client):
    made = await make_format(client)
    webhook = await make_webhook(client, "https://example.com/", format=made["id"], event_types=["event.*"])
    await refused(client.delete(f"{PATH}/{made['id']}"), 409, "format_in_use")
    await refused(client.patch(f"{PATH}/{made['id']}", json={"event_types": ["event.a"]}), 409, "format_in_use")
    await ok(client.patch(f"{PATH}/{made['id']}", json={"event_types": ["event.*", "email.*"]}))
    assert (await client.delete(f"/v1/webhooks/{webhook['id']}")).status_code == 204
    assert (await client.delete(f"{PATH}/{made['id']}")).status_code == 204


async def test_a_preview_shows_the_request_of_a_real_event(client):
    event = await one_event(client)
    body = BODY | {"by": "{{ endpoint.user_name }}"}
    made = await make_format(client, body=body, headers={"X-Kind": "{{ event.type }}"})
    webhook = await make_webhook(
        client, "https://example.com/", format=made["id"], user_name="ines", headers={"X-Token": "secret-value"}
    )
    shown = await ok(client.post(f"{PATH}/preview", json={"format": made["id"], "event_id": event}))
    assert json.loads(shown["body"]) == {"kind": "order", "who": "ada", "total": 99.5, "by": ""}
    shown = await ok(
        client.post(f"{PATH}/preview", json={"format": made["id"], "event_id": event, "webhook_id": webhook["id"]})
    )
    assert json.loads(shown["body"])["by"] == "ines"
    assert shown["headers"] | {"webhook-timestamp": ""} == {
        "content-type": "application/json", "webhook-id": event, "webhook-timestamp": "",
        "X-Kind": "event.order_shipped", "X-Token": "se…",
    }  # fmt: skip
    unsaved = {"body": {"a": "{{ data.properties.none }}!"}, "event_id": event}
    shown = await ok(client.post(f"{PATH}/preview", json=unsaved))
    assert (shown["body"], shown["undefined"][0]["name"]) == ('{"a":"!"}', "data.properties.none")


async def test_a_preview_says_what_is_missing(client):
    event = await one_event(client)
    path = f"{PATH}/preview"
    await refused(client.post(path, json={"event_id": event}), 400, "invalid_format")
    await refused(client.post(path, json={"event_id": event, "format": "pinpointe", "body": {}}), 400, "invalid_format")
    await refused(client.post(path, json={"event_id": event, "format": "nothing"}), 400, "unknown_format")
    await refused(client.post(path, json={"event_id": event, "format": "standard"}), 400, "unknown_format")
    await refused(client.post(path, json={"event_id": event, "format": "pinpointe"}), 400, "invalid_event_type")
    await refused(client.post(path, json={"event_id": "evt_0000000000000001", "body": {}}), 404, "not_found")


async def test_a_format_of_another_workspace_does_not_exist(client, keys):
    made = await make_format(client)
    stranger = {"authorization": f"Bearer {keys.stranger}"}
    await refused(client.get(f"{PATH}/{made['id']}", headers=stranger), 404, "not_found")
    body = {"url": "https://example.com/", "event_types": ["*"], "format": made["id"]}
    await refused(client.post("/v1/webhooks", json=body, headers=stranger), 400, "unknown_format")


async def test_an_endpoint_knows_who_made_it(client):
    made = await make_webhook(client, "https://example.com/")
    assert made["user_id"].isdecimal()
    assert made["user_name"]
    changed = await ok(client.patch(f"/v1/webhooks/{made['id']}", json={"user_id": "501", "user_name": "acme"}))
    assert (changed["user_id"], changed["user_name"]) == ("501", "acme")


@pytest.mark.parametrize("path", ["secret", "public-key"])
async def test_an_endpoint_without_a_signature_has_no_secret(client, path):
    made = await make_webhook(client, "https://example.com/", signature="none")
    assert (made["secret"], made["signature"]) == (None, "none")
    code = "not_signed" if path == "secret" else "no_public_key"
    await refused(client.get(f"/v1/webhooks/{made['id']}/{path}"), 409, code)
    await refused(client.post(f"/v1/webhooks/{made['id']}/secret/rotate", json={}), 409, "not_signed")


async def test_a_test_event_is_written_in_the_format(client, hook):
    made = await make_webhook(client, hook, format="pinpointe", event_types=["email.opened"])
    told = await ok(client.post(f"/v1/webhooks/{made['id']}/test", json={}))
    assert json.loads(told["request"]["body"])["event"] == "open"
    await refused(
        client.post(f"/v1/webhooks/{made['id']}/test", json={"event_type": "message.sent"}), 400, "invalid_event_type"
    )
