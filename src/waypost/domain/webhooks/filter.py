"""Filters of webhook endpoints: compile a condition on the payload into a function.

A filter is a JSON object. Its keys are dotted paths into the payload, its values the conditions on the values there:

    {"type": "event.order_shipped", "properties.total": {"$gte": 100}, "$not": {"data.properties.test": true}}
"""

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from waypost.errors import Invalid

Filter = Callable[[Mapping[str, Any]], bool]
Test = Callable[[Any], bool]
Place = tuple[str | int, ...]  # the keys and positions of a part of a filter

DEEPEST = 8  # filters, operator objects and literal lists and objects inside each other
MOST_NODES = 100  # filters, operator objects and values together
LONGEST_PATH = 256  # characters
LONGEST_STRING = 1024  # characters

ROOTS = frozenset({"type", "timestamp", "data"})  # members of the payload; every other path starts inside `data`
NUMBERS = frozenset({int, float})  # not bool, which JSON keeps apart
ORDERINGS = {"$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le}
ENDINGS = {"$startsWith": str.startswith, "$endsWith": str.endswith}
OPERATORS = ("$eq", "$ne", *ORDERINGS, "$in", "$nin", "$exists", *ENDINGS, "$contains")
JOINERS = ("$and", "$or", "$not")
MISSING = object()  # the value of a path that does not exist; no literal equals it


def compile_filter(spec: object) -> Filter:
    """Return a function that says whether a payload `{"type", "timestamp", "data"}` passes a filter.

    Raise Invalid (code `invalid_filter`, with `pointer`) if the filter is not valid. Values of different types never
    match and never raise; numbers are one type, booleans another. A missing value passes only `$exists: false`,
    `$ne`, `$nin` and what `$not` negates.
    """
    return _Compiler().filter(spec, ())


def _refuse(place: Place, problem: str) -> Invalid:
    # The text may contain lone surrogates, which a response cannot encode.
    pointer = "".join("/" + str(part)[:80].replace("~", "~0").replace("/", "~1") for part in place)
    shown = pointer.encode("utf-8", "replace").decode("utf-8")
    return Invalid(f"Filter{f' at {shown}' if shown else ''}: {problem}", code="invalid_filter", pointer=shown)


class _Compiler:
    """Compile one filter into functions. Limits its size, since a filter runs for every event."""

    __slots__ = ("nodes",)

    def __init__(self) -> None:
        self.nodes = 0

    def filter(self, spec: object, place: Place, depth: int = 1) -> Filter:
        if not isinstance(spec, dict):
            raise _refuse(place, 'a filter is an object such as {"properties.total": {"$gte": 100}}.')
        self.enter(place, depth)
        return _every([self.member(key, value, (*place, key), depth + 1) for key, value in spec.items()])

    def count(self, place: Place) -> None:
        self.nodes += 1
        if self.nodes > MOST_NODES:
            raise _refuse(place, f"more than {MOST_NODES} conditions and values; split it over several endpoints.")

    def enter(self, place: Place, depth: int) -> None:
        self.count(place)
        if depth > DEEPEST:
            raise _refuse(place, f"more than {DEEPEST} levels of nesting.")

    def member(self, key: str, value: object, place: Place, depth: int) -> Filter:
        if key == "$not":
            turned = self.filter(value, place, depth)
            return lambda body: not turned(body)
        if key in JOINERS:
            if not isinstance(value, list) or not value:
                raise _refuse(place, f"{key} needs a list of at least one filter.")
            choices = [self.filter(item, (*place, index), depth) for index, item in enumerate(value)]
            return _every(choices) if key == "$and" else _some(choices)
        if key.startswith("$"):
            raise _refuse(place, f"unknown operator; a path or one of {', '.join(JOINERS)} may stand here.")
        find = _finder(_split_path(key, place))
        tests = self.tests(value, place, depth)
        if len(tests) == 1:
            only = tests[0]
            return lambda body: only(find(body))
        hold = _every(tests)
        return lambda body: hold(find(body))

    def tests(self, value: object, place: Place, depth: int) -> list[Test]:
        if not isinstance(value, dict):
            return [_equals(self.literal(value, place, depth))]
        if not value:
            raise _refuse(place, f"an object here holds operators: {', '.join(OPERATORS)}.")
        self.enter(place, depth)
        return [self.operation(name, operand, (*place, name), depth + 1) for name, operand in value.items()]

    def operation(self, name: str, operand: object, place: Place, depth: int) -> Test:
        if name not in OPERATORS:
            raise _refuse(
                place, f"unknown operator, allowed are {', '.join(OPERATORS)}; to look deeper, write a dotted path."
            )
        expected = self.literal(operand, place, depth)
        if name == "$exists":
            return _exists(expected, place)
        if name in ORDERINGS:
            return _ordered(name, expected, place)
        if name in ENDINGS:
            return _has_affix(name, expected, place)
        if name in ("$in", "$nin"):
            among = _is_in(name, expected, place)
            return among if name == "$in" else lambda value: not among(value)
        if name == "$contains":
            return _contains(expected)
        equals = _equals(expected)
        return equals if name == "$eq" else lambda value: not equals(value)

    def literal(self, value: object, place: Place, depth: int) -> Any:
        if isinstance(value, list):
            self.enter(place, depth)
            return [self.literal(item, (*place, index), depth + 1) for index, item in enumerate(value)]
        if isinstance(value, dict):
            self.enter(place, depth)
            return {key: self.literal(item, (*place, key), depth + 1) for key, item in value.items()}
        self.count(place)
        if isinstance(value, str) and len(value) > LONGEST_STRING:
            raise _refuse(place, f"a text longer than {LONGEST_STRING} characters.")
        if value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
            return value
        raise _refuse(place, "a value is null, true, false, a number, a text, a list or an object.")


def _split_path(path: str, place: Place) -> list[str]:
    """Return the keys of a dotted path from the top of the payload. A backslash escapes a dot or a backslash."""
    if len(path) > LONGEST_PATH:
        raise _refuse(place, f"a path longer than {LONGEST_PATH} characters.")
    keys = [""]
    letters = iter(path)
    for letter in letters:
        if letter == ".":
            keys.append("")
            continue
        if letter == "\\":
            letter = next(letters, "")
            if letter not in (".", "\\"):
                raise _refuse(place, "a backslash in a path stands before a dot or another backslash.")
        keys[-1] += letter
    if "" in keys:
        raise _refuse(place, "a path is keys with single dots between them, such as properties.total.")
    return keys if keys[0] in ROOTS else ["data", *keys]


def _finder(keys: list[str]) -> Callable[[Any], Any]:
    """Return a function that returns the value at a path, or MISSING."""
    if any(_is_index(key) for key in keys):
        steps = [(key, int(key) if _is_index(key) else None) for key in keys]

        def find_with_index(body: Any) -> Any:
            value = body
            try:
                for key, index in steps:
                    value = value[key if index is None or type(value) is not list else index]
            except (KeyError, IndexError, TypeError):
                return MISSING
            return value

        return find_with_index

    def find(body: Any) -> Any:
        value = body
        try:
            for key in keys:
                value = value[key]
        except (KeyError, TypeError):  # only an object has a text as key
            return MISSING
        return value

    return find


def _is_index(key: str) -> bool:
    return key.isascii() and key.isdigit() and len(key) <= 9


def _every(tests: list[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]

    def every(value: Any) -> bool:
        for test in tests:  # noqa: SIM110 - a generator would cost more than the tests
            if not test(value):
                return False
        return True

    return every


def _some(tests: list[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]

    def some(value: Any) -> bool:
        for test in tests:  # noqa: SIM110 - a generator would cost more than the tests
            if test(value):
                return True
        return False

    return some


def _same(left: Any, right: Any) -> bool:
    """Return whether two values are equal in JSON, at every depth: 1 equals 1.0 and does not equal true."""
    if type(left) is list and type(right) is list:
        return len(left) == len(right) and all(map(_same, left, right))
    if type(left) is dict and type(right) is dict:
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    return bool(left == right) and (type(left) is bool) is (type(right) is bool)


def _equals(expected: Any) -> Test:
    if expected is None or isinstance(expected, bool):
        return lambda value: value is expected
    if isinstance(expected, str):
        return lambda value: bool(value == expected)
    if type(expected) in NUMBERS:
        return lambda value: bool(value == expected) and type(value) is not bool
    return lambda value: _same(value, expected)


def _exists(expected: Any, place: Place) -> Test:
    if expected is True:
        return lambda value: value is not MISSING
    if expected is False:
        return lambda value: value is MISSING
    raise _refuse(place, "$exists needs true or false.")


def _ordered(name: str, expected: Any, place: Place) -> Test:
    compare = ORDERINGS[name]
    if isinstance(expected, str):
        return lambda value: type(value) is str and compare(value, expected)
    if type(expected) in NUMBERS:
        return lambda value: type(value) in NUMBERS and compare(value, expected)
    raise _refuse(place, f"{name} needs a number or a text.")


def _has_affix(name: str, expected: Any, place: Place) -> Test:
    if not isinstance(expected, str):
        raise _refuse(place, f"{name} needs a text.")
    ends = ENDINGS[name]
    return lambda value: type(value) is str and ends(value, expected)


def _is_in(name: str, expected: Any, place: Place) -> Test:
    if not isinstance(expected, list):
        raise _refuse(place, f"{name} needs a list of values.")
    if all(isinstance(choice, str) for choice in expected):
        texts = frozenset(expected)
        return lambda value: type(value) is str and value in texts
    return lambda value: any(_same(value, choice) for choice in expected)


def _contains(expected: Any) -> Test:
    """Return a test whether a list has an element, or a text a part."""
    part = expected if isinstance(expected, str) else None

    def contains(value: Any) -> bool:
        if type(value) is list:
            return any(_same(item, expected) for item in value)
        return part is not None and type(value) is str and part in value

    return contains
