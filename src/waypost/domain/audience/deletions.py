"""The stages of the deletion of a person, and which one follows."""

from enum import StrEnum


class DeletionStage(StrEnum):
    """What is searched for a deleted person."""

    EVENTS = "events"  #: Their events, and the messages that these are about.
    MESSAGES = "messages"  #: Messages that are older than all events: those that lead to them may be gone.
    LINKS = "links"  #: Short links in their messages.
    DONE = "done"  #: Nothing leads to the person any more.


def next_stage(stage: DeletionStage, passes: int, *, messages: bool, unfinished: bool) -> DeletionStage:
    """Return the stage after one that is finished; this is the only place that decides it.

    A second search of the events follows a while after the first one, and another one as long as it found a message
    that is being sent.
    """
    if stage is DeletionStage.EVENTS:
        return DeletionStage.MESSAGES
    if stage is DeletionStage.MESSAGES and messages:
        return DeletionStage.LINKS
    return DeletionStage.EVENTS if passes == 0 or unfinished else DeletionStage.DONE
