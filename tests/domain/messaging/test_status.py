"""Transitions: the same reports lead to the same status in any order, and the rank never decreases."""

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.clock import SECOND
from waypost.domain.messaging.message import Receipt, SendOutcome, Status, Verdict
from waypost.domain.messaging.status import (
    LONGEST_HISTORY,
    RANK,
    MessageState,
    Transition,
    from_receipt,
    retry_delay,
    skip_reason,
    transition,
    transition_after,
)

NOW = 1_790_000_000 * SECOND


def state(**changes: Any) -> MessageState:
    values: dict[str, Any] = {
        "id": 1,
        "workspace_id": 1,
        "profile_id": None,
        "channel": "sms",
        "connection_id": 7,
        "pinned": 0,
        "address": "+12025550101",
        "status": Status.SENDING,
        "status_at": NOW,
        "code": None,
        "reason": None,
        "provider_code": None,
        "provider_message_id": None,
        "provider_key": None,
        "template_id": 0,
        "campaign": "",
        "metadata": "{}",
        "test": 0,
        "tries": 1,
        "due_at": None,
        "expires_at": NOW + 3600 * SECOND,
        "node": 1,
        "parts": None,
        "price_micros": None,
        "currency": None,
        "carrier": None,
        "text_client_id": None,
        "occurrence_id": None,
        "variant": None,
        "history_length": 0,
    } | changes
    return MessageState(**values)


receipts = st.builds(
    Receipt,
    workspace_id=st.just(1),
    connection_id=st.just(7),
    occurred_at=st.integers(NOW, NOW + 5),
    status=st.sampled_from([None, Status.SENT, Status.DELIVERED, Status.FAILED]),
    code=st.sampled_from([2003, 2009, 2015]),
    reason=st.sampled_from(["a", "b"]),
    parts=st.none() | st.integers(1, 3),
    price_micros=st.none() | st.integers(0, 9000),
    currency=st.just("USD"),
    carrier=st.sampled_from([None, "310260", "310410"]),
)


def told(message: MessageState, news: list[Transition]) -> MessageState:
    for change in news:
        transition(message, change)
    return message


def seen(message: MessageState) -> tuple[Any, ...]:
    failed = (message.code, message.reason) if message.status is Status.FAILED else None
    return message.status, failed, message.parts, message.price_micros, message.carrier


@given(st.lists(receipts, max_size=5), st.randoms())
def test_receipts_in_any_order_and_number_lead_to_the_same_end(news, dice):
    ends = set()
    for _ in range(4):
        told_so = [*news, *dice.choices(news, k=2)] if news else []
        dice.shuffle(told_so)
        ends.add(seen(told(state(), [from_receipt(receipt) for receipt in told_so])))
    assert len(ends) == 1


def test_every_order_of_a_whole_life():
    news = [
        Transition(status=Status.SENT, at=NOW + 1),
        Transition(status=Status.DELIVERED, at=NOW + 2),
        Transition(status=Status.FAILED, at=NOW + 3, code=2009, reason="unreachable"),
        Transition(status=Status.FAILED, at=NOW + 2, code=2015, reason="spam"),
    ]
    for order in permutations(news):
        assert told(state(), list(order)).status is Status.DELIVERED
    for order in permutations([news[0], news[2], news[3]]):
        end = told(state(), list(order))
        assert (end.status, end.code, end.status_at) == (Status.FAILED, 2015, NOW + 2)


@given(
    st.sampled_from(list(Status)),
    st.lists(st.tuples(st.sampled_from(list(Status)), st.booleans()), max_size=6),
)
def test_only_hands_and_retries_lead_back(start, steps):
    message = state(status=start)
    for status, by_hand in steps:
        before = message.status
        change = Transition(status=status, at=NOW, due_at=NOW, node=1, by_hand=by_hand)
        changed, note = transition(message, change)
        assert changed == (message.status is not before)
        if RANK[message.status] < RANK[before]:
            assert message.status in (Status.QUEUED, Status.HELD)
            assert before is Status.SENDING or by_hand
        if before in (Status.DELIVERED, Status.SKIPPED):
            assert message.status is before
        # Only a waiting message has a due time.
        assert (message.due_at is not None) == (message.status in (Status.QUEUED, Status.HELD)) or not changed
        assert changed is False or note is not None


