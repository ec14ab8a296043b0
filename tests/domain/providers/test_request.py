"""The requests of the built-in connectors, and that no value of a message can break its surroundings."""

import base64
import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.domain.messaging.message import Content, Outgoing
from waypost.domain.providers.connection_config import check_config
from waypost.domain.providers.connector import Connector
from waypost.domain.providers.definition import parse_own_connector
from waypost.domain.providers.request import UnsignedRequest, build_request, split_path
from waypost.domain.templates.liquid.expressions import Unbuildable
from waypost.domain.values.ids import public
from waypost.engine.providers.connectors import shipped

NOW = 1_790_000_000_000_000
CALLBACK = "https://waypost.example/receipts/con_0000000000000007"
ID = public("msg", 5)
TWILIO = {"account_sid": "AC" + "0" * 32, "auth_token": "token", "from": "+15005550006"}


def message(channel: str = "sms", address: str = "+12025550101", **changes: Any) -> Outgoing:
    given: dict[str, Any] = {
        "id": 5,
        "workspace_id": 1,
        "connection_id": 7,
        "channel": channel,
        "address": address,
        "content": Content(text="Hi Ines"),
        "purpose": "promotional",
        "created_at": NOW,
        "expires_at": NOW + 3_600_000_000,
    } | changes
    return Outgoing(**given)


def build(name: str, config: dict[str, Any], sent: Outgoing) -> UnsignedRequest:
    connector = shipped()[name]
    return build_request(connector, check_config(connector, config), [sent], CALLBACK, NOW)


def headers(request: UnsignedRequest) -> dict[str, str]:
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in request.headers)}


def test_twilio():
    request = build("twilio", TWILIO, message())
    assert (request.method, request.url) == (
        "POST",
        f"https://api.twilio.com/2010-04-01/Accounts/AC{'0' * 32}/Messages.json",
    )
    assert dict(parse_qsl(request.body.decode())) == {
        "To": "+12025550101",
        "From": "+15005550006",
        "Body": "Hi Ines",
        "StatusCallback": CALLBACK,
        "ValidityPeriod": "3600",
    }
    assert headers(request)["content-type"] == "application/x-www-form-urlencoded"
    assert headers(request)["authorization"].startswith("Basic ")


def test_twilio_with_a_service_an_api_key_and_pictures():
    config = TWILIO | {"messaging_service_sid": "MG" + "0" * 32, "api_key": "SK" + "1" * 32, "api_secret": "other"}
    content = Content(text="Look", media_urls=["https://img.example/1.png", "https://img.example/2.png"])
    request = build("twilio", config, message(content=content, expires_at=NOW + 86_400_000_000))
    form = parse_qsl(request.body.decode())
    assert [value for name, value in form if name == "MediaUrl"] == content.media_urls
    assert dict(form)["MessagingServiceSid"] == "MG" + "0" * 32
    assert dict(form)["ValidityPeriod"] == "36000"
    assert "From" not in dict(form)
    pair = base64.b64decode(headers(request)["authorization"].removeprefix("Basic "))
    assert pair == b"SK" + b"1" * 32 + b":other"


def test_the_path_of_an_own_host_stays_in_front():
    config = {"api_key": "SG.12345", "from_email": "a@b.example", "host": "https://messaging.tenant.example/sendgrid"}
    request = build("sendgrid", config, message("email", "ines@example.test"))
    assert request.url == "https://messaging.tenant.example/sendgrid/v3/mail/send"
    request = build(
        "sendgrid", config | {"host": "http://127.0.0.1:8090/sendgrid/"}, message("email", "i@example.test")
    )
    assert request.url == "http://127.0.0.1:8090/sendgrid/v3/mail/send"
    del config["host"]
    assert build("sendgrid", config, message("email", "i@example.test")).url == "https://api.sendgrid.com/v3/mail/send"


