"""Convert an HTML mail to plain text, with the URLs of links in parentheses."""

import re

from inscriptis.css_profiles import STRICT_CSS_PROFILE
from inscriptis.html_engine import Inscriptis
from inscriptis.html_properties import Display
from inscriptis.model.config import ParserConfig
from inscriptis.model.html_element import HtmlElement
from inscriptis.model.tag import CustomHtmlTagHandlerMapping
from lxml import etree
from lxml.html import HtmlElement as Element
from lxml.html import HTMLParser, document_fromstring

from waypost.domain.templates.liquid.placeholders import Hidden

_TABLES = ("table", "tr", "td", "th")
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden|mso-hide\s*:\s*all", re.IGNORECASE)
_SHOWN_LINK = re.compile(r"(?i)(?:https?|mailto|tel|sms):|\{|lqd\d")
# Mails use tables for layout: each row becomes a line with its cells one after another.
_CSS = STRICT_CSS_PROFILE | {name: HtmlElement(display=Display.block) for name in ("table", "tr", "caption", "hr")}
_CONFIG = ParserConfig(
    css=_CSS,
    custom_html_tag_handler_mapping=CustomHtmlTagHandlerMapping(
        start_tag_mapping=dict.fromkeys(_TABLES),
        end_tag_mapping=dict.fromkeys(_TABLES),
    ),
)


def text_of(html: str) -> str:
    """Return the text of an HTML document, or an empty text if it cannot be parsed."""
    if not html.strip():
        return ""
    try:
        tree = document_fromstring(html.encode("utf-8", "replace"), parser=HTMLParser(encoding="utf-8"))
        _prepare(tree)
        text = Inscriptis(tree, _CONFIG).get_text()
    except (etree.LxmlError, ValueError, RecursionError):
        return ""
    return collapse_blank_lines(text)


def collapse_blank_lines(text: str) -> str:
    """Return the text without trailing spaces, and with several empty lines reduced to one."""
    lines = "\n".join([line.rstrip() for line in text.splitlines()])
    if "\n\n\n" in lines:
        lines = re.sub(r"\n{3,}", "\n\n", lines)
    return lines.strip("\n")


def text_template(html: str) -> str | None:
    """Return a template for the text derived from an HTML template, or None if the text needs the rendered HTML.

    It does if an output produces HTML, or if a tag is at a place that the text does not have.
    """
    hidden = Hidden(html)
    if hidden.makes_html:
        return None
    text = text_of(hidden.text)
    kept = hidden.numbers(text)
    if [number for number in kept if number in set(hidden.tags)] != hidden.tags:
        return None
    return hidden.show(_join_tags(text, hidden))


def _join_tags(text: str, hidden: Hidden) -> str:
    """Return the text without the ends of lines that contain only tags, which would add an empty line per iteration."""
    tags = set(hidden.tags)
    lines = text.split("\n")
    parts = []
    for number, line in enumerate(lines):
        found = hidden.numbers(line)
        alone = found and set(found) <= tags and "".join(map(hidden.word, found)) == line.replace(" ", "")
        parts.append(line.strip() if alone else line if number == len(lines) - 1 else line + "\n")
    return "".join(parts)


def _prepare(tree: Element) -> None:
    """Remove invisible elements, and add the URL after each link."""
    etree.strip_elements(tree, etree.Comment, etree.ProcessingInstruction, with_tail=False)
    for element in list(tree.iter(etree.Element)):
        style = element.attrib.pop("style", "")
        # The library would turn lengths in styles into as many empty lines or spaces.
        for name in ("align", "valign"):
            element.attrib.pop(name, None)
        if style and _HIDDEN.search(style) and element.getparent() is not None:
            element.drop_tree()
        elif element.tag == "a":
            _write_link(element)
        elif element.tag in ("td", "th") and element.getnext() is not None:
            element.tail = " " + (element.tail or "")


def _write_link(link: Element) -> None:
    target = (link.get("href") or "").strip()
    if not _SHOWN_LINK.match(target):
        return
    shown = " ".join(link.text_content().split())
    if not shown:
        shown = " ".join(filter(None, (image.get("alt", "").strip() for image in link.iter("img"))))
        link.text = shown + (link.text or "")
    if shown in (target, target.partition(":")[2]):
        return
    addition = f" ({target})" if shown else target
    if len(link):
        link[-1].tail = (link[-1].tail or "").rstrip() + addition
    else:
        link.text = (link.text or "").rstrip() + addition
