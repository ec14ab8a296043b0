"""Twilio as the sink plays it: messages, accounts, status callbacks and inbound messages, all signed."""

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
from waypost.sink.faulty_response import Answer, json
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
from waypost.sink.providers.twilio_message import count_segments, find_fault
from waypost.sink.scenarios import Call, Reply

NAME = "twilio"
VERSION = "2010-04-01"
JSON = ("content-type", "application/json")
#: So many messages can be looked at afterwards, and so many people can have opted out.
KEPT = 100_000
PAGE = 50

ACCOUNT = re.compile(r"AC[0-9a-fA-F]{32}\Z")
#: What each step of a fate is: the status, and the error code. Steps that are not here have no word at Twilio.
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
#: Before one of these a message has been sent.
ENDS = frozenset(step for step, (status, _) in STATUSES.items() if status in ("delivered", "undelivered"))
#: Words that a person opts out, in and for help with, when they are all that is said (the vendor's list).
WORDS = {
    "STOP": frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT"}),
    "START": frozenset({"START", "YES", "UNSTOP"}),
    "HELP": frozenset({"HELP", "INFO"}),
}
#: What a reply that takes nothing is answered with: status and code.
REFUSALS: dict[Reply, tuple[int, int]] = {
    Reply.INVALID: (400, 21211),
    Reply.REJECTED: (400, 21408),
    Reply.OPTED_OUT: (400, 21610),
    Reply.THROTTLED: (429, 20429),
    Reply.TEMPORARY: (503, 20503),
    Reply.UNKNOWN: (500, 20500),
}
TELLS = {
    20001: "A parameter is not known or has no valid value.",
    20003: "Authenticate with the account's SID and its token, or with an API key.",
    20404: "There is no such resource.",
    20429: "Too many requests.",
    20500: "Something went wrong here.",
    20503: "Not now; try again later.",
    21211: "The number in To is not valid.",
    21212: "The sender in From is not valid.",
    21266: "To and From are the same.",
    21408: "Messages to this region are not permitted.",
    21603: "A From or a MessagingServiceSid is needed.",
    21604: "A To is needed.",
    21609: "The StatusCallback is not a valid URL.",
    21610: "This person has opted out.",
    21617: "The body is longer than 1600 characters.",
    21619: "A Body, a MediaUrl or a ContentSid is needed.",
    21623: "There are more than ten MediaUrls.",
    21703: "The Messaging Service does not exist.",
}


class TwilioSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a run can set."""

    #: The only account, and its token; any account with any token when they are not given.
    account_sid: Annotated[str, Meta(pattern=r"^AC[0-9a-fA-F]{32}\Z")] | None = None
    auth_token: Secret | None = None
    #: What accounts say of themselves.
    status: str = "active"
    #: Where inbound messages go, if anywhere.
    inbound_url: Url | None = None
    #: Whether an inbound STOP comes with an OptOutType.
    advanced_opt_out: bool = False
    attempts: Tries = 3
    retry_base: Wait = 0.5


class Inbound(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A message from a person, as POST /twilio/inbound takes it."""

    from_: str = msgspec.field(name="from")
    to: str
    body: str
    url: Url | None = None


