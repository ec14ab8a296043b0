"""Messages on both databases: recorded once, claimed once, and counted at every transition."""

import asyncio
import contextlib
import json
import re
import sqlite3
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from waypost.clock import DAY, HOUR, SECOND, Ids, now_us
from waypost.domain.audience.subscriptions import SubscriptionChange, SubscriptionState
from waypost.domain.messaging.message import Content, Receipt, SendOutcome, Status, Verdict
from waypost.domain.messaging.receipt import Quarantined
from waypost.domain.messaging.status import Transition
from waypost.domain.providers.connection import Connection
from waypost.domain.providers.connector import Connector
from waypost.domain.values.egress_guard import parse_networks
from waypost.domain.values.ids import public
from waypost.engine.accounts.retention import Retention
from waypost.engine.audience.subscriptions import set_subscriptions
from waypost.engine.messaging import retention
from waypost.engine.messaging.area import MessagingArea, rematch
from waypost.engine.messaging.by_hand import repeat, take_by_hand
from waypost.engine.messaging.matching import Rematching
from waypost.engine.messaging.queue import Claim, claim, is_stuck, recover_orphaned, reroute_queued
from waypost.engine.messaging.recording import MessageBatch, NewMessage, Routing, SendResult
from waypost.engine.messaging.retries import bring_back_retries
from waypost.engine.messaging.transitions import MessagingNotes, Transitions
from waypost.engine.net.outbound import Outbound
from waypost.engine.providers.connectors import shipped
from waypost.engine.runtime.encryption import Encryption
from waypost.engine.runtime.idempotency import Answer, IdempotencyKey
from waypost.engine.runtime.journal import Journal
from waypost.engine.runtime.nodes import Node
from waypost.engine.runtime.recorder import Recorder
from waypost.engine.runtime.unit import Unit
from waypost.storage.database import Database, Row, Tx, load_queries, number_parameters
from waypost.storage.sqlite import SQLite

FIRST, SECOND_ONE = 71, 72


def connector() -> Connector:
    return shipped()["http"]


def connection(id_: int = FIRST, **changes: Any) -> Connection:
    values: dict[str, Any] = {
        "id": id_,
        "workspace_id": 1,
        "name": "test",
        "connector": connector(),
        "config": {},
        "status": "enabled",
        "position": 0,
        "per_second": None,
        "concurrency": 4,
        "validity_s": 3600,
        "data_center": "",
        "version": 1,
    } | changes
    return Connection(**values)


class Office:
    """A recorder, and what moves messages through it. Nothing is sent."""

    def __init__(self, database: Database, node: int = 1) -> None:
        self.database = database
        self.ids = Ids(node)
        self.encryption = Encryption([b"k" * 32])
        self.outbound = Outbound(parse_networks(""))
        self.journal = Journal(100_000)
        self.order = [connection(FIRST), connection(SECOND_ONE)]
        self.due: dict[int, int] = {}
        self.failing: set[int] = set()
        #: Connections of the same account.
        self.accounts: set[int] = set()
        self.routing = Routing(
            1.0, lambda workspace_id, channel: self.order, self.failing.__contains__, self.same_account
        )
        self.rematching = Rematching()
        self.recorder = Recorder(
            database, self.journal, self.ids, [MessagingArea(self.encryption, self.routing, self._follow)]
        )

    def same_account(self, one: int, other: int) -> bool:
        return {one, other} <= self.accounts

    def _follow(self, notes: MessagingNotes) -> None:
        self.due |= notes.due

    async def rematch(self) -> bool:
        return await rematch(self.recorder, self.database, self.rematching, self.routing)

    async def hand_in(self, *groups: Any) -> None:
        """Record groups as one batch."""
        futures = [self.journal.append(group) for group in groups]
        await self.recorder.record(await self.journal.next_batch())
        await asyncio.gather(*futures)

    def message(self, **changes: Any) -> NewMessage:
        now = now_us()
        values: dict[str, Any] = {
            "id": self.ids.one(now),
            "workspace_id": 1,
            "profile_id": None,
            "channel": "sms",
            "connection_id": FIRST,
            "pinned": False,
            "address": "+12025550101",
            "purpose": "transactional",
            "status": Status.QUEUED,
            "due_at": now,
            "expires_at": now + HOUR,
            "content": msgspec.json.encode(Content(text="Hi")).decode(),
        } | changes
        return NewMessage(**values)

    async def submit(
        self, *messages: NewMessage, key: str | None = None, digest: str = "d", **changes: Any
    ) -> MessageBatch:
        idempotency_key = IdempotencyKey(key, digest) if key else None
        answer = Answer(202, json.dumps([m.id for m in messages]).encode())
        made = MessageBatch(workspace_id=1, messages=list(messages), key=idempotency_key, answer=answer, **changes)
        await self.hand_in(made)
        return made

    async def claim(self, wanted: int = 100, *, by: Connection | None = None, node: int = 1) -> Claim:
        async def work(tx: Tx, unit: Unit) -> Claim:
            unit.node = node
            transitions = Transitions(unit)
            found = await claim(tx, by or connection(), wanted, transitions)
            await transitions.write(tx)
            return found

        return await self.recorder.perform(work)

    async def settle(self, found: Claim, **said: Any) -> None:
        verdict = Verdict(**said)
        await self.hand_in([SendResult(m.id, m.tries + 1, now_us(), verdict, 1) for m in found.messages])

    async def look(self, id_: int) -> dict[str, Any]:
        async def work(tx: Tx) -> dict[str, Any]:
            record = (await tx.records("messages.get", workspace_id=1, id=id_))[0]
            return record | {"history": [line["status"] for line in json.loads(f"[{record['history']}]")]}

        return await self.database.read(work)

    async def events(self) -> list[tuple[str, dict[str, Any]]]:
        async def work(tx: Tx) -> list[Row]:
            return await tx.rows("events.list", workspace_id=1, before=1 << 62, since=0, n=1000)

        return [(row[2], json.loads(row[5])) for row in reversed(await self.database.read(work))]

    async def counts(self) -> dict[tuple[str, int], int]:
        async def work(tx: Tx) -> list[Row]:
            return await tx.rows("message_counts.list", workspace_id=1, since=0, until=1 << 40)

        found: dict[tuple[str, int], int] = {}
        for row in await self.database.read(work):
            found[(row[4], row[5])] = found.get((row[4], row[5]), 0) + row[6]
        return found


