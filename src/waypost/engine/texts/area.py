"""Texts as an area of the recorder: requests become messages, and the statuses of messages become events."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from waypost.clock import DAY, SECOND
from waypost.domain.audience.subscriptions import SubscriptionState
from waypost.domain.events.event import Event
from waypost.domain.messaging.message import Content, Status
from waypost.domain.providers.connection import Connection
from waypost.domain.texts.client import BURST_S, CheckLinks, TextClient
from waypost.domain.texts.links import fill_marks
from waypost.domain.texts.request import TextRequest
from waypost.domain.texts.status import REASONS, TextStatus
from waypost.domain.values.ids import public
from waypost.domain.values.rate_limit import Bucket, take_tokens
from waypost.engine.messaging.queue import open_bucket
from waypost.engine.messaging.recording import MessageBatch, NewMessage, record_messages
from waypost.engine.messaging.transitions import MessagingNotes, TextMoved, Transitions
from waypost.engine.runtime.encryption import Encryption
from waypost.engine.runtime.idempotency import Answer
from waypost.engine.runtime.unit import Unit
from waypost.engine.tracking.links import LinkTarget, NewLink, add_links, new_links
from waypost.engine.tracking.settings import TrackingSettings
from waypost.errors import Conflict, Error, Unavailable
from waypost.storage.database import Tx

#: How long the same text to the same person counts as a repeat.
REPEATS = DAY
#: The reason of a text that waits for the check of its links.
CHECKING = "checking_links"

_encode = msgspec.json.Encoder().encode
_claims = msgspec.json.Decoder(list[tuple[int, str, str, int, int]])
_states = msgspec.json.Decoder(list[tuple[int, str, str, str | None, str | None]])


class TextAccepted(msgspec.Struct):
    """The text is stored durably. Only with the status `PENDING_TO_SEND` is it sent."""

    #: The id of the message; the statuses have it as `MessageID`.
    message_id: str = msgspec.field(name="messageId")
    #: `PENDING_TO_SEND`, `NOT_FOUND`, `NOT_SUBSCRIBED` or `FAILED_TO_MATCH`.
    status: str


class NewText(msgspec.Struct, kw_only=True):
    """A request of the text-message API on its way to the recorder, and its answer on the way back."""

    client: TextClient
    request: TextRequest
    connection: Connection
    #: The text with a mark in place of each link, and the URLs behind the marks; without links, that of the request.
    marked: str = ""
    urls: tuple[str, ...] = ()
    #: How the workspace makes short links.
    tracking: TrackingSettings | None = None
    #: Sent to try something out: repeats are allowed, and nothing is counted.
    test: bool = False
    #: Set by the recorder, anew in each try of the transaction: what was recorded, or why nothing was.
    answer: TextAccepted | Error | None = None


class FoundPerson(msgspec.Struct):
    """The person of a request."""

    status: TextStatus
    profile_id: int | None = None
    address: str = ""


class _Status(msgspec.Struct, omit_defaults=True):
    """The data of `text.status`."""

    message_id: str = msgspec.field(name="MessageID")
    status: str = msgspec.field(name="Status")
    metric_name: str = msgspec.field(name="metricName")
    callback_data: Raw = msgspec.field(name="callbackData")
    send_purpose: str = msgspec.field(name="sendPurpose")
    client_id: str
    phone: str = ""
    code: int | None = None
    reason: str | None = None


class _Requested(msgspec.Struct):
    """The data of `text.requested`."""

    message_id: str = msgspec.field(name="MessageID")
    status: str = msgspec.field(name="Status")
    metric_name: str = msgspec.field(name="metricName")
    send_purpose: str = msgspec.field(name="sendPurpose")
    client_id: str


class TextArea:
    """Records requests of the text-message API in bulk, and reports the statuses of their messages as events."""

    takes: frozenset[type] = frozenset({NewText})

    def __init__(self, encryption: Encryption, wake_checks: Callable[[], None]) -> None:
        self._encryption = encryption
        #: Called after a commit that queued link checks.
        self._wake_checks = wake_checks

    async def record(self, tx: Tx, items: dict[type, list[Any]], unit: Unit) -> None:
        """Answer each request: refused as a repeat or by the rate, or recorded as a message."""
        texts: list[NewText] = items[NewText]
        people = await find_people(tx, texts)
        # Locked before repeats are read, so that another process with the same request reads what this one wrote.
        buckets = await _lock_buckets(tx, texts, unit.now)
        fresh = await _fresh(tx, texts, people, buckets, unit)
        if not fresh:
            return
        transitions = Transitions(unit)
        contents = await _shorten(tx, fresh, unit.now)
        messages = [_message(text, found, id_, contents[id_], unit.now) for text, found, id_ in fresh]
        batches = [_batch(message) for message in messages]
        await record_messages(tx, batches, transitions, self._encryption)
        await transitions.write(tx)
        await tx.insert(
            "texts.insert",
            [(id_, t.client.id, _metric(t), t.request.purpose, t.request.callback_data) for t, _, id_ in fresh],
        )
        checks = [
            (
                message.id,
                message.workspace_id,
                _encode([t.request.click_url or None, t.request.media_url or None]).decode(),
                unit.now,
            )
            for (t, _, _), message in zip(fresh, messages, strict=True)
            if message.status is Status.HELD
        ]
        await tx.insert("text_link_checks.insert", checks)
        if checks:
            unit.notes(TextNotes).checks = True
        unit.emit([_requested(text, found, id_, unit.now) for text, found, id_ in fresh])

    async def react(self, tx: Tx, events: list[Event], unit: Unit) -> None:
        """Report the texts whose status changed since the last call, with one query for all."""
        notes = unit.noted(MessagingNotes)
        if notes is None or not notes.texts:
            return
        moved, notes.texts[:] = list(notes.texts), []
        rows = await tx.rows("texts.many", ids=sorted({text.message_id for text in moved}))
        about = {row[0]: row[1:] for row in rows}
        unit.emit(
            [event for text in moved if text.message_id in about for event in _reports(text, about[text.message_id])]
        )

    def committed(self, unit: Unit) -> None:
        """Wake the job that checks links."""
        notes = unit.noted(TextNotes)
        if notes is not None and notes.checks:
            self._wake_checks()

    def given_up(self, item: Any) -> None:
        """Do nothing: texts are appended, and their callers told."""

    async def orphan(self, tx: Tx, nodes: list[int] | None) -> None:
        """Do nothing: a link check that a node did not finish is due again soon."""


class TextNotes(msgspec.Struct):
    """What a unit of work leaves for the job that checks links."""

    checks: bool = False


async def _lock_buckets(tx: Tx, texts: list[NewText], now: int) -> dict[int, tuple[Bucket, int]]:
    """Return the buckets of the clients, and the time to fill each by."""
    clients = {text.client.id: text.client for text in texts}
    rows = await tx.rows("buckets.lock", ids=sorted(clients))
    if missing := sorted(clients.keys() - {row[0] for row in rows}):
        new = [clients[id_] for id_ in missing]
        full = [(c.id, c.workspace_id, c.rate_limit, max(c.rate_limit * BURST_S, 1.0), now) for c in new]
        await tx.insert("buckets.add", full)
        rows += await tx.rows("buckets.lock", ids=missing)
    buckets = {}
    for row in rows:
        bucket, clock = open_bucket(row, now)
        bucket.per_second = clients[bucket.id].rate_limit
        buckets[bucket.id] = bucket, clock
    return buckets


async def find_people(tx: Tx, texts: Sequence[NewText]) -> list[FoundPerson]:
    """Return the person of each text, and whether the person may be sent texts; a few queries for all."""
    named = {
        (t.client.workspace_id, "phone", t.request.phone)
        if t.request.phone
        else (t.client.workspace_id, "email", t.request.email)
        for t in texts
    }
    row = await tx.row("identities.find", wanted=_encode(sorted(named)).decode()) if named else None
    profiles = {(ws, kind, value): id_ for ws, kind, value, id_, _ in _claims.decode(row[0] if row else "[]")}
    by_email = sorted({id_ for (_, kind, _), id_ in profiles.items() if kind == "email"})
    numbers: dict[int, list[str]] = {}
    for profile_id, kind, value in await tx.rows("identities.of_many", ids=by_email) if by_email else ():
        if kind == "phone":
            numbers.setdefault(profile_id, []).append(value)
    addresses = {(t.client.workspace_id, "sms", t.request.phone) for t in texts if t.request.phone}
    for t in texts:
        if not t.request.phone:
            id_ = profiles.get((t.client.workspace_id, "email", t.request.email))
            addresses |= {(t.client.workspace_id, "sms", number) for number in numbers.get(id_ or 0, ())}
    states = await _load_states(tx, addresses)
    found: list[FoundPerson] = []
    for t in texts:
        workspace_id = t.client.workspace_id
        if t.request.phone:
            id_ = profiles.get((workspace_id, "phone", t.request.phone))
            found.append(FoundPerson(_subscription_status(states, workspace_id, t.request.phone), id_, t.request.phone))
            continue
        id_ = profiles.get((workspace_id, "email", t.request.email))
        known = numbers.get(id_ or 0, [])
        if not known or len(known) > t.client.max_matches:
            found.append(FoundPerson(TextStatus.FAILED_TO_MATCH, id_))
            continue
        # Of several numbers that are allowed, one that is subscribed; else what the first one says.
        statuses = [(number, _subscription_status(states, workspace_id, number)) for number in known]
        number, status = next((one for one in statuses if one[1] is TextStatus.PENDING_TO_SEND), statuses[0])
        found.append(FoundPerson(status, id_, number))
    return found


async def _load_states(
    tx: Tx, addresses: set[tuple[int, str, str]]
) -> dict[tuple[int, str, str], tuple[str | None, str | None]]:
    row = await tx.row("addresses.standing", addresses=_encode(sorted(addresses)).decode()) if addresses else None
    return {
        (ws, channel, address): (reason, state)
        for ws, channel, address, reason, state in _states.decode(row[0] if row else "[]")
    }


def _subscription_status(
    states: dict[tuple[int, str, str], tuple[str | None, str | None]], workspace_id: int, number: str
) -> TextStatus:
    suppressed, state = states.get((workspace_id, "sms", number), (None, None))
    if state is None:
        return TextStatus.NOT_FOUND
    if state != SubscriptionState.SUBSCRIBED or suppressed is not None:
        return TextStatus.NOT_SUBSCRIBED
    return TextStatus.PENDING_TO_SEND


async def _fresh(
    tx: Tx, texts: list[NewText], people: list[FoundPerson], buckets: dict[int, tuple[Bucket, int]], unit: Unit
) -> list[tuple[NewText, FoundPerson, int]]:
    """Return the texts to record with the ids of their messages; the others are answered with an error.

    Only texts that are to be sent have repeats, and a repeat takes nothing of the rate. A person is named by the number
    as well as by the profile, so that it does not matter whether a request names the phone or the email.
    """
    digests = [
        repeat_digests(text, found) if found.status is TextStatus.PENDING_TO_SEND and not text.test else ()
        for text, found in zip(texts, people, strict=True)
    ]
    known = await _find_repeats(tx, sorted({digest for several in digests for digest in several}), unit.now)
    fresh: list[tuple[NewText, FoundPerson, int]] = []
    remembered: dict[str, tuple[str, int, int]] = {}
    for text, found, own in zip(texts, people, digests, strict=True):
        first = next((known[digest] for digest in own if digest in known), None)
        if first is not None:
            text.answer = repeat_error(first)
            continue
        bucket, clock = buckets[text.client.id]
        granted, wait = take_tokens(bucket, 1, clock, BURST_S)
        if not granted:
            text.answer = _over_rate(bucket, wait)
            continue
        id_ = unit.ids.one(unit.now)
        for digest in own:
            known[digest] = id_
            remembered[digest] = (digest, id_, unit.now + REPEATS)
        text.answer = TextAccepted(public("msg", id_), found.status.value)
        fresh.append((text, found, id_))
    for id_ in sorted({text.client.id for text, _, _ in fresh}):
        await tx.run("buckets.take", **msgspec.structs.asdict(buckets[id_][0]))
    await tx.insert("text_repeats.insert", [remembered[digest] for digest in sorted(remembered)])
    return fresh


async def _find_repeats(tx: Tx, digests: list[str], now: int) -> dict[str, int]:
    """Return the messages of the last 24 hours with these digests, and forget the older ones."""
    if not digests:
        return {}
    rows = await tx.rows("text_repeats.find", digests=digests)
    known = {digest: message_id for digest, message_id, expires_at in rows if expires_at > now}
    if len(known) < len(rows):
        await tx.run("text_repeats.forget", digests=digests, now=now)
    return known


def repeat_error(first: int) -> Conflict:
    """Return the error for a repeat of a text."""
    return Conflict(
        "The same text with the same sendPurpose was accepted for this person within the last 24 hours. "
        "Change `text` or `sendPurpose` to send another one.",
        code="duplicate_message",
        messageId=public("msg", first),
    )


def _over_rate(bucket: Bucket, wait: int) -> Error:
    return Unavailable(
        f"This client may send {bucket.per_second:g} texts a second. Send it again later.",
        code="rate_limited",
        retry_after=max(-(-wait // SECOND), 1),
    )


def repeat_digests(text: NewText, found: FoundPerson) -> tuple[str, ...]:
    """Return the digests of a text for its person: a text that has one of them in the last 24 hours repeats it."""
    names = [f"number {found.address}"]
    if found.profile_id is not None:
        names.append(f"profile {found.profile_id}")
    about = (text.client.workspace_id, text.request.purpose, text.request.text)
    return tuple(hashlib.blake2b(_encode((name, *about)), digest_size=16).hexdigest() for name in names)


async def _shorten(tx: Tx, fresh: list[tuple[NewText, FoundPerson, int]], now: int) -> dict[int, str]:
    """Store a short link for each link of the texts that are to be sent; return the texts with them, by message."""
    links: dict[int, list[NewLink]] = {}
    for text, found, id_ in fresh:
        if text.urls and text.tracking is not None and found.status is TextStatus.PENDING_TO_SEND:
            targets = [
                LinkTarget(workspace_id=text.client.workspace_id, url=url, message_id=id_, profile_id=found.profile_id)
                for url in text.urls
            ]
            links[id_] = new_links(targets, now, text.tracking.link_days)
    await add_links(tx, [link for several in links.values() for link in several])
    contents: dict[int, str] = {}
    for text, _, id_ in fresh:
        short = [text.tracking.short_url(link.id) for link in links.get(id_, ()) if text.tracking is not None]
        contents[id_] = fill_marks(text.marked, short or text.urls) if text.urls else text.request.text
    return contents


def _message(text: NewText, found: FoundPerson, id_: int, content: str, now: int) -> NewMessage:
    request, client = text.request, text.client
    status, reason = Status.QUEUED, None
    if found.status is not TextStatus.PENDING_TO_SEND:
        status, reason = Status.SKIPPED, REASONS[found.status]
    elif client.check_links is CheckLinks.LATER and (request.click_url or request.media_url):
        status, reason = Status.HELD, CHECKING
    media_urls = [request.media_url] if request.media_url else []
    return NewMessage(
        id=id_,
        workspace_id=client.workspace_id,
        profile_id=found.profile_id,
        channel="sms",
        connection_id=text.connection.id,
        pinned=client.connection_id is not None,
        address=found.address,
        purpose="promotional",
        status=status,
        reason=reason,
        campaign=request.purpose,
        test=text.test,
        due_at=now,
        expires_at=now + text.connection.validity_s * SECOND,
        text_client_id=client.id,
        content=_encode(Content(text=content, media_urls=media_urls)).decode(),
    )


def _batch(message: NewMessage) -> MessageBatch:
    return MessageBatch(workspace_id=message.workspace_id, messages=[message], key=None, answer=Answer(200, b""))


def _metric(text: NewText) -> str:
    return text.request.metric or text.client.default_metric


def _requested(text: NewText, found: FoundPerson, id_: int, now: int) -> Event:
    data = _Requested(
        public("msg", id_), found.status.value, _metric(text), text.request.purpose, text.client.client_id
    )
    name = f"{public('msg', id_)}:requested"
    return Event(text.client.workspace_id, "text.requested", found.profile_id, now, name, _encode(data))


def _reports(text: TextMoved, about: tuple[Any, ...]) -> list[Event]:
    metric, purpose, callback_data, client_id = about
    name = public("msg", text.message_id)
    return [
        Event(
            text.workspace_id,
            "text.status",
            text.profile_id,
            text.entry.at,
            f"{name}:{status.value}",
            _encode(
                _Status(
                    name,
                    status.value,
                    metric,
                    Raw(callback_data.encode()),
                    purpose,
                    client_id or "",
                    text.address,
                    text.entry.code if status is text.statuses[-1] else None,
                    text.entry.reason if status is text.statuses[-1] else None,
                )
            ),
        )
        for status in text.statuses
    ]
