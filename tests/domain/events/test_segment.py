"""Each message of a Segment client becomes an entry that can be stored and delivered, or an error with a reason."""

import json
import math
import re
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from waypost.domain.events.segment import (
    BATCH_EVENTS,
    DEEPEST,
    EVENT_BYTES,
    ID_CHARACTERS,
    KINDS,
    Entry,
    SegmentMessage,
    metric_type,
    read_batch,
    read_entry,
    read_message,
    reason_of,
)
from waypost.domain.values.contacts import normal_email, normal_phone
from waypost.domain.values.times import parse_time
from waypost.errors import Error, Invalid, TooLarge

NOW = 1_790_000_000_000_000  # 2026-09-21T14:13:20Z
SECOND = 1_000_000
EARLIEST, LATEST = -62_135_596_800 * SECOND, 253_402_300_800 * SECOND - 1  # the years 1 to 9999

# The required fields of each kind.
LEAST: dict[str, dict[str, Any]] = {
    "track": {"userId": "u1", "event": "Order Shipped"},
    "identify": {"userId": "u1"},
    "alias": {"userId": "u1", "previousId": "a1"},
    "page": {"userId": "u1"},
    "screen": {"userId": "u1"},
    "group": {"userId": "u1", "groupId": "g1"},
}


def encode(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def enter(fields: dict[str, Any] | bytes, kind: str | None = None, sent_at: str | float | None = None) -> Entry:
    raw = fields if isinstance(fields, bytes) else encode(fields)
    return read_entry(read_message(raw), kind, 7, NOW, "fallback", sent_at)


def track(**fields: Any) -> Entry:
    return enter({**LEAST["track"], **fields}, "track")


def contents(entry: Entry) -> dict[str, Any]:
    return json.loads(entry.data)  # type: ignore[no-any-return]


# Messages of clients.


@pytest.mark.parametrize(
    ("kind", "type_"),
    [
        ("track", "event.order_shipped"),
        ("identify", "profile.identified"),
        ("alias", "profile.aliased"),
        ("page", "page.viewed"),
        ("screen", "screen.viewed"),
        ("group", "group.joined"),
    ],
)
def test_each_kind_is_taken_from_a_route_and_from_a_batch(kind, type_):
    alone = enter(LEAST[kind], kind)
    batch = read_batch(encode({"batch": [{"type": kind, **LEAST[kind]}]}))
    nested = read_entry(read_message(batch.batch[0]), None, 7, NOW, "fallback", batch.sent_at)
    assert alone == nested
    assert (alone.kind, alone.type, alone.workspace_id, alone.message_id) == (kind, type_, 7, "fallback")
    assert alone.occurred_at == alone.received_at == NOW


def test_what_the_python_library_sends_is_taken():
    batch = read_batch(
        b'{"batch": [{"integrations": {}, "anonymousId": null, "properties": {"total": 9.5}, "timestamp": '
        b'"2026-09-21T14:13:18.000+00:00", "context": {"library": {"name": "analytics-python", "version": "2.4.0"}}, '
        b'"userId": "42", "type": "track", "event": "Order Shipped", "messageId": "0ef1"}], '
        b'"sentAt": "2026-09-21T14:13:19.000000+00:00", "writeKey": "wpw_x"}'
    )
    entry = read_entry(read_message(batch.batch[0]), None, 7, NOW, "fallback", batch.sent_at)
    assert batch.write_key == "wpw_x"
    assert entry.identifiers == (("user_id", "42"),)
    assert entry.occurred_at == NOW - SECOND
    assert contents(entry) == {
        "metric": "Order Shipped",
        "user_id": "42",
        "properties": {"total": 9.5},
        "context": {"library": {"name": "analytics-python", "version": "2.4.0"}},
        "integrations": {},
    }


def test_what_the_browser_library_sends_is_taken():
    entry = enter(
        {
            "timestamp": "2026-09-21T14:13:18.500Z",
            "integrations": {"Segment.io": True},
            "anonymousId": "b1f7a7ba-5c3f-4e5c-9a3c-111111111111",
            "type": "page",
            "category": None,
            "name": "Home",
            "properties": {"path": "/", "title": "Käse 🧀"},
            "context": {"page": {"path": "/"}, "userAgent": "Mozilla/5.0", "locale": "de-DE"},
            "userId": None,
            "messageId": "ajs-next-1790000000000-b1f7a7ba",
            "writeKey": "wpw_x",
            "sentAt": "2026-09-21T14:13:19.500Z",
            "_metadata": {"bundled": ["Segment.io"]},
        },
        "page",
    )
    assert entry.identifiers == (("anonymous_id", "b1f7a7ba-5c3f-4e5c-9a3c-111111111111"),)
    assert (entry.type, entry.metric, entry.message_id) == ("page.viewed", None, "ajs-next-1790000000000-b1f7a7ba")
    assert entry.occurred_at == NOW - SECOND
    assert contents(entry)["name"] == "Home"
    assert "category" not in contents(entry)


@pytest.mark.parametrize("field", ["userId", "anonymousId", "previousId", "groupId"])
def test_ids_may_be_whole_numbers_and_are_kept_as_text(field):
    entry = enter({"userId": "u1", "previousId": "p1", "groupId": "g1", field: 42}, "alias")
    assert '"42"' in entry.data.decode()


def test_ids_lose_the_space_around_them_and_an_empty_one_is_none():
    assert track(userId="  ", anonymousId=" a1\n").identifiers == (("anonymous_id", "a1"),)


def test_nulls_and_the_empty_lists_of_php_are_as_good_as_absent():
    plain = track()
    nothings: list[object] = [None, []]
    for nothing in nothings:
        assert track(properties=nothing, traits=nothing, context=nothing, integrations=nothing) == plain
    assert enter(b'{"userId": "u1", "event": "Order Shipped", "properties": [ ]}', "track") == plain
    empty = dict.fromkeys(("messageId", "anonymousId", "name", "category", "timestamp", "originalTimestamp", "sentAt"))
    assert track(**empty) == plain
    assert enter({"userId": "u1", "traits": None}, "identify").traits == {}


def test_a_message_id_may_be_as_long_as_any_id():
    long = "m" * ID_CHARACTERS
    assert track(messageId=long).message_id == long
    with pytest.raises(Invalid) as caught:
        track(messageId=long + "m")
    assert caught.value.code == "invalid_message_id"
    assert str(ID_CHARACTERS) in caught.value.detail


def test_the_route_decides_over_the_type_in_the_body():
    assert enter({**LEAST["track"], "type": "page"}, "track").kind == "track"


# Identifiers.


def test_identifiers_are_listed_strongest_first():
    traits = {"email": " Ann@Example.COM ", "phone": "+33 6 12 34 56 78", "name": "Ann"}
    entry = enter({"userId": "u1", "anonymousId": "a1", "traits": traits}, "identify")
    assert entry.identifiers == (
        ("user_id", "u1"),
        ("anonymous_id", "a1"),
        ("email", "ann@example.com"),
        ("phone", "+33612345678"),
    )
    assert entry.traits == traits


def test_other_kinds_tell_of_the_person_in_their_context():
    entry = track(context={"traits": {"email": "ann@example.com"}})
    assert entry.traits == {"email": "ann@example.com"}
    assert entry.identifiers[1:] == (("email", "ann@example.com"),)
    assert track(context={"traits": "none"}).traits is None
    assert track(context={"page": {"traits": {"email": "ann@example.com"}}}).traits is None
    assert enter({**LEAST["group"], "traits": {"email": "all@example.com"}}, "group").traits is None


def test_an_alias_names_its_previous_id_as_both_kinds_once():
    assert enter({"userId": "u1", "previousId": "a1", "anonymousId": "a1"}, "alias").identifiers == (
        ("user_id", "u1"),
        ("user_id", "a1"),
        ("anonymous_id", "a1"),
    )
    assert enter({"userId": "u1", "previousId": "u1"}, "alias").identifiers == (
        ("user_id", "u1"),
        ("anonymous_id", "u1"),
    )
    assert track(previousId="p1").identifiers == (("user_id", "u1"),)


@pytest.mark.parametrize(
    ("value", "normal"),
    [
        (" Ann@Example.com", "ann@example.com"),
        ('"a@b"@example.com', '"a@b"@example.com'),
        ("ann@localhost", None),
        ("@example.com", None),
        ("ann example@example.com", None),
        ("ann\0@example.com", None),
        ("a" * 320 + "@example.com", None),
        (42, None),
        (None, None),
    ],
)
def test_addresses_are_compared_in_one_spelling(value, normal):
    assert normal_email(value) == normal


@pytest.mark.parametrize(
    ("value", "normal"),
    [
        ("+1 (650) 253-0000", "+16502530000"),
        ("+44 20\u00a07946\u20110958", "+442079460958"),
        # Values that would have to be guessed.
        ("tel:+16502530000", None),
        ("+1202555CALL", None),
        ("+1 650 253 0000 ext. 5", None),
        ("+1 650 253 0000;ext=5", None),
        ("+1 650 253 0000 x5", None),
        ("call +16502530000", None),
        ("+1 650 253 0000, +1 650 253 0001", None),
        ("650 253 0000", None),
        ("+1", None),
        ("+1 650", None),
        ("+" + "1" * 64, None),
        (16502530000, None),
    ],
)
def test_numbers_are_compared_as_e164(value, normal):
    assert normal_phone(value) == normal


# Times.


@pytest.mark.parametrize(
    ("value", "microseconds"),
    [
        ("2026-09-21T14:13:20Z", NOW),
        ("2026-09-21T16:13:20+02:00", NOW),
        ("2026-09-21 14:13:20", NOW),
        ("20260921T141320Z", NOW),
        ("2026-09-21T14:13:20.1Z", NOW + 100_000),
        ("2026-09-21T14:13:20.123456789Z", NOW + 123_456),
        ("2026-09-21", NOW - (14 * 3600 + 13 * 60 + 20) * SECOND),
        (1_790_000_000, NOW),
        (1_790_000_000_000, NOW),
        (1_790_000_000.25, NOW + 250_000),
        ("1790000000000", NOW),
        # As a date and a time, these digits would mean Christmas 1711.
        ("1711122501530", 1_711_122_501_530_000),
        (-1, -SECOND),
        ("0001-01-01T00:00:00Z", EARLIEST),
        ("9999-12-31T23:59:59.999999Z", LATEST),
    ],
)
def test_times_come_in_many_spellings(value, microseconds):
    assert parse_time(value) == microseconds


@pytest.mark.parametrize(
    "value",
    [
        "yesterday",
        "",
        "2026-13-01",
        "2026-09-21T25:00:00Z",
        "²²²²²²²²²",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        1e300,
        -1e300,
        10**400,
        "9" * 5000,
    ],
)
def test_what_is_no_time_is_refused(value):
    with pytest.raises(Invalid) as caught:
        parse_time(value)
    assert caught.value.code == "invalid_time"
    assert len(caught.value.detail) < 120


def test_the_clients_clock_is_corrected_by_what_it_showed_when_sending():
    # The clock of the client is an hour slow; it sent the event two seconds after it happened.
    assert track(timestamp="2026-09-21T13:13:18Z", sentAt="2026-09-21T13:13:20Z").occurred_at == NOW - 2 * SECOND
    assert track(timestamp="2026-09-21T13:13:18Z").occurred_at == NOW - 3602 * SECOND
    assert track(sentAt="2026-09-21T13:13:20Z").occurred_at == NOW
    assert track(timestamp="2026-09-21", originalTimestamp="2026-09-21T14:13:19Z").occurred_at == NOW - SECOND


def test_a_messages_own_sending_time_goes_before_the_batchs():
    fields = {**LEAST["track"], "timestamp": "2026-09-21T14:13:10Z"}
    assert enter(fields, "track", "2026-09-21T14:13:15Z").occurred_at == NOW - 5 * SECOND
    own = {**fields, "sentAt": "2026-09-21T14:13:11Z"}
    assert enter(own, "track", "2026-09-21T14:13:15Z").occurred_at == NOW - SECOND


def test_two_times_that_can_be_shown_may_lead_to_one_that_cannot():
    with pytest.raises(Invalid, match="outside the years 1 to 9999"):
        track(timestamp="9999-12-31T00:00:00Z", sentAt="0001-01-01T00:00:00Z")


# Refusals.


@pytest.mark.parametrize(
    ("kind", "fields", "code"),
    [
        (None, {"userId": "u1"}, "invalid_type"),
        (None, {"userId": "u1", "type": "x" * 1000}, "invalid_type"),
        ("track", {"event": "x"}, "missing_identity"),
        ("track", {"event": "x", "userId": "", "anonymousId": None}, "missing_identity"),
        ("track", {"userId": "u1"}, "missing_event"),
        ("track", {"userId": "u1", "event": " "}, "missing_event"),
        ("track", {"userId": "u1", "event": "x" * 513}, "invalid_event_name"),
        ("track", {"userId": "u1", "event": "a\0b"}, "invalid_event_name"),
        ("alias", {"userId": "u1"}, "missing_previous_id"),
        ("group", {"userId": "u1"}, "missing_group_id"),
        ("page", {"userId": "x" * 513}, "invalid_identity"),
        ("page", {"userId": "a\0b"}, "invalid_identity"),
        ("page", {"userId": 10**600}, "invalid_event"),
        ("page", {"userId": "u1", "messageId": "a\nb"}, "invalid_message_id"),
        ("page", {"userId": "u1", "properties": "x"}, "invalid_event"),
        ("page", {"userId": "u1", "properties": [1]}, "invalid_event"),
        ("page", {"userId": "u1", "properties": 5}, "invalid_event"),
        ("page", {"userId": "u1", "timestamp": "soon"}, "invalid_time"),
    ],
)
def test_what_is_missing_or_wrong_is_named(kind, fields, code):
    with pytest.raises(Invalid) as caught:
        enter(fields, kind)
    assert caught.value.code == code
    assert len(caught.value.detail) < 300


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b'{"userId": "u1"',
        b'{"userId": true}',
        b'{"userId": 1.5}',
        b'{"userId": ["u1"]}',
        b'{"event": 5}',
        b'{"properties": {"a": NaN}}',
        b'{"properties": {"a": 01}}',
        b'{"properties": {"a": "\\q"}}',
        b'{"properties": {"a": "\x01"}}',
        b'{"properties": {"a": "\xff"}}',
        b'{"event": "\xff"}',
        b'{"properties": {"a": "\xed\xa0\x80"}}',
        b'{"properties": {"a": "\\ud8"}}',
        b'{"userId": "u1"}}',
        b'\xef\xbb\xbf{"userId": "u1"}',
        b'{"properties": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"userId": ' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_not_json_or_of_the_wrong_type_is_refused(raw):
    with pytest.raises(Invalid) as caught:
        read_message(raw)
    assert caught.value.code == "invalid_event"


def test_nesting_is_limited_where_others_would_give_up():
    def nested(levels: int) -> bytes:
        return b'{"userId":"u1","properties":{"a":' + b"[" * (levels - 2) + b"]" * (levels - 2) + b"}}"

    assert enter(nested(DEEPEST), "page").kind == "page"
    with pytest.raises(Invalid, match=f"more than {DEEPEST}"):
        read_message(nested(DEEPEST + 1))
    # Brackets side by side or in text are not nested.
    flat = {"userId": "u1", "properties": {"a": [[]] * 500, "b": '\\"' + "[{" * 500}}
    assert contents(enter(flat, "page"))["properties"] == flat["properties"]


def test_sizes_are_limited():
    room = EVENT_BYTES - len(encode({"userId": "u1", "name": ""}))
    assert read_message(encode({"userId": "u1", "name": "x" * room})).user_id == "u1"
    too_much = encode({"userId": "u1", "name": "x" * (room + 1)})
    with pytest.raises(TooLarge, match=str(EVENT_BYTES + 1)):
        read_message(too_much)
    batch = read_batch(b'{"batch": [' + too_much + b', {"userId": "u1"}]}')
    with pytest.raises(TooLarge):
        read_message(batch.batch[0])
    assert read_message(batch.batch[1]).user_id == "u1"
    assert len(read_batch(encode({"batch": [{}] * BATCH_EVENTS})).batch) == BATCH_EVENTS
    with pytest.raises(TooLarge, match="Split it"):
        read_batch(encode({"batch": [{}] * (BATCH_EVENTS + 1)}))


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"batch": {}}', b'{"batch": null}', b'{"batch": [], "sentAt": true}', b'{"batch": [}'],
)
def test_what_is_no_batch_is_refused(body):
    with pytest.raises(Invalid) as caught:
        read_batch(body)
    assert caught.value.code == "invalid_batch"


