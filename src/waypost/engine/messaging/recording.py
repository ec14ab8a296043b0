"""Record new messages, the results of sends, and callbacks that cannot be parsed."""

import random
from collections.abc import Awaitable, Callable
from functools import cache
from operator import attrgetter
from typing import Any

import msgspec
import structlog

from waypost.domain.events.event import Event
from waypost.domain.events.segment import message_key
from waypost.domain.messaging.message import Receipt, SendOutcome, Status, Verdict
from waypost.domain.messaging.message_events import bounced
from waypost.domain.messaging.receipt import Quarantined
from waypost.domain.messaging.status import HistoryEntry, MessageState, transition_after
from waypost.domain.providers.connection import Connection
from waypost.domain.tracking.tokens import to_token
from waypost.domain.values.ids import public
from waypost.engine.messaging.matching import SameAccount
from waypost.engine.messaging.receipts import apply_stored, opt_out, suppress
from waypost.engine.messaging.rule_checks import RulesOf, give_back
from waypost.engine.messaging.transitions import MessagingNotes, Transitions
from waypost.engine.providers.registry import pause_connection
from waypost.engine.runtime.encryption import Encryption
from waypost.engine.runtime.idempotency import Answer, IdempotencyKey
from waypost.engine.runtime.unit import Unit
from waypost.engine.tracking.campaigns import load_campaigns
from waypost.engine.tracking.links import NewLink, add_links
from waypost.engine.tracking.mail import NewUrl, add_urls
from waypost.errors import Error, Invalid
from waypost.storage.database import Tx

log = structlog.get_logger()

#: The columns of `messages.insert` in its order, without the last two: `history` and `updated_at`. The first ones are
#: attributes of MessageState, the others those of NewMessage that are not.
INSERTED_STATE = (
    "id",
    "workspace_id",
    "profile_id",
    "channel",
    "connection_id",
    "pinned",
    "address",
    "status",
    "status_at",
    "code",
    "reason",
    "template_id",
    "campaign",
    "metadata",
    "test",
    "due_at",
    "expires_at",
    "parts",
    "text_client_id",
    "occurrence_id",
    "variant",
)
INSERTED_NEW = ("purpose", "template_version", "throttle_id", "exempt")

_of_state = attrgetter(*INSERTED_STATE)
_of_new = attrgetter(*INSERTED_NEW)
_encode = msgspec.json.Encoder().encode
_receipt = msgspec.json.Decoder(Receipt)


class NewMessage(msgspec.Struct, kw_only=True):
    """An accepted message to record."""

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
    #: The client of the text-message API that requested it.
    text_client_id: int | None = None
    #: The occurrence of a campaign that it belongs to, and the variant of its template.
    occurrence_id: int | None = None
    variant: str | None = None
    #: The sending rules that do not apply to it: bits of domain.messaging.sending_rules; None for none.
    exempt: int | None = None
    #: JSON: domain.messages.Content.
    content: str


#: Writes the entry of the audit log for a request with this response.
Log = Callable[[Tx, bytes], Awaitable[None]]


class MessageBatch(msgspec.Struct, kw_only=True):
    """The messages of one request, and its response."""

    workspace_id: int
    messages: list[NewMessage]
    key: IdempotencyKey | None
    answer: Answer
    #: The throttle of these messages: its id, and messages per second.
    throttle: tuple[int, float] | None = None
    #: URLs that the messages link to, stored with them.
    urls: list[NewUrl] = []
    #: The short links of texts, stored with them.
    links: list[NewLink] = []
    #: What is written with them unless the request is a repeat: its entry of the audit log.
    log: Log | None = None
    #: Set if the request is a repeat: the response to the first one. Nothing is sent again.
    repeat: Answer | None = None
    #: Set if the key was used for another request.
    refused: Error | None = None

    def __len__(self) -> int:
        return len(self.messages)

    def __bool__(self) -> bool:
        return True


class SendResult(msgspec.Struct):
    """The result of one try to send a message."""

    message_id: int
    #: The number of the try. A result of an earlier try does not change a message that is being tried again.
    number: int
    ended_at: int
    verdict: Verdict
    #: The version of the connection that sent it.
    version: int


