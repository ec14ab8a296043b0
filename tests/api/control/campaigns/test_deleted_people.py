"""People who are deleted in the middle of a campaign: the ledger keeps its counts, and nothing that leads to them."""

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.api.calling import eventually, ok
from tests.api.control.campaigns.outreach import Outreach, make_outreach
from tests.api.control.campaigns.test_reports import PHONE, html_of, path_of
from tests.engine.mailserver import MailServer, mail_server
from waypost.cli import check
from waypost.domain.tracking import clicks
from waypost.domain.values.ids import internal
from waypost.engine.messaging import deletions
from waypost.engine.process import Engine
from waypost.storage.database import Row, Tx


@pytest.fixture
async def outreach(client: httpx.AsyncClient) -> AsyncIterator[Outreach]:
    server = MailServer()
    async with mail_server(server) as url:
        yield await make_outreach(client, server, int(url.rpartition(":")[2]))


async def rows(engine: Engine, statement: str) -> list[Row]:
    """Return the rows of an unnamed statement."""

    async def work(tx: Tx) -> list[Row]:
        return list(tx._connection.execute(statement))  # type: ignore[attr-defined]

    return await engine.database.read(work)


async def test_people_are_deleted_in_the_middle_of_a_campaign(
    client: httpx.AsyncClient, outreach: Outreach, engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(clicks, "SOON", 0)
    monkeypatch.setattr(deletions, "GRACE", 1)
    people = [await outreach.person(""), *(await outreach.people(12))]
    made = await outreach.launched(people, throttle={"per_second": 1})

    async def under_way() -> list[Any] | None:
        found = await outreach.recipients(made)
        return found if {one["status"] for one in found} >= {"sent", "queued", "waiting"} else None

    await eventually(under_way)
    await outreach.act(made, "pause")

    async def paused() -> dict[str, Any] | None:
        found = {one["status"]: one for one in reversed(await outreach.recipients(made))}
        return None if "queued" in found else found

    chosen = await eventually(paused)
    assert {"sent", "held", "waiting"} <= chosen.keys()
    (link,) = re.findall(r'href="([^"]+/c/[^"]+)"', html_of(outreach, chosen["sent"]["to"]))
    assert (await client.get(path_of(link), headers={"user-agent": PHONE})).status_code == 302

    async def clicked() -> Any:
        found = await outreach.overview(made)
        return found if found["clicks"]["unique"] == 1 else None

    before = await eventually(clicked)
    gone = [chosen[status]["profile_id"] for status in ("sent", "held", "waiting")]
    gone.append(people[0])
    for profile in gone:
        assert (await client.delete(f"/v1/profiles/{profile}")).status_code == 204

    async def skipped() -> list[Any] | None:
        found = await outreach.recipients(made, reason="profile_deleted")
        return found if len(found) == 1 and found[0]["profile_id"] is None else None

    await eventually(skipped)
    after = await outreach.overview(made)
    assert after["audience"] == before["audience"] == 13
    assert (after["sent"], after["clicks"]) == (before["sent"], before["clicks"])
    assert (await check._campaigns(engine.database)).detail == "13 recipients as counted"

    await outreach.act(made, "resume")
    await ok(client.patch(f"/v1/campaigns/{made['id']}", json={"throttle": None}))
    await outreach.came_to(made, "finished")

    async def forgotten() -> list[Any] | None:
        found = await outreach.recipients(made)
        return None if {one["profile_id"] for one in found} & set(gone) else found

    found = await eventually(forgotten)
    assert len(found) == 13
    assert [one["to"] or None for one in found if one["profile_id"] is None] == [None] * 4
    assert {one["profile_id"] for one in found} - {None} == set(people) - set(gone)
    # A page ends among those without a person.
    page = await ok(client.get(f"/v1/campaigns/{made['id']}/recipients?limit=2"))
    rest = await ok(client.get(f"/v1/campaigns/{made['id']}/recipients", params={"after": page["next"]}))
    assert page["data"] + rest["data"] == found
    ids = {internal("pro", profile) for profile in gone}
    for table in ("recipients", "campaign_clicks"):
        left = {row[0] for row in await rows(engine, f"SELECT profile_id FROM {table}")}  # noqa: S608 names of tables
        assert not left & ids
    overview = await outreach.overview(made)
    assert (overview["audience"], overview["waiting"], overview["queued"]) == (13, 0, 0)
    assert {one["reason"]: one["count"] for one in overview["skipped"]} == {"no_address": 1, "profile_deleted": 2}
    assert overview["sent"] == 10
    assert overview["clicks"]["unique"] == 1
    assert (await check._campaigns(engine.database)).detail == "13 recipients as counted"
