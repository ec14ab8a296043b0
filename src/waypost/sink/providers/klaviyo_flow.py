"""A flow of the simulated Klaviyo: it posts a webhook for each profile, as the webhook action of a flow does."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from waypost import clock
from waypost.domain.templates.template import context_of
from waypost.domain.texts.webhook_body import WebhookBody, compile_body
from waypost.errors import Error, Invalid, NotFound
from waypost.sink.callbacks import Attempt, Callback, Headers
from waypost.sink.context import Context, body, number, pieces, query, read_settings
from waypost.sink.faulty_response import Response, json
from waypost.sink.http_connection import Request
from waypost.sink.providers.http_provider import Tries, Url, Wait, check_url
from waypost.sink.providers.klaviyo import Klaviyo

NAME = "klaviyo-flow"
#: The statuses after which Klaviyo tries again; any other that is not 2xx ends the webhook.
RETRIED = frozenset({429, 500, 502, 503, 504})
#: The metric of the event that Klaviyo adds to the profile.
SENT = "Webhook Send Successful"
#: Profiles of one run, and of all runs that are remembered; the oldest runs are forgotten.
MOST_PROFILES = 10_000
KEPT_PROFILES = 50_000
#: Characters of a body and of an answer that are shown.
SHOWN_BODY = 2_000
SHOWN_ANSWER = 500
LONGEST_PAGE = 1_000
LONGEST_RETRY_AFTER_S = 86_400.0


class FlowSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a run can set."""

    #: Retries after the first attempt.
    retries: Tries = 17
    #: Seconds before the first retry, doubled each time: 0.66 spreads 17 retries over 24 hours.
    retry_base: Wait = 0.66
    #: Seconds to wait for a response.
    timeout: Annotated[float, Meta(gt=0, le=600)] = 15.0


class WebhookTemplate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The webhook action of a flow."""

    url: Url
    body: str | dict[str, Any] | list[Any]
    headers: dict[str, str] = {}
    method: str = "POST"


class FlowRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A run that is requested."""

    template: WebhookTemplate
    #: Each a person, with the event that triggered the flow under `event`.
    profiles: Annotated[list[dict[str, Any]], Meta(min_length=1, max_length=MOST_PROFILES)]
    #: Posts begun in a second; as fast as possible without it.
    rate: Annotated[float, Meta(gt=0, le=100_000)] | None = None
    #: Substitute values as Klaviyo does, even where they break the JSON.
    naive: bool = False


class ProfileState(msgspec.Struct, kw_only=True):
    """What became of the webhook for one profile."""

    number: int
    profile: str
    #: waiting, sent, skipped, given_up, not_rendered or dropped
    status: str = "waiting"
    body: str | None = None
    error: str | None = None
    attempts: list[dict[str, Any]] = []


class Run:
    """One run of a flow."""

    def __init__(self, run_id: str, requested: FlowRequest, compiled: WebhookBody, started_at: int) -> None:
        self.id = run_id
        self.requested = requested
        self.compiled = compiled
        self.started_at = started_at
        self.states = [
            ProfileState(number=place + 1, profile=_identify(person)) for place, person in enumerate(requested.profiles)
        ]

    def view(self, limit: int, after: int) -> dict[str, Any]:
        """Return the state of the run, and of a page of its profiles."""
        counts = Counter(state.status for state in self.states)
        page = self.states[after : after + limit]
        following = after + len(page)
        return {
            "id": self.id,
            "status": "running" if counts["waiting"] else "finished",
            "started_at": clock.iso(self.started_at),
            "profiles": len(self.states),
            "counts": counts,
            "data": page,
            "next": str(following) if following < len(self.states) else None,
        }


