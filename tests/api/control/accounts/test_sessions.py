"""Sign-in: passwords, second factors, cookies, other sites, guessing, and what an answer gives away."""

import asyncio
import contextlib
import re
import time

import pyotp
import pytest
from argon2 import PasswordHasher

from tests.api.calling import PASSWORD, add_user, bearer, ok, refused, session_of
from waypost.clock import DAY, MINUTE, now_us
from waypost.domain.accounts import sign_in
from waypost.domain.accounts.permissions import Role
from waypost.engine.accounts import sessions, users
from waypost.errors import Unauthorized, Unavailable

EMAIL = "ada@example.com"


@pytest.fixture
async def owner(engine, keys):
    return await add_user(engine, keys.workspace_id, Role.OWNER, email=EMAIL, name="Ada")


def enter(browser, **fields):
    return browser.post("/v1/sessions", json={"email": EMAIL, "password": PASSWORD} | fields)


async def turn_on(browser):
    """Turn the second factor on; return the app and the recovery codes."""
    offer = await ok(browser.post("/v1/users/me/totp"))
    app = pyotp.TOTP(offer["secret"])
    codes = await ok(browser.post("/v1/users/me/totp/confirm", json={"code": app.now()}))
    return app, codes["recovery_codes"]


def at_step(app, steps):
    """Return the code of a step before or after now."""
    return app.at(time.time() + 30 * steps)


async def test_a_password_makes_a_session(browser, owner, keys):
    me = await ok(enter(browser, email=" ADA@example.com "))
    cookie = browser.cookies[sign_in.COOKIE]
    assert len(cookie) == 43
    assert (me["user"]["email"], me["role"], me["key"]) == (EMAIL, "owner", None)
    assert me == await ok(browser.get("/v1/me"))
    assert await ok(browser.get("/v1/lists")) == {"data": [], "next": None}


async def test_the_cookie_is_for_this_host_and_no_script(browser, owner):
    answer = await enter(browser)
    name, *attributes = re.split(r"; ", answer.headers["set-cookie"])
    assert name.startswith("__Host-")
    assert set(attributes) == {"Path=/", "Secure", "HttpOnly", "SameSite=Lax", "Max-Age=2592000"}
    assert answer.headers["cache-control"] == "no-store"


async def test_a_key_has_no_user(client, owner):
    me = await ok(client.get("/v1/me"))
    assert (me["user"], me["role"], me["session"]) == (None, None, None)
    assert me["key"]["name"] == "first API key"
    assert "people.write" in me["permissions"]
    await refused(client.get("/v1/sessions"), 403, "users_only")


async def test_an_answer_does_not_say_whether_there_is_a_user(browser, owner):
    wrong = await enter(browser, password="not this one")
    unknown = await enter(browser, email="grace@example.com")
    assert (wrong.status_code, wrong.content) == (unknown.status_code, unknown.content) == (401, wrong.content)
    resets = [
        await browser.post("/v1/password-resets", json={"email": email}) for email in (EMAIL, "grace@example.com")
    ]
    assert {(reset.status_code, reset.content) for reset in resets} == {(202, b"null")}


async def test_an_unknown_address_takes_as_long(engine, browser, owner):
    """Both answers take one verification: what is verified for nobody is a real hash."""
    seen = []
    verify = engine.sessions.passwords._hasher.verify

    class Spy:
        def verify(self, stored, password):
            seen.append(stored)
            return verify(stored, password)

        def hash(self, password):
            return PasswordHasher(time_cost=1, memory_cost=64).hash(password)

        def check_needs_rehash(self, stored):
            return False

    engine.sessions.passwords._hasher = Spy()
    await refused(enter(browser, password="not this one"), 401, "wrong_credentials")
    await refused(enter(browser, email="grace@example.com"), 401, "wrong_credentials")
    assert [stored.startswith("$argon2id$") for stored in seen] == [True, True]


async def test_sign_in_never_adopts_a_cookie(browser, owner):
    browser.cookies.set(sign_in.COOKIE, "planted", domain="waypost", path="/")
    answer = await enter(browser)
    assert answer.status_code == 200
    assert "planted" not in answer.headers["set-cookie"]
    await refused(browser.get("/v1/me", headers={"cookie": f"{sign_in.COOKIE}=planted"}), 401, "session_ended")


