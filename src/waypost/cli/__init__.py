"""The command line."""

import asyncio
import functools
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import click
import uvloop
from rich.console import Console

from waypost import __version__
from waypost.cli import accounts, check, connectors, demo, ledger, serve, sink
from waypost.errors import Error, Invalid


class Group(click.Group):
    """Prints an error in one line and exits with 2 for invalid input, or else with 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except Error as error:
            Console(stderr=True).print(f"[red]{error.code}[/red] {error.detail}", highlight=False, soft_wrap=True)
            sys.exit(2 if isinstance(error, Invalid) else 1)


@click.group(cls=Group, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="waypost")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Waypost, a self-hosted customer-messaging engine. Without a command, it runs `serve`."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(serve.serve)


def _runs(command: click.Command) -> click.Command:
    """Run the coroutine function of a command in an event loop, and return the command."""
    work: Callable[..., Coroutine[Any, Any, None]] | None = command.callback
    if work is None or not asyncio.iscoroutinefunction(work):
        return command

    @functools.wraps(work)
    def run(*args: Any, **kwargs: Any) -> None:
        uvloop.run(work(*args, **kwargs))

    command.callback = run
    return command


for _command in (
    serve.serve,
    serve.worker,
    accounts.init,
    accounts.reencrypt,
    ledger.ledger,
    check.check,
    ledger.migrate,
    ledger.openapi,
    sink.sink,
    demo.demo,
):
    main.add_command(_runs(_command))
for _group in (accounts.workspaces, accounts.keys, connectors.connectors):
    main.add_command(_group)
    for _command in _group.commands.values():
        _runs(_command)
