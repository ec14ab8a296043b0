"""The circuit opens after repeated failures, and closes after a success."""

from itertools import pairwise

from waypost.clock import SECOND
from waypost.domain.values.circuit_breaker import FAILURE_THRESHOLD, LONGEST_OPEN_S, CircuitBreaker, note

NOW = 1_790_000_000 * SECOND
TROUBLE = ("unreachable", "connection refused")


def ill(calls: int) -> CircuitBreaker:
    health = CircuitBreaker()
    for _ in range(calls):
        note(health, TROUBLE, max(NOW, health.open_until), 1.0)
    return health


def test_a_few_failures_are_weather():
    assert not ill(FAILURE_THRESHOLD - 1).failing(NOW)


def test_it_fails_once_and_rests_longer_and_longer():
    health = CircuitBreaker()
    came = [note(health, TROUBLE, max(NOW, health.open_until), 1.0) for _ in range(FAILURE_THRESHOLD + 3)]
    assert came == [False] * (FAILURE_THRESHOLD - 1) + [True] + [False] * 3
    assert (health.reason, health.detail) == ("unreachable", "connection refused")
    ends = [ill(FAILURE_THRESHOLD + number).open_until for number in range(30)]
    rests = [later - earlier for earlier, later in pairwise([NOW, *ends])]
    assert rests[:3] == [SECOND, 2 * SECOND, 4 * SECOND]
    assert rests[-1] == LONGEST_OPEN_S * SECOND
    assert health.failing(NOW)
    assert not health.failing(health.open_until)


def test_what_was_under_way_when_the_rest_began_makes_it_no_longer():
    health = ill(FAILURE_THRESHOLD)
    for _ in range(100):
        assert not note(health, TROUBLE, NOW, 1.0)
    assert (health.failures, health.open_until) == (FAILURE_THRESHOLD, NOW + SECOND)


def test_a_success_closes_it():
    health = ill(FAILURE_THRESHOLD)
    assert not note(health, None, NOW, 1.0)
    assert not health.failing(NOW)
    assert health.failures == 0
