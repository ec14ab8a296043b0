"""Normalise email addresses and phone numbers for comparison."""

import re
from functools import lru_cache

import phonenumbers

_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
#: A plus sign and digits, without separators.
_E164 = re.compile(r"\+[1-9][0-9]{6,16}")
#: A plus sign, digits, and the usual separators between them.
_PHONE = re.compile(r"\s*[+\uff0b][\d\s().\-\u2010-\u2015\u2060/]+")


def normal_email(value: object) -> str | None:
    """Return an email address normalised for comparison, or None if it is not one."""
    if not isinstance(value, str):
        return None
    text = value.strip().lower()
    name, at, host = text.rpartition("@")
    if not (at and name and "." in host) or len(text) > 320 or " " in text:
        return None
    # Printable texts have no control characters.
    return None if not text.isprintable() and _CONTROL.search(text) else text


class _CallingCode:
    """The numbers of one country calling code, as far as their lengths decide whether they are possible."""

    def __init__(self, code: int) -> None:
        region = phonenumbers.region_code_for_country_code(code)
        metadata = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(code, region)
        prefix = None if metadata is None else metadata.national_prefix_for_parsing
        #: What the library may strip from the start of a national number.
        self._prefix = re.compile(prefix) if prefix else None
        #: By the length of the national number: whether such numbers are possible.
        self._possible: dict[int, bool] = {}

    def is_possible(self, text: str, national: str) -> bool | None:
        """Return whether a number is possible and E.164 already; None if the library must say so."""
        if national[0] == "0" or (self._prefix is not None and self._prefix.match(national)):
            return None
        found = self._possible.get(len(national))
        if found is None:
            normal = _normal_phone(text)
            if normal is not None and normal != text:
                return None
            found = self._possible[len(national)] = normal is not None
        return found


@lru_cache(maxsize=1000)
def _calling_code(digits: str) -> tuple[int, _CallingCode] | None:
    """Return the calling code with which digits begin, as its length and its numbers; None if there is none."""
    for length in (1, 2, 3):
        # No calling code begins with another one.
        if int(digits[:length]) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
            return length, _numbers_of(int(digits[:length]))
    return None


@lru_cache(maxsize=1000)
def _numbers_of(code: int) -> _CallingCode:
    return _CallingCode(code)


@lru_cache(maxsize=10_000)
def _normal_phone(text: str) -> str | None:
    if not _PHONE.fullmatch(text):
        # The library would read letters as phone keys and drop extensions, and so might reach another person.
        return None
    try:
        number = phonenumbers.parse(text, None)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def normal_phone(value: object) -> str | None:
    """Return a phone number as E.164, or None if it has no country code or is not a possible number."""
    if isinstance(value, str) and _E164.fullmatch(value) and (known := _calling_code(value[1:4])) is not None:
        # The library takes tens of microseconds a number. Where it strips nothing, only the length decides.
        length, numbers = known
        possible = numbers.is_possible(value, value[length + 1 :])
        if possible is not None:
            return value if possible else None
    return _normal_phone(value) if isinstance(value, str) and len(value) <= 64 else None
