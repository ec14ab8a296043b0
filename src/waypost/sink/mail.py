"""The sink's SMTP server: takes every mail, keeps it, and answers as it is told."""

import asyncio
import base64
import binascii
import re
from collections.abc import Callable
from typing import Any, cast

from waypost.sink.behaviour import Behaviour
from waypost.sink.context import Context
from waypost.sink.mail_headers import read_head
from waypost.sink.receivers import Receivers
from waypost.sink.scenarios import EMAIL_MARK, SCENARIOS, Reply, Scenario

LARGEST_MAIL = 32 * 1024 * 1024
#: RFC 5321, section 4.5.3.1, asks for 512 and 1,000 bytes; extensions and credentials make lines longer.
LONGEST_LINE = 16 * 1024
MOST_RECIPIENTS = 1_000
#: So many senseless commands end a connection.
MOST_ERRORS = 100
NAME = b"sink.invalid"
END = b"\r\n.\r\n"

GREETING = b"220 " + NAME + b" ESMTP Waypost sink\r\n"
EXTENSIONS = b"".join(
    (
        b"250-" + NAME + b"\r\n",
        b"250-PIPELINING\r\n",
        b"250-SIZE %d\r\n" % LARGEST_MAIL,
        b"250-8BITMIME\r\n",
        b"250-SMTPUTF8\r\n",
        b"250-ENHANCEDSTATUSCODES\r\n",
        b"250-AUTH PLAIN LOGIN\r\n",
        b"250 HELP\r\n",
    )
)
OK = b"250 2.0.0 OK\r\n"
BYE = b"221 2.0.0 Bye\r\n"
GO_ON = b"354 End the mail with a dot on a line of its own\r\n"
TOO_LONG = b"500 5.5.2 The line is too long\r\n"
TOO_LARGE = b"552 5.3.4 The mail is too large\r\n"
GREET_FIRST = b"503 5.5.1 Say EHLO first\r\n"
NO_MAIL_YET = b"503 5.5.1 Say MAIL first\r\n"

#: `<address>` or a bare one, and what follows it.
PATH = re.compile(rb'(?:<((?:"(?:[^"\\]|\\.)*"|[^<>"])*)>|([^\s<>]+))((?:[ \t].*)?)\Z', re.DOTALL)
#: The password that is never right.
WRONG_PASSWORD = b"wrong"

#: A recipient whose address begins with one of these and an @ or a plus sign has this fate (sink.fates).
MAILBOXES = {
    "bounce": "bounced",
    "blocked": "blocked",
    "full": "full",
    "defer": "temporary",
    "greylist": "temporary_once",
}
LATER = b"451 4.3.0 Come back later\r\n"
NOBODY = b"550 5.1.1 There is no such mailbox\r\n"
UNWANTED = b"554 5.7.1 Your mail is not wanted here\r\n"
#: What a recipient gets by its fate, with the codes of RFC 3463; every other fate is to be taken.
REFUSALS = {
    "bounced": NOBODY,
    "invalid": NOBODY,
    "malformed": b"553 5.1.3 This is no address\r\n",
    "unreachable": NOBODY,
    "full": b"452 4.2.2 The mailbox is full\r\n",
    "blocked": UNWANTED,
    "rejected": UNWANTED,
    "spam": UNWANTED,
    "opted_out": UNWANTED,
    "throttled": b"451 4.7.0 Too many mails; slow down\r\n",
    "throttled_once": b"451 4.7.0 Too many mails; slow down\r\n",
    "temporary": LATER,
    "temporary_once": b"451 4.7.1 Greylisted; come back later\r\n",
    "unknown_failure": LATER,
}
#: What a share of `failure_rate` gets.
FAILURES = ("bounced", "blocked")


class SmtpServer:
    """Every SMTP connection of a sink, and what they share."""

    def __init__(self, receivers: Receivers, context: Context) -> None:
        self.receivers = receivers
        self.sent_log = context.sent_log
        self.dice = context.scenarios.declare("smtp", FAILURES)
        self.connections: set[SmtpConnection] = set()

    def connect(self) -> "SmtpConnection":
        """The protocol for one more connection."""
        return SmtpConnection(self)

    def abort(self) -> None:
        """End every connection now."""
        for connection in list(self.connections):
            connection.abort()

    def scenario(self, address: str) -> Scenario:
        """What becomes of a mail to this recipient."""
        mailbox = address.partition("@")[0].partition("+")[0].lower()
        word = MAILBOXES.get(mailbox)
        if word is None:
            return self.dice.message(address)
        if word in SCENARIOS:
            return self.dice.message(f"{EMAIL_MARK}{word}+{address}")
        return Scenario(word, Reply.TEMPORARY)


