"""The sending rules of a workspace by the API."""

import pytest

from tests.api.calling import bearer, ok, refused
from waypost.domain.messaging.quiet_hours import DAYS

EMPTY = {"timezone": "UTC", "quiet_hours": [], "frequency_caps": []}
NIGHT = {"channel": "sms", "from": "21:00", "to": "08:00"}


async def test_a_workspace_has_no_rules_until_they_are_set(client):
    assert await ok(client.get("/v1/sending-rules")) == EMPTY | {"version": 0, "updated_at": None, "updated_by": None}


async def test_rules_are_shown_as_they_were_set(client, engine, keys):
    rules = {
        "timezone": "Europe/Berlin",
        "quiet_hours": [
            NIGHT
            | {"days": ["monday", "sunday"], "purpose": "any", "max_hold": "90m", "jitter": "0m", "action": "hold"},
            {"channel": None, "from": "00:00", "to": "00:00", "days": ["sunday"], "purpose": "promotional"}
            | {"max_hold": "1d", "jitter": "15m", "action": "skip"},
        ],
        "frequency_caps": [
            {"channel": "email", "limit": 3, "within": "7d", "per": None, "purpose": "any", "action": "hold"}
            | {"max_hold": "2d"},
            {"channel": None, "limit": 100, "within": None, "per": "week", "purpose": "promotional", "action": "skip"}
            | {"max_hold": "1d"},
        ],
    }
    first = await ok(client.put("/v1/sending-rules", json=rules))
    assert {name: first[name] for name in rules} == rules
    assert first["version"] == 1
    assert first["updated_at"].endswith("Z")
    key_id = {key["id"] for key in (await ok(client.get("/v1/keys")))["data"]}
    assert first["updated_by"] in key_id
    assert await ok(client.get("/v1/sending-rules")) == first
    # This process knows of them at once.
    assert engine.sending_rules.get(keys.workspace_id) is not None
    assert engine.sending_rules.zone(keys.workspace_id).key == "Europe/Berlin"
    # Rules that are left out are removed. The time zone is a setting of the workspace, and stays.
    second = await ok(client.put("/v1/sending-rules", json={}))
    assert {name: second[name] for name in EMPTY} == EMPTY | {"timezone": "Europe/Berlin"}
    assert second["version"] == 2
    assert engine.sending_rules.get(keys.workspace_id) is None
    assert engine.sending_rules.zone(keys.workspace_id).key == "Europe/Berlin"


async def test_the_time_zone_is_that_of_the_workspace(client, engine, keys):
    shown = await ok(client.patch("/v1/workspace", json={"time_zone": "Asia/Tokyo"}))
    assert shown["time_zone"] == "Asia/Tokyo"
    # This process goes by it at once, and there are no rules yet that would have a version.
    assert engine.sending_rules.zone(keys.workspace_id).key == "Asia/Tokyo"
    assert await ok(client.get("/v1/sending-rules")) == EMPTY | {
        "timezone": "Asia/Tokyo",
        "version": 0,
        "updated_at": None,
        "updated_by": None,
    }
    await ok(client.put("/v1/sending-rules", json=quiet() | {"timezone": "Europe/Berlin"}))
    assert (await ok(client.get("/v1/workspace")))["time_zone"] == "Europe/Berlin"
    assert engine.sending_rules.get(keys.workspace_id).timezone == "Europe/Berlin"
    # The rules show the zone: whoever read them before it changed does not put the old one back.
    await ok(client.patch("/v1/workspace", json={"time_zone": "Asia/Tokyo"}))
    await refused(
        client.put("/v1/sending-rules", json={"version": 1, "timezone": "Europe/Berlin"}), 409, "version_changed"
    )
    changed = await ok(client.get("/v1/sending-rules"))
    assert (changed["timezone"], changed["version"], len(changed["quiet_hours"])) == ("Asia/Tokyo", 2, 1)
    assert engine.sending_rules.get(keys.workspace_id).timezone == "Asia/Tokyo"
    # Other workspaces have their own.
    assert engine.sending_rules.zone(keys.workspace_id + 1).key == "UTC"
    assert (await ok(client.get("/v1/workspace", headers=bearer(keys.stranger))))["time_zone"] == "UTC"


