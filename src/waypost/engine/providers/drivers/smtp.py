"""The SMTP driver: build a mail from a message, and classify the replies of a mail server."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from waypost.domain.messaging.failure_codes import INVALID_NUMBER, OTHER, REJECTED, THROTTLED, UNDELIVERED
from waypost.domain.messaging.message import Outcome, Outgoing, Verdict
from waypost.domain.messaging.mime import build_mail, check_address, parse_sender
from waypost.domain.providers.connection import Connection
from waypost.domain.providers.smtp import Stage, enhanced_code
from waypost.domain.values.ids import public
from waypost.engine.net.outbound import Outbound
from waypost.engine.net.request import Envelope, Request, Response
from waypost.errors import Invalid

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
#: Errors that affect every mail to this server, whatever its content.
_FAULTS = {"address_forbidden", "tls_missing", "login_missing"}


class MailCheck(msgspec.Struct, frozen=True, kw_only=True):
    """The result of checking a connection's settings against its mail server."""

    ok: bool
    #: How far it came: one of domain.smtp.Stage.
    stage: str
    #: The code of the last reply, if there was one.
    status: int | None
    #: Why it failed: a reason code.
    reason: str | None
    #: The server's reply, or why there was none.
    detail: str


def prepare(
    connection: Connection, messages: list[Outgoing], _callback_url: Callable[[Connection], str], now: int
) -> Request:
    """Build the mail for the first message; its Message-ID is the message's id, the same at each try.

    Bounces go to the connection's own address, whatever the sender of the message. Raises Invalid for a message that
    is not a valid mail.
    """
    message = messages[0]
    config = connection.config
    sender, envelope_sender = _senders(config)
    content = message.content
    recipient = check_address(message.address)
    mail = build_mail(
        content,
        to=recipient,
        sender=sender,
        message_id=_message_id(config, message),
        now=now,
        reply_to=str(config.get("reply_to") or ""),
    )
    request = _request(config, envelope_sender, (recipient,), mail, connection.connector.timeout_ms)
    # The headers of a mail are in its body; show the SMTP commands before it instead.
    request.headers = [f"MAIL FROM: {envelope_sender}", f"RCPT TO: {recipient}"]
    return request


def read(connection: Connection, messages: list[Outgoing], response: Response, _now: int) -> list[Verdict]:
    """Return the verdict for the server's last reply, or for no reply."""
    verdict = judge(response)
    if verdict.outcome is Outcome.ACCEPTED:
        # A server's queue id appears nowhere else: bounces and complaints name the Message-ID.
        verdict = msgspec.structs.replace(verdict, provider_message_id=_message_id(connection.config, messages[0]))
    return [verdict] * len(messages)


async def check_smtp(outbound: Outbound, config: Mapping[str, Any], timeout_ms: int = CHECK_TIMEOUT_MS) -> MailCheck:
    """Check settings against a server, up to its reply to MAIL FROM; send no mail.

    Raises Invalid for settings that cannot be used, and Unavailable when this process stops.
    """
    sender, envelope_sender = _senders(config)
    parse_sender(sender)
    response = await outbound.check_mail(_request(config, envelope_sender, (), b"", timeout_ms))
    if response.status == 250 and response.stage == Stage.SENDER:
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
    """Classify the response to a mail; never raises.

    A reply of 2xx to the mail itself: accepted. 4xx: retry. 5xx about the recipient or the mail: rejected; 5xx before
    that, or about who may send: misconfigured. No reply: retry, unless the whole mail may have arrived.
    """
    if response.status is None:
        return _silence(response)
    detail = _detail(response)
    enhanced = enhanced_code(response.body.decode("utf-8", "replace"))
    code = enhanced or str(response.status)
    stage = response.stage
    if stage == Stage.MESSAGE and 200 <= response.status < 300:
        return Verdict(outcome=Outcome.ACCEPTED, provider_code=code, detail=detail)
    if stage == Stage.MESSAGE and response.status < 400:
        return Verdict(outcome=Outcome.UNKNOWN, code=OTHER, reason="no_answer", provider_code=code, detail=detail)
    if response.status < 500:
        fast = (enhanced is None or enhanced.startswith(("4.7.", "4.4.5", "4.5.3"))) and _TOO_FAST.search(detail)
        outcome, failure, reason = (
            Outcome.RETRY,
            THROTTLED if fast else UNDELIVERED,
            "throttled" if fast else "temporary",
        )
        return Verdict(outcome=outcome, code=failure, reason=reason, provider_code=code, detail=detail)
    outcome, number, reason = _refusal(stage, response.status, enhanced or "", detail)
    suppress = "bounced" if reason == "invalid_address" and enhanced == "5.1.1" else None
    return Verdict(outcome=outcome, code=number, reason=reason, provider_code=code, detail=detail, suppress=suppress)


