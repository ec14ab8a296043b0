"""Send messages through a connection: build the request, sign it, send it, classify the response."""

import asyncio
from collections.abc import Callable
from types import ModuleType
from typing import Any

import msgspec
import structlog

from waypost.domain.messaging.message import Outcome, Outgoing, Verdict
from waypost.domain.providers.connection import Connection
from waypost.domain.providers.request import Authorization, Draft, build_request
from waypost.domain.providers.responses import LONGEST_DETAIL, OTHER, ProviderResponse, judge
from waypost.domain.templates.liquid.expressions import Unbuildable
from waypost.domain.values.ids import public
from waypost.domain.values.masking import MASK, Masker, secret_values
from waypost.engine.net.oauth import TokenCache
from waypost.engine.net.outbound import Outbound
from waypost.engine.net.request import READ_BODY, Request, Response
from waypost.engine.providers.drivers import aws, pinpoint, smtp
from waypost.errors import Invalid

log = structlog.get_logger()

#: Drivers by name, for connectors that a definition alone cannot describe.
DRIVERS: dict[str, ModuleType] = {"pinpoint": pinpoint, "smtp": smtp}
#: Bytes of a body in a test result.
SHOWN_BODY = 16_384
#: Headers with credentials; their values are always masked.
_PROOFS = frozenset({"authorization", "proxy-authorization", "x-amz-security-token"})


class ShownRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it was sent, with secrets masked."""

    method: str
    url: str
    headers: list[tuple[str, str]]
    body: str


class ShownResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A response, with secrets masked."""

    status: int
    headers: list[tuple[str, str]]
    body: str


class TestResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a test message: the request, the response and the verdict."""

    verdict: Verdict
    #: None when no request could be built; the verdict says why.
    request: ShownRequest | None
    response: ShownResponse | None
    error: str | None
    #: When each phase was over, in milliseconds since the start.
    timings: dict[str, float]


class _Call(msgspec.Struct):
    """One call to a provider; without a request when none could be built."""

    verdicts: list[Verdict]
    request: Request | None = None
    response: Response | None = None
    timings: dict[str, float] = {}


class ProviderClient:
    """Sends messages through connections."""

    def __init__(self, outbound: Outbound, callback_url: Callable[[Connection], str]) -> None:
        self._outbound = outbound
        self._callback_url = callback_url
        self._tokens = TokenCache(outbound)

    async def send(self, connection: Connection, messages: list[Outgoing], now: int) -> list[Verdict]:
        """Send up to `connector.batch_size` messages; return a verdict for each, in order.

        Raises nothing for what a provider or a connector does, and Unavailable when this process stops.
        """
        if not messages:
            return []
        if len(messages) > connection.connector.batch_size:
            raise ValueError(f"{len(messages)} messages in a call of {connection.connector.batch_size}")
        driver = DRIVERS.get(connection.connector.driver)
        if driver is None:
            calls = await asyncio.gather(*(self._send_one(connection, message, now) for message in messages))
            return [call.verdicts[0] for call in calls]
        return await self._send_together(driver, connection, messages, now)

    async def send_test(self, connection: Connection, message: Outgoing, now: int) -> TestResult:
        """Send one message now; return the request, the response and the verdict."""
        driver = DRIVERS.get(connection.connector.driver)
        if driver is None:
            call = await self._send_one(connection, message, now)
        else:
            call = await self._call(driver, connection, [message], now)
        response = call.response
        masker = _masker(connection)
        return TestResult(
            verdict=call.verdicts[0],
            request=None if call.request is None else self._show(connection, message, call.request, now),
            response=None
            if response is None or response.status is None
            else ShownResponse(
                status=response.status,
                headers=[(name, masker.mask(value)) for name, value in response.headers],
                body=masker.mask(response.body[:SHOWN_BODY].decode("utf-8", "replace")),
            ),
            error=None if response is None or response.error is None else masker.mask(response.error),
            timings=call.timings,
        )

    async def _send_together(
        self, driver: ModuleType, connection: Connection, messages: list[Outgoing], now: int
    ) -> list[Verdict]:
        """Send messages in as few calls as possible; split a call in halves when one message makes it fail."""
        verdicts: dict[int, Verdict] = {}
        together = getattr(driver, "together", None)
        divisible = getattr(driver, "divisible", None)
        waiting = [list(enumerate(messages))]
        while waiting:
            part = waiting.pop()
            if together is not None and len(part) > 1:
                fits = together([message for _, message in part])
                if left := [one for one, fit in zip(part, fits, strict=True) if not fit]:
                    waiting.append(left)
                part = [one for one, fit in zip(part, fits, strict=True) if fit]
            chosen = [message for _, message in part]
            call = await self._call(driver, connection, chosen, now)
            if len(part) > 1 and divisible and call.response is not None and divisible(chosen, call.response):
                middle = len(part) // 2
                waiting += [part[middle:], part[:middle]]
                continue
            for (index, _), verdict in zip(part, call.verdicts, strict=True):
                verdicts[index] = verdict
        return [verdicts[index] for index in range(len(messages))]

    async def _call(self, driver: ModuleType, connection: Connection, messages: list[Outgoing], now: int) -> _Call:
        try:
            request: Request = driver.prepare(connection, messages, self._callback_url, now)
        except Exception as error:
            return _Call([_unbuilt(connection, error)] * len(messages))
        response, timings = await self._outbound.fetch(request)
        verdicts: list[Verdict] = driver.read(connection, messages, response, now)
        return _Call(_redact(verdicts, connection), request, response, timings)

    async def _send_one(self, connection: Connection, message: Outgoing, now: int) -> _Call:
        """Send one message by the connector's definition."""
        connector, config = connection.connector, connection.config
        try:
            draft = build_request(connector, config, message, self._callback_url(connection), now)
            request = _request(connection, draft, now)
        except Exception as error:
            return _Call([_unbuilt(connection, error)])
        authorization = draft.authorization
        if authorization is None or authorization.scheme != "oauth2":
            response, timings = await self._outbound.fetch(request)
            return self._judge(connection, request, response, timings, now)
        while True:
            token = await self._tokens.find(connection.workspace_id, authorization)
            if token.refused is not None:
                return _Call(_redact([_untokened(connection, token.refused, now)], connection))
            request.headers = [*draft.headers, f"Authorization: Bearer {token.text}"]
            response, timings = await self._outbound.fetch(request)
            if response.status != 401:
                return self._judge(connection, request, response, timings, now)
            self._tokens.drop(connection.workspace_id, authorization, token.text)
            if token.fresh:
                return self._judge(connection, request, response, timings, now)
            # The provider may have revoked a cached token, and took no message with it: retry with a new token.

    def _judge(
        self, connection: Connection, request: Request, response: Response, timings: dict[str, float], now: int
    ) -> _Call:
        verdict = judge(connection.connector, connection.config, _provider_response(response), now)
        return _Call(_redact([verdict], connection), request, response, timings)

    def _show(self, connection: Connection, message: Outgoing, sent: Request, now: int) -> ShownRequest:
        """Build the request again from masked secrets, so that values derived from a secret are masked too."""
        masked = msgspec.structs.replace(connection, config=_mask_config(connection))
        driver = DRIVERS.get(connection.connector.driver)
        try:
            if driver is not None:
                request: Request = driver.prepare(masked, [message], self._callback_url, now)
            else:
                callback_url = self._callback_url(connection)
                draft = build_request(masked.connector, masked.config, message, callback_url, now)
                request = _request(masked, draft, now)
                if draft.authorization is not None and draft.authorization.scheme == "oauth2":
                    request.headers = [*draft.headers, f"Authorization: Bearer {MASK}"]
        except Exception:
            # The connector refuses the mask in place of the value.
            return ShownRequest(method=sent.method, url="", headers=[], body="")
        masker = _masker(connection)
        pairs = [(name, value.strip()) for name, _, value in (line.partition(":") for line in request.headers)]
        return ShownRequest(
            method="SMTP" if request.envelope is not None else request.method,
            url=masker.mask(request.url),
            headers=[
                (name, _masked_proof(value) if name.lower() in _PROOFS else masker.mask(value)) for name, value in pairs
            ],
            body=masker.mask(request.body[:SHOWN_BODY].decode("utf-8", "replace")),
        )


