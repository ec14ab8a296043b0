"""Mails as they travel (RFC 5322 and MIME), and the addresses in them."""

import re
import unicodedata
from base64 import b64encode
from binascii import b2a_base64, b2a_qp
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache

from waypost.domain.messaging.message import Content
from waypost.errors import Invalid

#: RFC 5321, 4.5.3.1: with the angle brackets around it a path has at most 256 octets.
LONGEST_ADDRESS = 254
LONGEST_LOCAL_PART = 64
LONGEST_DOMAIN = 253
LONGEST_NAME = 200
MAX_HEADERS = 50
LONGEST_HEADER = 2000
#: Lines are cut before here where they can be: RFC 5322 asks for 78 characters, and allows 998.
LINE = 76
LONGEST_LINE = 998
#: Written by Waypost, or by the servers on the way.
RESERVED_HEADERS = frozenset(
    {
        "bcc",
        "cc",
        "date",
        "dkim-signature",
        "from",
        "message-id",
        "mime-version",
        "received",
        "reply-to",
        "return-path",
        "sender",
        "subject",
        "to",
    }
)

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]+"
_LOCAL_PART = re.compile(rf"{_ATOM}(?:\.{_ATOM})*\Z")
_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
_NUMERIC = re.compile(r"(?:.*\.)?[0-9]+\Z")
# IDNA 2003 and 2008 send these letters to different domains, which different people may own.
_AMBIGUOUS_LETTERS = frozenset("ßẞς\u200c\u200d")
_QUOTED = re.compile(r'(?s)"((?:[^"\\]|\\.)*)"\Z')
_ESCAPE = re.compile(r"(?s)\\(.)")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*\Z")
_HEADER_NAME = re.compile(r"[!-9;-~]{1,70}\Z")
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\u0085\u2028\u2029]")
_PLAIN_VALUE = re.compile(r"[!-~]+(?: [!-~]+)*\Z")
# What stands in a mail as it is: printable ASCII and tabs, in lines with an end that every server knows.
_PLAIN_TEXT = b"\t\r\n" + bytes(range(0x20, 0x7F))
_BEYOND_ASCII = bytes(range(128, 256))
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@lru_cache(maxsize=4096)
def check_address(text: str) -> str:
    """An email address as mails are sent to it: its domain in lower case and in ASCII; Invalid when it is none.

    The part before the @ stays as it is, letters beyond ASCII included (RFC 6531). Quoted ones and addresses of
    machines by number are valid, and refused: nobody has one, and many programs misread them.
    """
    address = unicodedata.normalize("NFC", text.strip())
    local, at, domain = address.rpartition("@")
    if not at or not local:
        raise _no_address(text, "one looks like name@example.com")
    if not _LOCAL_PART.match(local) or _hidden(local):
        raise _no_address(text, f"{local[:80]!r} is not what may stand before the @")
    if len(local.encode("utf-8", "replace")) > LONGEST_LOCAL_PART:
        raise _no_address(text, f"there are at most {LONGEST_LOCAL_PART} bytes before the @")
    if not domain.isascii():
        if not _AMBIGUOUS_LETTERS.isdisjoint(domain):
            raise _no_address(text, "some programs read ß and ς as other letters; write the domain in its xn-- form")
        try:
            domain = domain.encode("idna").decode("ascii")
        except UnicodeError:
            raise _no_address(text, "its domain is not a valid internationalised name") from None
    domain = domain.lower()
    if len(domain) > LONGEST_DOMAIN or not _DOMAIN.match(domain) or _NUMERIC.match(domain):
        raise _no_address(text, f"{domain[:80]!r} is not a domain")
    normal = f"{local}@{domain}"
    if len(normal.encode()) > LONGEST_ADDRESS:
        raise _no_address(text, f"it is longer than {LONGEST_ADDRESS} bytes")
    return normal


