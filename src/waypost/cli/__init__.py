"""The command line."""

import asyncio
import functools
import pkgutil
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import click
import uvloop
from rich.console import Console

from waypost import __version__
from waypost.errors import Error, Invalid

#: The module and the name of each command. Only the module of the command that runs is loaded: the server takes most of
#: a second, which `waypost keys list` need not wait for.
COMMANDS = {
    "check": "check:check",
    "connectors": "connectors:connectors",
    "demo": "demo:demo",
    "init": "accounts:init",
    "keys": "accounts:keys",
    "ledger": "ledger:ledger",
    "migrate": "ledger:migrate",
    "openapi": "openapi:openapi",
    "reencrypt": "accounts:reencrypt",
    "serve": "serve:serve",
    "sink": "sink:sink",
    "worker": "serve:worker",
    "workspaces": "accounts:workspaces",
}


class Group(click.Group):
    """Loads the command that runs, and turns our errors into one line and an exit code: 1 for refused, 2 for misuse."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, loaded now."""
        place = COMMANDS.get(cmd_name)
        return None if place is None else _runs(pkgutil.resolve_name(f"{__name__}.{place}"))

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
    if ctx.invoked_subcommand is None and (serve := main.get_command(ctx, "serve")) is not None:
        ctx.invoke(serve)


def _runs(command: click.Command) -> click.Command:
    """Let the coroutine functions of a command, and of those in it, be their callbacks."""
    for inner in command.commands.values() if isinstance(command, click.Group) else ():
        _runs(inner)
    work: Callable[..., Coroutine[Any, Any, None]] | None = command.callback
    if work is None or not asyncio.iscoroutinefunction(work):
        return command

    @functools.wraps(work)
    def run(*args: Any, **kwargs: Any) -> None:
        uvloop.run(work(*args, **kwargs))

    command.callback = run
    return command
