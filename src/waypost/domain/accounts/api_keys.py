"""API keys: their text, their hash and their scopes."""

import base64
import hashlib
from enum import StrEnum

#: Entropy of a key: 32 base32 characters of 5 bits each.
KEY_BYTES = 20


class Scope(StrEnum):
    """What an API key may do: each stands for several permissions."""

    INGEST = "ingest"  #: Send events. A Segment write key has this scope alone.
    READ = "read"  #: Read everything except secrets.
    MANAGE = "manage"  #: Change everything, API keys included; read signing secrets.


def make_key(entropy: bytes, *, write: bool) -> str:
    """Return the text of a new key made of 20 random bytes: `wpw_…` for a write key, `wpk_…` for any other."""
    return ("wpw_" if write else "wpk_") + base64.b32encode(entropy).decode().lower()


def key_hash(key: str) -> str:
    """Return the SHA-256 digest of a key, which is stored. A key has 160 random bits, so the digest needs no salt."""
    return hashlib.sha256(key.encode()).hexdigest()


def key_hint(key: str) -> str:
    """Return the first characters of a key, shown in lists to identify it."""
    return key[:8] + "…"
