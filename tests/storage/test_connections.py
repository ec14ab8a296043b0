"""The queries of connections, on both databases."""

import asyncio
from typing import Any

import pytest

from tests.storage.conftest import Store
from waypost.clock import Ids
from waypost.engine.providers import connection_records
from waypost.engine.providers.connection_records import ConnectionDraft, ConnectionRecord
from waypost.engine.providers.connectors import definitions, shipped
from waypost.engine.providers.own_connectors import delete_definition, save_definition
from waypost.engine.providers.registry import ConnectionRegistry, move_connection, pause_connection
from waypost.engine.runtime.encryption import Encryption
from waypost.engine.runtime.key_rotation import reencrypt_all
from waypost.errors import Conflict, Invalid, NotFound, Unavailable
from waypost.storage.database import Database, Tx

OLD, NEW = Encryption([b"1" * 32]), Encryption([b"2" * 32, b"1" * 32])
TWILIO = shipped()["twilio"]
CENTERS = {"global": "https://waypost.example", "india": "https://in.waypost.example"}
ids = Ids(1)


@pytest.fixture
async def workspaces(database: Database) -> Database:
    async def work(tx: Tx) -> None:
        for id_ in (1, 2):
            await tx.run("workspaces.add", id=id_, name="x", now=1)

    await database.transact(work)
    return database


def draft(name: str, **changes: Any) -> ConnectionDraft:
    config = {"account_sid": "AC" + "0" * 32, "auth_token": "auth-token-in-the-clear", "from": "+12025550100"}
    return connection_records.check_draft(
        ConnectionDraft(name=name, config=config | changes.pop("config", {}), **changes), TWILIO, CENTERS
    )


async def make(database: Database, name: str, *, workspace: int = 1, key: str = "", **changes: Any) -> ConnectionRecord:
    return await database.transact(
        connection_records.create_connection,
        ids,
        OLD,
        workspace,
        TWILIO,
        draft(name, **changes),
        key or f"{workspace} {name}",
        None,
        1000,
    )


async def find(database: Database, account: ConnectionRecord, encryption: Encryption = OLD) -> ConnectionRecord:
    return await database.read(connection_records.find_connection, encryption, account.workspace_id, account.id)


async def test_what_is_made_is_found_listed_and_kept_from_others(workspaces):
    first = await make(workspaces, "one", per_second=2.5, concurrency=3, validity_s=60, data_center="india")
    second = await make(workspaces, "two", position=7)
    other = await make(workspaces, "one", workspace=2)
    assert (first.position, second.position, other.position) == (0, 7, 0)
    assert first.config["auth_token"] == "auth-token-in-the-clear"
    assert (first.per_second, first.concurrency, first.validity_s, first.data_center) == (2.5, 3, 60, "india")
    assert (first.status, first.version, first.channel) == ("enabled", 1, "sms")
    assert await find(workspaces, first) == first
    with pytest.raises(NotFound):
        await workspaces.read(connection_records.find_connection, OLD, 2, first.id)
    listed = await workspaces.read(connection_records.list_connections, OLD, 1, 1 << 62, 10)
    assert [account.id for account in listed] == [second.id, first.id]
    assert await workspaces.read(connection_records.list_connections, OLD, 1, second.id, 10) == [first]


async def test_nothing_secret_stands_in_the_row(workspaces):
    made = await make(workspaces, "one", key="receipts-key-in-the-clear")

    async def row(tx: Tx) -> str:
        return repr(await tx.records("connections.get", workspace_id=1, id=made.id))

    text = await workspaces.read(row)
    assert "AC000" in text
    assert "in-the-clear" not in text


async def test_a_name_is_taken_once_and_again_after_its_end(workspaces):
    first = await make(workspaces, "one")
    with pytest.raises(Conflict) as caught:
        await make(workspaces, "one", key="another")
    assert caught.value.code == "name_taken"
    await workspaces.transact(connection_records.delete_connection, 1, first.id, 2000)
    again = await make(workspaces, "one")
    assert again.id != first.id
    with pytest.raises(NotFound):
        await workspaces.transact(connection_records.delete_connection, 1, first.id, 2000)
    with pytest.raises(NotFound):
        await workspaces.transact(connection_records.delete_connection, 2, again.id, 2000)


async def test_of_two_with_one_name_at_the_same_time_one_is_made(workspaces, store: Store):
    databases = [workspaces, store.open()]
    results = await asyncio.gather(
        *(make(databases[n % 2], "one", key=f"key {n}") for n in range(6)), return_exceptions=True
    )
    assert sum(isinstance(result, ConnectionRecord) for result in results) == 1
    assert {result.code for result in results if isinstance(result, Conflict)} == {"name_taken"}