def _refusal(stage: str, status: int, enhanced: str, detail: str) -> tuple[Outcome, int | None, str]:
    """Classify a 5xx reply: outcome, failure code and reason."""
    if status in (530, 534, 535, 538) or stage == Stage.LOGIN:
        return Outcome.MISCONFIGURED, None, "credentials"
    if stage in (Stage.CONNECT, Stage.HELLO, Stage.TLS):
        return Outcome.MISCONFIGURED, None, "configuration"
    if (status == 552 and not enhanced.startswith("5.2.")) or enhanced == "5.3.4":
        return Outcome.REJECTED, REJECTED, "too_large" if enhanced in ("", "5.3.4") else "rejected"
    if stage == Stage.SENDER:
        return Outcome.MISCONFIGURED, None, "sender_refused"
    if stage == Stage.RECIPIENT and _NOT_FOR_US.search(detail):
        # Relay access denied: the server accepts mail only for its own domains or from authenticated clients.
        return Outcome.MISCONFIGURED, None, "relay_refused"
    if enhanced.startswith("5.1.") and enhanced not in ("5.1.7", "5.1.8"):
        return Outcome.REJECTED, INVALID_NUMBER, "invalid_address"
    if stage == Stage.RECIPIENT and not enhanced and status in (521, 550, 551, 553, 556):
        return Outcome.REJECTED, INVALID_NUMBER, "invalid_address"
    if stage == Stage.RECIPIENT and enhanced in ("5.0.0", "5.5.0") and status in (550, 551, 553):
        return Outcome.REJECTED, INVALID_NUMBER, "invalid_address"
    if status in (550, 551, 552, 553, 554) or enhanced.startswith(("5.2.", "5.7.")):
        return Outcome.REJECTED, REJECTED, "rejected"
    return Outcome.REJECTED, OTHER, "refused"


def _silence(response: Response) -> Verdict:
    """Classify a session without a reply."""
    detail = (response.error or "")[:LONGEST_DETAIL]
    word = detail.partition(":")[0]
    if response.sent:
        return Verdict(outcome=Outcome.UNKNOWN, code=OTHER, reason="no_answer", detail=detail)
    if word == "no_utf8":
        return Verdict(outcome=Outcome.REJECTED, code=INVALID_NUMBER, reason="invalid_address", detail=detail)
    if word == "not_sent" and response.stage != Stage.CONNECT:
        return Verdict(outcome=Outcome.REJECTED, code=OTHER, reason="cannot_build", detail=detail)
    if word in _FAULTS:
        return Verdict(outcome=Outcome.MISCONFIGURED, reason=word, detail=detail)
    if word == "tls" and "certificate" in detail.lower():
        return Verdict(outcome=Outcome.MISCONFIGURED, reason="certificate", detail=detail)
    if word in ("not_smtp", "not_sent") and response.stage == Stage.CONNECT:
        return Verdict(outcome=Outcome.MISCONFIGURED, reason="configuration", detail=detail)
    return Verdict(outcome=Outcome.RETRY, code=OTHER, reason="unreachable", detail=detail)


def _detail(response: Response) -> str:
    words = " ".join(response.body.decode("utf-8", "replace").split())
    return f"{response.status} {words}"[:LONGEST_DETAIL].strip()


def _message_id(config: Mapping[str, Any], message: Outgoing) -> str:
    address = parse_sender(message.content.sender or str(config["from_email"]))[1]
    return f"{public('msg', message.id)}@{address.rpartition('@')[2]}"


def _senders(config: Mapping[str, Any]) -> tuple[str, str]:
    """Return the default sender and the bounce address; raise Invalid when the configuration has none."""
    try:
        name = str(config.get("from_name") or "")
        address = check_address(str(config["from_email"]))
        bounces = str(config.get("envelope_from") or "")
        sender = '"{}" <{}>'.format(name.replace("\\", "\\\\").replace('"', '\\"'), address) if name else address
        parse_sender(sender)
        if config.get("reply_to"):
            parse_sender(str(config["reply_to"]))
        return sender, check_address(bounces) if bounces else address
    except Invalid as error:
        raise Invalid(error.detail, code="invalid_config") from None


def _request(
    config: Mapping[str, Any], sender: str, recipients: tuple[str, ...], mail: bytes, timeout_ms: int
) -> Request:
    scheme, tls = _SECURITY[str(config.get("security") or "starttls")]
    host = str(config["host"])
    envelope = Envelope(sender, recipients, str(config.get("username") or ""), str(config.get("password") or ""), tls)
    url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{int(config['port'])}"
    return Request(url, mail, [], timeout_ms, envelope=envelope)
