"""What a provider's answer means for a message: a connector's rules first, then what holds for everybody."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from waypost.clock import DAY, SECOND
from waypost.domain.messaging.message import Outcome, Verdict
from waypost.domain.providers.connector import Answer, Connector, Fault, Source, Sources
from waypost.domain.templates.liquid.expressions import as_text, compile_text
from waypost.domain.values.json_path import find, find_all, is_like
from waypost.domain.values.retry import retry_after

LONGEST_DETAIL = 500
LONGEST_ID = 200
#: Transport errors after which the provider surely took nothing (see engine.outbound for the words).
SURELY_NOT = frozenset({"dns", "connect", "tls", "proxy", "not_sent"})
OTHER = 9988
THROTTLED = 2020

_decode = msgspec.json.Decoder().decode


class ProviderResponse(msgspec.Struct, frozen=True, kw_only=True):
    """What came back from a provider, or why nothing did."""

    #: None when there was no whole answer.
    status: int | None
    #: Names in lower case.
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    #: `code: words`, or None.
    error: str | None = None
    #: False when nothing of the request left.
    sent: bool = True


def judge(connector: Connector, config: Mapping[str, Any], heard: ProviderResponse, now: int) -> Verdict:
    """What an answer, or its absence, means for the message; never raises.

    The first of the connector's `answers` that fits decides, but a refusal (4xx and 5xx) whose code is among its
    `errors` is decided by that. Without a rule: 2xx unknown, 3xx, 401, 403, 404, 405 and 407 misconfigured, 429 and
    408 retry, other 4xx rejected, 5xx unknown, or retry where repeating is safe.
    """
    body = _json(heard.body)
    context = {"config": config}
    code = _first_text(connector.read.code, heard, body, context)
    detail = _first_text(connector.read.detail, heard, body, context)
    rule: Answer | Fault | None = None
    if heard.status is not None and heard.status >= 400 and code is not None:
        rule = connector.errors.get(code)
    if rule is None:
        rule = next((one for one in connector.answers if _fits(one, heard, body, context)), None)
    plain = _by_custom(connector, heard) if rule is None else _by_rule(rule, heard)
    if plain.outcome is Outcome.ACCEPTED:
        found = _first_text(connector.read.id, heard, body, context)
        return Verdict(outcome=Outcome.ACCEPTED, provider_message_id=found[:LONGEST_ID] if found else None)
    wait = _wait(connector.read.retry_after, heard, body, context, now) if plain.outcome is Outcome.RETRY else None
    return Verdict(
        outcome=plain.outcome,
        code=plain.code,
        reason=plain.reason,
        provider_code=code[:LONGEST_ID] if code else (f"http_{heard.status}" if heard.status else None),
        detail=(detail or _words(heard))[:LONGEST_DETAIL] or None,
        suppress=plain.suppress,
        retry_after=wait,
    )


def _by_rule(rule: Answer | Fault, heard: ProviderResponse) -> Verdict:
    code, reason = rule.code, rule.reason
    if rule.outcome is Outcome.REJECTED:
        code, reason = code or OTHER, reason or "refused"
    elif rule.outcome is Outcome.RETRY:
        code, reason = code or OTHER, reason or ("provider_5xx" if (heard.status or 0) >= 500 else "temporary")
    elif rule.outcome is Outcome.UNKNOWN:
        code, reason = code or OTHER, reason or "no_answer"
    elif rule.outcome is Outcome.MISCONFIGURED:
        reason = reason or "configuration"
    return Verdict(outcome=rule.outcome, code=code, reason=reason, suppress=rule.suppress)


def _by_custom(connector: Connector, heard: ProviderResponse) -> Verdict:
    """What an answer means where the connector has no word for it."""
    status = heard.status
    unsure = Outcome.RETRY if connector.idempotent else Outcome.UNKNOWN
    if status is None:
        name = (heard.error or "").partition(":")[0]
        if name == "address_forbidden":
            return Verdict(outcome=Outcome.MISCONFIGURED, reason="address_forbidden")
        if not heard.sent or name in SURELY_NOT:
            return Verdict(outcome=Outcome.RETRY, code=OTHER, reason="unreachable")
        return Verdict(outcome=unsure, code=OTHER, reason="no_answer")
    if status == 429:
        return Verdict(outcome=Outcome.RETRY, code=THROTTLED, reason="throttled")
    if status == 408:
        # The server waited for the rest of the request and did not get it.
        return Verdict(outcome=Outcome.RETRY, code=OTHER, reason="temporary")
    if 300 <= status < 400:
        return Verdict(outcome=Outcome.MISCONFIGURED, reason="redirected")
    if status in (401, 403, 404, 405, 407):
        return Verdict(outcome=Outcome.MISCONFIGURED, reason="configuration")
    if 400 <= status < 500:
        return Verdict(outcome=Outcome.REJECTED, code=OTHER, reason="refused")
    return Verdict(outcome=unsure, code=OTHER, reason="provider_5xx" if status >= 500 else "no_answer")


def _fits(rule: Answer, heard: ProviderResponse, body: Any, context: Mapping[str, Any]) -> bool:
    if rule.error != ():
        names = (rule.error,) if isinstance(rule.error, str) else rule.error
        return heard.status is None and (heard.error or "").partition(":")[0] in names
    if heard.status is None:
        return False
    if rule.status != () and not _has_status(rule.status, heard.status, context):
        return False
    for name, wanted in rule.header.items():
        if not any(key == name.lower() and is_like(value, wanted) for key, value in heard.headers):
            return False
    return all(any(is_like(value, wanted) for value in find_all(body, path)) for path, wanted in rule.body.items())


def _has_status(wanted: int | str | tuple[int | str, ...], status: int, context: Mapping[str, Any]) -> bool:
    for one in wanted if isinstance(wanted, tuple) else (wanted,):
        if isinstance(one, int):
            if one == status:
                return True
        elif any(low <= status <= high for low, high in read_statuses(compile_text(one)(context))):
            return True
    return False


@lru_cache(maxsize=1024)
def read_statuses(text: str) -> tuple[tuple[int, int], ...]:
    """The ranges that `200, 2xx, 200-204` stands for; what cannot be read stands for nothing."""
    found = []
    for part in text.split(","):
        word = part.strip().lower()
        if re.fullmatch(r"[1-5]xx", word):
            found.append((int(word[0]) * 100, int(word[0]) * 100 + 99))
        elif match := re.fullmatch(r"(\d{3})(?:\s*-\s*(\d{3}))?", word):
            found.append((int(match[1]), int(match[2] or match[1])))
    return tuple(found)


def _sources(sources: Sources) -> tuple[str | Source, ...]:
    return sources if isinstance(sources, tuple) else (sources,)


def _first_text(sources: Sources, heard: ProviderResponse, body: Any, context: Mapping[str, Any]) -> str | None:
    for source in _sources(sources):
        found = _look(source, heard, body, context)
        if found is not None and found != "":
            return as_text(found)
    return None


def _look(source: str | Source, heard: ProviderResponse, body: Any, context: Mapping[str, Any]) -> Any:
    if isinstance(source, Source) and source.header:
        name = source.header.lower()
        return next((value for key, value in heard.headers if key == name), None)
    path = compile_text(source if isinstance(source, str) else source.path)(context)
    return find(body, path) if path else None


def _wait(sources: Sources, heard: ProviderResponse, body: Any, context: Mapping[str, Any], now: int) -> int | None:
    """How long the provider asked to wait, in microseconds, at most a day."""
    for source in _sources(sources):
        found = _look(source, heard, body, context)
        if found is None:
            continue
        text = as_text(found).strip()
        unit = source.unit if isinstance(source, Source) else "seconds"
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


def _words(heard: ProviderResponse) -> str:
    """What to show where the connector does not say where the provider's words are."""
    if heard.status is None:
        return heard.error or "no answer"
    return heard.body[: 4 * LONGEST_DETAIL].decode("utf-8", "replace").replace("\0", "").strip()


def _json(body: bytes) -> Any:
    if not body:
        return None
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        return None
