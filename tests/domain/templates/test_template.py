"""What a template is: its fields, variants, MJML, the text of a mail, and what people see in a preview."""

import contextlib
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.domain.templates.html_text import text_of, text_template
from waypost.domain.templates.liquid.budget import MESSAGE
from waypost.domain.templates.liquid.checks import DEEPEST_BRACKETS, MOST_TOKENS
from waypost.domain.templates.liquid.environment import PLAIN
from waypost.domain.templates.liquid.lexer import (
    BLOCKS,
    DEEPEST_BLOCKS,
    LONGEST_EXPRESSION,
    MOST_PIECES,
    SINGLE,
    TemplateError,
)
from waypost.domain.templates.mjml import DEEPEST, compile_mjml
from waypost.domain.templates.template import (
    FIELDS,
    LINE_ROOM,
    ROOM,
    CompiledTemplate,
    TemplateSource,
    Variant,
    check_template,
    context_of,
    event_values,
    person_values,
)
from waypost.domain.templates.value_tree import DEEPEST_VALUES, MOST_VALUES
from waypost.errors import Invalid

CONTEXT: dict[str, Any] = {
    "person": {"first_name": "Ada", "email": "ada@example.com", "plan": "<pro>"},
    "event": {"total": 39.5, "items": [{"name": "Shoes", "price": 30}, {"name": "Hat & scarf", "price": 9.5}]},
    "organization": {"name": "Shop"},
}
MJML = "<mjml>\n<mj-body>\n{}\n</mj-body>\n</mjml>"
COLUMN = MJML.format("<mj-section><mj-column>\n{}\n</mj-column></mj-section>")


def template(channel: str, *variants: Variant, **fields: Any) -> CompiledTemplate:
    return check_template(channel, list(variants) or [Variant(content=TemplateSource(**fields))])


def refused(channel: str, *variants: Variant, **fields: Any) -> Invalid:
    with pytest.raises(Invalid) as caught:
        template(channel, *variants, **fields)
    assert caught.value.code == "invalid_template"
    return caught.value


def test_a_text_message():
    made = template(
        "sms",
        text="Hi {{ person.first_name }}, {{ event.items | map: 'name' | join: ', ' }}",
        media_urls=["https://x.example/{{ person.plan | urlencode }}.png", "{% if person.gone %}a{% endif %}"],
        click_url="https://x.example/?a={{ event.total }}",
    )
    content = made.render(CONTEXT)
    assert content.text == "Hi Ada, Shoes, Hat & scarf"
    assert content.media_urls == ["https://x.example/%3Cpro%3E.png"]
    assert content.click_url == "https://x.example/?a=39.5"
    assert content.subject == content.html == ""


def test_a_mail_has_its_parts_escaped_as_each_needs():
    made = template(
        "email",
        subject="{{ person.plan }}\r\nBcc: x@example.com",
        preheader="For {{ person.plan }}",
        html="<html><body class='a'><p>{{ person.plan }}</p></body></html>",
        sender="{{ organization.name }} <shop@example.com>",
        reply_to="help@example.com",
        headers={"X-Total": "{{ event.total }}", "X-Gone": "{{ person.gone }}"},
    )
    content = made.render(CONTEXT)
    assert content.subject == "<pro> Bcc: x@example.com"
    assert content.preheader == "For <pro>"
    assert content.sender == "Shop <shop@example.com>"
    assert content.headers == {"X-Total": "39.5"}
    assert content.text == "<pro>"
    head, _, rest = content.html.partition("<body class='a'>")
    assert (head, rest.endswith("<p>&lt;pro&gt;</p></body></html>")) == ("<html>", True)
    assert rest.startswith('<div style="display:none')
    assert "For &lt;pro&gt;</div>" in rest


def test_the_preheader_stands_in_front_where_there_is_no_body():
    content = template("email", subject="a", preheader="b", html="<p>c</p>").render({})
    assert content.html.startswith("<div style=")
    assert content.html.endswith("b</div><p>c</p>")


def test_the_text_of_a_mail_is_that_which_was_given():
    content = template("email", subject="a", html="<p>b</p>", text="own {{ person.plan }}").render(CONTEXT)
    assert content.text == "own <pro>"


