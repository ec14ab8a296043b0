"""The pool of SMTP sessions against mail servers that behave and that misbehave."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.engine.conftest import LOOPBACK, eventually, listening
from tests.engine.mailserver import (
    CLOSE,
    CLOSE_AFTER,
    HANG,
    HANG_AFTER,
    MailServer,
    mail_server,
    make_certificate,
)
from waypost.domain.values.egress_guard import parse_networks
from waypost.engine.net import smtp_pool
from waypost.engine.net.outbound import Outbound
from waypost.engine.net.request import Envelope, Request, Response
from waypost.errors import Unavailable

MAIL = b"Subject: hello\r\n\r\n.one\r\n..two\r\n.\r\nlast"
STEPWISE = ("SIZE 1000",)


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    """A client that may reach IPv4 loopback."""
    client = Outbound(parse_networks(LOOPBACK))
    yield client
    await client.stop()


def mail(
    url: str,
    *recipients: str,
    body: bytes = MAIL,
    timeout_ms: int = 5000,
    tls: str = "none",
    sender: str = "shop@example.com",
    user: tuple[str, str] = ("", ""),
    sessions: int = 0,
) -> Request:
    """Return a request for a mail to these recipients."""
    envelope = Envelope(sender, recipients or ("ann@example.org",), *user, tls)
    return Request(url, body, [], timeout_ms, envelope=envelope, sessions=sessions)


async def send(outbound: Outbound, request: Request) -> Response:
    """Return the response to a request."""
    response, _ = await asyncio.wait_for(outbound.fetch(request), 20)
    return response


def word(response: Response) -> str:
    """Return the code of an error."""
    return (response.error or "").partition(":")[0]


@pytest.mark.parametrize("offers", [("PIPELINING", "SIZE 1000"), STEPWISE, ()], ids=["pipelining", "stepwise", "bare"])
async def test_a_mail_arrives_as_it_is(outbound, offers):
    server = MailServer(offers=offers)
    async with mail_server(server) as url:
        response = await send(outbound, mail(url, "ann@example.org", "bob@example.org"))
    assert (response.status, response.error, response.stage, response.sent) == (250, None, "message", True)
    assert response.body == b"2.0.0 queued as 1"
    assert server.mails == [("shop@example.com", ["ann@example.org", "bob@example.org"], MAIL + b"\r\n")]
    assert ("SIZE=" in server.heard[1]) == bool(offers)


async def test_a_conversation_is_used_again(outbound):
    server = MailServer()
    async with mail_server(server) as url:
        for number in range(20):
            assert (await send(outbound, mail(url, f"{number}@example.org"))).status == 250
        assert server.connections == 1
        answers = await asyncio.gather(*(send(outbound, mail(url, f"p{number}@example.org")) for number in range(50)))
        assert [answer.status for answer in answers] == [250] * 50
        assert server.connections <= 50
        before = server.connections
        await asyncio.gather(*(send(outbound, mail(url)) for _ in range(50)))
        assert server.connections == before
    assert len(server.mails) == 120
    assert not [text for text in server.heard if text.startswith(("RSET", "QUIT"))]


async def test_conversations_are_not_shared_between_accounts(outbound):
    server = MailServer(offers=("AUTH PLAIN",), user=("u", "p"))
    async with mail_server(server) as url:
        for user in (("u", "p"), ("u", "p"), ("u", "x"), ("v", "p"), ("", ""), ("u", "p")):
            response = await send(outbound, mail(url, user=user))
            assert response.status == (250 if user in (("u", "p"), ("", "")) else 535)
    assert server.connections == 4


REFUSALS = [
    ("GREETING", "554 5.7.1 go away", "connect", False),
    ("EHLO", "502 5.5.1 what", "hello", False),
    ("MAIL", "550 5.7.1 not you", "sender", True),
    ("MAIL", "451 4.3.0 later", "sender", True),
    ("RCPT", "550 5.1.1 who", "recipient", True),
    ("RCPT", "452 4.2.2 full", "recipient", True),
    ("DATA", "451 4.3.0 not now", "data", True),
    ("MESSAGE", "554 5.6.0 ugly", "message", True),
    ("MESSAGE", "451 4.7.1 slowly", "message", True),
]


@pytest.mark.parametrize("offers", [("PIPELINING",), STEPWISE], ids=["pipelining", "stepwise"])
@pytest.mark.parametrize(("verb", "reply", "stage", "kept"), REFUSALS)
async def test_a_refusal_tells_its_stage_and_ends_nothing_else(outbound, offers, verb, reply, stage, kept):
    server = MailServer(offers=offers, replies={verb: [reply]})
    async with mail_server(server) as url:
        response = await send(outbound, mail(url))
        assert (response.status, response.error, response.stage) == (int(reply[:3]), None, stage)
        assert response.body.decode() == reply[4:]
        assert response.sent == (stage == "message")
        assert server.mails == []
        # The next mail is accepted, in most cases in the same session.
        assert (await send(outbound, mail(url, "bob@example.org"))).status == 250
        assert server.connections == (1 if kept and not (verb == "DATA" and offers == ("x",)) else 2)
    assert server.mails == [("shop@example.com", ["bob@example.org"], MAIL + b"\r\n")]


async def test_one_refused_recipient_stops_the_mail_for_all(outbound):
    server = MailServer(refused={"bob@example.org": "550 5.1.1 who"})
    async with mail_server(server) as url:
        response = await send(outbound, mail(url, "ann@example.org", "bob@example.org", "cid@example.org"))
        assert (response.status, response.stage, response.sent) == (550, "recipient", False)
        assert (await send(outbound, mail(url, "dan@example.org"))).status == 250
    assert [recipients for _, recipients, _ in server.mails] == [["dan@example.org"]]
    assert "RSET" in server.heard


async def test_a_server_that_wants_the_mail_without_a_recipient_gets_none(outbound):
    server = MailServer(replies={"RCPT": ["550 5.1.1 who"], "DATA": ["354 go on"]})
    async with mail_server(server) as url:
        response = await send(outbound, mail(url))
        assert (response.status, response.stage, response.sent) == (550, "recipient", False)
        assert (await send(outbound, mail(url, "bob@example.org"))).status == 250
    assert [recipients for _, recipients, _ in server.mails] == [["bob@example.org"]]
    assert server.connections == 2


@pytest.mark.parametrize("offers", [("PIPELINING",), STEPWISE], ids=["pipelining", "stepwise"])
@pytest.mark.parametrize("step", [HANG, CLOSE])
@pytest.mark.parametrize(
    ("verb", "stage"),
    [("GREETING", "connect"), ("EHLO", "hello"), ("MAIL", "sender"), ("RCPT", "recipient"), ("DATA", "data")],
)
async def test_before_the_mail_itself_nothing_was_sent(outbound, offers, step, verb, stage):
    server = MailServer(offers=offers, replies={verb: [step]})
    async with mail_server(server) as url:
        response = await send(outbound, mail(url, timeout_ms=200 if step == HANG else 5000))
    assert (response.status, response.sent) == (None, False)
    assert word(response) == ("timeout" if step == HANG else "connection_lost")
    # The replies to MAIL, RCPT and DATA, which are sent together, are read together.
    assert response.stage == stage or (offers == ("PIPELINING",) and response.stage in ("sender", "recipient"))
    assert server.mails == []


@pytest.mark.parametrize(("step", "error"), [(HANG_AFTER, "timeout"), (CLOSE_AFTER, "connection_lost")])
@pytest.mark.parametrize("used", [False, True])
async def test_after_the_end_of_the_mail_nobody_knows(outbound, step, error, used):
    server = MailServer()
    async with mail_server(server) as url:
        if used:
            await send(outbound, mail(url))
        server.replies["MESSAGE"] = [step]
        response = await send(outbound, mail(url, "bob@example.org", timeout_ms=300))
    assert (response.status, word(response), response.sent, response.stage) == (None, error, True, "message")
    # The server sent the reply once and does not send it again.
    assert len([text for text in server.heard if text == "RCPT TO:<bob@example.org>"]) == 1


@pytest.mark.parametrize("goodbye", ["421 4.7.0 enough", ""])
async def test_a_server_that_gives_up_a_conversation_costs_nothing(outbound, goodbye):
    server = MailServer(close_after=3, goodbye=goodbye)
    async with mail_server(server) as url:
        for number in range(20):
            response = await send(outbound, mail(url, f"{number}@example.org"))
            assert (response.status, response.error) == (250, None)
    assert [recipients for _, recipients, _ in server.mails] == [[f"{number}@example.org"] for number in range(20)]


async def test_a_server_that_leaves_while_nobody_speaks_costs_nothing(outbound):
    server = MailServer()
    async with mail_server(server) as url:
        for number in range(10):
            assert (await send(outbound, mail(url))).status == 250
            for writer in list(server.open):
                if number % 2:
                    writer.write(b"421 4.4.2 idle for too long\r\n")
                writer.close()
            if number % 3:
                await eventually(lambda: not server.open)
    assert len(server.mails) == 10


async def test_what_is_no_mail_server(outbound):
    async def serve(reader, writer):
        writer.write(b"HTTP/1.1 400 Bad\r\n\r\n")
        await reader.read()

    async def endless(reader, writer):
        while True:
            writer.write(b"220-" + b"x" * 1000 + b"\r\n")
            await writer.drain()

    for behaviour in (serve, endless):
        async with listening(behaviour) as port:
            response = await send(outbound, mail(f"smtp://127.0.0.1:{port}"))
        assert (response.status, word(response), response.sent) == (None, "not_smtp", False)


async def test_nobody_there(outbound):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        refused = await send(outbound, mail(f"smtp://127.0.0.1:{taken.getsockname()[1]}"))
    assert (word(refused), refused.sent, refused.stage) == ("connect", False, "connect")
    unknown = await send(outbound, mail("smtp://nobody.invalid:25", timeout_ms=10_000))
    assert (word(unknown), unknown.sent) == ("dns", False)
    for url in ("smtp://", "http://127.0.0.1:25", "smtp://127.0.0.1:x", "smtp://127.0.0.1:0"):
        response = await send(outbound, mail(url))
        assert (word(response) in ("not_sent", "connect"), response.sent) == (True, False), response.error


async def test_addresses_are_checked_as_for_everything_else():
    server = MailServer()
    guarded = Outbound(())
    try:
        async with mail_server(server) as url:
            for host in ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "10.0.0.1"):
                response = await send(guarded, mail(url.replace("127.0.0.1", host)))
                assert (word(response), response.sent) == ("address_forbidden", False), response.error
    finally:
        await guarded.stop()
    assert server.connections == 0


@pytest.mark.parametrize("address", ["a@b>\r\nRCPT TO:<c@d", "a b@c", "a>@c", "<a@c", "a@c\0", "a@c\n"])
async def test_no_address_ends_its_command(outbound, address):
    server = MailServer()
    async with mail_server(server) as url:
        for request in (mail(url, address), mail(url, sender=address)):
            response = await send(outbound, request)
            assert (word(response), response.sent) == ("not_sent", False)
        assert (await send(outbound, mail(url, sender=""))).status == 250
    assert [text for text in server.heard if text.startswith("MAIL")] == [f"MAIL FROM:<> SIZE={len(MAIL)}"]


async def test_addresses_beyond_ascii(outbound):
    server = MailServer()
    async with mail_server(server) as url:
        assert (await send(outbound, mail(url, "jörg@example.org"))).status == 250
        assert server.mails[0][1] == ["jörg@example.org"]
        assert "SMTPUTF8" in server.heard[1]
    plain = MailServer(offers=("PIPELINING",))
    async with mail_server(plain) as url:
        response = await send(outbound, mail(url, "jörg@example.org"))
        assert (word(response), response.sent, response.stage) == ("no_utf8", False, "sender")
        assert (await send(outbound, mail(url))).status == 250
        assert plain.connections == 1


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a TLS context whose certificate clients trust from now on."""
    context = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return context


