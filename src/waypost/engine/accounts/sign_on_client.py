"""Ask providers of single sign-on: their metadata and keys, which are cached, and the ID token for a code."""

import base64
import time
from urllib.parse import quote, urlencode

import msgspec

from waypost.clock import now_us
from waypost.domain.accounts import id_tokens
from waypost.domain.accounts.id_tokens import IdTokenRules, Keys, SignedOn, UnknownKey
from waypost.domain.accounts.single_sign_on import (
    DISCOVERY,
    ProviderMetadata,
    SignOnProvider,
    SignOnRefused,
    SignOnState,
    read_metadata,
)
from waypost.engine.net.outbound import Outbound
from waypost.engine.net.request import READ_BODY, Request

TIMEOUT_MS = 10_000
#: Seconds for which the metadata and the keys of a provider are cached, and after which an unknown key is looked for.
CACHE_S, KEYS_AGAIN_S = 3600.0, 30.0
#: The most providers that are cached: the keys of each may be as long as a response.
MOST_CACHED = 100


class _IssuedTokens(msgspec.Struct):
    id_token: str
    access_token: str = ""


class SignOnClient:
    """Speaks with providers. All requests go through the guarded outbound client; redirects are not followed."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound
        self.timeout_ms = TIMEOUT_MS
        self._metadata: dict[str, tuple[float, ProviderMetadata]] = {}
        self._keys: dict[str, tuple[float, Keys]] = {}

    async def discover(self, issuer: str) -> ProviderMetadata:
        """Return the metadata of a provider. Raise SignOnRefused if there are none that count."""
        known = self._metadata.get(issuer)
        if known is not None and known[0] > time.monotonic() - CACHE_S:
            return known[1]
        found = read_metadata(await self._get(issuer.rstrip("/") + DISCOVERY), issuer)
        if len(self._metadata) >= MOST_CACHED:
            self._metadata.clear()
        self._metadata[issuer] = time.monotonic(), found
        return found

    async def check(self, issuer: str) -> tuple[ProviderMetadata, Keys]:
        """Return the metadata and the keys of a provider as they are now. Raise SignOnRefused if they do not do."""
        self._metadata.pop(issuer, None)
        metadata = await self.discover(issuer)
        return metadata, await self._read_keys(metadata.jwks_uri, 0)

    async def redeem(
        self, provider: SignOnProvider, metadata: ProviderMetadata, code: str, begun: SignOnState, redirect_uri: str
    ) -> tuple[SignedOn, str]:
        """Return who a code stands for, and the token with which the provider says more about them."""
        tokens = await self._ask_tokens(provider, metadata, code, begun.verifier, redirect_uri)
        rules = IdTokenRules(provider.issuer, provider.client_id, metadata.algorithms, begun)
        keys = await self._read_keys(metadata.jwks_uri, CACHE_S)
        try:
            found = id_tokens.verify_id_token(tokens.id_token, keys, rules, now_us())
        except UnknownKey:
            # It may have changed its keys. A stranger cannot make us ask for them again and again.
            keys = await self._read_keys(metadata.jwks_uri, KEYS_AGAIN_S)
            found = id_tokens.verify_id_token(tokens.id_token, keys, rules, now_us())
        return found, tokens.access_token

    async def add_userinfo(self, metadata: ProviderMetadata, signed_on: SignedOn, access_token: str) -> SignedOn:
        """Return who signed in with what the provider says elsewhere, if it says the address only there."""
        if signed_on.email or metadata.userinfo_endpoint is None or not access_token.isascii():
            return signed_on
        body = await self._get(metadata.userinfo_endpoint, f"Authorization: Bearer {access_token}")
        return id_tokens.add_userinfo(signed_on, body)

    async def _ask_tokens(
        self, provider: SignOnProvider, metadata: ProviderMetadata, code: str, verifier: str, redirect_uri: str
    ) -> _IssuedTokens:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        headers = ["Content-Type: application/x-www-form-urlencoded", "Accept: application/json"]
        if "client_secret_basic" in metadata.token_endpoint_auth_methods_supported:
            # RFC 6749, section 2.3.1: both are encoded as in a form.
            pair = f"{quote(provider.client_id, safe='')}:{quote(provider.client_secret, safe='')}"
            headers.append(f"Authorization: Basic {base64.b64encode(pair.encode()).decode()}")
        else:
            form |= {"client_id": provider.client_id, "client_secret": provider.client_secret}
        url, body = metadata.token_endpoint, urlencode(form).encode()
        answer = await self._fetch(Request(url, body, headers, self.timeout_ms, keep=READ_BODY, once=True))
        try:
            return msgspec.json.decode(answer, type=_IssuedTokens)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise SignOnRefused("sign_on_provider", f"{url} answered without an ID token: {error}") from error

    async def _read_keys(self, url: str, oldest_s: float) -> Keys:
        known = self._keys.get(url)
        if known is not None and known[0] > time.monotonic() - oldest_s:
            return known[1]
        found = id_tokens.read_keys(await self._get(url))
        if len(self._keys) >= MOST_CACHED:
            self._keys.clear()
        self._keys[url] = time.monotonic(), found
        return found

    async def _get(self, url: str, *headers: str) -> bytes:
        request = Request(
            url, b"", ["Accept: application/json", *headers], self.timeout_ms, method="GET", keep=READ_BODY
        )
        return await self._fetch(request)

    async def _fetch(self, request: Request) -> bytes:
        """Return the body of the response. Raise SignOnRefused for any status but 200, and without a response."""
        response, _ = await self._outbound.fetch(request)
        if response.status != 200:
            said = f"answered {response.status}" if response.status else f"did not answer: {response.error}"
            raise SignOnRefused("sign_on_provider", f"{request.method} {request.url} {said}")
        return response.body
