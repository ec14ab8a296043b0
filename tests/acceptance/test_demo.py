"""`make run`: the demo starts, shows what to try, delivers, disables what is broken, and comes back after a kill."""

import json
import re
import signal
import subprocess
from pathlib import Path

from tests.acceptance.programs import WAYPOST, Client, eventually, free_port


def start(data: Path, port: int, sink_port: int) -> "subprocess.Popen[bytes]":
    arguments = ["demo", "--data", str(data), "--port", str(port), "--sink-port", str(sink_port), "--rate", "40"]
    with (data.parent / "demo.out").open("wb") as out:
        return subprocess.Popen([WAYPOST, *arguments], stdout=out, stderr=out)


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
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        process = start(data, port, sink_port)
        eventually(lambda: (api.send("GET", "/readyz") or [0])[0] == 200, what="the demo again")
        ledger = api.get("/v1/ledger")
        assert ledger["accepted"] == ledger["delivered"] + ledger["pending"] + ledger["dead"]
        assert json.loads((data / "demo-keys.json").read_text())["api_key"] == key[0], "the same workspace as before"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait(30)
