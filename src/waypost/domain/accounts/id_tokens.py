"""ID tokens (OpenID Connect Core 1.0, section 3.1.3.7): who a provider says has signed in, and whether it counts."""

import base64
import binascii
import hmac
from typing import Any

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from waypost.clock import MINUTE, SECOND
from waypost.domain.accounts.sign_in import LONGEST_NAME, check_user_email
from waypost.domain.accounts.single_sign_on import LASTS, SignOnRefused, SignOnState
from waypost.errors import Invalid

#: How far the clock of a provider may be off.
LEEWAY = 2 * MINUTE
LONGEST_SUBJECT = 255
LONGEST_TOKEN = 32_768
MOST_KEYS = 100

#: The public keys of a provider, as it publishes them.
Keys = tuple[dict[str, Any], ...]


class _Header(msgspec.Struct):
    alg: str
    kid: str | None = None


class _KeySet(msgspec.Struct):
    keys: list[dict[str, Any]]


class IdTokenRules(msgspec.Struct, frozen=True):
    """What an ID token must be: of whom, for whom, signed how, and for which sign-in."""

    issuer: str
    client_id: str
    algorithms: list[str]
    begun: SignOnState


class SignedOn(msgspec.Struct, frozen=True):
    """Who a provider says has signed in."""

    subject: str
    #: Empty if the provider does not name one, or has not verified it.
    email: str
    name: str
    #: When they last proved it to the provider; 0 if it does not say.
    proved_at: int


class UnknownKey(SignOnRefused):
    """The token may be signed with a key that the provider has published since its keys were read."""


_decode_header = msgspec.json.Decoder(_Header).decode
_decode_keys = msgspec.json.Decoder(_KeySet).decode
_decode_claims = msgspec.json.Decoder(dict[str, Any]).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read_keys(body: bytes) -> Keys:
    """Return the keys of a provider for signatures (RFC 7517). Raise SignOnRefused if the body has none."""
    try:
        found = _decode_keys(body).keys
    except _UNREADABLE as error:
        raise SignOnRefused("sign_on_provider", f"its keys cannot be read: {error}") from error
    keys = tuple(key for key in found if key.get("kty") in ("RSA", "EC") and key.get("use", "sig") == "sig")
    if not keys:
        raise SignOnRefused("sign_on_provider", "it publishes no RSA or EC key for signatures")
    return keys[:MOST_KEYS]


def verify_id_token(token: str, keys: Keys, rules: IdTokenRules, now: int) -> SignedOn:
    """Return who signed in. Raise SignOnRefused if the token does not count, UnknownKey if a newer key may fit."""
    claims = _verify_signature(token, keys, rules.algorithms)
    begun, audience = rules.begun, claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    nonce = claims.get("nonce")
    _require(claims.get("iss") == rules.issuer, "it is of another issuer")
    _require(rules.client_id in audiences, "it is for another client")
    _require("azp" in claims or len(audiences) == 1, "it is for several clients and does not say for which one")
    _require(claims.get("azp", rules.client_id) == rules.client_id, "it was made for another client")
    _require(
        isinstance(nonce, str) and hmac.compare_digest(nonce.encode(), begun.nonce.encode()), "its nonce is another"
    )
    _require(_time(claims, "exp") > now - LEEWAY, "it has expired")
    _require(now - LASTS - LEEWAY < _time(claims, "iat") < now + LEEWAY, "it was not made just now")
    _require(_time(claims, "nbf") < now + LEEWAY, "it is not valid yet")
    proved_at = min(_time(claims, "auth_time"), now)
    _require(
        not begun.fresh or proved_at > begun.started_at - LEEWAY,
        "it does not say (auth_time) that the person has signed in anew",
    )
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST_SUBJECT or "\x00" in subject:
        raise _wrong("its subject is missing or too long")
    return SignedOn(subject, verified_email(claims), _name(claims), proved_at)


def add_userinfo(signed_on: SignedOn, body: bytes) -> SignedOn:
    """Return who signed in with the address that the provider's userinfo says, if it speaks of the same person."""
    try:
        claims = _decode_claims(body)
    except _UNREADABLE as error:
        raise SignOnRefused("sign_on_provider", f"its userinfo cannot be read: {error}") from error
    if claims.get("sub") != signed_on.subject:
        raise _wrong("the userinfo is of somebody else")
    return msgspec.structs.replace(signed_on, email=verified_email(claims), name=signed_on.name or _name(claims))


def verified_email(claims: dict[str, Any]) -> str:
    """Return the address that a provider says it has verified; nothing for any other."""
    email = claims.get("email")
    # Some providers write all claims as texts.
    if not isinstance(email, str) or claims.get("email_verified") not in (True, "true"):
        return ""
    try:
        return check_user_email(email)
    except Invalid:
        return ""


def _verify_signature(token: str, keys: Keys, algorithms: list[str]) -> dict[str, Any]:
    """Return the claims of a token that one of the keys has signed."""
    header = _read_header(token)
    _require(header.alg in algorithms, f"it is signed with {header.alg[:20]!r}, and not with {', '.join(algorithms)}")
    fitting = [key for key in keys if _fits(key, header)]
    for key in fitting:
        try:
            public_key = RSAKey.import_key(key) if key["kty"] == "RSA" else ECKey.import_key(key)
            signed = jws.deserialize_compact(token, public_key, algorithms=[header.alg])
            return _decode_claims(signed.payload)
        except (JoseError, ValueError, KeyError, TypeError, *_UNREADABLE):
            continue
    if not fitting or header.kid is None:
        raise UnknownKey("sign_on_token", f"no key of the provider has signed it; it names {str(header.kid)[:80]!r}")
    raise _wrong("its signature is not right")


def _read_header(token: str) -> _Header:
    if len(token) > LONGEST_TOKEN or token.count(".") != 2:
        raise _wrong("it is not a signed token")
    first = token.partition(".")[0]
    try:
        return _decode_header(base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)))
    except (binascii.Error, ValueError, *_UNREADABLE) as error:
        raise _wrong("its header cannot be read") from error


def _fits(key: dict[str, Any], header: _Header) -> bool:
    """Whether a key may have made the signature of a token with this header."""
    kind = "EC" if header.alg.startswith("ES") else "RSA"
    named = header.kid is None or key.get("kid") == header.kid
    return named and key["kty"] == kind and key.get("alg", header.alg) == header.alg


def _name(claims: dict[str, Any]) -> str:
    name = claims.get("name")
    plain = name.strip() if isinstance(name, str) else ""
    return plain if plain.isprintable() and len(plain) <= LONGEST_NAME else ""


def _time(claims: dict[str, Any], name: str) -> int:
    """Return the time of a claim in microseconds; 0 if it says none."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e11:
        return 0
    return int(value * SECOND)


def _require(right: bool, otherwise: str) -> None:
    if not right:
        raise _wrong(otherwise)


def _wrong(detail: str) -> SignOnRefused:
    return SignOnRefused("sign_on_token", f"the ID token does not count: {detail}")
