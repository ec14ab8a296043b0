"""Bounces of mails that the real engine sent: return paths, and the mailbox that they come back to."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import structlog

from tests.domain.messaging.test_bounces import arf, dsn
from tests.engine.conftest import Outside, close_world, eventually, open_world
from tests.engine.imapserver import PASSWORD, USER, ImapServer, imap
from tests.engine.mailserver import MailServer, mail_server, make_certificate
from tests.engine.messaging.test_sending import Post
from waypost.domain.values.ids import public
from waypost.engine.messaging import bounce_mailboxes
from waypost.engine.messaging.bounce_mailboxes import BounceMailboxes

ARRIVED = {"imap_host": "127.0.0.1", "imap_user": USER, "imap_password": PASSWORD, "imap_security": "none"}


class Correspondence:
    """A connection with its mail server and its mailbox for bounces."""

    def __init__(self, post: Post, mails: MailServer, mailbox: ImapServer, connection_id: int) -> None:
        self.post, self.mails, self.mailbox, self.connection_id = post, mails, mailbox, connection_id

    async def send(self, to: str = "ada@example.org") -> tuple[int, str]:
        """Send a mail; return its id and its return path."""
        id_ = await self.post.send(to, channel="email", subject="News", text="Hi")
        await self.post.came_to(id_, "sent")
        return id_, self.mails.mails[-1][0]

    def reader(self, pause_s: float = 0.0) -> BounceMailboxes:
        """Return a reader as another process has one."""
        engine = self.post.engine
        return BounceMailboxes(
            engine.database, engine.connections, engine.client, engine.outbound, engine.journal, pause_s
        )

    async def events(self, type_: str) -> list[dict[str, Any]]:
        """Return the data of the events of a type."""
        rows = await self.post.world.ask("events.list", workspace_id=1, before=1 << 62, since=0, n=100)
        return [json.loads(row["data"]) for row in rows if row["type"] == type_]

    async def suppressed(self) -> dict[str, str]:
        """Return the reasons by address."""
        rows = await self.post.world.ask("suppressions.list", workspace_id=1, channel="", address="", n=100)
        return {row["address"]: row["reason"] for row in rows}

    async def quarantined(self) -> list[str]:
        """Return the reasons of quarantined records."""
        rows = await self.post.world.ask("quarantine.list", workspace_id=1, before=1 << 62, n=100)
        return [row["reason"] for row in rows]


@pytest.fixture
async def desk(tmp_path: Path, outside: Outside) -> AsyncIterator[Callable[..., Any]]:
    """Opens a connection; its engine reads no mailbox by itself."""
    world = await open_world(tmp_path)
    for task in world.engine.scheduler._tasks:
        if task.get_name() == "job-mailboxes":
            task.cancel()
    post, servers = Post(world, outside), []

    async def make(mailbox: ImapServer, **config: Any) -> Correspondence:
        mails = MailServer()
        running = mail_server(mails)
        servers.append(running)
        port = urlsplit(await running.__aenter__()).port
        given = ARRIVED | {"port": port, "imap_port": mailbox.port, "return_path": "bounce@example.com"} | config
        return Correspondence(post, mails, mailbox, await post.connect("smtp", config=given))

    yield make
    await close_world(world)
    for running in servers:
        await running.__aexit__(None, None, None)


async def test_each_mail_has_a_return_path_of_its_own_by_which_its_bounce_is_known(desk):
    async with imap(ImapServer()) as mailbox:
        one = await desk(mailbox)
        first, path = await one.send()
        second, other = await one.send("bob@example.org")
        assert path != other
        assert path.startswith("bounce+")
        assert path.endswith("@example.com")
        mailbox.put(dsn("5.1.1", "550 5.1.1 User unknown", to=path, returned="").encode())
        await one.reader().poll()
        failed = await one.post.came_to(first, "failed")
        assert (failed["code"], failed["reason"], failed["provider_code"]) == (2003, "invalid_address", "5.1.1")
        assert (await one.post.look(second))["status"] == "sent"
        assert await one.suppressed() == {"ada@example.org": "bounced"}
        (bounced,) = await one.events("email.bounced")
        assert (bounced["kind"], bounced["message"]["id"]) == ("permanent", public("msg", first))
        assert (bounced["message"]["provider_code"], bounced["message"]["detail"]) == (
            "5.1.1",
            "550 5.1.1 User unknown",
        )
        assert mailbox.mails == {}
        assert mailbox.said("UID EXPUNGE")
        # The same mail again is the same bounce.
        mailbox.put(dsn("5.1.1", "550 5.1.1 User unknown", to=path, returned="").encode())
        await one.reader().poll()
        assert len(await one.events("email.bounced")) == 1


async def test_a_complaint_is_an_event_and_suppresses_the_address(desk):
    async with imap(ImapServer(uidplus=False)) as mailbox:
        one = await desk(mailbox)
        id_, path = await one.send()
        mailbox.put(arf(returned=f"Return-Path: <{path}>\nSubject: News\n").encode())
        await one.reader().poll()
        (complained,) = await one.events("email.complained")
        assert complained["message"]["id"] == public("msg", id_)
        assert await one.suppressed() == {"ada@example.org": "complained"}
        assert (await one.post.look(id_))["status"] == "sent"
        assert mailbox.said("EXPUNGE")


async def test_what_is_not_understood_is_kept_and_changes_nothing(desk):
    async with imap(ImapServer()) as mailbox:
        one = await desk(mailbox)
        id_, _ = await one.send()
        forged = f"bounce+{'a' * 29}@example.com"
        mailbox.put(b"Subject: Hello\n\nI am no bounce.", dsn("5.1.1", to=forged, returned="").encode(), b"\0\xff" * 50)
        await one.reader().poll()
        assert mailbox.mails == {}
        assert len(await eventually(one.quarantined)) == 3
        assert (await one.post.look(id_))["status"] == "sent"
        assert await one.suppressed() == {}


async def test_many_mails_are_read_in_parts(desk):
    async with imap(ImapServer()) as mailbox:
        one = await desk(mailbox)
        _, path = await one.send()
        mailbox.put(*[dsn("4.4.1", f"try {number}", action="delayed", to=path).encode() for number in range(120)])
        await one.reader().poll()
        assert mailbox.mails == {}
        assert [command.split(" ")[1] for command in mailbox.said("FETCH")] == ["1:50", "1:50", "1:20"]


async def test_two_processes_do_not_read_a_mailbox_at_the_same_time(desk):
    async with imap(ImapServer()) as mailbox:
        one = await desk(mailbox)
        await one.send()
        mailbox.put(b"Subject: x\n\ny")
        # Another reader has to wait for the pause of the first one.
        readers = [one.reader(pause_s=60) for _ in range(4)]
        await asyncio.gather(*(reader.poll() for reader in readers))
        await readers[0].poll()
        assert len(mailbox.said("LOGIN")) == 1
        assert mailbox.mails == {}


async def test_mails_that_could_not_be_recorded_stay_in_the_mailbox(desk, monkeypatch):
    async with imap(ImapServer()) as mailbox:
        one = await desk(mailbox)
        _, path = await one.send()
        mailbox.put(dsn("5.1.1", to=path).encode())
        journal = one.post.engine.journal
        journal.close()
        with structlog.testing.capture_logs() as logs:
            await one.reader().poll()
        assert len(mailbox.mails) == 1
        assert not mailbox.said("UID STORE")
        assert [line["action"] for line in logs] == ["mailbox_unreadable"]


@pytest.mark.parametrize(
    ("answers", "announced", "words"),
    [
        ({"LOGIN": "NO [AUTHENTICATIONFAILED] wrong"}, None, "AUTHENTICATIONFAILED"),
        ({"SELECT": "NO no such folder"}, None, "no such folder"),
        ({"FETCH": None}, None, ""),
        ({"UID STORE": "NO read-only"}, None, "read-only"),
        ({}, 2_000_000_000, "announces an answer of 2000000000 bytes"),
    ],
)
async def test_a_mailbox_that_cannot_be_read_is_named_in_the_log_and_read_again_later(desk, answers, announced, words):
    async with imap(ImapServer(answers=answers, announced=announced)) as mailbox:
        one = await desk(mailbox)
        mailbox.put(b"Subject: x\n\ny")
        with structlog.testing.capture_logs() as logs:
            await one.reader().poll()
        (line,) = [line for line in logs if line["action"] == "mailbox_unreadable"]
        assert words in line["error"]
        mailbox.answers, mailbox.announced = {}, None
        await one.reader().poll()
        assert mailbox.mails == {}


async def test_a_mailbox_is_read_over_tls_with_a_certificate_that_is_checked(desk, tmp_path):
    async with imap(ImapServer(), make_certificate(tmp_path)) as mailbox:
        one = await desk(mailbox, imap_security="tls")
        mailbox.put(b"Subject: x\n\ny")
        with structlog.testing.capture_logs() as logs:
            await one.reader().poll()
        assert "certificate" in next(line["error"] for line in logs if line["action"] == "mailbox_unreadable")
        one.post.engine.outbound._authorities = str(tmp_path / "ca.pem")
        await one.reader().poll()
        assert mailbox.mails == {}


async def test_a_forbidden_address_is_not_reached(desk):
    async with imap(ImapServer()) as mailbox:
        one = await desk(mailbox, imap_host="169.254.169.254")
        with structlog.testing.capture_logs() as logs:
            await one.reader().poll()
        assert "address_forbidden" in next(line["error"] for line in logs if line["action"] == "mailbox_unreadable")


async def test_the_process_itself_reads_mailboxes(tmp_path, outside, monkeypatch):
    monkeypatch.setattr(bounce_mailboxes, "LOOK_S", 0.05)
    world = await open_world(tmp_path)
    async with imap(ImapServer()) as mailbox:
        mailbox.put(b"Subject: x\n\ny")
        await Post(world, outside).connect("smtp", config=ARRIVED | {"port": 1, "imap_port": mailbox.port})
        await eventually(lambda: not mailbox.mails)
    await close_world(world)


async def test_a_connection_without_a_return_path_uses_its_bounce_address(desk):
    async with imap(ImapServer()) as mailbox:
        one = await desk(mailbox, return_path="", imap_host="", envelope_from="returns@example.com")
        assert (await one.send())[1] == "returns@example.com"
        await one.reader().poll()
        assert mailbox.heard == []
