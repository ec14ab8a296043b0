"""Metrics: list them with their counts, chart them over time, and feeds of what happened."""

from datetime import UTC, tzinfo
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from waypost.api.control.audience.profiles import find_profile
from waypost.api.control.calls import Call, permit
from waypost.api.control.event_people import EventPerson, load_people
from waypost.api.paging import After, Limit, Page, before, page
from waypost.clock import DAY, id_time, iso
from waypost.domain.events.metrics import describe_event, intervals, read_status
from waypost.domain.values.ids import internal, public
from waypost.domain.values.times import parse_time
from waypost.engine.events.metrics import count_intervals
from waypost.errors import Invalid, NotFound
from waypost.storage.database import Row, Tx

#: The default period of a chart, by interval.
_USUAL = {"hour": DAY, "day": 30 * DAY}
_TIME = {"format": "date-time"}

Days = Annotated[
    int,
    QueryParameter(name="days", ge=1, le=92, description="Count the last so many days for `count` and `statuses`."),
]
By = Annotated[
    Literal["Status"] | None,
    QueryParameter(name="by", description="Return a series for each status; without it, one series for all events."),
]
Interval = Annotated[Literal["hour", "day"], QueryParameter(name="interval", description="The length of an interval.")]
Since = Annotated[
    str | None,
    QueryParameter(
        name="since",
        schema_extra=_TIME,
        description="Begin with the interval that contains this time; by default 30 days ago, for hours one day ago.",
    ),
]
Until = Annotated[
    str | None,
    QueryParameter(
        name="until", schema_extra=_TIME, description="End with the interval before this time; by default now."
    ),
]
Timezone = Annotated[
    str,
    QueryParameter(
        name="timezone", max_length=100, description="The time zone of the hours and days, such as Europe/Berlin."
    ),
]
StatusFilter = Annotated[
    str | None,
    QueryParameter(name="Status", max_length=100, description="Return only events with this status."),
]


class Metric(msgspec.Struct, kw_only=True):
    """A metric with its counts."""

    id: str
    name: str
    #: `track`: a tracked event. `text`: the statuses of texts whose request named this metric.
    source: Literal["track", "text"]
    #: The type of its events; null for the metric that counts all names over the limit.
    event_type: str | None
    created_at: str
    #: When the last of its events was recorded; null if all of them are past the retention.
    last_seen: str | None
    #: Events within the retention.
    total: int
    #: Events in the last `days` days, today included.
    count: int
    #: The same by status; null if its events have no status.
    statuses: dict[str, int] | None


class Series(msgspec.Struct):
    """The counts of one status, or of all events."""

    #: Null for a series of all events, or of events without a status.
    status: str | None
    total: int
    #: One count per interval, zeros included.
    counts: list[int]


class Timeline(msgspec.Struct, kw_only=True):
    """The counts of a metric over time."""

    metric_id: str
    name: str
    interval: Literal["hour", "day"]
    timezone: str
    #: The start of the first interval, and the end of the last one.
    since: str
    until: str
    #: The start of each interval, in UTC.
    starts: list[str]
    series: list[Series]


class Activity(msgspec.Struct, kw_only=True):
    """An event in a feed, with a readable name and the person it is about."""

    id: str
    type: str
    #: The metric of a tracked event or of a text; else words for the type.
    name: str
    #: The status of a text.
    status: str | None
    message_id: str
    occurred_at: str
    received_at: str
    person: EventPerson | None
    #: All properties of the event.
    data: msgspec.Raw


@get("/v1/metrics", summary="List metrics with their counts")
async def list_metrics(
    call: NamedDependency[Call], days: Days = 30, limit: Limit = 50, after: After = None
) -> Page[Metric]:
    """Returns the metrics of tracked events and of texts, newest first, with their counts by status."""
    first = before("metrics", after)

    async def work(tx: Tx) -> tuple[list[Row], dict[int, list[Row]]]:
        rows = await tx.rows("metrics.list", workspace_id=call.workspace_id, before=first, n=limit + 1)
        return rows, await _totals(tx, call, [row[0] for row in rows[:limit]], days)

    rows, totals = await call.read(work)
    return page("metrics", rows, limit, lambda row: _metric_view(row, totals), lambda row: int(row[0]))


@get("/v1/metrics/{id:str}", summary="Get a metric with its counts")
async def get_metric(call: NamedDependency[Call], id: FromPath[str], days: Days = 30) -> Metric:
    """Returns a metric with its counts by status."""

    async def work(tx: Tx) -> Metric:
        row = await _find(tx, call, id)
        return _metric_view(row, await _totals(tx, call, [row[0]], days))

    return await call.read(work)


@get("/v1/metrics/{id:str}/timeline", summary="Chart a metric over time")
async def get_timeline(
    call: NamedDependency[Call],
    id: FromPath[str],
    by: By = None,
    interval: Interval = "day",
    since: Since = None,
    until: Until = None,
    timezone: Timezone = "UTC",
) -> Timeline:
    """Returns how many events of a metric occurred in each hour or day, at most 31 days of hours or 92 days."""
    zone = _zone(timezone)
    last = call.now if until is None else parse_time(until)
    first = last - _USUAL[interval] if since is None else parse_time(since)
    edges = intervals(first, last, interval, zone)

    async def work(tx: Tx) -> tuple[Row, dict[str, list[int]]]:
        row = await _find(tx, call, id)
        return row, await count_intervals(tx, call.workspace_id, row[0], edges)

    row, counts = await call.read(work)
    if by is None:
        counts = {"": [sum(column) for column in zip(*counts.values(), strict=True)]}
    return Timeline(
        metric_id=public("met", row[0]),
        name=row[3],
        interval=interval,
        timezone=timezone,
        since=iso(edges[0]),
        until=iso(edges[-1]),
        starts=[iso(edge) for edge in edges[:-1]],
        series=[Series(status or None, sum(numbers), numbers) for status, numbers in counts.items()],
    )


