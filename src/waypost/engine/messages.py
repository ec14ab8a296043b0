"""Messages as they are asked for: who they go to, what they say, through which connection; accepted or refused."""

import asyncio
import contextlib
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from waypost.clock import DAY, SECOND, Ids
from waypost.domain.connections import Connection
from waypost.domain.events import parse_time
from waypost.domain.ids import internal, public
from waypost.domain.messages import Content, Status
from waypost.domain.standing import Change, Standing
from waypost.domain.templates import Compiled, complete, context_of, person_values
from waypost.engine.connections import Connections
from waypost.engine.idempotency import Answer, Repeatable
from waypost.engine.journal import Journal
from waypost.engine.moves import Moves
from waypost.engine.orders import Effects, NewMessage, Submission
from waypost.engine.reach import LONGEST_ADDRESS, Person, Reach, describe_recipient, find_address, load_reach
from waypost.engine.recorder import Recorder
from waypost.engine.templates import Templates
from waypost.errors import Conflict, Error, Invalid, NotFound, Unavailable
from waypost.storage.database import Database, Tx

#: Messages of one request.
MOST = 1000
#: How far ahead a message may be scheduled.
FARTHEST = 366 * DAY
LONGEST_VALIDITY_S = 7 * 86_400
LONGEST_SMS = 1600
#: Messages that are prepared before others get their turn, and characters of HTML that are worth a thread.
TURN = 50
LARGE_HTML = 10_000
#: What failed because it is the same message to the same address (the code of the provider's own finding).
DUPLICATE = 2021
INVALID_NUMBER = 2003

_encode = msgspec.json.Encoder().encode

Text = Annotated[str, Meta(max_length=1_000_000)]
Short = Annotated[str, Meta(max_length=1000)]
Tree = dict[str, Any]


