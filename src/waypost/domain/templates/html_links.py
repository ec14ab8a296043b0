"""Find the links of an HTML document by their places in its source, so that all else can stay as it is.

It reads tags as the tokenizer of the HTML Standard does (13.2.5): comments, raw text such as style sheets, unclosed and
doubled attributes. A document is read once, from start to end, whatever it contains.
"""

import html
import re
from collections.abc import Iterator
from html.entities import html5
from typing import NamedTuple

_SPACE = "\\t\\n\\f\\r "
_NAME = re.compile(f"[^{_SPACE}/>]+")
#: The end of a tag, or one attribute with its value. The quote after a value tells whether it is closed.
_ATTRIBUTE = re.compile(
    f"[{_SPACE}/]*(?:(>)|(=?[^{_SPACE}/>=]*)"
    f"(?:[{_SPACE}]*=[{_SPACE}]*(?:\"([^\"]*)(\"?)|'([^']*)('?)|([^{_SPACE}>]*)))?)"
)
_COMMENT_END = re.compile("--!?>")
#: The start of a comment that Outlook reads as HTML.
_CONDITIONAL = re.compile(r"<!--\[if\b[^\]<>]*\]>", re.IGNORECASE)
#: Elements whose content is text.
_RAW = {
    name: re.compile(f"</{name}(?=[{_SPACE}/>])", re.IGNORECASE)
    for name in ("script", "style", "title", "textarea", "xmp", "iframe", "noembed", "noframes")
}
_CHARACTER = re.compile("&(#[xX]?[0-9A-Fa-f]+|[A-Za-z][A-Za-z0-9]*)(;?)(?=(=?))")
#: The attributes by which a link says that it is not to be tracked: SendGrid's and Waypost's.
OPT_OUTS = ("clicktracking", "data-track")
_OFF = frozenset({"off", "false", "no"})


class Span(NamedTuple):
    """A part of a source."""

    start: int
    end: int


class HtmlLinks(NamedTuple):
    """The links of a document."""

    #: The values of their `href`, without quotes, in order.
    hrefs: list[Span]
    #: Where something is to be inserted that is shown last: before `</body>`, or at the end.
    body_end: int


class _Tag(NamedTuple):
    name: str
    closing: bool
    #: By name in lower case; the first of several counts.
    attributes: dict[str, Span]
    start: int
    end: int


def find_html_links(source: str) -> HtmlLinks:
    """Return the places of the links that may be tracked: of `a`, `area`, and of VML in comments for Outlook."""
    hrefs: list[Span] = []
    body_end = -1
    for tag in _tags(source, 0, len(source)):
        if tag.closing:
            if tag.name == "body":
                body_end = tag.start
        elif (
            "href" in tag.attributes
            and (tag.name in ("a", "area") or tag.name.startswith("v:"))
            and not any(_is_off(source, tag.attributes.get(name)) for name in OPT_OUTS)
        ):
            hrefs.append(tag.attributes["href"])
    return HtmlLinks(hrefs, body_end if body_end >= 0 else len(source))


def decode_attribute(value: str) -> str:
    """Return the value of an attribute with its character references replaced, as the HTML Standard says."""
    return _CHARACTER.sub(_character, value) if "&" in value else value


def _is_off(source: str, span: Span | None) -> bool:
    return span is not None and source[span.start : span.end].strip().lower() in _OFF


def _character(found: re.Match[str]) -> str:
    name, semicolon = found[1], found[2]
    if name.startswith("#"):
        return html.unescape(f"&{name};")
    if semicolon:
        return html5.get(f"{name};", found[0])
    # `&copy=1` in a URL is a parameter.
    return html5[name] if name in html5 and not found[3] else found[0]


def _tags(source: str, position: int, end: int, *, in_comment: bool = False) -> Iterator[_Tag]:
    """Yield the tags between two places, in order. Comments are not nested."""
    while (at := source.find("<", position, end)) >= 0:
        sign = source[at + 1 : at + 2]
        if sign == "!":
            if in_comment or not source.startswith("<!--", at):
                position = _after(source, ">", at, end)
                continue
            if source.startswith(("<!-->", "<!--->"), at):
                position = source.index(">", at) + 1
                continue
            close = _COMMENT_END.search(source, at + 4, end)
            last = close.start() if close is not None else end
            if (conditional := _CONDITIONAL.match(source, at, last)) is not None:
                # No tag of a comment ends the document, so `</body>` in it counts as nothing.
                inner = _tags(source, conditional.end(), last, in_comment=True)
                yield from (tag for tag in inner if not tag.closing)
            position = close.end() if close is not None else end
        elif sign == "?" or (sign == "/" and not _is_letter(source[at + 2 : at + 3])):
            position = _after(source, ">", at, end)
        elif sign == "/" or _is_letter(sign):
            tag = _read_tag(source, at, end)
            if tag is None:
                # The document ends in a tag, which is then no tag.
                return
            yield tag
            position = tag.end
            if not tag.closing and (raw := _RAW.get(tag.name)) is not None:
                found = raw.search(source, position, end)
                position = end if found is None else found.start()
            elif tag.name == "plaintext" and not tag.closing:
                return
        else:
            position = at + 1


def _read_tag(source: str, at: int, end: int) -> _Tag | None:
    """Return the tag that begins here, or None if the source ends before the tag does."""
    closing = source[at + 1] == "/"
    named = _NAME.match(source, at + 2 if closing else at + 1, end)
    if named is None:
        return None
    attributes: dict[str, Span] = {}
    position = named.end()
    while True:
        found = _ATTRIBUTE.match(source, position, end)
        if found is None or found.end() == position:
            return None
        position = found.end()
        if found[1] is not None:
            return _Tag(named[0].lower(), closing, attributes, at, position)
        if found[4] == "" or found[6] == "":
            return None
        for group in (3, 5, 7):
            if found[group] is not None:
                attributes.setdefault(found[2].lower(), Span(found.start(group), found.end(group)))
        if found[3] is None and found[5] is None and found[7] is None:
            attributes.setdefault(found[2].lower(), Span(position, position))


def _after(source: str, sign: str, position: int, end: int) -> int:
    found = source.find(sign, position, end)
    return end if found < 0 else found + len(sign)


def _is_letter(sign: str) -> bool:
    return sign.isascii() and sign.isalpha()
