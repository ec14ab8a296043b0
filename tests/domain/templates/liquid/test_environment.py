"""Liquid in templates: what it takes, what it refuses and where, what it marks, and what it may cost."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waypost.domain.templates.liquid.budget import MESSAGE
from waypost.domain.templates.liquid.context import Rendering, UndefinedVariable
from waypost.domain.templates.liquid.environment import HTML, PLAIN
from waypost.domain.templates.liquid.lexer import BLOCKS, MOST_PIECES, REFUSED, SINGLE
from waypost.domain.templates.liquid.program import Program, compile_source
from waypost.errors import Error, Invalid

T = TypeVar("T")
VALUES: dict[str, Any] = {
    "person": {"first_name": "Ada", "vip": True, "age": 36, "Loyalty Tier": "gold", "tags": ["a", "b"], "none": None},
    "event": {"items": [{"name": "Shoes", "price": 30}, {"name": "Hat", "price": 9.5}], "$value": 39.5},
}


def compiled(source: str, html: bool = False) -> Program:
    return compile_source(source, html=html, longest=400_000, room=10_000, extra={"field": "text"})


def rendered(source: str, html: bool = False) -> str:
    return compiled(source, html).render(Rendering(VALUES))


def gaps(source: str) -> tuple[str, list[UndefinedVariable]]:
    rendering = Rendering(VALUES, marking=True)
    return compiled(source).render(rendering), rendering.gaps or []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("", ""),
        ("Hi {{person.first_name}}!", "Hi Ada!"),
        ("{{ event.items.0.name }}/{{ event.items[1].name }}/{{ event.items.last.price }}", "Shoes/Hat/9.5"),
        ("{{ event.items.size }}", "2"),
        ("{{ person['Loyalty Tier'] }}", "gold"),
        ("{{ person.first_name|upper|default:'x' }}", "ADA"),
        ("{% if not person.gone %}new{% endif %}", "new"),
        ("{% if (person.vip and person.age > 18) or person.gone %}yes{% else %}no{% endif %}", "yes"),
        ("{% if person.vip and (not person.gone) %}yes{% endif %}", "yes"),
        ("{% if 18 < person.age and person.age < 65 %}yes{% endif %}", "yes"),
        ("{% if (1 == 1) == true %}yes{% endif %}", "yes"),
        ("{% if person.gone or person.vip and person.age %}yes{% endif %}", "yes"),
        ("{% if person.tags contains 'a' %}yes{% endif %}", "yes"),
        ("{% if person.gone == nil %}yes{% endif %}", "yes"),
        ("{% if person.gone > 3 %}yes{% else %}no{% endif %}", "no"),
        ("{% if person.tags == empty %}yes{% else %}no{% endif %}", "no"),
        ("{% unless person.vip %}a{% elsif person.age == 36 %}b{% else %}c{% endunless %}", "b"),
        ("{% case person.age %}{% when 35 %}a{% when 36 or 37 %}b{% else %}c{% endcase %}", "b"),
        ("{% for i in event.items %}{{ forloop.index }}{{ i.name }}{% else %}none{% endfor %}", "1Shoes2Hat"),
        ("{% for i in event.gone %}x{% else %}none{% endfor %}", "none"),
        (
            "{% for i in (1..9) limit:3 offset:2 reversed %}{{ i }}{% if i == 4 %}{% break %}{% endif %}{% endfor %}",
            "54",
        ),
        (
            "{% for p in person.tags %}{% for q in (1..2) %}{{ forloop.parentloop.index }}{% endfor %}{% endfor %}",
            "1122",
        ),
        ("{% assign x = person.first_name | lower %}{{ x }}", "ada"),
        ("{% capture x %}<{{ person.age }}>{% endcapture %}{{ x }}{{ x }}", "<36><36>"),
        ("{% with a=1, b=person.age %}{{ a }}{{ b }}{% endwith %}{{ a }}", "136"),
        ("{% cycle 'a', 'b' %}{% cycle 'a', 'b' %}", "ab"),
        ("{% increment n %}{% increment n %}", "01"),
        ("{% echo person.age | plus: 1 %}", "37"),
        ("{% raw %}{{ x }}{% endraw %}", "{{ x }}"),
        ("a {%- if true -%} b {%- endif -%} c", "abc"),
        ("a {{- 'b' -}} c", "abc"),
        ("a{# a comment #}b{# {{ 1 }} #}c", "abc"),
        ("a{% comment %}{% if %}{{ {% comment %}{% endcomment %}{% endcomment %}b", "ab"),
        ("a{% # a comment %}b", "ab"),
        ("@media x{#logo{a:b}}\n#}", "@media x{#logo{a:b}}\n#}"),
        ("a}b%}c}}{d", "a}b%}c}}{d"),
        ("{{ true }}{{ nil }}{{ person.none }}{{ person.tags }}", "trueab"),
        ("{{ -1 }}{{ 1.5 }}{{-1}}", "-11.51"),
    ],
)
def test_what_templates_give(source, expected):
    assert rendered(source) == expected


@pytest.mark.parametrize(
    ("source", "column", "hint"),
    [
        # Django and Klaviyo
        ("{% if a %}{% elif b %}{% endif %}", 14, "elsif"),
        ("{% for a in b %}{% empty %}{% endfor %}", 20, "else"),
        ("{% if a in b %}{% endif %}", 9, "contains"),
        ("{% if a not in b %}{% endif %}", 13, "contains"),
        ("{% if a|length > 2 %}{% endif %}", 8, "assign"),
        ("{% for a in b|slice:':2' %}{% endfor %}", 14, "assign"),
        ("{% for k, v in a.items %}{% endfor %}", 9, "pair[0]"),
        ("{% for a in b %}{{ forloop.counter }}{% endfor %}", 20, "forloop.index"),
        ("{% for a in b %}{{ forloop.parentloop.counter0 }}{% endfor %}", 20, "forloop.index0"),
        ("{% for a in b %}{% if forloop.revcounter == 1 %}{% endif %}{% endfor %}", 23, "forloop.rindex"),
        ("{% if a is None %}{% endif %}", 12, "write nil"),
        ("{% if a is b %}{% endif %}", 9, "== nil"),
        ("{% if a == None %}{% endif %}", 12, "nil"),
        ("{% if a == True %}{% endif %}", 12, "true"),
        ("{% today %}", 4, "'now' | date"),
        ("{% unsubscribe 'here' %}", 4, "unsubscribe_url"),
        ("{% coupon_code 'x' %}", 4, "coupons"),
        ("{% catalog 'x' %}{% endcatalog %}", 4, "catalogs"),
        ("{% web_feed 'x' %}", 4, "fetch"),
        ("{% load humanize %}", 4, "leave it out"),
        ("{% include 'a' %}", 4, "other templates"),
        ("{% render 'a' %}", 4, "other templates"),
        ("{{ event.$value }}", 10, "lookup"),
        ("{{ a|random }}", 6, "variants"),
        # what Liquid would take and mean otherwise
        ("{% if empty %}{% endif %}", 7, "compared"),
        ("{{ blank }}", 4, "compared"),
        ("{% if a and b or c %}{% endif %}", 15, "parentheses"),
        ("{% if not a and b %}{% endif %}", 7, "(not"),
        ("{% if (not a or b) and c %}{% endif %}", 8, "(not"),
        ("{% if 1 < a < 3 %}{% endif %}", 13, "`and`"),
        ("{% if a and b == c == d %}{% endif %}", 20, "`and`"),
        ("{{ a -1 }}", 6, "minus"),
        ("{{ a 1 }}", 6, "sign"),
        ("{{ a.b.0 c }}", 10, "dot"),
        ("{{ a. }}", 5, "after the dot"),
        ("{{ a.in }}", 6, "['in']"),
        ("{% if a %}{% else if b %}{% endif %}", 19, "elsif"),
        ("{% if a %}{% else %}{% elsif b %}{% endif %}", 24, "else"),
        ("{% if a %}{% else %}{% else %}{% endif %}", 24, "else"),
        ("{% if a %}{% endif x %}", 20, "takes no arguments"),
        ("{% case a %}text{% when 1 %}{% endcase %}", 13, "case"),
        ("{% case a %}{{ x }}{% when 1 %}{% endcase %}", 13, "case"),
        ("{% case a %}{% else %}{% endcase %}", 16, "when"),
        ("{% case a %}{% when 1 2 %}{% endcase %}", 23, ""),
        ("{% case a %}{% when 1, %}{% endcase %}", 22, "missing"),
        ("{% ifchanged a %}{% endifchanged %}", 14, "takes no arguments"),
        ("{% increment a b %}", 14, "one name"),
        ("{% if a = b %}{% endif %}", 9, "=="),
        ("{% break %}", 4, "for"),
        ("{% for a in b %}{% else %}{% break %}{% endfor %}", 30, "for"),
        # plain mistakes
        ("{{ a", 1, "closed"),
        ("{% if a", 1, "closed"),
        ("{{ }}", 1, "nothing"),
        ("{% %}", 1, "name"),
        ("{% if %}{% endif %}", 4, "expression"),
        ("{% if a %}", 4, "never closed"),
        ("{% if a %}{% endfor %}", 14, "still open"),
        ("{% endif %}", 4, "closes nothing"),
        ("{% else %}", 4, "must be directly inside"),
        ("{% comment %}a", 1, "endcomment"),
        ("{% raw %}a", 1, "endraw"),
        ("{% endraw %}", 4, "closes nothing"),
        ("{% iff a %}", 4, "'if'"),
        ("{{ a | defualt: 'x' }}", 8, "'default'"),
        ("{{ a | upper: 1 }}", 8, "arguments"),
        ("{{ a | default }}", 8, "arguments"),
        ("{{ a | date: 'Y', context: 1 }}", 8, "context"),
        ("{{ a | date: '%Q' }}", 14, "strftime"),
        ("{{ a | }}", 4, "expected"),
        ("{{ 'a }}", 4, "quote"),
        ("{{ a + b }}", 6, "plus"),
        ("{{ a ? b }}", 6, ""),
        ("{% if a == %}{% endif %}", 7, "expected"),
        ("{% for a of b %}{% endfor %}", 10, ""),
        ("{% assign a b %}", 13, ""),
    ],
)
def test_what_is_refused_and_where(source, column, hint):
    with pytest.raises(Invalid) as caught:
        compiled("first line\n" + source)
    error = caught.value
    assert error.code == "invalid_template"
    assert (error.extra["field"], error.extra["line"], error.extra["column"]) == ("text", 2, column), error.detail
    assert hint in error.detail
    assert error.detail.startswith(f"text, line 2, column {column}: ")


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_tags_of_others_are_refused_by_name(name):
    with pytest.raises(Invalid, match="not supported"):
        compiled(f"{{% {name} %}}")


def test_only_the_tags_that_are_meant_are_there():
    for environment in (PLAIN, HTML):
        assert set(environment.tags) == {*BLOCKS, *SINGLE, "content", "output", "illegal"}


def test_what_is_missing_is_empty_when_sending():
    source = "a{{ person.nick }}{{ gone.a.b }}{{ person.nick | upper | append: '!' }}{{ event.items[9].name }}z"
    assert rendered(source) == "a!z"


@pytest.mark.parametrize(
    ("source", "expected", "names"),
    [
        ("Hi {{ person.nick }}", "Hi ⟦person.nick⟧", [("person.nick", 1, 7)]),
        ("{{ person.nick | upper | truncate: 3 }}", "⟦person.nick⟧", [("person.nick", 1, 4)]),
        ("\n {{ gone }}{{ gone }}", "\n ⟦gone⟧⟦gone⟧", [("gone", 2, 5), ("gone", 2, 15)]),
        ("{{ event.items[9].name }}", "⟦event.items[9].name⟧", [("event.items[9].name", 1, 4)]),
        ("{{ person['a b'] }}", "⟦person['a b']⟧", [("person['a b']", 1, 4)]),
        ("{{ person | lookup: 'a b' }}", "⟦['a b']⟧", [("['a b']", 1, 13)]),
        ("{{ 'x' | append: gone }}", "x⟦gone⟧", [("gone", 1, 18)]),
        ("{% assign x = person.nick %}{{ x }}", "⟦person.nick⟧", [("person.nick", 1, 15)]),
        ("{% for i in gone %}{{ i }}{% endfor %}", "", [("gone", 1, 13)]),
        # asking whether something is there is no mistake
        ("{% if person.nick %}a{% endif %}", "", []),
        ("{% if person.nick == 'a' %}a{% endif %}", "", []),
        ("{{ person.nick | default: 'you' }}", "you", []),
        ("{{ person.none }}", "", []),
    ],
)
def test_what_is_missing_is_marked_where_somebody_looks(source, expected, names):
    text, found = gaps(source)
    assert text == expected
    assert [(gap.name, gap.line, gap.column) for gap in found] == names
    assert {gap.field for gap in found} <= {"text"}


def test_a_template_knows_no_present_but_the_one_it_is_given():
    program = compiled("{{ 'now' | date: '%Y' }}{{ now }}{{ today }}")
    assert program.render(Rendering({})) == "now"
    assert program.render(Rendering({}, 0)) == "1970"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ person.age }}", 36),
        ("{{ event['$value'] | times: 2 }}", 79.0),
        ("{{ event.items }}", VALUES["event"]["items"]),
        ("{{ person.vip }}", True),
        ("{{ person.none }}", None),
        ("{{ person.gone }}", None),
        ("{{ (1..3) }}", [1, 2, 3]),
        ("{{ person.first_name }}", "Ada"),
        ("{{ '2026-03-14' | format_date_string }}", "2026-03-14T00:00:00+00:00"),
        (" {{ person.age }}", " 36"),
        ("36", "36"),
        ("", ""),
    ],
)
def test_an_output_alone_gives_a_value(source, expected):
    found = compiled(source).value(Rendering(VALUES))
    assert found == expected
    assert type(found) is type(expected)


def test_a_mark_is_a_value_too():
    assert compiled("{{ person.gone }}").value(Rendering(VALUES, marking=True)) == "⟦person.gone⟧"


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in (1..10001) %}{% endfor %}",
        "{% for i in (1..1000000000000) reversed %}{% endfor %}",
        "{% for i in (1..101) %}{% for j in (1..101) %}{% endfor %}{% endfor %}",
        "{% for i in (1..9000) %}" + "{% if 1 == 1 %}{% endif %}" * 10 + "{% endfor %}",
        "{% for i in (1..9000) %}{{ i }}{{ i }}{{ i }}{% endfor %}",
        "{% assign x = 'a' %}{% for i in (1..40) %}{% assign x = x | append: x %}{% endfor %}",
        "{% assign x = 9 %}{% for i in (1..40) %}{% assign x = x | times: x %}{% endfor %}",
        "{% for i in (1..9000) %}{% capture a %}" + "x" * 1000 + "{% endcapture %}{% endfor %}",
        "x" * 9_000 + "{{ person.first_name }}" * 500,
        "{% assign r = (1..9999999999) %}",
    ],
)
def test_no_template_takes_more_than_it_may(source):
    with pytest.raises(Invalid) as caught:
        rendered(source)
    assert caught.value.code == "template_limit"
    assert caught.value.extra["field"] == "text"


def test_the_budget_is_that_of_a_message():
    program = compiled("{% for i in (1..2000) %}{{ i | upper }}{% endfor %}")
    rendering = Rendering({})
    program.render(rendering)
    spent = MESSAGE.steps - rendering.budget.steps
    assert spent > 2000
    for _ in range(MESSAGE.steps // spent - 1):
        program.render(rendering)
    with pytest.raises(Invalid) as caught:
        program.render(rendering)
    assert caught.value.code == "template_limit"


@pytest.mark.parametrize(
    ("source", "column"),
    [
        ("{{" * 100_000, 1),
        ("{% comment %}" * 20_000, 1),
        ("{% comment %}" + "{{" * 100_000, 1),
        ("{% raw %}" * 30_000, 1),
        ("{% if a %}" * 1_000, 20 * 10 + 4),
        ("{% if " + "(" * 30 + "a" + ")" * 30 + " %}{% endif %}", 17),
        ("{{ a" + "[a" * 30 + "]" * 30 + " }}", 25),
        ("{% if " + " and ".join("a" * 300) + " %}{% endif %}", 7),
        ("{{ a | default: '" + "x" * 3_000 + "' }}", 1),
        ("{{ a }}" * (MOST_PIECES + 1), MOST_PIECES * 7 + 1),
        ("x" * 400_001, 400_001),
    ],
)
def test_sources_that_are_too_much_are_refused_quickly(source, column):
    with pytest.raises(Invalid) as caught:
        compiled(source)
    assert (caught.value.code, caught.value.extra["column"]) == ("invalid_template", column)


def test_data_cannot_be_called_nor_looked_into():
    for source in (
        "{{ person.__class__ }}",
        "{{ person.items }}",
        "{{ person.upper }}",
        "{{ person.first_name.__len__ }}",
    ):
        assert rendered(source) == ""


def test_text_is_not_escaped_and_html_is():
    rendering = Rendering({"x": "<&>"})
    assert compiled("{{ x }}").render(rendering) == "<&>"
    assert compiled("{{ x }}", html=True).render(rendering) == "&lt;&amp;&gt;"


NAMES = st.sampled_from(
    ["person", "person.first_name", "event.items", "person.gone", "x", "i", "event['$value']", "x.0"]
)
LITERALS = st.sampled_from(
    ["1", "-1", "0", "1.5", "'a'", "''", "true", "nil", "(1..3)", "(x..5)", "empty", "'%Y'", "None"]
)
VALUE = NAMES | LITERALS
FILTER = st.builds(
    lambda name, args: name + (": " + ", ".join(args) if args else ""),
    st.sampled_from(sorted(PLAIN.filters)),
    st.lists(VALUE, max_size=2),
)
EXPRESSION = st.builds(lambda value, filters: " | ".join([value, *filters]), VALUE, st.lists(FILTER, max_size=2))
OPERATOR = st.sampled_from(["==", "!=", "<", ">", "<=", ">=", "contains", "and", "or", "in", "<>"])
CONDITION = st.builds(
    lambda first, rest: " ".join([first, *(part for pair in rest for part in pair)]),
    VALUE | st.just("not x") | st.just("(x and i)"),
    st.lists(st.tuples(OPERATOR, VALUE), max_size=2),
)
LEAF = (
    st.sampled_from(
        ["text ", "\n", "{", "}}", "{#c#}", "{% break %}", "{% continue %}", "{% cycle 'a', x %}", "{{", "%}"]
    )
    | st.builds("{{{{ {} }}}}".format, EXPRESSION)
    | st.builds("{{% assign x = {} %}}".format, EXPRESSION)
    | st.builds("{{% increment {} %}}".format, NAMES)
)
TEMPLATE = st.recursive(
    LEAF,
    lambda inner: (
        st.builds("".join, st.lists(inner, max_size=4))
        | st.builds("{{% if {} %}}{}{{% else %}}{}{{% endif %}}".format, CONDITION, inner, inner)
        | st.builds("{{%- unless {} -%}}{}{{% endunless %}}".format, CONDITION, inner)
        | st.builds("{{% for i in {} reversed limit:{} %}}{}{{% endfor %}}".format, VALUE, VALUE, inner)
        | st.builds("{{% for i in {} %}}{}{{% else %}}{}{{% endfor %}}".format, VALUE, inner, inner)
        | st.builds("{{% case {} %}}{{% when {} %}}{}{{% endcase %}}".format, VALUE, VALUE, inner)
        | st.builds("{{% capture x %}}{}{{% endcapture %}}".format, inner)
        | st.builds("{{% ifchanged %}}{}{{% endifchanged %}}".format, inner)
        | st.builds("{{% with x={} %}}{}{{% endwith %}}".format, VALUE, inner)
    ),
    max_leaves=12,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def ours(work: Callable[[], T], *codes: str) -> T | None:
    """What the work gives, or nothing where it raises an error of ours with one of these codes, that says where."""
    try:
        return work()
    except Error as error:
        told = error
    assert told.code in codes
    assert told.extra["line"] >= 1
    assert told.extra["column"] >= 1
    return None


@settings(max_examples=500)
@given(TEMPLATE | st.text(st.sampled_from("{}%#-|:'\". axif endif\n"), max_size=40), JSON, JSON, st.booleans())
def test_nothing_but_our_own_errors_comes_out(source, x, gone, html):
    values = {**VALUES, "x": x, "i": gone}
    program = ours(lambda: compiled(source, html), "invalid_template")
    for marking in (False, True):
        for render in (program.render, program.value) if program else ():
            ours(partial(render, Rendering(values, 0, marking=marking)), "cannot_render", "template_limit")


@given(st.text(max_size=200))
def test_text_without_marks_is_itself(text):
    if "{" not in text:
        assert compiled(text).render(Rendering({})) == text
        assert compiled(text).constant


@settings(max_examples=100)
@given(TEMPLATE)
def test_rendering_twice_gives_the_same(source):
    values: dict[str, Any] = {**VALUES, "x": [1, 2], "i": "a"}
    try:
        program = compiled(source)
        first = program.render(Rendering(values))
    except Error:
        return
    assert program.render(Rendering(values)) == first
    assert values["x"] == [1, 2]


EMPTY: dict[str, Any] = {"zero": 0, "none": None, "point": 0.0, "text": "", "list": [], "table": {}, "no": False}
FULL: dict[str, Any] = {
    "one": 1,
    "minus": -0.5,
    "word": "0",
    "items": [0],
    "pairs": {"a": None},
    "yes": True,
    "space": " ",
}


@pytest.mark.parametrize("name", [*EMPTY, "missing", "zero.member", *FULL])
@pytest.mark.parametrize(
    "source",
    [
        "{% if NAME %}yes{% else %}no{% endif %}",
        "{% unless NAME %}no{% else %}yes{% endunless %}",
        "{% if not NAME %}no{% else %}yes{% endif %}",
        "{% if one == 2 %}{% elsif NAME %}yes{% else %}no{% endif %}",
        "{% if NAME and yes %}yes{% else %}no{% endif %}",
        "{% if yes and NAME %}yes{% else %}no{% endif %}",
        "{% if NAME or no %}yes{% else %}no{% endif %}",
        "{% if no or NAME %}yes{% else %}no{% endif %}",
        "{% if (NAME or no) and (not zero) %}yes{% else %}no{% endif %}",
        "{% for i in (1..1) %}{% if NAME %}yes{% else %}no{% endif %}{% endfor %}",
        "{% capture x %}{% if NAME %}yes{% else %}no{% endif %}{% endcapture %}{{ x }}",
        "{{ NAME | yesno: 'yes,no,no' }}",
        "{% assign x = NAME | default: 'nothing' %}{% if x == 'nothing' %}no{% else %}yes{% endif %}",
    ],
)
def test_truth_is_that_of_django(source, name):
    expected = "yes" if name in FULL else "no"
    program = compiled(source.replace("NAME", name))
    assert program.render(Rendering({**EMPTY, **FULL})) == expected
    if "yesno" not in source:
        assert program.render(Rendering({**EMPTY, **FULL}, marking=True)) == expected


@pytest.mark.parametrize(
    ("literal", "expected"),
    [("0", "no"), ("0.0", "no"), ("''", "no"), ("nil", "no"), ("false", "no"), ("1", "yes"), ("'a'", "yes")],
)
def test_literals_are_as_true_as_data(literal, expected):
    assert rendered("{% if LITERAL %}yes{% else %}no{% endif %}".replace("LITERAL", literal)) == expected


def test_a_missing_value_that_went_through_a_filter_stays_false_in_a_preview():
    source = "{% assign x = nothing | upcase %}{% if x %}yes{% else %}no{% endif %}{{ x }}"
    assert rendered(source) == "no"
    assert gaps(source)[0] == "no⟦nothing⟧"
