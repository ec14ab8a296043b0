"""The behaviour of a receiver: options from a URL or from JSON, validated and merged."""

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import parse_qsl

import msgspec
from msgspec import Meta

from waypost.errors import Invalid

Status = Annotated[int, Meta(ge=100, le=999)]
Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Count = Annotated[int, Meta(ge=0, le=1 << 53)]
Size = Annotated[int, Meta(ge=0, le=1 << 40)]
#: A header's value: anything that cannot start another line.
Value = Annotated[str, Meta(pattern=r"^[^\x00-\x08\x0a-\x1f\x7f]*\Z", max_length=8_000)]
HeaderLine = Annotated[
    str, Meta(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\x00-\x08\x0a-\x1f\x7f]*\Z", max_length=8_000)
]

#: The given options, validated.
Options = Mapping[str, Any]

REDIRECTS = (301, 302, 303, 307, 308)
#: The options of a row exclude each other; one in a later layer replaces those of its row in earlier layers.
ALTERNATIVES = (("body", "size", "gzip_bomb"), ("hang", "close", "reset", "garbage"))
#: The options that a mail receiver supports; the others concern HTTP only.
MAIL_OPTIONS = frozenset(
    {"status", "delay", "fail_first", "fail_status", "fail_rate", "seed", "body", "hang", "close", "record"}
)
MAIL_DEFAULTS: Options = {"status": 250, "fail_status": 451}


class Behaviour(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The response of a receiver to a request."""

    status: Status = 200
    delay: Seconds = 0.0
    #: This many first requests of each webhook-id (or of the name, for requests without one) get `fail_status`.
    fail_first: Count = 0
    fail_status: Status = 500
    fail_rate: Annotated[float, Meta(ge=0, le=1)] = 0.0
    seed: str = ""
    redirect: Annotated[str, Meta(pattern=r"^[\x21-\x7e]+\Z", max_length=8_000)] | None = None
    #: Seconds or an HTTP date, sent unchanged.
    retry_after: Value | None = None
    body: str | None = None
    content_type: Value | None = None
    header: tuple[HeaderLine, ...] = ()
    size: Size | None = None
    #: The bytes that the gzip-encoded body expands to.
    gzip_bomb: Size | None = None
    #: Seconds before each byte of the body, and of the head.
    drip: Seconds = 0.0
    drip_headers: Seconds = 0.0
    hang: bool = False
    close: bool = False
    reset: bool = False
    truncate: bool = False
    garbage: bool = False
    close_after: bool = False
    #: If false, requests are counted but not stored.
    record: bool = True


def from_query(query: str) -> Options:
    """Return the options in a URL's query."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError as error:
        raise Invalid(f"The query cannot be parsed: {error}.", code="invalid_option") from error
    options: dict[str, Any] = {}
    for name, text in pairs:
        if name == "header":
            options.setdefault("header", []).append(text)
        elif name in options:
            raise Invalid(f"Option {name!r} is given twice.", code="invalid_option", option=name)
        else:
            options[name] = text
    return _checked(options)


def from_json(value: object) -> Options:
    """Return the options in a JSON object; `header` may be one line, a list of lines or an object."""
    if not isinstance(value, dict):
        raise Invalid('Options must be a JSON object, such as {"status": 500}.', code="invalid_option")
    options = {name: given for name, given in value.items() if given is not None}
    match options.get("header"):
        case str(line):
            options["header"] = [line]
        case dict(lines):
            options["header"] = [f"{name}:{text}" for name, text in lines.items()]
    return _checked(options)


def for_mail(options: Options) -> Options:
    """Return the options; raise Invalid if a mail receiver does not support them."""
    for name in options:
        if name not in MAIL_OPTIONS:
            raise Invalid(
                f"A mail receiver does not support {name!r}. Supported are {', '.join(sorted(MAIL_OPTIONS))}.",
                code="invalid_option",
                option=name,
            )
    behaviour = behave(MAIL_DEFAULTS, options)
    if not 200 <= behaviour.status <= 599 or not 400 <= behaviour.fail_status <= 599:
        raise Invalid(
            "For mail, status must be from 200 to 599, and fail_status from 400 to 599.", code="invalid_option"
        )
    return options


def behave(*layers: Options) -> Behaviour:
    """Merge validated options into a behaviour; later layers override earlier ones."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for row in ALTERNATIVES:
            if any(layer.get(name) is not None and layer[name] is not False for name in row):
                for name in row:
                    merged.pop(name, None)
        merged.update(layer)
    if merged.get("redirect") is not None and merged.get("status") not in REDIRECTS:
        merged["status"] = 302
    return msgspec.convert(merged, Behaviour)


def fails(behaviour: Behaviour, number: int, attempt: int) -> bool:
    """Return whether the n-th request for a name, the m-th of its webhook-id, gets the failure response.

    Chance is a hash of seed and number, so the same seed always fails the same requests.
    """
    if attempt <= behaviour.fail_first:
        return True
    if not behaviour.fail_rate:
        return False
    digest = hashlib.blake2b(f"{behaviour.seed}:{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < behaviour.fail_rate * 2**64


def failing(behaviour: Behaviour) -> Behaviour:
    """Return the behaviour for a request that fails: `fail_status`, without the other faults."""
    return Behaviour(
        status=behaviour.fail_status,
        delay=behaviour.delay,
        retry_after=behaviour.retry_after,
        header=behaviour.header,
        close_after=behaviour.close_after,
        record=behaviour.record,
    )


def _checked(options: dict[str, Any]) -> Options:
    """Return the options as typed values; raise Invalid if one is unknown or not valid, or two exclude each other."""
    for name in options:
        if name not in Behaviour.__struct_fields__:
            known = ", ".join(sorted(Behaviour.__struct_fields__))
            raise Invalid(f"Unknown option {name[:80]!r}. Allowed are {known}.", code="invalid_option", option=name)
    try:
        behaviour = msgspec.convert(options, Behaviour, strict=False)
    except msgspec.ValidationError as error:
        raise Invalid(f"The value of an option is not valid: {error}.", code="invalid_option") from error
    for row in ALTERNATIVES:
        chosen = [name for name in row if name in options and getattr(behaviour, name) is not False]
        if len(chosen) > 1:
            raise Invalid(f"The options {', '.join(chosen)} exclude each other. Give one.", code="invalid_option")
    if behaviour.redirect is not None and "status" in options and behaviour.status not in REDIRECTS:
        raise Invalid(
            "The status of a redirect must be 301, 302, 303, 307 or 308.", code="invalid_option", option="status"
        )
    return {name: getattr(behaviour, name) for name in options}
