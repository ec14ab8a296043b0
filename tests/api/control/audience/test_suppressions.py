"""Suppressions, counts and quarantined receipts over HTTP."""

import asyncio
import base64
import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.api.calling import Keys, bearer, eventually, ok, refused
from waypost.clock import HOUR, iso, now_us
from waypost.sink.thread_runner import Running

Api = httpx.AsyncClient
TRACKER = "/tracking/amazon-pinpoint-events"
FIRST, OTHER = "+12022000015", "+12022000025"


@pytest.fixture
async def gateway(client: Api, sink: Running) -> dict[str, Any]:
    """Create an SMS connection to the simulated gateway."""
    config = {"url": f"{sink.url}/gateway/send", "auth": "bearer", "token": "made-up"}
    made: dict[str, Any] = await ok(
        client.post("/v1/connections", json={"name": "gateway", "connector": "http", "config": config}), 201
    )
    return made


async def settled(client: Api, to: str, **fields: Any) -> dict[str, Any]:
    """Return a message once it is sent, skipped or failed."""
    body = {"channel": "sms", "to": to, "text": "Hi"} | fields
    made = await ok(client.post("/v1/messages", json=body), 202)

    async def look() -> Any:
        found = await ok(client.get(f"/v1/messages/{made['id']}"))
        return found if found["status"] not in ("queued", "sending") else None

    found: dict[str, Any] = await eventually(look)
    return found


