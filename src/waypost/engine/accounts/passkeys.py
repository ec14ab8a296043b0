"""Passkeys of users: challenges, adding, listing, renaming and deleting them, and signing in with one."""

import os
from typing import Any

from waypost.clock import Ids, now_us
from waypost.domain.accounts import passkeys, sign_in
from waypost.domain.accounts.passkeys import Assertion, Attestation, NewPasskey, PasskeyChallenge, RelyingParty
from waypost.domain.accounts.sign_in import TryLimit
from waypost.engine.accounts.sessions import Session, SessionRegistry
from waypost.engine.accounts.users import get_user
from waypost.engine.runtime.encryption import Encryption
from waypost.errors import Conflict, Invalid, NotFound, Unauthorized, Unavailable
from waypost.storage.database import Database, Tx


class PasskeyRegistry:
    """Makes challenges, and verifies what browsers answer.

    A challenge is encrypted and says itself what it is for, so that nothing is stored for everybody who opens the
    sign-in page, every process knows those of the others, and a restart forgets none. Its use is stored.
    """

    def __init__(
        self, database: Database, ids: Ids, encryption: Encryption, sessions: SessionRegistry, base_url: str
    ) -> None:
        self._database = database
        self._ids = ids
        self._encryption = encryption
        self._sessions = sessions
        self._base_url = base_url
        #: None if browsers refuse passkeys at the public URL.
        self.party: RelyingParty | None = passkeys.relying_party(base_url)

    def require_party(self) -> RelyingParty:
        """Return what passkeys of this server belong to. Raise Conflict if it can have none."""
        if self.party is None:
            raise Conflict(
                f"Browsers have passkeys only at https addresses and at localhost, and the public URL of this server "
                f"is {self._base_url}. Set WAYPOST_PUBLIC_URL to an https address with a host name.",
                code="passkeys_unavailable",
            )
        return self.party

    def make_challenge(self, purpose: str, user_id: int = 0) -> str:
        """Return a new challenge, in base64url."""
        self.require_party()
        nonce = os.urandom(passkeys.NONCE_BYTES).hex()
        challenge = PasskeyChallenge(purpose, user_id, nonce, now_us() + passkeys.CHALLENGE_LASTS)
        return passkeys.to_base64url(self._encryption.encrypt(passkeys.write_challenge(challenge)).encode())

    def verify_new(self, user_id: int, attestation: Attestation) -> tuple[NewPasskey, PasskeyChallenge]:
        """Return the passkey of an attestation and the challenge to use up. Raise Invalid if it is not right."""
        stated = passkeys.stated_challenge(attestation.client_data)
        challenge = self._read(stated, passkeys.ADD, user_id)
        found = challenge and passkeys.verify_attestation(attestation, stated, self.require_party())
        if challenge is None or not found:
            raise _not_right()
        return found, challenge

    async def sign_in(self, assertion: Assertion, ip: str, user_agent: str) -> tuple[str, Session]:
        """Return the cookie of a new session of the user of a passkey, and the session.

        Raise Unauthorized if anything is not right, Unavailable after many tries.
        """
        limits = sign_in.passkey_limits(passkeys.to_base64url(assertion.credential_id), ip)
        await self._sessions.count_try(limits)
        user_id = await self._verify_use(assertion, None)
        if user_id is None:
            raise Unauthorized(
                "The passkey was not accepted. Try once more, or sign in with the password.", code="wrong_passkey"
            )
        await self._database.transact(_forgive, *limits)
        return await self._sessions.start(user_id, mfa=True, ip=ip, user_agent=user_agent)

    async def confirm(self, user_id: int, assertion: Assertion) -> None:
        """Verify that the user has used one of their passkeys. Raise Invalid if not, Unavailable after many tries."""
        limit = sign_in.second_factor_limit(user_id)
        await self._sessions.count_try([limit])
        if await self._verify_use(assertion, user_id) is None:
            raise _not_right()
        await self._database.transact(_forget_tries, limit.key)

    async def _verify_use(self, assertion: Assertion, user_id: int | None) -> int | None:
        """Return the user whose passkey was used, and use up the challenge; None if anything is not right.

        `user_id` is the user who must have used it; None for anybody, whom the authenticator must name.
        """
        party, stated = self.require_party(), passkeys.stated_challenge(assertion.client_data)
        challenge = self._read(stated, passkeys.USE, 0)
        row = await self._database.read(_find, passkeys.to_base64url(assertion.credential_id))
        if challenge is None or row is None or user_id not in (None, row["user_id"]):
            return None
        handle = assertion.user_handle
        if handle != passkeys.user_handle(row["user_id"]) and (handle is not None or user_id is None):
            return None
        count = passkeys.verify_assertion(assertion, stated, party, row["public_key"], row["sign_count"])
        if count is None or not await self._database.transact(_use, row["id"], count, challenge, now_us()):
            return None
        return int(row["user_id"])

    def _read(self, stated: bytes, purpose: str, user_id: int) -> PasskeyChallenge | None:
        """Return a challenge that this server has made for a purpose and that has not ended; None for any other."""
        try:
            text = self._encryption.decrypt(stated.decode("ascii"))
        except (UnicodeDecodeError, Unavailable):
            return None
        challenge = passkeys.read_challenge(text)
        if challenge is None or not passkeys.is_good(challenge, purpose, user_id, now_us()):
            return None
        return challenge


