"""The Liquid of connectors: one value of a request at a time, with few tags and strict limits."""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import msgspec
from liquid import Environment, Undefined
from liquid.exceptions import LiquidError, LiquidSyntaxError
from liquid.token import TOKEN_ILLEGAL, Token

from waypost.domain.templates.liquid.lexer import TemplateError, tokenize_source
from waypost.errors import Invalid

#: The most characters in the result of an expression.
LONGEST_RESULT = 1_000_000
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

_TAGS = frozenset(
    {"if", "unless", "case", "for", "break", "continue", "comment", "#", "echo", "content", "output", "illegal"}
)
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


class _Sandbox(Environment):
    block_nesting_limit = 10
    context_depth_limit = 10
    loop_iteration_limit = 1000
    output_stream_limit = LONGEST_RESULT
    shorthand_indexes = True
    logical_not_operator = True
    logical_parentheses = True

    def tokenizer(self) -> Callable[[str], Iterator[Token]]:
        """Return the lexer of templates; python-liquid's own takes quadratic time for `{{{{{{`."""
        return _tokens


def _tokens(source: str) -> Iterator[Token]:
    try:
        return iter(tokenize_source(source))
    except TemplateError as fault:
        token = Token(TOKEN_ILLEGAL, "", fault.index, source)
        raise LiquidSyntaxError(fault.message, token=token) from fault


def _bounded(work: Callable[..., Any]) -> Callable[..., Any]:
    """Return the filter with a limit on its result, since filters can be chained."""

    def run(*args: Any, **kwargs: Any) -> Any:
        given = args[0] if args else None
        if work_name in ("replace", "replace_first", "replace_last") and len(args) > 2:
            size = len(str(given)) * (1 + len(str(args[2])))
            if size > LONGEST_RESULT:
                raise Unbuildable("cannot_render", "The result of an expression is too long.")
        result = work(*args, **kwargs)
        if isinstance(result, str | list) and len(result) > LONGEST_RESULT:
            raise Unbuildable("cannot_render", "The result of an expression is too long.")
        return result

    work_name = getattr(work, "__name__", "").rstrip("_")
    # The attributes that python-liquid reads from a filter.
    for mark in ("with_context", "with_environment", "filter_async"):
        if hasattr(work, mark):
            setattr(run, mark, getattr(work, mark))
    return run


def _json(value: Any) -> str:
    """Return the value as a JSON text."""
    return _encode(None if isinstance(value, Undefined) else value).decode()


def _environment() -> Environment:
    made = _Sandbox(strict_filters=True)
    for tag in [name for name in made.tags if name not in _TAGS]:
        del made.tags[tag]
    for name, work in list(made.filters.items()):
        made.filters[name] = _bounded(work)
    made.filters["json"] = _bounded(_json)
    # `date` reads the clock; `safe` has a meaning only in HTML.
    for name in ("safe", "date"):
        del made.filters[name]
    return made


_ENVIRONMENT = _environment()


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
    template = check_expression(text)

    def render(context: Context) -> str:
        try:
            return str(template.render(**context))
        except (LiquidError, ArithmeticError, RecursionError, ValueError, TypeError) as error:
            reason = error.message if isinstance(error, LiquidError) else error
            raise Unbuildable("cannot_render", f"{text[:100]!r} cannot be rendered: {reason}.") from error

    return render


@lru_cache(maxsize=4096)
def check_expression(text: str) -> Any:
    """Return the parsed template. Raise NotLiquid if it is not valid."""
    if len(text) > LONGEST_EXPRESSION:
        raise _refuse(text[:40], f"it has more than {LONGEST_EXPRESSION} characters", 1)
    try:
        template = _ENVIRONMENT.from_string(text)
        found = template.analyze()
    except LiquidError as error:
        place = error.token.start_index if error.token else 0
        raise _refuse(text, str(error.message), text.count("\n", 0, max(place, 0)) + 1) from error
    for name in found.filters:
        if name not in _ENVIRONMENT.filters:
            known_filters = ", ".join(sorted(_ENVIRONMENT.filters))
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
    return template


def config_names(text: str) -> set[str]:
    """Return the fields of the configuration that an expression reads."""
    if not is_expression(text):
        return set()
    variables = check_expression(text).analyze().globals.get("config", [])
    return {str(variable.segments[1]) for variable in variables if len(variable.segments) > 1}


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
    return str(value) if isinstance(value, int | float) else _json(value)


def _look_up(path: str) -> Expression:
    names = path.split(".")

    def find(context: Context) -> Any:
        value: Any = context
        for name in names:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    return find


def _blank(value: Any) -> bool:
    return value is None or value is False or value == "" or value == [] or value == {}


def _line(text: str, word: str) -> int:
    return text.count("\n", 0, max(text.find(word), 0)) + 1


def _refuse(text: str, reason: str, line: int) -> NotLiquid:
    return NotLiquid(f"{text[:100]!r} is not valid Liquid: {reason}", line)