def test_text_of_a_batch_that_is_not_utf8_is_refused():
    with pytest.raises(Invalid):
        read_batch(b'{"batch": [], "sentAt": "\xff"}')
    bad, good = read_batch(b'{"batch": [{"name": "\xff"}, {"name": "\xc3\xa9"}]}').batch
    with pytest.raises(Invalid):
        read_message(bad)
    assert read_message(good).name == "é"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (rb"cut \ud83d", "cut \ufffd"),
        (rb"\ude00 cut", "\ufffd cut"),
        (rb"\ude00\ud83d", "\ufffd\ufffd"),
        (rb"\ud83d\ud83d\ude00", "\ufffd😀"),
        (rb"\ud83d\n", "\ufffd\n"),
        (rb"\\ud83d \ud83d", "\\ud83d \ufffd"),
    ],
)
def test_half_a_surrogate_pair_is_mended_and_spoils_nothing(sent, kept):
    raw = b'{"userId": "u1", "properties": {"bio": "' + sent + b'", "smile": "\\ud83d\\ude00"}}'
    assert contents(enter(raw, "page"))["properties"] == {"bio": kept, "smile": "😀"}
    batch = read_batch(b'{"batch": [' + raw + b', {"userId": "u2"}]}')
    assert [read_message(item).user_id for item in batch.batch] == ["u1", "u2"]
    mended = read_entry(read_message(batch.batch[0]), "page", 7, NOW, "fallback")
    assert contents(mended)["properties"]["bio"] == kept


