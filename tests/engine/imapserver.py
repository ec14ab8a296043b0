"""An IMAP server for tests: one mailbox, and as much of the protocol as a reader of bounces needs."""

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

USER, PASSWORD = "bounces", "made up"


@dataclass
class ImapServer:
    """The mails of a mailbox by UID, and what was asked."""

    mails: dict[int, bytes] = field(default_factory=dict)
    uidplus: bool = True
    port: int = 0
    #: Commands, without their tags.
    heard: list[str] = field(default_factory=list)
    #: Answers by verb that are sent instead, such as `NO [UNAVAILABLE] later`; None closes the connection.
    answers: dict[str, str | None] = field(default_factory=dict)
    #: The size that is announced for a mail, instead of its own.
    announced: int | None = None
    deleted: set[int] = field(default_factory=set)

    def put(self, *mails: bytes) -> None:
        """Add mails."""
        for mail in mails:
            self.mails[max(self.mails, default=0) + 1] = mail

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            writer.write(b"* OK ready\r\n")
            while line := (await reader.readline()).decode().strip():
                tag, _, command = line.partition(" ")
                self.heard.append(command)
                verb = command.split(" ")[0].upper()
                if verb == "UID":
                    verb = f"UID {command.split(' ')[1].upper()}"
                if verb in self.answers:
                    answer = self.answers[verb]
                    if answer is None:
                        break
                    writer.write(f"{tag} {answer}\r\n".encode())
                else:
                    writer.write(self._answer(verb, command))
                    done = "OK" if self._allows(verb, command) else "NO wrong password"
                    writer.write(f"{tag} {done} done\r\n".encode())
                await writer.drain()
                if verb == "LOGOUT":
                    break
        writer.close()

    def _allows(self, verb: str, command: str) -> bool:
        return verb != "LOGIN" or command.split(" ", 1)[1].replace('"', "") == f"{USER} {PASSWORD}"

    def _answer(self, verb: str, command: str) -> bytes:
        if verb == "CAPABILITY":
            return b"* CAPABILITY IMAP4rev1" + b" UIDPLUS" * self.uidplus + b"\r\n"
        if verb == "SELECT":
            return b"* %d EXISTS\r\n" % len(self.mails)
        if verb == "FETCH":
            return b"".join(self._fetch(number, uid) for number, uid in self._range(command))
        if verb == "UID STORE":
            self.deleted |= {int(uid) for uid in command.split(" ")[2].split(",")}
        if verb in ("EXPUNGE", "UID EXPUNGE"):
            self.mails = {uid: mail for uid, mail in self.mails.items() if uid not in self.deleted}
        return b""

    def _range(self, command: str) -> list[tuple[int, int]]:
        first, last = (int(part) for part in command.split(" ")[1].split(":"))
        return [(number, uid) for number, uid in enumerate(self.mails, 1) if first <= number <= last]

    def _fetch(self, number: int, uid: int) -> bytes:
        mail = self.mails[uid][:262_144]
        size = len(mail) if self.announced is None else self.announced
        if number % 2:
            return b"* %d FETCH (UID %d BODY[]<0> {%d}\r\n%b)\r\n" % (number, uid, size, mail)
        return b"* %d FETCH (BODY[]<0> {%d}\r\n%b UID %d)\r\n" % (number, size, mail, uid)

    def said(self, pattern: str) -> list[str]:
        """Return the commands that match a pattern."""
        return [command for command in self.heard if re.match(pattern, command)]


@contextlib.asynccontextmanager
async def imap(server: ImapServer, tls: ssl.SSLContext | None = None) -> AsyncIterator[ImapServer]:
    """Run a server."""
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