@pytest.fixture
async def office(database: Database) -> AsyncIterator[Office]:
    await database.transact(_workspace)
    made = Office(database)
    yield made
    await made.outbound.stop()


async def _workspace(tx: Tx) -> None:
    await tx.run("workspaces.add", id=1, name="test", now=now_us())


def receipt(**changes: Any) -> Receipt:
    return Receipt(**({"workspace_id": 1, "connection_id": FIRST, "occurred_at": now_us()} | changes))


async def test_a_message_goes_up_the_ladder_and_every_step_is_an_event(office: Office):
    message = office.message(metadata='{"order":7}', campaign="spring")
    await office.submit(message)
    assert office.due[FIRST] <= now_us()
    found = await office.claim()
    assert [(m.id, m.content.text, m.metadata) for m in found.messages] == [(message.id, "Hi", {"order": 7})]
    assert (await office.claim()).messages == []
    await office.settle(found, outcome=SendOutcome.ACCEPTED, provider_message_id="p-1")
    await office.hand_in([receipt(provider_message_id="p-1", status=Status.DELIVERED, parts=2, price_micros=6450)])
    record = await office.look(message.id)
    assert record["history"] == ["queued", "sending", "sent", "delivered"]
    assert (record["status"], record["parts"], record["price_micros"], record["tries"]) == ("delivered", 2, 6450, 1)
    events = await office.events()
    assert [type_ for type_, _ in events] == ["message.queued", "message.sending", "message.sent", "message.delivered"]
    said = events[-1][1]["message"]
    assert (said["status"], said["metadata"], said["campaign"]) == ("delivered", {"order": 7}, "spring")
    assert await office.counts() == {(status, 0): 1 for status in ("queued", "sending", "sent", "delivered")}


async def test_a_receipt_takes_effect_once_however_often_it_comes(office: Office):
    message = office.message()
    await office.submit(message)
    await office.settle(await office.claim(), outcome=SendOutcome.ACCEPTED, provider_message_id="p-1")
    delivered = receipt(provider_message_id="p-1", status=Status.DELIVERED)
    late = receipt(provider_message_id="p-1", status=Status.SENT)
    await office.hand_in([delivered, delivered, late], [late, delivered])
    await office.hand_in([late, delivered])
    assert (await office.look(message.id))["history"] == ["queued", "sending", "sent", "delivered"]
    assert (await office.counts())[("delivered", 0)] == 1


async def test_a_receipt_before_our_own_record_is_kept_for_it(office: Office):
    message = office.message()
    await office.submit(message)
    found = await office.claim()
    early = receipt(provider_message_id="early", status=Status.FAILED, code=2003, reason="spam")
    early.suppress = "invalid_number"
    await office.hand_in([early])
    assert (await office.look(message.id))["status"] == "sending"
    await office.settle(found, outcome=SendOutcome.ACCEPTED, provider_message_id="early")
    record = await office.look(message.id)
    assert (record["status"], record["code"], record["reason"]) == ("failed", 2003, "spam")
    # A receipt with Waypost's own id needs no provider id.
    other = office.message(address="+12025550102")
    await office.submit(other)
    found = await office.claim()
    await office.hand_in([receipt(message_id=other.id, provider_message_id="x", status=Status.DELIVERED)])
    await office.settle(found, outcome=SendOutcome.ACCEPTED, provider_message_id="x")
    record = await office.look(other.id)
    assert (record["status"], record["history"]) == ("delivered", ["queued", "sending", "delivered"])


async def test_a_receipt_recorded_together_with_the_providers_id_finds_its_message(office: Office):
    message = office.message()
    await office.submit(message)
    found = await office.claim()
    verdict = Verdict(outcome=SendOutcome.ACCEPTED, provider_message_id="p-1")
    tried = [SendResult(m.id, m.tries + 1, now_us(), verdict, 1) for m in found.messages]
    await office.hand_in([receipt(provider_message_id="p-1", status=Status.DELIVERED)], tried)
    assert (await office.look(message.id))["status"] == "delivered"


