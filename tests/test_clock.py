"""Times, and the ids generated from them."""

import threading
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from waypost.clock import ID_EPOCH, NODES, SECOND, Ids, first_id, id_time, iso, now_us

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
moments = st.datetimes(timezones=st.just(UTC))  # The years 1 to 9999.
times = st.integers(ID_EPOCH, ID_EPOCH + (1 << 50))


def test_now_is_in_microseconds():
    before = datetime.now(UTC)
    now = EPOCH + timedelta(microseconds=now_us())
    assert before - timedelta(milliseconds=1) <= now <= datetime.now(UTC)


@given(moments)
def test_a_moment_is_shown_as_datetime_would(moment):
    at = (moment - EPOCH) // timedelta(microseconds=1)
    shown = moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
    # Twice, because the second is cached.
    assert iso(at) == iso(at) == shown


def test_moments_before_1970_and_in_early_years():
    assert iso(-1) == "1969-12-31T23:59:59.999999Z"
    assert iso(-62_135_596_800 * SECOND) == "0001-01-01T00:00:00.000000Z"
    assert iso(253_402_300_800 * SECOND - 1) == "9999-12-31T23:59:59.999999Z"


def test_two_threads_never_show_each_others_second():
    wrong: list[int] = []

    def show(start: int) -> None:
        for second in range(20_000):
            at = (start + second % 3) * SECOND
            if iso(at) != expected[at]:
                wrong.append(at)

    starts = (1_790_000_000, 1_690_000_000)
    expected = {second * SECOND: iso(second * SECOND) for start in starts for second in range(start, start + 3)}
    threads = [threading.Thread(target=show, args=(start,)) for start in starts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@given(st.lists(st.tuples(st.sampled_from([0, 1, NODES - 1]), st.integers(0, 5), times), max_size=20))
def test_ids_rise_and_never_repeat_even_when_time_goes_back(calls):
    nodes = {node: Ids(node) for node in (0, 1, NODES - 1)}
    taken: dict[int, list[int]] = {node: [] for node in nodes}
    for node, count, now in calls:
        ids = list(nodes[node].take(count, now))
        assert len(ids) == count
        assert all(id_ % NODES == node and id_time(id_) >= now for id_ in ids)
        taken[node] += ids
    everything = [id_ for ids in taken.values() for id_ in ids]
    assert len(set(everything)) == len(everything)
    assert all(ids == sorted(ids) for ids in taken.values())
    assert all(0 < id_ < 1 << 63 for id_ in everything)


@given(times)
def test_an_id_tells_when_it_was_made(now):
    ids = Ids(5)
    one = ids.one(now)
    assert id_time(one) == max(now, ID_EPOCH + 1)
    assert ids.one(now) > one
    assert first_id(now) <= one
    assert one < first_id(now + 2)


def test_ids_begin_in_2020():
    assert first_id(0) == first_id(ID_EPOCH) == 0
    assert Ids(3).one(0) == (1 << 12) + 3
