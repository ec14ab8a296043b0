"""`kill -9` in a storm of clicks: every click whose redirect was answered is an event, and links survive a new key."""

import contextlib
import http.client
import itertools
import time
from pathlib import Path

import apsw

from tests.acceptance.programs import Callers, Server
from waypost.api.edge.visits import WAIT_S
from waypost.clock import DAY, now_us
from waypost.domain.tracking.tokens import to_token

LINKS = 20
ROUNDS = 3
URL = "https://shop.example/spring?utm_api=birthday&n="


def make_links(data: Path) -> list[str]:
    """Store links while no server runs; return their tokens."""
    database = apsw.Connection(str(data / "waypost.db"))
    keys = [7919 * number for number in range(1, LINKS + 1)]
    statement = (
        "INSERT INTO links (id, workspace_id, message_id, profile_id, url, created_at, expires_at)"
        " VALUES (?, 1, ?, NULL, ?, ?, ?)"
    )
    for number, key in enumerate(keys):
        database.execute(statement, (key, key, f"{URL}{number}", now_us(), now_us() + DAY))
    database.close()
    return [to_token(key) for key in keys]


class Clicks(Callers):
    """Browsers that follow links as fast as they are answered, each with a number in its user agent."""

    def __init__(self, server: Server, tokens: list[str], clients: int = 8) -> None:
        super().__init__(self._follow, range(clients))
        self._server = server
        self._tokens = tokens
        #: The user agents whose redirect was answered in time, and all that were sent.
        self.accepted: set[str] = set()
        self.sent: set[str] = set()
        self.wrong: list[object] = []

    def _follow(self, client: int) -> None:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=30)) as connection:
            for count in itertools.count(1):
                if self.stopping.is_set():
                    return
                number = count % LINKS
                name = f"Mozilla/5.0 (Windows NT 10.0) visitor/{client}-{count}"
                self.sent.add(name)
                began = time.monotonic()
                try:
                    connection.request("GET", f"/c/{self._tokens[number]}", headers={"User-Agent": name})
                    answer = connection.getresponse()
                    answer.read()
                except (OSError, http.client.HTTPException):
                    connection.close()
                    continue
                if (answer.status, answer.headers["location"]) != (302, f"{URL}{number}"):
                    self.wrong.append((answer.status, answer.headers["location"]))
                elif time.monotonic() - began < WAIT_S:
                    # A later answer may not have waited for the commit, which a busy machine can make slow.
                    self.accepted.add(name)


def test_killed_in_a_storm_of_clicks(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.init()
    tokens = make_links(tmp_path)
    server.start()
    with Clicks(server, tokens) as clicks:
        for _ in range(ROUNDS):
            clicks.wait_for(150)
            server.kill()
            server.start()
        clicks.wait_for(50)
    assert clicks.wrong == []
    found = [event["data"]["user_agent"] for event in server.api().pages("/v1/events?type=message.clicked")]
    assert clicks.accepted <= set(found) <= clicks.sent
    # Each once: nobody repeats a click.
    assert len(found) == len(set(found))
    assert server.stop() == 0
    assert server.run("check").returncode == 0


def test_links_survive_a_rotation_of_the_secret_key(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.init()
    (token, *_) = make_links(tmp_path)
    (tmp_path / "secret.key").unlink()
    server.environment["WAYPOST_SECRET_KEY"] = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="
    server.start()
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        connection.request("GET", f"/c/{token}")
        with connection.getresponse() as answer:
            assert answer.headers["location"] == f"{URL}0"
    assert server.stop() == 0
