"""The AWS API at the root of the sink: dispatch by path or X-Amz-Target, signatures and AWS's error formats."""

import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import msgspec

from waypost.errors import NotFound
from waypost.sink.aws.account import ACCOUNT, AwsAccount, Project, Refused, Stream, stream_arn, trouble
from waypost.sink.aws.end_user_messaging import NAME as END_USER_MESSAGING
from waypost.sink.aws.end_user_messaging import EndUserMessaging
from waypost.sink.aws.firehose import Firehose
from waypost.sink.aws.pinpoint import NAME as PINPOINT
from waypost.sink.aws.pinpoint import Pinpoint
from waypost.sink.context import Context, Routes, body, headers, path, pieces
from waypost.sink.faulty_response import Ending, Response, json, reply
from waypost.sink.http_connection import Request
from waypost.sink.scenarios import Reply

#: The name under which calls of Firehose are logged.
FIREHOSE = "firehose"
SEND_TEXT = "PinpointSMSVoiceV2.SendTextMessage"
#: The default page size of ListDeliveryStreams.
PAGE = 10
CREATED = 1_790_000_000.0


class ListStreams(msgspec.Struct, rename="pascal"):
    """The request of ListDeliveryStreams."""

    limit: int = PAGE
    exclusive_start_delivery_stream_name: str = ""


class DescribeStream(msgspec.Struct, rename="pascal"):
    """The request of DescribeDeliveryStream."""

    delivery_stream_name: str


