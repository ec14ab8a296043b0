"""Ask new members of lists with double opt-in by mail, and record who confirms."""

from collections.abc import Container

import structlog

from waypost.clock import DAY, MINUTE, now_us
from waypost.domain.audience.lists import CONFIRM_PATH, MemberAction, MemberState, confirmation_texts
from waypost.domain.messaging.request import MessageRequest
from waypost.domain.values.ids import public
from waypost.engine.audience.lists import ContactList, find_list, move_members
from waypost.engine.messaging.acceptance import Messages
from waypost.engine.runtime.idempotency import IdempotencyKey
from waypost.engine.runtime.recorder import Recorder
from waypost.engine.runtime.scheduler import POLL_S
from waypost.engine.runtime.unit import Unit
from waypost.errors import Error, NotFound, Unavailable
from waypost.storage.database import Database, Row, Tx

log = structlog.get_logger()

#: Confirmations that one run sends.
STEP = 100
#: A process has this long for a mail; then another one may send it. The mail is the same, and accepted once.
LEASE = MINUTE
#: After so long, a mail that could not be accepted is tried again: there is no email connection, for instance.
RETRY = 5 * MINUTE
#: For so long the link in a mail is valid.
VALID = 30 * DAY


class Confirmations:
    """Sends the mails of double opt-in as transactional messages."""

    def __init__(
        self,
        database: Database,
        recorder: Recorder,
        messages: Messages,
        base_url: str,
        closed: Container[int] = frozenset(),
    ) -> None:
        self._database = database
        self._recorder = recorder
        self._messages = messages
        self._base_url = base_url
        #: The workspaces that are deleted: nobody confirms anything there.
        self._closed = closed

    async def run(self) -> float:
        """Send the mails that are due; return the seconds until the next run."""
        if not await self._database.read(_any_due):
            return POLL_S
        rows = await self._database.transact(_claim)
        for row in rows:
            if row[2] not in self._closed:
                await self._send(row)
        return 0.0 if len(rows) == STEP else POLL_S

    async def _send(self, row: Row) -> None:
        list_id, profile_id, workspace_id, token, created_at, name, template_id = row
        url = f"{self._base_url}{CONFIRM_PATH}{token}"
        about = {"list": {"id": public("lst", list_id), "name": name}, "confirm_url": url}
        request = MessageRequest(
            channel="email", profile_id=public("pro", profile_id), purpose="transactional", variables=about
        )
        if template_id is not None:
            request.template_id = public("tpl", template_id)
        else:
            request.subject, request.text, request.html = confirmation_texts()
        # A repeat after a crash gets the first response, and no second mail is sent.
        key = IdempotencyKey(f"confirm-{token}-{created_at:x}", "")
        try:
            await self._messages.submit_one(workspace_id, request, key, now_us())
        except Unavailable:
            return
        except Error as error:
            log.warning(
                "a confirmation cannot be sent",
                action="confirmation_failed",
                id=public("lst", list_id),
                error=error.detail,
            )
            gone = isinstance(error, NotFound) and error.code == "unknown_profile"
            await self._database.transact(_sent if gone else _later, list_id, profile_id)
            return
        await self._database.transact(_sent, list_id, profile_id)

    async def find(self, token: str) -> tuple[ContactList, MemberState] | None:
        """Return the list of a link and the state of its member; None for a link that does not exist or is too old."""

        async def work(tx: Tx) -> tuple[ContactList, MemberState] | None:
            row = await tx.row("list_confirmations.find", token=token, since=now_us() - VALID)
            if row is None or row[0] in self._closed:
                return None
            try:
                return await find_list(tx, row[0], row[1]), MemberState(row[3])
            except NotFound:
                return None

        return await self._database.read(work)

    async def confirm(self, token: str) -> str | None:
        """Put the member of a link on the list; return the name of the list, or None if the link is not valid."""

        async def work(tx: Tx, unit: Unit) -> str | None:
            row = await tx.row("list_confirmations.find", token=token, since=unit.now - VALID)
            if row is None or row[0] in self._closed:
                return None
            workspace_id, list_id, profile_id, state = row
            try:
                found = await find_list(tx, workspace_id, list_id)
            except NotFound:
                return None
            if state == MemberState.PENDING:
                await move_members(
                    tx, unit, workspace_id, found, [profile_id], MemberAction.CONFIRM, "confirmation", events=True
                )
            # Who confirmed and left again stays away: an old mail does not bring anybody back.
            return found.name if state != MemberState.UNSUBSCRIBED else None

        return await self._recorder.perform(work)


async def prune_confirmations(database: Database, now: int) -> int:
    """Delete confirmations whose links are not valid any more; the members stay pending."""
    return await database.transact(_prune, now - VALID)


async def _any_due(tx: Tx) -> bool:
    return await tx.row("list_confirmations.any_due", now=now_us()) is not None


async def _claim(tx: Tx) -> list[Row]:
    now = now_us()
    rows = await tx.rows("list_confirmations.due", now=now, n=STEP)
    for list_id in sorted({row[0] for row in rows}):
        profiles = [row[1] for row in rows if row[0] == list_id]
        await tx.run("list_confirmations.lease", list_id=list_id, ids=profiles, due_at=now + LEASE)
    return rows


async def _sent(tx: Tx, list_id: int, profile_id: int) -> None:
    await tx.run("list_confirmations.lease", list_id=list_id, ids=[profile_id], due_at=None)


async def _later(tx: Tx, list_id: int, profile_id: int) -> None:
    await tx.run("list_confirmations.lease", list_id=list_id, ids=[profile_id], due_at=now_us() + RETRY)


async def _prune(tx: Tx, before: int) -> int:
    return await tx.run("list_confirmations.prune", before=before)
