"""Make retries due that a wrong clock scheduled too late."""

from waypost.clock import SECOND
from waypost.domain.messaging.status import LONGEST_RETRY_S
from waypost.storage.database import Tx

#: How far the clocks of processes of one database may differ, and the longest retry delay of Waypost itself.
_SKEW = 60 * SECOND
_SLACK = int(LONGEST_RETRY_S * 1.2) * SECOND
#: Messages that one transaction makes due.
STEP = 1000


async def bring_back_retries(tx: Tx, now: int) -> int:
    """Make up to `STEP` retries due that were scheduled by a clock that was ahead; return how many.

    Such a retry was written later than `now`. A retry that a provider asked to delay was not, and a scheduled message
    is not a retry.
    """
    return await tx.run(
        "messages.bring_back", now=now, written_after=now + _SKEW, due_after=now + _SKEW + _SLACK, n=STEP
    )
