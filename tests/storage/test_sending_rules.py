"""Sending rules on both databases: what a claim holds, skips and counts, and what is given back."""

import json
import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.storage.test_messages import Office, _workspace, connection
from waypost.clock import DAY, HOUR, MINUTE, now_us
from waypost.domain.messaging.frequency_caps import Calendar
from waypost.domain.messaging.message import SendOutcome, Verdict
from waypost.domain.messaging.quiet_hours import QuietWindow
from waypost.domain.messaging.sending_rules import (
    EXEMPT_FROM_FREQUENCY_CAPS,
    EXEMPT_FROM_QUIET_HOURS,
    FrequencyCap,
    Purpose,
    QuietHours,
    RuleAction,
    SendingRules,
)
from waypost.domain.values.timezones import first_instant
from waypost.engine.messaging.by_hand import repeat, take_by_hand
from waypost.engine.messaging.deletions import delete_profile
from waypost.engine.messaging.held import queue_held
from waypost.engine.messaging.queue import Claim, claim, queue_unsent
from waypost.engine.messaging.recording import NewMessage, SendResult
from waypost.engine.messaging.retention import prune_recent_sends
from waypost.engine.messaging.rule_checks import lock_people
from waypost.engine.messaging.sending_rules import save_rules
from waypost.engine.messaging.transitions import Transitions
from waypost.engine.process import Engine
from waypost.engine.runtime.unit import Unit
from waypost.storage.database import Database, Row, Tx

REAL = time.time_ns
#: A Wednesday at noon.
NOON = 1_799_798_400_000_000 + 12 * HOUR


def at(wall: str, zone: str) -> int:
    """Return the instant of a local time."""
    return first_instant(ZoneInfo(zone), datetime.fromisoformat(wall))


async def set_rules(engine: Engine, rules: SendingRules, workspace_id: int = 1) -> None:
    """Set the rules of a workspace as the API does."""
    await engine.database.transact(save_rules, workspace_id, rules, 1, now_us())
    await engine.sending_rules.refresh([workspace_id])


class RuledOffice(Office):
    """An office whose workspace has sending rules, at a time that the test sets."""

    def __init__(self, database: Database, node: int = 1) -> None:
        super().__init__(database, node)
        self.rules: SendingRules | None = None
        self.now = NOON
        self.routing.rules_of = lambda workspace_id: self.rules if workspace_id == 1 else None

    def rule(self, *rules: QuietHours | FrequencyCap, timezone: str = "UTC") -> None:
        """Set the rules."""
        self.rules = SendingRules(
            timezone=timezone,
            quiet_hours=tuple(rule for rule in rules if isinstance(rule, QuietHours)),
            frequency_caps=tuple(rule for rule in rules if isinstance(rule, FrequencyCap)),
        )

    def message(self, **changes: Any) -> NewMessage:
        """Return a promotional email, due now."""
        values = {"purpose": "promotional", "channel": "email", "address": "ada@example.com", "due_at": self.now}
        return super().message(**(values | {"expires_at": self.now + DAY} | changes))

    async def claim_all(self) -> dict[str, list[int]]:
        """Queue what is held and due, and claim all that is due; return the ids of all messages by status."""

        async def work(tx: Tx, unit: Unit) -> Claim:
            transitions = Transitions(unit)
            found = await claim(tx, connection(), 1000, transitions, self.rules)
            await transitions.write(tx)
            return found

        await self.recorder.perform(queue_held)
        self.found = await self.recorder.perform(work)
        return await self.statuses()

    async def statuses(self) -> dict[str, list[int]]:
        """Return the ids of all messages by status."""

        async def work(tx: Tx) -> list[dict[str, Any]]:
            return await tx.records("messages.list", workspace_id=1, before=1 << 62, since=0, n=1000)

        found: dict[str, list[int]] = {}
        for record in reversed(await self.database.read(work)):
            found.setdefault(record["status"], []).append(record["id"])
        return found

    async def send(self, **changes: Any) -> str:
        """Send one message now, as far as the rules let it pass; return its status."""
        message = self.message(**changes)
        await self.submit(message)
        await self.claim_all()
        if self.found.messages:
            await self.settle(self.found, outcome=SendOutcome.ACCEPTED)
        return str((await self.look(message.id))["status"])

    async def rows(self) -> dict[str, list[Any]]:
        """Return what is kept of each person."""

        async def work(tx: Tx) -> list[Row]:
            return await tx.rows("recent_sends.expired", before=1 << 62, n=1000)

        people = [person for _, person in await self.database.read(work)]
        return {key: list(sends) for key, sends in (await self.database.transact(lock_people, 1, people, [])).items()}

    async def profile(self, id_: int, timezone: Any = None, into: int | None = None, phone: str | None = None) -> None:
        """Create a person, or merge one into another."""
        traits = json.dumps({} if timezone is None else {"timezone": [timezone, 1]})

        async def work(tx: Tx) -> None:
            await tx.insert("profiles.update", [(id_, 1, into, traits, 1, 1)])
            if phone is not None:
                await tx.insert("identities.insert", [(1, "phone", phone, id_, 1)])

        await self.database.transact(work)


