"""Subscriptions over HTTP: by address, by profile, many at once, their history, and the words of earlier versions."""

import asyncio
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.api.calling import Keys, bearer, make_webhook, ok, refused
from tests.api.calling import settled as delivered
from tests.api.control.audience.test_suppressions import FIRST, OTHER, gateway, settled
from waypost.api.control.audience import subscriptions
from waypost.clock import HOUR, MINUTE, SECOND, iso, now_us
from waypost.domain.audience.subscriptions import SubscriptionChange, SubscriptionState
from waypost.engine.audience.subscriptions import set_subscriptions
from waypost.engine.process import Engine
from waypost.storage.database import Tx

Api = httpx.AsyncClient
gateway = gateway
PLACE = f"/v1/subscriptions?channel=sms&address={quote(FIRST)}"
HISTORY = f"/v1/subscriptions/history?channel=sms&address={quote(FIRST)}"


async def put(client: Api, state: str, **fields: Any) -> Any:
    return await ok(client.put("/v1/subscriptions", json={"channel": "sms", "address": FIRST, "state": state} | fields))


async def identified(client: Api, **traits: Any) -> str:
    """The id of a profile with these traits."""
    for name, value in traits.items():
        for one in value if isinstance(value, list) else [value]:
            await ok(client.post("/v1/identify", json={"userId": "ada", "traits": {name: one}}))
    found = await ok(client.get("/v1/profiles?user_id=ada"))
    return str(found["data"][0]["id"])


async def test_what_a_person_said_is_kept_with_its_proof(client: Api, gateway: dict[str, Any]):
    await refused(client.get(PLACE), 404, "not_found")
    assert (await ok(client.get(HISTORY)))["data"] == []
    proof = {"ip": "192.0.2.1", "form": "newsletter", "double_opt_in": True, "step": 2}
    made = await put(client, "unsubscribed", address="+1 (202) 200-0015", source="web form", proof=proof)
    assert made == {
        "channel": "sms",
        "address": FIRST,
        "state": "unsubscribed",
        "source": "web form",
        "changed_at": made["changed_at"],
        "proof": proof,
        "effective": True,
    }
    found = await ok(client.get(PLACE))
    assert found == {name: value for name, value in made.items() if name != "effective"}
    shown = await settled(client, FIRST)
    assert (shown["status"], shown["reason"]) == ("skipped", "not_consented")
    assert (await put(client, "subscribed"))["source"] == "api"
    assert (await settled(client, FIRST))["status"] == "sent"
    history = (await ok(client.get(HISTORY)))["data"]
    assert [(line["state"], line["effective"], line["cause"]) for line in history] == [
        ("subscribed", True, None),
        ("unsubscribed", True, None),
    ]
    assert history[1] == made | {"cause": None, "recorded_at": history[1]["recorded_at"]}


async def test_a_statement_of_the_past_does_not_undo_a_later_one(client: Api):
    now = now_us()
    await put(client, "unsubscribed", changed_at=iso(now - HOUR))
    late = await put(client, "subscribed", changed_at=iso(now - 2 * HOUR), source="import")
    assert (late["state"], late["effective"], late["changed_at"]) == ("unsubscribed", False, iso(now - HOUR))
    tie = await put(client, "subscribed", changed_at=iso(now - HOUR))
    assert (tie["state"], tie["effective"]) == ("unsubscribed", False)
    for proof in ({"a": 1, "b": 2}, {"b": 2, "a": 1}):
        await put(client, "subscribed", changed_at=iso(now - 3 * HOUR), proof=proof)
    await put(client, "unsubscribed", changed_at=iso(now - HOUR))
    history = (await ok(client.get(HISTORY)))["data"]
    assert sorted((line["changed_at"], line["state"], line["effective"]) for line in history) == [
        (iso(now - 3 * HOUR), "subscribed", False),
        (iso(now - 2 * HOUR), "subscribed", False),
        (iso(now - HOUR), "subscribed", False),
        (iso(now - HOUR), "unsubscribed", True),
    ]
    assert history[-2]["source"] == "import"


