"""Profiles are created, changed, searched, exported, and deleted with everything that leads to the person."""

import pytest

from tests.api.calling import eventually, ok, refused, track
from waypost.api.control.audience import person_export
from waypost.clock import HOUR, iso, now_us
from waypost.domain.values.ids import internal, public
from waypost.engine.messaging import deletions


async def put(client, **fields):
    return await ok(client.post("/v1/profiles", json=fields))


async def test_identifiers_create_a_profile_and_change_it(client):
    made = await put(client, user_id="ada", email="Ada@Example.com", traits={"plan": "free", "old": 1})
    assert (made["user_id"], made["email"], made["traits"]) == ("ada", "ada@example.com", {"plan": "free", "old": 1})
    again = await put(client, email="ada@example.com", phone="+12025550101", traits={"plan": "pro", "old": None})
    assert again["id"] == made["id"]
    assert again["traits"] == {"plan": "pro"}
    assert again["phone"] == "+12025550101"
    events = (await ok(client.get(f"/v1/profiles/{made['id']}/events")))["data"]
    assert [event["type"] for event in events] == ["profile.identified"] * 2
    assert events[0]["data"]["traits"] == {
        "email": "ada@example.com",
        "phone": "+12025550101",
        "plan": "pro",
        "old": None,
    }


async def test_a_profile_gets_more_identifiers(client):
    made = await put(client, email="ada@example.com")
    place = f"/v1/profiles/{made['id']}"
    changed = await ok(client.patch(place, json={"user_id": "ada", "phone": "+12025550101", "traits": {"a": True}}))
    assert changed["id"] == made["id"]
    assert (changed["user_id"], changed["phone"], changed["traits"]) == ("ada", "+12025550101", {"a": True})
    await ok(client.patch(place, json={"email": "ada@work.example"}))
    assert set((await ok(client.get(place)))["emails"]) == {"ada@example.com", "ada@work.example"}


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, "missing_identity"),
        ({"email": "nobody"}, "invalid_identifier"),
        ({"user_id": "a", "traits": {"t": "\0"}}, "invalid_text"),
        ({"user_id": "a", "traits": {"t": "x" * 40_000}}, "invalid_body"),
        ({"user_id": "a", "colour": "red"}, "invalid_body"),
    ],
)
async def test_what_is_no_profile_is_refused(fields, code, client):
    await refused(client.post("/v1/profiles", json=fields), 400, code)