class Aws:
    """The API of the account."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._aws_account = context.provider(AwsAccount)
        self._pinpoint = context.provider(Pinpoint)
        self._end_user_messaging = context.provider(EndUserMessaging)
        end_user_messaging = self._end_user_messaging
        #: By X-Amz-Target: the name in the request log, the signing name, and the handler.
        self._actions: dict[str, tuple[str, str, Callable[[str, bytes], dict[str, Any]]]] = {
            "Firehose_20150804.DescribeDeliveryStream": (FIREHOSE, "firehose", self._describe_stream),
            "Firehose_20150804.ListDeliveryStreams": (FIREHOSE, "firehose", self._list_streams),
            "PinpointSMSVoiceV2.DescribeConfigurationSets": (
                END_USER_MESSAGING,
                "sms-voice",
                end_user_messaging.describe_sets,
            ),
            "PinpointSMSVoiceV2.PutOptedOutNumber": (END_USER_MESSAGING, "sms-voice", end_user_messaging.put_opted_out),
            "PinpointSMSVoiceV2.DeleteOptedOutNumber": (
                END_USER_MESSAGING,
                "sms-voice",
                end_user_messaging.delete_opted_out,
            ),
            "PinpointSMSVoiceV2.DescribeOptedOutNumbers": (
                END_USER_MESSAGING,
                "sms-voice",
                end_user_messaging.describe_opted_out,
            ),
        }

    def configure(self, given: object) -> None:
        """Apply the settings of the account."""
        self._aws_account.configure(given)

    def _latency(self, provider: str) -> float:
        """Return the configured latency of a provider in seconds."""
        return self._context.scenarios.dice(provider).settings.latency

    # Pinpoint, by path.

    def send_messages(self, request: Request) -> Response:
        """SendMessages."""
        self._context.record(PINPOINT, request)
        request_id = str(uuid.uuid4())
        try:
            project_id, project, region = self._project(request, "mobiletargeting:SendMessages")
            return self._pinpoint.send_messages(project_id, project, region, request.body, request_id)
        except Refused as refused:
            return _rest_error(refused, request_id, self._latency(PINPOINT))

    def get_app(self, request: Request) -> Response:
        """GetApp."""
        return self._read(request, "mobiletargeting:GetApp", self._show_app)

    def get_event_stream(self, request: Request) -> Response:
        """GetEventStream."""
        return self._read(request, "mobiletargeting:GetEventStream", self._show_event_stream)

    def _read(self, request: Request, action: str, show: Callable[[str, Project, str], dict[str, Any]]) -> Response:
        self._context.record(PINPOINT, request)
        request_id = str(uuid.uuid4())
        try:
            view = show(*self._project(request, action))
        except Refused as refused:
            return _rest_error(refused, request_id)
        answer_headers = [("Content-Type", "application/json"), ("x-amzn-RequestId", request_id)]
        return reply(200, answer_headers, msgspec.json.encode(view))

    def _project(self, request: Request, action: str) -> tuple[str, Project, str]:
        """Return id and project of a request, and its region."""
        region = self._aws_account.admit(request, "mobiletargeting", action)
        project_id = unquote(path(request).split("/", 4)[3])
        project = self._aws_account.project(project_id)
        if project.trouble:
            raise trouble(project.trouble, action)
        if not project.exists or project.region not in ("", region):
            raise Refused("NotFoundException", 404, "Application not found")
        return project_id, project, region

    def _show_app(self, project_id: str, project: Project, region: str) -> dict[str, Any]:
        return {
            "Arn": f"arn:aws:mobiletargeting:{region}:{ACCOUNT}:apps/{project_id}",
            "Id": project_id,
            "Name": "Waypost sink",
            "tags": {},
            "CreationDate": "2026-09-21T14:13:20.000Z",
        }

    def _show_event_stream(self, project_id: str, project: Project, region: str) -> dict[str, Any]:
        if project.stream is None:
            raise Refused("NotFoundException", 404, "Resource not found")
        return {
            "ApplicationId": project_id,
            "DestinationStreamArn": stream_arn(self._aws_account.stream(project.stream), project.stream, region),
            "LastModifiedDate": "2026-09-21T14:13:20.000Z",
            "LastUpdatedBy": f"arn:aws:iam::{ACCOUNT}:root",
            "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/events",
        }

    # The services with X-Amz-Target.

    def call(self, request: Request) -> Response:
        """Return the response to a call whose action is in the header X-Amz-Target."""
        request_headers = headers(request)
        target = request_headers.get("x-amz-target", "")
        kind = request_headers.get("content-type", "application/x-amz-json-1.1")
        if not target:
            raise NotFound("POST / is for AWS calls, which have the header X-Amz-Target. GET / lists all routes.")
        request_id = str(uuid.uuid4())
        answer_headers = [("Content-Type", kind), ("x-amzn-RequestId", request_id)]
        try:
            if target == SEND_TEXT:
                self._context.record(END_USER_MESSAGING, request)
                region = self._aws_account.admit(request, "sms-voice", "sms-voice:SendTextMessage")
                answer, delay, scenario = self._end_user_messaging.send(region, request.body)
                ending = {Reply.LOST: Ending.CLOSE, Reply.HANG: Ending.HANG}.get(scenario, Ending.KEEP)
                return reply(200, answer_headers, msgspec.json.encode(answer), delay=delay, ending=ending)
            if target not in self._actions:
                raise Refused("UnknownOperationException", 400, f"The sink does not simulate {target[:100]}")
            name, service, act = self._actions[target]
            self._context.record(name, request)
            region = self._aws_account.admit(request, service, f"{service}:{target.rpartition('.')[2]}")
            self._aws_account.note_client_url(request_headers.get("user-agent", ""))
            return reply(200, answer_headers, msgspec.json.encode(act(region, request.body)))
        except Refused as refused:
            delay = self._latency(END_USER_MESSAGING) if target == SEND_TEXT else 0.0
            return _json_error(refused, target, answer_headers, delay)

    def _describe_stream(self, region: str, content: bytes) -> dict[str, Any]:
        name = _decode(content, DescribeStream).delivery_stream_name
        stream = self._aws_account.stream(name)
        if not stream.exists or stream.kind != "firehose" or stream.region not in ("", region):
            message = f"Firehose {name} under account {ACCOUNT} not found."
            raise Refused("ResourceNotFoundException", 400, message)
        return {
            "DeliveryStreamDescription": {
                "DeliveryStreamName": name,
                "DeliveryStreamARN": stream_arn(stream, name, region),
                "DeliveryStreamStatus": stream.status,
                "DeliveryStreamType": "DirectPut",
                "VersionId": "1",
                "CreateTimestamp": CREATED,
                "Destinations": [self._destination(stream)],
                "HasMoreDestinations": False,
            }
        }

    def _destination(self, stream: Stream) -> dict[str, Any]:
        """Return the description of a stream's destination; it never contains the access key."""
        role = f"arn:aws:iam::{ACCOUNT}:role/firehose"
        bucket = {
            "RoleARN": role,
            "BucketARN": "arn:aws:s3:::receipts",
            "BufferingHints": {"SizeInMBs": 5, "IntervalInSeconds": 300},
            "CompressionFormat": "UNCOMPRESSED",
            "EncryptionConfiguration": {"NoEncryptionConfig": "NoEncryption"},
        }
        if stream.destination == "s3":
            return {"DestinationId": "destinationId-000000000001", "S3DestinationDescription": bucket}
        settings = self._context.provider(Firehose).settings
        return {
            "DestinationId": "destinationId-000000000001",
            "HttpEndpointDestinationDescription": {
                "EndpointConfiguration": {
                    "Url": self._aws_account.url(stream) or self._aws_account.client_url,
                    "Name": "Waypost",
                },
                "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 60},
                "RequestConfiguration": {"ContentEncoding": "GZIP" if settings.gzip else "NONE"},
                "RoleARN": role,
                "RetryOptions": {"DurationInSeconds": 300},
                "S3BackupMode": "FailedDataOnly",
                "S3DestinationDescription": bucket,
            },
        }

    def _list_streams(self, region: str, content: bytes) -> dict[str, Any]:
        parameters = _decode(content, ListStreams)
        names = sorted(
            name
            for name, stream in self._aws_account.streams.items()
            if stream.exists
            and stream.kind == "firehose"
            and stream.region in ("", region)
            and name > parameters.exclusive_start_delivery_stream_name
        )
        limit = max(parameters.limit, 1)
        return {"DeliveryStreamNames": names[:limit], "HasMoreDeliveryStreams": len(names) > limit}

    # The routes of the sink itself.

    def show(self, request: Request) -> Response:
        """Return settings and resources of the account, without secrets."""
        aws_account = self._aws_account
        return json(
            {
                "tracker_url": aws_account.settings.tracker_url,
                "access_key_ids": sorted(aws_account.settings.credentials),
                "denied": aws_account.settings.denied,
                "projects": aws_account.projects,
                "streams": {name: _without_key(stream) for name, stream in aws_account.streams.items()},
                "configuration_sets": aws_account.configuration_sets,
                "opted_out": sorted(aws_account.opted_out),
            }
        )

    def change(self, request: Request) -> Response:
        """Apply settings, and return the account."""
        self._aws_account.configure(body(request))
        return self.show(request)

    def clear(self, request: Request) -> Response:
        """Restore the initial settings and resources."""
        self._aws_account.reset()
        return self.show(request)

    def put(self, request: Request) -> Response:
        """Create or replace a project, a stream or a configuration set."""
        _, kind, name = pieces(request)
        return json({"name": name, **msgspec.to_builtins(self._aws_account.put(kind, name, body(request)))})


