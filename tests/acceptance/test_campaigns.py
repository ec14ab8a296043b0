"""Campaigns through real processes: killed again and again, by two at once, paused, throttled and cancelled."""

import contextlib
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.programs import Client, Server, eventually
from tests.services import postgres_server
from waypost.sink import thread_runner

OVER = {"finished", "cancelled"}
HTML = (
    "<html><body><p>Hello {{ person.first_name|default:'you' }}</p>"
    '<p><a href="https://shop.example.com/sale?x=1">Sale</a></p>'
    '<p><a href="{{ unsubscribe_url }}">Unsubscribe</a></p></body></html>'
)


def address(number: int) -> str:
    return f"person{number}@example.net"


def prepare(server: Server, sink: thread_runner.Running, people: int, **settings: Any) -> str:
    """Import people into a list, connect the mail server, and create a campaign; return its id."""
    api = server.api()
    config = {"host": "127.0.0.1", "port": sink.smtp_port, "security": "none", "from_email": "shop@example.com"}
    api.post("/v1/connections", {"name": "Mail", "connector": "smtp", "config": config}, status=201)
    made = api.post("/v1/lists", {"name": "Newsletter"}, status=201)
    rows = "email,first_name\n" + "".join(f"{address(n)},Ann {n}\n" for n in range(people))
    started = api.send("POST", f"/v1/imports?list={made['id']}", rows.encode(), {"content-type": "text/csv"})
    assert started is not None
    assert started[0] == 202, started
    eventually(lambda: api.get(f"/v1/imports/{started[1]['id']}")["state"] == "done", what="imported")
    template = {"name": "News", "channel": "email", "subject": "Hi {{ person.first_name }}", "html": HTML}
    body = {
        "name": "September news",
        "channel": "email",
        "template_id": api.post("/v1/templates", template, status=201)["id"],
        "audience": {"lists": [made["id"]]},
        **settings,
    }
    return str(api.post("/v1/campaigns", body, status=201)["id"])


def mails(sink: thread_runner.Running) -> Counter[str]:
    """Return how many mails each address got."""
    return Counter(sent["address"] for sent in Client(sink.port).pages("/sent?provider=smtp"))


def campaign(server: Server, id_: str) -> dict[str, Any]:
    found: dict[str, Any] = server.api().get(f"/v1/campaigns/{id_}")
    return found


def check_ledger(server: Server, sink: thread_runner.Running, id_: str, people: int) -> Counter[str]:
    """Fail unless every person has one final status and at most one mail; return the statuses."""
    api = server.api()
    recipients = api.pages(f"/v1/campaigns/{id_}/recipients")
    assert len({one["profile_id"] for one in recipients}) == len(recipients) == people
    got = mails(sink)
    assert not [one for one, n in got.items() if n > 1], "somebody got two"
    statuses = Counter(one["status"] for one in recipients)
    assert not statuses.keys() & {"waiting", "queued", "held"}, statuses
    for one in recipients:
        if one["status"] == "sent":
            assert got[one["to"]] == 1, one
        elif one["status"] != "unknown":
            # A mail that was being sent at a kill is unknown: it may have been received.
            assert one["to"] is None or got[one["to"]] == 0, one
    overview = api.get(f"/v1/campaigns/{id_}/overview")
    assert overview["audience"] == people
    assert (overview["waiting"], overview["queued"], overview["held"]) == (0, 0, [])
    assert overview["sent"] == statuses["sent"]
    assert overview["unknown"] == statuses["unknown"]
    assert sum(one["count"] for one in overview["skipped"]) == statuses["skipped"]
    return statuses


def test_killed_until_it_is_finished(tmp_path: Path, sink: thread_runner.Running) -> None:
    people = 2_000
    server = Server(tmp_path, {"WAYPOST_RETRY_BASE": "0.01"})
    server.init()
    server.start()
    id_ = prepare(server, sink, people)
    server.api().post(f"/v1/campaigns/{id_}/launch")
    kills = 0
    while campaign(server, id_)["state"] not in OVER:
        progress = campaign(server, id_)["progress"]["done"]

        def moved(before: int = progress) -> bool:
            now = campaign(server, id_)
            return now["state"] in OVER or now["progress"]["done"] > before

        eventually(moved, what="progress after a kill")
        if kills < 8:
            server.kill()
            server.start()
            kills += 1
    assert kills >= 3
    statuses = check_ledger(server, sink, id_, people)
    assert statuses["sent"] > people / 2
    assert server.stop() == 0
    assert server.run("check").returncode == 0


#: Whether there is a core for a process beside the server.
BESIDE = len(os.sched_getaffinity(0)) > 1


def test_whatever_ends_the_server_the_process_that_renders_for_it_ends_too(
    tmp_path: Path, sink: thread_runner.Running
) -> None:
    people = 1_000
    server = Server(tmp_path, {"WAYPOST_RETRY_BASE": "0.01"})
    server.init()
    server.start()
    id_ = prepare(server, sink, people, throttle={"per_second": 100})
    server.api().post(f"/v1/campaigns/{id_}/launch")
    first = eventually(server.children, what="a process that renders") if BESIDE else []
    server.kill()
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in first), what="it ended with the server")
    server.start()
    second = eventually(server.children, what="another one") if BESIDE else []
    server.api().send("PATCH", f"/v1/campaigns/{id_}", {"throttle": {"per_minute": 600_000}})
    eventually(lambda: campaign(server, id_)["state"] == "finished", what="finished")
    check_ledger(server, sink, id_, people)
    assert server.stop() == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in second)


