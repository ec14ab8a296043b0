"""User-supplied patterns: regular expressions run by RE2, and globs. Both take time linear in the text.

No other code may compile a user's text to a regular expression: Python's `re` backtracks and can take exponential time.
"""

import re
from collections.abc import Callable
from functools import lru_cache

import re2

#: The most characters of a regular expression.
LONGEST_PATTERN = 200
#: The most bytes that RE2 may use for one compiled pattern.
MOST_MEMORY = 1 << 20

#: Constructs of Python's `re` that RE2 lacks, by their name in the error of RE2, and what to write instead.
_LACKING = {
    "(?=": "a look-ahead (?=…)",
    "(?!": "a negative look-ahead (?!…)",
    "(?<=": "a look-behind (?<=…)",
    "(?<!": "a negative look-behind (?<!…)",
    "(?>": "an atomic group (?>…)",
    "(?(": "a conditional group (?(…)…)",
    "(?#": "a comment (?#…)",
    "\\Z": "the escape \\Z (write \\z, or nothing: the whole value must match)",
    "\\u": "the escape \\u (write \\x{…})",
    "\\N": "the escape \\N (write \\x{…})",
}
_DIGIT_REFERENCE = re.compile(r"\\[1-9]")

Match = Callable[[str], bool]


class BadPattern(ValueError):
    """A text is not a valid or supported pattern; the message names the part and the reason."""


@lru_cache(maxsize=1024)
def compile_pattern(text: str) -> Match:
    """Return a function that says whether a pattern matches a whole text. Raise BadPattern if it is not valid."""
    if len(text) > LONGEST_PATTERN:
        raise BadPattern(f"a pattern may have at most {LONGEST_PATTERN} characters")
    options = re2.Options()
    options.max_mem = MOST_MEMORY
    options.log_errors = False
    options.never_capture = True
    try:
        # As bytes, since RE2 raises for the lone surrogates that a Python text can contain.
        pattern = re2.compile(_bytes(text), options)
    except re2.error as error:
        raise BadPattern(_explain(text, error)) from None
    return lambda value: pattern.fullmatch(_bytes(value)) is not None


def compile_glob(text: str, *, ignore_case: bool = False) -> Match:
    """Return a function that says whether a glob, in which `*` matches any characters, matches a whole text."""
    head, *rest = (text.casefold() if ignore_case else text).split("*")
    if not rest:
        return (lambda value: value.casefold() == head) if ignore_case else head.__eq__
    *middle, tail = rest
    least = len(head) + len(tail)

    def matches(value: str) -> bool:
        if ignore_case:
            value = value.casefold()
        end = len(value) - len(tail)
        if len(value) < least or not value.startswith(head) or not value.endswith(tail):
            return False
        position = len(head)
        # The first match of each part leaves the most text for the parts after it.
        for part in middle:
            position = value.find(part, position, end)
            if position < 0:
                return False
            position += len(part)
        return True

    return matches


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _explain(text: str, error: Exception) -> str:
    found = error.args[0] if error.args else ""
    words = found.decode("utf-8", "replace") if isinstance(found, bytes) else str(found)
    kind, _, part = words.partition(": ")
    part = part.strip()
    if kind == "invalid perl operator":
        named = next((what for start, what in _LACKING.items() if part.startswith(start)), None)
        if part == "(?P":
            named = "a back-reference (?P=…)" if "(?P=" in text else "a malformed named group (?P…)"
        named = named or f"the flag or group {part}…)"
        return f"{named} is not supported: patterns run on RE2, which has no backtracking"
    if kind == "invalid escape sequence":
        named = "a back-reference" if _DIGIT_REFERENCE.match(part) else _LACKING.get(part[:2], f"the escape {part}")
        named = f"{named} {part}" if named == "a back-reference" else named
        return f"{named} is not supported: patterns run on RE2, which has no backtracking"
    if kind == "bad repetition operator":
        return f"{part} is not supported: a repetition cannot be repeated, and RE2 has no possessive ones"
    if kind == "invalid repetition size":
        return f"{part} repeats too often: at most 1000 times, repetitions inside each other multiplied"
    if kind.startswith("pattern too large"):
        return "it takes too much memory; repeat less"
    return f"it is not a regular expression: {words}"
