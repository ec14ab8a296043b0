"""Subscriptions, and that every body is valid JSON that every Standard Webhooks library verifies."""

import fnmatch
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from waypost.clock import SECOND, iso, now_us
from waypost.domain.events.segment import read_entry, read_message
from waypost.domain.webhooks.custom_headers import MAX_HEADER_BYTES, MAX_HEADERS, RESERVED_HEADERS, check_headers
from waypost.domain.webhooks.endpoint import (
    Endpoint,
    Secret,
    Subscriptions,
    event_object,
    request_headers,
    webhook_body,
)
from waypost.domain.webhooks.event_patterns import check_patterns, pattern_match
from waypost.errors import Error, Invalid

NEW = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
OLD = "whsec_ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1+f4CBgoM="


def endpoint(id_: int = 1, types: tuple[str, ...] = ("*",), **changes: Any) -> Endpoint:
    fields: dict[str, Any] = {
        "id": id_,
        "workspace_id": 7,
        "url": "https://example.com/",
        "event_types": types,
        "filter": None,
        "headers": (),
        "rate_limit": None,
        "concurrency": 10,
        "timeout_ms": 5000,
        "format": "standard",
        "secrets": (Secret(NEW),),
        "version": 1,
    }
    return Endpoint(**{**fields, **changes})


# Subscriptions.


@pytest.mark.parametrize(
    ("patterns", "type_", "matches"),
    [
        (("event.order_shipped",), "event.order_shipped", True),
        (("event.order_shipped",), "event.order_shipped_late", False),
        (("event.order_shipped",), "event_order_shipped", False),
        (("event.*",), "event.order_shipped", True),
        (("event.*",), "event.", True),
        (("event.*",), "event", False),
        (("event.*",), "events.order", False),
        (("event.*",), "my.event.order", False),
        (("*",), "page.viewed", True),
        (("*.viewed",), "page.viewed", True),
        (("*.viewed",), "page.viewed.twice", False),
        (("a.*.d",), "a.b.c.d", True),
        (("a*a",), "a", False),
        (("a*a",), "aa", True),
        (("a**a",), "aba", True),
        (("*b*c",), "abxbc", True),
        (("*ab*ab",), "ab", False),
        (("page.viewed", "event.*"), "page.viewed", True),
        (("page.viewed", "event.*"), "screen.viewed", False),
        ((), "page.viewed", False),
    ],
)
def test_patterns_match_whole_types(patterns, type_, matches):
    assert pattern_match(patterns)(type_) is matches


@given(st.lists(st.text("ab.*", max_size=8), max_size=3), st.text("ab.", max_size=10))
def test_globs_mean_what_they_mean_in_a_shell(patterns, type_):
    assert pattern_match(tuple(patterns))(type_) == any(fnmatch.fnmatchcase(type_, pattern) for pattern in patterns)


@pytest.mark.timeout(5)
def test_no_pattern_takes_long():
    assert not pattern_match(("*a*a*a*b",) * 100)("event." + "a" * 20_000)


def test_patterns_are_kept_once_in_their_order():
    assert check_patterns(["event.*", "*", "event.*", "a_1.b-c".replace("-", "_")]) == ("event.*", "*", "a_1.b_c")
    assert len(check_patterns([f"event.e{number}" for number in range(100)])) == 100


@pytest.mark.parametrize(
    "patterns",
    [
        [],
        ["event"] * 101,
        [""],
        ["Event.x"],
        ["event."],
        [".event"],
        ["a..b"],
        ["event x"],
        ["event.x\n"],
        ["event.é"],
        ["event.[a-z]"],
        ["*.*.*.*.*"],
        ["x" * 257],
        ["page.viewed", "?"],
    ],
)
def test_patterns_that_match_nothing_are_refused(patterns):
    with pytest.raises(Invalid) as caught:
        check_patterns(patterns)
    assert caught.value.code == "invalid_event_types"
    assert len(caught.value.detail) < 300


@given(st.lists(st.text("ab_1.*", max_size=6) | st.text(max_size=6), max_size=4))
def test_any_list_of_patterns_is_usable_or_refused(patterns):
    try:
        kept = check_patterns(patterns)
    except Invalid:
        return
    matches = pattern_match(kept)
    assert all(matches(pattern.replace("*", "x")) for pattern in patterns)


def test_endpoints_get_the_types_they_asked_for():
    every, pages, orders = endpoint(1), endpoint(2, ("page.*",)), endpoint(3, ("event.order", "page.viewed"))
    subscriptions = Subscriptions([every, pages, orders])

    def unwanted() -> bytes:
        raise AssertionError("nobody has a filter, so nobody looks")

    for _ in range(2):
        assert subscriptions.wanting("page.viewed", unwanted) == [every, pages, orders]
        assert subscriptions.wanting("event.order", unwanted) == [every, orders]
    assert Subscriptions([pages]).wanting("event.order", unwanted) == []
    assert Subscriptions([]).wanting("event.order", unwanted) == []


def test_filters_see_the_payload_once_and_only_when_the_type_fits():
    big, small = {"properties.total": {"$gte": 100}}, {"properties.total": {"$lt": 100}}
    endpoints = [endpoint(1, filter=big), endpoint(2, filter=small), endpoint(3, ("page.*",), filter=big), endpoint(4)]
    subscriptions = Subscriptions(endpoints)
    looks = []

    def body() -> bytes:
        looks.append(1)
        return b'{"type":"event.order","timestamp":"2026-09-21T14:13:20.000000Z","data":{"properties":{"total":100}}}'

    assert [wanted.id for wanted in subscriptions.wanting("event.order", body)] == [1, 4]
    assert len(looks) == 1
    assert Subscriptions(endpoints[2:3]).wanting("event.order", body) == []
    assert len(looks) == 1