@pytest.mark.parametrize(
    "number", [b"1e999", b"-1E+400", b"9" * 5000, b"18446744073709551616", b"-9223372036854775809"]
)
@pytest.mark.parametrize("field", ["userId", "timestamp", "sentAt", "properties", "traits", "context", "integrations"])
def test_a_number_that_receivers_cannot_hold_is_refused(field, number):
    value = number if field in ("userId", "timestamp", "sentAt") else b'{"traits": {"a": ' + number + b"}}"
    with pytest.raises(Invalid) as caught:
        enter(b'{"anonymousId": "a1", "' + field.encode() + b'": ' + value + b"}", "identify")
    assert caught.value.code == "invalid_event"
    assert len(caught.value.detail) < 200


@pytest.mark.parametrize("number", [b"9" * 5000, b"-" + b"9" * 400])
def test_a_batch_sent_at_no_such_time_is_refused(number):
    batch = read_batch(b'{"sentAt": ' + number[:4000] + b', "batch": [{"userId": "u1", "timestamp": 1}]}')
    with pytest.raises(Invalid) as caught:
        read_entry(read_message(batch.batch[0]), "page", 7, NOW, "fallback", batch.sent_at)
    assert caught.value.code == "invalid_time"


def test_numbers_that_receivers_can_hold_are_passed_on_to_the_digit():
    numbers = (
        b"[18446744073709551615, -9223372036854775808, 1.7976931348623157e308,"
        b" 1e-999, 0.1000000000000000055511151231257827, -0, 1.0E+2]"
    )
    raw = b'{"userId": "u1", "properties": {"a": ' + numbers + b', "1e999": "' + b"9" * 5000 + b' 1e999, 1e999"}}'
    assert numbers in enter(raw, "page").data


