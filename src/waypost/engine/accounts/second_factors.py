"""Set up, confirm and remove the second factor of a user."""

import os
from typing import NamedTuple

import msgspec

from waypost.domain.accounts import second_factor
from waypost.engine.accounts.users import get_user
from waypost.engine.runtime.encryption import Encryption
from waypost.errors import Conflict, Invalid
from waypost.storage.database import Tx

_encode = msgspec.json.Encoder().encode


class Offer(NamedTuple):
    """A second factor that the user has not confirmed yet."""

    secret: str
    uri: str


async def offer_totp(tx: Tx, encryption: Encryption, user_id: int, now: int) -> Offer:
    """Make a secret, which counts as soon as a code of it is confirmed. Raise Conflict if there is a confirmed one."""
    user, secret = await get_user(tx, user_id), second_factor.make_secret(os.urandom(second_factor.SECRET_BYTES))
    if not await tx.run("users.offer_totp", id=user_id, secret=encryption.encrypt(secret), now=now):
        raise Conflict("You have a second factor already. Remove it first.", code="totp_exists")
    return Offer(secret, second_factor.provisioning_uri(secret, user["email"]))


async def confirm_totp(tx: Tx, encryption: Encryption, user_id: int, code: str, now: int) -> list[str]:
    """Turn the second factor on with its first code; return the recovery codes, which are returned only here."""
    user = await get_user(tx, user_id)
    if user["totp_secret"] is None or user["totp_confirmed_at"] is not None:
        raise Conflict("There is no second factor to confirm. Begin with POST /v1/users/me/totp.", code="no_totp_offer")
    step = second_factor.find_step(encryption.decrypt(user["totp_secret"]), code, now)
    if step is None:
        raise Invalid(
            "The code is not right. Check that the clock of the phone is, and use the newest code.",
            code="code_wrong",
            field="code",
        )
    await tx.run("users.use_totp_step", id=user_id, secret=user["totp_secret"], step=step)
    codes = _make_codes()
    if not await tx.run("users.confirm_totp", id=user_id, codes=_digests(codes), secret=user["totp_secret"], now=now):
        raise Conflict("Another request has changed the second factor. Begin again.", code="no_totp_offer")
    return codes


async def renew_recovery_codes(tx: Tx, user_id: int, now: int) -> list[str]:
    """Replace the recovery codes; return the new ones, which are returned only here."""
    user = await get_user(tx, user_id)
    if user["totp_confirmed_at"] is None:
        raise Conflict("Recovery codes belong to a second factor. Set it up first.", code="no_totp")
    codes = _make_codes()
    values = {"codes": _digests(codes), "before": user["recovery_codes"]}
    if not await tx.run("users.set_recovery_codes", id=user_id, now=now, **values):
        raise Conflict("Another request has changed the recovery codes. Make new ones again.", code="no_totp_offer")
    return codes


async def remove_totp(tx: Tx, user_id: int, now: int) -> None:
    """Turn the second factor off."""
    await tx.run("users.remove_totp", id=user_id, now=now)


def _make_codes() -> list[str]:
    return [
        second_factor.make_recovery_code(os.urandom(second_factor.RECOVERY_BYTES))
        for _ in range(second_factor.RECOVERY_CODES)
    ]


def _digests(codes: list[str]) -> str:
    return _encode([second_factor.recovery_digest(code) for code in codes]).decode()
