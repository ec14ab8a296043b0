"""Public ids: each has one spelling, and no other text is accepted."""

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.domain.values.ids import KINDS, internal, internal_pair, public, public_pair
from waypost.errors import NotFound

numbers = st.integers(0, (1 << 63) - 1)
prefixes = st.sampled_from(sorted(KINDS))


def test_an_id_looks_like_this():
    assert public("evt", 0x61C7F3A2B1C04) == "evt_00061c7f3a2b1c04"
    assert public_pair("dlv", 1, 0x2A) == "dlv_0000000000000001000000000000002a"


@given(prefixes, numbers, numbers)
def test_ids_can_be_read_back(prefix, first, second):
    assert internal(prefix, public(prefix, first)) == first
    assert internal_pair(prefix, public_pair(prefix, first, second)) == (first, second)
    assert re.fullmatch(r"[a-z]+_[0-9a-f]{16}", public(prefix, first))


@given(prefixes, numbers, numbers)
def test_public_ids_sort_as_their_numbers_do(prefix, one, other):
    assert (public(prefix, one) < public(prefix, other)) == (one < other)


@pytest.mark.parametrize(
    "digits",
    [
        "",
        "1",
        "00061c7f3a2b1c041",
        "00061C7F3A2B1C04",
        "8000000000000000",
        "ffffffffffffffff",
        "-000000000000001",
        "+000000000000001",
        "0x00000000000001",
        "0000_0000_0000_1",
        " 00000000000001 ",
        "\u0661" * 16,
        "g000000000000000",
    ],
)
def test_what_no_id_looks_like_is_not_found(digits):
    with pytest.raises(NotFound, match="is not the id of a event; one looks like evt_"):
        internal("evt", f"evt_{digits}")
    for text in (f"dlv_{digits}{'0' * 16}", f"dlv_{'0' * 16}{digits}"):
        with pytest.raises(NotFound, match="is not the id of a delivery"):
            internal_pair("dlv", text)


def test_an_id_of_another_kind_is_not_found():
    with pytest.raises(NotFound):
        internal("evt", public("pro", 1))
    with pytest.raises(NotFound):
        internal_pair("dlv", public_pair("att", 1, 2))


@given(prefixes, st.text() | st.from_regex(r"\A[a-z]{2,3}_[0-9a-fA-F]{0,40}\Z"))
def test_any_text_is_the_one_spelling_of_an_id_or_not_found(prefix, text):
    with contextlib.suppress(NotFound):
        assert public(prefix, internal(prefix, text)) == text
    with contextlib.suppress(NotFound):
        assert public_pair(prefix, *internal_pair(prefix, text)) == text
