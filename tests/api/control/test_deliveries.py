"""Attempts, deliveries, retries and test events, against a real receiver."""

import base64

import httpx
import pytest
from standardwebhooks import Webhook

from tests.api.calling import eventually, make_webhook, ok, refused, settled, track
from waypost.api import paging
from waypost.api.control.deliveries import joined, readable


async def received(sink, hook):
    async with httpx.AsyncClient() as direct:
        name = hook.rpartition("/")[2].partition("?")[0]
        return (await ok(direct.get(f"{sink.url}/received?name={name}")))["data"]


async def test_an_attempt_says_what_came_back(client, hook):
    made = await make_webhook(client, f"{hook}?status=202&body=thanks&header=X-Seen:yes")
    await track(client)
    await settled(client, made, delivered=1)
    (attempt,) = (await ok(client.get(f"/v1/webhooks/{made['id']}/attempts")))["data"]
    assert (attempt["status"], attempt["body"], attempt["error"], attempt["number"]) == (202, "thanks", None, 1)
    assert attempt["headers"]["x-seen"] == "yes"
    assert attempt["duration_ms"] > 0
    delivery = await ok(client.get(f"/v1/deliveries/{attempt['delivery_id']}"))
    event = (await ok(client.get("/v1/events")))["data"][0]
    assert delivery["attempts"] == [attempt]
    assert (delivery["state"], delivery["type"], delivery["event_id"]) == (
        "delivered",
        "event.order_shipped",
        event["id"],
    )
    assert delivery["settled_at"] is not None
    assert delivery["next_attempt_at"] is None


async def test_a_delivery_lists_its_attempts_in_order(client, hook):
    made = await make_webhook(client, f"{hook}?fail_first=3&fail_status=503&body=later")
    await track(client)
    await settled(client, made, delivered=1)
    (delivery,) = (await ok(client.get(f"/v1/webhooks/{made['id']}/deliveries")))["data"]
    detail = await ok(client.get(f"/v1/deliveries/{delivery['id']}"))
    assert [(attempt["number"], attempt["status"]) for attempt in detail["attempts"]] == [
        (1, 503),
        (2, 503),
        (3, 503),
        (4, 200),
    ]
    assert (detail["tries"], detail["attempt_count"]) == (4, 4)
    newest = (await ok(client.get(f"/v1/webhooks/{made['id']}/attempts?limit=2")))["data"]
    assert [attempt["number"] for attempt in newest] == [4, 3]


async def test_only_the_first_bytes_of_an_answer_are_kept(client, hook):
    made = await make_webhook(client, f"{hook}?size=100000")
    await track(client)
    await settled(client, made, delivered=1)
    (attempt,) = (await ok(client.get(f"/v1/webhooks/{made['id']}/attempts")))["data"]
    assert len(attempt["body"]) == 4096


async def pages(client, place):
    seen, after = [], ""
    while True:
        page = await ok(client.get(place + after))
        seen += [row["id"] for row in page["data"]]
        if page["next"] is None:
            return seen
        after = f"&after={page['next']}"


@pytest.mark.parametrize("scan", [2, 1000])
async def test_deliveries_by_state(client, hook, scan, monkeypatch):
    monkeypatch.setattr(paging, "SCAN", scan)
    monkeypatch.setattr(paging, "STRETCHES", 2)
    made = await make_webhook(client, hook, filter={"properties.way": {"$ne": "none"}})
    place = f"/v1/webhooks/{made['id']}"
    await track(client, 5)
    await settled(client, made, delivered=5)
    await ok(client.patch(place, json={"url": f"{hook}?hang=1", "timeout": 30, "concurrency": 1}))
    await track(client, 4)
    await settled(client, made, pending=4)
    everything = await pages(client, f"{place}/deliveries?limit=2")
    delivered = await pages(client, f"{place}/deliveries?limit=2&state=delivered")
    pending = await pages(client, f"{place}/deliveries?limit=2&state=pending")
    assert (len(everything), len(delivered), len(pending)) == (9, 5, 4)
    assert set(delivered) | set(pending) == set(everything)
    assert everything == sorted(everything, reverse=True)
    assert pending == sorted(pending)
    assert await pages(client, f"{place}/deliveries?state=dead") == []
    problem = await refused(client.get(f"{place}/deliveries?state=lost"), 400, "invalid_parameter")
    assert "state" in problem["detail"]


