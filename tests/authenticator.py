"""A software authenticator: it makes passkeys and signs with them as browsers do, and lies when a test wants it to."""

import hashlib
import json
import os
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

from waypost.domain.accounts.passkeys import from_base64url, to_base64url

PRESENT, VERIFIED, ATTESTED = 1, 4, 64
ORIGIN = "http://localhost:8080"
Json = dict[str, Any]


class Authenticator:
    """Holds one passkey of one user. `counts` is whether it counts how often it was used."""

    def __init__(self, origin: str = ORIGIN, *, kind: str = "ec", counts: bool = True) -> None:
        self.origin = origin
        self.counts = counts
        self.count = 0
        self.id = os.urandom(32)
        self.handle = b""
        self._key: Any = {
            "ec": lambda: ec.generate_private_key(ec.SECP256R1()),
            "ed": ed25519.Ed25519PrivateKey.generate,
            "rsa": lambda: rsa.generate_private_key(65537, 2048),
        }[kind]()

    def make(self, options: Json, *, public_key: bytes | None = None, format_: str = "none", **lies: Any) -> Json:
        """Return what `navigator.credentials.create()` does for these options."""
        self.handle = from_base64url(options["user"]["id"]) or b""
        key = self._public_key() if public_key is None else public_key
        attested = bytes(16) + len(self.id).to_bytes(2, "big") + self.id + key
        data = self._data(options["rp"]["id"], ATTESTED, attested, **lies)
        statement = {} if format_ == "none" else {"alg": -7, "sig": b"no signature"}
        attestation = cbor2.dumps({"fmt": format_, "attStmt": statement, "authData": data})
        client = self._client_data("webauthn.create", options["challenge"], **lies)
        response = {"clientDataJSON": to_base64url(client), "attestationObject": to_base64url(attestation)}
        return self._credential(response | {"transports": ["internal"]})

    def use(self, options: Json, *, key: "Authenticator | None" = None, **lies: Any) -> Json:
        """Return what `navigator.credentials.get()` does for these options; `key` is whose key signs."""
        data = self._data(options["rpId"], 0, b"", **lies)
        client = self._client_data("webauthn.get", options["challenge"], **lies)
        handle = lies.get("handle", self.handle)
        response = {
            "clientDataJSON": to_base64url(client),
            "authenticatorData": to_base64url(data),
            "signature": to_base64url((key or self)._sign(data + hashlib.sha256(client).digest())),
            "userHandle": None if handle is None else to_base64url(handle),
        }
        return self._credential(response)

    def _credential(self, response: Json) -> Json:
        id_ = to_base64url(self.id)
        rest = {"type": "public-key", "authenticatorAttachment": "platform", "clientExtensionResults": {}}
        return {"id": id_, "rawId": id_, "response": response} | rest

    def _data(
        self, party: str, flags: int, attested: bytes, *, rp_id: str | None = None, verified: bool = True, **_: Any
    ) -> bytes:
        self.count += self.counts
        flags |= PRESENT | (VERIFIED if verified else 0)
        hash_ = hashlib.sha256((rp_id or party).encode()).digest()
        return hash_ + bytes([flags]) + self.count.to_bytes(4, "big") + attested

    def _client_data(
        self, type_: str, challenge: str, *, origin: str | None = None, client_type: str | None = None, **_: Any
    ) -> bytes:
        found = {"type": client_type or type_, "challenge": challenge, "origin": origin or self.origin}
        return json.dumps(found | {"crossOrigin": False}).encode()

    def _public_key(self) -> bytes:
        public = self._key.public_key()
        if isinstance(public, ec.EllipticCurvePublicKey):
            numbers = public.public_numbers()
            x, y = numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")
            return cbor2.dumps({1: 2, 3: -7, -1: 1, -2: x, -3: y})
        if isinstance(public, rsa.RSAPublicKey):
            n, e = public.public_numbers().n.to_bytes(256, "big"), b"\x01\x00\x01"
            return cbor2.dumps({1: 3, 3: -257, -1: n, -2: e})
        return cbor2.dumps({1: 1, 3: -8, -1: 6, -2: public.public_bytes_raw()})

    def _sign(self, data: bytes) -> bytes:
        if isinstance(self._key, ec.EllipticCurvePrivateKey):
            return self._key.sign(data, ec.ECDSA(hashes.SHA256()))
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(data, PKCS1v15(), hashes.SHA256())
        signed: bytes = self._key.sign(data)
        return signed
