"""The campaign of the demo: people from a file, a newsletter to them, and readers who open it and follow its links."""

import asyncio
import random
import re
import time
from collections import deque
from email import message_from_string, policy

from waypost.cli.demo_client import Client
from waypost.cli.demo_scene import PEOPLE

NEWSLETTER = "Newsletter"
READERS = 240
#: Mails a minute: slow enough to watch it, to pause it, and to throttle it anew.
PER_MINUTE = 120
#: Of the mails that are looked at: how many are opened, and how many of these are clicked.
OPENED, CLICKED = 0.5, 0.4
#: Seconds until a mail is read: who reads it at once is taken for a program.
PATIENCE_S = 5.0
_HTML = (
    "<html><body><h1>Hello {{ person.first_name|default:'reader' }}</h1><p>What is new this week.</p>"
    '<p><a href="https://example.com/news?from=mail">All the news</a> '
    '<a href="https://example.com/sale">The sale</a></p>'
    '<p><a href="{{ unsubscribe_url }}">Unsubscribe</a> or <a href="{{ preferences_url }}">choose what you get</a></p>'
    "</body></html>"
)
_TRACKED = re.compile(r'(?:src|href)="(http://[^"]+/(?:o|c)/[^"]+)"')


async def set_campaign(client: Client, connection: str) -> str:
    """Import the readers, and launch the newsletter to them at the first start; return the id of the campaign."""
    listed = await client.get("/v1/campaigns?limit=100")
    known = [campaign["id"] for campaign in listed["data"] if campaign["name"] == NEWSLETTER]
    if known:
        return str(known[0])
    list_id = (await client.require("POST", "/v1/lists", {"name": NEWSLETTER}))["id"]
    people = [(person.email, person.name.title()) for person in PEOPLE]
    people += [(f"reader{number}@example.net", f"Reader {number}") for number in range(READERS)]
    rows = "email,first_name\n" + "".join(f"{email},{name}\n" for email, name in people)
    started = await client.upload(f"/v1/imports?list={list_id}", "text/csv", rows.encode())
    while (await client.get(f"/v1/imports/{started['id']}"))["state"] == "running":  # noqa: ASYNC110 over HTTP
        await asyncio.sleep(0.05)
    endpoint = {
        "url": f"{client.sink}/hook/pinpointe",
        "event_types": ["email.opened", "email.clicked"],
        "description": "Opens and clicks as Pinpointe sends them",
        "format": "pinpointe",
        "signature": "none",
    }
    await client.require("POST", "/v1/webhooks", endpoint)
    template = {"name": NEWSLETTER, "channel": "email", "subject": "News for {{ person.first_name }}", "html": _HTML}
    settings = {
        "name": NEWSLETTER,
        "channel": "email",
        "template_id": (await client.require("POST", "/v1/templates", template))["id"],
        "audience": {"lists": [list_id]},
        "connection_id": connection,
        "throttle": {"per_minute": PER_MINUTE},
        "conversion": {"event": "Order Completed", "within": "1d"},
    }
    campaign = await client.require("POST", "/v1/campaigns", settings)
    await client.require("POST", f"/v1/campaigns/{campaign['id']}/launch", None)
    return str(campaign["id"])


async def read_mails(client: Client) -> None:
    """Open some of the mails that the sink gets, and follow links in them, until cancelled."""
    dice = random.Random(2)  # noqa: S311 real-looking, not secret
    after = seen = 0
    unread: deque[tuple[float, str]] = deque()
    while True:
        page = await client.get_sink(f"/received?name=mail&limit=50&after={after}")
        now = time.monotonic()
        for mail in page["data"]:
            if mail["number"] > seen and dice.random() < OPENED:
                unread.append((now + PATIENCE_S, mail["body"]))
            seen = max(seen, mail["number"])
        after = int(page["next"] or after)
        while unread and unread[0][0] <= now:
            await _read(client, dice, unread.popleft()[1])
        await asyncio.sleep(0.5)


async def _read(client: Client, dice: random.Random, mail: str) -> None:
    """Open a mail: load its pixel, and perhaps follow one of its links."""
    part = message_from_string(mail, policy=policy.default).get_body(("html",))
    tracked = _TRACKED.findall(part.get_content()) if part is not None else []
    for url in (url for url in tracked if "/o/" in url):
        await client.visit(url)
    links = [url for url in tracked if "/c/" in url]
    if links and dice.random() < CLICKED:
        await client.visit(dice.choice(links[:2]))
