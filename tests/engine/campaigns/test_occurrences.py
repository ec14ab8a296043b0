"""Occurrences: who gets what and when, and what stops a campaign."""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.engine.conftest import Outside, World, close_world, open_world
from tests.engine.messaging.test_sending import Post
from waypost.clock import DAY, HOUR, Ids, now_us
from waypost.domain.campaigns.campaign import (
    Audience,
    CampaignAction,
    CampaignState,
    Conversion,
    Definition,
    Throttle,
    VariantTest,
)
from waypost.domain.campaigns.schedule import SendAgain, SendLocal
from waypost.domain.events.event import Event
from waypost.domain.events.segment import metric_type
from waypost.domain.templates.template import TemplateSource, Variant
from waypost.domain.values.ids import public
from waypost.engine.campaigns import campaigns, occurrences
from waypost.engine.campaigns.campaigns import Campaign
from waypost.engine.campaigns.overview import Overview, load_overview
from waypost.engine.campaigns.retention import RECIPIENT_DAYS, prune_campaigns
from waypost.engine.runtime.scheduler import Scheduler
from waypost.engine.runtime.unit import Unit
from waypost.engine.templates import templates
from waypost.storage.database import Row, Tx

LIST, OTHER_LIST = 77, 78


class Office:
    """An engine whose jobs run when a test says so, and that sends nothing."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.engine = world.engine
        self.engine._sends = False

    async def sql(self, statement: str, *values: Any) -> list[Row]:
        """Return the rows of an unnamed statement."""

        async def work(tx: Tx) -> list[Row]:
            return list(tx._connection.execute(statement, values))  # type: ignore[attr-defined]

        return await self.world.database.transact(work)

    async def people(self, count: int, list_id: int = LIST, **traits: Any) -> list[int]:
        """Put people with addresses into a list; return their ids."""
        ids, now = list(Ids(9).take(count, now_us())), now_us()
        stored = "{" + ",".join(f'"{name}":["{value}",1]' for name, value in traits.items()) + "}"

        async def work(tx: Tx) -> None:
            await tx.insert("profiles.insert", [(id_, 1, None, stored, now, now) for id_ in ids])
            await tx.insert("identities.insert", [(1, "email", f"p{id_}@example.net", id_, now) for id_ in ids])

        await self.world.database.transact(work)
        await self.join(ids, list_id)
        return ids

    async def join(self, ids: list[int], list_id: int) -> None:
        """Put people into a list."""
        if not await self.sql("SELECT 1 FROM lists WHERE id = ?", list_id):
            await self.sql(
                "INSERT INTO lists (id, workspace_id, name, double_opt_in, created_at, updated_at)"
                " VALUES (?, 1, 'l', 0, 1, 1)",
                list_id,
            )
        for id_ in ids:
            await self.sql(
                "INSERT INTO list_members (list_id, profile_id, state, source, changed_at)"
                " VALUES (?, ?, 'subscribed', 't', 1)",
                list_id,
                id_,
            )

    async def launch(self, variants: tuple[str, ...] = ("default",), **settings: Any) -> int:
        """Launch a campaign to the list by its settings; return its id."""
        content = TemplateSource(metric="News", properties={"who": "{{ person.id }}"})
        made = await self.world.database.transact(
            templates.create_template,
            self.engine.ids,
            1,
            "t",
            "event",
            [Variant(name=name, content=content) for name in variants],
            now_us(),
        )
        definition = Definition(
            template_id=public("tpl", made.id),
            **{"audience": Audience(lists=[public("lst", LIST)]), **settings},
        )

        async def work(tx: Tx) -> int:
            campaign = await campaigns.create_campaign(tx, self.engine.ids, 1, "News", "webhook", definition, now_us())
            await campaigns.act(tx, campaign, CampaignAction.LAUNCH, now_us())
            return campaign.id

        return await self.world.database.transact(work)

    async def advance(self, times: int = 4) -> None:
        """Run the jobs of campaigns."""
        for _ in range(times):
            await self.engine._occurrences.advance()
            await self.engine._handover.run()

    async def campaign(self, id_: int) -> Campaign:
        return await self.world.database.read(campaigns.find_campaign, 1, id_)

    async def recipients(self) -> list[Row]:
        """Return profile, status, reason, variant and due time of all recipients."""
        return await self.sql("SELECT profile_id, status, reason, variant, due_at FROM recipients ORDER BY 1")

    async def statuses(self) -> Counter[tuple[str, str | None]]:
        return Counter((row[1], row[2]) for row in await self.recipients())

    async def overview(self) -> Overview:
        ids = [row[0] for row in await self.sql("SELECT id FROM occurrences")]
        return await self.world.database.read(load_overview, ids)

    async def emit(self, type_: str, profile_id: int, data: bytes = b"{}", at: int | None = None) -> None:
        """Record an event of a person."""

        async def work(tx: Tx, unit: Unit) -> None:
            name = f"{type_}:{profile_id}:{unit.ids.one(unit.now)}"
            unit.emit([Event(1, type_, profile_id, at or now_us(), name, data)])

        await self.engine.recorder.perform(work)


@pytest.fixture
async def office(tmp_path: Path, outside: Outside, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Office]:
    """An engine with a connection to a marketing tool."""
    with monkeypatch.context() as patch:
        patch.setattr(Scheduler, "start", lambda self, jobs: None)
        world = await open_world(tmp_path)
    await Post(world, outside).connect("klaviyo")
    yield Office(world)
    await close_world(world)


async def test_the_excluded_are_in_the_ledger_with_the_reason(office: Office) -> None:
    ids = await office.people(10)
    await office.join(ids[:3], OTHER_LIST)
    await office.launch(exclude=Audience(lists=[public("lst", OTHER_LIST)], profiles=[public("pro", ids[5])]))
    await office.advance()
    assert await office.statuses() == {("queued", None): 6, ("skipped", "excluded"): 4}
    overview = await office.overview()
    assert (overview.audience, overview.queued) == (10, 6)
    assert [(one.reason, one.count) for one in overview.skipped] == [("excluded", 4)]


async def test_somebody_in_two_lists_gets_one(office: Office) -> None:
    ids = await office.people(8)
    await office.join(ids, OTHER_LIST)
    lists = [public("lst", LIST), public("lst", OTHER_LIST)]
    await office.launch(audience=Audience(lists=lists, profiles=[public("pro", ids[0])]))
    await office.advance()
    assert await office.statuses() == {("queued", None): 8}
    assert await office.sql("SELECT count(*), count(DISTINCT profile_id) FROM messages") == [(8, 8)]


async def test_those_who_have_no_address_or_were_deleted_or_merged_are_skipped(office: Office) -> None:
    ids = await office.people(6)
    await office.launch()
    await office.engine._occurrences.advance()
    await office.engine._occurrences.advance()
    await office.sql("DELETE FROM identities WHERE profile_id = ?", ids[0])
    await office.sql("DELETE FROM profiles WHERE id = ?", ids[1])
    await office.sql("UPDATE profiles SET merged_into = ? WHERE id = ?", ids[3], ids[2])
    await office.advance()
    found = {row[0]: (row[1], row[2]) for row in await office.recipients()}
    assert found[ids[0]] == ("skipped", "no_address")
    assert found[ids[1]] == ("skipped", "profile_deleted")
    assert found[ids[2]] == ("skipped", "merged")
    assert [found[id_] for id_ in ids[3:]] == [("queued", None)] * 3


async def test_the_turn_comes_at_the_local_time_of_each_person(office: Office) -> None:
    berlin = await office.people(3, timezone="Europe/Berlin")
    tokyo = await office.people(3, timezone="Asia/Tokyo")
    nowhere = await office.people(2, timezone="Middle/Nowhere")
    day = (datetime.now(UTC) + timedelta(days=3)).date()
    id_ = await office.launch(schedule=SendLocal(at=f"{day}T09:00"))
    campaign = await office.campaign(id_)
    midnight = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000
    # The audience is decided an hour before the first zone of the world reaches the time.
    assert campaign.next_at == midnight + 9 * HOUR - 15 * HOUR
    assert campaign.state is CampaignState.SCHEDULED
    await office.sql("UPDATE campaigns SET next_at = 1")
    await office.advance()
    assert await office.statuses() == {("waiting", None): 8}, "nobody's turn has come"
    due = {row[0]: row[4] for row in await office.recipients()}
    assert {due[one] for one in tokyo} == {midnight}
    assert {due[one] for one in nowhere} == {midnight + 9 * HOUR}
    assert {due[one] for one in berlin} <= {midnight + 7 * HOUR, midnight + 8 * HOUR}
    await office.sql("UPDATE recipients SET due_at = 5 WHERE profile_id >= ? AND profile_id <= ?", tokyo[0], tokyo[-1])
    await office.sql("UPDATE occurrence_parts SET due_at = 5 WHERE due_at = ?", midnight)
    await office.advance()
    found = {row[0]: row[1] for row in await office.recipients()}
    assert [found[one] for one in tokyo] == ["queued"] * 3
    assert [found[one] for one in berlin + nowhere] == ["waiting"] * 5


@pytest.mark.parametrize(("late", "status"), [("skip", ("skipped", "time_passed")), ("now", ("queued", None))])
async def test_where_the_local_time_has_passed(office: Office, late: Any, status: tuple[str, str | None]) -> None:
    await office.people(3, timezone="Pacific/Kiritimati")
    # Fourteen hours ahead of UTC: there it is over, elsewhere not yet.
    at = datetime.now(UTC) + timedelta(hours=1)
    await office.launch(schedule=SendLocal(at=at.strftime("%Y-%m-%dT%H:%M"), late=late))
    await office.advance()
    assert await office.statuses() == {status: 3}


async def test_a_holdout_gets_nothing_and_its_conversions_give_the_lift(office: Office) -> None:
    ids = await office.people(400)
    await office.launch(holdout=0.25, conversion=Conversion(event="Order Completed", within="2d"))
    await office.advance(8)
    statuses = await office.statuses()
    held_out = statuses[("holdout", None)]
    assert 60 < held_out < 140
    assert statuses[("queued", None)] == 400 - held_out
    # The messages are sent.
    await office.sql("UPDATE recipients SET status = 'sent' WHERE status = 'queued'")
    await office.sql(
        "INSERT INTO campaign_counts SELECT id, 'sent', '', 0, '', 0, 0, ? FROM occurrences", 400 - held_out
    )
    await office.engine.goals.refresh()
    by_status = {row[0]: row[1] for row in await office.recipients()}
    without = [one for one in ids if by_status[one] == "holdout"]
    reached = [one for one in ids if by_status[one] != "holdout"]
    order = metric_type("Order Completed")
    for one in [*without[:5], *reached[:60]]:
        await office.emit(order, one)
        await office.emit(order, one)
    await office.emit(order, reached[61], at=now_us() + 3 * DAY)
    await office.emit(order, reached[62], at=now_us() - 3 * DAY)
    conversions = (await office.overview()).conversions
    assert (conversions.total, conversions.holdout, conversions.holdout_total) == (60, 5, held_out)
    assert conversions.lift == pytest.approx((60 / (400 - held_out)) / (5 / held_out) - 1)


async def test_an_order_counts_for_the_profile_that_was_merged_after_the_sending(office: Office) -> None:
    ids = await office.people(6)
    await office.launch(conversion=Conversion(event="Order Completed", within="2d"))
    await office.advance()
    await office.sql("UPDATE recipients SET status = 'sent'")
    survivor = (await office.people(1, OTHER_LIST))[0]
    await office.engine.goals.refresh()
    order = metric_type("Order Completed")
    # The survivor is no recipient, but two of those who were merged into it are; in another case it is one itself.
    await office.sql("UPDATE profiles SET merged_into = ? WHERE id IN (?, ?)", survivor, ids[0], ids[1])
    await office.sql("UPDATE profiles SET merged_into = ? WHERE id = ?", ids[3], ids[2])
    await office.sql("UPDATE recipients SET status = 'skipped', reason = 'no_address' WHERE profile_id = ?", ids[5])
    await office.sql("UPDATE profiles SET merged_into = ? WHERE id = ?", ids[5], ids[4])
    for person in (survivor, ids[3], ids[5]):
        await office.emit(order, person)
        await office.emit(order, person)
    found = await office.sql("SELECT profile_id FROM recipients WHERE converted_at IS NOT NULL ORDER BY 1")
    assert [row[0] for row in found] == [ids[0], ids[3], ids[4]]
    assert (await office.overview()).conversions.total == 3


async def test_a_sample_decides_which_variant_the_others_get(office: Office) -> None:
    await office.people(300)
    test = VariantTest(sample=0.3, winner_by="conversions", after="1h")
    await office.launch(("a", "b"), test=test, conversion=Conversion(event="Order Completed"))
    await office.advance(6)
    sampled = [row for row in await office.recipients() if row[1] == "queued"]
    assert 60 < len(sampled) < 125
    assert {row[3] for row in sampled} == {"a", "b"}
    assert {row[4] > now_us() + HOUR - HOUR // 10 for row in await office.recipients() if row[1] == "waiting"} == {True}
    await office.engine.goals.refresh()
    occurrence = (await office.sql("SELECT id FROM occurrences"))[0][0]
    for variant in ("a", "b"):
        n = sum(row[3] == variant for row in sampled)
        await office.sql("INSERT INTO campaign_counts VALUES (?, 'sent', '', 0, ?, 0, 0, ?)", occurrence, variant, n)
    await office.sql("UPDATE recipients SET status = 'sent' WHERE status = 'queued'")
    for row in [row for row in sampled if row[3] == "b"][:5]:
        await office.emit(metric_type("Order Completed"), row[0])
    # The hour is over.
    moved = 2 * HOUR
    await office.sql("UPDATE recipients SET due_at = due_at - ? WHERE status = 'waiting'", moved)
    await office.sql("UPDATE occurrence_parts SET due_at = due_at - ?", moved)
    await office.sql("UPDATE occurrences SET planned_at = planned_at - ?1, created_at = created_at - ?1", moved)
    await office.advance(6)
    others = [row for row in await office.recipients() if row[0] not in {one[0] for one in sampled}]
    assert {(row[1], row[3]) for row in others} == {("queued", "b")}
    assert await office.sql("SELECT winner FROM occurrences") == [("b",)]
    shares = {one.variant: one.conversions for one in (await office.overview()).variants}
    assert shares == {"a": 0, "b": 5}


async def test_without_a_winner_everybody_gets_a_variant_by_the_weights_to_the_end(office: Office) -> None:
    ids = await office.people(300)
    test = VariantTest(sample=0.3, winner_by="conversions", after="1h")
    await office.launch(("a", "b"), test=test, conversion=Conversion(event="Order Completed"))
    await office.advance(6)
    sampled = {row[0] for row in await office.recipients() if row[1] == "queued"}
    assert await office.sql("SELECT winner, decided_at FROM occurrences") == [(None, None)]
    moved = 2 * HOUR
    await office.sql("UPDATE recipients SET due_at = due_at - ? WHERE status = 'waiting'", moved)
    await office.sql("UPDATE occurrence_parts SET due_at = due_at - ?", moved)
    await office.sql("UPDATE occurrences SET planned_at = planned_at - ?1, created_at = created_at - ?1", moved)
    # Half of the others are late.
    late = [one for one in ids if one not in sampled][100:]
    await office.sql("UPDATE occurrence_parts SET last_id = ?, recipients = 100", late[0] - 1)
    occurrence, due_at = (await office.sql("SELECT occurrence_id, max(due_at) FROM recipients"))[0]
    part = (occurrence, due_at + 1, late[0], late[-1], len(late))
    await office.sql("INSERT INTO occurrence_parts VALUES (?, ?, ?, ?, ?, 99)", *part)
    await office.sql(
        "UPDATE recipients SET due_at = ? WHERE status = 'waiting' AND profile_id >= ?", due_at + 1, late[0]
    )
    await office.advance(3)
    ((winner, decided_at),) = await office.sql("SELECT winner, decided_at FROM occurrences")
    assert winner is None
    assert decided_at is not None
    # From now on somebody does something: it is decided already.
    await office.sql("INSERT INTO campaign_counts VALUES (?, 'sent', '', 0, 'b', 0, 0, 90)", occurrence)
    await office.sql("INSERT INTO campaign_counts VALUES (?, 'converted', '', 0, 'b', 0, 0, 80)", occurrence)
    await office.sql("UPDATE occurrence_parts SET node = NULL")
    await office.advance(6)
    assert await office.sql("SELECT winner, decided_at FROM occurrences") == [(None, decided_at)]
    found = {row[0]: row[3] for row in await office.recipients()}
    assert {found[one] for one in late} == {"a", "b"}


async def test_the_sample_keeps_its_own_variants_when_it_comes_late(office: Office) -> None:
    """The process was down when the campaign was planned, for longer than the test takes."""
    await office.people(200)
    test = VariantTest(sample=0.5, winner_by="conversions", after="1h")
    id_ = await office.launch(("a", "b"), test=test, conversion=Conversion(event="Order Completed"))
    await office.sql("UPDATE campaigns SET next_at = next_at - ? WHERE id = ?", 3 * HOUR, id_)
    await office.advance(6)
    statuses = await office.statuses()
    assert 60 < statuses[("queued", None)] < 140
    assert statuses[("queued", None)] + statuses[("waiting", None)] == 200
    assert {row[3] for row in await office.recipients() if row[1] == "queued"} == {"a", "b"}
    assert await office.sql("SELECT decided_at FROM occurrences") == [(None,)]


async def test_a_recurrence_has_an_occurrence_for_each_time(office: Office) -> None:
    await office.people(5)
    id_ = await office.launch(schedule=SendAgain(every="day", at="09:00"))
    for number in (1, 2):
        assert (await office.campaign(id_)).next_at is not None
        await office.sql("UPDATE campaigns SET next_at = ?", number)
        await office.advance()
        await office.sql("UPDATE messages SET status = 'sent', due_at = NULL")
        assert (await office.campaign(id_)).state is CampaignState.LIVE
    assert await office.sql("SELECT count(*), count(DISTINCT planned_at) FROM occurrences") == [(2, 2)]
    assert await office.sql("SELECT count(*) FROM messages") == [(10,)]


async def test_a_campaign_is_over_when_its_last_occurrence_is(office: Office) -> None:
    await office.people(5)
    id_ = await office.launch(schedule=SendAgain(every="day", at="09:00"))
    await office.sql("UPDATE campaigns SET next_at = 1")
    await office.advance()
    # The second one is the last of the recurrence, and is over before the first one.
    await office.sql("UPDATE campaigns SET next_at = 2")
    await office.engine._occurrences.advance()
    await office.sql("UPDATE campaigns SET next_at = NULL")
    await office.advance()
    first, second = (row[0] for row in await office.sql("SELECT id FROM occurrences ORDER BY id"))
    for occurrence in (second, first):
        assert (await office.campaign(id_)).state is CampaignState.LIVE
        await office.sql("UPDATE recipients SET status = 'sent' WHERE occurrence_id = ?", occurrence)
        await office.sql("DELETE FROM campaign_counts WHERE occurrence_id = ?", occurrence)
        await office.sql("INSERT INTO campaign_counts VALUES (?, 'status', 'sent', 0, '', 0, 0, 5)", occurrence)
        await office.advance()
        assert await office.sql("SELECT state FROM occurrences WHERE id = ?", occurrence) == [("done",)]
    assert (await office.campaign(id_)).state is CampaignState.FINISHED


async def test_the_occurrences_of_a_campaign_share_its_throttle(office: Office) -> None:
    await office.people(5)
    id_ = await office.launch(schedule=SendAgain(every="day", at="09:00"), throttle=Throttle(per_second=2))
    for number in (1, 2):
        await office.sql("UPDATE campaigns SET next_at = ?", number)
        await office.advance()
    assert await office.sql("SELECT DISTINCT throttle_id, count(*) FROM messages") == [(id_, 10)]
    assert await office.sql("SELECT DISTINCT throttle_id FROM occurrences") == [(id_,)]
    place = "SELECT per_second FROM buckets WHERE id = ?"
    assert await office.sql(place, id_) == [(2.0,)]

    async def throttle(rate: float | None) -> None:
        async def work(tx: Tx) -> None:
            campaign = await campaigns.lock_campaign(tx, 1, id_)
            given = None if rate is None else Throttle(per_second=rate)
            definition = msgspec.structs.replace(campaign.definition, throttle=given)
            await campaigns.change_campaign(tx, campaign, "News", definition, now_us())

        await office.world.database.transact(work)

    await throttle(None)
    assert (await office.sql(place, id_))[0][0] > 100_000
    # What changes while no occurrence is open holds for the next one.
    await office.sql("UPDATE occurrences SET state = 'done', ended_at = 1")
    await throttle(3)
    await office.sql("UPDATE campaigns SET next_at = 3")
    await office.advance()
    assert await office.sql(place, id_) == [(3.0,)]


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE connections SET status = 'disabled', version = version + 1", "no_connection"),
        ("UPDATE templates SET deleted_at = 1", "unknown_template"),
    ],
)
async def test_a_campaign_that_cannot_go_on_pauses_and_says_why(office: Office, statement: str, reason: str) -> None:
    await office.people(5)
    id_ = await office.launch()
    await office.sql(statement)
    await office.sql("UPDATE configurations SET version = version + 1 WHERE area = 'providers'")
    await office.engine.connections.refresh()
    await office.advance()
    campaign = await office.campaign(id_)
    assert (campaign.state, campaign.reason) == (CampaignState.PAUSED, reason)
    assert await office.statuses() == {("waiting", None): 5}
    notices = await office.sql("SELECT kind, about FROM notices")
    assert notices == [("campaign_paused", id_)]


async def test_a_throttle_spreads_the_messages_and_bounds_what_waits(office: Office) -> None:
    await office.people(60)
    began = now_us()
    await office.launch(throttle=Throttle(per_minute=120))
    await office.advance()
    due = [row[0] for row in await office.sql("SELECT due_at FROM messages ORDER BY due_at")]
    steps = {round((later - earlier) / 500_000) for earlier, later in pairwise(due)}
    assert steps == {1}, "two a second"
    # Five seconds of the throttle are handed over ahead, and the others wait.
    assert 10 <= len(due) <= 20
    assert await office.sql("SELECT max(recipients), sum(recipients) FROM occurrence_parts") == [(10, 60 - len(due))]
    assert due[0] >= began


async def test_an_engagement_counts_once_as_unique_and_machines_apart(office: Office) -> None:
    ids = await office.people(3)
    await office.launch()
    await office.advance()
    occurrence = public("occ", (await office.sql("SELECT id FROM occurrences"))[0][0])
    person, machine = (
        b'{"message":{"id":"msg_0000000000000001","occurrence_id":"%b"},"url":"https://a.example/x","machine":%b}'
        % (occurrence.encode(), word)
        for word in (b"false", b"true")
    )
    for data in (person, person, machine):
        await office.emit("email.opened", ids[0], data)
        await office.emit("email.clicked", ids[0], data)
    await office.emit("email.clicked", ids[1], person)
    await office.emit("email.unsubscribed", ids[1], person)
    # That of a message without a campaign is none.
    await office.emit("email.opened", ids[2], b'{"message":{"id":"msg_0000000000000002"}}')
    found = await office.overview()
    assert (found.opens.total, found.opens.unique, found.opens.machine) == (2, 1, 1)
    assert (found.clicks.total, found.clicks.unique, found.clicks.machine) == (3, 2, 1)
    links = [(one.url, one.total, one.unique, one.machine) for one in found.clicks.links]
    assert links == [("https://a.example/x", 3, 2, 1)]
    assert found.unsubscribes == 1


async def test_old_recipients_are_deleted_and_the_counts_stay(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    await office.people(30)
    await office.launch()
    await office.advance()
    before = await office.overview()
    assert await prune_campaigns(office.world.database, now_us() + (RECIPIENT_DAYS - 1) * DAY) == 0
    assert await prune_campaigns(office.world.database, now_us() + (RECIPIENT_DAYS + 1) * DAY) == 30
    assert await office.recipients() == []
    assert (await office.overview()) == before


async def test_a_large_audience_goes_in_steps(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("READ", 25), ("STEP", 10), ("PART", 4)):
        monkeypatch.setattr(occurrences, name, value)
    await office.people(60)
    await office.launch()
    await office.advance(30)
    assert await office.statuses() == {("queued", None): 60}
    assert await office.sql("SELECT audience, state FROM occurrences") == [(60, "sending")]
