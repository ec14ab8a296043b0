"""Simulates Wunderkind: text/message/send, and statuses sent as events of a Klaviyo metric."""

import asyncio
import itertools
from typing import Any

import msgspec

from waypost import clock
from waypost.sink.callbacks import Callback
from waypost.sink.context import Context, body, headers, read_settings
from waypost.sink.faulty_response import Response, json
from waypost.sink.http_connection import Request
from waypost.sink.providers.http_provider import (
    Secret,
    Tries,
    Url,
    Wait,
    admits,
    check_url,
    decode,
    finish,
    send_in_turn,
)
from waypost.sink.providers.klaviyo import REVISION
from waypost.sink.scenarios import Call, Reply

NAME = "wunderkind"
JSON = ("content-type", "application/json")
PROBLEM = ("content-type", "application/problem+json")
#: The default metric.
METRIC = "Message Status"
#: Wunderkind sends the same text for the same purpose to a person only once in this time.
ONCE_US = 24 * clock.HOUR
#: The most messages stored for that; beyond it the oldest are deleted.
REMEMBERED = 500_000

#: The statuses by step. Wunderkind sends nothing for other steps.
STATUSES: dict[str, tuple[str, ...]] = {
    "queued": ("PENDING_TO_SEND", "SENDING"),
    "sent": ("SENDING",),
    "delivered": ("DELIVERED",),
    "invalid": ("NOT_FOUND",),
    "opted_out": ("NOT_SUBSCRIBED",),
    "unknown": ("FAILED_TO_MATCH",),
    "invalid_message": ("FAILED_TO_SEND",),
    "blocked": ("FAILED_TO_SEND",),
    "max_price": ("FAILED_TO_SEND",),
    "unreachable": ("FAILED_TO_DELIVERY",),
    "carrier_unreachable": ("FAILED_TO_DELIVERY",),
    "carrier_blocked": ("FAILED_TO_DELIVERY",),
    "spam": ("FAILED_TO_DELIVERY",),
    "expired": ("FAILED_TO_DELIVERY",),
    "novel": ("TELEPORTED",),
}
#: Steps that occur before a message is queued, so `queued` is omitted.
BEFORE_QUEUED = frozenset({"invalid", "opted_out", "unknown"})
#: The error response by reply.
REFUSALS: dict[Reply, tuple[int, str, str]] = {
    Reply.INVALID: (422, "invalid_phone", "The phone number is not valid."),
    Reply.REJECTED: (422, "refused", "The message was rejected."),
    Reply.THROTTLED: (429, "too_many_requests", "At most 100 messages a second."),
    Reply.TEMPORARY: (503, "unavailable", "Temporarily unavailable. Retry later."),
    Reply.UNKNOWN: (500, "internal_error", "Internal error."),
    Reply.DUPLICATE: (409, "duplicate", "The recipient got the same message within 24 hours."),
}


class WunderkindSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings."""

    #: The accepted credentials. If unset, any are accepted.
    client_id: Secret | None = None
    client_secret: Secret | None = None
    #: The base URL of a Klaviyo API that gets the statuses of messages, and the key for it.
    klaviyo_url: Url | None = None
    klaviyo_key: Secret = "pk_wunderkind"
    #: A second URL for the same events, and the secret sent with them.
    callback_url: Url | None = None
    callback_secret: Secret | None = None
    #: The most messages per second; those beyond it get 429.
    per_second: int | None = None
    #: Whether duplicates within 24 hours are refused.
    once: bool = True
    attempts: Tries = 5
    retry_base: Wait = 0.5


class Text(msgspec.Struct, kw_only=True, rename="camel"):
    """The request to send a message; all fields are strings."""

    phone: str = ""
    email: str = ""
    text: str = ""
    click_url: str | None = None
    media_url: str | None = None
    callback_data: str = ""
    send_purpose: str = ""


class Wunderkind:
    """The simulated client account."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._dice = context.scenarios.declare(NAME, ("unreachable", "invalid", "opted_out", "blocked"))
        self._settings = WunderkindSettings()
        self._numbers = itertools.count(1)
        #: When each recipient got each text for each purpose, in microseconds.
        self._had: dict[tuple[str, str, str], int] = {}
        self._second = 0
        self._in_second = 0

    def configure(self, given: object) -> None:
        """Apply settings, and delete the stored messages."""
        settings = read_settings(given, WunderkindSettings)
        check_url(settings.klaviyo_url, "klaviyo_url")
        check_url(settings.callback_url, "callback_url")
        self._settings = settings
        self._had.clear()
        self._second = 0

    def put_settings(self, request: Request) -> Response:
        """Apply settings, and return them."""
        self.configure(body(request))
        return self.get_settings(request)

    def get_settings(self, request: Request) -> Response:
        """Return the settings, without the secrets."""
        view = msgspec.to_builtins(self._settings)
        for name in ("client_secret", "klaviyo_key", "callback_secret"):
            del view[name]
        return json(view)

    def send(self, request: Request) -> Response:
        """Accept a message: return 200 and an id, or an error."""
        self._context.record(NAME, request)
        call = self._dice.call()
        now = clock.now_us()
        if call.status is not None:
            return _problem(call, call.status, "internal_error", "Internal error.")
        request_headers = headers(request)
        settings = self._settings
        known = admits(settings.client_id, request_headers.get("x-client-id"))
        if not admits(settings.client_secret, request_headers.get("x-client-secret")) or not known:
            return _problem(call, 401, "unauthorized", "X-Client-ID or X-Client-Secret is missing or not valid.")
        if self._is_too_fast(now):
            return _problem(call, *REFUSALS[Reply.THROTTLED], ("retry-after", "1"))
        try:
            text = decode(request.body, Text)
        except msgspec.ValidationError as error:
            return _problem(call, 422, "invalid_field", f"{error}.")
        except msgspec.DecodeError as error:
            return _problem(call, 400, "invalid_json", f"The body is not JSON: {error}.")
        data = read_callback_data(text.callback_data)
        fault = find_fault(text, data)
        if fault is not None or data is None:
            return _problem(call, 422, "invalid_field", fault or "callbackData is not valid.")
        return self._accept(text, data, call, now)

    def _is_too_fast(self, now: int) -> bool:
        second = now // clock.SECOND
        if second != self._second:
            self._second, self._in_second = second, 0
        self._in_second += 1
        return self._settings.per_second is not None and self._in_second > self._settings.per_second

    def _accept(self, text: Text, data: dict[str, Any], call: Call, now: int) -> Response:
        recipient = text.phone or text.email
        scenario = self._dice.message(recipient)
        if scenario.reply is Reply.ERROR:
            return _problem(call, self._dice.settings.error_status, "internal_error", "Internal error.")
        if scenario.reply in REFUSALS:
            after = self._dice.settings.retry_after
            more = [("retry-after", str(after))] if scenario.reply is Reply.THROTTLED and after else []
            return _problem(call, *REFUSALS[scenario.reply], *more)
        key = (recipient, text.send_purpose, text.text)
        if self._settings.once and now - self._had.get(key, now - ONCE_US) < ONCE_US:
            return _problem(call, *REFUSALS[Reply.DUPLICATE])
        if len(self._had) >= REMEMBERED:
            del self._had[next(iter(self._had))]
        self._had[key] = now
        message_id = f"wk-{next(self._numbers)}"
        self._context.sent_log.add(
            NAME, recipient, text.text, str(data.get("messageID", "")), message_id, scenario.word
        )
        # Wunderkind accepts a message to an opted-out person, and reports NOT_SUBSCRIBED later.
        steps = ("opted_out",) if scenario.reply is Reply.OPTED_OUT else scenario.steps
        asyncio.get_running_loop().call_later(scenario.delay, self._send_statuses, message_id, data, steps)
        return finish(200, [JSON], msgspec.json.encode({"messageId": message_id}), call, scenario.reply)

    def _send_statuses(self, message_id: str, data: dict[str, Any], steps: tuple[str, ...]) -> None:
        """Send each status as a Klaviyo event, one after another."""
        settings = self._settings
        if BEFORE_QUEUED & set(steps):
            steps = tuple(step for step in steps if step != "queued")
        for url, more in (
            (settings.klaviyo_url and f"{settings.klaviyo_url.rstrip('/')}/api/events", self._klaviyo_headers()),
            (settings.callback_url, self._callback_headers()),
        ):
            if not url:
                continue
            chain = [
                Callback(
                    sender=NAME,
                    url=url,
                    headers=more,
                    body=make_event(message_id, status, data, clock.now_us()),
                    attempts=settings.attempts,
                    retry_base=settings.retry_base,
                )
                for step in steps
                for status in STATUSES.get(step, ())
            ]
            send_in_turn(self._context.callbacks, chain)

    def _klaviyo_headers(self) -> list[tuple[str, str]]:
        return [
            ("content-type", "application/vnd.api+json"),
            ("accept", "application/vnd.api+json"),
            ("authorization", f"Klaviyo-API-Key {self._settings.klaviyo_key}"),
            ("revision", REVISION),
        ]

    def _callback_headers(self) -> list[tuple[str, str]]:
        secret = self._settings.callback_secret
        return [JSON] if secret is None else [JSON, ("X-Callback-Secret", secret)]


ROUTES = {
    ("PUT", "/wunderkind/settings"): Wunderkind.put_settings,
    ("GET", "/wunderkind/settings"): Wunderkind.get_settings,
    ("POST", "/wunderkind/text/message/send"): Wunderkind.send,
}


def read_callback_data(given: str) -> dict[str, Any] | None:
    """Decode callbackData, a string of JSON; return None unless it is an object."""
    try:
        return decode(given, dict[str, Any])
    except msgspec.DecodeError:
        return None


def find_fault(text: Text, data: dict[str, Any] | None) -> str | None:
    """Return the first error of a message."""
    if not text.phone and not text.email:
        return "phone or email is required."
    if not text.text:
        return "text is required."
    if not text.send_purpose:
        return "sendPurpose is required."
    if data is None:
        return "callbackData must be a string that contains a JSON object."
    if not isinstance(data.get("profileID"), str) or not data["profileID"]:
        return "callbackData must have a profileID."
    for name, url in (("clickUrl", text.click_url), ("mediaUrl", text.media_url)):
        if url and not url.startswith(("http://", "https://")):
            return f"{name} must be an http or https URL."
    return None


def make_event(message_id: str, status: str, data: dict[str, Any], now: int) -> bytes:
    """Return the Klaviyo event of a status; its properties are those of callbackData, MessageID and Status."""
    attributes = {
        "properties": {**data, "MessageID": message_id, "Status": status},
        "time": clock.iso(now),
        # Without unique_id, Klaviyo keeps only one event per profile, metric and second.
        "unique_id": f"{message_id}:{status}",
        "metric": {"data": {"type": "metric", "attributes": {"name": str(data.get("metricName") or METRIC)}}},
        "profile": {"data": {"type": "profile", "id": data["profileID"], "attributes": {}}},
    }
    return msgspec.json.encode({"data": {"type": "event", "attributes": attributes}})


def _problem(call: Call, status: int, code: str, detail: str, *more: tuple[str, str]) -> Response:
    document = {"type": "about:blank", "status": status, "code": code, "detail": detail}
    return finish(status, [PROBLEM, *more], msgspec.json.encode(document), call)
