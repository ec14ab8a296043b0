"""Payload formats: bodies that an endpoint gets instead of those of Standard Webhooks, as JSON with Liquid values."""

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Protocol

import msgspec
from msgspec import UNSET, UnsetType

from waypost.domain.providers.body_template import write
from waypost.domain.templates.liquid.budget import Budget, Limits
from waypost.domain.templates.liquid.context import Rendering, UndefinedVariable
from waypost.domain.templates.liquid.program import Program, compile_source
from waypost.domain.templates.value_tree import compile_tree, render_tree
from waypost.domain.webhooks.custom_headers import check_headers, valid_value
from waypost.domain.webhooks.event_patterns import check_patterns, pattern_match
from waypost.errors import Invalid

#: One body with all of its values. Bodies are rendered on the thread that sends, so a body must be quick.
BODY = Limits(steps=10_000, iterations=1_000)
#: The most characters of a value, in its source and rendered; of a whole rendered body in bytes.
LONGEST_SOURCE, LONGEST_VALUE = 10_000, 100_000
MOST_BYTES = 1_000_000
MOST_TYPES = 50
JSON, FORM = "application/json", "application/x-www-form-urlencoded"
#: What the values of a format may read.
ROOTS = ("event", "data", "endpoint", "visitor")

_CONTENT_TYPE = re.compile(r"application/([a-z0-9.-]+\+)?json\Z")
_encode = msgspec.json.Encoder().encode


