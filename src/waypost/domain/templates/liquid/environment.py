"""The Liquid of templates: parsed strictly, rendered within a budget, with undefined variables marked.

python-liquid parses and evaluates. Waypost adds its own lexer (lexer.py), checks for what python-liquid would read
differently (checks.py), more filters (filters.py), and a budget. Every loop, filter and piece of output costs part of
the budget, so that the limit of a template does not depend on the speed of the machine.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, cast

import msgspec
from liquid import Environment
from liquid.ast import BlockNode, Node
from liquid.builtin.output import OutputNode
from liquid.builtin.tags.for_tag import ForNode
from liquid.context import RenderContext
from liquid.exceptions import LiquidError, LiquidInterrupt, ResourceLimitError
from liquid.extra.tags import WithTag
from liquid.parser import get_parser
from liquid.stream import TokenStream
from liquid.template import BoundTemplate
from liquid.token import TOKEN_CONTENT, TOKEN_EXPRESSION, Token
from liquid.undefined import UNDEFINED, Undefined
from liquid.utils import ReadOnlyChainMap

from waypost.domain.templates.liquid.checks import check_expressions, check_node, nodes_in
from waypost.domain.templates.liquid.filters import FILTERS, TOLERANT, checked_size
from waypost.domain.templates.liquid.lexer import BLOCKS, SINGLE, TemplateError, tokenize_source
from waypost.errors import Invalid

#: The budget of one message. A node, a value and a filter cost about 1 each, and 64 characters in a filter 1.
BUDGET = 50_000
#: The most iterations of nested loops together.
MOST_ITERATIONS = 10_000
#: The most characters or items that one rendering may assign to variables.
MOST_ASSIGNED = 2_000_000
#: The most undefined variables that are listed.
MOST_MISSING = 100

#: What python-liquid and its filters raise for unsuitable values, besides LiquidError.
_FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LiquidInterrupt,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)

Values = Mapping[str, Any]


class UndefinedVariable(msgspec.Struct, frozen=True):
    """A variable that a template outputs and that is not defined."""

    name: str
    field: str
    line: int
    column: int


class Rendering:
    """The rendering of one message: its values, and the budget left for all of its programs."""

    __slots__ = ("budget", "gaps", "now", "values")

    def __init__(self, values: Values, now: int | None = None, *, marking: bool = False) -> None:
        self.values = values
        #: Microseconds since 1970; if None, templates have no current time.
        self.now = now
        #: The undefined variables so far, which are marked as `⟦name⟧` in the output; None if they are not collected.
        self.gaps: list[UndefinedVariable] | None = [] if marking else None
        self.budget = BUDGET


class Missing(Undefined):
    """An undefined variable. Its output is empty, or a mark with its name if marking is on."""

    __slots__ = ("context", "path")

    def __init__(
        self,
        name: str,
        *,
        token: Token | None = None,
        obj: object = UNDEFINED,
        hint: str | None = None,
        context: "_Context | None" = None,
    ) -> None:
        super().__init__(name, token=token, obj=obj, hint=hint)
        self.context = context

    def __str__(self) -> str:
        return "" if self.context is None else self.context.mark(self)

    def items(self) -> Any:
        """Return no items, for a loop over an undefined variable."""
        if self.context is not None:
            self.context.mark(self)
        return {}.items()


class _Mark(str):
    """The mark of an undefined variable. Filters return it unchanged; in conditions it is false."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False


class _Output:
    """The output, up to a limit of characters."""

    __slots__ = ("limit", "parts", "size")

    def __init__(self, limit: int) -> None:
        self.parts: list[str] = []
        self.size = 0
        self.limit = limit

    def write(self, text: str) -> int:
        """Append to the output."""
        size = len(text)
        self.size += size
        if self.size > self.limit:
            raise ResourceLimitError(f"the output has more than {self.limit} characters", token=None)
        self.parts.append(text)
        return size

    def getvalue(self) -> str:
        """Return the output so far."""
        return "".join(self.parts)


