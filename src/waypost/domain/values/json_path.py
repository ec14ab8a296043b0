"""Paths into JSON, such as `errors.0.message` or `Fields.*.Name`, and the comparison of the values there."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from waypost.domain.values.patterns import Match, compile_glob

#: The most values that a path with `*` returns.
MOST = 1000


def find_all(value: Any, path: str) -> list[Any]:
    """Return all values at a path of object keys, list indexes and `*` for any. An empty path is the whole value.

    Of alternative paths, written `one|other`, the first with a value counts.
    """
    if "|" in path:
        return next((found for one in path.split("|") if (found := find_all(value, one.strip()))), [])
    found = [value]
    for step in path.split(".") if path else ():
        below: list[Any] = []
        for item in found:
            if step == "*":
                if isinstance(item, Mapping | list):
                    below += list(item.values() if isinstance(item, Mapping) else item)[:MOST]
            elif isinstance(item, Mapping):
                if step in item:
                    below.append(item[step])
            elif isinstance(item, list) and step.isascii() and step.isdigit() and int(step[:9]) < len(item):
                below.append(item[int(step[:9])])
        found = below[:MOST]
    return found


def find(value: Any, path: str) -> Any:
    """Return the first value at a path that is not null, or None."""
    return next((item for item in find_all(value, path) if item is not None), None)


def is_like(value: Any, expected: Any) -> bool:
    """Return whether a value matches what is expected: a number, a boolean, a text with `*`, or any in a list.

    Case does not matter.
    """
    if isinstance(expected, list | tuple):
        return any(is_like(value, one) for one in expected)
    if isinstance(expected, bool) or isinstance(value, bool):
        return str(value).lower() == str(expected).lower()
    if value is None or isinstance(value, Mapping | list):
        return False
    return _glob(str(expected))(str(value)[:2000])


@lru_cache(maxsize=4096)
def _glob(text: str) -> Match:
    return compile_glob(text, ignore_case=True)
