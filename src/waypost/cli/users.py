"""`waypost users`: list users, add one, give a link for a new password, remove second factors."""

import click

from waypost.cli.accounts import LAST, print_json
from waypost.cli.options import data_option, json_option, opened
from waypost.clock import Ids, iso, now_us
from waypost.domain.accounts import sign_in
from waypost.domain.accounts.permissions import Role, check_role
from waypost.domain.values.ids import internal, public
from waypost.engine.accounts import account_tokens, second_factors
from waypost.engine.accounts.passkeys import delete_passkeys
from waypost.engine.accounts.passwords import Passwords
from waypost.engine.accounts.users import add_member, add_user, find_user, list_members
from waypost.engine.accounts.workspaces import require_workspace
from waypost.engine.runtime.nodes import COMMAND_LINE
from waypost.errors import NotFound
from waypost.storage.database import Tx

workspace_option = click.option(
    "--workspace", default="ws_0000000000000001", show_default=True, help="The workspace of the user."
)


@click.group()
def users() -> None:
    """List and add users, and help those who cannot sign in."""


@users.command("list")
@data_option
@workspace_option
@json_option
async def list_(data: str | None, workspace: str, as_json: bool) -> None:
    """List the users of a workspace."""
    async with opened(data) as (database, _):
        rows = await database.read(list_members, internal("ws", workspace), LAST, 1000)
    views = [
        {
            "id": public("usr", row["id"]),
            "email": row["email"],
            "name": row["name"],
            "role": row["role"],
            "totp": row["totp_confirmed_at"] is not None,
            "passkeys": row["passkeys"],
            "joined_at": iso(row["created_at"]),
        }
        for row in rows
    ]
    if as_json:
        print_json({"data": views, "next": None})
        return
    for view in views:
        click.echo(f"{view['id']}  {view['role']:<10} {view['email']}  {view['name']}")


@users.command("add")
@data_option
@workspace_option
@click.option("--email", required=True, help="The address that the user signs in with.")
@click.option("--name", default="", help="The name of the user.")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default="viewer",
    show_default=True,
    help="What the user may do there.",
)
@click.password_option(help="The password; asked for if it is not given.")
@json_option
async def add(data: str | None, workspace: str, email: str, name: str, role: str, password: str, as_json: bool) -> None:
    """Add a user to a workspace. A user who exists gets the role and keeps the password."""
    email = sign_in.check_user_email(email)
    name = sign_in.check_optional_name(name)
    hashed = await Passwords().hash(sign_in.check_password(password, email))
    async with opened(data) as (database, _):
        user_id = await database.transact(
            _add, internal("ws", workspace), email, name, hashed, check_role(role), now_us()
        )
    if as_json:
        print_json({"id": public("usr", user_id), "email": email, "role": role})
        return
    click.echo(f"{public('usr', user_id)}  {role}  {email}")


@users.command("reset-password")
@data_option
@click.argument("email")
@json_option
async def reset_password(data: str | None, email: str, as_json: bool) -> None:
    """Print a link with which a user chooses a new password. It is good for one hour, and once."""
    async with opened(data) as (database, settings):
        url = await database.transact(_reset, sign_in.check_user_email(email), settings.base_url, now_us())
    if as_json:
        print_json({"url": url})
        return
    click.echo(url)


@users.command("remove-totp")
@data_option
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.argument("email")
async def remove_totp(data: str | None, yes: bool, email: str) -> None:
    """Turn off the second factor of a user who has lost the phone and the recovery codes."""
    if not yes:
        click.confirm(f"Turn off the second factor of {email}?", abort=True)
    async with opened(data) as (database, _):
        await database.transact(_remove_totp, sign_in.check_user_email(email), now_us())


@users.command("remove-passkeys")
@data_option
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.argument("email")
async def remove_passkeys(data: str | None, yes: bool, email: str) -> None:
    """Delete the passkeys of a user who has lost them; the password signs in."""
    if not yes:
        click.confirm(f"Delete the passkeys of {email}?", abort=True)
    async with opened(data) as (database, _):
        await database.transact(_remove_passkeys, sign_in.check_user_email(email))


async def _add(tx: Tx, workspace_id: int, email: str, name: str, hashed: str, role: Role, now: int) -> int:
    await require_workspace(tx, workspace_id)
    known = await find_user(tx, email)
    user_id = known["id"] if known else await add_user(tx, Ids(COMMAND_LINE), email, name, hashed, now)
    await add_member(tx, user_id, workspace_id, role, now)
    return int(user_id)


async def _reset(tx: Tx, email: str, base_url: str, now: int) -> str:
    url = await account_tokens.make_reset(tx, Ids(COMMAND_LINE), email, base_url, now)
    if url is None:
        raise _no_user(email)
    return url


async def _remove_totp(tx: Tx, email: str, now: int) -> None:
    user = await find_user(tx, email)
    if user is None:
        raise _no_user(email)
    await second_factors.remove_totp(tx, user["id"], now)


async def _remove_passkeys(tx: Tx, email: str) -> None:
    user = await find_user(tx, email)
    if user is None:
        raise _no_user(email)
    await delete_passkeys(tx, user["id"])


def _no_user(email: str) -> NotFound:
    return NotFound(f"There is no user with the address {email}. `waypost users list` lists those of a workspace.")
