"""Shared by all routes of the control API: authorization, reading bodies, and idempotent responses."""

import hashlib
import re
from collections.abc import Awaitable, Callable
from copy import copy
from functools import cache
from typing import Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import parse_qsl

import msgspec
from litestar import Request, Response
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.params import QueryParameter

from waypost.api.control.admission import Admitted, admit
from waypost.api.control.auditing import is_logged, message_log, record
from waypost.api.control.versions import CONDITIONAL, check_version, has_version
from waypost.clock import now_us
from waypost.domain.values.json_numbers import check_numbers
from waypost.engine.accounts.workspaces import Keyring
from waypost.engine.process import Engine
from waypost.engine.runtime import idempotency
from waypost.engine.runtime.idempotency import Answer, IdempotencyKey
from waypost.engine.runtime.unit import Unit
from waypost.errors import Forbidden, Invalid, NotFound, Unavailable
from waypost.storage.database import Tx

T = TypeVar("T")
P = ParamSpec("P")

#: The largest body of a control request, in bytes.
BODY_BYTES = 1_000_000
LONGEST_KEY = 255
#: Routes that need no API key have this in their `opt`.
PUBLIC = {"public": True}
#: Routes whose query or body refers to other resources have this in their `opt`: they may respond 404.
NAMES = {"names": True}
#: POST routes that change nothing have this in their `opt`: they ignore an Idempotency-Key.
KEYLESS = {"keyless": True}
#: GET routes that can also respond with a file in CSV have this in their `opt`.
CSV = {"also": ("text/csv",)}
#: GET routes that return secrets of webhooks have this in their `opt`.
SECRET = {"permission": "webhooks.secrets"}
#: Routes of a user's own account have this in their `opt`: they need a session, and no permission in a workspace.
OWN = {"own": True}
#: Those of them that a session of single sign-on may use as well have this, too: they show or change nothing beyond
#: its workspace.
BOUND = {"bound": True}
#: The same for those that take a password or a code, of which there are only so many tries.
PROVING = OWN | {"statuses": {"429"}}
#: Routes that ignore an Idempotency-Key and whose changes are in the audit log all the same have this in their `opt`.
LOGGED = {"keyless": True, "logged": True}

#: Up to this limit a double represents every integer exactly.
_EXACT = 2**53
_FLOAT = ", got `float`"
_PRINTABLE = re.compile(r"[\x20-\x7e]+")
_encode = msgspec.json.Encoder().encode


