"""The SMTP driver: the mail for a message, and the verdicts for replies."""

import asyncio
from collections.abc import AsyncIterator
from email import message_from_bytes
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.conftest import LOOPBACK, Outside
from tests.engine.mailserver import CLOSE, CLOSE_AFTER, HANG_AFTER, MailServer, mail_server
from waypost.domain.messaging.message import Content, Outgoing, SendOutcome, Verdict
from waypost.domain.providers.connection import Connection
from waypost.domain.providers.smtp import SmtpStage
from waypost.domain.values.egress_guard import parse_networks
from waypost.engine.net.outbound import Outbound
from waypost.engine.net.request import Response
from waypost.engine.providers.connectors import shipped
from waypost.engine.providers.drivers import smtp
from waypost.errors import Invalid

NOW = 1_790_000_000_000_000


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    """A client that may reach IPv4 loopback."""
    client = Outbound(parse_networks(LOOPBACK))
    yield client
    await client.stop()


def connection(url: str, timeout_ms: int = 5000, **config: Any) -> Connection:
    """Return a connection to a server without TLS."""
    host, _, port = url.partition("//")[2].rpartition(":")
    given = {"host": host, "port": int(port), "security": "none", "from_email": "shop@example.com"} | config
    return Connection(
        id=1,
        workspace_id=1,
        name="Mail",
        connector=msgspec.structs.replace(shipped()["smtp"], timeout_ms=timeout_ms),
        config=given,
        status="enabled",
        position=1,
        per_second=None,
        concurrency=8,
        validity_s=3600,
        data_center="",
        version=1,
    )


def message(address: str = "ann@example.org", id_: int = 0x1234, **content: Any) -> Outgoing:
    """Return a message."""
    given = {"subject": "Hello", "text": "hi", "html": "<p>hi</p>"} | content
    return Outgoing(
        id=id_,
        workspace_id=1,
        connection_id=1,
        channel="email",
        address=address,
        content=Content(**given),
        purpose="transactional",
        created_at=NOW,
        expires_at=NOW + 1,
    )


async def send(outbound: Outbound, chosen: Connection, one: Outgoing) -> Verdict:
    """Send one message; return its verdict."""
    request = smtp.prepare(chosen, [one], lambda _: "", NOW)
    response, _ = await asyncio.wait_for(outbound.fetch(request), 20)
    (verdict,) = smtp.read(chosen, [one], response, NOW)
    return verdict


async def test_a_message_arrives(outbound):
    server = MailServer()
    async with mail_server(server) as url:
        chosen = connection(
            url, from_name='The "Shop"', reply_to="help@example.com", envelope_from="bounce@example.net"
        )
        verdict = await send(outbound, chosen, message("Ann@EXAMPLE.org", subject="Grüße", headers={"X-Order": "7"}))
    assert (verdict.outcome, verdict.provider_message_id) == (
        SendOutcome.ACCEPTED,
        "msg_0000000000001234@example.com",
    )
    ((sender, recipients, mail),) = server.mails
    assert (sender, recipients) == ("bounce@example.net", ["Ann@example.org"])
    found = message_from_bytes(mail)
    assert found["Message-ID"] == "<msg_0000000000001234@example.com>"
    assert found["From"] == '"The \\"Shop\\"" <shop@example.com>'
    assert (found["Reply-To"], found["X-Order"]) == ("help@example.com", "7")
    assert [part.get_content_type() for part in found.walk()][1:] == ["text/plain", "text/html"]


async def test_the_message_names_its_sender_and_bounces_come_to_the_connection(outbound):
    server = MailServer()
    async with mail_server(server) as url:
        verdict = await send(outbound, connection(url), message(sender="News <news@news.example>"))
    assert verdict.provider_message_id == "msg_0000000000001234@news.example"
    assert server.mails[0][0] == "shop@example.com"
    assert message_from_bytes(server.mails[0][2])["From"] == "News <news@news.example>"


async def test_the_sink_takes_it_and_refuses_as_told(outbound, outside: Outside):
    chosen = connection(f"smtp://127.0.0.1:{outside.smtp_port}")
    assert (await send(outbound, chosen, message("taken@example.org"))).outcome is SendOutcome.ACCEPTED


