"""Webhook endpoints: their subscriptions, and the body and headers of a delivery."""

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from waypost.clock import iso
from waypost.domain.events.segment import message_key
from waypost.domain.values.ids import public
from waypost.domain.values.patterns import compile_glob
from waypost.domain.webhooks.filter import compile_filter
from waypost.domain.webhooks.signing import Sign, signature_header, signer
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
#: The format of endpoints that are no marketing tool: Standard Webhooks.
STANDARD = "standard"
MAX_HEADERS = 50
MAX_HEADER_BYTES = 8192

_PATTERN = re.compile(r"[a-z0-9_*]+(?:\.[a-z0-9_*]+)*\Z")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")
_HEADER_VALUE = re.compile(r"[\x20-\x7e\t]*\Z")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Secret(msgspec.Struct, frozen=True):
    """A signing secret. During a rotation the old one also signs until it expires."""

    text: str
    expires_at: int | None = None


class Endpoint(msgspec.Struct, frozen=True):
    """An enabled endpoint, with what is needed to match events and to send deliveries."""

    id: int
    workspace_id: int
    url: str
    event_types: tuple[str, ...]
    filter: dict[str, Any] | None
    headers: tuple[str, ...]
    rate_limit: float | None
    concurrency: int
    timeout_ms: int
    format: str
    secrets: tuple[Secret, ...]
    #: Increases with every change.
    version: int
    #: Whether it gets the events of one subject in order.
    ordered: bool = False
    #: The connection with the address and the key, for the format of a marketing tool.
    connection_id: int | None = None

    @property
    def takes_several(self) -> bool:
        """Whether one request may contain several deliveries."""
        return self.format != STANDARD


class Subscriptions:
    """The subscriptions of one workspace. Matches are cached per event type, since few types make up most events."""

    def __init__(self, endpoints: list[Endpoint]) -> None:
        self._wants = [
            (
                endpoint,
                pattern_match(endpoint.event_types),
                compile_filter(endpoint.filter) if endpoint.filter else None,
            )
            for endpoint in endpoints
        ]
        self._by_type: dict[str, list[tuple[Endpoint, Callable[[Mapping[str, Any]], bool] | None]]] = {}

    def wanting(self, type_: str, body: Callable[[], bytes]) -> list[Endpoint]:
        """Return the endpoints that subscribe to an event. `body` is called only if a filter needs the payload."""
        wants = self._by_type.get(type_)
        if wants is None:
            wants = [(endpoint, condition) for endpoint, match, condition in self._wants if match(type_)]
            if len(self._by_type) < 10_000:
                self._by_type[type_] = wants
        if not wants:
            return []
        payload: dict[str, Any] | None = None
        found = []
        for endpoint, condition in wants:
            if condition is not None:
                payload = _read_payload(body()) if payload is None else payload
                if not condition(payload):
                    continue
            found.append(endpoint)
        return found


def pattern_match(patterns: tuple[str, ...]) -> Callable[[str], bool]:
    """Return a test for event types against exact names and globs. `*` matches any characters, dots included."""
    exact = frozenset(pattern for pattern in patterns if "*" not in pattern)
    globs = [compile_glob(pattern) for pattern in patterns if "*" in pattern]
    if not globs:
        return exact.__contains__
    return lambda type_: type_ in exact or any(glob(type_) for glob in globs)


def _read_payload(body: bytes) -> dict[str, Any]:
    try:
        return _decode(body)
    except msgspec.DecodeError:
        # JSON has no largest number; to a filter, one that is too large for a double is infinite.
        payload: dict[str, Any] = json.loads(body, parse_int=float)
        return payload


def check_patterns(patterns: list[str]) -> tuple[str, ...]:
    """Return the patterns without repeats. Raise Invalid for one that cannot match any type."""
    if not patterns:
        raise Invalid('Name at least one event type, such as "event.*" or "*".', code="invalid_event_types")
    if len(patterns) > 100:
        raise Invalid("An endpoint may have at most 100 event types; use globs.", code="invalid_event_types")
    for pattern in patterns:
        if len(pattern) > 256 or not _PATTERN.match(pattern) or pattern.count("*") > 4:
            raise Invalid(
                f"{pattern[:80]!r} is not an event type: use lower-case letters, digits, _ and dots, with up to four "
                '"*", such as "event.order_shipped", "event.*" or "*".',
                code="invalid_event_types",
            )
    return tuple(dict.fromkeys(patterns))


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


def subject_of(workspace_id: int, message_id: str) -> int:
    """Return a 64-bit digest of what an event is about: its message id up to the first colon."""
    return message_key(workspace_id, message_id.partition(":")[0])


def event_object(event_id: int, message_id: str, profile_id: int | None, contents: bytes) -> bytes:
    """Return the `data` object of an event: its ids, then its contents (a JSON object)."""
    profile = f'"{public("pro", profile_id)}"' if profile_id is not None else "null"
    head = b'{"id":"%b","message_id":%b,"profile_id":%b' % (
        public("evt", event_id).encode(),
        _encode(message_id),
        profile.encode(),
    )
    return head + (b"}" if contents == b"{}" else b"," + contents[1:])


def webhook_body(type_: str, occurred_at: int, data: bytes) -> bytes:
    """Return the body of a webhook: type, timestamp and data, as Standard Webhooks defines it."""
    return b'{"type":"%b","timestamp":"%b","data":%b}' % (type_.encode(), iso(occurred_at).encode(), data)


@lru_cache(maxsize=4096)
def _signers(secrets: tuple[Secret, ...]) -> tuple[tuple[Sign, int | None], ...]:
    return tuple((signer(secret.text), secret.expires_at) for secret in secrets)


def request_headers(endpoint: Endpoint, webhook_id: str, body: bytes, now: int) -> list[str]:
    """Return the header lines of one attempt, signed with every secret that has not expired at `now`."""
    second = now // 1_000_000
    signers = [sign for sign, expires in _signers(endpoint.secrets) if expires is None or expires > now]
    return [
        "content-type: application/json",
        f"webhook-id: {webhook_id}",
        f"webhook-timestamp: {second}",
        f"webhook-signature: {signature_header(signers, webhook_id, second, body)}",
        *endpoint.headers,
    ]
