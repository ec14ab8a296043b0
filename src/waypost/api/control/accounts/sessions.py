"""Sign in and out, the first visit, and what the caller may do."""

from typing import Annotated, Any

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Meta

from waypost import __version__
from waypost.api.control.accounts.passkey_json import PasskeyUse
from waypost.api.control.admission import Admitted, check_origin, client_ip, read_headers
from waypost.api.control.calls import BOUND, OWN, PROVING, PUBLIC, Call, read_json
from waypost.api.paging import After, Limit, Page, before, page
from waypost.clock import MINUTE, SECOND, iso, now_us
from waypost.domain.accounts import sign_in
from waypost.domain.accounts.permissions import role_permissions
from waypost.domain.accounts.second_factor import password_confirms
from waypost.domain.values.ids import internal, public
from waypost.engine.accounts import account_tokens, sessions, users
from waypost.engine.accounts.passkeys import count_passkeys
from waypost.engine.accounts.sessions import Session
from waypost.engine.accounts.sign_on_settings import any_provider
from waypost.engine.accounts.workspaces import create_workspace
from waypost.engine.process import Engine
from waypost.errors import Invalid, Unauthorized
from waypost.storage.database import Tx

Password = Annotated[str, Meta(min_length=1, max_length=sign_in.LONGEST_PASSWORD)]
#: Routes of people who have no session yet: no key is needed, and there are only so many tries.
ENTRY = PUBLIC | {"keyless": True, "statuses": {"401", "403", "429"}}


class SignIn(msgspec.Struct, forbid_unknown_fields=True):
    """An email address and a password, with a code of the second factor of a user who has one; or a passkey alone."""

    email: Annotated[str, Meta(max_length=320)] | None = None
    password: Password | None = None
    totp: Annotated[str, Meta(max_length=40, description="A code of the app, or a recovery code.")] | None = None
    passkey: PasskeyUse | None = None


class SetUp(msgspec.Struct, forbid_unknown_fields=True):
    """The first user. `code` is what `waypost serve` printed at its start."""

    code: Annotated[str, Meta(max_length=100)]
    email: Annotated[str, Meta(max_length=320)]
    password: Password
    name: str = ""
    #: The name of the first workspace, if none exists yet.
    workspace: str = "My workspace"


class Confirmation(msgspec.Struct, forbid_unknown_fields=True):
    """A passkey or a code of the second factor, or the password of a user without them."""

    password: Password | None = None
    totp: Annotated[str, Meta(max_length=40)] | None = None
    passkey: PasskeyUse | None = None


class SetupState(msgspec.Struct, kw_only=True):
    """Whether the first visitor has to become the owner."""

    needs_owner: bool
    version: str
    #: The origin at which passkeys work; null if the public URL is neither https nor localhost.
    passkey_origin: str | None
    #: Whether a workspace has single sign-on: GET /v1/single-sign-on finds its provider.
    single_sign_on: bool


class OwnUser(msgspec.Struct, kw_only=True):
    """The user who asks."""

    id: str
    email: str
    name: str
    #: Whether an authenticator app is set up, and how many recovery codes are left.
    totp: bool
    recovery_codes: int
    #: How many passkeys the user has.
    passkeys: int


class OwnKey(msgspec.Struct, kw_only=True):
    """The API key that asks."""

    id: str
    name: str


class OwnWorkspace(msgspec.Struct, kw_only=True):
    """A workspace of the caller."""

    id: str
    name: str
    role: str | None
    mfa: str


class OwnSession(msgspec.Struct, kw_only=True):
    """The session of the request."""

    id: str
    #: Whether it was made with a second factor.
    mfa: bool
    confirmed_until: str
    expires_at: str
    #: Whether the provider of the workspace has opened it: it sees that workspace alone, and not your own account.
    single_sign_on: bool


class Me(msgspec.Struct, kw_only=True):
    """The caller: a user with a session or an API key, the workspace, and what the caller may do there."""

    user: OwnUser | None
    key: OwnKey | None
    workspace: OwnWorkspace | None
    role: str | None
    workspaces: list[OwnWorkspace]
    permissions: list[str]
    session: OwnSession | None


