"""The OpenAPI document describes all routes."""

import json
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.api.calling import add_user, make_webhook, ok, session_of, settled, track
from tests.authenticator import Authenticator
from tests.oidc import CLIENT_ID, CLIENT_SECRET, oidc_provider
from waypost.api.app import describe_api
from waypost.domain.accounts.permissions import Role
from waypost.domain.events.segment import KINDS
from waypost.domain.values.ids import public

DOCUMENT = describe_api()
OPERATIONS = [(path, method, op) for path, item in DOCUMENT["paths"].items() for method, op in item.items()]
NAMES = [f"{method} {path}" for path, method, _ in OPERATIONS]


def test_it_is_openapi_3_1():
    assert DOCUMENT["openapi"].startswith("3.1")
    assert DOCUMENT["info"]["title"] == "Waypost"
    assert DOCUMENT["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


def test_every_reference_leads_somewhere():
    for name in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(DOCUMENT)):
        assert name in DOCUMENT["components"]["schemas"]


@pytest.mark.parametrize("name", DOCUMENT["components"]["schemas"])
def test_schemas_are_json_schema_and_say_what_they_are(name):
    schema = DOCUMENT["components"]["schemas"][name]
    Draft202012Validator.check_schema(schema)
    assert schema.get("description") or "enum" in schema


def test_schemas_have_the_names_of_resources():
    """Clients are generated from the names: they have no module paths and no internal terms."""
    names = list(DOCUMENT["components"]["schemas"])
    assert [name for name in names if not re.fullmatch(r"[A-Z][A-Za-z]+", name)] == []
    assert [name for name in names if re.search(r"Shown|Given|Asked|Whole|PageOf|Wanted|^New", name)] == []


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS, ids=NAMES)
def test_every_operation_is_described(path, method, operation):
    assert operation["summary"]
    assert operation["description"]
    # Browsers are led elsewhere by single sign-on.
    done = ("303",) if "single_sign_on" in operation["operationId"] and path.endswith(("{id}", "/callback")) else ("2",)
    assert any(status.startswith(done) for status in operation["responses"])
    for status, response in operation["responses"].items():
        if not status.startswith(done):
            assert list(response["content"]) == ["application/problem+json"]
    named = set(re.findall(r"{(\w+)}", path))
    assert named == {parameter["name"] for parameter in operation.get("parameters", []) if parameter["in"] == "path"}


def test_operations_have_names_of_their_own():
    names = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(set(names)) == len(names)


def test_the_route_for_texts_is_in_it():
    operation = DOCUMENT["paths"]["/text/message/send"]["post"]
    schemes = DOCUMENT["components"]["securitySchemes"]
    (needed,) = operation["security"]
    assert {schemes[name]["name"] for name in needed} == {"X-Client-ID", "X-Client-Secret"}
    assert operation["responses"].keys() == {"200", "400", "401", "405", "409", "413", "429", "503"}
    assert DOCUMENT["components"]["schemas"]["SendText"]["required"] == ["text", "callbackData", "sendPurpose"]


def test_the_segment_routes_are_in_it():
    assert {f"/v1/{kind}" for kind in (*KINDS, "batch")} <= DOCUMENT["paths"].keys()


async def test_it_is_served_to_anybody(client):
    answer = await client.get("/openapi.json", headers={"authorization": ""})
    assert answer.json() == DOCUMENT
    assert (await client.get("/openapi.json")).content == answer.content


async def add_passkey(browser, session):
    """Add a passkey in a session; return its id."""
    options = await ok(browser.post("/v1/users/me/passkeys/challenge", headers=session))
    body = {"credential": Authenticator().make(options), "name": "Laptop"}
    return (await ok(browser.post("/v1/users/me/passkeys", json=body, headers=session), 201))["id"]


