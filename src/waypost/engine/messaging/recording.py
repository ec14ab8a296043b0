"""Record new messages, and apply the results of their sends."""

import random
from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec
import structlog

from waypost.domain.events.segment import message_key
from waypost.domain.messaging.message import Outcome, Receipt, Status, Verdict
from waypost.domain.messaging.receipt import Quarantined
from waypost.domain.messaging.status import HistoryEntry, MessageState, after_verdict
from waypost.domain.providers.connection import Connection
from waypost.engine.messaging.matching import SameAccount
from waypost.engine.messaging.receipts import apply_stored, suppress
from waypost.engine.messaging.transitions import MessagingNotes, Transitions
from waypost.engine.providers.registry import pause_connection
from waypost.engine.runtime.encryption import Encryption
from waypost.engine.runtime.idempotency import Answer, IdempotencyKey
from waypost.engine.runtime.unit import Unit
from waypost.errors import Error, Invalid
from waypost.storage.database import Row, Tx, columns

log = structlog.get_logger()

_encode = msgspec.json.Encoder().encode
_receipt = msgspec.json.Decoder(Receipt)


class NewMessage(msgspec.Struct, kw_only=True):
    """An accepted message, to be recorded."""

    id: int
    workspace_id: int
    profile_id: int | None
    channel: str
    connection_id: int
    #: 0 or 1: only this connection may send it.
    pinned: int
    address: str
    purpose: str
    #: QUEUED, or SKIPPED with a reason.
    status: Status
    code: int | None = None
    reason: str | None = None
    template_id: int = 0
    template_version: int = 0
    campaign: str = ""
    #: JSON object.
    metadata: str = "{}"
    #: 0 or 1.
    test: int = 0
    due_at: int
    expires_at: int
    throttle_id: int | None = None
    parts: int | None = None
    #: JSON: domain.messages.Content.
    content: str


class MessageBatch(msgspec.Struct, kw_only=True):
    """The messages of one request, and its response."""

    workspace_id: int
    messages: list[NewMessage]
    idempotency_key: IdempotencyKey | None
    answer: Answer
    #: The throttle of the request: its id and messages per second.
    throttle: tuple[int, float] | None = None
    #: Set for a repeated request: nothing is sent, and this is the stored response.
    repeat: Answer | None = None
    #: Set when the Idempotency-Key belongs to a different request.
    refused: Error | None = None

    def __len__(self) -> int:
        return len(self.messages)

    def __bool__(self) -> bool:
        return True


class SendResult(msgspec.Struct):
    """The result of one try to send a message."""

    message_id: int
    #: Which try it was: the result of an earlier try does not change a later one.
    number: int
    ended_at: int
    verdict: Verdict
    #: The version of the connection that was used.
    version: int


class Routing(msgspec.Struct):
    """How messages are retried, and which connections belong to one account."""

    #: Seconds before a message's first retry.
    retry_s: float
    #: The enabled connections of a workspace's channel, in the order in which they are tried.
    for_channel: Callable[[int, str], list[Connection]]
    #: Whether calls through a connection fail.
    failing: Callable[[int], bool]
    #: Whether two connections belong to the same account at a provider.
    same_account: SameAccount


async def record_unreadable(tx: Tx, unreadable: list[Quarantined], unit: Unit) -> None:
    """Store callbacks that could not be read, for an operator to inspect."""
    ids = unit.ids.take(len(unreadable), unit.now)
    await tx.insert(
        "quarantine.add",
        [
            (id_, q.workspace_id, q.connection_id, q.reason, q.body, unit.now)
            for id_, q in zip(ids, unreadable, strict=True)
        ],
    )


async def record_messages(
    tx: Tx, batches: list[MessageBatch], transitions: Transitions, encryption: Encryption
) -> None:
    """Queue the messages of batches that are not repeats."""
    now = transitions.now
    fresh = await _unrepeated(tx, batches, encryption, now)
    throttles = [(*s.throttle, s) for s in fresh if s.throttle is not None]
    await tx.insert("buckets.add", [(id_, s.workspace_id, rate, 1.0, now) for id_, rate, s in throttles])
    rows: list[Row] = []
    #: status_at, due_at, history and updated_at are appended.
    read = columns("messages.insert", appended=4)
    contents: list[tuple[int, str]] = []
    for batch in fresh:
        for m in batch.messages:
            entry = HistoryEntry(status=m.status, at=now, code=m.code, reason=m.reason)
            due_at = m.due_at if m.status is Status.QUEUED else None
            rows.append((*read(m), now, due_at, _encode(entry).decode(), now))
            contents.append((m.id, m.content))
            transitions.announce(_state(m, now), entry)
    await tx.insert("messages.insert", rows)
    await tx.insert("message_contents.insert", contents)


