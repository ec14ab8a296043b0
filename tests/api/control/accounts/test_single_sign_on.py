"""Single sign-on: through a provider and back, what is refused, and what a session of it may do."""

import json
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import msgspec
import pyotp
import pytest

from tests.api.calling import PASSWORD, add_user, bearer, ok, refused, session_of
from tests.oidc import CLIENT_ID, CLIENT_SECRET, ec_key, oidc_provider, public_jwk, rsa_key
from waypost.api.app import describe_api
from waypost.clock import HOUR, now_us
from waypost.domain.accounts import single_sign_on as rules
from waypost.domain.accounts.permissions import Role
from waypost.domain.accounts.sign_in import COOKIE, sign_on_limit
from waypost.domain.values.ids import internal, public
from waypost.engine.accounts import second_factors, sessions, sign_on_client, users, workspaces
from waypost.engine.accounts.sign_on_settings import get_provider

EMAIL = "ada@example.com"
PLACE = "/v1/workspace/single-sign-on"


@pytest.fixture
def provider():
    with oidc_provider() as found:
        yield found


@pytest.fixture
async def owner(engine, keys):
    """The headers of an owner, who is not the person at the provider."""
    return await session_of(engine, await add_user(engine, keys.workspace_id, Role.OWNER, email="grace@example.com"))


@pytest.fixture
async def ada(engine, keys):
    """The person at the provider, a developer of the workspace with a password."""
    return await add_user(engine, keys.workspace_id, Role.DEVELOPER, email=EMAIL, name="Ada L.")


@pytest.fixture
async def way(browser, keys, provider):
    """What leads a browser to the provider and back."""
    async with httpx.AsyncClient() as outside:
        yield Way(browser, public("ws", keys.workspace_id), provider, outside)


class Way:
    """The way of one browser to the provider and back."""

    def __init__(self, browser, workspace, provider, outside):
        self.browser, self.workspace, self.provider, self.outside = browser, workspace, provider, outside

    async def leave(self, **query):
        """Go to the provider; return its URL."""
        response = await self.browser.get(f"/v1/single-sign-on/{self.workspace}", params=query)
        assert response.status_code == 303, response.text
        assert response.headers["cache-control"] == "no-store"
        return response.headers["location"]

    async def decide(self, url):
        """Let the person sign in there; return the path that the browser is sent back to."""
        response = await self.outside.get(url)
        assert response.status_code == 302, response.text
        back = urlsplit(response.headers["location"])
        return f"{back.path}?{back.query}"

    async def go(self, **query):
        """Go there and back; return the last response."""
        return await self.browser.get(await self.decide(await self.leave(**query)))

    async def enter(self, **query):
        """Go there and back, and return who is signed in."""
        response = await self.go(**query)
        assert problem_of(response) is None, response.headers["location"]
        return await ok(self.browser.get("/v1/me"))

    async def refusal(self, **query):
        """Return why the person is not let in."""
        response = await self.go(**query)
        assert COOKIE not in response.cookies
        found = problem_of(response)
        await refused(self.browser.get("/v1/me"), 401, "unauthorized")
        return found


def problem_of(response):
    """Return what the sign-in page says; None if the browser is led elsewhere."""
    assert response.status_code == 303, response.text
    place = urlsplit(response.headers["location"])
    return parse_qs(place.query)["problem"][0] if place.path == "/sign-in" else None


