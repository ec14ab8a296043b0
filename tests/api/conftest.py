"""An engine on a temporary SQLite file behind the app, with keys of two workspaces and a sink."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.api.calling import Keys, bearer, serve
from waypost.clock import now_us
from waypost.domain.values.ids import internal
from waypost.engine import process
from waypost.engine.accounts import workspaces
from waypost.engine.process import Engine
from waypost.settings import load_settings
from waypost.sink.thread_runner import Running, running
from waypost.storage.sqlite import SQLite


@pytest.fixture
async def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Engine]:
    # Some of these tests leave a receiver hanging.
    monkeypatch.setattr(process, "DRAIN_S", 0.5)
    settings = load_settings({}, data=str(tmp_path), allow_private="127.0.0.0/8", retry_base=0.001)
    database = SQLite(tmp_path / "waypost.db")
    await database.migrate()
    engine = Engine(database, settings)
    await engine.start()
    yield engine
    await engine.stop()
    await database.close()


@pytest.fixture
async def keys(engine: Engine) -> Keys:
    first = await engine.database.transact(workspaces.create_workspace, engine.ids, "first", now_us())
    second = await engine.database.transact(workspaces.create_workspace, engine.ids, "second", now_us())
    workspace_id = internal("ws", first["workspace"])
    read = await engine.database.transact(workspaces.create_key, engine.ids, workspace_id, "reader", ["read"], now_us())
    return Keys(first["api_key"], read["key"], first["write_key"], second["api_key"], workspace_id)


@pytest.fixture
async def client(engine: Engine, keys: Keys) -> AsyncIterator[httpx.AsyncClient]:
    """Calls the app with the key that has all scopes in the first workspace."""
    transport = httpx.ASGITransport(app=serve(engine))
    async with httpx.AsyncClient(transport=transport, base_url="http://waypost", headers=bearer(keys.manage)) as found:
        yield found


@pytest.fixture
async def browser(engine: Engine) -> AsyncIterator[httpx.AsyncClient]:
    """Calls the app without a key, and keeps its cookies, also those of https alone."""
    transport = httpx.ASGITransport(app=serve(engine), client=("192.0.2.7", 50000))
    async with httpx.AsyncClient(transport=transport, base_url="https://waypost") as found:
        yield found


@pytest.fixture(scope="session")
def sink() -> Iterator[Running]:
    with running() as found:
        yield found


@pytest.fixture
def hook(sink: Running, request: pytest.FixtureRequest) -> str:
    """A receiver for one test."""
    return f"{sink.url}/hook/{abs(hash(request.node.nodeid))}"
