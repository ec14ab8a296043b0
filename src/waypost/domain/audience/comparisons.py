"""Comparisons of values: the tests on traits, identifiers and properties of events, and exactly when each holds.

A value is what JSON has: text, number, boolean, list, object. A missing value and null are the same, and no comparison
holds for them; `is_not` is the negation of `is`, so it holds for a missing value.

- Text is compared after `fold`: normalised to NFC, without regard to case in the Latin, Greek, Cyrillic and Armenian
  scripts. The character U+0000 counts as U+FFFD.
- Numbers are compared as IEEE doubles. Text that is a plain decimal such as "42" or "-0.5" counts as a number.
- Times are text in ISO 8601 (see `instant`); without a zone they are in UTC.

The database compares by the same rules (`storage/condition_values.py`); tests compare the two.
"""

import operator as operators
import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from waypost.clock import HOUR, MINUTE, SECOND
from waypost.domain.values.durations import LONGEST, duration_of
from waypost.errors import Invalid

#: The letters whose case does not matter: blocks in which every version of Unicode agrees.
_BLOCKS = (range(0x41, 0x58F), range(0x1E00, 0x2000), range(0xFF21, 0xFF3B))


def _small(letter: str) -> str:
    folded = letter.casefold()
    return folded if len(folded) == 1 else letter.lower() if len(letter.lower()) == 1 else letter