async def suppress(client: Api, address: str, channel: str = "sms", **fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = await ok(
        client.post("/v1/suppressions", json={"channel": channel, "address": address} | fields), 201
    )
    return made


async def test_a_suppressed_address_gets_nothing_until_that_is_lifted(client: Api, gateway: dict[str, Any]):
    made = await suppress(client, "+1 202 200 0015", reason="complained", detail="by phone")
    assert made == {
        "channel": "sms",
        "address": FIRST,
        "reason": "complained",
        "connection_id": None,
        "detail": "by phone",
        "created_at": made["created_at"],
    }
    # An existing suppression stays unchanged.
    assert await suppress(client, FIRST, reason="manual") == made
    shown = await settled(client, FIRST)
    assert (shown["status"], shown["reason"]) == ("skipped", "suppressed")
    assert (await settled(client, OTHER))["status"] == "sent"
    place = f"/v1/suppressions?channel=sms&address={quote(FIRST)}"
    assert (await client.delete(place)).status_code == 204
    await refused(client.delete(place), 404, "not_found")
    assert (await settled(client, FIRST))["status"] == "sent"


async def test_suppressions_are_listed_page_by_page(client: Api):
    wanted = sorted(
        [("email", f"user{n}@example.com") for n in range(4)]
        + [("sms", f"+1202200{n:03}5") for n in range(3)]
        + [("event", "user é/&")]
    )
    for channel, address in wanted:
        await suppress(client, address, channel)
    found, after = [], ""
    while True:
        page = await ok(client.get(f"/v1/suppressions?limit=3{after}"))
        found += [(row["channel"], row["address"]) for row in page["data"]]
        if page["next"] is None:
            break
        after = f"&after={quote(page['next'])}"
    assert found == wanted
    await refused(client.get("/v1/suppressions?after=nonsense"), 400, "invalid_cursor")
    place = f"/v1/suppressions?channel=event&address={quote('user é/&', safe='')}"
    assert (await client.delete(place)).status_code == 204


async def test_suppressions_are_found_by_channel_address_and_person(client: Api, keys: Keys):
    for channel, address in (
        ("email", "ada@example.com"),
        ("event", "ada@example.com"),
        ("sms", FIRST),
        ("sms", OTHER),
    ):
        await suppress(client, address, channel)
    person = await ok(client.post("/v1/profiles", json={"email": "ada@example.com", "phone": FIRST}))

    async def found(query: str, **options: Any) -> list[tuple[str, str]]:
        page = await ok(client.get(f"/v1/suppressions?{query}", **options))
        return [(row["channel"], row["address"]) for row in page["data"]]

    first = await ok(client.get("/v1/suppressions?channel=sms&limit=1"))
    assert [row["address"] for row in first["data"]] == [FIRST]
    assert await found(f"channel=sms&after={quote(first['next'])}") == [("sms", OTHER)]
    assert await found("channel=email") == [("email", "ada@example.com")]
    # As somebody types it.
    assert await found(f"address={quote('+1 (202) 200-0015')}") == [("sms", FIRST)]
    assert await found("address=Ada@Example.com&channel=email") == [("email", "ada@example.com")]
    assert await found("address=ada@example.com") == [("email", "ada@example.com"), ("event", "ada@example.com")]
    assert await found("address=alan@example.com") == []
    own = [("email", "ada@example.com"), ("sms", FIRST)]
    assert await found(f"profile_id={person['id']}") == own
    assert await found(f"profile_id={person['id']}&channel=sms") == own[1:]
    stranger = bearer(keys.stranger)
    assert await found("address=ada@example.com", headers=stranger) == []
    assert await found("channel=sms", headers=stranger) == []
    place = f"/v1/suppressions?profile_id={person['id']}"
    await refused(client.get(place, headers=stranger), 404, "not_found")
    await refused(client.get(f"{place}&address=a"), 400, "several_identifiers")
    await refused(client.get("/v1/suppressions?channel=sms&address=12"), 400, "invalid_address")
    await refused(client.get("/v1/suppressions?address=%20"), 400, "invalid_address")


@pytest.mark.parametrize("path", ["/v1/suppressions", "/v1/subscriptions"])
async def test_what_is_no_address_is_refused(client: Api, path: str):
    async def call(body: dict[str, Any]) -> httpx.Response:
        more = {"state": "unsubscribed"} if path == "/v1/subscriptions" else {}
        return await client.request("PUT" if more else "POST", path, json=more | body)

    for channel, address in (("sms", "12"), ("email", "nobody"), ("event", "a\0b"), ("event", "  "), ("sms", "a\0b")):
        problem = await refused(call({"channel": channel, "address": address}), 400, "invalid_address")
        assert problem["field"] == "address"
    for body in (
        {"channel": "fax", "address": FIRST},
        {"channel": "sms", "address": ""},
        {"channel": "sms", "address": "1" * 321},
        {"channel": "sms"},
        {"channel": "sms", "address": FIRST, "colour": "blue"},
        {"channel": "sms", "address": FIRST, "reason": "No Such Word", "state": "maybe"},
    ):
        await refused(call(body), 400, "invalid_body")
    words = {"detail": "a\0b"} if path == "/v1/suppressions" else {"source": "a\0b"}
    await refused(call({"channel": "sms", "address": FIRST} | words), 400, "invalid_text")


async def test_messages_are_counted_by_the_hour(client: Api, gateway: dict[str, Any]):
    await settled(client, FIRST, campaign="spring")
    await settled(client, OTHER, campaign="spring")
    await suppress(client, "+12022000035")
    await settled(client, "+12022000035")
    await settled(client, "+12025550010")
    rows = (await ok(client.get("/v1/message-counts")))["data"]
    found = {(row["campaign"], row["status"], row["code"]): row["count"] for row in rows}
    assert found == {
        ("spring", "queued", None): 2,
        ("spring", "sending", None): 2,
        ("spring", "sent", None): 2,
        (None, "queued", None): 2,
        (None, "skipped", None): 1,
        (None, "sending", None): 1,
        (None, "failed", 9988): 1,
    }
    assert {row["connection_id"] for row in rows} == {gateway["id"]}
    assert {row["reason"] for row in rows if row["code"]} == {"Other failures"}
    assert {row["reason"] for row in rows if not row["code"]} == {None}
    assert all(row["hour"].endswith(":00:00.000000Z") or row["hour"].endswith(":00:00Z") for row in rows)
    now = now_us()
    inside = f"since={iso(now - HOUR)}&until={iso(now + HOUR)}"
    assert len((await ok(client.get(f"/v1/message-counts?{inside}")))["data"]) == len(rows)
    before = f"since={iso(now - 9 * HOUR)}&until={iso(now - 8 * HOUR)}"
    assert (await ok(client.get(f"/v1/message-counts?{before}")))["data"] == []
    await refused(client.get(f"/v1/message-counts?since={iso(now - 2300 * HOUR)}"), 400, "invalid_period")
    await refused(client.get("/v1/message-counts?since=yesterday"), 400, "invalid_time")


async def test_what_nobody_can_read_is_kept_to_be_looked_at(client: Api, keys: Keys, sink: Running):
    config = {
        "region": "us-east-1",
        "project_id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        "access_key": "AKIAIOSFODNN7EXAMPLE",
        "secret_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "endpoint_url": sink.url,
    }
    wish = {"name": "Pinpoint", "connector": "aws-pinpoint", "config": config, "skip_check": True}
    made = await ok(client.post("/v1/connections", json=wish), 201)
    records = [b"this is no JSON", b"\xff\xfe\x00"]
    body = {
        "requestId": "r-1",
        "timestamp": 1_790_000_000_000,
        "records": [{"data": base64.b64encode(record).decode()} for record in records],
    }
    headers = {
        "x-amz-firehose-access-key": made["access_key_for_receipts"],
        "x-amz-firehose-request-id": "r-1",
        "content-type": "application/json",
    }
    answer = await client.post(TRACKER, content=json.dumps(body), headers=headers)
    assert (answer.status_code, answer.json()["requestId"]) == (200, "r-1")
    rows = (await ok(client.get("/v1/quarantine")))["data"]
    assert [(row["encoding"], row["body"]) for row in rows] == [
        ("base64", base64.b64encode(records[1]).decode()),
        ("text", "this is no JSON"),
    ]
    assert all(row["id"].startswith("rec_") and row["reason"] for row in rows)
    assert {row["connection_id"] for row in rows} == {made["id"]}
    page = await ok(client.get("/v1/quarantine?limit=1"))
    assert page["data"] == rows[:1]
    page = await ok(client.get(f"/v1/quarantine?limit=1&after={page['next']}"))
    assert (page["data"], page["next"]) == (rows[1:], None)
    assert (await ok(client.get("/v1/quarantine", headers=bearer(keys.stranger))))["data"] == []


async def test_another_workspace_has_its_own(client: Api, keys: Keys, gateway: dict[str, Any]):
    stranger = bearer(keys.stranger)
    await suppress(client, FIRST)
    await ok(client.put("/v1/subscriptions", json={"channel": "sms", "address": FIRST, "state": "unsubscribed"}))
    await settled(client, OTHER)
    assert (await ok(client.get("/v1/suppressions", headers=stranger)))["data"] == []
    assert (await ok(client.get("/v1/message-counts", headers=stranger)))["data"] == []
    place = f"channel=sms&address={quote(FIRST)}"
    await refused(client.get(f"/v1/subscriptions?{place}", headers=stranger), 404, "not_found")
    await refused(client.delete(f"/v1/suppressions?{place}", headers=stranger), 404, "not_found")
    own = {"channel": "sms", "address": FIRST, "state": "subscribed"}
    await ok(client.put("/v1/subscriptions", json=own, headers=stranger))
    assert (await ok(client.get(f"/v1/subscriptions?{place}")))["state"] == "unsubscribed"
    assert len((await ok(client.get("/v1/suppressions")))["data"]) == 1


async def test_who_may_only_read_changes_nothing(client: Api, keys: Keys):
    reader = bearer(keys.read)
    await suppress(client, FIRST)
    place = f"/v1/suppressions?channel=sms&address={quote(FIRST)}"
    given = {"channel": "sms", "address": OTHER}
    for answer in await asyncio.gather(
        client.post("/v1/suppressions", json=given, headers=reader),
        client.delete(place, headers=reader),
        client.put("/v1/subscriptions", json=given | {"state": "subscribed"}, headers=reader),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert len((await ok(client.get("/v1/suppressions", headers=reader)))["data"]) == 1
    assert (await ok(client.get("/v1/message-counts", headers=reader)))["data"] == []
    assert (await ok(client.get("/v1/quarantine", headers=reader)))["data"] == []
