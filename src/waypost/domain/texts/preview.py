"""Preview a text that another tool requests: the request with its weak spots, and the message as it is sent."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from waypost.domain.messaging.sms import SmsMeasure, measure
from waypost.domain.templates.liquid.context import UndefinedVariable
from waypost.domain.texts.request import TextRequest
from waypost.domain.texts.status import TextStatus
from waypost.domain.texts.webhook_body import compile_body
from waypost.errors import Error

#: Why the API gives each of its answers.
EXPLANATIONS = {
    TextStatus.PENDING_TO_SEND: "The number is subscribed, so the text is sent.",
    TextStatus.NOT_FOUND: "No subscription is known for the number, so the text is not sent.",
    TextStatus.NOT_SUBSCRIBED: "The number is known and not subscribed, so the text is not sent.",
    TextStatus.FAILED_TO_MATCH: "The email leads to no person with a number, or to too many numbers, so the text is "
    "not sent.",
}


class BodyWarning(msgspec.Struct, frozen=True):
    """A value that breaks the body, or changes its meaning."""

    #: Where it stands, such as `body.callbackData.name`.
    field: str
    detail: str


class RenderedBody(msgspec.Struct, frozen=True):
    """The body of a webhook for one person."""

    #: Exactly as it is sent.
    text: str
    undefined: list[UndefinedVariable]
    warnings: list[BodyWarning]


class TextMessage(msgspec.Struct, frozen=True):
    """The message as it is sent."""

    text: str
    #: Where its links lead, in their order, with the parameters that they get.
    links: list[str]
    media_url: str | None
    sms: SmsMeasure


def render_body(source: str | dict[str, Any], values: Mapping[str, Any], now: int) -> RenderedBody:
    """Render a body as Klaviyo does: values are put into it as they are. Raise Invalid if its tags are not valid."""
    body = compile_body(source, plain=True)
    text = body.render(values, now)
    return RenderedBody(text, body.undefined(values, now), _find_warnings(source, text, values, now))


def preview_message(request: TextRequest, text: str, links: Sequence[str]) -> TextMessage:
    """Return the message of a request: its text, with a short link as long as each real one, and where they lead."""
    return TextMessage(text, list(links), request.media_url or None, measure(text))


def redirect_body(text: str, number: str) -> str:
    """Return the body with the number in place of `phone` and `email`. What is no JSON object stays as it is."""
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return json.dumps({**given, "phone": number, "email": ""}) if isinstance(given, dict) else text


def _find_warnings(source: str | dict[str, Any], text: str, values: Mapping[str, Any], now: int) -> list[BodyWarning]:
    """Return the fields whose values make the body other than it would be if they were escaped."""
    try:
        escaped = compile_body(source)
        meant = json.loads(escaped.render(values, now))
        fields = escaped.unsafe_fields(values, now)
    except Error:
        # Tags outside of strings: there is no escaped form to compare with.
        return []
    broken = None
    try:
        if json.loads(text) == meant:
            return []
    except (ValueError, RecursionError) as error:
        broken = str(error)
    effect = f"the body is then not JSON ({broken})" if broken else "the body then means something else"
    return [
        BodyWarning(
            field,
            f"A value in {field} contains a quote, a backslash or a line break. Klaviyo does not escape it: {effect}.",
        )
        for field in fields
    ]
