"""Sign in with a password and a second factor; find, confirm, list and end sessions."""

import os
import time
from typing import Any, NamedTuple

import msgspec

from waypost.clock import SECOND, Ids, now_us
from waypost.domain.accounts import second_factor, sign_in
from waypost.domain.accounts.callers import Caller
from waypost.domain.accounts.permissions import role_permissions
from waypost.domain.accounts.second_factor import FactorState, factor_state, sign_on_factor_state
from waypost.domain.accounts.sign_in import TryLimit, digest
from waypost.domain.values.ids import public
from waypost.engine.accounts.passwords import Passwords
from waypost.engine.accounts.users import find_user, workspaces_of
from waypost.engine.runtime.encryption import Encryption
from waypost.errors import Forbidden, NotFound, Unauthorized, Unavailable
from waypost.storage.database import Database, Tx

#: Seconds for which a session that was found is cached: so long, another process may serve one that has ended.
TRUST_S = 2.0
_KEPT = 10_000
_codes = msgspec.json.Decoder(list[str])
_encode = msgspec.json.Encoder().encode


class Membership(msgspec.Struct, frozen=True):
    """A workspace of a user."""

    workspace_id: int
    name: str
    role: str
    mfa: str


class SignOn(NamedTuple):
    """That the provider of a workspace has signed somebody in, and when they last proved it there (0: not known)."""

    workspace_id: int
    proved_at: int


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A session that was found by its cookie, with its user and the workspaces of the user."""

    id: int
    user_id: int
    email: str
    name: str
    #: Whether it was made, or last confirmed, with a second factor, and which ones the user has.
    mfa: bool
    has_totp: bool
    passkeys: int
    confirmed_at: int
    created_at: int
    last_used_at: int
    expires_at: int
    workspaces: tuple[Membership, ...]
    #: The only workspace that it sees, whose provider has opened it by single sign-on; None for other sessions.
    sign_on_id: int | None = None
    #: Whether the sign-in at that provider counts as a second factor.
    trusts_mfa: bool = False

    @property
    def factor(self) -> FactorState:
        """Return what the session says about the second factor of the user."""
        if self.sign_on_id is not None:
            has_factor = self.has_totp or self.passkeys > 0
            return sign_on_factor_state(trusted=self.trusts_mfa, has_factor=has_factor, mfa=self.mfa)
        return factor_state(totp=self.has_totp, passkeys=self.passkeys, mfa=self.mfa)

    def membership(self, workspace_id: int | None) -> Membership | None:
        """Return the workspace with an id, or the first one for None; None if the user is not in it."""
        if workspace_id is None:
            return self.workspaces[0] if self.workspaces else None
        return next((one for one in self.workspaces if one.workspace_id == workspace_id), None)

    def caller(self, workspace_id: int | None) -> Caller:
        """Return the user as a caller in a workspace, without permissions if they have none there.

        Raise NotFound for a workspace that the user is not in.
        """
        found = self.membership(workspace_id)
        if found is None and workspace_id is not None:
            raise NotFound(
                f"You are in no workspace {public('ws', workspace_id)}. GET /v1/me lists yours.",
                code="no_such_workspace",
            )
        return Caller(
            workspace_id=found.workspace_id if found else 0,
            permissions=role_permissions(found.role) if found else frozenset(),
            grants=found.role if found else "none",
            user_id=self.user_id,
            session_id=self.id,
            name=self.name or self.email,
        )


class SessionRegistry:
    """Makes sessions, and finds those of cookies."""

    def __init__(self, database: Database, ids: Ids, encryption: Encryption) -> None:
        self._database = database
        self._ids = ids
        self._encryption = encryption
        self.passwords = Passwords()
        self._known: dict[str, tuple[float, Session]] = {}

    async def find(self, cookie: str, ip: str) -> Session:
        """Return the session of a cookie, and note that it is used. Raise Unauthorized if there is none."""
        hash_ = digest(cookie)
        known = self._known.get(hash_)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        now = now_us()
        session = await self._database.read(_find, hash_, now)
        if session is None:
            raise Unauthorized("This session has ended. Sign in again.", code="session_ended")
        if session.last_used_at < now - sign_in.NOTED_EVERY:
            end = sign_in.session_end(session.created_at, now, sign_on=session.sign_on_id is not None)
            await self._database.transact(_touch, session.id, ip, end, now)
        if len(self._known) >= _KEPT:
            self._known.clear()
        self._known[hash_] = (time.monotonic() + TRUST_S, session)
        return session

    def forget(self) -> None:
        """Clear the cache, because a session, a user or a role was changed."""
        self._known.clear()

    async def sign_in(
        self, email: str, password: str, code: str | None, ip: str, user_agent: str
    ) -> tuple[str, Session]:
        """Return the cookie of a new session, and the session.

        Raise Unauthorized if anything is wrong, Unavailable after many tries.
        """
        email = email.strip().lower()
        limits = sign_in.sign_in_limits(email, ip)
        await self.count_try(limits)
        user = await self._database.read(find_user, email)
        right = await self.passwords.verify(user["password"] if user else None, password)
        if user is None or not right:
            raise Unauthorized("The email address or the password is not right.", code="wrong_credentials")
        await self._database.transact(_forgive, *limits)
        mfa = user["totp_confirmed_at"] is not None
        if mfa:
            if not code:
                raise Unauthorized(
                    "A code of the authenticator app is needed as well. Send it as `totp`.", code="mfa_required"
                )
            await self.use_code(user, code)
        fresh = await self.passwords.hash(password) if self.passwords.outdated(user["password"]) else None
        return await self.start(user["id"], mfa=mfa, ip=ip, user_agent=user_agent, verified=user, fresh=fresh)

    async def start(
        self,
        user_id: int,
        *,
        mfa: bool,
        ip: str,
        user_agent: str,
        verified: dict[str, Any] | None = None,
        fresh: str | None = None,
        sign_on: SignOn | None = None,
    ) -> tuple[str, Session]:
        """Return a new session of a user who has proved who they are, and its cookie.

        `verified` is the user whose password was verified: it must not have changed meanwhile. `fresh` is a better
        hash of the same password. A session of single sign-on sees the workspace of `sign_on` alone.
        """
        cookie, now = sign_in.make_token(os.urandom(sign_in.TOKEN_BYTES)), now_us()
        await self._database.transact(
            _add,
            self._ids.one(now),
            user_id,
            digest(cookie),
            int(mfa),
            ip,
            user_agent[:500],
            now,
            verified,
            fresh,
            sign_on,
        )
        session = await self._database.read(_find, digest(cookie), now)
        if session is None:
            raise Unauthorized("The user or the single sign-on was deleted.", code="session_ended")
        return cookie, session

    async def use_code(self, user: dict[str, Any], code: str) -> None:
        """Accept a code of the app, or a recovery code, once. Raise Unauthorized for any other."""
        await self.count_try([sign_in.second_factor_limit(user["id"])])
        if second_factor.is_recovery_code(code):
            used = await self._database.transact(_use_recovery_code, user["id"], second_factor.recovery_digest(code))
        else:
            secret = self._encryption.decrypt(user["totp_secret"])
            step = second_factor.find_step(secret, code, now_us())
            used = step is not None and await self._database.transact(_use_step, user["id"], user["totp_secret"], step)
        if not used:
            raise Unauthorized(
                "The code is not right, or was used before. Wait for the next one.", code="wrong_code", field="totp"
            )
        await self._database.transact(_forget_tries, sign_in.second_factor_limit(user["id"]).key)

    async def count_try(self, limits: list[TryLimit]) -> None:
        """Count a try before it is made, in all processes. Raise Unavailable if there were too many."""
        refused = await self._database.transact(_count, limits)
        if refused is not None:
            raise Unavailable(
                "There were too many tries. Wait before the next one.",
                code="rate_limited",
                retry_after=max(1, -(-refused // SECOND)),
            )


def require_second_factor(session: Session, membership: Membership) -> None:
    """Raise Forbidden if the workspace requires a second factor that the user has not set up or not given."""
    if membership.mfa != "required":
        return
    if session.factor is FactorState.MISSING:
        raise _no_factor(session, "This workspace requires a second factor.")
    require_passkey(session)


def _no_factor(session: Session, why: str) -> Forbidden:
    if session.sign_on_id is None:
        return Forbidden(f"{why} Set it up (POST /v1/users/me/totp), then go on.", code="mfa_enrolment_required")
    return Forbidden(
        f"{why} Single sign-on does not count as one here. Sign in with your own password (you can choose one by "
        '"Forgot your password?"), set the second factor up, then sign in as before; or ask an owner to let the '
        "sign-in of your provider count.",
        code="sign_on_factor_missing",
    )


def require_passkey(session: Session) -> None:
    """Raise Forbidden if a user has a second factor and has not given it in this session."""
    if session.factor is FactorState.UNPROVED and session.sign_on_id is not None:
        raise Forbidden(
            "Single sign-on alone is not enough for this. Confirm with your second factor "
            "(POST /v1/sessions/current/confirm), then repeat the request.",
            code="second_factor_required",
        )
    if session.factor is FactorState.UNPROVED:
        raise Forbidden(
            "The password alone is not enough for this. Confirm with your passkey "
            "(POST /v1/sessions/current/confirm), then repeat the request.",
            code="passkey_required",
        )


def require_confirmation(session: Session, *, second_factor: bool, now: int) -> None:
    """Raise Forbidden unless the user proved lately who they are, with a second factor if they must have one."""
    if second_factor and session.factor is FactorState.MISSING:
        raise _no_factor(session, "This workspace asks for a second factor before connections and webhooks change.")
    if second_factor:
        require_passkey(session)
    if session.confirmed_at < now - sign_in.CONFIRMED:
        raise Forbidden(
            "Confirm that it is you (POST /v1/sessions/current/confirm), then repeat the request.",
            code="confirmation_required",
        )


async def list_sessions(tx: Tx, user_id: int, before: int, n: int, now: int) -> list[dict[str, Any]]:
    """Return a page of the sessions of a user, newest first."""
    return await tx.records("sessions.list", user_id=user_id, before=before, n=n, now=now)


async def end_session(tx: Tx, user_id: int, session_id: int) -> None:
    """End a session of a user. Raise NotFound if it is somebody else's."""
    if not await tx.run("sessions.delete", user_id=user_id, id=session_id):
        raise NotFound("There is no such session; it may have ended.")


