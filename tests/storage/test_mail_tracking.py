"""Emails on both stores: their URLs, opens and clicks, counts, the key of their tokens, and its rotation."""

import json
import os
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from tests.storage.test_links import PHONE, Desk
from tests.storage.test_messages import _workspace, receipt
from waypost.clock import DAY, HOUR, now_us
from waypost.domain.messaging.message import Content, SendOutcome, Status, Verdict
from waypost.domain.tracking.clicks import Visit
from waypost.domain.tracking.mail_tokens import KEY_BYTES, OpenTarget
from waypost.domain.values.ids import public
from waypost.engine.messaging.recording import NewMessage, SendResult
from waypost.engine.runtime.encryption import Encryption
from waypost.engine.runtime.key_rotation import reencrypt_all
from waypost.engine.runtime.signing_key import load_signing_key
from waypost.engine.tracking.links import StoredLink, UrlCache, prune_links
from waypost.engine.tracking.mail import NewUrl, add_urls
from waypost.errors import Unavailable
from waypost.storage.database import Database, Tx

OLD, NEW = b"o" * 32, b"n" * 32


@pytest.fixture
async def desk(database: Database) -> AsyncIterator[Desk]:
    await database.transact(_workspace)
    made = Desk(database)
    yield made
    await made.outbound.stop()


def mail(desk: Desk, **changes: Any) -> NewMessage:
    content = msgspec.json.encode(Content(subject="s", text="t")).decode()
    return desk.message(channel="email", address="ada@example.com", content=content, **changes)


async def open_mail(desk: Desk, message_id: int, workspace_id: int = 1, **changes: Any) -> None:
    visit = Visit(**({"method": "GET", "ip": "192.0.2.1", "user_agent": PHONE} | changes))
    done = desk.intake.take_open(OpenTarget(workspace_id, message_id), visit, now_us() + HOUR, os.urandom(8).hex())
    assert done is not None
    await desk.recorder.record(await desk.journal.next_batch())
    await done


async def data_of(desk: Desk, type_: str) -> list[dict[str, Any]]:
    return [data for found, data in await desk.events() if found == type_]


async def opens(desk: Desk, message_id: int) -> tuple[int, int]:
    async def work(tx: Tx) -> tuple[int, int]:
        found, machines = await tx.row("open_counts.of_message", message_id=message_id) or (0, 0)
        return found, machines

    return await desk.database.read(work)


async def test_an_open_is_an_event_and_counts_with_it(desk: Desk):
    message = mail(desk)
    await desk.submit(message)
    await open_mail(desk, message.id)
    await open_mail(desk, message.id, user_agent="Mozilla/5.0")
    first, second = await data_of(desk, "email.opened")
    assert (first["message"]["id"], first["message"]["to"]) == (public("msg", message.id), "ada@example.com")
    assert (first["machine"], second["machine_reason"]) == (False, "mail_privacy")
    assert await opens(desk, message.id) == (1, 1)
    assert desk.area.opens == 2


async def test_an_open_of_a_message_that_is_gone_or_of_another_workspace_has_only_its_id(desk: Desk):
    await open_mail(desk, 77)
    other = mail(desk, workspace_id=2)
    await desk.submit(other)
    await open_mail(desk, other.id)
    assert [event["message"] for event in await data_of(desk, "email.opened")] == [
        {"id": public("msg", 77)},
        {"id": public("msg", other.id)},
    ]


async def test_an_email_of_a_campaign_says_so_in_its_events(desk: Desk):
    now = now_us()
    await desk.database.transact(_occurrence, now)
    message = mail(desk, occurrence_id=21, variant="b")
    await desk.submit(message)
    await open_mail(desk, message.id)
    link = StoredLink(9, 1, message.id, None, "https://a.example", now + DAY, b"https://a.example", 2)
    await desk.click(link, at=now + HOUR)
    await record(desk, receipt(kind="engagement", event="email.complained", message_id=message.id, receipt_id="c-1"))
    expected = {
        "id": public("cmp", 11),
        "name": "Spring",
        "occurrence_id": public("occ", 21),
        "list": {"id": public("lst", 31), "name": "News"},
    }
    (opened,), (clicked,) = await data_of(desk, "email.opened"), await data_of(desk, "email.clicked")
    (complained,) = await data_of(desk, "email.complained")
    assert opened["campaign"] == clicked["campaign"] == complained["campaign"] == expected
    assert (opened["message"]["occurrence_id"], opened["message"]["variant"]) == (public("occ", 21), "b")
    assert (clicked["link_number"], clicked["link_id"]) == (2, public("lnk", 9))


async def _occurrence(tx: Tx, now: int) -> None:
    await tx.insert("lists.insert", [(31, 1, "News", 0, None, now, now)])
    await tx.run("campaigns.add", id=11, workspace_id=1, name="Spring", channel="email", definition="{}", now=now)
    await tx.run(
        "occurrences.add",
        id=21,
        workspace_id=1,
        campaign_id=11,
        planned_at=now,
        list_id=31,
        throttle_id=None,
        now=now,
    )


