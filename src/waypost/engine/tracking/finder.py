"""Find where the token of a link leads: short links by their row, links in emails by their signature and their URL."""

from collections.abc import Container

from waypost.clock import DAY
from waypost.domain.tracking.mail_tokens import BAIT, CLICK_LENGTH, ClickTarget
from waypost.domain.tracking.tokens import to_key
from waypost.engine.tracking.links import LinkCache, StoredLink, TrackedUrl, UrlCache
from waypost.engine.tracking.mail import MailTracker


class LinkFinder:
    """Finds the links behind tokens. A token that nobody made, or that was changed, leads nowhere."""

    def __init__(
        self, links: LinkCache, urls: UrlCache, tracker: MailTracker, closed: Container[int] = frozenset()
    ) -> None:
        self._links = links
        self._urls = urls
        self._tracker = tracker
        #: The workspaces that are deleted: their links lead nowhere.
        self._closed = closed

    def cached(self, token: str) -> StoredLink | None:
        """Return the link of a token, if all that is needed is in memory."""
        return self._open(self._cached(token))

    async def find(self, token: str) -> StoredLink | None:
        """Return the link of a token, or None; raise Unavailable while the database does not answer."""
        return self._open(await self._find(token))

    def _open(self, link: StoredLink | None) -> StoredLink | None:
        return None if link is None or link.workspace_id in self._closed else link

    def _cached(self, token: str) -> StoredLink | None:
        if len(token) != CLICK_LENGTH:
            key = to_key(token)
            return None if key is None else self._links.cached(key)
        target = self._tracker.tokens.read_click(token)
        if target is None or target.number == BAIT:
            return None if target is None else _bait(target)
        url = self._urls.cached(target.url_id)
        return None if url is None else _in_mail(target, url)

    async def _find(self, token: str) -> StoredLink | None:
        if len(token) != CLICK_LENGTH:
            key = to_key(token)
            return None if key is None else await self._links.find(key)
        target = self._tracker.tokens.read_click(token)
        if target is None or target.number == BAIT:
            return None if target is None else _bait(target)
        url = await self._urls.find(target.url_id)
        return None if url is None else _in_mail(target, url)


def _in_mail(target: ClickTarget, url: TrackedUrl) -> StoredLink:
    expires_at = (target.last_day + 1) * DAY
    return StoredLink(
        url.id, url.workspace_id, target.message_id, None, url.url, expires_at, url.location, target.number
    )


def _bait(target: ClickTarget) -> StoredLink:
    """Return the link that no person sees. Its token names the workspace instead of a URL."""
    return StoredLink(0, target.url_id, target.message_id, None, "", (target.last_day + 1) * DAY, b"", BAIT)
