"""Metrics over HTTP: the list, charts, and the feeds of a metric and of a person."""

import json
from typing import Any

import httpx
import pytest

from tests.api.calling import Keys, bearer, ok, refused, track
from waypost.clock import DAY, HOUR, iso, now_us
from waypost.domain.events.event import Event
from waypost.domain.texts.client import DEFAULT_METRIC
from waypost.domain.values.ids import internal
from waypost.engine.process import Engine
from waypost.engine.runtime.unit import Unit
from waypost.storage.database import Tx

Api = httpx.AsyncClient
STATUSES = ("PENDING_TO_SEND", "SENDING", "DELIVERED")


async def emit(engine: Engine, *events: Event) -> None:
    """Record events of Waypost itself."""

    async def work(tx: Tx, unit: Unit) -> None:
        unit.emit(list(events))

    await engine.recorder.perform(work)


def text(
    keys: Keys, number: int, status: str, *, metric: str | None = "Birthday", profile: str | None = None, at: int = 0
) -> Event:
    """The status of a text, as the engine of texts emits it."""
    message_id = f"msg_{number:016x}"
    data = {
        "MessageID": message_id,
        "Status": status,
        "metricName": metric,
        "callbackData": {"profileID": "01ABC", "flow": "Birthday", "deep": {"a": [1, None]}},
        "sendPurpose": "Birthday",
        "client_id": "client-1",
    }
    return Event(
        keys.workspace_id,
        "text.status",
        None if profile is None else internal("pro", profile),
        at or now_us(),
        f"{message_id}:{status}",
        json.dumps(data, ensure_ascii=False).encode(),
    )


async def named(client: Api, name: str, query: str = "") -> Any:
    """The metric of this name."""
    (found,) = [one for one in (await ok(client.get(f"/v1/metrics{query}")))["data"] if one["name"] == name]
    return found


async def pages(client: Api, place: str) -> list[Any]:
    seen, after = [], ""
    while True:
        page = await ok(client.get(place + after))
        seen += page["data"]
        if page["next"] is None:
            return seen
        after = f"&after={page['next']}"


@pytest.fixture
async def ada(client: Api) -> str:
    """The id of a person."""
    traits = {"email": "Ada@Example.com", "phone": "+442079460958", "first_name": "Ada", "last_name": 5}
    await ok(client.post("/v1/identify", json={"userId": "ada", "traits": traits}))
    (found,) = (await ok(client.get("/v1/profiles?user_id=ada")))["data"]
    return str(found["id"])


async def test_metrics_are_listed_with_their_counts(client: Api, engine: Engine, keys: Keys):
    started = now_us()
    await track(client, 3)
    old = now_us() - 40 * DAY
    await track(client, 1, timestamp=iso(old))
    for number in range(4):
        await emit(engine, *(text(keys, number, status) for status in STATUSES[: 3 if number else 2]))
    await emit(engine, text(keys, 9, "NOT_FOUND", at=old))
    listed = (await ok(client.get("/v1/metrics")))["data"]
    assert [(one["name"], one["source"], one["event_type"]) for one in listed] == [
        ("Birthday", "text", "text.status"),
        ("Order Shipped", "track", "event.order_shipped"),
    ]
    birthday, shipped = listed
    assert (birthday["total"], birthday["count"]) == (12, 11)
    assert birthday["statuses"] == {"DELIVERED": 3, "NOT_FOUND": 0, "PENDING_TO_SEND": 4, "SENDING": 4}
    assert (shipped["total"], shipped["count"], shipped["statuses"]) == (4, 3, None)
    assert iso(started) <= birthday["created_at"] <= birthday["last_seen"] <= iso(now_us())
    assert await ok(client.get(f"/v1/metrics/{birthday['id']}")) == birthday
    longer = await ok(client.get(f"/v1/metrics/{birthday['id']}?days=41"))
    assert (longer["count"], longer["statuses"]["NOT_FOUND"]) == (12, 1)
    assert (await named(client, "Order Shipped", "?days=1"))["count"] == 3
    for limit in (1, 2):
        assert await pages(client, f"/v1/metrics?limit={limit}") == listed
    await refused(client.get("/v1/metrics?days=93"), 400, "invalid_parameter")


