"""The first visit, invitations, password resets, roles, workspaces, and the audit log."""

import contextlib
import re
import sqlite3

import pytest
from argon2 import PasswordHasher

from tests.api.calling import PASSWORD, add_user, bearer, ok, refused, session_of
from waypost.clock import now_us
from waypost.domain.accounts.permissions import Role, role_permissions
from waypost.domain.values.ids import public
from waypost.engine.accounts import account_tokens
from waypost.engine.accounts.passwords import Passwords

NEW = {"name": "Grace", "password": PASSWORD}


@pytest.fixture(autouse=True)
def cheap_passwords(engine):
    engine.sessions.passwords = Passwords(PasswordHasher(time_cost=1, memory_cost=64))


@pytest.fixture
async def owner(engine, keys):
    return await session_of(engine, await add_user(engine, keys.workspace_id, Role.OWNER))


async def mails(engine):
    """Return the mails to users that wait to be sent: recipient and link."""

    async def work(tx):
        rows = await tx.rows("notices.due", n=100)
        return [(recipient, *re.findall(r"http\S+", body)) for _, recipient, _, body, _ in rows]

    return await engine.database.read(work)


async def invite(browser, owner, **fields):
    """Invite somebody; return the invitation and its token."""
    body = {"email": "grace@example.com", "role": "marketer"} | fields
    made = await ok(browser.post("/v1/invitations", json=body, headers=owner), 201)
    return made, made["url"].partition("#")[2]


async def test_the_first_visitor_becomes_the_owner(browser, engine, keys):
    assert (await ok(browser.get("/v1/setup")))["needs_owner"]
    code = await engine.database.transact(account_tokens.offer_setup, engine.ids, now_us())
    body = {"code": code, "email": "ada@example.com", "password": PASSWORD}
    await refused(browser.post("/v1/setup", json=body | {"code": "guess"}), 401, "wrong_code")
    await refused(browser.post("/v1/setup", json=body | {"password": "short"}), 400, "invalid_password")
    await refused(browser.post("/v1/setup", json=body, headers={"origin": "https://evil.example"}), 403, "cross_site")
    me = await ok(browser.post("/v1/setup", json=body), 201)
    assert [(one["name"], one["role"]) for one in me["workspaces"]] == [("first", "owner"), ("second", "owner")]
    await ok(browser.get("/v1/lists"))
    assert not (await ok(browser.get("/v1/setup")))["needs_owner"]
    await refused(browser.post("/v1/setup", json=body | {"email": "eve@example.com"}), 409, "already_initialised")
    assert await engine.database.transact(account_tokens.offer_setup, engine.ids, now_us()) is None


async def test_an_invitation_is_accepted_once(browser, owner, engine):
    made, token = await invite(browser, owner)
    assert await mails(engine) == [("grace@example.com", made["url"])]
    listed = await ok(browser.get("/v1/invitations", headers=owner))
    assert listed["data"] == [{name: value for name, value in made.items() if name != "url"}]
    await refused(browser.post("/v1/invitations/accept", json=NEW | {"token": "guess"}), 401, "link_ended")
    me = await ok(browser.post("/v1/invitations/accept", json=NEW | {"token": token}))
    assert (me["user"]["email"], me["user"]["name"], me["role"]) == ("grace@example.com", "Grace", "marketer")
    await ok(browser.get("/v1/lists"))
    await refused(browser.post("/v1/invitations/accept", json=NEW | {"token": token}), 401, "link_ended")
    assert (await ok(browser.get("/v1/invitations", headers=owner)))["data"] == []


async def test_a_new_invitation_replaces_the_one_before(browser, owner):
    _, first = await invite(browser, owner)
    made, second = await invite(browser, owner, role="viewer")
    await refused(browser.post("/v1/invitations/accept", json=NEW | {"token": first}), 401, "link_ended")
    assert (await browser.delete(f"/v1/invitations/{made['id']}", headers=owner)).status_code == 204
    await refused(browser.post("/v1/invitations/accept", json=NEW | {"token": second}), 401, "link_ended")


