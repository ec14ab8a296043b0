"""API keys."""

import pytest

from tests.api.calling import bearer, ok, refused, track
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
        {"name": "x", "scopes": ["everything"]},
        {"name": "", "scopes": ["read"]},
        {"name": "x" * 201, "scopes": ["read"]},
        {"name": "x"},
        {"name": "x", "scopes": ["read"], "colour": "red"},
    ],
)
async def test_what_is_no_key_is_refused(body, client):
    await refused(client.post("/v1/keys", json=body), 400, "invalid_body")


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
