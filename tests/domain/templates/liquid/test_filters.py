"""The filters that Klaviyo and Django have, by what Django gives."""

import contextlib
import unicodedata
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waypost.domain.templates.liquid.context import Rendering
from waypost.domain.templates.liquid.dates import DJANGO, STRFTIME, format_moment, read_moment, wrong_code
from waypost.domain.templates.liquid.environment import HTML, PLAIN
from waypost.domain.templates.liquid.filters import FILTERS
from waypost.domain.templates.liquid.number_filters import floatformat
from waypost.domain.templates.liquid.program import Program, compile_source
from waypost.domain.templates.liquid.text_filters import title, truncatechars
from waypost.errors import Error, Invalid

NOW = 1_773_480_413_000_000  # 2026-03-14T09:26:53Z
MOMENT = datetime(2026, 3, 14, 9, 26, 53, 589_793, tzinfo=UTC)


def compiled(source: str, html: bool = False) -> Program:
    return compile_source(source, html=html, longest=10_000, room=100_000, extra={"field": "text"})


def rendered(source: str, html: bool = False, /, **values: Any) -> str:
    return compiled(source, html).render(Rendering(values, NOW))


@pytest.mark.parametrize(
    ("value", "form", "expected"),
    [
        # Django's own documentation of the filter
        (34.23234, None, "34.2"),
        (34.00000, None, "34"),
        (34.26000, None, "34.3"),
        (34.23234, 3, "34.232"),
        (34.00000, 3, "34.000"),
        (34.26000, 3, "34.260"),
        (34.23234, "0", "34"),
        (34.00000, "0", "34"),
        (39.56000, "0", "40"),
        (34.23234, "-3", "34.232"),
        (34.00000, "-3", "34"),
        (34.26000, "-3", "34.260"),
        (34232.34, "2g", "34,232.34"),
        (34232.06, "g", "34,232.1"),
        (34232.00, "-3g", "34,232"),
        (66666.666, "2", "66666.67"),
        (66666.666, "1u", "66666.7"),
        # and its tests
        (7.7, None, "7.7"),
        (7.0, None, "7"),
        (0.7, None, "0.7"),
        (0.07, None, "0.1"),
        (0.007, None, "0.0"),
        (0.0, None, "0"),
        (7.7, 0, "8"),
        (7.7, 3, "7.700"),
        (6.000000, 3, "6.000"),
        (6.200000, -3, "6.200"),
        (13.1031, -3, "13.103"),
        (11.1197, -2, "11.12"),
        (11.0000, -2, "11"),
        (11.000001, -2, "11.00"),
        (8.2798, 3, "8.280"),
        (5555.555, 2, "5555.56"),
        (1.225, 2, "1.23"),
        (-1.323297138040798e35, 2, "-132329713804079800000000000000000000.00"),
        (0, 6, "0.000000"),
        (10, 6, "10.000000"),
        (-0.001, 2, "0.00"),
        ("¿Cómo esta usted?", None, ""),
        (None, None, ""),
        ("1.5", 2, "1.50"),
        (True, None, "1"),
        (float("inf"), 2, "inf"),
    ],
)
def test_floatformat(value, form, expected):
    assert (floatformat(value) if form is None else floatformat(value, form)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the joel on software 3rd place", "The Joel On Software 3rd Place"),
        ("a nice title, isn't it?", "A Nice Title, Isn't It?"),
        ("discoth\xe8que", "Discoth\xe8que"),
        ("555 WEST 53RD STREET", "555 West 53rd Street"),
        ("3Rd", "3rd"),
        ("o'brien's", "O'Brien's"),
        ("JOE O'REILLY", "Joe O'Reilly"),
        ("", ""),
    ],
)
def test_title(text, expected):
    assert title(text) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        # default, whose Django meaning wins over Liquid's
        ("0 | default: 'd'", "d"),
        ("zero|default:'d'", "d"),
        ("false | default: 'd'", "d"),
        ("'' | default: 'd'", "d"),
        ("nil | default: 'd'", "d"),
        ("missing|default:'d'", "d"),
        ("none|default:'d'", "d"),
        ("empty_list|default:'d'", "d"),
        ("1|default:'d'", "1"),
        ("false | default: 'd', allow_false: true", "false"),
        ("person.nick.name|default:''", ""),
        ("none|default_if_none:'d'", "d"),
        ("zero|default_if_none:'d'", "0"),
        ("missing|default_if_none:'d'", ""),
        # lookup
        ("person|lookup:'Loyalty Tier'", "gold"),
        ("event|lookup:'$value'", "29.95"),
        ("event['$value']", "29.95"),
        ("person|lookup:'nothing'|default:'d'", "d"),
        ("missing|lookup:'a'|lookup:'b'|default:'d'", "d"),
        ("list|lookup:1", "b"),
        # letters
        ("'abc def'|upper", "ABC DEF"),
        ("'ABC'|lower", "abc"),
        ("'hello WORLD'|capfirst", "Hello WORLD"),
        ("'hello WORLD'|capitalize", "Hello world"),
        ("'String with spaces'|cut:' '", "Stringwithspaces"),
        ('"I\'m"|addslashes', "I\\'m"),
        ("'Joel is a slug'|slugify", "joel-is-a-slug"),
        ("' Jack & Jill like numbers 1,2,3 '|slugify", "jack-jill-like-numbers-123"),
        ('"Un éléphant à l\'orée du bois"|slugify', "un-elephant-a-loree-du-bois"),
        ("'joel is'|wordcount", "2"),
        ("'Joel'|center:'10'", "   Joel   "),
        ("'Joel'|ljust:6|append:'.'", "Joel  ."),
        ("'Joel'|rjust:6", "  Joel"),
        # length
        ("'abc'|length", "3"),
        ("list|length", "3"),
        ("7|length", "0"),
        ("missing|length", "0"),
        # truncating
        ("'Joel is a slug'|truncatechars:7", "Joel i…"),
        ("'Joel'|truncatechars:4", "Joel"),
        ("'Joel'|truncatechars:0", ""),
        ("'Joel is a slug'|truncatewords:2", "Joel is …"),
        ("'Joel is'|truncatewords:2", "Joel is"),
        ("'Joel is a slug'|truncatewords: 2, '...'", "Joel is..."),
        ("'Joel is a slug'|truncate: 7", "Joel..."),
        # slices
        ("'abcdefg'|slice:':2'", "ab"),
        ("'abcdefg'|slice:'0'", ""),
        ("'abcdefg'|slice:'1'", "a"),
        ("'abcdefg'|slice:'1:'", "bcdefg"),
        ("'abcdefg'|slice:'-1:'", "g"),
        ("'abcdefg'|slice:'0::2'", "aceg"),
        ("'abcdefg'|slice: 1", "b"),
        ("'abcdefg'|slice: 1, 3", "bcd"),
        ("'abcdefg'|slice: -3, 2", "ef"),
        ("list|slice:':2'|join:'-'", "a-b"),
        ("12345|slice:':2'", "12"),
        # numbers
        ("4|add:'2'", "6"),
        ("'4'|add:2", "6"),
        ("'ab'|add:'cd'", "abcd"),
        ("list|add:list|join:''", "abcabc"),
        ("list|add:'x'", ""),
        ("missing|add:'x'", "x"),
        ("4500|intcomma", "4,500"),
        ("'4500.2'|intcomma", "4,500.2"),
        ("45000000|intcomma", "45,000,000"),
        ("-4500|intcomma", "-4,500"),
        ("21|divisibleby:7", "true"),
        ("1|pluralize", ""),
        ("2|pluralize", "s"),
        ("0|pluralize", "s"),
        ("2|pluralize:'es'", "es"),
        ("1|pluralize:'y,ies'", "y"),
        ("2|pluralize:'y,ies'", "ies"),
        ("list|pluralize", "s"),
        ("'1'|pluralize", ""),
        ("'x'|pluralize", ""),
        # yes and no
        ("true|yesno:'yeah,no,maybe'", "yeah"),
        ("false|yesno:'yeah,no,maybe'", "no"),
        ("none|yesno:'yeah,no,maybe'", "maybe"),
        ("none|yesno:'yeah,no'", "no"),
        ("true|yesno", "yes"),
        ("missing|yesno", "no"),
        # lists
        ("list|join:' // '", "a // b // c"),
        ("list|first", "a"),
        ("list|last", "c"),
        ("'a,b'|split:','|last", "b"),
        ("(1..3)|join:','", "1,2,3"),
        # HTML, where nothing is escaped
        ("'<b>Joel</b> <i>is</i> a < b'|striptags", "Joel is a < b"),
        ("'a<!-- b -->c<script>d</script>'|strip_html", "ac"),
        ("'a\nb'|linebreaksbr", "a<br>b"),
        ("'a\nb\n\nc'|linebreaks", "<p>a<br>b</p>\n\n<p>c</p>"),
        ("'<b>'|force_escape", "&lt;b&gt;"),
        ("'<b>'|safe", "<b>"),
        ("'https://www.example.org/foo?a=b&c=d'|urlencode", "https%3A//www.example.org/foo%3Fa%3Db%26c%3Dd"),
        ("'https://www.example.org/'|urlencode:''", "https%3A%2F%2Fwww.example.org%2F"),
        ("event|json", '{"$value":29.95}'),
        ("missing|json", "null"),
        # dates
        ("when|date:'F j, Y'", "March 14, 2026"),
        ("when|date:'%B %-d, %Y'", "March 14, 2026"),
        ("when|date", "March 14, 2026"),
        ("when|time:'H:i'", "09:26"),
        ("when|format_date_string|date:'D d M Y'", "Sat 14 Mar 2026"),
        ("'2026-03-14'|date:'N jS'", "March 14th"),
        ("'now'|date:'Y-m-d H:i:s'", "2026-03-14 09:26:53"),
        ("'next Tuesday'|date:'Y'", "next Tuesday"),
        ("missing|date:'Y'", ""),
        ("1773480413|date:'c'", "2026-03-14T09:26:53+00:00"),
        ("1773480413000|date:'U'", "1773480413"),
        # how Liquid writes what Django writes otherwise
        ("true", "true"),
        ("none", ""),
        ("list", "abc"),
    ],
)
def test_what_filters_give(expression, expected):
    values = {
        "zero": 0,
        "none": None,
        "empty_list": [],
        "person": {"Loyalty Tier": "gold", "nick": None},
        "event": {"$value": 29.95},
        "list": ["a", "b", "c"],
        "when": "2026-03-14T09:26:53.589793Z",
    }
    assert rendered("{{ " + expression + " }}", **values) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ x }}", "&lt;b&gt;&amp;&#34;"),
        ("{{ x | safe }}", '<b>&"'),
        ("{{ x | upper }}", "&lt;B&gt;&amp;&#34;"),
        ("{{ x | force_escape }}", "&lt;b&gt;&amp;&#34;"),
        ("{{ x | linebreaksbr }}", "&lt;b&gt;&amp;&#34;"),
        ("{{ 'a\nb' | linebreaks }}", "<p>a<br>b</p>"),
        ("{{ l | join: '<br>' }}", "&lt;i&gt;<br>b"),
        ("{{ x | append: '<br>' }}", "&lt;b&gt;&amp;&#34;<br>"),
        ("{{ missing | default: '<br>' }}", "<br>"),
        ("{{ x | json }}", "&#34;&lt;b&gt;&amp;\\&#34;&#34;"),
    ],
)
def test_data_is_escaped_in_html_and_the_template_is_not(source, expected):
    assert rendered(source, True, x='<b>&"', l=["<i>", "b"]) == expected


