"""Predict how the text-message API responds to a request, without recording anything."""

from waypost.domain.texts.status import TextStatus
from waypost.engine.texts.area import FoundPerson, NewText, find_people, repeat_digests, repeat_error
from waypost.storage.database import Tx


async def predict(tx: Tx, text: NewText, now: int) -> FoundPerson:
    """Return the person of a text, and the status of the response. Raise Conflict for a repeat.

    The rate of the client is not considered.
    """
    (found,) = await find_people(tx, [text])
    if found.status is not TextStatus.PENDING_TO_SEND:
        return found
    for _, message_id, expires_at in await tx.rows("text_repeats.find", digests=list(repeat_digests(text, found))):
        if expires_at > now:
            raise repeat_error(message_id)
    return found
