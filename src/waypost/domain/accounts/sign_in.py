"""Rules of signing in: passwords, sessions, tokens, how many tries there are, and requests that another site made."""

import base64
import hashlib
import ipaddress
from typing import NamedTuple
from urllib.parse import urlsplit

from waypost.clock import DAY, HOUR, MINUTE
from waypost.domain.values.contacts import normal_email
from waypost.errors import Invalid

#: The prefix makes browsers refuse the cookie unless it is Secure, of this host alone, and for all paths (RFC 6265bis).
COOKIE = "__Host-waypost"
#: Entropy of cookies and of the tokens in mails.
TOKEN_BYTES = 32
#: A session ends when it was not used for so long, and at the latest this long after it was made.
IDLE, LONGEST_SESSION = 7 * DAY, 30 * DAY
#: The same for a session of single sign-on: whom the provider no longer knows is out within a day.
LONGEST_SIGN_ON = DAY
#: How long the proof of who somebody is counts for sensitive actions.
CONFIRMED = 15 * MINUTE
#: How often the use of a session or a key is noted.
NOTED_EVERY = 5 * MINUTE
INVITATION_LASTS, RESET_LASTS, SETUP_LASTS = 7 * DAY, HOUR, DAY
#: NIST SP 800-63B: length counts, rules of composition do not.
SHORTEST_PASSWORD, LONGEST_PASSWORD = 8, 1000
LONGEST_NAME = 200


class TryLimit(NamedTuple):
    """How many tries there are for one key in a window of microseconds."""

    key: str
    most: int
    window: int


def sign_in_limits(email: str, ip: str) -> list[TryLimit]:
    """Return the limits of a try to sign in: of the address from this IP, of the address, and of the IP.

    The narrow one comes first; the wide ones stop guesses that are spread out, without letting one stranger lock
    somebody out who signs in from elsewhere.
    """
    ip = network_of(ip)
    return [
        TryLimit("pair:" + digest(f"{email}\n{ip}"), 10, 15 * MINUTE),
        TryLimit("email:" + digest(email), 100, HOUR),
        TryLimit("ip:" + digest(ip), 200, HOUR),
    ]


def network_of(ip: str) -> str:
    """Return what one client has: an IPv4 address, or the /64 network of an IPv6 address."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return ip
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else ip


def second_factor_limit(user_id: int) -> TryLimit:
    """Return the limit of codes that a user may try: of a million codes, three are valid at a time."""
    return TryLimit(f"totp:{user_id}", 10, 15 * MINUTE)


def passkey_limits(credential_id: str, ip: str) -> list[TryLimit]:
    """Return the limits of a try to sign in with a passkey: of the passkey from this IP, and of the IP."""
    ip = network_of(ip)
    return [
        TryLimit("passkey:" + digest(f"{credential_id}\n{ip}"), 10, 15 * MINUTE),
        TryLimit("ip:" + digest(ip), 200, HOUR),
    ]


def sign_on_limit(step: str, ip: str) -> TryLimit:
    """Return the limit of those who go to a provider of single sign-on, or come back from it, from one IP.

    A whole office may have the same one, and nobody guesses anything here: it keeps strangers from making us ask
    providers without end.
    """
    return TryLimit(f"sign-on-{step}:" + digest(network_of(ip)), 1000, 15 * MINUTE)


def digest(text: str) -> str:
    """Return the SHA-256 of a text. Tokens have 256 random bits, so that their digest needs no salt."""
    return hashlib.sha256(text.encode()).hexdigest()


def make_token(entropy: bytes) -> str:
    """Return the text of a cookie or of a token in a mail."""
    return base64.urlsafe_b64encode(entropy).decode().rstrip("=")


def session_end(created_at: int, now: int, *, sign_on: bool) -> int:
    """Return when a session ends that was made at `created_at`, perhaps by single sign-on, and used `now`."""
    return min(created_at + (LONGEST_SIGN_ON if sign_on else LONGEST_SESSION), now + IDLE)


def check_password(password: str, email: str) -> str:
    """Return the password. Raise Invalid if it is too short, too long, or the address."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise Invalid(
            f"A password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters. Choose a longer one; "
            "a few words in a row are easy to remember.",
            code="invalid_password",
            field="password",
        )
    if password.strip().lower() in (email, email.partition("@")[0]) or len(set(password)) < 4:
        raise Invalid("This password is easy to guess. Choose another one.", code="invalid_password", field="password")
    return password


def check_user_email(text: str) -> str:
    """Return an address of a user in lower case. Raise Invalid if it is not one."""
    found = normal_email(text)
    if found is None or not found.isprintable():
        raise Invalid(f"{text[:80]!r} is not an email address.", code="invalid_email", field="email")
    return found


def check_name(text: str, field: str = "name") -> str:
    """Return a name without surrounding spaces. Raise Invalid if it is empty, too long, or not printable."""
    name = text.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise Invalid(f"`{field}` needs 1 to {LONGEST_NAME} printable characters.", code="invalid_name", field=field)
    return name


def check_optional_name(text: str) -> str:
    """Return a name as `check_name` does; nothing for nothing."""
    return check_name(text) if text.strip() else ""


def read_cookie(header: str) -> str | None:
    """Return the session cookie in a Cookie header; None without one."""
    for part in header.split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE and value:
            return value
    return None


def made_by_another_site(sec_fetch_site: str | None, origin: str | None, host: str) -> bool:
    """Whether a page of another site made a browser send this request (cross-site request forgery).

    Browsers say so in Sec-Fetch-Site, and older ones in Origin; a page cannot change either. Other clients send
    neither, and nobody can make them send a cookie. Source: Fetch Metadata Request Headers (W3C).
    """
    if sec_fetch_site is not None:
        return sec_fetch_site not in ("same-origin", "none")
    return origin is not None and urlsplit(origin).netloc.lower() != host.lower()
