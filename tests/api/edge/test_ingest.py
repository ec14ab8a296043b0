"""The tracking routes as used by clients other than the tested libraries."""

import json

import pytest

from tests.api.calling import bearer, ok, refused


async def test_the_library_for_browsers_is_understood(client, keys):
    """The browser library uses the short paths, plain text (so that there is no preflight) and the key in the body."""
    event = {"event": "Order Shipped", "anonymousId": "visitor", "writeKey": keys.ingest, "messageId": "ajs-next-1"}
    batch = {"writeKey": keys.ingest, "batch": [{"type": "track", **event, "messageId": "ajs-next-2"}]}
    for path, body in (("/v1/t", event), ("/v1/b", batch)):
        plain = {"content-type": "text/plain", "authorization": ""}
        answer = await client.post(path, content=json.dumps(body), headers=plain)
        assert (answer.status_code, answer.json()) == (200, {"success": True})
        assert answer.headers["access-control-allow-origin"] == "*"
    found = (await ok(client.get("/v1/events")))["data"]
    assert [event["message_id"] for event in found] == ["ajs-next-2", "ajs-next-1"]


async def test_a_browser_may_ask_first(client):
    answer = await client.options("/v1/track", headers={"origin": "https://shop.example"})
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "authorization" in answer.headers["access-control-allow-headers"]


async def test_other_methods_are_told_what_is_allowed(client, keys):
    answer = await client.get("/v1/track", headers=bearer(keys.ingest))
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "POST, OPTIONS"


async def test_a_write_key_may_do_nothing_else(client, keys):
    answer = await client.get("/v1/ledger", headers=bearer(keys.ingest))
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/track"])
@pytest.mark.parametrize("headers", [{"authorization": ""}, {"authorization": "Bearer wpw_made_up"}])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"batch": 1}', b'{"batch": []}', b'{"writeKey": "wpw_x"}'])
async def test_who_is_nobody_is_told_that_first(path, headers, body, client):
    await refused(client.post(path, content=body, headers=headers), 401, "unauthorized")


async def test_who_may_not_send_events_is_told_that_before_the_body_is_read(client, keys):
    await refused(client.post("/v1/batch", content=b"{", headers=bearer(keys.read)), 403, "forbidden")
