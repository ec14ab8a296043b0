"""Workspaces and their keys, on both databases."""

import pytest

from waypost.clock import Ids
from waypost.domain.accounts.callers import Caller
from waypost.engine.accounts.audit import list_changes, record_change, record_outcome
from waypost.engine.accounts.passkeys import count_passkeys, delete_passkeys, list_passkeys, rename_passkey
from waypost.engine.accounts.sessions import prune_accounts
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


async def test_the_audit_log_is_read_from_an_id_on_and_follows_what_was_started(database: Database):
    ids = Ids(0)
    caller = Caller(workspace_id=1, permissions=frozenset(), grants="owner", user_id=7, name="Ada")
    for number in range(4):
        await database.transact(
            record_change, ids, caller, "start_import", f"/v1/imports/{number}", None, {"n": number}, "192.0.2.1", 10
        )
    entries = await database.read(list_changes, 1, 1 << 62, 10)
    assert await database.read(list_changes, 1, 1 << 62, 10, since=entries[1]["id"]) == entries[:2]
    assert await database.read(list_changes, 2, 1 << 62, 10) == []
    assert await database.read(list_changes, 1, 1 << 62, 10, q="/2") == [entries[1]]

    for number, workspace in ((1, 1), (1, 2), (9, 1)):
        resource, after = f"/v1/imports/{number}", {"rows": 3}
        await database.transact(
            record_outcome, ids.one(20), workspace, "start_import", 0, "finish_import", resource, after
        )
    (end, *before) = await database.read(list_changes, 1, 1 << 62, 10)
    assert before == entries
    assert (end["action"], end["resource"], end["after"]) == ("finish_import", "/v1/imports/1", '{"rows":3}')
    assert (end["actor_kind"], end["actor_id"], end["actor_name"], end["ip"]) == ("user", 7, "Ada", "192.0.2.1")
    assert await database.read(list_changes, 2, 1 << 62, 10) == []


async def test_a_passkey_has_one_user_and_its_counter_grows(database: Database):
    fields = {"public_key": "key", "sign_count": 0, "name": "Laptop", "now": 5}

    async def add(tx, id_, user_id, credential_id):
        return await tx.run("passkeys.add", id=id_, user_id=user_id, credential_id=credential_id, **fields)

    async def use(tx, sign_count):
        return await tx.run("passkeys.use", id=1, sign_count=sign_count, now=9)

    added = [await database.transact(add, *row) for row in ((1, 7, "a"), (2, 8, "a"), (3, 8, "b"))]
    assert added == [1, 0, 1]
    assert [await database.transact(use, count) for count in (0, 0, 5, 5, 4, 0, 6)] == [1, 1, 1, 0, 0, 0, 1]
    assert await database.read(count_passkeys, 8) == 1
    assert [row["last_used_at"] for row in await database.read(list_passkeys, 7, 1 << 62, 10)] == [9]
    with pytest.raises(NotFound):
        await database.transact(rename_passkey, 7, 3, "Mine")
    # What `waypost users remove-passkeys` does.
    assert await database.transact(delete_passkeys, 8) == 1
    assert await database.read(count_passkeys, 8) == 0


async def test_a_challenge_is_used_up_once_and_forgotten_when_it_has_ended(database: Database):
    async def use_up(tx, hash_, expires_at):
        return await tx.run("used_challenges.add", hash=hash_, expires_at=expires_at)

    assert [await database.transact(use_up, *one) for one in (("a", 10), ("a", 10), ("b", 20))] == [1, 0, 1]
    assert await prune_accounts(database, 10) == 1
    assert [await database.transact(use_up, *one) for one in (("a", 10), ("b", 20))] == [1, 0]
