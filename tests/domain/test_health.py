"""A connection that takes nothing is spared, and found out to have recovered."""

import pytest

from waypost.clock import SECOND
from waypost.domain.health import LONGEST_REST_S, PATIENCE, Health, note
from waypost.domain.messages import Outcome, Verdict

NOW = 1_790_000_000 * SECOND
TROUBLE = Verdict(outcome=Outcome.RETRY, reason="unreachable", detail="connection refused")


def ill(calls: int) -> Health:
    health = Health()
    for _ in range(calls):
        note(health, [TROUBLE, TROUBLE], NOW, 1.0)
    return health


def test_a_few_failures_are_weather():
    assert not ill(PATIENCE - 1).failing(NOW)


def test_it_fails_once_and_rests_longer_and_longer():
    health = Health()
    came = [note(health, [TROUBLE], NOW, 1.0) for _ in range(PATIENCE + 3)]
    assert came == [False] * (PATIENCE - 1) + [True] + [False] * 3
    assert (health.reason, health.detail) == ("unreachable", "connection refused")
    rests = [ill(PATIENCE + number).rests_until - NOW for number in range(30)]
    assert rests[:3] == [SECOND, 2 * SECOND, 4 * SECOND]
    assert rests[-1] == LONGEST_REST_S * SECOND
    assert health.failing(NOW)
    assert not health.failing(health.rests_until)


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.RETRY])
def test_any_other_answer_shows_that_it_is_there(outcome):
    health = ill(PATIENCE)
    assert not note(health, [TROUBLE, Verdict(outcome=outcome)], NOW, 1.0)
    assert not health.failing(NOW)
    assert health.failures == 0
