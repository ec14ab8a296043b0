"""Texts of the text-message API before they are live: preview a webhook body, and send it to a given number."""

from typing import Annotated, Any

import msgspec
from litestar import Response, post
from litestar.di import NamedDependency
from msgspec import Meta

from waypost.api.control.calls import KEYLESS, NAMES, Call, permit
from waypost.api.edge.texts import PATH
from waypost.api.problems import problem
from waypost.domain.messaging.sms import SmsMeasure
from waypost.domain.templates.liquid.context import UndefinedVariable
from waypost.domain.templates.template import context_of
from waypost.domain.texts.client import TextClient
from waypost.domain.texts.preview import (
    EXPLANATIONS,
    BodyWarning,
    RenderedBody,
    preview_message,
    redirect_body,
    render_body,
)
from waypost.domain.texts.request import BODY_BYTES, TextRequest, read_text_request
from waypost.domain.texts.status import TextStatus
from waypost.domain.values.contacts import normal_phone
from waypost.domain.values.ids import internal
from waypost.engine.templates import templates
from waypost.engine.texts import clients
from waypost.engine.texts.area import TextAccepted
from waypost.engine.texts.preview import predict
from waypost.errors import Error, Invalid, TooLarge

#: Stands for what is not known before the request: the id of the message, and the secret, which is not stored.
UNKNOWN_ID, UNKNOWN_SECRET = "msg_…", "…"

_encode = msgspec.json.Encoder().encode


