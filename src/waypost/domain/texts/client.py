"""Clients of the text-message API: who may send texts, how fast, and where their statuses go."""

import base64
import hashlib
import hmac
import re
from enum import StrEnum
from typing import Any

import msgspec

from waypost.errors import Invalid

#: Texts per second, unless the client says otherwise; the limit of the API that this one replaces.
RATE_LIMIT = 100.0
LARGEST_RATE = 100_000
#: The burst of a client after a pause, in seconds of its rate.
BURST_S = 1.0
#: Numbers that one email may lead to, unless the client says otherwise, and at most.
MOST_MATCHES = 1
LARGEST_MATCHES = 20
DEFAULT_METRIC = "Text Message Status"
ID_BYTES, SECRET_BYTES = 12, 32
LONGEST_OVERLAP_S = 7 * 86_400
#: The parameters that links get by default. `{sendPurpose}` stands for the send purpose of the text.
UTM = {"utm_source": "waypost", "utm_medium": "sms", "utm_campaign": "{sendPurpose}"}
_PURPOSE = "{sendPurpose}"
_PARAMETER = re.compile(r"[A-Za-z0-9_.~-]{1,64}")
MOST_PARAMETERS = 20


class CheckLinks(StrEnum):
    """When the links of a text are checked."""

    NOW = "now"  #: Before the answer: a text with a link that does not work is refused.
    LATER = "later"  #: After the answer, before the sending: such a text fails.
    NEVER = "never"


class TextClient(msgspec.Struct, frozen=True, kw_only=True):
    """A client of the text-message API."""

    id: int
    workspace_id: int
    name: str
    #: What it sends as `X-Client-ID`.
    client_id: str
    #: Digests of the secrets that are valid, and until when; None for the current one.
    secrets: tuple[tuple[str, int | None], ...]
    #: Texts per second.
    rate_limit: float
    check_links: CheckLinks
    #: The parameters that its links get; None for those of the workspace, an empty object for none.
    utm: dict[str, str] | None
    #: The connection that sends its texts; None for the order of the channel.
    connection_id: int | None
    #: The metric of texts whose `callbackData` names none.
    default_metric: str
    #: Numbers that one email may lead to.
    max_matches: int

    def accepts(self, secret: str, now: int) -> bool:
        """Return whether a secret is valid now (microseconds)."""
        digest = secret_digest(secret)
        valid = False
        for known, until in self.secrets:
            # Every one is compared: the time tells nothing about which one matched.
            valid |= hmac.compare_digest(known, digest) and (until is None or until > now)
        return valid


def secret_digest(secret: str) -> str:
    """Return what is stored of a secret. It is random and long, so a plain digest cannot be reversed."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def make_client_id(random: bytes) -> str:
    """Return the public id of a client from random bytes."""
    return f"wtc_{random.hex()}"


def make_secret(random: bytes) -> str:
    """Return the secret of a client from random bytes."""
    return f"wts_{base64.urlsafe_b64encode(random).decode().rstrip('=')}"


def check_utm(utm: dict[str, str]) -> dict[str, str]:
    """Return the parameters for links. Raise Invalid for a name or a value that is not valid."""
    if len(utm) > MOST_PARAMETERS:
        raise Invalid(f"`utm` may have at most {MOST_PARAMETERS} parameters.", code="invalid_utm", field="utm")
    for name, value in utm.items():
        if not _PARAMETER.fullmatch(name):
            raise Invalid(
                f"`utm` has the parameter {name[:80]!r}; a name has up to 64 letters, digits, `_`, `.`, `~` or `-`.",
                code="invalid_utm",
                field="utm",
            )
        if len(value) > 200 or not value.isprintable():
            raise Invalid(
                f"`utm` has a value for {name} that is not 1 to 200 printable characters.",
                code="invalid_utm",
                field="utm",
            )
    return utm


def link_parameters(utm: dict[str, str], purpose: str) -> dict[str, str]:
    """Return the parameters that the links of a text get."""
    return {name: value.replace(_PURPOSE, purpose) for name, value in utm.items() if value}


class WebhookCallback(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="webhook"):
    """Statuses go to a URL, signed as webhooks are."""

    url: str


class KlaviyoCallback(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="klaviyo"):
    """Statuses go to Klaviyo as events, by a connection with its API key."""

    connection_id: str


Callback = WebhookCallback | KlaviyoCallback


def callback_filter(client_id: str) -> dict[str, Any]:
    """Return the filter of the endpoint that the statuses of a client's texts go to."""
    return {"client_id": client_id}
