"""The SMTP server of the sink: logs each email, and replies with the configured behaviour or scenario."""

import asyncio
from typing import Any, cast

from waypost.sink.behaviour import Behaviour
from waypost.sink.context import Context
from waypost.sink.mail_headers import read_head
from waypost.sink.receivers import Receivers
from waypost.sink.scenarios import EMAIL_MARK, SCENARIOS, Reply, Scenario
from waypost.sink.smtp_session import BYE, GREETING, LARGEST_MAIL, LINE_TOO_LONG, TOO_LARGE, TRY_LATER, SmtpSession

#: RFC 5321, section 4.5.3.1, requires 512 and 1,000 bytes; extensions and credentials make lines longer.
LONGEST_LINE = 16 * 1024
#: The most failed commands; then the connection is closed.
MOST_ERRORS = 100
END = b"\r\n.\r\n"

#: Scenarios by the mailbox name: the part of a recipient's address before @ or +.
MAILBOXES = {
    "bounce": "bounced",
    "blocked": "blocked",
    "full": "full",
    "defer": "temporary",
    "greylist": "temporary_once",
}
#: The scenarios chosen evenly for `failure_rate`.
FAILURES = ("bounced", "blocked")


class SmtpServer:
    """All SMTP connections of a sink, and their shared state."""

    def __init__(self, receivers: Receivers, context: Context) -> None:
        self.receivers = receivers
        self.sent_log = context.sent_log
        self.dice = context.scenarios.declare("smtp", FAILURES)
        self.connections: set[SmtpConnection] = set()

    def connect(self) -> "SmtpConnection":
        """Return the protocol for a new connection."""
        return SmtpConnection(self)

    def abort(self) -> None:
        """Close all connections immediately."""
        for connection in list(self.connections):
            connection.abort()

    def scenario(self, address: str) -> Scenario:
        """Return the scenario of an email to this recipient."""
        mailbox = address.partition("@")[0].partition("+")[0].lower()
        word = MAILBOXES.get(mailbox)
        if word is None:
            return self.dice.message(address)
        if word in SCENARIOS:
            return self.dice.message(f"{EMAIL_MARK}{word}+{address}")
        return Scenario(word, Reply.TEMPORARY)