class _Environment(Environment):
    block_nesting_limit = 30
    context_depth_limit = 40
    loop_iteration_limit = MOST_ITERATIONS
    shorthand_indexes = True
    logical_not_operator = True
    logical_parentheses = True
    keyword_assignment = True

    def __init__(self, *, autoescape: bool) -> None:
        super().__init__(autoescape=autoescape, undefined=Missing)
        self.add_tag(WithTag)
        kept = {*BLOCKS, *SINGLE, "content", "output", "illegal"}
        self.tags = {name: tag for name, tag in self.tags.items() if name in kept}
        self.filters.update(FILTERS)
        #: By name: the filter, whether it takes the context, and whether it accepts undefined variables.
        self.ready = {
            name: (
                partial(work, environment=self) if getattr(work, "with_environment", False) else work,
                getattr(work, "with_context", False),
                name in TOLERANT,
            )
            for name, work in self.filters.items()
        }


class _Context(RenderContext):
    """The context of one running program: its values, its budget and its undefined variables."""

    __slots__ = ("assigned", "budget", "gaps", "now", "program")

    def __init__(self, template: BoundTemplate, rendering: Rendering, program: "Program") -> None:
        super().__init__(template, globals=rendering.values)
        # Without the `now` and `today` of python-liquid, which read the clock.
        self.scope = ReadOnlyChainMap(self.locals, self.globals, self.counters)
        self.budget = rendering.budget
        self.assigned = 0
        self.now = rendering.now
        self.gaps = rendering.gaps
        self.program = program

    def spend(self, cost: int) -> None:
        """Subtract a cost from the budget. Raise ResourceLimitError if it is used up."""
        self.budget -= cost
        if self.budget < 0:
            raise ResourceLimitError("it exceeds the work that one message may take", token=None)

    def mark(self, missing: Missing) -> str:
        """Record an undefined variable and return its output."""
        if self.gaps is None:
            return ""
        program = self.program
        line, column = place(program.source, missing.token.start_index if missing.token else 0)
        gap = UndefinedVariable(missing.name, program.extra.get("field", ""), line, column)
        if len(self.gaps) < MOST_MISSING and gap not in self.gaps:
            self.gaps.append(gap)
        return f"⟦{missing.name}⟧"

    def missing_member(self, value: Any, key: Any) -> Missing:
        """Return the undefined variable for a member that `lookup` did not find."""
        token = value.token if isinstance(value, Missing) else None
        stem = value.name if isinstance(value, Missing) else ""
        return Missing(f"{stem}[{str(key)[:80]!r}]", token=token, context=self)

    def get(self, path: list[object], *, token: Token | None, default: object = UNDEFINED) -> object:
        """Return the value at a path, or an undefined variable."""
        try:
            value: Any = self.scope[cast(str, path[0])]
            for segment in path[1:]:
                value = value[segment] if type(value) is dict and segment in value else self.get_item(value, segment)
        except (LookupError, TypeError):
            return Missing(_spell(path), token=token, context=self) if default is UNDEFINED else default
        return value

    def filter(self, name: str, token: Token | None) -> Callable[..., object]:
        """Return the filter of this name, with its cost counted against the budget."""
        work, wants_context, tolerant = cast(_Environment, self.env).ready[name]
        if wants_context:
            work = partial(work, context=self)
        return partial(self._apply, work, tolerant, token)

    def _apply(
        self, work: Callable[..., Any], tolerant: bool, token: Token | None, value: Any, *args: Any, **named: Any
    ) -> Any:
        kind = type(value)
        if kind is _Mark:
            return value
        if kind is Missing and not tolerant and (mark := self.mark(value)):
            return _Mark(mark)
        self.spend(1 + (len(value) >> 6 if isinstance(value, str) else len(value) >> 2 if kind is list else 0))
        result = work(value, *args, **named)
        if isinstance(result, str | int | list):
            self.spend(checked_size(result) >> 6)
        if isinstance(result, Missing) and result.token is None:
            result.token = token
        return result

    def assign(self, key: str, val: Any) -> None:
        """Assign a value to a variable."""
        self.assigned += 1 + (checked_size(val) if isinstance(val, str | int | list) else 16)
        if self.assigned > MOST_ASSIGNED:
            raise ResourceLimitError("its variables are larger than one message may have", token=None)
        self.locals[key] = val

    def get_buffer(self, buf: Any = None) -> Any:
        """Return the output of a `capture`, limited to the rest of the limit."""
        return _Output(buf.limit - buf.size if isinstance(buf, _Output) else MOST_ASSIGNED)