async def store_passkey(
    tx: Tx, ids: Ids, user_id: int, name: str, verified: tuple[NewPasskey, PasskeyChallenge], now: int
) -> dict[str, Any]:
    """Store a verified passkey of a user, and use up its challenge; return it."""
    found, challenge = verified
    await tx.run("users.lock", id=user_id)
    if not await _use_up(tx, challenge):
        raise _not_right()
    if await count_passkeys(tx, user_id) >= passkeys.MOST_PASSKEYS:
        raise Conflict(
            f"You have {passkeys.MOST_PASSKEYS} passkeys. Delete one that you do not use.", code="too_many_passkeys"
        )
    passkey_id = ids.one(now)
    added = await tx.run(
        "passkeys.add",
        id=passkey_id,
        user_id=user_id,
        credential_id=found.credential_id,
        public_key=found.public_key,
        sign_count=found.sign_count,
        name=name,
        now=now,
    )
    if not added:
        raise Conflict("This passkey was added before.", code="passkey_exists")
    return await get_passkey(tx, user_id, passkey_id)


async def list_passkeys(tx: Tx, user_id: int, before: int, n: int) -> list[dict[str, Any]]:
    """Return a page of the passkeys of a user, newest first."""
    return await tx.records("passkeys.list", user_id=user_id, before=before, n=n)


async def get_passkey(tx: Tx, user_id: int, passkey_id: int) -> dict[str, Any]:
    """Return a passkey of a user. Raise NotFound if it is somebody else's, or none."""
    found = await tx.records("passkeys.get", user_id=user_id, id=passkey_id)
    if not found:
        raise NotFound("You have no such passkey. GET /v1/users/me/passkeys lists yours.")
    return found[0]


async def count_passkeys(tx: Tx, user_id: int) -> int:
    """Return how many passkeys a user has."""
    row = await tx.row("passkeys.count", user_id=user_id)
    return int(row[0]) if row else 0


async def rename_passkey(tx: Tx, user_id: int, passkey_id: int, name: str) -> dict[str, Any]:
    """Change the name of a passkey; return it."""
    await tx.run("passkeys.rename", user_id=user_id, id=passkey_id, name=name)
    return await get_passkey(tx, user_id, passkey_id)


async def delete_passkey(tx: Tx, user_id: int, passkey_id: int, *, needed: bool) -> None:
    """Delete a passkey; raise Conflict for the last second factor of a user who needs one (`needed`)."""
    await tx.run("users.lock", id=user_id)
    await get_passkey(tx, user_id, passkey_id)
    user = await get_user(tx, user_id)
    if needed and user["totp_confirmed_at"] is None and await count_passkeys(tx, user_id) == 1:
        raise Conflict(
            "This is your last second factor, and one of your workspaces requires it. Add another passkey or an "
            "authenticator app first.",
            code="last_second_factor",
        )
    await tx.run("passkeys.delete", user_id=user_id, id=passkey_id)


async def delete_passkeys(tx: Tx, user_id: int) -> int:
    """Delete all passkeys of a user, such as one who has lost them; return how many."""
    return await tx.run("passkeys.delete_all", user_id=user_id)


def _not_right() -> Invalid:
    return Invalid("The passkey was not accepted. Try once more.", code="passkey_wrong", field="passkey")


async def _find(tx: Tx, credential_id: str) -> dict[str, Any] | None:
    found = await tx.records("passkeys.find", credential_id=credential_id)
    return found[0] if found else None


async def _use(tx: Tx, passkey_id: int, count: int, challenge: PasskeyChallenge, now: int) -> bool:
    """Use up a challenge and note the use of a passkey; False if another request was faster."""
    if not await _use_up(tx, challenge):
        return False
    return bool(await tx.run("passkeys.use", id=passkey_id, sign_count=count, now=now))


async def _use_up(tx: Tx, challenge: PasskeyChallenge) -> bool:
    hash_ = sign_in.digest(challenge.nonce)
    return bool(await tx.run("used_challenges.add", hash=hash_, expires_at=challenge.expires_at))


async def _forgive(tx: Tx, passkey: TryLimit, ip: TryLimit) -> None:
    await tx.run("sign_in_tries.forget", key=passkey.key)
    await tx.run("sign_in_tries.give_back", key=ip.key)


async def _forget_tries(tx: Tx, key: str) -> None:
    await tx.run("sign_in_tries.forget", key=key)
