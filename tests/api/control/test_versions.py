"""`ETag` and `If-Match`: a change that does not know of another one is refused."""

from typing import Any

import pytest

from tests.api.calling import bearer, ok, refused
from waypost.api.app import describe_api

STALE = {"if-match": '"2001-01-01T00:00:00.000000Z"'}
OWN_CONNECTOR = """\
name = "acme"
label = "Acme"
channel = "sms"
base_url = "https://api.acme.example"
answers = [{ status = 200, outcome = "accepted" }]
"""
SMTP = {"host": "127.0.0.1", "port": 9, "security": "none", "from_email": "shop@example.com"}
#: What makes a resource, by the path of its kind, and a change of it.
MAKE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "/v1/webhooks": ({"url": "https://hooks.example.com/", "event_types": ["*"]}, {"description": "changed"}),
    "/v1/webhook-formats": ({"name": "Mine", "body": {"a": "b"}}, {"name": "changed"}),
    "/v1/lists": ({"name": "News"}, {"name": "changed"}),
    "/v1/segments": ({"name": "Pro", "condition": {"trait": "plan", "is": "pro"}}, {"name": "changed"}),
    "/v1/connections": (
        {"name": "Mail", "connector": "smtp", "config": SMTP, "skip_check": True},
        {"name": "changed"},
    ),
    "/v1/templates": ({"name": "Hi", "channel": "sms", "text": "Hi"}, {"name": "changed"}),
    "/v1/text-clients": ({"name": "Klaviyo"}, {"name": "changed"}),
    "/v1/senders": ({"address": "shop@example.com"}, {"name": "changed"}),
}


async def make(client: Any, kind: str) -> tuple[str, dict[str, Any]]:
    """Return the path of a new resource, and a change of it."""
    if kind == "/v1/campaigns":
        template = await ok(client.post("/v1/templates", json=MAKE["/v1/templates"][0] | {"name": "Text"}), 201)
        body = {"name": "Sale", "channel": "sms", "template_id": template["id"], "audience": {}}
        return f"{kind}/{(await ok(client.post(kind, json=body), 201))['id']}", {"name": "changed"}
    if kind == "/v1/profiles":
        await ok(client.post("/v1/identify", json={"userId": "ada"}))
        (person,) = (await ok(client.get("/v1/profiles?user_id=ada")))["data"]
        return f"{kind}/{person['id']}", {"traits": {"plan": "changed"}}
    if kind == "/v1/connectors":
        await ok(client.post(kind, json={"definition": OWN_CONNECTOR}), 201)
        return f"{kind}/acme", {}
    if kind == "/v1/sending-rules":
        await ok(client.put(kind, json={"timezone": "Europe/Berlin"}))
        return kind, {"timezone": "Europe/Paris"}
    body, change = MAKE[kind]
    made = await ok(client.post(kind, json=body), 201)
    return f"{kind}/{made['id']}", change


#: It needs a provider: tests/api/control/accounts/test_single_sign_on.py has it.
ELSEWHERE = "/v1/workspace/single-sign-on"
CONDITIONAL = [
    (path, method)
    for path, methods in describe_api()["paths"].items()
    for method, operation in methods.items()
    if "412" in operation["responses"] and path != ELSEWHERE
]


@pytest.mark.parametrize(("path", "method"), CONDITIONAL)
async def test_every_change_of_another_version_is_refused(client: Any, path: str, method: str):
    place, change = await make(client, path.partition("/{")[0])
    answer = await client.get(place)
    before, tag = answer.json(), answer.headers["etag"]
    assert tag == f'"{before["updated_at"]}"'
    body = change if method == "patch" else MAKE.get(path.partition("/{")[0], (change,))[0]
    body = {} if method == "delete" else {"json": body}
    refusal = await refused(client.request(method, place, headers=STALE, **body), 412, "precondition_failed")
    assert refusal["updated_at"] == before["updated_at"]
    assert await ok(client.get(place)) == before
    assert (await client.request(method, place, headers={"if-match": tag}, **body)).status_code in (200, 202, 204)
    if method != "delete":
        assert (await client.get(place)).headers["etag"] != tag


async def test_the_routes_with_a_version_are_these():
    kinds = {path.partition("/{")[0] for path, _ in CONDITIONAL}
    assert kinds == {*MAKE, "/v1/campaigns", "/v1/profiles", "/v1/connectors", "/v1/sending-rules"}


async def test_what_if_match_may_say(client: Any, keys: Any):
    place, _ = await make(client, "/v1/segments")
    tag = (await client.get(place)).headers["etag"]

    async def change(given: str, name: str) -> int:
        answer = await client.patch(place, json={"name": name}, headers={"if-match": given})
        return int(answer.status_code)

    assert await change("*", "one") == 200
    # Nothing but the time of the change was noted: the first tag names another version now.
    assert await change(tag, "two") == 412
    tag = (await client.get(place)).headers["etag"]
    assert await change(f"W/{tag}", "two") == 412
    assert await change(tag.strip('"'), "two") == 412
    assert await change(f'"other", {tag}', "two") == 200
    assert (await ok(client.get(place)))["name"] == "two"
    # A resource that does not exist, or is another workspace's, is not found whatever the header says.
    await refused(client.patch("/v1/segments/seg_0000000000000001", json={}, headers=STALE), 404, "not_found")
    stranger = bearer(keys.stranger) | STALE
    await refused(client.patch(place, json={"name": "theirs"}, headers=stranger), 404, "not_found")
    await refused(client.patch("/v1/workspace", json={"name": "x"}, headers=STALE), 400, "invalid_if_match")


async def test_the_audit_log_has_nothing_of_a_refused_change(client: Any):
    place, change = await make(client, "/v1/webhooks")
    await refused(client.patch(place, json=change, headers=STALE), 412, "precondition_failed")
    assert [one["action"] for one in (await ok(client.get("/v1/audit")))["data"]] == ["create_webhook"]
