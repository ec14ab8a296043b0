"""The setup check of a connection: its steps, its results and the codes 2001 to 2006.

The codes are not those of delivery failures (failure_codes.py), although 2003 and 2006 are in both tables.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

THROTTLED = frozenset(
    {
        "LimitExceededException",
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
    }
)
BROKEN = frozenset(
    {
        "InternalFailure",
        "InternalServerError",
        "InternalServerErrorException",
        "InternalServerException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
    }
)
#: AWS accepted the credentials and denies the action; any other refusal is about the credentials.
DENIED = frozenset({"AccessDenied", "AccessDeniedException", "NotAuthorized", "UnauthorizedOperation"})


class CallResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one call to a provider."""

    #: None without a complete response; then `trouble` says why, as `code: description`.
    status: int | None = None
    #: The JSON object in the response, if there was one.
    body: dict[str, Any] | None = None
    #: The provider's name of the error.
    error: str | None = None
    message: str | None = None
    trouble: str | None = None
    #: False if the request was certainly not sent.
    sent: bool = True


class Result(StrEnum):
    """The result of a step, or of a whole check."""

    OK = "ok"  #: As it should be.
    WARNING = "warning"  #: It works, but should be improved.
    FAILED = "failed"  #: It does not work until it is corrected.
    UNVERIFIED = "unverified"  #: The check could not be made: neither passed nor failed.


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a setup check."""

    name: str
    #: The API call, as in an IAM policy: `firehose:DescribeDeliveryStream`.
    call: str
    result: Result
    setup_code: int | None = None
    meaning: str | None = None
    resolution: tuple[str, ...] = ()
    #: The provider's name of the error.
    error: str | None = None
    #: What was found, in one line.
    detail: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the check may continue with the next step."""
        return self.result in (Result.OK, Result.WARNING)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The steps of a check in order; the check stopped after the last."""

    checks: tuple[Check, ...]
    #: The AWS account id and the name of the stream, once known.
    account_id: str | None = None
    stream: str | None = None

    @property
    def result(self) -> Result:
        """The result of the whole check."""
        found = {check.result for check in self.checks}
        for result in (Result.FAILED, Result.UNVERIFIED, Result.WARNING):
            if result in found:
                return result
        return Result.OK

    @property
    def failure(self) -> Check | None:
        """The step that failed, or None."""
        return next((check for check in self.checks if check.result is Result.FAILED), None)

    @property
    def unverified(self) -> Check | None:
        """The step that could not be verified, or None."""
        return next((check for check in self.checks if check.result is Result.UNVERIFIED), None)


class SetupCode(msgspec.Struct, frozen=True):
    """The meaning of a setup code, and how to resolve it."""

    code: int
    meaning: str
    resolution: tuple[str, ...]


class ReceiptSource(msgspec.Struct, frozen=True):
    """An AWS service that sends receipts into a stream, with its setup codes."""

    name: str
    codes: Mapping[int, SetupCode]


def _codes(account: str, place: str, linked: str, service: str) -> dict[int, SetupCode]:
    again = "Attempt the configuration again."
    relink = (
        f"Go back to {place}.",
        f"Check whether it is linked to a valid Kinesis Firehose Data Stream: {linked}.",
        again,
    )
    stream = (
        "Set up the delivery stream as the steps of this connector say: an HTTP endpoint destination with the tracker "
        "endpoint URL of your Waypost data center, letter by letter, and the access key for receipts.",
        again,
    )
    table = {
        2001: (
            f"{account} is not accessible for the Region specified during configuration.",
            (
                f"Revisit your Kinesis Delivery Stream and your {service} configuration to ensure that they are "
                "configured for the same Region.",
                f"Choose the very Region that {service} and the linked Delivery Stream are configured for, and check "
                "the keys that are given with it.",
            ),
        ),
        2002: (f"{account} is not linked to a Kinesis Firehose Data Stream.", relink),
        2003: (
            f"The Kinesis Firehose Data Stream linked to your {account} was not found (doesn't exist).",
            relink,
        ),
        2004: (
            "The linked Kinesis Firehose Data Stream is Inactive.",
            (
                "Go to the Kinesis dashboard and open the delivery stream.",
                "Navigate to Details > Edit.",
                "Switch Status to Active; a stream that is still being created becomes active by itself, one whose "
                "creation failed has to be made anew.",
                again,
            ),
        ),
        2005: (
            f"No HTTP destination has been configured in the Kinesis Firehose Data Stream linked to your {account}.",
            stream,
        ),
        2006: (
            "The HTTP destination configured for your Kinesis Firehose Data Stream does not match the Waypost tracker "
            "endpoint URL.",
            stream,
        ),
    }
    return {code: SetupCode(code, meaning, steps) for code, (meaning, steps) in table.items()}


PINPOINT = ReceiptSource(
    "Pinpoint",
    _codes(
        "Pinpoint account",
        "your Pinpoint SMS Project",
        "Settings > Event stream > Edit, then enable it",
        "AWS Pinpoint",
    ),
)
END_USER_MESSAGING = ReceiptSource(
    "End User Messaging",
    _codes(
        "End User Messaging configuration set",
        "your configuration set in AWS End User Messaging SMS",
        "Event destinations, one of type Amazon Data Firehose, enabled, for all text events",
        "End User Messaging",
    ),
)
#: The setup codes of Pinpoint.
SETUP_CODES = PINPOINT.codes


def failed(source: ReceiptSource, code: int, name: str, call: str, detail: str, error: str | None = None) -> Check:
    """Return a step that failed with a setup code."""
    known = source.codes[code]
    return Check(
        name=name,
        call=call,
        result=Result.FAILED,
        setup_code=code,
        meaning=known.meaning,
        resolution=known.resolution,
        error=error,
        detail=detail,
    )


def refused(name: str, call: str, meaning: str, resolution: tuple[str, ...], result: CallResult | None = None) -> Check:
    """Return a step that failed without a setup code."""
    return Check(
        name=name,
        call=call,
        result=Result.FAILED,
        meaning=meaning,
        resolution=resolution,
        error=result.error if result else None,
        detail=describe_call(result) if result else None,
    )


def unverified(name: str, call: str, detail: str, error: str | None = None) -> Check:
    """Return a step that could not be verified."""
    return Check(
        name=name,
        call=call,
        result=Result.UNVERIFIED,
        meaning="Waypost could not verify this step. This does not mean that your configuration is wrong.",
        resolution=(
            "Run the check again in a few minutes.",
            "If the result is the same, check whether this server can reach the provider and whether the provider "
            "reports an outage.",
        ),
        error=error,
        detail=detail,
    )


def passed(name: str, call: str, detail: str | None = None) -> Check:
    """Return a step that passed."""
    return Check(name=name, call=call, result=Result.OK, detail=detail)


def describe_call(result: CallResult) -> str:
    """Return the result of a call in one line."""
    if result.status is None:
        return result.trouble or "no response"
    words = ": ".join(part for part in (result.error, result.message) if part)
    return f"status {result.status}" + (f", {words}" if words else "")


def succeeded(result: CallResult) -> bool:
    """Return whether the response has a 2xx status."""
    return result.status is not None and 200 <= result.status < 300


def is_temporary(result: CallResult) -> bool:
    """Return whether the same call may succeed if it is repeated later."""
    if result.status is None:
        return not (result.trouble or "").startswith(("address_forbidden", "not_sent"))
    return result.status == 429 or result.status >= 500 or result.error in THROTTLED or result.error in BROKEN


def is_unreachable(result: CallResult) -> bool:
    """Return whether no connection to the provider was possible."""
    trouble = (result.trouble or "").partition(":")[0]
    return result.status is None and (trouble in ("dns", "connect") or (trouble == "timeout" and not result.sent))


def is_denied(result: CallResult) -> bool:
    """Return whether AWS accepted the credentials but denies the action."""
    return result.error in DENIED or (result.status == 403 and result.error is None)


def judge_account(source: ReceiptSource, result: CallResult, name: str, call: str) -> Check | None:
    """Judge the first call of a check: return None if it succeeded, else the failed or unverified step."""
    if succeeded(result):
        return None
    if is_unreachable(result):
        return failed(
            source, 2001, name, call, f"{describe_call(result)} (or this server cannot reach AWS at all)", result.error
        )
    if result.status is None or is_temporary(result):
        return unverified(name, call, describe_call(result), result.error)
    return failed(source, 2001, name, call, describe_call(result), result.error)