class SmtpConnection(asyncio.Protocol):
    """One SMTP connection (RFC 5321): commands in, replies out in the same order."""

    def __init__(self, smtp_server: SmtpServer) -> None:
        self._smtp_server = smtp_server
        self._buffer = bytearray()
        self._in_data = False
        self._too_large = False
        #: A reply is owed later; what comes meanwhile waits.
        self._busy = False
        self._deaf = False
        self._full = False
        self._paused = False
        self._errors = 0
        self._timer: asyncio.TimerHandle | None = None
        #: What the next line is, when it is no command but a credential.
        self._expected: Callable[[bytes], bytes] | None = None
        self._greeted = False
        self._start_over()

    def abort(self) -> None:
        """End the connection now."""
        self.transport.abort()

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._smtp_server.connections.add(self)
        self.transport.write(GREETING)

    def connection_lost(self, exc: Exception | None) -> None:
        self._deaf = True
        self._smtp_server.connections.discard(self)
        self._buffer.clear()
        if self._timer is not None:
            self._timer.cancel()

    def pause_writing(self) -> None:
        # Who does not read the replies is not asked for more.
        self._full = True
        self._balance()

    def resume_writing(self) -> None:
        self._full = False
        self._balance()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        searched = max(len(self._buffer) - len(END) + 1, 0)
        self._buffer += data
        if not self._busy:
            self._work(searched)
        else:
            self._balance()

    # What is done with it.

    def _work(self, searched: int = 0) -> None:
        """Take everything whole out of the buffer, and send the replies together."""
        replies: list[bytes] = []
        buffer = self._buffer
        while not self._deaf and not self._busy:
            if self._in_data:
                if not self._take_data(replies, searched):
                    break
            else:
                end = buffer.find(b"\n", 0, LONGEST_LINE)
                if end < 0:
                    if len(buffer) >= LONGEST_LINE:
                        replies += (TOO_LONG, BYE)
                        self._deaf = True
                    break
                line = bytes(buffer[:end])
                del buffer[: end + 1]
                reply = self._obey(line[:-1] if line.endswith(b"\r") else line)
                replies.append(reply)
                # Refused recipients are no errors of the sender's.
                if reply.startswith(b"50"):
                    self._errors += 1
                    if self._errors > MOST_ERRORS:
                        replies.append(b"421 4.7.0 Too many errors\r\n")
                        self._deaf = True
            searched = 0
        if replies:
            self.transport.write(b"".join(replies))
        if self._deaf:
            self.transport.close()

    def _obey(self, line: bytes) -> bytes:
        """The reply to a command, or to the line that a command asked for."""
        if self._expected is not None:
            take, self._expected = self._expected, None
            return take(line)
        verb, _, rest = line.partition(b" ")
        command = COMMANDS.get(verb.upper())
        return command(self, rest.strip()) if command is not None else b"500 5.5.2 There is no such command\r\n"

    def _take_data(self, replies: list[bytes], searched: int) -> bool:
        """Take a mail out of the buffer, if it has come to its end."""
        buffer = self._buffer
        if not self._too_large and buffer.startswith(END[2:]):
            # A mail without a single line.
            content = b""
            del buffer[: len(END) - 2]
        else:
            end = buffer.find(END, searched)
            if end < 0:
                self._too_large = self._too_large or len(buffer) > LARGEST_MAIL + len(END)
                if self._too_large:
                    del buffer[: 1 - len(END)]
                return False
            self._too_large = self._too_large or end > LARGEST_MAIL
            # RFC 5321, section 4.5.2: the sender put a dot before each line that starts with one.
            content = b"" if self._too_large else bytes(buffer[: end + 2])
            content = (content[1:] if content.startswith(b".") else content).replace(b"\r\n.", b"\r\n")
            del buffer[: end + len(END)]
        self._in_data = False
        if self._too_large:
            replies.append(TOO_LARGE)
        else:
            self._keep(content, replies)
        self._start_over()
        return True

    def _keep(self, content: bytes, replies: list[bytes]) -> None:
        """Keep a mail, and reply as the receiver is told to."""
        call = self._smtp_server.dice.call()
        if call.status is not None or self._trouble is Reply.ERROR:
            self._answer(LATER, call.delay, replies)
            return
        head, subject, message_id = read_head(content)
        told: dict[str, Any] = {
            "from": self._sender.decode("utf-8", "replace") if self._sender is not None else "",
            "to": list(self._recipients),
            "subject": subject,
        }
        behaviour = self._smtp_server.receivers.receive_mail(head, content, told)
        if behaviour.status < 400 and not behaviour.close:
            for recipient, word in self._recipients.items():
                self._smtp_server.sent_log.add("smtp", recipient, subject, message_id, "", word)
        reply: bytes | None = _reply(behaviour)
        if behaviour.close or call.lost or self._trouble is Reply.LOST:
            reply = None
        self._answer(reply, behaviour.delay + call.delay, replies, behaviour.hang or self._trouble is Reply.HANG)

    def _answer(self, reply: bytes | None, delay: float, replies: list[bytes], hang: bool = False) -> None:
        """Reply now or later, or never; without a reply the connection ends."""
        if reply is not None and not delay and not hang:
            replies.append(reply)
            return
        self._busy = True
        if not hang:
            self._timer = asyncio.get_running_loop().call_later(delay, self._go_on, reply)

    def _go_on(self, reply: bytes | None) -> None:
        """Send the reply that had to wait, and take up what came meanwhile."""
        self._timer = None
        if self._deaf:
            return
        if reply is None:
            self.abort()
            return
        self.transport.write(reply)
        self._busy = False
        self._work()
        self._balance()

    def _balance(self) -> None:
        """Read on only while the replies are taken and little waits."""
        enough = self._full or (self._busy and len(self._buffer) > LONGEST_LINE)
        if self._deaf or enough == self._paused:
            return
        self._paused = enough
        if enough:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def _start_over(self) -> None:
        self._sender: bytes | None = None
        #: Each with the word of its fate.
        self._recipients: dict[str, str] = {}
        #: What one of the recipients brings upon the whole mail.
        self._trouble = Reply.TAKEN
        self._too_large = False

    # The commands.

    def _helo(self, rest: bytes) -> bytes:
        self._start_over()
        self._greeted = True
        return b"250 " + NAME + b"\r\n"

    def _ehlo(self, rest: bytes) -> bytes:
        self._start_over()
        self._greeted = True
        return EXTENSIONS

    def _mail(self, rest: bytes) -> bytes:
        if not self._greeted:
            return GREET_FIRST
        if self._sender is not None:
            return b"503 5.5.1 A mail has begun already; RSET ends it\r\n"
        found = _path(b"FROM:", rest)
        if found is None:
            return b"501 5.5.4 MAIL FROM:<address> is how a mail begins\r\n"
        address, options = found
        international = False
        for option in options:
            name, _, value = option.upper().partition(b"=")
            if name == b"SIZE":
                if not value.isdigit():
                    return b"501 5.5.4 SIZE is a number of bytes\r\n"
                if len(value) > 20 or int(value) > LARGEST_MAIL:
                    return TOO_LARGE
            elif name == b"SMTPUTF8":
                international = True
            elif name not in (b"BODY", b"AUTH"):
                return b"555 5.5.4 There is no such parameter\r\n"
        if not international and not address.isascii():
            return b"553 5.6.7 Such an address needs SMTPUTF8\r\n"
        self._sender = address
        return b"250 2.1.0 OK\r\n"

    def _rcpt(self, rest: bytes) -> bytes:
        if self._sender is None:
            return NO_MAIL_YET if self._greeted else GREET_FIRST
        found = _path(b"TO:", rest)
        if found is None or not found[0]:
            return b"501 5.5.4 RCPT TO:<address> names a recipient\r\n"
        address, options = found
        if options:
            return b"555 5.5.4 There is no such parameter\r\n"
        if len(self._recipients) >= MOST_RECIPIENTS:
            return b"452 4.5.3 Too many recipients\r\n"
        recipient = address.decode("utf-8", "replace")
        scenario = self._smtp_server.scenario(recipient)
        if scenario.reply is not Reply.TAKEN or scenario.word in REFUSALS:
            if scenario.word in REFUSALS:
                return REFUSALS[scenario.word]
            self._trouble = scenario.reply
        self._recipients[recipient] = scenario.word
        return b"250 2.1.5 OK\r\n"

    def _data(self, rest: bytes) -> bytes:
        if not self._recipients:
            return b"503 5.5.1 Say RCPT first\r\n" if self._sender is not None else NO_MAIL_YET
        self._in_data = True
        return GO_ON

    def _rset(self, rest: bytes) -> bytes:
        self._start_over()
        return OK

    def _noop(self, rest: bytes) -> bytes:
        return OK

    def _vrfy(self, rest: bytes) -> bytes:
        return b"252 2.0.0 Send a mail and see\r\n"

    def _help(self, rest: bytes) -> bytes:
        return b"214 2.0.0 Every mail is kept and listed at GET /received?name=mail\r\n"

    def _quit(self, rest: bytes) -> bytes:
        self._deaf = True
        return BYE

    def _auth(self, rest: bytes) -> bytes:
        """Take any name and any password but one (RFC 4954)."""
        if not self._greeted:
            return GREET_FIRST
        mechanism, _, initial = rest.partition(b" ")
        match mechanism.upper():
            case b"PLAIN":
                if initial:
                    return self._plain(initial)
                self._expected = self._plain
                return b"334 \r\n"
            case b"LOGIN":
                if initial:
                    return self._user(initial)
                self._expected = self._user
                return b"334 VXNlcm5hbWU6\r\n"
        return b"504 5.5.4 There are PLAIN and LOGIN\r\n"

    def _plain(self, line: bytes) -> bytes:
        parts = (_decoded(line) or b"").split(b"\0")
        return _admit(parts[2] if len(parts) == 3 else None)

    def _user(self, line: bytes) -> bytes:
        if _decoded(line) is None:
            return _admit(None)
        self._expected = self._password
        return b"334 UGFzc3dvcmQ6\r\n"

    def _password(self, line: bytes) -> bytes:
        return _admit(_decoded(line))


