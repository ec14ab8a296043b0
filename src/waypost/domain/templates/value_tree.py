"""JSON values whose texts are templates: compiled once, rendered value by value.

Since each value is rendered on its own, a quote in it cannot break the JSON around it.
"""

from collections.abc import Callable
from typing import Any

from waypost.domain.templates.liquid.context import Rendering
from waypost.domain.templates.liquid.program import Program
from waypost.errors import Invalid

#: The most values, and the most levels of nesting.
MOST_VALUES = 500
DEEPEST_VALUES = 10


def compile_tree(given: Any, made: Callable[[str, str], Program], field: str, words: str) -> Any:
    """Return the value with each text compiled by `made(path, text)`.

    `field` and `words` name the value in errors: Invalid with the code `invalid_template`.
    """
    count = 0

    def compile_(value: Any, path: str, depth: int) -> Any:
        nonlocal count
        count += 1
        if depth > DEEPEST_VALUES:
            raise _wrong(f"{words} may have at most {DEEPEST_VALUES} levels of nesting.", field)
        if count > MOST_VALUES:
            raise _wrong(f"{words} may have at most {MOST_VALUES} values.", field)
        if isinstance(value, str):
            return made(path, value)
        if isinstance(value, dict):
            for name in value:
                if "{{" in name or "{%" in name:
                    raise _wrong(f"The name {name[:60]!r} contains Liquid; only values may.", field)
            return {name: compile_(inner, f"{path}.{name[:60]}", depth + 1) for name, inner in value.items()}
        return (
            [compile_(inner, f"{path}.{number}", depth + 1) for number, inner in enumerate(value)]
            if isinstance(value, list)
            else value
        )

    return compile_(given, field, 0)


def render_tree(tree: Any, rendering: Rendering) -> Any:
    """Return the value of a compiled tree. Raise Invalid as `Program.value` does."""
    if isinstance(tree, Program):
        return tree.value(rendering)
    if isinstance(tree, dict):
        return {name: render_tree(value, rendering) for name, value in tree.items()}
    return [render_tree(value, rendering) for value in tree] if isinstance(tree, list) else tree


def _wrong(detail: str, field: str) -> Invalid:
    return Invalid(detail, code="invalid_template", field=field)
