"""Accept requests of the text-message API: choose the connection, check the links, record the text."""

import asyncio

from waypost.domain.providers.connection import Connection
from waypost.domain.texts.client import UTM, CheckLinks, TextClient, link_parameters
from waypost.domain.texts.links import check_length, fill_marks, mark_links
from waypost.domain.texts.request import TextRequest
from waypost.domain.tracking.link_verdict import LinkKind, LinkVerdict
from waypost.engine.providers.registry import ConnectionRegistry
from waypost.engine.runtime.journal import Journal
from waypost.engine.texts.area import NewText, TextAccepted
from waypost.engine.tracking.link_checks import LinkChecker
from waypost.engine.tracking.settings import TrackingRegistry, TrackingSettings
from waypost.errors import Error, Invalid, Unavailable


class Texts:
    """Accepts texts of clients."""

    def __init__(
        self, journal: Journal, connections: ConnectionRegistry, tracking: TrackingRegistry, checker: LinkChecker
    ) -> None:
        self._journal = journal
        self._connections = connections
        self._tracking = tracking
        self._checker = checker

    async def send(self, client: TextClient, request: TextRequest, *, test: bool = False) -> TextAccepted:
        """Record a text and return the answer, which is durable. Raise an Error if it is refused."""
        text = await self.prepare(client, request, test=test)
        try:
            await self._journal.append([text])
        except Error as error:
            # All callers of the batch share the error; each raises a copy with a traceback of its own.
            raise error.copy() from None
        except Exception as error:
            raise Unavailable("The text could not be stored. Send it again.") from error
        answer = text.answer
        if answer is None:
            raise Unavailable("The text could not be stored. Send it again.")
        if isinstance(answer, Error):
            raise answer
        return answer

    async def prepare(self, client: TextClient, request: TextRequest, *, test: bool = False) -> NewText:
        """Return a text to record: with its connection, and its links checked and marked.

        Raise Invalid for a link that does not work, and a text that is too long with its links.
        """
        text = self._text(client, request, test)
        if client.check_links is CheckLinks.NOW and not self._links_work(request):
            await self._check_links(request)
        return text

    def preview_links(self, client: TextClient, request: TextRequest) -> tuple[str, tuple[str, ...]]:
        """Return the text of a request with short links that lead nowhere, and the URLs that real ones lead to.

        Raise Invalid for a link that cannot be sent, and a text that is too long with its links.
        """
        _, urls, shown = _mark(client, self._tracking.get(client.workspace_id), request)
        return shown, urls

    def _text(self, client: TextClient, request: TextRequest, test: bool) -> NewText:
        tracking = self._tracking.get(client.workspace_id)
        marked, urls, _ = _mark(client, tracking, request)
        return NewText(
            client=client,
            request=request,
            connection=self._connection(client),
            marked=marked,
            urls=urls,
            tracking=tracking,
            test=test,
        )

    def _links_work(self, request: TextRequest) -> bool:
        """Whether the links of a request are known to work."""
        page = self._checker.peek(request.click_url, "page") if request.click_url else None
        image = self._checker.peek(request.media_url, "image") if request.media_url else None
        return (not request.click_url or (page is not None and page.ok)) and (
            not request.media_url or (image is not None and image.ok)
        )

    async def _check_links(self, request: TextRequest) -> None:
        """Raise Invalid, with `field` and `reason`, for the first link that does not work."""
        for field, verdict in await check_links(self._checker, request.click_url, request.media_url):
            if not verdict.ok:
                what = "working image URL" if field == "mediaUrl" else "working URL"
                raise Invalid(
                    f"`{field}` is not a {what}: {verdict.detail}",
                    code="link_not_working",
                    field=field,
                    reason=verdict.reason,
                )

    def _connection(self, client: TextClient) -> Connection:
        known = self._connections
        if client.connection_id is not None:
            found = known.get(client.workspace_id, client.connection_id)
            if found is not None and found.status != "disabled":
                return found
        else:
            # What is queued for a paused connection is sent when somebody has repaired it.
            order = known.preferred(client.workspace_id, "sms") or known.paused(client.workspace_id, "sms")
            if order:
                return order[0]
        raise Unavailable(
            "No connection can send texts for this client. Enable one for sms, then send the text again.",
            code="no_connection",
            retry_after=60,
        )


async def check_links(checker: LinkChecker, click_url: str, media_url: str) -> list[tuple[str, LinkVerdict]]:
    """Check the links of a text at the same time; return the field and the verdict of each."""
    links: list[tuple[str, str, LinkKind]] = []
    if click_url:
        links.append(("clickUrl", click_url, "page"))
    if media_url:
        links.append(("mediaUrl", media_url, "image"))
    verdicts = await asyncio.gather(*(checker.check(url, kind) for _, url, kind in links))
    return [(field, verdict) for (field, _, _), verdict in zip(links, verdicts, strict=True)]


def _mark(client: TextClient, tracking: TrackingSettings, request: TextRequest) -> tuple[str, tuple[str, ...], str]:
    """Return the text with marks for links, the URLs behind the marks, and the text with short links that lead nowhere.

    Raise Invalid if that is too long: short links all have the same length.
    """
    marked, urls = mark_links(request.text, request.click_url, _parameters(client, tracking, request.purpose))
    if not urls:
        return marked, urls, marked
    shown = fill_marks(marked, [tracking.short_url(0)] * len(urls))
    check_length(shown)
    return marked, urls, shown


def _parameters(client: TextClient, tracking: TrackingSettings, purpose: str) -> dict[str, str]:
    """Return the parameters that links get: those of the client, else of the workspace, else the default ones."""
    if client.utm is None and tracking.utm is not None:
        return tracking.utm.named(purpose)
    return link_parameters(UTM if client.utm is None else client.utm, purpose)
