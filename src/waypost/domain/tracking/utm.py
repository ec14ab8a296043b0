"""Add parameters such as utm_source to a URL, and make a URL fit for a Location header, without disturbing the rest."""

import re
from collections.abc import Mapping
from urllib.parse import quote, unquote_plus

from waypost.domain.tracking.links import LONGEST_URL
from waypost.errors import Invalid

#: Scheme, authority, and the rest. What no part of a URL may contain is left out.
_URL = re.compile(r"(https?)://([^/?#]*)([^#]*)(#.*)?", re.IGNORECASE)
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\x9f<>\"`]")
_PORT = re.compile(r":[0-9]{0,5}\Z")
_SEPARATORS = re.compile("[&;]")


def add_parameters(url: str, parameters: Mapping[str, str]) -> str:
    """Return a URL with the parameters that its query lacks; everything else stays as it is, byte for byte.

    Empty values are not added. Raise Invalid for what is not an absolute http or https URL, or contains a user name.
    """
    *_, path_and_query, fragment = _split(url)
    _, mark, query = path_and_query.partition("?")
    present = _names(query)
    added = "&".join(
        f"{quote(name, safe='')}={quote(value, safe='')}"
        for name, value in parameters.items()
        if value and name not in present
    )
    if not added:
        return url
    before = url[: len(url) - len(fragment)]
    separator = "&" if query else "" if mark else "?"
    if query.endswith("&"):
        separator = ""
    return f"{before}{separator}{added}{fragment}"


def location(url: str) -> str:
    """Return a URL as a Location header has it, in ASCII. A URL in ASCII stays as it is.

    Raise Invalid for what is not an absolute http or https URL, or contains a user name.
    """
    scheme, authority, path_and_query, fragment = _split(url)
    if url.isascii():
        return url
    port = _PORT.search(authority)
    host = authority[: port.start()] if port else authority
    try:
        name = host if host.isascii() else host.encode("idna").decode()
        rest = quote(path_and_query + fragment, safe="%!$&'()*+,/:;=?@[]~#|{}^")
    except UnicodeError as error:
        raise _refusal("has a host name that cannot be written in ASCII") from error
    return f"{scheme}://{name}{port[0] if port else ''}{rest}"


def _split(url: str) -> tuple[str, str, str, str]:
    """Return the scheme, the authority, path with query, and the fragment of a URL."""
    found = _URL.fullmatch(url)
    if found is None or not found[2] or found[2].startswith(":"):
        raise _refusal("is not an absolute http or https URL")
    if len(url) > LONGEST_URL:
        raise _refusal(f"has more than {LONGEST_URL} characters")
    if _FORBIDDEN.search(url):
        raise _refusal("contains a space, a quote or another character that must be escaped")
    # A browser reads a backslash as a slash, so that the host would be another one for it.
    if "@" in found[2] or "\\" in found[2]:
        raise _refusal("contains a user name or a backslash before its path")
    return found[1], found[2], found[3], found[4] or ""


def _names(query: str) -> set[str]:
    """Return the names of the parameters in a query; also of those that semicolons separate."""
    return {unquote_plus(part.partition("=")[0]) for part in _SEPARATORS.split(query)} if query else set()


def _refusal(what: str) -> Invalid:
    return Invalid(f"The URL {what}.", code="invalid_url")
