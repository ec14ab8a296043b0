"""Messages sent by the real engine to the sink's providers: the result and the time of each send."""

import asyncio
import base64
import contextlib
import functools
import itertools
import json
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import apsw
import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.engine.conftest import Outside, World, close_world, eventually, open_world
from tests.services import postgres_server
from tests.storage.test_messages import FIRST, SECOND_ONE, Office, _workspace, connection, receipt
from waypost.cli.serve import make_server
from waypost.clock import HOUR, SECOND, Ids, iso, now_us
from waypost.domain.audience.subscriptions import SubscriptionChange, SubscriptionState
from waypost.domain.messaging.message import Content, Outgoing, SendOutcome, Status, Verdict
from waypost.domain.messaging.request import MessageRequest
from waypost.domain.messaging.status import Transition
from waypost.domain.values.circuit_breaker import FAILURE_THRESHOLD
from waypost.domain.values.ids import public
from waypost.engine.audience.subscriptions import set_subscriptions
from waypost.engine.messaging import sending
from waypost.engine.messaging.by_hand import cancel, repeat, take_by_hand
from waypost.engine.messaging.connection_lane import MOST_AHEAD, ConnectionLane, divide
from waypost.engine.messaging.queue import claim, recover_orphaned, reroute_queued
from waypost.engine.messaging.recording import SendResult
from waypost.engine.messaging.transitions import Transitions
from waypost.engine.messaging.unowned import UNOWNED_S, UnownedMessages
from waypost.engine.process import Engine
from waypost.engine.providers import connection_records
from waypost.engine.providers.connectors import shipped
from waypost.engine.providers.registry import TRACKER_PATH
from waypost.engine.runtime import nodes
from waypost.engine.runtime.unit import Unit
from waypost.errors import Conflict, Unavailable
from waypost.settings import load_settings
from waypost.sink.thread_runner import running
from waypost.storage.database import Tx
from waypost.storage.postgres import Postgres
from waypost.storage.sqlite import SQLite

#: A project that its keys may not access: the provider refuses every call.
DENIED = "denied0000000000000000000000000f"


def number(n: int) -> str:
    """Return a phone number to which the sink delivers normally."""
    return f"+1202{2_000_000 + n * 10 + 5}"


def fated(digits: str) -> str:
    """Return a phone number whose last digits decide the result at the sink."""
    return f"+120255500{digits}"


class Post:
    """An engine with connections to the providers of the sink."""

    def __init__(self, world: World, outside: Outside) -> None:
        self.world = world
        self.engine = world.engine
        self.outside = outside
        self.keys: dict[int, str] = {}

    async def connect(self, connector: str = "aws-pinpoint", *, port: int = 0, **changes: Any) -> int:
        """Create a connection of the first workspace, `config` merged with the values for the sink; return its id."""
        engine = self.engine
        base = f"http://127.0.0.1:{port or self.outside.port}"
        configs: dict[str, dict[str, Any]] = {
            "aws-pinpoint": {
                "region": "us-east-1",
                "project_id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
                "access_key": "AKIAIOSFODNN7EXAMPLE",
                "secret_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                "endpoint_url": base,
            },
            "http": {"url": f"{base}/gateway/send", "auth": "bearer", "token": "made-up"},
            "klaviyo": {"host": f"{base}/klaviyo", "api_key": "pk_made_up"},
            "smtp": {"host": "127.0.0.1", "security": "none", "from_email": "shop@example.com"},
        }
        definition = shipped()[connector]
        config = configs[connector] | changes.pop("config", {})
        name = changes.pop("name", f"{connector} {len(self.keys)}")
        draft = connection_records.check_draft(
            connection_records.ConnectionDraft(name=name, config=config, **changes),
            definition,
            engine.connections.data_centers,
        )
        key = connection_records.make_receipts_key()
        account = await engine.database.transact(
            connection_records.create_connection,
            engine.ids,
            engine.encryption,
            1,
            definition,
            draft,
            key,
            None,
            now_us(),
        )
        await engine.connections.refresh([1])
        self.keys[account.id] = key
        return account.id

    async def switch(self, connection_id: int, enabled: bool) -> None:
        """Enable or disable a connection as the API does."""
        engine = self.engine
        await engine.database.transact(
            connection_records.switch_connection, engine.encryption, 1, connection_id, enabled, now_us()
        )
        await engine.connections.refresh([1])

    async def mend(self, connection_id: int, **config: Any) -> None:
        """Change the configuration of a connection to one that works."""
        engine = self.engine

        async def work(tx: Tx) -> None:
            account = await connection_records.find_connection(tx, engine.encryption, 1, connection_id)
            draft = connection_records.ConnectionDraft(
                name=account.name, config=account.config | config, position=account.position
            )
            await connection_records.change_connection(
                tx, engine.encryption, account, draft, None, now_us(), fixed=True
            )

        await engine.database.transact(work)
        await engine.connections.refresh([1])

    async def account(self, connection_id: int) -> connection_records.ConnectionRecord:
        """Return the record of a connection."""
        return await self.engine.database.read(
            connection_records.find_connection, self.engine.encryption, 1, connection_id
        )

    async def send(self, to: str, **wanted: Any) -> int:
        """Send one message; return its id."""
        values = {"channel": "sms", "text": "Hi"} | wanted if "metric" not in wanted else wanted
        answer = await self.engine.messages.submit_one(1, MessageRequest(to=to, **values), None, now_us())
        return int(json.loads(answer.body)["id"][4:], 16)

    async def send_many(self, addresses: list[str], *, per_second: float | None = None, **wanted: Any) -> list[int]:
        """Send many messages in one batch; return their ids."""
        asked = [MessageRequest(to=to, **({"channel": "sms", "text": "Hi"} | wanted)) for to in addresses]
        answer = await self.engine.messages.submit_many(
            1, asked, None, now_us(), per_second=per_second, skip_duplicates=False
        )
        return [int(line["id"][4:], 16) for line in json.loads(answer.body)["data"]]

    async def look(self, id_: int) -> dict[str, Any]:
        """Return a message, with its history as a list of entries."""
        row = (await self.world.ask("messages.get", workspace_id=1, id=id_))[0]
        return row | {"history": json.loads(f"[{row['history']}]")}

    async def came_to(self, id_: int, *statuses: str) -> dict[str, Any]:
        """Return the message once it has one of these statuses."""

        async def check() -> dict[str, Any] | None:
            found = await self.look(id_)
            return found if found["status"] in statuses else None

        found: dict[str, Any] = await eventually(check)
        return found

    async def all(self) -> list[dict[str, Any]]:
        """Return all messages of the workspace."""
        return await self.world.ask("messages.list", workspace_id=1, before=1 << 62, since=0, n=100_000)

    async def statuses(self) -> Counter[str]:
        """Return the number of messages by status."""
        return Counter(row["status"] for row in await self.all())

    async def reached(self, **wanted: int) -> Counter[str]:
        """Return the number of messages by status, once these statuses have these numbers."""

        async def check() -> Counter[str] | None:
            found = await self.statuses()
            return found if all(found[status] == count for status, count in wanted.items()) else None

        found: Counter[str] = await eventually(check)
        return found

    def taken(self, provider: str = "pinpoint") -> list[dict[str, Any]]:
        """Return the messages that a provider accepted, oldest first."""
        found: list[dict[str, Any]] = []
        after: str | None = "0"
        while after is not None:
            page = self.outside.ask("GET", f"/sent?provider={provider}&limit=1000&after={after}")
            found += page["data"]
            after = page["next"]
        return found

    def calls(self) -> list[dict[str, Any]]:
        """Return the calls to Pinpoint, oldest first."""
        return [call for call in self.outside.received("pinpoint") if call["method"] == "POST"]

    def fate(self, provider: str = "pinpoint", **settings: Any) -> None:
        """Set how a provider responds from now on."""
        self.outside.ask("PUT", f"/fate/{provider}", settings)

    async def drained(self) -> None:
        """Return once nothing is being sent or about to be."""
        sender = self.engine.sender
        await eventually(lambda: not (sender.in_flight or sender._claiming or sender._lanes or sender._held))

    async def turns(self, count: int = 3) -> None:
        """Poll the database this many times for due messages; each time, wait until they are sent."""
        for _ in range(count):
            await self.engine.sender.poll_due()
            await self.drained()