async def test_a_cursor_of_another_list_is_refused(client, hook):
    made = await make_webhook(client, hook)
    await track(client, 3)
    await settled(client, made, delivered=3)
    place = f"/v1/webhooks/{made['id']}/deliveries"
    following = (await ok(client.get(f"{place}?limit=1")))["next"]
    await refused(client.get(f"{place}?state=pending&after={following}"), 400, "invalid_cursor")
    await refused(client.get(f"/v1/events?after={following}"), 400, "invalid_cursor")


async def test_a_delivered_one_can_be_sent_again(client, hook, sink):
    made = await make_webhook(client, hook)
    await track(client)
    await settled(client, made, delivered=1)
    (delivery,) = (await ok(client.get(f"/v1/webhooks/{made['id']}/deliveries")))["data"]
    queued = await ok(client.post(f"/v1/deliveries/{delivery['id']}/retry"), 202)
    assert (queued["state"], queued["tries"], queued["attempt_count"]) == ("pending", 0, 1)

    async def twice():
        return len(await received(sink, hook)) == 2

    await eventually(twice)
    await settled(client, made, accepted=1, delivered=1, pending=0, dead=0)
    one, two = await received(sink, hook)
    assert one["headers"]["webhook-id"] == two["headers"]["webhook-id"]
    assert one["body"] == two["body"]


async def test_one_that_waits_is_tried_now(client, hook, engine):
    made = await make_webhook(client, f"{hook}?fail_first=1&fail_status=429&retry_after=3600")
    await track(client)
    place = f"/v1/webhooks/{made['id']}"

    async def waiting():
        found = (await ok(client.get(f"{place}/deliveries?state=pending")))["data"]
        return found and found[0]["attempt_count"] == 1 and found[0]

    delivery = await eventually(waiting)
    # The receiver asked for an hour: an update of the endpoint ends the pause, and the retry ends this wait.
    await ok(client.patch(place, json={"url": hook}))
    hastened = await ok(client.post(f"/v1/deliveries/{delivery['id']}/retry"), 202)
    assert hastened["next_attempt_at"] is None or hastened["next_attempt_at"] < delivery["next_attempt_at"]
    await settled(client, made, accepted=1, delivered=1, pending=0)


async def test_nothing_is_tried_at_a_disabled_endpoint(client, hook):
    made = await make_webhook(client, f"{hook}?status=410")
    await track(client)
    await settled(client, made, dead=1)
    (delivery,) = (await ok(client.get(f"/v1/webhooks/{made['id']}/deliveries?state=dead")))["data"]
    assert delivery["reason"] == "gone"
    await refused(client.post(f"/v1/deliveries/{delivery['id']}/retry"), 409, "endpoint_disabled")
    await ok(client.patch(f"/v1/webhooks/{made['id']}", json={"url": hook}))
    await ok(client.post(f"/v1/webhooks/{made['id']}/enable"))
    await ok(client.post(f"/v1/deliveries/{delivery['id']}/retry"), 202)
    await settled(client, made, accepted=1, delivered=1, dead=0, pending=0)


