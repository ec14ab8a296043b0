"""The ASGI app: the edge routes in front of the control API, and errors as problem documents."""

import re
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog
from litestar import Litestar, Request, Response
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.routes import HTTPRoute

from waypost.api.control import (
    connection_setup,
    connections,
    connectors,
    deliveries,
    events,
    insights,
    messages,
    metrics,
    operations,
    replays,
    sending_rules,
    templates,
    text_clients,
    text_previews,
    tracking,
    webhook_formats,
    webhook_secrets,
    webhooks,
)
from waypost.api.control.accounts import (
    audit,
    invitations,
    keys,
    passkeys,
    senders,
    server,
    sessions,
    single_sign_on,
    users,
    workspaces,
)
from waypost.api.control.audience import imports, lists, people, profiles, segments, subscriptions, suppressions
from waypost.api.control.auditing import find_readers
from waypost.api.control.calls import BODY_BYTES, Call, authorize
from waypost.api.control.campaigns import campaigns, reports
from waypost.api.control.versions import tag
from waypost.api.edge.asgi import App, HttpScope, Receive, Send
from waypost.api.edge.confirmations import ConfirmationRoute
from waypost.api.edge.ingest import Edge, RawRoute
from waypost.api.edge.interface import InterfaceRoute
from waypost.api.edge.pixels import PixelRoute
from waypost.api.edge.preferences import PreferenceRoute
from waypost.api.edge.receipts import ReceiptRoutes
from waypost.api.edge.stream import StreamRoute
from waypost.api.edge.texts import TextRoute
from waypost.api.edge.tracking import ClickRoute
from waypost.api.openapi import CONFIG, build_document, serve_document
from waypost.api.problems import SECURITY_HEADERS, problem, unexpected_error
from waypost.engine.accounts.workspaces import Keyring
from waypost.engine.process import Engine
from waypost.errors import Error, Invalid, NotFound

log = structlog.get_logger()

ROUTES = [
    *sessions.ROUTES,
    *users.ROUTES,
    *passkeys.ROUTES,
    *single_sign_on.ROUTES,
    *invitations.ROUTES,
    *keys.ROUTES,
    *workspaces.ROUTES,
    *audit.ROUTES,
    *webhooks.ROUTES,
    *webhook_secrets.ROUTES,
    *webhook_formats.ROUTES,
    *deliveries.ROUTES,
    *replays.ROUTES,
    *events.ROUTES,
    *profiles.ROUTES,
    *people.ROUTES,
    *lists.ROUTES,
    *imports.ROUTES,
    *segments.ROUTES,
    *metrics.ROUTES,
    *connectors.ROUTES,
    *connections.ROUTES,
    *connection_setup.ROUTES,
    *messages.ROUTES,
    *templates.ROUTES,
    *subscriptions.ROUTES,
    *suppressions.ROUTES,
    *campaigns.ROUTES,
    *reports.ROUTES,
    *text_clients.ROUTES,
    *tracking.ROUTES,
    *sending_rules.ROUTES,
    *senders.ROUTES,
    *server.ROUTES,
    *text_previews.ROUTES,
    *insights.ROUTES,
    *operations.ROUTES,
    serve_document,
]


def build_app(engine: Engine, control: Litestar | None = None) -> Edge:
    """Return the ASGI app of an engine, which the caller starts and stops.

    Building the control API takes a tenth of a second; the one of a stopped engine can be passed in again.
    """
    keyring = Keyring(engine.database, engine.closed)
    engine.closed.forget.append(keyring.forget)
    raw = {("POST", messages.MessageRoute.PATH): messages.MessageRoute(engine, keyring)}
    control = control or build_control()
    control.state.engine, control.state.keyring = engine, keyring
    clicks, pixels = ClickRoute(engine), PixelRoute(engine)
    others: list[RawRoute] = [
        ReceiptRoutes(engine),
        clicks,
        pixels,
        PreferenceRoute(engine),
        ConfirmationRoute(engine.confirmations),
        TextRoute(engine.texts, engine.text_clients),
        StreamRoute(engine, keyring),
        # The last one: it takes every path that a browser asks for and the API does not know.
        InterfaceRoute(),
    ]
    return Edge(Guarded(control, raw), keyring, engine.journal, others, [clicks, pixels])


