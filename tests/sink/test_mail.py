"""The sink's SMTP server, as Python's own SMTP client sees it."""

import asyncio
import contextlib
import http.client
import itertools
import json
import smtplib
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

import pytest
import uvloop
from hypothesis import example, given
from hypothesis import strategies as st

from waypost.sink import mail, smtp_session
from waypost.sink.context import Context
from waypost.sink.mail import LONGEST_LINE, MOST_ERRORS, SmtpServer
from waypost.sink.mail_headers import read_head
from waypost.sink.receivers import Receivers
from waypost.sink.request_log import RequestLog
from waypost.sink.smtp_session import LARGEST_MAIL, MOST_RECIPIENTS
from waypost.sink.thread_runner import running


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
    """Return the reply to the content of a small email."""
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


def recipients(*addresses: str) -> Callable[[smtplib.SMTP], list[bytes]]:
    """Send MAIL and one RCPT for each address; return the replies."""

    def talk(client: smtplib.SMTP) -> list[bytes]:
        client.ehlo()
        client.mail("from@example.com")
        return [b"%d %b" % client.rcpt(address) for address in addresses]

    return talk


async def test_recipients_have_fates_by_their_names(ports):
    replies = await post(
        ports[1],
        recipients(
            "bob@example.com",
            "bounce@example.com",
            "Bounce+17@example.com",
            "blocked@example.com",
            "full@example.com",
            "defer@example.com",
            "fate-malformed@example.com",
            "fate-throttled@example.com",
        ),
    )
    assert [reply[:9] for reply in replies] == [
        b"250 2.1.5",
        b"550 5.1.1",
        b"550 5.1.1",
        b"554 5.7.1",
        b"452 4.2.2",
        b"451 4.3.0",
        b"553 5.1.3",
        b"451 4.7.0",
    ]


async def test_a_greylisted_address_is_taken_the_second_time(ports):
    replies = await post(ports[1], recipients("greylist@a.example", "greylist@b.example", "greylist@a.example"))
    assert [reply[:9] for reply in replies] == [b"451 4.7.1", b"451 4.7.1", b"250 2.1.5"]


async def test_a_mail_goes_to_those_who_are_taken_and_is_listed_as_sent(ports):
    port, smtp_port = ports
    message = EmailMessage()
    message["Subject"], message["Message-ID"] = "for both", "<m-1@waypost.example>"
    message.set_content("hello")
    refused = await post(
        smtp_port, lambda client: client.send_message(message, "a@b.example", ["bounce@x.example", "bob@x.example"])
    )
    assert refused.keys() == {"bounce@x.example"}
    (sent,) = (await told(port, "GET", "/sent?provider=smtp"))["data"]
    assert (sent["address"], sent["mid"], sent["body"]) == ("bob@x.example", "m-1@waypost.example", "for both")


async def test_a_run_sets_fates_for_mail(ports):
    port, smtp_port = ports
    await told(port, "PUT", "/fate/smtp", {"refuse_rate": 1})
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        await post(smtp_port, lambda client: client.sendmail("a@b.example", ["c@d.example"], b"x\r\n"))
    await told(port, "PUT", "/fate/smtp", {"error_rate": 1})
    assert (await post(smtp_port, send))[0] == 451
    assert (await told(port, "GET", "/sent/count?provider=smtp"))["messages"] == 0
    await told(port, "PUT", "/fate/smtp", {"lost_answer_rate": 1})
    with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionResetError)):
        await post(smtp_port, send)
    assert (await told(port, "GET", "/sent/count?provider=smtp"))["messages"] == 1