# SQLite has one writer: there is no race.
@pytest.mark.parametrize("place", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
@pytest.mark.parametrize("first", ["receipt", "result"])
async def test_a_receipt_that_races_our_own_record_finds_its_message(
    office: Office, store: Any, monkeypatch: pytest.MonkeyPatch, first: str
):
    other = Office(store.open(), 2)
    message = office.message()
    await office.submit(message)
    found = await office.claim()
    by_first, by_second = (other, office) if first == "receipt" else (office, other)
    done, ready = asyncio.Event(), asyncio.Event()
    apply = by_second.recorder._apply

    async def held(*args: Any) -> Any:
        recorded = await apply(*args)
        ready.set()
        await done.wait()
        return recorded

    monkeypatch.setattr(by_second.recorder, "_apply", held)

    async def hand_in(by: Office) -> None:
        if by is office:
            await by.settle(found, outcome=SendOutcome.ACCEPTED, provider_message_id="p-1")
        else:
            await by.hand_in([receipt(provider_message_id="p-1", status=Status.DELIVERED)])

    later = asyncio.create_task(hand_in(by_second))
    await ready.wait()
    await hand_in(by_first)
    done.set()
    await later
    assert (await office.look(message.id))["status"] == "sent"
    monkeypatch.setattr("waypost.engine.messaging.matching.AGES", (0, 60))
    monkeypatch.setattr("waypost.engine.messaging.area.now_us", lambda: now_us() + SECOND)
    # Both processes read it, one of them applies it.
    await asyncio.gather(office.rematch(), other.rematch())
    record = await office.look(message.id)
    assert (record["status"], record["history"]) == ("delivered", ["queued", "sending", "sent", "delivered"])
    assert not await other.rematch()
    await other.outbound.stop()


async def test_receipts_without_a_message_are_looked_at_twice_and_stay(office: Office, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("waypost.engine.messaging.matching.PAGE", 2)
    await office.hand_in([receipt(provider_message_id=f"p-{n}", status=Status.DELIVERED) for n in range(5)])
    # One of them has a message now, but of another connection: it does not match.
    message = office.message(connection_id=SECOND_ONE)
    await office.submit(message)
    found = await office.claim(by=connection(SECOND_ONE))
    await office.settle(found, outcome=SendOutcome.ACCEPTED, provider_message_id="p-3")
    assert not await office.rematch()
    for later in (2, 61):
        monkeypatch.setattr("waypost.engine.messaging.area.now_us", lambda later=later: now_us() + later * SECOND)
        assert [await office.rematch() for _ in range(4)] == [True, True, True, False]
    assert (await office.look(message.id))["status"] == "sent"

    async def left(tx: Tx) -> int:
        return len(await tx.rows("unmatched.again", after=0, upto=1 << 62, n=100))

    assert await office.database.read(left) == 5


async def test_a_receipt_moves_only_messages_of_its_own_account(office: Office):
    one, other = office.message(), office.message(connection_id=SECOND_ONE, address="+12025550102")
    await office.submit(one, other)
    await office.settle(await office.claim(), outcome=SendOutcome.ACCEPTED, provider_message_id="1")
    # Gateways that count from 1 use the same ids.
    await office.settle(
        await office.claim(by=connection(SECOND_ONE)), outcome=SendOutcome.ACCEPTED, provider_message_id="1"
    )
    await office.hand_in([receipt(connection_id=73, provider_message_id="1", status=Status.DELIVERED)])
    await office.hand_in([receipt(connection_id=SECOND_ONE, message_id=one.id, status=Status.DELIVERED)])
    assert [(await office.look(m.id))["status"] for m in (one, other)] == ["sent", "sent"]
    await office.hand_in([receipt(connection_id=SECOND_ONE, provider_message_id="1", status=Status.DELIVERED)])
    assert [(await office.look(m.id))["status"] for m in (one, other)] == ["sent", "delivered"]
    office.accounts = {FIRST, 73}
    await office.hand_in([receipt(connection_id=73, message_id=one.id, status=Status.DELIVERED)])
    assert (await office.look(one.id))["status"] == "delivered"


async def test_a_receipt_of_an_earlier_try_through_another_connection_counts(office: Office):
    message = office.message()
    await office.submit(message)
    await office.settle(await office.claim(), outcome=SendOutcome.RETRY, code=2020, reason="throttled")
    assert (await office.look(message.id))["connection_id"] == SECOND_ONE
    await office.hand_in([receipt(message_id=message.id, status=Status.DELIVERED)])
    assert (await office.look(message.id))["status"] == "delivered"


async def _repeat(office: Office, id_: int) -> None:
    async def work(tx: Tx, unit: Unit) -> None:
        await take_by_hand(tx, 1, id_, repeat(unit.now), unit)

    await office.recorder.perform(work)


async def test_a_late_receipt_of_an_earlier_try_does_not_end_a_repeat(office: Office):
    message = office.message()
    await office.submit(message)
    await office.settle(await office.claim(), outcome=SendOutcome.ACCEPTED, provider_message_id="p-1")
    ours = {"message_id": message.id}
    await office.hand_in([receipt(provider_message_id="p-1", status=Status.FAILED, code=2003)])
    before = now_us() - SECOND
    await _repeat(office, message.id)
    # Before the resend is tried, every reported failure, however late its date, is about the earlier try.
    await office.hand_in(
        [
            receipt(provider_message_id="p-1", status=Status.FAILED, code=2004),
            receipt(**ours, status=Status.SENT, occurred_at=now_us() + SECOND),
        ]
    )
    assert (await office.look(message.id))["status"] == "queued"
    again = await office.claim()
    assert len(again.messages) == 1
    await office.hand_in([receipt(provider_message_id="p-1", status=Status.FAILED, code=2005)])
    assert (await office.look(message.id))["status"] == "sending"
    await office.settle(again, outcome=SendOutcome.ACCEPTED, provider_message_id="p-2")
    await office.hand_in(
        [
            receipt(**ours, provider_message_id="p-1", status=Status.FAILED, code=2006),
            receipt(**ours, status=Status.FAILED, code=2007, occurred_at=before),
        ]
    )
    record = await office.look(message.id)
    assert (record["status"], record["provider_message_id"]) == ("sent", "p-2")
    assert [line for line in record["history"] if line == "failed"] == ["failed"] * 5
    # The failure of the resend itself counts.
    await office.hand_in([receipt(provider_message_id="p-2", status=Status.FAILED, code=2008)])
    record = await office.look(message.id)
    assert (record["status"], record["code"]) == ("failed", 2008)


async def test_an_arrival_of_an_earlier_try_ends_the_repeat(office: Office):
    message = office.message()
    await office.submit(message)
    await office.settle(await office.claim(), outcome=SendOutcome.UNKNOWN, provider_message_id="p-1")
    await _repeat(office, message.id)
    await office.hand_in([receipt(provider_message_id="p-1", status=Status.DELIVERED)])
    assert (await office.look(message.id))["status"] == "delivered"
    assert (await office.claim()).messages == []


async def test_a_provider_that_keeps_its_id_for_a_repeat_is_understood_by_date(office: Office):
    message = office.message()
    await office.submit(message)
    await office.settle(await office.claim(), outcome=SendOutcome.ACCEPTED, provider_message_id="p-1")
    await office.hand_in([receipt(provider_message_id="p-1", status=Status.FAILED, code=2003)])
    before = now_us() - SECOND
    await _repeat(office, message.id)
    await office.settle(await office.claim(), outcome=SendOutcome.ACCEPTED, provider_message_id="p-1")
    await office.hand_in([receipt(provider_message_id="p-1", status=Status.FAILED, code=2004, occurred_at=before)])
    assert (await office.look(message.id))["status"] == "sent"
    await office.hand_in([receipt(provider_message_id="p-1", status=Status.FAILED, code=2005)])
    assert (await office.look(message.id))["code"] == 2005


async def test_receipts_of_strangers_move_nothing(office: Office):
    message = office.message()
    await office.submit(message)
    await office.settle(await office.claim(), outcome=SendOutcome.ACCEPTED, provider_message_id="p-1")
    foreign = [
        receipt(workspace_id=2, message_id=message.id, status=Status.DELIVERED),
        receipt(workspace_id=2, provider_message_id="p-1", status=Status.DELIVERED),
        receipt(message_id=12345, status=Status.DELIVERED),
    ]
    await office.hand_in(foreign, [Quarantined(workspace_id=1, connection_id=FIRST, reason="not_json", body=b"\xff{")])
    assert (await office.look(message.id))["status"] == "sent"


async def test_the_same_request_is_taken_once(office: Office):
    first, again, other = office.message(), office.message(), office.message()
    one = await office.submit(first, key="k")
    two = await office.submit(again, key="k")
    assert (one.repeat, two.repeat) == (None, one.answer)
    three = await office.submit(other, key="k", digest="something else")
    assert three.refused is not None
    assert three.refused.code == "idempotency_key_reused"
    # Also two of them in one batch.
    twins = [
        MessageBatch(workspace_id=1, messages=[m], key=IdempotencyKey("t", "d"), answer=Answer(202, b"%d" % m.id))
        for m in (office.message(), office.message())
    ]
    await office.hand_in(*twins)
    assert twins[1].repeat == twins[0].answer
    assert len((await office.claim()).messages) == 2


async def test_what_must_not_be_sent_is_found_out_in_the_last_moment(office: Office):
    stopped, bounced, late, fine = (office.message(address=f"+1202555010{n}") for n in range(4))
    late.expires_at = now_us() - 1
    await office.submit(stopped, bounced, late, fine)
    # After they were queued.
    await office.hand_in(
        [
            receipt(kind="inbound", address="+12025550100", text=" Stop ", receipt_id="i-1"),
            receipt(suppress="invalid_number", address="+12025550101"),
        ]
    )
    found = await office.claim()
    assert [m.id for m in found.messages] == [fine.id]
    ends = [await office.look(m.id) for m in (stopped, bounced, late)]
    assert [(end["status"], end["code"], end["reason"]) for end in ends] == [
        ("skipped", None, "not_consented"),
        ("skipped", None, "suppressed"),
        ("failed", 2008, "expired"),
    ]
    # The person opts in again.
    await office.hand_in([receipt(kind="inbound", address="+12025550100", text="START", receipt_id="i-2")])
    again = office.message(address="+12025550100")
    await office.submit(again)
    assert [m.id for m in (await office.claim()).messages] == [again.id]


async def _subscription(office: Office, address: str) -> tuple[str, str, int] | None:
    async def work(tx: Tx) -> Row | None:
        return await tx.row("subscriptions.get", workspace_id=1, channel="sms", address=address)

    found = await office.database.read(work)
    return found[2:5] if found else None


async def test_stop_wins_over_an_earlier_start_in_one_batch_and_over_a_late_one(office: Office):
    now, address = now_us(), "+12025550101"
    stop = receipt(kind="inbound", address=address, text="STOP", occurred_at=now)
    start = receipt(kind="inbound", address=address, text="START", occurred_at=now - SECOND)
    await office.hand_in([stop, start])
    assert await _subscription(office, address) == ("unsubscribed", "keyword", now)
    await office.hand_in([receipt(kind="inbound", address=address, text="UNSTOP", occurred_at=now - 2)])
    assert await _subscription(office, address) == ("unsubscribed", "keyword", now)


async def test_a_keyword_of_the_providers_own_opts_out(office: Office):
    stop = receipt(kind="inbound", address="+12025550101", text="Laissez-moi tranquille", keyword="stop")
    await office.hand_in([stop])
    assert await _subscription(office, "+12025550101") == ("unsubscribed", "keyword", stop.occurred_at)
    assert [data["keyword"] for type_, data in await office.events() if type_ == "message.received"] == ["stop"]


async def test_a_start_that_comes_again_after_a_stop_is_no_later_word(office: Office):
    address = "+12025550101"
    start = receipt(kind="inbound", address=address, text="START", receipt_id="i-1")
    stop = receipt(kind="inbound", address=address, text="STOP", receipt_id="i-2", occurred_at=start.occurred_at + 1)
    await office.hand_in([start])
    await office.hand_in([stop])
    # Some providers send no time: then the time of arrival replaces it.
    await office.hand_in([msgspec.structs.replace(start, occurred_at=start.occurred_at + 2)])
    assert await _subscription(office, address) == ("unsubscribed", "keyword", stop.occurred_at)


async def _history(office: Office, address: str, channel: str = "sms") -> list[tuple[Any, ...]]:
    """State, source, whether it counted, proof and cause of every statement, the latest first."""

    async def work(tx: Tx) -> list[Row]:
        place = {"workspace_id": 1, "channel": channel, "address": address}
        return await tx.rows("subscription_history.list", **place, changed_at=1 << 62, change_key=0, n=100)

    return [(row[2], row[3], row[6], json.loads(row[5]), row[7]) for row in await office.database.read(work)]


async def test_a_subscription_keeps_what_the_person_wrote_and_the_event_that_tells_of_it(office: Office):
    address, connection_id = "+12025550101", public("con", FIRST)
    stop = receipt(kind="inbound", address=address, text=" Stop! ", own_address="+18335550100", receipt_id="i-1")
    await office.hand_in([stop, stop], [stop])
    await office.hand_in([stop])
    start = receipt(kind="inbound", address=address, text="START", receipt_id="i-2", occurred_at=stop.occurred_at - 1)
    await office.hand_in([start])
    assert await _history(office, address) == [
        (
            "unsubscribed",
            "keyword",
            1,
            {"keyword": " Stop! ", "connection_id": connection_id, "to": "+18335550100"},
            f"{connection_id}:i-1",
        ),
        ("subscribed", "keyword", 0, {"keyword": "START", "connection_id": connection_id}, f"{connection_id}:i-2"),
    ]
    told = await office.events()
    assert [type_ for type_, _ in told] == ["message.received", "subscription.changed", "message.received"]
    assert told[1][1]["state"] == "unsubscribed"


async def test_an_opt_out_at_the_provider_names_the_message_that_was_refused(office: Office):
    message = office.message()
    await office.submit(message)
    found = await office.claim()
    await office.settle(
        found, outcome=SendOutcome.REJECTED, code=9988, reason="opted_out", suppress="opted_out", detail="x"
    )
    proof = {"connection_id": public("con", FIRST), "detail": "x"}
    assert await _history(office, message.address) == [
        ("unsubscribed", "provider", 1, proof, public("msg", message.id))
    ]
    again = office.message()
    await office.submit(again)
    assert (await office.claim()).messages == []
    assert (await office.look(again.id))["reason"] == "not_consented"


async def test_an_opt_out_that_is_told_again_later_does_not_undo_what_was_said_since(office: Office):
    """Some providers give no time: then the time of each arrival stands for it."""
    address = "ada@example.com"
    out = receipt(
        kind="engagement", event="message.unsubscribed", address=address, suppress="opted_out", receipt_id="e-1"
    )
    await office.hand_in([out])

    async def back(tx: Tx, unit: Unit) -> None:
        state = SubscriptionState.SUBSCRIBED
        await set_subscriptions(tx, [SubscriptionChange(1, "email", address, state, "form", out.occurred_at + 1)], unit)

    await office.recorder.perform(back)
    await office.hand_in([msgspec.structs.replace(out, occurred_at=out.occurred_at + 2)])
    history = await _history(office, address, "email")
    assert [line[:3] for line in history] == [("subscribed", "form", 1), ("unsubscribed", "provider", 1)]


async def test_a_receipt_that_finds_its_message_later_is_one_statement(office: Office):
    message = office.message()
    await office.submit(message)
    found = await office.claim()
    refused = receipt(
        provider_message_id="p-1", status=Status.FAILED, code=9988, suppress="opted_out", address=message.address
    )
    await office.hand_in([refused])
    await office.settle(found, outcome=SendOutcome.ACCEPTED, provider_message_id="p-1")
    assert (await office.look(message.id))["status"] == "failed"
    assert [line[:3] for line in await _history(office, message.address)] == [("unsubscribed", "provider", 1)]


_SAID = st.tuples(st.integers(0, 3), st.sampled_from(["STOP", "START", "opted_out", "END"]))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=st.lists(_SAID, min_size=1, max_size=6, unique=True), data=st.data())
async def test_any_order_and_any_batches_of_words_lead_to_the_same_subscription(office: Office, said: Any, data: Any):
    base = now_us()
    ends = []
    for _ in range(2):
        number = office.ids.one(now_us()) % 10_000_000
        address = f"+1202{number:07}"
        heard = [
            receipt(address=address, suppress="opted_out", occurred_at=base + at)
            if word == "opted_out"
            else receipt(kind="inbound", address=address, text=word, occurred_at=base + at)
            for at, word in data.draw(st.permutations(said))
        ]
        while heard:
            size = data.draw(st.integers(1, len(heard)))
            await office.hand_in(heard[:size])
            heard = heard[size:]
        ends.append(await _subscription(office, address))
    assert ends[0] == ends[1]
    last = max(at for at, _ in said)
    stopped = any(word != "START" for at, word in said if at == last)
    assert ends[0] is not None
    assert (ends[0][0], ends[0][2]) == ("unsubscribed" if stopped else "subscribed", base + last)


async def test_what_a_person_writes_or_does_is_told_once(office: Office):
    message = office.message()
    await office.submit(message)
    await office.settle(await office.claim(), outcome=SendOutcome.ACCEPTED, provider_message_id="p-1")
    opened = receipt(kind="engagement", event="message.opened", provider_message_id="p-1", receipt_id="o-1")
    wrote = receipt(kind="inbound", address="+12025550101", text="thank you", receipt_id="w-1")
    await office.hand_in([opened, wrote, opened])
    await office.hand_in([wrote, opened])
    told = [(type_, data) for type_, data in await office.events() if type_ in ("message.opened", "message.received")]
    assert [type_ for type_, _ in told] == ["message.opened", "message.received"]
    assert told[0][1]["message"]["status"] == "sent"
    assert (told[1][1]["text"], told[1][1]["from"]) == ("thank you", "+12025550101")


async def test_what_surely_was_not_taken_goes_to_the_next_connection(office: Office):
    free, pinned = office.message(), office.message(pinned=True, address="+12025550102")
    await office.submit(free, pinned)
    await office.settle(await office.claim(), outcome=SendOutcome.RETRY, code=2020, reason="throttled")
    records = [await office.look(m.id) for m in (free, pinned)]
    assert [(r["status"], r["connection_id"]) for r in records] == [("queued", SECOND_ONE), ("queued", FIRST)]
    assert records[0]["due_at"] <= now_us() < records[1]["due_at"]
    # A message that may have been accepted is not moved.
    found = await office.claim(by=connection(SECOND_ONE))
    await office.settle(found, outcome=SendOutcome.UNKNOWN, reason="timeout")
    record = await office.look(free.id)
    assert (record["status"], record["tries"]) == ("unknown", 2)


async def test_nothing_goes_on_to_a_connection_that_fails(office: Office):
    message = office.message()
    await office.submit(message)
    office.failing.add(SECOND_ONE)
    await office.settle(await office.claim(), outcome=SendOutcome.RETRY, code=2020, reason="throttled")
    record = await office.look(message.id)
    assert (record["connection_id"], record["due_at"] > now_us()) == (FIRST, True)


async def test_what_an_earlier_try_came_to_does_not_touch_a_later_one(office: Office):
    message = office.message()
    await office.submit(message)
    first = await office.claim()
    await office.settle(first, outcome=SendOutcome.RETRY)
    await office.claim(by=connection(SECOND_ONE))
    await office.settle(first, outcome=SendOutcome.REJECTED, code=2003)
    assert (await office.look(message.id))["status"] == "sending"


async def test_a_retry_that_a_clock_put_off_which_was_ahead_is_due_once_it_is_right(office: Office):
    ahead = now_us() + DAY
    retried, asked, scheduled = office.message(), office.message(), office.message(due_at=ahead, expires_at=ahead + DAY)
    await office.submit(retried, asked, scheduled)
    found = await office.claim()
    assert {m.id for m in found.messages} == {retried.id, asked.id}
    # The provider of the other one asked to wait for a day: the clock was right.
    await _put_off(office, retried.id, ahead + 300 * SECOND, ahead)
    await _put_off(office, asked.id, ahead, now_us())
    assert await office.database.transact(bring_back_retries, now_us()) == 1
    assert [m.id for m in (await office.claim()).messages] == [retried.id]
    assert (await office.look(asked.id))["due_at"] == (await office.look(scheduled.id))["due_at"] == ahead
    assert await office.database.transact(bring_back_retries, now_us()) == 0


async def _put_off(office: Office, id_: int, due_at: int, now: int) -> None:
    """Queue a message for a retry, with the clock at `now`."""

    async def work(tx: Tx, unit: Unit) -> None:
        unit.now = now
        transitions = Transitions(unit)
        await transitions.load(tx, [id_])
        transitions.apply(transitions.states[id_], Transition(status=Status.QUEUED, at=now, due_at=due_at))
        await transitions.write(tx)

    await office.recorder.perform(work)


async def test_a_limit_holds_for_all_processes_together(office: Office, store: Any):
    await office.submit(*(office.message(address=f"+1202555{n:04d}") for n in range(60)))
    limited = connection(per_second=20.0)
    other = Office(store.open(), node=2)
    try:
        began = now_us()
        taken = 0
        for number in range(40):
            found = await (office, other)[number % 2].claim(by=limited)
            taken += len(found.messages)
            assert found.more
        allowed = (now_us() - began) / SECOND * 20 + 1
        assert 1 <= taken <= allowed + 1
    finally:
        await other.outbound.stop()


async def test_unused_tokens_are_given_back(office: Office):
    limited = connection(per_second=1000.0)
    await office.submit(office.message())
    assert len((await office.claim(by=limited)).messages) == 1

    async def work(tx: Tx) -> float:
        row = await tx.row("buckets.lock", ids=[FIRST])
        return float(row[2]) if row else -1.0

    await office.claim(by=limited)
    before = await office.database.transact(work)
    await office.claim(by=limited)
    assert await office.database.transact(work) >= before >= 0


async def test_a_throttled_send_keeps_its_pace(office: Office):
    throttle = office.ids.one(now_us())
    messages = [office.message(address=f"+1202555{n:04d}", throttle_id=throttle) for n in range(10)]
    await office.submit(*messages, throttle=(throttle, 0.5))
    found = await office.claim()
    assert [m.id for m in found.messages] == [messages[0].id]
    waits = [(await office.look(m.id))["due_at"] for m in messages[1:]]
    gaps = [later - earlier for earlier, later in pairwise(waits)]
    assert all(abs(gap - 2 * SECOND) < 10 for gap in gaps)
    assert (await office.look(messages[1].id))["history"] == ["queued"]


async def test_a_throttle_is_kept_until_its_messages_are_due(office: Office):
    throttle, due_at = office.ids.one(now_us()), now_us() + 30 * DAY
    messages = [
        office.message(address=f"+1202555{n:04d}", throttle_id=throttle, due_at=due_at, expires_at=due_at + DAY)
        for n in range(3)
    ]
    await office.submit(*messages, throttle=(throttle, 0.5))
    kept = []
    for days in (29, 36, 38):
        await retention.prune_messaging(office.database, now_us() + days * DAY, Retention(400, 400))
        kept.append(len(await office.database.transact(lambda tx: tx.rows("buckets.lock", ids=[throttle]))))
    assert kept == [1, 1, 0]


async def test_two_processes_claim_nothing_twice(office: Office, store: Any):
    await office.submit(*(office.message(address=f"+1202555{n:04d}") for n in range(200)))
    other = Office(store.open(), node=2)
    try:
        claims = await asyncio.gather(*((office, other)[n % 2].claim(30, node=1 + n % 2) for n in range(10)))
        ids = [m.id for found in claims for m in found.messages]
        assert len(ids) == len(set(ids)) == 200
    finally:
        await other.outbound.stop()


async def test_nobody_knows_what_became_of_what_a_process_died_over(office: Office):
    lost, repeatable, queued = office.message(), office.message(connection_id=SECOND_ONE), office.message()
    queued.due_at += HOUR
    await office.submit(lost, repeatable, queued)
    first = await office.claim(node=5)
    await office.claim(by=connection(SECOND_ONE), node=5)

    async def strand(tx: Tx) -> int:
        return await tx.run("messages.orphan", nodes=[5])

    async def work(tx: Tx, unit: Unit) -> int:
        transitions = Transitions(unit)
        count = await recover_orphaned(tx, transitions, {SECOND_ONE}, 100)
        await transitions.write(tx)
        return count

    assert await office.database.transact(strand) == 2
    assert await office.recorder.perform(work) == 2
    assert await office.recorder.perform(work) == 0
    assert [(await office.look(m.id))["status"] for m in (lost, repeatable, queued)] == ["unknown", "queued", "queued"]
    # A receipt settles it; a late result of the dead process's call would, too.
    await office.settle(first, outcome=SendOutcome.ACCEPTED, provider_message_id="late")
    assert (await office.look(lost.id))["status"] == "sent"


async def test_the_next_process_takes_over_from_one_that_died(office: Office):
    await office.submit(office.message())
    await office.claim(node=3)
    await Node(office.database, Ids(0), office.recorder.orphan).join()

    async def work(tx: Tx) -> list[Row]:
        return await tx.rows("messages.orphaned", n=10)

    # On PostgreSQL, node 3 may still live: its messages stay until it is evicted.
    assert len(await office.database.read(work)) == (1 if office.database.dialect == "sqlite" else 0)


@pytest.mark.parametrize("gone", [False, True])
async def test_what_waits_at_a_connection_that_cannot_send(office: Office, gone: bool):
    free, pinned, late = office.message(), office.message(pinned=True), office.message(pinned=True)
    late.expires_at = now_us() - 1
    await office.submit(free, pinned, late)

    async def work(tx: Tx, unit: Unit) -> int:
        transitions = Transitions(unit)
        count = await reroute_queued(tx, FIRST, gone, SECOND_ONE, transitions, 100)
        await transitions.write(tx)
        return count

    while await office.recorder.perform(work):
        pass
    found = [await office.look(m.id) for m in (free, pinned, late)]
    assert (found[0]["status"], found[0]["connection_id"]) == ("queued", SECOND_ONE)
    expected = ("failed", "connection_deleted") if gone else ("queued", None)
    assert (found[1]["status"], found[1]["reason"]) == expected
    assert found[2]["status"] == "failed"


async def test_messages_for_trial_are_not_counted(office: Office):
    await office.submit(office.message(test=True))
    assert await office.counts() == {}
    assert [type_ for type_, _ in await office.events()] == ["message.queued"]


async def test_retention_deletes_only_messages_that_are_not_owed_by_their_last_change(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(retention, "PAGE", 2)
    now = now_us()
    scheduled = [office.message(due_at=now + 120 * DAY, expires_at=now + 121 * DAY) for _ in range(3)]
    late = office.message(expires_at=now + 121 * DAY)
    done = office.message(address="+12025550102")
    await office.submit(*scheduled, late, done)
    found = await office.claim()
    await office.settle(found, outcome=SendOutcome.ACCEPTED)

    async def change(tx: Tx) -> None:
        # `late` got its receipt a day before the horizon, `done` long before it.
        transitions = Transitions(Unit(office.ids, now + 60 * DAY))
        await transitions.load(tx, [late.id])
        transitions.apply(transitions.states[late.id], Transition(status=Status.DELIVERED, at=0))
        await transitions.write(tx)

    await office.database.transact(change)

    async def left(tx: Tx) -> tuple[list[Row], list[Row]]:
        contents = await tx.rows("messages.list", workspace_id=1, before=1 << 62, since=0, n=100)
        return contents, await tx.rows("messages.get", workspace_id=1, id=done.id)

    assert await retention.prune_messaging(office.database, now + 91 * DAY, Retention(90, 90)) > 0
    messages, gone = await office.database.read(left)
    assert sorted(row[0] for row in messages) == sorted(m.id for m in (*scheduled, late))
    assert gone == []
    for m in scheduled:
        assert (await office.look(m.id))["content"] is not None
    await retention.prune_messaging(office.database, now + 151 * DAY, Retention(90, 90))
    messages, _ = await office.database.read(left)
    assert sorted(row[0] for row in messages) == sorted(m.id for m in scheduled)


async def test_a_message_that_was_queued_again_meanwhile_is_not_deleted(office: Office):
    message = office.message()
    await office.submit(message)
    await office.database.transact(retention._delete_messages, [message.id], now_us() + DAY)
    assert (await office.look(message.id))["content"] is not None


@pytest.mark.parametrize("pinned", [False, True])
async def test_what_is_stuck_at_a_connection_that_does_not_send(office: Office, pinned: bool):
    message = office.message(pinned=pinned)
    await office.submit(message)
    now = now_us()

    async def stuck(gone: bool, elsewhere: bool, at: int, id_: int = FIRST) -> bool:
        return await office.database.read(is_stuck, id_, gone, elsewhere, at)

    # Pinned messages wait; the others may move to another connection.
    assert await stuck(False, True, now) != pinned
    assert not await stuck(False, False, now)
    assert await stuck(True, False, now)
    assert await stuck(False, False, message.expires_at)
    assert not await stuck(True, True, message.expires_at, SECOND_ONE)


@pytest.mark.parametrize("name", ["messages.expired", "messages.waiting", "messages.stuck"])
def test_a_long_queue_is_not_read_to_find_what_is_stuck_in_it(tmp_path: Path, name: str):
    path = tmp_path / "waypost.db"
    store = SQLite(path)
    asyncio.run(store.migrate())
    asyncio.run(store.close())
    text = load_queries("sqlite")[name]
    with contextlib.closing(sqlite3.connect(path)) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {text}", dict.fromkeys(number_parameters(text)[1])).fetchall()
    reads = [step[-1] for step in plan if "messages" in step[-1]]
    assert reads
    for step in reads:
        assert re.search(r"SEARCH messages USING (COVERING )?INDEX messages_(waiting|queued) ", step), step
        assert "messages_queued" not in step or name == "messages.stuck", step
    assert not any("TEMP B-TREE" in step[-1] for step in plan)
