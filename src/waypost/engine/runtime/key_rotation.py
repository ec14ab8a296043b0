"""Everything that is encrypted, encrypted anew under the first key, so that the other keys can be thrown away."""

from collections.abc import Awaitable, Callable

import msgspec

from waypost.engine.runtime.encryption import Encryption
from waypost.storage.database import Database, Row, Tx

#: Rows of one transaction.
STEP = 200


class Reencrypted(msgspec.Struct):
    """How many rows hold secrets, and how many of them were encrypted anew."""

    seen: int = 0
    changed: int = 0


async def reencrypt_all(database: Database, encryption: Encryption) -> Reencrypted:
    """Encrypt under the first key whatever is under another one; servers may run meanwhile, and it may be run again.

    Unavailable (code `wrong_secret_key`) when something is under none of the keys.
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
    for id_, sealed in rows:
        if (fresh := encryption.reencrypt(sealed)) != sealed:
            # Whoever changed it meanwhile did so under the first key.
            changed += await tx.run("connections.reencrypt", id=id_, before=sealed, after=fresh)
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


async def _reencrypt_answers(tx: Tx, encryption: Encryption, after: Row) -> tuple[Row | None, int, int]:
    """The answers that are kept for requests that come again: they hold secrets too."""
    rows, changed = await tx.rows("idempotency.encrypted", workspace_id=after[0], key=after[1], n=STEP), 0
    for workspace_id, key, sealed in rows:
        if (fresh := encryption.reencrypt(sealed)) != sealed:
            changed += await tx.run(
                "idempotency.reencrypt", workspace_id=workspace_id, key=key, before=sealed, after=fresh
            )
    return _next(rows, 2), len(rows), changed


def _next(rows: list[Row], width: int) -> Row | None:
    """After which key the next step begins; None when there is none."""
    return tuple(rows[-1][:width]) if len(rows) == STEP else None


_Step = Callable[[Tx, Encryption, Row], Awaitable[tuple[Row | None, int, int]]]
_STEPS: tuple[tuple[_Step, Row], ...] = (
    (_reencrypt_connections, (-1,)),
    (_reencrypt_endpoints, (-1,)),
    (_reencrypt_answers, (-1, "")),
)
