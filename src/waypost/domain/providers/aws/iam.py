"""What has to be done at AWS for a connection: the steps, and the smallest IAM policy that lets it work."""

from collections.abc import Mapping
from typing import Any

from waypost.errors import NotFound

#: The version of the language that policies are written in. It is not the version of anything that people make.
POLICY_VERSION = "2012-10-17"
#: Stands where the id of the AWS account has to be put in.
UNKNOWN_ACCOUNT = "ACCOUNT_ID"

_PINPOINT = "aws-pinpoint"
_END_USER_MESSAGING = "aws-end-user-messaging"


def iam_policy(connector_name: str, config: Mapping[str, Any], account_id: str | None = None) -> dict[str, Any]:
    """The policy for the IAM user whose keys the connection holds, filled in as far as is known.

    Without the account's id, `ACCOUNT_ID` stands in its place. NotFound for connectors that are not of AWS.
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
    """The account's id, where the connection's own fields hold an ARN."""
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
    # Which stream the project is linked to is not known before it has been asked for.
    return _statement("CheckStream", ["firehose:ListDeliveryStreams", "firehose:DescribeDeliveryStream"], "*")


def _pinpoint_statements(config: Mapping[str, Any], region: str, account: str) -> list[dict[str, Any]]:
    project = str(config.get("project_id") or "PROJECT_ID")
    app = f"arn:{_partition(region)}:mobiletargeting:{region}:{account}:apps/{project}"
    return [
        _statement("SendMessages", "mobiletargeting:SendMessages", f"{app}/messages"),
        _statement("CheckEventStream", "mobiletargeting:GetEventStream", f"{app}/eventstream"),
        # Tells a project that is not there from one that is not linked; the check works without.
        _statement("OptionalTellMissingProject", "mobiletargeting:GetApp", app),
    ]


def _messaging_statements(config: Mapping[str, Any], region: str, account: str) -> list[dict[str, Any]]:
    arn = f"arn:{_partition(region)}:sms-voice:{region}:{account}"
    identity = str(config.get("origination_identity") or "")
    senders = identity if identity.startswith("arn:") else f"{arn}:*"
    return [
        _statement("SendTextMessages", "sms-voice:SendTextMessage", senders),
        # It only reads, and AWS does not say for all regions that it can be bound to one set.
        _statement("CheckConfigurationSet", "sms-voice:DescribeConfigurationSets", "*"),
    ]


def setup_steps(
    connector_name: str, config: Mapping[str, Any], tracker_url: str, data_centers: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """What to do at AWS, in order, each with a title, a text and sometimes a `url` to copy; empty for others than AWS.

    `data_centers` gives the tracker URL of each data center by its name, where there are several.
    """
    region = str(config.get("region") or "the region of your choice")
    if connector_name == _PINPOINT:
        source, link = _pinpoint_steps(config, region)
        role = "that Pinpoint and Firehose use among themselves"
    elif connector_name == _END_USER_MESSAGING:
        source, link = _messaging_steps(config, region)
        role = "that lets End User Messaging write into the stream"
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
            "Make a Pinpoint project",
            f"In the Pinpoint console, in {region}, make a project and turn on SMS as a channel. Note its Project ID. "
            "A project that exists already will do.",
            f"https://{region}.console.aws.amazon.com/pinpoint/home" if config.get("region") else "",
        ),
        _step(
            "Link the project to the stream",
            f"In {named}: Settings, Event stream, Edit. Choose Amazon Data Firehose and the stream of step 2, let AWS "
            "make the role, and enable it.",
        ),
    )


def _messaging_steps(config: Mapping[str, Any], region: str) -> tuple[dict[str, Any], dict[str, Any]]:
    name = str(config.get("configuration_set") or "")
    named = f"the configuration set {name}" if name else "the configuration set"
    return (
        _step(
            "Make a configuration set",
            f"In AWS End User Messaging SMS, in {region}, have a phone number, sender ID or pool to send from, and "
            "make a configuration set. Without one AWS tells nothing of what became of a message.",
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
        "Make a Firehose stream",
        f"In Amazon Data Firehose, in {region} as well, make a stream with the source Direct PUT and the destination "
        "HTTP endpoint. As its URL give the tracker URL below, letter by letter; as access key the key for receipts, "
        "which Waypost shows once, when the connection is made; as content encoding GZIP; as buffer interval 60 "
        "seconds or less, since receipts wait for it. An S3 bucket takes what cannot be delivered."
        + (f" Other data centers have other tracker URLs: {others}." if others else ""),
        tracker_url,
    )


def _user_step(other_role: str) -> dict[str, Any]:
    return _step(
        "Make an IAM user",
        "Make an IAM user for Waypost alone, with the IAM policy of this connection and no other, and make an access "
        f"key for it. It is not the role {other_role}.",
    )


def _last_step() -> dict[str, Any]:
    return _step(
        "Add the connection",
        "Give it a name that tells campaigns apart, such as Pinpoint Promo, the very region of project and stream, and "
        "the keys. Waypost checks the whole chain and says what is wrong, with a code from 2001 to 2006. Then send a "
        "test message to somebody of your own.",
    )
