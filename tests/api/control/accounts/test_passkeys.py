"""Passkeys: adding, signing in, confirming, what is refused, and what guards the second factors."""

import asyncio
from itertools import count

import msgspec
import pyotp
import pytest

from tests.api.calling import PASSWORD, add_user, ok, refused, session_of
from tests.authenticator import ORIGIN, Authenticator
from waypost.api.control.accounts.passkey_json import PasskeyCredential, PasskeyUse
from waypost.clock import MINUTE, now_us
from waypost.domain.accounts import passkeys as rules
from waypost.domain.accounts import sign_in
from waypost.domain.accounts.permissions import Role
from waypost.engine.accounts import passkeys, sessions

EMAIL = "ada@example.com"


@pytest.fixture
async def owner(engine, keys):
    return await add_user(engine, keys.workspace_id, Role.OWNER, email=EMAIL, name="Ada")


@pytest.fixture
async def passkey(browser, owner):
    """A passkey of the owner, who is signed in."""
    await enter(browser)
    found = Authenticator()
    await add(browser, found)
    return found


async def enter(browser):
    return await ok(browser.post("/v1/sessions", json={"email": EMAIL, "password": PASSWORD}))


async def add(browser, authenticator, name="Laptop", **sent):
    """Add a passkey in the session of a browser."""
    options = await ok(browser.post("/v1/users/me/passkeys/challenge", **sent))
    body = {"credential": authenticator.make(options), "name": name}
    return await ok(browser.post("/v1/users/me/passkeys", json=body, **sent), 201)


async def begin(browser):
    return await ok(browser.post("/v1/passkey-challenges"))


def finish(browser, assertion):
    return browser.post("/v1/sessions", json={"passkey": assertion})


async def use(browser, authenticator, **lies):
    return await finish(browser, authenticator.use(await begin(browser), **lies))


async def confirm(browser, authenticator, **lies):
    assertion = authenticator.use(await begin(browser), **lies)
    return await browser.post("/v1/sessions/current/confirm", json={"passkey": assertion})


async def answer(response):
    """Return a response that is there already, for `ok` and `refused`."""
    return response


async def age(engine, user_id, *, mfa=False):
    """Let the last proof of the newest session of a user be long ago."""

    async def work(tx):
        found = await sessions.list_sessions(tx, user_id, 1 << 62, 1, now_us())
        await sessions.confirm_session(tx, found[0]["id"], mfa=mfa, now=now_us() - 16 * MINUTE)

    await engine.database.transact(work)
    engine.sessions.forget()


@pytest.mark.parametrize("kind", ["ec", "ed", "rsa"])
async def test_a_passkey_is_added_and_signs_in_without_a_password(browser, owner, kind):
    await enter(browser)
    authenticator = Authenticator(kind=kind)
    made = await add(browser, authenticator, " My laptop ")
    assert (made["name"], made["last_used_at"]) == ("My laptop", None)
    browser.cookies.clear()
    me = await ok(answer(await use(browser, authenticator)))
    assert (me["user"]["email"], me["user"]["passkeys"], me["session"]["mfa"]) == (EMAIL, 1, True)
    assert me == await ok(browser.get("/v1/me"))
    (listed,) = (await ok(browser.get("/v1/users/me/passkeys")))["data"]
    assert listed["last_used_at"] is not None
    assert listed == made | {"last_used_at": listed["last_used_at"]}


