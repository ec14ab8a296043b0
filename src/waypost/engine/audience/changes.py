"""What changed of profiles in a unit of work, for the areas that follow people: segments, flows, goals."""

import msgspec


class ProfileChanges(msgspec.Struct):
    """The profiles whose facts a unit of work changed without an event of its own about each of them.

    Events with a profile need no entry here: every area sees them. A change is named `traits`, `list:<id>`, `tag:<tag>`
    or `subscription:<channel>`, with internal ids.
    """

    by_profile: dict[int, set[str]] = {}

    def add(self, profile_id: int, change: str) -> None:
        """Note one change of one profile."""
        self.by_profile.setdefault(profile_id, set()).add(change)
