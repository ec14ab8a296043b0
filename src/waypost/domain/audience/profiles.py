"""Profiles: traits, identifiers, and the rules by which two profiles are merged into one.

Identity rules. A userId belongs to one profile; only an alias merges two profiles that have userIds. An anonymousId, an
email or a phone may be shared and belongs to the profile that used it last, by event time. A profile without a userId
is merged into the first profile that uses one of its identifiers together with a userId. The previousId of an alias
counts as a userId, and as an anonymousId that the profile used.

These results do not depend on the order of events or on how events are divided into batches:

- `merge` and `fold`: every trait carries the time at which it was set, and the later value wins.
- For events with one userId, one anonymousId or both, and for aliases: which identifiers resolve to the same profile,
  if uses of one anonymousId by different profiles are more than RENEWAL apart.
- The traits of these profiles, as long as no anonymousId was used by two of them.

These results depend on the order: an event with an anonymousId alone stays with the profile that the anonymousId
resolved to on arrival. Emails and phones in anonymous events merge profiles without a userId, and a merge is never
undone. Of two uses at the same time, the one that arrives first counts.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from waypost.clock import MINUTE
from waypost.domain.events.segment import Entry
from waypost.errors import Conflict

#: By trait name: its value, and when it was set (microseconds). The value None marks a trait that was removed.
Traits = dict[str, tuple[Any, int]]
#: Workspace id, kind and value of an identifier.
IdentityKey = tuple[int, str, str]

#: A profile renews its claim on an identifier at most this often, so that a busy device costs no write per event.
RENEWAL = MINUTE

_encode = msgspec.json.Encoder(order="sorted").encode


class Profile(msgspec.Struct, gc=False):
    """One person in one workspace."""

    id: int
    workspace_id: int
    traits: Traits
    created_at: int
    #: Whether a userId resolves to this profile. A shared device or address never merges two such profiles.
    known: bool = False
    merged_into: int | None = None
    changed: bool = False


class IdentityClaim(msgspec.Struct, gc=False):
    """The profile that an identifier resolves to, and when the profile last used it, with the precision of RENEWAL.

    For a userId, which is never shared, `claimed_at` is its first use.
    """

    profile_id: int
    claimed_at: int
    changed: bool = False


def fold(traits: Traits, news: dict[str, Any], at: int) -> bool:
    """Set traits as of a time (microseconds), in place. The later value of a trait wins. Return whether any changed."""
    changed = False
    for name, value in news.items():
        changed |= _put(traits, name, value, at)
    return changed


def _put(traits: Traits, name: str, value: Any, at: int) -> bool:
    known = traits.get(name)
    # Two values of the same time are ordered by their JSON, so that the result does not depend on which arrived first.
    if known is not None and (at < known[1] or (at == known[1] and _encode(value) <= _encode(known[0]))):
        return False
    traits[name] = (value, at)
    return True


def current(traits: Traits) -> dict[str, Any]:
    """Return the current values of the traits by name, without removed traits."""
    return {name: value for name, (value, _) in sorted(traits.items()) if value is not None}


def merge(one: Profile, other: Profile) -> Profile:
    """Merge two profiles in place. Return the survivor, which is the older one."""
    survivor, merged = (one, other) if one.id < other.id else (other, one)
    for name, (value, at) in merged.traits.items():
        _put(survivor.traits, name, value, at)
    survivor.created_at = min(survivor.created_at, merged.created_at)
    survivor.known = survivor.known or merged.known
    survivor.changed = merged.changed = True
    merged.merged_into = survivor.id
    return survivor


def profiles_to_load(entries: Iterable[Entry], claims: dict[IdentityKey, IdentityClaim]) -> set[int]:
    """Return the ids of the profiles that `resolve` needs in memory: those that traits or a merge may change.

    An event without traits whose identifiers all resolve to one profile needs none.
    """
    needed: set[int] = set()
    if not claims:
        return needed
    for entry in entries:
        if entry.traits is None and len(entry.identifiers) == 1:
            continue
        found = [claims.get((entry.workspace_id, kind, value)) for kind, value in entry.identifiers]
        owners = {claim.profile_id for claim in found if claim is not None}
        if entry.traits is not None or len(owners) > 1 or (owners and None in found):
            needed |= owners
    return needed


class Resolver:
    """Resolve the entries of one batch to profiles. Creates, changes and merges profiles in memory."""

    def __init__(
        self, claims: dict[IdentityKey, IdentityClaim], profiles: dict[int, Profile], new_id: Callable[[], int]
    ) -> None:
        self.claims = claims
        self.profiles = profiles
        self._new_id = new_id
        self.created: list[Profile] = []
        self.merged: list[tuple[int, int]] = []

    def resolve(self, entry: Entry) -> int:
        """Return the id of the profile that an entry belongs to, after applying its traits and identifiers."""
        workspace_id = entry.workspace_id
        identifiers = entry.identifiers
        if len(identifiers) == 1 and entry.traits is None:
            # The most common case: one identifier and no traits.
            kind, value = identifiers[0]
            claim = self.claims.get((workspace_id, kind, value))
            if claim is not None:
                return self._survivor(claim.profile_id)
        keys = [(workspace_id, kind, value) for kind, value in identifiers]
        claims = [self.claims.get(key) for key in keys]
        if not any(claims):
            return self._create_with(entry, keys)
        owners = [None if claim is None else self._survivor(claim.profile_id) for claim in claims]
        first = owners[0]
        # A client clock that runs ahead must not override all later values.
        at = min(entry.occurred_at, entry.received_at)
        if entry.traits is None and first is not None and owners.count(first) == len(owners):
            # Several identifiers and no traits: one of them is a userId, which renews the others.
            for (kind, _), claim in zip(identifiers, claims, strict=True):
                if kind != "user_id" and claim is not None and at > claim.claimed_at + RENEWAL:
                    claim.claimed_at, claim.changed = at, True
            return first
        found = {owner: self._profile(owner) for owner in owners if owner is not None}
        anonymous = [profile for profile in found.values() if not profile.known]
        unowned = {profile.id for profile in anonymous}
        person = self._person(entry, owners, found, anonymous)
        has_user = identifiers[0][0] == "user_id"
        person.known |= has_user
        for key, claim, owner in zip(keys, claims, owners, strict=True):
            kind = key[1]
            if claim is None:
                self.claims[key] = IdentityClaim(person.id, at, changed=True)
                continue
            if owner in unowned:
                # Until now it was used anonymously, which does not establish an owner.
                counts = person.known
            elif self._survivor(claim.profile_id) == person.id:
                counts = has_user and kind != "user_id" and at > claim.claimed_at + RENEWAL
            else:
                counts = at > claim.claimed_at
            if counts:
                claim.profile_id, claim.claimed_at, claim.changed = person.id, at, True
        if entry.traits:
            person.changed |= fold(person.traits, entry.traits, at)
        return person.id

    def changed_profiles(self) -> Iterator[Profile]:
        """Return the changed profiles that must be written, without the new ones."""
        if len(self.profiles) == len(self.created):
            return iter(())
        new = {profile.id for profile in self.created}
        return (profile for profile in self.profiles.values() if profile.changed and profile.id not in new)

    def _survivor(self, profile_id: int) -> int:
        profile = self.profiles.get(profile_id)
        while profile is not None and profile.merged_into is not None:
            profile_id = profile.merged_into
            profile = self.profiles.get(profile_id)
        return profile_id

    def _profile(self, profile_id: int) -> Profile:
        profile = self.profiles.get(profile_id)
        if profile is None:
            raise Conflict("Another process has just merged this profile. Retry.")
        return profile

    def _person(
        self, entry: Entry, owners: list[int | None], found: dict[int, Profile], anonymous: list[Profile]
    ) -> Profile:
        to_merge = [
            found[owner]
            for (kind, _), owner in zip(entry.identifiers, owners, strict=True)
            if kind == "user_id" and owner is not None
        ]
        if entry.identifiers[0][0] != "user_id":
            # Two profiles that both have userIds: the strongest identifier decides, and nothing is merged.
            to_merge = [profile for profile in found.values() if profile.known][:1]
        to_merge += anonymous
        return self._merge_all(to_merge) if to_merge else self._create(entry)

    def _merge_all(self, profiles: list[Profile]) -> Profile:
        person = profiles[0]
        for other in profiles[1:]:
            if other.id != person.id:
                merged = max(person.id, other.id)
                person = merge(person, other)
                self.merged.append((merged, person.id))
        return person

    def _create_with(self, entry: Entry, keys: list[IdentityKey]) -> int:
        """Create the profile of an entry none of whose identifiers is known; return its id."""
        person = self._create(entry)
        id_, at = person.id, min(entry.occurred_at, entry.received_at)
        person.known = keys[0][1] == "user_id"
        if entry.traits:
            person.traits = {name: (value, at) for name, value in entry.traits.items()}
        for key in keys:
            self.claims[key] = IdentityClaim(id_, at, True)
        return id_

    def _create(self, entry: Entry) -> Profile:
        profile = Profile(self._new_id(), entry.workspace_id, {}, entry.received_at, changed=True)
        self.profiles[profile.id] = profile
        self.created.append(profile)
        return profile
