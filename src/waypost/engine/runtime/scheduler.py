"""Run recurring jobs, each in a loop of its own; a job that fails does not affect the others."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable

import msgspec
import structlog

from waypost.clock import SECOND, now_us
from waypost.errors import Error

log = structlog.get_logger()

#: How often jobs poll the database even if nothing is known to be due: another process may have queued work.
POLL_S = 1.0


class Alarm:
    """Wakes a job earlier than the wait that it asked for."""

    def __init__(self) -> None:
        self._due_at: int | None = None
        self._earlier = asyncio.Event()

    def wake_at(self, due_at: int) -> None:
        """Wake the job at this time, unless it is to be woken earlier."""
        if self._due_at is None or due_at < self._due_at:
            self._due_at = due_at
            self._earlier.set()

    def clear(self) -> None:
        """Forget the time. Call it before the database is read, so that a time set meanwhile counts."""
        self._due_at = None

    async def wait(self, seconds: float) -> None:
        """Wait for these seconds, or until the time that is set."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._due_at is not None:
                left = min(left, (self._due_at - now_us()) / SECOND)
                if left <= 0:
                    return
            self._earlier.clear()
            # Not `wait_for`: Python 3.11's may swallow the cancellation that ends this loop.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._earlier.wait()


class Job(msgspec.Struct):
    """A function that the scheduler calls repeatedly."""

    name: str
    #: Returns how many seconds to wait before the next run.
    run: Callable[[], Awaitable[float]]
    alarm: Alarm | None = None


class Scheduler:
    """Runs the jobs of one process."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, jobs: Iterable[Job]) -> None:
        """Start one loop for each job."""
        self._tasks = [asyncio.create_task(_repeat(job), name=f"job-{job.name}") for job in jobs]

    async def stop(self) -> None:
        """Stop the loops; the database finishes a transaction that is in progress."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _repeat(job: Job) -> None:
    while True:
        try:
            wait = await job.run()
        except Error as error:
            log.warning("job failed", action="job_failed", job=job.name, error=error.detail)
            wait = POLL_S
        except Exception:
            log.exception("job failed", action="job_failed", job=job.name)
            wait = POLL_S
        if job.alarm is not None:
            await job.alarm.wait(wait)
        else:
            await asyncio.sleep(wait)
