"""How the deletion of a workspace goes on: what is not sent yet ends, then what is stored is deleted."""

from enum import StrEnum

from waypost.clock import MINUTE, SECOND
from waypost.errors import Conflict, Invalid

#: After so long (microseconds) every process knows that a workspace is deleted, and what was under way is recorded.
GRACE = MINUTE
#: The pause of a deletion that waits for a message that is being sent.
PAUSE = SECOND


class DeletionStep(StrEnum):
    """What is done at a time."""

    MESSAGES = "messages"  #: Messages that are not sent yet are skipped.
    DELIVERIES = "deliveries"  #: Pending deliveries are given up.
    ROWS = "rows"  #: Rows are deleted table by table.
    SEARCHES = "searches"  #: Tables that have no index by workspace are searched.
    DONE = "done"


def check_deletion(name: str, typed: str, workspaces: int) -> None:
    """Raise an Error unless a user who typed this name may delete the workspace `name`, one of so many of theirs."""
    if typed != name:
        raise Invalid("Type the name of the workspace exactly as it is.", code="name_mismatch", field="name")
    if workspaces < 2:
        raise Conflict(
            "This is your only workspace. Create another one first: there would be no place to go on.",
            code="last_workspace",
        )


def next_step(step: DeletionStep, created_at: int, *, again: bool) -> tuple[DeletionStep, bool, int]:
    """Return what follows a step that is complete, whether it is done again, and when it is due at the earliest.

    What is not sent ends at once, and once more when nothing can be under way any more. Only then rows are deleted:
    nobody writes rows that nothing would delete.
    """
    if step is DeletionStep.MESSAGES:
        return DeletionStep.DELIVERIES, again, 0
    if step is DeletionStep.DELIVERIES:
        return (DeletionStep.ROWS, True, 0) if again else (DeletionStep.MESSAGES, True, created_at + GRACE)
    if step is DeletionStep.ROWS:
        return DeletionStep.SEARCHES, True, 0
    return DeletionStep.DONE, True, 0
