"""What the players of plain HTTP providers share: how calls end, who calls, and callbacks that come in turn."""

import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, structs

from waypost.errors import Invalid
from waypost.sink.callbacks import Attempt, Callback, CallbackSender
from waypost.sink.faulty_response import Answer, Ending, reply
from waypost.sink.scenarios import Call, Reply, Scenario

T = TypeVar("T")

#: Replies after which the provider has the message, whatever its caller hears.
HAVING = frozenset({Reply.TAKEN, Reply.LOST, Reply.HANG})
#: Credentials that no player takes, however it is set.
NEVER = "wrong"

Tries = Annotated[int, Meta(ge=1, le=100)]
Wait = Annotated[float, Meta(ge=0, le=86_400)]
Secret = Annotated[str, Meta(min_length=1, max_length=1_000)]
Url = Annotated[str, Meta(max_length=4_000)]


def finish(
    status: int, headers: list[tuple[str, str]], body: bytes, call: Call, scenario: Reply = Reply.TAKEN
) -> Answer:
    """An answer as the call's fate wants it: at once or later, or not at all though everything was done."""
    ending = Ending.KEEP
    if scenario is Reply.HANG:
        ending = Ending.HANG
    elif call.lost or scenario is Reply.LOST:
        ending = Ending.CLOSE
    return reply(status, headers, body, delay=call.delay, ending=ending)


def worst(scenarios: Sequence[Scenario]) -> Reply:
    """What the answer to a call says that is for several addresses: the first thing that is not well."""
    for scenario in scenarios:
        if scenario.reply is not Reply.TAKEN:
            return scenario.reply
    return Reply.TAKEN


def basic(headers: Mapping[str, str]) -> tuple[str, str] | None:
    """User and password of HTTP Basic (RFC 7617), if they were given."""
    scheme, _, coded = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(coded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (user, password) if colon else None


def bearer(headers: Mapping[str, str]) -> str | None:
    """The token of a Bearer Authorization header, if there is one."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def admits(wanted: str | None, given: str | None) -> bool:
    """Whether a credential is right: the one that was set, or any when none was."""
    if not given or given == NEVER:
        return False
    return wanted is None or hmac.compare_digest(wanted.encode(), given.encode("utf-8", "replace"))


def check_url(url: str | None, what: str) -> None:
    """Refuse what cannot be posted to."""
    if url is None:
        return
    try:
        parts = urlsplit(url)
        reachable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        reachable = False
    if not reachable or not url.isascii() or not url.isprintable() or " " in url:
        raise Invalid(f"{what} is an http or https URL.", code="invalid_settings")


def decode(body: bytes | str, kind: type[T]) -> T:
    """JSON as a value of this kind; msgspec.DecodeError when it is none, and the more precise ValidationError."""
    try:
        return msgspec.json.decode(body, type=kind)
    except RecursionError as error:
        raise msgspec.DecodeError("it is nested too deeply") from error


def send_in_turn(callbacks: CallbackSender, chain: Sequence[Callback]) -> None:
    """Send posts, each when the one before it has been taken or given up."""
    if not chain:
        return
    first, rest = chain[0], chain[1:]

    def on_attempt(attempt: Attempt) -> None:
        if attempt.accepted is not False or attempt.number >= first.attempts:
            send_in_turn(callbacks, rest)

    callbacks.send(structs.replace(first, on_attempt=on_attempt) if rest else first)