def settings(provider, **fields):
    asked = {"issuer": provider.issuer, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    return asked | {"domains": ["example.com"]} | fields


async def set_up(client, provider, headers=None, **fields):
    return await ok(client.put(PLACE, json=settings(provider, **fields), headers=headers or {}))


async def test_a_member_signs_in_and_the_subject_says_who_it_is_from_then_on(client, browser, way, provider, ada):
    await set_up(client, provider)
    url = await way.leave(to="/webhooks?state=failed")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert url.startswith(f"{provider.issuer}/authorize?tenant=one&")
    assert (asked["response_type"], asked["scope"]) == ("code", "openid email profile")
    assert (asked["client_id"], asked["code_challenge_method"]) == (CLIENT_ID, "S256")
    assert asked["redirect_uri"].endswith("/v1/single-sign-on/callback")
    assert asked["redirect_uri"] == (await ok(client.get(PLACE)))["redirect_uri"]
    response = await browser.get(await way.decide(url))
    assert response.headers["location"] == "/webhooks?state=failed"
    for cookie in response.headers.get_list("set-cookie"):
        assert re.match(r"__Host-waypost(-sign-on)?=", cookie)
        assert {"httponly", "secure", "path=/", "samesite=lax"} <= set(cookie.lower().split("; "))
    assert rules.COOKIE not in browser.cookies
    me = await ok(browser.get("/v1/me"))
    assert (me["user"]["email"], me["user"]["name"], me["role"]) == (EMAIL, "Ada L.", "developer")
    assert (me["session"]["single_sign_on"], me["session"]["mfa"]) == (True, False)

    provider.person |= {"email": "ada.married@elsewhere.example", "email_verified": False}
    first = browser.cookies[COOKIE]
    again = await way.enter()
    assert again["user"]["id"] == me["user"]["id"]
    # A new session each time: one that somebody planted, or saw, is worth nothing.
    assert browser.cookies[COOKIE] != first
    await refused(browser.get("/v1/me", headers={"cookie": f"{COOKIE}={first}"}), 401, "session_ended")


@pytest.mark.parametrize(
    ("key", "alg", "kid"), [(rsa_key, "RS256", "a"), (rsa_key, "PS256", None), (ec_key, "ES256", "b")]
)
async def test_tokens_with_any_asymmetric_signature_count(client, way, provider, ada, key, alg, kid):
    provider.key, provider.alg, provider.kid = key("first"), alg, kid
    others = [public_jwk(rsa_key("other"), "x"), public_jwk(ec_key("other"), "y")]
    published = public_jwk(provider.key, kid or "z")
    provider.published = [*others, published | {"use": "enc"}, published]
    if kid is None:
        provider.header = {"kid": None}
    provider.metadata = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    await set_up(client, provider)
    assert (await way.enter())["user"]["email"] == EMAIL


NOW = now_us() // 1_000_000
LIES: dict[str, dict[str, Any]] = {
    "nonce": {"claims": {"nonce": "another"}},
    "no nonce": {"claims": {"nonce": None}},
    "audience": {"claims": {"aud": "another client"}},
    "audiences without azp": {"claims": {"aud": [CLIENT_ID, "another"]}},
    "azp": {"claims": {"azp": "another client"}},
    "issuer": {"claims": {"iss": "https://accounts.example.com"}},
    "expired": {"claims": {"exp": NOW - 3600}},
    "no end": {"claims": {"exp": None}},
    "old": {"claims": {"iat": NOW - 3600}},
    "from the future": {"claims": {"iat": NOW + 36000}},
    "not valid yet": {"claims": {"nbf": NOW + 36000}},
    "no subject": {"claims": {"sub": None}},
    "subject too long": {"claims": {"sub": "x" * 256}},
    "alg none": {"header": {"alg": "none"}, "alg": "none"},
    "HMAC with the public key": {"header": {"alg": "HS256"}},
    "an algorithm that it does not have": {"metadata": {"id_token_signing_alg_values_supported": ["ES256"]}},
    "a key that it does not publish": {"key": rsa_key("stolen")},
    "an unknown key": {"header": {"kid": "unknown"}},
    "a critical header": {"header": {"crit": ["exp"], "exp": 1}},
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_token_that_is_not_right_opens_nothing(client, way, provider, ada, lie):
    provider.published = provider.keys()
    for name, value in LIES[lie].items():
        setattr(provider, name, value)
    await set_up(client, provider)
    assert await way.refusal() == "sign_on_token"


@pytest.mark.parametrize("fault", [500, 302, "redirect", "huge", "broken", "hang"])
@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/keys", "/token"])
async def test_a_provider_that_fails_lets_nobody_in(client, way, provider, ada, engine, fault, path):
    await set_up(client, provider)
    found = await ok(client.post(PLACE + "/check", json={"issuer": provider.issuer}))
    assert (found["ok"], found["problem"]) == (True, None)
    assert found["authorization_endpoint"] == f"{provider.issuer}/authorize?tenant=one"
    engine.sign_on.client.timeout_ms = 300
    provider.faults = {path: fault}
    found = await ok(client.post(PLACE + "/check", json={"issuer": provider.issuer}))
    assert found["ok"] is (path == "/token")
    if not found["ok"]:
        assert "/.well-known/openid-configuration" in found["problem"]
        await refused(client.put(PLACE, json=settings(provider)), 400, "sign_on_provider")
    engine.sign_on.client._metadata.clear()
    engine.sign_on.client._keys.clear()
    if path == "/.well-known/openid-configuration":
        assert problem_of(await way.browser.get(f"/v1/single-sign-on/{way.workspace}")) == "sign_on_provider"
    else:
        assert await way.refusal() == "sign_on_provider"
    assert provider.asked[f"{path}/elsewhere"] == 0


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"issuer": "https://accounts.example.com"}, "names itself"),
        ({"issuer": None}, "issuer"),
        ({"token_endpoint": "http://accounts.example.com/token"}, "token_endpoint is not an https URL"),
        ({"authorization_endpoint": "javascript:alert(1)"}, "authorization_endpoint is not"),
        ({"jwks_uri": "https://user@accounts.example.com/keys"}, "jwks_uri is not"),
        ({"jwks_uri": "http://[::1"}, "jwks_uri is not"),
        ({"id_token_signing_alg_values_supported": ["HS256", "none"]}, "signs ID tokens with none of"),
        ({"jwks_uri": "https://10.0.0.1/keys"}, "did not answer"),
    ],
)
async def test_the_check_says_what_is_wrong_with_a_provider(client, provider, metadata, words):
    provider.metadata = metadata
    found = await ok(client.post(PLACE + "/check", json={"issuer": provider.issuer}))
    assert (found["ok"], found["authorization_endpoint"]) == (False, None)
    assert words in found["problem"]
    await refused(client.put(PLACE, json=settings(provider)), 400, "sign_on_provider")
    await refused(client.get(PLACE), 404, "not_found")


