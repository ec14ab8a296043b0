"""Verify the callbacks of providers and read the receipts in them, as the connector describes."""

import base64
import functools
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from waypost.clock import SECOND
from waypost.domain.messaging.failure_codes import OTHER, unrecognised
from waypost.domain.messaging.keywords import inbound_receipt, keyword
from waypost.domain.messaging.message import Receipt, Status
from waypost.domain.messaging.receipt import (
    Quarantined,
    clean_receipt,
    quarantine,
    read_count,
    read_message_id,
    read_micros,
    read_moment,
)
from waypost.domain.providers.connector import CallbackReading, CallbackStatus, Connector, Verification
from waypost.domain.templates.liquid.expressions import as_text, compile_text
from waypost.domain.values.json_path import find, find_all, is_like
from waypost.errors import Invalid

#: The largest body of a callback; SendGrid sends its events in batches.
BODY_BYTES, BATCH_BYTES = 1024 * 1024, 8 * 1024 * 1024
#: The most fields of a form.
_MOST_FIELDS = 1000
_LONGEST_KEY = 4096
_SIGNATURE, _TIMESTAMP = "x-twilio-email-event-webhook-signature", "x-twilio-email-event-webhook-timestamp"
_PLACES = re.compile(r"(\{body\}|\{timestamp\})")
_json = msgspec.json.Decoder().decode


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
    if _is_form(request.headers):
        fields = _form(request.body)
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


def _form(body: bytes) -> list[tuple[str, str]] | None:
    """Return the fields of a form, or None if it has more than _MOST_FIELDS."""
    try:
        return parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        return None