@pytest.mark.parametrize(
    "expression",
    [
        "x | slice: 'a:b'",
        "x | floatformat: 'two'",
        "x | truncatechars: 'a'",
        "x | divisibleby: 0",
        "x | divided_by: 0",
        "'2026-03-14' | date: form",
        "'a' | ljust: 'wide'",
        "'\u00e9' | base64_decode",
    ],
)
def test_what_does_not_fit_is_an_error_and_not_a_guess(expression):
    with pytest.raises(Invalid) as caught:
        rendered("{{ " + expression + " }}", x="12", form="%Q")
    assert caught.value.code == "cannot_render"
    assert (caught.value.extra["line"], caught.value.extra["field"]) == (1, "text")


@pytest.mark.parametrize(
    "expression",
    [
        "x | replace: 'x', y",
        "x | append: x | append: x | append: x",
        "l | concat: l | concat: l | concat: l",
        "l | uniq",
        "l | join: x",
        "n | times: n | times: n | times: n | times: n",
    ],
)
def test_no_filter_gives_more_than_anybody_wants(expression):
    values = {"x": "x" * 300_000, "y": "y" * 1000, "l": list(range(9_000)), "n": 10**300}
    with pytest.raises(Invalid) as caught:
        rendered("{{ " + expression + " | size }}", **values)
    assert caught.value.code == "template_limit"


