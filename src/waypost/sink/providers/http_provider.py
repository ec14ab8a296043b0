"""Shared by the simulated HTTP providers: the end of a call, credentials, and callbacks in sequence."""

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
from waypost.sink.faulty_response import Ending, Response, reply
from waypost.sink.scenarios import Call, Reply, Scenario

T = TypeVar("T")

#: Replies with which the provider has accepted the message, even if the client gets no response.
ACCEPTING = frozenset({Reply.ACCEPTED, Reply.LOST, Reply.HANG})
#: The credential that every provider refuses, whatever its settings.
NEVER = "wrong"

Tries = Annotated[int, Meta(ge=1, le=100)]
Wait = Annotated[float, Meta(ge=0, le=86_400)]
Secret = Annotated[str, Meta(min_length=1, max_length=1_000)]
Url = Annotated[str, Meta(max_length=4_000)]


def finish(
    status: int, headers: list[tuple[str, str]], body: bytes, call: Call, scenario: Reply = Reply.ACCEPTED
) -> Response:
    """Return the response of a call with its delay; if the scenario loses the response, nothing is sent."""
    ending = Ending.KEEP
    if scenario is Reply.HANG:
        ending = Ending.HANG
    elif call.lost or scenario is Reply.LOST:
        ending = Ending.CLOSE
    return reply(status, headers, body, delay=call.delay, ending=ending)


def worst(scenarios: Sequence[Scenario]) -> Reply:
    """Return the reply for a call with several addresses: the first that is not ACCEPTED."""
    for scenario in scenarios:
        if scenario.reply is not Reply.ACCEPTED:
            return scenario.reply
    return Reply.ACCEPTED


def basic(headers: Mapping[str, str]) -> tuple[str, str] | None:
    """Return user and password of HTTP Basic (RFC 7617), if the headers have them."""
    scheme, _, coded = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(coded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (user, password) if colon else None


def bearer(headers: Mapping[str, str]) -> str | None:
    """Return the token of a Bearer Authorization header, if there is one."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def admits(expected: str | None, given: str | None) -> bool:
    """Return whether a credential is the expected one; without an expected one, any is accepted."""
    if not given or given == NEVER:
        return False
    return expected is None or hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace"))


def check_url(url: str | None, what: str) -> None:
    """Raise Invalid unless a URL is http or https."""
    if url is None:
        return
    try:
        parts = urlsplit(url)
        reachable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        reachable = False
    if not reachable or not url.isascii() or not url.isprintable() or " " in url:
        raise Invalid(f"{what} must be an http or https URL.", code="invalid_settings")


def decode(body: bytes | str, kind: type[T]) -> T:
    """Decode JSON; raise msgspec.DecodeError if it is not JSON, and ValidationError if it is not of this type."""
    try:
        return msgspec.json.decode(body, type=kind)
    except RecursionError as error:
        raise msgspec.DecodeError("it is nested too deeply") from error


def send_in_turn(callbacks: CallbackSender, chain: Sequence[Callback]) -> None:
    """Send callbacks one after another: each when the one before it was accepted or given up."""

    if not chain:
        return
    first, rest = chain[0], chain[1:]

    def on_attempt(attempt: Attempt) -> None:
        if attempt.accepted is not False or attempt.number >= first.attempts:
            send_in_turn(callbacks, rest)

    callbacks.send(structs.replace(first, on_attempt=on_attempt) if rest else first)
