"""Record the results of attempts in bulk: settle deliveries, count them, and disable endpoints that gave up."""

import random

import msgspec
import structlog

from waypost.domain.values.ids import public
from waypost.domain.webhooks.delivery import AttemptOutcome, State, schedule, settle
from waypost.engine.accounts.notices import disabled_notice
from waypost.engine.net.request import Response
from waypost.engine.runtime.unit import NotHeld, Unit
from waypost.engine.webhooks.lane import Attempt
from waypost.engine.webhooks.ledger_counts import count_deliveries
from waypost.engine.webhooks.ordering import release_followers
from waypost.storage.database import Tx

log = structlog.get_logger()

_encode = msgspec.json.Encoder().encode
_pairs = msgspec.json.Decoder(list[tuple[int, int]])


class Released(msgspec.Struct):
    """Deliveries, by endpoint and event, that were held and are given back untried."""

    deliveries: list[tuple[int, int]]


class SettledAttempts(msgspec.Struct):
    """What settled attempts mean for the rest of the engine."""

    #: Endpoints that were disabled.
    disabled: list[int]
    #: When the first of the scheduled retries, or a notice, is due.
    due_at: int | None


async def release_deliveries(tx: Tx, released: list[Released], unit: Unit) -> None:
    """Release deliveries, so that any process can claim them."""
    pairs = [pair for one in released for pair in one.deliveries]
    await tx.run("deliveries.release", rows=_encode(pairs).decode(), node=unit.node)


async def settle_attempts(tx: Tx, attempts: list[Attempt], unit: Unit, *, retry_base: float) -> SettledAttempts:
    """Write the results of attempts, and disable the endpoints that failed for too long.

    Raise NotHeld if this process no longer holds some of the deliveries, unless the unit verifies that first.
    """
    settlement = SettledAttempts([], None)
    ids, now, node, verify_held = unit.ids, unit.now, unit.node, unit.verify_held
    if verify_held:
        pairs = _encode([(a.endpoint_id, a.event_id) for a in attempts]).decode()
        found = await tx.row("deliveries.held", rows=pairs, node=node)
        held = set(_pairs.decode(found[0] if found else "[]"))
    delivered: list[tuple[int, int]] = []
    settled = []
    log_rows = []
    #: How many deliveries of each workspace and endpoint were delivered.
    counts: dict[tuple[int, int], int] = {}
    disable: dict[int, tuple[Attempt, str]] = {}
    failed: dict[int, Attempt] = {}
    #: Deliveries of ordered endpoints that have ended, so that the next ones of their subjects may follow.
    ended: list[tuple[int, int]] = []
    #: Deliveries that the receiver will never accept; the endpoint works.
    rejected: dict[int, Attempt] = {}
    known: Response | None = None
    headers = ""
    for attempt, attempt_id in zip(attempts, ids.take(len(attempts), now), strict=True):
        response = attempt.response
        if response is not known:
            # The attempts of a request for several deliveries share its response.
            known, headers = response, _encode(response.headers).decode()
        log_rows.append(
            (
                attempt.endpoint_id,
                attempt_id,
                attempt.event_id,
                attempt.number,
                attempt.started_at,
                response.duration_us,
                response.status or response.seen_status,
                headers,
                response.body,
                error_code(attempt),
            )
        )
        if verify_held:
            if attempt.outcome is AttemptOutcome.GONE:
                # The receiver wants no more deliveries, whichever process holds this one.
                disable.setdefault(attempt.endpoint_id, (attempt, "gone"))
            if (attempt.endpoint_id, attempt.event_id) not in held:
                continue
            # After a takeover, two attempts of one delivery may meet here. The first one settles it.
            held.discard((attempt.endpoint_id, attempt.event_id))
        if attempt.outcome is AttemptOutcome.DELIVERED:
            delivered.append((attempt.endpoint_id, attempt.event_id))
            if attempt.ordered:
                ended.append((attempt.endpoint_id, attempt.event_id))
            key = attempt.workspace_id, attempt.endpoint_id
            counts[key] = counts.get(key, 0) + 1
            continue
        result = settle(
            attempt.outcome,
            attempt.tries,
            attempt.ended_at,
            retry_base=retry_base,
            chance=random.random(),  # noqa: S311 jitter is no secret
            retry_after=attempt.retry_after,
        )
        settled.append(
            (attempt.endpoint_id, attempt.event_id, result.state, result.due_at, result.disable or result.reason)
        )
        if result.state is State.DEAD:
            if attempt.ordered:
                ended.append((attempt.endpoint_id, attempt.event_id))
            count_deliveries(unit.counters, node, attempt.workspace_id, attempt.endpoint_id, pending=-1, dead=1)
        if result.due_at is not None and (settlement.due_at is None or result.due_at < settlement.due_at):
            settlement.due_at = result.due_at
        if attempt.outcome is AttemptOutcome.REJECTED:
            rejected[attempt.endpoint_id] = attempt
            continue
        failed[attempt.endpoint_id] = attempt
        if result.disable is not None:
            disable.setdefault(attempt.endpoint_id, (attempt, result.disable))
    recovered = {endpoint_id for _, endpoint_id in counts}
    for (workspace_id, endpoint_id), count in counts.items():
        count_deliveries(unit.counters, node, workspace_id, endpoint_id, delivered=count, pending=-count)
    await tx.insert("attempts.insert", log_rows)
    changed = 0
    if delivered:
        changed += await tx.run("deliveries.settle_delivered", rows=_encode(delivered).decode(), node=node, now=now)
    if settled:
        changed += await tx.run("deliveries.settle", rows=_encode(settled).decode(), node=node, now=now)
    if changed != len(delivered) + len(settled):
        # Another process settled some of them. Verify first which ones this process holds.
        raise NotHeld
    if await release_followers(tx, ended, now):
        settlement.due_at = now
    if recovered:
        await tx.run("endpoints.recovered", ids=sorted(recovered))
    if failed:
        # In the order of their ids, so that two processes do not wait for each other.
        errors = [(id_, explain(attempt.response), attempt.ended_at) for id_, attempt in sorted(failed.items())]
        for id_, since in await tx.rows("endpoints.failed", rows=_encode(errors).decode()):
            if id_ not in recovered and failed[id_].ended_at - since > schedule(retry_base):
                disable.setdefault(id_, (failed[id_], "exhausted"))
    if rejected:
        errors = [(id_, explain(attempt.response), attempt.ended_at) for id_, attempt in sorted(rejected.items())]
        await tx.run("endpoints.note_errors", rows=_encode(errors).decode())
    if disable:
        await _disable(tx, disable, unit, settlement)
    return settlement