@pytest.mark.parametrize(
    ("letter", "expected"),
    [
        ("d", "14"), ("j", "14"), ("D", "Sat"), ("l", "Saturday"), ("S", "th"), ("w", "6"), ("z", "73"), ("W", "11"),
        ("m", "03"), ("n", "3"), ("M", "Mar"), ("b", "mar"), ("E", "March"), ("F", "March"), ("N", "March"),
        ("t", "31"), ("y", "26"), ("Y", "2026"), ("L", "False"), ("o", "2026"), ("g", "9"), ("G", "9"), ("h", "09"),
        ("H", "09"), ("i", "26"), ("s", "53"), ("u", "589793"), ("a", "a.m."), ("A", "AM"), ("f", "9:26"),
        ("P", "9:26 a.m."), ("e", "UTC"), ("I", "0"), ("O", "+0000"), ("T", "UTC"), ("Z", "0"),
        ("c", "2026-03-14T09:26:53.589793+00:00"), ("r", "Sat, 14 Mar 2026 09:26:53 +0000"), ("U", "1773480413"),
    ],
)  # fmt: skip
def test_every_letter_of_django(letter, expected):
    assert format_moment(MOMENT, letter) == expected


def test_no_letter_of_django_is_left_out():
    assert set(DJANGO) == set("djDlSwzWmnMbEFNtyYLogGhHisuaAfPeIOTZcrU")


