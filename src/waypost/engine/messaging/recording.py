"""What the recorder does with messages: takes new ones in, and settles what tries and receipts say of them."""

import random
from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec
import structlog

from waypost.domain.events.segment import message_key
from waypost.domain.messaging.message import Receipt, SendOutcome, Status, Verdict
from waypost.domain.messaging.receipt import Quarantined
from waypost.domain.messaging.status import HistoryEntry, MessageState, transition_after
from waypost.domain.providers.connection import Connection
from waypost.engine.messaging.matching import SameAccount
from waypost.engine.messaging.receipts import apply_stored, suppress
from waypost.engine.messaging.transitions import MessagingNotes, Transitions
from waypost.engine.providers.registry import pause_connection
from waypost.engine.runtime.encryption import Encryption
from waypost.engine.runtime.idempotency import Answer, IdempotencyKey
from waypost.engine.runtime.unit import Unit
from waypost.errors import Error, Invalid
from waypost.storage.database import Tx

log = structlog.get_logger()

_encode = msgspec.json.Encoder().encode
_receipt = msgspec.json.Decoder(Receipt)


class NewMessage(msgspec.Struct, kw_only=True):
    """A message that was accepted and is to be recorded."""

    id: int
    workspace_id: int
    profile_id: int | None
    channel: str
    connection_id: int
    pinned: bool
    address: str
    purpose: str
    #: QUEUED, HELD with a reason, or SKIPPED with one.
    status: Status
    code: int | None = None
    reason: str | None = None
    template_id: int = 0
    template_version: int = 0
    campaign: str = ""
    #: JSON object.
    metadata: str = "{}"
    test: bool = False
    due_at: int
    expires_at: int
    throttle_id: int | None = None
    parts: int | None = None
    #: The client of the text-message API that asked for it.
    text_client_id: int | None = None
    #: JSON: domain.messages.Content.
    content: str


class MessageBatch(msgspec.Struct, kw_only=True):
    """Messages that one request asked for, and what it is answered with."""

    workspace_id: int
    messages: list[NewMessage]
    asked: IdempotencyKey | None
    answer: Answer
    #: A throttle of this send: its id and messages per second.
    throttle: tuple[int, float] | None = None
    #: Set when the same request was made before: nothing is sent again, and this is its answer.
    repeat: Answer | None = None
    #: Set when its key was used for another request.
    refused: Error | None = None

    def __len__(self) -> int:
        return len(self.messages)

    def __bool__(self) -> bool:
        return True


class SendResult(msgspec.Struct):
    """What one try of a message came to."""

    message_id: int
    #: Which try it was: a later one is not touched by what an earlier one came to.
    number: int
    ended_at: int
    verdict: Verdict
    #: The version of the connection that it was made with.
    version: int


class Routing(msgspec.Struct):
    """How messages that were not taken go on, and which connections are one account."""

    #: Seconds before a message's first retry.
    retry_s: float
    #: The enabled connections of a workspace's channel, in the order in which they are tried.
    for_channel: Callable[[int, str], list[Connection]]
    #: Whether a connection took nothing lately.
    failing: Callable[[int], bool]
    #: Whether two connections belong to the same account at a provider.
    same_account: SameAccount


async def record_unreadable(tx: Tx, unreadable: list[Quarantined], unit: Unit) -> None:
    """Keep callbacks that could not be read, for a person to look at."""
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
    """Queue the messages of batches that were not asked for before."""
    now = transitions.now
    fresh = await _unrepeated(tx, batches, encryption, now)
    throttles = [(*s.throttle, s) for s in fresh if s.throttle is not None]
    # As if filled when the last message falls due: retention keeps a throttle until its messages are sent.
    await tx.insert(
        "buckets.add",
        [(id_, s.workspace_id, rate, 1.0, max([now, *(m.due_at for m in s.messages)])) for id_, rate, s in throttles],
    )
    rows: list[tuple[Any, ...]] = []
    contents: list[tuple[int, str]] = []
    for submission in fresh:
        for m in submission.messages:
            note = HistoryEntry(status=m.status, at=now, code=m.code, reason=m.reason)
            queued = m.status is Status.QUEUED or m.status is Status.HELD
            rows.append(
                (
                    m.id,
                    m.workspace_id,
                    m.profile_id,
                    m.channel,
                    m.connection_id,
                    int(m.pinned),
                    m.address,
                    m.purpose,
                    m.status.value,
                    now,
                    m.code,
                    m.reason,
                    m.template_id,
                    m.template_version,
                    m.campaign,
                    m.metadata,
                    int(m.test),
                    m.due_at if queued else None,
                    m.expires_at,
                    m.throttle_id,
                    m.parts,
                    m.text_client_id,
                    _encode(note).decode(),
                    now,
                )
            )
            contents.append((m.id, m.content))
            transitions.announce(_standing(m, now), note)
    await tx.insert("messages.insert", rows)
    await tx.insert("message_contents.insert", contents)