@pytest.mark.parametrize("tls", ["opportunistic", "required", "at once"])
@pytest.mark.parametrize("mechanism", ["AUTH PLAIN LOGIN", "AUTH LOGIN", "AUTH=LOGIN"])
async def test_tls_and_login(trusted, tls, mechanism):
    user = ("ünser", "pässword")
    server = MailServer(offers=("PIPELINING", "STARTTLS", mechanism), tls=trusted, at_once=tls == "at once", user=user)
    client = Outbound(parse_networks(LOOPBACK))
    try:
        async with mail_server(server) as url:
            wanted = "required" if tls == "at once" else tls
            for number in range(3):
                response = await send(client, mail(url, f"{number}@example.org", tls=wanted, user=user))
                assert (response.status, response.error) == (250, None)
            wrong = await send(client, mail(url, tls=wanted, user=("ünser", "wrong")))
            assert (wrong.status, wrong.stage, wrong.sent) == (535, "login", False)
    finally:
        await client.stop()
    assert server.connections == 2
    assert len(server.mails) == 3
    assert server.heard.count("STARTTLS") == (0 if tls == "at once" else 2)


async def test_a_certificate_that_nobody_vouches_for(tmp_path):
    server = MailServer(offers=("STARTTLS", "AUTH PLAIN"), tls=make_certificate(tmp_path), user=("u", "p"))
    client = Outbound(parse_networks(LOOPBACK))
    try:
        async with mail_server(server) as url:
            refused = await send(client, mail(url, tls="required"))
            assert (word(refused), refused.sent, refused.stage) == ("tls", False, "tls")
            # A server without a valid certificate gets no password.
            refused = await send(client, mail(url, tls="opportunistic", user=("u", "p")))
            assert (word(refused), refused.sent) == ("tls", False)
            assert (await send(client, mail(url, tls="opportunistic"))).status == 250
            assert not [text for text in server.heard if text.startswith("AUTH")]
        server.at_once = True
        async with mail_server(server) as url:
            refused = await send(client, mail(url))
            assert (word(refused), refused.sent) == ("tls", False)
    finally:
        await client.stop()


