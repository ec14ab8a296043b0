"""`waypost demo`: everything at once, with real-looking data and traffic, and what to try next."""

import asyncio
import itertools
import os
import random
import socket
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import msgspec
import structlog
from rich.console import Console
from rich.panel import Panel

from waypost.cli.options import set_up_logs
from waypost.cli.serve import make_server, on_stop, running
from waypost.clock import Ids, now_us
from waypost.domain.addresses import parse_networks
from waypost.engine.accounts import create_workspace
from waypost.engine.nodes import COMMAND_LINE
from waypost.engine.outbound import READ_BODY, Outbound, Request
from waypost.errors import Unavailable
from waypost.settings import Settings, load_settings
from waypost.sink.server import serve as serve_sink

log = structlog.get_logger()

PEOPLE = ("ada", "grace", "alan", "edsger", "barbara", "ken", "margaret", "dennis")
METRICS = ("Product Viewed", "Product Added", "Order Completed", "Order Shipped", "Coupon Redeemed")
RECEIVERS: tuple[tuple[str, list[str], dict[str, Any]], ...] = (
    ("orders?body=thanks", ["event.order_*"], {"description": "A healthy receiver of orders"}),
    ("analytics?fail_rate=0.3&seed=7", ["*"], {"description": "Fails three times in ten, and is tried again"}),
    ("coupons?delay=0.3", ["event.coupon_redeemed"], {"description": "A slow receiver", "concurrency": 2}),
    ("broken?status=500", ["event.product_viewed"], {"description": "Always fails: watch it being disabled"}),
)


@click.command()
@click.option("--data", default="./data/demo", show_default=True, metavar="DIR", help="Where the demo keeps its data.")
@click.option("--port", type=int, help="Serve on this port. [default: 8080, or a free one]")
@click.option("--sink-port", default=8090, show_default=True, help="Run the sink on this port, or a free one.")
@click.option("--rate", default=2.0, show_default=True, help="Events per second.")
async def demo(data: str, port: int | None, sink_port: int, rate: float) -> None:
    """Start a server, a sink that receives its webhooks, a workspace and a little traffic."""
    settings = load_settings(data=data, port=port)
    settings = replace(
        settings,
        port=port or free_port(settings.host, settings.port),
        allow_private=settings.allow_private or "127.0.0.0/8",
        # Ten retries in about half a minute instead of a day.
        retry_base=min(settings.retry_base, 0.03),
        log_level="error",
    )
    set_up_logs(settings)
    sink_port = free_port("127.0.0.1", sink_port)
    sink = asyncio.create_task(serve_sink("127.0.0.1", sink_port))
    async with running(settings) as engine:
        server = make_server(engine, settings)
        serving = asyncio.create_task(server.serve())
        on_stop(lambda: setattr(server, "should_exit", True))
        while not server.started:
            if serving.done():
                raise Unavailable(f"The server could not listen on {settings.host}:{settings.port}.")
            await asyncio.sleep(0.02)
        keys = await _keys(Path(data), engine.database)
        caller = Caller(settings.base_url, keys)
        try:
            await _subscribe(caller, f"http://127.0.0.1:{sink_port}")
            _explain(settings, keys, sink_port)
            traffic = asyncio.create_task(_send_traffic(caller, rate))
            await serving
            traffic.cancel()
        finally:
            await caller.outbound.stop()
            sink.cancel()
            await asyncio.gather(sink, return_exceptions=True)


class Caller:
    """A client of the server's own outside face."""

    def __init__(self, url: str, keys: dict[str, str]) -> None:
        self.url = url
        self.keys = keys
        self.outbound = Outbound(parse_networks("127.0.0.0/8,::1,0.0.0.0/0"))

    async def call(self, method: str, path: str, body: object = None, *, write: bool = False) -> tuple[int | None, Any]:
        """Send a request; gives back status and body of the answer."""
        basic = b64encode(f"{self.keys['write_key']}:".encode()).decode()
        authorization = f"Basic {basic}" if write else f"Bearer {self.keys['api_key']}"
        headers = ["content-type: application/json", f"authorization: {authorization}"]
        content = b"" if body is None else msgspec.json.encode(body)
        response, _ = await self.outbound.fetch(
            Request(self.url + path, content, headers, 5000, method, keep=READ_BODY)
        )
        return response.status, msgspec.json.decode(response.body) if response.body else None


