"""Simulates Klaviyo: events, single and in bulk, rate limits, and the account of a key."""

import re
import secrets
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from waypost import clock
from waypost.sink.context import Context, body, headers, number, query, read_settings
from waypost.sink.faulty_response import Response, json
from waypost.sink.http_connection import Request
from waypost.sink.providers.http_provider import NEVER, Secret, admits, decode, finish, worst
from waypost.sink.providers.klaviyo_events import (
    LARGEST_BODY,
    Fault,
    KlaviyoEvents,
    address_of,
    events_of_job,
    fault_of_event,
    fault_of_job,
)
from waypost.sink.scenarios import Call, Reply

NAME = "klaviyo"
#: The simulated revision of the API (klaviyo/openapi).
REVISION = "2026-07-15"
JSON_API = "application/vnd.api+json"
TYPE = ("content-type", JSON_API)
LONGEST_PAGE = 1_000
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(\.[a-z]+)?\Z")

#: The error response by reply.
REFUSALS: dict[Reply, tuple[int, str, str]] = {
    Reply.INVALID: (400, "invalid", "The profile is not valid."),
    Reply.REJECTED: (400, "invalid", "The event was rejected."),
    Reply.OPTED_OUT: (400, "invalid", "The profile has opted out."),
    Reply.THROTTLED: (429, "throttled", "Too many requests."),
    Reply.TEMPORARY: (503, "service_unavailable", "Temporarily unavailable. Retry later."),
    Reply.UNKNOWN: (500, "error", "Internal error."),
}


Limit = Annotated[int, Meta(ge=1, le=1_000_000)]
#: The attributes of an event, and its profile.
EventParts = tuple[dict[str, Any], dict[str, Any]]


class KlaviyoSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings."""

    #: The accepted key. If unset, any key that begins with pk_ is accepted.
    api_key: Secret | None = None
    scopes: tuple[str, ...] = ("events:write", "accounts:read")
    #: The most calls per second and per minute; those beyond them get 429. Klaviyo's limits are 350 and 3500.
    per_second: Limit | None = None
    per_minute: Limit | None = None
    #: The same for bulk calls. Klaviyo's limits are 10 and 150.
    bulk_per_second: Limit | None = None
    bulk_per_minute: Limit | None = None


class Klaviyo:
    """The simulated account."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._dice = context.scenarios.declare(NAME, ("delivered",))
        self._settings = KlaviyoSettings()
        self.events = KlaviyoEvents()
        self._limits = self._bulk_limits = RateLimits(None, None)

    def configure(self, given: object) -> None:
        """Apply settings, and delete the stored events."""
        self._settings = settings = read_settings(given, KlaviyoSettings)
        self.events.clear()
        self._limits = RateLimits(settings.per_second, settings.per_minute)
        self._bulk_limits = RateLimits(settings.bulk_per_second, settings.bulk_per_minute)

    def put_settings(self, request: Request) -> Response:
        """Apply settings, and return them."""
        self.configure(body(request))
        return self.get_settings(request)

    def get_settings(self, request: Request) -> Response:
        """Return the settings, without the key."""
        view = msgspec.to_builtins(self._settings)
        del view["api_key"]
        return json(view)

    def create_event(self, request: Request) -> Response:
        """Accept an event: return 202 without a body, or an error."""
        return self._create(request, self._limits, fault_of_event, _event_of_call)

    def create_events(self, request: Request) -> Response:
        """Accept all events of a bulk call, or none: return 202 without a body, or an error."""
        return self._create(request, self._bulk_limits, fault_of_job, events_of_job)

    def list_events(self, request: Request) -> Response:
        """Return a page of the stored events, oldest first: of a metric, of a profile, or all."""
        params = query(request, {"metric", "profile", "limit", "after"})
        limit, after = number(params, "limit", 100, 1, LONGEST_PAGE), number(params, "after", 0, 0, 1 << 63)
        found, following = self.events.page(params.get("metric"), params.get("profile"), limit, after)
        return json({"data": found, "next": None if following is None else str(following)})

    def _create(
        self,
        request: Request,
        limits: "RateLimits",
        find_fault: Callable[[Any, int], Fault | None],
        read: Callable[[Any], list[EventParts]],
    ) -> Response:
        self._context.record(NAME, request)
        call = self._dice.call()
        refusal = self._check_caller(call, headers(request), "events:write")
        if refusal is not None:
            return refusal
        if headers(request).get("content-type", "").partition(";")[0].strip().lower() != JSON_API:
            return _error(call, 415, "invalid", f"The content type must be {JSON_API}.", None)
        if len(request.body) > LARGEST_BODY:
            return _error(call, 413, "payload_too_large", f"A body may have at most {LARGEST_BODY} bytes.", None)
        now = clock.now_us()
        wait, more = limits.count(now)
        if wait:
            return _error(call, *REFUSALS[Reply.THROTTLED], None, ("retry-after", str(wait)), *more)
        try:
            given: Any = decode(request.body, object)
        except msgspec.DecodeError as error:
            return _error(call, 400, "invalid", f"The body is not JSON: {error}.", "/data", *more)
        fault = find_fault(given, now)
        if fault is not None:
            return _error(call, 400, "invalid", fault[1], fault[0], *more)
        return self._accept(read(given), call, now, more)

    def list_accounts(self, request: Request) -> Response:
        """Return the account of the key."""
        call = self._dice.call()
        refusal = self._check_caller(call, headers(request), "accounts:read")
        if refusal is not None:
            return refusal
        account = {"type": "account", "id": "SINK01", "attributes": {"test_account": True, "timezone": "UTC"}}
        return finish(200, [TYPE], msgspec.json.encode({"data": [account], "links": {"self": ""}}), call)

    def _check_caller(self, call: Call, request_headers: dict[str, str], scope: str) -> Response | None:
        """Return an error unless the headers have a valid key with this scope, and a revision."""
        if call.status is not None:
            return _error(call, call.status, "error", "Internal error.", None)
        scheme, _, key = request_headers.get("authorization", "").partition(" ")
        if scheme != "Klaviyo-API-Key" or not key:
            return _error(call, 401, "not_authenticated", "Authorization: Klaviyo-API-Key pk_… is required.", "/data/")
        if not key.startswith("pk_") or key[3:] in ("", NEVER) or not admits(self._settings.api_key, key):
            return _error(call, 401, "authentication_failed", "The key is not valid.", "/data/")
        if scope not in self._settings.scopes:
            return _error(call, 403, "permission_denied", f"The key has no scope {scope}.", "/data/")
        if not DATE.match(request_headers.get("revision", "")):
            return _error(call, 400, "invalid", "The header revision must be the date of an API revision.", None)
        return None

    def _accept(self, events: list[EventParts], call: Call, now: int, more: list[tuple[str, str]]) -> Response:
        scenarios = [self._dice.message(address_of(profile)) for _, profile in events]
        reply = worst(scenarios)
        if reply is Reply.ERROR:
            return _error(call, self._dice.settings.error_status, "error", "Internal error.", None, *more)
        if reply in REFUSALS:
            after = self._dice.settings.retry_after
            retry = [("retry-after", str(after or 1))] if reply is Reply.THROTTLED else []
            return _error(call, *REFUSALS[reply], None, *retry, *more)
        for (attributes, profile), scenario in zip(events, scenarios, strict=True):
            stored = self.events.add(attributes, profile, now)
            if stored is not None:
                text = msgspec.json.encode({"metric": stored.metric, "properties": stored.properties}).decode()
                address = address_of(profile)
                self._context.sent_log.add(NAME, address, text, stored.unique_id, secrets.token_hex(8), scenario.word)
        return finish(202, more, b"", call, reply)


