"""Wait for what a test is about, with a deadline. No other test module may sleep.

A test names the condition that it waits for. It does not guess how long the program needs.
"""

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

#: Seconds between two checks.
STEP_S = 0.01


async def eventually(check: Callable[[], Any], within: float = 20.0) -> Any:
    """Return the first true result of `check`, which may be a coroutine function; fail when there is none in time."""
    end = time.monotonic() + within
    while True:
        found = check()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < end, f"not true within {within:g} s: {check}"
        await asyncio.sleep(STEP_S)


def eventually_blocking(check: Callable[[], Any], *, within: float = 60.0, what: str = "") -> Any:
    """Return the first true result of `check`, for tests without an event loop; fail when there is none in time."""
    end = time.monotonic() + within
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {within:g} s: {what or check}")
        time.sleep(STEP_S)