@pytest.mark.parametrize(
    ("at", "form", "expected"),
    [
        (MOMENT, r"jS \o\f F", "14th of March"),
        (MOMENT, "\\", "\\"),
        (MOMENT, "DATE_FORMAT", "March 14, 2026"),
        (datetime(2026, 1, 1, tzinfo=UTC), "P, N jS", "midnight, Jan. 1st"),
        (datetime(2026, 9, 2, 12, tzinfo=UTC), "P, N jS", "noon, Sept. 2nd"),
        (datetime(2026, 9, 3, 13, tzinfo=UTC), "P f jS", "1 p.m. 1 3rd"),
        (datetime(2026, 9, 11, 13, 5, tzinfo=UTC), "P jS", "1:05 p.m. 11th"),
        (datetime(2024, 2, 29, tzinfo=UTC), "t L z", "29 True 60"),
        (datetime(2026, 3, 14, tzinfo=timezone(-timedelta(hours=3, minutes=30))), "O Z", "-0330 -12600"),
    ],
)
def test_formats_of_django(at, form, expected):
    assert format_moment(at, form) == expected


@given(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_codes_of_strftime_are_those_of_the_c_library(at):
    for code in set(STRFTIME) - set("LNPslkhCDeGgnrRtTuVFcxX"):
        assert format_moment(at, f"%{code}") == at.strftime(f"%{code}"), code
    assert format_moment(at, "%Y-%m-%dT%H:%M:%S.%L") == at.isoformat(timespec="milliseconds")[:23]
    assert format_moment(at, "%-d/%-m %e %I%p %%") == f"{at.day}/{at.month} {at.day:2} {at:%I%p} %"
    assert format_moment(at, "%F %T %V %G") == f"{at:%Y-%m-%d %H:%M:%S %V %G}"


@pytest.mark.parametrize(
    ("form", "code"), [("%Y %Q", "%Q"), ("%", "%"), ("50% off", "% "), ("%%", None), ("Y-m", None)]
)
def test_codes_that_are_none_are_found(form, code):
    assert wrong_code(form) == code


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-03-14T09:26:53Z", "2026-03-14T09:26:53+00:00"),
        ("2026-03-14 09:26:53 +02:00", "2026-03-14T09:26:53+02:00"),
        ("2026-03-14T09:26:53.5897931Z", "2026-03-14T09:26:53.589793+00:00"),
        ("20260314", "2026-03-14T00:00:00+00:00"),
        (0, "1970-01-01T00:00:00+00:00"),
        (-1.5, "1969-12-31T23:59:58.500000+00:00"),
        ("1773480413", "2026-03-14T09:26:53+00:00"),
        ("today", "2026-03-14T09:26:53+00:00"),
    ],
)
def test_moments_that_can_be_read(value, expected):
    found = read_moment(value, NOW)
    assert found is not None
    assert found.isoformat() == expected