def test_a_number_no_double_can_hold_is_infinite_to_a_filter():
    subscriptions = Subscriptions([endpoint(1, filter={"properties.total": {"$gte": 100}})])
    for number in (b"1e400", b"9" * 5000):
        body = b'{"type":"event.order","timestamp":"","data":{"properties":{"total":%b}}}' % number
        assert len(subscriptions.wanting("event.order", body.strip)) == 1
    low = b'{"type":"event.order","timestamp":"","data":{"properties":{"total":-1e400}}}'
    assert subscriptions.wanting("event.order", lambda: low) == []


def test_more_types_than_are_remembered_are_still_told_apart():
    subscriptions = Subscriptions([endpoint(1, ("event.*",))])
    for number in range(10_001):
        assert len(subscriptions.wanting(f"event.e{number}", bytes)) == 1
    assert subscriptions.wanting("page.viewed", bytes) == []


# Headers.


def test_headers_are_kept_as_they_are():
    given_ = {"X-Token": "a b\tc", "authorization": "Bearer x", "Accept": "*/*", "user-agent": "mine"}
    assert check_headers(given_) == given_
    assert len(check_headers({f"x-{number}": "y" for number in range(MAX_HEADERS)})) == MAX_HEADERS


@pytest.mark.parametrize(
    "headers",
    [
        {"": "x"},
        {"x y": "x"},
        {"x:": "x"},
        {"x\n": "x"},
        {"é": "x"},
        {"x": "a\nb"},
        {"x": "a\r\nhost: evil"},
        {"x": "a\n"},
        {"x": "\0"},
        {"x": "é"},
        {"x": "\x7f"},
        {f"x-{number}": "y" for number in range(MAX_HEADERS + 1)},
        # The HTTP client would omit it.
        {"x": ""},
        {"x": " \t"},
        {"x": "a" * MAX_HEADER_BYTES},
        *({name.title(): "x"} for name in RESERVED_HEADERS),
    ],
)
def test_headers_that_http_or_waypost_does_not_allow_are_refused(headers):
    with pytest.raises(Invalid) as caught:
        check_headers(headers)
    assert caught.value.code == "invalid_headers"


# The body.


def test_a_webhook_reads_like_this():
    data = event_object(0x1C04, "m1", 0x2A, b'{"metric":"Order Shipped"}')
    assert webhook_body("event.order_shipped", 1_790_000_000 * SECOND + 5, data) == (
        b'{"type":"event.order_shipped","timestamp":"2026-09-21T14:13:20.000005Z",'
        b'"data":{"id":"evt_0000000000001c04","message_id":"m1","profile_id":"pro_000000000000002a",'
        b'"metric":"Order Shipped"}}'
    )
    assert json.loads(event_object(1, "m1", None, b"{}")) == {
        "id": "evt_0000000000000001",
        "message_id": "m1",
        "profile_id": None,
    }


objects = st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.integers() | st.none(), max_size=3)


@given(st.text(min_size=1, max_size=20), st.text(min_size=1), st.none() | objects, st.integers(0, 1 << 62))
@example('"\\\u2028', "Order", {'"}': "\\"}, 1)
def test_a_webhook_is_valid_json_whatever_is_in_the_event(message_id, metric, properties, profile_id):
    said = {"userId": "u1", "messageId": message_id, "event": metric, "properties": properties}
    try:
        entry = read_entry(read_message(json.dumps(said).encode()), "track", 7, 1_790_000_000 * SECOND, "fallback")
    except Error:
        return
    body = json.loads(
        webhook_body(entry.type, entry.occurred_at, event_object(5, entry.message_id, profile_id, entry.data))
    )
    assert list(body) == ["type", "timestamp", "data"]
    assert (body["type"], body["timestamp"]) == (entry.type, iso(entry.occurred_at))
    assert body["data"]["message_id"] == message_id
    assert body["data"]["metric"] == metric
    assert body["data"].get("properties") == properties


def sent(one: Endpoint, body: bytes, now: int) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in request_headers(one, "evt_1", body, now))


def verifies(secret: str, body: bytes, headers: dict[str, str]) -> bool:
    try:
        Webhook(secret).verify(body, headers)
    except WebhookVerificationError:
        return False
    return True


def test_every_secret_in_force_signs_and_an_expired_one_drops_out():
    now = now_us()
    body = webhook_body("page.viewed", now, b"{}")
    one = sent(endpoint(), body, now)
    assert one["content-type"] == "application/json"
    assert one["webhook-timestamp"] == str(now // SECOND)
    assert verifies(NEW, body, one)
    assert not verifies(OLD, body, one)

    rotating = endpoint(secrets=(Secret(NEW), Secret(OLD, expires_at=now + 1)))
    both = sent(rotating, body, now)
    assert verifies(NEW, body, both)
    assert verifies(OLD, body, both)
    assert not verifies(NEW, body + b" ", both)
    assert not verifies(NEW, body, {**both, "webhook-id": "evt_2"})

    after = sent(rotating, body, now + 1)
    assert after["webhook-signature"].count("v1,") == 1
    assert verifies(NEW, body, after)
    assert not verifies(OLD, body, after)


def test_an_endpoints_own_headers_come_last():
    one = endpoint(headers=("x-token: a: b", "x-empty: "))
    assert request_headers(one, "evt_1", b"{}", 0)[-2:] == ["x-token: a: b", "x-empty: "]
