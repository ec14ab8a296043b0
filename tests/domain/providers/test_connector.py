"""Connectors are parsed from TOML, or refused with line and reason; configurations are checked."""

import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.domain.providers.body_template import holds_broken_json
from waypost.domain.providers.connection_config import check_config
from waypost.domain.providers.connector import (
    Auth,
    Callback,
    CallbackReading,
    CallbackStatus,
    Connector,
    ErrorRule,
    Field,
    ResponseReading,
    ResponseRule,
    UnknownStatus,
    ValueLocation,
    Verification,
)
from waypost.domain.providers.definition import parse_own_connector, read_stored_connector
from waypost.domain.templates.liquid.expressions import Unbuildable, compile_text, compile_value
from waypost.domain.values import toml_text
from waypost.domain.values.json_path import find, find_all, is_like
from waypost.engine.providers.connectors import definitions, shipped
from waypost.errors import Invalid

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "connectors.md"
MINIMAL = """\
name = "acme"
label = "Acme"
channel = "sms"
base_url = "https://api.acme.example"
path = "/v1/send"

[body]
to = "{{ message.to }}"
text = "{{ message.text }}"

[[answers]]
status = "2xx"
outcome = "accepted"

[[fields]]
name = "key"
label = "Key"
secret = true
"""


def refusal(text: str, read: Any = parse_own_connector) -> Invalid:
    with pytest.raises(Invalid) as caught:
        read(text, "acme.toml")
    assert caught.value.code == "invalid_connector"
    return caught.value


def attempt(work: Any, *args: Any) -> str | None:
    """Return the code of the error, or None."""
    try:
        work(*args)
    except Invalid as error:
        return error.code
    return None


BATCH = """
name = "crm"
label = "CRM"
channel = "event"
base_url = "https://crm.example.com"
batch_size = 50
[body]
source = "{{ config.key }}"
[body.people]
"$each" = "messages"
email = "{{ recipient.email }}"
data = "{{ message.properties }}"
[[answers]]
status = "2xx"
outcome = "accepted"
[[fields]]
name = "key"
label = "Key"
"""


def test_a_call_may_take_several_messages():
    assert parse_own_connector(BATCH, "crm.toml").batch_size == 50
    for before, after, line, reason in (
        ("{{ config.key }}", "{{ message.id }}", 7, "'message' is one of several messages"),
        ("{{ config.key }}", "{{ recipient.email }}", 7, "'recipient' is one of several messages"),
        ("batch_size = 50", 'batch_size = 50\npath = "/{{ message.to }}"', 6, "'message' is one"),
        ("batch_size = 50", 'batch_size = 50\nheaders = { "X-Id" = "{{ message.id }}" }', 6, "'message' is one"),
        ("batch_size = 50", 'batch_size = 50\nquery = { to = "{{ message.to }}" }', 6, "'message' is one"),
        ('"$each" = "messages"\n', "", 5, '"$each"'),
        ("batch_size = 50", 'batch_size = 50\nread = { id = "id" }', 6, "no id for each"),
        ("batch_size = 50", "batch_size = 1001", 5, "1000"),
    ):
        error = refusal(BATCH.strip("\n").replace(before, after, 1))
        assert error.extra["line"] == line, (after, error.detail)
        assert reason in error.detail, (after, error.detail)
    top, _, bottom = BATCH.partition("[body]")
    with_field = top + 'body_field = "key"\n[[answers]]' + bottom.partition("[[answers]]")[2]
    assert "`body_field`" in refusal(with_field).detail


def test_a_small_definition_is_enough():
    connector = parse_own_connector(MINIMAL, "acme.toml")
    assert (connector.name, connector.channel, connector.driver, connector.batch_size) == ("acme", "sms", "http", 1)
    assert connector.secrets == {"key"}
    assert connector.callback is None


@pytest.mark.parametrize("name", sorted(definitions()))
def test_every_shipped_definition_is_read_under_its_own_name(name):
    connector = shipped()[name]
    assert connector.name == name
    assert connector.setup
    assert all(field.label for field in connector.fields)


