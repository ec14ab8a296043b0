"""Render the parts of campaigns in a process beside this one, so that a second core does it while this one sends.

`python -m waypost.engine.campaigns.render_process` is that process. It reads the key of tokens and then jobs from its
standard input, writes what it rendered to its standard output, and ends when its input does: whatever ends the process
that started it, nobody is left. It has no database and no network, and knows no secret but the key.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections import OrderedDict
from typing import BinaryIO

import msgspec
import structlog

from waypost.domain.templates.link_marks import make_marks
from waypost.domain.templates.template import CompiledTemplate, Variant
from waypost.domain.tracking.mail_tokens import MailTokens
from waypost.engine.campaigns.rendering import PartRenderer, RenderedPart, RenderJob
from waypost.engine.tracking.mail import MailTracker

log = structlog.get_logger()

#: The most recipients of one exchange: taking the answer apart does not block the event loop for long.
CHUNK = 100
#: People that are rendered in this process before other tasks run.
TURN = 20
#: Parts with fewer recipients are not worth an exchange.
WORTH = 50
#: Seconds after which the process ends if it has nothing to do, and the most that one exchange may take.
IDLE_S = 60.0
PATIENCE_S = 60.0
#: Templates that it keeps compiled.
MOST_TEMPLATES = 20
#: Bytes before each frame that say how long it is, and the bytes of a pipe that are read ahead.
LENGTH = 4
READ_AHEAD = 4_000_000


class Frame(msgspec.Struct, array_like=True):
    """A job and its template, as the process reads them."""

    job: RenderJob
    template_id: int
    version: int
    channel: str
    variants: list[Variant]


_encode = msgspec.msgpack.Encoder().encode
_frames = msgspec.msgpack.Decoder(Frame)
_parts = msgspec.msgpack.Decoder(RenderedPart)

#: What goes wrong with the process, or with values that do not fit into a frame: the job is done here instead.
_FAILED = (OSError, EOFError, TimeoutError, ValueError, OverflowError, TypeError, msgspec.MsgspecError)


class RenderProcess:
    """Renders jobs, in a process beside this one if there is a core for it, and in this one if that fails."""

    def __init__(self, tracker: MailTracker, cores: int | None = None) -> None:
        self._tracker = tracker
        self._beside = (_cores() if cores is None else cores) > 1
        self._process: asyncio.subprocess.Process | None = None
        self._idle: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int | None:
        """The number of the process beside this one, while there is one."""
        return None if self._process is None else self._process.pid

    async def render(self, job: RenderJob, template: CompiledTemplate) -> RenderedPart:
        """Return what becomes of the recipients of a job, in their order, and the URLs that are not stored yet."""
        if self._beside and len(job.people) >= WORTH:
            try:
                found = await self._ask(job, template)
            except _FAILED as error:
                # Nothing is lost: nothing of a job is recorded before all of it is rendered.
                log.warning("rendering here instead", action="render_process_failed", error=repr(error)[:300])
                found = await self._do(job, template)
        else:
            found = await self._do(job, template)
        urls = {url.id: url for url in found.urls}
        return RenderedPart(found.handed, self._tracker.unstored(list(urls.values())))

    async def stop(self) -> None:
        """End the process beside this one, if there is one."""
        process, self._process = self._process, None
        if self._idle is not None:
            self._idle.cancel()
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    async def _do(self, job: RenderJob, template: CompiledTemplate) -> RenderedPart:
        renderer = PartRenderer(job, template, self._tracker.tokens, self._tracker.marks)
        found = RenderedPart([], [])
        for number, handed in enumerate(renderer.run()):
            found.handed.append(handed)
            if number % TURN == TURN - 1:
                # Let other tasks run.
                await asyncio.sleep(0)
        found.urls = renderer.take_urls()
        return found

    async def _ask(self, job: RenderJob, template: CompiledTemplate) -> RenderedPart:
        if self._idle is not None:
            self._idle.cancel()
        found = RenderedPart([], [])
        for first in range(0, len(job.people), CHUNK):
            some = msgspec.structs.replace(job, people=job.people[first : first + CHUNK])
            frame = Frame(some, template.template_id, template.version, template.channel, template.sources)
            async with asyncio.timeout(PATIENCE_S):
                part = _parts.decode(await self._exchange(_encode(frame)))
            found.handed += part.handed
            found.urls += part.urls
        self._idle = asyncio.get_running_loop().call_later(IDLE_S, self._end_idle)
        return found

    async def _exchange(self, body: bytes) -> bytes:
        """Return the answer to a frame. Whatever goes wrong ends the process: what it says next would be of no use."""
        try:
            process = self._process or await self._start()
            source, target = process.stdout, process.stdin
            if source is None or target is None:
                raise EOFError("the process has no pipes")
            target.write(_framed(body))
            await target.drain()
            return await source.readexactly(int.from_bytes(await source.readexactly(LENGTH)))
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> asyncio.subprocess.Process:
        """Start the process, which reads the key of tokens first."""
        # -P: the working directory is not searched for modules.
        command = [sys.executable, "-P", "-m", __name__]
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=READ_AHEAD)
        if self._process.stdin is not None:
            self._process.stdin.write(_framed(self._tracker.key))
        return self._process

    def _end_idle(self) -> None:
        """Let the process end: its input is over."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()


def serve(source: BinaryIO, target: BinaryIO) -> None:
    """Answer the frames of `source` on `target` until it ends."""
    key = _read(source)
    if key is None:
        return
    tokens, marks = MailTokens(key), make_marks(os.urandom(12).hex())
    kept: OrderedDict[tuple[int, int], CompiledTemplate] = OrderedDict()
    while (body := _read(source)) is not None:
        frame = _frames.decode(body)
        version = (frame.template_id, frame.version)
        template = kept.get(version)
        if template is None:
            template = kept[version] = CompiledTemplate(frame.channel, frame.variants, *version, marks)
            if len(kept) > MOST_TEMPLATES:
                kept.popitem(last=False)
        renderer = PartRenderer(frame.job, template, tokens, marks)
        handed = list(renderer.run())
        target.write(_framed(_encode(RenderedPart(handed, renderer.take_urls()))))
        target.flush()


def _cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _framed(body: bytes) -> bytes:
    return len(body).to_bytes(LENGTH) + body


def _read(source: BinaryIO) -> bytes | None:
    length = source.read(LENGTH)
    return source.read(int.from_bytes(length)) if len(length) == LENGTH else None


def main() -> None:
    """Serve until the input ends; the signals that end the process which started this one reach that one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with contextlib.suppress(BrokenPipeError):
        serve(sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