@pytest.fixture
async def office(database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RuledOffice]:
    await database.transact(_workspace)
    made = RuledOffice(database)
    monkeypatch.setattr("time.time_ns", lambda: made.now * 1000)
    yield made
    await made.outbound.stop()


def cap(limit: int = 2, **changes: Any) -> FrequencyCap:
    values: dict[str, Any] = {} if "per" in changes else {"within": DAY}
    return FrequencyCap(**(values | {"limit": limit} | changes))


def night(**changes: Any) -> QuietHours:
    values: dict[str, Any] = {"window": QuietWindow(22 * 60, 8 * 60), "jitter": 0} | changes
    return QuietHours(**values)


async def test_without_rules_a_claim_asks_nothing(office: RuledOffice):
    asked: list[str] = []

    async def work(tx: Tx, unit: Unit) -> None:
        class Watched:
            def __getattr__(self, name: str) -> Any:
                def call(query: str, *args: Any, **values: Any) -> Any:
                    asked.append(query)
                    return getattr(tx, name)(query, *args, **values)

                return call

        transitions = Transitions(unit)
        await claim(Watched(), connection(), 10, transitions, office.rules)
        await transitions.write(tx)

    await office.submit(office.message())
    await office.recorder.perform(work)
    assert asked == ["messages.due", "messages.load", "addresses.standing", "messages.following"]
    # With rules that do not apply to any message of the claim, neither.
    asked.clear()
    office.rule(cap(channel="sms"), night(channel="sms"))
    await office.submit(office.message(), office.message(purpose="transactional", channel="sms"))
    await office.recorder.perform(work)
    assert asked == ["messages.due", "messages.load", "addresses.standing", "messages.following"]
    # With rules, one query of each kind for all messages of the claim.
    asked.clear()
    office.rule(cap(9), night(channel="sms"))
    await office.submit(*(office.message(address=f"{n}@example.com") for n in range(5)))
    await office.recorder.perform(work)
    extra = ["sending_rules.facts", "recent_sends.lock", "messages.hold", "recent_sends.write"]
    assert asked == ["messages.due", "messages.load", "addresses.standing", *extra, "messages.following"]


async def test_a_cap_lets_so_many_pass_and_skips_the_others(office: RuledOffice):
    office.rule(cap(2))
    messages = [office.message() for _ in range(4)]
    other = office.message(address="bob@example.com")
    await office.submit(*messages, other)
    found = await office.claim_all()
    assert found == {"sending": [messages[0].id, messages[1].id, other.id], "skipped": [m.id for m in messages[2:]]}
    assert (await office.look(messages[2].id))["reason"] == "frequency_cap"
    # Neither a receipt nor the time within the period makes room.
    await office.settle(office.found, outcome=SendOutcome.ACCEPTED)
    office.now += DAY - 1
    assert await office.send() == "skipped"
    office.now += 1
    assert [await office.send(), await office.send(), await office.send()] == ["sent", "sent", "skipped"]


