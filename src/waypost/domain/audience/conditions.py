"""Conditions of segments: read the tree of a condition from JSON and check it.

A node is an object with one of these keys: `all`, `any`, `not`, `trait`, `list`, `tag`, `subscribed`, `segment`,
`event`. Every error names the part of the tree that it is about, such as `condition.all[1].within`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from waypost.domain.audience.comparisons import (
    OPERATORS,
    Comparison,
    RelativeTime,
    instant,
    invalid,
    read_comparison,
    read_duration,
)
from waypost.domain.events.segment import metric_type
from waypost.domain.values.contacts import normal_email, normal_phone
from waypost.domain.values.ids import internal
from waypost.errors import NotFound

#: The most levels of nodes inside each other, and the most nodes, comparisons and values of a condition.
DEEPEST, MOST_NODES = 12, 200
#: The most nodes of a condition together with those of the segments that it names, and the most levels of segments.
MOST_EXPANDED, DEEPEST_SEGMENTS = 1000, 5
LONGEST_NAME = 512
#: The largest count that an event condition may ask for.
MOST_TIMES = 100_000

IDENTIFIERS = ("email", "phone", "user_id", "anonymous_id")
#: By channel: the kind of identifier that is its address.
ADDRESSES = {"sms": "phone", "email": "email"}
#: The first word of the event types that Waypost itself defines, and of types that tracked events have.
_TYPE = re.compile(
    r"(event|profile|page|screen|group|message|email|sms|text|subscription|segment|list|campaign)\.[a-z0-9_.]+"
)
#: Events that machines cause, too: what they did counts only where a condition asks for `machine`.
_OF_MACHINES = frozenset({"email.opened", "email.clicked", "message.clicked"})
_NAME_REFUSED = re.compile(r'[\x00-\x1f"\\\x7f\ud800-\udfff]')
_LEAVES = ("trait", "list", "tag", "subscribed", "segment", "event")
_NODES = ("all", "any", "not", *_LEAVES)
_EVENT_KEYS = ("event", "at_least", "at_most", "within", "since", "until", "where")


class AllOf(msgspec.Struct, frozen=True):
    """Every part holds."""

    parts: tuple["Condition", ...]


class AnyOf(msgspec.Struct, frozen=True):
    """At least one part holds."""

    parts: tuple["Condition", ...]


class Negation(msgspec.Struct, frozen=True):
    """The part does not hold."""

    part: "Condition"


class TraitTest(msgspec.Struct, frozen=True):
    """Every comparison holds for the value at a path in the traits."""

    path: tuple[str, ...]
    comparisons: tuple[Comparison, ...]


class IdentifierTest(msgspec.Struct, frozen=True):
    """Every comparison holds for some identifier of a kind; `is_not` if none of them is the given one."""

    kind: str
    comparisons: tuple[Comparison, ...]


class ListTest(msgspec.Struct, frozen=True):
    """The person is a subscribed member of a list."""

    list_id: int


class TagTest(msgspec.Struct, frozen=True):
    """The person has a tag."""

    tag: str


class SubscriptionTest(msgspec.Struct, frozen=True):
    """An address of the person is subscribed to a channel."""

    channel: str


class SegmentTest(msgspec.Struct, frozen=True):
    """The condition of another segment holds."""

    segment_id: int


class PropertyTest(msgspec.Struct, frozen=True):
    """Every comparison holds for the value at a path in the data of an event."""

    path: tuple[str, ...]
    comparisons: tuple[Comparison, ...]


class EventTest(msgspec.Struct, frozen=True):
    """The number of events of a type, in a period and with these properties, lies between two bounds."""

    type: str
    at_least: int
    at_most: int | None
    #: Only events of the last so many microseconds; None for no bound.
    within: int | None
    #: Only events from this time on, and before that time.
    since: int | None
    until: int | None
    where: tuple[PropertyTest, ...]


Condition = (
    AllOf
    | AnyOf
    | Negation
    | TraitTest
    | IdentifierTest
    | ListTest
    | TagTest
    | SubscriptionTest
    | SegmentTest
    | EventTest
)

#: No machine is known to have caused the event.
_BY_PEOPLE = PropertyTest(("machine",), (Comparison("is_not", True),))


def read_condition(tree: Any, path: str = "condition") -> Condition:
    """Return a condition from JSON; raise Invalid, naming the part that is not valid."""
    return _Reader().node(tree, path, 1)


def nodes(condition: Condition) -> Iterator[Condition]:
    """Return a condition and all its parts, outer ones first."""
    yield condition
    if isinstance(condition, AllOf | AnyOf):
        for part in condition.parts:
            yield from nodes(part)
    elif isinstance(condition, Negation):
        yield from nodes(condition.part)


def segments_in(condition: Condition) -> set[int]:
    """Return the ids of the segments that a condition names."""
    return {node.segment_id for node in nodes(condition) if isinstance(node, SegmentTest)}


def expand(condition: Condition, segments: Mapping[int, Condition], path: str = "condition") -> Condition:
    """Return a condition in which the segments that it names, directly or not, are replaced by their conditions.

    Raise Invalid if a segment is unknown, if segments name each other in a circle or too deeply, or if the whole
    becomes too large.
    """
    expanded = _expand(condition, segments, path, ())
    if sum(1 for _ in nodes(expanded)) > MOST_EXPANDED:
        raise invalid(
            path, f"more than {MOST_EXPANDED} nodes with those of the segments in it.", code="condition_too_large"
        )
    return expanded


def _expand(condition: Condition, segments: Mapping[int, Condition], path: str, outer: tuple[int, ...]) -> Condition:
    if isinstance(condition, AllOf | AnyOf):
        word = "all" if isinstance(condition, AllOf) else "any"
        parts = [
            _expand(part, segments, path if outer else f"{path}.{word}[{index}]", outer)
            for index, part in enumerate(condition.parts)
        ]
        return type(condition)(tuple(parts))
    if isinstance(condition, Negation):
        return Negation(_expand(condition.part, segments, path if outer else f"{path}.not", outer))
    if not isinstance(condition, SegmentTest):
        return condition
    id_ = condition.segment_id
    if id_ in outer:
        raise invalid(path, "segments name each other in a circle.", code="segment_circle")
    if len(outer) >= DEEPEST_SEGMENTS:
        raise invalid(path, f"more than {DEEPEST_SEGMENTS} levels of segments.", code="condition_too_large")
    if id_ not in segments:
        raise invalid(path, "no segment with this id exists in this workspace.", code="unknown_segment")
    # Errors inside belong to the place where the outermost segment is named.
    return _expand(segments[id_], segments, path, (*outer, id_))


class _Reader:
    """Reads one condition and counts its parts."""

    def __init__(self) -> None:
        self._count = 0

    def node(self, tree: Any, path: str, depth: int) -> Condition:
        self._enter(path)
        if depth > DEEPEST:
            raise invalid(path, f"more than {DEEPEST} levels of nesting.", code="condition_too_large")
        if not isinstance(tree, dict):
            raise invalid(path, 'a condition is an object such as {"trait": "plan", "is": "pro"}.')
        kinds = [key for key in _NODES if key in tree]
        if len(kinds) != 1:
            raise invalid(path, f"a condition has exactly one of the keys {', '.join(_NODES)}.")
        kind = kinds[0]
        if kind == "trait":
            return self._trait(tree, path)
        if kind == "event":
            return self._event(tree, path)
        _refuse_others(tree, (kind,), path)
        value, place = tree[kind], f"{path}.{kind}"
        if kind in ("all", "any"):
            if not isinstance(value, list) or not value:
                raise invalid(place, "needs a list of at least one condition.")
            parts = tuple(self.node(part, f"{place}[{index}]", depth + 1) for index, part in enumerate(value))
            return AllOf(parts) if kind == "all" else AnyOf(parts)
        if kind == "not":
            return Negation(self.node(value, place, depth + 1))
        if kind == "list":
            return ListTest(_id("lst", value, place, "unknown_list"))
        if kind == "segment":
            return SegmentTest(_id("seg", value, place, "unknown_segment"))
        if kind == "tag":
            return TagTest(_text(value, place))
        if value not in ADDRESSES:
            raise invalid(place, f"a channel must be one of {', '.join(ADDRESSES)}.")
        return SubscriptionTest(value)

    def _enter(self, path: str, count: int = 1) -> None:
        self._count += count
        if self._count > MOST_NODES:
            raise invalid(path, f"more than {MOST_NODES} conditions and comparisons.", code="condition_too_large")

    def _comparisons(self, tree: Mapping[str, Any], path: str) -> tuple[Comparison, ...]:
        self._enter(path, len(tree))
        if not tree:
            raise invalid(path, f"needs an operator: {', '.join(OPERATORS)}.")
        return tuple(read_comparison(name, operand, f"{path}.{name}") for name, operand in sorted(tree.items()))

    def _trait(self, tree: dict[str, Any], path: str) -> Condition:
        name = _text(tree["trait"], f"{path}.trait")
        comparisons = self._comparisons({key: value for key, value in tree.items() if key != "trait"}, path)
        if name not in IDENTIFIERS:
            return TraitTest(_keys(name, f"{path}.trait"), comparisons)
        for comparison in comparisons:
            if comparison.operator not in ("is", "is_not", "in", "contains", "starts_with", "exists"):
                raise invalid(f"{path}.{comparison.operator}", f"{name} is a text, for which this has no meaning.")
        return IdentifierTest(name, tuple(_normal(name, comparison, tree, path) for comparison in comparisons))

    def _event(self, tree: dict[str, Any], path: str) -> EventTest:
        _refuse_others(tree, _EVENT_KEYS, path)
        name = _text(tree["event"], f"{path}.event")
        typed = _TYPE.fullmatch(name) is not None
        tracked = not typed or name.startswith("event.")
        at_least, at_most = (_times(tree.get(key), f"{path}.{key}") for key in ("at_least", "at_most"))
        if at_least is None:
            at_least = 1 if at_most is None else 0
        if at_most is not None and at_most < at_least:
            raise invalid(f"{path}.at_most", "is less than at_least, so that the condition never holds.")
        if at_least == 0 and at_most is None:
            raise invalid(f"{path}.at_least", "0 without at_most holds for everybody.")
        within = tree.get("within")
        duration = None if within is None else read_duration(within)
        if within is not None and duration is None:
            raise invalid(f"{path}.within", "must be a duration such as 2h, 30d or 4w, of at most 3660 days.")
        since, until = (_date(tree.get(key), f"{path}.{key}") for key in ("since", "until"))
        where = tree.get("where")
        place = f"{path}.where"
        if where is None:
            where = {}
        if not isinstance(where, dict):
            raise invalid(place, 'is an object such as {"total": {"gt": 50}}.')
        tests = tuple(
            self._property(key, value, f"{place}.{key[:80]}", tracked) for key, value in sorted(where.items())
        )
        if name in _OF_MACHINES and not any(test.path == _BY_PEOPLE.path for test in tests):
            tests = (*tests, _BY_PEOPLE)
        return EventTest(name if typed else metric_type(name), at_least, at_most, duration, since, until, tests)

    def _property(self, name: str, value: Any, path: str, tracked: bool) -> PropertyTest:
        keys = _keys(name, path)
        # The properties of a tracked event are one level further down than the fields of Waypost's own events.
        keys = ("properties", *keys) if tracked else keys
        comparisons = self._comparisons(value if isinstance(value, dict) else {"is": value}, path)
        for comparison in comparisons:
            if isinstance(comparison.operand, RelativeTime):
                raise invalid(
                    f"{path}.{comparison.operator}", "give a date here; `within` limits when events occurred."
                )
        return PropertyTest(keys, comparisons)


def _refuse_others(tree: Mapping[str, Any], known: tuple[str, ...], path: str) -> None:
    for key in tree:
        if key not in known:
            raise invalid(path, f"the key {key[:80]!r} is unknown here; allowed are {', '.join(known)}.")


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST_NAME or _NAME_REFUSED.search(value):
        raise invalid(
            path,
            f"must be a text of 1 to {LONGEST_NAME} characters, without quotes, backslashes or control characters.",
        )
    return value


def _keys(name: str, path: str) -> tuple[str, ...]:
    keys = tuple(_text(name, path).split("."))
    for key in keys:
        # PostgreSQL would read such a key as the position in a list.
        if not key or key.strip().lstrip("+-").isdigit():
            raise invalid(path, "must be names with single dots between them, none of them a number.")
    return keys


def _id(prefix: str, value: Any, path: str, code: str) -> int:
    try:
        return internal(prefix, value if isinstance(value, str) else "")
    except NotFound as error:
        raise invalid(path, error.detail, code=code) from None


def _times(value: Any, path: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise invalid(path, "must be a whole number.")
    if not 0 <= value <= MOST_TIMES:
        raise invalid(path, f"must be between 0 and {MOST_TIMES}.")
    return int(value)


def _date(value: Any, path: str) -> int | None:
    if value is None:
        return None
    at = instant(value)
    if at is None:
        raise invalid(path, "must be a date such as 2026-03-14 or a time such as 2026-03-14T09:26:00Z.")
    return at


def _normal(kind: str, comparison: Comparison, tree: Mapping[str, Any], path: str) -> Comparison:
    """Return a comparison of identifiers with its operand as identifiers are stored, so that an index finds it."""
    operator = comparison.operator
    given, place = tree[operator], f"{path}.{operator}"
    if operator == "in":
        return Comparison(operator, tuple(_identifier(kind, one, place) for one in given))
    if operator in ("is", "is_not"):
        return Comparison(operator, _identifier(kind, given, place))
    if operator != "exists" and not isinstance(given, str):
        raise invalid(place, f"{kind} is compared with a text.")
    return comparison


def _identifier(kind: str, value: Any, path: str) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise invalid(path, f"{kind} is compared with a text.")
    normal: Callable[[str], str | None] | None = {"email": normal_email, "phone": normal_phone}.get(kind)
    return (normal(value) if normal else None) or value


def moves_with_time(condition: Condition) -> bool:
    """Return whether the condition of a person may change only because time passes."""
    for node in nodes(condition):
        if isinstance(node, EventTest):
            return True
        if isinstance(node, TraitTest) and any(isinstance(one.operand, RelativeTime) for one in node.comparisons):
            return True
    return False
