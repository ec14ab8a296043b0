"""Check the configuration of a connection against the fields of its connector."""

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from waypost.domain.messaging.return_path import check_return_path
from waypost.domain.providers.body_template import JSON_IN_TEXT, BodyError, expressions, holds_broken_json, read_text
from waypost.domain.providers.connector import Connector, Field
from waypost.domain.templates.liquid.expressions import check_expression
from waypost.domain.values.patterns import BadPattern, compile_pattern
from waypost.errors import Invalid

_STATUS = r"\s*(?:[1-5]xx|[1-5]\d\d(?:\s*-\s*[1-5]\d\d)?)\s*"
STATUSES = re.compile(f"{_STATUS}(?:,{_STATUS})*\\Z")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")
_EMAIL = re.compile(r"[^\s@<>,;\"]+@[^\s@<>,;\"]+\Z")
#: The most characters of a value that is matched against a pattern.
LONGEST_MATCHED = 512
_LONGEST_VALUE = 20_000
_LARGEST = 1e15


def check_config(connector: Connector, given: Mapping[str, Any], *, partial: bool = False) -> dict[str, Any]:
    """Return the configuration of a connection with defaults filled in.

    With `partial`, check only the given fields, which change a complete configuration; None then resets a field.
    Raise Invalid (code `invalid_config`, with `field`) for the first field that is not valid.
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
                # Every field is present, so that a template can use any of them.
                value = {"text": "", "choice": "", "boolean": False, "number": None}[field.kind]
            config[field.name] = value
        else:
            config[field.name] = check_value(connector, field, value)
    return config


def check_value(connector: Connector, field: Field, value: Any) -> Any:
    """Return a value of a field. Raise Invalid (code `invalid_config`) if it is not valid."""

    def refuse(reason: str) -> Invalid:
        return _wrong_config(field.name, f"{field.label} ({field.name}) {reason}")

    if field.kind == "boolean":
        if not isinstance(value, bool):
            raise refuse("must be true or false")
        return value
    if field.kind == "number":
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LARGEST:
            raise refuse("must be a number")
        return value
    if not isinstance(value, str):
        raise refuse("must be a text")
    if "\0" in value or len(value) > (LONGEST_MATCHED if field.pattern else _LONGEST_VALUE):
        raise refuse("is too long or contains the character U+0000")
    if field.kind == "choice" and value not in field.choices:
        raise refuse(f"must be one of {', '.join(field.choices)}")
    if field.pattern:
        try:
            matches = compile_pattern(field.pattern)(value)
        except BadPattern as error:
            raise refuse(f"cannot be checked, correct its pattern in the definition: {error}") from error
        if not matches:
            raise refuse("does not have the expected format" + (f". {field.help}" if field.help else ""))
    if field.format:
        try:
            _FORMATS[field.format](value)
        except (ValueError, BodyError) as error:
            raise refuse(f"is not valid. {error}".rstrip(".")) from error
    return value


def _wrong_config(name: str, detail: str) -> Invalid:
    return Invalid(f"{detail}.", code="invalid_config", field=name)


def check_base(url: str) -> None:
    """Raise ValueError unless requests can be sent to this URL."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("It must be an http:// or https:// URL")
    if parts.username is not None or parts.fragment or any(c <= " " or c == "\x7f" for c in url):
        raise ValueError("It must be a URL without user, fragment and spaces")
    _ = parts.port


def read_headers(text: str) -> dict[str, str]:
    """Return header lines as a table. Raise ValueError for a line that is not a header."""
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
    """Return whether HTTP allows a header of this name."""
    return _HEADER_NAME.match(name) is not None


def _check_email(text: str) -> None:
    if not _EMAIL.match(text) or len(text) > 254:
        raise ValueError("Write an address such as hello@example.com")


def _check_return_path(text: str) -> None:
    try:
        check_return_path(text)
    except Invalid as error:
        raise ValueError(f"{error.detail} Write an address such as bounce@example.com") from error


def _check_statuses(text: str) -> None:
    if not STATUSES.match(text):
        raise ValueError("Write statuses such as 200, 202 or 2xx or 200-204")


def _check_headers(text: str) -> None:
    for value in read_headers(text).values():
        check_expression(value)


def _check_body(text: str) -> None:
    """Raise unless the text is a body in JSON or as a form; `encoding` decides when a request is built."""
    tree = read_text(text, "json" if text.lstrip()[:1] in ("{", "[") else "form")
    for path, value in expressions(tree):
        check_expression(value)
        if holds_broken_json(value):
            raise BodyError(path, f"{'.'.join(map(str, path))}: {JSON_IN_TEXT}")


_FORMATS: dict[str, Callable[[str], object]] = {
    "url": check_base,
    "email": _check_email,
    "return_path": _check_return_path,
    "body": _check_body,
    "headers": _check_headers,
    "statuses": _check_statuses,
    "liquid": check_expression,
}