def test_these_are_shipped():
    assert set(shipped()) == {
        "aws-pinpoint",
        "aws-end-user-messaging",
        "sendgrid",
        "twilio",
        "wunderkind",
        "klaviyo",
        "smtp",
        "http",
    }
    channels = {name: connector.channel for name, connector in shipped().items()}
    assert channels["klaviyo"] == "event"
    assert {name for name, channel in channels.items() if channel == "email"} == {"sendgrid", "smtp"}
    assert shipped()["aws-pinpoint"].batch_size == 100
    assert {name for name, one in shipped().items() if one.idempotent} == {"klaviyo"}
    assert shipped()["wunderkind"].per_second == 100


# Each change of the small definition, the line of the error, and a word of its reason.
@pytest.mark.parametrize(
    ("before", "after", "line", "word"),
    [
        ('channel = "sms"', "channel = sms", 3, "TOML"),
        ('channel = "sms"', 'channel = "fax"', 3, "channel"),
        ('label = "Acme"\n', "", 1, "label"),
        ('label = "Acme"', "label = 7", 2, "label"),
        ('path = "/v1/send"', 'path = "v1/send"', 5, "slash"),
        ('path = "/v1/send"', 'pathh = "/v1/send"', 5, "pathh"),
        ('path = "/v1/send"', 'path = "/{{ config.account }}"', 5, "'account'"),
        ('base_url = "https://api.acme.example"', 'base_url = "ftp://api.acme.example"', 4, "http"),
        ('base_url = "https://api.acme.example"', 'base_url = "https://api.acme.example/v1"', 4, "path"),
        ('base_url = "https://api.acme.example"', "", 1, "base_url"),
        ('channel = "sms"', 'channel = "fax"', 3, "allowed are email, event, sms"),
        ('path = "/v1/send"', 'pathh = "/v1/send"', 5, "base_url_field, path, query"),
        ('path = "/v1/send"', 'path = "/{{ config.account }}"', 5, "fields are key"),
        ('text = "{{ message.text }}"', 'text = "{{ message.text | shout }}"', 9, "upcase"),
        ('text = "{{ message.text }}"', 'text = \'{"a": "{{ message.text }}"}\'', 9, "$json"),
        ('outcome = "accepted"', 'outcome = "splendid"', 13, "allowed are accepted, misconfigured, rejected"),
        ('outcome = "accepted"', 'outcome = "accepted"\ncode = 2010', 14, "allowed are 2000, 2003"),
        ("secret = true", 'kind = "colour"', 18, "allowed are boolean, choice, number, text"),
        ("[body]", 'errors = { "7" = { code = 2010 } }\n[body]', 7, "2010 is not a delivery failure code"),
        ("[body]", 'headers = { "X-A" = "a\\nX-B: b" }\n[body]', 7, "on one line"),
        ("[body]", 'headers = { "X-A" = "a{{ config.key }}\\r\\nX-B: b" }\n[body]', 7, "on one line"),
        ("[body]", 'auth = { scheme = "header", value = "a\\nb: c" }\n[body]', 7, "on one line"),
        ("[body]", 'auth = { scheme = "header", header = "X Y", value = "a" }\n[body]', 7, "'X Y'"),
        (
            "[body]",
            'callback = { verify = { scheme = "none" }, unknown = { status = "failed", code = 2001 } }\n[body]',
            7,
            "2001",
        ),
        ("[body]", 'callback = { verify = { scheme = "magic" } }\n[body]', 7, "allowed are basic, firehose, header"),
        ('text = "{{ message.text }}"', 'text = "{{ message.txt }}"', 9, "'txt'"),
        ('text = "{{ message.text }}"', 'text = "{{ message.text"', 9, "Liquid"),
        ('text = "{{ message.text }}"', 'text = "{{ message.text | shout }}"', 9, "'shout'"),
        ('text = "{{ message.text }}"', 'text = "{{ person.name }}"', 9, "'person'"),
        ('text = "{{ message.text }}"', 'text = "{% assign a = 1 %}"', 9, "assign"),
        ('text = "{{ message.text }}"', "text = 2026-01-01", 9, "texts"),
        ('text = "{{ message.text }}"', 'text = { "$jsn" = {} }', 9, "$jsn"),
        ('text = "{{ message.text }}"', 'text = { "$json" = {}, more = 1 }', 9, "alone"),
        ('status = "2xx"', 'status = "9xx"', 12, "9xx"),
        ('status = "2xx"\n', "", 11, "condition"),
        ('outcome = "accepted"', 'outcome = "splendid"', 13, "outcome"),
        ('outcome = "accepted"', 'outcome = "retry"', 11, "accepted"),
        ('outcome = "accepted"', 'outcome = "accepted"\nreason = "Not A Word"', 14, "reason"),
        ('name = "key"', 'name = "Key"', 16, "name"),
        ("secret = true", 'secret = "yes"', 18, "secret"),
        ("secret = true", "pattern = '('", 18, "regular"),
        ("secret = true", "pattern = '(?x)(a+) +b'", 18, "(?x"),
        ("secret = true", "pattern = '(?=a)b'", 18, "look-ahead"),
        ("secret = true", "pattern = '(.{100}){100}'", 18, "repeats too often"),
        ("secret = true", 'kind = "choice"', 15, "choices"),
        ("secret = true", "default = 7", 18, "text"),
        ("secret = true", 'secret = true\n[[fields]]\nname = "key"\nlabel = "Key"', 20, "two fields"),
        ("[body]", 'driver = "pinpoint"\n[body]', 7, "of Waypost itself"),
        ("[body]", 'checks = ["pinpoint"]\n[body]', 7, "setup checks"),
        ("[body]", "batch_size = 10\n[body]", 7, "$each"),
        ('text = "{{ message.text }}"', 'text = { "$each" = "people" }', 9, "$each must be 'messages'"),
        ("[body]", 'method = "SEND"\n[body]', 7, "SEND"),
        ("[body]", 'encoding = "xml"\n[body]', 7, "xml"),
        ("[body]", 'base_url_field = "host"\n[body]', 7, "host"),
        ("[body]", 'headers = { "Content-Length" = "1" }\n[body]', 7, "Waypost sets"),
        ("[body]", 'headers = { "X Y" = "1" }\n[body]', 7, "not a valid header"),
        ("[body]", 'auth = { scheme = "magic" }\n[body]', 7, "magic"),
        ("[body]", 'auth = { scheme = "bearer" }\n[body]', 7, "token"),
        ("[body]", 'auth = { scheme = "aws", service = "x" }\n[body]', 7, "region"),
        ("[body]", 'setup = ["{{ nothing }}"]\n[body]', 7, "nothing"),
        ("[body]", 'errors = { "7" = { outcome = "bad" } }\n[body]', 7, "outcome"),
        ("[body]", 'errors = { "7" = { color = "bad" } }\n[body]', 7, "color"),
        ("[body]", 'read = { id = { header = "a", path = "b" } }\n[body]', 7, "either"),
        ("[body]", 'callback = { verify = { scheme = "hmac" } }\n[body]', 7, "key"),
        ("[body]", 'callback = { verify = { scheme = "hmac", key = "k" } }\n[body]', 7, "header"),
        ("[body]", 'callback = { verify = { scheme = "firehose" } }\n[body]', 7, "scheme firehose"),
        (
            "[body]",
            'callback = { verify = { scheme = "none" }, statuses = [{ match = "x", status = "sent" }] }\n[body]',
            7,
            "read.status",
        ),
        (
            "[body]",
            'callback = { verify = { scheme = "none" }, read = { status = "s" }, '
            'statuses = [{ match = "x", status = "queued" }] }\n[body]',
            7,
            "must be sent",
        ),
    ],
)
def test_a_bad_definition_is_refused_with_line_and_reason(before, after, line, word):
    assert MINIMAL.count(before) == 1 or before == "[body]"
    error = refusal(MINIMAL.replace(before, after, 1))
    assert error.extra["line"] == line, error.detail
    assert word in error.extra["reason"], error.detail
    if line:
        assert f"acme.toml, line {line}: " in error.detail