class _LoopBody(BlockNode):
    """The body of a loop, whose cost counts in each iteration."""

    __slots__ = ("work",)

    def __init__(self, block: BlockNode, work: int) -> None:
        super().__init__(block.token, block.nodes)
        self.blank = block.blank
        self.work = work

    def render_to_output(self, context: RenderContext, buffer: Any) -> int:
        """Render the nodes."""
        cast(_Context, context).spend(self.work)
        return super().render_to_output(context, buffer)


PLAIN = _Environment(autoescape=False)
HTML = _Environment(autoescape=True)


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

    def render(self, rendering: Rendering) -> str:
        """Return the rendered text.

        Raise Invalid with the code `template_limit` if it exceeds a limit, or `cannot_render` for an unsuitable value.
        """
        if self._constant is not None:
            return self._constant
        context, output = _Context(self._template, rendering, self), _Output(self._room)
        node = None
        try:
            context.spend(self._work)
            for node in self._nodes:
                node.render_to_output(context, cast(Any, output))
        except (LiquidError, *_FAILURES) as error:
            raise self._failed(error, node) from error
        rendering.budget = context.budget
        return "".join(output.parts)

    def value(self, rendering: Rendering) -> Any:
        """Return the template as a JSON value: that of its only output, or its text. Raise Invalid as `render` does."""
        if len(self._nodes) != 1 or type(self._nodes[0]) is not OutputNode:
            return self.render(rendering)
        node, context = self._nodes[0], _Context(self._template, rendering, self)
        try:
            context.spend(self._work)
            found = node.expression.evaluate(context)
            rendering.budget = context.budget
            if isinstance(found, Missing):
                return context.mark(found) or None
            if isinstance(found, str):
                return str(found)
            if isinstance(found, range):
                return list(found)
        except (LiquidError, *_FAILURES) as error:
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


def compile_source(source: str, *, html: bool, longest: int, room: int, extra: dict[str, str]) -> Program:
    """Parse and check a source of at most `longest` characters, whose output may have at most `room` characters.

    Raise Invalid (code `invalid_template`, with `line`, `column` and `extra`) if it is not valid.
    """
    if len(source) > longest:
        raise _refuse(source, longest, f"there are more than {longest} characters", extra, code="invalid_template")
    environment = HTML if html else PLAIN
    try:
        tokens = tokenize_source(source)
        check_expressions(tokens)
        nodes = _parse(environment, tokens)
        work = sum(_weigh(node, environment) for node in nodes)
    except TemplateError as fault:
        raise _refuse(source, fault.index, fault.message, extra, code="invalid_template") from fault
    return Program(source, nodes, work, html, room, extra)


def _parse(environment: Environment, tokens: list[Token]) -> list[Node]:
    stream = TokenStream(iter(tokens))
    try:
        return get_parser(environment).parse(stream)
    except (LiquidError, *_FAILURES) as error:
        token = error.token if isinstance(error, LiquidError) else None
        if token is None or token.start_index < 0:
            # The end of an expression has no position, so the position of the expression is used.
            token = next((one for one in reversed(tokens[: stream.pos + 1]) if one.kind == TOKEN_EXPRESSION), None)
        message = str(error.message) if isinstance(error, LiquidError) else "Liquid cannot read this"
        raise TemplateError(message, token.start_index if token else 0) from error


def _weigh(node: Node, environment: Environment) -> int:
    """Return the cost of a node, without the bodies of loops, which count per iteration."""
    work = 1 + check_node(node, environment.filters)
    for inner in nodes_in(node):
        cost = _weigh(inner, environment)
        if isinstance(node, ForNode) and inner is node.block:
            node.block = _LoopBody(node.block, cost)
        else:
            work += cost
    return work


def _spell(path: list[object]) -> str:
    first, *rest = path
    parts = [str(first)[:80]]
    for segment in rest:
        text = str(segment)[:80]
        parts.append(f".{text}" if isinstance(segment, str) and text.isidentifier() else f"[{segment!r:.80}]")
    return "".join(parts)


def place(source: str, index: int) -> tuple[int, int]:
    """Return line and column of a character of a text, both from 1."""
    index = max(index, 0)
    return source.count("\n", 0, index) + 1, index - source.rfind("\n", 0, index)


def _refuse(source: str, index: int, message: str, extra: dict[str, str], *, code: str) -> Invalid:
    line, column = place(source, index)
    where = ", ".join(value if name == "field" else f"{name} {value!r}" for name, value in extra.items())
    detail = f"{where}, line {line}, column {column}: {message}."
    return Invalid(detail, code=code, **extra, line=line, column=column)
