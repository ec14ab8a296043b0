"""`waypost import`: import people from a file, with a progress bar."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, BinaryIO

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from waypost.cli.accounts import print_json
from waypost.cli.options import data_option, json_option, set_up_logs
from waypost.cli.serve import running
from waypost.clock import Ids, now_us
from waypost.domain.audience.import_columns import read_target
from waypost.domain.values.ids import internal, public
from waypost.engine.accounts.workspaces import require_workspace
from waypost.engine.audience.import_files import FileIntake, ImportRequest
from waypost.engine.audience.lists import find_list
from waypost.engine.runtime.nodes import COMMAND_LINE
from waypost.errors import Conflict, Invalid
from waypost.settings import Settings, load_settings
from waypost.storage.database import Database, Tx
from waypost.storage.open import open_database

#: Bytes that are read from the file at a time, and seconds between two looks at the import.
PIECE, LOOK_S = 256 * 1024, 0.2
#: The suffixes of files of objects.
OBJECTS = (".ndjson", ".jsonl", ".ndjson.gz", ".jsonl.gz")


@click.command("import")
@data_option
@click.option("--workspace", default="ws_0000000000000001", show_default=True, help="The workspace of the people.")
@click.option("--list", "list_id", metavar="LIST", help="Everybody in the file joins this list (lst_…).")
@click.option(
    "--map",
    "mapping",
    multiple=True,
    metavar="COLUMN=TARGET",
    help="What a column becomes: email, phone, user_id, first_name, traits.NAME, tags, list, …; empty: ignored.",
)
@click.option("--format", "format_", type=click.Choice(["csv", "ndjson"]), help="Default: by the name of the file.")
@click.option("--source", default="import", show_default=True, help="The source of memberships and subscriptions.")
@click.option("--confirmed", is_flag=True, help="People of lists with double opt-in have confirmed already.")
@click.option("--dry-run", is_flag=True, help="Only check the file; nobody changes.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
async def import_(
    data: str | None,
    workspace: str,
    list_id: str | None,
    mapping: tuple[str, ...],
    format_: str | None,
    source: str,
    confirmed: bool,
    dry_run: bool,
    file: Path,
    as_json: bool,
) -> None:
    """Import people from a CSV or NDJSON file, which may be a gzip file.

    A running server reads the file; without one, this command does. Exit code 1 if the import fails.
    """
    request = ImportRequest(
        workspace_id=internal("ws", workspace),
        format=format_ or ("ndjson" if file.name.lower().endswith(OBJECTS) else "csv"),
        mapping=_read_mapping(mapping),
        list_id=internal("lst", list_id) if list_id else None,
        source=source,
        dry_run=dry_run,
        confirmed=confirmed,
    )
    settings = load_settings(data=data, log_level="error")
    set_up_logs(settings)
    console = Console(stderr=True)
    async with _reading(settings) as (database, ids):
        with _progress(console, hidden=as_json) as progress:
            import_id = await _send(database, ids, settings, request, file, progress)
            found = await _watch(database, request.workspace_id, import_id, progress)
    if as_json:
        print_json(found)
    else:
        verb = "would be imported" if dry_run else "imported"
        line = f"{found['id']} {found['state']}: {found['imported']:,} {verb}, {found['rejected']:,} rejected"
        click.echo(line)
        if found["rejected"]:
            click.echo(f"The rejected rows: GET /v1/imports/{found['id']}/errors")
        if found["detail"]:
            click.echo(found["detail"])
    if found["state"] != "done":
        raise SystemExit(1)


@contextlib.asynccontextmanager
async def _reading(settings: Settings) -> AsyncIterator[tuple[Database, Ids]]:
    """Run an engine that reads imports and sends nothing; with SQLite, only if no server runs."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            engine = await stack.enter_async_context(running(settings, sends=False))
        except Conflict as error:
            if error.code != "data_in_use":
                raise
        else:
            yield engine.database, engine.ids
            return
        database = open_database(settings)
        stack.push_async_callback(database.close)
        yield database, Ids(COMMAND_LINE)


async def _send(
    database: Database, ids: Ids, settings: Settings, request: ImportRequest, file: Path, progress: Progress
) -> int:
    """Store the file; return the import, which runs from now on."""

    async def check(tx: Tx) -> None:
        await require_workspace(tx, request.workspace_id)
        if request.list_id is not None:
            await find_list(tx, request.workspace_id, request.list_id)

    await database.read(check)
    intake = FileIntake(database, ids, request, settings.import_mb * 1_000_000, now_us())
    task = progress.add_task("reading the file", total=await asyncio.to_thread(lambda: file.stat().st_size), rate="")
    try:
        with file.open("rb") as opened:
            while piece := await asyncio.to_thread(_read, opened):
                await intake.feed(piece, now_us())
                progress.advance(task, len(piece))
        plan = await intake.finish(now_us())
    except BaseException:
        await intake.discard()
        raise
    await database.transact(intake.begin, plan, now_us())
    return intake.id


def _read(opened: BinaryIO) -> bytes:
    return opened.read(PIECE)


async def _watch(database: Database, workspace_id: int, import_id: int, progress: Progress) -> dict[str, Any]:
    """Show how far an import is; return what became of it."""

    async def read(tx: Tx) -> dict[str, Any]:
        return (await tx.records("imports.get", workspace_id=workspace_id, id=import_id))[0]

    task = progress.add_task("importing", total=None, rate="")
    started = now_us()
    while True:
        found = await database.read(read)
        seconds = max(now_us() - started, 1) / 1_000_000
        progress.update(
            task,
            total=found["bytes"],
            completed=found["position"],
            rate=f"{found['rows']:,} rows, {found['rows'] / seconds:,.0f}/s",
        )
        if found["state"] != "running":
            break
        await asyncio.sleep(LOOK_S)
    shown = ("state", "reason", "detail", "rows", "imported", "rejected", "created")
    return {"id": public("imp", import_id), **{name: found[name] for name in shown}}


def _progress(console: Console, *, hidden: bool) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[rate]}"),
    )
    return Progress(*columns, console=console, disable=hidden)


def _read_mapping(pairs: tuple[str, ...]) -> dict[str, str | None] | None:
    """Return the mapping of columns: `COLUMN=TARGET`, or one JSON object as in the API."""
    if len(pairs) == 1 and pairs[0].lstrip().startswith("{"):
        try:
            mapping = msgspec.json.decode(pairs[0], type=dict[str, str | None])
        except msgspec.DecodeError as error:
            raise Invalid(f"--map is not a JSON object of columns: {error}.", code="invalid_mapping") from error
    else:
        if wrong := [pair for pair in pairs if "=" not in pair]:
            raise Invalid(f"--map {json.dumps(wrong[0])} must be COLUMN=TARGET.", code="invalid_mapping")

        mapping = {name: target or None for name, _, target in (pair.rpartition("=") for pair in pairs)}
    for name, target in mapping.items():
        if target is not None:
            read_target(name, target)
    return mapping or None