async def test_a_metric_has_the_name_that_was_sent(client: Api, engine: Engine, keys: Keys):
    names = ["誕生日 🎂", "Ünïcode — ‮rtl", "x" * 512, " spaced "]
    for name in names:
        await track(client, event=name)
        await emit(engine, text(keys, 1, "SENDING", metric=name))
    await emit(engine, text(keys, 1, "SENDING", metric=None))
    listed = (await ok(client.get("/v1/metrics")))["data"]
    assert sorted(one["name"] for one in listed if one["source"] == "track") == sorted(names)
    assert sorted(one["name"] for one in listed if one["source"] == "text") == sorted([*names, DEFAULT_METRIC])


async def test_a_chart_has_a_series_per_status_and_zeros(client: Api, engine: Engine, keys: Keys):
    midnight = now_us() // DAY * DAY - 5 * DAY
    for at, status in ((0, "SENDING"), (HOUR - 1, "SENDING"), (HOUR, "DELIVERED"), (2 * HOUR, "DELIVERED")):
        await emit(engine, text(keys, 1, status, at=midnight + at))
    place = f"/v1/metrics/{(await named(client, 'Birthday'))['id']}/timeline"
    period = {"since": iso(midnight), "until": iso(midnight + 2 * HOUR)}
    chart = await ok(client.get(place, params=period | {"by": "Status", "interval": "hour"}))
    assert chart["starts"] == [iso(midnight), iso(midnight + HOUR)]
    assert (chart["since"], chart["until"]) == (period["since"], period["until"])
    assert (chart["interval"], chart["timezone"], chart["name"]) == ("hour", "UTC", "Birthday")
    # What happened at `until` is not in it.
    assert chart["series"] == [
        {"status": "DELIVERED", "total": 1, "counts": [0, 1]},
        {"status": "SENDING", "total": 2, "counts": [2, 0]},
    ]
    whole = await ok(client.get(place, params=period | {"interval": "hour"}))
    assert whole["series"] == [{"status": None, "total": 3, "counts": [2, 1]}]
    days = await ok(client.get(f"{place}?by=Status"))
    assert len(days["starts"]) == 31
    assert [(one["status"], one["total"], one["counts"][-6]) for one in days["series"]] == [
        ("DELIVERED", 2, 2),
        ("SENDING", 2, 2),
    ]
    nothing = {"since": iso(midnight - 5 * DAY), "until": iso(midnight), "by": "Status"}
    empty = await ok(client.get(place, params=nothing))
    assert [one["counts"] for one in empty["series"]] == [[0] * 5] * 2


async def test_days_of_a_chart_are_those_of_the_time_zone(client: Api):
    # Berlin's clocks go back on 2026-10-25, whose day begins at 22:00 UTC and has 25 hours.
    for at in ("2026-10-24T21:59:59Z", "2026-10-24T22:00:00Z", "2026-10-25T22:59:59Z", "2026-10-25T23:00:00Z"):
        await track(client, timestamp=at)
    place = f"/v1/metrics/{(await named(client, 'Order Shipped'))['id']}/timeline"
    period = {"since": "2026-10-24T22:00:00Z", "until": "2026-10-25T23:00:00Z", "timezone": "Europe/Berlin"}
    chart = await ok(client.get(place, params=period))
    assert (chart["starts"], chart["until"]) == (["2026-10-24T22:00:00.000000Z"], "2026-10-25T23:00:00.000000Z")
    assert chart["series"] == [{"status": None, "total": 2, "counts": [2]}]
    hours = await ok(client.get(place, params=period | {"interval": "hour"}))
    assert (len(hours["starts"]), hours["series"][0]["total"]) == (25, 2)
    # Kathmandu is 5:45 ahead.
    nepal = {"since": "2026-10-24T20:00:00Z", "until": "2026-10-24T22:20:00Z", "timezone": "Asia/Kathmandu"}
    hours = await ok(client.get(place, params=nepal | {"interval": "hour"}))
    assert hours["starts"][0] == "2026-10-24T19:15:00.000000Z"
    assert hours["series"][0]["counts"] == [0, 0, 2, 0]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("interval=week", "invalid_parameter"),
        ("by=status", "invalid_parameter"),
        ("since=soon", "invalid_time"),
        ("since=2026-01-02T00:00:00Z&until=2026-01-02T00:00:00Z", "invalid_period"),
        ("since=2026-01-01T00:00:00Z&until=2026-04-04T00:00:00Z", "invalid_period"),
        ("interval=hour&since=2026-01-01T00:00:00Z&until=2026-02-01T00:00:01Z", "invalid_period"),
        ("since=0001-01-01T00:00:00Z&until=0001-01-02T00:00:00Z", "invalid_period"),
        ("timezone=Mars", "invalid_timezone"),
        ("timezone=", "invalid_timezone"),
        ("timezone=../../etc/passwd", "invalid_timezone"),
        ("timezone=America", "invalid_timezone"),
        ("timezone=a%00b", "invalid_timezone"),
        ("status=x", "unknown_parameter"),
    ],
)
async def test_charts_that_make_no_sense_are_refused(client: Api, query: str, code: str):
    await track(client)
    place = f"/v1/metrics/{(await named(client, 'Order Shipped'))['id']}/timeline"
    await refused(client.get(f"{place}?{query}"), 400, code)


