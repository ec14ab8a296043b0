"""Inbound text messages: the keywords STOP, START and HELP, and the receipt of an inbound message."""

import re
from typing import Any

import msgspec

from waypost.domain.messaging.message import Receipt
from waypost.domain.messaging.receipt import clean_receipt

#: The opt-out keywords of the CTIA messaging principles, and those that the FCC rules of 2025 added. A keyword counts
#: only as the whole message.
STOP = frozenset(
    {"stop", "stopall", "stop all", "unsubscribe", "cancel", "end", "quit", "revoke", "optout", "opt out", "opt-out"}
)
START = frozenset({"start", "yes", "unstop"})
HELP = frozenset({"help", "info"})

_WORDS = dict.fromkeys(STOP, "stop") | dict.fromkeys(START, "start") | dict.fromkeys(HELP, "help")
_LONGEST = max(map(len, _WORDS))
#: What a text contains that says how to opt out: a keyword to reply with, or a link.
_SAYS_SO = re.compile(r"\b(?:STOP|(?i:stop to|unsubscribe|opt[ -]?out))\b|/u/(?:preview\b|[\w-]{40})", re.ASCII)
#: Characters around a keyword that do not change its meaning.
_AROUND = " \t\r\n\f\v\xa0\u200b\u200e\u200f\ufeff\"'`\u2018\u2019\u201c\u201d.,;:!?\u2026*()[]"


def keyword(text: str) -> str | None:
    """Return `stop`, `start` or `help` if a whole message is one of the keywords, else None.

    Case, and white space and punctuation around the keyword, do not matter. A keyword within a sentence does not
    count: "stop by tomorrow" is not an opt-out.
    """
    # A long text is never a keyword, so it is not searched.
    if len(text) > 160:
        return None
    word = text.strip(_AROUND)
    if not word or len(word) > _LONGEST:
        return None
    return _WORDS.get(" ".join(word.casefold().split()))


def effective_keyword(text: str, word: str | None) -> str | None:
    """Return the keyword of a text, or else the one that the provider recognised in it. `stop` from either wins."""
    own = keyword(text)
    return own if own == "stop" else word or own


def with_opt_out(text: str, line: str) -> str:
    """Return a text with a line at its end that says how to opt out, unless the text says so already."""
    if not line or not text.strip() or _SAYS_SO.search(text) is not None or line in text:
        return text
    return f"{text.rstrip()}\n{line}"


class InboundSms(msgspec.Struct, rename="camel"):
    """An inbound text message as AWS End User Messaging publishes it to the SNS topic of a two-way number."""

    origination_number: str
    destination_number: str
    message_body: str = ""
    message_keyword: str | None = None
    inbound_message_id: str | None = None
    #: The message that it replies to, if AWS knows it.
    previous_published_message_id: str | None = None


_inbound = msgspec.json.Decoder(InboundSms)


def read_inbound(data: bytes, workspace_id: int, connection_id: int, now: int) -> Receipt | None:
    """Return the receipt of an inbound text message from AWS, or None if the JSON is something else.

    Its time is `now` (microseconds), since AWS sends none.
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
    """Return the receipt of an inbound text message; `at` is in microseconds.

    `answers` is the provider's id of the message that it replies to, `word` the keyword that the provider recognised.
    """
    return clean_receipt(
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
