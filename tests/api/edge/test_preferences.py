"""Unsubscribing by a link: RFC 8058 by the book, the page for people, and their preferences."""

import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from tests.api.calling import Keys, ok, serve
from tests.api.edge.test_mail_tracking import BASE, Post
from waypost.clock import now_us
from waypost.domain.values.ids import internal
from waypost.engine.process import Engine
from waypost.engine.tracking.mail import Look

ONE_CLICK = {"content-type": "application/x-www-form-urlencoded"}
BODY = b"List-Unsubscribe=One-Click"
MULTIPART = b'--b\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--b--\r\n'


class Reader(Post):
    """A person who gets mails of the shop."""

    def __init__(self, engine: Engine, client: httpx.AsyncClient, outside: httpx.AsyncClient) -> None:
        super().__init__(engine, client)
        #: Has no key: the mail provider only knows the link.
        self.outside = outside

    async def link(self, **fields: Any) -> str:
        """Return the path to unsubscribe of a new mail."""
        return self.path(await self.send(**fields))

    @staticmethod
    def path(message: Any) -> str:
        found = re.fullmatch(rf"<{BASE}(/u/[\w-]+)>", message["content"]["headers"]["List-Unsubscribe"])
        assert found is not None
        return found[1]

    async def leave(self, path: str, body: bytes = BODY, **headers: str) -> httpx.Response:
        sent = ONE_CLICK | {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.outside.post(path, content=body, headers=sent)

    async def state(self, address: str = "ada@example.com", channel: str = "email") -> str | None:
        found = await self.client.get("/v1/subscriptions", params={"channel": channel, "address": address})
        return found.json()["state"] if found.status_code == 200 else None


@pytest.fixture
async def reader(engine: Engine, keys: Keys) -> AsyncIterator[Reader]:
    app = serve(engine)
    transport = httpx.ASGITransport(app=app, client=("198.51.100.7", 4321))
    headers = {"authorization": f"Bearer {keys.manage}"}
    async with (
        httpx.AsyncClient(transport=transport, base_url="http://waypost", headers=headers) as client,
        httpx.AsyncClient(transport=transport, base_url="http://waypost") as outside,
    ):
        config = {"host": "127.0.0.1", "port": 9, "security": "none", "from_email": "shop@example.com"}
        await ok(client.post("/v1/connections", json={"name": "mail", "connector": "smtp", "config": config}), 201)
        yield Reader(engine, client, outside)


async def test_a_promotional_mail_has_the_headers_of_rfc_8058(reader: Reader):
    message = await reader.send()
    headers = message["content"]["headers"]
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert re.fullmatch(rf"<{BASE}/u/[\w-]+>", headers["List-Unsubscribe"])
    assert "headers" not in (await reader.send(purpose="transactional"))["content"]
    own = {"list-unsubscribe": "<mailto:leave@example.com>"}
    assert (await reader.send(headers=own))["content"]["headers"] == own


@pytest.mark.parametrize("user_agent", ["", "Mozilla/5.0", "Googlebot/2.1", "curl/8.0", "GoogleImageProxy"])
async def test_a_post_unsubscribes_at_once_whoever_sends_it(reader: Reader, user_agent: str):
    message = await reader.send()
    answer = await reader.leave(reader.path(message), user_agent=user_agent)
    assert answer.status_code == 200
    assert "location" not in answer.headers
    assert "set-cookie" not in answer.headers
    assert await reader.state() == "unsubscribed"
    (event,) = await reader.events("email.unsubscribed")
    assert event["message"]["id"] == message["id"]
    assert event["properties"]["source"] == "one_click"
    assert event["properties"]["ip"] == "198.51.100.7"
    (changed,) = await reader.events("subscription.changed")
    assert (changed["address"], changed["state"], changed["source"]) == ("ada@example.com", "unsubscribed", "one_click")
    # Mail providers repeat it.
    assert (await reader.leave(reader.path(message), user_agent=user_agent)).status_code == 200
    assert len(await reader.events("email.unsubscribed")) == 1


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (BODY, "application/x-www-form-urlencoded; charset=utf-8"),
        (b"a=b&" + BODY, "application/x-www-form-urlencoded"),
        (MULTIPART, "multipart/form-data; boundary=b"),
        (BODY, "text/plain"),
    ],
)
async def test_both_encodings_of_the_body_count(reader: Reader, body: bytes, kind: str):
    assert (await reader.leave(await reader.link(), body, content_type=kind)).status_code == 200
    assert await reader.state() == "unsubscribed"


