"""Lists keep their members, their counts and their confirmations; tags are counted."""

import re
from typing import Any

import httpx
import pytest

from tests.api.calling import eventually, make_webhook, ok, refused, settled, track
from waypost.sink.thread_runner import Running


async def make_list(client: httpx.AsyncClient, **fields: Any) -> Any:
    return await ok(client.post("/v1/lists", json={"name": "News"} | fields), 201)


async def make_person(client: httpx.AsyncClient, name: str) -> Any:
    return await ok(client.post("/v1/profiles", json={"user_id": name, "email": f"{name}@example.com"}))


async def members(client: httpx.AsyncClient, made: Any, size: int = 1000) -> dict[str, str]:
    found, after = [], ""
    while True:
        page = await ok(client.get(f"/v1/lists/{made['id']}/members?limit={size}{after}"))
        found += page["data"]
        if page["next"] is None:
            return {one["user_id"]: one["state"] for one in found}
        after = f"&after={page['next']}"


async def test_a_list_is_made_changed_and_deleted(client):
    made = await make_list(client)
    assert re.fullmatch("lst_[0-9a-f]{16}", made["id"])
    assert made["members"] == {"subscribed": 0, "pending": 0, "unsubscribed": 0}
    changed = await ok(client.patch(f"/v1/lists/{made['id']}", json={"name": "Letters", "double_opt_in": True}))
    assert (changed["name"], changed["double_opt_in"]) == ("Letters", True)
    assert await ok(client.get(f"/v1/lists/{made['id']}")) == changed
    other = await make_list(client, name="Other")
    page = await ok(client.get("/v1/lists?limit=1"))
    assert page["data"] == [other]
    assert (await ok(client.get(f"/v1/lists?after={page['next']}")))["data"] == [changed]
    assert (await client.delete(f"/v1/lists/{made['id']}")).status_code == 204
    await refused(client.get(f"/v1/lists/{made['id']}"), 404, "unknown_list")
    assert (await ok(client.get("/v1/lists")))["data"] == [other]


async def test_a_list_in_use_is_not_deleted(client):
    made = await make_list(client)
    place = f"/v1/lists/{made['id']}"
    condition = {"all": [{"tag": "vip"}, {"not": {"list": made["id"]}}]}
    segment = await ok(client.post("/v1/segments", json={"name": "No readers", "condition": condition}), 201)
    draft = {"name": "Spring", "channel": "email", "exclude": {"lists": [made["id"]]}}
    campaign = await ok(client.post("/v1/campaigns", json=draft), 201)
    problem = await refused(client.delete(place), 409, "list_in_use")
    assert "the segment 'No readers', the campaign 'Spring'." in problem["detail"]
    assert (await client.delete(f"/v1/segments/{segment['id']}")).status_code == 204
    problem = await refused(client.delete(place), 409, "list_in_use")
    assert "used by the campaign 'Spring'." in problem["detail"]
    assert (await ok(client.get(place)))["id"] == made["id"]
    await ok(client.patch(f"/v1/campaigns/{campaign['id']}", json={"exclude": {}}))
    assert (await client.delete(place)).status_code == 204
    await refused(client.post("/v1/segments", json={"name": "Late", "condition": condition}), 400, "unknown_list")


@pytest.mark.parametrize(
    ("fields", "code"),
    [({"name": ""}, "invalid_body"), ({"name": " "}, "invalid_name"), ({"colour": "red"}, "invalid_body")],
)
async def test_what_is_no_list_is_refused(fields, code, client):
    await refused(client.post("/v1/lists", json={"name": "News"} | fields), 400, code)


async def test_a_template_of_a_list_must_exist(client):
    fields = {"name": "News", "template_id": "tpl_0000000000000001"}
    await refused(client.post("/v1/lists", json=fields), 404, "unknown_template")