async def test_there_is_room_for_so_many(workspaces, monkeypatch):
    monkeypatch.setattr(connection_records, "MOST_CONNECTIONS", 2)
    await make(workspaces, "one")
    await make(workspaces, "two")
    with pytest.raises(Conflict) as caught:
        await make(workspaces, "three")
    assert caught.value.code == "too_many_connections"
    assert (await make(workspaces, "three", workspace=2)).name == "three"


async def test_every_move_between_statuses(workspaces):
    made = await make(workspaces, "one")

    async def move(status: str, **kind: Any) -> tuple[bool, str]:
        moved = await workspaces.transact(move_connection, 1, made.id, status, 3000, **kind)
        return moved, (await find(workspaces, made)).status

    assert await move("enabled") == (False, "enabled")
    assert await move("paused", reason="configuration", error="no such project") == (True, "paused")
    paused = await find(workspaces, made)
    assert (paused.status_reason, paused.last_error, paused.last_error_at) == ("configuration", "no such project", 3000)
    assert await move("paused") == (False, "paused")
    assert await move("enabled") == (True, "enabled")
    resumed = await find(workspaces, made)
    assert (resumed.status_reason, resumed.last_error, resumed.version) == (None, "no such project", made.version + 2)
    assert await move("disabled", reason="by_owner") == (True, "disabled")
    assert await move("paused") == (False, "disabled")
    assert await move("enabled", version=1) == (False, "disabled")
    assert await move("enabled", version=made.version + 3) == (True, "enabled")
    assert await move("paused") == (True, "paused")
    assert await move("disabled") == (True, "disabled")
    assert await workspaces.transact(move_connection, 2, made.id, "enabled", 3000) is False


async def test_a_pause_says_so_once_and_not_for_an_older_version(workspaces):
    made = await make(workspaces, "Pinpoint Promo")

    async def pause(version: int) -> bool:
        paused: bool = await workspaces.transact(
            pause_connection, 1, made.id, version, "configuration", "no\0 such project", ids.one(5000), 5000
        )
        return paused

    async def notices(tx: Tx) -> list[dict[str, Any]]:
        return await tx.records("notices.list", workspace_id=1, before=1 << 62, n=10)

    assert await pause(made.version + 1) is False
    assert await pause(made.version) is True
    assert await pause(made.version) is False
    assert await pause(made.version + 1) is False
    (notice,) = await workspaces.read(notices)
    assert (notice["kind"], notice["about"], notice["state"]) == ("connection_paused", made.id, "shown")
    assert "Pinpoint Promo" in notice["subject"]
    assert "no such project" in notice["body"]


async def test_new_ones_stand_behind_and_an_order_is_kept(workspaces):
    made = [await make(workspaces, name) for name in ("a", "b", "c", "d")]
    assert [account.position for account in made] == [0, 1, 2, 3]
    ordered = await workspaces.transact(
        connection_records.order_connections, OLD, 1, "sms", [made[2].id, made[0].id, made[2].id], 9000
    )
    assert [account.name for account in ordered] == ["c", "a", "b", "d"]
    assert [account.position for account in ordered] == [0, 1, 2, 3]
    # The last one already had this position: its row stays unchanged.
    assert [account.version for account in ordered] == [2, 2, 2, 1]
    connections = ConnectionRegistry(workspaces, OLD, CENTERS)
    await connections.load_all()
    assert [connection.name for connection in connections.for_channel(1, "sms")] == ["c", "a", "b", "d"]
    for channel, workspace in (("email", 1), ("sms", 2)):
        with pytest.raises(NotFound):
            await workspaces.transact(connection_records.order_connections, OLD, workspace, channel, [made[0].id], 9000)


async def test_a_key_for_receipts_leads_to_its_connection_until_it_is_rotated_or_gone(workspaces):
    made = await make(workspaces, "one", key="first")

    async def holder(key: str) -> tuple[int, int] | None:
        return await ConnectionRegistry(workspaces, OLD, CENTERS).by_receipts_key(key)

    assert await holder("first") == (1, made.id)
    await workspaces.transact(connection_records.rotate_receipts_key, OLD, 1, made.id, "second", 2000)
    assert [await holder("first"), await holder("second")] == [None, (1, made.id)]
    with pytest.raises(NotFound):
        await workspaces.transact(connection_records.rotate_receipts_key, OLD, 2, made.id, "third", 2000)
    await workspaces.transact(connection_records.delete_connection, 1, made.id, 2000)
    assert await holder("second") is None


