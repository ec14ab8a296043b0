"""Access tokens by OAuth 2.0's client credentials (RFC 6749, section 4.4), asked for once and kept."""

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
#: A token is not used any more this long before it expires.
MARGIN_S = 60.0
#: How long one holds whose server does not say.
UNSAID_S = 300.0
LONGEST_S = 86_400.0
#: Tokens kept; the one that was not used for longest goes first.
MOST_TOKENS = 10_000
LONGEST_TOKEN = 16_384


class _TokenResponse(msgspec.Struct):
    access_token: str
    expires_in: float | str | None = None


class Token(msgspec.Struct, frozen=True):
    """A token, or what came back instead."""

    text: str = ""
    refused: ProviderResponse | None = None
    #: It was asked for just now.
    fresh: bool = True


class TokenCache:
    """Keeps tokens by workspace and credentials; asks for each only once at a time."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound
        self._kept: OrderedDict[tuple[int, Authorization], tuple[str, float]] = OrderedDict()
        self._asking: dict[tuple[int, Authorization], asyncio.Task[Token]] = {}

    async def find(self, workspace_id: int, wanted: Authorization) -> Token:
        """The token for these credentials, asked for where there is none that holds."""
        key = (workspace_id, wanted)
        kept = self._kept.get(key)
        if kept is not None and kept[1] > time.monotonic():
            self._kept.move_to_end(key)
            return Token(kept[0], fresh=False)
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.create_task(self._ask(key), name="oauth2 token")
            asking.add_done_callback(lambda _: self._asking.pop(key, None))
        # Whoever gives up waiting must not take it away from the others.
        return await asyncio.shield(asking)

    def drop(self, workspace_id: int, wanted: Authorization, text: str) -> None:
        """Forget a token that was refused, unless there is another by now."""
        kept = self._kept.get((workspace_id, wanted))
        if kept is not None and kept[0] == text:
            del self._kept[workspace_id, wanted]

    async def _ask(self, key: tuple[int, Authorization]) -> Token:
        wanted = key[1]
        form = {"grant_type": "client_credentials", "scope": wanted.scope, "audience": wanted.audience}
        pair = f"{quote(wanted.client_id, safe='')}:{quote(wanted.client_secret, safe='')}"
        request = Request(
            wanted.token_url,
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
                    # An answer that is no token may hold one all the same.
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
    """The token and for how many seconds it holds; an empty one when there is none that can stand in a header."""
    try:
        answer = msgspec.json.decode(body, type=_TokenResponse)
        lasts = float(answer.expires_in) if answer.expires_in is not None else UNSAID_S
    except (msgspec.DecodeError, ValueError, RecursionError):
        return "", 0.0
    text = answer.access_token
    if not 0 < len(text) <= LONGEST_TOKEN or any(not "!" <= c <= "~" for c in text):
        return "", 0.0
    return text, min(max(lasts, 0.0), LONGEST_S) if lasts == lasts else UNSAID_S
