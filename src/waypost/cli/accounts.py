"""`waypost init`, `workspaces`, `keys` and `reencrypt`: workspaces, API keys, and rotation of the secret key."""

from typing import Any

import click
import msgspec
from rich.console import Console
from rich.markup import escape

from waypost.cli.options import data_option, json_option, open_secrets, opened
from waypost.clock import Ids, iso, iso_or_none, now_us
from waypost.domain.accounts.api_keys import Scope
from waypost.domain.accounts.permissions import NAMES, Role
from waypost.domain.accounts.sign_in import check_password, check_user_email
from waypost.domain.values.ids import internal, public
from waypost.engine.accounts.passwords import Passwords
from waypost.engine.accounts.users import add_member, add_user
from waypost.engine.accounts.workspaces import create_key, create_workspace, delete_key, list_keys, require_workspace
from waypost.engine.runtime.key_rotation import reencrypt_all
from waypost.engine.runtime.nodes import COMMAND_LINE
from waypost.errors import Conflict, Invalid
from waypost.storage.database import Row, Tx

LAST = (1 << 63) - 1


def print_json(value: object) -> None:
    """Print a JSON document to standard output."""
    click.echo(msgspec.json.encode(value).decode())


@click.command()
@data_option
@click.option("--name", default="My workspace", show_default=True, help="The name of the workspace.")
@click.option("--email", help="The address of the owner, who signs in with it in the browser.")
@click.option("--password", help="The password of the owner; asked for if --email is given without it.")
@json_option
async def init(data: str | None, name: str, email: str | None, password: str | None, as_json: bool) -> None:
    """Create the first workspace with an API key, a write key, and an owner. The keys are shown only once.

    Without --email, the first visitor of the web interface becomes the owner, with a code that `waypost serve` prints.
    """
    owner = None
    if email is None and password is not None:
        raise Invalid("--password needs --email.", code="invalid_email")
    if email is not None:
        email = check_user_email(email)
        if password is None:
            password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        owner = (email, await Passwords().hash(check_password(password, email)))
    async with opened(data) as (database, settings):
        await open_secrets(database, settings)
        made = await database.transact(_first_workspace, name, now_us(), owner)
    _print_workspace(made, name, as_json, "Next: [bold]waypost serve[/bold]")


def _print_workspace(made: dict[str, str], name: str, as_json: bool, then: str) -> None:
    """Print a new workspace and its keys."""
    if as_json:
        print_json(made)
        return
    console = Console()
    console.print(f"[bold]Workspace[/bold]  {made['workspace']} ({escape(name)})", highlight=False)
    console.print(
        f"[bold]API key[/bold]    {made['api_key']}   full access: /v1/webhooks, /v1/ledger, …", highlight=False
    )
    console.print(
        f"[bold]Write key[/bold]  {made['write_key']}   for Segment clients; can only send events", highlight=False
    )
    if "user" in made:
        console.print(f"[bold]Owner[/bold]      {made['user']}   signs in at / with the email address", highlight=False)
    console.print(f"\nStore these keys now: they are not shown again. {then}")


@click.group()
def workspaces() -> None:
    """List and add workspaces. Each has its own keys, events, profiles, webhooks and connections."""


@workspaces.command("list")
@data_option
@json_option
async def list_workspaces(data: str | None, as_json: bool) -> None:
    """List all workspaces."""
    async with opened(data) as (database, _):
        rows = await database.read(_workspaces)
    views = [{"id": public("ws", id_), "name": name, "created_at": iso(at)} for id_, name, at in rows]
    if as_json:
        print_json({"data": views, "next": None})
        return
    for row in views:
        click.echo(f"{row['id']}  {row['created_at'][:10]}  {row['name']}")


@workspaces.command("add")
@data_option
@click.option("--name", required=True, help="The name of the workspace.")
@json_option
async def add_workspace(data: str | None, name: str, as_json: bool) -> None:
    """Create another workspace with an API key and a write key. The keys are shown only once."""
    if not name.strip() or not name.isprintable():
        raise Invalid(
            "A workspace name must have at least one character, and may contain only printable characters.",
            code="invalid_name",
        )
    async with opened(data) as (database, _):
        made = await database.transact(_another_workspace, name, now_us())
    _print_workspace(made, name, as_json, "A running `waypost serve` accepts them immediately.")