@pytest.fixture
def sunk() -> Iterator[Outside]:
    """A sink for one test, because responses are set for all messages of a provider."""
    with running() as sink:
        yield Outside(sink)


@pytest.fixture
async def post(tmp_path: Path, sunk: Outside) -> AsyncIterator[Post]:
    world = await open_world(tmp_path, retry_base=0.8)
    yield Post(world, sunk)
    await close_world(world)


def told(record: dict[str, Any]) -> list[str]:
    """Return the statuses of a message, in order."""
    return [line["status"] for line in record["history"] if not line.get("noted")]


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


async def kill_world(world: World) -> None:
    """Abandon an engine and its calls in progress, as `kill -9` would."""
    engine = world.engine
    # A dead process starts no calls.
    engine.sender._draining = True
    tasks = [*engine.scheduler._tasks, engine._recording, *engine.sender._claiming.values(), *engine.sender._calls]
    for task in tasks:
        if task is not None:
            task.cancel()
    await asyncio.gather(*(task for task in tasks if task is not None), return_exceptions=True)
    await engine.outbound.stop()
    await world.database.close()


def addresses_of(call: dict[str, Any]) -> list[str]:
    return list(json.loads(call["body"])["Addresses"])


async def test_calls_take_a_hundred_addresses_each_with_a_text_of_its_own(post: Post):
    await post.connect()
    wanted = [MessageRequest(to=number(n), channel="sms", text="Hi {{ n }}", variables={"n": n}) for n in range(250)]
    await post.engine.messages.submit_many(1, wanted, None, now_us(), per_second=None, skip_duplicates=True)
    await post.reached(sent=250)
    calls = post.calls()
    assert all(len(addresses_of(call)) <= 100 for call in calls)
    # The messages are not sent one by one.
    assert len(calls) < 20
    assert {(sent["address"], sent["body"]) for sent in post.taken()} == {(number(n), f"Hi {n}") for n in range(250)}
    assert all(row["provider_message_id"] for row in await post.all())


async def test_two_texts_to_one_number_leave_in_two_calls(post: Post):
    await post.connect()
    await post.send_many([number(1), number(2), number(1), number(1)])
    await post.reached(sent=4)
    assert Counter(address for call in post.calls() for address in addresses_of(call)) == {number(1): 3, number(2): 1}
    assert len(post.taken()) == 4


ANSWERED = {
    "04": ("failed", 9988, "opted_out", "OPT_OUT"),
    "07": ("failed", 9988, "unknown", "UNKNOWN_FAILURE"),
    "09": ("failed", 2021, "duplicate", "DUPLICATE"),
    "10": ("failed", 2003, "invalid_number", "PERMANENT_FAILURE"),
    "11": ("failed", 9988, "permanent", "PERMANENT_FAILURE"),
    "12": ("sent", None, None, None),
    "13": ("sent", None, None, None),
    "30": ("sent", None, None, None),
}


async def test_every_answer_for_an_address_ends_as_it_should(post: Post):
    await post.connect()
    ids = dict(zip(ANSWERED, await post.send_many([fated(digits) for digits in ANSWERED]), strict=True))
    for digits, id_ in ids.items():
        status, code, reason, provider_code = ANSWERED[digits]
        record = await post.came_to(id_, status)
        assert (record["code"], record["reason"], record["provider_code"]) == (code, reason, provider_code), digits
        again = ["queued", "sending"] if digits in ("12", "13") else []
        assert told(record) == ["queued", "sending", *again, status], digits
    # An address that opted out at the provider gets no more messages, and the provider is not called.
    await post.drained()
    before = len(post.calls())
    id_ = await post.send(fated("04"))
    record = await post.came_to(id_, "skipped")
    assert (record["reason"], len(post.calls())) == ("not_consented", before)


@pytest.mark.parametrize(("digits", "code", "reason"), [("05", 2020, "throttled"), ("06", 2009, "temporary")])
async def test_what_is_too_fast_is_tried_until_its_time_is_over(post: Post, digits: str, code: int, reason: str):
    await post.connect(validity_s=1)
    id_ = await post.send(fated(digits))
    other = await post.send(number(1))
    await post.came_to(other, "sent")
    record = await post.came_to(id_, "failed")
    assert (record["code"], record["reason"]) == (code, reason)
    assert record["tries"] >= 4
    assert record["status_at"] <= record["expires_at"] + SECOND
    tries = [line["at"] for line in record["history"] if line["status"] == "sending"]
    waits = [later - earlier for earlier, later in itertools.pairwise(tries)]
    # The wait starts at 10 ms and about doubles each time; the clock and the poll only add to it.
    assert all(wait >= 0.008 * SECOND * 2**position for position, wait in enumerate(waits)), waits
    assert len([call for call in post.calls() if fated(digits) in addresses_of(call)]) == record["tries"]


