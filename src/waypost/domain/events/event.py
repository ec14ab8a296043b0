"""An event, as the recorder stores it."""

import msgspec


class Event(msgspec.Struct):
    """An event to record, with its profile if it is known."""

    workspace_id: int
    type: str
    profile_id: int | None
    occurred_at: int
    #: Two events of a workspace with the same message id are one event.
    message_id: str
    #: JSON object.
    data: bytes
    #: 64-bit hash of workspace and message id; 0 if repeats were already removed.
    message_key: int = 0
    #: The metric of a tracked event, from which its type is derived.
    metric: str | None = None
    #: Assigned by the recorder.
    id: int = 0
