"""The routes to unsubscribe and to choose preferences as raw ASGI: `/u/{token}` and `/u/{token}/preferences`.

A POST with `List-Unsubscribe=One-Click` unsubscribes at once (RFC 8058), whoever sends it and without cookies. A GET
never changes anything: scanners follow every link of a mail.
"""

from email.parser import BytesParser
from email.policy import HTTP
from functools import partial
from html import escape
from urllib.parse import parse_qsl

import structlog

from waypost.api.edge.asgi import Headers, HttpScope, Receive, Send, answer, read_body, refuse
from waypost.api.edge.pages import UNSEEN, page, words
from waypost.api.edge.visits import read_visit
from waypost.api.problems import unexpected_error
from waypost.domain.tracking.mail_tokens import UNSUBSCRIBE_PATH, UnsubscribeTarget
from waypost.domain.values.ids import internal, public
from waypost.engine.process import Engine
from waypost.engine.tracking.mail import PREFERENCES
from waypost.engine.tracking.preferences import (
    MOST_LISTS,
    PreferenceProof,
    Preferences,
    load_preferences,
    save_preferences,
    unsubscribe,
)
from waypost.errors import Error, Invalid, NotFound

log = structlog.get_logger()

#: The largest body: enough for all lists of a page.
BODY_BYTES = 64 * 1024
_METHODS = b"GET, HEAD, POST"
_ONE_CLICK = ("list-unsubscribe", "one-click")
_NAMES = {"email": "Email to {}", "sms": "Text messages to {}", "event": "Messages to {}"}
_PLAIN: Headers = [(b"content-type", b"text/plain; charset=utf-8"), *UNSEEN]

Answer = tuple[int, Headers, bytes]

_UNKNOWN = page(
    "This link does not exist",
    words("Please check that the address is complete, or open the link in the message again."),
)


class PreferenceRoute:
    """Serves `/u/{token}` and `/u/{token}/preferences`, without a key: the token says who asks."""

    def __init__(self, engine: Engine) -> None:
        self._database = engine.database
        self._recorder = engine.recorder
        self._tracker = engine.tracker
        self._trusted = engine.trusted_proxies
        self._closed = engine.closed

    async def __call__(self, scope: HttpScope, receive: Receive, send: Send) -> bool:
        """Serve one request; return False, without a response, if the path is another one."""
        if scope["type"] != "http" or not (path := scope["path"]).startswith(UNSUBSCRIBE_PATH):
            return False
        try:
            if scope["method"] not in ("GET", "HEAD", "POST"):
                raise Invalid("This path supports only GET, HEAD and POST.", code="method_not_allowed")
            await answer(send, *await self._serve(path[len(UNSUBSCRIBE_PATH) :], scope, receive))
        except Error as error:
            await refuse(send, error, _METHODS, UNSEEN)
        except Exception as error:
            log.error("request failed", action="request_failed", path=UNSUBSCRIBE_PATH, exc_info=error)
            await refuse(send, unexpected_error(), _METHODS, UNSEEN)
        return True

    async def _serve(self, path: str, scope: HttpScope, receive: Receive) -> Answer:
        token, _, rest = path.partition("/")
        target = self._tracker.tokens.read_unsubscribe(token)
        if target is None or target.workspace_id in self._closed or rest not in ("", PREFERENCES[1:]):
            return 404, *_UNKNOWN
        if scope["method"] != "POST":
            known = await self._database.read(load_preferences, target)
            return 200, *(_choices(token, known) if rest else _question(token, target, known))
        fields = _read_form(scope, await read_body(receive, b"", BODY_BYTES))
        return await (self._save(token, target, fields, scope) if rest else self._leave(token, target, fields, scope))

    async def _leave(
        self, token: str, target: UnsubscribeTarget, fields: list[tuple[str, str]], scope: HttpScope
    ) -> Answer:
        """Unsubscribe, by the mail program or by the button of the page."""
        one_click = any((name.strip().lower(), value.strip().lower()) == _ONE_CLICK for name, value in fields)
        if not one_click and ("unsubscribe", "yes") not in fields:
            raise Invalid("The body must be List-Unsubscribe=One-Click (RFC 8058).", code="invalid_body")
        proof = self._proof("one_click" if one_click else "unsubscribe_page", scope)
        await self._recorder.perform(partial(unsubscribe, target=target, proof=proof))
        if one_click:
            body = b"You are unsubscribed.\n"
            return 200, [(b"content-length", b"%d" % len(body)), *_PLAIN], body
        link = f'<p><a href="{UNSUBSCRIBE_PATH}{token}{PREFERENCES}">Choose what you get</a></p>'
        done = words(f"{_masked(target.address)} gets no more of these messages.")
        return 200, *page("You are unsubscribed", done + link)

    async def _save(
        self, token: str, target: UnsubscribeTarget, fields: list[tuple[str, str]], scope: HttpScope
    ) -> Answer:
        """Store the choices of the page. A box that is not checked is not sent, so the page names all of them."""
        checked = {value for name, value in fields if name == "chosen"}
        channels: dict[str, bool] = {}
        lists: dict[int, bool] = {}
        for name, value in fields:
            if name != "shown":
                continue
            if value in _NAMES:
                channels[value] = value in checked
            else:
                try:
                    lists[internal("lst", value)] = value in checked
                except NotFound as error:
                    raise Invalid("The form was not sent by the page of this link.", code="invalid_body") from error
        proof = self._proof("preference_page", scope)
        await self._recorder.perform(
            partial(save_preferences, target=target, channels=channels, lists=lists, proof=proof)
        )
        known = await self._database.read(load_preferences, target)
        return 200, *_choices(token, known, saved=True)

    def _proof(self, source: str, scope: HttpScope) -> PreferenceProof:
        visit = read_visit(scope["method"], scope, self._trusted)
        return PreferenceProof(source, visit.ip, visit.user_agent)