async def test_one_recipient_can_cost_the_whole_mail_its_reply(ports):
    def talk(client: smtplib.SMTP) -> Any:
        return client.sendmail("a@b.example", ["c@d.example", "fate-lost-answer@d.example"], b"x\r\n")

    with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionResetError)):
        await post(ports[1], talk)
    assert (await told(ports[0], "GET", "/sent/count?provider=smtp"))["messages"] == 2
    with pytest.raises(smtplib.SMTPDataError):
        await post(ports[1], lambda client: client.sendmail("a@b.example", ["fate-error@d.example"], b"x\r\n"))
    assert (await told(ports[0], "GET", "/sent/count?provider=smtp"))["messages"] == 2


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_any_credentials_but_one_are_right(ports, mechanism):
    def talk(client: smtplib.SMTP) -> list[int]:
        client.ehlo()
        replies = []
        for password, at_once in (("right", True), ("right", False), ("wrong", False)):
            client.user, client.password = "ann", password
            authenticate = client.auth_plain if mechanism == "PLAIN" else client.auth_login
            try:
                replies.append(client.auth(mechanism, authenticate, initial_response_ok=at_once)[0])
            except smtplib.SMTPAuthenticationError as error:
                replies.append(error.smtp_code)
        return replies

    assert await post(ports[1], talk) == [235, 235, 535]


async def test_an_address_that_is_not_ascii_needs_smtputf8(ports):
    def talk(client: smtplib.SMTP) -> list[int]:
        client.ehlo()
        client.command_encoding = "utf-8"
        return [
            client.docmd("MAIL", "FROM:<ünsal@example.com>")[0],
            client.docmd("MAIL", "FROM:<ünsal@example.com> SMTPUTF8 BODY=8BITMIME")[0],
            client.docmd("RCPT", "TO:<bjørn@example.com>")[0],
        ]

    assert await post(ports[1], talk) == [553, 250, 250]


async def test_what_makes_no_sense_is_refused_with_the_right_code(ports):
    def talk(client: smtplib.SMTP) -> list[int]:
        lines = [
            ("MAIL FROM:<a@b.example>", 503),
            ("EHLO me", 250),
            ("RCPT TO:<a@b.example>", 503),
            ("DATA", 503),
            ("MAIL", 501),
            ("MAIL FROM:<a@b.example", 501),
            (f"MAIL FROM:<a@b.example> SIZE={LARGEST_MAIL + 1}", 552),
            ("MAIL FROM:<a@b.example> SIZE=x", 501),
            ("MAIL FROM:<a@b.example> COLOUR=green", 555),
            ("mail from: <>", 250),
            ("MAIL FROM:<a@b.example>", 503),
            ("RCPT TO:<>", 501),
            ("RCPT TO:<a@b.example> NOTIFY=NEVER", 555),
            ("DATA", 503),
            ("rcpt to:a@b.example", 250),
            ('RCPT TO:<"odd > one"@b.example>', 250),
            ("RSET", 250),
            ("DATA", 503),
            ("VRFY bob", 252),
            ("HELP", 214),
            ("STARTTLS", 500),
            ("AUTH", 504),
            ("AUTH PLAIN !", 501),
            ("HELO me", 250),
        ]
        assert [client.docmd(line)[0] for line, _ in lines] == [code for _, code in lines]
        return [client.docmd("QUIT")[0]]

    assert await post(ports[1], talk) == [221]


async def conversation(smtp_port: int, sent: bytes) -> list[bytes]:
    """Return all replies to this input, after which the server must close the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", smtp_port)
    writer.write(sent)
    with contextlib.suppress(ConnectionError):
        await writer.drain()
    replies = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return replies.splitlines()


START = b"EHLO me\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n"


async def test_commands_can_come_all_at_once(ports):
    mail_sent = START.removeprefix(b"EHLO me\r\n") + b"Subject: s\r\n\r\n..x\r\n.\r\n"
    replies = await conversation(ports[1], b"EHLO me\r\n" + mail_sent * 3 + b"QUIT\r\n")
    assert [reply[:3] for reply in replies[-13:]] == [b"250", b"250", b"354", b"250"] * 3 + [b"221"]
    assert [one["body"] for one in (await told(ports[0], "GET", "/received?name=mail"))["data"]] == [
        "Subject: s\r\n\r\n.x\r\n"
    ] * 3


async def test_limits_hold(ports):
    replies = await conversation(ports[1], b"x" * (LONGEST_LINE + 1))
    assert [reply[:3] for reply in replies] == [b"220", b"500", b"221"]
    replies = await conversation(ports[1], b"nonsense\r\n" * (MOST_ERRORS + 1))
    assert replies[-1].startswith(b"421")
    many = b"EHLO me\r\nMAIL FROM:<>\r\n" + b"RCPT TO:<a@b.example>\r\n" * (MOST_RECIPIENTS + 1) + b"QUIT\r\n"
    assert [reply[:9] for reply in await conversation(ports[1], many)][-2:] == [b"250 2.1.5", b"221 2.0.0"]


async def test_a_mail_that_is_too_large_is_refused_and_the_next_one_taken(ports):
    large = b"x" * 1023 + b"\n"
    sent = START + large * (LARGEST_MAIL // 1024 + 1) + b"\r\n.\r\n"
    sent += START.removeprefix(b"EHLO me\r\n") + b".\r\nQUIT\r\n"
    replies = await conversation(ports[1], sent)
    assert [reply[:3] for reply in replies[-6:]] == [b"552", b"250", b"250", b"354", b"250", b"221"]
    assert (await told(ports[0], "GET", "/received/count?name=mail"))["count"] == 1


async def test_commands_wait_for_a_reply_that_is_late(ports):
    await told(ports[0], "PUT", "/behaviour/mail", {"delay": 0.05})
    rest = START.removeprefix(b"EHLO me\r\n") + b"late\r\n.\r\n"
    replies = await conversation(ports[1], b"EHLO me\r\n" + rest * 2 + b"NOOP\r\n" * 20_000 + b"QUIT\r\n")
    assert len(replies) == 1 + 8 + 8 + 20_000 + 1
    assert replies[-1].startswith(b"221")


class Told(asyncio.Transport):
    """A transport that stores what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.closed = True


