"""`waypost campaigns` does beside a running server what the API does, and shows it on a terminal."""

import json
import os
import pty
import subprocess
from pathlib import Path
from typing import Any

from tests.acceptance.programs import WAYPOST, Server, eventually
from tests.acceptance.test_campaigns import campaign, check_ledger, mails, prepare
from waypost.sink import thread_runner

FIELDS = ("id", "name", "channel", "state", "reason", "progress", "next_at", "launched_at", "ended_at", "created_at")


def run(server: Server, *words: str) -> Any:
    """Run a command with `--json`; return what it printed."""
    done = server.run("campaigns", *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def watch(server: Server, id_: str) -> str:
    """Run `show` on a terminal until it ends; return what it showed."""
    ours, its = pty.openpty()
    process = subprocess.Popen(
        [WAYPOST, "campaigns", "show", id_, "--data", str(server.data)],
        stdin=its,
        stdout=its,
        stderr=its,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(its)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:
        # Linux says so when the other side is closed.
        pass
    os.close(ours)
    assert process.wait(30) == 0, shown
    return shown.decode()


def test_a_campaign_is_launched_paused_resumed_and_watched(server: Server, sink: thread_runner.Running) -> None:
    people = 60
    id_ = prepare(server, sink, people, throttle={"per_second": 5})
    listed = run(server, "list")["data"]
    assert [one["id"] for one in listed] == [id_]
    assert run(server, "list", "--state", "live")["data"] == []
    shown, view = run(server, "show", id_), campaign(server, id_)
    assert {name: shown[name] for name in FIELDS} == {name: view[name] for name in FIELDS}
    assert run(server, "launch", id_)["state"] == "scheduled"
    eventually(lambda: campaign(server, id_)["progress"]["done"] >= 2, what="begun")
    assert run(server, "pause", id_)["state"] == "paused"
    paused = server.run("campaigns", "list").stdout
    assert id_ in paused
    assert "paused" in paused
    assert run(server, "resume", id_)["state"] == "live"
    seen = watch(server, id_)
    assert f"{people}/{people}" in seen
    assert "finished" in seen
    check_ledger(server, sink, id_, people)
    refused = server.run("campaigns", "resume", id_)
    assert refused.returncode == 1
    assert "campaign_state" in refused.stderr


def test_a_cancelled_campaign_sends_nothing_more(server: Server, sink: thread_runner.Running) -> None:
    id_ = prepare(server, sink, 50, throttle={"per_second": 2})
    run(server, "launch", id_)
    eventually(lambda: campaign(server, id_)["progress"]["done"] >= 1, what="begun")
    asked = server.run("campaigns", "cancel", id_)
    assert asked.returncode == 1
    assert campaign(server, id_)["state"] == "live"
    assert run(server, "cancel", id_, "--yes")["state"] == "cancelled"
    eventually(lambda: campaign(server, id_)["progress"]["done"] == 50, what="everybody else is skipped")
    assert sum(mails(sink).values()) < 50


def test_a_launch_names_everything_that_is_missing(server: Server, tmp_path: Path) -> None:
    made = server.api().post("/v1/campaigns", {"name": "Empty", "channel": "email"}, status=201)
    refused = server.run("campaigns", "launch", made["id"])
    assert refused.returncode == 2
    assert "campaign_incomplete" in refused.stderr
    for word in ("template", "list", "connection"):
        assert word in refused.stderr, word
    assert campaign(server, made["id"])["state"] == "draft"
    unknown = server.run("campaigns", "show", "cmp_0000000000000001")
    assert unknown.returncode == 1
    assert "not_found" in unknown.stderr
