"""Short links: make them, store them with a message, and find them for clicks."""

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

import msgspec

from waypost.clock import DAY, SECOND, now_us
from waypost.domain.messaging.message import Content
from waypost.domain.texts.links import check_length, fill_marks, mark_links
from waypost.domain.tracking.tokens import KEY_BYTES, make_keys, short_url, to_token
from waypost.domain.tracking.utm import location
from waypost.engine.runtime.retention import delete_in_steps, delete_selected
from waypost.engine.tracking.settings import TrackingSettings
from waypost.errors import Error, Invalid, Unavailable
from waypost.storage.database import Database, Row, Tx

#: Days for which an expired link still gets a page that says so; then it is deleted and unknown.
EXPIRED_DAYS = 30
#: Days for which the hourly counts of clicks are kept, as those of messages.
COUNT_DAYS = 400
#: Days for which the latest clicks on an email are kept.
BURST_DAYS = 1
#: Links in memory, and the characters of their URLs.
CACHED_LINKS, CACHED_CHARACTERS = 50_000, 16_000_000
#: Ids that are no link, in memory, and for how long they are believed to be none.
CACHED_ABSENT, ABSENT_FOR = 10_000, 5 * SECOND
#: Ids that one query looks up, and that wait for a query; further requests get 503.
READ_AT_ONCE, MOST_WAITING = 1000, 10_000

RandomBytes = Callable[[int], bytes]


class LinkTarget(msgspec.Struct, frozen=True, kw_only=True):
    """What a link is to be made for."""

    workspace_id: int
    url: str
    message_id: int | None = None
    profile_id: int | None = None


class NewLink(msgspec.Struct, kw_only=True):
    """A link that is not stored yet."""

    id: int
    target: LinkTarget
    created_at: int
    expires_at: int

    def short_url(self, base_url: str) -> str:
        """Return the short link on a tracking domain."""
        return short_url(base_url, self.id)

    def row(self) -> Row:
        """Return the row for `links.add`."""
        to = self.target
        return (self.id, to.workspace_id, to.message_id, to.profile_id, to.url, self.created_at, self.expires_at)


class StoredLink(msgspec.Struct, frozen=True):
    """A link as a click finds it."""

    id: int
    workspace_id: int
    message_id: int | None
    profile_id: int | None
    url: str
    expires_at: int
    #: The URL as the Location header has it; empty if it has none.
    location: bytes
    #: Which link of an email it is; None for a short link.
    number: int | None = None


def new_links(
    targets: Iterable[LinkTarget], now: int, link_days: int, random_bytes: RandomBytes = os.urandom
) -> list[NewLink]:
    """Return a link with a random id for each target, valid for `link_days`. `add_links` stores them."""
    listed = list(targets)
    keys = make_keys(random_bytes(KEY_BYTES * len(listed)))
    expires_at = now + link_days * DAY
    return [
        NewLink(id=key, target=target, created_at=now, expires_at=expires_at)
        for key, target in zip(keys, listed, strict=True)
    ]


def shorten_links(
    content: Content,
    settings: TrackingSettings,
    parameters: Mapping[str, str],
    now: int,
    workspace_id: int,
    *,
    message_id: int,
    profile_id: int | None,
) -> list[NewLink]:
    """Put short links in place of the links of a text; return them. `parameters` are added to those that lack them.

    Raise Invalid for a link that cannot be sent, and for a text that is too long with its links.
    """
    marked, urls = mark_links(content.text, content.click_url, parameters, settings.unsubscribe_url)
    if not urls:
        return []
    targets = [
        LinkTarget(workspace_id=workspace_id, url=url, message_id=message_id, profile_id=profile_id) for url in urls
    ]
    links = new_links(targets, now, settings.link_days)
    content.text = fill_marks(marked, [link.short_url(settings.base_url) for link in links])
    content.click_url = ""
    check_length(content.text)
    return links


def sample_links(text: str, click_url: str, settings: TrackingSettings, parameters: Mapping[str, str]) -> str:
    """Return a text with links in place of its own that are as long as short links and lead nowhere."""
    marked, urls = mark_links(text, click_url, parameters, settings.unsubscribe_url)
    return fill_marks(marked, [short_url(settings.base_url, 0)] * len(urls))


async def add_links(
    tx: Tx, links: Sequence[NewLink], random_bytes: RandomBytes = os.urandom
) -> list[tuple[NewLink, str]]:
    """Store links. One whose id is taken gets another one.

    Return those links, each with the token that it had before: texts that contain it need the new one.
    When another process takes an id at the same moment, the transaction fails with a Conflict and is tried again.
    """
    before: dict[int, str] = {}
    seen: set[int] = set()
    unchecked = list(range(len(links)))
    while unchecked:
        taken = {row[0] for row in await tx.rows("links.taken", ids=[links[index].id for index in unchecked])}
        colliding = []
        for index in unchecked:
            id_ = links[index].id
            if id_ in taken or id_ in seen:
                colliding.append(index)
            seen.add(id_)
        for index, key in zip(colliding, make_keys(random_bytes(KEY_BYTES * len(colliding))), strict=True):
            before.setdefault(index, to_token(links[index].id))
            links[index].id = key
        unchecked = colliding
    await tx.insert("links.add", [link.row() for link in links])
    return [(links[index], token) for index, token in sorted(before.items())]


class TrackedUrl(msgspec.Struct, frozen=True):
    """A URL that links in emails lead to."""

    id: int
    workspace_id: int
    url: str
    #: The URL as the Location header has it; empty if it has none.
    location: bytes


