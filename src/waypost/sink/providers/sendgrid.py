"""Simulates SendGrid: v3 mail/send, scopes, and the signed Event Webhook."""

import asyncio
import base64
import itertools
import re
import secrets
from typing import Annotated, Any

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec import UNSET, Meta, UnsetType

from waypost import clock
from waypost.sink.callbacks import Callback
from waypost.sink.context import Context, body, headers, read_settings
from waypost.sink.faulty_response import Response, json
from waypost.sink.http_connection import Request
from waypost.sink.providers.http_provider import (
    ACCEPTING,
    NEVER,
    Secret,
    Tries,
    Url,
    Wait,
    admits,
    bearer,
    check_url,
    decode,
    finish,
    worst,
)
from waypost.sink.providers.sendgrid_mail import Mail, find_fault
from waypost.sink.scenarios import EMAIL_MARK, Call, Reply, Scenario

NAME = "sendgrid"
LARGEST_MAIL = 30 * 1024 * 1024
SIGNATURE = "X-Twilio-Email-Event-Webhook-Signature"
TIMESTAMP = "X-Twilio-Email-Event-Webhook-Timestamp"
JSON = ("content-type", "application/json")
#: Scenarios by the mailbox name: the part of an address before @ or +.
MAILBOXES = {
    "bounce": "bounced",
    "blocked": "blocked",
    "spam": "complained",
    "defer": "deferred",
    "drop": "dropped",
    "open": "opened",
    "machine": "machine_opened",
    "click": "clicked",
    "unsubscribe": "unsubscribed",
    "invalid": "malformed",
    "throttle": "throttled",
}
#: The scenarios chosen evenly for `failure_rate`.
FAILURES = ("bounced", "blocked", "dropped")

BROWSER = {"useragent": "Mozilla/5.0 (sink)", "ip": "203.0.113.7"}
BOUNCE = {
    "type": "bounce",
    "status": "5.1.1",
    "reason": "550 5.1.1 The mailbox does not exist",
    "bounce_classification": "Invalid Address",
}
BLOCKED = {
    "type": "blocked",
    "status": "5.7.1",
    "reason": "554 5.7.1 The message was rejected by policy",
    "bounce_classification": "Reputation",
}
#: The event of the Event Webhook by step, and the fields that only it has (sources: sendgrid-oai and the vendor's
#: guide). SendGrid sends nothing for other steps.
EVENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "queued": ("processed", {}),
    "delivered": ("delivered", {"response": "250 2.0.0 Kept", "tls": 1}),
    "deferred": ("deferred", {"response": "451 4.3.0 Come back later", "attempt": "1"}),
    "bounced": ("bounce", BOUNCE),
    "invalid": ("bounce", BOUNCE),
    "unreachable": ("bounce", BOUNCE | {"status": "5.4.4", "reason": "550 5.4.4 The host does not exist"}),
    "blocked": ("bounce", BLOCKED),
    "carrier_blocked": ("bounce", BLOCKED),
    "spam": ("bounce", BLOCKED | {"bounce_classification": "Content"}),
    "invalid_message": ("bounce", BLOCKED | {"bounce_classification": "Content"}),
    "expired": ("bounce", BLOCKED | {"status": "4.4.7", "reason": "Not accepted for three days"}),
    "dropped": ("dropped", {"reason": "Bounced Address", "status": "5.0.0"}),
    "opted_out": ("dropped", {"reason": "Unsubscribed Address", "status": "5.0.0"}),
    "opened": ("open", BROWSER | {"sg_machine_open": False, "sg_content_type": "html"}),
    "machine_opened": ("open", BROWSER | {"sg_machine_open": True, "sg_content_type": "html"}),
    "clicked": (
        "click",
        BROWSER | {"url": "https://shop.example.test/", "url_offset": {"index": 0, "type": "html"}},
    ),
    "complained": ("spamreport", {}),
    "unsubscribed": ("unsubscribe", {}),
    "stop": ("unsubscribe", {}),
    "novel": ("teleported", {"colour": "green"}),
}
#: Events about the transfer to the mail server, which have `smtp-id`.
WITH_SMTP_ID = frozenset({"processed", "deferred", "delivered", "bounce", "dropped"})


class SendGridSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings."""

    #: The accepted key. If unset, any key that begins with SG. is accepted.
    api_key: Secret | None = None
    scopes: tuple[str, ...] = ("mail.send", "user.webhooks.event.settings.read")
    #: The URL of the Event Webhook. If unset, no events are sent.
    event_url: Url | None = None
    #: The events to send. If unset, all are sent.
    events: list[str] | UnsetType = UNSET
    signed: bool = True
    batch_size: Annotated[int, Meta(ge=1, le=10_000)] = 1000
    #: Seconds to wait for more events before a batch is sent.
    batch_wait: Wait = 0.05
    attempts: Tries = 8
    retry_base: Wait = 0.5


class SendGrid:
    """The simulated account."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._dice = context.scenarios.declare(NAME, FAILURES)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._settings = SendGridSettings()
        self._events: list[dict[str, Any]] = []
        self._timer: asyncio.TimerHandle | None = None

    def configure(self, given: object) -> None:
        """Apply settings, and drop waiting events."""
        settings = read_settings(given, SendGridSettings)
        check_url(settings.event_url, "event_url")
        self._settings = settings
        self._events.clear()

    def put_settings(self, request: Request) -> Response:
        """Apply settings, and return them."""
        self.configure(body(request))
        return self.get_settings(request)

    def get_settings(self, request: Request) -> Response:
        """Return the settings without the API key, and the public key of the events: base64 of DER (SPKI)."""
        public = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        view = msgspec.to_builtins(self._settings)
        del view["api_key"]
        return json(view | {"public_key": base64.b64encode(public).decode("ascii")})

    def list_scopes(self, request: Request) -> Response:
        """Return the scopes of the key."""
        call = self._dice.call()
        if call.status is not None:
            return _error(call, call.status, "Internal error.")
        if not self._admits(request):
            return _error(call, 401, "The API key is not valid.")
        return finish(200, [JSON], msgspec.json.encode({"scopes": self._settings.scopes}), call)

    def send(self, request: Request) -> Response:
        """Accept an email: return 202 and an id, or an error."""
        self._context.record(NAME, request)
        call = self._dice.call()
        if call.status is not None:
            return _error(call, call.status, "Internal error.")
        if not self._admits(request):
            return _error(call, 401, "The API key is not valid.")
        if "mail.send" not in self._settings.scopes:
            return _error(call, 403, "The API key may not send mail.")
        if len(request.body) > LARGEST_MAIL:
            return _error(call, 413, f"An email may have at most {LARGEST_MAIL} bytes.")
        if headers(request).get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return _error(call, 415, "The content type must be application/json.")
        try:
            mail = decode(request.body, Mail)
        except msgspec.ValidationError as error:
            return _error(call, 400, *_text_and_field(error))
        except msgspec.DecodeError as error:
            return _error(call, 400, f"The body is not JSON: {error}.")
        fault = find_fault(mail, clock.now_us() // clock.SECOND)
        if fault is not None:
            return _error(call, 400, fault[1], fault[0])
        if mail.from_ is not None and mail.from_.email.partition("@")[0] == "unverified":
            return _error(call, 403, "The sender's address is not verified.", "from")
        if mail.mail_settings.get("sandbox_mode", {}).get("enable") is True:
            return finish(200, [], b"", call)
        return self._accept(mail, call)

    def _admits(self, request: Request) -> bool:
        given = bearer(headers(request)) or ""
        return given.startswith("SG.") and given[3:] not in ("", NEVER) and admits(self._settings.api_key, given)

    def _accept(self, mail: Mail, call: Call) -> Response:
        """Accept a valid email, unless the scenario of a recipient refuses it."""
        copies = [
            (at, copy, box)
            for at, copy in enumerate(mail.personalizations)
            for box in itertools.chain(copy.to, copy.cc, copy.bcc)
        ]
        scenarios = [self._scenario(box.email) for _, _, box in copies]
        reply = worst(scenarios)
        if reply not in ACCEPTING and reply not in (Reply.OPTED_OUT, Reply.DUPLICATE):
            return self._refuse(call, reply, copies[[scenario.reply for scenario in scenarios].index(reply)][0])
        message_id = secrets.token_urlsafe(16)
        sent_at = clock.now_us() // clock.SECOND
        text = mail.content[0].value if mail.content else f"template {mail.template_id}"
        for number, ((_, copy, box), scenario) in enumerate(zip(copies, scenarios, strict=True)):
            custom_args = mail.custom_args | copy.custom_args
            mid = custom_args.get("waypost_id") or next(iter(custom_args.values()), "")
            self._context.sent_log.add(NAME, box.email, text, mid, message_id, scenario.word)
            # For an unsubscribed recipient, SendGrid accepts the email and drops it.
            steps = ("opted_out",) if scenario.reply is Reply.OPTED_OUT else scenario.steps
            events = self._make_events(steps, box.email, message_id, number, sent_at, mail.categories, custom_args)
            if events:
                asyncio.get_running_loop().call_later(scenario.delay, self._add, events)
        return finish(202, [("X-Message-Id", message_id)], b"", call, reply)

    def _scenario(self, address: str) -> Scenario:
        word = MAILBOXES.get(address.partition("@")[0].partition("+")[0].lower())
        return self._dice.message(address if word is None else f"{EMAIL_MARK}{word}+{address}")

    def _refuse(self, call: Call, reply: Reply, at: int) -> Response:
        """Return the error for an email that is not accepted; `at` is the index of its personalization."""
        match reply:
            case Reply.INVALID:
                return _error(call, 400, "The address is not valid.", f"personalizations.{at}.to.0.email")
            case Reply.THROTTLED:
                after = self._dice.settings.retry_after
                limit = [
                    ("X-RateLimit-Limit", "600"),
                    ("X-RateLimit-Remaining", "0"),
                    ("X-RateLimit-Reset", str(clock.now_us() // clock.SECOND + max(after, 1))),
                ]
                return _error(call, 429, "Too many requests.", None, *limit)
            case Reply.TEMPORARY:
                return _error(call, 503, "Temporarily unavailable. Retry later.")
            case Reply.ERROR:
                return _error(call, self._dice.settings.error_status, "Internal error.")
            case Reply.UNKNOWN:
                return _error(call, 500, "Internal error.")
        return _error(call, 400, "The email was rejected.")

    def _make_events(
        self,
        steps: tuple[str, ...],
        address: str,
        message_id: str,
        number: int,
        at: int,
        categories: list[str],
        custom_args: dict[str, str],
    ) -> list[dict[str, Any]]:
        """Return the events of an email's steps; a repeated step has the same event id again."""
        subscribed, events = self._settings.events, []
        for step in steps:
            name, special = EVENTS.get(step, ("", {}))
            if not name or (subscribed is not UNSET and name not in subscribed):
                continue
            event = {
                **custom_args,
                "email": address,
                "timestamp": at,
                "event": name,
                "sg_event_id": base64.urlsafe_b64encode(f"{step}-{number}-{message_id}".encode()).decode().rstrip("="),
                "sg_message_id": f"{message_id}.recvd-sink-{number}.0",
                **special,
            }
            if categories:
                event["category"] = categories[0] if len(categories) == 1 else categories
            if name in WITH_SMTP_ID:
                event["smtp-id"] = f"<{message_id}@sink.invalid>"
            events.append(event)
        return events

    def _add(self, events: list[dict[str, Any]]) -> None:
        """Add events to the next batch."""
        if self._settings.event_url is None:
            return
        self._events += events
        while len(self._events) >= self._settings.batch_size:
            self._flush()
        if self._events and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._settings.batch_wait, self._flush_rest)

    def _flush_rest(self) -> None:
        self._timer = None
        self._flush()

    def _flush(self) -> None:
        """Send a batch of events: a JSON array and CRLF; the signature includes the CRLF."""
        settings = self._settings
        batch, self._events = self._events[: settings.batch_size], self._events[settings.batch_size :]
        if not batch or settings.event_url is None:
            return
        payload = msgspec.json.encode(batch) + b"\r\n"
        batch_headers = [JSON, ("user-agent", "SendGrid Event API")]
        if settings.signed:
            at = str(clock.now_us() // clock.SECOND)
            signature = self._key.sign(at.encode() + payload, ec.ECDSA(hashes.SHA256()))
            batch_headers += [(SIGNATURE, base64.b64encode(signature).decode("ascii")), (TIMESTAMP, at)]
        self._context.callbacks.send(
            Callback(
                sender=NAME,
                url=settings.event_url,
                headers=batch_headers,
                body=payload,
                attempts=settings.attempts,
                retry_base=settings.retry_base,
            )
        )


ROUTES = {
    ("PUT", "/sendgrid/settings"): SendGrid.put_settings,
    ("GET", "/sendgrid/settings"): SendGrid.get_settings,
    ("GET", "/sendgrid/v3/scopes"): SendGrid.list_scopes,
    ("POST", "/sendgrid/v3/mail/send"): SendGrid.send,
}


def _text_and_field(error: msgspec.ValidationError) -> tuple[str, str | None]:
    """Return the text of an error and its field in SendGrid's notation: `personalizations.0.to`."""
    text, _, path = str(error).partition(" - at `$")
    field = re.sub(r"\[(\d+|\.\.\.)\]", r".\1", path.rstrip("`")).strip(".")
    return f"{text}.", field or None


def _error(call: Call, status: int, text: str, field: str | None = None, *more: tuple[str, str]) -> Response:
    document = {"errors": [{"message": text, "field": field, "help": None}]}
    return finish(status, [JSON, *more], msgspec.json.encode(document), call)
