"""The audit log: list it, and export it as a file."""

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, cast

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from litestar.response import Stream

from waypost.api.control.calls import NAMES, Call, permit
from waypost.api.paging import After, Limit, Page, before, made_from, page
from waypost.clock import id_time, iso
from waypost.domain.values.csv_lines import csv_line
from waypost.domain.values.ids import internal, public
from waypost.domain.values.times import parse_time
from waypost.engine.accounts import audit
from waypost.errors import Invalid
from waypost.storage.database import Tx

#: Changes that one query of an export reads. Each side of a change has up to 16,000 characters.
EXPORTED = 200
_COLUMNS = ("id", "at", "actor_kind", "actor_id", "actor_name", "action", "resource", "before", "after", "ip")


class Actor(msgspec.Struct, kw_only=True):
    """Who changed something: `user`, `key` or `command`."""

    kind: str
    id: str | None
    name: str


class Change(msgspec.Struct, kw_only=True):
    """A change: what differs before and after it, with secrets masked."""

    id: str
    at: str
    actor: Actor
    action: str
    resource: str
    before: Any
    after: Any
    ip: str | None


ActorFilter = Annotated[
    str | None, QueryParameter(name="actor", description="Return only changes by this user or key.")
]
ActionFilter = Annotated[
    str | None,
    QueryParameter(name="action", max_length=100, description="Return only this operation, such as create_key."),
]
_TIME = {"format": "date-time"}
Since = Annotated[
    str | None,
    QueryParameter(name="since", schema_extra=_TIME, description="Return only changes at or after this time."),
]
Until = Annotated[
    str | None, QueryParameter(name="until", schema_extra=_TIME, description="Return only changes before this time.")
]
Format = Annotated[
    str | None,
    QueryParameter(
        name="format",
        pattern="^(json|csv|ndjson)$",
        description="`csv` and `ndjson` return all changes as one file, from the newest on.",
    ),
]
TextFilter = Annotated[
    str | None, QueryParameter(name="q", max_length=200, description="Return only changes with this text anywhere.")
]


def _csv(change: Change) -> str:
    actor = change.actor
    sides = ("" if side is None else msgspec.json.encode(side).decode() for side in (change.before, change.after))
    cells = (change.id, change.at, actor.kind, actor.id or "", actor.name, change.action, change.resource)
    return csv_line([*cells, *sides, change.ip or ""])


def _ndjson(change: Change) -> str:
    return msgspec.json.encode(change).decode() + "\n"


#: What the log is exported as: the lines of each media type.
_FILES: dict[str, Callable[[Change], str]] = {"text/csv": _csv, "application/x-ndjson": _ndjson}


@get("/v1/audit", summary="List who changed what", opt=NAMES | {"permission": "audit.read", "also": (*_FILES,)})
async def list_audit(
    call: NamedDependency[Call],
    limit: Limit = 50,
    after: After = None,
    since: Since = None,
    until: Until = None,
    actor: ActorFilter = None,
    action: ActionFilter = None,
    q: TextFilter = None,
    format: Format = None,
) -> Response[Page[Change]]:
    """Returns the audit log, newest first. Nothing changes or deletes its entries."""
    for name, text in (("action", action), ("q", q)):
        if text is not None and "\0" in text:
            raise Invalid(f"`{name}` cannot contain the character U+0000. Remove it.", code="invalid_parameter")
    first = before("audit", after)
    if until is not None:
        first = min(first, made_from(parse_time(until)))

    async def read(tx: Tx, before_id: int, n: int) -> list[dict[str, Any]]:
        return await audit.list_changes(
            tx,
            call.workspace_id,
            before_id,
            n,
            since=0 if since is None else made_from(parse_time(since)),
            actor_id=0 if actor is None else internal("key" if actor.startswith("key_") else "usr", actor),
            action=action or "",
            q=q or "",
        )

    if format in ("csv", "ndjson"):
        kind = "text/csv" if format == "csv" else "application/x-ndjson"
        # What is wrong with the request is found before the answer begins.
        start = await call.read(read, first, EXPORTED)
        file = Stream(
            _export(call, read, start, _FILES[kind]),
            media_type=kind,
            headers={"content-disposition": f'attachment; filename="audit.{format}"'},
        )
        return cast(Response[Page[Change]], file)
    rows = await call.read(read, first, limit + 1)
    return Response(page("audit", rows, limit, _change, lambda row: int(row["id"])))


async def _export(
    call: Call, read: Any, rows: list[dict[str, Any]], line: Callable[[Change], str]
) -> AsyncIterator[str]:
    """Yield the changes as lines of a file, page by page: only one page is in memory."""
    if line is _csv:
        yield "\ufeff" + csv_line(_COLUMNS)
    while rows:
        yield "".join(line(_change(row)) for row in rows)
        rows = await call.read(read, int(rows[-1]["id"]), EXPORTED) if len(rows) == EXPORTED else []


def _change(row: dict[str, Any]) -> Change:
    prefix = {"user": "usr", "key": "key"}.get(row["actor_kind"])
    return Change(
        id=public("aud", row["id"]),
        at=iso(id_time(row["id"])),
        actor=Actor(
            kind=row["actor_kind"],
            id=public(prefix, row["actor_id"]) if prefix else None,
            name=row["actor_name"],
        ),
        action=row["action"],
        resource=row["resource"],
        before=_json(row["before"]),
        after=_json(row["after"]),
        ip=row["ip"] or None,
    )


def _json(text: str | None) -> Any:
    return None if text is None else msgspec.json.decode(text)


ROUTES = permit("settings", [list_audit])
