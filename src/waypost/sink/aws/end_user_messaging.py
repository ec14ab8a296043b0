"""Simulates AWS End User Messaging SMS: SendTextMessage, configuration sets, opted-out numbers, message events."""

import re
import uuid
from typing import Any

import msgspec

from waypost import clock
from waypost.sink.aws.account import ACCOUNT, AwsAccount, ConfigurationSet, Refused, stream_arn, trouble
from waypost.sink.aws.firehose import Firehose
from waypost.sink.aws.pinpoint import country, parts
from waypost.sink.context import Context
from waypost.sink.scenarios import Reply, Scenario, moments

NAME = "end-user-messaging"
OPT_OUT_LIST = "Default"
#: Opted-out numbers on one page (the limit in the API's model).
PAGE = 100

#: messageStatus by step; eventType is the same with the prefix TEXT_. AWS has no events for opt-out and spend limit.
EVENTS: dict[str, str] = {
    "queued": "QUEUED",
    "sent": "SUCCESSFUL",
    "delivered": "DELIVERED",
    "invalid": "INVALID",
    "unreachable": "UNREACHABLE",
    "carrier_unreachable": "CARRIER_UNREACHABLE",
    "blocked": "BLOCKED",
    "carrier_blocked": "CARRIER_BLOCKED",
    "spam": "SPAM",
    "invalid_message": "INVALID_MESSAGE",
    "expired": "TTL_EXPIRED",
    "unknown": "UNKNOWN",
    "novel": "TELEPORTED",
}
_NUMBER = re.compile(r"\+?[1-9][0-9]{1,18}").fullmatch


class SendTextMessage(msgspec.Struct, rename="pascal"):
    """The request of SendTextMessage."""

    destination_phone_number: str
    message_body: str | None = None
    origination_identity: str | None = None
    message_type: str | None = None
    configuration_set_name: str | None = None
    context: dict[str, str] = {}
    max_price: str | None = None
    time_to_live: int | None = None
    dry_run: bool = False


class DescribeConfigurationSets(msgspec.Struct, rename="pascal"):
    """The request of DescribeConfigurationSets."""

    configuration_set_names: list[str] = []


class OptedOutNumber(msgspec.Struct, rename="pascal"):
    """The request of PutOptedOutNumber and DeleteOptedOutNumber."""

    opt_out_list_name: str
    opted_out_number: str


class DescribeOptedOutNumbers(msgspec.Struct, rename="pascal"):
    """The request of DescribeOptedOutNumbers."""

    opt_out_list_name: str
    opted_out_numbers: list[str] = []
    next_token: str | None = None


