"""Campaigns over HTTP: created, changed as far as the state allows, launched when complete, stopped and ended."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.api.calling import Keys, bearer, eventually, ok, refused
from tests.api.control.campaigns.outreach import Outreach, make_outreach
from tests.engine.mailserver import MailServer, mail_server
from waypost.clock import DAY, HOUR, iso, now_us

LATER = iso(now_us() + 30 * DAY)
NOBODY = "cmp_00000000000000ff"


@pytest.fixture
async def outreach(client: httpx.AsyncClient) -> AsyncIterator[Outreach]:
    server = MailServer()
    async with mail_server(server) as url:
        yield await make_outreach(client, server, int(url.rpartition(":")[2]))


async def test_a_campaign_is_created_as_a_draft(client: httpx.AsyncClient):
    made = await ok(client.post("/v1/campaigns", json={"name": "Spring", "channel": "email"}), 201)
    assert made == {
        "id": made["id"],
        "name": "Spring",
        "channel": "email",
        "state": "draft",
        "reason": None,
        "template_id": None,
        "audience": {},
        "exclude": {},
        "schedule": {"kind": "now"},
        "throttle": None,
        "purpose": "promotional",
        "connection_id": None,
        "variables": {},
        "validity": None,
        "conversion": None,
        "holdout": 0.0,
        "test": None,
        "utm": None,
        "tracking": None,
        "version": 1,
        "progress": {"audience": 0, "done": 0},
        "next_at": None,
        "occurrences": [],
        "launched_at": None,
        "ended_at": None,
        "created_at": made["created_at"],
        "updated_at": made["created_at"],
    }
    assert await ok(client.get(f"/v1/campaigns/{made['id']}")) == made


async def test_every_setting_is_kept(client: httpx.AsyncClient):
    body = {
        "name": "Spring",
        "channel": "email",
        "template_id": "tpl_0000000000000001",
        "audience": {"lists": ["lst_0000000000000001"], "segments": ["seg_0000000000000001"]},
        "exclude": {"profiles": ["pro_0000000000000001"]},
        "schedule": {"kind": "recurring", "every": "week", "interval": 2, "at": "09:00", "weekdays": ["mon"]},
        "throttle": {"per_minute": 6000.0},
        "purpose": "transactional",
        "connection_id": "con_0000000000000001",
        "variables": {"code": "SPRING"},
        "validity": 3600,
        "conversion": {"event": "Order Completed", "within": "3d"},
        "holdout": 0.1,
        "test": {"sample": 0.2, "winner_by": "opens", "after": "2h"},
        "utm": {"source": "mail"},
    }
    made = await ok(client.post("/v1/campaigns", json=body), 201)
    # Values that are the default ones may be left out or shown.
    assert {name: made[name] for name in body} | {"conversion": None, "test": None, "schedule": None} == body | {
        "conversion": None,
        "test": None,
        "schedule": None,
    }
    assert body["conversion"].items() <= made["conversion"].items()  # type: ignore[attr-defined]
    assert made["test"]["winner_by"] == "opens"
    assert made["schedule"]["weekdays"] == ["mon"]


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"name": ""}, "invalid_body", "name"),
        ({"name": "x" * 101}, "invalid_body", "name"),
        ({"name": "a\nb"}, "invalid_message", "campaign"),
        ({"channel": "push"}, "invalid_body", "channel"),
        ({"channel": "email\n"}, "invalid_body", "channel"),
        ({"purpose": "promotional\n"}, "invalid_body", "purpose"),
        ({"surprise": 1}, "invalid_body", None),
        ({"audience": {"tags": ["vip"]}}, "invalid_body", None),
        ({"audience": {"lists": ["seg_0000000000000001"]}}, "invalid_campaign", "audience.lists[0]"),
        ({"template_id": "news"}, "invalid_campaign", "template_id"),
        ({"connection_id": "mail"}, "invalid_campaign", "connection_id"),
        ({"schedule": {"kind": "at", "at": "2026-12-01T09:00"}}, "invalid_schedule", "schedule.at"),
        ({"schedule": {"kind": "recurring", "every": "day", "at": "25:00"}}, "invalid_schedule", "schedule.at"),
        (
            {"schedule": {"kind": "recurring", "every": "day", "at": "09:00", "timezone": "Mars"}},
            "invalid_time_zone",
            "schedule.timezone",
        ),
        ({"throttle": {"per_minute": 1e-9}}, "invalid_body", None),
        ({"conversion": {"event": "Order", "within": "1y"}}, "invalid_duration", "conversion.within"),
        ({"channel": "sms", "test": {"sample": 0.1, "winner_by": "opens"}}, "invalid_campaign", "test.winner_by"),
        ({"test": {"sample": 0.1, "minimum": 0}}, "invalid_body", "test.minimum"),
        (
            {"schedule": {"kind": "local", "at": "2026-12-01T09:00"}, "test": {"sample": 0.1}},
            "test_at_local_time",
            "test",
        ),
    ],
)
async def test_what_is_wrong_is_named(client: httpx.AsyncClient, changes: Any, code: str, field: str | None):
    body = {"name": "Spring", "channel": "email"} | changes
    problem = await refused(client.post("/v1/campaigns", json=body), 400, code)
    assert field is None or field in (problem.get("field", ""), problem["detail"]) or field in problem["detail"]


async def test_variants_are_not_tested_at_local_times(client: httpx.AsyncClient, outreach: Outreach):
    local = {"kind": "local", "at": LATER[:16]}
    made = await outreach.draft(await outreach.people(2), test={"sample": 0.1})
    place = f"/v1/campaigns/{made['id']}"
    problem = await refused(client.patch(place, json={"schedule": local}), 400, "test_at_local_time")
    assert (problem["field"], "Remove `test`" in problem["detail"]) == ("test", True)
    await ok(client.patch(place, json={"schedule": local, "test": None}))
    await ok(client.post(f"{place}/launch"))
    await refused(client.patch(place, json={"test": {"sample": 0.1}}), 400, "test_at_local_time")
    assert (await outreach.get(made))["test"] is None


async def test_campaigns_are_listed_newest_first_and_by_state(client: httpx.AsyncClient, outreach: Outreach):
    people = await outreach.people(2)
    made = [await outreach.draft(people, name=f"C{n}", schedule={"kind": "at", "at": LATER}) for n in range(3)]
    await outreach.act(made[1], "launch")
    found = await ok(client.get("/v1/campaigns"))
    assert [one["name"] for one in found["data"]] == ["C2", "C1", "C0"]
    first = await ok(client.get("/v1/campaigns?limit=2"))
    second = await ok(client.get("/v1/campaigns", params={"limit": 2, "after": first["next"]}))
    assert [one["name"] for one in first["data"] + second["data"]] == ["C2", "C1", "C0"]
    assert second["next"] is None
    for state, names in (("draft", ["C2", "C0"]), ("scheduled", ["C1"]), ("live", [])):
        found = await ok(client.get(f"/v1/campaigns?state={state}"))
        assert [one["name"] for one in found["data"]] == names
    await refused(client.get("/v1/campaigns?state=asleep"), 400, "invalid_parameter")


async def test_another_workspace_sees_nothing(client: httpx.AsyncClient, keys: Keys, outreach: Outreach):
    made = await outreach.draft(await outreach.people(2))
    place = f"/v1/campaigns/{made['id']}"
    other = bearer(keys.stranger)
    assert (await ok(client.get("/v1/campaigns", headers=other)))["data"] == []
    await refused(client.get(place, headers=other), 404, "not_found")
    await refused(client.patch(place, json={"name": "Mine"}, headers=other), 404, "not_found")
    await refused(client.delete(place, headers=other), 404, "not_found")
    for action in ("launch", "pause", "resume", "cancel", "unschedule", "estimate"):
        await refused(client.post(f"{place}/{action}", headers=other), 404, "not_found")
    await refused(client.post(f"{place}/test", json={"to": ["a@example.com"]}, headers=other), 404, "not_found")
    await refused(client.post(f"{place}/preview", json={}, headers=other), 404, "not_found")
    await refused(client.get(f"{place}/overview", headers=other), 404, "not_found")
    await refused(client.get(f"{place}/recipients", headers=other), 404, "not_found")
    assert (await outreach.get(made))["state"] == "draft"


async def test_a_reader_may_only_read(client: httpx.AsyncClient, keys: Keys, outreach: Outreach):
    made = await outreach.draft()
    reader = bearer(keys.read)
    assert await ok(client.get(f"/v1/campaigns/{made['id']}", headers=reader)) == made
    await refused(client.post("/v1/campaigns", json={"name": "x", "channel": "sms"}, headers=reader), 403, "forbidden")
    await refused(client.post(f"/v1/campaigns/{made['id']}/launch", headers=reader), 403, "forbidden")


@pytest.mark.parametrize("path", ["", "/overview", "/recipients"])
async def test_ids_that_are_none(client: httpx.AsyncClient, path: str):
    await refused(client.get(f"/v1/campaigns/{NOBODY}{path}"), 404, "not_found")
    await refused(client.get(f"/v1/campaigns/lst_0000000000000001{path}"), 404, "not_found")
    await refused(client.get(f"/v1/campaigns/x{path}"), 404, "not_found")


async def test_a_launch_names_everything_that_is_missing(client: httpx.AsyncClient):
    made = await ok(
        client.post(
            "/v1/campaigns",
            json={"name": "x", "channel": "email", "schedule": {"kind": "at", "at": "2020-01-01T00:00:00Z"}},
        ),
        201,
    )
    problem = await refused(client.post(f"/v1/campaigns/{made['id']}/launch"), 400, "campaign_incomplete")
    assert [(one["code"], one["field"]) for one in problem["missing"]] == [
        ("no_template", "template_id"),
        ("no_audience", "audience"),
        ("no_connection", "connection_id"),
        ("invalid_schedule", "schedule.at"),
    ]
    assert all(one["detail"] in problem["detail"] for one in problem["missing"])
    # An estimate says the same, and tries nothing.
    assert (await ok(client.post(f"/v1/campaigns/{made['id']}/estimate")))["missing"] == problem["missing"]
    assert (await ok(client.get(f"/v1/campaigns/{made['id']}")))["state"] == "draft"


async def test_a_launch_checks_what_it_names(client: httpx.AsyncClient, outreach: Outreach):
    one, *_ = await outreach.people(1)
    text = {"name": "Text", "channel": "sms", "text": "Hi"}
    template = (await ok(client.post("/v1/templates", json=text), 201))["id"]
    wrong = await outreach.draft(
        [one], template_id=template, connection_id="con_00000000000000ff", exclude={"lists": ["lst_00000000000000ff"]}
    )
    problem = await refused(client.post(f"/v1/campaigns/{wrong['id']}/launch"), 400, "campaign_incomplete")
    assert [(found["code"], found["field"]) for found in problem["missing"]] == [
        ("wrong_channel", "template_id"),
        ("unknown_audience", "exclude.lists"),
        ("connection_not_ready", "connection_id"),
    ]
    unknown = await outreach.draft([one], template_id="tpl_00000000000000ff")
    problem = await refused(client.post(f"/v1/campaigns/{unknown['id']}/launch"), 400, "campaign_incomplete")
    assert [found["code"] for found in problem["missing"]] == ["unknown_template", "small_audience"]
    await ok(client.post(f"/v1/connections/{outreach.connection}/disable"))
    disabled = await outreach.draft(await outreach.people(2), connection_id=outreach.connection)
    problem = await refused(client.post(f"/v1/campaigns/{disabled['id']}/launch"), 400, "campaign_incomplete")
    assert [found["code"] for found in problem["missing"]] == ["connection_not_ready"]
    assert "disabled" in problem["detail"]


async def test_it_runs_from_launch_to_end(client: httpx.AsyncClient, outreach: Outreach):
    people = await outreach.people(5)
    launched = await outreach.launched(people)
    assert launched["state"] == "scheduled"
    assert (await ok(client.post(f"/v1/campaigns/{launched['id']}/estimate")))["missing"] == []
    assert launched["launched_at"] is not None
    ended = await outreach.came_to(launched, "finished")
    assert ended["progress"] == {"audience": 5, "done": 5}
    assert ended["ended_at"] is not None
    (occurrence,) = ended["occurrences"]
    assert (occurrence["state"], occurrence["winner"]) == ("done", None)
    assert sorted(to for _, (to,), _ in outreach.server.mails) == sorted(f"user-{n}@example.com" for n in range(1, 6))
    for _, (to,), mail in outreach.server.mails:
        assert f"Hi P{to[5]}".encode() in mail
        assert b"List-Unsubscribe: <http" in mail
    messages = (await ok(client.get("/v1/messages")))["data"]
    assert {one["campaign"] for one in messages} == {"Spring"}
    for action in ("launch", "pause", "resume", "unschedule", "cancel"):
        await refused(client.post(f"/v1/campaigns/{launched['id']}/{action}"), 409, "campaign_state")
    problem = await refused(
        client.patch(f"/v1/campaigns/{launched['id']}", json={"name": "New"}), 409, "campaign_not_editable"
    )
    assert "create a new one" in problem["detail"]


async def test_a_launch_happens_once(client: httpx.AsyncClient, outreach: Outreach):
    made = await outreach.draft(await outreach.people(3))
    place = f"/v1/campaigns/{made['id']}/launch"
    key = {"Idempotency-Key": "launch-1"}
    first = await ok(client.post(place, headers=key))
    assert await ok(client.post(place, headers=key)) == first
    await refused(client.post(place), 409, "campaign_state")
    ended = await outreach.came_to(made, "finished")
    assert len(ended["occurrences"]) == 1
    assert len(outreach.server.mails) == 3
    assert await ok(client.post(place, headers=key)) == first


async def test_a_creation_is_repeated_by_its_key(client: httpx.AsyncClient):
    key = {"Idempotency-Key": "make-1"}
    body = {"name": "Spring", "channel": "sms"}
    first = await ok(client.post("/v1/campaigns", json=body, headers=key), 201)
    assert await ok(client.post("/v1/campaigns", json=body, headers=key), 201) == first
    await refused(
        client.post("/v1/campaigns", json=body | {"name": "Other"}, headers=key), 422, "idempotency_key_reused"
    )
    assert len((await ok(client.get("/v1/campaigns")))["data"]) == 1


async def test_a_scheduled_campaign_is_changed_paused_and_taken_back(client: httpx.AsyncClient, outreach: Outreach):
    made = await outreach.launched(await outreach.people(2), schedule={"kind": "at", "at": LATER})
    place = f"/v1/campaigns/{made['id']}"
    assert made["next_at"] == LATER
    sooner = iso(now_us() + DAY)
    changed = await ok(client.patch(place, json={"schedule": {"kind": "at", "at": sooner}, "name": "Sooner"}))
    assert (changed["next_at"], changed["name"], changed["version"]) == (sooner, "Sooner", 2)
    problem = await refused(
        client.patch(place, json={"schedule": {"kind": "at", "at": "2020-01-01T00:00:00Z"}}), 400, "invalid_schedule"
    )
    assert problem["field"] == "schedule.at"
    # It must stay complete.
    await refused(client.patch(place, json={"template_id": None}), 400, "campaign_incomplete")
    await refused(client.patch(place, json={"audience": {}}), 400, "campaign_incomplete")
    await refused(client.delete(place), 409, "campaign_state")
    assert (await outreach.act(made, "pause"))["state"] == "paused"
    assert (await outreach.act(made, "resume"))["state"] == "scheduled"
    taken_back = await outreach.act(made, "unschedule")
    assert (taken_back["state"], taken_back["next_at"]) == ("draft", None)
    await ok(client.patch(place, json={"audience": {}, "holdout": 0.5}))
    assert (await client.delete(place)).status_code == 204
    await refused(client.get(place), 404, "not_found")
    assert outreach.server.mails == []


async def test_a_live_campaign_is_throttled_anew_and_edited_when_paused(client: httpx.AsyncClient, outreach: Outreach):
    made = await outreach.launched(await outreach.people(4), throttle={"per_minute": 1})
    place = f"/v1/campaigns/{made['id']}"
    await outreach.came_to(made, "live")
    problem = await refused(client.patch(place, json={"variables": {"a": 1}}), 409, "campaign_not_editable")
    assert problem["field"] == "variables"
    assert "Pause it" in problem["detail"]
    await ok(client.patch(place, json={"name": "Renamed"}))
    assert (await outreach.act(made, "pause"))["state"] == "paused"
    await ok(client.patch(place, json={"variables": {"a": 1}, "validity": 7200}))
    changes: list[dict[str, Any]] = [
        {"audience": {}},
        {"holdout": 0.1},
        {"schedule": {"kind": "now"}, "purpose": "transactional"},
    ]
    for change in changes:
        await refused(client.patch(place, json=change), 409, "campaign_not_editable")
    # Nothing changes, so nothing is refused.
    await ok(client.patch(place, json={"holdout": 0.0}))
    await ok(client.patch(place, json={"throttle": None}))
    assert (await outreach.act(made, "resume"))["state"] == "live"
    await outreach.came_to(made, "finished")
    assert len(outreach.server.mails) == 4


async def test_a_cancelled_campaign_skips_those_who_have_not_got_it(client: httpx.AsyncClient, outreach: Outreach):
    made = await outreach.launched(await outreach.people(4), throttle={"per_minute": 1})

    async def decided() -> bool:
        return bool((await outreach.get(made))["progress"]["audience"] == 4)

    await eventually(decided)
    cancelled = await outreach.act(made, "cancel")
    assert (cancelled["state"], cancelled["next_at"]) == ("cancelled", None)

    async def over() -> Any:
        found = await outreach.overview(made)
        return found if found["waiting"] + found["queued"] + len(found["held"]) == 0 else None

    found = await eventually(over)
    assert found["skipped"] == [{"reason": "cancelled", "count": 4 - found["sent"]}]
    assert len(outreach.server.mails) == found["sent"] <= 1
    await refused(client.post(f"/v1/campaigns/{made['id']}/resume"), 409, "campaign_state")
    assert (await client.delete(f"/v1/campaigns/{made['id']}")).status_code == 204


async def test_a_draft_that_is_cancelled_stays_a_draft(client: httpx.AsyncClient, outreach: Outreach):
    made = await outreach.draft()
    problem = await refused(client.post(f"/v1/campaigns/{made['id']}/cancel"), 409, "campaign_state")
    assert "it allows launch" in problem["detail"]


async def test_a_local_time_reaches_each_person_in_turn(outreach: Outreach):
    """An hour from now in UTC: it is over in Tokyo, which is skipped, and ahead in New York."""
    tokyo = await outreach.person(timezone="Asia/Tokyo")
    new_york = await outreach.person(timezone="America/New_York")
    local = iso(now_us() + HOUR)[:16]
    made = await outreach.launched([tokyo, new_york], schedule={"kind": "local", "at": local})
    await outreach.came_to(made, "live")

    async def decided() -> Any:
        found = await outreach.recipients(made)
        return found if len(found) == 2 else None

    found = {one["profile_id"]: (one["status"], one["reason"]) for one in await eventually(decided)}
    assert found == {tokyo: ("skipped", "time_passed"), new_york: ("waiting", None)}
    assert outreach.server.mails == []


async def test_a_campaign_pauses_itself_when_it_cannot_send(client: httpx.AsyncClient, outreach: Outreach):
    made = await outreach.launched(await outreach.people(2), schedule={"kind": "at", "at": LATER})
    await ok(client.post(f"/v1/connections/{outreach.connection}/disable"))
    await outreach.act(made, "unschedule")
    await ok(client.patch(f"/v1/campaigns/{made['id']}", json={"schedule": {"kind": "now"}}))
    problem = await refused(client.post(f"/v1/campaigns/{made['id']}/launch"), 400, "campaign_incomplete")
    assert [one["code"] for one in problem["missing"]] == ["no_connection"]
    await ok(client.post(f"/v1/connections/{outreach.connection}/enable"))
    await outreach.act(made, "launch")
    await outreach.came_to(made, "finished")