async def test_the_options_ask_for_what_a_sign_in_without_an_address_needs(browser, owner):
    await enter(browser)
    options = await ok(browser.post("/v1/users/me/passkeys/challenge"))
    assert options["rp"] == {"id": "localhost", "name": "Waypost"}
    assert options["authenticatorSelection"] == {
        "residentKey": "required",
        "requireResidentKey": True,
        "userVerification": "required",
    }
    assert options["attestation"] == "none"
    assert {one["alg"] for one in options["pubKeyCredParams"]} == {-7, -8, -257}
    assert options["excludeCredentials"] == []
    first = Authenticator()
    await add(browser, first)
    options = await ok(browser.post("/v1/users/me/passkeys/challenge"))
    assert [one["id"] for one in options["excludeCredentials"]] == [rules.to_base64url(first.id)]
    used = await begin(browser)
    assert (used["rpId"], used["userVerification"]) == ("localhost", "required")
    assert used["challenge"] != (await begin(browser))["challenge"]
    assert (await ok(browser.get("/v1/setup")))["passkey_origin"] == ORIGIN


@pytest.mark.parametrize(
    "lies",
    [
        {"origin": "http://localhost:8081"},
        {"origin": "https://evil.example"},
        {"rp_id": "evil.example"},
        {"verified": False},
        {"client_type": "webauthn.create"},
        {"handle": b"usr_0000000000000001"},
        {"handle": None},
        {"key": Authenticator()},
    ],
    ids=lambda lies: "-".join(lies),
)
async def test_what_a_sign_in_refuses(browser, passkey, lies):
    browser.cookies.clear()
    await refused(answer(await use(browser, passkey, **lies)), 401, "wrong_passkey")
    await refused(browser.get("/v1/me"), 401, "unauthorized")
    await ok(answer(await use(browser, passkey)))


@pytest.mark.parametrize(
    "lies",
    [
        {"origin": "http://localhost:8081"},
        {"rp_id": "evil.example"},
        {"verified": False},
        {"client_type": "webauthn.get"},
        {"public_key": b"\xa0"},
        {"public_key": b"\x04"},
        {"format_": "packed"},
        {"format_": "tpm"},
    ],
    ids=lambda lies: "-".join(lies),
)
async def test_what_adding_refuses(browser, owner, lies):
    await enter(browser)
    options = await ok(browser.post("/v1/users/me/passkeys/challenge"))
    body = {"credential": Authenticator().make(options, **lies), "name": "Laptop"}
    await refused(browser.post("/v1/users/me/passkeys", json=body), 400, "passkey_wrong")
    assert (await ok(browser.get("/v1/users/me/passkeys")))["data"] == []
    # The challenge was not used up by it.
    await ok(browser.post("/v1/users/me/passkeys", json=body | {"credential": Authenticator().make(options)}), 201)


async def test_a_challenge_is_good_once(browser, passkey):
    options = await begin(browser)
    assertion = passkey.use(options)
    await ok(finish(browser, assertion))
    await refused(finish(browser, assertion), 401, "wrong_passkey")
    await refused(finish(browser, passkey.use(options)), 401, "wrong_passkey")
    offer = await ok(browser.post("/v1/users/me/passkeys/challenge"))
    await ok(browser.post("/v1/users/me/passkeys", json={"credential": Authenticator().make(offer), "name": "A"}), 201)
    again = {"credential": Authenticator().make(offer), "name": "B"}
    await refused(browser.post("/v1/users/me/passkeys", json=again), 400, "passkey_wrong")


async def test_many_requests_with_one_assertion_make_one_session(browser, passkey):
    assertion = passkey.use(await begin(browser))
    answers = await asyncio.gather(*(finish(browser, assertion) for _ in range(5)))
    assert sorted(one.status_code for one in answers) == [200, 401, 401, 401, 401]