class Call:
    """One authorized request."""

    def __init__(self, engine: Engine, keyring: Keyring, admitted: Admitted, request: Request[Any, Any, Any]) -> None:
        self.engine = engine
        self.admitted = admitted
        self.caller = admitted.caller
        self.workspace_id = admitted.caller.workspace_id
        self.now = now_us()
        self._keyring = keyring
        self._request = request
        #: The transaction in which a GET route is read again for the audit log.
        self._tx: Tx | None = None

    async def body(self, type_: type[T], *, unchecked: frozenset[str] = frozenset()) -> T:
        """Decode the JSON body; raise Invalid with the wrong field. An empty body counts as `{}`.

        The numbers in the `unchecked` fields may be too large for a receiver: the caller checks them.
        """
        return read_json(await self._request.body(), type_, unchecked=unchecked)

    async def read(self, work: Callable[Concatenate[Tx, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the result of `work(tx, …)` in a read transaction."""
        if self._tx is not None:
            return await work(self._tx, *args, **kwargs)
        return await self.engine.database.read(work, *args, **kwargs)

    async def transact(self, work: Callable[Concatenate[Tx, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the result of `work(tx, …)` in one transaction, which also records the change in the audit log."""
        sent = b"" if self._request.method == "DELETE" else await self._request.body()

        async def logged(tx: Tx) -> T:
            before = await self._before(tx)
            result = await work(tx, *args, **kwargs)
            # The route responds with nothing or with what it reads afterwards.
            after = None if self._request.method == "DELETE" else await self._view(tx)
            await self._log(tx, before, sent if after == before else _encode(after))
            return result

        return await self.engine.database.transact(logged)

    async def perform(self, status: int, work: Callable[[Tx], Awaitable[Any]]) -> Response[Any]:
        """Run `work` in one transaction and respond with its result; a repeated key gets the first response."""

        async def answer(tx: Tx) -> Answer:
            return await self._answer(tx, status, work)

        engine, key = self.engine, await self.idempotency_key()
        done = await idempotency.perform(engine.database, engine.encryption, self.workspace_id, key, self.now, answer)
        return self.respond(done)

    async def record(self, status: int, work: Callable[[Tx, Unit], Awaitable[Any]]) -> Response[Any]:
        """Like `perform`, for work that emits events: the areas react to them in the same transaction."""
        engine, key = self.engine, await self.idempotency_key()

        async def answer(tx: Tx, unit: Unit) -> Answer:
            async def act(tx: Tx) -> Answer:
                return await self._answer(tx, status, lambda tx: work(tx, unit))

            return await idempotency.once(tx, engine.encryption, self.workspace_id, key, unit.now, act)

        return self.respond(await engine.recorder.perform(answer))

    async def perform_outside(self, status: int, work: Callable[[], Awaitable[Any]]) -> Response[Any]:
        """Like `perform`, for work outside of a transaction."""

        async def answer() -> Answer:
            body = _encode(await work())
            if self._logged:
                await self.engine.database.transact(self._log, None, body)
            return Answer(status, body)

        engine, key = self.engine, await self.idempotency_key()
        done = await idempotency.perform_outside(
            engine.database, engine.encryption, self.workspace_id, key, self.now, answer
        )
        return self.respond(done)

    async def _answer(self, tx: Tx, status: int, work: Callable[[Tx], Awaitable[Any]]) -> Answer:
        before = await self._before(tx)
        body = _encode(await work(tx))
        await self._log(tx, before, body)
        return Answer(status, body)

    @property
    def _logged(self) -> bool:
        return is_logged(self.admitted, self._request.route_handler)

    async def _before(self, tx: Tx) -> Any:
        """Return the resource before the change, for the audit log; raise Conflict if `If-Match` names another version.

        Changes with that header come one after another in a workspace: between this and the change there is no other.
        """
        given = self._request.headers.get("if-match")
        if given is None or self._request.method not in CONDITIONAL:
            return await self._view(tx)
        if not has_version(self._reader):
            raise Invalid("What this route changes has no version: leave out `If-Match`.", code="invalid_if_match")
        await tx.run("workspaces.lock", id=self.workspace_id)
        before = await self._view(tx, unlogged=True)
        if before is not None:
            check_version(given, before["updated_at"])
        return before if self._logged else None

    @property
    def _reader(self) -> Callable[..., Any] | None:
        found: Callable[..., Any] | None = self._request.app.state.readers.get(self._request.route_handler.handler_name)
        return found

    async def _view(self, tx: Tx, *, unlogged: bool = False) -> Any:
        """Return the resource as its GET route shows it now; None if there is none.

        If the change is not logged, it is read only when `unlogged` says so.
        """
        reader = self._reader
        if reader is None or not (self._logged or unlogged):
            return None
        again = copy(self)
        again._tx = tx
        try:
            return msgspec.to_builtins(await reader(call=again, **self._request.path_params))
        except (NotFound, Unavailable) as error:
            # What cannot be decrypted any more can still be deleted; a database that is away is another matter.
            if isinstance(error, Unavailable) and error.code != "wrong_secret_key":
                raise
            return None

    async def _log(self, tx: Tx, before: Any, body: bytes, *, impersonal: bool = False) -> None:
        if self._logged:
            action, path = self._request.route_handler.handler_name, self._request.scope["path"]
            await record(tx, self.engine.ids, self.admitted, action, path, before, body, impersonal=impersonal)

    @property
    def message_log(self) -> Callable[[Tx, bytes], Awaitable[None]] | None:
        """Return what records a request for messages in the audit log; None if the log does not have it."""
        action, path = self._request.route_handler.handler_name, self._request.scope["path"]
        return message_log(self.engine.ids, self.admitted, action, path) if self._logged else None

    async def log_started(self, tx: Tx, resource: Any) -> None:
        """Record in the audit log what the request has started: the resource has its id, and nothing of people."""
        await self._log(tx, None, _encode(resource), impersonal=True)

    def respond(self, answer: Answer) -> Response[Any]:
        """Return a response whose body is already JSON."""
        return Response(answer.body, status_code=answer.status, media_type="application/json")

    async def refresh(self) -> None:
        """Load changed endpoints, connections and settings into this process now; others poll every second."""
        if self._tx is not None:
            return
        await self.engine.endpoints.refresh([self.workspace_id])
        await self.engine.connections.refresh([self.workspace_id])
        await self.engine.tracking_settings.refresh([self.workspace_id])
        await self.engine.sending_rules.refresh([self.workspace_id])
        await self.engine.senders.refresh([self.workspace_id])

    def forget_callers(self) -> None:
        """Drop the cached keys and sessions, because one of them, a role or a workspace has changed."""
        self._keyring.forget()
        self.engine.sessions.forget()

    async def idempotency_key(self) -> IdempotencyKey | None:
        """Return the Idempotency-Key of a POST with a digest of the request; None without one."""
        request = self._request
        given = request.headers.get("idempotency-key")
        if given is None or request.method != "POST":
            return None
        return read_key(given, request.scope["path"], request.scope["query_string"], await request.body())


def read_key_of(request: Request[Any, Any, Any], body_digest: bytes) -> IdempotencyKey | None:
    """Return the Idempotency-Key of a POST whose body was read as a stream; None without one."""
    given = request.headers.get("idempotency-key")
    if given is None:
        return None
    return read_key(given, request.scope["path"], request.scope["query_string"], body_digest)


def read_json(body: bytes, type_: type[T], *, unchecked: frozenset[str] = frozenset()) -> T:
    """Decode a JSON body; raise Invalid with the wrong field. An empty body counts as `{}`.

    The numbers in the `unchecked` fields may be too large for a receiver: the caller checks them.
    """
    try:
        # Strict: "5" is not a number, and an unknown field is an error of the client.
        decoded = msgspec.json.decode(body or b"{}", type=type_)
    except msgspec.ValidationError as error:
        if _FLOAT in str(error) and (whole := _whole_numbers(body)) != body:
            return read_json(whole, type_, unchecked=unchecked)
        raise invalid_body(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"The body is not valid JSON in UTF-8: {error}.", code="invalid_json") from error
    # Stored values are sent to receivers later, whose JSON readers may be strict.
    if unchecked:
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        body = b",".join(bytes(value) for name, value in fields.items() if name not in unchecked)
    check_numbers(body, "invalid_body")
    return decoded


def invalid_body(error: msgspec.ValidationError) -> Invalid:
    """Return the error for a body, with the field that is wrong."""
    reason, _, path = str(error).partition(" - at ")
    field = path.strip("`").removeprefix("$").removeprefix(".") or _named(reason)
    where = f" (field {field!r})" if field else ""
    return Invalid(f"The body is not valid: {reason}{where}.", code="invalid_body", field=field)


def _whole_numbers(body: bytes) -> bytes:
    """Return the body with 5.0 written as 5: JSON Schema calls both integers, and some clients write all numbers so."""

    def converted(value: Any) -> Any:
        if isinstance(value, float):
            return int(value) if value.is_integer() and abs(value) <= _EXACT else value
        if isinstance(value, dict):
            return {name: converted(inner) for name, inner in value.items()}
        return [converted(inner) for inner in value] if isinstance(value, list) else value

    try:
        return _encode(converted(msgspec.json.decode(body)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body


def read_key(given: str, path: str, query: bytes, body: bytes) -> IdempotencyKey:
    """Return the Idempotency-Key of a POST with a digest of the request; raise Invalid if the key is not valid."""
    # The draft standard writes the key as a quoted string; most clients do not.
    key = given[1:-1] if len(given) > 1 and given[0] == given[-1] == '"' else given
    if len(key) > LONGEST_KEY or not _PRINTABLE.fullmatch(key):
        raise Invalid(
            f"The Idempotency-Key header must have 1 to {LONGEST_KEY} printable ASCII characters.",
            code="invalid_idempotency_key",
        )
    digest = hashlib.sha256(b"POST\n%b\n%b\n" % (path.encode(), query))
    digest.update(body)
    return IdempotencyKey(key, digest.hexdigest())


async def authorize(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Authenticate the caller of a route that is not public, and check the permission that it names."""
    method = connection.scope.get("method")
    if handler.opt.get("public") or method == "OPTIONS":
        return
    state = connection.app.state
    admitted = await admit(state.engine, state.keyring, connection.scope)
    if handler.opt.get("own"):
        if admitted.session is None and not handler.opt.get("keys"):
            raise Forbidden("This route is for users who are signed in, not for API keys.", code="users_only")
        if not handler.opt.get("bound"):
            admitted.require_own_sign_in()
    else:
        admitted.require(handler.opt["permission"], now_us())
    connection.state.admitted = admitted
    check_query(connection.scope["query_string"], _query_names(handler))


def permit(area: str, routes: list[HTTPRouteHandler], *, write: str = "") -> list[HTTPRouteHandler]:
    """Let routes need the permission to read an area (GET) or to write it, unless they name another one.

    `write` is the permission to write if it is called otherwise.
    """
    for route in routes:
        if not route.opt.get("public") and not route.opt.get("own"):
            permission = f"{area}.read" if route.http_methods == {"GET"} else write or f"{area}.write"
            route.opt.setdefault("permission", permission)
    return routes


def check_query(query: bytes, known: frozenset[str]) -> None:
    """Raise Invalid for an unknown or repeated query parameter: ignoring a filter would return too much."""
    if not query:
        return
    seen = set[str]()
    for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name not in known:
            allowed = f"allowed are {', '.join(sorted(known))}" if known else "this route takes none"
            raise Invalid(
                f"Unknown query parameter {name[:80]!r}; {allowed}.", code="unknown_parameter", parameter=name
            )
        if name in seen:
            raise Invalid(f"The query parameter {name} is given twice.", code="invalid_parameter", parameter=name)
        seen.add(name)


@cache
def _query_names(handler: BaseRouteHandler) -> frozenset[str]:
    """Return the query parameters that a route declares."""
    declared = (parameter.kwarg_definition for parameter in handler.parsed_fn_signature.parameters.values())
    return frozenset(found.name for found in declared if isinstance(found, QueryParameter) and found.name)


def _named(reason: str) -> str:
    """Return the field named in a message of msgspec, for missing and unknown fields."""
    found = re.search(r"field `([^`]*)`", reason)
    return found[1] if found else ""
