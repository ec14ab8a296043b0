"""The events of the simulated Klaviyo: the checks of their bodies, and the stored events."""

import re
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from waypost import clock

LARGEST_BODY = 5 * 1024 * 1024
#: The most events in one bulk call.
MOST_EVENTS = 1_000
MOST_PROPERTIES = 400
LONGEST_METRIC = 127
LONGEST_STRING = 100 * 1024
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
FARTHEST = timedelta(days=366)
#: The most events stored for the list, and the most keys stored to detect duplicates; beyond it the oldest are deleted.
KEEP = 50_000
REMEMBERED = 500_000

PHONE = re.compile(r"\+[1-9][0-9]{6,14}\Z")
EMAIL = re.compile(r"[^\s@]+@[^\s@]+\Z")
#: A profile must have an id or one of these.
IDENTIFIERS = ("email", "phone_number", "external_id", "anonymous_id", "_kx")

#: A JSON pointer, and what is wrong there.
Fault = tuple[str, str]


class KlaviyoEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A stored event."""

    serial: int
    metric: str
    #: The id of the profile, or else its first identifier.
    profile: str
    #: In whole seconds, as Klaviyo stores it.
    time: str
    unique_id: str
    properties: dict[str, Any]
    value: float | None = None
    attributes: dict[str, Any] = {}


class KlaviyoEvents:
    """The events of the account: one for each profile, metric and unique id."""

    def __init__(self) -> None:
        self._events: deque[KlaviyoEvent] = deque(maxlen=KEEP)
        self._known: dict[tuple[str, str, str], None] = {}
        self._serial = 0

    def clear(self) -> None:
        """Delete every event."""
        self._events.clear()
        self._known.clear()

    def add(self, attributes: dict[str, Any], profile: dict[str, Any], now: int) -> KlaviyoEvent | None:
        """Store a valid event; return None for a duplicate, which Klaviyo drops without an error."""
        metric = attributes["metric"]["data"]["attributes"]["name"]
        moment = read_time(attributes.get("time")) or datetime.fromtimestamp(now // clock.SECOND, UTC)
        second = moment.astimezone(UTC).replace(microsecond=0)
        # Without a unique id, Klaviyo uses the time in seconds: it keeps only the first event of a second.
        unique = str(attributes.get("unique_id") or int(second.timestamp()))
        key = (person_of(profile), metric, unique)
        if key in self._known:
            return None
        if len(self._known) >= REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[key] = None
        self._serial += 1
        event = KlaviyoEvent(
            serial=self._serial,
            metric=metric,
            profile=key[0],
            time=second.isoformat(),
            unique_id=unique,
            properties=attributes["properties"],
            value=attributes.get("value"),
            attributes=profile.get("attributes") or {},
        )
        self._events.append(event)
        return event

    def page(
        self, metric: str | None, profile: str | None, limit: int, after: int
    ) -> tuple[list[KlaviyoEvent], int | None]:
        """Return a page of events, oldest first, and the cursor of the next page if there may be one.

        `profile` is an id or any identifier of a profile.
        """
        found: list[KlaviyoEvent] = []
        for event in self._events:
            if event.serial <= after or (metric is not None and event.metric != metric):
                continue
            if (
                profile is not None
                and profile != event.profile
                and profile not in map(event.attributes.get, IDENTIFIERS)
            ):
                continue
            if len(found) == limit:
                return found, found[-1].serial
            found.append(event)
        return found, None


def person_of(profile: dict[str, Any]) -> str:
    """Return the id of a profile, or else its first identifier."""
    about = profile.get("attributes") or {}
    return str(profile.get("id") or next(about[name] for name in IDENTIFIERS if about.get(name)))


def address_of(profile: dict[str, Any]) -> str:
    """Return the address that decides on the scenario of an event: a phone number or email address comes first."""
    about = profile.get("attributes") or {}
    return str(about.get("phone_number") or about.get("email") or person_of(profile))


def read_time(given: object) -> datetime | None:
    """Return a time in ISO 8601, in UTC if it has no zone, or None if it is none."""
    try:
        moment = datetime.fromisoformat(given) if isinstance(given, str) else None
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def fault_of_event(given: Any, now: int) -> Fault | None:
    """Return the first fault in the body of Create Event; `now` is in microseconds."""
    data = given.get("data") if isinstance(given, dict) else None
    attributes = data.get("attributes") if isinstance(data, dict) else None
    if not isinstance(data, dict) or data.get("type") != "event" or not isinstance(attributes, dict):
        return "/data/type", "data must have the type event, and attributes."
    return _fault_of_attributes(attributes, "/data/attributes", now) or _fault_of_profile(
        linked(attributes.get("profile"), "profile"), "/data/attributes/profile"
    )


def fault_of_job(given: Any, now: int) -> Fault | None:
    """Return the first fault in the body of Bulk Create Events; `now` is in microseconds."""
    job = linked(given, "event-bulk-create-job")
    attributes = job.get("attributes") if job is not None else None
    if not isinstance(attributes, dict):
        return "/data/type", "data must have the type event-bulk-create-job, and attributes."
    at = "/data/attributes/events-bulk-create"
    entries = _listed(attributes.get("events-bulk-create"))
    if not entries:
        return at, "events-bulk-create must have a list of data."
    count = 0
    for number, entry in enumerate(entries):
        where = f"{at}/data/{number}"
        about = (
            entry.get("attributes") if isinstance(entry, dict) and entry.get("type") == "event-bulk-create" else None
        )
        if not isinstance(about, dict):
            return where, "An entry must have the type event-bulk-create, and attributes."
        fault = _fault_of_profile(linked(about.get("profile"), "profile"), f"{where}/attributes/profile")
        events = _listed(about.get("events"))
        if fault is None and not events:
            fault = f"{where}/attributes/events", "events must have a list of data."
        for place, event in enumerate(events):
            here = f"{where}/attributes/events/data/{place}"
            inner = event.get("attributes") if isinstance(event, dict) and event.get("type") == "event" else None
            if not isinstance(inner, dict):
                fault = fault or (here, "An event must have the type event, and attributes.")
            else:
                fault = fault or _fault_of_attributes(inner, f"{here}/attributes", now)
            count += 1
        if fault is not None:
            return fault
    return (at, f"A call may have at most {MOST_EVENTS} events.") if count > MOST_EVENTS else None


def events_of_job(given: Any) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return the attributes and the profile of each event of a bulk call that has no fault."""
    entries = given["data"]["attributes"]["events-bulk-create"]["data"]
    return [
        (event["attributes"], entry["attributes"]["profile"]["data"])
        for entry in entries
        for event in entry["attributes"]["events"]["data"]
    ]