def test_an_error_within_a_text_of_several_lines_names_its_own_line():
    text = MINIMAL.replace('text = "{{ message.text }}"', "text = '''\nHello\n{{ message.txt }}\n'''")
    # The first newline after the quotes is not part of the text.
    assert refusal(text).extra["line"] in (11, 10)


def test_lines_are_found_below_arrays_of_tables():
    text = 'a = 1\n[[x]]\nb = 1\n[[x]]\nb = 2\n[x.y]\nc = """\nb = 3\n"""\n["q.r"]\nd.e = 1\n'
    assert toml_text.locate(text, ("x", 1, "b")) == 5
    assert toml_text.locate(text, ("x", 1, "y", "c")) == 7
    assert toml_text.locate(text, ("x", 0, "nothing")) == 2
    assert toml_text.locate(text, ("q.r", "d", "e")) == 11
    assert toml_text.locate(text, ("nothing",)) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("secret = true", "pattern = '(?=a)b'"),
        ('outcome = "accepted"', 'outcome = "accepted"\ncode = 2010'),
        ("[body]", 'headers = { "X-A" = "a\\nX-B: b" }\n[body]'),
        ('text = "{{ message.text }}"', 'text = \'{"a": "{{ message.text }}"}\''),
    ],
)
def test_what_an_earlier_version_stored_is_still_read(before, after):
    text = MINIMAL.replace(before, after, 1)
    refusal(text)
    assert read_stored_connector(text, "acme").name == "acme"


