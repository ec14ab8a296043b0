"""`waypost demo`: a server and a sink with sample data and traffic, and commands to try."""

import asyncio
import os
import secrets
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.panel import Panel

from waypost.cli.demo_campaign import read_mails, set_campaign
from waypost.cli.demo_client import Client
from waypost.cli.demo_scene import ACCOUNT, Scene, set_scene
from waypost.cli.demo_traffic import send_traffic
from waypost.cli.options import set_up_logs
from waypost.cli.serve import bound, make_server, on_stop, running, stop_serving
from waypost.clock import Ids, now_us
from waypost.domain.accounts.permissions import Role
from waypost.domain.values.ids import internal
from waypost.engine.accounts.passwords import Passwords
from waypost.engine.accounts.users import add_member, add_user
from waypost.engine.accounts.workspaces import create_workspace
from waypost.engine.runtime.nodes import COMMAND_LINE
from waypost.errors import Unavailable
from waypost.settings import Settings, load_settings
from waypost.sink.server import serve as serve_sink
from waypost.storage.database import Tx

#: Who signs in to the demo in the browser.
OWNER = "demo@example.com"


@click.command()
@click.option("--data", default="./data/demo", show_default=True, metavar="DIR", help="The data directory of the demo.")
@click.option("--port", type=int, help="Serve on this port. [default: 8080, or a free port]")
@click.option("--sink-port", default=8090, show_default=True, help="Run the sink on this port, or on a free port.")
@click.option("--rate", default=2.0, show_default=True, help="Events per second.")
async def demo(data: str, port: int | None, sink_port: int, rate: float) -> None:
    """Start a server, a sink that simulates receivers and providers, and sample traffic."""
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
    ports: list[tuple[int, int | None]] = []
    sink = asyncio.create_task(
        serve_sink("127.0.0.1", free_port("127.0.0.1", sink_port), 0, lambda *found: ports.append(found))
    )
    while not ports:
        if sink.done():
            sink.result()
        await asyncio.sleep(0.02)
    http_port, mail_port = ports[0]
    with bound(settings.host, settings.port) as sockets:
        async with running(settings) as engine:
            server = make_server(engine, settings)
            serving = asyncio.create_task(server.serve(sockets))
            on_stop(lambda: stop_serving(server, engine))
            while not server.started:
                if serving.done():
                    serving.result()
                await asyncio.sleep(0.02)
            keys = await _keys(Path(data), engine.database)
            client = Client(settings.base_url, f"http://127.0.0.1:{http_port}", keys)
            try:
                scene = await set_scene(client, mail_port or 0)
                campaign = await set_campaign(client, scene.mail)
                _explain(settings, keys, client.sink, scene, campaign)
                traffic = [
                    asyncio.create_task(send_traffic(client, scene, rate)),
                    asyncio.create_task(read_mails(client)),
                ]
                await serving
                for task in traffic:
                    task.cancel()
            finally:
                await client.stop()
                sink.cancel()
                await asyncio.gather(sink, return_exceptions=True)


async def _keys(data: Path, database: Any) -> dict[str, str]:
    """Return the keys and the owner of the demo workspace, created at the first start and stored next to its data."""
    file = data / "demo-keys.json"
    stored: dict[str, str] = {}
    if file.exists():
        stored = msgspec.json.decode(file.read_bytes())
        if "password" in stored:
            return stored
    password = secrets.token_urlsafe(12)
    hashed = await Passwords().hash(password)

    async def work(tx: Tx) -> dict[str, str]:
        ids = Ids(COMMAND_LINE)
        made = stored or await create_workspace(tx, ids, "Demo", now_us())
        user_id = await add_user(tx, ids, OWNER, "Demo", hashed, now_us())
        await add_member(tx, user_id, internal("ws", made["workspace"]), Role.OWNER, now_us())
        return made

    made: dict[str, str] = await database.transact(work) | {"email": OWNER, "password": password}
    file.touch(mode=0o600)
    file.write_bytes(msgspec.json.encode(made))
    return made