class PreviewText(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of a webhook, and the data to render it with."""

    client_id: Annotated[str, Meta(description="The text client that sends the request, `tcl_…`.")]
    body: Annotated[
        str | dict[str, Any],
        Meta(description="The body as it is typed into Klaviyo, or a JSON object with tags in its strings."),
    ]
    profile_id: Annotated[str | None, Meta(description="The id of the profile to render for.")] = None
    person: Annotated[dict[str, Any] | None, Meta(description="The value of `person`, instead of a profile.")] = None
    event_id: Annotated[str | None, Meta(description="The id of the event to render with.")] = None
    event: Annotated[dict[str, Any] | None, Meta(description="The value of `event`, instead of an event id.")] = None


class TrialText(PreviewText, forbid_unknown_fields=True, kw_only=True):
    """The body of a webhook, the data to render it with, and the number that gets the text."""

    to: Annotated[
        str, Meta(description="The number that gets the text instead of the `phone` and `email` of the body.")
    ]


class PreviewedRequest(msgspec.Struct, kw_only=True):
    """The request that Klaviyo makes."""

    method: str
    url: str
    #: Without the secret, which is not stored.
    headers: dict[str, str]
    body: str


class PredictedResponse(msgspec.Struct, kw_only=True):
    """The response to the request."""

    status: int
    body: dict[str, Any]
    #: Why it is this one.
    explanation: str


class PreviewedText(msgspec.Struct, kw_only=True):
    """The message that is sent."""

    #: The number, if one was found.
    to: str | None
    text: str
    #: Handed to the provider beside the text.
    #: Where its links lead, in their order, with the parameters that they get.
    links: list[str]
    media_url: str | None
    #: The encoding, the length and the number of parts.
    sms: SmsMeasure


class TextPreview(msgspec.Struct, kw_only=True):
    """What becomes of a webhook body for one person."""

    request: PreviewedRequest
    #: Variables that the body outputs and that are not defined; they are empty.
    undefined: list[UndefinedVariable]
    #: Values that break the body, or change its meaning.
    warnings: list[BodyWarning]
    response: PredictedResponse
    #: Null if the body is not a valid request.
    message: PreviewedText | None


@post("/v1/text/preview", status_code=200, summary="Preview a text", opt={"body": PreviewText, **KEYLESS, **NAMES})
async def preview_text(call: NamedDependency[Call]) -> TextPreview:
    """Renders a webhook body as Klaviyo does, and shows the request, the response and the message. Nothing is sent."""
    given = await call.body(PreviewText)
    client = await _find_client(call, given.client_id)
    rendered = await _render(call, given)
    message: PreviewedText | None = None
    try:
        request = _read(rendered.text)
        shown = preview_message(request, *call.engine.texts.preview_links(client, request))
        message = PreviewedText(to=request.phone or None, **msgspec.structs.asdict(shown))
        text = await call.engine.texts.prepare(client, request)
        found = await call.read(predict, text, call.now)
        message.to = found.address or None
        response = _accepted(found.status)
    except Error as error:
        response = _refused(error)
    return TextPreview(
        request=_request(call, client, rendered.text),
        undefined=rendered.undefined,
        warnings=rendered.warnings,
        response=response,
        message=message,
    )


@post("/v1/text/test", status_code=200, summary="Send a text to try it out", opt={"body": TrialText, **NAMES})
async def send_trial_text(call: NamedDependency[Call]) -> Response[TextAccepted]:
    """Renders a webhook body as Klaviyo does and sends the text to the given number, as often as you like."""
    given = await call.body(TrialText)
    number = normal_phone(given.to)
    if number is None:
        raise Invalid(
            f"{given.to[:40]!r} is not a phone number in international format, such as +12025550101.",
            code="invalid_phone",
            field="to",
        )
    client = await _find_client(call, given.client_id)

    async def work() -> TextAccepted:
        rendered = await _render(call, given)
        try:
            request = _read(redirect_body(rendered.text, number))
        except Error as error:
            # Without the values, nobody can tell why a body that looks right is refused.
            raise error.copy(warnings=rendered.warnings, body=rendered.text[:2000]) from error
        return await call.engine.texts.send(client, request, test=True)

    return await call.perform_outside(200, work)


async def _find_client(call: Call, client_id: str) -> TextClient:
    record = await call.read(clients.find_client, call.workspace_id, internal("tcl", client_id))
    return clients.open_client(record)


async def _render(call: Call, given: PreviewText) -> RenderedBody:
    for one, other in (("profile_id", "person"), ("event_id", "event")):
        if getattr(given, one) is not None and getattr(given, other) is not None:
            raise Invalid(
                f"The body has both {one} and {other}. Give only one of them.", code="conflicting_fields", field=one
            )
    profile_id = None if given.profile_id is None else internal("pro", given.profile_id)
    event_id = None if given.event_id is None else internal("evt", given.event_id)
    seen = await call.read(templates.load_seen, call.workspace_id, profile_id, event_id)
    person = dict(given.person or seen.person)
    if "KlaviyoID" not in person and person.get("id"):
        # In Klaviyo every profile has one.
        person["KlaviyoID"] = person["id"]
    return render_body(given.body, context_of(person, given.event or seen.event, seen.organization), call.now)


def _read(text: str) -> TextRequest:
    body = text.encode("utf-8", "replace")
    if len(body) > BODY_BYTES:
        raise TooLarge(f"The body has {len(body)} bytes; at most {BODY_BYTES} are allowed.")
    return read_text_request(body)


def _request(call: Call, client: TextClient, body: str) -> PreviewedRequest:
    return PreviewedRequest(
        method="POST",
        url=f"{call.engine.settings.base_url}{PATH}",
        headers={
            "Content-Type": "application/json",
            "X-Client-ID": client.client_id,
            "X-Client-Secret": UNKNOWN_SECRET,
        },
        body=body,
    )


def _accepted(status: TextStatus) -> PredictedResponse:
    body = {"messageId": UNKNOWN_ID, "status": status.value}
    return PredictedResponse(status=200, body=body, explanation=EXPLANATIONS[status])


def _refused(error: Error) -> PredictedResponse:
    status, _, document = problem(error)
    return PredictedResponse(status=status, body=msgspec.json.decode(document), explanation=error.detail)


ROUTES = permit("messages", [preview_text, send_trial_text], write="messages.send")
