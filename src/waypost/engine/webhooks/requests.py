"""Build the request for deliveries in the format of their endpoint."""

from collections.abc import Callable

import msgspec

from waypost.domain.providers.connection import Connection
from waypost.domain.values.ids import public
from waypost.domain.webhooks import klaviyo
from waypost.domain.webhooks.endpoint import STANDARD, Endpoint, request_headers
from waypost.domain.webhooks.payload_format import payload_values
from waypost.engine.net.request import Request
from waypost.engine.webhooks.lane import Task
from waypost.errors import Invalid

#: Finds a connection by its id; None when it is gone or cannot be read.
FindConnection = Callable[[int], Connection | None]


class NotReady(Exception):
    """The request cannot be built now. The text is `code: words`, as the errors of responses are."""


class NotWritable(Exception):
    """An event cannot be written in the format of the endpoint. The text is `code: words`."""


def build_request(endpoint: Endpoint, tasks: list[Task], now: int, find: FindConnection) -> Request:
    """Return the request for deliveries of one endpoint; several only in a format that takes several.

    Raise NotReady when the format, or the connection of a marketing tool, is gone or disabled; NotWritable when the
    format does not fit an event.
    """
    if endpoint.format == klaviyo.FORMAT:
        return _build_klaviyo(endpoint, tasks, find)
    (task,) = tasks
    if endpoint.format != STANDARD:
        return _build_formatted(endpoint, task, now)
    headers = request_headers(endpoint, public("evt", task.event_id), task.body, now)
    return Request(endpoint.url, task.body, headers, endpoint.timeout_ms)


def _build_formatted(endpoint: Endpoint, task: Task, now: int) -> Request:
    if endpoint.payload is None:
        raise NotReady("format: the format of this endpoint is gone; give it another one")
    try:
        payload = endpoint.payload.render(payload_values(task.body, endpoint))
    except (Invalid, msgspec.MsgspecError, RecursionError) as error:
        reason = error.detail if isinstance(error, Invalid) else str(error)
        raise NotWritable(f"not_written: {reason}") from error
    webhook_id = public("evt", task.event_id)
    headers = request_headers(endpoint, webhook_id, payload.body, now, payload.content_type, payload.headers)
    return Request(endpoint.url, payload.body, headers, endpoint.timeout_ms)


def _build_klaviyo(endpoint: Endpoint, tasks: list[Task], find: FindConnection) -> Request:
    connection = find(endpoint.connection_id or 0)
    if connection is None or connection.status == "disabled":
        raise NotReady("connection: the connection of this callback is gone or disabled")
    base = str(connection.config.get("host") or connection.connector.base_url).rstrip("/")
    try:
        if len(tasks) == 1:
            path, body = klaviyo.EVENTS, klaviyo.create_event(tasks[0].body)
        else:
            path, body = klaviyo.JOBS, klaviyo.create_events([task.body for task in tasks])
    except (msgspec.MsgspecError, KeyError, RecursionError) as error:
        raise NotWritable(f"not_written: the event is not one of a text: {error}") from error
    return Request(base + path, body, klaviyo.header_lines(connection.config), endpoint.timeout_ms)
