"""The settings of a workspace, by the API."""

import pytest

from tests.api.calling import add_user, bearer, ok, refused, session_of
from waypost.domain.accounts.permissions import Role


@pytest.fixture
async def owner(engine, keys):
    """The headers of a request by an owner who is signed in."""
    return await session_of(engine, await add_user(engine, keys.workspace_id, Role.OWNER))


async def test_a_setting_is_changed_and_the_others_stay(client, browser, owner):
    first = await ok(client.get("/v1/workspace"))
    assert first["time_zone"] == "UTC"
    changed = await ok(browser.patch("/v1/workspace", json={"time_zone": "Europe/Berlin"}, headers=owner))
    assert changed == first | {"time_zone": "Europe/Berlin"}
    assert await ok(browser.patch("/v1/workspace", json={"name": "Store"}, headers=owner)) == changed | {
        "name": "Store"
    }
    assert await ok(client.get("/v1/workspace")) == changed | {"name": "Store"}
    log = await ok(browser.get("/v1/audit", params={"action": "update_workspace"}, headers=owner))
    assert [(entry["before"], entry["after"]) for entry in reversed(log["data"])] == [
        ({"time_zone": "UTC"}, {"time_zone": "Europe/Berlin"}),
        ({"name": first["name"]}, {"name": "Store"}),
    ]


async def test_a_workspace_keeps_its_rows_for_less_time_than_the_server(client, browser, owner, keys):
    first = {"event_days": None, "attempt_days": None, "server_event_days": 90, "server_attempt_days": 30}
    assert (await ok(client.get("/v1/workspace")))["retention"] == first
    for body, expected in (
        ({"event_days": 30}, {"event_days": 30}),
        ({"attempt_days": 7}, {"event_days": 30, "attempt_days": 7}),
        ({"event_days": None}, {"attempt_days": 7}),
        ({"event_days": 90, "attempt_days": 30}, {"event_days": 90, "attempt_days": 30}),
    ):
        changed = await ok(browser.patch("/v1/workspace", json={"retention": body}, headers=owner))
        assert changed["retention"] == first | expected
    log = await ok(browser.get("/v1/audit", params={"action": "update_workspace", "limit": 1}, headers=owner))
    (entry,) = log["data"]
    assert entry["before"] == {"retention": first | {"attempt_days": 7}}
    assert entry["after"] == {"retention": first | {"event_days": 90, "attempt_days": 30}}
    assert (await ok(client.get("/v1/workspace", headers=bearer(keys.stranger))))["retention"] == first


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"time_zone": "Berlin"}, "invalid_time_zone", "time_zone"),
        ({"time_zone": "../etc/passwd"}, "invalid_time_zone", "time_zone"),
        ({"time_zone": ""}, "invalid_body", "time_zone"),
        ({"timezone": "Europe/Berlin"}, "invalid_body", "timezone"),
        ({"retention": {"event_days": 91}}, "retention_too_long", "retention.event_days"),
        ({"retention": {"event_days": 10, "attempt_days": 31}}, "retention_too_long", "retention.attempt_days"),
        ({"retention": {"event_days": 0}}, "invalid_body", "retention.event_days"),
        ({"retention": {"event_days": 1.5}}, "invalid_body", "retention.event_days"),
        ({"retention": {"link_days": 1}}, "invalid_body", "retention"),
    ],
)
async def test_a_setting_that_is_wrong_is_refused_with_its_field(client, body, code, field):
    before = await ok(client.get("/v1/workspace"))
    problem = await refused(client.patch("/v1/workspace", json={"name": "Store"} | body), 400, code)
    assert problem["field"] == field
    assert await ok(client.get("/v1/workspace")) == before
