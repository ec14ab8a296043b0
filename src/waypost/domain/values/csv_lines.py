"""Lines of CSV files that people open in a spreadsheet."""

from collections.abc import Sequence


def csv_line(cells: Sequence[str]) -> str:
    """Return a line of a CSV file; a cell that a spreadsheet would run as a formula begins with an apostrophe."""
    return ",".join(map(_safe_cell, cells)) + "\r\n"


def _safe_cell(text: str) -> str:
    # Phone numbers begin with a plus sign and are no formula.
    phone = text[:1] == "+" and text[1:].isascii() and text[1:].isdigit()
    if (text.lstrip()[:1] in ("=", "+", "-", "@") and not phone) or text[:1] in ("\t", "\r"):
        text = "'" + text
    if any(letter in text for letter in ',"\r\n;') or text != text.strip():
        return '"' + text.replace('"', '""') + '"'
    return text
