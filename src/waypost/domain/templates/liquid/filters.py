"""Filters of templates: those of Klaviyo and Django, and those of Liquid that need a limit.

Results follow the documentation of the built-in filters of Django and of `humanize`, except that null, true and false
are written as in Liquid. A filter that needs the current time or the mode of the template takes the context.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import Any
from urllib.parse import quote

import msgspec
from liquid.builtin.filters import array, string
from liquid.exceptions import FilterArgumentError, ResourceLimitError
from liquid.filter import with_context, with_environment
from liquid.undefined import Undefined, is_undefined
from markupsafe import Markup, escape

from waypost.domain.templates.liquid.dates import format_moment, read_moment

#: The most characters of a text, and the most items of a list, that a filter may return.
LONGEST_TEXT = 1_000_000
MOST_ITEMS = 20_000
#: The most items of a list for filters that compare every pair.
MOST_COMPARED = 300
#: The largest width of padding, in characters.
WIDEST = 1_000
#: Numbers with more digits are returned unchanged, as in Django.
MOST_DIGITS = 200

_ELLIPSIS = "…"
_APOSTROPHE = re.compile(r"([a-z])'([A-Z])")
_AFTER_DIGIT = re.compile(r"\d([A-Z])")
_THOUSANDS = re.compile(r"^(-?\d+)(\d{3})")
_NEWLINES = re.compile(r"\r\n|\r|\n")
_TAGS = re.compile(r"<!--.*?(?:--!?>|\Z)|</?[a-zA-Z][^<>]*>|<![^<>]*>", re.DOTALL)
_CODE = re.compile(r"<(script|style)\b.*?(?:</\1\s*>|\Z)", re.DOTALL | re.IGNORECASE)
_encode = msgspec.json.Encoder(enc_hook=str, order="deterministic").encode

Filter = Callable[..., Any]


def as_text(value: Any) -> str:
    """Return a value as Liquid writes it: empty for null, `true` and `false`."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def too_long() -> ResourceLimitError:
    """Return the error of a filter whose result is too large."""
    return ResourceLimitError(
        f"a filter would return more than {LONGEST_TEXT} characters or {MOST_ITEMS} items", token=None
    )


