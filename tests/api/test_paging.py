"""Cursors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.api.paging import NEWEST, before, cursor, page, position
from waypost.errors import Invalid

parts = st.integers(0, NEWEST) | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


@given(st.lists(parts, min_size=1, max_size=3))
def test_a_cursor_comes_back_as_the_key_it_was_made_of(key):
    start = [type(part)() for part in key]
    assert position("list", cursor("list", *key), *start) == tuple(key)


@given(st.text(max_size=60))
def test_no_made_up_cursor_is_taken(text):
    with pytest.raises(Invalid, match="next"):
        position("list", text, 0)


@pytest.mark.parametrize("key", [(-1,), ("a",), (1, 2), (1 << 63,), ()])
def test_a_cursor_with_another_key_is_refused(key):
    with pytest.raises(Invalid):
        position("list", cursor("list", *key), 0)


def test_a_cursor_with_a_zero_character_is_refused():
    with pytest.raises(Invalid):
        position("list", cursor("list", "a\0b"), "")


def test_a_list_starts_with_the_newest():
    assert before("list", None) == NEWEST


@given(st.lists(st.integers(0, NEWEST - 1), unique=True, max_size=20), st.integers(1, 5))
def test_pages_show_everything_once(ids, limit):
    ids.sort(reverse=True)
    seen: list[int] = []
    after: str | None = None
    for _ in range(len(ids) + 1):
        first = before("list", after)
        rows = [id_ for id_ in ids if id_ < first][: limit + 1]
        found = page("list", rows, limit, int, int)
        seen += found.data
        after = found.next
        if after is None:
            break
    assert seen == ids
