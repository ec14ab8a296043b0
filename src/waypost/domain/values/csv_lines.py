"""Lines of CSV files that people open in a spreadsheet."""

from collections.abc import Sequence


def csv_line(cells: Sequence[str]) -> str:
    """Return a line of a CSV file; a cell that a spreadsheet would run as a formula begins with an apostrophe."""
    return ",".join(map(_safe_cell, cells)) + "\r\n"


def _safe_cell(text: str) -> str:
    if text.lstrip()[:1] in ("=", "+", "-", "@") or text[:1] in ("\t", "\r"):
        text = "'" + text
    if any(letter in text for letter in ',"\r\n;') or text != text.strip():
        return '"' + text.replace('"', '""') + '"'
    return text
