"""The commands of the tutorial and the guides run unchanged against real processes."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.programs import Server, eventually, free_port, serving
from waypost.sink import thread_runner

ROOT = Path(__file__).parents[2]
COMMANDS = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
GUIDES = [page for page in sorted((ROOT / "docs" / "howto").glob("*.md")) if COMMANDS.search(page.read_text("utf-8"))]


def commands(page: Path, ports: dict[str, int]) -> str:
    """Return all commands of a page as one script, with other ports. Blocks marked `not-run` are left out."""
    if shutil.which("curl") is None:
        pytest.skip("THE TUTORIAL AND THE GUIDES ARE NOT RUN: curl is missing")
    script = "\n".join(COMMANDS.findall(page.read_text("utf-8")))
    if shutil.which("sqlite3") is None:
        # The guide that uses it also shows an alternative.
        script = re.sub(r"^sqlite3 .*$", "", script, flags=re.MULTILINE)
    return re.sub(r"\b80[89]\d\b", lambda found: str(ports.setdefault(found[0], free_port())), script)


def run(script: str, folder: Path, environment: dict[str, str], timeout: float = 110) -> str:
    """Return the output of a script; fail if one of its commands fails."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WAYPOST_")}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    folder.joinpath("examples").symlink_to(ROOT / "examples")
    process = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", f"trap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n{script}"],
        cwd=folder,
        env={**kept, "PATH": path, "PYTHONUNBUFFERED": "1", **environment},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        said, _ = process.communicate(timeout=10)
        raise AssertionError(f"not done in time; it said:\n{said}") from None
    assert process.returncode == 0, said
    return said


def test_the_tutorial(tmp_path: Path) -> None:
    said = run(commands(ROOT / "docs/tutorial/first-webhook.md", {}), tmp_path, {})
    assert len(re.findall(r"^verified evt_", said, re.MULTILINE)) == 1
    assert '"disabled_reason": "exhausted"' in said
    assert "status_500: the endpoint answered 500" in said
    assert '"subject": "Webhook endpoint whk_' in said
    assert '"distinct":205' in said
    assert "ok      ledger: 205 accepted = 205 delivered + 0 pending + 0 dead" in said


def test_the_tutorial_of_messages(tmp_path: Path) -> None:
    said = run(commands(ROOT / "docs/tutorial/first-message.md", {}), tmp_path, {})
    assert '"setup_code": 2002' in said
    assert "mobiletargeting:GetEventStream" in said
    assert re.search(r'"code": 2009,\s+"failure": "Undelivered"', said)
    assert '"provider_code": "UNREACHABLE"' in said
    assert "Hi Ada, order A-1001 is on its way. Reply STOP to end." in said
    assert '"reason":"not_consented"' in said
    assert '"status":"unknown"' in said
    counted = re.search(r'"messages":(\d+),"distinct":(\d+),"addresses":(\d+)', said.replace(" ", ""))
    assert counted
    assert counted[1] == counted[3], "somebody got two"
    assert 0 < int(counted[1]) <= 200
    assert re.search(r"(ok|warning) +messages: 0 being sent", said)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, thread_runner.Running]]:
    """A server and a sink for all guides."""
    with (
        thread_runner.running() as sink,
        serving(tmp_path_factory.mktemp("data"), {"WAYPOST_RETRY_BASE": "0.001"}) as server,
    ):
        yield server, sink


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_a_guide(page: Path, tmp_path: Path, world: tuple[Server, thread_runner.Running]) -> None:
    server, sink = world
    environment = prepare(server, sink, page.stem)
    script = commands(page, {"8080": server.port, "8090": sink.port})
    # Nothing is sent outside, and each guide has its own receiver.
    script = script.replace("https://example.com/waypost", f"{sink.url}/hook/example")
    script = script.replace("name=orders", f"name={page.stem}")
    said = run(script, tmp_path, environment)
    assert "about:blank" not in said, said
    assert "Traceback" not in said, said


def prepare(server: Server, sink: thread_runner.Running, name: str) -> dict[str, str]:
    """Create what the guides presuppose: an endpoint that got an event, its metric, a connection, a message."""
    api = server.api()
    wish = {"url": f"{sink.url}/hook/{name}", "event_types": ["event.*"], "description": name}
    made = api.post("/v1/webhooks", wish, status=201)
    event = {"userId": "ada", "event": "Order Shipped", "messageId": f"first-{name}", "properties": {"total": 99.5}}
    server.tracker().post("/v1/track", event)
    endpoint = f"/v1/webhooks/{made['id']}"
    eventually(lambda: api.get(endpoint)["counts"]["delivered"] == 1, what="the first event")
    return {
        "API_KEY": server.keys["api_key"],
        "WRITE_KEY": server.keys["write_key"],
        "WEBHOOK": made["id"],
        "METRIC": api.get("/v1/metrics")["data"][0]["id"],
        "SECRET": made["secret"],
        "WAYPOST_DATA": str(server.data),
        **prepare_messages(server, sink, name),
    }


def prepare_messages(server: Server, sink: thread_runner.Running, name: str) -> dict[str, str]:
    """Create a connection to the simulated Twilio, a template, a profile, and a message with an unknown result."""
    api = server.api()
    config = {"account_sid": "AC" + "1" * 32, "auth_token": "made-up", "from": "+12025550100"}
    wish = {"name": f"Twilio {name}", "connector": "twilio", "config": config | {"host": f"{sink.url}/twilio"}}
    connection = api.post("/v1/connections", wish, status=201)["id"]
    template = {"name": name, "channel": "sms", "text": "Order {{ order_id }} is on its way."}
    server.tracker().post("/v1/identify", {"userId": "ada", "traits": {"name": "Ada", "phone": "+12025550101"}})
    # The sink accepts it and closes the connection without a response.
    lost = {"channel": "sms", "to": "+12025550014", "text": "Hi", "connection_id": connection}
    message = api.post("/v1/messages", lost, status=202)["id"]
    eventually(lambda: api.get(f"/v1/messages/{message}")["status"] == "unknown", what="an unknown message")
    return {
        "CONNECTION": connection,
        "TEMPLATE": api.post("/v1/templates", template, status=201)["id"],
        "PROFILE": api.get("/v1/profiles?user_id=ada")["data"][0]["id"],
        "MESSAGE": message,
        "CAMPAIGN": api.post("/v1/campaigns", {"name": name, "channel": "sms"}, status=201)["id"],
    }
