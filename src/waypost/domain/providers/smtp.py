"""The SMTP protocol (RFC 5321): parse replies, build commands, encode a mail for DATA."""

import re
from base64 import b64encode
from enum import StrEnum

import msgspec

#: The longest reply, in bytes; a longer one is an error.
LONGEST_REPLY = 16 * 1024
#: The reply code of a server that closes the connection, in reply to any command.
CLOSING = 421
#: Characters that are kept of the text of a reply.
KEPT_TEXT = 2000

#: The reply codes, by their bytes.
_CODES = {b"%d" % code: code for code in range(200, 600)}
_ENHANCED = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?:\s|\Z)")
#: Characters that would end a command, its line or the angle brackets around an address.
_FORBIDDEN_IN_COMMAND = re.compile(r"[\x00-\x20\x7f<>]")


class SmtpStage(StrEnum):
    """The stage of a session: the command that the last reply answered, or that awaits its reply."""

    CONNECT = "connect"  #: No connection, or no greeting.
    HELLO = "hello"  #: EHLO.
    TLS = "tls"  #: STARTTLS, or the handshake after it.
    LOGIN = "login"  #: AUTH.
    SENDER = "sender"  #: MAIL FROM.
    RECIPIENT = "recipient"  #: RCPT TO.
    DATA = "data"  #: DATA, before the mail.
    MESSAGE = "message"  #: The mail itself.


class SmtpReply(msgspec.Struct, frozen=True):
    """A reply of a server."""

    code: int
    #: Its lines without their codes.
    lines: tuple[bytes, ...]

    @property
    def text(self) -> str:
        """Return the lines as a text."""
        return b"\n".join(self.lines).decode("utf-8", "replace")


class SmtpReplyParser:
    """Parse the bytes of a server into replies."""

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[bytes] = []
        self._size = 0

    @property
    def unfinished(self) -> bool:
        """Whether part of a reply has arrived."""
        return bool(self._rest or self._lines)

    def take(self, data: bytes) -> list[SmtpReply]:
        """Return the replies that these bytes complete. Raise ValueError if they are not SMTP."""
        found: list[SmtpReply] = []
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            line = line.removesuffix(b"\r")
            code, sign = _CODES.get(line[:3]), line[3:4]
            if code is None or sign not in b" -" or b"\r" in line:
                raise ValueError(f"{line[:80]!r} is not a line of an SMTP reply")
            if sign != b"-" and not self._lines:
                found.append(SmtpReply(code, (line[4:],)))
                continue
            self._size += len(line)
            if self._size <= LONGEST_REPLY:
                self._lines.append(line[4:])
            if sign != b"-":
                found.append(SmtpReply(code, tuple(self._lines)))
                self._lines, self._size = [], 0
        if self._size > LONGEST_REPLY or len(self._rest) > LONGEST_REPLY:
            raise ValueError(f"a reply has more than {LONGEST_REPLY} bytes")
        return found


class SmtpCapabilities(msgspec.Struct, frozen=True):
    """The extensions that a server announces in its reply to EHLO."""

    starttls: bool = False
    #: PIPELINING (RFC 2920): several commands may be sent without waiting for each reply.
    pipelining: bool = False
    #: SMTPUTF8 (RFC 6531): addresses may contain non-ASCII characters.
    utf8: bool = False
    #: SIZE (RFC 1870): MAIL FROM may declare the size of the mail.
    size: bool = False
    #: Mechanisms of AUTH, in upper case.
    logins: frozenset[str] = frozenset()


def read_capabilities(reply: SmtpReply) -> SmtpCapabilities:
    """Return the extensions in the reply to EHLO."""
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
    """Return the enhanced status code (RFC 3463) at the start of the text of a reply, such as `5.1.1`, or None."""
    found = _ENHANCED.match(text.lstrip())
    return found[1] if found else None


def mail_command(sender: str, size: int, offer: SmtpCapabilities, *, utf8: bool) -> bytes:
    """Return the MAIL FROM command, with the parameters that the server supports."""
    command = f"MAIL FROM:<{sender}>"
    if offer.size:
        command += f" SIZE={size}"
    if utf8:
        command += " SMTPUTF8"
    return f"{command}\r\n".encode()


def recipient_command(address: str) -> bytes:
    """Return the RCPT TO command."""
    return f"RCPT TO:<{address}>\r\n".encode()


def plain_login(username: str, password: str) -> bytes:
    """Return the AUTH PLAIN command with its initial response (RFC 4616)."""
    return b"AUTH PLAIN " + b64encode(f"\0{username}\0{password}".encode()) + b"\r\n"


def dot_stuff(mail: bytes, *, canonical: bool = False) -> bytes:
    """Return a mail encoded for DATA: dots at line starts doubled, a lone dot at the end (RFC 5321, 4.5.2).

    Other line ends become CRLF: servers disagree about them, which would allow SMTP smuggling of a second mail.
    `canonical`: every line of the mail ends in CRLF and nothing else is a line end, so that this need not be checked.
    """
    if not canonical and (mail.count(b"\n") != (ends := mail.count(b"\r\n")) or mail.count(b"\r") != ends):
        mail = re.sub(rb"\r\n|\r|\n", b"\r\n", mail)
    if mail.startswith(b".") or b"\r\n." in mail:
        mail = re.sub(rb"(?m)^\.", b"..", mail)
    return mail + (b".\r\n" if mail.endswith(b"\r\n") or not mail else b"\r\n.\r\n")


def is_allowed_in_command(address: str) -> bool:
    """Return whether a command can contain an address: it must not end the command, the line or the angle brackets."""
    return _FORBIDDEN_IN_COMMAND.search(address) is None
