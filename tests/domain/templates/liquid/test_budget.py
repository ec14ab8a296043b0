"""What rendering costs: that all work is counted, and that no source can make more than its budget.

Work is counted, not timed: the functions that run, the characters that filters take and return, and the pairs that they
compare.
"""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from liquid.builtin.expressions import loop as loop_expression
from liquid.builtin.expressions import primitive

from waypost.domain.messaging.message import Content, Outgoing
from waypost.domain.providers.request import message_context
from waypost.domain.templates.liquid import context as rendering_context
from waypost.domain.templates.liquid import expressions
from waypost.domain.templates.liquid.budget import (
    CHARACTERS_PER_STEP,
    CONNECTOR,
    COPIED_PER_STEP,
    ITEM,
    MESSAGE,
    Budget,
    Limits,
    measure,
)
from waypost.domain.templates.liquid.context import Rendering
from waypost.domain.templates.liquid.environment import CONNECTORS, HTML, PLAIN
from waypost.domain.templates.liquid.expressions import RequestContext, Unbuildable, compile_text
from waypost.domain.templates.liquid.filter_costs import COSTS, PAIRS_PER_STEP, UNMEASURED
from waypost.domain.templates.liquid.program import compile_source
from waypost.errors import Invalid

#: More than any source of these tests takes.
PLENTY = Limits(
    steps=10**12, iterations=10**6, numbers=10**6, characters=10**8, items=10**7, digits=10**4, assigned=10**9
)
#: As the limits of connectors, only tighter, so that a thousand random sources take a second or two.
TIGHT = msgspec.structs.replace(CONNECTOR, steps=1_500, iterations=200, numbers=300, characters=20_000, items=300)
#: The functions of Python and C that one step may call, at most; most steps call two or three.
CALLS_PER_STEP = 80

DEEP: Any = 0
for _ in range(90):
    DEEP = {"a": [DEEP]}
SHARED = [{"a": "x" * 1_000}] * 300
DATA: dict[str, Any] = {
    "long": "a" * 10_000,
    "same": "".join(["a"] * 10_000),
    "pattern": "ab" + "a" * 1_000,
    "marks": "a" + "\u0300\u0323" * 2_000,
    "smileys": "\U0001f600" * 2_000,
    "escapes": "&amp;%41é<b>\n\n'" * 300,
    "digits": "9" * 4_000,
    "numbers": list(range(3_000)),
    "words": [f"w{number % 97}" for number in range(3_000)],
    "rows": [{"k": f"v{number}", "n": number, "l": [1, 2, 3]} for number in range(300)],
    "nested": [[[0] * 50] * 20] * 3,
    "wide": {f"k{number}": number for number in range(1_000)},
    "deep": DEEP,
    "shared": SHARED,
    "huge": 10**3_000,
    "float": 1e308,
    "word": "a",
}


