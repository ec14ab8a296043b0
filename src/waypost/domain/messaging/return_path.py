"""Return paths of mails: an address for bounces that names its message and that nobody else can make (VERP)."""

import hashlib
import re
from base64 import b32decode, b32encode
from collections.abc import Iterator
from hmac import compare_digest

from waypost.domain.messaging.mime import check_address
from waypost.errors import Invalid

#: Where the token stands in an address; without it, after a plus sign at the end of the local part.
PLACE = "{token}"
#: Some servers write addresses in lower case or in upper case, so a token has letters of one case only.
LENGTH = 29

_ID_BYTES, _MAC_BYTES = 8, 10
_TOKEN = re.compile(r"([A-Za-z2-7]{29})@")
#: The most tokens that are looked at in one text.
_MOST_TOKENS = 50


class BounceTokens:
    """Makes and reads tokens with one key."""

    def __init__(self, key: bytes) -> None:
        self._keyed = hashlib.blake2b(key=key[:32], digest_size=_MAC_BYTES, person=b"bounce")

    def token(self, message_id: int) -> str:
        """Return the token of a message."""
        named = message_id.to_bytes(_ID_BYTES, "big")
        return b32encode(named + self._mac(named)).decode().rstrip("=").lower()

    def read(self, token: str) -> int | None:
        """Return the message that a token names, or None if somebody else made it."""
        whole = b32decode(token.upper() + "===")
        named = whole[:_ID_BYTES]
        return int.from_bytes(named, "big") if compare_digest(self._mac(named), whole[_ID_BYTES:]) else None

    def find(self, text: str) -> int | None:
        """Return the message that the first valid token in a text names, or None."""
        for number, found in enumerate(_TOKEN.finditer(text)):
            if number >= _MOST_TOKENS:
                break
            if (message_id := self.read(found[1])) is not None:
                return message_id
        return None

    def _mac(self, named: bytes) -> bytes:
        digest = self._keyed.copy()
        digest.update(named)
        return digest.digest()


def check_return_path(address: str) -> str:
    """Return an address for bounces. Raise Invalid (code `invalid_config`) if no token fits into it."""
    try:
        check_address(return_path(address, "a" * LENGTH))
    except Invalid as error:
        raise Invalid(error.detail, code="invalid_config", field="return_path") from None
    return address


def return_path(address: str, token: str) -> str:
    """Return the address with a token: `bounce+token@example.com` for `bounce@example.com`."""
    if PLACE in address:
        return address.replace(PLACE, token)
    local, _, domain = address.rpartition("@")
    if not local or not domain:
        return ""
    return f"{local}+{token}@{domain}"


def own_message_ids(text: str) -> Iterator[str]:
    """Yield the ids of messages in the `Message-ID` headers that Waypost writes."""
    for found in _MESSAGE_ID.finditer(text):
        yield found[1]


_MESSAGE_ID = re.compile(r"^(?:X-)?(?:Original-)?Message-ID:\s*<(msg_[0-9a-f]{16})@", re.IGNORECASE | re.MULTILINE)
