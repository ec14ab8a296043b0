"""Wunderkind as the sink plays it: text/message/send, and statuses told as events of a Klaviyo metric."""

import asyncio
import itertools
from typing import Any

import msgspec

from waypost import clock
from waypost.sink.callbacks import Callback
from waypost.sink.context import Context, body, headers, read_settings
from waypost.sink.faulty_response import Answer, json
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
#: The metric of messages that name none.
METRIC = "Message Status"
#: The same text for the same purpose reaches a person once in this time.
ONCE_US = 24 * clock.HOUR
#: So many messages are remembered for that; the oldest are forgotten.
REMEMBERED = 500_000

#: What each step of a fate is. Steps that are not here have no word at Wunderkind.
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
#: These are found out before anything is on its way.
AT_ONCE = frozenset({"invalid", "opted_out", "unknown"})
#: What a reply that takes nothing is answered with.
REFUSALS: dict[Reply, tuple[int, str, str]] = {
    Reply.INVALID: (422, "invalid_phone", "The phone number makes no sense."),
    Reply.REJECTED: (422, "refused", "The message is refused."),
    Reply.THROTTLED: (429, "too_many_requests", "At most 100 messages a second."),
    Reply.TEMPORARY: (503, "unavailable", "Not now; try again later."),
    Reply.UNKNOWN: (500, "internal_error", "Something went wrong here."),
    Reply.DUPLICATE: (409, "duplicate", "This person had the same message within 24 hours."),
}


class WunderkindSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a run can set."""

    #: The only credentials that are right; any are when they are not given.
    client_id: Secret | None = None
    client_secret: Secret | None = None
    #: The base URL of a Klaviyo that is told what becomes of messages, and the key for it.
    klaviyo_url: Url | None = None
    klaviyo_key: Secret = "pk_wunderkind"
    #: Where the same events go besides, and the secret that they bring.
    callback_url: Url | None = None
    callback_secret: Secret | None = None
    #: More messages in a second than this are answered with 429.
    per_second: int | None = None
    #: Whether the rule of 24 hours holds.
    once: bool = True
    attempts: Tries = 5
    retry_base: Wait = 0.5


class Text(msgspec.Struct, kw_only=True, rename="camel"):
    """A message as it is asked for; all fields are text."""

    phone: str = ""
    email: str = ""
    text: str = ""
    click_url: str | None = None
    media_url: str | None = None
    callback_data: str = ""
    send_purpose: str = ""


class Wunderkind:
    """The client at play."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._dice = context.scenarios.declare(NAME, ("unreachable", "invalid", "opted_out", "blocked"))
        self._settings = WunderkindSettings()
        self._numbers = itertools.count(1)
        #: When each recipient had each text for each purpose.
        self._had: dict[tuple[str, str, str], int] = {}
        self._second = 0
        self._in_second = 0

    def configure(self, given: object) -> None:
        """Take settings for this run."""
        settings = read_settings(given, WunderkindSettings)
        check_url(settings.klaviyo_url, "klaviyo_url")
        check_url(settings.callback_url, "callback_url")
        self._settings = settings
        self._had.clear()
        self._second = 0

    def put_settings(self, request: Request) -> Answer:
        """Take settings, and show them."""
        self.configure(body(request))
        return self.get_settings(request)

    def get_settings(self, request: Request) -> Answer:
        """The settings, without the secrets."""
        shown = msgspec.to_builtins(self._settings)
        for name in ("client_secret", "klaviyo_key", "callback_secret"):
            del shown[name]
        return json(shown)

    def send(self, request: Request) -> Answer:
        """Take a message: 200 and an id, or what is wrong with it."""
        self._context.record(NAME, request)
        call = self._dice.call()
        now = clock.now_us()
        if call.status is not None:
            return _problem(call, call.status, "internal_error", "Something went wrong here.")
        told = headers(request)
        settings = self._settings
        known = admits(settings.client_id, told.get("x-client-id"))
        if not admits(settings.client_secret, told.get("x-client-secret")) or not known:
            return _problem(call, 401, "unauthorized", "X-Client-ID and X-Client-Secret are needed, and right.")
        if self._is_too_fast(now):
            return _problem(call, *REFUSALS[Reply.THROTTLED], ("retry-after", "1"))
        try:
            text = decode(request.body, Text)
        except msgspec.ValidationError as error:
            return _problem(call, 422, "invalid_field", f"{error}.")
        except msgspec.DecodeError as error:
            return _problem(call, 400, "invalid_json", f"The body is not JSON: {error}.")
        data = read_callback_data(text.callback_data)
        wrong = find_fault(text, data)
        if wrong is not None or data is None:
            return _problem(call, 422, "invalid_field", wrong or "callbackData is not valid.")
        return self._take(text, data, call, now)

    def _is_too_fast(self, now: int) -> bool:
        second = now // clock.SECOND
        if second != self._second:
            self._second, self._in_second = second, 0
        self._in_second += 1
        return self._settings.per_second is not None and self._in_second > self._settings.per_second

    def _take(self, text: Text, data: dict[str, Any], call: Call, now: int) -> Answer:
        recipient = text.phone or text.email
        scenario = self._dice.message(recipient)
        if scenario.reply is Reply.ERROR:
            return _problem(call, self._dice.settings.error_status, "internal_error", "Something went wrong here.")
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
        # Who has not subscribed is found out after the answer.
        steps = ("opted_out",) if scenario.reply is Reply.OPTED_OUT else scenario.steps
        asyncio.get_running_loop().call_later(scenario.delay, self._tell, message_id, data, steps)
        return finish(200, [JSON], msgspec.json.encode({"messageId": message_id}), call, scenario.reply)

    def _tell(self, message_id: str, data: dict[str, Any], steps: tuple[str, ...]) -> None:
        """Post each status as a Klaviyo event, one after the other."""
        settings = self._settings
        if AT_ONCE & set(steps):
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
    """What callbackData says, which is JSON in a text; nothing when it is no object."""
    try:
        return decode(given, dict[str, Any])
    except msgspec.DecodeError:
        return None


