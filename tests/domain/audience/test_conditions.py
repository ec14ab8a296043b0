"""Conditions: what is refused and where, and when each holds for a person."""

from typing import Any

import pytest

from waypost.clock import DAY, HOUR
from waypost.domain.audience.conditions import expand, read_condition, segments_in
from waypost.domain.audience.membership import EventFact, PersonFacts, is_member, next_check
from waypost.domain.values.ids import public
from waypost.errors import Invalid

NOW = 1_790_000_000 * 1_000_000
PRO = {"trait": "plan", "is": "pro"}
SEGMENT = public("seg", 7)


@pytest.mark.parametrize(
    ("tree", "path", "code"),
    [
        ([], "condition", "invalid_condition"),
        ({}, "condition", "invalid_condition"),
        ({"trait": "a", "tag": "b"}, "condition", "invalid_condition"),
        ({"all": []}, "condition.all", "invalid_condition"),
        ({"all": [PRO, {"any": [PRO, {"tag": 5}]}]}, "condition.all[1].any[1].tag", "invalid_condition"),
        ({"not": {"trait": "plan"}}, "condition.not", "invalid_condition"),
        ({"trait": "plan", "equals": 1}, "condition.equals", "invalid_condition"),
        ({"trait": "plan", "is": None}, "condition.is", "invalid_condition"),
        ({"trait": "plan", "gt": "many"}, "condition.gt", "invalid_condition"),
        ({"trait": "plan", "gt": True}, "condition.gt", "invalid_condition"),
        ({"trait": "plan", "before": "soon"}, "condition.before", "invalid_condition"),
        ({"trait": "plan", "in": ["a", None]}, "condition.in[1]", "invalid_condition"),
        ({"trait": 'pl"an', "is": 1}, "condition.trait", "invalid_condition"),
        ({"trait": "a..b", "is": 1}, "condition.trait", "invalid_condition"),
        ({"trait": "items.0", "is": 1}, "condition.trait", "invalid_condition"),
        ({"trait": "email", "gt": 1}, "condition.gt", "invalid_condition"),
        ({"trait": "email", "is": 1}, "condition.is", "invalid_condition"),
        ({"subscribed": "pigeon"}, "condition.subscribed", "invalid_condition"),
        ({"list": "lst_1"}, "condition.list", "unknown_list"),
        ({"segment": "seg_1"}, "condition.segment", "unknown_segment"),
        ({"event": "A", "within": "30 days"}, "condition.within", "invalid_condition"),
        ({"event": "A", "within": "9999d"}, "condition.within", "invalid_condition"),
        ({"event": "A", "at_least": -1}, "condition.at_least", "invalid_condition"),
        ({"event": "A", "at_least": 0}, "condition.at_least", "invalid_condition"),
        ({"event": "A", "at_least": 3, "at_most": 2}, "condition.at_most", "invalid_condition"),
        ({"event": "A", "since": "yesterday"}, "condition.since", "invalid_condition"),
        ({"event": "A", "where": {"total": {"over": 5}}}, "condition.where.total.over", "invalid_condition"),
        ({"event": "A", "where": {"at": {"after": "30d ago"}}}, "condition.where.at.after", "invalid_condition"),
        ({"event": "A", "times": 2}, "condition", "invalid_condition"),
        ({"all": [PRO] * 201}, "condition.all[99]", "condition_too_large"),
    ],
)
def test_what_is_not_valid_is_named_by_its_place(tree: Any, path: str, code: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_condition(tree)
    assert (caught.value.extra["path"], caught.value.code) == (path, code)
    assert caught.value.detail.startswith(path)


def test_nesting_is_limited() -> None:
    tree: Any = PRO
    for _ in range(12):
        tree = {"not": tree}
    with pytest.raises(Invalid, match="levels"):
        read_condition(tree)


def test_segments_in_segments_are_replaced_by_their_conditions() -> None:
    outer = read_condition({"all": [{"segment": SEGMENT}, {"tag": "vip"}]})
    assert segments_in(outer) == {7}
    assert expand(outer, {7: read_condition(PRO)}) == read_condition({"all": [PRO, {"tag": "vip"}]})


@pytest.mark.parametrize(
    ("segments", "code"),
    [
        ({}, "unknown_segment"),
        ({7: {"not": {"segment": SEGMENT}}}, "segment_circle"),
        ({n: {"segment": public("seg", n + 1)} for n in range(7, 20)}, "condition_too_large"),
    ],
)
def test_segments_that_cannot_be_replaced_are_refused(segments: dict[int, Any], code: str) -> None:
    known = {id_: read_condition(tree) for id_, tree in segments.items()}
    with pytest.raises(Invalid) as caught:
        expand(read_condition({"all": [{"segment": SEGMENT}]}), known)
    assert (caught.value.extra["path"], caught.value.code) == ("condition.all[0]", code)


def test_five_levels_of_segments_are_allowed() -> None:
    known = {n: read_condition({"segment": public("seg", n + 1)} if n < 11 else PRO) for n in range(7, 12)}
    assert expand(read_condition({"segment": SEGMENT}), known) == read_condition(PRO)


@pytest.mark.parametrize(
    ("tree", "traits", "expected"),
    [
        (PRO, {"plan": "PRO"}, True),
        (PRO, {}, False),
        ({"not": PRO}, {}, True),
        ({"trait": "plan", "is_not": "pro"}, {}, True),
        ({"trait": "age", "gte": 18, "lt": 30}, {"age": "18"}, True),
        ({"trait": "age", "gte": 18}, {"age": True}, False),
        ({"trait": "address.city", "is": "Köln"}, {"address": {"city": "KÖLN"}}, True),
        ({"trait": "tags", "contains": "new"}, {"tags": ["old", "New"]}, True),
        ({"trait": "seen", "before": "30d ago"}, {"seen": "2001-01-01"}, True),
        ({"trait": "seen", "after": "30d"}, {"seen": "2001-01-01"}, False),
        ({"trait": "ends", "before": "7d ahead"}, {"ends": "2026-09-22"}, True),
    ],
)
def test_traits(tree: Any, traits: dict[str, Any], expected: bool) -> None:
    assert is_member(read_condition(tree), PersonFacts(traits=traits), NOW) is expected


def test_an_event_is_a_metric_or_a_type() -> None:
    facts = PersonFacts(events={"event.order_shipped": [EventFact(NOW, '{"properties":{"total":50.5}}')]})
    for name in ("Order Shipped", "event.order_shipped"):
        assert is_member(read_condition({"event": name, "where": {"total": {"gt": 50}}}), facts, NOW)
    clicked = PersonFacts(events={"email.clicked": [EventFact(NOW, '{"url":"x","campaign":{"id":"cmp_1"}}')]})
    tree = {"event": "email.clicked", "where": {"url": "x", "campaign.id": "cmp_1"}}
    assert is_member(read_condition(tree), clicked, NOW)
    assert not is_member(read_condition(tree | {"where": {"campaign.id": "cmp_2"}}), clicked, NOW)


@pytest.mark.parametrize("name", ["email.opened", "email.clicked", "message.clicked"])
def test_what_machines_did_counts_only_where_a_condition_asks_for_it(name: str) -> None:
    machine, person, old = (EventFact(NOW, data) for data in ('{"machine":true}', '{"machine":false}', "{}"))
    never = read_condition({"event": name, "at_most": 0})
    for events, expected in (([machine], True), ([machine, person], False), ([old], False), ([], True)):
        assert is_member(never, PersonFacts(events={name: events}), NOW) is expected
    everything = PersonFacts(events={name: [machine, machine, person]})
    for where, n in (
        ({"machine": True}, 2),
        ({"machine": False}, 1),
        ({"machine": {"exists": True}}, 3),
        ({"machine_reason": {"exists": False}}, 1),
    ):
        exactly = {"event": name, "at_least": n, "at_most": n, "where": where}
        assert is_member(read_condition(exactly), everything, NOW), where
    # What clients track may have such a property, too.
    tracked = PersonFacts(events={"event.order": [EventFact(NOW, '{"properties":{"machine":true}}')]})
    assert is_member(read_condition({"event": "Order"}), tracked, NOW)


def test_time_alone_changes_counts_and_relative_dates() -> None:
    opened = read_condition({"event": "email.opened", "at_most": 0, "within": "2h"})
    facts = PersonFacts(events={"email.opened": [EventFact(NOW - HOUR), EventFact(NOW - 5 * HOUR)]})
    due = next_check(opened, facts, NOW)
    assert due == NOW + HOUR
    assert not is_member(opened, facts, due - 1)
    assert is_member(opened, facts, due)
    assert next_check(opened, facts, due) is None
    ends = read_condition({"trait": "ends", "before": "7d ahead"})
    later = PersonFacts(traits={"ends": "2026-10-21T14:13:20Z"})
    due = next_check(ends, later, NOW)
    assert due == NOW + 23 * DAY + 1
    assert (is_member(ends, later, due - 1), is_member(ends, later, due)) == (False, True)
    assert next_check(read_condition(PRO), facts, NOW) is None
