"""The sources of templates: parsed strictly, rendered within a budget, with undefined variables marked.

checks.py refuses what python-liquid would read differently than the author means.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, cast

from liquid.ast import Node
from liquid.exceptions import LiquidError, ResourceLimitError
from liquid.template import BoundTemplate
from liquid.token import TOKEN_CONTENT, Token

from waypost.domain.templates.liquid.budget import CHARACTERS_PER_STEP, exceeded
from waypost.domain.templates.liquid.checks import check_expressions, check_node
from waypost.domain.templates.liquid.context import FAILURES, Context, Missing, OutputBuffer, Rendering, place
from waypost.domain.templates.liquid.environment import HTML, PLAIN, parse
from waypost.domain.templates.liquid.lexer import TemplateError, tokenize_source
from waypost.domain.templates.liquid.metering import MeteredOutputNode, meter
from waypost.errors import Invalid


class Program:
    """A parsed and checked template. It has no state between renderings."""

    __slots__ = ("_constant", "_nodes", "_room", "_template", "_work", "extra", "source")

    def __init__(self, source: str, nodes: list[Node], work: int, html: bool, room: int, extra: dict[str, str]) -> None:
        self.source = source
        #: The field and the variant, for errors.
        self.extra = extra
        self._nodes = nodes
        self._work = work
        self._room = room
        self._template = BoundTemplate(HTML if html else PLAIN, nodes)
        self._constant = "".join(map(str, nodes)) if all(node.token.kind == TOKEN_CONTENT for node in nodes) else None

    @property
    def constant(self) -> bool:
        """Whether it always gives the same text."""
        return self._constant is not None

    @property
    def size(self) -> int:
        """The approximate size in memory, in bytes."""
        return 500 + 2 * len(self.source) + 1000 * self._work

    def names(self) -> dict[str, int]:
        """Return the variables that it reads and does not assign: the first word of each, and where it stands."""
        found = {} if self.constant else self._template.analyze().globals
        return {name: max(uses[0].span.index, 0) for name, uses in found.items() if uses}

    def refuse(self, index: int, message: str) -> Invalid:
        """Return the error for a place in the source, with the code `invalid_template`."""
        return _refuse(self.source, index, message, self.extra, code="invalid_template")

    def render(self, rendering: Rendering) -> str:
        """Return the rendered text.

        Raise Invalid with the code `template_limit` if it exceeds a limit, or `cannot_render` for an unsuitable value.
        """
        if self._constant is not None:
            return self._constant
        context = Context(self._template, rendering, self.source, self.extra.get("field", ""))
        output = OutputBuffer(self._room, context.budget)
        node = None
        try:
            context.budget.spend(self._work)
            for node in self._nodes:
                node.render_to_output(context, cast(Any, output))
        except (LiquidError, *FAILURES) as error:
            raise self._failed(error, node) from error
        return "".join(output.parts)

    def value(self, rendering: Rendering) -> Any:
        """Return the template as a JSON value: that of its only output, or its text. Raise Invalid as `render` does."""
        if len(self._nodes) != 1 or type(self._nodes[0]) is not MeteredOutputNode:
            return self.render(rendering)
        node = self._nodes[0]
        context = Context(self._template, rendering, self.source, self.extra.get("field", ""))
        budget = context.budget
        try:
            budget.spend(self._work)
            found = node.expression.evaluate(context)
            size = budget.size(found)
            if size > self._room:
                raise exceeded(f"the value has more than {self._room:,} characters")
            budget.spend(size // CHARACTERS_PER_STEP)
            if isinstance(found, Missing):
                return context.mark(found) or None
            if isinstance(found, str):
                return str(found)
            if isinstance(found, range):
                return list(found)
        except (LiquidError, *FAILURES) as error:
            raise self._failed(error, node) from error
        if isinstance(found, datetime):
            return found.isoformat()
        return found if isinstance(found, int | float | list | dict) else None

    def _failed(self, error: Exception, node: Node | None) -> Invalid:
        token = (error.token if isinstance(error, LiquidError) else None) or (node.token if node else None)
        index = token.start_index if token else 0
        reason = str(error.message if isinstance(error, LiquidError) else error)[:300]
        if isinstance(error, ResourceLimitError | RecursionError):
            reason = "it is nested too deeply" if isinstance(error, RecursionError) else reason
            return _refuse(self.source, index, reason, self.extra, code="template_limit")
        return _refuse(self.source, index, f"this cannot be rendered: {reason}", self.extra, code="cannot_render")


def compile_source(
    source: str,
    *,
    html: bool,
    longest: int,
    room: int,
    extra: dict[str, str],
    change: Callable[[str, list[Token]], list[Token]] | None = None,
) -> Program:
    """Parse and check a source of at most `longest` characters, whose output may have at most `room` characters.

    `change` may change the literal text of the tokens; the places in errors stay those of the source.
    Raise Invalid (code `invalid_template`, with `line`, `column` and `extra`) if it is not valid.
    """
    if len(source) > longest:
        raise _refuse(source, longest, f"there are more than {longest} characters", extra, code="invalid_template")
    environment = HTML if html else PLAIN
    try:
        tokens = tokenize_source(source)
        check_expressions(tokens)
        if change is not None:
            tokens = change(source, tokens)
        nodes = parse(environment, tokens)
        for node in nodes:
            check_node(node, environment.filters)
        work = sum(map(meter, nodes))
    except TemplateError as fault:
        raise _refuse(source, fault.index, fault.message, extra, code="invalid_template") from fault
    return Program(source, nodes, work, html, room, extra)


def _refuse(source: str, index: int, message: str, extra: dict[str, str], *, code: str) -> Invalid:
    line, column = place(source, index)
    where = ", ".join(value if name == "field" else f"{name} {value!r}" for name, value in extra.items())
    detail = f"{where}, line {line}, column {column}: {message}."
    return Invalid(detail, code=code, **extra, line=line, column=column)