async def test_people_join_by_any_identifier_and_leave(client):
    made = await make_list(client)
    ada, bob = await make_person(client, "ada"), await make_person(client, "bob")
    await ok(client.post("/v1/profiles", json={"user_id": "eve", "phone": "+12025550101"}))
    people = [
        {"profile_id": ada["id"]},
        {"email": "BOB@example.com"},
        {"phone": "+1 202 555 0101"},
        {"user_id": "ada"},
        {"user_id": "nobody"},
        {"profile_id": "pro_0000000000000001"},
    ]
    place = f"/v1/lists/{made['id']}/members"
    done = await ok(client.post(place, json={"people": people}))
    assert (done["changed"], done["unknown"]) == (3, 2)
    assert [line.get("state") for line in done["data"]] == ["subscribed"] * 4 + [None] * 2
    assert await members(client, made, 2) == {"ada": "subscribed", "bob": "subscribed", "eve": "subscribed"}
    await ok(client.post(f"{place}/remove", json={"people": [{"user_id": "bob"}]}))
    await ok(client.post(f"{place}/remove", json={"people": [{"user_id": "eve"}], "unsubscribe": True}))
    assert await members(client, made) == {"ada": "subscribed", "eve": "unsubscribed"}
    counts = (await ok(client.get(f"/v1/lists/{made['id']}")))["members"]
    assert counts == {"subscribed": 1, "pending": 0, "unsubscribed": 1}
    events = [event["type"] for event in (await ok(client.get(f"/v1/profiles/{bob['id']}/events")))["data"]]
    assert events == ["list.left", "list.joined", "profile.identified"]


async def test_members_are_listed_by_state(client):
    made = await make_list(client)
    place = f"/v1/lists/{made['id']}/members"
    names = [f"p{n}" for n in range(9)]
    for name in names:
        await make_person(client, name)
    await ok(client.post(place, json={"people": [{"user_id": name} for name in names[:6]]}))
    left = [{"user_id": name} for name in names[1:6:2]]
    await ok(client.post(f"{place}/remove", json={"people": left, "unsubscribe": True}))
    await ok(client.patch(f"/v1/lists/{made['id']}", json={"double_opt_in": True}))
    await ok(client.post(place, json={"people": [{"user_id": name} for name in names[6:]]}))
    expected = {"subscribed": ["p0", "p2", "p4"], "unsubscribed": ["p1", "p3", "p5"], "pending": ["p6", "p7", "p8"]}
    for state, people in expected.items():
        first = await ok(client.get(f"{place}?state={state}&limit=2"))
        rest = await ok(client.get(f"{place}?state={state}&limit=2&after={first['next']}"))
        assert rest["next"] is None
        assert [(one["user_id"], one["state"]) for one in first["data"] + rest["data"]] == [(p, state) for p in people]
    await refused(client.get(f"{place}?state=away"), 400, "invalid_parameter")


async def test_the_lists_of_a_person_are_listed(client):
    person = await make_person(client, "ada")
    news, offers = await make_list(client), await make_list(client, name="Offers")
    await ok(client.post(f"/v1/lists/{news['id']}/members", json={"people": [{"user_id": "ada"}], "source": "form"}))
    await ok(client.post(f"/v1/lists/{offers['id']}/members", json={"people": [{"user_id": "ada"}]}))
    await ok(
        client.post(
            f"/v1/lists/{offers['id']}/members/remove", json={"people": [{"user_id": "ada"}], "unsubscribe": True}
        )
    )
    first = await ok(client.get(f"/v1/profiles/{person['id']}/lists?limit=1"))
    assert [(one["name"], one["state"], one["source"]) for one in first["data"]] == [("News", "subscribed", "form")]
    second = await ok(client.get(f"/v1/profiles/{person['id']}/lists?after={first['next']}"))
    assert [(one["id"], one["state"]) for one in second["data"]] == [(offers["id"], "unsubscribed")]
    assert second["next"] is None


async def test_people_are_named_by_exactly_one_identifier(client):
    made = await make_list(client)
    both = {"people": [{"user_id": "ada", "email": "ada@example.com"}]}
    await refused(client.post(f"/v1/lists/{made['id']}/members", json=both), 400, "invalid_person")
    await refused(client.post(f"/v1/lists/{made['id']}/members", json={"people": [{}]}), 400, "invalid_person")


async def test_a_list_of_another_workspace_does_not_exist(client, keys):
    made = await make_list(client)
    stranger = {"authorization": f"Bearer {keys.stranger}"}
    await refused(client.get(f"/v1/lists/{made['id']}", headers=stranger), 404, "unknown_list")


async def test_webhooks_hear_who_joined(client, hook, sink: Running):
    webhook = await make_webhook(client, hook, event_types=["list.*"])
    made = await make_list(client)
    await make_person(client, "ada")
    body = {"people": [{"user_id": "ada"}], "source": "fair"}
    await ok(client.post(f"/v1/lists/{made['id']}/members", json=body))
    await settled(client, webhook, delivered=1)
    (event,) = (await ok(client.get("/v1/events?type=list.joined")))["data"]
    assert event["data"]["list"] == {"id": made["id"], "name": "News"}
    assert event["data"]["source"] == "fair"


