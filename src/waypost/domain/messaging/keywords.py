"""What people answer to text messages: the words that end and start a subscription, and whatever else they write."""

from typing import Any

import msgspec

from waypost.domain.messaging.message import Receipt
from waypost.domain.messaging.receipt import tidy

#: The words that US carriers and their industry body ask senders to obey (CTIA), with those that rules of the FCC of
#: 2025 added. Each counts only as the whole message.
STOP = frozenset(
    {"stop", "stopall", "stop all", "unsubscribe", "cancel", "end", "quit", "revoke", "optout", "opt out", "opt-out"}
)
START = frozenset({"start", "yes", "unstop"})
HELP = frozenset({"help", "info"})

_WORDS = dict.fromkeys(STOP, "stop") | dict.fromkeys(START, "start") | dict.fromkeys(HELP, "help")
_LONGEST = max(map(len, _WORDS))
#: What people put around a word without meaning anything by it.
_AROUND = " \t\r\n\f\v\xa0\u200b\u200e\u200f\ufeff\"'`\u2018\u2019\u201c\u201d.,;:!?\u2026*()[]"


def keyword(text: str) -> str | None:
    """stop, start or help when a whole message is one such word; None otherwise.

    Case, blanks and punctuation around the word do not matter. A word within a sentence never counts: "stop by
    tomorrow" is no wish to be left alone.
    """
    # Long texts are not looked at: no blanks make a keyword of what goes on for lines.
    if len(text) > 160:
        return None
    word = text.strip(_AROUND)
    if not word or len(word) > _LONGEST:
        return None
    return _WORDS.get(" ".join(word.casefold().split()))


def meant(text: str, word: str | None) -> str | None:
    """Return the keyword of a text, or the one that the provider found in it; STOP wins when either says so."""
    own = keyword(text)
    return own if own == "stop" else word or own


class Inbound(msgspec.Struct, rename="camel"):
    """A text message that came in, as AWS tells of it: the `Message` of a two-way number's SNS topic."""

    origination_number: str
    destination_number: str
    message_body: str = ""
    message_keyword: str | None = None
    inbound_message_id: str | None = None
    #: The message that it answers, as far as AWS can tell.
    previous_published_message_id: str | None = None


_inbound = msgspec.json.Decoder(Inbound)


def read_inbound(data: bytes, workspace_id: int, connection_id: int, now: int) -> Receipt | None:
    """The receipt of a text message that came in through AWS; None when the JSON object is something else.

    Its time is `now` (microseconds), since AWS gives none.
    """
    try:
        found = _inbound.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return inbound_receipt(
        workspace_id,
        connection_id,
        now,
        text=found.message_body,
        address=found.origination_number,
        own_address=found.destination_number,
        receipt_id=found.inbound_message_id,
        answers=found.previous_published_message_id,
    )


def inbound_receipt(
    workspace_id: int,
    connection_id: int,
    at: int,
    *,
    text: str,
    address: str,
    own_address: str | None,
    receipt_id: str | None,
    answers: str | None = None,
    word: str | None = None,
    properties: dict[str, Any] | None = None,
) -> Receipt:
    """Return the receipt of what a person wrote.

    `answers` is the provider's id of the message that it answers, `word` the keyword that the provider found in it.
    """
    return tidy(
        Receipt(
            workspace_id=workspace_id,
            connection_id=connection_id,
            kind="inbound",
            receipt_id=receipt_id or None,
            provider_message_id=answers or None,
            occurred_at=at,
            address=address,
            own_address=own_address or None,
            text=text,
            keyword=word,
            properties=properties or {},
        )
    )
