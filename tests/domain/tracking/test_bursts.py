"""Clicks on an email shortly after one another: which of them a machine made."""

import pytest

from waypost.clock import MINUTE, SECOND
from waypost.domain.tracking.bursts import Burst, follow

NOW = 1_800_000_000 * SECOND


@pytest.mark.parametrize(
    ("clicks", "reasons"),
    [
        # A person: one link, the same again, another one a while later.
        ([(0, 1)], [None]),
        ([(0, 1), (0.2, 1), (0.4, 1)], [None, None, None]),
        ([(0, 1), (5, 2), (10, 3), (15, 4)], [None, None, None, None]),
        ([(0, 1), (1.5, 2)], [None, None]),
        # A scanner: all links at once, or one after another.
        ([(0, 1), (0.1, 2), (0.2, 3)], [None, "many_links", "many_links"]),
        ([(0, 1), (2, 2), (4, 3), (6, 4)], [None, None, "many_links", "many_links"]),
        ([(0, 3), (0, 1), (0, 2)], [None, "many_links", "many_links"]),
        # Afterwards it is a person's mail again.
        ([(0, 1), (0.1, 2), (60, 3)], [None, "many_links", None]),
        # The link that no person sees.
        ([(0, 0), (1, 1), (59, 2), (200, 3)], ["bait", "bait", "bait", None]),
        ([(0, 1), (10, 0), (20, 1)], [None, "bait", "bait"]),
        # Two processes record in another order.
        ([(1, 0), (0, 1)], ["bait", "bait"]),
    ],
)
def test_machines_follow_many_links_at_once(clicks: list[tuple[float, int]], reasons: list[str | None]):
    burst: Burst | None = None
    found = []
    for at, number in clicks:
        burst, reason = follow(burst, number, NOW + int(at * SECOND))
        found.append(reason)
    assert found == reasons


def test_what_is_remembered_is_bounded():
    burst: Burst | None = None
    for number in range(1, 1000):
        burst, _ = follow(burst, number, NOW + number)
    assert burst is not None
    assert len(burst.numbers) == 50
    assert follow(burst, 1, NOW + MINUTE)[0].numbers == [1]
