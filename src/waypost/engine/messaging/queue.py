"""The queue of messages: claim due ones before they are sent, and recover or reroute those that were not sent."""

from typing import Any

import msgspec
import structlog

from waypost.domain.messaging.message import Content, Outgoing, Status
from waypost.domain.messaging.sending_rules import SendingRules
from waypost.domain.messaging.status import EXPIRED, OTHER, MessageState, Transition, skip_reason
from waypost.domain.providers.connection import Connection
from waypost.domain.values.rate_limit import Bucket, take_tokens
from waypost.engine.messaging.rule_checks import RuleChecks, RulesOf, give_back
from waypost.engine.messaging.transitions import Transitions
from waypost.storage.database import Tx

log = structlog.get_logger()

_encode = msgspec.json.Encoder().encode
_content = msgspec.json.Decoder(Content)
_object = msgspec.json.Decoder(dict[str, Any])
_known = msgspec.json.Decoder(list[tuple[int, str, str, str | None, str | None]])


class Claim(msgspec.Struct):
    """The messages that were claimed for one connection."""

    messages: list[Outgoing]
    #: Whether more messages may be due.
    more: bool
    #: Microseconds until the rate limit of the connection allows another message; 0 if it does now.
    wait: int
    #: If no more are due: when the next message of the connection is.
    due_at: int | None = None


async def claim(
    tx: Tx, connection: Connection, most: int, transitions: Transitions, rules: SendingRules | None = None
) -> Claim:
    """Claim up to `most` due messages of a connection for this process, as far as rate limits and throttles allow.

    Each of them becomes `sending`, before any is sent. Messages that expired fail; those whose address is suppressed
    or opted out are skipped; those that the sending rules of the workspace do not let pass are held or skipped; those
    that their throttle delays stay queued.
    """
    now = transitions.now
    wait = 0
    bucket, clock = await _bucket(tx, connection, now)
    if bucket is not None:
        most, wait = take_tokens(bucket, most, clock)
        if not most:
            await _keep(tx, bucket)
            return Claim([], True, wait)
    rows = await tx.rows("messages.due", connection_id=connection.id, now=now, n=most)
    await transitions.load(tx, [row[0] for row in rows])
    purposes = {row[0]: row[2] for row in rows}
    states = [transitions.states[row[0]] for row in rows]
    refused = await _refused(tx, states, purposes)
    checks = RuleChecks(rules, transitions)
    await checks.check(
        tx, [(s, purposes[s.id]) for s in states if s.expires_at > now and s.id not in refused] if rules else ()
    )
    throttled = [(row[0], row[1]) for row in rows if row[1] is not None and row[0] not in checks.refused]
    slow = await _throttle(tx, throttled, refused, transitions)
    await checks.write(tx, slow)
    messages: list[Outgoing] = []
    for id_, _, purpose, content in rows:
        state = transitions.states[id_]
        if state.expires_at <= now:
            # The reason why it was not sent in time says more than the expiry.
            code, reason = (state.code, state.reason) if state.code else (EXPIRED, "expired")
            transitions.apply(state, Transition(status=Status.FAILED, at=now, code=code, reason=reason))
        elif id_ in refused:
            transitions.apply(state, Transition(status=Status.SKIPPED, at=now, reason=refused[id_]))
        elif id_ in checks.refused:
            transitions.apply(state, checks.refused[id_])
        elif id_ in slow:
            # Only the due time changes: the result of the last try stays.
            delayed = Transition(status=Status.QUEUED, at=state.status_at, due_at=slow[id_])
            delayed.code, delayed.reason, delayed.provider_code = state.code, state.reason, state.provider_code
            transitions.apply(state, delayed)
        else:
            transitions.apply(state, Transition(status=Status.SENDING, at=now, node=transitions.node))
            messages.append(_outgoing(state, purpose, content))
    if bucket is not None:
        # Messages that are not sent do not count against the limit.
        bucket.tokens += most - len(messages)
        await _keep(tx, bucket)
    if len(rows) >= most:
        return Claim(messages, True, wait)
    following = await tx.row("messages.following", connection_id=connection.id, now=now)
    return Claim(messages, False, wait, following[0] if following else None)


