"""The connection registry: changes of other processes, caches of misses, and limits."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from waypost.clock import Ids, now_us
from waypost.domain.messaging.message import SendOutcome, Verdict
from waypost.domain.providers.connection_config import check_config
from waypost.domain.providers.setup_checks import Check, Report, Result
from waypost.domain.values.circuit_breaker import FAILURE_THRESHOLD
from waypost.domain.values.masking import Masker
from waypost.engine.providers import connection_records
from waypost.engine.providers import registry as module
from waypost.engine.providers.connection_records import ConnectionDraft, ConnectionRecord
from waypost.engine.providers.connectors import definitions, read_own, shipped
from waypost.engine.providers.registry import SOURCES, ConnectionRegistry, complete, failure_of
from waypost.engine.runtime.encryption import Encryption
from waypost.errors import Invalid, NotFound, Unavailable
from waypost.settings import load_settings
from waypost.storage.database import Tx
from waypost.storage.sqlite import SQLite

ENCRYPTION = Encryption([b"1" * 32])
TWILIO = shipped()["twilio"]
CONFIG = {"account_sid": "AC" + "0" * 32, "auth_token": "auth-token", "from": "+12025550100"}
CENTERS = {"global": "https://waypost.example", "india": "https://in.waypost.example/way"}
ids = Ids(1)


@pytest.fixture
async def database(tmp_path: Path):
    opened = SQLite(tmp_path / "waypost.db")
    await opened.migrate()

    async def work(tx: Tx) -> None:
        for id_ in (1, 2):
            await tx.run("workspaces.add", id=id_, name="x", now=1)

    await opened.transact(work)
    yield opened
    await opened.close()


@pytest.fixture
async def known(database: SQLite) -> ConnectionRegistry:
    """Create connections, and load them once."""
    found = ConnectionRegistry(database, ENCRYPTION, CENTERS)
    await found.load_all()
    return found


async def make(database: SQLite, name: str, *, workspace: int = 1, **changes: Any) -> ConnectionRecord:
    draft = connection_records.check_draft(ConnectionDraft(name=name, config=CONFIG, **changes), TWILIO, CENTERS)
    return await database.transact(
        connection_records.create_connection, ids, ENCRYPTION, workspace, TWILIO, draft, f"key {name}", None, now_us()
    )


async def rename(database: SQLite, account: ConnectionRecord, name: str) -> ConnectionRecord:
    draft = msgspec.structs.replace(_draft(account), name=name)
    return await database.transact(
        connection_records.change_connection, ENCRYPTION, account, draft, None, now_us(), fixed=False
    )


def _draft(account: ConnectionRecord) -> ConnectionDraft:
    return ConnectionDraft(**{name: getattr(account, name) for name in ConnectionDraft.__struct_fields__})


async def test_what_changes_elsewhere_is_seen_after_a_refresh(database, known):
    made = await make(database, "one")
    assert known.get(1, made.id) is None
    await known.refresh()
    connection = known.get(1, made.id)
    assert connection is not None
    assert (connection.name, connection.config["auth_token"], connection.channel) == ("one", "auth-token", "sms")
    assert known.get(2, made.id) is None
    assert known.by_number(made.id) is connection
    await known.refresh([1, 2])
    assert known.get(1, made.id) is connection
    renamed = await rename(database, made, "two")
    await known.refresh([2])
    assert known.get(1, made.id) is connection
    await known.refresh([1])
    assert (known.get(1, made.id).name, renamed.version) == ("two", 2)
    await database.transact(connection_records.delete_connection, 1, made.id, now_us())
    await known.refresh()
    assert known.get(1, made.id) is None
    assert known.all() == []


async def test_the_health_of_deleted_connections_is_forgotten(database, known):
    made, kept = await make(database, "one"), await make(database, "two")
    await known.refresh()
    gone, stays = known.by_number(made.id), known.by_number(kept.id)
    failed = [Verdict(outcome=SendOutcome.RETRY, reason="unreachable")]
    for _ in range(FAILURE_THRESHOLD):
        for connection in (gone, stays):
            known.note(connection, failed, now_us(), 1.0)
    await database.transact(connection_records.delete_connection, 1, made.id, now_us())
    await known.refresh()
    # A call that was under way when it was deleted.
    known.note(gone, failed, now_us(), 1.0)
    assert known._health.keys() == {kept.id}
    assert (known.failing(made.id), known.failing(kept.id)) == (False, True)


async def test_only_what_changed_is_opened_again(database, known, monkeypatch):
    first, second = await make(database, "one"), await make(database, "two")
    await known.refresh()
    before = known.by_number(first.id)
    opened: list[str] = []

    def open_one(_encryption: Encryption, text: str) -> str:
        opened.append(text)
        return '{"auth_token": "x"}'

    monkeypatch.setattr(Encryption, "decrypt", open_one)
    draft = msgspec.structs.replace(_draft(second), name="three")
    await database.transact(
        connection_records.change_connection, ENCRYPTION, second, draft, None, now_us(), fixed=False
    )
    opened.clear()
    await known.refresh()
    assert len(opened) == 1
    assert known.by_number(first.id) is before
    assert known.by_number(second.id).name == "three"


async def test_a_late_answer_does_not_bring_back_what_was(database, known):
    made = await make(database, "one")
    older = await database.read(known._load, None)
    await rename(database, made, "two")
    await known.refresh()
    version = known._snapshots[1].version
    assert older[1].version < version
    # As if the first response had arrived last.
    real = database.read

    async def late(work: Any, *args: Any) -> Any:
        return older

    database.read = late
    await known.refresh()
    database.read = real
    assert (known.get(1, made.id).name, known._snapshots[1].version) == ("two", version)


async def test_a_channel_has_the_enabled_ones_in_order(database, known):
    made = [
        await make(database, name, position=position) for name, position in (("b", 1), ("c", 1), ("a", 0), ("off", 0))
    ]
    await make(database, "elsewhere", workspace=2)
    await database.transact(connection_records.switch_connection, ENCRYPTION, 1, made[3].id, False, now_us())
    await known.refresh()
    assert [connection.name for connection in known.for_channel(1, "sms")] == ["a", "b", "c"]
    assert known.for_channel(1, "email") == known.for_channel(3, "sms") == []
    assert len(known.all()) == 5


async def test_ids_of_nobody_are_asked_for_once_and_only_so_many_are_remembered(database, known, monkeypatch):
    asked: list[int] = []
    real = module._workspace_of

    async def watch(tx: Tx, connection_id: int) -> int | None:
        asked.append(connection_id)
        return await real(tx, connection_id)

    monkeypatch.setattr(module, "_workspace_of", watch)
    monkeypatch.setattr(module, "MOST_CACHED", 10)
    for _ in range(3):
        assert await known.by_id(5) is None
    assert asked == [5]
    for id_ in range(100, 150):
        assert await known.by_id(id_) is None
        assert len(known._absent) <= 10
    # A connection just created elsewhere is found, although its workspace was not reloaded since.
    made = await make(database, "one")
    found = await known.by_id(made.id)
    assert found is not None
    assert found.name == "one"
    assert (await known.find(1, made.id)) is found
    for workspace, id_ in ((2, made.id), (1, 5)):
        with pytest.raises(NotFound) as caught:
            await known.find(workspace, id_)
        assert caught.value.code == "unknown_connection"


async def test_keys_of_nobody_are_asked_for_once_and_only_so_many_are_remembered(database, known, monkeypatch):
    asked: list[str] = []
    real = module._connection_of_key

    async def watch(tx: Tx, hash_: str) -> tuple[int, int] | None:
        asked.append(hash_)
        return await real(tx, hash_)

    monkeypatch.setattr(module, "_connection_of_key", watch)
    monkeypatch.setattr(module, "MOST_CACHED", 10)
    made = await make(database, "one")
    await known.refresh()
    for _ in range(3):
        assert await known.by_receipts_key("key one") == (1, made.id)
        assert await known.by_receipts_key("key two") is None
    assert len(asked) == 2
    for n in range(50):
        assert await known.by_receipts_key(f"guess {n}") is None
        assert len(known._keys) <= 10
    assert "key one" not in repr(known._keys)
    count = len(asked)
    assert [await known.by_receipts_key(key) for key in ("", "x" * 4097)] == [None, None]
    assert len(asked) == count
    assert await known.by_receipts_key("\udcff") is None


async def test_a_key_that_was_rotated_elsewhere_ends_with_the_next_refresh(database, known):
    made = await make(database, "one")
    await known.refresh()
    assert await known.by_receipts_key("key one") == (1, made.id)
    await database.transact(connection_records.rotate_receipts_key, ENCRYPTION, 1, made.id, "new", now_us())
    await known.refresh()
    assert await known.by_receipts_key("key one") is None
    assert await known.by_receipts_key("new") == (1, made.id)


async def test_a_connection_whose_connector_cannot_be_read_is_left_out_and_said(database, known, capsys):
    made, other = await make(database, "one"), await make(database, "two")

    async def break_it(tx: Any) -> None:
        tx._connection.execute("UPDATE connections SET connector = 'gone', version = 9 WHERE id = ?", (made.id,))
        await tx.run("configurations.touch", area="providers", workspace_id=1)

    await database.transact(break_it)
    await known.refresh()
    assert [connection.id for connection in known.all()] == [other.id]
    assert "connection_unusable" in capsys.readouterr().out


async def test_a_wrong_secret_key_is_found_out_when_connections_are_read(database):
    await make(database, "one")
    with pytest.raises(Unavailable) as caught:
        await ConnectionRegistry(database, Encryption([b"2" * 32]), CENTERS).load_all()
    assert caught.value.code == "wrong_secret_key"


async def test_own_definitions_are_used_and_changes_of_them_seen(database, known):
    text = definitions()["twilio"].replace('name = "twilio"', 'name = "own"').replace('checks = ["twilio"]', "")

    async def put(tx: Tx, definition: str) -> None:
        await tx.run("connectors.put", workspace_id=1, name="own", definition=definition, now=1)
        await tx.run("connectors.touch_connections", workspace_id=1, name="own", now=1)
        await tx.run("configurations.touch", area="providers", workspace_id=1)

    await database.transact(put, text)
    own = read_own(text, "own")
    draft = ConnectionDraft(name="one", config=check_config(own, CONFIG))
    made = await database.transact(
        connection_records.create_connection, ids, ENCRYPTION, 1, own, draft, "key", None, now_us()
    )
    await known.refresh()
    assert known.by_number(made.id).connector.name == "own"
    changed = text.replace("per_second = 100", "per_second = 7").replace(
        "[callback]\n",
        '[[fields]]\nname = "mood"\nlabel = "Mood"\ndefault = "good"\n\n[callback]\n',
    )
    await database.transact(put, changed)
    await known.refresh()
    connection = known.by_number(made.id)
    # A field added later has its default.
    assert (connection.per_second, connection.config["mood"]) == (7, "good")
    assert connection.config["auth_token"] == "auth-token"


async def test_urls_by_data_center(database, known):
    made = await make(database, "one", data_center="india")
    await known.refresh()
    connection = known.by_number(made.id)
    assert known.callback_url(connection) == f"https://in.waypost.example/way/receipts/con_{made.id:016x}"
    assert known.tracker_url("india") == "https://in.waypost.example/way/tracking/amazon-pinpoint-events"
    for name in ("", None, "global", "gone"):
        assert known.tracker_url(name) == "https://waypost.example/tracking/amazon-pinpoint-events"


@pytest.mark.parametrize(
    ("own", "limits"),
    [
        ({}, (100, 32, 36_000)),
        ({"per_second": 5.0, "concurrency": 64, "validity_s": 60}, (5, 64, 60)),
        ({"per_second": 500.0}, (500, 32, 36_000)),
    ],
)
async def test_what_the_owner_says_of_limits_counts(own, limits, database, known):
    made = await make(database, "one", **own)
    await known.refresh()
    connection = known.by_number(made.id)
    assert (connection.per_second, connection.concurrency, connection.validity_s) == limits


@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_field_is_there_however_little_was_kept(name):
    connector = shipped()[name]
    config = complete(connector, {"gone": 1})
    assert set(config) == {field.name for field in connector.fields}
    assert complete(connector, config) == config
    assert complete(connector, {field.name: "x" for field in connector.fields}) == dict.fromkeys(config, "x")


def test_no_status_is_a_dead_end_and_none_leads_to_itself():
    assert set(SOURCES) == {"enabled", "paused", "disabled"}
    assert all(status not in sources for status, sources in SOURCES.items())
    assert all(any(status in sources for sources in SOURCES.values()) for status in SOURCES)
    # Only an enabled connection can be found misconfigured: its owner disabled the other one deliberately.
    assert SOURCES["paused"] == ("enabled",)


def test_a_provider_that_repeats_a_secret_is_not_repeated():
    words = "no such key auth-token-2, only auth-token"
    check = Check(name="key", call="GET /", result=Result.FAILED, detail=words, error="auth-token")
    report = connection_records._redact(Report(checks=(check,)), Masker(["auth-token", "auth-token-2"]))
    assert report.checks[0].detail == "no such key ***, only ***"
    assert report.checks[0].error == "***"


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("", {"global": "https://waypost.example"}),
        (
            "india=https://in.waypost.example/, saudi-arabia = https://ksa.waypost.example ,",
            {
                "global": "https://waypost.example",
                "india": "https://in.waypost.example",
                "saudi-arabia": "https://ksa.waypost.example",
            },
        ),
        ("global=https://other.example:8443/way", {"global": "https://other.example:8443/way"}),
    ],
)
def test_data_centers_are_read(text, urls):
    settings = load_settings({"WAYPOST_DATA_CENTERS": text, "WAYPOST_PUBLIC_URL": "https://waypost.example/"})
    assert settings.data_center_urls == urls


@pytest.mark.parametrize(
    "text",
    [
        "india",
        "=https://x.example",
        "India=https://x.example",
        "a=ftp://x",
        "a=https://",
        "a=https://x?y",
        "a=https://[x",
    ],
)
def test_data_centers_that_are_none_are_refused(text):
    with pytest.raises(Invalid, match="data_centers") as caught:
        load_settings({"WAYPOST_DATA_CENTERS": text})
    assert caught.value.code == "invalid_setting"


async def test_the_same_account_is_the_same_connector_and_the_same_identity_in_one_workspace(database, known):
    one, other = await make(database, "one"), await make(database, "two")
    elsewhere = await make(database, "elsewhere", workspace=2)
    draft = ConnectionDraft(name="key", config=CONFIG | {"auth_token": "another", "from": "+12025550199"})
    draft = connection_records.check_draft(draft, TWILIO, CENTERS)
    rotated = await database.transact(
        connection_records.create_connection, ids, ENCRYPTION, 1, TWILIO, draft, "key rotated", None, now_us()
    )
    draft = ConnectionDraft(name="stranger", config=CONFIG | {"account_sid": "AC" + "1" * 32})
    draft = connection_records.check_draft(draft, TWILIO, CENTERS)
    stranger = await database.transact(
        connection_records.create_connection, ids, ENCRYPTION, 1, TWILIO, draft, "key stranger", None, now_us()
    )
    await known.refresh()
    assert known.same_account(one.id, other.id)
    assert known.same_account(one.id, rotated.id)
    assert not known.same_account(one.id, elsewhere.id)
    assert not known.same_account(one.id, stranger.id)
    assert not known.same_account(one.id, 12345)


def test_the_account_of_a_connector_is_named_or_made_of_what_is_required_or_secret():
    assert TWILIO.account_fields == ("account_sid",)
    assert set(shipped()["http"].account_fields) >= {"url", "password", "token", "auth_value"}
    for connector in shipped().values():
        fields = [connector.field(name) for name in connector.account_fields]
        # Without an identity, receipts could not be distinguished from those of another account.
        assert any(field is not None and (field.required or field.secret) for field in fields)


@pytest.mark.parametrize(
    ("verdicts", "failure"),
    [
        ([Verdict(outcome=SendOutcome.RETRY, reason="unreachable", detail="refused")], ("unreachable", "refused")),
        # During an outage the rest of the queue must not become unknown as well.
        ([Verdict(outcome=SendOutcome.UNKNOWN, reason="provider_5xx", detail="503")], ("provider_5xx", "503")),
        (
            [
                Verdict(outcome=SendOutcome.UNKNOWN, reason="provider_5xx"),
                Verdict(outcome=SendOutcome.RETRY, reason="busy"),
            ],
            ("busy", None),
        ),
        # A provider that responds with a refusal, or not at all, is not in an outage.
        ([Verdict(outcome=SendOutcome.UNKNOWN, reason="no_answer")], None),
        ([Verdict(outcome=SendOutcome.RETRY), Verdict(outcome=SendOutcome.ACCEPTED)], None),
        ([Verdict(outcome=SendOutcome.REJECTED)], None),
        ([Verdict(outcome=SendOutcome.MISCONFIGURED)], None),
    ],
)
def test_what_counts_as_a_failure_of_a_connection(verdicts, failure):
    assert failure_of(verdicts) == failure