async def test_where_tls_is_missing(outbound):
    server = MailServer(offers=("AUTH PLAIN",), user=("u", "p"))
    async with mail_server(server) as url:
        for tls, user in (("required", ("", "")), ("opportunistic", ("u", "p"))):
            response = await send(outbound, mail(url, tls=tls, user=user))
            assert (word(response), response.sent, response.stage) == ("tls_missing", False, "tls")
        assert (await send(outbound, mail(url, tls="opportunistic"))).status == 250
        assert (await send(outbound, mail(url, tls="none", user=("u", "p")))).status == 250
    bare = MailServer(offers=("AUTH CRAM-MD5",))
    async with mail_server(bare) as url:
        response = await send(outbound, mail(url, user=("u", "p")))
        assert (word(response), response.sent, response.stage) == ("login_missing", False, "login")


async def test_words_put_before_tls_are_not_believed(trusted):
    async def serve(reader, writer):
        writer.write(b"220 hi\r\n")
        await reader.readline()
        writer.write(b"250-x\r\n250 STARTTLS\r\n")
        await reader.readline()
        writer.write(b"220 go\r\n250 smuggled\r\n")
        await reader.read()

    client = Outbound(parse_networks(LOOPBACK))
    try:
        async with listening(serve) as port:
            response = await send(client, mail(f"smtp://127.0.0.1:{port}", tls="required"))
    finally:
        await client.stop()
    assert (word(response), response.sent) == ("not_smtp", False)


