"""What a rendering may cost: the limits of each use, and the budget that one rendering spends.

Every node, value, filter and comparison costs steps, and so do the characters and items that they work on. Steps are
counted before the work is done, so that a limit does not depend on the speed of the machine, and work beyond it is
never begun.
"""

from typing import Any

import msgspec
from liquid.exceptions import ResourceLimitError

#: The characters that cost one step: in most filters, and where the work is only copying or comparing memory.
CHARACTERS_PER_STEP = 64
COPIED_PER_STEP = 512
#: The characters that each item of a list or object, or any other value, counts as.
ITEM = 16

#: Values that contain others. (A tuple: `isinstance` with a union takes twice the time.)
CONTAINERS = (list, dict, tuple)
#: The classes of values whose size does not matter, which are most.
_FLAT = frozenset({bool, float, type(None)})
_LISTS = (list, tuple)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The most that one rendering may take."""

    steps: int
    #: Iterations of nested loops together.
    iterations: int
    #: Numbers of a `(1..n)`.
    numbers: int = 10_000
    #: Characters of a text, items of a list and digits of a whole number that a filter may return.
    characters: int = 1_000_000
    items: int = 20_000
    digits: int = 800
    #: Characters that variables may hold, and each other value as 16.
    assigned: int = 2_000_000


#: One message of a template, with all of its fields.
MESSAGE = Limits(steps=50_000, iterations=10_000)
#: One request, or one response, of a connector, with all of its expressions.
CONNECTOR = Limits(steps=20_000, iterations=1_000)


class Budget:
    """What is left of the limits for one rendering."""

    __slots__ = ("assigned", "limits", "steps")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.steps = limits.steps
        self.assigned = limits.assigned

    def spend(self, steps: int) -> None:
        """Subtract steps. Raise ResourceLimitError if fewer are left."""
        self.steps -= steps
        if self.steps < 0:
            raise exceeded(f"it takes more than {self.limits.steps:,} steps")

    def assign(self, characters: int) -> None:
        """Subtract the characters of a variable. Raise ResourceLimitError if fewer are left."""
        self.assigned -= characters
        if self.assigned < 0:
            raise exceeded(f"its variables hold more than {self.limits.assigned:,} characters")

    def size(self, value: Any, per_step: int = CHARACTERS_PER_STEP) -> int:
        """Return the size of a value as `measure` does, measured only as far as steps are left."""
        if value.__class__ is int:
            return int(value.bit_length() >> 2)
        if value.__class__ in _FLAT:
            return 0
        return len(value) if isinstance(value, str) else measure(value, (self.steps + 1) * per_step)

    def compare(self, left: Any, right: Any) -> None:
        """Spend the steps of testing two values for equality or order."""
        if left.__class__ in _FLAT or right.__class__ in _FLAT:
            return
        if isinstance(left, str) and isinstance(right, str):
            shorter = min(len(left), len(right))
            if shorter >= COPIED_PER_STEP:
                self.spend(shorter // COPIED_PER_STEP)
        elif isinstance(left, CONTAINERS) and isinstance(right, CONTAINERS):
            self.spend(self.size(left) // CHARACTERS_PER_STEP + self.size(right) // CHARACTERS_PER_STEP)

    def check_result(self, result: Any) -> int:
        """Return the approximate size of a result in characters. Raise ResourceLimitError if it is too large."""
        limits = self.limits
        if isinstance(result, str):
            size = len(result)
        elif isinstance(result, int):
            size = result.bit_length() // 4
            if size > limits.digits:
                raise exceeded(f"a filter would return a number of more than {limits.digits:,} digits")
            return size
        elif isinstance(result, list):
            if len(result) > limits.items:
                raise too_many_items(limits)
            size = sum(len(item) if isinstance(item, str) else ITEM for item in result)
        else:
            return ITEM
        if size > limits.characters:
            raise too_long(limits)
        return size


def measure(value: Any, most: int) -> int:
    """Return the approximate size of a value in characters, with all that it contains, or a number above `most`.

    A value that several lists or objects refer to counts each time: a filter works on it each time.
    """
    if isinstance(value, int):
        return value.bit_length() >> 2
    size, waiting = 0, [value]
    while waiting and size <= most:
        one = waiting.pop()
        if isinstance(one, str):
            size += len(one)
        elif isinstance(one, int):
            size += one.bit_length() >> 2
        elif isinstance(one, _LISTS):
            size += ITEM * len(one)
            if size <= most:
                waiting += one
        elif isinstance(one, dict):
            size += 2 * ITEM * len(one)
            if size <= most:
                waiting += one
                waiting += one.values()
        elif isinstance(one, range):
            size += ITEM * len(one)
    return size


def exceeded(what: str) -> ResourceLimitError:
    """Return the error that names a limit."""
    return ResourceLimitError(what, token=None)


def too_long(limits: Limits) -> ResourceLimitError:
    """Return the error of a filter that would return too many characters."""
    return exceeded(f"a filter would return more than {limits.characters:,} characters")


def too_many_items(limits: Limits) -> ResourceLimitError:
    """Return the error of a filter that would return too many items."""
    return exceeded(f"a filter would return more than {limits.items:,} items")
