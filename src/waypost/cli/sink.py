"""`waypost sink`: a simulator of webhook receivers and message providers for tests."""

import asyncio
from typing import Any

import click
import msgspec
from rich.console import Console

from waypost.cli.serve import on_stop
from waypost.errors import Invalid
from waypost.sink.server import serve as serve_sink


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Listen on this address.")
@click.option("--port", default=8090, show_default=True, help="Listen on this port.")
@click.option("--smtp-port", type=int, help="Accept email over SMTP on this port.")
@click.option("--tracker-url", metavar="URL", help="The URL to which the simulated AWS sends receipts.")
@click.option("--access-key", metavar="KEY", help="The access key that it sends there.")
@click.option("--fate", "scenarios", metavar="PROVIDER=JSON", multiple=True, help="Results of a provider's messages.")
@click.option("--settings", metavar="PROVIDER=JSON", multiple=True, help="The settings of a provider.")
async def sink(
    host: str,
    port: int,
    smtp_port: int | None,
    tracker_url: str | None,
    access_key: str | None,
    scenarios: tuple[str, ...],
    settings: tuple[str, ...],
) -> None:
    """Simulate webhook receivers with faults, and message providers. GET /received lists what arrived."""

    def ready(http: int, smtp: int | None) -> None:
        mail = f", mail on port {smtp}" if smtp else ""
        Console(stderr=True).print(f"sink on http://{host}:{http}/{mail}", highlight=False)

    chosen = _read(settings, "--settings")
    for name, value in (("tracker_url", tracker_url), ("access_key", access_key)):
        if value is not None:
            chosen["aws"] = {**chosen.get("aws", {}), name: value}
    work = asyncio.create_task(
        serve_sink(host, port, smtp_port, ready, settings=chosen, scenarios=_read(scenarios, "--fate"))
    )
    on_stop(work.cancel)
    try:
        await work
    except asyncio.CancelledError:
        return


def _read(given: tuple[str, ...], option: str) -> dict[str, Any]:
    """Return the JSON objects of an option by provider."""
    found: dict[str, Any] = {}
    for item in given:
        name, _, text = item.partition("=")
        try:
            value = msgspec.json.decode(text)
        except msgspec.DecodeError as error:
            raise Invalid(
                f"{option} {name}= must be followed by a JSON object: {error}.", code="invalid_option"
            ) from error
        if not isinstance(value, dict):
            raise Invalid(
                f'{option} requires a JSON object, for example {name}={{"seed": "a"}}.', code="invalid_option"
            )
        found[name] = value
    return found