class Guarded:
    """The control API: raw routes where speed matters, and the framework for all others.

    It adds the security headers to every response, and answers OPTIONS with the methods of a path.
    """

    def __init__(self, control: Litestar, raw: Mapping[tuple[str, str], App]) -> None:
        self._control = control
        self._raw = raw

    async def __call__(self, scope: HttpScope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        route = self._raw.get((scope.get("method", ""), scope.get("path", "")))
        if route is not None:
            await route(scope, receive, send)
            return

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *SECURITY_HEADERS]
            await send(message)

        if (
            scope["type"] == "http"
            and scope["method"] == "OPTIONS"
            and (known := _methods(self._control, scope["path"]))
        ):
            await send_with_headers(
                {
                    "type": "http.response.start",
                    "status": 204,
                    "headers": [(b"allow", ", ".join(sorted(known)).encode())],
                }
            )
            await send_with_headers({"type": "http.response.body", "body": b""})
            return
        await self._control(scope, receive, send_with_headers)  # type: ignore[arg-type]


def build_control() -> Litestar:
    """Return the control API without an engine."""

    async def provide_call(request: Request[Any, Any, Any]) -> Call:
        return Call(request.app.state.engine, request.app.state.keyring, request.state.admitted, request)

    control = Litestar(
        route_handlers=ROUTES,
        guards=[authorize],
        after_request=tag,
        dependencies={"call": Provide(provide_call)},
        exception_handlers={Error: _answer_error, HTTPException: _answer_framework, Exception: _answer_unexpected},
        openapi_config=CONFIG,
        request_max_body_size=BODY_BYTES,
        state=State(),
        logging_config=None,
        debug=False,
    )
    control.state.readers = find_readers(control)
    return control


def describe_api() -> dict[str, Any]:
    """Return the OpenAPI document; this needs no engine."""
    return build_document(build_control())


def _respond(error: Error) -> Response[bytes]:
    status, headers, body = problem(error)
    # Guarded adds the security headers.
    own = {name.decode(): value.decode() for name, value in headers if (name, value) not in SECURITY_HEADERS}
    media_type = own.pop("content-type")
    del own["content-length"]
    return Response(body, status_code=status, headers=own, media_type=media_type)


def _answer_error(_request: Request[Any, Any, Any], error: Error) -> Response[bytes]:
    return _respond(error)


def _answer_framework(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Return the problem document for an error raised by the framework."""
    method, path = request.scope["method"], request.scope["path"][:200]
    if error.status_code == 404:
        return _respond(
            NotFound(f"The path {path} does not exist. /openapi.json lists all paths.", code="no_such_route")
        )
    if error.status_code == 405:
        detail = f"{path} does not support {method}. /openapi.json lists its methods."
        response = _respond(Invalid(detail, code="method_not_allowed"))
        response.headers["allow"] = ", ".join(sorted(_methods(request.app, request.scope["path"])))
        return response
    if error.status_code == 413:
        return _respond(messages.too_large(path))
    if error.status_code >= 500:
        return _answer_unexpected(request, error)
    reasons = [
        f"{reason.get('key', '')}: {reason.get('message', '')}".strip(": ")
        for reason in (error.extra if isinstance(error.extra, list) else [])
        if isinstance(reason, dict)
    ]
    return _respond(Invalid("; ".join(reasons) or error.detail, code="invalid_parameter"))


def _methods(app: Litestar, path: str) -> set[str]:
    """Return the methods of a path: of the routes with exactly this path, or else of those with parameters."""
    routes = [route for route in app.routes if isinstance(route, HTTPRoute)]
    fitting = [route for route in routes if route.path_format == path] or [
        route for route in routes if re.fullmatch(re.sub(r"{\w+}", "[^/]+", route.path_format), path)
    ]
    return {method for route in fitting for method in route.methods}


def _answer_unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Log an unexpected exception and return an error without its details."""
    log.error("request failed", action="request_failed", path=request.scope["path"], exc_info=error)
    return _respond(unexpected_error())
