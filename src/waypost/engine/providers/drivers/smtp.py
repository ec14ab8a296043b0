"""The SMTP driver: build a mail from a message, and classify the reply of the mail server."""

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

#: While a session sends a mail, the next mail waits for the session, so that its commands follow without a pause.
CALLS_PER_SLOT = 2
LONGEST_DETAIL = 500
CHECK_TIMEOUT_MS = 15_000

#: By the value of the field `security`: the scheme of the `Request`, and `tls` of the `Envelope`.
_SECURITY = {
    "starttls": ("smtp", "required"),
    "tls": ("smtps", "required"),
    "opportunistic": ("smtp", "opportunistic"),
    "none": ("smtp", "none"),
}
_RATE_LIMITED = re.compile(
    r"\brate\b|throttl|too (?:many|fast|much)|quota|limit exceeded|exceeded .*limit", re.IGNORECASE
)
_RELAYING_DENIED = re.compile(r"\brelay|authenticat", re.IGNORECASE)
#: Errors that keep every mail from the server, whatever it contains.
_CONFIGURATION_ERRORS = {"address_forbidden", "tls_missing", "login_missing"}


class MailCheck(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a check of a connection's settings with its mail server."""

    ok: bool
    #: The last stage that the session reached: a SmtpStage.
    stage: str
    #: The code of the last reply, or None.
    status: int | None
    #: Why the check failed: the reason of a verdict.
    reason: str | None
    #: The text of the server's last reply, or the error that prevented one.
    detail: str


def together(messages: list[Outgoing]) -> list[bool]:
    """Return True for the first message only: each mail is sent by itself."""
    return [index == 0 for index in range(len(messages))]


def divisible(messages: list[Outgoing], response: Response) -> bool:
    """Return False: each mail is sent by itself."""
    return False


def prepare(
    connection: Connection,
    messages: list[Outgoing],
    callback_url: Callable[[Connection], str],
    now: int,
) -> Request:
    """Return the mail for the first message. Its Message-ID is made of the message's id, so every try has the same.

    Bounces go to the return path of the message or else of the connection, whoever is the sender of the message. Raise
    Invalid if the message cannot be made a valid mail.
    """
    message = messages[0]
    config = connection.config
    sender, bounces = _senders(config)
    envelope_sender = message.return_path or bounces
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
    # A mail has its headers in the body. For test sends, these are the commands before it.
    request.headers = [f"MAIL FROM: {envelope_sender}", f"RCPT TO: {recipient}"]
    return request


def read(
    connection: Connection,
    messages: list[Outgoing],
    response: Response,
    now: int,
) -> list[Verdict]:
    """Return what the server's last reply, or its absence, means for the message."""
    verdict = judge(response)
    if verdict.outcome is SendOutcome.ACCEPTED:
        # Bounces and receipts name the Message-ID, not the queue id in the reply of the server.
        verdict = msgspec.structs.replace(verdict, provider_message_id=_message_id(connection.config, messages[0]))
    return [verdict] * len(messages)


async def check_smtp(outbound: Outbound, config: Mapping[str, Any], timeout_ms: int = CHECK_TIMEOUT_MS) -> MailCheck:
    """Check whether a server accepts these settings, up to its reply to the sender; send no mail.

    Raises Invalid for settings that cannot be used, and Unavailable when this process stops.
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
    """Return what a response to a mail means; never raises.

    A reply of 2xx to the data of the mail means accepted; 4xx, retry; 5xx about the recipient or the mail, rejected;
    5xx before that, or about the right to send, misconfigured. Without a reply: retry, unless the whole mail may have
    arrived.
    """
    if response.status is None:
        return _judge_no_reply(response)
    detail = _detail(response)
    enhanced = enhanced_code(response.body.decode("utf-8", "replace"))
    code = enhanced or str(response.status)
    stage = response.stage
    if stage == SmtpStage.MESSAGE and 200 <= response.status < 300:
        return Verdict(outcome=SendOutcome.ACCEPTED, provider_code=code, detail=detail)
    if stage == SmtpStage.MESSAGE and response.status < 400:
        return Verdict(outcome=SendOutcome.UNKNOWN, code=OTHER, reason="no_answer", provider_code=code, detail=detail)
    if response.status < 500:
        limited = (enhanced is None or enhanced.startswith(("4.7.", "4.4.5", "4.5.3"))) and _RATE_LIMITED.search(detail)
        outcome, failure, reason = (
            SendOutcome.RETRY,
            THROTTLED if limited else UNDELIVERED,
            "throttled" if limited else "temporary",
        )
        return Verdict(outcome=outcome, code=failure, reason=reason, provider_code=code, detail=detail)
    outcome, number, reason = _refusal(stage, response.status, enhanced or "", detail)
    suppress = "bounced" if reason == "invalid_address" and enhanced == "5.1.1" else None
    return Verdict(outcome=outcome, code=number, reason=reason, provider_code=code, detail=detail, suppress=suppress)


def _refusal(stage: str, status: int, enhanced: str, detail: str) -> tuple[SendOutcome, int | None, str]:
    """Return the outcome, failure code and reason of a reply of 5xx."""
    if status in (530, 534, 535, 538) or stage == SmtpStage.LOGIN:
        return SendOutcome.MISCONFIGURED, None, "credentials"
    if stage in (SmtpStage.CONNECT, SmtpStage.HELLO, SmtpStage.TLS):
        return SendOutcome.MISCONFIGURED, None, "configuration"
    if (status == 552 and not enhanced.startswith("5.2.")) or enhanced == "5.3.4":
        return SendOutcome.REJECTED, REJECTED, "too_large" if enhanced in ("", "5.3.4") else "rejected"
    if stage == SmtpStage.SENDER:
        return SendOutcome.MISCONFIGURED, None, "sender_refused"
    if stage == SmtpStage.RECIPIENT and _RELAYING_DENIED.search(detail):
        # Relay access denied: the server accepts mails for its own users only, or from clients that log in.
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


def _judge_no_reply(response: Response) -> Verdict:
    """Return what the absence of a reply means."""
    detail = (response.error or "")[:LONGEST_DETAIL]
    error = detail.partition(":")[0]
    if response.sent:
        return Verdict(outcome=SendOutcome.UNKNOWN, code=OTHER, reason="no_answer", detail=detail)
    if error == "no_utf8":
        return Verdict(outcome=SendOutcome.REJECTED, code=INVALID_NUMBER, reason="invalid_address", detail=detail)
    if error == "not_sent" and response.stage != SmtpStage.CONNECT:
        return Verdict(outcome=SendOutcome.REJECTED, code=OTHER, reason="cannot_build", detail=detail)
    if error in _CONFIGURATION_ERRORS:
        return Verdict(outcome=SendOutcome.MISCONFIGURED, reason=error, detail=detail)
    if error == "tls" and "certificate" in detail.lower():
        return Verdict(outcome=SendOutcome.MISCONFIGURED, reason="certificate", detail=detail)
    if error in ("not_smtp", "not_sent") and response.stage == SmtpStage.CONNECT:
        return Verdict(outcome=SendOutcome.MISCONFIGURED, reason="configuration", detail=detail)
    return Verdict(outcome=SendOutcome.RETRY, code=OTHER, reason="unreachable", detail=detail)


def _detail(response: Response) -> str:
    text = " ".join(response.body.decode("utf-8", "replace").split())
    return f"{response.status} {text}"[:LONGEST_DETAIL].strip()


def _message_id(config: Mapping[str, Any], message: Outgoing) -> str:
    address = parse_sender(message.content.sender or str(config["from_email"]))[1]
    return f"{public('msg', message.id)}@{address.rpartition('@')[2]}"


def _senders(config: Mapping[str, Any]) -> tuple[str, str]:
    """Return the sender of mails that name none, and the address for bounces. Raise Invalid if one is not valid."""
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
