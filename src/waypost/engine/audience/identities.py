"""Resolve a batch of entries to profiles: one query for all identifiers, one for the profiles that may change."""

from typing import Any

import msgspec

from waypost.domain.audience.profiles import IdentityClaim, IdentityKey, Profile, Resolver, Traits, profiles_to_load
from waypost.domain.events.segment import Entry
from waypost.engine.audience.changes import ProfileChanges
from waypost.engine.runtime.unit import Unit
from waypost.errors import Conflict
from waypost.storage.database import Tx

_encode = msgspec.json.Encoder().encode
_claims = msgspec.json.Decoder(list[tuple[int, str, str, int, int]])
_traits = msgspec.json.Decoder(Traits)


async def resolve_identities(tx: Tx, entries: list[Entry], unit: Unit) -> list[int]:
    """Resolve entries to profiles, write and note what changes of them, and return the profile ids."""
    ids, now = unit.ids, unit.now
    keys: dict[IdentityKey, None] = {}
    for entry in entries:
        for kind, value in entry.identifiers:
            keys[(entry.workspace_id, kind, value)] = None
    found = await tx.row("identities.find", wanted=_encode(list(keys)).decode()) or ("[]",)
    claims = {
        (workspace_id, kind, value): IdentityClaim(profile_id, claimed_at)
        for workspace_id, kind, value, profile_id, claimed_at in _claims.decode(found[0])
    }
    known = set(claims)
    profiles: dict[int, Profile] = {}
    to_read = profiles_to_load(entries, claims)
    if to_read:
        for id_, workspace_id, traits, created_at, merged_into, has_user in await tx.rows(
            "profiles.load", ids=sorted(to_read)
        ):
            profiles[id_] = Profile(
                id=id_,
                workspace_id=workspace_id,
                traits=_traits.decode(traits),
                created_at=created_at,
                known=bool(has_user),
                merged_into=merged_into,
            )
        # Another process may have merged profiles or moved identifiers before the lock; it no longer can.
        again = await tx.row("identities.moved", wanted=_encode(list(keys)).decode())
        if again is not None and again[0] != found[0]:
            raise Conflict("Another request for the same profiles is in progress. Retry.")
    resolver = Resolver(claims, profiles, lambda: ids.one(now))
    profile_ids = [resolver.resolve(entry) for entry in entries]
    await _write(tx, resolver, known, now)
    _note(resolver, unit)
    return profile_ids


async def _write(tx: Tx, resolver: Resolver, known: set[IdentityKey], now: int) -> None:
    def rows(profiles: Any) -> list[tuple[Any, ...]]:
        return [(p.id, p.workspace_id, p.merged_into, _encode(p.traits).decode(), p.created_at, now) for p in profiles]

    await tx.insert("profiles.insert", rows(resolver.created))
    changed = sorted(resolver.changed_profiles(), key=lambda profile: profile.id)
    await tx.insert("profiles.update", rows(changed))
    claimed = sorted(
        ((key, claim) for key, claim in resolver.claims.items() if claim.changed), key=lambda pair: pair[0]
    )
    await tx.insert("identities.insert", [(*k, c.profile_id, c.claimed_at) for k, c in claimed if k not in known])
    await tx.insert("identities.reclaim", [(*k, c.profile_id, c.claimed_at) for k, c in claimed if k in known])
    if resolver.merged:
        merged = sorted({profile_id for profile_id, _ in resolver.merged})
        await tx.run("profiles.follow", ids=merged)
        await tx.run("identities.move", ids=merged)


def _note(resolver: Resolver, unit: Unit) -> None:
    """Note the profiles that were created, merged or changed."""
    changed = list(resolver.changed_profiles())
    claimed = {claim.profile_id: key[0] for key, claim in resolver.claims.items() if claim.changed}
    if not (resolver.created or changed or claimed):
        return
    notes = unit.notes(ProfileChanges)
    notes.workspaces |= claimed
    for profile in resolver.created:
        notes.add(profile.id, "created")
        notes.workspaces[profile.id] = profile.workspace_id
        notes.traits[profile.id] = profile.traits
    for profile in changed:
        notes.add(profile.id, "traits")
        notes.workspaces[profile.id] = profile.workspace_id
        notes.traits[profile.id] = profile.traits
    for profile_id in claimed:
        notes.add(profile_id, "identifiers")
    for gone, survivor in resolver.merged:
        notes.gone.add(gone)
        notes.traits.pop(gone, None)
        notes.add(survivor, "merged")