def _outgoing(state: MessageState, purpose: str, content: str | None) -> Outgoing:
    return Outgoing(
        id=state.id,
        workspace_id=state.workspace_id,
        connection_id=state.connection_id,
        channel=state.channel,
        address=state.address,
        content=_content.decode(content or "{}"),
        purpose=purpose,
        metadata=_object.decode(state.metadata) if state.metadata != "{}" else {},
        test=bool(state.test),
        tries=state.tries - 1,
        created_at=state.status_at,
        expires_at=state.expires_at,
    )


async def _bucket(tx: Tx, connection: Connection, now: int) -> tuple[Bucket | None, int]:
    """Return the bucket of a connection with a rate limit, locked, and the time; all processes share the bucket."""
    rate = connection.per_second
    if rate is None:
        return None, now
    rows = await tx.rows("buckets.lock", ids=[connection.id])
    if not rows:
        await tx.insert("buckets.add", [(connection.id, connection.workspace_id, rate, 1.0, now)])
        rows = await tx.rows("buckets.lock", ids=[connection.id])
    bucket, clock = open_bucket(rows[0], now)
    bucket.per_second = rate
    return bucket, clock


def open_bucket(row: tuple[Any, ...], now: int) -> tuple[Bucket, int]:
    """Return the bucket of a row of `buckets.lock`, and the time until which it is filled.

    The time is by the database's clock if several processes, whose clocks may differ, fill the bucket.
    """
    *values, clock = row
    return Bucket(*values), now if clock is None else clock


async def _keep(tx: Tx, bucket: Bucket) -> None:
    await tx.run("buckets.take", **msgspec.structs.asdict(bucket))


async def _refused(tx: Tx, states: list[MessageState], purposes: dict[int, str]) -> dict[int, str]:
    """Return the messages that must not be sent, and why, by the subscriptions and suppressions of this moment."""
    addresses = {(s.workspace_id, s.channel, s.address) for s in states}
    row = await tx.row("addresses.standing", addresses=_encode(sorted(addresses)).decode()) if addresses else None
    known = {(ws, channel, address): (reason, state) for ws, channel, address, reason, state in _decode(row)}
    refused = {}
    if known:
        for s in states:
            found = known.get((s.workspace_id, s.channel, s.address))
            reason = skip_reason(s.channel, purposes[s.id], *found) if found else None
            if reason is not None:
                refused[s.id] = reason
    return refused


def _decode(row: tuple[Any, ...] | None) -> list[tuple[int, str, str, str | None, str | None]]:
    return _known.decode(row[0]) if row else []


async def _throttle(
    tx: Tx, throttled: list[tuple[int, int]], refused: dict[int, str], transitions: Transitions
) -> dict[int, int]:
    """Return the messages that their throttle delays, and until when."""
    by_throttle: dict[int, list[int]] = {}
    for id_, throttle_id in throttled:
        if id_ not in refused:
            by_throttle.setdefault(throttle_id, []).append(id_)
    slow: dict[int, int] = {}
    if not by_throttle:
        return slow
    for row in await tx.rows("buckets.lock", ids=sorted(by_throttle)):
        bucket, clock = open_bucket(row, transitions.now)
        ids = by_throttle[bucket.id]
        granted, wait = take_tokens(bucket, len(ids), clock)
        await _keep(tx, bucket)
        step = 1_000_000 / bucket.per_second
        for position, id_ in enumerate(ids[granted:]):
            slow[id_] = transitions.now + wait + int(position * step)
    return slow


async def recover_orphaned(tx: Tx, transitions: Transitions, repeatable: set[int], n: int) -> int:
    """Settle up to `n` messages whose process died while it sent them. Return how many there were.

    They become unknown. Those of a connection in `repeatable` are queued again: its provider deduplicates messages.
    """
    ids = [row[0] for row in await tx.rows("messages.orphaned", n=n)]
    await transitions.load(tx, ids)
    for id_ in ids:
        state = transitions.states.get(id_)
        if state is None or state.status is not Status.SENDING or state.node != 0:
            continue
        if state.connection_id in repeatable:
            change = Transition(status=Status.QUEUED, at=transitions.now, due_at=transitions.now, reason="interrupted")
        else:
            change = Transition(status=Status.UNKNOWN, at=transitions.now, reason="interrupted")
        transitions.apply(state, change)
    if ids:
        log.warning("a process died while it was sending messages", action="messages_stranded", messages=len(ids))
    return len(ids)


