"""One-time tokens: invitations, password resets, and the code of the first visit."""

import os
from typing import Any

from waypost.clock import Ids
from waypost.domain.accounts import sign_in
from waypost.domain.accounts.permissions import Role
from waypost.domain.values.ids import public
from waypost.engine.accounts.notices import account_notice
from waypost.engine.accounts.users import add_member, add_user, any_user, find_user
from waypost.errors import Conflict, NotFound, Unauthorized
from waypost.storage.database import Tx


async def invite(
    tx: Tx, ids: Ids, workspace_id: int, email: str, role: Role, user_id: int, base_url: str, now: int
) -> dict[str, Any]:
    """Invite somebody to a workspace, and mail the link; a new invitation replaces the one before.

    Returns the invitation with its `url`, which is returned only here.
    """
    user = await find_user(tx, email)
    if user is not None:
        member = await tx.row("memberships.get", user_id=user["id"], workspace_id=workspace_id)
        if member is not None:
            raise Conflict("This person is in the workspace already. Change the role instead.", code="member_exists")
    token, end = _make(), now + sign_in.INVITATION_LASTS
    await tx.run("account_tokens.replace", kind="invitation", email=email, workspace_id=workspace_id)
    id_ = ids.one(now)
    await _add(
        tx, id_, "invitation", token, end, now, workspace_id=workspace_id, email=email, role=role, user_id=user_id
    )
    url = f"{base_url}/invitation#{token}"
    row = await tx.row("workspaces.get", id=workspace_id)
    name = row[0] if row else ""
    subject = f"You are invited to {name}"
    body = (
        f"You are invited to the workspace {name!r} of Waypost, as {role.value}. To accept, open\n{url}\n\n"
        "The link is good for seven days, and once. If you expected no invitation, do nothing.\n"
    )
    await tx.insert(
        "notices.add", [account_notice(ids.one(now), workspace_id, "invitation", email, subject, body, now)]
    )
    return {"id": id_, "email": email, "role": role.value, "created_at": now, "expires_at": end, "url": url}


async def list_invitations(tx: Tx, workspace_id: int, before: int, n: int, now: int) -> list[dict[str, Any]]:
    """Return a page of the open invitations of a workspace, newest first."""
    return await tx.records("account_tokens.invitations", workspace_id=workspace_id, before=before, n=n, now=now)


async def withdraw_invitation(tx: Tx, workspace_id: int, id_: int) -> None:
    """Delete an invitation. Raise NotFound if it is not there."""
    if not await tx.run("account_tokens.withdraw", workspace_id=workspace_id, id=id_):
        raise NotFound(f"There is no such invitation; one looks like {public('inv', 1)}.")


async def read_invitation(tx: Tx, token: str, now: int) -> dict[str, Any]:
    """Return the invitation of a token. Raise Unauthorized if it has ended or was used."""
    return await _find(tx, "invitation", token, now)


async def accept_invitation(
    tx: Tx, ids: Ids, token: str, name: str, password: str | None, member_id: int | None, now: int
) -> int:
    """Use up an invitation: of the signed-in user `member_id`, or of a new user with the hash of a password.

    Returns the id of the user. Raises Conflict if the address has a user already, who must sign in first: the link
    alone must not be worth as much as a password.
    """
    found = await _find(tx, "invitation", token, now)
    await _use_up(tx, found["id"])
    user = await find_user(tx, found["email"])
    if member_id is not None:
        if user is None or user["id"] != member_id:
            raise Conflict(
                "This invitation is for another address. Sign in with that one.",
                code="other_user",
                email=found["email"],
            )
        user_id = member_id
    elif user is not None:
        raise Conflict("You have a user already. Sign in, then open the link again.", code="sign_in_first")
    else:
        user_id = await add_user(tx, ids, found["email"], name, password, now)
    await add_member(tx, user_id, found["workspace_id"], Role(found["role"]), now)
    return user_id


