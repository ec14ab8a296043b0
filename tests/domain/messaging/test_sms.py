"""The encoding, the units and the parts of an SMS."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.domain.messaging.sms import BASIC, EXTENDED, GSM7, ROOM, UCS2, encoding_of, measure, split

gsm = st.text(st.sampled_from(sorted(BASIC | EXTENDED)), max_size=700)
anything = st.text(max_size=400) | gsm


def units(text: str) -> int:
    if encoding_of(text) == GSM7:
        return sum(2 if character in EXTENDED else 1 for character in text)
    return len(text.encode("utf-16-be", "surrogatepass")) // 2


def test_the_alphabet_has_as_many_characters_as_the_standard_says():
    assert (len(BASIC), len(EXTENDED)) == (127, 10)
    assert not BASIC & EXTENDED


@pytest.mark.parametrize(
    ("text", "encoding", "characters", "taken", "parts"),
    [
        ("", GSM7, 0, 0, 1),
        ("a" * 160, GSM7, 160, 160, 1),
        ("a" * 161, GSM7, 161, 161, 2),
        ("a" * 306, GSM7, 306, 306, 2),
        ("a" * 307, GSM7, 307, 307, 3),
        ("€" * 80, GSM7, 80, 160, 1),
        ("€" * 81, GSM7, 81, 162, 2),
        ("é" * 160, GSM7, 160, 160, 1),
        ("ê" * 70, UCS2, 70, 70, 1),
        ("ê" * 71, UCS2, 71, 71, 2),
        ("ê" * 134, UCS2, 134, 134, 2),
        ("ê" * 135, UCS2, 135, 135, 3),
        ("😀" * 35, UCS2, 35, 70, 1),
        ("😀" * 36, UCS2, 36, 72, 2),
        ("a" * 159 + "…", UCS2, 160, 160, 3),
        ("\t", UCS2, 1, 1, 1),
        ("\f\n\r", GSM7, 3, 4, 1),
    ],
)
def test_known_lengths(text, encoding, characters, taken, parts):
    found = measure(text)
    assert (found.encoding, found.characters, found.units, found.parts) == (encoding, characters, taken, parts)


def test_the_two_septets_of_a_character_stay_together():
    # 152 septets, then an escape that would be the last septet of the first part.
    assert [len(part) for part in split("a" * 152 + "€" + "b" * 20)] == [152, 21]


def test_the_two_units_of_a_character_stay_together():
    assert [len(part) for part in split("ê" * 66 + "😀" + "b" * 20)] == [66, 21]


def test_what_forces_the_wider_encoding_is_named_once():
    found = measure("“Hi” — it\u2019s “you” {ok} €")
    assert found.forcing == ["“", "”", "—", "\u2019"]
    assert measure("plain @ € {}").forcing == []


@given(anything)
def test_parts_are_the_text_and_each_fits(text):
    parts = split(text)
    found = measure(text)
    assert "".join(parts) == text
    assert sum(found.per_part) == found.characters == len(text)
    assert found.units == units(text)
    alone, each = ROOM[found.encoding]
    room = alone if len(parts) == 1 else each
    assert found.units_per_part == room
    if found.encoding == GSM7:
        assert all(units(part) <= room for part in parts)
    else:
        assert all(len(part.encode("utf-16-be", "surrogatepass")) // 2 <= room for part in parts)


@given(anything)
def test_no_part_could_hold_more(text):
    parts = split(text)
    encoding = encoding_of(text)
    for part, following in pairwise(parts):
        longer = part + following[0]
        taken = units(longer) if encoding == GSM7 else len(longer.encode("utf-16-be", "surrogatepass")) // 2
        assert taken > ROOM[encoding][1]
    assert (len(parts) == 1) == (measure(text).units <= ROOM[encoding][0])
