"""Parse the TOML definition of a connector and check it; errors name the line and the reason."""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from waypost.domain.messaging.failure_codes import FAILURE_CODES
from waypost.domain.messaging.message import SendOutcome, Status
from waypost.domain.providers.body_template import (
    ENCODINGS,
    JSON_IN_TEXT,
    BodyError,
    expressions,
    holds_broken_json,
    without_each,
)
from waypost.domain.providers.connection_config import STATUSES, check_value, is_header_name
from waypost.domain.providers.connector import Auth, Connector, ErrorRule, ResponseRule, ValueLocation, Verification
from waypost.domain.templates.liquid.expressions import (
    NotLiquid,
    check_expression,
    config_names,
    is_expression,
    value_names,
)
from waypost.domain.values import toml_text
from waypost.domain.values.patterns import BadPattern, compile_pattern
from waypost.domain.values.toml_text import Path, TomlError
from waypost.errors import Invalid

METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
#: By authentication scheme: the keys that it requires.
SCHEMES: dict[str, tuple[str, ...]] = {
    "none": (),
    "header": ("header", "value"),
    "basic": ("username",),
    "bearer": ("token",),
    "aws": ("service", "region", "access_key", "secret_key"),
    "oauth2": ("token_url", "client_id", "client_secret"),
}
#: The names of transport errors, as in engine/net/outbound.py.
TRANSPORT_ERRORS = frozenset(
    {
        "dns",
        "connect",
        "tls",
        "proxy",
        "address_forbidden",
        "not_sent",
        "timeout",
        "empty_answer",
        "connection_lost",
        "not_http",
        "bad_encoding",
    }
)

_MOST_FIELDS = 50
_MOST_RULES = 200
_EXPRESSION = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_LITERAL_BASE = re.compile(r"https?://[^/?#\s@]+\Z")
#: Headers that the HTTP client sets.
_NOT_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "expect", "upgrade", "te"})


def parse_connector(text: str, source: str) -> Connector:
    """Return the connector that a TOML text defines.

    Raise Invalid (code `invalid_connector`, with `line` and `reason`) if the definition is not valid; `source` names
    the text in the error.
    """
    return _read(text, source, _STRICT)


def parse_own_connector(text: str, source: str) -> Connector:
    """Parse the connector of an operator: it may not use what needs code, such as drivers and setup checks."""
    return _read(text, source, (*_STRICT, _check_own))


def read_stored_connector(text: str, source: str) -> Connector:
    """Parse a stored connector, perhaps added by a version of Waypost with fewer checks.

    Harmless errors are accepted, so that connections continue after an upgrade.
    """
    return _read(text, source, (_check_own,))


def _read(text: str, source: str, further: tuple[Callable[[Connector], None], ...]) -> Connector:
    try:
        connector = _convert(toml_text.read_table(text))
        for check in (_check_fields, _check_request, _check_auth, _check_answers, _check_callback, *further):
            check(connector)
    except TomlError as wrong:
        line, reason = toml_text.explain(text, wrong)
        raise Invalid(
            f"{source}, line {line}: {reason}.", code="invalid_connector", line=line, reason=reason
        ) from wrong
    return connector


def _convert(data: dict[str, Any]) -> Connector:
    # Entry by entry, so that an error names the key.
    errors = data.get("errors", {})
    if not isinstance(errors, dict):
        raise TomlError(("errors",), "expected a table")
    faults = {str(key): toml_text.convert(value, ErrorRule, ("errors", key)) for key, value in errors.items()}
    connector = toml_text.convert({key: value for key, value in data.items() if key != "errors"}, Connector)
    return msgspec.structs.replace(connector, errors=faults)