def _standing(m: NewMessage, now: int) -> MessageState:
    return MessageState(
        id=m.id,
        workspace_id=m.workspace_id,
        profile_id=m.profile_id,
        channel=m.channel,
        connection_id=m.connection_id,
        pinned=int(m.pinned),
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
        test=int(m.test),
        tries=0,
        due_at=m.due_at if m.status is Status.QUEUED or m.status is Status.HELD else None,
        expires_at=m.expires_at,
        node=None,
        parts=m.parts,
        price_micros=None,
        currency=None,
        carrier=None,
        text_client_id=m.text_client_id,
        history_length=0,
    )


async def _unrepeated(tx: Tx, submissions: list[MessageBatch], encryption: Encryption, now: int) -> list[MessageBatch]:
    """The submissions that were not made before; the others are told so. The answers of the new ones are kept."""
    keyed = [s for s in submissions if s.asked is not None]
    if not keyed:
        return submissions
    known: dict[tuple[int, str], tuple[str, Answer]] = {}
    wanted = {s.workspace_id for s in keyed}
    keys = [s.asked.key for s in keyed if s.asked is not None]
    for workspace_id, key, digest, status, response in await tx.rows(
        "idempotency.find", workspaces=list(wanted), keys=keys
    ):
        known[(workspace_id, key)] = (digest, Answer(status, encryption.decrypt(response).encode()))
    fresh, rows = [], []
    for submission in submissions:
        # A batch that failed may be recorded again.
        submission.repeat = submission.refused = None
        asked = submission.asked
        if asked is None:
            fresh.append(submission)
            continue
        before = known.get((submission.workspace_id, asked.key))
        if before is None:
            known[(submission.workspace_id, asked.key)] = (asked.digest, submission.answer)
            fresh.append(submission)
            answer = submission.answer
            sealed = encryption.encrypt(answer.body.decode())
            rows.append((submission.workspace_id, asked.key, asked.digest, answer.status, sealed, now))
        elif before[0] == asked.digest:
            submission.repeat = before[1]
        else:
            submission.refused = Invalid(
                "This Idempotency-Key was used for another request. Take a new key for a new request.",
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
        standing = transitions.standings.get(t.message_id)
        if standing is None or standing.tries != t.number:
            # It was deleted for its age, or is being tried again by hand.
            continue
        verdict = t.verdict
        change = transition_after(
            standing,
            verdict,
            t.ended_at,
            base_s=routing.retry_s,
            chance=random.random(),  # noqa: S311 jitter is no secret
            others=_others(standing, orders, routing.failing),
        )
        if verdict.provider_message_id is not None:
            change.provider_key = message_key(standing.workspace_id, verdict.provider_message_id)
            named.setdefault(change.provider_key, []).append(standing)
        before = standing.connection_id
        transitions.apply(standing, change)
        if verdict.suppress is not None:
            suppressed.append(
                (standing.workspace_id, standing.channel, standing.address, verdict.suppress, before, verdict.detail)
            )
        if verdict.outcome is SendOutcome.MISCONFIGURED:
            broken[before] = (standing, t)
    await suppress(tx, suppressed, now)
    for connection_id, (standing, t) in broken.items():
        verdict, workspace_id = t.verdict, standing.workspace_id
        words = verdict.detail or verdict.provider_code or "The provider refuses this connection."
        if await pause_connection(
            tx, workspace_id, connection_id, t.version, verdict.reason or "misconfigured", words, unit.ids.one(now), now
        ):
            unit.notes(MessagingNotes).paused[connection_id] = workspace_id
    if named and await tx.row("unmatched.any") is not None:
        # The provider was faster than our own record of its answer.
        rows = await tx.rows("unmatched.find", keys=list(named))
        early = [(row[0], _receipt.decode(row[1])) for row in rows]
        if early:
            await apply_stored(tx, early, transitions, same_account=routing.same_account, named=named)
    return named


def _others(
    standing: MessageState, orders: Callable[[int, str], list[int]], failing: Callable[[int], bool]
) -> list[int]:
    """The connections that may have a message next: those behind its present one in the order that do not fail."""
    if standing.pinned:
        return []
    order = orders(standing.workspace_id, standing.channel)
    if standing.connection_id not in order:
        return order
    return [id_ for id_ in order[order.index(standing.connection_id) + 1 :] if not failing(id_)]
