"""The words of SMTP (RFC 5321): replies, commands and the form in which a mail is handed over."""

import re
from base64 import b64encode
from enum import StrEnum

import msgspec

#: A server that says more in a reply is none.
LONGEST_REPLY = 16 * 1024
#: The reply of a server that is about to close the connection, whatever it was asked.
CLOSING = 421
#: What is kept of the text of a reply.
KEPT_TEXT = 2000

_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])([^\r\n]*))?\Z")
_ENHANCED = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?:\s|\Z)")


class SmtpStage(StrEnum):
    """How far a conversation came: what the last reply answered, or was to answer."""

    CONNECT = "connect"  #: No connection, or no greeting.
    HELLO = "hello"  #: EHLO.
    TLS = "tls"  #: STARTTLS, or the handshake after it.
    LOGIN = "login"  #: AUTH.
    SENDER = "sender"  #: MAIL FROM.
    RECIPIENT = "recipient"  #: RCPT TO.
    DATA = "data"  #: DATA: the server is asked whether it is ready.
    MESSAGE = "message"  #: The mail itself.


class SmtpReply(msgspec.Struct, frozen=True):
    """What a server said."""

    code: int
    #: Without codes, one line of text for each of the reply.
    text: str


class SmtpReplyParser:
    """Cuts what a server says into replies."""

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[str] = []
        self._size = 0

    @property
    def unfinished(self) -> bool:
        """Whether a part of a reply was said."""
        return bool(self._rest or self._lines)

    def take(self, data: bytes) -> list[SmtpReply]:
        """The replies that end in these bytes; ValueError when this is no SMTP."""
        found: list[SmtpReply] = []
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            match = _LINE.match(line.removesuffix(b"\r"))
            if match is None:
                raise ValueError(f"{line[:80]!r} is no line of an SMTP reply")
            self._size += len(line)
            if self._size <= LONGEST_REPLY:
                self._lines.append((match[3] or b"").decode("utf-8", "replace"))
            if match[2] != b"-":
                found.append(SmtpReply(int(match[1]), "\n".join(self._lines)))
                self._lines, self._size = [], 0
        if self._size > LONGEST_REPLY or len(self._rest) > LONGEST_REPLY:
            raise ValueError(f"a reply of more than {LONGEST_REPLY} bytes")
        return found


class SmtpCapabilities(msgspec.Struct, frozen=True):
    """What a server says that it can, in its reply to EHLO."""

    starttls: bool = False
    #: Several commands may be sent without waiting for each reply (RFC 2920).
    pipelining: bool = False
    #: Addresses beyond ASCII (RFC 6531).
    utf8: bool = False
    #: It wants to know the size of a mail in advance (RFC 1870).
    size: bool = False
    #: Mechanisms of AUTH, in upper case.
    logins: frozenset[str] = frozenset()


def read_capabilities(reply: SmtpReply) -> SmtpCapabilities:
    """What the reply to an EHLO offers."""
    words: dict[str, set[str]] = {}
    for line in reply.text.split("\n")[1:]:
        # Some old servers write AUTH=LOGIN.
        name, *arguments = line.replace("=", " ").upper().split() or [""]
        words.setdefault(name, set()).update(arguments)
    return SmtpCapabilities(
        starttls="STARTTLS" in words,
        pipelining="PIPELINING" in words,
        utf8="SMTPUTF8" in words,
        size="SIZE" in words,
        logins=frozenset(words.get("AUTH", ())),
    )


def enhanced_code(text: str) -> str | None:
    """The enhanced status code (RFC 3463) that the text of a reply begins with, such as `5.1.1`."""
    found = _ENHANCED.match(text.lstrip())
    return found[1] if found else None


def mail_command(sender: str, size: int, offer: SmtpCapabilities, *, utf8: bool) -> bytes:
    """MAIL FROM, with the parameters that the server knows."""
    command = f"MAIL FROM:<{sender}>"
    if offer.size:
        command += f" SIZE={size}"
    if utf8:
        command += " SMTPUTF8"
    return f"{command}\r\n".encode()


def recipient_command(address: str) -> bytes:
    """RCPT TO."""
    return f"RCPT TO:<{address}>\r\n".encode()


def plain_login(username: str, password: str) -> bytes:
    """AUTH PLAIN with everything that it needs (RFC 4616)."""
    return b"AUTH PLAIN " + b64encode(f"\0{username}\0{password}".encode()) + b"\r\n"


def dot_stuff(mail: bytes) -> bytes:
    """A mail as it follows DATA: no line of it is a lone dot, and a lone dot ends it (RFC 5321, 4.5.2).

    Line ends that are not CRLF become it: servers disagree about where such a line ends, so that a second mail could
    be smuggled in behind one.
    """
    if mail.count(b"\n") != (ends := mail.count(b"\r\n")) or mail.count(b"\r") != ends:
        mail = re.sub(rb"\r\n|\r|\n", b"\r\n", mail)
    if mail.startswith(b".") or b"\n." in mail:
        mail = re.sub(rb"(?m)^\.", b"..", mail)
    return mail + (b".\r\n" if mail.endswith(b"\r\n") or not mail else b"\r\n.\r\n")


def is_allowed_in_command(address: str) -> bool:
    """Whether an address can stand in a command: nothing in it ends the command, the line or the angle brackets."""
    return not any(sign in "<>" or sign <= " " or sign == "\x7f" for sign in address)
