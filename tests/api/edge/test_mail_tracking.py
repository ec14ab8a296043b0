"""Emails by the API, from the request to the events: pixels, links, and what is left alone."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.api.calling import Keys, make_webhook, ok, serve, settled
from waypost.clock import DAY, iso, now_us
from waypost.domain.messaging.message import Content
from waypost.domain.tracking.mail_tokens import CLICK_LENGTH, OPEN_LENGTH
from waypost.engine.process import Engine
from waypost.engine.tracking.mail import Look, add_urls
from waypost.sink.thread_runner import Running
from waypost.storage.database import Tx

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
        f'<img src="{pixel}" alt="" width="1" height="1" border="0" style="height:1px;width:1px;border:0">'
        "</body></html>"
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


MACHINES = {
    "Apple Mail": ("Mozilla/5.0", "mail_privacy"),
    "Gmail": (
        "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
        "image_proxy",
    ),
    "Yahoo Mail": ("YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html", "image_proxy"),
    "Proofpoint": ("Mozilla/5.0 (compatible; ProofPoint URL Defense)", "scanner"),
    "Barracuda": ("Mozilla/4.0 (compatible; BarracudaCentral)", "scanner"),
    "Mimecast": ("Mozilla/5.0 Mimecast-TTP/1.0", "scanner"),
    "Defender": ("Mozilla/5.0 (compatible; Microsoft Defender for Office 365 SafeLinks)", "scanner"),
    "Outlook": ("Microsoft Office Existence Discovery", "scanner"),
    "nothing": ("", "no_user_agent"),
    "curl": ("curl/8.5.0", "tool"),
    "a browser without a window": (
        "Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/120.0.0.0 Safari/537.36",
        "headless",
    ),
}
PEOPLE = {
    "Outlook": "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; WOW64; Trident/7.0; Microsoft Outlook 16.0.5095)",
    "Thunderbird": "Mozilla/5.0 (X11; Linux x86_64; rv:115.0) Gecko/20100101 Thunderbird/115.3.1",
    "Samsung": "Mozilla/5.0 (Linux; Android 14; SM-S911B) AppleWebKit/537.36 Chrome/124.0.0.0 Mobile Safari/537.36",
    "iPhone": PHONE,
}


async def test_what_machines_do_is_flagged_and_counted_apart(post: Post):
    message = await post.send()
    (pixel,), link = pixels(message["content"]["html"]), links(message["content"]["html"])[0]
    for user_agent, _ in MACHINES.values():
        await post.visit(pixel, user_agent=user_agent)
        await post.visit(link, user_agent=user_agent)
    for user_agent in PEOPLE.values():
        await post.visit(pixel, user_agent=user_agent)
        await post.visit(link, user_agent=user_agent)
    reasons: list[str | None] = [*(reason for _, reason in MACHINES.values()), *(None for _ in PEOPLE)]
    for type_ in ("email.opened", "email.clicked"):
        assert [event.get("machine_reason") for event in await post.events(type_)] == reasons
    shown = await post.message(message["id"])
    people, machines = len(PEOPLE), len(MACHINES)
    assert (shown["opens"], shown["machine_opens"]) == (people, machines)
    assert (shown["clicks"], shown["machine_clicks"]) == (people, machines)


async def test_head_and_prefetch_are_machines(post: Post):
    message = await post.send()
    (pixel,), link = pixels(message["content"]["html"]), links(message["content"]["html"])[0]
    assert (await post.visit(link, "HEAD")).status_code == 302
    assert (await post.visit(pixel, "HEAD")).status_code == 200
    await post.visit(link, sec_purpose="prefetch;prerender")
    assert [event["machine_reason"] for event in await post.events("email.clicked")] == ["head", "prefetch"]
    assert [event["machine_reason"] for event in await post.events("email.opened")] == ["head"]


async def test_a_scanner_that_follows_all_links_is_found_out(post: Post):
    html = "".join(f"<a href='https://shop.example/{n}'>{n}</a>" for n in range(4))
    message = await post.send(html=html)
    # All at once: a busy machine takes its time for one after another.
    await asyncio.gather(*(post.visit(link) for link in links(message["content"]["html"])))
    found = [event.get("machine_reason") for event in await post.events("email.clicked")]
    assert sorted(found, key=str) == [None, "many_links", "many_links", "many_links"]


async def test_the_hidden_link_betrays_a_machine(post: Post):
    await ok(post.client.put("/v1/tracking", json={"bait": True}))
    message = await post.send()
    html = message["content"]["html"]
    spring, _, bait = links(html)
    assert f'<a href="{bait}" style="display:none' in html
    # The text part has only what people may follow.
    assert bait not in message["content"]["text"]
    answer = await post.visit(bait)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    await post.visit(spring)
    first, second = await post.events("email.clicked")
    assert (first["machine_reason"], first["link_number"], "url" in first) == ("bait", 0, False)
    assert (second["machine_reason"], second["link_number"]) == ("bait", 1)


async def test_a_pixel_is_shown_whatever_the_token_is(post: Post):
    message = await post.send()
    (pixel,) = pixels(message["content"]["html"])
    picture = (await post.visit(pixel)).content
    for other in ("", "x", pixel[-36:-1], pixel[-36:-1] + "A", pixel[-36:] + "A", "%00", "a" * 5000, "x/y"):
        answer = await post.visit(f"/o/{other}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/gif")
        assert answer.content == picture
    assert (await post.visit(pixel, "POST")).content == picture
    assert len(await post.events("email.opened")) == 1


async def test_links_of_mails_lead_only_where_the_mail_said(post: Post):
    message = await post.send()
    link = links(message["content"]["html"])[0]
    for other in (
        link[:-1],
        link + "A",
        link[:-1] + ("A" if link[-1] != "A" else "B"),
        f"{BASE}/c/" + "A" * CLICK_LENGTH,
    ):
        assert (await post.visit(other)).status_code == 404
    answer = await post.visit(f"{link}?url=https://evil.example", host="evil.example")
    assert answer.headers["location"] == "https://shop.example/spring?a=1&b=2"
    assert len(await post.events("email.clicked")) == 1


async def test_what_is_not_wanted_is_not_tracked(post: Post):
    tracked = (await post.send())["content"]
    assert (len(pixels(tracked["html"])), len(links(tracked["html"]))) == (1, 2)
    for fields, expected in (
        ({"track_opens": False}, (0, 2)),
        ({"track_clicks": False}, (1, 0)),
        ({"track_opens": False, "track_clicks": False}, (0, 0)),
        ({"purpose": "transactional"}, (0, 0)),
        ({"purpose": "transactional", "track_opens": True}, (1, 0)),
    ):
        content = (await post.send(**fields))["content"]
        assert (len(pixels(content["html"])), len(links(content["html"]))) == expected, fields
        if expected == (0, 0):
            assert content["html"] == HTML
    await ok(post.client.put("/v1/tracking", json={"opens": False, "transactional": True}))
    for purpose in ("promotional", "transactional"):
        content = (await post.send(purpose=purpose))["content"]
        assert (len(pixels(content["html"])), len(links(content["html"]))) == (0, 2)


async def test_a_person_can_refuse_to_be_tracked(post: Post):
    traits = {"email": "ada@example.com", "email_tracking": False}
    await ok(post.client.post("/v1/identify", json={"userId": "ada", "traits": traits}))
    content = (await post.send())["content"]
    assert content["html"] == HTML
    assert "List-Unsubscribe" in content["headers"]
    await ok(post.client.post("/v1/identify", json={"userId": "ada", "traits": {"email_tracking": True}}))
    assert pixels((await post.send())["content"]["html"])


async def test_mails_of_templates_get_utm_parameters_and_one_row_per_url(post: Post):
    await ok(post.client.put("/v1/tracking", json={"utm": {"source": "mail"}}))
    html = "<p>{{ name }}</p><a href='https://shop.example/?n={{ name }}&amp;x=1'>a</a><a href='https://shop.example/'>b</a>"
    content = {"subject": "s", "html": html}
    made = {"name": "t", "channel": "email", "variants": [{"name": "a", "content": content}]}
    template = await ok(post.client.post("/v1/templates", json=made), 201)
    for name in ("Ada", "Ada", "Bob"):
        message = await post.send(
            html=None, subject=None, template_id=template["id"], variables={"name": name}, campaign="spring"
        )
        first, second = links(message["content"]["html"])
        assert links(message["content"]["text"]) == [first, second]
        query = f"n={name}&x=1&utm_source=mail&utm_campaign=spring"
        assert (await post.visit(first)).headers["location"] == f"https://shop.example/?{query}"
        assert (await post.visit(second)).headers["location"].endswith("/?utm_source=mail&utm_campaign=spring")

    async def count(tx: Tx) -> int:
        return len(await tx.rows("tracked_urls.expired", before=1 << 62, n=100))

    assert await post.engine.database.read(count) == 3


async def test_a_link_of_a_mail_expires(post: Post):
    tracker, now = post.engine.tracker, now_us()
    workspace_id = post.engine.ids.node
    mailing = tracker.mailing(workspace_id, now - 401 * DAY, Look(purpose="promotional"))
    content = mailing.mail(5, "ada@example.com").finish(Content(html="<a href='https://shop.example'>x</a>"))
    await post.engine.database.transact(add_urls, mailing.take_urls())
    assert (await post.visit(links(content.html)[0])).status_code == 410