def test_sendgrid():
    content = Content(
        subject="Your mug",
        text="Hi Ines",
        html="<p>Hi Ines</p>",
        sender='"Brand, Inc." <hello@brand.example.test>',
        reply_to="care@brand.example.test",
        headers={"List-Unsubscribe": "<https://u.example.test/u/opaque>"},
    )
    config = {"api_key": "SG.made-up", "from_email": "other@brand.example.test", "from_name": "Other"}
    request = build("sendgrid", config, message("email", "ines@example.test", content=content))
    assert headers(request)["authorization"] == "Bearer SG.made-up"
    assert json.loads(request.body) == {
        "personalizations": [{"to": [{"email": "ines@example.test"}], "custom_args": {"waypost_id": ID}}],
        "from": {"email": "hello@brand.example.test", "name": "Brand, Inc."},
        "reply_to": {"email": "care@brand.example.test"},
        "subject": "Your mug",
        "content": [{"type": "text/plain", "value": "Hi Ines"}, {"type": "text/html", "value": "<p>Hi Ines</p>"}],
        "headers": {"List-Unsubscribe": "<https://u.example.test/u/opaque>"},
    }


def test_sendgrid_leaves_out_what_there_is_not():
    config = {"api_key": "SG.x", "from_email": "hello@brand.example.test", "from_name": "Brand"}
    request = build("sendgrid", config, message("email", "i@example.test", content=Content(html="<p>x</p>")))
    assert json.loads(request.body) == {
        "personalizations": [{"to": [{"email": "i@example.test"}], "custom_args": {"waypost_id": ID}}],
        "from": {"email": "hello@brand.example.test", "name": "Brand"},
        "subject": "",
        "content": [{"type": "text/html", "value": "<p>x</p>"}],
    }


def test_wunderkind():
    content = Content(
        text="Acme: Happy Birthday, Ines!",
        click_url="https://shop.example.test/bday?utm_api=birthday",
        media_urls=["https://img.example.test/cake.jpg"],
        recipient={"profile_id": "01KPROFILE", "email": "ines@example.test"},
    )
    metadata = {"flow": 'Birthday "SMS"', "metricName": "Birthday SMS", "purpose": "Birthday SMS"}
    request = build(
        "wunderkind", {"client_id": "cid-1", "client_secret": "sec-1"}, message(content=content, metadata=metadata)
    )
    assert (request.method, request.url) == ("POST", "https://api.wknd.ai/text/message/send")
    assert headers(request)["x-client-id"] == "cid-1"
    assert headers(request)["x-client-secret"] == "sec-1"
    body = json.loads(request.body)
    # JSON within JSON.
    assert json.loads(body.pop("callbackData")) == metadata | {"profileID": "01KPROFILE", "messageID": ID}
    assert body == {
        "phone": "+12025550101",
        "email": "ines@example.test",
        "text": "Acme: Happy Birthday, Ines!",
        "clickUrl": "https://shop.example.test/bday?utm_api=birthday",
        "mediaUrl": "https://img.example.test/cake.jpg",
        "sendPurpose": "Birthday SMS",
    }


def test_wunderkind_without_links_sends_none():
    request = build("wunderkind", {"client_id": "c", "client_secret": "s"}, message())
    body = json.loads(request.body)
    assert "clickUrl" not in body
    assert "mediaUrl" not in body
    assert body["sendPurpose"] == "Waypost"
    assert json.loads(body["callbackData"])["profileID"] == ID


def test_klaviyo():
    content = Content(
        metric="Birthday SMS",
        properties={"Status": "SENDING", "number": 7, "empty": "", "list": [1, None]},
        recipient={"profile_id": "01KPROFILE", "phone": "+12025550101"},
    )
    request = build("klaviyo", {"api_key": "pk_made_up"}, message("event", "01KPROFILE", content=content))
    assert request.url == "https://a.klaviyo.com/api/events"
    sent_headers = headers(request)
    assert sent_headers["authorization"] == "Klaviyo-API-Key pk_made_up"
    assert sent_headers["revision"] == "2026-07-15"
    assert sent_headers["content-type"] == sent_headers["accept"] == "application/vnd.api+json"
    assert json.loads(request.body) == {
        "data": {
            "type": "event",
            "attributes": {
                "properties": content.properties,
                "time": "2026-09-21T14:13:20.000000Z",
                "unique_id": ID,
                "metric": {"data": {"type": "metric", "attributes": {"name": "Birthday SMS"}}},
                "profile": {
                    "data": {
                        "type": "profile",
                        "id": "01KPROFILE",
                        "attributes": {"phone_number": "+12025550101"},
                    }
                },
            },
        }
    }