def test_the_last_of_two_equal_keys_counts_and_both_are_passed_on():
    entry = enter(b'{"userId": "u1", "userId": "u2", "properties": {"a": 1, "a": 2}}', "page")
    assert entry.identifiers == (("user_id", "u2"),)
    assert b'{"a": 1, "a": 2}' in entry.data


def test_how_a_bad_event_is_reported():
    reason = reason_of(Invalid("Say it again.", code="invalid_event"), 3, "m1")
    assert reason == {"index": 3, "message_id": "m1", "code": "invalid_event", "detail": "Say it again."}


# Names and keys.


@pytest.mark.parametrize(
    ("metric", "type_"),
    [
        ("Order Shipped", "event.order_shipped"),
        ("  order--SHIPPED! ", "event.order_shipped"),
        ("Café ouvert №5", "event.cafe_ouvert_no5"),
        ("a.b", "event.a_b"),
    ],
)
def test_a_metric_has_a_type(metric, type_):
    assert metric_type(metric) == type_


def test_metrics_without_letters_or_with_many_have_types_of_their_own():
    assert re.fullmatch(r"event\.x[0-9a-f]{8}", metric_type("注文"))
    assert metric_type("注文") != metric_type("出荷")
    assert metric_type("x" * 300) != metric_type("x" * 301)
    assert metric_type("x" * 200) == "event." + "x" * 200


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=ID_CHARACTERS))
@example("⑽" * 512)
def test_every_metric_has_a_short_plain_type(metric):
    assert re.fullmatch(r"event\.[a-z0-9_]{1,209}", metric_type(metric))