class Routing(msgspec.Struct):
    """What decides how messages that were not accepted go on, and which connections share an account."""

    #: The wait before the first retry of a message, in seconds.
    retry_s: float
    #: Returns the enabled connections of a workspace for a channel, in the order in which they are tried.
    for_channel: Callable[[int, str], list[Connection]]
    #: Returns whether a connection is failing: its circuit breaker is open.
    failing: Callable[[int], bool]
    #: Returns whether two connections belong to the same account at a provider.
    same_account: SameAccount
    #: Returns the sending rules of a workspace, or None if it has none.
    rules_of: RulesOf = lambda _: None


async def record_unreadable(tx: Tx, unreadable: list[Quarantined], unit: Unit) -> None:
    """Quarantine callbacks that cannot be parsed."""
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
    """Record the messages of batches whose request is not a repeat."""
    now = transitions.now
    fresh = await _unrepeated(tx, batches, encryption, now)
    throttles = [(*batch.throttle, batch) for batch in fresh if batch.throttle is not None]
    # Dated when the last message is due, so that retention keeps a throttle until its messages are sent.
    await tx.insert(
        "buckets.add",
        [
            (id_, batch.workspace_id, rate, 1.0, max([now, *(m.due_at for m in batch.messages)]))
            for id_, rate, batch in throttles
        ],
    )
    await _store_links(tx, fresh)
    rows: list[tuple[Any, ...]] = []
    contents: list[tuple[int, str]] = []
    for batch in fresh:
        for m in batch.messages:
            entry = HistoryEntry(status=m.status, at=now, code=m.code, reason=m.reason)
            state = _state(m, now)
            rows.append((*_of_state(state), *_of_new(m), _encode(entry).decode(), now))
            contents.append((m.id, m.content))
            transitions.announce(state, entry)
    await add_urls(tx, [url for batch in batches for url in batch.urls])
    await tx.insert("messages.insert", rows)
    await tx.insert("message_contents.insert", contents)
    for batch in fresh:
        if batch.log is not None:
            await batch.log(tx, batch.answer.body)


async def _store_links(tx: Tx, batches: list[MessageBatch]) -> None:
    """Store the short links of texts. One whose id is taken gets another one, also in its text."""
    links = [link for batch in batches for link in batch.links]
    if not links:
        return
    messages = {m.id: m for batch in batches for m in batch.messages}
    for link, before in await add_links(tx, links):
        message = messages.get(link.target.message_id or 0)
        if message is not None:
            message.content = message.content.replace(before, to_token(link.id))


def _state(m: NewMessage, now: int) -> MessageState:
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
        occurrence_id=m.occurrence_id,
        variant=m.variant,
        history_length=0,
    )


async def _unrepeated(tx: Tx, batches: list[MessageBatch], encryption: Encryption, now: int) -> list[MessageBatch]:
    """Return the batches whose request is not a repeat, and store their responses. Set the results of the others."""
    keyed = [(batch, batch.key) for batch in batches if batch.key is not None]
    if not keyed:
        return batches
    known: dict[tuple[int, str], tuple[str, Answer]] = {}
    workspaces, texts = {batch.workspace_id for batch, _ in keyed}, [key.key for _, key in keyed]
    for workspace_id, text, digest, status, response in await tx.rows(
        "idempotency.find", workspaces=list(workspaces), keys=texts
    ):
        known[(workspace_id, text)] = (digest, Answer(status, encryption.decrypt(response).encode()))
    fresh, rows = [], []
    for batch in batches:
        # The recorder records a batch again after a failed transaction.
        batch.repeat = batch.refused = None
        key = batch.key
        if key is None:
            fresh.append(batch)
            continue
        before = known.get((batch.workspace_id, key.key))
        if before is None:
            known[(batch.workspace_id, key.key)] = (key.digest, batch.answer)
            fresh.append(batch)
            answer = batch.answer
            encrypted = encryption.encrypt(answer.body.decode())
            rows.append((batch.workspace_id, key.key, key.digest, answer.status, encrypted, now))
        elif before[0] == key.digest:
            batch.repeat = before[1]
        else:
            batch.refused = Invalid(
                "This Idempotency-Key was used for another request. Take a new key for a new request.",
                code="idempotency_key_reused",
            )
    await tx.insert("idempotency.keep", rows)
    return fresh