@lru_cache(maxsize=4096)
def parse_sender(text: str) -> tuple[str, str]:
    """The name and the address in `Name <address>` or in a bare address; Invalid when it is neither."""
    name, address = "", text
    before, bracket, rest = text.rpartition("<")
    if bracket and rest.rstrip().endswith(">") and ">" not in (inside := rest.rstrip()[:-1]):
        name, address = before.strip(), inside
    if quoted := _QUOTED.match(name):
        name = _ESCAPE.sub(r"\1", quoted[1])
    elif set(name) & set('<>"'):
        raise Invalid(f"{text[:80]!r} is no sender; one looks like Name <name@example.com>.", code="invalid_header")
    if _CONTROLS.search(name) or len(name) > LONGEST_NAME:
        raise Invalid(
            f"The name of a sender has at most {LONGEST_NAME} characters, all in one line.", code="invalid_header"
        )
    try:
        return name.strip(), check_address(address)
    except Invalid as error:
        raise Invalid(f"The sender is not valid: {error.detail}", code="invalid_header") from None


def check_mail_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The custom headers as they are sent; Invalid for what a mail may not carry or Waypost writes itself."""
    if len(headers) > MAX_HEADERS:
        raise Invalid(f"A mail takes at most {MAX_HEADERS} headers of its own.", code="invalid_header")
    for name, value in headers.items():
        if not _HEADER_NAME.match(name):
            raise Invalid(f"{name[:60]!r} is not the name of a mail header.", code="invalid_header")
        if name.lower() in RESERVED_HEADERS or name.lower().startswith("content-"):
            raise Invalid(f"The header {name!r} is written by Waypost and cannot be replaced.", code="invalid_header")
        check_header(name, value)
    return dict(headers)


def check_header(name: str, value: str) -> None:
    """Invalid for a value that would not stay one header of a mail."""
    if _CONTROLS.search(value):
        raise Invalid(
            f"The header {name!r} holds a line break or a control character; take it out.", code="invalid_header"
        )
    if len(value) > LONGEST_HEADER:
        raise Invalid(f"The header {name!r} is longer than {LONGEST_HEADER} characters.", code="invalid_header")


def build_mail(
    content: Content,
    *,
    to: str,
    sender: str,
    message_id: str,
    now: int,
    reply_to: str = "",
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """The mail with its text, its HTML or both, in lines of CRLF; the same for the same arguments.

    `sender` and `reply_to` stand for those that the content does not name; `message_id` comes without angle brackets
    and has to be as unique as a mail. `headers` are added to those of the content. Invalid for an address that is none
    and for a header that would not stay one.
    """
    name, address = parse_sender(content.sender or sender)
    answers = content.reply_to or reply_to
    lines = [
        f"From: {_mailbox(name, address, 6)}",
        f"To: {check_address(to)}",
        *([f"Reply-To: {_mailbox(*parse_sender(answers), 10)}"] if answers else []),
        _header("Subject", content.subject),
        f"Date: {_date(now // 1_000_000)}",
        f"Message-ID: <{_in_brackets(message_id)}>",
    ]
    own = check_mail_headers(content.headers) if content.headers else content.headers
    if headers:
        known = {name.lower() for name in own}
        own = own | {name: value for name, value in headers.items() if name.lower() not in known}
    lines += [_header(name, value) for name, value in own.items()]
    lines.append("MIME-Version: 1.0")
    return "\r\n".join(lines).encode() + b"\r\n" + _body(content, message_id)


def unsubscribe_headers(url: str) -> dict[str, str]:
    """The headers with which a mail program unsubscribes in one click (RFC 8058)."""
    return {"List-Unsubscribe": f"<{_in_brackets(url)}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}


def _body(content: Content, message_id: str) -> bytes:
    """The rest of the mail: the headers about what it holds, and that."""
    if not content.html:
        return _part("plain", content.text, b"")
    if not content.text:
        return _part("html", content.html, b"")
    # Neither of the encodings makes `=_`, and a text that has it is encoded.
    boundary = b"=_" + re.sub(r"[^A-Za-z0-9_]", "_", message_id.partition("@")[0])[:60].encode()
    return b'Content-Type: multipart/alternative;\r\n boundary="%b"\r\n\r\n--%b\r\n%b\r\n--%b\r\n%b\r\n--%b--\r\n' % (
        boundary,
        boundary,
        _part("plain", content.text, b"=_"),
        boundary,
        _part("html", content.html, b"=_"),
        boundary,
    )


def _part(subtype: str, text: str, avoid: bytes) -> bytes:
    """A text with the headers that say how to read it, in the shortest encoding that survives all servers."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    data = text.replace("\n", "\r\n").encode("utf-8", "replace")
    if not data.endswith(b"\r\n"):
        data += b"\r\n"
    plain = not data.translate(None, _PLAIN_TEXT) and not (avoid and avoid in data)
    if plain and max(map(len, data.split(b"\n"))) < LONGEST_LINE:
        encoding = b"7bit"
    elif 2 * (len(data) - len(data.translate(None, _BEYOND_ASCII)) + data.count(b"=")) < 0.34 * len(data):
        encoding = b"quoted-printable"
        data = b2a_qp(data, istext=True)
    else:
        encoding = b"base64"
        whole = b2a_base64(data, newline=False)
        data = b"\r\n".join([whole[start : start + LINE] for start in range(0, len(whole), LINE)]) + b"\r\n"
    return b"Content-Type: text/%b; charset=utf-8\r\nContent-Transfer-Encoding: %b\r\n\r\n%b" % (
        subtype.encode(),
        encoding,
        data,
    )


