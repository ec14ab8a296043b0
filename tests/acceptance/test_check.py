"""`waypost check` reports errors in connections, secrets and messages, and warns of what needs a review."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.acceptance.programs import Server, eventually
from waypost.clock import now_us
from waypost.sink import thread_runner

MINUTE = 60_000_000


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that sent an SMS and was stopped normally."""
    with thread_runner.running() as sink:
        server = Server(tmp_path_factory.mktemp("data"))
        server.init()
        server.start()
        try:
            config = {"account_sid": "AC" + "1" * 32, "auth_token": "made-up", "from": "+12025550100"}
            wish = {
                "name": "Twilio [Berlin]",
                "connector": "twilio",
                "config": config | {"host": f"{sink.url}/twilio"},
            }
            server.api().post("/v1/connections", wish, status=201)
            sent = server.api().post("/v1/messages", {"channel": "sms", "to": "+12025550190", "text": "Hi"}, status=202)
            where = f"/v1/messages/{sent['id']}"
            eventually(lambda: server.api().get(where)["status"] == "delivered", what="delivered")
            assert server.stop() == 0
        finally:
            if server.process is not None:
                server.process.kill()
                server.process.wait(30)
        yield server


def look(server: Server) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the exit code of a check, and the result of each step."""
    done = server.run("check", "--json")
    return done.returncode, {part["check"]: part for part in json.loads(done.stdout)["checks"]}


@pytest.fixture
def changed(stopped: Server) -> Iterator[Callable[..., None]]:
    """Changes the database of the stopped server, and restores it afterwards."""
    file = stopped.data / "waypost.db"

    def run(statement: str, values: tuple[Any, ...] = ()) -> None:
        database = apsw.Connection(str(file))
        database.execute(statement, values)
        database.close()

    kept: dict[Path, bytes] = {path: path.read_bytes() for path in stopped.data.glob("waypost.db*")}
    yield run
    for path in stopped.data.glob("waypost.db*"):
        path.unlink()
    for path, content in kept.items():
        path.write_bytes(content)


def test_all_is_well(stopped: Server) -> None:
    code, found = look(stopped)
    assert code == 0
    assert not [part for part in found.values() if part["warning"] or not part["ok"]]
    assert found["connections"]["detail"] == "1, each with a valid connector"

    assert found["secrets"]["detail"] == "all 1 rows can be decrypted"
    assert found["messages"]["detail"] == "0 being sent"


def test_a_connection_without_its_connector(stopped: Server, changed: Callable[..., None]) -> None:
    changed("UPDATE connections SET connector = 'carrier-pigeon'")
    code, found = look(stopped)
    assert code == 1
    assert "Twilio [Berlin] (con_" in found["connections"]["detail"]
    assert "carrier-pigeon" in found["connections"]["detail"]
    assert "Twilio [Berlin]" in stopped.run("check").stdout, "a name is no markup"


def test_a_paused_connection_is_a_warning(stopped: Server, changed: Callable[..., None]) -> None:
    changed("UPDATE connections SET status = 'paused'")
    code, found = look(stopped)
    assert (code, found["connections"]["warning"]) == (0, True)
    assert "1 of 1 are paused" in found["connections"]["detail"]


def test_secrets_under_another_key(stopped: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(stopped.environment, "WAYPOST_SECRET_KEY", "A" * 43 + "=")
    code, found = look(stopped)
    assert (code, found["secrets"]["ok"]) == (1, False)
    assert "1 of 1 rows cannot be decrypted: connection con_" in found["secrets"]["detail"]


def test_unknown_messages_are_a_warning(stopped: Server, changed: Callable[..., None]) -> None:
    changed("UPDATE messages SET status = 'unknown'")
    code, found = look(stopped)
    assert (code, found["messages"]["ok"], found["messages"]["warning"]) == (0, True, True)
    assert "1 with an unknown result" in found["messages"]["detail"]
    assert "warning messages: " in stopped.run("check").stdout


@pytest.mark.parametrize(
    ("seen", "others_live", "code", "said"),
    [
        # Dated in the future, so that the check may take long.
        (-MINUTE * 5, False, 0, "1 being sent"),
        (MINUTE * 5, False, 0, "1 were being sent when a process died"),
        (MINUTE // 2, True, 0, "1 were being sent when a process died"),
        (MINUTE * 5, True, 1, "1 messages are held by dead processes"),
        (None, True, 1, "1 messages are held by dead processes"),
    ],
    ids=["living", "all dead", "just died", "long dead", "given back"],
)
def test_messages_of_dead_processes(
    stopped: Server, changed: Callable[..., None], seen: int | None, others_live: bool, code: int, said: str
) -> None:
    now = now_us()
    node = 0 if seen is None else 7
    changed("UPDATE messages SET status = 'sending', node = ?, updated_at = ?", (node, now - 10 * MINUTE))
    add = "INSERT INTO nodes (id, token, host, sends, started_at, seen_at) VALUES (?, 'x', 'one', 1, 1, ?)"
    if seen is not None:
        changed(add, (node, now - seen))
    if others_live:
        changed(add, (8, now + 5 * MINUTE))
    found_code, found = look(stopped)
    assert found_code == code
    assert said in found["messages"]["detail"]


@pytest.mark.parametrize(("age", "code"), [(MINUTE, 0), (3 * MINUTE, 1)], ids=["will be found", "was not found"])
def test_messages_under_a_number_that_no_process_has(
    stopped: Server, changed: Callable[..., None], age: int, code: int
) -> None:
    now = now_us()
    changed("UPDATE messages SET status = 'sending', node = 7, updated_at = ?", (now - age,))
    changed(
        "INSERT INTO nodes (id, token, host, sends, started_at, seen_at) VALUES (8, 'x', 'one', 1, 1, ?)",
        (now + 5 * MINUTE,),
    )
    found_code, found = look(stopped)
    assert found_code == code
    assert ("1 messages are held by dead processes" in found["messages"]["detail"]) == bool(code)


def test_messages_that_a_living_process_sends_for_too_long_are_a_warning(
    stopped: Server, changed: Callable[..., None]
) -> None:
    now = now_us()
    changed(
        "INSERT INTO nodes (id, token, host, sends, started_at, seen_at) VALUES (7, 'x', 'one', 1, 1, ?)",
        (now + 5 * MINUTE,),
    )
    changed("UPDATE messages SET status = 'sending', node = 7, status_at = ?", (now - 9 * MINUTE,))
    assert look(stopped)[1]["messages"]["detail"] == "1 being sent"
    changed("UPDATE messages SET status_at = ?", (now - 11 * MINUTE,))
    code, found = look(stopped)
    assert (code, found["messages"]["warning"]) == (0, True)
    assert "1 of them for more than 10 minutes" in found["messages"]["detail"]


def test_overdue_deliveries_are_a_warning(stopped: Server, changed: Callable[..., None]) -> None:
    _owe(stopped, changed, due_at=now_us() - 5 * MINUTE)
    assert look(stopped)[1]["deliveries"]["detail"] == "none is overdue"
    changed("UPDATE deliveries SET due_at = ?", (now_us() - 11 * MINUTE,))
    code, found = look(stopped)
    assert (code, found["deliveries"]["ok"], found["deliveries"]["warning"]) == (0, True, True)
    assert "1 deliveries were due more than 10 minutes ago" in found["deliveries"]["detail"]
    assert "1 of them are held by a process" in found["deliveries"]["detail"]


def test_overdue_deliveries_of_a_dead_process_are_an_error(stopped: Server, changed: Callable[..., None]) -> None:
    _owe(stopped, changed, due_at=now_us() - 11 * MINUTE)
    now = now_us()
    changed(
        "INSERT INTO nodes (id, token, host, sends, started_at, seen_at) VALUES (8, 'x', 'one', 1, 1, ?)",
        (now + 5 * MINUTE,),
    )
    code, found = look(stopped)
    assert (code, found["deliveries"]["ok"]) == (1, False)
    assert "1 are held by dead processes" in found["deliveries"]["detail"]


def _owe(server: Server, changed: Callable[..., None], due_at: int) -> None:
    """Insert a delivery held by a process that does not exist, with its place in the ledger."""
    database = apsw.Connection(str(server.data / "waypost.db"))
    ((sealed,),) = database.execute("SELECT secrets FROM connections LIMIT 1").fetchall()
    database.close()
    changed(
        """INSERT INTO endpoints (id, workspace_id, url, description, event_types, headers, concurrency, timeout_ms,
               format, signature, secrets, status, version, created_at, updated_at)
           VALUES (9, 1, 'http://127.0.0.1:9/', '', '[]', ?, 1, 1000, 'standard', 'v1', ?, 'enabled', 1, 0, 0)""",
        (sealed, sealed),
    )
    changed("INSERT INTO endpoint_counts VALUES (9, 1, 1, 1, 0, 1, 0)")
    changed(
        """INSERT INTO deliveries (endpoint_id, event_id, state, tries, attempts, due_at, node)
           VALUES (9, 1, 'pending', 0, 0, ?, 7)""",
        (due_at,),
    )
