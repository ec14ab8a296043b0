"""A new segment is evaluated for everybody once, also over `kill -9`."""

import json
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import apsw

from tests.acceptance.programs import Server, eventually
from waypost.clock import now_us

PEOPLE = 12_000
PRO = {"trait": "plan", "is": "pro"}


def test_killed_again_and_again_while_a_segment_is_evaluated_for_everybody(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.init()
    server.start()
    text = "user_id,plan\n" + "".join(f"u{n},{('free', 'Pro')[n % 2]}\n" for n in range(PEOPLE))
    mapping = quote('{"user_id":"user_id","plan":"traits.plan"}')
    sent = server.api().send("POST", f"/v1/imports?map={mapping}", text.encode(), {"content-type": "text/csv"})
    assert sent is not None
    assert sent[0] == 202, sent
    eventually(lambda: server.api().get(f"/v1/imports/{sent[1]['id']}")["state"] == "done", what="the import")
    segment = server.api().post(
        "/v1/segments", {"name": "Pro", "condition": PRO, "announce_existing": True}, status=201
    )
    place = f"/v1/segments/{segment['id']}"
    kills = 0
    while kills < 4 and not server.api().get(place)["complete"]:
        eventually(partial(more_members, server, members(server)), what="some members")
        server.kill()
        server.start()
        kills += 1
    assert kills
    eventually(lambda: server.api().get(place)["complete"] or None, what="everybody")
    assert server.api().get(f"{place}/count")["count"] == PEOPLE // 2
    assert server.stop() == 0
    with apsw.Connection(str(server.data / "waypost.db")) as database:
        assert rows(database, "SELECT count(*) FROM segment_members") == [(PEOPLE // 2,)]
        entered = "SELECT count(*), count(DISTINCT profile_id) FROM events WHERE type = 'segment.entered'"
        assert rows(database, entered) == [(PEOPLE // 2, PEOPLE // 2)]
        assert rows(database, "SELECT path, state FROM trait_indexes") == [("plan", "complete")]
        assert rows(database, "SELECT value, count(*) FROM trait_values GROUP BY 1 ORDER BY 1") == [
            ("sfree", PEOPLE // 2),
            ("spro", PEOPLE // 2),
        ]
    found = checked(server)
    assert found["ok"], found
    # An evaluation that stands still goes on with the next start, and is an error while a process is there.
    with apsw.Connection(str(server.data / "waypost.db")) as database:
        database.execute("UPDATE segments SET filled_to = 0, advanced_at = 1")
    found = checked(server)
    assert found["ok"], found
    assert "the next start goes on" in found["segments"]["detail"]
    with apsw.Connection(str(server.data / "waypost.db")) as database:
        database.execute("INSERT INTO nodes VALUES (99, 'x', 'here', 1, ?1, ?1)", (now_us(),))
    found = checked(server)
    assert found["ok"] is False
    assert "stands still" in found["segments"]["detail"]


def members(server: Server) -> int:
    database = apsw.Connection(str(server.data / "waypost.db"), flags=apsw.SQLITE_OPEN_READONLY)
    found = rows(database, "SELECT count(*) FROM segment_members")
    database.close()
    return int(found[0][0])


def more_members(server: Server, before: int) -> bool:
    return members(server) > before


def rows(database: apsw.Connection, text: str) -> list[Any]:
    return list(database.execute(text))


def checked(server: Server) -> dict[str, Any]:
    """Return the results of a check by name."""
    found = json.loads(server.run("check", "--json").stdout)
    return {one["check"]: one for one in found["checks"]} | {"ok": found["ok"]}
