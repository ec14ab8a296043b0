"""A person: what is known of them, which identifiers lead to them, and how two records of one person become one.

Who is who. A userId is a person's own: only an alias makes two of them one person. An anonymousId, an email or a phone
may be shared, and belongs to the person who used it last, by the time of the events; a profile that no userId leads to
yet is merged into the first person who uses one of its identifiers beside a userId. An alias's previousId counts as a
userId, and as an anonymousId that the person used.

What does not hang on the order in which events come, nor on how they are cut into batches:

- `merge` and `fold`: every trait carries the moment it was said, and the later one wins.
- For events that name one userId, one anonymousId or both, and aliases: which of these lead to the same person, when
  uses of an anonymousId by different people are more than RENEWAL apart.
- The traits of these people, as long as no anonymousId was used by two of them.

What does: events of an anonymousId alone stay with the person it led to when they came, whoever turns out to have used
the device then. Emails and phones in anonymous events merge what no userId leads to yet, and that is never undone. Of
two uses at the same moment the first to come counts.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from waypost.clock import MINUTE
from waypost.domain.events.segment import Entry
from waypost.errors import Conflict

#: A trait's value and when it was said; None as a value marks a trait that was taken back.
Traits = dict[str, tuple[Any, int]]
#: An identifier in its workspace.
IdentityKey = tuple[int, str, str]

#: A claim is renewed by its holder at most this often, so that a busy device does not cost a write per event.
RENEWAL = MINUTE

_encode = msgspec.json.Encoder(order="sorted").encode


class Profile(msgspec.Struct):
    """One person in one workspace."""

    id: int
    workspace_id: int
    traits: Traits
    created_at: int
    #: Whether a userId leads here: two people with userIds of their own are not merged by a shared device or address.
    known: bool = False
    merged_into: int | None = None
    changed: bool = False


class Claim(msgspec.Struct):
    """An identifier that leads to a profile, and when the person used it last, give or take RENEWAL.

    For a userId, which is never shared, it is when it was first used.
    """

    profile_id: int
    claimed_at: int
    changed: bool = False


def fold(traits: Traits, news: dict[str, Any], at: int) -> bool:
    """Put what was said at a moment into the traits; whether anything changed. The later statement wins."""
    changed = False
    for name, value in news.items():
        changed |= _put(traits, name, value, at)
    return changed


def _put(traits: Traits, name: str, value: Any, at: int) -> bool:
    known = traits.get(name)
    # Two statements of the same moment are ordered by their text, so that the result does not hang on who came first.
    if known is not None and (at < known[1] or (at == known[1] and _encode(value) <= _encode(known[0]))):
        return False
    traits[name] = (value, at)
    return True


def current(traits: Traits) -> dict[str, Any]:
    """The traits as they stand, without those that were taken back."""
    return {name: value for name, (value, _) in sorted(traits.items()) if value is not None}


def merge(one: Profile, other: Profile) -> Profile:
    """Make two records one, in place; gives back the survivor, which is the older one."""
    survivor, gone = (one, other) if one.id < other.id else (other, one)
    for name, (value, at) in gone.traits.items():
        _put(survivor.traits, name, value, at)
    survivor.created_at = min(survivor.created_at, gone.created_at)
    survivor.known = survivor.known or gone.known
    survivor.changed = gone.changed = True
    gone.merged_into = survivor.id
    return survivor


def to_load(entries: Iterable[Entry], claims: dict[IdentityKey, Claim]) -> set[int]:
    """The profiles that must be at hand before `resolve`: those that may change, by traits or by a merge.

    An event whose identifiers all lead to one profile and that says nothing of the person needs none.
    """
    wanted: set[int] = set()
    for entry in entries:
        if entry.traits is None and len(entry.identifiers) == 1:
            continue
        found = [claims.get((entry.workspace_id, kind, value)) for kind, value in entry.identifiers]
        owners = {claim.profile_id for claim in found if claim is not None}
        if entry.traits is not None or len(owners) > 1 or (owners and None in found):
            wanted |= owners
    return wanted


class Resolver:
    """Leads the entries of one batch to profiles, making, changing and merging them in memory."""

    def __init__(
        self, claims: dict[IdentityKey, Claim], profiles: dict[int, Profile], new_id: Callable[[], int]
    ) -> None:
        self.claims = claims
        self.profiles = profiles
        self._new_id = new_id
        self.created: list[Profile] = []
        self.merged: list[tuple[int, int]] = []

    def resolve(self, entry: Entry) -> int:
        """The id of the profile that the entry is about, after what it says was taken in."""
        workspace_id = entry.workspace_id
        identifiers = entry.identifiers
        if len(identifiers) == 1 and entry.traits is None:
            # The common case by far: one identifier, nothing said of the person.
            kind, value = identifiers[0]
            claim = self.claims.get((workspace_id, kind, value))
            if claim is not None:
                return self._survivor(claim.profile_id)
        claims = [self.claims.get((workspace_id, kind, value)) for kind, value in identifiers]
        owners = [None if claim is None else self._survivor(claim.profile_id) for claim in claims]
        first = owners[0]
        # A clock that runs ahead must not decide over all that is said later.
        at = min(entry.occurred_at, entry.received_at)
        if entry.traits is None and first is not None and owners.count(first) == len(owners):
            # Several identifiers and nothing said of the person: one of them is a userId, which renews the others.
            for (kind, _), claim in zip(identifiers, claims, strict=True):
                if kind != "user_id" and claim is not None and at > claim.claimed_at + RENEWAL:
                    claim.claimed_at, claim.changed = at, True
            return first
        found = {owner: self._profile(owner) for owner in owners if owner is not None}
        unknown = [profile for profile in found.values() if not profile.known]
        nobodys = {profile.id for profile in unknown}
        person = self._person(entry, owners, found, unknown)
        has_user = identifiers[0][0] == "user_id"
        person.known |= has_user
        for (kind, value), claim, owner in zip(identifiers, claims, owners, strict=True):
            if claim is None:
                self.claims[(workspace_id, kind, value)] = Claim(person.id, at, changed=True)
                continue
            if owner in nobodys:
                # Until now it was used without a person, which says nothing of whose it is.
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
        """The profiles that have to be written, new ones left out."""
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
            raise Conflict("Another process merged this person a moment ago.")
        return profile

    def _person(
        self, entry: Entry, owners: list[int | None], found: dict[int, Profile], unknown: list[Profile]
    ) -> Profile:
        together = [
            found[owner]
            for (kind, _), owner in zip(entry.identifiers, owners, strict=True)
            if kind == "user_id" and owner is not None
        ]
        if entry.identifiers[0][0] != "user_id":
            # Two people with userIds of their own: the strongest identifier decides, nobody is merged.
            together = [profile for profile in found.values() if profile.known][:1]
        together += unknown
        return self._merge_all(together) if together else self._create(entry)

    def _merge_all(self, profiles: list[Profile]) -> Profile:
        person = profiles[0]
        for other in profiles[1:]:
            if other.id != person.id:
                gone = max(person.id, other.id)
                person = merge(person, other)
                self.merged.append((gone, person.id))
        return person

    def _create(self, entry: Entry) -> Profile:
        profile = Profile(
            id=self._new_id(),
            workspace_id=entry.workspace_id,
            traits={},
            created_at=entry.received_at,
            changed=True,
        )
        self.profiles[profile.id] = profile
        self.created.append(profile)
        return profile
