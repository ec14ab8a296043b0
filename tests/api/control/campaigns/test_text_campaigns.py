"""Campaigns by text over HTTP: previews and tests are as what people get, and what people do is counted."""

import asyncio
import re
from typing import Any

import httpx
import pytest

from tests.api.calling import eventually, ok
from tests.api.control.campaigns.outreach import Outreach
from tests.engine.mailserver import MailServer
from waypost.engine.process import Engine
from waypost.sink.thread_runner import Running

BASE = "http://127.0.0.1:8080"
SHORT = rf"{BASE}(/c/[0-9A-Za-z]{{9}})"
TEXT = "{{ person.first_name }}{{ gap }}, look: https://shop.example/sale?x=1"
LEAVING = "{{ person.first_name }}, look: https://shop.example/sale?x=1 or leave: {{ unsubscribe_url }}"
OPT_OUT = "Reply STOP to opt out"
PHONE = {"user-agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Mobile Safari/604.1"}


@pytest.fixture
async def outreach(client: httpx.AsyncClient, sink: Running) -> Outreach:
    """A workspace that sends texts through the sink."""
    config = {"account_sid": "AC" + "0" * 32, "auth_token": "t", "from": "+12025550100", "host": f"{sink.url}/twilio"}
    connection = {"name": "Texts", "connector": "twilio", "config": config, "skip_check": True}
    made = await ok(client.post("/v1/connections", json=connection), 201)
    await ok(client.put("/v1/tracking", json={"utm": {"source": "sms"}, "opt_out_text": OPT_OUT}))
    return Outreach(client, MailServer(), await template(client, TEXT), made["id"])


async def template(client: httpx.AsyncClient, text: str) -> str:
    """Create a template of a text; return its id."""
    made = await ok(client.post("/v1/templates", json={"name": "Sale", "channel": "sms", "text": text}), 201)
    return str(made["id"])


