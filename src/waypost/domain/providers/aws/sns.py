"""The envelopes that Amazon SNS sends to an HTTP subscriber, and the confirmation of a subscription."""

import re
from urllib.parse import urlsplit

import msgspec


class SubscriptionConfirmation(msgspec.Struct, frozen=True):
    """The confirmation of an SNS subscription: a GET of this URL confirms it."""

    url: str


class SnsNotification(msgspec.Struct, rename="pascal"):
    """The envelope that SNS posts to an HTTP subscriber."""

    type: str
    topic_arn: str
    message: str = ""
    message_id: str | None = None
    subscribe_url: str | None = msgspec.field(default=None, name="SubscribeURL")


_notification = msgspec.json.Decoder(SnsNotification).decode
_TOPIC_HOST = re.compile(r"sns\.[a-z]{2}(?:-[a-z]+)+-\d{1,2}\.amazonaws\.com(?:\.cn)?\Z")


def read_notification(body: bytes) -> SnsNotification | None:
    """Return the SNS envelope in a body, or None if the body is not one."""
    # Checked first because almost no body is one.
    if b'"TopicArn"' not in body:
        return None
    try:
        return _notification(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def confirmation(notification: SnsNotification) -> SubscriptionConfirmation | None:
    """Return the URL that confirms a subscription, or None if it is not a URL of SNS."""
    url = notification.subscribe_url or ""
    if len(url) > 2048 or any(letter <= " " or letter >= "\x7f" for letter in url):
        return None
    try:
        parts = urlsplit(url)
        proper = parts.scheme == "https" and parts.port in (None, 443) and parts.username is None
    except ValueError:
        return None
    return SubscriptionConfirmation(url) if proper and _TOPIC_HOST.match(parts.netloc.partition(":")[0]) else None
