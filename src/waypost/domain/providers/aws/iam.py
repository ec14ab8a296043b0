"""The setup of a connection at AWS: its steps, and the smallest IAM policy that it needs."""

from collections.abc import Mapping
from typing import Any

from waypost.errors import NotFound

#: The version of the IAM policy language, which is not the version of a policy.
POLICY_VERSION = "2012-10-17"
#: Placeholder for the id of the AWS account.
UNKNOWN_ACCOUNT = "ACCOUNT_ID"

_PINPOINT = "aws-pinpoint"
_END_USER_MESSAGING = "aws-end-user-messaging"


def iam_policy(connector_name: str, config: Mapping[str, Any], account_id: str | None = None) -> dict[str, Any]:
    """Return the policy for the IAM user whose keys the connection uses.

    Unknown values are placeholders, such as `ACCOUNT_ID`. Raise NotFound for connectors of other providers.
    """
    region = str(config.get("region") or "REGION")
    account = account_id or _account_in(config) or UNKNOWN_ACCOUNT
    if connector_name == _PINPOINT:
        statements = _pinpoint_statements(config, region, account)
    elif connector_name == _END_USER_MESSAGING:
        statements = _messaging_statements(config, region, account)
    else:
        raise NotFound(f"Connections of {connector_name} need no IAM policy; only those of AWS do.")
    return {"Version": POLICY_VERSION, "Statement": [_firehose_statement(), *statements]}


def _account_in(config: Mapping[str, Any]) -> str | None:
    """Return the account id in an ARN of the configuration, or None if there is none."""
    for name in ("configuration_set", "origination_identity"):
        parts = str(config.get(name) or "").split(":")
        if parts[0] == "arn" and len(parts) > 5 and parts[4].isdigit():
            return parts[4]
    return None


def _partition(region: str) -> str:
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


def _statement(sid: str, actions: str | list[str], resource: str) -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resource}


def _firehose_statement() -> dict[str, Any]:
    # The linked stream is not known before the check asks for it.
    return _statement("CheckStream", ["firehose:ListDeliveryStreams", "firehose:DescribeDeliveryStream"], "*")


def _pinpoint_statements(config: Mapping[str, Any], region: str, account: str) -> list[dict[str, Any]]:
    project = str(config.get("project_id") or "PROJECT_ID")
    app = f"arn:{_partition(region)}:mobiletargeting:{region}:{account}:apps/{project}"
    return [
        _statement("SendMessages", "mobiletargeting:SendMessages", f"{app}/messages"),
        _statement("CheckEventStream", "mobiletargeting:GetEventStream", f"{app}/eventstream"),
        # Distinguishes a missing project from one that is not linked; the check works without it.
        _statement("OptionalTellMissingProject", "mobiletargeting:GetApp", app),
    ]


def _messaging_statements(config: Mapping[str, Any], region: str, account: str) -> list[dict[str, Any]]:
    arn = f"arn:{_partition(region)}:sms-voice:{region}:{account}"
    identity = str(config.get("origination_identity") or "")
    senders = identity if identity.startswith("arn:") else f"{arn}:*"
    return [
        _statement("SendTextMessages", "sms-voice:SendTextMessage", senders),
        # It only reads, and AWS does not document for all regions that it can be limited to one set.
        _statement("CheckConfigurationSet", "sms-voice:DescribeConfigurationSets", "*"),
    ]


def setup_steps(
    connector_name: str, config: Mapping[str, Any], tracker_url: str, data_centers: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Return the setup steps at AWS in order, each with `title`, `text` and perhaps `url`; none for other providers.

    `data_centers` maps the name of each data center to its tracker URL, if there are several.
    """
    region = str(config.get("region") or "the region of your choice")
    if connector_name == _PINPOINT:
        source, link = _pinpoint_steps(config, region)
        role = "that Pinpoint and Firehose use between each other"
    elif connector_name == _END_USER_MESSAGING:
        source, link = _messaging_steps(config, region)
        role = "with which End User Messaging writes to the stream"
    else:
        return []
    return [
        source,
        _stream_step(region, tracker_url, data_centers or {}),
        link,
        _user_step(role),
        _last_step(),
    ]


def _step(title: str, text: str, url: str = "") -> dict[str, Any]:
    return {"title": title, "text": text} | ({"url": url} if url else {})


def _pinpoint_steps(config: Mapping[str, Any], region: str) -> tuple[dict[str, Any], dict[str, Any]]:
    project = str(config.get("project_id") or "")
    named = f"the project {project}" if project else "the project"
    return (
        _step(
            "Create a Pinpoint project",
            f"In the Pinpoint console, in {region}, create a project and enable the SMS channel. Note its project ID. "
            "You can also use an existing project.",
            f"https://{region}.console.aws.amazon.com/pinpoint/home" if config.get("region") else "",
        ),
        _step(
            "Link the project to the stream",
            f"In {named}: Settings, Event stream, Edit. Choose Amazon Data Firehose and the stream of step 2, let AWS "
            "create the role, and enable it.",
        ),
    )


def _messaging_steps(config: Mapping[str, Any], region: str) -> tuple[dict[str, Any], dict[str, Any]]:
    name = str(config.get("configuration_set") or "")
    named = f"the configuration set {name}" if name else "the configuration set"
    return (
        _step(
            "Create a configuration set",
            f"In AWS End User Messaging SMS, in {region}, you need a phone number, sender ID or pool to send from. "
            "Create a configuration set; without one AWS does not report the delivery status of messages.",
            f"https://{region}.console.aws.amazon.com/sms-voice/home" if config.get("region") else "",
        ),
        _step(
            "Link the configuration set to the stream",
            f"In {named}: add an event destination of the type Amazon Data Firehose with the stream of step 2, for all "
            "text events (TEXT_ALL), with a role that may put records into the stream, and enable it.",
        ),
    )


def _stream_step(region: str, tracker_url: str, data_centers: Mapping[str, str]) -> dict[str, Any]:
    others = "; ".join(f"{name}: {url}" for name, url in sorted(data_centers.items()) if url != tracker_url)
    return _step(
        "Create a Firehose stream",
        f"In Amazon Data Firehose, also in {region}, create a stream with the source Direct PUT and the destination "
        "HTTP endpoint. Set the URL to the tracker URL below, exactly; the access key to the receipts key, which "
        "Waypost shows once, when the connection is created; the content encoding to GZIP; and the buffer interval to "
        "60 seconds or less, since it delays receipts. Choose an S3 bucket for records that cannot be delivered."
        + (f" Other data centers have other tracker URLs: {others}." if others else ""),
        tracker_url,
    )


def _user_step(other_role: str) -> dict[str, Any]:
    return _step(
        "Create an IAM user",
        "Create an IAM user for Waypost alone, with only the IAM policy of this connection, and create an access key "
        f"for it. This is not the role {other_role}.",
    )


def _last_step() -> dict[str, Any]:
    return _step(
        "Add the connection",
        "Give the connection a recognisable name, such as Pinpoint Promo, the same region as the project and the "
        "stream, and the keys. Waypost checks the whole chain and reports what is wrong with a code from 2001 to 2006. "
        "Then send a test message to a number of your own.",
    )
