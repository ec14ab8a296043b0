"""Single sign-on on both databases: its settings, whom a provider means, its sessions, and the rotation of the key."""

import msgspec
import pytest

from waypost.clock import Ids, now_us
from waypost.domain.accounts.permissions import Role, role_permissions
from waypost.domain.accounts.single_sign_on import SignOnProvider
from waypost.engine.accounts import sessions, users, workspaces
from waypost.engine.accounts.sessions import SessionRegistry, SignOn
from waypost.engine.accounts.sign_on_settings import (
    any_provider,
    delete_provider,
    find_providers,
    get_provider,
    set_provider,
)
from waypost.engine.runtime.encryption import Encryption
from waypost.engine.runtime.key_rotation import reencrypt_all
from waypost.errors import NotFound, Unauthorized, Unavailable
from waypost.storage.database import Database

OLD, NEW = b"o" * 32, b"n" * 32
PROVIDER = SignOnProvider(
    workspace_id=1,
    label="Acme",
    issuer="https://login.example.com",
    client_id="waypost",
    client_secret="swordfish",
    domains=("example.com", "example.org"),
    role=Role.VIEWER,
    owners=True,
    trusts_mfa=True,
    updated_at=7,
)


@pytest.fixture
async def two(database: Database) -> Database:
    """A database with two workspaces, the first with single sign-on, and a user of both."""
    ids = Ids(0)
    for name in ("one", "two"):
        await database.transact(workspaces.create_workspace, ids, name, 5)
    await database.transact(set_provider, Encryption([OLD]), PROVIDER, 7)

    async def work(tx):
        user_id = await users.add_user(tx, ids, "ada@example.com", "Ada", None, 5)
        for workspace_id in (1, 2):
            await users.add_member(tx, user_id, workspace_id, Role.VIEWER, 5)

    await database.transact(work)
    return database


async def user_of(database: Database) -> int:
    found = await database.read(users.find_user, "ada@example.com")
    assert found is not None
    return int(found["id"])


async def test_the_settings_are_of_one_workspace_and_replaced_as_a_whole(two: Database):
    encryption = Encryption([OLD])
    assert await two.read(get_provider, encryption, 1) == PROVIDER
    with pytest.raises(NotFound):
        await two.read(get_provider, encryption, 2)
    other = msgspec.structs.replace(
        PROVIDER, workspace_id=2, domains=("example.org", "a.org"), role=None, owners=False, trusts_mfa=False
    )
    await two.transact(set_provider, encryption, other, 7)
    assert await two.read(get_provider, encryption, 2) == other
    found = [[row["workspace_id"] for row in await two.read(find_providers, name)] for name in ("example.org", "a.org")]
    assert found == [[1, 2], [2]]
    await two.transact(set_provider, encryption, msgspec.structs.replace(PROVIDER, domains=("b.org",)), 7)
    assert [row["workspace_id"] for row in await two.read(find_providers, "example.org")] == [2]
    for workspace_id in (1, 2):
        assert await two.read(any_provider)
        await two.transact(delete_provider, workspace_id)
    assert not await two.read(any_provider)
    assert await two.read(find_providers, "a.org") == []


async def test_a_subject_means_one_user_and_a_user_has_one_subject(two: Database):
    user_id = await user_of(two)

    async def add(tx, workspace_id, issuer, subject, user_id):
        return await tx.run(
            "single_sign_on.add_identity",
            workspace_id=workspace_id,
            issuer=issuer,
            subject=subject,
            user_id=user_id,
            now=9,
        )

    async def find(tx, workspace_id, issuer, subject):
        return await tx.rows("single_sign_on.identity", workspace_id=workspace_id, issuer=issuer, subject=subject)

    rows = ((1, "a", "x", user_id), (1, "a", "x", 99), (1, "a", "y", user_id), (2, "a", "x", user_id))
    assert [await two.transact(add, *row) for row in rows] == [1, 0, 0, 1]
    assert await two.read(find, 1, "a", "x") == [(user_id, "ada@example.com", "viewer")]
    assert await two.read(find, 1, "b", "x") == []
    await two.transact(users.remove_member, 1, user_id, role_permissions(Role.OWNER))
    assert await two.read(find, 1, "a", "x") == []
    assert await two.read(find, 2, "a", "x") != []
    assert await two.transact(add, 1, "a", "y", user_id) == 1


async def test_a_session_lives_as_long_as_its_provider_and_its_role(two: Database):
    encryption, user_id = Encryption([OLD]), await user_of(two)
    registry = SessionRegistry(two, Ids(0), encryption)

    async def start(workspace_id):
        sign_on = SignOn(workspace_id, 3) if workspace_id else None
        cookie, made = await registry.start(user_id, mfa=False, ip="", user_agent="", sign_on=sign_on)
        return cookie, made

    async def find(cookie):
        registry.forget()
        return await registry.find(cookie, "")

    (own, _), (bound, made) = await start(0), await start(1)
    assert ([one.workspace_id for one in made.workspaces], made.confirmed_at, made.trusts_mfa) == ([1], 3, True)
    assert [one.workspace_id for one in (await find(own)).workspaces] == [1, 2]
    # A workspace without single sign-on has no such sessions.
    with pytest.raises(Unauthorized):
        await start(2)
    await two.transact(set_provider, encryption, msgspec.structs.replace(PROVIDER, trusts_mfa=False), 7)
    assert not (await find(bound)).trusts_mfa
    for changes in ({"issuer": "https://b.example.com"}, {"domains": ("example.com",)}, {"owners": False}):
        await two.transact(set_provider, encryption, PROVIDER, 7)
        bound, _ = await start(1)
        await two.transact(set_provider, encryption, msgspec.structs.replace(PROVIDER, **changes), 7)
        with pytest.raises(Unauthorized):
            await find(bound)
    bound, _ = await start(1)
    await two.transact(users.remove_member, 1, user_id, role_permissions(Role.OWNER))
    with pytest.raises(Unauthorized):
        await find(bound)
    assert [one.workspace_id for one in (await find(own)).workspaces] == [2]
    assert len(await two.read(sessions.list_sessions, user_id, 1 << 62, 10, now_us())) == 2


async def test_the_secret_survives_a_rotation_of_the_key(two: Database):
    with pytest.raises(Unavailable):
        await two.read(get_provider, Encryption([NEW]), 1)
    await reencrypt_all(two, Encryption([NEW, OLD]))
    assert await two.read(get_provider, Encryption([NEW]), 1) == PROVIDER
