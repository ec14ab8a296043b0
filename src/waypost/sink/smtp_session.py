"""The SMTP commands of the sink (RFC 5321): the reply to each, and the envelope of the current email."""

import base64
import binascii
import re
from collections.abc import Callable

from waypost.sink.scenarios import Reply, Scenario

LARGEST_MAIL = 32 * 1024 * 1024
MOST_RECIPIENTS = 1_000
NAME = b"sink.invalid"

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
SEND_DATA = b"354 End the message with a line that has only a dot\r\n"
LINE_TOO_LONG = b"500 5.5.2 The line is too long\r\n"
TOO_LARGE = b"552 5.3.4 The message is too large\r\n"
GREET_FIRST = b"503 5.5.1 Send EHLO first\r\n"
NO_MAIL_YET = b"503 5.5.1 Send MAIL first\r\n"

#: `<address>` or a bare address, and the parameters after it.
PATH = re.compile(rb'(?:<((?:"(?:[^"\\]|\\.)*"|[^<>"])*)>|([^\s<>]+))((?:[ \t].*)?)\Z', re.DOTALL)
#: The password that the server refuses; it accepts any other.
WRONG_PASSWORD = b"wrong"

TRY_LATER = b"451 4.3.0 Try again later\r\n"
NO_MAILBOX = b"550 5.1.1 The mailbox does not exist\r\n"
BY_POLICY = b"554 5.7.1 The message was rejected by policy\r\n"
#: The reply to a recipient by scenario, with the codes of RFC 3463; other scenarios accept it.
REFUSALS = {
    "bounced": NO_MAILBOX,
    "invalid": NO_MAILBOX,
    "malformed": b"553 5.1.3 The address is not valid\r\n",
    "unreachable": NO_MAILBOX,
    "full": b"452 4.2.2 The mailbox is full\r\n",
    "blocked": BY_POLICY,
    "rejected": BY_POLICY,
    "spam": BY_POLICY,
    "opted_out": BY_POLICY,
    "throttled": b"451 4.7.0 Too many messages; slow down\r\n",
    "throttled_once": b"451 4.7.0 Too many messages; slow down\r\n",
    "temporary": TRY_LATER,
    "temporary_once": b"451 4.7.1 Greylisted; try again later\r\n",
    "unknown_failure": TRY_LATER,
}


