"""The Liquid of connectors: one value of a request at a time, with few tags and strict limits."""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, cast

import msgspec
from liquid.exceptions import LiquidError
from liquid.template import BoundTemplate

from waypost.domain.templates.liquid.budget import CONNECTOR, COPIED_PER_STEP, Budget
from waypost.domain.templates.liquid.checks import check_depth
from waypost.domain.templates.liquid.context import FAILURES, OutputBuffer, Rendering
from waypost.domain.templates.liquid.context import Context as LiquidContext
from waypost.domain.templates.liquid.environment import CONNECTORS, parse
from waypost.domain.templates.liquid.lexer import TemplateError, tokenize_source
from waypost.domain.templates.liquid.metering import meter
from waypost.errors import Invalid

#: The most characters of an expression.
LONGEST_EXPRESSION = 20_000
#: The names that expressions may use, and the members of each; None allows any member.
ROOTS: dict[str, frozenset[str] | None] = {
    "config": None,
    "message": frozenset(
        {
            "id",
            "to",
            "text",
            "media_urls",
            "media_url",
            "click_url",
            "subject",
            "preheader",
            "html",
            "sender",
            "sender_name",
            "sender_email",
            "reply_to",
            "reply_to_name",
            "reply_to_email",
            "headers",
            "metric",
            "properties",
            "purpose",
            "metadata",
            "unique_id",
            "sent_at",
            "test",
        }
    ),
    "recipient": frozenset({"profile_id", "user_id", "email", "phone"}),
    "callback_url": frozenset(),
    "validity_seconds": frozenset(),
    # for setup steps
    "tracker_url": frozenset(),
    "receipts_url": frozenset(),
}

_SIZED = (str, list, dict)
_PATH = r"([a-z_]\w*(?:\.[A-Za-z_]\w*)*)"
_PLAIN = re.compile(r"\{\{-?\s*" + _PATH + r"\s*-?\}\}\Z")
_DEFAULT = re.compile(r"\{\{-?\s*" + _PATH + r"\s*\|\s*default:\s*" + _PATH + r"\s*-?\}\}\Z")
_MARKUP = re.compile(r"\{\{|\{%")
_encode = msgspec.json.Encoder().encode

Context = Mapping[str, Any]
#: Returns the value of an expression in a context.
Expression = Callable[[Context], Any]


class NotLiquid(ValueError):
    """A text is not valid Liquid, or uses a name that does not exist."""

    def __init__(self, detail: str, line: int) -> None:
        #: Within the text, counted from 1.
        self.line = line
        super().__init__(detail)


class Unbuildable(Invalid):
    """The request for a message cannot be built."""

    def __init__(self, reason: str, detail: str) -> None:
        #: `cannot_render` (Liquid fails for this message), `invalid_request` (HTTP does not allow the request), or
        #: `configuration` (the configuration fails for every message).
        self.reason = reason
        super().__init__(detail)


class RequestContext(dict[str, Any]):
    """The values that the expressions of one request or response see, and the budget that they share."""

    __slots__ = ("budget",)

    def __init__(self, values: Context) -> None:
        super().__init__(values)
        self.budget = Budget(CONNECTOR)


class _Checked(msgspec.Struct, frozen=True):
    """A parsed expression, and the cost of what it always does."""

    template: BoundTemplate
    work: int


def is_expression(text: str) -> bool:
    """Return whether a text contains Liquid."""
    return _MARKUP.search(text) is not None


@lru_cache(maxsize=4096)
def compile_value(text: str) -> Expression:
    """Return the function that evaluates a value of a request in a context.

    A text that is only `{{ path }}` gives the value itself, such as a number, list or object; any other gives text.
    Raise NotLiquid if the text is not valid; the function may raise Unbuildable.
    """
    if found := _PLAIN.fullmatch(text):
        check_expression(text)
        return _look_up(found[1])
    if found := _DEFAULT.fullmatch(text):
        check_expression(text)
        first, second = _look_up(found[1]), _look_up(found[2])
        return lambda context: second(context) if _blank(value := first(context)) else value
    return compile_text(text)


