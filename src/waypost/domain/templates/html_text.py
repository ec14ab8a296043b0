"""The plain text of an HTML mail: what a reader sees, line by line, with the addresses of links in parentheses."""

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
# Tables lay mails out: their rows are lines and their cells follow each other, whatever columns they make.
_CSS = STRICT_CSS_PROFILE | {name: HtmlElement(display=Display.block) for name in ("table", "tr", "caption", "hr")}
_CONFIG = ParserConfig(
    css=_CSS,
    custom_html_tag_handler_mapping=CustomHtmlTagHandlerMapping(
        start_tag_mapping=dict.fromkeys(_TABLES),
        end_tag_mapping=dict.fromkeys(_TABLES),
    ),
)


def text_of(html: str) -> str:
    """The text of an HTML document; nothing for what cannot be read as one."""
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
    """The text without spaces at the ends of lines, and with one empty line where there are several."""
    lines = "\n".join(line.rstrip() for line in text.splitlines())
    return re.sub(r"\n{3,}", "\n\n", lines).strip("\n")


def text_template(html: str) -> str | None:
    """A template for the text, made from that of the HTML; None where only the finished HTML can tell.

    That is so when an output puts out HTML, and when a tag stands where the text has no place for it.
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
    """The text without ends of lines that hold nothing but tags: they would be empty lines in every round of a loop."""
    tags = set(hidden.tags)
    lines = text.split("\n")
    parts = []
    for number, line in enumerate(lines):
        found = hidden.numbers(line)
        alone = found and set(found) <= tags and "".join(map(hidden.word, found)) == line.replace(" ", "")
        parts.append(line.strip() if alone else line if number == len(lines) - 1 else line + "\n")
    return "".join(parts)


def _prepare(tree: Element) -> None:
    """Leave out what is not shown, and write beside each link where it leads."""
    etree.strip_elements(tree, etree.Comment, etree.ProcessingInstruction, with_tail=False)
    for element in list(tree.iter(etree.Element)):
        style = element.attrib.pop("style", "")
        # The library takes lengths of style sheets at their word, as so many empty lines or spaces.
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