async def _keys(data: Path, database: Any) -> dict[str, str]:
    """The keys of the demo's workspace, made at the first start and kept beside its data."""
    file = data / "demo-keys.json"
    if file.exists():
        kept: dict[str, str] = msgspec.json.decode(file.read_bytes())
        return kept
    made: dict[str, str] = await database.transact(create_workspace, Ids(COMMAND_LINE), "Demo", now_us())
    file.touch(mode=0o600)
    file.write_bytes(msgspec.json.encode(made))
    return made


async def _subscribe(caller: Caller, sink: str) -> None:
    """The demo's endpoints: made at the first start, led to the sink's present port at every later one."""
    _, listed = await caller.call("GET", "/v1/webhooks?limit=20")
    known = {endpoint["description"]: endpoint["id"] for endpoint in listed["data"]}
    for name, types, wish in RECEIVERS:
        url = f"{sink}/hook/{name}"
        if wish["description"] in known:
            status, body = await caller.call("PATCH", f"/v1/webhooks/{known[wish['description']]}", {"url": url})
        else:
            wish = {"url": url, "event_types": types, "owner_email": "owner@example.com", **wish}
            status, body = await caller.call("POST", "/v1/webhooks", wish)
        if status not in (200, 201):
            raise Unavailable(f"The demo's endpoint was refused: {body}")


async def _send_traffic(caller: Caller, rate: float) -> None:
    """People who do things, now and then."""
    dice = random.Random(1)  # noqa: S311 real-looking, not secret
    for name in PEOPLE:
        traits = {"name": name.title(), "email": f"{name}@example.com", "plan": dice.choice(["free", "pro"])}
        await caller.call("POST", "/v1/identify", {"userId": name, "traits": traits}, write=True)
    for number in itertools.count(1):
        event = {
            "userId": dice.choice(PEOPLE),
            "event": dice.choice(METRICS),
            "properties": {
                "order_id": f"A-{1000 + number}",
                "total": round(dice.uniform(5, 250), 2),
                "currency": "EUR",
            },
        }
        status, body = await caller.call("POST", "/v1/track", event, write=True)
        if status != 200:
            log.error("the demo's event was refused", action="demo_refused", status=status, body=str(body)[:200])
        await asyncio.sleep(1 / rate)


def _explain(settings: Settings, keys: dict[str, str], sink_port: int) -> None:
    url, sink = settings.base_url, f"http://127.0.0.1:{sink_port}"
    bearer = f'-H "Authorization: Bearer {keys["api_key"]}"'
    text = f"""[bold]Waypost[/bold]    {url}        API description: {url}/openapi.json
[bold]API key[/bold]    {keys["api_key"]}
[bold]Write key[/bold]  {keys["write_key"]}  (for Segment clients)
[bold]Sink[/bold]       {sink}        what it received: {sink}/received?name=orders

[bold]Send an event[/bold]
  curl -u {keys["write_key"]}: {url}/v1/track \\
    -d '{{"userId":"ada","event":"Order Shipped","messageId":"try-1","properties":{{"total":9.5}}}}'
[bold]See it arrive, signed[/bold]
  curl '{sink}/received?name=orders&limit=1'
[bold]See the endpoints; `broken` is disabled within a minute, with its last error[/bold]
  curl {bearer} {url}/v1/webhooks
[bold]Ask whether anything was lost[/bold]
  curl {bearer} {url}/v1/ledger
[bold]Kill it, start it again, and ask once more[/bold]
  kill -9 {os.getpid()} ; make run"""
    Console(width=120).print(Panel(text, title="waypost demo", expand=False), highlight=False, soft_wrap=True)


def free_port(host: str, wanted: int) -> int:
    """The wanted port if nobody has it, else one that is free."""
    for port in (wanted, 0):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            bound: int = probe.getsockname()[1]
            return bound
    raise Unavailable(f"No port is free on {host}.")
