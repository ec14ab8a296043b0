"""Filters for the ids of Waypost."""

from typing import Any

from liquid.undefined import is_undefined


def numeric_id(value: Any) -> str:
    """Return the number of an id such as `cmp_00061c7f3a2b1c04` in decimal digits; a whole number as text.

    Return an empty text for any other value, and for one that is undefined.
    """
    if isinstance(value, bool) or is_undefined(value):
        return ""
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str):
        return ""
    prefix, _, digits = value.partition("_")
    if not prefix.isalpha() or len(digits) != 16 or not _HEX.issuperset(digits):
        return ""
    return str(int(digits, 16))


_HEX = frozenset("0123456789abcdef")