class Wanted(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A message that somebody wants sent: to an address or a profile, with a template or with content of its own.

    Content of its own is Liquid when it goes to a profile or comes with variables, and goes out as it is otherwise.
    """

    channel: Annotated[str, Meta(pattern="^(sms|email|event)$")] | None = None
    to: Annotated[str, Meta(max_length=LONGEST_ADDRESS, description="A phone number, or an email address.")] | None = (
        None
    )
    profile_id: str | None = None
    template_id: str | None = None
    variant: Short | None = None
    variables: Tree | None = None
    event: Annotated[Tree, Meta(description="What a template sees as `event`.")] | None = None
    text: Text | None = None
    media_urls: Annotated[list[Short], Meta(max_length=10)] | None = None
    click_url: Short | None = None
    subject: Short | None = None
    preheader: Short | None = None
    html: Text | None = None
    mjml: Text | None = None
    sender: Short | None = None
    reply_to: Short | None = None
    headers: dict[str, str] | None = None
    metric: Short | None = None
    properties: Tree | None = None
    connection_id: str | None = None
    purpose: Annotated[str, Meta(pattern="^(transactional|promotional)$")] | None = None
    campaign: Annotated[str, Meta(max_length=100)] | None = None
    metadata: Tree | None = None
    send_at: str | None = None
    validity: (
        Annotated[int, Meta(ge=5, le=LONGEST_VALIDITY_S, description="Seconds in which it may be tried.")] | None
    ) = None
    test: bool | None = None
    strict: Annotated[bool, Meta(description="Refuse it when a variable is not defined.")] | None = None


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
        connections: Connections,
        templates: Templates,
    ) -> None:
        self._database = database
        self._journal = journal
        self._recorder = recorder
        self._ids = ids
        self._connections = connections
        self._templates = templates

    async def submit_one(self, workspace_id: int, wanted: Wanted, asked: Repeatable | None, now: int) -> Answer:
        """Accept one message; the answer to give, durable. Raises what is wrong with it."""
        reach, templates = await self._reach(workspace_id, [wanted]), await self._load(workspace_id, [wanted])
        made = await self._prepare(workspace_id, wanted, reach, templates, now)
        answer = Answer(202, _encode(_accepted(made)))
        return await self._keep(workspace_id, [made], asked, answer, None)

    async def submit_many(
        self,
        workspace_id: int,
        wanted: list[Wanted],
        asked: Repeatable | None,
        now: int,
        *,
        per_second: float | None,
        skip_duplicates: bool,
    ) -> Answer:
        """Accept many messages; each is accepted or refused for itself. At most `per_second` of them are sent."""
        reach, templates = await self._reach(workspace_id, wanted), await self._load(workspace_id, wanted)
        made: list[NewMessage] = []
        shown: list[BatchLine] = []
        seen: set[tuple[str, str, str]] = set()
        throttle = (self._ids.one(now), per_second) if per_second else None
        for number, one in enumerate(wanted):
            if number % TURN == TURN - 1:
                # Others want the loop, too.
                await asyncio.sleep(0)
            try:
                message = await self._prepare(workspace_id, one, reach, templates, now)
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

    async def repeat(self, workspace_id: int, id_: int) -> Standing:
        """A message queued again that failed or is unknown; Conflict when it is neither."""
        return await self._recorder.perform(
            lambda tx, now: take_by_hand(tx, workspace_id, id_, repeat(now), self._ids.node)
        )

    async def cancel(self, workspace_id: int, id_: int) -> Standing:
        """A message skipped that waited to be sent; Conflict when it does not wait."""
        return await self._recorder.perform(
            lambda tx, now: take_by_hand(tx, workspace_id, id_, cancel(now), self._ids.node)
        )

    async def _keep(
        self,
        workspace_id: int,
        made: list[NewMessage],
        asked: Repeatable | None,
        answer: Answer,
        throttle: tuple[int, float] | None,
    ) -> Answer:
        submission = Submission(workspace_id=workspace_id, messages=made, asked=asked, answer=answer, throttle=throttle)
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

    async def _reach(self, workspace_id: int, wanted: list[Wanted]) -> Reach:
        profiles = [id_ for one in wanted if (id_ := _profile_id(one)) is not None]
        addresses = [(one.channel, one.to) for one in wanted if one.to is not None and one.profile_id is None]
        return await self._database.read(load_reach, workspace_id, profiles, addresses)

    async def _load(self, workspace_id: int, wanted: list[Wanted]) -> dict[str, Compiled]:
        """The templates that are named, in their present versions."""
        named = {}
        for text in {one.template_id for one in wanted if one.template_id is not None}:
            with contextlib.suppress(NotFound):
                named[text] = internal("tpl", text)
        found = await self._templates.get_many(workspace_id, named.values()) if named else {}
        return {text: found[id_] for text, id_ in named.items() if id_ in found}

    async def _prepare(
        self, workspace_id: int, wanted: Wanted, reach: Reach, templates: dict[str, Compiled], now: int
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
        person = _person(wanted, reach)
        address, reason = find_address(channel, wanted.to, person)
        if person is None and address:
            person = reach.people.get(reach.by_address.get((channel, address), 0))
        id_ = self._ids.one(now)
        content = Content()
        if reason is None:
            content = self._content(channel, wanted, template, person, address, reach, now)
            if content.html and _is_verbatim(wanted):
                # The text of a large mail takes a while to make.
                large = len(content.html) > LARGE_HTML
                content = await asyncio.to_thread(complete, content) if large else complete(content)
            check_content(channel, content)
            content.recipient = describe_recipient(channel, address, person)
        due_at = _due_at(wanted, now)
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
            campaign=_campaign(wanted.campaign),
            metadata=_metadata(wanted.metadata),
            test=bool(wanted.test),
            due_at=due_at,
            expires_at=due_at + (wanted.validity or connection.validity_s) * SECOND,
            content=_encode(content).decode(),
        )

    def _channel(self, workspace_id: int, wanted: Wanted, template: Compiled | None) -> str:
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

    def _connection(self, workspace_id: int, wanted: Wanted, channel: str) -> tuple[Connection, bool]:
        if wanted.connection_id is not None:
            connection = self._pinned(workspace_id, wanted.connection_id)
            if connection.status == "disabled":
                raise Conflict(
                    f"The connection {connection.name!r} is disabled; enable it or name another one.",
                    code="connection_disabled",
                )
            return connection, True
        order = self._connections.for_channel(workspace_id, channel) or self._paused(workspace_id, channel)
        if not order:
            raise Conflict(
                f"This workspace has no enabled connection for {channel}; POST /v1/connections makes one.",
                code="no_connection",
            )
        return order[0], False

    def _paused(self, workspace_id: int, channel: str) -> list[Connection]:
        """The connections of a channel that somebody has to mend: what is queued for them is sent afterwards."""
        found = [
            connection
            for connection in self._connections.all()
            if (connection.workspace_id, connection.channel, connection.status) == (workspace_id, channel, "paused")
        ]
        return sorted(found, key=lambda connection: (connection.position, connection.id))

    def _content(
        self,
        channel: str,
        wanted: Wanted,
        template: Compiled | None,
        person: Person | None,
        address: str,
        reach: Reach,
        now: int,
    ) -> Content:
        given = _given(wanted)
        if template is not None:
            if given:
                raise Invalid(
                    f"A message has a template or content of its own; leave out {', '.join(sorted(given))}.",
                    code="invalid_message",
                )
            # The same variant for the same person, however often.
            content = template.render(
                _context(wanted, person, reach.organization),
                choice=address,
                variant=wanted.variant,
                now=now,
                strict=bool(wanted.strict),
            )
        elif not _is_verbatim(wanted):
            content = self._templates.compile_inline(channel, given).render(
                _context(wanted, person, reach.organization), now=now, strict=bool(wanted.strict)
            )
        else:
            content = Content(**given)
        return content


def _profile_id(wanted: Wanted) -> int | None:
    """The profile, if it may be one: a wrong id of a batch is told where it stands."""
    try:
        return None if wanted.profile_id is None else internal("pro", wanted.profile_id)
    except NotFound:
        return None


def _is_verbatim(wanted: Wanted) -> bool:
    """Whether the content goes out as it is."""
    liquid = (wanted.template_id, wanted.profile_id, wanted.variables, wanted.mjml)
    return all(given is None for given in liquid)


def _person(wanted: Wanted, reach: Reach) -> Person | None:
    if wanted.profile_id is None:
        return None
    person = reach.people.get(_profile_id(wanted) or 0)
    if person is None:
        raise NotFound("There is no such profile in this workspace.", code="unknown_profile")
    return person


def _given(wanted: Wanted) -> dict[str, Any]:
    """The content that comes with a message."""
    named = {
        "text": wanted.text,
        "media_urls": wanted.media_urls,
        "click_url": wanted.click_url,
        "subject": wanted.subject,
        "preheader": wanted.preheader,
        "html": wanted.html,
        "mjml": wanted.mjml,
        "sender": wanted.sender,
        "reply_to": wanted.reply_to,
        "headers": wanted.headers,
        "metric": wanted.metric,
        "properties": wanted.properties,
    }
    return {name: value for name, value in named.items() if value is not None}


def _context(wanted: Wanted, person: Person | None, organization: dict[str, Any]) -> dict[str, Any]:
    known = person_values(public("pro", person.id), person.traits, person.identifiers) if person is not None else {}
    return context_of(known, wanted.event or {}, organization, wanted.variables)


def check_content(channel: str, content: Content) -> None:
    """Whether a channel can carry it; Invalid with the field that is missing or too long."""
    if channel == "sms":
        if not content.text.strip() and not content.media_urls:
            raise Invalid("A text message needs `text`.", code="invalid_message", field="text")
        if len(content.text) > LONGEST_SMS:
            raise Invalid(
                f"The text has {len(content.text)} characters; providers take up to {LONGEST_SMS}.",
                code="text_too_long",
                field="text",
            )
    elif channel == "email":
        if not content.subject.strip():
            raise Invalid("An email needs a `subject`.", code="invalid_message", field="subject")
        if not content.text and not content.html:
            raise Invalid("An email needs `html` or `text`.", code="invalid_message", field="html")
    elif not content.metric:
        raise Invalid("An event needs a `metric`.", code="invalid_message", field="metric")


def _due_at(wanted: Wanted, now: int) -> int:
    if wanted.send_at is None:
        return now
    try:
        at = parse_time(wanted.send_at)
    except (ValueError, OverflowError, Error) as error:
        raise Invalid(
            "send_at is a time such as 2026-12-24T18:00:00Z.", code="invalid_message", field="send_at"
        ) from error
    if at > now + FARTHEST:
        raise Invalid("send_at is at most a year ahead.", code="invalid_message", field="send_at")
    return max(at, now)


def _campaign(given: str | None) -> str:
    if given and not given.isprintable():
        raise Invalid(
            "A campaign's name has only characters that can be seen.", code="invalid_message", field="campaign"
        )
    return given or ""


def _metadata(given: Tree | None) -> str:
    if not given:
        return "{}"
    text = _encode(given).decode()
    if len(text) > 4096:
        raise Invalid("The metadata of a message has at most 4096 bytes.", code="invalid_message", field="metadata")
    return text


def _accepted(message: NewMessage) -> MessageAccepted:
    return MessageAccepted(public("msg", message.id), message.status.value, message.reason, message.code)


async def take_by_hand(tx: Tx, workspace_id: int, id_: int, change: Change, node: int) -> tuple[Standing, Effects]:
    """A message after somebody changed it by hand: repeated, or cancelled. Conflict when it does not stand so."""
    moves = Moves(node, change.at)
    await moves.load(tx, [id_])
    standing = moves.standings.get(id_)
    if standing is None or standing.workspace_id != workspace_id:
        raise NotFound("There is no such message in this workspace; it may be past its retention.")
    before = standing.status
    if change.status is Status.QUEUED:
        # It gets as long as it had when it was asked for.
        standing.expires_at = max(standing.expires_at, change.at + DAY)
    if not moves.apply(standing, change):
        if change.status is Status.QUEUED:
            raise Conflict(
                f"This message is {before.value}; only one that failed or is unknown can be repeated.",
                code="message_not_repeatable",
            )
        raise Conflict(
            f"This message is {before.value}; only one that is queued or held can be cancelled.",
            code="message_not_cancellable",
        )
    await moves.write(tx)
    if change.status is Status.QUEUED:
        await tx.run("messages.extend", id=id_, expires_at=standing.expires_at)
    return standing, Effects(moves)


def repeat(now: int) -> Change:
    """Somebody wants a message sent again, although it may have been sent."""
    return Change(status=Status.QUEUED, at=now, due_at=now, reason="by_hand", by_hand=True)


def cancel(now: int) -> Change:
    """Somebody does not want a message sent any more."""
    return Change(status=Status.SKIPPED, at=now, reason="cancelled")
