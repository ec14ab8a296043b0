"""Imports: send a file of people, watch it, read its errors, cancel it."""

import hashlib
from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from litestar.response import Stream

from waypost.api.control.calls import NAMES, Call, permit, read_key_of
from waypost.api.paging import After, Limit, Page, before, page
from waypost.clock import iso, now_us
from waypost.domain.audience.import_columns import TARGETS, read_target
from waypost.domain.values.csv_lines import csv_line
from waypost.domain.values.ids import internal, public
from waypost.engine.audience.import_files import FileIntake, ImportPlan, ImportRequest
from waypost.engine.audience.imports import end_import
from waypost.engine.audience.lists import find_list
from waypost.engine.runtime import idempotency
from waypost.engine.runtime.idempotency import Answer
from waypost.engine.runtime.unit import Unit
from waypost.errors import Conflict, Invalid, NotFound
from waypost.storage.database import Row, Tx

#: The formats by content type.
FORMATS = {
    "text/csv": "csv",
    "text/plain": "csv",
    "text/tab-separated-values": "csv",
    "application/csv": "csv",
    "application/vnd.ms-excel": "csv",
    "application/x-ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "application/ndjson": "ndjson",
}
#: Rejected rows that one query reads.
STEP = 1000

_encode = msgspec.json.Encoder().encode
_mapping = msgspec.json.Decoder(dict[str, str | None])
_cells = msgspec.json.Decoder(list[str])
_plan = msgspec.json.Decoder(ImportPlan)

ListId = Annotated[str | None, QueryParameter(name="list", description="Everybody in the file joins this list.")]
Mapping = Annotated[
    str | None,
    QueryParameter(
        name="map",
        max_length=5_000,
        description=f"JSON object: the name of a column, and what it becomes: {', '.join(TARGETS)}, `traits.NAME`, "
        "`traits.NAME:KIND` (text, number, boolean), or null to ignore it. Other columns are found by their names.",
    ),
]
DryRun = Annotated[bool, QueryParameter(name="dry_run", description="Only check the file; nobody changes.")]
SourceName = Annotated[
    str,
    QueryParameter(
        name="source", min_length=1, max_length=64, description="What memberships and subscriptions name as source."
    ),
]
Confirmed = Annotated[
    bool,
    QueryParameter(
        name="confirmed", description="People of lists with double opt-in have confirmed already: nobody is asked."
    ),
]


class ImportColumn(msgspec.Struct, kw_only=True):
    """What a column of the file sets; null if it is ignored."""

    name: str
    target: str | None


class Import(msgspec.Struct, kw_only=True):
    """The import of a file."""

    id: str
    #: running, done, failed or cancelled.
    state: str
    #: Why it failed.
    reason: str | None
    detail: str | None
    dry_run: bool
    list_id: str | None
    source: str
    #: Rows with contents so far, and what became of them; `created` counts new profiles.
    rows: int
    imported: int
    rejected: int
    created: int
    #: The size of the unpacked file, and how much of it was read.
    bytes: int
    bytes_read: int
    format: str
    encoding: str
    delimiter: str | None
    #: Empty for NDJSON, whose rows name their columns themselves.
    columns: list[ImportColumn]
    created_at: str
    updated_at: str
    ended_at: str | None


class ImportAccepted(msgspec.Struct, kw_only=True):
    """The file is stored; its rows are read now."""

    id: str
    state: str


@post(
    "/v1/imports",
    summary="Import people from a file",
    opt=NAMES | {"file": ("text/csv", "application/x-ndjson")},
    status_code=202,
    request_max_body_size=None,
)
async def start_import(
    call: NamedDependency[Call],
    request: Request[Any, Any, Any],
    list_id: ListId = None,
    mapping: Mapping = None,
    dry_run: DryRun = False,
    source: SourceName = "import",
    confirmed: Confirmed = False,
) -> Response[ImportAccepted]:
    """Stores the file, which may be a gzip file, and imports it. Responds when the file is stored."""
    content_type = request.headers.get("content-type", "text/csv").partition(";")[0].strip().lower()
    if content_type not in FORMATS:
        raise Invalid(
            f"The content-type is {content_type[:80]!r}; send text/csv or application/x-ndjson.",
            code="invalid_content_type",
        )
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        raise Invalid("The content-encoding is not supported. Use gzip or none.", code="invalid_encoding")
    if not source.isprintable():
        raise Invalid("The source may contain only printable characters.", code="invalid_parameter")
    number = None if list_id is None else internal("lst", list_id)
    if number is not None:
        await call.read(find_list, call.workspace_id, number)
    parameters = ImportRequest(
        workspace_id=call.workspace_id,
        format=FORMATS[content_type],
        mapping=_read_mapping(mapping),
        list_id=number,
        source=source,
        dry_run=dry_run,
        confirmed=confirmed,
    )
    engine = call.engine
    intake = FileIntake(engine.database, engine.ids, parameters, engine.settings.import_mb * 1_000_000, call.now)
    digest = hashlib.sha256()
    try:
        async for part in request.stream():
            digest.update(part)
            await intake.feed(part, now_us())
        plan = await intake.finish(now_us())
        answer = await _begin(call, request, parameters, intake, plan, digest.digest())
    except BaseException:
        await intake.discard()
        raise
    if msgspec.json.decode(answer.body, type=ImportAccepted).id != public("imp", intake.id):
        # A repeat of a request whose file is stored already.
        await intake.discard()
    engine.imports_due.wake_at(now_us())
    return call.respond(answer)