#: By code point of a letter: its small form.
SMALL_LETTERS = {code: small for block in _BLOCKS for code in block if (small := _small(chr(code))) != chr(code)}
#: Text that counts as a number; at most so long that every digit counts.
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")
_INSTANT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[T ]([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9])(?:\.([0-9]{1,6}))?)?"
    r"(?:(Z)|([+-])(0[0-9]|1[0-4]):([0-5][0-9]))?)?"
)
_RELATIVE = re.compile(r"([0-9]{1,6}[smhdw])(?: (ago|ahead))?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
#: The most characters of a duration: six digits and a unit.
MOST_DURATION = 7
#: The most characters of a text in a condition, and the most values of `in`.
LONGEST_TEXT, MOST_VALUES = 1024, 500

NUMERIC = ("gt", "gte", "lt", "lte")
DATED = ("before", "after")
_ORDERED: dict[str, Callable[[float, float], bool]] = {
    "gt": operators.gt,
    "gte": operators.ge,
    "lt": operators.lt,
    "lte": operators.le,
}
OPERATORS = ("is", "is_not", "in", "contains", "starts_with", *NUMERIC, "exists", *DATED)

#: A value that a text, number or boolean is compared with; text is folded.
Scalar = str | float | bool


class RelativeTime(msgspec.Struct, frozen=True):
    """A time that moves with the present: so many microseconds after it, or before it if negative."""

    offset: int


class Comparison(msgspec.Struct, frozen=True):
    """One test of a value."""

    operator: str
    #: Text is folded; times are microseconds since 1970 or a RelativeTime; `exists` has a boolean, `in` a tuple.
    operand: Any


def fold(text: str) -> str:
    """Return a text as it is compared."""
    if text.isascii():
        return text.lower().replace("\0", "\ufffd")
    return unicodedata.normalize("NFC", text.replace("\0", "\ufffd")).translate(SMALL_LETTERS)


def number(value: Any) -> float | None:
    """Return the number that a value counts as, or None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value)
    return None


def instant(value: Any) -> int | None:
    """Return the time in microseconds since 1970 that a text says, or None.

    It is a date such as 2026-03-14, at midnight in UTC, or one with a time: 2026-03-14T09:26, with seconds and up to
    six decimals, and with Z or an offset such as +02:00.
    """
    found = _INSTANT.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return None
    year, month, day, hour, minute, second, decimals, _, sign, off_hours, off_minutes = found.groups()
    try:
        at = datetime(int(year), int(month), int(day), tzinfo=UTC)
    except ValueError:
        return None
    micros = (at - _EPOCH) // _MICROSECOND
    micros += int(hour or 0) * HOUR + int(minute or 0) * MINUTE + int(second or 0) * SECOND
    micros += int((decimals or "").ljust(6, "0"))
    offset = int(off_hours or 0) * HOUR + int(off_minutes or 0) * MINUTE
    return micros + offset if sign == "-" else micros - offset


def read_duration(value: Any) -> int | None:
    """Return the microseconds of a duration such as `30d`, or None if it is not one."""
    micros = duration_of(value) if isinstance(value, str) and len(value) <= MOST_DURATION else None
    return micros if micros is not None and 0 < micros <= LONGEST else None


def invalid(path: str, problem: str, *, code: str | None = None) -> Invalid:
    """Return the error for a part of a condition, which names the part."""
    # The text may contain lone surrogates, which a response cannot encode.
    shown = path.encode("utf-8", "replace").decode("utf-8")
    if code is not None:
        return Invalid(f"{shown}: {problem}", code=code, path=shown)
    return Invalid(f"{shown}: {problem}", code="invalid_condition", path=shown)


def read_comparison(operator: str, operand: Any, path: str) -> Comparison:
    """Return a comparison of a condition; raise Invalid if the operand does not fit the operator."""
    if operator in ("is", "is_not"):
        return Comparison(operator, _scalar(operand, path))
    if operator == "in":
        if not isinstance(operand, list) or not 1 <= len(operand) <= MOST_VALUES:
            raise invalid(path, f"`in` needs a list of 1 to {MOST_VALUES} values.")
        return Comparison(operator, tuple(_scalar(one, f"{path}[{index}]") for index, one in enumerate(operand)))
    if operator == "contains":
        return Comparison(operator, _scalar(operand, path))
    if operator == "starts_with":
        if not isinstance(operand, str):
            raise invalid(path, "`starts_with` needs a text.")
        return Comparison(operator, _scalar(operand, path))
    if operator == "exists":
        if not isinstance(operand, bool):
            raise invalid(path, "`exists` needs true or false.")
        return Comparison(operator, operand)
    if operator in NUMERIC:
        found = number(operand)
        if found is None:
            raise invalid(path, f"`{operator}` needs a number; times are compared with `before` and `after`.")
        return Comparison(operator, found)
    if operator in DATED:
        return Comparison(operator, _time(operand, path))
    raise invalid(path, f"unknown operator {operator[:80]!r}; allowed are {', '.join(OPERATORS)}.")


def _scalar(value: Any, path: str) -> Scalar:
    if isinstance(value, str):
        if len(value) > LONGEST_TEXT:
            raise invalid(path, f"a text longer than {LONGEST_TEXT} characters.")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise invalid(path, "the text contains half a surrogate pair.") from None
        return fold(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            raise invalid(path, "a number that does not fit in an IEEE double.") from None
    raise invalid(path, "a value must be a text, a number, true or false; use `exists` to ask for missing values.")


def _time(value: Any, path: str) -> int | RelativeTime:
    found = _RELATIVE.fullmatch(value) if isinstance(value, str) else None
    if found is not None and (duration := read_duration(found[1])) is not None:
        return RelativeTime(duration if found[2] == "ahead" else -duration)
    at = instant(value)
    if at is None:
        raise invalid(
            path,
            "a time must be like 2026-03-14, 2026-03-14T09:26:00Z, `30d ago` or `7d ahead` (units: s, m, h, d, w).",
        )
    return at


def bound(operand: int | RelativeTime, now: int) -> int:
    """Return the time that a value is compared with."""
    return now + operand.offset if isinstance(operand, RelativeTime) else operand


def holds(comparison: Comparison, value: Any, now: int) -> bool:
    """Return whether a comparison holds for a value; None is a missing value."""
    operator, operand = comparison.operator, comparison.operand
    if operator == "exists":
        return bool((value is not None) == operand)
    if operator == "is_not":
        return not _equal(operand, value)
    if value is None:
        return False
    if operator == "is":
        return _equal(operand, value)
    if operator == "in":
        return any(_equal(one, value) for one in operand)
    if operator == "contains":
        if isinstance(value, list):
            return any(_equal(operand, one) for one in value)
        return isinstance(value, str) and isinstance(operand, str) and operand in fold(value)
    if operator == "starts_with":
        return isinstance(value, str) and fold(value).startswith(operand)
    if operator in DATED:
        at = instant(value)
        if at is None:
            return False
        limit = bound(operand, now)
        return at < limit if operator == "before" else at > limit
    found = number(value)
    return found is not None and _ORDERED[operator](found, operand)


def _equal(operand: Scalar, value: Any) -> bool:
    if isinstance(operand, bool):
        return value is operand
    if isinstance(operand, str):
        return isinstance(value, str) and fold(value) == operand
    return number(value) == operand


def next_change(comparison: Comparison, value: Any, now: int) -> int | None:
    """Return the first time after `now` at which the comparison may hold or fail only because time passes."""
    if not isinstance(comparison.operand, RelativeTime) or (at := instant(value)) is None:
        return None
    turns = at - comparison.operand.offset + (comparison.operator == "before")
    return turns if turns > now else None
