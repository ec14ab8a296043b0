"""No test sleeps: it waits for a condition, with a deadline, by the functions of tests/waiting.py."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
#: The module that polls for all others, and this one, which names what is forbidden.
EXEMPT = {TESTS / "waiting.py", Path(__file__)}
TEST_FILES = [path for path in sorted(TESTS.rglob("*.py")) if path not in EXEMPT]

SLEEP_WORD = re.compile(r"sleep$|sleep \d|.*\bpg_sleep\b")


def sleeps(tree: ast.AST) -> list[str]:
    """Everything in a test that passes time without waiting for a condition.

    A mention of `sleep` is one, called or not; only `asyncio.sleep(0)`, a turn of the loop, is none. So is a wait with
    a time limit whose result nobody looks at: only a process's own `wait` raises when the time is over.
    """
    found: list[str] = []
    turns: set[ast.AST] = set()
    for node in ast.walk(tree):
        text = ast.unparse(node) if isinstance(node, ast.expr) else ""
        if text == "asyncio.sleep(0)":
            turns.update(ast.walk(node))
        elif isinstance(node, ast.ImportFrom):
            found += [f"from {node.module} import {alias.name}" for alias in node.names if alias.name == "sleep"]
        elif _names_sleep(node) and node not in turns:
            found.append(text)
        elif isinstance(node, ast.Expr) and _timed_wait(node.value):
            found.append(ast.unparse(node))
    return found


def _names_sleep(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr == "sleep" or ast.unparse(node) == "signal.pause"
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(SLEEP_WORD.match(node.value))


def _timed_wait(node: ast.expr) -> bool:
    """Return whether this statement waits for a limited time without checking whether the time is over."""
    node = node.value if isinstance(node, ast.Await) else node
    if not isinstance(node, ast.Call):
        return False
    called = ast.unparse(node.func)
    limited = any(keyword.arg == "timeout" for keyword in node.keywords)
    if called in ("select.select", "asyncio.wait"):
        return limited or called == "select.select"
    return called.endswith(".wait") and not called.endswith("process.wait") and bool(limited or node.args)


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_tests_do_not_sleep(path):
    assert not sleeps(ast.parse(path.read_text("utf-8"))), (
        "wait for the condition itself with tests/waiting.py, or hold the clock"
    )


@pytest.mark.parametrize(
    "text",
    [
        "time.sleep(1)",
        "from time import sleep",
        "from asyncio import sleep as pause",
        "rest = time.sleep",
        "clock.sleep(0)",
        "await asyncio.sleep(0.01)",
        "await asyncio.sleep(n)",
        "await anyio.sleep(1)",
        "signal.pause()",
        "event.wait(0.5)",
        "event.wait(timeout=1)",
        "threading.Event().wait(1)",
        "await asyncio.wait([task], timeout=0.2)",
        "select.select([], [], [], 0.1)",
        "subprocess.run(['sleep', '1'])",
        "os.system('sleep 1')",
        "await connection.execute('select pg_sleep(1)')",
    ],
)
def test_every_form_of_sleep_is_found(text):
    assert sleeps(ast.parse(text))


@pytest.mark.parametrize(
    "text",
    [
        "await asyncio.sleep(0)",
        "assert event.wait(5)",
        "await event.wait()",
        "self.process.wait(30)",
        "await asyncio.wait_for(done.wait(), 5)",
        "await eventually(check)",
        "thread.join(60)",
    ],
)
def test_a_wait_for_a_condition_is_no_sleep(text):
    assert not sleeps(ast.parse(text))
