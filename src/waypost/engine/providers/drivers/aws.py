"""Calls to AWS: find the endpoint of a service, sign the request, read the response."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec

from waypost.domain.providers.setup_checks import CallResult
from waypost.engine.net.curl_transfer import USER_AGENT
from waypost.engine.net.outbound import Outbound
from waypost.engine.net.request import READ_BODY, Request, Response

#: By the first part of a service's host: the name in its signatures (from botocore's service models).
SIGNED_AS = {"pinpoint": "mobiletargeting", "sms-voice": "sms-voice", "firehose": "firehose"}
CALL_TIMEOUT_MS = 5000
#: Keeps libcurl from adding the content type of a form to a request without a body.
NO_CONTENT_TYPE = "Content-Type:"

#: The form of region names, which is safe in a host name: `us-east-1`, `us-gov-west-1`, `cn-north-1`.
_REGION = re.compile(r"[a-z]{2,8}(-[a-z]{2,12}){1,3}-[0-9]{1,2}\Z")
_ERROR_TYPE = re.compile(r"[A-Za-z0-9_.-]{1,100}\Z")
_decode = msgspec.json.Decoder().decode


class Target(msgspec.Struct, frozen=True):
    """One operation: REST by method and path, or AWS JSON by its target and version."""

    #: The action in an IAM policy: `firehose:DescribeDeliveryStream`.
    name: str
    service: str
    method: str
    path: str
    #: The `X-Amz-Target` header of the JSON protocols.
    target: str = ""
    content_type: str = ""


GET_EVENT_STREAM = Target("mobiletargeting:GetEventStream", "pinpoint", "GET", "/v1/apps/{}/eventstream")
GET_APP = Target("mobiletargeting:GetApp", "pinpoint", "GET", "/v1/apps/{}")
DESCRIBE_STREAM = Target(
    "firehose:DescribeDeliveryStream",
    "firehose",
    "POST",
    "/",
    "Firehose_20150804.DescribeDeliveryStream",
    "application/x-amz-json-1.1",
)
LIST_STREAMS = Target(
    "firehose:ListDeliveryStreams",
    "firehose",
    "POST",
    "/",
    "Firehose_20150804.ListDeliveryStreams",
    "application/x-amz-json-1.1",
)
DESCRIBE_CONFIGURATION_SETS = Target(
    "sms-voice:DescribeConfigurationSets",
    "sms-voice",
    "POST",
    "/",
    "PinpointSMSVoiceV2.DescribeConfigurationSets",
    "application/x-amz-json-1.0",
)


class _Keys(msgspec.Struct, frozen=True):
    """Credentials with the attributes that botocore reads."""

    access_key: str
    secret_key: str
    token: str


def well_formed(region: str) -> bool:
    """Return whether a name has the form of a region; only AWS knows whether the region exists."""
    return _REGION.match(region) is not None


def endpoint(service: str, config: Mapping[str, Any]) -> str:
    """Return the base URL of a service, without a slash at its end.

    It is the connection's `endpoint_url`, if there is one, for every service; otherwise that of AWS for the region.
    """
    own = str(config.get("endpoint_url") or "")
    if own:
        return own.rstrip("/")
    region = str(config["region"])
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"https://{service}.{region}.{domain}"


def sign(
    method: str,
    url: str,
    headers: list[str],
    body: bytes,
    *,
    service: str,
    region: str,
    access_key: str,
    secret_key: str,
    session_token: str = "",
    now: int,
) -> list[str]:
    """Return the header lines to send: the given ones, and those of Signature Version 4 at `now`.

    All given headers are signed, except those that botocore never signs (such as `user-agent`). `service` is the name
    in the signature: `mobiletargeting`, `sms-voice`, `firehose`.
    """
    # Loaded at the first signature: botocore and its libraries take a tenth of the start, and many servers never sign.
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest

    second = datetime.fromtimestamp(now // 1_000_000, UTC).strftime("%Y%m%dT%H%M%SZ")
    added = {"X-Amz-Date": second}
    if session_token:
        added["X-Amz-Security-Token"] = session_token
    request = AWSRequest(method, url, {**_pairs(headers), **added}, body)
    # The steps of `SigV4Auth.add_auth`, which itself would read the clock and write the request to the debug log.
    request.context["timestamp"] = second
    auth = SigV4Auth(_Keys(access_key, secret_key, session_token), service, region)
    signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    signed = auth.signed_headers(auth.headers_to_sign(request))
    return [
        *headers,
        *(f"{name}: {value}" for name, value in added.items()),
        f"Authorization: AWS4-HMAC-SHA256 Credential={auth.scope(request)}, SignedHeaders={signed}, "
        f"Signature={signature}",
    ]


def signed_request(
    target: Target, config: Mapping[str, Any], now: int, body: bytes, *path: str, timeout_ms: int
) -> Request:
    """Return a signed request for an operation; `path` fills the placeholders in its path."""
    url = endpoint(target.service, config) + target.path.format(*(quote(part, safe="") for part in path))
    headers = [f"Content-Type: {target.content_type}"] if target.content_type else []
    if target.target:
        headers.append(f"X-Amz-Target: {target.target}")
    lines = sign(
        target.method,
        url,
        headers,
        body,
        service=SIGNED_AS[target.service],
        region=str(config["region"]),
        access_key=str(config["access_key"]),
        secret_key=str(config["secret_key"]),
        session_token=str(config.get("session_token") or ""),
        now=now,
    )
    if not headers:
        lines.append(NO_CONTENT_TYPE)
    return Request(url, body, lines, timeout_ms, method=target.method, keep=READ_BODY)


async def call(
    outbound: Outbound,
    target: Target,
    config: Mapping[str, Any],
    now: int,
    body: Mapping[str, Any] | None = None,
    *path: str,
    timeout_ms: int = CALL_TIMEOUT_MS,
    caller: str = "",
) -> CallResult:
    """Make one call and return its result. The call is not retried; the caller decides about that.

    `caller` is a URL of Waypost for the user agent, so that the log of the account (CloudTrail) names the source of the
    call. Raises Unavailable when this process stops, and nothing for any response.
    """
    data = b"" if body is None else msgspec.json.encode(body)
    request = signed_request(target, config, now, data, *path, timeout_ms=timeout_ms)
    if caller:
        request.headers.append(f"User-Agent: {USER_AGENT} (+{caller})")
    response, _ = await outbound.fetch(request)
    return read_call_result(response)


def read_call_result(response: Response) -> CallResult:
    """Return the JSON body and the error of a response; never raises."""
    if response.status is None:
        return CallResult(trouble=response.error or "no answer", sent=response.sent)
    body = decode_object(response.body)
    if 200 <= response.status < 300:
        return CallResult(status=response.status, body=body)
    message = _text(body, "Message", "message", "errorMessage")
    return CallResult(status=response.status, body=body, error=error_type(response, body), message=message)


def error_type(response: Response, body: Mapping[str, Any] | None) -> str | None:
    """Return the bare name of the error in a response: from the header, or from `__type` or `code` in the body."""
    name = next((value for header, value in response.headers if header == "x-amzn-errortype"), None)
    name = name or _text(body, "__type", "code", "Code")
    if name is None:
        return None
    # For example `com.amazonaws.firehose#ThrottlingException:http://internal.amazon.com/`.
    bare = name.partition(":")[0].rpartition("#")[2].strip()
    return bare if _ERROR_TYPE.match(bare) else None


def decode_object(data: bytes) -> dict[str, Any] | None:
    """Return the JSON object of a body, or None if it is not one."""
    try:
        found = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _text(body: Mapping[str, Any] | None, *names: str) -> str | None:
    for name in names if body else ():
        value = body.get(name) if body else None
        if isinstance(value, str) and value:
            return value[:500]
    return None


def _pairs(headers: list[str]) -> dict[str, str]:
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in headers)}