def test_klaviyo_has_properties_even_where_there_are_none():
    request = build("klaviyo", {"api_key": "pk"}, message("event", "x", content=Content(metric="M")))
    assert json.loads(request.body)["data"]["attributes"]["properties"] == {}


def test_end_user_messaging():
    config = {
        "region": "eu-west-1",
        "access_key": "AKIAIOSFODNN7EXAMPLE",
        "secret_key": "secret",
        "configuration_set": "msgplat",
        "origination_identity": "pool-0123abcd",
        "max_price": "0.05",
        "time_to_live": 3600,
    }
    request = build("aws-end-user-messaging", config, message())
    assert request.url == "https://sms-voice.eu-west-1.amazonaws.com/"
    sent_headers = headers(request)
    assert sent_headers["x-amz-target"] == "PinpointSMSVoiceV2.SendTextMessage"
    assert sent_headers["content-type"] == "application/x-amz-json-1.0"
    assert json.loads(request.body) == {
        "DestinationPhoneNumber": "+12025550101",
        "MessageBody": "Hi Ines",
        "OriginationIdentity": "pool-0123abcd",
        "MessageType": "PROMOTIONAL",
        "ConfigurationSetName": "msgplat",
        "MaxPrice": "0.05",
        "TimeToLive": 3600,
        "Context": {"mid": ID},
    }
    assert request.authorization is not None
    assert (request.authorization.scheme, request.authorization.service) == ("aws", "sms-voice")
    assert request.authorization.secret_key == "secret"


def gateway(**config: Any) -> UnsignedRequest:
    return build("http", {"url": "https://gateway.example/send?account=7"} | config, message())


def test_any_gateway_that_takes_json():
    request = gateway(
        headers="X-Reference: {{ message.id }}\nContent-Type: application/json; charset=utf-8",
        body_template='{"messages": [{"to": "{{ message.to }}", "text": "{{ message.text }}", "n": 1}]}',
        auth="header",
        auth_header="X-Key",
        auth_value="k",
        method="PUT",
    )
    assert (request.method, request.url) == ("PUT", "https://gateway.example/send?account=7")
    assert json.loads(request.body) == {"messages": [{"to": "+12025550101", "text": "Hi Ines", "n": 1}]}
    assert headers(request) == {
        "x-reference": ID,
        "content-type": "application/json; charset=utf-8",
        "x-key": "k",
    }


def test_any_gateway_that_takes_a_form():
    request = gateway(body_template="to={{ message.to }}&text={{ message.text }}", encoding="form")
    assert dict(parse_qsl(request.body.decode())) == {"to": "+12025550101", "text": "Hi Ines"}


def test_any_gateway_that_takes_a_query():
    request = gateway(body_template="to={{ message.to }}&text={{ message.text }}", encoding="query", method="GET")
    assert dict(parse_qsl(urlsplit(request.url).query)) == {"account": "7", "to": "+12025550101", "text": "Hi Ines"}
    assert request.body == b""


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({"auth": "none"}, None),
        ({"auth": "basic", "username": "u", "password": "p"}, "Basic dTpw"),
        ({"auth": "bearer", "token": "t"}, "Bearer t"),
    ],
)
def test_the_ways_to_sign_in_to_a_gateway(config, line):
    assert headers(gateway(**config)).get("authorization") == line


def test_a_body_of_the_wrong_kind_is_a_matter_of_the_configuration():
    with pytest.raises(Unbuildable) as caught:
        gateway(body_template="to={{ message.to }}", encoding="json")
    assert caught.value.reason == "configuration"


OWN = """\
name = "own"
label = "Own"
channel = "sms"
base_url = "https://own.example"
path = "/a/{{ message.metadata.part }}/{{ message.to }}"
query = { q = "{{ message.text }}", none = "{{ message.subject }}", many = "{{ message.media_urls }}" }
headers = { X-Text = "{{ message.text }}" }
body.text = "{{ message.text }}"
body.twice = "<{{ message.text }}>"
body.inner."$json".text = "{{ message.text }}"
answers = [{ status = 200, outcome = "accepted" }]
"""


