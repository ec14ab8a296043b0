"""The client that the demo uses to call its own server and sink over HTTP."""

from base64 import b64encode
from typing import Any

import msgspec

from waypost.domain.values.egress_guard import parse_networks
from waypost.engine.net.outbound import Outbound
from waypost.engine.net.request import READ_BODY, Request
from waypost.errors import Unavailable

#: What the readers of the demo read their mail with.
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


class Client:
    """Sends requests to the server with the keys of the demo's workspace, and to the sink with none."""

    def __init__(self, url: str, sink: str, keys: dict[str, str]) -> None:
        self.url = url
        self.sink = sink
        self._bearer = f"authorization: Bearer {keys['api_key']}"
        self._basic = f"authorization: Basic {b64encode((keys['write_key'] + ':').encode()).decode()}"
        self._outbound = Outbound(parse_networks("127.0.0.0/8,::1,0.0.0.0/0"))

    async def request(
        self, method: str, path: str, body: object = None, *, write: bool = False
    ) -> tuple[int | None, Any]:
        """Send a request to the server; return the status and the body of the response."""
        return await self._send(method, self.url + path, body, [self._basic if write else self._bearer])

    async def get(self, path: str) -> Any:
        """Return the body of a GET request; raise Unavailable if it fails."""
        return await self._require_success(await self.request("GET", path), path)

    async def require(self, method: str, path: str, body: object) -> Any:
        """Send a request that must succeed, and return the body; raise Unavailable if it fails."""
        return await self._require_success(await self.request(method, path, body), path)

    async def require_sink(self, method: str, path: str, body: object) -> None:
        """Send a request to the sink that must succeed; raise Unavailable if it fails."""
        await self._require_success(await self._send(method, self.sink + path, body, []), path)

    async def upload(self, path: str, kind: str, content: bytes) -> Any:
        """Send a file to the server, and return the body of the response; raise Unavailable if it fails."""
        response = await self._send("POST", self.url + path, content, [self._bearer], kind=kind)
        return await self._require_success(response, path)

    async def get_sink(self, path: str) -> Any:
        """Return the body of a GET request to the sink; raise Unavailable if it fails."""
        return await self._require_success(await self._send("GET", self.sink + path, None, []), path)

    async def visit(self, url: str) -> None:
        """Open a URL as a person does, without following it further."""
        request = Request(url, b"", [f"user-agent: {BROWSER}"], 5000, "GET")
        await self._outbound.fetch(request)

    async def stop(self) -> None:
        """Close all connections."""
        await self._outbound.stop()

    async def _send(
        self, method: str, url: str, body: object, headers: list[str], *, kind: str = "application/json"
    ) -> tuple[int | None, Any]:
        content = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        headers = [f"content-type: {kind}", *headers]
        response, _ = await self._outbound.fetch(Request(url, content, headers, 5000, method, keep=READ_BODY))
        return response.status, msgspec.json.decode(response.body) if response.body else None

    async def _require_success(self, response: tuple[int | None, Any], path: str) -> Any:
        status, body = response
        if status is None or status >= 300:
            raise Unavailable(f"The demo cannot be set up: {path} returned {status}: {str(body)[:300]}")
        return body
