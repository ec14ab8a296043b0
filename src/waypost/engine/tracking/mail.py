"""Track emails: the values that their templates see, their links, their pixel, and the headers to unsubscribe."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import msgspec

from waypost.clock import DAY
from waypost.domain.messaging.keywords import with_opt_out
from waypost.domain.messaging.message import Content
from waypost.domain.messaging.mime import unsubscribe_headers
from waypost.domain.templates.link_marks import LinkMarks
from waypost.domain.tracking.mail_links import LinkTargets, MailLinks, UnsubscribeLinks, track_html, track_plain
from waypost.domain.tracking.mail_tokens import (
    BAIT,
    CLICK_PATH,
    LAST_DAY,
    OPEN_PATH,
    UNSUBSCRIBE_PATH,
    MailTokens,
    UnsubscribeTarget,
)
from waypost.engine.tracking.settings import MailTracking, TrackingRegistry, TrackingSettings, UtmParameters
from waypost.storage.database import Row, Tx

#: The trait by which a person refuses to be tracked: `false`.
CONSENT_TRAIT = "email_tracking"
PREFERENCES = "/preferences"
#: Days for which a stored URL outlives its tokens, so that it is not written again with every mail.
SLACK_DAYS = 30
#: URLs of which this process knows until when they are stored.
KNOWN_URLS = 50_000

_PIXEL = '<img src="{}" alt="" width="1" height="1" border="0" style="height:1px;width:1px;border:0">'
_BAIT = (
    '<a href="{}" style="display:none;max-height:0;overflow:hidden;mso-hide:all" tabindex="-1" aria-hidden="true" '
    'rel="nofollow"></a>'
)
_NO_TRAITS: Mapping[str, Any] = {}


class MailTracker:
    """Makes what tracks emails. It has no tokens until the process has started."""

    def __init__(self, settings: TrackingRegistry, marks: LinkMarks) -> None:
        self._settings = settings
        self.marks = marks
        #: The key of the tokens; empty until the process has started.
        self.key = b""
        self._tokens: MailTokens | None = None
        #: Until when URLs are certainly stored.
        self._stored: OrderedDict[int, int] = OrderedDict()

    @property
    def tokens(self) -> MailTokens:
        """The tokens of this server."""
        if self._tokens is None:
            raise RuntimeError("the key of tokens is not loaded yet")
        return self._tokens

    def use(self, key: bytes) -> None:
        """Make and read tokens with this key."""
        self.key = key
        self._tokens = MailTokens(key)

    def settings(self, workspace_id: int) -> TrackingSettings:
        """Return how a workspace tracks."""
        return self._settings.get(workspace_id)

    def mailing(self, workspace_id: int, now: int, look: "Look", channel: str = "email") -> "Mailing":
        """Return what many messages of one look share."""
        return make_mailing(self.tokens, self.marks, self.settings(workspace_id), workspace_id, now, look, channel)

    def sample(self, workspace_id: int) -> dict[str, str]:
        """Return what templates see in a preview: links that lead nowhere."""
        url = f"{self._settings.get(workspace_id).base_url}{UNSUBSCRIBE_PATH}preview"
        return UnsubscribeLinks(url, url + PREFERENCES).values()

    def stored(self, urls: "list[NewUrl]") -> None:
        """Note that URLs are durable, so that they are not written again with the next mail."""
        for url in urls:
            self._stored[url.id] = url.expires_at
        while len(self._stored) > KNOWN_URLS:
            self._stored.popitem(last=False)

    def unstored(self, urls: "list[NewUrl]") -> "list[NewUrl]":
        """Return the URLs that are not certainly stored for as long as their tokens are valid."""
        return [url for url in urls if self._stored.get(url.id, 0) < url.expires_at - SLACK_DAYS * DAY]


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """How messages are tracked and what they say of unsubscribing: as those of this purpose and campaign."""

    purpose: str
    campaign: str = ""
    #: The list that its unsubscribe link offers to leave; 0 for none.
    list_id: int = 0
    #: What overrides the settings of the workspace.
    utm: UtmParameters | None = None
    opens: bool | None = None
    clicks: bool | None = None


class NewUrl(msgspec.Struct, frozen=True):
    """A URL to be stored with the mails that link to it."""

    id: int
    workspace_id: int
    url: str
    expires_at: int

    def row(self) -> Row:
        """Return the row for `tracked_urls.add`."""
        return msgspec.structs.astuple(self)


class Mailing:
    """What many messages of one workspace, purpose and list share; it collects the URLs that they link to."""

    def __init__(
        self,
        tokens: MailTokens,
        marks: LinkMarks,
        settings: TrackingSettings,
        *,
        workspace_id: int,
        channel: str,
        promotional: bool,
        parameters: Mapping[str, str],
        list_id: int,
        opens: bool,
        clicks: bool,
        last_day: int,
    ) -> None:
        self.tokens = tokens
        self.marks = marks
        self.base_url = settings.base_url
        self.workspace_id = workspace_id
        self.channel = channel
        self.promotional = promotional
        self.list_id = list_id
        self.opens = opens
        self.clicks = clicks
        self.bait = settings.mail.bait and promotional
        self.opt_out_text = settings.mail.opt_out_text
        self.last_day = last_day
        self.targets = LinkTargets(workspace_id, settings.base_url, parameters, tokens)
        self._urls: dict[int, NewUrl] = {}

    def mail(
        self, message_id: int, address: str, profile_id: int | None = None, traits: Mapping[str, Any] = _NO_TRAITS
    ) -> "TrackedMail":
        """Return what one message to one person adds."""
        target = UnsubscribeTarget(self.workspace_id, self.channel, address, message_id, profile_id or 0, self.list_id)
        url = f"{self.base_url}{UNSUBSCRIBE_PATH}{self.tokens.unsubscribe_token(target)}"
        return TrackedMail(
            self, message_id, UnsubscribeLinks(url, url + PREFERENCES), traits.get(CONSENT_TRAIT) is not False
        )

    def note(self, urls: dict[int, str]) -> None:
        """Collect the URLs of a mail."""
        expires_at = (self.last_day + 1 + SLACK_DAYS) * DAY
        for id_, url in urls.items():
            if id_ not in self._urls:
                self._urls[id_] = NewUrl(id_, self.workspace_id, url, expires_at)

    def take_urls(self) -> list[NewUrl]:
        """Return the URLs, and forget them. Those that `MailTracker.unstored` returns are stored with the messages."""
        urls, self._urls = self._urls, {}
        return list(urls.values())


def make_mailing(
    tokens: MailTokens,
    marks: LinkMarks,
    settings: TrackingSettings,
    workspace_id: int,
    now: int,
    look: Look,
    channel: str = "email",
) -> Mailing:
    """Return what many messages of one look share."""
    given = settings.mail
    promotional, email = look.purpose == "promotional", channel == "email"
    if not promotional and not given.transactional:
        given = MailTracking(opens=False, clicks=False)
    return Mailing(
        tokens,
        marks,
        settings,
        workspace_id=workspace_id,
        channel=channel,
        promotional=promotional,
        parameters=settings.parameters(look.campaign or look.purpose, look.utm),
        list_id=look.list_id,
        opens=email and (given.opens if look.opens is None else look.opens),
        clicks=email and (given.clicks if look.clicks is None else look.clicks),
        last_day=min(now // DAY + settings.link_days, LAST_DAY),
    )


class TrackedMail:
    """What one message adds to the values of its template and to its content."""

    __slots__ = ("_consents", "_mailing", "_message_id", "links")

    def __init__(self, mailing: Mailing, message_id: int, links: UnsubscribeLinks, consents: bool) -> None:
        self._mailing = mailing
        self._message_id = message_id
        self._consents = consents
        self.links = links

    @property
    def values(self) -> dict[str, str]:
        """What its template sees: `unsubscribe_url` and `preferences_url`."""
        return self.links.values()

    def finish(self, content: Content) -> Content:
        """Track the links of an email, and add its pixel and headers, in place; return it.

        A promotional text gets the words of the workspace by which to opt out, if it has none.
        """
        mailing = self._mailing
        if mailing.channel == "sms" and mailing.promotional:
            content.text = with_opt_out(content.text, mailing.opt_out_text)
        if mailing.channel != "email":
            return content
        clicks, opens = mailing.clicks and self._consents, mailing.opens and self._consents
        links = MailLinks(mailing.targets, mailing.tokens, mailing.base_url, self._message_id, mailing.last_day)
        if content.html:
            last = self._pixel() if opens else ""
            if clicks and mailing.bait:
                last = self._bait() + last
            replace = links.in_html if clicks else None
            if replace is None and not last:
                content.html = mailing.marks.remove(content.html)
            else:
                content.html = track_html(content.html, mailing.marks, replace, last)
        if content.text and clicks:
            content.text = track_plain(content.text, links.in_text)
        mailing.note(links.urls)
        if mailing.promotional and all(name.lower() != "list-unsubscribe" for name in content.headers):
            content.headers = content.headers | unsubscribe_headers(self.links.unsubscribe_url)
        return content

    def _pixel(self) -> str:
        mailing = self._mailing
        token = mailing.tokens.open_token(mailing.workspace_id, self._message_id)
        return _PIXEL.format(f"{mailing.base_url}{OPEN_PATH}{token}")

    def _bait(self) -> str:
        mailing = self._mailing
        token = mailing.tokens.click_token(self._message_id, mailing.workspace_id, BAIT, mailing.last_day)
        return _BAIT.format(f"{mailing.base_url}{CLICK_PATH}{token}")


async def add_urls(tx: Tx, urls: list[NewUrl]) -> None:
    """Store URLs; call `MailTracker.stored` once they are durable."""
    # Sorted, so that two transactions cannot deadlock.
    rows = {url.id: url.row() for url in urls}
    await tx.insert("tracked_urls.add", [rows[id_] for id_ in sorted(rows)])
