"""Make the nodes and expressions of a parsed source spend the budget of the rendering.

The cost of what a source always does is counted once, when it is parsed; loops spend it in each iteration. Work that
depends on values, such as comparing or repeating them, spends its cost when it is done.
"""

from collections.abc import Iterator
from typing import Any, cast

from liquid.ast import BlockNode, Node
from liquid.builtin.expressions import FilteredExpression, LoopExpression, Path
from liquid.builtin.expressions.logical import (
    ContainsExpression,
    EqExpression,
    GeExpression,
    GtExpression,
    LeExpression,
    LtExpression,
    NeExpression,
    _contains,
    _eq,
    _le,
    _lt,
)
from liquid.builtin.expressions.primitive import RangeLiteral
from liquid.builtin.output import Output, OutputNode
from liquid.builtin.tags.case_tag import MultiExpressionBlockNode, _AnyExpression
from liquid.builtin.tags.cycle_tag import CycleNode, CycleTag
from liquid.builtin.tags.echo_tag import EchoNode, EchoTag
from liquid.builtin.tags.for_tag import ForNode
from liquid.exceptions import LiquidTypeError
from liquid.expression import Expression
from liquid.stringify import to_liquid_string
from liquid.token import Token
from markupsafe import escape

from waypost.domain.templates.liquid.budget import CHARACTERS_PER_STEP, COPIED_PER_STEP, Budget, exceeded
from waypost.domain.templates.liquid.filter_costs import search_cost

#: The most digits of a text that stands for a whole number.
_MOST_DIGITS = 100
#: The classes of values that are a few characters when they are written.
_BRIEF = frozenset({bool, float, type(None)})


class MeteredBlock(BlockNode):
    """A block that may be rendered several times, and spends the cost of its nodes each time."""

    __slots__ = ("work",)

    def __init__(self, block: BlockNode, work: int) -> None:
        super().__init__(block.token, block.nodes)
        self.blank = block.blank
        self.work = work

    def render_to_output(self, context: Any, buffer: Any) -> int:
        """Render the nodes."""
        budget: Budget = context.budget
        budget.steps -= self.work
        if budget.steps < 0:
            budget.spend(0)
        return super().render_to_output(context, buffer)