def _question(token: str, target: UnsubscribeTarget, known: Preferences) -> tuple[Headers, bytes]:
    """Return the page of the link to unsubscribe."""
    path = f"{UNSUBSCRIBE_PATH}{token}"
    from_ = f" from {known.organization}" if known.organization else ""
    question = words(f"Shall {_masked(target.address)} get no more messages{from_}?")
    form = (
        f'<form method="post" action="{path}"><input type="hidden" name="unsubscribe" value="yes">'
        '<button type="submit">Unsubscribe</button></form>'
    )
    link = f'<p><small><a href="{path}{PREFERENCES}">Choose what you get instead</a></small></p>'
    return page("Unsubscribe", question + form + link, form=True)


def _choices(token: str, known: Preferences, *, saved: bool = False) -> tuple[Headers, bytes]:
    """Return the preference page."""
    boxes = [
        _box(one.channel, _NAMES[one.channel].format(_masked(one.address)), checked=one.chosen)
        for one in known.channels
    ]
    boxes += [_box(public("lst", one.id), one.name, checked=one.chosen) for one in known.lists[:MOST_LISTS]]
    from_ = f" from {known.organization}" if known.organization else ""
    said = words("Your choice is saved." if saved else f"Which messages{from_} do you want to get?")
    form = (
        f'<form method="post" action="{UNSUBSCRIBE_PATH}{token}{PREFERENCES}">{"".join(boxes)}'
        '<button type="submit">Save</button></form>'
    )
    return page("Your preferences", said + form, form=True)


def _box(value: str, label: str, *, checked: bool) -> str:
    return (
        f'<input type="hidden" name="shown" value="{escape(value)}"><label><input type="checkbox" name="chosen" '
        f'value="{escape(value)}"{" checked" if checked else ""}> {escape(label)}</label>'
    )


def _masked(address: str) -> str:
    """Return an address as a page shows it: enough for its owner to know it, and not for others."""
    local, at, domain = address.rpartition("@")
    return f"{local[:1]}•••@{domain}" if at else f"•••{address[-3:]}"


def _read_form(scope: HttpScope, body: bytes) -> list[tuple[str, str]]:
    """Return the fields of a form, in either encoding. Raise Invalid if it is none."""
    given = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    try:
        if given.lower().startswith(b"multipart/form-data"):
            whole = BytesParser(policy=HTTP).parsebytes(b"Content-Type: %b\r\n\r\n%b" % (given, body))
            parts = whole.iter_parts() if whole.is_multipart() else ()
            return [
                (str(part.get_param("name", "", header="content-disposition")), _content(part.get_payload(decode=True)))
                for part in parts
            ]
        return parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=1000)
    except ValueError as error:
        raise Invalid("The body is not that of a form.", code="invalid_body") from error


def _content(payload: object) -> str:
    return payload.decode("utf-8") if isinstance(payload, bytes) else ""
