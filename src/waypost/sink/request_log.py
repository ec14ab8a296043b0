"""What came: the last requests and mails, and counts of all of them."""

import base64
from collections import deque
from collections.abc import Iterable
from typing import Any

import msgspec

from waypost import clock

KEEP = 100_000
KEEP_BYTES = 256 * 1024 * 1024
#: A page ends after so many bytes of bodies, however many entries were asked for.
PAGE_BYTES = 16 * 1024 * 1024


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One request or mail that came."""

    #: Where it stands among everything that came; pages are cut by it.
    serial: int
    name: str
    #: The n-th for its name.
    number: int
    method: str
    url: bytes
    #: Names and values of the headers in turn, one a line.
    head: bytes
    body: bytes
    webhook_id: bytes
    at: int
    #: What only a mail has: from, to and subject.
    mail: dict[str, Any] | None = None

    @property
    def size(self) -> int:
        """The bytes that keeping it costs, near enough."""
        return len(self.body) + len(self.head) + len(self.url)


class Inbox:
    """What came for one name."""

    __slots__ = ("attempts", "name", "records", "seen")

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen = 0
        #: How often each webhook-id came; requests without one are under the empty id.
        self.attempts: dict[bytes, int] = {}
        self.records: deque[Record] = deque()

    def count(self, webhook_id: bytes) -> int:
        """Count one more, and say which attempt of its webhook-id it is."""
        self.seen += 1
        attempt = self.attempts.get(webhook_id, 0) + 1
        self.attempts[webhook_id] = attempt
        return attempt


class Received:
    """Everything that came, bounded in number and in bytes; counts go on when the oldest are dropped.

    A distinct webhook-id costs about 150 bytes until it is forgotten.
    """

    def __init__(self, keep: int = KEEP, keep_bytes: int = KEEP_BYTES) -> None:
        self._keep = keep
        self._keep_bytes = keep_bytes
        self._inboxes: dict[str, Inbox] = {}
        self._records: deque[Record] = deque()
        self._bytes = 0
        self._serial = 0

    def inbox(self, name: str) -> Inbox:
        """The inbox of a name, made when there is none."""
        inbox = self._inboxes.get(name)
        if inbox is None:
            inbox = self._inboxes[name] = Inbox(name)
        return inbox

    def keep(
        self,
        inbox: Inbox,
        method: str,
        url: bytes,
        head: bytes,
        body: bytes,
        webhook_id: bytes,
        mail: dict[str, Any] | None = None,
    ) -> None:
        """Keep what has just been counted, dropping the oldest when there is no room."""
        self._serial += 1
        record = Record(
            serial=self._serial,
            name=inbox.name,
            number=inbox.seen,
            method=method,
            url=url,
            head=head,
            body=body,
            webhook_id=webhook_id,
            at=clock.now_us(),
            mail=mail,
        )
        self._records.append(record)
        inbox.records.append(record)
        self._bytes += len(body) + len(head) + len(url)
        while len(self._records) > self._keep or self._bytes > self._keep_bytes:
            # The oldest of all is also the oldest of its name.
            oldest = self._records.popleft()
            self._inboxes[oldest.name].records.popleft()
            self._bytes -= oldest.size

    def count(self, name: str | None, webhook_id: bytes | None = None) -> int:
        """How many came, kept or not."""
        chosen = self._chosen(name)
        if webhook_id is None:
            return sum(inbox.seen for inbox in chosen)
        return sum(inbox.attempts.get(webhook_id, 0) for inbox in chosen)

    def distinct(self, name: str | None) -> int:
        """How many different webhook-ids came."""
        chosen = self._chosen(name)
        if len(chosen) == 1:
            return len(chosen[0].attempts) - (b"" in chosen[0].attempts)
        return len(set[bytes]().union(*(inbox.attempts for inbox in chosen)) - {b""})

    def page(
        self, name: str | None, limit: int, after: int, webhook_id: bytes | None = None
    ) -> tuple[list[Record], int | None]:
        """The oldest kept after a serial, and the serial to go on after when there are more."""
        if name is None:
            source: Iterable[Record] = self._records
        else:
            source = self._inboxes[name].records if name in self._inboxes else ()
        found: list[Record] = []
        size = 0
        for record in source:
            if record.serial <= after or (webhook_id is not None and record.webhook_id != webhook_id):
                continue
            if len(found) == limit or (found and size + record.size > PAGE_BYTES):
                return found, found[-1].serial
            found.append(record)
            size += record.size
        return found, None

    def forget(self, name: str | None) -> None:
        """Forget what came for a name, or everything, counts included."""
        if name is None:
            self._inboxes.clear()
            self._records.clear()
            self._bytes = 0
        elif self._inboxes.pop(name, None) is not None:
            self._records = deque(record for record in self._records if record.name != name)
            self._bytes = sum(record.size for record in self._records)

    def _chosen(self, name: str | None) -> list[Inbox]:
        if name is None:
            return list(self._inboxes.values())
        return [self._inboxes[name]] if name in self._inboxes else []


def show(record: Record) -> dict[str, Any]:
    """A record as the API tells it."""
    path, _, query = record.url.decode("latin-1").partition("?")
    shown: dict[str, Any] = {
        "name": record.name,
        "method": record.method,
        "path": path,
        "query": query,
        "headers": _headers(record.head),
        "at": clock.iso(record.at),
        "number": record.number,
    }
    try:
        shown["body"] = record.body.decode()
    except UnicodeDecodeError:
        shown["body_base64"] = base64.b64encode(record.body).decode("ascii")
    return shown | (record.mail or {})


def _headers(head: bytes) -> dict[str, str]:
    """The headers by lower-case name; those that came more than once are joined with a comma."""
    lines = head.decode("utf-8", "replace").split("\n") if head else []
    headers: dict[str, str] = {}
    for name, value in zip(lines[::2], lines[1::2], strict=True):
        name = name.lower()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
