"""Messages as they are asked for: who they go to, what they say, through which connection; accepted or refused."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from waypost.clock import DAY, SECOND, Ids
from waypost.domain.messaging.message import Content, Status
from waypost.domain.messaging.request import (
    MessageRequest,
    check_content,
    content_fields,
    is_verbatim,
    read_campaign,
    read_due_at,
    read_metadata,
)
from waypost.domain.messaging.status import MessageState, Transition
from waypost.domain.providers.connection import Connection
from waypost.domain.templates.template import CompiledTemplate, complete, context_of, person_values
from waypost.domain.values.ids import internal, public
from waypost.engine.audience.recipients import Recipient, Recipients, describe_recipient, find_address, load_recipients
from waypost.engine.messaging.recording import MessageBatch, NewMessage
from waypost.engine.messaging.transitions import Transitions
from waypost.engine.providers.registry import ConnectionRegistry
from waypost.engine.runtime import idempotency
from waypost.engine.runtime.encryption import Encryption
from waypost.engine.runtime.idempotency import Answer, IdempotencyKey
from waypost.engine.runtime.journal import Journal
from waypost.engine.runtime.recorder import Recorder
from waypost.engine.runtime.unit import Unit
from waypost.engine.templates.templates import Templates
from waypost.errors import Conflict, Error, Invalid, NotFound, Unavailable
from waypost.storage.database import Database, Tx

#: Messages of one request.
MOST = 1000
#: Messages that are prepared before others get their turn, and characters of HTML that are worth a thread.
TURN = 50
LARGE_HTML = 10_000
#: What failed because it is the same message to the same address (the code of the provider's own finding).
DUPLICATE = 2021
INVALID_NUMBER = 2003

_encode = msgspec.json.Encoder().encode


class MessageAccepted(msgspec.Struct, omit_defaults=True):
    """A message that was accepted: queued, or skipped for a reason."""

    id: str
    status: str
    reason: str | None = None
    code: int | None = None


class Refusal(msgspec.Struct):
    """Why a message was not accepted."""

    code: str
    detail: str


class BatchLine(msgspec.Struct, omit_defaults=True):
    """What became of one message of a batch: accepted, as MessageAccepted says, or refused with an error."""

    id: str | None = None
    status: str | None = None
    reason: str | None = None
    code: int | None = None
    error: Refusal | None = None


class Messages:
    """Accepts messages: everything that can be said of them before they are queued is said to whoever asks."""

    def __init__(
        self,
        database: Database,
        journal: Journal,
        recorder: Recorder,
        ids: Ids,
        connections: ConnectionRegistry,
        templates: Templates,
        encryption: Encryption,
    ) -> None:
        self._database = database
        self._journal = journal
        self._recorder = recorder
        self._ids = ids
        self._connections = connections
        self._templates = templates
        self._encryption = encryption

    async def submit_one(
        self, workspace_id: int, wanted: MessageRequest, asked: IdempotencyKey | None, now: int
    ) -> Answer:
        """Accept one message; the answer to give, durable. Raises what is wrong with it."""
        recipients, templates = await self._reach(workspace_id, [wanted]), await self._load(workspace_id, [wanted])
        made = await self._prepare(workspace_id, wanted, recipients, templates, now)
        answer = Answer(202, _encode(_accepted(made)))
        return await self._keep(workspace_id, [made], asked, answer, None)

    async def submit_many(
        self,
        workspace_id: int,
        wanted: Sequence[MessageRequest | Refusal],
        asked: IdempotencyKey | None,
        now: int,
        *,
        per_second: float | None,
        skip_duplicates: bool,
    ) -> Answer:
        """Accept many messages; each is accepted or refused for itself. At most `per_second` of them are sent."""
        readable = [one for one in wanted if isinstance(one, MessageRequest)]
        recipients, templates = await self._reach(workspace_id, readable), await self._load(workspace_id, readable)
        made: list[NewMessage] = []
        shown: list[BatchLine] = []
        seen: set[tuple[str, str, str]] = set()
        throttle = (self._ids.one(now), per_second) if per_second else None
        for number, one in enumerate(wanted):
            if number % TURN == TURN - 1:
                # Others want the loop, too.
                await asyncio.sleep(0)
            if isinstance(one, Refusal):
                shown.append(BatchLine(error=one))
                continue
            try:
                message = await self._prepare(workspace_id, one, recipients, templates, now)
            except Error as error:
                shown.append(BatchLine(error=Refusal(error.code, error.detail)))
                continue
            key = (message.channel, message.address, message.content)
            if skip_duplicates and key in seen and message.status is Status.QUEUED:
                message.status, message.reason, message.code = Status.SKIPPED, "duplicate", DUPLICATE
            seen.add(key)
            if throttle is not None and message.status is Status.QUEUED:
                message.throttle_id = throttle[0]
                # Paced from the start; the bucket keeps the pace when they could not be sent in time.
                delay = int(len(made) / throttle[1] * SECOND)
                message.due_at += delay
                message.expires_at += delay
            made.append(message)
            shown.append(BatchLine(**msgspec.structs.asdict(_accepted(message))))
        if not made:
            raise Invalid("No message of this batch can be taken.", code="invalid_messages", rejected=shown)
        counted = {"data": shown, "accepted": len(made), "rejected": len(shown) - len(made)}
        if throttle is not None:
            counted["throttle_id"] = public("thr", throttle[0])
        return await self._keep(workspace_id, made, asked, Answer(202, _encode(counted)), throttle)

    async def repeat(self, workspace_id: int, id_: int, asked: IdempotencyKey | None = None) -> Answer:
        """Queue a message again that failed or is unknown; Conflict when it is neither."""
        return await self._change(workspace_id, id_, repeat, asked, 202)

    async def cancel(self, workspace_id: int, id_: int, asked: IdempotencyKey | None = None) -> Answer:
        """Skip a message that waits to be sent; Conflict when it does not wait."""
        return await self._change(workspace_id, id_, cancel, asked, 200)

    async def _change(
        self,
        workspace_id: int,
        id_: int,
        change: Callable[[int], Transition],
        asked: IdempotencyKey | None,
        status: int,
    ) -> Answer:
        """The answer to a change by hand, kept in the transaction of the change."""

        async def work(tx: Tx, unit: Unit) -> Answer:
            async def act(tx: Tx) -> Answer:
                standing = await take_by_hand(tx, workspace_id, id_, change(unit.now), unit)
                reason = standing.reason if standing.status is Status.SKIPPED else None
                return Answer(status, _encode(MessageAccepted(public("msg", id_), standing.status.value, reason)))

            return await idempotency.once(tx, self._encryption, workspace_id, asked, unit.now, act)

        return await self._recorder.perform(work)

    async def _keep(
        self,
        workspace_id: int,
        made: list[NewMessage],
        asked: IdempotencyKey | None,
        answer: Answer,
        throttle: tuple[int, float] | None,
    ) -> Answer:
        submission = MessageBatch(
            workspace_id=workspace_id, messages=made, asked=asked, answer=answer, throttle=throttle
        )
        try:
            await self._journal.append(submission)
        except Error as error:
            # The error is shared by all who waited for the batch; each raises a copy with a traceback of its own.
            raise type(error)(error.detail, code=error.code) from None
        except Exception as error:
            raise Unavailable("The message could not be stored. Send it again.") from error
        if submission.refused is not None:
            raise submission.refused
        return submission.repeat or answer

    async def _reach(self, workspace_id: int, wanted: list[MessageRequest]) -> Recipients:
        profiles = [id_ for one in wanted if (id_ := _profile_id(one)) is not None]
        addresses = [(one.channel, one.to) for one in wanted if one.to is not None and one.profile_id is None]
        return await self._database.read(load_recipients, workspace_id, profiles, addresses)

    async def _load(self, workspace_id: int, wanted: list[MessageRequest]) -> dict[str, CompiledTemplate]:
        """The templates that are named, in their present versions."""
        named = {}
        for text in {one.template_id for one in wanted if one.template_id is not None}:
            with contextlib.suppress(NotFound):
                named[text] = internal("tpl", text)
        found = await self._templates.get_many(workspace_id, named.values()) if named else {}
        return {text: found[id_] for text, id_ in named.items() if id_ in found}

    async def _prepare(
        self,
        workspace_id: int,
        wanted: MessageRequest,
        recipients: Recipients,
        templates: dict[str, CompiledTemplate],
        now: int,
    ) -> NewMessage:
        """A message ready to be queued, or to be recorded as skipped. Raises what whoever asks for it has to change."""
        template = None
        if wanted.template_id is not None and (template := templates.get(wanted.template_id)) is None:
            raise NotFound(
                f"There is no template {wanted.template_id[:40]} in this workspace; GET /v1/templates lists them.",
                code="unknown_template",
            )
        channel = self._channel(workspace_id, wanted, template)
        connection, pinned = self._connection(workspace_id, wanted, channel)
        person = _person(wanted, recipients)
        address, reason = find_address(channel, wanted.to, person)
        if person is None and address:
            person = recipients.people.get(recipients.by_address.get((channel, address), 0))
        id_ = self._ids.one(now)
        content = Content()
        if reason is None:
            content = self._content(channel, wanted, template, person, address, recipients, now)
            if content.html and is_verbatim(wanted):
                # The text of a large mail takes a while to make.
                large = len(content.html) > LARGE_HTML
                content = await asyncio.to_thread(complete, content) if large else complete(content)
            check_content(channel, content)
            content.recipient = describe_recipient(channel, address, person)
        due_at = read_due_at(wanted, now)
        return NewMessage(
            id=id_,
            workspace_id=workspace_id,
            profile_id=person.id if person else None,
            channel=channel,
            connection_id=connection.id,
            pinned=pinned,
            address=address,
            purpose=wanted.purpose or "transactional",
            status=Status.QUEUED if reason is None else Status.SKIPPED,
            reason=reason,
            code=INVALID_NUMBER if reason == "invalid_number" else None,
            template_id=template.template_id if template else 0,
            template_version=template.version if template else 0,
            campaign=read_campaign(wanted.campaign),
            metadata=read_metadata(wanted.metadata),
            test=bool(wanted.test),
            due_at=due_at,
            expires_at=due_at + (wanted.validity or connection.validity_s) * SECOND,
            content=_encode(content).decode(),
        )

    def _channel(self, workspace_id: int, wanted: MessageRequest, template: CompiledTemplate | None) -> str:
        named = [wanted.channel] if wanted.channel else []
        if template is not None:
            named.append(template.channel)
        if wanted.connection_id is not None:
            named.append(self._pinned(workspace_id, wanted.connection_id).channel)
        if not named:
            raise Invalid("Say the channel: sms, email or event.", code="invalid_message", field="channel")
        if len(set(named)) > 1:
            raise Invalid(
                f"The channel, the template and the connection do not go together: {', '.join(dict.fromkeys(named))}.",
                code="invalid_message",
                field="channel",
            )
        return named[0]

    def _pinned(self, workspace_id: int, connection_id: str) -> Connection:
        connection = self._connections.get(workspace_id, internal("con", connection_id))
        if connection is None:
            raise NotFound(
                f"There is no connection {connection_id[:40]} in this workspace; GET /v1/connections lists them.",
                code="unknown_connection",
            )
        return connection

    def _connection(self, workspace_id: int, wanted: MessageRequest, channel: str) -> tuple[Connection, bool]:
        if wanted.connection_id is not None:
            connection = self._pinned(workspace_id, wanted.connection_id)
            if connection.status == "disabled":
                raise Conflict(
                    f"The connection {connection.name!r} is disabled; enable it or name another one.",
                    code="connection_disabled",
                )
            return connection, True
        known = self._connections
        # What is queued for one that somebody has to mend is sent afterwards.
        order = known.preferred(workspace_id, channel) or known.paused(workspace_id, channel)
        if not order:
            raise Conflict(
                f"This workspace has no enabled connection for {channel}; POST /v1/connections makes one.",
                code="no_connection",
            )
        return order[0], False

    def _content(
        self,
        channel: str,
        wanted: MessageRequest,
        template: CompiledTemplate | None,
        person: Recipient | None,
        address: str,
        recipients: Recipients,
        now: int,
    ) -> Content:
        given = content_fields(wanted)
        if template is not None:
            if given:
                raise Invalid(
                    f"A message has a template or content of its own; leave out {', '.join(sorted(given))}.",
                    code="invalid_message",
                )
            # The same variant for the same person, however often.
            content = template.render(
                _context(wanted, person, recipients.organization),
                choice=address,
                variant=wanted.variant,
                now=now,
                strict=bool(wanted.strict),
            )
        elif not is_verbatim(wanted):
            content = self._templates.compile_inline(channel, given).render(
                _context(wanted, person, recipients.organization), now=now, strict=bool(wanted.strict)
            )
        else:
            content = Content(**given)
        return content


def _profile_id(wanted: MessageRequest) -> int | None:
    """The profile, if it may be one: a wrong id of a batch is told where it stands."""
    try:
        return None if wanted.profile_id is None else internal("pro", wanted.profile_id)
    except NotFound:
        return None


def _person(wanted: MessageRequest, recipients: Recipients) -> Recipient | None:
    if wanted.profile_id is None:
        return None
    person = recipients.people.get(_profile_id(wanted) or 0)
    if person is None:
        raise NotFound("There is no such profile in this workspace.", code="unknown_profile")
    return person


def _context(wanted: MessageRequest, person: Recipient | None, organization: dict[str, Any]) -> dict[str, Any]:
    known = person_values(public("pro", person.id), person.traits, person.identifiers) if person is not None else {}
    return context_of(known, wanted.event or {}, organization, wanted.variables)


def _accepted(message: NewMessage) -> MessageAccepted:
    return MessageAccepted(public("msg", message.id), message.status.value, message.reason, message.code)


async def take_by_hand(tx: Tx, workspace_id: int, id_: int, change: Transition, unit: Unit) -> MessageState:
    """A message after somebody changed it by hand: repeated, or cancelled. Conflict when it does not stand so."""
    transitions = Transitions(unit)
    await transitions.load(tx, [id_])
    standing = transitions.standings.get(id_)
    if standing is None or standing.workspace_id != workspace_id:
        raise NotFound("There is no such message in this workspace; it may be past its retention.")
    before = standing.status
    if change.status is Status.QUEUED:
        # It gets as long as it had when it was asked for.
        standing.expires_at = max(standing.expires_at, change.at + DAY)
    if not transitions.apply(standing, change):
        if change.status is Status.QUEUED:
            raise Conflict(
                f"This message is {before.value}; only one that failed or is unknown can be repeated.",
                code="message_not_repeatable",
            )
        raise Conflict(
            f"This message is {before.value}; only one that is queued or held can be cancelled.",
            code="message_not_cancellable",
        )
    await transitions.write(tx)
    if change.status is Status.QUEUED:
        await tx.run("messages.extend", id=id_, expires_at=standing.expires_at)
    return standing


def repeat(now: int) -> Transition:
    """Somebody wants a message sent again, although it may have been sent."""
    return Transition(status=Status.QUEUED, at=now, due_at=now, reason="by_hand", by_hand=True)


def cancel(now: int) -> Transition:
    """Somebody does not want a message sent any more."""
    return Transition(status=Status.SKIPPED, at=now, reason="cancelled")