async def test_a_test_shows_exactly_what_was_sent(client, hook, sink):
    made = await make_webhook(
        client, f"{hook}?status=201&body=hello", headers={"X-Token": "secret-value", "Accept": "application/json"}
    )
    result = await ok(client.post(f"/v1/webhooks/{made['id']}/test", json={"event_type": "event.order_shipped"}))
    (record,) = await received(sink, hook)
    sent = {name.lower(): value for name, value in result["request"]["headers"].items()}
    masked = {"x-token": "se…", "accept": "ap…"}
    assert sent == record["headers"] | masked
    assert (record["headers"]["x-token"], record["headers"]["accept"]) == ("secret-value", "application/json")
    assert (result["request"]["method"], result["request"]["url"]) == ("POST", made["url"])
    assert result["request"]["body"] == record["body"]
    assert (result["response"]["status"], result["response"]["body"], result["error"]) == (201, "hello", None)
    assert set(result["timings"]) == {"dns", "connect", "tls", "sent", "first_byte", "total"}
    assert result["timings"]["total"] >= result["timings"]["connect"] >= 0
    body = Webhook(made["secret"]).verify(record["body"], record["headers"])
    assert body["type"] == "event.order_shipped"
    assert body["data"]["id"] == record["headers"]["webhook-id"]
    assert (await ok(client.get(f"/v1/webhooks/{made['id']}")))["counts"]["accepted"] == 0
    assert (await ok(client.get(f"/v1/webhooks/{made['id']}/attempts")))["data"] == []
    await refused(client.get(f"/v1/events/{body['data']['id']}"), 404, "not_found")


async def test_libcurls_own_headers_are_shown_too(client, hook, sink):
    made = await make_webhook(client, hook)
    result = await ok(client.post(f"/v1/webhooks/{made['id']}/test"))
    (record,) = await received(sink, hook)
    assert result["request"]["headers"] == record["headers"]


async def test_a_test_works_on_a_disabled_endpoint_and_tells_what_is_wrong(client, hook, sink):
    made = await make_webhook(client, f"{hook}?status=500")
    await ok(client.post(f"/v1/webhooks/{made['id']}/disable"))
    result = await ok(client.post(f"/v1/webhooks/{made['id']}/test"))
    assert result["response"]["status"] == 500
    assert result["error"].startswith("status_500: ")
    await ok(client.patch(f"/v1/webhooks/{made['id']}", json={"url": f"{hook}?hang=1", "timeout": 0.1}))
    hanging = await ok(client.post(f"/v1/webhooks/{made['id']}/test"))
    assert hanging["response"] is None
    assert hanging["error"].startswith("timeout: ")
    await ok(client.patch(f"/v1/webhooks/{made['id']}", json={"url": "http://127.0.0.1:1/"}))
    closed = await ok(client.post(f"/v1/webhooks/{made['id']}/test"))
    assert (closed["response"], closed["error"].split(":")[0]) == (None, "connect")


@pytest.mark.parametrize(
    ("subscribed", "asked", "type_"),
    [
        (["*"], None, "event.order_shipped"),
        (["profile.*"], None, "profile.identified"),
        (["event.points_earned"], None, "event.points_earned"),
        (["odd.*"], None, "odd.example"),
        (["*"], "page.viewed", "page.viewed"),
        (["*"], "event.never_seen", "event.never_seen"),
    ],
)
async def test_which_type_a_test_sends(subscribed, asked, type_, client, hook):
    made = await make_webhook(client, hook, event_types=subscribed)
    result = await ok(client.post(f"/v1/webhooks/{made['id']}/test", json={"event_type": asked} if asked else {}))
    assert f'"type":"{type_}"' in result["request"]["body"]
    await refused(client.post(f"/v1/webhooks/{made['id']}/test", json={"event_type": "a.*"}), 400, "invalid_event_type")


def test_a_body_is_text_where_it_can_be():
    assert readable("für".encode()) == {"body": "für"}
    assert readable("für".encode()[:2]) == {"body": "f"}
    assert readable(b"\xff\x00") == {"body": None, "body_base64": base64.b64encode(b"\xff\x00").decode()}


def test_headers_that_came_twice_are_joined():
    assert joined([("a", "1"), ("b", "2"), ("a", "3")]) == {"a": "1, 3", "b": "2"}
