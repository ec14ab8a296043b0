"""The decision after an attempt: every delivery ends as delivered or dead, within a day of retries."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from waypost.clock import DAY, HOUR, SECOND
from waypost.domain.webhooks.delivery import (
    JITTER,
    LONGEST_STRETCH,
    RETRIES,
    SLOW_DOWN,
    AttemptOutcome,
    DeliveryDecision,
    State,
    delay,
    judge,
    schedule,
    settle,
)

NOW = 1_790_000_000 * SECOND  # 2026-09-21T14:13:20Z
BASE = 80.0  # The default, and the largest that the settings allow.
chances = st.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, AttemptOutcome.DELIVERED),
        (204, AttemptOutcome.DELIVERED),
        (299, AttemptOutcome.DELIVERED),
        (199, AttemptOutcome.FAILED),
        (301, AttemptOutcome.FAILED),
        (302, AttemptOutcome.FAILED),
        (400, AttemptOutcome.FAILED),
        (409, AttemptOutcome.FAILED),
        (410, AttemptOutcome.GONE),
        (429, AttemptOutcome.FAILED),
        (500, AttemptOutcome.FAILED),
        (None, AttemptOutcome.FAILED),
    ],
)
def test_only_2xx_is_success_and_only_410_ends_it(status, outcome):
    assert judge(status) is outcome


def test_answers_that_ask_for_less_are_failures():
    assert {judge(status) for status in SLOW_DOWN} == {AttemptOutcome.FAILED}


@pytest.mark.parametrize(
    ("outcome", "tries", "asked", "settled"),
    [
        (AttemptOutcome.DELIVERED, 1, None, DeliveryDecision(State.DELIVERED, None)),
        (AttemptOutcome.DELIVERED, 11, None, DeliveryDecision(State.DELIVERED, None)),
        (AttemptOutcome.GONE, 1, None, DeliveryDecision(State.DEAD, None, "gone")),
        (AttemptOutcome.GONE, 11, DAY, DeliveryDecision(State.DEAD, None, "gone")),
        (AttemptOutcome.FAILED, 1, None, DeliveryDecision(State.PENDING, NOW + 80 * SECOND)),
        (AttemptOutcome.FAILED, 2, None, DeliveryDecision(State.PENDING, NOW + 160 * SECOND)),
        (AttemptOutcome.FAILED, 10, None, DeliveryDecision(State.PENDING, NOW + 80 * 512 * SECOND)),
        (AttemptOutcome.FAILED, 11, None, DeliveryDecision(State.DEAD, None, "exhausted")),
        (AttemptOutcome.FAILED, 11, SECOND, DeliveryDecision(State.DEAD, None, "exhausted")),
        # The receiver may ask for a longer wait, not for a shorter one.
        (AttemptOutcome.FAILED, 1, 200 * SECOND, DeliveryDecision(State.PENDING, NOW + 200 * SECOND)),
        # Up to the limit of the schedule.
        (AttemptOutcome.FAILED, 1, HOUR, DeliveryDecision(State.PENDING, NOW + LONGEST_STRETCH)),
        (AttemptOutcome.FAILED, 1, SECOND, DeliveryDecision(State.PENDING, NOW + 80 * SECOND)),
        (AttemptOutcome.FAILED, 1, 0, DeliveryDecision(State.PENDING, NOW + 80 * SECOND)),
    ],
)
def test_what_follows_an_attempt(outcome, tries, asked, settled):
    assert settle(outcome, tries, NOW, retry_base=BASE, chance=0.5, retry_after=asked) == settled


@given(
    st.lists(
        st.tuples(st.sampled_from(AttemptOutcome), chances, st.none() | st.integers(0, DAY)), min_size=RETRIES + 1
    ),
    st.floats(0.001, BASE),
)
@example([(AttemptOutcome.FAILED, 0.0, None)] * (RETRIES + 1), BASE)
def test_every_delivery_ends_after_at_most_eleven_tries(attempts, base):
    now, ended = NOW, None
    for tries, (outcome, chance, asked) in enumerate(attempts, 1):
        settled = settle(outcome, tries, now, retry_base=base, chance=chance, retry_after=asked)
        assert (settled.state is State.PENDING) == (settled.due_at is not None)
        assert settled.disable is None or settled.state is State.DEAD
        if settled.due_at is None:
            ended = tries
            break
        assert settled.due_at > now
        assert settled.due_at >= now + min(asked or 0, LONGEST_STRETCH)
        now = settled.due_at
    assert ended is not None
    assert ended <= RETRIES + 1


@given(st.lists(chances, min_size=RETRIES, max_size=RETRIES), st.floats(0.001, BASE))
@example([0.9999999999999999] * RETRIES, BASE)
def test_ten_delays_fit_in_a_day(dice, base):
    # Eleven tries that each wait five seconds for a response also fit, and each may be delayed by a Retry-After.
    assert (
        sum(max(delay(tries, base, chance), LONGEST_STRETCH) for tries, chance in enumerate(dice, 1))
        < DAY - 11 * 5 * SECOND
    )


@given(st.integers(1, RETRIES), st.floats(0.001, BASE), chances)
def test_a_delay_doubles_give_or_take_the_jitter(tries, base, chance):
    nominal = base * SECOND * 2 ** (tries - 1)
    assert nominal * (1 - JITTER) - 1 <= delay(tries, base, chance) <= nominal * (1 + JITTER)


@pytest.mark.parametrize(("base", "whole"), [(80.0, DAY), (40.0, DAY // 2), (0.001, 60 * SECOND)])
def test_the_schedule_is_a_day_and_at_least_a_minute(base, whole):
    assert schedule(base) == whole