async def test_a_challenge_ends_and_is_for_one_purpose_and_user(browser, passkey, owner, engine, monkeypatch):
    adding = await ok(browser.post("/v1/users/me/passkeys/challenge"))
    using = await begin(browser)
    wrong = [
        engine.passkeys.make_challenge(rules.ADD, owner),
        rules.to_base64url(b"guessed"),
        rules.to_base64url(engine.encryption.encrypt('{"type":"other"}').encode()),
        "",
    ]
    for challenge in wrong:
        await refused(finish(browser, passkey.use(using | {"challenge": challenge})), 401, "wrong_passkey")
    for challenge in (using["challenge"], engine.passkeys.make_challenge(rules.ADD, owner + 1)):
        made = Authenticator().make(adding | {"challenge": challenge})
        body = {"credential": made, "name": "Laptop"}
        await refused(browser.post("/v1/users/me/passkeys", json=body), 400, "passkey_wrong")
    monkeypatch.setattr(rules, "CHALLENGE_LASTS", -1)
    await refused(answer(await use(browser, passkey)), 401, "wrong_passkey")


async def test_a_challenge_outlives_the_process_that_made_it(browser, passkey, engine):
    options = await begin(browser)
    engine.passkeys = passkeys.PasskeyRegistry(
        engine.database, engine.ids, engine.encryption, engine.sessions, engine.settings.base_url
    )
    assertion = passkey.use(options)
    await ok(finish(browser, assertion))
    await refused(finish(browser, assertion), 401, "wrong_passkey")


async def test_a_counter_that_goes_back_is_a_copy(browser, passkey):
    passkey.count = 50
    await ok(answer(await use(browser, passkey)))
    for copied in (10, passkey.count - 1):
        passkey.count = copied
        await refused(answer(await use(browser, passkey)), 401, "wrong_passkey")
    passkey.count = 60
    await ok(answer(await use(browser, passkey)))
    # Once it has counted, it cannot stop.
    passkey.count, passkey.counts = 0, False
    await refused(answer(await use(browser, passkey)), 401, "wrong_passkey")


async def test_a_passkey_without_a_counter_is_used_again_and_again(browser, owner):
    await enter(browser)
    authenticator = Authenticator(counts=False)
    await add(browser, authenticator)
    for _ in range(3):
        await ok(answer(await use(browser, authenticator)))


async def test_no_answer_says_whether_a_passkey_or_its_user_exists(browser, passkey):
    browser.cookies.clear()
    unknown = await use(browser, Authenticator(), handle=passkey.handle)
    wrong = await use(browser, passkey, key=Authenticator())
    assert (unknown.status_code, unknown.content) == (wrong.status_code, wrong.content) == (401, wrong.content)


async def test_the_passkey_of_another_user_confirms_nothing(browser, passkey, owner, engine, keys):
    grace = await session_of(engine, await add_user(engine, keys.workspace_id, Role.VIEWER))
    theirs = Authenticator()
    made = await add(browser, theirs, headers=grace)
    await refused(answer(await confirm(browser, theirs)), 400, "passkey_wrong")
    await ok(answer(await confirm(browser, passkey)))
    # Nor does anybody else see, rename or delete it.
    path = f"/v1/users/me/passkeys/{made['id']}"
    await refused(browser.get(path), 404, "not_found")
    await refused(browser.patch(path, json={"name": "Mine"}), 404, "not_found")
    await refused(browser.delete(path), 404, "not_found")
    assert [one["name"] for one in (await ok(browser.get("/v1/users/me/passkeys")))["data"]] == ["Laptop"]
    # One that somebody has is nobody else's.
    options = await ok(browser.post("/v1/users/me/passkeys/challenge"))
    body = {"credential": theirs.make(options), "name": "Stolen"}
    await refused(browser.post("/v1/users/me/passkeys", json=body), 409, "passkey_exists")


async def test_tries_are_limited(browser, passkey):
    browser.cookies.clear()
    for _ in range(10):
        await refused(answer(await use(browser, passkey, key=Authenticator())), 401, "wrong_passkey")
    await refused(answer(await use(browser, passkey)), 429, "rate_limited")


async def test_who_uses_a_passkey_often_is_not_limited(browser, passkey, monkeypatch):
    few = [limit._replace(most=2) for limit in sign_in.passkey_limits(rules.to_base64url(passkey.id), "192.0.2.7")]
    monkeypatch.setattr(sign_in, "passkey_limits", lambda credential, ip: few)
    for _ in range(4):
        await ok(answer(await use(browser, passkey)))


