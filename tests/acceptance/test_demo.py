"""`make run`: the demo starts, prints examples, delivers, sends, disables the broken endpoint, and survives a kill."""

import json
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.programs import WAYPOST, Client, eventually, free_port


def start(data: Path, port: int, sink_port: int) -> "subprocess.Popen[bytes]":
    arguments = ["demo", "--data", str(data), "--port", str(port), "--sink-port", str(sink_port), "--rate", "40"]
    with (data.parent / "demo.out").open("wb") as out:
        return subprocess.Popen([WAYPOST, *arguments], stdout=out, stderr=out)


def some_messages(api: Client, status: str) -> list[dict[str, Any]]:
    """Return the messages with this status."""
    found: list[dict[str, Any]] = api.get(f"/v1/messages?status={status}&limit=1000")["data"]
    return found


def newest(api: Client) -> str:
    """Return the id of the last message."""
    return str(api.get("/v1/messages?limit=1")["data"][0]["id"])


def in_klaviyo(sink_port: int) -> set[str]:
    """Return the statuses of texts that the simulated Klaviyo has got."""
    events = Client(sink_port).get("/klaviyo/events?limit=1000")["data"]
    return {event["properties"]["Status"] for event in events if event["metric"] == "Thank you"}


def try_the_panel(text: str) -> None:
    """All printed curl commands work; the wrong project is refused with its set-up code."""
    if shutil.which("curl") is None:
        pytest.skip("THE DEMO'S COMMANDS ARE NOT RUN: curl is missing")
    inside = "\n".join(line.strip("│╭╮╰╯─").rstrip() for line in text.splitlines())
    script = inside[inside.index("KEY=") :]
    script = script[: script.index("kill -9")]
    kept = [line for line in script.splitlines() if line.startswith("   ") or re.match(r" *[A-Z_]+=", line)]
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(kept).replace("  curl", "  curl -s")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r'"setup_code": ?2002', done.stdout)
    assert done.stdout.count("about:blank") == 1, done.stdout
    assert '"Version":"2012-10-17"' in done.stdout.replace(": ", ":")


# Two starts of the whole demo, beside other tests.
@pytest.mark.timeout(300)
def test_the_demo(tmp_path: Path) -> None:
    data, port, sink_port = tmp_path / "demo", free_port(), free_port()
    said = tmp_path / "demo.out"
    process = start(data, port, sink_port)
    try:
        eventually(lambda: "waypost demo" in said.read_text("utf-8"), what="the demo's welcome")
        text = said.read_text("utf-8")
        key = re.search(r"wpk_\w+", text)
        assert key is not None
        assert f"http://127.0.0.1:{port}" in text
        api = Client(port, f"Bearer {key[0]}")
        eventually(lambda: api.get("/v1/ledger")["delivered"] > 50, what="deliveries")
        eventually(
            lambda: [e for e in api.get("/v1/webhooks")["data"] if e["status"] == "disabled" and e["last_error"]],
            what="the broken receiver disabled",
        )
        assert Client(sink_port).get("/received?name=orders&limit=1")["data"]
        statuses = ["delivered", "failed", "skipped"]
        eventually(lambda: all(some_messages(api, status) for status in statuses), what="messages of every kind")
        assert {"sms", "email"} <= {message["channel"] for message in api.get("/v1/messages?limit=1000")["data"]}
        assert 2009 in {count["code"] for count in api.get("/v1/message-counts")["data"]}
        eventually(lambda: "DELIVERED" in in_klaviyo(sink_port), what="statuses of a text in Klaviyo")
        try_the_panel(text)
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        # Other ports: the connections are updated to the new port of the sink.
        sink_port = free_port()
        process = start(data, port, sink_port)
        eventually(lambda: (api.send("GET", "/readyz") or [0])[0] == 200, what="the demo again")
        ledger = api.get("/v1/ledger")
        assert ledger["accepted"] == ledger["delivered"] + ledger["pending"] + ledger["dead"]
        before = newest(api)
        eventually(
            lambda: [m for m in some_messages(api, "delivered") if m["id"] > before and m["channel"] == "sms"],
            what="a receipt after the second start",
        )
        eventually(lambda: Client(sink_port).get("/sent/count?provider=smtp")["messages"], what="mail after it")
        # The circle of a text: flow, server, provider, receipt, callback, and back in Klaviyo, with the rotated secret.
        eventually(lambda: {"DELIVERED", "FAILED_TO_DELIVERY", "NOT_FOUND"} <= in_klaviyo(sink_port), what="texts")
        made = {name: len(api.get(f"/v1/{name}")["data"]) for name in ("connections", "templates", "text-clients")}
        assert made == {"connections": 3, "templates": 3, "text-clients": 1}
        # The campaign: sent once, by both processes together, opened and clicked.
        campaign = api.get("/v1/campaigns")["data"][0]["id"]
        eventually(lambda: api.get(f"/v1/campaigns/{campaign}/overview")["clicks"]["unique"], what="a click")
        overview = api.get(f"/v1/campaigns/{campaign}/overview")
        assert overview["opens"]["unique"] >= overview["clicks"]["unique"] > 0
        kinds = {json.loads(one["body"])["event"] for one in Client(sink_port).get("/received?name=pinpointe")["data"]}
        assert kinds <= {"open", "click"}
        assert json.loads((data / "demo-keys.json").read_text())["api_key"] == key[0], "the same workspace as before"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait(30)
