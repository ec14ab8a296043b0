"""`waypost ledger`, `check`, `migrate` and `openapi`: what is owed, whether all is well, and what can be asked."""

import sys
from collections.abc import Awaitable, Callable

import click
from rich.console import Console
from rich.table import Table

from waypost.api.app import describe_api
from waypost.cli.accounts import print_json
from waypost.cli.options import data_option, json_option, opened
from waypost.domain.addresses import parse_networks
from waypost.domain.ids import public
from waypost.domain.ledger import Balance, disagreements
from waypost.engine.vault import open_vault
from waypost.errors import Error
from waypost.settings import load_settings
from waypost.storage.database import Database, Tx
from waypost.storage.open import open_database


@click.command()
@data_option
@json_option
async def ledger(data: str | None, as_json: bool) -> None:
    """Show what was accepted, delivered, is pending and dead, per workspace and endpoint."""
    async with opened(data) as (database, _):
        rows = await database.read(_balances)
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
    Console().print("all together: " + ", ".join(numbers), highlight=False)


@click.command()
@data_option
@json_option
async def check(data: str | None, as_json: bool) -> None:
    """Prove the settings, the database, its migrations and that the ledger balances. Exit 0 when all is well."""
    found: list[dict[str, object]] = []
    console = Console(quiet=as_json)

    async def step(name: str, work: Callable[[], Awaitable[str]]) -> bool:
        try:
            said, sound = await work(), True
        except Error as error:
            said, sound = error.detail, False
        found.append({"check": name, "ok": sound, "detail": said})
        mark = "[green]ok[/green]     " if sound else "[red]failed[/red] "
        console.print(f"{mark} {name}: {said}", highlight=False, soft_wrap=True)
        return sound

    def finish() -> None:
        sound = all(part["ok"] for part in found)
        if as_json:
            print_json({"ok": sound, "checks": found})
        if not sound:
            sys.exit(1)

    settings = load_settings(data=data)

    async def settings_are_sound() -> str:
        parse_networks(settings.allow_private)
        open_vault(settings.secret_key, settings.data_dir)
        return f"data in {settings.data_dir}, {'PostgreSQL' if settings.database_url else 'SQLite'}"

    await step("settings", settings_are_sound)
    opened_database: list[Database] = []

    async def database_opens() -> str:
        opened_database.append(open_database(settings))
        return "opened"

    if not await step("store", database_opens):
        finish()
    database = opened_database[0]

    async def migrations_are_done() -> str:
        pending = await database.pending_migrations()
        if pending:
            raise Error(f"not run yet: {', '.join(pending)}. Run `waypost migrate`.")
        return "up to date"

    async def database_is_sound() -> str:
        await database.check()
        return "sound, and every query can be prepared"

    async def ledger_balances() -> str:
        rows, raw = await database.read(_ledger_and_rows)
        counted = {endpoint: balance for _, endpoint, balance in rows}
        found = disagreements(counted, raw, {endpoint: public("whk", endpoint) for endpoint in counted})
        if found:
            raise Error("; ".join(found))
        total = sum(counted.values(), Balance())
        return f"{total.accepted} accepted = {total.delivered} delivered + {total.pending} pending + {total.dead} dead"

    try:
        if await step("migrations", migrations_are_done):
            await step("database", database_is_sound)
            await step("ledger", ledger_balances)
    finally:
        await database.close()
    finish()


@click.command()
@data_option
@json_option
async def migrate(data: str | None, as_json: bool) -> None:
    """Bring the database schema up to date; `waypost serve` does it as well."""
    settings = load_settings(data=data)
    database = open_database(settings)
    try:
        done = await database.migrate()
    finally:
        await database.close()
    if as_json:
        print_json({"migrated": done})
    else:
        click.echo("\n".join(done) or "nothing to do")


@click.command()
def openapi() -> None:
    """Print the OpenAPI 3.1 description of the API."""
    print_json(describe_api())


def _numbers(balance: Balance) -> dict[str, int]:
    return {
        "accepted": balance.accepted,
        "delivered": balance.delivered,
        "pending": balance.pending,
        "dead": balance.dead,
    }


async def _balances(tx: Tx) -> list[tuple[int, int, Balance]]:
    return [
        (workspace, endpoint, Balance(*(int(n) for n in numbers)))
        for workspace, endpoint, *numbers in await tx.rows("counts.by_endpoint")
    ]


async def _ledger_and_rows(tx: Tx) -> tuple[list[tuple[int, int, Balance]], list[tuple[int, str, int]]]:
    rows = await tx.rows("deliveries.counts")
    return await _balances(tx), [(endpoint, state, count) for endpoint, state, count in rows]