async def test_a_new_sign_in_ends_the_session_of_this_browser(browser, owner):
    await ok(enter(browser))
    first = browser.cookies[sign_in.COOKIE]
    await ok(enter(browser))
    assert browser.cookies[sign_in.COOKIE] != first
    await refused(browser.get("/v1/me", headers={"cookie": f"{sign_in.COOKIE}={first}"}), 401, "session_ended")
    assert len((await ok(browser.get("/v1/sessions")))["data"]) == 1


async def test_sessions_are_listed_and_ended(browser, owner, engine):
    await ok(enter(browser))
    other, _ = await engine.sessions.start(owner, mfa=False, ip="192.0.2.9", user_agent="Phone")
    listed = (await ok(browser.get("/v1/sessions")))["data"]
    assert [(one["current"], one["ip"]) for one in listed] == [(False, "192.0.2.9"), (True, "192.0.2.7")]
    assert (await browser.delete(f"/v1/sessions/{listed[0]['id']}")).status_code == 204
    await refused(browser.get("/v1/me", headers={"cookie": f"{sign_in.COOKIE}={other}"}), 401, "session_ended")
    assert (await browser.delete("/v1/sessions/current")).status_code == 204
    await refused(browser.get("/v1/me"), 401, "unauthorized")


async def test_nobody_ends_the_session_of_somebody_else(browser, owner, engine, keys):
    await ok(enter(browser))
    mine = (await ok(browser.get("/v1/sessions")))["data"][0]["id"]
    hashed = await engine.sessions.passwords.hash(PASSWORD)
    stranger = await engine.database.transact(users.add_user, engine.ids, "grace@example.com", "", hashed, now_us())
    cookie, _ = await engine.sessions.start(stranger, mfa=False, ip="", user_agent="")
    await refused(
        browser.delete(f"/v1/sessions/{mine}", headers={"cookie": f"{sign_in.COOKIE}={cookie}"}), 404, "not_found"
    )


async def test_a_session_ends_when_it_is_not_used(browser, owner, engine):
    await ok(enter(browser))

    async def age(tx):
        found = await sessions.list_sessions(tx, owner, 1 << 62, 1, now_us())
        await tx.run("sessions.touch", id=found[0]["id"], ip="", expires_at=now_us() - 1, now=now_us() + DAY)

    await engine.database.transact(age)
    engine.sessions.forget()
    await refused(browser.get("/v1/me"), 401, "session_ended")


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({}, True),
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "same-origin", "origin": "https://evil.example"}, True),
        ({"origin": "https://waypost"}, True),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": "https://waypost.evil.example"}, False),
    ],
)
async def test_pages_of_other_sites_change_nothing(headers, passes, browser, owner):
    await ok(enter(browser))
    made = browser.post("/v1/lists", json={"name": "News"}, headers=headers)
    again = enter(browser)
    if passes:
        await ok(made, 201)
        await ok(again)
    else:
        await refused(made, 403, "cross_site")
        await ok(again)
        assert (await ok(browser.get("/v1/lists", headers=headers)))["data"] == []
        await refused(browser.post("/v1/sessions", json={}, headers=headers), 403, "cross_site")


async def test_a_key_is_not_bound_to_a_site(client, owner):
    await ok(client.post("/v1/lists", json={"name": "News"}, headers={"origin": "https://shop.example"}), 201)


async def test_the_second_factor(browser, owner):
    await ok(enter(browser))
    app, codes = await turn_on(browser)
    assert len(set(codes)) == 10
    browser.cookies.clear()
    await refused(enter(browser), 401, "mfa_required")
    await refused(enter(browser, password="not this one"), 401, "wrong_credentials")
    await refused(enter(browser, totp="000000"), 401, "wrong_code")
    me = await ok(enter(browser, totp=at_step(app, 1)))
    assert me["user"]["totp"]
    assert me["session"]["mfa"]


async def test_a_code_is_good_once_and_near_its_time(browser, owner):
    await ok(enter(browser))
    app, _ = await turn_on(browser)
    # The code that turned it on, one before it, and those of clocks that are far off.
    for steps in (0, -1, 2, -2, 10):
        await refused(enter(browser, totp=at_step(app, steps)), 401, "wrong_code")
    ahead = at_step(app, 1)
    await ok(enter(browser, totp=ahead))
    await refused(enter(browser, totp=ahead), 401, "wrong_code")


