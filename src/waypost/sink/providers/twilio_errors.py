"""The errors of the simulated Twilio: codes, messages and responses."""

import msgspec

from waypost.sink.faulty_response import Response
from waypost.sink.providers.http_provider import finish
from waypost.sink.scenarios import Call, Reply

#: Status and error code by reply.
REFUSALS: dict[Reply, tuple[int, int]] = {
    Reply.INVALID: (400, 21211),
    Reply.REJECTED: (400, 21408),
    Reply.OPTED_OUT: (400, 21610),
    Reply.THROTTLED: (429, 20429),
    Reply.TEMPORARY: (503, 20503),
    Reply.UNKNOWN: (500, 20500),
}
#: The message of each error code.
MESSAGES = {
    20001: "A parameter is unknown or not valid.",
    20003: "Authenticate with the account's SID and token, or with an API key.",
    20404: "The resource does not exist.",
    20429: "Too many requests.",
    20500: "Internal error.",
    20503: "Temporarily unavailable. Retry later.",
    21211: "The number in To is not valid.",
    21212: "The sender in From is not valid.",
    21266: "To and From cannot be the same.",
    21408: "Messages to this region are not permitted.",
    21603: "From or MessagingServiceSid is required.",
    21604: "To is required.",
    21609: "The StatusCallback is not a valid URL.",
    21610: "The recipient has opted out.",
    21617: "The body is longer than 1600 characters.",
    21619: "Body, MediaUrl or ContentSid is required.",
    21623: "There are more than ten MediaUrls.",
    21703: "The Messaging Service does not exist.",
}


def error(call: Call, status: int, code: int, retry_after: int = 0) -> Response:
    """Return the response for an error code."""
    document = {
        "code": code,
        "message": MESSAGES[code],
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }
    more = [("retry-after", str(retry_after))] if status == 429 and retry_after else []
    return finish(status, [("content-type", "application/json"), *more], msgspec.json.encode(document), call)
