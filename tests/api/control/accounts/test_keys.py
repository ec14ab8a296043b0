"""API keys."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.api.calling import bearer, eventually, ok, refused, track
from waypost.domain.accounts.api_keys import key_hint


async def test_a_key_is_shown_once(client):
    made = await ok(client.post("/v1/keys", json={"name": "CI", "scopes": ["read", "ingest"]}), 201)
    assert made["key"].startswith("wpk_")
    assert made["scopes"] == ["ingest", "read"]
    assert made["hint"] == key_hint(made["key"])
    listed = await ok(client.get("/v1/keys"))
    assert made["key"] not in str(listed)
    assert listed["data"][0] == {name: value for name, value in made.items() if name != "key"}
    await ok(client.get("/v1/ledger", headers=bearer(made["key"])))


async def test_a_key_that_only_ingests_is_a_write_key(client):
    made = await ok(client.post("/v1/keys", json={"name": "shop", "scopes": ["ingest"]}), 201)
    assert made["key"].startswith("wpw_")
    await track(client, 1, writeKey=made["key"])


@pytest.mark.parametrize(
    "body",
    [
        {"name": "x", "scopes": []},
        {"name": "", "scopes": ["read"]},
        {"name": "x" * 201, "scopes": ["read"]},
        {"name": "x"},
        {"name": "x", "scopes": ["read"], "colour": "red"},
    ],
)
async def test_what_is_no_key_is_refused(body, client):
    await refused(client.post("/v1/keys", json=body), 400, "invalid_body")


async def test_an_unknown_scope_is_refused(client):
    await refused(client.post("/v1/keys", json={"name": "x", "scopes": ["everything"]}), 400, "invalid_scopes")


async def test_a_key_may_have_single_permissions(client):
    made = await ok(client.post("/v1/keys", json={"name": "sync", "scopes": ["people.write", "people.read"]}), 201)
    headers = bearer(made["key"])
    await ok(client.post("/v1/lists", json={"name": "News"}, headers=headers), 201)
    problem = await refused(client.get("/v1/webhooks", headers=headers), 403, "forbidden")
    assert "webhooks.read" in problem["detail"]


async def test_nobody_makes_a_key_that_may_do_more_than_they(client):
    made = await ok(client.post("/v1/keys", json={"name": "sync", "scopes": ["keys.write", "people.read"]}), 201)
    headers = bearer(made["key"])
    for scopes in (["manage"], ["read"], ["people.write"]):
        await refused(
            client.post("/v1/keys", json={"name": "x", "scopes": scopes}, headers=headers), 403, "scope_too_high"
        )
    await ok(client.post("/v1/keys", json={"name": "x", "scopes": ["people.read"]}, headers=headers), 201)
    manager = (await ok(client.get("/v1/keys")))["data"][-1]
    assert "manage" in manager["scopes"]
    await refused(client.post(f"/v1/keys/{manager['id']}/rotate", headers=headers), 403, "scope_too_high")


async def test_a_key_ends_at_its_time(client, engine):
    body = {"name": "short", "scopes": ["read"]}
    await refused(client.post("/v1/keys", json=body | {"expires_at": "2020-01-01T00:00:00Z"}), 400, "invalid_expiry")
    soon = datetime.now(UTC) + timedelta(seconds=1)
    made = await ok(client.post("/v1/keys", json=body | {"expires_at": soon.isoformat()}), 201)
    assert made["expires_at"] == soon.isoformat().replace("+00:00", "Z")
    await ok(client.get("/v1/ledger", headers=bearer(made["key"])))

    async def over():
        # The cached key ends as well.
        return (await client.get("/v1/ledger", headers=bearer(made["key"]))).status_code == 401

    assert await eventually(over)


async def test_a_key_is_replaced_with_an_overlap(client):
    made = await ok(client.post("/v1/keys", json={"name": "CI", "scopes": ["read"]}), 201)
    fresh = await ok(client.post(f"/v1/keys/{made['id']}/rotate", json={"overlap_hours": 1}), 201)
    assert (fresh["name"], fresh["scopes"]) == ("CI", ["read"])
    for key in (made, fresh):
        await ok(client.get("/v1/ledger", headers=bearer(key["key"])))
    listed = {key["id"]: key for key in (await ok(client.get("/v1/keys")))["data"]}
    assert listed[made["id"]]["expires_at"] is not None
    assert listed[fresh["id"]]["expires_at"] is None
    last = await ok(client.post(f"/v1/keys/{fresh['id']}/rotate", json={"overlap_hours": 0}), 201)
    await refused(client.get("/v1/ledger", headers=bearer(fresh["key"])), 401, "unauthorized")
    await ok(client.get("/v1/ledger", headers=bearer(last["key"])))
    await refused(client.post(f"/v1/keys/{fresh['id']}/rotate"), 409, "key_expired")


async def test_the_last_use_of_a_key_is_noted(client, keys):
    await ok(client.get("/v1/ledger", headers=bearer(keys.read)))
    listed = {key["name"]: key for key in (await ok(client.get("/v1/keys")))["data"]}
    assert listed["reader"]["last_used_at"] is not None
    assert listed["reader"]["last_used_ip"] == "127.0.0.1"
    assert listed["first write key"]["last_used_at"] is None


async def test_the_last_key_that_manages_stays(client):
    listed = (await ok(client.get("/v1/keys")))["data"]
    (manager,) = [key for key in listed if "manage" in key["scopes"]]
    await refused(client.delete(f"/v1/keys/{manager['id']}"), 409, "last_key")
    await ok(client.post("/v1/keys", json={"name": "second", "scopes": ["manage"]}), 201)
    assert (await client.delete(f"/v1/keys/{manager['id']}")).status_code == 204
    await refused(client.get("/v1/keys"), 401, "unauthorized")


async def test_keys_are_paged(client):
    page = await ok(client.get("/v1/keys?limit=2"))
    rest = await ok(client.get(f"/v1/keys?limit=2&after={page['next']}"))
    assert (len(page["data"]), len(rest["data"]), rest["next"]) == (2, 1, None)
