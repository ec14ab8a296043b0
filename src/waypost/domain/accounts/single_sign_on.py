"""Single sign-on (OpenID Connect, authorization code with PKCE): the settings of a provider, and the way there."""

import base64
import hashlib
import hmac
import ipaddress
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec

from waypost.clock import MINUTE
from waypost.domain.accounts.permissions import Role, check_role
from waypost.domain.accounts.sign_in import check_user_email
from waypost.errors import Invalid

#: Where the browser keeps a sign-in in progress, and for how long.
COOKIE = "__Host-waypost-sign-on"
LASTS = 10 * MINUTE
#: Bytes of the state, the nonce and the PKCE verifier.
ENTROPY_BYTES = 32
LONGEST_URL, LONGEST_SECRET, LONGEST_LABEL, MOST_DOMAINS = 500, 1000, 80, 50
DISCOVERY = "/.well-known/openid-configuration"
#: Signatures with the provider's private key. `none` and HMAC, whose key would be public, are not among them.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
#: Roles that people may get by their first sign-in alone.
JOINING_ROLES = (Role.MARKETER, Role.DEVELOPER, Role.VIEWER)

_encode = msgspec.json.Encoder().encode


class SignOnRefused(Exception):
    """A sign-in is refused; `detail` is for the operator, and `code` for the sign-in page."""

    def __init__(self, code: str, detail: str = "") -> None:
        self.code = code
        self.detail = detail
        super().__init__(code, detail)


class SignOnProvider(msgspec.Struct, frozen=True, kw_only=True):
    """The provider of a workspace."""

    workspace_id: int
    #: The words of its button.
    label: str
    issuer: str
    client_id: str
    client_secret: str
    #: The domains of the email addresses that may sign in.
    domains: tuple[str, ...]
    #: The role of people who are not in the workspace yet; None for only those who are invited.
    role: Role | None
    #: Whether owners may sign in by it.
    owners: bool
    #: Whether its sign-in counts as a second factor.
    trusts_mfa: bool
    updated_at: int

    def widest_role(self) -> Role:
        """Return the highest role of somebody whom the provider can sign in: who sets it must be as much."""
        return Role.OWNER if self.owners or self.trusts_mfa else Role.ADMIN

    def narrows(self, before: "SignOnProvider") -> bool:
        """Whether sessions that `before` has opened might not be opened by this one."""
        return (
            self.issuer != before.issuer
            or not set(before.domains) <= set(self.domains)
            or (before.owners and not self.owners)
        )

    def takes(self, email: str) -> bool:
        """Whether people with this address may sign in."""
        return email.rpartition("@")[2] in self.domains


