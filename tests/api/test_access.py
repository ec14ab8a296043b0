"""Every route of the control API refuses requests without a key, without the scope, and for other workspaces."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.api.calling import add_user, bearer, eventually, make_webhook, ok, refused, session_of, settled, track
from tests.oidc import CLIENT_ID, CLIENT_SECRET, oidc_provider
from waypost.api.app import describe_api
from waypost.api.control.webhooks import mask
from waypost.domain.accounts.permissions import NAMES as PERMISSIONS
from waypost.domain.accounts.permissions import Role, role_permissions
from waypost.domain.values.ids import public

DOCUMENT = describe_api()
OPERATIONS = [
    (method, path, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if "x-permission" in operation
]
NAMES = [f"{method.upper()} {path}" for method, path, _ in OPERATIONS]
DEFINITION = """\
name = "own-gateway"
label = "Own gateway"
channel = "sms"
method = "POST"
base_url = "https://sms.example.com"
path = "/send"
[body]
text = "{{ message.text }}"
[[answers]]
status = "2xx"
outcome = "accepted"
"""
#: Bodies that are not JSON.
FILES = {"start_import": (b"email\nada@example.com\n", "text/csv")}
#: An import of one row is over at once; no key deletes a workspace, or has an address for a test mail.
REFUSED = {"cancel_import": 409, "delete_workspace": 403, "send_test_mail": 403}
each_operation = pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=NAMES)
#: The simulated provider refuses every message to this number.
FAILS = "+12025550007"
#: Bodies for routes where an empty object is not valid; `{connections}` stands for the id of the connection.
BODIES: dict[str, dict[str, Any]] = {
    "create_connection": {
        "name": "Mail",
        "connector": "smtp",
        "config": {"host": "127.0.0.1", "from_email": "shop@example.com"},
    },
    "create_key": {"name": "another", "scopes": ["read"]},
    "create_invitation": {"email": "grace@example.com", "role": "marketer"},
    "update_user": {"role": "marketer"},
    "create_connector": {"definition": DEFINITION.replace("own-gateway", "another-gateway")},
    "create_suppression": {"channel": "sms", "address": "+12025550199"},
    "set_subscription": {"channel": "sms", "address": "+12025550199", "state": "subscribed"},
    "set_subscription_batch": {
        "subscriptions": [{"channel": "sms", "address": "+12025550199", "state": "unsubscribed"}]
    },
    "set_profile_subscription": {"state": "subscribed"},
    "set_consent": {"channel": "sms", "address": "+12025550199", "state": "opted_in"},
    "create_template": {"name": "Thanks", "channel": "sms", "text": "Thank you"},
    "update_template": {"text": "Thank you very much"},
    "preview_content": {"channel": "sms", "content": {"text": "Thank you"}},
    "send_message": {"channel": "sms", "to": "+12025550101", "text": "Hello"},
    "send_message_batch": {"messages": [{"channel": "sms", "to": "+12025550101", "text": "Hello"}]},
    "create_text_client": {"name": "Another"},
    "create_sender": {"address": "another@example.com"},
    "preview_text": {"client_id": "{text-clients}", "body": {"text": "Hello"}},
    "send_trial_text": {
        "client_id": "{text-clients}",
        "body": {"phone": "", "text": "Hello", "callbackData": '{"profileID": "01K"}', "sendPurpose": "Hello"},
        "to": "+12025550101",
    },
    "set_profile": {"user_id": "grace"},
    "make_list": {"name": "Another"},
    "add_members": {"people": [{"user_id": "ada"}]},
    "remove_people": {"people": [{"user_id": "ada"}]},
    "create_segment": {"name": "Another", "condition": {"tag": "vip"}},
    "preview_segment": {"condition": {"tag": "vip"}},
    "create_webhook_format": {"name": "Another", "body": {"kind": "{{ event.type }}"}},
    "preview_webhook_format": {"format": "{webhook-formats}", "event_id": "{events}"},
    "create_campaign": {"name": "Another", "channel": "sms"},
    "test_campaign": {"to": ["+12025550101"]},
    "create_webhook": {"url": "http://127.0.0.1:9/", "event_types": ["*"]},
    "order_connections": {"channel": "sms", "connections": ["{connections}"]},
    "start_replay": {"since": "2020-01-01T00:00:00Z"},
    "test_connection": {"to": "+12025550101", "text": "Hello"},
    "set_single_sign_on": {
        "issuer": "{issuer}",
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "domains": ["example.com"],
    },
    "check_single_sign_on": {"issuer": "{issuer}"},
}


@pytest.fixture(scope="module")
def issuer():
    """A provider of single sign-on."""
    with oidc_provider() as found:
        yield found.issuer


@pytest.fixture
async def world(client, hook, sink, engine, keys, issuer):
    """Create one resource of each kind; return their paths."""
    await ok(client.post("/v1/identify", json={"userId": "ada", "traits": {"phone": "+12025550197"}}))
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
    config = {"region": "us-east-1", "project_id": "shop", "access_key": "AKIAIOSFODNN7EXAMPLE", "secret_key": "secret"}
    asked = {"name": "Pinpoint", "connector": "aws-pinpoint", "config": config | {"endpoint_url": sink.url}}
    connection = await ok(client.post("/v1/connections", json=asked | {"skip_check": True}), 201)
    await ok(client.post("/v1/connectors", json={"definition": DEFINITION}), 201)
    template = await ok(client.post("/v1/templates", json=BODIES["create_template"] | {"name": "Hello"}), 201)
    await ok(client.post("/v1/suppressions", json={"channel": "sms", "address": "+12025550198"}), 201)
    statement = {"channel": "sms", "address": "+12025550198", "state": "unsubscribed"}
    await ok(client.put("/v1/subscriptions", json=statement))
    sender = await ok(client.post("/v1/senders", json={"address": "shop@example.com"}), 201)
    text_client = await ok(client.post("/v1/text-clients", json={"name": "Klaviyo"}), 201)
    later = {"channel": "sms", "to": "+12025550101", "text": "Hello", "send_at": "2027-06-01T00:00:00Z"}
    message = await ok(client.post("/v1/messages", json=later), 202)
    failing = await ok(client.post("/v1/messages", json={**later, "to": FAILS, "send_at": None}), 202)

    async def failed():
        return (await ok(client.get(f"/v1/messages/{failing['id']}")))["status"] == "failed"

    assert await eventually(failed)
    people = [(await ok(client.post("/v1/profiles", json={"user_id": name})))["id"] for name in ("grace", "alan")]
    settings = {
        "name": "Spring",
        "channel": "sms",
        "template_id": template["id"],
        "audience": {"profiles": people},
        "schedule": {"kind": "at", "at": (datetime.now(UTC) + timedelta(days=30)).isoformat()},
    }
    campaigns = [(await ok(client.post("/v1/campaigns", json=settings), 201))["id"] for _ in range(3)]
    for campaign in campaigns[1:]:
        await ok(client.post(f"/v1/campaigns/{campaign}/launch"))
    await ok(client.post(f"/v1/campaigns/{campaigns[2]}/pause"))
    listed = await ok(client.post("/v1/lists", json={"name": "News"}), 201)
    segment = await ok(client.post("/v1/segments", json={"name": "Pro", "condition": {"tag": "vip"}}), 201)
    format_ = await ok(client.post("/v1/webhook-formats", json={"name": "Own", "body": {"a": "{{ event.type }}"}}), 201)
    content, kind = FILES["start_import"]
    imported = await ok(client.post("/v1/imports", content=content, headers={"content-type": kind}), 202)

    invitation = await ok(client.post("/v1/invitations", json={"email": "alan@example.com"}), 201)
    sign_on = body_of({"operationId": "set_single_sign_on"}, {"issuer": issuer})
    await ok(client.put("/v1/workspace/single-sign-on", json=sign_on))
    user = await add_user(engine, keys.workspace_id, Role.VIEWER)

    async def over():
        return (await ok(client.get(f"/v1/imports/{imported['id']}")))["state"] != "running"

    assert await eventually(over)
    return {
        "campaigns": campaigns[0],
        "scheduled": campaigns[1],
        "paused": campaigns[2],
        "lists": listed["id"],
        "segments": segment["id"],
        "webhook-formats": format_["id"],
        "imports": imported["id"],
        "connectors": "own-gateway",
        "connections": connection["id"],
        "templates": template["id"],
        "messages": message["id"],
        "failed": failing["id"],
        "webhooks": webhook["id"],
        "deliveries": delivery["id"],
        "events": event["id"],
        "profiles": event["profile_id"],
        "metrics": (await ok(client.get("/v1/metrics")))["data"][0]["id"],
        "replays": replay["id"],
        "keys": key["id"],
        "users": public("usr", user),
        "invitations": invitation["id"],
        "text-clients": text_client["id"],
        "senders": sender["id"],
        "issuer": issuer,
    }


def place(method, path, world):
    """Return the path of an existing resource."""
    of_address = ("/v1/consents", "/v1/subscriptions", "/v1/subscriptions/history")
    if (method, path) == ("delete", "/v1/suppressions") or (method == "get" and path in of_address):
        return f"{path}?channel=sms&address=%2B12025550198"
    path = path.replace("{channel}", "sms").replace("{tag}", "vip")
    if path.startswith("/v1/campaigns/") and path.endswith(("/unschedule", "/pause", "/cancel")):
        return path.replace("{id}", world["scheduled"])
    if path.startswith("/v1/campaigns/") and path.endswith("/resume"):
        return path.replace("{id}", world["paused"])
    if path.endswith("/resend"):
        return f"/v1/messages/{world['failed']}/resend"
    return re.sub(r"/v1/([a-z-]+)/\{(?:id|name)\}", lambda found: f"/v1/{found[1]}/{world[found[1]]}", path)


def body_of(operation, world):
    """Return the body of a request."""
    text = json.dumps(BODIES.get(operation["operationId"]))
    names = "connections|text-clients|webhook-formats|events|issuer"
    return json.loads(re.sub(rf"\{{({names})\}}", lambda found: world[found[1]], text))


def sent(operation, world):
    """Return what a request is sent with: JSON, or a file."""
    if operation["operationId"] in FILES:
        content, kind = FILES[operation["operationId"]]
        return {"content": content}, {"content-type": kind}
    return {"json": body_of(operation, world)}, {}


def test_there_is_something_to_try():
    assert len(OPERATIONS) > 60
    assert mask("abcdef") != "abcdef"


@each_operation
async def test_nobody_gets_in_without_a_key(method, path, operation, client):
    place_ = path.replace("{id}", "whk_0000000000000001")
    for headers in ({"authorization": ""}, bearer("wpk_made_up"), {"authorization": "Basic !"}):
        problem = await refused(client.request(method, place_, headers=headers), 401, "unauthorized")
        assert "key" in problem["detail"].lower()


@each_operation
async def test_a_key_may_do_what_its_scopes_say_and_no_more(method, path, operation, client, keys, world):
    place_, (body, kind) = place(method, path, world), sent(operation, world)
    await refused(client.request(method, place_, headers=bearer(keys.ingest) | kind, **body), 403, "forbidden")
    reads = operation["x-permission"].endswith(".read")
    if not reads:
        await refused(client.request(method, place_, headers=bearer(keys.read) | kind, **body), 403, "forbidden")
    answer = await client.request(method, place_, headers=bearer(keys.read if reads else keys.manage) | kind, **body)
    known = REFUSED.get(operation["operationId"])
    assert answer.status_code == known if known else answer.status_code < 300, answer.text
    assert str(answer.status_code) in operation["responses"]


@each_operation
async def test_another_workspace_sees_and_changes_nothing(method, path, operation, client, keys, world):
    place_, (body, kind) = place(method, path, world), sent(operation, world)
    answer = await client.request(method, place_, headers=bearer(keys.stranger) | kind, **body)
    if path.endswith(("{id}", "{name}")) or "{id}/" in path:
        assert answer.status_code == 404, answer.text
        assert answer.json()["code"] == "not_found" or answer.json()["code"].startswith("unknown_")
    elif method == "get":
        assert not any(id_ in answer.text for id_ in world.values())


def test_every_route_is_public_one_of_users_or_names_a_permission():
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            if operation.get("security") is None:
                assert operation["x-permission"] in PERMISSIONS, (method, path)


async def test_each_role_may_do_what_the_table_says(browser, engine, keys):
    """Every route with a session of each role, of a member of another workspace, and of somebody in none."""
    wrong = []
    for role in [*Role, None]:
        user_id = await add_user(engine, keys.workspace_id, role)
        headers = await session_of(engine, user_id)
        for method, path, operation in OPERATIONS:
            place_ = re.sub(r"\{(\w+)\}", lambda found: "sms" if found[1] == "channel" else "nothing", path)
            answer = await browser.request(method, place_, headers=headers, json={})
            allowed = role is not None and operation["x-permission"] in role_permissions(role)
            refused_ = answer.status_code == 403 and answer.json()["code"] in ("forbidden", "no_workspace")
            if answer.status_code == 401 or refused_ == allowed or answer.status_code >= 500:
                wrong.append((role, method, path, answer.status_code, answer.text))
        elsewhere = headers | {"waypost-workspace": public("ws", keys.workspace_id + 1)}
        await refused(browser.get("/v1/lists", headers=elsewhere), 404, "no_such_workspace")
    assert not wrong


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