def _write(expression: Expression, context: Any, buffer: Any) -> int:
    value = expression.evaluate(context)
    budget: Budget = context.budget
    if isinstance(value, str):
        if len(value) >= COPIED_PER_STEP:
            budget.spend(len(value) // COPIED_PER_STEP)
        text = escape(value) if context.autoescape else value
    else:
        if value.__class__ not in _BRIEF and (value.__class__ is not int or value.bit_length() >= COPIED_PER_STEP):
            budget.spend(budget.size(value) // CHARACTERS_PER_STEP)
        text = to_liquid_string(value, context.autoescape)
    return buffer.write(text)  # type: ignore[no-any-return]


class MeteredOutputNode(OutputNode):
    """An output that spends the cost of writing its value."""

    __slots__ = ()

    def render_to_output(self, context: Any, buffer: Any) -> int:
        """Write the value."""
        return _write(self.expression, context, buffer)


class MeteredOutput(Output):
    """The `{{ … }}` of every environment."""

    node_class = MeteredOutputNode


class _MeteredEchoNode(EchoNode):
    def render_to_output(self, context: Any, buffer: Any) -> int:
        return _write(self.expression, context, buffer)


class MeteredEcho(EchoTag):
    """The tag `echo` of every environment."""

    node_class = _MeteredEchoNode


class _MeteredCycleNode(CycleNode):
    __slots__ = ()

    def render_to_output(self, context: Any, buffer: Any) -> int:
        # python-liquid names a cycle without a group by the text of all its values.
        budget: Budget = context.budget
        for expression in self.args if self.group is None else [self.group]:
            budget.spend(budget.size(expression.evaluate(context)) // CHARACTERS_PER_STEP)
        return super().render_to_output(context, buffer)


class MeteredCycle(CycleTag):
    """The tag `cycle` of every environment."""

    node_class = _MeteredCycleNode


class _Range(RangeLiteral):
    """A `(1..n)` with a limit on its length, since a filter may make a list of it."""

    __slots__ = ()

    def evaluate(self, context: Any) -> range:
        start, stop = self.start.evaluate(context), self.stop.evaluate(context)
        made = self._make_range(_short(start), _short(stop))
        most = context.budget.limits.numbers
        if made.stop - made.start > most:
            raise exceeded(f"a range has more than {most:,} numbers")
        return made


class _Loop(LoopExpression):
    __slots__ = ()

    def _to_int(self, obj: object, *, token: Token) -> int:
        if _short(obj) is None:
            raise LiquidTypeError(f"a whole number has at most {_MOST_DIGITS} digits", token=token)
        return super()._to_int(obj, token=token)

    def _slice(self, it: Any, length: int, context: Any, **bounds: Any) -> Any:
        # An offset goes through the items before it, and `reversed` makes a list.
        if length >= COPIED_PER_STEP:
            context.budget.spend(length // COPIED_PER_STEP)
        return super()._slice(it, length, context, **bounds)


def _short(value: Any) -> Any:
    """Return the value, or None for a text with too many digits, whose reading takes quadratic time."""
    return None if isinstance(value, str) and len(value) > _MOST_DIGITS else value


class _Eq(EqExpression):
    __slots__ = ()

    def evaluate(self, context: Any) -> object:
        left, right = self.left.evaluate(context), self.right.evaluate(context)
        context.budget.compare(left, right)
        return _eq(left, right)


class _Ne(NeExpression):
    __slots__ = ()

    def evaluate(self, context: Any) -> object:
        left, right = self.left.evaluate(context), self.right.evaluate(context)
        context.budget.compare(left, right)
        return not _eq(left, right)


class _Le(LeExpression):
    __slots__ = ()

    def evaluate(self, context: Any) -> object:
        left, right = self.left.evaluate(context), self.right.evaluate(context)
        context.budget.compare(left, right)
        return _le(left, right)


class _Ge(GeExpression):
    __slots__ = ()

    def evaluate(self, context: Any) -> object:
        left, right = self.left.evaluate(context), self.right.evaluate(context)
        context.budget.compare(left, right)
        return _le(right, left)


class _Lt(LtExpression):
    __slots__ = ()

    def evaluate(self, context: Any) -> object:
        left, right = self.left.evaluate(context), self.right.evaluate(context)
        context.budget.compare(left, right)
        return _lt(self.token, left, right)


class _Gt(GtExpression):
    __slots__ = ()

    def evaluate(self, context: Any) -> object:
        left, right = self.left.evaluate(context), self.right.evaluate(context)
        context.budget.compare(left, right)
        return _lt(self.token, right, left)


class _Contains(ContainsExpression):
    __slots__ = ()

    def evaluate(self, context: Any) -> object:
        left, right = self.left.evaluate(context), self.right.evaluate(context)
        budget: Budget = context.budget
        if isinstance(left, str):
            budget.spend(search_cost(len(left), budget.size(right)))
        elif isinstance(left, list | tuple):
            budget.spend(budget.size(left) // CHARACTERS_PER_STEP)
        return _contains(self.token, left, right)


class _When(_AnyExpression):
    __slots__ = ()

    def evaluate(self, context: Any) -> list[bool]:
        left, found = self.left.evaluate(context), []
        for expression in self.expressions:
            right = expression.evaluate(context)
            context.budget.compare(left, right)
            found.append(_eq(left, right))
        return found


#: Expressions of python-liquid, and their replacements in a parsed source.
METERED: dict[type[Expression], type[Expression]] = {
    RangeLiteral: _Range,
    LoopExpression: _Loop,
    EqExpression: _Eq,
    NeExpression: _Ne,
    LeExpression: _Le,
    GeExpression: _Ge,
    LtExpression: _Lt,
    GtExpression: _Gt,
    ContainsExpression: _Contains,
    _AnyExpression: _When,
}


def expressions_of(node: Node) -> Iterator[Expression]:
    """Yield every expression of a node, nested ones included, without those of its child nodes."""
    waiting = list(node.expressions())
    while waiting:
        expression = waiting.pop()
        yield expression
        waiting += expression.children()


def nodes_in(node: Node) -> list[Node]:
    """Return the child nodes of a node."""
    # Only tags that load other templates use the context, and these are not available.
    return list(node.children(cast(Any, None)))


def meter(node: Node) -> int:
    """Make a node and all that is in it spend the budget; return its cost without that of blocks that repeat."""
    work = 1
    for expression in expressions_of(node):
        work += _meter_expression(expression)
    for inner in nodes_in(node):
        cost = meter(inner)
        if isinstance(node, ForNode) and inner is node.block:
            node.block = MeteredBlock(node.block, cost)
        elif isinstance(node, MultiExpressionBlockNode) and len(node.expression.expressions) > 1:
            # python-liquid renders the block of a `when` once for each of its values that matches.
            node.block = MeteredBlock(node.block, cost)
        else:
            work += cost
    return work


def _meter_expression(expression: Expression) -> int:
    """Replace an expression by the one that spends the budget; return the cost of evaluating it once."""
    replacement = METERED.get(type(expression))
    if replacement is not None:
        expression.__class__ = replacement
        return 2 if replacement is _When else 1
    if isinstance(expression, FilteredExpression):
        return 1 + 2 * len(expression.filters or ())
    return len(expression.path) if isinstance(expression, Path) else 1