async def end_other_sessions(tx: Tx, user_id: int, session_id: int) -> None:
    """End all sessions of a user but this one (0: all)."""
    await tx.run("sessions.delete_others", user_id=user_id, id=session_id)


async def confirm_session(tx: Tx, session_id: int, *, mfa: bool, now: int) -> None:
    """Note that the user has proved in a session who they are."""
    await tx.run("sessions.confirm", id=session_id, mfa=int(mfa), now=now)


async def prune_accounts(database: Database, now: int) -> int:
    """Delete sessions, tokens and counted tries that have ended; return how many."""
    return await database.transact(_prune, now)


async def _find(tx: Tx, hash_: str, now: int) -> Session | None:
    found = await tx.records("sessions.find", hash=hash_, now=now)
    if not found:
        return None
    row = found[0]
    only = row["workspace_id"]
    memberships = [one for one in await workspaces_of(tx, row["user_id"]) if only in (None, one["id"])]
    return Session(
        id=row["id"],
        user_id=row["user_id"],
        email=row["email"],
        name=row["name"],
        mfa=bool(row["mfa"]),
        has_totp=row["totp_confirmed_at"] is not None,
        passkeys=row["passkeys"],
        confirmed_at=row["confirmed_at"],
        created_at=row["created_at"],
        last_used_at=row["last_used_at"],
        expires_at=row["expires_at"],
        workspaces=tuple(Membership(one["id"], one["name"], one["role"], one["mfa"]) for one in memberships),
        sign_on_id=only,
        trusts_mfa=bool(row["trusts_mfa"]),
    )