def _check_fields(connector: Connector) -> None:
    for name in connector.account:
        if connector.field(name) is None:
            raise TomlError(("account",), f"there is no field {name!r}")
    if len(connector.fields) > _MOST_FIELDS:
        raise TomlError(("fields",), f"at most {_MOST_FIELDS} fields are allowed")
    seen: set[str] = set()
    for index, field in enumerate(connector.fields):
        path = ("fields", index)
        if field.name in seen:
            raise TomlError((*path, "name"), f"there are two fields {field.name!r}")
        seen.add(field.name)
        if bool(field.choices) != (field.kind == "choice"):
            raise TomlError((*path, "choices"), "fields of the kind choice need choices, and no others may have them")
        if field.pattern and field.kind != "text":
            raise TomlError((*path, "pattern"), "only a field of the kind text may have a pattern")
        if field.default is not None:
            try:
                check_value(connector, field, field.default)
            except Invalid as error:
                raise TomlError((*path, "default"), error.detail.rstrip(".")) from error
    for key in ("base_url_field", "headers_field", "body_field"):
        name = getattr(connector, key)
        if name and name not in seen:
            raise TomlError((key,), f"there is no field {name!r}; fields are {', '.join(sorted(seen)) or 'none'}")


def _check_patterns(connector: Connector) -> None:
    for index, field in enumerate(connector.fields):
        try:
            compile_pattern(field.pattern)
        except BadPattern as error:
            raise TomlError(("fields", index, "pattern"), str(error)) from error


def _check_codes(connector: Connector) -> None:
    """Raise TomlError for a code that is not a delivery failure code, such as a setup code."""
    callback = connector.callback
    codes: list[tuple[Path, int | None]] = [
        *((("answers", index, "code"), answer.code) for index, answer in enumerate(connector.answers)),
        *((("errors", name, "code"), fault.code) for name, fault in connector.errors.items()),
    ]
    if callback is not None:
        codes += [(("callback", "statuses", index, "code"), one.code) for index, one in enumerate(callback.statuses)]
        codes.append((("callback", "unknown", "code"), callback.unknown.code if callback.unknown else None))
    for path, code in codes:
        if code is not None and code not in FAILURE_CODES:
            allowed = ", ".join(map(str, sorted(FAILURE_CODES)))
            raise TomlError(path, f"{code} is not a delivery failure code; allowed are {allowed}")


def _check_headers(connector: Connector) -> None:
    """Raise TomlError for a header that HTTP does not allow, judged by its text outside of expressions."""
    name, value = connector.auth.header, connector.auth.value
    if not is_expression(name) and not is_header_name(name):
        raise TomlError(("auth", "header"), f"{name!r} is not the name of a header")
    texts: list[tuple[Path, str]] = [(("headers", name), text) for name, text in connector.headers.items()]
    for path, text in [*texts, (("auth", "value"), value)]:
        if bad := _CONTROL.search(_EXPRESSION.sub("", text.strip())):
            raise TomlError(path, f"a header cannot contain {bad[0]!r}; write it on one line")


def _check_texts(connector: Connector) -> None:
    for key in ("query", "body"):
        for place, text in expressions(getattr(connector, key), (key,)):
            if holds_broken_json(text):
                raise TomlError(place, JSON_IN_TEXT)


def _check_request(connector: Connector) -> None:
    own = connector.driver == "http"
    if own and not connector.base_url:
        raise TomlError(("base_url",), "it is missing")
    if connector.base_url:
        _check(connector, connector.base_url, ("base_url",))
        literal = _EXPRESSION.sub("x", connector.base_url)
        if not (_LITERAL_BASE.match(literal) or connector.base_url.startswith("{{")):
            raise TomlError(("base_url",), "it must be http:// or https:// and a host; put the rest into path")
    if connector.path and not connector.path.startswith("/"):
        raise TomlError(("path",), "it must start with a slash")
    for key, allowed in (("method", METHODS), ("encoding", frozenset(ENCODINGS))):
        _check_word(connector, getattr(connector, key), allowed, (key,))
    if connector.body is not None and connector.body_field:
        raise TomlError(("body_field",), "body and body_field cannot be used together")
    _check(connector, connector.path, ("path",))
    for name, value in connector.headers.items():
        path = ("headers", name)
        if not is_header_name(name) or name.lower() in _NOT_OURS:
            raise TomlError(path, "it is not a valid header, or one that Waypost sets")
        _check(connector, value, path)
    for key in ("query", "body"):
        try:
            for place, text in expressions(getattr(connector, key), (key,)):
                _check(connector, text, place)
        except BodyError as flaw:
            raise TomlError(flaw.path, flaw.reason) from flaw
    for index, step in enumerate(connector.setup):
        _check(connector, step, ("setup", index))
    if own and connector.batch_size != 1:
        _check_batch(connector)


