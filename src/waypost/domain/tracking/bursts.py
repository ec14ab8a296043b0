"""Tell machines that follow all links of an email from people, by the clicks that came shortly before."""

import msgspec

from waypost.clock import MINUTE, SECOND
from waypost.domain.tracking.mail_tokens import BAIT

#: A click that comes later than this after the one before belongs to no burst.
GAP = 3 * SECOND
#: A second link so soon after another one was followed by a machine; a third one, in the whole burst.
AT_ONCE = SECOND
#: Clicks so soon after a click on the hidden link were made by the same machine.
NEAR = MINUTE
#: Numbers of links that are remembered.
REMEMBERED = 50

FOLLOWS_ALL, BAITED = "many_links", "bait"


class Burst(msgspec.Struct, frozen=True):
    """The latest clicks on one email."""

    began_at: int
    last_at: int
    numbers: list[int]
    #: When the hidden link was followed; 0 for never.
    baited_at: int = 0


def follow(burst: Burst | None, number: int, at: int) -> tuple[Burst, str | None]:
    """Return the latest clicks with one more, and why a machine made it, if they show that."""
    before = burst or Burst(at, at, [])
    if at - before.last_at > GAP:
        before = Burst(at, at, [], before.baited_at)
    numbers = before.numbers
    if number not in numbers and len(numbers) < REMEMBERED:
        numbers = [*numbers, number]
    baited_at = at if number == BAIT else before.baited_at
    after = Burst(before.began_at, max(at, before.last_at), numbers, baited_at)
    if baited_at and abs(at - baited_at) <= NEAR:
        return after, BAITED
    others = len(before.numbers) - (number in before.numbers)
    if others >= 2 or (others == 1 and number not in before.numbers and at - before.last_at < AT_ONCE):
        return after, FOLLOWS_ALL
    return after, None