class PayloadSource(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A payload format as its author writes it: one body, or a body for each event type."""

    #: Exact types or globs. Without any, a format with one body is for every event.
    event_types: tuple[str, ...] = ()
    body: Any | UnsetType = UNSET
    bodies: dict[str, Any] = {}
    content_type: str = JSON
    headers: dict[str, str] = {}


class Subject(Protocol):
    """The endpoint that a body is for."""

    @property
    def workspace_id(self) -> int:
        """Its workspace."""

    @property
    def user_id(self) -> str | None:
        """The id of the user who made it."""

    @property
    def user_name(self) -> str | None:
        """The name of this user."""


class _WebhookBody(msgspec.Struct):
    """The webhook body of an event."""

    type: str
    timestamp: str
    data: dict[str, Any]


_decode = msgspec.json.Decoder(_WebhookBody).decode
_read_source = msgspec.json.Decoder(PayloadSource).decode


class Payload(msgspec.Struct, frozen=True):
    """The body of one delivery, its content type, and the header lines that the format adds."""

    body: bytes
    content_type: str
    headers: list[str]


class PayloadFormat:
    """A compiled payload format. It has no state between renderings."""

    __slots__ = ("_bodies", "_headers", "_one", "content_type", "event_types", "takes")

    def __init__(self, source: PayloadSource) -> None:
        one = source.body is not UNSET
        if one == bool(source.bodies):
            raise _wrong("A format has either a body or bodies, an object with a body for each event type.", "body")
        if source.bodies and source.event_types:
            raise _wrong("The event types of a format with bodies are their names; leave event_types out.", "bodies")
        if len(source.bodies) > MOST_TYPES or any("*" in type_ for type_ in source.bodies):
            raise _wrong(f"bodies has at most {MOST_TYPES} names, and each is one event type without *.", "bodies")
        if source.content_type != FORM and not _CONTENT_TYPE.match(source.content_type):
            raise _wrong(f"A content_type is {JSON}, another application/…+json, or {FORM}.", "content_type")
        given = list(source.event_types or source.bodies)
        #: The patterns of the event types that it is for; none for all.
        self.event_types: tuple[str, ...] = check_patterns(given) if given else ()
        #: Whether it has a body for an event type.
        self.takes = pattern_match(self.event_types or ("*",))
        self.content_type = source.content_type
        self._one = self._compile(source.body, "body") if one else None
        self._bodies = {type_: self._compile(body, f"bodies.{type_}") for type_, body in source.bodies.items()}
        check_headers(source.headers)
        self._headers = {name: _compile(f"headers.{name}", text) for name, text in source.headers.items()}

    def subscriptions(self, patterns: tuple[str, ...]) -> tuple[str, ...]:
        """Return the event types of an endpoint with this format: a glob that is too wide becomes those it matches.

        Raise Invalid (code `invalid_event_types`) for one that the format has no body for.
        """
        found: list[str] = []
        for pattern in patterns:
            # A glob that matches the letters of another one matches all that the other one matches.
            fitting = [pattern] if self.takes(pattern) else list(filter(pattern_match((pattern,)), self.event_types))
            if not fitting:
                raise Invalid(
                    f"The format has no body for {pattern[:80]!r}; it has one for {', '.join(self.event_types)}.",
                    code="invalid_event_types",
                )
            found += fitting
        return tuple(dict.fromkeys(found))

    def _compile(self, body: Any, field: str) -> Any:
        if not isinstance(body, dict | list) or (self.content_type == FORM and not isinstance(body, dict)):
            raise _wrong("A body is a JSON object or list; for a form, an object.", field)
        return compile_tree(body, _compile, field, "A body")

    def render(self, values: Mapping[str, Any]) -> Payload:
        """Return the payload for the values of an event, as `payload_values` returns them.

        Raise Invalid with the code `template_limit`, `cannot_render` or `invalid_event_type`.
        """
        rendering = Rendering(values, budget=Budget(BODY))
        body, _ = write(render_tree(self._body(values), rendering), "form" if self.content_type == FORM else "json")
        if len(body) > MOST_BYTES:
            raise Invalid(f"The body would have more than {MOST_BYTES} bytes.", code="template_limit")
        lines = []
        for name, program in self._headers.items():
            text = program.render(rendering).strip()
            if not valid_value(text):
                raise Invalid(f"The header {name} would have a value that HTTP does not allow.", code="cannot_render")
            if text:
                lines.append(f"{name}: {text}")
        return Payload(body, self.content_type, lines)

    def undefined(self, values: Mapping[str, Any]) -> list[UndefinedVariable]:
        """Return the variables that it outputs and that this event does not have. Raise as `render` does."""
        rendering = Rendering(values, marking=True, budget=Budget(BODY))
        render_tree([self._body(values), *self._headers.values()], rendering)
        return rendering.gaps or []

    def _body(self, values: Mapping[str, Any]) -> Any:
        """Return the compiled body for an event."""
        type_ = values["event"]["type"]
        tree = self._bodies.get(type_) if self._one is None else self._one
        if tree is None or not self.takes(type_):
            raise Invalid(
                f"The format has no body for {type_}; it has one for {', '.join(self.event_types)}.",
                code="invalid_event_type",
            )
        return tree


@lru_cache(maxsize=1000)
def compile_format(source: str) -> PayloadFormat:
    """Return the compiled format of a stored source, from a cache. Raise Invalid for its first error.

    The code is `invalid_format`, `invalid_event_types`, `invalid_headers`, or `invalid_template` with `field`, `line`
    and `column`.
    """
    return PayloadFormat(_read_source(source))


def write_source(source: PayloadSource) -> str:
    """Return a source as it is stored."""
    return _encode(source).decode()


def payload_values(body: bytes, endpoint: Subject) -> dict[str, Any]:
    """Return what the values of a format read, for the webhook body of an event and an endpoint."""
    event = _decode(body)
    data = event.data
    person = str(data.get("profile_id") or data.get("id"))
    # Not persistent: another one each day.
    visitor = hashlib.sha256(f"{endpoint.workspace_id}:{person}:{event.timestamp[:10]}".encode()).hexdigest()
    return {
        "event": {
            "id": data.get("id"),
            "type": event.type,
            "time": event.timestamp,
            "message_id": data.get("message_id"),
            "profile_id": data.get("profile_id"),
        },
        "data": data,
        "endpoint": {
            "user_id": str(endpoint.workspace_id) if endpoint.user_id is None else endpoint.user_id,
            "user_name": endpoint.user_name or "",
        },
        "visitor": {"id": visitor[:16], "token": visitor[16:48]},
    }


def _compile(path: str, text: str) -> Program:
    program = compile_source(text, html=False, longest=LONGEST_SOURCE, room=LONGEST_VALUE, extra={"field": path})
    for name, index in program.names().items():
        if name not in ROOTS:
            raise program.refuse(index, f"there is no {name[:60]!r}; a format has {', '.join(ROOTS)}")
    return program


def _wrong(detail: str, field: str) -> Invalid:
    return Invalid(detail, code="invalid_format", field=field)
