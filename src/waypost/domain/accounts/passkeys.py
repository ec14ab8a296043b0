"""Passkeys (Web Authentication, W3C): where they work, their challenges, and whether what a browser sends is right."""

import base64
import binascii
import ipaddress
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec
from cryptography.exceptions import InvalidSignature
from webauthn import verify_authentication_response, verify_registration_response
from webauthn.helpers import decode_credential_public_key, decoded_public_key_to_cryptography, parse_attestation_object
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AttestationFormat,
    AuthenticationCredential,
    AuthenticatorAssertionResponse,
    AuthenticatorAttestationResponse,
    RegistrationCredential,
)

from waypost.clock import MINUTE
from waypost.domain.values.ids import public

#: How long a challenge is good for: people look for their phone.
CHALLENGE_LASTS = 5 * MINUTE
NONCE_BYTES = 16
#: The most passkeys of one user.
MOST_PASSKEYS = 20
#: EdDSA, ES256 and RS256: every authenticator has one of them (WebAuthn, section 5.4).
ALGORITHMS: Final = (
    COSEAlgorithmIdentifier.EDDSA,
    COSEAlgorithmIdentifier.ECDSA_SHA_256,
    COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256,
)
#: No attestation is asked for; browsers then leave it away, or leave what the authenticator signed itself.
_FORMATS = (AttestationFormat.NONE, AttestationFormat.PACKED)
#: What the library raises for responses that are not right, or not even responses.
_REFUSALS = (
    WebAuthnException,
    InvalidSignature,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    OverflowError,
)
#: Names of this machine, in place of which browsers want `localhost`.
_LOCAL = ("localhost", "0.0.0.0", "::")  # noqa: S104

_encode = msgspec.json.Encoder().encode


class RelyingParty(NamedTuple):
    """What a passkey belongs to: a domain, and the origin of the pages that may use it."""

    id: str
    origin: str


class PasskeyChallenge(msgspec.Struct, frozen=True, tag="passkey"):
    """What a challenge says when it is decrypted: nothing of it is stored until it is used."""

    purpose: str
    #: Who may add a passkey with it; 0 for one that anybody may sign in with.
    user_id: int
    nonce: str
    expires_at: int


class Attestation(msgspec.Struct, frozen=True):
    """What a browser says of a new passkey."""

    credential_id: bytes
    client_data: bytes
    attestation: bytes


class Assertion(msgspec.Struct, frozen=True):
    """What a browser says when a passkey is used."""

    credential_id: bytes
    client_data: bytes
    authenticator_data: bytes
    signature: bytes
    user_handle: bytes | None


class NewPasskey(NamedTuple):
    """A passkey whose attestation is right."""

    credential_id: str
    public_key: str
    sign_count: int


ADD, USE = "add", "use"
_decode_challenge = msgspec.json.Decoder(PasskeyChallenge).decode


def relying_party(base_url: str) -> RelyingParty | None:
    """Return what the passkeys of a server with this public URL belong to; None if browsers refuse them there.

    Browsers have passkeys on https and on `localhost`, for names and not for IP addresses.
    """
    parts = urlsplit(base_url)
    host = (parts.hostname or "").lower()
    port = f":{parts.port}" if parts.port else ""
    if host in _LOCAL or _is_address(host, loopback=True):
        return RelyingParty("localhost", f"{parts.scheme}://localhost{port}")
    if parts.scheme != "https" or not host or _is_address(host):
        return None
    return RelyingParty(host, f"https://{host}{'' if port == ':443' else port}")


def _is_address(host: str, *, loopback: bool = False) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or not loopback


def user_handle(user_id: int) -> bytes:
    """Return what an authenticator knows a user by: the id, which says nothing about the person."""
    return public("usr", user_id).encode()


def write_challenge(challenge: PasskeyChallenge) -> str:
    """Return a challenge as a text, which has to be encrypted before anybody else sees it."""
    return _encode(challenge).decode()


def read_challenge(text: str) -> PasskeyChallenge | None:
    """Return the challenge of a decrypted text; None if it is another secret."""
    try:
        return _decode_challenge(text)
    except msgspec.DecodeError:
        return None


def is_good(challenge: PasskeyChallenge, purpose: str, user_id: int, now: int) -> bool:
    """Whether a challenge is for this purpose and user, and has not ended."""
    return (challenge.purpose, challenge.user_id) == (purpose, user_id) and now < challenge.expires_at


def stated_challenge(client_data: bytes) -> bytes:
    """Return the challenge that a browser says it answered; nothing if it says none."""
    try:
        found = msgspec.json.decode(client_data)
        return from_base64url(found["challenge"]) or b""
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, TypeError):
        return b""


def verify_attestation(attestation: Attestation, challenge: bytes, party: RelyingParty) -> NewPasskey | None:
    """Return the new passkey of an attestation; None if anything of it is not right."""
    credential = RegistrationCredential(
        id=to_base64url(attestation.credential_id),
        raw_id=attestation.credential_id,
        response=AuthenticatorAttestationResponse(attestation.client_data, attestation.attestation),
    )
    try:
        if parse_attestation_object(attestation.attestation).fmt not in _FORMATS:
            return None
        found = verify_registration_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=party.id,
            expected_origin=party.origin,
            require_user_verification=True,
            supported_pub_key_algs=list(ALGORITHMS),
        )
        # Without attestation the library does not look whether the key is one; it must be before it is stored.
        decoded_public_key_to_cryptography(decode_credential_public_key(found.credential_public_key))
    except _REFUSALS:
        return None
    if found.credential_id != attestation.credential_id:
        return None
    return NewPasskey(
        to_base64url(found.credential_id), to_base64url(found.credential_public_key), int(found.sign_count)
    )


def verify_assertion(
    assertion: Assertion, challenge: bytes, party: RelyingParty, public_key: str, sign_count: int
) -> int | None:
    """Return the new counter of a passkey that was used; None if anything of the assertion is not right.

    A counter that does not grow is not right: somebody may have copied the passkey. Most passkeys have none, always 0.
    """
    credential = AuthenticationCredential(
        id=to_base64url(assertion.credential_id),
        raw_id=assertion.credential_id,
        response=AuthenticatorAssertionResponse(
            assertion.client_data, assertion.authenticator_data, assertion.signature, assertion.user_handle
        ),
    )
    try:
        found = verify_authentication_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=party.id,
            expected_origin=party.origin,
            credential_public_key=from_base64url(public_key) or b"",
            credential_current_sign_count=sign_count,
            require_user_verification=True,
        )
    except _REFUSALS:
        return None
    return int(found.new_sign_count)


def to_base64url(data: bytes) -> str:
    """Return bytes as WebAuthn writes them in JSON: base64url without padding."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def from_base64url(text: Any) -> bytes | None:
    """Return the bytes of a base64url text, with or without padding; None if it is none."""
    try:
        return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), altchars=b"-_", validate=True)
    except (AttributeError, ValueError, binascii.Error):
        return None
