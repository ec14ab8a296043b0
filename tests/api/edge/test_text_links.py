"""The links of texts, from the request to the click: checked, given their parameters, shortened, and followed."""

import re
from typing import Any

import httpx
import pytest

from tests.api.calling import Keys, ok
from tests.api.edge.test_texts import ANN, Sender
from tests.api.edge.test_texts import sender as sender
from tests.waiting import eventually
from waypost.engine.process import Engine
from waypost.sink.thread_runner import Running

SHORT = re.compile(r"http://127\.0\.0\.1:8080/c/[0-9A-Za-z]{9}")


@pytest.fixture
async def linked(sender: Sender, sink: Running) -> Sender:
    """A sender whose texts the sink takes, and Ann who is subscribed."""
    await sender.connect(sink)
    await sender.subscribe(ANN)
    return sender


async def accepted(sender: Sender, **changes: Any) -> str:
    """The id of a text that was accepted."""
    response = await sender.send(**changes)
    assert response.status_code == 200, response.text
    found: str = response.json()["messageId"]
    return found


async def follow(sender: Sender, short: str) -> httpx.Response:
    """What a browser gets for a short link."""
    return await sender.http.get(short.removeprefix("http://127.0.0.1:8080"), headers={"authorization": ""})


async def test_links_are_shortened_tagged_and_followed(linked: Sender):
    id_ = await accepted(
        linked,
        text="Look at https://shop.example/a?utm_source=mine.",
        clickUrl="https://shop.example/b?utm_api=birthday&utm_tracking=newclicks#top",
    )
    text = (await linked.message(id_))["content"]["text"]
    first, second = SHORT.findall(text)
    assert text == f"Look at {first}. {second}"
    assert first != second
    for short, url in (
        (first, "https://shop.example/a?utm_source=mine&utm_medium=sms&utm_campaign=Birthday"),
        (
            second,
            "https://shop.example/b?utm_api=birthday&utm_tracking=newclicks"
            "&utm_source=waypost&utm_medium=sms&utm_campaign=Birthday#top",
        ),
    ):
        response = await follow(linked, short)
        assert (response.status_code, response.headers["location"]) == (302, url)

    async def clicked() -> Any:
        found = await linked.message(id_)
        return found["clicks"] + found["machine_clicks"] == 2

    await eventually(clicked)
    (event, _) = (await ok(linked.http.get("/v1/events?type=message.clicked")))["data"]
    assert event["data"]["message"]["id"] == id_


async def test_the_parameters_of_the_client_and_of_the_workspace(linked: Sender):
    async def location(text: str) -> str:
        id_ = await accepted(linked, text=text, clickUrl="https://shop.example")
        (short,) = SHORT.findall((await linked.message(id_))["content"]["text"])
        return (await follow(linked, short)).headers["location"]

    await ok(linked.http.put("/v1/tracking", json={"utm": {"source": "acme", "medium": "text"}}))
    assert await location("a") == "https://shop.example?utm_source=acme&utm_medium=text&utm_campaign=Birthday"
    client = f"/v1/text-clients/{linked.client['id']}"
    await ok(linked.http.patch(client, json={"utm": {"utm_content": "{sendPurpose} 1"}}))
    assert await location("b") == "https://shop.example?utm_content=Birthday%201"
    await ok(linked.http.patch(client, json={"utm": {}}))
    assert await location("c") == "https://shop.example"


async def test_a_text_for_nobody_makes_no_link(linked: Sender, engine: Engine):
    response = await linked.send(phone="+12025550177", clickUrl="https://shop.example")
    assert response.json()["status"] == "NOT_FOUND"
    found = await linked.message(response.json()["messageId"])
    assert (
        found["content"]["text"]
        == "Happy birthday! https://shop.example?utm_source=waypost&utm_medium=sms&utm_campaign=Birthday"
    )


async def test_links_that_do_not_work_are_refused_now(linked: Sender, sink: Running):
    await linked.make_client(check_links="now")
    for field, url, reason in (
        ("clickUrl", f"{sink.url}/no-such-page", "status_404"),
        ("clickUrl", "http://10.1.2.3/", "address_forbidden"),
        ("clickUrl", "http://nobody.invalid/", "dns"),
        ("mediaUrl", f"{sink.url}/healthz", "not_an_image"),
    ):
        response = await linked.send(**{field: url})
        problem = response.json()
        assert (response.status_code, problem["code"], problem["field"]) == (400, "link_not_working", field)
        assert problem["reason"] == reason, problem
    # Nothing was recorded, so the same text may be sent.
    assert await accepted(linked, clickUrl=f"{sink.url}/healthz")


async def test_links_are_checked_later(linked: Sender, sink: Running):
    await linked.make_client(check_links="later")
    good = await accepted(linked, text="good", clickUrl=f"{sink.url}/healthz")
    bad = await accepted(linked, text="bad", clickUrl=f"{sink.url}/no-such-page")
    found = await linked.came_to(bad, "FAILED_TO_SEND")
    assert (found["status"], found["reason"], found["history"][-1]["detail"]) == (
        "failed",
        "link_failed",
        "clickUrl: status_404",
    )
    assert [line["status"] for line in found["history"]] == ["held", "failed"]
    await linked.came_to(good, "SENDING")
    assert await linked.reported(bad) == ["PENDING_TO_SEND", "FAILED_TO_SEND"]
    # It never left, so the same text with a link that works is no repeat; one that left is.
    mended = {"text": "bad", "clickUrl": f"{sink.url}/healthz"}
    assert await accepted(linked, **mended) != bad
    for text in (mended, {"text": "good"}):
        response = await linked.send(**text)
        assert (response.status_code, response.json()["code"]) == (409, "duplicate_message")


async def test_a_check_that_a_dead_process_began_is_made_by_another_one(linked: Sender, sink: Running, engine: Engine):
    await linked.make_client(check_links="later")
    checker, engine.link_checker = engine.link_checker, None  # type: ignore[assignment]
    id_ = await accepted(linked, text="waits", clickUrl=f"{sink.url}/healthz")
    engine.link_checker = checker

    async def hasten(tx: Any) -> None:
        tx._connection.execute("UPDATE text_link_checks SET due_at = 0")

    async def came() -> Any:
        await engine.database.transact(hasten)
        engine.links_due.wake_at(0)
        return (await linked.message(id_))["text_status"] in ("SENDING", "DELIVERED")

    await eventually(came)


async def test_a_text_that_is_too_long_with_its_links(linked: Sender, keys: Keys):
    response = await linked.send(text="x" * 1590, clickUrl="https://shop.example")
    assert (response.status_code, response.json()["code"], response.json()["field"]) == (400, "text_too_long", "text")
    response = await linked.send(clickUrl="https://user:secret@shop.example")
    assert (response.status_code, response.json()["field"]) == (400, "clickUrl"), response.text