def _explain(settings: Settings, keys: dict[str, str], sink: str, scene: Scene, campaign: str) -> None:
    url = settings.base_url
    bearer = '-H "Authorization: Bearer $KEY"'
    wrong = ACCOUNT | {"project_id": "unlinked", "endpoint_url": sink}
    example = msgspec.json.encode({"name": "Wrong", "connector": "aws-pinpoint", "config": wrong}).decode()
    example = example.replace(',"config":', ',\n    "config":').replace(',"secret_key"', ',\n    "secret_key"')
    birthday = {
        "phone": "+12025550101",
        "text": "Shop: Happy Birthday!",
        "clickUrl": "https://example.com",
        "callbackData": '{"profileID": "01KADA", "metricName": "Birthday"}',
        "sendPurpose": "Birthday",
    }
    text_example = msgspec.json.encode(birthday).decode().replace(',"callbackData"', ',\n    "callbackData"')
    text = f"""[bold]Waypost[/bold]    {url}        API description: {url}/openapi.json
[bold]Sign in[/bold]    {url}/        as {keys["email"]} with the password {keys["password"]}
[bold]Sink[/bold]       {sink}        simulates webhook receivers, AWS Pinpoint, Klaviyo and a mail server

[bold]In another terminal: the API key, and the write key for Segment clients[/bold]
  KEY={keys["api_key"]}
  WRITE_KEY={keys["write_key"]}

[bold]Send an SMS through Pinpoint and get a receipt; +12025550002 is a phone that is off[/bold]
  curl {bearer} {url}/v1/messages \\
    -d '{{"channel":"sms","to":"+12025550101","text":"Hello"}}'
[bold]List messages with their history; failed messages; and what the provider accepted[/bold]
  curl {bearer} '{url}/v1/messages?limit=3'
  curl {bearer} '{url}/v1/messages?status=failed&limit=3'
  curl '{sink}/sent?provider=pinpoint&limit=3'
[bold]Count messages per hour, connection, campaign, template, status and code[/bold]
  curl {bearer} {url}/v1/message-counts
[bold]Connect a project without an event stream: set-up code 2002, and how to fix it[/bold]
  curl {bearer} {url}/v1/connections \\
    -d '{example}'
[bold]Get the set-up steps at AWS for a connection, and its minimal IAM policy[/bold]
  curl {bearer} {url}/v1/connections/{scene.pinpoint}/setup
  curl {bearer} {url}/v1/connections/{scene.pinpoint}/iam-policy

[bold]Send a text as the webhook block of a Klaviyo flow does, and see its statuses arrive in Klaviyo[/bold]
  CLIENT_ID={scene.client_id}
  CLIENT_SECRET={scene.client_secret}
  curl -H "X-Client-ID: $CLIENT_ID" -H "X-Client-Secret: $CLIENT_SECRET" {url}/text/message/send \\
    -d '{text_example}'
  curl '{sink}/klaviyo/events?profile=01KADA&limit=9'
[bold]Count texts per metric and status[/bold]
  curl {bearer} '{url}/v1/metrics?days=1'

[bold]Watch a newsletter go out, 120 a minute: progress, opens and clicks, and those whom it did not reach[/bold]
  CAMPAIGN={campaign}
  curl {bearer} {url}/v1/campaigns/$CAMPAIGN
  curl {bearer} {url}/v1/campaigns/$CAMPAIGN/overview
  curl {bearer} "{url}/v1/campaigns/$CAMPAIGN/recipients?status=failed"
[bold]Throttle it anew, and see the opens and clicks arrive as Pinpointe sends them[/bold]
  curl {bearer} -X PATCH {url}/v1/campaigns/$CAMPAIGN \\
    -d '{{"throttle":{{"per_minute":600}}}}'
  curl '{sink}/received?name=pinpointe&limit=1'

[bold]Send an event, and see it arrive as a signed webhook[/bold]
  curl -u $WRITE_KEY: {url}/v1/track \\
    -d '{{"userId":"ada","event":"Order Shipped","messageId":"try-1","properties":{{"total":9.5}}}}'
  curl '{sink}/received?name=orders&limit=1'
[bold]List the endpoints; `broken` is disabled within a minute, with its last error[/bold]
  curl {bearer} {url}/v1/webhooks
[bold]Check that nothing was lost[/bold]
  curl {bearer} {url}/v1/ledger
[bold]Kill the server, start it again, and check once more[/bold]
  kill -9 {os.getpid()} ; make run"""
    Console(width=120).print(Panel(text, title="waypost demo", expand=False), highlight=False, soft_wrap=True)


def free_port(host: str, preferred: int) -> int:
    """Return the preferred port if it is free, otherwise another free port."""
    for port in (preferred, 0):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            bound: int = probe.getsockname()[1]
            return bound
    raise Unavailable(f"No TCP port is free on {host}. Stop a program that listens there.")
