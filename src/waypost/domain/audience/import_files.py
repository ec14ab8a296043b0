"""Read files of people: their format, and their rows from a part of the file, each with its number or its error.

Nothing here holds more than a part of a file: a row has at most ROW_BYTES.
"""

import csv
from typing import Any

import msgspec

from waypost.errors import Invalid

#: The most bytes of one row.
ROW_BYTES = 256 * 1024
#: The most rows with a quotation mark that is never closed. Each of them costs as much as ROW_BYTES of other rows.
MOST_UNBALANCED = 100
DELIMITERS = (",", ";", "\t", "|")
#: The start of a file by which its format is found out.
SAMPLE_BYTES = 64 * 1024
#: The longest that cells of a rejected row are kept, in characters.
LONGEST_CELL = 200
MOST_CELLS = 50

_object = msgspec.json.Decoder(dict[str, Any])


class Layout(msgspec.Struct):
    """The format of a file as it is stored."""

    format: str
    encoding: str = "utf-8"
    delimiter: str = ","


class RowError(msgspec.Struct):
    """Why a row is rejected."""

    code: str
    detail: str
    column: str | None = None


class FileRow(msgspec.Struct, gc=False):
    """A row of a file: its cells, or its object in NDJSON, or its error."""

    number: int
    cells: list[Any]
    error: RowError | None = None


class Stretch(msgspec.Struct):
    """What was read from a part of a file."""

    rows: list[FileRow]
    #: How many bytes of the part these rows are.
    consumed: int
    #: The number of the last row, empty ones included.
    number: int
    #: Rows with a quotation mark that is never closed.
    unbalanced: int = 0
    #: Whether a row has more than ROW_BYTES: then the rest of the file cannot be read.
    too_long: bool = False


def find_delimiter(sample: str) -> tuple[str, str]:
    """Return the delimiter of a file with this start, and the start without a line such as `sep=;`."""
    first, _, rest = sample.partition("\n")
    line = first.strip().strip('"')
    if line.lower().startswith("sep=") and len(line) == 5:
        return line[4], rest
    # In the row of names, outside of quotation marks.
    outside = "".join(part for number, part in enumerate(first.split('"')) if number % 2 == 0)
    counts = {delimiter: outside.count(delimiter) for delimiter in DELIMITERS}
    best = max(DELIMITERS, key=lambda delimiter: counts[delimiter])
    return (best if counts[best] else ","), sample


def read_header(sample: bytes, layout: Layout) -> tuple[list[str], int]:
    """Return the names of the columns of a CSV file and how many bytes they take; find the delimiter.

    `sample` is the start of the file. Raise Invalid if it has no row of names.
    """
    text = sample.decode(layout.encoding, "surrogateescape")
    layout.delimiter, rest = find_delimiter(text)
    skipped = len(text) - len(rest)
    lines = [line + "\n" for line in rest.split("\n")]
    reader = csv.reader(lines, delimiter=layout.delimiter, strict=True)
    try:
        for names in reader:
            if any(name.strip() for name in names):
                used = sum(map(len, lines[: reader.line_num])) + skipped
                return names, min(len(text[:used].encode(layout.encoding, "surrogateescape")), len(sample))
    except csv.Error as error:
        raise Invalid(f"The names of the columns cannot be read: {error}.", code="invalid_header") from error
    raise Invalid("The file is empty: its first row must have the names of the columns.", code="empty_file")


def read_rows(part: bytes, layout: Layout, number: int, *, final: bool) -> Stretch:
    """Return the complete rows at the start of a part of a file; `number` is that of the row before it.

    `final` says that the file ends with this part.
    """
    text = part.decode(layout.encoding, "surrogateescape")
    lines = [line + "\n" for line in text.split("\n")]
    tail = lines.pop()[:-1]
    if tail and final:
        lines.append(tail)
        tail = ""
    if layout.format == "ndjson":
        rows = [_read_object(line, number + index) for index, line in enumerate(lines, 1)]
        size = len(part) - len(tail.encode(layout.encoding, "surrogateescape"))
        found = [row for row in rows if row is not None]
        return Stretch(found, size, number + len(lines), too_long=len(tail) > ROW_BYTES)
    stretch = Stretch([], 0, number, too_long=len(tail) > ROW_BYTES)
    rest = len(tail.encode(layout.encoding, "surrogateescape"))
    used = _read_cells(lines, layout, stretch, ROW_BYTES if final else ROW_BYTES - rest, final=final)
    left = "".join(lines[used:]) + tail
    stretch.consumed = len(part) - len(left.encode(layout.encoding, "surrogateescape"))
    return stretch


def _read_cells(lines: list[str], layout: Layout, stretch: Stretch, most: int, *, final: bool) -> int:
    """Append the rows of these lines to a stretch; return how many lines they are.

    An incomplete row of up to `most` bytes is left for the next part.
    """
    used = 0
    rows = stretch.rows
    while used < len(lines):
        reader = csv.reader(lines[used:] if used else lines, delimiter=layout.delimiter, strict=True)
        start, before = used, 0
        try:
            for cells in reader:
                stretch.number += 1
                before = reader.line_num
                # Several empty cells are a row too: of a spreadsheet, below the last one with contents.
                if cells and any(cells):
                    rows.append(FileRow(stretch.number, cells))
            return len(lines)
        except csv.Error as error:
            used = start + before
            span = reader.line_num - before
            ended = start + reader.line_num >= len(lines) and "unexpected end" in str(error)
            size = len("".join(lines[used:]).encode(layout.encoding, "surrogateescape")) if ended else 0
            if ended and not final and size <= most:
                # The rest of the row is in the next part.
                return used
            # Of a row over several lines, only the first one is wrong: a quotation mark in it is never closed.
            stretch.number += 1
            several = span > 1 or ended
            stretch.unbalanced += several
            rows.append(FileRow(stretch.number, [lines[used].rstrip("\r\n")], _explain(error, several=several)))
            used += 1
            if stretch.unbalanced > MOST_UNBALANCED:
                return used
    return used


def _explain(error: csv.Error, *, several: bool) -> RowError:
    if several:
        return RowError("unbalanced_quotes", "A quotation mark in this row is never closed.")
    reason = str(error)
    if "field larger" in reason:
        return RowError("field_too_long", f"A field has more than {csv.field_size_limit()} characters.")
    if "new-line" in reason:
        return RowError("stray_line_end", "A carriage return stands outside of quotation marks.")
    return RowError(
        "invalid_quotes", f"The quotation marks are not those of CSV ({reason}). Double one inside a field."
    )


def _read_object(line: str, number: int) -> FileRow | None:
    if not line.strip():
        return None
    try:
        return FileRow(number, [_object.decode(line.encode("utf-8"))])
    except UnicodeEncodeError:
        return FileRow(number, [line], RowError("invalid_encoding", "The row has bytes that are not UTF-8."))
    except (msgspec.DecodeError, RecursionError) as error:
        return FileRow(number, [line.rstrip()], RowError("invalid_json", f"The row is not a JSON object: {error}."))


def shorten_cells(cells: list[Any]) -> list[str]:
    """Return the cells of a rejected row as they are kept: as text, shortened, and without what cannot be stored."""
    texts = (cell if isinstance(cell, str) else msgspec.json.encode(cell).decode() for cell in cells[:MOST_CELLS])
    return [clean_text(text[:LONGEST_CELL]) for text in texts]


def clean_text(text: str) -> str:
    """Return a text without what a database cannot store: with U+FFFD for U+0000, and ? for bytes that are no text."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd") if not text.isprintable() else text