def _request(connection: Connection, draft: Draft, now: int) -> Request:
    """Return the request as it is sent, without an OAuth token."""
    authorization = draft.authorization
    headers = draft.headers
    if authorization is not None and authorization.scheme == "aws":
        headers = _sign(authorization, draft, now)
    connector = connection.connector
    return Request(
        draft.url,
        draft.body,
        headers,
        connector.timeout_ms,
        method=draft.method,
        keep=READ_BODY,
        once=not connector.idempotent,
    )


def _sign(authorization: Authorization, draft: Draft, now: int) -> list[str]:
    return aws.sign(
        draft.method,
        draft.url,
        draft.headers,
        draft.body,
        service=authorization.service,
        region=authorization.region,
        access_key=authorization.access_key,
        secret_key=authorization.secret_key,
        now=now,
    )


def _provider_response(response: Response) -> ProviderResponse:
    return ProviderResponse(
        status=response.status,
        headers=response.headers,
        body=response.body,
        error=response.error,
        sent=response.sent,
    )


def _unbuilt(connection: Connection, error: Exception) -> Verdict:
    """Return the verdict for a message whose request cannot be built: nothing was sent, and a retry would not help."""
    if not isinstance(error, Invalid):
        log.error(
            "a provider request could not be built",
            action="request_unmade",
            connection=public("con", connection.id),
            exc_info=error,
        )
        return Verdict(outcome=Outcome.REJECTED, code=OTHER, reason="cannot_build")
    detail = _masker(connection).mask(error.detail)[:LONGEST_DETAIL]
    reason = error.reason if isinstance(error, Unbuildable) else error.code
    if reason in ("configuration", "invalid_config"):
        return Verdict(outcome=Outcome.MISCONFIGURED, reason="configuration", detail=detail)
    return Verdict(outcome=Outcome.REJECTED, code=OTHER, reason=reason, detail=detail)


def _untokened(connection: Connection, refused: ProviderResponse, now: int) -> Verdict:
    """Return the verdict for a message that was not sent because there is no access token."""
    status = refused.status
    if status is None or status == 429 or status >= 500:
        name = (refused.error or "").partition(":")[0]
        outcome = Outcome.MISCONFIGURED if name == "address_forbidden" else Outcome.RETRY
        reason = "address_forbidden" if name == "address_forbidden" else "no_token"
        code = None if outcome is Outcome.MISCONFIGURED else OTHER
    else:
        outcome, reason, code = Outcome.MISCONFIGURED, "no_token", None
    words = refused.error or refused.body[:LONGEST_DETAIL].decode("utf-8", "replace")
    detail = f"no access token: {f'{status} ' if status else ''}{words}"[:LONGEST_DETAIL]
    return Verdict(
        outcome=outcome, code=code, reason=reason, provider_code=f"http_{status}" if status else None, detail=detail
    )


def _redact(verdicts: list[Verdict], connection: Connection) -> list[Verdict]:
    """Mask secrets that a provider repeats in its response."""
    if all(verdict.detail is None for verdict in verdicts):
        return verdicts
    masker = _masker(connection)
    return [
        verdict
        if verdict.detail is None or (detail := masker.mask(verdict.detail)) == verdict.detail
        else msgspec.structs.replace(verdict, detail=detail[:LONGEST_DETAIL])
        for verdict in verdicts
    ]


def _masker(connection: Connection) -> Masker:
    return Masker(secret_values(connection.connector, connection.config))


def _masked_proof(value: str) -> str:
    scheme, space, _ = value.partition(" ")
    return f"{scheme} {MASK}" if space else MASK


def _mask_config(connection: Connection) -> dict[str, Any]:
    config = dict(connection.config)
    for field in connection.connector.fields:
        value = config.get(field.name)
        if field.secret and isinstance(value, str) and value:
            config[field.name] = _mask_lines(value) if field.format == "headers" else MASK
    return config


def _mask_lines(text: str) -> str:
    """Mask the values of header lines."""
    return "\n".join(f"{line.partition(':')[0]}: {MASK}" for line in text.splitlines() if line.strip())
