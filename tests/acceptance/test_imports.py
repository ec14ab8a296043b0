"""An import goes on after `kill -9`, and every row is imported once; the command works with and without a server."""

import functools
import json
from pathlib import Path
from typing import Any

from tests.acceptance.programs import Server, eventually

ROWS = 60_000


def further(server: Server, place: str, rows: int) -> dict[str, Any] | None:
    """Return an import that has read more than these rows."""
    found: dict[str, Any] = server.api().get(place)
    return found if found["rows"] > rows else None


def test_killed_again_and_again_during_an_import(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.init()
    server.start()
    letters = server.api().post("/v1/lists", {"name": "News"}, status=201)
    text = "email,name,plan\n" + "".join(f"person{n}@example.com,Person {n},pro\n" for n in range(ROWS))
    sent = server.api().send("POST", f"/v1/imports?list={letters['id']}", text.encode(), {"content-type": "text/csv"})
    assert sent is not None
    assert sent[0] == 202, sent
    place = f"/v1/imports/{sent[1]['id']}"
    kills = 0
    seen = 0
    while kills < 5:
        found = eventually(functools.partial(further, server, place, seen), what="the import to go on")
        if found["state"] != "running":
            break
        seen = found["rows"]
        server.kill()
        server.start()
        kills += 1
    assert kills
    found = eventually(lambda: one if (one := server.api().get(place))["state"] != "running" else None, what="the end")
    assert (found["state"], found["rows"], found["imported"], found["created"]) == ("done", ROWS, ROWS, ROWS)
    assert server.api().get(f"/v1/lists/{letters['id']}")["members"]["subscribed"] == ROWS
    assert len(server.api().pages(f"/v1/lists/{letters['id']}/members")) == ROWS
    assert server.stop() == 0
    assert json.loads(server.run("check", "--json").stdout)["ok"] is True


def test_the_command_imports_with_and_without_a_server(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text("Mail;Stufe\nada@example.com;pro\nnobody;pro\n", encoding="cp1252")
    words = ("import", "--map", "Mail=email", "--map", "Stufe=traits.plan", "--json", str(file))
    for running in (True, False):
        if not running:
            server.stop()
        done = server.run(*words)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert (found["state"], found["imported"], found["rejected"], found["created"]) == ("done", 1, 1, int(running))
    refused = server.run("import", "--map", "Mail=mail", str(file))
    assert refused.returncode == 2
    assert "invalid_mapping" in refused.stderr
