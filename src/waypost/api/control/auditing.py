"""The entry of the audit log for a request: what its resource was before and is after, as the API shows it."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from waypost.api.control.admission import SAFE, Admitted
from waypost.clock import Ids, now_us
from waypost.engine.accounts.audit import record_change
from waypost.storage.database import Tx

#: What is known of people is not kept where nothing deletes it.
_PERSONAL = tuple(f"/v1/{name}" for name in ("profiles", "subscriptions", "consents", "suppressions", "imports"))
#: What is kept of the response to a request for messages.
_OF_MESSAGES = ("id", "status", "reason", "accepted", "rejected", "throttle_id")
#: What keys do all day is in the event log and in histories; the audit log has it only for people.
_BY_PEOPLE = frozenset({"people.write", "messages.send", "events.send"})


def is_logged(admitted: Admitted, handler: HTTPRouteHandler) -> bool:
    """Return whether the audit log has requests of a route by this caller."""
    if handler.http_methods <= SAFE or (handler.opt.get("keyless") and not handler.opt.get("logged")):
        return False
    if not admitted.caller.workspace_id:
        return False
    return bool(admitted.caller.user_id) or handler.opt.get("permission") not in _BY_PEOPLE


def find_readers(app: Litestar) -> dict[str, Callable[..., Any]]:
    """Return the functions of the GET routes by the path of the routes that change what they show."""
    routes = [route for route in app.routes if isinstance(route, HTTPRoute)]
    shown = {
        route.path_format: handler.fn
        for route in routes
        for handler in route.route_handlers
        if handler.http_methods == {"GET"} and _needs_only(handler.fn, route.path_format)
    }
    found = {}
    for route in routes:
        for handler in route.route_handlers:
            path = route.path_format
            if handler.http_methods <= SAFE:
                continue
            if "POST" in handler.http_methods:
                # What an action is done to: /v1/webhooks/{id}/enable changes /v1/webhooks/{id}.
                path = path.rpartition("/")[0]
            whole = not handler.http_methods.isdisjoint({"PUT", "PATCH", "DELETE"})
            if path in shown and (whole or path.endswith("}")):
                found[handler.handler_name] = shown[path]
    return found


def _read(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body) if body else None
    except msgspec.DecodeError:
        # A file; the resource says which one.
        return None


def _needs_only(function: Callable[..., Any], path: str) -> bool:
    """Whether a route can be called with what its path says, as one that shows a single resource can."""
    needed = {name for name, one in inspect.signature(function).parameters.items() if one.default is one.empty}
    return "call" in needed and all(f"{{{name}}}" in path for name in needed - {"call"})


async def record(
    tx: Tx,
    ids: Ids,
    admitted: Admitted,
    action: str,
    path: str,
    before: Any,
    body: bytes,
    *,
    impersonal: bool = False,
) -> None:
    """Record a change; `body` is the resource after it as JSON, or what the caller sent, or nothing.

    It is kept if it is `impersonal`, or else if its resource holds nothing of people.
    """
    after = _read(body)
    resource = path
    if resource.startswith(_PERSONAL) and not impersonal:
        before = None
        after = {"id": after["id"]} if isinstance(after, dict) and "id" in after else None
    if isinstance(after, dict) and isinstance(after.get("id"), str) and after["id"] not in resource:
        resource = f"{resource}/{after['id']}"
    await record_change(tx, ids, admitted.caller, action, resource, before, after, admitted.ip, now_us())


def message_log(ids: Ids, admitted: Admitted, action: str, path: str) -> Callable[[Tx, bytes], Awaitable[None]]:
    """Return what records a request for messages: their ids or numbers, and not to whom they go."""

    async def log(tx: Tx, body: bytes) -> None:
        answer = msgspec.json.decode(body)
        kept = {name: answer[name] for name in _OF_MESSAGES if name in answer}
        await record(tx, ids, admitted, action, path, None, msgspec.json.encode(kept))

    return log
