"""The deletion of a workspace: who may do it, what it ends at once, and what is deleted afterwards."""

import json

import pytest

from tests.api.calling import add_user, bearer, eventually, make_webhook, ok, refused, session_of, settled, track
from waypost.clock import MINUTE, iso, now_us
from waypost.domain.accounts import workspace_deletion
from waypost.domain.accounts.permissions import Role
from waypost.domain.tracking.mail_tokens import UnsubscribeTarget
from waypost.domain.values.ids import public
from waypost.engine.accounts import users
from waypost.engine.tracking.links import LinkTarget, add_links, new_links


@pytest.fixture
async def owner(engine, keys):
    """The session of an owner of both workspaces, which chooses the first."""
    user_id = await add_user(engine, keys.workspace_id, Role.OWNER)
    await engine.database.transact(users.add_member, user_id, keys.workspace_id + 1, Role.OWNER, now_us())
    session = await session_of(engine, user_id)
    return session | {"waypost-workspace": public("ws", keys.workspace_id)}


@pytest.fixture
async def gateway(client, sink):
    config = {"url": f"{sink.url}/gateway/send", "auth": "bearer", "token": "made-up"}
    made = {"name": "gateway", "connector": "http", "config": config}
    return await ok(client.post("/v1/connections", json=made), 201)


async def remove(browser, owner, name="first"):
    return await browser.request("DELETE", "/v1/workspace", json={"name": name}, headers=owner)


async def test_a_workspace_is_deleted_by_its_owner_who_types_its_name(browser, engine, keys, owner):
    await refused(remove(browser, owner, "First"), 400, "name_mismatch")
    await refused(browser.request("DELETE", "/v1/workspace", headers=owner), 400, "invalid_body")
    admin = await session_of(engine, await add_user(engine, keys.workspace_id, Role.ADMIN))
    await refused(remove(browser, admin), 403, "forbidden")
    await refused(remove(browser, bearer(keys.manage)), 403, "forbidden")
    only = await session_of(engine, await add_user(engine, keys.workspace_id, Role.OWNER))
    await refused(remove(browser, only), 409, "last_workspace")
    await ok(browser.get("/v1/workspace", headers=owner))
    assert (await remove(browser, owner)).status_code == 204
    await refused(browser.get("/v1/workspace", headers=owner), 404, "no_such_workspace")
    me = await ok(browser.get("/v1/me", headers={"cookie": owner["cookie"]}))
    assert [one["name"] for one in me["workspaces"]] == ["second"]
    assert me["workspace"]["name"] == "second"


async def test_a_deletion_asks_for_a_recent_confirmation(browser, engine, owner):
    async def work(tx):
        tx._connection.execute("UPDATE sessions SET confirmed_at = 1")

    await engine.database.transact(work)
    engine.sessions.forget()
    await refused(remove(browser, owner), 403, "confirmation_required")


async def test_nothing_of_a_deleted_workspace_is_accepted(browser, client, engine, keys, owner, gateway, hook):
    text_client = await ok(client.post("/v1/text-clients", json={"name": "Klaviyo"}), 201)
    as_client = {"X-Client-ID": text_client["client_id"], "X-Client-Secret": text_client["client_secret"]}
    text = {"phone": "+12022000005", "text": "Hi", "callbackData": '{"profileID": "1"}', "sendPurpose": "Hello"}
    assert (await browser.post("/text/message/send", json=text, headers=as_client)).status_code == 200
    receipts: dict[str, list[str]] = {"records": []}
    receipt_key = {"x-amz-firehose-access-key": gateway["access_key_for_receipts"]}
    event = {"userId": "ada", "event": "Order Shipped"}
    await ok(browser.post("/v1/track", json=event, headers=bearer(keys.ingest)))

    assert (await remove(browser, owner)).status_code == 204

    for key in (keys.manage, keys.read):
        await refused(browser.get("/v1/lists", headers=bearer(key)), 401, "unauthorized")
    await refused(browser.post("/v1/track", json=event, headers=bearer(keys.ingest)), 401, "unauthorized")
    sms = {"channel": "sms", "to": "+12022000005", "text": "Hi"}
    await refused(browser.post("/v1/messages", json=sms, headers=bearer(keys.manage)), 401, "unauthorized")
    assert (await browser.post("/text/message/send", json=text, headers=as_client)).status_code == 401
    tracker = await browser.post("/tracking/amazon-pinpoint-events", json=receipts, headers=receipt_key)
    assert tracker.status_code == 401
    assert engine.connections.for_channel(keys.workspace_id, "sms") == []
    # The other workspace is as before.
    await ok(browser.get("/v1/lists", headers=bearer(keys.stranger)))


