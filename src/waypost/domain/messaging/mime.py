"""Build mails (RFC 5322 and MIME), and check email addresses and mail headers."""

import re
import unicodedata
from base64 import b64encode
from binascii import b2a_base64, b2a_qp
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache

from waypost.domain.messaging.message import Content
from waypost.errors import Invalid

#: RFC 5321, 4.5.3.1: a path has at most 256 octets, its angle brackets included.
LONGEST_ADDRESS = 254
LONGEST_LOCAL_PART = 64
LONGEST_DOMAIN = 253
LONGEST_NAME = 200
MAX_HEADERS = 50
LONGEST_HEADER = 2000
#: Lines are folded before this length where possible: RFC 5322, 2.1.1 recommends 78 characters and allows 998.
LINE = 76
LONGEST_LINE = 998
#: Headers that Waypost or a mail server writes.
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
# Bytes that need no transfer encoding: printable ASCII, tabs and CRLF.
_PLAIN_TEXT = b"\t\r\n" + bytes(range(0x20, 0x7F))
_BEYOND_ASCII = bytes(range(128, 256))
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@lru_cache(maxsize=4096)
def check_address(text: str) -> str:
    """Return an email address with its domain in lower case and ASCII. Raise Invalid if it is not one.

    The local part is kept, non-ASCII letters included (RFC 6531). Quoted local parts and address literals are valid
    in RFC 5321 and refused here: they are not in use, and many programs misread them.
    """
    address = unicodedata.normalize("NFC", text.strip())
    local, at, domain = address.rpartition("@")
    if not at or not local:
        raise _no_address(text, "one looks like name@example.com")
    if not _LOCAL_PART.match(local) or _hidden(local):
        raise _no_address(text, f"{local[:80]!r} is not valid before the @")
    if len(local.encode("utf-8", "replace")) > LONGEST_LOCAL_PART:
        raise _no_address(text, f"at most {LONGEST_LOCAL_PART} bytes may stand before the @")
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
    """Return name and address of `Name <address>` or of a bare address. Raise Invalid if the text is neither."""
    name, address = "", text
    before, bracket, rest = text.rpartition("<")
    if bracket and rest.rstrip().endswith(">") and ">" not in (inside := rest.rstrip()[:-1]):
        name, address = before.strip(), inside
    if quoted := _QUOTED.match(name):
        name = _ESCAPE.sub(r"\1", quoted[1])
    elif set(name) & set('<>"'):
        raise Invalid(f"{text[:80]!r} is not a sender; one looks like Name <name@example.com>.", code="invalid_header")
    if _CONTROLS.search(name) or len(name) > LONGEST_NAME:
        raise Invalid(
            f"The name of a sender may have at most {LONGEST_NAME} characters, on one line.", code="invalid_header"
        )
    try:
        return name.strip(), check_address(address)
    except Invalid as error:
        raise Invalid(f"The sender is not valid: {error.detail}", code="invalid_header") from None


def check_mail_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return custom headers. Raise Invalid for one that is not valid in a mail or that Waypost writes itself."""
    if len(headers) > MAX_HEADERS:
        raise Invalid(f"A mail may have at most {MAX_HEADERS} custom headers.", code="invalid_header")
    for name, value in headers.items():
        if not _HEADER_NAME.match(name):
            raise Invalid(f"{name[:60]!r} is not the name of a mail header.", code="invalid_header")
        if name.lower() in RESERVED_HEADERS or name.lower().startswith("content-"):
            raise Invalid(f"Waypost writes the header {name!r}; it cannot be replaced.", code="invalid_header")
        check_header(name, value)
    return dict(headers)


def check_header(name: str, value: str) -> None:
    """Raise Invalid for a header value that is too long or has a line break or a control character."""
    if _CONTROLS.search(value):
        raise Invalid(
            f"The header {name!r} contains a line break or a control character; remove it.", code="invalid_header"
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
    """Return a mail with its text, its HTML or both; the same for the same arguments. Every line ends in CRLF.

    `sender` and `reply_to` are used if the content names none. `message_id` has no angle brackets and must be unique
    per mail; `now` is in microseconds. `headers` are added to those of the content, which take precedence. Raise
    Invalid for an address or a header that is not valid.
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
    """Return the headers for one-click unsubscription (RFC 8058)."""
    return {"List-Unsubscribe": f"<{_in_brackets(url)}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}


def _body(content: Content, message_id: str) -> bytes:
    """Return the content headers of a mail and its body."""
    if not content.html:
        return _part("plain", content.text, b"")
    if not content.text:
        return _part("html", content.html, b"")
    # Neither encoding produces `=_`, and a text that contains it is encoded.
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
    """Return a text with its content headers, in the shortest encoding that is safe in transport."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    data = text.replace("\n", "\r\n").encode("utf-8", "replace")
    if not data.endswith(b"\r\n"):
        data += b"\r\n"
    plain = not data.translate(None, _PLAIN_TEXT) and not (avoid and avoid in data)
    if plain and not _has_long_line(data):
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


def _has_long_line(data: bytes) -> bool:
    """Return whether a line is too long for a mail, without looking at every line."""
    start = 0
    while len(data) - start >= LONGEST_LINE:
        end = data.rfind(b"\n", start, start + LONGEST_LINE)
        if end < 0:
            return True
        start = end + 1
    return False


def _header(name: str, value: str) -> str:
    """Return a header with an unstructured value, folded (RFC 5322, 2.2.3) and encoded if needed (RFC 2047)."""
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
    """Return the words folded into lines, or None if a word is longer than a line may be."""
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
    """Return encoded words of up to 75 characters, one a line; none divides a character (RFC 2047)."""
    words: list[str] = []
    data = value.encode("utf-8", "replace")
    start = 0
    while start < len(data):
        # `=?utf-8?b?` and `?=` take 12 characters; base64 writes three bytes as four.
        end = start + max(min(room, LINE) - 12, 8) // 4 * 3
        while end < len(data) and data[end] & 0xC0 == 0x80:
            end -= 1
        words.append(f"=?utf-8?b?{b64encode(data[start:end]).decode()}?=")
        start, room = end, LINE - 1
    return "\r\n ".join(words)


@lru_cache(maxsize=4096)
def _mailbox(name: str, address: str, used: int) -> str:
    """Return name and address for a header, of whose first line `used` characters are taken."""
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
    """Return a time (seconds since 1970) in the format of RFC 5322, in English whatever the locale."""
    at = datetime.fromtimestamp(second, UTC)
    return f"{_WEEKDAYS[at.weekday()]}, {at.day:02d} {_MONTHS[at.month - 1]} {at:%Y %H:%M:%S} +0000"


def _in_brackets(text: str) -> str:
    """Return the text. Raise Invalid if it cannot stand between angle brackets."""
    if not text or not text.isascii() or not text.isprintable() or set(text) & set("<> ") or len(text) > 900:
        raise Invalid(f"{text[:80]!r} cannot stand between angle brackets in a mail.", code="invalid_header")
    return text


def _hidden(text: str) -> bool:
    """Return whether a text contains an invisible character: a control, a space, a bidi mark, a lone surrogate."""
    return not text.isascii() and any(unicodedata.category(sign)[0] in "CZ" for sign in text)


def _no_address(text: str, reason: str) -> Invalid:
    return Invalid(f"{text[:80]!r} is not an email address: {reason}.", code="invalid_address")
