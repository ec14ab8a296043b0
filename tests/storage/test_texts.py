"""Requests of the text-message API recorded on both databases: who may be sent what, how fast and how often."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from tests.storage.test_messages import FIRST, Office, _workspace, connection, receipt
from waypost.clock import DAY, SECOND, now_us
from waypost.domain.audience.subscriptions import SubscriptionChange, SubscriptionState
from waypost.domain.messaging.message import SendOutcome, Status
from waypost.domain.texts.client import CheckLinks, TextClient
from waypost.domain.texts.request import TextRequest
from waypost.domain.values.ids import internal
from waypost.engine.audience.subscriptions import set_subscriptions
from waypost.engine.messaging.area import MessagingArea
from waypost.engine.runtime import recorder
from waypost.engine.runtime.recorder import Recorder
from waypost.engine.runtime.unit import Unit
from waypost.engine.texts.area import NewText, TextAccepted, TextArea
from waypost.engine.texts.retention import prune_texts
from waypost.errors import Conflict, Error, Unavailable
from waypost.storage.database import Database, Tx

ANN, BOB, CID = "+12025550101", "+12025550102", "+12025550103"


def client(**changes: Any) -> TextClient:
    """A client without limits that matter."""
    values: dict[str, Any] = {
        "id": 500,
        "workspace_id": 1,
        "name": "klaviyo",
        "client_id": "wtc_1",
        "secrets": (),
        "rate_limit": 10_000.0,
        "check_links": CheckLinks.NEVER,
        "utm": None,
        "connection_id": None,
        "default_metric": "Text Message Status",
        "max_matches": 1,
    } | changes
    return TextClient(**values)


def request(**changes: Any) -> TextRequest:
    """A request to text Ann."""
    values: dict[str, Any] = {
        "phone": ANN,
        "email": "",
        "text": "Happy birthday!",
        "click_url": "",
        "media_url": "",
        "purpose": "Birthday",
        "metric": "Birthday SMS",
        "callback_data": '{"profileID":"01K","flow":"F"}',
    } | changes
    return TextRequest(**values)


class TextOffice(Office):
    """An office that takes texts."""

    def __init__(self, database: Database, node: int = 1) -> None:
        super().__init__(database, node)
        self.texts = TextArea(self.encryption, lambda: None)
        messaging = MessagingArea(self.encryption, self.routing, self._follow)
        self.recorder = Recorder(database, self.journal, self.ids, [messaging, self.texts])

    async def send(self, *requests: TextRequest, by: TextClient | None = None, **changes: Any) -> list[str]:
        """Record requests as one batch; the statuses and error codes that they are answered with."""
        made = [NewText(client=by or client(), request=one, connection=connection(), **changes) for one in requests]
        await self.hand_in(*([one] for one in made))
        return [outcome(one.answer) for one in made]

    async def told(self) -> list[tuple[str, str]]:
        """Message and status of each report, in order."""
        return [(data["MessageID"], data["Status"]) for type_, data in await self.events() if type_ == "text.status"]

    async def subscribe(self, *numbers: str, state: str = "subscribed") -> None:
        changes = [
            SubscriptionChange(1, "sms", number, SubscriptionState(state), "test", now_us()) for number in numbers
        ]

        async def work(tx: Tx) -> None:
            await set_subscriptions(tx, changes, Unit(self.ids, now_us()))

        await self.database.transact(work)

    async def let_pass(self, micros: int) -> None:
        """Let the buckets be filled as if so much time had passed."""

        async def work(tx: Tx) -> None:
            for id_, per_second, tokens, filled_at, _ in await tx.rows("buckets.lock", ids=[500, 501]):
                await tx.run("buckets.take", id=id_, per_second=per_second, tokens=tokens, filled_at=filled_at - micros)

        await self.database.transact(work)

    async def person(self, id_: int, *identifiers: tuple[str, str]) -> None:
        async def work(tx: Tx) -> None:
            await tx.insert("profiles.insert", [(id_, 1, None, "{}", 1, 1)])
            await tx.insert("identities.insert", [(1, kind, value, id_, now_us()) for kind, value in identifiers])

        await self.database.transact(work)


def outcome(answer: TextAccepted | Error | None) -> str:
    assert answer is not None
    return answer.code if isinstance(answer, Error) else answer.status


@pytest.fixture
async def office(database: Database) -> AsyncIterator[TextOffice]:
    await database.transact(_workspace)
    made = TextOffice(database)
    yield made
    await made.outbound.stop()


async def test_a_text_is_reported_at_every_step(office: TextOffice):
    await office.subscribe(ANN)
    assert await office.send(request()) == ["PENDING_TO_SEND"]
    found = await office.claim()
    assert [(m.address, m.content.text) for m in found.messages] == [(ANN, "Happy birthday!")]
    await office.settle(found, outcome=SendOutcome.ACCEPTED, provider_message_id="p-1")
    await office.hand_in([receipt(provider_message_id="p-1", status=Status.DELIVERED)])
    assert [status for _, status in await office.told()] == ["PENDING_TO_SEND", "SENDING", "DELIVERED"]
    events = await office.events()
    (first, *_) = [data for type_, data in events if type_ == "text.status"]
    assert first == {
        "MessageID": first["MessageID"],
        "Status": "PENDING_TO_SEND",
        "metricName": "Birthday SMS",
        "callbackData": {"profileID": "01K", "flow": "F"},
        "sendPurpose": "Birthday",
        "client_id": "",
        "phone": ANN,
    }
    (asked,) = [data for type_, data in events if type_ == "text.requested"]
    assert (asked["MessageID"], asked["Status"]) == (first["MessageID"], "PENDING_TO_SEND")


async def test_a_receipt_before_the_answer_leaves_no_step_out(office: TextOffice):
    await office.subscribe(ANN)
    await office.send(request())
    found = await office.claim()
    await office.hand_in([receipt(message_id=found.messages[0].id, provider_message_id="p-1", status=Status.DELIVERED)])
    await office.settle(found, outcome=SendOutcome.ACCEPTED, provider_message_id="p-1")
    assert [status for _, status in await office.told()] == ["PENDING_TO_SEND", "SENDING", "DELIVERED"]


async def test_who_may_be_sent_a_text(office: TextOffice):
    await office.subscribe(ANN)
    await office.subscribe(BOB, state="unsubscribed")
    await office.person(7, ("email", "ann@example.com"), ("phone", ANN))
    await office.person(8, ("email", "bob@example.com"), ("phone", BOB))
    await office.person(9, ("email", "cid@example.com"))
    await office.person(10, ("email", "two@example.com"), ("phone", CID), ("phone", "+12025550104"))

    def named(email: str) -> TextRequest:
        return request(phone="", email=email, text=f"for {email}")

    answers = await office.send(
        request(),
        request(phone=BOB),
        request(phone=CID),
        named("ann@example.com"),
        named("bob@example.com"),
        named("cid@example.com"),
        named("two@example.com"),
        named("nobody@example.com"),
        # The phone decides, whatever the email is.
        request(email="bob@example.com", text="other"),
    )
    assert answers == [
        "PENDING_TO_SEND",
        "NOT_SUBSCRIBED",
        "NOT_FOUND",
        "PENDING_TO_SEND",
        "NOT_SUBSCRIBED",
        "FAILED_TO_MATCH",
        "FAILED_TO_MATCH",
        "FAILED_TO_MATCH",
        "PENDING_TO_SEND",
    ]
    # Final answers are reported as well, and nothing is sent for them.
    assert Counter(status for _, status in await office.told()) == Counter(answers)
    assert len((await office.claim()).messages) == 3


async def test_several_numbers_of_one_email_where_the_client_allows_them(office: TextOffice):
    await office.person(10, ("email", "two@example.com"), ("phone", CID), ("phone", BOB))
    asked = request(phone="", email="two@example.com")
    both = client(max_matches=2)
    assert await office.send(asked, by=both) == ["NOT_FOUND"]
    await office.subscribe(CID, state="unsubscribed")
    await office.subscribe(BOB)
    assert await office.send(asked, by=both) == ["PENDING_TO_SEND"]
    assert [message.address for message in (await office.claim()).messages] == [BOB]


async def test_the_same_text_to_the_same_person_is_sent_once_a_day(office: TextOffice, monkeypatch: pytest.MonkeyPatch):
    await office.subscribe(ANN)
    await office.person(7, ("email", "ann@example.com"), ("phone", ANN))
    by_email = request(phone="", email="ann@example.com")
    noon = now_us()
    monkeypatch.setattr(recorder, "now_us", lambda: noon)
    made = [NewText(client=client(), request=one, connection=connection()) for one in (request(), by_email, request())]
    await office.hand_in(*([one] for one in made))
    first, *repeats = [one.answer for one in made]
    assert isinstance(first, TextAccepted)
    for repeat in repeats:
        assert isinstance(repeat, Conflict)
        assert (repeat.code, repeat.extra) == ("duplicate_message", {"messageId": first.message_id})
    # Another text or another purpose is another message; another client of the workspace makes no difference.
    assert await office.send(request(text="Happy birthday"), request(purpose="Test")) == ["PENDING_TO_SEND"] * 2
    assert await office.send(by_email, by=client(id=501)) == ["duplicate_message"]
    monkeypatch.setattr(recorder, "now_us", lambda: noon + DAY - 1)
    assert await office.send(request(), by_email) == ["duplicate_message"] * 2
    await prune_texts(office.database, noon + DAY - 1)
    # A restart knows it, too.
    assert await TextOffice(office.database).send(by_email) == ["duplicate_message"]
    monkeypatch.setattr(recorder, "now_us", lambda: noon + DAY)
    assert await office.send(by_email, request()) == ["PENDING_TO_SEND", "duplicate_message"]
    assert await prune_texts(office.database, noon + 3 * DAY) >= 4
    assert await prune_texts(office.database, noon + 3 * DAY) == 0


async def test_a_text_for_nobody_is_no_first_one(office: TextOffice):
    assert await office.send(request(), request()) == ["NOT_FOUND"] * 2
    await office.subscribe(ANN)
    assert await office.send(request(), request()) == ["PENDING_TO_SEND", "duplicate_message"]
    assert await office.send(request(), test=True) == ["PENDING_TO_SEND"]


async def test_the_rate_of_a_client(office: TextOffice):
    await office.subscribe(ANN)
    slow = client(rate_limit=5.0)
    made = [NewText(client=slow, request=request(text=f"t{n}"), connection=connection()) for n in range(8)]
    await office.hand_in(*([one] for one in made))
    assert [outcome(one.answer) for one in made] == ["PENDING_TO_SEND"] * 5 + ["rate_limited"] * 3
    refused = made[-1].answer
    assert isinstance(refused, Unavailable)
    assert refused.extra == {"retry_after": 1}
    # What was refused left nothing behind, and may be sent again.
    assert len(await office.told()) == 5
    await office.let_pass(60 * SECOND)
    answers = await office.send(*(request(text=f"t{n}") for n in range(5, 11)), by=slow)
    assert answers == ["PENDING_TO_SEND"] * 5 + ["rate_limited"]
    # Other clients have rates of their own; a rate that is changed counts at once.
    assert await office.send(request(text="other"), by=client(id=501, rate_limit=1.0)) == ["PENDING_TO_SEND"]
    await office.let_pass(60 * SECOND)
    answers = await office.send(*(request(text=f"u{n}") for n in range(9)), by=client(rate_limit=8.0))
    assert answers == ["PENDING_TO_SEND"] * 8 + ["rate_limited"]


async def test_what_is_checked_later_waits(office: TextOffice):
    await office.subscribe(ANN)
    later = client(check_links=CheckLinks.LATER)
    answers = await office.send(request(click_url="https://shop.example"), request(text="no link"), by=later)
    assert answers == ["PENDING_TO_SEND"] * 2
    assert [message.content.text for message in (await office.claim()).messages] == ["no link"]


async def test_one_bad_text_does_not_keep_others_from_being_recorded(office: TextOffice):
    await office.subscribe(ANN)
    bad = NewText(client=client(), request=request(callback_data=None), connection=connection())
    good = NewText(client=client(), request=request(text="good"), connection=connection())
    futures = [office.journal.append([one]) for one in (bad, good)]
    await office.recorder.record(await office.journal.next_batch())
    first, second = await asyncio.gather(*futures, return_exceptions=True)
    assert isinstance(first, Exception)
    assert second is None
    assert outcome(good.answer) == "PENDING_TO_SEND"
    # The one that could not be recorded left nothing: it may be sent again.
    assert await office.send(request()) == ["PENDING_TO_SEND"]


async def test_the_content_of_a_text(office: TextOffice):
    await office.subscribe(ANN)
    made = NewText(
        client=client(),
        request=request(media_url="https://img.example/cake.jpg", click_url="https://shop.example"),
        connection=connection(FIRST),
    )
    await office.hand_in([made])
    assert isinstance(made.answer, TextAccepted)
    record = await office.look(internal("msg", made.answer.message_id))
    content = json.loads(record["content"])
    assert content["media_urls"] == ["https://img.example/cake.jpg"]
    assert (record["campaign"], record["purpose"], record["text_client_id"]) == ("Birthday", "promotional", 500)
    assert msgspec.json.encode(content)
