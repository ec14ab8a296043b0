"""The command line."""

import asyncio
import functools
import gc
import pkgutil
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import click
import uvloop
from rich.console import Console

from waypost import __version__
from waypost.errors import Error, Invalid

#: The module and the name of each command. Only the module of the command that runs is imported, because the server's
#: modules take most of a second, which would delay commands such as `waypost keys list`.
COMMANDS = {
    "campaigns": "campaigns:campaigns",
    "check": "check:check",
    "connectors": "connectors:connectors",
    "demo": "demo:demo",
    "import": "imports:import_",
    "init": "accounts:init",
    "users": "users:users",
    "keys": "accounts:keys",
    "ledger": "ledger:ledger",
    "migrate": "ledger:migrate",
    "openapi": "openapi:openapi",
    "reencrypt": "accounts:reencrypt",
    "serve": "serve:serve",
    "sink": "sink:sink",
    "text-clients": "text_clients:text_clients",
    "worker": "serve:worker",
    "workspaces": "accounts:workspaces",
}


class Group(click.Group):
    """Imports the command that runs, and prints an Error in one line; exit code 2 for Invalid, 1 for all others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command of this name."""
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        # What a module makes when it is loaded stays: to look for garbage among it takes a tenth of the start.
        gc.disable()
        try:
            return _with_event_loop(pkgutil.resolve_name(f"{__name__}.{place}"))
        finally:
            gc.enable()

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


def _with_event_loop(command: click.Command) -> click.Command:
    """Run the coroutine functions of a command and its subcommands in an event loop."""
    for inner in command.commands.values() if isinstance(command, click.Group) else ():
        _with_event_loop(inner)
    work: Callable[..., Coroutine[Any, Any, None]] | None = command.callback
    if work is None or not asyncio.iscoroutinefunction(work):
        return command

    @functools.wraps(work)
    def run(*args: Any, **kwargs: Any) -> None:
        uvloop.run(work(*args, **kwargs))

    command.callback = run
    return command