def test_a_stored_pattern_that_cannot_run_is_named_when_a_value_is_checked():
    connector = read_stored_connector(MINIMAL.replace("secret = true", "pattern = '(?=a)b'"), "acme")
    with pytest.raises(Invalid, match="look-ahead"):
        check_config(connector, {"key": "a"})


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ('{"a": "{{ message.text }}"}', True),
        ('["{{ message.text }}"]', True),
        (' {"a": {"b": "x {{ message.text }} y"}, "c": {{ message.properties | json }}}', True),
        ('{"a": "{{ message.text }}"{% if message.to %}, "b": 1{% endif %}}', True),
        ('{"a": {{ message.text | json }}}', False),
        ("{{ message.text }}", False),
        ("{% if message.text %}a{% endif %}", False),
        ('[Shop] He said "{{ message.text }}"', False),
        ('{"a": "constant"}', False),
        ('{"a \\" b": {{ message.text | json }}}', False),
    ],
)
def test_json_written_as_a_text_is_found(text, broken):
    assert holds_broken_json(text) is broken


def test_a_body_template_with_json_as_a_text_is_refused():
    config = {
        "url": "https://x.example",
        "encoding": "json",
        "body_template": '{"p": "{\\"t\\": \\"{{ message.text }}\\"}"}',
    }
    with pytest.raises(Invalid, match=r"\$json") as caught:
        check_config(shipped()["http"], config)
    assert caught.value.extra["field"] == "body_template"
    config["body_template"] = '{"p": {"$json": {"t": "{{ message.text }}"}}}'
    check_config(shipped()["http"], config)


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('path = "/v1/send"', 'path = "/v1/send"\nx = [\n[ "a' + " " * 50_000 + 'b"],\n]'),
        ('text = "{{ message.text }}"', 'text = "' + "{{" * 9_000 + '"'),
        ('text = "{{ message.text }}"', 'text = "{{' + " " * 18_000 + '"'),
        ('path = "/v1/send"', 'path = "' + "/" * 18_000 + '"\nx = 1'),
        ('base_url = "https://api.acme.example"', 'base_url = "' + "{{a" * 6_000 + '"'),
    ],
    ids=["header", "braces", "spaces", "slashes", "base"],
)
def test_no_definition_takes_long_to_refuse(before, after):
    started = time.perf_counter()
    refusal(MINIMAL.replace(before, after))
    assert time.perf_counter() - started < 2


def test_a_pattern_that_would_backtrack_takes_no_time():
    connector = parse_own_connector(MINIMAL.replace("secret = true", "pattern = '(a+)+b'"), "acme.toml")
    started = time.perf_counter()
    with pytest.raises(Invalid, match="does not have the expected format"):
        check_config(connector, {"key": "a" * 500})
    assert time.perf_counter() - started < 1


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text):
    assert attempt(parse_own_connector, text, "text") in (None, "invalid_connector")


@given(st.integers(0, len(MINIMAL) - 1), st.text(max_size=8))
def test_any_change_is_read_or_refused(at, word):
    text = MINIMAL[:at] + word + MINIMAL[at + 1 :]
    assert attempt(parse_own_connector, text, "text") in (None, "invalid_connector")


def test_a_definition_has_a_largest_size():
    assert "65536" in refusal(MINIMAL + "# " + "x" * 70_000).detail
    assert refusal("a = " + "[" * 5000).code == "invalid_connector"


# Configurations.

PINPOINT = {"region": "eu-west-1", "project_id": "abc", "access_key": "AKIAIOSFODNN7EXAMPLE", "secret_key": "s3cret"}


