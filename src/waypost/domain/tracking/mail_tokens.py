"""The signed tokens of emails: of the pixel, of links, and to unsubscribe. They need no row in the database."""

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import b2a_base64
from hmac import compare_digest

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

#: The key of all tokens: 32 bytes for signatures, 32 for the encryption of tokens that contain an address.
KEY_BYTES = 64
#: The paths before the tokens.
OPEN_PATH, CLICK_PATH, UNSUBSCRIBE_PATH = "/o/", "/c/", "/u/"
#: The number of a link that no person sees.
BAIT = 0
#: The largest number of a link, and the last day that a token can name: in the year 2149.
MOST_LINKS, LAST_DAY = 65_535, 65_535
#: Characters of the tokens of a pixel and of a link. Those of short links have nine.
OPEN_LENGTH, CLICK_LENGTH = 36, 40
#: Longer tokens to unsubscribe are none.
LONGEST_UNSUBSCRIBE = 900

_OPEN_MAC, _CLICK_MAC = 11, 10
_URLSAFE = bytes.maketrans(b"+/", b"-_")
_SIGNED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


class OpenTarget(msgspec.Struct, frozen=True):
    """What the token of a pixel names."""

    workspace_id: int
    message_id: int


class ClickTarget(msgspec.Struct, frozen=True):
    """What the token of a link in an email names."""

    message_id: int
    url_id: int
    #: Which link of the email it is, from 1; `BAIT` for the hidden one.
    number: int
    #: The last day on which it is valid, in days since 1970.
    last_day: int


class UnsubscribeTarget(msgspec.Struct, frozen=True, array_like=True):
    """What a token to unsubscribe names. Ids are 0 for none."""

    workspace_id: int
    channel: str
    address: str
    message_id: int = 0
    profile_id: int = 0
    list_id: int = 0


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(UnsubscribeTarget).decode


class MailTokens:
    """Makes and reads tokens with one key. What somebody guessed, cut or changed is read as None."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"the key has {len(key)} bytes and must have {KEY_BYTES}")
        signing, self._cipher = key[:32], AESSIV(key[32:])
        self._opens = hashlib.blake2b(key=signing, digest_size=_OPEN_MAC, person=b"open")
        self._clicks = hashlib.blake2b(key=signing, digest_size=_CLICK_MAC, person=b"click")
        self._urls = hashlib.blake2b(key=signing, digest_size=8, person=b"url")

    def url_id(self, workspace_id: int, url: str) -> int:
        """Return the id of a URL of a workspace: 63 bits that nobody without the key can make two URLs share."""
        digest = self._urls.copy()
        digest.update(b"%d:%b" % (workspace_id, url.encode("utf-8", "surrogatepass")))
        return int.from_bytes(digest.digest(), "big") >> 1

    def open_token(self, workspace_id: int, message_id: int) -> str:
        """Return the token of the pixel of a message."""
        named = message_id.to_bytes(8, "big") + workspace_id.to_bytes(8, "big")
        return _text(named + _mac(self._opens, named))

    def read_open(self, token: str) -> OpenTarget | None:
        """Return what the token of a pixel names."""
        named = _verified(self._opens, token, OPEN_LENGTH, _OPEN_MAC)
        if named is None:
            return None
        return OpenTarget(int.from_bytes(named[8:], "big"), int.from_bytes(named[:8], "big"))

    def click_token(self, message_id: int, url_id: int, number: int, last_day: int) -> str:
        """Return the token of a link."""
        named = (((message_id << 64 | url_id) << 16 | number) << 16 | last_day).to_bytes(20, "big")
        return _text(named + _mac(self._clicks, named))

    def read_click(self, token: str) -> ClickTarget | None:
        """Return what the token of a link names."""
        named = _verified(self._clicks, token, CLICK_LENGTH, _CLICK_MAC)
        if named is None:
            return None
        return ClickTarget(
            int.from_bytes(named[:8], "big"),
            int.from_bytes(named[8:16], "big"),
            int.from_bytes(named[16:18], "big"),
            int.from_bytes(named[18:], "big"),
        )

    def unsubscribe_token(self, target: UnsubscribeTarget) -> str:
        """Return the token to unsubscribe an address. It hides the address, and is the same each time."""
        return urlsafe_b64encode(self._cipher.encrypt(_encode(target), None)).decode().rstrip("=")

    def read_unsubscribe(self, token: str) -> UnsubscribeTarget | None:
        """Return what a token to unsubscribe names."""
        if len(token) > LONGEST_UNSUBSCRIBE or len(token) % 4 == 1 or not _SIGNED.issuperset(token):
            return None
        sealed = urlsafe_b64decode(token + "=" * (-len(token) % 4))
        # Bits beyond the last byte are no part of the token: one address has one token.
        if urlsafe_b64encode(sealed).decode().rstrip("=") != token:
            return None
        try:
            return _decode(self._cipher.decrypt(sealed, None))
        except (InvalidTag, ValueError, msgspec.DecodeError):
            return None


def _text(data: bytes) -> str:
    """Return what `urlsafe_b64encode` does, in half its time."""
    return b2a_base64(data, newline=False).translate(_URLSAFE).decode()


def _mac(keyed: "hashlib.blake2b", named: bytes) -> bytes:
    digest = keyed.copy()
    digest.update(named)
    return digest.digest()


def _verified(keyed: "hashlib.blake2b", token: str, length: int, mac: int) -> bytes | None:
    if len(token) != length or not _SIGNED.issuperset(token):
        return None
    whole = urlsafe_b64decode(token)
    named = whole[:-mac]
    return named if compare_digest(_mac(keyed, named), whole[-mac:]) else None