def _whole(value: Any, what: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise FilterArgumentError(f"{what} needs a whole number", token=None) from None


# --- defaults ---


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


# --- words and letters ---


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
    text, most = as_text(value), _whole(length, "truncatechars")
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
    most, words = _whole(count, "truncatewords"), as_text(value).split()
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


def _padded(pad: Callable[[str, int], str]) -> Filter:
    def work(value: Any, width: Any) -> str:
        return pad(as_text(value), min(_whole(width, "a width"), WIDEST))

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
    text, part, other = as_text(value), as_text(part), as_text(other)
    times = text.count(part)
    if len(text) + times * max(len(other) - len(part), 0) > LONGEST_TEXT:
        raise too_long()
    return text.replace(part, other)


# --- numbers ---


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
    if len(text) > 2 * MOST_DIGITS:
        return text
    grouped = _THOUSANDS.sub(r"\g<1>,\g<2>", text)
    return text if grouped == text else _group(grouped)


def divisibleby(value: Any, divisor: Any) -> bool:
    """Return whether a whole number is a multiple of another."""
    by = _whole(divisor, "divisibleby")
    if by == 0:
        raise FilterArgumentError("divisibleby cannot divide by 0", token=None)
    return _whole(value, "divisibleby") % by == 0


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


# --- lists ---


def length(value: Any) -> int:
    """Return the number of characters or items."""
    return len(value) if isinstance(value, str | list | dict | range) else 0


@with_environment
def join(value: Any, separator: Any = " ", *, environment: Any) -> str:
    """Return the items of a list joined to one text."""
    between = as_text(separator)
    items = list(value) if isinstance(value, list | tuple | range) else [] if is_undefined(value) else [value]
    texts = [as_text(item) for item in items]
    if sum(map(len, texts)) + len(texts) * len(between) > LONGEST_TEXT:
        raise too_long()
    if environment.autoescape:
        # The separator is part of the template; the items are data and are escaped.
        return escape(between).join(texts)
    return between.join(texts)


def uniq(value: Any, key: Any = None) -> Any:
    """Return the list without repeats; it compares every pair of items, and so accepts short lists only."""
    if isinstance(value, list) and len(value) > MOST_COMPARED:
        raise ResourceLimitError(f"uniq takes lists of at most {MOST_COMPARED} items", token=None)
    return array.uniq(value, key)


# --- dates ---


@with_context
def date(value: Any, form: Any = "N j, Y", *, context: Any) -> Any:
    """Format a time by Django letters, or by strftime codes if the format has `%`; return other values unchanged."""
    at = read_moment(value, context.now)
    if at is None:
        return "" if value is None or is_undefined(value) else value
    try:
        return format_moment(at, as_text(form))
    except (ValueError, OverflowError) as error:
        raise FilterArgumentError(str(error), token=None) from error


@with_context
def time(value: Any, form: Any = "P", *, context: Any) -> Any:
    """Format the time of day, as `date` does."""
    return date(value, form, context=context)


@with_context
def format_date_string(value: Any, *, context: Any) -> Any:
    """Return the time in a text, for `date`; other values unchanged."""
    return read_moment(value, context.now) or value


# --- HTML and addresses ---


def striptags(value: Any) -> str:
    """Return the text without HTML tags."""
    return _TAGS.sub("", as_text(value))


def strip_html(value: Any) -> str:
    """Return the text without HTML tags and without the content of scripts and styles."""
    return _TAGS.sub("", _CODE.sub("", as_text(value)))


@with_environment
def linebreaksbr(value: Any, *, environment: Any) -> str:
    """Return the text with `<br>` for every line break."""
    if not environment.autoescape:
        return _NEWLINES.sub("<br>", as_text(value))
    return Markup(_NEWLINES.sub("<br>", str(escape(as_text(value)))))  # noqa: S704


@with_environment
def linebreaks(value: Any, *, environment: Any) -> str:
    """Return the text as HTML paragraphs, with `<br>` for single line breaks."""
    text = as_text(value)
    text = str(escape(text)) if environment.autoescape else text
    paragraphs = re.split(r"\n{2,}", _NEWLINES.sub("\n", text))
    made = "\n\n".join("<p>" + part.replace("\n", "<br>") + "</p>" for part in paragraphs)
    return Markup(made) if environment.autoescape else made  # noqa: S704


@with_environment
def safe(value: Any, *, environment: Any) -> str:
    """Return the text as HTML that is not escaped."""
    return Markup(as_text(value)) if environment.autoescape else as_text(value)  # noqa: S704


@with_environment
def force_escape(value: Any, *, environment: Any) -> str:
    """Return the text escaped for HTML, at once."""
    made = escape(str(as_text(value)))
    return made if environment.autoescape else str(made)


def urlencode(value: Any, safe: Any = "/") -> str:
    """Return the text percent-encoded for a URL, except for the characters in `safe`."""
    return quote(as_text(value).encode("utf-8", "replace"), safe=as_text(safe))


def as_json(value: Any) -> str:
    """Return the value as JSON."""
    try:
        return _encode(None if isinstance(value, Undefined) else value).decode()
    except (TypeError, ValueError, UnicodeError) as error:
        raise FilterArgumentError(f"json: {error}", token=None) from error


def checked_size(result: Any) -> int:
    """Return the approximate size of a result in characters. Raise ResourceLimitError if it is too large."""
    if isinstance(result, str):
        weight = len(result)
    elif isinstance(result, int):
        weight = result.bit_length() // 4
    elif isinstance(result, list):
        if len(result) > MOST_ITEMS:
            raise too_long()
        weight = sum(len(item) if isinstance(item, str) else 16 for item in result)
    else:
        weight = 16
    if weight > (LONGEST_TEXT if isinstance(result, str | list) else 4 * MOST_DIGITS):
        raise too_long()
    return weight


#: The filters by name. They replace filters of Liquid of the same name.
FILTERS: dict[str, Filter] = {
    "add": add,
    "addslashes": addslashes,
    "capfirst": capfirst,
    "center": _padded(str.center),
    "cut": cut,
    "date": date,
    "default": default,
    "default_if_none": default_if_none,
    "divisibleby": divisibleby,
    "floatformat": floatformat,
    "force_escape": force_escape,
    "format_date_string": format_date_string,
    "intcomma": intcomma,
    "join": join,
    "json": as_json,
    "length": length,
    "linebreaks": linebreaks,
    "linebreaksbr": linebreaksbr,
    "ljust": _padded(str.ljust),
    "lookup": lookup,
    "lower": lower,
    "pluralize": pluralize,
    "replace": replace,
    "rjust": _padded(str.rjust),
    "safe": safe,
    "slice": slice_part,
    "slugify": slugify,
    "strip_html": strip_html,
    "striptags": striptags,
    "time": time,
    "times": times,
    "title": title,
    "truncatechars": truncatechars,
    "truncatewords": truncatewords,
    "uniq": uniq,
    "upper": upper,
    "urlencode": urlencode,
    "wordcount": wordcount,
    "yesno": yesno,
}
#: Filters that handle undefined variables: a variable before them is not reported as undefined.
TOLERANT = frozenset({"default", "yesno", "lookup", "size", "length"})
