"""Access tokens by the OAuth 2.0 client credentials grant (RFC 6749, section 4.4), cached until they expire."""

import asyncio
import base64
import time
from collections import OrderedDict
from urllib.parse import quote, urlencode

import msgspec

from waypost.domain.providers.request import Authorization
from waypost.domain.providers.responses import ProviderResponse
from waypost.engine.net.outbound import Outbound
from waypost.engine.net.request import READ_BODY, Request

TIMEOUT_MS = 10_000
#: A token is not used in the last seconds before it expires.
MARGIN_S = 60.0
#: The lifetime of a token whose server does not state one.
UNSAID_S = 300.0
LONGEST_S = 86_400.0
#: Cached tokens at most; the least recently used one is dropped first.
MOST_TOKENS = 10_000
LONGEST_TOKEN = 16_384


class _TokenResponse(msgspec.Struct):
    access_token: str
    expires_in: float | str | None = None


class Token(msgspec.Struct, frozen=True):
    """A token, or the response that refused it."""

    text: str = ""
    refused: ProviderResponse | None = None
    #: Whether it was requested just now, not cached.
    fresh: bool = True


class TokenCache:
    """Caches tokens by workspace and credentials; requests each only once at a time."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound
        self._kept: OrderedDict[tuple[int, Authorization], tuple[str, float]] = OrderedDict()
        self._requests: dict[tuple[int, Authorization], asyncio.Task[Token]] = {}

    async def find(self, workspace_id: int, authorization: Authorization) -> Token:
        """Return the token for these credentials; request one when none is cached."""
        key = (workspace_id, authorization)
        kept = self._kept.get(key)
        if kept is not None and kept[1] > time.monotonic():
            self._kept.move_to_end(key)
            return Token(kept[0], fresh=False)
        request_task = self._requests.get(key)
        if request_task is None:
            request_task = self._requests[key] = asyncio.create_task(self._request_token(key), name="oauth2 token")
            request_task.add_done_callback(lambda _: self._requests.pop(key, None))
        # A caller that is cancelled must not cancel the request for the others.
        return await asyncio.shield(request_task)

    def drop(self, workspace_id: int, authorization: Authorization, text: str) -> None:
        """Drop a refused token from the cache, unless another one has replaced it."""
        kept = self._kept.get((workspace_id, authorization))
        if kept is not None and kept[0] == text:
            del self._kept[workspace_id, authorization]

    async def _request_token(self, key: tuple[int, Authorization]) -> Token:
        authorization = key[1]
        form = {"grant_type": "client_credentials", "scope": authorization.scope, "audience": authorization.audience}
        pair = f"{quote(authorization.client_id, safe='')}:{quote(authorization.client_secret, safe='')}"
        request = Request(
            authorization.token_url,
            urlencode({name: value for name, value in form.items() if value}).encode(),
            [
                "Content-Type: application/x-www-form-urlencoded",
                "Accept: application/json",
                f"Authorization: Basic {base64.b64encode(pair.encode()).decode()}",
            ],
            TIMEOUT_MS,
            keep=READ_BODY,
        )
        response, _ = await self._outbound.fetch(request)
        text, lasts = _read(response.body) if response.status == 200 else ("", 0.0)
        if not text:
            return Token(
                refused=ProviderResponse(
                    status=response.status,
                    headers=response.headers,
                    # A 200 response without a usable token may still contain a secret.
                    body=b"" if response.status == 200 else response.body,
                    error=response.error,
                    sent=False,
                )
            )
        if lasts > MARGIN_S:
            self._kept[key] = (text, time.monotonic() + lasts - MARGIN_S)
            while len(self._kept) > MOST_TOKENS:
                self._kept.popitem(last=False)
        return Token(text)


def _read(body: bytes) -> tuple[str, float]:
    """Return the token and its lifetime in seconds; "" when there is none that can stand in a header."""
    try:
        answer = msgspec.json.decode(body, type=_TokenResponse)
        lasts = float(answer.expires_in) if answer.expires_in is not None else UNSAID_S
    except (msgspec.DecodeError, ValueError, RecursionError):
        return "", 0.0
    text = answer.access_token
    if not 0 < len(text) <= LONGEST_TOKEN or any(not "!" <= c <= "~" for c in text):
        return "", 0.0
    return text, min(max(lasts, 0.0), LONGEST_S) if lasts == lasts else UNSAID_S
