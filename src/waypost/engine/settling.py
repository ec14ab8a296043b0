"""What attempts came to: written in bulk, counted, and carried over to their endpoints."""

import random

import msgspec
import structlog

from waypost.clock import Ids
from waypost.domain.deliveries import Outcome, State, settle
from waypost.engine.counts import Counts
from waypost.engine.dispatcher import Attempt
from waypost.engine.exchange import Response
from waypost.engine.notices import disabled_notice
from waypost.storage.database import Tx

log = structlog.get_logger()

_encode = msgspec.json.Encoder().encode
_pairs = msgspec.json.Decoder(list[tuple[int, int]])


class Lost(Exception):
    """Some of what was to be settled is no longer held by this process."""


class Settlement(msgspec.Struct):
    """What settled attempts give to the rest of the engine."""

    #: Endpoints that were disabled.
    disabled: list[int]
    #: When the first of the scheduled retries, or a notice, falls due.
    due_at: int | None


async def settle_attempts(
    tx: Tx, attempts: list[Attempt], ids: Ids, now: int, counts: Counts, *, retry_base: float, careful: bool
) -> Settlement:
    """Write what attempts came to, and what follows for their endpoints.

    Raises Lost when some of the deliveries are no longer held by this process; `careful` looks first which ones are.
    """
    settlement = Settlement([], None)
    node = ids.node
    if careful:
        pairs = _encode([(a.endpoint_id, a.event_id) for a in attempts]).decode()
        found = await tx.row("deliveries.held", rows=pairs, node=node)
        held = set(_pairs.decode(found[0] if found else "[]"))
    settled = []
    log_rows = []
    disable: dict[int, tuple[Attempt, str]] = {}
    failed: dict[int, Attempt] = {}
    for attempt, attempt_id in zip(attempts, ids.take(len(attempts), now), strict=True):
        response = attempt.response
        log_rows.append(
            (
                attempt.endpoint_id,
                attempt_id,
                attempt.event_id,
                attempt.number,
                attempt.started_at,
                response.duration_us,
                response.status or response.seen_status,
                _encode(response.headers).decode(),
                response.body,
                response.error,
            )
        )
        if careful:
            if attempt.outcome is Outcome.GONE:
                # Whose delivery it was does not matter to the receiver.
                disable.setdefault(attempt.endpoint_id, (attempt, "gone"))
            if (attempt.endpoint_id, attempt.event_id) not in held:
                continue
            # Two attempts of one delivery may meet here after a takeover: the first one settles it.
            held.discard((attempt.endpoint_id, attempt.event_id))
        result = settle(
            attempt.outcome,
            attempt.tries,
            attempt.ended_at,
            retry_base=retry_base,
            chance=random.random(),  # noqa: S311 jitter is no secret
            retry_after=attempt.retry_after,
        )
        settled.append((attempt.endpoint_id, attempt.event_id, result.state, result.due_at, result.disable))
        if result.state is State.DELIVERED:
            counts.add(attempt.workspace_id, attempt.endpoint_id, 0, 1, -1, 0)
        elif result.state is State.DEAD:
            counts.add(attempt.workspace_id, attempt.endpoint_id, 0, 0, -1, 1)
        if result.due_at is not None and (settlement.due_at is None or result.due_at < settlement.due_at):
            settlement.due_at = result.due_at
        if attempt.outcome is not Outcome.DELIVERED:
            failed[attempt.endpoint_id] = attempt
        if result.disable is not None:
            disable.setdefault(attempt.endpoint_id, (attempt, result.disable))
    await tx.insert("attempts.insert", log_rows)
    changed = await tx.run("deliveries.settle", rows=_encode(settled).decode(), node=node, now=now)
    if changed != len(settled):
        # Somebody else settled some of them; count again, looking first.
        raise Lost
    for endpoint_id, attempt in failed.items():
        await tx.run("endpoints.note_error", id=endpoint_id, error=explain(attempt.response), now=attempt.ended_at)
    for endpoint_id, (attempt, reason) in disable.items():
        await _disable(tx, endpoint_id, attempt, reason, ids, now, settlement)
    return settlement


async def _disable(
    tx: Tx, endpoint_id: int, attempt: Attempt, reason: str, ids: Ids, now: int, settlement: Settlement
) -> None:
    """Disable an endpoint and put the notice to its owner in the same transaction."""
    workspace_id = attempt.workspace_id
    records = await tx.records("endpoints.by_ids", ids=[endpoint_id])
    if not records or records[0]["version"] != attempt.version:
        # The endpoint was changed meanwhile, perhaps to mend this: what it is now has not failed yet.
        return
    if not await tx.run("endpoints.disable", workspace_id=workspace_id, id=endpoint_id, reason=reason, now=now):
        return
    await tx.run("workspaces.touch", workspace_id=workspace_id)
    error = explain(attempt.response)
    settlement.disabled.append(endpoint_id)
    notice = disabled_notice(ids.one(now), records[0], reason, error, now)
    await tx.insert("notices.add", [notice])
    settlement.due_at = now
    log.warning(
        "endpoint disabled",
        action="endpoint_disabled",
        endpoint=endpoint_id,
        reason=reason,
        error=error,
    )


def explain(response: Response) -> str:
    """What was wrong with an answer that did not count as received, in one line."""
    if response.error is not None:
        return response.error
    return f"status_{response.status}: the endpoint answered {response.status}, and only 2xx counts as received"
