"""Mutation testing: which changes are made, and that a mutant differs from the module only by its change."""

import ast

import pytest

from tests.mutate import ROOT, SOURCE, TARGETS, Mutant, Recipients, modules_of, mutants, sample


def changes(body):
    """Return every changed form of a function's body."""
    source = f"def f(self):\n    {body}\n"
    return {
        mutant.apply(source.encode()).decode().removeprefix("def f(self):\n    ").rstrip()
        for mutant in mutants("m.py", source)
    }


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        ("return a < b", {"return (a <= b)"}),
        ("return a is None", {"return (a is not None)"}),
        ("return a and b", {"return ((a) or (b))"}),
        ("return not a", {"return (a)"}),
        ("x = 1 if a else 'ü'", {"x = 1 if (not a) else 'ü'", "x = 2 if a else 'ü'"}),
        ("return a + n", {"return ((a) - (n))"}),
        ("return True", {"return False"}),
        ("self.wake()", {"pass"}),
        ("await self.wake.wait()", {"pass"}),
        ("self.count += a", {"pass"}),
        ("self.due = a", {"pass"}),
        ("del self.held[a]", {"pass"}),
        ("log.info('said', action='said')", set()),
        ("x: int = a", set()),
        ("'''A docstring.'''", set()),
    ],
)
def test_changes(body, changed):
    assert changes(body) == changed


def test_every_module_can_be_changed_and_still_read():
    for module in modules_of(TARGETS):
        source = (ROOT / SOURCE / module).read_bytes()
        for mutant in sample(list(mutants(module, source.decode())), 10, 1):
            changed = mutant.apply(source)
            assert changed != source
            ast.parse(changed)


def test_the_same_mutants_every_time_and_others_by_another_seed():
    module = max(modules_of(TARGETS), key=lambda module: (ROOT / SOURCE / module).stat().st_size)
    found = list(mutants(module, (ROOT / SOURCE / module).read_text("utf-8")))
    assert sample(found, 8, 1) == sample(found[::-1], 8, 1)
    assert sample(found, 8, 1) != sample(found, 8, 2)
    assert len(sample(found, 8, 1)) == 8


def test_the_tests_of_a_mutant_reach_its_lines_and_fit_the_budget():
    mutant = Mutant("m.py", 3, 0, "delete", (4, 1), "pass")
    reach = Recipients({"m.py": {3: {"a", "b"}, 4: {"c"}, 5: {"d"}}}, {"a": 3.0, "b": 1.0, "c": 1.0})
    assert reach.choose(mutant, 10) == (["b", "c", "a"], 3)
    assert reach.choose(mutant, 2) == (["b", "c"], 3)
    assert reach.choose(mutant, 0) == (["b"], 3)
    assert reach.choose(Mutant("n.py", 3, 0, "delete", (4, 1), "pass"), 10) == ([], 0)