class ProviderMetadata(msgspec.Struct, frozen=True):
    """What a provider publishes of itself (OpenID Connect Discovery 1.0, section 3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    id_token_signing_alg_values_supported: tuple[str, ...] = ("RS256",)
    authorization_response_iss_parameter_supported: bool = False

    @property
    def algorithms(self) -> list[str]:
        """Return the algorithms of its ID tokens that count."""
        return [name for name in ALGORITHMS if name in self.id_token_signing_alg_values_supported]


class SignOnState(msgspec.Struct, frozen=True, tag="sign-on"):
    """A sign-in in progress, as the browser keeps it, encrypted."""

    workspace_id: int
    issuer: str
    state: str
    nonce: str
    verifier: str
    #: The page to open afterwards.
    path: str
    #: Whether the person must prove anew who they are.
    fresh: bool
    started_at: int


_decode_state = msgspec.json.Decoder(SignOnState).decode
_decode_metadata = msgspec.json.Decoder(ProviderMetadata).decode


def check_issuer(text: str) -> str:
    """Return the URL of a provider. Raise Invalid if it is not https (or http on this machine), or has a query."""
    if not _is_secure(text) or urlsplit(text).query or len(text) > LONGEST_URL:
        raise Invalid(
            "`issuer` must be an https URL without a query, exactly as the provider names itself, such as "
            "https://accounts.google.com.",
            code="invalid_url",
            field="issuer",
        )
    return text


def _is_secure(text: str) -> bool:
    """Whether a URL keeps what is sent there to itself: by https, or because it is on this machine."""
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
    except ValueError:
        return False
    secure = parts.scheme == "https" or (parts.scheme == "http" and _is_local(host))
    plain = text.isascii() and text.isprintable() and " " not in text and "\\" not in text
    return secure and bool(host) and plain and not parts.fragment and "@" not in parts.netloc


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_domains(domains: list[str]) -> tuple[str, ...]:
    """Return the domains of email addresses in lower case, each once. Raise Invalid for none, and for what is none."""
    found: list[str] = []
    for domain in domains:
        plain = domain.strip().removeprefix("@")
        try:
            normal = check_user_email(f"a@{plain}").rpartition("@")[2]
        except Invalid as error:
            raise Invalid(
                f"{domain[:80]!r} is not the domain of email addresses, such as example.com.",
                code="invalid_domain",
                field="domains",
            ) from error
        if normal not in found:
            found.append(normal)
    if not found:
        raise Invalid(
            "Name at least one domain of email addresses, such as example.com: the sign-in page finds the provider by "
            "it, and the provider signs in nobody else.",
            code="domains_needed",
            field="domains",
        )
    return tuple(found)


def check_joining_role(text: str | None) -> Role | None:
    """Return the role of new people; None for nobody. Raise Invalid for one that is not given without a person."""
    if text is None:
        return None
    role = check_role(text)
    if role not in JOINING_ROLES:
        raise Invalid(
            f"Nobody becomes {role.value} by signing in. Choose {', '.join(JOINING_ROLES)}, and change the role of "
            "single people afterwards.",
            code="role_too_high",
            field="role",
        )
    return role


def host_of(issuer: str) -> str:
    """Return the host of an issuer, as a name for it."""
    return urlsplit(issuer).hostname or issuer


def own_path(path: str) -> str:
    """Return a path of this server; the first page for anything that could lead elsewhere."""
    plain = path.startswith("/") and path.isascii() and path.isprintable() and "\\" not in path
    return path if plain and "//" not in path.partition("?")[0] and len(path) <= LONGEST_URL else "/"


def read_metadata(body: bytes, issuer: str) -> ProviderMetadata:
    """Return what a provider publishes. Raise SignOnRefused if it is not readable, another one's, or not secure."""
    try:
        found = _decode_metadata(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _unusable(f"its configuration cannot be read: {error}") from error
    if found.issuer != issuer:
        raise _unusable(f"it names itself {found.issuer[:LONGEST_URL]!r}, and not {issuer!r}")
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"):
        url = getattr(found, name)
        if url is not None and not _is_secure(url):
            raise _unusable(f"its {name} is not an https URL")
    if not found.algorithms:
        raise _unusable("it signs ID tokens with none of " + ", ".join(ALGORITHMS))
    return found


def _unusable(detail: str) -> SignOnRefused:
    return SignOnRefused("sign_on_provider", detail)


def authorization_url(metadata: ProviderMetadata, client_id: str, redirect_uri: str, state: SignOnState) -> str:
    """Return where the browser goes to sign in at the provider."""
    challenge = base64.urlsafe_b64encode(hashlib.sha256(state.verifier.encode()).digest()).decode().rstrip("=")
    query = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "scope": "openid email profile",
        "state": state.state,
        "nonce": state.nonce,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    if state.fresh:
        query |= {"prompt": "login", "max_age": "0"}
    joined = "&" if urlsplit(metadata.authorization_endpoint).query else "?"
    return f"{metadata.authorization_endpoint}{joined}{urlencode(query)}"


def write_state(state: SignOnState) -> str:
    """Return a sign-in in progress as a text, which has to be encrypted."""
    return _encode(state).decode()


def read_state(text: str, given: str, now: int) -> SignOnState | None:
    """Return the sign-in of a decrypted text; None if it is another's than `given` says, or has ended."""
    try:
        found = _decode_state(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    same = hmac.compare_digest(found.state.encode(), given.encode())
    return found if same and now < found.started_at + LASTS else None


def read_answer(query: bytes) -> dict[str, str]:
    """Return the parameters with which a provider sends a browser back; those that are given twice count as none."""
    try:
        found = parse_qs(query.decode("latin-1"), max_num_fields=20)
    except ValueError:
        return {}
    return {name: values[0] for name, values in found.items() if len(values) == 1}


def check_answer(answer: dict[str, str], metadata: ProviderMetadata) -> str:
    """Return the code that a provider has sent back. Raise SignOnRefused if it sent none, or another one did."""
    issuer = answer.get("iss")
    # RFC 9207: another provider must not get the code of this one.
    if issuer != metadata.issuer and (issuer is not None or metadata.authorization_response_iss_parameter_supported):
        raise SignOnRefused("sign_on_provider", f"the answer is of {str(issuer)[:200]!r}")
    if "error" in answer:
        code = "sign_on_denied" if answer["error"] == "access_denied" else "sign_on_provider"
        said = f"{answer['error'][:100]} {answer.get('error_description', '')[:200]}".strip()
        raise SignOnRefused(code, f"it answered {said!r}")
    if not answer.get("code"):
        raise SignOnRefused("sign_on_denied", "it sent no code")
    return answer["code"]


def read_cookie(header: str) -> str | None:
    """Return the cookie of a sign-in in progress; None without one."""
    for part in header.split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE and value:
            return value
    return None
