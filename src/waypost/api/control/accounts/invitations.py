"""Invitations to a workspace, and password resets: links in mails, good once."""

from typing import Annotated, Any

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Meta

from waypost.api.control.accounts.sessions import ENTRY, Me, Password, describe_me, enter, read_entry
from waypost.api.control.admission import admit
from waypost.api.control.calls import Call, permit
from waypost.api.paging import After, Limit, Page, before, page
from waypost.clock import HOUR, MINUTE, iso, now_us
from waypost.domain.accounts import sign_in
from waypost.domain.accounts.permissions import check_role
from waypost.domain.values.ids import internal, public
from waypost.engine.accounts import account_tokens, users
from waypost.storage.database import Tx

Token = Annotated[str, Meta(min_length=1, max_length=200)]


class Invite(msgspec.Struct, forbid_unknown_fields=True):
    """Whom to invite, and as what."""

    email: Annotated[str, Meta(max_length=320)]
    role: str = "viewer"


class AcceptInvitation(msgspec.Struct, forbid_unknown_fields=True):
    """The token of the link, and the name and password of a new user. Who is signed in sends the token alone."""

    token: Token
    name: str = ""
    password: Password | None = None


class AskReset(msgspec.Struct, forbid_unknown_fields=True):
    """The address of the user."""

    email: Annotated[str, Meta(max_length=320)]


class FinishReset(msgspec.Struct, forbid_unknown_fields=True):
    """The token of the link, and the new password."""

    token: Token
    password: Password


class Invitation(msgspec.Struct, kw_only=True):
    """An invitation that nobody has accepted yet."""

    id: str
    email: str
    role: str
    created_at: str
    expires_at: str


class InvitationCreated(Invitation, kw_only=True):
    """A new invitation. The link is mailed, and shown only once."""

    url: str


@post("/v1/invitations", summary="Invite somebody", opt={"body": Invite})
async def create_invitation(call: NamedDependency[Call]) -> Response[InvitationCreated]:
    """Invites somebody to the workspace, and mails the link. A new invitation replaces the one before."""
    body = await call.body(Invite)
    email, role = sign_in.check_user_email(body.email), check_role(body.role)
    users.require_grantable(call.caller.permissions, role)

    async def work(tx: Tx) -> InvitationCreated:
        engine = call.engine
        made = await account_tokens.invite(
            tx, engine.ids, call.workspace_id, email, role, call.caller.user_id, engine.settings.base_url, call.now
        )
        return InvitationCreated(url=made["url"], **_fields(made))

    return await call.perform(201, work)


@get("/v1/invitations", summary="List invitations")
async def list_invitations(call: NamedDependency[Call], limit: Limit = 50, after: After = None) -> Page[Invitation]:
    """Returns the open invitations of the workspace, newest first."""
    start = before("invitations", after)
    rows = await call.read(account_tokens.list_invitations, call.workspace_id, start, limit + 1, call.now)
    return page("invitations", rows, limit, lambda row: Invitation(**_fields(row)), lambda row: int(row["id"]))


@delete("/v1/invitations/{id:str}", summary="Withdraw an invitation")
async def delete_invitation(call: NamedDependency[Call], id: FromPath[str]) -> None:
    """Makes the link of an invitation worthless."""
    await call.transact(account_tokens.withdraw_invitation, call.workspace_id, internal("inv", id))


@post("/v1/invitations/accept", status_code=200, summary="Accept an invitation", opt=ENTRY | {"body": AcceptInvitation})
async def accept_invitation(request: Request[Any, Any, Any]) -> Response[Me]:
    """Makes a user with the address of the invitation, and signs them in. A user with this address signs in first."""
    engine, ip, body = await read_entry(request, AcceptInvitation)
    found = await engine.database.read(account_tokens.read_invitation, body.token, now_us())
    member_id, hashed, admitted = None, None, None
    if body.password is None:
        admitted = await admit(engine, request.app.state.keyring, request.scope)
        admitted.require_own_sign_in()
        member_id = admitted.caller.user_id
    else:
        hashed = await engine.sessions.passwords.hash(sign_in.check_password(body.password, found["email"]))
    name = sign_in.check_optional_name(body.name)
    user_id = await engine.database.transact(
        account_tokens.accept_invitation, engine.ids, body.token, name, hashed, member_id, now_us()
    )
    engine.sessions.forget()
    if admitted is not None:
        # The session stays as it is: a link proves nothing about who holds it.
        again = await admit(engine, request.app.state.keyring, request.scope)
        return Response(await describe_me(engine, again))
    return await enter(request, user_id, ip=ip, status=200)


@post("/v1/password-resets", status_code=202, summary="Ask for a new password", opt=ENTRY | {"body": AskReset})
async def create_password_reset(request: Request[Any, Any, Any]) -> Response[None]:
    """Mails a link to choose a new password, if the address has a user. The answer is the same if not."""
    engine, ip, body = await read_entry(request, AskReset)
    email = body.email.strip().lower()
    limits = [
        sign_in.TryLimit("reset:" + sign_in.digest(email), 5, HOUR),
        sign_in.TryLimit("reset-ip:" + sign_in.digest(sign_in.network_of(ip)), 30, 15 * MINUTE),
    ]
    await engine.sessions.count_try(limits)
    await engine.database.transact(account_tokens.begin_reset, engine.ids, email, engine.settings.base_url, now_us())
    return Response(None, status_code=202)


@post(
    "/v1/password-resets/confirm", status_code=204, summary="Choose a new password", opt=ENTRY | {"body": FinishReset}
)
async def finish_password_reset(request: Request[Any, Any, Any]) -> None:
    """Sets a new password with the token of a link, and ends all sessions of the user. Sign in afterwards."""
    engine, _, body = await read_entry(request, FinishReset)
    found = await engine.database.read(account_tokens.read_reset, body.token, now_us())
    hashed = await engine.sessions.passwords.hash(sign_in.check_password(body.password, found["email"]))
    await engine.database.transact(account_tokens.finish_reset, body.token, hashed, now_us())
    engine.sessions.forget()


def _fields(record: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": public("inv", record["id"]),
        "email": record["email"],
        "role": record["role"],
        "created_at": iso(record["created_at"]),
        "expires_at": iso(record["expires_at"]),
    }


ROUTES = permit(
    "users",
    [
        create_invitation,
        list_invitations,
        delete_invitation,
        accept_invitation,
        create_password_reset,
        finish_password_reset,
    ],
)