class SmtpConnection(asyncio.Protocol):
    """One SMTP connection (RFC 5321); replies are sent in the order of the commands."""

    def __init__(self, smtp_server: SmtpServer) -> None:
        self._smtp_server = smtp_server
        self._session = SmtpSession(smtp_server.scenario)
        self._buffer = bytearray()
        self._too_large = False
        #: Whether a delayed reply is pending; later commands wait for it.
        self._busy = False
        self._closing = False
        self._write_paused = False
        self._read_paused = False
        self._errors = 0
        self._timer: asyncio.TimerHandle | None = None

    def abort(self) -> None:
        """Close the connection immediately."""
        self.transport.abort()

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._smtp_server.connections.add(self)
        self.transport.write(GREETING)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._smtp_server.connections.discard(self)
        self._buffer.clear()
        if self._timer is not None:
            self._timer.cancel()

    def pause_writing(self) -> None:
        # Read no further commands from a client that does not read its replies.
        self._write_paused = True
        self._pause_or_resume()

    def resume_writing(self) -> None:
        self._write_paused = False
        self._pause_or_resume()

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        searched = max(len(self._buffer) - len(END) + 1, 0)
        self._buffer += data
        if not self._busy:
            self._work(searched)
        else:
            self._pause_or_resume()

    # Processing of the buffer.

    def _work(self, searched: int = 0) -> None:
        """Process the complete lines and emails in the buffer, and send the replies together."""
        replies: list[bytes] = []
        buffer = self._buffer
        while not self._closing and not self._busy:
            if self._session.in_data:
                if not self._receive_data(replies, searched):
                    break
            else:
                end = buffer.find(b"\n", 0, LONGEST_LINE)
                if end < 0:
                    if len(buffer) >= LONGEST_LINE:
                        replies += (LINE_TOO_LONG, BYE)
                        self._closing = True
                    break
                line = bytes(buffer[:end])
                del buffer[: end + 1]
                reply = self._session.respond(line[:-1] if line.endswith(b"\r") else line)
                replies.append(reply)
                self._closing = self._session.ended
                # Refused recipients are not protocol errors, so only 50x count.
                if reply.startswith(b"50"):
                    self._errors += 1
                    if self._errors > MOST_ERRORS:
                        replies.append(b"421 4.7.0 Too many errors\r\n")
                        self._closing = True
            searched = 0
        if replies:
            self.transport.write(b"".join(replies))
        if self._closing:
            self.transport.close()

    def _receive_data(self, replies: list[bytes], searched: int) -> bool:
        """Take an email out of the buffer; return False if its end has not arrived."""
        buffer = self._buffer
        if not self._too_large and buffer.startswith(END[2:]):
            # An email without content.
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
            # RFC 5321, section 4.5.2: the client puts a dot before each line that starts with one.
            content = b"" if self._too_large else bytes(buffer[: end + 2])
            content = (content[1:] if content.startswith(b".") else content).replace(b"\r\n.", b"\r\n")
            del buffer[: end + len(END)]
        self._session.in_data = False
        if self._too_large:
            replies.append(TOO_LARGE)
        else:
            self._accept(content, replies)
        self._session.start_over()
        self._too_large = False
        return True

    def _accept(self, content: bytes, replies: list[bytes]) -> None:
        """Log an email, and reply with the configured behaviour."""
        session = self._session
        call = self._smtp_server.dice.call()
        if call.status is not None or session.result is Reply.ERROR:
            self._reply(TRY_LATER, call.delay, replies)
            return
        head, subject, message_id = read_head(content)
        envelope: dict[str, Any] = {
            "from": session.sender.decode("utf-8", "replace") if session.sender is not None else "",
            "to": list(session.recipients),
            "subject": subject,
        }
        behaviour = self._smtp_server.receivers.receive_mail(head, content, envelope)
        if behaviour.status < 400 and not behaviour.close:
            for recipient, word in session.recipients.items():
                self._smtp_server.sent_log.add("smtp", recipient, subject, message_id, "", word)
        reply: bytes | None = _make_reply(behaviour)
        if behaviour.close or call.lost or session.result is Reply.LOST:
            reply = None
        self._reply(reply, behaviour.delay + call.delay, replies, behaviour.hang or session.result is Reply.HANG)

    def _reply(self, reply: bytes | None, delay: float, replies: list[bytes], hang: bool = False) -> None:
        """Reply now, later or never; if the reply is None, close the connection."""
        if reply is not None and not delay and not hang:
            replies.append(reply)
            return
        self._busy = True
        if not hang:
            self._timer = asyncio.get_running_loop().call_later(delay, self._finish_reply, reply)

    def _finish_reply(self, reply: bytes | None) -> None:
        """Send a delayed reply, and process the commands that arrived meanwhile."""
        self._timer = None
        if self._closing:
            return
        if reply is None:
            self.abort()
            return
        self.transport.write(reply)
        self._busy = False
        self._work()
        self._pause_or_resume()

    def _pause_or_resume(self) -> None:
        """Pause reading while replies are not read or a delayed reply is pending, and resume it afterwards."""
        pause = self._write_paused or (self._busy and len(self._buffer) > LONGEST_LINE)
        if self._closing or pause == self._read_paused:
            return
        self._read_paused = pause
        if pause:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()


def _make_reply(behaviour: Behaviour) -> bytes:
    """Return the reply to the content of an email, with the enhanced status code of its class (RFC 3463)."""
    text = " ".join((behaviour.body or ("Stored" if behaviour.status < 400 else "Refused by configuration")).split())
    return f"{behaviour.status} {behaviour.status // 100}.0.0 {text}\r\n".encode()
