"""The last received requests and emails, and counts of all of them."""

import base64
from collections import deque
from collections.abc import Iterable
from typing import Any

import msgspec

from waypost import clock

KEEP = 100_000
KEEP_BYTES = 256 * 1024 * 1024
#: The most bytes of bodies on a page, whatever its limit of entries.
PAGE_BYTES = 16 * 1024 * 1024


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One received request or email."""

    #: Its number among everything received; the cursor of pages.
    serial: int
    name: str
    #: Its number within its name.
    number: int
    method: str
    url: bytes
    #: Alternating names and values of the headers, one per line.
    head: bytes
    body: bytes
    webhook_id: bytes
    at: int
    #: For emails only: from, to and subject.
    mail: dict[str, Any] | None = None

    @property
    def size(self) -> int:
        """Return the approximate memory that it takes, in bytes."""
        return len(self.body) + len(self.head) + len(self.url)


class Inbox:
    """The requests received for one name."""

    __slots__ = ("attempts", "name", "records", "seen")

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen = 0
        #: Requests per webhook-id; the empty id counts those without one.
        self.attempts: dict[bytes, int] = {}
        self.records: deque[Record] = deque()

    def count(self, webhook_id: bytes) -> int:
        """Count a request, and return its attempt number within its webhook-id."""
        self.seen += 1
        attempt = self.attempts.get(webhook_id, 0) + 1
        self.attempts[webhook_id] = attempt
        return attempt


class RequestLog:
    """All received requests, bounded in number and bytes; counts stay when the oldest are dropped.

    A distinct webhook-id takes about 150 bytes until it is deleted.
    """

    def __init__(self, keep: int = KEEP, keep_bytes: int = KEEP_BYTES) -> None:
        self._keep = keep
        self._keep_bytes = keep_bytes
        self._inboxes: dict[str, Inbox] = {}
        self._records: deque[Record] = deque()
        self._bytes = 0
        self._serial = 0

    def inbox(self, name: str) -> Inbox:
        """Return the inbox of a name; it is created at the first call."""
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
        """Store a counted request, and drop the oldest ones beyond the limits."""
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
            # The oldest request of all is also the oldest of its name.
            oldest = self._records.popleft()
            self._inboxes[oldest.name].records.popleft()
            self._bytes -= oldest.size

    def count(self, name: str | None, webhook_id: bytes | None = None) -> int:
        """Return the number of received requests, stored or dropped."""
        chosen = self._chosen(name)
        if webhook_id is None:
            return sum(inbox.seen for inbox in chosen)
        return sum(inbox.attempts.get(webhook_id, 0) for inbox in chosen)

    def distinct(self, name: str | None) -> int:
        """Return the number of distinct webhook-ids."""
        chosen = self._chosen(name)
        if len(chosen) == 1:
            return len(chosen[0].attempts) - (b"" in chosen[0].attempts)
        return len(set[bytes]().union(*(inbox.attempts for inbox in chosen)) - {b""})

    def page(
        self, name: str | None, limit: int, after: int, webhook_id: bytes | None = None
    ) -> tuple[list[Record], int | None]:
        """Return the oldest stored requests after a serial, and the serial of the next page if there is one."""
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
        """Delete the requests and counts of a name, or of all names."""
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
    """Return the JSON view of a record."""
    path, _, query = record.url.decode("latin-1").partition("?")
    view: dict[str, Any] = {
        "name": record.name,
        "method": record.method,
        "path": path,
        "query": query,
        "headers": _headers(record.head),
        "at": clock.iso(record.at),
        "number": record.number,
    }
    try:
        view["body"] = record.body.decode()
    except UnicodeDecodeError:
        view["body_base64"] = base64.b64encode(record.body).decode("ascii")
    return view | (record.mail or {})


def _headers(head: bytes) -> dict[str, str]:
    """Return the headers by lower-case name; repeated headers are joined with commas."""
    lines = head.decode("utf-8", "replace").split("\n") if head else []
    headers: dict[str, str] = {}
    for name, value in zip(lines[::2], lines[1::2], strict=True):
        name = name.lower()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
