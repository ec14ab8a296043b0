"""An OpenID Connect provider for tests, over HTTP: it signs with real keys, checks PKCE, and lies if asked to."""

import base64
import functools
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

CLIENT_ID, CLIENT_SECRET = "waypost client", "s3cret/+ of the client"
HUGE = 1_000_000

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@functools.cache
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    """Return a key by its name; making one takes long."""
    assert name
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@functools.cache
def ec_key(name: str) -> ec.EllipticCurvePrivateKey:
    assert name
    return ec.generate_private_key(ec.SECP256R1())


def encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def encode_number(number: int) -> str:
    return encode(number.to_bytes((number.bit_length() + 7) // 8))


def public_jwk(key: Key, kid: str) -> dict[str, Any]:
    """Return a public key as a provider publishes it."""
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.public_key().public_numbers()
        return {"kty": "RSA", "kid": kid, "use": "sig", "n": encode_number(numbers.n), "e": encode_number(numbers.e)}
    point = key.public_key().public_numbers()
    x, y = (encode(value.to_bytes(32)) for value in (point.x, point.y))
    return {"kty": "EC", "kid": kid, "use": "sig", "crv": "P-256", "x": x, "y": y}


def public_pem(key: Key) -> bytes:
    """Return a public key as everybody can have it."""
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def sign(header: dict[str, Any], claims: Any, key: Key) -> str:
    """Return a token that is signed as its header says."""
    text = f"{encode(json.dumps(header).encode())}.{encode(json.dumps(claims).encode())}"
    return f"{text}.{encode(_signature(header['alg'], text.encode(), key))}"


def _signature(alg: str, text: bytes, key: Key) -> bytes:
    if alg == "none":
        return b""
    if alg == "HS256":
        # The attack on readers that take the public key for a shared one.
        return hmac.digest(public_pem(key), text, "sha256")
    if isinstance(key, ec.EllipticCurvePrivateKey):
        r, s = utils.decode_dss_signature(key.sign(text, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)
    if alg == "PS256":
        return key.sign(text, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    return key.sign(text, padding.PKCS1v15(), hashes.SHA256())


class OidcProvider:
    """The provider: what it says of itself and of people, and what it was asked."""

    def __init__(self, url: str) -> None:
        self.issuer = url
        self.key: Key = rsa_key("first")
        self.kid, self.alg = "first", "RS256"
        #: Who is signed in there.
        self.person: dict[str, Any] = {
            "sub": "248289761001",
            "email": "ada@example.com",
            "email_verified": True,
            "name": "Ada",
        }
        #: What differs from the truth; None leaves a member out.
        self.claims: dict[str, Any] = {}
        self.header: dict[str, Any] = {}
        self.metadata: dict[str, Any] = {}
        self.answer: dict[str, Any] = {}
        self.published: list[dict[str, Any]] | None = None
        #: What a path does instead: a status, or hang, huge, redirect.
        self.faults: dict[str, Any] = {}
        #: Whether the same code is good again.
        self.codes_last = False
        #: Whether somebody has to press a button on its page.
        self.has_page = False
        #: Claims that only the userinfo has.
        self.userinfo: dict[str, Any] | None = None
        self.asked: Counter[str] = Counter()
        self.requests: list[dict[str, str]] = []
        self.released = threading.Event()
        self._codes: dict[str, dict[str, str]] = {}

    def describe(self) -> dict[str, Any]:
        """Return the metadata."""
        found = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize?tenant=one",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
            "id_token_signing_alg_values_supported": ["RS256", "PS256", "ES256", "HS256", "none"],
            "code_challenge_methods_supported": ["S256"],
        }
        if self.userinfo is not None:
            found["userinfo_endpoint"] = f"{self.issuer}/userinfo"
        return _changed(found, self.metadata)

    def keys(self) -> list[dict[str, Any]]:
        """Return the public keys, with some that are not for us."""
        others = [{"kty": "oct", "kid": self.kid, "k": encode(b"shared")}, {"kty": "OKP", "crv": "X448", "x": ""}]
        return [*others, public_jwk(self.key, self.kid)] if self.published is None else self.published

    def authorize(self, query: dict[str, str]) -> str:
        """Return where the browser of somebody who is signed in is sent back to."""
        self.requests.append(query)
        code = secrets.token_urlsafe(16)
        self._codes[code] = query
        answer = _changed({"code": code, "state": query["state"]}, self.answer)
        return f"{query['redirect_uri']}?{urlencode(answer)}"

    def redeem(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """Return the tokens for a code, to the client that asked for it."""
        kind, _, pair = authorization.partition(" ")
        if kind == "Basic":
            name, _, secret = base64.b64decode(pair).decode().partition(":")
            client = unquote(name), unquote(secret)
        else:
            client = form.get("client_id", ""), form.get("client_secret", "")
        if client != (CLIENT_ID, CLIENT_SECRET):
            return 401, {"error": "invalid_client"}
        query = self._codes.get(form["code"]) if self.codes_last else self._codes.pop(form["code"], None)
        challenge = encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if query is None or (query["redirect_uri"], query["code_challenge"]) != (form["redirect_uri"], challenge):
            return 400, {"error": "invalid_grant"}
        return 200, {"token_type": "Bearer", "access_token": "access", "id_token": self.id_token(query["nonce"])}

    def id_token(self, nonce: str) -> str:
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "auth_time": now,
            "nonce": nonce,
            **self.person,
        }
        header = {"alg": self.alg, "kid": self.kid, "typ": "JWT"}
        return sign(_changed(header, self.header), _changed(claims, self.claims), self.key)


def _changed(found: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (found | changes).items() if value is not None}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    provider: OidcProvider

    def do_GET(self) -> None:
        opened = self._open()
        if opened is None:
            return
        (path, query), provider = opened, self.provider
        if path == "/.well-known/openid-configuration":
            self._send(200, provider.describe())
        elif path == "/keys":
            self._send(200, {"keys": provider.keys()})
        elif path == "/userinfo":
            right = self.headers.get("authorization") == "Bearer access"
            self._send(*((200, provider.userinfo) if right else (401, {"error": "invalid_token"})))
        elif path == "/authorize" and provider.has_page and "go" not in query:
            link = f"/authorize?{urlencode(query | {'go': '1'})}".replace("&", "&amp;")
            page = f'<!doctype html><html lang="en"><title>Provider</title><a href="{link}">Continue as Ada</a></html>'
            self._send(200, page.encode(), "text/html")
        elif path == "/authorize":
            self._send(302, b"", location=provider.authorize(query))
        else:
            self._send(404, {"error": "not_found"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        opened = self._open()
        if opened is None:
            return
        path, _ = opened
        form = {name: values[0] for name, values in parse_qs(body).items()}
        if path == "/token":
            self._send(*self.provider.redeem(form, self.headers.get("authorization", "")))
        else:
            self._send(404, {"error": "not_found"})

    def _open(self) -> tuple[str, dict[str, str]] | None:
        """Return the path and the query; None where a fault was the answer."""
        parts, provider = urlsplit(self.path), self.provider
        provider.asked[parts.path] += 1
        fault = provider.faults.get(parts.path)
        if fault == "hang":
            provider.released.wait()
            self.close_connection = True
        elif fault == "huge":
            content = json.dumps(provider.describe() | {"keys": provider.keys(), "filling": "x" * HUGE}).encode()
            self._send(200, content)
        elif fault == "redirect":
            self._send(302, b"", location=f"{provider.issuer}{parts.path}/elsewhere")
        elif fault == "broken":
            self._send(200, b'{"issuer": [')
        elif isinstance(fault, int):
            self._send(fault, {"error": "server_error"})
        else:
            return parts.path, {name: values[0] for name, values in parse_qs(parts.query).items()}
        return None

    def _send(self, status: int, content: Any, kind: str = "application/json", *, location: str = "") -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.send_header("connection", "close")
        if location:
            self.send_header("location", location)
        self.end_headers()
        self.close_connection = True
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: a client that reads no more is a test."""


@contextmanager
def oidc_provider() -> Iterator[OidcProvider]:
    """A provider on a free port of this machine."""

    class Handler(_Handler):
        """Answers for this provider."""

    with _Server(("127.0.0.1", 0), Handler) as server:
        Handler.provider = provider = OidcProvider(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield provider
        finally:
            provider.released.set()
            server.shutdown()
            thread.join()
