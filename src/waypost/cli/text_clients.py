"""`waypost text-clients`: clients of the text-message API."""

import json
from collections.abc import Callable
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.markup import escape

from waypost.cli.accounts import LAST, print_json
from waypost.cli.options import data_option, json_option, open_secrets, opened
from waypost.clock import Ids, iso, now_us
from waypost.domain.texts.client import (
    DEFAULT_METRIC,
    LARGEST_MATCHES,
    LARGEST_RATE,
    RATE_LIMIT,
    CheckLinks,
    KlaviyoCallback,
    WebhookCallback,
)
from waypost.domain.values.egress_guard import parse_networks
from waypost.domain.values.ids import internal, public
from waypost.engine.accounts.workspaces import require_workspace
from waypost.engine.providers.registry import ConnectionRegistry
from waypost.engine.runtime.nodes import COMMAND_LINE
from waypost.engine.texts.clients import (
    TextClientDraft,
    TextClientOwner,
    TextClientRecord,
    delete_client,
    find_client,
    list_clients,
    rotate_secret,
)
from waypost.errors import Invalid
from waypost.settings import Settings
from waypost.storage.database import Database, Tx

workspace_option = click.option(
    "--workspace", default="ws_0000000000000001", show_default=True, help="The workspace of the client."
)


@click.group("text-clients")
def text_clients() -> None:
    """List, add, change, rotate and delete clients of the text-message API."""


@text_clients.command("list")
@data_option
@workspace_option
@json_option
async def list_(data: str | None, workspace: str, as_json: bool) -> None:
    """List the text clients of a workspace, without their secrets."""
    async with opened(data) as (database, _):
        records = await database.read(_clients_of, internal("ws", workspace))
    if as_json:
        print_json({"data": [_view(record) for record in records], "next": None})
        return
    for record in records:
        line = f"{public('tcl', record.id)}  {record.client_id}  {record.rate_limit:g}/s  {escape(record.name)}"
        Console().print(line, highlight=False)


def settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for the settings of a client that both `add` and `change` have."""
    kinds = [when.value for when in CheckLinks]
    for option in (
        click.option("--callback-url", help="The statuses of its texts go to this URL, signed as webhooks are."),
        click.option("--klaviyo-connection", help="The statuses of its texts go to Klaviyo by this connection."),
        click.option("--rate-limit", type=float, help=f"Texts per second; {RATE_LIMIT:g} for a new client."),
        click.option(
            "--check-links",
            type=click.Choice(kinds),
            help="When links are checked: before the answer (now, for a new client), before the sending, or never.",
        ),
        click.option("--connection", help="The connection that sends its texts; without it, the order of the channel."),
        click.option(
            "--metric", help=f"The metric of texts without a metricName; {DEFAULT_METRIC!r} for a new client."
        ),
        click.option(
            "--max-matches",
            type=int,
            help="The most numbers of a person who is named by the email; 1 for a new client.",
        ),
        click.option(
            "--utm",
            multiple=True,
            metavar="NAME=VALUE",
            help="A parameter that links get if they lack it, such as utm_source=sms. May be given several times.",
        ),
    ):
        command = option(command)
    return command


@text_clients.command("add")
@data_option
@workspace_option
@click.option("--name", required=True, help="The name of the client.")
@settings_options
@json_option
async def add(data: str | None, workspace: str, as_json: bool, **given: Any) -> None:
    """Create a text client. Its secret is shown only once."""
    draft = TextClientDraft(**_settings(given))
    workspace_id = internal("ws", workspace)
    async with opened(data) as (database, settings):
        owner = await _owner(database, settings)

        async def work(tx: Tx) -> tuple[TextClientRecord, str]:
            await require_workspace(tx, workspace_id)
            return await owner.create(tx, workspace_id, owner.check(workspace_id, draft), now_us())

        record, secret = await database.transact(work)
    _print_secret(record, secret, as_json)


@text_clients.command("get")
@data_option
@workspace_option
@click.argument("client")
@json_option
async def get(data: str | None, workspace: str, client: str, as_json: bool) -> None:
    """Show a text client (tcl_…), without its secret."""
    async with opened(data) as (database, _):
        record = await database.read(find_client, internal("ws", workspace), internal("tcl", client))
    _print_client(record, as_json)


@text_clients.command("change")
@data_option
@workspace_option
@click.option("--name", help="The name of the client.")
@settings_options
@click.option("--no-callback", is_flag=True, help="Report its statuses to nobody.")
@click.option("--no-connection", is_flag=True, help="Send its texts by the order of the channel.")
@click.option("--no-utm", is_flag=True, help="Go by the workspace for the parameters of its links.")
@click.argument("client")
@json_option
async def change(data: str | None, workspace: str, client: str, as_json: bool, **given: Any) -> None:
    """Change a text client (tcl_…); what is not given stays. Running servers use it within two seconds."""
    changes = _settings(given)
    workspace_id, id_ = internal("ws", workspace), internal("tcl", client)
    async with opened(data) as (database, settings):
        owner = await _owner(database, settings)
        record = await database.transact(owner.update, workspace_id, id_, changes, now_us())
    _print_client(record, as_json)


@text_clients.command("rotate")
@data_option
@workspace_option
@click.option("--overlap", type=int, default=86_400, show_default=True, help="Seconds in which both secrets are valid.")
@click.argument("client")
@json_option
async def rotate(data: str | None, workspace: str, overlap: int, client: str, as_json: bool) -> None:
    """Give a text client (tcl_…) a new secret. It is shown only once."""
    async with opened(data) as (database, _):
        record, secret = await database.transact(
            rotate_secret, internal("ws", workspace), internal("tcl", client), max(overlap, 0), now_us()
        )
    _print_secret(record, secret, as_json)


@text_clients.command("delete")
@data_option
@workspace_option
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.argument("client")
async def delete(data: str | None, workspace: str, yes: bool, client: str) -> None:
    """Delete a text client (tcl_…). Running servers refuse it within two seconds."""
    if not yes:
        click.confirm(f"Delete {client}?", abort=True)
    async with opened(data) as (database, _):
        await database.transact(delete_client, internal("ws", workspace), internal("tcl", client), now_us())


def _settings(given: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a client that the options name. Raise Invalid for a pair that contradicts itself."""
    url, klaviyo, connection = given["callback_url"], given["klaviyo_connection"], given["connection"]
    for name, several in (
        ("callback", (url, klaviyo, given.get("no_callback"))),
        ("connection", (connection, given.get("no_connection"))),
        ("utm", (given["utm"], given.get("no_utm"))),
    ):
        if sum(map(bool, several)) > 1:
            raise Invalid(f"Give only one option for the {name}.", code="conflicting_options")
    found = {
        "name": given["name"],
        "rate_limit": given["rate_limit"],
        "check_links": None if given["check_links"] is None else CheckLinks(given["check_links"]),
        "connection_id": internal("con", connection) if connection else None,
        "default_metric": given["metric"],
        "max_matches": given["max_matches"],
        "utm": dict(_parameter(one) for one in given["utm"]) or None,
        "callback": KlaviyoCallback(connection_id=klaviyo) if klaviyo else WebhookCallback(url=url) if url else None,
    }
    rate, matches = found["rate_limit"], found["max_matches"]
    if rate is not None and not 0 < rate <= LARGEST_RATE:
        raise Invalid(f"--rate-limit must be more than 0 and at most {LARGEST_RATE}.", code="invalid_rate_limit")
    if matches is not None and not 1 <= matches <= LARGEST_MATCHES:
        raise Invalid(f"--max-matches must be from 1 to {LARGEST_MATCHES}.", code="invalid_max_matches")
    emptied = {"callback": "no_callback", "connection_id": "no_connection", "utm": "no_utm"}
    return {name: value for name, value in found.items() if value is not None or given.get(emptied.get(name, ""))}


