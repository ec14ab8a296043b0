"""Events and event types: list and get."""

from typing import Annotated

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from msgspec import UNSET, UnsetType

from waypost.api.control.calls import Call, permit
from waypost.api.control.event_people import EventPerson, load_people
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
    #: The person with the profile, or the profile that it was merged into; not in exports and lists of one profile.
    person: EventPerson | UnsetType | None = UNSET


def event_view(row: Row, people: dict[int, EventPerson] | None = None) -> Event:
    """Return the API view of a row of `events.list` or a similar query, with its person if people are given."""
    id_, message_id, type_, profile_id, occurred_at, data = row
    return Event(
        public("evt", id_),
        type_,
        message_id,
        None if profile_id is None else public("pro", profile_id),
        iso(occurred_at),
        iso(id_time(id_)),
        msgspec.Raw(data),
        UNSET if people is None else people.get(profile_id),
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
    """Returns events, newest first, with the people they are about."""
    first = before("events", after)
    if until is not None:
        first = min(first, made_from(parse_time(until)))
    place = {
        "workspace_id": call.workspace_id,
        "since": 0 if since is None else made_from(parse_time(since)),
    }
    if type_ is not None and "\0" in type_:
        raise Invalid("`type` cannot contain the character U+0000. Remove it.", code="invalid_parameter")

    async def work(tx: Tx) -> tuple[list[Row], dict[int, EventPerson]]:
        if type_ is None:
            rows = await tx.rows("events.list", n=limit + 1, before=first, **place)
        else:
            rows = await tx.rows("events.of_type", type=type_, n=limit + 1, before=first, **place)
        return rows, await load_people(tx, call.workspace_id, rows[:limit])

    rows, people = await call.read(work)
    return page("events", rows, limit, lambda row: event_view(row, people), lambda row: int(row[0]))


@get("/v1/events/{id:str}", summary="Get an event")
async def get_event(call: NamedDependency[Call], id: FromPath[str]) -> Event:
    """Returns an event as it was recorded."""
    return await call.read(_event, call.workspace_id, internal("evt", id))


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


async def _event(tx: Tx, workspace_id: int, id_: int) -> Event:
    row = await tx.row("events.get", workspace_id=workspace_id, id=id_)
    if row is None:
        raise NotFound("No event with this id exists in this workspace. Events are deleted after the retention period.")
    return event_view(row, await load_people(tx, workspace_id, [row]))


async def _types(tx: Tx, workspace_id: int, after: str, n: int) -> list[Row]:
    return await tx.rows("event_types.list", workspace_id=workspace_id, after=after, n=n) if n > 0 else []


ROUTES = permit("events", [list_events, get_event, list_event_types])
