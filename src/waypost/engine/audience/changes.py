"""What changed of profiles in a unit of work, for the areas that follow people: segments, flows, goals."""

from collections.abc import Iterable
from typing import ClassVar

import msgspec

from waypost.domain.audience.profiles import Traits


class ProfileChanges(msgspec.Struct):
    """The profiles whose facts a unit of work changed without an event of its own about each of them.

    Events with a profile need no entry here: every area sees them. A change is named `traits`, `list:<id>`, `tag:<tag>`
    or `subscription:<channel>`, with internal ids; also `identifiers` and `merged` (another profile was merged into
    this one).
    """

    #: The areas react to a unit that has these notes, even if it has no events.
    needs_reaction: ClassVar[bool] = True

    by_profile: dict[int, set[str]] = {}
    #: Profiles that were created, with their workspaces. Whoever changes such a profile further before the areas react
    #: need not note it.
    created: dict[int, int] = {}
    #: Profiles that were merged into others.
    gone: set[int] = set()
    #: The workspaces of profiles, as far as they were known to who noted the changes.
    workspaces: dict[int, int] = {}
    #: The traits of those profiles whose traits were written, as they are now.
    traits: dict[int, Traits] = {}

    def add(self, profile_id: int, change: str) -> None:
        """Note one change of one profile."""
        self.by_profile.setdefault(profile_id, set()).add(change)

    def add_all(self, profiles: Iterable[int], change: str) -> None:
        """Note the same change of many profiles."""
        known = self.by_profile
        for id_ in profiles:
            changes = known.get(id_)
            if changes is None:
                known[id_] = {change}
            else:
                changes.add(change)
