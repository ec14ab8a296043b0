"""Small pages in HTML for people: they load nothing, run nothing, and are kept nowhere."""

import base64
import hashlib
from html import escape

from waypost.api.edge.asgi import Headers
from waypost.api.problems import SECURITY_HEADERS

_STYLE = (
    "body{font:1.1em/1.5 system-ui,sans-serif;max-width:32em;margin:15vh auto;padding:0 1.5em;color:#222}"
    "h1{font-size:1.4em}label{display:block;margin:.6em 0}button{font:inherit;padding:.5em 1.2em;margin-top:1em}"
    "small{color:#666}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
#: Of every answer: nothing is cached, listed by search engines, or told to the page behind the link.
UNSEEN: Headers = [
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-robots-tag", b"noindex, nofollow"),
]
_SECURITY = [(name, value) for name, value in SECURITY_HEADERS if name != b"content-security-policy"]


def page(title: str, content: str, *, form: bool = False) -> tuple[Headers, bytes]:
    """Return the headers and the body of a page; `content` is HTML. With `form`, it may send a form to this server."""
    body = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>'
        f"<body><h1>{escape(title)}</h1>{content}</body></html>"
    ).encode("utf-8", "replace")
    action = "'self'" if form else "'none'"
    policy = (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action {action}; base-uri 'none'; "
        "frame-ancestors 'none'"
    )
    return [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        *UNSEEN,
        *_SECURITY,
        (b"content-security-policy", policy.encode()),
    ], body


def words(text: str) -> str:
    """Return a paragraph of a page with this text."""
    return f"<p>{escape(text)}</p>"
