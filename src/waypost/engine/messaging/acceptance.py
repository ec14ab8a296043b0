"""Accept messages: find the recipient, the content and the connection of each, and record it or refuse it."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from waypost.clock import SECOND, Ids
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
from waypost.domain.messaging.senders import fill_sender
from waypost.domain.messaging.status import Transition
from waypost.domain.providers.connection import Connection
from waypost.domain.templates.template import CompiledTemplate, complete, context_of, person_values
from waypost.domain.values.ids import internal, public
from waypost.engine.audience.recipients import Recipient, Recipients, describe_recipient, find_address, load_recipients
from waypost.engine.messaging.by_hand import cancel, repeat, take_by_hand
from waypost.engine.messaging.mailings import Mailings
from waypost.engine.messaging.recording import Log, MessageBatch, NewMessage
from waypost.engine.messaging.senders import SenderRegistry
from waypost.engine.providers.registry import ConnectionRegistry
from waypost.engine.runtime import idempotency
from waypost.engine.runtime.encryption import Encryption
from waypost.engine.runtime.idempotency import Answer, IdempotencyKey
from waypost.engine.runtime.journal import Journal
from waypost.engine.runtime.recorder import Recorder
from waypost.engine.runtime.unit import Unit
from waypost.engine.templates.templates import Templates
from waypost.engine.tracking.mail import Look, MailTracker, TrackedMail
from waypost.errors import Conflict, Error, Invalid, NotFound, Unavailable
from waypost.storage.database import Database, Tx

#: The most messages of one request.
MOST = 1000
#: The messages that are prepared before other tasks run, and the characters of HTML that are worth a thread.
TURN = 50
LARGE_HTML = 10_000
#: The failure code of a message that repeats another one of its batch (a provider that finds a duplicate has the same).
DUPLICATE = 2021
INVALID_NUMBER = 2003

_encode = msgspec.json.Encoder().encode


class MessageAccepted(msgspec.Struct, omit_defaults=True):
    """An accepted message: queued, or skipped for a reason."""

    id: str
    status: str
    reason: str | None = None
    code: int | None = None


class Refusal(msgspec.Struct):
    """Why a message was not accepted."""

    code: str
    detail: str


class BatchLine(msgspec.Struct, omit_defaults=True):
    """The result for one message of a batch: accepted, with the fields of MessageAccepted, or refused with an error."""

    id: str | None = None
    status: str | None = None
    reason: str | None = None
    code: int | None = None
    error: Refusal | None = None


class Messages:
    """Accepts messages. Errors that can be detected at acceptance are raised at once."""

    def __init__(
        self,
        database: Database,
        journal: Journal,
        recorder: Recorder,
        ids: Ids,
        connections: ConnectionRegistry,
        templates: Templates,
        encryption: Encryption,
        tracker: MailTracker,
        senders: SenderRegistry,
    ) -> None:
        self._tracker = tracker
        self._senders = senders
        self._database = database
        self._journal = journal
        self._recorder = recorder
        self._ids = ids
        self._connections = connections
        self._templates = templates
        self._encryption = encryption

    async def submit_one(
        self,
        workspace_id: int,
        request: MessageRequest,
        key: IdempotencyKey | None,
        now: int,
        log: Log | None = None,
    ) -> Answer:
        """Accept one message; return the response once it is durable. Raise what is wrong with the request."""
        recipients = await self._load_recipients(workspace_id, [request])
        templates = await self._load_templates(workspace_id, [request])
        mailings = Mailings(self._tracker, workspace_id, now)
        message = await self._prepare(workspace_id, request, recipients, templates, mailings, now)
        answer = Answer(202, _encode(_accepted(message)))
        return await self._record(workspace_id, [message], key, answer, None, mailings, log)

    async def submit_many(
        self,
        workspace_id: int,
        requests: Sequence[MessageRequest | Refusal],
        key: IdempotencyKey | None,
        now: int,
        *,
        per_second: float | None,
        skip_duplicates: bool,
        log: Log | None = None,
        look: Look | None = None,
    ) -> Answer:
        """Accept many messages; each by itself is accepted or refused. `per_second` limits how fast they are sent.

        With `look`, they are the test of a campaign, with its headers, tracking and short links.
        """
        readable = [one for one in requests if isinstance(one, MessageRequest)]
        recipients = await self._load_recipients(workspace_id, readable)
        templates = await self._load_templates(workspace_id, readable)
        mailings = Mailings(self._tracker, workspace_id, now, look)
        messages: list[NewMessage] = []
        lines: list[BatchLine] = []
        seen: set[tuple[str, str, str]] = set()
        throttle = (self._ids.one(now), per_second) if per_second else None
        for number, one in enumerate(requests):
            if number % TURN == TURN - 1:
                # Let other tasks run.
                await asyncio.sleep(0)
            if isinstance(one, Refusal):
                lines.append(BatchLine(error=one))
                continue
            try:
                message = await self._prepare(workspace_id, one, recipients, templates, mailings, now)
            except Error as error:
                lines.append(BatchLine(error=Refusal(error.code, error.detail)))
                continue
            identity = (message.channel, message.address, message.content)
            if skip_duplicates and identity in seen and message.status is Status.QUEUED:
                message.status, message.reason, message.code = Status.SKIPPED, "duplicate", DUPLICATE
            seen.add(identity)
            if throttle is not None and message.status is Status.QUEUED:
                message.throttle_id = throttle[0]
                # Spread over time from the start; the bucket limits the rate of those that are delayed.
                delay = int(len(messages) / throttle[1] * SECOND)
                message.due_at += delay
                message.expires_at += delay
            messages.append(message)
            lines.append(BatchLine(**msgspec.structs.asdict(_accepted(message))))
        if not messages:
            raise Invalid("No message of this batch can be accepted.", code="invalid_messages", rejected=lines)
        body = {"data": lines, "accepted": len(messages), "rejected": len(lines) - len(messages)}
        if throttle is not None:
            body["throttle_id"] = public("thr", throttle[0])
        answer = Answer(202, _encode(body))
        return await self._record(workspace_id, messages, key, answer, throttle, mailings, log)

    async def repeat(
        self, workspace_id: int, id_: int, key: IdempotencyKey | None = None, log: Log | None = None
    ) -> Answer:
        """Queue a message again that failed or is unknown. Raise Conflict if it is neither."""
        return await self._change(workspace_id, id_, repeat, key, 202, log)

    async def cancel(
        self, workspace_id: int, id_: int, key: IdempotencyKey | None = None, log: Log | None = None
    ) -> Answer:
        """Skip a message that is queued or held. Raise Conflict if it is neither."""
        return await self._change(workspace_id, id_, cancel, key, 200, log)

    async def _change(
        self,
        workspace_id: int,
        id_: int,
        change: Callable[[int], Transition],
        key: IdempotencyKey | None,
        status: int,
        log: Log | None,
    ) -> Answer:
        """Change a message by hand; return the response, which is stored in the transaction of the change."""

        async def work(tx: Tx, unit: Unit) -> Answer:
            async def act(tx: Tx) -> Answer:
                state = await take_by_hand(tx, workspace_id, id_, change(unit.now), unit)
                reason = state.reason if state.status is Status.SKIPPED else None
                body = _encode(MessageAccepted(public("msg", id_), state.status.value, reason))
                if log is not None:
                    await log(tx, body)
                return Answer(status, body)

            return await idempotency.once(tx, self._encryption, workspace_id, key, unit.now, act)

        return await self._recorder.perform(work)

    async def _record(
        self,
        workspace_id: int,
        messages: list[NewMessage],
        key: IdempotencyKey | None,
        answer: Answer,
        throttle: tuple[int, float] | None,
        mailings: Mailings,
        log: Log | None,
    ) -> Answer:
        """Return the response once the messages are durable; a repeat of a request gets the response to the first."""
        urls = mailings.take_urls()
        batch = MessageBatch(
            workspace_id=workspace_id,
            messages=messages,
            key=key,
            answer=answer,
            throttle=throttle,
            urls=urls,
            links=mailings.links,
            log=log,
        )
        try:
            await self._journal.append(batch)
        except Error as error:
            # All callers that waited for the transaction share the error; each raises a copy with its own traceback.
            raise error.copy() from None
        except Exception as error:
            raise Unavailable("The message could not be stored. Retry.") from error
        self._tracker.stored(urls)
        if batch.refused is not None:
            raise batch.refused
        return batch.repeat or answer

    async def _load_recipients(self, workspace_id: int, requests: list[MessageRequest]) -> Recipients:
        profiles = [id_ for one in requests if (id_ := _profile_id(one)) is not None]
        addresses = [(one.channel, one.to) for one in requests if one.to is not None and one.profile_id is None]
        return await self._database.read(load_recipients, workspace_id, profiles, addresses)

    async def _load_templates(self, workspace_id: int, requests: list[MessageRequest]) -> dict[str, CompiledTemplate]:
        """Return the current versions of the templates that the requests name, by the id in the request."""
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
        templates: dict[str, CompiledTemplate],
        mailings: Mailings,
        now: int,
    ) -> NewMessage:
        """Return the message to record, queued or skipped. Raise what the client must correct."""
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
            mail = mailings.of(channel, request).mail(
                id_, address, person.id if person else None, person.traits if person else {}
            )
            content = self._content(channel, request, template, person, address, recipients, mail, now)
            fill_sender(content, self._senders.default(workspace_id, channel))
            if is_verbatim(request):
                # Making the text of a large mail takes long, and so does finding its links.
                large = len(content.html) > LARGE_HTML
                finish = partial(_finish, content, mail)
                content = await asyncio.to_thread(finish) if large else finish()
            else:
                mail.finish(content)
            if channel == "sms":
                mailings.shorten(content, id_, person.id if person else None)
            check_content(channel, content)
            content.recipient = describe_recipient(channel, address, person)
        due_at = read_due_at(request, now)
        return NewMessage(
            id=id_,
            workspace_id=workspace_id,
            profile_id=person.id if person else None,
            channel=channel,
            connection_id=connection.id,
            pinned=pinned,
            address=address,
            purpose=request.purpose or "transactional",
            status=Status.QUEUED if reason is None else Status.SKIPPED,
            reason=reason,
            code=INVALID_NUMBER if reason == "invalid_number" else None,
            template_id=template.template_id if template else 0,
            template_version=template.version if template else 0,
            campaign=read_campaign(request.campaign),
            metadata=read_metadata(request.metadata),
            test=bool(request.test),
            due_at=due_at,
            expires_at=due_at + (request.validity or connection.validity_s) * SECOND,
            content=_encode(content).decode(),
        )

    def _channel(self, workspace_id: int, request: MessageRequest, template: CompiledTemplate | None) -> str:
        named = [request.channel] if request.channel else []
        if template is not None:
            named.append(template.channel)
        if request.connection_id is not None:
            named.append(self._pinned(workspace_id, request.connection_id).channel)
        if not named:
            raise Invalid("Name the channel: sms, email or event.", code="invalid_message", field="channel")
        if len(set(named)) > 1:
            raise Invalid(
                f"The channel, the template and the connection do not match: {', '.join(dict.fromkeys(named))}.",
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
        # Messages for a paused connection are sent once an operator has corrected it.
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
        request: MessageRequest,
        template: CompiledTemplate | None,
        person: Recipient | None,
        address: str,
        recipients: Recipients,
        mail: TrackedMail,
        now: int,
    ) -> Content:
        given = content_fields(request)
        if template is not None:
            if given:
                raise Invalid(
                    f"A message has a template or content of its own; leave out {', '.join(sorted(given))}.",
                    code="invalid_message",
                )
            # A person always gets the same variant.
            content = template.render(
                mail.values | _context(request, person, recipients.organization),
                choice=address,
                variant=request.variant,
                now=now,
                strict=bool(request.strict),
                marked=True,
            )
        elif not is_verbatim(request):
            content = self._templates.compile_inline(channel, given).render(
                mail.values | _context(request, person, recipients.organization),
                now=now,
                strict=bool(request.strict),
                marked=True,
            )
        else:
            content = Content(**given)
        return content


def _finish(content: Content, mail: TrackedMail) -> Content:
    """Return content that was not rendered, with its text, its preheader and what tracks it."""
    return mail.finish(complete(content))


def _profile_id(request: MessageRequest) -> int | None:
    """Return the id of the profile, or None if it is not valid: `_person` raises that for the message alone."""
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
