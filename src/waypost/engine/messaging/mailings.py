"""What the messages of one request share: how they are tracked, and what is stored with them."""

from waypost.domain.messaging.message import Content
from waypost.domain.messaging.request import MessageRequest
from waypost.engine.tracking.links import NewLink, shorten_links
from waypost.engine.tracking.mail import Look, Mailing, MailTracker, NewUrl


class Mailings:
    """What the messages of one request share. With a look, they are the test of a campaign and look as it does."""

    def __init__(self, tracker: MailTracker, workspace_id: int, now: int, look: Look | None = None) -> None:
        self._tracker = tracker
        self._look = look
        self._workspace_id = workspace_id
        self._now = now
        #: The short links of texts, to be stored with them.
        self.links: list[NewLink] = []
        self._made: dict[tuple[str, Look], Mailing] = {}

    def of(self, channel: str, request: MessageRequest) -> Mailing:
        """Return what a message shares with others."""
        look = self._look or Look(
            purpose=request.purpose or "transactional",
            campaign=request.campaign or "",
            opens=request.track_opens,
            clicks=request.track_clicks,
        )
        found = self._made.get((channel, look))
        if found is None:
            found = self._made[(channel, look)] = self._tracker.mailing(self._workspace_id, self._now, look, channel)
        return found

    def shorten(self, content: Content, message_id: int, profile_id: int | None) -> None:
        """Put short links in place of the links of a text that is the test of a campaign."""
        if self._look is None:
            return
        settings = self._tracker.settings(self._workspace_id)
        parameters = settings.parameters(self._look.campaign, self._look.utm)
        self.links += shorten_links(
            content, settings, parameters, self._now, self._workspace_id, message_id=message_id, profile_id=profile_id
        )

    def take_urls(self) -> list[NewUrl]:
        """Return the URLs to be stored with the messages."""
        return self._tracker.unstored([url for mailing in self._made.values() for url in mailing.take_urls()])
