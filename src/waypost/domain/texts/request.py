"""Read a request of the text-message API (`POST /text/message/send`) into a checked value.

The fields are those of the Wunderkind text API: a Klaviyo flow webhook that posts there works here unchanged.
"""

import re
from decimal import Decimal
from typing import Annotated, Any

import msgspec

from waypost.domain.messaging.request import LONGEST_SMS
from waypost.domain.values.contacts import normal_email, normal_phone
from waypost.domain.values.json_numbers import check_numbers
from waypost.errors import Invalid

#: The largest body of a request, and the longest `callbackData`, in bytes.
BODY_BYTES = 256 * 1024
CALLBACK_BYTES = 64 * 1024
#: Klaviyo accepts at most so many properties per event, some of which Waypost adds (API reference, Create Event).
MOST_PROPERTIES = 350
#: How deep `callbackData` may be nested; a receiver with a recursive reader fails at more.
DEEPEST = 32
LONGEST_PURPOSE = 100
#: Klaviyo requires fewer than 128 characters in the name of a metric.
LONGEST_METRIC = 127
LONGEST_PROFILE_ID = 200
LONGEST_URL = 2000

_URL = re.compile(r"https?://[^\s/?#]+[^\s]*", re.IGNORECASE)
#: Fractions keep their digits: a double would lose some of a long one.
_decode_object = msgspec.json.Decoder(float_hook=Decimal).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode


def _about(words: str) -> msgspec.Meta:
    return msgspec.Meta(description=words)


_PHONE = _about("The number in international format. It takes precedence over `email`.")
_EMAIL = _about("The email of the person, for a text without `phone`.")
_TEXT = _about("The message, up to 1600 characters.")
_CLICK_URL = _about("The page that the text leads to: a working URL.")
_MEDIA_URL = _about("A picture: the working URL of an image.")
_CALLBACK_DATA = _about("A JSON object as a string, with a `profileID`. Every status is reported with it.")
_PURPOSE = _about("What the text is for, up to 100 characters.")


class SendText(msgspec.Struct, rename="camel"):
    """A text to one person, named by `phone` or `email`. Unknown fields are ignored."""

    phone: Annotated[str | int | None, _PHONE] = None
    email: Annotated[str | None, _EMAIL] = None
    text: Annotated[str | None, _TEXT] = None
    click_url: Annotated[str | None, _CLICK_URL] = None
    media_url: Annotated[str | None, _MEDIA_URL] = None
    callback_data: Annotated[str | None, _CALLBACK_DATA] = None
    send_purpose: Annotated[str | None, _PURPOSE] = None


class TextRequest(msgspec.Struct, kw_only=True):
    """A valid request to send a text. Either `phone` or `email` names the person; `phone` takes precedence."""

    #: E.164, or an empty text.
    phone: str
    #: In lower case, or an empty text.
    email: str
    text: str
    click_url: str
    media_url: str
    purpose: str
    #: The name of the metric of the callbacks; an empty text for the default of the client.
    metric: str
    #: A JSON object with a `profileID`.
    callback_data: str


