"""Check that JSON has only numbers that a 64-bit integer or an IEEE double can represent."""

import math
import re

from waypost.errors import Invalid

SMALLEST, LARGEST = -(1 << 63), (1 << 64) - 1

#: Maps every digit to 0 and E to e, so that two searches for a fixed text find the candidates.
_SHAPE = bytes.maketrans(b"123456789E", b"000000000e")
_LONG, _EXPONENT = b"0" * 19, b"0e000"
#: What may precede a number inside an object or array; b"" is the start of the text.
_BEFORE_NUMBER = frozenset((b"", b":", b",", b"[", b" ", b"\t", b"\r", b"\n"))
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NUMBER = re.compile(rb"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def check_numbers(body: bytes, code: str = "invalid_event") -> None:
    """Raise Invalid if valid JSON contains an integer outside -2^63 to 2^64-1 or a number larger than a double.

    Fractions with many digits pass: a reader rounds them to the nearest double.
    """
    shape = body.translate(_SHAPE, b"+")
    if _LONG not in shape and not (_EXPONENT in shape and _has_large_exponent(shape)):
        return
    for found in _NUMBER.finditer(_STRING.sub(b"", body)):
        text = found[0]
        if found[1] is None and found[2] is None:
            if len(text) > 20 or not SMALLEST <= int(text) <= LARGEST:
                raise Invalid(f"The integer {_shorten(text)} does not fit in 64 bits. Send it as a string.", code=code)
        elif not math.isfinite(float(text)):
            raise Invalid(f"The number {_shorten(text)} is larger than an IEEE double. Send it as a string.", code=code)


def _has_large_exponent(shape: bytes) -> bool:
    """Return whether a number has a large exponent, as opposed to hex digits in a string, as in many UUIDs."""
    at = shape.find(_EXPONENT)
    while at >= 0:
        # A mantissa longer than the window has so many digits in a row that _LONG found it already.
        if shape[max(at - 40, 0) : at + 1].rstrip(b"0.").rstrip(b"-")[-1:] in _BEFORE_NUMBER:
            return True
        at = shape.find(_EXPONENT, at + 1)
    return False


def _shorten(text: bytes) -> str:
    return text.decode() if len(text) <= 24 else f"{text[:20].decode()}… ({len(text)} characters)"