def test_the_text_of_a_mail_is_made_from_its_html():
    source = """<html><head><title>T</title><style>p{}</style></head><body>
      <div style="display:none">hidden</div><h1>Hello {{ person.first_name }}</h1>
      <p>{% if person.plan %}Thanks for <b>your</b>  order.{% endif %}<br>See you</p>
      <table>{% for item in event.items %}<tr><td>{{ item.name }}</td><td>{{ item.price }}</td></tr>{% endfor %}</table>
      <ul><li>one</li><li>two</li></ul>
      <p><a href="https://x.example/?a=1&amp;b={{ event.total }}">Track it</a>
      <a href="https://x.example">https://x.example</a> <a href="#top">top</a>
      <a href="https://s.example"><img src="a.png" alt="Shop"></a> <a href="mailto:a@b.example">a@b.example</a></p>
      <!-- a comment --></body></html>"""
    assert template("email", subject="a", html=source).render(CONTEXT).text.split("\n") == [
        "Hello Ada",
        "",
        "Thanks for your order.",
        "See you",
        "",
        "Shoes 30",
        "Hat & scarf 9.5",
        "  * one",
        "  * two",
        "",
        "Track it (https://x.example/?a=1&b=39.5) https://x.example top Shop (https://s.example) a@b.example",
    ]


def test_html_in_a_variable_is_read_when_it_is_there():
    made = template("email", subject="a", html="<p>{{ x | safe }}</p><div>{{ y }}</div>")
    assert made.render({"x": "<b>bold</b><br>text", "y": "<i>"}).text == "bold\ntext\n\n<i>"


def test_a_tag_that_the_text_has_no_place_for_is_not_lost():
    source = "<p><a {% if x %}href='https://a.example'{% else %}href='https://b.example'{% endif %}>go</a></p>"
    assert text_template(source) is None
    assert template("email", subject="a", html=source).render({"x": True}).text == "go (https://a.example)"


@pytest.mark.parametrize(
    "html", ["", "  ", "<!-- x -->", "\0", "<?xml version='1.0' encoding='latin-1'?>", "<div>" * 2000 + "x"]
)
def test_html_without_a_text_has_none(html):
    assert text_of(html).strip("\ufffd") in ("", "x")


@given(st.text(max_size=200) | st.text(st.sampled_from("<>/=\"' apbrtdhefs&;!-"), max_size=80))
def test_any_html_gives_some_text(html):
    assert isinstance(text_of(html), str)


def test_huge_margins_make_no_empty_lines():
    assert text_of("<p style='margin-top:99999em;padding-left:9999em'>a</p><p>b</p>") == "a\n\nb"


def test_mjml_is_made_into_html_when_it_is_checked():
    source = COLUMN.format(
        '<mj-text>{% if person.plan == "<pro>" %}Hello {{ person.first_name | default: "you" }}{% endif %}</mj-text>'
        '<mj-button href="https://x.example/{{ person.first_name | default: "x" }}">Go</mj-button>'
    )
    variant = Variant(content=TemplateSource(subject="a", preheader="p", mjml=source))
    made = check_template("email", [variant])
    kept = variant.content.made_html
    assert '{% if person.plan == "<pro>" %}Hello {{ person.first_name | default: "you" }}{% endif %}' in kept
    content = made.render(CONTEXT)
    assert content.html.startswith("<!doctype html>")
    assert "Hello Ada" in content.html
    assert 'href="https://x.example/Ada"' in content.html
    assert content.text == "Hello Ada\nGo (https://x.example/Ada)"
    # What was made once is not made again.
    again = msgspec.structs.replace(variant.content, made_html="<p>kept</p>")
    assert CompiledTemplate("email", [Variant(content=again)]).render({}).html.endswith("<p>kept</p>")


def test_loops_around_elements_of_mjml_stay_where_they_are():
    row = "<mj-section><mj-column><mj-text>{{ i.name }}</mj-text></mj-column></mj-section>"
    rows = f"{{% for i in event.items %}}{row}{{% endfor %}}"
    content = template("email", subject="a", mjml=MJML.format(rows)).render(CONTEXT)
    assert content.html.count("<div style=") > 2
    assert content.text.split() == ["Shoes", "Hat", "&", "scarf"]


def test_attributes_of_mjml_keep_their_characters():
    made = compile_mjml(
        COLUMN.format(
            '<mj-image src="a.png" alt="कु 👨‍👩‍👧 a\\b"/><mj-text><p style="color:red;\n margin:0">x</p></mj-text>'
        )
    )
    assert 'alt="कु 👨‍👩‍👧 a&#92;b"' in made
    assert '<p style="color:red;  margin:0">' in made