async def test_everything_sealed_is_sealed_anew_and_the_old_key_can_go(workspaces, monkeypatch):
    monkeypatch.setattr("waypost.engine.runtime.key_rotation.STEP", 3)
    made = [await make(workspaces, f"connection {n}") for n in range(7)]
    await workspaces.transact(connection_records.delete_connection, 1, made[3].id, 2000)

    async def others(tx: Tx) -> None:
        for n in range(7):
            await tx.run(
                "endpoints.add",
                id=n,
                workspace_id=1,
                url="https://example.com",
                description="",
                event_types="[]",
                filter=None,
                headers=OLD.encrypt(f"headers {n}"),
                rate_limit=None,
                concurrency=1,
                timeout_ms=1,
                format="standard",
                signature="v1",
                owner_email=None,
                secrets=OLD.encrypt(f"secret {n}"),
                ordered=0,
                connection_id=None,
                user_id=None,
                user_name=None,
                now=1,
            )
            await tx.run(
                "idempotency.add",
                workspace_id=1 + n % 2,
                key=f"key {n}",
                request_hash="x",
                status=200,
                response=(NEW if n == 0 else OLD).encrypt(f"answer {n}"),
                now=1,
            )

    await workspaces.transact(others)
    done = await reencrypt_all(workspaces, NEW)
    assert (done.seen, done.changed) == (20, 19)
    done = await reencrypt_all(workspaces, NEW)
    assert (done.seen, done.changed) == (20, 0)
    new = Encryption([b"2" * 32])
    assert (await find(workspaces, made[6], new)).config["auth_token"] == "auth-token-in-the-clear"

    async def opened(tx: Tx) -> set[str]:
        found = set()
        for n in range(7):
            (record,) = await tx.records("endpoints.get", workspace_id=1, id=n)
            answer = await tx.row("idempotency.get", workspace_id=1 + n % 2, key=f"key {n}")
            assert answer is not None
            found |= {new.decrypt(record["headers"]), new.decrypt(record["secrets"]), new.decrypt(answer[2])}
        return found

    assert await workspaces.read(opened) == {
        f"{word} {n}" for n in range(7) for word in ("headers", "secret", "answer")
    }
    with pytest.raises(Unavailable) as caught:
        await reencrypt_all(workspaces, Encryption([b"3" * 32]))
    assert caught.value.code == "wrong_secret_key"


async def test_a_replaced_definition_pauses_what_lacks_something_and_its_end_resumes_it(workspaces):
    made, other = await make(workspaces, "one"), await make(workspaces, "one", workspace=2)
    text = definitions()["http"].replace('name = "http"', 'name = "twilio"', 1)
    await workspaces.transact(save_definition, ids, OLD, 1, text, 2000)
    found = await find(workspaces, made)
    assert (found.status, found.status_reason, found.status_at) == ("paused", "definition_changed", 2000)
    assert "is required" in (found.last_error or "")
    assert found.version > made.version
    with pytest.raises(Invalid):
        await workspaces.transact(connection_records.switch_connection, OLD, 1, made.id, True, 2001)
    assert (await find(workspaces, other)).status == "enabled"
    # A second pause changes nothing, and creates no notice.
    await workspaces.transact(save_definition, ids, OLD, 1, text, 2002)

    async def notices(tx: Tx) -> int:
        return len(await tx.rows("notices.list", workspace_id=1, before=1 << 62, n=10))

    assert await workspaces.read(notices) == 1
    await workspaces.transact(delete_definition, ids, OLD, 1, "twilio", 3000)
    found = await find(workspaces, made)
    assert (found.status, found.status_reason, found.status_at) == ("enabled", None, 3000)
    assert found.config == made.config


async def test_a_connection_whose_definition_cannot_be_read_is_paused_and_said(workspaces):
    made, other = await make(workspaces, "one"), await make(workspaces, "one", workspace=2)

    async def spoil(tx: Tx) -> None:
        await tx.run("connectors.put", workspace_id=1, name="twilio", definition="of another version", now=2000)
        await tx.run("connectors.touch_connections", workspace_id=1, name="twilio", now=2000)
        await tx.run("configurations.touch", area="providers", workspace_id=1)

    await workspaces.transact(spoil)
    known = ConnectionRegistry(workspaces, OLD, CENTERS)
    for now in (3000, 3001):
        await known.refresh()
        await known.pause_unreadable(ids, now)
    found = await find(workspaces, made)
    assert (found.status, found.status_reason, found.status_at) == ("paused", "definition_unreadable", 3000)
    assert found.last_error
    assert (await find(workspaces, other)).status == "enabled"

    async def notices(tx: Tx) -> list[Any]:
        return await tx.rows("notices.list", workspace_id=1, before=1 << 62, n=10)

    (notice,) = await workspaces.read(notices)
    assert any("is missing or not valid" in str(value) for value in notice)
    await workspaces.transact(delete_definition, ids, OLD, 1, "twilio", 4000)
    await known.refresh()
    found = await find(workspaces, made)
    assert (found.status, found.status_at) == ("enabled", 4000)
    assert known.get(1, made.id) is not None


async def test_nothing_is_made_of_a_definition_that_was_replaced_meanwhile(workspaces):
    text = definitions()["http"].replace('name = "http"', 'name = "twilio"', 1)
    await workspaces.transact(save_definition, ids, OLD, 1, text, 2000)
    with pytest.raises(Conflict) as caught:
        await make(workspaces, "one")
    assert caught.value.code == "connector_changed"
    await make(workspaces, "one", workspace=2)