async def test_people_are_found_by_the_start_of_an_identifier(client):
    for number in range(5):
        await put(client, user_id=f"Team-{number}", email=f"team{number}@example.com")
    await put(client, user_id="teamless", phone="+12025550101")
    found, after = [], ""
    while True:
        page = await ok(client.get(f"/v1/profiles?query=team&limit=2{after}"))
        found += [one["user_id"] for one in page["data"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert found == [*[f"Team-{number}" for number in range(5)], "teamless"]
    for query in ("%2B1202", "%2B1%20(202)", "teaml"):
        assert [one["user_id"] for one in (await ok(client.get(f"/v1/profiles?query={query}")))["data"]] == ["teamless"]
    assert (await ok(client.get("/v1/profiles?query=nobody")))["data"] == []
    await refused(client.get("/v1/profiles?query=a&email=a@b.de"), 400, "several_identifiers")


@pytest.mark.parametrize(
    ("value", "query"),
    [
        ("pro", "pro"),
        ('a "b" c', "a %22b%22 c"),
        (42, "42"),
        ("42", "42"),
        (True, "true"),
        ("Zoë", "Zoë"),
        (1.5, "1.5"),
    ],
)
async def test_people_are_found_by_a_trait(value, query, client):
    await put(client, user_id="ada", traits={"it's": value})
    await put(client, user_id="bob", traits={"it's": "other"})
    await put(client, user_id="eve", traits={"other": value})
    found = (await ok(client.get(f"/v1/profiles?trait=it's&value={query}")))["data"]
    assert [one["user_id"] for one in found] == ["ada"]


async def test_a_trait_needs_a_value(client):
    await refused(client.get("/v1/profiles?trait=plan"), 400, "invalid_parameter")


@pytest.fixture
async def ada(client):
    """A person with events, a list, a tag, subscriptions, and a message that waits."""
    made = await put(client, user_id="ada", email="ada@example.com", phone="+12025550101", traits={"plan": "pro"})
    await track(client, 3)
    await ok(client.put(f"/v1/profiles/{made['id']}/tags/vip"))
    letters = await ok(client.post("/v1/lists", json={"name": "News"}), 201)
    await ok(client.post(f"/v1/lists/{letters['id']}/members", json={"people": [{"user_id": "ada"}]}))
    for channel, address, state in (
        ("sms", "+12025550101", "unsubscribed"),
        ("email", "ada@example.com", "subscribed"),
    ):
        said = {"channel": channel, "address": address, "state": state, "proof": {"ip": "192.0.2.7"}}
        await ok(client.put("/v1/subscriptions", json=said))
    config = {"host": "127.0.0.1", "port": 9, "security": "none", "from_email": "news@example.com"}
    mail = {"name": "Mail", "connector": "smtp", "config": config, "skip_check": True}
    await ok(client.post("/v1/connections", json=mail), 201)
    body = {"channel": "email", "profile_id": made["id"], "subject": "Hi", "text": "Hello Ada"}
    body["send_at"] = iso(now_us() + HOUR)
    message = await ok(client.post("/v1/messages", json=body), 202)
    return made, letters, message


async def test_an_export_has_everything(client, ada):
    made, letters, message = ada
    response = await client.get(f"/v1/profiles/{made['id']}/export")
    assert response.headers["content-disposition"] == f'attachment; filename="{made["id"]}.json"'
    found = response.json()
    assert found["profile"]["id"] == made["id"]
    assert found["profile"]["tags"] == ["vip"]
    assert [one["id"] for one in found["lists"]] == [letters["id"]]
    assert {one["channel"]: one["state"] for one in found["subscriptions"]} == {
        "email": "subscribed",
        "sms": "unsubscribed",
    }
    events = (await ok(client.get(f"/v1/profiles/{made['id']}/events?limit=1000")))["data"]
    assert {one["id"] for one in found["events"]} >= {one["id"] for one in events[-8:]}
    assert [one["id"] for one in found["messages"]] == [message["id"]]
    assert found["messages"][0]["content"]["text"] == "Hello Ada"


async def test_a_deletion_leaves_nothing_of_the_person(client, ada, monkeypatch):
    monkeypatch.setattr(deletions, "GRACE", 0)
    made, letters, message = ada
    await track(client, 1, userId="bob")
    before = len((await ok(client.get("/v1/events?limit=1000")))["data"])
    assert (await client.delete(f"/v1/profiles/{made['id']}")).status_code == 204
    await refused(client.get(f"/v1/profiles/{made['id']}"), 404, "not_found")
    await refused(client.delete(f"/v1/profiles/{made['id']}"), 404, "not_found")
    assert (await ok(client.get("/v1/profiles?email=ada@example.com")))["data"] == []
    assert (await ok(client.get(f"/v1/lists/{letters['id']}")))["members"]["subscribed"] == 0
    assert (await ok(client.get("/v1/tags")))["data"] == []

    async def stripped():
        found = (await ok(client.get("/v1/events?limit=1000")))["data"]
        left = [event for event in found if event["type"] != "profile.deleted" and made["id"] in str(event)]
        return None if left or "ada@" in str(found) else found

    events = await eventually(stripped)
    assert len(events) > before
    # Ids are random, and some contain the three letters.
    for trace in ("'ada'", "ada@", "2025550101", "'pro'"):
        assert trace not in str(events)
    shown = await ok(client.get(f"/v1/messages/{message['id']}"))
    assert (shown["status"], shown["reason"]) == ("skipped", "profile_deleted")
    assert shown["to"] == ""
    assert shown["profile_id"] is None
    assert not shown["content"].get("text")
    # That the person wants no texts is still known; nothing proves it with personal data any more.
    kept = await ok(client.get("/v1/subscriptions?channel=sms&address=%2B12025550101"))
    assert (kept["state"], kept["proof"]) == ("unsubscribed", {})
    await refused(client.get("/v1/subscriptions?channel=email&address=ada@example.com"), 404, "not_found")
    assert (await ok(client.get("/v1/ledger")))["balanced"] is True


async def test_a_message_that_outlives_its_events_is_exported_and_not_sent(client, ada, engine, monkeypatch):
    monkeypatch.setattr(deletions, "GRACE", 1)
    made, _, message = ada

    async def forget(tx):
        # As retention does before a message that was accepted for next year is sent.
        tx._connection.execute("DELETE FROM events; DELETE FROM profile_events")

    await engine.database.transact(forget)
    found = (await client.get(f"/v1/profiles/{made['id']}/export")).json()
    assert (found["events"], [one["id"] for one in found["messages"]]) == ([], [message["id"]])
    assert (await client.delete(f"/v1/profiles/{made['id']}")).status_code == 204

    async def skipped():
        shown = await ok(client.get(f"/v1/messages/{message['id']}"))
        return shown if shown["status"] == "skipped" else None

    shown = await eventually(skipped)
    assert (shown["reason"], shown["to"], shown["profile_id"]) == ("profile_deleted", "", None)


async def test_an_export_has_the_whole_history_segments_and_campaigns(client, ada, engine, monkeypatch):
    monkeypatch.setattr(person_export, "STEP", 2)
    made, letters, _ = ada
    for number in range(7):
        said = {"channel": "email", "address": "ada@example.com", "proof": {"form": number}}
        await ok(client.put("/v1/subscriptions", json=said | {"state": ["subscribed", "unsubscribed"][number % 2]}))
    segment = await ok(client.post("/v1/segments", json={"name": "VIPs", "condition": {"tag": "vip"}}), 201)
    id_ = internal("pro", made["id"])

    async def campaigns(tx):
        run = tx._connection.execute
        (workspace_id,) = run("SELECT workspace_id FROM profiles WHERE id = ?", (id_,)).fetchone()
        run(
            "INSERT INTO campaigns (id, workspace_id, name, channel, state, definition, version, created_at,"
            " updated_at) VALUES (5, ?, 'Spring', 'email', 'finished', '{}', 1, 0, 0)",
            (workspace_id,),
        )
        for occurrence in range(1, 6):
            run(
                "INSERT INTO occurrences (id, workspace_id, campaign_id, planned_at, state, cursor_id, audience,"
                " created_at) VALUES (?, ?, 5, ?, 'done', 0, 1, 0)",
                (occurrence, workspace_id, occurrence),
            )
            run(
                "INSERT INTO recipients (occurrence_id, profile_id, status, variant, due_at, clicked_at)"
                " VALUES (?, ?, 'sent', 'a', 1, 2)",
                (occurrence, id_),
            )
            run("INSERT INTO campaign_clicks VALUES (?, ?, 'https://shop.example/', 2)", (occurrence, id_))

    await engine.database.transact(campaigns)

    async def exported():
        found = (await client.get(f"/v1/profiles/{made['id']}/export")).json()
        return found if found["segments"] else None

    found = await eventually(exported)
    assert [one["proof"] for one in found["subscriptions"] if one["channel"] == "email"] == [
        *({"form": number} for number in reversed(range(7))),
        {"ip": "192.0.2.7"},
    ]
    assert [(one["id"], one["name"]) for one in found["segments"]] == [(segment["id"], "VIPs")]
    assert [one["id"] for one in found["lists"]] == [letters["id"]]
    assert [one["occurrence_id"] for one in found["campaigns"]] == [public("occ", number) for number in range(1, 6)]
    first = found["campaigns"][0]
    assert (first["name"], first["status"], first["variant"], first["opened_at"]) == ("Spring", "sent", "a", None)
    assert first["clicks"] == [{"url": "https://shop.example/", "clicked_at": first["clicked_at"]}]


async def test_who_comes_back_is_somebody_new(client, ada):
    made, _, _ = ada
    await client.delete(f"/v1/profiles/{made['id']}")
    again = await put(client, email="ada@example.com")
    assert again["id"] != made["id"]
    assert again["user_id"] is None


async def test_a_merged_profile_is_deleted_with_the_person(client):
    await track(client, 2, userId=None, anonymousId="device-1")
    await put(client, user_id="ada", anonymous_id="device-1")
    await track(client, 1)
    (ada,) = (await ok(client.get("/v1/profiles")))["data"]
    await client.delete(f"/v1/profiles/{ada['id']}")

    async def gone():
        events = (await ok(client.get("/v1/events")))["data"]
        return all(event["profile_id"] is None for event in events)

    await eventually(gone)
