"""Lists in pages: `{"data": […], "next": cursor or null}`, cut by the key of the last row, never by an offset."""

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

#: Larger than every id: where a list starts that shows the newest first.
NEWEST = (1 << 63) - 1

#: Rows that one query looks at where a list is filtered without an index, and how many such queries make a page: then
#: the page may be short and have a next.
SCAN = 5_000
STRETCHES = 100

Limit = Annotated[int, QueryParameter(name="limit", ge=1, le=1000, description="Rows of a page.")]
After = Annotated[
    str | None, QueryParameter(name="after", max_length=200, description="The `next` of the page before this one.")
]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str, list[int | str]]).decode


class Page(msgspec.Struct, Generic[T]):
    """A page of a list."""

    data: list[T]
    #: Give it as `?after=` to get the page that follows; null on the last one.
    next: str | None = None


def cursor(name: str, *key: int | str) -> str:
    """The cursor behind a row of the list of this name; nobody but `position` reads it."""
    return base64.urlsafe_b64encode(_encode((name, key))).decode().rstrip("=")


def position(name: str, after: str | None, *start: int | str) -> tuple[int | str, ...]:
    """The key in a cursor, or the start of the list; Invalid for the cursor of another list."""
    if after is None:
        return start
    try:
        found, key = _decode(base64.b64decode(after + "=" * (-len(after) % 4), altchars=b"-_", validate=True))
    except (ValueError, msgspec.DecodeError, msgspec.ValidationError):
        found, key = "", []
    if found != name or [type(part) for part in key] != [type(part) for part in start] or not all(map(_storable, key)):
        raise Invalid("This cursor is not one of this list. Use the `next` of its last page.", code="invalid_cursor")
    return tuple(key)


def _storable(part: int | str) -> bool:
    """Whether a database takes a part of a key that a stranger may have made up."""
    return "\0" not in part if isinstance(part, str) else 0 <= part <= NEWEST


def made_from(at: int) -> int:
    """The first id that can have been made at this moment or later, as far as ids reach."""
    return min(first_id(at), NEWEST)


def before(name: str, after: str | None) -> int:
    """The id before which a page of a newest-first list begins."""
    return int(position(name, after, NEWEST)[0])


def page(name: str, rows: Sequence[R], limit: int, show: Callable[[R], T], key: Callable[[R], int]) -> Page[T]:
    """A page made of up to `limit + 1` rows: one more than it shows says that another page follows."""
    shown = rows[:limit]
    following = cursor(name, key(shown[-1])) if len(rows) > limit else None
    return Page([show(row) for row in shown], following)


async def scan(
    name: str,
    limit: int,
    first: int,
    read: Callable[..., Awaitable[Sequence[R]]],
    find_end: Callable[..., Awaitable[Row | None]],
    show: Callable[[R], T],
    key: Callable[[R], int],
) -> Page[T]:
    """A page of a newest-first list that is filtered without an index, read stretch by stretch of SCAN rows.

    `read(before=…, scan=…, n=…)` gives the rows of one stretch that pass the filter, `find_end(before=…, scan=…)` its
    last id and its length.
    """
    found: list[R] = []
    for _ in range(STRETCHES):
        found += await read(before=first, scan=SCAN, n=limit + 1 - len(found))
        end = None if len(found) > limit else await find_end(before=first, scan=SCAN)
        if end is None or end[1] < SCAN:
            return page(name, found, limit, show, key)
        first = end[0]
    return Page([show(row) for row in found], cursor(name, first))
