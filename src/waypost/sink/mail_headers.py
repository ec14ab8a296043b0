"""The headers of a mail, read in a few microseconds."""

from email.errors import HeaderParseError
from email.header import decode_header, make_header

#: Headers are looked for so far into a mail.
LARGEST_HEAD = 256 * 1024


def read_head(content: bytes) -> tuple[bytes, str, str]:
    """The headers of a mail as they are kept, names and values in turn, one a line; its subject; and its id."""
    head = content[:LARGEST_HEAD].partition(b"\r\n\r\n")[0]
    kept: list[str] = []
    for line in head.decode("utf-8", "replace").split("\r\n"):
        if line[:1] in (" ", "\t"):
            # RFC 5322, section 2.2.3: a header goes on in lines that begin with white space.
            if kept:
                kept[-1] += line
            continue
        name, colon, value = line.partition(":")
        if not colon or not name.isprintable() or not name or " " in name:
            # Not a header: the body has begun without an empty line.
            break
        kept += (name, value)
    found: dict[str, str] = {}
    for at in range(1, len(kept), 2):
        value = kept[at]
        kept[at] = value = " ".join((_readable(value) if "=?" in value else value).split())
        found.setdefault(kept[at - 1].lower(), value)
    subject, message_id = found.get("subject", ""), found.get("message-id", "").strip("<>")
    return "\n".join(kept).encode("utf-8", "replace"), subject, message_id


def _readable(value: str) -> str:
    """A header's value with its encoded words (RFC 2047) decoded, or as it came."""
    try:
        return str(make_header(decode_header(value)))
    except (HeaderParseError, LookupError, ValueError):
        return value