async def test_the_feed_of_a_text_metric(client: Api, engine: Engine, keys: Keys, ada: str):
    for number in range(5):
        await emit(engine, *(text(keys, number, status, profile=ada) for status in STATUSES))
        await emit(engine, text(keys, number, "SENDING", metric="Another"))
    place = f"/v1/metrics/{(await named(client, 'Birthday'))['id']}/activity"
    everything = (await ok(client.get(place)))["data"]
    assert [one["status"] for one in everything] == [*reversed(STATUSES)] * 5
    assert {one["name"] for one in everything} == {"Birthday"}
    assert everything[0]["data"]["callbackData"] == {
        "profileID": "01ABC",
        "flow": "Birthday",
        "deep": {"a": [1, None]},
    }
    assert everything[0]["message_id"] == "msg_0000000000000004:DELIVERED"
    assert everything[0]["person"] == {
        "id": ada,
        "first_name": "Ada",
        "last_name": None,
        "user_id": "ada",
        "email": "ada@example.com",
        "phone": "+442079460958",
    }
    for limit in (1, 4, 15):
        assert await pages(client, f"{place}?limit={limit}") == everything
    for spelling in ("DELIVERED", "Delivered", "delivered"):
        assert await pages(client, f"{place}?limit=2&Status={spelling}") == everything[::3]
    assert (await ok(client.get(f"{place}?Status=NOT FOUND")))["data"] == []
    await refused(client.get(f"{place}?after=x"), 400, "invalid_cursor")


async def test_the_feed_of_a_tracked_metric(client: Api, engine: Engine):
    for number in range(7):
        await track(client, event="Rare", properties={"number": number})
        await track(client, 2)
        if number == 3:
            # The index holds the first ones, and follows behind for the others.
            await engine.database.maintain()
    place = f"/v1/metrics/{(await named(client, 'Rare'))['id']}/activity"
    everything = (await ok(client.get(place)))["data"]
    assert [one["data"]["properties"]["number"] for one in everything] == [6, 5, 4, 3, 2, 1, 0]
    assert {(one["name"], one["status"], one["type"]) for one in everything} == {("Rare", None, "event.rare")}
    for limit in (1, 3, 7):
        assert await pages(client, f"{place}?limit={limit}") == everything
    assert (await ok(client.get(f"{place}?Status=DELIVERED")))["data"] == []


async def test_a_text_leaves_four_actions_with_a_person(client: Api, engine: Engine, keys: Keys, ada: str):
    requested = {"MessageID": "msg_0000000000000001", "sendPurpose": "Birthday", "metricName": "Birthday"}
    profile_id = internal("pro", ada)
    await emit(
        engine,
        Event(keys.workspace_id, "text.requested", profile_id, now_us(), "msg_1", json.dumps(requested).encode()),
    )
    for status in STATUSES:
        await emit(engine, text(keys, 1, status, profile=ada))
    feed = (await ok(client.get(f"/v1/profiles/{ada}/activity")))["data"]
    assert [(one["name"], one["status"]) for one in reversed(feed)] == [
        ("Profile identified", None),
        ("Webhook Send Successful", None),
        ("Birthday", "PENDING_TO_SEND"),
        ("Birthday", "SENDING"),
        ("Birthday", "DELIVERED"),
    ]
    assert {one["person"]["id"] for one in feed} == {ada}


