"""The links of HTML are found as browsers find them, in time proportional to its length; the rest stays as it is."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.domain.templates.html_links import decode_attribute, find_html_links
from waypost.domain.templates.link_marks import make_marks
from waypost.domain.tracking.mail_links import track_html

MARKS = make_marks("5ec7e7")


def hrefs(html: str) -> list[str]:
    return [html[start:end] for start, end in find_html_links(html).hrefs]


@pytest.mark.parametrize(
    ("html", "found"),
    [
        ('<a href="https://a.example">a</a>', ["https://a.example"]),
        ("<A HREF='b' href=c>", ["b"]),
        ("<a href=b>", ["b"]),
        ("<a href = b class=x>", ["b"]),
        ("<a href=b/>", ["b/"]),
        ("<a/href=b>", ["b"]),
        ('<a title="<a href=x>" href="b">', ["b"]),
        ("<a\nclass='x'\n href\t=\r\n'b'>", ["b"]),
        ('<a title=">" href="b">', ["b"]),
        ("<a href>", [""]),
        ('<a href="">', [""]),
        ('<area href="b">', ["b"]),
        # What is no link that people click.
        ('<link href="b"><base href="c"><img src="d" srcset="e 1x, f 2x"><form action="g"><abbr href="h">', []),
        ("<a name=href>", []),
        ("< a href=b>", []),
        # What is text.
        ("<style>a{content:'<a href=b>'}</style><a href=c>", ["c"]),
        ("<title><a href=b></title><textarea><a href=c></textarea><a href=d>", ["d"]),
        ("<script>'<a href=b>'</script ><a href=c>", ["c"]),
        ("<STYLE></stylex><a href=b></style><a href=c>", ["c"]),
        # Comments, those of Outlook among them.
        ("<!-- <a href=b> --><a href=c>", ["c"]),
        ("<!--><a href=b>-->", ["b"]),
        ("<!-- --!><a href=b>", ["b"]),
        ("<!-- <a href=b>", []),
        ("<!--[if mso]><v:roundrect href='b'><![endif]--><!--[if !mso]><!--><a href=c><!--<![endif]-->", ["b", "c"]),
        ("<!--[if gte mso 9]><!-- <a href=b> --><a href=c>", ["c"]),
        ("<!doctype html><?xml <a href=b>?><![CDATA[<a href=c>", []),
        ("</ <a href=b><a href=c>", ["c"]),
        # What never ends.
        ('<a href="b', []),
        ("<a href=b", []),
        ("<a", []),
        ("<a href=b><a href='c>", ["b"]),
        ("<style><a href=b>", []),
        ("<plaintext><a href=b>", []),
        # What is not to be tracked.
        ("<a clicktracking=off href=b><a data-track='off' href=c><a data-track=on href=d>", ["d"]),
    ],
)
def test_links_are_found_as_browsers_find_them(html: str, found: list[str]):
    assert hrefs(html) == found


@pytest.mark.parametrize(
    ("html", "rest"),
    [
        ("<body><p></body></html>", "</body></html>"),
        ("<body></body ><p></BODY\n></html>", "</BODY\n></html>"),
        ("<!--[if mso]></body><![endif]--><p>", ""),
        ("<p>", ""),
        ("", ""),
    ],
)
def test_the_end_of_the_body_is_found(html: str, rest: str):
    assert html[find_html_links(html).body_end :] == rest


@pytest.mark.parametrize(
    ("value", "decoded"),
    [
        ("https://a.example/?a=1&amp;b=2", "https://a.example/?a=1&b=2"),
        ("?a=1&copy=2&lt=3", "?a=1&copy=2&lt=3"),
        ("&copy", "©"),
        ("&notit;&unknown;&#x26;&#38;&#38", "&notit;&unknown;&&&"),
        ("?a&ampb", "?a&ampb"),
        ("&#xD800;&#0;", "\ufffd\ufffd"),
        ("&", "&"),
    ],
)
def test_character_references_are_those_of_attributes(value: str, decoded: str):
    assert decode_attribute(value) == decoded


HOSTILE = {
    "links": "<a href='https://e.example/x'>k</a>" * 28_000,
    "open tags": "<a " * 330_000,
    "comments": "<!--" * 250_000,
    "comments for Outlook": "<!--[if mso]>" * 77_000,
    "conditions": "<!--[if " * 125_000,
    "spaces": "<a" + " " * 1_000_000,
    "attributes": "<a" + " b" * 500_000 + ">",
    "end tags": "</" * 500_000,
    "styles": "<style>" * 140_000,
    "quotes": "<a =\"'" * 160_000,
    "values": "<a b=" * 200_000,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_megabyte_of_anything_is_read_once(kind: str):
    began = time.process_time()
    find_html_links(HOSTILE[kind])
    # A reader that starts again at each tag would take hours.
    assert time.process_time() - began < 20


PIECES = st.sampled_from(
    ["<a ", "href=", '"', "'", "https://a.example/", ">", "</a>", "<!--", "-->", "[if mso]>", "<![endif]", " ", "&amp;",
     "<style>", "</style>", "</body>", "é", "\n", "=", "/", "<", "x", "clicktracking=off", "<base href=", "srcset="]
)  # fmt: skip


@given(st.lists(PIECES, max_size=60).map("".join))
def test_everything_but_the_links_stays_byte_for_byte(html: str):
    spans = find_html_links(html).hrefs
    assert all(0 <= start <= end <= len(html) for start, end in spans)
    assert list(spans) == sorted(spans)
    assert track_html(html, MARKS, lambda value: value, "") == html
    changed = track_html(html, MARKS, lambda value: f"[{value}]", "")
    expected = html
    for start, end in reversed(spans):
        expected = f"{expected[:start]}[{html[start:end]}]{expected[end:]}"
    assert changed == expected
    whole = track_html(html, MARKS, None, "{pixel}")
    assert whole.replace("{pixel}", "", 1) == html