async def record_results(
    tx: Tx, results: list[SendResult], transitions: Transitions, routing: Routing
) -> dict[int, list[MessageState]]:
    """Apply the results of sends to their messages, and pause connections that their provider refuses.

    Return the messages that got a provider's id, by its key.
    """
    unit, now = transitions.unit, transitions.now
    await transitions.load(tx, [result.message_id for result in results])
    named: dict[int, list[MessageState]] = {}
    suppressed: list[tuple[Any, ...]] = []
    refused: list[tuple[MessageState, SendResult]] = []
    broken: dict[int, tuple[MessageState, SendResult]] = {}
    unsent: list[MessageState] = []
    orders = cache(lambda workspace_id, channel: [c.id for c in routing.for_channel(workspace_id, channel)])
    for result in results:
        state = transitions.states.get(result.message_id)
        if state is None or state.tries != result.number:
            # Retention deleted it, or a user resent it.
            continue
        verdict = result.verdict
        change = transition_after(
            state,
            verdict,
            result.ended_at,
            base_s=routing.retry_s,
            chance=random.random(),  # noqa: S311 jitter is no secret
            others=_others(state, orders, routing.failing),
        )
        if verdict.provider_message_id is not None:
            change.provider_key = message_key(state.workspace_id, verdict.provider_message_id)
            named.setdefault(change.provider_key, []).append(state)
        before = state.connection_id
        if transitions.apply(state, change) and state.status in (Status.QUEUED, Status.FAILED):
            # Every other outcome may have reached the person.
            unsent.append(state)
        if verdict.suppress == "opted_out":
            place, cause = (state.workspace_id, state.channel, state.address), public("msg", state.id)
            transitions.subscription_changes.append(opt_out(*place, now, before, verdict.detail, cause=cause))
        elif verdict.suppress is not None:
            if state.channel == "email" and verdict.suppress == "bounced":
                refused.append((state, result))
            suppressed.append(
                (state.workspace_id, state.channel, state.address, verdict.suppress, before, verdict.detail)
            )
        if verdict.outcome is SendOutcome.MISCONFIGURED:
            broken[before] = (state, result)
    await give_back(tx, unsent, routing.rules_of, now)
    await suppress(tx, suppressed, now)
    transitions.events += await _bounces(tx, refused)
    for connection_id, (state, result) in broken.items():
        verdict, workspace_id = result.verdict, state.workspace_id
        error = verdict.detail or verdict.provider_code or "The provider refuses this connection."
        if await pause_connection(
            tx,
            workspace_id,
            connection_id,
            result.version,
            verdict.reason or "misconfigured",
            error,
            unit.ids.one(now),
            now,
        ):
            unit.notes(MessagingNotes).paused[connection_id] = workspace_id
    if named and await tx.row("unmatched.any") is not None:
        # The provider sent the receipts before the results of the sends were recorded.
        rows = await tx.rows("unmatched.find", keys=list(named))
        early = [(row[0], _receipt.decode(row[1])) for row in rows]
        if early:
            await apply_stored(tx, early, transitions, same_account=routing.same_account, named=named)
    return named


async def _bounces(tx: Tx, refused: list[tuple[MessageState, SendResult]]) -> list[Event]:
    """Return the events of emails that the server of the recipient refused for good."""
    campaigns = await load_campaigns(tx, {state.occurrence_id for state, _ in refused if state.occurrence_id})
    return [
        bounced(
            state,
            "permanent",
            result.ended_at,
            result.verdict.detail,
            f"{public('msg', state.id)}:bounced:{result.number}",
            campaign=campaigns.get(state.occurrence_id or 0),
        )
        for state, result in refused
    ]


def _others(state: MessageState, orders: Callable[[int, str], list[int]], failing: Callable[[int], bool]) -> list[int]:
    """Return the connections that may send a message next: those after its own that are not failing, in order."""
    if state.pinned:
        return []
    order = orders(state.workspace_id, state.channel)
    if state.connection_id not in order:
        return order
    return [id_ for id_ in order[order.index(state.connection_id) + 1 :] if not failing(id_)]
