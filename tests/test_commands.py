"""The command line imports only the module of the command that runs."""

import gc
import subprocess
import sys

import click
import pytest

from waypost.cli import COMMANDS, main


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_where_the_table_says(name):
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert command.name == name


@pytest.mark.parametrize("module", ["accounts", "check", "connectors", "ledger"])
def test_a_command_that_does_one_thing_loads_no_server(module):
    program = f"import sys, waypost.cli.{module}; print(*[n for n in ('litestar', 'uvicorn') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_server_loads_no_library_that_few_servers_need():
    few = ("asyncpg", "botocore", "urllib3")
    program = f"import sys, waypost.cli.serve; print(*[n for n in {few} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_garbage_is_collected_after_a_command_is_loaded():
    assert main.get_command(click.Context(main), "check") is not None
    assert gc.isenabled()
