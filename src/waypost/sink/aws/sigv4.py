"""Verification of AWS Signature Version 4."""

import hashlib
import hmac
import re
from urllib.parse import parse_qsl, quote

import msgspec

from waypost.sink.context import headers
from waypost.sink.http_connection import Request

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/,\s]+)/(\d{8})/([a-z0-9-]+)/([a-z0-9-]+)/aws4_request, ?"
    r"SignedHeaders=([a-z0-9;_-]+), ?Signature=([0-9a-f]{64})"
)


class Signature(msgspec.Struct, frozen=True):
    """The fields of an Authorization header."""

    access_key: str
    day: str
    region: str
    service: str
    signed: tuple[str, ...]
    signature: str


def read_signature(request: Request) -> Signature | None:
    """Return the signature of a request; None if it is missing or malformed."""
    found = _AUTHORIZATION.fullmatch(headers(request).get("authorization", ""))
    if found is None:
        return None
    access_key, day, region, service, signed, signature = found.groups()
    return Signature(access_key, day, region, service, tuple(signed.split(";")), signature)


def is_valid(request: Request, signature: Signature, secret: str) -> bool:
    """Return whether the signature is that of this request with this secret."""
    request_headers = headers(request)
    at = request_headers.get("x-amz-date", "")
    path, _, query = request.url.decode("latin-1").partition("?")
    pairs = sorted((_quote(name), _quote(value)) for name, value in parse_qsl(query, keep_blank_values=True))
    canonical = "\n".join(
        [
            request.method,
            # Every service but S3 encodes the path a second time.
            quote(path, safe="/-_.~"),
            "&".join(f"{name}={value}" for name, value in pairs),
            *(f"{name}:{' '.join(request_headers.get(name, '').split())}" for name in signature.signed),
            "",
            ";".join(signature.signed),
            hashlib.sha256(request.body).hexdigest(),
        ]
    )
    scope = f"{signature.day}/{signature.region}/{signature.service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", at, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for part in (signature.day, signature.region, signature.service, "aws4_request", text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return {"host"} <= set(signature.signed) and hmac.compare_digest(key.hex(), signature.signature)


def _quote(text: str) -> str:
    return quote(text, safe="-_.~")
