"""Simulates Klaviyo: Create Event, and the account of a key."""

import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from waypost import clock
from waypost.sink.context import Context, body, headers, read_settings
from waypost.sink.faulty_response import Response, json
from waypost.sink.http_connection import Request
from waypost.sink.providers.http_provider import NEVER, Secret, admits, decode, finish
from waypost.sink.scenarios import Call, Reply

NAME = "klaviyo"
#: The simulated revision of the API (klaviyo/openapi).
REVISION = "2026-07-15"
JSON_API = "application/vnd.api+json"
TYPE = ("content-type", JSON_API)
LARGEST_EVENT = 5 * 1024 * 1024
MOST_PROPERTIES = 400
LONGEST_METRIC = 127
LONGEST_STRING = 100 * 1024
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
FARTHEST = timedelta(days=366)
#: The most events stored to detect duplicates; beyond it the oldest are deleted.
REMEMBERED = 500_000

DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(\.[a-z]+)?\Z")
PHONE = re.compile(r"\+[1-9][0-9]{6,14}\Z")
EMAIL = re.compile(r"[^\s@]+@[^\s@]+\Z")
#: A profile must have an id or one of these.
IDENTIFIERS = ("email", "phone_number", "external_id", "anonymous_id", "_kx")

#: The error response by reply.
REFUSALS: dict[Reply, tuple[int, str, str]] = {
    Reply.INVALID: (400, "invalid", "The profile is not valid."),
    Reply.REJECTED: (400, "invalid", "The event was rejected."),
    Reply.OPTED_OUT: (400, "invalid", "The profile has opted out."),
    Reply.THROTTLED: (429, "throttled", "Too many requests."),
    Reply.TEMPORARY: (503, "service_unavailable", "Temporarily unavailable. Retry later."),
    Reply.UNKNOWN: (500, "error", "Internal error."),
}


class KlaviyoSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings."""

    #: The accepted key. If unset, any key that begins with pk_ is accepted.
    api_key: Secret | None = None
    scopes: tuple[str, ...] = ("events:write", "accounts:read")
    #: The most events per second; those beyond it get 429.
    per_second: int | None = None


class Klaviyo:
    """The simulated account."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._dice = context.scenarios.declare(NAME, ("delivered",))
        self._settings = KlaviyoSettings()
        #: Profile, metric and unique id of the stored events.
        self._kept: dict[tuple[str, str, str], None] = {}
        self._second = 0
        self._in_second = 0

    def configure(self, given: object) -> None:
        """Apply settings, and delete the stored events."""
        self._settings = read_settings(given, KlaviyoSettings)
        self._kept.clear()
        self._second = 0

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
        self._context.record(NAME, request)
        call = self._dice.call()
        refusal = self._check_caller(call, headers(request), "events:write")
        if refusal is not None:
            return refusal
        if headers(request).get("content-type", "").partition(";")[0].strip().lower() != JSON_API:
            return _error(call, 415, "invalid", f"The content type must be {JSON_API}.", None)
        if len(request.body) > LARGEST_EVENT:
            return _error(call, 413, "payload_too_large", f"An event may have at most {LARGEST_EVENT} bytes.", None)
        now = clock.now_us()
        if self._is_too_fast(now):
            return _error(call, *REFUSALS[Reply.THROTTLED], None, ("retry-after", "1"))
        try:
            given: Any = decode(request.body, object)
        except msgspec.DecodeError as error:
            return _error(call, 400, "invalid", f"The body is not JSON: {error}.", "/data")
        fault = find_fault(given, now)
        if fault is not None:
            return _error(call, 400, "invalid", fault[1], fault[0])
        return self._accept(given["data"]["attributes"], call, now)

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

    def _is_too_fast(self, now: int) -> bool:
        second = now // clock.SECOND
        if second != self._second:
            self._second, self._in_second = second, 0
        self._in_second += 1
        return self._settings.per_second is not None and self._in_second > self._settings.per_second

    def _accept(self, attributes: dict[str, Any], call: Call, now: int) -> Response:
        profile = attributes["profile"]["data"]
        about = profile.get("attributes", {})
        person = str(
            about.get("phone_number")
            or about.get("email")
            or profile.get("id")
            or next(about[name] for name in IDENTIFIERS if about.get(name))
        )
        scenario = self._dice.message(person)
        if scenario.reply is Reply.ERROR:
            return _error(call, self._dice.settings.error_status, "error", "Internal error.", None)
        if scenario.reply in REFUSALS:
            after = self._dice.settings.retry_after
            more = [("retry-after", str(after or 1))] if scenario.reply is Reply.THROTTLED else []
            return _error(call, *REFUSALS[scenario.reply], None, *more)
        metric = attributes["metric"]["data"]["attributes"]["name"]
        # Without a unique id, Klaviyo uses the time in seconds: it keeps only the first event of a second.
        unique = str(attributes.get("unique_id") or str(attributes.get("time") or clock.iso(now))[:19])
        key = (person, metric, unique)
        if key not in self._kept:
            if len(self._kept) >= REMEMBERED:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = None
            text = msgspec.json.encode({"metric": metric, "properties": attributes["properties"]}).decode()
            self._context.sent_log.add(NAME, person, text, unique, secrets.token_hex(8), scenario.word)
        return finish(202, [], b"", call, scenario.reply)


