"""Links and clicks on both stores: stored once, looked up together, counted with their event, and deleted in time."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.storage.conftest import Store
from tests.storage.test_messages import Office, _workspace, receipt
from waypost.clock import DAY, HOUR, SECOND, now_us
from waypost.domain.messaging.message import SendOutcome
from waypost.domain.tracking.click_events import CLICKS
from waypost.domain.tracking.clicks import Visit
from waypost.domain.tracking.tokens import KEY_BYTES, to_token
from waypost.domain.values.address_ranges import read_ranges
from waypost.domain.values.ids import internal, public
from waypost.engine.events.area import EventArea
from waypost.engine.messaging.area import MessagingArea
from waypost.engine.runtime.recorder import Recorder
from waypost.engine.tracking import links as links_module
from waypost.engine.tracking.area import TrackingArea
from waypost.engine.tracking.clicks import Click, ClickIntake
from waypost.engine.tracking.links import LinkCache, LinkTarget, NewLink, StoredLink, add_links, new_links, prune_links
from waypost.engine.tracking.settings import TrackingRegistry, UtmParameters, save_settings
from waypost.errors import Conflict, Unavailable
from waypost.storage.database import Database, Row, Tx

PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Mobile Safari/604.1"
URL = "https://shop.example/spring?a=1#b"


class Desk(Office):
    """An office that records clicks as well."""

    def __init__(self, database: Database, node: int = 1) -> None:
        super().__init__(database, node)
        self.intake = ClickIntake(self.journal, 100)
        self.area = TrackingArea(self.intake, read_ranges("203.0.113.0/24"))
        messaging = MessagingArea(self.encryption, self.routing, self._follow)
        self.recorder = Recorder(database, self.journal, self.ids, [EventArea(), messaging, self.area])
        self.cache = LinkCache(database)

    async def link(self, *targets: LinkTarget, days: int = 400) -> list[StoredLink]:
        """Store links for targets and look them up."""
        made = new_links(targets or [LinkTarget(workspace_id=1, url=URL)], now_us(), days)
        await self.database.transact(add_links, made)
        found = [await self.cache.find(link.id) for link in made]
        assert [link.id for link in found if link is not None] == [link.id for link in made]
        return [link for link in found if link is not None]

    async def click(self, link: StoredLink, *, at: int | None = None, nonce: str | None = None, **changes: Any) -> None:
        """Record one click."""
        values: dict[str, Any] = {"method": "GET", "ip": "192.0.2.1", "user_agent": PHONE} | changes
        done = self.intake.take(link, Visit(**values), now_us() if at is None else at, nonce or os.urandom(8).hex())
        assert done is not None
        await self.recorder.record(await self.journal.next_batch())
        await done

    async def counts(self, message_id: int) -> tuple[int, int]:  # type: ignore[override]
        """Clicks of people and of machines."""

        async def work(tx: Tx) -> Row | None:
            return await tx.row("click_counts.of_message", message_id=message_id)

        clicks, machine_clicks = await self.database.read(work) or (0, 0)
        return clicks, machine_clicks

    async def clicked(self) -> list[dict[str, Any]]:
        """The data of the clicks that are recorded, the oldest first."""
        return [data for type_, data in await self.events() if type_ in CLICKS]


@pytest.fixture
async def desk(database: Database) -> AsyncIterator[Desk]:
    await database.transact(_workspace)
    made = Desk(database)
    yield made
    await made.outbound.stop()


def of(message: Any, url: str = URL) -> LinkTarget:
    return LinkTarget(workspace_id=1, url=url, message_id=message.id, profile_id=message.profile_id)


async def test_links_are_found_as_they_were_stored(desk: Desk):
    first, second = await desk.link(
        LinkTarget(workspace_id=1, url=URL, message_id=5, profile_id=6),
        LinkTarget(workspace_id=1, url="http://é.example/ü"),
    )
    assert (first.url, first.location) == (URL, URL.encode())
    assert (first.workspace_id, first.message_id, first.profile_id) == (1, 5, 6)
    assert (second.message_id, second.profile_id) == (None, None)
    assert second.location == b"http://xn--9ca.example/%C3%BC"
    again = LinkCache(desk.database)
    assert await again.find(first.id) == first
    assert await again.find(first.id ^ 1) is None


def fixed(*keys: int) -> Any:
    """Random bytes that give these keys, one after another."""
    left = list(keys)

    def draw(count: int) -> bytes:
        taken = [left.pop(0) for _ in range(count // KEY_BYTES)]
        return b"".join(key.to_bytes(KEY_BYTES, "big") for key in taken)

    return draw


async def test_a_link_whose_id_is_taken_gets_another_one(desk: Desk):
    targets = [LinkTarget(workspace_id=1, url=f"https://a.example/{n}") for n in range(4)]
    first = new_links(targets[:1], now_us(), 400, fixed(7))
    assert await desk.database.transact(add_links, first) == []
    # The first is taken, two are alike, and what is drawn next is taken again.
    made = new_links(targets, now_us(), 400, fixed(7, 8, 8, 9))
    changed = await desk.database.transact(add_links, made, fixed(7, 9, 10, 11))
    assert [link.id for link in made] == [10, 8, 11, 9]
    assert changed == [(made[0], to_token(7)), (made[2], to_token(8))]
    for link in (*first, *made):
        stored = await desk.cache.find(link.id)
        assert stored is not None
        assert stored.url == link.target.url


async def test_two_processes_that_draw_one_id_at_once_are_told(store: Store):
    if store.dialect == "sqlite":
        return  # One writer at a time.
    one, other = store.open(), store.open()
    ready = asyncio.Barrier(2)

    async def work(tx: Tx, link: NewLink) -> None:
        await tx.rows("links.taken", ids=[link.id])
        await ready.wait()
        await tx.insert("links.add", [link.row()])

    links = [new_links([LinkTarget(workspace_id=1, url=URL)], now_us(), 1, fixed(7))[0] for _ in range(2)]
    done = await asyncio.gather(one.transact(work, links[0]), other.transact(work, links[1]), return_exceptions=True)
    # A Conflict: the recorder tries the batch again, and then the id is seen to be taken.
    assert [type(result) for result in done if result is not None] == [Conflict]
    lost = links[0] if isinstance(done[0], Conflict) else links[1]
    assert await one.transact(add_links, [lost], fixed(8)) == [(lost, to_token(7))]


async def test_many_look_ups_share_few_queries(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    stored = await desk.link(*(LinkTarget(workspace_id=1, url=f"https://a.example/{n}") for n in range(300)))
    cache = LinkCache(desk.database)
    asked = [*(link.id for link in stored), *(link.id for link in stored), *range(100)]
    found = await asyncio.gather(*(cache.find(id_) for id_ in asked))
    assert [link and link.url for link in found] == [*(link.url for link in stored)] * 2 + [None] * 100
    # The first look-up begins a query; all others wait for the next one.
    assert cache.reads <= 2
    before = cache.reads
    await asyncio.gather(*(cache.find(id_) for id_ in asked))
    assert cache.reads == before


async def test_what_is_cached_is_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(links_module, "CACHED_LINKS", 10)
    monkeypatch.setattr(links_module, "CACHED_ABSENT", 10)
    stored = await desk.link(*(LinkTarget(workspace_id=1, url=f"https://a.example/{n:02}") for n in range(30)))
    cache = LinkCache(desk.database)
    for id_ in (*(link.id for link in stored), *range(30)):
        await cache.find(id_)
    assert (len(cache._found), len(cache._absent)) == (10, 10)
    assert cache._characters == sum(len(link.url) for link in stored[-10:])
    assert [cache.cached(link.id) for link in stored] == [None] * 20 + stored[-10:]
    # The one that was used last stays longest.
    cache.cached(stored[20].id)
    await cache.find(stored[0].id)
    assert cache.cached(stored[20].id) is not None
    assert cache.cached(stored[21].id) is None
    monkeypatch.setattr(links_module, "CACHED_CHARACTERS", 40)
    await cache.find(stored[1].id)
    assert len(cache._found) == 2


async def test_no_more_look_ups_wait_than_are_allowed(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(links_module, "MOST_WAITING", 20)
    found = await asyncio.gather(*(desk.cache.find(id_) for id_ in range(30)), return_exceptions=True)
    assert found[:20] == [None] * 20
    assert [type(error) for error in found[20:]] == [Unavailable] * 10
    assert await desk.cache.find(31) is None


async def test_a_look_up_that_fails_is_asked_again(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    (link,) = await desk.link()
    cache = LinkCache(desk.database)

    async def away(*_: object) -> Any:
        raise Unavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(desk.database, "read", away)
        found = await asyncio.gather(cache.find(link.id), cache.find(link.id), cache.find(1), return_exceptions=True)
        assert [type(error) for error in found] == [Unavailable] * 3
        assert found[0] is not found[1]
    assert await cache.find(link.id) == link


async def test_a_request_that_goes_away_leaves_the_others_theirs(desk: Desk):
    (link,) = await desk.link()
    cache = LinkCache(desk.database)
    gone, stays = asyncio.create_task(cache.find(link.id)), asyncio.create_task(cache.find(link.id))
    await asyncio.sleep(0)
    gone.cancel()
    assert await stays == link


async def test_a_click_is_an_event_with_its_message(desk: Desk):
    message = desk.message(profile_id=42, campaign="spring", metadata='{"order":7}')
    await desk.submit(message)
    (link,) = await desk.link(of(message))
    at = now_us() - 3 * SECOND
    await desk.click(link, at=at)
    (data,) = await desk.clicked()
    assert data["message"] == {
        "id": public("msg", message.id), "channel": "sms", "to": "+12025550101", "status": "queued",
        "connection_id": public("con", 71), "campaign": "spring", "metadata": {"order": 7},
    }  # fmt: skip
    del data["message"]
    assert data == {
        "url": URL, "link_id": public("lnk", link.id), "ip": "192.0.2.1", "user_agent": PHONE, "device": "phone",
        "machine": False,
    }  # fmt: skip
    row = (await desk.database.read(_events))[-1]
    assert (row["type"], row["profile_id"], row["occurred_at"]) == ("message.clicked", 42, at)
    assert await desk.counts(message.id) == (1, 0)
    assert (desk.area.clicks, desk.area.machine_clicks, desk.intake.waiting) == (1, 0, 0)


async def _events(tx: Tx) -> list[dict[str, Any]]:
    return list(reversed(await tx.records("events.list", workspace_id=1, before=1 << 62, since=0, n=1000)))


async def test_every_click_counts_and_only_an_exact_retry_does_not(desk: Desk):
    message = desk.message()
    await desk.submit(message)
    (link,) = await desk.link(of(message))
    at = now_us()
    for nonce in ("a", "b", "a", "a"):
        await desk.click(link, at=at, nonce=nonce)
    await desk.click(link, user_agent="curl/8", nonce="c")
    assert len(await desk.clicked()) == 3
    assert await desk.counts(message.id) == (2, 1)
    assert (desk.intake.waiting, desk.intake.dropped) == (0, 0)


async def test_machines_are_flagged_and_counted_apart(desk: Desk):
    message = desk.message()
    await desk.submit(message)
    (link,) = await desk.link(of(message))
    await desk.click(link, method="HEAD")
    await desk.click(link, prefetch=True)
    await desk.click(link, ip="203.0.113.9")
    await desk.click(link, user_agent="WhatsApp/2.23")
    await desk.click(link)
    flagged = [(data["machine"], data.get("machine_reason"), data["device"]) for data in await desk.clicked()]
    assert flagged == [
        (True, "head", "phone"), (True, "prefetch", "phone"), (True, "datacenter", "phone"), (True, "preview", "bot"),
        (False, None, "phone"),
    ]  # fmt: skip
    assert await desk.counts(message.id) == (1, 4)


async def test_a_click_right_after_the_send_is_flagged(desk: Desk):
    message = desk.message()
    await desk.submit(message)
    (link,) = await desk.link(of(message))
    found = await desk.claim()
    await desk.click(link)
    await desk.settle(found, outcome=SendOutcome.ACCEPTED, provider_message_id="p-1")
    await desk.click(link)
    await desk.click(link, at=now_us() + 3 * SECOND)
    assert [data.get("machine_reason") for data in await desk.clicked()] == ["too_soon", "too_soon", None]
    assert [data["message"]["status"] for data in await desk.clicked()] == ["sending", "sent", "sent"]


async def test_a_link_outlives_its_message_and_may_have_none(desk: Desk):
    gone, none = await desk.link(
        LinkTarget(workspace_id=1, url=URL, message_id=77, profile_id=42), LinkTarget(workspace_id=1, url=URL)
    )
    await desk.click(gone)
    await desk.click(none)
    first, second = await desk.clicked()
    assert first["message"] == {"id": public("msg", 77)}
    assert "message" not in second
    assert [row["profile_id"] for row in await desk.database.read(_events)] == [42, None]
    assert await desk.counts(77) == (1, 0)


async def test_clicks_of_a_batch_cost_one_query_for_their_messages(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    messages = [desk.message(address=f"+120255501{n:02}") for n in range(20)]
    await desk.submit(*messages)
    stored = await desk.link(*(of(message) for message in messages))
    asked: list[str] = []
    # A look at what is asked, on the class of this store's transactions.
    kind = await desk.database.read(_kind)
    for name in ("row", "rows", "records", "run", "insert"):
        monkeypatch.setattr(kind, name, _watched(getattr(kind, name), asked))
    visit = Visit(method="GET", ip="192.0.2.1", user_agent=PHONE)
    for link in stored * 5:
        desk.intake.take(link, visit, now_us(), os.urandom(8).hex())
    await desk.recorder.record(await desk.journal.next_batch())
    assert asked == ["clicks.messages", "events.known", "events.insert", "click_counts.add"]
    assert await desk.counts(messages[0].id) == (5, 0)


async def _kind(tx: Tx) -> type:
    return type(tx)


def _watched(method: Any, asked: list[str]) -> Any:
    async def call(tx: Tx, query: str, *args: Any, **kwargs: Any) -> Any:
        asked.append(query)
        return await method(tx, query, *args, **kwargs)

    return call


async def test_clicks_stay_while_the_store_is_away(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    (link,) = await desk.link()
    monkeypatch.setattr("waypost.engine.runtime.recorder.PAUSE_S", 0)
    visit = Visit(method="GET", ip="192.0.2.1", user_agent=PHONE)
    futures = [desk.intake.take(link, visit, now_us(), str(n)) for n in range(120)]
    assert [future is None for future in futures] == [False] * 100 + [True] * 20
    assert (desk.intake.waiting, desk.intake.dropped) == (100, 20)

    async def away(*_: object) -> Any:
        raise Unavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(desk.database, "transact", away)
        for _ in range(3):
            await desk.recorder.record(await desk.journal.next_batch())
    assert not any(future.done() for future in futures if future is not None)
    await desk.recorder.record(await desk.journal.next_batch())
    assert all(future.done() for future in futures if future is not None)
    assert len(await desk.clicked()) == 100
    assert (desk.intake.waiting, desk.intake.dropped) == (0, 20)


async def test_a_click_that_cannot_be_recorded_holds_up_no_other(desk: Desk):
    good, bad = await desk.link(LinkTarget(workspace_id=1, url=URL), LinkTarget(workspace_id=1, url=URL))
    visit = Visit(method="GET", ip="192.0.2.1", user_agent=PHONE)
    broken = StoredLink(bad.id, "x", None, None, URL, bad.expires_at, b"")  # type: ignore[arg-type]
    futures = [desk.intake.take(link, visit, now_us(), "n") for link in (good, broken, good)]
    await desk.recorder.record(await desk.journal.next_batch())
    assert all(future is not None and future.done() for future in futures)
    assert (desk.intake.waiting, desk.intake.dropped) == (0, 1)
    assert len(await desk.clicked()) == 1


async def test_a_click_that_a_provider_reports_has_the_same_shape_and_counts(desk: Desk):
    message = desk.message(channel="email", address="ada@example.com")
    await desk.submit(message)
    said = {"url": URL, "ip": "192.0.2.1", "user_agent": PHONE}
    one = receipt(kind="engagement", event="message.clicked", message_id=message.id, receipt_id="r-1", properties=said)
    bot = receipt(
        kind="engagement", event="message.clicked", message_id=message.id, receipt_id="r-2",
        properties={"url": URL, "user_agent": "curl/8"},
    )  # fmt: skip
    unknown = receipt(kind="engagement", event="message.clicked", address="bob@example.com", receipt_id="r-3")
    await desk.hand_in([one, one, bot, unknown])
    await desk.hand_in([one])
    first, second, third = await desk.clicked()
    assert first["message"]["id"] == public("msg", message.id)
    assert first["properties"] == said
    assert said.items() <= first.items()
    assert (first["device"], first["machine"], first["connection_id"]) == ("phone", False, public("con", 71))
    assert (second["device"], second["machine"], second["machine_reason"]) == ("bot", True, "tool")
    assert (third["from"], third["device"], third["machine"]) == ("bob@example.com", "unknown", False)
    assert await desk.counts(message.id) == (1, 1)


async def test_links_and_counts_are_deleted_in_time(desk: Desk):
    now = now_us()
    message = desk.message()
    await desk.submit(message)
    kept, *_ = await desk.link(*(of(message) for _ in range(3)), days=1)
    await desk.click(kept)
    assert await prune_links(desk.database, now) == 0
    # Expired ones still get their page for a while.
    assert await prune_links(desk.database, now + 2 * DAY) == 0
    assert await LinkCache(desk.database).find(kept.id) == kept
    assert await prune_links(desk.database, now + 32 * DAY) == 3
    assert await LinkCache(desk.database).find(kept.id) is None
    assert await desk.counts(message.id) == (1, 0)
    assert await prune_links(desk.database, now + 400 * DAY + 2 * HOUR) == 1
    assert await desk.counts(message.id) == (0, 0)


async def test_a_workspace_has_a_tracking_domain_of_its_own(desk: Desk, store: Store):
    centers = {"global": "https://way.example", "india": "https://in.example"}
    registry, other = (TrackingRegistry(database, centers, 400) for database in (desk.database, store.open()))
    await registry.refresh()
    assert registry.get(1).short_url(0) == "https://way.example/c/000000000"
    assert (registry.get(1).link_days, registry.get(1).utm) == (400, None)
    given: dict[str, Any] = {"base_url": None, "data_center": "india", "link_days": None, "utm": None}
    await desk.database.transact(save_settings, 1, now_us(), **given)
    await registry.refresh([1])
    assert registry.get(1).base_url == "https://in.example"
    utm = UtmParameters(source="waypost", medium="sms")
    await desk.database.transact(
        save_settings, 1, now_us(), **given | {"base_url": "https://s.example", "link_days": 7, "utm": utm}
    )
    await other.refresh()
    assert (other.get(1).base_url, other.get(1).link_days, other.get(1).utm) == ("https://s.example", 7, utm)
    assert other.get(2).base_url == "https://way.example"
    assert utm.named("birthday") == {"utm_source": "waypost", "utm_medium": "sms", "utm_campaign": "birthday"}
    await desk.database.transact(save_settings, 1, now_us(), **given | {"data_center": "gone"})
    await other.refresh([1])
    assert other.get(1).base_url == "https://way.example"


async def test_the_data_of_a_click_names_the_message_that_is_counted(desk: Desk):
    message = desk.message()
    await desk.submit(message)
    (link,) = await desk.link(of(message))
    await desk.click(link)
    row = (await desk.database.read(_events))[-1]
    assert internal("msg", json.loads(row["data"])["message"]["id"]) == message.id
    assert Click not in MessagingArea.takes
