"""Clicks and opens on their way to the database: handed to the journal, and in memory until they are recorded."""

import asyncio
from collections.abc import Iterable

import msgspec

from waypost.domain.tracking.clicks import Visit
from waypost.domain.tracking.mail_tokens import OpenTarget
from waypost.engine.runtime.journal import Journal
from waypost.engine.tracking.links import StoredLink


class Click(msgspec.Struct, eq=False):
    """A click on a short link, to be recorded."""

    link: StoredLink
    visit: Visit
    #: In microseconds.
    at: int
    #: Random: the same click recorded again, after a commit that was not confirmed, is one event.
    nonce: str
    #: Done when the click is durable.
    recorded: "asyncio.Future[None]"


class Open(msgspec.Struct, eq=False):
    """An open of an email, to be recorded."""

    workspace_id: int
    message_id: int
    visit: Visit
    #: In microseconds.
    at: int
    #: As that of a click.
    nonce: str
    #: Done when the open is durable.
    recorded: "asyncio.Future[None]"


class ClickIntake:
    """Takes clicks and opens from the edge.

    They are reported to the journal, which keeps them while the store is away. No more than `most` are kept.
    """

    def __init__(self, journal: Journal, most: int) -> None:
        self._journal = journal
        self._most = most
        #: Clicks that are not recorded yet.
        self.waiting = 0
        #: Clicks that were not kept.
        self.dropped = 0

    def take(self, link: StoredLink, visit: Visit, at: int, nonce: str) -> "asyncio.Future[None] | None":
        """Keep a click; the future is done when it is durable. None when it was dropped: too many wait."""
        recorded = self._room()
        if recorded is not None:
            self._journal.report_now(Click(link, visit, at, nonce, recorded))
        return recorded

    def take_open(self, opened: OpenTarget, visit: Visit, at: int, nonce: str) -> "asyncio.Future[None] | None":
        """Keep an open; the future is done when it is durable. None when it was dropped: too many wait."""
        recorded = self._room()
        if recorded is not None:
            item = Open(opened.workspace_id, opened.message_id, visit, at, nonce, recorded)
            self._journal.report_now(item)
        return recorded

    def _room(self) -> "asyncio.Future[None] | None":
        if self.waiting >= self._most or self._journal.closed:
            self.dropped += 1
            return None
        self.waiting += 1
        return asyncio.get_running_loop().create_future()

    def recorded(self, clicks: Iterable[Click | Open]) -> None:
        """Let go of clicks and opens that are durable."""
        for click in clicks:
            self.waiting -= 1
            if not click.recorded.done():
                click.recorded.set_result(None)

    def give_up(self, click: Click | Open) -> None:
        """Let go of a click or an open that cannot be recorded."""
        self.waiting -= 1
        self.dropped += 1
        if not click.recorded.done():
            click.recorded.set_result(None)