@pytest.fixture
async def asked(client):
    """A list with double opt-in, and the link that its new member got."""
    config = {"host": "127.0.0.1", "port": 9, "security": "none", "from_email": "news@example.com"}
    mail = {"name": "Mail", "connector": "smtp", "config": config, "skip_check": True}
    await ok(client.post("/v1/connections", json=mail), 201)
    made = await make_list(client, double_opt_in=True)
    await make_person(client, "ada")
    done = await ok(client.post(f"/v1/lists/{made['id']}/members", json={"people": [{"user_id": "ada"}]}))
    assert done["data"][0]["state"] == "pending"

    async def look():
        found = (await ok(client.get("/v1/messages?to=ada@example.com")))["data"]
        return found[0] if found else None

    message = await ok(client.get(f"/v1/messages/{(await eventually(look))['id']}"))
    assert message["purpose"] == "transactional"
    assert "News" in message["content"]["subject"]
    (link,) = re.findall(r"http://\S+(/l/[0-9a-f]{32})", message["content"]["text"])
    return made, link


async def test_only_the_button_confirms(client, asked):
    made, link = asked
    for method in ("GET", "HEAD"):
        page = await client.request(method, link, headers={"authorization": ""})
        assert page.status_code == 200
        assert "form-action 'self'" in page.headers["content-security-policy"]
    assert await members(client, made) == {"ada": "pending"}
    assert (await ok(client.get(f"/v1/lists/{made['id']}")))["members"]["pending"] == 1
    for _ in range(2):
        assert (await client.post(link, headers={"authorization": ""})).status_code == 200
    assert await members(client, made) == {"ada": "subscribed"}
    assert (await ok(client.get(f"/v1/lists/{made['id']}")))["members"] == {
        "subscribed": 1,
        "pending": 0,
        "unsubscribed": 0,
    }
    assert len((await ok(client.get("/v1/events?type=list.joined")))["data"]) == 1


async def test_an_old_link_brings_nobody_back(client, asked):
    made, link = asked
    await client.post(link)
    body = {"people": [{"user_id": "ada"}], "unsubscribe": True}
    await ok(client.post(f"/v1/lists/{made['id']}/members/remove", json=body))
    assert (await client.post(link)).status_code == 404
    assert await members(client, made) == {"ada": "unsubscribed"}


@pytest.mark.parametrize("token", ["", "x", "0" * 32, "%00", "é"])
async def test_a_link_that_does_not_exist_says_so(token, client):
    for method in ("GET", "POST"):
        page = await client.request(method, f"/l/{token}")
        assert page.status_code == 404
        assert "not valid" in page.text
    assert (await client.put("/l/x")).status_code == 405


async def test_who_confirmed_already_is_not_asked(client):
    made = await make_list(client, double_opt_in=True)
    await make_person(client, "ada")
    body = {"people": [{"user_id": "ada"}], "confirmed": True}
    await ok(client.post(f"/v1/lists/{made['id']}/members", json=body))
    assert await members(client, made) == {"ada": "subscribed"}


async def test_tags_are_put_counted_and_removed(client):
    ada, bob = await make_person(client, "ada"), await make_person(client, "bob")
    for person in (ada, bob):
        await ok(client.put(f"/v1/profiles/{person['id']}/tags/vip"))
    tagged = await ok(client.put(f"/v1/profiles/{ada['id']}/tags/early%20bird"))
    assert tagged["tags"] == ["early bird", "vip"]
    assert await ok(client.put(f"/v1/profiles/{ada['id']}/tags/vip")) == tagged
    assert (await ok(client.get("/v1/tags")))["data"] == [
        {"tag": "early bird", "profiles": 1},
        {"tag": "vip", "profiles": 2},
    ]
    page = await ok(client.get("/v1/tags?limit=1"))
    assert (await ok(client.get(f"/v1/tags?after={page['next']}")))["data"] == [{"tag": "vip", "profiles": 2}]
    for _ in range(2):
        assert (await client.delete(f"/v1/profiles/{ada['id']}/tags/vip")).status_code == 204
    assert (await ok(client.get("/v1/tags")))["data"][1] == {"tag": "vip", "profiles": 1}
    types = [event["type"] for event in (await ok(client.get(f"/v1/profiles/{ada['id']}/events")))["data"]]
    assert types == ["profile.untagged", "profile.tagged", "profile.tagged", "profile.identified"]
    await refused(client.put(f"/v1/profiles/{ada['id']}/tags/%20"), 400, "invalid_tag")
    await track(client)
