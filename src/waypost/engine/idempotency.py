"""Requests that may come again: what was answered is kept with the effect, and given back to a repeat."""

from collections.abc import Awaitable, Callable

import msgspec

from waypost.engine.vault import Vault
from waypost.errors import Conflict, Invalid
from waypost.storage.database import Database, Tx

#: How often a request is run again when the same one was being recorded beside it.
RACES = 3


class Repeatable(msgspec.Struct, frozen=True):
    """The key that a client gave to a request, and a digest of what it asks for."""

    key: str
    digest: str


class Answer(msgspec.Struct, frozen=True):
    """What a request was answered with: HTTP status and JSON."""

    status: int
    body: bytes


Work = Callable[[Tx], Awaitable[Answer]]


async def perform(
    database: Database, vault: Vault, workspace_id: int, asked: Repeatable | None, now: int, work: Work
) -> Answer:
    """The answer of `work`, run in one transaction; or the one that the same request was given before."""
    if asked is None:
        return await database.transact(work)
    for _ in range(RACES):
        try:
            return await database.transact(_once, vault, workspace_id, asked, now, work)
        except Conflict as error:
            if error.code != "taken":
                raise
    raise Conflict("The same request is being worked on; send it again in a moment.", code="idempotency_key_in_use")


async def recall(database: Database, vault: Vault, workspace_id: int, asked: Repeatable | None) -> Answer | None:
    """The answer that this request was given before, if it was."""
    return None if asked is None else await database.read(_known, vault, workspace_id, asked)


async def keep(
    database: Database, vault: Vault, workspace_id: int, asked: Repeatable | None, now: int, answer: Answer
) -> None:
    """Keep an answer whose effect is in no transaction."""

    async def work(_tx: Tx) -> Answer:
        return answer

    await perform(database, vault, workspace_id, asked, now, work)


async def _known(tx: Tx, vault: Vault, workspace_id: int, asked: Repeatable) -> Answer | None:
    row = await tx.row("idempotency.get", workspace_id=workspace_id, key=asked.key)
    if row is None:
        return None
    if row[0] != asked.digest:
        raise Invalid(
            "This Idempotency-Key was used for another request. Take a new key for a new request.",
            code="idempotency_key_reused",
        )
    return Answer(row[1], vault.open(row[2]).encode())


async def _once(tx: Tx, vault: Vault, workspace_id: int, asked: Repeatable, now: int, work: Work) -> Answer:
    known = await _known(tx, vault, workspace_id, asked)
    if known is not None:
        return known
    answer = await work(tx)
    await tx.run(
        "idempotency.add",
        workspace_id=workspace_id,
        key=asked.key,
        request_hash=asked.digest,
        status=answer.status,
        # Answers hold signing secrets and keys.
        response=vault.seal(answer.body.decode()),
        now=now,
    )
    return answer
