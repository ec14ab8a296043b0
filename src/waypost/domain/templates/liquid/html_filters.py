"""Filters for HTML and URLs: tags, line breaks, escaping and percent-encoding."""

import re
from typing import Any
from urllib.parse import quote

from liquid.filter import with_environment
from markupsafe import Markup, escape

from waypost.domain.templates.liquid.value_filters import as_text

_NEWLINES = re.compile(r"\r\n|\r|\n")
_TAGS = re.compile(r"<!--.*?(?:--!?>|\Z)|</?[a-zA-Z][^<>]*>|<![^<>]*>", re.DOTALL)
_CODE = re.compile(r"<(script|style)\b.*?(?:</\1\s*>|\Z)", re.DOTALL | re.IGNORECASE)


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
