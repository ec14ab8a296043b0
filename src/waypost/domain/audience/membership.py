"""Whether a condition holds for one person, and when time alone may change that. The database gives the same answer."""

from collections.abc import Iterable
from typing import Any

import msgspec

from waypost.domain.audience.comparisons import Comparison, fold, holds, next_change
from waypost.domain.audience.conditions import (
    AllOf,
    AnyOf,
    Condition,
    EventTest,
    IdentifierTest,
    ListTest,
    Negation,
    PropertyTest,
    SubscriptionTest,
    TagTest,
    TraitTest,
)

_decode = msgspec.json.Decoder().decode


class EventFact(msgspec.Struct):
    """An event of a person."""

    at: int
    #: The data as JSON; None where no condition looks at it.
    data: str | None = None


class PersonFacts(msgspec.Struct):
    """What conditions ask about one person. Facts that no condition asks about may be left out."""

    traits: dict[str, Any] = {}
    #: By kind.
    identifiers: dict[str, list[str]] = {}
    #: The lists of which the person is a subscribed member.
    lists: set[int] = set()
    tags: set[str] = set()
    #: The channels to which an address of the person is subscribed.
    channels: set[str] = set()
    #: By type, in any order.
    events: dict[str, list[EventFact]] = {}


def is_member(condition: Condition, facts: PersonFacts, now: int) -> bool:
    """Return whether a condition without segments in it holds for a person."""
    if isinstance(condition, AllOf):
        return all(is_member(part, facts, now) for part in condition.parts)
    if isinstance(condition, AnyOf):
        return any(is_member(part, facts, now) for part in condition.parts)
    if isinstance(condition, Negation):
        return not is_member(condition.part, facts, now)
    if isinstance(condition, TraitTest):
        value = _at(facts.traits, condition.path)
        return all(holds(comparison, value, now) for comparison in condition.comparisons)
    if isinstance(condition, IdentifierTest):
        values = facts.identifiers.get(condition.kind, [])
        return all(_holds_for_any(comparison, values) for comparison in condition.comparisons)
    if isinstance(condition, ListTest):
        return condition.list_id in facts.lists
    if isinstance(condition, TagTest):
        return condition.tag in facts.tags
    if isinstance(condition, SubscriptionTest):
        return condition.channel in facts.channels
    if isinstance(condition, EventTest):
        count = sum(1 for at in _times(condition, facts, now) if at <= now and _within(condition, at, now))
        return condition.at_least <= count and (condition.at_most is None or count <= condition.at_most)
    raise TypeError(f"segments in a condition must be expanded first: {condition}")


def next_check(condition: Condition, facts: PersonFacts, now: int) -> int | None:
    """Return the earliest time after `now` at which time alone may change `is_member`, or None if it cannot.

    The answer may be the same at that time, and then there may be a later one.
    """
    if isinstance(condition, AllOf | AnyOf):
        return _earliest(next_check(part, facts, now) for part in condition.parts)
    if isinstance(condition, Negation):
        return next_check(condition.part, facts, now)
    if isinstance(condition, TraitTest):
        value = _at(facts.traits, condition.path)
        return _earliest(next_change(comparison, value, now) for comparison in condition.comparisons)
    if isinstance(condition, EventTest):
        return _next_count(condition, facts, now)
    return None


def _next_count(test: EventTest, facts: PersonFacts, now: int) -> int | None:
    """Return when an event that lies ahead begins to count, or one that decides leaves the period."""
    times = sorted(_times(test, facts, now), reverse=True)
    found = [at for at in times if at > now]
    if test.within is not None:
        counted = [at for at in times if at <= now and _within(test, at, now)]
        # The count falls below n when the n-th latest event leaves.
        for n in (test.at_least, None if test.at_most is None else test.at_most + 1):
            if n and n <= len(counted):
                found.append(counted[n - 1] + test.within)
    return min(found, default=None)


def _times(test: EventTest, facts: PersonFacts, now: int) -> list[int]:
    """Return the times of the events of a test, without regard to the bound that moves; some may lie ahead."""
    return [
        event.at
        for event in facts.events.get(test.type, ())
        if (test.since is None or event.at >= test.since)
        and (test.until is None or event.at < test.until)
        and (not test.where or _fits(test.where, event, now))
    ]


def _within(test: EventTest, at: int, now: int) -> bool:
    return test.within is None or at > now - test.within


def _fits(where: tuple[PropertyTest, ...], event: EventFact, now: int) -> bool:
    data = _decode(event.data or "{}")
    return all(
        holds(comparison, value, now)
        for test in where
        for value in (_at(data, test.path),)
        for comparison in test.comparisons
    )


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _holds_for_any(comparison: Comparison, values: list[str]) -> bool:
    """Return whether a comparison holds for any identifier of a person; they are compared as they are stored."""
    operator, operand = comparison.operator, comparison.operand
    if operator == "exists":
        return bool(values) is operand
    if operator == "is_not":
        return operand not in values
    if operator == "is":
        return operand in values
    if operator == "in":
        return any(value in operand for value in values)
    if operator == "contains":
        return any(operand in fold(value) for value in values)
    return any(fold(value).startswith(operand) for value in values)


def _earliest(times: Iterable[int | None]) -> int | None:
    return min((at for at in times if at is not None), default=None)
