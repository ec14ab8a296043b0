"""The OpenAPI 3.1 document: the framework's description of the routes, with bodies, problems and raw routes added."""

import re
import typing
from types import UnionType
from typing import Any

import msgspec
from litestar import Litestar, Request, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import Components, License, SecurityScheme
from litestar.response import Stream
from litestar.routes import HTTPRoute

from waypost import __version__
from waypost.api.control.calls import LONGEST_KEY, PUBLIC
from waypost.api.control.versions import CONDITIONAL, has_version
from waypost.api.problems import MEDIA_TYPE
from waypost.domain.accounts.sign_in import COOKIE
from waypost.domain.events.segment import KINDS, SegmentBatch, SegmentMessage
from waypost.domain.texts.request import SendText
from waypost.engine.texts.area import TextAccepted

Json = dict[str, Any]


class Problem(msgspec.Struct, kw_only=True):
    """An error (RFC 9457). Some problems have further members, such as `field` or `pointer`."""

    type: str
    title: str
    status: int
    #: A stable identifier of the kind of error.
    code: str
    #: What is wrong, where, and what to do.
    detail: str


class EventsAccepted(msgspec.Struct, kw_only=True):
    """The events are stored durably. A repeated `messageId` has no effect and gets the same response."""

    success: bool
    #: Only if some events of a batch were rejected: how many were accepted, and the errors of the others.
    accepted: int = 0
    rejected: list[dict[str, Any]] = []


CONFIG = OpenAPIConfig(
    title="Waypost",
    version=__version__,
    description="A self-hosted customer-messaging engine: events in, messages and signed webhooks out, nothing lost.",
    license=License(name="Apache-2.0", identifier="Apache-2.0"),
    components=Components(
        security_schemes={
            "bearer": SecurityScheme(type="http", scheme="bearer", description="An API key of the workspace."),
            "session": SecurityScheme(
                type="apiKey",
                security_scheme_in="cookie",
                name=COOKIE,
                description="The session of a user, which POST /v1/sessions makes. Header Waypost-Workspace: ws_… "
                "chooses one of several workspaces.",
            ),
            "write_key": SecurityScheme(
                type="http", scheme="basic", description="A write key as the user name, as Segment libraries send it."
            ),
            "client_id": SecurityScheme(
                type="apiKey", security_scheme_in="header", name="X-Client-ID", description="The id of a text client."
            ),
            "client_secret": SecurityScheme(
                type="apiKey", security_scheme_in="header", name="X-Client-Secret", description="Its secret."
            ),
        }
    ),
    security=[{"bearer": []}, {"session": []}],
    use_handler_docstrings=True,
    operation_id_creator=lambda handler, _method, _parts: handler.handler_name,
    path="/schema",
)

_REFUSALS = {
    "400": "The request is not valid.",
    "401": "No valid API key was given.",
    "403": "The API key does not have the required scope.",
    "404": "The resource does not exist in this workspace.",
    "409": "The current state of the resource does not allow the request.",
    "405": "The path does not allow this method.",
    "412": "The resource was changed since the version in `If-Match`.",
    "413": "The request is too large.",
    "422": "The Idempotency-Key was used for another request.",
    "429": "The client is over its rate. Nothing was stored; retry after `Retry-After`.",
    "503": "The server cannot process the request now. Nothing was stored; retry.",
}
_IF_MATCH: Json = {
    "name": "If-Match",
    "in": "header",
    "description": "The `ETag` of a GET: if the resource was changed since, nothing is done.",
    "schema": {"type": "string", "minLength": 1},
}
_IDEMPOTENCY_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A repeated request with the same key within 24 hours gets the response of the first one.",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": "^[ -~]+$"},
}
_PAGE = re.compile(r"Page_(?:[\w]+\.)*(\w+)_")


def build_document(app: Litestar) -> Json:
    """Return the document as plain JSON values."""
    document = app.openapi_schema.to_schema()
    types: list[Any] = [Problem, EventsAccepted, SegmentMessage, SegmentBatch, SendText, TextAccepted]
    for path, handler, operation in _operations(app, document["paths"]):
        types += [_answer(handler)] if _answer(handler) else []
        body = handler.opt.get("body")
        if body is not None:
            types.append(body)
            needed = bool(msgspec.structs.fields(body)) and any(f.required for f in msgspec.structs.fields(body))
            operation["requestBody"] = {"required": needed, "content": {"application/json": {"schema": _ref(body)}}}
        if media_types := handler.opt.get("file"):
            content = {media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in media_types}
            operation["requestBody"] = {"required": True, "content": content}
        _finish(path, handler, operation, versioned=has_version(app.state.readers.get(handler.handler_name)))
    for kind in (*KINDS, "batch"):
        document["paths"][f"/v1/{kind}"] = {"post": _edge(kind)}
    document["paths"]["/text/message/send"] = {"post": _text()}
    _, schemas = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    # Whoever forgets one of them gets an error that says what it is for, so the decoder does not require them.
    schemas["SendText"]["required"] = ["text", "callbackData", "sendPurpose"]
    components = document["components"]
    components["schemas"] = {**components["schemas"], **schemas}
    finished = msgspec.json.decode(_PAGE.sub(r"\1Page", msgspec.json.encode(document).decode()))
    finished["components"]["schemas"] = dict(sorted(finished["components"]["schemas"].items()))
    return typing.cast(Json, finished)


