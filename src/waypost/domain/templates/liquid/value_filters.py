"""Filters for values of any kind: defaults, look-ups and JSON; and how filters read values."""

from collections.abc import Mapping
from typing import Any

import msgspec
from liquid.exceptions import FilterArgumentError
from liquid.filter import with_context
from liquid.undefined import Undefined, is_undefined

_encode = msgspec.json.Encoder(enc_hook=str, order="deterministic").encode


def as_text(value: Any) -> str:
    """Return a value as Liquid writes it: empty for null, `true` and `false`."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def whole_number(value: Any, what: str) -> int:
    """Return a value as a whole number. Raise FilterArgumentError, with the name of the filter, if it is none."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise FilterArgumentError(f"{what} needs a whole number", token=None) from None


def default(value: Any, fallback: Any, *, allow_false: Any = False) -> Any:
    """Return the fallback for an undefined, null, false, zero or empty value; with `allow_false`, false is kept."""
    if allow_false is True and value is False:
        return value
    return fallback if is_undefined(value) or not value else value


def default_if_none(value: Any, fallback: Any) -> Any:
    """Return the fallback for null only."""
    return fallback if value is None else value


def yesno(value: Any, words: Any = "yes,no,maybe") -> Any:
    """Return one of two or three words, for true, false and null."""
    bits = as_text(words).split(",")
    if len(bits) < 2:
        return value
    if value is None:
        return bits[2] if len(bits) == 3 else bits[1]
    return bits[0] if value and not is_undefined(value) else bits[1]


@with_context
def lookup(value: Any, key: Any, *, context: Any) -> Any:
    """Return the member of this name, for names that a path cannot contain."""
    if isinstance(value, Mapping) and not is_undefined(value) and isinstance(key, str) and key in value:
        return value[key]
    if isinstance(value, list) and isinstance(key, int) and 0 <= key < len(value):
        return value[key]
    return context.missing_member(value, key)


def as_json(value: Any) -> str:
    """Return the value as JSON."""
    try:
        return _encode(None if isinstance(value, Undefined) else value).decode()
    except (TypeError, ValueError, UnicodeError) as error:
        raise FilterArgumentError(f"json: {error}", token=None) from error
