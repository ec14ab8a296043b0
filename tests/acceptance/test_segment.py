"""Real Segment clients send events as their users do."""

import gzip
import json
from pathlib import Path

import pytest
import segment.analytics as segment

from tests.acceptance.programs import Server, all_received, eventually
from waypost.sink import thread_runner


def subscribe(server: Server, sink: thread_runner.Running) -> None:
    server.api().post("/v1/webhooks", {"url": f"{sink.url}/hook/all", "event_types": ["*"]}, status=201)


@pytest.mark.parametrize("compressed", [False, True])
def test_the_python_library(server: Server, sink: thread_runner.Running, compressed: bool) -> None:
    subscribe(server, sink)
    failures: list[object] = []
    client = segment.Client(
        server.keys["write_key"],
        host=f"http://127.0.0.1:{server.port}",
        gzip=compressed,
        on_error=lambda error, items: failures.append((error, items)),
    )
    client.identify("ada", {"email": "Ada@Example.com", "plan": "pro"})
    client.track("ada", "Order Shipped", {"total": 9.5})
    client.page("ada", "Docs", "Start")
    client.screen("ada", "Phone", "Home")
    client.group("ada", "acme", {"size": 3})
    client.alias("anonymous-7", "ada")
    client.flush()
    client.join()
    assert failures == []
    received = eventually(lambda: len(r := all_received(sink.url, "all")) == 6 and r, what="six webhooks")
    types = sorted(json.loads(request["body"])["type"] for request in received)
    assert types == [
        "event.order_shipped",
        "group.joined",
        "page.viewed",
        "profile.aliased",
        "profile.identified",
        "screen.viewed",
    ]
    api = server.api()
    profile = api.get("/v1/profiles?user_id=ada")["data"][0]
    assert profile["traits"]["plan"] == "pro"
    assert profile["email"] == "ada@example.com"
    assert len(api.get(f"/v1/profiles/{profile['id']}/events")["data"]) == 6


def test_a_repeat_takes_effect_once(server: Server, sink: thread_runner.Running) -> None:
    subscribe(server, sink)
    tracker = server.tracker()
    event = {"userId": "ada", "event": "Order Shipped", "messageId": "once"}
    first = tracker.send("POST", "/v1/track", event)
    again = tracker.send("POST", "/v1/track", event)
    batch = tracker.send("POST", "/v1/batch", {"batch": [{"type": "track", **event}] * 3})
    assert first is not None
    assert again is not None
    assert batch is not None
    assert first[:2] == again[:2] == (200, {"success": True})
    assert batch[0] == 200
    assert server.settled()["accepted"] == 1
    assert len(all_received(sink.url, "all")) == 1


def test_a_bad_event_does_not_spoil_its_batch(server: Server, sink: thread_runner.Running) -> None:
    subscribe(server, sink)
    batch = {
        "batch": [
            {"type": "track", "userId": "ada", "event": "Order Shipped", "messageId": "good-1"},
            {"type": "track", "userId": "ada", "messageId": "no-name"},
            {"type": "dance", "userId": "ada", "messageId": "no-kind"},
            "not an object",
            {"type": "track", "event": "Nobody", "messageId": "nobody"},
            {"type": "track", "userId": "ada", "event": "Big", "messageId": "big", "properties": {"x": "x" * 33_000}},
            {"type": "track", "anonymousId": "b", "event": "Order Shipped", "messageId": "good-2"},
        ]
    }
    answer = server.tracker().send(
        "POST", "/v1/batch", gzip.compress(json.dumps(batch).encode()), {"content-encoding": "gzip"}
    )
    assert answer is not None
    assert answer[0] == 200
    assert answer[1]["accepted"] == 2
    assert [(bad["index"], bad["code"]) for bad in answer[1]["rejected"]] == [
        (1, "missing_event"),
        (2, "invalid_type"),
        (3, "invalid_event"),
        (4, "missing_identity"),
        (5, "too_large"),
    ]
    assert server.settled()["delivered"] == 2


def test_the_secret_key_and_the_database_keep_no_secret_in_the_clear(server: Server, tmp_path: Path) -> None:
    made = server.api().post(
        "/v1/webhooks",
        {"url": "https://example.com/", "event_types": ["*"], "headers": {"authorization": "Bearer sesame-sesame"}},
        status=201,
    )
    server.stop()
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.name != "secret.key")
    for secret in (
        made["secret"].removeprefix("whsec_"),
        "sesame-sesame",
        server.keys["api_key"],
        server.keys["write_key"],
    ):
        assert secret.encode() not in kept
    assert (tmp_path / "secret.key").stat().st_mode & 0o077 == 0
