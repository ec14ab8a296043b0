"""Simulates Twilio: messages, accounts, and signed callbacks for statuses and inbound messages."""

import asyncio
import base64
import hashlib
import hmac
import re
import secrets
from email.utils import formatdate
from typing import Annotated, Any
from urllib.parse import parse_qs, urlencode

import msgspec
from msgspec import Meta

from waypost import clock
from waypost.errors import Conflict
from waypost.sink.callbacks import Callback
from waypost.sink.context import Context, body, headers, pieces, read_settings
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
    check_url,
    finish,
    send_in_turn,
)
from waypost.sink.providers.twilio_errors import REFUSALS, error
from waypost.sink.providers.twilio_message import count_segments, find_fault
from waypost.sink.scenarios import Reply

NAME = "twilio"
VERSION = "2010-04-01"
JSON = ("content-type", "application/json")
#: The most stored messages, and the most stored opt-outs.
KEPT = 100_000
PAGE = 50

ACCOUNT = re.compile(r"AC[0-9a-fA-F]{32}\Z")
#: Status and error code by step. Twilio sends nothing for other steps.
STATUSES: dict[str, tuple[str, int | None]] = {
    "queued": ("queued", None),
    "sent": ("sent", None),
    "delivered": ("delivered", None),
    "opened": ("read", None),
    "unreachable": ("undelivered", 30003),
    "blocked": ("undelivered", 30004),
    "invalid": ("undelivered", 30005),
    "carrier_unreachable": ("undelivered", 30006),
    "carrier_blocked": ("undelivered", 30007),
    "spam": ("undelivered", 30007),
    "unknown": ("undelivered", 30008),
    "invalid_message": ("failed", 30008),
    "max_price": ("failed", 30010),
    "expired": ("failed", 30036),
    "opted_out": ("failed", 21610),
    "novel": ("teleported", None),
}
#: Steps that Twilio reports after `sent`.
ENDS = frozenset(step for step, (status, _) in STATUSES.items() if status in ("delivered", "undelivered"))
#: Keywords for opt-out, opt-in and help; they must be the whole text (the vendor's list).
KEYWORDS = {
    "STOP": frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT"}),
    "START": frozenset({"START", "YES", "UNSTOP"}),
    "HELP": frozenset({"HELP", "INFO"}),
}


class TwilioSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings."""

    #: The accepted account and its token. If unset, any are accepted.
    account_sid: Annotated[str, Meta(pattern=r"^AC[0-9a-fA-F]{32}\Z")] | None = None
    auth_token: Secret | None = None
    #: The status of accounts.
    status: str = "active"
    #: The URL for inbound messages. If unset, none are sent.
    inbound_url: Url | None = None
    #: Whether an inbound keyword has an OptOutType.
    advanced_opt_out: bool = False
    attempts: Tries = 3
    retry_base: Wait = 0.5


class Inbound(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A message from a person: the request of POST /twilio/inbound."""

    from_: str = msgspec.field(name="from")
    to: str
    body: str
    url: Url | None = None