def _state(m: NewMessage, now: int) -> MessageState:
    return MessageState(
        id=m.id,
        workspace_id=m.workspace_id,
        profile_id=m.profile_id,
        channel=m.channel,
        connection_id=m.connection_id,
        pinned=m.pinned,
        address=m.address,
        status=m.status,
        status_at=now,
        code=m.code,
        reason=m.reason,
        provider_code=None,
        provider_message_id=None,
        provider_key=None,
        template_id=m.template_id,
        campaign=m.campaign,
        metadata=m.metadata,
        test=m.test,
        tries=0,
        due_at=m.due_at if m.status is Status.QUEUED else None,
        expires_at=m.expires_at,
        node=None,
        parts=m.parts,
        price_micros=None,
        currency=None,
        carrier=None,
        history_length=0,
    )


async def _unrepeated(tx: Tx, batches: list[MessageBatch], encryption: Encryption, now: int) -> list[MessageBatch]:
    """Return the batches that are not repeats, and store their responses; set `repeat` or `refused` of the others."""
    keyed = [s for s in batches if s.idempotency_key is not None]
    if not keyed:
        return batches
    known: dict[tuple[int, str], tuple[str, Answer]] = {}
    wanted = {s.workspace_id for s in keyed}
    keys = [s.idempotency_key.key for s in keyed if s.idempotency_key is not None]
    for workspace_id, key, digest, status, response in await tx.rows(
        "idempotency.find", workspaces=list(wanted), keys=keys
    ):
        known[(workspace_id, key)] = (digest, Answer(status, encryption.decrypt(response).encode()))
    fresh, rows = [], []
    for batch in batches:
        # A batch may be recorded again after a failure.
        batch.repeat = batch.refused = None
        idempotency_key = batch.idempotency_key
        if idempotency_key is None:
            fresh.append(batch)
            continue
        before = known.get((batch.workspace_id, idempotency_key.key))
        if before is None:
            known[(batch.workspace_id, idempotency_key.key)] = (idempotency_key.digest, batch.answer)
            fresh.append(batch)
            answer = batch.answer
            encrypted = encryption.encrypt(answer.body.decode())
            rows.append(
                (batch.workspace_id, idempotency_key.key, idempotency_key.digest, answer.status, encrypted, now)
            )
        elif before[0] == idempotency_key.digest:
            batch.repeat = before[1]
        else:
            batch.refused = Invalid(
                "This Idempotency-Key belongs to a different request. Use a new key for each new request.",
                code="idempotency_key_reused",
            )
    await tx.insert("idempotency.keep", rows)
    return fresh


async def record_results(
    tx: Tx, tried: list[SendResult], transitions: Transitions, routing: Routing
) -> dict[int, list[MessageState]]:
    """Move messages by the results of their sends, and pause connections that are refused.

    Return the messages that got a provider's id, by its key.
    """
    unit, now = transitions.unit, transitions.now
    await transitions.load(tx, [t.message_id for t in tried])
    named: dict[int, list[MessageState]] = {}
    suppressed: list[tuple[Any, ...]] = []
    broken: dict[int, tuple[MessageState, SendResult]] = {}
    orders = cache(lambda workspace_id, channel: [c.id for c in routing.for_channel(workspace_id, channel)])
    for t in tried:
        state = transitions.standings.get(t.message_id)
        if state is None or state.tries != t.number:
            # Retention deleted the message, or somebody repeats it.
            continue
        verdict = t.verdict
        change = after_verdict(
            state,
            verdict,
            t.ended_at,
            base_s=routing.retry_s,
            chance=random.random(),  # noqa: S311 jitter is no secret
            others=_others(state, orders, routing.failing),
        )
        if verdict.provider_message_id is not None:
            change.provider_key = message_key(state.workspace_id, verdict.provider_message_id)
            named.setdefault(change.provider_key, []).append(state)
        before = state.connection_id
        transitions.apply(state, change)
        if verdict.suppress is not None:
            suppressed.append(
                (state.workspace_id, state.channel, state.address, verdict.suppress, before, verdict.detail)
            )
        if verdict.outcome is Outcome.MISCONFIGURED:
            broken[before] = (state, t)
    await suppress(tx, suppressed, now)
    for connection_id, (state, t) in broken.items():
        verdict, workspace_id = t.verdict, state.workspace_id
        words = verdict.detail or verdict.provider_code or "The provider refuses this connection."
        if await pause_connection(
            tx, workspace_id, connection_id, t.version, verdict.reason or "misconfigured", words, unit.ids.one(now), now
        ):
            unit.notes(MessagingNotes).paused[connection_id] = workspace_id
    if named and await tx.row("unmatched.any") is not None:
        # The receipts arrived before this process recorded the provider's response.
        rows = await tx.rows("unmatched.find", keys=list(named))
        early = [(row[0], _receipt.decode(row[1])) for row in rows]
        if early:
            await apply_stored(tx, early, transitions, same_account=routing.same_account, named=named)
    return named


def _others(state: MessageState, orders: Callable[[int, str], list[int]], failing: Callable[[int], bool]) -> list[int]:
    """Return the connections to try next: those after the present one in the order that do not fail."""
    if state.pinned:
        return []
    order = orders(state.workspace_id, state.channel)
    if state.connection_id not in order:
        return order
    return [id_ for id_ in order[order.index(state.connection_id) + 1 :] if not failing(id_)]
