"""The parts of receipts: every value from outside is bounded, and none raises."""

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.clock import CLOCKS_DIFFER
from waypost.domain.messaging.message import Receipt
from waypost.domain.messaging.receipt import (
    QUARANTINED_BYTES,
    clean_receipt,
    quarantine,
    read_count,
    read_message_id,
    read_micros,
    read_moment,
    read_number,
)

NOW = 1_790_000_000_000_000
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("value", "scale", "micros"),
    [
        (645.0, 10, 6450),
        ("645", 10, 6450),
        (0.00581, 1_000_000, 5810),
        (0, 10, 0),
        (-0.0075, 1_000_000, 7500),
        ("", 10, None),
        (None, 10, None),
        (True, 10, None),
        ("nan", 10, None),
        ("1e999", 10, None),
        (1e300, 10, None),
        ([1], 10, None),
    ],
)
def test_prices_are_whole_millionths(value: Any, scale: int, micros: int | None):
    assert read_micros(value, scale) == micros


@pytest.mark.parametrize(
    ("value", "unit", "at"),
    [
        (1_790_000_001, "s", 1_790_000_001_000_000),
        ("1790000001", "s", 1_790_000_001_000_000),
        (1_790_000_001_000, "ms", 1_790_000_001_000_000),
        (1_790_000_001_000_000, "us", 1_790_000_001_000_000),
        ("2026-09-21T14:13:21Z", "iso", 1_790_000_001_000_000),
        ("2026-09-21T16:13:21+02:00", "iso", 1_790_000_001_000_000),
        ("2026-09-21T14:13:21", "iso", 1_790_000_001_000_000),
        (1_790_000_001, "iso", 1_790_000_001_000_000),
        (1_790_000_001_000, "iso", 1_790_000_001_000_000),
        ("yesterday", "iso", NOW),
        (None, "ms", NOW),
        (-5, "ms", NOW),
        (0, "ms", NOW),
        (1 << 80, "ms", NOW),
        ("0001-01-01T00:00:00+23:59", "iso", NOW),
        ({}, "s", NOW),
        (-1e308, "s", NOW),
        # Clocks differ slightly; a time far in the future is not valid.
        (NOW // 1000 + 59_000, "ms", NOW + 59_000_000),
        (NOW // 1000 + 61_000, "ms", NOW),
        ("2099-01-01T00:00:00Z", "iso", NOW),
    ],
)
def test_moments(value: Any, unit: str, at: int):
    assert read_moment(value, unit, NOW) == at


@given(JSON, st.sampled_from(["s", "ms", "us", "iso"]))
def test_whatever_comes_is_read_within_bounds(value: Any, unit: str):
    assert 0 < read_moment(value, unit, NOW) <= NOW + CLOCKS_DIFFER
    number = read_number(value)
    assert number is None or math.isfinite(number)
    count = read_count(value)
    assert count is None or 0 <= count <= 10_000
    micros = read_micros(value, 1_000_000)
    assert micros is None or 0 <= micros <= 1 << 53
    read_message_id(value)


def test_only_ids_of_messages_are_ids_of_messages():
    assert read_message_id("msg_00000000000000ff") == 255
    for wrong in ("m-0001", "msg_ff", "con_00000000000000ff", "msg_ffffffffffffffff", "", None, 5, ["msg_"]):
        assert read_message_id(wrong) is None


def make(**changes: Any) -> Receipt:
    return Receipt(**{"workspace_id": 1, "connection_id": 2, "occurred_at": NOW, **changes})


def test_a_receipt_is_cut_to_what_is_kept():
    found = clean_receipt(
        make(
            detail="d" * 9000,
            text="t" * 90_000,
            address="+" * 9000,
            provider_code="p" * 9000,
            provider_message_id="i" * 257,
            receipt_id="a\0b",
            carrier="a\0b",
            properties={"a": "v" * 9000, "b": 1, "c": ["no"], "d" * 200: "x\0"},
        )
    )
    assert (len(found.detail or ""), len(found.text or ""), len(found.address or "")) == (500, 10_000, 256)
    assert len(found.provider_code or "") == 256
    # A cut id would be a different id.
    assert found.provider_message_id is None
    assert found.receipt_id is None
    assert found.carrier == "a\ufffdb"
    assert found.properties == {"a": "v" * 2048, "b": 1, "d" * 100: "x\ufffd"}
    assert clean_receipt(make(properties={f"{n:02}": "v" * 2048 for n in range(50)})).properties == {}


def test_what_is_short_is_left_alone():
    found = make(detail="d", text="t", address="+1", provider_message_id="i", properties={"a": 1.5, "b": True})
    assert clean_receipt(msgspec.structs.replace(found)) == found


@given(st.text(), st.text())
def test_no_text_is_kept_that_a_database_refuses(words: str, name: str):
    found = clean_receipt(make(detail=words, address=words, properties={name: words}))
    kept = [found.detail, found.address, *found.properties, *found.properties.values()]
    assert not [text for text in kept if "\0" in (text or "")]


def test_of_what_nobody_can_read_the_beginning_is_kept():
    found = quarantine(1, 2, "r" * 9000, b"x" * 100_000)
    assert len(found.body) == QUARANTINED_BYTES == 65_536
    assert len(found.reason) == 500
    assert (found.workspace_id, found.connection_id) == (1, 2)
