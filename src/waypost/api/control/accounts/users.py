"""A user's own name, password and second factor; the users of a workspace and their roles."""

from typing import Annotated, Any

import msgspec
import segno
from litestar import Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Meta

from waypost.api.control.accounts.sessions import Password, require_proof, require_session
from waypost.api.control.calls import BOUND, KEYLESS, LOGGED, OWN, PROVING, Call, permit
from waypost.api.paging import After, Limit, Page, before, page
from waypost.clock import iso, iso_or_none
from waypost.domain.accounts import permissions, sign_in
from waypost.domain.accounts.permissions import Role, check_role
from waypost.domain.values.ids import internal, public
from waypost.engine.accounts import second_factors, users
from waypost.engine.accounts.sessions import confirm_session, end_other_sessions
from waypost.errors import Invalid
from waypost.storage.database import Tx


class ChangeUser(msgspec.Struct, forbid_unknown_fields=True):
    """What a user may change about themselves."""

    name: Annotated[str, Meta(max_length=sign_in.LONGEST_NAME)]


class ChangePassword(msgspec.Struct, forbid_unknown_fields=True):
    """The password so far, and the new one."""

    password: Password
    new_password: Password


class TotpCode(msgspec.Struct, forbid_unknown_fields=True):
    """A code of the authenticator app."""

    code: Annotated[str, Meta(max_length=40)]


class ChangeRole(msgspec.Struct, forbid_unknown_fields=True):
    """The new role of a user in the workspace."""

    role: str


class TotpOffer(msgspec.Struct, kw_only=True):
    """A second factor that counts when a code of it is confirmed. It is shown only once."""

    secret: str
    uri: str
    #: The URI as a QR code, in SVG.
    qr: str


class RecoveryCodes(msgspec.Struct, kw_only=True):
    """Codes that each replace one code of the app, once. They are shown only once."""

    recovery_codes: list[str]


class WorkspaceUser(msgspec.Struct, kw_only=True):
    """A user of the workspace."""

    id: str
    email: str
    name: str
    role: str
    #: Whether an authenticator app is set up, and how many passkeys there are.
    totp: bool
    passkeys: int
    joined_at: str
    last_used_at: str | None


class RoleView(msgspec.Struct, kw_only=True):
    """A role, and what it may do."""

    role: str
    description: str
    permissions: list[str]


class PermissionView(msgspec.Struct, kw_only=True):
    """A permission."""

    name: str
    description: str


class Roles(msgspec.Struct, kw_only=True):
    """The roles from the most to the least, and all permissions."""

    data: list[RoleView]
    permissions: list[PermissionView]


@patch("/v1/users/me", summary="Change your name", opt=OWN | {"body": ChangeUser})
async def update_me(call: NamedDependency[Call]) -> None:
    """Changes your name."""
    body = await call.body(ChangeUser)
    await call.transact(_rename, call.caller.user_id, sign_in.check_name(body.name), call.now)
    call.forget_callers()


@post(
    "/v1/users/me/password",
    status_code=204,
    summary="Change your password",
    opt=PROVING | LOGGED | {"body": ChangePassword},
)
async def change_password(call: NamedDependency[Call]) -> None:
    """Changes your password, and ends all your other sessions."""
    body, session = await call.body(ChangePassword), require_session(call)
    registry = call.engine.sessions
    await registry.count_try(sign_in.sign_in_limits(session.email, call.admitted.ip))
    user = await call.read(users.get_user, session.user_id)
    if not await registry.passwords.verify(user["password"], body.password):
        raise Invalid("The password is not right.", code="wrong_password", field="password")
    hashed = await registry.passwords.hash(sign_in.check_password(body.new_password, session.email))
    await call.transact(_set_password, session.user_id, session.id, hashed, call.now)
    call.forget_callers()


@post("/v1/users/me/totp", status_code=200, summary="Begin a second factor", opt=OWN | KEYLESS)
async def offer_totp(call: NamedDependency[Call]) -> TotpOffer:
    """Returns the secret of a second factor for an authenticator app. It counts when a code of it is confirmed."""
    require_proof(call)
    offer = await call.transact(second_factors.offer_totp, call.engine.encryption, call.caller.user_id, call.now)
    return TotpOffer(secret=offer.secret, uri=offer.uri, qr=segno.make(offer.uri, error="m").svg_inline(scale=4))


