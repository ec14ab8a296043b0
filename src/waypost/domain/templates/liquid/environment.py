"""The Liquid environments of templates and connectors, made in one place.

python-liquid parses and evaluates. Waypost adds its own lexer (lexer.py), filters (filters.py) and undefined variables
(context.py). What every environment has is a budget (budget.py): each filter, and each tag whose work depends on
values, spends it (filter_costs.py, metering.py).
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import msgspec
from liquid import Environment
from liquid.ast import Node
from liquid.exceptions import LiquidError
from liquid.extra.tags import WithTag
from liquid.parser import get_parser
from liquid.stream import TokenStream
from liquid.token import TOKEN_EXPRESSION, Token
from liquid.undefined import Undefined

from waypost.domain.templates.liquid.context import FAILURES, FilterEntry, Missing
from waypost.domain.templates.liquid.filter_costs import COPYING, COSTS, UNMEASURED
from waypost.domain.templates.liquid.filters import FILTERS, TOLERANT
from waypost.domain.templates.liquid.html_filters import strip_html
from waypost.domain.templates.liquid.lexer import BLOCKS, SINGLE, TemplateError
from waypost.domain.templates.liquid.list_filters import uniq
from waypost.domain.templates.liquid.metering import MeteredCycle, MeteredEcho, MeteredOutput

_encode = msgspec.json.Encoder().encode

#: The tags of connectors.
CONNECTOR_TAGS = ("if", "unless", "case", "for", "break", "continue", "comment", "#", "echo")


class _Environment(Environment):
    block_nesting_limit = 30
    context_depth_limit = 40
    shorthand_indexes = True
    logical_not_operator = True
    logical_parentheses = True
    keyword_assignment = True

    def __init__(
        self,
        tags: Iterable[str],
        filters: Mapping[str, Callable[..., Any]],
        without: Iterable[str] = (),
        *,
        autoescape: bool = False,
    ) -> None:
        super().__init__(autoescape=autoescape, undefined=Missing)
        for tag in (WithTag, MeteredOutput, MeteredEcho, MeteredCycle):
            self.add_tag(tag)
        kept = {*tags, "content", "output", "illegal"}
        self.tags = {name: tag for name, tag in self.tags.items() if name in kept}
        self.filters.update(filters)
        for name in without:
            del self.filters[name]
        self.ready = {name: self._entry(name, work) for name, work in self.filters.items()}

    def _entry(self, name: str, work: Callable[..., Any]) -> FilterEntry:
        parameters = list(inspect.signature(work).parameters)[1:]
        return FilterEntry(
            work=partial(work, environment=self) if getattr(work, "with_environment", False) else work,
            wants_context=getattr(work, "with_context", False),
            tolerant=name in TOLERANT,
            names=tuple(one for one in parameters if one not in ("context", "environment")),
            cost=COSTS.get(name),
            measured=name not in UNMEASURED,
            copying=name in COPYING,
        )


def _json(value: Any) -> str:
    """Return the value as a JSON text, its members in their order."""
    return _encode(None if isinstance(value, Undefined) else value).decode()


#: The environments of templates: for text, and for HTML, where values are escaped.
PLAIN = _Environment((*BLOCKS, *SINGLE), FILTERS)
HTML = _Environment((*BLOCKS, *SINGLE), FILTERS, autoescape=True)
#: The environment of connectors: with few tags, and the filters of Liquid as they are, except for two that would take
#: too long. `date` would read the clock; `safe` has a meaning only in HTML.
CONNECTORS = _Environment(CONNECTOR_TAGS, {"json": _json, "strip_html": strip_html, "uniq": uniq}, ("date", "safe"))


def parse(environment: Environment, tokens: list[Token]) -> list[Node]:
    """Return the nodes of a source. Raise TemplateError if it is not valid."""
    stream = TokenStream(iter(tokens))
    try:
        return get_parser(environment).parse(stream)
    except (LiquidError, *FAILURES) as error:
        token = error.token if isinstance(error, LiquidError) else None
        if token is None or token.start_index < 0:
            # The end of an expression has no position, so the position of the expression is used.
            token = next((one for one in reversed(tokens[: stream.pos + 1]) if one.kind == TOKEN_EXPRESSION), None)
        message = str(error.message) if isinstance(error, LiquidError) else "Liquid cannot read this"
        raise TemplateError(message, token.start_index if token else 0) from error
