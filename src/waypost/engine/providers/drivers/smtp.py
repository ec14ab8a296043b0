"""The driver for mail servers: a message as a mail for one of them, and what its replies mean."""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from waypost.domain.messaging.failure_codes import INVALID_NUMBER, OTHER, REJECTED, THROTTLED, UNDELIVERED
from waypost.domain.messaging.message import Outgoing, SendOutcome, Verdict
from waypost.domain.messaging.mime import build_mail, check_address, parse_sender
from waypost.domain.providers.connection import Connection
from waypost.domain.providers.smtp import SmtpStage, enhanced_code
from waypost.domain.values.ids import public
from waypost.engine.net.outbound import Outbound
from waypost.engine.net.request import Envelope, Request, Response
from waypost.errors import Invalid

#: While a session sends a mail, the next one waits for it, so that its commands follow without a pause.
CALLS_PER_SLOT = 2
LONGEST_DETAIL = 500
CHECK_TIMEOUT_MS = 15_000

#: How `Request` and `Envelope` say what the field `security` says: the scheme, and the envelope's `tls`.
_SECURITY = {
    "starttls": ("smtp", "required"),
    "tls": ("smtps", "required"),
    "opportunistic": ("smtp", "opportunistic"),
    "none": ("smtp", "none"),
}
_TOO_FAST = re.compile(r"\brate\b|throttl|too (?:many|fast|much)|quota|limit exceeded|exceeded .*limit", re.IGNORECASE)
_NOT_FOR_US = re.compile(r"\brelay|authenticat", re.IGNORECASE)
#: Words for what keeps every mail from this server, whatever is in it.
_FAULTS = {"address_forbidden", "tls_missing", "login_missing"}


class MailCheck(msgspec.Struct, frozen=True, kw_only=True):
    """How a mail server takes a connection's settings."""

    ok: bool
    #: How far it came: one of domain.smtp.Stage.
    stage: str
    #: The code of the last reply, if there was one.
    status: int | None
    #: Why not, in one of our words.
    reason: str | None
    #: The server's own words, or what kept them from coming.
    detail: str


def together(messages: list[Outgoing]) -> list[bool]:
    """Each mail goes out by itself."""
    return [index == 0 for index in range(len(messages))]


def divisible(messages: list[Outgoing], response: Response) -> bool:
    """Each mail goes out by itself."""
    return False


def prepare(
    connection: Connection,
    messages: list[Outgoing],
    callback_url: Callable[[Connection], str],
    now: int,
) -> Request:
    """The mail for the first message; its Message-ID is the message's id, at each try the same.

    Bounces come to the connection's own address, whoever the message is from. Invalid when a mail of it would not be
    one.
    """
    message = messages[0]
    config = connection.config
    sender, envelope_sender = _senders(config)
    recipient = check_address(message.address)
    mail = build_mail(
        message.content,
        to=recipient,
        sender=sender,
        message_id=_message_id(config, message),
        now=now,
        reply_to=config.get("reply_to") or "",
    )
    request = _request(config, envelope_sender, (recipient,), mail, connection.connector.timeout_ms)
    # A mail has no other headers to show than those in it; these are the words that come before it.
    request.headers = [f"MAIL FROM: {envelope_sender}", f"RCPT TO: {recipient}"]
    return request


def read(
    connection: Connection,
    messages: list[Outgoing],
    response: Response,
    now: int,
) -> list[Verdict]:
    """What the server's last reply, or its absence, means for the message."""
    verdict = judge(response)
    if verdict.outcome is SendOutcome.ACCEPTED:
        # Servers have numbers of their own, that nobody sees again: whatever comes back names the Message-ID.
        verdict = msgspec.structs.replace(verdict, provider_message_id=_message_id(connection.config, messages[0]))
    return [verdict] * len(messages)


async def check_smtp(outbound: Outbound, config: Mapping[str, Any], timeout_ms: int = CHECK_TIMEOUT_MS) -> MailCheck:
    """Whether a server takes these settings, by going as far as its consent to the sender; no mail is sent.

    Raises Invalid for settings of which no conversation can be made, and Unavailable when this process stops.
    """
    sender, envelope_sender = _senders(config)
    parse_sender(sender)
    response = await outbound.check_mail(_request(config, envelope_sender, (), b"", timeout_ms))
    if response.status == 250 and response.stage == SmtpStage.SENDER:
        return MailCheck(ok=True, stage=response.stage, status=250, reason=None, detail=_detail(response))
    verdict = judge(response)
    return MailCheck(
        ok=False,
        stage=response.stage,
        status=response.status,
        reason=verdict.reason,
        detail=verdict.detail or "",
    )


def judge(response: Response) -> Verdict:
    """What a response to a mail means; never raises.

    A reply of 2xx to the mail itself: accepted. 4xx: retry. 5xx about the recipient or the mail: rejected; 5xx before
    that, or about who may send: misconfigured. No reply: retry, unless the whole mail may have arrived.
    """
    if response.status is None:
        return _silence(response)
    detail = _detail(response)
    enhanced = enhanced_code(response.body.decode("utf-8", "replace"))
    code = enhanced or str(response.status)
    stage = response.stage
    if stage == SmtpStage.MESSAGE and 200 <= response.status < 300:
        return Verdict(outcome=SendOutcome.ACCEPTED, provider_code=code, detail=detail)
    if stage == SmtpStage.MESSAGE and response.status < 400:
        return Verdict(outcome=SendOutcome.UNKNOWN, code=OTHER, reason="no_answer", provider_code=code, detail=detail)
    if response.status < 500:
        fast = (enhanced is None or enhanced.startswith(("4.7.", "4.4.5", "4.5.3"))) and _TOO_FAST.search(detail)
        outcome, failure, reason = (
            SendOutcome.RETRY,
            THROTTLED if fast else UNDELIVERED,
            "throttled" if fast else "temporary",
        )
        return Verdict(outcome=outcome, code=failure, reason=reason, provider_code=code, detail=detail)
    outcome, number, reason = _refusal(stage, response.status, enhanced or "", detail)
    suppress = "bounced" if reason == "invalid_address" and enhanced == "5.1.1" else None
    return Verdict(outcome=outcome, code=number, reason=reason, provider_code=code, detail=detail, suppress=suppress)