def _parameter(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise Invalid(f"--utm {text[:80]} is not NAME=VALUE, such as utm_source=sms.", code="invalid_utm")
    return name, value


async def _owner(database: Database, settings: Settings) -> TextClientOwner:
    encryption = await open_secrets(database, settings)
    connections = ConnectionRegistry(database, encryption, settings.data_center_urls)
    await connections.refresh()
    return TextClientOwner(Ids(COMMAND_LINE), encryption, parse_networks(settings.allow_private), connections)


def _print_client(record: TextClientRecord, as_json: bool) -> None:
    view = _view(record)
    if as_json:
        print_json(view)
        return
    for name, value in view.items():
        shown = json.dumps(msgspec.to_builtins(value)) if not isinstance(value, str) else value
        Console().print(f"[bold]{name:15}[/bold] {escape(shown)}", highlight=False, soft_wrap=True)


def _print_secret(record: TextClientRecord, secret: str, as_json: bool) -> None:
    if as_json:
        print_json(_view(record) | {"client_secret": secret})
        return
    console = Console()
    console.print(f"[bold]Client[/bold]           {public('tcl', record.id)} ({escape(record.name)})", highlight=False)
    console.print(f"[bold]X-Client-ID[/bold]      {record.client_id}", highlight=False)
    console.print(f"[bold]X-Client-Secret[/bold]  {secret}", highlight=False)
    console.print("\nStore the secret now: it is not shown again.")


def _view(record: TextClientRecord) -> dict[str, Any]:
    return {
        "id": public("tcl", record.id),
        "name": record.name,
        "client_id": record.client_id,
        "callback": record.callback,
        "endpoint_id": None if record.endpoint_id is None else public("whk", record.endpoint_id),
        "rate_limit": record.rate_limit,
        "check_links": record.check_links,
        "utm": record.utm,
        "default_metric": record.default_metric,
        "max_matches": record.max_matches,
        "connection_id": None if record.connection_id is None else public("con", record.connection_id),
        "created_at": iso(record.created_at),
        "updated_at": iso(record.updated_at),
    }


async def _clients_of(tx: Tx, workspace_id: int) -> list[TextClientRecord]:
    await require_workspace(tx, workspace_id)
    return await list_clients(tx, workspace_id, LAST, 1000)