class SessionView(msgspec.Struct, kw_only=True):
    """A session of the user, such as one browser."""

    id: str
    current: bool
    mfa: bool
    ip: str
    user_agent: str
    created_at: str
    last_used_at: str
    expires_at: str


@get("/v1/setup", summary="Ask whether the server has an owner", opt=PUBLIC)
async def get_setup(request: Request[Any, Any, Any]) -> SetupState:
    """Returns whether a first user has to be made, the version of the server, and the ways to sign in."""
    engine: Engine = request.app.state.engine
    party = engine.passkeys.party
    return SetupState(
        needs_owner=not await engine.database.read(users.any_user),
        version=__version__,
        passkey_origin=party.origin if party else None,
        single_sign_on=await engine.database.read(any_provider),
    )


@post("/v1/setup", summary="Create the first user", opt=ENTRY | {"body": SetUp})
async def set_up(request: Request[Any, Any, Any]) -> Response[Me]:
    """Makes the first visitor the owner of all workspaces. The code is printed when the server starts."""
    engine, ip, body = await read_entry(request, SetUp)
    email = sign_in.check_user_email(body.email)
    name = sign_in.check_optional_name(body.name)
    workspace = sign_in.check_name(body.workspace, "workspace")
    await engine.sessions.count_try([sign_in.TryLimit("setup", 20, 15 * MINUTE)])
    hashed = await engine.sessions.passwords.hash(sign_in.check_password(body.password, email))

    async def work(tx: Tx) -> int:
        now = now_us()
        if not await tx.rows("workspaces.list"):
            await create_workspace(tx, engine.ids, workspace, now)
        return await account_tokens.finish_setup(tx, engine.ids, body.code, email, name, hashed, now)

    user_id = await engine.database.transact(work)
    return await enter(request, user_id, ip=ip, status=201)


@post("/v1/sessions", status_code=200, summary="Sign in", opt=ENTRY | {"body": SignIn})
async def create_session(request: Request[Any, Any, Any]) -> Response[Me]:
    """Makes a session and sets its cookie. Without a code that is needed, the error is `mfa_required`.

    `passkey` stands alone, without an address or a password: it says who the user is, and is a second factor as well.
    """
    engine, ip, body = await read_entry(request, SignIn)
    agent = request.headers.get("user-agent", "")
    if body.passkey is not None:
        _require_alone(body)
        cookie, session = await engine.passkeys.sign_in(body.passkey.read(), ip, agent)
    else:
        email, password = _require(body.email, "email"), _require(body.password, "password")
        cookie, session = await engine.sessions.sign_in(email, password, body.totp, ip, agent)
    return await respond(request, cookie, session, status=200)


@get("/v1/sessions", summary="List your sessions", opt=OWN)
async def list_own_sessions(call: NamedDependency[Call], limit: Limit = 50, after: After = None) -> Page[SessionView]:
    """Returns where you are signed in, newest first."""
    start = before("sessions", after)
    rows = await call.read(sessions.list_sessions, call.caller.user_id, start, limit + 1, call.now)
    return page("sessions", rows, limit, lambda row: _session_view(call, row), lambda row: int(row["id"]))


@delete("/v1/sessions/{id:str}", summary="End a session", opt=OWN | BOUND)
async def delete_session(call: NamedDependency[Call], id: FromPath[str]) -> Response[None]:
    """Ends one of your sessions; `current` is the one of this request."""
    session_id = call.caller.session_id if id == "current" else internal("ses", id)
    if session_id != call.caller.session_id:
        call.admitted.require_own_sign_in()
    await call.transact(sessions.end_session, call.caller.user_id, session_id)
    call.forget_callers()
    headers = {"set-cookie": _cookie("", 0)} if session_id == call.caller.session_id else {}
    return Response(None, status_code=204, headers=headers)


