"""IAM policies with the values of a connection, and the set-up steps at AWS."""

import json
from typing import Any

import pytest

from waypost.domain.providers.aws.iam import iam_policy, setup_steps
from waypost.errors import NotFound

CONFIG = {"region": "eu-west-1", "project_id": "0f1e2d", "access_key": "AKIDEXAMPLE", "secret_key": "hunter2"}
URL = "https://st.waypost.example/tracking/amazon-pinpoint-events"


def allowed(policy: dict[str, Any]) -> dict[str, str]:
    """Return the resource by action."""
    assert policy["Version"] == "2012-10-17"
    found: dict[str, str] = {}
    for statement in policy["Statement"]:
        assert statement["Effect"] == "Allow"
        actions = statement["Action"]
        for action in [actions] if isinstance(actions, str) else actions:
            assert action not in found
            found[action] = statement["Resource"]
    return found


def test_the_policy_of_pinpoint():
    app = "arn:aws:mobiletargeting:eu-west-1:111122223333:apps/0f1e2d"
    assert allowed(iam_policy("aws-pinpoint", CONFIG, "111122223333")) == {
        "firehose:ListDeliveryStreams": "*",
        "firehose:DescribeDeliveryStream": "*",
        "mobiletargeting:SendMessages": f"{app}/messages",
        "mobiletargeting:GetEventStream": f"{app}/eventstream",
        "mobiletargeting:GetApp": app,
    }


def test_what_is_not_needed_says_so():
    (statement,) = [
        statement
        for statement in iam_policy("aws-pinpoint", CONFIG)["Statement"]
        if statement["Action"] == "mobiletargeting:GetApp"
    ]
    assert "Optional" in statement["Sid"]


def test_the_policy_of_end_user_messaging():
    config = CONFIG | {"configuration_set": "promo", "origination_identity": "pool-0123abcd"}
    assert allowed(iam_policy("aws-end-user-messaging", config, "111122223333")) == {
        "firehose:ListDeliveryStreams": "*",
        "firehose:DescribeDeliveryStream": "*",
        "sms-voice:SendTextMessage": "arn:aws:sms-voice:eu-west-1:111122223333:*",
        "sms-voice:DescribeConfigurationSets": "*",
    }


def test_an_identity_that_is_an_arn_is_the_only_one_to_send_from():
    pool = "arn:aws:sms-voice:eu-west-1:444455556666:pool/pool-0123abcd"
    found = allowed(iam_policy("aws-end-user-messaging", CONFIG | {"origination_identity": pool}))
    assert found["sms-voice:SendTextMessage"] == pool


def test_an_account_that_a_field_names():
    config = CONFIG | {"configuration_set": "arn:aws:sms-voice:eu-west-1:444455556666:configuration-set/promo"}
    found = allowed(iam_policy("aws-end-user-messaging", config))
    assert found["sms-voice:SendTextMessage"] == "arn:aws:sms-voice:eu-west-1:444455556666:*"


@pytest.mark.parametrize("name", ["aws-pinpoint", "aws-end-user-messaging"])
def test_only_what_is_not_known_is_left_open(name):
    assert "ACCOUNT_ID" in json.dumps(iam_policy(name, CONFIG))
    assert "ACCOUNT_ID" not in json.dumps(iam_policy(name, CONFIG, "111122223333"))
    for account in (None, "111122223333"):
        policy = json.dumps(iam_policy(name, CONFIG, account))
        assert "hunter2" not in policy
        assert "AKIDEXAMPLE" not in policy
        sids = [statement["Sid"] for statement in json.loads(policy)["Statement"]]
        # IAM allows only letters and digits in a Sid, and each Sid once.
        assert len(set(sids)) == len(sids)
        assert all(sid.isalnum() for sid in sids)


@pytest.mark.parametrize(
    ("region", "partition"), [("us-east-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")]
)
def test_every_part_of_aws_has_a_name_of_its_own(region, partition):
    found = allowed(iam_policy("aws-pinpoint", CONFIG | {"region": region}))
    assert found["mobiletargeting:SendMessages"].startswith(f"arn:{partition}:mobiletargeting:{region}:")


def test_others_have_no_policy():
    with pytest.raises(NotFound, match="twilio"):
        iam_policy("twilio", {})
    assert setup_steps("twilio", {}, URL) == []


@pytest.mark.parametrize("name", ["aws-pinpoint", "aws-end-user-messaging"])
@pytest.mark.parametrize("config", [CONFIG, {}, CONFIG | {"configuration_set": "promo"}])
def test_the_steps(name, config):
    steps = setup_steps(name, config, URL, {"global": URL, "india": "https://st.in.waypost.example/x"})
    assert len(steps) == 5
    for step in steps:
        assert {"title", "text"} <= step.keys() <= {"title", "text", "url"}
        assert "hunter2" not in json.dumps(step)
        assert "None" not in step["text"]
    (stream,) = [step for step in steps if "Firehose stream" in step["title"]]
    assert stream["url"] == URL
    assert "india: https://st.in.waypost.example/x" in stream["text"]
    assert URL not in stream["text"]
    for word in ("GZIP", "60 seconds", "access key"):
        assert word in stream["text"]


def test_one_data_center_is_not_worth_a_list():
    (stream,) = [step for step in setup_steps("aws-pinpoint", CONFIG, URL, {"global": URL}) if step.get("url") == URL]
    assert "data centers" not in stream["text"]
