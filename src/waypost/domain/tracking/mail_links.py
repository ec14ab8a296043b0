"""The links of emails: which are tracked, the URLs that they lead to, and the mail with its links replaced."""

from collections.abc import Callable, Mapping

import msgspec

from waypost.domain.templates.html_links import decode_attribute, find_html_links
from waypost.domain.templates.link_marks import LinkMarks
from waypost.domain.tracking.links import replace_links
from waypost.domain.tracking.mail_tokens import CLICK_PATH, MOST_LINKS, OPEN_PATH, UNSUBSCRIBE_PATH, MailTokens
from waypost.domain.tracking.utm import add_parameters, location
from waypost.errors import Invalid

#: The links whose targets one batch of mails remembers.
REMEMBERED = 10_000
#: What browsers remove from a URL in an attribute.
_REMOVED = str.maketrans("", "", "\t\n\r")
_SCHEMES = ("http://", "https://")


class LinkTargets:
    """Where the links of the mails of one workspace lead, with the parameters that are added to them."""

    def __init__(self, workspace_id: int, base_url: str, parameters: Mapping[str, str], tokens: MailTokens) -> None:
        self._workspace_id = workspace_id
        self._own = tuple(base_url + path for path in (OPEN_PATH, CLICK_PATH, UNSUBSCRIBE_PATH))
        self._parameters = parameters
        self._tokens = tokens
        #: By the link as it stands in a mail: the id and the URL; None for one that is not tracked.
        self._known: dict[str, tuple[int, str] | None] = {}

    def find(self, link: str) -> tuple[int, str] | None:
        """Return the id and the URL that a link leads to; None for one that stays as it is."""
        if link in self._known:
            return self._known[link]
        if link.startswith(self._own):
            # The links to unsubscribe differ from mail to mail, and need not be remembered.
            return None
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        found = self._known[link] = self._read(link)
        return found

    def _read(self, link: str) -> tuple[int, str] | None:
        url = link.strip(" \t\n\f\r").translate(_REMOVED).replace(" ", "%20")
        if not url[:8].lower().startswith(_SCHEMES) or url.startswith(self._own):
            return None
        try:
            if self._parameters:
                url = add_parameters(url, self._parameters)
            location(url)
        except Invalid:
            # A browser may open it, and nothing of it is understood well enough to lead there.
            return None
        return self._tokens.url_id(self._workspace_id, url), url


class MailLinks:
    """Replaces the links of one mail, and numbers those that it replaced from 1."""

    def __init__(self, targets: LinkTargets, tokens: MailTokens, base_url: str, message_id: int, last_day: int) -> None:
        self._targets = targets
        self._tokens = tokens
        self._before = base_url + CLICK_PATH
        self._message_id = message_id
        self._last_day = last_day
        self._number = 0
        #: The first link to each URL, by the id of the URL.
        self._made: dict[int, str] = {}
        #: The URLs of the links that were replaced, by their ids.
        self.urls: dict[int, str] = {}

    def in_html(self, value: str) -> str:
        """Return the new value of an `href`, for its value as it stands in the source."""
        found = self._targets.find(decode_attribute(value))
        if found is None or self._number >= MOST_LINKS:
            return value
        return self._replace(found)

    def in_text(self, url: str) -> str:
        """Return the new URL for one in the text part. It has the number of the same link in the HTML."""
        found = self._targets.find(url)
        if found is None or self._number >= MOST_LINKS:
            return url
        return self._made.get(found[0]) or self._replace(found)

    def _replace(self, found: tuple[int, str]) -> str:
        self._number += 1
        id_, url = found
        self.urls[id_] = url
        link = self._before + self._tokens.click_token(self._message_id, id_, self._number, self._last_day)
        self._made.setdefault(id_, link)
        return link


class UnsubscribeLinks(msgspec.Struct, frozen=True):
    """The URLs by which a person unsubscribes, and changes preferences."""

    unsubscribe_url: str
    preferences_url: str

    def values(self) -> dict[str, str]:
        """Return what templates see."""
        return {"unsubscribe_url": self.unsubscribe_url, "preferences_url": self.preferences_url}


def track_html(html: str, marks: LinkMarks, replace: Callable[[str], str] | None, last: str) -> str:
    """Return the HTML of a mail with its links replaced, and `last` at the end of its body. All else stays as it is.

    HTML with marks is not parsed again. Without `replace`, the links stay.
    """
    if marks.pixel not in html:
        return _track_source(marks.remove(html), replace, last)
    if replace is not None:
        first, *pieces = html.split(marks.start)
        parts = [first]
        for piece in pieces:
            link, end, rest = piece.partition(marks.end)
            # A link whose end was not rendered stays as it is.
            parts += (replace(link), rest) if end else (piece,)
        html = "".join(parts)
    return marks.remove(html.replace(marks.pixel, last, 1))


def _track_source(html: str, replace: Callable[[str], str] | None, last: str) -> str:
    found = find_html_links(html)
    changes = [(found.body_end, found.body_end, last)]
    if replace is not None:
        changes += [(start, end, replace(html[start:end])) for start, end in found.hrefs]
        changes.sort(key=lambda change: change[:2])
    parts: list[str] = []
    done = 0
    for start, end, text in changes:
        parts += (html[done:start], text)
        done = end
    return "".join((*parts, html[done:]))


def track_plain(text: str, replace: Callable[[str], str]) -> str:
    """Return the text of a mail with its links replaced."""
    return replace_links(text, replace) if "://" in text else text