class KlaviyoFlow:
    """Plays the webhook action of Klaviyo's flows."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._klaviyo = context.provider(Klaviyo)
        self._settings = FlowSettings()
        self._runs: dict[str, Run] = {}
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()

    def configure(self, given: object) -> None:
        """Take settings for the runs that follow."""
        self._settings = read_settings(given, FlowSettings)

    def put_settings(self, request: Request) -> Response:
        """Take settings, and show them."""
        self.configure(body(request))
        return json(self._settings)

    def get_settings(self, request: Request) -> Response:
        """The settings."""
        return json(self._settings)

    def start(self, request: Request) -> Response:
        """Start a run, and answer with its id at once."""
        given = body(request)
        try:
            requested = msgspec.convert(given, FlowRequest)
        except msgspec.ValidationError as error:
            raise Invalid(f"The run is not valid: {error}.", code="invalid_run") from error
        template = requested.template
        if template.method.upper() != "POST":
            raise Invalid("The webhook action of a flow sends only POST.", code="invalid_run")
        check_url(template.url, "The url of the template")
        for name, value in template.headers.items():
            if not name.isascii() or not f"{name}{value}".isprintable() or ":" in name or " " in name or not name:
                raise Invalid(f"The header {name[:60]!r} cannot be sent.", code="invalid_run")
        compiled = compile_body(template.body, plain=requested.naive)
        run = Run(f"run-{next(self._numbers)}", requested, compiled, clock.now_us())
        self._runs[run.id] = run
        while sum(len(kept.states) for kept in self._runs.values()) > KEPT_PROFILES:
            del self._runs[next(iter(self._runs))]
        task = asyncio.get_running_loop().create_task(self._play(run, self._settings))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return json({"id": run.id, "profiles": len(run.states)}, 202)

    def get_run(self, request: Request) -> Response:
        """Return a run, with a page of its profiles."""
        params = query(request, {"limit", "after"})
        run = self._runs.get(pieces(request)[2])
        if run is None:
            raise NotFound("The sink has no such run. It forgets the oldest ones.", code="unknown_run")
        return json(run.view(number(params, "limit", 100, 1, LONGEST_PAGE), number(params, "after", 0, 0, 1 << 63)))

    async def _play(self, run: Run, settings: FlowSettings) -> None:
        loop = asyncio.get_running_loop()
        began, rate = loop.time(), run.requested.rate
        for state, person in zip(run.states, run.requested.profiles, strict=True):
            # A pause of 0 lets the others go on.
            due = began + (state.number - 1) / rate if rate else 0.0
            await asyncio.sleep(max(due - loop.time(), 0))
            if self._context.callbacks.closed:
                return
            self._post(run, settings, state, person)

    def _post(self, run: Run, settings: FlowSettings, state: ProfileState, person: dict[str, Any]) -> None:
        try:
            text = run.compiled.render(_values(person), clock.now_us())
        except Error as error:
            state.status, state.error = "not_rendered", error.detail
            return
        state.body = text[:SHOWN_BODY]
        template = run.requested.template
        given = {name.lower() for name in template.headers}
        more = [] if "content-type" in given else [("content-type", "application/json")]
        self._context.callbacks.send(
            Callback(
                sender=NAME,
                url=template.url,
                headers=[*template.headers.items(), *more],
                body=text.encode("utf-8", "replace"),
                attempts=settings.retries + 1,
                retry_base=settings.retry_base,
                longest_backoff=1 << 30,
                at_least=read_retry_after,
                timeout=settings.timeout,
                accept=_accept,
                on_attempt=lambda attempt: self._record(run, settings, state, person, attempt),
            )
        )

    def _record(
        self, run: Run, settings: FlowSettings, state: ProfileState, person: dict[str, Any], attempt: Attempt
    ) -> None:
        state.attempts = [
            *state.attempts,
            {
                "at": clock.iso(clock.now_us()),
                "status": attempt.status,
                "error": attempt.error or None,
                "retry_after": attempt.headers.get("retry-after"),
                "body": attempt.body[:SHOWN_ANSWER].decode("utf-8", "replace"),
            },
        ]
        if attempt.accepted:
            state.status = "sent"
            self._note_success(run, state, person, attempt)
        elif attempt.accepted is None:
            state.status = "skipped" if attempt.number else "dropped"
        elif attempt.number > settings.retries:
            state.status = "given_up"

    def _note_success(self, run: Run, state: ProfileState, person: dict[str, Any], attempt: Attempt) -> None:
        """Add the event that Klaviyo shows in the profile."""
        identifiers = {name: person[name] for name in ("email", "phone_number", "external_id") if person.get(name)}
        profile_id = person.get("KlaviyoID") or person.get("id")
        if not identifiers and not profile_id:
            return
        attributes = {
            "metric": {"data": {"type": "metric", "attributes": {"name": SENT}}},
            "properties": {"Webhook URL": run.requested.template.url, "Status Code": attempt.status},
            "unique_id": f"{run.id}:{state.number}",
        }
        profile = {"type": "profile", "id": profile_id, "attributes": identifiers}
        self._klaviyo.events.add(attributes, profile, clock.now_us())


ROUTES = {
    ("PUT", "/klaviyo-flow/settings"): KlaviyoFlow.put_settings,
    ("GET", "/klaviyo-flow/settings"): KlaviyoFlow.get_settings,
    ("POST", "/klaviyo-flow/run"): KlaviyoFlow.start,
    ("GET", "/klaviyo-flow/runs/{id}"): KlaviyoFlow.get_run,
}


def read_retry_after(headers: Headers) -> float:
    """Return the seconds that Retry-After asks for, in seconds or as a date; 0 without it."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_RETRY_AFTER_S)
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return 0.0
    wait = moment.timestamp() - clock.now_us() / clock.SECOND
    return min(max(wait, 0.0), LONGEST_RETRY_AFTER_S)


def _accept(status: int, body: bytes, headers: Headers) -> bool | None:
    if 200 <= status <= 299:
        return True
    return False if status in RETRIED else None


def _values(person: Mapping[str, Any]) -> dict[str, Any]:
    event = person.get("event")
    about = {name: value for name, value in person.items() if name != "event"}
    if "KlaviyoID" not in about and about.get("id"):
        about["KlaviyoID"] = about["id"]
    return context_of(about, event if isinstance(event, dict) else {}, {})


def _identify(person: Mapping[str, Any]) -> str:
    found = (person.get(name) for name in ("KlaviyoID", "id", "email", "phone_number", "external_id"))
    return str(next((value for value in found if value), ""))[:200]
