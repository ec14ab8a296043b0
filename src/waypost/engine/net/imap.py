"""Read a mailbox by IMAP (RFC 3501): the oldest mails, and delete those that were taken. The calls block."""

import contextlib
import imaplib
import re
import socket
import ssl
from typing import Any

#: Seconds that each step may take.
STEP_S = 20.0
#: What is read of a mail, and the largest answer of a server beside that.
MAIL_BYTES = 256 * 1024
SPARE_BYTES = 64 * 1024

_UID = re.compile(rb"\bUID (\d+)")


class _Client(imaplib.IMAP4):
    """A client on a connection that exists, with bounded answers."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        super().__init__("")

    def _create_socket(self, timeout: float | None) -> socket.socket:
        return self._connection

    def read(self, size: int) -> bytes:
        """Return the bytes of a literal."""
        if size > MAIL_BYTES + SPARE_BYTES:
            raise self.abort(f"the server announces an answer of {size} bytes")
        return super().read(size)


class ImapMailbox:
    """An open folder. Every call may raise OSError or `imaplib.IMAP4.error`."""

    def __init__(self, connection: socket.socket, host: str, secure: ssl.SSLContext | None) -> None:
        connection.setblocking(True)
        connection.settimeout(STEP_S)
        self._connection = connection if secure is None else secure.wrap_socket(connection, server_hostname=host)
        self._client = _Client(self._connection)
        #: How many mails the folder has.
        self._exists = 0

    def select(self, user: str, password: str, folder: str) -> None:
        """Log in, and open a folder."""
        self._client.login(user, password)
        quoted = '"' + folder.replace("\\", "\\\\").replace('"', '\\"') + '"'
        answer = self._client.select(quoted)
        self._expect(answer)
        self._exists = int(answer[1][0] or 0)

    def oldest(self, n: int) -> list[tuple[str, bytes]]:
        """Return the start of up to `n` mails at the beginning of the folder, each with its UID."""
        if not self._exists:
            return []
        answer = self._client.fetch(f"1:{min(n, self._exists)}", f"(UID BODY.PEEK[]<0.{MAIL_BYTES}>)")
        self._expect(answer)
        found: list[tuple[str, bytes]] = []
        parts = answer[1]
        for index, part in enumerate(parts):
            if not isinstance(part, tuple) or len(part) < 2:
                continue
            following = parts[index + 1] if index + 1 < len(parts) else b""
            # The UID may come before the mail, or after it.
            uid = _UID.search(part[0]) or (_UID.search(following) if isinstance(following, bytes) else None)
            if uid is not None:
                found.append((uid[1].decode(), bytes(part[1])))
        return found

    def delete(self, uids: list[str]) -> None:
        """Delete mails by their UIDs."""
        chosen = ",".join(uids)
        self._expect(self._client.uid("STORE", chosen, "+FLAGS.SILENT", r"(\Deleted)"))
        if "UIDPLUS" in self._client.capabilities:
            self._expect(self._client.uid("EXPUNGE", chosen))
        else:
            self._expect(self._client.expunge())
        self._exists = max(self._exists - len(uids), 0)

    def close(self) -> None:
        """Say goodbye, and close the connection."""
        with contextlib.suppress(OSError, imaplib.IMAP4.error):
            self._client.logout()

    def abort(self) -> None:
        """Close the connection at once, from any thread."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        # The shutdown ends a call that blocks another thread. The file of the client would keep the socket open.
        with contextlib.suppress(OSError, ValueError):
            self._client.file.close()
        self._connection.close()

    def _expect(self, answer: tuple[str, Any]) -> None:
        if answer[0] != "OK":
            raise imaplib.IMAP4.error(f"the server answered {answer[0]}: {answer[1]!r:.200}")
