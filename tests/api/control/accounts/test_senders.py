"""The senders of a workspace by the API, and the emails that have the default one."""

import pytest

from tests.api.calling import add_user, bearer, ok, refused, session_of
from waypost.domain.accounts.permissions import Role


@pytest.fixture
async def owner(engine, keys):
    """The headers of a request by an owner who is signed in."""
    return await session_of(engine, await add_user(engine, keys.workspace_id, Role.OWNER))


SHOP = {"address": "shop@example.com", "name": "Shop", "reply_to": "ada@example.com"}


async def make(client, **fields):
    return await ok(client.post("/v1/senders", json=SHOP | fields), 201)


async def names(client):
    """Return the senders, and which of them is the default one."""
    found = (await ok(client.get("/v1/senders")))["data"]
    return {one["name"]: one["default"] for one in found}


async def test_a_sender_is_made_shown_changed_and_deleted(client, browser, owner):
    made = await ok(browser.post("/v1/senders", json=SHOP, headers=owner), 201)
    assert {name: made[name] for name in SHOP} == SHOP
    assert (made["channel"], made["default"], made["mailbox"]) == ("email", False, "Shop <shop@example.com>")
    path = f"/v1/senders/{made['id']}"
    assert await ok(client.get(path)) == made
    assert (await ok(client.get("/v1/senders")))["data"] == [made]
    changed = await ok(browser.patch(path, json={"name": "Lovelace, Ada", "default": True}, headers=owner))
    assert changed["mailbox"] == '"Lovelace, Ada" <shop@example.com>'
    assert (changed["reply_to"], changed["default"]) == ("ada@example.com", True)
    assert await ok(client.get(path)) == changed
    assert (await browser.delete(path, headers=owner)).status_code == 204
    await refused(client.get(path), 404, "not_found")
    await refused(client.delete(path), 404, "not_found")
    log = (await ok(browser.get("/v1/audit", headers=owner)))["data"]
    assert [entry["action"] for entry in log] == ["delete_sender", "change_sender", "create_sender"]
    assert log[1]["before"]["name"] == "Shop"
    assert log[1]["after"]["name"] == "Lovelace, Ada"


async def test_one_sender_is_the_default_one(client, engine, keys):
    first = await make(client, default=True)
    assert engine.senders.default(keys.workspace_id, "email").name == "Shop"
    await make(client, name="News", default=True)
    assert await names(client) == {"Shop": False, "News": True}
    await ok(client.patch(f"/v1/senders/{first['id']}", json={"default": True}))
    assert await names(client) == {"Shop": True, "News": False}
    await ok(client.patch(f"/v1/senders/{first['id']}", json={"reply_to": ""}))
    assert engine.senders.default(keys.workspace_id, "email").reply_to == ""
    await ok(client.patch(f"/v1/senders/{first['id']}", json={"default": False}))
    assert engine.senders.default(keys.workspace_id, "email") is None
    await ok(client.patch(f"/v1/senders/{first['id']}", json={"default": True}))
    assert (await client.delete(f"/v1/senders/{first['id']}")).status_code == 204
    assert engine.senders.default(keys.workspace_id, "email") is None
    assert engine.senders.default(keys.workspace_id + 1, "email") is None


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ({"address": "shop"}, 400, "invalid_sender", "address"),
        ({"name": "Shop\nBcc: eve@example.com"}, 400, "invalid_sender", "name"),
        ({"reply_to": "<>"}, 400, "invalid_sender", "reply_to"),
        ({"channel": "sms"}, 400, "invalid_body", "channel"),
        ({"name": "x" * 201}, 400, "invalid_body", "name"),
        ({"address": "SHOP@EXAMPLE.COM".replace("SHOP", "shop")}, 409, "sender_exists", None),
    ],
)
async def test_a_sender_that_is_wrong_is_refused(client, body, status, code, field):
    await make(client)
    other = await make(client, name="Other")
    problem = await refused(client.post("/v1/senders", json=SHOP | body), status, code)
    assert problem.get("field") == field
    if "channel" not in body:
        await refused(client.patch(f"/v1/senders/{other['id']}", json={"name": "Shop"} | body), status, code)
    assert await names(client) == {"Shop": False, "Other": False}


async def test_a_workspace_has_so_many_senders(client, monkeypatch):
    monkeypatch.setattr("waypost.engine.messaging.senders.MOST_SENDERS", 2)
    await make(client)
    await make(client, name="Other")
    problem = await refused(client.post("/v1/senders", json=SHOP | {"name": "Third"}), 409, "too_many_senders")
    assert "2" in problem["detail"]


async def test_senders_of_another_workspace_are_not_there(client, keys):
    made = await make(client, default=True)
    stranger, path = bearer(keys.stranger), f"/v1/senders/{made['id']}"
    assert (await ok(client.get("/v1/senders", headers=stranger)))["data"] == []
    await refused(client.get(path, headers=stranger), 404, "not_found")
    await refused(client.patch(path, json={"name": "Mine"}, headers=stranger), 404, "not_found")
    await refused(client.delete(path, headers=stranger), 404, "not_found")
    # Its default one does not take the place of ours.
    await ok(client.post("/v1/senders", json=SHOP | {"default": True}, headers=stranger), 201)
    assert await names(client) == {"Shop": True}
