"""Tokens are uniform, short, and one to one with keys; everything else is no token."""

import string
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.domain.tracking.tokens import (
    ALPHABET,
    BITS,
    KEY_BYTES,
    LENGTH,
    PATH,
    make_keys,
    short_url,
    to_key,
    to_token,
)

keys = st.integers(0, (1 << BITS) - 1)


def test_a_short_link_has_twelve_characters_after_the_domain():
    assert len(short_url("https://a.example", 0).removeprefix("https://a.example")) == 12
    assert len(PATH) + LENGTH == 12


@given(keys)
def test_a_token_leads_back_to_its_key(key: int):
    token = to_token(key)
    assert to_key(token) == key
    assert len(token) == LENGTH
    assert token.isascii()
    assert token.isalnum()


@given(keys, keys)
def test_two_keys_have_two_tokens(one: int, other: int):
    assert (one == other) is (to_token(one) == to_token(other))


@given(st.text(max_size=40))
def test_any_other_text_is_no_token(text: str):
    key = to_key(text)
    assert key is None or to_token(key) == text


@given(st.text(ALPHABET, min_size=LENGTH, max_size=LENGTH))
def test_of_nine_characters_all_are_tokens_up_to_the_last_key(text: str):
    key = to_key(text)
    assert (key is not None) is (text <= to_token((1 << BITS) - 1))
    assert key is None or to_token(key) == text


@given(keys, st.integers(0, LENGTH - 1), st.sampled_from(ALPHABET))
def test_a_changed_token_is_another_key_or_none(key: int, position: int, character: str):
    token = to_token(key)
    changed = token[:position] + character + token[position + 1 :]
    assert (to_key(changed) == key) is (changed == token)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "00000000",
        "0000000000",
        "zzzzzzzzz",
        "00000000 ",
        " 00000000",
        "0000 0000",
        "00000000-",
        "0000000\u06f0\u06f0",
        "\uff10" * 9,
    ],
)
def test_what_is_cut_too_long_or_of_another_alphabet_is_no_token(text: str):
    assert to_key(text) is None


@pytest.mark.parametrize("key", [-1, 1 << BITS])
def test_a_number_that_is_no_key_has_no_token(key: int):
    with pytest.raises(ValueError, match="not the key of a link"):
        to_token(key)


@given(st.lists(st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES), max_size=20))
def test_every_seven_random_bytes_are_a_key(parts: list[bytes]):
    made = make_keys(b"".join(parts))
    assert made == [int.from_bytes(part, "big") % (1 << BITS) for part in parts]


def test_every_bit_of_a_key_is_random():
    # Each bit of the input decides one bit of the key; three of 56 are cut off.
    ones = [make_keys((1 << bit).to_bytes(KEY_BYTES, "big"))[0] for bit in range(KEY_BYTES * 8)]
    assert Counter(ones) == Counter({1 << bit: 1 for bit in range(BITS)}) + Counter({0: KEY_BYTES * 8 - BITS})


def test_the_alphabet_needs_no_escapes():
    assert "".join(sorted(string.ascii_letters + string.digits)) == ALPHABET
