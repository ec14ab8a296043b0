"""The entry of the audit log for a request: what its resource was before and is after, as the API shows it."""

import inspect
from collections.abc import Callable
from typing import Any

import msgspec
from litestar import Litestar, Request
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from waypost.api.control.admission import SAFE, Admitted
from waypost.clock import Ids, now_us
from waypost.engine.accounts.audit import record_change
from waypost.storage.database import Tx

#: What is known of people is not kept where nothing deletes it.
_PERSONAL = tuple(f"/v1/{name}" for name in ("profiles", "subscriptions", "consents", "suppressions", "imports"))
#: What keys do all day is in the event log and in histories; the audit log has it only for people.
_BY_PEOPLE = frozenset({"people.write", "messages.send", "events.send"})


def is_logged(admitted: Admitted, handler: HTTPRouteHandler) -> bool:
    """Whether the audit log has requests of a route by this caller."""
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
            whole = "PUT" in handler.http_methods or "PATCH" in handler.http_methods
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
    tx: Tx, ids: Ids, admitted: Admitted, request: Request[Any, Any, Any], before: Any, body: bytes
) -> None:
    """Record a change; `body` is the resource after it as JSON, or what the caller sent, or nothing."""
    handler = request.route_handler
    after = _read(body)
    resource = request.scope["path"]
    if resource.startswith(_PERSONAL):
        before = None
        after = {"id": after["id"]} if isinstance(after, dict) and "id" in after else None
    if isinstance(after, dict) and isinstance(after.get("id"), str) and after["id"] not in resource:
        resource = f"{resource}/{after['id']}"
    await record_change(tx, ids, admitted.caller, handler.handler_name, resource, before, after, admitted.ip, now_us())
