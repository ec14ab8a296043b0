"""Versions of resources (RFC 9110, 8.8.3 and 13.1.1): `ETag` of what was read, and `If-Match` of what is changed."""

import re
from collections.abc import Callable
from typing import Any, get_args, get_origin, get_type_hints

from litestar import Response
from msgspec import Struct

from waypost.errors import Conflict

#: The methods that change what `If-Match` names the version of.
CONDITIONAL = frozenset({"PUT", "PATCH", "DELETE"})
_TAGS = re.compile(r'(W/)?"([^"]*)"')


def has_version(reader: Callable[..., Any] | None) -> bool:
    """Return whether the resource that a GET route shows has a version: `updated_at`, which each change moves on."""
    if reader is None:
        return False
    shown = get_type_hints(reader).get("return")
    if get_origin(shown) is Response:
        (shown,) = get_args(shown)
    return isinstance(shown, type) and issubclass(shown, Struct) and "updated_at" in shown.__struct_fields__


def tag(response: Response[Any]) -> Response[Any]:
    """Add the `ETag` to a response with a resource that has a version."""
    version = getattr(response.content, "updated_at", None)
    if isinstance(version, str):
        response.headers.setdefault("etag", f'"{version}"')
    return response


def check_version(given: str, version: str | None) -> None:
    """Raise Conflict if an `If-Match` names another version than the present one; `*` stands for any."""
    if given.strip() == "*":
        return
    # A weak tag never matches: RFC 9110, 13.1.1.
    named = {text for weak, text in _TAGS.findall(given) if not weak}
    if version is None or version not in named:
        raise Conflict(
            "This was changed since the version in `If-Match`. Get it again, and decide what becomes of your change.",
            code="precondition_failed",
            updated_at=version,
        )
