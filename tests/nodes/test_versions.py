"""`If-Match` with two nodes: of several changes to the same version, one is made."""

import asyncio
from contextlib import AsyncExitStack

import httpx
import pytest

from tests.api.calling import bearer, ok
from tests.nodes.conftest import Pair
from waypost.api.app import build_app
from waypost.clock import now_us
from waypost.engine.accounts import workspaces

pytestmark = pytest.mark.postgres


async def test_one_of_several_changes_to_a_version_is_made(pair: Pair):
    made = await pair.one.database.transact(workspaces.create_workspace, pair.one.engine.ids, "ours", now_us())
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                httpx.AsyncClient(
                    transport=httpx.ASGITransport(app=build_app(node.engine)),
                    base_url="http://waypost",
                    headers=bearer(made["api_key"]),
                )
            )
            for node in pair.nodes
        ]
        segment = await ok(
            clients[0].post("/v1/segments", json={"name": "Pro", "condition": {"trait": "plan", "is": "pro"}}), 201
        )
        place = f"/v1/segments/{segment['id']}"
        for _ in range(5):
            tag = (await clients[0].get(place)).headers["etag"]
            answers = await asyncio.gather(
                *(
                    client.patch(place, json={"name": f"{number} {tag}"[:40]}, headers={"if-match": tag})
                    for number, client in enumerate(clients * 4)
                )
            )
            assert sorted(answer.status_code for answer in answers) == [200, *[412] * 7]
            (kept,) = [answer.json()["name"] for answer in answers if answer.status_code == 200]
            assert (await ok(clients[1].get(place)))["name"] == kept