COMMANDS: dict[bytes, Callable[[SmtpConnection, bytes], bytes]] = {
    b"HELO": SmtpConnection._helo,
    b"EHLO": SmtpConnection._ehlo,
    b"MAIL": SmtpConnection._mail,
    b"RCPT": SmtpConnection._rcpt,
    b"DATA": SmtpConnection._data,
    b"RSET": SmtpConnection._rset,
    b"NOOP": SmtpConnection._noop,
    b"VRFY": SmtpConnection._vrfy,
    b"HELP": SmtpConnection._help,
    b"AUTH": SmtpConnection._auth,
    b"QUIT": SmtpConnection._quit,
}


def _reply(behaviour: Behaviour) -> bytes:
    """The reply to a mail's data, with the enhanced code of its class (RFC 3463)."""
    text = " ".join((behaviour.body or ("Kept" if behaviour.status < 400 else "Refused, as told")).split())
    return f"{behaviour.status} {behaviour.status // 100}.0.0 {text}\r\n".encode()


def _path(keyword: bytes, rest: bytes) -> tuple[bytes, list[bytes]] | None:
    """The address after FROM: or TO:, and the parameters after it."""
    if rest[: len(keyword)].upper() != keyword:
        return None
    found = PATH.match(rest[len(keyword) :].strip())
    if found is None:
        return None
    inside, bare, options = found.groups()
    return bare if inside is None else inside, options.split()


def _decoded(line: bytes) -> bytes | None:
    """What base64 says, or nothing when it is not valid."""
    try:
        return base64.b64decode(line.strip(), validate=True)
    except binascii.Error:
        return None


def _admit(password: bytes | None) -> bytes:
    if password is None:
        return b"501 5.5.2 The credentials cannot be read\r\n"
    if password == WRONG_PASSWORD:
        return b"535 5.7.8 The credentials are wrong\r\n"
    return b"235 2.7.0 Welcome\r\n"
