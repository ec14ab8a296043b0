"""A message as somebody asks for it: what can be said, and what is wrong with it."""

import re
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from waypost.clock import DAY
from waypost.domain.events.segment import parse_time
from waypost.domain.messaging.message import Content
from waypost.domain.messaging.mime import check_address, check_header, check_mail_headers, parse_sender
from waypost.errors import Error, Invalid

#: How far ahead a message may be scheduled.
FARTHEST = 366 * DAY
LONGEST_VALIDITY_S = 7 * 86_400
LONGEST_SMS = 1600
LONGEST_ADDRESS = 320

#: The texts of a content, which no database and no provider takes with a NUL in them.
_TEXTS = ("text", "click_url", "subject", "preheader", "html", "metric")
#: A time of day with its zone.
_ZONED = re.compile(r".+[Tt ].+(?:[Zz]|[+-][0-9]{2}:?(?:[0-9]{2})?)")
_encode = msgspec.json.Encoder().encode

Text = Annotated[str, Meta(max_length=1_000_000)]
Short = Annotated[str, Meta(max_length=1000)]
Tree = dict[str, Any]


class MessageRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A message that somebody wants sent: to an address or a profile, with a template or with content of its own.

    Content of its own is Liquid when it goes to a profile or comes with variables, and goes out as it is otherwise.
    """

    channel: Annotated[str, Meta(pattern="^(sms|email|event)$")] | None = None
    to: Annotated[str, Meta(max_length=LONGEST_ADDRESS, description="A phone number, or an email address.")] | None = (
        None
    )
    profile_id: str | None = None
    template_id: str | None = None
    variant: Short | None = None
    variables: Tree | None = None
    event: Annotated[Tree, Meta(description="What a template sees as `event`.")] | None = None
    text: Text | None = None
    media_urls: Annotated[list[Short], Meta(max_length=10)] | None = None
    click_url: Short | None = None
    subject: Short | None = None
    preheader: Short | None = None
    html: Text | None = None
    mjml: Text | None = None
    sender: Short | None = None
    reply_to: Short | None = None
    headers: dict[str, str] | None = None
    metric: Short | None = None
    properties: Tree | None = None
    connection_id: str | None = None
    purpose: Annotated[str, Meta(pattern="^(transactional|promotional)$")] | None = None
    campaign: Annotated[str, Meta(max_length=100)] | None = None
    metadata: Tree | None = None
    send_at: str | None = None
    validity: (
        Annotated[int, Meta(ge=5, le=LONGEST_VALIDITY_S, description="Seconds in which it may be tried.")] | None
    ) = None
    test: bool | None = None
    strict: Annotated[bool, Meta(description="Refuse it when a variable is not defined.")] | None = None


def content_fields(wanted: MessageRequest) -> dict[str, Any]:
    """The content that comes with a message."""
    named = {
        "text": wanted.text,
        "media_urls": wanted.media_urls,
        "click_url": wanted.click_url,
        "subject": wanted.subject,
        "preheader": wanted.preheader,
        "html": wanted.html,
        "mjml": wanted.mjml,
        "sender": wanted.sender,
        "reply_to": wanted.reply_to,
        "headers": wanted.headers,
        "metric": wanted.metric,
        "properties": wanted.properties,
    }
    return {name: value for name, value in named.items() if value is not None}


def is_verbatim(wanted: MessageRequest) -> bool:
    """Whether the content goes out as it is."""
    liquid = (wanted.template_id, wanted.profile_id, wanted.variables, wanted.mjml)
    return all(given is None for given in liquid)


def check_content(channel: str, content: Content) -> None:
    """Whether a channel can carry it; Invalid with the field that is missing, malformed or too long."""
    for field in _TEXTS:
        if "\0" in getattr(content, field):
            raise Invalid(f"{field} contains the character U+0000; remove it.", code="invalid_text", field=field)
    if any("\0" in url for url in content.media_urls):
        raise Invalid("media_urls contains the character U+0000; remove it.", code="invalid_text", field="media_urls")
    if channel == "sms":
        if not content.text.strip() and not content.media_urls:
            raise Invalid("A text message needs `text`.", code="invalid_message", field="text")
        if len(content.text) > LONGEST_SMS:
            raise Invalid(
                f"The text has {len(content.text)} characters; providers take up to {LONGEST_SMS}.",
                code="text_too_long",
                field="text",
            )
    elif channel == "email":
        if not content.subject.strip():
            raise Invalid("An email needs a `subject`.", code="invalid_message", field="subject")
        if not content.text and not content.html:
            raise Invalid("An email needs `html` or `text`.", code="invalid_message", field="html")
        _check_field("subject", check_header, "Subject", content.subject)
        if content.sender:
            _check_field("sender", parse_sender, content.sender)
        if content.reply_to:
            _check_field("reply_to", parse_sender, content.reply_to)
        if content.headers:
            _check_field("headers", check_mail_headers, content.headers)
    elif not content.metric:
        raise Invalid("An event needs a `metric`.", code="invalid_message", field="metric")


def check_mail_address(address: str) -> None:
    """Invalid for an address that no mail server would be asked to take."""
    _check_field("to", check_address, address)


def _check_field(field: str, check: Callable[..., object], *given: Any) -> None:
    try:
        check(*given)
    except Invalid as error:
        raise Invalid(error.detail, code=error.code, field=field) from error


def read_due_at(wanted: MessageRequest, now: int) -> int:
    """When it is to be sent, in microseconds; a time that is over is now. Invalid for no time, or one too far off."""
    if wanted.send_at is None:
        return now
    try:
        at = parse_time(wanted.send_at)
    except Error as error:
        raise _no_time() from error
    if not _ZONED.fullmatch(wanted.send_at):
        raise _no_time()
    if at > now + FARTHEST:
        raise Invalid("send_at is at most a year ahead.", code="invalid_message", field="send_at")
    return max(at, now)


def _no_time() -> Invalid:
    return Invalid(
        "send_at is a time with its zone, such as 2026-12-24T18:00:00Z or 2026-12-24T18:00:00+01:00.",
        code="invalid_message",
        field="send_at",
    )


def read_metadata(given: Tree | None) -> str:
    """The metadata as JSON; Invalid when there is too much of it."""
    if not given:
        return "{}"
    text = _encode(given).decode()
    if len(text) > 4096:
        raise Invalid("The metadata of a message has at most 4096 bytes.", code="invalid_message", field="metadata")
    return text


def read_campaign(given: str | None) -> str:
    """The name of the campaign, empty for none; Invalid when it has characters that nobody sees."""
    if given and not given.isprintable():
        raise Invalid(
            "A campaign's name has only characters that can be seen.", code="invalid_message", field="campaign"
        )
    return given or ""
