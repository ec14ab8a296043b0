"""Payload formats: the shipped one against its vectors, what is refused, and what a value may do."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.webhooks.test_endpoint import endpoint
from waypost.domain.values.ids import public
from waypost.domain.webhooks.endpoint import Endpoint, event_object, webhook_body
from waypost.domain.webhooks.payload_format import (
    PayloadFormat,
    PayloadSource,
    compile_format,
    payload_values,
    write_source,
)
from waypost.engine.webhooks.payload_formats import shipped_formats
from waypost.errors import Invalid

AT = 1_790_000_000_000_000
MAKER: dict[str, Any] = {"user_id": "501", "user_name": "acme"}
CAMPAIGN = {
    "id": public("cmp", 412),
    "name": "September news",
    "occurrence_id": public("occ", 7001),
    "list": {"id": public("lst", 31), "name": "Main list"},
}
MESSAGE = {"id": public("msg", 5), "channel": "email", "to": "ines@example.test", "occurrence_id": public("occ", 7001)}
OPENED = {"message": MESSAGE, "campaign": CAMPAIGN, "ip": "192.0.2.7", "user_agent": "UA/1", "machine": False}
CLICKED = OPENED | {"link_id": public("lnk", 55), "url": "https://shop.example.test/"}


def pinpointe() -> PayloadFormat:
    return compile_format(shipped_formats()["pinpointe"])


def event(type_: str, contents: dict[str, Any], profile_id: int | None = 88001) -> bytes:
    data = event_object(990017, "m-1", profile_id, msgspec.json.encode(contents))
    return webhook_body(type_, AT, data)


def write(form: PayloadFormat, body: bytes, maker: Endpoint | None = None) -> Any:
    return json.loads(form.render(payload_values(body, maker or endpoint(**MAKER))).body)


def vector(name: str) -> Any:
    return json.loads(Path(__file__).with_name(f"pinpointe_{name}.json").read_text("utf-8"))


def form(**source: Any) -> PayloadFormat:
    return PayloadFormat(PayloadSource(**source))


def test_an_open_is_the_vector_with_its_fields_in_their_order():
    assert list(write(pinpointe(), event("email.opened", OPENED)).items()) == list(vector("open").items())


def test_a_click_is_the_vector_except_for_the_visitor():
    made = write(pinpointe(), event("email.clicked", CLICKED))
    assert len(made["visitorId"]) == 16
    assert len(made["visitorToken"]) == 32
    assert list((made | {"visitorId": "v-1", "visitorToken": "vt-1"}).items()) == list(vector("click").items())


def test_a_message_without_a_campaign_has_empty_texts():
    opened = {"message": {"id": public("msg", 5), "to": "ines@example.test"}}
    made = write(pinpointe(), event("email.opened", opened, None))
    empty = ("ipAddress", "subscriberId", "statId", "listId", "listName", "newsletterId", "newsletterName")
    assert made == vector("open") | dict.fromkeys(empty, "")
    several = CLICKED | {"campaign": CAMPAIGN | {"list": None}}
    made = write(pinpointe(), event("email.clicked", several))
    assert (made["listId"], made["listName"], made["newsletterId"]) == ("", "", "412")


def test_a_visitor_is_another_one_each_day_and_for_each_person_but_the_same_within_a_day():
    def visitor(profile_id: int, at: int, workspace_id: int = 1) -> str:
        data = event_object(1, "m", profile_id, b"{}")
        values = payload_values(webhook_body("email.clicked", at, data), endpoint(workspace_id=workspace_id))
        return f"{values['visitor']['id']} {values['visitor']['token']}"

    day = 86_400_000_000
    assert visitor(1, AT) == visitor(1, AT + 1_000_000)
    assert len({visitor(1, AT), visitor(2, AT), visitor(1, AT + day), visitor(1, AT, 2)}) == 4


def test_the_maker_is_the_workspace_until_one_is_named():
    made = write(pinpointe(), event("email.opened", OPENED), endpoint())
    assert (made["userId"], made["userName"]) == ("7", "")


def test_a_value_of_its_own_keeps_its_type_and_what_is_missing_is_null():
    body = {"whole": "{{ data.machine }}", "text": "it is {{ data.machine }}", "list": ["{{ data.none }}", 1]}
    assert write(form(body=body), event("email.opened", OPENED)) == {
        "whole": False,
        "text": "it is false",
        "list": [None, 1],
    }


def test_variables_that_an_event_does_not_have_are_listed():
    made = form(body={"a": "{{ data.message.to }} {{ data.mesage.to }}"}, headers={"x-a": "{{ data.b }}"})
    found = made.undefined(payload_values(event("email.opened", OPENED), endpoint()))
    assert [(gap.name, gap.field) for gap in found] == [("data.mesage.to", "body.a"), ("data.b", "headers.x-a")]


def test_a_format_may_be_a_form_and_have_headers():
    made = form(
        body={"to": "{{ data.message.to }}", "ok": True, "n": ["a b", 2]},
        content_type="application/x-www-form-urlencoded",
        headers={"X-Type": "{{ event.type }}", "X-None": "{{ data.none }}"},
    ).render(payload_values(event("email.opened", OPENED), endpoint()))
    assert made.body == b"to=ines%40example.test&ok=true&n=a+b&n=2"
    assert made.headers == ["X-Type: email.opened"]


@pytest.mark.parametrize(
    ("source", "code", "words"),
    [
        ({}, "invalid_format", "either a body or bodies"),
        ({"body": {}, "bodies": {"a": {}}}, "invalid_format", "either a body or bodies"),
        ({"bodies": {"a": {}}, "event_types": ("a",)}, "invalid_format", "leave event_types out"),
        ({"bodies": {"a.*": {}}}, "invalid_format", r"one event type without \*"),
        ({"bodies": {f"e{n}": {} for n in range(51)}}, "invalid_format", "at most 50"),
        ({"bodies": {"Order Shipped": {}}}, "invalid_event_types", "not an event type"),
        ({"body": "text"}, "invalid_format", "a JSON object or list"),
        ({"body": None}, "invalid_format", "a JSON object or list"),
        ({"body": [], "content_type": "application/x-www-form-urlencoded"}, "invalid_format", "for a form, an object"),
        ({"body": {}, "content_type": "text/plain"}, "invalid_format", "content_type"),
        ({"body": {}, "content_type": "application/json\r\nx: y"}, "invalid_format", "content_type"),
        ({"body": {}, "headers": {"webhook-id": "x"}}, "invalid_headers", "cannot be replaced"),
        ({"body": {}, "headers": {"x": "{{ data.a"}}, "invalid_template", "headers.x, line 1"),
        ({"body": {"a": ["{{ data.b | shout }}"]}}, "invalid_template", "body.a.0, line 1"),
        ({"body": {"a": "\n {{ person.name }}"}}, "invalid_template", r"line 2, column 5: there is no 'person'"),
        ({"bodies": {"a": {"{{ data.b }}": 1}}}, "invalid_template", "only values may"),
        ({"body": json.loads("[" * 12 + "]" * 12)}, "invalid_template", "at most 10 levels"),
        ({"body": ["x"] * 501}, "invalid_template", "at most 500 values"),
    ],
)
def test_what_is_wrong_is_refused_when_it_is_saved(source, code, words):
    with pytest.raises(Invalid, match=words) as found:
        form(**source)
    assert found.value.code == code


def test_names_that_a_value_makes_itself_are_no_unknown_variables():
    made = form(body={"a": "{% assign x = data.a %}{% for y in data.b %}{{ x }}{{ y }}{% endfor %}"})
    assert write(made, event("a", {"a": 1, "b": [2, 3]})) == {"a": "1213"}


@pytest.mark.parametrize(
    ("source", "code", "words"),
    [
        ({"body": {"a": "{% for x in (1..900) %}{% for y in (1..2) %}{% endfor %}{% endfor %}"}}, "template_limit",
         "iterations"),
        ({"body": {"a": "{{ data.message | plus: 1 | divided_by: 0 }}"}}, "cannot_render", "cannot be rendered"),
        ({"body": {}, "headers": {"x": "{{ data.bad }}"}}, "cannot_render", "header x"),
        ({"body": {}, "event_types": ("email.clicked",)}, "invalid_event_type", "no body for email.opened"),
        ({"bodies": {"email.clicked": {}}}, "invalid_event_type", "no body for email.opened"),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_an_error_with_a_reason(source, code, words):
    made = form(**source)
    with pytest.raises(Invalid, match=words) as found:
        made.render(payload_values(event("email.opened", OPENED | {"bad": "a\r\nb: c"}), endpoint()))
    assert found.value.code == code


def test_the_size_of_a_body_is_limited():
    made = form(body=["{{ data.long }}"] * 20)
    with pytest.raises(Invalid) as found:
        made.render(payload_values(event("email.opened", {"long": "x" * 60_000}), endpoint()))
    assert found.value.code == "template_limit"


@pytest.mark.parametrize(
    ("of_format", "given", "kept"),
    [
        (("email.opened", "email.clicked"), ("email.opened",), ("email.opened",)),
        (("email.opened", "email.clicked"), ("*",), ("email.opened", "email.clicked")),
        (("email.opened", "event.*"), ("e*",), ("email.opened", "event.*")),
        (("event.*",), ("event.order*", "event.a"), ("event.order*", "event.a")),
        ((), ("*", "a"), ("*", "a")),
    ],
)
def test_an_endpoint_subscribes_to_what_its_format_has_a_body_for(of_format, given, kept):
    assert form(body={}, event_types=of_format).subscriptions(given) == kept


def test_an_event_type_without_a_body_is_refused():
    for pattern in ("message.sent", "event.*"):
        with pytest.raises(Invalid, match=r"it has one for email\.opened, email\.clicked") as found:
            pinpointe().subscriptions(("email.opened", pattern))
        assert found.value.code == "invalid_event_types"


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(), st.lists, max_leaves=5))
def test_whatever_an_event_holds_its_body_is_json_and_texts_stay_as_they_are(value):
    made = write(form(body={"a": "{{ data.x }}", "b": "{{ data.x | json }}"}), event("a", {"x": value}))
    assert made["a"] == value
    assert json.loads(made["b"]) == value


def test_a_stored_source_is_read_back():
    source = PayloadSource(body={"a": 1}, event_types=("a",), headers={"x": "y"})
    assert compile_format(write_source(source)) is compile_format(write_source(source))
    assert msgspec.json.decode(write_source(source), type=PayloadSource) == source
