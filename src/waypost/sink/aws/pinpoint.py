"""Simulates Amazon Pinpoint: SendMessages, and the events of its messages in the project's stream."""

import re
from typing import Any

import msgspec

from waypost import clock
from waypost.sink.aws.account import ACCOUNT, AwsAccount, Project, Refused
from waypost.sink.aws.firehose import Firehose
from waypost.sink.context import Context
from waypost.sink.faulty_response import Ending, Response, reply
from waypost.sink.scenarios import Reply, Scenario, moments

NAME = "pinpoint"
#: The most addresses of one call (Pinpoint API reference, MessageRequest).
MOST_ADDRESSES = 100

#: DeliveryStatus, StatusCode and StatusMessage by reply. AWS does not publish its texts.
RESULTS: dict[Reply, tuple[str, int, str]] = {
    Reply.INVALID: ("PERMANENT_FAILURE", 400, "Invalid phone number"),
    Reply.REJECTED: ("PERMANENT_FAILURE", 400, "The message was rejected"),
    Reply.OPTED_OUT: ("OPT_OUT", 400, "The recipient has opted out"),
    Reply.THROTTLED: ("THROTTLED", 429, "Rate exceeded"),
    Reply.TEMPORARY: ("TEMPORARY_FAILURE", 503, "Retry later"),
    Reply.UNKNOWN: ("UNKNOWN_FAILURE", 500, "Internal error"),
    Reply.DUPLICATE: ("DUPLICATE", 400, "The address occurs twice"),
}
#: event_type and record_status by step.
EVENTS: dict[str, tuple[str, str]] = {
    "queued": ("_SMS.BUFFERED", "PENDING"),
    "sent": ("_SMS.SUCCESS", "SUCCESSFUL"),
    "delivered": ("_SMS.SUCCESS", "DELIVERED"),
    "invalid": ("_SMS.FAILURE", "INVALID"),
    "unreachable": ("_SMS.FAILURE", "UNREACHABLE"),
    "carrier_unreachable": ("_SMS.FAILURE", "CARRIER_UNREACHABLE"),
    "blocked": ("_SMS.FAILURE", "BLOCKED"),
    "carrier_blocked": ("_SMS.FAILURE", "CARRIER_BLOCKED"),
    "spam": ("_SMS.FAILURE", "SPAM"),
    "invalid_message": ("_SMS.FAILURE", "INVALID_MESSAGE"),
    "expired": ("_SMS.FAILURE", "TTL_EXPIRED"),
    "max_price": ("_SMS.FAILURE", "MAX_PRICE_EXCEEDED"),
    "opted_out": ("_SMS.FAILURE", "OPTED_OUT"),
    "unknown": ("_SMS.FAILURE", "UNKNOWN"),
    "novel": ("_SMS.FAILURE", "TELEPORTED"),
    "stop": ("_SMS.OPTOUT", "DELIVERED"),
}
ERRORS = {
    400: "BadRequestException",
    403: "ForbiddenException",
    404: "NotFoundException",
    405: "MethodNotAllowedException",
    413: "PayloadTooLargeException",
    429: "TooManyRequestsException",
}
#: ISO 3166-1 codes by prefix of the number; the longest match applies.
COUNTRIES = {"+1": "US", "+91": "IN", "+44": "GB", "+49": "DE", "+33": "FR", "+966": "SA", "+971": "AE", "+55": "BR"}

_NUMBER = re.compile(r"\+?[1-9][0-9]{4,14}").fullmatch
_VARIABLE = re.compile(r"\{\{\s*([\w.-]+)\s*\}\}")
_encode = msgspec.json.Encoder().encode


class Address(msgspec.Struct, rename="pascal"):
    """The configuration of one address (AddressConfiguration)."""

    channel_type: str = "SMS"
    body_override: str | None = None
    context: dict[str, str] | None = None
    substitutions: dict[str, list[str]] | None = None


class SmsMessage(msgspec.Struct, rename="pascal"):
    """SMSMessage."""

    body: str | None = None
    message_type: str | None = None
    origination_number: str | None = None
    sender_id: str | None = None
    substitutions: dict[str, list[str]] | None = None


class Configuration(msgspec.Struct):
    """The part of DirectMessageConfiguration that concerns SMS."""

    sms: SmsMessage | None = msgspec.field(default=None, name="SMSMessage")


