"""Health, readiness, metrics, the ledger and notices."""

import httpx
import pytest

from tests.api.calling import bearer, make_webhook, ok, refused, serve, settled, track
from waypost.engine.process import Engine
from waypost.settings import load_settings
from waypost.storage.sqlite import SQLite


async def test_alive_and_ready_need_no_key(client):
    for place in ("/healthz", "/readyz"):
        assert await ok(client.get(place, headers={"authorization": ""})) == {"status": "ok"}


async def test_not_ready_before_the_start_and_without_a_store(tmp_path):
    database = SQLite(tmp_path / "waypost.db")
    await database.migrate()
    engine = Engine(database, load_settings({}, data=str(tmp_path)))
    transport = httpx.ASGITransport(app=serve(engine))
    async with httpx.AsyncClient(transport=transport, base_url="http://waypost") as client:
        await refused(client.get("/readyz"), 503, "not_ready")
        await engine.start()
        await ok(client.get("/readyz"))
        await engine.stop()
        await refused(client.get("/readyz"), 503, "not_ready")
        await ok(client.get("/healthz"))
        await database.close()
        problem = await client.get("/v1/ledger", headers=bearer("wpk_x"))
        assert (problem.status_code, problem.headers["retry-after"]) == (503, "1")


async def test_metrics_tell_what_happened(client, hook):
    made = await make_webhook(client, hook)
    await track(client, 2, messageId="same")
    await track(client, 1)
    await settled(client, made, delivered=2)
    text = (await client.get("/metrics", headers={"authorization": ""})).text
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(lines["waypost_events_recorded_total"]) == 2
    assert float(lines["waypost_events_duplicate_total"]) == 1
    assert float(lines['waypost_attempts_total{outcome="delivered"}']) == 2
    assert float(lines['waypost_ledger{state="accepted"}']) == 2
    assert {"waypost_journal_waiting", "waypost_deliveries_held", "waypost_requests_in_flight"} <= lines.keys()


async def test_metrics_are_in_the_text_format(client):
    answer = await client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


async def test_the_ledger_balances_per_endpoint(client, hook):
    one = await make_webhook(client, hook)
    other = await make_webhook(client, f"{hook}?status=410")
    await track(client)
    await settled(client, one, delivered=1)
    await settled(client, other, dead=1)
    ledger = await ok(client.get("/v1/ledger"))
    assert ledger == {
        "accepted": 2,
        "delivered": 1,
        "pending": 0,
        "dead": 1,
        "balanced": True,
        "endpoints": [
            {"id": one["id"], "accepted": 1, "delivered": 1, "pending": 0, "dead": 0, "balanced": True},
            {"id": other["id"], "accepted": 1, "delivered": 0, "pending": 0, "dead": 1, "balanced": True},
        ],
    }


@pytest.mark.parametrize("owner", [None, "ops@example.com"])
async def test_a_notice_is_shown_without_a_mail_server(owner, client, hook):
    made = await make_webhook(client, f"{hook}?status=410", owner_email=owner)
    await track(client)
    await settled(client, made, dead=1)
    (notice,) = (await ok(client.get("/v1/notices")))["data"]
    assert (notice["about"], notice["recipient"], notice["kind"]) == (made["id"], owner, "endpoint_disabled")
    assert notice["state"] in ("pending", "shown")
    assert made["id"] in notice["body"]