@post(
    "/v1/sessions/current/confirm",
    status_code=200,
    summary="Confirm that it is you",
    opt=PROVING | BOUND | {"body": Confirmation, "keyless": True},
)
async def confirm_session(call: NamedDependency[Call]) -> Me:
    """Proves who you are again, before something sensitive: by a passkey, a code, or the password without both."""
    body, session = await call.body(Confirmation), require_session(call)
    mfa = body.passkey is not None or session.has_totp
    if body.passkey is not None:
        await call.engine.passkeys.confirm(session.user_id, body.passkey.read())
    elif session.has_totp:
        await _confirm_by_code(call, body.totp)
    else:
        await _confirm_by_password(call, session, body.password)
    await call.transact(sessions.confirm_session, session.id, mfa=mfa, now=call.now)
    call.forget_callers()
    confirmed = msgspec.structs.replace(session, mfa=mfa, confirmed_at=call.now)
    return await call.read(_me_of, confirmed, call.caller.workspace_id or None)


@get("/v1/me", summary="Get the caller", opt=OWN | BOUND | {"keys": True})
async def get_me(call: NamedDependency[Call]) -> Me:
    """Returns the user or the API key that asks, the workspace, and the permissions there."""
    return await call.read(_me, call)


async def _confirm_by_code(call: Call, code: str | None) -> None:
    if not code:
        raise Invalid("Send a code of the authenticator app as `totp`.", code="code_missing", field="totp")
    user = await call.read(users.get_user, call.caller.user_id)
    try:
        await call.engine.sessions.use_code(user, code)
    except Unauthorized as error:
        # The session is still good; 401 would say that it is not.
        raise Invalid(error.detail, code="code_wrong", field="totp") from error


async def _confirm_by_password(call: Call, session: Session, password: str | None) -> None:
    registry = call.engine.sessions
    if not password_confirms(totp=session.has_totp, passkeys=session.passkeys, mfa=session.mfa):
        raise Invalid("Confirm with your passkey, as `passkey`.", code="passkey_missing", field="passkey")
    await registry.count_try(sign_in.sign_in_limits(session.email, call.admitted.ip))
    user = await call.read(users.get_user, session.user_id)
    if not password or not await registry.passwords.verify(user["password"], password):
        raise Invalid("The password is not right.", code="wrong_password", field="password")


async def _me(tx: Tx, call: Call) -> Me:
    session, caller = call.admitted.session, call.caller
    if session is not None:
        chosen = session.membership(caller.workspace_id or None)
        return await _me_of(tx, session, chosen.workspace_id if chosen else None)
    row = await tx.row("workspaces.get", id=caller.workspace_id)
    workspace = OwnWorkspace(
        id=public("ws", caller.workspace_id), name=row[0] if row else "", role=None, mfa=row[1] if row else "optional"
    )
    return Me(
        user=None,
        key=OwnKey(id=public("key", caller.key_id), name=caller.name),
        workspace=workspace,
        role=None,
        workspaces=[workspace],
        permissions=sorted(caller.permissions),
        session=None,
    )


async def _me_of(tx: Tx, session: Session, workspace_id: int | None) -> Me:
    user = await users.get_user(tx, session.user_id)
    own = [
        OwnWorkspace(id=public("ws", one.workspace_id), name=one.name, role=one.role, mfa=one.mfa)
        for one in session.workspaces
    ]
    chosen = session.membership(workspace_id)
    return Me(
        user=OwnUser(
            id=public("usr", user["id"]),
            email=user["email"],
            name=user["name"],
            totp=user["totp_confirmed_at"] is not None,
            recovery_codes=len(msgspec.json.decode(user["recovery_codes"])),
            passkeys=await count_passkeys(tx, session.user_id),
        ),
        key=None,
        workspace=None if chosen is None else own[session.workspaces.index(chosen)],
        role=None if chosen is None else chosen.role,
        workspaces=own,
        permissions=[] if chosen is None else sorted(role_permissions(chosen.role)),
        session=OwnSession(
            id=public("ses", session.id),
            mfa=session.mfa or (session.sign_on_id is not None and session.trusts_mfa),
            confirmed_until=iso(session.confirmed_at + sign_in.CONFIRMED),
            expires_at=iso(session.expires_at),
            single_sign_on=session.sign_on_id is not None,
        ),
    )


