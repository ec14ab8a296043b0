"""Shared by all simulated providers: the request log, the scenarios, the sent log and the callback sender."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote

import msgspec

from waypost.errors import Invalid
from waypost.sink.callbacks import CallbackSender
from waypost.sink.faulty_response import Response
from waypost.sink.http_connection import Request
from waypost.sink.request_log import RequestLog
from waypost.sink.scenarios import Scenarios
from waypost.sink.sent_log import SentLog

P = TypeVar("P")
S = TypeVar("S", bound=msgspec.Struct)

#: Handlers by method and path. A path may have {pieces}; one that ends with a slash matches everything below its first
#: piece.
Routes = Mapping[tuple[str, str], Callable[[Any, Request], Response]]


class Context:
    """The state that simulated providers share."""

    def __init__(self, request_log: RequestLog) -> None:
        self.request_log = request_log
        self.scenarios = Scenarios()
        self.sent_log = SentLog()
        self.callbacks = CallbackSender()
        self._providers: dict[Callable[[Context], Any], Any] = {}

    def provider(self, kind: Callable[["Context"], P]) -> P:
        """Return the provider of a class; it is created at the first call."""
        found: P | None = self._providers.get(kind)
        if found is None:
            found = self._providers[kind] = kind(self)
        return found

    def record(self, name: str, request: Request) -> int:
        """Log a call under a name for GET /received, and return its number within the name."""
        inbox = self.request_log.inbox(name)
        inbox.count(request.webhook_id)
        self.request_log.keep(inbox, request.method, request.url, request.head, request.body, request.webhook_id)
        return inbox.seen


def path(request: Request) -> str:
    """Return the path of a request, not decoded."""
    return request.url.partition(b"?")[0].decode("latin-1")


def pieces(request: Request) -> list[str]:
    """Return the decoded pieces of the path: `/v1/apps/x` has v1, apps and x."""
    return [unquote(piece) for piece in path(request).split("/")[1:]]


def query(request: Request, known: set[str]) -> Mapping[str, str]:
    """Return the query; raise Invalid for an unknown or repeated name."""
    pairs = parse_qsl(request.url.partition(b"?")[2].decode("latin-1"), keep_blank_values=True)
    found = dict(pairs)
    if len(found) < len(pairs) or not found.keys() <= known:
        raise Invalid(
            f"The query has an unknown or repeated parameter. Allowed are {', '.join(sorted(known))}, each once.",
            code="invalid_query",
        )
    return found


def number(given: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    """Return a number from the query, or the default."""
    if name not in given:
        return default
    text = given[name]
    if not text.isascii() or not text.isdigit() or not least <= int(text[:20]) <= most:
        raise Invalid(f"The parameter {name} must be a number from {least} to {most}.", code="invalid_query")
    return int(text)


def body(request: Request) -> Any:
    """Return the decoded JSON body."""
    try:
        return msgspec.json.decode(request.body)
    except msgspec.DecodeError as error:
        raise Invalid(f"The body is not valid JSON: {error}.", code="invalid_json") from error


def headers(request: Request) -> dict[str, str]:
    """Return the headers by lower-case name; of repeated headers, the last."""
    lines = request.head.decode("latin-1").split("\n") if request.head else []
    return {name.lower(): value for name, value in zip(lines[::2], lines[1::2], strict=True)}


def read_settings(given: object, kind: type[S], code: str = "invalid_settings") -> S:
    """Decode the settings of a provider; omitted fields have their default."""
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise Invalid(f"The settings are not valid: {error}.", code=code) from error