async def _disable(tx: Tx, disable: dict[int, tuple[Attempt, str]], unit: Unit, settlement: SettledAttempts) -> None:
    """Disable endpoints, and add the notices to their owners in the same transaction."""
    ids, now = unit.ids, unit.now
    records = {record["id"]: record for record in await tx.records("endpoints.by_ids", ids=sorted(disable))}
    workspaces: set[int] = set()
    notices = []
    for endpoint_id, (attempt, reason) in sorted(disable.items()):
        record = records.get(endpoint_id)
        if record is None or record["version"] != attempt.version:
            # The endpoint was changed meanwhile, perhaps to fix this. The new version has not failed yet.
            continue
        workspace_id = attempt.workspace_id
        if not await tx.run("endpoints.disable", workspace_id=workspace_id, id=endpoint_id, reason=reason, now=now):
            continue
        error = explain(attempt.response)
        workspaces.add(workspace_id)
        notices.append(disabled_notice(ids.one(now), record, reason, error, now))
        settlement.disabled.append(endpoint_id)
        settlement.due_at = now
        log.warning(
            "endpoint disabled",
            action="endpoint_disabled",
            endpoint=public("whk", endpoint_id),
            workspace=public("ws", workspace_id),
            reason=reason,
            error=error,
        )
    for workspace_id in sorted(workspaces):
        await tx.run("configurations.touch", area="webhooks", workspace_id=workspace_id)
    await tx.insert("notices.add", notices)


def error_code(attempt: Attempt) -> str | None:
    """Return the error code of a failed attempt: that of the transport, or for example `status_500` for a response."""
    if attempt.response.error is not None or attempt.outcome is AttemptOutcome.DELIVERED:
        return attempt.response.error
    return f"status_{attempt.response.status}"


def explain(response: Response) -> str:
    """Return in one line why a response does not count as received."""
    if response.error is not None:
        return response.error
    return f"status_{response.status}: the endpoint answered {response.status}, and only 2xx counts as received"
