"""The text-message API with two nodes on one database: one text once, one rate, and secrets that both know."""

import asyncio
import time
from collections import Counter
from typing import Any

import pytest

from tests.nodes.conftest import Node, Pair
from tests.storage.test_texts import ANN, request
from tests.waiting import eventually
from waypost.clock import now_us
from waypost.domain.audience.subscriptions import SubscriptionChange, SubscriptionState
from waypost.domain.texts.client import CheckLinks, TextClient
from waypost.domain.texts.request import TextRequest
from waypost.engine.audience.subscriptions import set_subscriptions
from waypost.engine.runtime.unit import Unit
from waypost.engine.texts import clients
from waypost.engine.texts.area import TextAccepted
from waypost.engine.texts.clients import TRUST_S, TextClientDraft, TextClientRecord, authenticate, open_client
from waypost.errors import Conflict, Error, Unauthorized, Unavailable
from waypost.storage.database import Tx

pytestmark = pytest.mark.postgres


async def make_client(pair: Pair, **changes: Any) -> tuple[TextClientRecord, str]:
    """Create a text client; return it with its secret."""
    owner = pair.one.engine.text_client_owner
    values: dict[str, Any] = {"name": "klaviyo", "check_links": CheckLinks.NEVER, "rate_limit": 10_000.0} | changes
    made: tuple[TextClientRecord, str] = await pair.one.database.transact(
        owner.create, 1, TextClientDraft(**values), now_us()
    )
    return made


async def subscribe(pair: Pair, *numbers: str) -> None:
    state, now = SubscriptionState.SUBSCRIBED, now_us()
    changes = [SubscriptionChange(1, "sms", number, state, "test", now) for number in numbers]

    async def work(tx: Tx, unit: Unit) -> None:
        await set_subscriptions(tx, changes, unit)

    await pair.one.engine.recorder.perform(work)


async def introduce(pair: Pair, *identifiers: tuple[str, str]) -> None:
    """Record a person with these identifiers."""

    async def work(tx: Tx) -> None:
        await tx.insert("profiles.insert", [(7, 1, None, "{}", 1, 1)])
        await tx.insert("identities.insert", [(1, kind, value, 7, now_us()) for kind, value in identifiers])

    await pair.one.database.transact(work)


async def send(node: Node, client: TextClient, text: TextRequest) -> TextAccepted | Error:
    try:
        return await node.engine.texts.send(client, text)
    except Error as error:
        return error


async def alternately(pair: Pair, client: TextClient, texts: list[TextRequest]) -> list[TextAccepted | Error]:
    """Send texts through both nodes in turn, all at once."""
    return await asyncio.gather(*(send(pair.nodes[n % 2], client, text) for n, text in enumerate(texts)))


async def reports(pair: Pair) -> list[tuple[str, str]]:
    """Return message and status of each report, in order."""
    return await pair.one.sql(
        "SELECT data::json ->> 'MessageID', data::json ->> 'Status' FROM events WHERE type = 'text.status' ORDER BY id"
    )


@pytest.mark.parametrize("named_by", ["phone", "both"])
async def test_identical_requests_through_both_nodes_are_one_text(pair: Pair, named_by: str):
    await pair.connect("http")
    await subscribe(pair, ANN)
    await introduce(pair, ("phone", ANN), ("email", "ann@example.com"))
    client = open_client((await make_client(pair))[0])
    by_email = request(phone="", email="ann@example.com") if named_by == "both" else request()
    answers = await alternately(pair, client, [request() if n % 4 < 2 else by_email for n in range(200)])
    accepted = [one for one in answers if isinstance(one, TextAccepted)]
    assert len(accepted) == 1
    (first,) = accepted
    assert first.status == "PENDING_TO_SEND"
    refused = [one for one in answers if isinstance(one, Conflict)]
    assert len(refused) == 199
    assert {(one.code, one.extra["messageId"]) for one in refused} == {("duplicate_message", first.message_id)}
    await eventually(lambda: len(pair.post.taken("gateway")) == 1)

    async def both_reported() -> bool:
        return len(await reports(pair)) >= 2

    await eventually(both_reported)
    assert await reports(pair) == [(first.message_id, "PENDING_TO_SEND"), (first.message_id, "SENDING")]
    assert await pair.one.sql("SELECT count(*)::int FROM messages") == [(1,)]
    await pair.check()


async def test_many_people_at_once_through_both_nodes(pair: Pair):
    """Requests that share digests and clients in every order: nothing deadlocks, each text is sent once."""
    await pair.connect("http")
    numbers = [f"+1202555{n:04d}" for n in range(100, 150)]
    await subscribe(pair, *numbers)
    both = [open_client((await make_client(pair, name=f"client {n}"))[0]) for n in range(2)]
    texts = [request(phone=number) for number in numbers * 4]
    rounds = await asyncio.gather(
        alternately(pair, both[0], texts),
        alternately(pair, both[1], texts[::-1]),
        alternately(pair, both[0], texts[::-1]),
    )
    answers = Counter(one.code if isinstance(one, Error) else one.status for some in rounds for one in some)
    assert answers == {"PENDING_TO_SEND": 50, "duplicate_message": 550}
    await eventually(lambda: len(pair.post.taken("gateway")) == 50)
    assert {one["address"] for one in pair.post.taken("gateway")} == set(numbers)


async def test_the_rate_of_a_client_holds_for_both(pair: Pair):
    await pair.connect("http")
    await subscribe(pair, ANN)
    rate = 20.0
    client = open_client((await make_client(pair, rate_limit=rate))[0])
    accepted, begun = 0, time.monotonic()
    for turn in range(4):
        answers = await alternately(pair, client, [request(text=f"{turn} {n}") for n in range(40)])
        granted = [one for one in answers if isinstance(one, TextAccepted)]
        limited = [one for one in answers if isinstance(one, Unavailable)]
        assert len(granted) + len(limited) == 40
        assert {(one.code, one.extra["retry_after"]) for one in limited} <= {("rate_limited", 1)}
        accepted += len(granted)
        if turn == 0:
            # What a client may send at once, whichever nodes it sends to.
            assert rate <= accepted <= rate * (1 + time.monotonic() - begun)
    assert accepted <= rate * (1 + time.monotonic() - begun)


async def test_a_rotated_secret_is_known_to_the_other_node(pair: Pair, monkeypatch: pytest.MonkeyPatch):
    record, old = await make_client(pair)
    one, other = (node.engine.text_clients for node in pair.nodes)
    for known in (one, other):
        authenticate(await known.find(record.client_id), old, now_us())
    _, new = await pair.one.database.transact(clients.rotate_secret, 1, record.id, 0, now_us())
    one.forget()
    authenticate(await one.find(record.client_id), new, now_us())
    with pytest.raises(Unauthorized):
        authenticate(await one.find(record.client_id), old, now_us())
    # The other one knows the previous secret for as long as it trusts what it read.
    now = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: now() + TRUST_S)
    authenticate(await other.find(record.client_id), new, now_us())
    with pytest.raises(Unauthorized):
        authenticate(await other.find(record.client_id), old, now_us())
    await pair.one.database.transact(clients.delete_client, 1, record.id, now_us())
    monkeypatch.setattr(time, "monotonic", lambda: now() + 2 * TRUST_S)
    with pytest.raises(Unauthorized):
        authenticate(await other.find(record.client_id), new, now_us())
