"""API keys and their scopes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.domain.accounts.api_keys import KEY_BYTES, Caller, Scope, check_scopes, key_hash, key_hint, make_key
from waypost.errors import Forbidden, Invalid

entropy = st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES)


@given(entropy, st.booleans())
def test_a_key_is_a_prefix_and_all_of_its_entropy(random, write):
    key = make_key(random, write=write)
    assert re.fullmatch(r"wp[kw]_[a-z2-7]{32}", key)
    assert key.startswith("wpw_" if write else "wpk_")
    assert re.fullmatch(r"[0-9a-f]{64}", key_hash(key))
    assert key_hint(key) == key[:8] + "…"


@given(entropy, entropy)
def test_two_keys_are_equal_only_when_their_entropy_is(one, other):
    first, second = make_key(one, write=False), make_key(other, write=False)
    assert (first == second) == (key_hash(first) == key_hash(second)) == (one == other)


@pytest.mark.parametrize(
    ("scopes", "may"),
    [
        (["ingest"], {"ingest"}),
        (["read"], {"read"}),
        (["ingest", "read"], {"ingest", "read"}),
        (["manage"], {"ingest", "read", "manage"}),
        ([], set()),
    ],
)
def test_a_caller_may_do_what_its_scopes_say(scopes, may):
    caller = Caller(1, 7, frozenset(scopes))
    for scope in Scope:
        if scope.value in may:
            caller.require(scope)
        else:
            with pytest.raises(Forbidden, match=scope.value):
                caller.require(scope)


def test_scopes_are_kept_once_and_in_order():
    assert check_scopes(["manage", "ingest", "manage"]) == ["ingest", "manage"]


@pytest.mark.parametrize("scopes", [[], ["admin"], ["read", "admin"], ["READ"], [""]])
def test_unknown_scopes_are_refused_with_those_there_are(scopes):
    with pytest.raises(Invalid, match="ingest, read, manage") as caught:
        check_scopes(scopes)
    assert caught.value.code == "invalid_scopes"
