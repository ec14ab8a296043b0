"""Resolve a batch of entries to profiles: one query for all identifiers, one for the profiles that may change."""

from collections.abc import Iterable
from operator import itemgetter

import msgspec

from waypost.domain.audience.profiles import IdentityClaim, IdentityKey, Profile, Resolver, Traits, profiles_to_load
from waypost.domain.events.segment import Entry
from waypost.engine.audience.changes import ProfileChanges
from waypost.engine.audience.merges import inherit, survivors
from waypost.engine.runtime.unit import Unit
from waypost.errors import Conflict
from waypost.storage.database import Row, Tx

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
    listed = _encode(list(keys)).decode()
    # Thousands of objects that nobody needs any more would slow the garbage collection down.
    keys.clear()
    found = await tx.row("identities.find", wanted=listed) or ("[]",)
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
        again = await tx.row("identities.moved", wanted=listed)
        if again is not None and again[0] != found[0]:
            raise Conflict("Another request for the same profiles is in progress. Retry.")
    resolver = Resolver(claims, profiles, lambda: ids.one(now))
    profile_ids = [resolver.resolve(entry) for entry in entries]
    await _write(tx, resolver, known, now)
    _note(resolver, unit)
    if resolver.merged:
        heirs = survivors(resolver.merged)
        await inherit(tx, unit, heirs)
        profile_ids = [heirs.get(id_, id_) for id_ in profile_ids]
    return profile_ids


async def _write(tx: Tx, resolver: Resolver, known: set[IdentityKey], now: int) -> None:
    def rows(profiles: Iterable[Profile]) -> list[Row]:
        return [(p.id, p.workspace_id, p.merged_into, _encode(p.traits).decode(), p.created_at, now) for p in profiles]

    await tx.insert("profiles.insert", rows(resolver.created))
    changed = sorted(resolver.changed_profiles(), key=lambda profile: profile.id)
    await tx.insert("profiles.update", rows(changed))
    new: list[Row] = []
    moved: list[Row] = []
    for key, claim in resolver.claims.items():
        if claim.changed:
            (moved if key in known else new).append((*key, claim.profile_id, claim.claimed_at))
    await tx.insert("identities.insert", _in_key_order(new))
    await tx.insert("identities.reclaim", _in_key_order(moved))
    if resolver.merged:
        merged = sorted({profile_id for profile_id, _ in resolver.merged})
        await tx.run("profiles.follow", ids=merged)
        await tx.run("identities.move", ids=merged)


def _in_key_order(rows: list[Row]) -> list[Row]:
    """Sort identities by workspace, kind and value. One part at a time, because texts are compared faster than rows."""
    for part in (2, 1, 0):
        rows.sort(key=itemgetter(part))
    return rows


def _note(resolver: Resolver, unit: Unit) -> None:
    """Note the profiles that were created, merged or changed."""
    changed = list(resolver.changed_profiles())
    created = {profile.id: profile.workspace_id for profile in resolver.created}
    claimed = {
        claim.profile_id: key[0]
        for key, claim in resolver.claims.items()
        if claim.changed and claim.profile_id not in created
    }
    if not (created or changed or claimed):
        return
    notes = unit.notes(ProfileChanges)
    notes.created |= created
    notes.workspaces |= created
    notes.workspaces |= claimed
    notes.traits.update((profile.id, profile.traits) for profile in resolver.created)
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
