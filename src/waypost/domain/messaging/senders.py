"""The senders that a workspace keeps: who emails are from, and where answers go."""

import msgspec

from waypost.domain.messaging.message import Content
from waypost.domain.messaging.mime import LONGEST_NAME, check_address, check_header, parse_sender
from waypost.errors import Invalid

#: The most senders of a workspace.
MOST_SENDERS = 100
#: A name with one of these is quoted (RFC 5322, 3.2.3).
_SPECIALS = frozenset('()<>[]:;@\\,."')


class SenderIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Who emails are from: an address, a name beside it, and where answers go; both may be empty."""

    address: str
    name: str = ""
    reply_to: str = ""

    @property
    def mailbox(self) -> str:
        """Return `Name <address>`, or the address alone, as the `sender` of a message."""
        if not self.name:
            return self.address
        name = self.name
        if set(name) & _SPECIALS:
            escaped = name.replace("\\", "\\\\").replace('"', '\\"')
            name = f'"{escaped}"'
        return f"{name} <{self.address}>"


def check_sender(sender: SenderIdentity) -> SenderIdentity:
    """Return the sender with its address as it is sent. Raise Invalid, with `field`, if a part is not valid."""
    return SenderIdentity(
        address=_address(sender.address), name=_name(sender.name), reply_to=_reply_to(sender.reply_to)
    )


def _address(text: str) -> str:
    try:
        return check_address(text.strip())
    except Invalid as error:
        raise _invalid(error.detail, "address") from None


def _name(text: str) -> str:
    name = text.strip()
    if len(name) > LONGEST_NAME:
        raise _invalid(f"The name has {len(name)} characters; at most {LONGEST_NAME} are sent.", "name")
    try:
        check_header("From", name)
    except Invalid:
        raise _invalid("The name contains a line break or a control character; remove it.", "name") from None
    return name


def _reply_to(text: str) -> str:
    given = text.strip()
    if given:
        try:
            parse_sender(given)
        except Invalid as error:
            raise _invalid(error.detail, "reply_to") from None
    return given


def _invalid(detail: str, field: str) -> Invalid:
    return Invalid(detail, code="invalid_sender", field=field)


def fill_sender(content: Content, default: SenderIdentity | None) -> None:
    """Let an email that names no sender have the default one, and its address for answers unless it names one."""
    if default is None or content.sender:
        return
    content.sender = default.mailbox
    content.reply_to = content.reply_to or default.reply_to
