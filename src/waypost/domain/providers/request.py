"""Build the HTTP request that sends a message through a connector, without its signature or token."""

import base64
import re
from collections.abc import Mapping, Sequence
from email.utils import parseaddr
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import msgspec

from waypost.clock import SECOND, iso
from waypost.domain.messaging.message import Outgoing
from waypost.domain.providers import body_template
from waypost.domain.providers.connection_config import check_base, read_headers
from waypost.domain.providers.connector import Connector
from waypost.domain.templates.liquid.expressions import Context, RequestContext, Unbuildable, as_text, compile_text
from waypost.domain.values.ids import public

#: The start of an expression, or a slash outside of one, which separates the parts of a path.
_CUT = re.compile(r"\{[{%]|/")


class Authorization(msgspec.Struct, frozen=True, kw_only=True):
    """What is added just before sending: an AWS signature, or an OAuth 2.0 token."""

    #: `aws` or `oauth2`.
    scheme: str
    #: The rendered fields of the connector's `auth`.
    service: str = ""
    region: str = ""
    access_key: str = ""
    secret_key: str = ""
    token_url: str = ""
    client_id: str = ""
    client_secret: str = ""
    scope: str = ""
    audience: str = ""


class UnsignedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request without its signature or token."""

    method: str
    url: str
    #: Header lines, `Name: value`.
    headers: list[str]
    body: bytes
    authorization: Authorization | None = None


def build_request(
    connector: Connector, config: Mapping[str, Any], messages: Sequence[Outgoing], callback_url: str, now: int
) -> UnsignedRequest:
    """Return the request that sends the messages of one call; `now` is in microseconds.

    What stands outside of `$each` sees the first message. Raise Unbuildable if there is no request.
    """
    contexts = [message_context(config, message, callback_url, now) for message in messages]
    context = contexts[0]
    if len(contexts) > 1:
        context = RequestContext({**context, body_template.MESSAGES: contexts})
    encoding = compile_text(connector.encoding)(context).strip().lower()
    if encoding not in body_template.ENCODINGS:
        raise _unusable(f"{encoding[:20]!r} is not an encoding of a body")
    tree = connector.body
    if connector.body_field:
        try:
            tree = body_template.read_text(as_text(config.get(connector.body_field)), encoding)
        except ValueError as error:
            raise _unusable(str(error)) from error
    content = body_template.render(tree, context, connector.drop_empty)
    body, content_type = body_template.write(content, encoding)
    query = body_template.render(connector.query, context, True)
    url = _url(
        connector, context, body_template.pairs(query) + (body_template.pairs(content) if encoding == "query" else [])
    )
    headers = {"Content-Type": content_type} if content_type else {}
    given = dict(connector.headers)
    if connector.headers_field:
        try:
            given |= read_headers(as_text(config.get(connector.headers_field)))
        except ValueError as error:
            raise _unusable(str(error)) from error
    for name, value in given.items():
        # Header names are case-insensitive; the later one wins.
        headers = {known: one for known, one in headers.items() if known.lower() != name.lower()}
        headers[name] = compile_text(value)(context).strip()
    extra, authorization = _authorize(connector, context)
    lines = [_line(name, value) for name, value in (headers | extra).items() if value]
    method = compile_text(connector.method)(context).strip().upper()
    if not (method.isascii() and method.isalpha() and len(method) <= 10):
        raise _unusable(f"{method[:20]!r} is not an HTTP method")
    return UnsignedRequest(method=method, url=url, headers=lines, body=body, authorization=authorization)


def message_context(config: Mapping[str, Any], message: Outgoing, callback_url: str, now: int) -> Context:
    """Return the values that the expressions of a connector can use."""
    content = message.content
    public_id = public("msg", message.id)
    sender_name, sender_email = parseaddr(content.sender)
    reply_name, reply_email = parseaddr(content.reply_to)
    recipient = content.recipient
    values = {
        "config": config,
        "message": {
            "id": public_id,
            "to": message.address,
            "text": content.text,
            "media_urls": content.media_urls,
            "media_url": content.media_urls[0] if content.media_urls else "",
            "click_url": content.click_url,
            "subject": content.subject,
            "preheader": content.preheader,
            "html": content.html,
            "sender": content.sender,
            "sender_name": sender_name,
            "sender_email": sender_email,
            "reply_to": content.reply_to,
            "reply_to_name": reply_name,
            "reply_to_email": reply_email,
            "headers": content.headers,
            "metric": content.metric,
            "properties": content.properties,
            "purpose": message.purpose,
            "metadata": message.metadata,
            "unique_id": public_id,
            "sent_at": iso(now),
            "test": message.test,
        },
        "recipient": {name: recipient.get(name, "") for name in ("profile_id", "user_id", "email", "phone")},
        "callback_url": callback_url,
        # The time left for delivery; at least one second, since some providers accept no less.
        "validity_seconds": max((message.expires_at - now) // SECOND, 1),
        "tracker_url": "",
        "receipts_url": "",
    }
    return RequestContext(values)


def base_url(connector: Connector, config: Mapping[str, Any]) -> str:
    """Return the base URL of requests: scheme, host and port, and the path of the connection's own URL, if any.

    Raise Unbuildable if requests cannot be sent to it.
    """
    own = as_text(config.get(connector.base_url_field)).strip() if connector.base_url_field else ""
    url = own or compile_text(connector.base_url)({"config": config}).strip()
    try:
        check_base(url)
    except ValueError as error:
        raise _unusable(f"{url[:100]!r} is not a URL to send to: {error}") from error
    return url


def _url(connector: Connector, context: Context, query: list[tuple[str, str]]) -> str:
    parts = urlsplit(base_url(connector, context["config"]))
    path = parts.path.rstrip("/") + _path(connector.path, context) if connector.path else parts.path or "/"
    whole_query = "&".join(part for part in (parts.query, urlencode(query)) if part)
    return urlunsplit((parts.scheme, parts.netloc, path, whole_query, ""))


@lru_cache(maxsize=1024)
def split_path(path: str) -> tuple[str, ...]:
    """Return the parts of a path between its slashes. A slash within an expression does not separate."""
    steps, start, position = [], 0, 0
    while (found := _CUT.search(path, position)) is not None:
        position = found.end()
        if found[0] == "/":
            steps.append(path[start : found.start()])
            start = position
        elif (end := path.find("}}" if found[0] == "{{" else "%}", position)) >= 0:
            position = end + 2
        else:
            break
    return (*steps, path[start:])


def _path(path: str, context: Context) -> str:
    """Return the path with its expressions evaluated and percent-encoded, so that no value leaves its part."""
    steps = []
    for step in split_path(path):
        text = compile_text(step)(context)
        if step != text and text in ("", ".", ".."):
            raise _refuse(f"a part of the path {path!r} is {text!r}")
        steps.append(quote(text, safe="~!$&'()*+,;=:@%" if step == text else "~@:!$'()*,;"))
    return "/".join(steps)


def _authorize(connector: Connector, context: Context) -> tuple[dict[str, str], Authorization | None]:
    """Return the authentication header, or what is needed to add it just before sending."""
    auth = connector.auth
    scheme = compile_text(auth.scheme)(context).strip() or "none"

    def part(name: str) -> str:
        return compile_text(getattr(auth, name))(context).strip()

    if scheme == "none":
        return {}, None
    if scheme == "header":
        return {part("header"): part("value")}, None
    if scheme == "bearer":
        return {"Authorization": f"Bearer {part('token')}"}, None
    if scheme == "basic":
        pair = f"{part('username')}:{part('password')}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}, None
    names: tuple[str, ...]
    if scheme == "aws":
        names = ("service", "region", "access_key", "secret_key")
    elif scheme == "oauth2":
        names = ("token_url", "client_id", "client_secret", "scope", "audience")
    else:
        raise _unusable(f"{scheme[:20]!r} is not an authentication scheme")
    return {}, Authorization(scheme=scheme, **{name: part(name) for name in names})


def _line(name: str, value: str) -> str:
    # A line break would begin another header.
    if any(c < " " and c != "\t" for c in name + value) or "\x7f" in value or ":" in name or not name:
        raise _refuse(f"the header {name[:40]!r} contains a line break or a character that HTTP does not allow")
    return f"{name}: {value}"


def _refuse(reason: str) -> Unbuildable:
    return Unbuildable("invalid_request", f"The request cannot be built: {reason}.")


def _unusable(reason: str) -> Unbuildable:
    return Unbuildable("configuration", f"No message can be sent with this configuration: {reason}.")
