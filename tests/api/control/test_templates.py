"""Templates through the API: created, refused with line and column, updated, previewed for a person and an event."""

import pytest

from tests.api.calling import bearer, eventually, ok, refused, track

SMS = {"name": "Hello", "channel": "sms", "text": "Hi {{ person.first_name }}"}
EMAIL = {
    "name": "Welcome",
    "channel": "email",
    "subject": "Welcome, {{ person.first_name }}",
    "preheader": "Glad to see you",
    "html": "<body><p>Hello {{ person.first_name | default: 'you' }}</p></body>",
    "sender": "Shop <shop@example.com>",
    "reply_to": "help@example.com",
    "headers": {"X-Campaign": "{{ campaign }}"},
}
EVENT = {"name": "Order", "channel": "event", "metric": "Order", "properties": {"total": "{{ event.total }}"}}


async def make(client, **fields):
    return await ok(client.post("/v1/templates", json=SMS | fields), 201)


async def person(client):
    """Record a profile with an event; return the ids of both."""
    who = {"userId": "ada", "traits": {"firstName": "Ada", "phone": "+4915112345678", "Loyalty Tier": "gold"}}
    await ok(client.post("/v1/identify", json=who))
    await track(client)

    async def find():
        found = await ok(client.get("/v1/events"))
        return found["data"] if len(found["data"]) == 2 else None

    events = await eventually(find)
    return events[0]["profile_id"], next(event["id"] for event in events if event["type"] == "event.order_shipped")


@pytest.mark.parametrize("asked", [SMS, EMAIL, EVENT], ids=lambda asked: asked["channel"])
async def test_what_was_written_is_kept(asked, client):
    made = await ok(client.post("/v1/templates", json=asked), 201)
    assert made["id"].startswith("tpl_")
    assert (made["name"], made["channel"], made["version"], made["current_version"]) == (
        asked["name"],
        asked["channel"],
        1,
        1,
    )
    [variant] = made["variants"]
    assert (variant["name"], variant["weight"]) == ("default", 1.0)
    written = {name: value for name, value in asked.items() if name not in ("name", "channel")}
    assert {name: value for name, value in variant["content"].items() if value} == written
    assert await ok(client.get(f"/v1/templates/{made['id']}")) == made


async def test_variants_have_contents_of_their_own(client):
    asked = {
        "name": "Test",
        "channel": "sms",
        "variants": [{"name": "a", "content": {"text": "A"}}, {"name": "b", "weight": 0, "content": {"text": "B"}}],
    }
    made = await ok(client.post("/v1/templates", json=asked), 201)
    assert [(one["name"], one["weight"], one["content"]["text"]) for one in made["variants"]] == [
        ("a", 1.0, "A"),
        ("b", 0.0, "B"),
    ]


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"text": "a\n{{ person.first_name | nope }}"}, "invalid_template", "text"),
        ({"text": ""}, "invalid_template", "text"),
        ({"subject": "a"}, "invalid_template", "subject"),
        ({"name": " "}, "invalid_template", "name"),
        ({"name": ""}, "invalid_body", "name"),
        ({"channel": "fax"}, "invalid_body", "channel"),
        ({"colour": "red"}, "invalid_body", "colour"),
        ({"text": 5}, "invalid_body", "text"),
        ({"variants": []}, "invalid_body", "variants"),
        ({"variants": [{"name": "a", "content": {"text": "A"}}]}, "invalid_template", "text"),
    ],
)
async def test_what_is_wrong_is_refused_and_named(change, code, field, client):
    problem = await refused(client.post("/v1/templates", json=SMS | change), 400, code)
    assert problem["field"].split("[")[0] == field
    if "nope" in str(change):
        assert (problem["line"], problem["column"]) == (2, 24)
    assert (await ok(client.get("/v1/templates")))["data"] == []


