"""Retries of messages that a wrong clock put off."""

from waypost.clock import SECOND
from waypost.domain.messaging.status import LONGEST_RETRY_S
from waypost.storage.database import Tx

#: What processes of one database may differ by, and the longest wait that is Waypost's own.
_SKEW = 60 * SECOND
_SLACK = int(LONGEST_RETRY_S * 1.2) * SECOND
#: Messages that one transaction brings back.
STEP = 1000


async def bring_back_retries(tx: Tx, now: int) -> int:
    """Make due up to `STEP` retries that a clock scheduled which was ahead; return how many.

    Such a retry was written later than it is now. One that a provider asked to put off was not, nor is a message that
    is scheduled a retry.
    """
    return await tx.run(
        "messages.bring_back", now=now, written_after=now + _SKEW, due_after=now + _SKEW + _SLACK, n=STEP
    )
