"""What all played providers share: a record of calls, fates, messages taken, and a sender of callbacks."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote

import msgspec

from waypost.errors import Invalid
from waypost.sink.callbacks import Posts
from waypost.sink.faulty_response import Answer
from waypost.sink.http_connection import Request
from waypost.sink.request_log import Received
from waypost.sink.scenarios import Scenarios
from waypost.sink.sent_log import Taken

P = TypeVar("P")
S = TypeVar("S", bound=msgspec.Struct)

#: Method and path of a request to what answers it. The path may have {pieces}, and one that ends with a slash stands
#: for all below its first piece.
Routes = Mapping[tuple[str, str], Callable[[Any, Request], Answer]]


class Context:
    """What a provider is made with."""

    def __init__(self, received: Received) -> None:
        self.received = received
        self.fates = Scenarios()
        self.taken = Taken()
        self.posts = Posts()
        self._players: dict[Callable[[Context], Any], Any] = {}

    def player(self, kind: Callable[["Context"], P]) -> P:
        """The one player of a kind in this world, made when it is first asked for."""
        found: P | None = self._players.get(kind)
        if found is None:
            found = self._players[kind] = kind(self)
        return found

    def record(self, name: str, request: Request) -> int:
        """Count and keep a call under a name, so that GET /received shows it; gives which one of the name it is."""
        inbox = self.received.inbox(name)
        inbox.count(request.webhook_id)
        self.received.keep(inbox, request.method, request.url, request.head, request.body, request.webhook_id)
        return inbox.seen


def path(request: Request) -> str:
    """The path of a request, as it was written."""
    return request.url.partition(b"?")[0].decode("latin-1")


def pieces(request: Request) -> list[str]:
    """The pieces of the path, decoded: `/v1/apps/x` has v1, apps and x."""
    return [unquote(piece) for piece in path(request).split("/")[1:]]


def query(request: Request, known: set[str]) -> Mapping[str, str]:
    """The query, in which every name is known and stands once."""
    pairs = parse_qsl(request.url.partition(b"?")[2].decode("latin-1"), keep_blank_values=True)
    found = dict(pairs)
    if len(found) < len(pairs) or not found.keys() <= known:
        raise Invalid(f"The query may have {', '.join(sorted(known))}, each once.", code="invalid_query")
    return found


def number(given: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    """A number in the query."""
    if name not in given:
        return default
    text = given[name]
    if not text.isascii() or not text.isdigit() or not least <= int(text[:20]) <= most:
        raise Invalid(f"{name} is a number from {least} to {most}.", code="invalid_query")
    return int(text)


def body(request: Request) -> Any:
    """The body, which is JSON."""
    try:
        return msgspec.json.decode(request.body)
    except msgspec.DecodeError as error:
        raise Invalid(f"The body is not JSON: {error}.", code="invalid_json") from error


def headers(request: Request) -> dict[str, str]:
    """The headers by lower-case name; of those that came more than once, the last."""
    lines = request.head.decode("latin-1").split("\n") if request.head else []
    return {name.lower(): value for name, value in zip(lines[::2], lines[1::2], strict=True)}


def read_settings(given: object, kind: type[S], code: str = "invalid_settings") -> S:
    """A provider's settings from JSON; what is not given has its default."""
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise Invalid(f"The settings are not valid: {error}.", code=code) from error
