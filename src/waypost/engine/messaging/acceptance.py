"""Accept messages: find recipient, content and connection; queue, skip or refuse each one."""

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
from waypost.domain.templates.template import Compiled, complete, context_of, person_values
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

#: Messages in one request.
MOST = 1000
#: Messages that are prepared before the event loop runs other tasks, and characters of HTML that are worth a thread.
TURN = 50
LARGE_HTML = 10_000
#: The failure codes of a duplicate in one request (as a provider reports it) and of an invalid number.
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
    """The result of one message of a batch: accepted, as in MessageAccepted, or refused with an error."""

    id: str | None = None
    status: str | None = None
    reason: str | None = None
    code: int | None = None
    error: Refusal | None = None


class Messages:
    """Accepts messages. Errors that can be detected at acceptance are returned at once."""

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
        self, workspace_id: int, request: MessageRequest, idempotency_key: IdempotencyKey | None, now: int
    ) -> Answer:
        """Accept one message and return the response once it is durable; raise the error of a bad request."""
        recipients, templates = await self._reach(workspace_id, [request]), await self._load(workspace_id, [request])
        made = await self._prepare(workspace_id, request, recipients, templates, now)
        answer = Answer(202, _encode(_accepted(made)))
        return await self._keep(workspace_id, [made], idempotency_key, answer, None)

    async def submit_many(
        self,
        workspace_id: int,
        requests: Sequence[MessageRequest | Refusal],
        idempotency_key: IdempotencyKey | None,
        now: int,
        *,
        per_second: float | None,
        skip_duplicates: bool,
    ) -> Answer:
        """Accept or refuse each of many messages; send at most `per_second` of them per second."""
        readable = [one for one in requests if isinstance(one, MessageRequest)]
        recipients, templates = await self._reach(workspace_id, readable), await self._load(workspace_id, readable)
        made: list[NewMessage] = []
        shown: list[BatchLine] = []
        seen: set[tuple[str, str, str]] = set()
        throttle = (self._ids.one(now), per_second) if per_second else None
        for number, one in enumerate(requests):
            if number % TURN == TURN - 1:
                # Let other tasks run.
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
                # Spread the due times; the bucket keeps the rate when messages are sent late.
                delay = int(len(made) / throttle[1] * SECOND)
                message.due_at += delay
                message.expires_at += delay
            made.append(message)
            shown.append(BatchLine(**msgspec.structs.asdict(_accepted(message))))
        if not made:
            raise Invalid("No message of this batch is valid; see `rejected`.", code="invalid_messages", rejected=shown)
        counted = {"data": shown, "accepted": len(made), "rejected": len(shown) - len(made)}
        if throttle is not None:
            counted["throttle_id"] = public("thr", throttle[0])
        return await self._keep(workspace_id, made, idempotency_key, Answer(202, _encode(counted)), throttle)

    async def repeat(self, workspace_id: int, id_: int, idempotency_key: IdempotencyKey | None = None) -> Answer:
        """Queue a failed or unknown message again; raise Conflict for any other."""
        return await self._change(workspace_id, id_, repeat, idempotency_key, 202)

    async def cancel(self, workspace_id: int, id_: int, idempotency_key: IdempotencyKey | None = None) -> Answer:
        """Skip a queued or held message; raise Conflict for any other."""
        return await self._change(workspace_id, id_, cancel, idempotency_key, 200)

    async def _change(
        self,
        workspace_id: int,
        id_: int,
        change: Callable[[int], Transition],
        idempotency_key: IdempotencyKey | None,
        status: int,
    ) -> Answer:
        """Change a message by hand, and store the response in the same transaction."""

        async def work(tx: Tx, unit: Unit) -> Answer:
            async def act(tx: Tx) -> Answer:
                state = await take_by_hand(tx, workspace_id, id_, change(unit.now), unit)
                reason = state.reason if state.status is Status.SKIPPED else None
                return Answer(status, _encode(MessageAccepted(public("msg", id_), state.status.value, reason)))

            return await idempotency.once(tx, self._encryption, workspace_id, idempotency_key, unit.now, act)

        return await self._recorder.perform(work)

    async def _keep(
        self,
        workspace_id: int,
        made: list[NewMessage],
        idempotency_key: IdempotencyKey | None,
        answer: Answer,
        throttle: tuple[int, float] | None,
    ) -> Answer:
        batch = MessageBatch(
            workspace_id=workspace_id, messages=made, idempotency_key=idempotency_key, answer=answer, throttle=throttle
        )
        try:
            await self._journal.append(batch)
        except Error as error:
            # All callers of the batch share the error; each raises a copy with its own traceback.
            raise type(error)(error.detail, code=error.code) from None
        except Exception as error:
            raise Unavailable("The message could not be stored. Retry.") from error
        if batch.refused is not None:
            raise batch.refused
        return batch.repeat or answer

    async def _reach(self, workspace_id: int, requests: list[MessageRequest]) -> Recipients:
        profiles = [id_ for one in requests if (id_ := _profile_id(one)) is not None]
        addresses = [(one.channel, one.to) for one in requests if one.to is not None and one.profile_id is None]
        return await self._database.read(load_recipients, workspace_id, profiles, addresses)

    async def _load(self, workspace_id: int, requests: list[MessageRequest]) -> dict[str, Compiled]:
        """Load the named templates in their present versions."""
        named = {}
        for text in {one.template_id for one in requests if one.template_id is not None}:
            with contextlib.suppress(NotFound):
                named[text] = internal("tpl", text)
        found = await self._templates.get_many(workspace_id, named.values()) if named else {}
        return {text: found[id_] for text, id_ in named.items() if id_ in found}

    async def _prepare(
        self,
        workspace_id: int,
        request: MessageRequest,
        recipients: Recipients,
        templates: dict[str, Compiled],
        now: int,
    ) -> NewMessage:
        """Build a message to be queued or recorded as skipped; raise the error that the caller must fix."""
        template = None
        if request.template_id is not None and (template := templates.get(request.template_id)) is None:
            raise NotFound(
                f"There is no template {request.template_id[:40]} in this workspace; GET /v1/templates lists them.",
                code="unknown_template",
            )
        channel = self._channel(workspace_id, request, template)
        connection, pinned = self._connection(workspace_id, request, channel)
        person = _person(request, recipients)
        address, reason = find_address(channel, request.to, person)
        if person is None and address:
            person = recipients.people.get(recipients.by_address.get((channel, address), 0))
        id_ = self._ids.one(now)
        content = Content()
        if reason is None:
            content = self._content(channel, request, template, person, address, recipients, now)
            if content.html and is_verbatim(request):
                # Building the text of a large mail is slow.
                large = len(content.html) > LARGE_HTML
                content = await asyncio.to_thread(complete, content) if large else complete(content)
            check_content(channel, content)
            content.recipient = describe_recipient(channel, address, person)
        due_at = read_due_at(request, now)
        return NewMessage(
            id=id_,
            workspace_id=workspace_id,
            profile_id=person.id if person else None,
            channel=channel,
            connection_id=connection.id,
            pinned=int(pinned),
            address=address,
            purpose=request.purpose or "transactional",
            status=Status.QUEUED if reason is None else Status.SKIPPED,
            reason=reason,
            code=INVALID_NUMBER if reason == "invalid_number" else None,
            template_id=template.template_id if template else 0,
            template_version=template.version if template else 0,
            campaign=read_campaign(request.campaign),
            metadata=read_metadata(request.metadata),
            test=int(bool(request.test)),
            due_at=due_at,
            expires_at=due_at + (request.validity or connection.validity_s) * SECOND,
            content=_encode(content).decode(),
        )

    def _channel(self, workspace_id: int, request: MessageRequest, template: Compiled | None) -> str:
        named = [request.channel] if request.channel else []
        if template is not None:
            named.append(template.channel)
        if request.connection_id is not None:
            named.append(self._pinned(workspace_id, request.connection_id).channel)
        if not named:
            raise Invalid(
                "Give the channel: sms, email or event.",
                code="invalid_message",
                field="channel",
            )
        if len(set(named)) > 1:
            raise Invalid(
                f"Channel, template and connection must have the same channel, not {', '.join(dict.fromkeys(named))}.",
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

    def _connection(self, workspace_id: int, request: MessageRequest, channel: str) -> tuple[Connection, bool]:
        if request.connection_id is not None:
            connection = self._pinned(workspace_id, request.connection_id)
            if connection.status == "disabled":
                raise Conflict(
                    f"The connection {connection.name!r} is disabled; enable it or name another one.",
                    code="connection_disabled",
                )
            return connection, True
        known = self._connections
        # Messages queued for a paused connection are sent once its owner enables it.
        order = known.preferred(workspace_id, channel) or known.paused(workspace_id, channel)
        if not order:
            raise Conflict(
                f"This workspace has no enabled connection for {channel}; POST /v1/connections creates one.",
                code="no_connection",
            )
        return order[0], False

    def _content(
        self,
        channel: str,
        request: MessageRequest,
        template: Compiled | None,
        person: Recipient | None,
        address: str,
        recipients: Recipients,
        now: int,
    ) -> Content:
        given = content_fields(request)
        if template is not None:
            if given:
                raise Invalid(
                    f"A message has either a template or its own content; leave out {', '.join(sorted(given))}.",
                    code="invalid_message",
                )
            # The same address always gets the same variant.
            content = template.render(
                _context(request, person, recipients.organization),
                choice=address,
                variant=request.variant,
                now=now,
                strict=bool(request.strict),
            )
        elif not is_verbatim(request):
            content = self._templates.compile_inline(channel, given).render(
                _context(request, person, recipients.organization), now=now, strict=bool(request.strict)
            )
        else:
            content = Content(**given)
        return content


def _profile_id(request: MessageRequest) -> int | None:
    """Return the profile id, or None for a malformed one, whose message is refused later."""
    try:
        return None if request.profile_id is None else internal("pro", request.profile_id)
    except NotFound:
        return None


def _person(request: MessageRequest, recipients: Recipients) -> Recipient | None:
    if request.profile_id is None:
        return None
    person = recipients.people.get(_profile_id(request) or 0)
    if person is None:
        raise NotFound("There is no such profile in this workspace.", code="unknown_profile")
    return person


def _context(request: MessageRequest, person: Recipient | None, organization: dict[str, Any]) -> dict[str, Any]:
    known = person_values(public("pro", person.id), person.traits, person.identifiers) if person is not None else {}
    return context_of(known, request.event or {}, organization, request.variables)


def _accepted(message: NewMessage) -> MessageAccepted:
    return MessageAccepted(public("msg", message.id), message.status.value, message.reason, message.code)


async def take_by_hand(tx: Tx, workspace_id: int, id_: int, change: Transition, unit: Unit) -> MessageState:
    """Repeat or cancel a message by hand and return it; raise Conflict when its status does not allow that."""
    transitions = Transitions(unit)
    await transitions.load(tx, [id_])
    state = transitions.standings.get(id_)
    if state is None or state.workspace_id != workspace_id:
        raise NotFound("There is no such message in this workspace; it may be past its retention.")
    before = state.status
    if change.status is Status.QUEUED:
        # A repeated message may be tried for at least a day.
        state.expires_at = max(state.expires_at, change.at + DAY)
    if not transitions.apply(state, change):
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
        await tx.run("messages.extend", id=id_, expires_at=state.expires_at)
    return state


def repeat(now: int) -> Transition:
    """Return the transition that queues a message again, although it may have been sent."""
    return Transition(status=Status.QUEUED, at=now, due_at=now, reason="by_hand", by_hand=True)


def cancel(now: int) -> Transition:
    """Return the transition that cancels a message."""
    return Transition(status=Status.SKIPPED, at=now, reason="cancelled")
