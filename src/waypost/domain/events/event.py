"""An event as it is recorded, wherever it came from."""

import msgspec


class Event(msgspec.Struct):
    """Something that happened, ready to be recorded; of a person where one is known."""

    workspace_id: int
    type: str
    profile_id: int | None
    occurred_at: int
    #: The id that makes a repeat the same event.
    message_id: str
    #: JSON object.
    data: bytes
    #: 64 bits that stand for workspace and message id; 0 where repeats are kept out otherwise.
    message_key: int = 0
    #: The metric of a tracked event; its type is made from it.
    metric: str | None = None
    #: Given by the recorder.
    id: int = 0
