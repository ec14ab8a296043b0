"""Normalise email addresses and phone numbers for comparison."""

import re
from functools import lru_cache

import phonenumbers

_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
#: A plus sign, digits, and the usual separators between them.
_PHONE = re.compile(r"\s*[+\uff0b][\d\s().\-\u2010-\u2015\u2060/]+")


def normal_email(value: object) -> str | None:
    """Return an email address normalised for comparison, or None if it is not one."""
    if not isinstance(value, str):
        return None
    text = value.strip().lower()
    name, at, host = text.rpartition("@")
    if not (at and name and "." in host) or len(text) > 320 or _CONTROL.search(text) or " " in text:
        return None
    return text


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
    return _normal_phone(value) if isinstance(value, str) and len(value) <= 64 else None
