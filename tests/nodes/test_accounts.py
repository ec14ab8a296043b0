"""Users with two nodes on one database: guesses are counted together, a code is good once, an ended session ends."""

import asyncio
import time

import msgspec
import pyotp
import pytest
from argon2 import PasswordHasher

from tests.authenticator import Authenticator
from tests.nodes.conftest import Pair
from tests.waiting import eventually
from waypost.api.control.accounts.passkey_json import PasskeyCredential, PasskeyUse
from waypost.clock import now_us
from waypost.domain.accounts.passkeys import ADD, USE, to_base64url, user_handle
from waypost.domain.accounts.permissions import Role
from waypost.engine.accounts import account_tokens, second_factors, sessions, users
from waypost.engine.accounts.passkeys import store_passkey
from waypost.engine.accounts.passwords import Passwords
from waypost.errors import Error, Unauthorized

pytestmark = pytest.mark.postgres

EMAIL, PASSWORD = "ada@example.com", "correct horse battery"


@pytest.fixture
async def owner(pair: Pair) -> int:
    for node in pair.nodes:
        node.engine.sessions.passwords = Passwords(PasswordHasher(time_cost=1, memory_cost=64))
    hashed = await pair.one.engine.sessions.passwords.hash(PASSWORD)

    async def work(tx):
        user_id = await users.add_user(tx, pair.one.engine.ids, EMAIL, "", hashed, now_us())
        await users.add_member(tx, user_id, 1, Role.OWNER, now_us())
        return user_id

    user_id: int = await pair.one.database.transact(work)
    return user_id


async def enter(node, password=PASSWORD, code=None):
    """Return the code of the refusal, or the session's cookie."""
    try:
        cookie, _ = await node.engine.sessions.sign_in(EMAIL, password, code, "192.0.2.7", "test")
    except Error as error:
        return error.code
    return cookie


async def turn_on(node, user_id):
    """Turn the second factor on; return the app."""
    encryption = node.engine.encryption
    offer = await node.database.transact(second_factors.offer_totp, encryption, user_id, now_us())
    app = pyotp.TOTP(offer.secret)
    await node.database.transact(second_factors.confirm_totp, encryption, user_id, app.now(), now_us())
    return app


async def test_guesses_are_counted_by_all_nodes(pair, owner):
    guesses = [enter(pair.nodes[number % 2], f"not this one {number}") for number in range(30)]
    codes = await asyncio.gather(*guesses)
    assert codes.count("wrong_credentials") == 10
    assert codes.count("rate_limited") == 20
    assert await enter(pair.other) == "rate_limited"


async def test_a_code_is_good_once_on_both_nodes(pair, owner):
    app = await turn_on(pair.one, owner)
    code = app.at(time.time() + 30)
    found = await asyncio.gather(*(enter(pair.nodes[number % 2], code=code) for number in range(6)))
    assert found.count("wrong_code") == 5


async def test_a_recovery_code_is_good_once_on_both_nodes(pair, owner):
    await turn_on(pair.one, owner)
    (code, *_) = await pair.one.database.transact(second_factors.renew_recovery_codes, owner, now_us())
    found = await asyncio.gather(*(enter(pair.nodes[number % 2], code=code) for number in range(6)))
    assert sum(cookie not in ("wrong_code", "conflict") for cookie in found) == 1


async def test_a_passkey_challenge_of_one_node_is_good_once_on_both(pair, owner):
    authenticator = Authenticator(pair.one.engine.passkeys.require_party().origin)
    offer = {
        "rp": {"id": "localhost"},
        "user": {"id": to_base64url(user_handle(owner))},
        "challenge": pair.one.engine.passkeys.make_challenge(ADD, owner),
    }
    made = authenticator.make(offer)
    body = msgspec.convert(made, PasskeyCredential)
    # The other node stores what the browser made for a challenge of this one.
    verified = pair.other.engine.passkeys.verify_new(owner, body.read())
    await pair.other.database.transact(store_passkey, pair.other.engine.ids, owner, "Laptop", verified, now_us())
    options = {"rpId": "localhost", "challenge": pair.one.engine.passkeys.make_challenge(USE)}
    assertion = msgspec.convert(authenticator.use(options), PasskeyUse).read()

    async def use(node):
        try:
            return (await node.engine.passkeys.sign_in(assertion, "192.0.2.7", "test"))[1].mfa
        except Error as error:
            return error.code

    found = await asyncio.gather(*(use(pair.nodes[number % 2]) for number in range(6)))
    assert sorted(found, key=str) == [True, *["wrong_passkey"] * 5]


async def test_a_session_that_ended_on_one_node_ends_on_the_other(pair, owner, monkeypatch):
    monkeypatch.setattr(sessions, "TRUST_S", 0.05)
    cookie = await enter(pair.one)
    session = await pair.other.engine.sessions.find(cookie, "")
    await pair.one.database.transact(sessions.end_session, owner, session.id)

    async def over():
        try:
            await pair.other.engine.sessions.find(cookie, "")
        except Unauthorized:
            return True
        return False

    assert await eventually(over)


async def test_one_invitation_makes_one_user(pair, owner):
    engine = pair.one.engine
    made = await pair.one.database.transact(
        account_tokens.invite, engine.ids, 1, "grace@example.com", Role.VIEWER, owner, "http://waypost", now_us()
    )
    token = made["url"].partition("#")[2]

    async def accept(node):
        try:
            return await node.database.transact(
                account_tokens.accept_invitation, node.engine.ids, token, "Grace", "hash", None, now_us()
            )
        except Error as error:
            return error.code

    found = await asyncio.gather(*(accept(pair.nodes[number % 2]) for number in range(4)))
    assert len([one for one in found if isinstance(one, int)]) == 1
    rows = await pair.one.sql("SELECT count(*) FROM users WHERE email = 'grace@example.com'")
    assert rows == [(1,)]


async def test_sessions_and_tries_are_pruned(pair, owner):
    await enter(pair.one)
    await enter(pair.one, "not this one")
    await pair.one.sql("UPDATE sessions SET expires_at = 1")
    await pair.one.sql("UPDATE sign_in_tries SET expires_at = 1")
    await pair.other.run("prune")
    assert await pair.one.sql("SELECT (SELECT count(*) FROM sessions) + (SELECT count(*) FROM sign_in_tries)") == [(0,)]