def own() -> Connector:
    return parse_own_connector(OWN, "own")


EACH = """
name = "crm"
label = "CRM"
channel = "event"
base_url = "https://crm.example.com"
batch_size = 50
drop_empty = true
[body]
kind = "people"
[body.people]
"$each" = "messages"
"$if" = "{{ recipient.email }}"
email = "{{ recipient.email }}"
total = "{{ message.properties.total }}"
inner = { "$json" = { to = "{{ message.to }}" } }
[[answers]]
status = "2xx"
outcome = "accepted"
"""


@pytest.mark.parametrize("count", [1, 3, 50])
def test_each_message_of_a_call_has_its_part_of_the_body(count):
    connector = parse_own_connector(EACH, "own")
    sent = [
        message(
            "event",
            f"p{n}@example.com",
            id=n + 1,
            content=Content(
                metric="M", properties={"total": n}, recipient={} if n == 2 else {"email": f"p{n}@example.com"}
            ),
        )
        for n in range(count)
    ]
    body = json.loads(build_request(connector, {}, sent, CALLBACK, NOW).body)
    assert body["kind"] == "people"
    assert body["people"] == [
        {
            "email": f"p{n}@example.com",
            "total": n,
            "inner": json.dumps({"to": f"p{n}@example.com"}, separators=(",", ":")),
        }
        for n in range(count)
        if n != 2
    ]


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_no_text_breaks_what_is_around_it(text):
    request = build_request(own(), {}, [message(content=Content(text=text), metadata={"part": "x"})], CALLBACK, NOW)
    body = json.loads(request.body)
    assert body == {"text": text, "twice": f"<{text}>", "inner": body["inner"]}
    assert json.loads(body["inner"]) == {"text": text}
    assert parse_qsl(urlsplit(request.url).query, keep_blank_values=True) == [("q", text)]
    assert f"X-Text: {text.strip()}" in request.headers or not text.strip()


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_no_value_leaves_its_part_of_the_path(part):
    sent = message(metadata={"part": part}, content=Content(text="x"))
    try:
        request = build_request(own(), {}, [sent], CALLBACK, NOW)
    except Unbuildable:
        assert part in ("", ".", "..")
        return
    path = urlsplit(request.url).path
    assert path.startswith("/a/")
    assert path.count("/") == 3
    assert path.endswith("/+12025550101") or path.endswith("/%2B12025550101")


@pytest.mark.parametrize("text", ["a\r\nX-Evil: 1", "a\nb", "a\0b", "a\x7fb"])
def test_no_text_adds_a_header(text):
    with pytest.raises(Unbuildable) as caught:
        build_request(own(), {}, [message(content=Content(text=text), metadata={"part": "x"})], CALLBACK, NOW)
    assert caught.value.reason == "invalid_request"


@given(st.dictionaries(st.text(), st.recursive(st.none() | st.booleans() | st.text(), st.lists, max_leaves=5)))
def test_an_object_is_given_as_it_is(properties):
    sent = message("event", "x", content=Content(metric="M", properties=properties))
    found = json.loads(build("klaviyo", {"api_key": "pk"}, sent).body)
    assert found["data"]["attributes"]["properties"] == properties


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("", ("",)),
        ("/a/b", ("", "a", "b")),
        ("/{{ message.to }}/b", ("", "{{ message.to }}", "b")),
        ("/{{ message.to | replace: '/', '-' }}/b", ("", "{{ message.to | replace: '/', '-' }}", "b")),
        ("/{% if config.a == '/' %}x{% endif %}/", ("", "{% if config.a == '/' %}x{% endif %}", "")),
        ("/}}/%}/{a}", ("", "}}", "%}", "{a}")),
    ],
)
def test_a_path_is_cut_at_its_slashes(path, steps):
    assert split_path(path) == steps


@pytest.mark.timeout(5)
@pytest.mark.parametrize("path", ["/" * 20_000, "{{" * 10_000, "/{{ a }}" * 2_500])
def test_no_path_takes_long(path):
    assert "/".join(split_path(path)) == path
