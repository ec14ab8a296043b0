"""ID tokens and the answers of providers at their edges: clocks, keys, parameters that are given twice."""

import json

import pytest

from tests.oidc import ec_key, encode, public_jwk, rsa_key, sign
from waypost.clock import MINUTE, SECOND
from waypost.domain.accounts.id_tokens import IdTokenRules, UnknownKey, read_keys, verified_email, verify_id_token
from waypost.domain.accounts.single_sign_on import (
    ALGORITHMS,
    LASTS,
    ProviderMetadata,
    SignOnRefused,
    SignOnState,
    authorization_url,
    check_answer,
    read_answer,
    read_cookie,
    read_state,
    write_state,
)

NOW = 1_800_000_000 * SECOND
STATE = SignOnState(
    workspace_id=1,
    issuer="https://a.example",
    state="state",
    nonce="nonce",
    # RFC 7636, appendix B.
    verifier="dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    path="/",
    fresh=False,
    started_at=NOW - MINUTE,
)
RULES = IdTokenRules("https://a.example", "waypost", list(ALGORITHMS), STATE)
METADATA = ProviderMetadata(
    "https://a.example", "https://a.example/auth", "https://a.example/token", "https://a.example/keys"
)
KEYS = (public_jwk(rsa_key("first"), "r"), public_jwk(ec_key("first"), "e"))


def token(*, alg="ES256", kid="e", key=None, **claims):
    seconds = NOW // SECOND
    sent = {"iss": "https://a.example", "aud": "waypost", "sub": "s", "nonce": "nonce", "iat": seconds}
    header = {"alg": alg} | ({"kid": kid} if kid else {})
    return sign(header, sent | {"exp": seconds + 60} | claims, key or ec_key("first"))


