"""The metric area of the recorder: count tracked events and the statuses of texts by metric, status and time."""

from typing import Any

import msgspec

from waypost.clock import DAY, HOUR, MINUTE
from waypost.domain.events.event import Event
from waypost.domain.events.metrics import MOST_METRICS, OTHER, QUARTER, STATUS, metric_of_status, spans
from waypost.engine.runtime.unit import COUNT_ROWS, Unit
from waypost.storage.database import Row, Tx

#: Workspace, source and key of a metric; the key is empty for the metric over the limit.
MetricKey = tuple[int, str, str]
_encode = msgspec.json.Encoder().encode
_DAY_QUARTERS = DAY // QUARTER
_QUARTER_MINUTES, _DAY_MINUTES = QUARTER // MINUTE, DAY // MINUTE


class MetricNotes(msgspec.Struct):
    """What a unit of work learned about metrics."""

    ids: dict[MetricKey, int] = {}
    statuses: set[tuple[int, str]] = set()
    #: Workspaces of which all metrics are known, because no more are created.
    full: set[int] = set()


class MetricArea:
    """Keeps the metrics of each workspace, their counts, and which events belong to them.

    The index of events by type leads to tracked events, so a tracked event costs only its share of the counts.
    """

    takes: frozenset[type] = frozenset()

    def __init__(self) -> None:
        self._known = MetricNotes()

    async def record(self, tx: Tx, items: dict[type, list[Any]], unit: Unit) -> None:
        """Do nothing: the area records no items of its own."""

    async def react(self, tx: Tx, events: list[Event], unit: Unit) -> None:
        """Count the events that belong to a metric, in the quarter of an hour in which they occurred.

        An event from the future is counted in the present: a wrong clock shall not leave counts that never age.
        """
        latest = unit.now + HOUR
        counts: dict[tuple[int, str, str, str, int], int] = {}
        texts: list[tuple[MetricKey, str, int]] = []
        for event in events:
            if event.metric is not None:
                source, key, status = "track", event.type, ""
            elif event.type == STATUS:
                source = "text"
                key, status = metric_of_status(event.data)
                texts.append(((event.workspace_id, source, key), status, event.id))
            else:
                continue
            at = event.occurred_at if event.occurred_at < latest else unit.now
            group = (event.workspace_id, source, key, status, at // QUARTER)
            counts[group] = counts.get(group, 0) + 1
        if not counts:
            return
        ids = await self._find(tx, {group[:3] for group in counts}, events, unit)
        add, node = unit.counters.add, unit.node % COUNT_ROWS
        statuses, new = self._known.statuses, set[tuple[int, str]]()
        for (workspace_id, source, key, status, quarter), n in counts.items():
            metric_id = ids[workspace_id, source, key]
            for ends_at, minutes in (
                ((quarter + 1) * QUARTER, _QUARTER_MINUTES),
                ((quarter // _DAY_QUARTERS + 1) * DAY, _DAY_MINUTES),
            ):
                add("metric_counts.add", (workspace_id, ends_at, minutes, metric_id, status, node, unit.now), n)
            if (metric_id, status) not in statuses:
                new.add((metric_id, status))
        if new:
            await tx.insert("metric_statuses.insert", sorted(new))
            unit.notes(MetricNotes).statuses |= new
        entries = [(ids[metric], status, event_id) for metric, status, event_id in texts]
        over = {
            (workspace_id, key)
            for workspace_id, source, key, *_ in counts
            if source == "track" and ids[workspace_id, source, key] == ids.get((workspace_id, source, ""))
        }
        if over:
            entries += [
                (ids[event.workspace_id, "track", ""], "", event.id)
                for event in events
                if event.metric is not None and (event.workspace_id, event.type) in over
            ]
        await tx.insert("metric_events.insert", sorted(entries))

    async def _find(self, tx: Tx, keys: set[MetricKey], events: list[Event], unit: Unit) -> dict[MetricKey, int]:
        """Return the ids of metrics; create new ones. Those over the limit have the id of the other metric."""
        known, found, missing = self._known, dict[MetricKey, int](), list[MetricKey]()
        for metric in keys:
            id_ = known.ids.get(metric)
            if id_ is None and metric[0] in known.full:
                other = (metric[0], metric[1], "")
                id_ = known.ids.get(other)
                if id_ is not None:
                    found[other] = id_
            if id_ is None:
                missing.append(metric)
            else:
                found[metric] = id_
        if missing:
            notes = unit.notes(MetricNotes)
            notes.ids |= await _load(tx, missing)
            new = sorted(set(missing) - notes.ids.keys())
            over = await _create(tx, new, events, unit, notes) if new else {}
            found |= {metric: notes.ids[metric] for metric in missing if metric not in over}
            found |= over
        return found

    def committed(self, unit: Unit) -> None:
        """Remember the metrics that were found or created."""
        notes = unit.noted(MetricNotes)
        if notes is not None:
            self._known.ids |= notes.ids
            self._known.statuses |= notes.statuses
            self._known.full |= notes.full

    def given_up(self, item: Any) -> None:
        """Do nothing: the caller gets the error."""

    async def orphan(self, tx: Tx, nodes: list[int] | None) -> None:
        """Do nothing: nodes hold no metrics."""


async def _load(tx: Tx, metrics: list[MetricKey]) -> dict[MetricKey, int]:
    """Return the ids of the metrics that exist."""
    unknown = set(metrics)
    rows = await tx.rows(
        "metrics.find",
        workspaces=sorted({workspace_id for workspace_id, _, _ in unknown}),
        keys=sorted({key for _, _, key in unknown}),
    )
    return {
        (workspace_id, source, key): id_
        for id_, workspace_id, source, key in rows
        if (workspace_id, source, key) in unknown
    }


async def _create(
    tx: Tx, metrics: list[MetricKey], events: list[Event], unit: Unit, notes: MetricNotes
) -> dict[MetricKey, int]:
    """Create metrics up to the limit of their workspaces, and note them; return the ids of those over the limit."""
    workspaces = sorted({workspace_id for workspace_id, _, _ in metrics})
    await tx.rows("metrics.lock", ids=workspaces)
    # Another process may have created them before the lock.
    others = sorted({(workspace_id, source, "") for workspace_id, source, _ in metrics})
    there = await _load(tx, metrics + others)
    number = {row[0]: row[1] for row in await tx.rows("metrics.number", ids=workspaces)}
    names = {(e.workspace_id, "track", e.type): e.metric for e in reversed(events) if e.metric is not None}
    rows: list[Row] = []
    over: list[MetricKey] = []
    for metric in metrics:
        workspace_id, _, key = metric
        if metric in there:
            continue
        if number.get(workspace_id, 0) < MOST_METRICS:
            number[workspace_id] = number.get(workspace_id, 0) + 1
            there[metric] = unit.ids.one(unit.now)
            rows.append((there[metric], *metric, names.get(metric, key), unit.now))
        else:
            over.append(metric)
    for other in sorted({(workspace_id, source, "") for workspace_id, source, _ in over} - there.keys()):
        there[other] = unit.ids.one(unit.now)
        rows.append((there[other], *other, OTHER, unit.now))
    await tx.insert("metrics.insert", rows)
    notes.ids |= there
    for workspace_id in workspaces:
        if number.get(workspace_id, 0) >= MOST_METRICS:
            # No more are created, so a name that is not among these is over the limit: no query has to say it again.
            everything = await tx.rows("metrics.all", workspace_id=workspace_id)
            notes.ids |= {(workspace_id, source, key): id_ for id_, source, key in everything}
            notes.full.add(workspace_id)
    found = {metric: there[metric[0], metric[1], ""] for metric in over}
    return found | {(workspace_id, source, ""): id_ for (workspace_id, source, _), id_ in found.items()}


async def count_intervals(tx: Tx, workspace_id: int, metric_id: int, edges: list[int]) -> dict[str, list[int]]:
    """Return the counts of a metric between the edges, by status; a status that it has ever had has zeros at least.

    Before 1972 a few zones had offsets that cut a quarter of an hour; their edges are moved to its start.
    """
    counts = {row[0]: [0] * (len(edges) - 1) for row in await tx.rows("metric_statuses.list", metric_id=metric_id)}
    spans_json = _encode(spans([edge // QUARTER * QUARTER for edge in edges])).decode()
    for number, status, n in await tx.rows(
        "metric_counts.timeline", workspace_id=workspace_id, metric_id=metric_id, spans=spans_json
    ):
        counts[status][number] = n
    return counts
