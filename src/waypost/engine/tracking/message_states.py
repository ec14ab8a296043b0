"""The messages that visits and people are about, with their histories."""

from collections.abc import Iterable

import msgspec

from waypost.domain.messaging.message import Status
from waypost.domain.messaging.status import HistoryEntry, MessageState
from waypost.storage.database import Tx

_history = msgspec.json.Decoder(list[HistoryEntry])

_COLUMNS = [name for name in MessageState.__struct_fields__ if name != "history_length"]

#: The state of a message and its history.
KnownMessage = tuple[MessageState, list[HistoryEntry]]


async def load_messages(tx: Tx, named: Iterable[int | None]) -> dict[int, KnownMessage]:
    """Return messages by their ids, in one query; those that were deleted are missing."""
    ids = sorted({id_ for id_ in named if id_ is not None})
    if not ids:
        return {}
    found: dict[int, KnownMessage] = {}
    for record in await tx.records("clicks.messages", ids=ids):
        history = record["history"]
        values = {name: record[name] for name in _COLUMNS} | {"status": Status(record["status"])}
        state = MessageState(**values, history_length=len(history))
        found[state.id] = (state, _history.decode(f"[{history}]"))
    return found