async def test_a_handshake_that_hangs(outbound):
    async def serve(reader, writer):
        writer.write(b"220 hi\r\n")
        await reader.readline()
        writer.write(b"250-x\r\n250 STARTTLS\r\n")
        await reader.readline()
        writer.write(b"220 go\r\n")
        await reader.read()

    async with listening(serve) as port:
        for url in (f"smtp://127.0.0.1:{port}", f"smtps://127.0.0.1:{port}"):
            response = await send(outbound, mail(url, tls="required", timeout_ms=1000))
            assert (word(response) in ("timeout", "tls"), response.sent, response.stage) == (True, False, "tls")


async def test_mails_go_through_the_proxy_too():
    server = MailServer()
    asked: list[bytes] = []

    async def serve(reader, writer):
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        if b"refused.invalid" in asked[-1]:
            writer.write(b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n")
            await writer.drain()
            return
        there, back = await asyncio.open_connection("127.0.0.1", port_of(url))
        # The greeting arrives in one piece with the proxy's own response.
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + await there.readline())

        async def pump(source, target):
            while data := await source.read(65_536):
                target.write(data)
            target.close()

        await asyncio.gather(pump(reader, back), pump(there, writer))

    async with mail_server(server) as url, listening(serve) as port:
        client = Outbound((), f"http://user:secret@127.0.0.1:{port}")
        try:
            for _ in range(3):
                assert (await send(client, mail("smtp://mail.invalid:2525"))).status == 250
            refused = await send(client, mail("smtp://refused.invalid:25"))
            assert (word(refused), refused.sent) == ("proxy", False)
        finally:
            await client.stop()
    assert len(asked) == 2
    assert asked[0].startswith(b"CONNECT mail.invalid:2525 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=" in asked[0]
    assert len(server.mails) == 3


def port_of(url: str) -> int:
    """Return the port at the end of a URL."""
    return int(url.rpartition(":")[2])


async def test_conversations_end(outbound, monkeypatch):
    monkeypatch.setattr(smtp_pool, "IDLE_S", 0.1)
    monkeypatch.setattr(smtp_pool, "MAILS_EACH", 4)
    server = MailServer()
    async with mail_server(server) as url:
        for _ in range(6):
            await send(outbound, mail(url))
        assert server.connections == 2
        await eventually(lambda: not server.open)
    assert server.heard.count("QUIT") == 2
    await eventually(lambda: outbound._smtp_pool.sessions == 0)


async def test_whoever_gives_up_leaves_nothing_behind(outbound):
    server = MailServer(replies={"MESSAGE": [HANG_AFTER]})
    async with mail_server(server) as url:
        task = asyncio.create_task(outbound.fetch(mail(url)))
        await eventually(lambda: "DATA" in server.heard)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await eventually(lambda: not server.open)
        assert (await send(outbound, mail(url))).status == 250
    assert outbound._smtp_pool.sessions == 1


async def test_stopping_tells_how_far_it_came():
    server = MailServer(replies={"MESSAGE": [HANG_AFTER]})
    client = Outbound(parse_networks(LOOPBACK))
    async with mail_server(server) as url:
        tasks = [asyncio.create_task(client.fetch(mail(url)))]
        await eventually(lambda: not server.replies["MESSAGE"])
        server.replies["RCPT"] = [HANG]
        tasks.append(asyncio.create_task(client.fetch(mail(url))))
        await eventually(lambda: not server.replies["RCPT"])
        await client.stop()
        (first, _), (second, _) = await asyncio.gather(*tasks)
        assert (first.status, first.sent, second.status, second.sent) == (None, True, None, False)
        with pytest.raises(Unavailable):
            await client.fetch(mail(url))


async def test_many_mails_at_once_each_arrive_once(outbound):
    server = MailServer(close_after=17)
    async with mail_server(server) as url:
        gate = asyncio.Semaphore(20)

        async def one(number: int) -> int | None:
            async with gate:
                return (await send(outbound, mail(url, f"{number}@example.org"))).status

        assert await asyncio.gather(*(one(number) for number in range(1000))) == [250] * 1000
    assert sorted(recipients[0] for _, recipients, _ in server.mails) == sorted(f"{n}@example.org" for n in range(1000))


class Overlapping:
    """A server with PIPELINING that stores what each read returned, and handles overlapping mails as a test sets."""

    def __init__(self, habit: str = "good") -> None:
        self.habit = habit
        self.reads: list[bytes] = []
        self.mails: list[str] = []
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.write(b"220 hi\r\n")
        buffer, in_data, recipient = b"", False, ""
        while data := await reader.read(65_536):
            self.reads.append(data)
            buffer += data
            while (end := buffer.find(b"\r\n.\r\n" if in_data else b"\r\n")) >= 0:
                line, buffer = buffer[:end], buffer[end + (5 if in_data else 2) :]
                if in_data:
                    in_data = False
                    self.mails.append(recipient)
                    writer.write(b"250 2.0.0 taken\r\n")
                    if buffer and self.habit != "good":
                        buffer = self.spoil(buffer, writer)
                elif line.startswith(b"EHLO"):
                    writer.write(b"250-hi\r\n250 PIPELINING\r\n")
                elif line.startswith(b"RCPT"):
                    recipient = line.partition(b"<")[2].rstrip(b">").decode()
                    writer.write(b"250 ok\r\n" if recipient[0] != "x" else b"550 5.1.1 who\r\n")
                elif line == b"DATA":
                    in_data = recipient[0] != "x"
                    writer.write(b"354 go on\r\n" if in_data else b"503 5.5.1 no\r\n")
                else:
                    writer.write(b"250 ok\r\n")

    def spoil(self, buffer: bytes, writer: asyncio.StreamWriter) -> bytes:
        """Handle commands that arrive too early as broken servers do."""
        if self.habit == "refuses":
            writer.write(b"503 5.5.0 pipelining\r\n" * buffer.count(b"\r\n"))
        elif self.habit == "closes":
            writer.close()
        # Otherwise the server drops them.
        return b""

    @property
    def overlapping(self) -> int:
        """Return how many mails were followed by commands in the same read."""
        return sum(b"\r\n.\r\nMAIL FROM" in data for data in self.reads)


async def send_at_once(outbound: Outbound, url: str, recipients: list[str], **options) -> list[Response]:
    """Return the responses to mails that are sent at the same time."""
    return await asyncio.gather(*(send(outbound, mail(url, one, **options)) for one in recipients))


async def test_commands_follow_the_data_of_the_mail_before(outbound):
    server = Overlapping()
    people = [f"{number}@example.org" for number in range(20)]
    async with listening(server.serve) as port:
        responses = await send_at_once(outbound, f"smtp://127.0.0.1:{port}", people, sessions=1)
    assert [(one.status, one.stage, one.sent) for one in responses] == [(250, "message", True)] * 20
    assert server.mails == people
    assert server.connections == 1
    # All but the first overlap another one, so each takes one round trip.
    assert server.overlapping == 19


async def test_a_refused_recipient_between_others_is_refused_alone(outbound):
    server = Overlapping()
    people = [f"{'x' if number % 3 == 1 else 'a'}{number}@example.org" for number in range(12)]
    async with listening(server.serve) as port:
        responses = await send_at_once(outbound, f"smtp://127.0.0.1:{port}", people, sessions=1)
    assert [one.status for one in responses] == [550 if one[0] == "x" else 250 for one in people]
    assert {one.stage for one in responses if one.status == 550} == {"recipient"}
    assert server.mails == [one for one in people if one[0] != "x"]
    assert server.connections == 1


@pytest.mark.parametrize("habit", ["refuses", "closes", "forgets"])
async def test_a_server_that_cannot_overlap_gets_each_mail_once_all_the_same(outbound, habit):
    server = Overlapping(habit)
    people = [f"{number}@example.org" for number in range(6)]
    async with listening(server.serve) as port:
        url = f"smtp://127.0.0.1:{port}"
        responses = await send_at_once(outbound, url, people, sessions=1, timeout_ms=400)
        assert [(one.status, one.error) for one in responses] == [(250, None)] * 6
        assert sorted(server.mails) == people
        if habit != "closes":
            # Once the server is known not to support it, it is not used again.
            assert server.overlapping == 1


@pytest.mark.parametrize("goodbye", ["421 4.7.0 enough", ""])
async def test_a_server_of_one_mail_a_session_gets_each_once(outbound, goodbye):
    server = MailServer(close_after=1, goodbye=goodbye)
    people = [f"{number}@example.org" for number in range(8)]
    async with mail_server(server) as url:
        responses = await send_at_once(outbound, url, people, sessions=2)
    assert [one.status for one in responses] == [250] * 8
    assert sorted(to for _, (to,), _ in server.mails) == people


async def test_there_are_never_more_sessions_than_allowed(outbound):
    most = 0

    class Counting(MailServer):
        async def serve(self, reader, writer):
            nonlocal most
            most = max(most, len(self.open) + 1)
            await super().serve(reader, writer)

    server = Counting(close_after=7)
    people = [f"{number}@example.org" for number in range(100)]
    async with mail_server(server) as url:
        responses = await send_at_once(outbound, url, people, sessions=3)
    assert [one.status for one in responses] == [250] * 100
    assert sorted(to for _, (to,), _ in server.mails) == sorted(people)
    assert most == 3


async def test_when_the_end_of_a_mail_is_lost_only_the_next_one_is_sent_again(outbound):
    server = MailServer(replies={"MESSAGE": [CLOSE_AFTER]})
    async with mail_server(server) as url:
        first, second = await send_at_once(outbound, url, ["ann@example.org", "bob@example.org"], sessions=1)
    assert (first.status, word(first), first.sent, first.stage) == (None, "connection_lost", True, "message")
    assert (second.status, second.sent) == (250, True)
    assert [to for _, (to,), _ in server.mails] == ["bob@example.org"]
    assert server.heard.count("RCPT TO:<ann@example.org>") == 1


async def test_mails_that_wait_for_a_session_open_their_own_when_none_can_be_opened(outbound):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"smtp://127.0.0.1:{taken.getsockname()[1]}"
        responses = await send_at_once(outbound, url, ["a@b.example", "c@d.example", "e@f.example"], sessions=1)
    assert [(word(one), one.sent) for one in responses] == [("connect", False)] * 3