async def test_a_variant_that_is_wrong_is_named(client):
    asked = {
        "name": "Test",
        "channel": "email",
        "variants": [
            {"name": "a", "content": {"subject": "A", "text": "A"}},
            {"name": "b", "content": {"subject": "{% elif %}", "text": "A"}},
        ],
    }
    problem = await refused(client.post("/v1/templates", json=asked), 400, "invalid_template")
    assert (problem["variant"], problem["field"], problem["line"], problem["column"]) == ("b", "subject", 1, 4)
    assert "elsif" in problem["detail"]


async def test_other_content_makes_a_version_and_the_old_one_can_be_seen(client):
    made = await make(client, media_urls=["https://x.example/a.png"])
    place = f"/v1/templates/{made['id']}"
    renamed = await ok(client.patch(place, json={"name": "Other"}))
    assert (renamed["name"], renamed["version"]) == ("Other", 1)
    changed = await ok(client.patch(place, json={"text": "Bye"}))
    assert (changed["version"], changed["current_version"], changed["name"]) == (2, 2, "Other")
    assert changed["variants"][0]["content"] == {
        "text": "Bye",
        "media_urls": ["https://x.example/a.png"],
        "click_url": "",
    }
    cleared = await ok(client.patch(place, json={"media_urls": None}))
    assert (cleared["version"], cleared["variants"][0]["content"]["media_urls"]) == (3, [])
    old = await ok(client.get(f"{place}?version=1"))
    assert (old["version"], old["current_version"], old["variants"][0]["content"]["text"]) == (1, 3, SMS["text"])
    await refused(client.get(f"{place}?version=9"), 404, "not_found")


async def test_a_change_that_is_wrong_changes_nothing(client):
    made = await make(client)
    place = f"/v1/templates/{made['id']}"
    await refused(client.patch(place, json={"text": "{{"}), 400, "invalid_template")
    await refused(client.patch(place, json={"text": None}), 400, "invalid_template")
    await refused(client.patch(place, json={"channel": "email"}), 400, "invalid_body")
    assert await ok(client.get(place)) == made


async def test_variants_are_changed_together(client):
    made = await make(client)
    place = f"/v1/templates/{made['id']}"
    several = [{"name": "a", "content": {"text": "A"}}, {"name": "b", "content": {"text": "B"}}]
    changed = await ok(client.patch(place, json={"variants": several}))
    assert [variant["name"] for variant in changed["variants"]] == ["a", "b"]
    problem = await refused(client.patch(place, json={"text": "C"}), 400, "invalid_template")
    assert "variants" in problem["detail"]


async def test_mjml_is_kept_as_it_was_written_and_can_be_changed_to_html(client):
    mjml = (
        "<mjml><mj-body><mj-section><mj-column><mj-text>Hi {{ x }}</mj-text></mj-column></mj-section></mj-body></mjml>"
    )
    made = await ok(
        client.post("/v1/templates", json={"name": "M", "channel": "email", "subject": "S", "mjml": mjml}), 201
    )
    assert made["variants"][0]["content"]["mjml"] == mjml
    assert "made_html" not in made["variants"][0]["content"]
    place = f"/v1/templates/{made['id']}"
    seen = await ok(client.post(f"{place}/preview", json={"variables": {"x": "Ada"}}))
    assert "Hi Ada</div>" in seen["content"]["html"]
    assert seen["content"]["text"] == "Hi Ada"
    changed = await ok(client.patch(place, json={"mjml": mjml.replace("Hi", "Bye")}))
    assert changed["version"] == 2
    assert (await ok(client.post(f"{place}/preview")))["content"]["text"] == "Bye ⟦x⟧"
    await refused(client.patch(place, json={"html": "<p>a</p>"}), 400, "invalid_template")
    await ok(client.patch(place, json={"html": "<p>a</p>", "mjml": None}))
    assert (await ok(client.post(f"{place}/preview")))["content"]["html"] == "<p>a</p>"
    problem = await refused(
        client.patch(place, json={"html": None, "mjml": "<mjml>\n<mj-include path='a'/>\n</mjml>"}),
        400,
        "invalid_template",
    )
    assert (problem["field"], problem["line"]) == ("mjml", 2)


