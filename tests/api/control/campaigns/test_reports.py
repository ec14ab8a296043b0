"""What a campaign will do and did, over HTTP: tests, previews, estimates, the overview and the recipients."""

import csv
import email
import email.policy
import io
import re
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.api.calling import bearer, eventually, ok, refused, track
from tests.api.control.campaigns.outreach import HTML, Outreach, make_outreach
from tests.engine.mailserver import MailServer, mail_server
from waypost.clock import DAY, iso, now_us
from waypost.domain.tracking import clicks

PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Mobile Safari/604.1"
LATER = {"kind": "at", "at": iso(now_us() + 30 * DAY)}


@pytest.fixture
async def outreach(client: httpx.AsyncClient) -> AsyncIterator[Outreach]:
    server = MailServer()
    async with mail_server(server) as url:
        yield await make_outreach(client, server, int(url.rpartition(":")[2]))


def html_of(outreach: Outreach, address: str) -> str:
    """Return the HTML of the mail to an address."""
    (mail,) = (mail for _, recipients, mail in outreach.server.mails if recipients == [address])
    body = email.message_from_bytes(mail, policy=email.policy.default).get_body(("html",))
    assert body is not None
    return str(body.get_content())


def path_of(url: str) -> str:
    return re.sub(r"^https?://[^/]+", "", url)


async def mails(outreach: Outreach, count: int) -> list[str]:
    """Return the addresses of this many mails, once they came."""

    async def look() -> list[str] | None:
        found = [to for _, (to,), _ in outreach.server.mails]
        return found if len(found) >= count else None

    found: list[str] = await eventually(look)
    return sorted(found)


async def test_emails_that_name_no_sender_have_the_default_one(client: httpx.AsyncClient, outreach: Outreach):
    """Messages with content of their own, messages with a template, tests of campaigns, and campaigns."""
    sender = {"address": "news@example.com", "name": "Daily, News", "reply_to": "desk@example.com", "default": True}
    await ok(client.post("/v1/senders", json=sender), 201)
    plain = {"channel": "email", "to": "a@example.com", "subject": "Hello", "text": "Hello"}
    await ok(client.post("/v1/messages", json=plain), 202)
    await ok(client.post("/v1/messages", json=plain | {"to": "b@example.com", "sender": "eve@example.com"}), 202)
    await ok(client.post("/v1/messages", json={"to": "c@example.com", "template_id": outreach.template}), 202)
    made = await outreach.draft([await outreach.person("d@example.com"), await outreach.person("f@example.com")])
    await ok(client.post(f"/v1/campaigns/{made['id']}/test", json={"to": ["e@example.com"]}), 202)
    await ok(client.post(f"/v1/campaigns/{made['id']}/launch"))
    assert await mails(outreach, 6) == [f"{name}@example.com" for name in "abcdef"]
    for envelope, (to,), mail in outreach.server.mails:
        read = email.message_from_bytes(mail, policy=email.policy.default)
        own = to == "b@example.com"
        assert str(read["From"]) == ("eve@example.com" if own else '"Daily, News" <news@example.com>')
        assert str(read["Reply-To"]) == ("None" if own else "desk@example.com")
        assert envelope


async def test_a_test_goes_to_addresses_and_colleagues_and_counts_nowhere(
    client: httpx.AsyncClient, outreach: Outreach
):
    ada, bob, carol = await outreach.people(3)
    colleagues = await outreach.list_of([bob, carol], "Colleagues")
    made = await outreach.draft([ada], schedule=LATER)
    body = {
        "to": ["boss@example.com", "not an address"],
        "profile_ids": [ada, bob],
        "list_id": colleagues,
        "profile_id": ada,
    }
    sent = await ok(client.post(f"/v1/campaigns/{made['id']}/test", json=body), 202)
    assert (sent["accepted"], sent["rejected"], len(sent["data"])) == (4, 1, 5)
    assert sent["data"][1]["error"]["code"] == "invalid_address"
    expected = ["boss@example.com", "user-1@example.com", "user-2@example.com", "user-3@example.com"]
    assert await mails(outreach, 4) == expected
    # The boss sees it as the person that was named.
    assert "Hi P1" in html_of(outreach, "boss@example.com")
    assert "Hi P3" in html_of(outreach, "user-3@example.com")
    shown = (await ok(client.get("/v1/messages")))["data"]
    assert {(one["test"], one["campaign"]) for one in shown} == {(True, "Spring")}
    found = await outreach.overview(made)
    assert (found["audience"], found["sent"]) == (0, 0)
    assert await outreach.recipients(made) == []
    assert (await outreach.get(made))["state"] == "draft"
    assert (await ok(client.get("/v1/message-counts")))["data"] == []