async def test_the_feed_of_a_person_has_what_happened_to_merged_profiles(
    client: Api, engine: Engine, keys: Keys, ada: str
):
    await track(client, userId=None, anonymousId="device-1")
    (device,) = (await ok(client.get("/v1/profiles?anonymous_id=device-1")))["data"]
    await emit(engine, text(keys, 1, "DELIVERED", profile=device["id"]))
    await track(client, userId="bob")
    await ok(client.post("/v1/identify", json={"userId": "ada", "anonymousId": "device-1"}))
    feed = (await ok(client.get(f"/v1/profiles/{ada}/activity")))["data"]
    assert [one["name"] for one in feed] == [
        "Profile identified",
        "Birthday",
        "Order Shipped",
        "Profile identified",
    ]
    events = (await ok(client.get(f"/v1/profiles/{ada}/events")))["data"]
    assert [one["id"] for one in feed] == [one["id"] for one in events]
    assert await pages(client, f"/v1/profiles/{device['id']}/activity?limit=1") == feed
    # In the feed of the metric and in the list of events, the event leads to the person who is left.
    place = f"/v1/metrics/{(await named(client, 'Birthday'))['id']}/activity"
    (found,) = (await ok(client.get(place)))["data"]
    assert (found["person"]["id"], found["person"]["email"]) == (ada, "ada@example.com")
    (found,) = (await ok(client.get("/v1/events?type=text.status")))["data"]
    assert (found["profile_id"], found["person"]["id"]) == (device["id"], ada)
    assert found["person"]["email"] == "ada@example.com"
    assert (await ok(client.get(f"/v1/events/{found['id']}"))) == found


async def test_another_workspace_sees_nothing_of_it(client: Api, engine: Engine, keys: Keys, ada: str):
    await track(client)
    await emit(engine, text(keys, 1, "SENDING", profile=ada))
    listed = (await ok(client.get("/v1/metrics")))["data"]
    stranger = bearer(keys.stranger)
    assert (await ok(client.get("/v1/metrics", headers=stranger)))["data"] == []
    for metric in listed:
        for place in ("", "/timeline", "/activity"):
            url = f"/v1/metrics/{metric['id']}{place}"
            await ok(client.get(url))
            await refused(client.get(url, headers=stranger), 404, "not_found")
    await refused(client.get(f"/v1/profiles/{ada}/activity", headers=stranger), 404, "not_found")
    # Its own events count for itself, under the same name.
    await ok(client.post("/v1/track", json={"userId": "x", "event": "Order Shipped"}, headers=stranger))
    (theirs,) = (await ok(client.get("/v1/metrics", headers=stranger)))["data"]
    assert theirs["total"] == 1
    assert len((await ok(client.get(f"/v1/metrics/{theirs['id']}/activity", headers=stranger)))["data"]) == 1


async def test_a_repeated_event_counts_once(client: Api):
    await track(client, 3, messageId="same")
    assert (await named(client, "Order Shipped"))["total"] == 1


async def test_a_text_that_another_tool_sends_is_seen_in_its_metric(client: Api):
    config = {"url": "http://127.0.0.1:9/", "auth": "bearer", "token": "made-up"}
    gateway = {"name": "gateway", "connector": "http", "config": config, "skip_check": True}
    await ok(client.post("/v1/connections", json=gateway), 201)
    made = await ok(client.post("/v1/text-clients", json={"name": "Klaviyo", "callback": None}), 201)
    text = {
        "phone": "+12025550123",
        "text": "Happy Birthday!",
        "callbackData": json.dumps({"profileID": "01ABC", "metricName": "Birthday 🎂", "extra": {"n": 1}}),
        "sendPurpose": "Birthday",
    }
    credentials = {"X-Client-ID": made["client_id"], "X-Client-Secret": made["client_secret"]}
    answer = await ok(client.post("/text/message/send", json=text, headers=credentials))
    metric = await named(client, "Birthday 🎂")
    assert (metric["source"], metric["statuses"]) == ("text", {answer["status"]: 1})
    (found,) = (await ok(client.get(f"/v1/metrics/{metric['id']}/activity?Status={answer['status']}")))["data"]
    assert found["data"]["MessageID"] == answer["messageId"]
    assert found["data"]["callbackData"]["extra"] == {"n": 1}