@pytest.mark.parametrize("value", ["", "soon", True, None, [], {}, "2026-13-01", float("nan"), 10**30, "9" * 50, "é"])
def test_moments_that_cannot_be_read(value):
    assert read_moment(value, NOW) is None


@given(st.text() | st.integers() | st.floats())
def test_reading_a_moment_never_raises(value):
    read_moment(value, None)


@given(st.text(max_size=60), st.integers(-5, 60))
def test_truncatechars_keeps_what_fits(text, most):
    found, whole = truncatechars(text, most), unicodedata.normalize("NFC", text)
    seen = [sum(not unicodedata.combining(character) for character in shown) for shown in (found, whole)]
    assert seen[0] <= max(most, 0)
    if most > 0 and seen[1] <= most:
        assert found == whole
    elif most > 0:
        assert found.endswith("…")


ARGUMENTS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.text(max_size=20),
    st.lists(st.integers() | st.text(max_size=5), max_size=4),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
)


@pytest.mark.parametrize("environment", [PLAIN, HTML], ids=["plain", "html"])
@pytest.mark.parametrize("name", sorted(PLAIN.filters))
@settings(max_examples=25)
@given(value=ARGUMENTS, first=ARGUMENTS, second=ARGUMENTS)
def test_no_filter_raises_anything_of_its_own(name, environment, value, first, second):
    for source in ("{{ v | F }}", "{{ v | F: a }}", "{{ v | F: a, b }}", "{{ m | F }}", "{{ v | F: m }}"):
        source = source.replace("F", name)
        data = {"v": value, "a": first, "b": second}
        try:
            program = compiled(source, environment is HTML)
        except Invalid:
            continue
        for marking in (False, True):
            for render in (program.render, program.value):
                with contextlib.suppress(Error):
                    render(Rendering(data, NOW, marking=marking))


def test_every_filter_says_what_it_gives():
    assert [name for name, work in FILTERS.items() if not work.__doc__] in ([], ["center", "ljust", "rjust"])
