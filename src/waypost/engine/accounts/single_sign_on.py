"""Single sign-on: leads browsers to the providers of workspaces, and decides who of those who come back may enter."""

import os
from typing import NamedTuple

import structlog

from waypost.clock import Ids, now_us
from waypost.domain.accounts import sign_in
from waypost.domain.accounts import single_sign_on as rules
from waypost.domain.accounts.callers import Caller
from waypost.domain.accounts.id_tokens import SignedOn
from waypost.domain.accounts.permissions import Role, role_permissions
from waypost.domain.accounts.single_sign_on import SignOnProvider, SignOnRefused, SignOnState
from waypost.domain.values.ids import public
from waypost.engine.accounts.audit import record_change
from waypost.engine.accounts.sessions import Session, SessionRegistry, SignOn
from waypost.engine.accounts.sign_on_client import SignOnClient
from waypost.engine.accounts.sign_on_settings import get_provider
from waypost.engine.accounts.users import add_member, add_user, find_user
from waypost.engine.net.outbound import Outbound
from waypost.engine.runtime.encryption import Encryption
from waypost.errors import Conflict, NotFound, Unavailable
from waypost.storage.database import Database, Tx

log = structlog.get_logger()

#: The path to which providers send browsers back.
CALLBACK = "/v1/single-sign-on/callback"


class CameBack(NamedTuple):
    """Somebody who came back from a provider and may enter."""

    cookie: str
    session: Session
    path: str


class SingleSignOn:
    """Leads browsers to the providers of workspaces, and opens sessions for those who come back.

    A sign-in in progress is not stored: the browser keeps it, encrypted, so that every process knows those of the
    others and a restart forgets none. Its use is stored.
    """

    def __init__(
        self,
        database: Database,
        ids: Ids,
        encryption: Encryption,
        sessions: SessionRegistry,
        outbound: Outbound,
        base_url: str,
    ) -> None:
        self._database = database
        self._ids = ids
        self._encryption = encryption
        self._sessions = sessions
        self.client = SignOnClient(outbound)
        self.callback_url = base_url + CALLBACK

    async def begin(self, workspace_id: int, path: str, ip: str, *, fresh: bool) -> tuple[str, str]:
        """Return where a browser goes to sign in, and the cookie by which it is known when it comes back.

        Raise SignOnRefused if the workspace has no provider, or the provider cannot be used now.
        """
        await self._sessions.count_try([sign_in.sign_on_limit("begin", ip)])
        try:
            provider = await self._database.read(get_provider, self._encryption, workspace_id)
            metadata = await self.client.discover(provider.issuer)
        except NotFound as error:
            raise SignOnRefused("sign_on_unavailable") from error
        except SignOnRefused as error:
            _log(error, workspace_id)
            raise
        state, nonce, verifier = (sign_in.make_token(os.urandom(rules.ENTROPY_BYTES)) for _ in range(3))
        begun = SignOnState(
            workspace_id=workspace_id,
            issuer=provider.issuer,
            state=state,
            nonce=nonce,
            verifier=verifier,
            path=rules.own_path(path),
            fresh=fresh,
            started_at=now_us(),
        )
        url = rules.authorization_url(metadata, provider.client_id, self.callback_url, begun)
        # Cookies have no "=" in their values.
        return url, self._encryption.encrypt(rules.write_state(begun)).rstrip("=")

    async def finish(self, cookie: str | None, answer: dict[str, str], ip: str, user_agent: str) -> CameBack:
        """Open a session for somebody who came back. Raise SignOnRefused if anything is not right.

        The session sees only the workspace whose provider has sent them.
        """
        begun = self._read(cookie, answer.get("state", ""))
        await self._sessions.count_try([sign_in.sign_on_limit("finish", ip)])
        if not await self._database.transact(_use_up, begun):
            raise SignOnRefused("sign_on_state", "it was used before")
        try:
            provider, signed_on = await self._redeem(begun, answer)
            user_id = await self._admit(provider, signed_on, ip)
        except SignOnRefused as error:
            _log(error, begun.workspace_id)
            raise
        sign_on = SignOn(provider.workspace_id, signed_on.proved_at)
        new_cookie, session = await self._sessions.start(
            user_id, mfa=False, ip=ip, user_agent=user_agent, sign_on=sign_on
        )
        return CameBack(new_cookie, session, begun.path)

    async def _admit(self, provider: SignOnProvider, signed_on: SignedOn, ip: str) -> int:
        try:
            return await self._database.transact(_admit, self._ids, self._encryption, provider, signed_on, ip)
        except Conflict:
            # Another browser of the same new person was faster, on another node: now the user is found.
            return await self._database.transact(_admit, self._ids, self._encryption, provider, signed_on, ip)

    def _read(self, cookie: str | None, state: str) -> SignOnState:
        encrypted = cookie or ""
        try:
            text = self._encryption.decrypt(encrypted + "=" * (-len(encrypted) % 4))
            found = rules.read_state(text, state, now_us())
        except (Unavailable, UnicodeEncodeError) as error:
            raise SignOnRefused("sign_on_state") from error
        if found is None:
            raise SignOnRefused("sign_on_state")
        return found

    async def _redeem(self, begun: SignOnState, answer: dict[str, str]) -> tuple[SignOnProvider, SignedOn]:
        """Return the provider, and who it says has signed in."""
        try:
            provider = await self._database.read(get_provider, self._encryption, begun.workspace_id)
        except NotFound as error:
            raise SignOnRefused("sign_on_unavailable") from error
        if provider.issuer != begun.issuer:
            raise SignOnRefused("sign_on_state", "the workspace has another provider now")
        metadata = await self.client.discover(provider.issuer)
        code = rules.check_answer(answer, metadata)
        signed_on, access_token = await self.client.redeem(provider, metadata, code, begun, self.callback_url)
        if await self._database.read(_find_identity, provider, signed_on) is None:
            signed_on = await self.client.add_userinfo(metadata, signed_on, access_token)
        return provider, signed_on