class Stored(Protocol):
    """What a cache finds: a link, or a URL of emails."""

    @property
    def id(self) -> int:
        """The id by which it is found."""
        ...

    @property
    def url(self) -> str:
        """Where it leads."""
        ...


S = TypeVar("S", bound=Stored)


class StoredCache(Generic[S]):
    """Finds links by their ids. Look-ups of many requests share a query; what was found stays in memory for a while.

    Where a link leads never changes, so nothing that is cached goes stale but the absence of a link.
    """

    def __init__(self, database: Database, query: str, read_row: Callable[[Row], S]) -> None:
        self._database = database
        self._query = query
        self._read_row = read_row
        self._found: OrderedDict[int, S] = OrderedDict()
        self._characters = 0
        #: Ids that are no link, and until when that is believed.
        self._absent: OrderedDict[int, int] = OrderedDict()
        self._waiting: dict[int, asyncio.Future[S | None]] = {}
        self._unread: list[int] = []
        self._reading: asyncio.Task[None] | None = None
        #: Queries so far.
        self.reads = 0

    def cached(self, id_: int) -> S | None:
        """Return a link that is in memory."""
        found = self._found.get(id_)
        if found is not None:
            self._found.move_to_end(id_)
        return found

    async def find(self, id_: int) -> S | None:
        """Return a link, or None; raise Unavailable while the database does not answer."""
        if (found := self.cached(id_)) is not None:
            return found
        if self._absent.get(id_, 0) > now_us():
            return None
        future = self._waiting.get(id_)
        if future is None:
            if len(self._waiting) >= MOST_WAITING:
                raise Unavailable("Too many links are being looked up. Retry in a moment.", code="overloaded")
            future = self._waiting[id_] = asyncio.get_running_loop().create_future()
            self._unread.append(id_)
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._read(), name="links")
        try:
            # Others may wait for the same link: a request that is cancelled must not cancel it for them.
            return await asyncio.shield(future)
        except Error as error:
            # Each request raises a copy with its own traceback.
            raise error.copy() from None

    async def _read(self) -> None:
        """Look up what is wanted, query by query: requests that come during one share the next."""
        while self._unread:
            ids, self._unread = self._unread[:READ_AT_ONCE], self._unread[READ_AT_ONCE:]
            self.reads += 1
            try:
                rows = await self._database.read(_load, self._query, ids)
                found = {row[0]: self._read_row(row) for row in rows}
            except Exception as error:
                for id_ in ids:
                    future = self._waiting.pop(id_)
                    future.set_exception(_own(error))
                    # Nobody may be left to read it.
                    future.exception()
                continue
            until = now_us() + ABSENT_FOR
            for id_ in ids:
                link = found.get(id_)
                if link is None:
                    self._absent[id_] = until
                    self._absent.move_to_end(id_)
                else:
                    self._keep(link)
                self._waiting.pop(id_).set_result(link)
            while len(self._absent) > CACHED_ABSENT:
                self._absent.popitem(last=False)

    def _keep(self, link: S) -> None:
        self._found[link.id] = link
        self._characters += len(link.url)
        while len(self._found) > CACHED_LINKS or self._characters > CACHED_CHARACTERS:
            _, dropped = self._found.popitem(last=False)
            self._characters -= len(dropped.url)


class LinkCache(StoredCache[StoredLink]):
    """Finds short links."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, "links.load", _stored)


class UrlCache(StoredCache[TrackedUrl]):
    """Finds the URLs of links in emails."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, "tracked_urls.load", _stored_url)


async def prune_links(database: Database, now: int) -> int:
    """Delete links a while after they expired, and counts past their retention; return how many rows."""
    deleted = await delete_in_steps(
        database, delete_selected, "links.expired", "links.delete", before=now - EXPIRED_DAYS * DAY
    )
    deleted += await delete_in_steps(
        database, delete_selected, "tracked_urls.expired", "tracked_urls.delete", before=now - EXPIRED_DAYS * DAY
    )
    deleted += await delete_in_steps(
        database, delete_selected, "click_bursts.expired", "click_bursts.delete", before=now - BURST_DAYS * DAY
    )
    before = (now - COUNT_DAYS * DAY) // SECOND
    deleted += await delete_in_steps(database, _prune_counts, "click_counts.oldest", "click_counts.delete", before)
    return deleted + await delete_in_steps(database, _prune_counts, "open_counts.oldest", "open_counts.delete", before)


async def _prune_counts(tx: Tx, find: str, delete: str, before: int) -> int:
    ids = sorted({row[0] for row in await tx.rows(find, before=before, n=500)})
    return await tx.run(delete, ids=ids, before=before) if ids else 0


async def _load(tx: Tx, query: str, ids: list[int]) -> list[Row]:
    return await tx.rows(query, ids=ids)


def _stored(row: Row) -> StoredLink:
    id_, workspace_id, message_id, profile_id, url, expires_at = row
    return StoredLink(id_, workspace_id, message_id, profile_id, url, expires_at, _location(url))


def _stored_url(row: Row) -> TrackedUrl:
    id_, workspace_id, url = row
    return TrackedUrl(id_, workspace_id, url, _location(url))


def _location(url: str) -> bytes:
    try:
        return location(url).encode("ascii")
    except Invalid:
        # Nothing stores such a URL; a header with it could not be sent.
        return b""


def _own(error: Exception) -> Error:
    """Return an error of our own for requests that share a query that failed."""
    if isinstance(error, Error):
        return error.copy()
    return Unavailable("The link could not be looked up. Retry.")
