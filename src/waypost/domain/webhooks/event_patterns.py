"""Which event types an endpoint subscribes to: exact types and globs."""

import re
from collections.abc import Callable

from waypost.domain.values.patterns import compile_glob
from waypost.errors import Invalid

_PATTERN = re.compile(r"[a-z0-9_*]+(?:\.[a-z0-9_*]+)*\Z")


def pattern_match(patterns: tuple[str, ...]) -> Callable[[str], bool]:
    """Return a test for event types against exact names and globs. `*` matches any characters, dots included."""
    exact = frozenset(pattern for pattern in patterns if "*" not in pattern)
    globs = [compile_glob(pattern) for pattern in patterns if "*" in pattern]
    if not globs:
        return exact.__contains__
    return lambda type_: type_ in exact or any(glob(type_) for glob in globs)


def check_patterns(patterns: list[str]) -> tuple[str, ...]:
    """Return the patterns without repeats. Raise Invalid for one that cannot match any type."""
    if not patterns:
        raise Invalid('Name at least one event type, such as "event.*" or "*".', code="invalid_event_types")
    if len(patterns) > 100:
        raise Invalid("An endpoint may have at most 100 event types; use globs.", code="invalid_event_types")
    for pattern in patterns:
        if len(pattern) > 256 or not _PATTERN.match(pattern) or pattern.count("*") > 4:
            raise Invalid(
                f"{pattern[:80]!r} is not an event type: use lower-case letters, digits, _ and dots, with up to four "
                '"*", such as "event.order_shipped", "event.*" or "*".',
                code="invalid_event_types",
            )
    return tuple(dict.fromkeys(patterns))