async def test_answers_are_as_described(client, browser, hook, engine, keys):
    made = await make_webhook(client, hook)
    await track(client, 2)
    await settled(client, made, delivered=2)
    place = f"/v1/webhooks/{made['id']}"
    await ok(client.post(f"{place}/replay", json={"since": "2020-06-01T00:00:00Z"}), 202)
    delivery = (await ok(client.get(f"{place}/deliveries")))["data"][0]
    event = (await ok(client.get("/v1/events")))["data"][0]
    config = {"host": "127.0.0.1", "port": 9, "security": "none", "from_email": "shop@example.com"}
    connection = {"name": "Mail", "connector": "smtp", "config": config, "skip_check": True}
    template = {"name": "Thanks", "channel": "email", "subject": "Thanks", "html": "<p>{{ person.first_name }}</p>"}
    ids = {
        "webhooks": made["id"],
        "deliveries": delivery["id"],
        "events": event["id"],
        "profiles": event["profile_id"],
        "metrics": (await ok(client.get("/v1/metrics")))["data"][0]["id"],
        "connectors": "aws-pinpoint",
        "connections": (await ok(client.post("/v1/connections", json=connection), 201))["id"],
        "templates": (await ok(client.post("/v1/templates", json=template), 201))["id"],
        "webhook-formats": "pinpointe",
        "lists": (await ok(client.post("/v1/lists", json={"name": "News"}), 201))["id"],
        "segments": (await ok(client.post("/v1/segments", json={"name": "A", "condition": {"tag": "a"}}), 201))["id"],
    }
    file = {"content": b"email\nada@example.com\n", "headers": {"content-type": "text/csv"}}
    ids["imports"] = (await ok(client.post("/v1/imports", **file), 202))["id"]
    message = {"template_id": ids["templates"], "to": "ada@example.com", "variables": {"x": 1}}
    ids["messages"] = (await ok(client.post("/v1/messages", json=message), 202))["id"]
    address = {"channel": "email", "address": "bob@example.com"}
    await ok(client.post("/v1/suppressions", json=address), 201)
    await ok(client.put("/v1/subscriptions", json=address | {"state": "subscribed"}))
    text_client = {"name": "Klaviyo", "callback": {"kind": "webhook", "url": hook}}
    campaign: dict[str, Any] = {"name": "Spring", "channel": "email", "template_id": ids["templates"]}
    campaign["audience"] = {"profiles": [event["profile_id"]]}
    ids["campaigns"] = (await ok(client.post("/v1/campaigns", json=campaign), 201))["id"]
    ids["senders"] = (await ok(client.post("/v1/senders", json={"address": "shop@example.com"}), 201))["id"]
    ids["text-clients"] = (await ok(client.post("/v1/text-clients", json=text_client), 201))["id"]
    user = await add_user(engine, keys.workspace_id, Role.OWNER)
    ids["users"], session = public("usr", user), await session_of(engine, user)
    ids["passkeys"] = await add_passkey(browser, session)
    with oidc_provider() as provider:
        sign_on = {"issuer": provider.issuer, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        await ok(client.put("/v1/workspace/single-sign-on", json=sign_on | {"domains": ["example.com"]}))
    checked = 0
    for path, method, operation in OPERATIONS:
        if method != "get" or operation["operationId"] in (
            "metrics",
            "get_webhook_public_key",
            "get_replay",
            "get_connection_iam_policy",
            "get_import_errors",
            "begin_single_sign_on",
            "finish_single_sign_on",
        ):
            continue
        real = re.sub(r"(?<=/)([a-z-]+)/{(?:id|name)}", lambda found: f"{found[1]}/{ids[found[1]]}", path)
        real = real.replace("{channel}", "email")
        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
        whole = schema | {"components": DOCUMENT["components"]}
        of_address = ("get_consent", "get_subscription", "list_subscription_history")
        query = address if operation["operationId"] in of_address else {}
        if operation["operationId"] == "find_single_sign_on":
            query = {"domain": "example.com"}
        with_session = operation.get("security") == [{"session": []}]
        asked = browser.get(real, headers=session) if with_session else client.get(real, params=query)
        Draft202012Validator(whole).validate(await ok(asked))
        checked += 1
    assert checked > 30