def _operations(app: Litestar, paths: Json) -> typing.Iterator[tuple[str, HTTPRouteHandler, Json]]:
    for route in app.routes:
        if not isinstance(route, HTTPRoute):
            continue
        for handler in route.route_handlers:
            for method in handler.http_methods:
                operation = paths.get(route.path_format, {}).get(method.lower())
                if operation is not None:
                    yield route.path_format, handler, operation


def _answer(handler: HTTPRouteHandler) -> Any:
    """Return the struct in the response of a handler, if there is one."""
    annotation = handler.parsed_fn_signature.return_type.annotation
    if typing.get_origin(annotation) in (typing.Union, UnionType):
        # A list that may also be sent as a file.
        annotation = next(part for part in typing.get_args(annotation) if part is not Stream)
    inner = typing.get_args(annotation)[0] if typing.get_origin(annotation) is Response else annotation
    return None if inner in (bytes, None, type(None), Stream) else inner


def _ref(type_: type) -> Json:
    return {"$ref": f"#/components/schemas/{type_.__name__}"}


def _problem(status: str) -> Json:
    return {"description": _REFUSALS[status], "content": {MEDIA_TYPE: {"schema": _ref(Problem)}}}


def _finish(path: str, handler: HTTPRouteHandler, operation: Json, *, versioned: bool) -> None:
    operation.pop("deprecated", None)
    operation["tags"] = [path.removeprefix("/v1").split("/")[1]]
    parameters = operation.setdefault("parameters", [])
    for parameter in parameters:
        _simplify(parameter)
    statuses = {"503"}
    if handler.opt.get("public"):
        operation["security"] = []
        statuses |= {"400"} if handler.opt.get("body") else set()
    else:
        statuses |= {"400", "401", "403"} | ({"404"} if "{" in path or handler.opt.get("names") else set())
        if handler.opt.get("own"):
            operation["security"] = [{"session": []}, *([{"bearer": []}] if handler.opt.get("keys") else [])]
        else:
            operation["x-permission"] = handler.opt["permission"]
    statuses |= handler.opt.get("statuses", set())
    if "POST" in handler.http_methods and not handler.opt.get("keyless"):
        parameters.append(_IDEMPOTENCY_KEY)
        statuses |= {"422"}
    if handler.http_methods & {"POST", "PUT", "PATCH", "DELETE"}:
        statuses |= {"409", "413"}
    if versioned and handler.http_methods & CONDITIONAL:
        parameters.append(_IF_MATCH)
        statuses |= {"412"}
    for media_type in handler.opt.get("also", ()):
        operation["responses"]["200"]["content"][media_type] = {"schema": {"type": "string"}}
    operation["responses"].update({status: _problem(status) for status in sorted(statuses)})
    if path == "/healthz":
        del operation["responses"]["503"]
    if not parameters:
        del operation["parameters"]


def _simplify(parameter: Json) -> None:
    """Remove null from the schema of a query parameter: an omitted parameter is absent, not null."""
    for name in ("deprecated", "allowEmptyValue", "allowReserved"):
        parameter.pop(name, None)
    schema = parameter["schema"]
    kinds = [kind for kind in schema.pop("oneOf", []) if kind != {"type": "null"}]
    for kind in kinds[:1]:
        schema.update(kind)
    schema.pop("description", None)


def _edge(kind: str) -> Json:
    what = "Send up to 2500 events" if kind == "batch" else f"Send {'an' if kind[0] in 'ai' else 'a'} {kind} event"
    return {
        "operationId": f"send_{kind}",
        "tags": ["events"],
        "summary": f"{what} (Segment HTTP tracking API)",
        "description": "Responds when the events are stored. The body may be compressed with gzip.",
        "security": [{"write_key": []}, {"bearer": []}],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _ref(SegmentBatch if kind == "batch" else SegmentMessage)}},
        },
        "responses": {
            "200": {"description": "Stored.", "content": {"application/json": {"schema": _ref(EventsAccepted)}}},
            **{status: _problem(status) for status in ("400", "401", "403", "413", "503")},
        },
    }


def _text() -> Json:
    accepted = "Stored: PENDING_TO_SEND, or a final status for which no text is sent."
    return {
        "operationId": "send_text",
        "tags": ["texts"],
        "summary": "Send a text",
        "description": "Responds when the text is stored. The body may be compressed with gzip.",
        "security": [{"client_id": [], "client_secret": []}],
        "requestBody": {"required": True, "content": {"application/json": {"schema": _ref(SendText)}}},
        "responses": {
            "200": {"description": accepted, "content": {"application/json": {"schema": _ref(TextAccepted)}}},
            **{status: _problem(status) for status in ("400", "401", "405", "409", "413", "429", "503")},
        },
    }


@get("/openapi.json", opt=PUBLIC, include_in_schema=False)
async def serve_document(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Return the OpenAPI document, built at the first request."""
    state = request.app.state
    if "document" not in state:
        state.document = msgspec.json.encode(build_document(request.app))
    return Response(state.document, media_type="application/json")
