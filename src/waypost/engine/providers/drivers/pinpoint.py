"""The Pinpoint driver: send SMS to up to a hundred addresses in one SendMessages call, each with its own text."""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from waypost.domain.messaging import failure_codes
from waypost.domain.messaging.message import Outgoing, SendOutcome, Verdict
from waypost.domain.providers.connection import Connection
from waypost.domain.providers.setup_checks import BROKEN, THROTTLED, CallResult
from waypost.domain.values.ids import public
from waypost.domain.values.retry import retry_after
from waypost.engine.net.request import Request, Response
from waypost.engine.providers.drivers.aws import Target, read_call_result, signed_request

CALLS_PER_SLOT = 1
#: The most addresses in one call (Pinpoint API reference, MessageRequest).
MOST_ADDRESSES = 100

SEND_MESSAGES = Target(
    "mobiletargeting:SendMessages",
    "pinpoint",
    "POST",
    "/v1/apps/{}/messages",
    content_type="application/json",
)

#: By DeliveryStatus (from the model of the API): the outcome, the failure code, the reason, and the suppression.
_STATUSES: dict[str, tuple[SendOutcome, int | None, str | None, str | None]] = {
    "SUCCESSFUL": (SendOutcome.ACCEPTED, None, None, None),
    "DUPLICATE": (SendOutcome.REJECTED, failure_codes.DUPLICATE, "duplicate", None),
    "OPT_OUT": (SendOutcome.REJECTED, failure_codes.OTHER, "opted_out", "opted_out"),
    "PERMANENT_FAILURE": (SendOutcome.REJECTED, failure_codes.OTHER, "permanent", None),
    # Pinpoint documents that it does not retry these two itself.
    "TEMPORARY_FAILURE": (SendOutcome.RETRY, failure_codes.UNDELIVERED, "temporary", None),
    "THROTTLED": (SendOutcome.RETRY, failure_codes.THROTTLED, "throttled", None),
    "UNKNOWN_FAILURE": (SendOutcome.REJECTED, failure_codes.OTHER, "unknown", None),
}
_BY_NUMBER = (SendOutcome.REJECTED, failure_codes.INVALID_NUMBER, "invalid_number", None)
_TYPES = {"transactional": "TRANSACTIONAL", "promotional": "PROMOTIONAL"}
_NUMBER = re.compile(r"phone|number|e\.164", re.IGNORECASE)
_SENDER = re.compile(r"originat|sender", re.IGNORECASE)
_encode = msgspec.json.Encoder().encode


class _Address(msgspec.Struct, rename="pascal"):
    """The message to one address (AddressConfiguration)."""

    body_override: str
    context: dict[str, str]
    channel_type: str = "SMS"


class _Entry(msgspec.Struct, rename="pascal"):
    """The result for one address (MessageResult)."""

    delivery_status: str = ""
    status_message: str | None = None
    message_id: str | None = None


class _SendMessagesResponse(msgspec.Struct, rename="pascal"):
    """The body of a response with status 200 (MessageResponse)."""

    result: dict[str, _Entry]


class _LooseResponse(msgspec.Struct, rename="pascal"):
    """The same, with entries that are decoded one by one, because some cannot be."""

    result: dict[str, msgspec.Raw]


_decode_response = msgspec.json.Decoder(_SendMessagesResponse).decode
_decode_loose = msgspec.json.Decoder(_LooseResponse).decode
_decode_entry = msgspec.json.Decoder(_Entry).decode


def together(messages: list[Outgoing]) -> list[bool]:
    """Return for each message whether it goes into the same call as the first.

    Purpose and media apply to a whole call, so they must be the same. An address can occur only once in a call.
    """
    first = messages[0]
    purpose, media = first.purpose, first.content.media_urls
    seen: set[str] = set()
    chosen = []
    for message in messages:
        fits = (
            message.address not in seen
            and message.purpose == purpose
            and message.content.media_urls == media
            and len(seen) < MOST_ADDRESSES
        )
        if fits:
            seen.add(message.address)
        chosen.append(fits)
    return chosen


def prepare(
    connection: Connection, messages: list[Outgoing], callback_url: Callable[[Connection], str], now: int
) -> Request:
    """Return the signed SendMessages request for those of the messages that go into one call (`together`).

    The request is sent at most once: SendMessages has no idempotency token.
    """
    config = connection.config
    first = messages[0]
    fits = together(messages)
    chosen = messages if all(fits) else [message for message, one in zip(messages, fits, strict=True) if one]
    addresses = {
        message.address: _Address(message.content.text, {"mid": public("msg", message.id)}) for message in chosen
    }
    sms: dict[str, Any] = {"MessageType": _TYPES.get(first.purpose) or _default_type(config)}
    text = first.content.text
    if all(message.content.text == text for message in chosen):
        # If all have the same text, send it as the common text too, so that no address can get another one's.
        sms["Body"] = text
    for name, key in (
        ("SenderId", "sender_id"),
        ("OriginationNumber", "origination_number"),
        ("EntityId", "entity_id"),
        ("TemplateId", "template_id"),
    ):
        if config.get(key):
            sms[name] = str(config[key])
    if first.content.media_urls:
        sms["MediaUrl"] = first.content.media_urls[0]
    body = _encode({"Addresses": addresses, "MessageConfiguration": {"SMSMessage": sms}})
    request = signed_request(
        SEND_MESSAGES,
        config,
        now,
        body,
        str(config["project_id"]),
        timeout_ms=connection.connector.timeout_ms,
    )
    request.once = True
    return request


def _default_type(config: dict[str, Any]) -> str:
    return str(config.get("message_type") or "PROMOTIONAL").upper()


