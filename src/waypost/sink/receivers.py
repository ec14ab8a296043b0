"""Receivers: what each name is told to do, and what it does with a request."""

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
from waypost.sink.faulty_response import Answer, build
from waypost.sink.http_connection import Request
from waypost.sink.request_log import Inbox, Received

#: The name under which mails are kept.
MAIL = "mail"
#: So many URLs are remembered with what they ask for.
PLANS = 10_000
#: So many steps may wait in one script.
LONGEST_SCRIPT = 100_000


class Plan(msgspec.Struct, frozen=True, gc=False):
    """What is known beforehand about requests to one URL."""

    inbox: Inbox
    options: Options
    behaviour: Behaviour
    usual: Answer
    failed: Answer
    #: Whether some requests fail and others do not.
    fickle: bool


class Hooks:
    """The receivers: their behaviours, their scripts, and how far they have come."""

    def __init__(self, received: Received) -> None:
        self.received = received
        self._behaviours: dict[str, Options] = {}
        self._scripts: dict[str, deque[Options]] = {}
        self._plans: dict[bytes, Plan] = {}

    def receive(self, request: Request) -> Answer:
        """Count and keep a request, and give the answer it gets."""
        plan = self._plans.get(request.url)
        if plan is None:
            plan = self._plan(request.url)
        inbox = plan.inbox
        behaviour = plan.behaviour
        attempt = inbox.count(request.webhook_id)
        if inbox.name in self._scripts:
            behaviour = behave(self._behaviours.get(inbox.name, {}), plan.options, self._step(inbox.name))
            answer = build(failing(behaviour) if fails(behaviour, inbox.seen, attempt) else behaviour)
        elif plan.fickle and fails(behaviour, inbox.seen, attempt):
            answer = plan.failed
        else:
            answer = plan.usual
        if behaviour.record:
            self.received.keep(inbox, request.method, request.url, request.head, request.body, request.webhook_id)
        return answer

    def receive_mail(self, head: bytes, body: bytes, envelope: dict[str, Any]) -> Behaviour:
        """Count and keep a mail, and give the behaviour it gets."""
        inbox = self.received.inbox(MAIL)
        attempt = inbox.count(b"")
        layers = [MAIL_DEFAULTS, self._behaviours.get(MAIL, {})]
        if MAIL in self._scripts:
            layers.append(self._step(MAIL))
        behaviour = behave(*layers)
        if behaviour.record:
            self.received.keep(inbox, "MAIL", b"", head, body, b"", envelope)
        return failing(behaviour) if fails(behaviour, inbox.seen, attempt) else behaviour

    def set_behaviour(self, name: str, options: Options) -> None:
        """What a name does from now on, where a URL does not say otherwise."""
        self._behaviours[name] = for_mail(options) if name == MAIL else options
        self._plans.clear()

    def clear_behaviour(self, name: str) -> None:
        """Back to what a name does when nobody has said anything."""
        self._behaviours.pop(name, None)
        self._plans.clear()

    def add_steps(self, name: str, steps: list[Options]) -> int:
        """Put steps, each for one request to come, behind those that wait already; gives how many wait."""
        script = self._scripts.get(name, deque())
        if len(script) + len(steps) > LONGEST_SCRIPT:
            raise Invalid(f"At most {LONGEST_SCRIPT} steps can wait.", code="invalid_script")
        script.extend(for_mail(step) if name == MAIL else step for step in steps)
        if script:
            self._scripts[name] = script
        return len(script)

    def clear_script(self, name: str) -> None:
        """Drop the steps that wait."""
        self._scripts.pop(name, None)

    def forget(self, name: str | None) -> None:
        """Forget what came for a name, or everything; behaviours and scripts stay."""
        self.received.forget(name)
        # Plans hold inboxes, which are no longer those of their names.
        self._plans.clear()

    def _step(self, name: str) -> Options:
        script = self._scripts[name]
        step = script.popleft()
        if not script:
            del self._scripts[name]
        return step

    def _plan(self, url: bytes) -> Plan:
        """What a URL asks for, remembered because the same few URLs come again and again."""
        path, _, query = url.partition(b"?")
        name = hook_name(path.decode("latin-1"))
        options = from_query(query.decode("latin-1"))
        behaviour = behave(self._behaviours.get(name, {}), options)
        plan = Plan(
            inbox=self.received.inbox(name),
            options=options,
            behaviour=behaviour,
            usual=build(behaviour),
            failed=build(failing(behaviour)),
            fickle=bool(behaviour.fail_first or behaviour.fail_rate),
        )
        if len(self._plans) >= PLANS:
            self._plans.clear()
        self._plans[url] = plan
        return plan


def hook_name(path: str) -> str:
    """The name in a path such as /hook/NAME."""
    name = unquote(path.split("/", 2)[2]) if path.count("/") > 1 else ""
    if not name:
        raise Invalid("A receiver has a name: /hook/NAME.", code="invalid_name")
    if name == MAIL and path.startswith("/hook/"):
        raise Invalid(f"{MAIL!r} is where mails are kept; choose another name.", code="invalid_name")
    return name
