"""What is shipped: one version everywhere, pinned libraries, and no traces of the development machine."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import waypost

ROOT = Path(__file__).parents[1]
PINNED = re.compile(r"^([a-z0-9-]+)==(\S+)((?:[^\n]*\\\n    --hash=sha256:[0-9a-f]{64})+)", re.MULTILINE)
LEFT_BEHIND = {
    "an index address": re.compile(
        r"--(?:find-links|(?:extra-)?index-url)\b|pypi\.org/simple|files\.pythonhosted\.org"
    ),
    "a registry address": re.compile(r"\"resolved\": *\"https?:|registry\.npmjs\.org"),
    "a folder of one machine": re.compile(r"(?<![\w.}~-])/(?:home|root|work|Users)/\w"),
}


def pins(file: str) -> dict[str, str]:
    """Return library names and versions of a lock file."""
    return {name: version for name, version, _ in PINNED.findall((ROOT / file).read_text("utf-8"))}


def wanted(file: str) -> set[str]:
    """Return library names of a requirements file."""
    lines = (ROOT / file).read_text("utf-8").splitlines()
    return {line.strip().lower() for line in lines if re.match(r"\w", line)}


def shipped() -> list[Path]:
    """Return every file that is, or would be, committed."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode:
        pytest.skip(f"not a git checkout: {listing.stderr.strip()}")
    return [path for name in listing.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_one_version_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert waypost.__version__ == project["version"]
    headings = re.findall(r"^## \[?([\w.]+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings
    released = headings[1:] if headings[0].lower() == "unreleased" else headings
    assert released[:1] in ([], [waypost.__version__])


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_locks_pin_everything_with_hashes(name):
    locked = pins(f"{name}.lock")
    lines = (ROOT / f"{name}.lock").read_text("utf-8").splitlines()
    assert len(locked) == sum(re.match(r"\S", line) is not None and line[0] != "#" for line in lines)
    assert wanted(f"{name}.in") <= locked.keys()


def needed(file: str) -> set[str]:
    """Return the libraries of a requirements file with everything that they need on this machine."""
    found: set[tuple[str, str]] = set()
    lines = (ROOT / file).read_text("utf-8").splitlines()
    waiting = [Requirement(line) for line in lines if re.match(r"\w", line)]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras}:
            if (name, extra) in found:
                continue
            found.add((name, extra))
            further = [Requirement(text) for text in requires(name) or ()]
            waiting += [r for r in further if r.marker is None or r.marker.evaluate({"extra": extra})]
    return {name for name, _ in found}


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_locks_are_complete(name):
    """The set-up resolves nothing (--no-deps): a library missing from the lock would not be installed."""
    assert needed(f"{name}.in") <= pins(f"{name}.lock").keys()


def test_the_set_up_installs_the_lock_and_resolves_nothing():
    lines = [line for line in (ROOT / "Makefile").read_text("utf-8").splitlines() if " install " in line]
    libraries = [line for line in lines if "-r requirements" in line]
    ourselves = [line for line in lines if "--editable" in line]
    assert len(libraries) == len(ourselves) == 2
    assert set(lines) == {*libraries, *ourselves}
    assert all("--require-hashes --no-deps" in line for line in libraries)
    assert all("--no-deps --no-build-isolation" in line for line in ourselves)


def test_every_library_that_is_imported_is_asked_for():
    """No library may be present only because another one requires it."""
    roots = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                roots |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                roots.add(node.module.split(".")[0])
    sources = packages_distributions()
    libraries = {root: sources.get(root, [root]) for root in roots - sys.stdlib_module_names - {"waypost"}}
    asked = wanted("requirements.in")
    assert not [root for root, names in libraries.items() if not {n.lower().replace("_", "-") for n in names} & asked]


def test_testing_uses_the_versions_that_run():
    assert pins("requirements.lock").items() <= pins("requirements-dev.lock").items()


@pytest.mark.parametrize("what", LEFT_BEHIND)
def test_nothing_of_this_machine_is_shipped(what):
    found = []
    for path in shipped():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        if match := LEFT_BEHIND[what].search(text):
            found.append(f"{path.relative_to(ROOT)}: {match[0]}")
    assert not found