@post(
    "/v1/users/me/totp/confirm",
    status_code=200,
    summary="Turn the second factor on",
    opt=PROVING | LOGGED | {"body": TotpCode},
)
async def confirm_totp(call: NamedDependency[Call]) -> RecoveryCodes:
    """Turns the second factor on with its first code, and returns the recovery codes. Ends your other sessions."""
    body, session = await call.body(TotpCode), require_session(call)
    await call.engine.sessions.count_try([sign_in.second_factor_limit(session.user_id)])

    async def work(tx: Tx) -> list[str]:
        codes = await second_factors.confirm_totp(tx, call.engine.encryption, session.user_id, body.code, call.now)
        await confirm_session(tx, session.id, mfa=True, now=call.now)
        await end_other_sessions(tx, session.user_id, session.id)
        return codes

    codes = await call.transact(work)
    call.forget_callers()
    return RecoveryCodes(recovery_codes=codes)


@delete("/v1/users/me/totp", summary="Turn the second factor off", opt=OWN)
async def delete_totp(call: NamedDependency[Call]) -> None:
    """Turns the second factor off. Confirm first that it is you."""
    require_proof(call)
    await call.transact(second_factors.remove_totp, call.caller.user_id, call.now)
    call.forget_callers()


@post("/v1/users/me/recovery-codes", status_code=200, summary="Replace your recovery codes", opt=OWN | LOGGED)
async def renew_recovery_codes(call: NamedDependency[Call]) -> RecoveryCodes:
    """Returns new recovery codes; the old ones are refused from now on. Confirm first that it is you."""
    require_proof(call)
    codes = await call.transact(second_factors.renew_recovery_codes, call.caller.user_id, call.now)
    return RecoveryCodes(recovery_codes=codes)


@get("/v1/users", summary="List the users of the workspace")
async def list_users(call: NamedDependency[Call], limit: Limit = 50, after: After = None) -> Page[WorkspaceUser]:
    """Returns who has access to the workspace, newest first."""
    rows = await call.read(users.list_members, call.workspace_id, before("users", after), limit + 1)
    return page("users", rows, limit, _member, lambda row: int(row["id"]))


@get("/v1/users/{id:str}", summary="Get a user of the workspace")
async def get_workspace_user(call: NamedDependency[Call], id: FromPath[str]) -> WorkspaceUser:
    """Returns a user and the role in the workspace."""
    return _member(await call.read(users.get_member, call.workspace_id, internal("usr", id)))


@patch("/v1/users/{id:str}", summary="Change the role of a user", opt={"body": ChangeRole})
async def update_user(call: NamedDependency[Call], id: FromPath[str]) -> Response[WorkspaceUser]:
    """Changes the role of a user in the workspace. Nobody gives or takes a role that may do more than they may."""
    body = await call.body(ChangeRole)
    role, user_id = check_role(body.role), internal("usr", id)

    async def work(tx: Tx) -> WorkspaceUser:
        return _member(await users.change_role(tx, call.workspace_id, user_id, role, call.caller.permissions, call.now))

    response = await call.perform(200, work)
    call.forget_callers()
    return response


@delete("/v1/users/{id:str}", summary="Remove a user from the workspace")
async def delete_user(call: NamedDependency[Call], id: FromPath[str]) -> None:
    """Takes a user out of the workspace, at once. The user and their other workspaces stay."""
    await call.transact(users.remove_member, call.workspace_id, internal("usr", id), call.caller.permissions)
    call.forget_callers()


@get("/v1/roles", summary="List the roles", opt=OWN | BOUND | {"keys": True})
async def list_roles(call: NamedDependency[Call]) -> Roles:
    """Returns the roles with their permissions, and what each permission is for."""
    return Roles(
        data=[
            RoleView(role=role.value, description=text, permissions=sorted(permissions.role_permissions(role)))
            for role, text in permissions.ROLES.items()
        ],
        permissions=[PermissionView(name=row.name, description=row.description) for row in permissions.TABLE],
    )


def _member(row: dict[str, Any]) -> WorkspaceUser:
    return WorkspaceUser(
        id=public("usr", row["id"]),
        email=row["email"],
        name=row["name"],
        role=row["role"] if row["role"] in list(Role) else "viewer",
        totp=row["totp_confirmed_at"] is not None,
        passkeys=row["passkeys"],
        joined_at=iso(row["created_at"]),
        last_used_at=iso_or_none(row["last_used_at"]),
    )


async def _rename(tx: Tx, user_id: int, name: str, now: int) -> None:
    await tx.run("users.rename", id=user_id, name=name, now=now)


async def _set_password(tx: Tx, user_id: int, session_id: int, hashed: str, now: int) -> None:
    await tx.run("users.set_password", id=user_id, password=hashed, now=now)
    await end_other_sessions(tx, user_id, session_id)


ROUTES = permit(
    "users",
    [
        update_me,
        change_password,
        offer_totp,
        confirm_totp,
        delete_totp,
        renew_recovery_codes,
        list_users,
        get_workspace_user,
        update_user,
        delete_user,
        list_roles,
    ],
)
