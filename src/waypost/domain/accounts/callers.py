"""Who calls: the API key or the signed-in user of a request, and what they may do."""

import msgspec

from waypost.errors import Forbidden


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """The authenticated API key or user of a request, and the workspace."""

    workspace_id: int
    permissions: frozenset[str]
    #: The scopes of a key, or the role of a user: what an error names.
    grants: str
    #: Of a key; 0 for a user.
    key_id: int = 0
    #: Of a user; 0 for a key.
    user_id: int = 0
    session_id: int = 0
    name: str = ""

    @property
    def id(self) -> int:
        """Return the id of the key or the user."""
        return self.user_id or self.key_id

    def require(self, permission: str) -> None:
        """Raise Forbidden unless the caller has the permission."""
        if permission not in self.permissions:
            who = f"Your role is {self.grants}" if self.user_id else f"this key has the scopes {self.grants}"
            help_ = "; ask an owner or admin of the workspace" if self.user_id else ""
            raise Forbidden(
                f"This request needs the permission {permission!r}. {who[:1].upper()}{who[1:]}{help_}.",
                permission=permission,
            )
