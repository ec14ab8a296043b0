"""Who is calling and what they may do: API keys and their scopes."""

import base64
import hashlib
from enum import StrEnum

import msgspec

from waypost.errors import Forbidden, Invalid

#: 32 characters of 5 bits each.
KEY_BYTES = 20


class Scope(StrEnum):
    """What a key may do."""

    INGEST = "ingest"  #: Send events in. A Segment write key is a key with this scope alone.
    READ = "read"  #: Read everything but secrets.
    MANAGE = "manage"  #: Change everything, keys included; read signing secrets.


class Caller(msgspec.Struct, frozen=True):
    """A key that was presented, and the workspace it belongs to."""

    key_id: int
    workspace_id: int
    scopes: frozenset[str]

    def require(self, scope: Scope) -> None:
        """Forbidden unless the key has the scope; one that may manage may read and ingest."""
        if scope not in self.scopes and Scope.MANAGE not in self.scopes:
            raise Forbidden(f"This needs a key with the scope {scope.value!r}; this key has {sorted(self.scopes)}.")


def make_key(entropy: bytes, *, write: bool) -> str:
    """The text of a new key from 20 random bytes: `wpw_…` for a write key, `wpk_…` for any other."""
    return ("wpw_" if write else "wpk_") + base64.b32encode(entropy).decode().lower()


def key_hash(key: str) -> str:
    """What is kept of a key. It is random and long, so a plain digest cannot be turned back."""
    return hashlib.sha256(key.encode()).hexdigest()


def key_hint(key: str) -> str:
    """What is shown of a key, to tell it from others."""
    return key[:8] + "…"


def check_scopes(scopes: list[str]) -> list[str]:
    """The scopes in their order; Invalid when there is none or one is unknown."""
    known = [scope.value for scope in Scope]
    if not scopes or any(scope not in known for scope in scopes):
        raise Invalid(f"A key needs scopes out of {', '.join(known)}.", code="invalid_scopes")
    return [scope for scope in known if scope in scopes]
