"""The fields of a message to Twilio, and their validation."""

import re

LONGEST_TEXT = 1600
MOST_MEDIA = 10

SERVICE = re.compile(r"MG[0-9a-fA-F]{32}\Z")
PHONE = re.compile(r"\+[1-9][0-9]{6,14}\Z")
SENDER = re.compile(r"\+?[0-9]{3,15}\Z|(?=.*[A-Za-z])[A-Za-z0-9 _-]{1,11}\Z")
#: The host of a callback URL cannot contain an underscore (twilio-oai).
CALLBACK = re.compile(r"https?://(?:[^/?#@\s]*@)?[A-Za-z0-9.:\[\]-]+(?:[/?#]\S*)?\Z")

#: The fields of the Messages resource (twilio-oai).
FIELDS = frozenset(
    {
        "To",
        "StatusCallback",
        "ApplicationSid",
        "MaxPrice",
        "ProvideFeedback",
        "Attempt",
        "ValidityPeriod",
        "ForceDelivery",
        "ContentRetention",
        "AddressRetention",
        "SmartEncoded",
        "PersistentAction",
        "TrafficType",
        "ShortenUrls",
        "ScheduleType",
        "SendAt",
        "SendAsMms",
        "ContentVariables",
        "RiskCheck",
        "From",
        "MessagingServiceSid",
        "Body",
        "MediaUrl",
        "ContentSid",
    }
)


def find_fault(form: dict[str, list[str]]) -> int | None:
    """Return Twilio's error code for the first error of a message."""
    first = {name: values[0] for name, values in form.items()}
    if not first.keys() <= FIELDS:
        return 20001
    to, sender, service = first.get("To", ""), first.get("From", ""), first.get("MessagingServiceSid", "")
    if not to:
        return 21604
    if not PHONE.match(to):
        return 21211
    if not sender and not service:
        return 21603
    if service and not SERVICE.match(service):
        return 21703
    if sender and not SENDER.match(sender):
        return 21212
    if sender == to:
        return 21266
    if not first.get("Body") and not first.get("MediaUrl") and not first.get("ContentSid"):
        return 21619
    if len(first.get("Body", "")) > LONGEST_TEXT:
        return 21617
    if len(form.get("MediaUrl", [])) > MOST_MEDIA:
        return 21623
    if first.get("StatusCallback") and not CALLBACK.match(first["StatusCallback"]):
        return 21609
    validity = first.get("ValidityPeriod", "1")
    if not validity.isascii() or not validity.isdigit() or not 1 <= int(validity[:9]) <= 36_000:
        return 20001
    return None


def count_segments(text: str) -> int:
    """Return the approximate number of segments of a text: ASCII counts as GSM 03.38."""
    alone, joined = (160, 153) if text.isascii() else (70, 67)
    return 1 if len(text) <= alone else -(-len(text) // joined)
