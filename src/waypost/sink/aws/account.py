"""The simulated AWS account: projects, delivery streams, configuration sets and permissions."""

import re
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from waypost.errors import Invalid
from waypost.sink.aws.sigv4 import is_valid, read_signature
from waypost.sink.context import Context, read_settings
from waypost.sink.http_connection import Request

ACCOUNT = "111122223333"
#: A region without Pinpoint, so no project is in it.
ELSEWHERE = "eu-north-1"
#: The most resources of each kind.
MOST = 10_000

#: The URL in a user agent such as `Waypost/1.0 (+https://waypost.example/tracking/amazon-pinpoint-events)`.
_CLIENT_URL = re.compile(r"\(\+(https?://[!-'*-~]{1,2000})\)")

T = TypeVar("T")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]+").fullmatch


class Stream(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A delivery stream."""

    exists: bool = True
    #: The service in its ARN.
    kind: Literal["firehose", "kinesis"] = "firehose"
    status: str = "ACTIVE"
    destination: Literal["http", "s3"] = "http"
    #: URL and access key of an HTTP destination; by default those of PUT /aws.
    url: str | None = None
    access_key: str | None = None
    #: By default the region of the request.
    region: str = ""
    account: str = ACCOUNT


class Project(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A Pinpoint project."""

    exists: bool = True
    #: The only region where it exists; if empty, it exists in all.
    region: str = ""
    #: The name of its event stream; None if it has none.
    stream: str | None = "receipts"
    #: The error that every call gets.
    trouble: Literal["", "denied", "busy", "broken"] = ""


class ConfigurationSet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A configuration set of End User Messaging."""

    exists: bool = True
    stream: str | None = "receipts"
    #: The kind of its only event destination.
    destination: Literal["firehose", "sns", "cloudwatch"] = "firehose"
    enabled: bool = True
    events: tuple[str, ...] = ("TEXT_ALL",)
    trouble: Literal["", "denied", "busy", "broken"] = ""


class AccountSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of the account."""

    #: The default URL and access key of streams.
    tracker_url: str = ""
    access_key: Annotated[str, Meta(max_length=4096)] = ""
    #: Secrets by access key id. If empty, any key is accepted and signatures are not verified.
    credentials: dict[str, str] = {}
    #: Denied actions, such as firehose:DescribeDeliveryStream or firehose:*.
    denied: list[str] = []


STREAMS: dict[str, Stream] = {
    "receipts": Stream(),
    "streamless": Stream(exists=False),
    "kinesis": Stream(kind="kinesis"),
    "elsewhere": Stream(region=ELSEWHERE),
    "creating": Stream(status="CREATING"),
    "s3only": Stream(destination="s3"),
    "othertracker": Stream(url="https://elsewhere.example/tracking/amazon-pinpoint-events"),
}
#: Predefined projects by the prefix of their id: a word, or hexadecimal digits as in real ids.
PROJECTS: dict[str, Project] = {
    "missing": Project(exists=False),
    "denied": Project(trouble="denied"),
    "busy": Project(trouble="busy"),
    "broken": Project(trouble="broken"),
    "elsewhere": Project(stream="elsewhere"),
    "unlinked": Project(stream=None),
    "kinesis": Project(stream="kinesis"),
    "streamless": Project(stream="streamless"),
    "creating": Project(stream="creating"),
    "s3only": Project(stream="s3only"),
    "othertracker": Project(stream="othertracker"),
    "00002001": Project(exists=False),
    "00002002": Project(stream=None),
    "00002003": Project(stream="streamless"),
    "00002004": Project(stream="creating"),
    "00002005": Project(stream="s3only"),
    "00002006": Project(stream="othertracker"),
}
CONFIGURATION_SETS: dict[str, ConfigurationSet] = {
    "missing": ConfigurationSet(exists=False),
    "denied": ConfigurationSet(trouble="denied"),
    "busy": ConfigurationSet(trouble="busy"),
    "broken": ConfigurationSet(trouble="broken"),
    "elsewhere": ConfigurationSet(stream="elsewhere"),
    "unlinked": ConfigurationSet(stream=None),
    "disabled": ConfigurationSet(enabled=False),
    "voice": ConfigurationSet(events=("VOICE_ALL",)),
    "sns": ConfigurationSet(destination="sns"),
    "cloudwatch": ConfigurationSet(destination="cloudwatch"),
    "streamless": ConfigurationSet(stream="streamless"),
    "creating": ConfigurationSet(stream="creating"),
    "s3only": ConfigurationSet(stream="s3only"),
    "othertracker": ConfigurationSet(stream="othertracker"),
}


class Refused(Exception):
    """An AWS error: the type of its exception, its status over REST, and the other fields of its body."""

    def __init__(self, kind: str, status: int, message: str, **extra: Any) -> None:
        super().__init__(message)
        self.kind = kind
        self.status = status
        self.message = message
        self.extra = extra


class AwsAccount:
    """The resources and settings of the account."""

    def __init__(self, _context: Context) -> None:
        self.reset()

    def reset(self) -> None:
        """Restore the initial settings and resources."""
        self.settings = AccountSettings()
        self.client_url = ""
        self.projects: dict[str, Project] = {}
        self.streams: dict[str, Stream] = dict(STREAMS)
        self.configuration_sets: dict[str, ConfigurationSet] = {}
        #: The time of opt-out by phone number, in microseconds.
        self.opted_out: dict[str, int] = {}

    def configure(self, given: object) -> None:
        """Apply settings; omitted fields have their default."""
        self.settings = read_settings(given, AccountSettings)

    def project(self, name: str) -> Project:
        """Return the project with this id."""
        return self.projects.get(name) or _by_prefix(PROJECTS, name) or Project()

    def configuration_set(self, name: str) -> ConfigurationSet:
        """Return the configuration set of this name."""
        return self.configuration_sets.get(name) or _by_prefix(CONFIGURATION_SETS, name) or ConfigurationSet()

    def stream(self, name: str) -> Stream:
        """Return the delivery stream of this name."""
        return self.streams.get(name) or Stream(exists=False)

    def url(self, stream: Stream) -> str:
        """Return the URL of a stream's HTTP destination."""
        return self.settings.tracker_url if stream.url is None else stream.url

    def note_client_url(self, user_agent: str) -> None:
        """Store the URL in a client's user agent: it is the default URL of streams until tracker_url is set."""
        found = _CLIENT_URL.search(user_agent)
        if found is not None:
            self.client_url = found[1]

    def access_key(self, stream: Stream) -> str:
        """Return the access key that a stream sends to its destination."""
        return self.settings.access_key if stream.access_key is None else stream.access_key

    def put(self, kind: str, name: str, given: object) -> msgspec.Struct:
        """Create or replace a project, a stream or a configuration set."""
        match kind:
            case "projects":
                return _put(self.projects, name, read_settings(given, Project))
            case "streams":
                return _put(self.streams, name, read_settings(given, Stream))
            case _:
                return _put(self.configuration_sets, name, read_settings(given, ConfigurationSet))

    def admit(self, request: Request, service: str, action: str) -> str:
        """Return the region that a request is signed for; raise Refused if it is not authorized.

        Access keys that begin with AKIADENIED have no permissions.
        """
        signature = read_signature(request)
        if signature is None:
            raise Refused("MissingAuthenticationTokenException", 403, "Missing Authentication Token")
        key, settings = signature.access_key, self.settings
        if signature.service != service:
            raise Refused(
                "InvalidSignatureException", 403, f"Credential should be scoped to correct service: '{service}'."
            )
        if _REGION(signature.region) is None:
            raise Refused("InvalidSignatureException", 403, "Credential should be scoped to a valid region.")
        if settings.credentials:
            if key not in settings.credentials:
                raise Refused(
                    "UnrecognizedClientException", 403, "The security token included in the request is invalid."
                )
            if not is_valid(request, signature, settings.credentials[key]):
                raise Refused(
                    "InvalidSignatureException",
                    403,
                    "The request signature we calculated does not match the signature you provided.",
                )
        if key.startswith("AKIADENIED") or any(fnmatchcase(action, pattern) for pattern in settings.denied):
            raise denial(action)
        return signature.region


def denial(action: str) -> Refused:
    """Return the error for an action without permission."""
    kind = "ForbiddenException" if action.startswith("mobiletargeting:") else "AccessDeniedException"
    return Refused(kind, 403, f"User is not authorized to perform: {action}")


def trouble(kind: str, action: str) -> Refused:
    """Return the error for the `trouble` of a project or configuration set."""
    rest = action.startswith("mobiletargeting:")
    match kind:
        case "busy":
            return Refused("TooManyRequestsException" if rest else "ThrottlingException", 429, "Rate exceeded")
        case "broken":
            internal = "InternalServerErrorException" if rest else "InternalServerException"
            return Refused(internal, 500, "Internal failure")
    return denial(action)


def stream_arn(stream: Stream, name: str, region: str) -> str:
    """Return the ARN of a stream; `region` applies if the stream has none of its own."""
    resource = f"deliverystream/{name}" if stream.kind == "firehose" else f"stream/{name}"
    return f"arn:aws:{stream.kind}:{stream.region or region}:{stream.account}:{resource}"


def _put(resources: dict[str, T], name: str, resource: T) -> T:
    if len(resources) >= MOST and name not in resources:
        raise Invalid(f"There can be at most {MOST} resources of a kind.", code="invalid_settings")
    resources[name] = resource
    return resource


def _by_prefix(resources: dict[str, T], name: str) -> T | None:
    """Return the resource whose key is a prefix of the name."""
    for prefix, found in resources.items():
        if name.startswith(prefix):
            return found
    return None
