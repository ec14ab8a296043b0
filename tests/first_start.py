"""`python -m tests.first_start`: prove that the libraries of requirements.lock are enough to run Waypost.

`.ci/run` runs this before the libraries for testing are installed. It needs nothing but Waypost itself.
"""

import importlib
import os
import pkgutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import waypost
from tests.acceptance.programs import WAYPOST, eventually, free_port


def import_everything() -> int:
    """Import every module of Waypost; return their number."""
    names = [module.name for module in pkgutil.walk_packages(waypost.__path__, "waypost.")]
    for name in names:
        if not name.endswith(".__main__"):
            importlib.import_module(name)
    return len(names)


def start_demo(folder: Path) -> None:
    """Start the demo as `make run` does, wait for its welcome, and stop it."""
    command = [WAYPOST, "demo", "--data", str(folder / "demo"), "--port", str(free_port())]
    command += ["--sink-port", str(free_port())]
    output = folder / "output"
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with output.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment)

    def welcomed() -> bool:
        if process.poll() is not None:
            raise AssertionError(f"the demo ended with {process.returncode}:\n{output.read_text('utf-8')}")
        return "waypost demo" in output.read_text("utf-8")

    try:
        eventually(welcomed, what="the demo's welcome")
        process.send_signal(signal.SIGTERM)
        if code := process.wait(60):
            raise AssertionError(f"the demo ended with {code}:\n{output.read_text('utf-8')}")
    finally:
        process.kill()
        process.wait(30)


def main() -> None:
    """Import every module, then start the demo."""
    sys.stdout.write(f"{import_everything()} modules imported\n")
    with tempfile.TemporaryDirectory(prefix="waypost-first-start-") as folder:
        start_demo(Path(folder))
    sys.stdout.write("the demo starts\n")


if __name__ == "__main__":
    main()