@pytest.mark.parametrize(
    ("source", "line", "hint"),
    [
        (COLUMN.format("<mj-foo>a</mj-foo>"), 4, "mj-foo"),
        (COLUMN.format("<mj-text>a</mj-button>"), 4, "still open"),
        (COLUMN.format("<mj-text>a"), 5, "still open"),
        (COLUMN.format("<mj-text>1 < 2</mj-text>"), 4, "&lt;"),
        (COLUMN.format("<mj-text><p hidden>a</p></mj-text>"), 4, "quotes"),
        (COLUMN.format("<mj-text color=red>a</mj-text>"), 4, "quotes"),
        (COLUMN.format('\n<mj-include path="/etc/passwd"/>'), 5, "mj-include"),
        (COLUMN.format('<mj-include path="https://x.example/a.mjml" type="css"/>'), 4, "mj-include"),
        (COLUMN.format("<mj-text><![CDATA[a]]></mj-text>"), 4, "CDATA"),
        (COLUMN.format("<mj-text><!-- a</mj-text>"), 4, "-->"),
        ("<!DOCTYPE mjml>" + COLUMN, 1, "declarations"),
        (
            COLUMN.format("<mj-text>" + "<div>" * DEEPEST + "</div>" * DEEPEST + "</mj-text>"),
            4,
            "levels of nested elements",
        ),
        (COLUMN.format("<mj-spacer/>" * 6_000), 4, "more than 5000"),
        (COLUMN.format('<mj-image src="a"\nwidth="{{ w }}"/>'), 5, "does not keep {{ w }}"),
        ("<p>a</p>", 1, "cannot read"),
        ("", 1, "<mjml>"),
        (COLUMN.format("<mj-text>{{ a | nope }}</mj-text>"), 4, "nope"),
        (COLUMN.format("<mj-text>\n{% if a %}</mj-text>"), 5, "never closed"),
    ],
)
def test_mjml_that_is_wrong_is_refused_with_its_line(source, line, hint):
    if source:
        error = refused("email", subject="a", mjml=source)
        assert (error.extra["field"], error.extra["line"]) == ("mjml", line), error.detail
        assert hint in error.detail
    else:
        with pytest.raises(TemplateError, match=hint):
            compile_mjml(source)


@given(st.text(st.sampled_from("<>/=\"' mj-textbody{}%&\n"), max_size=120))
def test_any_mjml_is_made_or_refused(text):
    with contextlib.suppress(TemplateError):
        assert compile_mjml(COLUMN.replace("{}", "<mj-text>" + text + "</mj-text>")).startswith("<!doctype html>")


def test_an_event_keeps_the_kinds_of_its_values():
    made = template(
        "event",
        metric="Order {{ organization.name }}",
        properties={
            "total": "{{ event.total }}",
            "text": "about {{ event.total }}",
            "items": "{{ event.items }}",
            "gone": "{{ person.gone }}",
            "quote": "{{ person.plan | append: '\"' }}",
            "list": ["{{ person.first_name }}", 1, None, {"a": "{{ event.total | times: 2 }}"}],
            "plain": 5,
        },
    )
    content = made.render(CONTEXT)
    assert content.metric == "Order Shop"
    assert content.properties == {
        "total": 39.5,
        "text": "about 39.5",
        "items": CONTEXT["event"]["items"],
        "gone": None,
        "quote": '<pro>"',
        "list": ["Ada", 1, None, {"a": 79.0}],
        "plain": 5,
    }
    msgspec.json.encode(content)


@pytest.mark.parametrize(
    ("channel", "fields", "field"),
    [
        ("fax", {"text": "a"}, "channel"),
        ("sms", {}, "text"),
        ("sms", {"text": " "}, "text"),
        ("sms", {"text": "a", "subject": "b"}, "subject"),
        ("sms", {"text": "a", "media_urls": ["https://x.example"] * 11}, "media_urls"),
        ("sms", {"text": "{{ a"}, "text"),
        ("sms", {"text": "a", "media_urls": ["{{ a"]}, "media_urls"),
        ("sms", {"text": "x" * 10_001}, "text"),
        ("email", {"html": "a"}, "subject"),
        ("email", {"subject": "a"}, "html"),
        ("email", {"subject": "a", "html": "a", "mjml": COLUMN}, "mjml"),
        ("email", {"subject": "{{ a", "html": "a"}, "subject"),
        ("email", {"subject": "a", "html": "{% if %}"}, "html"),
        ("email", {"subject": "a", "text": "{% if %}"}, "text"),
        ("email", {"subject": "a", "preheader": "{{ }}", "text": "a"}, "preheader"),
        ("email", {"subject": "a", "text": "a", "headers": {"a b": "c"}}, "headers"),
        ("email", {"subject": "a", "text": "a", "headers": {"A": "{{ }}"}}, "headers"),
        ("email", {"subject": "a", "text": "a", "sender": "{{ }}"}, "sender"),
        ("event", {"properties": {}}, "metric"),
        ("event", {"metric": "a", "text": "b"}, "text"),
        ("event", {"metric": "a", "properties": {"b": {"c": ["{{ }}"]}}}, "properties.b.c.0"),
        ("event", {"metric": "a", "properties": {"{{ a }}": 1}}, "properties"),
        ("event", {"metric": "a", "properties": {"a": list(range(500))}}, "properties"),
        ("event", {"metric": "a", "properties": {"a": [[[[[[[[[[[]]]]]]]]]]]}}, "properties"),
    ],
)
def test_what_is_wrong_is_named_by_its_field(channel, fields, field):
    assert refused(channel, **fields).extra["field"] == field