class Work:
    """What was done, counted without the budget."""

    def __init__(self) -> None:
        self.calls = 0
        self.characters = 0

    def take(self, *values: Any) -> None:
        """Count the characters of values, and not the calls that this takes."""
        calls = self.calls
        self.characters += sum(measure(one, 10**9) for one in values)
        self.calls = calls

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count the calls of functions, of Python and of C."""

        def note(frame: FrameType, event: str, argument: Any) -> None:
            self.calls += event in ("call", "c_call")

        before = sys.getprofile()
        sys.setprofile(note)
        try:
            yield
        finally:
            sys.setprofile(before)


@contextmanager
def watched(environment: Any, work: Work) -> Iterator[None]:
    """Count the characters that the filters of an environment take and return."""

    def watch(filter_: Callable[..., Any]) -> Callable[..., Any]:
        def run(value: Any, *args: Any, **named: Any) -> Any:
            known = (value, *args, *(one for name, one in named.items() if name not in ("context", "environment")))
            work.take(*known)
            result = filter_(value, *args, **named)
            work.take(result)
            return result

        return run

    before = environment.ready
    environment.ready = {
        name: entry if name in UNMEASURED else msgspec.structs.replace(entry, work=watch(entry.work))
        for name, entry in before.items()
    }
    try:
        yield
    finally:
        environment.ready = before


def rendering(limits: Limits, **values: Any) -> Rendering:
    return Rendering({**DATA, **values}, 0, budget=Budget(limits))


def spent(source: str, html: bool = False, **values: Any) -> int:
    """The steps that a source takes."""
    made = rendering(PLENTY, **values)
    compile_source(source, html=html, longest=10**6, room=10**8, extra={"field": "text"}).render(made)
    return PLENTY.steps - made.budget.steps


def refused(source: str, limits: Limits = MESSAGE, html: bool = False) -> str:
    """The reason why a source is not rendered."""
    program = compile_source(source, html=html, longest=10**6, room=1_000_000, extra={"field": "text"})
    with pytest.raises(Invalid) as caught:
        program.render(rendering(limits))
    assert caught.value.code == "template_limit"
    return caught.value.detail


LOOP = "{% for i in (1..9000) %}BODY{% endfor %}"


@pytest.mark.parametrize(
    ("source", "named"),
    [
        (LOOP.replace("BODY", "{{ i }}{{ i }}{{ i }}"), "50,000 steps"),
        ("{% for i in (1..101) %}{% for j in (1..100) %}{% endfor %}{% endfor %}", "10,000 iterations"),
        ("{% for i in (1..10001) %}{% endfor %}", "10,000 numbers"),
        (
            "{% assign x = 'a' %}{% for i in (1..40) %}{% assign x = x | append: x %}{% endfor %}",
            "1,000,000 characters",
        ),
        ("{% assign x = words %}{% for i in (1..9) %}{% assign x = x | concat: x %}{% endfor %}", "20,000 items"),
        ("{% assign x = 9 %}{% for i in (1..40) %}{% assign x = x | times: x %}{% endfor %}", "800 digits"),
        ("{{ digits | plus: 1 }}", "800 digits"),
        ("{% for i in (1..300) %}{% assign x = long %}{% endfor %}", "variables hold more than 2,000,000 characters"),
        ("{% for i in (1..300) %}{% capture x %}{{ long }}{% endcapture %}{% endfor %}", "2,000,000 characters"),
        ("{% for i in (1..101) %}{{ long }}{% endfor %}", "output has more than 1,000,000 characters"),
        ("{{ long | replace: 'a', long }}", "1,000,000 characters"),
        ("{{ numbers | join: long }}", "1,000,000 characters"),
        ("{{ nested | join: long }}", "1,000,000 characters"),
        ("{{ words | uniq }}", "uniq takes lists of at most 300 items"),
        ("{{ nested | uniq }}", "uniq takes lists of at most 300 items"),
        (LOOP.replace("BODY", "{{ deep | json }}"), "50,000 steps"),
        (LOOP.replace("BODY", "{{ marks | slugify }}"), "50,000 steps"),
        (LOOP.replace("BODY", "{{ float | round: 9999999 | times: float | plus: 1 }}"), "50,000 steps"),
        (LOOP.replace("BODY", "{{ i | pluralize: long | size }}"), "50,000 steps"),
    ],
)
def test_a_limit_that_is_exceeded_is_named(source, named):
    assert named in refused(source)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{% for i in (1..900) %}" + "{{ i }}{{ i }}" * 9 + "{% endfor %}", "20,000 steps"),
        ("{% for i in (1..1001) %}{% endfor %}", "1,000 iterations"),
        ("{{ (1..10001) | join: ',' }}", "10,000 numbers"),
        ("{{ config.long | replace: 'a', config.long }}", "1,000,000 characters"),
        ("{% for i in (1..101) %}{{ config.long }}{% endfor %}", "1,000,000 characters"),
        ("{% for i in (1..999) %}{{ config.long | replace_last: config.pattern, '' }}{% endfor %}", "20,000 steps"),
        ("{% for i in (1..999) %}{{ config.rows | sort: 'k' | size }}{% endfor %}", "20,000 steps"),
        ("{{ " + "config.huge | times: config.huge | times: 2" + " }}", "800 digits"),
    ],
)
def test_connectors_have_the_same_limits_in_other_amounts(text, named):
    with pytest.raises(Unbuildable) as caught:
        compile_text(text)(RequestContext({"config": DATA}))
    assert caught.value.reason == "cannot_render"
    assert named in caught.value.detail


def test_the_expressions_of_a_request_share_a_budget():
    context, evaluate = RequestContext({}), compile_text("{% for i in (1..900) %}{{ i }}{{ i }}{% endfor %}")
    assert evaluate(context)
    most = CONNECTOR.steps // (CONNECTOR.steps - context.budget.steps)
    with pytest.raises(Unbuildable, match="20,000 steps"):
        [evaluate(context) for _ in range(most)]
    assert context.budget.steps < 0
    # Any other request has its own.
    assert evaluate(RequestContext({}))


def test_a_message_has_the_budget_of_one_request():
    message = Outgoing(
        id=1, workspace_id=1, connection_id=1, channel="sms", address="+1", content=Content(text="x"), purpose="a",
        created_at=0, expires_at=1,
    )  # fmt: skip
    assert isinstance(message_context({}, message, "", 0), RequestContext)


def test_the_brackets_of_a_connector_are_not_nested_too_deeply():
    with pytest.raises(expressions.NotLiquid, match="more than 10 levels of nested brackets"):
        compile_text("{{ config" + "[config" * 11 + "]" * 11 + " }}")


def test_long_values_that_a_request_repeats_are_counted():
    context = RequestContext({"config": {"long": "a" * 1_000_000}})
    look_up = expressions.compile_value("{{config.long}}")
    with pytest.raises(Unbuildable, match="20,000 steps"):
        [look_up(context) for _ in range(CONNECTOR.steps)]


N = len(DATA["long"])
#: What the tag and the one iteration of an empty loop take.
LOOP_STEPS = 5


@pytest.mark.parametrize(
    ("source", "least"),
    [
        # Filters: by the characters of the value, of the arguments, also of those given by name, and of the result.
        ("{{ long | upcase | size }}", 2 * N // CHARACTERS_PER_STEP),
        ("{{ word | remove: long }}", N // CHARACTERS_PER_STEP),
        ("{{ word | remove: arg=long }}", N // CHARACTERS_PER_STEP),
        ("{{ long | json | size }}", 2 * N // COPIED_PER_STEP),
        ("{{ deep | json | size }}", 180 * ITEM // CHARACTERS_PER_STEP),
        ("{{ shared | json | size }}", 300_000 // CHARACTERS_PER_STEP),
        ("{{ shared | strip | size }}", 300_000 // CHARACTERS_PER_STEP),
        ("{{ smileys | url_encode | size }}", 2_000 // 8),
        ("{{ escapes | escape_once | url_decode | title | size }}", len(DATA["escapes"]) // 8),
        ("{{ 0 | date: long | size }}", N // 4),
        ("{{ numbers | sort | sum }}", 2 * 3_000 * ITEM // CHARACTERS_PER_STEP),
        ("{{ words | reverse | size }}", 3_000 * (2 * ITEM) // CHARACTERS_PER_STEP),
        ("{{ nested | sum }}", 3_000 * ITEM // CHARACTERS_PER_STEP),
        # Filters: by the pairs that they compare.
        ("{{ long | replace_last: pattern, '' | size }}", N * 1_000 // PAIRS_PER_STEP),
        ("{{ long | replace_last: sub='', seq=pattern | size }}", N * 1_000 // PAIRS_PER_STEP),
        ("{{ long | remove_last: pattern | size }}", N * 1_000 // PAIRS_PER_STEP),
        ("{{ marks | slugify }}", 4_000 * 4_000 // PAIRS_PER_STEP),
        ("{{ marks | truncatechars: 3 }}", 4_000 * 4_000 // PAIRS_PER_STEP),
        ("{{ rows | uniq | size }}", 300 * 300 * 5 * ITEM // PAIRS_PER_STEP),
        ("{{ rows | where: 'l', numbers | size }}", 300 * 3_000 * ITEM // PAIRS_PER_STEP),
        ("{{ rows | where: value=numbers, attr='l' | size }}", 300 * 3_000 * ITEM // PAIRS_PER_STEP),
        # Everything else that depends on values.
        ("{% if long == same %}{% endif %}", N // COPIED_PER_STEP),
        ("{% if long <= same %}{% endif %}", N // COPIED_PER_STEP),
        ("{% if long < same %}{% endif %}", N // COPIED_PER_STEP),
        ("{% if long > same %}{% endif %}", N // COPIED_PER_STEP),
        ("{% if long >= same %}{% endif %}", N // COPIED_PER_STEP),
        ("{% if long != same %}{% endif %}", N // COPIED_PER_STEP),
        ("{% if numbers == words %}{% endif %}", 6_000 * ITEM // CHARACTERS_PER_STEP),
        ("{% case long %}{% when same %}{% endcase %}", N // COPIED_PER_STEP),
        ("{% if long contains 'b' %}{% endif %}", N // CHARACTERS_PER_STEP),
        ("{% if long contains pattern %}{% endif %}", 4 * N // CHARACTERS_PER_STEP),
        ("{% if words contains 'b' %}{% endif %}", 3_000 * ITEM // CHARACTERS_PER_STEP),
        ("{% for i in numbers offset: 2999 %}{% endfor %}", LOOP_STEPS + 3_000 // COPIED_PER_STEP),
        ("{% for i in numbers reversed limit: 1 %}{% endfor %}", LOOP_STEPS + 3_000 // COPIED_PER_STEP),
        ("{% cycle long, long %}", 2 * N // CHARACTERS_PER_STEP),
        ("{% cycle long: 'a', 'b' %}", N // CHARACTERS_PER_STEP),
        ("{% ifchanged %}{{ long }}{% endifchanged %}", 2 * N // COPIED_PER_STEP),
        ("{{ long }}", N // COPIED_PER_STEP),
        ("{% echo long %}", N // COPIED_PER_STEP),
        ("{{ shared }}", 300_000 // CHARACTERS_PER_STEP),
        ("{{ huge }}", 2_400 // CHARACTERS_PER_STEP),
        ("{{ " + ".".join(["wide"] * 60) + " }}", 60),
    ],
)
@pytest.mark.parametrize("html", [False, True], ids=["text", "html"])
def test_work_that_depends_on_values_is_counted(source, least, html):
    assert spent(source, html) >= least


def test_a_block_of_a_case_counts_each_time():
    source = "{% for i in (1..1) %}BODY{% endfor %}"
    for _ in range(5):
        source = source.replace("BODY", "{% case 1 %}{% when " + ",".join("1" * 10) + " %}BODY{% endcase %}")
    assert "50,000 steps" in refused(source.replace("BODY", "{% assign x = i %}"))


def test_a_member_whose_name_is_a_large_value_is_not_written_out():
    work = Work()
    made = Rendering(DATA, 0, marking=True)
    with work.counted():
        found = compile_source("{{ wide[shared] }}", html=False, longest=100, room=100, extra={}).render(made)
    assert found == "⟦wide[list]⟧"
    assert work.calls < 1_000


def test_the_place_of_an_undefined_variable_is_looked_for_once(monkeypatch):
    found, place = [], rendering_context.place

    def noted(source: str, index: int) -> tuple[int, int]:
        found.append(index)
        return place(source, index)

    monkeypatch.setattr(rendering_context, "place", noted)
    made = Rendering({}, marking=True)
    source = "{% for i in (1..900) %}{{ a }}{{ b }}{% endfor %}"
    compile_source(source, html=False, longest=100, room=10**6, extra={}).render(made)
    assert [gap.name for gap in made.gaps or ()] == ["a", "b"]
    assert len(found) == 2


def test_a_value_of_a_property_has_the_room_of_the_property():
    program = compile_source("{{ shared }}", html=False, longest=100, room=100_000, extra={"field": "properties"})
    with pytest.raises(Invalid) as caught:
        program.value(rendering(MESSAGE))
    assert (caught.value.code, "100,000 characters" in caught.value.detail) == ("template_limit", True)


@given(
    st.recursive(st.none() | st.booleans() | st.text() | st.integers(), st.lists, max_leaves=50), st.integers(0, 400)
)
def test_a_measure_stops_at_what_is_asked(value, most):
    whole = measure(value, 10**9)
    assert measure(value, most) == whole if whole <= most else measure(value, most) > most


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("{{ long | replace: 'a', pattern }}", "replace"),
        ("{{ long | split: '' }}", "split"),
        ("{{ long | split: 'a' }}", "split"),
        ("{{ spaces | split: ' ' }}", "split"),
        ("{{ words | join: long }}", "join"),
    ],
)
def test_a_result_that_would_be_too_large_is_never_made(source, named, monkeypatch):
    def run(*args: Any, **known: Any) -> None:
        raise AssertionError(named)

    limits = msgspec.structs.replace(MESSAGE, characters=100_000, items=5_000)
    monkeypatch.setitem(PLAIN.ready, named, msgspec.structs.replace(PLAIN.ready[named], work=run))
    made = rendering(limits, spaces="a " * 5_001)
    with pytest.raises(Invalid, match="a filter would return more than"):
        compile_source(source, html=False, longest=100, room=10**6, extra={"field": "text"}).render(made)


def test_a_text_that_a_filter_makes_has_a_limit():
    # The sum of two texts is known only when it is made.
    limits = msgspec.structs.replace(MESSAGE, characters=len(DATA["long"]))
    made = rendering(limits)
    with pytest.raises(Invalid, match="a filter would return more than 10,000 characters"):
        compile_source("{{ long | append: 'a' }}", html=False, longest=100, room=10**6, extra={}).render(made)


@pytest.mark.parametrize("loop", ["i in (digits..digits)", "i in numbers limit: digits", "i in numbers offset: digits"])
def test_bounds_of_loops_that_take_long_to_read_are_not_read(loop, monkeypatch):
    read = []

    def noted(value: Any) -> int:
        read.append(value)
        return int(value)

    monkeypatch.setattr(primitive, "to_int", noted)
    monkeypatch.setattr(loop_expression, "to_int", noted)
    program = compile_source(f"{{% for {loop} %}}a{{% endfor %}}", html=False, longest=100, room=10**6, extra={})
    with suppress(Invalid):
        program.render(rendering(MESSAGE))
    assert DATA["digits"] not in read


def test_a_value_of_a_property_is_counted():
    program = compile_source("{{ words }}", html=False, longest=100, room=100_000, extra={"field": "properties"})
    made = rendering(PLENTY)
    assert program.value(made) == DATA["words"]
    assert PLENTY.steps - made.budget.steps >= 3_000 * ITEM // CHARACTERS_PER_STEP


def test_what_an_expression_always_does_is_counted():
    context = RequestContext({"config": DATA})
    compile_text("{{ config.word }}" * 900)(context)
    assert CONNECTOR.steps - context.budget.steps >= 900


def test_connectors_strip_tags_as_templates_do():
    # The filter of python-liquid runs a parser in Python, which takes a hundred times as long.
    assert CONNECTORS.filters["strip_html"] is PLAIN.filters["strip_html"]


def test_every_filter_with_a_cost_of_its_own_exists():
    assert COSTS.keys() <= PLAIN.filters.keys() | CONNECTORS.filters.keys()


NAMES = st.sampled_from(sorted(DATA))
ARGUMENT = NAMES | st.sampled_from(["1", "0", "''", "'a'", "','", "'k'", "9999", "(1..300)", "1.5", "nil"])
FILTER = st.builds(
    lambda name, args: name + (": " + ", ".join(args) if args else ""),
    st.sampled_from(sorted(CONNECTORS.filters.keys() & PLAIN.filters.keys())),
    st.lists(ARGUMENT, max_size=2),
)
GROWTH = st.sampled_from(["append: long", "concat: words", "times: huge", "prepend: escapes", "json", "join: long"])
VALUE = st.builds(lambda name, filters: " | ".join([name, *filters]), NAMES, st.lists(FILTER | GROWTH, max_size=3))
CONDITION = st.builds(
    "{} {} {}".format, NAMES, st.sampled_from(["==", "!=", "<", ">=", "contains"]), NAMES | st.just("empty")
)
LEAF = st.builds("{{{{ {} }}}}".format, VALUE) | st.sampled_from(["text", "{{ i }}", "{{ config.gone.gone }}"])
SOURCE = st.recursive(
    LEAF,
    lambda inner: (
        st.builds("".join, st.lists(inner, min_size=2, max_size=4))
        | st.builds("{{% for i in {} %}}{}{{% endfor %}}".format, NAMES | st.just("(1..150)"), inner)
        | st.builds("{{% for i in {} reversed offset: 9 %}}{}{{% endfor %}}".format, NAMES, inner)
        | st.builds("{{% if {} %}}{}{{% else %}}{}{{% endif %}}".format, CONDITION, inner, inner)
        | st.builds("{{% case {} %}}{{% when {}, 'a', 'a' %}}{}{{% endcase %}}".format, NAMES, NAMES, inner)
    ),
    max_leaves=10,
)
TEMPLATE = st.recursive(
    SOURCE
    | st.builds("{{% assign x = {} %}}{{{{ x }}}}".format, VALUE)
    | st.builds("{{% cycle {}, {} %}}".format, NAMES, NAMES),
    lambda inner: (
        st.builds("{{% for i in (1..150) %}}{}{{% endfor %}}".format, inner)
        | st.builds("{{% capture word %}}{}{{% endcapture %}}{{{{ word }}}}".format, inner)
        | st.builds("{{% ifchanged %}}{}{{% endifchanged %}}".format, inner)
        | st.builds("{{% with word=long, i=rows %}}{}{{% endwith %}}".format, inner)
    ),
    max_leaves=4,
)
#: The names of DATA as the members of `config`, where a source uses them as values.
MEMBERS = re.compile(rf"(?<![\w.'])({'|'.join(DATA)})(?![\w':])")


def check_work(work: Work, limits: Limits) -> None:
    """Steps are few calls and few characters each; one filter may still return all that a filter may."""
    assert work.calls <= CALLS_PER_STEP * limits.steps
    assert work.characters <= COPIED_PER_STEP * limits.steps + limits.characters + ITEM * limits.items


@settings(max_examples=400, deadline=None)
@given(SOURCE)
def test_no_expression_of_a_connector_does_more_than_its_budget(source):
    text, work = MEMBERS.sub(r"config.\1", source), Work()
    try:
        run = compile_text(text)
    except expressions.NotLiquid:
        return
    context = RequestContext({"config": DATA})
    context.budget = Budget(TIGHT)
    with watched(CONNECTORS, work), suppress(Unbuildable), work.counted():
        run(context)
    check_work(work, TIGHT)


@settings(max_examples=400, deadline=None)
@given(TEMPLATE, st.booleans(), st.booleans())
def test_no_template_does_more_than_its_budget(source, html, marking):
    work, environment = Work(), HTML if html else PLAIN
    try:
        program = compile_source(source, html=html, longest=10**6, room=100_000, extra={"field": "text"})
    except Invalid:
        return
    made = Rendering(DATA, 0, marking=marking, budget=Budget(TIGHT))
    with watched(environment, work), suppress(Invalid), work.counted():
        program.render(made)
    check_work(work, TIGHT)
