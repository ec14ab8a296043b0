"""Judge a provider's response to a message by the rules of the connector, then by defaults."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from waypost.clock import DAY, SECOND
from waypost.domain.messaging.message import SendOutcome, Verdict
from waypost.domain.providers.connector import Connector, ErrorRule, ResponseRule, ValueLocation, ValueLocations
from waypost.domain.templates.liquid.expressions import RequestContext, Unbuildable, as_text, compile_text
from waypost.domain.values.json_path import find, find_all, is_like
from waypost.domain.values.retry import retry_after

LONGEST_DETAIL = 500
LONGEST_ID = 200
#: Transport errors (engine/net/outbound.py) after which the provider certainly received no request.
SURELY_NOT = frozenset({"dns", "connect", "tls", "proxy", "not_sent"})
OTHER = 9988
THROTTLED = 2020

_decode = msgspec.json.Decoder().decode


class ProviderResponse(msgspec.Struct, frozen=True, kw_only=True):
    """The response of a provider, or the reason why there is none."""

    #: None if there was no complete response.
    status: int | None
    #: Names in lower case.
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    #: `code: description`, or None.
    error: str | None = None
    #: False if no part of the request was sent.
    sent: bool = True


def judge(connector: Connector, config: Mapping[str, Any], response: ProviderResponse, now: int) -> Verdict:
    """Return what a response, or its absence, means for the message; `now` is in microseconds. Never raises.

    The first rule in the connector's `answers` that matches decides, except that an entry in its `errors` decides a
    4xx or 5xx with that code. Without a rule: 2xx unknown, 3xx, 401, 403, 404, 405 and 407 misconfigured, 429 and
    408 retry, other 4xx rejected, 5xx unknown, or retry where repeating is safe.
    """
    body = _json(response.body)
    context = RequestContext({"config": config})
    code = _first_text(connector.read.code, response, body, context)
    detail = _first_text(connector.read.detail, response, body, context)
    rule: ResponseRule | ErrorRule | None = None
    if response.status is not None and response.status >= 400 and code is not None:
        rule = connector.errors.get(code)
    if rule is None:
        rule = next((one for one in connector.answers if _matches(one, response, body, context)), None)
    plain = _by_default(connector, response) if rule is None else _by_rule(rule, response)
    if plain.outcome is SendOutcome.ACCEPTED:
        found = _first_text(connector.read.id, response, body, context)
        return Verdict(outcome=SendOutcome.ACCEPTED, provider_message_id=found[:LONGEST_ID] if found else None)
    wait = (
        _wait(connector.read.retry_after, response, body, context, now) if plain.outcome is SendOutcome.RETRY else None
    )
    return Verdict(
        outcome=plain.outcome,
        code=plain.code,
        reason=plain.reason,
        provider_code=code[:LONGEST_ID] if code else (f"http_{response.status}" if response.status else None),
        detail=(detail or _shown_text(response))[:LONGEST_DETAIL] or None,
        suppress=plain.suppress,
        retry_after=wait,
    )


def _by_rule(rule: ResponseRule | ErrorRule, response: ProviderResponse) -> Verdict:
    code, reason = rule.code, rule.reason
    if rule.outcome is SendOutcome.REJECTED:
        code, reason = code or OTHER, reason or "refused"
    elif rule.outcome is SendOutcome.RETRY:
        code, reason = code or OTHER, reason or ("provider_5xx" if (response.status or 0) >= 500 else "temporary")
    elif rule.outcome is SendOutcome.UNKNOWN:
        code, reason = code or OTHER, reason or "no_answer"
    elif rule.outcome is SendOutcome.MISCONFIGURED:
        reason = reason or "configuration"
    return Verdict(outcome=rule.outcome, code=code, reason=reason, suppress=rule.suppress)


def _by_default(connector: Connector, response: ProviderResponse) -> Verdict:
    """Return what a response means if no rule of the connector matches."""
    status = response.status
    unsure = SendOutcome.RETRY if connector.idempotent else SendOutcome.UNKNOWN
    if status is None:
        name = (response.error or "").partition(":")[0]
        if name == "address_forbidden":
            return Verdict(outcome=SendOutcome.MISCONFIGURED, reason="address_forbidden")
        if not response.sent or name in SURELY_NOT:
            return Verdict(outcome=SendOutcome.RETRY, code=OTHER, reason="unreachable")
        return Verdict(outcome=unsure, code=OTHER, reason="no_answer")
    if status == 429:
        return Verdict(outcome=SendOutcome.RETRY, code=THROTTLED, reason="throttled")
    if status == 408:
        # The server did not receive the complete request in time.
        return Verdict(outcome=SendOutcome.RETRY, code=OTHER, reason="temporary")
    if 300 <= status < 400:
        return Verdict(outcome=SendOutcome.MISCONFIGURED, reason="redirected")
    if status in (401, 403, 404, 405, 407):
        return Verdict(outcome=SendOutcome.MISCONFIGURED, reason="configuration")
    if 400 <= status < 500:
        return Verdict(outcome=SendOutcome.REJECTED, code=OTHER, reason="refused")
    return Verdict(outcome=unsure, code=OTHER, reason="provider_5xx" if status >= 500 else "no_answer")


def _matches(rule: ResponseRule, response: ProviderResponse, body: Any, context: Mapping[str, Any]) -> bool:
    if rule.error != ():
        names = (rule.error,) if isinstance(rule.error, str) else rule.error
        return response.status is None and (response.error or "").partition(":")[0] in names
    if response.status is None:
        return False
    if rule.status != () and not _has_status(rule.status, response.status, context):
        return False
    for name, expected in rule.header.items():
        if not any(key == name.lower() and is_like(value, expected) for key, value in response.headers):
            return False
    return all(any(is_like(value, expected) for value in find_all(body, path)) for path, expected in rule.body.items())


def _has_status(expected: int | str | tuple[int | str, ...], status: int, context: Mapping[str, Any]) -> bool:
    for one in expected if isinstance(expected, tuple) else (expected,):
        if isinstance(one, int):
            if one == status:
                return True
        elif any(low <= status <= high for low, high in read_statuses(_evaluate(one, context))):
            return True
    return False


def _evaluate(text: str, context: Mapping[str, Any]) -> str:
    """Return the value of an expression, or an empty text if it cannot be evaluated: the message is sent already."""
    try:
        return compile_text(text)(context)
    except Unbuildable:
        return ""


@lru_cache(maxsize=1024)
def read_statuses(text: str) -> tuple[tuple[int, int], ...]:
    """Return the ranges in a text such as `200, 2xx, 200-204`. Parts that cannot be read are left out."""
    found = []
    for part in text.split(","):
        word = part.strip().lower()
        if re.fullmatch(r"[1-5]xx", word):
            found.append((int(word[0]) * 100, int(word[0]) * 100 + 99))
        elif match := re.fullmatch(r"(\d{3})(?:\s*-\s*(\d{3}))?", word):
            found.append((int(match[1]), int(match[2] or match[1])))
    return tuple(found)


def _sources(sources: ValueLocations) -> tuple[str | ValueLocation, ...]:
    return sources if isinstance(sources, tuple) else (sources,)


def _first_text(
    sources: ValueLocations, response: ProviderResponse, body: Any, context: Mapping[str, Any]
) -> str | None:
    for source in _sources(sources):
        found = _value_at(source, response, body, context)
        if found is not None and found != "":
            return as_text(found)
    return None


def _value_at(source: str | ValueLocation, response: ProviderResponse, body: Any, context: Mapping[str, Any]) -> Any:
    if isinstance(source, ValueLocation) and source.header:
        name = source.header.lower()
        return next((value for key, value in response.headers if key == name), None)
    path = _evaluate(source if isinstance(source, str) else source.path, context)
    return find(body, path) if path else None


def _wait(
    sources: ValueLocations, response: ProviderResponse, body: Any, context: Mapping[str, Any], now: int
) -> int | None:
    """Return how long the provider asked to wait, in microseconds, at most a day; None if it did not."""
    for source in _sources(sources):
        found = _value_at(source, response, body, context)
        if found is None:
            continue
        text = as_text(found).strip()
        unit = source.unit if isinstance(source, ValueLocation) else "seconds"
        if unit == "seconds" and (wait := retry_after(text, now)) is not None:
            return wait
        try:
            number = float(text)
        except ValueError:
            continue
        if not 0 <= number < 1e13:
            continue
        if unit == "unix":
            return min(max(int(number * SECOND) - now, 0), DAY)
        return min(int(number * (SECOND if unit == "seconds" else 1000)), DAY)
    return None


def _shown_text(response: ProviderResponse) -> str:
    """Return the text to show if the connector does not locate the provider's error text."""
    if response.status is None:
        return response.error or "no response"
    return response.body[: 4 * LONGEST_DETAIL].decode("utf-8", "replace").replace("\0", "").strip()


def _json(body: bytes) -> Any:
    if not body:
        return None
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        return None
