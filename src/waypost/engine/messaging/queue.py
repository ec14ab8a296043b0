"""Messages taken from the queue to be sent: their intent is on disk, and their consent looked at, before the wire."""

from typing import Any

import msgspec
import structlog

from waypost.domain.messaging.message import Content, Outgoing, Status
from waypost.domain.messaging.status import EXPIRED, OTHER, MessageState, Transition, skip_reason
from waypost.domain.providers.connection import Connection
from waypost.domain.values.rate_limit import Bucket, take_tokens
from waypost.engine.messaging.transitions import Transitions
from waypost.storage.database import Tx

log = structlog.get_logger()

_encode = msgspec.json.Encoder().encode
_content = msgspec.json.Decoder(Content)
_object = msgspec.json.Decoder(dict[str, Any])
_known = msgspec.json.Decoder(list[tuple[int, str, str, str | None, str | None]])


class Claim(msgspec.Struct):
    """What was taken for one connection."""

    messages: list[Outgoing]
    #: Whether there may be more.
    more: bool
    #: Microseconds until the connection's limit lets another one through; 0 when it does already.
    wait: int
    #: When the next message of the connection falls due, if there are no more now.
    due_at: int | None = None


async def claim(tx: Tx, connection: Connection, wanted: int, transitions: Transitions) -> Claim:
    """Take up to `wanted` due messages of one connection for this process, as many as its limit and theirs allow.

    Each is `sending` from then on, or skipped or failed for a named reason: nothing else follows from what was queued.
    """
    now = transitions.now
    wait = 0
    bucket, clock = await _bucket(tx, connection, now)
    if bucket is not None:
        wanted, wait = take_tokens(bucket, wanted, clock)
        if not wanted:
            await _keep(tx, bucket)
            return Claim([], True, wait)
    rows = await tx.rows("messages.due", connection_id=connection.id, now=now, n=wanted)
    await transitions.load(tx, [row[0] for row in rows])
    refused = await _refused(tx, [transitions.standings[row[0]] for row in rows], {row[0]: row[2] for row in rows})
    slow = await _throttle(tx, [(row[0], row[1]) for row in rows if row[1] is not None], refused, transitions)
    messages: list[Outgoing] = []
    for id_, _, purpose, content in rows:
        standing = transitions.standings[id_]
        if standing.expires_at <= now:
            # What kept it from being sent in its time tells more than that the time is over.
            code, reason = (standing.code, standing.reason) if standing.code else (EXPIRED, "expired")
            transitions.apply(standing, Transition(status=Status.FAILED, at=now, code=code, reason=reason))
        elif id_ in refused:
            transitions.apply(standing, Transition(status=Status.SKIPPED, at=now, reason=refused[id_]))
        elif id_ in slow:
            wait_for = Transition(status=Status.QUEUED, at=standing.status_at, due_at=slow[id_])
            # Only its turn is put off: what its last try came to is as true as before.
            wait_for.code, wait_for.reason, wait_for.provider_code = (
                standing.code,
                standing.reason,
                standing.provider_code,
            )
            transitions.apply(standing, wait_for)
        else:
            transitions.apply(standing, Transition(status=Status.SENDING, at=now, node=transitions.node))
            messages.append(_outgoing(standing, purpose, content))
    if bucket is not None:
        # What was not sent takes nothing of the limit.
        bucket.tokens += wanted - len(messages)
        await _keep(tx, bucket)
    if len(rows) >= wanted:
        return Claim(messages, True, wait)
    following = await tx.row("messages.following", connection_id=connection.id, now=now)
    return Claim(messages, False, wait, following[0] if following else None)


def _outgoing(standing: MessageState, purpose: str, content: str | None) -> Outgoing:
    return Outgoing(
        id=standing.id,
        workspace_id=standing.workspace_id,
        connection_id=standing.connection_id,
        channel=standing.channel,
        address=standing.address,
        content=_content.decode(content or "{}"),
        purpose=purpose,
        metadata=_object.decode(standing.metadata) if standing.metadata != "{}" else {},
        test=bool(standing.test),
        tries=standing.tries - 1,
        created_at=standing.status_at,
        expires_at=standing.expires_at,
    )


async def _bucket(tx: Tx, connection: Connection, now: int) -> tuple[Bucket | None, int]:
    """The bucket of a connection that has a limit, locked, and the time: all processes draw on the same row."""
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
    """Return the bucket of a row of `buckets.lock`, and the time to fill it by.

    That is the database's clock where several processes with clocks of their own fill it.
    """
    *values, clock = row
    return Bucket(*values), now if clock is None else clock