class RateLimits:
    """Counts calls in fixed windows of a second and of a minute."""

    def __init__(self, per_second: int | None, per_minute: int | None) -> None:
        limits = [(limit, seconds) for limit, seconds in ((per_second, 1), (per_minute, 60)) if limit is not None]
        #: Each limit, the length of its window in seconds, the number of the current window, and the calls in it.
        self._windows = [[limit, seconds, 0, 0] for limit, seconds in limits]
        self._all = "".join(f", {limit};w={seconds}" for limit, seconds in limits)

    def count(self, now: int) -> tuple[int, list[tuple[str, str]]]:
        """Count a call. Return the seconds to wait if it exceeds a limit, else 0, and the headers with the limits."""
        if not self._windows:
            return 0, []
        second, wait = now // clock.SECOND, 0
        #: The calls left, the limit and the seconds until the window ends, of each limit.
        left: list[tuple[int, int, int]] = []
        for window in self._windows:
            limit, seconds, number_of_window, _ = window
            if second // seconds != number_of_window:
                window[2:] = [second // seconds, 0]
            window[3] += 1
            reset = seconds - second % seconds
            wait = max(wait, reset if window[3] > limit else 0)
            left.append((max(limit - window[3], 0), limit, reset))
        # The limit that is reached next.
        remaining, limit, reset = min(left)
        return wait, [
            ("ratelimit-limit", f"{limit}{self._all}"),
            ("ratelimit-remaining", str(remaining)),
            ("ratelimit-reset", str(reset)),
        ]


def _event_of_call(given: Any) -> list[EventParts]:
    attributes = given["data"]["attributes"]
    return [(attributes, attributes["profile"]["data"])]


ROUTES = {
    ("PUT", "/klaviyo/settings"): Klaviyo.put_settings,
    ("GET", "/klaviyo/settings"): Klaviyo.get_settings,
    ("GET", "/klaviyo/events"): Klaviyo.list_events,
    ("POST", "/klaviyo/api/events"): Klaviyo.create_event,
    ("POST", "/klaviyo/api/event-bulk-create-jobs"): Klaviyo.create_events,
    ("GET", "/klaviyo/api/accounts"): Klaviyo.list_accounts,
}


def _error(call: Call, status: int, code: str, detail: str, pointer: str | None, *more: tuple[str, str]) -> Response:
    error: dict[str, Any] = {
        "id": secrets.token_hex(16),
        "status": status,
        "code": code,
        "title": detail,
        "detail": detail,
    }
    error["source"] = {} if pointer is None else {"pointer": pointer}
    return finish(status, [TYPE, *more], msgspec.json.encode({"errors": [error]}), call)