async def recover_unacknowledged(
    tx: Tx, transitions: Transitions, before: int, held: set[int], rules_of: RulesOf
) -> int:
    """Queue messages again whose claim was committed although the database could not confirm it. Return how many.

    This process does not know that it claimed them, so it did not send them. `held` are those that it knows.
    """
    ids = [
        row[0] for row in await tx.rows("messages.overdue", node=transitions.node, before=before) if row[0] not in held
    ]
    count = await queue_unsent(tx, transitions, ids, rules_of)
    log.warning("messages were claimed without a confirmation", action="messages_forgotten", messages=count)
    return count


async def is_stuck(tx: Tx, connection_id: int, gone: bool, elsewhere: bool, now: int) -> bool:
    """Return whether `reroute_queued` would change anything. Call it outside the writer's transaction."""
    row = await tx.row("messages.stuck", connection_id=connection_id, gone=int(gone), free=int(elsewhere), now=now)
    return row is not None and bool(row[0])


async def queue_unsent(tx: Tx, transitions: Transitions, ids: list[int], rules_of: RulesOf) -> int:
    """Queue messages again that this process claimed and did not send. Return how many there were."""
    await transitions.load(tx, ids)
    count = 0
    unsent: list[MessageState] = []
    for id_ in ids:
        state = transitions.states.get(id_)
        if state is not None and state.status is Status.SENDING and state.node == transitions.node:
            change = Transition(status=Status.QUEUED, at=transitions.now, due_at=transitions.now, reason="unsent")
            count += transitions.apply(state, change)
            unsent.append(state)
    await give_back(tx, unsent, rules_of, transitions.now)
    return count


async def reroute_queued(
    tx: Tx, connection_id: int, gone: bool, instead: int | None, transitions: Transitions, n: int
) -> int:
    """Reroute messages that are queued at a connection that cannot send them. Return how many changed.

    Up to `n` messages that are not pinned go to the connection `instead`, if there is one. The others fail when they
    expire, or when the connection was deleted (`gone`).
    """
    now = transitions.now
    moved = 0
    if instead is not None:
        ids = [row[0] for row in await tx.rows("messages.waiting", connection_id=connection_id, pinned=0, n=n)]
        await transitions.load(tx, ids)
        for id_ in ids:
            state = transitions.states[id_]
            if state.status is not Status.QUEUED:
                continue
            due_at = state.due_at or now
            transitions.apply(
                state,
                Transition(
                    status=Status.QUEUED,
                    at=now,
                    reason="rerouted",
                    due_at=due_at,
                    connection_id=instead,
                ),
            )
        moved += len(ids)
    if gone and not moved:
        for pinned in (1, 0):
            rows = await tx.rows("messages.waiting", connection_id=connection_id, pinned=pinned, n=n)
            moved += await _fail(
                tx,
                [row[0] for row in rows],
                Transition(status=Status.FAILED, at=now, code=OTHER, reason="connection_deleted"),
                transitions,
            )
    else:
        for pinned in (1, 0):
            rows = await tx.rows("messages.expired", connection_id=connection_id, pinned=pinned, now=now, n=n)
            expired = Transition(status=Status.FAILED, at=now, code=EXPIRED, reason="expired")
            moved += await _fail(tx, [row[0] for row in rows], expired, transitions)
    return moved


async def _fail(tx: Tx, ids: list[int], change: Transition, transitions: Transitions) -> int:
    await transitions.load(tx, ids)
    for id_ in ids:
        # Another process may have begun to send it since the query.
        if transitions.states[id_].status is Status.QUEUED:
            transitions.apply(transitions.states[id_], change)
    return len(ids)


async def orphan_sending(tx: Tx, nodes: list[int] | None) -> None:
    """Mark messages that these nodes were sending as orphaned; None stands for every node."""
    if nodes is None:
        await tx.run("messages.orphan_all")
    else:
        await tx.run("messages.orphan", nodes=nodes)
