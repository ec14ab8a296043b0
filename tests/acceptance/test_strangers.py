"""Protection against untrusted clients: forbidden addresses of webhooks, keys without the scope, malicious bodies."""

import gzip
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.programs import Client, Server, all_received, eventually, serving
from waypost.sink import thread_runner

SPELLINGS = [
    "http://127.0.0.1/",
    "http://127.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.1/",
    "http://0177.0.0.1/",
    "http://127.0.0.1./",
    "http://localhost/",
    "http://LOCALHOST./",
    "http://api.localhost/",
    "http://0/",
    "http://0.0.0.0/",
    "http://[::1]/",
    "http://[::]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b::127.0.0.1]/",
    "http://[2002:7f00:1::]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fc00::1]/",
    "http://[fd00:ec2::254]/",
    "http://[ff02::1]/",
    "http://169.254.169.254/latest/meta-data/",
    "http://0xa9fea9fe/",
    "http://2852039166/",
    "http://[::ffff:169.254.169.254]/",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    "http://127\u30020\u30020\u30021/",
    "http://\uff11\uff12\uff17.0.0.1/",
    "http://user:password@127.0.0.1/",
    "http://example.com@127.0.0.1/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:25/",
    "//example.com/",
    "http://",
]


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that may reach only public addresses."""
    with serving(
        tmp_path_factory.mktemp("closed"), {"WAYPOST_ALLOW_PRIVATE": "", "WAYPOST_RETRY_BASE": "0.01"}
    ) as running:
        yield running


@pytest.mark.parametrize("url", SPELLINGS)
def test_no_spelling_of_a_private_address_is_taken(closed: Server, url: str) -> None:
    answer = closed.api().send("POST", "/v1/webhooks", {"url": url, "event_types": ["*"]})
    assert answer is not None
    assert answer[0] == 400, answer
    assert answer[2]["content-type"] == "application/problem+json"
    assert answer[1]["code"].startswith("url_")
    assert answer[1]["detail"]


def test_a_name_that_leads_home_is_refused_when_connecting(closed: Server, sink: thread_runner.Running) -> None:
    """A name is resolved once, for the connection itself, and the resolved address is checked."""
    name = socket.gethostname()
    leads_to = {str(found[4][0]) for found in socket.getaddrinfo(name, None)}
    assert all(address.startswith(("127.", "10.", "172.", "192.168.", "::1", "fe80", "fd")) for address in leads_to), (
        leads_to
    )
    api = closed.api()
    made = api.post("/v1/webhooks", {"url": f"http://{name}:{sink.port}/hook/home", "event_types": ["*"]}, status=201)
    tried = api.post(f"/v1/webhooks/{made['id']}/test", {})
    assert tried["response"] is None
    assert tried["error"].startswith("address_forbidden")
    closed.tracker().post("/v1/track", {"userId": "u", "event": "Order Shipped"})
    last = eventually(lambda: api.get(f"/v1/webhooks/{made['id']}")["last_error"], what="the refusal on the endpoint")
    assert last.startswith("address_forbidden")
    assert all_received(sink.url, "home") == []


def test_a_redirect_is_not_followed(server: Server, sink: thread_runner.Running) -> None:
    api = server.api()
    url = f"{sink.url}/hook/first?redirect={sink.url}/hook/second"
    made = api.post("/v1/webhooks", {"url": url, "event_types": ["*"]}, status=201)
    tried = api.post(f"/v1/webhooks/{made['id']}/test", {})
    assert tried["response"]["status"] == 302
    server.tracker().post("/v1/track", {"userId": "u", "event": "Order Shipped"})
    assert server.settled()["dead"] == 1
    assert api.get(f"/v1/webhooks/{made['id']}")["status"] == "disabled"
    assert all_received(sink.url, "second") == []


@pytest.mark.parametrize("path", ["/v1/track", "/v1/batch"])
def test_bodies_that_mean_harm(server: Server, path: str) -> None:
    tracker = server.tracker()
    bomb = gzip.compress(b"[" * 20_000_000)
    packed = {"content-encoding": "gzip"}
    harms: list[tuple[bytes, dict[str, str], set[int]]] = [
        (b"", {}, {400}),
        (b"{", {}, {400}),
        (b"null", {}, {400}),
        (b"[]", {}, {400}),
        (b"[" * 400_000, {}, {400, 413}),
        (b'{"batch":' * 50_000, {}, {400, 413}),
        (b'{"a":"\xff\xfe"}', {}, {400}),
        (b"x" * 600_000, {}, {413}),
        (bomb, packed, {413}),
        (bomb[:2000], packed, {400, 413}),
        (b"not gzip", packed, {400}),
        (b"{}", {"content-encoding": "br"}, {400}),
    ]
    for body, headers, allowed in harms:
        answer = tracker.send("POST", path, body, headers)
        assert answer is not None, body[:40]
        assert answer[0] in allowed, (body[:40], answer)
        assert answer[1]["code"], body[:40]
    assert server.balanced()["accepted"] == 0
    tracker.post("/v1/track", {"userId": "u", "event": "Still here"})


def test_nobody_gets_in_without_the_right_key(server: Server) -> None:
    event = {"userId": "u", "event": "Order Shipped"}
    for authorization in ("", "Bearer wrong", "Basic d3Jvbmc6", "Basic %%%", "Bearer", "Digest x"):
        answer = Client(server.port, authorization).send("POST", "/v1/track", event)
        assert answer is not None
        assert (answer[0], answer[1]["code"]) == (401, "unauthorized"), authorization
    for method, path in (("GET", "/v1/webhooks"), ("POST", "/v1/webhooks"), ("GET", "/v1/keys"), ("GET", "/v1/ledger")):
        answer = server.tracker().send(method, path, {} if method == "POST" else None)
        assert answer is not None
        assert answer[0] == 403, (path, answer)


def test_a_deleted_key_is_refused(server: Server) -> None:
    api = server.api()
    made = api.post("/v1/keys", {"name": "for a while", "scopes": ["ingest"]}, status=201)
    client = Client(server.port, f"Bearer {made['key']}")
    client.post("/v1/track", {"userId": "u", "event": "Order Shipped"})
    assert api.send("DELETE", f"/v1/keys/{made['id']}") is not None
    answer = client.send("POST", "/v1/track", {"userId": "u", "event": "Order Shipped"})
    assert answer is not None
    assert answer[0] == 401


def test_the_log_tells_no_secret(server: Server, sink: thread_runner.Running, tmp_path: Path) -> None:
    api = server.api()
    made = api.post(
        "/v1/webhooks",
        {"url": f"{sink.url}/hook/x?status=500", "event_types": ["*"], "headers": {"x-secret": "sesame-sesame"}},
        status=201,
    )
    server.tracker().post("/v1/track", {"userId": "u", "event": "Order Shipped", "properties": {"card": "4111-1111"}})
    server.settled()
    server.stop()
    said = server.log.read_text()
    assert "endpoint_disabled" in said
    for secret in (made["secret"], "sesame-sesame", server.keys["api_key"], server.keys["write_key"], "4111-1111"):
        assert secret not in said
