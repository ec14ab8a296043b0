"""Endpoints: create, get, update, enable, disable, and their secrets."""

import msgspec
import pytest
from standardwebhooks import Webhook

from tests.api.calling import eventually, make_webhook, ok, refused, settled, track
from waypost.domain.values.ids import internal
from waypost.engine.webhooks import endpoints


async def test_a_new_endpoint_has_all_its_defaults_and_shows_its_secret_once(client):
    made = await make_webhook(client, "https://example.com/hook")
    assert made["secret"].startswith("whsec_")
    assert (made["status"], made["last_error"], made["timeout"], made["concurrency"]) == ("enabled", None, 5.0, 64)
    assert made["counts"] == {"accepted": 0, "delivered": 0, "pending": 0, "dead": 0}
    shown = await ok(client.get(f"/v1/webhooks/{made['id']}"))
    assert shown == {name: value for name, value in made.items() if name != "secret"}


async def test_what_was_asked_for_is_kept(client):
    asked = {
        "url": "https://example.com/hook?x=1",
        "event_types": ["event.order_shipped", "message.*"],
        "description": "Shop",
        "headers": {"X-Token": "secret-value"},
        "filter": {"properties.total": {"$gte": 100}},
        "rate_limit": 2.5,
        "concurrency": 3,
        "timeout": 0.25,
        "format": "standard",
        "owner_email": "ops@example.com",
    }
    made = await ok(client.post("/v1/webhooks", json=asked), 201)
    assert made | asked | {"headers": {"X-Token": "se…"}} == made


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"url": "http://169.254.169.254/latest"}, "url_address"),
        ({"url": "ftp://example.com"}, "url_scheme"),
        ({"event_types": ["Order Shipped"]}, "invalid_event_types"),
        ({"event_types": []}, "invalid_body"),
        ({"headers": {"webhook-id": "x"}}, "invalid_headers"),
        ({"headers": {"a\r\nb": "x"}}, "invalid_headers"),
        ({"filter": {"a": {"$near": 1}}}, "invalid_filter"),
        ({"rate_limit": 0}, "invalid_body"),
        ({"rate_limit": 5e-324}, "invalid_body"),
        ({"rate_limit": 100_001}, "invalid_body"),
        ({"concurrency": 0}, "invalid_body"),
        ({"concurrency": 1001}, "invalid_body"),
        ({"concurrency": "5"}, "invalid_body"),
        ({"timeout": 31}, "invalid_body"),
        ({"timeout": 0}, "invalid_body"),
        ({"format": "mine"}, "unknown_format"),
        ({"format": "klaviyo"}, "unknown_format"),
        ({"format": "fmt_0000000000000001"}, "unknown_format"),
        ({"format": "Mine"}, "invalid_body"),
        ({"format": "pinpointe", "event_types": ["message.sent"]}, "invalid_event_types"),
        ({"user_name": "a\0b"}, "invalid_user"),
        ({"owner_email": "nobody"}, "invalid_owner_email"),
        ({"description": "a\0b"}, "invalid_description"),
        ({"description": "x" * 1001}, "invalid_body"),
        ({"signature": "v2"}, "invalid_body"),
        ({"colour": "red"}, "invalid_body"),
    ],
)
async def test_what_is_wrong_is_refused_and_named(change, code, client):
    problem = await refused(
        client.post("/v1/webhooks", json={"url": "https://example.com/", "event_types": ["*"]} | change), 400, code
    )
    if code == "invalid_body":
        assert problem["field"].split("[")[0] == next(iter(change))
    if "signature" not in change:
        made = await make_webhook(client, "https://example.com/")
        await refused(client.patch(f"/v1/webhooks/{made['id']}", json=change), 400, code)
        assert await ok(client.get(f"/v1/webhooks/{made['id']}")) | {"secret": made["secret"]} == made


async def test_what_is_missing_is_named(client):
    problem = await refused(client.post("/v1/webhooks", json={"url": "https://example.com/"}), 400, "invalid_body")
    assert problem["field"] == "event_types"