def _is_form(headers: Mapping[str, str]) -> bool:
    return _media_type(headers) == "application/x-www-form-urlencoded"


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def read_body(connector: Connector, request: CallbackRequest) -> list[Any]:
    """Return the records of a callback. Raise Invalid if its body does not have the format of the connector."""
    callback = connector.callback
    if callback is None:
        raise Invalid(f"The connector {connector.name} reads no callbacks.")
    if callback.encoding == "form" and not _media_type(request.headers).endswith("json"):
        fields = _form(request.body)
        if fields is None:
            raise Invalid(f"The body must be a form with at most {_MOST_FIELDS} fields.")
        # The first of a repeated field counts.
        whole: Any = dict(reversed(fields))
    else:
        try:
            whole = _json(request.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Invalid(f"The body is not JSON: {error}.") from error
    found = find(whole, callback.records)
    return found if isinstance(found, list) else [found]


def read_callbacks(
    connector: Connector, records: Iterable[Any], workspace_id: int, connection_id: int, now: int
) -> list[Receipt | Quarantined]:
    """Return the receipts of the records of a verified callback, and quarantined records. Never raises.

    `now` (microseconds) is the time of records without their own.
    """
    found: list[Receipt | Quarantined] = []
    for record in records:
        try:
            receipt = _read(connector, record, workspace_id, connection_id, now)
        except _Unreadable as error:
            found.append(quarantine(workspace_id, connection_id, str(error), msgspec.json.encode(record)))
            continue
        if receipt is not None:
            found.append(clean_receipt(receipt))
    return found


class _Unreadable(Exception):
    """A record does not have the format of the connector."""


def _read(connector: Connector, record: Any, workspace_id: int, connection_id: int, now: int) -> Receipt | None:
    """Return the receipt of a record, or None if it names neither a message nor an address to suppress."""
    if not isinstance(record, dict) or connector.callback is None:
        raise _Unreadable("not an object")
    read = connector.callback.read
    status = _text(record, read.status) or ""
    rule = _rule(connector, record, status)
    if rule is not None and rule.kind == "inbound":
        return _read_inbound(read, record, workspace_id, connection_id, now)
    if rule is None and not status:
        raise _Unreadable("no status" if read.status else "the connector names no status")
    provider_id = _text(record, read.id)
    if provider_id and read.id_end:
        provider_id = provider_id.partition(read.id_end)[0]
    own = _text(record, read.message_id)
    code = _text(record, read.code)
    price = read_micros(find(record, read.price), 1_000_000) if read.price else None
    receipt = Receipt(
        workspace_id=workspace_id,
        connection_id=connection_id,
        message_id=read_message_id(own) if own else None,
        provider_message_id=provider_id or None,
        receipt_id=_text(record, read.receipt_id),
        occurred_at=read_moment(find(record, read.at), read.at_unit, now) if read.at else now,
        provider_code=code or status or None,
        detail=_text(record, read.detail),
        address=_text(record, read.address),
        parts=read_count(find(record, read.parts)) if read.parts else None,
        price_micros=price,
        currency=_text(record, read.currency) if price is not None else None,
        carrier=_text(record, read.carrier),
        country=_text(record, read.country),
    )
    _judge(connector, receipt, rule, status, code)
    if rule is not None and rule.kind == "engagement":
        receipt.kind, receipt.event, receipt.own_address = "engagement", rule.event, _text(record, read.own_address)
        receipt.properties = _properties(read, record)
    if receipt.message_id is None and receipt.provider_message_id is None and receipt.suppress is None:
        if receipt.status is not None or receipt.kind == "engagement":
            raise _Unreadable("it names no message")
        return None
    return receipt


def _judge(connector: Connector, receipt: Receipt, rule: CallbackStatus | None, status: str, code: str | None) -> None:
    """Set status, code, reason and suppression of a receipt by the meaning of the provider's status."""
    if rule is None:
        unknown = connector.callback.unknown if connector.callback is not None else None
        if unknown is not None:
            receipt.status = unknown.status
            if unknown.status is Status.FAILED:
                receipt.code = unknown.code or OTHER
                receipt.reason = unknown.reason or unrecognised(status).reason
        return
    receipt.status, receipt.suppress = rule.status, rule.suppress
    if rule.status is not Status.FAILED:
        return
    # The provider's error code is more precise than its status.
    fault = connector.errors.get(code) if code else None
    receipt.code = (fault.code if fault else None) or rule.code or OTHER
    receipt.reason = (fault.reason if fault else None) or rule.reason or unrecognised(status).reason
    receipt.suppress = (fault.suppress if fault else None) or rule.suppress


def _rule(connector: Connector, record: Any, status: str) -> CallbackStatus | None:
    for rule in connector.callback.statuses if connector.callback is not None else ():
        if is_like(status, rule.match) and all(
            any(is_like(value, expected) for value in find_all(record, path)) for path, expected in rule.when.items()
        ):
            return rule
    return None


def _read_inbound(read: CallbackReading, record: Any, workspace_id: int, connection_id: int, now: int) -> Receipt:
    # In an inbound message, sender and recipient are swapped.
    address = _text(record, read.own_address)
    if address is None:
        raise _Unreadable("it does not name the sender")
    return inbound_receipt(
        workspace_id,
        connection_id,
        read_moment(find(record, read.at), read.at_unit, now) if read.at else now,
        text=_text(record, read.text) or "",
        word=keyword(_text(record, read.keyword) or ""),
        address=address,
        own_address=_text(record, read.address),
        receipt_id=_text(record, read.receipt_id) or _text(record, read.id),
        properties=_properties(read, record),
    )


def _properties(read: CallbackReading, record: Any) -> dict[str, Any]:
    found = {name: find(record, path) for name, path in read.properties.items()}
    return {name: value for name, value in found.items() if value is not None and value != ""}


def _text(record: Any, path: str) -> str | None:
    """Return the text or number at a path as text, or None for anything else."""
    value = find(record, path) if path else None
    return as_text(value) or None if isinstance(value, str | int | float) and not isinstance(value, bool) else None


class SubscriptionConfirmation(msgspec.Struct, frozen=True):
    """The confirmation of an SNS subscription: a GET of this URL confirms it."""

    url: str


class SnsNotification(msgspec.Struct, rename="pascal"):
    """The envelope that SNS posts to an HTTP subscriber."""

    type: str
    topic_arn: str
    message: str = ""
    message_id: str | None = None
    subscribe_url: str | None = msgspec.field(default=None, name="SubscribeURL")


_notification = msgspec.json.Decoder(SnsNotification).decode
_TOPIC_HOST = re.compile(r"sns\.[a-z]{2}(?:-[a-z]+)+-\d{1,2}\.amazonaws\.com(?:\.cn)?\Z")


def read_notification(body: bytes) -> SnsNotification | None:
    """Return the SNS envelope in a body, or None if the body is not one."""
    # Checked first because almost no body is one.
    if b'"TopicArn"' not in body:
        return None
    try:
        return _notification(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def confirmation(notification: SnsNotification) -> SubscriptionConfirmation | None:
    """Return the URL that confirms a subscription, or None if it is not a URL of SNS."""
    url = notification.subscribe_url or ""
    if len(url) > 2048 or any(letter <= " " or letter >= "\x7f" for letter in url):
        return None
    try:
        parts = urlsplit(url)
        proper = parts.scheme == "https" and parts.port in (None, 443) and parts.username is None
    except ValueError:
        return None
    return SubscriptionConfirmation(url) if proper and _TOPIC_HOST.match(parts.netloc.partition(":")[0]) else None
