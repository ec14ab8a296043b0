"""Indexes of traits: which tests they answer, what they hold of a person, and which ones saved segments need."""

import hashlib
from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from waypost.domain.audience.comparisons import NUMERIC, Comparison, fold, number
from waypost.domain.audience.conditions import Condition, TraitTest, nodes
from waypost.domain.audience.profiles import Traits

#: The most indexes of a workspace.
MOST_INDEXES = 20
#: A longer text is represented by its digest: a key of an index is short.
LONGEST_KEY = 200

_ANSWERED = ("is", "is_not", "in", "exists", *NUMERIC)

#: The names that lead to a value in the traits.
Path = tuple[str, ...]


class IndexState(StrEnum):
    """The state of an index."""

    FILLING = "filling"
    COMPLETE = "complete"
    DROPPED = "dropped"


def answers(comparison: Comparison) -> bool:
    """Return whether an index answers a comparison."""
    return comparison.operator in _ANSWERED


def excludes(comparison: Comparison) -> bool:
    """Return whether a comparison holds for those who are not found, such as people without the trait."""
    return comparison.operator == "is_not" or (comparison.operator == "exists" and not comparison.operand)


def text_key(value: Any, *, folded: bool = False) -> str | None:
    """Return the key of a text or boolean, which is equal for values that compare as equal; None for anything else."""
    if isinstance(value, bool):
        return "b1" if value else "b0"
    if not isinstance(value, str):
        return None
    text = value if folded else fold(value)
    return f"s{text}" if len(text) <= LONGEST_KEY else f"h{hashlib.sha256(text.encode()).hexdigest()}"


def keys_of(value: Any) -> tuple[str | None, float | None]:
    """Return what an index holds of a value: the key of a text or boolean, and the number that it counts as."""
    return text_key(value), number(value)


def value_at(traits: Traits, path: Path) -> Any:
    """Return the value at a path in the traits of a profile, or None."""
    known = traits.get(path[0])
    value = None if known is None else known[0]
    for key in path[1:]:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def paths_to_index(conditions: Iterable[Condition], known: Iterable[Path]) -> list[Path]:
    """Return the paths for which there should be indexes: those that these conditions name, known ones first."""
    named: dict[Path, None] = {}
    for condition in conditions:
        for node in nodes(condition):
            if isinstance(node, TraitTest) and any(answers(comparison) for comparison in node.comparisons):
                named[node.path] = None
    known = set(known)
    return sorted(named, key=lambda path: path not in known)[:MOST_INDEXES]
