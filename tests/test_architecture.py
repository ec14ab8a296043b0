"""The structure of the code, enforced: imports point down, and none is hidden."""

import ast
import collections
import functools
import graphlib
import re
from pathlib import Path
from typing import TypeGuard

import pytest

ROOT = Path(__file__).parents[1] / "src" / "waypost"
LOW_TO_HIGH = ["errors", "clock", "settings", "domain", "storage", "engine", "api", "sink", "cli", "__main__"]
SINK_MAY_USE = {"errors", "clock", "domain", "sink"}
MAY_USE_SINK = {"sink", "cli"}
#: The packages of a layer, lowest first: each imports only those before it.
ROOMS = {
    "domain": "values events audience messaging templates tracking providers webhooks texts campaigns flows loyalty "
    "accounts insights",
    "engine": "runtime net accounts events audience templates providers tracking messaging webhooks texts campaigns "
    "flows loyalty insights workspaces",
}
#: The only modules outside of packages.
TOPS = {"domain": set(), "engine": {"process"}, "api": {"app", "problems", "paging", "openapi"}}
#: What a module imports only when it is used: it takes long to load, and many servers never need it.
LATE_IMPORTS = {"engine.providers.drivers.aws": "botocore.", "storage.open": "waypost.storage.postgres."}
MOST_MODULES = 25
#: Layers within which a class name occurs once.
CLASS_SPACES = [("domain", "storage", "engine"), ("api",), ("sink",)]
#: Words that docs/glossary.md replaced, by where they are refused; functions also with an underscore in front.
OLD_MODULES = {
    "domain": "addresses answers bodies catalogue codes happenings health paths policies standing streams wanted",
    "engine": (
        "catalogue clockwork exchange handles moves orders people reach relays resealing settling submission "
        "tokens trials vault wire"
    ),
    "api": "addresses",
    "sink": ("answers beside calling cloud fates heads hooks posts received taken texting wire world"),
}
OLD_CLASSES = {
    "domain": "Account Change Happening Heard Note Standing Wanted",
    "engine": (
        "Account Configuration Connections Counts Desk Effects Lost Moves Person Reach Recorded Relays "
        "Repeatable ShownRequest ShownResponse Settlement Submission Trial Tried Wanted Wire _Shelf"
    ),
    "api": "Enabling Offer Taken",
    "sink": "Taken",
}
OLD_FUNCTIONS = (
    "absent asked bury_dead careful changed_meanwhile clear_out heard known_by leave_behind look patiently "
    "prove recall reseal resolve_people rests_until seal settle_forgotten settle_stranded spare standing strand "
    "surprise take_in tend tidy told tried try_out unbuilt untokened"
)
#: The same for the names of variables, arguments and attributes.
OLD_NAMES = {
    "domain": "asked fate heard mended shelf standing told tried wanted wish world",
    "storage": "asked chore fate heard mended shelf standing told tried wanted wish world",
    "engine": (
        "asked chore chores desk effects fate fates heard mended relay relays shelf standing standings submission "
        "submissions told tried trial trials wanted wire wish world"
    ),
    "api": "account asked chore fate heard mended shelf standing told trial tried wanted wish world",
    "sink": "asked beside fate fates heard mended played shelf taken told wanted wish world",
    "cli": "asked chore fate fates heard mended shelf standing told tried wanted wish world",
}
BANNED_NAMES = {"utils", "helpers", "common", "misc", "manager", "base", "core", "constants", "types"}
BANNED_PARTS = re.compile("manager|helper|util", re.IGNORECASE)
LONGEST = 500

# A domain function gets everything it needs as arguments.
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

# The first words of a statement, so that a sentence or an HTTP method with the same first word does not match.
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


def is_class(node: ast.AST) -> TypeGuard[ast.ClassDef]:
    return isinstance(node, ast.ClassDef)


def imported(name: str, tree: ast.AST) -> list[str]:
    """Return the full names of everything that a module imports, also only for types."""
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
    """Return the modules of Waypost that a module imports."""
    names = [n.removeprefix("waypost.") for n in imported(name, parse(FILES[name])) if n.startswith("waypost.")]
    return {n if n in FILES else n.rpartition(".")[0] for n in names} & FILES.keys() - {name}


def names_in(tree: ast.AST) -> set[str]:
    """Return the names of variables, arguments and attributes, without underscores in front."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
    return {name.lstrip("_") for name in found}


def mentioned(name: str) -> list[str]:
    """Return every dotted name that a module imports or mentions."""
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


@pytest.mark.parametrize("name", [n for n in FILES if layer(n) in ROOMS and n.count(".") > 1])
def test_packages_import_only_packages_before_them(name):
    order = ROOMS[layer(name)].split()
    package = name.split(".")[1]
    assert package in order, f"{name} is in a package without a place in the order of {layer(name)}"
    for target in ours(name):
        if layer(target) != layer(name):
            continue
        # A module at the top of its layer is above every package.
        other = target.split(".")[1]
        allowed = other in order and order.index(other) <= order.index(package)
        assert allowed, f"{name} imports {target}"


@pytest.mark.parametrize("top", TOPS)
def test_features_add_no_module_at_the_top_of_a_layer(top):
    modules = {path.stem for path in (ROOT / top).glob("*.py")} - {"__init__"}
    assert modules == TOPS[top]


def test_folders_are_small():
    folders = collections.Counter(path.parent for path in FILES.values() if path.name != "__init__.py")
    assert not [str(folder) for folder, count in folders.items() if count > MOST_MODULES]


@pytest.mark.parametrize("space", CLASS_SPACES)
def test_a_class_name_occurs_once(space):
    names = [node.name for n in FILES if layer(n) in space for node in ast.walk(parse(FILES[n])) if is_class(node)]
    twice = {name for name, count in collections.Counter(names).items() if count > 1}
    assert not twice


@each_module
def test_replaced_words_do_not_come_back(name):
    modules = set(OLD_MODULES.get(layer(name), "").split())
    classes = set(OLD_CLASSES.get(layer(name), "").split())
    names = set(OLD_NAMES.get(layer(name), "").split())
    found = [name] if modules & set(name.split(".")[1:]) else []
    for node in ast.walk(parse(FILES[name])):
        if is_class(node):
            old = node.name in classes or node.name.endswith("Shown")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            old = node.name.lstrip("_") in OLD_FUNCTIONS.split() or node.name.endswith("_shown")
        else:
            continue
        found += [f"{name}.{node.name}"] if old else []
    found += [f"{name}: {used}" for used in sorted(names_in(parse(FILES[name])) & names)]
    assert not found


@each_module
def test_imports_stand_at_the_top(name):
    for function in ast.walk(parse(FILES[name])):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            late = LATE_IMPORTS.get(name, "-")
            found = [one for one in imported(name, function) if not one.startswith(late)]
            assert not found, f"{name}.{function.name} imports inside its body"
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