async def test_keys_without_one_for_signatures_are_refused(client, provider):
    provider.published = [{"kty": "oct", "k": "c2VjcmV0"}, public_jwk(rsa_key("first"), "a") | {"use": "enc"}]
    found = await ok(client.post(PLACE + "/check", json={"issuer": provider.issuer}))
    assert "no RSA or EC key" in found["problem"]


async def test_a_provider_may_change_its_keys_and_strangers_cannot_make_us_ask_again(
    client, way, provider, ada, monkeypatch
):
    await set_up(client, provider)
    await way.enter()
    assert provider.asked["/keys"] == 1
    provider.key, provider.kid = rsa_key("second"), "second"
    way.browser.cookies.clear()
    for _ in range(3):
        # The keys were read just now.
        assert await way.refusal() == "sign_on_token"
    assert provider.asked["/keys"] == 1
    monkeypatch.setattr(sign_on_client, "KEYS_AGAIN_S", 0.0)
    assert (await way.enter())["user"]["email"] == EMAIL
    assert provider.asked["/keys"] == 2


async def test_a_sign_in_is_good_once_in_its_browser_and_for_ten_minutes(client, browser, way, provider, ada, engine):
    await set_up(client, provider)
    provider.codes_last = True
    back = await way.decide(await way.leave())
    kept = browser.cookies[rules.COOKIE]
    assert problem_of(await browser.get(back)) is None
    browser.cookies.clear()
    again = await browser.get(back, headers={"cookie": f"{rules.COOKIE}={kept}"})
    assert problem_of(again) == "sign_on_state"

    # A page of an attacker leads somebody else to the answer that the attacker got: they have no such cookie, or
    # that of another sign-in.
    back = await way.decide(await way.leave())
    browser.cookies.clear()
    assert problem_of(await browser.get(back)) == "sign_on_state"
    await way.leave()
    assert problem_of(await browser.get(back)) == "sign_on_state"
    for state in ("", "x", "é"):
        await way.leave()
        found = await browser.get("/v1/single-sign-on/callback", params={"state": state, "code": "x"})
        assert problem_of(found) == "sign_on_state"
    twice = await way.decide(await way.leave())
    assert problem_of(await browser.get(f"{twice}&state=x")) == "sign_on_state"

    begun = rules.read_state(engine.encryption.decrypt(kept + "=" * (-len(kept) % 4)), _state(kept, engine), 0)
    assert begun is not None
    old = msgspec.structs.replace(begun, state="old", started_at=now_us() - rules.LASTS)
    cookie = engine.encryption.encrypt(rules.write_state(old)).rstrip("=")
    sent = {"cookie": f"{rules.COOKIE}={cookie}"}
    browser.cookies.clear()
    late = await browser.get("/v1/single-sign-on/callback?state=old&code=x", headers=sent)
    assert problem_of(late) == "sign_on_state"


