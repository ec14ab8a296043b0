"""The map of the code, enforced: imports point down, and nothing is hidden."""

import ast
import functools
import graphlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "waypost"
LOW_TO_HIGH = ["errors", "clock", "settings", "domain", "storage", "engine", "api", "sink", "cli", "__main__"]
SINK_MAY_USE = {"errors", "clock", "domain", "sink"}
MAY_USE_SINK = {"sink", "cli"}
BANNED_NAMES = {"utils", "helpers", "common", "misc", "manager", "base", "core", "constants", "types"}
BANNED_PARTS = re.compile("manager|helper|util", re.IGNORECASE)
LONGEST = 500

# A domain function is given what it needs to know; it never goes and looks.
IMPURE = {
    "apsw",
    "asyncio",
    "asyncpg",
    "os",
    "pathlib",
    "pycurl",
    "random",
    "secrets",
    "socket",
    "sqlite3",
    "subprocess",
    "threading",
    "time",
    "uuid",
}

WALL_CLOCK = re.compile(r"(^|\.)(time\.time(_ns)?|datetime\.(now|utcnow|today)|date\.today)$")
STOPWATCH = re.compile(r"(^|\.)time\.(monotonic|perf_counter)(_ns)?$")
MAY_MEASURE = {"clock", "engine", "sink", "cli"}

# Words a statement begins with, so that a sentence or an HTTP method that begins alike is left alone.
SQL = re.compile(
    r"""\s*( SELECT\s
           | select\s.+\sfrom\s
           | (?i: insert\s+(or\s+\w+\s+)?into\s
                | update\s+\w+\s+set\s
                | delete\s+from\s
                | with\s+(recursive\s+)?\w+\s*(\([^)]*\)\s*)?as\s
                | (create|alter|drop)\s+(table|index)\s
                | pragma\s ) )""",
    re.VERBOSE | re.DOTALL,
)
WITHOUT_SQL = {"api", "engine", "domain"}

FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
    if path != ROOT / "__init__.py"
}
each_module = pytest.mark.parametrize("name", FILES)


@functools.cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def layer(name: str) -> str:
    return name.split(".")[0]


def imported(name: str, tree: ast.AST) -> list[str]:
    """Full names of everything a module imports, imports made only for types included."""
    here = name.split(".") if FILES[name].name == "__init__.py" else name.split(".")[:-1]
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = ["waypost", *here][: len(here) + 2 - node.level] if node.level else []
            source = ".".join(start + ([node.module] if node.module else []))
            found += [f"{source}.{alias.name}" for alias in node.names]
    return found


def ours(name: str) -> set[str]:
    """The modules of Waypost that a module imports."""
    names = [n.removeprefix("waypost.") for n in imported(name, parse(FILES[name])) if n.startswith("waypost.")]
    return {n if n in FILES else n.rpartition(".")[0] for n in names} & FILES.keys() - {name}


def mentioned(name: str) -> list[str]:
    """Every dotted name a module imports or writes out."""
    tree = parse(FILES[name])
    return imported(name, tree) + [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)]


@each_module
def test_imports_point_down(name):
    assert layer(name) in LOW_TO_HIGH, f"{name} is on no layer"
    for target in ours(name):
        below = layer(target)
        assert LOW_TO_HIGH.index(below) <= LOW_TO_HIGH.index(layer(name)), f"{name} imports {target}"
        assert layer(name) != "sink" or below in SINK_MAY_USE, f"{name} imports {target}"
        assert below != "sink" or layer(name) in MAY_USE_SINK, f"{name} imports {target}"


def test_no_cycles_even_for_types():
    graphlib.TopologicalSorter({name: ours(name) for name in FILES}).prepare()


@each_module
def test_imports_stand_at_the_top(name):
    for function in ast.walk(parse(FILES[name])):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            assert not imported(name, function), f"{name}.{function.name} imports inside its body"
    assert not [n for n in mentioned(name) if n.endswith("import_module")], f"{name} hides an import"


@each_module
def test_modules_are_short_and_say_what_they_are_for(name):
    assert len(FILES[name].read_text("utf-8").splitlines()) <= LONGEST
    assert ast.get_docstring(parse(FILES[name])), f"{name} does not say what it is for"


@each_module
def test_names_say_something(name):
    assert not BANNED_NAMES & set(name.split("."))
    classes = [node.name for node in ast.walk(parse(FILES[name])) if isinstance(node, ast.ClassDef)]
    assert not [word for word in [*name.split("."), *classes] if BANNED_PARTS.search(word)]


@pytest.mark.parametrize("name", [n for n in FILES if layer(n) == "domain"])
def test_domain_is_pure(name):
    tree = parse(FILES[name])
    assert not {n.split(".")[0] for n in imported(name, tree)} & IMPURE
    assert not [n for n in mentioned(name) if n.endswith(("now_us", "waypost.clock"))], "pass `now` in instead"
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef | ast.Await)]
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == "open"]


@each_module
def test_only_the_clock_reads_the_time(name):
    if layer(name) != "clock":
        assert not [n for n in mentioned(name) if WALL_CLOCK.search(n)]
    if layer(name) not in MAY_MEASURE:
        assert not [n for n in mentioned(name) if STOPWATCH.search(n)]


@pytest.mark.parametrize("name", [n for n in FILES if layer(n) in WITHOUT_SQL])
def test_sql_stands_in_sql_files(name):
    texts = [node.value for node in ast.walk(parse(FILES[name])) if isinstance(node, ast.Constant)]
    assert not [text for text in texts if isinstance(text, str) and SQL.match(text)]