@pytest.mark.parametrize("status", [500, 503])
async def test_in_an_outage_nothing_is_sent_twice(post: Post, status: int):
    await post.connect(concurrency=1)
    post.fate(error_rate=1, error_status=status)
    first = [await post.send(number(n)) for n in range(FAILURE_THRESHOLD)]

    async def unknown(ids: list[int]) -> bool:
        return all([(await post.look(id_))["status"] == "unknown" for id_ in ids])

    await eventually(lambda: unknown(first))
    asked = Counter(address for call in post.calls() for address in addresses_of(call))
    assert asked == {number(n): 1 for n in range(FAILURE_THRESHOLD)}
    rows = [await post.look(id_) for id_ in first]
    assert {(row["code"], row["reason"], row["tries"]) for row in rows} == {(9988, "provider_5xx", 1)}


async def test_a_call_that_is_not_taken_as_a_whole_is_made_again(post: Post):
    status, code, reason = 429, 2020, "throttled"
    await post.connect()
    post.fate(error_rate=1, error_status=status)
    await post.send_many([number(n) for n in range(20)])

    async def retried() -> bool:
        rows = await post.all()
        return all(row["tries"] >= 2 for row in rows) and any(row["code"] == code for row in rows)

    await eventually(retried)
    assert not post.taken()
    post.fate()
    await post.reached(sent=20)
    assert Counter(sent["address"] for sent in post.taken()) == {number(n): 1 for n in range(20)}
    row = (await post.all())[0]
    lines = (await post.look(row["id"]))["history"]
    # A part that was claimed when the connection began to fail went back untried.
    reasons = {line.get("reason") for line in lines if line["status"] == "queued"}
    assert {None, reason} <= reasons <= {None, reason, "unsent"}


async def test_a_configuration_error_pauses_the_connection_once_and_fails_nobody(post: Post):
    id_ = await post.connect(config={"project_id": DENIED}, concurrency=8)
    await post.send_many([number(n) for n in range(300)])

    async def paused() -> bool:
        return (await post.account(id_)).status == "paused"

    await eventually(paused)
    await post.drained()
    calls = len(post.calls())
    account = await post.account(id_)
    assert (account.status_reason, bool(account.last_error)) == ("configuration", True)
    notices = await post.world.ask("notices.list", workspace_id=1, before=1 << 62, n=100)
    assert [notice["kind"] for notice in notices] == ["connection_paused"]
    assert await post.statuses() == {"queued": 300}
    # Nothing is sent until the connection is corrected.
    await post.send(number(301))
    await post.turns()
    assert len(post.calls()) == calls
    assert not post.taken()
    await post.mend(id_, project_id="0f1e2d3c4b5a69788796a5b4c3d2e1f0")
    await post.reached(sent=301)
    assert Counter(sent["address"] for sent in post.taken()).most_common(1)[0][1] == 1


async def test_a_connection_that_may_not_send_is_left_alone(post: Post):
    id_ = await post.connect()
    await post.send(number(1), send_at=soon(3600))
    await post.switch(id_, False)
    turns = 0
    work = post.engine.sender._work

    async def count(connection_id: int) -> None:
        nonlocal turns
        turns += 1
        await work(connection_id)

    post.engine.sender._work = count  # type: ignore[method-assign]
    for _ in range(3):
        post.engine.sender.wake([id_])
        await post.drained()
    # The lane does not wake itself again and again.
    assert turns <= 6
    assert not post.engine.sender._lanes


async def test_what_was_taken_without_an_answer_is_unknown_and_repeated_only_by_hand(post: Post):
    await post.connect()
    post.fate(lost_answer_rate=1, receipts=False)
    ids = await post.send_many([number(n) for n in range(30)])
    await post.reached(unknown=30)
    assert len(post.taken()) == 30
    record = await post.look(ids[0])
    assert (record["reason"], record["due_at"], record["tries"]) == ("no_answer", None, 1)
    listed = await post.world.ask("messages.list_unknown", workspace_id=1, before=1 << 62, since=0, n=100)
    assert {row["id"] for row in listed} == set(ids)
    post.fate()
    await post.turns()
    assert len(post.taken()) == 30
    await post.engine.messages.repeat(1, ids[0])
    record = await post.came_to(ids[0], "sent")
    assert told(record) == ["queued", "sending", "unknown", "queued", "sending", "sent"]
    await post.drained()
    assert Counter(sent["address"] for sent in post.taken()) == {number(n): 2 if n == 0 else 1 for n in range(30)}
    with pytest.raises(Conflict, match="is sent"):
        await post.engine.messages.repeat(1, ids[0])
    assert (await post.statuses()) == {"unknown": 29, "sent": 1}


async def test_a_connection_that_takes_nothing_is_spared_until_it_recovers(post: Post):
    known = post.engine.connections
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        ill = await post.connect("http", config={"url": f"http://127.0.0.1:{nobody.getsockname()[1]}/gateway/send"})
        await post.send_many([number(n) for n in range(10)], connection_id=public("con", ill))
        # The circuit breaker stays open longer each time, a third of a second now.
        await eventually(lambda: known.health(ill).failures >= FAILURE_THRESHOLD + 5)
        assert known.failing(ill)
        well = await post.connect()
        assert [connection.id for connection in known.preferred(1, "sms")] == [well, ill]
        free = await post.send(number(20))
        record = await post.came_to(free, "sent")
        assert (record["connection_id"], record["tries"]) == (well, 1)
        # The messages that are pinned to it were not sent.
        assert {row["status"] for row in await post.all() if row["id"] != free} == {"queued"}
    await post.mend(ill, url=f"http://127.0.0.1:{post.outside.port}/gateway/send")
    await post.reached(sent=11)
    assert (known.health(ill).failures, known.failing(ill)) == (0, False)


@pytest.mark.parametrize("refusal", ["refused", "throttled"])
async def test_the_next_connection_gets_what_the_first_surely_did_not_take(post: Post, refusal: str):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        first = await post.connect(port=port if refusal == "refused" else 0)
        second = await post.connect("http")
        if refusal == "throttled":
            post.fate(error_rate=1, error_status=429)
        await post.send_many([number(n) for n in range(25)])
        await post.reached(sent=25)
    rows = await post.all()
    assert {(row["connection_id"], row["tries"]) for row in rows} == {(second, 2)}
    lines = (await post.look(rows[0]["id"]))["history"]
    assert [line["connection"] for line in lines if line["status"] == "sending"] == [first, second]
    assert Counter(sent["address"] for sent in post.taken("gateway")) == {number(n): 1 for n in range(25)}
    assert not post.taken()


