"""Where passkeys work, what counts as a second factor, and challenges that were not made here."""

import pytest

from waypost.domain.accounts.passkeys import (
    ADD,
    USE,
    PasskeyChallenge,
    from_base64url,
    is_good,
    read_challenge,
    relying_party,
    stated_challenge,
    to_base64url,
    write_challenge,
)
from waypost.domain.accounts.second_factor import FactorState, factor_state, password_confirms


@pytest.mark.parametrize(
    ("base_url", "party"),
    [
        ("https://waypost.example.com", ("waypost.example.com", "https://waypost.example.com")),
        ("https://Waypost.Example.com:443/", ("waypost.example.com", "https://waypost.example.com")),
        ("https://waypost.example.com:8443", ("waypost.example.com", "https://waypost.example.com:8443")),
        ("https://example.com/waypost", ("example.com", "https://example.com")),
        ("http://localhost:8080", ("localhost", "http://localhost:8080")),
        ("http://127.0.0.1:8080", ("localhost", "http://localhost:8080")),
        ("http://[::1]:8080", ("localhost", "http://localhost:8080")),
        ("http://0.0.0.0:8080", ("localhost", "http://localhost:8080")),
        ("https://localhost", ("localhost", "https://localhost")),
        ("http://waypost.example.com", None),
        ("http://192.168.1.7:8080", None),
        ("https://192.168.1.7", None),
        ("https://[2001:db8::1]", None),
    ],
)
def test_where_passkeys_work(base_url, party):
    assert relying_party(base_url) == party


@pytest.mark.parametrize(
    ("totp", "passkeys", "mfa", "state", "by_password"),
    [
        (False, 0, False, FactorState.MISSING, True),
        # What it was made with was removed.
        (False, 0, True, FactorState.MISSING, True),
        (False, 1, False, FactorState.UNPROVED, True),
        (False, 2, True, FactorState.PROVED, False),
        (True, 0, True, FactorState.PROVED, False),
        (True, 1, False, FactorState.PROVED, False),
        (True, 1, True, FactorState.PROVED, False),
    ],
)
def test_what_a_session_says_about_the_second_factor(totp, passkeys, mfa, state, by_password):
    assert factor_state(totp=totp, passkeys=passkeys, mfa=mfa) is state
    assert password_confirms(totp=totp, passkeys=passkeys, mfa=mfa) is by_password


@pytest.mark.parametrize(
    ("purpose", "user_id", "now", "good"),
    [(ADD, 7, 99, True), (USE, 7, 99, False), (ADD, 8, 99, False), (ADD, 0, 99, False), (ADD, 7, 100, False)],
)
def test_a_challenge_says_what_it_is_for(purpose, user_id, now, good):
    challenge = PasskeyChallenge(ADD, 7, "nonce", 100)
    assert read_challenge(write_challenge(challenge)) == challenge
    assert is_good(challenge, purpose, user_id, now) is good


@pytest.mark.parametrize(
    "text", ["", "{}", "null", '["passkey"]', '{"type":"another"}', '{"type":"passkey","purpose":"add"}', "[" * 100_000]
)
def test_other_secrets_are_no_challenges(text):
    assert read_challenge(text) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff",
        b'{"challenge":5}',
        b'{"challenge":"a b"}',
        b'{"challenge":"\xff"}',
        b"[" * 4000,
    ],
)
def test_data_without_a_challenge_states_none(data):
    assert stated_challenge(data) == b""


@pytest.mark.parametrize("data", [b"", b"\x00", b"\xfb\xff", b"abc", bytes(range(256))])
def test_base64url_comes_back(data):
    text = to_base64url(data)
    assert not set(text) & set("+/=")
    assert from_base64url(text) == from_base64url(text + "=" * (-len(text) % 4)) == data


@pytest.mark.parametrize("text", ["a", "a b", "ä", "a\n"])
def test_other_texts_are_not_base64url(text):
    assert from_base64url(text) is None