async def test_one_code_makes_one_session_of_many_requests(browser, owner):
    await ok(enter(browser))
    app, _ = await turn_on(browser)
    code = at_step(app, 1)
    answers = await asyncio.gather(*(enter(browser, totp=code) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401, 401]


async def test_a_recovery_code_is_good_once(browser, owner):
    await ok(enter(browser))
    _, codes = await turn_on(browser)
    me = await ok(enter(browser, totp=codes[3].upper().replace("-", " ")))
    assert me["user"]["recovery_codes"] == 9
    await refused(enter(browser, totp=codes[3]), 401, "wrong_code")
    fresh = (await ok(browser.post("/v1/users/me/recovery-codes")))["recovery_codes"]
    await refused(enter(browser, totp=codes[4]), 401, "wrong_code")
    await ok(enter(browser, totp=fresh[0]))


async def test_an_unconfirmed_second_factor_does_not_lock_out(browser, owner):
    await ok(enter(browser))
    await ok(browser.post("/v1/users/me/totp"))
    await refused(browser.post("/v1/users/me/totp/confirm", json={"code": "000000"}), 400, "code_wrong")
    await ok(enter(browser))


async def test_the_second_factor_ends_other_sessions_and_is_not_replaced(browser, owner, engine):
    await ok(enter(browser))
    other, _ = await engine.sessions.start(owner, mfa=False, ip="", user_agent="")
    await turn_on(browser)
    await refused(browser.get("/v1/me", headers={"cookie": f"{sign_in.COOKIE}={other}"}), 401, "session_ended")
    await refused(browser.post("/v1/users/me/totp"), 409, "totp_exists")
    assert (await browser.delete("/v1/users/me/totp")).status_code == 204
    await ok(enter(browser))


async def test_guesses_are_limited(browser, owner):
    for _ in range(10):
        await refused(enter(browser, password="not this one"), 401, "wrong_credentials")
    answer = await enter(browser)
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert 0 < int(answer.headers["retry-after"]) <= 900


async def test_who_signs_in_often_is_not_limited(browser, owner, monkeypatch):
    few = [limit._replace(most=2) for limit in sign_in.sign_in_limits(EMAIL, "192.0.2.7")]
    monkeypatch.setattr(sign_in, "sign_in_limits", lambda email, ip: few)
    for _ in range(4):
        await ok(enter(browser))


async def test_guesses_of_codes_are_limited(browser, owner):
    await ok(enter(browser))
    app, _ = await turn_on(browser)
    # The one that turned it on counts as well.
    for _ in range(9):
        await refused(enter(browser, totp="000000"), 401, "wrong_code")
    await refused(enter(browser, totp=at_step(app, 1)), 429, "rate_limited")


async def test_concurrent_guesses_are_all_counted(browser, owner):
    answers = await asyncio.gather(*(enter(browser, password=f"not this one {n}") for n in range(30)))
    assert [answer.status_code for answer in answers].count(401) == 10


async def test_guesses_of_a_stranger_do_not_lock_out(browser, owner, engine):
    """Somebody else at another IP address guesses as often as they may; the user signs in."""
    for limit in sign_in.sign_in_limits(EMAIL, "198.51.100.1")[:1]:
        for _ in range(limit.most + 5):
            with contextlib.suppress(Unavailable):
                await engine.sessions.count_try([limit])
    await ok(enter(browser))


async def test_sensitive_actions_ask_again(browser, owner, engine, hook):
    await ok(enter(browser))

    async def age(tx):
        found = await sessions.list_sessions(tx, owner, 1 << 62, 1, now_us())
        await sessions.confirm_session(tx, found[0]["id"], mfa=False, now=now_us() - 16 * MINUTE)

    await engine.database.transact(age)
    engine.sessions.forget()
    made = await ok(browser.post("/v1/webhooks", json={"url": hook, "event_types": ["*"]}), 201)
    key = {"name": "x", "scopes": ["read"]}
    await refused(browser.post("/v1/keys", json=key), 403, "confirmation_required")
    await refused(browser.get(f"/v1/webhooks/{made['id']}/secret"), 403, "confirmation_required")
    await refused(browser.post("/v1/sessions/current/confirm", json={"password": "no"}), 400, "wrong_password")
    await ok(browser.post("/v1/sessions/current/confirm", json={"password": PASSWORD}))
    app, _ = await turn_on(browser)
    await refused(browser.post("/v1/sessions/current/confirm", json={"password": PASSWORD}), 400, "code_missing")
    await refused(browser.post("/v1/sessions/current/confirm", json={"totp": "000000"}), 400, "code_wrong")
    await ok(browser.post("/v1/sessions/current/confirm", json={"totp": at_step(app, 1)}))
    await ok(browser.post("/v1/keys", json=key), 201)
    await ok(browser.get(f"/v1/webhooks/{made['id']}/secret"))


async def test_a_workspace_requires_the_second_factor(browser, owner):
    await ok(enter(browser))
    await refused(browser.patch("/v1/workspace", json={"mfa": "required"}), 409, "no_totp")
    await turn_on(browser)
    await ok(browser.patch("/v1/workspace", json={"mfa": "required"}))
    assert (await browser.delete("/v1/users/me/totp")).status_code == 204
    await refused(browser.get("/v1/lists"), 403, "mfa_enrolment_required")
    await ok(browser.get("/v1/me"))
    await turn_on(browser)
    await ok(browser.get("/v1/lists"))


async def test_a_workspace_asks_for_the_second_factor_before_changes(browser, owner, hook, client):
    """As the seed has it: for connections and the URLs of webhooks."""
    await ok(client.patch("/v1/workspace", json={"mfa": "changes"}))
    await ok(enter(browser))
    webhook = {"url": hook, "event_types": ["*"]}
    await ok(browser.post("/v1/lists", json={"name": "News"}), 201)
    await refused(browser.post("/v1/webhooks", json=webhook), 403, "mfa_enrolment_required")
    await turn_on(browser)
    await ok(browser.post("/v1/webhooks", json=webhook), 201)
    await ok(client.post("/v1/webhooks", json=webhook), 201)


async def test_the_rule_cannot_be_switched_off_by_whom_it_is_for(browser, owner, client, engine, keys):
    await ok(client.patch("/v1/workspace", json={"mfa": "changes"}))
    headers = await session_of(engine, await add_user(engine, keys.workspace_id, Role.DEVELOPER))
    await refused(browser.patch("/v1/workspace", json={"mfa": "optional"}, headers=headers), 403, "forbidden")
    key = {"name": "x", "scopes": ["connections.write"]}
    await refused(browser.post("/v1/keys", json=key, headers=headers), 403, "mfa_enrolment_required")


async def test_a_sign_in_does_not_outlive_a_change_of_the_password(browser, owner, engine):
    stale = await engine.database.read(users.get_user, owner)

    async def change(tx):
        await tx.run("users.set_password", id=owner, password="another", now=now_us())

    await engine.database.transact(change)
    with pytest.raises(Unauthorized):
        await engine.sessions.start(owner, mfa=False, ip="", user_agent="", verified=stale)


async def test_many_guesses_of_one_stranger_lock_nobody_out(browser, owner, engine):
    for _ in range(120):
        with contextlib.suppress(Unavailable):
            await engine.sessions.count_try(sign_in.sign_in_limits(EMAIL, "198.51.100.1"))
    await ok(enter(browser))


def test_addresses_of_one_ipv6_network_are_one():
    assert sign_in.network_of("2001:db8::1") == sign_in.network_of("2001:db8::ffff:1")
    assert sign_in.network_of("2001:db8:0:1::1") != sign_in.network_of("2001:db8::1")
    assert sign_in.network_of("192.0.2.7") == "192.0.2.7"


async def test_the_password_is_changed_and_ends_other_sessions(browser, owner, engine):
    await ok(enter(browser))
    other, _ = await engine.sessions.start(owner, mfa=False, ip="", user_agent="")
    change = {"password": PASSWORD, "new_password": "another battery horse"}
    await refused(browser.post("/v1/users/me/password", json=change | {"password": "no"}), 400, "wrong_password")
    for weak in ("short", EMAIL, "a" * 20):
        await refused(
            browser.post("/v1/users/me/password", json=change | {"new_password": weak}), 400, "invalid_password"
        )
    assert (await browser.post("/v1/users/me/password", json=change)).status_code == 204
    await refused(browser.get("/v1/me", headers={"cookie": f"{sign_in.COOKIE}={other}"}), 401, "session_ended")
    await ok(browser.get("/v1/me"))
    await refused(enter(browser), 401, "wrong_credentials")
    await ok(enter(browser, password="another battery horse"))


async def test_messages_are_sent_with_a_session_as_well(browser, owner):
    await ok(enter(browser))
    text = {"channel": "sms", "to": "+12025550101", "text": "Hello"}
    await refused(browser.post("/v1/messages", json=text, headers={"sec-fetch-site": "cross-site"}), 403, "cross_site")
    await refused(browser.post("/v1/messages", json=text), 409, "no_connection")


async def test_an_authorization_header_wins_over_a_cookie(browser, owner, keys):
    await ok(enter(browser))
    await refused(browser.post("/v1/lists", json={"name": "x"}, headers=bearer(keys.read)), 403, "forbidden")
