"""UTM parameters are added where they are not, and not a byte of the URL is disturbed."""

from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.domain.tracking.links import LONGEST_URL
from waypost.domain.tracking.utm import add_parameters, location
from waypost.errors import Invalid

UTM = {"utm_source": "waypost", "utm_medium": "sms", "utm_campaign": "birthday"}
ALL = "utm_source=waypost&utm_medium=sms&utm_campaign=birthday"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.example", f"https://a.example?{ALL}"),
        ("https://a.example/", f"https://a.example/?{ALL}"),
        ("https://a.example/?", f"https://a.example/?{ALL}"),
        ("https://a.example/#top", f"https://a.example/?{ALL}#top"),
        ("https://a.example/?#top", f"https://a.example/?{ALL}#top"),
        ("https://a.example/#?x=1", f"https://a.example/?{ALL}#?x=1"),
        ("https://click.example.com?utm_api=birthday&utm_tracking=newclicks", f"https://click.example.com?utm_api=birthday&utm_tracking=newclicks&{ALL}"),
        ("https://a.example/?utm_source=mine", "https://a.example/?utm_source=mine&utm_medium=sms&utm_campaign=birthday"),
        ("https://a.example/?utm_source=", "https://a.example/?utm_source=&utm_medium=sms&utm_campaign=birthday"),
        ("https://a.example/?utm_source", "https://a.example/?utm_source&utm_medium=sms&utm_campaign=birthday"),
        ("https://a.example/?utm%5Fsource=x", "https://a.example/?utm%5Fsource=x&utm_medium=sms&utm_campaign=birthday"),
        ("https://a.example/?UTM_SOURCE=x", f"https://a.example/?UTM_SOURCE=x&{ALL}"),
        ("https://a.example/?a=utm_source=x", f"https://a.example/?a=utm_source=x&{ALL}"),
        ("https://a.example/?a=1;utm_source=x", "https://a.example/?a=1;utm_source=x&utm_medium=sms&utm_campaign=birthday"),
        ("https://a.example/?a=1;b=2", f"https://a.example/?a=1;b=2&{ALL}"),
        ("https://a.example/?a=1&a=2&a=", f"https://a.example/?a=1&a=2&a=&{ALL}"),
        ("https://a.example/?a=1&", f"https://a.example/?a=1&{ALL}"),
        ("https://a.example/?&", f"https://a.example/?&{ALL}"),
        ("https://a.example/?a=b?", f"https://a.example/?a=b?&{ALL}"),
        ("https://a.example/?q=a%20b+c%2Bd%E2%82%AC%zz", f"https://a.example/?q=a%20b+c%2Bd%E2%82%AC%zz&{ALL}"),
        ("https://a.example:8443/x?y", f"https://a.example:8443/x?y&{ALL}"),
        ("HTTP://A.EXAMPLE/X", f"HTTP://A.EXAMPLE/X?{ALL}"),
        ("https://bücher.example/ä?ö=ü#ß", f"https://bücher.example/ä?ö=ü&{ALL}#ß"),
        ("https://[2001:db8::1]:80/x", f"https://[2001:db8::1]:80/x?{ALL}"),
        ("https://a.example/@me?x=@", f"https://a.example/@me?x=@&{ALL}"),
        ("https://a.example/utm_source=x", f"https://a.example/utm_source=x?{ALL}"),
        (f"https://a.example/?{ALL}", f"https://a.example/?{ALL}"),
    ],
)  # fmt: skip
def test_only_what_is_missing_is_added(url: str, expected: str):
    assert add_parameters(url, UTM) == expected


def test_values_are_escaped_and_empty_ones_left_out():
    added = add_parameters("https://a.example/", {"utm_source": "a b&c=d#e/ü", "utm_medium": "", "utm_campaign": "x"})
    assert added == "https://a.example/?utm_source=a%20b%26c%3Dd%23e%2F%C3%BC&utm_campaign=x"
    assert add_parameters("https://a.example/?", {}) == "https://a.example/?"


