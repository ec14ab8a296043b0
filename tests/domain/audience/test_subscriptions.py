"""Which of two statements about an address counts."""

from itertools import permutations
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from waypost.clock import CLOCKS_DIFFER, DAY, SECOND
from waypost.domain.audience.subscriptions import (
    Subscription,
    SubscriptionChange,
    SubscriptionState,
    change_key,
    decide,
    subscription_changed,
)
from waypost.domain.events.event_types import describe

NOW = 1_790_000_000 * SECOND
ON, OFF = SubscriptionState.SUBSCRIBED, SubscriptionState.UNSUBSCRIBED


def change(state: SubscriptionState, at: int | None, source: str = "form", proof: str = "{}") -> SubscriptionChange:
    return SubscriptionChange(1, "sms", "+12025550101", state, source, at, proof)


def known(state: SubscriptionState, at: int, source: str = "form", proof: str = "{}") -> Subscription:
    return Subscription(state, source, at, proof)


@pytest.mark.parametrize(
    ("before", "at", "state", "later", "effective"),
    [
        (ON, NOW, OFF, 1, True),
        (OFF, NOW, ON, 1, True),
        (OFF, NOW, ON, -1, False),
        (ON, NOW, OFF, -1, False),
        # At the same time, the opt-out counts.
        (ON, NOW, OFF, 0, True),
        (OFF, NOW, ON, 0, False),
        # A repeat.
        (ON, NOW, ON, 0, False),
        (OFF, NOW, OFF, 0, False),
    ],
)
def test_the_later_statement_counts(before, at, state, later, effective):
    said, counts = decide(known(before, at), change(state, at + later), NOW + DAY)
    assert (said, counts) == (known(state, at + later), effective)


def test_the_first_statement_about_an_address_counts():
    assert decide(None, change(OFF, NOW - DAY), NOW) == (known(OFF, NOW - DAY), True)
    assert decide(None, change(ON, None), NOW) == (known(ON, NOW), True)


@pytest.mark.parametrize(
    ("before", "ahead", "state", "at", "effective"),
    [
        (ON, -1, OFF, NOW, True),
        # An opt-out that came in meanwhile is not undone.
        (OFF, 0, ON, NOW, False),
        (OFF, 30 * SECOND, ON, NOW, False),
        (OFF, CLOCKS_DIFFER, ON, NOW, False),
        # What else another clock dates ahead is.
        (ON, 30 * SECOND, OFF, NOW + 30 * SECOND + 1, True),
        (ON, 30 * SECOND, ON, NOW + 30 * SECOND + 1, True),
        (OFF, 30 * SECOND, OFF, NOW + 30 * SECOND + 1, True),
        # Dated further ahead than clocks differ, nothing keeps out what is said now.
        (OFF, CLOCKS_DIFFER + 1, ON, NOW, True),
        (ON, 365 * DAY, OFF, NOW, True),
    ],
)
def test_a_statement_without_a_time_is_about_the_present(before, ahead, state, at, effective):
    said, counts = decide(known(before, NOW + ahead, "keyword"), change(state, None, "api"), NOW)
    assert (said, counts) == (known(state, at, "api"), effective)


def test_a_repeat_in_the_same_moment_is_no_second_statement():
    assert decide(known(ON, NOW), change(ON, None), NOW) == (known(ON, NOW), False)


_SAID = st.builds(
    change, st.sampled_from(SubscriptionState), st.integers(NOW - 2, NOW), st.sampled_from(["a", "b"]), st.just("{}")
)


@given(said=st.lists(_SAID, min_size=1, max_size=4))
def test_the_order_of_arrival_does_not_matter(said: list[Any]):
    ends = set()
    for order in permutations(said):
        current = None
        for one in order:
            dated, effective = decide(current, one, NOW)
            current = dated if effective else current
        assert current is not None
        ends.add((current.state, current.source, current.changed_at))
    assert len(ends) == 1
    state, _, at = ends.pop()
    assert at == max(one.changed_at for one in said)
    assert (state is OFF) == any(one.state is OFF for one in said if one.changed_at == at)


def test_a_key_is_that_of_a_repeat_and_of_nothing_else():
    keys = {
        change_key(known(state, NOW, source, proof)) for state in (ON, OFF) for source in "ab" for proof in ("{}", "[]")
    }
    assert len(keys) == 8
    assert all(0 <= key < 1 << 63 for key in keys)
    assert change_key(known(ON, NOW)) == change_key(known(ON, NOW + 1))


def test_the_event_says_what_changed_without_the_proof():
    said = known(OFF, NOW, "keyword", '{"ip":"192.0.2.1"}')
    event = subscription_changed(change(OFF, NOW), said, ON, 7)
    assert (event.type, event.profile_id, event.occurred_at) == ("subscription.changed", 7, NOW)
    data = msgspec.json.decode(event.data)
    ids = {"id": "evt_0000000000000001", "message_id": event.message_id, "profile_id": "pro_0000000000000007"}
    body = {"type": event.type, "timestamp": "2026-09-21T14:13:20.000000Z", "data": ids | data}
    Draft202012Validator(describe(event.type).schema).validate(body)
    assert data == {
        "channel": "sms",
        "address": "+12025550101",
        "state": "unsubscribed",
        "before": "subscribed",
        "source": "keyword",
        "changed_at": "2026-09-21T14:13:20.000000Z",
    }
