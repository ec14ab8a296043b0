"""Real processes for the acceptance tests: a server that can be killed and restarted, and a plain HTTP client."""

import base64
import functools
import http.client
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, Self

from tests.waiting import eventually_blocking as eventually

__all__ = [
    "WAYPOST",
    "Callers",
    "Client",
    "Load",
    "Server",
    "all_received",
    "delivered_ids",
    "eventually",
    "free_port",
    "serving",
]

WAYPOST = str(Path(sys.executable).with_name("waypost"))
PATIENCE = 60.0


#: Below the ports that the system gives to connections going out, and in another place for every process: workers that
#: run in parallel do not take each other's ports between asking and listening.
_PORTS = itertools.count(10_000 + os.getpid() % 200 * 100)


def free_port() -> int:
    """Return a free port that this process has not returned before."""
    for port in _PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


class Client:
    """A keep-alive connection to a server that may be down; None stands for no response."""

    def __init__(self, port: int, authorization: str = "") -> None:
        self.port = port
        self.authorization = authorization
        self._connection: http.client.HTTPConnection | None = None

    def send(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, dict[str, str]] | None:
        """Return status, decoded body and headers of the response."""
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {
            "content-type": "application/json",
            **({"authorization": self.authorization} if self.authorization else {}),
        }
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            self._connection.request(method, path, content, sent | (headers or {}))
            answer = self._connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException):
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            return None
        kind = answer.headers.get("content-type", "")
        decoded = json.loads(text) if text and "json" in kind else text
        return answer.status, decoded, {name.lower(): value for name, value in answer.getheaders()}

    def __del__(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def get(self, path: str) -> Any:
        """Return the body of a GET that must succeed."""
        found = self.send("GET", path)
        assert found is not None, f"no answer to GET {path}"
        assert found[0] == 200, found
        return found[1]

    def pages(self, path: str) -> list[dict[str, Any]]:
        """Return all items of a list, page by page."""
        found: list[dict[str, Any]] = []
        after = ""
        while True:
            page = self.get(f"{path}{'&' if '?' in path else '?'}limit=1000{after}")
            found += page["data"]
            if page["next"] is None:
                return found
            after = f"&after={page['next']}"

    def post(self, path: str, body: Any = None, *, status: int = 200) -> Any:
        """Return the body of a POST that must have this status."""
        found = self.send("POST", path, body)
        assert found is not None, f"no answer to POST {path}"
        assert found[0] == status, found
        return found[1]


class Server:
    """A `waypost serve` process over one data directory."""

    #: The processes that this test process started.
    started: ClassVar[list[subprocess.Popen[bytes]]] = []

    def __init__(self, data: Path, environment: dict[str, str] | None = None, *, command: str = "serve") -> None:
        self.data = data
        self.port = free_port()
        self.command = command
        self.environment = {"WAYPOST_ALLOW_PRIVATE": "127.0.0.0/8", **(environment or {})}
        self.process: subprocess.Popen[bytes] | None = None
        self.keys: dict[str, str] = {}
        self.log = data / f"{command}.log"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another command on the same data directory."""
        return self.run_alone(*arguments, "--data", str(self.data))

    def run_alone(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command that needs no data directory."""
        return subprocess.run(
            [WAYPOST, *arguments],
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def init(self) -> None:
        """Create the first workspace."""
        done = self.run("init", "--json")
        assert done.returncode == 0, done.stderr
        self.keys = json.loads(done.stdout)

    def start(self, before: Callable[[], None] | None = None) -> None:
        """Start the process and wait until it is ready."""
        arguments = [WAYPOST, self.command, "--data", str(self.data)]
        if self.command == "serve":
            arguments += ["--port", str(self.port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                arguments, env=self._environment(), stdout=log, stderr=log, preexec_fn=before
            )
        self.started.append(self.process)
        if self.command == "serve":
            eventually(self._ready, what=f"ready; log: {self.log.read_text()[-2000:]}")

    def kill(self) -> None:
        """Kill the process."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def stop(self) -> int:
        """Stop the process with a signal; return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    @property
    def running(self) -> bool:
        """Return whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def children(self) -> list[int]:
        """Return the processes that the process has started and that have not ended."""
        assert self.process is not None
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                    if int(parent) == self.process.pid and state != "Z":
                        found.append(int(entry.name))
        return found

    def api(self) -> Client:
        """Return a client with the API key."""
        return Client(self.port, f"Bearer {self.keys['api_key']}")

    def tracker(self) -> Client:
        """Return a client that sends events as a Segment SDK does."""
        basic = base64.b64encode(f"{self.keys['write_key']}:".encode()).decode()
        return Client(self.port, f"Basic {basic}")

    def balanced(self) -> dict[str, int]:
        """Return the ledger, which must balance."""
        ledger: dict[str, int] = self.api().get("/v1/ledger")
        assert ledger["accepted"] == ledger["delivered"] + ledger["pending"] + ledger["dead"], ledger
        return ledger

    def settled(self, within: float = PATIENCE) -> dict[str, int]:
        """Return the ledger once nothing is pending."""

        def check() -> dict[str, int] | None:
            ledger = self.balanced()
            return ledger if ledger["pending"] == 0 else None

        found: dict[str, int] = eventually(check, within=within, what="nothing pending")
        return found

    def _ready(self) -> bool:
        assert self.running, f"{self.command} ended: {self.log.read_text()[-3000:]}"
        answer = Client(self.port).send("GET", "/readyz")
        return answer is not None and answer[0] == 200

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("WAYPOST_")}
        return {**kept, "PYTHONUNBUFFERED": "1", **self.environment}


@contextmanager
def serving(data: Path, environment: dict[str, str] | None = None) -> Iterator[Server]:
    """A server with a workspace; stopped at the end if it still runs."""
    server = Server(data, environment)
    server.init()
    server.start()
    try:
        yield server
    finally:
        if server.running:
            server.stop()


class Callers:
    """Threads that send requests while the server is killed and started again; `wait_for` counts the accepted ones."""

    accepted: Collection[str]

    def __init__(self, call: Callable[[int], None], numbers: Iterable[int]) -> None:
        #: Tells `call` to return.
        self.stopping = threading.Event()
        self._threads = [threading.Thread(target=call, args=(number,), daemon=True) for number in numbers]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for thread in self._threads:
            thread.join(60)

    def wait_for(self, more: int) -> None:
        """Return when this many more were accepted."""
        goal = len(self.accepted) + more
        eventually(lambda: len(self.accepted) >= goal, what=f"{goal} accepted, {len(self.accepted)} were")


class Load(Callers):
    """Clients that send events as fast as they get responses, and record which were accepted."""

    def __init__(self, server: Server, *, clients: int = 8, metric: str = "Order Shipped") -> None:
        super().__init__(self._post, range(clients))
        self.server = server
        self.metric = metric
        self.accepted: set[str] = set()
        self.refused = 0

    def _post(self, number: int) -> None:
        client = self.server.tracker()
        for count in itertools.count(1):
            if self.stopping.is_set():
                return
            message_id = f"load-{id(self)}-{number}-{count}"
            body = {
                "userId": f"user-{count % 50}",
                "event": self.metric,
                "messageId": message_id,
                "properties": {"number": count},
            }
            # As an SDK does: send the same event again until it is accepted.
            eventually(functools.partial(self._accept, client, message_id, body), what="accepted")

    def _accept(self, client: Client, message_id: str, body: dict[str, Any]) -> bool:
        """Send an event; return whether it needs no retry."""
        answer = client.send("POST", "/v1/track", body)
        if answer is not None and answer[0] == 200:
            self.accepted.add(message_id)
            return True
        self.refused += 1
        return self.stopping.is_set()


def delivered_ids(received: list[dict[str, Any]]) -> list[str]:
    """Return the message ids that a sink received, repeats included."""
    return [json.loads(request["body"])["data"]["message_id"] for request in received]


def all_received(sink: str, name: str) -> list[dict[str, Any]]:
    """Return everything that a sink received under a name."""
    return Client(int(sink.rpartition(":")[2])).pages(f"/received?name={name}")
