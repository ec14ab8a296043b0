"""Segments over HTTP: previews, versions, members, and what may not be deleted."""

import json
from typing import Any

import httpx
import pytest

from tests.api.calling import Keys, bearer, eventually, ok, refused, track
from tests.storage.conditions_world import statement
from waypost.clock import now_us
from waypost.engine.accounts.retention import Retention
from waypost.engine.audience import segments
from waypost.engine.audience.retention import prune_audience
from waypost.engine.process import Engine
from waypost.storage.database import Tx

Api = httpx.AsyncClient
PRO = {"trait": "plan", "is": "pro"}


async def identify(client: Api, user: str, **traits: Any) -> None:
    await ok(client.post("/v1/identify", json={"userId": user, "traits": traits}))


async def make(client: Api, condition: Any = PRO, **fields: Any) -> Any:
    return await ok(client.post("/v1/segments", json={"name": "Pro", "condition": condition} | fields), 201)


async def complete(client: Api, id_: str) -> Any:
    """Wait for the first evaluation; return the segment."""

    async def look() -> Any:
        found = await ok(client.get(f"/v1/segments/{id_}"))
        return found if found["complete"] else None

    return await eventually(look)


async def preview(client: Api, condition: Any) -> Any:
    return await ok(client.post("/v1/segments/preview", json={"condition": condition}))


async def test_a_preview_counts_people_and_shows_some(client: Api) -> None:
    await identify(client, "ada", plan="PRO", email="ada@example.com")
    await identify(client, "bob", plan="free")
    await track(client, 2, properties={"total": 99.5})
    found = await preview(client, PRO)
    assert (found["count"], found["approximate"]) == (1, False)
    (ada,) = found["sample"]
    assert (ada["user_id"], ada["email"], ada["traits"]["plan"]) == ("ada", "ada@example.com", "PRO")
    often = {"event": "Order Shipped", "at_least": 2, "at_most": None, "within": "30d", "where": {"total": {"gt": 50}}}
    assert (await preview(client, often))["count"] == 1
    assert (await preview(client, {"not": often}))["count"] == 1
    assert (await preview(client, {"event": "Order Shipped", "at_most": 0, "within": "2h"}))["count"] == 1


