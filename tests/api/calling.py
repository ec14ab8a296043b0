"""Shared by the tests of the API: calls and their checks."""

import functools
from collections.abc import Awaitable
from typing import Any

import httpx
import msgspec
from argon2 import PasswordHasher
from litestar import Litestar

from tests.waiting import eventually as eventually
from waypost.api.app import build_app, build_control
from waypost.api.edge.asgi import App
from waypost.clock import now_us
from waypost.domain.accounts.permissions import Role
from waypost.domain.accounts.sign_in import COOKIE
from waypost.engine.accounts import users
from waypost.engine.accounts.passwords import Passwords
from waypost.engine.process import Engine
from waypost.storage.database import Tx


class Keys(msgspec.Struct, frozen=True):
    """The keys of one workspace, and a key of another workspace with all scopes."""

    manage: str
    read: str
    ingest: str
    stranger: str
    workspace_id: int


@functools.cache
def _control() -> Litestar:
    return build_control()


def serve(engine: Engine) -> App:
    """Return the app of an engine. The tests of one process build the control API once and use it one after another."""
    return build_app(engine, _control())


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def ok(answer: Awaitable[httpx.Response], status: int = 200) -> Any:
    """Return the JSON of a response that must have this status."""
    response = await answer
    assert response.status_code == status, response.text
    return response.json()


async def refused(answer: Awaitable[httpx.Response], status: int, code: str) -> dict[str, Any]:
    """Return the problem document of a response that must have this code."""
    response = await answer
    assert response.headers["content-type"] == "application/problem+json", response.text
    problem: dict[str, Any] = response.json()
    assert (response.status_code, problem["status"], problem["code"]) == (status, status, code), response.text
    assert problem["detail"]
    return problem


#: The password of users in tests.
PASSWORD = "correct horse battery"


async def add_user(
    engine: Engine, workspace_id: int, role: Role | None, *, email: str | None = None, name: str = ""
) -> int:
    """Make a user with a role in a workspace, or in none; without an address, one that begins with the role."""
    engine.sessions.passwords = Passwords(PasswordHasher(time_cost=1, memory_cost=64))
    hashed = await engine.sessions.passwords.hash(PASSWORD)

    async def work(tx: Tx) -> int:
        address = email or f"{role}-{engine.ids.one(now_us())}@example.com"
        user_id = await users.add_user(tx, engine.ids, address, name, hashed, now_us())
        if role is not None:
            await users.add_member(tx, user_id, workspace_id, role, now_us())
        return user_id

    return await engine.database.transact(work)


async def session_of(engine: Engine, user_id: int) -> dict[str, str]:
    """Return the headers of a request in a new session of a user."""
    cookie, _ = await engine.sessions.start(user_id, mfa=False, ip="192.0.2.1", user_agent="test")
    return {"cookie": f"{COOKIE}={cookie}"}


async def track(client: httpx.AsyncClient, count: int = 1, **fields: Any) -> None:
    """Send tracked events."""
    for _ in range(count):
        event = {"userId": "ada", "event": "Order Shipped", "properties": {"total": 99.5}} | fields
        await ok(client.post("/v1/track", json=event))


async def make_webhook(client: httpx.AsyncClient, url: str, **fields: Any) -> Any:
    """Create an endpoint."""
    return await ok(client.post("/v1/webhooks", json={"url": url, "event_types": ["*"]} | fields), 201)


async def settled(client: httpx.AsyncClient, webhook: Any, **counts: int) -> Any:
    """Return the endpoint once its ledger has these counts."""

    async def look() -> Any:
        found = await ok(client.get(f"/v1/webhooks/{webhook['id']}"))
        return found if counts.items() <= found["counts"].items() else None

    return await eventually(look)