async def begin_reset(tx: Tx, ids: Ids, email: str, base_url: str, now: int) -> None:
    """Mail a link with which the user of an address can choose a new password; do nothing without such a user."""
    url = await make_reset(tx, ids, email, base_url, now)
    if url is None:
        return
    body = (
        f"Somebody asked for a new password of your Waypost user. To choose one, open\n{url}\n\n"
        "The link is good for one hour, and once. If it was not you, do nothing: your password stays.\n"
    )
    notice = account_notice(ids.one(now), 0, "password_reset", email, "Choose a new password", body, now)
    await tx.insert("notices.add", [notice])


async def make_reset(tx: Tx, ids: Ids, email: str, base_url: str, now: int) -> str | None:
    """Return a link with which the user of an address can choose a new password; None without such a user."""
    user = await find_user(tx, email)
    if user is None:
        return None
    token = _make()
    await tx.run("account_tokens.replace", kind="password_reset", email=email, workspace_id=0)
    end = now + sign_in.RESET_LASTS
    await _add(tx, ids.one(now), "password_reset", token, end, now, email=email, user_id=user["id"])
    return f"{base_url}/reset#{token}"


async def finish_reset(tx: Tx, token: str, password: str, now: int) -> int:
    """Set the hash of a new password, end all sessions of the user, and return the id."""
    found = await _find(tx, "password_reset", token, now)
    await _use_up(tx, found["id"])
    await tx.run("users.set_password", id=found["user_id"], password=password, now=now)
    await tx.run("sessions.delete_others", user_id=found["user_id"], id=0)
    return int(found["user_id"])


async def read_reset(tx: Tx, token: str, now: int) -> dict[str, Any]:
    """Return the reset of a token. Raise Unauthorized if it has ended or was used."""
    return await _find(tx, "password_reset", token, now)


async def offer_setup(tx: Tx, ids: Ids, now: int) -> str | None:
    """Return a code with which the first visitor becomes the owner; None if there is a user already."""
    if await any_user(tx):
        return None
    code = _make()[:20]
    await _add(tx, ids.one(now), "setup", code, now + sign_in.SETUP_LASTS, now)
    return code


async def finish_setup(tx: Tx, ids: Ids, code: str, email: str, name: str, password: str, now: int) -> int:
    """Create the first user, the owner of every workspace that exists, with the code of the first visit."""
    if await any_user(tx):
        raise Conflict("This server has an owner already. Sign in.", code="already_initialised")
    await _find(tx, "setup", code, now)
    user_id = await add_user(tx, ids, email, name, password, now)
    for row in await tx.rows("workspaces.list"):
        await add_member(tx, user_id, row[0], Role.OWNER, now)
    await tx.run("account_tokens.delete_kind", kind="setup")
    return user_id


async def _find(tx: Tx, kind: str, token: str, now: int) -> dict[str, Any]:
    found = await tx.records("account_tokens.find", kind=kind, hash=sign_in.digest(token.strip()), now=now)
    if not found:
        if kind == "setup":
            raise Unauthorized(
                "The code is not right, or has ended. `waypost serve` prints one at its start.", code="wrong_code"
            )
        raise Unauthorized("This link was used, replaced, or has ended. Ask for a new one.", code="link_ended")
    return found[0]


async def _use_up(tx: Tx, id_: int) -> None:
    """Delete a token before it takes effect. Raise Unauthorized if another request was faster."""
    if not await tx.run("account_tokens.delete", id=id_):
        raise Unauthorized("This link was used. Ask for a new one.", code="link_ended")


async def _add(
    tx: Tx,
    id_: int,
    kind: str,
    token: str,
    expires_at: int,
    now: int,
    *,
    workspace_id: int | None = None,
    email: str | None = None,
    role: Role | None = None,
    user_id: int | None = None,
) -> None:
    await tx.run(
        "account_tokens.add",
        id=id_,
        kind=kind,
        hash=sign_in.digest(token),
        workspace_id=workspace_id,
        email=email,
        role=None if role is None else role.value,
        user_id=user_id,
        now=now,
        expires_at=expires_at,
    )


def _make() -> str:
    return sign_in.make_token(os.urandom(sign_in.TOKEN_BYTES))