def test_variants_need_names_and_weights():
    def of(name: str, weight: float = 1.0, text: str = "a") -> Variant:
        return Variant(name=name, weight=weight, content=TemplateSource(text=text))

    assert refused("sms", of("a"), of("a")).extra["field"] == "variants"
    assert refused("sms", of(" ")).extra["field"] == "variants"
    assert refused("sms", of("a", -1)).extra["field"] == "weight"
    assert refused("sms", of("a", float("nan"))).extra["field"] == "weight"
    assert refused("sms", of("a", 0), of("b", 0)).extra["field"] == "weight"
    assert refused("sms", *[of(str(n)) for n in range(21)]).extra["field"] == "variants"
    error = refused("sms", of("a"), of("b", 1, "x\n{{"))
    assert (error.extra["variant"], error.extra["line"]) == ("b", 2)
    assert "variant 'b'" in error.detail
    with pytest.raises(Invalid, match="1 to 20"):
        check_template("sms", [])


def test_each_person_gets_the_same_variant_and_all_of_them_by_weight():
    made = template(
        "sms",
        *[
            Variant(name=name, weight=weight, content=TemplateSource(text=name))
            for name, weight in (("a", 3), ("b", 0), ("c", 1))
        ],
    )
    picked = [made.render({}, choice=f"+4915100{n}").text for n in range(2000)]
    assert picked == [made.pick(f"+4915100{n}") for n in range(2000)]
    assert set(picked) == {"a", "c"}
    assert 1400 < picked.count("a") < 1600
    assert [made.pick(at) for at in (0.0, 0.74, 0.75, 0.999999)] == ["a", "a", "c", "c"]
    assert made.render({}, variant="b").text == "b"
    assert made.variants == ["a", "b", "c"]
    with pytest.raises(Invalid) as caught:
        made.render({}, variant="d")
    assert caught.value.code == "unknown_variant"


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=8).filter(any),
    st.floats(0, 1, exclude_max=True),
)
def test_a_variant_without_weight_is_never_taken(weights, choice):
    made = CompiledTemplate(
        "sms", [Variant(name=str(n), weight=w, content=TemplateSource(text="a")) for n, w in enumerate(weights)]
    )
    picked = int(made.pick(choice))
    assert weights[picked] > 0 or len(weights) == 1


def test_a_preview_marks_and_measures():
    made = template("sms", text="Hi {{ person.nick }} {{ person.first_name }} — {{ gone | default: 'x' }}")
    seen = made.preview(CONTEXT)
    assert seen.content.text == "Hi ⟦person.nick⟧ Ada — x"
    assert [(gap.name, gap.field, gap.line, gap.column) for gap in seen.undefined] == [("person.nick", "text", 1, 7)]
    assert seen.sms is not None
    assert (seen.sms.encoding, seen.sms.forcing) == ("UCS-2", ["—"])
    assert template("email", subject="a", text="b").preview({}).sms is None


def test_gaps_of_all_fields_are_listed():
    made = template("email", subject="{{ a }}", html="<p>{{ b }}</p>", headers={"X": "{{ c }}"})
    seen = made.preview({})
    assert {(gap.name, gap.field) for gap in seen.undefined} >= {("a", "subject"), ("b", "html"), ("c", "headers")}
    assert seen.content.html == "<p>⟦b⟧</p>"


def test_strict_rendering_refuses_what_is_missing():
    made = template("sms", text="{{ person.nick }}{{ person.first_name }}")
    assert made.render(CONTEXT).text == "Ada"
    with pytest.raises(Invalid) as caught:
        made.render(CONTEXT, strict=True)
    assert caught.value.code == "undefined_variables"
    assert [gap.name for gap in caught.value.extra["undefined"]] == ["person.nick"]
    assert made.render({"person": {"nick": "a", "first_name": "b"}}, strict=True).text == "ab"


