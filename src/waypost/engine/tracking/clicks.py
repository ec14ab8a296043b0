"""Clicks on their way to the database: handed to the journal, kept in memory within a bound until they are recorded."""

import asyncio
from collections.abc import Iterable

import msgspec

from waypost.domain.tracking.clicks import Visit
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


class ClickIntake:
    """Takes clicks from the edge.

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
        if self.waiting >= self._most or self._journal.closed:
            self.dropped += 1
            return None
        self.waiting += 1
        recorded = asyncio.get_running_loop().create_future()
        self._journal.report_now(Click(link, visit, at, nonce, recorded))
        return recorded

    def recorded(self, clicks: Iterable[Click]) -> None:
        """Let go of clicks that are durable."""
        for click in clicks:
            self.waiting -= 1
            if not click.recorded.done():
                click.recorded.set_result(None)

    def give_up(self, click: Click) -> None:
        """Let go of a click that cannot be recorded."""
        self.waiting -= 1
        self.dropped += 1
        if not click.recorded.done():
            click.recorded.set_result(None)