class Twilio:
    """The simulated accounts."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._dice = context.scenarios.declare(NAME, ("unreachable", "carrier_blocked", "invalid", "unknown"))
        self._settings = TwilioSettings()
        #: The last token used by each account; callbacks are signed with it.
        self._tokens: dict[str, str] = {}
        self._last_account = "AC" + "0" * 32
        self._messages: dict[str, dict[str, Any]] = {}
        #: Opted-out pairs of recipient and sender.
        self._opted_out: dict[tuple[str, str], None] = {}

    def configure(self, given: object) -> None:
        """Apply settings."""
        settings = read_settings(given, TwilioSettings)
        check_url(settings.inbound_url, "inbound_url")
        self._settings = settings

    def put_settings(self, request: Request) -> Response:
        """Apply settings, and return them."""
        self.configure(body(request))
        return self.get_settings(request)

    def get_settings(self, request: Request) -> Response:
        """Return the settings, without the token."""
        view = msgspec.to_builtins(self._settings)
        del view["auth_token"]
        return json(view)

    def send(self, request: Request) -> Response:
        """Accept a message: return 201 and the resource, or an error."""
        self._context.record(NAME, request)
        call = self._dice.call()
        account = self._account(request)
        if call.status is not None:
            return error(call, call.status, 20500)
        if account is None:
            return error(call, 401, 20003)
        try:
            form = parse_qs(request.body.decode(), keep_blank_values=True, max_num_fields=200)
        except ValueError:
            return error(call, 400, 20001)
        code = find_fault(form)
        if code is not None:
            return error(call, 400, code)
        to, sender = form["To"][0], form.get("From", form.get("MessagingServiceSid", [""]))[0]
        scenario = self._dice.message(to)
        if scenario.reply is Reply.ERROR:
            return error(call, self._dice.settings.error_status, 20500)
        if scenario.reply in REFUSALS:
            return error(call, *REFUSALS[scenario.reply], retry_after=self._dice.settings.retry_after)
        if (to, sender) in self._opted_out:
            return error(call, 400, 21610)
        message = self._create(account, form)
        text, callback = form.get("Body", [""])[0], form.get("StatusCallback", [""])[0]
        self._context.sent_log.add(NAME, to, text, "", message["sid"], scenario.word)
        # After the response: its initial status has no callback.
        asyncio.get_running_loop().call_later(scenario.delay, self._send_statuses, message, callback, scenario.steps)
        return finish(201, [JSON], msgspec.json.encode(message), call, scenario.reply)

    def get_message(self, request: Request) -> Response:
        """Return a message."""
        return self._show(request, self._messages.get(pieces(request)[5].removesuffix(".json")))

    def list_messages(self, request: Request) -> Response:
        """Return the last messages, newest first."""
        last = list(self._messages.values())[: -PAGE - 1 : -1]
        page = {"messages": last, "page": 0, "page_size": PAGE, "next_page_uri": None, "previous_page_uri": None}
        return self._show(request, page)

    def get_account(self, request: Request) -> Response:
        """Return an account; its status says whether it may send."""
        account = pieces(request)[3].removesuffix(".json")
        now = formatdate(clock.now_us() / clock.SECOND)
        view = {
            "sid": account,
            "owner_account_sid": account,
            "friendly_name": "Sink",
            "status": self._settings.status,
            "type": "Full",
            "auth_token": "0" * 32,
            "date_created": now,
            "date_updated": now,
            "uri": f"/{VERSION}/Accounts/{account}.json",
            "subresource_uris": {"messages": f"/{VERSION}/Accounts/{account}/Messages.json"},
        }
        return self._show(request, view)

    def receive(self, request: Request) -> Response:
        """Simulate a message from a person: send it to the inbound URL; STOP and START opt the person out and in."""
        inbound = read_settings(body(request), Inbound, code="invalid_inbound")
        check_url(inbound.url, "url")
        url = inbound.url or self._settings.inbound_url
        if url is None:
            raise Conflict("No inbound URL. Set inbound_url with PUT /twilio/settings.", code="no_inbound_url")
        return json({"MessageSid": self._send_inbound(inbound.from_, inbound.to, inbound.body, url)})

    def _show(self, request: Request, resource: dict[str, Any] | None) -> Response:
        call = self._dice.call()
        if call.status is not None:
            return error(call, call.status, 20500)
        if self._account(request) is None:
            return error(call, 401, 20003)
        if resource is None:
            return error(call, 404, 20404)
        return finish(200, [JSON], msgspec.json.encode(resource), call)

    def _account(self, request: Request) -> str | None:
        """Return the authenticated account; the user name is its SID or the SID of an API key."""
        account = pieces(request)[3].removesuffix(".json")
        pair = basic(headers(request))
        settings = self._settings
        if pair is None or not ACCOUNT.match(account) or account != (settings.account_sid or account):
            return None
        user, password = pair
        if user.startswith("SK") and password and password != NEVER:
            return account
        if user != account or not admits(settings.auth_token, password):
            return None
        if len(self._tokens) > KEPT:
            self._tokens.clear()
        self._tokens[account] = password
        self._last_account = account
        return account

    def _create(self, account: str, form: dict[str, list[str]]) -> dict[str, Any]:
        """Create a message, and return its resource."""
        sid = "SM" + secrets.token_hex(16)
        now = formatdate(clock.now_us() / clock.SECOND)
        text = form.get("Body", [""])[0]
        service = form.get("MessagingServiceSid", [None])[0]
        uri = f"/{VERSION}/Accounts/{account}/Messages/{sid}"
        message = {
            "sid": sid,
            "account_sid": account,
            "messaging_service_sid": service,
            "to": form["To"][0],
            "from": form.get("From", [None])[0],
            "body": text,
            "status": "accepted" if service else "queued",
            # The number is unknown until the service has chosen a sender.
            "num_segments": "0" if service else str(count_segments(text)),
            "num_media": str(len(form.get("MediaUrl", []))),
            "direction": "outbound-api",
            "date_created": now,
            "date_updated": now,
            "date_sent": None,
            "price": None,
            "price_unit": None,
            "error_code": None,
            "error_message": None,
            "api_version": VERSION,
            "uri": f"{uri}.json",
            "subresource_uris": {"media": f"{uri}/Media.json"},
        }
        if len(self._messages) >= KEPT:
            del self._messages[next(iter(self._messages))]
        self._messages[sid] = message
        return message

    def _send_statuses(self, message: dict[str, Any], callback: str, steps: tuple[str, ...]) -> None:
        """Apply the steps to a message, and send each to its status callback, one after another."""
        now = formatdate(clock.now_us() / clock.SECOND)
        chain: list[Callback] = []
        for step in _with_sent(steps):
            if step == "stop":
                # The person replies.
                url = self._settings.inbound_url
                if url is not None:
                    self._send_inbound(message["to"], message["from"] or message["messaging_service_sid"], "STOP", url)
                continue
            status, code = STATUSES.get(step, ("", None))
            if not status:
                continue
            message |= {"status": status, "error_code": code, "date_updated": now, "date_sent": now}
            fields = {
                "AccountSid": message["account_sid"],
                "ApiVersion": VERSION,
                "From": message["from"] or "+15005550006",
                "To": message["to"],
                "MessageSid": message["sid"],
                "SmsSid": message["sid"],
                "MessageStatus": status,
                "SmsStatus": status,
            }
            if message["messaging_service_sid"]:
                fields["MessagingServiceSid"] = message["messaging_service_sid"]
            if code is not None:
                fields["ErrorCode"] = str(code)
            if callback:
                chain.append(self._make_callback(callback, fields))
        send_in_turn(self._context.callbacks, chain)

    def _send_inbound(self, person: str, to: str, text: str, url: str) -> str:
        """Send a person's message to a URL, signed; return its SID."""
        sid = "SM" + secrets.token_hex(16)
        fields = {
            "AccountSid": self._settings.account_sid or self._last_account,
            "ApiVersion": VERSION,
            "MessageSid": sid,
            "SmsSid": sid,
            "SmsMessageSid": sid,
            "SmsStatus": "received",
            "From": person,
            "To": to,
            "Body": text,
            "NumMedia": "0",
            "NumSegments": str(count_segments(text)),
            "FromCountry": "US",
            "ToCountry": "US",
        }
        word = text.strip().upper()
        keyword = next((kind for kind, words in KEYWORDS.items() if word in words), None)
        if keyword == "STOP":
            if len(self._opted_out) >= KEPT:
                del self._opted_out[next(iter(self._opted_out))]
            self._opted_out[person, to] = None
        elif keyword == "START":
            self._opted_out.pop((person, to), None)
        if keyword is not None and self._settings.advanced_opt_out:
            fields["OptOutType"] = keyword
        self._context.callbacks.send(self._make_callback(url, fields))
        return sid

    def _make_callback(self, url: str, fields: dict[str, str]) -> Callback:
        token = self._settings.auth_token or self._tokens.get(fields["AccountSid"], "")
        return Callback(
            sender=NAME,
            # The fragment is signed but not sent.
            url=url.partition("#")[0],
            headers=[
                ("content-type", "application/x-www-form-urlencoded; charset=UTF-8"),
                ("X-Twilio-Signature", sign(token, url, fields)),
                ("I-Twilio-Idempotency-Token", secrets.token_hex(16)),
                ("user-agent", "TwilioProxy/1.1"),
            ],
            body=urlencode(fields).encode(),
            attempts=self._settings.attempts,
            retry_base=self._settings.retry_base,
        )


