"""Live feeds: tell open pages what has changed in their workspace, whichever process changed it."""

import asyncio
from collections import defaultdict

from waypost.engine.runtime.scheduler import POLL_S
from waypost.storage.database import Database, Row, Tx

#: What may have changed, in the order of the columns of `live.state`.
TOPICS = ("events", "deliveries", "settings")


class Feed:
    """What one open page has not been told yet."""

    def __init__(self) -> None:
        self._topics: set[str] = set()
        self._changed = asyncio.Event()
        #: Set when the client is gone or the process stops.
        self.ended = asyncio.Event()

    def tell(self, topics: set[str]) -> None:
        """Add topics to tell."""
        self._topics |= topics
        self._changed.set()

    def close(self) -> None:
        """End the feed: the process stops, or the client is gone."""
        self.ended.set()
        self._changed.set()

    async def wait(self, seconds: float) -> set[str]:
        """Return the topics that have changed since the last call; none after so many seconds, or when it is closed."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return set()
        self._changed.clear()
        topics, self._topics = self._topics, set()
        return topics


#: One page is told at least this far apart, in seconds, so that a busy workspace does not make it load all the time.
PAUSE_S = 1.0
#: A told page asks for what it shows. Pages are told no more often than this in all, so that many of them leave the
#: process its time: each of 1,000 is told every 2.5 s.
TELLS_PER_S = 400


class LiveFeeds:
    """The feeds of one process. One query a second for each workspace that somebody looks at serves all its feeds."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._feeds: dict[int, set[Feed]] = defaultdict(set)
        self._states: dict[int, Row] = {}

    def open(self, workspace_id: int) -> Feed:
        """Return a new feed of a workspace."""
        feed = Feed()
        self._feeds[workspace_id].add(feed)
        return feed

    def leave(self, workspace_id: int, feed: Feed) -> None:
        """Remove a feed that nobody reads any more."""
        self._feeds[workspace_id].discard(feed)
        if not self._feeds[workspace_id]:
            del self._feeds[workspace_id]
            self._states.pop(workspace_id, None)

    @property
    def spread_s(self) -> float:
        """The seconds over which pages are told of one change: none unless more are open than can be told at once."""
        every = sum(map(len, self._feeds.values())) / TELLS_PER_S
        return max(0.0, 2 * (every - PAUSE_S))

    async def poll(self) -> float:
        """Compare the workspaces with what they were, and tell their feeds; return when to do it again."""
        for workspace_id in list(self._feeds):
            state = await self._database.read(_state, workspace_id)
            before = self._states.get(workspace_id, state)
            changed = {topic for topic, old, new in zip(TOPICS, before, state, strict=True) if old != new}
            if workspace_id in self._feeds:
                self._states[workspace_id] = state
                for feed in self._feeds[workspace_id] if changed else ():
                    feed.tell(changed)
        return POLL_S

    def close(self) -> None:
        """End all feeds, so that the server can stop."""
        for feeds in self._feeds.values():
            for feed in feeds:
                feed.close()


async def _state(tx: Tx, workspace_id: int) -> Row:
    row = await tx.row("live.state", workspace_id=workspace_id)
    return tuple(row) if row else (0, 0, 0)