def test_the_budget_is_shared_by_all_fields_of_a_message():
    loop = "{% for i in (1..9000) %}x{% endfor %}"
    template("event", metric="a", properties={"a": loop}).render({})
    with pytest.raises(Invalid) as caught:
        template("event", metric="a", properties={str(n): loop for n in range(9)}).render({})
    assert caught.value.code == "template_limit"


def test_the_text_of_long_mails_is_made_once_or_not_at_all():
    long = "<p>" + "word " * 50_000 + "</p>"
    assert len(template("email", subject="a", html=long + "{{ x }}").render({"x": 1}).text) > 200_000
    with pytest.raises(Invalid) as caught:
        template("email", subject="a", html=long + "{{ x | safe }}").render({"x": 1})
    assert caught.value.code == "template_limit"


def test_what_a_template_sees_of_a_person():
    person = person_values(
        "pro_1", {"firstName": "Ada", "plan": "pro", "email": "old"}, {"email": "new", "phone": "+1", "user_id": "u"}
    )
    assert person == {
        "id": "pro_1", "firstName": "Ada", "first_name": "Ada", "plan": "pro", "email": "new", "phone": "+1",
        "phone_number": "+1", "user_id": "u", "external_id": "u",
    }  # fmt: skip
    assert person_values(None, {"first_name": "A", "firstName": "B"}, {})["first_name"] == "A"


def test_what_a_template_sees_of_an_event():
    seen = event_values("evt_1", "2026-03-14T00:00:00Z", {"metric": "Order", "properties": {"total": 5, "id": "own"}})
    assert seen == {"id": "own", "metric": "Order", "time": "2026-03-14T00:00:00Z", "total": 5}
    assert event_values("evt_1", "t", {}) == {"id": "evt_1", "metric": None, "time": "t"}


def test_variables_stand_beside_what_is_always_there():
    assert context_of({"a": 1}, {}, {}, {"code": "X"}) == {
        "code": "X",
        "person": {"a": 1},
        "event": {},
        "organization": {},
    }
    with pytest.raises(Invalid) as caught:
        context_of({}, {}, {}, {"person": 1})
    assert caught.value.code == "invalid_variables"


PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "templates.md").read_text("utf-8")


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_every_filter_is_explained():
    plain, _, table = section("Filters").partition("\nThose of Django")
    cells = re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE)
    listed = {*re.findall(r"`(\w+)`", plain), *(name for cell in cells for name in re.findall(r"`(\w+)[:`]", cell))}
    assert listed == PLAIN.filters.keys()


def test_every_tag_is_explained():
    listed = {
        name
        for row in re.findall(r"^\| (`.*?) \|", section("Tags"), re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }
    assert listed == {*BLOCKS, *SINGLE, "elsif", "else", "when", "comment", "raw"}


def test_every_field_is_explained():
    listed = {
        (name, channel)
        for names, channels in re.findall(r"^\| (`.*?`) \| (.*?) \|", section("Fields"), re.MULTILINE)
        for name in re.findall(r"`(\w+)`", names)
        for channel in re.findall(r"`(\w+)`", channels)
    }
    assert listed == {(name, channel) for channel, names in FIELDS.items() for name in names}


def test_limits_are_as_they_are_told():
    told = {f"{number:,}" for number in (
        *ROOM["text"], *ROOM["sms"], *ROOM["mjml"], *ROOM["html"], *ROOM["properties"], *LINE_ROOM, MOST_PIECES,
        LONGEST_EXPRESSION, MOST_VALUES, MOST_TOKENS, DEEPEST_BRACKETS, DEEPEST_VALUES, DEEPEST_BLOCKS,
        *msgspec.structs.astuple(MESSAGE),
    )}  # fmt: skip
    assert told <= set(re.findall(r"\b\d[\d,]*\b", section("Limits")))


@pytest.mark.parametrize(
    "row", [row for row in section("What is refused, and what to write instead").split("\n") if row.startswith("| `")]
)
def test_what_is_told_to_be_refused_is(row: str):
    """The first thing that each row of the table names, where it is a template by itself."""
    code = re.findall(r"`([^`]+)`", row)[0].replace("\\|", "|")
    closing = {"if": "{% endif %}", "for": "{% endfor %}", "else": "{% endif %}", "elif": "{% endif %}"}
    tag = re.match(r"\{% (\w+)", code)
    if code.startswith("forloop"):
        code = "{% for x in y %}{{ " + code + " }}{% endfor %}"
    refused("sms", text=code + (closing.get(tag[1], "") if tag else ""))