RULES = [
    ("GREETING", "554 5.7.1 blocked", "misconfigured", None, "configuration", None),
    ("GREETING", "421 4.3.2 busy", "retry", 2009, "temporary", None),
    ("EHLO", "550 no", "misconfigured", None, "configuration", None),
    ("MAIL", "530 5.7.0 Authentication required", "misconfigured", None, "credentials", None),
    ("MAIL", "550 5.7.1 sender not verified", "misconfigured", None, "sender_refused", None),
    ("MAIL", "552 5.3.4 message too big", "rejected", 2015, "too_large", None),
    ("MAIL", "451 4.3.0 try again", "retry", 2009, "temporary", None),
    ("MAIL", "421 4.7.0 Too many mails", "retry", 2020, "throttled", None),
    ("RCPT", "550 5.1.1 no such user", "rejected", 2003, "invalid_address", "bounced"),
    ("RCPT", "550 5.1.2 no such domain", "rejected", 2003, "invalid_address", None),
    ("RCPT", "550 who?", "rejected", 2003, "invalid_address", None),
    ("RCPT", "551 moved", "rejected", 2003, "invalid_address", None),
    ("RCPT", "553 5.1.3 syntax", "rejected", 2003, "invalid_address", None),
    ("RCPT", "552 5.2.2 mailbox full", "rejected", 2015, "rejected", None),
    ("RCPT", "550 5.7.1 blocked by policy", "rejected", 2015, "rejected", None),
    ("RCPT", "554 5.7.1 <x@y>: Relay access denied", "misconfigured", None, "relay_refused", None),
    ("RCPT", "550 relaying denied", "misconfigured", None, "relay_refused", None),
    ("RCPT", "450 4.2.0 greylisted", "retry", 2009, "temporary", None),
    ("RCPT", "452 4.5.3 too many recipients", "retry", 2020, "throttled", None),
    ("RCPT", "501 5.5.4 what", "rejected", 9988, "refused", None),
    ("DATA", "554 5.5.1 no", "rejected", 2015, "rejected", None),
    ("DATA", "451 4.7.1 rate limited", "retry", 2020, "throttled", None),
    ("MESSAGE", "554 5.7.1 spam", "rejected", 2015, "rejected", None),
    ("MESSAGE", "552 5.3.4 big", "rejected", 2015, "too_large", None),
    ("MESSAGE", "550 5.1.1 no such user", "rejected", 2003, "invalid_address", "bounced"),
    ("MESSAGE", "451 4.3.0 disk full", "retry", 2009, "temporary", None),
    ("MESSAGE", "452 out of space", "retry", 2009, "temporary", None),
    ("MESSAGE", HANG_AFTER, "unknown", 9988, "no_answer", None),
    ("MESSAGE", CLOSE_AFTER, "unknown", 9988, "no_answer", None),
    ("RCPT", CLOSE, "retry", 9988, "unreachable", None),
]


@pytest.mark.parametrize("offers", [("PIPELINING",), ("SIZE 1000",)], ids=["pipelining", "stepwise"])
@pytest.mark.parametrize(("verb", "reply", "outcome", "code", "reason", "suppress"), RULES)
async def test_what_replies_mean(outbound, offers, verb, reply, outcome, code, reason, suppress):
    server = MailServer(offers=offers, replies={verb: [reply]})
    async with mail_server(server) as url:
        verdict = await send(outbound, connection(url, timeout_ms=300), message())
    assert (verdict.outcome, verdict.code, verdict.reason, verdict.suppress) == (outcome, code, reason, suppress)
    assert server.mails == []
    if reply[:3].isdigit():
        assert verdict.detail == reply
        assert verdict.provider_code in reply.split()[:2]


