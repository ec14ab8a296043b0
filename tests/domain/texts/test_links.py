"""The links of a text: found, given their parameters, and replaced."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.domain.texts.links import MOST_LINKS, check_length, fill_marks, mark_links
from waypost.errors import Invalid

UTM = {"utm_source": "waypost", "utm_campaign": "Birth day"}


def test_links_get_their_parameters_and_are_replaced_in_place():
    text = "Look: https://a.example/x?utm_api=birthday&utm_tracking=newclicks, or (http://b.example#end)!"
    marked, urls = mark_links(text, "https://c.example/?utm_source=mine", UTM)
    assert urls == (
        "https://a.example/x?utm_api=birthday&utm_tracking=newclicks&utm_source=waypost&utm_campaign=Birth%20day",
        "http://b.example?utm_source=waypost&utm_campaign=Birth%20day#end",
        "https://c.example/?utm_source=mine&utm_campaign=Birth%20day",
    )
    assert fill_marks(marked, ["L1", "L2", "L3"]) == "Look: L1, or (L2)! L3"


def test_the_click_url_stands_where_the_text_has_it():
    marked, urls = mark_links("See https://a.example/x now", "https://a.example/x", {})
    assert (fill_marks(marked, ["L"]), urls) == ("See L now", ("https://a.example/x",))


def test_a_text_without_links_stays_as_it_is():
    assert mark_links("Happy birthday! 50% off", "", UTM) == ("Happy birthday! 50% off", ())


def test_links_that_cannot_be_sent():
    with pytest.raises(Invalid) as caught:
        mark_links("Hi", "https://user:secret@a.example", UTM)
    assert (caught.value.code, caught.value.extra) == ("invalid_url", {"field": "clickUrl"})
    with pytest.raises(Invalid) as caught:
        mark_links("https://a.example " * (MOST_LINKS + 1), "", {})
    assert caught.value.code == "too_many_links"
    with pytest.raises(Invalid) as caught:
        check_length("x" * 1601)
    assert caught.value.code == "text_too_long"


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=200))
def test_marks_are_filled_with_what_was_there(text):
    marked, urls = mark_links(text, "", {})
    assert fill_marks(marked, urls) == text
