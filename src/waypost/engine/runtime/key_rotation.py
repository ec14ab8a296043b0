"""Key rotation: re-encrypt everything with the first key, so that the other keys can be removed."""

from collections.abc import Awaitable, Callable

import msgspec

from waypost.engine.runtime.encryption import Encryption
from waypost.storage.database import Database, Row, Tx

#: Rows of one transaction.
STEP = 200


class Reencrypted(msgspec.Struct):
    """How many rows have secrets, and how many of them were re-encrypted."""

    seen: int = 0
    changed: int = 0


async def reencrypt_all(database: Database, encryption: Encryption) -> Reencrypted:
    """Re-encrypt with the first key everything that another key encrypted. Servers may run meanwhile; can be repeated.

    Raises Unavailable (code `wrong_secret_key`) if none of the keys decrypts a row.
    """
    done = Reencrypted()
    for step, start in _STEPS:
        after: Row | None = start
        while after is not None:
            after, seen, changed = await database.transact(step, encryption, after)
            done.seen += seen
            done.changed += changed
    return done


async def _reencrypt_connections(tx: Tx, encryption: Encryption, after: Row) -> tuple[Row | None, int, int]:
    rows, changed = await tx.rows("connections.encrypted", after=after[0], n=STEP), 0
    for id_, encrypted in rows:
        if (fresh := encryption.reencrypt(encrypted)) != encrypted:
            # A row that has changed meanwhile was encrypted with the first key.
            changed += await tx.run("connections.reencrypt", id=id_, before=encrypted, after=fresh)
    return _next(rows, 1), len(rows), changed


async def _reencrypt_endpoints(tx: Tx, encryption: Encryption, after: Row) -> tuple[Row | None, int, int]:
    rows, changed = await tx.rows("endpoints.encrypted", after=after[0], n=STEP), 0
    for id_, headers, secrets in rows:
        fresh = encryption.reencrypt(headers), encryption.reencrypt(secrets)
        if fresh != (headers, secrets):
            changed += await tx.run(
                "endpoints.reencrypt",
                id=id_,
                headers=fresh[0],
                secrets=fresh[1],
                headers_before=headers,
                secrets_before=secrets,
            )
    return _next(rows, 1), len(rows), changed


async def _reencrypt_responses(tx: Tx, encryption: Encryption, after: Row) -> tuple[Row | None, int, int]:
    """Re-encrypt the responses stored for idempotency keys; they contain secrets too."""
    rows, changed = await tx.rows("idempotency.encrypted", workspace_id=after[0], key=after[1], n=STEP), 0
    for workspace_id, key, encrypted in rows:
        if (fresh := encryption.reencrypt(encrypted)) != encrypted:
            changed += await tx.run(
                "idempotency.reencrypt", workspace_id=workspace_id, key=key, before=encrypted, after=fresh
            )
    return _next(rows, 2), len(rows), changed


async def _reencrypt_signing_keys(tx: Tx, encryption: Encryption, after: Row) -> tuple[Row | None, int, int]:
    rows, changed = await tx.rows("signing_keys.encrypted", after=after[0], n=STEP), 0
    for id_, encrypted in rows:
        if (fresh := encryption.reencrypt(encrypted)) != encrypted:
            changed += await tx.run("signing_keys.reencrypt", id=id_, before=encrypted, after=fresh)
    return _next(rows, 1), len(rows), changed


async def _reencrypt_users(tx: Tx, encryption: Encryption, after: Row) -> tuple[Row | None, int, int]:
    rows, changed = await tx.rows("users.encrypted", after=after[0], n=STEP), 0
    for id_, encrypted in rows:
        if (fresh := encryption.reencrypt(encrypted)) != encrypted:
            changed += await tx.run("users.reencrypt", id=id_, before=encrypted, after=fresh)
    return _next(rows, 1), len(rows), changed


async def _reencrypt_single_sign_on(tx: Tx, encryption: Encryption, after: Row) -> tuple[Row | None, int, int]:
    rows, changed = await tx.rows("single_sign_on.encrypted", after=after[0], n=STEP), 0
    for id_, encrypted in rows:
        if (fresh := encryption.reencrypt(encrypted)) != encrypted:
            changed += await tx.run("single_sign_on.reencrypt", id=id_, before=encrypted, after=fresh)
    return _next(rows, 1), len(rows), changed


def _next(rows: list[Row], width: int) -> Row | None:
    """Return the key after which the next step starts, or None after the last step."""
    return tuple(rows[-1][:width]) if len(rows) == STEP else None


_Step = Callable[[Tx, Encryption, Row], Awaitable[tuple[Row | None, int, int]]]
_STEPS: tuple[tuple[_Step, Row], ...] = (
    (_reencrypt_connections, (-1,)),
    (_reencrypt_endpoints, (-1,)),
    (_reencrypt_responses, (-1, "")),
    (_reencrypt_signing_keys, (-1,)),
    (_reencrypt_users, (-1,)),
    (_reencrypt_single_sign_on, (-1,)),
)
