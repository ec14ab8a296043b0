"""For the tests of the players: plain calls to a sink, and an ear that waits for what it sends."""

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
    """One callback, as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class Ear:
    """A receiver that waits for callbacks; its first answers may be told."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self._heard: queue.Queue[Heard] = queue.Queue()
        ear = self

        class Answering(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            # The name is what http.server calls.
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                # Before the answer, after which the next may come on another thread.
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
        """The next callback."""
        return self._heard.get(timeout=PATIENCE_S)

    def several(self, number: int) -> list[Heard]:
        """So many callbacks, in the order in which they came."""
        return [self.wait() for _ in range(number)]

    def is_quiet(self) -> bool:
        """Whether nothing has come that was not waited for."""
        return self._heard.empty()


@contextlib.contextmanager
def listening() -> Iterator[Ear]:
    """An ear on a free port."""
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
    """Status, headers by lower-case name, and body of the answer to one request."""
    connection = http.client.HTTPConnection("127.0.0.1", sink.port, timeout=PATIENCE_S)
    with contextlib.closing(connection):
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def tell(sink: Running, method: str, path: str, given: Any = None) -> Any:
    """What the sink says to a request about itself."""
    status, _, told = ask(sink, method, path, None if given is None else json.dumps(given).encode())
    assert status == 200, told
    return json.loads(told)


def sent(sink: Running, provider: str) -> list[dict[str, Any]]:
    """What a provider took."""
    page: list[dict[str, Any]] = tell(sink, "GET", f"/sent?provider={provider}&limit=1000")["data"]
    return page


def number(word: str) -> str:
    """The phone number whose fate has this name."""
    return f"+120255500{next(digits for digits, scenario in SPECIAL.items() if scenario == word)}"
