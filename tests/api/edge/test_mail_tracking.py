"""Emails by the API, from the request to the events: pixels, links, and what is left alone."""

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.api.calling import Keys, make_webhook, ok, serve, settled
from waypost.clock import DAY, iso, now_us
from waypost.domain.tracking.mail_tokens import CLICK_LENGTH, OPEN_LENGTH
from waypost.engine.process import Engine
from waypost.sink.thread_runner import Running

PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Mobile Safari/604.1"
BASE = "http://127.0.0.1:8080"
HTML = (
    '<html><body><p>Hi</p><a href="https://shop.example/spring?a=1&amp;b=2">Spring</a> '
    "<A class=x HREF='https://shop.example/summer'>Summer</A> <a href=\"mailto:shop@example.com\">Write</a> "
    '<a href="#top">Top</a></body></html>'
)


class Post:
    """The app of an engine with a mail connection, as the shop and as the people who get its mails."""

    def __init__(self, engine: Engine, client: httpx.AsyncClient) -> None:
        self.engine = engine
        self.client = client

    async def send(self, **fields: Any) -> Any:
        """Accept a promotional mail, to be sent later; return it with its content."""
        mail: dict[str, Any] = {
            "channel": "email",
            "to": "ada@example.com",
            "subject": "Hi",
            "html": HTML,
            "purpose": "promotional",
        }
        # A click on a mail that is being sent counts as one of a machine.
        mail["send_at"] = iso(now_us() + DAY)
        accepted = await ok(self.client.post("/v1/messages", json=mail | fields), 202)
        return await self.message(accepted["id"])

    async def message(self, id_: str) -> Any:
        return await ok(self.client.get(f"/v1/messages/{id_}"))

    async def visit(self, url: str, method: str = "GET", **headers: str) -> httpx.Response:
        sent = {"user-agent": PHONE} | {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.request(method, url.removeprefix(BASE), headers=sent)

    async def events(self, type_: str) -> list[Any]:
        found = await ok(self.client.get(f"/v1/events?type={type_}&limit=100"))
        return [event["data"] for event in reversed(found["data"])]


def pixels(html: str) -> list[str]:
    return re.findall(rf'<img src="({BASE}/o/[\w-]{{{OPEN_LENGTH}}})"', html)


def links(text: str) -> list[str]:
    return re.findall(rf"{BASE}/c/[\w-]{{{CLICK_LENGTH}}}", text)


@pytest.fixture
async def post(engine: Engine, keys: Keys) -> AsyncIterator[Post]:
    transport = httpx.ASGITransport(app=serve(engine), client=("198.51.100.7", 4321))
    headers = {"authorization": f"Bearer {keys.manage}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://waypost", headers=headers) as client:
        config = {"host": "127.0.0.1", "port": 9, "security": "none", "from_email": "shop@example.com"}
        made = {"name": "mail", "connector": "smtp", "config": config}
        await ok(client.post("/v1/connections", json=made), 201)
        yield Post(engine, client)


async def test_an_open_and_a_click_of_a_mail_come_out_as_webhooks(post: Post, sink: Running, hook: str):
    webhook = await make_webhook(post.client, hook, event_types=["email.*"])
    message = await post.send()
    html, text = message["content"]["html"], message["content"]["text"]
    (pixel,) = pixels(html)
    spring, summer = links(html)
    assert html == (
        f"<html><body><p>Hi</p><a href=\"{spring}\">Spring</a> <A class=x HREF='{summer}'>Summer</A> "
        '<a href="mailto:shop@example.com">Write</a> <a href="#top">Top</a>'
        f'<img src="{pixel}" alt="" width="1" height="1" border="0" style="height:1px;width:1px;border:0"></body></html>'
    )
    assert links(text) == [spring, summer]
    picture = await post.visit(pixel)
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/gif")
    assert "no-store" in picture.headers["cache-control"]
    assert picture.content.startswith(b"GIF89a")
    assert (await post.visit(spring)).headers["location"] == "https://shop.example/spring?a=1&b=2"
    (opened,) = await post.events("email.opened")
    (clicked,) = await post.events("email.clicked")
    for event in (opened, clicked):
        assert event["message"]["id"] == message["id"]
        assert (event["ip"], event["user_agent"], event["device"], event["machine"]) == (
            "198.51.100.7",
            PHONE,
            "phone",
            False,
        )
    assert (clicked["url"], clicked["link_number"]) == ("https://shop.example/spring?a=1&b=2", 1)
    assert await post.events("message.clicked") == []
    shown = await post.message(message["id"])
    assert (shown["opens"], shown["machine_opens"], shown["clicks"], shown["machine_clicks"]) == (1, 0, 1, 0)
    await settled(post.client, webhook, delivered=2)