async def test_what_may_have_been_taken_stays_with_the_first_connection(post: Post):
    first = await post.connect()
    await post.connect("http")
    post.fate(lost_answer_rate=1, receipts=False)
    await post.send_many([number(n) for n in range(10)])
    await post.reached(unknown=10)
    await post.drained()
    assert {row["connection_id"] for row in await post.all()} == {first}
    assert not post.taken("gateway")


async def test_a_message_for_one_connection_goes_through_no_other(post: Post):
    first = await post.connect(validity_s=1)
    await post.connect("http")
    post.fate(error_rate=1, error_status=429)
    pinned = await post.send(number(1), connection_id=public("con", first))
    free = await post.send(number(2))
    await post.came_to(free, "sent")
    record = await post.came_to(pinned, "failed")
    assert (record["connection_id"], record["code"], record["reason"]) == (first, 2020, "throttled")
    assert [sent["address"] for sent in post.taken("gateway")] == [number(2)]
    # They do not use another connection even if theirs is paused, disabled or deleted.
    post.fate()
    due = soon(0.3)
    waits = await post.send(number(3), connection_id=public("con", first), send_at=due, validity=600)
    await post.switch(first, False)
    await past(due)
    await post.turns()
    assert (await post.look(waits))["status"] == "queued"
    await post.switch(first, True)
    assert (await post.came_to(waits, "sent"))["connection_id"] == first


def soon(seconds: float) -> str:
    """Return a time from now, as the API accepts it."""
    return iso(now_us() + int(seconds * SECOND))


async def past(time: str) -> None:
    """Return once this time has passed."""
    await eventually(lambda: iso(now_us()) > time)


async def test_what_must_not_be_sent_any_more_is_skipped_and_said_why(post: Post):
    await post.connect()
    now = now_us()
    ids = await post.send_many([number(n) for n in range(4)], send_at=soon(0.4))
    promotion = await post.send(number(4), send_at=soon(0.4), purpose="promotional")

    def said(n: int, state: str) -> SubscriptionChange:
        return SubscriptionChange(1, "sms", number(n), SubscriptionState(state), "form", now)

    async def work(tx: Tx, unit: Unit) -> None:
        await tx.insert("suppressions.add", [(1, "sms", number(0), "complained", None, None, now)])
        # Of another workspace, and of another channel.
        await tx.insert("suppressions.add", [(2, "sms", number(1), "manual", None, None, now)])
        await tx.insert("suppressions.add", [(1, "email", number(1), "manual", None, None, now)])
        words = {2: "unsubscribed", 3: "subscribed", 4: "unsubscribed"}
        await set_subscriptions(tx, [said(n, state) for n, state in words.items()], unit)

    await post.engine.recorder.perform(work)
    await post.reached(sent=2, skipped=3)
    ends = [await post.look(id_) for id_ in [*ids, promotion]]
    assert [(end["status"], end["reason"]) for end in ends] == [
        ("skipped", "suppressed"),
        ("sent", None),
        ("skipped", "not_consented"),
        ("sent", None),
        ("skipped", "not_consented"),
    ]
    assert {sent["address"] for sent in post.taken()} == {number(1), number(3)}


async def test_a_message_waits_for_its_time_and_can_be_cancelled_until_then(post: Post):
    await post.connect()
    began = time.monotonic()
    later, never, far = (
        await post.send(number(1), send_at=soon(0.7)),
        await post.send(number(2), send_at=soon(0.7)),
        await post.send(number(3), send_at=soon(3600)),
    )
    assert b'"skipped"' in (await post.engine.messages.cancel(1, never)).body
    assert (await post.look(never))["reason"] == "cancelled"
    await post.came_to(later, "sent")
    assert time.monotonic() - began >= 0.7
    for id_, status in ((later, "sent"), (never, "skipped")):
        with pytest.raises(Conflict, match=f"is {status}"):
            await post.engine.messages.cancel(1, id_)
    record = await post.look(far)
    assert (record["status"], record["expires_at"] > record["due_at"]) == ("queued", True)
    assert [sent["address"] for sent in post.taken()] == [number(1)]


async def test_what_could_not_be_sent_in_its_time_has_expired(post: Post):
    id_ = await post.connect()
    away = await post.connect(config={"project_id": DENIED})
    await post.switch(id_, False)
    # Only the second connection is enabled; it is paused at the first message.
    first = await post.send(number(1), validity=5)

    async def hurry(tx: Tx) -> None:
        await tx.run("messages.extend", id=first, expires_at=now_us() - 1)

    async def paused() -> bool:
        return (await post.account(away)).status == "paused"

    await eventually(paused)
    await post.engine.database.transact(hurry)
    record = await post.came_to(first, "failed")
    assert (record["code"], record["reason"]) == (2008, "expired")


async def paces(post: Post, addresses: set[str]) -> tuple[list[float], list[float]]:
    """Return when messages were claimed, and when the provider accepted them, in seconds."""
    records = [await post.look(row["id"]) for row in await post.all() if row["address"] in addresses]
    let = sorted(line["at"] / SECOND for record in records for line in record["history"] if line["status"] == "sending")
    took = sorted(moment(sent["at"]) for sent in post.taken() if sent["address"] in addresses)
    return let, took


def most_within(times: list[float], window: float) -> int:
    """Return the most of these times within one window."""
    return max(sum(1 for other in times if at <= other < at + window) for at in times)


async def test_a_limit_per_second_is_held(post: Post):
    await post.connect(per_second=20)
    await post.send_many([number(n) for n in range(40)])
    await post.reached(sent=40)
    let, took = await paces(post, {number(n) for n in range(40)})
    assert len(let) == len(took) == 40
    # The bucket had one token at the start.
    assert all(most_within(let, window) <= 20 * window + 1 for window in (0.25, 0.5, 1.0)), let
    assert 1.8 < took[-1] - took[0] < 6


