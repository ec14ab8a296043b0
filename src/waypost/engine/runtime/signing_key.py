"""The key that signs the tokens in emails: made once, stored encrypted, and kept when the secret key is rotated."""

import os
from base64 import b64decode, b64encode

from waypost.engine.runtime.encryption import Encryption
from waypost.storage.database import Database, Tx

#: The row of the key.
_ROW = 1


async def load_signing_key(database: Database, encryption: Encryption, length: int, now: int) -> bytes:
    """Return the key; if there is none, make it of `length` bytes. Raise Unavailable if it cannot be decrypted."""
    secret = await database.read(_find)
    if secret is None:
        made = encryption.encrypt(b64encode(os.urandom(length)).decode())
        secret = await database.transact(_make, made, now)
    return b64decode(encryption.decrypt(secret))


async def _find(tx: Tx) -> str | None:
    row = await tx.row("signing_keys.get", id=_ROW)
    return row[0] if row else None


async def _make(tx: Tx, secret: str, now: int) -> str:
    await tx.insert("signing_keys.add", [(_ROW, secret, now)])
    # Another process may have made it first.
    return await _find(tx) or secret
