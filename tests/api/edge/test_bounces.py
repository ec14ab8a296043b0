"""Mails about mails that are posted to the connection of a mail server."""

import msgspec
import pytest

from tests.api.edge.test_receipts import KEY, World
from tests.api.edge.test_receipts import world as world
from tests.domain.messaging.test_bounces import arf, dsn
from waypost.domain.messaging.bounces import MAIL_BYTES
from waypost.domain.messaging.message import Receipt, Status
from waypost.domain.messaging.return_path import return_path
from waypost.domain.values.ids import public

MESSAGE = 0x061C7F3A2B190001
MAIL = {"content-type": "message/rfc822", "x-api-key": KEY}


def path_of(world: World) -> str:
    """Return the return path of a message of this server."""
    tokens = world.engine.client.bounces
    assert tokens is not None
    return return_path("bounce@example.com", tokens.token(MESSAGE))


def receipts(world: World) -> list[Receipt]:
    return [one for one in world.kept if isinstance(one, Receipt)]


async def connect(world: World) -> str:
    return await world.connect("smtp", KEY, host="mail.example.com", from_email="shop@example.com")


async def test_a_bounce_is_recorded_before_the_answer(world: World):
    connection = await connect(world)
    answer = await world.call(f"/receipts/{connection}", dsn("5.1.1", to=path_of(world), returned="").encode(), MAIL)
    assert (answer.status, answer.json) == (200, {"accepted": 1})
    (receipt,) = receipts(world)
    assert (receipt.message_id, receipt.status, receipt.suppress) == (MESSAGE, Status.FAILED, "bounced")
    assert public("con", receipt.connection_id) == connection


async def test_a_mail_with_the_key_may_name_its_message_by_our_message_id(world: World):
    connection = await connect(world)
    returned = f"Message-ID: <{public('msg', MESSAGE)}@example.com>\n"
    answer = await world.call(f"/receipts/{connection}", arf(returned=returned).encode(), MAIL)
    assert answer.json == {"accepted": 1}
    assert receipts(world)[0].event == "email.complained"


@pytest.mark.parametrize("key", [None, "wrong", "wpk_x"])
async def test_without_the_key_nothing_is_read(world: World, key: str | None):
    connection = await connect(world)
    headers = {"content-type": "message/rfc822"} | ({"x-api-key": key} if key else {})
    mail = dsn("5.1.1", to=path_of(world)).encode()
    answer = await world.call(f"/receipts/{connection}", mail, headers)
    assert answer.status == 401
    assert world.kept == []


async def test_the_key_of_another_connection_is_none(world: World):
    await world.connect("smtp", KEY, host="other.example.com", from_email="shop@example.com")
    connection = await world.connect("smtp", "its own", host="mail.example.com", from_email="shop@example.com")
    assert (await world.call(f"/receipts/{connection}", b"x", MAIL)).status == 401


async def test_what_cannot_be_read_is_kept(world: World):
    connection = await connect(world)
    for mail in (b"", b"Subject: hello\n\nI am no bounce.", b"\0" * 1000):
        answer = await world.call(f"/receipts/{connection}", mail, MAIL)
        assert answer.json == {"accepted": 0}
    assert sorted(len(one["body"]) for one in await world.quarantined()) == [0, 31, 1000]


async def test_an_automatic_reply_is_neither(world: World):
    connection = await connect(world)
    mail = f"From: ada@example.org\nTo: {path_of(world)}\nAuto-Submitted: auto-replied\n\nAway. 550 5.1.1\n"
    answer = await world.call(f"/receipts/{connection}", mail.encode(), MAIL)
    assert answer.json == {"accepted": 0}
    assert world.kept == []


async def test_a_body_that_is_too_large_is_refused(world: World):
    connection = await connect(world)
    answer = await world.call(f"/receipts/{connection}", b"x" * (5 * MAIL_BYTES), MAIL)
    assert answer.status == 413
    assert msgspec.json.decode(answer.body)["code"] == "too_large"