def _check_batch(connector: Connector) -> None:
    """Raise TomlError for what cannot be the same for all messages of a call."""
    if connector.body_field:
        raise TomlError(("batch_size",), "a call with several messages needs `body`, not `body_field`")
    rest = without_each(connector.body)
    if rest == connector.body:
        raise TomlError(("batch_size",), 'with several messages in a call, `body` needs a table with "$each"')
    if connector.read.id != ():
        raise TomlError(("read", "id"), "a call with several messages has no id for each of them")
    texts: list[tuple[Path, str]] = [(("path",), connector.path), (("base_url",), connector.base_url)]
    texts += [(("headers", name), value) for name, value in connector.headers.items()]
    texts += [*expressions(connector.query, ("query",)), *expressions(rest, ("body",))]
    texts += [(("auth", key), getattr(connector.auth, key)) for key in Auth.__struct_fields__]
    for path, text in texts:
        if bad := sorted(value_names(text) & {"message", "recipient"}):
            raise TomlError(path, f'{bad[0]!r} is one of several messages in a call; it can only stand below "$each"')


def _check_word(connector: Connector, value: str, allowed: frozenset[str], path: Path) -> None:
    if is_expression(value):
        _check(connector, value, path)
    elif value not in allowed:
        raise TomlError(path, f"{value!r} is not one of {', '.join(sorted(allowed))}")


def _check(connector: Connector, text: str, path: Path) -> None:
    """Raise TomlError unless the text is Liquid that uses only fields of this connector and values of a request."""
    try:
        check_expression(text)
        names = config_names(text)
    except NotLiquid as error:
        raise TomlError(path, str(error), further=error.line - 1) from error
    for name in sorted(names):
        if connector.field(name) is None:
            known = ", ".join(field.name for field in connector.fields) or "none"
            raise TomlError(path, f"there is no field {name!r}; fields are {known}")


def _check_auth(connector: Connector) -> None:
    auth = connector.auth
    for key in Auth.__struct_fields__:
        _check(connector, getattr(auth, key), ("auth", key)) if _used(auth, key) else None
    _check_word(connector, auth.scheme, frozenset(SCHEMES), ("auth", "scheme"))
    for key in SCHEMES.get(auth.scheme, ()):
        if not getattr(auth, key):
            raise TomlError(("auth",), f"{auth.scheme} needs {key}")


def _used(auth: Auth, key: str) -> bool:
    """Return whether a key is used: the defaults for AWS name fields that other connectors do not have."""
    return auth.scheme == "aws" or key not in ("region", "access_key", "secret_key")


def _check_answers(connector: Connector) -> None:
    if len(connector.answers) > _MOST_RULES or len(connector.errors) > _MOST_RULES:
        raise TomlError(("answers",), f"at most {_MOST_RULES} rules and as many errors are allowed")
    for index, answer in enumerate(connector.answers):
        _check_answer(connector, answer, ("answers", index))
    if connector.driver == "http" and not any(a.outcome is SendOutcome.ACCEPTED for a in connector.answers):
        raise TomlError(("answers",), 'no rule means that a message was accepted: add one with outcome = "accepted"')
    for key in ("id", "code", "detail", "retry_after"):
        found = getattr(connector.read, key)
        for source in found if isinstance(found, tuple) else (found,):
            _check_source(connector, source, ("read", key))


