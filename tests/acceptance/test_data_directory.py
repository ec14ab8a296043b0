"""The data directory is closed to other users; an unusable one gives a one-line error; a missing key is detected."""

import json
import os
import re
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.programs import Server
from waypost.sink import thread_runner

COMMANDS = [("serve",), ("init",), ("check",), ("migrate",), ("ledger",), ("keys", "list"), ("reencrypt",)]


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[Server]:
    """A server with a webhook, stopped normally."""
    with thread_runner.running() as sink:
        server = Server(tmp_path / "data")
        server.data.mkdir(mode=0o755)
        server.init()
        server.start()
        try:
            server.api().post("/v1/webhooks", {"url": f"{sink.url}/hook/one", "event_types": ["*"]}, status=201)
            assert server.stop() == 0
        finally:
            if server.process is not None:
                server.process.kill()
                server.process.wait(30)
        yield server


def modes(folder: Path) -> dict[str, int]:
    """Return the permissions of a folder and of Waypost's files in it."""
    found = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir() if file.suffix != ".log"}
    return {".": stat.S_IMODE(folder.stat().st_mode)} | found


def test_nobody_else_may_read_the_data(tmp_path: Path) -> None:
    server = Server(tmp_path / "new" / "data")
    before = os.umask(0o022)
    try:
        assert server.run("init", "--json").returncode == 0
        server.start()
    finally:
        os.umask(before)
    try:
        found = modes(server.data)
    finally:
        server.kill()
    assert {"waypost.db", "waypost.db-wal", "waypost.db-shm", "secret.key", "waypost.lock"} <= found.keys()
    assert found.pop(".") == 0o700
    assert set(found.values()) == {0o600}


def test_what_an_older_version_left_open_is_told_and_closed(stopped: Server) -> None:
    stopped.log.unlink()
    stopped.data.chmod(0o755)
    for file in stopped.data.iterdir():
        file.chmod(0o644)
    done = stopped.run("check", "--json")
    (told,) = [part for part in json.loads(done.stdout)["checks"] if part["check"] == "files"]
    assert (done.returncode, told["ok"], told["warning"]) == (0, True, True)
    assert f"{stopped.data}/waypost.db" in told["detail"]
    assert "chmod 700" in told["detail"]
    assert modes(stopped.data)["."] == 0o700
    assert modes(stopped.data)["waypost.db"] == modes(stopped.data)["secret.key"] == 0o600


def test_a_folder_with_other_files_keeps_its_permissions(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    server.data.mkdir()
    server.data.chmod(0o755)
    (server.data / "notes.txt").write_text("mine")
    (server.data / "notes.txt").chmod(0o644)
    server.init()
    found = modes(server.data)
    assert (found["."], found["notes.txt"], found["waypost.db"]) == (0o755, 0o644, 0o600)


@pytest.mark.parametrize("command", [("serve",), ("check",), ("reencrypt",), ("connectors", "add", "FILE")])
def test_a_missing_key_is_told_and_not_replaced(stopped: Server, tmp_path: Path, command: tuple[str, ...]) -> None:
    key = (stopped.data / "secret.key").read_bytes()
    (stopped.data / "secret.key").unlink()
    file = tmp_path / "own.toml"
    file.write_text(OWN)
    done = stopped.run(*[str(file) if part == "FILE" else part for part in command])
    assert done.returncode == 1
    assert "the key that encrypted them is missing" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not (stopped.data / "secret.key").exists()
    (stopped.data / "secret.key").write_bytes(key)
    assert stopped.run("check").returncode == 0


OWN = """
name = "postcard"
label = "Postcard"
channel = "sms"

[request]
method = "POST"
url = "https://postcard.example/send"
"""


def test_a_check_makes_no_key(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    assert server.run("migrate").returncode == 0
    done = server.run("check")
    assert done.returncode == 0, done.stdout
    assert "none is stored" in done.stdout
    assert not (server.data / "secret.key").exists()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("kind", ["folder is a file", "database is a folder", "database is another file"])
def test_data_that_cannot_be_used_is_one_clear_line(tmp_path: Path, command: tuple[str, ...], kind: str) -> None:
    server = Server(tmp_path / "data")
    if kind == "folder is a file":
        server.data.write_text("no folder")
    else:
        (server.data / "waypost.db").mkdir(parents=True)
    if kind == "database is another file":
        (server.data / "waypost.db").rmdir()
        (server.data / "waypost.db").write_text("no database at all, but long enough to be looked at" * 100)
    done = server.run(*command)
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    told = [line for line in said.splitlines() if re.search("cannot be (used|opened)", line)]
    assert len(told) == 1, said
    assert str(server.data) in told[0]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_port_in_use_is_one_clear_line(tmp_path: Path, host: str) -> None:
    server = Server(tmp_path / "data")
    server.init()
    with socket.create_server(("127.0.0.1", server.port)):
        done = server.run("serve", "--host", host, "--port", str(server.port))
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert f"cannot listen on {host}:{server.port}: Address already in use" in lines[0]


def test_an_address_of_another_machine_is_one_clear_line(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    done = server.run("serve", "--host", "192.0.2.1", "--port", str(server.port))
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    assert "cannot listen on 192.0.2.1" in done.stderr
