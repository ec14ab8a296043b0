"""Texts before they are live: previews that record nothing, and texts to a number of one's own."""

import json
from typing import Any

import httpx
import pytest

from tests.api.calling import Keys, bearer, eventually, ok, refused
from waypost.domain.values.ids import public
from waypost.engine.process import Engine
from waypost.sink.thread_runner import Running

Api = httpx.AsyncClient

ANN, BOB = "+12025550101", "+12025550102"
BODY = {
    "phone": "{{ person.phone_number|default:'' }}",
    "email": "{{ person.email }}",
    "text": "Happy Birthday, {{ person.first_name|default:'' }}!",
    "callbackData": json.dumps({"profileID": "{{ person.KlaviyoID|default:''}}", "metricName": "Birthday"}),
    "sendPurpose": "Birthday",
}
PERSON = {"phone_number": ANN, "email": "ann@example.test", "first_name": "Ann", "KlaviyoID": "01K"}


@pytest.fixture
async def texts(client: Api, sink: Running) -> dict[str, Any]:
    """A text client of a workspace with an SMS connection."""
    config = {"url": f"{sink.url}/gateway/send", "auth": "bearer", "token": "made-up"}
    await ok(client.post("/v1/connections", json={"name": "gateway", "connector": "http", "config": config}), 201)
    made: dict[str, Any] = await ok(client.post("/v1/text-clients", json={"name": "klaviyo"}), 201)
    return made


async def subscribe(client: Api, number: str, state: str = "opted_in") -> None:
    body = {"channel": "sms", "address": number, "state": state, "source": "test"}
    await ok(client.put("/v1/consents", json=body))


async def preview(client: Api, texts: dict[str, Any], **changes: Any) -> Any:
    return await ok(
        client.post("/v1/text/preview", json={"client_id": texts["id"], "body": BODY, "person": PERSON} | changes)
    )


async def messages(client: Api) -> list[Any]:
    found: list[Any] = (await ok(client.get("/v1/messages")))["data"]
    return found


async def test_a_preview_shows_the_request_the_response_and_the_message(client, texts, engine: Engine):
    await subscribe(client, ANN)
    shown = await preview(client, texts)
    body = shown["request"].pop("body")
    assert shown["request"] == {
        "method": "POST",
        "url": f"{engine.settings.base_url}/text/message/send",
        "headers": {"Content-Type": "application/json", "X-Client-ID": texts["client_id"], "X-Client-Secret": "…"},
    }
    assert json.loads(body)["text"] == "Happy Birthday, Ann!"
    assert json.loads(json.loads(body)["callbackData"]) == {"profileID": "01K", "metricName": "Birthday"}
    assert shown["response"] == {
        "status": 200,
        "body": {"messageId": "msg_…", "status": "PENDING_TO_SEND"},
        "explanation": "The number is subscribed, so the text is sent.",
    }
    assert (shown["undefined"], shown["warnings"]) == ([], [])
    message = shown["message"]
    assert (message["to"], message["text"], message["links"]) == (ANN, "Happy Birthday, Ann!", [])
    assert (message["sms"]["encoding"], message["sms"]["parts"]) == ("GSM-7", 1)
    # Nothing was recorded: what the preview says is true again, and then the request is.
    assert await messages(client) == []
    assert await preview(client, texts) == shown | {"request": shown["request"] | {"body": body}}
    headers = {"x-client-id": texts["client_id"], "x-client-secret": texts["client_secret"]}
    sent = await ok(client.post("/text/message/send", content=body, headers=headers))
    assert sent["status"] == "PENDING_TO_SEND"
    again = (await preview(client, texts))["response"]
    assert (again["status"], again["body"]["code"], again["body"]["messageId"]) == (
        409,
        "duplicate_message",
        sent["messageId"],
    )
    real = await refused(client.post("/text/message/send", content=body, headers=headers), 409, "duplicate_message")
    assert real == again["body"]


async def test_why_a_text_is_not_sent(client, texts):
    async def response(**changes: Any) -> tuple[str, Any]:
        shown = await preview(client, texts, **changes)
        assert shown["response"]["explanation"]
        return shown["response"]["body"].get("status"), shown["message"]["to"]

    assert await response() == ("NOT_FOUND", ANN)
    await subscribe(client, ANN, "opted_out")
    assert await response() == ("NOT_SUBSCRIBED", ANN)
    assert await response(person={"email": "nobody@example.test", "KlaviyoID": "01K"}) == ("FAILED_TO_MATCH", None)


@pytest.mark.parametrize(
    ("changes", "status", "code", "field"),
    [
        ({"sendPurpose": ""}, 400, "missing_field", "sendPurpose"),
        ({"callbackData": "{}"}, 400, "invalid_callback_data", "callbackData"),
        ({"phone": "123"}, 400, "invalid_phone", "phone"),
        ({"clickUrl": "http://10.0.0.1/"}, 400, "link_not_working", "clickUrl"),
        ({"mediaUrl": "{{ person.picture }}"}, 400, "link_not_working", "mediaUrl"),
        ({"text": "x" * 1601}, 400, "text_too_long", "text"),
    ],
)
async def test_why_a_request_is_refused(client, texts, hook, changes, status, code, field):
    await subscribe(client, ANN)
    shown = await preview(client, texts, body=BODY | changes, person=PERSON | {"picture": hook})
    response = shown["response"]
    assert (response["status"], response["body"]["code"], response["body"]["field"]) == (status, code, field)
    assert response["explanation"] == response["body"]["detail"]
    headers = {"x-client-id": texts["client_id"], "x-client-secret": texts["client_secret"]}
    sent = client.post("/text/message/send", content=shown["request"]["body"], headers=headers)
    assert await refused(sent, status, code) == response["body"]