ROUTES = {
    ("PUT", "/twilio/settings"): Twilio.put_settings,
    ("GET", "/twilio/settings"): Twilio.get_settings,
    ("POST", "/twilio/inbound"): Twilio.receive,
    ("GET", f"/twilio/{VERSION}/Accounts/{{account}}"): Twilio.get_account,
    ("GET", f"/twilio/{VERSION}/Accounts/{{account}}/Messages.json"): Twilio.list_messages,
    ("POST", f"/twilio/{VERSION}/Accounts/{{account}}/Messages.json"): Twilio.send,
    ("GET", f"/twilio/{VERSION}/Accounts/{{account}}/Messages/{{message}}"): Twilio.get_message,
}


def sign(token: str, url: str, fields: dict[str, str]) -> str:
    """Return X-Twilio-Signature: base64 of HMAC-SHA1 over the URL and all fields, sorted by name."""
    text = url + "".join(name + fields[name] for name in sorted(fields))
    return base64.b64encode(hmac.digest(token.encode(), text.encode(), hashlib.sha1)).decode("ascii")


def _with_sent(steps: tuple[str, ...]) -> list[str]:
    """Return the steps, with `sent` inserted between `queued` and a final step, in either order."""
    result: list[str] = []
    for step in steps:
        if result and {result[-1], step} & ENDS and "queued" in (result[-1], step):
            result.append("sent")
        result.append(step)
    return result
