"""SMS texts: encoding (GSM-7 or UCS-2), length and parts."""

import msgspec

#: The 128 characters of the GSM 7-bit default alphabet (3GPP TS 23.038, 6.2.1) without the escape.
BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
#: The GSM 7-bit extension table (3GPP TS 23.038, 6.2.1.1): each character takes an escape and a second septet.
EXTENDED = frozenset("\f^{}\\[~]|€")
GSM7 = "GSM-7"
UCS2 = "UCS-2"
#: By encoding: the units (septets, or UTF-16 units) of a single part, and of each part of a longer message, whose
#: concatenation header takes the rest.
ROOM = {GSM7: (160, 153), UCS2: (70, 67)}
#: The most characters that force UCS-2 in the list of them.
MOST_NAMED = 20

_SEPTETS = dict.fromkeys(BASIC, 1) | dict.fromkeys(EXTENDED, 2)


class SmsMeasure(msgspec.Struct, frozen=True):
    """Encoding, length and parts of a text as SMS."""

    encoding: str
    #: Unicode characters.
    characters: int
    #: Septets for GSM-7, 16-bit units for UCS-2.
    units: int
    parts: int
    #: The most units in each part.
    units_per_part: int
    #: The number of characters in each part.
    per_part: list[int]
    #: The characters that are not in GSM-7, each once, in order of appearance; they make the message UCS-2.
    forcing: list[str]


def encoding_of(text: str) -> str:
    """Return `GSM-7` if every character is in its tables, else `UCS-2`."""
    return GSM7 if _SEPTETS.keys() >= set(text) else UCS2


def split(text: str) -> list[str]:
    """Split a text into the parts in which it is sent; joined, they are the text.

    A split never divides a character: neither the two septets of an extended one nor the two units of one beyond
    U+FFFF. An empty text is one empty part.
    """
    encoding = encoding_of(text)
    sizes = [_SEPTETS[character] for character in text] if encoding == GSM7 else list(map(_units, text))
    alone, each = ROOM[encoding]
    if sum(sizes) <= alone:
        return [text]
    parts, start, filled = [], 0, 0
    for position, size in enumerate(sizes):
        if filled + size > each:
            parts.append(text[start:position])
            start, filled = position, 0
        filled += size
    return [*parts, text[start:]]


def measure(text: str) -> SmsMeasure:
    """Return encoding, length and parts of a text."""
    encoding = encoding_of(text)
    units = sum(map(_SEPTETS.__getitem__, text)) if encoding == GSM7 else sum(map(_units, text))
    parts = split(text)
    return SmsMeasure(
        encoding=encoding,
        characters=len(text),
        units=units,
        parts=len(parts),
        units_per_part=ROOM[encoding][len(parts) > 1],
        per_part=[len(part) for part in parts],
        forcing=[character for character in dict.fromkeys(text) if character not in _SEPTETS][:MOST_NAMED],
    )


def _units(character: str) -> int:
    return 2 if ord(character) > 0xFFFF else 1
