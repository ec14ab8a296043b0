"""The page on which a person confirms to be on a list. Only its button confirms: programs follow the links of mails."""

import base64
import hashlib
from html import escape

import structlog

from waypost.api.edge.asgi import Headers, HttpScope, Receive, Send, answer, refuse
from waypost.api.problems import SECURITY_HEADERS, unexpected_error
from waypost.domain.audience.lists import CONFIRM_PATH, MemberState
from waypost.engine.messaging.confirmations import Confirmations
from waypost.errors import Error, Invalid

log = structlog.get_logger()

_METHODS = b"GET, HEAD, POST"
_STYLE = (
    "body{font:1.1em/1.5 system-ui,sans-serif;max-width:32em;margin:15vh auto;padding:0 1.5em;color:#222}"
    "h1{font-size:1.4em}"
    "button{font:inherit;padding:.6em 1.4em;border:0;border-radius:.4em;background:#1a56db;color:#fff}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; frame-ancestors 'none'"


class ConfirmationRoute:
    """Serves `GET` and `POST` of `/l/{token}`."""

    def __init__(self, confirmations: Confirmations) -> None:
        self._confirmations = confirmations

    async def __call__(self, scope: HttpScope, receive: Receive, send: Send) -> bool:
        """Serve one request; return False, without a response, if the path is not that of a confirmation."""
        if scope["type"] != "http" or not (path := scope["path"]).startswith(CONFIRM_PATH):
            return False
        try:
            if scope["method"] not in ("GET", "HEAD", "POST"):
                raise Invalid("This page supports only GET, HEAD and POST.", code="method_not_allowed")
            await self._serve(path[len(CONFIRM_PATH) :], scope["method"] == "POST", send)
        except Error as error:
            await refuse(send, error, _METHODS)
        except Exception as error:
            log.error("request failed", action="request_failed", path=CONFIRM_PATH, exc_info=error)
            await refuse(send, unexpected_error(), _METHODS)
        return True

    async def _serve(self, token: str, posted: bool, send: Send) -> None:
        if posted and token.isascii() and (name := await self._confirmations.confirm(token)) is not None:
            await answer(send, 200, *_page("Thank you", f"You are on the list “{escape(name)}” now."))
            return
        found = await self._confirmations.find(token) if not posted and token.isascii() else None
        if found is None or found[1] is MemberState.UNSUBSCRIBED:
            words = "Please check that the address is complete, or sign up again to get another mail."
            await answer(send, 404, *_page("This link is not valid any more", words))
        elif found[1] is MemberState.SUBSCRIBED:
            await answer(send, 200, *_page("Thank you", f"You are on the list “{escape(found[0].name)}”."))
        else:
            button = '<form method="post"><button>Yes, I want to be on the list</button></form>'
            words = f"Do you want to get the mails of the list “{escape(found[0].name)}”? If not, just close this page."
            await answer(send, 200, *_page("Please confirm", words, button))


def _page(title: str, words: str, more: str = "") -> tuple[Headers, bytes]:
    body = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>'
        f"<body><h1>{title}</h1><p>{words}</p>{more}</body></html>"
    ).encode()
    security = [(name, value) for name, value in SECURITY_HEADERS if name != b"content-security-policy"]
    return [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"referrer-policy", b"no-referrer"),
        (b"x-robots-tag", b"noindex, nofollow"),
        *security,
        (b"content-security-policy", _POLICY.encode()),
    ], body
