"""Tokens of emails: each names one thing, and whatever was cut, changed or guessed names nothing."""

import os
from collections.abc import Callable
from typing import Any

import pytest

from waypost.domain.tracking.mail_tokens import (
    CLICK_LENGTH,
    KEY_BYTES,
    LONGEST_UNSUBSCRIBE,
    OPEN_LENGTH,
    ClickTarget,
    MailTokens,
    OpenTarget,
    UnsubscribeTarget,
)

TOKENS = MailTokens(bytes(range(KEY_BYTES)))
MOST = (1 << 63) - 1
TARGET = UnsubscribeTarget(3, "email", "ada@example.com", 4, 5, 6)
KINDS: dict[str, tuple[str, Callable[[MailTokens, str], Any], Any]] = {
    "open": (TOKENS.open_token(3, MOST), MailTokens.read_open, OpenTarget(3, MOST)),
    "click": (TOKENS.click_token(MOST, 7, 65_535, 65_535), MailTokens.read_click, ClickTarget(MOST, 7, 65_535, 65_535)),
    "unsubscribe": (TOKENS.unsubscribe_token(TARGET), MailTokens.read_unsubscribe, TARGET),
}
each = pytest.mark.parametrize("kind", KINDS)
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@each
def test_a_token_names_what_it_was_made_for(kind: str):
    token, read, target = KINDS[kind]
    assert read(TOKENS, token) == target
    # Another process with the same key, after a restart.
    assert read(MailTokens(bytes(range(KEY_BYTES))), token) == target
    assert read(MailTokens(os.urandom(KEY_BYTES)), token) is None


@each
def test_what_is_cut_changed_or_guessed_names_nothing(kind: str):
    token, read, _ = KINDS[kind]
    others = [token[:end] for end in range(len(token))]
    others += [token + sign for sign in "A=/.é \n\0"]
    for at in range(len(token)):
        before = ALPHABET.index(token[at])
        others += [token[:at] + ALPHABET[before ^ bit] + token[at + 1 :] for bit in (1, 2, 4, 8, 16, 32)]
    others += [
        "",
        "A" * len(token),
        "A" * 5000,
        token.swapcase(),
        "é" * len(token),
        token.replace(token[0], "+"),
        "%00",
    ]
    for other in others:
        assert other == token or read(TOKENS, other) is None, other


def test_a_token_of_one_kind_is_none_of_another():
    for kind, (token, _, _) in KINDS.items():
        for other, (_, read, _) in KINDS.items():
            assert (read(TOKENS, token) is None) is (kind != other)


def test_tokens_are_as_long_as_urls_and_headers_allow():
    assert len(KINDS["open"][0]) == OPEN_LENGTH
    assert len(KINDS["click"][0]) == CLICK_LENGTH
    longest = UnsubscribeTarget(MOST, "email", "ü" * 160 + "@" + "e" * 94, MOST, MOST, MOST)
    token = TOKENS.unsubscribe_token(longest)
    assert len(token) <= LONGEST_UNSUBSCRIBE
    assert TOKENS.read_unsubscribe(token) == longest


def test_a_token_to_unsubscribe_hides_the_address():
    token = TOKENS.unsubscribe_token(TARGET)
    assert "ada" not in token.lower()
    assert token == TOKENS.unsubscribe_token(TARGET)
    assert token[:20] != TOKENS.unsubscribe_token(UnsubscribeTarget(3, "email", "bob@example.com", 4, 5, 6))[:20]


def test_a_url_has_one_id_per_workspace_that_only_the_key_gives():
    ids = {TOKENS.url_id(workspace, url) for workspace in (1, 2) for url in ("https://a.example", "https://b.example")}
    assert len(ids) == 4
    assert all(0 <= id_ <= MOST for id_ in ids)
    assert TOKENS.url_id(1, "https://a.example") in ids
    assert MailTokens(os.urandom(KEY_BYTES)).url_id(1, "https://a.example") not in ids


def test_a_key_of_another_length_is_refused():
    with pytest.raises(ValueError, match="64"):
        MailTokens(b"short")
