"""Read mails about mails: delivery status notifications (RFC 3464), feedback reports (RFC 5965), and their like.

Anybody can send such a mail. What says which message it is about is therefore the token in the return path, or, where
the sender of the report is known, the Message-ID in the headers that it returns.
"""

import hashlib
import re
from collections.abc import Iterator
from datetime import UTC
from email import message_from_bytes
from email.message import Message
from email.utils import parsedate_to_datetime

import msgspec

from waypost.clock import DAY, SECOND
from waypost.domain.messaging.failure_codes import INVALID_NUMBER, REJECTED, UNDELIVERED
from waypost.domain.messaging.message import Receipt, Status
from waypost.domain.messaging.receipt import Quarantined, clean_receipt, quarantine, read_message_id
from waypost.domain.messaging.return_path import BounceTokens, own_message_ids

#: What is read of a mail; a report is short, and returns the headers of the mail that it is about near its end.
MAIL_BYTES = 256 * 1024
#: A mail with more parts, or with more recipients in a part, is no report.
MOST_PARTS, MOST_RECIPIENTS = 50, 100
#: The characters that are read of a text.
TEXT = 16 * 1024
#: A report is not about what happened longer ago.
OLDEST = 30 * DAY

#: What the parser of the standard library raises for hostile mails, besides what it records as defects.
_FAILURES = (ValueError, LookupError, TypeError, AttributeError, AssertionError, RecursionError)
_ENHANCED = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.])")
_REPLY = re.compile(r"(?<![\d.-])([45]\d\d)[ -](?=[#A-Za-z5<])")
_AUTOMATIC = re.compile(r"\b(auto-?reply|auto-?replied|auto_reply|vacation|out.of.office|autoresponder)", re.IGNORECASE)
_BOUNCE_SUBJECT = re.compile(
    r"undeliver|not delivered|delivery (?:status|has )?fail|delivery status notification|failure notice|"
    r"mail delivery fail|returned mail|could not be delivered|warning: (?:message|could not send)|delayed",
    re.IGNORECASE,
)
_BOUNCE_SENDER = re.compile(r"(?:mailer-daemon|postmaster|mail delivery (?:sub)?system)", re.IGNORECASE)
_DELAYED = re.compile(r"\bdelayed\b|\bwarning\b|will (?:keep|continue) trying|still trying", re.IGNORECASE)
#: Where programs that write no parts return the mail.
_COPY = re.compile(
    r"^-{2,}.*(?:copy of the|original message|returned message).*$|^--- Below this line|^Received: ",
    re.IGNORECASE | re.MULTILINE,
)
_UNKNOWN_USER = re.compile(
    r"(?:user|mailbox|recipient|address|account)\S*\s+(?:is\s+)?(?:unknown|invalid|disabled|not\s+found)|"
    r"no such (?:user|mailbox|recipient|address|person)|does(?:n't| not) exist|unknown user|unrouteable",
    re.IGNORECASE,
)
#: Statuses of an address that will never take a mail. The first digit is left out.
_NO_ADDRESS = frozenset({"1.1", "1.2", "1.3", "1.6", "1.10", "2.1", "4.1", "4.4"})
#: Feedback that is a complaint.
_COMPLAINTS = frozenset({"abuse", "fraud", "virus", "other", "complaint"})


class Bounce(msgspec.Struct, frozen=True):
    """What a report says of a mail."""

    #: failed, delayed or delivered.
    action: str
    #: The enhanced status code (RFC 3463), or the code of a reply; empty if there is none.
    status: str
    detail: str


def read_report(
    mail: bytes, tokens: BounceTokens, workspace_id: int, connection_id: int, now: int, *, trusted: bool
) -> list[Receipt | Quarantined]:
    """Return the receipt of a mail, or the quarantined mail if it cannot be read. Never raises.

    Empty for a mail that says nothing of a delivery, such as an automatic reply. `trusted`: the mail was handed over by
    somebody with the key of the connection, so that it may name its message by our Message-ID.
    """
    try:
        found = _read(mail[:MAIL_BYTES], tokens, workspace_id, connection_id, now, trusted)
    except _NoReport as error:
        return [quarantine(workspace_id, connection_id, str(error), mail)]
    except _FAILURES as error:
        return [quarantine(workspace_id, connection_id, f"not a mail: {type(error).__name__}", mail)]
    return [] if found is None else [clean_receipt(found)]