class SmtpSession:
    """The state of one SMTP session: authentication, and the envelope of the current email."""

    def __init__(self, scenario: Callable[[str], Scenario]) -> None:
        self._scenario = scenario
        #: Whether the next bytes are the content of an email, after DATA.
        self.in_data = False
        #: Whether the client sent QUIT.
        self.ended = False
        #: The handler of the next line, if it is a credential and not a command.
        self._expected: Callable[[bytes], bytes] | None = None
        self._greeted = False
        self.start_over()

    def respond(self, line: bytes) -> bytes:
        """Return the reply to a command or to a line of credentials."""
        if self._expected is not None:
            handler, self._expected = self._expected, None
            return handler(line)
        verb, _, rest = line.partition(b" ")
        command = COMMANDS.get(verb.upper())
        return command(self, rest.strip()) if command is not None else b"500 5.5.2 Unknown command\r\n"

    def start_over(self) -> None:
        """Discard the current email."""
        self.sender: bytes | None = None
        #: The name of the scenario by recipient.
        self.recipients: dict[str, str] = {}
        #: The result of the whole email, if the scenario of a recipient fails it.
        self.result = Reply.ACCEPTED

    # The commands.

    def _helo(self, rest: bytes) -> bytes:
        self.start_over()
        self._greeted = True
        return b"250 " + NAME + b"\r\n"

    def _ehlo(self, rest: bytes) -> bytes:
        self.start_over()
        self._greeted = True
        return EXTENSIONS

    def _mail(self, rest: bytes) -> bytes:
        if not self._greeted:
            return GREET_FIRST
        if self.sender is not None:
            return b"503 5.5.1 A message is already started; RSET discards it\r\n"
        found = _path(b"FROM:", rest)
        if found is None:
            return b"501 5.5.4 The syntax is MAIL FROM:<address>\r\n"
        address, options = found
        international = False
        for option in options:
            name, _, value = option.upper().partition(b"=")
            if name == b"SIZE":
                if not value.isdigit():
                    return b"501 5.5.4 SIZE must be a number of bytes\r\n"
                if len(value) > 20 or int(value) > LARGEST_MAIL:
                    return TOO_LARGE
            elif name == b"SMTPUTF8":
                international = True
            elif name not in (b"BODY", b"AUTH"):
                return b"555 5.5.4 Unknown parameter\r\n"
        if not international and not address.isascii():
            return b"553 5.6.7 The address requires SMTPUTF8\r\n"
        self.sender = address
        return b"250 2.1.0 OK\r\n"

    def _rcpt(self, rest: bytes) -> bytes:
        if self.sender is None:
            return NO_MAIL_YET if self._greeted else GREET_FIRST
        found = _path(b"TO:", rest)
        if found is None or not found[0]:
            return b"501 5.5.4 The syntax is RCPT TO:<address>\r\n"
        address, options = found
        if options:
            return b"555 5.5.4 Unknown parameter\r\n"
        if len(self.recipients) >= MOST_RECIPIENTS:
            return b"452 4.5.3 Too many recipients\r\n"
        recipient = address.decode("utf-8", "replace")
        scenario = self._scenario(recipient)
        if scenario.reply is not Reply.ACCEPTED or scenario.word in REFUSALS:
            if scenario.word in REFUSALS:
                return REFUSALS[scenario.word]
            self.result = scenario.reply
        self.recipients[recipient] = scenario.word
        return b"250 2.1.5 OK\r\n"

    def _data(self, rest: bytes) -> bytes:
        if not self.recipients:
            return b"503 5.5.1 Send RCPT first\r\n" if self.sender is not None else NO_MAIL_YET
        self.in_data = True
        return SEND_DATA

    def _rset(self, rest: bytes) -> bytes:
        self.start_over()
        return OK

    def _noop(self, rest: bytes) -> bytes:
        return OK

    def _vrfy(self, rest: bytes) -> bytes:
        return b"252 2.0.0 Cannot verify; send a message\r\n"

    def _help(self, rest: bytes) -> bytes:
        return b"214 2.0.0 GET /received?name=mail lists the stored messages\r\n"

    def _quit(self, rest: bytes) -> bytes:
        self.ended = True
        return BYE

    def _auth(self, rest: bytes) -> bytes:
        """Authenticate any user with any password except WRONG_PASSWORD (RFC 4954)."""
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
        return b"504 5.5.4 Supported are PLAIN and LOGIN\r\n"

    def _plain(self, line: bytes) -> bytes:
        parts = (_decoded(line) or b"").split(b"\0")
        return _authenticate(parts[2] if len(parts) == 3 else None)

    def _user(self, line: bytes) -> bytes:
        if _decoded(line) is None:
            return _authenticate(None)
        self._expected = self._password
        return b"334 UGFzc3dvcmQ6\r\n"

    def _password(self, line: bytes) -> bytes:
        return _authenticate(_decoded(line))


COMMANDS: dict[bytes, Callable[[SmtpSession, bytes], bytes]] = {
    b"HELO": SmtpSession._helo,
    b"EHLO": SmtpSession._ehlo,
    b"MAIL": SmtpSession._mail,
    b"RCPT": SmtpSession._rcpt,
    b"DATA": SmtpSession._data,
    b"RSET": SmtpSession._rset,
    b"NOOP": SmtpSession._noop,
    b"VRFY": SmtpSession._vrfy,
    b"HELP": SmtpSession._help,
    b"AUTH": SmtpSession._auth,
    b"QUIT": SmtpSession._quit,
}


def _path(keyword: bytes, rest: bytes) -> tuple[bytes, list[bytes]] | None:
    """Return the address after FROM: or TO:, and the parameters after it."""
    if rest[: len(keyword)].upper() != keyword:
        return None
    found = PATH.match(rest[len(keyword) :].strip())
    if found is None:
        return None
    inside, bare, options = found.groups()
    return bare if inside is None else inside, options.split()


def _decoded(line: bytes) -> bytes | None:
    """Decode base64; return None if it is not valid."""
    try:
        return base64.b64decode(line.strip(), validate=True)
    except binascii.Error:
        return None


def _authenticate(password: bytes | None) -> bytes:
    if password is None:
        return b"501 5.5.2 The credentials cannot be decoded\r\n"
    if password == WRONG_PASSWORD:
        return b"535 5.7.8 The credentials are not valid\r\n"
    return b"235 2.7.0 Authenticated\r\n"
