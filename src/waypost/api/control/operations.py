"""Health, readiness and metrics, for operators and their monitoring."""

from collections.abc import Iterator
from typing import Any

import msgspec
from litestar import Response, get
from litestar.datastructures import State
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from waypost.api.control.calls import PUBLIC
from waypost.domain.webhooks.ledger import Balance
from waypost.engine.process import Engine
from waypost.errors import Unavailable
from waypost.storage.database import Tx

METRICS_TYPE = "text/plain; version=0.0.4"


class Health(msgspec.Struct):
    """The health of the process."""

    status: str = "ok"


class Gauges(Collector):
    """Collects the metrics of an engine when they are scraped."""

    def __init__(self, engine: Engine, totals: Balance) -> None:
        self._engine = engine
        self._totals = totals

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        engine, totals = self._engine, self._totals
        recorder, dispatcher = engine.recorder, engine.dispatcher
        yield CounterMetricFamily("waypost_events_recorded", "Events recorded by this process.", recorder.events)
        yield CounterMetricFamily("waypost_events_duplicate", "Repeated events that had no effect.", recorder.repeats)
        yield CounterMetricFamily("waypost_batches", "Transactions of the recorder.", recorder.batches)
        yield GaugeMetricFamily("waypost_journal_waiting", "Events that wait to be stored.", engine.journal.waiting)
        yield GaugeMetricFamily("waypost_deliveries_held", "Deliveries held in memory.", dispatcher.held)
        yield GaugeMetricFamily(
            "waypost_deliveries_held_bytes", "Bytes of the bodies of deliveries held in memory.", dispatcher.held_bytes
        )
        yield GaugeMetricFamily("waypost_requests_in_flight", "Outbound requests in flight.", dispatcher.in_flight)
        attempts = CounterMetricFamily("waypost_attempts", "Attempts recorded by this process.", labels=["outcome"])
        for outcome, number in engine.webhooks.attempts.items():
            attempts.add_metric([outcome.value], number)
        yield attempts
        sender = engine.sender
        yield GaugeMetricFamily("waypost_message_calls_in_flight", "Calls to providers in flight.", sender.in_flight)
        tries = CounterMetricFamily(
            "waypost_message_tries", "Send attempts of messages by this process.", labels=["outcome"]
        )
        for what, number in sender.outcomes.items():
            tries.add_metric([what.value], number)
        yield tries
        clicks = CounterMetricFamily("waypost_clicks", "Clicks recorded by this process.", labels=["by"])
        clicks.add_metric(["person"], engine.tracking.clicks)
        clicks.add_metric(["machine"], engine.tracking.machine_clicks)
        yield clicks
        yield GaugeMetricFamily("waypost_clicks_waiting", "Clicks that wait to be stored.", engine.clicks.waiting)
        yield CounterMetricFamily(
            "waypost_clicks_dropped", "Clicks that were redirected and not recorded.", engine.clicks.dropped
        )
        ledger = GaugeMetricFamily("waypost_ledger", "Deliveries of all workspaces, by state.", labels=["state"])
        for name, number in msgspec.structs.asdict(totals).items():
            ledger.add_metric([name], number)
        yield ledger


@get("/healthz", summary="Check that the process is alive", opt=PUBLIC)
async def healthz() -> Health:
    """Returns 200 while the process runs."""
    return Health()


@get("/readyz", summary="Check that the process is ready", opt=PUBLIC)
async def readyz(state: State) -> Health:
    """Returns 200 if the engine runs and the database answers, otherwise 503."""
    engine: Engine = state.engine
    if not engine.running:
        raise Unavailable(
            "The engine is not running: the server is starting or shutting down. Retry later.", code="not_ready"
        )
    await engine.database.read(_ping)
    return Health()


@get("/metrics", summary="Get metrics for Prometheus", opt=PUBLIC, media_type=METRICS_TYPE)
async def metrics(state: State) -> Response[bytes]:
    """Returns the metrics of this process and the delivery ledger of the database."""
    engine: Engine = state.engine
    registry = CollectorRegistry()
    registry.register(Gauges(engine, await engine.database.read(_totals)))
    return Response(generate_latest(registry), media_type=METRICS_TYPE)


async def _ping(tx: Tx) -> Any:
    return await tx.row("nodes.live", within=0)


async def _totals(tx: Tx) -> Balance:
    row = await tx.row("counts.of_all")
    return Balance(*map(int, row or ()))


ROUTES = [healthz, readyz, metrics]