def find_fault(text: Text, data: dict[str, Any] | None) -> str | None:
    """The first thing that is wrong with a message."""
    if not text.phone and not text.email:
        return "phone or email is needed."
    if not text.text:
        return "text is needed."
    if not text.send_purpose:
        return "sendPurpose is needed."
    if data is None:
        return "callbackData is a text that holds a JSON object."
    if not isinstance(data.get("profileID"), str) or not data["profileID"]:
        return "callbackData needs a profileID."
    for name, url in (("clickUrl", text.click_url), ("mediaUrl", text.media_url)):
        if url and not url.startswith(("http://", "https://")):
            return f"{name} is a URL that works, where it is given."
    return None


def make_event(message_id: str, status: str, data: dict[str, Any], now: int) -> bytes:
    """The Klaviyo event that tells a status: its properties are those of callbackData, MessageID and Status."""
    attributes = {
        "properties": {**data, "MessageID": message_id, "Status": status},
        "time": clock.iso(now),
        # Without it Klaviyo keeps one event per profile, metric and second.
        "unique_id": f"{message_id}:{status}",
        "metric": {"data": {"type": "metric", "attributes": {"name": str(data.get("metricName") or METRIC)}}},
        "profile": {"data": {"type": "profile", "id": data["profileID"], "attributes": {}}},
    }
    return msgspec.json.encode({"data": {"type": "event", "attributes": attributes}})


def _problem(call: Call, status: int, code: str, detail: str, *more: tuple[str, str]) -> Answer:
    told = {"type": "about:blank", "status": status, "code": code, "detail": detail}
    return finish(status, [PROBLEM, *more], msgspec.json.encode(told), call)