async def _begin(
    call: Call,
    request: Request[Any, Any, Any],
    parameters: ImportRequest,
    intake: FileIntake,
    plan: ImportPlan,
    digest: bytes,
) -> Answer:
    key = read_key_of(request, digest)
    answer = Answer(202, _encode(ImportAccepted(id=public("imp", intake.id), state="running")))

    async def work(tx: Tx) -> Answer:
        await intake.begin(tx, plan, call.now)
        await call.log_started(tx, _decisions(intake.id, parameters, plan))
        return answer

    engine = call.engine
    return await idempotency.perform(engine.database, engine.encryption, call.workspace_id, key, call.now, work)


def _decisions(import_id: int, request: ImportRequest, plan: ImportPlan) -> dict[str, Any]:
    """Return what was decided about an import, and no name of a column: a file without names begins with a person."""
    return {
        "id": public("imp", import_id),
        "list_id": None if request.list_id is None else public("lst", request.list_id),
        "source": request.source,
        "dry_run": request.dry_run,
        "confirmed": request.confirmed,
        "columns": [column.target for column in plan.columns],
    }


@get("/v1/imports", summary="List imports")
async def list_imports(call: NamedDependency[Call], limit: Limit = 50, after: After = None) -> Page[Import]:
    """Returns the imports, newest first."""

    async def work(tx: Tx) -> list[Row]:
        first = before("imports", after)
        return await tx.rows("imports.page", workspace_id=call.workspace_id, before=first, n=limit + 1)

    return page("imports", await call.read(work), limit, _view, lambda row: int(row[0]))


@get("/v1/imports/{id:str}", summary="Get an import")
async def get_import(call: NamedDependency[Call], id: FromPath[str]) -> Import:
    """Returns how far an import is."""
    return _view(await call.read(_find, call.workspace_id, internal("imp", id)))


@get("/v1/imports/{id:str}/errors", summary="Get the rejected rows of an import", media_type="text/csv")
async def get_import_errors(call: NamedDependency[Call], id: FromPath[str]) -> Stream:
    """Returns a CSV file: the number of each rejected row, the code and the reason, and the cells of the row."""
    import_id = internal("imp", id)
    plan = _plan.decode((await call.read(_find, call.workspace_id, import_id))[2])
    names = [column.name for column in plan.columns]

    async def lines() -> AsyncIterator[str]:
        yield "\ufeff" + csv_line(["row", "code", "column", "reason", *(names or ["object"])])
        after = 0
        while rows := await call.read(_errors, import_id, after):
            yield "".join(
                csv_line([str(number), code, column or "", detail, *_cells.decode(cells)])
                for number, code, column, detail, cells in rows
            )
            after = rows[-1][0]

    return Stream(
        lines(),
        media_type="text/csv",
        headers={"content-disposition": f'attachment; filename="{public("imp", import_id)}-errors.csv"'},
    )


@post("/v1/imports/{id:str}/cancel", summary="Cancel an import", status_code=200)
async def cancel_import(call: NamedDependency[Call], id: FromPath[str]) -> Response[Import]:
    """Stops an import. Rows that were imported stay."""
    import_id = internal("imp", id)

    async def work(tx: Tx, unit: Unit) -> Import:
        row = await _find(tx, call.workspace_id, import_id)
        if not await end_import(tx, unit, import_id, "cancelled"):
            raise Conflict(f"This import is {row[1]}; only one that is running can be cancelled.", code="import_ended")
        return _view(await _find(tx, call.workspace_id, import_id))

    return await call.record(200, work)


def _read_mapping(text: str | None) -> dict[str, str | None] | None:
    if text is None:
        return None
    try:
        mapping = _mapping.decode(text)
    except msgspec.DecodeError as error:
        raise Invalid(
            f'`map` must be a JSON object such as {{"Mail": "email", "Note": null}}: {error}.',
            code="invalid_mapping",
            parameter="map",
        ) from error
    for name, target in mapping.items():
        if target is not None:
            read_target(name, target)
    return mapping


async def _find(tx: Tx, workspace_id: int, import_id: int) -> Row:
    row = await tx.row("imports.get", workspace_id=workspace_id, id=import_id)
    if row is None:
        raise NotFound("No import with this id exists in this workspace.")
    return row


async def _errors(tx: Tx, import_id: int, after: int) -> list[Row]:
    return await tx.rows("import_errors.page", import_id=import_id, after=after, n=STEP)


def _view(row: Row) -> Import:
    (
        id_,
        state,
        plan_text,
        list_id,
        source,
        dry_run,
        size,
        read,
        rows,
        imported,
        rejected,
        created,
        reason,
        detail,
        created_at,
        updated_at,
        ended_at,
    ) = row
    plan = _plan.decode(plan_text)
    return Import(
        id=public("imp", id_),
        state=state,
        reason=reason,
        detail=detail,
        dry_run=bool(dry_run),
        list_id=None if list_id is None else public("lst", list_id),
        source=source,
        rows=rows,
        imported=imported,
        rejected=rejected,
        created=created,
        bytes=size,
        bytes_read=read,
        format=plan.layout.format,
        encoding=plan.layout.encoding,
        delimiter=plan.layout.delimiter if plan.layout.format == "csv" else None,
        columns=[
            ImportColumn(name=column.name, target=f"traits.{column.trait}" if column.trait else column.target or None)
            for column in plan.columns
        ],
        created_at=iso(created_at),
        updated_at=iso(updated_at),
        ended_at=None if ended_at is None else iso(ended_at),
    )


ROUTES = permit("people", [start_import, list_imports, get_import, get_import_errors, cancel_import])