async def test_a_throttled_batch_keeps_its_pace_beside_another_one(post: Post):
    await post.connect()
    slow, quick = {number(n) for n in range(30)}, {number(n) for n in range(100, 200)}
    await post.send_many(sorted(slow), per_second=25)
    await post.send_many(sorted(quick))
    await post.reached(sent=130)
    let, took = await paces(post, slow)
    assert len(took) == 30
    # Messages that were delayed may exceed the rate by a few.
    assert all(most_within(let, window) <= 25 * window + 5 for window in (0.2, 0.8)), let
    assert 0.9 < took[-1] - took[0] < 4
    assert (await paces(post, quick))[1][-1] - took[0] < 1


async def test_what_is_sent_under_a_number_that_no_process_has_is_settled_on_sqlite_too(post: Post):
    await post.connect()
    sender = post.engine.sender
    sender._draining = True
    lost = await post.send(number(1))
    await post.world.database.transact(_send_under, lost, 77)
    sender._unowned = UnownedMessages(post.world.database, iter((0.0, UNOWNED_S - 1, UNOWNED_S)).__next__)
    assert [await sender._unowned.orphan() for _ in range(3)] == [0, 0, 1]
    found = await post.came_to(lost, "unknown")
    assert (found["reason"], told(found)) == ("interrupted", ["queued", "unknown"])


async def _send_under(tx: Tx, id_: int, node: int) -> None:
    """Put a message into the state that a claim of another process gives it."""
    statement = "UPDATE messages SET status = 'sending', due_at = NULL, tries = 1, node = ? WHERE id = ?"
    tx._connection.execute(statement, (node, id_))  # type: ignore[attr-defined]


async def test_no_more_calls_at_once_than_the_connection_allows(post: Post):
    await post.connect(concurrency=1)
    post.fate(latency=0.1)
    # One by one, so that the lane is idle for each.
    for n in range(6):
        await post.send(number(n))
        await eventually(lambda: not post.engine.sender._lanes)
    await post.reached(sent=6)
    times = [moment(call["at"]) for call in post.calls()]
    assert all(later - earlier >= 0.095 for earlier, later in itertools.pairwise(times)), times


async def test_stopping_waits_for_what_is_on_the_wire_and_keeps_the_rest(tmp_path: Path, sunk: Outside):
    world = await open_world(tmp_path, retry_base=0.8)
    post = Post(world, sunk)
    await post.connect(concurrency=2)
    post.fate(latency=0.4)
    await post.send_many([number(n) for n in range(500)])
    await eventually(lambda: len(post.calls()) >= 2)
    await close_world(world)
    taken = len(post.taken())
    assert 0 < taken < 500
    post.fate()
    world = await open_world(tmp_path, retry_base=0.8)
    post = Post(world, sunk)
    try:
        assert "unknown" not in await post.statuses()
        await post.reached(sent=500)
        assert Counter(sent["address"] for sent in post.taken()) == {number(n): 1 for n in range(500)}
    finally:
        await close_world(world)


async def test_what_a_killed_process_had_on_the_wire_is_unknown_and_the_rest_is_sent(tmp_path: Path, sunk: Outside):
    world = await open_world(tmp_path, retry_base=0.8)
    post = Post(world, sunk)
    await post.connect(concurrency=2)
    for turn in range(3):
        post.fate(latency=0.3, receipts=False)
        await post.send_many([number(turn * 300 + n) for n in range(300)])
        await eventually(functools.partial(_two_calls, post, 2 * turn))
        await kill_world(world)
        world = await open_world(tmp_path, retry_base=0.8)
        post = Post(world, sunk)
    try:
        post.fate()
        await eventually(functools.partial(_all_settled, post))
        counts = await post.statuses()
        assert sum(counts.values()) == 900
        # What was on the wire at a kill, and what had been sent and was not recorded yet.
        assert counts["unknown"] >= 200
        assert counts["sent"] >= 100
        assert counts.keys() <= {"sent", "unknown"}
        taken = Counter(sent["address"] for sent in post.taken())
        assert set(taken.values()) == {1}
        rows = await post.all()
        assert all(row["address"] in taken for row in rows if row["status"] == "sent")
        assert {row["reason"] for row in rows if row["status"] == "unknown"} == {"interrupted"}
    finally:
        await close_world(world)


def _two_calls(post: Post, after: int) -> bool:
    """Return whether two calls are in progress and this many messages have a result."""
    return post.engine.sender.in_flight == 2 and sum(post.engine.sender.outcomes.values()) >= after


async def _all_settled(post: Post) -> bool:
    return not (await post.statuses()).keys() & {"queued", "sending"}


async def test_a_repeat_that_the_provider_knows_for_one_is_sent_again_after_a_kill(tmp_path: Path, sunk: Outside):
    world = await open_world(tmp_path, retry_base=0.8)
    post = Post(world, sunk)
    await post.connect("klaviyo", concurrency=4)
    post.fate("klaviyo", latency=0.3)
    ids = [await post.send(f"user{n}@example.com", channel="event", metric="Ordered") for n in range(12)]
    await eventually(lambda: post.engine.sender.in_flight >= 3)
    await eventually(lambda: sunk.count("klaviyo") == post.engine.sender.in_flight)
    under_way = sunk.count("klaviyo")
    await kill_world(world)
    world = await open_world(tmp_path, retry_base=0.8)
    post = Post(world, sunk)
    try:
        post.fate("klaviyo")
        await post.reached(sent=12)
        assert sunk.count("klaviyo") == 12 + under_way
        taken = post.taken("klaviyo")
        assert len(taken) == len({event["mid"] for event in taken}) == 12
        again = [row for row in [await post.look(id_) for id_ in ids] if row["tries"] == 2]
        assert len(again) == under_way
        assert told(again[0]) == ["queued", "sending", "queued", "sending", "sent"]
    finally:
        await close_world(world)


@pytest.mark.parametrize("others", [False, True])
async def test_what_waits_at_a_deleted_connection_goes_elsewhere_or_fails(post: Post, others: bool):
    first = await post.connect()
    if others:
        await post.connect("http")
    free = await post.send(number(1), send_at=soon(0.3))
    pinned = await post.send(number(2), connection_id=public("con", first), send_at=soon(0.3))
    await post.engine.database.transact(connection_records.delete_connection, 1, first, now_us())
    await post.engine.connections.refresh([1])
    record = await post.came_to(pinned, "failed")
    assert (record["code"], record["reason"]) == (9988, "connection_deleted")
    record = await post.came_to(free, "sent" if others else "failed")
    if others:
        assert [sent["address"] for sent in post.taken("gateway")] == [number(1)]
        assert [line.get("reason") for line in record["history"]][:2] == [None, "rerouted"]
    assert not post.taken()


