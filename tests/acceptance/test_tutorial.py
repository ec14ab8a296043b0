"""The commands of the tutorial and the guides are run as they stand there, against real processes."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.programs import Server, eventually, free_port, serving
from waypost.sink import beside

ROOT = Path(__file__).parents[2]
COMMANDS = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
GUIDES = [page for page in sorted((ROOT / "docs" / "howto").glob("*.md")) if COMMANDS.search(page.read_text("utf-8"))]


def commands(page: Path, ports: dict[str, int]) -> str:
    """All commands of a page as one script, with ports of our own. Blocks marked `not-run` are left out."""
    if shutil.which("curl") is None:
        pytest.skip("THE TUTORIAL AND THE GUIDES ARE NOT RUN: curl is missing")
    script = "\n".join(COMMANDS.findall(page.read_text("utf-8")))
    if shutil.which("sqlite3") is None:
        # The guide that uses it shows another way beside it.
        script = re.sub(r"^sqlite3 .*$", "", script, flags=re.MULTILINE)
    return re.sub(r"\b80[89]\d\b", lambda found: str(ports.setdefault(found[0], free_port())), script)


def run(script: str, folder: Path, environment: dict[str, str], timeout: float = 110) -> str:
    """What a script prints; fails when one of its commands does."""
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


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, beside.Running]]:
    """A server and a sink for all guides."""
    with beside.running() as sink, serving(tmp_path_factory.mktemp("data"), {"WAYPOST_RETRY_BASE": "0.001"}) as server:
        yield server, sink


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_a_guide(page: Path, tmp_path: Path, world: tuple[Server, beside.Running]) -> None:
    server, sink = world
    environment = prepare(server, sink, page.stem)
    script = commands(page, {"8080": server.port, "8090": sink.port})
    # Nothing is sent to strangers, and each guide has a receiver of its own.
    script = script.replace("https://example.com/waypost", f"{sink.url}/hook/example")
    script = script.replace("name=orders", f"name={page.stem}")
    said = run(script, tmp_path, environment)
    assert "about:blank" not in said, said
    assert "Traceback" not in said, said


def prepare(server: Server, sink: beside.Running, name: str) -> dict[str, str]:
    """What the guides take for granted: a running server, and an endpoint that got an event."""
    wish = {"url": f"{sink.url}/hook/{name}", "event_types": ["event.*"], "description": name}
    made = server.api().post("/v1/webhooks", wish, status=201)
    event = {"userId": "ada", "event": "Order Shipped", "messageId": f"first-{name}", "properties": {"total": 99.5}}
    server.tracker().post("/v1/track", event)
    endpoint = f"/v1/webhooks/{made['id']}"
    eventually(lambda: server.api().get(endpoint)["counts"]["delivered"] == 1, what="the first event")
    return {
        "API_KEY": server.keys["api_key"],
        "WRITE_KEY": server.keys["write_key"],
        "WEBHOOK": made["id"],
        "SECRET": made["secret"],
        "WAYPOST_DATA": str(server.data),
    }
