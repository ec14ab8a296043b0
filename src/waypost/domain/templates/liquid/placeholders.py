"""Replace the Liquid in a source by placeholders for a tool that does not know Liquid, and restore it afterwards."""

import re
from bisect import bisect_right

from liquid.token import TOKEN_CONTENT, TOKEN_OUTPUT, TOKEN_TAG

from waypost.domain.templates.liquid.lexer import tokenize_source

_MARKS = re.compile(r"\{\{|\{%|\{#")
_SAFE = re.compile(r"\|\s*(safe|linebreaks|linebreaksbr|newline_to_br|escapejs)\b")


class Hidden:
    """A source with a placeholder for each piece of Liquid, and the pieces."""

    def __init__(self, source: str) -> None:
        self.pieces: list[str] = []
        #: The numbers of the pieces that are tags; the others are outputs.
        self.tags: list[int] = []
        #: Whether an output may produce HTML.
        self.makes_html = False
        self._word = _free_word(source)
        self._found = re.compile(rf"{self._word}(\d+)z")
        self._length = 0
        self._starts: list[int] = []
        self._origins: list[int] = []
        self.text = "".join(self._hide(source))

    def _hide(self, source: str) -> list[str]:
        """Return the parts with placeholders. Comments are dropped; content of `raw` is restored inside `raw`."""
        parts: list[str] = []
        for token in tokenize_source(source):
            start, text = token.start_index, token.value
            if token.kind == TOKEN_CONTENT:
                if _MARKS.search(text):
                    text = self._piece(f"{{% raw %}}{text}{{% endraw %}}")
            elif token.kind == TOKEN_OUTPUT:
                self.makes_html = self.makes_html or _SAFE.search(text) is not None
                text = self._piece(text)
            elif token.kind == TOKEN_TAG:
                end = source.index("%}", start) + 2
                start = source.rindex("{%", 0, start)
                self.tags.append(len(self.pieces))
                text = self._piece(source[start:end])
            else:
                continue
            self._starts.append(self._length)
            self._origins.append(start)
            self._length += len(text)
            parts.append(text)
        return parts

    def _piece(self, text: str) -> str:
        self.pieces.append(text)
        return self.word(len(self.pieces) - 1)

    def word(self, number: int) -> str:
        """Return the placeholder of a piece."""
        return f"{self._word}{number}z"

    def origin(self, index: int) -> int:
        """Return the index in the source of a character of the text."""
        found = bisect_right(self._starts, index) - 1
        return self._origins[found] + index - self._starts[found] if found >= 0 else 0

    def numbers(self, text: str) -> list[int]:
        """Return the numbers of the pieces in a text, in order."""
        return [int(found[1]) for found in self._found.finditer(text)]

    def show(self, text: str) -> str:
        """Return a text with its placeholders replaced by the pieces."""
        return self._found.sub(lambda found: self.pieces[int(found[1])], text)


def makes_html(source: str) -> bool:
    """Return whether an output of a source may produce HTML."""
    return _SAFE.search(source) is not None


def _free_word(source: str) -> str:
    """Return a prefix for placeholders that does not occur in the source."""
    number = 0
    while f"lqd{number}x" in source:
        number += 1
    return f"lqd{number}x"
