"""API keys: their text, their hash and their scopes."""

import base64
import hashlib
from enum import StrEnum

import msgspec

from waypost.errors import Forbidden, Invalid

#: Entropy of a key: 32 base32 characters of 5 bits each.
KEY_BYTES = 20


class Scope(StrEnum):
    """A permission of an API key."""

    INGEST = "ingest"  #: Send events. A Segment write key has this scope alone.
    READ = "read"  #: Read everything except secrets.
    MANAGE = "manage"  #: Change everything, API keys included; read signing secrets.


class Caller(msgspec.Struct, frozen=True):
    """The authenticated API key of a request, and its workspace."""

    key_id: int
    workspace_id: int
    scopes: frozenset[str]

    def require(self, scope: Scope) -> None:
        """Raise Forbidden unless the key has the scope. The scope `manage` includes the others."""
        if scope not in self.scopes and Scope.MANAGE not in self.scopes:
            raise Forbidden(
                f"This request needs a key with the scope {scope.value!r}; this key has {sorted(self.scopes)}."
            )


def make_key(entropy: bytes, *, write: bool) -> str:
    """Return the text of a new key made of 20 random bytes: `wpw_…` for a write key, `wpk_…` for any other."""
    return ("wpw_" if write else "wpk_") + base64.b32encode(entropy).decode().lower()


def key_hash(key: str) -> str:
    """Return the SHA-256 digest of a key, which is stored. A key has 160 random bits, so the digest needs no salt."""
    return hashlib.sha256(key.encode()).hexdigest()


def key_hint(key: str) -> str:
    """Return the first characters of a key, shown in lists to identify it."""
    return key[:8] + "…"


def check_scopes(scopes: list[str]) -> list[str]:
    """Return the scopes in their defined order. Raise Invalid if there is none or one is unknown."""
    known = [scope.value for scope in Scope]
    if not scopes or any(scope not in known for scope in scopes):
        raise Invalid(
            f"A key needs at least one of the scopes {', '.join(known)}, and no others.", code="invalid_scopes"
        )
    return [scope for scope in known if scope in scopes]
