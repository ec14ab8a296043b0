"""The audit log: periods, exports, messages that users send, and imports."""

import csv
import io
import json

import pytest

from tests.api.calling import add_user, bearer, eventually, ok, refused, session_of
from waypost.api.control.accounts import audit as audit_routes
from waypost.clock import iso, now_us
from waypost.domain.accounts.permissions import Role

LISTED = ("id", "at", "actor_kind", "actor_id", "actor_name", "action", "resource", "before", "after", "ip")


@pytest.fixture
async def owner(engine, keys):
    return await session_of(engine, await add_user(engine, keys.workspace_id, Role.OWNER))


async def actions(browser, owner, **params):
    found = await ok(browser.get("/v1/audit", params=params, headers=owner))
    return [entry["action"] for entry in found["data"]]


async def make_lists(browser, owner, *names):
    for name in names:
        await ok(browser.post("/v1/lists", json={"name": name}, headers=owner), 201)


async def test_a_period_of_the_log(browser, owner):
    await make_lists(browser, owner, "one", "two", "three")
    third, second, first = (await ok(browser.get("/v1/audit", headers=owner)))["data"]
    between = second["at"]
    assert len(await actions(browser, owner, since=first["at"])) == 3
    assert (await ok(browser.get("/v1/audit", params={"since": between}, headers=owner)))["data"] == [third, second]
    assert (await ok(browser.get("/v1/audit", params={"until": between}, headers=owner)))["data"] == [first]
    both = {"since": between, "until": third["at"]}
    assert (await ok(browser.get("/v1/audit", params=both, headers=owner)))["data"] == [second]
    page = await ok(browser.get("/v1/audit", params={"since": between, "limit": 1}, headers=owner))
    rest = {"since": between, "limit": 1, "after": page["next"]}
    assert await ok(browser.get("/v1/audit", params=rest, headers=owner)) == {"data": [second], "next": None}
    await refused(browser.get("/v1/audit", params={"since": "yesterday"}, headers=owner), 400, "invalid_time")
    await refused(browser.get("/v1/audit", params={"q": "a\0"}, headers=owner), 400, "invalid_parameter")


@pytest.mark.parametrize("rows", [2, 3])
async def test_the_log_is_exported_in_pages(browser, owner, monkeypatch, rows):
    monkeypatch.setattr(audit_routes, "EXPORTED", rows)
    await make_lists(browser, owner, "one", '=HYPERLINK("https://evil.example")', "three")
    listed = (await ok(browser.get("/v1/audit", headers=owner)))["data"]

    answer = await browser.get("/v1/audit", params={"format": "ndjson"}, headers=owner)
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.headers["content-disposition"] == 'attachment; filename="audit.ndjson"'
    assert [json.loads(line) for line in answer.text.splitlines()] == listed

    answer = await browser.get("/v1/audit", params={"format": "csv"}, headers=owner)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    header, *lines = csv.reader(io.StringIO(answer.text.removeprefix("\ufeff"), newline=""))
    assert header == list(LISTED)
    assert [(line[0], line[5], json.loads(line[8])) for line in lines] == [
        (entry["id"], entry["action"], entry["after"]) for entry in listed
    ]

    narrowed = {"format": "ndjson", "q": "three"}
    assert len((await browser.get("/v1/audit", params=narrowed, headers=owner)).text.splitlines()) == 1
    nothing = {"format": "csv", "until": listed[-1]["at"]}
    assert (await browser.get("/v1/audit", params=nothing, headers=owner)).text.count("\n") == 1
    await refused(browser.get("/v1/audit", params={"format": "xml"}, headers=owner), 400, "invalid_parameter")
    wrong = {"format": "csv", "since": "yesterday"}
    await refused(browser.get("/v1/audit", params=wrong, headers=owner), 400, "invalid_time")


async def test_a_formula_in_a_name_is_no_formula_in_the_export(browser, client, owner):
    made = await ok(client.post("/v1/keys", json={"name": "=cmd|' /C calc'!A0", "scopes": ["manage"]}), 201)
    rules = {"timezone": "Europe/Berlin"}
    await ok(browser.put("/v1/sending-rules", json=rules, headers=bearer(made["key"])))
    answer = await browser.get("/v1/audit", params={"format": "csv", "action": "set_sending_rules"}, headers=owner)
    (line,) = list(csv.reader(io.StringIO(answer.text, newline="")))[1:]
    assert line[4] == "'=cmd|' /C calc'!A0"


