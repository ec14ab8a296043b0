"""The tokens of short links: nine characters for a random number of 53 bits, the key of the link."""

#: Digits, capitals and small letters: none needs an escape in a URL, and all of them count once in an SMS.
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#: 62 to the power of 9 is a little more than 2 to the power of 53.
LENGTH = 9
BITS = 53
#: Random bytes that one key takes.
KEY_BYTES = 7
#: What stands before the token, after the domain. With the token it has 12 characters.
PATH = "/c/"

_VALUES = {character: value for value, character in enumerate(ALPHABET)}


def make_keys(random_bytes: bytes) -> list[int]:
    """Return one key per `KEY_BYTES` random bytes. Cutting bits off keeps every key equally likely."""
    mask = (1 << BITS) - 1
    return [
        int.from_bytes(random_bytes[start : start + KEY_BYTES], "big") & mask
        for start in range(0, len(random_bytes) - KEY_BYTES + 1, KEY_BYTES)
    ]


def to_token(key: int) -> str:
    """Return the token of a key."""
    if not 0 <= key < 1 << BITS:
        raise ValueError(f"{key} is not the key of a link")
    characters = []
    for _ in range(LENGTH):
        key, value = divmod(key, len(ALPHABET))
        characters.append(ALPHABET[value])
    return "".join(reversed(characters))


def to_key(token: str) -> int | None:
    """Return the key of a token; None for any text that is not a token."""
    if len(token) != LENGTH:
        return None
    key = 0
    for character in token:
        value = _VALUES.get(character)
        if value is None:
            return None
        key = key * len(ALPHABET) + value
    return key if key < 1 << BITS else None


def short_url(base_url: str, key: int) -> str:
    """Return the short link of a key on a tracking domain."""
    return f"{base_url}{PATH}{to_token(key)}"