def test_defaults_are_filled_in():
    config = check_config(shipped()["aws-pinpoint"], PINPOINT)
    assert config["message_type"] == "TRANSACTIONAL"
    assert config["endpoint_url"] == ""
    assert set(config) == {field.name for field in shipped()["aws-pinpoint"].fields}
    assert check_config(shipped()["smtp"], {"host": "mail.example", "from_email": "a@b.example"})["port"] == 587


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"region": None}, "region"),
        ({"region": ""}, "region"),
        ({"sender_id": "x" * 12}, "sender_id"),
        ({"project_id": 7}, "project_id"),
        ({"message_type": "OTHER"}, "message_type"),
        ({"endpoint_url": "ftp://x.example"}, "endpoint_url"),
        ({"endpoint_url": "http://user:pass@x.example"}, "endpoint_url"),
        ({"endpoint_url": "http://x.example/#a"}, "endpoint_url"),
        ({"endpoint_url": "http://"}, "endpoint_url"),
        ({"endpoint_url": "http://x.example:99999"}, "endpoint_url"),
        ({"colour": "red"}, "colour"),
        ({"secret_key": "a\0b"}, "secret_key"),
        ({"secret_key": "a" * 20_001}, "secret_key"),
    ],
)
def test_a_bad_configuration_names_the_field(changes, field):
    with pytest.raises(Invalid) as caught:
        check_config(shipped()["aws-pinpoint"], PINPOINT | changes)
    assert (caught.value.code, caught.value.extra["field"]) == ("invalid_config", field)
    assert "s3cret" not in caught.value.detail


def test_part_of_a_configuration_is_looked_at_by_itself():
    connector = shipped()["aws-pinpoint"]
    assert check_config(connector, {"region": " us-east-1\n"}, partial=True) == {"region": "us-east-1"}
    assert check_config(connector, {"sender_id": None}, partial=True) == {"sender_id": ""}
    assert check_config(connector, {}, partial=True) == {}
    with pytest.raises(Invalid, match="required"):
        check_config(connector, {"project_id": None}, partial=True)


@pytest.mark.parametrize(
    ("name", "value", "fits"),
    [
        ("body_template", '{"to": "{{ message.to }}"}', True),
        ("body_template", '{"to": {{ message.to }}}', False),
        ("body_template", '{"to": "{{ message.tow }}"}', False),
        ("body_template", "to={{ message.to }}&text={{ message.text }}", True),
        ("headers", "X-A: 1\nX-B: {{ message.id }}", True),
        ("headers", "no header", False),
        ("headers", "X-A: {{ message.id", False),
        ("success_statuses", "200, 202", True),
        ("success_statuses", "2xx,304-308", True),
        ("success_statuses", "fine", False),
        ("url", "http://127.0.0.1:8090/hook/a?x=1", True),
        ("url", "/hook/a", False),
    ],
)
def test_the_fields_of_a_gateway_are_checked_for_what_they_are(name, value, fits):
    given = {"url": "https://gateway.example/send"} | {name: value}
    if fits:
        assert check_config(shipped()["http"], given)[name] == value
    else:
        with pytest.raises(Invalid) as caught:
            check_config(shipped()["http"], given)
        assert caught.value.extra["field"] == name


@given(st.dictionaries(st.sampled_from([*PINPOINT, "sender_id", "x"]), st.one_of(st.text(), st.integers(), st.none())))
def test_any_configuration_is_taken_or_refused(given_config):
    assert attempt(check_config, shipped()["aws-pinpoint"], given_config) in (None, "invalid_config")


def test_a_configuration_that_is_checked_again_stays_the_same():
    config = check_config(shipped()["aws-pinpoint"], PINPOINT)
    assert check_config(shipped()["aws-pinpoint"], config) == config


# Expressions and paths.

