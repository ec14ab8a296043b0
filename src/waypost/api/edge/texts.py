"""The text-message API, `POST /text/message/send`, as a raw ASGI route."""

import msgspec
import structlog

from waypost.api.edge.asgi import HttpScope, Receive, Send, answer, json_headers, read_body, refuse
from waypost.api.problems import unexpected_error
from waypost.clock import now_us
from waypost.domain.texts.client import TextClient
from waypost.domain.texts.request import BODY_BYTES, read_text_request
from waypost.engine.texts.clients import TextClients, authenticate
from waypost.engine.texts.texts import Texts
from waypost.errors import Error, Invalid, TooLarge, Unauthorized

log = structlog.get_logger()

PATH = "/text/message/send"
_LONGEST_HEADER = 200
_encode = msgspec.json.Encoder().encode


class TextRoute:
    """Serves the route for texts."""

    def __init__(self, texts: Texts, clients: TextClients) -> None:
        self._texts = texts
        self._clients = clients

    async def __call__(self, scope: HttpScope, receive: Receive, send: Send) -> bool:
        """Serve one request; return False, without a response, if the path is another one."""
        if scope["type"] != "http" or scope["path"] != PATH:
            return False
        try:
            body = await self._accept(scope, receive)
            await answer(send, 200, json_headers(len(body)), body)
        except Error as error:
            await refuse(send, error, b"POST")
        except Exception as error:
            log.error("request failed", action="request_failed", path=PATH, exc_info=error)
            await refuse(send, unexpected_error(), b"POST")
        return True

    async def _accept(self, scope: HttpScope, receive: Receive) -> bytes:
        if scope["method"] != "POST":
            raise Invalid("This path supports only POST. Send texts with POST.", code="method_not_allowed")
        client_id = secret = encoding = length = b""
        for name, value in scope["headers"]:
            if name == b"x-client-id":
                client_id = value
            elif name == b"x-client-secret":
                secret = value
            elif name == b"content-encoding":
                encoding = value
            elif name == b"content-length":
                length = value
        if length and int(length) > BODY_BYTES:
            raise TooLarge(f"The body has {int(length)} bytes; at most {BODY_BYTES} are allowed.")
        client = await self._authenticate(client_id, secret)
        body = await read_body(receive, encoding, BODY_BYTES)
        return _encode(await self._texts.send(client, read_text_request(body)))

    async def _authenticate(self, client_id: bytes, secret: bytes) -> TextClient:
        if not client_id or not secret:
            raise Unauthorized(
                "Send the headers X-Client-ID and X-Client-Secret; `waypost text-clients add` makes them."
            )
        client = None
        # No client has longer ones; whatever strangers send is not kept as an unknown id.
        if len(client_id) <= _LONGEST_HEADER and len(secret) <= _LONGEST_HEADER:
            name = client_id.decode("latin-1")
            client = self._clients.remember(name) or await self._clients.find(name)
        return authenticate(client, secret.decode("latin-1"), now_us())
