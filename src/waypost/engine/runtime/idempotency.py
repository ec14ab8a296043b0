"""Requests that may come again: what was answered is kept with the effect, and given back to a repeat."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec

from waypost.clock import MINUTE
from waypost.engine.runtime.encryption import Encryption
from waypost.errors import Conflict, Invalid
from waypost.storage.database import Database, Row, Tx

#: How often a request is run again when the same one was being recorded beside it.
RACES = 3
#: The status of a request that is in progress, in place of that of its answer.
IN_PROGRESS = 0
#: How long a request outside a transaction may take, in microseconds: longer than every timeout within it together.
LEASE = 5 * MINUTE

T = TypeVar("T")


class IdempotencyKey(msgspec.Struct, frozen=True):
    """The key that a client gave to a request, and a digest of what it asks for."""

    key: str
    digest: str


class Answer(msgspec.Struct, frozen=True):
    """What a request was answered with: HTTP status and JSON."""

    status: int
    body: bytes


Work = Callable[[Tx], Awaitable[Answer]]


async def perform(
    database: Database, encryption: Encryption, workspace_id: int, asked: IdempotencyKey | None, now: int, work: Work
) -> Answer:
    """The answer of `work`, run in one transaction; or the one that the same request was given before."""
    if asked is None:
        return await database.transact(work)
    return await _again(lambda: database.transact(once, encryption, workspace_id, asked, now, work))


async def perform_outside(
    database: Database,
    encryption: Encryption,
    workspace_id: int,
    asked: IdempotencyKey | None,
    now: int,
    work: Callable[[], Awaitable[Answer]],
) -> Answer:
    """The same for work that is in no transaction: its key is taken before, so that no other request does the same.

    Conflict while another request works under the key. A process that died at it holds the key for LEASE.
    """
    if asked is None:
        return await work()
    known = await _again(lambda: database.transact(_take, encryption, workspace_id, asked, now))
    if known is not None:
        return known
    place = {"workspace_id": workspace_id, "key": asked.key, "since": now}
    try:
        answer = await work()
    except BaseException:
        # Whatever it was: what has no answer can be asked for again.
        await database.transact(_run, "idempotency.release", place)
        raise
    answered = {"status": answer.status, "response": encryption.encrypt(answer.body.decode())}
    await database.transact(_run, "idempotency.finish", place | answered)
    return answer


async def stored_response(
    database: Database, encryption: Encryption, workspace_id: int, asked: IdempotencyKey | None
) -> Answer | None:
    """The answer that this request was given before, if it was."""
    return None if asked is None else await database.read(_known, encryption, workspace_id, asked)


async def once(
    tx: Tx, encryption: Encryption, workspace_id: int, asked: IdempotencyKey | None, now: int, work: Work
) -> Answer:
    """The answer of `work`, kept in the transaction of its effect; or the one that the same request was given before.

    Conflict with the code `taken` when another transaction records the same: run it again.
    """
    if asked is None:
        return await work(tx)
    known = await _known(tx, encryption, workspace_id, asked)
    if known is not None:
        return known
    answer = await work(tx)
    await _add(tx, encryption, workspace_id, asked, now, answer)
    return answer


async def _again(run: Callable[[], Awaitable[T]]) -> T:
    for _ in range(RACES):
        try:
            return await run()
        except Conflict as error:
            if error.code != "taken":
                raise
    raise _in_use()


async def _take(tx: Tx, encryption: Encryption, workspace_id: int, asked: IdempotencyKey, now: int) -> Answer | None:
    """The known answer; None when there is none, and the key is ours from now on."""
    row = await tx.row("idempotency.get", workspace_id=workspace_id, key=asked.key)
    if row is not None and row[1] == IN_PROGRESS and row[3] < now - LEASE:
        await tx.run("idempotency.release", workspace_id=workspace_id, key=asked.key, since=row[3])
    elif row is not None:
        return _read(row, encryption, asked)
    await _add(tx, encryption, workspace_id, asked, now, Answer(IN_PROGRESS, b""))
    return None


async def _known(tx: Tx, encryption: Encryption, workspace_id: int, asked: IdempotencyKey) -> Answer | None:
    row = await tx.row("idempotency.get", workspace_id=workspace_id, key=asked.key)
    return None if row is None else _read(row, encryption, asked)


def _read(row: Row, encryption: Encryption, asked: IdempotencyKey) -> Answer:
    if row[0] != asked.digest:
        raise Invalid(
            "This Idempotency-Key was used for another request. Take a new key for a new request.",
            code="idempotency_key_reused",
        )
    if row[1] == IN_PROGRESS:
        raise _in_use()
    return Answer(row[1], encryption.open(row[2]).encode())


async def _add(
    tx: Tx, encryption: Encryption, workspace_id: int, asked: IdempotencyKey, now: int, answer: Answer
) -> None:
    await tx.run(
        "idempotency.add",
        workspace_id=workspace_id,
        key=asked.key,
        request_hash=asked.digest,
        status=answer.status,
        # Answers hold signing secrets and keys.
        response=encryption.encrypt(answer.body.decode()),
        now=now,
    )


async def _run(tx: Tx, query: str, values: dict[str, Any]) -> int:
    return await tx.run(query, **values)


def _in_use() -> Conflict:
    return Conflict("The same request is in progress. Retry in a moment.", code="idempotency_key_in_use")
