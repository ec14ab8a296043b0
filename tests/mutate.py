"""`python -m tests.mutate`: change the program in small ways, and list the changes that no test notices.

Each mutant is one change of one module: a comparison turned, a condition negated, a number changed, a statement such
as a wake-up deleted. It is made in a copy of the tree, never in the tree itself. Only tests that reach the changed line
run.

A mutant is `killed` when one of these tests fails, and passes again without the change. It has `survived` when all of
them pass, or when there is none. Everything else is no verdict: a run that did not end in time, a test that fails
without the change as well, a module that cannot be imported any more.
"""

import argparse
import ast
import hashlib
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import coverage

#: What is mutated: packages or modules below src/waypost.
TARGETS = ["domain/messaging", "engine/runtime", "engine/messaging", "engine/webhooks"]
#: The tests that may detect a mutant.
TESTS = ["tests/domain", "tests/engine", "tests/storage", "tests/nodes", "tests/api"]
#: The least share of mutants that the tests must kill.
BAR = 0.8
#: The most seconds of tests that run for a mutant, the quickest first.
BUDGET_S = 45.0
#: Seconds after which a hanging test fails.
HANGS_S = 30

ROOT = Path(__file__).parents[1]
SOURCE = Path("src/waypost")
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", ".hypothesis", "data", ".coverage*")
DURATION = re.compile(r"^([\d.]+)s (?:call|setup|teardown) +(tests/\S.*)$", re.MULTILINE)
FAILED = re.compile(r"^(?:FAILED|ERROR) (tests/\S+?\.py::.+?)(?: - .*)?$", re.MULTILINE)

TURNED: dict[type[ast.cmpop], str] = {
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.In: "not in",
    ast.NotIn: "in",
    ast.Is: "is not",
    ast.IsNot: "is",
}


@dataclass(frozen=True, order=True)
class Mutant:
    """One change: the text between two places of a module is replaced."""

    module: str
    line: int
    column: int
    kind: str
    end: tuple[int, int] = field(compare=False)
    text: str = field(compare=False)

    @property
    def name(self) -> str:
        """Return the name of a mutant for the command line."""
        return f"{self.module}:{self.line}:{self.column}:{self.kind}"

    def apply(self, source: bytes) -> bytes:
        """Return the module with the change."""
        lines = source.splitlines(keepends=True)
        start = sum(map(len, lines[: self.line - 1])) + self.column
        end = sum(map(len, lines[: self.end[0] - 1])) + self.end[1]
        return source[:start] + self.text.encode() + source[end:]


def mutants(module: str, source: str) -> Iterator[Mutant]:
    """Return every change that can be made in a module."""
    tree = ast.parse(source)
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in _code_of(function):
                for place, kind, text in _changes(node):
                    end = place.end_lineno or 0, place.end_col_offset or 0
                    yield Mutant(module, place.lineno, place.col_offset, kind, end, text)


