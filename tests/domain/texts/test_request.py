"""Requests of the text-message API, right and wrong."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.domain.texts.request import CALLBACK_BYTES, DEEPEST, TextRequest, read_text_request
from waypost.errors import Invalid

GOOD: dict[str, Any] = {
    "phone": "+1 202-555-0101",
    "email": "Ines@Example.test",
    "text": "Acme: Happy Birthday, Ines!",
    "clickUrl": "https://shop.example.test/bday?utm_api=birthday&utm_tracking=newclicks",
    "mediaUrl": "https://img.example.test/cake.jpg",
    "callbackData": '{"profileID":"01KPROFILE","metricName":"Birthday SMS","flow":"Birthday SMS"}',
    "sendPurpose": "Birthday SMS",
}


def read(**changes: Any) -> TextRequest:
    """The good request with changes; None leaves a field out."""
    body = {name: value for name, value in (GOOD | changes).items() if value is not None}
    return read_text_request(json.dumps(body).encode())


def test_the_request_of_the_guide():
    assert read() == TextRequest(
        phone="+12025550101",
        email="ines@example.test",
        text="Acme: Happy Birthday, Ines!",
        click_url="https://shop.example.test/bday?utm_api=birthday&utm_tracking=newclicks",
        media_url="https://img.example.test/cake.jpg",
        purpose="Birthday SMS",
        metric="Birthday SMS",
        callback_data='{"profileID":"01KPROFILE","metricName":"Birthday SMS","flow":"Birthday SMS"}',
    )


def test_what_may_be_empty_or_missing():
    found = read(phone="", clickUrl="", mediaUrl=None, callbackData='{"profileID":"p"}')
    assert (found.phone, found.email, found.click_url, found.media_url, found.metric) == (
        "",
        "ines@example.test",
        "",
        "",
        "",
    )
    # With a phone, whatever the profile has as its email is no reason to refuse.
    assert read(email="no email").email == ""
    # Other tools send more than they need.
    assert read(unknown=[1, {"x": 2}]).purpose == "Birthday SMS"
    assert json.loads(read(callbackData='{"profileID": 7}').callback_data) == {"profileID": 7}


def with_profile(rest: str) -> str:
    """Callback data with a profile and something else."""
    return f'{{"profileID":"p",{rest}}}'


WRONG = [
    ({"phone": None, "email": None}, "no_recipient", "phone"),
    ({"phone": "", "email": " "}, "no_recipient", "phone"),
    ({"phone": "5163334444"}, "invalid_phone", "phone"),
    ({"phone": "+1516CALLNOW"}, "invalid_phone", "phone"),
    ({"phone": "", "email": "nobody"}, "invalid_email", "email"),
    ({"text": None}, "missing_field", "text"),
    ({"text": " \n"}, "missing_field", "text"),
    ({"text": "a\0b"}, "invalid_text", "text"),
    ({"text": "x" * 1601}, "text_too_long", "text"),
    ({"sendPurpose": None}, "missing_field", "sendPurpose"),
    ({"sendPurpose": "x" * 101}, "invalid_field", "sendPurpose"),
    ({"sendPurpose": "a\nb"}, "invalid_field", "sendPurpose"),
    ({"clickUrl": "shop.example"}, "invalid_url", "clickUrl"),
    ({"clickUrl": "javascript:alert(1)"}, "invalid_url", "clickUrl"),
    ({"clickUrl": "https://a b"}, "invalid_url", "clickUrl"),
    ({"mediaUrl": "ftp://img.example/x.jpg"}, "invalid_url", "mediaUrl"),
    ({"text": 5}, "invalid_body", "text"),
    ({"callbackData": {"profileID": "p"}}, "invalid_body", "callbackData"),
    *[
        ({"callbackData": data}, "invalid_callback_data", "callbackData")
        for data in (
            None,
            "",
            "nope",
            "{}",
            "[]",
            "null",
            '"text"',
            '{"profileID":""}',
            '{"profileID":null}',
            '{"profileID":true}',
            '{"profileID":["p"]}',
            '{"profileID":"p","metricName":5}',
            with_profile(f'"metricName":"{"m" * 128}"'),
            with_profile(f'"profileID":"{"p" * 201}"'),
            with_profile(f'"n":{"9" * 5000}'),
            '{"profileID":"p","n":1e999}',
            '{"profileID":"p","n":NaN}',
            with_profile('"deep":' + '{"x":' * DEEPEST + "1" + "}" * DEEPEST),
            with_profile('"deep":' + "[" * 20_000 + "]" * 20_000),
            with_profile(",".join(f'"k{n}":1' for n in range(400))),
            with_profile(f'"x":"{"y" * CALLBACK_BYTES}"'),
        )
    ],
]


@pytest.mark.parametrize(("changes", "code", "field"), WRONG)
def test_what_is_wrong_is_named(changes, code, field):
    with pytest.raises(Invalid) as caught:
        read(**changes)
    assert (caught.value.code, caught.value.extra.get("field")) == (code, field)


@pytest.mark.parametrize(
    "body", [b"", b"nope", b"[]", b'{"text":"a\nb"}', b"\xff", b"[" * 100_000, b'{"text":"\\ud800"}']
)
def test_what_is_no_request(body):
    with pytest.raises(Invalid) as caught:
        read_text_request(body)
    assert caught.value.code in {"invalid_json", "invalid_body", "no_recipient", "invalid_callback_data"}


def test_callback_data_is_one_value_for_every_reader():
    # Of two values of one name readers would take different ones; large integers stay as they are.
    found = read(callbackData='{"profileID":"a","profileID":"b","n":9007199254740993,"é":"\\u00e9","e":{}}')
    assert found.callback_data == '{"profileID":"b","n":9007199254740993,"é":"é","e":{}}'
    numbers = '{"profileID":"b","a":0.10000000000000000001,"b":-1.50,"c":2E+5,"d":1e-7,"e":-0.0,"f":1e300}'
    assert read(callbackData=numbers).callback_data == numbers.replace("1e-7", "1E-7").replace("1e300", "1E+300")


@given(st.dictionaries(st.text(max_size=20), st.recursive(st.none() | st.booleans() | st.text(max_size=20), st.lists)))
def test_any_object_with_a_profile_id_is_kept(found):
    data = found | {"profileID": "p", "metricName": "m"}
    assert json.loads(read(callbackData=json.dumps(data)).callback_data) == data


@given(st.binary(max_size=300))
def test_no_body_raises_anything_else(body):
    try:
        read_text_request(body)
    except Invalid:
        return


def test_the_bad_samples():
    samples = json.loads((Path(__file__).parent / "wunderkind_send.json").read_bytes())
    read_text_request(msgspec.json.encode(samples["body"]))
    for bad in samples["bad"]:
        with pytest.raises(Invalid):
            read_text_request(msgspec.json.encode(bad["body"]))