class Sending(msgspec.Struct, rename="pascal"):
    """The body of a call (MessageRequest)."""

    message_configuration: Configuration
    addresses: dict[str, Address] | None = None
    endpoints: dict[str, Any] | None = None
    context: dict[str, str] | None = None
    trace_id: str | None = None


_decode = msgspec.json.Decoder(Sending).decode


class Pinpoint:
    """The simulated service."""

    def __init__(self, context: Context) -> None:
        self._sent_log = context.sent_log
        self._aws_account = context.provider(AwsAccount)
        self._firehose = context.provider(Firehose)
        self._dice = context.scenarios.declare(NAME)
        # Ids have a fixed length and are unique across runs.
        self._start = f"{clock.now_us():x}".rjust(16, "0")
        self._number = 0

    def send_messages(
        self, project_id: str, project: Project, region: str, content: bytes, request_id: str
    ) -> Response:
        """Return the response of SendMessages; raise Refused if the whole call fails."""
        call = self._dice.call()
        if call.status is not None:
            raise _failure(call.status)
        sending, sms = _read(content)
        addresses = sending.addresses or {}
        scenarios = self._scenarios(addresses)
        replies = {scenario.reply for scenario in scenarios} & {Reply.ERROR, Reply.LOST, Reply.HANG}
        if Reply.ERROR in replies:
            raise _failure(self._dice.settings.error_status)
        answer = self._accept(project_id, project, region, sending, sms, scenarios, request_id)
        ending = Ending.KEEP
        if replies or call.lost:
            ending = Ending.HANG if Reply.HANG in replies else Ending.CLOSE
        headers = [("Content-Type", "application/json"), ("x-amzn-RequestId", request_id)]
        return reply(200, headers, answer, delay=call.delay, ending=ending)

    def _scenarios(self, addresses: dict[str, Address]) -> list[Scenario]:
        opted_out, message = self._aws_account.opted_out, self._dice.message
        scenarios = []
        for address, configuration in addresses.items():
            scenario = message(address)
            if opted_out and address in opted_out:
                scenario = OPTED_OUT
            if configuration.channel_type != "SMS":
                scenario = NO_CHANNEL
            elif _NUMBER(address) is None:
                scenario = MALFORMED
            scenarios.append(scenario)
        return scenarios

    def _accept(
        self,
        project_id: str,
        project: Project,
        region: str,
        sending: Sending,
        sms: SmsMessage,
        scenarios: list[Scenario],
        request_id: str,
    ) -> bytes:
        """Send the messages that their scenarios accept; return the body of the response."""
        now = clock.now_us() // 1000
        writer = _EventWriter(project_id, sms, request_id, now, self._firehose.settings.context)
        shared, trace = sending.context, sending.trace_id or ""
        results: list[str] = []
        events: dict[float, list[bytes]] = {}
        has_stream = project.stream is not None
        for (address, configuration), scenario in zip((sending.addresses or {}).items(), scenarios, strict=True):
            result = RESULTS.get(scenario.reply)
            if result is not None:
                results.append(
                    f'{_quoted(address)}:{{"DeliveryStatus":"{result[0]}","StatusCode":{result[1]},'
                    f'"StatusMessage":"{result[2]}"}}'
                )
                continue
            self._number += 1
            message_id = f"{self._start}{self._number:016x}"
            results.append(
                f'"{address}":{{"DeliveryStatus":"SUCCESSFUL","MessageId":"{message_id}","StatusCode":200,'
                f'"StatusMessage":"MessageId: {message_id}"}}'
            )
            context = configuration.context
            if shared:
                context = shared | context if context else shared
            text = configuration.body_override or sms.body or ""
            if configuration.substitutions or sms.substitutions:
                text = _fill(text, (sms.substitutions or {}) | (configuration.substitutions or {}))
            mid = context.get("mid", trace) if context else trace
            self._sent_log.add(NAME, address, text, mid, message_id, scenario.word)
            if scenario.steps and has_stream:
                due = events.get(scenario.delay)
                if due is None:
                    due = events[scenario.delay] = []
                writer.add(due, scenario.steps, address, text, message_id, context)
                if "stop" in scenario.steps:
                    self._aws_account.opted_out[address] = now * 1000
        for delay, due in events.items():
            self._firehose.put(project.stream or "", region, due, delay)
        return (
            f'{{"ApplicationId":{_quoted(project_id)},"RequestId":"{request_id}","Result":{{{",".join(results)}}}}}'
        ).encode()


