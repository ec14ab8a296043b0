"""Mask secrets in texts that are shown: responses, errors, check reports and requests."""

import base64
import json
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

MASK = "***"
#: A shorter secret may occur in ordinary words, so it is masked only as a whole word.
SHORTEST_ANYWHERE = 4
#: The fewest unambiguous Base64 characters that are masked.
_SHORTEST_BASE64 = 6


class Masker:
    """Replace every form of some secrets: plain, escaped as JSON, percent-encoded, and within Base64."""

    __slots__ = ("_alone", "_anywhere")

    def __init__(self, secrets: Iterable[str]) -> None:
        anywhere: set[str] = set()
        alone: set[str] = set()
        for secret in secrets:
            (anywhere if len(secret) >= SHORTEST_ANYWHERE else alone).update(_forms(secret))
        # The longest first: one secret may be part of another.
        self._anywhere = sorted(anywhere, key=len, reverse=True)
        self._alone = sorted(alone, key=len, reverse=True)

    def mask(self, text: str) -> str:
        """Return the text with the secrets masked."""
        for form in self._anywhere:
            text = text.replace(form, MASK)
        for form in self._alone:
            text = _replace_alone(text, form)
        return text


def shown_part(secret: str, most: int) -> int:
    """Return how many characters of a secret may be shown: never more than a third of it."""
    return min(most, len(secret) // 3)


def _forms(secret: str) -> set[str]:
    data = secret.encode("utf-8", "surrogatepass")
    escaped = json.dumps(secret)[1:-1]
    forms = {
        secret,
        escaped,
        escaped.replace("/", "\\/"),
        json.dumps(secret, ensure_ascii=False)[1:-1],
        json.dumps(escaped)[1:-1],
        quote(data, safe=""),
        quote(data),
        quote_plus(data),
    }
    if len(secret) >= SHORTEST_ANYWHERE:
        forms |= {form.lower() for form in (quote(data, safe=""), quote(data)) if "%" in form}
        forms |= _base64_forms(data)
    return forms


def _base64_forms(data: bytes) -> set[str]:
    """Return the Base64 forms of the secret for each of its three alignments, without characters shared with others."""
    found = set()
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + data).decode()
        # Characters that also encode bits before or after the secret are left out.
        first = (8 * before + 5) // 6
        sure = encoded[first : 8 * (before + len(data)) // 6]
        if len(sure) >= _SHORTEST_BASE64:
            found |= {sure, sure.replace("+", "-").replace("/", "_"), quote(sure, safe="")}
    return found


def _replace_alone(text: str, form: str) -> str:
    parts, start, position = [], 0, text.find(form)
    while position >= 0:
        end = position + len(form)
        if not (_is_word(text[position - 1 : position]) or _is_word(text[end : end + 1])):
            parts += [text[start:position], MASK]
            start = end
        position = text.find(form, end)
    return "".join((*parts, text[start:]))


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"
