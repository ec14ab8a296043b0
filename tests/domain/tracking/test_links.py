"""Links are found as people write them, replaced in place, and the click URL appears once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.domain.tracking.links import _CANDIDATE, _next_candidate, find_links, replace_links, track_text

SHORT = "https://s.example/c/000000000"


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("", []),
        ("no link, not even http: or www.example.com", []),
        ("https://", []),
        ("http://.", []),
        ("(https://)", []),
        ("https://a.example", ["https://a.example"]),
        ("HTTPS://A.example/X", ["HTTPS://A.example/X"]),
        ("See https://a.example.", ["https://a.example"]),
        ("See https://a.example/?", ["https://a.example/"]),
        ("See https://a.example/x?y=1!!! Now", ["https://a.example/x?y=1"]),
        ("https://a.example/x, https://b.example/y; http://c.example:", ["https://a.example/x", "https://b.example/y", "http://c.example"]),
        ("(see https://a.example/x)", ["https://a.example/x"]),
        ("(https://a.example/x_(y))", ["https://a.example/x_(y)"]),
        ("https://a.example/x_(y)", ["https://a.example/x_(y)"]),
        ("[https://a.example/x](https://b.example)", ["https://a.example/x", "https://b.example"]),
        ("(https://a.example/x)(https://b.example/(y))", ["https://a.example/x", "https://b.example/(y)"]),
        ("https://a.example/x(y", ["https://a.example/x(y"]),
        ("https://a.example/x(", ["https://a.example/x"]),
        ("[link](https://a.example/x).", ["https://a.example/x"]),
        ("<https://a.example/x>", ["https://a.example/x"]),
        ('"https://a.example/x"', ["https://a.example/x"]),
        ("'https://a.example/x'", ["https://a.example/x"]),
        ("*https://a.example/x*", ["https://a.example/x"]),
        ("“https://a.example/x”", ["https://a.example/x"]),
        ("«https://a.example/x»", ["https://a.example/x"]),
        ("「https://a.example/x」。", ["https://a.example/x"]),
        ("https://a.example/x…", ["https://a.example/x"]),
        ("https://a.example/x—now", ["https://a.example/x"]),
        ("🎉https://a.example/x🎉", ["https://a.example/x"]),
        ("https://a.example/x👩‍👩‍👧 y", ["https://a.example/x"]),
        ("https://a.example/x❤️", ["https://a.example/x"]),
        ("https://a.example\nhttps://b.example\thttps://c.example", ["https://a.example", "https://b.example", "https://c.example"]),
        ("点击https://a.example/x", ["https://a.example/x"]),
        ("Hi.https://a.example/x", ["https://a.example/x"]),
        ("xhttps://a.example", []),
        ("git+https://a.example", []),
        ("https://bücher.example/straße?q=ä", ["https://bücher.example/straße?q=ä"]),
        ("https://a.example/हिन्दी", ["https://a.example/हिन्दी"]),
        ("https://a.example/?u=https://b.example/&v=1", ["https://a.example/?u=https://b.example/&v=1"]),
        ("https://[2001:db8::1]:8080/x", ["https://[2001:db8::1]:8080/x"]),
        ("https://a.example/x#y-z_", ["https://a.example/x#y-z_"]),
        ("https://a.example/x%20y;z=1,2~-_", ["https://a.example/x%20y;z=1,2~-_"]),
        ("https://a.example\\evil", ["https://a.example"]),
        ("https://a.example/\u0000x", ["https://a.example/"]),
        ("https://a.example/\u200bx", ["https://a.example/"]),
    ],
)  # fmt: skip
def test_links_are_found_as_people_write_them(text: str, urls: list[str]):
    found = list(find_links(text))
    assert [link.url for link in found] == urls
    assert all(text[link.start : link.end] == link.url for link in found)


def test_links_are_replaced_and_nothing_else():
    text = "A https://a.example/1, (https://b.example/2) and https://a.example/1!"
    asked: list[str] = []

    def replace(url: str) -> str:
        asked.append(url)
        return f"<{len(asked)}>"

    assert replace_links(text, replace) == "A <1>, (<2>) and <3>!"
    assert asked == ["https://a.example/1", "https://b.example/2", "https://a.example/1"]


@pytest.mark.parametrize(
    ("text", "click_url", "expected"),
    [
        ("Hello", "https://a.example/x", f"Hello {SHORT}"),
        ("Hello ", "https://a.example/x", f"Hello {SHORT}"),
        ("Hello\n", "https://a.example/x", f"Hello\n{SHORT}"),
        ("", "https://a.example/x", SHORT),
        ("Hello", "", "Hello"),
        ("Go to https://a.example/x.", "https://a.example/x", f"Go to {SHORT}."),
        ("Go to https://a.example/x/y", "https://a.example/x", f"Go to {SHORT} {SHORT}"),
        ("https://b.example Hello", "https://a.example/x", f"{SHORT} Hello {SHORT}"),
        # Its own punctuation belongs to it.
        ("Go to https://a.example/x? Now", "https://a.example/x?", f"Go to {SHORT} Now"),
        ("Go to https://a.example/x?.", "https://a.example/x?", f"Go to {SHORT}."),
        ("Go to https://a.example/x.", "https://a.example/x?", f"Go to {SHORT}. {SHORT}"),
        ("https://a.example/x https://a.example/x", "https://a.example/x", f"{SHORT} {SHORT}"),
    ],
)
def test_the_click_url_is_replaced_where_it_stands_or_appended(text: str, click_url: str, expected: str):
    assert track_text(text, lambda url: SHORT, click_url) == expected


pieces = st.sampled_from(
    [
        "https://a.example/x",
        "http://b.example",
        " ",
        ".",
        ",",
        "(",
        ")",
        "]",
        "🎉",
        "Hello",
        "\n",
        "?",
        "&y=1",
        "é",
        "\\",
        "<",
    ]
)
texts = st.one_of(st.text(), st.lists(pieces, max_size=12).map("".join))


@given(texts)
def test_replacing_every_link_by_itself_changes_nothing(text: str):
    assert replace_links(text, lambda url: url) == text
    assert track_text(text, lambda url: url) == text


@given(
    texts, st.sampled_from(["https://a.example/x", "http://b.example", "https://a.example/x?", "https://c.example/("])
)
def test_the_click_url_is_there_exactly_as_often_as_it_was_and_at_least_once(text: str, click_url: str):
    made = track_text(text, lambda url: url, click_url)
    assert click_url in made
    assert made.startswith(text)
    assert len(made) - len(text) in (0, len(click_url), len(click_url) + 1)
    assert "\0replaced" in track_text(text, lambda url: "\0replaced" if url == click_url else url, click_url)


@given(texts)
def test_links_stand_in_order_and_hold_no_spaces(text: str):
    end = 0
    for link in find_links(text):
        assert end <= link.start < link.end
        assert link.url == text[link.start : link.end]
        assert not any(character.isspace() for character in link.url)
        assert link.url.lower().startswith(("http://", "https://"))
        end = link.end


def test_a_long_text_is_read_in_no_time():
    for piece in ("https://", "https://a.example/((((", "https://a.example/....", "https://a.example/))))", "(" * 50):
        text = piece * 20_000
        assert replace_links(text, lambda url: url) == text


@given(
    text=st.lists(st.sampled_from(["http", "https", "HTTP", "s", "\u017f", "://", ":", "/", "x", "+", "é", " ", "<"])),
    position=st.integers(0, 12),
)
def test_the_next_candidate_is_the_one_that_the_pattern_finds(text: list[str], position: int):
    """The quick search is the same as a search with the pattern, letters that only fold to ASCII included."""
    whole = "".join(text)
    quick, slow = _next_candidate(whole, position), _CANDIDATE.search(whole, position)
    assert (quick and quick.span()) == (slow and slow.span())
