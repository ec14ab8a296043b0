"""Links in texts: find them as people write them, replace them, and place the click URL of a message."""

import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

#: The longest URL that a link may have.
LONGEST_URL = 2048

#: A URL up to a space, a quote, an angle bracket or a control character. A letter before it would belong to its scheme.
#: The limit keeps a text of many links without spaces from being read again and again.
_CANDIDATE = re.compile(r"(?<![A-Za-z0-9+])https?://[^\s<>\"`\\\x00-\x1f\x7f-\x9f]{1,4096}", re.IGNORECASE)
_SCHEME = re.compile(r"https?://", re.IGNORECASE)
#: Of `https` and `http`.
_SCHEME_LENGTHS = (5, 4)
#: Of characters outside ASCII, a URL has letters, marks and digits. Emoji, quotes and the punctuation of other scripts
#: end it.
_IN_URL = frozenset("LMN")
#: What stands behind an emoji: variation selectors, and the frame of a keycap.
_AFTER_EMOJI = frozenset([*map(chr, range(0xFE00, 0xFE10)), "\u20e3"])
#: Punctuation that ends a sentence rather than a URL.
_TRAILING = frozenset(".,;:!?'*|")
_CLOSING = {")": "(", "]": "[", "}": "{"}
_OPENING = frozenset(_CLOSING.values())
#: Characters that may end a URL: brackets, and those outside ASCII.
_TO_JUDGE = re.compile(r"[()\[\]{}]|[^\x00-\x7f]")


class Link(NamedTuple):
    """A link in a text: the URL, and where it stands."""

    url: str
    start: int
    end: int


def find_links(text: str, known: str = "") -> Iterator[Link]:
    """Yield the http and https links in a text, in order.

    Punctuation that belongs to the sentence is not part of a link, unless it belongs to the `known` URL. What is longer
    than `LONGEST_URL` is no link.
    """
    position = 0
    while found := _next_candidate(text, position):
        raw, url = _trim(found[0])
        if known and raw.startswith(known) and len(url) <= len(known):
            url = known
        position = found.start() + max(len(url), 1)
        if len(_scheme(url)) < len(url) <= LONGEST_URL:
            yield Link(url, found.start(), position)


def _next_candidate(text: str, position: int) -> re.Match[str] | None:
    """Return the first candidate that starts at a position or behind it.

    What `_CANDIDATE.search` returns, in a fifth of its time: few texts have many colons, and the pattern is tried there
    alone.
    """
    colon = position
    while (colon := text.find("://", colon)) >= 0:
        for length in _SCHEME_LENGTHS:
            start = colon - length
            if start >= position and (found := _CANDIDATE.match(text, start)):
                return found
        colon += 3
    return None


def replace_links(text: str, replace: Callable[[str], str], known: str = "") -> str:
    """Return a text with every link replaced by what `replace` returns for its URL."""
    parts: list[str] = []
    end = 0
    for link in find_links(text, known):
        parts += (text[end : link.start], replace(link.url))
        end = link.end
    return "".join((*parts, text[end:]))


def track_text(text: str, replace: Callable[[str], str], click_url: str = "") -> str:
    """Return a text with its links replaced, and with the click URL.

    A click URL that stands in the text is replaced there; one that does not is appended, one space apart.
    """
    if click_url and all(link.url != click_url for link in find_links(text, click_url)):
        space = "" if not text or text[-1].isspace() else " "
        return f"{replace_links(text, replace)}{space}{replace(click_url)}"
    return replace_links(text, replace, click_url)


@lru_cache(maxsize=2048)
def _trim(candidate: str) -> tuple[str, str]:
    """Return a candidate up to the character that ends its URL, and the URL itself. Most links are in many texts."""
    raw = _cut(candidate)
    return raw, _strip(raw)


def _cut(raw: str) -> str:
    """Return the start of a URL: up to a closing bracket that it does not open, or a character that no URL has."""
    opened: dict[str, int] = {}
    for found in _TO_JUDGE.finditer(raw):
        character = found[0]
        if character in _OPENING:
            opened[character] = opened.get(character, 0) + 1
        elif character in _CLOSING:
            opening = _CLOSING[character]
            if not opened.get(opening):
                return raw[: found.start()]
            opened[opening] -= 1
        elif character in _AFTER_EMOJI or unicodedata.category(character)[0] not in _IN_URL:
            return raw[: found.start()]
    return raw


def _strip(url: str) -> str:
    """Return a URL without the punctuation, and the opening brackets, behind it."""
    end, start = len(url), len(_scheme(url))
    while end > start and (url[end - 1] in _TRAILING or url[end - 1] in _OPENING):
        end -= 1
    return url[:end]


def _scheme(url: str) -> str:
    found = _SCHEME.match(url)
    return found[0] if found else ""
