"""A fast parser for the headers of an email."""

from email.errors import HeaderParseError
from email.header import decode_header, make_header

#: The most bytes of an email that are searched for headers.
LARGEST_HEAD = 256 * 1024


def read_head(content: bytes) -> tuple[bytes, str, str]:
    """Return the headers of an email (alternating names and values, one per line), its subject and its Message-ID."""
    head = content[:LARGEST_HEAD].partition(b"\r\n\r\n")[0]
    lines: list[str] = []
    for line in head.decode("utf-8", "replace").split("\r\n"):
        if line[:1] in (" ", "\t"):
            # RFC 5322, section 2.2.3: a line that begins with white space continues the header.
            if lines:
                lines[-1] += line
            continue
        name, colon, value = line.partition(":")
        if not colon or not name.isprintable() or not name or " " in name:
            # Not a header: the body began without an empty line.
            break
        lines += (name, value)
    found: dict[str, str] = {}
    for at in range(1, len(lines), 2):
        value = lines[at]
        lines[at] = value = " ".join((_readable(value) if "=?" in value else value).split())
        found.setdefault(lines[at - 1].lower(), value)
    subject, message_id = found.get("subject", ""), found.get("message-id", "").strip("<>")
    return "\n".join(lines).encode("utf-8", "replace"), subject, message_id


def _readable(value: str) -> str:
    """Return a header's value with its encoded words (RFC 2047) decoded; unchanged if they are not valid."""
    try:
        return str(make_header(decode_header(value)))
    except (HeaderParseError, LookupError, ValueError):
        return value
