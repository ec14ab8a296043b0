"""Filters for numbers: arithmetic, formatting, and the endings that depend on a number."""

import re
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import Any

from liquid.exceptions import FilterArgumentError
from liquid.undefined import is_undefined

from waypost.domain.templates.liquid.value_filters import as_text, whole_number

#: Numbers with more digits are returned unchanged, as in Django.
MOST_DIGITS = 200

_DIGITS = re.compile(r"-?(\d+)")


def add(value: Any, other: Any) -> Any:
    """Return the sum of two whole numbers, or two texts or lists joined; an empty text if neither is possible."""
    try:
        return int(value) + int(other)
    except (TypeError, ValueError, OverflowError):
        pass
    value, other = ("" if is_undefined(given) else given for given in (value, other))
    try:
        return value + other
    except TypeError:
        return ""


def floatformat(value: Any, form: Any = -1) -> str:
    """Return a number with `form` decimals; if negative, only when there are any. `g` groups thousands."""
    grouped = False
    if isinstance(form, str):
        stem = form.rstrip("gu")
        grouped = "g" in form[len(stem) :]
        form = stem or -1
    text = as_text(value)
    try:
        number = Decimal(text)
    except InvalidOperation:
        try:
            number = Decimal(str(float(value)))
        except (ValueError, InvalidOperation, TypeError, OverflowError):
            return ""
    try:
        places = int(form)
    except (TypeError, ValueError, OverflowError):
        raise FilterArgumentError(f"floatformat does not know {form!r}; write 2, -2 or '2g'", token=None) from None
    if not number.is_finite() or len(number.as_tuple().digits) + abs(int(number.as_tuple().exponent)) > MOST_DIGITS:
        return text
    if abs(places) > MOST_DIGITS:
        return text
    if number == int(number) and places <= 0:
        return _group(str(int(number))) if grouped else str(int(number))
    unit = Decimal(1).scaleb(-abs(places))
    rounded = number.quantize(unit, ROUND_HALF_UP, Context(prec=2 * MOST_DIGITS + abs(places)))
    shown = f"{rounded if rounded else abs(rounded):f}"
    return _group(shown) if grouped else shown


def intcomma(value: Any) -> str:
    """Return a number with commas between thousands."""
    return _group(as_text(value))


def _group(text: str) -> str:
    found = _DIGITS.match(text)
    if found is None or len(text) > 2 * MOST_DIGITS:
        return text
    digits = found[1]
    first = len(digits) % 3 or 3
    grouped = ",".join((digits[:first], *(digits[at : at + 3] for at in range(first, len(digits), 3))))
    return text[: found.start(1)] + grouped + text[found.end() :]


def divisibleby(value: Any, divisor: Any) -> bool:
    """Return whether a whole number is a multiple of another."""
    by = whole_number(divisor, "divisibleby")
    if by == 0:
        raise FilterArgumentError("divisibleby cannot divide by 0", token=None)
    return whole_number(value, "divisibleby") % by == 0


def pluralize(value: Any, endings: Any = "s") -> str:
    """Return the singular or plural ending: `s`, or both as in `y,ies`. A list counts its items."""
    words = as_text(endings)
    bits = (words if "," in words else "," + words).split(",")
    if len(bits) > 2:
        return ""
    try:
        one = float(value) == 1
    except ValueError:
        return ""
    except (TypeError, OverflowError):
        one = isinstance(value, list | dict) and len(value) == 1
        if not isinstance(value, list | dict):
            return ""
    return bits[0] if one else bits[1]


def times(value: Any, other: Any) -> Any:
    """Return the product of two numbers."""
    one, two = _number(value), _number(other)
    if isinstance(one, int) and isinstance(two, int):
        return one * two
    return float(Decimal(str(one)) * Decimal(str(two)))


def _number(value: Any) -> int | float:
    if isinstance(value, int | float):
        return value
    text = as_text(value).strip()
    try:
        return int(text) if re.fullmatch(r"[+-]?\d{1,300}", text) else float(text or "0")
    except ValueError:
        return 0