async def test_a_link_alone_does_not_open_an_existing_user(browser, owner, engine, keys):
    """Whoever reads the mail of a user must not become that user without the password."""
    grace = await add_user(engine, keys.workspace_id + 1, Role.VIEWER)
    session = await session_of(engine, grace)
    email = (await ok(browser.get("/v1/me", headers=session)))["user"]["email"]
    _, token = await invite(browser, owner, email=email)
    await refused(browser.post("/v1/invitations/accept", json=NEW | {"token": token}), 409, "sign_in_first")
    await refused(browser.post("/v1/invitations/accept", json={"token": token}), 401, "unauthorized")
    await refused(browser.post("/v1/invitations/accept", json={"token": token}, headers=owner), 409, "other_user")
    answer = await browser.post("/v1/invitations/accept", json={"token": token}, headers=session)
    # The session stays as it is: the link proves nothing about who holds it.
    assert "set-cookie" not in answer.headers
    me = answer.json()
    assert [one["role"] for one in me["workspaces"]] == ["marketer", "viewer"]


async def test_a_password_is_reset_by_mail(browser, owner, engine):
    email = (await ok(browser.get("/v1/me", headers=owner)))["user"]["email"]
    assert (await browser.post("/v1/password-resets", json={"email": email.upper()})).status_code == 202
    assert (await browser.post("/v1/password-resets", json={"email": "nobody@example.com"})).status_code == 202
    ((recipient, url),) = await mails(engine)
    assert recipient == email
    token = url.partition("/reset#")[2]
    body = {"token": token, "password": "another battery horse"}
    await refused(
        browser.post("/v1/password-resets/confirm", json=body | {"password": "short"}), 400, "invalid_password"
    )
    assert (await browser.post("/v1/password-resets/confirm", json=body)).status_code == 204
    await refused(browser.get("/v1/me", headers=owner), 401, "session_ended")
    await refused(browser.post("/v1/password-resets/confirm", json=body), 401, "link_ended")
    await refused(browser.post("/v1/sessions", json={"email": email, "password": PASSWORD}), 401, "wrong_credentials")
    await ok(browser.post("/v1/sessions", json={"email": email, "password": body["password"]}))


async def test_links_of_mails_are_shown_to_nobody_and_forgotten(browser, owner, engine, client, tmp_path):
    await invite(browser, owner)
    assert (await ok(client.get("/v1/notices")))["data"] == []

    async def sent(tx):
        ((id_, *_),) = await tx.rows("notices.due", n=10)
        await tx.run("notices.settle", id=id_, state="sent", due_at=None, error=None)

    await engine.database.transact(sent)
    with contextlib.closing(sqlite3.connect(tmp_path / "waypost.db")) as stored:
        assert stored.execute("SELECT body FROM notices").fetchall() == [("",)]


async def test_roles_are_changed_as_far_as_one_may(browser, owner, engine, keys):
    admin = await session_of(engine, await add_user(engine, keys.workspace_id, Role.ADMIN))
    viewer = await add_user(engine, keys.workspace_id, Role.VIEWER)
    path, session = f"/v1/users/{public('usr', viewer)}", await session_of(engine, viewer)
    await refused(browser.post("/v1/lists", json={"name": "x"}, headers=session), 403, "forbidden")
    assert (await ok(browser.patch(path, json={"role": "marketer"}, headers=admin)))["role"] == "marketer"
    await ok(browser.post("/v1/lists", json={"name": "x"}, headers=session), 201)
    await refused(browser.patch(path, json={"role": "owner"}, headers=admin), 403, "role_too_high")
    await refused(
        browser.post("/v1/invitations", json={"email": "e@example.com", "role": "owner"}, headers=admin),
        403,
        "role_too_high",
    )
    await refused(browser.patch(path, json={"role": "king"}, headers=owner), 400, "invalid_role")
    await ok(browser.patch(path, json={"role": "owner"}, headers=owner))
    await refused(browser.delete(path, headers=admin), 403, "role_too_high")
    await refused(browser.patch(path, json={"role": "viewer"}, headers=admin), 403, "role_too_high")


async def test_roles_that_are_not_nested_are_checked_one_by_one(browser, engine, keys, client):
    viewer = await add_user(engine, keys.workspace_id, Role.MARKETER)
    scopes = sorted(role_permissions(Role.MARKETER) | {"users.write"})
    key = await ok(client.post("/v1/keys", json={"name": "x", "scopes": scopes}), 201)
    change = browser.patch(f"/v1/users/{public('usr', viewer)}", json={"role": "developer"}, headers=bearer(key["key"]))
    await refused(change, 403, "role_too_high")


