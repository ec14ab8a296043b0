"""How a receiver is told to behave: options from a URL or from JSON, checked and laid over one another."""

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

#: The options that were given, each known to be valid.
Options = Mapping[str, Any]

REDIRECTS = (301, 302, 303, 307, 308)
#: Of each row only one can be had; a later layer's choice drops what an earlier one chose.
ALTERNATIVES = (("body", "size", "gzip_bomb"), ("hang", "close", "reset", "garbage"))
#: What a mail receiver understands; the rest speaks of HTTP.
MAIL_OPTIONS = frozenset(
    {"status", "delay", "fail_first", "fail_status", "fail_rate", "seed", "body", "hang", "close", "record"}
)
MAIL_DEFAULTS: Options = {"status": 250, "fail_status": 451}


class Behaviour(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a receiver does with a request."""

    status: Status = 200
    delay: Seconds = 0.0
    #: So many requests of each webhook-id (or of the name, for requests without one) get `fail_status`.
    fail_first: Count = 0
    fail_status: Status = 500
    fail_rate: Annotated[float, Meta(ge=0, le=1)] = 0.0
    seed: str = ""
    redirect: Annotated[str, Meta(pattern=r"^[\x21-\x7e]+\Z", max_length=8_000)] | None = None
    #: Seconds or an HTTP date, sent as it is written.
    retry_after: Value | None = None
    body: str | None = None
    content_type: Value | None = None
    header: tuple[HeaderLine, ...] = ()
    size: Size | None = None
    #: The bytes that the gzip-encoded body expands to.
    gzip_bomb: Size | None = None
    #: The pause before each byte of the body, and of the head.
    drip: Seconds = 0.0
    drip_headers: Seconds = 0.0
    hang: bool = False
    close: bool = False
    reset: bool = False
    truncate: bool = False
    garbage: bool = False
    close_after: bool = False
    #: Without it a request is counted and not kept.
    record: bool = True


def from_query(query: str) -> Options:
    """The options in a URL's query."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError as error:
        raise Invalid(f"The query cannot be read: {error}.", code="invalid_option") from error
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
    """The options in a JSON object; `header` may be one line, a list of lines or an object."""
    if not isinstance(value, dict):
        raise Invalid('Options are a JSON object, such as {"status": 500}.', code="invalid_option")
    options = {name: given for name, given in value.items() if given is not None}
    match options.get("header"):
        case str(line):
            options["header"] = [line]
        case dict(lines):
            options["header"] = [f"{name}:{text}" for name, text in lines.items()]
    return _checked(options)


def for_mail(options: Options) -> Options:
    """The same options, known to make sense to a mail receiver."""
    for name in options:
        if name not in MAIL_OPTIONS:
            raise Invalid(
                f"Option {name!r} means nothing to a mail receiver; it knows {', '.join(sorted(MAIL_OPTIONS))}.",
                code="invalid_option",
                option=name,
            )
    told = behave(MAIL_DEFAULTS, options)
    if not 200 <= told.status <= 599 or not 400 <= told.fail_status <= 599:
        raise Invalid("An SMTP reply is 2xx, 4xx or 5xx, and a failing one 4xx or 5xx.", code="invalid_option")
    return options


def behave(*layers: Options) -> Behaviour:
    """The behaviour that checked options come to, later layers winning over earlier ones."""
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
    """Whether the n-th request for a name, the m-th of its webhook-id, gets the failing answer.

    The dice are a hash of seed and number, so the same seed always fails the same requests.
    """
    if attempt <= behaviour.fail_first:
        return True
    if not behaviour.fail_rate:
        return False
    digest = hashlib.blake2b(f"{behaviour.seed}:{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < behaviour.fail_rate * 2**64


def failing(behaviour: Behaviour) -> Behaviour:
    """The behaviour towards a request that fails: the failing status, and none of the other faults."""
    return Behaviour(
        status=behaviour.fail_status,
        delay=behaviour.delay,
        retry_after=behaviour.retry_after,
        header=behaviour.header,
        close_after=behaviour.close_after,
        record=behaviour.record,
    )


def _checked(options: dict[str, Any]) -> Options:
    """The options as values, which each mean something and do not speak against one another."""
    for name in options:
        if name not in Behaviour.__struct_fields__:
            known = ", ".join(sorted(Behaviour.__struct_fields__))
            raise Invalid(f"There is no option {name[:80]!r}; there are {known}.", code="invalid_option", option=name)
    try:
        told = msgspec.convert(options, Behaviour, strict=False)
    except msgspec.ValidationError as error:
        raise Invalid(f"An option has no valid value: {error}.", code="invalid_option") from error
    for row in ALTERNATIVES:
        chosen = [name for name in row if name in options and getattr(told, name) is not False]
        if len(chosen) > 1:
            raise Invalid(f"Only one of {', '.join(chosen)} can be had at a time.", code="invalid_option")
    if told.redirect is not None and "status" in options and told.status not in REDIRECTS:
        raise Invalid("The status of a redirect is 301, 302, 303, 307 or 308.", code="invalid_option", option="status")
    return {name: getattr(told, name) for name in options}
