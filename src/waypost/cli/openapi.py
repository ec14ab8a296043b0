"""`waypost openapi`: print the description of the API."""

import click

from waypost.api.app import describe_api
from waypost.cli.accounts import print_json


@click.command()
def openapi() -> None:
    """Print the OpenAPI 3.1 description of the API."""
    print_json(describe_api())