ROUTES = {
    ("PUT", "/klaviyo/settings"): Klaviyo.put_settings,
    ("GET", "/klaviyo/settings"): Klaviyo.get_settings,
    ("POST", "/klaviyo/api/events"): Klaviyo.create_event,
    ("GET", "/klaviyo/api/accounts"): Klaviyo.list_accounts,
}


def find_fault(given: Any, now: int) -> tuple[str, str] | None:
    """Return pointer and text of the first error in the body of Create Event; `now` is in microseconds."""
    data = given.get("data") if isinstance(given, dict) else None
    attributes = data.get("attributes") if isinstance(data, dict) else None
    if not isinstance(data, dict) or data.get("type") != "event" or not isinstance(attributes, dict):
        return "/data/type", "data must have the type event, and attributes."
    properties = attributes.get("properties")
    if not isinstance(properties, dict):
        return "/data/attributes/properties", "properties must be an object."
    if len(properties) > MOST_PROPERTIES:
        return "/data/attributes/properties", f"An event may have at most {MOST_PROPERTIES} properties."
    if any(isinstance(value, str) and len(value.encode()) > LONGEST_STRING for value in properties.values()):
        return "/data/attributes/properties", f"A string may have at most {LONGEST_STRING} bytes."
    metric = _linked(attributes.get("metric"), "metric")
    name = metric.get("attributes", {}).get("name") if metric and isinstance(metric.get("attributes"), dict) else None
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_METRIC:
        return "/data/attributes/metric", f"metric must have a name of 1 to {LONGEST_METRIC} characters."
    fault = _fault_of_profile(_linked(attributes.get("profile"), "profile"))
    if fault is not None:
        return fault
    value = attributes.get("value")
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        return "/data/attributes/value", "value must be a number."
    unique = attributes.get("unique_id")
    if unique is not None and not isinstance(unique, str):
        return "/data/attributes/unique_id", "unique_id must be a string."
    at = attributes.get("time")
    if at is None:
        return None
    try:
        moment = datetime.fromisoformat(at) if isinstance(at, str) else None
    except ValueError:
        moment = None
    if moment is None:
        return "/data/attributes/time", "time must be an ISO 8601 time."
    if not moment.tzinfo:
        moment = moment.replace(tzinfo=UTC)
    if not EARLIEST <= moment <= datetime.fromtimestamp(now // clock.SECOND, UTC) + FARTHEST:
        return "/data/attributes/time", "time must be after 1990 and at most a year ahead."
    return None


def _fault_of_profile(profile: dict[str, Any] | None) -> tuple[str, str] | None:
    where = "/data/attributes/profile"
    about = profile.get("attributes", {}) if profile is not None else None
    if profile is None or not isinstance(about, dict):
        return where, "profile must have data of the type profile."
    if not profile.get("id") and not any(about.get(name) for name in IDENTIFIERS):
        return where, f"profile must have an id or one of {', '.join(IDENTIFIERS)}."
    phone, email = about.get("phone_number"), about.get("email")
    if phone is not None and (not isinstance(phone, str) or not PHONE.match(phone)):
        return f"{where}/data/attributes/phone_number", "The phone number is not in E.164 format."
    if email is not None and (not isinstance(email, str) or not EMAIL.match(email)):
        return f"{where}/data/attributes/email", "The email address is not valid."
    return None


def _linked(given: Any, kind: str) -> dict[str, Any] | None:
    """Return the object under `data`, if it has this type."""
    data = given.get("data") if isinstance(given, dict) else None
    return data if isinstance(data, dict) and data.get("type") == kind else None


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