async def test_a_count_that_takes_too_long_is_estimated(client: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        await identify(client, f"u{number}", plan="pro" if number % 2 else "free")
    monkeypatch.setattr(segments, "COUNT_S", 1e-9)
    slow = {"any": [PRO, *({"trait": f"t{n}", "contains": "x"} for n in range(90))]}
    # A query that ends before its limit is noticed is exact.
    found = await eventually(lambda: preview(client, slow))
    assert found["count"] == 10
    assert len(found["sample"]) == 10


async def test_conditions_that_are_not_valid_are_refused_by_their_place(client: Api) -> None:
    tree = {"all": [PRO, {"event": "A", "within": "soon"}]}
    for path, body in (("/v1/segments/preview", {}), ("/v1/segments", {"name": "x"})):
        problem = await refused(client.post(path, json=body | {"condition": tree}), 400, "invalid_condition")
        assert problem["path"] == "condition.all[1].within"
        await refused(
            client.post(path, json=body | {"condition": {"list": "lst_0000000000000001"}}), 400, "unknown_list"
        )
        await refused(
            client.post(path, json=body | {"condition": {"segment": "seg_0000000000000001"}}), 400, "unknown_segment"
        )
        await refused(client.post(path, json=body | {"condition": []}), 400, "invalid_body")
    await refused(client.post("/v1/segments", json={"name": " ", "condition": PRO}), 400, "invalid_name")


async def test_versions_are_kept(client: Api) -> None:
    segment = await make(client)
    assert (segment["version"], segment["tracked"], segment["complete"]) == (1, True, False)
    place = f"/v1/segments/{segment['id']}"
    segment = await complete(client, segment["id"])
    assert await ok(client.get(place)) == segment
    renamed = await ok(client.patch(place, json={"name": "Professionals"}))
    assert (renamed["name"], renamed["version"]) == ("Professionals", 1)
    changed = await ok(client.patch(place, json={"condition": {"tag": "vip"}}))
    assert changed["version"] == 2
    versions = await ok(client.get(f"{place}/versions"))
    assert [(one["version"], one["condition"]) for one in versions["data"]] == [(2, {"tag": "vip"}), (1, PRO)]
    assert [one["id"] for one in (await ok(client.get("/v1/segments")))["data"]] == [segment["id"]]
    await refused(client.patch(place, json={"condition": {"segment": segment["id"]}}), 400, "segment_circle")


async def test_members_are_paged(client: Api) -> None:
    for number in range(5):
        await identify(client, f"u{number}", plan="pro")
    segment = await make(client)
    place = f"/v1/segments/{segment['id']}"
    assert (await ok(client.get(f"{place}/count")))["count"] == 5
    first = await ok(client.get(f"{place}/members?limit=3"))
    second = await ok(client.get(f"{place}/members?limit=3&after={first['next']}"))
    assert [one["user_id"] for one in first["data"] + second["data"]] == [f"u{n}" for n in range(5)]
    assert second["next"] is None


async def test_a_segment_in_use_is_not_deleted(client: Api, engine: Engine, keys: Keys) -> None:
    inner = await make(client)
    outer = await make(client, {"not": {"segment": inner["id"]}})
    await refused(client.delete(f"/v1/segments/{inner['id']}"), 409, "segment_in_use")
    assert (await client.delete(f"/v1/segments/{outer['id']}")).status_code == 204

    async def campaign(tx: Tx) -> None:
        await statement(
            tx,
            "INSERT INTO campaigns (id, workspace_id, name, channel, state, definition, version, created_at, "
            "updated_at) VALUES (1, :a, 'Spring', 'email', 'live', :b, 1, 0, 0)",
            a=keys.workspace_id,
            b=json.dumps({"audience": {"segments": [inner["id"]]}}),
        )

    await engine.database.transact(campaign)
    problem = await refused(client.delete(f"/v1/segments/{inner['id']}"), 409, "segment_in_use")
    assert "Spring" in problem["detail"]


async def test_members_of_a_deleted_list_leave_the_segments_that_name_it(client: Api, engine: Engine) -> None:
    await identify(client, "ada")
    listed = await ok(client.post("/v1/lists", json={"name": "Readers"}), 201)
    await ok(client.post(f"/v1/lists/{listed['id']}/members", json={"people": [{"user_id": "ada"}]}))
    inner = await make(client, {"list": listed["id"]})
    outer = await make(client, {"segment": inner["id"]})
    other = await make(client)
    for segment in (inner, outer, other):
        await complete(client, segment["id"])

    async def delete(tx: Tx) -> None:
        # As versions did that did not ask who uses a list.
        await statement(tx, "UPDATE lists SET deleted_at = 1")

    await engine.database.transact(delete)
    assert await prune_audience(engine.database, now_us(), Retention(90, 30, {}, {})) == 1

    async def left() -> Any:
        found = (await ok(client.get("/v1/events?type=segment.left")))["data"]
        return found if len(found) == 2 else None

    found = await eventually(left)
    assert {event["data"]["segment"]["id"] for event in found} == {inner["id"], outer["id"]}


async def test_a_saved_segment_tells_who_enters_and_leaves(client: Api) -> None:
    await identify(client, "old", plan="pro")
    segment = await make(client)
    await make(client, tracked=False)
    await complete(client, segment["id"])
    await identify(client, "ada", plan="pro")
    await identify(client, "ada", plan="free")
    events = (await ok(client.get("/v1/events")))["data"]
    found = [one for one in events if one["type"].startswith("segment.")]
    assert [one["type"] for one in found] == ["segment.left", "segment.entered"]
    assert found[0]["data"]["segment"] == {"id": segment["id"], "name": "Pro", "version": 1}


async def test_segments_belong_to_their_workspace(client: Api, keys: Keys) -> None:
    segment = await make(client)
    stranger = bearer(keys.stranger)
    await refused(client.get(f"/v1/segments/{segment['id']}", headers=stranger), 404, "not_found")
    await refused(client.delete(f"/v1/segments/{segment['id']}", headers=stranger), 404, "not_found")
    body = {"condition": {"segment": segment["id"]}}
    await refused(client.post("/v1/segments/preview", json=body, headers=stranger), 400, "unknown_segment")