async def _keep(tx: Tx, bucket: Bucket) -> None:
    await tx.run("buckets.take", **msgspec.structs.asdict(bucket))


async def _refused(tx: Tx, standings: list[MessageState], purposes: dict[int, str]) -> dict[int, str]:
    """The messages that must not be sent, and why: consent and suppression, as they are at this moment."""
    wanted = {(s.workspace_id, s.channel, s.address) for s in standings}
    row = await tx.row("addresses.standing", addresses=_encode(sorted(wanted)).decode()) if wanted else None
    known = {(ws, channel, address): (reason, state) for ws, channel, address, reason, state in _decode(row)}
    refused = {}
    if known:
        for s in standings:
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
    """The messages of throttled sends that have to wait, and until when."""
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
    """Messages that a process died over: nobody can tell whether they were sent. Gives back how many there were.

    Those of a connection in `repeatable` are queued again: its provider takes a repeat for the same message.
    """
    ids = [row[0] for row in await tx.rows("messages.orphaned", n=n)]
    await transitions.load(tx, ids)
    for id_ in ids:
        standing = transitions.standings.get(id_)
        if standing is None or standing.status is not Status.SENDING or standing.node != 0:
            continue
        if standing.connection_id in repeatable:
            change = Transition(status=Status.QUEUED, at=transitions.now, due_at=transitions.now, reason="interrupted")
        else:
            change = Transition(status=Status.UNKNOWN, at=transitions.now, reason="interrupted")
        transitions.apply(standing, change)
    if ids:
        log.warning("messages were under way when a process died", action="messages_stranded", messages=len(ids))
    return len(ids)


async def recover_unacknowledged(tx: Tx, transitions: Transitions, before: int, held: set[int]) -> int:
    """Messages claimed for this process without its knowing, because the store could not say that it was done.

    They were never handed to the wire, so they are queued again. `held` are those that were. Gives back how many.
    """
    ids = [
        row[0] for row in await tx.rows("messages.overdue", node=transitions.node, before=before) if row[0] not in held
    ]
    count = await queue_unsent(tx, transitions, ids)
    log.warning("messages were claimed and forgotten", action="messages_forgotten", messages=count)
    return count


async def is_stuck(tx: Tx, connection_id: int, gone: bool, elsewhere: bool, now: int) -> bool:
    """Whether `clear_out` has anything to do; to be asked outside the writer's transaction."""
    row = await tx.row("messages.stuck", connection_id=connection_id, gone=int(gone), free=int(elsewhere), now=now)
    return row is not None and bool(row[0])


async def queue_unsent(tx: Tx, transitions: Transitions, ids: list[int]) -> int:
    """Queue messages again that this process claimed and did not put on the wire. Return how many there were."""
    await transitions.load(tx, ids)
    count = 0
    for id_ in ids:
        standing = transitions.standings.get(id_)
        if standing is not None and standing.status is Status.SENDING and standing.node == transitions.node:
            change = Transition(status=Status.QUEUED, at=transitions.now, due_at=transitions.now, reason="unsent")
            count += transitions.apply(standing, change)
    return count


async def reroute_queued(
    tx: Tx, connection_id: int, gone: bool, instead: int | None, transitions: Transitions, n: int
) -> int:
    """Messages queued at a connection that cannot send them, some at a time; gives back how many were moved.

    Those that may go elsewhere go to `instead`; those that may not fail when the connection is `gone`, or out of time.
    """
    now = transitions.now
    moved = 0
    if instead is not None:
        ids = [row[0] for row in await tx.rows("messages.waiting", connection_id=connection_id, pinned=0, n=n)]
        await transitions.load(tx, ids)
        for id_ in ids:
            standing = transitions.standings[id_]
            if standing.status is not Status.QUEUED:
                continue
            due_at = standing.due_at or now
            transitions.apply(
                standing,
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
        # Another process may have begun to send it since it was looked for.
        if transitions.standings[id_].status is Status.QUEUED:
            transitions.apply(transitions.standings[id_], change)
    return len(ids)


async def orphan_sending(tx: Tx, nodes: list[int] | None) -> None:
    """Mark messages that these nodes were sending as nobody's; None stands for every node."""
    if nodes is None:
        await tx.run("messages.orphan_all")
    else:
        await tx.run("messages.orphan", nodes=nodes)
