"""Filters for texts: letters, words, parts and padding."""

import re
import unicodedata
from collections.abc import Callable
from typing import Any

from liquid.builtin.filters import string
from liquid.exceptions import FilterArgumentError
from liquid.undefined import is_undefined

from waypost.domain.templates.liquid.value_filters import as_text, whole_number

#: The largest width of padding, in characters.
WIDEST = 1_000

_ELLIPSIS = "…"
_APOSTROPHE = re.compile(r"([a-z])'([A-Z])")
_AFTER_DIGIT = re.compile(r"\d([A-Z])")


def upper(value: Any) -> str:
    """Return the text in upper case."""
    return as_text(value).upper()


def lower(value: Any) -> str:
    """Return the text in lower case."""
    return as_text(value).lower()


def capfirst(value: Any) -> str:
    """Return the text with its first letter in upper case."""
    text = as_text(value)
    return text[:1].upper() + text[1:]


def title(value: Any) -> str:
    """Return the text with each word capitalised; `3rd` and `don't` stay unchanged."""
    text = _APOSTROPHE.sub(lambda found: found[0].lower(), as_text(value).title())
    return _AFTER_DIGIT.sub(lambda found: found[0].lower(), text)


def cut(value: Any, part: Any) -> str:
    """Return the text with every occurrence of a part removed."""
    return as_text(value).replace(as_text(part), "")


def truncatechars(value: Any, length: Any) -> str:
    """Return at most `length` characters, the last of them `…` if the text was cut."""
    text, most = as_text(value), whole_number(length, "truncatechars")
    if most <= 0:
        return ""
    text = unicodedata.normalize("NFC", text)
    shown, end = 0, 0
    for position, character in enumerate(text):
        if unicodedata.combining(character):
            continue
        shown += 1
        if shown == most:
            end = position
        if shown > most:
            return text[:end] if text[:end].endswith(_ELLIPSIS) else text[:end] + _ELLIPSIS
    return text


def truncatewords(value: Any, count: Any = 15, end: Any = None) -> str:
    """Return at most `count` words, followed by ` …` or the given end if the text was cut."""
    most, words = whole_number(count, "truncatewords"), as_text(value).split()
    if most <= 0:
        return ""
    if len(words) <= most:
        return " ".join(words)
    return " ".join(words[:most]) + (f" {_ELLIPSIS}" if end is None else as_text(end))


def wordcount(value: Any) -> int:
    """Return the number of words."""
    return len(as_text(value).split())


def slugify(value: Any) -> str:
    """Return the text as a URL slug: lower-case ASCII letters, digits, `-` and `_`."""
    text = unicodedata.normalize("NFKD", as_text(value)).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", text.lower())).strip("-_")


def addslashes(value: Any) -> str:
    """Return the text with a backslash before every backslash and quote."""
    return as_text(value).replace("\\", "\\\\").replace('"', '\\"').replace("'", "\\'")


def padded(pad: Callable[[str, int], str]) -> Callable[..., str]:
    """Return the filter that pads a text to a width."""

    def work(value: Any, width: Any) -> str:
        return pad(as_text(value), min(whole_number(width, "a width"), WIDEST))

    return work


def slice_part(value: Any, start: Any, length: Any = None) -> Any:
    """Return a part of a text or list: by a quoted range such as `':2'` (Django), or by start and length (Liquid)."""
    if isinstance(start, str) and length is None:
        try:
            bounds = [int(part) if part.strip() else None for part in start.split(":")]
            return (value if isinstance(value, list) else as_text(value))[slice(*bounds)]
        except (ValueError, TypeError):
            raise FilterArgumentError(f"slice does not know {start[:40]!r}; write ':2' or '1:3'", token=None) from None
    value = [] if is_undefined(value) else value
    return string.slice_(
        as_text(value) if not isinstance(value, list) else value, start, 1 if length is None else length
    )


def replace(value: Any, part: Any, other: Any = "") -> str:
    """Return the text with every occurrence of a part replaced."""
    return as_text(value).replace(as_text(part), as_text(other))
