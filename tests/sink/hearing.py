"""Shared by the tests of simulated providers: plain calls to a sink, and a receiver for its callbacks."""

import contextlib
import http.client
import http.server
import json
import queue
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from waypost.sink.scenarios import SPECIAL
from waypost.sink.thread_runner import Running

PATIENCE_S = 10


class Heard(msgspec.Struct, frozen=True):
    """One received callback."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class Ear:
    """A receiver for callbacks; `statuses` has its first responses."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self._heard: queue.Queue[Heard] = queue.Queue()
        ear = self

        class Answering(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            # http.server requires this name.
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                # Before the response, after which the next callback may arrive on another thread.
                ear._heard.put(Heard(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                status = ear.statuses.pop(0) if ear.statuses else 200
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self.server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def wait(self) -> Heard:
        """Return the next callback."""
        return self._heard.get(timeout=PATIENCE_S)

    def several(self, number: int) -> list[Heard]:
        """Return this many callbacks in the order of their arrival."""
        return [self.wait() for _ in range(number)]

    def is_quiet(self) -> bool:
        """Return whether no unexpected callback has arrived."""
        return self._heard.empty()


@contextlib.contextmanager
def listening() -> Iterator[Ear]:
    """Run a receiver on a free port."""
    ear = Ear()
    thread = threading.Thread(target=ear.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield ear
    finally:
        ear.server.shutdown()
        thread.join()
        ear.server.server_close()


def ask(
    sink: Running, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, Mapping[str, str], bytes]:
    """Return status, headers by lower-case name, and body of the response to one request."""
    connection = http.client.HTTPConnection("127.0.0.1", sink.port, timeout=PATIENCE_S)
    with contextlib.closing(connection):
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def tell(sink: Running, method: str, path: str, given: Any = None) -> Any:
    """Send a request to the sink's own routes; return the JSON of the response."""
    status, _, told = ask(sink, method, path, None if given is None else json.dumps(given).encode())
    assert status == 200, told
    return json.loads(told)


def sent(sink: Running, provider: str) -> list[dict[str, Any]]:
    """Return the messages that a provider accepted."""
    page: list[dict[str, Any]] = tell(sink, "GET", f"/sent?provider={provider}&limit=1000")["data"]
    return page


def number(word: str) -> str:
    """Return the phone number with this fixed scenario."""
    return f"+120255500{next(digits for digits, scenario in SPECIAL.items() if scenario == word)}"
