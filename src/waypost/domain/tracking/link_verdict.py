"""Whether a link works: the verdict, its reasons, and the images that a message may carry."""

import re
from collections.abc import Sequence
from typing import Literal
from urllib.parse import urljoin

import msgspec

LinkKind = Literal["page", "image"]

#: Statuses that lead to another URL when there is a Location header.
REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: Every reason but `status_…`, and what it means.
REASONS = {
    "invalid_url": "The URL, or one that it redirects to, is malformed, contains credentials, or is not http or https.",
    "address_forbidden": "The URL, or one that it redirects to, leads to a private or special-purpose address.",
    "dns": "The name of the host has no address.",
    "connect": "The host accepts no connection.",
    "tls": "The host has no valid certificate for its name.",
    "timeout": "The host did not respond in time, redirects included.",
    "empty_answer": "The host closed the connection without a response.",
    "connection_lost": "The connection ended before the response was complete, or its headers are too large.",
    "not_http": "The response is not HTTP.",
    "bad_encoding": "The response cannot be decompressed.",
    "proxy": "The proxy of the settings cannot be reached, or refuses the host.",
    "too_many_redirects": "There are more redirects than are followed, often because they lead in a circle.",
    "not_an_image": "The content type is not that of an image, or the file does not begin like an image of that type.",
    "image_unsupported": "It is an image of a type that providers do not accept in messages.",
    "image_too_large": "The image is larger than providers accept.",
    "failed": "The request failed in another way; the detail says how.",
}

_LENGTH = re.compile(r"[0-9]{1,18}")
_WHOLE_LENGTH = re.compile(r"bytes\s+[0-9-]+/([0-9]{1,18})")


class LinkVerdict(msgspec.Struct, frozen=True):
    """Whether a link worked, and why it did not."""

    ok: bool
    #: A key of `REASONS`, or `status_` and the status; "" if the link worked.
    reason: str
    #: The reason in words; "" if the link worked.
    detail: str
    #: In microseconds since 1970.
    checked_at: int


class ImageType(msgspec.Struct, frozen=True):
    """A type of image that providers accept in messages."""

    name: str
    content_types: tuple[str, ...]
    #: The bytes that such a file may begin with.
    starts: tuple[bytes, ...]


#: Accepted by both Twilio and AWS End User Messaging. They compare the content type with the file, so both must agree.
IMAGE_TYPES = (
    ImageType("JPEG", ("image/jpeg", "image/jpg", "image/pjpeg"), (b"\xff\xd8\xff",)),
    ImageType("PNG", ("image/png", "image/x-png"), (b"\x89PNG\r\n\x1a\n",)),
    ImageType("GIF", ("image/gif",), (b"GIF87a", b"GIF89a")),
    ImageType("TIFF", ("image/tiff",), (b"II*\x00", b"MM\x00*")),
)


def redirect_target(url: str, status: int | None, headers: Sequence[tuple[str, str]]) -> str | None:
    """Return the absolute URL that a response redirects to, or None if it does not redirect."""
    location = _header(headers, "location")
    if status not in REDIRECTS or not location:
        return None
    # Servers send UTF-8, which was read as Latin-1, and spaces, which browsers escape.
    location = location.encode("latin-1", "replace").decode("utf-8", "replace").replace(" ", "%20")
    try:
        return urljoin(url, location)
    except ValueError:
        # Brackets that enclose no address. It is no URL, which its reader finds out.
        return location


def fault_of_page(status: int) -> tuple[str, str] | None:
    """Return the reason and the detail why a final response is not that of a working page, or None if it is."""
    return None if 200 <= status <= 299 else (f"status_{status}", f"The URL responded with the status {status}.")


def fault_of_image(
    status: int, headers: Sequence[tuple[str, str]], start: bytes, largest: int
) -> tuple[str, str] | None:
    """Return the reason and the detail why a response, whose body begins so, is not a usable image; None if it is."""
    fault = fault_of_page(status)
    if fault is not None:
        return fault
    content_type = (_header(headers, "content-type") or "").partition(";")[0].strip().lower()
    if not content_type.startswith("image/"):
        state = f"is {content_type[:60]}" if content_type else "is missing"
        return "not_an_image", f"The content type {state}; it must be that of an image."
    image = next((image for image in IMAGE_TYPES if content_type in image.content_types), None)
    if image is None:
        names = ", ".join(image.name for image in IMAGE_TYPES)
        return "image_unsupported", f"Providers do not accept {content_type[:60]} in messages. Use {names}."
    if not start.startswith(image.starts):
        return "not_an_image", f"The content type is {content_type}, but the file is not a {image.name} image."
    size = _size(headers)
    if size is not None and size > largest:
        return "image_too_large", f"The image has {size} bytes; providers accept at most {largest}."
    return None


def _size(headers: Sequence[tuple[str, str]]) -> int | None:
    """Return the length of the whole file, if the response tells it."""
    whole = _WHOLE_LENGTH.fullmatch(_header(headers, "content-range") or "")
    if whole is not None:
        return int(whole[1])
    length = _LENGTH.fullmatch(_header(headers, "content-length") or "")
    return int(length[0]) if length is not None else None


def _header(headers: Sequence[tuple[str, str]], name: str) -> str | None:
    """Return the first header of a lower-case name."""
    return next((value for given, value in headers if given == name), None)
