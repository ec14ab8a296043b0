"""What is known of a click: the kind of device, and whether a machine made it. Clicks of machines are flagged."""

import re
from collections.abc import Iterable
from functools import lru_cache

import msgspec

from waypost.clock import SECOND
from waypost.domain.messaging.message import Status
from waypost.domain.messaging.status import HistoryEntry
from waypost.domain.tracking.machine_agents import AGENTS, APPLE_MAIL, CRAWLER, MAIL_PRIVACY

#: A click so soon after the send was made by a machine on the way: nobody reads as fast.
SOON = 2 * SECOND
#: Longer user agents are cut.
LONGEST_USER_AGENT = 512
#: Headers by which browsers and proxies say that they fetch a page before anybody asked for it.
PREFETCH_HEADERS = frozenset({b"purpose", b"sec-purpose", b"x-purpose", b"x-moz"})

_PREFETCH = re.compile(r"prefetch|prerender|preview|instant", re.IGNORECASE)
#: Words such as Googlebot and crawler. Cubot makes phones.
_ROBOT = re.compile(r"(?<!cu)bot\b|crawler|spider|crawling|scraper", re.ASCII)
_BROWSER = re.compile(r"mozilla/|opera|dalvik|ucweb", re.ASCII)


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    """One request for a short link."""

    #: GET or HEAD.
    method: str
    ip: str
    user_agent: str
    #: Whether a header says that nobody asked for the page yet.
    prefetch: bool = False


class Judgement(msgspec.Struct, frozen=True):
    """What is known of a click."""

    #: phone, tablet, desktop, bot or unknown.
    device: str
    #: Why it counts as made by a machine; None if a person made it, as far as is known.
    machine_reason: str | None


def judge(visit: Visit, at: int, history: Iterable[HistoryEntry], *, in_datacenter: bool) -> Judgement:
    """Return the device and whether a machine made a click, by its request and the history of its message."""
    device, reason = read_user_agent(visit.user_agent)
    if visit.method == "HEAD":
        reason = "head"
    elif visit.prefetch:
        reason = "prefetch"
    elif reason is None and in_datacenter:
        reason = "datacenter"
    elif reason is None and _follows_the_send(at, history):
        reason = "too_soon"
    return Judgement(device, reason)


def is_prefetch(value: str) -> bool:
    """Return whether the value of one of the `PREFETCH_HEADERS` says that nobody asked for the page yet."""
    return _PREFETCH.search(value) is not None


@lru_cache(maxsize=4096)
def read_user_agent(user_agent: str) -> tuple[str, str | None]:
    """Return the device of a user agent, and the reason why it is a machine, if it is one."""
    text = user_agent.lower()
    reason = _machine(text)
    return ("bot" if reason is not None else _device(text)), reason


def _machine(text: str) -> str | None:
    if not text.strip():
        return "no_user_agent"
    if text.strip() == APPLE_MAIL:
        return MAIL_PRIVACY
    for part, reason in AGENTS:
        if part in text:
            return reason
    return CRAWLER if _ROBOT.search(text) else None


def _device(text: str) -> str:
    if not _BROWSER.search(text):
        return "unknown"
    if "ipad" in text or "tablet" in text or "kindle" in text or "silk/" in text or "playbook" in text:
        return "tablet"
    if "smart-tv" in text or "smarttv" in text or "googletv" in text or "appletv" in text or "crkey" in text:
        return "unknown"
    if "android" in text:
        return "phone" if "mobile" in text else "tablet"
    if "iphone" in text or "ipod" in text or "mobile" in text or "windows phone" in text or "opera mini" in text:
        return "phone"
    if "windows nt" in text or "macintosh" in text or "x11" in text or "linux" in text or "cros" in text:
        return "desktop"
    return "unknown"


def _follows_the_send(at: int, history: Iterable[HistoryEntry]) -> bool:
    """Return whether a click came within `SOON` of a send, or of its result."""
    return any(entry.status in (Status.SENDING, Status.SENT) and 0 <= at - entry.at < SOON for entry in history)