async def test_a_list_goes_on_where_the_last_page_ended(client):
    made = [(await make(client, name=f"{n}"))["id"] for n in range(5)]
    seen, place = [], "/v1/templates?limit=2"
    while place:
        found = await ok(client.get(place))
        assert len(found["data"]) <= 2
        seen += [template["id"] for template in found["data"]]
        place = found["next"] and f"/v1/templates?limit=2&after={found['next']}"
    assert seen == made[::-1]


async def test_a_deleted_template_is_gone(client):
    made = await make(client)
    place = f"/v1/templates/{made['id']}"
    assert (await client.delete(place)).status_code == 204
    for answer in (client.get(place), client.delete(place), client.patch(place, json={"name": "a"})):
        await refused(answer, 404, "not_found")
    assert (await ok(client.get("/v1/templates")))["data"] == []


async def test_a_repeat_under_one_key_makes_one_template(client):
    first, second = [
        await ok(client.post("/v1/templates", json=SMS, headers={"idempotency-key": "k"}), 201) for _ in range(2)
    ]
    assert first == second
    assert len((await ok(client.get("/v1/templates")))["data"]) == 1


async def test_templates_of_other_workspaces_are_not_there(client, keys):
    made = await make(client)
    place = f"/v1/templates/{made['id']}"
    stranger = bearer(keys.stranger)
    await refused(client.get(place, headers=stranger), 404, "not_found")
    await refused(client.patch(place, json={"name": "a"}, headers=stranger), 404, "not_found")
    await refused(client.delete(place, headers=stranger), 404, "not_found")
    await refused(client.post(f"{place}/preview", headers=stranger), 404, "not_found")
    assert (await ok(client.get("/v1/templates", headers=stranger)))["data"] == []
    profile, event = await person(client)
    body = {"channel": "sms", "content": {"text": "{{ person.first_name }}"}}
    await refused(
        client.post("/v1/templates/preview", json=body | {"profile_id": profile}, headers=stranger),
        404,
        "unknown_profile",
    )
    await refused(
        client.post("/v1/templates/preview", json=body | {"event_id": event}, headers=stranger), 404, "unknown_event"
    )


async def test_a_key_that_may_only_read_makes_no_template(client, keys):
    await refused(client.post("/v1/templates", json=SMS, headers=bearer(keys.read)), 403, "forbidden")
    await ok(client.get("/v1/templates", headers=bearer(keys.read)))


async def test_a_preview_shows_nobody_to_a_key_that_may_not_see_people(client):
    """A preview changes nothing, so reading templates is enough; what is stored of a person and an event needs more."""
    profile, event = await person(client)
    content = {"text": "Hi {{ person.first_name }}{{ event.total }}"}
    made = await make(client, **content)

    async def statuses(asked, *scopes):
        key = await ok(client.post("/v1/keys", json={"name": "editor", "scopes": ["templates.read", *scopes]}), 201)
        bodies = {f"{made['id']}/preview": asked, "preview": {"channel": "sms", "content": content} | asked}
        return {
            (await client.post(f"/v1/templates/{place}", json=body, headers=bearer(key["key"]))).status_code
            for place, body in bodies.items()
        }

    assert await statuses({}) == {200}
    assert await statuses({"profile_id": profile}) == {403}
    assert await statuses({"profile_id": profile}, "people.read") == {200}
    assert await statuses({"event_id": event}, "people.read") == {403}
    assert await statuses({"event_id": event}, "events.read") == {200}