def _header(name: str, value: str) -> str:
    """A header with an unstructured value, in lines that are not too long (RFC 5322, 2.2.3; RFC 2047)."""
    check_header(name, value)
    value = value.strip(" \t")
    room = LINE - len(name) - 2
    if _PLAIN_VALUE.match(value) and "=?" not in value:
        if len(value) <= room:
            return f"{name}: {value}"
        if (folded := _fold(value, room)) is not None:
            return f"{name}: {folded}"
    return f"{name}: {_encoded(value, room)}" if value else f"{name}: "


def _fold(value: str, room: int) -> str | None:
    """Words in lines, or None when one of them is longer than any line may be."""
    lines = [""]
    for word in value.split(" "):
        if len(word) > LONGEST_LINE - LINE:
            return None
        if lines[-1] and len(lines[-1]) + 1 + len(word) > room:
            lines.append(word)
            room = LINE - 1
        else:
            lines[-1] += f" {word}" if lines[-1] else word
    return "\r\n ".join(lines)


def _encoded(value: str, room: int) -> str:
    """Encoded words of up to 75 characters each, one a line; a character is never divided (RFC 2047)."""
    words: list[str] = []
    data = value.encode("utf-8", "replace")
    start = 0
    while start < len(data):
        # `=?utf-8?b?` and `?=` around four characters for three bytes.
        end = start + max(min(room, LINE) - 12, 8) // 4 * 3
        while end < len(data) and data[end] & 0xC0 == 0x80:
            end -= 1
        words.append(f"=?utf-8?b?{b64encode(data[start:end]).decode()}?=")
        start, room = end, LINE - 1
    return "\r\n ".join(words)


@lru_cache(maxsize=4096)
def _mailbox(name: str, address: str, used: int) -> str:
    """A name and an address as they stand in a header, of which so many characters are used."""
    if not name:
        return address
    if _PLAIN_NAME.match(name) and "=?" not in name:
        shown = name
    elif name.isascii() and name.isprintable() and "=?" not in name:
        shown = '"{}"'.format(name.replace("\\", "\\\\").replace('"', '\\"'))
    else:
        shown = _encoded(name, LINE - used)
    last = len(shown) - shown.rfind("\n")
    gap = " " if last + len(address) + 3 <= LINE - used else "\r\n "
    return f"{shown}{gap}<{address}>"


@lru_cache(maxsize=16)
def _date(second: int) -> str:
    """A moment as RFC 5322 writes it, in English whatever the machine speaks."""
    at = datetime.fromtimestamp(second, UTC)
    return f"{_WEEKDAYS[at.weekday()]}, {at.day:02d} {_MONTHS[at.month - 1]} {at:%Y %H:%M:%S} +0000"


def _in_brackets(text: str) -> str:
    """The text, if nothing in it ends angle brackets or a line."""
    if not text or not text.isascii() or not text.isprintable() or set(text) & set("<> ") or len(text) > 900:
        raise Invalid(f"{text[:80]!r} cannot stand between angle brackets in a mail.", code="invalid_header")
    return text


def _hidden(text: str) -> bool:
    """Whether a text holds what no font shows: controls, spaces, marks of direction, half of a pair."""
    return not text.isascii() and any(unicodedata.category(sign)[0] in "CZ" for sign in text)


def _no_address(text: str, reason: str) -> Invalid:
    return Invalid(f"{text[:80]!r} is not an email address: {reason}.", code="invalid_address")
