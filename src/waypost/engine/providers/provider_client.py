"""Send messages through a connection: build the request, sign it, send it, classify the response."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec
import structlog

from waypost.domain.messaging.message import Outgoing, SendOutcome, Verdict
from waypost.domain.messaging.return_path import BounceTokens, return_path
from waypost.domain.providers.connection import Connection, secret_values
from waypost.domain.providers.request import Authorization, UnsignedRequest, build_request
from waypost.domain.providers.responses import LONGEST_DETAIL, OTHER, ProviderResponse, judge
from waypost.domain.templates.liquid.expressions import Unbuildable
from waypost.domain.values.ids import public
from waypost.domain.values.masking import MASK, Masker
from waypost.engine.net.oauth import TokenCache
from waypost.engine.net.outbound import Outbound
from waypost.engine.net.request import READ_BODY, Request, Response
from waypost.engine.providers.drivers import aws, pinpoint, smtp
from waypost.engine.providers.drivers.driver import Driver
from waypost.errors import Invalid

log = structlog.get_logger()

#: The drivers, by the name that a connector has for its own.
DRIVERS: dict[str, Driver] = {"pinpoint": pinpoint, "smtp": smtp}
#: The bytes of a body that a test result contains.
LARGEST_BODY = 16_384
#: Headers that contain credentials, whichever fields of the connector are secret.
_CREDENTIAL_HEADERS = frozenset({"authorization", "proxy-authorization", "x-amz-security-token"})
#: The messages of a call that failed may have been sent; those of the calls after it were not.
_CALL_FAILED = Verdict(outcome=SendOutcome.UNKNOWN, code=OTHER, reason="internal")
_NOT_SENT = Verdict(outcome=SendOutcome.RETRY, code=OTHER, reason="unsent", retry_after=0)


class MaskedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it was sent, with masked secrets."""

    method: str
    url: str
    headers: list[tuple[str, str]]
    body: str


class MaskedResponse(msgspec.Struct, frozen=True, kw_only=True):
    """The response to a test, with masked secrets."""

    status: int
    headers: list[tuple[str, str]]
    body: str


class TestResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a test send: the request, the response, and the verdict."""

    verdict: Verdict
    #: None if no request could be built; the verdict says why.
    request: MaskedRequest | None
    response: MaskedResponse | None
    error: str | None
    #: The end of each phase, in milliseconds since the start.
    timings: dict[str, float]


class _Call(msgspec.Struct):
    """A call to a provider, or the reason why it could not be made."""

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
        #: Makes the return paths of mails; None until the process has started.
        self.bounces: BounceTokens | None = None
        #: How many processes send through the same connections; each takes its share of their concurrency.
        self.share = 1

    def slots(self, connection: Connection) -> int:
        """Return how many calls this process may send at once through a connection."""
        return max(connection.concurrency // self.share, 1)

    def calls(self, connection: Connection) -> int:
        """Return how many calls may be in progress at once: those being sent, and those that a driver queues."""
        driver = DRIVERS.get(connection.connector.driver)
        return self.slots(connection) * (1 if driver is None else driver.CALLS_PER_SLOT)

    async def send(self, connection: Connection, messages: list[Outgoing], now: int) -> list[Verdict]:
        """Send up to `connector.batch_size` messages; return a verdict for each, in order.

        Raises Unavailable when this process stops meanwhile, and nothing for any response or any connector.
        """
        if not messages:
            return []
        if len(messages) > connection.connector.batch_size:
            raise ValueError(f"{len(messages)} messages in a call of {connection.connector.batch_size}")
        driver = DRIVERS.get(connection.connector.driver)
        if len(messages) == 1:
            return (await self._call(driver, connection, messages, now)).verdicts
        return await self._send_together(driver, connection, messages, now)

    async def send_test(self, connection: Connection, message: Outgoing, now: int) -> TestResult:
        """Send one message now; return the request, the response and the verdict."""
        call = await self._call(DRIVERS.get(connection.connector.driver), connection, [message], now)
        response = call.response
        masker = _masker(connection)
        return TestResult(
            verdict=call.verdicts[0],
            request=None if call.request is None else self._mask(connection, message, call.request, now),
            response=None
            if response is None or response.status is None
            else MaskedResponse(
                status=response.status,
                headers=[(name, masker.mask(value)) for name, value in response.headers],
                body=masker.mask(response.body[:LARGEST_BODY].decode("utf-8", "replace")),
            ),
            error=None if response is None or response.error is None else masker.mask(response.error),
            timings=call.timings,
        )

    async def _send_together(
        self, driver: Driver | None, connection: Connection, messages: list[Outgoing], now: int
    ) -> list[Verdict]:
        """Send messages in as few calls as possible; send a call in halves if one message got it refused.

        When a call fails with an exception, the verdicts of the calls before it stay, and no more calls are made.
        """
        verdicts: dict[int, Verdict] = {}
        waiting = [list(enumerate(messages))]
        while waiting:
            part = waiting.pop()
            fits = [True] * len(part) if driver is None else driver.together([message for _, message in part])
            if left := [one for one, fit in zip(part, fits, strict=True) if not fit]:
                waiting.append(left)
            part = [one for one, fit in zip(part, fits, strict=True) if fit]
            chosen = [message for _, message in part]
            try:
                call = await self._call(driver, connection, chosen, now)
            except Exception:
                if len(part) == len(messages):
                    # There are no verdicts of other calls to keep.
                    raise
                log.exception("a call failed", action="call_failed", connection=public("con", connection.id))
                verdicts.update((index, _CALL_FAILED) for index, _ in part)
                verdicts.update((index, _NOT_SENT) for other in waiting for index, _ in other)
                break
            if len(part) > 1 and _divisible(driver, chosen, call):
                middle = len(part) // 2
                waiting += [part[middle:], part[:middle]]
                continue
            for (index, _), verdict in zip(part, call.verdicts, strict=True):
                verdicts[index] = verdict
        return [verdicts[index] for index in range(len(messages))]

    async def _call(self, driver: Driver | None, connection: Connection, messages: list[Outgoing], now: int) -> _Call:
        if driver is None:
            return await self._call_as_described(connection, messages, now)
        if self.bounces is not None and (address := connection.config.get("return_path")):
            for message in messages:
                message.return_path = return_path(address, self.bounces.token(message.id))
        try:
            request = driver.prepare(connection, messages, self._callback_url, now)
        except Exception as error:
            return _Call([_judge_unbuilt(connection, error)] * len(messages))
        request.sessions = self.slots(connection)
        response, timings = await self._outbound.fetch(request)
        verdicts = driver.read(connection, messages, response, now)
        return _Call(_redact(verdicts, connection), request, response, timings)

    async def _call_as_described(self, connection: Connection, messages: list[Outgoing], now: int) -> _Call:
        """Send the messages of one call as the definition of the connector describes."""
        connector, config = connection.connector, connection.config
        try:
            draft = build_request(connector, config, messages, self._callback_url(connection), now)
            request = _request(connection, draft, now)
        except Exception as error:
            return _Call([_judge_unbuilt(connection, error)] * len(messages))

        def judged(response: Response, timings: dict[str, float]) -> _Call:
            verdict = judge(connector, config, _provider_response(response), now)
            return _Call(_redact([verdict] * len(messages), connection), request, response, timings)

        authorization = draft.authorization
        if authorization is None or authorization.scheme != "oauth2":
            return judged(*await self._outbound.fetch(request))
        while True:
            token = await self._tokens.find(connection.workspace_id, authorization)
            if token.refused is not None:
                verdict = _judge_no_token(connection, token.refused, now)
                return _Call(_redact([verdict] * len(messages), connection))
            request.headers = [*draft.headers, f"Authorization: Bearer {token.text}"]
            response, timings = await self._outbound.fetch(request)
            if response.status != 401:
                return judged(response, timings)
            self._tokens.drop(connection.workspace_id, authorization, token.text)
            if token.fresh:
                return judged(response, timings)
            # The provider may have revoked a cached token. It did not accept the message, so send it with a new token.

    def _mask(self, connection: Connection, message: Outgoing, sent: Request, now: int) -> MaskedRequest:
        """Return the request, built again from masked secrets, so that no value derived from a secret is in it."""
        masked = msgspec.structs.replace(connection, config=_mask_config(connection))
        driver = DRIVERS.get(connection.connector.driver)
        try:
            if driver is not None:
                request = driver.prepare(masked, [message], self._callback_url, now)
            else:
                callback_url = self._callback_url(connection)
                draft = build_request(masked.connector, masked.config, [message], callback_url, now)
                request = _request(masked, draft, now)
                if draft.authorization is not None and draft.authorization.scheme == "oauth2":
                    request.headers = [*draft.headers, f"Authorization: Bearer {MASK}"]
        except Exception:
            # The connector cannot build a request from a masked value.
            return MaskedRequest(method=sent.method, url="", headers=[], body="")
        masker = _masker(connection)
        pairs = [(name, value.strip()) for name, _, value in (line.partition(":") for line in request.headers)]
        return MaskedRequest(
            method="SMTP" if request.envelope is not None else request.method,
            url=masker.mask(request.url),
            headers=[
                (name, _mask_credentials(value) if name.lower() in _CREDENTIAL_HEADERS else masker.mask(value))
                for name, value in pairs
            ],
            body=masker.mask(request.body[:LARGEST_BODY].decode("utf-8", "replace")),
        )


def _divisible(driver: Driver | None, messages: list[Outgoing], call: _Call) -> bool:
    """Return whether one message may be why the call was refused, so that halves of it may be sent.

    Without a driver, a refused call took no message, and one that could not be built was not sent.
    """
    if driver is None:
        return call.verdicts[0].outcome is SendOutcome.REJECTED
    return call.response is not None and driver.divisible(messages, call.response)


def _request(connection: Connection, draft: UnsignedRequest, now: int) -> Request:
    """Return the request to send, signed if it must be; only a token is missing."""
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


def _sign(authorization: Authorization, draft: UnsignedRequest, now: int) -> list[str]:
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


def _judge_unbuilt(connection: Connection, error: Exception) -> Verdict:
    """Return the verdict when no request can be built: nothing was sent, and a retry would fail as well."""
    if not isinstance(error, Invalid):
        log.error(
            "a request could not be built",
            action="request_unmade",
            connection=public("con", connection.id),
            exc_info=error,
        )
        return Verdict(outcome=SendOutcome.REJECTED, code=OTHER, reason="cannot_build")
    detail = _masker(connection).mask(error.detail)[:LONGEST_DETAIL]
    reason = error.reason if isinstance(error, Unbuildable) else error.code
    if reason in ("configuration", "invalid_config"):
        return Verdict(outcome=SendOutcome.MISCONFIGURED, reason="configuration", detail=detail)
    return Verdict(outcome=SendOutcome.REJECTED, code=OTHER, reason=reason, detail=detail)


def _judge_no_token(connection: Connection, refused: ProviderResponse, now: int) -> Verdict:
    """Return the verdict when there is no access token: the message was not sent."""
    status = refused.status
    if status is None or status == 429 or status >= 500:
        name = (refused.error or "").partition(":")[0]
        outcome = SendOutcome.MISCONFIGURED if name == "address_forbidden" else SendOutcome.RETRY
        reason = "address_forbidden" if name == "address_forbidden" else "no_token"
        code = None if outcome is SendOutcome.MISCONFIGURED else OTHER
    else:
        outcome, reason, code = SendOutcome.MISCONFIGURED, "no_token", None
    error = refused.error or refused.body[:LONGEST_DETAIL].decode("utf-8", "replace")
    detail = f"no access token: {f'{status} ' if status else ''}{error}"[:LONGEST_DETAIL]
    return Verdict(
        outcome=outcome, code=code, reason=reason, provider_code=f"http_{status}" if status else None, detail=detail
    )


def _redact(verdicts: list[Verdict], connection: Connection) -> list[Verdict]:
    """Return the verdicts with masked secrets, because a provider may repeat them in its error text."""
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
    return _masker_of(tuple(secret_values(connection.connector, connection.config)))


@lru_cache(maxsize=256)
def _masker_of(secrets: tuple[str, ...]) -> Masker:
    return Masker(secrets)


def _mask_credentials(value: str) -> str:
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