@pytest.mark.parametrize("body", [b"{", b"\xff", b'"\\ud800"', b"[" * 100_000])
async def test_bodies_that_are_no_json(body, client):
    answer = await client.post("/v1/webhooks", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["code"] in ("invalid_json", "invalid_body")


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_only_what_is_given_changes_and_null_takes_back(method, client):
    made = await make_webhook(
        client,
        "https://example.com/a",
        filter={"a": 1},
        rate_limit=5,
        owner_email="a@example.com",
        headers={"X-Token": "secret-value"},
    )
    place = f"/v1/webhooks/{made['id']}"
    changed = await ok(client.request(method, place, json={"url": "https://example.com/b", "timeout": 1.5}))
    assert (changed["url"], changed["timeout"], changed["filter"]) == ("https://example.com/b", 1.5, {"a": 1})
    assert changed["updated_at"] > made["updated_at"]
    cleared = await ok(client.request(method, place, json={"filter": None, "rate_limit": None, "owner_email": None}))
    assert (cleared["filter"], cleared["rate_limit"], cleared["owner_email"]) == (None, None, None)
    assert cleared["url"] == "https://example.com/b"


async def test_a_masked_header_that_is_sent_back_keeps_its_value(client, engine, keys):
    made = await make_webhook(client, "https://example.com/a", headers={"X-Token": "secret-value", "X-Old": "abc"})
    shown = await ok(client.get(f"/v1/webhooks/{made['id']}"))
    headers = {"X-Token": shown["headers"]["X-Token"], "X-New": "def"}
    await ok(client.patch(f"/v1/webhooks/{made['id']}", json={"headers": headers}))
    kept = await engine.database.read(
        endpoints.find_webhook, engine.encryption, keys.workspace_id, internal("whk", made["id"])
    )
    assert kept.headers == {"X-Token": "secret-value", "X-New": "def"}


async def test_a_list_goes_on_where_the_last_page_ended(client):
    made = [(await make_webhook(client, f"https://example.com/{n}"))["id"] for n in range(5)]
    seen, place = [], "/v1/webhooks?limit=2"
    while place:
        page = await ok(client.get(place))
        assert len(page["data"]) <= 2
        seen += [webhook["id"] for webhook in page["data"]]
        place = page["next"] and f"/v1/webhooks?limit=2&after={page['next']}"
    assert seen == made[::-1]


async def test_a_deleted_endpoint_is_gone_and_gets_nothing(client, hook):
    made = await make_webhook(client, hook)
    assert (await client.delete(f"/v1/webhooks/{made['id']}")).status_code == 204
    await refused(client.get(f"/v1/webhooks/{made['id']}"), 404, "not_found")
    await refused(client.delete(f"/v1/webhooks/{made['id']}"), 404, "not_found")
    await track(client)
    assert (await ok(client.get("/v1/ledger")))["accepted"] == 0


async def test_what_a_deleted_endpoint_was_owed_is_given_up(client, hook):
    made = await make_webhook(client, f"{hook}?hang=1", timeout=30)
    await track(client)
    await settled(client, made, pending=1)
    await client.post(f"/v1/webhooks/{made['id']}/disable")
    await client.delete(f"/v1/webhooks/{made['id']}")

    async def given_up():
        ledger = await ok(client.get("/v1/ledger"))
        return ledger if ledger["dead"] == 1 else None

    assert (await eventually(given_up))["balanced"]


async def test_a_disabled_endpoint_gets_nothing_until_it_is_enabled_and_replayed(client, hook):
    made = await make_webhook(client, hook)
    place = f"/v1/webhooks/{made['id']}"
    disabled = await ok(client.post(f"{place}/disable"))
    assert (disabled["status"], disabled["disabled_reason"]) == ("disabled", "by_owner")
    await track(client, 3)
    enabled = await ok(client.post(f"{place}/enable"))
    assert enabled["status"] == "enabled"
    assert enabled["replay_id"] is None
    assert enabled["undelivered"]["replay"] == {"since": disabled["disabled_at"], "state": ["dead", "missed"]}
    again = await ok(client.post(f"{place}/disable"))
    assert again["status"] == "disabled"
    replaying = await ok(client.post(f"{place}/enable", json={"replay": True}))
    assert replaying["replay_id"].startswith("rpl_")
    # It starts at the second disabling, after which no event occurred.
    replay = await ok(client.post(f"{place}/replay", json=enabled["undelivered"]["replay"]), 202)
    await settled(client, made, accepted=3, delivered=3)
    assert replay["states"] == ["dead", "missed"]


async def test_an_exhausted_endpoint_is_disabled_and_enabling_replays_the_dead(client, hook, sink):
    made = await make_webhook(client, f"{hook}?fail_first=11")
    await track(client)
    broken = await settled(client, made, dead=1)
    assert (broken["status"], broken["disabled_reason"]) == ("disabled", "exhausted")
    assert "500" in broken["last_error"]
    notices = await ok(client.get("/v1/notices"))
    assert [notice["about"] for notice in notices["data"]] == [made["id"]]
    enabled = await ok(client.post(f"/v1/webhooks/{made['id']}/enable", json={"replay": True}))
    assert enabled["undelivered"]["dead"] == 1
    await settled(client, made, accepted=1, delivered=1, dead=0, pending=0)


async def test_enabling_what_is_enabled_offers_nothing(client):
    made = await make_webhook(client, "https://example.com/")
    enabled = await ok(client.post(f"/v1/webhooks/{made['id']}/enable", json={"replay": True}))
    assert (enabled["undelivered"]["replay"], enabled["replay_id"]) == (None, None)


async def test_both_secrets_sign_while_they_overlap(client, hook, sink):
    made = await make_webhook(client, hook)
    place = f"/v1/webhooks/{made['id']}"
    rotated = await ok(client.post(f"{place}/secret/rotate"))
    assert rotated["secret"] != made["secret"]
    secrets = await ok(client.get(f"{place}/secret"))
    assert secrets == {
        "secret": rotated["secret"],
        "previous": [{"secret": made["secret"], "expires_at": rotated["previous_expires_at"]}],
    }
    test = await ok(client.post(f"{place}/test"))
    for secret in (made["secret"], rotated["secret"]):
        Webhook(secret).verify(test["request"]["body"], test["request"]["headers"])
    assert len(test["request"]["headers"]["webhook-signature"].split()) == 2


async def test_without_overlap_the_old_secret_ends_at_once(client):
    made = await make_webhook(client, "https://example.com/")
    place = f"/v1/webhooks/{made['id']}"
    rotated = await ok(client.post(f"{place}/secret/rotate", json={"overlap": 0}))
    assert rotated["previous_expires_at"] is None
    assert (await ok(client.get(f"{place}/secret")))["previous"] == []


async def test_a_secret_of_ones_own_has_to_fit(client):
    made = await make_webhook(client, "https://example.com/")
    place = f"/v1/webhooks/{made['id']}/secret/rotate"
    await refused(client.post(place, json={"secret": "whsk_abc"}), 400, "invalid_secret")
    await refused(client.post(place, json={"secret": "whsec_c2hvcnQ="}), 400, "invalid_secret")
    await refused(client.post(place, json={"secret": made["secret"]}), 409, "secret_in_use")
    await refused(client.post(place, json={"overlap": 604_801}), 400, "invalid_body")
    own = "whsec_" + "QUJD" * 11
    assert (await ok(client.post(place, json={"secret": own})))["secret"] == own


async def test_no_more_secrets_sign_than_a_header_can_carry(client):
    made = await make_webhook(client, "https://example.com/")
    for _ in range(7):
        await ok(client.post(f"/v1/webhooks/{made['id']}/secret/rotate"))
    secrets = await ok(client.get(f"/v1/webhooks/{made['id']}/secret"))
    assert len(secrets["previous"]) == endpoints.MOST_SECRETS - 1


async def test_only_ed25519_endpoints_have_a_public_key(client):
    one = await make_webhook(client, "https://example.com/")
    await refused(client.get(f"/v1/webhooks/{one['id']}/public-key"), 409, "no_public_key")
    other = await make_webhook(client, "https://example.com/", signature="v1a")
    assert other["secret"].startswith("whsk_")
    key = (await ok(client.get(f"/v1/webhooks/{other['id']}/public-key")))["public_key"]
    assert key.startswith("whpk_")
    rotated = await ok(client.post(f"/v1/webhooks/{other['id']}/secret/rotate"))
    assert rotated["secret"].startswith("whsk_")
    assert (await ok(client.get(f"/v1/webhooks/{other['id']}/public-key")))["public_key"] != key


async def test_secrets_and_headers_are_sealed_on_disk(client, engine, keys):
    made = await make_webhook(client, "https://example.com/", headers={"X-Token": "do-not-store-me"})

    async def rows(tx):
        return await tx.records("endpoints.list", workspace_id=keys.workspace_id, before=1 << 62, n=10)

    kept = str(await engine.database.read(rows))
    assert "do-not-store-me" not in kept
    assert made["secret"] not in kept


async def test_a_workspace_has_so_many_endpoints_and_no_more(client, engine, keys, monkeypatch):
    monkeypatch.setattr(endpoints, "MOST_ENDPOINTS", 2)
    for _ in range(2):
        await make_webhook(client, "https://example.com/")
    await refused(
        client.post("/v1/webhooks", json={"url": "https://example.com/", "event_types": ["*"]}),
        409,
        "too_many_endpoints",
    )


async def test_changes_hold_from_the_next_event_on(client, hook):
    made = await make_webhook(client, hook, event_types=["event.nothing"])
    await track(client)
    await ok(client.patch(f"/v1/webhooks/{made['id']}", json={"event_types": ["event.*"]}))
    await track(client)
    found = await settled(client, made, delivered=1)
    assert found["counts"]["accepted"] == 1


def test_a_struct_that_is_shown_has_no_secret_in_it():
    assert not [field.name for field in msgspec.structs.fields(endpoints.Draft) if "secret" in field.name]


async def test_a_new_header_without_a_value_is_refused(client, hook):
    made = await make_webhook(client, hook)
    await refused(client.patch(f"/v1/webhooks/{made['id']}", json={"headers": {"X-K": ""}}), 400, "invalid_headers")