class _NoReport(Exception):
    """A mail is no report that can be read."""


def _read(
    mail: bytes, tokens: BounceTokens, workspace_id: int, connection_id: int, now: int, trusted: bool
) -> Receipt | None:
    if mail.lower().count(b"boundary") > MOST_PARTS:
        # The time to parse it would grow with the square of its parts.
        raise _NoReport("too many parts")
    parsed = message_from_bytes(mail)
    parts = list(_parts(parsed))
    feedback = next((part for part in parts if part.get_content_type() == "message/feedback-report"), None)
    report = next((part for part in parts if part.get_content_type() == "message/delivery-status"), None)
    bounce = None
    if feedback is None:
        if any(part.get_content_type() == "message/disposition-notification" for part in parts):
            return None
        bounce = _read_status(report) if report is not None else None
        if bounce is None:
            if _is_automatic(parsed):
                return None
            bounce = _read_text(parsed, parts)
    elif _feedback_type(feedback) not in _COMPLAINTS:
        return None
    if bounce is None and feedback is None:
        raise _NoReport("not a report of a delivery")
    message_id = _find_message(mail, parsed, parts, tokens, trusted)
    if message_id is None:
        raise _NoReport("it names no message: no valid return path")
    receipt = Receipt(
        workspace_id=workspace_id,
        connection_id=connection_id,
        message_id=message_id,
        receipt_id=hashlib.sha256(mail).hexdigest()[:32],
        occurred_at=_moment(parsed, now),
    )
    if bounce is None:
        receipt.kind, receipt.event, receipt.suppress = "engagement", "email.complained", "complained"
        return receipt
    receipt.provider_code, receipt.detail = bounce.status or bounce.action, bounce.detail or None
    if bounce.action == "delivered":
        receipt.status = Status.DELIVERED
    elif bounce.action == "failed":
        receipt.status = Status.FAILED
        receipt.code, receipt.reason, receipt.bounce = _judge(bounce)
        receipt.suppress = "bounced" if receipt.bounce == "permanent" else None
    return receipt


def _judge(bounce: Bounce) -> tuple[int, str, str]:
    """Return the failure code, the reason and the kind of a mail that failed."""
    first, _, rest = bounce.status.partition(".")
    if first == "4":
        return UNDELIVERED, "mailbox_full" if rest == "2.2" else "undelivered", "transient"
    if rest in _NO_ADDRESS:
        return INVALID_NUMBER, "invalid_address", "permanent"
    if rest == "2.2":
        return UNDELIVERED, "mailbox_full", "transient"
    if rest in ("", "0.0", "5.0") and _UNKNOWN_USER.search(bounce.detail):
        return INVALID_NUMBER, "invalid_address", "permanent"
    if rest.startswith(("7.", "6.", "3.")):
        return REJECTED, "blocked", "transient"
    return UNDELIVERED, "bounced", "undetermined"


def _read_status(part: Message) -> Bounce | None:
    """Return what the fields of a delivery status say: a failure before a delay, a delay before a delivery."""
    blocks = part.get_payload()
    found: list[Bounce] = []
    for block in blocks[:MOST_RECIPIENTS] if isinstance(blocks, list) else []:
        if not isinstance(block, Message):
            continue
        action = _field(block, "action").lower()
        status = _ENHANCED.search(_field(block, "status"))
        detail = _field(block, "diagnostic-code")
        kind, semicolon, said = detail.partition(";")
        detail = said.strip() if semicolon else kind
        if action not in ("failed", "delayed", "delivered"):
            if action or status is None:
                continue
            # RFC 3464 requires an action; some servers leave it out.
            action = {"5": "failed", "4": "delayed", "2": "delivered"}[status[1]]
        code = status[0] if status else ""
        if action == "failed" and (not code or code.endswith(".0.0") or code.startswith("2")):
            # Some servers write 5.0.0 and leave the reply to speak for itself.
            code = _code_of(detail) or code
        found.append(Bounce(action, code, detail))
    order = ("failed", "delayed", "delivered")
    return min(found, key=lambda one: order.index(one.action), default=None)


