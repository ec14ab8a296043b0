"""The raw route for one message gives the same responses as the framework's route that describes it."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.api.calling import Keys, bearer, ok, refused
from tests.api.control.test_messages import LATER, PROBE, REFUSED
from waypost.api.app import Guarded, build_control
from waypost.api.control.messages import MessageRoute
from waypost.engine.accounts.workspaces import Keyring
from waypost.engine.process import Engine
from waypost.errors import Unavailable
from waypost.sink.thread_runner import Running

Api = httpx.AsyncClient
GOOD = {"channel": "sms", "to": PROBE, "text": "Hi", "send_at": LATER}


@pytest.fixture
async def framed(engine: Engine, keys: Keys) -> AsyncIterator[Api]:
    """Return the control API without its raw routes."""
    control = build_control()
    control.state.engine, control.state.keyring = engine, Keyring(engine.database)
    transport = httpx.ASGITransport(app=Guarded(control, {}))
    async with httpx.AsyncClient(transport=transport, base_url="http://waypost", headers=bearer(keys.manage)) as found:
        yield found


@pytest.fixture(autouse=True)
async def gateway(client: Api, sink: Running) -> None:
    config = {"url": f"{sink.url}/gateway/send", "auth": "bearer", "token": "made-up"}
    await ok(client.post("/v1/connections", json={"name": "gateway", "connector": "http", "config": config}), 201)


def seen(answer: httpx.Response) -> tuple[Any, ...]:
    """Return the parts of a response that must be equal."""
    return answer.status_code, sorted(answer.headers.items()), re.sub(r"msg_[0-9a-f]{16}", "msg", answer.text)


async def alike(client: Api, framed: Api, path: str = "/v1/messages", **request: Any) -> httpx.Response:
    answer = await client.post(path, **request)
    assert seen(answer) == seen(await framed.post(path, **request))
    return answer


async def test_what_is_accepted_and_what_is_wrong_is_answered_alike(client: Api, framed: Api):
    assert (await alike(client, framed, json=GOOD)).status_code == 202
    for body, *_ in REFUSED:
        await alike(client, framed, json=body)
    for content in (b"", b"{", b"[]", b'"\xff"', b'{"to": 1e999}', b"[" * 20_000, json.dumps(GOOD).encode()):
        await alike(client, framed, content=content)
    assert (await alike(client, framed, content=b" " * 1_000_001)).status_code == 413
    assert (await alike(client, framed, json=GOOD, path="/v1/messages?to=x")).status_code == 400


async def test_who_may_not_is_told_alike(client: Api, framed: Api, keys: Keys):
    for key, status in ((keys.read, 403), (keys.ingest, 403), ("wpk_made_up", 401), (keys.manage, 202)):
        assert (await alike(client, framed, json=GOOD, headers=bearer(key))).status_code == status
    assert (await alike(client, framed, content=b"{", headers={"authorization": ""})).status_code == 401
    assert (await alike(client, framed, json=GOOD, headers={"authorization": "Basic !"})).status_code == 401


async def test_a_key_of_the_one_is_known_to_the_other(client: Api, framed: Api):
    headers = {"idempotency-key": "one"}
    first = await client.post("/v1/messages", json=GOOD, headers=headers)
    again = await framed.post("/v1/messages", json=GOOD, headers=headers)
    assert (first.status_code, first.text) == (again.status_code, again.text)
    answer = await alike(client, framed, json=GOOD | {"text": "Ho"}, headers=headers)
    assert answer.json()["code"] == "idempotency_key_reused"
    for key in ("", "x" * 256, '"one"'):
        await alike(client, framed, json=GOOD, headers={"idempotency-key": key})
    headers = {"idempotency-key": "many"}
    answers = await asyncio.gather(*(client.post("/v1/messages", json=GOOD, headers=headers) for _ in range(5)))
    assert {(answer.status_code, answer.text) for answer in answers} == {(202, answers[0].text)}


async def test_what_fails_is_answered_alike(client: Api, framed: Api, engine: Engine, monkeypatch: pytest.MonkeyPatch):
    for error in (Unavailable("away"), RuntimeError("secret")):

        async def fail(*_: Any, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(engine.messages, "submit_one", fail)
        answer = await alike(client, framed, json=GOOD)
        assert answer.status_code == (503 if isinstance(error, Unavailable) else 500)
        assert "secret" not in answer.text


async def test_a_body_in_pieces_is_bounded_while_it_comes(engine: Engine, keys: Keys):
    pieces = [b"x" * 400_000] * 10
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": pieces.pop(), "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    authorization = bearer(keys.manage)["authorization"].encode()
    scope = {"type": "http", "headers": [(b"authorization", authorization)], "query_string": b""}
    await MessageRoute(engine, Keyring(engine.database))(scope, receive, send)
    assert (sent[0]["status"], len(pieces)) == (413, 7)


async def test_other_methods_are_left_to_the_framework(client: Api):
    await ok(client.get("/v1/messages"))
    await refused(client.put("/v1/messages"), 405, "method_not_allowed")