@pytest.mark.parametrize(
    ("claims", "counts"),
    [
        ({}, True),
        ({"exp": NOW // SECOND - 119}, True),
        ({"exp": NOW // SECOND - 120}, False),
        ({"iat": NOW // SECOND + 119}, True),
        ({"iat": NOW // SECOND + 120}, False),
        ({"iat": NOW // SECOND - 719}, True),
        ({"iat": NOW // SECOND - 720}, False),
        ({"nbf": NOW // SECOND + 119}, True),
        ({"nbf": NOW // SECOND + 120}, False),
        ({"exp": True}, False),
        ({"exp": "1900000000"}, False),
        ({"exp": 1e300}, False),
        ({"aud": ["waypost"]}, True),
        ({"aud": ["waypost", "b"], "azp": "waypost"}, True),
        ({"aud": ["waypost", "b"]}, False),
        ({"aud": {"waypost": 1}}, False),
        ({"azp": None}, False),
        ({"nonce": 5}, False),
        ({"sub": "x" * 255}, True),
        ({"sub": ""}, False),
        ({"sub": "a\x00"}, False),
        ({"sub": 7}, False),
    ],
)
def test_what_a_token_must_say(claims, counts):
    if counts:
        assert verify_id_token(token(**claims), KEYS, RULES, NOW).subject
    else:
        with pytest.raises(SignOnRefused) as caught:
            verify_id_token(token(**claims), KEYS, RULES, NOW)
        assert caught.value.code == "sign_on_token"


def test_a_key_is_known_by_its_id_or_found_by_its_kind():
    assert verify_id_token(token(kid=None), KEYS, RULES, NOW).subject == "s"
    rsa = {"alg": "RS256", "key": rsa_key("first")}
    assert verify_id_token(token(kid="r", **rsa), KEYS, RULES, NOW).subject == "s"
    # A key that is for another algorithm, or of another kind, is not used.
    for keys in ((KEYS[0] | {"alg": "PS256"},), (KEYS[1] | {"kid": "r"},), ()):
        with pytest.raises(UnknownKey):
            verify_id_token(token(kid="r", **rsa), keys, RULES, NOW)
    with pytest.raises(UnknownKey):
        verify_id_token(token(kid=None, key=ec_key("other")), KEYS, RULES, NOW)
    with pytest.raises(SignOnRefused) as caught:
        verify_id_token(token(key=ec_key("other")), KEYS, RULES, NOW)
    assert not isinstance(caught.value, UnknownKey)
    # A key that cannot be read does not hide the others.
    broken = {"kty": "EC", "kid": "e", "crv": "P-256", "x": "!", "y": 5}
    assert verify_id_token(token(), (broken, *KEYS), RULES, NOW).subject == "s"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a.b",
        "a.b.c",
        "..",
        "é.b.c",
        f"{encode(b'{}')}.b.c",
        f"{encode(b'[1]')}.b.c",
        "x" * 40_000 + "..",
        "a.b.c.d.e",
    ],
)
def test_what_is_no_token_is_refused(text):
    with pytest.raises(SignOnRefused) as caught:
        verify_id_token(text, KEYS, RULES, NOW)
    assert caught.value.code == "sign_on_token"


def test_claims_that_are_no_object_are_refused():
    with pytest.raises(SignOnRefused):
        verify_id_token(sign({"alg": "ES256", "kid": "e"}, ["sub"], ec_key("first")), KEYS, RULES, NOW)


def test_keys_for_other_uses_are_left_out():
    others = [{"kty": "oct", "k": "c2VjcmV0"}, KEYS[0] | {"use": "enc"}, KEYS[1]]
    assert read_keys(json.dumps({"keys": others}).encode()) == (KEYS[1],)
    for body in (b"", b"{}", b"[]", b'{"keys": [1]}', b'{"keys": []}', b"\xff"):
        with pytest.raises(SignOnRefused):
            read_keys(body)


@pytest.mark.parametrize(
    ("claims", "email"),
    [
        ({"email": " Ada@Example.com ", "email_verified": True}, "ada@example.com"),
        ({"email": "ada@example.com", "email_verified": "true"}, "ada@example.com"),
        ({"email": "ada@example.com", "email_verified": "false"}, ""),
        ({"email": "ada@example.com", "email_verified": 0}, ""),
        ({"email": "ada@example.com"}, ""),
        ({"email": ["ada@example.com"], "email_verified": True}, ""),
        ({"email": "ada", "email_verified": True}, ""),
    ],
)
def test_only_a_verified_address_counts(claims, email):
    assert verified_email(claims) == email


def test_the_challenge_is_the_one_of_the_standard():
    url = authorization_url(METADATA, "waypost", "https://w.example/back", STATE)
    assert "code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&" in url
    assert url.startswith("https://a.example/auth?response_type=code&client_id=waypost&")


def test_parameters_that_are_given_twice_count_as_none():
    answer = read_answer(b"code=a&state=b&code=c&iss=https%3A%2F%2Fa.example")
    assert answer == {"state": "b", "iss": "https://a.example"}
    with pytest.raises(SignOnRefused):
        check_answer(answer, METADATA)
    assert check_answer(answer | {"code": "d"}, METADATA) == "d"
    assert read_answer(b"&".join(b"a%d=b" % number for number in range(100))) == {}


def test_a_sign_in_is_known_by_its_state_for_ten_minutes():
    text = write_state(STATE)
    end = STATE.started_at + LASTS
    assert read_state(text, "state", end - 1) == STATE
    assert read_state(text, "state", end) is None
    assert read_state(text, "other", NOW) is None
    # What else is encrypted with the same key is no sign-in.
    for other in ("", "{}", '{"type": "passkey", "state": "state"}', text.replace("sign-on", "other")):
        assert read_state(other, "state", NOW) is None


@pytest.mark.parametrize(
    ("header", "cookie"),
    [
        ("", None),
        ("__Host-waypost=a; __Host-waypost-sign-on=b", "b"),
        ("__Host-waypost-sign-on=", None),
        ("waypost-sign-on=b", None),
    ],
)
def test_the_cookie_is_found_among_others(header, cookie):
    assert read_cookie(header) == cookie