async def test_the_history_comes_page_by_page(client: Api):
    now = now_us()
    for hour in range(5):
        for state in ("subscribed", "unsubscribed"):
            await put(client, state, changed_at=iso(now - hour * HOUR))
    found, after = [], ""
    while True:
        page = await ok(client.get(f"{HISTORY}&limit=3{after}"))
        found += page["data"]
        if page["next"] is None:
            break
        after = f"&after={quote(page['next'])}"
    times = [line["changed_at"] for line in found]
    assert (len(found), times) == (10, sorted(times, reverse=True))
    assert len({(line["changed_at"], line["state"]) for line in found}) == 10
    await refused(client.get(f"{HISTORY}&after=nonsense"), 400, "invalid_cursor")


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"address": "12"}, "invalid_address", "address"),
        ({"channel": "email", "address": "nobody"}, "invalid_address", "address"),
        ({"channel": "fax"}, "invalid_body", "channel"),
        ({"state": "opted_in"}, "invalid_body", "state"),
        ({"state": None}, "invalid_body", "state"),
        ({"source": ""}, "invalid_body", "source"),
        ({"source": "a\0b"}, "invalid_text", "source"),
        ({"proof": {"form": "a\0b"}}, "invalid_text", "proof"),
        ({"proof": {"a\0b": 1}}, "invalid_text", "proof"),
        ({"proof": {str(n): "é" * 400 for n in range(6)}}, "invalid_proof", "proof"),
        ({"proof": {"forms": ["a"]}}, "invalid_body", "proof[...]"),
        ({"proof": {str(n): n for n in range(21)}}, "invalid_body", "proof"),
        ({"proof": "web form"}, "invalid_body", "proof"),
        ({"changed_at": "yesterday"}, "invalid_time", "changed_at"),
        ({"changed_at": "1969-12-31T00:00:00Z"}, "invalid_time", "changed_at"),
        ({"changed_at": "2400-01-01T00:00:00Z"}, "invalid_time", "changed_at"),
        ({"colour": "blue"}, "invalid_body", "colour"),
    ],
)
async def test_what_is_no_statement_is_refused_by_field(client: Api, fields: dict[str, Any], code: str, field: str):
    given = {"channel": "sms", "address": FIRST, "state": "subscribed"} | fields
    problem = await refused(client.put("/v1/subscriptions", json=given), 400, code)
    assert problem["field"] == field
    # In a batch, only this one is rejected.
    good = {"channel": "sms", "address": OTHER, "state": "subscribed"}
    done = await ok(client.post("/v1/subscriptions/batch", json={"subscriptions": [good, given]}))
    assert (done["accepted"], done["rejected"]) == (1, 1)
    assert done["data"][0] == {"state": "subscribed", "effective": True}
    error = done["data"][1]["error"]
    assert (error["code"], error["field"]) == (code, field)
    assert error["detail"]
    await refused(client.get(PLACE), 404, "not_found")


async def test_a_time_that_is_a_little_ahead_is_now(client: Api):
    before = now_us()
    made = await put(client, "subscribed", changed_at=iso(before + 30 * SECOND))
    assert iso(before) <= made["changed_at"] <= iso(now_us())
    # A STOP in the next seconds is later than that.
    assert (await put(client, "unsubscribed", changed_at=iso(now_us())))["effective"]
    given = {"channel": "sms", "address": FIRST, "state": "subscribed", "changed_at": iso(now_us() + 2 * MINUTE)}
    await refused(client.put("/v1/subscriptions", json=given), 400, "invalid_time")


async def test_many_are_set_in_their_order_in_one_request(client: Api):
    lines: list[Any] = [
        {"channel": "sms", "address": f"+1202{2_000_000 + n}", "state": "subscribed", "source": "import"}
        for n in range(subscriptions.MOST - 2)
    ]
    now = now_us()
    lines.append({"channel": "sms", "address": "+1 202 200 0000", "state": "unsubscribed"})
    lines.append(lines[0] | {"changed_at": iso(now - HOUR)})
    done = await ok(client.post("/v1/subscriptions/batch", json={"subscriptions": lines}))
    assert (done["accepted"], done["rejected"], len(done["data"])) == (subscriptions.MOST, 0, subscriptions.MOST)
    assert done["data"][-2:] == [
        {"state": "unsubscribed", "effective": True},
        {"state": "unsubscribed", "effective": False},
    ]
    first = f"channel=sms&address={quote('+12022000000')}"
    assert (await ok(client.get(f"/v1/subscriptions?{first}")))["state"] == "unsubscribed"
    assert len((await ok(client.get(f"/v1/subscriptions/history?{first}")))["data"]) == 3
    too_many = [*lines, lines[0]]
    await refused(client.post("/v1/subscriptions/batch", json={"subscriptions": too_many}), 400, "invalid_body")
    await refused(client.post("/v1/subscriptions/batch", json={"subscriptions": []}), 400, "invalid_body")


async def test_a_batch_in_which_nothing_is_valid_is_refused(client: Api):
    body = {"subscriptions": [{"channel": "sms", "address": "12", "state": "subscribed"}, 7]}
    problem = await refused(client.post("/v1/subscriptions/batch", json=body), 400, "invalid_subscriptions")
    assert [line["error"]["code"] for line in problem["rejected"]] == ["invalid_address", "invalid_body"]