async def _touch(tx: Tx, session_id: int, ip: str, end: int, now: int) -> None:
    await tx.run("sessions.touch", id=session_id, ip=ip, expires_at=end, now=now)


async def _add(
    tx: Tx,
    id_: int,
    user_id: int,
    hash_: str,
    mfa: int,
    ip: str,
    user_agent: str,
    now: int,
    verified: dict[str, Any] | None,
    fresh: str | None,
    sign_on: SignOn | None,
) -> None:
    if verified is not None:
        current = await tx.records("users.get", id=user_id)
        proof = ("password", "totp_confirmed_at")
        if not current or any(current[0][name] != verified[name] for name in proof):
            raise Unauthorized("The password was changed meanwhile. Sign in again.", code="wrong_credentials")
    if fresh is not None:
        await tx.run("users.set_password", id=user_id, password=fresh, now=now)
    end = sign_in.session_end(now, now, sign_on=sign_on is not None)
    await tx.run(
        "sessions.add",
        id=id_,
        user_id=user_id,
        hash=hash_,
        mfa=mfa,
        ip=ip,
        user_agent=user_agent,
        now=now,
        expires_at=end,
        workspace_id=sign_on.workspace_id if sign_on else None,
        confirmed_at=sign_on.proved_at if sign_on else now,
    )


async def _count(tx: Tx, limits: list[TryLimit]) -> int | None:
    """Count a try for each limit; return how long the first one that is reached lasts, or None.

    A try that a narrow limit refuses does not count for the wide ones: nobody is locked out by it.
    """
    for limit in limits:
        row = await tx.row("sign_in_tries.add", key=limit.key, window=limit.window)
        if row is not None and row[0] > limit.most:
            return int(row[1])
    return None


async def _forgive(tx: Tx, pair: TryLimit, email: TryLimit, ip: TryLimit) -> None:
    """Forget the tries of somebody who knew the password; of the IP address only this one, which others may share."""
    await tx.run("sign_in_tries.forget", key=pair.key)
    await tx.run("sign_in_tries.forget", key=email.key)
    await tx.run("sign_in_tries.give_back", key=ip.key)


async def _forget_tries(tx: Tx, key: str) -> None:
    await tx.run("sign_in_tries.forget", key=key)


async def _use_step(tx: Tx, user_id: int, secret: str, step: int) -> bool:
    return bool(await tx.run("users.use_totp_step", id=user_id, secret=secret, step=step))


async def _use_recovery_code(tx: Tx, user_id: int, code: str) -> bool:
    row = await tx.records("users.get", id=user_id)
    before = row[0]["recovery_codes"] if row else "[]"
    codes = _codes.decode(before)
    if code not in codes:
        return False
    left = _encode([one for one in codes if one != code]).decode()
    return bool(await tx.run("users.set_recovery_codes", id=user_id, codes=left, before=before, now=now_us()))


async def _prune(tx: Tx, now: int) -> int:
    deleted = await tx.run("sessions.prune", now=now)
    deleted += await tx.run("sign_in_tries.prune")
    deleted += await tx.run("used_challenges.prune", now=now)
    return deleted + await tx.run("account_tokens.prune", now=now)