async def test_the_last_owner_stays(browser, owner):
    me = (await ok(browser.get("/v1/me", headers=owner)))["user"]["id"]
    await refused(browser.patch(f"/v1/users/{me}", json={"role": "admin"}, headers=owner), 409, "last_owner")
    await refused(browser.delete(f"/v1/users/{me}", headers=owner), 409, "last_owner")


async def test_who_is_removed_sees_nothing_at_once(browser, owner, engine, keys):
    viewer = await add_user(engine, keys.workspace_id, Role.VIEWER)
    session = await session_of(engine, viewer)
    await ok(browser.get("/v1/lists", headers=session))
    assert (await browser.delete(f"/v1/users/{public('usr', viewer)}", headers=owner)).status_code == 204
    await refused(browser.get("/v1/lists", headers=session), 403, "no_workspace")
    assert (await ok(browser.get("/v1/me", headers=session)))["workspaces"] == []


async def test_users_of_another_workspace_are_not_there(browser, owner, engine, keys):
    stranger = public("usr", await add_user(engine, keys.workspace_id + 1, Role.VIEWER))
    await refused(browser.get(f"/v1/users/{stranger}", headers=owner), 404, "not_found")
    await refused(browser.patch(f"/v1/users/{stranger}", json={"role": "admin"}, headers=owner), 404, "not_found")
    await refused(browser.delete(f"/v1/users/{stranger}", headers=owner), 404, "not_found")
    assert stranger not in str(await ok(browser.get("/v1/users", headers=owner)))


async def test_a_user_makes_and_switches_workspaces(browser, owner):
    made = await ok(browser.post("/v1/workspaces", json={"name": "Shop"}, headers=owner), 201)
    there = owner | {"waypost-workspace": made["id"]}
    await ok(browser.post("/v1/lists", json={"name": "News"}, headers=there), 201)
    assert (await ok(browser.get("/v1/me", headers=there)))["workspace"]["name"] == "Shop"
    assert (await ok(browser.get("/v1/lists", headers=owner)))["data"] == []
    assert len((await ok(browser.get("/v1/lists", headers=bearer(made["api_key"]))))["data"]) == 1
    assert (await ok(browser.patch("/v1/workspace", json={"name": "Store"}, headers=there)))["name"] == "Store"


@pytest.mark.parametrize(
    ("role", "may"),
    [(Role.OWNER, True), (Role.ADMIN, True), (Role.MARKETER, False), (Role.DEVELOPER, False), (Role.VIEWER, False)],
)
async def test_who_may_make_a_workspace(browser, engine, keys, role, may):
    session = await session_of(engine, await add_user(engine, keys.workspace_id, role))
    asked = browser.post("/v1/workspaces", json={"name": "Shop"}, headers=session)
    await (ok(asked, 201) if may else refused(asked, 403, "forbidden"))


async def test_who_is_in_no_workspace_may_make_one(browser, engine, keys):
    session = await session_of(engine, await add_user(engine, keys.workspace_id, None))
    await ok(browser.post("/v1/workspaces", json={"name": "Shop"}, headers=session), 201)


async def test_roles_are_listed_from_the_table(browser, owner):
    found = await ok(browser.get("/v1/roles", headers=owner))
    assert [one["role"] for one in found["data"]] == ["owner", "admin", "marketer", "developer", "viewer"]
    assert {one["name"] for one in found["permissions"]} == set(found["data"][0]["permissions"])


async def test_the_audit_log_has_who_changed_what(browser, owner, hook):
    webhook = {"url": hook, "event_types": ["*"], "headers": {"X-Secret": "hush"}}
    made = await ok(browser.post("/v1/webhooks", json=webhook, headers=owner), 201)
    path = f"/v1/webhooks/{made['id']}"
    await ok(browser.patch(path, json={"description": "Shop"}, headers=owner))
    assert (await browser.delete(path, headers=owner)).status_code == 204
    log = (await ok(browser.get("/v1/audit", headers=owner)))["data"]
    assert [(entry["action"], entry["resource"]) for entry in log] == [
        ("delete_webhook", path),
        ("update_webhook", path),
        ("create_webhook", path),
    ]
    deleted, changed, created = log
    me = (await ok(browser.get("/v1/me", headers=owner)))["user"]
    assert changed["actor"] == {"kind": "user", "id": me["id"], "name": me["email"]}
    assert (changed["before"], changed["after"]) == ({"description": ""}, {"description": "Shop"})
    assert (created["before"], created["after"]["url"]) == (None, hook)
    assert (deleted["before"]["description"], deleted["after"]) == ("Shop", None)
    assert changed["ip"] == "192.0.2.7"
    assert made["secret"] not in str(log)
    assert "hush" not in str(log)