def test_message_ids_of_two_workspaces_are_apart():
    message = SegmentMessage(user_id="u1", message_id="m1")
    keys = {read_entry(message, "page", workspace, NOW, "x").message_key for workspace in (1, 2, 1)}
    assert len(keys) == 2


# Laws.

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["\0", "\ud800", "a\udfffb", "ann@example.com", "+16502530000", " u1 ", "2026-09-21T14:13:20Z"])
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner))
NAMES = [*SegmentMessage.__struct_encode_fields__, "channel"]
objects = st.dictionaries(st.text(max_size=8), values, max_size=4)
likely = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(KINDS),
        "userId": st.text(max_size=5) | st.integers() | st.none(),
        "anonymousId": st.text(max_size=5) | st.none(),
        "previousId": st.text(max_size=5),
        "groupId": st.text(max_size=5) | st.integers(),
        "event": st.text(max_size=9),
        "messageId": st.text(max_size=9),
        "properties": objects | st.none(),
        "traits": objects | st.none(),
        "context": st.fixed_dictionaries({}, optional={"traits": objects | st.text()}) | st.none(),
        "timestamp": st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.datetimes().map(str)
        | st.none(),
        "sentAt": st.integers() | st.datetimes().map(str),
    },
)
wild = st.dictionaries(st.sampled_from(NAMES), values)


