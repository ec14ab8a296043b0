"""Take in the file of an import: decompress it, find its encoding, and store it in chunks in the database."""

import codecs
import zlib
from typing import Any

import msgspec

from waypost.clock import Ids
from waypost.domain.audience.import_columns import Column, read_columns
from waypost.domain.audience.import_files import SAMPLE_BYTES, Layout, read_header
from waypost.errors import Invalid, TooLarge
from waypost.storage.database import Database, Row, Tx

#: The bytes of a file in one chunk.
CHUNK_BYTES = 256 * 1024
#: The most bytes that one step of decompression yields.
PIECE_BYTES = 1024 * 1024
#: A compressed file may be this much larger when it is unpacked; small ones always may.
MOST_RATIO = 200
ALWAYS_BYTES = 10_000_000
#: The level of compression of chunks: the fastest.
LEVEL = 1

#: The start of a gzip file.
GZIP = b"\x1f\x8b"
#: The start of a file that shows its encoding.
HEAD_BYTES = 4096

_encode = msgspec.json.Encoder().encode
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


class ImportPlan(msgspec.Struct, kw_only=True):
    """The format of a file, and what becomes of its columns."""

    layout: Layout
    mapping: dict[str, str | None] | None = None
    columns: list[Column] = []
    #: Whether pending memberships of lists with double opt-in are confirmed already.
    confirmed: bool = False


class ImportRequest(msgspec.Struct, kw_only=True):
    """What a caller wants of an import."""

    workspace_id: int
    format: str
    mapping: dict[str, str | None] | None
    list_id: int | None
    source: str
    dry_run: bool
    confirmed: bool