def linked(given: Any, kind: str) -> dict[str, Any] | None:
    """Return what stands under `data` and has this type."""
    data = given.get("data") if isinstance(given, dict) else None
    return data if isinstance(data, dict) and data.get("type") == kind else None


def _listed(given: Any) -> list[Any]:
    data = given.get("data") if isinstance(given, dict) else None
    return data if isinstance(data, list) else []


def _fault_of_attributes(attributes: dict[str, Any], at: str, now: int) -> Fault | None:
    properties = attributes.get("properties")
    if not isinstance(properties, dict):
        return f"{at}/properties", "properties must be an object."
    if len(properties) > MOST_PROPERTIES:
        return f"{at}/properties", f"An event may have at most {MOST_PROPERTIES} properties."
    if any(isinstance(value, str) and len(value.encode()) > LONGEST_STRING for value in properties.values()):
        return f"{at}/properties", f"A string may have at most {LONGEST_STRING} bytes."
    metric = linked(attributes.get("metric"), "metric")
    name = metric.get("attributes", {}).get("name") if metric and isinstance(metric.get("attributes"), dict) else None
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_METRIC:
        return f"{at}/metric", f"metric must have a name of 1 to {LONGEST_METRIC} characters."
    value = attributes.get("value")
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        return f"{at}/value", "value must be a number."
    unique = attributes.get("unique_id")
    if unique is not None and not isinstance(unique, str):
        return f"{at}/unique_id", "unique_id must be a string."
    if attributes.get("time") is None:
        return None
    moment = read_time(attributes["time"])
    if moment is None:
        return f"{at}/time", "time must be an ISO 8601 time."
    if not EARLIEST <= moment <= datetime.fromtimestamp(now // clock.SECOND, UTC) + FARTHEST:
        return f"{at}/time", "time must be after 1990 and at most a year ahead."
    return None


def _fault_of_profile(profile: dict[str, Any] | None, where: str) -> Fault | None:
    about = (profile.get("attributes") or {}) if profile is not None else None
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
