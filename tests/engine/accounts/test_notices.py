"""Notices are mailed through an SMTP session, and record the error when that fails."""

import contextlib
import socket
from email import message_from_bytes, policy

import pytest

from tests.engine.mailserver import CLOSE, MailServer, mail_server, make_certificate
from waypost.domain.messaging.message import Content
from waypost.engine.accounts.notices import send_mail

NOW = 1_790_000_000_000_000
CONTENT = Content(sender="Waypost <way@post.example>", subject="Störung", text="Webhook endpoint\n-- \nWaypost\n")


async def mail(url: str, recipient: str = "owner@example.com") -> str | None:
    return await send_mail(url, recipient, CONTENT, "ntc_1", NOW)


async def test_a_notice_arrives():
    server = MailServer()
    async with mail_server(server) as url:
        assert await mail(url) is None
    ((sender, recipients, data),) = server.mails
    assert (sender, recipients) == ("way@post.example", ["owner@example.com"])
    found = message_from_bytes(data, policy=policy.default)
    assert (found["Subject"], found["From"]) == ("Störung", "Waypost <way@post.example>")
    assert found["Message-ID"] == "<ntc_1@post.example>"
    assert "Webhook endpoint" in found.get_content()


@pytest.mark.parametrize(
    ("verb", "reply", "error"),
    [
        ("GREETING", "554 no", "connect: 554 no"),
        ("MAIL", "451 later", "sender: 451 later"),
        ("RCPT", "550 unknown", "recipient: 550 unknown"),
        ("MESSAGE", "552 too large", "message: 552 too large"),
        ("MESSAGE", CLOSE, "message: connection_lost"),
        ("GREETING", CLOSE, "connect: connection_lost"),
    ],
)
async def test_what_keeps_a_notice_from_being_taken_is_told(verb, reply, error):
    server = MailServer(replies={verb: [reply, reply]})
    async with mail_server(server) as url:
        assert (await mail(url) or "").startswith(error)


async def test_a_password_is_not_said_in_the_clear():
    server = MailServer(offers=("AUTH PLAIN",), user=("way", "p@ss"))
    async with mail_server(server) as url:
        assert "tls_missing" in (await mail(url.replace("://", "://way:p%40ss@")) or "")
    assert not any("AUTH" in line for line in server.heard)


async def test_a_notice_logs_in_over_tls(tmp_path, monkeypatch):
    tls = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    server = MailServer(offers=("STARTTLS", "AUTH PLAIN"), tls=tls, user=("way", "p@ss"))
    async with mail_server(server) as url:
        assert await mail(url.replace("://", "://way:p%40ss@")) is None
    assert len(server.mails) == 1


async def test_no_error_says_the_password(tmp_path, monkeypatch):
    tls = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    server = MailServer(offers=("STARTTLS", "AUTH PLAIN"), tls=tls, replies={"AUTH": ["535 hush/hush is wrong"] * 2})
    async with mail_server(server) as url:
        error = await mail(url.replace("://", "://way:hush%2Fhush@")) or ""
    assert "535" in error
    assert "*** is wrong" in error
    # The slash ends the host, and what is before it looks like a port.
    error = await mail("smtp://way:hush/hush@mail.example") or ""
    assert "%2F" in error
    assert "hush" not in error


async def test_a_server_that_is_not_there_and_a_recipient_that_is_none_are_told():
    with contextlib.closing(socket.socket()) as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        assert (await mail(f"smtp://127.0.0.1:{port}") or "").startswith("connect: connect: ")
    assert (await mail("smtp://nowhere.invalid") or "").startswith("connect: dns: ")
    assert "address" in (await mail("smtp://127.0.0.1", "nobody") or "")
