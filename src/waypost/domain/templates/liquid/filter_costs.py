"""What each filter costs in steps, known before it runs.

A filter that is not named here costs one step for every 64 characters of its value and arguments. The others are those
that only copy, those whose work on a character is far more, and those whose work grows faster than their values.
"""

import unicodedata
from collections.abc import Callable
from itertools import groupby
from typing import Any

from liquid.filter import flatten

from waypost.domain.templates.liquid.budget import (
    CHARACTERS_PER_STEP,
    COPIED_PER_STEP,
    ITEM,
    Budget,
    measure,
    too_long,
    too_many_items,
)

#: Returns the cost of a filter from its value and arguments and their size. Raises ResourceLimitError if the result
#: would be too large.
Cost = Callable[[Budget, int, Any, tuple[Any, ...]], int]

#: The characters of one step in filters that run Python for each character or match.
SLOW_PER_STEP = 8
#: The same in filters that run Python several times for each item.
ITEMWISE_PER_STEP = 32
#: The characters of a format of a date that cost one step.
FORMAT_PER_STEP = 4
#: Pairs of characters or items that are compared in one step.
PAIRS_PER_STEP = 4_096
#: From this length of the text to find, CPython searches more slowly.
LONG_PART = 32
#: The most items of a list for filters that compare every pair.
MOST_COMPARED = 300


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _argument(args: tuple[Any, ...], position: int, fallback: Any = "") -> Any:
    return args[position] if len(args) > position else fallback


def _free(budget: Budget, size: int, value: Any, args: tuple[Any, ...]) -> int:
    return 0


def _copied(budget: Budget, size: int, value: Any, args: tuple[Any, ...]) -> int:
    # A list or object must be written as text first.
    return size // (COPIED_PER_STEP if isinstance(value, str) else CHARACTERS_PER_STEP)


def _slow(budget: Budget, size: int, value: Any, args: tuple[Any, ...]) -> int:
    return size // SLOW_PER_STEP


def _itemwise(budget: Budget, size: int, value: Any, args: tuple[Any, ...]) -> int:
    return size // ITEMWISE_PER_STEP


def _normalized(budget: Budget, size: int, value: Any, args: tuple[Any, ...]) -> int:
    """Return the cost of Unicode normalization, which sorts each run of combining characters by insertion."""
    steps = size // SLOW_PER_STEP
    if size < CHARACTERS_PER_STEP or steps > budget.steps or (text := _text(value)).isascii():
        return steps
    runs = (sum(1 for _ in run) for combines, run in groupby(map(unicodedata.combining, text), bool) if combines)
    return steps + sum(run * run for run in runs) // PAIRS_PER_STEP


def _formatted(budget: Budget, size: int, value: Any, args: tuple[Any, ...]) -> int:
    return 1 + budget.size(_argument(args, 0)) // FORMAT_PER_STEP


def _searched(budget: Budget, size: int, value: Any, args: tuple[Any, ...]) -> int:
    return search_cost(size, budget.size(_argument(args, 0)))


def search_cost(size: int, part: int) -> int:
    """Return the cost of finding a part of this size in texts of this size."""
    return size // (CHARACTERS_PER_STEP if part <= LONG_PART else CHARACTERS_PER_STEP // 4)


def _searched_backwards(budget: Budget, size: int, value: Any, args: tuple[Any, ...]) -> int:
    # Searching from the end, CPython compares every pair of characters in the worst case.
    return size // CHARACTERS_PER_STEP + size * budget.size(_argument(args, 0)) // PAIRS_PER_STEP


def _replaced(budget: Budget, size: int, value: Any, args: tuple[Any, ...]) -> int:
    steps = _searched(budget, size, value, args)
    limits = budget.limits
    if size * (1 + budget.size(_argument(args, 1))) > limits.characters and steps <= budget.steps:
        text, part, other = _text(value), _text(_argument(args, 0)), _text(_argument(args, 1))
        if len(text) + text.count(part) * max(len(other) - len(part), 0) > limits.characters:
            raise too_long(limits)
    return steps


def _split(budget: Budget, size: int, value: Any, args: tuple[Any, ...]) -> int:
    steps = _searched(budget, size, value, args)
    if size > budget.limits.items and steps <= budget.steps:
        text, part = _text(value), _text(_argument(args, 0))
        if part == " ":
            found = len(text.split(None, budget.limits.items)) - 1
        else:
            found = text.count(part) if part else len(text) - 1
        if found >= budget.limits.items:
            raise too_many_items(budget.limits)
    return steps


def _joined(budget: Budget, size: int, value: Any, args: tuple[Any, ...]) -> int:
    steps, most = size // ITEMWISE_PER_STEP, budget.limits.characters
    between = budget.size(_argument(args, 0, " "))
    if size // ITEM * (ITEM + between) > most and steps <= budget.steps:
        items = flatten(value) if isinstance(value, list | tuple | range) else [value]
        # What is no text is a few characters; a list or object that remains is counted in the size.
        made = sum(len(item) if isinstance(item, str) else 1 for item in items) + between * (len(items) - 1)
        if made > most:
            raise too_long(budget.limits)
    return steps


def _compared(budget: Budget, size: int, value: Any, args: tuple[Any, ...]) -> int:
    """Return the cost of comparing every item of a list with every other."""
    return size // CHARACTERS_PER_STEP + min(size // ITEM, MOST_COMPARED) * size // PAIRS_PER_STEP


def _matched(budget: Budget, size: int, value: Any, args: tuple[Any, ...]) -> int:
    """Return the cost of comparing a member of each item with a value."""
    expected = measure(_argument(args, 1), (budget.steps + 1) * CHARACTERS_PER_STEP)
    return size // ITEMWISE_PER_STEP + size // ITEM * expected // PAIRS_PER_STEP


COSTS: dict[str, Cost] = {
    **dict.fromkeys(("default", "default_if_none", "first", "last", "length", "lookup", "size"), _free),
    **dict.fromkeys(
        (
            "append",
            "base64_decode",
            "base64_encode",
            "base64_url_safe_decode",
            "base64_url_safe_encode",
            "escape",
            "force_escape",
            "json",
            "lstrip",
            "prepend",
            "rstrip",
            "safe",
            "strip",
        ),
        _copied,
    ),
    **dict.fromkeys(("escape_once", "escapejs", "linebreaks", "title", "url_decode", "url_encode", "urlencode"), _slow),
    **dict.fromkeys(("slugify", "truncatechars"), _normalized),
    **dict.fromkeys(("date", "time"), _formatted),
    **dict.fromkeys(("cut", "remove", "remove_first", "replace_first"), _searched),
    **dict.fromkeys(("remove_last", "replace_last"), _searched_backwards),
    **dict.fromkeys(("sort_natural", "sum"), _itemwise),
    "replace": _replaced,
    "split": _split,
    "join": _joined,
    "uniq": _compared,
    **dict.fromkeys(("find", "find_index", "has", "reject", "where"), _matched),
}
#: Filters that do not look into their value, and so do not need its size.
UNMEASURED = frozenset(name for name, cost in COSTS.items() if cost is _free)
#: Filters whose cost counts copied characters.
COPYING = frozenset(name for name, cost in COSTS.items() if cost is _copied)