async def test_a_connection_that_another_process_has_enabled_keeps_its_messages(post: Post):
    # The snapshot of this process is a second old; the database decides.
    first = await post.connect()
    second = await post.connect("http")
    await post.switch(first, False)
    await post.engine.scheduler.stop()
    await post.engine.database.transact(
        connection_records.switch_connection, post.engine.encryption, 1, first, True, now_us()
    )
    order = await post.engine.database.read(connection_records.find_connection, post.engine.encryption, 1, first)
    assert order.status == "enabled"
    id_ = await post.send(number(1), connection_id=public("con", second), send_at=soon(600))

    async def place(tx: Tx) -> None:
        transitions = Transitions(Unit(post.engine.ids, now_us()))
        await transitions.load(tx, [id_])
        transitions.apply(
            transitions.states[id_],
            Transition(status=Status.QUEUED, at=now_us(), due_at=now_us() + HOUR, connection_id=first),
        )
        transitions.states[id_].pinned = 0
        await transitions.write(tx)

    await post.engine.database.transact(place)
    await post.engine.sender.recover()
    assert (await post.look(id_))["connection_id"] == first


@contextlib.asynccontextmanager
async def heard(post: Post, connection_id: int) -> AsyncIterator[None]:
    """Serve the engine over HTTP, and let the AWS of the sink send its receipts there."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        server = make_server(post.engine, load_settings({}, data=str(post.engine.settings.data)))
        serving = asyncio.create_task(server.serve(sockets=[door]))
        url = f"http://127.0.0.1:{door.getsockname()[1]}{TRACKER_PATH}"
        post.outside.ask("PUT", "/aws", {"tracker_url": url, "access_key": post.keys[connection_id]})
        post.outside.ask("PUT", "/firehose", {"seconds": 0.02, "retry_base": 0.05, "records": 50})
        try:
            await eventually(lambda: server.started)
            yield
        finally:
            server.should_exit = True
            await serving


async def test_receipts_in_any_order_and_number_end_right(post: Post):
    id_ = await post.connect()
    async with heard(post, id_):
        mix = {"delivered": 6, "unreachable": 2, "spam": 1, "delivered_then_failed": 1, "failed_then_delivered": 1}
        post.fate(mix=mix, receipt_delay=0, duplicate_rate=0.5, reorder_rate=0.5, seed="any")
        await post.send_many([number(n) for n in range(300)])

        async def settled() -> bool:
            return not (await post.statuses()).keys() - {"delivered", "failed"}

        await eventually(settled)
        fates = {sent["mid"]: sent["fate"] for sent in post.taken()}

        async def right() -> bool:
            return all(
                (row["status"], row["code"]) == ENDS[fates[public("msg", row["id"])]] for row in await post.all()
            )

        await eventually(right)
        assert len(fates) == 300
    counted: Counter[str] = Counter()
    for row in await post.world.ask("message_counts.list", workspace_id=1, since=0, until=1 << 40):
        counted[row["status"]] += list(row.values())[-1]
    records = [await post.look(row["id"]) for row in await post.all()]
    assert counted == Counter(status for record in records for status in told(record))


ENDS = {
    "delivered": ("delivered", None),
    "unreachable": ("failed", 2009),
    "spam": ("failed", 2015),
    "delivered_then_failed": ("delivered", None),
    "failed_then_delivered": ("delivered", None),
}


async def refuse_writes(world: World, refuse: bool) -> None:
    """Let the database refuse writes, or accept them again."""

    def job(connection: apsw.Connection) -> None:
        connection.execute(f"PRAGMA query_only = {int(refuse)}")

    await world.database._submit(world.database._writes, job)


async def test_what_comes_back_while_the_store_is_away_is_recorded_later(post: Post):
    await post.connect()
    post.fate(latency=0.3)
    await post.send_many([number(n) for n in range(200)])
    await eventually(lambda: len(post.calls()) >= 1)
    await refuse_writes(post.world, True)
    await eventually(lambda: post.taken() and sum(post.engine.sender.outcomes.values()) == len(post.taken()))
    with pytest.raises(Unavailable):
        await post.send(number(999))
    counts = await post.statuses()
    assert counts["sending"] == len(post.taken())
    assert not counts["sent"]
    await refuse_writes(post.world, False)
    await post.reached(sent=200)
    assert Counter(sent["address"] for sent in post.taken()) == {number(n): 1 for n in range(200)}
    assert {row["tries"] for row in await post.all()} == {1}


async def test_stopping_waits_a_moment_for_a_store_that_is_away(
    tmp_path: Path, sunk: Outside, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sending, "PAUSE_S", 0.05)
    world = await open_world(tmp_path, retry_base=0.8)
    post = Post(world, sunk)
    await post.connect()
    post.fate(latency=0.2)
    await post.send_many([number(n) for n in range(50)])
    await eventually(lambda: post.calls())
    await refuse_writes(world, True)
    await eventually(lambda: post.taken())
    await asyncio.wait_for(world.engine.stop(), 10)
    await world.database.close()
    world = await open_world(tmp_path, retry_base=0.8)
    post = Post(world, sunk)
    try:
        post.fate()
        await eventually(functools.partial(_all_settled, post))
        # It was sent, and the result could not be recorded.
        assert (await post.statuses())["unknown"] >= 1
        assert sum((await post.statuses()).values()) == 50
        assert Counter(sent["address"] for sent in post.taken()).most_common(1)[0][1] == 1
    finally:
        await close_world(world)


async def test_nothing_leaves_while_the_store_cannot_keep_that_it_does(post: Post):
    await post.connect()
    await post.send_many([number(n) for n in range(50)], send_at=soon(0.3))
    await refuse_writes(post.world, True)
    with structlog.testing.capture_logs() as lines:
        await eventually(lambda: any(line["action"] == "claim_failed" for line in lines))
    assert not post.calls()
    await refuse_writes(post.world, False)
    await post.reached(sent=50)
    assert len(post.taken()) == 50


async def test_what_was_claimed_without_a_word_is_sent_after_all(post: Post, monkeypatch: pytest.MonkeyPatch):
    # A claim is committed and its confirmation is lost: no process sends these messages, and none was evicted.
    id_ = await post.connect()
    await post.engine.scheduler.stop()
    post.engine.sender._draining = True
    await post.send(number(1))
    connection = post.engine.connections.by_number(id_)
    assert connection is not None

    async def work(tx: Tx, unit: Unit) -> None:
        transitions = Transitions(unit)
        await claim(tx, connection, 10, transitions)
        await transitions.write(tx)

    await post.engine.recorder.perform(work)
    post.engine.sender._draining = False
    assert await post.statuses() == {"sending": 1}
    await post.engine.sender.recover()
    assert await post.statuses() == {"sending": 1}
    monkeypatch.setattr(sending, "FORGOTTEN_S", -1.0)
    monkeypatch.setattr(sending, "LOOK_BACK_S", -1.0)
    await post.engine.sender.recover()
    await post.reached(sent=1)
    # A message that is being sent is not queued again.
    post.fate(latency=0.3)
    await post.send(number(2))
    await eventually(lambda: len(post.calls()) == 2)
    await post.engine.sender.recover()
    await post.reached(sent=2)
    assert len(post.taken()) == 2


async def test_a_providers_strange_words_do_not_hold_a_message_up(post: Post):
    said = '{"code": "bad\\u0000code", "message": "no\\u0000thing"}'
    post.outside.behave("strange", status=400, body=said, content_type="application/json")
    await post.connect("http", config={"url": post.outside.hook("strange")})
    record = await post.came_to(await post.send(number(1)), "failed")
    assert record["provider_code"] == "bad\ufffdcode"
    assert record["history"][-1]["detail"] == "no\ufffdthing"


async def open_shared(url: str, data: Path, key: str) -> World:
    """Start an engine on a PostgreSQL database that other engines share."""
    settings = load_settings(
        {}, data=str(data), database_url=url, secret_key=key, allow_private="127.0.0.0/8", retry_base=0.8
    )
    database = Postgres(url)
    await database.migrate()
    engine = Engine(database, settings)
    await engine.start()
    return World(engine, database)  # type: ignore[arg-type]


@pytest.mark.postgres
async def test_two_processes_share_a_connection_and_one_dies(
    tmp_path: Path, sunk: Outside, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(nodes, "DEAD_AFTER", int(1.5 * SECOND))
    monkeypatch.setattr(nodes, "BEAT_S", 0.2)
    key = base64.b64encode(b"k" * 32).decode()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with postgres_server() as server:
        first = await open_shared(server.url(), tmp_path / "one", key)
        await first.change("workspaces.add", workspace=1, id=1, name="test", now=now_us())
        second = await open_shared(server.url(), tmp_path / "two", key)
        post, other = Post(first, sunk), Post(second, sunk)
        try:
            await post.connect(concurrency=4)
            await other.engine.connections.refresh([1])
            post.fate(latency=0.15, receipts=False)
            for turn in range(4):
                for half, by in ((0, post), (1, other)):
                    await by.send_many([number(turn * 1000 + half * 500 + n) for n in range(400)])
            await eventually(lambda: first.engine.sender.in_flight and second.engine.sender.in_flight)
            # Together they have no more calls in progress than the connection allows.
            assert first.engine.sender.share == second.engine.sender.share == 2
            await eventually(lambda: len(post.calls()) >= 8 and first.engine.sender.in_flight)
            await kill_world(first)
            post.fate()
            await eventually(functools.partial(_all_settled, other))
            rows = await other.all()
            unknown = {row["id"] for row in rows if row["status"] == "unknown"}
            assert len(rows) == 3200
            assert {row["status"] for row in rows} == {"sent", "unknown"}
            # Only messages being sent or claimed ahead, and those of the last claim: two calls of 100 at once.
            assert len(unknown) <= 2 * (2 * 100 + MOST_AHEAD)
            taken = Counter(sent["address"] for sent in post.taken())
            assert set(taken.values()) == {1}
            assert {row["address"] for row in rows if row["status"] == "sent"} <= taken.keys()
        finally:
            await close_world(second)


def test_a_call_holds_no_address_twice():
    def outgoing(n: int) -> Outgoing:
        return Outgoing(
            id=n,
            workspace_id=1,
            connection_id=1,
            channel="sms",
            address=str(n % 7),
            content=Content(),
            purpose="",
            created_at=0,
            expires_at=0,
        )

    messages = [outgoing(n) for n in range(100)]
    parts = divide(messages, 5)
    assert sorted(message.id for part in parts for message in part) == list(range(100))
    for part in parts:
        assert len(part) <= 5
        assert len({message.address for message in part}) == len(part)
    # The messages to one address keep their order.
    for address in map(str, range(7)):
        ids = [message.id for part in parts for message in part if message.address == address]
        assert ids == sorted(ids)
    assert [len(part) for part in divide(messages[:4], 1)] == [1, 1, 1, 1]
    assert len(parts) <= 100 // 5 + 7


class Life:
    """The messages of one example, and the steps that may happen to them in any order."""

    def __init__(self, office: Office, campaign: str) -> None:
        self.office = office
        self.campaign = campaign
        self.ids: list[int] = []
        #: Every try that was claimed: message and number.
        self.tries: list[tuple[int, int]] = []
        #: Messages that certainly no process has: only these may be claimed.
        self.free: set[int] = set()
        self.final: dict[int, Status] = {}

    async def begin(self, count: int) -> None:
        made = [self.office.message(campaign=self.campaign, address=number(n), pinned=n == 0) for n in range(count)]
        self.ids = [message.id for message in made]
        self.free = set(self.ids)
        await self.office.submit(*made)

    async def play(self, step: tuple[str, int, str]) -> None:
        """Run one step; `which` selects its message."""
        what, which, word = step
        office = self.office
        id_ = self.ids[which % len(self.ids)]
        if what == "claim":
            for place in (FIRST, SECOND_ONE):
                found = await office.claim(1 + which % 3, by=connection(place), node=1 + which % 2)
                for message in found.messages:
                    assert message.id in self.free, "somebody may have it"
                    self.free.discard(message.id)
                    self.tries.append((message.id, message.tries + 1))
        elif what == "settle" and self.tries:
            # Any try, including settled ones and those before a later try.
            id_, count = self.tries[which % len(self.tries)]
            before = await office.look(id_)
            verdict = Verdict(outcome=SendOutcome(word), code=9988, provider_message_id=f"{id_}-{count}")
            await office.hand_in([SendResult(id_, count, now_us(), verdict, 1)])
            if word in ("retry", "misconfigured") and (before["status"], before["tries"]) == ("sending", count):
                self.free.add(id_)
        elif what == "receipt":
            by_id = which % 2 == 0
            news = receipt(
                message_id=id_ if by_id else None,
                provider_message_id=None if by_id else f"{id_}-{1 + which % 3}",
                status=Status(word) if word in ("sent", "delivered", "failed") else None,
                code=2009 if word == "failed" else None,
                occurred_at=now_us() - which,
            )
            await office.hand_in([news, news])
        elif what == "strand":

            async def strand(tx: Tx) -> int:
                return await tx.run("messages.orphan", nodes=[1 + which % 2])

            await office.database.transact(strand)
            await office.recorder.perform(functools.partial(_settle, {SECOND_ONE} if word == "sent" else set()))
            if word == "sent":
                self.free |= {i for i in self.ids if (await office.look(i))["status"] == "queued"}
        elif what == "clear":
            place = (FIRST, SECOND_ONE)[which % 2]
            other = SECOND_ONE if place == FIRST else FIRST
            await office.recorder.perform(functools.partial(_clear, place, other))
        elif what in ("resend", "cancel"):
            change = (repeat if what == "resend" else cancel)(now_us())
            with contextlib.suppress(Conflict):
                await office.recorder.perform(lambda tx, unit: take_by_hand(tx, 1, id_, change, unit))
                if what == "resend":
                    self.free.add(id_)

    async def look(self) -> None:
        """Check what holds after each step."""
        transitions = Transitions(Unit(Ids(1), now_us()))
        await self.office.database.read(transitions.load, self.ids)
        for id_, state in transitions.states.items():
            assert state.status is not Status.QUEUED or id_ in self.free, "it would be sent, and somebody may have it"
            assert self.final.setdefault(id_, state.status) is state.status
            if state.status not in (Status.DELIVERED, Status.SKIPPED):
                del self.final[id_]

    async def check(self) -> None:
        """Check what holds at the end."""
        assert len(set(self.tries)) == len(self.tries), "two calls for one try"
        moved: Counter[str] = Counter()
        for id_ in self.ids:

            async def work(tx: Tx, id_: int = id_) -> dict[str, Any]:
                return (await tx.records("messages.get", workspace_id=1, id=id_))[0]

            record = await self.office.database.read(work)
            lines = [line for line in json.loads(f"[{record['history']}]") if not line.get("noted")]
            statuses = [line["status"] for line in lines]
            status = record["status"]
            assert statuses[-1] == status
            assert (record["due_at"] is not None) == (status == "queued")
            assert (record["node"] is not None) == (status == "sending")
            assert record["tries"] == sum(1 for known, _ in self.tries if known == id_)
            assert record["tries"] == statuses.count("sending")
            assert (record["code"] is None) or status in ("failed", "queued", "unknown")
            moved.update(status for before, status in itertools.pairwise(["", *statuses]) if status != before)

        async def count(tx: Tx) -> Counter[str]:
            counted: Counter[str] = Counter()
            for row in await tx.rows("message_counts.list", workspace_id=1, since=0, until=1 << 40):
                if row[2] == self.campaign:
                    counted[row[4]] += row[6]
            return counted

        assert await self.office.database.read(count) == moved


async def _settle(repeatable: set[int], tx: Tx, unit: Unit) -> int:
    transitions = Transitions(unit)
    count = await recover_orphaned(tx, transitions, repeatable, 100)
    await transitions.write(tx)
    return count


async def _clear(place: int, other: int, tx: Tx, unit: Unit) -> int:
    transitions = Transitions(unit)
    count = await reroute_queued(tx, place, False, other, transitions, 100)
    await transitions.write(tx)
    return count


WORDS = {
    "claim": [""],
    "settle": ["retry", "retry", "accepted", "rejected", "unknown", "misconfigured"],
    "receipt": ["sent", "delivered", "failed", ""],
    "strand": ["", "sent"],
    "clear": [""],
    "resend": [""],
    "cancel": [""],
}
STEPS = st.lists(
    st.sampled_from(["claim", "claim", "settle", "settle", "settle", *WORDS]).flatmap(
        lambda what: st.tuples(st.just(what), st.integers(0, 11), st.sampled_from(WORDS[what]))
    ),
    min_size=4,
    max_size=25,
)


def test_whatever_happens_in_whatever_order_nobody_gets_two_and_the_books_are_right(tmp_path: Path):
    with asyncio.Runner() as runner:

        async def start() -> Office:
            database = SQLite(tmp_path / "waypost.db")
            await database.migrate()
            await database.transact(_workspace)
            office = Office(database)
            # Retries are due at once.
            office.routing.retry_s = 0.0
            return office

        examples = 0

        async def live(office: Office, steps: list[tuple[str, int, str]]) -> None:
            nonlocal examples
            examples += 1
            life = Life(office, f"example {examples}")
            await life.begin(3)
            for step in steps:
                await life.play(step)
                await life.look()
            await life.check()
            # Nothing is left for the next example.
            await office.database.transact(_forget)

        async def end(office: Office) -> None:
            await office.outbound.stop()
            await office.database.close()

        office = runner.run(start())

        @settings(max_examples=150, suppress_health_check=list(HealthCheck))
        @given(STEPS)
        def check(steps: list[tuple[str, int, str]]) -> None:
            runner.run(live(office, steps))

        try:
            check()
        finally:
            runner.run(end(office))


async def _forget(tx: Tx) -> None:
    rows = await tx.rows("messages.aged", after=0, before=1 << 62, settled_before=1 << 62, n=1000)
    ids = [row[0] for row in rows]
    # Only messages in a final status can be deleted.
    transitions = Transitions(Unit(Ids(1), now_us()))
    await transitions.load(tx, ids)
    for state in transitions.states.values():
        transitions.apply(state, Transition(status=Status.FAILED, at=now_us(), code=9988))
    await transitions.write(tx)
    await tx.run("messages.delete", ids=ids, settled_before=1 << 62)
    await tx.run("message_contents.delete", ids=ids)


def test_what_waits_claimed_covers_four_claims_within_bounds():
    lane = ConnectionLane(100.0)
    assert lane.ahead(100.05) == 0
    lane.note_tries(400)
    # 2,000 a second; claims take no time yet, so the lower limit applies.
    assert lane.ahead(100.2) == pytest.approx(200, abs=2)
    for _ in range(50):
        lane.note_claim(0.05)
    assert lane.ahead(100.2) == pytest.approx(400, abs=2)
    for _ in range(50):
        lane.note_claim(3.0)
    assert lane.ahead(100.2) == pytest.approx(1000, abs=2)
    lane.note_tries(1_000_000)
    assert lane.ahead(100.4) == MOST_AHEAD
    # For a provider that accepts nothing any more, no message is claimed ahead.
    assert lane.ahead(100.6) == 0
