"""Check the links of texts that were accepted before the check, and send them or let them fail."""

import asyncio
from typing import Any

import msgspec
import structlog

from waypost.clock import SECOND, now_us
from waypost.domain.messaging.failure_codes import OTHER
from waypost.domain.messaging.message import Status
from waypost.domain.messaging.status import Transition
from waypost.engine.messaging.transitions import Transitions
from waypost.engine.runtime.recorder import Recorder
from waypost.engine.runtime.scheduler import POLL_S, Alarm
from waypost.engine.runtime.unit import Unit
from waypost.engine.texts.texts import check_links
from waypost.engine.tracking.link_checks import LinkChecker
from waypost.errors import Unavailable
from waypost.storage.database import Database, Row, Tx

log = structlog.get_logger()

#: Texts whose links are checked at the same time.
STEP = 50
#: A process has this long for a check; then another one may make it.
LEASE = 30 * SECOND

_urls = msgspec.json.Decoder(tuple[str | None, str | None])


async def check_held(database: Database, recorder: Recorder, checker: LinkChecker, alarm: Alarm) -> float:
    """Check the links of some texts; return the seconds until the next run. A check that fails to run is due again."""
    alarm.clear()
    rows = await database.read(_due, now_us())
    if rows:
        rows = await database.transact(_claim, now_us())
    if not rows:
        return POLL_S
    found = await asyncio.gather(*(_fault(checker, urls) for _, urls in rows), return_exceptions=True)
    checked: dict[int, str] = {}
    for (message_id, _), fault in zip(rows, found, strict=True):
        if isinstance(fault, str):
            checked[message_id] = fault
        elif not isinstance(fault, Unavailable):
            log.error("a link check broke", action="link_check_failed", exc_info=fault)

    async def work(tx: Tx, unit: Unit) -> None:
        transitions = Transitions(unit)
        await transitions.load(tx, checked)
        for message_id, fault in checked.items():
            state = transitions.states.get(message_id)
            # It may have been cancelled, or checked by another process.
            if state is not None and state.status is Status.HELD:
                transitions.apply(state, _result(fault, unit.now))
        await transitions.write(tx)
        await tx.run("text_link_checks.delete", ids=list(checked))

    if checked:
        await recorder.perform(work)
    return 0.0 if len(rows) == STEP else POLL_S


async def _fault(checker: LinkChecker, urls: str) -> str:
    """Return why a text must not be sent; an empty text if its links work."""
    click_url, media_url = _urls.decode(urls)
    for field, verdict in await check_links(checker, click_url or "", media_url or ""):
        if not verdict.ok:
            return f"{field}: {verdict.reason}"
    return ""


def _result(fault: str, now: int) -> Transition:
    if fault:
        return Transition(status=Status.FAILED, at=now, code=OTHER, reason="link_failed", detail=fault)
    return Transition(status=Status.QUEUED, at=now, due_at=now)


async def _due(tx: Tx, now: int) -> list[Row]:
    return await tx.rows("text_link_checks.due", now=now, n=1)


async def _claim(tx: Tx, now: int) -> list[tuple[Any, ...]]:
    return await tx.rows("text_link_checks.claim", now=now, due_at=now + LEASE, n=STEP)
