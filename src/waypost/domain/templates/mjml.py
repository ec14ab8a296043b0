"""Compile MJML to HTML when a template is saved, and keep its Liquid.

The library (mrml) parses recursively in native code and aborts the process on deeply nested input; it also drops
unknown elements and unmatched closing tags. So the source is checked before the library reads it.
"""

import re

from mjml import mjml2html

from waypost.domain.templates.liquid.lexer import TemplateError
from waypost.domain.templates.liquid.placeholders import Hidden

#: The most levels of nested elements.
DEEPEST = 60
MOST_ELEMENTS = 5_000

ELEMENTS = frozenset(
    "mjml mj-head mj-body mj-attributes mj-all mj-class mj-breakpoint mj-font mj-html-attributes mj-selector "  # noqa: SIM905
    "mj-html-attribute mj-preview mj-style mj-title mj-accordion mj-accordion-element mj-accordion-title "
    "mj-accordion-text mj-button mj-carousel mj-carousel-image mj-column mj-divider mj-group mj-hero mj-image "
    "mj-navbar mj-navbar-link mj-raw mj-section mj-social mj-social-element mj-spacer mj-table mj-text "
    "mj-wrapper".split()
)
#: Elements of HTML that are never closed.
_VOID = frozenset("area base br col embed hr img input link meta source track wbr".split())  # noqa: SIM905
_MARK = re.compile(r"<(?:(!--)|(!\[CDATA\[)|([!?])|(/?)([A-Za-z][\w:.-]*))?")
_ATTRIBUTE = re.compile(r"""\s+[\w:@.-]+\s*=\s*("[^"<]*"|'[^'<]*')""")
_TAG_END = re.compile(r"\s*(/?)>")
_POSITION = re.compile(r"at position (\d+):(\d+)")
_ESCAPED = re.compile(r"\\u\{([0-9a-f]{1,6})\}")
_LINE_ENDS = re.compile(r"[\t\r\n]")


def compile_mjml(source: str) -> str:
    """Return the HTML of an MJML document with its Liquid. Raise TemplateError if it is not valid or loses Liquid."""
    hidden = Hidden(source)
    made = _scan(hidden)
    try:
        html = mjml2html(made)
    except ValueError as error:
        found = _POSITION.search(str(error))
        at = hidden.origin(int(found[1])) if found else 0
        raise TemplateError(f"MJML cannot read this: {str(error).partition(' in root template')[0]}", at) from error
    except BaseException as error:
        # A panic of the library is not an Exception; it must not affect more than this call.
        if type(error).__name__ != "PanicException":
            raise
        raise TemplateError("MJML cannot read this document", 0) from error
    if "\\u{" not in source:
        # The library writes attributes with Rust escapes.
        html = _ESCAPED.sub(lambda escape: chr(int(escape[1], 16)), html)
    _check_kept(hidden, html)
    return hidden.show(html)


def _check_kept(hidden: Hidden, html: str) -> None:
    """Raise TemplateError unless the HTML has every piece of Liquid, and the tags in their order."""
    kept = list(dict.fromkeys(hidden.numbers(html)))
    for number, piece in enumerate(hidden.pieces):
        if number not in kept:
            at = hidden.origin(hidden.text.find(hidden.word(number)))
            raise TemplateError(
                f"MJML does not keep {piece[:60]} here: it allows no Liquid in numbers such as a width, "
                "nor where it expects no text; put tags into <mj-raw>",
                at,
            )
    tags = [number for number in kept if number in set(hidden.tags)]
    for number, expected in zip(tags, hidden.tags, strict=True):
        if number != expected:
            at = hidden.origin(hidden.text.find(hidden.word(expected)))
            raise TemplateError("MJML moves this tag to another place; put it into an element of the body", at)


def _scan(hidden: Hidden) -> str:
    """Return the text with each attribute on one line. Raise TemplateError for what the library drops or crashes on."""
    text = hidden.text
    parts: list[str] = []
    open_: list[tuple[str, int]] = []
    position = count = 0
    while (found := _MARK.search(text, position)) is not None:
        at = found.start()
        parts.append(text[position:at])
        if found[1]:
            end = text.find("-->", at)
            if end == -1:
                raise _fault(hidden, at, "the comment is never closed by -->")
            position = end + 3
            parts.append(text[at:position])
            continue
        if found[2] or found[3]:
            raise _fault(hidden, at, "MJML allows no declarations and no CDATA")
        if not found[5]:
            raise _fault(hidden, at, "< does not begin an element; write &lt;")
        name, closing = found[5].lower(), bool(found[4])
        start = position = found.end()
        while (attribute := _ATTRIBUTE.match(text, position)) is not None:
            position = attribute.end()
        end_found = _TAG_END.match(text, position)
        if end_found is None:
            raise _fault(hidden, at, f"<{name}> is not closed, or has an attribute without a value in quotes")
        position = end_found.end()
        parts.append(text[at:start] + _LINE_ENDS.sub(" ", text[start:position]).replace("\\", "&#92;"))
        count += 1
        if count > MOST_ELEMENTS:
            raise _fault(hidden, at, f"there are more than {MOST_ELEMENTS} elements")
        if name == "mj-include":
            raise _fault(hidden, at, "mj-include reads other files, which templates cannot do; put the text here")
        if name.startswith("mj") and name not in ELEMENTS:
            raise _fault(hidden, at, f"MJML has no element {name[:40]!r}")
        if closing:
            _close(hidden, open_, name, at)
        elif not end_found[1] and name not in _VOID:
            open_.append((name, at))
            if len(open_) > DEEPEST:
                raise _fault(hidden, at, f"there are more than {DEEPEST} levels of nested elements")
    parts.append(text[position:])
    if open_:
        raise _fault(hidden, open_[-1][1], f"<{open_[-1][0]}> is never closed")
    if count == 0:
        raise _fault(hidden, 0, "an MJML document must begin with <mjml>")
    return "".join(parts)


def _close(hidden: Hidden, open_: list[tuple[str, int]], name: str, at: int) -> None:
    if not open_ or open_[-1][0] != name:
        inside = f"; <{open_[-1][0]}> is still open" if open_ else ""
        raise _fault(hidden, at, f"</{name}> closes nothing{inside}")
    open_.pop()


def _fault(hidden: Hidden, at: int, message: str) -> TemplateError:
    return TemplateError(message, hidden.origin(at))
