"""The texts of API keys."""

import re

from hypothesis import given
from hypothesis import strategies as st

from waypost.domain.accounts.api_keys import KEY_BYTES, key_hash, key_hint, make_key

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
