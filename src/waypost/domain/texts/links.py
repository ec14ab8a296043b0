"""The links of a text: where they stand, where they lead, and what is put in their place."""

import re
from collections.abc import Mapping, Sequence

from waypost.domain.messaging.request import LONGEST_SMS
from waypost.domain.tracking.links import track_text
from waypost.domain.tracking.utm import add_parameters
from waypost.errors import Invalid

#: A text contains no U+0000, so a mark cannot be mistaken for a part of it.
_MARK = re.compile("\0([0-9]+)\0")
#: Links of one text.
MOST_LINKS = 20


def mark_links(
    text: str, click_url: str, parameters: Mapping[str, str], own: str | None = None
) -> tuple[str, tuple[str, ...]]:
    """Return a text with a mark in place of each link, and the URLs with the parameters that they lack.

    A URL that begins with `own` leads to a page of this server, and gets no parameters. The click URL is a link of the
    text; it is appended if the text does not contain it. Raise Invalid, with `field`, for a link that cannot be
    followed, and for too many.
    """
    if not click_url and "://" not in text:
        return text, ()
    urls: list[str] = []

    def mark(url: str) -> str:
        try:
            urls.append(url if own is not None and url.startswith(own) else add_parameters(url, parameters))
        except Invalid as error:
            field = "clickUrl" if url == click_url else "text"
            raise Invalid(
                f"A link in `{field}` cannot be sent: {error.detail}", code=error.code, field=field
            ) from error
        return f"\0{len(urls) - 1}\0"

    marked = track_text(text, mark, click_url)
    if len(urls) > MOST_LINKS:
        raise Invalid(
            f"`text` has {len(urls)} links; at most {MOST_LINKS} are allowed.", code="too_many_links", field="text"
        )
    return marked, tuple(urls)


def fill_marks(marked: str, links: Sequence[str]) -> str:
    """Return a text with links in place of its marks."""
    return _MARK.sub(lambda found: links[int(found[1])], marked)


def check_length(text: str) -> None:
    """Raise Invalid if a text with its links is too long to be sent."""
    if len(text) > LONGEST_SMS:
        raise Invalid(
            f"With its links the text has {len(text)} characters; providers accept up to {LONGEST_SMS}.",
            code="text_too_long",
            field="text",
        )
