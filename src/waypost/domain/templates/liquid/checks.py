"""Refuse expressions that python-liquid accepts but reads differently than the author means.

Each of these would silently render wrong: a minus read as an index, `and` with the same precedence as `or`, `not` that
reaches to the end of a condition, `None` read as a variable, and similar cases.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import msgspec
from liquid.ast import Node
from liquid.builtin.expressions import (
    FilteredExpression,
    KeywordArgument,
    Path,
    parse_primitive,
    tokenize,
)
from liquid.builtin.expressions.filtered import Filter
from liquid.builtin.expressions.primitive import StringLiteral
from liquid.exceptions import LiquidError
from liquid.stream import TokenStream
from liquid.token import (
    TOKEN_AND,
    TOKEN_ASSIGN,
    TOKEN_BLANK,
    TOKEN_COMMA,
    TOKEN_CONTAINS,
    TOKEN_DOT,
    TOKEN_EMPTY,
    TOKEN_EQ,
    TOKEN_EXPRESSION,
    TOKEN_FLOAT,
    TOKEN_GE,
    TOKEN_GT,
    TOKEN_IDENTINDEX,
    TOKEN_IDENTSTRING,
    TOKEN_IN,
    TOKEN_INTEGER,
    TOKEN_LBRACKET,
    TOKEN_LE,
    TOKEN_LG,
    TOKEN_LPAREN,
    TOKEN_LT,
    TOKEN_NE,
    TOKEN_NOT,
    TOKEN_OR,
    TOKEN_PIPE,
    TOKEN_RANGE_LITERAL,
    TOKEN_RBRACKET,
    TOKEN_RPAREN,
    TOKEN_TAG,
    TOKEN_WORD,
    Token,
)

from waypost.domain.templates.liquid.dates import wrong_code
from waypost.domain.templates.liquid.lexer import TemplateError
from waypost.domain.templates.liquid.metering import expressions_of, nodes_in
from waypost.domain.templates.liquid.truth import TRUTH

#: The most tokens of one expression.
MOST_TOKENS = 200
#: The most levels of nested brackets and parentheses.
DEEPEST_BRACKETS = 10

_CONDITIONS = frozenset({"if", "elsif", "unless"})
_COMPARED = frozenset({TOKEN_EQ, TOKEN_NE, TOKEN_LG})
_COMPARISONS = _COMPARED | {TOKEN_LT, TOKEN_GT, TOKEN_LE, TOKEN_GE, TOKEN_CONTAINS}
_PATH_ENDS = frozenset({TOKEN_WORD, TOKEN_IDENTINDEX, TOKEN_IDENTSTRING, TOKEN_RBRACKET, TOKEN_INTEGER, TOKEN_FLOAT})
_NUMBERS = frozenset({TOKEN_INTEGER, TOKEN_FLOAT})
_MEMBERS = frozenset({TOKEN_WORD, TOKEN_INTEGER, TOKEN_FLOAT})
_OPENING = frozenset({TOKEN_LPAREN, TOKEN_LBRACKET, TOKEN_RANGE_LITERAL})
_CLOSING = frozenset({TOKEN_RPAREN, TOKEN_RBRACKET})
_PYTHON_WORDS = {"True": "true", "False": "false", "None": "nil"}
_FORLOOP = frozenset({"name", "length", "index", "index0", "rindex", "rindex0", "first", "last", "parentloop"})
_DJANGO_LOOP = {"counter": "index", "counter0": "index0", "revcounter": "rindex", "revcounter0": "rindex0"}
_SIGNS = {
    "$": "a name with $ is reached by event | lookup: '$name', or event['$name']",
    "+": "write | plus: …",
    "*": "write | times: …",
    "/": "write | divided_by: …",
    "%": "write | modulo: …",
    "-": "write | minus: …",
    "&": "write `and`",
    "'": "the quote is not closed",
    '"': "the quote is not closed",
    "{": "the }} or %} before it is missing",
    "}": "the other } is missing",
}


def check_expressions(tokens: Sequence[Token]) -> None:
    """Raise TemplateError for an expression that Liquid would read differently than it looks."""
    tag = ""
    for token in tokens:
        if token.kind == TOKEN_TAG:
            tag = token.value
        elif token.kind == TOKEN_EXPRESSION:
            _check_expression(tag, token)
            tag = ""
        else:
            tag = ""


def check_depth(tokens: Sequence[Token]) -> None:
    """Raise TemplateError for an expression that is too long, or whose brackets are nested too deeply."""
    for token in tokens:
        if token.kind == TOKEN_EXPRESSION:
            _words(token)


def _words(parent: Token) -> list[Token]:
    """Return the words and signs of an expression. Raise TemplateError if they are too many or nested too deeply."""
    try:
        words = list(tokenize(parent.value, parent))
    except LiquidError as error:
        at = error.token.start_index if error.token else parent.start_index
        sign = parent.source[at : at + 1]
        raise TemplateError(f"{error.message}; {_SIGNS[sign]}" if sign in _SIGNS else str(error.message), at) from error
    if len(words) > MOST_TOKENS:
        raise TemplateError(f"this expression has more than {MOST_TOKENS} words and signs", parent.start_index)
    depth = 0
    for word in words:
        depth += (word.kind in _OPENING) - (word.kind in _CLOSING)
        if depth > DEEPEST_BRACKETS:
            raise TemplateError(f"there are more than {DEEPEST_BRACKETS} levels of nested brackets", word.start_index)
    return words


def _check_expression(tag: str, parent: Token) -> None:
    words = _words(parent)
    for before, word, after in zip([None, *words[:-1]], words, [*words[1:], None], strict=True):
        _check_word(before, word, after)
    if tag in _CONDITIONS:
        _check_condition(words)
    elif tag == "for":
        _check_loop(words)
    elif tag == "when":
        _check_when(words)
    elif tag in ("case", "with", "cycle"):
        _no_pipe(words, f"{{% {tag} %}}")
    elif tag in ("increment", "decrement") and len(words) != 1:
        raise TemplateError(f"{{% {tag} %}} takes one name", words[0].start_index)


def _check_word(before: Token | None, word: Token, after: Token | None) -> None:
    kind, at = word.kind, word.start_index
    dotted = before is not None and before.kind == TOKEN_DOT
    if kind == TOKEN_DOT and (after is None or after.kind not in _MEMBERS):
        if after is not None and after.value[:1].isalpha() and after.value == after.kind:
            raise TemplateError(f"{after.value!r} is a word of Liquid; write ['{after.value}']", after.start_index)
        raise TemplateError("a name is missing after the dot", at)
    if kind in _NUMBERS:
        if word.value.startswith("-") and (dotted or (before is not None and before.kind in _PATH_ENDS)):
            raise TemplateError("Liquid would read this as an index; to subtract, write | minus: …", at)
        if before is not None and before.kind in _PATH_ENDS:
            raise TemplateError("a number cannot follow a name; is a sign, a comma or a dot missing?", at)
        if dotted and after is not None and after.kind == TOKEN_WORD and not word.value.endswith("."):
            raise TemplateError("a name cannot follow a number; is a dot missing?", after.start_index)
    elif kind == TOKEN_WORD and word.value in _PYTHON_WORDS and not dotted:
        raise TemplateError(f"Liquid would take {word.value} for a variable; write {_PYTHON_WORDS[word.value]}", at)
    elif kind in (TOKEN_EMPTY, TOKEN_BLANK) and not any(
        neighbour is not None and neighbour.kind in _COMPARED for neighbour in (before, after)
    ):
        raise TemplateError(f"{word.value} can only be compared with; a variable of this name is ['{word.value}']", at)


class _Level(msgspec.Struct):
    """The operators so far between two parentheses of a condition."""

    conjunction: Token | None = None
    negation: Token | None = None
    comparison: Token | None = None


def _check_condition(words: Sequence[Token]) -> None:
    """Raise TemplateError for conditions that depend on precedence.

    In Liquid `and` and `or` have the same precedence and bind to the right, and `not` reaches to the end.
    """
    _no_pipe(words, "a condition")
    levels = [_Level()]
    for word in words:
        kind, at, level = word.kind, word.start_index, levels[-1]
        if kind == TOKEN_IN:
            raise TemplateError("Liquid has no `in`; write `list contains item`", at)
        if kind == TOKEN_ASSIGN:
            raise TemplateError("to compare, write ==", at)
        if kind == TOKEN_WORD and word.value == "is":
            raise TemplateError("Liquid has no `is`; write == nil, == true or == false", at)
        if kind in (TOKEN_LPAREN, TOKEN_RANGE_LITERAL):
            levels.append(_Level())
        elif kind == TOKEN_RPAREN and len(levels) > 1:
            levels.pop()
        elif kind == TOKEN_NOT:
            level.negation = word
        elif kind in _COMPARISONS:
            if level.comparison is not None:
                raise TemplateError("two comparisons cannot follow each other; join them with `and`", at)
            level.comparison = word
        elif kind in (TOKEN_AND, TOKEN_OR):
            if level.negation is not None:
                raise TemplateError(
                    f"Liquid would negate all that follows; write (not …) {word.value} …", level.negation.start_index
                )
            if kind == TOKEN_OR and level.conjunction is not None:
                raise TemplateError("say with parentheses what belongs together: (a and b) or c", at)
            if kind == TOKEN_AND:
                level.conjunction = word
            level.comparison = None


def _check_loop(words: Sequence[Token]) -> None:
    _no_pipe(words, "{% for %}")
    if len(words) > 1 and words[1].kind == TOKEN_COMMA:
        raise TemplateError(
            "Liquid loops with one name; write {% for pair in … %} and pair[0], pair[1]", words[1].start_index
        )


def _check_when(words: list[Token]) -> None:
    """Raise TemplateError for a `when` of which python-liquid would silently drop a part."""
    _no_pipe(words, "{% when %}")
    value: list[Token] = []
    for word in [*words, None]:
        if word is not None and word.kind not in (TOKEN_COMMA, TOKEN_OR):
            value.append(word)
            continue
        at = (word or words[-1]).start_index
        if not value:
            raise TemplateError("a value is missing here", at)
        stream = TokenStream(iter(value))
        try:
            parse_primitive(_Strict, stream)  # type: ignore[arg-type]
            stream.expect_eos()
        except LiquidError as error:
            raise TemplateError("values are separated by commas or `or`", value[-1].start_index) from error
        value = []


class _Strict:
    """The attributes of an environment that parsing a value needs."""

    shorthand_indexes = True
    mode = None


def _no_pipe(words: Sequence[Token], place: str) -> None:
    for word in words:
        if word.kind == TOKEN_PIPE:
            raise TemplateError(
                f"a filter cannot stand in {place}; write {{% assign x = … | … %}} before it", word.start_index
            )


def check_node(node: Node, filters: Mapping[str, Callable[..., Any]]) -> None:
    """Raise TemplateError for an expression of a node, or of those in it, that would fail or render wrong.

    The conditions get the truth of templates.
    """
    for expression in expressions_of(node):
        if isinstance(expression, FilteredExpression):
            for filter_ in expression.filters or ():
                _check_filter(filter_, filters)
        elif isinstance(expression, Path):
            _check_path(expression)
        elif (replacement := TRUTH.get(type(expression))) is not None:
            expression.__class__ = replacement
    for inner in nodes_in(node):
        check_node(inner, filters)


def _check_path(path: Path) -> None:
    segments = list(path.path)
    if segments[0] != "forloop":
        return
    for segment in segments[1:]:
        if segment not in _FORLOOP:
            name = str(segment)
            hint = f"; write forloop.{_DJANGO_LOOP[name]}" if name in _DJANGO_LOOP else ""
            raise TemplateError(f"forloop has no {name[:40]!r}{hint}", path.token.start_index)
        if segment != "parentloop":
            return


def _check_filter(filter_: Filter, filters: Mapping[str, Callable[..., Any]]) -> None:
    name, at = filter_.name, filter_.token.start_index
    work = filters.get(name)
    if work is None:
        if name == "random":
            raise TemplateError("there is no filter 'random': a message has to be the same each time; use variants", at)
        close = get_close_matches(name, filters, 1)
        raise TemplateError(f"there is no filter {name[:40]!r}" + (f"; is {close[0]!r} meant?" if close else ""), at)
    given = [arg for arg in filter_.args if not isinstance(arg, KeywordArgument)]
    named = {arg.name: None for arg in filter_.args if isinstance(arg, KeywordArgument)}
    hidden = {mark: None for mark in ("context", "environment") if getattr(work, f"with_{mark}", False)}
    if named.keys() & hidden.keys():
        raise TemplateError(f"{filter_.name} has no argument {next(iter(named.keys() & hidden.keys()))!r}", at)
    try:
        inspect.signature(work).bind(None, *given, **named, **hidden)
    except TypeError as error:
        raise TemplateError(f"the filter {filter_.name!r} does not take these arguments: {error}", at) from error
    if name in ("date", "time") and given and isinstance(form := given[0].value, StringLiteral):
        code = wrong_code(form.value)
        if code is not None:
            raise TemplateError(
                f"{code!r} is not a code of strftime; %% stands for a percent sign", form.token.start_index
            )