class Twilio:
    """The accounts at play."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._dice = context.scenarios.declare(NAME, ("unreachable", "carrier_blocked", "invalid", "unknown"))
        self._settings = TwilioSettings()
        #: The token of each account that has called with it: callbacks are signed with it.
        self._tokens: dict[str, str] = {}
        self._last_account = "AC" + "0" * 32
        self._messages: dict[str, dict[str, Any]] = {}
        #: Who wants nothing more, from which sender.
        self._opted_out: dict[tuple[str, str], None] = {}

    def configure(self, given: object) -> None:
        """Take settings for this run."""
        settings = read_settings(given, TwilioSettings)
        check_url(settings.inbound_url, "inbound_url")
        self._settings = settings

    def put_settings(self, request: Request) -> Answer:
        """Take settings, and show them."""
        self.configure(body(request))
        return self.get_settings(request)

    def get_settings(self, request: Request) -> Answer:
        """The settings, without the token."""
        shown = msgspec.to_builtins(self._settings)
        del shown["auth_token"]
        return json(shown)

    def send(self, request: Request) -> Answer:
        """Take a message: 201 and the resource, or what is wrong with it."""
        self._context.record(NAME, request)
        call = self._dice.call()
        account = self._account(request)
        if call.status is not None:
            return _error(call, call.status, 20500)
        if account is None:
            return _error(call, 401, 20003)
        try:
            form = parse_qs(request.body.decode(), keep_blank_values=True, max_num_fields=200)
        except ValueError:
            return _error(call, 400, 20001)
        wrong = find_fault(form)
        if wrong is not None:
            return _error(call, 400, wrong)
        to, sender = form["To"][0], form.get("From", form.get("MessagingServiceSid", [""]))[0]
        scenario = self._dice.message(to)
        if scenario.reply is Reply.ERROR:
            return _error(call, self._dice.settings.error_status, 20500)
        if scenario.reply in REFUSALS:
            return _error(call, *REFUSALS[scenario.reply], retry_after=self._dice.settings.retry_after)
        if (to, sender) in self._opted_out:
            return _error(call, 400, 21610)
        message = self._keep(account, form)
        text, callback = form.get("Body", [""])[0], form.get("StatusCallback", [""])[0]
        self._context.sent_log.add(NAME, to, text, "", message["sid"], scenario.word)
        # After the answer: its initial status has no callback of its own.
        asyncio.get_running_loop().call_later(scenario.delay, self._tell, message, callback, scenario.steps)
        return finish(201, [JSON], msgspec.json.encode(message), call, scenario.reply)

    def get_message(self, request: Request) -> Answer:
        """A message as it stands."""
        return self._show(request, self._messages.get(pieces(request)[5].removesuffix(".json")))

    def list_messages(self, request: Request) -> Answer:
        """The last messages, newest first."""
        last = list(self._messages.values())[: -PAGE - 1 : -1]
        shown = {"messages": last, "page": 0, "page_size": PAGE, "next_page_uri": None, "previous_page_uri": None}
        return self._show(request, shown)

    def get_account(self, request: Request) -> Answer:
        """An account: whether it may send is what its status says."""
        account = pieces(request)[3].removesuffix(".json")
        now = formatdate(clock.now_us() / clock.SECOND)
        shown = {
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
        return self._show(request, shown)

    def receive(self, request: Request) -> Answer:
        """Let a person write: posted to the inbound URL; STOP and START change who can be written to."""
        told = read_settings(body(request), Inbound, code="invalid_inbound")
        check_url(told.url, "url")
        url = told.url or self._settings.inbound_url
        if url is None:
            raise Conflict("Say where to: PUT /twilio/settings with an inbound_url.", code="no_inbound_url")
        return json({"MessageSid": self._write_in(told.from_, told.to, told.body, url)})

    def _show(self, request: Request, what: dict[str, Any] | None) -> Answer:
        call = self._dice.call()
        if call.status is not None:
            return _error(call, call.status, 20500)
        if self._account(request) is None:
            return _error(call, 401, 20003)
        if what is None:
            return _error(call, 404, 20404)
        return finish(200, [JSON], msgspec.json.encode(what), call)

    def _account(self, request: Request) -> str | None:
        """The account that calls, if it is who it says; the user is the account's SID or that of an API key."""
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

    def _keep(self, account: str, form: dict[str, list[str]]) -> dict[str, Any]:
        """A new message, as its resource shows it."""
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
            # How many there are is known when a sender has been chosen.
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

    def _tell(self, message: dict[str, Any], callback: str, steps: tuple[str, ...]) -> None:
        """Let a message come to its end, and post each step to the callback that it asked for."""
        now = formatdate(clock.now_us() / clock.SECOND)
        chain: list[Callback] = []
        for step in _with_sent(steps):
            if step == "stop":
                # The person answers.
                url = self._settings.inbound_url
                if url is not None:
                    self._write_in(message["to"], message["from"] or message["messaging_service_sid"], "STOP", url)
                continue
            status, code = STATUSES.get(step, ("", None))
            if not status:
                continue
            message |= {"status": status, "error_code": code, "date_updated": now, "date_sent": now}
            told = {
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
                told["MessagingServiceSid"] = message["messaging_service_sid"]
            if code is not None:
                told["ErrorCode"] = str(code)
            if callback:
                chain.append(self._post(callback, told))
        send_in_turn(self._context.callbacks, chain)

    def _write_in(self, person: str, to: str, text: str, url: str) -> str:
        """Post a person's message, signed; gives its SID."""
        sid = "SM" + secrets.token_hex(16)
        told = {
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
        meant = next((kind for kind, words in WORDS.items() if word in words), None)
        if meant == "STOP":
            if len(self._opted_out) >= KEPT:
                del self._opted_out[next(iter(self._opted_out))]
            self._opted_out[person, to] = None
        elif meant == "START":
            self._opted_out.pop((person, to), None)
        if meant is not None and self._settings.advanced_opt_out:
            told["OptOutType"] = meant
        self._context.callbacks.send(self._post(url, told))
        return sid

    def _post(self, url: str, told: dict[str, str]) -> Callback:
        token = self._settings.auth_token or self._tokens.get(told["AccountSid"], "")
        return Callback(
            sender=NAME,
            # What stands behind a # is signed and never sent.
            url=url.partition("#")[0],
            headers=[
                ("content-type", "application/x-www-form-urlencoded; charset=UTF-8"),
                ("X-Twilio-Signature", sign(token, url, told)),
                ("I-Twilio-Idempotency-Token", secrets.token_hex(16)),
                ("user-agent", "TwilioProxy/1.1"),
            ],
            body=urlencode(told).encode(),
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


def sign(token: str, url: str, told: dict[str, str]) -> str:
    """X-Twilio-Signature: base64 of HMAC-SHA1 over the URL and every field, sorted by name."""
    text = url + "".join(name + told[name] for name in sorted(told))
    return base64.b64encode(hmac.digest(token.encode(), text.encode(), hashlib.sha1)).decode("ascii")


def _with_sent(steps: tuple[str, ...]) -> list[str]:
    """The steps, with `sent` between being queued and what comes of it, whichever of them is told first."""
    told: list[str] = []
    for step in steps:
        if told and {told[-1], step} & ENDS and "queued" in (told[-1], step):
            told.append("sent")
        told.append(step)
    return told


def _error(call: Call, status: int, code: int, retry_after: int = 0) -> Answer:
    told = {
        "code": code,
        "message": TELLS[code],
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }
    more = [("retry-after", str(retry_after))] if status == 429 and retry_after else []
    return finish(status, [JSON, *more], msgspec.json.encode(told), call)
