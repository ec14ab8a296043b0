"""What applies to every route: problems, limits and idempotency keys."""

import asyncio

import httpx
import pytest
from litestar.exceptions import HTTPException

from tests.api.calling import bearer, make_webhook, ok, refused
from waypost.api.control.calls import BODY_BYTES, read_key
from waypost.clock import DAY, MINUTE, now_us
from waypost.engine.accounts import workspaces
from waypost.engine.runtime import idempotency
from waypost.engine.runtime.idempotency import IN_PROGRESS, LEASE, RACES, Answer

NEW = {"url": "https://example.com/", "event_types": ["*"]}


async def test_what_there_is_not_says_where_to_look(client):
    problem = await refused(client.get("/v1/nothing"), 404, "no_such_route")
    assert "/openapi.json" in problem["detail"]
    await refused(client.request("PATCH", "/v1/ledger"), 405, "method_not_allowed")
    refusal = await client.request("POST", "/v1/webhooks/whk_0000000000000001")
    assert (refusal.status_code, refusal.headers["allow"]) == (405, "DELETE, GET, OPTIONS, PATCH, PUT")
    await refused(client.get("/v1/webhooks/whk_1"), 404, "not_found")
    await refused(client.get("/v1/webhooks/evt_0000000000000001"), 404, "not_found")


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "many", "1.5", ""])
async def test_a_page_has_one_to_a_thousand_rows(limit, client):
    problem = await refused(client.get(f"/v1/webhooks?limit={limit}"), 400, "invalid_parameter")
    assert "limit" in problem["detail"]


