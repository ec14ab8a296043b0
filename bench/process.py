"""Programs under measurement: started on one core, asked for readiness, charged for their CPU time, stopped."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")
LOG_TAIL = 2000  # characters of a program's log shown when it fails


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """A running program, its port and its log."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def start(
    arguments: Sequence[str],
    *,
    port: int,
    log: Path,
    core: int | None,
    environment: Mapping[str, str] | None = None,
    patience: float = 30.0,
    ready: str = "/readyz",
) -> Program:
    """The program once it answers 200 to whether it is `ready`; it and all its threads and children stay on this core.

    Raises `RuntimeError` with the end of its log when it ends early or is not ready within `patience` seconds.
    """
    with log.open("wb") as out:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
        )
    program = Program(process=process, port=port, log=log)
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError, HTTPException):
            if ask(port, "GET", ready)[0] == 200:
                return program
        time.sleep(0.02)
    stop(program, patience=2.0)
    raise RuntimeError(f"{arguments[0]} did not become ready: {tail(log)}")


def stop(program: Program, patience: float = 30.0) -> int:
    """End the program by SIGTERM, by SIGKILL when it does not listen; give back its exit code."""
    if program.process.poll() is None:
        program.process.send_signal(signal.SIGTERM)
    try:
        return program.process.wait(patience)
    except subprocess.TimeoutExpired:
        for number in family(program.process.pid):
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        return program.process.wait(5.0)


def tail(log: Path) -> str:
    """The end of a log."""
    return log.read_text("utf-8", "replace")[-LOG_TAIL:]


def ask(
    port: int, method: str, path: str, body: object = None, *, bearer: str | None = None, timeout: float = 60.0
) -> tuple[int, Any]:
    """Status and JSON content of one control request on a connection of its own; a body in bytes is a CSV file."""
    connection = HTTPConnection("127.0.0.1", port, timeout=timeout)
    headers = {"Content-Type": "text/csv" if isinstance(body, bytes) else "application/json"}
    sent = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    if bearer is not None:
        headers["Authorization"] = f"Bearer {bearer}"
    try:
        connection.request(method, path, sent, headers)
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    try:
        return response.status, json.loads(content)
    except ValueError:
        return response.status, content


def family(root: int) -> list[int]:
    """The process and everything descended from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, queue = [], [root]
    while queue:
        number = queue.pop()
        found.append(number)
        queue += children.get(number, [])
    return found


def cpu_seconds(root: int) -> float:
    """CPU time of the process tree so far, user and system, children that have ended included."""
    total = 0
    for number in family(root):
        with suppress(OSError):
            fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
            total += sum(int(value) for value in fields[11:15])  # utime, stime, cutime, cstime
    return total / TICKS


def peak_bytes(root: int) -> int:
    """The most memory (VmHWM) the processes of the tree have held, summed."""
    total = 0
    for number in family(root):
        with suppress(OSError):
            for line in Path(f"/proc/{number}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    total += int(line.split()[1]) * 1024
    return total


def disk_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
