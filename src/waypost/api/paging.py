"""Pages of lists: `{"data": […], "next": cursor or null}`. Cursors hold the key of the last row, not an offset."""

import base64
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Generic, TypeVar

import msgspec
from litestar.params import QueryParameter

from waypost.clock import first_id
from waypost.errors import Invalid
from waypost.storage.database import Row

T = TypeVar("T")
R = TypeVar("R")

#: Larger than every id: the start of a newest-first list.
NEWEST = (1 << 63) - 1

#: Rows that one query scans in a list filtered without an index, and the most queries for one page. After them the page
#: is returned even if it is short, with a `next`.
SCAN = 5_000
STRETCHES = 100

Limit = Annotated[int, QueryParameter(name="limit", ge=1, le=1000, description="Maximum number of items on a page.")]
After = Annotated[
    str | None, QueryParameter(name="after", max_length=200, description="The `next` of the previous page.")
]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str, list[int | str]]).decode


class Page(msgspec.Struct, Generic[T]):
    """A page of a list."""

    data: list[T]
    #: Send it as `?after=` to get the next page; null on the last page.
    next: str | None = None


def cursor(name: str, *key: int | str) -> str:
    """Return the cursor after a row of the named list; only `position` reads it."""
    return base64.urlsafe_b64encode(_encode((name, key))).decode().rstrip("=")


def position(name: str, after: str | None, *start: int | str) -> tuple[int | str, ...]:
    """Return the key in a cursor, or the start of the list; raise Invalid for a cursor of another list."""
    if after is None:
        return start
    try:
        found, key = _decode(base64.b64decode(after + "=" * (-len(after) % 4), altchars=b"-_", validate=True))
    except (ValueError, msgspec.DecodeError, msgspec.ValidationError):
        found, key = "", []
    if (
        found != name
        or [type(part) for part in key] != [type(part) for part in start]
        or not all(map(_possible, key, start))
    ):
        raise Invalid(
            "`after` is not a cursor of this list. Use the `next` of its previous page.", code="invalid_cursor"
        )
    return tuple(key)


def _possible(part: int | str, first: int | str) -> bool:
    """Return whether a list may have a part of a key, which a client may have forged; few begin below 0."""
    if isinstance(part, str) or isinstance(first, str):
        return "\0" not in str(part)
    return min(first, 0) <= part <= NEWEST


def made_from(at: int) -> int:
    """Return the smallest id that can be generated at this time or later."""
    return min(first_id(at), NEWEST)


def before(name: str, after: str | None) -> int:
    """Return the id before which a page of a newest-first list begins."""
    return int(position(name, after, NEWEST)[0])


def page(name: str, rows: Sequence[R], limit: int, show: Callable[[R], T], key: Callable[[R], int]) -> Page[T]:
    """Return a page of up to `limit + 1` rows; the extra row means that another page follows."""
    visible = rows[:limit]
    following = cursor(name, key(visible[-1])) if len(rows) > limit else None
    return Page([show(row) for row in visible], following)


async def scan(
    name: str,
    limit: int,
    first: int,
    read: Callable[..., Awaitable[Sequence[R]]],
    find_end: Callable[..., Awaitable[Row | None]],
    show: Callable[[R], T],
    key: Callable[[R], int],
) -> Page[T]:
    """Return a page of a newest-first list that is filtered without an index, reading SCAN rows per query.

    `read(before=…, scan=…, n=…)` returns the matching rows of one stretch, `find_end(before=…, scan=…)` the last id and
    the length of the stretch.
    """
    found: list[R] = []
    for _ in range(STRETCHES):
        found += await read(before=first, scan=SCAN, n=limit + 1 - len(found))
        end = None if len(found) > limit else await find_end(before=first, scan=SCAN)
        if end is None or end[1] < SCAN:
            return page(name, found, limit, show, key)
        first = end[0]
    return Page([show(row) for row in found], cursor(name, first))