@pytest.mark.parametrize(
    ("said", "counts"),
    [
        ({"outcome": SendOutcome.ACCEPTED}, True),
        ({"outcome": SendOutcome.UNKNOWN, "reason": "no_answer"}, True),
        ({"outcome": SendOutcome.REJECTED, "code": 2003, "reason": "invalid_number"}, False),
        ({"outcome": SendOutcome.RETRY, "code": 2020, "reason": "throttled", "retry_after": DAY}, False),
        ({"outcome": SendOutcome.MISCONFIGURED, "reason": "configuration"}, False),
    ],
)
async def test_a_place_is_given_back_if_the_message_was_certainly_not_sent(
    office: RuledOffice, said: dict[str, Any], counts: bool
):
    office.rule(cap(1))
    first = office.message()
    await office.submit(first)
    await office.claim_all()
    assert await office.send() == "skipped"
    await office.hand_in([SendResult(first.id, 1, office.now, Verdict(**said), 1)])
    assert await office.send() == ("skipped" if counts else "sent")


async def test_what_was_claimed_and_not_sent_gives_its_place_back(office: RuledOffice):
    office.rule(cap(1))
    first = office.message()
    await office.submit(first)
    await office.claim_all()

    async def work(tx: Tx, unit: Unit) -> None:
        transitions = Transitions(unit)
        await queue_unsent(tx, transitions, [first.id], office.routing.rules_of)
        await transitions.write(tx)

    await office.recorder.perform(work)
    assert (await office.rows())["email:ada@example.com"] == []
    # It takes the place again, once.
    await office.claim_all()
    assert (await office.look(first.id))["status"] == "sending"
    assert [send.message_id for send in (await office.rows())["email:ada@example.com"]] == [first.id]


async def test_a_message_that_is_tried_again_counts_once(office: RuledOffice):
    office.rule(cap(2))
    first = office.message(pinned=True)
    await office.submit(first)
    for number in (1, 2, 3):
        await office.claim_all()
        assert (await office.look(first.id))["tries"] == number
        retry = Verdict(outcome=SendOutcome.RETRY, code=2020, reason="throttled")
        await office.hand_in([SendResult(first.id, number, office.now, retry, 1)])
        office.now += MINUTE
    await office.claim_all()
    assert await office.send() == "sent"
    assert await office.send() == "skipped"


async def test_what_a_throttle_delays_takes_no_place(office: RuledOffice):
    office.rule(cap(1))
    first, second = office.message(throttle_id=7), office.message(throttle_id=7, address="bob@example.com")
    await office.submit(first, second, throttle=(7, 1.0))
    assert await office.claim_all() == {"sending": [first.id], "queued": [second.id]}
    assert sorted(key for key, sends in (await office.rows()).items() if sends) == ["email:ada@example.com"]


async def test_channels_and_purposes_of_caps(office: RuledOffice):
    office.rule(cap(1, channel="sms"), cap(2))
    number = {"channel": "sms", "address": "+4915112345678"}
    await office.profile(7)
    person = {"profile_id": 7}
    assert await office.send(**number, **person) == "sent"
    assert await office.send(**number, **person) == "skipped"
    assert await office.send(**number, **person, purpose="transactional") == "sent"
    assert await office.send(**person) == "sent"
    assert await office.send(**person) == "skipped"
    # Transactional messages count where the rule says so.
    office.rule(cap(2, purpose=Purpose.ANY))
    assert await office.send(**person, purpose="transactional") == "skipped"


async def test_test_messages_and_exempt_ones_pass_and_do_not_count(office: RuledOffice):
    office.rule(cap(1), night(window=QuietWindow(0, 23 * 60)))
    assert await office.send() == "held"
    assert await office.send(exempt=EXEMPT_FROM_QUIET_HOURS | EXEMPT_FROM_FREQUENCY_CAPS) == "sent"
    assert await office.send(test=True) == "sent"
    assert await office.send(exempt=EXEMPT_FROM_FREQUENCY_CAPS) == "held"
    assert await office.send(exempt=EXEMPT_FROM_QUIET_HOURS) == "sent"
    assert await office.send(exempt=EXEMPT_FROM_QUIET_HOURS) == "skipped"


