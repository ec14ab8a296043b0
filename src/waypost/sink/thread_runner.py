"""Run a sink on its own thread, for tests and benchmarks."""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from waypost.sink.request_log import KEEP, KEEP_BYTES
from waypost.sink.server import serve


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A running sink and its ports."""

    port: int
    smtp_port: int | None
    loop: asyncio.AbstractEventLoop

    @property
    def url(self) -> str:
        """Return the base URL, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def running(
    *,
    smtp: bool = False,
    keep: int = KEEP,
    keep_bytes: int = KEEP_BYTES,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    settings: Mapping[str, Any] | None = None,
    scenarios: Mapping[str, Any] | None = None,
) -> Iterator[Running]:
    """Run a sink on free ports of 127.0.0.1 until the block ends.

    `settings` and `scenarios` are those of `serve`, for example `settings={"aws": {"tracker_url": …}}` and
    `scenarios={"pinpoint": {"throttle_rate": 0.1}}`.
    """
    started: queue.SimpleQueue[tuple[Running, asyncio.Task[None]] | BaseException] = queue.SimpleQueue()

    async def run() -> None:
        loop = asyncio.get_running_loop()

        def ready(port: int, smtp_port: int | None) -> None:
            started.put((Running(port=port, smtp_port=smtp_port, loop=loop), task))

        task = asyncio.create_task(
            serve(
                "127.0.0.1",
                0,
                0 if smtp else None,
                ready,
                keep=keep,
                keep_bytes=keep_bytes,
                settings=settings,
                scenarios=scenarios,
            )
        )
        # A failure must also reach the caller that waits for the start.
        task.add_done_callback(lambda done: None if done.cancelled() else started.put(done.exception() or SystemExit()))
        await asyncio.wait([task])

    def work() -> None:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(run())

    thread = threading.Thread(target=work, name="sink")
    thread.start()
    try:
        result = started.get()
        if isinstance(result, BaseException):
            raise result
        sink, task = result
        try:
            yield sink
        finally:
            sink.loop.call_soon_threadsafe(task.cancel)
    finally:
        thread.join()
