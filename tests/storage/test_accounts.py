"""Workspaces and their keys, on both databases."""

import pytest

from waypost.clock import Ids
from waypost.engine.accounts.workspaces import create_key, create_workspace, list_keys
from waypost.errors import NotFound
from waypost.storage.database import Database


async def test_a_key_belongs_to_a_workspace_that_exists(database: Database):
    with pytest.raises(NotFound, match="workspace ws_0000000000000001 does not exist") as caught:
        await database.transact(create_key, Ids(0), 1, "lost", ["ingest"], 5)
    assert caught.value.code == "no_such_workspace"
    assert await database.read(list_keys, 1, 1 << 62, 10) == []


async def test_each_workspace_has_keys_of_its_own(database: Database):
    ids = Ids(0)
    made = [await database.transact(create_workspace, ids, name, 5) for name in ("one", "two")]
    assert [each["workspace"] for each in made] == ["ws_0000000000000001", "ws_0000000000000002"]
    await database.transact(create_key, ids, 2, "more", ["read"], 6)
    names = [[row["name"] for row in await database.read(list_keys, id_, 1 << 62, 10)] for id_ in (1, 2)]
    assert names == [["first write key", "first API key"], ["more", "first write key", "first API key"]]