async def test_a_batch_with_a_key_takes_effect_once(client: Api):
    body = {"subscriptions": [{"channel": "sms", "address": FIRST, "state": "subscribed"}]}
    headers = {"idempotency-key": "import-1"}
    answers = await asyncio.gather(
        *(ok(client.post("/v1/subscriptions/batch", json=body, headers=headers)) for _ in range(5))
    )
    assert answers == [answers[0]] * 5
    assert len((await ok(client.get(HISTORY)))["data"]) == 1
    other = {"subscriptions": [{"channel": "sms", "address": OTHER, "state": "subscribed"}]}
    code = "idempotency_key_reused"
    await refused(client.post("/v1/subscriptions/batch", json=other, headers=headers), 422, code)


async def test_a_body_that_is_too_large_is_refused_with_the_limit(client: Api):
    problem = await refused(client.post("/v1/subscriptions/batch", content=b" " * 8_000_001), 413, "too_large")
    assert "8000000" in problem["detail"]


async def test_a_profile_has_the_subscriptions_of_its_addresses(client: Api):
    id_ = await identified(client, phone=FIRST, email=["ada@example.com", "Ada@Work.example"])
    place = f"/v1/profiles/{id_}/subscriptions"
    nothing = {"channel": "sms", "address": FIRST, "state": None, "source": None, "changed_at": None, "proof": None}
    assert await ok(client.get(f"{place}/sms")) == {"data": [nothing], "next": None}
    made = await ok(client.put(f"{place}/sms", json={"state": "subscribed", "source": "form", "proof": {"ip": "::1"}}))
    assert (made["address"], made["state"], made["proof"], made["effective"]) == (
        FIRST,
        "subscribed",
        {"ip": "::1"},
        True,
    )
    del made["effective"]
    assert (await ok(client.get(f"{place}/sms")))["data"] == [made]
    assert await ok(client.get(PLACE)) == made
    # With several addresses, one has to be named.
    problem = await refused(client.put(f"{place}/email", json={"state": "subscribed"}), 400, "several_addresses")
    assert problem["field"] == "address"
    named = {"state": "unsubscribed", "address": " ADA@example.com"}
    assert (await ok(client.put(f"{place}/email", json=named)))["address"] == "ada@example.com"
    listed = (await ok(client.get(f"{place}/email")))["data"]
    assert {line["address"]: line["state"] for line in listed} == {
        "ada@example.com": "unsubscribed",
        "ada@work.example": None,
    }
    for address, code in (("bob@example.com", "unknown_address"), ("nobody", "invalid_address")):
        asked = client.put(f"{place}/email", json=named | {"address": address})
        assert (await refused(asked, 400, code))["field"] == "address"


async def test_a_profile_without_an_address_or_of_another_channel(client: Api):
    id_ = await identified(client, email="ada@example.com")
    place = f"/v1/profiles/{id_}/subscriptions"
    assert (await ok(client.get(f"{place}/sms")))["data"] == []
    await refused(client.put(f"{place}/sms", json={"state": "subscribed"}), 409, "no_address")
    for call in (client.get(f"{place}/event"), client.put(f"{place}/fax", json={"state": "subscribed"})):
        assert "sms or email" in (await refused(call, 404, "not_found"))["detail"]
    await refused(client.get("/v1/profiles/pro_0000000000000001/subscriptions/sms"), 404, "not_found")


async def test_a_subscription_outlives_a_merge_of_profiles(client: Api):
    await ok(client.post("/v1/identify", json={"anonymousId": "phone-1", "traits": {"phone": FIRST}}))
    stranger = (await ok(client.get(f"/v1/profiles?phone={quote(FIRST)}")))["data"][0]["id"]
    await ok(client.put(f"/v1/profiles/{stranger}/subscriptions/sms", json={"state": "unsubscribed"}))
    await ok(client.post("/v1/identify", json={"userId": "ada", "anonymousId": "phone-1", "traits": {"phone": FIRST}}))
    await ok(client.post("/v1/identify", json={"userId": "bob"}))
    await ok(client.post("/v1/alias", json={"userId": "bob", "previousId": "ada"}))
    person = (await ok(client.get("/v1/profiles?user_id=bob")))["data"][0]["id"]
    for id_ in (stranger, person):
        listed = (await ok(client.get(f"/v1/profiles/{id_}/subscriptions/sms")))["data"]
        assert [(line["address"], line["state"]) for line in listed] == [(FIRST, "unsubscribed")]


