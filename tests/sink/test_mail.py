"""The sink's mail server, as Python's own SMTP client sees it."""

import asyncio
import contextlib
import http.client
import json
import smtplib
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

import pytest
import uvloop

from waypost.sink.beside import running


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loop_factory(request):
    return request.param


@pytest.fixture
def ports(loop_factory):
    with running(smtp=True, loop_factory=loop_factory) as sink:
        yield sink.port, sink.smtp_port


async def told(port: int, method: str, path: str, given: Any = None) -> Any:
    def call() -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        with contextlib.closing(connection):
            connection.request(method, path, None if given is None else json.dumps(given))
            answer = connection.getresponse()
            assert answer.status == 200
            return json.loads(answer.read())

    return await asyncio.to_thread(call)


async def post(smtp_port: int, talk: Callable[[smtplib.SMTP], Any]) -> Any:
    def call() -> Any:
        with smtplib.SMTP("127.0.0.1", smtp_port, timeout=10) as client:
            return talk(client)

    return await asyncio.to_thread(call)


def send(client: smtplib.SMTP) -> tuple[int, bytes]:
    """The reply to a small mail's data."""
    client.ehlo()
    client.mail("from@example.com")
    client.rcpt("to@example.com")
    return client.data(b"Subject: small\r\n\r\nhello\r\n")


async def test_a_mail_is_kept_as_it_came(ports):
    port, smtp_port = ports
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "Ann <ann@example.com>", "bob@example.com", "Grüße"
    message.set_content("one\n.two\n..three\n")
    await post(smtp_port, lambda client: client.send_message(message, to_addrs=["bob@example.com", "eve@example.com"]))
    page = await told(port, "GET", "/received?name=mail")
    (mail,) = page["data"]
    assert (mail["name"], mail["method"], mail["number"]) == ("mail", "MAIL", 1)
    assert (mail["from"], mail["to"]) == ("ann@example.com", ["bob@example.com", "eve@example.com"])
    assert mail["subject"] == mail["headers"]["subject"] == "Grüße"
    assert mail["body"].endswith("one\r\n.two\r\n..three\r\n")
    assert "Subject: =?utf-8?" in mail["body"]


async def test_what_is_not_text_or_not_a_mail_is_kept_too(ports):
    port, smtp_port = ports
    await post(smtp_port, lambda client: client.sendmail("a@b.example", ["c@d.example"], b"\xff no headers\r\n"))
    (mail,) = (await told(port, "GET", "/received?name=mail"))["data"]
    assert "body_base64" in mail
    assert mail["subject"] == ""


async def test_the_server_speaks_the_usual_extensions(ports):
    def features(client: smtplib.SMTP) -> dict[str, str]:
        client.ehlo()
        assert client.noop()[0] == client.rset()[0] == 250
        return client.esmtp_features

    assert {"size", "8bitmime", "smtputf8"} <= (await post(ports[1], features)).keys()


async def test_mails_can_be_refused_and_taken_again(ports):
    port, smtp_port = ports
    await told(port, "PUT", "/behaviour/mail", {"status": 451, "body": "come\nback later"})
    assert await post(smtp_port, send) == (451, b"4.0.0 come back later")
    await told(port, "DELETE", "/behaviour/mail")
    assert (await post(smtp_port, send))[0] == 250
    assert await told(port, "GET", "/received/count?name=mail") == {"count": 2, "distinct": 0}


async def test_the_first_mails_fail_and_scripts_hold_for_mail(ports):
    port, smtp_port = ports
    await told(port, "PUT", "/behaviour/mail", {"fail_first": 1, "record": False})
    await told(port, "POST", "/script/mail", [{}, {"status": 554}])
    assert [(await post(smtp_port, send))[0] for _ in range(3)] == [451, 554, 250]
    assert (await told(port, "GET", "/received?name=mail"))["data"] == []


async def test_a_mail_can_wait_for_its_reply(ports):
    port, smtp_port = ports
    await told(port, "PUT", "/behaviour/mail", {"delay": 0.2})
    start = asyncio.get_running_loop().time()
    assert (await post(smtp_port, send))[0] == 250
    assert asyncio.get_running_loop().time() - start >= 0.19


async def test_the_connection_can_end_instead_of_a_reply(ports):
    port, smtp_port = ports
    await told(port, "PUT", "/behaviour/mail", {"close": True})
    with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionResetError)):
        await post(smtp_port, send)
    assert (await told(port, "GET", "/received/count?name=mail"))["count"] == 1


async def test_stopping_ends_mail_connections_that_hang(loop_factory):
    with running(smtp=True, loop_factory=loop_factory) as sink:
        await told(sink.port, "PUT", "/behaviour/mail", {"hang": True})
        reader, writer = await asyncio.open_connection("127.0.0.1", sink.smtp_port)
        for line in (b"EHLO me", b"MAIL FROM:<a@b.example>", b"RCPT TO:<c@d.example>", b"DATA"):
            await reader.readuntil(b"\r\n")
            writer.write(line + b"\r\n")
        await reader.readuntil(b"354")
        writer.write(b"Subject: x\r\n\r\nx\r\n.\r\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readuntil(b"250 2"), 0.1)
    with contextlib.suppress(ConnectionResetError):
        await reader.read()
    writer.close()