async def test_tries_to_confirm_are_limited(browser, passkey):
    for _ in range(10):
        await refused(answer(await confirm(browser, passkey, verified=False)), 400, "passkey_wrong")
    await refused(answer(await confirm(browser, passkey)), 429, "rate_limited")


@pytest.mark.parametrize("headers", [{"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}])
async def test_pages_of_other_sites_sign_nobody_in(browser, passkey, headers):
    await refused(browser.post("/v1/passkey-challenges", headers=headers), 403, "cross_site")
    body = {"passkey": passkey.use(await begin(browser))}
    await refused(browser.post("/v1/sessions", json=body, headers=headers), 403, "cross_site")


async def test_a_sign_in_needs_one_way_and_not_two(browser, passkey):
    assertion = passkey.use(await begin(browser))
    for more in ({"email": EMAIL}, {"password": PASSWORD}, {"totp": "000000"}):
        problem = await refused(
            browser.post("/v1/sessions", json={"passkey": assertion} | more), 400, "several_credentials"
        )
        assert problem["field"] in more
    for some in ({}, {"email": EMAIL}, {"password": PASSWORD}):
        await refused(browser.post("/v1/sessions", json=some), 400, "missing_credentials")


@pytest.mark.parametrize("path", ["id", "clientDataJSON", "authenticatorData", "signature", "userHandle"])
async def test_texts_that_are_not_base64url_are_named(browser, passkey, path):
    assertion = passkey.use(await begin(browser))
    (assertion if path == "id" else assertion["response"])[path] = "no base64url!"
    problem = await refused(finish(browser, assertion), 400, "invalid_body")
    assert problem["field"].endswith(path)


def broken(data):
    """Return some bytes cut off at each place, and with each byte changed."""
    for place in range(len(data)):
        yield data[:place]
        yield data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


async def test_a_broken_use_is_refused_wherever_it_breaks(browser, passkey, engine):
    party = engine.passkeys.require_party()
    assertion = msgspec.convert(passkey.use(await begin(browser)), PasskeyUse).read()
    row = await engine.database.read(passkeys._find, rules.to_base64url(passkey.id))
    challenge = rules.stated_challenge(assertion.client_data)
    assert rules.verify_assertion(assertion, challenge, party, row["public_key"], 1) == 2
    for name in ("client_data", "authenticator_data", "signature"):
        for data in broken(getattr(assertion, name)):
            changed = msgspec.structs.replace(assertion, **{name: data})
            rules.stated_challenge(changed.client_data)
            assert rules.verify_assertion(changed, challenge, party, row["public_key"], 1) is None


async def test_a_broken_passkey_never_fails_in_a_way_of_its_own(engine):
    """Without attestation nothing is signed: what can still be read may pass, and nothing else happens."""
    party = engine.passkeys.require_party()
    authenticator = Authenticator()
    options = {"rp": {"id": "localhost"}, "user": {"id": "dXNy"}, "challenge": "eA"}
    made = msgspec.convert(authenticator.make(options), PasskeyCredential).read()
    found = rules.verify_attestation(made, b"x", party)
    assert found
    assert found.credential_id == rules.to_base64url(authenticator.id)
    for data in broken(made.attestation):
        changed = rules.verify_attestation(msgspec.structs.replace(made, attestation=data), b"x", party)
        assert changed is None or changed.credential_id == found.credential_id
    for data in broken(made.client_data):
        assert rules.verify_attestation(msgspec.structs.replace(made, client_data=data), b"x", party) is None


async def test_changes_need_a_fresh_proof(browser, passkey, owner, engine):
    (made,) = (await ok(browser.get("/v1/users/me/passkeys")))["data"]
    path = f"/v1/users/me/passkeys/{made['id']}"
    options = await ok(browser.post("/v1/users/me/passkeys/challenge"))
    await age(engine, owner, mfa=True)
    body = {"credential": Authenticator().make(options), "name": "Phone"}
    await refused(browser.post("/v1/users/me/passkeys/challenge"), 403, "confirmation_required")
    await refused(browser.post("/v1/users/me/passkeys", json=body), 403, "confirmation_required")
    await refused(browser.delete(path), 403, "confirmation_required")
    # A session of a passkey is not confirmed by less.
    await refused(browser.post("/v1/sessions/current/confirm", json={"password": PASSWORD}), 400, "passkey_missing")
    await ok(answer(await confirm(browser, passkey)))
    assert (await ok(browser.patch(path, json={"name": " Old laptop "})))["name"] == "Old laptop"
    await refused(browser.patch(path, json={"name": " "}), 400, "invalid_name")
    assert (await browser.delete(path)).status_code == 204
    await refused(answer(await use(browser, passkey)), 401, "wrong_passkey")
    await refused(browser.get(path), 404, "not_found")


async def test_the_password_alone_does_not_change_second_factors(browser, passkey):
    """Whoever has stolen the password must not add an app of their own, or delete the passkey."""
    (made,) = (await ok(browser.get("/v1/users/me/passkeys")))["data"]
    await enter(browser)
    assert not (await ok(browser.get("/v1/me")))["session"]["mfa"]
    await ok(browser.post("/v1/sessions/current/confirm", json={"password": PASSWORD}))
    await refused(browser.post("/v1/users/me/totp"), 403, "passkey_required")
    await refused(browser.post("/v1/users/me/passkeys/challenge"), 403, "passkey_required")
    await refused(browser.delete(f"/v1/users/me/passkeys/{made['id']}"), 403, "passkey_required")
    await ok(answer(await confirm(browser, passkey)))
    await ok(browser.post("/v1/users/me/totp"))


async def test_a_passkey_counts_as_second_factor(browser, owner, hook, client):
    await ok(client.patch("/v1/workspace", json={"mfa": "required"}))
    await enter(browser)
    await refused(browser.get("/v1/lists"), 403, "mfa_enrolment_required")
    authenticator = Authenticator()
    made = await add(browser, authenticator)
    await ok(browser.get("/v1/lists"))
    # The password alone is none.
    await enter(browser)
    await refused(browser.get("/v1/lists"), 403, "passkey_required")
    me = await ok(answer(await confirm(browser, authenticator)))
    assert me["session"]["mfa"]
    assert me == await ok(browser.get("/v1/me"))
    await ok(browser.get("/v1/lists"))
    await refused(browser.delete(f"/v1/users/me/passkeys/{made['id']}"), 409, "last_second_factor")
    second = await add(browser, Authenticator(), "Phone")
    assert (await browser.delete(f"/v1/users/me/passkeys/{made['id']}")).status_code == 204
    await refused(browser.delete(f"/v1/users/me/passkeys/{second['id']}"), 409, "last_second_factor")
    secret = (await ok(browser.post("/v1/users/me/totp")))["secret"]
    await ok(browser.post("/v1/users/me/totp/confirm", json={"code": pyotp.TOTP(secret).now()}))
    assert (await browser.delete(f"/v1/users/me/passkeys/{second['id']}")).status_code == 204
    await ok(browser.get("/v1/lists"))


async def test_a_workspace_asks_for_the_passkey_before_changes(browser, passkey, hook, client):
    webhook = {"url": hook, "event_types": ["*"]}
    await enter(browser)
    await refused(browser.patch("/v1/workspace", json={"mfa": "changes"}), 403, "passkey_required")
    await ok(client.patch("/v1/workspace", json={"mfa": "changes"}))
    await refused(browser.post("/v1/webhooks", json=webhook), 403, "passkey_required")
    await refused(browser.patch("/v1/workspace", json={"mfa": "required"}), 403, "passkey_required")
    await ok(answer(await confirm(browser, passkey)))
    await ok(browser.post("/v1/webhooks", json=webhook), 201)
    await ok(browser.patch("/v1/workspace", json={"mfa": "required"}))


async def test_users_with_an_app_may_confirm_with_a_passkey(browser, passkey, owner, engine):
    secret = (await ok(browser.post("/v1/users/me/totp")))["secret"]
    await ok(browser.post("/v1/users/me/totp/confirm", json={"code": pyotp.TOTP(secret).now()}))
    await refused(browser.post("/v1/sessions", json={"email": EMAIL, "password": PASSWORD}), 401, "mfa_required")
    await age(engine, owner, mfa=True)
    await refused(browser.post("/v1/users/me/recovery-codes"), 403, "confirmation_required")
    await ok(answer(await confirm(browser, passkey)))
    await ok(browser.post("/v1/users/me/recovery-codes"))


async def test_there_is_a_most(browser, passkey, monkeypatch):
    monkeypatch.setattr(rules, "MOST_PASSKEYS", 2)
    await add(browser, Authenticator(), "Phone")
    options = await ok(browser.post("/v1/users/me/passkeys/challenge"))
    body = {"credential": Authenticator().make(options), "name": "Third"}
    await refused(browser.post("/v1/users/me/passkeys", json=body), 409, "too_many_passkeys")


async def test_the_list_has_pages(browser, passkey):
    numbers = count(1)
    for _ in range(2):
        await add(browser, Authenticator(), f"Phone {next(numbers)}")
    first = await ok(browser.get("/v1/users/me/passkeys?limit=2"))
    second = await ok(browser.get(f"/v1/users/me/passkeys?limit=2&after={first['next']}"))
    assert [one["name"] for one in first["data"] + second["data"]] == ["Phone 2", "Phone 1", "Laptop"]


async def test_changes_are_in_the_audit_log_without_keys(browser, passkey):
    (made,) = (await ok(browser.get("/v1/users/me/passkeys")))["data"]
    await ok(browser.patch(f"/v1/users/me/passkeys/{made['id']}", json={"name": "Old"}))
    await browser.delete(f"/v1/users/me/passkeys/{made['id']}")
    entries = (await ok(browser.get("/v1/audit")))["data"]
    deleted, renamed, added = entries[:3]
    assert [one["action"] for one in (deleted, renamed, added)] == ["delete_passkey", "update_passkey", "add_passkey"]
    assert (renamed["before"], renamed["after"]) == ({"name": "Laptop"}, {"name": "Old"})
    assert deleted["before"]["name"] == "Old"
    assert added["after"] == {"credential": "•••", "name": "Laptop"}


async def test_keys_have_no_passkeys(client):
    await refused(client.get("/v1/users/me/passkeys"), 403, "users_only")
    await refused(client.post("/v1/users/me/passkeys/challenge"), 403, "users_only")


async def test_members_say_how_many_passkeys_they_have(browser, passkey):
    assert [one["passkeys"] for one in (await ok(browser.get("/v1/users")))["data"]] == [1]


async def test_a_public_url_without_https_has_no_passkeys(browser, owner, engine):
    await enter(browser)
    engine.passkeys = passkeys.PasskeyRegistry(
        engine.database, engine.ids, engine.encryption, engine.sessions, "http://waypost.example.com"
    )
    assert (await ok(browser.get("/v1/setup")))["passkey_origin"] is None
    problem = await refused(browser.post("/v1/passkey-challenges"), 409, "passkeys_unavailable")
    assert "WAYPOST_PUBLIC_URL" in problem["detail"]
    await refused(browser.post("/v1/users/me/passkeys/challenge"), 409, "passkeys_unavailable")
    await refused(finish(browser, Authenticator().use({"rpId": "x", "challenge": "eA"})), 409, "passkeys_unavailable")
