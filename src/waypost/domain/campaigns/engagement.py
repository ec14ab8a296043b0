"""What people do with the messages of campaigns, read from events."""

import re

import msgspec

from waypost.domain.events.event import Event
from waypost.domain.tracking.mail_tokens import UNSUBSCRIBE_PATH
from waypost.domain.values.ids import internal
from waypost.errors import Error

#: What is counted for each type of event. Texts have clicks of their own.
ENGAGEMENTS = {
    "email.opened": "opened",
    "email.clicked": "clicked",
    "message.clicked": "clicked",
    "email.unsubscribed": "unsubscribed",
    "message.unsubscribed": "unsubscribed",
    "email.complained": "complained",
    "email.bounced": "bounced",
}
#: Where a link to unsubscribe in a text leads: each person's is another one, and following it is no interest.
_LEAVES = re.compile(rf"{UNSUBSCRIBE_PATH}[\w-]{{40,}}(?:[/?].*)?\Z", re.ASCII)
#: The longest URL that is counted as a link of its own.
LONGEST_LINK = 500


class _MessageOf(msgspec.Struct):
    occurrence_id: str | None = None
    variant: str | None = None


class _Data(msgspec.Struct):
    message: _MessageOf | None = None
    url: str | None = None
    machine: bool = False


class Engagement(msgspec.Struct):
    """Something that a person did with a message of a campaign."""

    occurrence_id: int
    profile_id: int | None
    variant: str | None
    #: One of the values of ENGAGEMENTS.
    kind: str
    at: int
    machine: bool
    #: Of a click: the URL, shortened.
    link: str


_data = msgspec.json.Decoder(_Data)


def read_engagement(event: Event) -> Engagement | None:
    """Return what a person did with a message of a campaign; None for an event about another message."""
    if b'"occurrence_id"' not in event.data:
        return None
    try:
        data = _data.decode(event.data)
        message = data.message
        if message is None or message.occurrence_id is None:
            return None
        occurrence_id = internal("occ", message.occurrence_id)
    except (msgspec.DecodeError, Error):
        # An event of a client may have any contents.
        return None
    kind = ENGAGEMENTS[event.type]
    if event.type == "message.clicked" and _LEAVES.search(data.url or ""):
        return None
    link = (data.url or "")[:LONGEST_LINK] if kind == "clicked" else ""
    return Engagement(occurrence_id, event.profile_id, message.variant, kind, event.occurred_at, data.machine, link)
