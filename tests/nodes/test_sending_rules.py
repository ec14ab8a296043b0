"""Frequency caps and quiet hours with two nodes on one database: no cap is exceeded, and each message is sent once."""

import asyncio
import itertools
from collections import Counter

import pytest

from tests.engine.messaging.test_sending import number, told
from tests.nodes.conftest import Pair
from tests.nodes.test_texts import make_client, subscribe
from tests.storage.test_sending_rules import set_rules
from tests.storage.test_texts import request
from tests.waiting import eventually
from waypost.clock import DAY, SECOND, now_us
from waypost.domain.messaging.frequency_caps import Calendar
from waypost.domain.messaging.quiet_hours import QuietWindow
from waypost.domain.messaging.sending_rules import FrequencyCap, Purpose, QuietHours, RuleAction, SendingRules
from waypost.domain.values.timezones import local_time
from waypost.engine.texts.clients import open_client

pytestmark = pytest.mark.postgres

PEOPLE = 25
LIMIT = 3


async def rule(pair: Pair, rules: SendingRules) -> None:
    await set_rules(pair.one.engine, rules)
    await pair.other.engine.sending_rules.refresh([1])


async def settled(pair: Pair, messages: int) -> Counter[str]:
    """Return the number of messages by status, once there are so many and each has been sent or skipped."""

    async def check() -> Counter[str] | None:
        found = await pair.post.statuses()
        open_ones = found["queued"] + found["held"] + found["sending"]
        return found if sum(found.values()) == messages and not open_ones else None

    found: Counter[str] = await eventually(check, within=60)
    return found


async def test_no_cap_is_exceeded_whatever_sends_and_wherever(pair: Pair):
    # Two connections, so that both nodes claim for the same people at the same time.
    first, second = await pair.connect("http"), await pair.connect("http", position=1)
    pair.post.fate("gateway", receipts=False)
    ids = ["", f"con_{first:016x}", f"con_{second:016x}"]
    await rule(
        pair,
        SendingRules(frequency_caps=(FrequencyCap(limit=LIMIT, within=DAY, purpose=Purpose.ANY, channel="sms"),)),
    )
    numbers = [number(n) for n in range(PEOPLE)]
    await subscribe(pair, *numbers)
    client = open_client((await make_client(pair))[0])

    async def texts(turn: int) -> None:
        for n, to in enumerate(numbers):
            await pair.nodes[n % 2].engine.texts.send(client, request(phone=to, text=f"Text {turn}"))

    await asyncio.gather(
        pair.post.send_many(numbers * 2, campaign="spring", purpose="promotional", connection_id=ids[1]),
        pair.other_post.send_many(numbers * 2, campaign="summer", purpose="promotional", connection_id=ids[2]),
        texts(1),
        texts(2),
        *(post.send(to, text="Your code") for to in numbers for post in (pair.post, pair.other_post)),
    )
    found = await settled(pair, PEOPLE * 8)
    assert found == {"sent": PEOPLE * LIMIT, "skipped": PEOPLE * (8 - LIMIT)}
    reasons = {row["reason"] for row in await pair.post.all() if row["status"] == "skipped"}
    assert reasons == {"frequency_cap"}
    assert Counter(sent["address"] for sent in pair.post.taken("gateway")) == dict.fromkeys(numbers, LIMIT)
    await pair.check()


async def test_places_of_messages_that_were_refused_are_used_by_others(pair: Pair):
    await pair.connect("http")
    pair.post.fate("gateway", receipts=False)
    await rule(pair, SendingRules(frequency_caps=(FrequencyCap(limit=1, per=Calendar.WEEK, purpose=Purpose.ANY),)))
    pair.post.fate("gateway", error_rate=1, error_status=400, receipts=False)
    refused = await pair.post.send(number(1))
    await pair.post.came_to(refused, "failed")
    pair.post.fate("gateway", receipts=False)
    assert (await pair.post.came_to(await pair.other_post.send(number(1)), "sent", "skipped"))["status"] == "sent"
    assert (await pair.post.came_to(await pair.post.send(number(1)), "sent", "skipped"))["status"] == "skipped"


async def test_what_is_held_is_sent_once_by_whichever_node_wakes(pair: Pair):
    await pair.connect("http")
    pair.post.fate("gateway", receipts=False)
    period = 2 * SECOND
    cap = FrequencyCap(limit=1, within=period, action=RuleAction.HOLD)
    await rule(pair, SendingRules(frequency_caps=(cap,)))
    numbers = [number(n) for n in range(20)]
    await pair.post.send_many(numbers * 3, purpose="promotional")
    assert await settled(pair, 60) == {"sent": 60}
    assert Counter(sent["address"] for sent in pair.post.taken("gateway")) == dict.fromkeys(numbers, 3)
    rows = [await pair.post.look(row["id"]) for row in await pair.post.all()]
    assert sum("held" in told(row) for row in rows) == 40
    for to in numbers:
        claimed = [
            line["at"] for row in rows if row["address"] == to for line in row["history"] if line["status"] == "sending"
        ]
        assert len(claimed) == 3
        assert all(later - earlier >= period for earlier, later in itertools.pairwise(sorted(claimed)))
    await pair.check()


async def test_the_other_node_knows_new_rules_soon(pair: Pair):
    await pair.connect("http")
    now = local_time(pair.one.engine.sending_rules.zone(1), now_us())
    minute = now.hour * 60 + now.minute
    window = QuietWindow((minute - 5) % 1440, (minute + 60) % 1440)
    rules = SendingRules(timezone="UTC", quiet_hours=(QuietHours(window=window, purpose=Purpose.ANY, channel="email"),))
    await set_rules(pair.one.engine, rules)
    await eventually(lambda: pair.other.engine.sending_rules.get(1) == rules)
    await set_rules(pair.one.engine, SendingRules())
    await eventually(lambda: pair.other.engine.sending_rules.get(1) is None)
