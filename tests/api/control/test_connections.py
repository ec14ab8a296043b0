"""Connections: create, check at the provider, show without secrets, update, order, enable and disable."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.api.calling import bearer, ok, refused
from waypost.api.control.connection_view import mask
from waypost.clock import now_us
from waypost.domain.values.ids import internal
from waypost.engine.providers.registry import ConnectionRegistry, pause_connection
from waypost.engine.runtime import idempotency
from waypost.sink.thread_runner import Running, running

TRACKER = "http://127.0.0.1:8080/tracking/amazon-pinpoint-events"
ACCESS, SECRET, TOKEN = "AKIAINTHECLEAR123", "aws-secret-in-the-clear-42", "auth-token-in-the-clear-7"
CLEAR = "in-the-clear"
MEANINGS = {
    2001: "Pinpoint account is not accessible for the Region specified during configuration.",
    2002: "Pinpoint account is not linked to a Kinesis Firehose Data Stream.",
    2003: "The Kinesis Firehose Data Stream linked to your Pinpoint account was not found (doesn't exist).",
    2004: "The linked Kinesis Firehose Data Stream is Inactive.",
    2005: "No HTTP destination has been configured in the Kinesis Firehose Data Stream linked to",
    2006: "The HTTP destination configured for your Kinesis Firehose Data Stream does not match",
}


@pytest.fixture(scope="module")
def provider() -> Iterator[Running]:
    """A sink whose AWS account sends receipts to the engine under test."""
    with running(smtp=True, settings={"aws": {"tracker_url": TRACKER}}) as found:
        yield found


def pinpoint(provider: Running, project: str = "shop", **changes: Any) -> dict[str, Any]:
    config = {
        "region": "us-east-1",
        "project_id": project,
        "access_key": ACCESS,
        "secret_key": SECRET,
        "endpoint_url": provider.url,
    }
    return {"name": "Pinpoint Promo", "connector": "aws-pinpoint", "config": config} | changes


def messaging(provider: Running, configuration_set: str = "shop") -> dict[str, Any]:
    config = {
        "region": "eu-west-1",
        "configuration_set": configuration_set,
        "origination_identity": "+12025550100",
        "access_key": ACCESS,
        "secret_key": SECRET,
        "endpoint_url": provider.url,
    }
    return {"name": "EUM", "connector": "aws-end-user-messaging", "config": config}


def twilio(provider: Running, name: str = "Twilio", **config: Any) -> dict[str, Any]:
    account = {"account_sid": "AC" + "0" * 32, "auth_token": TOKEN, "from": "+12025550100"}
    return {
        "name": name,
        "connector": "twilio",
        "config": account | {"host": f"{provider.url}/twilio"} | config,
    }


def tell(provider: Running, path: str, body: dict[str, Any]) -> None:
    """Change the settings of the sink."""
    assert httpx.put(f"{provider.url}{path}", json=body).status_code == 200


def count(provider: Running, name: str) -> int:
    """Return the number of requests that a provider received."""
    return int(httpx.get(f"{provider.url}/received/count?name={name}").json()["count"])


async def make(client: httpx.AsyncClient, asked: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = await ok(client.post("/v1/connections", json=asked), 201)
    return made


async def listed(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await ok(client.get("/v1/connections")))["data"]
    return found


async def test_a_new_connection_is_checked_and_shows_its_key_once_and_its_secrets_never(client, provider, engine):
    made = await make(client, pinpoint(provider))
    key = made.pop("access_key_for_receipts")
    assert len(key) >= 43
    assert (made["name"], made["connector"], made["channel"]) == ("Pinpoint Promo", "aws-pinpoint", "sms")
    assert (made["status"], made["status_reason"], made["last_error"]) == ("enabled", None, None)
    assert made["config"]["project_id"] == "shop"
    assert made["config"]["message_type"] == "TRANSACTIONAL"
    assert made["secrets"] == {"access_key": "••••R123", "secret_key": "••••r-42"}
    assert made["limits"] == {"per_second": 4000, "concurrency": 16, "validity": 259_200}
    assert (made["check"]["ok"], made["check"]["result"], made["check"]["setup_code"]) == (True, "ok", None)
    assert made["tracker_url"] == TRACKER
    assert made["callback_url"] == f"http://127.0.0.1:8080/receipts/{made['id']}"
    assert await ok(client.get(f"/v1/connections/{made['id']}")) == made
    assert await listed(client) == [made]
    connection = engine.connections.get(engine.connections.all()[0].workspace_id, internal("con", made["id"]))
    assert connection is not None
    assert connection.config["secret_key"] == SECRET
    assert await engine.connections.by_receipts_key(key) == (connection.workspace_id, connection.id)
    assert await engine.connections.by_receipts_key(key[:-1]) is None


@pytest.mark.parametrize(
    ("project", "code", "call"),
    [
        ("missing", 2001, "mobiletargeting:GetApp"),
        ("denied", 2001, "mobiletargeting:GetEventStream"),
        ("elsewhere", 2001, "mobiletargeting:GetEventStream"),
        ("unlinked", 2002, "mobiletargeting:GetApp"),
        ("kinesis", 2002, "mobiletargeting:GetEventStream"),
        ("streamless", 2003, "firehose:DescribeDeliveryStream"),
        ("creating", 2004, "firehose:DescribeDeliveryStream"),
        ("s3only", 2005, "firehose:DescribeDeliveryStream"),
        ("othertracker", 2006, "firehose:DescribeDeliveryStream"),
    ],
)
async def test_a_set_up_that_cannot_work_is_refused_with_its_code(project, code, call, client, provider):
    problem = await refused(client.post("/v1/connections", json=pinpoint(provider, project)), 422, "setup_check_failed")
    assert problem["setup_code"] == code
    assert problem["meaning"].startswith(MEANINGS[code])
    assert len(problem["resolution"]) >= 2
    assert problem["call"] in (call, "mobiletargeting:GetEventStream")
    assert str(code) in problem["detail"]
    assert await listed(client) == []


@pytest.mark.parametrize(
    ("configuration_set", "code"),
    [
        ("missing", 2002),
        ("unlinked", 2002),
        ("streamless", 2003),
        ("creating", 2004),
        ("s3only", 2005),
        ("othertracker", 2006),
    ],
)
async def test_end_user_messaging_is_checked_by_its_configuration_set(configuration_set, code, client, provider):
    problem = await refused(
        client.post("/v1/connections", json=messaging(provider, configuration_set)), 422, "setup_check_failed"
    )
    assert problem["setup_code"] == code
    assert "End User Messaging" in problem["meaning"] or code in (2004, 2006)
    assert await listed(client) == []


async def test_end_user_messaging_that_is_set_up_is_made(client, provider):
    made = await make(client, messaging(provider))
    assert (made["check"]["ok"], made["tracker_url"]) == (True, TRACKER)
    policy = await ok(client.get(f"/v1/connections/{made['id']}/iam-policy"))
    assert "sms-voice:SendTextMessage" in str(policy)


async def test_nobody_could_tell_is_no_verdict(client, provider, monkeypatch):
    monkeypatch.setattr("waypost.engine.providers.setup.PAUSE_S", 0)
    asked = pinpoint(provider, "busy")
    problem = await refused(client.post("/v1/connections", json=asked), 422, "setup_not_verified")
    assert (problem["setup_code"], problem["call"]) == (None, "mobiletargeting:GetEventStream")
    assert "skip_check" in problem["detail"]
    assert await listed(client) == []
    made = await make(client, asked | {"skip_check": True})
    assert (made["status"], made["check"]["ok"], made["check"]["result"]) == ("enabled", None, "unverified")


async def test_a_failed_check_can_be_passed_over_and_is_kept(client, provider):
    made = await make(client, pinpoint(provider, "creating", skip_check=True))
    assert (made["check"]["ok"], made["check"]["setup_code"]) == (False, 2004)
    assert made["check"]["call"] == "firehose:DescribeDeliveryStream"
    assert made["check"]["checks"][-1]["result"] == "failed"


async def test_other_providers_say_that_a_key_is_wrong_and_need_not_be_there(client, provider, monkeypatch):
    monkeypatch.setattr("waypost.engine.providers.setup.PAUSE_S", 0)
    tell(provider, "/sendgrid/settings", {"api_key": "SG.the-right-one"})
    config = {"api_key": f"SG.{CLEAR}", "from_email": "a@example.com", "host": f"{provider.url}/sendgrid"}
    asked = {"name": "SendGrid", "connector": "sendgrid", "config": config}
    problem = await refused(client.post("/v1/connections", json=asked), 422, "setup_check_failed")
    assert (problem["setup_code"], problem["call"]) == (None, "GET /v3/scopes")
    assert problem["resolution"]
    # What the check cannot verify is left to the first message.
    made = await make(client, asked | {"config": config | {"host": "http://127.0.0.1:9"}})
    assert (made["check"]["ok"], made["check"]["result"]) == (None, "unverified")
    tell(provider, "/sendgrid/settings", {})
    changed = await ok(client.patch(f"/v1/connections/{made['id']}", json={"config": {"host": config["host"]}}))
    assert changed["check"]["ok"] is True


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"name": " "}, 400, "invalid_name"),
        ({"name": ""}, 400, "invalid_body"),
        ({"name": "x" * 101}, 400, "invalid_body"),
        ({"name": "a\0b"}, 400, "invalid_name"),
        ({"name": "a\nb"}, 400, "invalid_name"),
        ({"connector": "carrier-pigeon"}, 404, "unknown_connector"),
        ({"config": {}}, 400, "invalid_config"),
        ({"config": {"colour": "red"}}, 400, "invalid_config"),
        ({"config": {"account_sid": 5}}, 400, "invalid_config"),
        ({"position": -1}, 400, "invalid_body"),
        ({"per_second": 0}, 400, "invalid_body"),
        ({"concurrency": 0}, 400, "invalid_body"),
        ({"concurrency": 1001}, 400, "invalid_body"),
        ({"validity": 0}, 400, "invalid_body"),
        ({"validity": 604_801}, 400, "invalid_body"),
        ({"data_center": "mars"}, 400, "unknown_data_center"),
        ({"colour": "red"}, 400, "invalid_body"),
    ],
)
async def test_what_is_wrong_is_refused_and_named(change, status, code, client, provider):
    await refused(client.post("/v1/connections", json=twilio(provider) | change), status, code)
    assert await listed(client) == []


async def test_several_of_a_connector_but_not_of_a_name(client, provider):
    await make(client, twilio(provider, "One"))
    await make(client, twilio(provider, "Two"))
    await refused(client.post("/v1/connections", json=twilio(provider, " One ")), 409, "name_taken")
    assert [one["name"] for one in await listed(client)] == ["Two", "One"]
    first = await ok(client.get("/v1/connections?limit=1"))
    second = await ok(client.get(f"/v1/connections?limit=1&after={first['next']}"))
    assert [page["data"][0]["name"] for page in (first, second)] == ["Two", "One"]
    assert second["next"] is None


async def test_a_repeat_makes_one_connection_and_gets_the_same_answer(client, provider):
    headers = {"idempotency-key": "one"}
    answers = await asyncio.gather(
        *(client.post("/v1/connections", json=twilio(provider), headers=headers) for _ in range(4))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert len(await listed(client)) == 1
    await refused(
        client.post("/v1/connections", json=twilio(provider, "Other"), headers=headers), 422, "idempotency_key_reused"
    )


async def test_a_repeat_that_comes_between_gets_the_same_answer(client, provider, monkeypatch):
    """The first request is stored after the repeat has looked for its answer, and before it looks for its name."""
    headers = {"idempotency-key": "one"}
    first = await ok(client.post("/v1/connections", json=twilio(provider), headers=headers), 201)
    stored, looks = idempotency.stored_response, []

    async def too_early(*about):
        looks.append(about)
        return await stored(*about) if len(looks) > 1 else None

    monkeypatch.setattr(idempotency, "stored_response", too_early)
    assert await ok(client.post("/v1/connections", json=twilio(provider), headers=headers), 201) == first
    assert len(looks) == 2
    looks.clear()
    await refused(client.post("/v1/connections", json=twilio(provider), headers={}), 409, "name_taken")


async def test_a_refusal_is_not_remembered(client, provider):
    headers = {"idempotency-key": "one"}
    tell(provider, "/aws/projects/growing", {"stream": "creating"})
    asked = pinpoint(provider, "growing")
    await refused(client.post("/v1/connections", json=asked, headers=headers), 422, "setup_check_failed")
    tell(provider, "/aws/projects/growing", {})
    await ok(client.post("/v1/connections", json=asked, headers=headers), 201)


async def test_a_change_keeps_what_is_left_out(client, provider, engine):
    made = await make(client, twilio(provider) | {"per_second": 5, "validity": 60})
    url = f"/v1/connections/{made['id']}"
    changed = await ok(client.patch(url, json={"name": "Other", "per_second": None, "position": 3}))
    assert (changed["name"], changed["per_second"], changed["position"], changed["validity"]) == ("Other", None, 3, 60)
    assert changed["limits"]["per_second"] == 100
    changed = await ok(client.patch(url, json={"config": {"from": "+12025550199"}}))
    assert changed["config"]["from"] == "+12025550199"
    connection = engine.connections.by_number(internal("con", made["id"]))
    assert (connection.config["auth_token"], connection.config["from"]) == (TOKEN, "+12025550199")
    changed = await ok(client.patch(url, json={"config": {"from": None, "messaging_service_sid": "MG" + "1" * 32}}))
    assert (changed["config"]["from"], changed["config"]["messaging_service_sid"]) == ("", "MG" + "1" * 32)
    for change, code in [
        ({"config": {"auth_token": None}}, "invalid_config"),
        ({"config": {"colour": "red"}}, "invalid_config"),
        ({"connector": "sendgrid"}, "invalid_body"),
        ({"data_center": "mars"}, "unknown_data_center"),
        ({"name": " "}, "invalid_name"),
    ]:
        await refused(client.patch(url, json=change), 400, code)
    assert await ok(client.get(url)) == changed


async def test_two_never_get_one_name_by_a_change(client, provider):
    await make(client, twilio(provider, "One"))
    two = await make(client, twilio(provider, "Two"))
    await refused(client.patch(f"/v1/connections/{two['id']}", json={"name": "One"}), 409, "name_taken")
    assert (await ok(client.patch(f"/v1/connections/{two['id']}", json={"name": "Two"})))["name"] == "Two"


async def test_new_credentials_are_checked_before_they_are_kept(client, provider):
    made = await make(client, pinpoint(provider))
    url = f"/v1/connections/{made['id']}"
    problem = await refused(client.patch(url, json={"config": {"project_id": "creating"}}), 422, "setup_check_failed")
    assert problem["setup_code"] == 2004
    assert (await ok(client.get(url)))["config"]["project_id"] == "shop"
    changed = await ok(client.patch(url, json={"config": {"project_id": "creating"}, "skip_check": True}))
    assert (changed["config"]["project_id"], changed["check"]["ok"]) == ("creating", False)
    # A change that does not concern the set-up is not checked.
    assert (await ok(client.patch(url, json={"name": "Other"})))["check"] == changed["check"]


async def pause(engine: Any, made: dict[str, Any], words: str = "no such project") -> None:
    connection = engine.connections.by_number(internal("con", made["id"]))
    assert await engine.database.transact(
        pause_connection,
        connection.workspace_id,
        connection.id,
        connection.version,
        "configuration",
        words,
        engine.ids.one(now_us()),
        now_us(),
    )
    await engine.connections.refresh()


async def test_a_paused_connection_goes_on_when_it_is_mended(client, provider, engine):
    made = await make(client, pinpoint(provider))
    url = f"/v1/connections/{made['id']}"
    await pause(engine, made)
    shown = await ok(client.get(url))
    assert (shown["status"], shown["status_reason"], shown["last_error"]) == (
        "paused",
        "configuration",
        "no such project",
    )
    (notice,) = (await ok(client.get("/v1/notices")))["data"]
    assert (notice["kind"], notice["about"]) == ("connection_paused", made["id"])

    # After a failed check it stays paused; after a passed one it is enabled.
    tell(provider, "/aws/projects/shop", {"stream": "creating"})
    checked = await ok(client.post(f"{url}/check"))
    assert (checked["ok"], checked["setup_code"], checked["call"]) == (False, 2004, "firehose:DescribeDeliveryStream")
    shown = await ok(client.get(url))
    assert (shown["status"], shown["check"]["setup_code"]) == ("paused", 2004)
    tell(provider, "/aws/projects/shop", {})
    checked = await ok(client.post(f"{url}/check"))
    assert (checked["ok"], checked["account_id"], checked["stream"]) == (True, "111122223333", "receipts")
    shown = await ok(client.get(url))
    assert (shown["status"], shown["status_reason"], shown["check"]["ok"]) == ("enabled", None, True)
    assert engine.connections.by_number(internal("con", made["id"])).status == "enabled"

    # By new credentials, and by its owner; not by a new name.
    for change, status in [({"name": "Other"}, "paused"), ({"config": {"access_key": ACCESS + "4"}}, "enabled")]:
        if shown["status"] == "enabled":
            await pause(engine, made)
        shown = await ok(client.patch(url, json=change))
        assert shown["status"] == status
    await pause(engine, made)
    assert (await ok(client.post(f"{url}/enable")))["status"] == "enabled"


async def test_an_owner_disables_and_enables(client, provider, engine):
    made = await make(client, twilio(provider))
    url = f"/v1/connections/{made['id']}"
    workspace_id = engine.connections.all()[0].workspace_id
    disabled = await ok(client.post(f"{url}/disable"))
    assert (disabled["status"], disabled["status_reason"]) == ("disabled", "by_owner")
    assert engine.connections.for_channel(workspace_id, "sms") == []
    assert await ok(client.post(f"{url}/disable")) == disabled
    # A check enables a paused connection; one that its owner disabled stays disabled.
    assert (await ok(client.post(f"{url}/check")))["ok"] is True
    assert (await ok(client.get(url)))["status"] == "disabled"
    assert (await ok(client.post(f"{url}/enable")))["status"] == "enabled"
    assert [one.name for one in engine.connections.for_channel(workspace_id, "sms")] == ["Twilio"]


async def test_a_connector_with_nothing_to_check_says_so(client, provider):
    config = {"host": "127.0.0.1", "port": provider.smtp_port, "security": "none", "from_email": "shop@example.com"}
    made = await make(client, {"name": "Mail", "connector": "smtp", "config": config})
    assert made["check"] is None
    checked = await ok(client.post(f"/v1/connections/{made['id']}/check"))
    assert (checked["ok"], checked["result"], checked["checks"]) == (None, "none", [])
    assert (await ok(client.get(f"/v1/connections/{made['id']}")))["check"] is None


async def test_the_order_of_a_channel(client, provider):
    made = [await make(client, twilio(provider, name)) for name in ("a", "b", "c")]
    asked = {"channel": "sms", "connections": [made[2]["id"], made[0]["id"]]}
    ordered = await ok(client.post("/v1/connections/order", json=asked))
    assert [(one["name"], one["position"]) for one in ordered["data"]] == [("c", 0), ("a", 1), ("b", 2)]
    await refused(client.post("/v1/connections/order", json=asked | {"channel": "email"}), 404, "unknown_connection")
    await refused(client.post("/v1/connections/order", json=asked | {"channel": "smoke"}), 400, "invalid_body")
    await refused(client.post("/v1/connections/order", json=asked | {"connections": []}), 400, "invalid_body")


async def test_a_deleted_connection_is_gone(client, provider, engine):
    made = await make(client, twilio(provider))
    response = await client.delete(f"/v1/connections/{made['id']}")
    assert response.status_code == 204
    await refused(client.get(f"/v1/connections/{made['id']}"), 404, "unknown_connection")
    await refused(client.delete(f"/v1/connections/{made['id']}"), 404, "unknown_connection")
    assert await listed(client) == []
    assert await engine.connections.by_id(internal("con", made["id"])) is None
    assert await engine.connections.by_receipts_key(made["access_key_for_receipts"]) is None


async def test_a_rotated_key_takes_the_place_of_the_old_one_at_once(client, provider, engine):
    made = await make(client, twilio(provider))
    old = made["access_key_for_receipts"]
    assert await engine.connections.by_receipts_key(old)
    rotated = await ok(client.post(f"/v1/connections/{made['id']}/rotate-receipts-key"))
    new = rotated["access_key_for_receipts"]
    assert new != old
    assert await engine.connections.by_receipts_key(old) is None
    assert (await engine.connections.by_receipts_key(new))[1] == internal("con", made["id"])


async def test_strangers_and_readers(client, provider, keys):
    made = await make(client, twilio(provider))
    url = f"/v1/connections/{made['id']}"
    stranger, reader = bearer(keys.stranger), bearer(keys.read)
    order = {"channel": "sms", "connections": [made["id"]]}
    calls: list[tuple[str, str, Any]] = [
        ("GET", url, None),
        ("GET", f"{url}/setup", None),
        ("GET", f"{url}/iam-policy", None),
        ("PATCH", url, {"name": "Mine"}),
        ("DELETE", url, None),
        ("POST", f"{url}/enable", None),
        ("POST", f"{url}/disable", None),
        ("POST", f"{url}/check", None),
        ("POST", f"{url}/test", {"to": "+12025550101", "text": "hi"}),
        ("POST", f"{url}/rotate-receipts-key", None),
        ("POST", "/v1/connections/order", order),
    ]
    for method, path, body in calls:
        await refused(client.request(method, path, json=body, headers=stranger), 404, "unknown_connection")
        if method != "GET":
            await refused(client.request(method, path, json=body, headers=reader), 403, "forbidden")
    assert (await ok(client.get("/v1/connections", headers=stranger)))["data"] == []
    assert await ok(client.get(url, headers=reader)) == {
        name: value for name, value in made.items() if name != "access_key_for_receipts"
    }
    # Another workspace may use the same name and order.
    await ok(client.post("/v1/connections", json=twilio(provider), headers=stranger), 201)
    await refused(client.get("/v1/connections/con_x"), 404, "not_found")


async def test_no_secret_is_told_anywhere(client, provider, engine, capsys):
    asked = [
        pinpoint(provider),
        twilio(provider),
        messaging(provider),
        pinpoint(provider, "denied", name="No"),
        pinpoint(provider, name="Missing") | {"config": {"access_key": ACCESS, "secret_key": SECRET}},
        twilio(provider, "Bad") | {"config": {"auth_token": TOKEN, "account_sid": SECRET}},
    ]
    told = []
    for one in asked:
        response = await client.post("/v1/connections", json=one)
        told.append(response.text)
        if response.status_code != 201:
            continue
        url = f"/v1/connections/{response.json()['id']}"
        told += [(await client.get(url + path)).text for path in ("", "/setup", "/iam-policy")]
        told.append((await client.patch(url, json={"config": {"secret_key": SECRET + "x", "colour": SECRET}})).text)
        told += [(await client.post(url + path)).text for path in ("/check", "/enable", "/disable")]
        told.append((await client.post(url + "/test", json={"to": "+12025550101", "text": "hi"})).text)
        told.append((await client.post(url + "/test", json={"to": "nobody", "text": "hi"})).text)
    told.append((await client.get("/v1/connections")).text)
    out, err = capsys.readouterr()
    for text in [*told, out, err]:
        for secret in (CLEAR, ACCESS, SECRET, TOKEN):
            assert secret not in text


async def test_a_test_message_shows_what_went_over_the_wire(client, provider):
    made = await make(client, twilio(provider))
    url = f"/v1/connections/{made['id']}/test"
    tested = await ok(client.post(url, json={"to": "+1 (202) 555-0101", "text": "Hallo"}))
    assert tested["accepted"] is True
    assert tested["request"]["method"] == "POST"
    assert "To=%2B12025550101" in tested["request"]["body"]
    assert ["Authorization", "Basic ***"] in tested["request"]["headers"]
    assert tested["response"]["status"] == 201
    assert tested["verdict"]["outcome"] == "accepted"
    assert tested["verdict"]["provider_message_id"] in tested["response"]["body"]
    assert tested["timings"]["total"] > 0
    assert tested["error"] is None
    for body, code in [
        ({"to": "12025550101", "text": "x"}, "invalid_number"),
        ({"to": "+1", "text": "x"}, "invalid_number"),
        ({"to": "+12025550101"}, "invalid_message"),
        ({"text": "x"}, "invalid_body"),
        ({"to": "+12025550101", "text": "x", "colour": "red"}, "invalid_body"),
    ]:
        await refused(client.post(url, json=body), 400, code)


async def test_a_repeated_test_message_is_sent_once(client, provider):
    made = await make(client, twilio(provider))
    before = count(provider, "twilio")
    answers = [
        await client.post(
            f"/v1/connections/{made['id']}/test",
            json={"to": "+12025550101", "text": "once"},
            headers={"idempotency-key": "t"},
        )
        for _ in range(2)
    ]
    assert answers[0].status_code == 200
    assert answers[0].text == answers[1].text
    assert count(provider, "twilio") == before + 1


async def test_a_test_message_by_pinpoint_and_one_that_is_refused(client, provider):
    made = await make(client, pinpoint(provider))
    url = f"/v1/connections/{made['id']}/test"
    tested = await ok(client.post(url, json={"to": "+12025550101", "text": "Hallo"}))
    assert (tested["accepted"], tested["response"]["status"]) == (True, 200)
    assert "Hallo" in tested["request"]["body"]
    bare = await make(client, twilio(provider, host="http://127.0.0.1:9"))
    tested = await ok(client.post(f"/v1/connections/{bare['id']}/test", json={"to": "+12025550101", "text": "x"}))
    assert (tested["accepted"], tested["response"], tested["verdict"]["outcome"]) == (False, None, "retry")
    assert tested["error"].startswith("connect")


async def test_a_test_mail(client, provider):
    config = {"host": "127.0.0.1", "port": provider.smtp_port, "security": "none", "from_email": "shop@example.com"}
    made = await make(client, {"name": "Mail", "connector": "smtp", "config": config})
    url = f"/v1/connections/{made['id']}/test"
    await refused(client.post(url, json={"to": "nobody", "subject": "x", "text": "x"}), 400, "invalid_address")
    await refused(client.post(url, json={"to": "ada@example.com", "text": "x"}), 400, "invalid_message")
    tested = await ok(client.post(url, json={"to": "ada@example.com", "subject": "Hallo", "text": "Ada"}))
    assert tested["accepted"] is True, tested


@given(st.text(min_size=1) | st.integers() | st.booleans())
def test_a_mask_shows_little(secret):
    shown = mask(secret)
    assert shown is not None
    assert len(shown) == 8 if len(str(secret)) > 12 else shown == "••••"


def test_what_is_not_there_has_no_mask():
    assert mask(None) is mask("") is None


async def test_the_policy_and_the_steps_are_filled_in(client, provider):
    made = await make(client, pinpoint(provider))
    policy = await ok(client.get(f"/v1/connections/{made['id']}/iam-policy"))
    resources = [statement["Resource"] for statement in policy["Statement"]]
    # The check found out the account id.
    assert "arn:aws:mobiletargeting:us-east-1:111122223333:apps/shop/messages" in resources
    setup = await ok(client.get(f"/v1/connections/{made['id']}/setup"))
    assert setup["tracker_url"] == TRACKER
    assert setup["data_centers"] == {"global": TRACKER}
    assert any(step.get("url") == TRACKER for step in setup["steps"])
    other = await make(client, twilio(provider))
    await refused(client.get(f"/v1/connections/{other['id']}/iam-policy"), 404, "not_found")
    setup = await ok(client.get(f"/v1/connections/{other['id']}/setup"))
    assert setup["tracker_url"] is None
    assert any(other["callback_url"] in step["text"] for step in setup["steps"])


async def test_a_data_center_decides_where_receipts_come_in(client, provider, engine):
    engine.connections.data_centers["india"] = "https://in.waypost.example"
    problem = await refused(
        client.post("/v1/connections", json=pinpoint(provider, data_center="india")), 422, "setup_check_failed"
    )
    assert problem["setup_code"] == 2006
    url = "https://in.waypost.example/tracking/amazon-pinpoint-events"
    tell(provider, "/aws/streams/indian", {"url": url})
    tell(provider, "/aws/projects/india", {"stream": "indian"})
    made = await make(client, pinpoint(provider, "india", data_center="india"))
    assert (made["data_center"], made["tracker_url"]) == ("india", url)
    assert made["callback_url"] == f"https://in.waypost.example/receipts/{made['id']}"
    setup = await ok(client.get(f"/v1/connections/{made['id']}/setup"))
    assert setup["data_centers"] == {"global": TRACKER, "india": url}
    # Another data center changes the set-up: its stream must send to the new URL.
    problem = await refused(
        client.patch(f"/v1/connections/{made['id']}", json={"data_center": None}), 422, "setup_check_failed"
    )
    assert problem["setup_code"] == 2006
    del engine.connections.data_centers["india"]
    assert (await ok(client.patch(f"/v1/connections/{made['id']}", json={"name": "New"})))["name"] == "New"


async def test_a_connection_whose_connector_is_gone_is_shown_and_can_be_deleted(client, provider, engine):
    made = await make(client, twilio(provider))

    async def lose(tx: Any) -> None:
        tx._connection.execute("UPDATE connections SET connector = 'gone', version = version + 1")
        await tx.run("configurations.touch", area="providers", workspace_id=engine.connections.all()[0].workspace_id)

    await engine.database.transact(lose)
    await engine.connections.refresh()
    assert engine.connections.all() == []
    url = f"/v1/connections/{made['id']}"
    shown = await ok(client.get(url))
    assert (shown["connector"], shown["config"], shown["limits"]["concurrency"]) == ("gone", {}, None)
    for answer in (
        client.post(f"{url}/enable"),
        client.post(f"{url}/check"),
        client.get(f"{url}/setup"),
        client.patch(url, json={"name": "x"}),
    ):
        await refused(answer, 409, "connector_missing")
    assert (await ok(client.post(f"{url}/disable")))["status"] == "disabled"
    assert (await client.delete(url)).status_code == 204


async def test_a_change_that_was_checked_against_an_older_state_is_not_kept(client, provider, engine, monkeypatch):
    made = await make(client, pinpoint(provider))
    url = f"/v1/connections/{made['id']}"
    tell(provider, "/aws/projects/other", {})
    real = ConnectionRegistry.tracker_url
    raced: list[Any] = []

    def meanwhile(self: ConnectionRegistry, data_center: str) -> str:
        # Between the read and the update, another request changes another field.
        if not raced:
            raced.append(asyncio.ensure_future(client.patch(url, json={"config": {"sender_id": "SHOP"}})))
        return real(self, data_center)

    monkeypatch.setattr(ConnectionRegistry, "tracker_url", meanwhile)
    first = await client.patch(url, json={"config": {"project_id": "other"}})
    second = await raced[0]
    answers = sorted((first.status_code, second.status_code))
    assert answers in ([200, 200], [200, 409])
    shown = (await ok(client.get(url)))["config"]
    kept = [shown["project_id"] == "other", shown["sender_id"] == "SHOP"]
    assert kept == [first.status_code == 200, second.status_code == 200]


async def test_errors_are_ours(client, provider):
    for body in (b"", b"{", b"[]", b'{"name": 5}', b"\xff"):
        response = await client.post("/v1/connections", content=body)
        assert response.status_code == 400, response.text
