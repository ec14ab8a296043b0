"""Campaigns to another system: a payload per person, or one for several people, through a connector of one's own."""

import json

import httpx
import pytest

from tests.api.calling import eventually, ok
from tests.api.control.campaigns.outreach import Outreach
from tests.engine.conftest import Outside
from tests.engine.mailserver import MailServer
from waypost.sink.thread_runner import Running

CONNECTOR = """
name = "crm"
label = "CRM"
channel = "event"
base_url = "{{ config.url }}"
path = "/hook/crm"
batch_size = %d
[body]
%s
[[answers]]
status = "2xx"
outcome = "accepted"
[[fields]]
name = "url"
label = "URL"
format = "url"
"""
SINGLE = 'email = "{{ recipient.email }}"\nplan = "{{ message.properties.plan }}"'
SEVERAL = 'people = { "$each" = "messages", email = "{{ recipient.email }}", plan = "{{ message.properties.plan }}" }'


@pytest.mark.parametrize(("size", "body", "calls"), [(1, SINGLE, 7), (3, SEVERAL, 3)])
async def test_a_payload_per_person_or_per_batch_of_people(
    client: httpx.AsyncClient, sink: Running, size: int, body: str, calls: int
) -> None:
    outside = Outside(sink)
    outside.ask("DELETE", "/received")
    definition = {"definition": CONNECTOR % (size, body)}
    await ok(client.post("/v1/connectors", json=definition), 201)
    connection = {"name": "CRM", "connector": "crm", "config": {"url": sink.url}, "concurrency": 1}
    connected = await ok(client.post("/v1/connections", json=connection), 201)
    template = {
        "name": "To the CRM",
        "channel": "event",
        "metric": "Chosen",
        "properties": {"plan": "{{ person.plan }}"},
    }
    made = await ok(client.post("/v1/templates", json=template), 201)
    outreach = Outreach(client, MailServer(), made["id"], connected["id"])
    people = [await outreach.person(plan=f"plan-{n}") for n in range(7)]
    campaign = await outreach.launched(people, channel="webhook")
    await outreach.came_to(campaign, "finished")

    async def arrived() -> list[list[dict[str, str]]] | None:
        bodies = [json.loads(one["body"]) for one in outside.received("crm")]
        parts = [one.get("people", [one]) for one in bodies]
        return parts if sum(map(len, parts)) >= 7 else None

    found = await eventually(arrived)
    assert len(found) == calls
    assert sorted((one["email"], one["plan"]) for part in found for one in part) == [
        (f"user-{n + 1}@example.com", f"plan-{n}") for n in range(7)
    ]
    assert (await outreach.overview(campaign))["sent"] == 7