async def test_the_audit_log_is_searched(browser, owner, client):
    await ok(client.put("/v1/sending-rules", json={"timezone": "Europe/Berlin"}))
    await ok(browser.post("/v1/lists", json={"name": "100%_sure"}, headers=owner), 201)
    me = (await ok(browser.get("/v1/me", headers=owner)))["user"]["id"]

    async def actions(**params):
        found = await ok(browser.get("/v1/audit", params=params, headers=owner))
        return [entry["action"] for entry in found["data"]]

    assert await actions() == ["make_list", "set_sending_rules"]
    assert await actions(actor=me) == ["make_list"]
    assert await actions(action="set_sending_rules") == ["set_sending_rules"]
    assert await actions(q="Berlin") == ["set_sending_rules"]
    assert await actions(q="100%_sure") == ["make_list"]
    assert await actions(q="100x_sure") == []


async def test_a_change_that_fails_is_not_in_the_log(browser, owner):
    await refused(browser.post("/v1/lists", json={"name": ""}, headers=owner), 400, "invalid_body")
    await refused(browser.delete("/v1/lists/lst_0000000000000001", headers=owner), 404, "unknown_list")
    assert (await ok(browser.get("/v1/audit", headers=owner)))["data"] == []


async def test_a_repeated_request_is_logged_once(browser, owner):
    headers = owner | {"idempotency-key": "once"}
    for _ in range(2):
        await ok(browser.post("/v1/lists", json={"name": "News"}, headers=headers), 201)
    assert len((await ok(browser.get("/v1/audit", headers=owner)))["data"]) == 1


async def test_what_keys_do_to_people_all_day_is_not_in_the_log(browser, owner, client):
    await ok(client.post("/v1/profiles", json={"user_id": "ada"}))
    await ok(browser.post("/v1/profiles", json={"user_id": "grace"}, headers=owner))
    (entry,) = (await ok(browser.get("/v1/audit", headers=owner)))["data"]
    assert entry["actor"]["kind"] == "user"
    # What is known of a person stays where it can be deleted.
    assert entry["after"].keys() == {"id"}
    assert "grace" not in str(entry["after"])


async def test_a_deleted_person_is_not_kept_in_the_log(browser, owner):
    made = await ok(browser.post("/v1/profiles", json={"email": "grace@example.com"}, headers=owner))
    assert (await browser.delete(f"/v1/profiles/{made['id']}", headers=owner)).status_code < 300
    log = await ok(browser.get("/v1/audit", headers=owner))
    assert "grace@example.com" not in str(log)
    assert len(log["data"]) == 2


async def test_the_log_has_no_link_and_no_key(browser, owner, client, sink):
    made, token = await invite(browser, owner)
    config = {"region": "us-east-1", "project_id": "shop", "access_key": "AKIAIOSFODNN7EXAMPLE", "secret_key": "hush"}
    asked = {"name": "Pinpoint", "connector": "aws-pinpoint", "config": config | {"endpoint_url": sink.url}}
    connection = await ok(client.post("/v1/connections", json=asked | {"skip_check": True}), 201)
    log = str(await ok(browser.get("/v1/audit", headers=owner)))
    assert "create_connection" in log
    for secret in (token, made["url"], connection["access_key_for_receipts"], "hush"):
        assert secret not in log


async def test_a_webhook_names_the_user_who_made_it(browser, owner, hook):
    made = await ok(browser.post("/v1/webhooks", json={"url": hook, "event_types": ["*"]}, headers=owner), 201)
    me = (await ok(browser.get("/v1/me", headers=owner)))["user"]
    assert made["user_name"] == me["email"]
    assert public("usr", int(made["user_id"])) == me["id"]