@contextlib.contextmanager
def two_servers(folder: Path) -> Iterator[tuple[Server, Server]]:
    """Two processes on one PostgreSQL."""
    with postgres_server() as postgres:
        environment = {
            "WAYPOST_DATABASE_URL": postgres.url(),
            "WAYPOST_RETRY_BASE": "0.01",
            "WAYPOST_SECRET_KEY": "a" * 43 + "=",
        }
        first, second = Server(folder / "one", environment), Server(folder / "two", environment)
        for one in (first, second):
            one.data.mkdir()
        first.init()
        second.keys = first.keys
        first.start()
        second.start()
        yield first, second


@pytest.mark.postgres
@pytest.mark.timeout(300)
def test_one_of_two_processes_is_killed_again_and_again_until_it_is_finished(
    tmp_path: Path, sink: thread_runner.Running
) -> None:
    people = 2_000
    with two_servers(tmp_path) as servers:
        # Slowly until there were some kills, however long a start takes here; then as fast as it goes.
        id_ = prepare(servers[0], sink, people, throttle={"per_second": 20})
        servers[0].api().post(f"/v1/campaigns/{id_}/launch")
        kills, done = 0, 0
        while True:
            victim, survivor = servers[kills % 2], servers[1 - kills % 2]

            def moved(by: Server = survivor, before: int = done) -> dict[str, Any] | None:
                now = campaign(by, id_)
                return now if now["state"] in OVER or now["progress"]["done"] > before else None

            now = eventually(moved, what="progress after a kill")
            if now["state"] in OVER:
                break
            done = now["progress"]["done"]
            victim.kill()
            if kills == 4:
                survivor.api().send("PATCH", f"/v1/campaigns/{id_}", {"throttle": {"per_second": 500}})
            victim.start()
            kills += 1
        assert kills > 4
        statuses = check_ledger(servers[0], sink, id_, people)
        assert set(statuses) <= {"sent", "unknown"}
        assert statuses["sent"] > people / 2
        for server in servers:
            assert server.stop() == 0
        assert servers[0].run("check").returncode == 0


@pytest.mark.postgres
@pytest.mark.timeout(300)
def test_two_processes_share_a_campaign_and_one_dies(tmp_path: Path, sink: thread_runner.Running) -> None:
    people = 3_000
    with two_servers(tmp_path) as (first, second):
        id_ = prepare(first, sink, people)
        first.api().post(f"/v1/campaigns/{id_}/launch")
        eventually(lambda: campaign(second, id_)["progress"]["done"] > 200, what="begun")
        first.kill()
        eventually(lambda: campaign(second, id_)["state"] == "finished", within=120, what="finished by the other")
        check_ledger(second, sink, id_, people)
        second.stop()


def test_paused_resumed_and_throttled_anew(server: Server, sink: thread_runner.Running) -> None:
    people = 400
    id_ = prepare(server, sink, people, throttle={"per_second": 40})
    api = server.api()
    began = time.monotonic()
    api.post(f"/v1/campaigns/{id_}/launch")
    eventually(lambda: campaign(server, id_)["progress"]["done"] >= 40, what="begun")
    assert campaign(server, id_)["progress"]["done"] <= 40 * (time.monotonic() - began) + 45
    assert api.post(f"/v1/campaigns/{id_}/pause")["state"] == "paused"
    eventually(lambda: api.get(f"/v1/campaigns/{id_}/overview")["queued"] == 0, what="nothing queued")
    stopped = sum(mails(sink).values())
    overview = api.get(f"/v1/campaigns/{id_}/overview")
    assert overview["held"] == [] or overview["held"][0]["reason"] == "campaign_paused"
    assert overview["sent"] == stopped
    refused = api.send("PATCH", f"/v1/campaigns/{id_}", {"audience": {}})
    assert refused is not None
    assert (refused[0], refused[1]["code"]) == (409, "campaign_not_editable")
    changed = api.send("PATCH", f"/v1/campaigns/{id_}", {"throttle": {"per_minute": 60_000}})
    assert changed is not None
    assert changed[0] == 200, changed
    assert sum(mails(sink).values()) == stopped, "a paused campaign sends nothing"
    api.post(f"/v1/campaigns/{id_}/resume")
    eventually(lambda: campaign(server, id_)["state"] == "finished", what="finished")
    assert check_ledger(server, sink, id_, people) == {"sent": people}


def test_cancelled_in_mid_flight(server: Server, sink: thread_runner.Running) -> None:
    people = 2_000
    id_ = prepare(server, sink, people, throttle={"per_second": 100})
    api = server.api()
    api.post(f"/v1/campaigns/{id_}/launch")
    eventually(lambda: campaign(server, id_)["progress"]["done"] >= 100, what="begun")
    assert api.post(f"/v1/campaigns/{id_}/cancel")["state"] == "cancelled"
    eventually(lambda: campaign(server, id_)["occurrences"][0]["state"] == "cancelled", what="over")
    statuses = check_ledger(server, sink, id_, people)
    assert set(statuses) <= {"sent", "skipped"}
    assert statuses["skipped"] > people / 2
    assert api.get(f"/v1/campaigns/{id_}/overview")["skipped"] == [
        {"reason": "cancelled", "count": statuses["skipped"]}
    ]
