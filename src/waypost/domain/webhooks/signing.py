"""Signing secrets and signatures, as the Standard Webhooks specification defines them."""

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from waypost.errors import Invalid

SHARED = "whsec_"
PRIVATE = "whsk_"
PUBLIC = "whpk_"
SHORTEST_SECRET, LONGEST_SECRET = 24, 64  # bytes, from the Standard Webhooks specification
SEED = 32  # bytes
#: What HMAC does to the bytes of its key (RFC 2104). A secret is never longer than a block.
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))

#: Returns one item of the `webhook-signature` header for a webhook id, a time in Unix seconds and the raw body. The
#: signed text joins the three with dots, so the id must contain none.
Sign = Callable[[str, int, bytes], str]


def encode_secret(key: bytes) -> str:
    """Return a symmetric secret as text: `whsec_` and base64."""
    _check_length(key)
    return SHARED + _encode(key)


def decode_secret(text: str) -> bytes:
    """Return the key of a symmetric secret. Raise Invalid if the text is not one."""
    key = _decode(text, SHARED)
    _check_length(key)
    return key


def encode_private_key(seed: bytes) -> str:
    """Return an ed25519 private key as text: `whsk_` and base64 of the 32-byte seed and the 32-byte public key."""
    if len(seed) != SEED:
        raise _invalid(f"An ed25519 seed has {SEED} bytes.")
    return PRIVATE + _encode(seed + _public_bytes(Ed25519PrivateKey.from_private_bytes(seed)))


def public_key(private: str) -> str:
    """Return the public key of a private key, with which receivers verify: `whpk_` and base64."""
    return PUBLIC + _encode(_public_bytes(_private_key(private)))


def signer(secret: str) -> Sign:
    """Return the function that signs with a secret: `v1` (HMAC-SHA256) for `whsec_`, `v1a` (ed25519) for `whsk_`."""
    if secret.startswith(PRIVATE):
        sign = _private_key(secret).sign

        def sign_v1a(webhook_id: str, timestamp_s: int, body: bytes) -> str:
            return "v1a," + _encode(sign(f"{webhook_id}.{timestamp_s}.".encode() + body))

        return sign_v1a

    inner, outer = _hmac_states(decode_secret(secret))
    encode = binascii.b2a_base64

    def sign_v1(webhook_id: str, timestamp_s: int, body: bytes) -> str:
        hashed, signed = inner.copy(), outer.copy()
        hashed.update(f"{webhook_id}.{timestamp_s}.".encode() + body)
        signed.update(hashed.digest())
        return "v1," + encode(signed.digest(), newline=False).decode("ascii")

    return sign_v1


def _hmac_states(key: bytes) -> "tuple[hashlib._Hash, hashlib._Hash]":
    """Return the two hashes of HMAC-SHA256 (RFC 2104) after the key.

    Copying them takes half the time of `hmac.digest`, which also releases the interpreter lock for every signature,
    however short the text.
    """
    block = key.ljust(hashlib.sha256().block_size, b"\0")
    return hashlib.sha256(block.translate(_INNER)), hashlib.sha256(block.translate(_OUTER))


def signature_header(signers: Iterable[Sign], webhook_id: str, timestamp_s: int, body: bytes) -> str:
    """Return the `webhook-signature` header. During a rotation the old and the new secret both sign."""
    return " ".join([sign(webhook_id, timestamp_s, body) for sign in signers])


def _invalid(detail: str) -> Invalid:
    return Invalid(detail, code="invalid_secret")


def _check_length(key: bytes) -> None:
    if not SHORTEST_SECRET <= len(key) <= LONGEST_SECRET:
        raise _invalid(
            f"A signing secret must have {SHORTEST_SECRET} to {LONGEST_SECRET} bytes; this one has {len(key)}."
        )


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _decode(text: str, prefix: str) -> bytes:
    """Return the bytes of a prefixed text in padded standard base64 in its canonical form. Raise Invalid for others."""
    digits = text.removeprefix(prefix)
    try:
        raw = base64.b64decode(digits, validate=True)
    except ValueError:
        raw = b""
    # Verifiers differ in what else they accept (missing padding, the URL alphabet, stray bits): nothing else is valid.
    if not text.startswith(prefix) or _encode(raw) != digits:
        raise _invalid(f"A signing secret of this kind must be {prefix} followed by padded standard base64.")
    return raw


def _private_key(text: str) -> Ed25519PrivateKey:
    raw = _decode(text, PRIVATE)
    if len(raw) not in (SEED, 2 * SEED):
        raise _invalid("An ed25519 private key must be a 32-byte seed, with or without its 32-byte public key.")
    key = Ed25519PrivateKey.from_private_bytes(raw[:SEED])
    # The Go reference library writes the seed alone.
    if raw[SEED:] not in (b"", _public_bytes(key)):
        raise _invalid("The public half of this ed25519 key does not match its private half.")
    return key


def _public_bytes(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()