def replies_to(pieces: list[bytes]) -> tuple[bytes, bool, list[bytes]]:
    """Return the replies to a stream in these pieces, whether the connection ends, and the stored emails."""
    received = RequestLog()
    connection = SmtpServer(Receivers(received), Context(received)).connect()
    transport = Told()
    connection.connection_made(transport)
    for piece in pieces:
        connection.data_received(piece)
    return transport.written, transport.closed, [record.body for record in received.page("mail", 100, 0)[0]]


LINES = st.lists(
    st.sampled_from(
        [
            b"EHLO me",
            b"MAIL FROM:<a@b.example>",
            b"RCPT TO:<c@d.example>",
            b"RCPT TO:<bounce@d.example>",
            b"DATA",
            b"RSET",
            b"AUTH LOGIN",
            b"Subject: x",
            b"",
            b".",
            b"..",
            b".x",
            b"QUIT",
        ]
    ),
    max_size=30,
)


@given(LINES, st.lists(st.integers(0, 400), max_size=20))
def test_how_a_stream_is_cut_changes_nothing(lines, cuts):
    stream = START + b"\r\n".join(lines)
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    pieces = [stream[start:end] for start, end in itertools.pairwise(places)]
    assert replies_to(pieces) == replies_to([stream]) == replies_to([stream[at : at + 1] for at in range(len(stream))])


@given(st.lists(st.text("ab .\t", max_size=4), max_size=8))
def test_what_smtplib_quotes_is_kept_as_it_was(lines):
    content = "".join(f"{line}\r\n" for line in lines).encode()
    quoted = smtplib._quote_periods(content)  # type: ignore[attr-defined]
    assert replies_to([START, quoted + b".\r\n"])[2] == [content]


@given(st.binary(max_size=200))
@example(b"\n:")
def test_no_head_breaks_the_reading(content):
    head, subject, message_id = read_head(content)
    assert len(head.split(b"\n")) % 2 == 0 or head == b""
    assert isinstance(subject, str)
    assert isinstance(message_id, str)


def test_headers_are_unfolded_and_decoded():
    head, subject, message_id = read_head(
        b"From: a\r\nSubject: =?utf-8?q?Gr=C3=BC?=\r\n =?utf-8?b?w59l?=  x\r\nMESSAGE-ID:\r\n <1@x>\r\n"
        b"X: =?nope?q?a?=\r\n\r\nSubject: no"
    )
    assert (subject, message_id) == ("Grüße x", "1@x")
    assert head.decode().split("\n")[-2:] == ["X", "=?nope?q?a?="]


def test_every_mailbox_is_refused_in_its_own_words():
    assert {word for word in mail.MAILBOXES.values()} <= smtp_session.REFUSALS.keys()
    assert all(reply.endswith(b"\r\n") for reply in smtp_session.REFUSALS.values())
