"""Events and event types: list and get."""

from typing import Annotated

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from waypost.api.control.calls import Call, permit
from waypost.api.paging import After, Limit, Page, before, cursor, made_from, page, position
from waypost.clock import id_time, iso
from waypost.domain.events.event_types import SYSTEM_TYPES, EventType, tracked_type
from waypost.domain.values.ids import internal, public
from waypost.domain.values.times import parse_time
from waypost.errors import Invalid, NotFound
from waypost.storage.database import Row, Tx

TypeFilter = Annotated[
    str | None, QueryParameter(name="type", max_length=512, description="Return only events of this type.")
]
_TIME = {"format": "date-time"}
Since = Annotated[
    str | None,
    QueryParameter(name="since", schema_extra=_TIME, description="Return only events received at or after this time."),
]
Until = Annotated[
    str | None,
    QueryParameter(name="until", schema_extra=_TIME, description="Return only events received before this time."),
]


class Event(msgspec.Struct):
    """A recorded event."""

    id: str
    type: str
    message_id: str
    profile_id: str | None
    occurred_at: str
    received_at: str
    #: The content: metric, ids, properties, traits, context.
    data: msgspec.Raw


def event_view(row: Row) -> Event:
    """Return the API view of a row of `events.list` or a similar query."""
    id_, message_id, type_, profile_id, occurred_at, data = row
    return Event(
        public("evt", id_),
        type_,
        message_id,
        None if profile_id is None else public("pro", profile_id),
        iso(occurred_at),
        iso(id_time(id_)),
        msgspec.Raw(data),
    )


@get("/v1/events", summary="List events")
async def list_events(
    call: NamedDependency[Call],
    type_: TypeFilter = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    after: After = None,
) -> Page[Event]:
    """Returns events, newest first."""
    first = before("events", after)
    if until is not None:
        first = min(first, made_from(parse_time(until)))
    place = {
        "workspace_id": call.workspace_id,
        "since": 0 if since is None else made_from(parse_time(since)),
    }
    if type_ is not None and "\0" in type_:
        raise Invalid("`type` cannot contain the character U+0000. Remove it.", code="invalid_parameter")

    async def work(tx: Tx) -> list[Row]:
        if type_ is None:
            return await tx.rows("events.list", n=limit + 1, before=first, **place)
        return await tx.rows("events.of_type", type=type_, n=limit + 1, before=first, **place)

    return page("events", await call.read(work), limit, event_view, lambda row: int(row[0]))


@get("/v1/events/{id:str}", summary="Get an event")
async def get_event(call: NamedDependency[Call], id: FromPath[str]) -> Event:
    """Returns an event as it was recorded."""
    row = await call.read(_event, call.workspace_id, internal("evt", id))
    if row is None:
        raise NotFound("No event with this id exists in this workspace. Events are deleted after the retention period.")
    return event_view(row)


@get("/v1/event-types", summary="List event types")
async def list_event_types(call: NamedDependency[Call], limit: Limit = 50, after: After = None) -> Page[EventType]:
    """Returns Waypost's own event types, then one type per tracked metric, each with a JSON Schema and an example."""
    start, last = position("event_types", after, 0, "")
    found: list[EventType] = list(SYSTEM_TYPES[int(start) :])[: limit + 1]
    rows = await call.read(_types, call.workspace_id, str(last), limit + 1 - len(found))
    found += [tracked_type(metric, type_) for type_, metric in rows]
    visible = found[:limit]
    following = None
    if len(found) > limit:
        seen = min(int(start) + limit, len(SYSTEM_TYPES))
        following = cursor("event_types", seen, visible[-1].type if visible[-1].metric is not None else "")
    return Page(visible, following)


async def _event(tx: Tx, workspace_id: int, id_: int) -> Row | None:
    return await tx.row("events.get", workspace_id=workspace_id, id=id_)


async def _types(tx: Tx, workspace_id: int, after: str, n: int) -> list[Row]:
    return await tx.rows("event_types.list", workspace_id=workspace_id, after=after, n=n) if n > 0 else []


ROUTES = permit("events", [list_events, get_event, list_event_types])