def test_a_failure_after_the_delivery_is_noted_and_moves_nothing():
    message = state(status=Status.DELIVERED, status_at=NOW)
    changed, note = transition(message, Transition(status=Status.FAILED, at=NOW + 1, code=2009, reason="unreachable"))
    assert not changed
    assert note is not None
    assert note.noted
    assert (message.status, message.code) == (Status.DELIVERED, None)


def test_a_provider_that_repeats_itself_makes_no_endless_history():
    message = state(status=Status.DELIVERED, history_length=LONGEST_HISTORY + 1)
    assert transition(message, Transition(status=Status.FAILED, at=NOW, code=2009)) == (False, None)
    # The details of a report that changes nothing are merged all the same.
    message = state(history_length=LONGEST_HISTORY + 1)
    assert transition(message, Transition(status=Status.SENT, at=NOW))[1] is not None


def settled(outcome: SendOutcome, *, others: list[int] | None = None, expires: int = 3600, **said: Any) -> MessageState:
    message = state(expires_at=NOW + expires * SECOND)
    verdict = Verdict(outcome=outcome, **said)
    transition(message, transition_after(message, verdict, NOW, base_s=1.0, chance=0.5, others=others or []))
    return message


def test_what_a_try_comes_to():
    taken = settled(SendOutcome.ACCEPTED, provider_message_id="abc", code=1)
    assert (taken.status, taken.provider_message_id, taken.code) == (Status.SENT, "abc", None)
    refused = settled(SendOutcome.REJECTED, code=2003, reason="invalid_number", provider_code="21211")
    assert (refused.status, refused.code, refused.provider_code) == (Status.FAILED, 2003, "21211")
    assert settled(SendOutcome.REJECTED).code == 9988
    lost = settled(SendOutcome.UNKNOWN, reason="timeout")
    assert (lost.status, lost.due_at) == (Status.UNKNOWN, None)
    again = settled(SendOutcome.RETRY, code=2020, reason="throttled")
    assert (again.status, again.due_at, again.code) == (Status.QUEUED, NOW + SECOND, 2020)
    assert settled(SendOutcome.RETRY, retry_after=9 * SECOND).due_at == NOW + 9 * SECOND
    # An expired message fails with the code of its last error, not with that of the expiry.
    late = settled(SendOutcome.RETRY, code=2020, expires=0)
    assert (late.status, late.code) == (Status.FAILED, 2020)
    waits = settled(SendOutcome.MISCONFIGURED, reason="forbidden")
    assert (waits.status, waits.due_at) == (Status.QUEUED, NOW)


def test_the_next_connection_may_have_only_what_surely_was_not_taken():
    moved = settled(SendOutcome.RETRY, others=[8, 9], retry_after=60 * SECOND)
    assert (moved.status, moved.connection_id, moved.due_at) == (Status.QUEUED, 8, NOW)
    assert settled(SendOutcome.MISCONFIGURED, others=[8]).connection_id == 8
    for outcome in (SendOutcome.ACCEPTED, SendOutcome.REJECTED, SendOutcome.UNKNOWN):
        assert settled(outcome, others=[8]).connection_id == 7


def test_a_receipt_that_came_first_is_not_undone_by_the_answer():
    message = state()
    transition(message, Transition(status=Status.DELIVERED, at=NOW))
    for outcome in SendOutcome:
        transition(message, transition_after(message, Verdict(outcome=outcome), NOW, base_s=1, chance=0, others=[8]))
        assert (message.status, message.connection_id, message.due_at) == (Status.DELIVERED, 7, None)


@given(st.integers(0, 10_000), st.floats(0.001, 10), st.floats(0, 1, exclude_max=True))
def test_waits_double_and_end(tries, base, chance):
    wait = retry_delay(tries, base, chance)
    assert 0 < wait <= 360 * SECOND
    assert retry_delay(tries + 1, base, chance) >= wait


@pytest.mark.parametrize(
    ("channel", "purpose", "suppressed", "subscription", "reason"),
    [
        ("sms", "transactional", None, None, None),
        ("sms", "transactional", None, "subscribed", None),
        ("sms", "transactional", None, "unsubscribed", "not_consented"),
        ("email", "transactional", None, "unsubscribed", None),
        ("email", "promotional", None, "unsubscribed", "not_consented"),
        ("email", "transactional", "bounced", "subscribed", "suppressed"),
    ],
)
def test_whom_nothing_is_sent_to(channel, purpose, suppressed, subscription, reason):
    assert skip_reason(channel, purpose, suppressed, subscription) == reason
