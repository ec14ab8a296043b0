"""Errors as `application/problem+json` (RFC 9457), and the HTTP status of each error."""

from typing import Any

import msgspec

from waypost.errors import (
    Conflict,
    Error,
    Forbidden,
    Invalid,
    NotFound,
    TooLarge,
    Unauthorized,
    Unavailable,
)

STATUS: dict[type[Error], tuple[int, str]] = {
    Invalid: (400, "Invalid request"),
    Unauthorized: (401, "Unauthorized"),
    Forbidden: (403, "Forbidden"),
    NotFound: (404, "Not found"),
    Conflict: (409, "Conflict"),
    TooLarge: (413, "Too large"),
    Unavailable: (503, "Unavailable"),
}
#: Error codes with a more specific status than their class.
BY_CODE = {
    "rate_limited": (429, "Too many requests"),
    "request_timeout": (408, "Request timeout"),
    "head_too_large": (431, "Request header fields too large"),
    "method_not_allowed": (405, "Method not allowed"),
    "precondition_failed": (412, "Precondition failed"),
    "idempotency_key_reused": (422, "Idempotency key reused"),
    "setup_check_failed": (422, "Set-up check failed"),
    "setup_not_verified": (422, "Set-up not verified"),
}
MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
#: Headers of every response: no content sniffing, no framing, no loading or running of content.
SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)

_encode = msgspec.json.Encoder().encode


def problem(error: Error) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Return the status, headers and body of the response for an error."""
    status, title = BY_CODE.get(error.code) or STATUS.get(type(error), (500, "Error"))
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "code": error.code,
        "detail": error.detail,
        **error.extra,
    }
    retry_after = document.pop("retry_after", RETRY_AFTER_S)
    body = _encode(document)
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", b"%d" % len(body)), *SECURITY_HEADERS]
    if status in (429, 503):
        headers.append((b"retry-after", b"%d" % retry_after))
    if status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="waypost"'))
    return status, headers, body


def unexpected_error() -> Error:
    """Return the error for an unexpected exception, without its details; the log has them."""
    return Error("The server failed unexpectedly. The log of the server has the details.", code="internal")