async def test_a_quote_in_a_name_is_named_before_it_does_harm(client, texts):
    await subscribe(client, ANN)
    shown = await preview(client, texts, person=PERSON | {"first_name": 'Ann "X"'})
    assert [warning["field"] for warning in shown["warnings"]] == ["body.text"]
    assert (shown["response"]["status"], shown["response"]["body"]["code"]) == (400, "invalid_json")
    assert shown["message"] is None


async def test_a_preview_for_a_profile(client, texts):
    traits = {"phone": ANN, "first_name": "Ann", "email": "ann@example.test"}
    await ok(client.post("/v1/identify", json={"userId": "ann", "traits": traits}))
    profile = (await ok(client.get("/v1/profiles?user_id=ann")))["data"][0]
    await subscribe(client, ANN)
    given = {"client_id": texts["id"], "body": BODY, "profile_id": profile["id"], "event": {"OrderId": 7}}
    shown = await ok(client.post("/v1/text/preview", json=given))
    body = json.loads(shown["request"]["body"])
    assert (body["text"], body["phone"]) == ("Happy Birthday, Ann!", ANN)
    # In Klaviyo every profile has an id.
    assert json.loads(body["callbackData"])["profileID"] == profile["id"]
    unknown = given | {"profile_id": public("pro", 5)}
    await refused(client.post("/v1/text/preview", json=unknown), 404, "unknown_profile")
    await refused(client.post("/v1/text/preview", json=given | {"person": {}}), 400, "conflicting_fields")


async def test_wrong_tags_are_named_with_their_place(client, texts):
    for body in ({"text": "{{ person.name | nonsense }}"}, '{"text": "{{ person.name | nonsense }}"}'):
        given = {"client_id": texts["id"], "body": BODY | body if isinstance(body, dict) else body}
        for path, more in (("/v1/text/preview", {}), ("/v1/text/test", {"to": ANN})):
            problem = await refused(client.post(path, json=given | more), 400, "invalid_template")
            assert problem["field"].startswith("body")
            assert problem["line"] >= 1


async def test_a_trial_reaches_the_given_number_again_and_again(client, texts, engine: Engine):
    await subscribe(client, BOB)
    # Whoever the body names: a number, or a person without one.
    given = {"client_id": texts["id"], "body": BODY, "person": PERSON, "to": "+1 202 555 0102"}
    nobody = given | {"person": {"first_name": "Ann", "KlaviyoID": "01K", "email": "not an address"}}
    assert (await ok(client.post("/v1/text/test", json=nobody)))["status"] == "PENDING_TO_SEND"
    first = await ok(client.post("/v1/text/test", json=given))
    second = await ok(client.post("/v1/text/test", json=given))
    assert first["status"] == second["status"] == "PENDING_TO_SEND"
    assert first["messageId"] != second["messageId"]

    async def sent() -> Any:
        found = await ok(client.get(f"/v1/messages/{first['messageId']}"))
        return found if found["status"] == "sent" else None

    message = await eventually(sent)
    assert (message["to"], message["test"], message["content"]["text"]) == (BOB, True, "Happy Birthday, Ann!")
    # It does not count as a repeat for a real one either.
    assert (await preview(client, texts, person=PERSON | {"phone_number": BOB}))["response"]["status"] == 200


async def test_a_trial_to_a_stranger_is_not_sent(client, texts):
    given = {"client_id": texts["id"], "body": BODY, "person": PERSON, "to": BOB}
    assert (await ok(client.post("/v1/text/test", json=given)))["status"] == "NOT_FOUND"
    await refused(client.post("/v1/text/test", json=given | {"to": "nobody"}), 400, "invalid_phone")


async def test_a_trial_with_a_broken_body_says_what_breaks_it(client, texts):
    await subscribe(client, BOB)
    person = PERSON | {"first_name": 'Ann "X"'}
    given = {"client_id": texts["id"], "body": BODY, "person": person, "to": BOB}
    problem = await refused(client.post("/v1/text/test", json=given), 400, "invalid_json")
    assert [warning["field"] for warning in problem["warnings"]] == ["body.text"]
    assert 'Ann "X"' in problem["body"]


async def test_a_repeated_trial_with_a_key_is_sent_once(client, texts):
    await subscribe(client, BOB)
    given = {"client_id": texts["id"], "body": BODY, "person": PERSON, "to": BOB}
    made = [await ok(client.post("/v1/text/test", json=given, headers={"idempotency-key": "k"})) for _ in range(2)]
    assert made[0] == made[1]
    assert len(await messages(client)) == 1


async def test_a_client_of_another_workspace_is_unknown(client, texts, keys: Keys):
    given = {"client_id": texts["id"], "body": BODY, "person": PERSON}
    for path, more in (("/v1/text/preview", {}), ("/v1/text/test", {"to": ANN})):
        sent = client.post(path, json=given | more, headers=bearer(keys.stranger))
        await refused(sent, 404, "not_found")
