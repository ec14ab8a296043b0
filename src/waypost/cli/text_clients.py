"""`waypost text-clients`: clients of the text-message API."""

from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from waypost.cli.accounts import LAST, print_json
from waypost.cli.options import data_option, json_option, open_secrets, opened
from waypost.clock import Ids, iso, now_us
from waypost.domain.texts.client import DEFAULT_METRIC, RATE_LIMIT, CheckLinks, KlaviyoCallback, WebhookCallback
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
    list_clients,
    rotate_secret,
)
from waypost.errors import Invalid
from waypost.storage.database import Tx

workspace_option = click.option(
    "--workspace", default="ws_0000000000000001", show_default=True, help="The workspace of the client."
)


@click.group("text-clients")
def text_clients() -> None:
    """List, add, rotate and delete clients of the text-message API."""


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


@text_clients.command("add")
@data_option
@workspace_option
@click.option("--name", required=True, help="The name of the client.")
@click.option("--callback-url", help="The statuses of its texts go to this URL, signed as webhooks are.")
@click.option("--klaviyo-connection", help="The statuses of its texts go to Klaviyo by this connection.")
@click.option("--rate-limit", type=float, default=RATE_LIMIT, show_default=True, help="Texts per second.")
@click.option(
    "--check-links",
    type=click.Choice([when.value for when in CheckLinks]),
    default=CheckLinks.NOW.value,
    show_default=True,
    help="When links are checked: before the answer, before the sending, or never.",
)
@click.option("--connection", help="The connection that sends its texts; default: the order of the channel.")
@click.option("--metric", default=DEFAULT_METRIC, show_default=True, help="The metric of texts without a metricName.")
@json_option
async def add(
    data: str | None,
    workspace: str,
    name: str,
    callback_url: str | None,
    klaviyo_connection: str | None,
    rate_limit: float,
    check_links: str,
    connection: str | None,
    metric: str,
    as_json: bool,
) -> None:
    """Create a text client. Its secret is shown only once."""
    if callback_url and klaviyo_connection:
        raise Invalid("Give --callback-url or --klaviyo-connection, not both.", code="invalid_callback")
    if not 0 < rate_limit <= 100_000:
        raise Invalid("--rate-limit must be more than 0 and at most 100000.", code="invalid_rate_limit")
    callback = WebhookCallback(url=callback_url) if callback_url else None
    draft = TextClientDraft(
        name=name,
        callback=KlaviyoCallback(connection_id=klaviyo_connection) if klaviyo_connection else callback,
        rate_limit=rate_limit,
        check_links=CheckLinks(check_links),
        connection_id=internal("con", connection) if connection else None,
        default_metric=metric,
    )
    workspace_id, ids = internal("ws", workspace), Ids(COMMAND_LINE)
    async with opened(data) as (database, settings):
        encryption = await open_secrets(database, settings)
        connections = ConnectionRegistry(database, encryption, settings.data_center_urls)
        await connections.refresh()
        owner = TextClientOwner(ids, encryption, parse_networks(settings.allow_private), connections)

        async def work(tx: Tx) -> tuple[TextClientRecord, str]:
            await require_workspace(tx, workspace_id)
            return await owner.create(tx, workspace_id, owner.check(workspace_id, draft), now_us())

        record, secret = await database.transact(work)
    _print_secret(record, secret, as_json)


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
        "connection_id": None if record.connection_id is None else public("con", record.connection_id),
        "created_at": iso(record.created_at),
    }


async def _clients_of(tx: Tx, workspace_id: int) -> list[TextClientRecord]:
    await require_workspace(tx, workspace_id)
    return await list_clients(tx, workspace_id, LAST, 1000)
