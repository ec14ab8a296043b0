"""Files are read row by row wherever they are cut, and what a column means follows from its name."""

import csv
import io
import re
from typing import Any

import phonenumbers
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from waypost.domain.audience.import_columns import read_column, read_columns
from waypost.domain.audience.import_files import (
    DELIMITERS,
    ROW_BYTES,
    FileRow,
    Layout,
    Stretch,
    find_delimiter,
    read_header,
    read_rows,
)
from waypost.domain.audience.import_rows import ImportedPerson, RejectedRow, RowReader
from waypost.domain.audience.lists import MemberAction, MemberState, move_member
from waypost.domain.values.contacts import normal_phone
from waypost.domain.values.csv_lines import csv_line
from waypost.errors import Invalid

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
TABLE = st.integers(1, 5).flatmap(lambda width: st.lists(st.lists(TEXT, min_size=width, max_size=width), max_size=8))


def read_all(content: bytes, layout: Layout, step: int) -> list[FileRow]:
    """Read a file in parts of this many bytes, as an import does."""
    rows: list[FileRow] = []
    position, number, size = 0, 0, step
    while position < len(content):
        final = position + size >= len(content)
        stretch = read_rows(content[position : position + size], layout, number, final=final)
        rows += stretch.rows
        if not stretch.consumed:
            assert not final
            size += step
            continue
        position, number, size = position + stretch.consumed, stretch.number, step
    return rows


@given(table=TABLE, delimiter=st.sampled_from(DELIMITERS), step=st.integers(1, 200), windows=st.booleans())
@example(table=[["a\nb", '"']], delimiter=",", step=1, windows=True)
def test_what_is_written_as_csv_is_read_wherever_the_file_is_cut(
    table: list[list[str]], delimiter: str, step: int, windows: bool
) -> None:
    text = io.StringIO(newline="")
    end = "\r\n" if windows else "\n"
    csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(table)
    rows = read_all(text.getvalue().encode(), Layout("csv", delimiter=delimiter), step)
    assert [row.cells for row in rows] == [cells for cells in table if any(cells)]
    assert not [row for row in rows if row.error]


@given(cells=st.lists(TEXT, min_size=1, max_size=5))
def test_what_is_exported_runs_in_no_spreadsheet_and_is_read_again(cells: list[str]) -> None:
    (read,) = csv.reader(io.StringIO(csv_line(["row", *cells]), newline=""))
    for written, cell in zip(read[1:], cells, strict=True):
        assert written.removeprefix("'") == cell.removeprefix("'")
        assert written.lstrip()[:1] not in ("=", "+", "-", "@") or re.fullmatch(r"\+[0-9]+", written)


def test_phone_numbers_are_exported_as_they_are() -> None:
    assert csv_line(["+12025550101", "+1+1", "+", "+²"]) == "+12025550101,'+1+1,'+,'+²\r\n"


@given(content=st.binary(max_size=300), step=st.integers(1, 100), kind=st.sampled_from(["csv", "ndjson"]))
@example(content=b'"' * 50, step=1, kind="csv")
@example(content=b'a,"\n' * 30, step=3, kind="csv")
def test_any_bytes_become_rows_or_errors(content: bytes, step: int, kind: str) -> None:
    whole = read_all(content, Layout(kind), max(len(content), 1))
    assert read_all(content, Layout(kind), step) == whole
    reader = RowReader(read_columns(["email", "b", "c"], None), None, {}, 1)
    for row in whole:
        assert isinstance(reader.read(row, 5), ImportedPerson | RejectedRow)


def test_a_row_without_an_end_is_noticed() -> None:
    stretch = read_rows(b"x" * (ROW_BYTES + 1), Layout("csv"), 0, final=False)
    assert stretch == Stretch([], 0, 0, too_long=True)


