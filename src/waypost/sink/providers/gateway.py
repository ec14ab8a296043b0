"""Simulates a generic SMS gateway: a REST API with a key, and signed callbacks."""

import asyncio
import hashlib
import hmac
import itertools
import secrets
from typing import Annotated, Any
from urllib.parse import parse_qs, parse_qsl

import msgspec
from msgspec import Meta

from waypost import clock
from waypost.sink.callbacks import Callback
from waypost.sink.context import Context, body, headers, read_settings
from waypost.sink.faulty_response import Response, json
from waypost.sink.http_connection import Request
from waypost.sink.providers.http_provider import (
    NEVER,
    Secret,
    Tries,
    Url,
    Wait,
    admits,
    basic,
    bearer,
    check_url,
    decode,
    finish,
    send_in_turn,
)
from waypost.sink.scenarios import Call, Reply

NAME = "gateway"
JSON = ("content-type", "application/json")
LONGEST_TEXT = 1600
#: The most idempotency keys, and the most tokens, that are stored; beyond it the oldest are deleted.
REMEMBERED = 100_000
TOKENS = 1_000
INTERNAL_ERROR = "Internal error."

#: Status and error code by step. The gateway sends nothing for other steps.
STATUSES: dict[str, tuple[str, str | None]] = {
    "queued": ("queued", None),
    "sent": ("sent", None),
    "delivered": ("delivered", None),
    "unreachable": ("undelivered", "unreachable"),
    "carrier_unreachable": ("undelivered", "no_route"),
    "invalid": ("undelivered", "unknown_number"),
    "carrier_blocked": ("rejected", "carrier"),
    "blocked": ("rejected", "blocked"),
    "spam": ("rejected", "spam"),
    "invalid_message": ("failed", "invalid_message"),
    "opted_out": ("failed", "opted_out"),
    "max_price": ("failed", "price"),
    "expired": ("expired", None),
    "unknown": ("failed", "unknown"),
    "novel": ("teleported", None),
}
#: The error response by reply.
REFUSALS: dict[Reply, tuple[int, str, str]] = {
    Reply.INVALID: (422, "invalid_number", "The number is not valid."),
    Reply.REJECTED: (400, "rejected", "The message was rejected."),
    Reply.OPTED_OUT: (403, "opted_out", "The recipient has opted out."),
    Reply.THROTTLED: (429, "throttled", "Too many requests."),
    Reply.TEMPORARY: (503, "unavailable", "Temporarily unavailable. Retry later."),
    Reply.UNKNOWN: (500, "internal", INTERNAL_ERROR),
    Reply.DUPLICATE: (409, "duplicate", "The message was already accepted."),
}


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings."""

    #: The accepted key, as a bearer token, in X-API-Key or as the password of Basic. If unset, any key is accepted.
    api_key: Secret | None = None
    #: The client that POST /gateway/token issues tokens to. If unset, any client gets one.
    client_id: Secret | None = None
    client_secret: Secret | None = None
    #: Seconds until a token expires.
    token_s: Annotated[int, Meta(ge=1, le=86_400)] = 3600
    #: The URL of callbacks, and the secret to sign them with. Without a URL none are sent.
    callback_url: Url | None = None
    secret: Secret | None = None
    attempts: Tries = 5
    retry_base: Wait = 0.5


class GatewaySms(msgspec.Struct, kw_only=True):
    """The request to send a message; unknown fields are ignored."""

    to: str = ""
    text: str = ""
    reference: str = ""
    #: Overrides the URL in the settings.
    callback_url: str = ""


class Gateway:
    """The simulated gateway."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._dice = context.scenarios.declare(NAME)
        self._settings = GatewaySettings()
        self._numbers = itertools.count(1)
        #: The response to each idempotency key.
        self._answered: dict[str, bytes] = {}
        #: When each token expires, in microseconds.
        self._tokens: dict[str, int] = {}

    def configure(self, given: object) -> None:
        """Apply settings."""
        settings = read_settings(given, GatewaySettings)
        check_url(settings.callback_url, "callback_url")
        self._settings = settings

    def put_settings(self, request: Request) -> Response:
        """Apply settings, and return them."""
        self.configure(body(request))
        return self.get_settings(request)

    def get_settings(self, request: Request) -> Response:
        """Return the settings, without the secrets."""
        view = msgspec.to_builtins(self._settings)
        for name in ("api_key", "client_secret", "secret"):
            del view[name]
        return json(view)

    def issue_token(self, request: Request) -> Response:
        """Return a bearer token for the credentials of a client (RFC 6749, section 4.4)."""
        self._context.record("gateway-token", request)
        call = self._dice.call()
        if call.status is not None:
            return _error(call, call.status, "internal", INTERNAL_ERROR)
        form = dict(parse_qsl(request.body.decode("latin-1"), keep_blank_values=True))
        client, secret = basic(headers(request)) or (form.get("client_id"), form.get("client_secret"))
        if form.get("grant_type") != "client_credentials":
            return _refuse_token(call, 400, "unsupported_grant_type")
        if not admits(self._settings.client_id, client) or not admits(self._settings.client_secret, secret):
            return _refuse_token(call, 401, "invalid_client")
        token = secrets.token_urlsafe(24)
        if len(self._tokens) >= TOKENS:
            del self._tokens[next(iter(self._tokens))]
        self._tokens[token] = clock.now_us() + self._settings.token_s * clock.SECOND
        grant = {"access_token": token, "token_type": "Bearer", "expires_in": self._settings.token_s}
        return finish(200, [JSON, ("cache-control", "no-store")], msgspec.json.encode(grant), call)

    def send(self, request: Request) -> Response:
        """Accept a message: return 200 and an id, or an error."""
        self._context.record(NAME, request)
        call = self._dice.call()
        if call.status is not None:
            return _error(call, call.status, "internal", INTERNAL_ERROR)
        request_headers = headers(request)
        if not self._admits(request_headers):
            return _error(call, 401, "unauthorized", "The key or the token is not valid.")
        try:
            sms = read_sms(request, request_headers.get("content-type", ""))
        except msgspec.ValidationError as error:
            return _error(call, 422, "invalid_field", f"{error}.")
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
            return _error(call, 400, "invalid_body", f"The body cannot be parsed: {error}.")
        fault = find_fault(sms)
        if fault is not None:
            return _error(call, 422, *fault)
        return self._accept(sms, request_headers.get("idempotency-key", ""), call)

    def _admits(self, request_headers: dict[str, str]) -> bool:
        """Return whether the client sent the key, or a token that has not expired."""
        pair = basic(request_headers)
        password = pair[1] if pair is not None else None
        given = bearer(request_headers) or request_headers.get("x-api-key") or password
        if given is not None and given in self._tokens:
            return clock.now_us() < self._tokens[given]
        return given != NEVER and admits(self._settings.api_key, given)

    def _accept(self, sms: GatewaySms, key: str, call: Call) -> Response:
        known = self._answered.get(key) if key else None
        if known is not None:
            return finish(200, [JSON, ("idempotent-replayed", "true")], known, call)
        scenario = self._dice.message(sms.to)
        if scenario.reply is Reply.ERROR:
            return _error(call, self._dice.settings.error_status, "internal", INTERNAL_ERROR)
        if scenario.reply in REFUSALS:
            after = self._dice.settings.retry_after
            more = [("retry-after", str(after))] if scenario.reply is Reply.THROTTLED and after else []
            return _error(call, *REFUSALS[scenario.reply], *more)
        message_id = f"gw-{next(self._numbers)}"
        answer = msgspec.json.encode({"id": message_id, "status": "accepted", "reference": sms.reference})
        if key:
            if len(self._answered) >= REMEMBERED:
                del self._answered[next(iter(self._answered))]
            self._answered[key] = answer
        self._context.sent_log.add(NAME, sms.to, sms.text, sms.reference, message_id, scenario.word)
        asyncio.get_running_loop().call_later(scenario.delay, self._send_receipts, message_id, sms, scenario.steps)
        return finish(200, [JSON], answer, call, scenario.reply)

    def _send_receipts(self, message_id: str, sms: GatewaySms, steps: tuple[str, ...]) -> None:
        """Send a callback for each step, one after another."""
        settings = self._settings
        url = sms.callback_url or settings.callback_url
        if not url:
            return
        now = clock.now_us()
        chain = []
        for step in steps:
            status, code = STATUSES.get(step, ("", None))
            if not status:
                continue
            receipt: dict[str, Any] = {
                "id": message_id,
                "reference": sms.reference,
                "status": status,
                "to": sms.to,
                "timestamp": clock.iso(now),
                "parts": 1 + (len(sms.text) - 1) // 160,
            }
            if code is not None:
                receipt["error_code"] = code
            payload = msgspec.json.encode(receipt)
            chain.append(
                Callback(
                    sender=NAME,
                    url=url,
                    headers=[JSON, *self._signatures(payload, now // clock.SECOND)],
                    body=payload,
                    attempts=settings.attempts,
                    retry_base=settings.retry_base,
                )
            )
        send_in_turn(self._context.callbacks, chain)

    def _signatures(self, payload: bytes, at: int) -> list[tuple[str, str]]:
        """Return both usual signatures: over the body, and over the time in seconds, a dot and the body."""
        secret = self._settings.secret
        if secret is None:
            return []
        return [
            ("X-Gateway-Signature", sign(secret, payload)),
            ("X-Gateway-Timestamp", str(at)),
            ("X-Gateway-Signature-V2", "v2=" + sign(secret, f"{at}.".encode() + payload)),
        ]


ROUTES = {
    ("PUT", "/gateway/settings"): Gateway.put_settings,
    ("GET", "/gateway/settings"): Gateway.get_settings,
    ("POST", "/gateway/token"): Gateway.issue_token,
    ("POST", "/gateway/send"): Gateway.send,
    ("PUT", "/gateway/send"): Gateway.send,
    ("GET", "/gateway/send"): Gateway.send,
}


def sign(secret: str, payload: bytes) -> str:
    """Return the HMAC-SHA256 of a payload in hex."""
    return hmac.digest(secret.encode(), payload, hashlib.sha256).hex()


def read_sms(request: Request, content_type: str) -> GatewaySms:
    """Decode a message from JSON, from a form, or from the query of a GET."""
    kind = content_type.partition(";")[0].strip().lower()
    if request.method != "GET" and kind != "application/x-www-form-urlencoded":
        return decode(request.body, GatewaySms)
    source = request.url.partition(b"?")[2] if request.method == "GET" else request.body
    form = parse_qs(source.decode(), keep_blank_values=True, max_num_fields=100)
    return msgspec.convert({name: values[0] for name, values in form.items()}, GatewaySms)


def find_fault(sms: GatewaySms) -> tuple[str, str] | None:
    """Return code and text of the first error of a message."""
    if not sms.to:
        return "missing_to", "to is required."
    digits = sms.to.removeprefix("+")
    if not digits.isascii() or not digits.isdigit() or not 3 <= len(digits) <= 15:
        return "invalid_number", "The number is not valid."
    if not sms.text:
        return "missing_text", "text is required."
    if len(sms.text) > LONGEST_TEXT:
        return "too_long", f"text may have at most {LONGEST_TEXT} characters."
    return None


def _error(call: Call, status: int, code: str, message: str, *more: tuple[str, str]) -> Response:
    document = {"error": {"code": code, "message": message}}
    return finish(status, [JSON, *more], msgspec.json.encode(document), call)


def _refuse_token(call: Call, status: int, error: str) -> Response:
    """Return an error in the format of RFC 6749, section 5.2."""
    return finish(status, [JSON], msgspec.json.encode({"error": error}), call)