def _state(kept, engine):
    return json.loads(engine.encryption.decrypt(kept + "=" * (-len(kept) % 4)))["state"]


async def test_a_code_is_redeemed_once(client, way, provider, ada):
    await set_up(client, provider)
    first = parse_qs(urlsplit(await way.decide(await way.leave())).query)
    provider.answer = {"code": first["code"][0]}
    # The code of another sign-in has another verifier, and is used up by the try.
    assert await way.refusal() == "sign_on_provider"
    assert await way.refusal() == "sign_on_provider"


@pytest.mark.parametrize(
    ("said", "answered", "problem"),
    [
        ({"iss": "https://accounts.example.com"}, {}, "sign_on_provider"),
        ({}, {"authorization_response_iss_parameter_supported": True}, "sign_on_provider"),
        ({"iss": "own"}, {"authorization_response_iss_parameter_supported": True}, None),
        ({"iss": "own"}, {}, None),
        ({"code": None, "error": "access_denied"}, {}, "sign_on_denied"),
        ({"code": None, "error": "server_error", "error_description": "<b>"}, {}, "sign_on_provider"),
        ({"code": None}, {}, "sign_on_denied"),
    ],
)
async def test_the_answer_of_the_provider_is_its_own(client, way, provider, ada, said, answered, problem):
    provider.metadata = answered
    provider.answer = said | ({"iss": provider.issuer} if said.get("iss") == "own" else {})
    await set_up(client, provider)
    assert problem_of(await way.go()) == problem


