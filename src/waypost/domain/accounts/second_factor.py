"""The second factor: codes of an authenticator app by time (RFC 6238), and recovery codes."""

import base64
from enum import StrEnum

import pyotp
from pyotp.utils import strings_equal

from waypost.clock import SECOND
from waypost.domain.accounts.sign_in import digest

#: Bytes of a secret, as long as the hash (RFC 4226, section 4), and of a recovery code.
SECRET_BYTES, RECOVERY_BYTES = 20, 10
RECOVERY_CODES = 10
#: Seconds of a step, and how many steps the clock of a phone may be off, either way.
STEP_S, DRIFT = 30, 1
ISSUER = "Waypost"


def make_secret(entropy: bytes) -> str:
    """Return 20 random bytes as authenticator apps take them: 32 base32 characters."""
    return base64.b32encode(entropy).decode()


def provisioning_uri(secret: str, email: str, issuer: str = ISSUER) -> str:
    """Return the `otpauth://` URI of a secret, which apps read from a QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name=issuer)


def find_step(secret: str, code: str, now: int) -> int | None:
    """Return the step of 30 seconds whose code this is, if its time is within a step of now; None if none's is."""
    totp, given = pyotp.TOTP(secret), "".join(code.split())
    current = now // (STEP_S * SECOND)
    found = None
    # All are compared, so that the time does not tell which one it was.
    for step in range(current - DRIFT, current + DRIFT + 1):
        if strings_equal(totp.generate_otp(step), given):
            found = step
    return found


def make_recovery_code(entropy: bytes) -> str:
    """Return ten random bytes as a code that can be written down: four groups of four characters."""
    text = base64.b32encode(entropy).decode().lower()
    return "-".join(text[start : start + 4] for start in range(0, len(text), 4))


def recovery_digest(code: str) -> str:
    """Return the digest of a recovery code, however it was written."""
    return digest("".join(letter for letter in code.lower() if letter.isalnum()))


def is_recovery_code(code: str) -> bool:
    """Whether a text has the length of a recovery code, and not that of a code of an app."""
    return sum(letter.isalnum() for letter in code) == 16


class FactorState(StrEnum):
    """What a session says about the second factor of its user."""

    #: The user has none.
    MISSING = "missing"
    #: The user has passkeys, and signed in with the password alone.
    UNPROVED = "unproved"
    PROVED = "proved"


def factor_state(*, totp: bool, passkeys: int, mfa: bool) -> FactorState:
    """Return what a session says about the second factor: `mfa` is whether its last proof had one.

    With an authenticator app nobody signs in without a code. Passkeys leave the password as another way in, which
    must not count as a second factor.
    """
    if totp or (passkeys and mfa):
        return FactorState.PROVED
    return FactorState.UNPROVED if passkeys else FactorState.MISSING


def sign_on_factor_state(*, trusted: bool, has_factor: bool, mfa: bool) -> FactorState:
    """Return the same of a session of single sign-on, whose provider may be `trusted` to have asked for it itself."""
    if trusted or mfa:
        return FactorState.PROVED
    return FactorState.UNPROVED if has_factor else FactorState.MISSING


def password_confirms(*, totp: bool, passkeys: int, mfa: bool) -> bool:
    """Whether the password alone confirms who somebody is: never less than what the session was made with."""
    return not totp and not (passkeys and mfa)