class EndUserMessaging:
    """The simulated service."""

    def __init__(self, context: Context) -> None:
        self._sent_log = context.sent_log
        self._aws_account = context.provider(AwsAccount)
        self._firehose = context.provider(Firehose)
        self._dice = context.scenarios.declare(NAME)

    def send(self, region: str, content: bytes) -> tuple[dict[str, Any], float, Reply]:
        """Send a message; return the response, its delay in seconds, and LOST or HANG if it is not to be sent."""
        call = self._dice.call()
        if call.status is not None:
            raise _failure(call.status)
        message = _decode(content, SendTextMessage)
        _check(message)
        name = message.configuration_set_name
        configuration = None if name is None else self.find_set(name, "sms-voice:SendTextMessage")
        address = message.destination_phone_number
        scenario = self._dice.message(address)
        if address in self._aws_account.opted_out:
            scenario = Scenario("opted_out", Reply.OPTED_OUT)
        self._refuse(scenario, address)
        message_id = str(uuid.uuid4())
        if message.dry_run:
            return {"MessageId": message_id}, call.delay, Reply.ACCEPTED
        text = message.message_body or ""
        self._sent_log.add(NAME, address, text, message.context.get("mid", ""), message_id, scenario.word)
        if "stop" in scenario.steps:
            self._aws_account.opted_out[address] = clock.now_us()
        if scenario.steps and configuration is not None and _has_stream(configuration):
            events = make_events(message, scenario.steps, message_id, clock.now_us() // 1000, configuration.events)
            self._firehose.put(configuration.stream or "", region, events, scenario.delay)
        return {"MessageId": message_id}, call.delay, Reply.LOST if call.lost else scenario.reply

    def describe_sets(self, region: str, content: bytes) -> dict[str, Any]:
        """Return the requested configuration sets; `default` if no name is given."""
        names = _decode(content, DescribeConfigurationSets).configuration_set_names or ["default"]
        action = "sms-voice:DescribeConfigurationSets"
        return {"ConfigurationSets": [self._show(name, self.find_set(name, action), region) for name in names]}

    def put_opted_out(self, region: str, content: bytes) -> dict[str, Any]:
        """Add a number to the list."""
        parameters = _decode(content, OptedOutNumber)
        if not _NUMBER(parameters.opted_out_number):
            raise _invalid("OptedOutNumber", "The number is not valid")
        at = self._aws_account.opted_out.setdefault(parameters.opted_out_number, clock.now_us())
        return _list(parameters.opt_out_list_name, region) | _opted_out(parameters.opted_out_number, at)

    def delete_opted_out(self, region: str, content: bytes) -> dict[str, Any]:
        """Remove a number from the list."""
        parameters = _decode(content, OptedOutNumber)
        at = self._aws_account.opted_out.pop(parameters.opted_out_number, None)
        if at is None:
            raise _no_such("opted-out-number", parameters.opted_out_number)
        return _list(parameters.opt_out_list_name, region) | _opted_out(parameters.opted_out_number, at)

    def describe_opted_out(self, region: str, content: bytes) -> dict[str, Any]:
        """Return a page of the list, or the requested numbers."""
        parameters = _decode(content, DescribeOptedOutNumbers)
        known = self._aws_account.opted_out
        for number in parameters.opted_out_numbers:
            if number not in known:
                raise _no_such("opted-out-number", number)
        numbers = sorted(
            number for number in parameters.opted_out_numbers or known if number > (parameters.next_token or "")
        )
        answer = _list(parameters.opt_out_list_name, region)
        answer["OptedOutNumbers"] = [_opted_out(number, known[number]) for number in numbers[:PAGE]]
        if len(numbers) > PAGE:
            answer["NextToken"] = numbers[PAGE - 1]
        return answer

    def find_set(self, name: str, action: str) -> ConfigurationSet:
        """Return the configuration set of this name; raise Refused if it does not exist or has `trouble`."""
        found = self._aws_account.configuration_set(name)
        if found.trouble:
            raise trouble(found.trouble, action)
        if not found.exists:
            raise _no_such("configuration-set", name)
        return found

    def _refuse(self, scenario: Scenario, address: str) -> None:
        """Raise Refused unless the scenario accepts the message."""
        if scenario.word == "max_price":
            raise Refused(
                "ServiceQuotaExceededException",
                402,
                "The monthly spend limit for text messages is reached",
                Reason="MONTHLY_SPEND_LIMIT_REACHED_FOR_TEXT",
            )
        match scenario.reply:
            case Reply.INVALID:
                raise _invalid("DestinationPhoneNumber", "The phone number is not valid")
            case Reply.REJECTED:
                reason = "DESTINATION_COUNTRY_BLOCKED_BY_PROTECT_CONFIGURATION"
                raise Refused("ConflictException", 409, "The country is blocked", Reason=reason)
            case Reply.OPTED_OUT:
                raise Refused(
                    "ConflictException",
                    409,
                    "The destination phone number has opted out",
                    Reason="DESTINATION_PHONE_NUMBER_OPTED_OUT",
                    ResourceType="opted-out-number",
                    ResourceId=address,
                )
            case Reply.THROTTLED:
                raise _failure(429)
            case Reply.TEMPORARY | Reply.UNKNOWN:
                raise _failure(500)
            case Reply.ERROR:
                raise _failure(self._dice.settings.error_status)

    def _show(self, name: str, found: ConfigurationSet, region: str) -> dict[str, Any]:
        destinations: list[dict[str, Any]] = []
        if found.stream is not None:
            destination: dict[str, Any] = {
                "EventDestinationName": "events",
                "Enabled": found.enabled,
                "MatchingEventTypes": found.events,
            }
            match found.destination:
                case "firehose":
                    arn = stream_arn(self._aws_account.stream(found.stream), found.stream, region)
                    role = f"arn:aws:iam::{ACCOUNT}:role/events"
                    destination["KinesisFirehoseDestination"] = {"IamRoleArn": role, "DeliveryStreamArn": arn}
                case "sns":
                    destination["SnsDestination"] = {"TopicArn": f"arn:aws:sns:{region}:{ACCOUNT}:events"}
                case "cloudwatch":
                    destination["CloudWatchLogsDestination"] = {
                        "IamRoleArn": f"arn:aws:iam::{ACCOUNT}:role/events",
                        "LogGroupArn": f"arn:aws:logs:{region}:{ACCOUNT}:log-group:events",
                    }
            destinations.append(destination)
        return {
            "ConfigurationSetArn": f"arn:aws:sms-voice:{region}:{ACCOUNT}:configuration-set/{name}",
            "ConfigurationSetName": name,
            "EventDestinations": destinations,
            "DefaultMessageType": "TRANSACTIONAL",
            "CreatedTimestamp": 1_790_000_000.0,
        }


def make_events(
    message: SendTextMessage, steps: tuple[str, ...], message_id: str, now: int, matching: tuple[str, ...]
) -> list[bytes]:
    """Return the events of one message that a destination subscribes to (AWS's page "Event types for SMS")."""
    events = []
    address, text = message.destination_phone_number, message.message_body or ""
    for step, moment in zip(steps, moments(steps), strict=True):
        status = EVENTS.get(step)
        if status is None or not {"ALL", "TEXT_ALL", f"TEXT_{status}"} & set(matching):
            continue
        events.append(
            msgspec.json.encode(
                {
                    "eventType": f"TEXT_{status}",
                    "eventVersion": "1.0",
                    "eventTimestamp": now + moment,
                    "isFinal": step != "queued",
                    "originationPhoneNumber": message.origination_identity or "+18335550100",
                    "destinationPhoneNumber": address,
                    "isoCountryCode": country(address),
                    "isInternationalSend": False,
                    "mcc": "310",
                    "mnc": "260",
                    "carrierName": "Example Mobile",
                    "messageId": message_id,
                    "messageRequestTimestamp": now,
                    "messageEncoding": "GSM" if text.isascii() else "Unicode",
                    "messageType": message.message_type or "TRANSACTIONAL",
                    "messageStatus": status,
                    "messageStatusDescription": f"Message is {status.lower().replace('_', ' ')}",
                    "context": message.context,
                    "totalMessageParts": parts(text),
                    "totalMessagePrice": 0.00581,
                    "totalCarrierFee": 0.003,
                }
            )
        )
    return events


def _has_stream(configuration: ConfigurationSet) -> bool:
    return configuration.enabled and configuration.destination == "firehose" and configuration.stream is not None


def _check(message: SendTextMessage) -> None:
    """Raise Refused if a field is not valid (limits of the API's model)."""
    if not _NUMBER(message.destination_phone_number) or len(message.destination_phone_number) > 20:
        raise _invalid("DestinationPhoneNumber", "The phone number is not valid")
    if message.message_body is not None and not 1 <= len(message.message_body) <= 1600:
        raise _invalid("MessageBody", "The body must have 1 to 1600 characters")
    if message.message_body is None or not message.message_body.strip():
        raise _invalid("MessageBody", "The body is blank")
    if message.message_type not in (None, "TRANSACTIONAL", "PROMOTIONAL"):
        raise _invalid("MessageType", "The type must be TRANSACTIONAL or PROMOTIONAL")
    if len(message.context) > 5:
        raise _invalid("Context", "The context may have at most 5 entries")
    if any(not 1 <= len(key) <= 100 or not 1 <= len(value) <= 800 for key, value in message.context.items()):
        raise _invalid("Context", "A key of the context must have 1 to 100 characters, a value 1 to 800")
    if message.time_to_live is not None and not 5 <= message.time_to_live <= 259_200:
        raise _invalid("TimeToLive", "The time to live must be 5 to 259200 seconds")
    if message.max_price is not None and not re.fullmatch(r"[0-9]{0,2}\.[0-9]{1,5}", message.max_price):
        raise _invalid("MaxPrice", "The price is not valid")
    identity = message.origination_identity
    if identity is not None and identity.startswith("missing"):
        raise _no_such("phone-number", identity)


def _decode(content: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(content or b"{}", type=kind)
    except msgspec.DecodeError as error:
        raise Refused("ValidationException", 400, f"The body is not valid: {error}", Reason="CANNOT_PARSE") from error


def _invalid(field: str, message: str) -> Refused:
    fields = [{"Name": field, "Message": message}]
    return Refused("ValidationException", 400, message, Reason="FIELD_VALIDATION_FAILED", Fields=fields)


def _no_such(kind: str, name: str) -> Refused:
    return Refused(
        "ResourceNotFoundException", 404, f"The {kind} {name} does not exist", ResourceType=kind, ResourceId=name
    )


def _failure(status: int) -> Refused:
    kind = "ThrottlingException" if status == 429 else "InternalServerException"
    return Refused(kind, status, "Failed by configuration")


def _list(name: str, region: str) -> dict[str, Any]:
    arn = f"arn:aws:sms-voice:{region}:{ACCOUNT}:opt-out-list/{name}"
    return {"OptOutListArn": arn, "OptOutListName": name}


def _opted_out(number: str, at: int) -> dict[str, Any]:
    return {"OptedOutNumber": number, "OptedOutTimestamp": at / 1_000_000, "EndUserOptedOut": False}
