"""Replays: start, progress, list, cancel."""

import pytest

from tests.api.calling import eventually, make_webhook, ok, refused, settled, track
from waypost.clock import DAY, iso, now_us

LONG_AGO = "2020-06-01T00:00:00Z"


async def finished(client, replay):
    async def look():
        found = await ok(client.get(f"/v1/replays/{replay['id']}"))
        return found if found["state"] == "done" else None

    return await eventually(look)


async def test_an_endpoint_gets_what_came_before_it_was_there(client, hook):
    await track(client, 7)
    made = await make_webhook(client, hook)
    replay = await ok(client.post(f"/v1/webhooks/{made['id']}/replay", json={"since": LONG_AGO}), 202)
    assert (replay["state"], replay["states"], replay["webhook_id"]) == ("running", ["dead", "missed"], made["id"])
    await settled(client, made, accepted=7, delivered=7, pending=0)
    done = await finished(client, replay)
    assert (done["seen"], done["queued"], done["progress"]) == (7, 7, 1.0)
    again = await ok(client.post(f"/v1/webhooks/{made['id']}/replay", json={"since": LONG_AGO}), 202)
    assert (await finished(client, again))["queued"] == 0
    listed = await ok(client.get(f"/v1/webhooks/{made['id']}/replays"))
    assert [one["id"] for one in listed["data"]] == [again["id"], replay["id"]]


async def test_what_was_delivered_is_sent_again_only_when_asked_for(client, hook, sink):
    made = await make_webhook(client, hook)
    await track(client, 3)
    await track(client, 2, event="Order Returned")
    await settled(client, made, delivered=5)
    replay = await ok(
        client.post(
            f"/v1/webhooks/{made['id']}/replay",
            json={"since": LONG_AGO, "state": ["delivered", "missed"], "types": ["event.*_returned"]},
        ),
        202,
    )
    assert replay["types"] == ["event.*_returned"]
    assert (await finished(client, replay))["queued"] == 2
    await settled(client, made, accepted=5, delivered=5, pending=0, dead=0)


async def test_until_ends_it(client, hook):
    await track(client, 2)
    made = await make_webhook(client, hook)
    middle = iso(now_us())
    await track(client, 1)
    await settled(client, made, delivered=1)
    replay = await ok(
        client.post(f"/v1/webhooks/{made['id']}/replay", json={"since": LONG_AGO, "until": middle, "state": "all"}), 202
    )
    assert (await finished(client, replay))["seen"] == 2
    await settled(client, made, accepted=3, delivered=3)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "missing_since"),
        ({"since": "yesterday"}, "invalid_time"),
        ({"since": iso(now_us() + DAY)}, "invalid_period"),
        ({"since": LONG_AGO, "until": LONG_AGO}, "invalid_period"),
        ({"since": LONG_AGO, "state": "lost"}, "invalid_body"),
        ({"since": LONG_AGO, "state": []}, "invalid_state"),
        ({"since": LONG_AGO, "types": ["Order Shipped"]}, "invalid_event_types"),
        ({"from": LONG_AGO}, "invalid_body"),
    ],
)
async def test_what_cannot_be_replayed_is_refused(body, code, client, hook):
    made = await make_webhook(client, hook)
    await refused(client.post(f"/v1/webhooks/{made['id']}/replay", json=body), 400, code)


async def test_a_replay_of_a_disabled_endpoint_waits_and_can_be_cancelled(client, hook):
    await track(client, 2)
    made = await make_webhook(client, hook)
    await ok(client.post(f"/v1/webhooks/{made['id']}/disable"))
    replay = await ok(client.post(f"/v1/webhooks/{made['id']}/replay", json={"since": LONG_AGO}), 202)
    assert replay["progress"] == 0.0
    cancelled = await ok(client.post(f"/v1/replays/{replay['id']}/cancel"))
    assert cancelled["state"] == "cancelled"
    assert (await ok(client.post(f"/v1/replays/{replay['id']}/cancel")))["state"] == "cancelled"
    await ok(client.post(f"/v1/webhooks/{made['id']}/enable"))
    await track(client)
    await settled(client, made, accepted=1, delivered=1)


async def test_so_many_replays_of_one_endpoint_and_no_more(client, hook):
    made = await make_webhook(client, hook)
    await ok(client.post(f"/v1/webhooks/{made['id']}/disable"))
    place = f"/v1/webhooks/{made['id']}/replay"
    for _ in range(10):
        await ok(client.post(place, json={"since": LONG_AGO}), 202)
    await refused(client.post(place, json={"since": LONG_AGO}), 409, "too_many_replays")
