"""A connection that takes nothing is spared, and found out to have recovered."""

from itertools import pairwise

import pytest

from waypost.clock import SECOND
from waypost.domain.health import LONGEST_REST_S, PATIENCE, Health, note
from waypost.domain.messages import Outcome, Verdict

NOW = 1_790_000_000 * SECOND
TROUBLE = Verdict(outcome=Outcome.RETRY, reason="unreachable", detail="connection refused")


def ill(calls: int) -> Health:
    health = Health()
    for _ in range(calls):
        note(health, [TROUBLE, TROUBLE], max(NOW, health.rests_until), 1.0)
    return health


def test_a_few_failures_are_weather():
    assert not ill(PATIENCE - 1).failing(NOW)


def test_it_fails_once_and_rests_longer_and_longer():
    health = Health()
    came = [note(health, [TROUBLE], max(NOW, health.rests_until), 1.0) for _ in range(PATIENCE + 3)]
    assert came == [False] * (PATIENCE - 1) + [True] + [False] * 3
    assert (health.reason, health.detail) == ("unreachable", "connection refused")
    ends = [ill(PATIENCE + number).rests_until for number in range(30)]
    rests = [later - earlier for earlier, later in pairwise([NOW, *ends])]
    assert rests[:3] == [SECOND, 2 * SECOND, 4 * SECOND]
    assert rests[-1] == LONGEST_REST_S * SECOND
    assert health.failing(NOW)
    assert not health.failing(health.rests_until)


def test_what_was_under_way_when_the_rest_began_makes_it_no_longer():
    health = ill(PATIENCE)
    for _ in range(100):
        assert not note(health, [TROUBLE], NOW, 1.0)
    assert (health.failures, health.rests_until) == (PATIENCE, NOW + SECOND)


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.RETRY])
def test_any_other_answer_shows_that_it_is_there(outcome):
    health = ill(PATIENCE)
    assert not note(health, [TROUBLE, Verdict(outcome=outcome)], NOW, 1.0)
    assert not health.failing(NOW)
    assert health.failures == 0


def test_an_error_of_the_providers_own_counts_although_nobody_knows_what_became_of_the_message():
    health = Health()
    broken = Verdict(outcome=Outcome.UNKNOWN, reason="provider_5xx", detail="503")
    for _ in range(PATIENCE):
        note(health, [broken, TROUBLE], NOW, 1.0)
    assert health.failing(NOW)
    note(health, [Verdict(outcome=Outcome.UNKNOWN, reason="no_answer")], NOW, 1.0)
    assert not health.failing(NOW)
