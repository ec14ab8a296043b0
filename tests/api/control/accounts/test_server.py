"""The settings of the server, as a workspace sees them, and a test of its own mail."""

import dataclasses
from email import message_from_bytes, policy

import pytest

from tests.api.calling import add_user, ok, refused, session_of
from tests.engine.mailserver import MailServer, mail_server
from waypost.domain.accounts.permissions import Role


@pytest.fixture
async def owner(engine, keys):
    """The headers of a request by an owner who is signed in."""
    return await session_of(engine, await add_user(engine, keys.workspace_id, Role.OWNER))


def use_mail(engine, url, **more):
    """Let the server have a mail server, as after a restart with other settings."""
    engine.settings = dataclasses.replace(engine.settings, smtp_url=url, mail_from="way@post.example", **more)


async def test_the_settings_are_shown_without_secrets(client, engine):
    shown = await ok(client.get("/v1/server"))
    assert shown == {
        "public_url": engine.settings.base_url,
        "data_centers": {"global": engine.settings.base_url},
        "mail": {"configured": False, "sender": "waypost@localhost"},
    }
    use_mail(
        engine, "smtp://way:hush@mail.example", public_url="https://way.example/", data_centers="in=https://in.example"
    )
    assert await ok(client.get("/v1/server")) == {
        "public_url": "https://way.example",
        "data_centers": {"global": "https://way.example", "in": "https://in.example"},
        "mail": {"configured": True, "sender": "way@post.example"},
    }


async def test_a_test_mail_goes_to_the_user_who_asks(browser, engine, owner):
    me = (await ok(browser.get("/v1/me", headers=owner)))["user"]["email"]
    server = MailServer()
    async with mail_server(server) as url:
        use_mail(engine, url)
        sent = await ok(browser.post("/v1/server/test-mail", headers=owner))
        assert sent == {"to": me, "accepted": True, "error": None}
        ((sender, recipients, data),) = server.mails
        assert (sender, recipients) == ("way@post.example", [me])
        mail = message_from_bytes(data, policy=policy.default)
        assert mail["Subject"] == "Test mail of Waypost"
        assert engine.settings.base_url in mail.get_content()
        server.replies["RCPT"] = ["550 5.1.1 no such user"]
        assert await ok(browser.post("/v1/server/test-mail", headers=owner)) == {
            "to": me,
            "accepted": False,
            "error": "recipient: 550 5.1.1 no such user",
        }
    log = await ok(browser.get("/v1/audit", params={"action": "send_test_mail"}, headers=owner))
    assert [entry["after"]["accepted"] for entry in log["data"]] == [False, True]


async def test_a_server_without_mail_says_what_to_set(browser, owner):
    problem = await refused(browser.post("/v1/server/test-mail", headers=owner), 409, "no_mail_server")
    assert "WAYPOST_SMTP_URL" in problem["detail"]


async def test_test_mails_are_few(browser, engine, owner):
    server = MailServer()
    async with mail_server(server) as url:
        use_mail(engine, url)
        for _ in range(5):
            await ok(browser.post("/v1/server/test-mail", headers=owner))
        problem = await refused(browser.post("/v1/server/test-mail", headers=owner), 429, "rate_limited")
    assert "Wait" in problem["detail"]
    assert len(server.mails) == 5


async def test_a_key_has_no_address(client, engine):
    use_mail(engine, "smtp://127.0.0.1:1")
    await refused(client.post("/v1/server/test-mail"), 403, "users_only")