@get("/v1/metrics/{id:str}/activity", summary="List the activity of a metric")
async def list_metric_activity(
    call: NamedDependency[Call],
    id: FromPath[str],
    status: StatusFilter = None,
    limit: Limit = 50,
    after: After = None,
) -> Page[Activity]:
    """Returns the events of a metric, newest first, with all their properties and the person they are about."""
    first = before("metric_activity", after)
    chosen = None if status is None else read_status(status)

    async def work(tx: Tx) -> tuple[list[Row], dict[int, EventPerson]]:
        metric_id, source, key, *_ = await _find(tx, call, id)
        if source == "track" and key and chosen is None:
            rows = await tx.rows(
                "events.of_type", workspace_id=call.workspace_id, type=key, since=0, before=first, n=limit + 1
            )
        else:
            known = [row[0] for row in await tx.rows("metric_statuses.list", metric_id=metric_id)]
            statuses = [one for one in known if chosen in (None, one)]
            rows = await tx.rows(
                "metric_events.list", metric_id=metric_id, statuses=statuses, before=first, n=limit + 1
            )
        return rows, await load_people(tx, call.workspace_id, rows[:limit])

    rows, people = await call.read(work)
    return page("metric_activity", rows, limit, lambda row: _activity_view(row, people), lambda row: int(row[0]))


@get("/v1/profiles/{id:str}/activity", opt={"permission": "people.read"}, summary="List the activity of a profile")
async def list_profile_activity(
    call: NamedDependency[Call], id: FromPath[str], limit: Limit = 50, after: After = None
) -> Page[Activity]:
    """Returns all that happened to a person, newest first, with readable names; merged profiles are included."""
    first = before("profile_activity", after)

    async def work(tx: Tx) -> tuple[list[Row], dict[int, EventPerson]]:
        profile = await find_profile(tx, call.workspace_id, internal("pro", id))
        rows = await tx.rows("events.of_profile", profile_id=profile["id"], before=first, n=limit + 1)
        return rows, await load_people(tx, call.workspace_id, rows[:limit])

    rows, people = await call.read(work)
    return page("profile_activity", rows, limit, lambda row: _activity_view(row, people), lambda row: int(row[0]))


async def _find(tx: Tx, call: Call, id: str) -> Row:
    row = await tx.row("metrics.get", workspace_id=call.workspace_id, id=internal("met", id))
    if row is None:
        raise NotFound("No metric with this id exists in this workspace.")
    return row


async def _totals(tx: Tx, call: Call, ids: list[int], days: int) -> dict[int, list[Row]]:
    """Return the counts of metrics by status: when last seen, in all, and in the last days."""
    found: dict[int, list[Row]] = {}
    if not ids:
        return found
    today = call.now // DAY * DAY
    recent = today - (days - 1) * DAY
    since = min(recent, today - call.engine.settings.event_days * DAY)
    rows = await tx.rows(
        "metric_counts.totals",
        workspace_id=call.workspace_id,
        since=since,
        # An event may be dated an hour ahead.
        until=today + 2 * DAY,
        recent=recent,
        first=min(ids),
        last=max(ids),
    )
    for metric_id, *counts in sorted(rows):
        found.setdefault(metric_id, []).append(tuple(counts))
    return found


def _metric_view(row: Row, totals: dict[int, list[Row]]) -> Metric:
    id_, source, key, name, created_at = row
    counts = totals.get(id_, [])
    statuses = {status: recent for status, _, _, recent in counts if status}
    return Metric(
        id=public("met", id_),
        name=name,
        source=source,
        event_type=("text.status" if source == "text" else key) or None,
        created_at=iso(created_at),
        last_seen=iso(max(last_at for _, last_at, _, _ in counts)) if counts else None,
        total=sum(total for _, _, total, _ in counts),
        count=sum(recent for _, _, _, recent in counts),
        statuses=statuses if source == "text" else None,
    )


def _activity_view(row: Row, people: dict[int, EventPerson]) -> Activity:
    id_, message_id, type_, profile_id, occurred_at, data = row
    name, status = describe_event(type_, data.encode())
    return Activity(
        id=public("evt", id_),
        type=type_,
        name=name,
        status=status,
        message_id=message_id,
        occurred_at=iso(occurred_at),
        received_at=iso(id_time(id_)),
        person=people.get(profile_id),
        data=msgspec.Raw(data),
    )


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, LookupError, OSError) as error:
        raise Invalid(
            f"{name[:80]!r} is not a time zone. Use a name of the IANA database, such as Europe/Berlin.",
            code="invalid_timezone",
            parameter="timezone",
        ) from error


ROUTES = permit("events", [list_metrics, get_metric, get_timeline, list_metric_activity, list_profile_activity])
