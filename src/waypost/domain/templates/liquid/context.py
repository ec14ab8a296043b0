"""The context of a rendering: its values, its budget, and the undefined variables that it meets."""

from collections.abc import Callable, Mapping
from functools import partial, reduce
from operator import mul
from typing import Any, cast

import msgspec
from liquid.context import RenderContext
from liquid.exceptions import LiquidInterrupt
from liquid.template import BoundTemplate
from liquid.token import Token
from liquid.undefined import UNDEFINED, Undefined
from liquid.utils import ReadOnlyChainMap

from waypost.domain.templates.liquid.budget import (
    CHARACTERS_PER_STEP,
    COPIED_PER_STEP,
    ITEM,
    MESSAGE,
    Budget,
    exceeded,
    too_long,
)
from waypost.domain.templates.liquid.filter_costs import Cost

#: The most undefined variables that are listed.
MOST_MISSING = 100

#: What python-liquid and its filters raise for unsuitable values, besides LiquidError.
FAILURES = (
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
    """The rendering of one message or request: its values, and the budget left for all of its sources."""

    __slots__ = ("budget", "gaps", "marked", "now", "values")

    def __init__(
        self, values: Values, now: int | None = None, *, marking: bool = False, budget: Budget | None = None
    ) -> None:
        self.values = values
        #: Microseconds since 1970; if None, templates have no current time.
        self.now = now
        #: The undefined variables so far, which are marked as `⟦name⟧` in the output; None if they are not collected.
        self.gaps: list[UndefinedVariable] | None = [] if marking else None
        #: The name, field and position of each variable in `gaps`.
        self.marked: set[tuple[str, str, int]] | None = set() if marking else None
        self.budget = Budget(MESSAGE) if budget is None else budget


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
        context: "Context | None" = None,
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


class OutputBuffer:
    """The output, up to a limit of characters."""

    __slots__ = ("budget", "limit", "parts", "size")

    def __init__(self, limit: int, budget: Budget) -> None:
        self.parts: list[str] = []
        self.size = 0
        self.limit = limit
        self.budget = budget

    def write(self, text: str) -> int:
        """Append to the output."""
        size = len(text)
        self.size += size
        if self.size > self.limit:
            raise exceeded(f"the output has more than {self.limit:,} characters")
        self.parts.append(text)
        return size

    def getvalue(self) -> str:
        """Return the output of a `capture` or `ifchanged` so far."""
        self.budget.spend(self.size // COPIED_PER_STEP)
        return "".join(self.parts)


class FilterEntry(msgspec.Struct, frozen=True):
    """A filter, and what applying it needs to know."""

    work: Callable[..., Any]
    #: Whether it takes the context.
    wants_context: bool
    #: Whether it accepts undefined variables.
    tolerant: bool
    #: The names of its arguments, for those that are given by name.
    names: tuple[str, ...]
    #: None if it costs one step for every 64 characters.
    cost: Cost | None
    #: Whether the cost depends on the size of the value, and whether its result only copies it.
    measured: bool
    copying: bool


class Context(RenderContext):
    """The context of one running source."""

    __slots__ = ("budget", "field", "ready", "rendering", "source")

    def __init__(self, template: BoundTemplate, rendering: Rendering, source: str = "", field: str = "") -> None:
        super().__init__(template, globals=rendering.values)
        # Without the `now` and `today` of python-liquid, which read the clock.
        self.scope = ReadOnlyChainMap(self.locals, self.globals, self.counters)
        #: The filters of the environment by name.
        self.ready: Mapping[str, FilterEntry] = template.env.ready  # type: ignore[attr-defined]
        self.budget = rendering.budget
        self.rendering = rendering
        self.source = source
        self.field = field

    @property
    def now(self) -> int | None:
        """The current time in microseconds since 1970, or None if templates have none."""
        return self.rendering.now

    def mark(self, missing: Missing) -> str:
        """Record an undefined variable and return its output."""
        gaps, marked = self.rendering.gaps, self.rendering.marked
        if gaps is None or marked is None:
            return ""
        index = missing.token.start_index if missing.token else 0
        key = (missing.name, self.field, index)
        if len(gaps) < MOST_MISSING and key not in marked:
            marked.add(key)
            gap = UndefinedVariable(missing.name, self.field, *place(self.source, index))
            if gap not in gaps:
                gaps.append(gap)
        return f"⟦{missing.name}⟧"

    def missing_member(self, value: Any, key: Any) -> Missing:
        """Return the undefined variable for a member that `lookup` did not find."""
        token = value.token if isinstance(value, Missing) else None
        stem = value.name if isinstance(value, Missing) else ""
        return Missing(f"{stem}[{_brief(key)!r}]", token=token, context=self)

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
        return partial(self._apply, self.ready[name], token)

    def _apply(self, entry: FilterEntry, token: Token | None, value: Any, /, *args: Any, **named: Any) -> Any:
        if value.__class__ is _Mark:
            return value
        if value.__class__ is Missing and not entry.tolerant and (mark := self.mark(value)):
            return _Mark(mark)
        budget = self.budget
        if entry.measured:
            size = len(value) if isinstance(value, str) else budget.size(value)
            for arg in args:
                size += len(arg) if isinstance(arg, str) else budget.size(arg)
            given = args
            if named:
                given = (*args, *(named.get(name) for name in entry.names[len(args) :]))
                size += sum(budget.size(arg) for arg in named.values())
            cost = entry.cost
            budget.steps -= 1 + (size // CHARACTERS_PER_STEP if cost is None else cost(budget, size, value, given))
        else:
            budget.steps -= 1
        if budget.steps < 0:
            budget.spend(0)
        if entry.wants_context:
            named["context"] = self
        result = entry.work(value, *args, **named)
        if isinstance(result, str):
            size = len(result)
            if size >= CHARACTERS_PER_STEP:
                if size > budget.limits.characters:
                    raise too_long(budget.limits)
                budget.spend(size // (COPIED_PER_STEP if entry.copying else CHARACTERS_PER_STEP))
        elif isinstance(result, int):
            if result.bit_length() >= 4 * CHARACTERS_PER_STEP:
                budget.spend(budget.check_result(result) // CHARACTERS_PER_STEP)
        elif isinstance(result, list):
            budget.spend(max(budget.check_result(result), ITEM * len(result)) // CHARACTERS_PER_STEP)
        elif result.__class__ is Missing and result.token is None:
            result.token = token
        return result

    def assign(self, key: str, val: Any) -> None:
        """Assign a value to a variable."""
        self.budget.assign(1 + (self.budget.check_result(val) if isinstance(val, str | int | list) else ITEM))
        self.locals[key] = val

    def get_buffer(self, buf: Any = None) -> Any:
        """Return the output of a `capture`, limited to the rest of the limit."""
        limit = buf.limit - buf.size if isinstance(buf, OutputBuffer) else self.budget.limits.assigned
        return OutputBuffer(limit, self.budget)

    def raise_for_loop_limit(self, length: int = 1) -> None:
        """Raise ResourceLimitError if a loop of this length, within the loops around it, has too many iterations."""
        most = self.budget.limits.iterations
        if reduce(mul, (loop.length for loop in self.loops), length) > most:
            raise exceeded(f"a loop, with the loops around it, has more than {most:,} iterations")


def place(source: str, index: int) -> tuple[int, int]:
    """Return line and column of a character of a text, both from 1."""
    index = max(index, 0)
    return source.count("\n", 0, index) + 1, index - source.rfind("\n", 0, index)


def _brief(segment: object) -> str:
    """Return the start of a segment of a path as text; the text of a list or object could be very long."""
    return str(segment)[:80] if isinstance(segment, str | int | float | None) else type(segment).__name__


def _spell(path: list[object]) -> str:
    first, *rest = path
    parts = [_brief(first)]
    for segment in rest:
        text = _brief(segment)
        named = isinstance(segment, str)
        parts.append(f".{text}" if named and text.isidentifier() else f"[{text!r:.80}]" if named else f"[{text}]")
    return "".join(parts)