def read_text_request(body: bytes) -> TextRequest:
    """Read the body of a request. Raise Invalid, with `field`, for its first error."""
    try:
        given = _decode(body)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at ")
        field = path.strip("`").removeprefix("$").removeprefix(".")
        raise Invalid(
            f"The body is not valid: {reason} (field {field!r}).", code="invalid_body", field=field
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(
            f"The body is not valid JSON in UTF-8: {error}. A value with a quote or a line break must be escaped.",
            code="invalid_json",
        ) from error
    metric, callback_data = _read_callback_data(given.callback_data)
    phone, email = _read_recipient(given.phone, given.email)
    return TextRequest(
        phone=phone,
        email=email,
        text=_read_text(given.text),
        click_url=_read_url("clickUrl", given.click_url),
        media_url=_read_url("mediaUrl", given.media_url),
        purpose=_read_name("sendPurpose", given.send_purpose, LONGEST_PURPOSE),
        metric=metric,
        callback_data=callback_data,
    )


_decode = msgspec.json.Decoder(SendText).decode


def _read_recipient(phone: str | int | None, email: str | None) -> tuple[str, str]:
    number, address = str(phone).strip() if phone is not None else "", (email or "").strip()
    if number:
        normal = normal_phone(number)
        if normal is None:
            raise Invalid(
                f"{number[:40]!r} is not a phone number in international format, such as +12025550101.",
                code="invalid_phone",
                field="phone",
            )
        number = normal
    normal_address = normal_email(address) or ""
    # With a phone, the email decides nothing: the marketing tool sends whatever the profile has.
    if address and not normal_address and not number:
        raise Invalid(f"{address[:80]!r} is not an email address.", code="invalid_email", field="email")
    if not number and not address:
        raise Invalid("The request names no person. Send `phone`, or `email`.", code="no_recipient", field="phone")
    return number, normal_address


def _read_text(text: str | None) -> str:
    if text is None or not text.strip():
        raise Invalid("`text` is required: it is the message.", code="missing_field", field="text")
    if "\0" in text:
        raise Invalid("`text` contains the character U+0000. Remove it.", code="invalid_text", field="text")
    if len(text) > LONGEST_SMS:
        raise Invalid(
            f"`text` has {len(text)} characters; providers accept up to {LONGEST_SMS}.",
            code="text_too_long",
            field="text",
        )
    return text


def _read_name(field: str, value: str | None, longest: int) -> str:
    name = (value or "").strip()
    if not name:
        raise Invalid(f"`{field}` is required.", code="missing_field", field=field)
    if len(name) > longest or not name.isprintable():
        raise Invalid(
            f"`{field}` may have at most {longest} characters, all of them printable.",
            code="invalid_field",
            field=field,
        )
    return name


def _read_url(field: str, value: str | None) -> str:
    url = (value or "").strip()
    if not url:
        return ""
    if len(url) > LONGEST_URL or not _URL.fullmatch(url) or not url.isprintable():
        raise Invalid(
            f"`{field}` must be an http:// or https:// URL of at most {LONGEST_URL} characters, without spaces.",
            code="invalid_url",
            field=field,
        )
    return url


def _read_callback_data(text: str | None) -> tuple[str, str]:
    """Return the metric name and the object as JSON."""
    if text is None or not text.strip():
        raise _bad_callback_data("is required: a JSON object in a string, with at least a `profileID`")
    data = text.encode("utf-8", "surrogatepass")
    if len(data) > CALLBACK_BYTES:
        raise _bad_callback_data(f"has {len(data)} bytes; at most {CALLBACK_BYTES} are allowed")
    try:
        found: Any = _decode_object(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _bad_callback_data(f"is not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise _bad_callback_data("must be a JSON object")
    if len(found) > MOST_PROPERTIES:
        raise _bad_callback_data(f"has {len(found)} properties; at most {MOST_PROPERTIES} are allowed")
    # Only what opens more than so many objects and lists can be nested deeper.
    if data.count(b"{") + data.count(b"[") > DEEPEST and _depth(found) > DEEPEST:
        raise _bad_callback_data(f"is nested more than {DEEPEST} levels deep")
    try:
        check_numbers(data)
    except Invalid as error:
        raise _bad_callback_data(f"has a number that is too large: {error.detail.rstrip('.')}") from error
    profile_id = found.get("profileID")
    if isinstance(profile_id, int) and not isinstance(profile_id, bool):
        profile_id = str(profile_id)
    if not isinstance(profile_id, str) or not profile_id.strip() or len(profile_id) > LONGEST_PROFILE_ID:
        raise _bad_callback_data(
            f"needs a `profileID`: a text of up to {LONGEST_PROFILE_ID} characters, to which the statuses are reported"
        )
    metric = found.get("metricName")
    if metric is not None and not isinstance(metric, str):
        raise _bad_callback_data("has a `metricName` that is not a text")
    metric = (metric or "").strip()
    if len(metric) > LONGEST_METRIC or (metric and not metric.isprintable()):
        raise _bad_callback_data(f"has a `metricName` of more than {LONGEST_METRIC} printable characters")
    # Written anew: of two values of one name, readers would take different ones.
    return metric, _encode(found).decode()


def _depth(value: Any) -> int:
    deepest, waiting = 0, [(value, 1)]
    while waiting:
        found, depth = waiting.pop()
        deepest = max(deepest, depth)
        if isinstance(found, dict):
            waiting += [(inner, depth + 1) for inner in found.values() if isinstance(inner, dict | list)]
        elif isinstance(found, list):
            waiting += [(inner, depth + 1) for inner in found if isinstance(inner, dict | list)]
    return deepest


def _bad_callback_data(reason: str) -> Invalid:
    return Invalid(f"`callbackData` {reason}.", code="invalid_callback_data", field="callbackData")
