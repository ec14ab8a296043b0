"""Profiles are found by any identifier, merged ones included, with their events."""

import pytest

from tests.api.calling import ok, refused, track


@pytest.fixture
async def ada(client):
    """Record a person with a device first and a userId later."""
    await track(client, 2, userId=None, anonymousId="device-1")
    await track(client, 1, userId=None, anonymousId="device-2")
    await ok(
        client.post(
            "/v1/identify",
            json={
                "userId": "ada",
                "anonymousId": "device-1",
                "traits": {"email": "Ada@Example.com", "phone": "+44 20 7946 0958", "plan": "pro"},
            },
        )
    )
    await ok(client.post("/v1/alias", json={"userId": "ada", "previousId": "device-2"}))
    (found,) = (await ok(client.get("/v1/profiles?user_id=ada")))["data"]
    return found


async def test_a_profile_says_who_it_is(client, ada):
    assert (ada["user_id"], ada["email"], ada["phone"]) == ("ada", "ada@example.com", "+442079460958")
    assert ada["traits"] == {"email": "Ada@Example.com", "phone": "+44 20 7946 0958", "plan": "pro"}
    assert {"device-1", "device-2"} <= set(ada["anonymous_ids"])
    assert len(ada["merged_ids"]) == 1
    assert await ok(client.get(f"/v1/profiles/{ada['id']}")) == ada


@pytest.mark.parametrize(
    "query",
    ["anonymous_id=device-1", "anonymous_id=device-2", "email=ADA@example.com", "phone=%2B44%2020%207946%200958"],
)
async def test_every_identifier_leads_to_the_profile(query, client, ada):
    assert (await ok(client.get(f"/v1/profiles?{query}")))["data"] == [ada]


@pytest.mark.parametrize("query", ["email=nobody", "phone=12", "user_id=", "user_id=a%00b"])
async def test_what_is_no_identifier_is_refused(query, client):
    await refused(client.get(f"/v1/profiles?{query}"), 400, "invalid_identifier")


async def test_one_identifier_is_enough(client):
    await refused(client.get("/v1/profiles?user_id=a&email=a@b.com"), 400, "several_identifiers")


async def test_nobody_is_an_empty_list(client):
    assert await ok(client.get("/v1/profiles?user_id=nobody")) == {"data": [], "next": None}


async def test_a_merged_profile_leads_to_the_one_that_is_left(client, ada):
    assert await ok(client.get(f"/v1/profiles/{ada['merged_ids'][0]}")) == ada


async def test_merged_profiles_are_not_listed(client, ada):
    await track(client, userId="bob")
    page = await ok(client.get("/v1/profiles?limit=1"))
    assert page["data"][0]["user_id"] == "bob"
    rest = await ok(client.get(f"/v1/profiles?after={page['next']}"))
    assert rest == {"data": [ada], "next": None}


async def test_the_events_of_a_merged_profile_stay_with_the_person(client, ada):
    await track(client, userId="bob")
    everything = (await ok(client.get(f"/v1/profiles/{ada['id']}/events")))["data"]
    assert [event["type"] for event in everything] == [
        "profile.aliased",
        "profile.identified",
        *["event.order_shipped"] * 3,
    ]
    place = f"/v1/profiles/{ada['merged_ids'][0]}/events?limit=2"
    page = await ok(client.get(place))
    seen = page["data"]
    while page["next"]:
        page = await ok(client.get(f"{place}&after={page['next']}"))
        seen += page["data"]
    assert seen == everything
