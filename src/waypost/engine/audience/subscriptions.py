"""Set the subscriptions of addresses in bulk, keep their histories, and read their states."""

from collections.abc import Iterable
from typing import Any

import msgspec

from waypost.domain.audience.subscriptions import (
    Subscription,
    SubscriptionChange,
    SubscriptionKey,
    SubscriptionState,
    change_key,
    decide,
    subscription_changed,
)
from waypost.engine.audience.recipients import place_of
from waypost.engine.runtime.unit import Unit
from waypost.storage.database import Row, Tx

_encode = msgspec.json.Encoder().encode
_states = msgspec.json.Decoder(list[tuple[int, str, str, SubscriptionState]])
_subscriptions = msgspec.json.Decoder(list[tuple[int, str, str, SubscriptionState, str, int, str]])
_claims = msgspec.json.Decoder(list[tuple[int, str, str, int, int]])


class ChangeResult(msgspec.Struct, frozen=True):
    """What became of a change."""

    #: The statement that counts for the address after it.
    subscription: Subscription
    #: Whether the change is that statement. If not, a later one was known.
    effective: bool


async def load_states(tx: Tx, keys: Iterable[SubscriptionKey]) -> dict[SubscriptionKey, SubscriptionState]:
    """Return the states of addresses by workspace, channel and address, with one query; unknown ones are missing."""
    places = sorted(set(keys))
    row = await tx.row("subscriptions.states", keys=_encode(places).decode()) if places else None
    return {(ws, channel, address): state for ws, channel, address, state in _states.decode(row[0])} if row else {}


async def load_subscriptions(
    tx: Tx, keys: Iterable[SubscriptionKey], *, lock: bool = False
) -> dict[SubscriptionKey, Subscription]:
    """Return the subscriptions of addresses, with one query; lock them if they are going to change."""
    places = sorted(set(keys))
    if not places:
        return {}
    row = await tx.row("subscriptions.lock" if lock else "subscriptions.load", keys=_encode(places).decode())
    return {
        (workspace_id, channel, address): Subscription(state, source, changed_at, proof)
        for workspace_id, channel, address, state, source, changed_at, proof in _subscriptions.decode(
            row[0] if row else "[]"
        )
    }


async def set_subscriptions(tx: Tx, changes: list[SubscriptionChange], unit: Unit) -> list[ChangeResult]:
    """Record changes in their order, and return what became of each. One statement of a kind for all of them.

    Every change is in the history once, also one that does not count because a later one is known. Where the state of
    an address changes, `subscription.changed` is emitted. Raises Conflict (`taken`) when another transaction has just
    recorded the first change of an address: run the unit again.
    """
    if not changes:
        return []
    known = await load_subscriptions(tx, [change.key for change in changes], lock=True)
    current = dict(known)
    results: list[ChangeResult] = []
    history: list[Row] = []
    state_changes: list[tuple[SubscriptionChange, Subscription, SubscriptionState | None]] = []
    for change in changes:
        before = current.get(change.key)
        statement, effective = decide(before, change, unit.now)
        if effective:
            current[change.key] = statement
            if before is None or before.state is not statement.state:
                state_changes.append((change, statement, before.state if before else None))
        results.append(ChangeResult(current[change.key], effective))
        history.append(
            (
                *change.key,
                statement.changed_at,
                change_key(statement),
                statement.state.value,
                statement.source,
                statement.proof,
                int(effective),
                change.cause,
                unit.now,
            )
        )
    changed = sorted(key for key, subscription in current.items() if subscription is not known.get(key))
    await tx.insert("subscriptions.insert", [_row(key, current[key]) for key in changed if key not in known])
    await tx.insert("subscriptions.update", [_row(key, current[key]) for key in changed if key in known])
    # Sorted by the primary key, so that two transactions cannot deadlock; of repeats the first one counts.
    await tx.insert("subscription_history.add", sorted(history, key=lambda row: row[:5]))
    people = await _profiles(tx, [change.key for change, _, _ in state_changes])
    unit.emit(
        [
            subscription_changed(change, statement, before, people.get(change.key))
            for change, statement, before in state_changes
        ]
    )
    return results


def _row(key: SubscriptionKey, subscription: Subscription) -> Row:
    return (*key, subscription.state.value, subscription.source, subscription.changed_at, subscription.proof)


async def _profiles(tx: Tx, keys: list[SubscriptionKey]) -> dict[SubscriptionKey, int]:
    """Return the profiles behind addresses."""
    places: dict[SubscriptionKey, Any] = {}
    for key in keys:
        if (place := place_of(key[1], key[2])) is not None:
            places[key] = (key[0], *place)
    if not places:
        return {}
    row = await tx.row("identities.find", wanted=_encode(sorted(set(places.values()))).decode())
    owners = {(ws, kind, value): id_ for ws, kind, value, id_, _ in _claims.decode(row[0] if row else "[]")}
    return {key: owners[place] for key, place in places.items() if place in owners}
