"""Users and their roles in workspaces."""

from typing import Any

from waypost.clock import Ids
from waypost.domain.accounts.permissions import Role, role_permissions
from waypost.domain.values.ids import public
from waypost.errors import Conflict, Forbidden, NotFound
from waypost.storage.database import Tx


async def add_user(tx: Tx, ids: Ids, email: str, name: str, password: str | None, now: int) -> int:
    """Create a user with the hash of a password; return the id. Raise Conflict if the address has one."""
    if await tx.row("users.by_email", email=email) is not None:
        raise Conflict("A user with this address exists already.", code="user_exists", field="email")
    user_id = ids.one(now)
    await tx.run("users.add", id=user_id, email=email, name=name, password=password, now=now)
    return user_id


async def find_user(tx: Tx, email: str) -> dict[str, Any] | None:
    """Return the user with an address, or None."""
    found = await tx.records("users.by_email", email=email)
    return found[0] if found else None


async def get_user(tx: Tx, user_id: int) -> dict[str, Any]:
    """Return a user. Raise NotFound if it does not exist."""
    found = await tx.records("users.get", id=user_id)
    if not found:
        raise _no_user()
    return found[0]


async def any_user(tx: Tx) -> bool:
    """Return whether there is a user at all."""
    row = await tx.row("users.any")
    return bool(row and row[0])


async def add_member(tx: Tx, user_id: int, workspace_id: int, role: Role, now: int) -> None:
    """Give a user a role in a workspace, or another role."""
    await tx.run("memberships.set", user_id=user_id, workspace_id=workspace_id, role=role.value, now=now)


async def workspaces_of(tx: Tx, user_id: int) -> list[dict[str, Any]]:
    """Return the workspaces of a user, the oldest first, with the role in each."""
    return await tx.records("memberships.of_user", user_id=user_id)


async def list_members(tx: Tx, workspace_id: int, before: int, n: int) -> list[dict[str, Any]]:
    """Return a page of the users of a workspace, newest first."""
    return await tx.records("memberships.list", workspace_id=workspace_id, before=before, n=n)


async def get_member(tx: Tx, workspace_id: int, user_id: int) -> dict[str, Any]:
    """Return a user of a workspace. Raise NotFound for anybody else."""
    found = await tx.records("memberships.member", workspace_id=workspace_id, user_id=user_id)
    if not found:
        raise _no_user()
    return found[0]


async def change_role(
    tx: Tx, workspace_id: int, user_id: int, role: Role, by: frozenset[str], now: int
) -> dict[str, Any]:
    """Give a member another role, as far as the permissions `by` allow; return the member."""
    member = await get_member(tx, workspace_id, user_id)
    _require_rank(by, Role(member["role"]), role)
    if role is not Role.OWNER:
        await _require_other_owner(tx, workspace_id, user_id)
    await add_member(tx, user_id, workspace_id, role, now)
    return member | {"role": role.value}


async def remove_member(tx: Tx, workspace_id: int, user_id: int, by: frozenset[str]) -> None:
    """Take a user out of a workspace, as far as the permissions `by` allow."""
    member = await get_member(tx, workspace_id, user_id)
    _require_rank(by, Role(member["role"]))
    await _require_other_owner(tx, workspace_id, user_id)
    await tx.run("memberships.delete", user_id=user_id, workspace_id=workspace_id)
    for query in ("single_sign_on.delete_identity", "single_sign_on.end_sessions_of"):
        await tx.run(query, user_id=user_id, workspace_id=workspace_id)


def require_grantable(by: frozenset[str], role: Role) -> None:
    """Raise Forbidden if somebody with these permissions may not give a role: nobody gives more than they have."""
    _require_rank(by, role)


def _require_rank(by: frozenset[str], *roles: Role) -> None:
    for role in roles:
        if not role_permissions(role) <= by:
            raise Forbidden(
                f"Only somebody with every permission of the role {role.value} may give or take it.",
                code="role_too_high",
            )


async def _require_other_owner(tx: Tx, workspace_id: int, user_id: int) -> None:
    # It locks: two owners who take each other's role come one after the other.
    await tx.run("workspaces.lock", id=workspace_id)
    owners = [row[0] for row in await tx.rows("memberships.owners", workspace_id=workspace_id)]
    if owners == [user_id]:
        raise Conflict("This is the last owner of the workspace. Make somebody else an owner first.", code="last_owner")


def _no_user() -> NotFound:
    return NotFound(f"There is no such user in this workspace; an id looks like {public('usr', 1)}.")