def _without_key(stream: Stream) -> dict[str, Any]:
    view: dict[str, Any] = msgspec.to_builtins(stream)
    del view["access_key"]
    return view


def _rest_error(refused: Refused, request_id: str, delay: float = 0.0) -> Response:
    """Return the error of a REST service; signature errors come from AWS's front end, which writes `message`."""
    modelled = refused.kind[:-9] not in ("MissingAuthenticationToken", "UnrecognizedClient", "InvalidSignature")
    document = {"Message": refused.message, "RequestID": request_id} if modelled else {"message": refused.message}
    answer_headers = [
        ("Content-Type", "application/json"),
        ("x-amzn-RequestId", request_id),
        ("x-amzn-ErrorType", refused.kind),
    ]
    return reply(refused.status, answer_headers, msgspec.json.encode(document), delay=delay)


def _json_error(refused: Refused, target: str, answer_headers: list[tuple[str, str]], delay: float) -> Response:
    """Return the error of a service with a JSON protocol: its type is in the body, and its status is 400 or 5xx."""
    field = "message" if target.startswith("Firehose") else "Message"
    document = {"__type": refused.kind, field: refused.message, **refused.extra}
    status = refused.status if refused.status >= 500 else 400
    return reply(status, answer_headers, msgspec.json.encode(document), delay=delay)


def _decode(content: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(content or b"{}", type=kind)
    except msgspec.DecodeError as error:
        raise Refused("SerializationException", 400, str(error)) from error


ROUTES: Routes = {
    ("POST", "/"): Aws.call,
    ("POST", "/v1/apps/{id}/messages"): Aws.send_messages,
    ("GET", "/v1/apps/{id}"): Aws.get_app,
    ("GET", "/v1/apps/{id}/eventstream"): Aws.get_event_stream,
    ("GET", "/aws"): Aws.show,
    ("PUT", "/aws"): Aws.change,
    ("DELETE", "/aws"): Aws.clear,
    ("PUT", "/aws/projects/{id}"): Aws.put,
    ("PUT", "/aws/streams/{name}"): Aws.put,
    ("PUT", "/aws/configuration-sets/{name}"): Aws.put,
}
