"""Connectors: kinds of providers, described as data. What a description says, and what an account has to fill in."""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from waypost.domain.messaging.message import SendOutcome, Status
from waypost.domain.providers.body_template import JSON_IN_TEXT, BodyError, expressions, holds_broken_json, read_text
from waypost.domain.templates.liquid.expressions import check_expression
from waypost.domain.values.patterns import BadPattern, compile_pattern
from waypost.errors import Invalid

Short = Annotated[str, Meta(max_length=200)]
Long = Annotated[str, Meta(max_length=20_000)]
Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$", max_length=64)]
Key = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
#: One of our own words, such as `invalid_number`.
Word = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
Code = Annotated[int, Meta(ge=1, le=99_999)]
Texts = dict[Short, Long]
#: What a value has to be: one of these, in which `*` stands for anything.
Patterns = str | int | bool | tuple[str | int | bool, ...]


class Field(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that has to be known of an account at the provider."""

    name: Key
    label: Short
    #: Encrypted at rest and never shown again.
    secret: bool = False
    required: bool = True
    #: A regular expression (RE2) that must match all of the value.
    pattern: Short = ""
    help: Long = ""
    default: Long | int | float | bool | None = None
    kind: Literal["text", "number", "boolean", "choice"] = "text"
    choices: tuple[Short, ...] = ()
    #: What a text is, where that is checked: a URL, an email address, a body, header lines, answer statuses, a path.
    format: Literal["", "url", "email", "body", "headers", "statuses", "liquid"] = ""


class Auth(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a request proves whose it is. Every value is Liquid."""

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
    #: aws: the name that the service is signed with.
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
    """Where something stands in an answer: in a header, or under a path of its JSON."""

    header: Short = ""
    path: Short = ""
    #: For times to wait: seconds (or a date, as HTTP has it), milliseconds, or the moment in seconds since 1970.
    unit: Literal["seconds", "milliseconds", "unix"] = "seconds"


#: A path alone, a source, or several of which the first that is there counts.
ValueLocations = str | ValueLocation | tuple[str | ValueLocation, ...]


class ResponseReading(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where an answer says what."""

    #: The provider's id of the message.
    id: ValueLocations = ()
    #: The provider's own code of an error.
    code: ValueLocations = ()
    #: The provider's own words.
    detail: ValueLocations = ()
    #: How long to wait.
    retry_after: ValueLocations = ValueLocation(header="Retry-After")


class ResponseRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule: answers that fulfil all of its conditions mean this."""

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
    """What one of the provider's error codes means, in an answer or in a callback."""

    outcome: SendOutcome = SendOutcome.REJECTED
    code: Code | None = None
    reason: Word | None = None
    suppress: Word | None = None


class Verification(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a callback proves that it comes from the provider."""

    #: hmac, basic, header (a shared secret in a header), token (in the URL), twilio, sendgrid, firehose, none.
    scheme: Literal["hmac", "basic", "header", "token", "twilio", "sendgrid", "firehose", "none"]
    #: The secret or the public key. Liquid; for basic: `user:password`; for token: the query parameter is `token`.
    key: Long = ""
    #: Where the signature, or the secret, is.
    header: Short = ""
    algorithm: Literal["sha1", "sha256", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    #: Stands before the signature, such as `sha256=`.
    prefix: Short = ""
    timestamp_header: Short = ""
    #: What is signed, with `{body}` and `{timestamp}` put in.
    over: Short = "{body}"
    #: How old a timestamp may be.
    tolerance_s: Annotated[int, Meta(ge=1, le=86_400)] = 300


class CallbackReading(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Under which paths (domain.paths) a record of a callback says what. An empty one is not there."""

    #: The provider's id of the message.
    id: Short = ""
    #: The id ends before this: some say more after it.
    id_end: Short = ""
    #: Our own id, where the provider gives it back.
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
    #: The provider's own word for what a person wrote: STOP, START or HELP, whatever the text is.
    keyword: Short = ""
    receipt_id: Short = ""
    #: Whatever else is kept with the event, by the name that it gets there.
    properties: dict[Key, Short] = {}


class CallbackStatus(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a record with this status means; the first that fits counts."""

    #: Values of the status, in which `*` stands for anything.
    match: Patterns
    #: Further conditions, by path.
    when: dict[str, Patterns] = {}
    kind: Literal["status", "engagement", "inbound"] = "status"
    #: None: it moves nothing.
    status: Status | None = None
    #: For engagement: the type of the event, such as `message.opened`.
    event: Annotated[str, Meta(pattern=r"^[a-z0-9_]+(?:\.[a-z0-9_]+)+$", max_length=100)] | None = None
    code: Code | None = None
    reason: Word | None = None
    suppress: Word | None = None


class UnknownStatus(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a status that is not in the table means, where it is to move something."""

    status: Status
    code: Code | None = None
    reason: Word | None = None


class Callback(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How what the provider says later is verified and read."""

    verify: Verification
    encoding: Literal["json", "form"] = "json"
    #: Path to the list of records; empty: the body is the list, or the only record.
    records: Short = ""
    read: CallbackReading = CallbackReading()
    statuses: tuple[CallbackStatus, ...] = ()
    #: Without it, a status that is not in the table is kept verbatim and moves nothing.
    unknown: UnknownStatus | None = None


class Connector(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A kind of provider. The keys of its TOML are these fields."""

    name: Name
    label: Short
    description: Long = ""
    channel: Literal["sms", "email", "event"]
    driver: Literal["http", "pinpoint", "smtp"] = "http"
    fields: tuple[Field, ...] = ()
    #: The fields that identify the account at the provider. Empty: every field that is required or secret.
    account: tuple[Short, ...] = ()
    #: Regions that the provider is known in; a field named `region` offers them.
    regions: tuple[Short, ...] = ()

    method: Short = "POST"
    #: Scheme, host and port.
    base_url: Long = ""
    #: The field whose URL, where it is given, replaces `base_url`; its own path stays in front of `path`.
    base_url_field: str = ""
    path: Long = ""
    query: dict[str, Any] = {}
    headers: Texts = {}
    #: The field that holds further headers, one `Name: value` on a line.
    headers_field: str = ""
    body: dict[str, Any] | list[Any] | None = None
    #: The field that holds the body as text, instead of `body`.
    body_field: str = ""
    #: json, form, query (the body goes into the URL) or none. Liquid is allowed.
    encoding: Short = "json"
    #: Leave out what is null or empty.
    drop_empty: bool = False
    auth: Auth = Auth()

    #: Messages in one call.
    batch_size: Annotated[int, Meta(ge=1, le=1000)] = 1
    #: Messages per second, None for no limit.
    per_second: Annotated[float, Meta(gt=0, le=1_000_000)] | None = None
    #: Calls under way at the same time.
    concurrency: Annotated[int, Meta(ge=1, le=1000)] = 16
    timeout_ms: Annotated[int, Meta(ge=100, le=60_000)] = 15_000
    #: For how long a message may be tried, in seconds.
    validity_s: Annotated[int, Meta(ge=1, le=604_800)] = 86_400
    #: Repeating a message does no harm: the provider knows it by its id.
    idempotent: bool = False

    read: ResponseReading = ResponseReading()
    answers: tuple[ResponseRule, ...] = ()
    #: By the provider's own code.
    errors: dict[str, ErrorRule] = {}
    callback: Callback | None = None
    #: Names of set-up checks.
    checks: tuple[Word, ...] = ()
    #: What has to be done at the provider; Liquid.
    setup: tuple[Long, ...] = ()

    def field(self, name: str) -> Field | None:
        """The field of this name."""
        return next((field for field in self.fields if field.name == name), None)

    @property
    def account_fields(self) -> tuple[str, ...]:
        """The names of the fields that identify the account at the provider."""
        return self.account or tuple(field.name for field in self.fields if field.required or field.secret)

    @property
    def secrets(self) -> frozenset[str]:
        """The names of the fields that are secret."""
        return frozenset(field.name for field in self.fields if field.secret)


_STATUS = r"\s*(?:[1-5]xx|[1-5]\d\d(?:\s*-\s*[1-5]\d\d)?)\s*"
STATUSES = re.compile(f"{_STATUS}(?:,{_STATUS})*\\Z")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")
_EMAIL = re.compile(r"[^\s@<>,;\"]+@[^\s@<>,;\"]+\Z")
#: The longest value of a field with a pattern.
LONGEST_MATCHED = 512
_LONGEST_VALUE = 20_000
_LARGEST = 1e15


def check_config(connector: Connector, given: Mapping[str, Any], *, partial: bool = False) -> dict[str, Any]:
    """The configuration of a connection as it is kept, defaults filled in.

    With `partial` only what is given is looked at: a change to a configuration that is complete by itself. There, None
    takes a value back. Invalid (code `invalid_config`, `field`) names the first field that is wrong.
    """
    known = {field.name for field in connector.fields}
    for name in given:
        if name not in known:
            raise _wrong_config(
                name[:64], f"{connector.label} has no field {name[:64]!r}; it has {', '.join(known) or 'none'}"
            )
    config: dict[str, Any] = {}
    for field in connector.fields:
        value = given.get(field.name)
        if isinstance(value, str) and not field.format:
            value = value.strip()
        if value is None or value == "":
            if partial and field.name not in given:
                continue
            if field.default is not None:
                value = field.default
            elif field.required:
                raise _wrong_config(field.name, f"{field.label} ({field.name}) is required")
            else:
                # Every field is there, so that a template can ask for any of them.
                value = {"text": "", "choice": "", "boolean": False, "number": None}[field.kind]
            config[field.name] = value
        else:
            config[field.name] = check_value(connector, field, value)
    return config


def check_value(connector: Connector, field: Field, value: Any) -> Any:
    """A value as it is kept for a field; Invalid (code `invalid_config`) when it cannot be."""

    def refuse(reason: str) -> Invalid:
        return _wrong_config(field.name, f"{field.label} ({field.name}) {reason}")

    if field.kind == "boolean":
        if not isinstance(value, bool):
            raise refuse("is true or false")
        return value
    if field.kind == "number":
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LARGEST:
            raise refuse("is a number")
        return value
    if not isinstance(value, str):
        raise refuse("is a text")
    if "\0" in value or len(value) > (LONGEST_MATCHED if field.pattern else _LONGEST_VALUE):
        raise refuse("is too long, or has a character that no text has")
    if field.kind == "choice" and value not in field.choices:
        raise refuse(f"is one of {', '.join(field.choices)}")
    if field.pattern:
        try:
            matches = compile_pattern(field.pattern)(value)
        except BadPattern as error:
            raise refuse(f"cannot be checked, correct its pattern in the definition: {error}") from error
        if not matches:
            raise refuse("does not look as it should" + (f". {field.help}" if field.help else ""))
    if field.format:
        try:
            _FORMATS[field.format](value)
        except (ValueError, BodyError) as error:
            raise refuse(f"is not valid. {error}".rstrip(".")) from error
    return value


def _wrong_config(name: str, detail: str) -> Invalid:
    return Invalid(f"{detail}.", code="invalid_config", field=name)


def check_base(url: str) -> None:
    """Nothing, for a URL that requests can be sent to; ValueError for any other."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("It has to be an http:// or https:// URL")
    if parts.username is not None or parts.fragment or any(c <= " " or c == "\x7f" for c in url):
        raise ValueError("It has to be a URL without user, fragment and spaces")
    _ = parts.port


def read_headers(text: str) -> dict[str, str]:
    """Header lines as a table; ValueError for a line that is none."""
    found = {}
    for line in text.splitlines():
        if not line.strip():
            continue
        name, colon, value = line.partition(":")
        if not colon or not _HEADER_NAME.match(name.strip()):
            raise ValueError(f"{line[:60]!r} is not a header: write Name: value")
        found[name.strip()] = value.strip()
    return found


def is_header_name(name: str) -> bool:
    """Whether HTTP allows a header of this name."""
    return _HEADER_NAME.match(name) is not None


def _check_email(text: str) -> None:
    if not _EMAIL.match(text) or len(text) > 254:
        raise ValueError("Write an address such as hello@example.com")


def _check_statuses(text: str) -> None:
    if not STATUSES.match(text):
        raise ValueError("Write statuses such as 200, 202 or 2xx or 200-204")


def _check_headers(text: str) -> None:
    for value in read_headers(text).values():
        check_expression(value)


def _check_body(text: str) -> None:
    """Whether it can be read as JSON or as a form; which of the two it has to be, the request says."""
    tree = read_text(text, "json" if text.lstrip()[:1] in ("{", "[") else "form")
    for path, value in expressions(tree):
        check_expression(value)
        if holds_broken_json(value):
            raise BodyError(path, f"{'.'.join(map(str, path))}: {JSON_IN_TEXT}")


_FORMATS: dict[str, Callable[[str], object]] = {
    "url": check_base,
    "email": _check_email,
    "body": _check_body,
    "headers": _check_headers,
    "statuses": _check_statuses,
    "liquid": check_expression,
}