async def test_a_merged_profile_has_the_messages_of_both(office: RuledOffice):
    office.rule(cap(3))
    await office.profile(7)
    await office.profile(8)
    assert await office.send(profile_id=7) == "sent"
    assert await office.send(profile_id=8) == "sent"
    await office.profile(8, into=7)
    assert await office.send(profile_id=7) == "sent"
    # Messages that were accepted for the merged profile count for the survivor.
    assert await office.send(profile_id=8) == "skipped"
    assert await office.send(profile_id=7) == "skipped"
    late = office.message(profile_id=8)
    office.now += DAY
    await office.submit(late)
    office.rule(cap(1))
    await office.claim_all()
    refused = Verdict(outcome=SendOutcome.REJECTED, code=2003, reason="invalid_number")
    await office.hand_in([SendResult(late.id, 1, office.now, refused, 1)])
    assert await office.send(profile_id=7) == "sent"


async def test_a_cap_that_holds_sends_when_there_is_room(office: RuledOffice):
    office.rule(cap(1, within=HOUR, action=RuleAction.HOLD))
    first, second, third = (office.message(expires_at=office.now + 90 * MINUTE) for _ in range(3))
    await office.submit(first, second, third)
    assert await office.claim_all() == {"sending": [first.id], "held": [second.id, third.id]}
    await office.settle(office.found, outcome=SendOutcome.ACCEPTED)
    record = await office.look(second.id)
    assert (record["reason"], record["due_at"], record["held_at"]) == ("frequency_cap", office.now + HOUR, office.now)
    # The validity does not pass meanwhile.
    assert record["expires_at"] == office.now + HOUR + 90 * MINUTE
    office.now += HOUR - 1
    assert "sending" not in await office.claim_all()
    office.now += 1
    assert (await office.claim_all())["sending"] == [second.id]
    assert (await office.look(third.id))["held_at"] == NOON
    await office.settle(office.found, outcome=SendOutcome.ACCEPTED)
    office.now += HOUR
    assert (await office.claim_all())["sending"] == [third.id]


async def test_calendar_periods_are_those_of_the_person(office: RuledOffice):
    # Eleven in the evening in Auckland; noon in London.
    office.now = at("2027-01-13T23:00", "Pacific/Auckland")
    office.rule(cap(1, per=Calendar.DAY))
    await office.profile(7, "Pacific/Auckland")
    await office.profile(8, "Europe/London")
    for id_ in (7, 8):
        assert await office.send(profile_id=id_) == "sent"
        assert await office.send(profile_id=id_) == "skipped"
    office.now += HOUR
    # A new day for one of them.
    assert await office.send(profile_id=7) == "sent"
    assert await office.send(profile_id=8) == "skipped"


async def test_a_clock_that_was_ahead_blocks_nobody_for_longer(office: RuledOffice):
    office.rule(cap(1))
    office.now += 365 * DAY
    assert await office.send() == "sent"
    office.now -= 365 * DAY
    assert await office.send() == "skipped"
    office.now += DAY + 1
    assert await office.send() == "sent"


@pytest.mark.parametrize(
    ("timezone", "phone", "status"),
    [
        # It is noon in London.
        ("Asia/Tokyo", None, "sent"),
        ("Pacific/Auckland", None, "held"),
        ("Mars/Olympus", "+6797012345", "held"),
        (7, "+6797012345", "held"),
        (None, "+819012345678", "sent"),
        ("Asia/Tokyo", "+6797012345", "sent"),
        (None, "+6797012345", "held"),
        (None, None, "held"),
    ],
)
async def test_the_time_zone_of_a_person(office: RuledOffice, timezone: Any, phone: str | None, status: str):
    office.rule(night(), timezone="Pacific/Auckland")
    await office.profile(7, timezone, phone=phone)
    assert await office.send(profile_id=7) == status


async def test_the_time_zone_of_a_text_is_that_of_its_number(office: RuledOffice):
    office.rule(night())
    assert await office.send(channel="sms", address="+6797012345") == "held"
    assert await office.send(channel="sms", address="+447911123456") == "sent"