@click.group()
def keys() -> None:
    """List, add and delete API keys."""


@keys.command("list")
@data_option
@click.option("--workspace", default="ws_0000000000000001", show_default=True, help="The workspace of the keys.")
@json_option
async def list_(data: str | None, workspace: str, as_json: bool) -> None:
    """List the API keys of a workspace, without the keys themselves."""
    async with opened(data) as (database, _):
        rows = await database.read(_keys_of, internal("ws", workspace))
    views = [
        row
        | {
            "id": public("key", row["id"]),
            "created_at": iso(row["created_at"]),
            "expires_at": iso_or_none(row["expires_at"]),
            "last_used_at": iso_or_none(row["last_used_at"]),
        }
        for row in rows
    ]
    if as_json:
        print_json({"data": views, "next": None})
        return
    for row in views:
        Console().print(f"{row['id']}  {row['hint']:<10} {','.join(row['scopes']):<20} {row['name']}", highlight=False)


@keys.command("add")
@data_option
@click.option("--workspace", default="ws_0000000000000001", show_default=True, help="The workspace of the key.")
@click.option("--name", default="", help="The name of the key.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([*(s.value for s in Scope), *sorted(NAMES - {"workspace.delete"})]),
    metavar="SCOPE",
    required=True,
    help="What the key can do: ingest, read, manage, or a permission such as people.read; repeatable.",
)
@json_option
async def add(data: str | None, workspace: str, name: str, scopes: tuple[str, ...], as_json: bool) -> None:
    """Create an API key. The key is shown only once."""
    async with opened(data) as (database, _):
        ids = Ids(COMMAND_LINE)
        made = await database.transact(create_key, ids, internal("ws", workspace), name, list(scopes), now_us())
    if as_json:
        print_json(made | {"id": public("key", made["id"]), "created_at": iso(made["created_at"])})
        return
    Console().print(f"{public('key', made['id'])}  {made['key']}", highlight=False)


@keys.command("delete")
@data_option
@click.option("--workspace", default="ws_0000000000000001", show_default=True, help="The workspace of the key.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.argument("key")
async def delete(data: str | None, workspace: str, yes: bool, key: str) -> None:
    """Delete an API key. Running servers refuse it within five seconds."""
    if not yes:
        click.confirm(f"Delete {key}?", abort=True)
    async with opened(data) as (database, _):
        await database.transact(delete_key, internal("ws", workspace), internal("key", key))


@click.command()
@data_option
@json_option
async def reencrypt(data: str | None, as_json: bool) -> None:
    """Re-encrypt all stored secrets with the first secret key, so that older keys can be removed from the settings."""
    async with opened(data) as (database, settings):
        done = await reencrypt_all(database, await open_secrets(database, settings))
    if as_json:
        print_json(done)
        return
    click.echo(f"{done.changed} of {done.seen} rows with secrets were re-encrypted")


async def _workspaces(tx: Tx) -> list[Row]:
    return await tx.rows("workspaces.list")


async def _keys_of(tx: Tx, workspace_id: int) -> list[dict[str, Any]]:
    await require_workspace(tx, workspace_id)
    return await list_keys(tx, workspace_id, LAST, 1000)


async def _another_workspace(tx: Tx, name: str, now: int) -> dict[str, str]:
    if not await tx.rows("workspaces.list"):
        raise Conflict("No workspace exists. Run `waypost init` to create the first one.", code="not_initialised")
    return await create_workspace(tx, Ids(COMMAND_LINE), name, now)


async def _first_workspace(tx: Tx, name: str, now: int, owner: tuple[str, str] | None) -> dict[str, str]:
    if await tx.rows("workspaces.list"):
        raise Conflict(
            "A workspace already exists. Run `waypost keys add --scope manage` to create a key for it.",
            code="already_initialised",
        )
    ids = Ids(COMMAND_LINE)
    made = await create_workspace(tx, ids, name, now)
    if owner is not None:
        user_id = await add_user(tx, ids, owner[0], "", owner[1], now)
        await add_member(tx, user_id, internal("ws", made["workspace"]), Role.OWNER, now)
        made["user"] = public("usr", user_id)
    return made