def _read_text(parsed: Message, parts: list[Message]) -> Bounce | None:
    """Return what a mail without a delivery status says, or None if it is not clearly a bounce with a code."""
    failed_to = _field(parsed, "x-failed-recipients")
    subject, sender = _field(parsed, "subject"), _field(parsed, "from")
    no_sender = _field(parsed, "return-path").strip() == "<>"
    if not failed_to and not (no_sender and _BOUNCE_SUBJECT.search(subject)) and not _BOUNCE_SENDER.search(sender):
        return None
    text = next((_text(part) for part in parts if part.get_content_type() == "text/plain"), "")
    said = _COPY.split(text, maxsplit=1)[0]
    code = _code_of(said)
    if code is None:
        return None
    detail = " ".join(next((line for line in said.splitlines() if code in line), said).split())
    if code.startswith("4") or (_DELAYED.search(subject) and not failed_to):
        return Bounce("delayed" if _DELAYED.search(f"{subject} {said}") else "failed", code, detail)
    return Bounce("failed", code, detail)


def _code_of(text: str) -> str | None:
    """Return the first code of a failure in a text: an enhanced status code, else that of a reply."""
    for found in _ENHANCED.finditer(text[:TEXT]):
        if found[1] != "2" and found[0][1:] != ".0.0":
            return found[0]
    reply = _REPLY.search(text[:TEXT])
    return reply[1] if reply else None


def _find_message(
    mail: bytes, parsed: Message, parts: list[Message], tokens: BounceTokens, trusted: bool
) -> int | None:
    """Return the message that a mail is about: by a valid token, at best in its own headers."""
    headers = "\n".join(str(value) for _, value in parsed.items())
    texts = [headers, mail.decode("latin-1")]
    texts += [_text(part) for part in parts if part.get_content_maintype() == "text"]
    for text in texts:
        if (message_id := tokens.find(text)) is not None:
            return message_id
    if trusted:
        for text in texts[1:]:
            for name in own_message_ids(text):
                return read_message_id(name)
    return None


def _parts(parsed: Message) -> Iterator[Message]:
    """Yield a mail and its parts, but not those of the mail that it returns, up to a number."""
    waiting, count = [parsed], 0
    while waiting and count < MOST_PARTS:
        part = waiting.pop(0)
        count += 1
        yield part
        payload = part.get_payload()
        if part.get_content_maintype() == "multipart" and isinstance(payload, list):
            waiting += [one for one in payload if isinstance(one, Message)]


def _text(part: Message) -> str:
    payload = part.get_payload(decode=True)
    return payload[: 4 * TEXT].decode("utf-8", "replace")[:TEXT] if isinstance(payload, bytes) else ""


def _field(part: Message, name: str) -> str:
    return " ".join(str(part.get(name, ""))[:TEXT].split())


def _feedback_type(part: Message) -> str:
    payload = part.get_payload()
    first = payload[0] if isinstance(payload, list) and payload else part
    text = first.as_string() if isinstance(first, Message) else str(payload)
    found = re.search(r"^Feedback-Type:\s*([A-Za-z-]+)", text[:TEXT], re.IGNORECASE | re.MULTILINE)
    return found[1].lower() if found else ""


def _is_automatic(parsed: Message) -> bool:
    """Return whether a mail is an automatic reply (RFC 3834) of a person's mail program."""
    if _BOUNCE_SENDER.search(_field(parsed, "from")):
        # Exim marks its bounces as replies.
        return False
    if _field(parsed, "auto-submitted").lower().startswith("auto-replied"):
        return True
    if any(name in parsed for name in ("x-autoreply", "x-autorespond", "x-auto-response-suppress")):
        return True
    return _AUTOMATIC.search(f"{_field(parsed, 'precedence')} {_field(parsed, 'subject')}") is not None


def _moment(parsed: Message, now: int) -> int:
    """Return the time of a report; now if it has none, or one that cannot be."""
    try:
        moment = parsedate_to_datetime(_field(parsed, "date"))
        at = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()) * SECOND
    except (*_FAILURES, OverflowError):
        return now
    return at if now - OLDEST < at <= now else now
