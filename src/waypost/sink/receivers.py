"""Webhook receivers: their configured behaviour and their responses."""

from collections import deque
from typing import Any
from urllib.parse import unquote

import msgspec

from waypost.errors import Invalid
from waypost.sink.behaviour import (
    MAIL_DEFAULTS,
    Behaviour,
    Options,
    behave,
    failing,
    fails,
    for_mail,
    from_query,
)
from waypost.sink.faulty_response import Response, build
from waypost.sink.http_connection import Request
from waypost.sink.request_log import Inbox, RequestLog

#: The name under which emails are logged.
MAIL = "mail"
#: The most URLs whose parsed options are cached.
PLANS = 10_000
#: The most steps in one script.
LONGEST_SCRIPT = 100_000


class Plan(msgspec.Struct, frozen=True, gc=False):
    """The parsed options and prepared responses of one URL."""

    inbox: Inbox
    options: Options
    behaviour: Behaviour
    usual: Response
    failed: Response
    #: Whether some requests fail and others do not.
    varies: bool


class Receivers:
    """All receivers, with their behaviours and scripts."""

    def __init__(self, request_log: RequestLog) -> None:
        self.request_log = request_log
        self._behaviours: dict[str, Options] = {}
        self._scripts: dict[str, deque[Options]] = {}
        self._plans: dict[bytes, Plan] = {}

    def receive(self, request: Request) -> Response:
        """Log a request, and return the response."""
        plan = self._plans.get(request.url)
        if plan is None:
            plan = self._plan(request.url)
        inbox = plan.inbox
        behaviour = plan.behaviour
        attempt = inbox.count(request.webhook_id)
        if inbox.name in self._scripts:
            behaviour = behave(self._behaviours.get(inbox.name, {}), plan.options, self._step(inbox.name))
            answer = build(failing(behaviour) if fails(behaviour, inbox.seen, attempt) else behaviour)
        elif plan.varies and fails(behaviour, inbox.seen, attempt):
            answer = plan.failed
        else:
            answer = plan.usual
        if behaviour.record:
            self.request_log.keep(inbox, request.method, request.url, request.head, request.body, request.webhook_id)
        return answer

    def receive_mail(self, head: bytes, body: bytes, envelope: dict[str, Any]) -> Behaviour:
        """Log an email, and return the behaviour for it."""
        inbox = self.request_log.inbox(MAIL)
        attempt = inbox.count(b"")
        layers = [MAIL_DEFAULTS, self._behaviours.get(MAIL, {})]
        if MAIL in self._scripts:
            layers.append(self._step(MAIL))
        behaviour = behave(*layers)
        if behaviour.record:
            self.request_log.keep(inbox, "MAIL", b"", head, body, b"", envelope)
        return failing(behaviour) if fails(behaviour, inbox.seen, attempt) else behaviour

    def set_behaviour(self, name: str, options: Options) -> None:
        """Set the behaviour of a name; the options of a URL override it."""
        self._behaviours[name] = for_mail(options) if name == MAIL else options
        self._plans.clear()

    def clear_behaviour(self, name: str) -> None:
        """Reset a name to the default behaviour."""
        self._behaviours.pop(name, None)
        self._plans.clear()

    def add_steps(self, name: str, steps: list[Options]) -> int:
        """Append steps to the script of a name, one per future request; return how many are waiting."""
        script = self._scripts.get(name, deque())
        if len(script) + len(steps) > LONGEST_SCRIPT:
            raise Invalid(f"A script can have at most {LONGEST_SCRIPT} waiting steps.", code="invalid_script")
        script.extend(for_mail(step) if name == MAIL else step for step in steps)
        if script:
            self._scripts[name] = script
        return len(script)

    def clear_script(self, name: str) -> None:
        """Delete the waiting steps of a name."""
        self._scripts.pop(name, None)

    def forget(self, name: str | None) -> None:
        """Delete the log of a name, or of all names; behaviours and scripts stay."""
        self.request_log.forget(name)
        # Plans refer to inboxes that were deleted.
        self._plans.clear()

    def _step(self, name: str) -> Options:
        script = self._scripts[name]
        step = script.popleft()
        if not script:
            del self._scripts[name]
        return step

    def _plan(self, url: bytes) -> Plan:
        """Parse the options of a URL; the plan is cached, because the same few URLs repeat."""
        path, _, query = url.partition(b"?")
        name = hook_name(path.decode("latin-1"))
        options = from_query(query.decode("latin-1"))
        behaviour = behave(self._behaviours.get(name, {}), options)
        plan = Plan(
            inbox=self.request_log.inbox(name),
            options=options,
            behaviour=behaviour,
            usual=build(behaviour),
            failed=build(failing(behaviour)),
            varies=bool(behaviour.fail_first or behaviour.fail_rate),
        )
        if len(self._plans) >= PLANS:
            self._plans.clear()
        self._plans[url] = plan
        return plan


def hook_name(path: str) -> str:
    """Return the name in a path such as /hook/NAME."""
    name = unquote(path.split("/", 2)[2]) if path.count("/") > 1 else ""
    if not name:
        raise Invalid("The path has no receiver name. Use /hook/NAME.", code="invalid_name")
    if name == MAIL and path.startswith("/hook/"):
        raise Invalid(f"The name {MAIL!r} is reserved for emails. Choose another name.", code="invalid_name")
    return name