async def test_a_change_is_a_webhook(client: Api, hook: str):
    id_ = await identified(client, phone=FIRST)
    webhook = await make_webhook(client, hook, event_types=["subscription.changed"])
    await put(client, "subscribed", source="form")
    await put(client, "subscribed", source="form")
    await put(client, "unsubscribed", source="hotline")
    await delivered(client, webhook, delivered=2, accepted=2)
    rows = (await ok(client.get("/v1/events?type=subscription.changed")))["data"]
    assert [(row["data"]["state"], row["data"]["before"], row["profile_id"]) for row in rows] == [
        ("unsubscribed", "subscribed", id_),
        ("subscribed", None, id_),
    ]
    assert rows[0]["data"] | {"changed_at": None} == {
        "channel": "sms",
        "address": FIRST,
        "state": "unsubscribed",
        "before": "subscribed",
        "source": "hotline",
        "changed_at": None,
    }


async def test_another_workspace_has_its_own(client: Api, keys: Keys):
    stranger = bearer(keys.stranger)
    await put(client, "unsubscribed")
    id_ = await identified(client, phone=FIRST)
    await refused(client.get(PLACE, headers=stranger), 404, "not_found")
    assert (await ok(client.get(HISTORY, headers=stranger)))["data"] == []
    await refused(client.get(f"/v1/profiles/{id_}/subscriptions/sms", headers=stranger), 404, "not_found")
    own = {"channel": "sms", "address": FIRST, "state": "subscribed"}
    await ok(client.put("/v1/subscriptions", json=own, headers=stranger))
    assert (await ok(client.get(PLACE)))["state"] == "unsubscribed"


async def test_the_words_of_earlier_versions_still_work(client: Api):
    place = f"/v1/consents?channel=sms&address={quote(FIRST)}"
    await refused(client.get(place), 404, "not_found")
    given = {"channel": "sms", "address": "+1 (202) 200-0015", "state": "opted_out"}
    noted = await ok(client.put("/v1/consents", json=given))
    assert noted == {
        "channel": "sms",
        "address": FIRST,
        "state": "opted_out",
        "source": "api",
        "changed_at": noted["changed_at"],
    }
    assert await ok(client.get(place)) == noted
    assert (await ok(client.get(PLACE)))["state"] == "unsubscribed"
    await put(client, "subscribed", source="web form")
    noted = await ok(client.get(place))
    assert (noted["state"], noted["source"]) == ("opted_in", "web form")
    await refused(client.put("/v1/consents", json=given | {"state": "subscribed"}), 400, "invalid_body")
    assert (await ok(client.put("/v1/consents", json=given | {"source": ""})))["source"] == ""


@pytest.mark.parametrize(
    ("state", "ahead", "wanted", "holds"),
    [
        ("unsubscribed", 30 * SECOND, "opted_in", None),
        ("unsubscribed", 30 * SECOND, "opted_out", "opted_out"),
        ("unsubscribed", 90 * SECOND, "opted_in", "opted_in"),
        ("subscribed", 30 * SECOND, "opted_out", "opted_out"),
        ("subscribed", 365 * 24 * HOUR, "opted_out", "opted_out"),
    ],
)
async def test_what_is_said_by_request_holds_or_is_refused(
    client: Api, engine: Engine, keys: Keys, state: str, ahead: int, wanted: str, holds: str | None
):
    """A statement that is stored with a later date, by a provider's clock or in the same moment."""
    place = f"/v1/consents?channel=sms&address={quote(FIRST)}"
    said = SubscriptionChange(keys.workspace_id, "sms", FIRST, SubscriptionState(state), "keyword", now_us() + ahead)

    async def say(tx: Tx, unit: Any) -> None:
        await set_subscriptions(tx, [said], unit)

    await engine.recorder.perform(say)
    answer = client.put("/v1/consents", json={"channel": "sms", "address": FIRST, "state": wanted})
    if holds is None:
        await refused(answer, 409, "opted_out_later")
        assert (await ok(client.get(PLACE)))["state"] == state
    else:
        noted = await ok(answer)
        assert (noted["state"], noted["source"]) == (holds, "api")
        assert noted == await ok(client.get(place))


async def test_who_may_only_read_changes_nothing(client: Api, keys: Keys):
    reader = bearer(keys.read)
    body = {"channel": "sms", "address": FIRST, "state": "subscribed"}
    for answer in await asyncio.gather(
        client.put("/v1/subscriptions", json=body, headers=reader),
        client.post("/v1/subscriptions/batch", json={"subscriptions": [body]}, headers=reader),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    await refused(client.get(PLACE, headers=reader), 404, "not_found")