async def test_the_log_of_another_workspace_is_not_exported(browser, client, owner, keys):
    rules = {"timezone": "Europe/Berlin"}
    await ok(browser.put("/v1/sending-rules", json=rules, headers=bearer(keys.stranger)))
    await make_lists(browser, owner, "Ours")
    text = (await browser.get("/v1/audit", params={"format": "ndjson"}, headers=owner)).text
    assert "Ours" in text
    assert "Berlin" not in text


async def test_messages_of_users_are_in_the_log(browser, client, owner, sink):
    config = {"url": f"{sink.url}/gateway/send", "auth": "bearer", "token": "made-up"}
    gateway = {"name": "gateway", "connector": "http", "config": config}
    await ok(client.post("/v1/connections", json=gateway), 201)
    sms = {"channel": "sms", "to": "+12022000005", "text": "Hush"}
    once = owner | {"idempotency-key": "once"}
    sent = await ok(browser.post("/v1/messages", json=sms, headers=once), 202)
    await ok(browser.post("/v1/messages", json=sms, headers=once), 202)
    batch = {"messages": [sms, {"channel": "sms", "to": "+12022000015"}]}
    await ok(browser.post("/v1/messages/batch", json=batch, headers=owner), 202)
    later = sms | {"send_at": iso(now_us() + 3_600_000_000)}
    held = await ok(browser.post("/v1/messages", json=later, headers=owner), 202)
    await ok(browser.post(f"/v1/messages/{held['id']}/cancel", headers=owner))
    # What a key sends is in the history of the message.
    await ok(client.post("/v1/messages", json=sms), 202)

    log = (await ok(browser.get("/v1/audit", params={"q": "/v1/messages"}, headers=owner)))["data"]
    assert [(entry["action"], entry["resource"], entry["after"]) for entry in log] == [
        (
            "cancel_message",
            f"/v1/messages/{held['id']}/cancel",
            {"id": held["id"], "status": "skipped", "reason": "cancelled"},
        ),
        ("send_message", f"/v1/messages/{held['id']}", {"id": held["id"], "status": "queued"}),
        ("send_message_batch", "/v1/messages/batch", {"accepted": 1, "rejected": 1}),
        ("send_message", f"/v1/messages/{sent['id']}", {"id": sent["id"], "status": "queued"}),
    ]
    assert {entry["actor"]["kind"] for entry in log} == {"user"}
    assert "+1202" not in str(log)
    assert "Hush" not in str(log)


async def test_a_message_that_is_refused_is_not_in_the_log(browser, owner):
    sms = {"channel": "sms", "to": "+12022000005", "text": "Hello"}
    await refused(browser.post("/v1/messages", json=sms, headers=owner), 409, "no_connection")
    assert await actions(browser, owner) == []


async def test_an_import_is_in_the_log_with_its_decisions_and_its_end(browser, client, owner):
    made = await ok(browser.post("/v1/lists", json={"name": "News"}, headers=owner), 201)
    headers = owner | {"content-type": "text/csv"}
    params = {"list": made["id"], "source": "shop", "confirmed": "true"}
    content = b"Email,ada@example.com\nada@example.com,36\nnonsense,1\n"
    started = await ok(browser.post("/v1/imports", params=params, content=content, headers=headers), 202)
    by_key = await ok(client.post("/v1/imports", content=content, headers={"content-type": "text/csv"}), 202)

    async def ended():
        found = [await ok(client.get(f"/v1/imports/{one['id']}")) for one in (started, by_key)]
        return all(one["state"] == "done" for one in found)

    assert await eventually(ended)
    log = (await ok(browser.get("/v1/audit", params={"q": "import"}, headers=owner)))["data"]
    assert [(entry["action"], entry["resource"]) for entry in log] == [
        ("finish_import", f"/v1/imports/{started['id']}"),
        ("start_import", f"/v1/imports/{started['id']}"),
    ]
    finish, start = log
    assert start["after"] == {
        "id": started["id"],
        "list_id": made["id"],
        "source": "shop",
        "dry_run": False,
        "confirmed": True,
        "columns": ["email", "trait"],
    }
    assert (finish["after"]["state"], finish["after"]["imported"], finish["after"]["rejected"]) == ("done", 1, 1)
    assert finish["actor"] == start["actor"]
    assert "ada@example.com" not in str(log)


async def test_a_repeated_import_is_logged_once(browser, owner):
    headers = owner | {"content-type": "text/csv", "idempotency-key": "once"}
    for _ in range(2):
        await ok(browser.post("/v1/imports", content=b"email\nada@example.com\n", headers=headers), 202)
    assert (await actions(browser, owner, action="start_import")) == ["start_import"]