def _check_answer(connector: Connector, answer: ResponseRule, path: Path) -> None:
    if answer.status == () and answer.error == () and not answer.header and not answer.body:
        raise TomlError(path, "it has no condition: status, error, header or body")
    for status in answer.status if isinstance(answer.status, tuple) else (answer.status,):
        if isinstance(status, str) and is_expression(status):
            _check(connector, status, (*path, "status"))
        elif not STATUSES.match(str(status)):
            raise TomlError((*path, "status"), f"{status!r} is not a status such as 200, 2xx or 200-204")
    for name in answer.error if isinstance(answer.error, tuple) else (answer.error,):
        if name not in TRANSPORT_ERRORS:
            raise TomlError((*path, "error"), f"{name!r} is not one of {', '.join(sorted(TRANSPORT_ERRORS))}")
    if answer.outcome in (SendOutcome.ACCEPTED, SendOutcome.UNKNOWN) and answer.suppress:
        raise TomlError((*path, "suppress"), "only an outcome that is not accepted or unknown can suppress the address")
    if answer.error != () and (answer.status != () or answer.header or answer.body):
        raise TomlError((*path, "error"), "a rule for a transport error cannot have a status, header or body")


def _check_source(connector: Connector, source: str | ValueLocation, path: Path) -> None:
    where = source if isinstance(source, str) else source.path
    _check(connector, where, path)
    if isinstance(source, ValueLocation) and bool(source.header) == bool(source.path):
        raise TomlError(path, "it must have either a header or a path")


def _check_callback(connector: Connector) -> None:
    callback = connector.callback
    if callback is None:
        return
    _check_verification(connector, callback.verify)
    for index, status in enumerate(callback.statuses):
        path = ("callback", "statuses", index)
        if status.kind == "engagement" and not status.event:
            raise TomlError(path, "an engagement needs an event, such as email.opened")
        if status.kind != "status" and status.status is not None:
            raise TomlError((*path, "status"), "only receipts of the kind status change the status of a message")
        _check_moved(status.status, (*path, "status"))
    if callback.unknown is not None:
        _check_moved(callback.unknown.status, ("callback", "unknown", "status"))
    if callback.statuses and not callback.read.status:
        raise TomlError(("callback", "read"), "statuses need read.status, the path to the status")


def _check_moved(status: Status | None, path: Path) -> None:
    if status not in (None, Status.SENT, Status.DELIVERED, Status.FAILED):
        raise TomlError(path, "the status must be sent, delivered or failed")


def _check_verification(connector: Connector, verify: Verification) -> None:
    path = ("callback", "verify")
    _check(connector, verify.key, path)
    if verify.scheme in ("hmac", "basic", "header", "token", "twilio", "sendgrid") and not verify.key:
        raise TomlError(path, f"{verify.scheme} needs a key")
    if verify.scheme in ("hmac", "header") and not is_header_name(verify.header):
        raise TomlError(path, f"{verify.scheme} needs the name of a header")
    if verify.scheme == "hmac":
        if "{body}" not in verify.over:
            raise TomlError(path, "the signed text must contain {body}")
        if "{timestamp}" in verify.over and not verify.timestamp_header:
            raise TomlError(path, "{timestamp} needs a timestamp_header")


def _check_own(connector: Connector) -> None:
    if connector.driver != "http":
        raise TomlError(("driver",), "only the connectors of Waypost itself may have a driver other than http")
    if connector.checks:
        raise TomlError(("checks",), "only the connectors of Waypost itself may have setup checks")
    if connector.callback and connector.callback.verify.scheme == "firehose":
        raise TomlError(("callback", "verify"), "only the connectors of Waypost itself may use the scheme firehose")


#: Checks of new definitions only; definitions stored by earlier versions skip them.
_STRICT: tuple[Callable[[Connector], None], ...] = (_check_patterns, _check_codes, _check_headers, _check_texts)
