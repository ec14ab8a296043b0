"""The permissions of the control API: one table of what each is for, and which roles and key scopes have it."""

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from waypost.domain.accounts.api_keys import Scope
from waypost.errors import Invalid


class Role(StrEnum):
    """What a user is in a workspace."""

    OWNER = "owner"
    ADMIN = "admin"
    MARKETER = "marketer"
    DEVELOPER = "developer"
    VIEWER = "viewer"


ROLES: dict[Role, str] = {
    Role.OWNER: "Does everything, also deletes the workspace and names other owners.",
    Role.ADMIN: "Does everything but delete the workspace and name owners.",
    Role.MARKETER: "Works with people, templates and campaigns, and sends messages; sees everything else.",
    Role.DEVELOPER: "Sets up connections, webhooks, settings and keys, and sends events; sees people and campaigns.",
    Role.VIEWER: "Sees everything except secrets, and changes nothing.",
}


class Permission(msgspec.Struct, frozen=True):
    """One row of the table."""

    name: str
    description: str
    #: Who has it besides owners and admins, by the first letter: m(arketer), d(eveloper), v(iewer).
    roles: str
    scope: Scope = Scope.MANAGE


_READ = Scope.READ
TABLE: tuple[Permission, ...] = (
    Permission("events.read", "See events, metrics and activity.", "mdv", _READ),
    Permission("events.send", "Send events.", "d", Scope.INGEST),
    Permission("people.read", "See people, lists, segments, subscriptions and imports.", "mdv", _READ),
    Permission("people.write", "Change, import and delete people; change lists and segments.", "m"),
    Permission("templates.read", "See templates.", "mdv", _READ),
    Permission("templates.write", "Change templates.", "md"),
    Permission("campaigns.read", "See campaigns and their recipients.", "mdv", _READ),
    Permission("campaigns.write", "Change, launch, pause and cancel campaigns.", "m"),
    Permission("messages.read", "See messages and what became of them.", "mdv", _READ),
    Permission("messages.send", "Send messages and tests.", "md"),
    Permission("connections.read", "See connections to providers.", "mdv", _READ),
    Permission("connections.write", "Change connections to providers and their credentials.", "d"),
    Permission("webhooks.read", "See webhook endpoints and deliveries.", "mdv", _READ),
    Permission("webhooks.write", "Change webhook endpoints and replay deliveries.", "d"),
    Permission("webhooks.secrets", "See and rotate signing secrets.", "d"),
    Permission("settings.read", "See settings, notices and the ledger.", "mdv", _READ),
    Permission("settings.write", "Change settings: sending rules, tracking, text clients, the workspace.", "d"),
    Permission("keys.read", "See API keys, without the keys themselves.", "mdv", _READ),
    Permission("keys.write", "Create, rotate and delete API keys.", "d"),
    Permission("users.read", "See who has access.", "mdv", _READ),
    Permission("users.write", "Invite people, change their roles and remove them.", ""),
    Permission("audit.read", "See who changed what.", "d", _READ),
    Permission("workspace.delete", "Delete the workspace, and name owners.", "owner"),
)
NAMES = frozenset(row.name for row in TABLE)


def _holds(role: Role, row: Permission) -> bool:
    if role is Role.OWNER:
        return True
    if row.roles == "owner":
        return False
    return role is Role.ADMIN or role.value[0] in row.roles


_OF_ROLE = {role: frozenset(row.name for row in TABLE if _holds(role, row)) for role in Role}
_OF_SCOPE = {
    Scope.INGEST: frozenset(row.name for row in TABLE if row.scope is Scope.INGEST),
    Scope.READ: frozenset(row.name for row in TABLE if row.scope is Scope.READ),
    Scope.MANAGE: NAMES - {"workspace.delete"},
}


def role_permissions(role: str) -> frozenset[str]:
    """Return the permissions of a role; none for an unknown one, which a newer version may have stored."""
    return _OF_ROLE[Role(role)] if role in _OF_ROLE else frozenset()


def may_make_workspaces(roles: Iterable[str]) -> bool:
    """Return whether a user with these roles may create workspaces: who manages people in one, or is in none yet."""
    given = list(roles)
    return not given or any("users.write" in role_permissions(role) for role in given)


def scope_permissions(scopes: list[str]) -> frozenset[str]:
    """Return the permissions of the scopes of a key: three of them stand for many, and any permission for itself."""
    found: set[str] = set()
    for scope in scopes:
        found |= _OF_SCOPE[Scope(scope)] if scope in _OF_SCOPE else {scope} & NAMES
    return frozenset(found)


def check_scopes(scopes: list[str]) -> list[str]:
    """Return the scopes once and in their defined order. Raise Invalid if there is none or one is unknown."""
    known = [scope.value for scope in Scope] + [row.name for row in TABLE if row.name != "workspace.delete"]
    if not scopes or any(scope not in known for scope in scopes):
        raise Invalid(
            "A key needs at least one scope, and only known ones: ingest, read, manage, or a permission such as "
            "people.read. GET /v1/roles lists the permissions.",
            code="invalid_scopes",
        )
    return [scope for scope in known if scope in scopes]


def check_role(text: str) -> Role:
    """Return the role. Raise Invalid if it is unknown."""
    try:
        return Role(text)
    except ValueError:
        known = ", ".join(Role)
        raise Invalid(
            f"There is no role {text[:40]!r}; the roles are {known}.", code="invalid_role", field="role"
        ) from None
