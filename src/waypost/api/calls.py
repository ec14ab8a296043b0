"""What all routes of the control API share: who calls, what the body says, and answering a repeat alike."""

import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec
from litestar import Request, Response
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from waypost.clock import now_us
from waypost.domain.accounts import Caller, Scope
from waypost.domain.json_numbers import check_numbers
from waypost.engine import idempotency
from waypost.engine.accounts import Keyring
from waypost.engine.idempotency import Answer, Repeatable
from waypost.engine.worker import Engine
from waypost.errors import Invalid
from waypost.storage.database import Tx

T = TypeVar("T")
P = ParamSpec("P")

#: A control request is at most this large.
BODY_BYTES = 1_000_000
LONGEST_KEY = 255
#: Routes that anybody may call carry this in their `opt`.
PUBLIC = {"public": True}
#: GET routes that give away secrets carry this in their `opt`.
SECRET = {"scope": Scope.MANAGE}

_PRINTABLE = re.compile(r"[\x20-\x7e]+")
_encode = msgspec.json.Encoder().encode


class Call:
    """One request of a caller who may make it."""

    def __init__(self, engine: Engine, keyring: Keyring, caller: Caller, request: Request[Any, Any, Any]) -> None:
        self.engine = engine
        self.caller = caller
        self.workspace_id = caller.workspace_id
        self.now = now_us()
        self._keyring = keyring
        self._request = request

    async def body(self, type_: type[T]) -> T:
        """The body, read as JSON of this type; Invalid with the field that is wrong. No body counts as `{}`."""
        raw = await self._request.body() or b"{}"
        try:
            # Decoding strictly: "5" is no number, and a field that is not known is a mistake somebody wants to hear of.
            decoded = msgspec.json.decode(raw, type=type_)
        except msgspec.ValidationError as error:
            reason, _, path = str(error).partition(" - at ")
            field = path.strip("`").removeprefix("$").removeprefix(".") or _named(reason)
            where = f" (field {field!r})" if field else ""
            raise Invalid(f"The body is not valid: {reason}{where}.", code="invalid_body", field=field) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Invalid(f"The body is not valid JSON in UTF-8: {error}.", code="invalid_json") from error
        # Whatever is kept of it is delivered to others later, who may read strictly.
        check_numbers(raw, "invalid_body")
        return decoded

    async def read(self, work: Callable[Concatenate[Tx, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `work(tx, …)` reads."""
        return await self.engine.database.read(work, *args, **kwargs)

    async def perform(self, status: int, work: Callable[[Tx], Awaitable[Any]]) -> Response[Any]:
        """The answer that `work` makes in one transaction; a repeat under one Idempotency-Key gets the first answer."""

        async def answer(tx: Tx) -> Answer:
            return Answer(status, _encode(await work(tx)))

        engine, asked = self.engine, await self.asked()
        done = await idempotency.perform(engine.database, engine.vault, self.workspace_id, asked, self.now, answer)
        return self.respond(done)

    async def perform_outside(self, status: int, work: Callable[[], Awaitable[Any]]) -> Response[Any]:
        """The same for work that is in no transaction."""
        engine, asked = self.engine, await self.asked()
        done = await idempotency.recall(engine.database, engine.vault, self.workspace_id, asked)
        if done is None:
            done = Answer(status, _encode(await work()))
            await idempotency.keep(engine.database, engine.vault, self.workspace_id, asked, self.now, done)
        return self.respond(done)

    def respond(self, answer: Answer) -> Response[Any]:
        """An answer that is JSON already."""
        return Response(answer.body, status_code=answer.status, media_type="application/json")

    async def refresh(self) -> None:
        """Let this process know of changed endpoints and connections at once; other processes ask every second."""
        await self.engine.recorder.refresh([self.workspace_id])
        await self.engine.connections.refresh([self.workspace_id])

    def forget_keys(self) -> None:
        """Ask the store again for every key: one was deleted."""
        self._keyring.forget()

    async def asked(self) -> Repeatable | None:
        """The Idempotency-Key of a POST, with a digest of what it asks for; None without one."""
        request = self._request
        given = request.headers.get("idempotency-key")
        if given is None or request.method != "POST":
            return None
        # The draft standard writes the key as a quoted string; most clients do not.
        key = given[1:-1] if len(given) > 1 and given[0] == given[-1] == '"' else given
        if len(key) > LONGEST_KEY or not _PRINTABLE.fullmatch(key):
            raise Invalid(
                f"An Idempotency-Key has 1 to {LONGEST_KEY} printable ASCII characters.", code="invalid_idempotency_key"
            )
        digest = hashlib.sha256()
        for part in (request.method.encode(), request.scope["path"].encode(), request.scope["query_string"]):
            digest.update(part + b"\n")
        digest.update(await request.body())
        return Repeatable(key, digest.hexdigest())


def authorize(keyring: Keyring) -> Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Awaitable[None]]:
    """A guard that finds the caller of every route that is not public, and whether the key may call it."""

    async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        method = connection.scope.get("method")
        if handler.opt.get("public") or method == "OPTIONS":
            return
        header = connection.headers.get("authorization")
        caller = (keyring.remember(header) if header else None) or await keyring.find(header)
        caller.require(handler.opt.get("scope") or (Scope.READ if method == "GET" else Scope.MANAGE))
        connection.state.caller = caller

    return guard


def _named(reason: str) -> str:
    """The field that a reason names: msgspec says which one is missing or unknown in words."""
    found = re.search(r"field `([^`]*)`", reason)
    return found[1] if found else ""