@pytest.mark.parametrize(
    ("settings", "opens", "clicks"),
    [
        ({}, True, True),
        ({"tracking": {"opens": False}}, False, True),
        ({"tracking": {"clicks": False}}, True, False),
        ({"purpose": "transactional"}, False, False),
        ({"purpose": "transactional", "tracking": {"opens": True, "clicks": True}}, True, True),
    ],
)
async def test_a_campaign_is_tracked_as_it_says_and_its_test_looks_the_same(
    client: httpx.AsyncClient, outreach: Outreach, settings: dict[str, Any], opens: bool, clicks: bool
):
    """`tracking` of a campaign overrides the workspace; a test has the headers and links of what people get."""
    ada, bob = await outreach.person("ada@example.com"), await outreach.person("bob@example.com")
    made = await outreach.draft([ada, bob], **settings)
    assert made["tracking"] == settings.get("tracking")
    await ok(client.post(f"/v1/campaigns/{made['id']}/test", json={"to": ["boss@example.com"]}), 202)
    await ok(client.post(f"/v1/campaigns/{made['id']}/launch"))
    assert await mails(outreach, 3) == ["ada@example.com", "bob@example.com", "boss@example.com"]
    for address in ("ada@example.com", "boss@example.com"):
        html = html_of(outreach, address)
        assert ("/o/" in html) is opens
        assert ("/c/" in html) is clicks
        assert ("https://shop.example/spring" in html) is not clicks
    shown = {one["to"]: one["id"] for one in (await ok(client.get("/v1/messages?campaign=Spring")))["data"]}
    assert (await ok(client.get(f"/v1/messages/{shown['ada@example.com']}")))["campaign_id"] == made["id"]
    promotional = settings.get("purpose") != "transactional"
    for _, _, mail in outreach.server.mails:
        read = email.message_from_bytes(mail, policy=email.policy.default)
        assert (read["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click") is promotional


async def test_a_preview_knows_the_link_to_unsubscribe(client: httpx.AsyncClient, outreach: Outreach):
    made = await outreach.draft([])
    shown = await ok(client.post(f"/v1/campaigns/{made['id']}/preview", json={}))
    assert "/u/preview" in shown["content"]["html"]
    assert {one["name"] for one in shown["undefined"]} == {"person.first_name"}


async def test_a_test_is_repeated_by_its_key(client: httpx.AsyncClient, outreach: Outreach):
    made = await outreach.draft()
    place, body, key = f"/v1/campaigns/{made['id']}/test", {"to": ["boss@example.com"]}, {"Idempotency-Key": "test-1"}
    first = await ok(client.post(place, json=body, headers=key), 202)
    assert await ok(client.post(place, json=body, headers=key), 202) == first
    assert await mails(outreach, 1) == ["boss@example.com"]


async def test_tests_that_are_refused(client: httpx.AsyncClient, outreach: Outreach):
    made = await outreach.draft()
    place = f"/v1/campaigns/{made['id']}/test"
    await refused(client.post(place, json={}), 400, "no_testers")
    await refused(client.post(place, json={"to": ["x"] * 51}), 400, "invalid_body")
    await refused(client.post(place, json={"to": ["a@example.com"], "variant": "z"}), 400, "invalid_messages")
    await refused(client.post(place, json={"list_id": "seg_0000000000000001"}), 404, "not_found")
    crowd = await outreach.list_of(await outreach.people(51))
    problem = await refused(client.post(place, json={"list_id": crowd}), 400, "too_many_testers")
    assert problem["field"] == "list_id"
    bare = await ok(client.post("/v1/campaigns", json={"name": "x", "channel": "email"}), 201)
    await refused(client.post(f"/v1/campaigns/{bare['id']}/test", json={"to": ["a@example.com"]}), 400, "no_template")
    await refused(client.post(f"/v1/campaigns/{bare['id']}/preview", json={}), 400, "no_template")
    assert outreach.server.mails == []


async def test_a_preview_shows_it_as_a_person_gets_it(client: httpx.AsyncClient, outreach: Outreach):
    ada = await outreach.person()
    html = "<p>Hi {{ person.first_name }} {{ code }} {{ missing }}</p>"
    template = {"name": "Code", "channel": "email", "subject": "Hi", "html": html}
    id_ = (await ok(client.post("/v1/templates", json=template), 201))["id"]
    made = await outreach.draft(template_id=id_, variables={"code": "SPRING"})
    place = f"/v1/campaigns/{made['id']}/preview"
    shown = await ok(client.post(place, json={"profile_id": ada}))
    assert "<p>Hi P1 SPRING ⟦missing⟧</p>" in shown["content"]["html"]
    assert {one["name"] for one in shown["undefined"]} == {"missing"}
    assert (shown["variant"], shown["sms"]) == ("default", None)
    nobody = await ok(client.post(place, json={}))
    assert "SPRING" in nobody["content"]["html"]
    key = await ok(client.post("/v1/keys", json={"name": "editor", "scopes": ["campaigns.read"]}), 201)
    editor = bearer(key["key"])
    await ok(client.post(place, json={}, headers=editor))
    await refused(client.post(place, json={"profile_id": ada}, headers=editor), 403, "forbidden")
    await refused(client.post(place, json={"profile_id": "pro_00000000000000ff"}), 404, "unknown_profile")
    await refused(client.post(place, json={"variant": "z"}), 400, "unknown_variant")


async def test_an_estimate_says_why_others_are_skipped(client: httpx.AsyncClient, outreach: Outreach):
    people = await outreach.people(3)
    excluded = await outreach.person()
    nowhere = await outreach.person("")
    bounced, left = await outreach.person(), await outreach.person()
    await ok(client.post("/v1/suppressions", json={"channel": "email", "address": "user-6@example.com"}), 201)
    subscription = {"channel": "email", "address": "user-7@example.com", "state": "unsubscribed"}
    await ok(client.put("/v1/subscriptions", json=subscription))
    everybody = [*people, excluded, nowhere, bounced, left]
    made = await outreach.draft(everybody, exclude={"lists": [await outreach.list_of([excluded])]})
    place = f"/v1/campaigns/{made['id']}/estimate"
    found = await ok(client.post(place))
    assert (found["audience"], found["reach"], found["approximate"]) == (7, 3, False)
    assert {one["reason"]: one["count"] for one in found["excluded"]} == {
        "excluded": 1,
        "no_address": 1,
        "suppressed": 1,
        "not_consented": 1,
    }
    # A transactional campaign reaches also those who unsubscribed.
    await ok(client.patch(f"/v1/campaigns/{made['id']}", json={"purpose": "transactional"}))
    assert (await ok(client.post(place)))["reach"] == 4
    # What is estimated is what happens.
    await ok(client.patch(f"/v1/campaigns/{made['id']}", json={"purpose": "promotional"}))
    await outreach.act(made, "launch")
    await outreach.came_to(made, "finished")
    overview = await outreach.overview(made)
    assert (overview["audience"], overview["sent"]) == (7, 3)
    assert {(one["reason"], one["count"]) for one in overview["skipped"]} == {
        ("excluded", 1),
        ("no_address", 1),
        ("suppressed", 1),
        ("not_consented", 1),
    }


async def test_a_holdout_gets_nothing_and_is_compared(client: httpx.AsyncClient, outreach: Outreach):
    people = await outreach.people(24)
    made = await outreach.draft(people, holdout=0.5, conversion={"event": "Order Shipped", "within": "1d"})
    estimate = await ok(client.post(f"/v1/campaigns/{made['id']}/estimate"))
    ((reason, held_out),) = [(one["reason"], one["count"]) for one in estimate["excluded"]]
    assert reason == "holdout"
    assert 2 < held_out < 22
    await outreach.act(made, "launch")
    await outreach.came_to(made, "finished")
    overview = await outreach.overview(made)
    assert (overview["holdout"], overview["sent"]) == (held_out, 24 - held_out)
    assert len(outreach.server.mails) == 24 - held_out
    groups = {one["profile_id"]: one["status"] for one in await outreach.recipients(made)}
    got = [f"user-{n + 1}" for n, profile in enumerate(people) if groups[profile] != "holdout"]
    kept = [f"user-{n + 1}" for n, profile in enumerate(people) if groups[profile] == "holdout"]
    # Half of those who got it buy, and one of those who did not; some of them twice.
    for user in [*got[: len(got) // 2], got[0], kept[0], kept[0], "somebody-else"]:
        await track(client, userId=user)
    await track(client, userId=got[-1], event="Something Else")

    async def counted() -> Any:
        found = (await outreach.overview(made))["conversions"]
        return found if (found["total"], found["holdout"]) == (len(got) // 2, 1) else None

    conversions = await eventually(counted)
    rate, without = len(got) // 2 / len(got), 1 / len(kept)
    assert conversions["rate"] == pytest.approx(rate)
    assert conversions["holdout_total"] == held_out
    assert conversions["holdout_rate"] == pytest.approx(without)
    assert conversions["lift"] == pytest.approx((rate - without) / without)
    converted = [one for one in await outreach.recipients(made) if one["converted_at"]]
    assert len(converted) == len(got) // 2 + 1


async def test_the_overview_counts_opens_clicks_and_failures(
    client: httpx.AsyncClient, outreach: Outreach, monkeypatch: pytest.MonkeyPatch
):
    # A click at once after the sending is a machine's; nobody waits here.
    monkeypatch.setattr(clicks, "SOON", 0)
    outreach.server.refused["user-3@example.com"] = "550 5.1.1 no such user"
    await outreach.people(4)
    people = [one["id"] for one in (await ok(client.get("/v1/profiles")))["data"]]
    listed = await outreach.list_of(people)
    made = await outreach.launched(audience={"lists": [listed]})
    await outreach.came_to(made, "finished")
    html = html_of(outreach, "user-1@example.com")
    (pixel,) = re.findall(r'<img src="([^"]+/o/[^"]+)"', html)
    (link,) = re.findall(r'href="([^"]+/c/[^"]+)"', html)
    for agent in (PHONE, PHONE):
        assert (await client.get(path_of(pixel), headers={"user-agent": agent})).status_code == 200
        assert (await client.get(path_of(link), headers={"user-agent": agent})).status_code == 302
    other = html_of(outreach, "user-2@example.com")
    (proxied,) = re.findall(r'<img src="([^"]+/o/[^"]+)"', other)
    robot = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
    assert (await client.get(path_of(proxied), headers={"user-agent": robot})).status_code == 200

    async def counted() -> Any:
        found = await outreach.overview(made)
        n = found["opens"]["total"] + found["opens"]["machine"] + found["clicks"]["total"] + found["clicks"]["machine"]
        return found if n == 5 else None

    found = await eventually(counted)
    assert (found["audience"], found["sent"], found["waiting"], found["queued"]) == (4, 3, 0, 0)
    (failure,) = found["failed"]
    assert (failure["code"], failure["count"]) == (2002, 1) or failure["count"] == 1
    assert failure["name"]
    assert failure["meaning"]
    assert found["opens"]["unique"] == 1
    assert found["opens"]["machine"] >= 1
    assert found["clicks"]["unique"] == 1
    (clicked,) = found["clicks"]["links"]
    assert clicked["url"].startswith("https://shop.example/spring")
    assert (clicked["total"], clicked["unique"]) == (found["clicks"]["total"], 1)
    assert sum(hour["counts"].get("sent", 0) for hour in found["series"]) == 3
    (occurrence,) = (await outreach.get(made))["occurrences"]
    assert await outreach.overview(made, occurrence_id=occurrence["id"]) == found
    place = f"/v1/campaigns/{made['id']}"
    await refused(client.get(f"{place}/overview?occurrence_id=occ_00000000000000ff"), 404, "unknown_occurrence")
    await refused(client.get(f"{place}/overview?occurrence_id=x"), 404, "not_found")
    # Recipients, with filters.
    everyone = await outreach.recipients(made)
    assert sorted(one["profile_id"] for one in everyone) == sorted(people)
    (failed,) = await outreach.recipients(made, status="failed")
    assert (failed["to"], failed["code"], failed["failure"]) == (
        "user-3@example.com",
        failure["code"],
        failure["name"],
    )
    assert await outreach.recipients(made, code=failure["code"]) == [failed]
    assert await outreach.recipients(made, reason=failed["reason"]) == [failed]
    assert await outreach.recipients(made, status="sent", reason="nothing") == []
    (opened,) = [one for one in everyone if one["opened_at"]]
    assert (opened["to"], opened["clicked_at"] is not None) == ("user-1@example.com", True)
    await refused(client.get(f"{place}/recipients?status=asleep"), 400, "invalid_parameter")
    await refused(client.get(f"{place}/recipients?reason=%00"), 400, "invalid_parameter")
    await refused(client.get(f"{place}/recipients?code=x"), 400, "invalid_parameter")
    await refused(client.get(f"{place}/recipients?occurrence_id=occ_00000000000000ff"), 404, "unknown_occurrence")


async def test_variants_are_split_and_shown(client: httpx.AsyncClient, outreach: Outreach):
    variants = [
        {"name": name, "weight": 1, "content": {"subject": f"{name} news", "html": HTML}} for name in ("short", "long")
    ]
    template = {"name": "Split", "channel": "email", "variants": variants}
    id_ = (await ok(client.post("/v1/templates", json=template), 201))["id"]
    people = await outreach.people(16)
    made = await outreach.launched(people, template_id=id_)
    await outreach.came_to(made, "finished")
    shown = {one["variant"]: one["sent"] for one in (await outreach.overview(made))["variants"]}
    assert set(shown) == {"short", "long"}
    assert sum(shown.values()) == 16
    assert Counter(one["variant"] for one in await outreach.recipients(made)) == shown
    # A preview shows the variant that the person got.
    first = (await outreach.recipients(made))[0]
    preview = await ok(client.post(f"/v1/campaigns/{made['id']}/preview", json={"profile_id": first["profile_id"]}))
    assert preview["variant"] == first["variant"]


async def test_recipients_are_listed_by_pages_and_exported(client: httpx.AsyncClient, outreach: Outreach):
    addresses = ["=cmd@example.com", "+plus@example.com", "-minus@example.com", "plain@example.com", None]
    people = [await outreach.person(address) for address in addresses]
    people.append(await outreach.person(""))
    made = await outreach.launched(people)
    await outreach.came_to(made, "finished")
    place = f"/v1/campaigns/{made['id']}/recipients"
    seen: list[str] = []
    after: str | None = None
    while True:
        page = await ok(client.get(place, params={"limit": 4} | ({"after": after} if after else {})))
        seen += [one["profile_id"] for one in page["data"]]
        after = page["next"]
        if after is None:
            break
    assert seen == sorted(people)
    answer = await client.get(f"{place}?format=csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="recipients.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["profile_id"] for row in rows] == seen
    told = {row["to"] for row in rows}
    # What a spreadsheet would run as a formula begins with an apostrophe.
    assert {"'=cmd@example.com", "'+plus@example.com", "'-minus@example.com", "plain@example.com", ""} <= told
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "-", "@"))]
    (skipped,) = csv.DictReader(io.StringIO((await client.get(f"{place}?format=csv&status=skipped")).text))
    assert (skipped["profile_id"], skipped["reason"], skipped["to"]) == (people[-1], "no_address", "")
    none = await client.get(f"{place}?format=csv&status=unknown")
    assert none.text.count("\r\n") == 1
    await refused(client.get(f"{place}?format=xml"), 400, "invalid_parameter")


async def test_a_draft_has_an_empty_overview(client: httpx.AsyncClient, outreach: Outreach):
    made = await outreach.draft()
    found = await outreach.overview(made)
    assert (found["audience"], found["opens"], found["failed"], found["series"]) == (
        0,
        {"total": 0, "unique": 0, "machine": 0},
        [],
        [],
    )
    assert found["conversions"]["lift"] is None
    assert await ok(client.get(f"/v1/campaigns/{made['id']}/recipients")) == {"data": [], "next": None}
    assert (await client.get(f"/v1/campaigns/{made['id']}/recipients?format=csv")).text.startswith("profile_id,status,")
