"""What the played AWS account holds: projects, delivery streams, configuration sets, and who may do what."""

import re
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from waypost.errors import Invalid
from waypost.sink.aws.sigv4 import fits, read_signature
from waypost.sink.context import Context, read_settings
from waypost.sink.http_connection import Request

ACCOUNT = "111122223333"
#: A region in which there is no Pinpoint, so that it is never the one a project is in.
ELSEWHERE = "eu-north-1"
#: So many things of a kind can be put.
MOST = 10_000

#: The URL in a user agent such as `Waypost/1.0 (+https://waypost.example/tracking/amazon-pinpoint-events)`.
_CALLER = re.compile(r"\(\+(https?://[!-'*-~]{1,2000})\)")

T = TypeVar("T")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]+").fullmatch


class Stream(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A delivery stream."""

    exists: bool = True
    #: What its ARN is of.
    kind: Literal["firehose", "kinesis"] = "firehose"
    status: str = "ACTIVE"
    destination: Literal["http", "s3"] = "http"
    #: Where an HTTP destination leads, and with which key; those of PUT /aws unless given.
    url: str | None = None
    access_key: str | None = None
    #: That of the caller unless given.
    region: str = ""
    account: str = ACCOUNT


class Project(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A Pinpoint project."""

    exists: bool = True
    #: Unknown in every other region; empty: known in all.
    region: str = ""
    #: The name of the stream that its events go to; None: it has no event stream.
    stream: str | None = "receipts"
    #: What every call gets instead of its answer.
    trouble: Literal["", "denied", "busy", "broken"] = ""


class ConfigurationSet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A configuration set of End User Messaging."""

    exists: bool = True
    stream: str | None = "receipts"
    #: What its only event destination leads to.
    destination: Literal["firehose", "sns", "cloudwatch"] = "firehose"
    enabled: bool = True
    events: tuple[str, ...] = ("TEXT_ALL",)
    trouble: Literal["", "denied", "busy", "broken"] = ""


class AccountSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a run can set for the account."""

    #: Where streams lead, and with which access key, unless they say otherwise.
    tracker_url: str = ""
    access_key: Annotated[str, Meta(max_length=4096)] = ""
    #: Access key ids with their secrets. Any key is taken, and no signature is computed, while there are none.
    credentials: dict[str, str] = {}
    #: Refused actions, such as firehose:DescribeDeliveryStream or firehose:*.
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
#: What an id that nobody has put stands for, by how it begins: in words, or in hexadecimal digits as real ids have.
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
    """AWS says no: the type of its exception, its status over REST, and what else its body has."""

    def __init__(self, kind: str, status: int, message: str, **extra: Any) -> None:
        super().__init__(message)
        self.kind = kind
        self.status = status
        self.message = message
        self.extra = extra


class AwsAccount:
    """The account's contents."""

    def __init__(self, _context: Context) -> None:
        self.reset()

    def reset(self) -> None:
        """As it was before anything was put."""
        self.settings = AccountSettings()
        self.caller = ""
        self.projects: dict[str, Project] = {}
        self.streams: dict[str, Stream] = dict(STREAMS)
        self.configuration_sets: dict[str, ConfigurationSet] = {}
        #: Numbers that are opted out, with when, in microseconds.
        self.opted_out: dict[str, int] = {}

    def configure(self, given: object) -> None:
        """Take the account's settings; what is not given has its default."""
        self.settings = read_settings(given, AccountSettings)

    def project(self, name: str) -> Project:
        """The project with this id."""
        return self.projects.get(name) or _by_start(PROJECTS, name) or Project()

    def configuration_set(self, name: str) -> ConfigurationSet:
        """The configuration set of this name."""
        return self.configuration_sets.get(name) or _by_start(CONFIGURATION_SETS, name) or ConfigurationSet()

    def stream(self, name: str) -> Stream:
        """The delivery stream of this name."""
        return self.streams.get(name) or Stream(exists=False)

    def url(self, stream: Stream) -> str:
        """Where a stream's HTTP destination leads."""
        return self.settings.tracker_url if stream.url is None else stream.url

    def note_caller(self, user_agent: str) -> None:
        """Remember the URL that a caller names as its own: streams are said to lead there until somebody tells."""
        found = _CALLER.search(user_agent)
        if found is not None:
            self.caller = found[1]

    def access_key(self, stream: Stream) -> str:
        """What a stream shows its destination."""
        return self.settings.access_key if stream.access_key is None else stream.access_key

    def put(self, kind: str, name: str, given: object) -> msgspec.Struct:
        """Put a project, a stream or a configuration set."""
        match kind:
            case "projects":
                return _put(self.projects, name, read_settings(given, Project))
            case "streams":
                return _put(self.streams, name, read_settings(given, Stream))
            case _:
                return _put(self.configuration_sets, name, read_settings(given, ConfigurationSet))

    def admit(self, request: Request, service: str, action: str) -> str:
        """The region that a request is signed for; Refused when it may not be made.

        An access key that begins with AKIADENIED may do nothing.
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
            if not fits(request, signature, settings.credentials[key]):
                raise Refused(
                    "InvalidSignatureException",
                    403,
                    "The request signature we calculated does not match the signature you provided.",
                )
        if key.startswith("AKIADENIED") or any(fnmatchcase(action, pattern) for pattern in settings.denied):
            raise denial(action)
        return signature.region


def denial(action: str) -> Refused:
    """What somebody gets who may not do this."""
    kind = "ForbiddenException" if action.startswith("mobiletargeting:") else "AccessDeniedException"
    return Refused(kind, 403, f"User is not authorized to perform: {action}")


def trouble(kind: str, action: str) -> Refused:
    """What a project or a configuration set answers that is in trouble."""
    rest = action.startswith("mobiletargeting:")
    match kind:
        case "busy":
            return Refused("TooManyRequestsException" if rest else "ThrottlingException", 429, "Rate exceeded")
        case "broken":
            internal = "InternalServerErrorException" if rest else "InternalServerException"
            return Refused(internal, 500, "Internal failure")
    return denial(action)


def stream_arn(stream: Stream, name: str, region: str) -> str:
    """The ARN of a stream that is spoken of in a region."""
    what = f"deliverystream/{name}" if stream.kind == "firehose" else f"stream/{name}"
    return f"arn:aws:{stream.kind}:{stream.region or region}:{stream.account}:{what}"


def _put(kept: dict[str, T], name: str, made: T) -> T:
    if len(kept) >= MOST and name not in kept:
        raise Invalid(f"At most {MOST} of a kind can be put.", code="invalid_settings")
    kept[name] = made
    return made


def _by_start(kept: dict[str, T], name: str) -> T | None:
    """What stands under the beginning of a name."""
    for start, found in kept.items():
        if name.startswith(start):
            return found
    return None