async def test_quiet_hours_come_before_caps(office: RuledOffice):
    office.now = at("2027-01-13T23:00", "UTC")
    office.rule(cap(1), night())
    messages = [office.message() for _ in range(3)]
    await office.submit(*messages)
    assert await office.claim_all() == {"held": [m.id for m in messages]}
    assert await office.rows() == {}
    office.now = at("2027-01-14T08:00", "UTC")
    assert await office.claim_all() == {"sending": [messages[0].id], "skipped": [m.id for m in messages[1:]]}


async def test_suppressed_and_expired_messages_are_not_asked_about(office: RuledOffice):
    office.rule(night(window=QuietWindow(0, 23 * 60)), cap(1))
    expired = office.message(expires_at=office.now)
    suppressed = office.message(address="gone@example.com")

    async def work(tx: Tx) -> None:
        await tx.insert("suppressions.add", [(1, "email", "gone@example.com", "bounced", None, None, 1)])

    await office.database.transact(work)
    await office.submit(expired, suppressed)
    assert await office.claim_all() == {"failed": [expired.id], "skipped": [suppressed.id]}
    assert (await office.look(expired.id))["code"] == 2008
    assert (await office.look(suppressed.id))["reason"] == "suppressed"


async def test_messages_of_the_morning_are_spread(office: RuledOffice):
    office.now = at("2027-01-13T23:00", "UTC")
    office.rule(night(jitter=15 * MINUTE))
    messages = [office.message(address=f"{n}@example.com") for n in range(200)]
    await office.submit(*messages)
    await office.claim_all()
    morning = at("2027-01-14T08:00", "UTC")
    due = [(await office.look(m.id))["due_at"] - morning for m in messages]
    assert min(due) >= 0
    assert max(due) < 15 * MINUTE
    # Each minute has some.
    assert len({moment // MINUTE for moment in due}) == 15


async def test_what_is_kept_of_people_is_deleted_when_no_cap_counts_it(office: RuledOffice):
    office.rule(cap(1, within=HOUR))
    await office.send()
    office.now += 2 * HOUR
    assert await prune_recent_sends(office.database, office.now) == 0
    assert await prune_recent_sends(office.database, office.now + 1) == 1
    assert await office.rows() == {}


async def test_old_sends_are_forgotten_with_the_next_one(office: RuledOffice):
    office.rule(cap(1, within=HOUR))
    for _ in range(3):
        assert await office.send() == "sent"
        office.now += HOUR
    assert len((await office.rows())["email:ada@example.com"]) == 1


async def test_a_resent_message_may_be_held_anew(office: RuledOffice):
    office.now = at("2027-01-13T23:00", "UTC")
    office.rule(night(max_hold=HOUR))
    message = office.message()
    await office.submit(message)
    await office.claim_all()
    office.now += HOUR
    await office.claim_all()
    record = await office.look(message.id)
    assert (record["status"], record["code"], record["reason"]) == ("failed", 2016, "quiet_hours")

    async def work(tx: Tx, unit: Unit) -> None:
        await take_by_hand(tx, 1, message.id, repeat(unit.now), unit)

    await office.recorder.perform(work)
    await office.claim_all()
    record = await office.look(message.id)
    assert (record["status"], record["held_at"]) == ("held", office.now)


async def test_a_person_who_is_deleted_leaves_no_sends(office: RuledOffice):
    office.rule(cap(3))
    await office.profile(7)
    await office.profile(8)

    async def claim_email(tx: Tx) -> None:
        await tx.insert("identities.insert", [(1, "email", "ada@example.com", 7, 1)])

    await office.database.transact(claim_email)
    for person in (7, 8, None):
        assert await office.send(profile_id=person) == "sent"
    assert sorted(await office.rows()) == ["7", "8", "email:ada@example.com"]

    async def delete(tx: Tx, unit: Unit) -> None:
        await delete_profile(tx, unit, 1, 7)

    await office.recorder.perform(delete)
    assert sorted(await office.rows()) == ["8"]