async def test_a_body_is_bounded(client):
    await refused(client.post("/v1/webhooks", content=b" " * (BODY_BYTES + 1)), 413, "too_large")

    async def parts():
        for _ in range(BODY_BYTES // 1000 + 1):
            yield b" " * 1000

    await refused(client.post("/v1/webhooks", content=parts()), 413, "too_large")
    await refused(client.post("/v1/webhooks", content=b" " * BODY_BYTES), 400, "invalid_json")


async def test_a_surprise_is_logged_and_tells_nothing(client, monkeypatch):
    async def fail(*_args):
        raise RuntimeError("the secret inside")

    monkeypatch.setattr(workspaces, "list_keys", fail)
    problem = await refused(client.get("/v1/keys"), 500, "internal")
    assert "secret" not in str(problem)


async def test_a_refusal_of_the_framework_is_a_problem_too(client, monkeypatch):
    async def fail(*_args):
        raise HTTPException(status_code=500, detail="the secret inside")

    monkeypatch.setattr(workspaces, "list_keys", fail)
    problem = await refused(client.get("/v1/keys"), 500, "internal")
    assert "secret" not in str(problem)


async def test_a_repeat_gets_the_first_answer_and_does_nothing(client):
    headers = {"idempotency-key": "one"}
    first = await client.post("/v1/webhooks", json=NEW, headers=headers)
    again = await client.post("/v1/webhooks", json=NEW, headers=headers)
    quoted = await client.post("/v1/webhooks", json=NEW, headers={"idempotency-key": '"one"'})
    assert first.status_code == again.status_code == quoted.status_code == 201
    assert first.content == again.content == quoted.content
    assert len((await ok(client.get("/v1/webhooks")))["data"]) == 1
    other = await client.post("/v1/webhooks", json=NEW, headers={"idempotency-key": "two"})
    assert other.json()["id"] != first.json()["id"]


async def test_another_request_under_the_same_key_is_refused(client):
    headers = {"idempotency-key": "one"}
    await ok(client.post("/v1/webhooks", json=NEW, headers=headers), 201)
    await refused(
        client.post("/v1/webhooks", json=NEW | {"timeout": 1}, headers=headers), 422, "idempotency_key_reused"
    )
    await refused(
        client.post("/v1/keys", json={"name": "a", "scopes": ["read"]}, headers=headers), 422, "idempotency_key_reused"
    )


async def test_what_was_refused_can_be_sent_again_under_its_key(client):
    headers = {"idempotency-key": "one"}
    await refused(client.post("/v1/webhooks/whk_0000000000000001/disable", headers=headers), 404, "not_found")
    await ok(client.post("/v1/webhooks", json=NEW, headers=headers), 201)


async def test_workspaces_have_keys_of_their_own(client, keys):
    headers = {"idempotency-key": "one"}
    first = await ok(client.post("/v1/webhooks", json=NEW, headers=headers), 201)
    other = await ok(client.post("/v1/webhooks", json=NEW, headers=headers | bearer(keys.stranger)), 201)
    assert first["id"] != other["id"]


@pytest.mark.parametrize("key", ["", "x" * 256, '""', "caf\u00e9".encode(), "a\tb"])
async def test_a_key_that_is_none_is_refused(key, client):
    await refused(
        client.post("/v1/webhooks", json=NEW, headers={"idempotency-key": key}), 400, "invalid_idempotency_key"
    )


async def test_the_same_request_many_times_at_once_takes_effect_once(client):
    answers = await asyncio.gather(
        *(client.post("/v1/webhooks", json=NEW, headers={"idempotency-key": "one"}) for _ in range(10))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert len((await ok(client.get("/v1/webhooks")))["data"]) == 1
    assert RACES > 1


async def test_stored_answers_are_sealed(client, engine, keys):
    made = await ok(client.post("/v1/webhooks", json=NEW, headers={"idempotency-key": "one"}), 201)

    async def kept(tx):
        return await tx.row("idempotency.get", workspace_id=keys.workspace_id, key="one")

    row = await engine.database.read(kept)
    assert made["secret"] not in str(row)
    assert made["secret"] in engine.encryption.decrypt(row[2])


async def test_a_test_is_not_sent_twice_under_one_key(client, hook, sink):
    made = await make_webhook(client, hook)
    headers = {"idempotency-key": "one"}
    first = await ok(client.post(f"/v1/webhooks/{made['id']}/test", headers=headers))
    assert await ok(client.post(f"/v1/webhooks/{made['id']}/test", headers=headers)) == first
    async with httpx.AsyncClient() as direct:
        name = hook.rpartition("/")[2]
        assert (await ok(direct.get(f"{sink.url}/received/count?name={name}")))["count"] == 1


async def test_a_test_that_is_asked_for_twice_at_once_is_sent_once(client, hook, sink):
    made = await make_webhook(client, hook)
    place, headers = f"/v1/webhooks/{made['id']}/test", {"idempotency-key": "one"}
    answers = await asyncio.gather(*(client.post(place, headers=headers) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]
    assert {answer.json().get("code") for answer in answers} == {None, "idempotency_key_in_use"}
    first = next(answer for answer in answers if answer.status_code == 200)
    assert await ok(client.post(place, headers=headers)) == first.json()
    async with httpx.AsyncClient() as direct:
        name = hook.rpartition("/")[2]
        assert (await ok(direct.get(f"{sink.url}/received/count?name={name}")))["count"] == 1


async def test_a_test_that_was_refused_gives_its_key_back(client, hook):
    headers = {"idempotency-key": "one"}
    place = "/v1/webhooks/whk_0000000000000001/test"
    for _ in range(2):
        await refused(client.post(place, headers=headers), 404, "not_found")


async def test_a_key_that_a_dead_process_holds_is_taken_over_in_the_end(client, engine, keys, hook):
    made = await make_webhook(client, hook)
    place = f"/v1/webhooks/{made['id']}/test"
    asked = read_key("one", place, b"", b"")

    async def hold(since):
        async def work(tx):
            await tx.run("idempotency.prune", before=now_us() + DAY, n=10)
            await idempotency._add(tx, engine.encryption, keys.workspace_id, asked, since, Answer(IN_PROGRESS, b""))

        await engine.database.transact(work)

    headers = {"idempotency-key": "one"}
    await hold(now_us() - LEASE + MINUTE)
    await refused(client.post(place, headers=headers), 409, "idempotency_key_in_use")
    await hold(now_us() - LEASE - 1)
    first = await ok(client.post(place, headers=headers))
    assert await ok(client.post(place, headers=headers)) == first


async def test_an_unknown_query_parameter_is_refused_and_the_known_ones_are_named(client):
    problem = await refused(client.get("/v1/messages?conection_id=con_1"), 400, "unknown_parameter")
    assert problem["parameter"] == "conection_id"
    for named in ("after, campaign, channel, code, connection_id", "provider_message_id, since, status, to, until"):
        assert named in problem["detail"]
    await refused(client.post("/v1/keys?name=x", json={"name": "x", "scopes": ["read"]}), 400, "unknown_parameter")
    await refused(client.get("/v1/events?limit=1&limit=2"), 400, "invalid_parameter")


async def test_who_may_not_call_learns_nothing_of_parameters(client):
    await refused(client.get("/v1/messages?x=1", headers={"authorization": ""}), 401, "unauthorized")


async def test_a_whole_number_may_be_written_with_a_fraction_of_zero(client, hook):
    body = f'{{"url": "{hook}", "event_types": ["*"], "concurrency": 7.0}}'
    assert (await ok(client.post("/v1/webhooks", content=body), 201))["concurrency"] == 7
    await refused(client.post("/v1/webhooks", content=body.replace("7.0", "7.5")), 400, "invalid_body")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/v1/messages", 200),
        ("GET", "/v1/messages/msg_1", 404),
        ("GET", "/nothing", 404),
        ("PUT", "/v1/messages", 405),
        ("OPTIONS", "/v1/messages", 204),
        ("POST", "/v1/messages", 400),
        ("POST", "/v1/track", 400),
        ("OPTIONS", "/v1/track", 204),
        ("POST", "/tracking/amazon-pinpoint-events", 401),
        ("POST", "/receipts/con_1", 401),
        ("GET", "/receipts/con_1", 405),
    ],
)
async def test_every_answer_carries_the_security_headers_once(method, path, status, client):
    answer = await client.request(method, path)
    assert answer.status_code == status
    assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
    assert answer.headers.get_list("x-frame-options") == ["DENY"]
    assert answer.headers.get_list("content-security-policy") == ["default-src 'none'; frame-ancestors 'none'"]


async def test_a_path_says_all_of_its_methods(client):
    assert (await client.options("/v1/webhooks/whk_1")).headers["allow"] == "DELETE, GET, OPTIONS, PATCH, PUT"
    assert (await client.options("/v1/connections/order")).headers["allow"] == "OPTIONS, POST"