class _Person(NamedTuple):
    """Somebody who is in the workspace."""

    user_id: int
    email: str
    role: Role


async def _find_identity(tx: Tx, provider: SignOnProvider, signed_on: SignedOn) -> _Person | None:
    row = await tx.row(
        "single_sign_on.identity",
        workspace_id=provider.workspace_id,
        issuer=provider.issuer,
        subject=signed_on.subject,
    )
    return _Person(row[0], row[1], Role(row[2])) if row else None


async def _admit(
    tx: Tx, ids: Ids, encryption: Encryption, sent_by: SignOnProvider, signed_on: SignedOn, ip: str
) -> int:
    """Return the user whom a provider has sent, made or made a member if need be. Raise SignOnRefused otherwise.

    After the first sign-in the subject says who it is, whatever the address is then.
    """
    try:
        provider = await get_provider(tx, encryption, sent_by.workspace_id)
    except NotFound as error:
        raise SignOnRefused("sign_on_unavailable") from error
    if (provider.issuer, provider.client_id) != (sent_by.issuer, sent_by.client_id):
        raise SignOnRefused("sign_on_state", "the workspace has another provider now")
    now = now_us()
    person = await _find_identity(tx, provider, signed_on)
    known = person is not None
    if person is None:
        if not signed_on.email:
            raise SignOnRefused("sign_on_email", "it names no email address, or has not verified it (email_verified)")
        _require_domain(provider, signed_on.email)
        person = await _find_member(tx, provider, signed_on.email) or await _join(tx, ids, provider, signed_on, ip, now)
    _require_domain(provider, person.email)
    if person.role is Role.OWNER and not provider.owners:
        raise SignOnRefused("sign_on_owner", "owners may not sign in by it")
    if not known:
        await _note_identity(tx, provider, signed_on, person, now)
    return person.user_id


def _require_domain(provider: SignOnProvider, email: str) -> None:
    if not provider.takes(email):
        raise SignOnRefused("sign_on_domain", "the domain of the address is not one of the provider's `domains`")


async def _find_member(tx: Tx, provider: SignOnProvider, email: str) -> _Person | None:
    user = await find_user(tx, email)
    row = user and await tx.row("memberships.get", user_id=user["id"], workspace_id=provider.workspace_id)
    return _Person(user["id"], email, Role(row[0])) if user and row else None


async def _join(tx: Tx, ids: Ids, provider: SignOnProvider, signed_on: SignedOn, ip: str, now: int) -> _Person:
    """Let somebody into the workspace who is invited, or whom the settings let join."""
    workspace_id, email = provider.workspace_id, signed_on.email
    invitation = await tx.records("single_sign_on.invitation", workspace_id=workspace_id, email=email, now=now)
    role = Role(invitation[0]["role"]) if invitation else provider.role
    if role is None:
        raise SignOnRefused("sign_on_not_invited", "they are not in the workspace, and new people may not join")
    if role is Role.OWNER and not provider.owners:
        raise SignOnRefused("sign_on_owner", "owners may not sign in by it")
    if invitation:
        await tx.run("account_tokens.delete", id=invitation[0]["id"])
    user = await find_user(tx, email)
    user_id = int(user["id"]) if user else await add_user(tx, ids, email, signed_on.name, None, now)
    await add_member(tx, user_id, workspace_id, role, now)
    caller = Caller(
        workspace_id=workspace_id,
        permissions=role_permissions(role),
        grants=role.value,
        user_id=user_id,
        name=signed_on.name or email,
    )
    resource, after = f"/v1/users/{public('usr', user_id)}", {"role": role.value, "invited": bool(invitation)}
    await record_change(tx, ids, caller, "join_by_single_sign_on", resource, None, after, ip, now)
    return _Person(user_id, email, role)


async def _note_identity(tx: Tx, provider: SignOnProvider, signed_on: SignedOn, person: _Person, now: int) -> None:
    """Note whom the subject means. Raise SignOnRefused if the provider means the user by another subject already."""
    added = await tx.run(
        "single_sign_on.add_identity",
        workspace_id=provider.workspace_id,
        issuer=provider.issuer,
        subject=signed_on.subject,
        user_id=person.user_id,
        now=now,
    )
    if not added:
        raise SignOnRefused(
            "sign_on_other_person", "the address belongs to a user whom it knows by another `sub` already"
        )


async def _use_up(tx: Tx, begun: SignOnState) -> bool:
    expires_at = begun.started_at + rules.LASTS
    return bool(await tx.run("used_challenges.add", hash=sign_in.digest(begun.state), expires_at=expires_at))


def _log(error: SignOnRefused, workspace_id: int) -> None:
    """Tell the operator what the person is not told."""
    log.warning(
        "a single sign-on was refused",
        action="sign_on_refused",
        workspace=public("ws", workspace_id),
        code=error.code,
        detail=error.detail,
    )
