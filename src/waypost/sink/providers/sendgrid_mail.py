"""The body of SendGrid's mail/send, and its validation."""

import re
from typing import Annotated, Any

import msgspec
from msgspec import Meta

#: How far ahead an email may be scheduled, in seconds.
FARTHEST = 72 * 3600
#: Headers that the sender may not set (sendgrid-oai).
RESERVED = frozenset(
    {
        "x-sg-id",
        "x-sg-eid",
        "received",
        "dkim-signature",
        "content-type",
        "content-transfer-encoding",
        "to",
        "from",
        "subject",
        "reply-to",
        "cc",
        "bcc",
    }
)
ADDRESS = re.compile(r"[^\s@<>,;]{1,64}@[^\s@<>,;]{1,255}\Z")

Text = Annotated[str, Meta(min_length=1)]


class Mailbox(msgspec.Struct, forbid_unknown_fields=True):
    """An email address with an optional name."""

    email: str
    name: str | None = None


Several = Annotated[list[Mailbox], Meta(max_length=1000)]


class Personalization(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One copy of an email, with its recipients."""

    to: Several = []
    cc: Several = []
    bcc: Several = []
    from_: Mailbox | None = msgspec.field(name="from", default=None)
    subject: str | None = None
    headers: dict[str, str] = {}
    substitutions: dict[str, str] = {}
    dynamic_template_data: dict[str, Any] = {}
    custom_args: dict[str, str] = {}
    send_at: int | None = None


class Part(msgspec.Struct, forbid_unknown_fields=True):
    """The content in one media type."""

    type: Text
    value: Text


class Attachment(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A file attached to an email."""

    content: Text
    filename: Text
    type: str | None = None
    disposition: str | None = None
    content_id: str | None = None
    name: str | None = None


class Asm(msgspec.Struct, forbid_unknown_fields=True):
    """An unsubscribe group (Advanced Suppression Manager)."""

    group_id: int
    groups_to_display: Annotated[list[int], Meta(max_length=25)] = []


class Mail(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of mail/send."""

    personalizations: Annotated[list[Personalization], Meta(max_length=1000)] = []
    from_: Mailbox | None = msgspec.field(name="from", default=None)
    subject: str | None = None
    content: list[Part] = []
    reply_to: Mailbox | None = None
    reply_to_list: Several = []
    attachments: list[Attachment] = []
    template_id: str | None = None
    sections: dict[str, str] = {}
    headers: dict[str, str] = {}
    categories: Annotated[list[Annotated[str, Meta(max_length=255)]], Meta(max_length=10)] = []
    custom_args: dict[str, str] = {}
    send_at: int | None = None
    batch_id: str | None = None
    asm: Asm | None = None
    ip_pool_name: str | None = None
    mail_settings: dict[str, dict[str, Any]] = {}
    tracking_settings: dict[str, dict[str, Any]] = {}


def find_fault(mail: Mail, now: int) -> tuple[str | None, str] | None:
    """Return the first field that is not valid, and the error; `now` is in seconds."""
    if not mail.personalizations:
        return "personalizations", "At least one personalization is required."
    if mail.from_ is None:
        return "from.email", "A sender is required: an object with an email."
    if not ADDRESS.match(mail.from_.email):
        return "from.email", "The address is not valid."
    if mail.reply_to is not None and mail.reply_to_list:
        return "reply_to", "reply_to and reply_to_list exclude each other."
    for at, copy in enumerate(mail.personalizations):
        fault = _fault_of_copy(copy, f"personalizations.{at}")
        if fault is not None:
            return fault
        if (copy.send_at or 0) > now + FARTHEST:
            return f"personalizations.{at}.send_at", "An email can be scheduled at most 72 hours ahead."
    templated = bool(mail.template_id)
    if not templated and not mail.subject and not all(copy.subject for copy in mail.personalizations):
        return "subject", "A subject is required, here or in every personalization."
    if not templated and not mail.content:
        return "content", "content is required if there is no template_id."
    types = [part.type for part in mail.content]
    order = sorted(types, key=lambda kind: {"text/plain": 0, "text/html": 1}.get(kind, 2))
    if types != order or types.count("text/plain") > 1 or types.count("text/html") > 1:
        return "content", "text/plain must come first, then text/html, each at most once."
    reserved = RESERVED & {name.lower() for name in mail.headers}
    if reserved:
        return "headers", f"{min(reserved)} is a reserved header."
    if (mail.send_at or 0) > now + FARTHEST:
        return "send_at", "An email can be scheduled at most 72 hours ahead."
    return None


def _fault_of_copy(copy: Personalization, field: str) -> tuple[str, str] | None:
    if not copy.to:
        return f"{field}.to", "At least one recipient is required."
    seen: set[str] = set()
    for kind, boxes in (("to", copy.to), ("cc", copy.cc), ("bcc", copy.bcc)):
        for at, box in enumerate(boxes):
            if not ADDRESS.match(box.email):
                return f"{field}.{kind}.{at}.email", "The address is not valid."
            if box.email.lower() in seen:
                return f"{field}.{kind}", "An address may occur only once in to, cc and bcc."
            seen.add(box.email.lower())
    return None