def _refusal(stage: str, status: int, enhanced: str, detail: str) -> tuple[SendOutcome, int | None, str]:
    """What a reply of 5xx means: the outcome, our code and our reason."""
    if status in (530, 534, 535, 538) or stage == SmtpStage.LOGIN:
        return SendOutcome.MISCONFIGURED, None, "credentials"
    if stage in (SmtpStage.CONNECT, SmtpStage.HELLO, SmtpStage.TLS):
        return SendOutcome.MISCONFIGURED, None, "configuration"
    if (status == 552 and not enhanced.startswith("5.2.")) or enhanced == "5.3.4":
        return SendOutcome.REJECTED, REJECTED, "too_large" if enhanced in ("", "5.3.4") else "rejected"
    if stage == SmtpStage.SENDER:
        return SendOutcome.MISCONFIGURED, None, "sender_refused"
    if stage == SmtpStage.RECIPIENT and _NOT_FOR_US.search(detail):
        # Relay access denied: it takes mails for its own people only, or from those who log in.
        return SendOutcome.MISCONFIGURED, None, "relay_refused"
    if enhanced.startswith("5.1.") and enhanced not in ("5.1.7", "5.1.8"):
        return SendOutcome.REJECTED, INVALID_NUMBER, "invalid_address"
    if stage == SmtpStage.RECIPIENT and not enhanced and status in (521, 550, 551, 553, 556):
        return SendOutcome.REJECTED, INVALID_NUMBER, "invalid_address"
    if stage == SmtpStage.RECIPIENT and enhanced in ("5.0.0", "5.5.0") and status in (550, 551, 553):
        return SendOutcome.REJECTED, INVALID_NUMBER, "invalid_address"
    if status in (550, 551, 552, 553, 554) or enhanced.startswith(("5.2.", "5.7.")):
        return SendOutcome.REJECTED, REJECTED, "rejected"
    return SendOutcome.REJECTED, OTHER, "refused"


def _silence(response: Response) -> Verdict:
    """What it means that there was no reply."""
    detail = (response.error or "")[:LONGEST_DETAIL]
    word = detail.partition(":")[0]
    if response.sent:
        return Verdict(outcome=SendOutcome.UNKNOWN, code=OTHER, reason="no_answer", detail=detail)
    if word == "no_utf8":
        return Verdict(outcome=SendOutcome.REJECTED, code=INVALID_NUMBER, reason="invalid_address", detail=detail)
    if word == "not_sent" and response.stage != SmtpStage.CONNECT:
        return Verdict(outcome=SendOutcome.REJECTED, code=OTHER, reason="cannot_build", detail=detail)
    if word in _FAULTS:
        return Verdict(outcome=SendOutcome.MISCONFIGURED, reason=word, detail=detail)
    if word == "tls" and "certificate" in detail.lower():
        return Verdict(outcome=SendOutcome.MISCONFIGURED, reason="certificate", detail=detail)
    if word in ("not_smtp", "not_sent") and response.stage == SmtpStage.CONNECT:
        return Verdict(outcome=SendOutcome.MISCONFIGURED, reason="configuration", detail=detail)
    return Verdict(outcome=SendOutcome.RETRY, code=OTHER, reason="unreachable", detail=detail)


def _detail(response: Response) -> str:
    words = " ".join(response.body.decode("utf-8", "replace").split())
    return f"{response.status} {words}"[:LONGEST_DETAIL].strip()


def _message_id(config: Mapping[str, Any], message: Outgoing) -> str:
    address = parse_sender(message.content.sender or str(config["from_email"]))[1]
    return f"{public('msg', message.id)}@{address.rpartition('@')[2]}"


def _senders(config: Mapping[str, Any]) -> tuple[str, str]:
    """Return the sender of mails that name none, and the address for bounces. Raise Invalid if the settings are."""
    return _senders_of(
        config.get("from_name") or "",
        str(config["from_email"]),
        config.get("envelope_from") or "",
        config.get("reply_to") or "",
    )


@lru_cache(maxsize=256)
def _senders_of(name: str, email: str, bounces: str, reply_to: str) -> tuple[str, str]:
    try:
        address = check_address(email)
        sender = '"{}" <{}>'.format(name.replace("\\", "\\\\").replace('"', '\\"'), address) if name else address
        parse_sender(sender)
        if reply_to:
            parse_sender(reply_to)
        return sender, check_address(bounces) if bounces else address
    except Invalid as error:
        raise Invalid(error.detail, code="invalid_config") from None


def _request(
    config: Mapping[str, Any], sender: str, recipients: tuple[str, ...], mail: bytes, timeout_ms: int
) -> Request:
    security = config.get("security") or "starttls"
    envelope = Envelope(
        sender, recipients, config.get("username") or "", config.get("password") or "", _SECURITY[security][1]
    )
    return Request(
        _url(security, config["host"], int(config["port"])), mail, [], timeout_ms, envelope=envelope, canonical=True
    )


@lru_cache(maxsize=256)
def _url(security: str, host: str, port: int) -> str:
    return f"{_SECURITY[security][0]}://{f'[{host}]' if ':' in host else host}:{port}"