def _session_view(call: Call, row: dict[str, Any]) -> SessionView:
    return SessionView(
        id=public("ses", row["id"]),
        current=row["id"] == call.caller.session_id,
        mfa=bool(row["mfa"]),
        ip=row["ip"],
        user_agent=row["user_agent"],
        created_at=iso(row["created_at"]),
        last_used_at=iso(row["last_used_at"]),
        expires_at=iso(row["expires_at"]),
    )


async def read_entry(request: Request[Any, Any, Any], type_: type[Any]) -> tuple[Engine, str, Any]:
    """Return the engine, the IP address and the body of a request that needs no key, from a page of our own."""
    headers = read_headers(request.scope["headers"])
    # A page of another site must not sign somebody in as somebody else.
    check_origin("POST", headers)
    engine: Engine = request.app.state.engine
    return engine, client_ip(engine, request.scope, headers), read_json(await request.body(), type_)


async def enter(request: Request[Any, Any, Any], user_id: int, *, ip: str, status: int) -> Response[Me]:
    """Return the response to somebody who has proved who they are: a new session."""
    engine: Engine = request.app.state.engine
    agent = request.headers.get("user-agent", "")
    cookie, session = await engine.sessions.start(user_id, mfa=False, ip=ip, user_agent=agent)
    return await respond(request, cookie, session, status=status)


async def describe_me(engine: Engine, admitted: Admitted) -> Me:
    """Return what `GET /v1/me` says to a user."""
    if admitted.session is None:
        raise Unauthorized("This needs a user who is signed in.")
    return await engine.database.read(_me_of, admitted.session, admitted.caller.workspace_id or None)


async def respond(request: Request[Any, Any, Any], cookie: str, session: Session, *, status: int) -> Response[Me]:
    """Return the response with the cookie of a new session; the one that the browser had is ended."""
    engine: Engine = request.app.state.engine
    await end_old_session(request, session.user_id)
    me = await engine.database.read(_me_of, session, None)
    headers = {"set-cookie": _cookie(cookie, sign_in.LONGEST_SESSION // SECOND), "cache-control": "no-store"}
    return Response(me, status_code=status, headers=headers)


async def end_old_session(request: Request[Any, Any, Any], user_id: int) -> None:
    """End the session that the browser of a user had before it gets another one."""
    engine: Engine = request.app.state.engine
    old = sign_in.read_cookie(read_headers(request.scope["headers"]).get("cookie", ""))
    if old is not None:
        await engine.database.transact(_end_old, old, user_id)
        engine.sessions.forget()


async def _end_old(tx: Tx, cookie: str, user_id: int) -> None:
    await tx.run("sessions.delete_cookie", hash=sign_in.digest(cookie), user_id=user_id)


def _cookie(value: str, seconds: int) -> str:
    return f"{sign_in.COOKIE}={value}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Lax"


def _require_alone(body: SignIn) -> None:
    """Raise Invalid if a passkey does not stand alone: it might be another user's than the address."""
    for name in ("email", "password", "totp"):
        if getattr(body, name) is not None:
            raise Invalid(
                f"A passkey says itself who signs in. Leave `{name}` away.", code="several_credentials", field=name
            )


def _require(value: str | None, name: str) -> str:
    """Return what a sign-in without a passkey must have. Raise Invalid without it."""
    if value is None:
        raise Invalid(
            f"Send `email` and `password`, or `passkey`. There is no `{name}`.", code="missing_credentials", field=name
        )
    return value


def require_session(call: Call) -> Session:
    """Return the session of a call. Raise Unauthorized for a key."""
    if call.admitted.session is None:
        raise Unauthorized("This needs a user who is signed in.")
    return call.admitted.session


def require_proof(call: Call) -> Session:
    """Return the session of a user who may change the second factors: confirmed lately, and with one if there is one.

    Raise Forbidden if not. Whoever has only the password must not add a second factor of their own, or remove one.
    """
    session = require_session(call)
    sessions.require_passkey(session)
    sessions.require_confirmation(session, second_factor=False, now=call.now)
    return session


ROUTES = [get_setup, set_up, create_session, list_own_sessions, delete_session, confirm_session, get_me]
