"""Headers that an owner adds to the requests to an endpoint."""

import re
from collections.abc import Mapping

from waypost.errors import Invalid

#: Headers that Waypost sets; the custom headers of an endpoint may not replace them.
RESERVED_HEADERS = frozenset(
    {
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
        "content-length",
        "content-type",
        "host",
        "connection",
        "transfer-encoding",
        "expect",
        "te",
        "upgrade",
        "keep-alive",
        "proxy-authorization",
    }
)
MAX_HEADERS = 50
MAX_HEADER_BYTES = 8192

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")
_HEADER_VALUE = re.compile(r"[\x20-\x7e\t]*\Z")


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return custom headers. Raise Invalid for a name or value that HTTP or Waypost does not allow."""
    if len(headers) > MAX_HEADERS or sum(len(k) + len(v) for k, v in headers.items()) > MAX_HEADER_BYTES:
        raise Invalid(
            f"At most {MAX_HEADERS} headers of {MAX_HEADER_BYTES} bytes together are allowed.", code="invalid_headers"
        )
    for name, value in headers.items():
        if not _HEADER_NAME.match(name) or not _HEADER_VALUE.match(value):
            raise Invalid(f"The header {name[:60]!r} is not valid in HTTP.", code="invalid_headers")
        if not value.strip():
            raise Invalid(f"The header {name!r} needs a value.", code="invalid_headers")
        if name.lower() in RESERVED_HEADERS:
            raise Invalid(f"Waypost sets the header {name!r}; it cannot be replaced.", code="invalid_headers")
    return dict(headers)


def valid_value(text: str) -> bool:
    """Return whether a text may be the value of a header in HTTP."""
    return _HEADER_VALUE.match(text) is not None