async def test_what_keeps_every_mail_from_a_server(outbound):
    server = MailServer(offers=("AUTH PLAIN",), user=("u", "p"))
    async with mail_server(server) as url:
        wrong = await send(outbound, connection(url, username="u", password="x"), message())
        assert (wrong.outcome, wrong.reason, wrong.provider_code) == (SendOutcome.MISCONFIGURED, "credentials", "5.7.8")
        missing = await send(outbound, connection(url, security="starttls"), message())
        assert (missing.outcome, missing.reason) == (SendOutcome.MISCONFIGURED, "tls_missing")
        private = await send(outbound, connection("smtp://10.0.0.1:25"), message())
        assert (private.outcome, private.reason) == (SendOutcome.MISCONFIGURED, "address_forbidden")
        away = await send(outbound, connection("smtp://127.0.0.1:1"), message())
        assert (away.outcome, away.reason) == (SendOutcome.RETRY, "unreachable")
        plain = await send(outbound, connection(url), message("jörg@example.org"))
        assert (plain.outcome, plain.reason, plain.code) == (SendOutcome.REJECTED, "invalid_address", 2003)


@pytest.mark.parametrize(
    ("config", "content", "address", "code"),
    [
        ({"from_email": "nobody"}, {}, "a@b.example", "invalid_config"),
        ({"envelope_from": "a\r\nb@c"}, {}, "a@b.example", "invalid_config"),
        ({"from_name": "a\nb"}, {}, "a@b.example", "invalid_config"),
        ({}, {"sender": "nobody"}, "a@b.example", "invalid_header"),
        ({}, {"subject": "a\r\nBcc: x@y.example"}, "a@b.example", "invalid_header"),
        ({}, {"headers": {"From": "x"}}, "a@b.example", "invalid_header"),
        ({}, {}, "nobody", "invalid_address"),
        ({}, {}, "a@b.example>\r\nDATA", "invalid_address"),
    ],
)
def test_what_no_mail_can_be_made_of(config, content, address, code):
    with pytest.raises(Invalid) as refused:
        smtp.prepare(connection("smtp://127.0.0.1:25", **config), [message(address, **content)], lambda _: "", NOW)
    assert refused.value.code == code


async def test_a_check_goes_as_far_as_the_sender(outbound):
    server = MailServer(offers=("AUTH PLAIN",), user=("u", "p"))
    async with mail_server(server) as url:
        good = connection(url, username="u", password="p").config
        found = await smtp.check_smtp(outbound, good)
        assert (found.ok, found.stage, found.status, found.detail) == (True, "sender", 250, "250 2.1.0 ok")
        found = await smtp.check_smtp(outbound, good | {"password": "x"})
        assert (found.ok, found.stage, found.status, found.reason) == (False, "login", 535, "credentials")
        server.replies["MAIL"] = ["550 5.7.1 not yours"]
        found = await smtp.check_smtp(outbound, good)
        assert (found.ok, found.stage, found.reason, found.detail) == (
            *(False, "sender", "sender_refused"),
            "550 5.7.1 not yours",
        )
        found = await smtp.check_smtp(outbound, good | {"port": 1})
        assert (found.ok, found.stage, found.status, found.reason) == (False, "connect", None, "unreachable")
        with pytest.raises(Invalid):
            await smtp.check_smtp(outbound, good | {"from_email": "x"})
    assert server.mails == []
    assert not [text for text in server.heard if text.startswith(("RCPT", "DATA"))]


@given(
    st.integers(0, 999) | st.none(),
    st.sampled_from(SmtpStage),
    st.booleans(),
    st.binary(max_size=80),
    st.text(max_size=40),
)
def test_nothing_that_a_server_says_raises(status, stage, sent, body, error):
    sent = sent and stage is SmtpStage.MESSAGE
    response = Response(status, [], body, None if status else error, 1, sent=sent, stage=stage)
    verdict = smtp.judge(response)
    # A mail that may have been accepted is never sent again, and only an accepted one counts as accepted.
    if verdict.outcome is SendOutcome.ACCEPTED:
        assert status is not None
        assert 200 <= status < 300
        assert stage is SmtpStage.MESSAGE
    elif status is None and sent:
        assert verdict.outcome is SendOutcome.UNKNOWN
    assert verdict.detail is None or len(verdict.detail) <= 500
