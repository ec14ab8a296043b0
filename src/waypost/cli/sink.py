"""`waypost sink`: the outside world in a box."""

import asyncio

import click
from rich.console import Console

from waypost.cli.serve import on_stop
from waypost.sink.server import serve as serve_sink


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Listen on this address.")
@click.option("--port", default=8090, show_default=True, help="Listen on this port.")
@click.option("--smtp-port", type=int, help="Take mail on this port, too.")
async def sink(host: str, port: int, smtp_port: int | None) -> None:
    """Receive webhooks as badly as the URL says, and list them at /received."""

    def ready(http: int, smtp: int | None) -> None:
        mail = f", mail on port {smtp}" if smtp else ""
        Console(stderr=True).print(f"sink on http://{host}:{http}/{mail}", highlight=False)

    work = asyncio.create_task(serve_sink(host, port, smtp_port, ready))
    on_stop(work.cancel)
    try:
        await work
    except asyncio.CancelledError:
        return
