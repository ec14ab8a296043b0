"""Several processes on one PostgreSQL: each of them, and the database itself, may die under load."""

import base64
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.programs import Load, Server, all_received, delivered_ids, eventually
from tests.services import PostgresServer, postgres_server
from waypost.sink import thread_runner

pytestmark = pytest.mark.postgres


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL that tests may kill."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def two(tmp_path: Path, postgres: PostgresServer) -> Iterator[tuple[Server, Server]]:
    """Two servers on one database, each with its own data directory, as on two machines."""
    environment = {
        "WAYPOST_DATABASE_URL": postgres.url(),
        "WAYPOST_RETRY_BASE": "0.02",
        "WAYPOST_SECRET_KEY": base64.b64encode(os.urandom(32)).decode(),
    }
    servers = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        servers.append(Server(tmp_path / name, environment))
    servers[0].init()
    servers[1].keys = servers[0].keys
    for server in servers:
        server.start()
    yield servers[0], servers[1]
    for server in servers:
        if server.running:
            server.stop()


def test_the_database_is_killed_under_load(
    two: tuple[Server, Server], postgres: PostgresServer, sink: thread_runner.Running
) -> None:
    first, second = two
    first.api().post("/v1/webhooks", {"url": f"{sink.url}/hook/orders", "event_types": ["event.*"]}, status=201)
    with Load(first, clients=4) as one, Load(second, clients=4) as other:
        for _ in range(3):
            one.wait_for(100)
            other.wait_for(100)
            postgres.crash()
            eventually(lambda: one.refused and other.refused, what="refused while the database is away")
            postgres.start()
            one.refused = other.refused = 0
        one.wait_for(100)
        other.wait_for(100)
    ledger = first.settled()
    received = set(delivered_ids(all_received(sink.url, "orders")))
    assert received >= one.accepted | other.accepted
    assert ledger["accepted"] == ledger["delivered"] == len(received)
    assert first.stop() == 0
    assert second.stop() == 0
    checked = first.run("check")
    assert checked.returncode == 0, checked.stdout


def test_the_work_of_a_dead_process_is_taken_over(two: tuple[Server, Server], sink: thread_runner.Running) -> None:
    first, second = two
    first.api().post(
        "/v1/webhooks",
        {"url": f"{sink.url}/hook/slow?delay=0.05", "event_types": ["event.*"], "concurrency": 4},
        status=201,
    )
    with Load(first, clients=8) as load:
        load.wait_for(500)
        first.kill()
    assert second.balanced()["pending"] > 0, "the first one died with work in its hands"
    ledger = second.settled()
    received = set(delivered_ids(all_received(sink.url, "slow")))
    assert received >= load.accepted
    assert ledger["delivered"] == ledger["accepted"] == len(received)


def test_a_worker_sends_what_an_edge_takes_in(
    tmp_path: Path, two: tuple[Server, Server], postgres: PostgresServer, sink: thread_runner.Running
) -> None:
    first, second = two
    second.stop()
    first.stop()
    edge = first
    edge.environment["WAYPOST_ROLE"] = "edge"
    edge.start()
    edge.api().post("/v1/webhooks", {"url": f"{sink.url}/hook/orders", "event_types": ["event.*"]}, status=201)
    with Load(edge, clients=2) as load:
        load.wait_for(100)
    assert edge.balanced()["delivered"] == 0, "an edge sends nothing"
    worker = Server(second.data, second.environment, command="worker")
    worker.start()
    edge.settled()
    assert set(delivered_ids(all_received(sink.url, "orders"))) == load.accepted
    assert worker.stop() == 0


def test_a_wrong_secret_key_is_found_out_at_the_start(two: tuple[Server, Server], sink: thread_runner.Running) -> None:
    first, second = two
    first.api().post("/v1/webhooks", {"url": f"{sink.url}/hook/orders", "event_types": ["event.*"]}, status=201)
    second.stop()
    second.environment["WAYPOST_SECRET_KEY"] = base64.b64encode(os.urandom(32)).decode()
    refused = second.run("serve", "--port", "0")
    assert refused.returncode == 1
    assert "wrong_secret_key" in refused.stderr
