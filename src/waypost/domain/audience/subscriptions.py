"""Subscriptions: what the owner of an address last said about a channel, and which of two statements counts."""

import hashlib
from enum import StrEnum

import msgspec

from waypost.clock import CLOCKS_DIFFER, iso
from waypost.domain.events.event import Event

_encode = msgspec.json.Encoder().encode
#: The largest number that a change key can be.
_KEY = (1 << 63) - 1

#: Workspace id, channel and address.
SubscriptionKey = tuple[int, str, str]


class SubscriptionState(StrEnum):
    """What the owner of an address said. Nothing is known of an address without a subscription."""

    SUBSCRIBED = "subscribed"  #: The owner wants messages.
    UNSUBSCRIBED = "unsubscribed"  #: The owner wants no messages.


class Subscription(msgspec.Struct, frozen=True, gc=False):
    """The statement that counts for an address."""

    state: SubscriptionState
    #: How it is known: `keyword`, `provider`, `api` or a word of the caller.
    source: str
    #: When the person said so, in microseconds.
    changed_at: int
    #: JSON object: what proves it.
    proof: str = "{}"


class SubscriptionChange(msgspec.Struct, frozen=True, gc=False):
    """A statement about an address that is to be recorded."""

    workspace_id: int
    channel: str
    #: Normalised.
    address: str
    state: SubscriptionState
    source: str
    #: When the person said so, in microseconds; None for a request that gives no time and is about the present.
    changed_at: int | None = None
    #: JSON object.
    proof: str = "{}"
    #: The message id of the event, or the public id of the message, that it follows from.
    cause: str | None = None

    @property
    def key(self) -> SubscriptionKey:
        """The address that it is about."""
        return self.workspace_id, self.channel, self.address


class SubscriptionChangedContents(msgspec.Struct):
    """The data of the event `subscription.changed`, without the ids of the event."""

    channel: str
    address: str
    state: SubscriptionState
    #: None if nothing was known of the address.
    before: SubscriptionState | None
    source: str
    changed_at: str


def decide(known: Subscription | None, change: SubscriptionChange, now: int) -> tuple[Subscription, bool]:
    """Return the dated statement of a change, and whether it counts from now on instead of what is known.

    The later statement counts, whichever is recorded last; of two at the same time, `unsubscribed`. A change without a
    time is about the present, and counts even if what is known is dated ahead of `now` by another clock. One exception:
    it does not undo an opt-out that came in while it was under way.
    """
    at = now if change.changed_at is None else change.changed_at
    statement = Subscription(change.state, change.source, at, change.proof)
    if known is None:
        return statement, True
    if change.changed_at is None and statement != known:
        if not now <= known.changed_at <= now + CLOCKS_DIFFER:
            return statement, True
        if change.state is SubscriptionState.UNSUBSCRIBED or known.state is SubscriptionState.SUBSCRIBED:
            statement = msgspec.structs.replace(statement, changed_at=known.changed_at + 1)
    return statement, _order(statement) > _order(known)


def _order(statement: Subscription) -> tuple[int, bool, str, str]:
    # Source and proof decide nothing but which record is kept, so that it does not depend on the order of arrival.
    return statement.changed_at, statement.state is SubscriptionState.UNSUBSCRIBED, statement.source, statement.proof


def change_key(statement: Subscription) -> int:
    """Return 63 bits of a digest of what a statement says, apart from its time: those of a repeat are the same."""
    digest = hashlib.blake2b(_encode((statement.state, statement.source, statement.proof)), digest_size=8).digest()
    return int.from_bytes(digest, "big") & _KEY


def subscription_changed(
    change: SubscriptionChange, statement: Subscription, before: SubscriptionState | None, profile_id: int | None
) -> Event:
    """Return the event for a change of the state of an address."""
    return Event(
        change.workspace_id,
        "subscription.changed",
        profile_id,
        statement.changed_at,
        # The state of an address changes at most once at one time.
        f"{change.channel}:{change.address}:{statement.state}:{statement.changed_at:x}",
        _encode(
            SubscriptionChangedContents(
                change.channel, change.address, statement.state, before, statement.source, iso(statement.changed_at)
            )
        ),
    )