CONTEXT = {
    "config": {"n": 3, "list": [1, 2], "none": "", "name": "x"},
    "message": {"text": 'say "hi"\n', "metadata": {"a": {"b": 1}}},
    "recipient": {},
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{ config.n }}", 3),
        ("{{config.list}}", [1, 2]),
        ("{{ message.metadata.a }}", {"b": 1}),
        ("{{ message.metadata.a.b }}", 1),
        ("{{ message.metadata.nothing.b }}", None),
        ("{{ config.none | default: config.name }}", "x"),
        ("{{ config.n | default: config.name }}", 3),
        ("n={{ config.n }}", "n=3"),
        ("{{ config.n | plus: 1 }}", "4"),
        ("{% if config.n > 2 %}many{% else %}few{% endif %}", "many"),
        ("{% for one in config.list %}<{{ one }}>{% endfor %}", "<1><2>"),
        ("{{ message.text | json }}", '"say \\"hi\\"\\n"'),
        ("plain", "plain"),
    ],
)
def test_an_expression_gives_its_value(text, value):
    found = compile_value(text)(CONTEXT)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "{% for a in (1..1000000) %}x{% endfor %}",
        "{{ message.text | replace: 'a', message.text | replace: 'a', message.text | replace: 'a', message.text }}",
        "{{ message.text " + "| json " * 40 + "}}",
        "{{ 1 | divided_by: 0 }}",
    ],
)
def test_an_expression_has_limits(text):
    with pytest.raises(Unbuildable) as caught:
        compile_text(text)({"message": {"text": 'a"' * 2000}})
    assert caught.value.reason == "cannot_render"


def test_a_plain_look_up_gives_what_liquid_gives_as_text():
    # The fast path must give the same result.
    for value in ("x", "", 7, 1.5, True, False, None):
        context = {"config": {"a": value}}
        assert compile_text("{{ config.a }}")(context) == compile_text("{{ config.a }}{% if false %}{% endif %}")(
            context
        )


def test_paths():
    value = {"a": [{"b": 1}, {"b": 2}], "c": {"d": None, "e": "x"}, "f.g": 1}
    assert find(value, "a.1.b") == 2
    assert find_all(value, "a.*.b") == [1, 2]
    assert find(value, "c.d|c.e") is None
    assert find(value, "c.z|c.e") == "x"
    assert find(value, "a.9.b") is None
    assert find(value, "a.-1") is None
    assert find(value, "") is value
    assert find("text", "a.b") is None


def test_patterns():
    assert is_like("com.amazonaws#ThrottlingException", "*ThrottlingException")
    assert not is_like("ThrottlingExceptionX", "*ThrottlingException")
    assert is_like(21610, "21610")
    assert is_like("21610", 21610)
    assert is_like(True, True)
    assert is_like("true", True)
    assert not is_like(1, True)
    assert not is_like(None, "*")
    assert not is_like({}, "*")
    assert is_like("b", ("a", "b"))
    assert is_like("a.c", "a.c")
    assert not is_like("abc", "a.c")


@given(st.lists(st.text(alphabet="ab*", max_size=4), max_size=4).map("*".join), st.text(alphabet="ab", max_size=8))
def test_patterns_are_globs(pattern, text):
    expected = re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), text, re.DOTALL) is not None
    assert is_like(text, pattern) == expected


@pytest.mark.parametrize(
    "struct",
    [
        ResponseRule,
        Auth,
        Callback,
        CallbackReading,
        CallbackStatus,
        Connector,
        ErrorRule,
        Field,
        ResponseReading,
        ValueLocation,
        UnknownStatus,
        Verification,
    ],
)
def test_every_key_is_explained(struct):
    named = set(re.findall(r"`([^`\n]+)`", REFERENCE.read_text("utf-8")))
    named |= set(re.findall(r"\[+([a-z.]+)\]+", REFERENCE.read_text("utf-8")))
    named |= {name.rpartition(".")[2] for name in named} | {"path", "header"}
    assert set(struct.__struct_fields__) - named == set()


def test_every_connector_stands_in_the_reference_with_its_figures():
    text = REFERENCE.read_text("utf-8")
    for name, connector in shipped().items():
        rate = "" if connector.per_second is None else f"{connector.per_second:g}"
        safe = "yes" if connector.idempotent else "no"
        row = next(line for line in text.splitlines() if line.startswith(f"| `{name}` | {connector.channel} |"))
        assert [cell.strip() for cell in row.split("|")[4:7]] == [str(connector.batch_size), rate, safe]


@pytest.mark.parametrize(
    "key", ["AKIA", "akiaiosfodnn7example", "AKIA IOSFODNN7EXAMPLE", "arn:aws:iam::1:user/x", "A" * 129]
)
@pytest.mark.parametrize("name", ["aws-pinpoint", "aws-end-user-messaging"])
def test_an_access_key_of_an_impossible_form_is_refused(name, key):
    with pytest.raises(Invalid) as caught:
        check_config(shipped()[name], {"access_key": key}, partial=True)
    assert caught.value.extra["field"] == "access_key"
