"""Mailboxes for bounces: on both databases, one process reads each at a time."""

import asyncio

from tests.storage.conftest import Store
from waypost.engine.messaging.bounce_mailboxes import _claim, _release, _waiting


async def test_a_mailbox_is_claimed_by_one_and_again_when_it_is_due(store: Store):
    first, second = store.open(), store.open()
    claims = [database.transact(_claim, 7, 100, 400 + number) for number, database in enumerate((first, second))]
    assert sorted(await asyncio.gather(*claims)) == [False, True]
    assert await first.read(_waiting, [7, 8], 100) == {7}
    assert not await first.transact(_claim, 7, 399, 700)
    # A process that lost its claim does not give back that of another one.
    assert await second.transact(_claim, 7, 500, 900)
    await first.transact(_release, 7, 400, 0)
    assert await first.read(_waiting, [7], 500) == {7}
    await second.transact(_release, 7, 900, 600)
    assert await first.read(_waiting, [7], 600) == set()