def _code_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.AST]:
    """Yield the nodes of a body, without annotations and nested functions."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.JoinedStr):
            continue
        yield node
        annotation = node.annotation if isinstance(node, ast.AnnAssign) else None
        waiting += [child for child in ast.iter_child_nodes(node) if child is not annotation]


def _changes(node: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, str, str]]:
    """Yield the changes of a node: what is replaced, the kind of the change, the new text."""
    match node:
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            yield node, "turn", f"({ast.unparse(left)} {TURNED[type(op)]} {ast.unparse(right)})"
        case ast.BoolOp(op=op, values=values):
            word = " or " if isinstance(op, ast.And) else " and "
            yield node, "turn", f"({word.join(f'({ast.unparse(value)})' for value in values)})"
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield node, "turn", f"({ast.unparse(operand)})"
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            if isinstance(test, ast.Name | ast.Attribute | ast.Call | ast.Await):
                yield test, "turn", f"(not {ast.unparse(test)})"
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as sign, right=right):
            other = "-" if isinstance(sign, ast.Add) else "+"
            yield node, "number", f"(({ast.unparse(left)}) {other} ({ast.unparse(right)}))"
        case ast.Constant(value=bool() as value):
            yield node, "number", str(not value)
        case ast.Constant(value=int() | float() as value):
            yield node, "number", f"{value + 1}"
        case ast.Expr(value=ast.Call() | ast.Await() as value) if not ast.unparse(value).startswith("log."):
            yield node, "delete", "pass"
        case ast.AugAssign() | ast.Delete() | ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield node, "delete", "pass"
        case _:
            pass


def sample(found: list[Mutant], count: int, seed: int) -> list[Mutant]:
    """Return this many mutants of a module, of all kinds in turn; the same ones every time."""
    kinds: dict[str, list[Mutant]] = defaultdict(list)
    for mutant in sorted(found, key=lambda m: hashlib.sha256(f"{seed} {m.name}".encode()).digest()):
        kinds[mutant.kind].append(mutant)
    rows = zip_longest(*(kinds[kind] for kind in sorted(kinds)))
    return sorted([mutant for row in rows for mutant in row if mutant is not None][:count])


@dataclass(frozen=True)
class Recipients:
    """The result of the tests without a change: which ones reach a line, and how long each takes."""

    tests: dict[str, dict[int, set[str]]]
    seconds: dict[str, float]

    def choose(self, mutant: Mutant, budget: float) -> tuple[list[str], int]:
        """Return the tests to run for a mutant, and how many reach its line."""
        lines = self.tests.get(mutant.module, {})
        reaching = set().union(*(lines.get(line, set()) for line in range(mutant.line, mutant.end[0] + 1)))
        chosen: list[str] = []
        left = budget
        for test in sorted(reaching, key=lambda test: (self.seconds.get(test, 0.0), test)):
            left -= self.seconds.get(test, 0.0)
            if left < 0 and chosen:
                break
            chosen.append(test)
        return chosen, len(reaching)


class Tree:
    """A copy of the tree, in which one mutant at a time is run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "tree"
        shutil.copytree(ROOT, self.folder, ignore=LEFT_OUT)

    def path(self, module: str) -> Path:
        """Return the file of a module."""
        return self.folder / SOURCE / module

    def run(self, *arguments: str, within: float) -> tuple[int | None, str]:
        """Run pytest; return its exit code, or None when it did not end in time, and what it printed."""
        command = [sys.executable, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--timeout={HANGS_S}"]
        environment = {**os.environ, "PYTHONPATH": str(self.folder / "src"), "CI": "true"}
        process = subprocess.Popen(
            [*command, *arguments],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            printed, _ = process.communicate(timeout=within)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            printed, _ = process.communicate()
            return None, printed
        return process.returncode, printed

    def reach(self, tests: list[str], modules: list[str]) -> Recipients:
        """Run the tests without a change, and record which lines each of them reaches."""
        options = ["-n", "2", "--dist", "worksteal", "-rfE", "--cov=waypost", "--cov-context=test", "--cov-report="]
        code, printed = self.run(*tests, *options, "--durations=0", "--durations-min=0.001", within=3600)
        if code not in (0, 1):
            raise SystemExit(f"the tests cannot run without a change:\n{printed[-3000:]}")
        failed = set(FAILED.findall(printed))
        for test in sorted(failed):
            print(f"fails without a change, left out: {test}")
        seconds: dict[str, float] = defaultdict(float)
        for time, test in DURATION.findall(printed):
            seconds[test] += float(time)
        data = coverage.CoverageData(str(self.folder / ".coverage"))
        data.read()
        files = {Path(file).resolve(): file for file in data.measured_files()}
        reached: dict[str, dict[int, set[str]]] = {}
        for module in modules:
            file = files.get(self.path(module).resolve())
            contexts = data.contexts_by_lineno(file) if file else {}
            reached[module] = {
                line: {name.rpartition("|")[0] for name in names if name} - failed for line, names in contexts.items()
            }
        return Recipients(reached, seconds)

    def test(self, mutant: Mutant, reach: Recipients, budget: float) -> str:
        """Return the result of a mutant in one line, which starts with the verdict."""
        tests, reaching = reach.choose(mutant, budget)
        if not tests:
            return "survived: no test reaches it"
        arguments = self.folder / "arguments"
        arguments.write_text("\n".join(["-x", "-rfE", *tests]), "utf-8")
        within = 60 + 5 * sum(reach.seconds.get(test, 0.0) for test in tests)
        path = self.path(mutant.module)
        source = path.read_bytes()
        path.write_bytes(mutant.apply(source))
        try:
            code, printed = self.run(f"@{arguments}", within=within)
        finally:
            path.write_bytes(source)
        if code == 0:
            return f"survived: {len(tests)} tests pass, {reaching} reach it"
        failed = FAILED.findall(printed)
        if code != 1 or not failed:
            return "no verdict: " + ("not ended in time" if code is None else printed.strip().rpartition("\n")[2][:200])
        # A failure counts only if the change is its cause.
        if self.run(failed[0], within=within)[0] != 0:
            return f"no verdict: without the change, {failed[0]} fails as well"
        return f"killed: {failed[0]}"


def modules_of(targets: list[str]) -> list[str]:
    """Return the modules of packages and modules, below src/waypost."""
    found = []
    for target in targets:
        path = ROOT / SOURCE / target
        if not path.exists():
            raise SystemExit(f"{SOURCE / target} does not exist; TARGETS in tests/mutate.py lists what is mutated")
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return [str(path.relative_to(ROOT / SOURCE)) for path in found]


def choose(options: argparse.Namespace) -> list[Mutant]:
    """Return the mutants that the command line asks for."""
    chosen: list[Mutant] = []
    for target in options.what or TARGETS:
        place, single, _ = target.partition(":")
        for module in modules_of([place]):
            found = list(mutants(module, (ROOT / SOURCE / module).read_text("utf-8")))
            if single:
                found = [mutant for mutant in found if mutant.name == target]
                if not found:
                    raise SystemExit(f"there is no mutant {target}; `--list` prints the names")
            chosen += found if single else sample(found, options.count, options.seed)
    return chosen


def report(verdicts: dict[Mutant, str]) -> float:
    """Print the score of every module and the survivors; return the share of mutants that were killed."""
    score: dict[str, Counter[str]] = defaultdict(Counter)
    for mutant, verdict in verdicts.items():
        score[mutant.module][verdict.partition(":")[0]] += 1
    total: Counter[str] = sum(score.values(), Counter())
    for module, counts in [*sorted(score.items()), ("all", total)]:
        decided = counts["killed"] + counts["survived"]
        share = f"{counts['killed'] / decided:4.0%}" if decided else "   -"
        print(f"{share} killed  {counts['killed']:3} of {decided:3}, no verdict {counts['no verdict']:2}  {module}")
    for mutant, verdict in sorted(verdicts.items()):
        if not verdict.startswith("killed"):
            before = (ROOT / SOURCE / mutant.module).read_text("utf-8").splitlines()[mutant.line - 1].strip()
            print(f"\n{mutant.name}\n  {before}\n  → {mutant.text}\n  {verdict}")
    decided = total["killed"] + total["survived"]
    return total["killed"] / decided if decided else 0.0


def main(arguments: list[str] | None = None) -> int:
    """Run the mutants; return 0 if enough of them were killed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutate", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", nargs="*", help="packages, modules, or single mutants by name (default: TARGETS)")
    parser.add_argument("--count", type=int, default=12, help="mutants of each module (default 12)")
    parser.add_argument("--seed", type=int, default=1, help="choose others (default 1)")
    parser.add_argument("--workers", type=int, default=2, help="mutants tried at the same time (default 2)")
    parser.add_argument("--budget", type=float, default=BUDGET_S, help="seconds of tests for each mutant")
    parser.add_argument("--tests", nargs="+", default=TESTS, help="the tests that may notice")
    parser.add_argument("--list", action="store_true", help="print the mutants and try none")
    options = parser.parse_args(arguments)
    chosen = choose(options)
    if options.list:
        for mutant in chosen:
            print(f"{mutant.name}  {mutant.text}")
        return 0
    with tempfile.TemporaryDirectory(prefix="waypost-mutate-") as folder:
        trees: queue.SimpleQueue[Tree] = queue.SimpleQueue()
        first = Tree(Path(folder) / "0")
        reach = first.reach(options.tests, sorted({mutant.module for mutant in chosen}))
        for tree in [first, *(Tree(Path(folder) / str(number)) for number in range(1, options.workers))]:
            trees.put(tree)

        def attempt(mutant: Mutant) -> str:
            tree = trees.get()
            try:
                verdict = tree.test(mutant, reach, options.budget)
            finally:
                trees.put(tree)
            print(f"{mutant.name}  {verdict}", flush=True)
            return verdict

        with ThreadPoolExecutor(options.workers) as pool:
            verdicts = dict(zip(chosen, pool.map(attempt, chosen), strict=True))
    return 0 if report(verdicts) >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