async def test_engagements_of_providers_have_the_names_of_emails(desk: Desk):
    message = mail(desk)
    text = desk.message()
    await desk.submit(message, text)
    for number, type_ in enumerate(("message.opened", "email.clicked", "message.complained", "message.unsubscribed")):
        one = receipt(kind="engagement", event=type_, message_id=message.id, receipt_id=f"r-{number}")
        await record(desk, one)
    await record(desk, receipt(kind="engagement", event="message.unsubscribed", message_id=text.id, receipt_id="t-1"))
    types = [type_ for type_, _ in await desk.events() if "queued" not in type_]
    assert types == [
        "email.opened",
        "email.clicked",
        "email.complained",
        "email.unsubscribed",
        "message.unsubscribed",
    ]
    assert await opens(desk, message.id) == (1, 0)
    assert await desk.counts(message.id) == (1, 0)


async def record(desk: Desk, one: Any) -> None:
    desk.journal.report(one)
    await desk.recorder.record(await desk.journal.next_batch())


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"suppress": "bounced", "reason": "bounced"}, "permanent"),
        ({"reason": "blocked"}, "transient"),
        ({"reason": "x", "bounce": "transient"}, "transient"),
        ({"reason": "dropped"}, None),
    ],
)
async def test_a_bounce_that_a_provider_reports_is_an_event(desk: Desk, fields: dict[str, Any], kind: str | None):
    message = mail(desk)
    await desk.submit(message)
    for _ in range(2):
        await record(desk, receipt(status=Status.FAILED, code=2009, message_id=message.id, receipt_id="b-1", **fields))
    found = await data_of(desk, "email.bounced")
    assert [event["kind"] for event in found] == ([] if kind is None else [kind])


async def test_a_refusal_by_the_mail_server_is_a_bounce(desk: Desk):
    message = mail(desk)
    await desk.submit(message)
    verdict = Verdict(outcome=SendOutcome.REJECTED, code=2003, reason="invalid_address", suppress="bounced")
    await record(desk, SendResult(message.id, 0, now_us(), verdict, 1))
    (event,) = await data_of(desk, "email.bounced")
    assert (event["kind"], event["message"]["id"]) == ("permanent", public("msg", message.id))


async def test_urls_are_stored_once_and_for_as_long_as_needed(desk: Desk):
    now = now_us()
    urls = [NewUrl(7, 1, "https://a.example", now + DAY), NewUrl(8, 1, "https://b.example", now + DAY)]
    for batch in (urls, urls[:1], [msgspec.structs.replace(urls[0], expires_at=now + 9 * DAY)], urls):
        await desk.database.transact(add_urls, batch)
    cache = UrlCache(desk.database)
    found = await cache.find(7)
    assert found is not None
    assert (found.url, found.workspace_id, found.location) == ("https://a.example", 1, b"https://a.example")
    assert await cache.find(9) is None
    # The second is needed no more, the first still is.
    assert await prune_links(desk.database, now + 35 * DAY) == 1
    again = UrlCache(desk.database)
    assert await again.find(7) is not None
    assert await again.find(8) is None


async def test_counts_and_bursts_are_kept_for_a_while(desk: Desk):
    message = mail(desk)
    await desk.submit(message)
    await open_mail(desk, message.id)
    await desk.click(StoredLink(9, 1, message.id, None, "https://a.example", 0, b"x", 1))
    assert await prune_links(desk.database, now_us()) == 0
    assert await prune_links(desk.database, now_us() + 2 * DAY) == 1
    assert await prune_links(desk.database, now_us() + 402 * DAY) == 2
    assert await opens(desk, message.id) == (0, 0)


async def test_the_key_of_tokens_is_made_once_and_survives_the_rotation_of_the_secret_key(database: Database):
    key = await load_signing_key(database, Encryption([OLD]), KEY_BYTES, now_us())
    assert len(key) == KEY_BYTES
    assert await load_signing_key(database, Encryption([OLD]), KEY_BYTES, now_us()) == key
    done = await reencrypt_all(database, Encryption([NEW, OLD]))
    assert (done.seen, done.changed) == (1, 1)
    assert await load_signing_key(database, Encryption([NEW]), KEY_BYTES, now_us()) == key
    with pytest.raises(Unavailable) as caught:
        await load_signing_key(database, Encryption([OLD]), KEY_BYTES, now_us())
    assert caught.value.code == "wrong_secret_key"
    # The key stays in the database, but not readable.
    assert json.dumps(key.hex()) not in await database.read(_secret)


async def _secret(tx: Tx) -> str:
    row = await tx.row("signing_keys.get", id=1)
    return str(row[0]) if row else ""
