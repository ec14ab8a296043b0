"""A mail server for tests: the test sets its reply at every step, and it stores the emails that it accepts."""

import asyncio
import base64
import contextlib
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

#: Steps without a reply.
HANG = "hang"
CLOSE = "close"
#: For DATA: read the email, then do not reply.
HANG_AFTER = "hang after"
CLOSE_AFTER = "close after"


@dataclass
class MailServer:
    """The configuration of a server, and what it received."""

    offers: tuple[str, ...] = ("PIPELINING", "SIZE 10000000", "SMTPUTF8")
    tls: ssl.SSLContext | None = None
    #: TLS from the start.
    at_once: bool = False
    user: tuple[str, str] | None = None
    #: Replies by verb (`EHLO`, `AUTH`, `MAIL`, `RCPT`, `DATA`, `MESSAGE` …), each sent once before the default ones.
    replies: dict[str, list[str]] = field(default_factory=dict)
    #: Replies for recipients that always get them.
    refused: dict[str, str] = field(default_factory=dict)
    greeting: str = "220 mail.test ready"
    #: The number of emails after which the server closes the connection, with a 421 or silently.
    close_after: int = 0
    goodbye: str = "421 4.7.0 too many mails in one go"
    mails: list[tuple[str, list[str], bytes]] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    connections: int = 0
    open: set[asyncio.StreamWriter] = field(default_factory=set)
    closing: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        self.open.add(writer)
        try:
            await Session(self, reader, writer).run()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            self.open.discard(writer)
            self.closing.add(writer)
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError):
                await writer.wait_closed()
            self.closing.discard(writer)


class Session:
    """One session."""

    def __init__(self, server: MailServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server, self.reader, self.writer = server, reader, writer
        self.sender: str | None = None
        self.recipients: list[str] = []
        self.taken = 0
        self.secure = server.at_once

    async def run(self) -> None:
        """Run the session until one side closes it."""
        if not await self.say(self.next_reply("GREETING") or self.server.greeting):
            return
        while line := await self.reader.readline():
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            self.server.heard.append(text)
            verb = text.upper().partition(" ")[0]
            reply = self.next_reply(verb) or await self.usual_reply(verb, text)
            if not await self.say(reply) or verb == "QUIT":
                return
            if verb == "STARTTLS" and reply.startswith("220") and self.server.tls:
                await self.writer.start_tls(self.server.tls)
                self.secure = True
            if verb == "DATA" and reply.startswith("354"):
                mail = await self.read_mail()
                if not await self.say(self.next_reply("MESSAGE") or self.take(mail)):
                    return
                self.sender, self.recipients = None, []
                self.taken += 1
            if self.taken and self.taken == self.server.close_after:
                if self.server.goodbye:
                    await self.reader.readline()
                    await self.say(self.server.goodbye)
                return

    def next_reply(self, verb: str) -> str:
        """Return the configured reply for this step."""
        waiting = self.server.replies.get(verb)
        return waiting.pop(0) if waiting else ""

    async def usual_reply(self, verb: str, text: str) -> str:
        """Return the default reply."""
        if verb == "EHLO":
            offers = [offer for offer in self.server.offers if offer != "STARTTLS" or not self.secure]
            return "\r\n".join(["250-mail.test", *(f"250-{offer}" for offer in offers), "250 HELP"])
        if verb == "STARTTLS":
            return "220 go ahead"
        if verb == "AUTH":
            return await self.log_in(text)
        if verb == "MAIL":
            if self.sender is not None:
                return "503 5.5.1 nested MAIL"
            self.sender = text.partition("<")[2].partition(">")[0]
            return "250 2.1.0 ok"
        if verb == "RCPT":
            address = text.partition("<")[2].partition(">")[0]
            if self.sender is None:
                return "503 5.5.1 MAIL first"
            if address in self.server.refused:
                return self.server.refused[address]
            self.recipients.append(address)
            return "250 2.1.5 ok"
        if verb == "DATA":
            return "354 go on" if self.recipients else "503 5.5.1 RCPT first"
        if verb == "RSET":
            self.sender, self.recipients = None, []
        return "221 bye" if verb == "QUIT" else "250 ok"

    async def log_in(self, text: str) -> str:
        """Process AUTH PLAIN and AUTH LOGIN."""
        words = text.split()
        if words[1].upper() == "PLAIN":
            _, user, password = base64.b64decode(words[2]).decode().split("\0")
        else:
            given = []
            for prompt in ("User", "Password"):
                await self.say("334 " + base64.b64encode(prompt.encode()).decode())
                given.append(base64.b64decode(await self.reader.readline()).decode())
            user, password = given
        return "235 2.7.0 welcome" if (user, password) == self.server.user else "535 5.7.8 no"

    async def read_mail(self) -> bytes:
        """Read the email, and remove the added dots."""
        lines = []
        while (line := await self.reader.readline()) != b".\r\n":
            if not line:
                raise asyncio.IncompleteReadError(b"", None)
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines)

    def take(self, mail: bytes) -> str:
        """Store an email."""
        self.server.mails.append((self.sender or "", self.recipients, mail))
        return f"250 2.0.0 queued as {len(self.server.mails)}"

    async def say(self, reply: str) -> bool:
        """Return whether the session continues."""
        if reply in (HANG, HANG_AFTER):
            await self.reader.read()
            return False
        if reply in (CLOSE, CLOSE_AFTER):
            return False
        self.writer.write(reply.encode() + b"\r\n")
        await self.writer.drain()
        return True


@contextlib.asynccontextmanager
async def mail_server(server: MailServer) -> AsyncIterator[str]:
    """Return the URL of a running server."""
    listener = await asyncio.start_server(
        server.serve, "127.0.0.1", 0, ssl=server.tls if server.at_once else None, limit=1 << 24
    )
    port = listener.sockets[0].getsockname()[1]
    try:
        yield f"{'smtps' if server.at_once else 'smtp'}://127.0.0.1:{port}"
    finally:
        listener.close()
        while busy := server.open | server.closing:
            for writer in busy:
                writer.transport.abort()
            await asyncio.sleep(0)
        await listener.wait_closed()


def make_certificate(folder: Path) -> ssl.SSLContext:
    """Return a TLS context for 127.0.0.1; its self-signed certificate is `folder / "ca.pem"`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.test")])
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=3000))
        .not_valid_after(now + datetime.timedelta(days=30_000))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.pem", folder / "key.pem")
    return context
