"""Connectors over the API, and the guide for adding one, followed exactly."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.calling import Keys, bearer, eventually, ok, refused
from waypost.clock import now_us
from waypost.engine.providers.connectors import definitions
from waypost.sink.thread_runner import Running
from waypost.storage.database import Tx

GUIDE = Path(__file__).parents[3] / "docs" / "howto" / "add-a-provider.md"
SMALL = """\
name = "acme"
label = "Acme"
channel = "sms"
base_url = "https://api.acme.example"
answers = [{ status = 200, outcome = "accepted" }]
"""


def define(text: str) -> dict[str, str]:
    return {"definition": text}


async def test_the_shipped_connectors_are_listed(client):
    found = await ok(client.get("/v1/connectors"))
    assert found["next"] is None
    assert {one["name"]: one["own"] for one in found["data"]} == dict.fromkeys(definitions(), False)
    (pinpoint,) = [one for one in found["data"] if one["name"] == "aws-pinpoint"]
    fields = {field["name"]: field for field in pinpoint["fields"]}
    assert fields["secret_key"]["secret"]
    assert fields["region"]["required"]
    assert not fields["message_type"]["required"]
    assert (pinpoint["channel"], pinpoint["batch_size"], pinpoint["callback"]) == ("sms", 100, "firehose")
    urls = {one["name"]: one["tracker_urls"] for one in found["data"]}
    assert urls["aws-pinpoint"].keys() == {"global"}
    assert urls["aws-pinpoint"]["global"].endswith("/tracking/amazon-pinpoint-events")
    assert urls["twilio"] == {}


@pytest.mark.parametrize("name", sorted(definitions()))
async def test_a_shipped_connector_shows_its_definition(client, name):
    found = await ok(client.get(f"/v1/connectors/{name}"))
    assert tomllib.loads(found["definition"])["name"] == name


async def test_an_own_connector_is_added_replaced_and_deleted(client):
    made = await ok(client.post("/v1/connectors", json=define(SMALL)), 201)
    assert (made["name"], made["own"], made["definition"]) == ("acme", True, SMALL)
    changed = SMALL.replace('"Acme"', '"Acme 2"')
    assert (await ok(client.post("/v1/connectors", json=define(changed))))["created_at"] == made["created_at"]
    assert (await ok(client.get("/v1/connectors/acme")))["label"] == "Acme 2"
    assert (await ok(client.get("/v1/connectors")))["data"][0]["name"] == "acme"
    assert (await client.delete("/v1/connectors/acme")).status_code == 204
    await refused(client.get("/v1/connectors/acme"), 404, "unknown_connector")
    await refused(client.delete("/v1/connectors/acme"), 404, "unknown_connector")


async def test_a_connector_that_cannot_be_read_any_more_does_not_hide_the_others(client, engine, keys):
    async def write(tx: Tx) -> int:
        return await tx.run(
            "connectors.put", workspace_id=keys.workspace_id, name="old", definition='name = "old"', now=now_us()
        )

    await engine.database.transact(write)
    listed = (await ok(client.get("/v1/connectors")))["data"]
    assert {connector["name"] for connector in listed} == set(definitions())


async def test_an_own_connector_hides_the_shipped_one_of_its_name(client):
    text = SMALL.replace('"acme"', '"twilio"')
    await ok(client.post("/v1/connectors", json=define(text)), 201)
    assert (await ok(client.get("/v1/connectors/twilio")))["label"] == "Acme"
    names = [one["name"] for one in (await ok(client.get("/v1/connectors")))["data"]]
    assert sorted(names) == sorted(definitions())
    assert (await client.delete("/v1/connectors/twilio")).status_code == 204
    assert (await ok(client.get("/v1/connectors/twilio")))["label"] == "Twilio"


async def test_a_bad_definition_is_refused_with_line_and_reason(client):
    problem = await refused(
        client.post("/v1/connectors", json=define(SMALL.replace("sms", "fax"))), 400, "invalid_connector"
    )
    assert problem["line"] == 3
    assert "channel" in problem["reason"]
    await refused(client.post("/v1/connectors", json=define(SMALL + "x")), 400, "invalid_connector")
    await refused(client.post("/v1/connectors", json=define("# " + "x" * 70_000)), 400, "invalid_body")
    await refused(client.post("/v1/connectors", json={}), 400, "invalid_body")
    shipped = define(definitions()["aws-pinpoint"])
    assert "driver" in (await refused(client.post("/v1/connectors", json=shipped), 400, "invalid_connector"))["reason"]


async def test_a_shipped_connector_cannot_be_deleted(client):
    await refused(client.delete("/v1/connectors/twilio"), 404, "unknown_connector")


async def test_a_workspace_adds_so_many(client):
    for number in range(100):
        text = SMALL.replace('"acme"', f'"acme-{number}"')
        await ok(client.post("/v1/connectors", json=define(text)), 201)
    await refused(client.post("/v1/connectors", json=define(SMALL)), 409, "too_many_connectors")
    await ok(client.post("/v1/connectors", json=define(SMALL.replace('"acme"', '"acme-7"'))))


async def test_strangers_and_readers(client, keys: Keys):
    await ok(client.post("/v1/connectors", json=define(SMALL)), 201)
    stranger, reader = bearer(keys.stranger), bearer(keys.read)
    await refused(client.get("/v1/connectors/acme", headers=stranger), 404, "unknown_connector")
    await refused(client.delete("/v1/connectors/acme", headers=stranger), 404, "unknown_connector")
    assert (await ok(client.get("/v1/connectors/acme", headers=reader)))["name"] == "acme"
    assert (await client.post("/v1/connectors", json=define(SMALL), headers=reader)).status_code == 403
    assert (await client.delete("/v1/connectors/acme", headers=reader)).status_code == 403


async def test_a_repeat_gets_the_first_answer(client):
    headers = {"idempotency-key": "k"}
    first = await client.post("/v1/connectors", json=define(SMALL), headers=headers)
    again = await client.post("/v1/connectors", json=define(SMALL), headers=headers)
    assert (first.status_code, first.content) == (again.status_code, again.content) == (201, first.content)


# The guide.


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)


def at_the_sink(text: str, sink: Running) -> str:
    return text.replace("http://localhost:8090", sink.url)


async def connect(client: httpx.AsyncClient, sink: Running) -> dict[str, Any]:
    """Follow the guide: post the definition, and create a connection with it."""
    (definition,) = blocks("toml")
    await ok(client.post("/v1/connectors", json=define(definition)), 201)
    (wanted,) = [json.loads(block) for block in blocks("json") if '"connector"' in block]
    wanted["config"]["url"] = at_the_sink(wanted["config"]["url"], sink)
    made: dict[str, Any] = await ok(client.post("/v1/connections", json=wanted), 201)
    return made


async def test_the_guide_leads_to_a_message_at_the_provider(client, sink: Running):
    made = await connect(client, sink)
    (message,) = [json.loads(block) for block in blocks("json") if '"text"' in block]
    sent = await ok(client.post("/v1/messages", json=message | {"connection_id": made["id"]}), 202)

    async def arrived() -> Any:
        async with httpx.AsyncClient(base_url=sink.url) as asking:
            return (await asking.get("/received?name=postcard")).json()["data"]

    (received,) = await eventually(arrived)
    body = json.loads(received["body"])
    assert body.pop("report_to").endswith(f"/receipts/{made['id']}")
    assert body == {"recipient": message["to"], "body": message["text"], "reference": sent["id"]}
    told = {name.lower(): value for name, value in received["headers"].items()}
    assert told["x-postcard-key"] == "pk-12345"

    async def settled() -> Any:
        found = await ok(client.get(f"/v1/messages/{sent['id']}"))
        return found if found["status"] == "sent" else None

    assert (await eventually(settled))["provider_message_id"] is None


async def test_what_uses_a_connector_keeps_it(client, sink: Running):
    made = await connect(client, sink)
    (definition,) = blocks("toml")
    name = tomllib.loads(definition)["name"]
    await refused(client.delete(f"/v1/connectors/{name}"), 409, "connector_in_use")
    other = definition.replace('channel = "sms"', 'channel = "email"')
    await refused(client.post("/v1/connectors", json=define(other)), 409, "connector_in_use")
    await ok(client.post("/v1/connectors", json=define(definition)))
    assert (await client.delete(f"/v1/connections/{made['id']}")).status_code == 204
    assert (await client.delete(f"/v1/connectors/{name}")).status_code == 204


async def test_a_definition_that_live_connections_lack_something_for_pauses_them(client, engine, keys: Keys):
    await ok(client.post("/v1/connectors", json=define(SMALL)), 201)
    wanted = {"connector": "acme", "config": {}}
    first, second, off = [
        await ok(client.post("/v1/connections", json=wanted | {"name": name}), 201) for name in ("1st", "2nd", "off")
    ]
    await ok(client.post(f"/v1/connections/{off['id']}/disable"))
    needing = SMALL + '[[fields]]\nname = "token"\nlabel = "Token"\n'
    await ok(client.post("/v1/connectors", json=define(needing)))
    for made in (first, second):
        found = await ok(client.get(f"/v1/connections/{made['id']}"))
        assert (found["status"], found["status_reason"]) == ("paused", "definition_changed")
        assert found["last_error"] == "Token (token) is required."
        await refused(client.post(f"/v1/connections/{made['id']}/enable"), 400, "invalid_config")
    assert (await ok(client.get(f"/v1/connections/{off['id']}")))["status"] == "disabled"
    assert engine.connections.for_channel(keys.workspace_id, "sms") == []
    notices = (await ok(client.get("/v1/notices")))["data"]
    assert len(notices) == 2
    assert {one["subject"] for one in notices} == {f"The connection '{name}' was paused" for name in ("1st", "2nd")}
    assert all("Token (token) is required" in one["body"] for one in notices)
    # Corrected one by one, by the missing field.
    mended = await ok(client.patch(f"/v1/connections/{first['id']}", json={"config": {"token": "t"}}))
    assert (mended["status"], mended["status_reason"]) == ("enabled", None)
    assert len(engine.connections.for_channel(keys.workspace_id, "sms")) == 1
    # And all together, by a definition for which they have all fields.
    await ok(client.post("/v1/connectors", json=define(needing + 'default = "none"\n')))
    assert (await ok(client.get(f"/v1/connections/{second['id']}")))["status"] == "enabled"
    assert (await ok(client.get(f"/v1/connections/{off['id']}")))["status"] == "disabled"
    assert len(engine.connections.for_channel(keys.workspace_id, "sms")) == 2


async def test_a_connection_can_be_asked_for_where_connectors_are_made(client, sink: Running):
    wanted = {"name": "Gateway", "connector": "http", "config": {"url": f"{sink.url}/hook/x"}}
    made = await ok(client.post("/v1/connectors", json=wanted), 201)
    assert (made["name"], made["connector"]) == ("Gateway", "http")
    assert (await ok(client.get(f"/v1/connections/{made['id']}")))["id"] == made["id"]