def read(connection: Connection, messages: list[Outgoing], response: Response, now: int) -> list[Verdict]:
    """Return a verdict for each message, in order; never raises, for any response.

    Messages that did not go into the call are to be sent again at once.
    """
    fits = together(messages)
    if response.status != 200:
        one = _judge_call(response, now)
        return [one if fit else _NOT_IN_CALL for fit in fits]
    entries = _entries(response.body)
    if entries is None:
        return [_UNREADABLE if fit else _NOT_IN_CALL for fit in fits]
    return [
        _judge_entry(entries.get(message.address)) if fit else _NOT_IN_CALL
        for message, fit in zip(messages, fits, strict=True)
    ]


def divisible(messages: list[Outgoing], response: Response) -> bool:
    """Return whether one of several messages may have made Pinpoint refuse the call, so that halves may be sent."""
    if len(messages) < 2 or response.status not in (400, 413):
        return False
    return _judge_call(response, 0).outcome is SendOutcome.REJECTED


_NOT_IN_CALL = Verdict(outcome=SendOutcome.RETRY, code=failure_codes.OTHER, reason="not_alike", retry_after=0)
_UNREADABLE = Verdict(
    outcome=SendOutcome.UNKNOWN,
    code=failure_codes.OTHER,
    reason="no_answer",
    detail="Pinpoint responded with status 200 and an unknown body",
)
_NO_ENTRY = Verdict(
    outcome=SendOutcome.UNKNOWN,
    code=failure_codes.OTHER,
    reason="no_answer",
    detail="the response of Pinpoint has no result for this address",
)


def _entries(body: bytes) -> dict[str, _Entry | None] | None:
    """Return the entries of a response by address, None for one that cannot be decoded; None if the body cannot be."""
    try:
        return dict(_decode_response(body).result)
    except (msgspec.DecodeError, RecursionError, ValueError):
        pass
    try:
        loose = _decode_loose(body).result
    except (msgspec.DecodeError, RecursionError, ValueError):
        return None
    return {address: _entry(raw) for address, raw in loose.items()}


def _entry(raw: msgspec.Raw) -> _Entry | None:
    try:
        return _decode_entry(raw)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return None


def _judge_entry(entry: _Entry | None) -> Verdict:
    if entry is None:
        return _NO_ENTRY
    status = entry.delivery_status
    known = _STATUSES.get(status)
    detail = entry.status_message[:500] if entry.status_message else None
    message_id = entry.message_id[:200] if entry.message_id else None
    if known is None:
        return Verdict(
            outcome=SendOutcome.UNKNOWN,
            code=failure_codes.OTHER,
            reason="unrecognised",
            provider_code=status[:100] or None,
            detail=detail,
            provider_message_id=message_id,
        )
    if known[0] is SendOutcome.ACCEPTED:
        return Verdict(outcome=SendOutcome.ACCEPTED, provider_message_id=message_id)
    if status == "PERMANENT_FAILURE" and detail and _about_number(detail):
        known = _BY_NUMBER
    outcome, code, reason, suppress = known
    return Verdict(
        outcome=outcome,
        code=code,
        reason=reason,
        provider_code=status,
        detail=detail,
        provider_message_id=message_id,
        suppress=suppress,
    )


def _about_number(detail: str) -> bool:
    """Return whether an error text of Pinpoint is about the recipient's number, and not about the sender's."""
    return _NUMBER.search(detail) is not None and _SENDER.search(detail) is None


def _judge_call(response: Response, now: int) -> Verdict:
    """Return what a response other than 200, or its absence, means for every message of the call."""
    result = read_call_result(response)
    status, error = result.status, result.error
    if status is None:
        return _judge_no_response(result, response)
    if status == 429 or error in THROTTLED:
        outcome, code, reason = SendOutcome.RETRY, failure_codes.THROTTLED, "throttled"
    elif error in BROKEN or status in (500, 503):
        # "Unexpected internal errors" (reference of the API): AWS does not say that nothing was sent, and SendMessages
        # has no idempotency token.
        outcome, code, reason = SendOutcome.UNKNOWN, failure_codes.OTHER, "provider_5xx"
    elif status >= 500 or status < 300:
        # A proxy in between timed out or responded itself: Pinpoint may have accepted the messages.
        outcome, code, reason = SendOutcome.UNKNOWN, failure_codes.OTHER, "no_answer"
    elif error in ("PayloadTooLargeException", "RequestEntityTooLarge") or status == 413:
        outcome, code, reason = SendOutcome.REJECTED, failure_codes.OTHER, "too_large"
    elif error in ("BadRequestException", "ValidationException") or (status in (400, 422) and error is None):
        outcome, code, reason = SendOutcome.REJECTED, failure_codes.OTHER, "bad_request"
    else:
        # Keys, permissions, region, project or the clock are wrong: the next call would be refused as well.
        outcome, code, reason = SendOutcome.MISCONFIGURED, None, "configuration"
    # Pinpoint sends no Retry-After; a proxy in front of it may.
    wait = next((value for name, value in response.headers if name == "retry-after"), None)
    return Verdict(
        outcome=outcome,
        code=code,
        reason=reason,
        provider_code=error or f"http_{status}",
        detail=result.message,
        retry_after=retry_after(wait, now) if outcome is SendOutcome.RETRY else None,
    )


def _judge_no_response(result: CallResult, response: Response) -> Verdict:
    trouble = result.trouble or ""
    detail = trouble[:500]
    if trouble.startswith("address_forbidden"):
        return Verdict(outcome=SendOutcome.MISCONFIGURED, reason="configuration", detail=detail)
    if not response.sent:
        return Verdict(outcome=SendOutcome.RETRY, code=failure_codes.OTHER, reason="unreachable", detail=detail)
    return Verdict(outcome=SendOutcome.UNKNOWN, code=failure_codes.OTHER, reason="no_answer", detail=detail)