async def test_a_preview_with_a_profile_and_an_event(client):
    profile, event = await person(client)
    text = (
        "Hi {{ person.first_name }} ({{ person | lookup: 'Loyalty Tier' }}, {{ person.phone }}), {{ event.total }}"
        " {{ event.metric }} {{ organization.name }} {{ code }} {{ person.nick }}"
    )
    made = await make(client, text=text)
    asked = {"profile_id": profile, "event_id": event, "variables": {"code": "X1"}}
    seen = await ok(client.post(f"/v1/templates/{made['id']}/preview", json=asked))
    assert seen["content"]["text"] == "Hi Ada (gold, +4915112345678), 99.5 Order Shipped first X1 ⟦person.nick⟧"
    assert seen["undefined"] == [
        {"name": "person.nick", "field": "text", "line": 1, "column": text.index("person.nick") + 1}
    ]
    assert seen["variant"] == "default"
    assert seen["sms"] == {
        "encoding": "GSM-7",
        "characters": 59,
        "units": 59,
        "parts": 1,
        "units_per_part": 160,
        "per_part": [59],
        "forcing": [],
    }
    problem = await refused(
        client.post(f"/v1/templates/{made['id']}/preview", json=asked | {"strict": True}), 400, "undefined_variables"
    )
    assert problem["undefined"] == seen["undefined"]


async def test_a_preview_of_content_that_is_not_saved(client):
    asked = {
        "channel": "sms",
        "content": {"text": "{{ person.name }}: {{ event.total | floatformat: 2 }} € — {{ 'now' | date: 'Y' }}"},
        "person": {"name": "Ada"},
        "event": {"total": 5},
    }
    seen = await ok(client.post("/v1/templates/preview", json=asked))
    assert seen["content"]["text"].startswith("Ada: 5.00 € — 20")
    assert (seen["sms"]["encoding"], seen["sms"]["forcing"], seen["undefined"]) == ("UCS-2", ["—"], [])
    assert (await ok(client.get("/v1/templates")))["data"] == []


async def test_each_variant_can_be_looked_at(client):
    several = [{"name": n, "content": {"subject": n, "html": f"<p>{n}</p>"}} for n in ("a", "b")]
    asked = {"channel": "email", "variants": several}
    for name in ("a", "b"):
        seen = await ok(client.post("/v1/templates/preview", json=asked | {"variant": name}))
        assert (seen["variant"], seen["content"]["text"], seen["sms"]) == (name, name, None)
    await refused(client.post("/v1/templates/preview", json=asked | {"variant": "c"}), 400, "unknown_variant")


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({"content": {"text": "{{"}}, 400, "invalid_template"),
        ({}, 400, "invalid_template"),
        ({"content": {"text": "a"}, "person": {}, "profile_id": "pro_0000000000000001"}, 400, "conflicting_fields"),
        ({"content": {"text": "a"}, "event": {}, "event_id": "evt_0000000000000001"}, 400, "conflicting_fields"),
        ({"content": {"text": "a"}, "profile_id": "pro_0000000000000001"}, 404, "unknown_profile"),
        ({"content": {"text": "a"}, "event_id": "evt_0000000000000001"}, 404, "unknown_event"),
        ({"content": {"text": "a"}, "profile_id": "ada"}, 404, "not_found"),
        ({"content": {"text": "a"}, "variables": {"person": {}}}, 400, "invalid_variables"),
        ({"content": {"text": "{{ 1 | divided_by: x }}"}, "variables": {"x": 0}}, 400, "cannot_render"),
        ({"content": {"text": "{% for i in (1..x) %}{% endfor %}"}, "variables": {"x": 10**9}}, 400, "template_limit"),
    ],
)
async def test_previews_that_cannot_be_made(asked, status, code, client):
    await refused(client.post("/v1/templates/preview", json={"channel": "sms"} | asked), status, code)


async def test_an_event_is_previewed_with_the_kinds_of_its_values(client):
    made = await ok(client.post("/v1/templates", json=EVENT), 201)
    seen = await ok(client.post(f"/v1/templates/{made['id']}/preview", json={"event": {"total": 5.5}}))
    assert seen["content"] == {"metric": "Order", "properties": {"total": 5.5}}


@pytest.mark.parametrize("version", ["5e22", "50000000000000000000000", "-1", "1.5"])
async def test_a_version_that_no_template_has_is_refused(version, client):
    made = await ok(client.post("/v1/templates", json={"name": "Hi", "channel": "sms", "text": "Hi"}), 201)
    await refused(client.get(f"/v1/templates/{made['id']}?version={version}"), 400, "invalid_parameter")
