"""Verify that a callback comes from the provider, by the scheme of the connector."""

import base64
import functools
import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from waypost.clock import SECOND
from waypost.domain.providers.connector import Connector, Verification
from waypost.domain.templates.liquid.expressions import compile_text
from waypost.errors import Invalid

#: The most fields of a form.
MOST_FIELDS = 1000
_LONGEST_KEY = 4096
_SIGNATURE, _TIMESTAMP = "x-twilio-email-event-webhook-signature", "x-twilio-email-event-webhook-timestamp"
_PLACES = re.compile(r"(\{body\}|\{timestamp\})")


class CallbackRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request to the callback URL, not yet verified."""

    #: By lower-case name.
    headers: Mapping[str, str]
    #: As in the URL, percent-encoded.
    path: str
    query: str
    body: bytes
    #: The public base URLs of this server: scheme and host, without a trailing slash.
    bases: tuple[str, ...]

    def parameter(self, name: str) -> str | None:
        """Return the first query parameter of this name, or None."""
        return next((value for key, value in _pairs(self.query) if key == name), None)


def given_keys(headers: Mapping[str, str], query: str) -> list[str]:
    """Return the keys in a request, from every header and query parameter in which senders can put one."""
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    found = [headers.get("x-amz-firehose-access-key"), headers.get("x-api-key")]
    if scheme.lower() == "bearer":
        found.append(rest.strip())
    elif scheme.lower() == "basic":
        found += reversed(_basic(headers))
    found += [value for name, value in _pairs(query) if name in ("key", "token")][:2]
    return [key for key in dict.fromkeys(found) if key and len(key) <= _LONGEST_KEY]


def is_genuine(connector: Connector, config: Mapping[str, Any], request: CallbackRequest, now: int) -> bool:
    """Return whether a callback comes from the provider, verified by the scheme of the connector.

    False if it cannot be verified: the connection has no key, or the scheme is `none`. `now` is in microseconds.
    Comparisons take constant time.
    """
    callback = connector.callback
    if callback is None:
        return False
    verify = callback.verify
    try:
        key = compile_text(verify.key)({"config": config})
    except Invalid:
        return False
    if not key or key == ":":
        return False
    match verify.scheme:
        case "hmac":
            return _is_signed(verify, key, request, now)
        case "sendgrid":
            return _is_signed_by_sendgrid(verify, key, request, now)
        case "twilio":
            return _is_signed_by_twilio(key, request)
        case "basic":
            return _equals(":".join(_basic(request.headers)), key)
        case "header":
            return _equals(request.headers.get(verify.header.lower(), "").removeprefix(verify.prefix), key)
        case "token":
            return _equals(request.parameter("token") or request.parameter("key") or "", key)
    return False


def _equals(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode("utf-8", "replace"))


def _basic(headers: Mapping[str, str]) -> tuple[str, str]:
    """Return user and password of HTTP basic authentication, or two empty texts."""
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        user, _, password = base64.b64decode(rest.strip(), validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return user, password


def _is_recent(text: str, tolerance_s: int, now: int) -> bool:
    """Return whether a timestamp, in seconds or milliseconds, is within the tolerance before or after `now`."""
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        return False
    seconds = int(text) if len(text) <= 11 else int(text) / 1000
    return abs(now / SECOND - seconds) <= tolerance_s


def _is_signed(verify: Verification, key: str, request: CallbackRequest, now: int) -> bool:
    given = request.headers.get(verify.header.lower(), "")
    timestamp = request.headers.get(verify.timestamp_header.lower(), "") if verify.timestamp_header else ""
    if verify.timestamp_header and not _is_recent(timestamp, verify.tolerance_s, now):
        return False
    if not given.startswith(verify.prefix):
        return False
    given = given.removeprefix(verify.prefix).strip()
    parts = {"{body}": request.body, "{timestamp}": timestamp.encode()}
    content = b"".join(parts.get(part, part.encode()) for part in _PLACES.split(verify.over))
    digest = hmac.digest(key.encode(), content, verify.algorithm)
    if verify.encoding == "hex":
        return _equals(given.lower(), digest.hex())
    return _equals(given, base64.b64encode(digest).decode())


def _is_signed_by_sendgrid(verify: Verification, key: str, request: CallbackRequest, now: int) -> bool:
    """Verify a SendGrid Signed Event Webhook: ECDSA (P-256, SHA-256) over timestamp and raw body, line end included."""
    headers = request.headers
    timestamp = headers.get((verify.timestamp_header or _TIMESTAMP).lower(), "")
    public = _public_key(key)
    if public is None or not _is_recent(timestamp, verify.tolerance_s, now):
        return False
    try:
        signature = base64.b64decode(headers.get((verify.header or _SIGNATURE).lower(), ""), validate=True)
        public.verify(signature, timestamp.encode() + request.body, ECDSA(SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True


@functools.lru_cache(maxsize=256)
def _public_key(text: str) -> EllipticCurvePublicKey | None:
    """Return an elliptic-curve public key from base64 DER, with or without the PEM lines; None for anything else."""
    try:
        found = load_der_public_key(base64.b64decode(re.sub(r"-----[A-Z ]+-----|\s", "", text), validate=True))
    except (ValueError, UnsupportedAlgorithm):
        return None
    return found if isinstance(found, EllipticCurvePublicKey) else None


def _is_signed_by_twilio(token: str, request: CallbackRequest) -> bool:
    """Verify a Twilio signature: HMAC-SHA1 over the public URL and, for a form, its sorted fields.

    For JSON, the query parameter `bodySHA256` has the hash of the body.
    """
    given = request.headers.get("x-twilio-signature", "")
    if is_form(request.headers):
        fields = read_form(request.body)
        if fields is None:
            return False
        tail = "".join(name + value for name, value in sorted(set(fields)))
    else:
        digest = request.parameter("bodySHA256")
        if digest is None or not _equals(digest.lower(), hashlib.sha256(request.body).hexdigest()):
            return False
        tail = ""
    rest = request.path + (f"?{request.query}" if request.query else "")
    signed = [
        base64.b64encode(hmac.digest(token.encode(), (base + rest + tail).encode("utf-8", "replace"), "sha1")).decode()
        for base in dict.fromkeys(spelling for base in request.bases for spelling in _spellings(base))
    ]
    # Compares all of them, so that the time does not reveal which one matched.
    return bool(sum([_equals(given, one) for one in signed]))


def _spellings(base: str) -> tuple[str, ...]:
    """Return the spellings of a base URL, with and without its port: Twilio signs either."""
    try:
        parts = urlsplit(base)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return (base,)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return base, f"{parts.scheme}://{host}{parts.path}", f"{parts.scheme}://{host}:{port}{parts.path}"


def _pairs(query: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query[:8192], keep_blank_values=True, max_num_fields=100)
    except ValueError:
        return []


def read_form(body: bytes) -> list[tuple[str, str]] | None:
    """Return the fields of a form, or None if it has more than MOST_FIELDS."""
    try:
        return parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        return None


def is_form(headers: Mapping[str, str]) -> bool:
    """Return whether the body is a form."""
    return media_type(headers) == "application/x-www-form-urlencoded"


def media_type(headers: Mapping[str, str]) -> str:
    """Return the media type in lower case, without parameters."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()