def can_be_kept(entry: Entry) -> None:
    for text in [entry.type, entry.metric or "", entry.message_id, *(value for _, value in entry.identifiers)]:
        assert "\0" not in text
        text.encode("utf-8")
    assert all(value and len(value) <= ID_CHARACTERS for _, value in entry.identifiers)
    assert entry.identifiers
    assert len(set(entry.identifiers)) == len(entry.identifiers)
    assert all(-(1 << 63) <= number < 1 << 63 for number in (entry.message_key, entry.occurred_at, entry.received_at))
    assert EARLIEST <= entry.occurred_at <= LATEST
    assert isinstance(json.loads(entry.data.decode("utf-8")), dict)
    if entry.traits is not None:
        kept = msgspec.json.encode(entry.traits)
        assert msgspec.json.decode(kept) == entry.traits


def try_to_enter(raw: bytes | msgspec.Raw, sent_at: str | float | None = None) -> Entry | None:
    try:
        entry = read_entry(read_message(raw), None, 7, NOW, "fallback", sent_at)
    except Error:
        return None
    can_be_kept(entry)
    return entry


@given(st.binary(max_size=200))
@example(b'{"type":"page","userId":"\xff"}')
def test_no_bytes_do_harm(raw):
    try_to_enter(raw)
    try:
        batch = read_batch(raw)
    except Error:
        return
    for item in batch.batch:
        try_to_enter(item, batch.sent_at)


@given(likely | wild, st.booleans())
@example({"type": "identify", "userId": 1, "traits": {"a": 2**70, "b": -(2**70), "c": 1e308}}, True)
@example({"type": "page", "userId": 1, "timestamp": 1e17, "sentAt": -1e17}, True)
@example({"type": "page", "userId": 1, "timestamp": math.inf}, True)
def test_what_is_accepted_can_be_kept_and_is_passed_on_as_it_was_sent(fields, ascii_only):
    raw = json.dumps(fields, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    entry = try_to_enter(raw)
    if entry is None:
        return
    said = contents(entry)
    for name in ("properties", "traits", "context", "integrations"):
        sent = fields.get(name)
        if isinstance(sent, dict):
            text = json.dumps(sent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
            assert text in entry.data or b"\\ufffd" in entry.data
        else:
            assert name not in said
    assert said.get("metric") == (fields.get("event") if entry.kind == "track" else None)


@settings(max_examples=25)  # Each of these creates several messages.
@given(st.lists(likely | wild, max_size=4), st.none() | st.datetimes().map(str))
def test_a_batch_says_what_its_messages_say_alone(messages, sent_at):
    batch = read_batch(encode({"batch": messages, "sentAt": sent_at}))
    together = [try_to_enter(item, batch.sent_at) for item in batch.batch]
    assert together == [try_to_enter(encode(message), sent_at) for message in messages]


@given(st.text(max_size=70) | scalars)
def test_no_trait_breaks_the_reading_of_addresses_and_numbers(value):
    email, phone = normal_email(value), normal_phone(value)
    assert email is None or normal_email(email) == email
    assert phone is None or re.fullmatch(r"\+[0-9]{4,17}", phone)