async def sent(client: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    """Return the messages of a query with their contents."""
    found = (await ok(client.get("/v1/messages", params=query)))["data"]
    return [await ok(client.get(f"/v1/messages/{one['id']}")) for one in found]


async def test_a_preview_and_a_test_are_as_what_people_get(client: httpx.AsyncClient, outreach: Outreach) -> None:
    ada = await outreach.person(phone="+12025550141")
    made = await outreach.draft([ada], channel="sms")
    shown = await ok(client.post(f"/v1/campaigns/{made['id']}/preview", json={"profile_id": ada}))
    assert [one["name"] for one in shown["undefined"]] == ["gap"]
    text = shown["content"]["text"]
    assert text.startswith("P1⟦gap⟧, look: ")
    assert "shop.example" not in text
    assert text.endswith(f"\n{OPT_OUT}")
    assert re.search(SHORT, text)

    body = {"to": ["+12025550142"], "profile_ids": [ada]}
    assert (await ok(client.post(f"/v1/campaigns/{made['id']}/test", json=body), 202))["accepted"] == 2
    texts = [one["content"]["text"] for one in await sent(client)]
    assert len({re.search(SHORT, one)[1] for one in texts if re.search(SHORT, one)}) == 2  # type: ignore[index]
    for one in texts:
        assert one.endswith(f"\n{OPT_OUT}")
        found = re.search(SHORT, one)
        assert found is not None
        went = await client.get(found[1])
        assert went.headers["location"] == "https://shop.example/sale?x=1&utm_source=sms&utm_campaign=Spring"
    # What is measured is what is sent.
    assert shown["sms"]["characters"] == len(next(one for one in texts if one.startswith("P1")))


async def test_clicks_and_unsubscribes_of_texts_are_counted(
    client: httpx.AsyncClient, engine: Engine, outreach: Outreach
) -> None:
    ada, bob = await outreach.person(phone="+12025550151"), await outreach.person(phone="+12025550152")
    leaving = await template(client, LEAVING)
    made = await outreach.launched([ada, bob], channel="sms", template_id=leaving)
    await outreach.came_to(made, "finished")
    first, second = [one["content"]["text"] for one in await sent(client)]
    assert first != second
    # It says how to leave, so nothing is added.
    assert OPT_OUT not in first
    link = re.search(SHORT, first)
    assert link is not None
    leave = await client.get(re.findall(SHORT, second)[1], headers=PHONE)
    assert re.fullmatch(rf"{BASE}/u/[\w-]+", leave.headers["location"])
    answer = await client.get(link[1], headers=PHONE)
    assert answer.headers["location"].startswith("https://shop.example/sale?x=1")
    assert (await client.post(leave.headers["location"], content=b"List-Unsubscribe=One-Click")).status_code == 200

    async def counted() -> Any:
        found = await outreach.overview(made)
        clicks = found["clicks"]
        return found if clicks["total"] + clicks["machine"] == 1 and found["unsubscribes"] == 1 else None

    found = await eventually(counted)
    assert [one["url"] for one in found["clicks"]["links"]] == [
        "https://shop.example/sale?x=1&utm_source=sms&utm_campaign=Spring"
    ]


@pytest.mark.parametrize("purpose", ["promotional", "transactional"])
async def test_only_promotional_texts_say_how_to_opt_out(
    client: httpx.AsyncClient, outreach: Outreach, purpose: str
) -> None:
    made = await outreach.draft([await outreach.person(phone="+12025550161")], channel="sms", purpose=purpose)
    shown = await ok(client.post(f"/v1/campaigns/{made['id']}/preview", json={}))
    assert (OPT_OUT in shown["content"]["text"]) is (purpose == "promotional")


async def test_a_preview_that_says_how_to_leave_gets_no_more_words(
    client: httpx.AsyncClient, outreach: Outreach
) -> None:
    ada = await outreach.person(phone="+12025550171")
    made = await outreach.draft([ada], channel="sms", template_id=await template(client, LEAVING))
    shown = await ok(client.post(f"/v1/campaigns/{made['id']}/preview", json={"profile_id": ada}))
    await ok(client.post(f"/v1/campaigns/{made['id']}/test", json={"profile_ids": [ada]}), 202)
    (one,) = await sent(client)
    assert OPT_OUT not in shown["content"]["text"]
    assert shown["sms"]["characters"] == len(one["content"]["text"])


async def test_a_cap_holds_over_two_campaigns_a_flow_and_messages_at_once(
    client: httpx.AsyncClient, outreach: Outreach
) -> None:
    """Everybody gets two promotional texts of five, whoever asks for them; what is transactional passes."""
    cap = {"limit": 2, "within": "1d", "channel": "sms", "purpose": "promotional"}
    await ok(client.put("/v1/sending-rules", json={"frequency_caps": [cap]}))
    numbers = [f"+120255501{n}" for n in range(81, 89)]
    people = [await outreach.person(phone=number) for number in numbers]
    for number in numbers:
        consent = {"channel": "sms", "address": number, "state": "subscribed", "source": "test"}
        await ok(client.put("/v1/subscriptions", json=consent))
    flow = await ok(client.post("/v1/text-clients", json={"name": "flow", "check_links": "never"}), 201)
    headers = {"authorization": "", "x-client-id": flow["client_id"], "x-client-secret": flow["client_secret"]}
    campaigns = [await outreach.draft(people, channel="sms", name=name) for name in ("One", "Two")]

    async def text(number: str) -> None:
        body = {"phone": number, "text": "Hi", "callbackData": '{"profileID":"p"}', "sendPurpose": "promotional"}
        await ok(client.post("/text/message/send", json=body, headers=headers))

    async def message(number: str, purpose: str) -> None:
        await ok(
            client.post("/v1/messages", json={"to": number, "text": "Hi", "channel": "sms", "purpose": purpose}), 202
        )

    await asyncio.gather(
        *(outreach.act(one, "launch") for one in campaigns),
        *(text(number) for number in numbers),
        *(message(number, purpose) for number in numbers for purpose in ("promotional", "transactional")),
    )
    for one in campaigns:
        await outreach.came_to(one, "finished")

    async def settled() -> list[Any] | None:
        found = (await ok(client.get("/v1/messages?limit=1000")))["data"]
        over = all(one["status"] in ("sent", "delivered", "skipped", "failed") for one in found)
        return found if over and len(found) == 5 * len(numbers) else None

    found = await eventually(settled)
    for number in numbers:
        hers = [one for one in found if one["to"] == number]
        sent = [one for one in hers if one["status"] in ("sent", "delivered")]
        assert sorted(one["purpose"] for one in sent) == ["promotional", "promotional", "transactional"]
        assert {(one["status"], one["reason"]) for one in hers if one not in sent} == {("skipped", "frequency_cap")}