OPTED_OUT = Scenario("opted_out", Reply.OPTED_OUT)
MALFORMED = Scenario("malformed", Reply.INVALID)
NO_CHANNEL = Scenario("rejected", Reply.REJECTED)


class _EventWriter:
    """Writes the events of one call's messages (AWS's page "SMS events")."""

    def __init__(self, project_id: str, sms: SmsMessage, request_id: str, now: int, form: str) -> None:
        sender = sms.origination_number or ""
        self._now = now
        self._form = form
        self._head = (
            f'"event_version":"3.1","application":{{"app_id":{_quoted(project_id)},"sdk":{{}}}},'
            f'"client":{{"client_id":"{request_id}"'
        )
        self._attributes = (
            f'"device":{{"platform":{{}}}},"session":{{}},"attributes":{{"sender_request_id":"{request_id}",'
            f'"origination_phone_number":{_quoted(sender)},"treatment_id":"0","mcc_mnc":"310260",'
            f'"message_type":"{(sms.message_type or "PROMOTIONAL").title()}"'
        )

    def add(
        self,
        events: list[bytes],
        steps: tuple[str, ...],
        address: str,
        text: str,
        message_id: str,
        context: dict[str, str] | None,
    ) -> None:
        """Append the events of one message; their times are in the natural order, whatever the order of the steps."""
        inside = outside = ""
        if context:
            coded = _encode(context).decode()
            if self._form == "customer_context":
                inside = f',"customer_context":{_quoted(coded)}'
            elif self._form == "flat":
                inside = f",{coded[1:-1]}" if len(coded) > 2 else ""
            else:
                outside = f',"client_context":{{"custom":{_quoted(coded)}}}'
        shared = (
            f'{self._attributes},"destination_phone_number":"{address}","iso_country_code":"{country(address)}",'
            f'"number_of_message_parts":"{parts(text)}","message_id":"{message_id}"{inside}'
        )
        for step, moment in zip(steps, moments(steps), strict=True):
            if step not in EVENTS:
                continue
            kind, status = EVENTS[step]
            at = self._now + moment
            metrics = "{}" if step == "queued" else '{"price_in_millicents_usd":645.0}'
            events.append(
                (
                    f'{{"event_type":"{kind}","event_timestamp":{at},"arrival_timestamp":{at - 250},{self._head}}},'
                    f'{shared},"record_status":"{status}"}},"metrics":{metrics},"awsAccountId":"{ACCOUNT}"{outside}}}'
                ).encode()
            )


def _read(content: bytes) -> tuple[Sending, SmsMessage]:
    try:
        sending = _decode(content)
    except msgspec.DecodeError as error:
        raise Refused("BadRequestException", 400, f"The request body is not valid: {error}") from error
    sms = sending.message_configuration.sms
    if sending.endpoints:
        raise Refused("BadRequestException", 400, "Endpoints are no longer supported")
    if not sending.addresses:
        raise Refused("BadRequestException", 400, "Addresses or Endpoints must be specified")
    if len(sending.addresses) > MOST_ADDRESSES:
        raise Refused("BadRequestException", 400, f"A request may have at most {MOST_ADDRESSES} addresses")
    if sms is None:
        raise Refused("BadRequestException", 400, "MessageConfiguration has no SMSMessage")
    if sms.message_type not in (None, "TRANSACTIONAL", "PROMOTIONAL"):
        raise Refused("BadRequestException", 400, "MessageType must be TRANSACTIONAL or PROMOTIONAL")
    if sms.body is None and any(address.body_override is None for address in sending.addresses.values()):
        raise Refused("BadRequestException", 400, "Body must be specified")
    return sending, sms


def _failure(status: int) -> Refused:
    kind = ERRORS.get(status, "InternalServerErrorException")
    return Refused(kind, status, "Failed by configuration")


def _quoted(text: str) -> str:
    return _encode(text).decode()


def _fill(text: str, given: dict[str, list[str]]) -> str:
    """Return a body with its variables replaced; variables without a value stay."""
    return _VARIABLE.sub(lambda found: given.get(found[1], [found[0]])[0], text)


def country(address: str) -> str:
    """Return the approximate country of a number."""
    for length in (4, 3, 2):
        found = COUNTRIES.get(address[:length])
        if found is not None:
            return found
    return "US"


def parts(text: str) -> int:
    """Return the approximate number of parts of a text: 160 characters of ASCII each, 70 of anything else."""
    alone, joined = (160, 153) if text.isascii() else (70, 67)
    return 1 if len(text) <= alone else -(-len(text) // joined)