class FileIntake:
    """The file of one import while it comes in. Only a few chunks of it are in memory."""

    def __init__(self, database: Database, ids: Ids, request: ImportRequest, most_bytes: int, now: int) -> None:
        self.id = ids.one(now)
        self._database = database
        self._request = request
        self._most = most_bytes
        self._received = 0
        self._position = 0
        self._buffer = bytearray()
        #: The start of the body and of the file, until enough is there to see what they are.
        self._raw: bytes | None = b""
        self._head: bytes | None = b""
        self._gzip: Any = None
        self._left = b""
        self._decoder: Any = None
        self._carriage_returns = False
        self._sample = b""
        self._check = codecs.getincrementaldecoder("utf-8")("replace")
        #: Characters that are UTF-8 and not ASCII, and bytes that are not UTF-8.
        self._good = self._bad = 0
        self._header_bytes = 0
        self._stored = False

    async def feed(self, data: bytes, now: int) -> None:
        """Store a part of the body as it comes in. Raise TooLarge past the limit of size."""
        self._received += len(data)
        if self._raw is not None:
            self._raw += data
            if len(self._raw) < len(GZIP):
                return
            data, self._raw = self._raw, None
            if data.startswith(GZIP):
                self._gzip = zlib.decompressobj(47)
        while data:
            plain, data = (data, b"") if self._gzip is None else self._unpack(data)
            await self._take(plain, now)

    async def _take(self, plain: bytes, now: int, *, final: bool = False) -> None:
        """Store a part of the unpacked file."""
        if self._head is not None:
            self._head += plain
            if len(self._head) < HEAD_BYTES and not final:
                return
            plain, self._head = self._look_at_start(self._head), None
        self._buffer += self._text(plain, final=final)
        total = self._position + len(self._buffer)
        if total > self._most:
            raise TooLarge(
                f"The file has more than {self._most // 1_000_000} MB. Send it in parts, or raise the setting "
                "`import_mb`.",
                code="file_too_large",
            )
        if self._gzip is not None and total > max(ALWAYS_BYTES, self._received * MOST_RATIO):
            raise TooLarge(
                f"The compressed file unpacks to more than {MOST_RATIO} times its size.", code="file_too_large"
            )
        await self._store(now, all_of_it=final)

    async def finish(self, now: int) -> ImportPlan:
        """Store the rest; return the plan. Raise Invalid if the file is not complete or its columns are not clear."""
        if self._gzip is not None and not self._gzip.eof:
            raise Invalid("The compressed file is incomplete. Send it again.", code="invalid_file")
        await self._take(self._raw or b"", now, final=True)
        if not self._position:
            raise Invalid("The body is empty. Send the file as the body.", code="empty_file")
        layout = Layout(self._request.format, self._encoding())
        plan = ImportPlan(layout=layout, mapping=self._request.mapping, confirmed=self._request.confirmed)
        if layout.format == "csv":
            names, self._header_bytes = read_header(self._sample, layout)
            plan.columns = read_columns(names, plan.mapping)
        return plan

    async def begin(self, tx: Tx, plan: ImportPlan, now: int) -> None:
        """Let the import run."""
        await tx.run(
            "imports.begin",
            id=self.id,
            plan=_encode(plan).decode(),
            bytes=self._position,
            position=self._header_bytes,
            row_number=1 if plan.layout.format == "csv" else 0,
            now=now,
        )

    async def discard(self) -> None:
        """Delete what was stored; a job deletes the chunks."""
        if self._stored:
            await self._database.transact(_discard, self.id)

    def _unpack(self, data: bytes) -> tuple[bytes, bytes]:
        """Return the next part of the file, and what of the body is not unpacked yet."""
        if self._gzip.eof:
            # A gzip file may have several members (RFC 1952), and zeros at its end.
            data = data if data.startswith(GZIP[:1]) else data.lstrip(b"\0")
            if not data:
                return b"", b""
            self._gzip = zlib.decompressobj(47)
        try:
            part: bytes = self._gzip.decompress(data, PIECE_BYTES)
        except zlib.error as error:
            raise Invalid(f"The compressed file is damaged: {error}.", code="invalid_file") from error
        return part, self._gzip.unused_data if self._gzip.eof else self._gzip.unconsumed_tail

    def _look_at_start(self, data: bytes) -> bytes:
        """Find the encoding and the ends of lines; return the start without a byte order mark."""
        encoding = _guess_utf16(data) or "utf-8"
        for mark, name in _BOMS:
            if data.startswith(mark):
                data, encoding = data[len(mark) :], name
                break
        if encoding != "utf-8":
            self._decoder = codecs.getincrementaldecoder(encoding)("replace")
        else:
            self._carriage_returns = b"\r" in data and b"\n" not in data
        return data

    def _text(self, data: bytes, *, final: bool) -> bytes:
        """Return a part of the file as it is stored: UTF-16 as UTF-8, and lines that end with a line feed."""
        if self._decoder is not None:
            data = self._decoder.decode(data, final).encode("utf-8", "replace")
        elif not data.isascii() or self._check.getstate()[0]:
            text = self._check.decode(data, final)
            if bad := text.count("\ufffd"):
                self._bad += bad
                self._good += sum(letter > "\x7f" for letter in text) - bad
            else:
                self._good += not text.isascii()
        return data.replace(b"\r", b"\n") if self._carriage_returns else data

    def _encoding(self) -> str:
        return "utf-8" if self._decoder is not None or self._bad <= self._good else "cp1252"

    async def _store(self, now: int, *, all_of_it: bool) -> None:
        rows: list[Row] = []
        while len(self._buffer) >= CHUNK_BYTES or (all_of_it and self._buffer):
            chunk = bytes(self._buffer[:CHUNK_BYTES])
            del self._buffer[:CHUNK_BYTES]
            if len(self._sample) < SAMPLE_BYTES:
                self._sample += chunk[: SAMPLE_BYTES - len(self._sample)]
            rows.append((self.id, self._position, zlib.compress(chunk, LEVEL)))
            self._position += len(chunk)
        if rows:
            await self._database.transact(self._keep, rows, now)
            self._stored = True

    async def _keep(self, tx: Tx, rows: list[Row], now: int) -> None:
        if not self._stored:
            request = self._request
            await tx.insert(
                "imports.insert",
                [
                    (
                        self.id,
                        request.workspace_id,
                        "receiving",
                        "{}",
                        request.list_id,
                        request.source,
                        int(request.dry_run),
                        0,
                        0,
                        0,
                        0,
                        0,
                        0,
                        0,
                        0,
                        now,
                        now,
                    )
                ],
            )
        await tx.insert("import_chunks.add", rows)
        await tx.run("imports.received", id=self.id, bytes=self._position, now=now)


def _guess_utf16(data: bytes) -> str | None:
    """Return the UTF-16 of a text without a byte order mark: most of its letters have a byte of zero."""
    start = data[:2000]
    even, odd = start[::2].count(0), start[1::2].count(0)
    if len(start) >= 4 and max(even, odd) > len(start) // 2 * 0.7 and min(even, odd) < len(start) // 2 * 0.1:
        return "utf-16-be" if even > odd else "utf-16-le"
    return None


async def _discard(tx: Tx, import_id: int) -> None:
    await tx.run("imports.delete", id=import_id)
