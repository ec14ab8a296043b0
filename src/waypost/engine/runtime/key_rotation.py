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


_Step = Callable[[Tx, Encryption, Row], Awaitable[tuple[Row | None, int, int]]]


def _by_id(select: str, update: str) -> _Step:
    """Return the step for a table whose rows have an id and one encrypted value, with its two queries."""

    async def reencrypt(tx: Tx, encryption: Encryption, after: Row) -> tuple[Row | None, int, int]:
        rows, changed = await tx.rows(select, after=after[0], n=STEP), 0
        for id_, encrypted in rows:
            if (fresh := encryption.reencrypt(encrypted)) != encrypted:
                # A row that has changed meanwhile was encrypted with the first key.
                changed += await tx.run(update, id=id_, before=encrypted, after=fresh)
        return _next(rows, 1), len(rows), changed

    return reencrypt


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


def _next(rows: list[Row], width: int) -> Row | None:
    """Return the key after which the next step starts, or None after the last step."""
    return tuple(rows[-1][:width]) if len(rows) == STEP else None


_STEPS: tuple[tuple[_Step, Row], ...] = (
    (_by_id("connections.encrypted", "connections.reencrypt"), (-1,)),
    (_reencrypt_endpoints, (-1,)),
    (_reencrypt_responses, (-1, "")),
    (_by_id("signing_keys.encrypted", "signing_keys.reencrypt"), (-1,)),
    (_by_id("users.encrypted", "users.reencrypt"), (-1,)),
    (_by_id("single_sign_on.encrypted", "single_sign_on.reencrypt"), (-1,)),
)