@pytest.mark.parametrize(
    ("to", "place"),
    [
        ("/people?x=1", "/people?x=1"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("/\\evil.example/", "/"),
        ("/..//evil.example/", "/"),
        ("/\tevil", "/"),
        ("javascript:alert(1)", "/"),
        ("/" + "x" * 600, "/"),
    ],
)
async def test_it_leads_to_pages_of_this_server_alone(client, way, provider, ada, to, place):
    await set_up(client, provider)
    assert (await way.go(to=to)).headers["location"] == place


async def test_a_session_sees_its_workspace_and_nothing_of_the_user(client, browser, way, provider, ada, engine, keys):
    other = internal("ws", (await _make_workspace(engine))["workspace"])
    await engine.database.transact(users.add_member, ada, other, Role.OWNER, now_us())
    invitation = await ok(client.post("/v1/invitations", json={"email": EMAIL}, headers=bearer(keys.stranger)), 201)
    await set_up(client, provider)
    me = await way.enter()
    assert [one["id"] for one in me["workspaces"]] == [way.workspace]
    for method, path in (("GET", "/v1/webhooks"), ("GET", "/v1/me"), ("POST", "/v1/webhooks"), ("GET", "/v1/stream")):
        elsewhere = browser.request(method, path, headers={"waypost-workspace": public("ws", other)})
        await refused(elsewhere, 404, "no_such_workspace")
    token = invitation["url"].partition("#")[2]
    accepted = browser.post("/v1/invitations/accept", json={"token": token})
    await refused(accepted, 403, "single_sign_on_only")

    allowed = {"get_me", "list_roles", "delete_session", "confirm_session"}
    refused_ = set()
    for path, item in describe_api()["paths"].items():
        for method, operation in item.items():
            own = operation.get("security", [{}])[:1] == [{"session": []}] and "x-permission" not in operation
            if own and operation["operationId"] not in allowed:
                place = path.replace("{id}", "psk_0000000000000001")
                await refused(browser.request(method, place, json={}), 403, "single_sign_on_only")
                refused_.add(operation["operationId"])
    assert {"change_password", "make_workspace", "offer_totp", "add_passkey", "list_own_sessions"} <= refused_

    # Another session of the user is theirs alone to end; this one ends itself.
    session = (await session_of(engine, ada))["cookie"]
    listed = await ok(browser.get("/v1/sessions", headers={"cookie": session}))
    (third,) = [one["id"] for one in listed["data"] if one["current"]]
    await refused(browser.delete(f"/v1/sessions/{third}"), 403, "single_sign_on_only")
    assert (await browser.delete("/v1/sessions/current")).status_code == 204


async def _make_workspace(engine):
    return await engine.database.transact(workspaces.create_workspace, engine.ids, "other", now_us())


async def test_an_owner_signs_in_by_it_only_where_an_owner_has_allowed_it(client, way, provider, owner, engine, keys):
    await add_user(engine, keys.workspace_id, Role.OWNER, email=EMAIL)
    await set_up(client, provider)
    assert await way.refusal() == "sign_on_owner"
    admin = await session_of(engine, await add_user(engine, keys.workspace_id, Role.ADMIN))
    wide = ({"owners": True}, {"trusts_mfa": True})
    for fields in wide:
        for who in (admin, bearer(keys.manage)):
            sent = way.browser.put(PLACE, json=settings(provider, **fields), headers=who)
            await refused(sent, 403, "role_too_high")
    way.browser.cookies.clear()
    for fields in wide:
        await ok(way.browser.put(PLACE, json=settings(provider, **fields), headers=owner))
    assert await way.refusal() == "sign_on_owner"
    await ok(way.browser.put(PLACE, json=settings(provider, owners=True), headers=owner))
    assert (await way.enter())["role"] == "owner"
    # An admin cannot point it elsewhere, and may always make it narrower, which ends the session.
    await ok(client.put(PLACE, json=settings(provider)))
    await refused(way.browser.get("/v1/me"), 401, "session_ended")


async def test_who_sets_it_must_be_an_admin_in_all(client, browser, provider, engine, keys):
    made = await engine.database.transact(
        workspaces.create_key, engine.ids, keys.workspace_id, "narrow", ["users.write"], now_us()
    )
    narrow = bearer(made["key"])
    await refused(client.put(PLACE, json=settings(provider), headers=narrow), 403, "role_too_high")
    for role in (Role.VIEWER, Role.DEVELOPER, Role.MARKETER):
        headers = await session_of(engine, await add_user(engine, keys.workspace_id, role))
        await refused(browser.put(PLACE, json=settings(provider), headers=headers), 403, "forbidden")
        await refused(browser.get(PLACE, headers=headers), 404, "not_found")
    admin = await session_of(engine, await add_user(engine, keys.workspace_id, Role.ADMIN))
    await ok(browser.put(PLACE, json=settings(provider), headers=admin))


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"role": "owner"}, "role_too_high", "role"),
        ({"role": "admin"}, "role_too_high", "role"),
        ({"role": "king"}, "invalid_role", "role"),
        ({"domains": []}, "domains_needed", "domains"),
        ({"domains": ["not a domain"]}, "invalid_domain", "domains"),
        ({"issuer": "http://accounts.example.com"}, "invalid_url", "issuer"),
        ({"issuer": "https://accounts.example.com/?a=b"}, "invalid_url", "issuer"),
        ({"issuer": "https://a@accounts.example.com"}, "invalid_url", "issuer"),
        ({"issuer": "https://["}, "invalid_url", "issuer"),
        ({"issuer": "https://10.0.0.1"}, "sign_on_provider", "issuer"),
        ({"client_secret": None}, "secret_needed", "client_secret"),
        ({"label": "a\nb"}, "invalid_name", "label"),
        ({"unknown": 1}, "invalid_body", "unknown"),
    ],
)
async def test_settings_that_cannot_be_are_refused(client, provider, fields, code, field):
    problem = await refused(client.put(PLACE, json=settings(provider, **fields)), 400, code)
    assert problem["field"] == field
    await refused(client.get(PLACE), 404, "not_found")