async def test_links_of_a_deleted_workspace_lead_nowhere(browser, client, engine, keys, owner):
    target = LinkTarget(workspace_id=keys.workspace_id, url="https://shop.example/sale")
    (link,) = new_links([target], now_us(), 400)
    await engine.database.transact(add_links, [link])
    short = link.short_url("")
    unsubscribe = engine.tracker.tokens.unsubscribe_token(
        UnsubscribeTarget(keys.workspace_id, "email", "ada@example.com")
    )
    assert (await browser.get(short)).status_code == 302
    assert (await browser.get(f"/u/{unsubscribe}")).status_code == 200
    assert (await remove(browser, owner)).status_code == 204
    assert (await browser.get(short)).status_code == 404
    for path in (f"/u/{unsubscribe}", f"/u/{unsubscribe}/preferences"):
        assert (await browser.get(path)).status_code == 404
    answer = await browser.post(f"/u/{unsubscribe}", content=b"List-Unsubscribe=One-Click")
    assert answer.status_code == 404


async def rows(engine, text):
    async def work(tx):
        return list(tx._connection.execute(text))

    return await engine.database.read(work)


async def test_what_is_not_sent_ends_and_the_ledger_stays_right(
    browser, client, engine, keys, owner, gateway, sink, monkeypatch
):
    # Nothing is deleted while this test looks.
    webhook = await make_webhook(client, f"{sink.url}/hook/hang?delay=60", event_types=["event.order_shipped"])
    await ok(client.patch(f"/v1/webhooks/{webhook['id']}", json={"concurrency": 1}))
    await track(client, 5)
    await settled(client, webhook, accepted=5)
    later = {"channel": "sms", "to": "+12022000005", "text": "Hi", "send_at": iso(now_us() + 60 * MINUTE)}
    for _ in range(3):
        await ok(client.post("/v1/messages", json=later), 202)
    found = await ok(client.get("/v1/workspace/contents"))
    assert (found["queued_messages"], found["pending_deliveries"], found["webhooks"]) == (3, 5, 1)

    assert (await remove(browser, owner)).status_code == 204

    async def ended():
        left = await rows(engine, "SELECT status FROM messages")
        ledger = await rows(
            engine, "SELECT sum(accepted), sum(delivered), sum(pending), sum(dead) FROM endpoint_counts"
        )
        return ({status for (status,) in left} <= {"skipped", "failed"}) and ledger[0][2] == 0 and ledger[0]

    accepted, delivered, pending, dead = await eventually(ended)
    assert (accepted, pending) == (delivered + dead, 0)
    assert dead == 5
    assert await rows(engine, "SELECT DISTINCT state, reason FROM deliveries") in (
        [("dead", "workspace_deleted")],
        [("dead", "endpoint_deleted")],
    )


async def test_what_a_workspace_contained_is_deleted(browser, client, engine, keys, owner, gateway, monkeypatch):
    monkeypatch.setattr(workspace_deletion, "GRACE", 0)
    people = b"email\nada@example.com\ngrace@example.com\n"
    await ok(client.post("/v1/imports", content=people, headers={"content-type": "text/csv"}), 202)
    await ok(client.post("/v1/lists", json={"name": "News"}), 201)
    await ok(browser.post("/v1/track", json={"userId": "bo", "event": "Seen"}, headers=bearer(keys.stranger)))
    await ok(browser.post("/v1/lists", json={"name": "Theirs"}, headers=bearer(keys.stranger)), 201)
    await track(client, 3)

    async def imported():
        found = await ok(client.get("/v1/imports"))
        return found["data"][0]["state"] == "done"

    assert await eventually(imported)
    assert (await remove(browser, owner)).status_code == 204

    async def gone():
        return await rows(engine, "SELECT 1 FROM workspace_deletions WHERE stage = 'done'")

    assert await eventually(gone)
    for table in ("events", "profiles", "lists", "identities", "connections", "imports", "memberships"):
        left = await rows(engine, f"SELECT DISTINCT workspace_id FROM {table}")  # noqa: S608
        assert left in ([], [(keys.workspace_id + 1,)]), table
    assert len((await ok(browser.get("/v1/lists", headers=bearer(keys.stranger))))["data"]) == 1
    assert len((await ok(browser.get("/v1/events", headers=bearer(keys.stranger))))["data"]) == 1
    # Who deleted it stays in the audit log.
    ((actor, before),) = await rows(
        engine, "SELECT actor_kind, before FROM audit_log WHERE action = 'delete_workspace'"
    )
    assert actor == "user"
    assert json.loads(before)["name"] == "first"


async def test_a_new_workspace_gets_a_new_number(browser, engine, keys, owner):
    second = owner | {"waypost-workspace": public("ws", keys.workspace_id + 1)}
    assert (await remove(browser, second, "second")).status_code == 204
    made = await ok(browser.post("/v1/workspaces", json={"name": "third"}, headers=owner), 201)
    assert made["id"] == public("ws", keys.workspace_id + 2)
