"""Events and event types."""

from tests.api.calling import make_webhook, ok, refused, settled, track
from waypost.clock import iso, now_us
from waypost.domain.values.times import parse_time

#: What Waypost records itself, after the events of clients.
_LATER = ("email.", "import.", "list.", "message.", "profile.", "segment.", "subscription.", "text.")


async def test_an_event_is_shown_as_it_was_sent(client):
    await track(
        client,
        messageId="m-1",
        timestamp="2026-01-02T03:04:05.678Z",
        context={"ip": "192.0.2.1"},
        properties={"total": 1e2, "nested": {"a": [1, None]}},
    )
    (event,) = (await ok(client.get("/v1/events")))["data"]
    assert event["id"].startswith("evt_")
    assert (event["type"], event["message_id"]) == ("event.order_shipped", "m-1")
    assert event["occurred_at"] == "2026-01-02T03:04:05.678000Z"
    assert abs(now_us() - (await arrival(event))) < 60_000_000
    assert event["data"] == {
        "metric": "Order Shipped",
        "user_id": "ada",
        "properties": {"total": 100.0, "nested": {"a": [1, None]}},
        "context": {"ip": "192.0.2.1"},
    }
    assert event["person"] == {
        "id": event["profile_id"],
        "first_name": None,
        "last_name": None,
        "user_id": "ada",
        "email": None,
        "phone": None,
    }
    assert await ok(client.get(f"/v1/events/{event['id']}")) == event
    await refused(client.get("/v1/events/evt_0000000000000001"), 404, "not_found")


async def arrival(event):
    return parse_time(event["received_at"])


async def pages(client, place):
    seen, after = [], ""
    while True:
        page = await ok(client.get(place + after))
        seen += page["data"]
        if page["next"] is None:
            return seen
        after = f"&after={page['next']}"


async def test_events_of_one_type_are_found_however_rare(client):
    await track(client, 2, event="Rare")
    await track(client, 5)
    await track(client, 1, event="Rare")
    middle = iso(now_us())
    await track(client, 4)
    found = await pages(client, "/v1/events?limit=2&type=event.rare")
    assert [event["data"]["metric"] for event in found] == ["Rare"] * 3
    assert len(await pages(client, "/v1/events?limit=5")) == 12
    assert await pages(client, "/v1/events?limit=2&type=event.none") == []
    assert len(await pages(client, f"/v1/events?limit=2&type=event.order_shipped&since={middle}")) == 4
    assert len(await pages(client, f"/v1/events?limit=2&type=event.order_shipped&until={middle}")) == 5
    await refused(client.get("/v1/events?type=a%00b"), 400, "invalid_parameter")


async def test_events_of_a_period(client):
    await track(client, 2)
    middle = iso(now_us())
    await track(client, 3)
    assert len((await ok(client.get(f"/v1/events?since={middle}")))["data"]) == 3
    assert len((await ok(client.get(f"/v1/events?until={middle}")))["data"]) == 2
    assert (await ok(client.get(f"/v1/events?since={middle}&until={middle}")))["data"] == []
    await refused(client.get("/v1/events?since=soon"), 400, "invalid_time")


async def test_types_are_waypost_s_own_and_then_what_was_tracked(client):
    await track(client, event="Zebra Seen")
    await track(client, event="Apple Eaten")
    listed = (await ok(client.get("/v1/event-types")))["data"]
    assert [entry["type"] for entry in listed] == [
        "profile.identified",
        "profile.aliased",
        "page.viewed",
        "screen.viewed",
        "group.joined",
        *(entry["type"] for entry in listed[5:] if entry["type"].startswith(_LATER)),
        "event.apple_eaten",
        "event.zebra_seen",
    ]
    assert [entry["metric"] for entry in listed[-2:]] == ["Apple Eaten", "Zebra Seen"]
    for limit in (1, 2, 5, 6, 7):
        assert await pages(client, f"/v1/event-types?limit={limit}") == listed


async def test_the_example_of_a_type_is_what_a_test_sends(client, hook):
    await track(client, event="Spécial  Metric!")
    entry = (await ok(client.get("/v1/event-types")))["data"][-1]
    assert (entry["type"], entry["metric"]) == ("event.special_metric", "Spécial  Metric!")
    made = await make_webhook(client, hook)
    sent = await ok(client.post(f"/v1/webhooks/{made['id']}/test", json={"event_type": entry["type"]}))
    assert '"metric":"Spécial  Metric!"' in sent["request"]["body"]
    await settled(client, made, accepted=0)


async def test_a_time_beyond_all_ids_is_the_end_of_the_list(client):
    await track(client)
    assert (await ok(client.get("/v1/events?since=2100-01-01T00:00:00Z")))["data"] == []
    assert len((await ok(client.get("/v1/events?until=9999-01-01T00:00:00Z")))["data"]) == 1
    assert (await ok(client.get("/v1/events?until=1999-01-01T00:00:00Z")))["data"] == []