async def test_new_people_join_only_where_the_settings_say_so(client, browser, way, provider, keys):
    await set_up(client, provider)
    assert await way.refusal() == "sign_on_not_invited"
    set_ = await set_up(client, provider, role="viewer", label="Acme", domains=["@Example.com", "example.com", "b.org"])
    assert (set_["role"], set_["label"], set_["domains"]) == ("viewer", "Acme", ["example.com", "b.org"])
    me = await way.enter()
    assert (me["user"]["name"], me["role"], me["workspace"]["id"]) == ("Ada", "viewer", way.workspace)
    (entry,) = (await ok(client.get("/v1/audit?action=join_by_single_sign_on")))["data"]
    assert entry["resource"] == f"/v1/users/{me['user']['id']}"
    assert entry["after"] == {"role": "viewer", "invited": False}
    # Without a password nobody signs in by one.
    sent = {"email": EMAIL, "password": PASSWORD}
    await refused(browser.post("/v1/sessions", json=sent), 401, "wrong_credentials")
    provider.person |= {"sub": "another", "email": "bob@example.org"}
    browser.cookies.clear()
    assert await way.refusal() == "sign_on_domain"


async def test_who_is_invited_joins_in_the_role_of_the_invitation(client, way, provider):
    await set_up(client, provider)
    await ok(client.post("/v1/invitations", json={"email": EMAIL, "role": "marketer"}), 201)
    assert (await way.enter())["role"] == "marketer"
    assert (await ok(client.get("/v1/invitations")))["data"] == []


@pytest.mark.parametrize(
    "lie",
    [{"email_verified": False}, {"email_verified": None}, {"email": None}, {"email": "x"}, {"email_verified": 1.5}],
)
async def test_an_address_that_the_provider_has_not_verified_names_nobody(client, way, provider, ada, lie):
    provider.claims = lie
    await set_up(client, provider)
    assert await way.refusal() == "sign_on_email"


async def test_the_address_may_be_in_the_userinfo(client, way, provider, ada):
    provider.claims = {"email": None, "email_verified": None, "name": None}
    provider.userinfo = {"sub": "somebody else", "email": EMAIL, "email_verified": True}
    await set_up(client, provider)
    assert await way.refusal() == "sign_on_token"
    provider.userinfo = provider.userinfo | {"sub": provider.person["sub"], "email_verified": "true"}
    assert (await way.enter())["user"]["email"] == EMAIL


async def test_an_address_that_somebody_else_has_now_opens_nothing(client, way, provider, ada, engine, keys):
    await set_up(client, provider, role="viewer")
    await way.enter()
    way.browser.cookies.clear()
    provider.person |= {"sub": "a new colleague with an old address"}
    assert await way.refusal() == "sign_on_other_person"
    # Who is removed is forgotten, and their sessions end; the settings may let the next one join.
    provider.person |= {"sub": "248289761001"}
    await way.enter()
    assert (await client.delete(f"/v1/users/{public('usr', ada)}")).status_code == 204
    await refused(way.browser.get("/v1/me"), 401, "session_ended")
    provider.person |= {"sub": "a new colleague with an old address"}
    way.browser.cookies.clear()
    assert (await way.enter())["role"] == "viewer"