@lru_cache(maxsize=4096)
def compile_text(text: str) -> Callable[[Context], str]:
    """Return the function that evaluates a text in a context, always to text. Raise as `compile_value`."""
    if not is_expression(text):
        return lambda context: text
    if found := _PLAIN.fullmatch(text):
        check_expression(text)
        path = _look_up(found[1])
        return lambda context: as_text(path(context))
    checked = check_expression(text)

    def render(context: Context) -> str:
        budget = _budget(context)
        output = OutputBuffer(budget.limits.characters, budget)
        running = LiquidContext(checked.template, Rendering(context, budget=budget))
        try:
            budget.spend(checked.work)
            for node in checked.template.nodes:
                node.render_to_output(running, cast(Any, output))
        except (LiquidError, *FAILURES) as error:
            raise _unbuildable(text, error) from error
        return "".join(output.parts)

    return render


@lru_cache(maxsize=4096)
def check_expression(text: str) -> _Checked:
    """Return the parsed expression. Raise NotLiquid if it is not valid."""
    if len(text) > LONGEST_EXPRESSION:
        raise _refuse(text[:40], f"it has more than {LONGEST_EXPRESSION} characters", 1)
    try:
        tokens = tokenize_source(text)
        check_depth(tokens)
        template = BoundTemplate(CONNECTORS, parse(CONNECTORS, tokens))
    except TemplateError as fault:
        raise _refuse(text, fault.message, text.count("\n", 0, max(fault.index, 0)) + 1) from fault
    found = template.analyze()
    for name in found.filters:
        if name not in CONNECTORS.filters:
            known_filters = ", ".join(sorted(CONNECTORS.filters))
            raise _refuse(text, f"there is no filter {name!r}; there are {known_filters}", _line(text, name))
    for variables in found.globals.values():
        for variable in variables:
            head, *rest = [str(segment) for segment in variable.segments]
            line = text.count("\n", 0, max(variable.span.index, 0)) + 1
            if head not in ROOTS:
                raise _refuse(text, f"there is no {head!r}; there are {', '.join(ROOTS)}", line)
            known = ROOTS[head]
            if known and rest and rest[0] not in known:
                raise _refuse(text, f"{head} has no {rest[0]!r}; it has {', '.join(sorted(known))}", line)
    return _Checked(template, sum(map(meter, template.nodes)))


def config_names(text: str) -> set[str]:
    """Return the fields of the configuration that an expression reads."""
    if not is_expression(text):
        return set()
    variables = check_expression(text).template.analyze().globals.get("config", [])
    return {str(variable.segments[1]) for variable in variables if len(variable.segments) > 1}


def value_names(text: str) -> set[str]:
    """Return the names of the values that an expression reads, such as `message`."""
    return set(check_expression(text).template.analyze().globals) if is_expression(text) else set()


def as_text(value: Any) -> str:
    """Return a value as text: empty for null, JSON for lists and objects."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value) if isinstance(value, int | float) else _encode(value).decode()


def _look_up(path: str) -> Expression:
    names = path.split(".")

    def find(context: Context) -> Any:
        value: Any = context
        for name in names:
            value = value.get(name) if isinstance(value, Mapping) else None
        if isinstance(value, _SIZED) and (value.__class__ is not str or len(value) >= COPIED_PER_STEP):
            budget = _budget(context)
            try:
                budget.spend(1 + budget.size(value, COPIED_PER_STEP) // COPIED_PER_STEP)
            except LiquidError as error:
                raise _unbuildable(f"{{{{ {path} }}}}", error) from error
        return value

    return find


def _budget(context: Context) -> Budget:
    return context.budget if isinstance(context, RequestContext) else Budget(CONNECTOR)


def _unbuildable(text: str, error: Exception) -> Unbuildable:
    reason = error.message if isinstance(error, LiquidError) else error
    return Unbuildable("cannot_render", f"{text[:100]!r} cannot be rendered: {reason}.")


def _blank(value: Any) -> bool:
    return value is None or value is False or value == "" or value == [] or value == {}


def _line(text: str, word: str) -> int:
    return text.count("\n", 0, max(text.find(word), 0)) + 1


def _refuse(text: str, reason: str, line: int) -> NotLiquid:
    return NotLiquid(f"{text[:100]!r} is not valid Liquid: {reason}", line)
