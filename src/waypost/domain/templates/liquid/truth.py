"""Truth in the conditions of templates: 0, an empty text, an empty list and an empty object are false.

This is the truth of Django and Klaviyo. Connectors keep that of Liquid, where only false and null are false.
"""

from liquid.builtin.expressions import BooleanExpression
from liquid.builtin.expressions.logical import LogicalAndExpression, LogicalNotExpression, LogicalOrExpression
from liquid.context import RenderContext
from liquid.expression import Expression


class _Condition(BooleanExpression):
    __slots__ = ()

    def evaluate(self, context: RenderContext) -> bool:
        return bool(self.expression.evaluate(context))


class _Not(LogicalNotExpression):
    __slots__ = ()

    def evaluate(self, context: RenderContext) -> bool:
        return not self.right.evaluate(context)


class _And(LogicalAndExpression):
    __slots__ = ()

    def evaluate(self, context: RenderContext) -> bool:
        return bool(self.left.evaluate(context)) and bool(self.right.evaluate(context))


class _Or(LogicalOrExpression):
    __slots__ = ()

    def evaluate(self, context: RenderContext) -> bool:
        return bool(self.left.evaluate(context)) or bool(self.right.evaluate(context))


#: Expressions of python-liquid, and their replacements in a parsed template.
TRUTH: dict[type[Expression], type[Expression]] = {
    BooleanExpression: _Condition,
    LogicalNotExpression: _Not,
    LogicalAndExpression: _And,
    LogicalOrExpression: _Or,
}