async def test_the_second_factor_is_the_providers_only_if_an_owner_says_so(
    client, browser, way, provider, owner, ada, engine
):
    await ok(client.patch("/v1/workspace", json={"mfa": "required"}))
    await set_up(client, provider)
    assert (await way.enter())["session"]["mfa"] is False
    await refused(browser.get("/v1/webhooks"), 403, "sign_on_factor_missing")

    offer = await engine.database.transact(second_factors.offer_totp, engine.encryption, ada, now_us())
    app = pyotp.TOTP(offer.secret)
    confirmed = app.at(now_us() // 1_000_000 - 30)
    await engine.database.transact(second_factors.confirm_totp, engine.encryption, ada, confirmed, now_us())
    engine.sessions.forget()
    await refused(browser.get("/v1/webhooks"), 403, "second_factor_required")
    await ok(browser.post("/v1/sessions/current/confirm", json={"totp": app.now()}))
    await ok(browser.get("/v1/webhooks"))

    browser.cookies.clear()
    # An admin of the workspace cannot say so, so an owner does.
    code = "mfa_enrolment_required"
    await refused(browser.put(PLACE, json=settings(provider, trusts_mfa=True), headers=owner), 403, code)
    await ok(client.patch("/v1/workspace", json={"mfa": "optional"}))
    await ok(browser.put(PLACE, json=settings(provider, trusts_mfa=True), headers=owner))
    await ok(client.patch("/v1/workspace", json={"mfa": "required"}))
    assert (await way.enter())["session"]["mfa"] is True
    await ok(browser.get("/v1/webhooks"))


async def test_what_is_sensitive_takes_a_fresh_sign_in_at_the_provider(client, browser, way, provider, ada):
    await set_up(client, provider)
    hours_ago = (now_us() - HOUR) // 1_000_000
    for said in (hours_ago, None):
        provider.claims = {"auth_time": said}
        await way.enter()
        await refused(browser.post("/v1/keys", json={"name": "a", "scopes": ["read"]}), 403, "confirmation_required")
        assert problem_of(await way.go(fresh="true")) == "sign_on_token"
    assert (provider.requests[-1]["prompt"], provider.requests[-1]["max_age"]) == ("login", "0")
    assert "prompt" not in provider.requests[0]
    provider.claims = {}
    await way.enter(fresh="true")
    await ok(browser.post("/v1/keys", json={"name": "a", "scopes": ["read"]}), 201)


async def test_a_session_ends_after_a_day(client, browser, way, provider, ada, engine):
    await set_up(client, provider)
    me = await way.enter()
    (row,) = await engine.database.read(sessions.list_sessions, ada, 1 << 62, 5, now_us())
    assert row["expires_at"] - row["created_at"] == 24 * HOUR
    assert me["session"]["single_sign_on"]


async def test_the_secret_is_encrypted_and_never_shown(client, provider, engine, keys):
    await set_up(client, provider)
    shown = (await client.get(PLACE)).text + (await client.get("/v1/audit")).text
    assert CLIENT_SECRET not in shown
    assert "client_secret" not in (await client.get(PLACE)).json()
    (row,) = await engine.database.read(_stored)
    assert CLIENT_SECRET not in row[0]
    assert engine.encryption.decrypt(row[0]) == CLIENT_SECRET
    # It stays as long as it is not sent, and is not sent to another issuer.
    changed = await set_up(client, provider, client_secret=None, label="Acme")
    assert changed["label"] == "Acme"
    found = await engine.database.read(get_provider, engine.encryption, keys.workspace_id)
    assert found.client_secret == CLIENT_SECRET
    with oidc_provider() as other:
        await refused(client.put(PLACE, json=settings(other, client_secret=None)), 400, "secret_needed")
    entries = (await ok(client.get("/v1/audit?action=set_single_sign_on")))["data"]
    assert [one["after"].get("label") for one in entries] == ["Acme", "127.0.0.1"]
    assert entries[0]["before"] == {"label": "127.0.0.1"}


async def _stored(tx):
    return [(row[1],) for row in await tx.rows("single_sign_on.encrypted", after=-1, n=10)]


async def test_another_provider_or_none_ends_what_the_one_before_has_opened(client, browser, way, provider, ada):
    await set_up(client, provider)
    await way.enter()
    await set_up(client, provider, domains=["example.com", "example.org"], label="Acme")
    await ok(browser.get("/v1/me"))
    await set_up(client, provider, domains=["example.org"])
    await refused(browser.get("/v1/me"), 401, "session_ended")
    browser.cookies.clear()
    assert await way.refusal() == "sign_on_domain"
    await set_up(client, provider)
    await way.enter()
    back = await way.decide(await way.leave())
    with oidc_provider() as other:
        await set_up(client, other)
        await refused(browser.get("/v1/me"), 401, "session_ended")
        assert problem_of(await browser.get(back)) == "sign_on_state"
        browser.cookies.clear()
        # The same subject of another provider is somebody else until the address says who.
        other.person["email"] = "bob@example.com"
        way.provider = other
        assert await way.refusal() == "sign_on_not_invited"
    await set_up(client, provider)
    way.provider = provider
    await way.enter()
    back = await way.decide(await way.leave())
    assert (await client.delete(PLACE)).status_code == 204
    await refused(client.delete(PLACE), 404, "not_found")
    await refused(browser.get("/v1/me"), 401, "session_ended")
    assert problem_of(await browser.get(back)) == "sign_on_unavailable"
    assert problem_of(await browser.get(f"/v1/single-sign-on/{way.workspace}")) == "sign_on_unavailable"


async def test_the_sign_in_page_finds_providers_by_domain_alone(client, browser, provider, keys, ada):
    assert (await ok(browser.get("/v1/setup")))["single_sign_on"] is False
    assert await ok(browser.get("/v1/single-sign-on", params={"domain": "example.com"})) == {"data": []}
    await set_up(client, provider, label="Acme")
    assert (await ok(browser.get("/v1/setup")))["single_sign_on"] is True
    found = {"data": [{"id": public("ws", keys.workspace_id), "label": "Acme", "host": "127.0.0.1"}]}
    assert await ok(browser.get("/v1/single-sign-on", params={"domain": "Example.com "})) == found
    await set_up(client, provider, headers=bearer(keys.stranger), label="Other")
    both = await ok(browser.get("/v1/single-sign-on", params={"domain": "example.com"}))
    assert [one["label"] for one in both["data"]] == ["Acme", "Other"]
    assert await ok(browser.get("/v1/single-sign-on", params={"domain": "example.org"})) == {"data": []}
    assert (await browser.get("/v1/single-sign-on")).status_code == 400


@pytest.mark.parametrize("step", ["begin", "finish"])
async def test_one_address_makes_us_ask_providers_only_so_often(client, browser, way, provider, ada, engine, step):
    await set_up(client, provider)
    back = await way.decide(await way.leave())
    limit = sign_on_limit(step, "192.0.2.7")

    async def count(tx):
        for _ in range(limit.most):
            await tx.row("sign_in_tries.add", key=limit.key, window=limit.window)

    await engine.database.transact(count)
    place = back if step == "finish" else f"/v1/single-sign-on/{way.workspace}"
    assert problem_of(await browser.get(place)) == "rate_limited"


@pytest.mark.parametrize("id_", ["ws_0000000000000009", "nothing", "ws_1"])
async def test_a_workspace_without_it_leads_back_to_the_sign_in_page(browser, keys, id_):
    assert problem_of(await browser.get(f"/v1/single-sign-on/{id_}")) == "sign_on_unavailable"
    assert problem_of(await browser.get("/v1/single-sign-on/callback?code=x&state=y")) == "sign_on_state"


async def test_a_change_that_does_not_know_of_another_one_is_refused(client, provider):
    await set_up(client, provider)
    tag = (await client.get(PLACE)).headers["etag"]
    await set_up(client, provider, {"if-match": tag}, label="First")
    second = {"if-match": tag}
    asked = settings(provider, label="Second")
    await refused(client.put(PLACE, json=asked, headers=second), 412, "precondition_failed")
    await refused(client.delete(PLACE, headers=second), 412, "precondition_failed")
    assert (await ok(client.get(PLACE)))["label"] == "First"