BAD = [
    "", "a.example", "//a.example", "ftp://a.example", "javascript:alert(1)", "https:///x", "https://:80/", "https://?x",
    "https://user@a.example/", "https://user:secret@a.example/", "https://@a.example/",
    "https://good.example\\@a.example/", "https://a.example\\.evil.example/",
    "https://a.example/ x", "https://a.example/\r\nset-cookie: x", "https://a.example/\u0000", "https://a.example/<x>",
    ' https://a.example', 'https://a.example/"x', "https://a.example/\u0085", "https://a.example/" + "x" * LONGEST_URL,
]  # fmt: skip


@pytest.mark.parametrize("url", BAD)
@pytest.mark.parametrize("read", [lambda url: add_parameters(url, UTM), location])
def test_what_is_no_url_or_has_a_user_name_is_refused(url: str, read):
    with pytest.raises(Invalid) as caught:
        read(url)
    assert caught.value.code == "invalid_url"
    assert "secret" not in caught.value.detail


characters = st.sampled_from([*"abcXYZ019-._~:/?[]@!$&'()*+,;=%|{}^", "utm_source", "utm_medium=", "%5F", "ü", "漢"])
rests = st.lists(characters, max_size=20).map("".join)
hosts = st.sampled_from(["a.example", "a.example:8080", "bücher.example", "[2001:db8::1]:80", "192.0.2.1"])
parameters = st.dictionaries(st.sampled_from(list(UTM)), st.text(max_size=10), max_size=3)


@st.composite
def urls(draw: st.DrawFn) -> str:
    path = draw(st.sampled_from(["", "/"])) and "/" + draw(rests)
    query = draw(st.sampled_from(["", "?"])) and "?" + draw(rests)
    fragment = draw(st.sampled_from(["", "#"])) and "#" + draw(rests)
    return f"https://{draw(hosts)}{path}{query}{fragment}"


@given(urls(), parameters)
def test_every_byte_of_the_url_stays_in_its_place(url: str, given_: dict[str, str]):
    made = add_parameters(url, given_)
    before, mark, fragment = url.partition("#")
    assert made.startswith(before)
    assert made.endswith(mark + fragment)
    added = made[len(before) : len(made) - len(mark + fragment)]
    assert bool(added) is (made != url)
    # What was added are exactly parameters, read as browsers do.
    old = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    new = parse_qsl(urlsplit(made).query, keep_blank_values=True)
    assert new[: len(old)] == old
    assert dict(new[len(old) :]).items() <= given_.items()
    assert urlsplit(made).netloc == urlsplit(url).netloc
    assert urlsplit(made).path == urlsplit(url).path


@given(urls(), parameters)
def test_nothing_is_added_twice_or_where_it_is_already(url: str, given_: dict[str, str]):
    made = add_parameters(url, given_)
    assert add_parameters(made, given_) == made
    present = {name for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True)}
    new = parse_qsl(urlsplit(made).query, keep_blank_values=True)
    for name, value in given_.items():
        count = sum(found == name for found, _ in new)
        assert count == sum(found == name for found, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True)) or (
            name not in present and count == 1 and value
        )


@given(urls())
def test_a_location_is_ascii_and_one_in_ascii_stays_as_it_is(url: str):
    made = location(url)
    assert made.isascii()
    assert not url.isascii() or made == url
    assert location(made) == made


def test_letters_outside_ascii_are_written_as_browsers_write_them():
    assert location("https://bücher.example:81/ä%20b?ö=ü&x#ß") == (
        "https://xn--bcher-kva.example:81/%C3%A4%20b?%C3%B6=%C3%BC&x#%C3%9F"
    )
    with pytest.raises(Invalid):
        location("https://\u2024\u2024ü..example/")
    with pytest.raises(Invalid):
        location("https://a.example/ü\ud800")