@pytest.mark.parametrize("body", [b"", b"List-Unsubscribe=", b"x", b"\xff\xfe", b"a&" * 2000, MULTIPART])
async def test_other_bodies_change_nothing(reader: Reader, body: bytes):
    answer = await reader.leave(await reader.link(), body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_body")
    assert await reader.state() is None


async def test_a_large_body_is_refused(reader: Reader):
    assert (await reader.leave(await reader.link(), b"x" * 100_000)).status_code == 413


async def test_a_get_never_unsubscribes(reader: Reader):
    path = await reader.link()
    for method in ("GET", "HEAD"):
        for query in ("", "?List-Unsubscribe=One-Click", "?unsubscribe=yes"):
            for rest in ("", "/preferences"):
                assert (await reader.outside.request(method, path + rest + query)).status_code == 200
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        assert (await reader.outside.request(method, path, content=BODY, headers=ONE_CLICK)).status_code == 405
    assert await reader.state() is None
    assert await reader.events("email.unsubscribed") == []


async def test_the_page_has_a_button_that_unsubscribes(reader: Reader):
    path = await reader.link()
    page = await reader.outside.get(path)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "form-action 'self'" in page.headers["content-security-policy"]
    assert "script" not in page.text
    assert "ada@example.com" not in page.text
    assert f'<form method="post" action="{path}">' in page.text
    assert f'href="{path}/preferences"' in page.text
    done = await reader.leave(path, b"unsubscribe=yes")
    assert "You are unsubscribed" in done.text
    assert await reader.state() == "unsubscribed"
    (changed,) = await reader.events("subscription.changed")
    assert changed["source"] == "unsubscribe_page"


async def test_tokens_that_are_not_ours_do_nothing(reader: Reader):
    path = await reader.link()
    other = path[:-1] + ("A" if path[-1] != "A" else "B")
    for wrong in (other, path[:-1], path + "x", "/u/", "/u/x", path + "/other", path + "/preferences/x", "/u/%00"):
        assert (await reader.outside.get(wrong)).status_code == 404
        assert (await reader.leave(wrong)).status_code == 404
    assert await reader.state() is None


EVIL = "<script>alert(1)</script>"


async def profile(reader: Reader) -> str:
    """Make a profile with a mail address and a phone number; return its id."""
    traits = {"email": "ada@example.com", "phone": "+12025550101"}
    await ok(reader.client.post("/v1/identify", json={"userId": "ada", "traits": traits}))
    (found,) = (await ok(reader.client.get("/v1/profiles?user_id=ada")))["data"]
    return str(found["id"])


async def member(reader: Reader, name: str) -> str:
    """Make a list with the person on it; return its id."""
    made = await ok(reader.client.post("/v1/lists", json={"name": name}), 201)
    people = {"people": [{"user_id": "ada"}]}
    await ok(reader.client.post(f"/v1/lists/{made['id']}/members", json=people))
    return str(made["id"])


async def members(reader: Reader, list_id: str) -> list[str]:
    return [row["state"] for row in (await ok(reader.client.get(f"/v1/lists/{list_id}/members")))["data"]]


async def test_the_preference_page_shows_and_changes_channels_and_lists(reader: Reader):
    await profile(reader)
    news, offers = await member(reader, f"News {EVIL}"), await member(reader, "Offers")
    path = await reader.link()
    page = (await reader.outside.get(f"{path}/preferences")).text
    assert "<script>" not in page
    assert "News &lt;script&gt;" in page
    assert "•••101" in page
    assert page.count(" checked>") == 4
    form = [("shown", "email"), ("shown", "sms"), ("shown", news), ("shown", offers)]
    answer = await reader.leave(
        f"{path}/preferences", urlencode([*form, ("chosen", "email"), ("chosen", offers)]).encode()
    )
    assert (answer.status_code, answer.text.count(" checked>")) == (200, 2)
    assert "Your choice is saved" in answer.text
    assert (await reader.state(), await reader.state("+12025550101", "sms")) == (None, "unsubscribed")
    assert (await members(reader, news), await members(reader, offers)) == (["unsubscribed"], ["subscribed"])
    assert [event["list"]["id"] for event in await reader.events("list.left")] == [news]
    # And back again.
    await reader.leave(f"{path}/preferences", urlencode([*form, ("chosen", "sms"), ("chosen", news)]).encode())
    assert (await reader.state(), await reader.state("+12025550101", "sms")) == ("unsubscribed", "subscribed")
    assert (await members(reader, news), await members(reader, offers)) == (["subscribed"], ["unsubscribed"])
    (event,) = await reader.events("email.unsubscribed")
    assert event["properties"]["source"] == "preference_page"


async def test_the_page_changes_only_what_it_shows_to_this_person(reader: Reader):
    await profile(reader)
    news = await member(reader, "News")
    stranger = await reader.link(to="bob@example.com")
    body = urlencode([("shown", "email"), ("shown", "sms"), ("shown", news), ("chosen", "email")]).encode()
    assert (await reader.leave(f"{stranger}/preferences", body)).status_code == 200
    assert await members(reader, news) == ["subscribed"]
    assert await reader.state("+12025550101", "sms") is None
    for wrong in (b"shown=lst_x", b"shown=push", b"\xff"):
        assert (await reader.leave(f"{stranger}/preferences", wrong)).status_code == 400


async def test_one_click_leaves_the_list_of_the_mail(reader: Reader, keys: Keys):
    id_ = await profile(reader)
    news = await member(reader, "News")
    tracker = reader.engine.tracker
    numbers = internal("lst", news), internal("pro", id_)
    mailing = tracker.mailing(keys.workspace_id, now_us(), Look(purpose="promotional", list_id=numbers[0]))
    url = mailing.mail(7, "ada@example.com", numbers[1]).links.unsubscribe_url
    assert (await reader.leave(url.removeprefix(BASE))).status_code == 200
    assert await members(reader, news) == ["unsubscribed"]
    assert await reader.state() == "unsubscribed"
    (event,) = await reader.events("email.unsubscribed")
    assert (event["properties"]["list_id"], event["from"]) == (news, "ada@example.com")


async def test_templates_have_the_links(reader: Reader):
    html = "<a href='{{ unsubscribe_url }}'>Leave</a> <a href='{{ preferences_url }}'>Choose</a>"
    made = {"name": "t", "channel": "email", "variants": [{"name": "a", "content": {"subject": "s", "html": html}}]}
    template = await ok(reader.client.post("/v1/templates", json=made), 201)
    for purpose in ("promotional", "transactional"):
        message = await reader.send(html=None, subject=None, template_id=template["id"], purpose=purpose)
        leave, choose = re.findall(rf"href='{BASE}(/u/[\w-]+)(?:/preferences)?'", message["content"]["html"])
        assert leave == choose
        assert "/c/" not in message["content"]["html"]
        assert (await reader.outside.get(f"{leave}/preferences")).status_code == 200
