"""Passkeys in the JSON of Web Authentication (Level 3), as browsers read and write it: names and base64url as there."""

from typing import Annotated

import msgspec
from msgspec import Meta, field

from waypost.domain.accounts import passkeys
from waypost.domain.accounts.passkeys import Assertion, Attestation
from waypost.errors import Invalid

#: Base64url, with or without padding.
_BASE64URL = "^([A-Za-z0-9_-]{4})*([A-Za-z0-9_-]{2}(==)?|[A-Za-z0-9_-]{3}=?)?$"
#: An id of a credential has at most 1023 bytes.
CredentialId = Annotated[str, Meta(min_length=1, max_length=1368, pattern=_BASE64URL, description="In base64url.")]
_Data = Annotated[str, Meta(max_length=8_000, pattern=_BASE64URL, description="In base64url.")]
_Long = Annotated[str, Meta(max_length=100_000, pattern=_BASE64URL, description="In base64url.")]
_Handle = Annotated[str, Meta(max_length=100, pattern=_BASE64URL, description="In base64url.")]


class AssertionResponse(msgspec.Struct):
    """What the authenticator signed."""

    client_data: _Data = field(name="clientDataJSON")
    authenticator_data: _Data = field(name="authenticatorData")
    signature: _Data
    user_handle: _Handle | None = field(name="userHandle", default=None)


class PasskeyUse(msgspec.Struct):
    """What `navigator.credentials.get()` returns, as JSON (AuthenticationResponseJSON); other fields are ignored."""

    id: CredentialId
    response: AssertionResponse

    def read(self) -> Assertion:
        """Return the bytes. Raise Invalid for a text that is not base64url."""
        found, handle = self.response, self.response.user_handle
        return Assertion(
            _bytes(self.id, "passkey.id"),
            _bytes(found.client_data, "passkey.response.clientDataJSON"),
            _bytes(found.authenticator_data, "passkey.response.authenticatorData"),
            _bytes(found.signature, "passkey.response.signature"),
            None if handle is None else _bytes(handle, "passkey.response.userHandle"),
        )


class AttestationResponse(msgspec.Struct):
    """What the authenticator says of a new passkey."""

    client_data: _Data = field(name="clientDataJSON")
    attestation: _Long = field(name="attestationObject")


class PasskeyCredential(msgspec.Struct):
    """What `navigator.credentials.create()` returns, as JSON (RegistrationResponseJSON); other fields are ignored."""

    id: CredentialId
    response: AttestationResponse

    def read(self) -> Attestation:
        """Return the bytes. Raise Invalid for a text that is not base64url."""
        return Attestation(
            _bytes(self.id, "credential.id"),
            _bytes(self.response.client_data, "credential.response.clientDataJSON"),
            _bytes(self.response.attestation, "credential.response.attestationObject"),
        )


class PasskeyRequestOptions(msgspec.Struct, kw_only=True):
    """The `publicKey` of `navigator.credentials.get()`, as JSON (PublicKeyCredentialRequestOptionsJSON)."""

    challenge: str
    rp_id: str = field(name="rpId")
    user_verification: str = field(name="userVerification", default="required")
    #: Milliseconds.
    timeout: int = passkeys.CHALLENGE_LASTS // 1000


class PasskeyParty(msgspec.Struct, kw_only=True):
    """What the passkey is for."""

    id: str
    name: str


class PasskeyOwner(msgspec.Struct, kw_only=True):
    """Whose passkey it is."""

    id: str
    name: str
    display_name: str = field(name="displayName")


class PasskeyAlgorithm(msgspec.Struct, kw_only=True):
    """A kind of key that is accepted, by its number in COSE."""

    alg: int
    type: str = "public-key"


class PasskeyDescriptor(msgspec.Struct, kw_only=True):
    """A passkey that the user has already."""

    id: str
    type: str = "public-key"


class PasskeyWishes(msgspec.Struct, kw_only=True):
    """What the authenticator must do: remember whose passkey it is, and verify the user."""

    resident_key: str = field(name="residentKey", default="required")
    require_resident_key: bool = field(name="requireResidentKey", default=True)
    user_verification: str = field(name="userVerification", default="required")


class PasskeyCreationOptions(msgspec.Struct, kw_only=True):
    """The `publicKey` of `navigator.credentials.create()`, as JSON (PublicKeyCredentialCreationOptionsJSON)."""

    challenge: str
    rp: PasskeyParty
    user: PasskeyOwner
    algorithms: list[PasskeyAlgorithm] = field(name="pubKeyCredParams")
    exclude: list[PasskeyDescriptor] = field(name="excludeCredentials")
    wishes: PasskeyWishes = field(name="authenticatorSelection")
    attestation: str = "none"
    #: Milliseconds.
    timeout: int = passkeys.CHALLENGE_LASTS // 1000


def _bytes(text: str, name: str) -> bytes:
    found = passkeys.from_base64url(text)
    if found is None:
        raise Invalid(f"The body is not valid: {name} is not base64url.", code="invalid_body", field=name)
    return found