async def test_the_defaults_of_a_rule(client):
    found = await ok(
        client.put("/v1/sending-rules", json={"quiet_hours": [NIGHT], "frequency_caps": [{"limit": 1, "per": "day"}]})
    )
    common = {"purpose": "promotional", "max_hold": "1d"}
    assert found["quiet_hours"] == [NIGHT | common | {"days": list(DAYS), "action": "hold", "jitter": "15m"}]
    assert found["frequency_caps"] == [
        common | {"channel": None, "limit": 1, "within": None, "per": "day", "action": "skip"}
    ]


async def test_rules_are_set_only_over_the_version_that_is_named(client):
    await ok(client.put("/v1/sending-rules", json={"version": 0}))
    await refused(
        client.put("/v1/sending-rules", json={"version": 0, "timezone": "Europe/Berlin"}), 409, "version_changed"
    )
    assert (await ok(client.get("/v1/sending-rules")))["timezone"] == "UTC"
    assert (await ok(client.put("/v1/sending-rules", json={"version": 1})))["version"] == 2


def quiet(**changes):
    return {"quiet_hours": [NIGHT | changes]}


def cap(**fields):
    return {"frequency_caps": [{"limit": 1, "per": "day"}, {"limit": 1} | fields]}


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"timezone": "Europe/Atlantis"}, "invalid_timezone", "timezone"),
        ({"timezone": "../../etc/passwd"}, "invalid_timezone", "timezone"),
        ({"timezone": "Europe"}, "invalid_timezone", "timezone"),
        (quiet(max_hold="15d"), "invalid_sending_rules", "quiet_hours[0].max_hold"),
        (quiet(max_hold="0m"), "invalid_sending_rules", "quiet_hours[0].max_hold"),
        (quiet(jitter="16m"), "invalid_sending_rules", "quiet_hours[0].jitter"),
        (quiet(to="21:00"), "invalid_sending_rules", "quiet_hours"),
        ({"quiet_hours": [NIGHT, {"from": "08:00", "to": "21:00"}]}, "invalid_sending_rules", "quiet_hours"),
        (cap(within="32d"), "invalid_sending_rules", "frequency_caps[1].within"),
        (cap(within="0h"), "invalid_sending_rules", "frequency_caps[1].within"),
        (cap(), "invalid_sending_rules", "frequency_caps[1].within"),
        (cap(within="1d", per="day"), "invalid_sending_rules", "frequency_caps[1].within"),
        (cap(per="week", max_hold="15d"), "invalid_sending_rules", "frequency_caps[1].max_hold"),
        (cap(per="month"), "invalid_body", "frequency_caps[1].per"),
        ({"frequency_caps": [{"limit": 0, "per": "day"}]}, "invalid_body", "frequency_caps[0].limit"),
        ({"frequency_caps": [{"limit": 101, "per": "day"}]}, "invalid_body", "frequency_caps[0].limit"),
        (quiet(**{"from": "24:00"}), "invalid_body", "quiet_hours[0].from"),
        (quiet(channel="fax"), "invalid_body", "quiet_hours[0].channel"),
        (quiet(days=[]), "invalid_body", "quiet_hours[0].days"),
        ({"rules": []}, "invalid_body", "rules"),
        ({"quiet_hours": [NIGHT] * 21}, "invalid_body", "quiet_hours"),
    ],
)
async def test_rules_that_are_wrong_are_refused_with_the_field(client, body, code, field):
    problem = await refused(client.put("/v1/sending-rules", json=body), 400, code)
    assert problem["field"] == field
    assert (await ok(client.get("/v1/sending-rules")))["version"] == 0


async def test_windows_of_different_channels_may_cover_the_week_together(client):
    await ok(
        client.put(
            "/v1/sending-rules",
            json={"quiet_hours": [NIGHT, {"channel": "email", "from": "08:00", "to": "21:00"}]},
        )
    )


async def test_each_workspace_has_its_own_rules(client, keys):
    await ok(client.put("/v1/sending-rules", json=quiet()))
    stranger = await ok(client.get("/v1/sending-rules", headers=bearer(keys.stranger)))
    assert stranger["version"] == 0
    await refused(client.put("/v1/sending-rules", json={}, headers=bearer(keys.read)), 403, "forbidden")
