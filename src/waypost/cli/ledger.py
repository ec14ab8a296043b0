"""`waypost ledger` and `migrate`: show the delivery ledger, and migrate the database schema."""

import click
from rich.console import Console
from rich.table import Table

from waypost.cli.accounts import print_json
from waypost.cli.options import data_option, json_option, opened
from waypost.domain.values.ids import public
from waypost.domain.webhooks.ledger import Balance
from waypost.settings import load_settings
from waypost.storage.database import Tx
from waypost.storage.open import open_database


@click.command()
@data_option
@json_option
async def ledger(data: str | None, as_json: bool) -> None:
    """Show accepted, delivered, pending and dead deliveries, per workspace and endpoint."""
    async with opened(data) as (database, _):
        rows = await database.read(balances)
    total = sum((balance for _, _, balance in rows), Balance())
    if as_json:
        print_json(
            {
                **_numbers(total),
                "balanced": total.balanced,
                "endpoints": [
                    {"workspace": public("ws", workspace), "id": public("whk", endpoint), **_numbers(balance)}
                    for workspace, endpoint, balance in rows
                ],
            }
        )
        return
    table = Table("workspace", "endpoint", "accepted", "delivered", "pending", "dead", "")
    for workspace, endpoint, balance in rows:
        mark = "balanced" if balance.balanced else "[red]does not balance[/red]"
        numbers = [str(number) for number in _numbers(balance).values()]
        table.add_row(public("ws", workspace), public("whk", endpoint), *numbers, mark)
    Console().print(table)
    numbers = [f"{name} {number}" for name, number in _numbers(total).items()]
    Console().print("total: " + ", ".join(numbers), highlight=False)


@click.command()
@data_option
@json_option
async def migrate(data: str | None, as_json: bool) -> None:
    """Migrate the database schema to this version. `waypost serve` does this at start."""
    settings = load_settings(data=data)
    database = open_database(settings)
    try:
        done = await database.migrate()
    finally:
        await database.close()
    if as_json:
        print_json({"migrated": done})
    else:
        click.echo("\n".join(done) or "the schema is up to date")


def _numbers(balance: Balance) -> dict[str, int]:
    return {
        "accepted": balance.accepted,
        "delivered": balance.delivered,
        "pending": balance.pending,
        "dead": balance.dead,
    }


async def balances(tx: Tx) -> list[tuple[int, int, Balance]]:
    """Return the workspace, the endpoint and the ledger of every endpoint."""
    return [
        (workspace, endpoint, Balance(*(int(n) for n in numbers)))
        for workspace, endpoint, *numbers in await tx.rows("counts.by_endpoint")
    ]
