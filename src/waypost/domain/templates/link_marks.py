"""Mark the links in the HTML of a template when it is compiled, so that each mail is rewritten without parsing it.

The marks stand in the literal text of the template, around the source of each `href` and where the pixel goes. They are
random, so that no value of a person contains one.
"""

from bisect import bisect_right

import msgspec
from liquid.token import TOKEN_CONTENT, TOKEN_OUTPUT, Token

from waypost.domain.templates.html_links import Span, find_html_links


class LinkMarks(msgspec.Struct, frozen=True):
    """The texts that mark the start and the end of a link, and the place of the pixel."""

    start: str
    end: str
    pixel: str

    def remove(self, html: str) -> str:
        """Return the HTML without marks."""
        return html.replace(self.start, "").replace(self.end, "").replace(self.pixel, "")


def make_marks(secret: str) -> LinkMarks:
    """Return marks that contain a secret text, which must not be guessed."""
    return LinkMarks(f"\ufdd0{secret}\ufdd1", f"\ufdd1{secret}\ufdd0", f"\ufdd0{secret}\ufdd0")


def mark_links(source: str, tokens: list[Token], marks: LinkMarks) -> list[Token]:
    """Return the tokens of an HTML template with marks in their literal text; their places stay the same.

    A link whose start or end is not in literal text is left out.
    """
    found = find_html_links(_without_liquid(source, tokens))
    places: list[tuple[int, str]] = []
    contents = [Span(t.start_index, t.start_index + len(t.value)) for t in tokens if t.kind == TOKEN_CONTENT]
    for span in found.hrefs:
        if _holds(contents, span.start) and _holds(contents, span.end):
            places += ((span.start, marks.start), (span.end, marks.end))
    places.append((found.body_end, marks.pixel))
    marked: list[Token] = []
    number = 0
    for token in tokens:
        if token.kind == TOKEN_CONTENT:
            parts: list[str] = []
            start = done = token.start_index
            end = start + len(token.value)
            while number < len(places) and places[number][0] <= end:
                at = max(places[number][0], start)
                parts += (source[done:at], places[number][1])
                done = at
                number += 1
            token = token._replace(value="".join((*parts, source[done:end])))
        marked.append(token)
    if number < len(places):
        # The document ends with Liquid.
        marked.append(Token(TOKEN_CONTENT, "".join(text for _, text in places[number:]), len(source), source))
    return marked


def _holds(contents: list[Span], at: int) -> bool:
    """Return whether a place is in literal text, or at its edge."""
    number = bisect_right(contents, (at, len(contents) and contents[-1].end)) - 1
    return number >= 0 and at <= contents[number].end


def _without_liquid(source: str, tokens: list[Token]) -> str:
    """Return the source, as long as it was, with letters instead of outputs and spaces instead of tags."""
    parts: list[str] = []
    done = 0
    for token in tokens:
        if token.kind == TOKEN_CONTENT or token.kind == TOKEN_OUTPUT:
            hidden = "x" * len(token.value) if token.kind == TOKEN_OUTPUT else token.value
            parts += (" " * (token.start_index - done), hidden)
            done = token.start_index + len(token.value)
    return "".join((*parts, " " * (len(source) - done)))
