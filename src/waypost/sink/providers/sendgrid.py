"""SendGrid as the sink plays it: v3 mail/send, scopes, and the signed Event Webhook."""

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
from waypost.sink.faulty_response import Answer, json
from waypost.sink.http_connection import Request
from waypost.sink.providers.http_provider import (
    HAVING,
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
#: Addresses that begin with one of these and an @ or a plus sign have a fate (sink.fates).
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
#: What a share of `failure_rate` gets.
FAILURES = ("bounced", "blocked", "dropped")

BROWSER = {"useragent": "Mozilla/5.0 (sink)", "ip": "203.0.113.7"}
BOUNCE = {
    "type": "bounce",
    "status": "5.1.1",
    "reason": "550 5.1.1 There is no such mailbox",
    "bounce_classification": "Invalid Address",
}
BLOCKED = {
    "type": "blocked",
    "status": "5.7.1",
    "reason": "554 5.7.1 Not wanted here",
    "bounce_classification": "Reputation",
}
#: What each step of a fate is to the Event Webhook: the event, and the fields it alone has (protocols, the lists of
#: sendgrid-oai and the vendor's guide). Steps that are not here have no word at SendGrid.
EVENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "queued": ("processed", {}),
    "delivered": ("delivered", {"response": "250 2.0.0 Kept", "tls": 1}),
    "deferred": ("deferred", {"response": "451 4.3.0 Come back later", "attempt": "1"}),
    "bounced": ("bounce", BOUNCE),
    "invalid": ("bounce", BOUNCE),
    "unreachable": ("bounce", BOUNCE | {"status": "5.4.4", "reason": "550 5.4.4 There is no such host"}),
    "blocked": ("bounce", BLOCKED),
    "carrier_blocked": ("bounce", BLOCKED),
    "spam": ("bounce", BLOCKED | {"bounce_classification": "Content"}),
    "invalid_message": ("bounce", BLOCKED | {"bounce_classification": "Content"}),
    "expired": ("bounce", BLOCKED | {"status": "4.4.7", "reason": "Nobody took it for three days"}),
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
#: Events about the handing over, which carry the id of the SMTP message.
WITH_SMTP_ID = frozenset({"processed", "deferred", "delivered", "bounce", "dropped"})


class SendGridSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a run can set."""

    #: The only key that is right; any that begins with SG. when there is none.
    api_key: Secret | None = None
    scopes: tuple[str, ...] = ("mail.send", "user.webhooks.event.settings.read")
    #: Where events go, if anywhere.
    event_url: Url | None = None
    #: Which events are told; all of them when it is not given.
    events: list[str] | UnsetType = UNSET
    signed: bool = True
    batch_size: Annotated[int, Meta(ge=1, le=10_000)] = 1000
    #: Seconds that a batch may wait for more events.
    batch_wait: Wait = 0.05
    attempts: Tries = 8
    retry_base: Wait = 0.5


class SendGrid:
    """The account at play."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._dice = context.scenarios.declare(NAME, FAILURES)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._settings = SendGridSettings()
        self._events: list[dict[str, Any]] = []
        self._timer: asyncio.TimerHandle | None = None

    def configure(self, given: object) -> None:
        """Take settings for this run; events that wait to be told are forgotten."""
        settings = read_settings(given, SendGridSettings)
        check_url(settings.event_url, "event_url")
        self._settings = settings
        self._events.clear()

    def put_settings(self, request: Request) -> Answer:
        """Take settings, and show them."""
        self.configure(body(request))
        return self.get_settings(request)

    def get_settings(self, request: Request) -> Answer:
        """The settings without the API key, and the key that verifies the events: base64 of DER (SPKI)."""
        public = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        shown = msgspec.to_builtins(self._settings)
        del shown["api_key"]
        return json(shown | {"public_key": base64.b64encode(public).decode("ascii")})

    def list_scopes(self, request: Request) -> Answer:
        """What the key may do."""
        call = self._dice.call()
        if call.status is not None:
            return _error(call, call.status, "Something went wrong here.")
        if not self._admits(request):
            return _error(call, 401, "The API key is not valid.")
        return finish(200, [JSON], msgspec.json.encode({"scopes": self._settings.scopes}), call)

    def send(self, request: Request) -> Answer:
        """Take a mail: 202 and an id, or what is wrong with it."""
        self._context.record(NAME, request)
        call = self._dice.call()
        if call.status is not None:
            return _error(call, call.status, "Something went wrong here.")
        if not self._admits(request):
            return _error(call, 401, "The API key is not valid.")
        if "mail.send" not in self._settings.scopes:
            return _error(call, 403, "The API key may not send mail.")
        if len(request.body) > LARGEST_MAIL:
            return _error(call, 413, f"A mail may have {LARGEST_MAIL} bytes.")
        if headers(request).get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return _error(call, 415, "The body is JSON, and its content type must say so.")
        try:
            mail = decode(request.body, Mail)
        except msgspec.ValidationError as error:
            what, field = _where(error)
            return _error(call, 400, what, field)
        except msgspec.DecodeError as error:
            return _error(call, 400, f"The body is not JSON: {error}.")
        wrong = find_fault(mail, clock.now_us() // clock.SECOND)
        if wrong is not None:
            return _error(call, 400, wrong[1], wrong[0])
        if mail.from_ is not None and mail.from_.email.partition("@")[0] == "unverified":
            return _error(call, 403, "The sender's address is not verified.", "from")
        if mail.mail_settings.get("sandbox_mode", {}).get("enable") is True:
            return finish(200, [], b"", call)
        return self._take(mail, call)

    def _admits(self, request: Request) -> bool:
        given = bearer(headers(request)) or ""
        return given.startswith("SG.") and given[3:] not in ("", NEVER) and admits(self._settings.api_key, given)

    def _take(self, mail: Mail, call: Call) -> Answer:
        """Take a valid mail, unless the fate of a recipient is against it."""
        copies = [
            (at, copy, box)
            for at, copy in enumerate(mail.personalizations)
            for box in itertools.chain(copy.to, copy.cc, copy.bcc)
        ]
        scenarios = [self._scenario(box.email) for _, _, box in copies]
        said = worst(scenarios)
        if said not in HAVING and said not in (Reply.OPTED_OUT, Reply.DUPLICATE):
            return self._refuse(call, said, copies[[scenario.reply for scenario in scenarios].index(said)][0])
        message_id = secrets.token_urlsafe(16)
        sent_at = clock.now_us() // clock.SECOND
        text = mail.content[0].value if mail.content else f"template {mail.template_id}"
        for number, ((_, copy, box), scenario) in enumerate(zip(copies, scenarios, strict=True)):
            told = mail.custom_args | copy.custom_args
            mid = told.get("waypost_id") or next(iter(told.values()), "")
            self._context.sent_log.add(NAME, box.email, text, mid, message_id, scenario.word)
            # Who has unsubscribed is no error: the mail is taken and dropped.
            steps = ("opted_out",) if scenario.reply is Reply.OPTED_OUT else scenario.steps
            events = self._tell(steps, box.email, message_id, number, sent_at, mail.categories, told)
            if events:
                asyncio.get_running_loop().call_later(scenario.delay, self._add, events)
        return finish(202, [("X-Message-Id", message_id)], b"", call, said)

    def _scenario(self, address: str) -> Scenario:
        word = MAILBOXES.get(address.partition("@")[0].partition("+")[0].lower())
        return self._dice.message(address if word is None else f"{EMAIL_MARK}{word}+{address}")

    def _refuse(self, call: Call, said: Reply, at: int) -> Answer:
        """The answer to a mail that is not taken."""
        match said:
            case Reply.INVALID:
                return _error(call, 400, "This is not a valid address.", f"personalizations.{at}.to.0.email")
            case Reply.THROTTLED:
                after = self._dice.settings.retry_after
                told = [
                    ("X-RateLimit-Limit", "600"),
                    ("X-RateLimit-Remaining", "0"),
                    ("X-RateLimit-Reset", str(clock.now_us() // clock.SECOND + max(after, 1))),
                ]
                return _error(call, 429, "Too many requests.", None, *told)
            case Reply.TEMPORARY:
                return _error(call, 503, "Not now; try again later.")
            case Reply.ERROR:
                return _error(call, self._dice.settings.error_status, "Something went wrong here.")
            case Reply.UNKNOWN:
                return _error(call, 500, "Something went wrong here.")
        return _error(call, 400, "The mail is refused.")

    def _tell(
        self,
        steps: tuple[str, ...],
        address: str,
        message_id: str,
        number: int,
        at: int,
        categories: list[str],
        told: dict[str, str],
    ) -> list[dict[str, Any]]:
        """The events that the steps of a mail's fate come to; a step that is repeated is the same event again."""
        wanted, events = self._settings.events, []
        for step in steps:
            name, special = EVENTS.get(step, ("", {}))
            if not name or (wanted is not UNSET and name not in wanted):
                continue
            event = {
                **told,
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
        """Put events into the batch that goes out next."""
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
        """Post a batch of events: a JSON array that ends with CRLF, which is signed as well."""
        settings = self._settings
        batch, self._events = self._events[: settings.batch_size], self._events[settings.batch_size :]
        if not batch or settings.event_url is None:
            return
        payload = msgspec.json.encode(batch) + b"\r\n"
        told = [JSON, ("user-agent", "SendGrid Event API")]
        if settings.signed:
            at = str(clock.now_us() // clock.SECOND)
            signature = self._key.sign(at.encode() + payload, ec.ECDSA(hashes.SHA256()))
            told += [(SIGNATURE, base64.b64encode(signature).decode("ascii")), (TIMESTAMP, at)]
        self._context.callbacks.send(
            Callback(
                sender=NAME,
                url=settings.event_url,
                headers=told,
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


def _where(error: msgspec.ValidationError) -> tuple[str, str | None]:
    """What is wrong, and the field as SendGrid names one: `personalizations.0.to`."""
    what, _, path = str(error).partition(" - at `$")
    field = re.sub(r"\[(\d+|\.\.\.)\]", r".\1", path.rstrip("`")).strip(".")
    return f"{what}.", field or None


def _error(call: Call, status: int, what: str, field: str | None = None, *more: tuple[str, str]) -> Answer:
    told = {"errors": [{"message": what, "field": field, "help": None}]}
    return finish(status, [JSON, *more], msgspec.json.encode(told), call)
