"""Connectors: the structure of their definitions."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from waypost.domain.messaging.message import SendOutcome, Status

Short = Annotated[str, Meta(max_length=200)]
Long = Annotated[str, Meta(max_length=20_000)]
Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$", max_length=64)]
Key = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
#: A word of Waypost, such as `invalid_number`.
Word = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
Code = Annotated[int, Meta(ge=1, le=99_999)]
Texts = dict[Short, Long]
#: A value must match one of these; `*` matches any characters.
Patterns = str | int | bool | tuple[str | int | bool, ...]


class Field(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A field of the configuration of a connection."""

    name: Key
    label: Short
    #: Encrypted at rest and never returned.
    secret: bool = False
    required: bool = True
    #: A regular expression (RE2) that must match the whole value.
    pattern: Short = ""
    help: Long = ""
    default: Long | int | float | bool | None = None
    kind: Literal["text", "number", "boolean", "choice"] = "text"
    choices: tuple[Short, ...] = ()
    #: The checked format of a text: a URL, an email address, a body, header lines, response statuses or Liquid.
    format: Literal["", "url", "email", "return_path", "body", "headers", "statuses", "liquid"] = ""


class Auth(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The authentication of requests. Every value is Liquid."""

    #: none, header, basic, bearer, aws (Signature Version 4) or oauth2 (client credentials).
    scheme: Short = "none"
    #: header: the name, and the value.
    header: Short = "Authorization"
    value: Long = ""
    #: basic.
    username: Long = ""
    password: Long = ""
    #: bearer.
    token: Long = ""
    #: aws: the service name in the signature.
    service: Short = ""
    region: Short = "{{ config.region }}"
    access_key: Short = "{{ config.access_key }}"
    secret_key: Short = "{{ config.secret_key }}"  # noqa: S105 (where it is found, not what it is)
    #: oauth2.
    token_url: Long = ""
    client_id: Long = ""
    client_secret: Long = ""
    scope: Long = ""
    audience: Long = ""


class ValueLocation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to find a value in a response: in a header, or at a path of its JSON."""

    header: Short = ""
    path: Short = ""
    #: For waiting times: seconds (or an HTTP date), milliseconds, or the time in seconds since 1970.
    unit: Literal["seconds", "milliseconds", "unix"] = "seconds"


#: A path, a location, or several, of which the first that exists counts.
ValueLocations = str | ValueLocation | tuple[str | ValueLocation, ...]


class ResponseReading(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to find the values in a response."""

    #: The provider's id of the message.
    id: ValueLocations = ()
    #: The provider's error code.
    code: ValueLocations = ()
    #: The provider's error text.
    detail: ValueLocations = ()
    #: How long to wait before a retry.
    retry_after: ValueLocations = ValueLocation(header="Retry-After")


class ResponseRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule: what a response that meets all of its conditions means."""

    #: `200`, `"2xx"`, `"200-204"`, several with commas, or a list of such. Liquid is allowed.
    status: int | str | tuple[int | str, ...] = ()
    #: Names of transport errors: dns, connect, tls, timeout, …
    error: str | tuple[str, ...] = ()
    header: dict[str, Patterns] = {}
    #: By path of the JSON body.
    body: dict[str, Patterns] = {}
    outcome: SendOutcome
    code: Code | None = None
    reason: Word | None = None
    suppress: Word | None = None


class ErrorRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one error code of the provider means, in a response or in a callback."""

    outcome: SendOutcome = SendOutcome.REJECTED
    code: Code | None = None
    reason: Word | None = None
    suppress: Word | None = None


class Verification(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to verify that a callback comes from the provider."""

    #: hmac, basic, header (a shared secret in a header), token (in the URL), twilio, sendgrid, firehose, none.
    scheme: Literal["hmac", "basic", "header", "token", "twilio", "sendgrid", "firehose", "none"]
    #: The secret or the public key, in Liquid. basic: `user:password`; token: the value of the query parameter `token`.
    key: Long = ""
    #: The header with the signature or the secret.
    header: Short = ""
    algorithm: Literal["sha1", "sha256", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    #: Text before the signature, such as `sha256=`.
    prefix: Short = ""
    timestamp_header: Short = ""
    #: The signed text, with `{body}` and `{timestamp}` as placeholders.
    over: Short = "{body}"
    #: The largest difference of a timestamp from now, in seconds.
    tolerance_s: Annotated[int, Meta(ge=1, le=86_400)] = 300


class CallbackReading(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The paths (json_path.py) of the values in a record of a callback. An empty path means that there is no value."""

    #: The provider's id of the message.
    id: Short = ""
    #: The id ends before this text, for providers that append to it.
    id_end: Short = ""
    #: Waypost's id of the message, if the provider returns it.
    message_id: Short = ""
    status: Short = ""
    code: Short = ""
    detail: Short = ""
    at: Short = ""
    at_unit: Literal["s", "ms", "us", "iso"] = "s"
    address: Short = ""
    own_address: Short = ""
    parts: Short = ""
    price: Short = ""
    currency: Short = ""
    carrier: Short = ""
    country: Short = ""
    text: Short = ""
    #: The keyword that the provider recognised: STOP, START or HELP, whatever the text is.
    keyword: Short = ""
    receipt_id: Short = ""
    #: Other values to store with the event, by their name there.
    properties: dict[Key, Short] = {}


class CallbackStatus(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a record with this status means. The first that matches counts."""

    #: Values of the status; `*` matches any characters.
    match: Patterns
    #: Further conditions, by path.
    when: dict[str, Patterns] = {}
    kind: Literal["status", "engagement", "inbound"] = "status"
    #: None: the message keeps its status.
    status: Status | None = None
    #: For engagement: the type of the event, such as `email.opened`.
    event: Annotated[str, Meta(pattern=r"^[a-z0-9_]+(?:\.[a-z0-9_]+)+$", max_length=100)] | None = None
    code: Code | None = None
    reason: Word | None = None
    suppress: Word | None = None


class UnknownStatus(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a status that no rule matches means."""

    status: Status
    code: Code | None = None
    reason: Word | None = None


class Callback(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the callbacks of a provider are verified and read."""

    verify: Verification
    encoding: Literal["json", "form"] = "json"
    #: The path of the list of records; empty if the body is the list or the only record.
    records: Short = ""
    read: CallbackReading = CallbackReading()
    statuses: tuple[CallbackStatus, ...] = ()
    #: Without it, a status that no rule matches is stored verbatim and the message keeps its status.
    unknown: UnknownStatus | None = None


class Connector(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A kind of provider. The keys of its TOML definition are these fields."""

    name: Name
    label: Short
    description: Long = ""
    channel: Literal["sms", "email", "event"]
    driver: Literal["http", "pinpoint", "smtp"] = "http"
    fields: tuple[Field, ...] = ()
    #: The fields that identify the account at the provider; if empty, every field that is required or secret.
    account: tuple[Short, ...] = ()
    #: The regions of the provider; a field named `region` offers them.
    regions: tuple[Short, ...] = ()

    method: Short = "POST"
    #: Scheme, host and port.
    base_url: Long = ""
    #: The field whose URL, if given, replaces `base_url`; its own path comes before `path`.
    base_url_field: str = ""
    path: Long = ""
    query: dict[str, Any] = {}
    headers: Texts = {}
    #: The field with further headers, one `Name: value` per line.
    headers_field: str = ""
    body: dict[str, Any] | list[Any] | None = None
    #: The field with the body as text, instead of `body`.
    body_field: str = ""
    #: json, form, query (the body goes into the URL) or none. May be Liquid.
    encoding: Short = "json"
    #: Whether null and empty values are left out.
    drop_empty: bool = False
    auth: Auth = Auth()

    #: The most messages in one call.
    batch_size: Annotated[int, Meta(ge=1, le=1000)] = 1
    #: Messages per second; None for no limit.
    per_second: Annotated[float, Meta(gt=0, le=1_000_000)] | None = None
    #: The most calls at the same time.
    concurrency: Annotated[int, Meta(ge=1, le=1000)] = 16
    timeout_ms: Annotated[int, Meta(ge=100, le=60_000)] = 15_000
    #: How long a message may be tried, in seconds.
    validity_s: Annotated[int, Meta(ge=1, le=604_800)] = 86_400
    #: Whether a message may be sent again safely, since the provider deduplicates by its id.
    idempotent: bool = False

    read: ResponseReading = ResponseReading()
    answers: tuple[ResponseRule, ...] = ()
    #: By error code of the provider.
    errors: dict[str, ErrorRule] = {}
    callback: Callback | None = None
    #: The names of setup checks.
    checks: tuple[Word, ...] = ()
    #: The setup steps at the provider, in Liquid.
    setup: tuple[Long, ...] = ()

    def field(self, name: str) -> Field | None:
        """Return the field of this name, or None."""
        return next((field for field in self.fields if field.name == name), None)

    @property
    def account_fields(self) -> tuple[str, ...]:
        """The names of the fields that identify the account at the provider."""
        return self.account or tuple(field.name for field in self.fields if field.required or field.secret)

    @property
    def secrets(self) -> frozenset[str]:
        """The names of the secret fields."""
        return frozenset(field.name for field in self.fields if field.secret)
