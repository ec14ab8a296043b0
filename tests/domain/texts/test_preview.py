"""Previews of texts: the weak spots of a body, and the message with its links."""

import json

import pytest

from tests.domain.texts.test_webhook_body import SEED, values
from waypost.domain.texts.preview import EXPLANATIONS, preview_message, redirect_body, render_body
from waypost.domain.texts.request import TextRequest, read_text_request
from waypost.domain.texts.status import REASONS, TextStatus
from waypost.errors import Invalid

NOW = 1_790_000_000_000_000


def test_the_body_of_the_seed_has_no_weak_spot():
    made = render_body(SEED, values(), NOW)
    assert (made.warnings, made.undefined) == ([], [])
    request = read_text_request(made.text.encode())
    assert (request.phone, request.metric, request.purpose) == ("+12025550101", "Flow Name", "Flow Name")


@pytest.mark.parametrize("name", ['Ines "X"', "Ines\nX", "Ines\\"])
def test_values_that_break_the_body_are_named(name):
    made = render_body(SEED, values(first_name=name), NOW)
    (warning,) = made.warnings
    assert warning.field == "body.text"
    assert "the body is then not JSON" in warning.detail
    with pytest.raises(Invalid):
        read_text_request(made.text.encode())


def test_a_number_that_is_too_long_to_read_is_no_surprise():
    body = '{"n": {{ person.n }}, "text": "{{ person.first_name }}"}'
    assert render_body(body, values(n="9" * 5000), NOW).warnings == []
    # A value that closes its string and adds such a number.
    made = render_body(SEED, values(first_name=f'Ines", "n": {"9" * 5000}, "x": "'), NOW)
    assert [warning.field for warning in made.warnings] == ["body.text"]


def test_values_in_json_in_a_string_are_named_too():
    made = render_body(SEED, values(KlaviyoID='01"K'), NOW)
    assert [warning.field for warning in made.warnings] == ["body.callbackData.profileID"]


def test_values_that_change_the_meaning_are_named():
    # It closes the string and adds a field of its own.
    name = 'Ines", "phone": "+12025550199", "x": "'
    made = render_body(SEED, values(first_name=name), NOW)
    assert json.loads(made.text)["phone"] == "+12025550199"
    assert [warning.field for warning in made.warnings] == ["body.text"]
    assert "means something else" in made.warnings[0].detail


def test_what_the_body_itself_escapes_is_no_value():
    body = '{"a": "\\"{{ person.first_name }}\\"\\n", "b": "{{ person.last_name }}"}'
    made = render_body(body, values(last_name='"'), NOW)
    assert [warning.field for warning in made.warnings] == ["body.b"]


def test_tags_outside_of_strings_are_rendered_as_klaviyo_does():
    made = render_body('{"age": {{ person.age }}, "x": {{ person.none }} }', values(age=7), NOW)
    assert (made.text, made.warnings) == ('{"age": 7, "x":  }', [])
    assert [gap.name for gap in made.undefined] == ["person.none"]


def request(**changes: str) -> TextRequest:
    given = {
        "phone": "+12025550101",
        "email": "",
        "text": "Hello",
        "click_url": "",
        "media_url": "",
        "purpose": "Birthday SMS",
        "metric": "",
        "callback_data": "{}",
    } | changes
    return TextRequest(**given)


def test_the_message_is_measured():
    asked = request(text="Szia 👋", media_url="https://a.example/x.png", click_url="https://a.example")
    made = preview_message(asked, "Szia 👋 https://s.example/c/000000000", ["https://a.example"])
    assert (made.text, made.links) == ("Szia 👋 https://s.example/c/000000000", ["https://a.example"])
    assert made.media_url == "https://a.example/x.png"
    assert (made.sms.encoding, made.sms.characters, made.sms.units, made.sms.parts) == ("UCS-2", 36, 37, 1)


def test_every_first_answer_is_explained():
    assert EXPLANATIONS.keys() == {TextStatus.PENDING_TO_SEND, *REASONS}


@pytest.mark.parametrize(
    ("body", "redirected"),
    [
        ('{"phone": "", "email": "x", "text": "\\u00e9"}', {"phone": "+1", "email": "", "text": "é"}),
        ("{}", {"phone": "+1", "email": ""}),
        ("[1]", [1]),
        ('{"a": ', None),
        ("[" * 100_000, None),
        (f'{{"phone": "", "n": {"9" * 5000}}}', None),
    ],
)
def test_a_body_is_redirected_if_it_is_an_object(body, redirected):
    made = redirect_body(body, "+1")
    assert made == body if redirected is None else json.loads(made) == redirected
