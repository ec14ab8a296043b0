"""Idempotency keys: store the response of a request with its effect, and return it to a repeat of the request."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec

from waypost.clock import MINUTE
from waypost.engine.runtime.encryption import Encryption
from waypost.errors import Conflict, Invalid
from waypost.storage.database import Database, Row, Tx

#: How often a request is run when a concurrent request with the same key conflicts with it.
RACES = 3
#: The stored status of a request in progress, before it has a response.
IN_PROGRESS = 0
#: How long a request outside a transaction may take, in microseconds: longer than the sum of all timeouts within it.
LEASE = 5 * MINUTE

T = TypeVar("T")


class IdempotencyKey(msgspec.Struct, frozen=True):
    """The Idempotency-Key of a request, and a digest of the request."""

    key: str
    digest: str


class Answer(msgspec.Struct, frozen=True):
    """A stored response: HTTP status and JSON body."""

    status: int
    body: bytes


Work = Callable[[Tx], Awaitable[Answer]]


async def perform(
    database: Database,
    encryption: Encryption,
    workspace_id: int,
    idempotency_key: IdempotencyKey | None,
    now: int,
    work: Work,
) -> Answer:
    """Run `work` in one transaction and return its response; a repeat returns the stored response instead."""
    if idempotency_key is None:
        return await database.transact(work)
    return await _again(lambda: database.transact(once, encryption, workspace_id, idempotency_key, now, work))


async def perform_outside(
    database: Database,
    encryption: Encryption,
    workspace_id: int,
    idempotency_key: IdempotencyKey | None,
    now: int,
    work: Callable[[], Awaitable[Answer]],
) -> Answer:
    """Do the same as `perform` for work outside a transaction; reserve the key before the work starts.

    Raises Conflict while another request with the key is in progress. If a process dies, its key stays reserved for
    LEASE.
    """
    if idempotency_key is None:
        return await work()
    known = await _again(lambda: database.transact(_take, encryption, workspace_id, idempotency_key, now))
    if known is not None:
        return known
    place = {"workspace_id": workspace_id, "key": idempotency_key.key, "since": now}
    try:
        answer = await work()
    except BaseException:
        # A request without a response may be repeated.
        await database.transact(_run, "idempotency.release", place)
        raise
    answered = {"status": answer.status, "response": encryption.encrypt(answer.body.decode())}
    await database.transact(_run, "idempotency.finish", place | answered)
    return answer


async def stored_response(
    database: Database, encryption: Encryption, workspace_id: int, idempotency_key: IdempotencyKey | None
) -> Answer | None:
    """Return the stored response of this request, or None."""
    return None if idempotency_key is None else await database.read(_known, encryption, workspace_id, idempotency_key)


async def once(
    tx: Tx, encryption: Encryption, workspace_id: int, idempotency_key: IdempotencyKey | None, now: int, work: Work
) -> Answer:
    """Run `work` and store its response in the same transaction; a repeat returns the stored response instead.

    Raises Conflict with the code `taken` when another transaction stores the same key: run it again.
    """
    if idempotency_key is None:
        return await work(tx)
    known = await _known(tx, encryption, workspace_id, idempotency_key)
    if known is not None:
        return known
    answer = await work(tx)
    await _add(tx, encryption, workspace_id, idempotency_key, now, answer)
    return answer


async def _again(run: Callable[[], Awaitable[T]]) -> T:
    for _ in range(RACES):
        try:
            return await run()
        except Conflict as error:
            if error.code != "taken":
                raise
    raise _in_use()


async def _take(
    tx: Tx, encryption: Encryption, workspace_id: int, idempotency_key: IdempotencyKey, now: int
) -> Answer | None:
    """Return the stored response; or reserve the key for this process and return None."""
    row = await tx.row("idempotency.get", workspace_id=workspace_id, key=idempotency_key.key)
    if row is not None and row[1] == IN_PROGRESS and row[3] < now - LEASE:
        await tx.run("idempotency.release", workspace_id=workspace_id, key=idempotency_key.key, since=row[3])
    elif row is not None:
        return _read(row, encryption, idempotency_key)
    await _add(tx, encryption, workspace_id, idempotency_key, now, Answer(IN_PROGRESS, b""))
    return None


async def _known(tx: Tx, encryption: Encryption, workspace_id: int, idempotency_key: IdempotencyKey) -> Answer | None:
    row = await tx.row("idempotency.get", workspace_id=workspace_id, key=idempotency_key.key)
    return None if row is None else _read(row, encryption, idempotency_key)


def _read(row: Row, encryption: Encryption, idempotency_key: IdempotencyKey) -> Answer:
    if row[0] != idempotency_key.digest:
        raise Invalid(
            "This Idempotency-Key belongs to a different request. Use a new key for each new request.",
            code="idempotency_key_reused",
        )
    if row[1] == IN_PROGRESS:
        raise _in_use()
    return Answer(row[1], encryption.decrypt(row[2]).encode())


async def _add(
    tx: Tx, encryption: Encryption, workspace_id: int, idempotency_key: IdempotencyKey, now: int, answer: Answer
) -> None:
    await tx.run(
        "idempotency.add",
        workspace_id=workspace_id,
        key=idempotency_key.key,
        request_hash=idempotency_key.digest,
        status=answer.status,
        # Encrypted, because responses contain signing secrets and keys.
        response=encryption.encrypt(answer.body.decode()),
        now=now,
    )


async def _run(tx: Tx, query: str, values: dict[str, Any]) -> int:
    return await tx.run(query, **values)


def _in_use() -> Conflict:
    return Conflict("The same request is in progress. Retry in a moment.", code="idempotency_key_in_use")
