"""Webhook endpoints: their subscriptions, and the body and headers of a delivery."""

import json
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from waypost.clock import iso
from waypost.domain.events.segment import message_key
from waypost.domain.values.ids import public
from waypost.domain.webhooks import klaviyo
from waypost.domain.webhooks.event_patterns import pattern_match
from waypost.domain.webhooks.filter import compile_filter
from waypost.domain.webhooks.payload_format import JSON, PayloadFormat
from waypost.domain.webhooks.signing import Sign, signature_header, signer

#: The format of endpoints that do not choose another one: Standard Webhooks.
STANDARD = "standard"
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
    #: None for an endpoint that does not want its requests signed.
    secrets: tuple[Secret, ...]
    #: Increases with every change.
    version: int
    #: Whether it gets the events of one subject in order.
    ordered: bool = False
    #: The connection with the address and the key, for the format of a marketing tool.
    connection_id: int | None = None
    #: The format that its bodies are written in, if it is one made of data; None also if it is gone.
    payload: PayloadFormat | None = None
    #: The user who made it, for the formats that name one.
    user_id: str | None = None
    user_name: str | None = None

    @property
    def takes_several(self) -> bool:
        """Whether one request may contain several deliveries."""
        return self.format == klaviyo.FORMAT

    def subscribes(self) -> Callable[[str], bool]:
        """Return a test for the event types that it gets: those that it names, and that its format has a body for."""
        named = pattern_match(self.event_types)
        if self.payload is None:
            return named
        takes = self.payload.takes
        return lambda type_: named(type_) and takes(type_)


class Subscriptions:
    """The subscriptions of one workspace. Matches are cached per event type, since few types make up most events."""

    def __init__(self, endpoints: list[Endpoint]) -> None:
        self._wants = [
            (
                endpoint,
                endpoint.subscribes(),
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


def _read_payload(body: bytes) -> dict[str, Any]:
    try:
        return _decode(body)
    except msgspec.DecodeError:
        # JSON has no largest number; to a filter, one that is too large for a double is infinite.
        payload: dict[str, Any] = json.loads(body, parse_int=float)
        return payload


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


def request_headers(
    endpoint: Endpoint, webhook_id: str, body: bytes, now: int, content_type: str = JSON, added: Iterable[str] = ()
) -> list[str]:
    """Return the header lines of one attempt, signed with every secret that has not expired at `now`.

    `added` are the lines of a format. Those of the endpoint come later.
    """
    second = now // 1_000_000
    lines = [f"content-type: {content_type}", f"webhook-id: {webhook_id}", f"webhook-timestamp: {second}"]
    signers = [sign for sign, expires in _signers(endpoint.secrets) if expires is None or expires > now]
    if signers:
        lines.append(f"webhook-signature: {signature_header(signers, webhook_id, second, body)}")
    return [*lines, *added, *endpoint.headers]
