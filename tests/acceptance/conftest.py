"""Fixtures of the acceptance tests: a sink in the test process, and servers as processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.programs import Server, serving
from waypost.sink import thread_runner


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests here as acceptance tests: they start real processes."""
    for item in items:
        if "acceptance" in item.path.parts:
            item.add_marker(pytest.mark.acceptance)


@pytest.fixture(autouse=True)
def no_server_left() -> Iterator[None]:
    """Kill the servers that a failed test left; those of its module go on."""
    before = len(Server.started)
    yield
    for process in Server.started[before:]:
        process.kill()
        process.wait(30)
    del Server.started[before:]


@pytest.fixture
def sink() -> Iterator[thread_runner.Running]:
    """A sink that accepts webhooks and email."""
    with thread_runner.running(smtp=True) as running:
        yield running


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server on SQLite with short retry delays."""
    with serving(tmp_path, {"WAYPOST_RETRY_BASE": "0.01"}) as running:
        yield running
