"""Filters for lists."""

from typing import Any

from liquid.builtin.filters import array
from liquid.filter import flatten, with_environment
from liquid.undefined import is_undefined
from markupsafe import escape

from waypost.domain.templates.liquid.budget import exceeded
from waypost.domain.templates.liquid.filter_costs import MOST_COMPARED
from waypost.domain.templates.liquid.value_filters import as_text


def length(value: Any) -> int:
    """Return the number of characters or items."""
    return len(value) if isinstance(value, str | list | dict | range) else 0


@with_environment
def join(value: Any, separator: Any = " ", *, environment: Any) -> str:
    """Return the items of a list joined to one text."""
    between = as_text(separator)
    items = list(value) if isinstance(value, list | tuple | range) else [] if is_undefined(value) else [value]
    texts = [as_text(item) for item in items]
    if environment.autoescape:
        # The separator is part of the template; the items are data and are escaped.
        return escape(between).join(texts)
    return between.join(texts)


def uniq(value: Any, key: Any = None) -> Any:
    """Return the list without repeats; it compares every pair of items, and so accepts short lists only."""
    items = flatten(value) if isinstance(value, list | tuple) else value
    if isinstance(items, list | range) and len(items) > MOST_COMPARED:
        raise exceeded(f"uniq takes lists of at most {MOST_COMPARED} items")
    return array.uniq(items, key)
