"""A masked text contains a secret in none of the forms in which providers repeat it."""

import base64
import json
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.domain.values.masking import MASK, Masker, shown_part

SECRET = 'pä"ss/wo rd+=\\7'


@pytest.mark.parametrize(
    "words",
    [
        SECRET,
        json.dumps({"key": SECRET}),
        json.dumps({"key": SECRET}, ensure_ascii=False),
        json.dumps({"key": SECRET}).replace("/", "\\/"),
        json.dumps({"error": json.dumps({"key": SECRET})}),
        urlencode({"key": SECRET}),
        "key=" + quote(SECRET),
        "key=" + quote(SECRET, safe="").lower(),
        "key=" + quote_plus(SECRET),
        *("Basic " + base64.b64encode(f"{user}:{SECRET}".encode()).decode() for user in ("a", "ab", "abc")),
        *("Basic " + base64.urlsafe_b64encode(f"{SECRET}:{end}".encode()).decode() for end in ("", "a", "ab")),
    ],
)
def test_a_secret_is_masked_in_every_form(words):
    shown = Masker([SECRET]).mask(f"the server says: {words}!")
    assert MASK in shown
    for part in (SECRET, "ss/wo", "ss%2Fwo", "ss\\/wo", base64.b64encode(SECRET.encode()).decode()[4:12]):
        assert part not in shown


def test_the_longest_secret_goes_first():
    assert Masker(["auth-token", "auth-token-2"]).mask("no auth-token-2, only auth-token") == "no ***, only ***"


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("password ab is wrong", "password *** is wrong"),
        ('{"password":"ab","about":"cab"}', '{"password":"***","about":"cab"}'),
        ("ab", "***"),
        ("a=ab&b=abc", "a=***&b=abc"),
    ],
)
def test_a_short_secret_is_masked_where_it_stands_alone(words, shown):
    assert Masker(["ab"]).mask(words) == shown


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="*"), min_size=4),
    st.text(max_size=20),
    st.text(max_size=20),
)
def test_no_secret_is_left(secret, before, after):
    assert secret not in Masker([secret]).mask(before + secret + after)


@pytest.mark.parametrize(("secret", "most"), [("a", 0), ("ab", 0), ("abc", 1), ("abcdef", 2), ("x" * 40, 2)])
def test_at_most_a_third_of_a_secret_is_shown(secret, most):
    assert shown_part(secret, 2) == most
