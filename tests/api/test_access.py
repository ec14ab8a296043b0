"""Every route of the control API: nobody without a key, nothing without the scope, nothing of another workspace."""

import re

import pytest

from tests.api.calling import bearer, eventually, make_webhook, ok, refused, settled, track
from waypost.api.app import describe_api
from waypost.api.webhooks import mask

DOCUMENT = describe_api()
OPERATIONS = [
    (method, path, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if operation.get("security") is None
]
NAMES = [f"{method.upper()} {path}" for method, path, _ in OPERATIONS]
each_operation = pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=NAMES)
#: Bodies where an empty object is not enough.
BODIES = {
    "create_key": {"name": "another", "scopes": ["read"]},
    "create_webhook": {"url": "http://127.0.0.1:9/", "event_types": ["*"]},
    "start_replay": {"since": "2020-01-01T00:00:00Z"},
}


@pytest.fixture
async def world(client, hook):
    """One of everything, and the path of it."""
    webhook = await make_webhook(client, hook, signature="v1a")
    await track(client)
    await settled(client, webhook, delivered=1)
    delivery = (await ok(client.get(f"/v1/webhooks/{webhook['id']}/deliveries")))["data"][0]
    event = (await ok(client.get("/v1/events")))["data"][0]
    replay = await ok(
        client.post(f"/v1/webhooks/{webhook['id']}/replay", json={"since": "2020-01-01T00:00:00Z", "state": "dead"}),
        202,
    )
    key = await ok(client.post("/v1/keys", json={"name": "spare", "scopes": ["ingest"]}), 201)
    return {
        "webhooks": webhook["id"],
        "deliveries": delivery["id"],
        "events": event["id"],
        "profiles": event["profile_id"],
        "replays": replay["id"],
        "keys": key["id"],
    }


def place(path, world):
    """The path of something that there is."""
    return re.sub(r"/v1/([a-z]+)/\{id\}", lambda found: f"/v1/{found[1]}/{world[found[1]]}", path)


def test_there_is_something_to_try():
    assert len(OPERATIONS) > 25
    assert mask("abcdef") != "abcdef"


@each_operation
async def test_nobody_gets_in_without_a_key(method, path, operation, client):
    place_ = path.replace("{id}", "whk_0000000000000001")
    for headers in ({"authorization": ""}, bearer("wpk_made_up"), {"authorization": "Basic !"}):
        problem = await refused(client.request(method, place_, headers=headers), 401, "unauthorized")
        assert "key" in problem["detail"].lower()


@each_operation
async def test_a_key_may_do_what_its_scopes_say_and_no_more(method, path, operation, client, keys, world):
    place_, body = place(path, world), BODIES.get(operation["operationId"])
    await refused(client.request(method, place_, headers=bearer(keys.ingest), json=body), 403, "forbidden")
    reads = method == "get" and not path.endswith("/secret")
    if not reads:
        await refused(client.request(method, place_, headers=bearer(keys.read), json=body), 403, "forbidden")
    answer = await client.request(method, place_, headers=bearer(keys.read if reads else keys.manage), json=body)
    assert answer.status_code < 300, answer.text
    assert str(answer.status_code) in operation["responses"]


@each_operation
async def test_another_workspace_sees_and_changes_nothing(method, path, operation, client, keys, world):
    place_, body = place(path, world), BODIES.get(operation["operationId"])
    answer = await client.request(method, place_, headers=bearer(keys.stranger), json=body)
    if "{id}" in path:
        assert answer.status_code == 404, answer.text
        assert answer.json()["code"] == "not_found"
    elif method == "get":
        assert not any(id_ in answer.text for id_ in world.values())


async def test_a_deleted_key_is_refused_at_once(client, keys):
    key = await ok(client.post("/v1/keys", json={"name": "short", "scopes": ["read"]}), 201)
    await ok(client.get("/v1/ledger", headers=bearer(key["key"])))
    assert (await client.delete(f"/v1/keys/{key['id']}")).status_code == 204
    await refused(client.get("/v1/ledger", headers=bearer(key["key"])), 401, "unauthorized")


async def test_the_world_of_a_stranger_is_empty(client, keys, world):
    async def nothing():
        ledger = await ok(client.get("/v1/ledger", headers=bearer(keys.stranger)))
        return ledger == {"accepted": 0, "delivered": 0, "pending": 0, "dead": 0, "balanced": True, "endpoints": []}

    assert await eventually(nothing)
