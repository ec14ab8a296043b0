"""Bodies of webhooks with Klaviyo's tags, rendered plainly and as JSON."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.domain.texts.webhook_body import DEEPEST, LONGEST_SOURCE, compile_body
from waypost.errors import Invalid

#: The body of the seed, as a marketer writes it into Klaviyo.
SEED = """{
"phone": "{{ person.phone_number|default:'' }}",
"email": "{{ person.email }}",
"text": "BrandName: Happy Birthday, {{ person.first_name|default:'' }}!",
"clickUrl": "https://click.example.com",
"mediaUrl": "https://example.com/image/1.jpg",
"callbackData":"{\\"profileID\\":\\"{{ person.KlaviyoID|default:''}}\\",\\"metricName\\":\\"Flow Name\\",\
\\"flow\\":\\"Flow Name\\"}" ,
"sendPurpose": "Flow Name"
}"""
INES = {"phone_number": "+12025550101", "email": "ines@example.test", "first_name": "Ines", "KlaviyoID": "01K"}


def values(**person: object) -> dict[str, object]:
    return {"person": INES | person, "event": {}, "organization": {}}


@pytest.mark.parametrize("plain", [False, True])
def test_the_body_of_the_seed(plain):
    body = json.loads(compile_body(SEED, plain=plain).render(values()))
    assert body == {
        "phone": "+12025550101",
        "email": "ines@example.test",
        "text": "BrandName: Happy Birthday, Ines!",
        "clickUrl": "https://click.example.com",
        "mediaUrl": "https://example.com/image/1.jpg",
        "callbackData": '{"profileID":"01K","metricName":"Flow Name","flow":"Flow Name"}',
        "sendPurpose": "Flow Name",
    }


def test_what_has_no_tags_stays_as_it_is_written():
    source = '{ "a" : 1.50,\t"b":[ "x\\u0041" , {"c":"{{ person.first_name }}"}, 12345678901234567890 ],"a":2 }\n'
    assert compile_body(source).render(values()) == source.replace("{{ person.first_name }}", "Ines")


NASTY = 'Ines "the\\great"\n\t\u2028\x00 {{ person.email }} {% if %}'


def test_values_do_not_break_the_json():
    body = json.loads(compile_body(SEED).render(values(first_name=NASTY, KlaviyoID=NASTY)))
    assert body["text"] == f"BrandName: Happy Birthday, {NASTY}!"
    # JSON within a string, where a plain rendering would need two escapes.
    assert json.loads(body["callbackData"]) == {"profileID": NASTY, "metricName": "Flow Name", "flow": "Flow Name"}


@pytest.mark.parametrize("name", ['Ines "X"', "Ines\nX", "Ines\\"])
def test_values_break_a_plain_rendering(name):
    with pytest.raises(json.JSONDecodeError):
        json.loads(compile_body(SEED, plain=True).render(values(first_name=name)))


def test_an_object_is_rendered_like_a_text():
    source = {
        "a": ["{{ person.first_name }}", 5, None],
        "b": {"{{ person.email }}": "{%if person.x%}y{%else%}z{%endif%}"},
    }
    assert json.loads(compile_body(source).render(values())) == {
        "a": ["Ines", 5, None],
        "b": {"ines@example.test": "z"},
    }


def test_text_that_only_looks_like_json_is_text():
    source = {
        "a": "[{{ person.first_name }}]",
        "b": "{{ person.first_name }}",
        "c": "{x {{ person.first_name }}}",
        "d": "[1, 2 ]",
    }
    assert json.loads(compile_body(source).render(values(first_name='"'))) == {
        "a": '["]',
        "b": '"',
        "c": '{x "}',
        "d": "[1, 2 ]",
    }


def test_undefined_variables_are_named_with_their_place():
    body = compile_body(SEED.replace("person.email", "person.mail"))
    (gap,) = body.undefined(values())
    assert (gap.name, gap.field, gap.line, gap.column) == ("person.mail", "body.email", 1, 4)
    assert '"email": ""' in body.render(values())


@pytest.mark.parametrize(
    ("source", "field"),
    [
        ({"text": "{{ person.first_name | nonsense }}"}, "body.text"),
        ({"a": [1, {"b c": "{% if x %}"}]}, "body.a.1.b c"),
        ({"callbackData": json.dumps({"profileID": "{{ }}"})}, "body.callbackData.profileID"),
        ({"{{ person": 1}, "body"),
        ('"{{"', "body"),
    ],
)
def test_a_wrong_tag_is_named_with_its_place(source, field):
    with pytest.raises(Invalid) as caught:
        compile_body(source)
    assert (caught.value.code, caught.value.extra["field"]) == ("invalid_template", field)
    assert caught.value.extra["line"] == 1
    assert field in caught.value.detail


@pytest.mark.parametrize(
    ("source", "line", "column"),
    [
        ("", 1, 1),
        ("nope", 1, 1),
        ('{"age": {{ person.age }}}', 1, 10),
        ('{\n"a": "{{ person.a|default:"x" }}"}', 2, 28),
        ('{"a": 1', 1, 8),
        ('{"a": NaN}', 1, 1),
        ("[" * 50_000, 1, 1),
        (f'{{"a": {"9" * 5000}}}', 1, 1),
    ],
)
def test_a_body_must_be_json_before_it_is_rendered(source, line, column):
    with pytest.raises(Invalid) as caught:
        compile_body(source)
    assert caught.value.code == "invalid_template"
    assert (caught.value.extra["line"], caught.value.extra["column"]) == (line, column)
    assert "inside strings" in caught.value.detail


def test_sizes_are_limited():
    with pytest.raises(Invalid, match=f"more than {LONGEST_SOURCE}"):
        compile_body({"a": "x" * LONGEST_SOURCE})
    source: dict[str, Any] = {"a": "{{ person.first_name }}"}
    for _ in range(DEEPEST + 3):
        source = {"a": json.dumps(source)}
    # Deeper than that the JSON is text; its quotes are those of the source.
    rendered = compile_body(source).render(values())
    for _ in range(DEEPEST + 3):
        rendered = json.loads(rendered)["a"]
    assert json.loads(rendered) == {"a": "Ines"}


TAG = "{{ person.first_name }}"
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="{}%"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT | st.just(TAG) | TEXT.map(lambda text: f"{text}{TAG}{text}"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)


def filled(value: Any, name: str) -> Any:
    """The value with each tag replaced."""
    if isinstance(value, dict):
        return {key: filled(inner, name) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, name) for inner in value]
    return value.replace(TAG, name) if isinstance(value, str) else value


@given(JSON, st.text())
def test_whatever_the_name_is_the_json_is_the_same_with_it(source, name):
    rendered = compile_body(json.dumps(source)).render(values(first_name=name))
    assert json.loads(rendered) == filled(source, name)
    # As JSON in a string of JSON, too.
    if isinstance(source, dict | list):
        outer = json.loads(compile_body({"callbackData": json.dumps(source)}).render(values(first_name=name)))
        assert json.loads(outer["callbackData"]) == filled(source, name)
