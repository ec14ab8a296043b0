"""`waypost connectors`: list connectors, check a definition, add one to a workspace."""

from typing import TextIO

import click
from rich.console import Console

from waypost.cli.accounts import print_json
from waypost.cli.options import data_option, json_option, open_secrets, opened
from waypost.clock import Ids, now_us
from waypost.domain.values.ids import internal
from waypost.engine.providers.connectors import shipped
from waypost.engine.providers.own_connectors import list_own, read_definition, save_definition
from waypost.engine.runtime.nodes import COMMAND_LINE

file_argument = click.argument("file", type=click.File("r", encoding="utf-8"))


@click.group()
def connectors() -> None:
    """List, check and add connectors."""


@connectors.command("list")
@data_option
@click.option("--workspace", default="ws_0000000000000001", show_default=True, help="The workspace of the connectors.")
@json_option
async def list_(data: str | None, workspace: str, as_json: bool) -> None:
    """List the workspace's own connectors and the built-in ones."""
    async with opened(data) as (database, _):
        own = {one.connector.name: one.connector for one in await database.read(list_own, internal("ws", workspace))}
    found = shipped() | own
    views = [
        {"name": name, "label": found[name].label, "channel": found[name].channel, "own": name in own}
        for name in sorted(found)
    ]
    if as_json:
        print_json({"data": views, "next": None})
        return
    for row in views:
        mark = "own" if row["own"] else ""
        Console().print(f"{row['name']:<24} {row['channel']:<6} {mark:<4} {row['label']}", highlight=False)


@connectors.command("check")
@file_argument
@json_option
async def check(file: TextIO, as_json: bool) -> None:
    """Check a definition without adding it. The first error is printed with its line."""
    connector = read_definition(file.read())
    if as_json:
        print_json({"name": connector.name, "channel": connector.channel})
        return
    click.echo(f"{connector.name} ({connector.channel}) is valid")


@connectors.command("add")
@data_option
@click.option("--workspace", default="ws_0000000000000001", show_default=True, help="The workspace to add it to.")
@file_argument
@json_option
async def add(data: str | None, workspace: str, file: TextIO, as_json: bool) -> None:
    """Add a connector from a TOML file, or replace the workspace's own connector of the same name."""
    definition = file.read()
    async with opened(data) as (database, settings):
        encryption = await open_secrets(database, settings)
        workspace_id = internal("ws", workspace)
        made = await database.transact(
            save_definition, Ids(COMMAND_LINE), encryption, workspace_id, definition, now_us()
        )
    if as_json:
        print_json({"name": made.connector.name, "channel": made.connector.channel})
        return
    click.echo(f"{made.connector.name} ({made.connector.channel}) was added")