def test_an_open_quotation_mark_costs_its_line_only() -> None:
    content = b'a,b\nc,"d\n' + b"e,f\n" * (ROW_BYTES // 4)
    stretch = read_rows(content, Layout("csv"), 0, final=False)
    assert stretch.rows[1].error is not None
    assert stretch.rows[1].error.code == "unbalanced_quotes"
    assert stretch.consumed == len(content)
    assert len(stretch.rows) == 2 + ROW_BYTES // 4


@pytest.mark.parametrize(
    ("sample", "delimiter", "names"),
    [
        ("a,b\n1;2\n", ",", ["a", "b"]),
        ("a;b,c;d\n", ";", ["a", "b,c", "d"]),
        ('"a,x,y";b\n', ";", ["a,x,y", "b"]),
        ("a\tb\n", "\t", ["a", "b"]),
        ("a|b\n", "|", ["a", "b"]),
        ("alone\n", ",", ["alone"]),
        ("sep=;\na;b\n", ";", ["a", "b"]),
        ('"sep=|"\r\na|b\n', "|", ["a", "b"]),
        ("\n\na,b\n1,2\n", ",", ["a", "b"]),
    ],
)
def test_the_delimiter_is_found(sample: str, delimiter: str, names: list[str]) -> None:
    layout = Layout("csv")
    found, used = read_header(sample.encode(), layout)
    assert (found, layout.delimiter) == (names, delimiter)
    assert sample.encode()[used:] in (b"", b"1;2\n", b"1,2\n")
    assert find_delimiter(sample)[0] in DELIMITERS


@pytest.mark.parametrize(
    ("name", "target", "trait"),
    [
        ("E-Mail", "email", ""),
        ("email_address", "email", ""),
        ("Mobile Phone", "phone", ""),
        ("userId", "user_id", ""),
        ("First Name", "trait", "first_name"),
        ("Nachname", "trait", "last_name"),
        ("Postal code", "trait", "postal_code"),
        ("Shoe size", "trait", "Shoe size"),
        ("traits.plan", "trait", "plan"),
        ("id", "trait", "id"),
        ("", "", ""),
    ],
)
def test_columns_mean_what_their_names_say(name: str, target: str, trait: str) -> None:
    column = read_column(name, None)
    assert (column.target, column.trait) == (target, trait)


@pytest.mark.parametrize("target", ["mail", "traits.", "traits.a:date", "traits." + "x" * 201, "Email", ""])
def test_a_target_that_does_not_exist_is_refused(target: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_column("a", {"a": target})
    assert caught.value.code == "invalid_mapping"


@pytest.mark.parametrize(
    ("text", "mapping", "expected"),
    [
        ("42", None, 42),
        ("-1.50", None, -1.5),
        ("007", None, "007"),
        ("1e5", None, "1e5"),
        ("1234567890123456", None, "1234567890123456"),
        ("TRUE", None, True),
        ("yes", None, "yes"),
        ("yes", "traits.x:boolean", True),
        ("42", "traits.x:text", "42"),
        ("a", "traits.x:number", "invalid_number"),
        ("maybe", "traits.x:boolean", "invalid_boolean"),
        ('="0042"', None, "0042"),
        ("=1+1", None, "=1+1"),
        ("'=1+1", None, "=1+1"),
        ("x" * 10_001, None, "value_too_long"),
    ],
)
def test_values_are_read(text: str, mapping: str | None, expected: Any) -> None:
    given_map: dict[str, str | None] | None = {"x": mapping} if mapping else None
    reader = RowReader(read_columns(["email", "x"], given_map), given_map, {}, 1)
    found = reader.read(FileRow(2, ["a@example.com", text]), 5)
    if isinstance(found, RejectedRow):
        assert (found.error.code, found.error.column) == (expected, "x")
    else:
        assert found.entry.traits is not None
        assert found.entry.traits["x"] == expected
        assert type(found.entry.traits["x"]) is type(expected)


@pytest.mark.parametrize(
    ("state", "action", "double", "expected"),
    [
        (None, "add", False, "subscribed"),
        (None, "add", True, "pending"),
        (None, "import", True, "pending"),
        (None, "confirm", True, "subscribed"),
        (None, "leave", False, None),
        ("pending", "add", True, "pending"),
        ("pending", "import", True, "pending"),
        ("pending", "confirm", True, "subscribed"),
        ("pending", "leave", True, "unsubscribed"),
        ("pending", "add", False, "subscribed"),
        ("subscribed", "add", True, "subscribed"),
        ("subscribed", "import", True, "subscribed"),
        ("subscribed", "leave", True, "unsubscribed"),
        ("unsubscribed", "add", False, "subscribed"),
        ("unsubscribed", "add", True, "pending"),
        ("unsubscribed", "import", False, "unsubscribed"),
        ("unsubscribed", "confirm", True, "subscribed"),
        ("unsubscribed", "leave", True, "unsubscribed"),
    ],
)
def test_members_move(state: str | None, action: str, double: bool, expected: str | None) -> None:
    before = None if state is None else MemberState(state)
    assert move_member(before, MemberAction(action), double_opt_in=double) == expected


REGIONS = st.sampled_from(sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE))


def said_by_library(text: str) -> str | None:
    try:
        number = phonenumbers.parse(text, None)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


@given(code=REGIONS, digits=st.text("0123456789", min_size=1, max_size=16), spaced=st.booleans())
@example(code=44, digits="02079460958", spaced=False)
@example(code=39, digits="0612345678", spaced=False)
@example(code=1, digits="12025550101", spaced=True)
@example(code=7, digits="89161234567", spaced=False)
@example(code=52, digits="15512345678", spaced=False)
@example(code=54, digits="91123456789", spaced=False)
@example(code=800, digits="12345678", spaced=False)
def test_a_phone_number_is_what_the_library_says(code: int, digits: str, spaced: bool) -> None:
    text = f"+{code}{' ' if spaced else ''}{digits}"
    assert normal_phone(text) == said_by_library(text)


@given(code=REGIONS, several=st.lists(st.text("0123456789", min_size=5, max_size=14), min_size=2, max_size=20))
def test_a_phone_number_does_not_depend_on_those_before_it(code: int, several: list[str]) -> None:
    texts = [f"+{code}{digits}" for digits in several] + [f"+{code}{several[0][:-1]}{n}" for n in range(10)]
    assert [normal_phone(text) for text in texts] == [said_by_library(text) for text in texts]


def test_an_example_of_every_country_is_a_phone_number() -> None:
    for region in phonenumbers.SUPPORTED_REGIONS:
        example = phonenumbers.example_number(region)
        assert example is not None
        text = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
        assert normal_phone(text) == text == said_by_library(text)
