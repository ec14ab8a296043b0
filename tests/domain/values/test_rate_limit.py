"""A token bucket grants no more than its rate."""

from hypothesis import given
from hypothesis import strategies as st

from waypost.clock import SECOND
from waypost.domain.values.rate_limit import BURST_S, Bucket, take_tokens

NOW = 1_790_000_000 * SECOND


@given(
    st.floats(0.01, 5000),
    st.lists(st.tuples(st.integers(0, 3 * SECOND), st.integers(0, 2000)), min_size=1, max_size=30),
)
def test_a_bucket_never_gives_more_than_its_rate(rate, asks):
    bucket, now, given_away = Bucket(1, rate, 0.0, NOW), NOW, 0
    for passed, wanted in asks:
        now += passed
        granted, wait = take_tokens(bucket, wanted, now)
        given_away += granted
        assert granted <= wanted
        assert (wait > 0) == (granted < wanted)
        assert given_away <= rate * (now - NOW) / SECOND + 1e-6
        assert bucket.tokens <= max(rate * BURST_S, 1.0)


def test_a_bucket_waits_as_long_as_it_says():
    bucket = Bucket(1, 2.0, 0.0, NOW)
    granted, wait = take_tokens(bucket, 1, NOW)
    assert granted == 0
    assert take_tokens(bucket, 1, NOW + wait) == (1, 0)


def test_a_clock_that_was_set_back_adds_nothing_and_fills_from_there():
    bucket = Bucket(1, 2.0, 0.0, NOW)
    back = NOW - 10 * SECOND
    assert take_tokens(bucket, 1, back) == (0, SECOND // 2 + 1)
    assert take_tokens(bucket, 1, back + SECOND // 2) == (1, 0)
