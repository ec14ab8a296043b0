"""The request for a message: its fields, and the checks of its content, address, time and metadata."""

import re
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from waypost.clock import DAY
from waypost.domain.messaging.message import Content
from waypost.domain.messaging.mime import check_address, check_header, check_mail_headers, parse_sender
from waypost.domain.values.times import parse_time
from waypost.errors import Error, Invalid

#: How far ahead a message may be scheduled.
FARTHEST = 366 * DAY
LONGEST_VALIDITY_S = 7 * 86_400
LONGEST_SMS = 1600
LONGEST_ADDRESS = 320

#: The texts of a content. PostgreSQL and the providers accept no U+0000 in them.
_TEXTS = ("text", "click_url", "subject", "preheader", "html", "metric")
#: A date and time with a time zone.
_ZONED = re.compile(r".+[Tt ].+(?:[Zz]|[+-][0-9]{2}:?(?:[0-9]{2})?)")
_encode = msgspec.json.Encoder().encode

Text = Annotated[str, Meta(max_length=1_000_000)]
Short = Annotated[str, Meta(max_length=1000)]
Tree = dict[str, Any]


class MessageRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A request to send a message to an address or a profile, with a template or with its own content.

    Its own content is Liquid if the request names a profile, variables or MJML; otherwise it is sent verbatim.
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
    track_opens: (
        Annotated[bool, Meta(description="Whether an email has a pixel; the default is that of the workspace.")] | None
    ) = None
    track_clicks: (
        Annotated[bool, Meta(description="Whether its links are tracked; the default is that of the workspace.")] | None
    ) = None
    strict: Annotated[bool, Meta(description="Refuse it when a variable is not defined.")] | None = None


def content_fields(request: MessageRequest) -> dict[str, Any]:
    """Return the content fields that the request sets, by name."""
    named = {
        "text": request.text,
        "media_urls": request.media_urls,
        "click_url": request.click_url,
        "subject": request.subject,
        "preheader": request.preheader,
        "html": request.html,
        "mjml": request.mjml,
        "sender": request.sender,
        "reply_to": request.reply_to,
        "headers": request.headers,
        "metric": request.metric,
        "properties": request.properties,
    }
    return {name: value for name, value in named.items() if value is not None}


def is_verbatim(request: MessageRequest) -> bool:
    """Return whether the content is sent verbatim, without rendering it as Liquid."""
    liquid = (request.template_id, request.profile_id, request.variables, request.mjml)
    return all(given is None for given in liquid)


def check_content(channel: str, content: Content) -> None:
    """Raise Invalid, with `field`, if the content lacks a field that the channel needs or has one that is not valid."""
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
    """Raise Invalid (`field` is `to`) unless this is an email address that Waypost sends to."""
    _check_field("to", check_address, address)


def _check_field(field: str, check: Callable[..., object], *given: Any) -> None:
    try:
        check(*given)
    except Invalid as error:
        raise Invalid(error.detail, code=error.code, field=field) from error


def read_due_at(request: MessageRequest, now: int) -> int:
    """Return `send_at` in microseconds, and `now` for none or one in the past. Raise Invalid if it is not valid."""
    if request.send_at is None:
        return now
    try:
        at = parse_time(request.send_at)
    except Error as error:
        raise _invalid_time() from error
    if not _ZONED.fullmatch(request.send_at):
        raise _invalid_time()
    if at > now + FARTHEST:
        raise Invalid("send_at may be at most 366 days ahead.", code="invalid_message", field="send_at")
    return max(at, now)


def _invalid_time() -> Invalid:
    return Invalid(
        "send_at must be a time with a time zone, such as 2026-12-24T18:00:00Z or 2026-12-24T18:00:00+01:00.",
        code="invalid_message",
        field="send_at",
    )


def read_metadata(given: Tree | None) -> str:
    """Return the metadata as a JSON text. Raise Invalid if it is longer than 4096 characters."""
    if not given:
        return "{}"
    text = _encode(given).decode()
    if len(text) > 4096:
        raise Invalid(
            "The metadata of a message may have at most 4096 bytes as JSON.", code="invalid_message", field="metadata"
        )
    return text


def read_campaign(given: str | None) -> str:
    """Return the campaign name, or an empty text for none. Raise Invalid for characters that are not printable."""
    if given and not given.isprintable():
        raise Invalid(
            "A campaign name may contain only printable characters.", code="invalid_message", field="campaign"
        )
    return given or ""
